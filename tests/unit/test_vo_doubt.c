// SPDX-License-Identifier: GPL-3.0-or-later
/* Is an exchange off the relation wrong, or a step? By exchanges of known clocks (vo_doubt.c), and what a run makes of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "measure/vo_epoch.h"
#include "measure/vo_guest.h"

#define MS    VNS_NSEC_PER_MSEC
#define GAP   (250 * MS) /* between exchanges */
#define SLACK (5.0 * MS)
#define FAST  (MS / 5)   /* what an exchange takes */

/* The one that shows @ms, @i gaps after 0, and takes @rtt_ns, half of it on each way. */
static struct vns_clock_sample shows(size_t i, double ms, int64_t rtt_ns)
{
	double at = ms * (double)MS;

	return (struct vns_clock_sample){ .at_ns = (int64_t)(i + 1) * GAP, .offset_ns = at, .rtt_ns = rtt_ns,
					  .lower_ns = at - (double)rtt_ns / 2, .upper_ns = at + (double)rtt_ns / 2 };
}

/* Exchanges that show @ms, one after the other: decided by exactly @n of them as @verdict, and not before. */
static void decided(const double *ms, size_t n, enum vo_verdict verdict, size_t at, uint32_t wrong)
{
	const struct vo_bounds old = { -0.1 * MS, 0.1 * MS, 0 };
	struct vns_clock_sample s[64];
	struct vo_doubt d;

	assert_true(n <= 64);
	for (size_t i = 0; i < n; i++)
		s[i] = ms[i] == 1e9 ? shows(i, 0, 3000 * MS) : shows(i, ms[i], FAST);
	for (size_t k = 1; k < n; k++)
		assert_int_equal(vo_doubt_judge(&old, SLACK, s, k, &d), VO_DOUBT_OPEN);
	assert_int_equal(vo_doubt_judge(&old, SLACK, s, n, &d), verdict);
	assert_int_equal(d.wrong, wrong);
	if (verdict == VO_DOUBT_STEP)
		assert_int_equal(d.at, at);
}
#define DECIDED(verdict, at, wrong, ...) do {							\
	const double ms_[] = { __VA_ARGS__ };							\
	decided(ms_, sizeof(ms_) / sizeof(*ms_), VO_DOUBT_##verdict, at, wrong);		\
} while (0)
#define SLOW 1e9 /* an exchange so slow that it fits everything */

static void one_that_stands_alone_is_wrong(void **state)
{
	(void)state;
	DECIDED(WRONG, 0, 1, 50, 0);
	DECIDED(WRONG, 0, 1, -9000, 0.2);
	DECIDED(WRONG, 0, 3, 50, 50, 0);    /* two are no step of the model */
	DECIDED(WRONG, 0, 3, 50, -700, 0);
	DECIDED(WRONG, 0, 1, 50, SLOW, 0);  /* which says nothing */
	DECIDED(WRONG, 0, 5, 50, SLOW, 90, SLOW, 4.9);
}

static void three_that_agree_are_a_step(void **state)
{
	(void)state;
	DECIDED(STEP, 0, 0, 5.7, 5.7, 5.7);
	DECIDED(STEP, 0, 0, 5.4, 5.3, 5.4);           /* the others fit within the slack and the drift */
	DECIDED(STEP, 0, 0, -2000, -2000.1, -2000.2); /* drift of 400 ppm */
	DECIDED(STEP, 1, 1, 70, 50, 50, 50);          /* the first was wrong */
	DECIDED(STEP, 0, 2, 50, -30, 50, 50);         /* one amid it was */
	DECIDED(STEP, 0, 0, 50, SLOW, 50, SLOW, 50);
	DECIDED(STEP, 2, 3, 50, 50, 80, 80, 80);      /* and another step at once */
}

/* Sixteen that agree with nothing: decided all the same. */
static void it_is_decided_in_the_end(void **state)
{
	double ms[VO_DOUBT_MOST];

	(void)state;
	for (int i = 0; i < VO_DOUBT_MOST; i++)
		ms[i] = 100 * (i + 1);
	decided(ms, VO_DOUBT_MOST, VO_DOUBT_STEP, VO_DOUBT_MOST - 1, (1u << (VO_DOUBT_MOST - 1)) - 1);
	ms[9] = ms[4]; /* two of them agree */
	decided(ms, VO_DOUBT_MOST, VO_DOUBT_STEP, 4, 0xffff & ~(1u << 4 | 1u << 9));
	for (int i = 1; i < VO_DOUBT_MOST; i++)
		ms[i] = SLOW;
	decided(ms, VO_DOUBT_MOST, VO_DOUBT_STEP, 0, 0);
}

