// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * lib/stat against a sort of all samples and long double arithmetic.
 */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vnetscope/stat.h>

static uint64_t seed = 20240611;

static uint64_t next_random(void) /* xorshift64*, Marsaglia 2003 */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * UINT64_C(2685821657736338717);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t rank_value(const int64_t *sorted, size_t n, double q)
{
	long double want = ceill((long double)q * (long double)n - 1e-6L);
	size_t rank = want < 1 ? 1 : (size_t)want;

	return sorted[(rank > n ? n : rank) - 1];
}

static void check_quantiles(const struct vns_dist *d, const int64_t *sorted, size_t n)
{
	static const double qs[] = { 0, 0.001, 0.05, 0.07, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1 };

	for (size_t i = 0; i < sizeof(qs) / sizeof(qs[0]); i++) {
		long double want = (long double)rank_value(sorted, n, qs[i]);
		long double got = (long double)vns_dist_quantile(d, qs[i]);

		if (fabsl(got - want) > VNS_HIST_MAX_REL_ERROR * fabsl(want))
			fail_msg("q %g of %zu: %Lg, want %Lg", qs[i], n, got, want);
	}
	assert_true(vns_dist_quantile(d, 0) == sorted[0]);
	assert_true(vns_dist_quantile(d, 1) == sorted[n - 1]);
}

static void check_moments(const struct vns_dist *d, const int64_t *v, size_t n)
{
	long double mean = 0, m2 = 0, sd;

	for (size_t i = 0; i < n; i++)
		mean += (long double)v[i] / (long double)n;
	for (size_t i = 0; i < n; i++)
		m2 += ((long double)v[i] - mean) * ((long double)v[i] - mean);
	sd = n < 2 ? 0 : sqrtl(m2 / (long double)(n - 1));
	assert_true(fabsl(d->mean - mean) <= 1e-9L * (fabsl(mean) + sd) + 1e-9L);
	assert_true(fabsl(vns_dist_stddev(d) - sd) <= 1e-7L * sd + 1e-12L * fabsl(mean) + 1e-9L);
}

struct walk {
	uint64_t count;
	int64_t last_hi;
	bool first;
	const int64_t *sorted;
};

static void on_bucket(void *ctx, int64_t lo, int64_t hi, uint64_t count)
{
	struct walk *w = ctx;

	assert_true(lo <= hi && count > 0);
	assert_true(w->first || lo > w->last_hi);
	assert_true(w->sorted[w->count] >= lo && w->sorted[w->count] <= hi);
	assert_true(w->sorted[w->count + count - 1] <= hi);
	w->first = false;
	w->last_hi = hi;
	w->count += count;
}

/* Everything about @v, added one by one, as two halves merged, and many at a time. */
static void check_all(const int64_t *v, size_t n)
{
	int64_t *sorted = malloc(n * sizeof(*v));
	struct vns_dist one, a, b, many = { 0 };
	struct walk w = { .first = true, .sorted = sorted };

	assert_non_null(sorted);
	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*v), compare);
	vns_dist_init(&one);
	vns_dist_init(&a);
	vns_dist_init(&b);
	for (size_t i = 0; i < n; i++) {
		vns_dist_add(&one, v[i]);
		vns_dist_add(i % 3 ? &a : &b, v[i]);
	}
	vns_dist_merge(&a, &b);
	for (size_t i = 0, k; i < n; i += k) {
		k = next_random() % 130;
		if (k > n - i)
			k = n - i;
		vns_dist_add_many(&many, v + i, k);
	}
	assert_true(many.n == n && many.hist_lost == 0 && many.min == one.min &&
		    many.max == one.max);
	check_quantiles(&many, sorted, n);
	check_moments(&many, v, n);
	assert_true(one.n == n && a.n == n && one.hist_lost == 0);
	assert_true(one.min == sorted[0] && one.max == sorted[n - 1]);
	assert_true(a.min == one.min && a.max == one.max);
	check_quantiles(&one, sorted, n);
	check_quantiles(&a, sorted, n);
	check_moments(&one, v, n);
	check_moments(&a, v, n);
	vns_dist_buckets(&one, on_bucket, &w);
	assert_true(w.count == n);
	vns_dist_fini(&one);
	vns_dist_fini(&a);
	vns_dist_fini(&b);
	vns_dist_fini(&many);
	free(sorted);
}

