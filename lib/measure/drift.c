// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Drift Analyser: clock exchanges of one subject by one or several modes in the same time
 * span -> solved clock relations (thesis 3.4.1).
 *
 * Mode exchange stamps ICMP echo at the host point nearest to the guest and in the guest;
 * both captures are open only if that mode is asked for. Modes take turns in every round, so
 * that their relations can be compared at one instant.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/clock_watch.h"
#include "measure/drift_pace.h"
#include "measure/gather.h"
#include "measure/note.h"

#define INTERVAL_NS       (20 * VNS_NSEC_PER_MSEC)
#define LAST_WAIT_NS      VNS_NSEC_PER_SEC /* at least, for replies to the last echo requests */
#define CAPTURE_ID        2
#define SNAPLEN           128
#define BATCH             64

struct drift_run {
	const struct vns_subject *s;
	const struct vns_drift_opts *opts;
	struct vns_gather *gather[VNS_DRIFT_MAX_MODES];
	struct vns_drift_result *out;
	size_t n;
	int64_t elapsed_ns;
	struct drift_pace pace;
	struct vns_gather *echo;    /* the one of mode exchange, or NULL */
	struct vns_source *host;    /* captures for it */
	bool guest_capture;
	struct clock_watch watch;
	int64_t looked_ns, look_gap_ns; /* at both kernels' clocks, monotonic, and until the next look */
	char changed[800], steered[CLOCK_WORDS]; /* of the kernels' clocks, meanwhile, and what steers them */
};

static void from_agent(void *ctx, uint32_t capture_id, const struct vns_packet *pkts, size_t n,
		       uint64_t dropped, int64_t now_ns)
{
	struct drift_run *r = ctx;

	(void)capture_id;
	(void)dropped; /* a lost stamp is an exchange that never completes */
	(void)now_ns;
	for (size_t i = 0; i < n; i++)
		vns_gather_packet(r->echo, VNS_POINT_B, &pkts[i]);
}

static int open_captures(struct drift_run *r, struct vns_err *err)
{
	const struct vns_subject *s = r->s;
	const struct vns_agent_sink sink = { .packets = from_agent, .ctx = r };
	struct vns_bpf_insn *insns = NULL;
	char expr[128];
	struct vns_source_opts o = { .filter = expr, .snaplen = SNAPLEN, .timeout_ms = 1,
				     .netns_fd = s->host_netns_fd };
	int code, n;

	vns_gather_filter(s, expr, sizeof(expr));
	code = vns_source_open_live(&r->host, s->point[s->n_point - 1].ifname, &o, err);
	if (code)
		return code;
	n = vns_filter_compile(expr, VNS_LINK_ETHERNET, SNAPLEN, &insns, err);
	if (n < 0)
		return n;
	vns_agent_set_sink(s->agent, &sink);
	code = vns_agent_capture_start(s->agent, CAPTURE_ID, s->guest_ifname, insns, (size_t)n, SNAPLEN,
				       err);
	free(insns);
	r->guest_capture = !code;
	return code;
}

static void close_captures(struct drift_run *r)
{
	if (r->guest_capture)
		vns_agent_capture_stop(r->s->agent, CAPTURE_ID, NULL);
	vns_agent_set_sink(r->s->agent, NULL);
	if (r->host)
		vns_source_close(r->host);
}

static int open_mode(struct drift_run *r, enum vns_clock_mode mode, struct vns_err *err)
{
	struct vns_drift_result *d = &r->out[r->n];
	int code;

	*d = (struct vns_drift_result){ .mode = mode, .tcg = r->s->tcg,
					 .assume_symmetric = r->opts->assume_symmetric };
	snprintf(d->target, sizeof(d->target), "%s", r->s->name);
	code = vns_clock_new(&d->clock, mode);
	if (code)
		return vns_err_set(err, code, "out of memory");
	vns_clock_set_wander(d->clock, fmax(0, r->opts->wander_ppm));
	r->n++;
	if (mode == VNS_CLOCK_SAME && r->s->same_clock)
		return vns_clock_set_fixed(d->clock, vns_now_ns(), 0, 0, 0);
	code = vns_gather_open(&r->gather[r->n - 1], r->s, mode, d->clock, NULL, err);
	if (!code && !r->opts->duration_ns)
		vns_gather_limit(r->gather[r->n - 1], r->opts->count);
	if (!code && mode == VNS_CLOCK_EXCHANGE)
		r->echo = r->gather[r->n - 1];
	return code;
}

static int open_all(struct drift_run *r, struct vns_err *err)
{
	int code = 0;

	if (r->opts->n_mode == 0)
		code = open_mode(r, vns_gather_best_mode(r->s), err);
	for (size_t i = 0; i < r->opts->n_mode && !code; i++)
		code = open_mode(r, r->opts->mode[i], err);
	if (!code && r->echo)
		code = open_captures(r, err);
	return code;
}

