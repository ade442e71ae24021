// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A report's figures -> sentences. Only what the intervals carry is claimed: a
 * difference between two machines is named when the sampling intervals of both
 * medians, each widened by its clock interval, do not overlap.
 */
#include <math.h>
#include <stdio.h>

#include <vnetscope/output.h>
#include "report/report.h"

#define SENTENCE     640
#define FIGURE       (VNS_TEXT_LEN + VNS_SPAN_LEN + 4)
#define WORTH_SAYING 0.1 /* clock interval as a part of the median */

/* The protocol whose figures stand for a machine: the one with samples both ways, ICMP last. */
static enum vns_proto main_proto(const struct vns_vo_target *t)
{
	static const enum vns_proto order[] = { VNS_PROTO_TCP, VNS_PROTO_UDP, VNS_PROTO_ICMP };

	for (size_t i = 0; i < 3; i++)
		if (t->fig[VNS_HOST_TO_GUEST][order[i]].first.n &&
		    t->fig[VNS_GUEST_TO_HOST][order[i]].first.n)
			return order[i];
	return VNS_PROTO_NONE;
}

struct span {
	double lower, upper;
};

/* Median with sampling and clock interval together. */
static struct span median_span(const struct vns_vo_figure *f)
{
	const struct vns_interval *i = &f->interval.p50;

	return (struct span){ (double)i->lower - f->err_minus_ns, (double)i->upper + f->err_plus_ns };
}

/* "106.0 us [102.4..109.6 us]": a percentile with its 95 % interval, where there is one. */
static const char *with_interval(char to[FIGURE], const struct vns_dist *d, double q,
				 const struct vns_interval *within)
{
	char v[VNS_TEXT_LEN], span[VNS_SPAN_LEN];

	vns_text_ns(v, (double)vns_dist_quantile(d, q));
	if (vns_interval_known(within))
		snprintf(to, FIGURE, "%s [%s]", v, vns_text_interval(span, within, 0));
	else
		snprintf(to, FIGURE, "%s [too few independent samples]", v);
	return to;
}

static void say_clock(const struct vns_report_vm *vm, char *s)
{
	const struct vns_clock_at *at = &vm->drift->at;
	char offset[VNS_TEXT_LEN], minus[VNS_TEXT_LEN], plus[VNS_TEXT_LEN], drift[VNS_TEXT_DRIFT_LEN];

	if (vm->drift->mode == VNS_CLOCK_SAME) {
		snprintf(s, SENTENCE, "%s: its clock is the host's own.", vm->name);
		return;
	}
	if (vns_drift_split(vm->drift) == VNS_SPLIT_WITHHELD) {
		snprintf(s, SENTENCE, "%s: its clock minus the host's is certain to be between %s and %s "
			 "(mode %s, over the measured path: the split of the directions is not "
			 "identifiable), and drifts %s.",
			 vm->name, vns_text_exact_ns(offset, at->lower_ns),
			 vns_text_exact_ns(plus, at->upper_ns), vns_clock_mode_name(vm->drift->mode),
			 vns_text_drift(drift, at));
		return;
	}
	snprintf(s, SENTENCE,
		 "%s: its clock is %s %s the host's, certain within -%s and +%s (mode %s), and drifts "
		 "%s.",
		 vm->name, vns_text_ns(offset, fabs(at->offset_ns)),
		 at->offset_ns >= 0 ? "ahead of" : "behind",
		 vns_text_ns(minus, at->offset_ns - at->lower_ns),
		 vns_text_ns(plus, at->upper_ns - at->offset_ns),
		 vns_clock_mode_name(vm->drift->mode), vns_text_drift(drift, at));
}

/* How wide the clock's interval of @f is, as a part of its median. */
static double clock_part(const struct vns_vo_figure *f)
{
	return (f->err_minus_ns + f->err_plus_ns) /
	       fmax((double)vns_dist_quantile(&f->first, 0.5), 1);
}

/* "; the clock leaves -1.0 us +2.0 us ..." where that is not small beside the figures. */
static void clock_words(char *to, size_t size, const struct vns_vo_figure *in,
			const struct vns_vo_figure *out)
{
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], c[VNS_TEXT_LEN], d[VNS_TEXT_LEN];

	to[0] = '\0';
	if (fmax(clock_part(in), clock_part(out)) > WORTH_SAYING)
		snprintf(to, size, "; the clock leaves -%s +%s of the former open and -%s +%s of the latter",
			 vns_text_ns(a, in->err_minus_ns), vns_text_ns(b, in->err_plus_ns),
			 vns_text_ns(c, out->err_minus_ns), vns_text_ns(d, out->err_plus_ns));
}

