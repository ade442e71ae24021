// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One function per message from the host. A request that cannot be met is answered with an
 * ERROR of one sentence; a body that breaks the protocol ends the session.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "counters/usage.h"
#include "wire/shm.h"
#include "wire/tsc.h"

void agent_error(struct agent *a, uint32_t request, int code, const char *sentence)
{
	struct vns_cursor c;
	uint8_t body[600];

	vns_cursor_init(&c, body, sizeof(body));
	vns_put_error(&c, code, sentence);
	outq_put(&a->out.control, VNS_MSG_ERROR, request, body, c.pos);
}

void agent_note(struct agent *a, const char *sentence)
{
	struct vns_cursor c;
	uint8_t body[600];

	vns_cursor_init(&c, body, sizeof(body));
	vns_put_str(&c, sentence);
	if (a->session && !c.bad && a->out.control.bytes < CONTROL_LIMIT_BYTES)
		outq_put(&a->out.control, VNS_MSG_NOTE, 0, body, c.pos);
}

static void reply(struct agent *a, const struct vns_wire_frame *f, uint16_t type,
		  const struct vns_cursor *c)
{
	outq_put(&a->out.control, type, f->h.request, c->base, c->pos);
}

/* The host broke the protocol: request 0 says that the session ends. */
static void protocol_error(struct agent *a, const struct vns_wire_frame *f)
{
	char text[100];

	snprintf(text, sizeof(text), "%s breaks the protocol", vns_msg_rule(f->h.type)->name);
	agent_error(a, 0, -EPROTO, text);
	agent_end_session(a);
}

static void on_hello(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	struct vns_agent_info info;
	struct vns_wire_hello h;
	struct vns_cursor out;
	uint8_t body[4096];

	if (!vns_get_hello(c, &h)) {
		protocol_error(a, f);
		return;
	}
	if (!a->session || h.nonce != a->nonce) { /* else: our answer crossed a repetition */
		agent_end_session(a);
		outq_clear(&a->out);
	}
	a->session = true;
	a->nonce = h.nonce;
	info_read(&info, a);
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_hello_reply(&out, h.nonce, &info);
	reply(a, f, VNS_MSG_HELLO_REPLY, &out);
}

static void on_clock(struct agent *a, const struct vns_wire_frame *f)
{
	struct outframe *o = outframe_new(16);
	struct vns_cursor c;

	if (!o)
		return;
	vns_cursor_init(&c, o->data + VNS_WIRE_HEADER, 16);
	vns_put_le64(&c, (uint64_t)a->read_ns);
	vns_put_le64(&c, 0);
	o->stamp_t3 = true;
	outq_add(&a->out.control, o, VNS_MSG_CLOCK_REPLY, f->h.request, 16);
}

static void on_shm(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	uint32_t session = vns_get_le32(c);
	uint64_t max_ns = vns_get_le64(c), answered;
	struct vns_cursor out;
	uint8_t body[8];

	if (c->bad) {
		protocol_error(a, f);
		return;
	}
	if (!a->shm) {
		agent_error(a, f->h.request, -ENODEV, "there is no shared memory device (ivshmem)");
		return;
	}
	if (max_ns == 0)
		max_ns = VNS_SHM_DEFAULT_NS;
	if (max_ns > VNS_SHM_MAX_NS)
		max_ns = VNS_SHM_MAX_NS;
	outq_put(&a->out.control, VNS_MSG_SHM_READY, f->h.request, NULL, 0);
	outq_flush(&a->out, a->wfd);
	answered = vns_shm_serve(a->shm, session, (int64_t)max_ns);
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_le64(&out, answered);
	reply(a, f, VNS_MSG_SHM_DONE, &out);
}

static void on_ptp(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	struct vns_ptp_reading r[VNS_WIRE_MAX_PTP];
	uint8_t body[4 + 24 * VNS_WIRE_MAX_PTP];
	uint32_t n = vns_get_le32(c);
	struct vns_err err = { "" };
	struct vns_cursor out;
	int got;

	if (c->bad || n > VNS_WIRE_MAX_PTP) {
		protocol_error(a, f);
		return;
	}
	if (a->ptp_fd < 0) {
		agent_error(a, f->h.request, -ENODEV, "there is no PTP clock of KVM");
		return;
	}
	got = ptp_read(&ptp_kernel, a->ptp_fd, r, n, &err);
	if (got < 0) {
		agent_error(a, f->h.request, got, err.text);
		return;
	}
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_ptp(&out, r, (size_t)got);
	reply(a, f, VNS_MSG_PTP_REPLY, &out);
}

