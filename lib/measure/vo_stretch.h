/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stretch of both files that was looked at for a step of a clock: what it tells of the gaps within it.
 *
 * In: one look's pairs, then places in both files. Out: would a look from there show no step either?
 */
#ifndef VNS_MEASURE_VO_STRETCH_H
#define VNS_MEASURE_VO_STRETCH_H

#include "engine/twin/coarse.h"

#define VO_LOOK 4096 /* packets of each file that may show a step */

/*
 * @at:   packets of each file before the stretch
 * @end:  ... and before its end; @all: no packet comes after that
 * @pair: in order of A's time, numbered from @at on; those before @first are left behind
 * @odd:  pairs before each that are not as far apart as before; @least, @most: of t_B - t_A of the others
 */
struct vo_stretch {
	uint64_t at[2], end[2];
	bool all[2];
	struct twin_coarse_pair pair[VO_LOOK];
	uint32_t odd[VO_LOOK + 1];
	size_t n, first;
	int64_t least, most;
};

/* @s->at, @end, @all, @pair and @n are set: count what is more than @jump_ns off @offset_ns. */
void vo_stretch_count(struct vo_stretch *s, int64_t offset_ns, int64_t jump_ns);

/*
 * Would a look from @at on, packets of each file, show no offset that differs by more than @jump_ns from @offset_ns?
 * Places never go back. false: that is not sure. Constant work, amortised over the stretch.
 */
bool vo_stretch_is_steady(struct vo_stretch *s, const uint64_t at[2], int64_t offset_ns, int64_t jump_ns);

#endif
