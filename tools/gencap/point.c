// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The capture point: segments that pass -> frames in the file, and the truth about RTT.
 *
 * Truth comes from the hosts' own state, not from matching TSvals on the wire: every segment
 * carries the tick that its sender's clock showed and the tick that it echoes, as the hosts know
 * them. A sample is owed when the first segment that echoes a tick passes, counted from the first
 * data, SYN or FIN segment of that tick (Strowes 2013). Its kind:
 *   must    every right engine yields it
 *   shared  a pure ACK had shown the tick before, so the echo may be the ACK's (below the truth)
 *   behind  a pure ACK had shown a higher tick before: only with reordering
 *   late    a higher tick had been echoed before: only with reordering
 * All but "must" may be left out by an engine with a good reason.
 */
#include "sim.h"

static const char *const kind_name[] = { "must", "shared", "behind", "late" };

static struct sim_tick *find_tick(struct sim_flow *f, int side, uint32_t tick)
{
	uint32_t last = f->side[side].n_ticks, n = last < SIM_TICKS ? last : SIM_TICKS;

	for (uint32_t i = 1; i <= n; i++) {
		struct sim_tick *r = &f->tick[side][(last - i) % SIM_TICKS];

		if (r->tick == tick)
			return r;
	}
	return NULL;
}

static void put_sample(struct sim *s, const struct sim_flow *f, int side,
		       const struct sim_tick *r, int64_t t, int64_t net, const char *kind)
{
	struct gc_out *o = &s->truth;

	gc_csv_text(o, "S,");
	gc_csv_addr(o, &f->path, side);
	gc_csv_i64(o, f->path.port[side], ',');
	gc_csv_addr(o, &f->path, !side);
	gc_csv_i64(o, f->path.port[!side], ',');
	gc_csv_i64(o, t + s->cap.start_ns, ',');
	gc_csv_i64(o, t - r->t, ',');
	gc_csv_i64(o, (uint32_t)(f->side[side].tsbase + r->tick), ',');
	gc_csv_i64(o, net, ',');
	gc_csv_text(o, kind);
	gc_csv_text(o, "\n");
}

/* @e echoes a tick of the other side. */
static void note_echo(struct sim *s, struct sim_flow *f, const struct gc_event *e, int64_t t)
{
	struct sim_side *h = &f->side[!e->side];
	struct sim_tick *r = find_tick(f, !e->side, e->echo);
	bool late = e->echo < h->hi_echoed;
	uint8_t kind;

	if (!late)
		h->hi_echoed = e->echo;
	if (!r || r->echoed)
		return;
	r->echoed = true;
	kind = late ? SIM_LATE : r->kind;
	s->samples++;
	h->samples++;
	if (kind == SIM_MUST) {
		if (!h->must++ || t - r->t < h->min_must)
			h->min_must = t - r->t;
	}
	if (s->want_truth)
		put_sample(s, f, !e->side, r, t, e->t - e->sent + e->trip, kind_name[kind]);
}

/* The tick of @e, for the time when its echo comes. */
static void note_tick(struct sim *s, struct sim_flow *f, const struct gc_event *e, int64_t t)
{
	struct sim_side *h = &f->side[e->side];
	struct sim_tick *r;

	if (!e->len && !(e->flags & (GC_SYN | GC_FIN))) {
		if (e->tick > h->hi_ack_tick)
			h->hi_ack_tick = e->tick;
		return;
	}
	if (e->tick <= h->hi_tick)
		return;
	h->hi_tick = e->tick;
	r = &f->tick[e->side][h->n_ticks++ % SIM_TICKS];
	if (h->n_ticks > SIM_TICKS && !r->echoed && r->tick >= f->side[!e->side].ts_recent)
		s->tick_overflow++;
	*r = (struct sim_tick){ .t = t, .tick = e->tick };
	if (h->hi_ack_tick >= e->tick)
		r->kind = h->hi_ack_tick == e->tick ? SIM_SHARED : SIM_BEHIND;
}

static void write_frame(struct sim *s, struct sim_flow *f, const struct gc_event *e)
{
	struct sim_side *h = &f->side[e->side], *peer = &f->side[!e->side];
	struct gc_pkt p = { .path = &f->path, .from = e->side, .ttl = e->side ? 64 : 57,
			    .df = true, .ip_id = h->ip_id++, .win = 501, .len = e->len,
			    .off = e->off | (uint64_t)e->side << 62 };

	if (f->path.proto == GC_TCP) {
		p.flags = e->flags;
		p.seq = h->isn + (uint32_t)e->off;
		p.ack = e->flags & GC_ACK ? peer->isn + (uint32_t)e->ack : 0;
		p.sack[0] = peer->isn + (uint32_t)e->block[0];
		p.sack[1] = peer->isn + (uint32_t)e->block[1];
		p.mss = e->flags & GC_SYN ? (f->path.v6 ? 1440 : 1460) : 0;
		p.ts = f->ts;
		p.tsval = h->tsbase + e->tick;
		p.tsecr = e->echo ? peer->tsbase + e->echo : 0;
	} else if (f->path.proto != GC_UDP) {
		p.icmp_type = f->path.v6 ? (e->side ? 129 : 128) : (e->side ? 0 : 8);
		p.icmp_id = f->path.port[0];
		p.icmp_seq = (uint16_t)(e->off >> 16);
		p.off = e->off; /* the reply returns the request's bytes */
	}
	gc_cap_commit(&s->cap, e->t, gc_build(&p, gc_cap_room(&s->cap), s->cap.snap));
	h->packets++;
	f->written++;
}

