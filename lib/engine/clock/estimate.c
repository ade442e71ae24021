// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The best line of a piece and its 95 % confidence interval: exchanges -> weighted regression of
 * their midpoints, low delays first.
 *
 * Theory: a midpoint is wrong by half the difference of the two directions' queueing, at most
 * half the delay above the floor. Given that sum s, a difference without preference for a
 * direction has variance s^2/12 (uniform), which gives the weights. The floor is only known to
 * about the excess of the next few exchanges, which limits them. The weights see only the sum,
 * so they favour no sign. The intervals are heteroscedasticity-consistent (HC3: MacKinnon,
 * White 1985) with Student's t on the effective number of exchanges, enlarged where neighbouring
 * residuals go together (Newey, West 1987). They cover the truth where both directions' delays
 * have the same distribution; a fixed difference between the directions is invisible here, and
 * only the causality bound holds it.
 * Where the rate may wander by W around a constant r, the offset at x_i is off the line of slope r through the
 * truth at x by W |x_i - x| at most. The line fitted is a sum of l_i(x) y_i, exact for lines, so its error besides
 * noise is at most W sum |l_i(x)| |x_i - x|, which is added (worst-case bias: Sacks, Ylvisaker 1978; Armstrong,
 * Kolesar 2018).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "engine/clock/clock_priv.h"

#define LEAVE_OUT_FACTOR 5.0 /* left out: this many quartile excesses above the floor */
#define KEEP_AT_LEAST    8   /* ... unless fewer would remain */
#define HALF_TICK_NS     0.5 /* delays are not known better than this */
#define BIAS_CELLS       16  /* of the piece, in each of which the bias is bounded: 1/8 too much at most, seen */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Student's t, 97.5 % quantile; interpolated in 1/df between table entries. */
static double student_975(double df)
{
	static const double table[][2] = {
		{ 1, 12.706 },	{ 2, 4.303 },	{ 3, 3.182 },	{ 4, 2.776 },  { 5, 2.571 },
		{ 6, 2.447 },	{ 7, 2.365 },	{ 8, 2.306 },	{ 9, 2.262 },  { 10, 2.228 },
		{ 12, 2.179 },	{ 15, 2.131 },	{ 20, 2.086 },	{ 30, 2.042 }, { 60, 2.000 },
		{ 120, 1.980 }, { 1e9, 1.960 },
	};
	size_t i = 1;

	if (df <= 1)
		return table[0][1];
	while (i + 1 < sizeof(table) / sizeof(table[0]) && table[i][0] < df)
		i++;
	return table[i][1] + (table[i - 1][1] - table[i][1]) * (1 / df - 1 / table[i][0]) /
				     (1 / table[i - 1][0] - 1 / table[i][0]);
}

/* Exchanges that lie in [first, last) with both constraints. Return: their number. */
static size_t collect(const struct vns_clock *c, size_t first, size_t last, struct clock_obs *o)
{
	size_t n = 0;

	for (size_t i = first; i < last; i++) {
		const struct clock_con *k = &c->con[i];
		const struct vns_clock_sample *s;

		if (k->upper || k->sample == SIZE_MAX || k->lo < c->con[first].x)
			continue;
		s = &c->sample[k->sample];
		o[n++] = (struct clock_obs){
			.x = clock_rel(s->at_ns, c->epoch_ns),
			.y = s->offset_ns - (double)c->base_ns,
			.excess = (double)(s->rtt_ns - s->processing_ns),
			.sample = k->sample,
			.con = i,
		};
	}
	return n;
}

/*
 * Delays to excesses above the floor, weights; the far ones are dropped. @scale: how well the floor
 * is known. Return: kept.
 */
