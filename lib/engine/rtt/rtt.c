// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Passive TCP round-trip time: decoded packets -> samples. Flows and the method of timestamps; the
 * others are in sequence.c.
 *
 * Strowes, "Passively measuring TCP round-trip times", ACM Queue 11(8), 2013, on the timestamps of
 * RFC 7323. For each direction:
 *
 *   remember   the time of the first segment that carries a new TSval, when it is data, SYN or FIN.
 *              "New": higher, modulo 2^32, than every TSval seen in that direction. A TSval that a
 *              pure ACK carried first is spent: its echo may have been caused by that ACK, and a
 *              later data segment of the same tick would give a sample below the truth.
 *              Nothing is asked of the other direction: a handshake's SYN comes before it.
 *   match      the first segment of the other direction with ACK whose TSecr equals it. TSecr never
 *              goes back at a receiver (RFC 7323 section 4.3), so an echo also passes all older
 *              TSvals: delayed ACKs never echo those, and a lower TSecr after it was overtaken on
 *              the way. A TSecr above the highest TSval seen echoes what the capture missed.
 *
 * The sample is the time between the two: from the capture point to the echoing host and back. It
 * contains the delay of a delayed ACK; minimum and quantiles tell.
 *
 * Speed: a look-up costs three dependent cache misses. vns_rtt_feed() is a pipeline: while it works
 * on one packet, head and track of the packet AHEAD of it and the index slot of the one twice as far
 * are on their way to the cache. Samples are collected and added to the distributions of their
 * flows by the dozen, for the same reason.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"
#include "engine/rtt/tcp.h"

#define DEFAULT_MAX_FLOWS (UINT32_C(1) << 20)
#define DEFAULT_IDLE_NS   (300 * VNS_NSEC_PER_SEC)
/* A closed flow stays for its last ACK and repeated FINs. */
#define CLOSED_NS         (10 * VNS_NSEC_PER_SEC)
#define TICKS_PER_IDLE    32 /* a flow moves in the age list at most so often per idle time */
/* Packets looked ahead: some 20 ns each, so that a miss of 100 to 200 ns is over in time. */
#define AHEAD             16
#define PACKETS_AHEAD     32 /* beyond those; behind the last one there may be anything */

/* a is later than b on a 32-bit clock (RFC 7323 section 5.2). */
static bool after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* Like the table's heads: address space now, pages as ids are first used. */
static int take_memory(struct vns_rtt *r, size_t max)
{
	r->totals = calloc(1, sizeof(*r->totals));
	r->track = vns_reserve(max, sizeof(*r->track));
	r->cold = vns_reserve(max, sizeof(*r->cold));
	if (!r->totals || !r->track || !r->cold ||
	    vns_flow_table_init(&r->flows, (uint32_t)max, r->opts.idle_ns / TICKS_PER_IDLE))
		return -ENOMEM;
	if (r->opts.per_flow && r->opts.method != VNS_RTT_METHOD_SEQ) {
		r->ts_rtt = vns_reserve(max, sizeof(*r->ts_rtt));
		r->tick = vns_reserve(max, sizeof(*r->tick));
		if (!r->ts_rtt || !r->tick ||
		    vns_touched_init(&r->touched_ts_rtt, max, sizeof(*r->ts_rtt)) ||
		    vns_touched_init(&r->touched_tick, max, sizeof(*r->tick)))
			return -ENOMEM;
	}
	if (r->opts.method == VNS_RTT_METHOD_TS)
		return 0;
	r->any_tcp = VNS_PKT_F_HAS_TS;
	r->seq_always = r->opts.method != VNS_RTT_METHOD_AUTO ? VNS_PKT_F_HAS_TS : 0;
	r->seq = vns_reserve(max, sizeof(*r->seq));
	r->seq_rtt = r->opts.per_flow ? vns_reserve(max, sizeof(*r->seq_rtt)) : NULL;
	if (!r->seq || vns_touched_init(&r->touched_seq, max, sizeof(*r->seq)))
		return -ENOMEM;
	return r->seq_rtt || !r->opts.per_flow ? 0 : -ENOMEM;
}

uint64_t vns_rtt_bytes(const struct vns_rtt *r)
{
	return vns_flow_table_bytes(&r->flows) + r->flows.used * (sizeof(*r->track) + sizeof(*r->cold)) +
	       (r->seq_rtt ? r->flows.used * sizeof(*r->seq_rtt) : 0) +
	       vns_touched_bytes(&r->touched_seq) + vns_touched_bytes(&r->touched_ts_rtt) +
	       vns_touched_bytes(&r->touched_tick);
}

