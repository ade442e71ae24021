// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The hosts: applications' writes, arrivals and timers -> segments on their way to the capture
 * point. TCP as stacks do it: window, delayed ACKs (every second segment or 40 ms), fast
 * retransmit after three duplicate ACKs, NewReno's partial ACKs, RTO with back-off, timestamps
 * with RFC 7323's rule for TS.Recent (update only when SEG.SEQ <= Last.ACK.sent, so a delayed ACK
 * echoes the first of its segments). UDP and ICMP flows are plain request and reply.
 */
#include <string.h>

#include "sim.h"

#define DELACK_NS  (40 * GC_MSEC)
#define RTO_MIN_NS (200 * GC_MSEC)
#define MAX_TRIES  7
/* Spacing of segments of one burst: 1514 bytes at 10 Gbit/s. */
#define BURST_NS   1211
#define NO_FIN     UINT64_MAX

uint32_t sim_tick(const struct sim_side *h, int64_t t)
{
	uint64_t at = (uint64_t)(t + h->phase_ns);

	/* Constant divisors: the compiler multiplies. */
	return 1 + (uint32_t)(h->hz == 1000 ? at / 1000000 : h->hz == 250 ? at / 4000000 :
								    at / 10000000);
}

void sim_later(struct sim *s, uint32_t f, int side, int64_t t, enum sim_event kind)
{
	uint32_t id = gc_wheel_alloc(s->wheel);
	struct gc_event *e = gc_wheel_event(s->wheel, id);

	e->t = t;
	e->flow = f;
	e->side = (uint8_t)side;
	e->kind = (uint8_t)kind;
	s->flow[f].refs++;
	gc_wheel_put(s->wheel, id);
}

static void arm_rto(struct sim *s, uint32_t id, int side, int64_t t)
{
	struct sim_flow *f = &s->flow[id];
	struct sim_side *h = &f->side[side];
	int64_t rto = RTO_MIN_NS + 3 * (f->owd[0] + f->owd[1]);

	h->rto_at = t + (rto << h->backoff);
	if (!h->rto_armed) {
		h->rto_armed = true;
		sim_later(s, id, side, h->rto_at, SIM_RTO);
	}
}

/* Leg from the sender to the capture point; first in, first out unless --reorder says so. */
static int64_t first_leg(struct sim *s, const struct sim_flow *f, struct sim_side *h, int side,
			 int64_t t)
{
	int64_t owd = f->owd[side], at = t + owd + gc_jitter(&s->rng, owd / 4);

	if (gc_pct(&s->rng, s->o->reorder))
		return at + gc_jitter(&s->rng, owd + 20 * BURST_NS);
	if (at <= h->pre_last)
		at = h->pre_last + BURST_NS / 2;
	h->pre_last = at;
	return at;
}

/* What an ACK of @h tells beside its number: the block that the latest arrival beyond it joined. */
static void put_sack(const struct sim_side *h, struct gc_event *e)
{
	e->raised_seen = h->raised_seen;
	e->block_end = h->block_end;
	e->block_seen = h->block_seen;
	for (int i = 0; h->block_end && i < SIM_HOLES; i++)
		if (h->hole[i][0] < h->block_end && h->block_end <= h->hole[i][1])
			memcpy(e->block, h->hole[i], sizeof(e->block));
}

void sim_segment(struct sim *s, uint32_t id, int side, int64_t t, uint64_t off, uint32_t len,
		 uint8_t flags)
{
	struct sim_flow *f = &s->flow[id];
	struct sim_side *h = &f->side[side];
	uint32_t ev;
	struct gc_event *e;

	if (flags & GC_ACK) {
		h->rcv_wup = h->rcv_nxt;
		h->delack_at = 0;
		h->acks_sent++;
	}
	if (f->path.proto == GC_TCP && (len || flags & (GC_SYN | GC_FIN)))
		arm_rto(s, id, side, t);
	if (gc_pct(&s->rng, s->o->loss))
		return;
	ev = gc_wheel_alloc(s->wheel);
	e = gc_wheel_event(s->wheel, ev);
	e->t = first_leg(s, f, h, side, t);
	e->sent = t;
	e->off = off;
	e->ack = flags & GC_ACK ? h->rcv_nxt : 0;
	e->flow = id;
	e->tick = f->ts ? sim_tick(h, t) : 0;
	e->echo = f->ts && flags & GC_ACK ? h->ts_recent : 0;
	e->trip = h->ts_trip;
	e->len = (uint16_t)len;
	e->kind = SIM_CAPTURE;
	e->side = (uint8_t)side;
	e->flags = flags;
	e->lost = gc_pct(&s->rng, s->o->loss);
	if (s->o->sack && flags & GC_ACK)
		put_sack(h, e);
	f->refs++;
	gc_wheel_put(s->wheel, ev);
}

