// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Steps of the guest's clock: a solved relation -> where it says that the clock stepped (small ones), by how much, and
 * whether that is sure; those that the pairing found (large ones) -> events.
 *
 * Theory. Between the last instant that is certain to be before the step and the first after it, the offset moves by the
 * step and by at most 500 ppm of that time. So the step is at least what lies between the bounds of both instants
 * less that, and it is sure where this is more than nothing. A lone packet taken for another makes a piece as well,
 * a short one: each side must hold for longer than what is open between them.
 */
#include <math.h>
#include <stdio.h>

#include "measure/vo_steps.h"

#define MAX_RATE   500e-6 /* the clock model's limit (clock.h) */
#define HOLDS      10     /* times the stretch between: so long each side must hold */
#define SECONDS    1e-9
#define US         1e3
#define MS         1e6

bool vo_step_after(const struct vns_clock *clock, size_t i, struct vo_step *out)
{
	struct vns_clock_at before, after;
	size_t n = 0;
	const struct vns_clock_piece *p = vns_clock_pieces(clock, &n);
	double moved;

	if (i + 1 >= n || !p[i].step_after || p[i].undecided || p[i + 1].undecided)
		return false;
	*out = (struct vo_step){ .at_ns = p[i].to_ns, .gap_ns = p[i + 1].from_ns - p[i].to_ns };
	if ((p[i].to_ns - p[i].from_ns) / HOLDS < out->gap_ns ||
	    (p[i + 1].to_ns - p[i + 1].from_ns) / HOLDS < out->gap_ns)
		return false;
	/* within either piece: at its edge the other one may hold as well */
	if (vns_clock_eval(clock, p[i].to_ns - 1, &before) || vns_clock_eval(clock, p[i + 1].from_ns + 1, &after))
		return false;
	moved = MAX_RATE * (double)(out->gap_ns + 2);
	out->by_ns = after.offset_ns - before.offset_ns;
	out->lower_ns = after.lower_ns - before.upper_ns - moved;
	out->upper_ns = after.upper_ns - before.lower_ns + moved;
	return out->lower_ns > 0 || out->upper_ns < 0;
}

void vo_step_fill(const struct vo_step *s, struct vns_vo_event *e)
{
	e->at_ns = s->at_ns;
	e->within_ns = s->gap_ns;
	e->by_ns = s->by_ns;
	e->lower_ns = s->lower_ns;
	e->upper_ns = s->upper_ns;
}

/* Down (up) to a whole number of @unit_ns, in seconds. */
static double down_s(double ns, double unit_ns)
{
	return floor(ns / unit_ns) * unit_ns * SECONDS;
}

static double up_s(double ns, double unit_ns)
{
	return ceil(ns / unit_ns) * unit_ns * SECONDS;
}

const char *vo_step_words(const struct vo_step *s, char *to, size_t size)
{
	snprintf(to, size, "a clock stepped within the %.3f s from here: the guest's is %.6f s (%.6f to %.6f) further %s "
		 "the host's than before", up_s((double)s->gap_ns, MS), fabs(s->by_ns) * SECONDS,
		 down_s(fmin(fabs(s->lower_ns), fabs(s->upper_ns)), US),
		 up_s(fmax(fabs(s->lower_ns), fabs(s->upper_ns)), US), s->by_ns > 0 ? "ahead of" : "behind");
	return to;
}

const char *vo_step_live_words(const struct vo_step *s, char *to, size_t size)
{
	snprintf(to, size, "The guest's clock stepped by %+.6f s (%+.6f to %+.6f) within the %.3f s from here.",
		 s->by_ns * SECONDS, down_s(s->lower_ns, US), up_s(s->upper_ns, US), up_s((double)s->gap_ns, MS));
	return to;
}

const char *vo_step_still_words(const struct vo_step *s, char *to, size_t size)
{
	snprintf(to, size, "The guest stood still for about %.3f s (%.3f to %.3f) within the %.3f s from here (paused, saved "
		 "and restored, or migrated) and its clock fell behind by that.", -s->by_ns * SECONDS,
		 down_s(fmax(0, -s->upper_ns), MS), up_s(-s->lower_ns, MS), up_s((double)s->gap_ns, MS));
	return to;
}

void vo_steps_to_events(const struct vns_clock *clock, struct vns_vo_target *t)
{
	struct vo_step step;
	size_t n = 0;

	if (t->n_event || t->clock_mode != VNS_CLOCK_TRAFFIC)
		return; /* what is left of a step that was taken out is none of its own */
	vns_clock_pieces(clock, &n);
	for (size_t i = 0; i + 1 < n; i++) {
		struct vns_vo_event *e = &t->event[t->n_event];

		if (!vo_step_after(clock, i, &step))
			continue;
		if (t->n_event == VNS_VO_MAX_EVENTS) {
			t->events_left_out++;
			continue;
		}
		vo_step_fill(&step, e);
		snprintf(e->kind, sizeof(e->kind), "clock_step");
		vo_step_words(&step, e->text, sizeof(e->text));
		t->n_event++;
	}
}

void vo_pairing_steps(const struct vns_twin_step *step, size_t n, struct vns_vo_target *t)
{
	for (size_t i = 0; i < n && i < VNS_TWIN_STEPS; i++) {
		struct vns_vo_event *e = &t->event[t->n_event++];

		e->at_ns = step[i].host_ns;
		snprintf(e->kind, sizeof(e->kind), "clock_step");
		snprintf(e->text, sizeof(e->text), "a clock stepped: the guest's is %.6f s further %s the host's than "
			 "before, to within the latencies", fabs((double)step[i].by_ns) * SECONDS,
			 step[i].by_ns > 0 ? "ahead of" : "behind");
	}
	t->events_left_out = n > VNS_TWIN_STEPS ? n - VNS_TWIN_STEPS : 0;
}

int64_t vo_before_steps(const struct vns_twin_step *step, size_t n, int64_t from_ns, int64_t to_ns)
{
	for (size_t i = 0; i < n; i++) {
		to_ns = step[i].since_ns < to_ns ? step[i].since_ns : to_ns;
		to_ns = step[i].host_ns < to_ns ? step[i].host_ns : to_ns;
	}
	return to_ns > from_ns ? from_ns + (to_ns - from_ns) / 2 : from_ns;
}