int vns_rtt_new(struct vns_rtt **out, const struct vns_rtt_opts *opts, struct vns_err *err)
{
	struct vns_rtt *r = calloc(1, sizeof(*r));
	size_t max = opts->max_flows ? opts->max_flows : DEFAULT_MAX_FLOWS;
	int error;

	if (max >= VNS_FLOW_NONE / 2 || opts->idle_ns < 0) {
		free(r);
		return vns_err_set(err, -EINVAL, "rtt: a table of %zu flows is out of range", max);
	}
	if (!r)
		return vns_err_set(err, -ENOMEM, "rtt: no memory");
	r->opts = *opts;
	if (r->opts.idle_ns == 0)
		r->opts.idle_ns = DEFAULT_IDLE_NS;
	error = take_memory(r, max);
	if (error) {
		vns_rtt_free(r);
		return vns_err_set(err, error, "rtt: no memory for %zu flows (a limit of this process, ulimit -v?): "
				   "--max-flows takes fewer", max);
	}
	*out = r;
	return 0;
}

void vns_rtt_free(struct vns_rtt *r)
{
	if (!r)
		return;
	for (uint32_t id = 0; id < r->flows.used; id++) /* every id ever used */
		tcp_forget_flow(r, id);
	vns_flow_table_fini(&r->flows);
	for (int k = 0; r->totals && k < TCP_KINDS; k++) {
		vns_blocks_fini(&r->totals->block[k]);
		vns_dist_fini(&r->totals->total[k]);
	}
	free(r->totals);
	vns_gone_fini(&r->gone);
	vns_unreserve(r->track);
	vns_unreserve(r->seq);
	vns_unreserve(r->cold);
	vns_unreserve(r->ts_rtt);
	vns_unreserve(r->seq_rtt);
	vns_unreserve(r->tick);
	vns_touched_fini(&r->touched_seq);
	vns_touched_fini(&r->touched_ts_rtt);
	vns_touched_fini(&r->touched_tick);
	free(r);
}

/* What still waits in a flow that is over, @pushed out or not: it gives no sample any more. */
static void count_waiting(struct vns_rtt *r, uint32_t id, bool pushed)
{
	uint64_t *tsvals = pushed ? &r->counts.tsval_pushed_out : &r->counts.tsval_unanswered;

	for (int d = 0; d < 2; d++) {
		*tsvals += vns_pending_count(&r->track[id].pending[d]);
		if (pushed && (r->flows.head[id].user & BY_SEQ))
			r->counts.seq_pushed_out += vns_seq_waiting(&r->seq[id].side[d]);
	}
}

/* The flow leaves the table; @counter says why. */
static void end_flow(struct vns_rtt *r, uint32_t id, uint64_t *counter)
{
	tcp_flush_samples(r);
	++*counter;
	r->counts.flows_one_direction += tcp_one_direction(&r->track[id]);
	count_waiting(r, id, counter == &r->counts.flows_evicted_full);
	if (counter == &r->counts.flows_evicted_full)
		vns_gone_add(&r->gone, &r->flows.head[id].key, r->flows.max);
	if (r->opts.on_flow_end)
		tcp_report_flow(r, id, true, r->opts.on_flow_end, r->opts.ctx);
	tcp_forget_flow(r, id);
	vns_flow_remove(&r->flows, id);
}

/* Why the flow is over at @now_ns, as the counter to raise; NULL while it is not. */
static uint64_t *over_by_time(struct vns_rtt *r, uint32_t id, int64_t now_ns)
{
	const struct vns_flow_head *h = &r->flows.head[id];
	int64_t silent = (int64_t)((uint64_t)now_ns - (uint64_t)h->last_ns);

	if (h->list == VNS_FLOW_CLOSED && silent > CLOSED_NS)
		return &r->counts.flows_closed;
	return silent > r->opts.idle_ns ? &r->counts.flows_evicted_idle : NULL;
}

/*
 * Age out from the back of both lists, at most 2 * @work flows of each: called with the number of
 * packets that came, so the work per packet is constant and the table follows.
 */
