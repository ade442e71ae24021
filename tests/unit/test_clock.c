// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Edges of the clock engine: few, contradictory, unordered and enormous stamps.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vnetscope/clock.h>

#define T0  INT64_C(1763764800000000000)
#define SEC INT64_C(1000000000)

static struct vns_clock *new_clock(enum vns_clock_mode mode)
{
	struct vns_clock *c;

	assert_int_equal(vns_clock_new(&c, mode), 0);
	return c;
}

/* Host sends at @at; each way takes @there, @back; the guest's clock is @offset ahead. */
static int add(struct vns_clock *c, int64_t at, int64_t there, int64_t back, int64_t offset)
{
	struct vns_exchange x = { at, at + there + offset, at + there + 1000 + offset,
				  at + there + 1000 + back };

	return vns_clock_add(c, &x);
}

static struct vns_clock_at at(struct vns_clock *c, int64_t when)
{
	struct vns_clock_at a;

	assert_int_equal(vns_clock_solve(c), 0);
	assert_int_equal(vns_clock_eval(c, when, &a), 0);
	assert_true(a.lower_ns <= a.ci_lower_ns && a.ci_lower_ns <= a.offset_ns);
	assert_true(a.offset_ns <= a.ci_upper_ns && a.ci_upper_ns <= a.upper_ns);
	return a;
}

/* All members; not the padding at the end. */
static bool same(const struct vns_clock_at *a, const struct vns_clock_at *b)
{
	return memcmp(a, b, offsetof(struct vns_clock_at, extrapolated)) == 0 &&
	       a->extrapolated == b->extrapolated;
}

/* Between two pieces the rates of either are feasible, within one its own. */
static void test_feasible_rates(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	const struct vns_clock_piece *p;
	struct vns_clock_at a, b, gap;
	size_t n;

	(void)state;
	for (int i = 0; i < 40; i++)
		add(c, T0 + i * SEC, 20000 + i % 3 * 1000, 20000 + i % 2 * 1000,
		    i < 20 ? 50000 * i : 30000000 - 50000 * i);
	assert_int_equal(vns_clock_solve(c), 0);
	p = vns_clock_pieces(c, &n);
	assert_int_equal(n, 2);
	a = at(c, T0 + 5 * SEC);
	b = at(c, T0 + 35 * SEC);
	gap = at(c, p[0].to_ns + (p[1].from_ns - p[0].to_ns) / 2);
	assert_true(a.drift_lower_ppm == p[0].drift_lower_ppm && a.drift_upper_ppm == p[0].drift_upper_ppm);
	assert_true(b.drift_lower_ppm <= -50 && b.drift_upper_ppm >= -50 && b.drift_upper_ppm < 0);
	assert_true(gap.drift_lower_ppm == b.drift_lower_ppm && gap.drift_upper_ppm == a.drift_upper_ppm);
	vns_clock_free(c);
}

static size_t n_pieces(const struct vns_clock *c)
{
	size_t n;

	vns_clock_pieces(c, &n);
	return n;
}

static void test_none(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock_at a;
	uint64_t used, rejected;
	size_t n;

	(void)state;
	assert_int_equal(vns_clock_eval(c, T0, &a), -ENODATA);
	assert_int_equal(vns_clock_solve(c), 0);
	assert_int_equal(vns_clock_eval(c, T0, &a), -ENODATA);
	assert_int_equal(vns_clock_eval_guest(c, T0, &a), -ENODATA);
	vns_clock_counts(c, &used, &rejected);
	assert_int_equal(used + rejected, 0);
	vns_clock_samples(c, &n);
	assert_int_equal(n, 0);
	assert_int_equal(n_pieces(c), 0);
	vns_clock_free(c);
	vns_clock_free(NULL);
}