/* Read what both ends' captures have, for up to @wait_ns. */
static int pump(struct drift_run *r, int64_t wait_ns, struct vns_err *err)
{
	int64_t until = vns_monotonic_ns() + wait_ns;
	struct vns_packet pkts[BATCH];
	int n;

	if (!r->echo) {
		vns_sleep_ns(wait_ns);
		return 0;
	}
	do {
		n = vns_agent_poll(r->s->agent, 1, err);
		if (n < 0)
			return n;
		while ((n = vns_source_next(r->host, pkts, BATCH, err)) > 0)
			for (int i = 0; i < n; i++)
				vns_gather_packet(r->echo, VNS_POINT_A, &pkts[i]);
		if (n < 0)
			return n;
	} while (vns_monotonic_ns() < until);
	return 0;
}

static uint64_t exchanges(const struct vns_drift_result *d)
{
	size_t n = 0;

	vns_clock_samples(d->clock, &n);
	return n;
}

/* One round: an exchange of every mode. */
static int round_of(struct drift_run *r, struct vns_err *err)
{
	int code = 0;

	for (size_t i = 0; i < r->n && !code; i++)
		if (r->gather[i] && (r->opts->duration_ns || exchanges(&r->out[i]) < r->opts->count))
			code = vns_gather_burst(r->gather[i], 1, err);
	return code;
}

static int64_t interval(const struct vns_drift_opts *o)
{
	return o->interval_ns > 0 ? o->interval_ns : INTERVAL_NS;
}

/* Replies of all modes so far; of echo requests also those that were not wanted any more. */
static uint64_t replies(const struct drift_run *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		if (r->gather[i])
			n += r->gather[i] == r->echo ? vns_gather_done(r->echo) : exchanges(&r->out[i]);
	return n;
}

static bool is_stopped(const struct drift_run *r)
{
	return r->opts->stop && *r->opts->stop;
}

static bool wanted_more(const struct drift_run *r)
{
	if (is_stopped(r))
		return false;
	if (r->opts->duration_ns)
		return vns_monotonic_ns() - r->pace.begin_ns < r->opts->duration_ns;
	for (size_t i = 0; i < r->n; i++)
		if (r->gather[i] && exchanges(&r->out[i]) < r->opts->count)
			return drift_pace_more(&r->pace);
	return false;
}

static void keep_change(struct drift_run *r, const char *sentence)
{
	size_t have = strlen(r->changed);

	if (sentence[0] && have + strlen(sentence) + 2 < sizeof(r->changed))
		snprintf(r->changed + have, sizeof(r->changed) - have, "%s%s", have ? " " : "", sentence);
}

/* Look at both kernels' clocks; changes of source are kept as long as there is room, rates are told in the end. */
static void look_at_clocks(struct drift_run *r)
{
	int64_t begin = vns_monotonic_ns();

	clock_watch_look(&r->watch, r->s->agent);
	for (int i = 0; i < CLOCK_ENDS; i++)
		keep_change(r, r->watch.said[i].source);
	r->looked_ns = vns_monotonic_ns();
	r->look_gap_ns = clock_look_gap(r->looked_ns - begin);
}

/* pump() for @wait_ns, and looks at the kernels' clocks when they are due meanwhile; a stop ends it. */
static int pump_and_look(struct drift_run *r, int64_t wait_ns, struct vns_err *err)
{
	int64_t until = vns_monotonic_ns() + wait_ns, left = wait_ns;
	int code;

	do {
		int64_t due = r->looked_ns + r->look_gap_ns - vns_monotonic_ns();

		if (due <= 0) {
			look_at_clocks(r);
			due = r->look_gap_ns;
		}
		code = pump(r, left < due ? left : due, err);
		left = until - vns_monotonic_ns();
	} while (!code && left > 0 && !is_stopped(r));
	return code;
}

/* pump_and_look(), and whether replies came. */
static int listen_for(struct drift_run *r, int64_t wait_ns, struct vns_err *err)
{
	int64_t looked = vns_monotonic_ns();
	int code = pump_and_look(r, wait_ns, err);

	drift_pace_look(&r->pace, looked, vns_monotonic_ns(), replies(r));
	return code;
}

/* Replies to the last echo requests: those under way are waited for while replies come. */
static int await_last(struct drift_run *r, struct vns_err *err)
{
	int64_t begin = vns_monotonic_ns();
	int code = 0;

	while (!code && r->echo && vns_gather_outstanding(r->echo) &&
	       (r->pace.looked_ns - begin < LAST_WAIT_NS || (!drift_pace_quiet(&r->pace) && !is_stopped(r))))
		code = listen_for(r, INTERVAL_NS, err);
	return code;
}

static int exchange_rounds(struct drift_run *r, struct vns_err *err)
{
	int64_t gap = interval(r->opts);
	int code = 0;

	drift_pace_begin(&r->pace, r->opts->count, gap, vns_monotonic_ns());
	while (!code && wanted_more(r)) {
		int64_t late = vns_monotonic_ns();

		code = round_of(r, err);
		late = vns_monotonic_ns() - late;
		if (!code) /* what a slow guest took is not waited again */
			code = listen_for(r, late < gap ? gap - late : 0, err);
		r->pace.rounds++;
		if (r->opts->progress)
			r->opts->progress(r->opts->ctx, exchanges(&r->out[0]), r->opts->count);
	}
	if (!code)
		code = await_last(r, err);
	r->elapsed_ns = vns_monotonic_ns() - r->pace.begin_ns;
	return code;
}

