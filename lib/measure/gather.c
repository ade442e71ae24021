// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Subject and clock mode -> exchanges (T1..T4) into a clock engine.
 *
 * Each mode has its own way to stamp four times, each on the clock of the one end: ICMP echo requests seen
 * by both ends' captures (exchange; RFC 792, RFC 4443), a message over the agent's channel, the shared page
 * (shm), the host's clock as the guest's PTP device reads it (ptp_kvm), both ends' counters (tsc.c). What a
 * mode crosses and when the caller must bring packets: gather.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/netns.h"
#include "measure/doctor.h"
#include "measure/gather.h"
#include "measure/tsc.h"
#include "wire/tsc.h"

#define RING         1024 /* requests in flight; at 3 ms apart a reply may take 3 s */
#define LOST_NS      (3 * VNS_NSEC_PER_SEC) /* a later request may take the place of one so old */
#define PAYLOAD      56  /* as ping's default, so that the probe is ordinary traffic */
#define BURST_MAX    64
#define SHM_BURST_NS (20 * VNS_NSEC_PER_MSEC)
#define SHM_LONGEST_NS (320 * VNS_NSEC_PER_MSEC) /* for a guest that runs now and then */
#define SHM_SLOW_NS  (20 * VNS_NSEC_PER_USEC) /* the two sides did not run at the same time */
#define TRIES        16 /* in modes that take a microsecond: the fastest of so many is kept */

/* ICMP types of echo request and reply, by family. */
#define V4_REQUEST 8
#define V4_REPLY   0
#define V6_REQUEST 128
#define V6_REPLY   129

struct pending {
	struct vns_exchange x;
	int64_t sent_ns; /* monotonic */
	uint64_t nth;    /* of those sent */
	uint16_t seq;
	bool used;
};

struct vns_gather {
	const struct vns_subject *s;
	struct vns_clock *clock;
	struct give_way_turns *turns; /* or NULL */
	enum vns_clock_mode mode;
	int sock;
	bool v6;
	struct vns_addr peer;
	uint16_t id, next_seq;
	int64_t last_t1_ns;
	uint64_t taken; /* exchanges that the estimator took; the round trips of the fastest and the slowest of them */
	int64_t fastest_ns, slowest_ns;
	uint64_t sent, done, limit; /* of echo requests; as many exchanges are wanted, 0: any number */
	uint64_t newest;            /* of those that came back: its nth */
	int64_t shm_ns;             /* shm: how long a burst may take */
	struct vns_tsc tsc;
	int next_cpu;               /* shm: where to ask from next; -1 leaves it to the kernel */
	struct pending ring[RING];
};

const char *vns_gather_refusal(const struct vns_subject *s, enum vns_clock_mode mode)
{
	const struct vns_agent_info *info = vns_agent_info(s->agent);

	switch (mode) {
	case VNS_CLOCK_SAME:
		return s->same_clock ? NULL : "its agent runs on another kernel, with a clock of its own";
	case VNS_CLOCK_SHM:
		if (!s->shm_page)
			return "the host has no shared memory device of this guest (lab guests have one)";
		return info->caps & VNS_CAP_SHM ? NULL : "its agent found no shared memory device";
	case VNS_CLOCK_PTP_KVM:
		return info->caps & VNS_CAP_PTP_KVM ? NULL :
						      "it has no KVM virtual PTP clock (module ptp_kvm)";
	case VNS_CLOCK_TSC:
		if (!vns_tsc_present())
			return "this processor's counter cannot be read";
		return info->caps & VNS_CAP_TSC ? NULL : "its agent cannot read the processor's counter";
	case VNS_CLOCK_CHANNEL:
		return NULL;
	case VNS_CLOCK_EXCHANGE:
		if (!(info->caps & VNS_CAP_CAPTURE))
			return info->capture_why[0] ? info->capture_why : "its agent cannot capture";
		if (s->n_guest == 0)
			return "no address of it is known";
		return s->n_point ? NULL : "no interface of this host is known to lead to it";
	default:
		return "this mode cannot be measured";
	}
}