static void test_one(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock_at a;

	(void)state;
	assert_int_equal(add(c, T0, 30000, 50000, 777), 0);
	a = at(c, T0);
	assert_true(fabs(a.upper_ns - (777 + 30000 + 1)) < 0.01);
	/* lower point at T4, 81 us later: 500 ppm of that are 40 ns */
	assert_true(fabs(a.lower_ns - (777 - 50000 - 1 - 81000 * 500e-6)) < 0.01);
	assert_true(fabs(a.offset_ns - (777 - 10000)) < 50);
	assert_true(a.ci_lower_ns == a.lower_ns && a.ci_upper_ns == a.upper_ns);
	assert_false(a.extrapolated);
	a = at(c, T0 + SEC);
	assert_true(a.extrapolated);
	assert_true(a.upper_ns >= 777 + 30000 + 500e3);
	vns_clock_free(c);
}

static void test_two_and_drift_range(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_SHM);
	const struct vns_clock_piece *p;
	size_t n;

	(void)state;
	add(c, T0, 100, 100, 0);
	add(c, T0 + 10 * SEC, 100, 100, 1000000); /* 100 ppm */
	at(c, T0);
	p = vns_clock_pieces(c, &n);
	assert_int_equal(n, 1);
	assert_true(p->drift_lower_ppm < 100 && p->drift_upper_ppm > 100);
	assert_true(p->drift_upper_ppm - p->drift_lower_ppm < 0.05);
	assert_true(fabs(p->drift_ppm - 100) < 0.02);
	assert_true(fabs(at(c, T0 + 5 * SEC).offset_ns - 500000) < 105);
	vns_clock_free(c);
}

static void test_rejected(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_exchange t4_first = { T0 + 10, T0, T0, T0 };
	struct vns_exchange t3_first = { T0, T0 + 10, T0, T0 + 100 };
	struct vns_exchange longer_inside = { T0, T0, T0 + 5000, T0 + 1000 };
	struct vns_exchange overflow = { INT64_MIN, INT64_MAX, INT64_MAX, 0 };
	uint64_t used, rejected;

	(void)state;
	assert_int_equal(vns_clock_add(c, &t4_first), 1);
	assert_int_equal(vns_clock_add(c, &t3_first), 1);
	assert_int_equal(vns_clock_add(c, &longer_inside), 1);
	assert_int_equal(vns_clock_add(c, &overflow), 1);
	add(c, T0, 10000, 10000, 5);
	at(c, T0);
	vns_clock_counts(c, &used, &rejected);
	assert_int_equal(used, 1);
	assert_int_equal(rejected, 4);
	vns_clock_free(c);
}

/* Hours and years of offset keep every nanosecond that a double can show. */
static void test_huge_offsets(void **state)
{
	static const int64_t offsets[] = { 3600 * SEC, -7 * 3600 * SEC, 90 * 86400 * SEC,
					   -T0 + 12345 };

	(void)state;
	for (size_t k = 0; k < 4; k++) {
		struct vns_clock *c = new_clock(VNS_CLOCK_SHM);
		double ulp = nextafter(fabs((double)offsets[k]), INFINITY) -
			     fabs((double)offsets[k]);
		struct vns_clock_at a;

		for (int i = 0; i < 20; i++)
			add(c, T0 + i * SEC, 300, 300, offsets[k]);
		a = at(c, T0 + 7 * SEC);
		assert_true(fabs(a.offset_ns - (double)offsets[k]) <= 1 + ulp);
		assert_true(a.upper_ns - a.lower_ns < 605 + 2 * ulp);
		assert_int_equal(vns_clock_eval_guest(c, T0 + 7 * SEC + offsets[k], &a), 0);
		assert_true(llabs(a.at_ns - (T0 + 7 * SEC)) <= 1);
		vns_clock_free(c);
	}
}

