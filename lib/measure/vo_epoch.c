// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Exchanges and raw samples of a run of any length -> windows with one clock relation each, figures.
 *
 * A sample is corrected by the relation of its own instant, which is known only once exchanges
 * after it are in. So samples wait, for WINDOW_NS or WINDOW_SAMPLES at most; then the
 * relation is solved, samples up to a little before the last exchange go to the figures, and the
 * window's last exchanges begin the next one, so that it is as narrow at its start.
 *
 * An epoch ends where the relation breaks: a guest that was paused and resumed, restored, rebooted, or
 * had its clock set. An exchange says offset in [T3-T4, T2-T1] (clock.h); the bounds before it,
 * widened by the fastest drift that the clock model allows, must overlap that, or the
 * clock has stepped or the exchange's stamps are wrong: the exchanges that follow decide (vo_doubt.c), and those
 * found wrong are left out and counted. When in between it stepped nobody can say, so samples after the last
 * exchange that fitted belong to no relation: they are counted, not used, and nothing of one
 * epoch is paired with anything of the other. A guest's packets that bear stamps of the future are
 * left out until then: taken for the old epoch they would end its window at the clock's new time, and
 * the host's packets of the gap would seem to be missing; so are all of them while it is in doubt whether there was a
 * step (vo_guest.c). Steps below STEP_NS are left to the estimator, which finds them by itself: they are told when
 * their window is closed (vo_steps.c). It leaves out wrong stamps as well (contradict.c), which are counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/vo_epoch.h"
#include "measure/vo_guest.h"
#include "measure/vo_steps.h"

#define STEP_NS        (5.0 * (double)VNS_NSEC_PER_MSEC) /* far below the twins' slack of 20 ms */
#define MODEL_PPM      500.0 /* the clock model's limit (clock.h) */
#define WINDOW_NS      (60 * VNS_NSEC_PER_SEC)
#define WINDOW_SAMPLES 131072 /* 4 MiB of each point: a second of bulk traffic, at least */
#define MARGIN_NS      (2 * VNS_NSEC_PER_SEC)  /* of exchanges behind the last sample corrected */
#define OVERLAP_NS     (20 * VNS_NSEC_PER_SEC) /* of exchanges taken over by the next window */
#define LATE_NS        (2 * VNS_NSEC_PER_SEC)  /* batches of the last epoch come no later */
#define EARLY_NS       (20 * VNS_NSEC_PER_MSEC) /* the offset may be known no better than that */
#define MOST_SOURCES   4   /* events of clock sources: one that goes to and fro leaves room for others */
#define STILL_SHARE    0.2 /* a step that makes up the silence to so much of it: it stood still */

struct vns_vo_event *vo_event(struct vo_subject *v, int64_t at_ns, const char *kind, const char *fmt, ...)
{
	struct vns_vo_event *e = &v->event[v->n_event];
	va_list ap;

	if (v->n_event == VNS_VO_MAX_EVENTS) {
		v->events_left_out++;
		return NULL;
	}
	v->n_event++;
	e->at_ns = at_ns;
	snprintf(e->kind, sizeof(e->kind), "%s", kind);
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return e;
}

void vo_event_clocks(struct vo_subject *v, int64_t at_ns)
{
	for (int i = 0; i < CLOCK_ENDS; i++) {
		const struct clock_said *said = &v->watch.said[i];
		struct vns_vo_event **e = &v->steered[i];
		char when[64];

		if (said->source[0] && v->source_events++ < MOST_SOURCES)
			vo_event(v, at_ns, "clock_changed", "%.230s", said->source);
		else if (said->source[0])
			v->events_left_out++;
		if (!said->rate[0])
			continue;
		if (*e) {
			snprintf(when, sizeof(when), " within the %.1f s from here", (double)(at_ns - (*e)->at_ns) / 1e9);
			clock_watch_rates(&v->watch, (enum clock_end)i, when, (*e)->text, sizeof((*e)->text));
			continue;
		}
		*e = vo_event(v, at_ns, "clock_changed", "%s", said->rate);
	}
}

/* The four stamps again: at_ns is the middle of t1 and t4. */
static struct vns_exchange exchange_of(const struct vns_clock_sample *s)
{
	struct vns_exchange x = { .t1_ns = s->at_ns - s->rtt_ns / 2 };