static void test_empty(void **state)
{
	struct vns_dist d = { 0 }, e = { 0 };

	(void)state;
	assert_true(vns_dist_quantile(&d, 0.5) == 0);
	assert_true(vns_dist_stddev(&d) == 0);
	vns_dist_merge(&d, &e);
	assert_true(d.n == 0 && d.hist == NULL);
	vns_dist_add(&e, -5);
	vns_dist_merge(&d, &e);
	assert_true(d.n == 1 && d.min == -5 && d.max == -5 && vns_dist_quantile(&d, 0.5) == -5);
	vns_dist_fini(&d);
	vns_dist_fini(&e);
	assert_true(e.n == 0 && e.hist == NULL);
}

/* Nearest rank by hand: values below 64 are exact, and 0.07 * 100 is rank 7 though not in binary. */
static void test_nearest_rank(void **state)
{
	struct vns_dist d = { 0 };

	(void)state;
	for (int v = 50; v >= -49; v--)
		vns_dist_add(&d, v);
	for (int percent = 1; percent <= 100; percent++)
		assert_int_equal(vns_dist_quantile(&d, percent / 100.0), percent - 50);
	assert_int_equal(vns_dist_quantile(&d, 0.071), 8 - 50);
	vns_dist_fini(&d);
}

static void test_random(void **state)
{
	static int64_t v[50000];
	static const size_t sizes[] = { 1, 2, 3, 10, 50, 255, 256, 257, 1000, 50000 };

	(void)state;
	print_message("seed %llu\n", (unsigned long long)seed);
	for (int kind = 0; kind < 5; kind++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			for (size_t i = 0; i < sizes[s]; i++) {
				uint64_t r = next_random();

				v[i] = kind == 0   ? (int64_t)(r % 1000000)
				       : kind == 1 ? (int64_t)(r >> (r % 63 + 1))
				       : kind == 2 ? (int64_t)(r % 2001) - 1000
				       : kind == 3 ? (int64_t)(next_random() >> (r % 64))
						   : 85000 + (int64_t)(r % 3000);
			}
			check_all(v, sizes[s]);
		}
	}
}

static void test_nasty(void **state)
{
	static int64_t constant[200000];
	int64_t edge[] = { INT64_MIN, INT64_MAX, INT64_MIN + 1, INT64_MAX - 1, 0, -1, 1, 63, 64, 65,
			   -63, -64, -65, 127, 128, 129, -127, -128, -129 };
	int64_t powers[4 * 63];
	size_t n = 0;

	(void)state;
	check_all(edge, sizeof(edge) / sizeof(edge[0]));
	check_all(edge, 1);
	check_all(edge + 1, 1);
	for (int e = 0; e < 63; e++) {
		powers[n++] = INT64_C(1) << e;
		powers[n++] = (INT64_C(1) << e) - 1;
		powers[n++] = -(INT64_C(1) << e);
		powers[n++] = -(INT64_C(1) << e) + 1;
	}
	check_all(powers, n);
	/* over 65,535 in one bucket, then an outlier at the other end of the numbers */
	for (size_t i = 0; i < 200000; i++)
		constant[i] = 1234567;
	check_all(constant, 200000);
	constant[199999] = INT64_MIN;
	check_all(constant, 200000);
	/* a huge mean and a small spread: what a sum of squares would lose */
	for (size_t i = 0; i < 1000; i++)
		constant[i] = INT64_C(1700000000000000000) + (int64_t)(i % 7) * 1000;
	check_all(constant, 1000);
}

/* A count beyond 16 bits merged into an empty histogram and into a sparse one. */
static void test_merge_large(void **state)
{
	struct vns_dist big = { 0 }, empty = { 0 }, sparse = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		vns_dist_add(&big, 5000);
	vns_dist_merge(&empty, &big);
	assert_true(empty.n == 100000 && vns_dist_quantile(&empty, 0.5) == 5000);
	vns_dist_add(&sparse, -7);
	vns_dist_merge(&sparse, &big);
	assert_true(sparse.n == 100001 && vns_dist_quantile(&sparse, 0.000001) == -7);
	assert_true(llabs(vns_dist_quantile(&sparse, 0.5) - 5000) <= 50);
	vns_dist_fini(&big);
	vns_dist_fini(&empty);
	vns_dist_fini(&sparse);
}

