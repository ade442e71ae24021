// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What holds of drift results: several clock modes of one subject at one instant; and what the
 * exchanges tell of their two ways.
 *
 * Theory. With the true offset o(t) in [L(t), U(t)], a request took T2 - T1 - o(T1), a reply
 * T4 - T3 + o(T4). So the least delay of a way lies between the least of what U and the least
 * of what L leave, and each exchange's excess over that least is known up to the drift's
 * curvature: the midpoint cancels. The sum of both least delays needs no offset at all.
 */
#include <math.h>
#include <stddef.h>

#include <vnetscope/measure.h>

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
		double in = delay_of(r->clock, s[i].at_ns - half, s[i].upper_ns, 1,
				     &least[VNS_HOST_TO_GUEST]);
		double out = delay_of(r->clock, s[i].at_ns + half, s[i].lower_ns, -1,
				      &least[VNS_GUEST_TO_HOST]);

		if (!floor)
			continue;
		vns_dist_add(&r->way[VNS_HOST_TO_GUEST].excess, llround(in - floor[0]));
		vns_dist_add(&r->way[VNS_GUEST_TO_HOST].excess, llround(out - floor[1]));
	}
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
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		floor[d] = least[d].best;
		r->way[d].floor_lower_ns = least[d].lower;
		r->way[d].floor_upper_ns = least[d].upper;
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
