// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Round-trip times beyond TCP: decoded packets -> samples and distributions of ICMP echo, DNS and
 * QUIC. query.c and quic.c know the protocols; here stand the flows, their figures and their end.
 *
 * Flows and requests stand in two flow tables, each bounded, aged by packet time from the back of its
 * lists with work in proportion to the packets that came. TCP, which has an engine of its own, costs
 * one comparison.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "base/reserve.h"
#include "engine/rtt/app.h"
#include "engine/rtt/bytes.h"

#define DEFAULT_MAX_FLOWS (UINT32_C(1) << 20)
#define DEFAULT_IDLE_NS   (300 * VNS_NSEC_PER_SEC)
#define TICKS_PER_IDLE    32

int vns_rtt_app_new(struct vns_rtt_app **out, const struct vns_rtt_app_opts *opts,
		    struct vns_err *err)
{
	size_t max = opts->max_flows ? opts->max_flows : DEFAULT_MAX_FLOWS;
	struct vns_rtt_app *a;

	if (max >= VNS_FLOW_NONE / 2 || opts->max_waiting >= VNS_FLOW_NONE / 2 ||
	    opts->idle_ns < 0)
		return vns_err_set(err, -EINVAL, "rtt: a table of %zu flows is out of range", max);
	a = calloc(1, sizeof(*a));
	if (!a)
		return vns_err_set(err, -ENOMEM, "rtt: no memory");
	a->opts = *opts;
	if (a->opts.kinds == 0)
		a->opts.kinds = VNS_RTT_APP_KINDS;
	if (a->opts.idle_ns == 0)
		a->opts.idle_ns = DEFAULT_IDLE_NS;
	a->opts.max_flows = max;
	*out = a;
	return 0;
}

/*
 * The tables, at the first packet that needs them: most captures have none. Address space; pages come
 * as ids are first used. Return: false without memory.
 */
static bool have_tables(struct vns_rtt_app *a)
{
	uint32_t max = (uint32_t)a->opts.max_flows;

	if (a->flow)
		return true;
	if (vns_queries_init(&a->query, a->opts.max_waiting))
		return false;
	if (vns_flow_table_init(&a->flows, max, a->opts.idle_ns / TICKS_PER_IDLE)) {
		vns_queries_fini(&a->query);
		return false;
	}
	a->flow = vns_reserve(max, sizeof(*a->flow));
	if (!a->flow) {
		vns_flow_table_fini(&a->flows);
		vns_queries_fini(&a->query);
	}
	return a->flow;
}

void *vns_app_calloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	vns_held_change(0, p ? n * size : 0);
	return p;
}

static void free_flow(struct vns_rtt_app *a, uint32_t id)
{
	struct app_flow *f = &a->flow[id];

	if (f->quic)
		vns_quic_end(a, f->quic);
	for (int i = 0; f->dists && i < 4; i++) {
		vns_dist_fini(&f->dists->rtt[i / 2][i % 2]);
		vns_series_free(f->dists->series[i / 2][i % 2]);
	}
	vns_held_change(f->dists ? sizeof(*f->dists) : 0, 0);
	free(f->dists);
	*f = (struct app_flow){ 0 };
}

void vns_rtt_app_free(struct vns_rtt_app *a)
{
	if (!a)
		return;
	for (uint32_t id = 0; id < a->flows.used; id++)
		free_flow(a, id);
	vns_flow_table_fini(&a->flows);
	vns_queries_fini(&a->query);
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		vns_dist_fini(&a->total[k]);
		vns_blocks_fini(&a->block[k]);
	}
	vns_unreserve(a->flow);
	vns_held_change(a->stream ? DNS_STREAMS * sizeof(*a->stream) : 0, 0);
	free(a->stream);
	free(a);
}

static enum vns_rtt_kind kind_of(const struct vns_flow_key *key, const struct app_flow *f, int which)
{
	if (f->quic)
		return which ? VNS_RTT_QUIC_SPIN : VNS_RTT_QUIC_HANDSHAKE;
	return vns_rtt_is_dns(key->ipproto) ? VNS_RTT_DNS : VNS_RTT_ICMP;
}

/* The client of a handshake that was seen; a port alone does not say who opened the flow. */
static uint8_t opener_of(const struct app_flow *f)
{
	return f->quic && f->quic->phase != QUIC_IDLE ? f->quic->client_dir :
							VNS_RTT_OPENER_UNKNOWN;
}

static void report_flow(const struct vns_rtt_app *a, uint32_t id, bool evicted, vns_rtt_flow_fn fn,
			void *ctx)
{
	const struct vns_flow_head *h = &a->flows.head[id];
	const struct app_flow *f = &a->flow[id];

	for (int i = 0; f->dists && i < 4; i++) {
		struct vns_rtt_flow out = { .key = &h->key, .kind = kind_of(&h->key, f, i / 2),
					    .dir = (uint8_t)(i % 2), .evicted = evicted,
					    .opener = opener_of(f),
					    .first_ns = f->first_ns, .last_ns = h->last_ns,
					    .packets = f->packets[i % 2],
					    .rtt = &f->dists->rtt[i / 2][i % 2],
					    .series = f->dists->series[i / 2][i % 2] };

		if (out.rtt->n > 0)
			fn(ctx, &out);
	}
}

