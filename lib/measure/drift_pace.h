/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When a measurement by count has enough, or nothing more is to be hoped for.
 *
 * Times are monotonic ns. A reply is late or lost; only waiting tells which, and only a look that began long after
 * the last reply tells that nothing came: a measurement that was itself kept from running has not waited.
 */
#ifndef VNS_MEASURE_DRIFT_PACE_H
#define VNS_MEASURE_DRIFT_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Without a reply for so long, what is under way is lost. */
#define DRIFT_QUIET_NS (3 * INT64_C(1000000000))

/*
 * @count, @interval_ns: exchanges that are wanted and time between rounds, the caller's
 * @had: replies so far; @heard_ns: since when there was no new one; @looked_ns: begin of the last look for any
 */
struct drift_pace {
	size_t count, rounds;
	int64_t interval_ns, begin_ns, heard_ns, looked_ns;
	uint64_t had;
};

void drift_pace_begin(struct drift_pace *p, size_t count, int64_t interval_ns, int64_t now_ns);

/* A look for replies that began at @looked_ns and ended at @now_ns found @have altogether, of all modes. */
void drift_pace_look(struct drift_pace *p, int64_t looked_ns, int64_t now_ns, uint64_t have);

/* No reply came for DRIFT_QUIET_NS, and somebody looked. */
bool drift_pace_quiet(const struct drift_pace *p);

/* Is another round worth it while exchanges are missing? After a look for each of p->rounds. */
bool drift_pace_more(const struct drift_pace *p);

#endif
