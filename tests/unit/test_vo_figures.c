// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vo_figures: raw samples with known latencies under a known clock -> figures that show
 * those latencies; signs, intervals, steps, the clock-free sum.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "measure/vo_figures.h"

#define T0 INT64_C(1700000000000000000)

/* A truth the samples are made by: the guest is ahead by offset + ppm * elapsed. */
struct truth {
	int64_t offset_ns;
	double ppm;
};

static int64_t guest_time(const struct truth *tr, int64_t host_ns)
{
	return host_ns + tr->offset_ns + llround((double)(host_ns - T0) * tr->ppm * 1e-6);
}

/* A packet that leaves upstream at @sent (host clock) and takes @latency. */
static void packet(struct vns_vo_samples *s, const struct truth *tr, int direction, int64_t sent,
		   int64_t latency, int64_t last_extra, uint64_t flow)
{
	int64_t host = direction == VNS_HOST_TO_GUEST ? sent : sent + latency;
	int64_t guest = guest_time(tr, direction == VNS_HOST_TO_GUEST ? sent + latency : sent);
	int64_t host_last = host + (direction == VNS_GUEST_TO_HOST ? last_extra : 0);
	int64_t guest_last = guest + (direction == VNS_HOST_TO_GUEST ? last_extra : 0);
	const struct vns_twin_sample x = {
		.host_ns = host, .first_raw_ns = guest - host, .last_host_ns = host_last,
		.last_raw_ns = guest_last - host_last, .flow_hash = flow, .proto = VNS_PROTO_TCP,
		.direction = (uint8_t)direction, .has_last = true,
	};

	vns_vo_samples_add(s, &x);
}

/* A relation from exchanges with 1 us of delay either way. */
static struct vns_clock *related(const struct truth *tr, int64_t span_ns)
{
	struct vns_clock *c = NULL;

	assert_int_equal(vns_clock_new(&c, VNS_CLOCK_SHM), 0);
	for (int64_t t = T0; t <= T0 + span_ns; t += 10 * VNS_NSEC_PER_MSEC) {
		const struct vns_exchange x = { t, guest_time(tr, t + 1000), guest_time(tr, t + 1100),
						t + 2100 };

		assert_true(vns_clock_add(c, &x) >= 0);
	}
	assert_int_equal(vns_clock_solve(c), 0);
	return c;
}

struct made {
	struct vns_vo_samples samples;
	struct vns_clock *clock;
	struct vns_vo_target t;
};

static void make(struct made *m, const struct truth *tr, int64_t in_ns, int64_t out_ns)
{
	memset(m, 0, sizeof(*m));
	m->clock = related(tr, 2 * VNS_NSEC_PER_SEC);
	for (int i = 0; i < 200; i++) {
		int64_t t = T0 + i * 9 * VNS_NSEC_PER_MSEC;

		packet(&m->samples, tr, VNS_HOST_TO_GUEST, t, in_ns, 700, 42);
		packet(&m->samples, tr, VNS_GUEST_TO_HOST, t + 300000, out_ns, 900, 42);
	}
	assert_int_equal(vns_vo_figures(&m->samples, m->clock, m->t.fig, m->t.sum), 0);
}

static void drop(struct made *m)
{
	vns_vo_target_fini(&m->t);
	vns_vo_samples_free(&m->samples);
	vns_clock_free(m->clock);
}

static void check_truth(const struct vns_vo_figure *f, int64_t truth, int64_t last)
{
	assert_int_equal(f->first.n, 200);
	assert_true((double)f->first.min - f->err_minus_ns <= (double)truth);
	assert_true((double)f->first.max + f->err_plus_ns >= (double)truth);
	assert_true(fabs(f->first.mean - (double)truth) <= 50);
	assert_true(f->err_minus_ns + f->err_plus_ns <= 2200);
	assert_true(f->mean_err_minus_ns <= f->err_minus_ns + 1e-6);
	assert_true(fabs(f->last.mean - (double)last) <= 50);
}

