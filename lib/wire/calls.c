// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The calls of vnetscope/agent.h: each encodes a request, awaits its reply, decodes it.
 * A reply that does not decode ends the connection: the stream is not to be trusted further.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "wire/client.h"
#include "wire/shm.h"

#define SHM_DONE_MS 5000 /* for the end of an exchange over shared memory, unless the caller has less time */

static int bad_reply(struct vns_agent *a, const struct vns_wire_frame *f, struct vns_err *err)
{
	return vns_client_broken(a, -EPROTO, err, "sent %s that breaks the protocol",
				 vns_msg_rule(f->h.type)->name);
}

static int need_cap(struct vns_agent *a, uint32_t cap, const char *what, struct vns_err *err)
{
	return a->info.caps & cap ? 0 : vns_err_set(err, -EOPNOTSUPP,
						    "agent %s: %s", a->name, what);
}

/* A request's body of no, one or two u32. */
struct words {
	size_t n;
	uint32_t w[2];
};

/* Request of @type; its reply @f is of type @reply, @c stands at the beginning of its body. */
static int ask(struct vns_agent *a, uint16_t type, struct words words, uint16_t reply,
	       struct vns_wire_frame *f, struct vns_cursor *c, struct vns_err *err)
{
	uint8_t body[sizeof(words.w)];
	struct vns_cursor out;
	int r;

	vns_cursor_init(&out, body, sizeof(body));
	for (size_t i = 0; i < words.n; i++)
		vns_put_le32(&out, words.w[i]);
	r = vns_client_request(a, type, body, out.pos, reply, f, a->timeout_ms, NULL, err);
	if (r >= 0)
		vns_cursor_init_const(c, f->body, f->h.body_len);
	return r;
}

/* A request that is answered with OK or an error. */
static int simple(struct vns_agent *a, uint16_t type, struct words words, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;

	return ask(a, type, words, VNS_MSG_OK, &f, &c, err);
}

int vns_agent_exchange(struct vns_agent *a, struct vns_exchange *out, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	int r;

	/* take in what waits already, so that T4 is the reply's and not the backlog's */
	r = vns_agent_poll(a, 0, err);
	if (r < 0)
		return r;
	r = ask(a, VNS_MSG_CLOCK, (struct words){ 0 }, VNS_MSG_CLOCK_REPLY, &f, &c, err);
	if (r < 0)
		return r;
	out->t1_ns = a->write_ns;
	out->t4_ns = a->read_ns;
	out->t2_ns = (int64_t)vns_get_le64(&c);
	out->t3_ns = (int64_t)vns_get_le64(&c);
	return c.bad ? bad_reply(a, &f, err) : 0;
}

int vns_agent_shm_exchange(struct vns_agent *a, void *page, struct vns_exchange *out, size_t n,
			   int64_t max_ns, struct vns_err *err)
{
	int64_t limit = max_ns > 0 && max_ns < VNS_SHM_MAX_NS ? max_ns : VNS_SHM_MAX_NS;
	struct vns_wire_frame f;
	struct vns_cursor c;
	uint32_t session, id;
	uint8_t body[12];
	size_t done;
	int r = need_cap(a, VNS_CAP_SHM, "has no shared memory device (ivshmem)", err);

	if (r)
		return r;
	if (getrandom(&session, sizeof(session), 0) != sizeof(session))
		session = (uint32_t)vns_monotonic_ns();
	vns_cursor_init(&c, body, sizeof(body));
	vns_put_le32(&c, session);
	vns_put_le64(&c, (uint64_t)limit);
	r = vns_client_request(a, VNS_MSG_SHM_START, body, c.pos, VNS_MSG_SHM_READY, &f,
			       a->timeout_ms, &id, err);
	if (r < 0)
		return r;
	done = vns_shm_ask(page, session, limit, out, n < VNS_SHM_STOP - 1 ? n : VNS_SHM_STOP - 1);
	r = vns_client_await(a, id, VNS_MSG_SHM_DONE, &f, vns_monotonic_ns() + limit +
			     (a->timeout_ms < SHM_DONE_MS ? a->timeout_ms : SHM_DONE_MS) * VNS_NSEC_PER_MSEC, err);
	return r < 0 ? r : (int)done;
}

int vns_agent_ptp_exchange(struct vns_agent *a, struct vns_exchange *out, size_t n,
			   struct vns_err *err)
{
	struct vns_ptp_reading reading[VNS_WIRE_MAX_PTP];
	struct vns_wire_frame f;
	struct vns_cursor c;
	struct words want = { 1, { n + 1 < VNS_WIRE_MAX_PTP ? (uint32_t)n + 1 : VNS_WIRE_MAX_PTP } };
	int r = need_cap(a, VNS_CAP_PTP_KVM, "has no PTP clock of KVM", err);