/* 10,000 directions with 50 samples each: at most 400 bytes of heap per direction. */
static void test_memory_follows_use(void **state)
{
	enum { N = 10000 };
	struct vns_dist *d = calloc(N, sizeof(*d));
	size_t before = mallinfo2().uordblks, used;

	(void)state;
	assert_non_null(d);
	for (int s = 0; s < 50; s++)
		for (int i = 0; i < N; i++)
			vns_dist_add(&d[i], 100000 + (int64_t)(next_random() % 150000));
	used = (mallinfo2().uordblks - before) / N + sizeof(*d);
	print_message("%zu bytes per direction of 50 samples\n", used);
#ifndef __SANITIZE_ADDRESS__
	assert_true(used > sizeof(*d) && used <= 400);
#endif
	for (int i = 0; i < N; i++)
		vns_dist_fini(&d[i]);
	free(d);
}

static void check_same_blocks(const struct vns_blocks *a, const struct vns_blocks *b)
{
	assert_true(a->shift == b->shift && a->n == b->n);
	for (unsigned int i = 0; i < a->n; i++) {
		const struct vns_dist *x = &a->block[i].dist, *y = &b->block[i].dist;

		assert_true(a->block[i].number == b->block[i].number);
		assert_true(i == 0 || a->block[i - 1].number < a->block[i].number);
		assert_true(x->n == y->n && x->min == y->min && x->max == y->max);
		assert_true(vns_dist_quantile(x, 0.5) == vns_dist_quantile(y, 0.5));
	}
}

enum { N_TIMED = 3000 };

static void make_timed(int64_t *at, int64_t *v)
{
	int64_t now = -INT64_C(5) * VNS_NSEC_PER_SEC;

	for (size_t i = 0; i < N_TIMED; i++) { /* bursts, and now and then idle for a second */
		now += next_random() % 50 ? (int64_t)(next_random() % 100000) : VNS_NSEC_PER_SEC;
		at[i] = now - (int64_t)(next_random() % 200000);
		v[i] = (int64_t)(next_random() % 1000000);
	}
}

/* One by one, many at a time, in another order, in two halves that are merged: the same blocks. */
static void test_blocks_many(void **state)
{
	static struct vns_blocks one, many, back, half[2];
	struct vns_dist total = { 0 };
	static int64_t at[N_TIMED], v[N_TIMED];

	(void)state;
	make_timed(at, v);
	for (size_t i = 0; i < N_TIMED; i++) {
		vns_blocks_add(&one, at[i], v[i]);
		vns_blocks_add(&back, at[N_TIMED - 1 - i], v[N_TIMED - 1 - i]);
		vns_blocks_add(&half[i % 7 < 2], at[i], v[i]);
	}
	for (size_t i = 0, k; i < N_TIMED; i += k) {
		k = next_random() % 64 + 1;
		if (k > N_TIMED - i)
			k = N_TIMED - i;
		vns_blocks_add_many(&many, at + i, v + i, k);
	}
	vns_blocks_merge(&half[0], &half[1]);
	check_same_blocks(&one, &many);
	check_same_blocks(&one, &back);
	check_same_blocks(&one, &half[0]);
	/* the least shift: idle seconds cost no blocks */
	assert_true(one.n > VNS_BLOCKS / 4 && one.n <= VNS_BLOCKS && one.shift < 31);
	vns_blocks_total(&many, &total);
	assert_true(total.n == N_TIMED);
	check_moments(&total, v, N_TIMED);
	vns_dist_fini(&total);
	vns_blocks_fini(&one);
	vns_blocks_fini(&many);
	vns_blocks_fini(&back);
	for (int i = 0; i < 2; i++)
		vns_blocks_fini(&half[i]);
}

static void check_near(const struct vns_interval *a, const struct vns_interval *b)
{
	/* sums of floating point in another order */
	assert_true(llabs(a->lower - b->lower) <= 1 && llabs(a->upper - b->upper) <= 1);
}

