// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vo's figures against simulated packets whose latency distributions are known: the 95 % intervals of the
 * first and the last byte, and of the sum of both directions, hold the truth in 95 +- 2 % (two standard
 * errors of the count aside) of many runs. Usage: test_vo_intervals [SEED].
 *
 * A request takes exp(z) in (first byte), its last byte exp(w), z and w of the processes of test_intervals.c;
 * the reply takes a constant time, so the sum's distribution is the request's, moved.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "measure/vo_figures.h"
#include "process.h"

#define RUNS    600
#define UNIT_NS 30000.0 /* median */
#define SPREAD  1.2     /* a bucket (1.6 %) is small beside the sampling error */
#define BACK_NS 20000
#define LAST_NS 50000 /* beside what the process gives */
#define FIGURES 3

static const char *const names[FIGURES] = { "mean", "p50", "p95" };

struct tally {
	unsigned int given[FIGURES], held[FIGURES];
};

static void count(struct tally *t, const struct vns_intervals *i, int64_t moved)
{
	const struct vns_interval *of[FIGURES] = { &i->mean, &i->p50, &i->p95 };
	const double truth[FIGURES] = { exp(SPREAD * SPREAD / 2), 1, exp(SPREAD * 1.6448536269514722) };

	for (int k = 0; k < FIGURES; k++) {
		double v = UNIT_NS * truth[k] + (double)moved;

		t->given[k] += vns_interval_known(of[k]);
		t->held[k] += vns_interval_known(of[k]) && (double)of[k]->lower <= v &&
			      v <= (double)of[k]->upper;
	}
}

static struct vns_twin_sample packet(int direction, int64_t host_ns, int64_t first_ns, int64_t last_ns)
{
	int sign = direction == VNS_HOST_TO_GUEST ? 1 : -1;

	return (struct vns_twin_sample){ .host_ns = host_ns, .last_host_ns = host_ns,
					 .first_raw_ns = sign * first_ns, .last_raw_ns = sign * last_ns,
					 .flow_hash = 42, .proto = VNS_PROTO_TCP,
					 .direction = (uint8_t)direction, .has_last = true };
}

static int64_t latency(double z)
{
	return llround(UNIT_NS * exp(SPREAD * z));
}

static int one_run(struct tally of[3], struct vns_clock *same, struct series first, unsigned int n)
{
	struct vns_vo_samples s = { 0 };
	struct vns_vo_target t = { 0 };
	const struct vns_vo_figure *in = &t.fig[VNS_HOST_TO_GUEST][VNS_PROTO_TCP];
	struct series last = first;
	int code;

	first.z = normal();
	last.z = normal();
	first.now_ns = (int64_t)(uniform() * 1e15);
	for (unsigned int k = 0; k < n; k++) {
		int64_t takes = latency(next_z(&first));
		struct vns_twin_sample x = packet(VNS_HOST_TO_GUEST, first.now_ns, takes,
						  LAST_NS + latency(next_z(&last)));

		vns_vo_samples_add(&s, &x);
		x = packet(VNS_GUEST_TO_HOST, first.now_ns, BACK_NS, BACK_NS);
		vns_vo_samples_add(&s, &x);
	}
	code = vns_vo_figures(&s, same, t.fig, t.sum);
	count(&of[0], &in->interval, 0);
	count(&of[1], &in->last_interval, LAST_NS);
	count(&of[2], &t.sum[VNS_PROTO_TCP].interval, BACK_NS);
	if (s.lost || s.last_lost || t.sum[VNS_PROTO_TCP].paired.n != n || in->last.n != n)
		code = -1;
	vns_vo_target_fini(&t);
	vns_vo_samples_free(&s);
	return code;
}

static const struct {
	const char *name;
	struct series series;
	unsigned int n;
} cases[] = {
	{ "independent, 400", { .rho = 0 }, 400 },
	{ "AR(1) 0.7, 3000", { .rho = 0.7 }, 3000 },
	{ "bursts, 12000", { .rho = 0.8, .bursts = true }, 12000 },
};

/* Return: whether all intervals of @t hold the truth as often as they promise. */
static bool judge(const char *what, const struct tally *t)
{
	bool good = true;

	printf("  %s:", what);
	for (int k = 0; k < FIGURES; k++) {
		double share = (double)t->held[k] / t->given[k];
		bool well = t->given[k] >= RUNS * 9 / 10 &&
			    fabs(share - 0.95) <= 0.02 + 2 * sqrt(0.95 * 0.05 / t->given[k]);

		printf(" %s %.1f %% of %u%s", names[k], 100 * share, t->given[k], well ? "" : " FAILED");
		good &= well;
	}
	putchar('\n');
	return good;
}

int main(int argc, char **argv)
{
	static const char *const what[] = { "first byte", "last byte", "both directions" };
	struct vns_clock *same = NULL;
	bool good = true;

	state = argc > 1 ? strtoull(argv[1], NULL, 10) : 20130807;
	printf("seed %" PRIu64 ", %d runs each\n", state, RUNS);
	if (vns_clock_new(&same, VNS_CLOCK_SAME) || vns_clock_set_fixed(same, 0, 0, 0, 0) ||
	    vns_clock_solve(same))
		return 1;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct tally t[3] = { 0 };

		for (int run = 0; run < RUNS && good; run++)
			good = one_run(t, same, cases[c].series, cases[c].n) == 0;
		printf("%s\n", cases[c].name);
		for (int k = 0; k < 3; k++)
			good &= judge(what[k], &t[k]);
	}
	vns_clock_free(same);
	return good ? 0 : 1;
}
