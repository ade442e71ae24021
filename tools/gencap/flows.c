// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * rtt mode: --flows, --packets, --duration -> flows that start, talk and end, played through the
 * event queue until nothing is left or the packets are written. Memory follows the flows alive.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

double gc_exponential(struct gc_rng *r, double mean)
{
	return -mean * log(1 - gc_unit(r));
}

double gc_log_uniform(struct gc_rng *r, double lo, double hi)
{
	return lo >= hi ? lo : lo * exp(gc_unit(r) * log(hi / lo));
}

static uint32_t take_slot(struct sim *s)
{
	if (!s->n_free) {
		uint32_t to = s->flow_size ? s->flow_size * 2 : 1024;

		s->flow = gc_grow(s->flow, to, sizeof(*s->flow));
		/* finish() looks at all of them, at those that never opened, too */
		memset(&s->flow[s->flow_size], 0, (to - s->flow_size) * sizeof(*s->flow));
		s->free_flow = gc_grow(s->free_flow, to, sizeof(*s->free_flow));
		memset(s->flow + s->flow_size, 0, (to - s->flow_size) * sizeof(*s->flow));
		for (uint32_t i = to; i-- > s->flow_size;)
			s->free_flow[s->n_free++] = i;
		s->flow_size = to;
		gc_wheel_fetch_ahead(s->wheel, s->flow, sizeof(*s->flow));
	}
	return s->free_flow[--s->n_free];
}

/* Unique for each number: eight ports per client, clients below and above the servers' addresses. */
static void make_path(struct sim *s, struct gc_path *p, uint64_t i)
{
	static const uint16_t service[] = { 5201, 6201, 7201, 8201, 9201 };
	uint32_t host = (uint32_t)(i / 16), server = 1 + gc_below(&s->rng, 200);

	*p = (struct gc_path){ .key = gc_rand(&s->rng), .proto = GC_TCP };
	p->v6 = gc_pct(&s->rng, s->o->ipv6);
	p->vlan = gc_pct(&s->rng, s->o->vlan) ? (uint16_t)(2 + gc_below(&s->rng, 4000)) : 0;
	p->pad = gc_below(&s->rng, 2);
	p->zero_checksum = s->o->zero_checksum;
	p->port[0] = (uint16_t)(1024 + i / 2 % 8 * 8000 + host * 13 % 8000);
	p->port[1] = service[gc_below(&s->rng, 5)];
	if (gc_pct(&s->rng, s->o->udp)) {
		p->proto = GC_UDP;
		p->port[1] = 6053;
	} else if (gc_pct(&s->rng, s->o->icmp)) {
		p->proto = p->v6 ? GC_ICMP6 : GC_ICMP;
	}
	for (int k = 0; k < 2; k++) {
		uint32_t low = k ? server : host + 1;
		uint8_t *a = p->addr[k], *tail = a + (p->v6 ? 13 : 1);

		if (p->v6) {
			a[0] = 0xfd;
			a[1] = 0x77;
			a[7] = (uint8_t)(k ? 8 : i % 2 ? 9 : 7);
		} else {
			a[0] = (uint8_t)(k ? 100 : i % 2 ? 150 : 10);
		}
		tail[0] = (uint8_t)(low >> 16);
		tail[1] = (uint8_t)(low >> 8);
		tail[2] = (uint8_t)low;
	}
}

static void make_side(struct sim *s, struct sim_side *h)
{
	static const uint32_t rate[] = { 1000, 1000, 250, 100 };

	memset(h, 0, sizeof(*h));
	h->fin_at = UINT64_MAX;
	h->app_end = 1;
	h->hz = rate[gc_below(&s->rng, 4)];
	h->phase_ns = gc_below(&s->rng, 10000000);
	h->isn = (uint32_t)gc_rand(&s->rng);
	h->tsbase = (uint32_t)gc_rand(&s->rng);
	h->ip_id = (uint16_t)gc_rand(&s->rng);
	if (gc_below(&s->rng, 16) == 0) /* the clock wraps within seconds */
		h->tsbase = 0 - gc_below(&s->rng, 20 * h->hz);
	if (gc_below(&s->rng, 16) == 0) /* the sequence numbers wrap soon */
		h->isn = 0 - gc_below(&s->rng, 20000);
}