static void age(struct vns_rtt *r, int64_t now_ns, size_t work)
{
	for (int list = 0; list < VNS_FLOW_LISTS; list++) {
		for (size_t i = 0; i < 2 * work && r->flows.back[list] != VNS_FLOW_NONE; i++) {
			uint32_t id = r->flows.back[list];
			uint64_t *why = over_by_time(r, id, now_ns);

			if (!why)
				break;
			end_flow(r, id, why);
		}
	}
}

/* One flow leaves a full table: a closed one, else the longest idle. */
static void push_out(struct vns_rtt *r)
{
	uint32_t closed = r->flows.back[VNS_FLOW_CLOSED];

	if (closed != VNS_FLOW_NONE)
		end_flow(r, closed, &r->counts.flows_closed);
	else if (r->flows.back[VNS_FLOW_OPEN] != VNS_FLOW_NONE)
		end_flow(r, r->flows.back[VNS_FLOW_OPEN], &r->counts.flows_evicted_full);
}

void vns_rtt_limit_flows(struct vns_rtt *r, size_t max)
{
	if (max < r->flows.max)
		r->flows.max = max ? (uint32_t)max : 1;
	while (r->flows.live > r->flows.max)
		push_out(r);
}

static uint32_t new_flow(struct vns_rtt *r, const struct vns_packet *p)
{
	uint32_t id = vns_flow_insert(&r->flows, p->flow_hash, &p->key, p->time_ns);
	struct track *t;

	if (id == VNS_FLOW_NONE) {
		push_out(r);
		id = vns_flow_insert(&r->flows, p->flow_hash, &p->key, p->time_ns);
		if (id == VNS_FLOW_NONE)
			return id;
	}
	r->counts.flows++;
	/* a SYN, or its answer where one direction alone is seen, begins a flow of its own, if on the same ports */
	if (vns_gone_take(&r->gone, &p->key))
		r->counts.flows_returned += !(p->tcp_flags & VNS_TCP_SYN);
	t = &r->track[id];
	*t = (struct track){ 0 };
	t->pending[0].oldest_ns = t->pending[1].oldest_ns = VNS_PENDING_NONE;
	r->cold[id].first_ns = p->time_ns;
	r->cold[id].opener = 0;
	r->cold[id].syn[0] = r->cold[id].syn[1] = SYN_NONE;
	return id;
}

/*
 * A SYN on ports that a flow already uses: a repetition has that flow's initial sequence number
 * (RFC 9293 section 3.4); any other SYN opens a new connection, unless nothing but SYNs
 * was seen and this is the other side's (simultaneous open).
 */
static bool opens_anew(const struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	uint16_t user = r->flows.head[id].user;

	if ((p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_ACK)) != VNS_TCP_SYN)
		return false;
	if (user & HAS_ISN(p->dir))
		return r->cold[id].isn[p->dir] != p->seq;
	return (user & NOT_ONLY_SYN) != 0;
}

/* The flow of @p, begun anew where the old one is over. */
static uint32_t flow_of(struct vns_rtt *r, const struct vns_packet *p, uint32_t guess)
{
	uint32_t id = vns_flow_find_guessed(&r->flows, p->flow_hash, &p->key, guess);
	uint64_t *why;

	if (id == VNS_FLOW_NONE)
		return new_flow(r, p);
	why = over_by_time(r, id, p->time_ns);
	if (!why && opens_anew(r, id, p))
		why = r->flows.head[id].list == VNS_FLOW_CLOSED ? &r->counts.flows_closed :
								   &r->counts.flows_reused;
	if (!why)
		return id;
	end_flow(r, id, why);
	return new_flow(r, p);
}

static void follow_flags(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	struct vns_flow_head *h = &r->flows.head[id];

	if (!(h->user & NOT_ONLY_SYN)) {
		tcp_choose_method(r, id, p);
		tcp_handshake(r, id, p);
	}
	if (p->tcp_flags & VNS_TCP_SYN) {
		h->user |= HAS_ISN(p->dir);
		r->cold[id].isn[p->dir] = p->seq;
		r->cold[id].opener = (uint8_t)(1 + (p->tcp_flags & VNS_TCP_ACK ? !p->dir : p->dir));
	} else {
		h->user |= NOT_ONLY_SYN;
	}
	if (p->tcp_flags & VNS_TCP_FIN)
		h->user |= FIN(p->dir);
	if (h->list == VNS_FLOW_OPEN && ((p->tcp_flags & VNS_TCP_RST) ||
					 (h->user & (FIN(0) | FIN(1))) == (FIN(0) | FIN(1))))
		vns_flow_move(&r->flows, id, VNS_FLOW_CLOSED);
}