/* By sequence numbers: the segment that caused this ACK, when the ACK is the first to tell of it. */
static void note_ack(struct sim *s, struct sim_flow *f, const struct gc_event *e, int64_t t)
{
	struct sim_side *h = &f->side[e->side];
	bool rose = e->ack > h->hi_ack;
	bool block = !rose && e->ack == h->hi_ack && e->block[0] != e->block[1];
	uint64_t end = rose ? e->ack : e->block_end;
	int64_t seen = rose ? e->raised_seen : e->block_seen;
	struct gc_out *o = &s->truth;

	if (rose)
		h->hi_ack = e->ack;
	if (!rose && !block)
		return;
	gc_csv_text(o, "Q,");
	gc_csv_addr(o, &f->path, !e->side);
	gc_csv_i64(o, f->path.port[!e->side], ',');
	gc_csv_addr(o, &f->path, e->side);
	gc_csv_i64(o, f->path.port[e->side], ',');
	gc_csv_i64(o, t + s->cap.start_ns, ',');
	gc_csv_i64(o, seen < 0 ? -1 : t - seen, ',');
	gc_csv_i64(o, (uint32_t)(f->side[!e->side].isn + (uint32_t)end), ',');
	gc_csv_text(o, seen < 0 ? "hole\n" : rose ? "end\n" : "block\n");
}

/* The timestamps stand last in the options: cut with them, there is nothing to see. */
static bool timestamps_cut(const struct sim *s, const struct sim_flow *f, const struct gc_event *e)
{
	uint32_t head = 14 + (f->path.vlan ? 4 : 0) + (f->path.v6 ? 40 : 20) + 20 +
			(e->flags & GC_SYN ? 20 : 12);

	return s->cap.snap < head;
}

void sim_capture(struct sim *s, const struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];
	int64_t t = gc_cap_round(&s->cap, e->t);

	if (f->only >= 0 && f->only != e->side)
		return;
	write_frame(s, f, e);
	if (s->o->sack && s->want_truth && f->only < 0 && e->flags & GC_ACK)
		note_ack(s, f, e, t);
	if (!f->ts || f->only >= 0 || timestamps_cut(s, f, e))
		return;
	if (e->echo)
		note_echo(s, f, e, t);
	note_tick(s, f, e, t);
}

void sim_truth_head(struct sim *s)
{
	const struct gc_opts *o = s->o;

	gc_csv_text(&s->truth, "H,vns-gencap,1,rtt,seed,");
	gc_csv_i64(&s->truth, (int64_t)o->seed, '\n');
	gc_csv_text(&s->truth, "# S,src,sport,dst,dport,at_ns,rtt_ns,tsval,net_ns,kind\n"
			       "# F,proto,src,sport,dst,dport,floor_ns,packets,samples,must,"
			       "min_must_ns,timestamps,one_way\n"
			       "# Q,src,sport,dst,dport,at_ns,rtt_ns,end,end|block|hole\n");
}

/* One line per direction: the samples of data src -> dst and the floor of that round trip. */
void sim_truth_flow(struct sim *s, const struct sim_flow *f)
{
	struct gc_out *o = &s->truth;

	for (int d = 0; d < 2; d++) {
		const struct sim_side *h = &f->side[d];
		int64_t floor = 2 * f->owd[!d] - (s->cap.micro ? GC_USEC : 0);

		gc_csv_text(o, "F,");
		gc_csv_i64(o, f->path.proto, ',');
		gc_csv_addr(o, &f->path, d);
		gc_csv_i64(o, f->path.port[d], ',');
		gc_csv_addr(o, &f->path, !d);
		gc_csv_i64(o, f->path.port[!d], ',');
		gc_csv_i64(o, floor > 0 ? floor : 0, ',');
		gc_csv_i64(o, (int64_t)h->packets, ',');
		gc_csv_i64(o, (int64_t)h->samples, ',');
		gc_csv_i64(o, (int64_t)h->must, ',');
		gc_csv_i64(o, h->must ? h->min_must : 0, ',');
		gc_csv_i64(o, f->ts, ',');
		gc_csv_i64(o, f->only >= 0, '\n');
	}
}
