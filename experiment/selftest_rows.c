// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Rows of the self-test: estimates beside truths that share nothing with them; see selftest_rows.h.
 *
 * Theory. Truth of a clock is the shared page's relation, whose exchanges take less than a
 * microsecond and do not cross the network (bounded itself: an interval), or 0 where both ends are
 * one kernel. Truth of a direction's delay is T2 - T1 - o(T1) with that o. An estimate is an interval that
 * claims to be certain, so it must hold the truth: its middle, as the page knows it far better than what is
 * tested.
 * Truth of a latency that the relay was put into is a range: no packet takes less than the least hold, and
 * the fastest no more than the lower quartiles of the holds and of what the same path took, a moment
 * before, with a relay that holds nothing (of hundreds of packets some are below both). That, and what
 * waking up after the hold costs, is the tolerance; the estimate must lie within the range. Where a busy
 * machine makes it wider than half of the delay it would prove little: there is no row then.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiment/selftest_rows.h"

#define RATE_SLACK_PPM 0.1 /* the kernel's own rounding of a frequency, and the host's wander */
#define HIST_ERROR     1.01 /* of a histogram's quantile */
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
	row->inside = est.lower <= (truth.lower + truth.upper) / 2 &&
		      est.upper >= (truth.lower + truth.upper) / 2;
	return row;
}

/* The truth is a range that the estimate must lie in; @delay_ns: what was put into one direction. */
static void add_within(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
		       double injected, double delay_ns, struct span truth, double value, struct span est)
{
	struct vns_selftest_row *row;

	if (truth.upper - truth.lower > delay_ns / 2) {
		out->too_wide++;
		return;
	}
	row = add_row(out, what, mode, 'n', injected, truth, value, est);
	if (!row)
		return;
	row->within = true;
	row->inside = est.lower >= truth.lower && est.upper <= truth.upper;
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
			add_row(out, what, d->mode, 'n', NAN, (struct span){ t->lower_ns, t->upper_ns },
				withheld ? NAN : d->at.offset_ns,
				(struct span){ d->at.lower_ns, d->at.upper_ns });
	}
}

/* The last piece's rate. */
static bool rate(const struct vns_drift_result *d, double *value, struct span *feasible)
{
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(d->clock, &n);

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
			add_row(out, "change of the rate", after->r[i].mode, 'p', ppm, truth, vb - va,
				(struct span){ b.lower - a.upper, b.upper - a.lower });
}

/* The clock on both sides of the boundary after piece @i. */
static bool size_of_step(const struct vns_drift_result *d, size_t i, double *value,
			 struct span *size)
{
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(d->clock, &n);
	struct vns_clock_at a, b;
	double gap;

	if (vns_clock_eval(d->clock, p[i].to_ns - 1, &a) ||
	    vns_clock_eval(d->clock, p[i + 1].from_ns + 1, &b))
		return false;
	gap = (double)(p[i + 1].from_ns - p[i].to_ns) * 500e-6; /* drift while it is not known which */
	*value = b.offset_ns - a.offset_ns;
	*size = (struct span){ b.lower_ns - a.upper_ns - gap, b.upper_ns - a.lower_ns + gap };
	return true;
}

