// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Rows of the self-test: estimates beside truths that share nothing with them; see selftest_rows.h.
 *
 * Theory. Truth of a clock is the shared page's relation, whose exchanges take less than a
 * microsecond and do not cross the network (bounded itself: an interval), or 0 where both ends are
 * one kernel. Truth of a direction's delay is T2 - T1 - o(T1) with that o. An estimate is an interval that
 * claims to be certain, so the two must have a common point.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiment/selftest_rows.h"

#define RATE_SLACK_PPM 0.1 /* the kernel's own rounding of a frequency, and the host's wander */
#define HIST_ERROR     1.01

struct span {
	double lower, upper;
};

void selftest_run_fini(struct selftest_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		vns_drift_result_free(&run->r[i]);
	run->n = 0;
}

static void add_row(struct vns_selftest_result *out, const char *what, enum vns_clock_mode mode,
		    char unit, double injected, struct span truth, double value, struct span est)
{
	struct vns_selftest_row *row = &out->row[out->n_row];

	if (out->n_row == VNS_SELFTEST_ROWS)
		return;
	out->n_row++;
	*row = (struct vns_selftest_row){ .unit = unit, .injected = injected,
					  .truth_lower = truth.lower, .truth_upper = truth.upper,
					  .value = value, .lower = est.lower, .upper = est.upper };
	snprintf(row->what, sizeof(row->what), "%s", what);
	snprintf(row->mode, sizeof(row->mode), "%s", vns_clock_mode_name(mode));
	row->inside = est.lower <= truth.upper && est.upper >= truth.lower;
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

void selftest_latencies(struct vns_selftest_result *out, const struct vns_vo_target *t,
			const struct vns_relay_counts *relay, double delay_ns, double app_ns)
{
	const struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	const struct vns_vo_figure *back = &t->fig[VNS_GUEST_TO_HOST][VNS_PROTO_TCP];
	const struct vns_vo_sum *sum = &t->sum[VNS_PROTO_TCP];
	double held = (double)relay->hold_min_ns, app = app_ns * HIST_ERROR;
	double least;

	for (size_t i = 0; i < t->n_hop; i++) {
		const struct vns_vo_hop *h = &t->hop[i];
		const struct vns_dist *d = &h->fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP].first;

		least = (double)d->min;
		if (d->n && h->clock_free && strcmp(h->to, "tap") == 0)
			add_row(out, "vo uplink to tap, least", VNS_CLOCK_SAME, 'n', delay_ns,
				(struct span){ held, app }, least, (struct span){ least, least });
	}
	if (in->first.n)
		add_row(out, "vo to the guest, least", t->clock_mode, 'n', delay_ns,
			(struct span){ held, app }, (double)in->first.min,
			(struct span){ in->floor_lower_ns, in->floor_upper_ns });
	if (back->first.n)
		add_row(out, "vo from the guest, least", t->clock_mode, 'n', 0,
			(struct span){ 0, fmax(0, app - held) }, (double)back->first.min,
			(struct span){ back->floor_lower_ns, back->floor_upper_ns });
	least = (double)sum->paired.min;
	if (sum->paired.n)
		add_row(out, "vo sum, least", t->clock_mode, 'n', delay_ns, (struct span){ held, app },
			least, (struct span){ least, least });
	least = (double)t->rtt.guest_side.min;
	if (t->rtt.guest_side.n)
		add_row(out, "RTT of TCP at the uplink, least", VNS_CLOCK_SAME, 'n', delay_ns,
			(struct span){ held, app }, least, (struct span){ least, least });
}
