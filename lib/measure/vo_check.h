/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Do the directions, corrected by the clock relation, add up to the sum that needs no offset? Asked
 * of different packets at different times, so that the answer can be no.
 */
#ifndef VNS_MEASURE_VO_CHECK_H
#define VNS_MEASURE_VO_CHECK_H

#include <vnetscope/measure.h>

#define VO_CHECK_BLOCKS 32

struct vo_check_block {
	double in, out;     /* sums of both directions' corrected latencies, of half of the pairs */
	double both, claim; /* sums of the clock-free sums and of the relation's own half-widths */
	uint64_t n_ways, n_both;
};

/* Zero-initialise; nothing to free. */
struct vo_check {
	int64_t from_ns, len_ns;
	struct vo_check_block block[VO_CHECK_BLOCKS];
	uint64_t pairs;
};

/* A pair in order of time; @claim: half of the relation's 95 % interval then. */
void vo_check_add(struct vo_check *c, int64_t at_ns, double in, double out, double both, double claim);
void vo_check_judge(const struct vo_check *c, struct vns_vo_check *out);

#endif