/* --- a run, without an agent: exchanges and packets are handed in --- */

static struct vns_addr guest = { { [10] = 0xff, 0xff, 10, 77, 0, 11 } };
static struct vns_vo_live_opts opts;
static int64_t began;

static struct vo_subject *start(struct vo_run **run)
{
	struct vo_subject *v;
	struct vo_pair *p;

	*run = calloc(1, sizeof(**run));
	assert_non_null(*run);
	(*run)->opts = &opts;
	(*run)->n = 1;
	(*run)->phase = VO_TRAFFIC;
	v = &(*run)->subject[0];
	v->own = (struct vns_subject){ .name = "vm", .guest = &guest, .n_guest = 1, .n_point = 1 };
	v->s = &v->own;
	v->run = *run;
	v->mode = VNS_CLOCK_CHANNEL;
	pthread_mutex_init(&v->lock, NULL);
	assert_int_equal(vns_clock_new(&v->clock, v->mode), 0);
	p = &v->pair[0];
	v->n_pair = 1;
	*p = (struct vo_pair){ .b = VO_GUEST, .subject = v };
	assert_int_equal(vns_vo_tally_init(&p->tally, v->clock, p->fig, p->sum), 0);
	p->tallying = true;
	began = vns_now_ns() - 100 * GAP;
	return v;
}

static void exchange(struct vo_subject *v, size_t i, double ms)
{
	struct vns_exchange x = { .t1_ns = began + (int64_t)i * GAP };
	struct vns_err err;

	x.t4_ns = x.t1_ns + FAST;
	x.t2_ns = x.t3_ns = x.t1_ns + FAST / 2 + (int64_t)(ms * (double)MS);
	assert_int_equal(vns_clock_add(v->clock, &x), 0);
	assert_int_equal(vo_epoch_check(v, &err), 0);
}

/* Twenty exchanges of a clock that is the host's, then the traffic. */
static struct vo_subject *relate(struct vo_run **run)
{
	struct vo_subject *v = start(run);
	struct vns_err err;

	for (size_t i = 0; i < 20; i++)
		exchange(v, i, 0);
	assert_int_equal(vo_epoch_begin(v, &err), 0);
	v->epoch_from_ns = v->epoch_told_ns = v->window_from_ns = v->epoch_guest_ns = began + 20 * GAP;
	return v;
}

static void packets(struct vo_subject *v, size_t i, double ms, size_t n)
{
	struct vns_packet p[16] = { { 0 } };

	assert_true(n <= 16);
	for (size_t k = 0; k < n; k++) {
		p[k].time_ns = began + (int64_t)i * GAP + (int64_t)k * MS + (int64_t)(ms * (double)MS);
		p[k].key.addr[0] = guest;
		p[k].key.family = 4;
		p[k].digest = 1000 * i + k;
		p[k].payload_len = 50;
	}
	vo_guest_packets(v, p, n);
}

static uint64_t read_there(const struct vo_subject *v)
{
	const struct vo_pair *p = &v->pair[0];
	struct vns_twin_counts now = { 0 };

	if (p->twin)
		vns_twin_get_counts(p->twin, VNS_POINT_B, &now);
	return p->counts[VNS_POINT_B].read + now.read;
}

static size_t exchanges(const struct vo_subject *v)
{
	size_t n;

	vns_clock_samples(v->clock, &n);
	return n;
}

static void end(struct vo_run *run)
{
	run->to_ns = vns_now_ns();
	assert_int_equal(vo_epoch_finish(&run->subject[0]), 0);
	vo_run_fini(run);
	free(run);
}

static void packets_are_held_until_a_lie_is_refuted(void **state)
{
	struct vo_run *run;
	struct vo_subject *v = relate(&run);

	(void)state;
	packets(v, 20, 0, 3);
	exchange(v, 21, 1000);
	assert_int_equal(read_there(v), 3);
	packets(v, 21, 0, 5);
	assert_int_equal(read_there(v), 3);
	exchange(v, 22, 0);
	assert_int_equal(read_there(v), 8);
	packets(v, 22, 0, 2);
	assert_int_equal(read_there(v), 10);
	assert_int_equal(v->contradicting, 1);
	assert_int_equal(exchanges(v), 21);
	exchange(v, 23, 0);
	end(run);
}

