// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The self-test's judgement: an estimate that is wrong, by little or in one direction only, must come
 * out as outside. Clocks and exchanges are made here, so what is right is known.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "experiment/selftest_rows.h"
#include "measure/vo_figures.h"

#define EPOCH INT64_C(1763764800000000000)

static struct vns_drift_result known(enum vns_clock_mode mode, double offset, double error)
{
	struct vns_drift_result r = { .mode = mode };

	assert_int_equal(vns_clock_new(&r.clock, mode), 0);
	assert_int_equal(vns_clock_set_fixed(r.clock, EPOCH, offset, 0, error), 0);
	assert_int_equal(vns_clock_eval(r.clock, EPOCH, &r.at), 0);
	return r;
}

/* @n exchanges whose ways take @in and @out, of a guest ahead by @offset; stepped by @step half way. */
static struct vns_drift_result exchanged(enum vns_clock_mode mode, int n, int64_t offset, int64_t in,
					 int64_t out, int64_t step)
{
	struct vns_drift_result r = { .mode = mode };

	assert_int_equal(vns_clock_new(&r.clock, mode), 0);
	for (int i = 0; i < n; i++) {
		int64_t t = EPOCH + i * 20 * VNS_NSEC_PER_MSEC, wobble = i * 7919 % 1000;
		int64_t o = offset + (i >= n / 2 ? step : 0);
		struct vns_exchange x = { t, t + in + wobble + o, t + in + wobble + 500 + o,
					  t + in + wobble + 500 + out };

		assert_int_equal(vns_clock_add(r.clock, &x), 0);
	}
	assert_int_equal(vns_clock_solve(r.clock), 0);
	assert_int_equal(vns_clock_eval(r.clock, EPOCH, &r.at), 0);
	vns_drift_ways(&r);
	return r;
}

static void test_offsets(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run run = { .n = 3 };

	(void)state;
	for (int m = 0; m < VNS_CLOCK_MODES; m++)
		out.half_width_ns[m] = NAN;
	run.r[0] = known(VNS_CLOCK_SHM, 1000000, 300);
	run.r[1] = known(VNS_CLOCK_CHANNEL, 1005000, 5000);
	run.r[2] = known(VNS_CLOCK_EXCHANGE, 1005400, 5000); /* misses by 100 ns */
	selftest_offsets(&out, &run, "offset");
	assert_int_equal(out.n_row, 2);
	assert_true(out.row[0].inside);
	assert_false(out.row[1].inside);
	assert_true(isnan(out.row[1].value)); /* withheld */
	assert_int_equal(vns_selftest_outside(&out), 1);
	assert_true(fabs(out.half_width_ns[VNS_CLOCK_CHANNEL] - 5000) < 1);
	selftest_run_fini(&run);
}

/* On a busy machine the page's exchanges are slow, and the truth is an interval as wide as they are. */
static void test_truth_is_an_interval(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run run = { .n = 3 };

	(void)state;
	run.r[0] = known(VNS_CLOCK_SHM, 1000000, 4000);
	run.r[1] = known(VNS_CLOCK_CHANNEL, 1007000, 4500);   /* may hold what is true; not the middle */
	run.r[2] = known(VNS_CLOCK_EXCHANGE, 1009000, 4500); /* cannot */
	selftest_offsets(&out, &run, "offset");
	assert_int_equal(out.n_row, 2);
	assert_true(out.row[0].inside);
	assert_false(out.row[1].inside);
	assert_int_equal(out.vague, 0);
	selftest_run_fini(&run);
	out.n_row = 0; /* the truth is not known as well as what is tested claims: that proves nothing */
	run.n = 2;
	run.r[0] = known(VNS_CLOCK_SHM, 1000000, 4000);
	run.r[1] = known(VNS_CLOCK_CHANNEL, 1000000, 3000);
	selftest_offsets(&out, &run, "offset");
	assert_int_equal(out.n_row, 0);
	assert_int_equal(out.vague, 1);
	selftest_run_fini(&run);
}