/* A series in its log, one in blocks, and one of parts say what blocks of the same samples say. */
static void test_series(void **state)
{
	static int64_t at[N_TIMED], v[N_TIMED];

	(void)state;
	make_timed(at, v);
	for (size_t n = 8; n <= N_TIMED; n += n < 600 ? 37 : 400) {
		struct vns_series *s = NULL, *parts = NULL, *other = NULL;
		static struct vns_blocks b;
		struct vns_intervals want, got[2];
		struct vns_dist all = { 0 };

		for (size_t i = 0; i < n; i++) {
			vns_blocks_add(&b, at[i], v[i]);
			vns_dist_add(&all, v[i]);
			assert_int_equal(vns_series_add(&s, at[i], v[i]), 0);
			assert_int_equal(vns_series_add(i % 3 ? &parts : &other, at[i], v[i]), 0);
		}
		assert_int_equal(vns_series_merge(&parts, other), 0);
		vns_blocks_intervals(&b, &all, &want);
		vns_series_intervals(s, &all, &got[0]);
		vns_series_intervals(parts, &all, &got[1]);
		for (int i = 0; i < 2; i++) {
			check_near(&got[i].mean, &want.mean);
			check_near(&got[i].p50, &want.p50);
			check_near(&got[i].p95, &want.p95);
			check_near(&got[i].p99, &want.p99);
		}
		assert_true(vns_interval_known(&want.mean) == (n >= 16));
		assert_true(n > 15 || !vns_interval_known(&want.p50));
		assert_true(n > 160 || !vns_interval_known(&want.p95));
		vns_series_free(s);
		vns_series_free(parts);
		vns_series_free(other);
		vns_blocks_fini(&b);
		vns_dist_fini(&all);
	}
}

/* Times and values at the ends of their range, a series longer than its log's clock. */
static void test_series_extremes(void **state)
{
	const int64_t ends[] = { 0, INT64_MAX, INT64_MIN, -1, INT64_MAX, INT64_C(1) << 53 };
	struct vns_series *s = NULL, *to = NULL;
	struct vns_intervals i;
	struct vns_dist all = { 0 };

	(void)state;
	vns_series_intervals(NULL, &all, &i);
	assert_false(vns_interval_known(&i.mean));
	for (size_t k = 0; k < 100; k++) {
		int64_t at = ends[k % 6] - (k % 6 == 1 ? (int64_t)k << 40 : 0);

		assert_int_equal(vns_series_add(&s, at, ends[(k + 1) % 6]), 0);
		vns_dist_add(&all, ends[(k + 1) % 6]);
		vns_series_intervals(s, &all, &i);
	}
	assert_int_equal(vns_series_merge(&to, s), 0);
	vns_series_intervals(to, &all, &i);
	vns_series_free(s);
	vns_series_free(to);
	vns_dist_fini(&all);
}

/* All samples equal: every interval is that value. All in one block: nothing can be said. */
static void test_intervals_degenerate(void **state)
{
	static struct vns_blocks b;
	struct vns_intervals i;
	struct vns_dist all = { 0 };

	(void)state;
	for (int64_t k = 0; k < 2000; k++) {
		vns_blocks_add(&b, k * VNS_NSEC_PER_MSEC, 777777);
		vns_dist_add(&all, 777777);
	}
	vns_blocks_intervals(&b, &all, &i);
	assert_true(i.mean.lower == 777777 && i.mean.upper == 777777);
	assert_true(i.p50.lower == 777777 && i.p99.upper == 777777);
	vns_blocks_fini(&b);
	for (int64_t k = 0; k < 2000; k++)
		vns_blocks_add(&b, 1000000 + k % 10, 777777);
	vns_blocks_intervals(&b, &all, &i);
	assert_false(vns_interval_known(&i.mean) || vns_interval_known(&i.p50));
	vns_blocks_fini(&b);
	vns_dist_fini(&all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),       cmocka_unit_test(test_random),
		cmocka_unit_test(test_nearest_rank),
		cmocka_unit_test(test_nasty),       cmocka_unit_test(test_merge_large),
		cmocka_unit_test(test_memory_follows_use), cmocka_unit_test(test_blocks_many),
		cmocka_unit_test(test_series), cmocka_unit_test(test_series_extremes),
		cmocka_unit_test(test_intervals_degenerate),
	};

	return cmocka_run_group_tests_name("stat", tests, NULL, NULL);
}