static size_t weigh(struct clock_obs *o, size_t n, double *sorted, double *scale)
{
	double floor_ns, limit;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		sorted[i] = o[i].excess;
	qsort(sorted, n, sizeof(*sorted), by_value);
	floor_ns = sorted[0];
	limit = LEAVE_OUT_FACTOR * (sorted[n / 4] - floor_ns);
	limit = fmax(limit, sorted[n < KEEP_AT_LEAST ? n - 1 : KEEP_AT_LEAST - 1] - floor_ns);
	*scale = sorted[n / 30 < 3 ? (n > 3 ? 3 : n - 1) : n / 30] - floor_ns;
	*scale = fmax(*scale, HALF_TICK_NS);
	for (size_t i = 0; i < n; i++) {
		double e = o[i].excess - floor_ns;

		if (e > limit)
			continue;
		o[kept] = o[i];
		o[kept].excess = e;
		o[kept++].w = 12 / (*scale * *scale + e * e);
	}
	return kept;
}

struct sums {
	double w, ww, xx, xy;
};

/* Weighted means into @seg, moments about them. */
static struct sums centre(const struct clock_obs *o, size_t n, struct clock_seg *seg)
{
	struct sums s = { 0 };
	double mx = 0, my = 0;

	for (size_t i = 0; i < n; i++) {
		s.w += o[i].w;
		s.ww += o[i].w * o[i].w;
		mx += o[i].w * (o[i].x - o[0].x);
		my += o[i].w * (o[i].y - o[0].y);
	}
	seg->xc = o[0].x + mx / s.w;
	seg->yc = o[0].y + my / s.w;
	for (size_t i = 0; i < n; i++) {
		s.xx += o[i].w * (o[i].x - seg->xc) * (o[i].x - seg->xc);
		s.xy += o[i].w * (o[i].x - seg->xc) * (o[i].y - seg->yc);
	}
	return s;
}

/* How much residuals that go together enlarge a variance (Bartlett's weights); at least 1. */
double clock_autocorrelation(const struct clock_obs *o, size_t n)
{
	size_t lags = (size_t)ceil(4 * pow((double)n / 100, 2.0 / 9));
	double zero = 0, sum = 0;

	for (size_t i = 0; i < n; i++)
		zero += o[i].w * o[i].r * o[i].w * o[i].r;
	for (size_t l = 1; l <= lags && 4 * l <= n; l++) {
		double c = 0;

		for (size_t i = l; i < n; i++)
			c += o[i].w * o[i].r * o[i - l].w * o[i - l].r;
		sum += 2 * (1 - (double)l / (double)(lags + 1)) * c;
	}
	return zero > 0 ? fmax(1, 1 + sum / zero) : 1;
}

static void interval(struct clock_obs *o, size_t n, const struct sums *s, struct clock_seg *seg)
{
	double v00 = 0, v01 = 0, v11 = 0, df, t, factor;

	for (size_t i = 0; i < n; i++) {
		double x = o[i].x - seg->xc, lever, g;

		o[i].r = o[i].y - seg->yc - seg->slope * x;
		lever = o[i].w * (1 / s->w + (s->xx > 0 ? x * x / s->xx : 0));
		g = o[i].w * o[i].r / fmax(1 - lever, 0.05);
		v00 += g * g / (s->w * s->w);
		if (s->xx > 0) {
			v01 += g * g * x / (s->w * s->xx);
			v11 += g * g * x * x / (s->xx * s->xx);
		}
	}
	factor = clock_autocorrelation(o, n);
	df = s->w * s->w / s->ww - 2;
	t = student_975(df) * sqrt(factor);
	seg->ci_x = v11 > 0 ? seg->xc - v01 / v11 : seg->xc;
	/* A midpoint of whole ns is not known better than half of one. */
	seg->ci_half = fmax(HALF_TICK_NS,
			    t * sqrt(fmax(0, v11 > 0 ? v00 - v01 * v01 / v11 : v00)));
	seg->ci_slope = t * sqrt(v11);
	seg->have_ci = true;
}