	x.t4_ns = x.t1_ns + s->rtt_ns;
	x.t2_ns = x.t1_ns + (int64_t)s->upper_ns;
	x.t3_ns = x.t4_ns + (int64_t)s->lower_ns;
	return x;
}

/* A clock of @v's mode with the exchanges [from, to) of the present one; without those @wrong, counted from v->seen. */
static int clock_from(const struct vo_subject *v, size_t from, size_t to, uint32_t wrong, struct vns_clock **out)
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);
	int code = vns_clock_new(out, v->mode);

	if (!code)
		vns_clock_set_wander(*out, v->wander_ppm);
	for (size_t i = from; i < to && code >= 0; i++) {
		struct vns_exchange x = exchange_of(&s[i]);

		if (i >= v->seen && i - v->seen < VO_DOUBT_MOST && (wrong & 1u << (i - v->seen)))
			continue;
		code = vns_clock_add(*out, &x);
	}
	return code < 0 ? code : 0;
}

static void take_clock(struct vo_subject *v, struct vns_clock *clock)
{
	vns_clock_free(v->clock);
	v->clock = clock;
	vns_clock_samples(clock, &v->seen);
	if (v->gather)
		vns_gather_set_clock(v->gather, clock);
}

/* Samples later than @limit_ns belong to no relation. */
static void leave_out(struct vo_pair *p, int64_t limit_ns)
{
	size_t keep = 0;

	for (size_t i = 0; i < p->samples.n; i++)
		if (p->samples.at[i].host_ns <= limit_ns)
			p->samples.at[keep++] = p->samples.at[i];
	p->unrelated += p->samples.n - keep;
	p->samples.n = keep;
}

/* Samples up to @limit_ns to the figures; the others wait for the next window. */
static void tally_pair(struct vo_pair *p, const struct vns_clock *clock, int64_t limit_ns, bool apart)
{
	struct vns_vo_samples *s = &p->samples;
	size_t n = 0;

	vns_vo_samples_sort(s);
	vns_vo_tally_set_clock(&p->tally, clock, false);
	for (; n < s->n && s->at[n].host_ns <= limit_ns; n++) {
		p->late += s->at[n].host_ns < p->tallied_ns; /* a window that is closed was its place */
		vns_vo_tally_add(&p->tally, &s->at[n]);
	}
	if (n && s->at[n - 1].host_ns > p->tallied_ns)
		p->tallied_ns = s->at[n - 1].host_ns;
	vns_vo_tally_flush(&p->tally); /* @clock ends with its window */
	if (apart)
		vns_vo_tally_set_clock(&p->tally, clock, true);
	if (n)
		memmove(s->at, s->at + n, (s->n - n) * sizeof(*s->at));
	s->n -= n;
}

/* Exchanges that the window's relation left out; at the epoch's end (@last) some may tell of a step as well. */
static void count_contradictions(struct vo_subject *v, int64_t limit_ns, bool last)
{
	uint64_t wrong, open, found = 0;
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);

	vns_clock_contradictions(v->clock, &wrong, &open);
	for (size_t i = 0; i < n; i++)
		found += s[i].contradicts && s[i].at_ns > v->counted_ns && (last || s[i].at_ns <= limit_ns);
	if (n)
		v->counted_ns = last || s[n - 1].at_ns < limit_ns ? s[n - 1].at_ns : limit_ns;
	open = !last ? 0 : open < found ? open : found;
	v->undecided += open;
	v->contradicting += found - open;
}

static void tell(struct vo_subject *v, const char *kind, const struct vo_step *step, const char *text)
{
	struct vns_vo_event *e = vo_event(v, step->at_ns, kind, "%s", text);

	if (e)
		vo_step_fill(step, e);
}

/* Small steps within the window; the one after it begins with a part of it. */
static void tell_steps(struct vo_subject *v)
{
	struct vo_step step;
	char text[VO_STEP_LEN];
	size_t n;

	vns_clock_pieces(v->clock, &n);
	for (size_t i = 0; i + 1 < n; i++) {
		if (!vo_step_after(v->clock, i, &step) || step.at_ns < v->step_told_ns)
			continue;
		tell(v, "clock_step", &step, vo_step_live_words(&step, text, sizeof(text)));
		v->step_told_ns = step.at_ns + step.gap_ns;
	}
}

