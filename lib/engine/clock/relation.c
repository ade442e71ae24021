// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Asking a solved relation: a host or guest instant -> estimate, causality bound, interval.
 *
 * Theory: the highest value that feasible lines reach at x is a convex function of x, the lower
 * hull of the upper points cut to the feasible slopes; the lowest is concave. Both are kept as
 * chains of vertices with rays at the ends, so that asking is a binary search, and a chain with
 * vertices left out only bounds more loosely. Between two pieces (where the step may lie) the
 * bound is the union of both.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

/* Chain value at @x; left of it a ray of slope @left, right of it one of slope @right. */
static double chain_at(const struct clock_point *v, size_t n, double x, double left, double right)
{
	size_t lo = 0, hi = n - 1;

	if (x <= v[0].x)
		return v[0].y + left * (x - v[0].x);
	if (x >= v[n - 1].x)
		return v[n - 1].y + right * (x - v[n - 1].x);
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid].x <= x)
			lo = mid;
		else
			hi = mid;
	}
	return v[lo].y + (v[hi].y - v[lo].y) * ((x - v[lo].x) / (v[hi].x - v[lo].x));
}

double clock_seg_upper(const struct clock_seg *s, double x)
{
	return s->n_up ? chain_at(s->up, s->n_up, x, s->bmin, s->bmax) : INFINITY;
}

double clock_seg_lower(const struct clock_seg *s, double x)
{
	return s->n_low ? chain_at(s->low, s->n_low, x, s->bmax, s->bmin) : -INFINITY;
}

double clock_seg_best(const struct clock_seg *s, double x)
{
	double y = s->yc + s->slope * (x - s->xc);

	return fmax(clock_seg_lower(s, x), fmin(clock_seg_upper(s, x), y));
}

/* The part of a hull whose edges have slopes within [bmin, bmax], in order of x. */
static int cut_chain(const struct clock_hull *h, double bmin, double bmax, double sign,
		     struct clock_point **out, size_t *n)
{
	size_t first = 0, last;

	*n = 0;
	if (h->n == 0)
		return 0;
	/* sign +1: slopes rise along the chain from bmin to bmax; -1: they fall. */
	while (first + 1 < h->n) {
		const struct clock_point *p = &h->v[first];
		double slope = (p[1].y - p[0].y) / (p[1].x - p[0].x);

		if (sign > 0 ? slope >= bmin : slope <= bmax)
			break;
		first++;
	}
	for (last = first; last + 1 < h->n; last++) {
		const struct clock_point *p = &h->v[last];
		double slope = (p[1].y - p[0].y) / (p[1].x - p[0].x);

		if (sign > 0 ? slope > bmax : slope < bmin)
			break;
	}
	*out = malloc((last - first + 1) * sizeof(**out));
	if (!*out)
		return -ENOMEM;
	*n = last - first + 1;
	memcpy(*out, h->v + first, *n * sizeof(**out));
	return 0;
}

int clock_seg_from_fit(const struct clock_fit *f, struct clock_seg *out)
{
	int ret;

	out->bmin = f->bmin;
	out->bmax = f->bmax;
	ret = cut_chain(&f->up, f->bmin, f->bmax, 1, &out->up, &out->n_up);
	if (ret == 0)
		ret = cut_chain(&f->low, f->bmin, f->bmax, -1, &out->low, &out->n_low);
	return ret;
}

void clock_seg_fini(struct clock_seg *s)
{
	free(s->up);
	free(s->low);
	*s = (struct clock_seg){ 0 };
}

void clock_drop_segs(struct vns_clock *c)
{
	for (size_t i = 0; i < c->n_seg; i++)
		clock_seg_fini(&c->seg[i]);
	free(c->seg);
	free(c->piece);
	c->seg = NULL;
	c->piece = NULL;
	c->n_seg = 0;
}

/* base + y as a double, rounded outward (@dir -1, +1) or to nearest (0). */
static double absolute(const struct vns_clock *c, double y, int dir)
{
	long double exact = (long double)c->base_ns + (long double)y;
	double d = (double)exact;

	if (dir > 0 && (long double)d < exact)
		d = nextafter(d, INFINITY);
	if (dir < 0 && (long double)d > exact)
		d = nextafter(d, -INFINITY);
	return d;
}

static int64_t host_ns(const struct vns_clock *c, double x)
{
	long double t = (long double)c->epoch_ns + (long double)x;

	return t >= 0x1p63L ? INT64_MAX : t < -0x1p63L ? INT64_MIN : (int64_t)roundl(t);
}

