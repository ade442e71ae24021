// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A clock that bends within a piece, against simulated truth: rates that change without a sign of it,
 * by exchanges and by traffic alone -> does the bound hold the truth once the wander is allowed for,
 * and what does it cost where the clock is linear?
 *
 * usage: test_clock_wander [SEED]   a fixed one unless given (clocks.h); it is printed
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clocks.h"

/* Half of the range of the clock's rates, ppm: what its rate wanders by around a constant. */
static double wander_of(const struct truth *w)
{
	double lo = w->rate[0], hi = w->rate[0];

	for (size_t i = 1; i < w->n; i++) {
		lo = fmin(lo, w->rate[i]);
		hi = fmax(hi, w->rate[i]);
	}
	return (hi - lo) / 2 * 1e6 * (1 + 1e-9);
}

static double mean_width(const struct vns_clock *c)
{
	double sum = 0;

	for (size_t i = 0; i < n_x; i++) {
		struct vns_clock_at at;

		vns_clock_eval(c, xs[i].t1_ns, &at);
		sum += (at.upper_ns - at.lower_ns) / (double)n_x;
	}
	return sum;
}

/* The exchanges' packets as one-sided bounds only: a clock that traffic bounds. */
static struct vns_clock *by_traffic(void)
{
	struct vns_clock *c;

	if (vns_clock_new(&c, VNS_CLOCK_TRAFFIC))
		abort();
	for (size_t i = 0; i < n_x; i++) {
		vns_clock_add_bound(c, xs[i].t1_ns, xs[i].t2_ns - xs[i].t1_ns, true);
		vns_clock_add_bound(c, xs[i].t4_ns, xs[i].t3_ns - xs[i].t4_ns, false);
	}
	if (vns_clock_solve(c))
		abort();
	return c;
}

/* Is a piece that shows signs of a bend given an interval that only a line has? By itself, not where neighbours may hold too. */
static bool claims_line(const struct vns_clock *c)
{
	bool found = false;
	size_t n;

	vns_clock_pieces(c, &n);
	for (size_t i = 0; i < n; i++) {
		struct vns_clock_saved s;

		if (vns_clock_export(c, i, &s))
			abort();
		found |= s.piece.bent && s.have_ci;
		vns_clock_saved_fini(&s);
	}
	return found;
}

/* The same slewed clocks, given how far their rate wanders: certain then, by exchanges or traffic. */
static int check_wander(uint64_t seed)
{
	int bad = 0, runs[2] = { 0, 0 }, plain_bad[2] = { 0, 0 }, told[2] = { 0, 0 };
	int finite[2] = { 0, 0 }, claimed = 0;
	double ratio[2] = { 0, 0 };

	for (long run = 0; run < 1000; run++) {
		struct truth w;
		struct link l;
		struct vns_clock *c;
		double interval, plain;
		bool traffic = run % 3 == 0;

		rng_state = seed + 21 + (uint64_t)run * 86028121;
		interval = log_between(1e6, 1e9);
		random_link(&l, interval);
		slewed_truth(&w, 300 * interval, 1 + rng_next() % (run % 2 ? 8 : MAX_STEPS), run % 4 ? 10 : 200);
		simulate(&w, &l, (size_t)log_between(60, 300), interval);
		if (n_x < 10)
			continue;
		c = traffic ? by_traffic() : solve();
		runs[traffic]++;
		plain_bad[traffic] += !all_hold(c, &w);
		told[traffic] += vns_clock_bent(c, NULL);
		claimed += claims_line(c);
		plain = mean_width(c);
		if (vns_clock_set_wander(c, wander_of(&w)) || vns_clock_solve(c))
			abort();
		if (!all_hold(c, &w)) {
			printf("# run %ld: outside by %.1f %% of the width, %s\n", run, 100 * miss(c, &w), where);
			bad++;
		}
		if (isfinite(plain)) { /* a piece may have bounds on one side only */
			ratio[traffic] += mean_width(c) / plain;
			finite[traffic]++;
		}
		vns_clock_free(c);
	}
	for (int k = 0; k < 2; k++)
		printf("# slewed clocks bounded by %s: outside at some instant in %d of %d runs without allowing "
		       "for wander, the bend told in %d; with it the bound is %.1f times as wide\n",
		       k ? "traffic" : "exchanges", plain_bad[k], runs[k], told[k], ratio[k] / finite[k]);
	printf("# allowing for it: outside in %d of %d runs; without it a 95 %% interval of a line is given for a piece with "
	       "signs of a bend in %d\n", bad, runs[0] + runs[1], claimed);
	return bad + claimed > 0;
}

