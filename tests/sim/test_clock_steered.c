// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Guests whose clock a daemon steers, looked at as a live measurement does: simulated chronyd, kernel loop (ntpd,
 * timesyncd) and adjtime(3), of several sizes and poll intervals, with known truth -> does what clock_watch makes
 * of adjtimex(2) allow for enough, so that the bound holds the truth at every instant and the 95 % interval covers it?
 *
 * What is demanded follows from how the kernel keeps time, as far as adjtimex(2) shows it. chronyd leaves each rate that
 * it slews by for a second at least, the kernel's loop sets one each second (kernel/time/ntp.c, second_overflow()) and
 * shows what is left, so looks half a second apart meet every rate: the truth must be inside in every run. What adjtime(3)
 * has left for its last second the kernel shows as nothing, so a slew of up to 500 us may pass between two looks:
 * such runs are told apart here and counted. A clock that nothing steers must have the bound that it would have had.
 *
 * usage: test_clock_steered [SEED]   a fixed one unless given (clocks.h); it is printed
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

#include "clocks.h"
#include "measure/clock_watch.h"

#define RUNS  1000
#define S     1e9   /* ns */
#define LIMIT 499e-6

enum daemon { CHRONYD, LOOP, ADJTIME, NOBODY, DAEMONS };
static const char *const names[] = { "chronyd", "kernel loop", "adjtime", "nobody" };

/* What adjtimex(2) shows in each piece of the truth. */
static struct vns_clock_state shown[MAX_PIECES];

static double normal(void)
{
	return sqrt(-2 * log(between(0, 1))) * cos(2 * 3.14159265358979 * between(0, 1));
}

/* From @t on the clock runs by @rate and the kernel shows @k. */
static void go_on(struct truth *w, double t, double rate, const struct vns_clock_state *k)
{
	size_t i = w->n;

	if (i == MAX_PIECES)
		abort();
	w->at_from[i] = i ? w->at_from[i - 1] + w->rate[i - 1] * (t - w->from[i - 1]) : 0;
	w->from[i] = t;
	w->rate[i] = fmax(-LIMIT, fmin(LIMIT, rate));
	shown[i] = *k;
	w->n++;
}

static double written(const struct vns_clock_state *k)
{
	return (double)k->freq / 65536e6;
}

static void write_freq(struct vns_clock_state *k, double rate)
{
	k->freq = lround(rate * 65536e6);
}

/* At each poll another frequency, and an offset taken away by one more for a second or longer. */
static void chronyd(struct truth *w, double span, double poll, double offset, double osc)
{
	struct vns_clock_state k = { .source = "tsc", .tick_us = 10000, .steering_known = true,
				     .status = rng_next() % 2 ? STA_UNSYNC : 0 };
	double freq = -osc, noise = log_between(0.01e-6, 2e-6);

	for (double t = -between(0, poll); t < span; t += poll * S * between(0.9, 1.1)) {
		double off = offset * normal(), takes = log_between(1, fmax(1, poll)), most = LIMIT - 20e-6;

		freq += noise * normal();
		takes = fmax(takes, fabs(off) / most);
		write_freq(&k, freq + off / takes);
		go_on(w, t, osc + written(&k), &k);
		if (takes >= poll * 0.9)
			continue;
		write_freq(&k, freq);
		go_on(w, t + takes * S, osc + written(&k), &k);
	}
}

/* At each poll an offset for the loop, of which a share is taken in each second. */
static void kernel_loop(struct truth *w, double span, double poll, double offset, double osc)
{
	struct vns_clock_state k = { .source = "tsc", .tick_us = 10000, .steering_known = true,
				     .status = STA_PLL | STA_NANO, .constant = (int32_t)(rng_next() % 8) };
	double left = 0, now = 0, next = -between(0, poll) * S, share = pow(2, -2 - k.constant);
	double tick = between(0, 1) * S;

	write_freq(&k, -osc);
	go_on(w, -poll * S - 1, osc + written(&k), &k);
	for (double t = next; t < span; t = fmin(next, tick)) {
		if (next <= tick) { /* the daemon: what runs this second goes on */
			left = fmax(-0.4, fmin(0.4, offset * normal()));
			write_freq(&k, written(&k) + left * poll / pow(4, 4 + k.constant));
			k.offset_ns = llround(left * 1e9);
			next += poll * S * between(0.9, 1.1);
		} else {
			now = fmax(-400e-6, fmin(400e-6, left * share));
			left -= now;
			k.offset_ns = llround(left * 1e9);
			tick += S;
		}
		go_on(w, t, osc + written(&k) + now, &k);
	}
}

