// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A clock whose rate wanders: the constraints of a piece and how far the rate may be from a constant
 * -> how much further out the piece's bounds must be.
 *
 * Model. Within the piece |rate(t) - r| <= W for some r that is not known. From a lower point to a
 * later upper point the offset rises by no more than the slope between them, so a feasible line's
 * slopes [bmin, bmax] and r differ by no more than W: r is in [bmin - W, bmax + W]. Seen from
 * the instant x a point at distance d says less by W * d than it says of a line:
 *
 *   upper(x) = max over r of min over i of  u_i + W |x_i - x| - r (x_i - x)
 *
 * the value at x of the lower hull of the points so moved, cut to these slopes (relation.c). That is
 * exact, and the linear program's own bound at W = 0. Between two instants the rate is in
 * [bmin - 2 W, bmax + 2 W]. A chain of vertices must stay convex, so the most that upper(x) is
 * above the line's bound anywhere moves all of it. Lower bounds are the same, upside down.
 * Far points say little: leaving them out is looser, never wrong.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "engine/clock/clock_priv.h"

#define NEIGHBOURS 256  /* points on either side of an instant that are asked */
#define GRID       256  /* of the whole span: no stretch between instants asked is longer */
#define MAX_ASKED  4096 /* points at which is asked */
#define SEARCH     30   /* steps, each to 2/3: to 5e-6 of a stretch, times 1e-3 at most in height */

/* One side of a piece, lower points upside down so that all bound from above. */
struct side {
	const struct clock_seg *seg;
	struct clock_point *v;
	size_t n;
	double wander, rate_lo, rate_hi; /* feasible constant rates */
	double fall, rise;               /* rates of any instant */
	double grid;
	struct clock_fit fit;            /* of moved points, used again */
	bool upper;
};

/* Where the bound of lines is. */
static double bound_of_lines(const struct side *s, double x)
{
	return s->upper ? clock_seg_upper(s->seg, x) : -clock_seg_lower(s->seg, x);
}

static void set_rates(struct side *s, double wander)
{
	double bmin = s->seg->bmin, bmax = s->seg->bmax;

	s->wander = wander;
	s->rate_lo = fmax(-CLOCK_MAX_RATE, (s->upper ? bmin : -bmax) - wander);
	s->rate_hi = fmin(CLOCK_MAX_RATE, (s->upper ? bmax : -bmin) + wander);
	s->fall = fmax(-CLOCK_MAX_RATE, s->rate_lo - wander);
	s->rise = fmin(CLOCK_MAX_RATE, s->rate_hi + wander);
}

/* Points that follow from a neighbour and the rates are left out. */
static void prune(struct side *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++)
		if (kept == 0 || s->v[i].y < s->v[kept - 1].y + s->rise * (s->v[i].x - s->v[kept - 1].x))
			s->v[kept++] = s->v[i];
	s->n = kept;
	for (size_t i = kept; i-- > 0;)
		if (kept == s->n || s->v[i].y < s->v[kept].y - s->fall * (s->v[kept].x - s->v[i].x))
			s->v[--kept] = s->v[i];
	for (size_t i = kept; i < s->n; i++)
		s->v[i - kept] = s->v[i];
	s->n -= kept;
}

/* upper(@x); @at: the first point that is not left of @x. Return: 0 or -ENOMEM. */
static int ask(struct side *s, double x, size_t at, double *out)
{
	size_t first = at > NEIGHBOURS ? at - NEIGHBOURS : 0;
	size_t last = at + NEIGHBOURS < s->n ? at + NEIGHBOURS : s->n;
	struct clock_seg moved = { 0 };
	int ret = 0;

	clock_fit_reset(&s->fit);
	for (size_t i = first; ret == 0 && i < last; i++) {
		struct clock_con c = { .x = s->v[i].x, .upper = true };

		c.y = s->v[i].y + s->wander * fabs(s->v[i].x - x);
		ret = clock_fit_add(&s->fit, &c);
	}
	s->fit.bmin = s->rate_lo;
	s->fit.bmax = s->rate_hi;
	if (ret == 0)
		ret = clock_seg_from_fit(&s->fit, &moved);
	*out = ret ? INFINITY : clock_seg_upper(&moved, x);
	clock_seg_fini(&moved);
	return ret;
}

