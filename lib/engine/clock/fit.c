// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One line between upper and lower points: constraints in order of time -> the range of feasible
 * slopes and the two hulls that bound the line at every instant.
 *
 * Theory: O'Rourke, "An on-line algorithm for fitting straight lines between data ranges",
 * CACM 24(9), 1981. A line lies below all upper points exactly if it lies below their lower
 * convex hull, and above all lower points if above their upper hull. Right of all points so far
 * the highest feasible line is the steepest one; a new upper point below it makes a new steepest
 * line, through that point and tangent to the lower points' hull. Slopes are limited to
 * CLOCK_MAX_RATE. Each constraint is O(log n), amortised.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

void clock_fit_reset(struct clock_fit *f)
{
	f->up.n = f->low.n = 0;
	f->bmin = -CLOCK_MAX_RATE;
	f->bmax = CLOCK_MAX_RATE;
	f->at_max = (struct clock_point){ 0, INFINITY };
	f->at_min = (struct clock_point){ 0, -INFINITY };
}

void clock_fit_fini(struct clock_fit *f)
{
	free(f->up.v);
	free(f->low.v);
	*f = (struct clock_fit){ 0 };
}

static int hull_copy(struct clock_hull *to, const struct clock_hull *from)
{
	if (to->cap < from->n) {
		struct clock_point *v = realloc(to->v, from->cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		to->v = v;
		to->cap = from->cap;
	}
	if (from->n)
		memcpy(to->v, from->v, from->n * sizeof(*to->v));
	to->n = from->n;
	return 0;
}

int clock_fit_copy(struct clock_fit *to, const struct clock_fit *from)
{
	if (hull_copy(&to->up, &from->up) || hull_copy(&to->low, &from->low))
		return -ENOMEM;
	to->bmin = from->bmin;
	to->bmax = from->bmax;
	to->at_max = from->at_max;
	to->at_min = from->at_min;
	return 0;
}

/* > 0: a, b, c turn left. Relative to a, so that products stay small. */
static double turn(struct clock_point a, struct clock_point b, struct clock_point c)
{
	return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

/* Append to a monotone chain; @sign +1 keeps the lower hull, -1 the upper one. */
static int hull_push(struct clock_hull *h, struct clock_point p, double sign)
{
	if (h->n && h->v[h->n - 1].x == p.x) {
		if (sign * (p.y - h->v[h->n - 1].y) >= 0)
			return 0;
		h->n--;
	}
	while (h->n >= 2 && sign * turn(h->v[h->n - 2], h->v[h->n - 1], p) <= 0)
		h->n--;
	if (h->n == h->cap) {
		size_t cap = h->cap ? 2 * h->cap : 32;
		struct clock_point *v = realloc(h->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		h->v = v;
		h->cap = cap;
	}
	h->v[h->n++] = p;
	return 0;
}

/* Slope of the line from @q to @p; a point at the same instant limits no slope. */
static double slope_to(struct clock_point p, struct clock_point q, double sign)
{
	return p.x > q.x ? sign * (p.y - q.y) / (p.x - q.x) : INFINITY;
}

/*
 * Least of sign * slope over the lines from the chain's points to @p, which is right of them:
 * along the chain it falls to the tangent point and rises after it.
 */
static double tangent_slope(const struct clock_hull *h, struct clock_point p, double sign)
{
	size_t lo = 0, hi;

	if (h->n == 0)
		return sign * INFINITY;
	hi = h->n - 1;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (slope_to(p, h->v[mid + 1], sign) < slope_to(p, h->v[mid], sign))
			lo = mid + 1;
		else
			hi = mid;
	}
	return sign * slope_to(p, h->v[lo], sign);
}

static int add_upper(struct clock_fit *f, struct clock_point p)
{
	double highest = f->at_max.y + f->bmax * (p.x - f->at_max.x);
	double lowest = f->at_min.y + f->bmin * (p.x - f->at_min.x);

	if (p.y < lowest - CLOCK_TOL_NS)
		return 1;
	p.y = fmax(p.y, lowest);
	if (p.y < highest) {
		f->bmax = fmax(f->bmin, fmin(CLOCK_MAX_RATE, tangent_slope(&f->low, p, 1)));
		f->at_max = p;
	}
	return hull_push(&f->up, p, 1);
}

static int add_lower(struct clock_fit *f, struct clock_point p)
{
	double highest = f->at_max.y + f->bmax * (p.x - f->at_max.x);
	double lowest = f->at_min.y + f->bmin * (p.x - f->at_min.x);

	if (p.y > highest + CLOCK_TOL_NS)
		return 1;
	p.y = fmin(p.y, highest);
	if (p.y > lowest) {
		f->bmin = fmin(f->bmax, fmax(-CLOCK_MAX_RATE, tangent_slope(&f->up, p, -1)));
		f->at_min = p;
	}
	return hull_push(&f->low, p, -1);
}

int clock_fit_add(struct clock_fit *f, const struct clock_con *c)
{
	struct clock_point p = { c->x, c->y };

	return c->upper ? add_upper(f, p) : add_lower(f, p);
}

/* Highest and lowest feasible line. */
static double highest_at(const struct clock_fit *f, double x)
{
	return f->at_max.y + f->bmax * (x - f->at_max.x);
}

static double lowest_at(const struct clock_fit *f, double x)
{
	return f->at_min.y + f->bmin * (x - f->at_min.x);
}

bool clock_fit_has_room(const struct clock_fit *f, const struct clock_con *upper, const struct clock_con *lower)
{
	struct clock_point u = { upper->x, upper->y };
	double highest = highest_at(f, lower->x);

	if (u.y < lowest_at(f, u.x) - CLOCK_TOL_NS)
		return false;
	u.y = fmax(u.y, lowest_at(f, u.x));
	if (u.y < highest_at(f, u.x))
		highest = u.y + fmax(f->bmin, fmin(CLOCK_MAX_RATE, tangent_slope(&f->low, u, 1))) * (lower->x - u.x);
	return lower->y <= highest + CLOCK_TOL_NS;
}

/* The vertex of @h that a line through @p of slope @b touches. */
static double touched(const struct clock_hull *h, struct clock_point p, double b)
{
	double least = INFINITY, x = NAN;

	for (size_t i = 0; i < h->n; i++) {
		double d = fabs(h->v[i].y - p.y - b * (h->v[i].x - p.x));

		if (d < least) {
			least = d;
			x = h->v[i].x;
		}
	}
	return x;
}

void clock_fit_against(const struct clock_fit *f, const struct clock_con *upper, const struct clock_con *lower,
		       double x[2])
{
	struct clock_point u = { upper->x, upper->y };

	x[0] = x[1] = NAN;
	if (u.y < lowest_at(f, u.x) - CLOCK_TOL_NS) {
		x[0] = f->at_min.x;
		x[1] = touched(&f->up, f->at_min, f->bmin);
	} else if (lower->y > highest_at(f, lower->x) + CLOCK_TOL_NS) {
		x[0] = f->at_max.x;
		x[1] = touched(&f->low, f->at_max, f->bmax);
	} else { /* its own points and one before */
		x[0] = touched(&f->low, u, tangent_slope(&f->low, u, 1));
	}
}
