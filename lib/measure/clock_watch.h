/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What both ends' kernels keep their time by, before and after a measurement.
 */
#ifndef VNS_MEASURE_CLOCK_WATCH_H
#define VNS_MEASURE_CLOCK_WATCH_H

#include <vnetscope/agent.h>

struct clock_watch {
	struct vns_clock_state guest, host;
	bool have_guest;
};

void clock_watch_begin(struct clock_watch *w, struct vns_agent *a);
/*
 * Look again. @text (@size bytes) gets a sentence for each end that changed, or "". Return: how far the rate
 * may have been from a constant for it, ppm (vns_clock_set_wander()); 0: nothing changed.
 */
double clock_watch_end(const struct clock_watch *w, struct vns_agent *a, char *text, size_t size);
/* The same of two states of one end, called @whose in the sentence. */
double clock_watch_compare(const char *whose, const struct vns_clock_state *before,
			   const struct vns_clock_state *after, char *text, size_t size);

#endif