static void nothing_is_lost_over_a_step(void **state)
{
	struct vo_run *run;
	struct vo_subject *v = relate(&run);

	(void)state;
	for (size_t i = 21; i < 24; i++) {
		assert_int_equal(v->n_event, 0);
		exchange(v, i, -30);
		packets(v, i, -30, 4);
	}
	assert_int_equal(v->n_event, 1);
	assert_string_equal(v->event[0].kind, "clock_step");
	assert_non_null(strstr(v->event[0].text, "-0.030"));
	assert_true(v->event[0].lower_ns <= -30.0 * MS && v->event[0].upper_ns >= -30.0 * MS);
	/* two exchanges as wide as they were, and what clocks may drift in the four gaps between */
	assert_true(v->event[0].upper_ns - v->event[0].lower_ns <= 2.0 * FAST + 2 * 500e-6 * (4.0 * GAP + FAST));
	assert_true(v->event[0].at_ns <= began + 21 * GAP);
	assert_true(v->event[0].at_ns + v->event[0].within_ns >= began + 21 * GAP + FAST / 2);
	assert_int_equal(read_there(v) + v->other_epoch[VO_EPOCH_BEFORE] + v->other_epoch[VO_EPOCH_AHEAD], 12);
	assert_int_equal(read_there(v), 12); /* the new epoch's, all of them */
	assert_int_equal(v->contradicting, 0);
	assert_int_equal(exchanges(v), 3);
	assert_int_equal(v->epoch_guest_ns, began + 21 * GAP + FAST / 2 - 30 * MS);
	for (size_t i = 24; i < 40; i++)
		exchange(v, i, -30);
	assert_int_equal(v->n_event, 1);
	end(run);
}

/*
 * A guest stands still for 700 ms, and the exchange that is asked for @after_ns later (or before) takes until its end: it
 * spans all that, so that how long it was is told by those that follow.
 */
static void paused(int64_t after_ns)
{
	const int64_t still = 700 * MS;
	struct vo_run *run;
	struct vo_subject *v = relate(&run);
	struct vns_exchange x = { .t1_ns = began + 21 * GAP + after_ns };
	double about, least, most;
	struct vns_err err;

	x.t4_ns = began + 21 * GAP + still + FAST;
	x.t2_ns = x.t3_ns = x.t4_ns - FAST / 2 - still;
	exchange(v, 20, 0);
	assert_int_equal(vns_clock_add(v->clock, &x), 0);
	assert_int_equal(vo_epoch_check(v, &err), 0);
	for (size_t i = 24; i < 28; i++)
		exchange(v, i, -700);
	assert_int_equal(v->n_event, 1);
	assert_string_equal(v->event[0].kind, "stood_still");
	assert_true(v->event[0].at_ns >= began + 20 * GAP && v->event[0].at_ns <= began + 21 * GAP);
	assert_int_equal(sscanf(v->event[0].text, "The guest stood still for about %lf s (%lf to %lf)", &about, &least,
				&most), 3);
	assert_true(least <= 0.7 && most >= 0.7);
	assert_true(most - least < 0.005);
	assert_true(fabs(about - 0.7) < 0.001);
	/* packets pair from then on: by an offset that is known as well */
	assert_true(fabs(v->in.lower_ns + v->in.upper_ns + 2 * (double)still) < 2 * (double)MS);
	end(run);
}

/* An exchange made after a step that takes longer than that is large fits both sides: where the step was stays open. */
static void a_slow_exchange_after_a_step_hides_nothing(void **state)
{
	struct vns_exchange x = { .t1_ns = 0 };
	struct vo_run *run;
	struct vo_subject *v = relate(&run);
	struct vns_err err;

	(void)state;
	x.t1_ns = began + 21 * GAP;
	x.t2_ns = x.t3_ns = x.t1_ns + 10 * MS + 80 * MS;
	x.t4_ns = x.t1_ns + 10 * MS + 80 * MS - MS / 20; /* its lower bound is above the old offset's middle */
	exchange(v, 20, 0);
	assert_int_equal(vns_clock_add(v->clock, &x), 0);
	assert_int_equal(vo_epoch_check(v, &err), 0);
	for (size_t i = 22; i < 25; i++)
		exchange(v, i, 80);
	assert_int_equal(v->n_event, 1);
	assert_true(v->event[0].at_ns <= began + 20 * GAP + FAST); /* it may have been just after the exchange there */
	assert_true(v->event[0].lower_ns <= 80.0 * MS && v->event[0].upper_ns >= 80.0 * MS);
	end(run);
}