/* Solve the window's relation and correct what it covers. */
static int close_window(struct vo_subject *v, int64_t limit_ns, bool apart)
{
	uint64_t used, refused;
	int code = 0;

	for (size_t i = 0; i < v->n_pair && apart; i++)
		if (v->pair[i].b == VO_GUEST)
			leave_out(&v->pair[i], limit_ns);
	code = vns_vo_bound_clock(&v->pair[v->s->n_point - 1].samples, v->clock);
	if (!code)
		code = vns_clock_solve(v->clock);
	if (code)
		return code;
	vns_clock_bound_counts(v->clock, &used, &refused);
	v->bounds_refused += refused;
	count_contradictions(v, limit_ns, apart || limit_ns == INT64_MAX);
	tell_steps(v);
	if (vns_clock_rate(v->clock) > v->rate)
		v->rate = vns_clock_rate(v->clock);
	for (size_t i = 0; i < v->n_pair; i++)
		if (v->pair[i].b == VO_GUEST)
			tally_pair(&v->pair[i], v->clock, limit_ns, apart);
	return 0;
}

/* Where the window's middle is and what its relation says there, for the reader. */
static void remember(struct vo_subject *v, int64_t from_ns, int64_t to_ns)
{
	vns_clock_eval(v->clock, from_ns + (to_ns - from_ns) / 2, &v->at_middle);
}

/* What both ends saw is sure up to @host_ns only: stamps of after a step may be taken for later ones of before it. */
static void end_twins_at(struct vo_subject *v, int64_t host_ns, const struct vo_bounds *offset)
{
	for (size_t i = 0; i < v->n_pair; i++) {
		struct vo_pair *p = &v->pair[i];

		if (p->b != VO_GUEST || !p->twin)
			continue;
		vns_twin_end_at(p->twin, VNS_POINT_A, host_ns);
		vns_twin_end_at(p->twin, VNS_POINT_B, host_ns + (int64_t)offset->lower_ns);
	}
}

static void finish_twins(struct vo_subject *v)
{
	for (size_t i = 0; i < v->n_pair; i++) {
		struct vo_pair *p = &v->pair[i];

		if (p->b == VO_GUEST)
			vo_pair_hand_over(p);
	}
}

static int begin_twins(struct vo_subject *v, int64_t coarse_ns, struct vns_err *err)
{
	int code = 0;

	for (size_t i = 0; i < v->n_pair && !code; i++)
		if (v->pair[i].b == VO_GUEST)
			code = vo_pair_begin(&v->pair[i], coarse_ns, err);
	return code;
}

/*
 * What exchanges from @i on, but those @wrong, say together of the offset, at the last of them. The first alone may say
 * little: one that was under way while the guest stood still spans all of that.
 */
static struct vo_bounds bounds_from(const struct vo_subject *v, size_t i, uint32_t wrong)
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);
	struct vo_bounds b = { s[i].lower_ns, s[i].upper_ns, s[i].at_ns };

	for (size_t k = i + 1; k < n; k++) {
		bool is_wrong = k - v->seen < VO_DOUBT_MOST && wrong & 1u << (k - v->seen);

		if (!is_wrong && vo_bounds_meet(&b, &s[k], 0))
			vo_bounds_take(&b, &s[k]);
	}
	return b;
}

/*
 * What exchanges before @i, but those @wrong, say of the offset before a step to @now: up to the last of them that does not
 * fit @now too, as one that was slower than the step is large does, which may be of after it. @since_ns: when that began.
 */
static struct vo_bounds bounds_until(const struct vo_subject *v, size_t i, uint32_t wrong, const struct vo_bounds *now,
				     int64_t *since_ns)
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);
	struct vo_bounds b = v->in;

	while (i > 1 && ((i > v->seen && wrong & 1u << (i - 1 - v->seen)) || vo_bounds_meet(now, &s[i - 1], 0)))
		i--;
	for (size_t k = 0; k < i; k++) {
		if (k >= v->seen && wrong & 1u << (k - v->seen))
			continue;
		if (k == 0)
			b = (struct vo_bounds){ s[k].lower_ns, s[k].upper_ns, s[k].at_ns };
		vo_bounds_take(&b, &s[k]);
	}
	if (i && s[i - 1].at_ns - s[i - 1].rtt_ns / 2 < v->last_fit_ns)
		*since_ns = s[i - 1].at_ns - s[i - 1].rtt_ns / 2;
	else
		*since_ns = v->last_fit_ns;
	return b;
}

