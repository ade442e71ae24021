/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rate of a TSval clock, from the times at which its values first passed the capture point.
 *
 * A straight line through (time, ticks) by least squares; the residuals hold the ticks' size and the
 * way's jitter, so the slope's 95 % interval follows from them, never below one tick over the whole
 * span, since one value may have waited on the way. Sums are updated as in Welford (1962), so that no
 * big numbers are subtracted. Stacks tick at 100, 250, 1000 Hz or 1 MHz (RFC 7323 section 5.4 asks
 * for 1 ms to 1 s; Linux since 6.7 has microseconds per route): the nearest is named when it lies within
 * the interval or 1 %.
 */
#ifndef VNS_ENGINE_RTT_TICK_H
#define VNS_ENGINE_RTT_TICK_H

#include <vnetscope/rtt.h>

/* Zero-initialise. */
struct tick_line {
	int64_t first_ns;
	int64_t ticks;     /* of @last, since the first; 32-bit wraps counted on */
	uint32_t last, n;  /* n stops at its maximum */
	double x, y;       /* means: seconds and ticks since the first */
	double xx, xy, yy; /* sums of squared deviations */
	double span;       /* seconds from first to last */
};

/* @tsval passed at @at_ns; pairs in the order of time. */
void tick_line_add(struct tick_line *l, uint32_t tsval, int64_t at_ns);
/* All zero where there are too few values for a rate within 5 %. */
struct vns_rtt_clock tick_line_rate(const struct tick_line *l);

#endif
