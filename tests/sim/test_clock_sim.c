// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The clock engine against simulated truth: a guest clock whose offset is known at every instant,
 * exchanges over links with queueing, loss and asymmetry -> does the bound hold the truth, is it
 * as tight as a slow reference (every line through two points tried; no code shared), does the
 * 95 % interval cover in 95 % of runs where delays are symmetric?
 *
 * usage: test_clock_sim [SEED [RUN]]   the seed is fixed unless given (clocks.h), and printed; with RUN only that run is made
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clocks.h"

#define SOME_STEPS  3
#define MANY_STEPS  12
#define BOUND_RUNS  1000

/* Runs of any shape; steps, where there are any, too large to hide. */
static int check_bound(uint64_t seed, long only)
{
	int bad = 0, stepped = 0, needless = 0, straight = 0, widened = 0;
	uint64_t exchanges = 0;

	for (long run = 0; run < BOUND_RUNS; run++) {
		struct truth w;
		struct link l;
		struct vns_clock *c;
		double interval;
		size_t n, steps, pieces;

		if (only >= 0 && run != only)
			continue;
		rng_state = seed + (uint64_t)run * 7919;
		interval = log_between(1e6, 1e9);
		n = (size_t)log_between(10, run % 50 == 0 ? 10000 : 1000);
		steps = n >= 60 && run % 3 == 0 ? 1 + rng_next() % (n >= 200 ? MANY_STEPS : SOME_STEPS) : 0;
		random_link(&l, interval);
		random_truth(&w, (double)n * interval, steps, 30 * interval * 1e-3 + 10e6, 10e9);
		simulate(&w, &l, n, interval);
		if (n_x < 2)
			continue;
		exchanges += n_x;
		stepped += steps > 0;
		c = solve();
		vns_clock_pieces(c, &pieces);
		needless += steps == 0 && pieces > 1;
		if (steps == 0 && n_x >= 50) {
			struct vns_clock_at at;

			/* without need the bound is not wider than about the fastest exchange's own */
			vns_clock_eval(c, xs[n_x / 2].t1_ns, &at);
			straight++;
			widened += at.upper_ns - at.lower_ns > 2 * fastest();
		}
		if (!all_hold(c, &w) || (steps > 0 && pieces < 2)) {
			printf("# run %ld (seed %" PRIu64 "): truth outside the bound, %s; %zu exchanges, "
			       "%zu steps, %zu pieces found\n", run, seed, where, n_x, steps, pieces);
			bad++;
		}
		vns_clock_free(c);
	}
	printf("# bound: %d of %d runs hold the truth at every instant (%d with steps, %" PRIu64
	       " exchanges); cut without need: %d; widened without need: %d of %d\n", BOUND_RUNS - bad,
	       BOUND_RUNS, stepped, exchanges, needless, widened, straight);
	return bad + (needless > 10) + (widened > straight / 10);
}

/* Steps of any size, down to ones that nothing can show: most are found, and then all holds. */
static int check_small_steps(uint64_t seed)
{
	int hid = 0, hid_bad = 0, told = 0, seen = 0, seen_bad = 0;

	for (long run = 0; run < 300; run++) {
		struct truth w;
		struct link l;
		struct vns_clock *c;
		double interval;
		size_t pieces;
		bool ok;

		rng_state = seed + 1000003 + (uint64_t)run * 104729;
		interval = log_between(1e6, 1e9);
		random_link(&l, interval);
		random_truth(&w, 200 * interval, 1, 1e3, 10e6);
		simulate(&w, &l, 200, interval);
		c = solve();
		vns_clock_pieces(c, &pieces);
		ok = all_hold(c, &w);
		if (pieces < 2) {
			hid++;
			told += vns_clock_bent(c, NULL); /* by signs, and widened for */
			hid_bad += !ok;
		} else {
			seen++;
			seen_bad += !ok;
		}
		vns_clock_free(c);
	}
	printf("# steps of 1 us to 10 ms: %d found (truth outside at some instant in %d), %d too small to be found "
	       "(%d; signs told of %d)\n", seen, seen_bad, hid, hid_bad, told);
	/* the place of a step found by likelihood is not certain: wrong in about 1 of 5000 runs */
	return seen_bad > 3 || hid > 40;
}