static void test_step_and_kink(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_SHM);
	const struct vns_clock_piece *p;
	struct vns_clock_at a;
	size_t n;

	(void)state;
	for (int i = 0; i < 50; i++)
		add(c, T0 + i * SEC, 400, 400, i < 20 ? 0 : -5 * SEC);
	at(c, T0);
	p = vns_clock_pieces(c, &n);
	assert_int_equal(n, 2);
	assert_true(p[0].step_after && !p[1].step_after);
	/* the step lies after exchange 19 was sent and before exchange 20 came back */
	assert_true(p[0].to_ns >= T0 + 19 * SEC && p[1].from_ns <= T0 + 20 * SEC + 2000);
	a = at(c, T0 + 19 * SEC + SEC / 2);
	assert_true(a.lower_ns < -5e9 && a.upper_ns > 0);
	assert_true(at(c, T0 + 18 * SEC).lower_ns > -2000);
	assert_true(at(c, T0 + 21 * SEC).upper_ns < -5e9 + 2000);
	/* 5 s back: guest times T0+15.5 .. T0+20 occur twice */
	assert_int_equal(vns_clock_eval_guest(c, T0 + 17 * SEC, &a), 0);
	assert_true(a.lower_ns < -5e9 + 500 && a.upper_ns > -500);
	vns_clock_free(c);

	c = new_clock(VNS_CLOCK_SHM);
	for (int i = 0; i < 60; i++)
		add(c, T0 + i * SEC, 400, 400, i < 30 ? 0 : (i - 30) * INT64_C(100000));
	at(c, T0);
	p = vns_clock_pieces(c, &n);
	assert_int_equal(n, 2);
	assert_false(p[0].step_after);
	assert_true(fabs(p[0].drift_ppm) < 0.1 && fabs(p[1].drift_ppm - 100) < 0.1);
	assert_true(fabs(at(c, T0 + 30 * SEC).offset_ns) < 1000);
	vns_clock_free(c);
}

/* A reply sent before a step that arrives long after it, when later exchanges are done. */
static void test_reply_held_up_over_a_step(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock_at a;

	(void)state;
	for (int i = 0; i < 50; i++)
		add(c, T0 + i * SEC, 400, i == 20 ? 35 * SEC / 10 : 400, i <= 20 ? 0 : -5 * SEC);
	a = at(c, T0 + 47 * SEC / 2);
	assert_int_equal(n_pieces(c), 2);
	assert_true(a.lower_ns <= -5e9 && a.upper_ns >= -5e9 && a.upper_ns < -4.9e9);
	a = at(c, T0 + 19 * SEC);
	assert_true(a.lower_ns <= 0 && a.lower_ns > -2000 && a.upper_ns >= 0);
	vns_clock_free(c);
}

/* Same times, duplicates, reverse order: no crash, same answer as in order. */
static void test_order_and_duplicates(void **state)
{
	struct vns_clock *fwd = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock *rev = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock *once = new_clock(VNS_CLOCK_EXCHANGE);
	struct vns_clock_at a, b;

	(void)state;
	for (int i = 0; i < 100; i++) {
		int j = 99 - i;

		add(fwd, T0 + i * SEC / 10, 20000 + i * 37 % 11 * 1000, 20000 + i * 53 % 7 * 900, 42);
		add(rev, T0 + j * SEC / 10, 20000 + j * 37 % 11 * 1000, 20000 + j * 53 % 7 * 900, 42);
		add(once, T0, 20000, 20000, 42);
	}
	for (int k = -5; k < 15; k++) {
		a = at(fwd, T0 + k * SEC);
		b = at(rev, T0 + k * SEC);
		assert_true(fabs(a.lower_ns - b.lower_ns) < 0.01);
		assert_true(fabs(a.upper_ns - b.upper_ns) < 0.01);
		assert_true(fabs(a.offset_ns - b.offset_ns) < 0.01);
	}
	assert_true(fabs(at(once, T0).offset_ns - 42) < 30);
	vns_clock_free(fwd);
	vns_clock_free(rev);
	vns_clock_free(once);
}

/* Every exchange contradicts the one before: as many pieces, and still an answer. */
static void test_all_contradictory(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_SHM);

	(void)state;
	for (int i = 0; i < 100; i++)
		add(c, T0 + i * SEC, 300, 300, i % 2 ? SEC : -SEC);
	assert_true(fabs(fabs(at(c, T0 + 50 * SEC + 500).offset_ns) - 1e9) < 1e6);
	assert_int_equal(n_pieces(c), 100);
	vns_clock_free(c);
}