/* At each poll an adjtime() of the offset: 500 us in each second, the last ones shown as nothing. */
static void adjtime_only(struct truth *w, double span, double poll, double offset, double osc)
{
	struct vns_clock_state k = { .source = "tsc", .tick_us = 10000, .steering_known = true, .status = STA_UNSYNC };
	double now = 0, next = between(0, poll) * S, tick = between(0, 1) * S;

	go_on(w, -S, osc, &k);
	for (double t = fmin(next, tick); t < span; t = fmin(next, tick)) {
		if (next <= tick) {
			k.slew_us = lround(offset * normal() * 1e6);
			next += poll * S * between(0.9, 1.1);
		} else {
			int64_t takes = k.slew_us > 500 ? 500 : k.slew_us < -500 ? -500 : k.slew_us;

			k.slew_us -= takes;
			now = (double)takes * 1e-6;
			tick += S;
		}
		go_on(w, t, osc + now, &k);
	}
}

static void steer(enum daemon d, struct truth *w, double span)
{
	double poll = exp2((double)(1 + rng_next() % 7)), offset = log_between(1e-6, 5e-3), osc = between(-40e-6, 40e-6);
	const struct vns_clock_state still = { .source = "tsc", .tick_us = 10000, .steering_known = true,
					       .status = STA_UNSYNC };

	w->n = 0;
	w->base = (int64_t)between(-7.2e12, 7.2e12);
	if (d == CHRONYD)
		chronyd(w, span, poll, offset, osc);
	else if (d == LOOP)
		kernel_loop(w, span, poll, offset, osc);
	else if (d == ADJTIME)
		adjtime_only(w, span, poll, offset, 0);
	else
		go_on(w, -S, osc, &still);
}

/* Only the pieces that reach into the measured span: far beyond it no bound is asked for. */
static void trim(struct truth *w, double from, double to)
{
	size_t first = w->n - 1, n = w->n;

	while (n > 1 && w->from[n - 1] > to)
		n--;
	while (first > 0 && w->from[first] > from)
		first--;
	for (size_t i = first; i < n; i++) {
		w->from[i - first] = w->from[i];
		w->at_from[i - first] = w->at_from[i];
		w->rate[i - first] = w->rate[i];
	}
	w->n = n - first;
}

/* As a measurement looks: before, meanwhile and after. Return: did every slew meet a look? */
static bool look(const struct truth *w, double span, struct clock_watch *watch)
{
	const struct vns_clock_state host = { .source = "tsc", .tick_us = 10000, .steering_known = true,
					      .status = STA_UNSYNC };
	bool seen[2] = { false, false }, need[2] = { false, false };

	*watch = (struct clock_watch){ 0 };
	for (double t = -0.1 * S;; t += (double)CLOCK_LOOK_NS * between(0.8, 0.99)) {
		size_t i = w->n - 1;

		t = fmin(t, span + 0.01 * S);
		while (i > 0 && w->from[i] > t)
			i--;
		clock_watch_take(watch, CLOCK_GUEST, &shown[i]);
		clock_watch_take(watch, CLOCK_HOST, &host);
		seen[0] |= shown[i].slew_us < 0;
		seen[1] |= shown[i].slew_us > 0;
		if (t > span)
			break;
	}
	for (size_t i = 0; i < w->n; i++)
		for (int k = 0; k < 2; k++)
			need[k] |= shown[i].slew_us && (shown[i].slew_us > 0) == k;
	return need[0] <= seen[0] && need[1] <= seen[1];
}

/* Limit of the 95 % Clopper-Pearson interval of a share, @k of @n: where the tail's chance is 2.5 %. */
static double limit_of(int k, int n, bool upper)
{
	double lo = 0, hi = 1;

	if (upper ? k == n : k == 0)
		return upper;
	for (int i = 0; i < 60; i++) {
		double p = (lo + hi) / 2, tail = 0;

		for (int j = upper ? 0 : k; j <= (upper ? k : n); j++)
			tail += exp(lgamma(n + 1) - lgamma(j + 1) - lgamma(n - j + 1) + j * log(p) + (n - j) * log1p(-p));
		if ((tail > 0.025) == upper)
			lo = p;
		else
			hi = p;
	}
	return lo;
}