/* Turn @budget packets into transactions; the figures per mode are rough, see mean_budget(). */
static void make_talk(struct sim *s, struct sim_flow *f, double budget)
{
	double life = (0.05 + 0.35 * gc_unit(&s->rng)) * (double)s->horizon, segs;
	uint32_t mss = sim_mss(f);

	f->mode = (uint8_t)gc_below(&s->rng, 5);
	f->service = (int64_t)gc_log_uniform(&s->rng, 20e3, 5e6);
	if (f->path.proto != GC_TCP || f->mode < 2) {
		f->request = 40 + gc_below(&s->rng, 600);
		f->response = 60 + gc_below(&s->rng, f->path.proto == GC_TCP ? 3000 : 1000);
		segs = f->path.proto == GC_TCP ? (budget - 7) / 3.6 : budget / 2;
		f->transactions = 1 + (uint32_t)fmax(segs, 0);
	} else {
		f->transactions = 1 + gc_below(&s->rng, 3);
		segs = fmax((budget - 7) / 1.5, 1) / f->transactions;
		f->request = 200;
		f->response = 100;
		*(f->mode == 4 ? &f->request : &f->response) =
			(uint32_t)fmin(segs * mss, 2e9) + gc_below(&s->rng, mss);
	}
	f->think = (int64_t)(life / f->transactions);
}

/* Packets for the next flow: what is still to write over the flows still to open. */
static double mean_budget(const struct sim *s)
{
	double ratio = s->done_planned > 1000 ?
		(double)s->done_written / (double)s->done_planned : 1;
	double left = (double)s->o->packets - ratio * (double)s->planned;

	return fmax(left / (ratio * (double)(s->o->flows - s->opened)), 8);
}

/* Tenth of the flows long, the rest short; the mean is @mean. */
static double draw_budget(struct sim *s, double mean)
{
	double extra = gc_exponential(&s->rng, mean - 7);

	return 7 + extra * (gc_below(&s->rng, 10) ? 0.5 : 5.5);
}

void sim_open(struct sim *s, int64_t t)
{
	uint32_t id = take_slot(s);
	struct sim_flow *f = &s->flow[id];
	double budget = draw_budget(s, mean_budget(s));

	memset(f, 0, sizeof(*f));
	make_path(s, &f->path, s->opened);
	make_side(s, &f->side[0]);
	make_side(s, &f->side[1]);
	f->ts = f->path.proto == GC_TCP && !gc_pct(&s->rng, s->o->no_ts);
	f->only = (int8_t)(gc_pct(&s->rng, s->o->one_way) ? (int)gc_below(&s->rng, 2) : -1);
	f->owd[0] = (int64_t)(500 * gc_log_uniform(&s->rng, s->o->rtt_left_us[0],
						   s->o->rtt_left_us[1]));
	f->owd[1] = (int64_t)(500 * gc_log_uniform(&s->rng, s->o->rtt_right_us[0],
						   s->o->rtt_right_us[1]));
	make_talk(s, f, budget);
	f->planned = (uint32_t)budget;
	s->planned += f->planned;
	s->opened++;
	s->live++;
	if (f->path.proto == GC_TCP) {
		f->side[0].snd_nxt = 1;
		sim_segment(s, id, 0, t, 0, 0, GC_SYN);
	} else {
		sim_later(s, id, 0, t, SIM_APP);
	}
}

void sim_close(struct sim *s, uint32_t id)
{
	struct sim_flow *f = &s->flow[id];

	if (s->want_truth)
		sim_truth_flow(s, f);
	s->done_planned += f->planned;
	s->done_written += f->written;
	f->planned = UINT32_MAX; /* not alive */
	s->free_flow[s->n_free++] = id;
	s->live--;
}

static void open_event(struct sim *s, int64_t t)
{
	uint32_t id = gc_wheel_alloc(s->wheel);
	struct gc_event *e = gc_wheel_event(s->wheel, id);

	e->t = t;
	e->kind = SIM_OPEN;
	gc_wheel_put(s->wheel, id);
}