/* The flow leaves the table; @counter says why, for QUIC. */
static void end_flow(struct vns_rtt_app *a, uint32_t id, uint64_t *counter)
{
	*counter += a->flow[id].quic != NULL;
	if (a->opts.on_flow_end)
		report_flow(a, id, true, a->opts.on_flow_end, a->opts.ctx);
	free_flow(a, id);
	vns_flow_remove(&a->flows, id);
}

static bool is_idle(const struct vns_rtt_app *a, uint32_t id, int64_t now_ns)
{
	return (int64_t)((uint64_t)now_ns - (uint64_t)a->flows.head[id].last_ns) > a->opts.idle_ns;
}

uint32_t vns_rtt_app_flow(struct vns_rtt_app *a, const struct vns_flow_key *key, uint64_t hash,
			  int64_t now_ns, bool make)
{
	uint32_t id = vns_flow_find(&a->flows, hash, key);

	if (id != VNS_FLOW_NONE && is_idle(a, id, now_ns)) {
		end_flow(a, id, &a->counts.quic.flows_idle);
		id = VNS_FLOW_NONE;
	}
	if (id != VNS_FLOW_NONE) {
		vns_flow_touch(&a->flows, id, now_ns);
		return id;
	}
	if (!make)
		return id;
	id = vns_flow_insert(&a->flows, hash, key, now_ns);
	if (id == VNS_FLOW_NONE && a->flows.back[VNS_FLOW_OPEN] != VNS_FLOW_NONE) {
		end_flow(a, a->flows.back[VNS_FLOW_OPEN], &a->counts.quic.flows_full);
		id = vns_flow_insert(&a->flows, hash, key, now_ns);
	}
	if (id != VNS_FLOW_NONE)
		a->flow[id].first_ns = now_ns;
	return id;
}

void vns_rtt_app_emit(struct vns_rtt_app *a, uint32_t id, const struct vns_rtt_sample *s)
{
	vns_dist_add(&a->total[s->kind], s->rtt_ns);
	vns_blocks_add(&a->block[s->kind], s->at_ns, s->rtt_ns);
	if (a->opts.per_flow && id != VNS_FLOW_NONE) {
		struct app_flow *f = &a->flow[id];

		if (!f->dists)
			f->dists = vns_app_calloc(1, sizeof(*f->dists));
		if (f->dists) {
			bool spin = s->kind == VNS_RTT_QUIC_SPIN;

			vns_dist_add(&f->dists->rtt[spin][s->dir], s->rtt_ns);
			vns_series_add(&f->dists->series[spin][s->dir], s->at_ns, s->rtt_ns);
		}
	}
	if (a->opts.on_sample)
		a->opts.on_sample(a->opts.ctx, s);
}

static bool is_echo(const struct vns_packet *p)
{
	if (p->key.ipproto == 1)
		return p->icmp_type == 0 || p->icmp_type == 8;
	return p->icmp_type == 128 || p->icmp_type == 129;
}

static bool on_port(const struct vns_packet *p, uint16_t port)
{
	return p->key.port[0] == port || p->key.port[1] == port;
}

/* A datagram on the port of DNS or QUIC whose header the capture did not keep. */
static bool header_cut(const struct vns_packet *p)
{
	return (p->flags & VNS_PKT_F_DIGEST_SHORT) && (on_port(p, 53) || on_port(p, 443));
}

static int on_udp(struct vns_rtt_app *a, const struct vns_packet *p)
{
	bool quic = vns_rtt_app_wants(a, VNS_RTT_QUIC_HANDSHAKE) ||
		    vns_rtt_app_wants(a, VNS_RTT_QUIC_SPIN);

	if ((p->flags & VNS_PKT_F_DNS) && vns_rtt_app_wants(a, VNS_RTT_DNS))
		return have_tables(a) ? vns_query_dns(a, p, p->dns_id, p->dns_flags) : -ENOMEM;
	if ((p->flags & VNS_PKT_F_QUIC) && quic) {
		if (!have_tables(a))
			return -ENOMEM;
		if (vns_quic_packet(a, p))
			return 0;
	}
	if (!(p->flags & (VNS_PKT_F_DNS | VNS_PKT_F_QUIC)) && header_cut(p))
		a->counts.cut++;
	else
		a->counts.other++;
	return 0;
}