static void resend(struct sim *s, uint32_t id, int side, int64_t t)
{
	struct sim_flow *f = &s->flow[id];
	struct sim_side *h = &f->side[side];
	uint64_t left = (h->snd_nxt < h->app_end ? h->snd_nxt : h->app_end) - h->snd_una;
	uint32_t mss = sim_mss(f);

	if (h->snd_una == 0)
		sim_segment(s, id, side, t, 0, 0, side ? GC_SYN | GC_ACK : GC_SYN);
	else if (h->snd_una == h->fin_at)
		sim_segment(s, id, side, t, h->fin_at, 0, GC_FIN | GC_ACK);
	else
		sim_segment(s, id, side, t, h->snd_una, left < mss ? (uint32_t)left : mss,
			    GC_ACK);
}

static void push(struct sim *s, uint32_t id, int side, int64_t t)
{
	struct sim_flow *f = &s->flow[id];
	struct sim_side *h = &f->side[side];
	uint32_t mss = sim_mss(f);
	uint64_t limit = h->snd_una + (uint64_t)SIM_WINDOW * mss;

	if (h->snd_una == 0)
		return;
	while (h->snd_nxt < h->app_end && h->snd_nxt < limit) {
		uint64_t left = h->app_end - h->snd_nxt;
		uint32_t len = left < mss ? (uint32_t)left : mss;

		sim_segment(s, id, side, t, h->snd_nxt, len,
			    len == left ? GC_ACK | GC_PSH : GC_ACK);
		h->snd_nxt += len;
		t += BURST_NS;
	}
	if (h->snd_nxt == h->fin_at) {
		sim_segment(s, id, side, t, h->fin_at, 0, GC_FIN | GC_ACK);
		h->snd_nxt++;
	}
}

static void take_ack(struct sim *s, const struct gc_event *e, int side)
{
	struct sim_side *h = &s->flow[e->flow].side[side];

	if (e->ack > h->snd_una && e->ack <= h->snd_nxt) {
		h->snd_una = e->ack;
		h->dupacks = h->backoff = 0;
		h->rto_at = 0;
		if (h->snd_una < h->snd_nxt)
			arm_rto(s, e->flow, side, e->t);
		if (h->snd_una < h->recover)
			resend(s, e->flow, side, e->t);
	} else if (e->ack == h->snd_una && h->snd_una < h->snd_nxt && !e->len &&
		   !(e->flags & (GC_SYN | GC_FIN))) {
		if (++h->dupacks == 3 && h->snd_una >= h->recover) {
			h->recover = h->snd_nxt;
			resend(s, e->flow, side, e->t);
		}
	}
}

static void keep_hole(struct sim_side *h, uint64_t from, uint64_t to)
{
	for (int i = 0; i < SIM_HOLES; i++) {
		uint64_t *r = h->hole[i];

		if (r[0] == r[1] || (from <= r[1] && to >= r[0])) {
			bool blank = r[0] == r[1];

			r[0] = blank || from < r[0] ? from : r[0];
			r[1] = blank || to > r[1] ? to : r[1];
			return;
		}
	}
}

/* Return: true when earlier arrivals joined on. */
static bool join_holes(struct sim_side *h)
{
	bool any = false;

	for (int again = 1; again;) {
		again = 0;
		for (int i = 0; i < SIM_HOLES; i++) {
			uint64_t *r = h->hole[i];

			if (r[0] == r[1] || r[0] > h->rcv_nxt)
				continue;
			if (r[1] > h->rcv_nxt) {
				h->rcv_nxt = r[1];
				any = true;
				again = 1;
			}
			r[0] = r[1] = 0;
		}
	}
	return any;
}

/* Return: true when an ACK must go out at once. */
static bool take_data(struct sim *s, const struct gc_event *e, int side)
{
	struct sim_side *h = &s->flow[e->flow].side[side];
	uint64_t end = e->off + e->len + (e->flags & (GC_SYN | GC_FIN) ? 1 : 0);
	bool joined;

	if (end == e->off)
		return false;
	if (e->off > h->rcv_nxt) {
		keep_hole(h, e->off, end);
		h->block_end = end;
		h->block_seen = e->seen;
		return true;
	}
	if (end <= h->rcv_nxt)
		return true;
	h->rcv_nxt = end;
	h->raised_seen = e->seen;
	h->block_end = 0; /* what caused the next ACK is not in a block */
	joined = join_holes(h);
	if (joined)
		h->raised_seen = -1;
	if (joined || h->delack_at || e->flags & (GC_SYN | GC_FIN))
		return true;
	h->delack_at = e->t + DELACK_NS;
	if (!h->delack_armed) {
		h->delack_armed = true;
		sim_later(s, e->flow, side, h->delack_at, SIM_DELACK);
	}
	return false;
}