static void signs_and_drift(void **state)
{
	static const struct truth truths[] = {
		{ 0, 0 }, { 5000000, 0 }, { -7200 * VNS_NSEC_PER_SEC, 100 }, { 123456789, -200 },
	};
	struct made m;

	(void)state;
	for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		make(&m, &truths[i], 80000, 25000);
		check_truth(&m.t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP], 80000, 80700);
		check_truth(&m.t.fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP], 25000, 25900);
		drop(&m);
	}
}

static void sum_needs_no_clock(void **state)
{
	const struct truth tr = { 5000000, 150 };
	struct vns_clock *wrong = NULL;
	struct vns_vo_target t = { 0 };
	struct made m;

	(void)state;
	make(&m, &tr, 80000, 25000);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].paired.n, 200);
	assert_true(fabs(m.t.sum[VNS_PROTO_TCP].paired.mean - 105000) <= 10);

	/* a clock that is a millisecond off moves the directions, not the sum */
	assert_int_equal(vns_clock_new(&wrong, VNS_CLOCK_GIVEN), 0);
	assert_int_equal(vns_clock_set_fixed(wrong, T0, 6000000, 150, 0), 0);
	assert_int_equal(vns_clock_solve(wrong), 0);
	assert_int_equal(vns_vo_figures(&m.samples, wrong, t.fig, t.sum), 0);
	assert_true(t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first.max < 0);
	assert_true(fabs(t.sum[VNS_PROTO_TCP].paired.mean - 105000) <= 60);
	vns_vo_target_fini(&t);
	vns_clock_free(wrong);
	drop(&m);
}

/* A reply 900 ms after its request: 180 us of a drift of 200 ppm, which the relation knows. */
static void sum_is_free_of_drift(void **state)
{
	const struct truth tr = { 5000000, 200 };
	struct vns_clock *c = related(&tr, 10 * VNS_NSEC_PER_SEC);
	const struct vns_vo_sum *sum;
	struct vns_vo_target t = { 0 };
	struct vns_vo_samples s = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++) {
		int64_t sent = T0 + i * VNS_NSEC_PER_SEC;

		packet(&s, &tr, VNS_HOST_TO_GUEST, sent, 80000, 0, 42);
		packet(&s, &tr, VNS_GUEST_TO_HOST, sent + 900 * VNS_NSEC_PER_MSEC, 25000, 0, 42);
	}
	assert_int_equal(vns_vo_figures(&s, c, t.fig, t.sum), 0);
	sum = &t.sum[VNS_PROTO_TCP];
	assert_int_equal(sum->paired.n, 10);
	assert_true(llabs(sum->paired.min - 105000) <= 300);
	assert_true(llabs(sum->paired.max - 105000) <= 300);
	/* 500 ppm either way, and the relation's rate may be wrong by all of its own: 700 ppm */
	assert_true(fabs(sum->gap_error_ns - 630000) <= 500);
	vns_vo_target_fini(&t);
	vns_vo_samples_free(&s);
	vns_clock_free(c);
}

/* Both directions together took less than nothing, which no offset explains. */
static void negative_sum_is_a_contradiction(void **state)
{
	const struct truth tr = { 0, 0 };
	char why[256] = "";
	struct made m;

	(void)state;
	make(&m, &tr, 80000, 25000);
	assert_false(vns_vo_contradiction(&m.t, why, sizeof(why)));
	packet(&m.samples, &tr, VNS_HOST_TO_GUEST, T0 + 1900 * VNS_NSEC_PER_MSEC, 80000, 0, 43);
	packet(&m.samples, &tr, VNS_GUEST_TO_HOST, T0 + 1901 * VNS_NSEC_PER_MSEC, -84000, 0, 43);
	vns_vo_target_fini(&m.t);
	memset(&m.t, 0, sizeof(m.t));
	assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
	/* leave the directions aside: only the sum is to tell */
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		m.t.fig[d][VNS_PROTO_TCP].err_plus_ns = m.t.fig[d][VNS_PROTO_TCP].floor_upper_ns = 1e9;
	assert_true(vns_vo_contradiction(&m.t, why, sizeof(why)));
	assert_non_null(strstr(why, "both directions"));
	drop(&m);
}

#define STEP_AT (T0 + VNS_NSEC_PER_SEC + 3300000)