/* Most that the truth can be above the bound of lines between two instants asked. */
static double most_between(const struct side *s, struct clock_point a, struct clock_point b)
{
	double lo = a.x, hi = b.x, best = -INFINITY;

	for (int i = 0; i < SEARCH; i++) { /* a concave function less a convex one has one maximum */
		double x[2] = { lo + (hi - lo) / 3, hi - (hi - lo) / 3 }, g[2];

		for (int k = 0; k < 2; k++) {
			g[k] = fmin(a.y + s->rise * (x[k] - a.x), b.y - s->fall * (b.x - x[k])) -
			       bound_of_lines(s, x[k]);
			best = fmax(best, g[k]);
		}
		if (g[0] < g[1])
			lo = x[0];
		else
			hi = x[1];
	}
	return best;
}

/* From the last instant asked to @x, in steps no longer than the grid. */
static int ask_until(struct side *s, struct clock_point *last, double x, size_t at, double *most)
{
	double from = last->x, steps = ceil((x - from) / s->grid);
	int ret = 0;

	for (double k = 1; ret == 0 && k <= steps; k++) {
		struct clock_point p = { .x = k < steps ? from + (x - from) * (k / steps) : x };

		ret = ask(s, p.x, at, &p.y);
		*most = fmax(*most, fmax(p.y - bound_of_lines(s, p.x), most_between(s, *last, p)));
		*last = p;
	}
	return ret;
}

/* Most that the truth can be outside the bound of lines in [from, to]. */
static int excess(struct side *s, double from, double to, double *most)
{
	struct clock_point last = { .x = from };
	size_t stride, next = 0;
	int ret;

	*most = 0;
	prune(s);
	if (s->n == 0)
		return 0;
	stride = s->n / MAX_ASKED + 1;
	ret = ask(s, from, 0, &last.y);
	*most = fmax(0, last.y - bound_of_lines(s, from));
	for (; ret == 0 && next < s->n; next += stride)
		if (s->v[next].x > last.x)
			ret = ask_until(s, &last, s->v[next].x, next, most);
	if (ret == 0 && to > last.x)
		ret = ask_until(s, &last, to, s->n, most);
	return ret;
}

int clock_wander_of(const struct clock_con *const *con, size_t n, double wander, double span,
		    struct clock_seg *seg)
{
	int ret = 0;

	seg->more_up = seg->more_low = 0;
	for (int k = 0; k < 2 && ret == 0; k++) {
		struct side s = { .seg = seg, .upper = k == 0,
				  .grid = fmax(1, span / GRID) };

		s.v = malloc((n + 1) * sizeof(*s.v));
		if (!s.v)
			return -ENOMEM;
		for (size_t i = 0; i < n; i++)
			if (con[i]->upper == s.upper)
				s.v[s.n++] = (struct clock_point){
					con[i]->x, s.upper ? con[i]->y : -con[i]->y };
		set_rates(&s, wander);
		ret = excess(&s, seg->from, seg->to, s.upper ? &seg->more_up : &seg->more_low);
		clock_fit_fini(&s.fit);
		free(s.v);
	}
	return ret;
}

/* The rays beyond the piece get steeper; within it they do not: vertices at both its ends. */
static int pin_ends(struct clock_point **v, size_t *n, struct clock_point from, struct clock_point to)
{
	struct clock_point *more;
	size_t first;

	if (*n == 0)
		return 0;
	first = from.x < (*v)[0].x;
	more = malloc((*n + 2) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	more[0] = from;
	for (size_t i = 0; i < *n; i++)
		more[first + i] = (*v)[i];
	*n += first;
	if (to.x > more[*n - 1].x)
		more[(*n)++] = to;
	free(*v);
	*v = more;
	return 0;
}

int clock_move_bounds(struct clock_seg *s, double wander)
{
	struct clock_point up[2] = { { s->from, clock_seg_upper(s, s->from) },
				     { s->to, clock_seg_upper(s, s->to) } };
	struct clock_point low[2] = { { s->from, clock_seg_lower(s, s->from) },
				      { s->to, clock_seg_lower(s, s->to) } };
	int ret = wander > 0 ? pin_ends(&s->up, &s->n_up, up[0], up[1]) : 0;

	if (ret == 0 && wander > 0)
		ret = pin_ends(&s->low, &s->n_low, low[0], low[1]);
	if (ret)
		return ret;
	for (size_t k = 0; k < s->n_up; k++)
		s->up[k].y += s->more_up;
	for (size_t k = 0; k < s->n_low; k++)
		s->low[k].y -= s->more_low;
	s->bmin = fmax(-CLOCK_MAX_RATE, s->bmin - 2 * wander);
	s->bmax = fmin(CLOCK_MAX_RATE, s->bmax + 2 * wander);
	return 0;
}