	if (!r)
		r = ask(a, VNS_MSG_PTP, want, VNS_MSG_PTP_REPLY, &f, &c, err);
	if (r < 0)
		return r;
	r = vns_get_ptp(&c, reading);
	if (r < 0)
		return bad_reply(a, &f, err);
	return (int)vns_ptp_to_exchanges(reading, (size_t)r, out, n);
}

int vns_agent_tsc_read(struct vns_agent *a, struct vns_tsc_reading *out, size_t n,
		       struct vns_err *err)
{
	struct vns_tsc_reading reading[VNS_WIRE_MAX_TSC];
	struct vns_wire_frame f;
	struct vns_cursor c;
	struct words want = { 1, { n < VNS_WIRE_MAX_TSC ? (uint32_t)n : VNS_WIRE_MAX_TSC } };
	int r = need_cap(a, VNS_CAP_TSC, "cannot read its processor's counter", err);

	if (!r)
		r = ask(a, VNS_MSG_TSC, want, VNS_MSG_TSC_REPLY, &f, &c, err);
	if (r < 0)
		return r;
	r = vns_get_tsc(&c, reading);
	if (r < 0)
		return bad_reply(a, &f, err);
	if ((size_t)r > n)
		r = (int)n;
	memcpy(out, reading, (size_t)r * sizeof(*out));
	return r;
}

int vns_agent_clock_state(struct vns_agent *a, struct vns_clock_state *out, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	int r = need_cap(a, VNS_CAP_CLOCK_STATE, "does not tell its clock's state", err);

	if (!r)
		r = ask(a, VNS_MSG_CLOCK_STATE, (struct words){ 0 }, VNS_MSG_CLOCK_STATE_REPLY, &f, &c, err);
	if (r < 0)
		return r;
	return vns_get_clock_state(&c, out) ? 0 : bad_reply(a, &f, err);
}

int vns_agent_capture_start(struct vns_agent *a, uint32_t capture_id, const char *ifname,
			    const struct vns_bpf_insn *filter, size_t n_filter, uint32_t snaplen,
			    struct vns_err *err)
{
	struct vns_wire_capture w = { .id = capture_id, .snaplen = snaplen };
	struct vns_wire_frame f;
	struct vns_cursor c;
	uint8_t *body;
	size_t size = 32 + 8 * n_filter;
	int r;

	if (n_filter > VNS_WIRE_MAX_BPF)
		return vns_err_set(err, -EINVAL, "agent %s: the filter has %zu instructions, "
				   "at most %u are possible", a->name, n_filter, VNS_WIRE_MAX_BPF);
	if (strlen(ifname) >= sizeof(w.ifname))
		return vns_err_set(err, -EINVAL, "agent %s: no interface can be named %.40s",
				   a->name, ifname);
	body = malloc(size);
	if (!body)
		return vns_err_set(err, -ENOMEM, "agent %s: out of memory", a->name);
	memcpy(w.ifname, ifname, strlen(ifname) + 1);
	w.n_filter = (uint32_t)n_filter;
	w.filter = (struct vns_bpf_insn *)(uintptr_t)filter; /* only read */
	vns_cursor_init(&c, body, size);
	vns_put_capture(&c, &w);
	r = vns_client_request(a, VNS_MSG_CAPTURE_START, body, c.pos, VNS_MSG_OK, &f,
			       a->timeout_ms, NULL, err);
	free(body);
	if (r == 0)
		a->captures++;
	return r;
}

int vns_agent_capture_sample(struct vns_agent *a, uint32_t capture_id, uint32_t one_in,
			     struct vns_err *err)
{
	return simple(a, VNS_MSG_CAPTURE_SAMPLE, (struct words){ 2, { capture_id, one_in } }, err);
}

int vns_agent_capture_stop(struct vns_agent *a, uint32_t capture_id, struct vns_err *err)
{
	int r = simple(a, VNS_MSG_CAPTURE_STOP, (struct words){ 1, { capture_id } }, err);

	if (a->captures)
		a->captures--;
	return r;
}

int vns_agent_load_start(struct vns_agent *a, const struct vns_load_spec *spec, uint32_t *id,
			 struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	uint8_t body[80];
	int r;

	vns_cursor_init(&c, body, sizeof(body));
	vns_put_load_spec(&c, spec);
	r = vns_client_request(a, VNS_MSG_LOAD_START, body, c.pos, VNS_MSG_LOAD_STARTED, &f,
			       a->timeout_ms, NULL, err);
	if (r < 0)
		return r;
	vns_cursor_init_const(&c, f.body, f.h.body_len);
	*id = vns_get_le32(&c);
	return c.bad ? bad_reply(a, &f, err) : 0;
}