/* A guest whose clock is set 3 ms ahead in mid-run, at an instant between two exchanges. */
static const struct truth *before_or_after(int64_t host_ns)
{
	static const struct truth before = { 0, 0 }, after = { 3000000, 0 };

	return host_ns < STEP_AT ? &before : &after;
}

/* No sum of a request before the step and a reply after it: at its instant the relation may be wrong. */
static void no_sum_across_a_step(void **state)
{
	struct vns_vo_samples s = { 0 };
	struct vns_vo_target t = { 0 };
	struct vns_vo_negative negative[VNS_VO_MAX_NEGATIVE];
	struct vns_clock *c = NULL;
	size_t n;

	(void)state;
	assert_int_equal(vns_clock_new(&c, VNS_CLOCK_SHM), 0);
	for (int64_t at = T0; at <= T0 + 2 * VNS_NSEC_PER_SEC; at += 10 * VNS_NSEC_PER_MSEC) {
		const struct vns_exchange x = { at, guest_time(before_or_after(at), at + 1000),
						guest_time(before_or_after(at), at + 1100), at + 2100 };

		assert_true(vns_clock_add(c, &x) >= 0);
	}
	assert_int_equal(vns_clock_solve(c), 0);
	for (int i = 0; i < 600; i++) {
		int64_t sent = T0 + i * 3 * VNS_NSEC_PER_MSEC, back = sent + 2 * VNS_NSEC_PER_MSEC;

		packet(&s, before_or_after(sent + 80000), VNS_HOST_TO_GUEST, sent, 80000, 0, 42);
		packet(&s, before_or_after(back), VNS_GUEST_TO_HOST, back, 25000, 0, 42);
	}
	assert_int_equal(vns_vo_figures(&s, c, t.fig, t.sum), 0);
	assert_in_range(t.sum[VNS_PROTO_TCP].paired.n, 590, 599);
	assert_in_range(t.sum[VNS_PROTO_TCP].paired.min, 105000 - 3000, 105000 + 3000);
	assert_in_range(t.sum[VNS_PROTO_TCP].paired.max, 105000 - 3000, 105000 + 3000);
	/* what is below 0 in one direction is so within its bound, and said so */
	t.clock_mode = VNS_CLOCK_SHM;
	n = vns_vo_negatives(&t, negative);
	assert_int_equal(n, t.fig[0][VNS_PROTO_TCP].first.min < -1 || t.fig[1][VNS_PROTO_TCP].first.min < -1);
	for (size_t i = 0; i < n; i++) {
		assert_false(negative[i].impossible);
		assert_non_null(strstr(negative[i].text, "clock bound of -"));
	}
	vns_vo_target_fini(&t);
	vns_vo_samples_free(&s);
	vns_clock_free(c);
}

/* One packet beyond its own narrow interval is told though another's interval is wide. */
static void no_negative_stands_without_a_word(void **state)
{
	const struct truth tr = { 0, 0 };
	struct vns_vo_negative negative[VNS_VO_MAX_NEGATIVE];
	struct vns_vo_figure *f;
	char why[256] = "";
	struct made m;

	(void)state;
	make(&m, &tr, 80000, 25000);
	m.t.clock_mode = VNS_CLOCK_SHM;
	assert_int_equal(vns_vo_negatives(&m.t, negative), 0);
	packet(&m.samples, &tr, VNS_HOST_TO_GUEST, T0 + 1900 * VNS_NSEC_PER_MSEC, -500, 0, 43);
	vns_vo_target_fini(&m.t);
	memset(&m.t, 0, sizeof(m.t));
	m.t.clock_mode = VNS_CLOCK_SHM;
	assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
	assert_int_equal(vns_vo_negatives(&m.t, negative), 1);
	assert_false(negative[0].impossible);
	assert_non_null(strstr(negative[0].text, "below 0 within the clock bound"));
	assert_false(vns_vo_contradiction(&m.t, why, sizeof(why)));
	f = &m.t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	f->floor_upper_ns = -200; /* as of a packet whose interval is narrower */
	assert_int_equal(vns_vo_negatives(&m.t, negative), 1);
	assert_true(negative[0].impossible);
	assert_non_null(strstr(negative[0].text, "IMPOSSIBLE"));
	assert_true(vns_vo_contradiction(&m.t, why, sizeof(why)));
	drop(&m);
}