void selftest_steps(struct vns_selftest_result *out, const struct selftest_run *run,
		    double step_ns)
{
	for (size_t i = 0; i < run->n; i++) {
		const struct vns_drift_result *d = &run->r[i];
		struct span size = { NAN, NAN }, truth = { step_ns, step_ns };
		double value = NAN, best = INFINITY;
		size_t n;

		vns_clock_pieces(d->clock, &n);
		for (size_t k = 0; k + 1 < n; k++) { /* the largest change is the step */
			struct span s;
			double v;

			if (size_of_step(d, k, &v, &s) && fabs(v - step_ns) < best) {
				best = fabs(v - step_ns);
				value = v;
				size = s;
			}
		}
		add_row(out, isnan(value) ? "step (not found)" : "step", d->mode, 'n', step_ns, truth,
			value, size);
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

		if (vns_clock_eval(truth, dir == VNS_HOST_TO_GUEST ? s[i].at_ns - half : s[i].at_ns + half,
				   &at) || at.extrapolated)
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

/* What the slope leaves open of the sum of both floors: they lie at different instants. */
static struct span floor_sum(const struct vns_drift_result *d)
{
	struct span feasible = { 0, 0 };
	double value = 0, open, length = 0;
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(d->clock, &n);

	rate(d, &value, &feasible);
	if (n > 0)
		length = (double)(s[n - 1].at_ns - s[0].at_ns);
	open = fmax(feasible.upper - value, value - feasible.lower) * 1e-6 * length + 1;
	return (struct span){ d->floor_sum_ns - open, d->floor_sum_ns + open };
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

			add_row(out, names[dir], d->mode, 'n', dir == VNS_HOST_TO_GUEST ? delay_ns : 0,
				truth, NAN, (struct span){ d->way[dir].floor_lower_ns,
							   d->way[dir].floor_upper_ns });
			both.lower += truth.lower;
			both.upper += truth.upper;
		}
		add_row(out, "sum of both least delays", d->mode, 'n', delay_ns, both, d->floor_sum_ns,
			floor_sum(d));
		out->symmetric_error_ns = (d->at.lower_ns + d->at.upper_ns) / 2 - run->r[0].at.offset_ns;
	}
}

/* What a path takes that is not held, at most for its fastest packet. */
static double usual(const struct vns_dist *base)
{
	return HIST_ERROR * (double)vns_dist_quantile(base, 0.25) + COLD_NS;
}

/* With the relay's hold, of a path that takes @base without it. */
static struct span held_range(const struct vns_relay_counts *relay, const struct vns_dist *base)
{
	return (struct span){ (double)relay->hold_min_ns,
			      (double)relay->hold_p25_ns + usual(base) };
}

static const struct vns_dist *hop_to_tap(const struct vns_vo_target *t)
{
	for (size_t i = 0; i < t->n_hop; i++)
		if (t->hop[i].clock_free && strcmp(t->hop[i].to, "tap") == 0)
			return &t->hop[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first;
	return NULL;
}

/* One of the host's own figures, whose least value has no interval. */
static void add_least(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
		      double delay_ns, const struct vns_relay_counts *relay, const struct vns_dist *base,
		      const struct vns_dist *d)
{
	double least = d && d->n ? (double)d->min : 0;

	if (d && d->n && base && base->n)
		add_within(out, what, mode, delay_ns, delay_ns, held_range(relay, base), least,
			   (struct span){ least, least });
}

void selftest_latencies(struct vns_selftest_result *out, const struct vns_vo_target *base,
			const struct vns_vo_target *t, const struct vns_relay_counts *relay,
			double delay_ns)
{
	const struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	const struct vns_vo_figure *back = &t->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP];
	const struct vns_dist *base_in = &base->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first;
	const struct vns_dist *base_back = &base->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP].first;

	add_least(out, "vo uplink to tap, least", VNS_CLOCK_SAME, delay_ns, relay, hop_to_tap(base),
		  hop_to_tap(t));
	if (in->first.n && base_in->n)
		add_within(out, "vo to the guest, least", t->clock_mode, delay_ns, delay_ns,
			   held_range(relay, base_in),
			   (double)in->first.min,
			   (struct span){ in->floor_lower_ns, in->floor_upper_ns });
	if (back->first.n && base_back->n)
		add_within(out, "vo from the guest, least", t->clock_mode, 0, delay_ns,
			   (struct span){ 0, usual(base_back) },
			   (double)back->first.min,
			   (struct span){ back->floor_lower_ns, back->floor_upper_ns });
	add_least(out, "vo sum, least", t->clock_mode, delay_ns, relay, &base->sum[VNS_PROTO_TCP].paired,
		  &t->sum[VNS_PROTO_TCP].paired);
	add_least(out, "RTT of TCP at the uplink, least", VNS_CLOCK_SAME, delay_ns, relay,
		  &base->rtt.guest_side, &t->rtt.guest_side);
}
