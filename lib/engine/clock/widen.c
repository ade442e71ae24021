// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Changes of the clock's rate that no division shows: pieces -> bounds widened where such may hide.
 *
 * Theory. Under a clock that is linear throughout a piece, the line through the truth, moved up by the
 * least delay of the one direction, is feasible, and moved down by that of the other too: the feasible
 * region is never narrower than both least delays together, and with some dozens of exchanges the
 * fastest one's total delay is not far above that. A clock that bends within the piece squeezes the
 * region, in the end to one line that is wrong nearly everywhere. So a region far narrower
 * than the fastest exchange, or a change of rate without a step anywhere (a clock that NTP slews bends
 * again and again), is a sign of it. What stays certain then is each exchange's own bound: truth and any
 * feasible line both lie in it, so they differ by no more than its total delay. The bound is moved
 * outward by that of an exchange that is faster than most.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "engine/clock/clock_priv.h"

#define LEAST_EXCHANGES 50   /* for the fastest one to be near the floor */
#define SQUEEZED        0.7  /* of the fastest exchange's delay; 3 of 100 clocks that do not bend are below */
#define FASTER_THAN     0.25 /* share of the piece's exchanges */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Total delays of the exchanges in the piece, sorted. Return: their number. */
static size_t delays_of(const struct vns_clock *c, const struct clock_seg *s, double *d)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_sample; i++) {
		double x = clock_rel(c->sample[i].at_ns, c->epoch_ns);

		if (x >= s->from && x <= s->to)
			d[n++] = (double)(c->sample[i].rtt_ns - c->sample[i].processing_ns);
	}
	qsort(d, n, sizeof(*d), by_value);
	return n;
}

/* Least distance of the bounds: at a vertex, as one is convex and the other concave. */
static double narrowest(const struct clock_seg *s)
{
	double least = INFINITY;

	for (size_t i = 0; i < s->n_up; i++)
		least = fmin(least, s->up[i].y - clock_seg_lower(s, s->up[i].x));
	for (size_t i = 0; i < s->n_low; i++)
		least = fmin(least, clock_seg_upper(s, s->low[i].x) - s->low[i].y);
	return least;
}

static bool bends(const struct vns_clock *c)
{
	for (size_t i = 0; i + 1 < c->n_seg; i++)
		if (!c->seg[i].step_after)
			return true;
	return false;
}

int clock_widen(struct vns_clock *c)
{
	double *d = malloc((c->n_sample + 1) * sizeof(*d));
	bool all = bends(c);

	if (!d)
		return -ENOMEM;
	/* one-sided bounds are tighter than any exchange: exchanges tell nothing of theirs */
	for (size_t i = 0; c->side_used == 0 && i < c->n_seg; i++) {
		struct clock_seg *s = &c->seg[i];
		size_t n = delays_of(c, s, d);
		double more;

		if (n == 0 || (!all && (n < LEAST_EXCHANGES || narrowest(s) >= SQUEEZED * d[0])))
			continue;
		more = d[(size_t)(FASTER_THAN * (double)(n - 1))];
		for (size_t k = 0; k < s->n_up; k++)
			s->up[k].y += more;
		for (size_t k = 0; k < s->n_low; k++)
			s->low[k].y -= more;
	}
	free(d);
	return 0;
}
