// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Samples of the TCP engine -> distributions per flow and kind, totals, the sink; its results.
 *
 * A distribution is some hundred bytes somewhere in memory: samples wait by the dozen, while what they
 * will touch is on its way to the cache.
 */
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "engine/rtt/tcp.h"

#define RELEASED    16384 /* flows, whose pages are given back at once */
#define FLOWS_AHEAD 8 /* reported so many later: some 100 ns each */

static void prefetch_histograms(struct vns_rtt *r)
{
	for (size_t i = 0; i < r->n_sample; i++) {
		const struct flow_dists *f;
		const char *hist;

		if (r->sample[i].kind == VNS_RTT_HANDSHAKE)
			continue;
		f = tcp_flow_dists(r, &r->sample[i]);
		hist = f ? (const char *)f->rtt[r->sample[i].dir].hist : NULL;
		if (!hist) /* the flow's first sample */
			continue;
		/* the search starts in the middle of some 200 bytes */
		for (int line = 0; line < 3; line++)
			__builtin_prefetch(hist + line * LINE, 1);
	}
}

/* The waiting samples of @kind to their blocks of time, of which the total is the sum. */
static void add_to_total(struct vns_rtt *r, enum vns_rtt_kind kind)
{
	int64_t rtt_ns[SAMPLES], at_ns[SAMPLES];
	size_t n = 0;

	for (size_t i = 0; i < r->n_sample; i++) {
		rtt_ns[n] = r->sample[i].rtt_ns;
		at_ns[n] = r->sample[i].at_ns;
		n += r->sample[i].kind == kind;
	}
	if (n)
		vns_blocks_add_many(&r->totals->block[kind], at_ns, rtt_ns, n);
}

/* Where memory is at its end the sample is in the totals alone. */
static struct flow_dists *make_dists(struct vns_rtt *r, uint32_t id)
{
	r->seq_rtt[id] = calloc(1, sizeof(*r->seq_rtt[id]));
	vns_held_change(0, r->seq_rtt[id] ? sizeof(*r->seq_rtt[id]) : 0);
	return r->seq_rtt[id];
}

static void add_to_flow(struct vns_rtt *r, const struct sample *s)
{
	struct flow_dists *f = tcp_flow_dists(r, s);

	if (s->kind == VNS_RTT_TS && f->rtt[s->dir].n == 0)
		vns_touched_mark(&r->touched_ts_rtt, s->id);
	if (!f)
		f = make_dists(r, s->id);
	if (!f)
		return;
	vns_dist_add(&f->rtt[s->dir], s->rtt_ns);
	vns_series_add(&f->series[s->dir], s->at_ns, s->rtt_ns);
}

void tcp_flush_samples(struct vns_rtt *r)
{
	if (r->n_sample == 0)
		return;
	if (r->opts.per_flow)
		prefetch_histograms(r);
	for (int kind = 0; kind < TCP_KINDS; kind++)
		add_to_total(r, (enum vns_rtt_kind)kind);
	for (size_t i = 0; i < r->n_sample && (r->opts.per_flow || r->opts.on_sample); i++) {
		const struct sample *s = &r->sample[i];
		struct vns_rtt_sample out = { .at_ns = s->at_ns, .rtt_ns = s->rtt_ns,
					      .key = &r->flows.head[s->id].key, .id = s->what,
					      .kind = s->kind, .dir = s->dir };

		if (r->opts.per_flow && s->kind != VNS_RTT_HANDSHAKE)
			add_to_flow(r, s);
		if (r->tick && s->kind == VNS_RTT_TS) {
			vns_touched_mark(&r->touched_tick, s->id);
			tick_line_add(&r->tick[s->id][s->dir], s->what, s->at_ns - s->rtt_ns);
		}
		if (r->opts.on_sample)
			r->opts.on_sample(r->opts.ctx, &out);
	}
	r->n_sample = 0;
}

/* The one sample of direction @d's SYN as a distribution; percentiles of one are itself. */
static struct vns_dist handshake_dist(const struct cold *c, int d)
{
	if (c->syn[d] != SYN_ANSWERED)
		return (struct vns_dist){ 0 };
	return (struct vns_dist){ .n = 1, .min = c->syn_ns[d], .max = c->syn_ns[d],
				  .mean = (double)c->syn_ns[d] };
}