/* Live use: solve after each exchange gives in the end what one solve gives. */
static void test_incremental(void **state)
{
	struct vns_clock *live = new_clock(VNS_CLOCK_CHANNEL);
	struct vns_clock *once = new_clock(VNS_CLOCK_CHANNEL);

	(void)state;
	for (int i = 0; i < 300; i++) {
		int64_t off = i < 150 ? 5 * i : SEC;

		add(live, T0 + i * SEC / 50, 50000 + i * 7919 % 9000, 50000, off);
		add(once, T0 + i * SEC / 50, 50000 + i * 7919 % 9000, 50000, off);
		at(live, T0 + i * SEC / 50);
	}
	for (int k = 0; k < 6; k++) {
		struct vns_clock_at a = at(live, T0 + k * SEC), b = at(once, T0 + k * SEC);

		assert_true(same(&a, &b));
	}
	vns_clock_free(live);
	vns_clock_free(once);
}

static void test_fixed_and_bounds(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_GIVEN);
	struct vns_clock_at a;

	(void)state;
	assert_int_equal(vns_clock_set_fixed(c, T0, -1e9, 10, 50), 0);
	a = at(c, T0 + 100 * SEC);
	assert_true(fabs(a.offset_ns - (-1e9 + 1e6)) < 0.01);
	assert_true(fabs(a.upper_ns - a.lower_ns - 100) < 0.01);
	assert_false(a.extrapolated);
	vns_clock_free(c);

	c = new_clock(VNS_CLOCK_TRAFFIC);
	for (int i = 0; i < 10; i++)
		assert_int_equal(vns_clock_add_bound(c, T0 + i * SEC, 1000 + i % 3 * 100, true), 0);
	a = at(c, T0 + 5 * SEC);
	assert_true(isinf(a.lower_ns) && a.upper_ns < 1500);
	assert_true(isfinite(a.offset_ns));
	for (int i = 0; i < 10; i++)
		vns_clock_add_bound(c, T0 + i * SEC + SEC / 2, -500 - i % 4 * 100, false);
	a = at(c, T0 + 5 * SEC);
	assert_true(a.lower_ns > -600 && a.upper_ns < 1500);
	vns_clock_free(c);
}

/* Packets beside exchanges: tighter bounds, no new pieces, and nothing from a contradiction. */
static void test_bounds_beside_exchanges(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_CHANNEL);
	struct vns_clock_at before, after;
	uint64_t used, refused;

	(void)state;
	for (int i = 0; i < 50; i++) /* the reply's way is 400 us longer: the estimate 200 us off */
		add(c, T0 + i * SEC / 10, 100000, 500000, 0);
	before = at(c, T0 + 2 * SEC);
	assert_true(before.offset_ns < -190000 && before.ci_upper_ns < -190000);
	for (int i = 0; i < 400; i++) {
		vns_clock_add_bound(c, T0 + i * SEC / 100, 3000 + i % 7 * 500, true);
		vns_clock_add_bound(c, T0 + i * SEC / 100 + 1, -2000 - i % 5 * 500, false);
	}
	after = at(c, T0 + 2 * SEC);
	assert_true(after.lower_ns > -2100 && after.lower_ns <= -1999);
	assert_true(after.upper_ns < 3100 && after.upper_ns >= 2999);
	assert_true(after.offset_ns >= after.lower_ns && after.offset_ns <= after.upper_ns);
	assert_true(after.ci_lower_ns == after.lower_ns && after.ci_upper_ns == after.upper_ns);
	vns_clock_bound_counts(c, &used, &refused);
	assert_int_equal(used, 800);
	assert_int_equal(refused, 0);
	assert_int_equal(n_pieces(c), 1);
	/* one packet taken for another */
	vns_clock_add_bound(c, T0 + SEC, -600000, true);
	after = at(c, T0 + 2 * SEC);
	vns_clock_bound_counts(c, &used, &refused);
	assert_int_equal(used, 0);
	assert_int_equal(refused, 801);
	assert_true(same(&after, &before));
	assert_int_equal(n_pieces(c), 1);
	vns_clock_free(c);
}

