// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Distribution of one figure: samples -> exact moments and a histogram for percentiles.
 *
 * Mean and variance by Welford's update (Technometrics 4(3), 1962), merged by the pairwise formula
 * of Chan, Golub and LeVeque (1979): no sum of squares that cancels.
 */
#include <math.h>
#include <stdlib.h>

#include "stat/hist.h"

void vns_dist_init(struct vns_dist *d)
{
	*d = (struct vns_dist){ 0 };
}

void vns_dist_fini(struct vns_dist *d)
{
	vns_hist_free(d->hist);
	*d = (struct vns_dist){ 0 };
}

void vns_dist_add(struct vns_dist *d, int64_t value)
{
	double delta = (double)value - d->mean;

	if (d->n == 0 || value < d->min)
		d->min = value;
	if (d->n == 0 || value > d->max)
		d->max = value;
	d->n++;
	d->mean += delta / (double)d->n;
	d->m2 += delta * ((double)value - d->mean);
	if (vns_hist_add(&d->hist, value, 1))
		d->hist_lost++;
}

/* Moments and extremes only; @from has samples. */
static void merge_moments(struct vns_dist *into, const struct vns_dist *from)
{
	double a = (double)into->n, b = (double)from->n;
	double delta = from->mean - into->mean;

	if (into->n == 0 || from->min < into->min)
		into->min = from->min;
	if (into->n == 0 || from->max > into->max)
		into->max = from->max;
	into->n += from->n;
	into->mean += delta * (b / (a + b));
	into->m2 += from->m2 + delta * delta * (a * b / (a + b));
}

/*
 * Two passes over the values and one merge, so that one division serves them all. Differences to
 * the first value keep digits that large values would lose.
 */
void vns_dist_add_many(struct vns_dist *d, const int64_t *value, size_t n)
{
	struct vns_dist batch = { .n = n };
	double sum = 0;

	if (n == 0)
		return;
	batch.min = batch.max = value[0];
	for (size_t i = 0; i < n; i++) {
		batch.min = value[i] < batch.min ? value[i] : batch.min;
		batch.max = value[i] > batch.max ? value[i] : batch.max;
		sum += (double)value[i] - (double)value[0];
	}
	batch.mean = (double)value[0] + sum / (double)n;
	for (size_t i = 0; i < n; i++)
		batch.m2 += ((double)value[i] - batch.mean) * ((double)value[i] - batch.mean);
	merge_moments(d, &batch);
	d->hist_lost += vns_hist_add_many(&d->hist, value, n);
}

void vns_dist_merge(struct vns_dist *into, const struct vns_dist *from)
{
	if (from->n == 0)
		return;
	if (from->n == 1 && !from->hist && from->hist_lost == 0) { /* its extremes are its value */
		vns_dist_add(into, from->min);
		return;
	}
	merge_moments(into, from);
	into->hist_lost += from->hist_lost + vns_hist_merge(&into->hist, from->hist);
}

double vns_dist_stddev(const struct vns_dist *d)
{
	return d->n < 2 ? 0 : sqrt(d->m2 / (double)(d->n - 1));
}

int64_t vns_dist_quantile(const struct vns_dist *d, double q)
{
	uint64_t n = d->n - d->hist_lost;
	double want;
	uint64_t rank;
	int64_t v;

	if (d->n == 0)
		return 0;
	/* 0.07 * 100 is 7.000000000000001 in binary: that is rank 7, not 8 */
	want = ceil(q * (double)n * (1 - 1e-12));
	rank = want < 1 ? 1 : want >= (double)n ? n : (uint64_t)want;
	if (rank <= 1 && d->hist_lost == 0)
		return d->min;
	if (rank == n && d->hist_lost == 0)
		return d->max;
	v = vns_hist_at_rank(d->hist, rank);
	return v < d->min ? d->min : v > d->max ? d->max : v;
}

void vns_dist_buckets(const struct vns_dist *d,
		      void (*fn)(void *ctx, int64_t lo, int64_t hi, uint64_t count), void *ctx)
{
	vns_hist_each(d->hist, fn, ctx);
}