static int on_packet(struct vns_rtt_app *a, const struct vns_packet *p)
{
	if (p->proto == VNS_PROTO_TCP) {
		if ((p->flags & VNS_PKT_F_DNS_TCP) && p->verdict == VNS_PKT_OK &&
		    vns_rtt_app_wants(a, VNS_RTT_DNS))
			return have_tables(a) ? vns_dns_segment(a, p) : -ENOMEM;
		a->counts.other++;
		return 0;
	}
	if (p->verdict == VNS_PKT_OK && p->proto == VNS_PROTO_UDP)
		return on_udp(a, p);
	if (p->verdict == VNS_PKT_OK && p->proto == VNS_PROTO_ICMP && is_echo(p) &&
	    vns_rtt_app_wants(a, VNS_RTT_ICMP))
		return have_tables(a) ? vns_query_icmp(a, p) : -ENOMEM;
	if (p->verdict == VNS_PKT_CUT &&
	    (p->proto == VNS_PROTO_UDP || p->proto == VNS_PROTO_ICMP))
		a->counts.cut++;
	else
		a->counts.other++;
	return 0;
}

/* Age out from the back, at most 2 * @work of each: the work per packet is constant. */
static void age(struct vns_rtt_app *a, int64_t now_ns, size_t work)
{
	for (size_t i = 0; i < 2 * work; i++) {
		uint32_t id = a->flows.back[VNS_FLOW_OPEN];

		if (id == VNS_FLOW_NONE || !is_idle(a, id, now_ns))
			break;
		end_flow(a, id, &a->counts.quic.flows_idle);
	}
	vns_queries_age(a, now_ns, 2 * work);
}

int vns_rtt_app_feed(struct vns_rtt_app *a, const struct vns_packet *pkts, size_t n)
{
	a->counts.packets += n;
	for (size_t i = 0; i < n; i++) {
		int error = on_packet(a, &pkts[i]);

		if (error)
			return error;
	}
	if (n && a->flow)
		age(a, pkts[n - 1].time_ns, n);
	return 0;
}

void vns_rtt_app_finish(struct vns_rtt_app *a)
{
	uint32_t id = a->flow ? a->flows.back[VNS_FLOW_OPEN] : VNS_FLOW_NONE;

	if (a->flow)
		vns_queries_finish(a);
	for (; id != VNS_FLOW_NONE; id = a->flows.head[id].prev) {
		struct quic_flow *q = a->flow[id].quic;

		a->counts.quic.flows_live += q != NULL;
		if (q && q->pending.rtt_ns >= 0)
			a->counts.quic.spin_unconfirmed++;
		if (q)
			a->counts.quic.spin_unconfirmed += q->n_held;
	}
}

void vns_rtt_app_limit_flows(struct vns_rtt_app *a, size_t max)
{
	uint32_t n = max > UINT32_MAX ? UINT32_MAX : max ? (uint32_t)max : 1;

	if (n < a->opts.max_flows)
		a->opts.max_flows = n;
	if (n < a->opts.max_waiting || a->opts.max_waiting == 0)
		a->opts.max_waiting = n;
	if (!a->flow) /* the tables will be made so */
		return;
	if (n < a->flows.max)
		a->flows.max = n;
	while (a->flows.live > a->flows.max)
		end_flow(a, a->flows.back[VNS_FLOW_OPEN], &a->counts.quic.flows_full);
	vns_queries_limit(a, n);
}

size_t vns_rtt_app_live(const struct vns_rtt_app *a)
{
	return a->flow ? (size_t)a->flows.live + a->query.table.live : 0;
}

uint64_t vns_rtt_app_bytes(const struct vns_rtt_app *a)
{
	const struct vns_flow_table *q = &a->query.table;

	if (!a->flow)
		return 0;
	return vns_flow_table_bytes(&a->flows) + a->flows.used * sizeof(*a->flow) +
	       vns_flow_table_bytes(q) + q->used * sizeof(*a->query.sent_ns);
}

void vns_rtt_app_get_counts(const struct vns_rtt_app *a, struct vns_rtt_app_counts *out)
{
	*out = a->counts;
}

const struct vns_dist *vns_rtt_app_total(const struct vns_rtt_app *a, enum vns_rtt_kind kind)
{
	return &a->total[kind];
}

void vns_rtt_app_intervals(const struct vns_rtt_app *a, enum vns_rtt_kind kind,
			   struct vns_intervals *out)
{
	vns_blocks_intervals(&a->block[kind], &a->total[kind], out);
}

const struct vns_blocks *vns_rtt_app_blocks(const struct vns_rtt_app *a, enum vns_rtt_kind kind)
{
	return VNS_RTT_APP_KINDS >> kind & 1 ? &a->block[kind] : NULL;
}

void vns_rtt_app_each_flow(const struct vns_rtt_app *a, vns_rtt_flow_fn fn, void *ctx)
{
	uint32_t id = a->flow ? a->flows.back[VNS_FLOW_OPEN] : VNS_FLOW_NONE;

	for (; id != VNS_FLOW_NONE; id = a->flows.head[id].prev)
		report_flow(a, id, false, fn, ctx);
}
