// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Rows of the self-test: estimates beside truths that share nothing with them; see selftest_rows.h.
 *
 * Theory. Truth of a clock is the shared page's relation, whose exchanges take less than a
 * microsecond and do not cross the network (bounded itself: an interval), or 0 where both ends are
 * one kernel. Truth of a direction's delay is T2 - T1 - o(T1) with that o. An estimate is an interval that
 * claims to be certain, and so is the truth's: both hold the true value, so the estimate is refuted exactly
 * where the two have no value in common. (The truth's middle is a guess: on a busy machine its interval is as
 * wide as the page's exchanges are slow.) A truth that is not known better than the estimate
 * claims to know it would prove little: there is no row then.
 * Truth of a latency that the relay was put into is a range: no packet takes less than the least hold, and
 * the fastest no more than the lower quartiles of the holds and of what the same path took, a moment
 * before, with a relay that holds nothing (of LEAST_PACKETS some are below both; there is no row of
 * fewer), and what waking up after the hold costs. That is said of a machine that is as fast as it was a moment before. Whether it is,
 * the client's own clock tells, which no estimate uses: its fastest request took A = in + rest, before
 * A0 = in0 + rest0, so in <= (A - A0) + in0 as long as the rest has not become faster; the median of
 * the path's own is more than what a fastest request took. Where that is more than the range, the range goes up
 * to it. Where a busy machine makes the range wider than half of the delay it would prove little: there is no
 * row then. A figure without an interval must lie in the range.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiment/selftest_rows.h"

#define RATE_SLACK_PPM 0.1 /* the kernel's own rounding of a frequency, and the host's wander */
#define HIST_ERROR     1.01 /* of a histogram's quantile */
#define STEP_LEAST     16  /* exchanges on either side of a step: by twice as many as end a relation's doubt */
#define STEP_NEAR      8   /* of them are asked */
#define LEAST_PACKETS  100 /* a sixteenth is below both quartiles if these are independent: none of them, 1 in 600 */
#define COLD_NS        50e3 /* what waking up after the hold may cost: the default slack of a timer */

struct span {
	double lower, upper;
};

void selftest_run_fini(struct selftest_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		vns_drift_result_free(&run->r[i]);
	run->n = 0;
}

static struct vns_selftest_row *add_row(struct vns_selftest_result *out, const char *what,
					enum vns_clock_mode mode, char unit, double injected,
					struct span truth, double value, struct span est)
{
	struct vns_selftest_row *row = &out->row[out->n_row];

	if (out->n_row == VNS_SELFTEST_ROWS)
		return NULL;
	out->n_row++;
	*row = (struct vns_selftest_row){ .unit = unit, .injected = injected,
					  .truth_lower = truth.lower, .truth_upper = truth.upper,
					  .value = value, .lower = est.lower, .upper = est.upper };
	snprintf(row->what, sizeof(row->what), "%s", what);
	snprintf(row->mode, sizeof(row->mode), "%s", vns_clock_mode_name(mode));
	row->inside = est.lower <= truth.upper && est.upper >= truth.lower;
	return row;
}

/* The estimate's interval claims to be certain; @truth must be known better than it. */
static void add_certain(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
			char unit, double injected, struct span truth, double value, struct span est)
{
	if (truth.upper - truth.lower > est.upper - est.lower)
		out->vague++;
	else
		add_row(out, what, mode, unit, injected, truth, value, est);
}

/* The truth is a range made by @delay_ns, which was put into one direction; @within: @est is one value. */
static void add_delayed(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
			double injected, double delay_ns, struct span truth, double value, struct span est,
			bool within)
{
	struct vns_selftest_row *row;

	if (truth.upper - truth.lower > delay_ns / 2) {
		out->too_wide++;
		return;
	}
	row = add_row(out, what, mode, 'n', injected, truth, value, est);
	if (row)
		row->within = within;
}

void selftest_offsets(struct vns_selftest_result *out, const struct selftest_run *run,
		      const char *what)
{
	const struct vns_clock_at *t = &run->r[0].at;

	for (size_t i = 0; i < run->n; i++) {
		const struct vns_drift_result *d = &run->r[i];
		bool withheld = vns_drift_split(d) == VNS_SPLIT_WITHHELD;

		if (isnan(out->half_width_ns[d->mode]))
			out->half_width_ns[d->mode] = (d->at.upper_ns - d->at.lower_ns) / 2;
		if (i > 0)
			add_certain(out, what, d->mode, 'n', NAN, (struct span){ t->lower_ns, t->upper_ns },
				    withheld ? NAN : d->at.offset_ns,
				    (struct span){ d->at.lower_ns, d->at.upper_ns });
	}
}

/* The rate in the end: of the last piece whose exchanges are certain to belong to it. */
static bool rate(const struct vns_drift_result *d, double *value, struct span *feasible)
{
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(d->clock, &n);

	while (n > 1 && p[n - 1].undecided)
		n--;
	if (n == 0)
		return false;
	*value = p[n - 1].drift_ppm;
	*feasible = (struct span){ p[n - 1].drift_lower_ppm, p[n - 1].drift_upper_ppm };
	return true;
}

void selftest_rates(struct vns_selftest_result *out, const struct selftest_run *before,
		    const struct selftest_run *after, double ppm)
{
	struct span truth = { ppm - RATE_SLACK_PPM, ppm + RATE_SLACK_PPM }, a, b;
	double va, vb;

	/* the rate before is taken from the page, which knows it best */
	if (before->n == 0 || !rate(&before->r[0], &va, &a))
		return;
	for (size_t i = 0; i < after->n; i++)
		if (rate(&after->r[i], &vb, &b))
			add_certain(out, "change of the rate", after->r[i].mode, 'p', ppm, truth, vb - va,
				    (struct span){ b.lower - a.upper, b.upper - a.lower });
}

/* What @d's relation claims of a change between two exchanges, drift taken out; tighter into @size. */
static bool change_between(const struct vns_drift_result *d, int64_t from_ns, int64_t to_ns, double *value,
			   struct span *size)
{
	double gap = (double)(to_ns - from_ns) * 1e-6;
	struct vns_clock_at a, b;

	if (vns_clock_eval(d->clock, from_ns, &a) || vns_clock_eval(d->clock, to_ns, &b))
		return false;
	*value = b.offset_ns - a.offset_ns - gap * (a.drift_ppm + b.drift_ppm) / 2;
	size->lower = fmax(size->lower, b.lower_ns - a.upper_ns -
						gap * fmax(a.drift_upper_ppm, b.drift_upper_ppm));
	size->upper = fmin(size->upper, b.upper_ns - a.lower_ns -
						gap * fmin(a.drift_lower_ppm, b.drift_lower_ppm));
	return true;
}

/* The nearest exchanges before (@before) or after @at_ns into @near, the nearest first. Return: their number. */
static size_t nearest(const struct vns_drift_result *d, int64_t at_ns, bool before, int64_t near[STEP_NEAR],
		      size_t *all, double *fastest)
{
	size_t n, found = 0;
	const struct vns_clock_sample *s = vns_clock_samples(d->clock, &n);

	*all = 0;
	*fastest = INFINITY;
	for (size_t k = 0; k < n; k++) {
		const struct vns_clock_sample *x = &s[before ? n - 1 - k : k];
		int64_t half = x->rtt_ns / 2 + 1;

		if (x->contradicts || (before ? x->at_ns + half >= at_ns : x->at_ns - half <= at_ns))
			continue;
		if (found < STEP_NEAR)
			near[found++] = before ? x->at_ns - half : x->at_ns + half;
		*fastest = fmin(*fastest, (double)(x->rtt_ns - x->processing_ns));
		(*all)++;
	}
	return found;
}

void selftest_steps(struct vns_selftest_result *out, const struct selftest_run *run,
		    double step_ns, int64_t from_ns, int64_t to_ns)
{
	for (size_t i = 0; i < run->n; i++) {
		const struct vns_drift_result *d = &run->r[i];
		struct span size = { -INFINITY, INFINITY }, truth = { step_ns, step_ns };
		int64_t before[STEP_NEAR], after[STEP_NEAR];
		double value = NAN, other, fast[2];
		size_t n[2], all[2];

		n[0] = nearest(d, from_ns, true, before, &all[0], &fast[0]);
		n[1] = nearest(d, to_ns, false, after, &all[1], &fast[1]);
		/* what exchanges can hide is not tested by them */
		if (all[0] < STEP_LEAST || all[1] < STEP_LEAST || fast[0] + fast[1] > fabs(step_ns) / 2) {
			out->vague++;
			continue;
		}
		for (size_t a = 0; a < n[0]; a++)
			for (size_t b = 0; b < n[1]; b++)
				change_between(d, before[a], after[b], a || b ? &other : &value, &size);
		add_certain(out, "step", d->mode, 'n', step_ns, truth, value, size);
	}
}

/* Least delay of one direction of @d's exchanges by the truth's clock. */
static struct span true_floor(const struct vns_clock *truth, const struct vns_drift_result *d, int dir)
{
	struct span least = { INFINITY, INFINITY };
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(d->clock, &n);

	for (size_t i = 0; i < n; i++) {
		int64_t half = s[i].rtt_ns / 2;
		struct vns_clock_at at;

		/* those that the estimate is made of, also the last one, just after the truth's own last exchange */
		if (s[i].contradicts ||
		    vns_clock_eval(truth, dir == VNS_HOST_TO_GUEST ? s[i].at_ns - half : s[i].at_ns + half, &at))
			continue;
		if (dir == VNS_HOST_TO_GUEST) {
			least.lower = fmin(least.lower, s[i].upper_ns - at.upper_ns);
			least.upper = fmin(least.upper, s[i].upper_ns - at.lower_ns);
		} else {
			least.lower = fmin(least.lower, at.lower_ns - s[i].lower_ns);
			least.upper = fmin(least.upper, at.upper_ns - s[i].lower_ns);
		}
	}
	return least;
}

/*
 * The sum of both floors: no less than both of them, no more than the fastest exchange; they lie at different
 * instants, so one line's slope leaves no more of it open than it makes of the time between.
 */
static struct span floor_sum(const struct vns_drift_result *d)
{
	struct span feasible = { 0, 0 }, sum = { 0, d->floor_sum_upper_ns };
	double value = 0, open;
	size_t n, pieces;
	const struct vns_clock_sample *s = vns_clock_samples(d->clock, &n);

	for (int dir = 0; dir < VNS_DIRECTIONS; dir++)
		sum.lower += d->way[dir].floor_lower_ns;
	vns_clock_pieces(d->clock, &pieces);
	if (pieces != 1 || !rate(d, &value, &feasible) || n == 0)
		return sum;
	open = fmax(feasible.upper - value, value - feasible.lower) * 1e-6 *
	       (double)(s[n - 1].at_ns - s[0].at_ns) + 1;
	return (struct span){ fmax(sum.lower, d->floor_sum_ns - open),
			      fmin(sum.upper, d->floor_sum_ns + open) };
}

void selftest_ways(struct vns_selftest_result *out, const struct selftest_run *run,
		   double delay_ns)
{
	static const char *const names[] = { "least delay to the guest", "least delay from the guest" };
	struct span both = { 0, 0 };

	for (size_t i = 1; i < run->n; i++) {
		const struct vns_drift_result *d = &run->r[i];

		if (d->mode != VNS_CLOCK_EXCHANGE)
			continue;
		for (int dir = 0; dir < VNS_DIRECTIONS; dir++) {
			struct span truth = true_floor(run->r[0].clock, d, dir);

			add_delayed(out, names[dir], d->mode, dir == VNS_HOST_TO_GUEST ? delay_ns : 0, delay_ns,
				    truth, NAN, (struct span){ d->way[dir].floor_lower_ns,
							       d->way[dir].floor_upper_ns }, false);
			both.lower += truth.lower;
			both.upper += truth.upper;
		}
		add_delayed(out, "sum of both least delays", d->mode, delay_ns, delay_ns, both, d->floor_sum_ns,
			    floor_sum(d), false);
		out->symmetric_error_ns = (d->at.lower_ns + d->at.upper_ns) / 2 - run->r[0].at.offset_ns;
	}
}

static double quantile(const struct vns_dist *base, double q)
{
	return base && base->n ? HIST_ERROR * (double)vns_dist_quantile(base, q) : 0;
}

/*
 * What the fastest packet takes at most on a path that takes @base where nothing is held, if it is held for
 * @hold_ns; @least_hold_ns: as everyone is, on the way of the request or of its reply.
 */
static double at_most(const struct vns_dist *base, const struct selftest_app *app, double hold_ns,
		      double least_hold_ns)
{
	return fmax(hold_ns + COLD_NS + quantile(base, 0.25),
		    (double)(app->held_min_ns - app->base_min_ns) - least_hold_ns + quantile(base, 0.5));
}

/* With the relay's hold, of a path that takes @base without it. */
static struct span held_range(const struct vns_relay_counts *relay, const struct selftest_app *app,
			      const struct vns_dist *base)
{
	return (struct span){ (double)relay->hold_min_ns, at_most(base, app, (double)relay->hold_p25_ns, 0) };
}

static const struct vns_dist *hop_to_tap(const struct vns_vo_target *t)
{
	for (size_t i = 0; i < t->n_hop; i++)
		if (t->hop[i].clock_free && strcmp(t->hop[i].to, "tap") == 0)
			return &t->hop[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first;
	return NULL;
}

static bool are_enough(struct vns_selftest_result *out, const struct vns_dist *base, const struct vns_dist *d)
{
	bool enough = base && d && base->n >= LEAST_PACKETS && d->n >= LEAST_PACKETS;

	out->too_few += !enough;
	return enough;
}

/* One of the host's own figures, whose least value has no interval. */
static void add_least(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
		      double delay_ns, const struct vns_dist *base, struct span truth, const struct vns_dist *d)
{
	if (are_enough(out, base, d))
		add_delayed(out, what, mode, delay_ns, delay_ns, truth, (double)d->min,
			    (struct span){ (double)d->min, (double)d->min }, true);
}

/* One direction by vo. */
static void add_way(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
		    double injected, double delay_ns, const struct vns_dist *base, struct span truth,
		    const struct vns_vo_figure *f)
{
	if (are_enough(out, base, &f->first))
		add_delayed(out, what, mode, injected, delay_ns, truth, (double)f->first.min,
			    (struct span){ f->floor_lower_ns, f->floor_upper_ns }, false);
}

void selftest_latencies(struct vns_selftest_result *out, const struct vns_vo_target *base,
			const struct vns_vo_target *t, const struct vns_relay_counts *relay,
			const struct selftest_app *app, double delay_ns)
{
	const struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	const struct vns_vo_figure *back = &t->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP];
	const struct vns_dist *base_in = &base->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first;
	const struct vns_dist *base_back = &base->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP].first;
	const struct vns_dist *tap = hop_to_tap(base), *sum = &base->sum[VNS_PROTO_TCP].paired;

	add_least(out, "vo uplink to tap, least", VNS_CLOCK_SAME, delay_ns, tap,
		  held_range(relay, app, tap), hop_to_tap(t));
	add_way(out, "vo to the guest, least", t->clock_mode, delay_ns, delay_ns, base_in,
		held_range(relay, app, base_in), in);
	add_way(out, "vo from the guest, least", t->clock_mode, 0, delay_ns, base_back,
		(struct span){ 0, at_most(base_back, app, 0, (double)relay->hold_min_ns) }, back);
	add_least(out, "vo sum, least", t->clock_mode, delay_ns, sum, held_range(relay, app, sum),
		  &t->sum[VNS_PROTO_TCP].paired);
	add_least(out, "RTT of TCP at the uplink, least", VNS_CLOCK_SAME, delay_ns, &base->rtt.guest_side,
		  held_range(relay, app, &base->rtt.guest_side), &t->rtt.guest_side);
}