/* From @old to @now, within @gap_ns from @since_ns. */
static void tell_step(struct vo_subject *v, const struct vo_bounds *old, const struct vo_bounds *now, int64_t since_ns,
		      int64_t gap_ns)
{
	double drift = fabs((double)(now->at_ns - old->at_ns)) * MODEL_PPM * 1e-6;
	const struct vo_step step = {
		.at_ns = since_ns, .gap_ns = gap_ns,
		.by_ns = (now->lower_ns + now->upper_ns) / 2 - (old->lower_ns + old->upper_ns) / 2,
		.lower_ns = now->lower_ns - old->upper_ns - drift, .upper_ns = now->upper_ns - old->lower_ns + drift
	};
	char text[VO_STEP_LEN];

	if (step.by_ns < 0 && -step.by_ns <= (double)gap_ns && -step.by_ns >= STILL_SHARE * (double)gap_ns)
		tell(v, "stood_still", &step, vo_step_still_words(&step, text, sizeof(text)));
	else
		tell(v, "clock_step", &step, vo_step_live_words(&step, text, sizeof(text)));
}

/* The clock stepped before exchange @d->at ended, counted from the first that was in doubt. */
static int step(struct vo_subject *v, const struct vo_doubt *d, struct vns_err *err)
{
	size_t n, i = v->seen + d->at;
	const struct vns_clock_sample s = vns_clock_samples(v->clock, &n)[i];
	const struct vo_bounds now = bounds_from(v, i, d->wrong);
	int64_t since_ns;
	const struct vo_bounds old = bounds_until(v, i, d->wrong, &now, &since_ns);
	double offset = (now.lower_ns + now.upper_ns) / 2, by = offset - (old.lower_ns + old.upper_ns) / 2;
	int64_t gap_ns = s.at_ns + s.rtt_ns / 2 - since_ns;
	struct vns_clock *before = NULL, *after = NULL;
	int code = clock_from(v, 0, i, d->wrong, &before);

	if (!code)
		code = clock_from(v, i, n, d->wrong, &after);
	if (code) {
		vns_clock_free(before);
		vns_clock_free(after);
		return vns_err_set(err, code, "out of memory");
	}
	tell_step(v, &old, &now, since_ns, gap_ns);
	end_twins_at(v, since_ns, &old);
	finish_twins(v);
	take_clock(v, before);
	code = close_window(v, since_ns, true);
	take_clock(v, after);
	v->seen = 0;
	v->known = false;
	v->epoch_from_ns = v->window_from_ns = s.at_ns;
	v->epoch_told_ns = vns_now_ns();
	v->epoch_guest_ns = s.at_ns + (int64_t)s.offset_ns;
	v->epoch_back_ns = by < 0 && -by > (double)gap_ns ? (int64_t)-by : 0;
	return code ? code : begin_twins(v, (int64_t)offset, err);
}

/*
 * Does @s fit what is known of the offset? It is added to that, or begins it anew after a small step: unless it is so wide
 * that there may as well be a large step in it (one that was asked for just after the guest was paused).
 */
static bool fits(struct vo_subject *v, const struct vns_clock_sample *s)
{
	if (v->known && !vo_bounds_meet(&v->in, s, STEP_NS))
		return false;
	if (v->known && !vo_bounds_meet(&v->in, s, 0) && s->upper_ns - s->lower_ns > STEP_NS)
		return true;
	if (!v->known)
		v->in = (struct vo_bounds){ s->lower_ns, s->upper_ns, s->at_ns };
	vo_bounds_take(&v->in, s);
	v->known = true;
	v->last_fit_ns = s->at_ns - s->rtt_ns / 2; /* one that was under way over a step still fits */
	return true;
}

