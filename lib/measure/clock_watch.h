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
 * leaves it, so that the next one compares with what was known. @known: adjtimex(2) said something once.
 * @source_ppm: of a change of clock source, 0: none.
 * @written, @taking: least and most of all looks of what its rate was set to, and of what its loop and adjtime(3) add
 * to that (0 is among them: they end), ppm. @rate_changes: looks that found another rate written than the one before.
 * @asked_ns: the last look that was answered began then (monotonic); @longest_ns: between two of them, at most.
 */
struct clock_range {
	double lo, hi;
};

/* What changed at the last look, a sentence each, or "". */
struct clock_said {
	char source[300], rate[200];
};

struct clock_watch {
	struct vns_clock_state last[CLOCK_ENDS];
	bool seen[CLOCK_ENDS], known[CLOCK_ENDS], steered[CLOCK_ENDS], unknown[CLOCK_ENDS];
	double source_ppm[CLOCK_ENDS];
	struct clock_range written[CLOCK_ENDS], taking[CLOCK_ENDS];
	struct clock_said said[CLOCK_ENDS];
	uint32_t rate_changes[CLOCK_ENDS];
	int64_t asked_ns[CLOCK_ENDS], longest_ns[CLOCK_ENDS];
};

/*
 * Time between two looks: chronyd leaves each rate that it slews by for a second at least (its MIN_SLEW_TIMEOUT), and the
 * kernel's loop sets another one each second. More where a look takes long: at most a share of the time goes into
 * them, and where that is more than CLOCK_LOOK_FAR_NS and something steers a clock it is told.
 */
#define CLOCK_LOOK_NS   (VNS_NSEC_PER_SEC / 2)
#define CLOCK_LOOK_GAPS 20 /* times as long as the last look took */
static inline int64_t clock_look_gap(int64_t took_ns)
{
	return took_ns * CLOCK_LOOK_GAPS > CLOCK_LOOK_NS ? took_ns * CLOCK_LOOK_GAPS : CLOCK_LOOK_NS;
}

#define CLOCK_LOOK_FAR_NS VNS_NSEC_PER_SEC /* looks that are further apart are told */
#define CLOCK_WORDS 800 /* bytes, for clock_watch_words() */

/* Look at both ends: what changed since the last look is in @w->said. */
void clock_watch_look(struct clock_watch *w, struct vns_agent *a);
/* One sentence for all changes of the rate of @end, @when says in which time (" within ...", or ""); "" without any. */
void clock_watch_rates(const struct clock_watch *w, enum clock_end end, const char *when, char *text, size_t size);
/*
 * How far the rate between the ends may be from a constant, ppm (vns_clock_set_wander()). @wanted: the user's,
 * in place of what steering asks for; 0: none given, below 0: nothing. Changes are allowed for in any case.
 */
double clock_watch_wander(const struct clock_watch *w, double wanted);
/* What steers the clocks, or that it is not known, in sentences; "" where nothing does. */
void clock_watch_words(const struct clock_watch *w, double wanted, char *text, size_t size);
/* Did both ends say at every look that nothing steers their clocks, and did nothing change? */
bool clock_watch_steady(const struct clock_watch *w);

/* A look at @end lasted from @from_ns to @to_ns (monotonic) and was answered: what lies between it and the last one? */
void clock_watch_gap(struct clock_watch *w, enum clock_end end, int64_t from_ns, int64_t to_ns);
/* A look at one end, its state given (NULL: no answer). */
void clock_watch_take(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now);

#endif