/* Sampled packet by packet, a request has no reply of its own. */
static void sampled_sums_are_withheld(void **state)
{
	const struct vns_vo_target t = { .sample_last = 8 }, all = { .sample_last = 1 };

	(void)state;
	assert_null(vns_vo_sum_withheld(&t, VNS_PROTO_TCP));
	assert_non_null(vns_vo_sum_withheld(&t, VNS_PROTO_UDP));
	assert_non_null(vns_vo_sum_withheld(&t, VNS_PROTO_ICMP));
	assert_null(vns_vo_sum_withheld(&all, VNS_PROTO_UDP));
}

static void disagreement_is_seen(void **state)
{
	/* The relation claims a rate far beyond the model: the sum must not add up. */
	struct vns_clock *mad = NULL;
	const struct truth tr = { 0, 0 };
	struct vns_vo_target t = { 0 };
	struct made m;

	(void)state;
	make(&m, &tr, 80000, 25000);
	assert_int_equal(vns_clock_new(&mad, VNS_CLOCK_GIVEN), 0);
	assert_int_equal(vns_clock_set_fixed(mad, T0, 0, 50000, 0), 0);
	assert_int_equal(vns_clock_solve(mad), 0);
	assert_int_equal(vns_vo_figures(&m.samples, mad, t.fig, t.sum), 0);
	assert_true(t.sum[VNS_PROTO_TCP].check.blocks > 0);
	assert_false(t.sum[VNS_PROTO_TCP].check.inside);
	vns_vo_target_fini(&t);
	vns_clock_free(mad);
	drop(&m);
}

/* The check's interval holds what the relation claims of itself, when and however long it is asked. */
static void check_holds_the_clocks_claim(void **state)
{
	const struct truth tr = { 5000000, 0 };
	struct vns_clock *given = NULL;

	(void)state;
	assert_int_equal(vns_clock_new(&given, VNS_CLOCK_GIVEN), 0);
	assert_int_equal(vns_clock_set_fixed(given, T0, 5000000, 0, 10000), 0);
	assert_int_equal(vns_clock_solve(given), 0);
	for (int cell = 0; cell < VNS_VO_CELLS; cell++) {
		struct vns_vo_samples s = { 0 };
		struct vns_vo_target t = { 0 };

		for (int i = 0; i < 200; i++) {
			int64_t at = T0 + (cell * 50 + i * 5) * VNS_NSEC_PER_MSEC;

			packet(&s, &tr, VNS_HOST_TO_GUEST, at, 80000, 0, 42);
			packet(&s, &tr, VNS_GUEST_TO_HOST, at + 300000, 25000, 0, 42);
		}
		assert_int_equal(vns_vo_figures(&s, given, t.fig, t.sum), 0);
		assert_true(t.sum[VNS_PROTO_TCP].check.blocks >= 8);
		assert_true(fabs(t.sum[VNS_PROTO_TCP].check.half_ns - 20001) < 2);
		vns_vo_target_fini(&t);
		vns_vo_samples_free(&s);
	}
	vns_clock_free(given);
}

static void unsorted_samples_are_sorted(void **state)
{
	const struct truth tr = { 0, 0 };
	struct vns_vo_samples s = { 0 };
	struct vns_vo_target t = { 0 };
	struct vns_clock *same = NULL;

	(void)state;
	packet(&s, &tr, VNS_GUEST_TO_HOST, T0 + 500000, 20000, 0, 7);
	packet(&s, &tr, VNS_HOST_TO_GUEST, T0, 30000, 0, 7);
	assert_true(s.unsorted);
	assert_int_equal(vns_clock_new(&same, VNS_CLOCK_SAME), 0);
	assert_int_equal(vns_clock_set_fixed(same, T0, 0, 0, 0), 0);
	assert_int_equal(vns_clock_solve(same), 0);
	assert_int_equal(vns_vo_figures(&s, same, t.fig, t.sum), 0);
	assert_int_equal(t.sum[VNS_PROTO_TCP].paired.n, 1);
	assert_int_equal(t.sum[VNS_PROTO_TCP].paired.min, 50000);
	assert_true(t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].err_plus_ns == 0);
	vns_vo_target_fini(&t);
	vns_vo_samples_free(&s);
	vns_clock_free(same);
}