/* A long window, or a full one: correct what is old enough and go over into the next. */
static int roll(struct vo_subject *v)
{
	const struct vo_pair *inner = &v->pair[v->s->n_point - 1];
	int64_t now_ns = vns_now_ns(), to_ns = v->mode == VNS_CLOCK_SAME ? now_ns : v->last_fit_ns;
	const struct vns_clock_sample *s;
	struct vns_clock *next;
	size_t n, from = 0;
	int code;

	if (!v->paired || (inner->samples.n < WINDOW_SAMPLES && now_ns - v->window_from_ns < WINDOW_NS))
		return 0;
	to_ns = to_ns - MARGIN_NS > v->window_from_ns ? to_ns - MARGIN_NS : to_ns;
	if (inner->samples.n >= 4 * WINDOW_SAMPLES)
		to_ns = now_ns; /* no exchange comes back: memory counts more than a narrow interval */
	code = close_window(v, to_ns, false);
	remember(v, v->window_from_ns, to_ns);
	v->window_from_ns = to_ns;
	if (code || v->mode == VNS_CLOCK_SAME)
		return code;
	s = vns_clock_samples(v->clock, &n);
	while (from + 1 < n && s[from].at_ns < to_ns - OVERLAP_NS)
		from++;
	code = clock_from(v, from, n, 0, &next);
	if (!code)
		take_clock(v, next);
	return code;
}

/* The relation holds on: exchanges that do not fit it are taken out. */
static int reject(struct vo_subject *v, const struct vo_doubt *d, struct vns_err *err)
{
	struct vns_clock *without = NULL;
	size_t n, seen = v->seen;
	int code;

	vns_clock_samples(v->clock, &n);
	code = clock_from(v, 0, n, d->wrong, &without);
	if (code)
		return vns_err_set(err, code, "out of memory");
	take_clock(v, without);
	v->seen = seen;
	return 0;
}

/* The first exchange not yet seen does not fit. Return: 1 it is too early to say why, 0, -errno. */
static int decide(struct vo_subject *v, struct vns_err *err)
{
	struct vo_doubt d = { 0 };
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);
	enum vo_verdict verdict = vo_doubt_judge(&v->in, STEP_NS, s + v->seen, n - v->seen, &d);
	int code;

	v->doubting = verdict == VO_DOUBT_OPEN;
	if (v->doubting)
		return 1;
	code = verdict == VO_DOUBT_STEP ? step(v, &d, err) : reject(v, &d, err);
	if (code)
		return code;
	v->contradicting += (uint64_t)__builtin_popcount(d.wrong);
	vo_guest_release(v);
	return 0;
}

/* Nothing will decide any more: exchanges in doubt count for no epoch, nor do packets that came since. Return: 1 there were */
static int give_up(struct vo_subject *v)
{
	struct vns_clock *without = NULL;
	size_t n;
	int code;

	if (!v->doubting)
		return 0;
	vns_clock_samples(v->clock, &n);
	v->undecided += n - v->seen;
	code = clock_from(v, 0, v->seen, 0, &without);
	if (!code)
		take_clock(v, without);
	vo_guest_drop(v);
	v->doubting = false;
	return code ? code : 1;
}

int vo_epoch_check(struct vo_subject *v, struct vns_err *err)
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(v->clock, &n);
	int code = 0;

	while (v->seen < n && !code) {
		if (fits(v, &s[v->seen])) {
			v->seen++;
		} else if (!v->paired) {
			v->known = false; /* before the traffic: the estimator takes both */
			v->seen++;
		} else {
			code = decide(v, err);
			s = vns_clock_samples(v->clock, &n);
		}
	}
	return code < 0 ? code : code ? 0 : roll(v);
}

int vo_epoch_renew(struct vo_subject *v, size_t k, struct vns_err *err)
{
	struct vns_clock_at at = { 0 };
	int code = 0;

	if (vns_clock_solve(v->clock) || vns_clock_eval(v->clock, vns_now_ns(), &at))
		at = v->preliminary;
	for (size_t i = 0; i < v->n_pair && !code; i++) {
		struct vo_pair *p = &v->pair[i];

		if (!p->twin || (k != SIZE_MAX && p->a != k && p->b != k))
			continue;
		vo_pair_hand_over(p);
		code = vo_pair_begin(p, p->b == VO_GUEST ? (int64_t)at.offset_ns : 0, err);
	}
	return code;
}