static void on_tsc(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	struct vns_tsc_reading r[VNS_WIRE_MAX_TSC];
	uint8_t body[4 + 24 * VNS_WIRE_MAX_TSC];
	uint32_t n = vns_get_le32(c);
	struct vns_cursor out;

	if (c->bad || n > VNS_WIRE_MAX_TSC) {
		protocol_error(a, f);
		return;
	}
	if (!vns_tsc_present()) {
		agent_error(a, f->h.request, -ENODEV, "the processor's counter cannot be read");
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		vns_tsc_bracket(&r[i]);
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_tsc(&out, r, n);
	reply(a, f, VNS_MSG_TSC_REPLY, &out);
}

static void on_clock_state(struct agent *a, const struct vns_wire_frame *f)
{
	struct vns_clock_state state;
	struct vns_cursor out;
	uint8_t body[96];

	vns_clock_state_read(&state);
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_clock_state(&out, &state);
	reply(a, f, VNS_MSG_CLOCK_STATE_REPLY, &out);
}

static void on_capture_start(struct agent *a, const struct vns_wire_frame *f,
			     struct vns_cursor *c)
{
	struct vns_wire_capture w = { .filter = a->filter };

	if (vns_get_capture(c, &w))
		capture_start(a, f->h.request, &w);
	else
		protocol_error(a, f);
}

static void on_load_start(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	struct vns_err err = { "" };
	struct vns_load_spec spec;
	struct vns_cursor out;
	uint8_t body[4];
	uint32_t id;
	int r;

	if (!vns_get_load_spec(c, &spec)) {
		protocol_error(a, f);
		return;
	}
	r = vns_loads_start(a->loads, &spec, &id, &err);
	if (r < 0) {
		agent_error(a, f->h.request, r, err.text);
		return;
	}
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_le32(&out, id);
	reply(a, f, VNS_MSG_LOAD_STARTED, &out);
}

static void on_load_report(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	uint32_t id = vns_get_le32(c);
	struct vns_load_stats stats;
	struct vns_err err = { "" };
	struct vns_cursor out;
	uint8_t body[128];
	int r;

	if (c->bad) {
		protocol_error(a, f);
		return;
	}
	r = f->h.type == VNS_MSG_LOAD_STOP ? vns_loads_stop(a->loads, id, &stats, &err) :
					     vns_loads_stats(a->loads, id, &stats, &err);
	if (r < 0) {
		agent_error(a, f->h.request, r, err.text);
		return;
	}
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_load_stats(&out, &stats);
	reply(a, f, VNS_MSG_LOAD_REPORT, &out);
}

static void on_usage(struct agent *a, const struct vns_wire_frame *f)
{
	struct vns_agent_usage u = { .at_ns = 0 };
	struct vns_err err = { "" };
	struct vns_cursor out;
	uint8_t body[40];
	int r = vns_usage_read(&u, &err);

	if (r < 0) {
		agent_error(a, f->h.request, r, err.text);
		return;
	}
	vns_cursor_init(&out, body, sizeof(body));
	vns_put_usage(&out, &u);
	reply(a, f, VNS_MSG_USAGE_REPLY, &out);
}

/* Requests whose body is one u32. */
static void on_number(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	uint32_t v = vns_get_le32(c);

	if (c->bad)
		protocol_error(a, f);
	else if (f->h.type == VNS_MSG_CAPTURE_STOP)
		capture_stop(a, f->h.request, v);
	else
		command_kill(a, f->h.request, v);
}

static void on_capture_sample(struct agent *a, const struct vns_wire_frame *f, struct vns_cursor *c)
{
	uint32_t id = vns_get_le32(c), one_in = vns_get_le32(c);

	if (c->bad)
		protocol_error(a, f);
	else
		capture_sample(a, f->h.request, id, one_in);
}

void agent_handle(struct agent *a, const struct vns_wire_frame *f)
{
	struct vns_cursor c;

	vns_cursor_init_const(&c, f->body, f->h.body_len);
	switch (f->h.type) {
	case VNS_MSG_HELLO:
		on_hello(a, f, &c);
		break;
	case VNS_MSG_CLOCK:
		on_clock(a, f);
		break;
	case VNS_MSG_SHM_START:
		on_shm(a, f, &c);
		break;
	case VNS_MSG_PTP:
		on_ptp(a, f, &c);
		break;
	case VNS_MSG_TSC:
		on_tsc(a, f, &c);
		break;
	case VNS_MSG_CLOCK_STATE:
		on_clock_state(a, f);
		break;
	case VNS_MSG_CAPTURE_START:
		on_capture_start(a, f, &c);
		break;
	case VNS_MSG_CAPTURE_SAMPLE:
		on_capture_sample(a, f, &c);
		break;
	case VNS_MSG_LOAD_START:
		on_load_start(a, f, &c);
		break;
	case VNS_MSG_LOAD_STATS:
	case VNS_MSG_LOAD_STOP:
		on_load_report(a, f, &c);
		break;
	case VNS_MSG_USAGE:
		on_usage(a, f);
		break;
	case VNS_MSG_EXEC:
		command_start(a, f->h.request, f->body, f->h.body_len);
		break;
	case VNS_MSG_CAPTURE_STOP:
	case VNS_MSG_EXEC_KILL:
		on_number(a, f, &c);
		break;
	case VNS_MSG_SHUTDOWN:
		outq_put(&a->out.control, VNS_MSG_OK, f->h.request, NULL, 0);
		a->shutdown = a->quit = true;
		break;
	default: /* BYE: the buffer lets only the host's types through */
		agent_end_session(a);
		a->quit = !a->virtio;
	}
}