/* The fastest exchange is the one after the last of the truth: the estimate is made of it, too. */
static void test_way_after_the_truth(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run run = { .n = 2 };
	int64_t end = EPOCH + 40 * 20 * VNS_NSEC_PER_MSEC;
	struct vns_exchange last = { end, end + 71000 + 20, end + 71500 + 20, end + 71500 - 70000 + 20020 };

	(void)state;
	run.r[0] = exchanged(VNS_CLOCK_SHM, 40, 70000, 400, 400, 0);
	run.r[1] = exchanged(VNS_CLOCK_EXCHANGE, 40, 70000, 3000000, 20000, 0);
	assert_int_equal(vns_clock_add(run.r[1].clock, &last), 0);
	assert_int_equal(vns_clock_solve(run.r[1].clock), 0);
	vns_drift_ways(&run.r[1]);
	selftest_ways(&out, &run, 3e6);
	assert_true(fabs(out.row[0].truth_lower - 1000) < 1500);
	assert_int_equal(vns_selftest_outside(&out), 0);
	selftest_run_fini(&run);
}

static void test_ways(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run run = { .n = 2 };

	(void)state;
	run.r[0] = known(VNS_CLOCK_SHM, 70000, 1);
	run.r[1] = exchanged(VNS_CLOCK_EXCHANGE, 40, 70000, 3000000, 20000, 0);
	selftest_ways(&out, &run, 3e6);
	assert_int_equal(out.n_row, 3);
	assert_true(fabs(out.row[0].truth_lower - 3000000) < 10);
	assert_true(fabs(out.row[1].truth_lower - 20000) < 10);
	assert_int_equal(vns_selftest_outside(&out), 0);
	assert_true(fabs(out.symmetric_error_ns - 1490000) < 1000);
	/* an interval that claims half of it each, as equal floors would, misses both */
	out.n_row = 0;
	run.r[1].way[0].floor_upper_ns = run.r[1].way[1].floor_lower_ns = 1510000;
	selftest_ways(&out, &run, 3e6);
	assert_false(out.row[0].inside);
	assert_false(out.row[1].inside);
	assert_true(out.row[2].inside);
	selftest_run_fini(&run);
}

static void test_steps(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	const int64_t at = EPOCH + 29 * 20 * VNS_NSEC_PER_MSEC; /* the last exchange before the step */
	struct selftest_run run = { .n = 2 };

	(void)state;
	run.r[0] = exchanged(VNS_CLOCK_SHM, 60, 0, 400, 400, -5000000);
	run.r[1] = exchanged(VNS_CLOCK_CHANNEL, 60, 0, 400, 400, 0); /* slept through it */
	selftest_steps(&out, &run, -5e6, at + 5 * VNS_NSEC_PER_MSEC, at + 15 * VNS_NSEC_PER_MSEC);
	assert_int_equal(out.n_row, 2);
	assert_true(out.row[0].inside);
	assert_true(fabs(out.row[0].value + 5e6) < 20000);
	assert_false(out.row[1].inside);
	selftest_steps(&out, &run, -4.9e6, at + 5 * VNS_NSEC_PER_MSEC, at + 15 * VNS_NSEC_PER_MSEC); /* another step than the one that was made */
	assert_false(out.row[2].inside);
	selftest_run_fini(&run);
}

/* Of a step that the exchanges' own delays can hide, or that has too few of them on a side, there is no row. */
static void test_steps_hidden(void **state)
{
	const int64_t at = EPOCH + 29 * 20 * VNS_NSEC_PER_MSEC, ms = VNS_NSEC_PER_MSEC;
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run run = { .n = 1 };

	(void)state;
	run.r[0] = exchanged(VNS_CLOCK_SHM, 60, 0, 900000, 900000, -5000000);
	selftest_steps(&out, &run, -5e6, at + 5 * ms, at + 15 * ms);
	assert_int_equal(out.n_row, 0);
	selftest_run_fini(&run);
	run.n = 1;
	run.r[0] = exchanged(VNS_CLOCK_SHM, 30, 0, 400, 400, -5000000);
	selftest_steps(&out, &run, -5e6, at - 300 * ms + 5 * ms, at - 300 * ms + 15 * ms);
	assert_int_equal(out.n_row, 0);
	assert_int_equal(out.vague, 2);
	selftest_run_fini(&run);
}

static void fill(struct vns_dist *d, int64_t least, int64_t step)
{
	for (int i = 0; i < 100; i++)
		vns_dist_add(d, least + i * step);
}