/*
 * A guest that stands still for 3 s: the pair over it is in no sum, and counted; the share is of the RTT's
 * samples that are in the same bounds, by truth 105 us of 200 us.
 */
static void a_pause_does_not_shrink_the_share(void **state)
{
	const struct truth tr = { 0, 0 };
	struct vns_vo_share share;
	struct made m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.clock = related(&tr, 6 * VNS_NSEC_PER_SEC);
	for (int i = 0; i < 100; i++) {
		int64_t t = T0 + i * 9 * VNS_NSEC_PER_MSEC + (i >= 50) * 4 * VNS_NSEC_PER_SEC;
		int64_t pause = i == 49 ? 3 * VNS_NSEC_PER_SEC : 0;

		packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t, 80000 + pause, 700, 42);
		packet(&m.samples, &tr, VNS_GUEST_TO_HOST, t + 175000 + pause, 25000, 900, 42);
		vns_dist_add(&m.t.rtt.guest_side, 200000 + pause);
		if (!pause)
			vns_dist_add(&m.t.rtt.guest_within, 200000);
	}
	assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].paired.n, 99);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].late_replies, 1);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].across_step, 0);
	assert_true(vns_vo_share(&m.t, &share));
	assert_string_equal(share.withheld, "");
	assert_int_equal(share.left_out, 1);
	assert_true(fabs(share.percent - 52.5) < 0.1);
	drop(&m);
}

#define STALLS 20 /* of half a second, one a second; pings each 10 ms */

/* When a packet that reaches the guest at @t gets in: what comes while it stands still waits for its end. */
static int64_t let_in(int64_t t)
{
	int64_t into = (t - T0) % VNS_NSEC_PER_SEC;

	return into < VNS_NSEC_PER_SEC / 2 ? t - into + VNS_NSEC_PER_SEC / 2 : t;
}

/*
 * Pings to a guest that stands still for half of each second, or its own: a request's partner is its own reply,
 * not the first reply after it. Truth is the mean of what each took both ways.
 */
static void echoes_are_paired_with_their_own(void **state)
{
	const struct truth tr = { 0, 0 };

	(void)state;
	for (int way = 0; way < 3; way++) { /* to the guest, its own, to it but the replies are told first */
		bool own = way == 1, turned = way == 2;
		struct made m;
		double truth = 0;

		memset(&m, 0, sizeof(m));
		m.clock = related(&tr, (STALLS + 1) * VNS_NSEC_PER_SEC);
		for (int i = 0; i < STALLS * 100; i++) {
			int64_t t = T0 + i * 10 * VNS_NSEC_PER_MSEC;
			int64_t in = let_in(t + 80000) - t, reply = own ? t - 3000000 : t + in + 5000;

			packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t, in, 0, (uint64_t)(42 ^ i));
			m.samples.at[m.samples.n - 1].proto = VNS_PROTO_ICMP;
			packet(&m.samples, &tr, VNS_GUEST_TO_HOST, reply, 25000, 0, (uint64_t)(42 ^ i));
			m.samples.at[m.samples.n - 1].proto = VNS_PROTO_ICMP;
			truth += (double)(in + 25000) / (STALLS * 100);
			if (turned) {
				struct vns_vo_sample *last = &m.samples.at[m.samples.n - 1], request = last[-1];

				last[-1] = *last;
				*last = request;
			}
		}
		m.samples.unsorted = !turned;
		assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
		assert_int_equal(m.t.sum[VNS_PROTO_ICMP].paired.n, STALLS * 100);
		assert_int_equal(m.t.sum[VNS_PROTO_ICMP].late_replies, 0);
		assert_true(fabs(m.t.sum[VNS_PROTO_ICMP].paired.mean - truth) < 1000);
		drop(&m);
	}
}

/*
 * The same guest and another protocol, whose replies say nothing of which request they are: only fast requests get
 * pairs, so the sum is too low. It says so, and no share is made of it; a guest that does not stall has its
 * interval.
 */