static int load_report(struct vns_agent *a, uint16_t type, uint32_t id,
		       struct vns_load_stats *out, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	int r = ask(a, type, (struct words){ 1, { id } }, VNS_MSG_LOAD_REPORT, &f, &c, err);

	if (r < 0)
		return r;
	return vns_get_load_stats(&c, out) ? 0 : bad_reply(a, &f, err);
}

int vns_agent_load_stats(struct vns_agent *a, uint32_t id, struct vns_load_stats *out,
			 struct vns_err *err)
{
	return load_report(a, VNS_MSG_LOAD_STATS, id, out, err);
}

int vns_agent_load_stop(struct vns_agent *a, uint32_t id, struct vns_load_stats *out,
			struct vns_err *err)
{
	struct vns_load_stats unused;

	return load_report(a, VNS_MSG_LOAD_STOP, id, out ? out : &unused, err);
}

int vns_agent_usage(struct vns_agent *a, struct vns_agent_usage *out, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	int r = ask(a, VNS_MSG_USAGE, (struct words){ 0 }, VNS_MSG_USAGE_REPLY, &f, &c, err);

	if (r < 0)
		return r;
	return vns_get_usage(&c, out) ? 0 : bad_reply(a, &f, err);
}

/* argv as a count and strings. Return: bytes, or -E2BIG. */
static int put_argv(uint8_t *body, size_t size, char *const argv[])
{
	struct vns_cursor c;
	uint16_t n = 0;

	while (argv[n] && n <= VNS_WIRE_MAX_ARGV)
		n++;
	vns_cursor_init(&c, body, size);
	vns_put_le16(&c, n);
	for (uint16_t i = 0; i < n; i++)
		vns_put_str(&c, argv[i]);
	return c.bad || n > VNS_WIRE_MAX_ARGV ? -E2BIG : (int)c.pos;
}

/* Output and end of the command @id. Return: 0, or -errno as from vns_client_receive(). */
static int exec_follow(struct vns_agent *a, uint32_t id,
		       void (*output)(void *ctx, int fd, const void *data, size_t n), void *ctx,
		       int64_t deadline, int *status, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	uint32_t v;
	int r;

	for (;;) {
		r = vns_client_receive(a, &f, deadline, false, err);
		if (r < 0)
			return r;
		if (f.h.request != id || f.h.body_len < 4)
			continue;
		vns_cursor_init_const(&c, f.body, f.h.body_len);
		v = vns_get_le32(&c);
		if (f.h.type == VNS_MSG_EXEC_OUTPUT) {
			if (output)
				output(ctx, v == 2 ? 2 : 1, f.body + 4, f.h.body_len - 4);
		} else if (f.h.type == VNS_MSG_EXEC_DONE) {
			*status = (int)v;
			return 0;
		} else {
			return bad_reply(a, &f, err);
		}
	}
}

int vns_agent_exec(struct vns_agent *a, char *const argv[],
		   void (*output)(void *ctx, int fd, const void *data, size_t n), void *ctx,
		   int timeout_ms, int *status, struct vns_err *err)
{
	int64_t deadline = vns_monotonic_ns() + timeout_ms * VNS_NSEC_PER_MSEC;
	uint8_t body[VNS_WIRE_MAX_ARGS_BYTES];
	struct vns_wire_frame f;
	uint32_t id;
	int r, len;

	r = need_cap(a, VNS_CAP_EXEC, "runs no commands (it was not started with --allow-exec)",
		     err);
	if (r)
		return r;
	len = put_argv(body, sizeof(body), argv);
	if (len < 0)
		return vns_err_set(err, len, "agent %s: the command has too many words", a->name);
	r = vns_client_request(a, VNS_MSG_EXEC, body, (size_t)len, VNS_MSG_OK, &f,
			       a->timeout_ms, &id, err);
	if (r < 0)
		return r;
	r = exec_follow(a, id, output, ctx, deadline, status, err);
	if (r != -ETIMEDOUT || a->broken)
		return r;
	simple(a, VNS_MSG_EXEC_KILL, (struct words){ 1, { id } }, NULL);
	return vns_err_set(err, -ETIMEDOUT, "agent %s: %.60s did not end in %d ms and was killed",
			   a->name, argv[0], timeout_ms);
}

int vns_agent_shutdown(struct vns_agent *a, struct vns_err *err)
{
	int r = simple(a, VNS_MSG_SHUTDOWN, (struct words){ 0 }, err);

	if (r == 0) /* no BYE: it is leaving */
		vns_client_broken(a, -EPIPE, NULL, "was told to end");
	return r;
}
