// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What holds of drift results: several clock modes of one subject at one instant; and what the
 * exchanges tell of their two ways.
 *
 * Theory. With the true offset o(t) in [L(t), U(t)], a request took T2 - T1 - o(T1), a reply
 * T4 - T3 + o(T4). So the least delay of a way lies between the least of what U and the least
 * of what L leave, and each exchange's excess over that least is known up to the drift's
 * curvature: the midpoint cancels. The sum of both least delays needs no offset at all: under a line of
 * slope b it is min(u - b t) + min(b t - l), concave in b, and never above the fastest exchange's own.
 * No delay is below zero, so neither direction's least is above the sum's. Exchanges that contradict the
 * others are left out.
 */
#include <math.h>
#include <stddef.h>

#include <vnetscope/measure.h>

#define MAX_RATE    500e-6 /* the clock model's limit (clock.h) */
#define STAMP_NS    1      /* each is cut to whole ns */
#define SEARCH      60     /* steps, each to 2/3 */
#define MOST_PIECES 32     /* the others only keep it from being lower */

bool vns_drift_agree(const struct vns_drift_result *r, size_t n)
{
	double lower = -INFINITY, upper = INFINITY;

	for (size_t i = 0; i < n; i++) {
		lower = fmax(lower, r[i].at.lower_ns);
		upper = fmin(upper, r[i].at.upper_ns);
	}
	return lower <= upper;
}

struct way_bounds {
	double best, lower, upper; /* least delay by the estimate, by either bound */
};

/* What one exchange's @value (an upper or a lower bound of the offset at @at_ns) leaves. */
static double delay_of(const struct vns_clock *c, int64_t at_ns, double value, double sign,
		       struct way_bounds *least)
{
	struct vns_clock_at at;
	double d;

	if (vns_clock_eval(c, at_ns, &at))
		return 0;
	d = sign * (value - at.offset_ns);
	least->best = fmin(least->best, d);
	least->lower = fmin(least->lower, fmax(0, sign * (value - (sign > 0 ? at.upper_ns :
									      at.lower_ns))));
	least->upper = fmin(least->upper, sign * (value - (sign > 0 ? at.lower_ns : at.upper_ns)));
	return d;
}

/* Least delays of both ways into @least; with @floor, what is above it into the result. */
static void walk(struct vns_drift_result *r, const double *floor,
		 struct way_bounds least[VNS_DIRECTIONS])
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(r->clock, &n);

	for (int d = 0; d < VNS_DIRECTIONS; d++)
		least[d] = (struct way_bounds){ INFINITY, INFINITY, INFINITY };
	for (size_t i = 0; i < n; i++) {
		int64_t half = s[i].rtt_ns / 2;
		double in, out;

		if (s[i].contradicts)
			continue;
		in = delay_of(r->clock, s[i].at_ns - half, s[i].upper_ns, 1,
				     &least[VNS_HOST_TO_GUEST]);
		out = delay_of(r->clock, s[i].at_ns + half, s[i].lower_ns, -1,
			       &least[VNS_GUEST_TO_HOST]);

		if (!floor)
			continue;
		vns_dist_add(&r->way[VNS_HOST_TO_GUEST].excess, llround(in - floor[0]));
		vns_dist_add(&r->way[VNS_GUEST_TO_HOST].excess, llround(out - floor[1]));
	}
}

/* Sum of both least delays of the exchanges in @p under a line of slope @ppm; infinite without any. */
static double sum_under(const struct vns_clock_sample *s, size_t n, const struct vns_clock_piece *p, double ppm)
{
	double in = INFINITY, out = INFINITY;

	for (size_t i = 0; i < n; i++) {
		double t = (double)(s[i].at_ns - p->from_ns), half = (double)s[i].rtt_ns / 2;

		if (s[i].contradicts || s[i].at_ns - s[i].rtt_ns / 2 < p->from_ns ||
		    s[i].at_ns + s[i].rtt_ns / 2 > p->to_ns)
			continue;
		in = fmin(in, s[i].upper_ns - p->offset_ns - ppm * 1e-6 * (t - half));
		out = fmin(out, p->offset_ns + ppm * 1e-6 * (t + half) - s[i].lower_ns);
	}
	return in + out;
}

/* The most that it is under any feasible slope; what bends has none. */
static double sum_within(const struct vns_drift_result *r, const struct vns_clock_sample *s, size_t n,
			 const struct vns_clock_piece *p)
{
	double lo = p->drift_lower_ppm, hi = p->drift_upper_ppm;

	if (p->bent || vns_clock_get_wander(r->clock) > 0)
		return INFINITY;
	for (int i = 0; i < SEARCH; i++) {
		double a = lo + (hi - lo) / 3, b = hi - (hi - lo) / 3;

		if (sum_under(s, n, p, a) < sum_under(s, n, p, b))
			lo = a;
		else
			hi = b;
	}
	return sum_under(s, n, p, (lo + hi) / 2);
}

static double sum_at_most(const struct vns_drift_result *r)
{
	size_t n, n_piece;
	const struct vns_clock_sample *s = vns_clock_samples(r->clock, &n);
	const struct vns_clock_piece *p = vns_clock_pieces(r->clock, &n_piece);
	double most = INFINITY;

	for (size_t i = 0; i < n; i++)
		if (!s[i].contradicts) /* what the guest's clock makes of its own time there, at most */
			most = fmin(most, (double)(s[i].rtt_ns - s[i].processing_ns) +
						  MAX_RATE * (double)s[i].rtt_ns);
	for (size_t i = 0; i < n_piece && i < MOST_PIECES; i++)
		if (!p[i].undecided)
			most = fmin(most, sum_within(r, s, n, &p[i]));
	return most + 2 * STAMP_NS;
}

void vns_drift_ways(struct vns_drift_result *r)
{
	struct way_bounds least[VNS_DIRECTIONS];
	double floor[VNS_DIRECTIONS];
	size_t n;

	vns_clock_samples(r->clock, &n);
	if (n == 0)
		return;
	walk(r, NULL, least);
	r->floor_sum_upper_ns = sum_at_most(r);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		floor[d] = least[d].best;
		r->way[d].floor_lower_ns = fmin(least[d].lower, r->floor_sum_upper_ns);
		r->way[d].floor_upper_ns = fmin(least[d].upper, r->floor_sum_upper_ns);
	}
	r->floor_sum_ns = floor[VNS_HOST_TO_GUEST] + floor[VNS_GUEST_TO_HOST];
	walk(r, floor, least);
}

void vns_drift_result_free(struct vns_drift_result *r)
{
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		vns_dist_fini(&r->way[d].excess);
	vns_clock_free(r->clock);
	r->clock = NULL;
}