/* Most of the bias sum over the piece: in a cell each factor of a product is most at one of the cell's ends. */
static double most_bias(const struct clock_obs *o, size_t n, const struct sums *s, const struct clock_seg *seg)
{
	double most = 0;

	for (int k = 0; k < BIAS_CELLS; k++) {
		double a = seg->from + (seg->to - seg->from) * k / BIAS_CELLS;
		double b = seg->from + (seg->to - seg->from) * (k + 1) / BIAS_CELLS, sum = 0;

		for (size_t i = 0; i < n; i++) {
			double even = o[i].w / s->w, lever = s->xx > 0 ? o[i].w * (o[i].x - seg->xc) / s->xx : 0;

			sum += fmax(fabs(even + lever * (a - seg->xc)), fabs(even + lever * (b - seg->xc))) *
			       fmax(fabs(o[i].x - a), fabs(o[i].x - b));
		}
		most = fmax(most, sum);
	}
	return most;
}

/*
 * The interval of a line through a clock whose rate wanders: as wide throughout the piece as it is at most. Beyond its
 * ends, half a piece from ci_x at least, it grows by g in each ns: hypot(A, k (h + d)) >= A + g d for k^2 >= g^2, A g / h.
 */
static void allow_for_wander(const struct clock_obs *o, size_t n, const struct sums *s, double wander,
			     struct clock_seg *seg)
{
	double half = fmax(1, (seg->to - seg->from) / 2), far = fmax(seg->to - seg->ci_x, seg->ci_x - seg->from);
	double grow = seg->ci_slope + wander;

	for (size_t i = 0; i < n && s->xx > 0; i++)
		grow += wander * o[i].w * (o[i].x - seg->xc) * (o[i].x - seg->xc) / s->xx;
	seg->ci_half = hypot(seg->ci_half, seg->ci_slope * far) + wander * most_bias(o, n, s, seg);
	seg->ci_x = (seg->from + seg->to) / 2;
	seg->ci_slope = fmax(grow, sqrt(seg->ci_half * grow / half));
}

/* No exchanges: the middle of what is feasible, and no interval of its own. */
static void middle_of_bound(struct clock_seg *seg)
{
	double up, low;

	seg->slope = (seg->bmin + seg->bmax) / 2;
	seg->xc = (seg->from + seg->to) / 2;
	up = clock_seg_upper(seg, seg->xc);
	low = clock_seg_lower(seg, seg->xc);
	seg->yc = isinf(up) ? low : isinf(low) ? up : (up + low) / 2;
	seg->have_ci = false;
}

int clock_observe(const struct vns_clock *c, size_t first, size_t last, struct clock_obs **out,
		  size_t *n, double *slack)
{
	struct clock_obs *o = malloc((last - first + 1) * sizeof(*o));
	double *sorted = malloc((last - first + 1) * sizeof(*sorted));

	*out = o;
	*n = 0;
	if (!o || !sorted) {
		free(o);
		free(sorted);
		*out = NULL;
		return -ENOMEM;
	}
	*n = collect(c, first, last, o);
	if (*n > 0)
		*n = weigh(o, *n, sorted, slack);
	free(sorted);
	return 0;
}

int clock_estimate(struct vns_clock *c, size_t first, size_t last, struct clock_seg *seg)
{
	struct clock_obs *o;
	struct sums s;
	double slack;
	size_t n;
	int ret = clock_observe(c, first, last, &o, &n, &slack);

	if (ret)
		return ret;
	if (n == 0) {
		middle_of_bound(seg);
		free(o);
		return 0;
	}
	s = centre(o, n, seg);
	seg->slope = s.xx > 0 ? s.xy / s.xx : 0;
	seg->slope = fmax(seg->bmin - c->wander, fmin(seg->bmax + c->wander, seg->slope));
	seg->have_ci = false;
	if (n >= 3)
		interval(o, n, &s, seg);
	if (seg->have_ci && c->wander > 0)
		allow_for_wander(o, n, &s, c->wander, seg);
	for (size_t i = 0; i < n; i++)
		c->sample[o[i].sample].used = true;
	free(o);
	return 0;
}