int vo_epoch_end(struct vo_subject *v, struct vns_err *err)
{
	struct vns_clock *next = NULL;
	int code;

	code = give_up(v);
	if (code < 0)
		return vns_err_set(err, code, "out of memory");
	if (v->paired)
		finish_twins(v);
	v->paired = false;
	code = close_window(v, v->mode == VNS_CLOCK_SAME ? vns_now_ns() : v->last_fit_ns, true);
	remember(v, v->window_from_ns, v->last_fit_ns);
	if (!code && v->mode != VNS_CLOCK_SAME)
		code = clock_from(v, 0, 0, 0, &next);
	if (next)
		take_clock(v, next);
	v->known = false;
	return code ? vns_err_set(err, code, "out of memory") : 0;
}

int vo_epoch_forget(struct vo_subject *v, struct vns_err *err)
{
	struct vns_clock *empty = NULL;
	int code = clock_from(v, 0, 0, 0, &empty);

	if (code)
		return vns_err_set(err, code, "out of memory");
	take_clock(v, empty);
	v->known = false;
	return 0;
}

int vo_epoch_begin(struct vo_subject *v, struct vns_err *err)
{
	struct vns_clock_at at;
	int code = vns_clock_solve(v->clock);

	if (!code)
		code = vns_clock_eval(v->clock, vns_now_ns(), &at);
	if (code)
		return vns_err_set(err, -ENODATA, "%s: no clock exchange (mode %s) came back, so its clock "
				   "is unknown", v->s->name, vns_clock_mode_name(v->mode));
	v->epoch_from_ns = v->epoch_told_ns = v->window_from_ns = vns_now_ns();
	v->epoch_guest_ns = v->epoch_from_ns + (int64_t)at.offset_ns;
	v->epoch_back_ns = 0;
	if (v->last_fit_ns == 0)
		v->last_fit_ns = v->epoch_from_ns;
	code = begin_twins(v, (int64_t)at.offset_ns, err);
	v->paired = !code;
	return code;
}

int vo_epoch_finish(struct vo_subject *v)
{
	int undecided = give_up(v), code = 0;
	int64_t last_ns;

	for (size_t i = 0; i < v->n_pair; i++)
		vo_pair_finish(&v->pair[i]);
	last_ns = v->run->to_ns > v->window_from_ns ? v->run->to_ns : v->window_from_ns;
	if (undecided < 0)
		return undecided;
	if (v->paired)
		code = undecided ? close_window(v, v->last_fit_ns, true) : close_window(v, INT64_MAX, false);
	if (v->paired && !code)
		remember(v, v->window_from_ns, last_ns);
	for (size_t i = 0; i < v->n_pair; i++) {
		struct vo_pair *p = &v->pair[i];

		if (p->tallying)
			vns_vo_tally_fini(&p->tally);
		p->tallying = false;
	}
	return code;
}

bool vo_epoch_is_ahead(const struct vo_subject *v, int64_t guest_ns, int64_t now_ns)
{
	double upper;

	if (!v->known)
		return false;
	upper = v->in.upper_ns + fabs((double)(now_ns - v->in.at_ns)) * MODEL_PPM * 1e-6;
	return (double)(guest_ns - now_ns) > upper + (double)EARLY_NS;
}

enum vo_epoch vo_epoch_of(const struct vo_subject *v, int64_t guest_ns)
{
	int64_t now_ns = vns_now_ns(), age_ns = now_ns - v->epoch_from_ns;

	if (vo_epoch_is_ahead(v, guest_ns, now_ns))
		return VO_EPOCH_AHEAD;
	if (!v->paired)
		return VO_EPOCH_BEFORE;
	if (now_ns - v->epoch_told_ns > LATE_NS)
		return VO_EPOCH_THIS;
	return guest_ns >= v->epoch_guest_ns - EARLY_NS &&
	       (!v->epoch_back_ns || guest_ns < v->epoch_guest_ns + age_ns + v->epoch_back_ns / 2) ?
		       VO_EPOCH_THIS : VO_EPOCH_BEFORE;
}