/* A relation at one instant, relative. */
struct rel_at {
	double best, lower, upper, ci_lower, ci_upper, slope, slope_lower, slope_upper;
};

static void seg_at(const struct clock_seg *s, double x, struct rel_at *r)
{
	double raw = s->yc + s->slope * (x - s->xc), half;

	r->upper = clock_seg_upper(s, x);
	r->lower = clock_seg_lower(s, x);
	r->best = fmax(r->lower, fmin(r->upper, raw));
	r->slope = s->slope;
	r->slope_lower = s->bmin;
	r->slope_upper = s->bmax;
	r->ci_lower = r->lower;
	r->ci_upper = r->upper;
	if (!s->have_ci)
		return;
	half = hypot(s->ci_half, s->ci_slope * (x - s->ci_x));
	if (raw + half < r->lower || raw - half > r->upper)
		return; /* refuted: the directions' delays are not alike */
	r->ci_lower = fmax(r->lower, fmin(r->best, raw - half));
	r->ci_upper = fmin(r->upper, fmax(r->best, raw + half));
}

static void unite(struct rel_at *r, const struct rel_at *other)
{
	r->lower = fmin(r->lower, other->lower);
	r->upper = fmax(r->upper, other->upper);
	r->ci_lower = fmin(r->ci_lower, other->ci_lower);
	r->ci_upper = fmax(r->ci_upper, other->ci_upper);
	r->slope_lower = fmin(r->slope_lower, other->slope_lower);
	r->slope_upper = fmax(r->slope_upper, other->slope_upper);
}

/* Pieces that may hold at @x: [*lo, *hi]. */
static void segs_at(const struct vns_clock *c, double x, size_t *lo, size_t *hi)
{
	size_t i = 0;

	while (i + 1 < c->n_seg && x >= c->seg[i + 1].from)
		i++;
	*lo = i;
	*hi = i + 1 < c->n_seg && x > c->seg[i].to ? i + 1 : i;
	while (*lo > 0 && c->seg[*lo].weak)
		(*lo)--;
	while (*hi + 1 < c->n_seg && c->seg[*hi].weak)
		(*hi)++;
}

static void relation_at(const struct vns_clock *c, double x, struct rel_at *r)
{
	size_t lo, hi, best;

	segs_at(c, x, &lo, &hi);
	for (best = lo; best < hi && x >= c->seg[best].split_after; best++)
		;
	seg_at(&c->seg[best], x, r);
	for (size_t i = lo; i <= hi && lo < hi; i++) {
		struct rel_at other;

		seg_at(&c->seg[i], x, &other);
		unite(r, &other);
	}
}

/* Two bounds that meet, carried on over centuries, may pass each other by a rounding: in order then. */
static void publish(const struct vns_clock *c, double x, const struct rel_at *r,
		    struct vns_clock_at *out)
{
	*out = (struct vns_clock_at){
		.at_ns = host_ns(c, x),
		.offset_ns = absolute(c, r->best, 0),
		.lower_ns = absolute(c, fmin(r->lower, r->upper), -1),
		.upper_ns = absolute(c, fmax(r->lower, r->upper), 1),
		.ci_lower_ns = absolute(c, fmin(r->ci_lower, r->ci_upper), -1),
		.ci_upper_ns = absolute(c, fmax(r->ci_lower, r->ci_upper), 1),
		.drift_ppm = r->slope * 1e6,
		.drift_lower_ppm = r->slope_lower * 1e6,
		.drift_upper_ppm = r->slope_upper * 1e6,
		.extrapolated = !c->fixed && (x < c->span_lo || x > c->span_hi),
	};
}

int vns_clock_eval(const struct vns_clock *c, int64_t at_ns, struct vns_clock_at *out)
{
	struct rel_at r;
	double x = clock_rel(at_ns, c->epoch_ns);

	if (c->n_seg == 0)
		return -ENODATA;
	relation_at(c, x, &r);
	publish(c, x, &r, out);
	return 0;
}

/* Host time at which piece @s has the guest's clock show @g (relative to epoch + base). */
static double solve_guest(const struct clock_seg *s, double g)
{
	double x = g;

	for (int i = 0; i < 8; i++)
		x = g - clock_seg_best(s, x);
	return x;
}

/*
 * A guest instant belongs to every piece that shows it at a host time where the piece may hold:
 * two after a step back, none in the hole of a step forward (then the nearest ones). The best guess is asked in any
 * case: next to an end where nothing decides between two lines it may be beyond where its own piece may hold.
 */