/* Behind the capture point: leg of the receiver. */
static void travel_on(struct sim *s, uint32_t id, struct gc_event *e)
{
	struct sim_flow *f = &s->flow[e->flow];
	struct sim_side *h = &f->side[!e->side];
	int64_t owd = f->owd[!e->side], at = e->t + owd + gc_jitter(&s->rng, owd / 4);
	struct gc_event *in_queue = gc_wheel_event(s->wheel, id);

	if (gc_pct(&s->rng, s->o->reorder))
		at += gc_jitter(&s->rng, owd);
	else if (at <= h->post_last)
		at = h->post_last + 200;
	if (at > h->post_last)
		h->post_last = at;
	in_queue->trip = (uint32_t)(at - e->t);
	in_queue->t = at;
	in_queue->kind = SIM_ARRIVE;
	f->refs++;
	gc_wheel_put(s->wheel, id);
}

/* @e is a copy: the queue moves its events when it grows. */
static void play(struct sim *s, uint32_t id, struct gc_event *e)
{
	if (e->kind == SIM_CAPTURE && !e->lost) {
		e->seen = gc_cap_round(&s->cap, e->t);
		gc_wheel_event(s->wheel, id)->seen = e->seen;
		sim_capture(s, e);
		travel_on(s, id, e);
	} else {
		gc_wheel_release(s->wheel, id);
		switch (e->kind) {
		case SIM_OPEN:
			sim_open(s, e->t);
			if (s->opened < s->o->flows)
				open_event(s, e->t + (int64_t)gc_exponential(&s->rng,
								    (double)s->open_gap));
			return;
		case SIM_CAPTURE:
			sim_capture(s, e);
			break;
		case SIM_ARRIVE:
			sim_arrive(s, e);
			break;
		case SIM_APP:
			sim_app(s, e);
			break;
		default:
			sim_timer(s, e);
		}
	}
	if (--s->flow[e->flow].refs == 0)
		sim_close(s, e->flow);
}

static void finish(struct sim *s)
{
	for (uint32_t i = 0; s->want_truth && i < s->flow_size; i++)
		if (s->flow[i].refs && s->flow[i].planned != UINT32_MAX)
			sim_truth_flow(s, &s->flow[i]);
	gc_cap_close(&s->cap);
	if (s->want_truth)
		gc_out_close(&s->truth);
	gc_wheel_free(s->wheel);
	free(s->flow);
	free(s->free_flow);
}

int gc_run_rtt(const struct gc_opts *o)
{
	struct sim s = { .o = o, .rng.state = o->seed, .want_truth = o->truth != NULL };
	double events = 2.6 * (double)o->packets;
	int64_t slot;

	s.horizon = (int64_t)(o->duration_s * 1e9);
	s.open_gap = s.horizon * 6 / 10 / (int64_t)o->flows;
	slot = (int64_t)(16 * (double)s.horizon / events);
	s.wheel = gc_wheel_new(slot < 1000 ? 1000 : slot > GC_MSEC ? GC_MSEC : slot);
	gc_cap_open(&s.cap, o->out, o);
	if (s.want_truth) {
		gc_out_open(&s.truth, o->truth);
		sim_truth_head(&s);
	}
	open_event(&s, 0);
	while (s.cap.packets < o->packets) {
		uint32_t id = gc_wheel_pop(s.wheel);
		struct gc_event e;

		if (id == UINT32_MAX)
			break;
		e = *gc_wheel_event(s.wheel, id);
		play(&s, id, &e);
	}
	fprintf(stderr, "vns-gencap: %llu packets, %llu flows, %llu RTT samples\n",
		(unsigned long long)s.cap.packets, (unsigned long long)s.opened,
		(unsigned long long)s.samples);
	if (s.tick_overflow)
		gc_die(GC_EXIT_ENV, "the truth lost %llu ticks: samples may be missing from it",
		       (unsigned long long)s.tick_overflow);
	finish(&s);
	return 0;
}