enum vns_clock_mode vns_gather_best_mode(const struct vns_subject *s)
{
	static const enum vns_clock_mode order[] = { VNS_CLOCK_SAME, VNS_CLOCK_SHM,
						     VNS_CLOCK_PTP_KVM, VNS_CLOCK_CHANNEL };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (!vns_gather_refusal(s, order[i]))
			return order[i];
	return VNS_CLOCK_EXCHANGE;
}

static const struct vns_addr *probe_address(const struct vns_subject *s)
{
	for (size_t i = 0; i < s->n_guest; i++)
		if (vns_addr_is_v4(&s->guest[i]))
			return &s->guest[i];
	for (size_t i = 0; i < s->n_guest; i++)
		if (s->guest[i].b[0] != 0xfe) /* link-local needs an interface; not used */
			return &s->guest[i];
	return NULL;
}

void vns_gather_filter(const struct vns_subject *s, char *to, size_t size)
{
	const struct vns_addr *a = probe_address(s);
	char text[VNS_ADDR_STRLEN];

	if (a)
		snprintf(to, size, "(icmp or icmp6) and host %s", vns_addr_format(a, text));
	else
		snprintf(to, size, "icmp or icmp6");
}

static int open_socket(struct vns_gather *g, struct vns_err *err)
{
	const struct vns_addr *a = probe_address(g->s);
	int token, code = 0;

	if (!a)
		return vns_err_set(err, -EADDRNOTAVAIL,
				   "%s has no address that echo requests can be sent to", g->s->name);
	g->peer = *a;
	g->v6 = !vns_addr_is_v4(a);
	token = vns_netns_enter(g->s->host_netns_fd, err);
	if (vns_netns_failed(token))
		return vns_netns_error(token);
	g->sock = g->v6 ? socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6) :
			  socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	if (g->sock < 0)
		code = vns_err_set(err, -errno, "cannot open a raw socket for echo requests to %s: %s%s",
				   g->s->name, strerror(errno),
				   errno == EPERM ? " (CAP_NET_RAW is needed)" : "");
	if (vns_netns_leave(token, code ? NULL : err) && !code)
		code = -ENOTRECOVERABLE;
	return code;
}

static void host_reading(void *ctx, struct vns_tsc_reading *r)
{
	(void)ctx;
	vns_tsc_bracket(r);
}

static int guest_readings(void *ctx, struct vns_tsc_reading *r, size_t n, struct vns_err *err)
{
	const struct vns_gather *g = ctx;

	return vns_agent_tsc_read(g->s->agent, r, n, err);
}

/* The process that holds the guest's tap, for guests that no lab of ours runs. */
static int find_vmm(const struct vns_subject *s)
{
	struct vns_doctor d = { 0 };
	int pid = s->vmm_pid;

	if (pid || s->n_point == 0)
		return pid;
	vns_doctor_links(&d);
	for (size_t i = 0; i < d.n_link; i++)
		if (strcmp(d.link[i].name, s->point[s->n_point - 1].ifname) == 0)
			pid = d.link[i].owner_pid;
	vns_doctor_fini(&d);
	return pid;
}

static int open_tsc(struct vns_gather *g, struct vns_err *err)
{
	static const char source_path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	struct vns_err why = { "" };
	char source[32];
	int code;

	g->tsc.debugfs = VNS_TSC_DEBUGFS;
	g->tsc.pid = find_vmm(g->s);
	g->tsc.ops = (struct vns_tsc_ops){ host_reading, guest_readings, g };
	code = vns_tsc_begin(&g->tsc, &why);
	if (!code && strcmp(vns_doctor_read(source_path, source, sizeof(source)), "tsc") != 0)
		code = vns_err_set(&why, -EOPNOTSUPP, "the host itself does not trust its counter: its clock "
				   "source is %s", source);
	return code ? vns_err_set(err, code, "%s: clock mode tsc cannot be used: %.300s", g->s->name,
				  why.text) : 0;
}

uint64_t vns_gather_changes(const struct vns_gather *g)
{
	return g->tsc.changes;
}