/*
 * TSecr of @p against what the other direction sent. Most echoes are repetitions, in no order that a
 * processor could predict: their kinds are counted by index, and the one branch is the rare case.
 */
static void match_echo(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	int sender = !p->dir;
	struct track *t = &r->track[id];
	struct vns_pending *q = &t->pending[sender];
	uint16_t *user = &r->flows.head[id].user;
	bool repeated = ((*user >> sender & HAS_ECHO(0)) != 0) & (p->tsecr == q->last_echo);
	bool waits = (int)vns_pending_any(q) & !after(q->oldest_tsval, p->tsecr) &
		     !after(p->tsecr, t->tsval_max[sender]);
	int64_t sent_ns;

	if (repeated | !waits) {
		r->echo[repeated ? ECHO_REPEATED : ECHO_UNKNOWN]++;
		return;
	}
	while (vns_pending_any(q) && after(p->tsecr, q->oldest_tsval)) {
		r->counts.tsval_passed++;
		vns_pending_pop(q);
	}
	if (!vns_pending_any(q) || q->oldest_tsval != p->tsecr) {
		r->echo[ECHO_UNKNOWN]++;
		return;
	}
	sent_ns = q->oldest_ns;
	vns_pending_pop(q);
	*user |= HAS_ECHO(sender);
	q->last_echo = p->tsecr;
	r->echo[ECHO_MATCHED]++;
	if (p->time_ns < sent_ns)
		r->counts.echo_before_tsval++;
	else
		tcp_add_sample(r, id, (struct sample){ .at_ns = p->time_ns, .what = p->tsecr,
						       .rtt_ns = p->time_ns - sent_ns,
						       .kind = VNS_RTT_TS, .dir = (uint8_t)sender });
}

/*
 * TSval of @p: remembered if it is new and stands on a segment that will be answered. As above: the
 * kind is computed without branches, only storing is one.
 */
static void remember_tsval(struct vns_rtt *r, struct track *t, const struct vns_packet *p)
{
	uint32_t *packets = &t->packets[p->dir], *max = &t->tsval_max[p->dir];
	bool pure_ack = (p->payload_len == 0) & !(p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_FIN));
	bool is_new = (*packets == 0) | after(p->tsval, *max);
	/* looked up, since the processor cannot predict it: by new, pure ACK, same as the highest */
	static const uint8_t kinds[8] = {
		TSVAL_BACKWARDS, TSVAL_REPEATED, TSVAL_BACKWARDS, TSVAL_REPEATED,
		TSVAL_STORED, TSVAL_STORED, PURE_ACK, PURE_ACK,
	};
	enum tsval_kind kind = kinds[is_new << 2 | pure_ack << 1 | (p->tsval == *max)];
	uint32_t newer = -(uint32_t)is_new;

	*packets += *packets != UINT32_MAX;
	__asm__("" : "+r"(newer)); /* any number to the compiler, or it would branch after all */
	*max ^= (*max ^ p->tsval) & newer;
	r->tsval[kind]++;
	if (kind == TSVAL_STORED) {
		uint32_t limit = t->packets[!p->dir] ? VNS_PENDING_MAX : VNS_PENDING_ALONE;

		r->counts.outstanding_dropped += vns_pending_push(&t->pending[p->dir], p->tsval,
								  p->time_ns, limit,
								  &r->pending_bytes);
	}
}

static void count_without_timestamp(struct vns_rtt *r, const struct vns_packet *p)
{
	if (p->flags & VNS_PKT_F_OPTS_CUT)
		r->counts.options_cut++;
	else
		r->counts.no_timestamp++;
}

/* Nothing but timestamps is read. A RST without the option still closes its flow. */
static void without_timestamp(struct vns_rtt *r, const struct vns_packet *p)
{
	uint32_t id;

	count_without_timestamp(r, p);
	if (!(p->tcp_flags & VNS_TCP_RST))
		return;
	id = vns_flow_find(&r->flows, p->flow_hash, &p->key);
	if (id != VNS_FLOW_NONE && r->flows.head[id].list == VNS_FLOW_OPEN)
		vns_flow_move(&r->flows, id, VNS_FLOW_CLOSED);
}

