// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A report's results -> what went wrong and what else limits its figures, as sentences: parts that ended
 * early, packets that a capture lost, events, notes, and a clock that the run knows far less well than
 * the clock measurement before it. Nothing is judged anew: each is said by the results themselves.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include <vnetscope/output.h>
#include "report/report.h"

#define SENTENCE   768
#define NOTE       (sizeof(((struct vns_vo_target *)0)->note) + SENTENCE)
#define MOST_EVENTS 5 /* of a machine; more are counted here and listed in the JSON */
#define FAR_WIDER  10 /* times the clock measurement's interval: worth a word */

struct remarks {
	void (*line)(void *ctx, const char *sentence);
	void *ctx;
	size_t n;
};

static void say(struct remarks *m, const char *sentence)
{
	m->line(m->ctx, sentence);
	m->n++;
}

static void say_text(struct remarks *m, const char *name, const char *what, const char *text)
{
	char s[NOTE];

	if (!text[0])
		return;
	snprintf(s, sizeof(s), "%s%s: %s", name, what, text);
	say(m, s);
}

static void say_lost(struct remarks *m, const struct vns_report_vm *vm)
{
	char s[SENTENCE], a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	for (int p = 0; p < 2; p++) {
		if (!vm->vo->capture_lost[p])
			continue;
		snprintf(s, sizeof(s), "%s: the capture %s lost %s packets (%s were read): what they would "
			 "show is in no figure.", vm->name, p == VNS_POINT_A ? "on the host" : "in the guest",
			 vns_text_count(a, vm->vo->capture_lost[p]), vns_text_count(b, vm->vo->counts[p].read));
		say(m, s);
	}
}

static void say_events(struct remarks *m, const struct vns_report_vm *vm)
{
	const struct vns_vo_target *t = vm->vo;
	char s[SENTENCE], when[32] = "", a[VNS_TEXT_LEN];
	size_t shown = t->n_event < MOST_EVENTS ? t->n_event : MOST_EVENTS;
	size_t more = t->n_event - shown + t->events_left_out;

	for (size_t i = 0; i < shown; i++) {
		time_t sec = (time_t)(t->event[i].at_ns / VNS_NSEC_PER_SEC);
		struct tm tm;

		if (gmtime_r(&sec, &tm))
			strftime(when, sizeof(when), "%H:%M:%S UTC", &tm);
		snprintf(s, sizeof(s), "%s, at %s: %s", vm->name, when, t->event[i].text);
		say(m, s);
	}
	if (more) {
		snprintf(s, sizeof(s), "%s: and %zu more such events (the JSON lists %zu of %zu).", vm->name, more,
			 t->n_event, t->n_event + t->events_left_out);
		say(m, s);
	}
	if (t->unrelated) {
		snprintf(s, sizeof(s), "%s: %s matched packets fell into an interval in which the clocks' relation "
			 "changed; they are in no figure.", vm->name, vns_text_count(a, t->unrelated));
		say(m, s);
	}
}

/* The run relates the clock anew: why its interval may be another than the one of the clock table. */
static void say_wider(struct remarks *m, const struct vns_report_vm *vm)
{
	const struct vns_clock_at *before = &vm->drift->at, *run = &vm->vo->clock;
	double w = before->upper_ns - before->lower_ns, wide = run->upper_ns - run->lower_ns;
	char s[SENTENCE], a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	if (vm->drift->mode == VNS_CLOCK_SAME || !(wide > FAR_WIDER * w))
		return;
	snprintf(s, sizeof(s), "%s: while the traffic was captured its clock's interval is %s wide, %s in the clock "
		 "measurement before: only the exchanges made meanwhile bound it, and these were fewer or "
		 "slower, or its rate seemed to change.", vm->name,
		 isfinite(wide) ? vns_text_ns(a, wide) : "no bound", vns_text_ns(b, w));
	say(m, s);
}

size_t vns_report_remarks(const struct vns_report *r, void (*line)(void *ctx, const char *sentence),
			  void *ctx)
{
	struct remarks m = { line, ctx, 0 };

	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_report_vm *vm = &r->vm[i];

		if (vm->drift) {
			say_text(&m, vm->name, ", clock measurement", vm->drift->ended_early);
			say_text(&m, vm->name, ", clock measurement", vm->drift->note);
		}
		if (!vm->vo)
			continue;
		if (vm->vo->ended_early[0]) /* "vm2 ended early: ..." */
			say(&m, vm->vo->ended_early);
		say_lost(&m, vm);
		say_events(&m, vm);
		say_text(&m, vm->name, "", vm->vo->note);
		if (vm->drift)
			say_wider(&m, vm);
	}
	return m.n;
}

bool vns_report_is_whole(const struct vns_report *r)
{
	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_report_vm *vm = &r->vm[i];

		if (!vm->vo || vm->vo->ended_early[0] || (vm->drift && vm->drift->ended_early[0]) ||
		    !vm->vo->counts[VNS_POINT_B].in_class[VNS_TWIN_MATCHED])
			return false;
	}
	return true;
}