int vns_gather_open(struct vns_gather **out, const struct vns_subject *s, enum vns_clock_mode mode,
		    struct vns_clock *clock, struct give_way_turns *turns, struct vns_err *err)
{
	const char *why = vns_gather_refusal(s, mode);
	struct vns_gather *g;
	int code = 0;

	*out = NULL;
	if (why)
		return vns_err_set(err, -EOPNOTSUPP, "%s: clock mode %s cannot be used: %s", s->name,
				   vns_clock_mode_name(mode), why);
	g = calloc(1, sizeof(*g));
	if (!g)
		return vns_err_set(err, -ENOMEM, "out of memory");
	g->s = s;
	g->clock = clock;
	g->turns = turns;
	g->mode = mode;
	g->sock = -1;
	g->last_t1_ns = INT64_MIN;
	g->next_cpu = -1;
	g->shm_ns = SHM_BURST_NS;
	if (getrandom(&g->id, sizeof(g->id), 0) != sizeof(g->id))
		g->id = (uint16_t)getpid();
	if (mode == VNS_CLOCK_EXCHANGE)
		code = open_socket(g, err);
	if (mode == VNS_CLOCK_TSC)
		code = open_tsc(g, err);
	if (code) {
		vns_gather_close(g);
		return code;
	}
	*out = g;
	return 0;
}

void vns_gather_set_clock(struct vns_gather *g, struct vns_clock *clock)
{
	g->clock = clock;
	for (size_t i = 0; i < RING; i++)
		g->ring[i].used = false; /* what is under way may belong to either */
}

void vns_gather_close(struct vns_gather *g)
{
	if (!g)
		return;
	if (g->sock >= 0)
		close(g->sock);
	free(g);
}