static void a_pause_is_told_whole(void **state)
{
	static const int after[] = { -10, 0, 1, 3, 4, 6, 100, 199 }; /* ms; up to 5 are no step by themselves */

	(void)state;
	for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++)
		paused(after[i] * MS);
}

static void what_stays_open_is_said(void **state)
{
	struct vo_run *run;
	struct vo_subject *v = relate(&run);
	struct vns_err err;

	(void)state;
	exchange(v, 21, 40);
	exchange(v, 22, 40);
	packets(v, 22, 0, 7);
	assert_int_equal(read_there(v), 0);
	assert_int_equal(vo_epoch_end(v, &err), 0);
	assert_int_equal(v->undecided, 2);
	assert_int_equal(v->contradicting, 0);
	assert_int_equal(v->other_epoch[VO_EPOCH_BEFORE], 7);
	assert_int_equal(v->n_event, 0);
	end(run);
	v = relate(&run);
	exchange(v, 21, 40);
	packets(v, 22, 0, 7);
	run->to_ns = vns_now_ns();
	assert_int_equal(vo_epoch_finish(v), 0);
	assert_int_equal(v->undecided, 1);
	assert_int_equal(v->other_epoch[VO_EPOCH_BEFORE], 7);
	vo_run_fini(run);
	free(run);
}

/* Steps below 5 ms are the relation's to find, and wrong stamps below 5 ms as well. */
static void small_ones_are_told_once(void **state)
{
	struct vo_run *run;
	struct vo_subject *v = relate(&run);

	(void)state;
	for (size_t i = 20; i < 90; i++)
		exchange(v, i, i < 40 ? 0 : i == 70 ? 5 : 2);
	assert_int_equal(v->n_event, 0);
	assert_int_equal(vo_epoch_finish(v), 0);
	assert_int_equal(v->n_event, 1);
	assert_string_equal(v->event[0].kind, "clock_step");
	assert_non_null(strstr(v->event[0].text, "stepped by +0.002"));
	assert_int_equal(v->contradicting, 1);
	vo_run_fini(run);
	free(run);
}

/* A daemon that steers both clocks at each of 200 looks, a source that goes to and fro: what else happens finds room. */
static void steered_clocks_leave_room(void **state)
{
	struct vns_clock_state s = { .source = "tsc", .tick_us = 10000, .steering_known = true };
	struct vo_run *run;
	struct vo_subject *v = relate(&run);

	(void)state;
	for (int i = 0; i <= 200; i++) {
		s.freq = (i % 3 - 1) * 65536 * 10;
		strcpy(s.source, i % 2 ? "hpet" : "tsc");
		clock_watch_take(&v->watch, CLOCK_GUEST, &s);
		strcpy(s.source, "tsc");
		clock_watch_take(&v->watch, CLOCK_HOST, &s);
		vo_event_clocks(v, began + i * GAP);
	}
	vo_event(v, began + 200 * GAP, "reboot", "It rebooted.");
	assert_int_equal(v->n_event, 7);
	assert_int_equal(v->events_left_out, 196);
	assert_string_equal(v->event[6].kind, "reboot");
	for (int i = 0; i < 6; i++)
		assert_string_equal(v->event[i].kind, "clock_changed");
	assert_non_null(strstr(v->event[0].text, "from tsc to hpet"));
	assert_string_equal(v->event[1].text, "The guest's clock was steered meanwhile (NTP?), 200 times within the 49.8 s from "
			    "here, from -10.000 to +10.000 ppm: the bounds allow for 265 ppm of wander.");
	assert_int_equal(v->event[1].at_ns, began + GAP);
	assert_non_null(strstr(v->event[2].text, "The host's clock was steered meanwhile (NTP?), 200 times"));
	vo_run_fini(run);
	free(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_stands_alone_is_wrong),
		cmocka_unit_test(three_that_agree_are_a_step),
		cmocka_unit_test(it_is_decided_in_the_end),
		cmocka_unit_test(packets_are_held_until_a_lie_is_refuted),
		cmocka_unit_test(nothing_is_lost_over_a_step),
		cmocka_unit_test(a_pause_is_told_whole),
		cmocka_unit_test(a_slow_exchange_after_a_step_hides_nothing),
		cmocka_unit_test(what_stays_open_is_said),
		cmocka_unit_test(small_ones_are_told_once),
		cmocka_unit_test(steered_clocks_leave_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