int vns_clock_eval_guest(const struct vns_clock *c, int64_t guest_ns, struct vns_clock_at *out)
{
	double g = (double)((long double)guest_ns - (long double)c->epoch_ns - (long double)c->base_ns);
	double best_x = 0, nearest = INFINITY;
	struct rel_at r = { 0 };
	bool have = false;

	if (c->n_seg == 0)
		return -ENODATA;
	for (size_t i = 0; i < c->n_seg; i++) {
		double x = solve_guest(&c->seg[i], g);
		double from = i > 0 ? c->seg[i - 1].split_after : -INFINITY;
		double to = i + 1 < c->n_seg ? c->seg[i].split_after : INFINITY;
		double off = x < from ? from - x : x > to ? x - to : 0;

		if (off < nearest) {
			nearest = off;
			best_x = x;
		}
	}
	for (size_t i = 0; i < c->n_seg; i++) {
		double x = solve_guest(&c->seg[i], g);
		double from = i > 0 ? c->seg[i - 1].to : -INFINITY;
		double to = i + 1 < c->n_seg ? c->seg[i + 1].from : INFINITY;
		struct rel_at at;

		if ((x < from || x > to) && nearest == 0 && x != best_x)
			continue;
		relation_at(c, x, &at);
		if (!have || x == best_x) {
			struct rel_at known = r;

			r = at;
			if (have)
				unite(&r, &known);
			have = true;
		} else {
			unite(&r, &at);
		}
	}
	/* The true instant is not quite best_x: the offset moves at most this much between. */
	r.lower -= 1.1 * CLOCK_MAX_RATE * (r.upper - r.lower);
	r.upper += 1.1 * CLOCK_MAX_RATE * (r.upper - r.lower);
	publish(c, best_x, &r, out);
	return 0;
}

int clock_publish_pieces(struct vns_clock *c)
{
	free(c->piece);
	c->piece = calloc(c->n_seg ? c->n_seg : 1, sizeof(*c->piece));
	if (!c->piece)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_seg; i++) {
		const struct clock_seg *s = &c->seg[i];

		c->piece[i] = (struct vns_clock_piece){
			.from_ns = host_ns(c, s->from),
			.to_ns = host_ns(c, s->to),
			.offset_ns = absolute(c, clock_seg_best(s, s->from), 0),
			.drift_ppm = s->slope * 1e6,
			.drift_lower_ppm = s->bmin * 1e6,
			.drift_upper_ppm = s->bmax * 1e6,
			.step_after = s->step_after,
			.widened_ns = fmax(s->more_up, s->more_low),
			.bent = s->bent,
			.undecided = s->undecided,
		};
	}
	return 0;
}

const struct vns_clock_piece *vns_clock_pieces(const struct vns_clock *c, size_t *n)
{
	*n = c->piece ? c->n_seg : 0;
	return c->piece;
}

static int export_chain(const struct vns_clock *c, const struct clock_point *v, size_t n, int dir,
			size_t max, struct vns_clock_knot **out, size_t *n_out)
{
	size_t keep = n < max ? n : max;

	*n_out = 0;
	*out = calloc(keep ? keep : 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t k = 0; k < keep; k++) {
		const struct clock_point *p = &v[keep > 1 ? k * (n - 1) / (keep - 1) : 0];

		(*out)[k].at_ns = host_ns(c, p->x);
		(*out)[k].value_ns = c->base_ns + (int64_t)(dir > 0 ? ceil(p->y) : floor(p->y));
	}
	*n_out = keep;
	return 0;
}

int vns_clock_export(const struct vns_clock *c, size_t i, struct vns_clock_saved *out)
{
	const struct clock_seg *s;
	int ret;

	if (i >= c->n_seg)
		return -EINVAL;
	s = &c->seg[i];
	*out = (struct vns_clock_saved){ .piece = c->piece[i] };
	out->split_ns = host_ns(c, s->split_after);
	out->weak = s->weak;
	out->have_ci = s->have_ci;
	out->ci_at_ns = host_ns(c, s->ci_x);
	out->ci_half_ns = s->ci_half;
	out->ci_half_ppm = s->ci_slope * 1e6;
	ret = export_chain(c, s->low, s->n_low, -1, VNS_CLOCK_MAX_KNOTS, &out->lower,
			   &out->n_lower);
	if (ret == 0)
		ret = export_chain(c, s->up, s->n_up, 1, VNS_CLOCK_MAX_KNOTS, &out->upper,
				   &out->n_upper);
	if (ret)
		vns_clock_saved_fini(out);
	return ret;
}