/* A load that slows one direction for a while moves midpoints, but the clock did not change. */
static int check_one_sided_load(uint64_t seed)
{
	int bad = 0, cuts = 0;

	for (long run = 0; run < 200; run++) {
		struct truth w;
		struct link l = { .proc = 2000, .kind = { Q_EXP, Q_EXP } };
		struct vns_clock *c;
		size_t n = 0, pieces, kept = 0;
		double t = 0, interval = 20e6, more;

		rng_state = seed + 5 + (uint64_t)run * 32452843;
		l.base[0] = l.base[1] = log_between(200, 30e3);
		l.scale[0] = l.scale[1] = l.base[0] / 10;
		more = l.scale[0] * log_between(1, 30);
		random_truth(&w, 200 * interval, 0, 1, 1);
		for (; n < 200; n++, t += interval) {
			l.base[0] += n == 60 ? more : n == 140 ? -more : 0;
			kept += make_exchange(&w, &l, t, &xs[kept]);
		}
		n_x = kept;
		c = solve();
		vns_clock_pieces(c, &pieces);
		cuts += pieces > 1;
		bad += !all_hold(c, &w);
		vns_clock_free(c);
	}
	printf("# one direction slow for a while: taken for a step in %d of 200 runs, truth outside in "
	       "%d\n", cuts, bad);
	return bad || cuts > 10;
}

static int check_slewing(uint64_t seed)
{
	int bad = 0, cut = 0;
	double worst = 0;

	for (long run = 0; run < 1000; run++) {
		struct truth w;
		struct link l;
		struct vns_clock *c;
		double interval;
		size_t n, pieces;

		rng_state = seed + 21 + (uint64_t)run * 86028121;
		interval = log_between(1e6, 1e9);
		n = (size_t)log_between(60, run % 50 == 0 ? 10000 : 1000);
		random_link(&l, interval);
		slewed_truth(&w, (double)n * interval, 1 + rng_next() % 8, run % 2 ? 10 : 200);
		simulate(&w, &l, n, interval);
		if (n_x < 10)
			continue;
		c = solve();
		vns_clock_pieces(c, &pieces);
		cut += pieces > 1;
		if (!all_hold(c, &w)) {
			double off = miss(c, &w);

			worst = fmax(worst, off);
			bad++;
		}
		vns_clock_free(c);
	}
	printf("# clocks slewed by NTP: truth outside at some instant in %d of 1000 runs, by at most %.0f %% "
	       "of the bound's width; found to change in %d\n", bad, 100 * worst, cut);
	/*
	 * What bends by less than the delays hide cannot be known (a line explains the stamps as well):
	 * about 25 of 1000, most by a hundredth of the width, where without widen.c it is 130.
	 */
	return bad > 50;
}

/* Packets of one way each, fast, beside slow exchanges: tighter, and never wrong. */
static int check_traffic_beside(uint64_t seed)
{
	int bad = 0;
	double before = 0, after = 0;

	for (long run = 0; run < 200; run++) {
		struct link slow = { .base = { 200e3, 500e3 }, .kind = { Q_EXP, Q_PARETO },
				     .scale = { 50e3, 50e3 }, .proc = 5000 };
		struct link fast = { .base = { 5e3, 9e3 }, .kind = { Q_EXP, Q_EXP },
				     .scale = { 20e3, 20e3 } };
		struct vns_clock_at at;
		struct vns_exchange x;
		struct vns_clock *c;
		struct truth w;
		double span = 100 * 50e6;

		rng_state = seed + 11 + (uint64_t)run * 49979687;
		random_truth(&w, span, run % 2 ? 1 : 0, 50e6, 1e9);
		simulate(&w, &slow, 100, 50e6);
		c = solve();
		vns_clock_eval(c, EPOCH + (int64_t)(span / 4), &at);
		before += (at.upper_ns - at.lower_ns) / 200;
		for (double t = 0; t < span; t += 10e6) {
			make_exchange(&w, &fast, t, &x);
			vns_clock_add_bound(c, x.t1_ns, x.t2_ns - x.t1_ns, true);
			make_exchange(&w, &fast, t + 5e6, &x);
			vns_clock_add_bound(c, x.t4_ns, x.t3_ns - x.t4_ns, false);
		}
		vns_clock_solve(c);
		vns_clock_eval(c, EPOCH + (int64_t)(span / 4), &at);
		after += (at.upper_ns - at.lower_ns) / 200;
		bad += !all_hold(c, &w);
		vns_clock_free(c);
	}
	printf("# packets beside exchanges: mean width %.1f us to %.1f us, truth outside in %d of 200 runs"
	       "\n", before / 1e3, after / 1e3, bad);
	return bad || after > before / 5;
}

