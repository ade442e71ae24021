// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Samples in blocks of time -> 95 % intervals of mean and percentiles that survive correlation.
 *
 * Packets a few milliseconds apart share their fate (one busy vCPU delays them all; a burst is one
 * event), so intervals for independent samples claim too much. The blocks are joined to BATCHES
 * batches of about as many samples each, in order of time; batches much longer than the correlation
 * are nearly independent, and how far they differ tells the error of the whole (batch means: Law,
 * Simulation Modeling and Analysis, 9.5.3). Since batches are not of one size, a figure is the ratio
 * sum(y) / sum(n), of residuals r = y - figure * n (Cochran, Sampling Techniques, 6.3):
 *
 *   V = k / (k - 1) * sum(r^2) / N^2
 *
 * What correlation is left between neighbouring batches, phi, widens V by (1 + phi) / (1 - phi), as of
 * an autoregressive series (Tafazzoli, Steiger, Wilson, N-Skart, IEEE Trans. Automatic Control
 * 56(2), 2011).
 *
 *   mean        mean -+ t sqrt(V), t straightened by the batches' skewness; not below the least sample
 *   percentile  y counts the samples above it; V over the variance of as many independent ones is the
 *               design effect, and N over that the effective sample size. The interval
 *               goes from one order statistic to another, at the ranks that the binomial
 *               distribution of that many samples has (Woodruff, JASA 47, 1952; Korn and
 *               Graubard, Survey Methodology 24, 1998), the rank by its Cornish-Fisher expansion.
 *
 * Not given: with fewer than VNS_INTERVAL_SAMPLES samples; where few batches hold most of them
 * (MIN_BATCHES); a percentile with fewer than VNS_INTERVAL_TAIL effective samples on its thin side, by its own
 * design effect and by the median's, whichever is larger. Its own alone would let through just
 * those captures in which the tail by chance seems to be better known than it is.
 *
 * tests/sim/test_intervals.c holds the coverage to 95 +- 2 %.
 */
#include <math.h>

#include "stat/intervals.h"

#define BATCHES     20u /* Schmeiser, Operations Research 30, 1982: 10 to 30 */
#define MIN_BATCHES 6   /* effective number */
#define MAX_PHI     0.8
#define NO_PHI      0.1 /* half the standard error of phi: positive ones alone have no mean of 0 */
#define Z95         1.96
/*
 * The sample skewness of 20 skewed batches is about 0.7 of the true one (it cannot exceed 18 / sqrt(19)), and
 * Student's quantile knows nothing of phi being estimated: both by simulation.
 */
#define LOST_SKEW   1.4
#define LOST_SPREAD 1.03

/* Upper 97.5 % point of Student's t for 5..19 degrees of freedom. */
static const double t975[] = { 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
			       2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093 };

/* Which batch each block belongs to, and what that comes to. */
struct grouping {
	unsigned int k;
	uint8_t batch[VNS_BLOCKS];
	double size[BATCHES], all;
	double t;
};

/* Return: false when the samples stand in too few batches. */
static bool group(const struct vns_batches *b, struct grouping *g)
{
	unsigned int want, last = BATCHES;
	double before = 0, squares = 0, effective;

	*g = (struct grouping){ 0 };
	for (unsigned int i = 0; i < b->n; i++)
		g->all += b->size[i];
	want = g->all < 2 * BATCHES ? (unsigned int)g->all / 2 : BATCHES;
	for (unsigned int i = 0; i < b->n; i++) {
		/* by the middle of its mass */
		unsigned int at = (unsigned int)(want * (before + b->size[i] / 2) / g->all);

		g->k += at != last;
		last = at;
		g->batch[i] = (uint8_t)(g->k - 1);
		g->size[g->k - 1] += b->size[i];
		before += b->size[i];
	}
	for (unsigned int i = 0; i < g->k; i++)
		squares += g->size[i] * g->size[i];
	effective = g->all * g->all / squares;
	if (g->all < VNS_INTERVAL_SAMPLES || effective < MIN_BATCHES)
		return false;
	g->t = t975[(unsigned int)effective - MIN_BATCHES];
	return true;
}

/* The variance of sum(@y) / sum(size), @y of each block, and the batches' skewness (or NULL). */
static double ratio_variance(const struct vns_batches *b, const struct grouping *g,
			     const double y[VNS_BLOCKS], double *skewness)
{
	double r[BATCHES] = { 0 }, sum = 0, squares = 0, cubes = 0, neighbours = 0, phi, k = g->k;

	for (unsigned int i = 0; i < b->n; i++) {
		r[g->batch[i]] += y[i];
		sum += y[i];
	}
	for (unsigned int i = 0; i < g->k; i++) {
		r[i] -= sum / g->all * g->size[i];
		squares += r[i] * r[i];
		cubes += r[i] * r[i] * r[i];
		neighbours += i ? r[i] * r[i - 1] : 0;
	}
	phi = squares > 0 ? fmin(fmax(neighbours / squares - NO_PHI, 0), MAX_PHI) : 0;
	if (skewness)
		*skewness = squares > 0 ? cubes / k / pow(squares / k, 1.5) : 0;
	return k / (k - 1) * squares / (g->all * g->all) * (1 + phi) / (1 - phi);
}