static void passed_over_requests_are_told(void **state)
{
	static const uint8_t protos[] = { VNS_PROTO_TCP, VNS_PROTO_UDP };
	const struct truth tr = { 0, 0 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint8_t proto = protos[i % 2];
		bool stalls = i >= 2;
		struct vns_vo_share share;
		struct vns_vo_sum *s;
		struct made m;

		memset(&m, 0, sizeof(m));
		m.clock = related(&tr, (STALLS + 1) * VNS_NSEC_PER_SEC);
		for (int k = 0; k < STALLS * 100; k++) {
			int64_t t = T0 + k * 10 * VNS_NSEC_PER_MSEC, in = stalls ? let_in(t + 80000) - t : 80000;

			packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t, in, 0, 42);
			m.samples.at[m.samples.n - 1].proto = proto;
			packet(&m.samples, &tr, VNS_GUEST_TO_HOST, t + in + 5000 + k % 100, 25000, 0, 42);
			m.samples.at[m.samples.n - 1].proto = proto;
			vns_dist_add(&m.t.rtt.guest_within, in + 30000);
			vns_dist_add(&m.t.rtt.guest_side, in + 30000);
		}
		m.samples.unsorted = true;
		assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
		s = &m.t.sum[proto];
		assert_int_equal(s->biased, stalls);
		assert_int_equal(vns_interval_known(&s->interval.mean), !stalls);
		assert_int_equal(s->passed_over, stalls ? STALLS * 50 : 0);
		assert_int_equal(s->passed_over + s->paired.n, STALLS * 100);
		if (proto == VNS_PROTO_TCP) {
			assert_true(vns_vo_share(&m.t, &share));
			assert_int_equal(share.withheld[0] != 0, stalls);
		}
		vns_dist_fini(&m.t.rtt.guest_within);
		vns_dist_fini(&m.t.rtt.guest_side);
		memset(&m.t.rtt, 0, sizeof(m.t.rtt));
		drop(&m);
	}
}

/* Of so many requests in a hundred there are two for one reply: nothing contradicts, but which it is of is not known. */
static void few_may_be_passed_over(void **state)
{
	static const int doubled[] = { 0, 1, 2 };
	const struct truth tr = { 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(doubled) / sizeof(doubled[0]); i++) {
		struct vns_vo_sum *s;
		struct made m;

		memset(&m, 0, sizeof(m));
		m.clock = related(&tr, 4 * VNS_NSEC_PER_SEC);
		for (int k = 0; k < 300; k++) {
			int64_t t = T0 + k * 10 * VNS_NSEC_PER_MSEC;

			if (k % 100 >= 100 - doubled[i])
				packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t - 1000, 80000, 0, 42);
			packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t, 80000, 0, 42);
			packet(&m.samples, &tr, VNS_GUEST_TO_HOST, t + 100000, 25000, 0, 42);
		}
		for (size_t k = 0; k < m.samples.n; k++)
			m.samples.at[k].proto = VNS_PROTO_UDP;
		assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
		s = &m.t.sum[VNS_PROTO_UDP];
		assert_int_equal(s->paired.n, 300);
		assert_int_equal(s->passed_over, 3 * doubled[i]);
		assert_int_equal(s->biased, doubled[i] > 1);
		drop(&m);
	}
}

/* A request that is told after later ones is none's latest: no reply is held to be late by it. */
static void a_request_told_late_is_passed_over(void **state)
{
	static const int at_ms[] = { 0, 1500, 100, 1600 }; /* the third without a reply, between the others' */
	const struct truth tr = { 0, 0 };
	struct made m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.clock = related(&tr, 2 * VNS_NSEC_PER_SEC);
	for (int i = 0; i < 4; i++) {
		int64_t t = T0 + at_ms[i] * VNS_NSEC_PER_MSEC;

		if (i < 3)
			packet(&m.samples, &tr, VNS_HOST_TO_GUEST, t, 80000, 0, 42);
		if (i != 2)
			packet(&m.samples, &tr, VNS_GUEST_TO_HOST, t + 100000, 25000, 0, 42);
	}
	m.samples.unsorted = false;
	assert_int_equal(vns_vo_figures(&m.samples, m.clock, m.t.fig, m.t.sum), 0);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].paired.n, 2);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].late_replies, 0);
	assert_int_equal(m.t.sum[VNS_PROTO_TCP].passed_over, 1);
	drop(&m);
}

