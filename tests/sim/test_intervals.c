// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Intervals of means and percentiles against processes whose truth is known: 95 % intervals hold it in
 * 95 +- 2 % (two standard errors of the count aside) of many simulated captures. Usage: test_intervals [SEED].
 *
 * Values are exp(spread * z), z standard normal, so mean and percentiles are known exactly, and z is
 *   independent            at exponential times
 *   autoregressive         AR(1), correlation 0.7 or 0.9 from sample to sample
 *   bursts                 trains of geometric length (mean 20) with a common part of 80 % of the
 *                          variance, idle between them: packets of one event share their delay
 *   two points             another point saw the same packets, with a delay of its own of 10 % of the
 *                          variance: the total over both
 * The seed is fixed unless given: 40 coverages of 1200 runs have a standard error of 0.6 % each, and a
 * chance failure now and then would say nothing.
 *
 * Means are judged at a spread of 1, percentiles at 2.5, where the bucket of the histogram (1.6 %) that
 * is added to every interval is small beside the sampling error that is under test.
 *
 * A percentile for which most captures are too short must not be given in most of them; what is
 * given then may miss the truth in at most 7 % of all captures.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <vnetscope/stat.h>

#include "process.h"

#define MEAN_SPREAD 1.0
#define RANK_SPREAD 2.5
#define UNIT_NS 1e6
#define RUNS    1200
#define FIGURES 4
#define MOST    20000

struct tally {
	unsigned int given[FIGURES], held[FIGURES];
};

static unsigned int below; /* means' intervals that begin below the least sample */

static void count(struct tally *t, const struct vns_intervals *i, bool mean)
{
	static const double z[] = { 0, 0, 1.6448536269514722, 2.3263478740408408 };
	const struct vns_interval *of[] = { &i->mean, &i->p50, &i->p95, &i->p99 };

	for (int k = mean ? 0 : 1; k < (mean ? 1 : FIGURES); k++) {
		double truth = UNIT_NS * (mean ? exp(MEAN_SPREAD * MEAN_SPREAD / 2) :
						 exp(RANK_SPREAD * z[k]));

		t->given[k] += vns_interval_known(of[k]);
		t->held[k] += vns_interval_known(of[k]) && (double)of[k]->lower <= truth &&
			      truth <= (double)of[k]->upper;
	}
}

static int64_t value_at(double z, bool mean)
{
	return llround(UNIT_NS * exp((mean ? MEAN_SPREAD : RANK_SPREAD) * z));
}

/* @n values of one spread: what is said of them. */
static void one_figure(struct tally *t, const int64_t *at, const double *z, unsigned int n, bool as_series,
		       bool two, bool mean)
{
	static struct vns_blocks blocks, other;
	struct vns_series *series = NULL;
	struct vns_dist all = { 0 };
	struct vns_intervals i;

	for (unsigned int k = 0; k < n; k++) {
		int64_t v = value_at(z[k], mean);

		vns_dist_add(&all, v);
		if (as_series)
			vns_series_add(&series, at[k], v);
		else
			vns_blocks_add(&blocks, at[k], v);
		if (!two)
			continue;
		v = value_at(sqrt(0.9) * z[k] + sqrt(0.1) * normal(), mean);
		vns_dist_add(&all, v);
		vns_blocks_add(&other, at[k] + 30000, v);
	}
	vns_blocks_merge(&blocks, &other);
	if (as_series)
		vns_series_intervals(series, &all, &i);
	else
		vns_blocks_intervals(&blocks, &all, &i);
	below += vns_interval_known(&i.mean) && i.mean.lower < all.min;
	count(t, &i, mean);
	vns_series_free(series);
	vns_blocks_fini(&blocks);
	vns_blocks_fini(&other);
	vns_dist_fini(&all);
}

static void one_capture(struct tally *t, struct series s, unsigned int n, bool as_series, bool two)
{
	static int64_t at[MOST];
	static double z[MOST];

	s.z = normal();
	s.now_ns = (int64_t)(uniform() * 1e15);
	for (unsigned int k = 0; k < n; k++) {
		z[k] = next_z(&s);
		at[k] = s.now_ns;
	}
	one_figure(t, at, z, n, as_series, two, true);
	one_figure(t, at, z, n, as_series, two, false);
}

static const struct {
	const char *name;
	struct series series;
	unsigned int n;
	bool as_series;
	bool two; /* a second point saw the same packets: the total of both */
} cases[] = {
	{ "independent, 40", { .rho = 0 }, 40, true, false },
	{ "independent, 400", { .rho = 0 }, 400, true, false },
	{ "independent, 4000", { .rho = 0 }, 4000, false, false },
	{ "AR(1) 0.7, 500", { .rho = 0.7 }, 500, true, false },
	{ "AR(1) 0.7, 5000", { .rho = 0.7 }, 5000, true, false },
	{ "AR(1) 0.9, 4000", { .rho = 0.9 }, 4000, false, false },
	{ "AR(1) 0.9, 20000", { .rho = 0.9 }, 20000, false, false },
	{ "bursts, 3000", { .rho = 0.8, .bursts = true }, 3000, true, false },
	{ "bursts, 20000", { .rho = 0.8, .bursts = true }, 20000, false, false },
	{ "two points, 400", { .rho = 0 }, 400, false, true },
	{ "two points, 5000", { .rho = 0.7 }, 5000, false, true },
};

/* Return: whether the figure's coverage is as promised. */
static bool judge(const char *name, unsigned int given, unsigned int held)
{
	double share = given ? (double)held / given : 1;
	bool often = given >= RUNS * 9 / 10;
	double chance = given ? 2 * sqrt(0.95 * 0.05 / given) : 0;
	bool good = often ? fabs(share - 0.95) <= 0.02 + chance : given - held <= RUNS * 7 / 100;

	printf("  %s %5.1f %% of %u%s", name, 100 * share, given, good ? "" : " FAILED");
	return good;
}

int main(int argc, char **argv)
{
	static const char *const names[FIGURES] = { "mean", "p50", "p95", "p99" };
	bool good = true;

	state = argc > 1 ? strtoull(argv[1], NULL, 10) : 20130807;
	printf("seed %" PRIu64 ", %d captures each\n", state, RUNS);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct tally t = { 0 };

		for (int run = 0; run < RUNS; run++)
			one_capture(&t, cases[c].series, cases[c].n, cases[c].as_series,
				    cases[c].two);
		printf("%-18s", cases[c].name);
		for (int k = 0; k < FIGURES; k++)
			good &= judge(names[k], t.given[k], t.held[k]);
		putchar('\n');
	}
	printf("%u intervals of means begin below the least sample\n", below);
	return good && !below ? 0 : 1;
}
