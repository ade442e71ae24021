// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * (time, TSval) pairs of one sender -> the rate of its TSval clock with a 95 % interval, and the stack's
 * usual rate next to it. Least squares with Welford's sums; theory and sources in tick.h.
 */
#include <math.h>
#include <stddef.h>

#include "engine/rtt/tick.h"

#define MIN_VALUES 4
#define MAX_ERROR  0.05 /* of the rate: above it says nothing */
#define NEAR       0.01 /* clocks are off by some 100 ppm; loaded ones step a little */

void tick_line_add(struct tick_line *l, uint32_t tsval, int64_t at_ns)
{
	double x, y, dx, dy;

	if (l->n == 0) {
		l->first_ns = at_ns;
		l->last = tsval;
	}
	if (l->n == UINT32_MAX)
		return;
	l->ticks += (int32_t)(tsval - l->last);
	l->last = tsval;
	l->n++;
	x = (double)(at_ns - l->first_ns) * 1e-9;
	y = (double)l->ticks;
	dx = x - l->x;
	dy = y - l->y;
	l->x += dx / l->n;
	l->y += dy / l->n;
	l->xx += dx * (x - l->x);
	l->xy += dx * (y - l->y);
	l->yy += dy * (y - l->y);
	l->span = x > l->span ? x : l->span;
}

static uint32_t nearest(double hz, double error)
{
	static const uint32_t usual[] = { 100, 250, 1000, 1000000 };

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		if (fabs(hz - usual[i]) <= fmax(error, NEAR * usual[i]))
			return usual[i];
	return 0;
}

struct vns_rtt_clock tick_line_rate(const struct tick_line *l)
{
	struct vns_rtt_clock c = { 0 };
	double hz, variance, error;

	if (l->n < MIN_VALUES || l->xx <= 0)
		return c;
	hz = l->xy / l->xx;
	variance = fmax(l->yy - l->xy * hz, 0) / (l->n - 2);
	error = fmax(2 * sqrt(variance / l->xx), 1 / l->span);
	if (!(hz > 0) || error > MAX_ERROR * hz)
		return c;
	return (struct vns_rtt_clock){ .hz = hz, .error_hz = error, .nominal_hz = nearest(hz, error) };
}