/* A direction's figure that its clock interval exceeds says nothing; the sum does not depend on it. */
static void say_too_wide(const struct vns_report_vm *vm, enum vns_proto p, char *s)
{
	const struct vns_vo_target *t = vm->vo;
	const struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][p];
	const struct vns_vo_figure *out = &t->fig[VNS_GUEST_TO_HOST][p];
	const struct vns_vo_figure *f = clock_part(in) >= clock_part(out) ? in : out;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], c[VNS_TEXT_LEN], span[VNS_SPAN_LEN], sum[128 + FIGURE] = "";

	if (t->sum[p].paired.n && !vns_vo_sum_withheld(t, (int)p))
		snprintf(sum, sizeof(sum), ". Both directions together, which does not depend on the clock's offset: "
			 "%s at the median [%s]",
			 vns_text_ns(a, (double)vns_dist_quantile(&t->sum[p].paired, 0.5)),
			 vns_text_interval(span, &t->sum[p].interval.p50, 0));
	snprintf(s, SENTENCE, "%s (%s): what virtualisation holds a packet up for in one direction is withheld: the "
		 "clock leaves -%s +%s open, more than the %s median %s the VM%s.",
		 vm->name, vm->role, isfinite(f->err_minus_ns) ? vns_text_ns(b, f->err_minus_ns) : "any",
		 isfinite(f->err_plus_ns) ? vns_text_ns(c, f->err_plus_ns) : "any", vns_proto_name(p),
		 f == in ? "to" : "from", sum);
}

static void say_latency(const struct vns_report_vm *vm, char *s)
{
	const struct vns_vo_target *t = vm->vo;
	enum vns_proto p = main_proto(t);
	const struct vns_vo_figure *in = &t->fig[VNS_HOST_TO_GUEST][p];
	const struct vns_vo_figure *out = &t->fig[VNS_GUEST_TO_HOST][p];
	char a[FIGURE], b[FIGURE], c[FIGURE], d[FIGURE], clock[160];

	if (p == VNS_PROTO_NONE) {
		snprintf(s, SENTENCE, "%s: no packet was matched in both directions.", vm->name);
		return;
	}
	if (vns_vo_split(t) == VNS_SPLIT_WITHHELD) {
		snprintf(s, SENTENCE, "%s (%s): the clock was related over the measured path, so only the "
			 "sum of both directions is known: a %s packet and its answer are held up for %s "
			 "at the median.", vm->name, vm->role, vns_proto_name(p),
			 with_interval(a, &t->sum[p].paired, 0.5, &t->sum[p].interval.p50));
		return;
	}
	if (fmax(clock_part(in), clock_part(out)) > 1) {
		say_too_wide(vm, p, s);
		return;
	}
	clock_words(clock, sizeof(clock), in, out);
	snprintf(s, SENTENCE,
		 "%s (%s): virtualisation holds a %s packet to the VM up for %s at the median and %s at "
		 "the 99th percentile, one from the VM for %s and %s (measured at the %s; 95 %% intervals of the "
		 "samples in brackets%s).",
		 vm->name, vm->role, vns_proto_name(p),
		 with_interval(a, &in->first, 0.5, &in->interval.p50),
		 with_interval(b, &in->first, 0.99, &in->interval.p99),
		 with_interval(c, &out->first, 0.5, &out->interval.p50),
		 with_interval(d, &out->first, 0.99, &out->interval.p99), t->from_point, clock);
}

/* Virtualisation's part of the RTT from the host's capture point to the VM and back: as `vo` says it. */
static void say_share(const struct vns_report_vm *vm, const struct vns_vo_share *x, char *s)
{
	const struct vns_vo_target *t = vm->vo;
	const struct vns_vo_sum *sum = &t->sum[VNS_PROTO_TCP];
	const struct vns_dist *rtt = &t->rtt.guest_within;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], n[VNS_TEXT_LEN], out[VNS_TEXT_LEN],
	     span[VNS_SPAN_LEN], ways[VNS_SPAN_LEN], share[48] = "", all[96] = "", late[96] = "";

	if (x->withheld[0]) {
		snprintf(s, SENTENCE, "%s: virtualisation's share of TCP's RTT is withheld: %s.", vm->name, x->withheld);
		return;
	}
	if (!isnan(x->lower))
		snprintf(share, sizeof(share), " [%.0f..%.0f %%]", x->lower, x->upper);
	if (x->ratio > 100)
		snprintf(all, sizeof(all), " (all of it: the means, of different packets, give %.0f %%)", x->ratio);
	if (x->left_out)
		snprintf(late, sizeof(late), "; %s RTT samples of more than %d s are in neither",
			 vns_text_count(out, x->left_out), (int)(VNS_VO_PAIR_NS / VNS_NSEC_PER_SEC));
	snprintf(s, SENTENCE,
		 "%s: TCP's RTT from the %s to the VM and back is %s [%s] on average (%s samples); the two ways "
		 "through virtualisation are %s [%s] of it, %.0f %%%s%s%s.",
		 vm->name, t->from_point, vns_text_ns(a, rtt->mean),
		 vns_text_interval(span, &t->rtt.within_interval.mean, 0), vns_text_count(n, rtt->n),
		 vns_text_ns(b, sum->paired.mean), vns_text_interval(ways, &sum->interval.mean, 0), x->percent,
		 share, all, late);
}