void tcp_report_flow(const struct vns_rtt *r, uint32_t id, bool evicted, vns_rtt_flow_fn fn,
		     void *ctx)
{
	static const struct vns_dist none;
	const struct vns_flow_head *h = &r->flows.head[id];
	const struct cold *c = &r->cold[id];

	for (int i = 0; i < 2 * 3; i++) {
		int d = i / 3;
		struct vns_dist syn = handshake_dist(c, d);
		const struct flow_dists *seq = r->seq_rtt && h->user & (BY_SEQ | WAS_BY_SEQ) ?
						       r->seq_rtt[id] : NULL;
		const struct vns_dist *by_seq = seq ? &seq->rtt[d] : &none;
		const struct vns_dist *by_ts = r->ts_rtt ? &r->ts_rtt[id].rtt[d] : &none;
		const struct vns_dist *of[] = { by_ts, by_seq, &syn };
		const struct vns_series *series[] = {
			by_ts == &none ? NULL : r->ts_rtt[id].series[d],
			seq ? seq->series[d] : NULL, NULL };
		struct vns_rtt_flow f = { .key = &h->key, .kind = (enum vns_rtt_kind)(i % 3),
					  .dir = (uint8_t)d, .evicted = evicted,
					  .first_ns = c->first_ns, .last_ns = h->last_ns,
					  .packets = r->track[id].packets[d], .rtt = of[i % 3],
					  .series = series[i % 3],
					  .opener = c->opener ? (uint8_t)(c->opener - 1) :
								VNS_RTT_OPENER_UNKNOWN };

		if (f.rtt->n == 0)
			continue;
		if (r->tick && f.kind == VNS_RTT_TS)
			f.clock = tick_line_rate(&r->tick[id][d]);
		fn(ctx, &f);
	}
}

bool tcp_one_direction(const struct track *t)
{
	return t->packets[0] == 0 || t->packets[1] == 0;
}

/* Empty distributions are not written to: that would make memory of what was never touched. */
static void forget_dist(struct flow_dists *f, int d)
{
	if (f->rtt[d].n == 0)
		return;
	vns_dist_fini(&f->rtt[d]);
	vns_series_free(f->series[d]);
	f->series[d] = NULL;
}

void tcp_forget_flow(struct vns_rtt *r, uint32_t id)
{
	struct vns_flow_head *h = &r->flows.head[id];
	bool had_seq = h->user & (BY_SEQ | WAS_BY_SEQ);

	for (int d = 0; d < 2; d++) {
		vns_pending_clear(&r->track[id].pending[d], &r->pending_bytes);
		if (had_seq)
			vns_seq_clear(&r->seq[id].side[d], &r->pending_bytes);
		if (r->ts_rtt && r->ts_rtt[id].rtt[d].n)
			r->tick[id][d] = (struct tick_line){ 0 };
		if (r->ts_rtt)
			forget_dist(&r->ts_rtt[id], d);
		if (r->seq_rtt && had_seq && r->seq_rtt[id])
			forget_dist(r->seq_rtt[id], d);
	}
	if (r->seq_rtt && had_seq && r->seq_rtt[id]) {
		vns_held_change(sizeof(*r->seq_rtt[id]), 0);
		free(r->seq_rtt[id]);
		r->seq_rtt[id] = NULL;
	}
	h->user = 0;
}

/* In the order of the memory: along the lists each flow would be a cache miss. */
void vns_rtt_finish(struct vns_rtt *r)
{
	for (uint32_t id = 0; id < r->flows.used; id++)
		if (vns_flow_lives(&r->flows, id))
			r->counts.flows_one_direction += tcp_one_direction(&r->track[id]);
}

static void sequence_counts(const struct vns_rtt *r, struct vns_rtt_counts *out)
{
	uint64_t read = 0;

	out->seq_stored = r->range[VNS_SEQ_STORED];
	out->seq_repeated = r->range[VNS_SEQ_REPEATED];
	out->seq_late = r->range[VNS_SEQ_LATE];
	out->seq_probe = r->range[VNS_SEQ_PROBE];
	out->seq_old = r->range[VNS_SEQ_OLD];
	out->seq_pure_acks = r->range[VNS_SEQ_PURE];
	for (int k = 0; k < VNS_SEQ_RANGES; k++)
		read += r->range[k];
	out->seq_not_read = r->counts.packets - r->counts.not_tcp - r->counts.undecodable - read;
	out->ack_matched = r->ack[VNS_ACK_MATCHED];
	out->ack_sacked = r->ack[VNS_ACK_SACKED];
	out->ack_ambiguous = r->ack[VNS_ACK_AMBIGUOUS];
	out->ack_behind_hole = r->ack[VNS_ACK_BEHIND];
	out->ack_after_sack = r->ack[VNS_ACK_AGAIN];
	out->ack_inside = r->ack[VNS_ACK_INSIDE];
	out->ack_repeated = r->ack[VNS_ACK_REPEATED];
	out->ack_old = r->ack[VNS_ACK_OLD];
	out->ack_unseen = r->ack[VNS_ACK_UNSEEN];
	out->ack_no_data = r->ack[VNS_ACK_NO_DATA];
	out->ack_before_segment = r->ack[VNS_ACK_EARLY];
}