/* The guest reads host time between two reads of its own. */
static void test_ptp(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_PTP_KVM);

	(void)state;
	for (int i = 0; i < 20; i++) {
		int64_t h = T0 + i * SEC;
		struct vns_exchange x = { h, h + 700 - 40, h + 700 + 60, h };

		assert_int_equal(vns_clock_add(c, &x), 0);
	}
	assert_true(at(c, T0 + SEC).lower_ns >= 700 - 41.01);
	assert_true(at(c, T0 + SEC).upper_ns <= 700 + 61.01);
	vns_clock_free(c);
	/* two readings paired to an exchange: each direction has its own */
	c = new_clock(VNS_CLOCK_PTP_KVM);
	for (int i = 0; i < 20; i++) {
		int64_t h = T0 + i * SEC;
		struct vns_exchange x = { h, h + 700 + 60, h + 1000 + 700 - 40, h + 1000 };

		assert_int_equal(vns_clock_add(c, &x), 0);
	}
	assert_true(at(c, T0 + SEC).lower_ns >= 700 - 42);
	assert_true(at(c, T0 + SEC).upper_ns <= 700 + 62);
	vns_clock_free(c);
}

static void test_save_and_restore(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_CHANNEL), *d;
	struct vns_clock_saved s[2];
	struct vns_clock_at a, b;

	(void)state;
	for (int i = 0; i < 400; i++)
		add(c, T0 + i * SEC / 20, 50000 + i * 7919 % 90000, 50000 + i * 104729 % 80000,
		    3600 * SEC + (i < 200 ? i * 2000 : -SEC));
	at(c, T0);
	assert_int_equal(n_pieces(c), 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(vns_clock_export(c, i, &s[i]), 0);
	assert_int_equal(vns_clock_export(c, 2, &s[0]), -EINVAL);
	assert_int_equal(vns_clock_restore(&d, VNS_CLOCK_CHANNEL, s, 2), 0);
	for (int k = -20; k < 420; k++) {
		a = at(c, T0 + k * SEC / 20);
		b = at(d, T0 + k * SEC / 20);
		assert_true(b.lower_ns <= a.lower_ns && b.lower_ns > a.lower_ns - 20);
		assert_true(b.upper_ns >= a.upper_ns && b.upper_ns < a.upper_ns + 20);
		assert_true(fabs(a.offset_ns - b.offset_ns) < 3);
		assert_true(fabs(a.ci_lower_ns - b.ci_lower_ns) < 30);
		assert_int_equal(a.extrapolated, b.extrapolated);
	}
	s[1].piece.from_ns = 0;
	assert_int_equal(vns_clock_restore(&d, VNS_CLOCK_CHANNEL, s, 2), -EINVAL);
	assert_int_equal(vns_clock_restore(&d, VNS_CLOCK_CHANNEL, s, 0), -EINVAL);
	for (size_t i = 0; i < 2; i++)
		vns_clock_saved_fini(&s[i]);
	vns_clock_free(c);
	vns_clock_free(d);
}