static uint16_t checksum(const uint8_t *b, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)b[i] << 8 | b[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void take(struct vns_gather *g)
{
	if (g->turns)
		give_way_lock(g->turns);
}

static void release(struct vns_gather *g)
{
	if (g->turns)
		pthread_mutex_unlock(g->turns->lock);
}

static int add_exchange(struct vns_gather *g, const struct vns_exchange *x)
{
	int64_t took_ns = x->t4_ns - x->t1_ns;
	int code = vns_clock_add(g->clock, x);

	if (code)
		return code;
	if (!g->taken++ || took_ns < g->fastest_ns)
		g->fastest_ns = took_ns;
	if (took_ns > g->slowest_ns)
		g->slowest_ns = took_ns;
	return 0;
}

/* An exchange that the agent made, from a thread that does not hold the lock. */
static int add_one(struct vns_gather *g, const struct vns_exchange *x)
{
	int code;

	take(g);
	code = add_exchange(g, x);
	release(g);
	return code;
}

/* A later request came back: the estimator wants order, so this one is not waited for. */
static bool overtaken(const struct vns_gather *g, const struct pending *slot)
{
	return slot->nth < g->newest;
}

/* Whether the next request has a place. Where all are taken by requests that may come back yet there is none. */
static bool take_slot(struct vns_gather *g)
{
	struct pending *slot = &g->ring[g->next_seq % RING];
	int64_t now = vns_monotonic_ns();
	bool have;

	take(g);
	have = !slot->used || overtaken(g, slot) || now - slot->sent_ns >= LOST_NS;
	if (have) {
		*slot = (struct pending){ .seq = g->next_seq++, .nth = g->sent++, .sent_ns = now, .used = true };
	}
	release(g);
	return have;
}

/* One echo request, unless too many are under way; the kernel fills ICMPv6's checksum. */
static int send_request(struct vns_gather *g, struct vns_err *err)
{
	uint8_t msg[8 + PAYLOAD] = { g->v6 ? V6_REQUEST : V4_REQUEST };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	uint16_t id = htons(g->id), seq = htons(g->next_seq), sum;
	uint8_t drop[256];
	ssize_t n;

	while (recv(g->sock, drop, sizeof(drop), 0) > 0)
		; /* replies are read from the capture; keep the socket's queue empty */
	memcpy(msg + 4, &id, 2);
	memcpy(msg + 6, &seq, 2);
	for (size_t i = 0; i < PAYLOAD; i++)
		msg[8 + i] = (uint8_t)(i + g->next_seq);
	if (!take_slot(g))
		return 0;
	if (g->v6) {
		memcpy(&to6.sin6_addr, g->peer.b, 16);
		n = sendto(g->sock, msg, sizeof(msg), 0, (void *)&to6, sizeof(to6));
	} else {
		memcpy(&to4.sin_addr, g->peer.b + 12, 4);
		sum = checksum(msg, sizeof(msg));
		memcpy(msg + 2, &sum, 2);
		n = sendto(g->sock, msg, sizeof(msg), 0, (void *)&to4, sizeof(to4));
	}
	if (n < 0 && errno != EAGAIN && errno != ENOBUFS)
		return vns_err_set(err, -errno, "cannot send an echo request to %s: %s", g->s->name,
				   strerror(errno));
	return 0;
}

static int add_all(struct vns_gather *g, const struct vns_exchange *x, int n)
{
	for (int i = 0; i < n; i++) {
		int code = add_one(g, &x[i]);

		if (code < 0)
			return code;
	}
	return n < 0 ? n : 0;
}

static int64_t width(const struct vns_exchange *x)
{
	return (x->t4_ns - x->t1_ns) - (x->t3_ns - x->t2_ns);
}

/* Keep the fastest of every TRIES exchanges, so that a host or guest in the way costs little. */
static int add_fastest(struct vns_gather *g, const struct vns_exchange *x, int n)
{
	for (int i = 0; i < n; i += TRIES) {
		int best = i, code;

		for (int k = i + 1; k < n && k < i + TRIES; k++)
			if (width(&x[k]) < width(&x[best]))
				best = k;
		code = add_all(g, &x[best], 1);
		if (code)
			return code;
	}
	return n < 0 ? n : 0;
}

/* The CPU after the one we run on, of those in @allowed; -1 if there is no other. */
static int other_cpu(const cpu_set_t *allowed)
{
	int here = sched_getcpu();

	for (int i = 1; i < CPU_SETSIZE && here >= 0; i++)
		if (CPU_ISSET((size_t)((here + i) % CPU_SETSIZE), allowed))
			return (here + i) % CPU_SETSIZE;
	return -1;
}

/*
 * Both sides poll, so they must run at the same time. On a busy host the kernel may keep us on the
 * very CPU of the guest's vCPU for seconds; after a slow burst the next one asks from another.
 * A guest that does not run within a burst gets twice as long in the next one, so that a starved
 * one is met at last; what it then answers is as fast as ever.
 */
static int shm_burst(struct vns_gather *g, size_t tries, struct vns_err *err)
{
	struct vns_exchange x[BURST_MAX];
	int64_t best = INT64_MAX;
	cpu_set_t allowed, one;
	bool moved = false;
	int got;

	if (g->next_cpu >= 0 && sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
		CPU_ZERO(&one);
		CPU_SET((size_t)g->next_cpu, &one);
		moved = sched_setaffinity(0, sizeof(one), &one) == 0;
	}
	got = vns_agent_shm_exchange(g->s->agent, g->s->shm_page, x, tries, g->shm_ns, err);
	if (got == 0 && !g->turns) /* in a live run the traffic does not wait for the clock */
		g->shm_ns = 2 * g->shm_ns < SHM_LONGEST_NS ? 2 * g->shm_ns : SHM_LONGEST_NS;
	else
		g->shm_ns = g->shm_ns / 2 > SHM_BURST_NS ? g->shm_ns / 2 : SHM_BURST_NS;
	if (moved)
		sched_setaffinity(0, sizeof(allowed), &allowed);
	for (int i = 0; i < got; i++)
		best = width(&x[i]) < best ? width(&x[i]) : best;
	if (best > SHM_SLOW_NS)
		g->next_cpu = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ?
				      other_cpu(&allowed) :
				      -1;
	return add_fastest(g, x, got);
}

int vns_gather_burst(struct vns_gather *g, size_t n, struct vns_err *err)
{
	struct vns_exchange x[BURST_MAX];
	size_t want = n < BURST_MAX ? n : BURST_MAX;
	size_t tries = n < BURST_MAX / TRIES ? n * TRIES : BURST_MAX;
	int got = 0;

	switch (g->mode) {
	case VNS_CLOCK_EXCHANGE:
		return send_request(g, err);
	case VNS_CLOCK_SHM:
		return shm_burst(g, tries, err);
	case VNS_CLOCK_PTP_KVM:
		got = vns_agent_ptp_exchange(g->s->agent, x, tries, err);
		return add_fastest(g, x, got);
	case VNS_CLOCK_TSC:
		got = vns_tsc_exchange(&g->tsc, x, tries, err);
		return add_fastest(g, x, got);
	case VNS_CLOCK_CHANNEL:
		for (size_t i = 0; i < want; i++) {
			got = vns_agent_exchange(g->s->agent, &x[0], err);
			if (got < 0 || (got = add_all(g, x, 1)) < 0)
				return got;
		}
		return 0;
	default:
		return 0; /* same: nothing to exchange */
	}
}

static void complete(struct vns_gather *g, struct pending *slot)
{
	const struct vns_exchange *x = &slot->x;
	size_t have;

	if (!x->t1_ns || !x->t2_ns || !x->t3_ns || !x->t4_ns)
		return;
	slot->used = false;
	g->done++;
	if (x->t1_ns <= g->last_t1_ns)
		return; /* overtaken by a later probe: the estimator wants order */
	g->last_t1_ns = x->t1_ns;
	g->newest = slot->nth;
	vns_clock_samples(g->clock, &have);
	if (g->limit && have >= g->limit)
		return; /* one sent before the last one wanted came back */
	add_exchange(g, x);
}

/* What @p is of our echo: 0 nothing, 1 request, 2 reply. */
static int probe_part(const struct vns_gather *g, const struct vns_packet *p)
{
	const struct vns_addr *end;

	if (g->mode != VNS_CLOCK_EXCHANGE || p->proto != VNS_PROTO_ICMP || p->icmp_ident != g->id)
		return 0;
	if (p->icmp_type == (g->v6 ? V6_REQUEST : V4_REQUEST))
		end = vns_packet_dst(p);
	else if (p->icmp_type == (g->v6 ? V6_REPLY : V4_REPLY))
		end = vns_packet_src(p);
	else
		return 0;
	if (!vns_addr_equal(end, &g->peer))
		return 0;
	return end == vns_packet_dst(p) ? 1 : 2;
}

bool vns_gather_is_probe(const struct vns_gather *g, const struct vns_packet *p)
{
	return probe_part(g, p) != 0;
}

bool vns_gather_packet(struct vns_gather *g, enum vns_point point, const struct vns_packet *p)
{
	int part = probe_part(g, p);
	struct pending *slot;

	if (!part)
		return false;
	slot = &g->ring[p->icmp_seqno % RING];
	if (!slot->used || slot->seq != p->icmp_seqno)
		return true; /* answered too late: its slot serves a newer one */
	if (point == VNS_POINT_A && part == 1)
		slot->x.t1_ns = p->time_ns;
	else if (point == VNS_POINT_A)
		slot->x.t4_ns = p->time_ns;
	else if (part == 1)
		slot->x.t2_ns = p->time_ns;
	else
		slot->x.t3_ns = p->time_ns;
	complete(g, slot);
	return true;
}

void vns_gather_limit(struct vns_gather *g, uint64_t n)
{
	g->limit = n;
}

uint64_t vns_gather_done(const struct vns_gather *g)
{
	return g->done;
}

uint64_t vns_gather_taken(const struct vns_gather *g, int64_t *fastest_ns, int64_t *slowest_ns)
{
	*fastest_ns = g->fastest_ns;
	*slowest_ns = g->slowest_ns;
	return g->taken;
}

uint64_t vns_gather_sent(const struct vns_gather *g)
{
	return g->sent;
}

size_t vns_gather_outstanding(const struct vns_gather *g)
{
	size_t n = 0;

	for (size_t i = 0; i < RING; i++)
		n += g->ring[i].used && !overtaken(g, &g->ring[i]);
	return n;
}