/* One direction is held for 3 ms; @missed: what the estimate of it lacks, @leaks: what shows in the other. */
static void run_through(struct vns_vo_target *t, int64_t held, int64_t missed, int64_t leaks)
{
	struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	struct vns_vo_figure *back = &t->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP];

	*t = (struct vns_vo_target){ .clock_mode = VNS_CLOCK_SHM };
	fill(&in->first, 40000 + held - missed, 1000);
	fill(&back->first, 30000 + leaks, 1000);
	in->floor_lower_ns = (double)in->first.min - 300;
	in->floor_upper_ns = (double)in->first.min + 300;
	back->floor_lower_ns = (double)back->first.min - 300;
	back->floor_upper_ns = (double)back->first.min + 300;
	fill(&t->sum[VNS_PROTO_TCP].paired, 70000 + held - missed + leaks, 2000);
	fill(&t->rtt.guest_side, 120000 + held - missed, 2000);
}

static void test_latencies(void **state)
{
	const struct vns_relay_counts relay = { .hold_min_ns = 3000000, .hold_p25_ns = 3020000 };
	const struct selftest_app app = { 150000, 3150000 }, slower = { 150000, 3350000 };
	struct vns_selftest_result out = { .n_row = 0 };
	struct vns_vo_target base, right, half, other;

	(void)state;
	run_through(&base, 0, 0, 0);
	run_through(&right, 3000000, 0, 0);
	selftest_latencies(&out, &base, &right, &relay, &app, 3e6);
	assert_int_equal(out.n_row, 4);
	assert_int_equal(vns_selftest_outside(&out), 0);
	assert_int_equal(out.too_few, 1); /* no hop from the uplink to the tap here */
	/* half of the hold in each direction, as equal floors would have it */
	run_through(&half, 3000000, 1500000, 1500000);
	out.n_row = 0;
	selftest_latencies(&out, &base, &half, &relay, &app, 3e6);
	assert_false(out.row[0].inside);
	assert_false(out.row[1].inside);
	assert_true(out.row[2].inside); /* the sum does not depend on the split */
	assert_false(out.row[3].inside); /* this RTT lacks half, too */
	/* 200 us too long: within what an application would see, not within the path's own */
	run_through(&other, 3000000, -200000, 0);
	out.n_row = 0;
	selftest_latencies(&out, &base, &other, &relay, &app, 3e6);
	assert_false(out.row[0].inside);
	assert_true(out.row[1].inside);
	/* unless the client's own clock saw it, too: the machine is slower than it was before */
	out.n_row = 0;
	selftest_latencies(&out, &base, &other, &relay, &slower, 3e6);
	assert_int_equal(out.n_row, 4);
	assert_int_equal(vns_selftest_outside(&out), 0);
	out.n_row = 0; /* that excuses no more than it saw */
	selftest_latencies(&out, &base, &half, &relay, &slower, 3e6);
	assert_false(out.row[0].inside);
	assert_false(out.row[1].inside);
	/* a machine so busy that the range would hold anything */
	vns_vo_target_fini(&half);
	run_through(&half, 0, 0, 0);
	for (int i = 0; i < 1000; i++)
		vns_dist_add(&half.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first, 4000000);
	out.n_row = 0;
	selftest_latencies(&out, &half, &right, &relay, &app, 3e6);
	assert_int_equal(out.n_row, 3);
	assert_int_equal(out.too_wide, 1);
	/* so few packets that none of them need have been fast */
	vns_dist_fini(&right.rtt.guest_side);
	right.rtt.guest_side = (struct vns_dist){ .n = 0 };
	vns_dist_add(&right.rtt.guest_side, 9000000);
	out.n_row = out.too_few = 0;
	selftest_latencies(&out, &base, &right, &relay, &app, 3e6);
	assert_int_equal(out.n_row, 3);
	assert_int_equal(out.too_few, 2);
	vns_vo_target_fini(&base);
	vns_vo_target_fini(&right);
	vns_vo_target_fini(&half);
	vns_vo_target_fini(&other);
}

static void test_rates(void **state)
{
	struct vns_selftest_result out = { .n_row = 0 };
	struct selftest_run before = { .n = 1 }, after = { .n = 1 };

	(void)state;
	before.r[0] = exchanged(VNS_CLOCK_SHM, 60, 0, 400, 400, 0);
	after.r[0] = exchanged(VNS_CLOCK_SHM, 60, 0, 400, 400, 0);
	selftest_rates(&out, &before, &after, 0);
	selftest_rates(&out, &before, &after, 100);
	assert_int_equal(out.n_row, 2);
	assert_true(out.row[0].inside);
	assert_false(out.row[1].inside);
	selftest_run_fini(&before);
	selftest_run_fini(&after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_truth_is_an_interval),
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_way_after_the_truth),
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_steps_hidden),
		cmocka_unit_test(test_latencies),
		cmocka_unit_test(test_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
