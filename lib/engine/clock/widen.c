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
 * outward by that of an exchange that is faster than most. Where one-sided bounds help to make the region,
 * an upper point and the lower one next to it stand for an exchange too, once the drift between is taken out;
 * exchanges that are faster than such (a page in memory shared with the guest, beside its packets) say more.
 * Where exchanges contradict the others and were left out (contradict.c), wrong ones that contradict nothing may
 * be left, or a small step may be what they told: the same distance holds the truth then, for the same reason.
 * A regression's 95 % interval is one of a line, and is withheld where there are such signs and no wander is given.
 * A bend that leaves none of these signs is what vns_clock_set_wander() is for (wander.c).
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

/* Distances of opposite points next to each other, into @seg. Return: 0 or -ENOMEM. */
static int pairs_of(const struct clock_con *const *con, size_t n, struct clock_seg *seg)
{
	double *d = malloc((n + 1) * sizeof(*d)), slope = (seg->bmin + seg->bmax) / 2;

	if (!d)
		return -ENOMEM;
	seg->n_pair = 0;
	for (size_t i = 1; i < n; i++) {
		double dy = con[i]->y - con[i - 1]->y - slope * (con[i]->x - con[i - 1]->x);

		if (con[i]->upper != con[i - 1]->upper)
			d[seg->n_pair++] = con[i]->upper ? dy : -dy;
	}
	qsort(d, seg->n_pair, sizeof(*d), by_value);
	if (seg->n_pair) {
		seg->least_pair = d[0];
		seg->fast_pair = d[(size_t)(FASTER_THAN * (double)(seg->n_pair - 1))];
	}
	free(d);
	return 0;
}

int clock_look_closer(const struct vns_clock *c, const struct clock_con *const *con, size_t n,
		      struct clock_seg *seg)
{
	int ret = pairs_of(con, n, seg);

	if (ret == 0 && c->wander > 0)
		ret = clock_wander_of(con, n, c->wander, c->span_hi - c->span_lo, seg);
	return ret;
}

/* Total delays of the exchanges in the piece, sorted. Return: their number. */
static size_t delays_of(const struct vns_clock *c, const struct clock_seg *s, double *d)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_sample; i++) {
		double x = clock_rel(c->sample[i].at_ns, c->epoch_ns);

		if (x >= s->from && x <= s->to && !c->sample[i].contradicts)
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

/* What the piece's bounds must be moved by as it bends; 0: no sign of that. */
static double hidden(const struct vns_clock *c, const struct clock_seg *s, bool all, double *d)
{
	size_t n = delays_of(c, s, d);
	double fast = n ? d[(size_t)(FASTER_THAN * (double)(n - 1))] : INFINITY;

	if (c->side_used > 0 || c->n_sample == 0) {
		if (s->n_pair == 0)
			return 0;
		return all || (s->n_pair >= LEAST_EXCHANGES && narrowest(s) < SQUEEZED * s->least_pair) ?
			       fmin(fast, fmax(0, s->fast_pair)) : 0;
	}
	if (n == 0 || (!all && (n < LEAST_EXCHANGES || narrowest(s) >= SQUEEZED * d[0])))
		return 0;
	return fast;
}

/* Do exchanges in the piece contradict the others? Then wrong ones that contradict nothing may be left. */
static bool has_wrong(const struct vns_clock *c, const struct clock_seg *s)
{
	for (size_t i = 0; c->n_wrong && i < c->n_sample; i++) {
		double x = clock_rel(c->sample[i].at_ns, c->epoch_ns);

		if (c->sample[i].contradicts && x >= s->from && x <= s->to)
			return true;
	}
	return false;
}

/* Do its midpoints show signs of another rate (change.c)? */
static bool is_suspect(const struct vns_clock *c, const struct clock_seg *s)
{
	for (size_t i = 0; i < c->n_suspect; i++)
		if (c->suspect[i].x <= s->to && c->suspect[i].y >= s->from)
			return true;
	return false;
}

int clock_widen(struct vns_clock *c)
{
	double *d = malloc((c->n_sample + 1) * sizeof(*d));
	bool all = clock_has_kink(c);
	int ret = d ? 0 : -ENOMEM;

	for (size_t i = 0; ret == 0 && i < c->n_seg; i++) {
		struct clock_seg *s = &c->seg[i];
		double more = hidden(c, s, all || is_suspect(c, s), d);

		s->bent = more > 0;
		s->have_ci &= !s->bent || c->wander > 0; /* no line, and nobody says how far from one */
		if (has_wrong(c, s))
			more = hidden(c, s, true, d);
		s->more_up = fmax(s->more_up, more);
		s->more_low = fmax(s->more_low, more);
		ret = clock_move_bounds(s, c->wander);
	}
	free(d);
	return ret;
}