void vns_rtt_get_counts(const struct vns_rtt *r, struct vns_rtt_counts *out)
{
	*out = r->counts;
	out->tsval_stored = r->tsval[TSVAL_STORED];
	out->tsval_repeated = r->tsval[TSVAL_REPEATED];
	out->tsval_backwards = r->tsval[TSVAL_BACKWARDS];
	out->pure_acks = r->tsval[PURE_ACK];
	out->echo_matched = r->echo[ECHO_MATCHED];
	out->echo_repeated = r->echo[ECHO_REPEATED];
	out->echo_unknown = r->echo[ECHO_UNKNOWN];
	out->tsval_waiting = out->tsval_stored - out->echo_matched - out->tsval_passed -
			     out->outstanding_dropped - out->tsval_unanswered - out->tsval_pushed_out;
	out->flows_live = r->flows.live;
	sequence_counts(r, out);
}

const struct vns_dist *vns_rtt_total(const struct vns_rtt *r, enum vns_rtt_kind kind)
{
	struct vns_dist *total = &r->totals->total[kind];
	uint64_t n = 0;

	for (unsigned int i = 0; kind < TCP_KINDS && i < r->totals->block[kind].n; i++)
		n += r->totals->block[kind].block[i].dist.n;
	if (n != total->n) {
		vns_dist_fini(total);
		vns_blocks_total(&r->totals->block[kind], total);
	}
	return total;
}

void vns_rtt_intervals(const struct vns_rtt *r, enum vns_rtt_kind kind, struct vns_intervals *out)
{
	*out = (struct vns_intervals){ 0 };
	if (kind < TCP_KINDS)
		vns_blocks_intervals(&r->totals->block[kind], vns_rtt_total(r, kind), out);
}

const struct vns_blocks *vns_rtt_blocks(const struct vns_rtt *r, enum vns_rtt_kind kind)
{
	return kind < TCP_KINDS ? &r->totals->block[kind] : NULL;
}

/* What tcp_report_flow() will read of flow @id: as far as its address is known without a look. */
static void prefetch_flow(const struct vns_rtt *r, uint32_t id)
{
	__builtin_prefetch(&r->track[id]);
	__builtin_prefetch(&r->cold[id]);
	for (int d = 0; d < 2; d++) {
		if (r->ts_rtt)
			__builtin_prefetch(&r->ts_rtt[id].rtt[d]);
		if (r->tick)
			__builtin_prefetch(&r->tick[id][d]);
	}
}

/* Flows follow each other without order in memory: one goes ahead along the list and fetches. */
void vns_rtt_each_flow(const struct vns_rtt *r, vns_rtt_flow_fn fn, void *ctx)
{
	for (int list = VNS_FLOW_LISTS; list-- > 0;) {
		uint32_t ahead = r->flows.back[list];
		size_t lead = 0;

		for (uint32_t id = ahead; id != VNS_FLOW_NONE; id = r->flows.head[id].prev) {
			for (; ahead != VNS_FLOW_NONE && lead < FLOWS_AHEAD; lead++) {
				prefetch_flow(r, ahead);
				ahead = r->flows.head[ahead].prev;
			}
			lead--;
			tcp_report_flow(r, id, false, fn, ctx);
		}
	}
}

void vns_rtt_take_flows(struct vns_rtt *r, vns_rtt_flow_fn fn, void *ctx)
{
	uint32_t from = 0;

	for (uint32_t id = 0; id < r->flows.used; id++) {
		if (vns_flow_lives(&r->flows, id))
			tcp_report_flow(r, id, false, fn, ctx);
		tcp_forget_flow(r, id);
		if (id - from < RELEASED)
			continue;
		vns_release(r->ts_rtt, from, id, sizeof(*r->ts_rtt));
		vns_release(r->tick, from, id, sizeof(*r->tick));
		from = id;
	}
	vns_release(r->ts_rtt, from, r->flows.used, sizeof(*r->ts_rtt));
	vns_release(r->tick, from, r->flows.used, sizeof(*r->tick));
	r->touched_ts_rtt.pages = r->touched_tick.pages = 0;
}