/* What that costs where the clock is linear. */
static int check_wander_cost(uint64_t seed)
{
	static const double ppm[] = { 0.1, 1, VNS_CLOCK_NTP_WANDER_PPM, 100 };
	int bad = 0;

	for (size_t k = 0; k < sizeof(ppm) / sizeof(ppm[0]); k++) {
		double ratio[100], least = INFINITY;

		for (int run = 0; run < 100; run++) {
			struct link l = { .base = { 20e3, 20e3 }, .kind = { Q_EXP, Q_EXP },
					  .scale = { 15e3, 15e3 }, .proc = 3000 };
			struct vns_clock *c;
			struct truth w;
			double plain;

			rng_state = seed + 91 + (uint64_t)run * 7919;
			random_truth(&w, 200 * 20e6, 0, 1, 1);
			simulate(&w, &l, 200, 20e6);
			c = solve();
			plain = mean_width(c);
			vns_clock_set_wander(c, ppm[k]);
			vns_clock_solve(c);
			ratio[run] = mean_width(c) / plain;
			least = fmin(least, ratio[run]);
			bad += !all_hold(c, &w);
			vns_clock_free(c);
		}
		for (int i = 0; i < 51; i++) /* the median */
			for (int j = i + 1; j < 100; j++)
				if (ratio[j] < ratio[i]) {
					double swap = ratio[i];

					ratio[i] = ratio[j];
					ratio[j] = swap;
				}
		printf("# a linear clock, 200 exchanges of 40 us or more, one each 20 ms: allowing for %g ppm of "
		       "wander makes the bound %.2f times as wide (median of 100)\n", ppm[k], ratio[50]);
		bad += least < 1 || (ppm[k] < 20 && ratio[50] > 1.5);
	}
	return bad;
}

/* Packets of the measured traffic beside the exchanges, both ways, each @gap: slower, but more of them. */
static void add_traffic(struct vns_clock *c, const struct truth *w, double span, double gap)
{
	struct link l = { .base = { 30e3, 25e3 }, .kind = { Q_EXP, Q_EXP }, .scale = { 60e3, 60e3 } };
	struct vns_exchange x;

	for (double t = 0; t < span; t += gap) {
		make_exchange(w, &l, t, &x);
		vns_clock_add_bound(c, x.t1_ns, x.t2_ns - x.t1_ns, true);
		vns_clock_add_bound(c, x.t4_ns, x.t3_ns - x.t4_ns, false);
	}
	if (vns_clock_solve(c))
		abort();
}

/*
 * Clocks that keep their rate: how often is it said that they change it, or that there are signs of that? Half
 * of them with traffic beside exchanges over shared memory, as a live run in the lab. What it may be
 * is what vns_clock_rate() promises, signs with room for chance (3 sigma).
 */
static int check_steady(uint64_t seed)
{
	int runs[2] = { 0, 0 }, signs[2] = { 0, 0 }, changed[2] = { 0, 0 }, bad = 0;
	double widest = 0;

	for (long run = 0; run < 10000; run++) {
		struct link l = { .base = { 200, 200 }, .kind = { Q_EXP, Q_EXP }, .scale = { 40, 40 }, .proc = 100 };
		double interval = log_between(1e6, 1e9), most;
		bool beside = run % 2;
		struct vns_clock *c;
		struct truth w;

		rng_state = seed + 77 + (uint64_t)run * 86028121;
		if (!beside)
			random_link(&l, interval);
		else
			interval = 250e6;
		random_truth(&w, 300 * interval, 0, 1, 1);
		simulate(&w, &l, (size_t)log_between(60, 300), interval);
		if (n_x < 10)
			continue;
		c = solve();
		if (beside)
			add_traffic(c, &w, (double)n_x * interval, 20e6);
		runs[beside]++;
		signs[beside] += vns_clock_rate(c) == VNS_CLOCK_RATE_SIGNS;
		changed[beside] += vns_clock_rate(c) == VNS_CLOCK_RATE_CHANGED;
		if (beside && vns_clock_bent(c, &most))
			widest = fmax(widest, most);
		vns_clock_free(c);
	}
	for (int k = 0; k < 2; k++) {
		double n = runs[k];

		printf("# clocks that keep their rate, %s: signs of a change in %d of %d, a change said in %d\n",
		       k ? "shared memory and traffic" : "exchanges", signs[k], runs[k], changed[k]);
		bad += signs[k] > 0.035 * n + 3 * sqrt(0.035 * n) || changed[k] > 0.001 * n;
	}
	printf("# by shared memory such a bound is moved outward by %.0f ns at most\n", widest);
	return bad + (widest > 1000); /* what a fast exchange takes, not what a packet does */
}

