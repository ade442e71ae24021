// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What holds between drift results: several clock modes of one subject at one instant.
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

void vns_drift_result_free(struct vns_drift_result *r)
{
	vns_clock_free(r->clock);
	r->clock = NULL;
}