static void say_comparison(const struct vns_report_vm *yard, const struct vns_report_vm *vm, char *s)
{
	enum vns_proto p = main_proto(vm->vo);
	const struct vns_vo_figure *a = &yard->vo->fig[VNS_HOST_TO_GUEST][p];
	const struct vns_vo_figure *b = &vm->vo->fig[VNS_HOST_TO_GUEST][p];
	struct span sa = median_span(a), sb = median_span(b);
	double ratio = (double)vns_dist_quantile(&b->first, 0.5) /
		       fmax((double)vns_dist_quantile(&a->first, 0.5), 1);

	if (vns_vo_split(vm->vo) == VNS_SPLIT_WITHHELD || vns_vo_split(yard->vo) == VNS_SPLIT_WITHHELD)
		ratio = NAN;
	if (isnan(ratio))
		snprintf(s, SENTENCE, "%s against %s: a clock related over the measured path tells no "
			 "single direction, so they are not compared.", vm->name, yard->name);
	else if (!vns_interval_known(&a->interval.p50) || !vns_interval_known(&b->interval.p50))
		snprintf(s, SENTENCE, "%s against %s: %s's %s median towards the VM has no interval: not compared.",
			 vm->name, yard->name, vns_interval_known(&a->interval.p50) ? vm->name : yard->name,
			 vns_proto_name(p));
	else if (sa.upper >= sb.lower && sb.upper >= sa.lower)
		snprintf(s, SENTENCE,
			 "%s against %s: the intervals of the %s medians towards the VM overlap, so this run "
			 "shows no difference between them.",
			 vm->name, yard->name, vns_proto_name(p));
	else
		snprintf(s, SENTENCE,
			 "%s against %s: the %s median towards the VM is %.2f times as long [%.2f..%.2f], and the "
			 "intervals (sampling and clock) do not overlap.",
			 vm->name, yard->name, vns_proto_name(p), ratio, fmax(sb.lower, 0) / fmax(sa.upper, 1),
			 sb.upper / fmax(sa.lower, 1));
}

/* Return: false where no clock relation was checked. */
static bool say_sum(const struct vns_report *r, char *s)
{
	size_t checked = 0, agree = 0;

	for (size_t i = 0; i < r->n_vm; i++) {
		for (int p = 1; r->vm[i].vo && p < VNS_PROTOS; p++) {
			if (r->vm[i].vo->sum[p].check.blocks == 0 ||
			    r->vm[i].vo->clock_mode == VNS_CLOCK_SAME) /* no relation to check */
				continue;
			checked++;
			agree += r->vm[i].vo->sum[p].check.inside;
		}
	}
	snprintf(s, SENTENCE,
		 "Self-check for drifts and steps of the clocks: in %zu of %zu cases the way in of one half "
		 "of the run and the way out of the other add up to the clock-free sum of other packets, "
		 "within its 95 %% interval (at most 1 of 20 misses it by chance; a constant offset error it cannot see).",
		 agree, checked);
	return checked > 0;
}

void vns_report_reading(const struct vns_report *r, void (*line)(void *ctx, const char *sentence),
			void *ctx)
{
	struct vns_vo_share share;
	char s[SENTENCE];

	if (r->tcg)
		line(ctx, "These guests run under TCG (software emulation): the figures show that the "
			  "measurement works and what is slow here, not what KVM would give.");
	if (r->interrupted) {
		snprintf(s, sizeof(s), "The run was interrupted: its figures are of %.1f s of traffic.",
			 (double)r->duration_ns / 1e9);
		line(ctx, s);
	}
	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_report_vm *vm = &r->vm[i];

		if (vm->drift) {
			say_clock(vm, s);
			line(ctx, s);
		}
		if (!vm->vo)
			continue;
		say_latency(vm, s);
		line(ctx, s);
		if (vns_vo_share(vm->vo, &share)) {
			say_share(vm, &share, s);
			line(ctx, s);
		}
	}
	for (size_t i = 1; i < r->n_vm; i++) {
		if (!r->vm[0].vo || !r->vm[i].vo || main_proto(r->vm[i].vo) == VNS_PROTO_NONE ||
		    main_proto(r->vm[0].vo) == VNS_PROTO_NONE)
			continue;
		say_comparison(&r->vm[0], &r->vm[i], s);
		line(ctx, s);
	}
	if (say_sum(r, s))
		line(ctx, s);
}