/*
 * Clocks that keep their rate, read over shared memory as on a loaded emulated guest (recorded: a floor of 440 to
 * 540 ns): a few exchanges are off by up to 150 ns, and the floor is divided otherwise by 10 ns for a while, with no
 * delay to show for it. All stamps are true, so the bound must hold. That the rate changed is said by a test at level 1 in
 * 1000: of 2000 runs 2 are expected at most, and more than 8 come in 1 of 4000 such simulations (Poisson).
 */
static int check_odd_exchanges(uint64_t seed)
{
	int changed = 0, outside = 0, runs = 2000;

	for (int run = 0; run < runs; run++) {
		struct link l = { .base = { 240, 240 }, .kind = { Q_EXP, Q_EXP }, .scale = { 40, 40 }, .proc = 200 };
		double share = 0, move = 0, t = 0;
		struct vns_clock *c;
		struct truth w;

		rng_state = seed + 177 + (uint64_t)run * 86028121;
		share = between(0.005, 0.02);
		random_truth(&w, 150 * 20e6, 0, 1, 1);
		for (n_x = 0; n_x < 150; n_x++, t += 20e6 * between(0.9, 1.1)) {
			double odd = between(0, 1) < share ? between(20, 150) * (rng_next() % 2 ? 1 : -1) : 0;

			if (rng_next() % 40 == 0)
				move = between(-10, 10);
			l.base[0] = 240 + move + odd;
			l.base[1] = 240 - move - odd;
			make_exchange(&w, &l, t, &xs[n_x]);
		}
		c = solve();
		changed += vns_clock_rate(c) == VNS_CLOCK_RATE_CHANGED;
		outside += !all_hold(c, &w);
		vns_clock_free(c);
	}
	printf("# steady clocks with 0.5 to 2 %% of odd exchanges: a change said in %d of %d, truth outside in %d\n",
	       changed, runs, outside);
	return outside + (changed > 8);
}

/*
 * Clocks that keep their rate, two or three exchanges in a row off by one to two of the fastest delays now and then, 0.5
 * to 2 % of all: causality divides some of the runs there. What is after them agrees with the line before, so no change may
 * be said but by chance: in 1 of 1000 if they were odd one by one, which they are not: 40 seeds had 2 to 10 of 1000, 4.5 on
 * average. More than 20 then come in less than one of 10^7 simulations (Poisson).
 */
static int check_wrong_groups(uint64_t seed)
{
	int changed = 0, divided = 0, runs = 1000;

	for (int run = 0; run < runs; run++) {
		double floor = run % 2 ? 20e3 : 240, scale = run % 2 ? 15e3 : 40, share;
		struct link l = { .base = { floor, floor }, .kind = { Q_EXP, Q_EXP }, .scale = { scale, scale }, .proc = 200 };
		struct vns_clock *c;
		struct truth w;
		size_t pieces;

		rng_state = seed + 277 + (uint64_t)run * 86028121;
		share = log_between(0.005, 0.02) / 2.5;
		random_truth(&w, 300 * 20e6, 0, 1, 1);
		simulate(&w, &l, 300, 20e6);
		for (size_t i = 0; i < n_x; i++) {
			size_t end = between(0, 1) < share ? i + 2 + rng_next() % 2 : i;
			int64_t by = (int64_t)(2 * floor * between(1, 2)) * (rng_next() % 2 ? 1 : -1);

			for (; i < end && i < n_x; i++) {
				xs[i].t2_ns += by;
				xs[i].t3_ns += by;
			}
		}
		c = solve();
		vns_clock_pieces(c, &pieces);
		divided += pieces > 1;
		changed += vns_clock_rate(c) == VNS_CLOCK_RATE_CHANGED;
		vns_clock_free(c);
	}
	printf("# steady clocks with 0.5 to 2 %% of wrong exchanges in groups: a change said in %d of %d, divided in %d\n",
	       changed, runs, divided);
	return changed > 20 || divided < 20;
}