/* ---- the slow reference: every line through two points, checked against all points ---- */

struct ref_point {
	long double x, y;
	int upper;
};

static bool ref_feasible(const struct ref_point *p, size_t n, long double a, long double b)
{
	if (b > 500e-6L + 1e-15L || b < -500e-6L - 1e-15L)
		return false;
	for (size_t i = 0; i < n; i++) {
		long double v = a + b * p[i].x - p[i].y;

		if (p[i].upper ? v > 1e-4L : v < -1e-4L)
			return false;
	}
	return true;
}

/* Largest and smallest value at @t over the feasible lines. */
static bool ref_bound(const struct ref_point *p, size_t n, long double t, long double *lo,
		      long double *hi)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < n + 2; j++) {
			long double b, v;

			if (j < n && p[i].x == p[j].x)
				continue;
			b = j == n ? 500e-6L : j == n + 1 ? -500e-6L :
							    (p[j].y - p[i].y) / (p[j].x - p[i].x);
			if (!ref_feasible(p, n, p[i].y - b * p[i].x, b))
				continue;
			v = p[i].y + b * (t - p[i].x);
			*lo = any ? fminl(*lo, v) : v;
			*hi = any ? fmaxl(*hi, v) : v;
			any = true;
		}
	}
	return any;
}

static int check_tight(uint64_t seed)
{
	static struct ref_point p[2 * MAX_SAMPLES];
	int bad = 0, compared = 0;

	for (long run = 0; run < 150; run++) {
		struct truth w;
		struct link l;
		struct vns_clock *c;
		double interval, span;

		rng_state = seed + 77 + (uint64_t)run * 15485863;
		interval = log_between(1e6, 1e9);
		random_link(&l, interval);
		span = 20 * interval;
		random_truth(&w, span, 0, 1, 1);
		simulate(&w, &l, (size_t)between(2, 22), interval);
		if (n_x < 1)
			continue;
		for (size_t i = 0; i < n_x; i++) {
			p[2 * i] = (struct ref_point){ (long double)(xs[i].t1_ns - EPOCH),
				(long double)(xs[i].t2_ns - xs[i].t1_ns - w.base) + 1, 1 };
			p[2 * i + 1] = (struct ref_point){ (long double)(xs[i].t4_ns - EPOCH),
				(long double)(xs[i].t3_ns - xs[i].t4_ns - w.base) - 1, 0 };
		}
		c = solve();
		for (int k = -2; k <= 12; k++) {
			struct vns_clock_at at;
			int64_t t = (int64_t)(span * k / 10);
			long double lo = 0, hi = 0;

			if (!ref_bound(p, 2 * n_x, (long double)t, &lo, &hi))
				continue;
			vns_clock_eval(c, EPOCH + t, &at);
			compared++;
			if (fabsl((long double)at.lower_ns - (long double)w.base - lo) > 0.01L ||
			    fabsl((long double)at.upper_ns - (long double)w.base - hi) > 0.01L) {
				printf("# run %ld: at %" PRId64 " [%.3f %.3f], reference [%.3Lf %.3Lf]\n",
				       run, t, at.lower_ns - (double)w.base,
				       at.upper_ns - (double)w.base, lo, hi);
				bad++;
			}
		}
		vns_clock_free(c);
	}
	printf("# tightness: %d of %d bounds equal the reference within 0.01 ns\n", compared - bad,
	       compared);
	return bad || compared < 1000;
}