/* A part is at most the whole, the interval holds the point, and what contradicts that is no share. */
static void a_share_is_at_most_all(void **state)
{
	struct vns_vo_target t = { .from_point = "tap" };
	struct vns_vo_sum *sum = &t.sum[VNS_PROTO_TCP];
	struct vns_vo_share share;

	(void)state;
	assert_false(vns_vo_share(&t, &share));
	vns_dist_add(&sum->paired, 104000);
	vns_dist_add(&t.rtt.guest_within, 100000);
	assert_true(vns_vo_share(&t, &share));
	assert_true(share.percent == 100 && fabs(share.ratio - 104) < 1e-6 && isnan(share.lower));
	sum->interval.mean = (struct vns_interval){ 90000, 110000 };
	t.rtt.within_interval.mean = (struct vns_interval){ 95000, 120000 };
	assert_true(vns_vo_share(&t, &share));
	assert_true(share.percent == 100 && share.lower == 75 && share.upper == 100);
	t.rtt.within_interval.mean = (struct vns_interval){ 50000, 80000 };
	assert_true(vns_vo_share(&t, &share));
	assert_non_null(strstr(share.withheld, "beyond both intervals"));
	assert_true(isnan(share.percent));
	t.unrelated = 1;
	assert_true(vns_vo_share(&t, &share));
	assert_non_null(strstr(share.withheld, "while the clocks' relation changed"));
	vns_vo_target_fini(&t);
}

static void far_last_byte_is_counted(void **state)
{
	struct vns_vo_samples s = { 0 };
	const struct vns_twin_sample x = { .host_ns = T0, .last_host_ns = T0 + 3 * VNS_NSEC_PER_SEC,
					   .has_last = true, .proto = VNS_PROTO_TCP };

	(void)state;
	vns_vo_samples_add(&s, &x);
	assert_int_equal(s.last_lost, 1);
	assert_false(s.at[0].has_last);
	vns_vo_samples_free(&s);
}

/*
 * Correlated samples: latency follows a slow square wave, so whole blocks are slow together. The
 * interval must be far wider than ranks give, and for independent samples about as wide.
 */
static void correlated_samples_widen_the_median(void **state)
{
	const struct truth tr = { 0, 0 };
	struct vns_clock *same = NULL;
	int64_t width[2];

	(void)state;
	assert_int_equal(vns_clock_new(&same, VNS_CLOCK_SAME), 0);
	assert_int_equal(vns_clock_set_fixed(same, T0, 0, 0, 0), 0);
	assert_int_equal(vns_clock_solve(same), 0);
	for (int correlated = 0; correlated < 2; correlated++) {
		struct vns_vo_samples s = { 0 };
		struct vns_vo_target t = { 0 };
		const struct vns_vo_figure *f = &t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
		uint32_t r = 1;

		for (int i = 0; i < 1600; i++) {
			int64_t v;

			r = r * 1664525 + 1013904223;
			v = 50000 + (r >> 16) % 10000;
			if (correlated)
				v = v / 10 + 45000 + (i / 100 % 2) * 10000;
			packet(&s, &tr, VNS_HOST_TO_GUEST, T0 + i * VNS_NSEC_PER_MSEC, v, 0, 1);
		}
		assert_int_equal(vns_vo_figures(&s, same, t.fig, NULL), 0);
		assert_true(f->interval.p50.lower <= vns_dist_quantile(&f->first, 0.5) + 500);
		assert_true(f->interval.p50.upper >= vns_dist_quantile(&f->first, 0.5) - 500);
		width[correlated] = f->interval.p50.upper - f->interval.p50.lower;
		vns_vo_target_fini(&t);
		vns_vo_samples_free(&s);
	}
	/* standard error of the median 125 ns, and the histogram's bucket at 55 us of 512 ns */
	assert_in_range(width[0], 512 + 200, 512 + 1500);
	assert_in_range(width[1], 3000, 20000);
	vns_clock_free(same);
}

