/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What both ends' kernels keep their time by, looked at again and again during a measurement, and the wander
 * that the relation of their clocks must allow for.
 */
#ifndef VNS_MEASURE_CLOCK_WATCH_H
#define VNS_MEASURE_CLOCK_WATCH_H

#include <vnetscope/agent.h>

enum clock_end { CLOCK_GUEST = 0, CLOCK_HOST, CLOCK_ENDS };

/*
 * @last: of each end, at the last look that it answered (@seen: there was one); a look without an answer
 * leaves it, so that the next one compares with what was known. @change_ppm, @steer_ppm: what changes seen and
 * what steers it ask for, the most of all looks.
 */
struct clock_watch {
	struct vns_clock_state last[CLOCK_ENDS];
	bool seen[CLOCK_ENDS], steered[CLOCK_ENDS], unknown[CLOCK_ENDS];
	double change_ppm[CLOCK_ENDS], steer_ppm[CLOCK_ENDS];
};

/* Look at both ends. @text (@size bytes) gets a sentence for each end that changed since the last look, or "". */
void clock_watch_look(struct clock_watch *w, struct vns_agent *a, char *text, size_t size);
/*
 * How far the rate between the ends may be from a constant, ppm (vns_clock_set_wander()). @wanted: the user's,
 * in place of what steering asks for; 0: none given, below 0: nothing. Changes are allowed for in any case.
 */
double clock_watch_wander(const struct clock_watch *w, double wanted);
/* What steers the clocks, or that it is not known, in sentences; "" where nothing does. */
void clock_watch_words(const struct clock_watch *w, double wanted, char *text, size_t size);
/* Did both ends say at every look that nothing steers their clocks, and did nothing change? */
bool clock_watch_steady(const struct clock_watch *w);

/* A look at one end, its state given (NULL: no answer). */
void clock_watch_take(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now,
		      char *text, size_t size);

#endif