/*
 * The quantile @t of Student's t, straightened by the skewness of what it is made of (Willink, Communications
 * in Statistics 34(4), 2005, eq. 3): @beta = skewness / (6 sqrt(k)).
 */
static double straightened(double t, double beta)
{
	if (fabs(beta) < 1e-6)
		return t;
	return (cbrt(1 + 6 * beta * (t - beta)) - 1) / (2 * beta);
}

static void of_mean(const struct vns_batches *b, const struct grouping *g,
		    const struct vns_dist *all, struct vns_interval *out)
{
	double skewness, error = sqrt(ratio_variance(b, g, b->sum, &skewness));
	double beta = LOST_SKEW * skewness / (6 * sqrt(g->k)), t = LOST_SPREAD * g->t;
	double lower = floor(all->mean - straightened(t, beta) * error);
	double upper = ceil(all->mean - straightened(-t, beta) * error);

	if (!(lower > -9e18 && upper < 9e18)) /* does not fit */
		return;
	*out = (struct vns_interval){ (int64_t)lower, (int64_t)upper };
	if (out->lower < all->min) /* that all samples lie above their mean does not happen */
		out->lower = all->min;
}

/* How many of the samples count as one independent one at the @q quantile. */
static double design_effect(const struct vns_batches *b, const struct grouping *g,
			    const struct vns_dist *all, double q)
{
	double above[VNS_BLOCKS] = { 0 }, p = 0, v;

	b->above(b->from, vns_dist_quantile(all, q), above);
	for (unsigned int i = 0; i < b->n; i++)
		p += above[i] / g->all;
	v = ratio_variance(b, g, above, NULL);
	return v > 0 ? v / (p * (1 - p) / g->all) : 1;
}

/* @deff: that of the quantile, at least so much as decides whether there is an interval */
static void of_quantile(const struct grouping *g, const struct vns_dist *all, double q,
			double deff, double decides, struct vns_interval *out)
{
	double thin = fmin(q, 1 - q), n = g->all / deff * (Z95 / g->t) * (Z95 / g->t);
	double middle = n * q + 0.5 + (1 - 2 * q) * (Z95 * Z95 - 1) / 6;
	double half = Z95 * sqrt(n * q * (1 - q));
	int64_t unused;

	if (g->all / fmax(fmax(deff, decides), 1) * thin < VNS_INTERVAL_TAIL)
		return;
	/* both are read from the histogram: somewhere in that bucket */
	vns_hist_bounds(vns_dist_quantile(all, fmax((middle - half) / (n + 1), 0)), &out->lower,
			&unused);
	vns_hist_bounds(vns_dist_quantile(all, fmin((middle + half) / (n + 1), 1)), &unused,
			&out->upper);
	out->lower = out->lower < all->min ? all->min : out->lower;
	out->upper = out->upper > all->max ? all->max : out->upper;
}

void vns_intervals_estimate(const struct vns_batches *b, const struct vns_dist *all,
			    struct vns_intervals *out)
{
	struct vns_interval *of[] = { &out->p50, &out->p95, &out->p99 };
	static const double quantile[] = { 0.50, 0.95, 0.99 };
	double median = 1;
	struct grouping g;

	*out = (struct vns_intervals){ 0 };
	if (!group(b, &g))
		return;
	of_mean(b, &g, all, &out->mean);
	for (unsigned int i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		double deff = design_effect(b, &g, all, quantile[i]);

		median = i ? median : deff;
		of_quantile(&g, all, quantile[i], deff, median, of[i]);
	}
}

static void blocks_above(const void *from, int64_t x, double above[VNS_BLOCKS])
{
	const struct vns_blocks *b = from;
	int bucket = vns_hist_bucket(x);

	for (unsigned int i = 0; i < b->n; i++) {
		const struct vns_dist *d = &b->block[i].dist;

		if (d->n == 1 && !d->hist)
			above[i] += vns_hist_bucket(d->min) > bucket;
		else
			above[i] += (double)vns_hist_above(d->hist, bucket);
	}
}

void vns_blocks_intervals(const struct vns_blocks *b, const struct vns_dist *all,
			  struct vns_intervals *out)
{
	struct vns_batches batches = { .n = b->n, .above = blocks_above, .from = b };

	for (unsigned int i = 0; i < b->n; i++) {
		const struct vns_dist *d = &b->block[i].dist;

		batches.size[i] = (double)d->n;
		batches.sum[i] = (double)d->n * (d->mean - all->mean);
	}
	vns_intervals_estimate(&batches, all, out);
}