static void by_timestamp(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	if (p->tcp_flags & VNS_TCP_ACK) /* without it TSecr means nothing (RFC 7323 section 3.2) */
		match_echo(r, id, p);
	remember_tsval(r, &r->track[id], p);
}

/* A segment of which the timestamp is not read, or not there. */
static void not_by_timestamp(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	uint32_t *packets = &r->track[id].packets[p->dir];

	if (!(r->flows.head[id].user & BY_TS)) /* whose count also says that a TSval was seen */
		*packets += *packets != UINT32_MAX;
	if (p->flags & VNS_PKT_F_HAS_TS)
		r->counts.timestamp_not_read++;
	else
		count_without_timestamp(r, p);
}

static int on_segment(struct vns_rtt *r, const struct vns_packet *p, uint32_t guess)
{
	uint32_t id = flow_of(r, p, guess);
	uint16_t user;

	if (id == VNS_FLOW_NONE)
		return -ENOMEM;
	vns_flow_touch(&r->flows, id, p->time_ns);
	if ((p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_FIN | VNS_TCP_RST)) ||
	    !(r->flows.head[id].user & NOT_ONLY_SYN))
		follow_flags(r, id, p);
	user = r->flows.head[id].user;
	if (user & p->flags & BY_TS)
		by_timestamp(r, id, p);
	else
		not_by_timestamp(r, id, p);
	if (user & BY_SEQ)
		tcp_by_sequence(r, id, p);
	return 0;
}

static bool is_segment(const struct vns_rtt *r, const struct vns_packet *p)
{
	return p->verdict == VNS_PKT_OK && p->proto == VNS_PROTO_TCP &&
	       ((p->flags | r->any_tcp) & VNS_PKT_F_HAS_TS);
}

static int on_packet(struct vns_rtt *r, const struct vns_packet *p, uint32_t guess)
{
	if (is_segment(r, p))
		return on_segment(r, p, guess);
	if (p->verdict == VNS_PKT_CUT || p->verdict == VNS_PKT_MALFORMED ||
	    p->verdict == VNS_PKT_BAD_LINKTYPE || p->verdict == VNS_PKT_NO_TIME)
		r->counts.undecodable++;
	else if (p->verdict != VNS_PKT_OK || p->proto != VNS_PROTO_TCP)
		r->counts.not_tcp++;
	else
		without_timestamp(r, p);
	return 0;
}

/* First stage for packet @i of @n: its flow's likely id, head and track being fetched. */
static uint32_t look_ahead(const struct vns_rtt *r, const struct vns_packet *p, size_t i, size_t n)
{
	uint32_t guess;

	/* where another processor has decoded them, the packets themselves come from far */
	for (int line = 0; line < 2; line++)
		__builtin_prefetch((const void *)((uintptr_t)&p[i] + PACKETS_AHEAD * sizeof(*p) +
						  (size_t)line * LINE));
	if (i + AHEAD < n)
		vns_flow_prefetch_slot(&r->flows, p[i + AHEAD].flow_hash);
	/* a guess: for what is not read after all it does no harm */
	if (i >= n || p[i].proto != VNS_PROTO_TCP)
		return VNS_FLOW_NONE;
	guess = vns_flow_guess(&r->flows, p[i].flow_hash);
	if (guess != VNS_FLOW_NONE) {
		__builtin_prefetch(&r->track[guess], 1);
		if ((~p[i].flags | r->seq_always) & r->any_tcp)
			__builtin_prefetch(&r->seq[guess], 1);
	}
	return guess;
}

int vns_rtt_feed(struct vns_rtt *r, const struct vns_packet *pkts, size_t n)
{
	uint32_t guess[AHEAD]; /* of the packets i to i + AHEAD - 1 */

	for (size_t i = 0; i < AHEAD && i < n; i++)
		vns_flow_prefetch_slot(&r->flows, pkts[i].flow_hash);
	for (size_t i = 0; i < AHEAD; i++)
		guess[i] = look_ahead(r, pkts, i, n);
	r->counts.packets += n;
	for (size_t i = 0; i < n; i++) {
		int error = on_packet(r, &pkts[i], guess[i % AHEAD]);

		if (error)
			return error;
		guess[i % AHEAD] = look_ahead(r, pkts, i + AHEAD, n);
	}
	tcp_flush_samples(r);
	if (n)
		age(r, pkts[n - 1].time_ns, n);
	return 0;
}