/* What the application at @side does about what has arrived. */
static void advance(struct sim *s, uint32_t id, int side, int64_t t)
{
	struct sim_flow *f = &s->flow[id];
	struct sim_side *h = &f->side[side], *peer = &f->side[!side];

	if (h->rcv_nxt > peer->fin_at && h->fin_at == NO_FIN) {
		h->fin_at = h->app_end;
		return;
	}
	if (h->rcv_nxt != peer->app_end)
		return;
	if (side == 1 && f->turn == TURN_REQUEST) {
		f->turn = TURN_SERVER;
		sim_later(s, id, 1, t + gc_jitter(&s->rng, 4 * f->service), SIM_APP);
	} else if (side == 0 && f->turn == TURN_RESPONSE) {
		f->turn = --f->transactions ? TURN_CLIENT : TURN_CLOSED;
		sim_later(s, id, 0, t + gc_jitter(&s->rng, 4 * f->think), SIM_APP);
	}
}

static void arrive_datagram(struct sim *s, const struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];

	if (e->side == 0)
		sim_segment(s, e->flow, 1, e->t + gc_jitter(&s->rng, f->service), e->off,
			    f->path.proto == GC_UDP ? f->response : f->request, 0);
}

void sim_arrive(struct sim *s, const struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];
	int side = !e->side;
	struct sim_side *h = &f->side[side];
	uint32_t acks = h->acks_sent;
	bool now, fresh;

	if (f->path.proto != GC_TCP) {
		arrive_datagram(s, e);
		return;
	}
	if (e->tick && e->off <= h->rcv_wup && e->tick >= h->ts_recent) {
		h->ts_recent = e->tick;
		h->ts_trip = e->trip;
	}
	fresh = h->rcv_nxt == 0;
	now = take_data(s, e, side);
	if (e->flags & GC_ACK)
		take_ack(s, e, side);
	if (side == 1 && h->snd_una == 0) {
		if (h->snd_nxt == 0 || e->flags & GC_SYN)
			sim_segment(s, e->flow, 1, e->t, 0, 0, GC_SYN | GC_ACK);
		h->snd_nxt = 1;
		return;
	}
	if (side == 0 && fresh && h->rcv_nxt)
		sim_later(s, e->flow, 0, e->t + gc_jitter(&s->rng, 2 * f->service), SIM_APP);
	advance(s, e->flow, side, e->t);
	push(s, e->flow, side, e->t);
	/* Data just sent may have carried the ACK. */
	if (now && h->acks_sent == acks)
		sim_segment(s, e->flow, side, e->t, h->snd_nxt, 0, GC_ACK);
}

void sim_timer(struct sim *s, const struct gc_event *e)
{
	struct sim_side *h = &s->flow[e->flow].side[e->side];
	int64_t *at = e->kind == SIM_RTO ? &h->rto_at : &h->delack_at;
	bool *armed = e->kind == SIM_RTO ? &h->rto_armed : &h->delack_armed;

	*armed = false;
	if (!*at || (e->kind == SIM_RTO && h->snd_una == h->snd_nxt))
		return;
	if (*at > e->t) {
		*armed = true;
		sim_later(s, e->flow, e->side, *at, e->kind);
	} else if (e->kind == SIM_DELACK) {
		sim_segment(s, e->flow, e->side, e->t, h->snd_nxt, 0, GC_ACK);
	} else if (++h->backoff < MAX_TRIES) {
		h->recover = h->snd_nxt;
		resend(s, e->flow, e->side, e->t);
	}
}

static void app_datagram(struct sim *s, const struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];

	sim_segment(s, e->flow, 0, e->t, f->side[0].snd_nxt++ << 16, f->request, 0);
	if (--f->transactions)
		sim_later(s, e->flow, 0, e->t + gc_jitter(&s->rng, 4 * f->think), SIM_APP);
}

void sim_app(struct sim *s, const struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];
	struct sim_side *h = &f->side[e->side];

	if (f->path.proto != GC_TCP) {
		app_datagram(s, e);
		return;
	}
	if (f->turn == TURN_CLOSED) {
		h->fin_at = h->app_end;
	} else if (e->side == 0) {
		f->turn = TURN_REQUEST;
		h->app_end += f->request;
	} else {
		f->turn = TURN_RESPONSE;
		h->app_end += f->response;
	}
	push(s, e->flow, e->side, e->t);
}