/* The last instant that lies inside every mode's span. */
static int64_t common_instant(const struct drift_run *r)
{
	int64_t at = vns_now_ns();

	for (size_t i = 0; i < r->n; i++) {
		size_t n = 0;
		const struct vns_clock_sample *s = vns_clock_samples(r->out[i].clock, &n);

		if (n && s[n - 1].at_ns < at)
			at = s[n - 1].at_ns;
	}
	return at;
}

static int solve_all(struct drift_run *r, struct vns_err *err)
{
	int64_t at = common_instant(r);

	for (size_t i = 0; i < r->n; i++) {
		struct vns_drift_result *d = &r->out[i];
		int code = vns_clock_solve(d->clock);

		if (!code)
			code = vns_clock_eval(d->clock, at, &d->at);
		if (code || (r->gather[i] && exchanges(d) == 0))
			return vns_err_set(err, -ENODATA, "%s: no clock exchange of mode %s came back in %.1f s",
					   d->target, vns_clock_mode_name(d->mode),
					   (double)r->elapsed_ns / 1e9);
		d->interrupted = is_stopped(r);
		if (!d->interrupted && r->gather[i] && !r->opts->duration_ns &&
		    exchanges(d) < r->opts->count)
			note_add(d->note, sizeof(d->note), "Only %zu of %zu exchanges came in %.0f s: the guest hardly "
				 "ran%s. The bound is as good as these allow; --duration gives it longer.",
				 (size_t)exchanges(d), r->opts->count, (double)r->elapsed_ns / 1e9,
				 d->mode == VNS_CLOCK_EXCHANGE ? ", or requests or replies were lost" : "");
		if (d->mode == VNS_CLOCK_EXCHANGE && vns_gather_sent(r->gather[i]) > vns_gather_done(r->gather[i]))
			d->lost = vns_gather_sent(r->gather[i]) - vns_gather_done(r->gather[i]);
		if (vns_clock_mode_shares_path(d->mode))
			note_add(d->note, sizeof(d->note), "The exchanges cross the path that vo measures: "
				 "an asymmetry of that path moves the offset anywhere within the bound.");
		if (r->steered[0] && r->gather[i])
			note_add(d->note, sizeof(d->note), "%s", r->steered);
		if (r->changed[0] && r->gather[i])
			note_add(d->note, sizeof(d->note), "%s", r->changed);
		if (r->gather[i] && vns_gather_changes(r->gather[i]))
			note_add(d->note, sizeof(d->note), "KVM's map of the guest's counter changed %llu times (a reset, a "
				 "migration, or the guest wrote it); what was read meanwhile is left out.",
				 (unsigned long long)vns_gather_changes(r->gather[i]));
		vns_drift_ways(d);
	}
	return 0;
}

/* What steers the kernels' clocks or changed is known of: the relation must allow for it. */
static void allow_for_changes(struct drift_run *r, bool lost)
{
	if (!lost)
		look_at_clocks(r);
	clock_watch_words(&r->watch, r->opts->wander_ppm, r->steered, sizeof(r->steered));
	for (int i = 0; i < CLOCK_ENDS; i++) {
		char rates[200];

		clock_watch_rates(&r->watch, (enum clock_end)i, "", rates, sizeof(rates));
		keep_change(r, rates);
	}
	for (size_t i = 0; i < r->n; i++)
		vns_clock_set_wander(r->out[i].clock, clock_watch_wander(&r->watch, r->opts->wander_ppm));
}

int vns_measure_drift(const struct vns_subject *s, const struct vns_drift_opts *opts,
		      struct vns_drift_result *out, struct vns_err *err)
{
	struct drift_run r = { .s = s, .opts = opts, .out = out };
	int code, lost;

	code = open_all(&r, err);
	if (!code)
		look_at_clocks(&r);
	lost = code ? 0 : exchange_rounds(&r, err); /* what came before a failure still counts */
	if (!code)
		allow_for_changes(&r, lost);
	if (!code) {
		struct vns_err solve_err = { "" };

		code = solve_all(&r, &solve_err);
		if (code && !lost && err)
			*err = solve_err;
		else if (code)
			code = lost ? lost : code;
	}
	if (!code && lost && err)
		for (size_t i = 0; i < r.n; i++)
			snprintf(out[i].ended_early, sizeof(out[i].ended_early), "%.255s", err->text);
	close_captures(&r);
	for (size_t i = 0; i < r.n; i++)
		vns_gather_close(r.gather[i]);
	for (size_t i = 0; code && i < r.n; i++)
		vns_drift_result_free(&out[i]);
	return code;
}