/* A rate that may wander: wider everywhere, not without measure, and the same after a file. */
static void test_wander(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_CHANNEL), *d;
	struct vns_clock_saved s;
	struct vns_clock_at line[60], a, b;
	double most = -1;

	(void)state;
	for (int i = 0; i < 40; i++)
		add(c, T0 + i * SEC / 20, 50000 + i * 7919 % 9000, 50000 + i * 104729 % 8000, SEC + i * 500);
	for (int k = 0; k < 60; k++)
		line[k] = at(c, T0 + (k - 10) * SEC / 20);
	assert_false(vns_clock_bent(c, &most));
	assert_true(most == 0);
	assert_int_equal(vns_clock_set_wander(c, -1), -EINVAL);
	assert_int_equal(vns_clock_set_wander(c, 501), -EINVAL);
	assert_int_equal(vns_clock_set_wander(c, 20), 0);
	at(c, T0);
	assert_true(fabs(vns_clock_get_wander(c) - 20) < 1e-9);
	vns_clock_bent(c, &most);
	assert_true(most > 0 && most < 20000);
	assert_int_equal(vns_clock_export(c, 0, &s), 0);
	assert_int_equal(vns_clock_restore(&d, VNS_CLOCK_CHANNEL, &s, 1), 0);
	for (int k = 0; k < 60; k++) {
		double beyond = k < 10 ? 10 - k : k > 49 ? k - 49 : 0; /* twentieths of a second */

		a = at(c, T0 + (k - 10) * SEC / 20);
		b = at(d, T0 + (k - 10) * SEC / 20);
		assert_true(a.lower_ns < line[k].lower_ns && a.upper_ns > line[k].upper_ns);
		assert_true(a.upper_ns < line[k].upper_ns + most + beyond * 2 * 20 * 50 + 10);
		assert_true(b.lower_ns <= a.lower_ns && b.lower_ns > a.lower_ns - 20);
		assert_true(b.upper_ns >= a.upper_ns && b.upper_ns < a.upper_ns + 20);
	}
	vns_clock_saved_fini(&s);
	vns_clock_free(c);
	vns_clock_free(d);
}

/* One pair of the guest's stamps off by @by in exchange @wrong of 60 (and @more after it). */
static struct vns_clock *one_wrong(int wrong, int more, int64_t by)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_SHM);

	for (int i = 0; i < 60; i++)
		add(c, T0 + i * SEC / 50, 400 + i * 7919 % 90, 400 + i * 104729 % 80,
		    2000 * i + (i >= wrong && i <= wrong + more ? by : 0));
	assert_int_equal(vns_clock_solve(c), 0);
	return c;
}

/* Up to five in a row are left out and counted; at an end the bound holds both, and so does a file. */
static void test_contradictions(void **state)
{
	static const int64_t by[] = { 3000, -3000, SEC, -SEC };
	struct vns_clock_saved s[2];
	uint64_t wrong, undecided;
	struct vns_clock *c, *d;
	struct vns_clock_at a;
	size_t n;

	(void)state;
	for (int k = 0; k < 16; k++) {
		int in_a_row = 1 + k / 4;

		c = one_wrong(30, in_a_row - 1, by[k % 4]);
		vns_clock_contradictions(c, &wrong, &undecided);
		assert_int_equal(wrong, in_a_row);
		assert_int_equal(undecided, 0);
		assert_int_equal(n_pieces(c), 1);
		assert_true(vns_clock_samples(c, &n)[30].contradicts && !vns_clock_samples(c, &n)[29].contradicts);
		a = at(c, T0 + 30 * SEC / 50);
		assert_true(a.lower_ns <= 60000 && a.lower_ns > 57000 && a.upper_ns >= 60000 && a.upper_ns < 63000);
		assert_int_equal(vns_clock_rate(c), VNS_CLOCK_RATE_STEADY);
		vns_clock_free(c);
	}
	c = one_wrong(30, 29, SEC);
	vns_clock_contradictions(c, &wrong, &undecided);
	assert_true(wrong + undecided == 0 && n_pieces(c) == 2);
	vns_clock_free(c);
	for (int first = 0; first < 2; first++) {
		int64_t end = T0 + (first ? 0 : 59 * SEC / 50);
		double truth = first ? 0 : 118000;

		c = one_wrong(first ? 0 : 58, 1, SEC);
		vns_clock_contradictions(c, &wrong, &undecided);
		assert_true(wrong == 0 && undecided == 2 && n_pieces(c) == 2);
		a = at(c, end);
		assert_true(a.lower_ns <= truth && a.lower_ns > truth - 20000 && a.upper_ns >= truth + 1e9);
		assert_true(fabs(a.offset_ns - truth) < 20000); /* the longer line is the likelier */
		assert_int_equal(vns_clock_rate(c), VNS_CLOCK_RATE_STEADY);
		for (size_t i = 0; i < 2; i++)
			assert_int_equal(vns_clock_export(c, i, &s[i]), 0);
		assert_int_equal(vns_clock_restore(&d, VNS_CLOCK_SHM, s, 2), 0);
		a = at(d, end);
		assert_true(a.lower_ns <= truth && a.upper_ns >= truth + 1e9 && fabs(a.offset_ns - truth) < 20000);
		assert_true(vns_clock_pieces(d, &n)[first ? 0 : 1].undecided);
		for (size_t i = 0; i < 2; i++)
			vns_clock_saved_fini(&s[i]);
		vns_clock_free(d);
		vns_clock_free(c);
	}
}