/* @n exchanges before a change of rate by @ppm and as many after it. Return: was it said? */
static bool change_said(struct link *l, double ppm, size_t n, double interval)
{
	double half = (double)n * interval, rate = between(-200e-6, 200e-6);
	struct truth w = { .n = 2, .from = { 0, half }, .at_from = { 0, rate * half },
			   .rate = { rate, rate + ppm * 1e-6 } };
	struct vns_clock *c;
	bool said;

	simulate(&w, l, 2 * n, interval);
	c = solve();
	said = vns_clock_rate(c) == VNS_CLOCK_RATE_CHANGED;
	vns_clock_free(c);
	return said;
}

/*
 * How long after a change of rate it is said, by a shared page and by packets. Causality alone refutes one line when
 * the bend is more than delays hide: of a hinge of rates r apart after T on either side the best line is off by r T / 4
 * both ways, so r T / 2 > D. Here D is what the fastest few of the exchanges near both ends and the hinge take,
 * both floors and 4 scales. So after 2 D / r, and 40 exchanges at least, it must be said in 95 of 100.
 */
static int check_power(uint64_t seed)
{
	static const double ppm[] = { 1, 5, 20, 100 }, floors[] = { 240, 20e3 }, scales[] = { 40, 15e3 };
	int bad = 0;

	for (int k = 0; k < 8; k++) {
		struct link l = { .base = { floors[k / 4], floors[k / 4] }, .kind = { Q_EXP, Q_EXP },
				  .scale = { scales[k / 4], scales[k / 4] }, .proc = 200 };
		double d = 2 * floors[k / 4] + 4 * scales[k / 4], r = ppm[k % 4] * 1e-6, interval = 20e6;
		size_t must = (size_t)fmax(40, 2 * d / r / interval), first = 0;
		int said = 0;

		if (2 * must > MAX_SAMPLES)
			interval *= ceil(2 * (double)must / MAX_SAMPLES);
		must = (size_t)fmax(40, ceil(2 * d / r / interval));
		for (size_t n = 8; first == 0 && n <= must; n = n * 5 / 4) {
			said = 0;
			for (int run = 0; run < 40; run++) {
				rng_state = seed + 977 + (uint64_t)(run + 100 * k) * 86028121 + n;
				said += change_said(&l, ppm[k % 4], n, interval);
			}
			if (said >= 38)
				first = n;
		}
		said = 0;
		for (int run = 0; run < 100; run++) {
			rng_state = seed + 1977 + (uint64_t)(run + 100 * k) * 86028121;
			said += change_said(&l, ppm[k % 4], must, interval);
		}
		printf("# exchanges of %.1f us each %.0f ms, the rate changes by %g ppm: said in 95 of 100 after %.2f s; after "
		       "%.2f s, when it must be, in %d of 100\n", 2 * floors[k / 4] / 1e3, interval / 1e6, ppm[k % 4],
		       (double)first * interval / 1e9, (double)must * interval / 1e9, said);
		bad += said < 95;
	}
	return bad;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : FIXED_SEED;
	int bad;

	printf("# seed %" PRIu64 "\n1..6\n", seed);
	bad = report(1, "a slewed clock is held when its wander is allowed for", check_wander(seed));
	bad += report(2, "a linear clock's bound stays useful", check_wander_cost(seed));
	bad += report(3, "no change of rate is claimed where there is none", check_steady(seed));
	bad += report(4, "odd exchanges are no change of rate", check_odd_exchanges(seed));
	bad += report(6, "few wrong exchanges in a row are no change of rate", check_wrong_groups(seed));
	bad += report(5, "changes of rate are said in time", check_power(seed));
	return bad != 0;
}