/* Signs of a rate that changes are no claim of one where something else happened. */
static void a_disturbed_clock_is_not_called_slewed(void **state)
{
	struct vns_vo_event event[2] = { { .kind = "clock_changed" }, { .kind = "sampling" } };

	(void)state;
	assert_non_null(strstr(vns_vo_bent_words(event, 0, VNS_CLOCK_RATE_CHANGED, false, false), "changed its rate"));
	assert_non_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_CHANGED, true, true), "changed its rate"));
	/* signs that 3 of 100 good clocks show are no claim */
	assert_non_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_SIGNS, false, false), "3 of 100"));
	assert_non_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_SIGNS, true, false), "There are signs"));
	assert_non_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_SIGNS, false, true), "nothing steers"));
	strcpy(event[1].kind, "removed");
	assert_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_CHANGED, false, false), "changed its rate"));
	assert_non_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_SIGNS, false, false), "bounds were widened"));
	assert_null(strstr(vns_vo_bent_words(event, 2, VNS_CLOCK_RATE_SIGNS, true, false), "widened"));
}

/*
 * Last bytes that come with the first are not counted twice. Whichever sample is the first that parts them, or has
 * no last byte, the figure is that of all last bytes. @parted: that sample; @has_last: of it
 */
static void check_parted(const struct vns_clock *same, int parted, bool has_last)
{
	enum { SAMPLES = 300, LATER_NS = 5000 };
	const struct truth tr = { 0, 0 };
	struct vns_vo_samples s = { 0 };
	struct vns_vo_target t = { 0 };
	const struct vns_dist *last = &t.fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP].last;
	int64_t sum = 0, max = 0, n = 0;

	for (int i = 0; i < SAMPLES; i++) {
		int64_t v = 40000 + i * 37 % 1009, later = i == parted && has_last ? LATER_NS : 0;

		packet(&s, &tr, VNS_GUEST_TO_HOST, T0 + i * VNS_NSEC_PER_SEC, v, later, 1);
		s.at[i].has_last = i != parted || has_last;
		if (!s.at[i].has_last)
			continue;
		n++;
		sum += v + later;
		max = v + later > max ? v + later : max;
	}
	assert_int_equal(vns_vo_figures(&s, same, t.fig, NULL), 0);
	assert_int_equal(last->n, n);
	assert_int_equal(last->max, max);
	assert_true(fabs(last->mean - (double)sum / (double)n) < 1e-3);
	assert_int_equal(vns_dist_quantile(last, 1), max);
	assert_true(t.fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP].last_interval.mean.upper > (double)sum / (double)n);
	vns_vo_target_fini(&t);
	vns_vo_samples_free(&s);
}

static void last_bytes_part_at_any_sample(void **state)
{
	static const int at[] = { -1, 0, 1, 63, 64, 130, 299 };
	struct vns_clock *same = NULL;

	(void)state;
	assert_int_equal(vns_clock_new(&same, VNS_CLOCK_SAME), 0);
	assert_int_equal(vns_clock_solve(same), 0);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		check_parted(same, at[i], true);
		check_parted(same, at[i], false);
	}
	vns_clock_free(same);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_and_drift),
		cmocka_unit_test(sum_needs_no_clock),
		cmocka_unit_test(sum_is_free_of_drift),
		cmocka_unit_test(negative_sum_is_a_contradiction),
		cmocka_unit_test(no_sum_across_a_step),
		cmocka_unit_test(no_negative_stands_without_a_word),
		cmocka_unit_test(sampled_sums_are_withheld),
		cmocka_unit_test(disagreement_is_seen),
		cmocka_unit_test(check_holds_the_clocks_claim),
		cmocka_unit_test(unsorted_samples_are_sorted),
		cmocka_unit_test(a_pause_does_not_shrink_the_share),
		cmocka_unit_test(echoes_are_paired_with_their_own),
		cmocka_unit_test(passed_over_requests_are_told),
		cmocka_unit_test(few_may_be_passed_over),
		cmocka_unit_test(a_request_told_late_is_passed_over),
		cmocka_unit_test(a_share_is_at_most_all),
		cmocka_unit_test(far_last_byte_is_counted),
		cmocka_unit_test(last_bytes_part_at_any_sample),
		cmocka_unit_test(correlated_samples_widen_the_median),
		cmocka_unit_test(a_disturbed_clock_is_not_called_slewed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