static const char *const kind_name[] = { "none", "exponential", "pareto", "bursts" };

/* Share of runs whose 95 % interval holds the truth. */
static double coverage(uint64_t seed, enum queueing kind, size_t n, double asymmetry, int runs,
		       double *ratio)
{
	int covered = 0;

	*ratio = 0;
	for (int run = 0; run < runs; run++) {
		struct truth w;
		struct link l = { .proc = 3000 };
		struct vns_clock *c;
		struct vns_clock_at at;
		double t, o, interval = 10e6;

		rng_state = seed + 31 * n + 5 * kind + (uint64_t)run * 6700417;
		for (int d = 0; d < 2; d++) {
			l.base[d] = 20e3 + (d ? asymmetry : 0);
			l.kind[d] = kind;
			l.scale[d] = 15e3;
		}
		random_truth(&w, (double)n * interval, 0, 1, 1);
		simulate(&w, &l, n, interval);
		c = solve();
		t = run % 2 ? (double)n * interval / 2 : (double)n * interval;
		vns_clock_eval(c, EPOCH + (int64_t)t, &at);
		o = (double)w.base + truth_offset(&w, floor(t));
		covered += o >= at.ci_lower_ns && o <= at.ci_upper_ns;
		*ratio += (at.ci_upper_ns - at.ci_lower_ns) / (at.upper_ns - at.lower_ns) / runs;
		vns_clock_free(c);
	}
	return (double)covered / runs;
}

static int check_coverage(uint64_t seed)
{
	static const size_t sizes[] = { 10, 30, 100, 1000 };
	double sum = 0, ratio;
	int bad = 0, cells = 0;

	for (int kind = Q_EXP; kind < Q_KINDS; kind++) {
		for (size_t s = 0; s < 4; s++) {
			double v = coverage(seed, (enum queueing)kind, sizes[s], 0,
					    sizes[s] > 500 ? 200 : 500, &ratio);

			printf("# 95 %% interval, symmetric %s, %zu exchanges: covers %.1f %%, %.2f of "
			       "the bound's width\n", kind_name[kind], sizes[s], 100 * v, ratio);
			sum += v;
			cells++;
			bad += v < 0.86; /* 200 runs: four standard errors below 93 % */
		}
	}
	printf("# 95 %% interval over all symmetric cases: %.1f %%\n", 100 * sum / cells);
	printf("# one direction 30 us longer (no interval can know it), 100 exchanges: %.1f %%\n",
	       100 * coverage(seed, Q_EXP, 100, 30e3, 200, &ratio));
	return bad || sum / cells < 0.93 || sum / cells > 0.995;
}

static int check_speed(uint64_t seed)
{
	struct truth w;
	struct link l;
	struct vns_clock *c;
	clock_t begin;

	rng_state = seed;
	random_link(&l, 10e6);
	l.loss = 0;
	random_truth(&w, MAX_SAMPLES * 10e6, 2, 50e6, 1e9);
	simulate(&w, &l, MAX_SAMPLES, 10e6);
	begin = clock();
	c = solve();
	printf("# %zu exchanges added and solved in %.1f ms\n", n_x,
	       1e3 * (double)(clock() - begin) / CLOCKS_PER_SEC);
	vns_clock_free(c);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : FIXED_SEED;
	long only = argc > 2 ? strtol(argv[2], NULL, 0) : -1;
	int bad;

	printf("# seed %" PRIu64 "\n", seed);
	if (only >= 0)
		return check_bound(seed, only) != 0;
	puts("1..8");
	bad = report(1, "the bound holds the truth", check_bound(seed, -1));
	bad += report(2, "the bound is as tight as the reference", check_tight(seed));
	bad += report(3, "the 95 % interval covers symmetric delays", check_coverage(seed));
	bad += report(4, "small steps are found", check_small_steps(seed));
	bad += report(5, "a load is not a step", check_one_sided_load(seed));
	bad += report(6, "packets bound the clock", check_traffic_beside(seed));
	bad += report(8, "a clock slewed by NTP is held", check_slewing(seed));
	bad += report(7, "speed is printed", check_speed(seed));
	return bad != 0;
}