void vns_clock_saved_fini(struct vns_clock_saved *s)
{
	free(s->lower);
	free(s->upper);
	*s = (struct vns_clock_saved){ 0 };
}

static int import_chain(const struct vns_clock *c, const struct vns_clock_knot *k, size_t n,
			struct clock_point **out, size_t *n_out)
{
	*n_out = 0;
	*out = calloc(n ? n : 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && k[i].at_ns <= k[i - 1].at_ns)
			return -EINVAL;
		(*out)[i].x = clock_rel(k[i].at_ns, c->epoch_ns);
		(*out)[i].y = clock_rel(k[i].value_ns, c->base_ns);
	}
	*n_out = n;
	return 0;
}

static int import_seg(const struct vns_clock *c, const struct vns_clock_saved *p,
		      struct clock_seg *s)
{
	int ret;

	s->from = s->xc = clock_rel(p->piece.from_ns, c->epoch_ns);
	s->to = clock_rel(p->piece.to_ns, c->epoch_ns);
	s->split_after = clock_rel(p->split_ns, c->epoch_ns);
	s->bmin = p->piece.drift_lower_ppm * 1e-6;
	s->bmax = p->piece.drift_upper_ppm * 1e-6;
	s->slope = p->piece.drift_ppm * 1e-6;
	s->yc = p->piece.offset_ns - (double)c->base_ns;
	s->step_after = p->piece.step_after;
	s->more_up = s->more_low = p->piece.widened_ns;
	s->bent = p->piece.bent;
	s->undecided = p->piece.undecided;
	s->weak = p->weak;
	s->have_ci = p->have_ci;
	s->ci_x = clock_rel(p->ci_at_ns, c->epoch_ns);
	s->ci_half = p->ci_half_ns;
	s->ci_slope = p->ci_half_ppm * 1e-6;
	ret = import_chain(c, p->upper, p->n_upper, &s->up, &s->n_up);
	return ret ? ret : import_chain(c, p->lower, p->n_lower, &s->low, &s->n_low);
}

static bool saved_is_sane(const struct vns_clock_saved *p, size_t i)
{
	const struct vns_clock_piece *q = &p[i].piece;

	return q->from_ns <= q->to_ns && (i == 0 || q->from_ns >= p[i - 1].piece.to_ns) &&
	       isfinite(q->offset_ns) && fabs(q->offset_ns) < 9e18 &&
	       fabs(q->drift_ppm) <= 1e6 * CLOCK_MAX_RATE * 1.001 &&
	       q->drift_lower_ppm <= q->drift_upper_ppm && isfinite(p[i].ci_half_ns) &&
	       isfinite(p[i].ci_half_ppm) && isfinite(q->widened_ns);
}

/* Do the bounds of a piece leave room at every vertex? */
static bool seg_has_room(const struct clock_seg *s)
{
	for (size_t i = 0; i < s->n_up; i++)
		if (s->up[i].y < clock_seg_lower(s, s->up[i].x) - CLOCK_TOL_NS)
			return false;
	for (size_t i = 0; i < s->n_low; i++)
		if (s->low[i].y > clock_seg_upper(s, s->low[i].x) + CLOCK_TOL_NS)
			return false;
	return true;
}

int vns_clock_restore(struct vns_clock **out, enum vns_clock_mode mode,
		      const struct vns_clock_saved *p, size_t n)
{
	struct vns_clock *c;
	int ret = n == 0 ? -EINVAL : 0;

	for (size_t i = 0; i < n; i++)
		if (!saved_is_sane(p, i))
			ret = -EINVAL;
	if (ret == 0)
		ret = vns_clock_new(&c, mode);
	if (ret)
		return ret;
	c->loaded = true;
	c->epoch_ns = p[0].piece.from_ns;
	c->base_ns = (int64_t)p[0].piece.offset_ns;
	c->have_base = true;
	c->span_lo = 0;
	c->span_hi = clock_rel(p[n - 1].piece.to_ns, c->epoch_ns);
	c->seg = calloc(n, sizeof(*c->seg));
	if (!c->seg)
		ret = -ENOMEM;
	for (size_t i = 0; ret == 0 && i < n; i++) {
		c->n_seg = i + 1;
		ret = import_seg(c, &p[i], &c->seg[i]);
		if (ret == 0 && !seg_has_room(&c->seg[i]))
			ret = -EINVAL;
	}
	if (ret == 0)
		ret = clock_publish_pieces(c);
	if (ret)
		vns_clock_free(c);
	else
		*out = c;
	return ret;
}
