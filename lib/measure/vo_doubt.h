/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is an exchange that does not fit the relation wrong, or did the clock step? Pure: no clock is read.
 */
#ifndef VNS_MEASURE_VO_DOUBT_H
#define VNS_MEASURE_VO_DOUBT_H

#include <vnetscope/clock.h>

#define VO_DOUBT_AGREE 3  /* exchanges: so many make a step, as in the clock engine (contradict.c) */
#define VO_DOUBT_MOST  16 /* exchanges: it is decided then, whatever they say */

/* The offset lies between the bounds at that instant of the host's clock. */
struct vo_bounds {
	double lower_ns, upper_ns;
	int64_t at_ns;
};

/* Do the bounds, widened by the fastest drift and by @slack_ns, leave room for @s? */
bool vo_bounds_meet(const struct vo_bounds *b, const struct vns_clock_sample *s, double slack_ns);
/* Narrow the bounds by @s, which they meet without slack; @s alone counts where they do not. */
void vo_bounds_take(struct vo_bounds *b, const struct vns_clock_sample *s);

enum vo_verdict { VO_DOUBT_OPEN = 0, VO_DOUBT_STEP, VO_DOUBT_WRONG };

/* @at: index of the first exchange after the step; @wrong: bit i: exchange i belongs to neither side. */
struct vo_doubt {
	size_t at;
	uint32_t wrong;
};

/*
 * Exchanges @s[0..@n) in order, the first of which does not meet @old by @slack_ns -> what it was. The same exchanges
 * with others after them give the same verdict once it is not open. @out: at of a step only, wrong of both verdicts.
 */
enum vo_verdict vo_doubt_judge(const struct vo_bounds *old, double slack_ns, const struct vns_clock_sample *s,
			       size_t n, struct vo_doubt *out);

#endif
