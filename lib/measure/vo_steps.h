/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Steps of the guest's clock: small ones that a solved relation shows, others that the pairing found.
 */
#ifndef VNS_MEASURE_VO_STEPS_H
#define VNS_MEASURE_VO_STEPS_H

#include <vnetscope/measure.h>

/* A step between two pieces: @at_ns .. @at_ns + @gap_ns, host clock; > 0: the guest's clock is further ahead after it. */
struct vo_step {
	int64_t at_ns, gap_ns;
	double by_ns, lower_ns, upper_ns; /* best, and what it is between */
};

/* Is there a step after piece @i that the relation is sure of? */
bool vo_step_after(const struct vns_clock *clock, size_t i, struct vo_step *out);
/* @s in @e: its size, its bounds and where it may have been. */
void vo_step_fill(const struct vo_step *s, struct vns_vo_event *e);

#define VO_STEP_LEN 232
/* Its sentence, in @to: offline; live; and live where the clock fell behind since the guest stood still. Bounds are rounded
 * outwards, so that what is printed holds what they hold. */
const char *vo_step_words(const struct vo_step *s, char *to, size_t size);
const char *vo_step_live_words(const struct vo_step *s, char *to, size_t size);
const char *vo_step_still_words(const struct vo_step *s, char *to, size_t size);
/* Steps too small for the pairing, which a relation from the traffic follows. */
void vo_steps_to_events(const struct vns_clock *clock, struct vns_vo_target *t);
/* @n of @step, of which the first VNS_TWIN_STEPS are there: those that the pairing found, as the first of the events. */
void vo_pairing_steps(const struct vns_twin_step *step, size_t n, struct vns_vo_target *t);
/*
 * Of when the relation of the clocks is told, of figures from @from_ns to @to_ns: their middle; where @n of @step were
 * taken out of the stamps, of the time before them.
 */
int64_t vo_before_steps(const struct vns_twin_step *step, size_t n, int64_t from_ns, int64_t to_ns);

#endif