struct tally {
	int runs, outside, unseen, unseen_outside, plain_outside, covered, asked, differ, finite;
	double width, wander;
};

/* Both directions alike, so that the 95 % interval has what it asks for. */
static void even_link(struct link *l, double interval)
{
	random_link(l, interval);
	l->base[1] = l->base[0];
	l->kind[0] = l->kind[1] = Q_EXP;
	l->scale[1] = l->scale[0];
}

static double width_at(const struct vns_clock *c, int64_t at, double truth, bool *covered)
{
	struct vns_clock_at a;

	if (vns_clock_eval(c, at, &a))
		abort();
	*covered = a.ci_lower_ns <= truth + 1 && a.ci_upper_ns >= truth - 1;
	return a.upper_ns - a.lower_ns;
}

static void one(enum daemon d, struct tally *t)
{
	static struct truth w;
	double interval = log_between(10e6, 500e6), span, before, after, truth, wander;
	struct clock_watch watch;
	struct vns_clock *c;
	struct link l;
	bool all_seen, covered, plain;
	size_t n = (size_t)log_between(60, 400);
	int64_t at;

	if ((double)n * interval > 120 * S) /* pieces of the truth: one each second */
		n = (size_t)(120 * S / interval);
	span = (double)n * interval;
	even_link(&l, interval);
	steer(d, &w, span * 1.15 + 2 * S);
	all_seen = look(&w, span * 1.1, &watch);
	simulate(&w, &l, n, interval);
	if (n_x < 10)
		return;
	trim(&w, -0.04 * span, 1.04 * span);
	c = solve();
	at = xs[rng_next() % n_x].t1_ns;
	truth = (double)w.base + truth_offset(&w, (double)(at - EPOCH));
	before = width_at(c, at, truth, &covered);
	plain = all_hold(c, &w);
	wander = clock_watch_wander(&watch, 0);
	if (vns_clock_set_wander(c, wander) || vns_clock_solve(c))
		abort();
	after = width_at(c, at, truth, &covered);
	t->runs += all_seen;
	t->unseen += !all_seen;
	t->plain_outside += !plain;
	t->covered += covered;
	t->asked++;
	t->differ += before != after;
	t->wander += wander;
	if (isfinite(before) && isfinite(after)) { /* a piece may have bounds on one side only */
		t->width += log(after / before);
		t->finite++;
	}
	if (!all_hold(c, &w)) {
		t->outside += all_seen;
		t->unseen_outside += !all_seen;
		if (all_seen)
			printf("# %s: outside by %.2f of the width, %s, %g ppm allowed for\n", names[d], miss(c, &w),
			       where, wander);
	}
	vns_clock_free(c);
}

static int check(enum daemon d, uint64_t seed)
{
	struct tally t = { 0 };

	for (int run = 0; run < RUNS; run++) {
		rng_state = seed + (uint64_t)d * 1000003 + (uint64_t)run * 86028121;
		one(d, &t);
	}
	printf("# %s: truth outside in %d of %d runs (95 %% interval of the share up to %.2f %%), %d of %d without the "
	       "allowance, which is %.1f ppm and makes the bound %.2f times as wide on average\n", names[d], t.outside,
	       t.runs, 100 * limit_of(t.outside, t.runs, true), t.plain_outside, t.asked, t.wander / t.asked,
	       exp(t.width / t.finite));
	if (t.unseen)
		printf("# %s: slews that met no look in %d runs, of which the truth was outside in %d\n", names[d],
		       t.unseen, t.unseen_outside);
	printf("# %s: the 95 %% interval covers %.1f %% (%.1f to %.1f)\n", names[d], 100.0 * t.covered / t.asked,
	       100 * limit_of(t.covered, t.asked, false), 100 * limit_of(t.covered, t.asked, true));
	return t.outside + (d == NOBODY && t.differ) + (limit_of(t.covered, t.asked, true) < 0.95);
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : FIXED_SEED;
	int bad = 0;

	printf("# seed %" PRIu64 "\n1..%d\n", seed, DAEMONS);
	for (int d = 0; d < DAEMONS; d++)
		bad += report(d + 1, names[d], check((enum daemon)d, seed));
	return bad != 0;
}