/* A guest's instant next to an end where nothing decides: no line shows it where it may hold, but the bound is there. */
static void test_undecided_guest_instants(void **state)
{
	(void)state;
	for (int last = 1; last <= 2; last++) {
		struct vns_clock *c = new_clock(VNS_CLOCK_CHANNEL);
		struct vns_clock_at a;

		for (int i = 0; i < 100; i++)
			add(c, T0 + i * SEC / 50, 20000, 20000, 5000000 + i * 2000 + (i >= 100 - last ? 1000000000 : 0));
		assert_int_equal(vns_clock_solve(c), 0);
		for (int64_t t = (100 - last) * SEC / 50; t < 2 * SEC; t += SEC / 1000) {
			int64_t truth = 5000000 + t / 10000;

			assert_int_equal(vns_clock_eval_guest(c, T0 + t + truth, &a), 0);
			assert_true(a.lower_ns <= (double)truth && a.upper_ns >= (double)truth);
		}
		vns_clock_free(c);
	}
}

/*
 * Three in a row, wrong by little more than what a rate of 500 ppm makes up for within 100 ms: another line fits the next
 * eight exchanges as well as the one before, and none after them.
 */
static void test_contradictions_by_little(void **state)
{
	struct vns_clock *c = new_clock(VNS_CLOCK_EXCHANGE);
	uint64_t wrong, undecided;

	(void)state;
	for (int i = 0; i < 60; i++)
		add(c, T0 + i * SEC / 50, 20000, 20000, i >= 30 && i < 33 ? 45000 : 0);
	assert_int_equal(vns_clock_solve(c), 0);
	vns_clock_contradictions(c, &wrong, &undecided);
	assert_int_equal(wrong, 3);
	assert_int_equal(undecided, 0);
	assert_int_equal(n_pieces(c), 1);
	vns_clock_free(c);
}

static void test_names(void **state)
{
	enum vns_clock_mode m;

	(void)state;
	for (int i = 0; i < VNS_CLOCK_MODES; i++) {
		assert_int_equal(vns_clock_mode_parse(vns_clock_mode_name(i), &m), 0);
		assert_int_equal(m, i);
	}
	assert_int_equal(vns_clock_mode_parse("sundial", &m), -EINVAL);
	assert_true(vns_clock_mode_shares_path(VNS_CLOCK_EXCHANGE));
	assert_false(vns_clock_mode_shares_path(VNS_CLOCK_SHM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_feasible_rates), cmocka_unit_test(test_none),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_two_and_drift_range),
		cmocka_unit_test(test_rejected),
		cmocka_unit_test(test_huge_offsets),
		cmocka_unit_test(test_step_and_kink),
		cmocka_unit_test(test_reply_held_up_over_a_step),
		cmocka_unit_test(test_order_and_duplicates),
		cmocka_unit_test(test_all_contradictory),
		cmocka_unit_test(test_incremental),
		cmocka_unit_test(test_fixed_and_bounds),
		cmocka_unit_test(test_bounds_beside_exchanges),
		cmocka_unit_test(test_ptp),
		cmocka_unit_test(test_save_and_restore),
		cmocka_unit_test(test_wander),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_undecided_guest_instants),
		cmocka_unit_test(test_contradictions_by_little),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
