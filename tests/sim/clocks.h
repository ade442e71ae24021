/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Simulated clocks and links with known truth, and whether a solved relation holds that truth.
 */
#ifndef TESTS_SIM_CLOCKS_H
#define TESTS_SIM_CLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vnetscope/clock.h>

#define EPOCH       INT64_C(1763764800123456789)
#define MAX_STEPS   31
#define MAX_PIECES  1024 /* of a truth: a kernel that steers sets another rate each second */
#define MAX_SAMPLES 10000
#define EDGE_NS     1.01 /* stamps are cut to whole ns, results too */
/*
 * The seed unless another is given: some checks count runs against a limit that chance exceeds now and then (of slewed
 * clocks about 30 of 1000 are outside, more than 50 in 1 of 3000 simulations), and such a failure would say nothing.
 */
#define FIXED_SEED  UINT64_C(20261122)

/* Truth: offset in ns at host time t (ns since EPOCH), piecewise linear. */
struct truth {
	int64_t base;
	size_t n;                     /* pieces */
	double from[MAX_PIECES];      /* where each piece begins */
	double at_from[MAX_PIECES];   /* offset - base there */
	double rate[MAX_PIECES];
};

enum queueing { Q_NONE, Q_EXP, Q_PARETO, Q_BURST, Q_KINDS };

struct link {
	double base[2];
	double scale[2];
	enum queueing kind[2];
	double proc, loss;
	int burst_left[2];
};

/* The exchanges of the run under way. */
extern struct vns_exchange xs[MAX_SAMPLES];
extern size_t n_x;
/* Where the truth was last looked for in a bound. */
extern const char *where;

extern uint64_t rng_state; /* the seed, and what became of it */
uint64_t rng_next(void);
double between(double lo, double hi);
double log_between(double lo, double hi);
double truth_offset(const struct truth *w, double t);

/* One exchange begun at host time @t. Return: false when it was lost. */
bool make_exchange(const struct truth *w, struct link *l, double t, struct vns_exchange *x);
void simulate(const struct truth *w, struct link *l, size_t n, double interval);
void random_link(struct link *l, double interval);

/* Steps of at least @least ns, at random places at least a tenth of the span apart. */
void random_truth(struct truth *w, double span, size_t steps, double least, double most);
struct vns_clock *solve(void);

/* Is the truth inside the bound at host time @t (relative)? */
bool holds(const struct vns_clock *c, const struct truth *w, double t, const char *place);
bool all_hold(const struct vns_clock *c, const struct truth *w);

/* Largest distance of the truth from the bound, in widths of the bound. */
double miss(const struct vns_clock *c, const struct truth *w);
double fastest(void);

/*
 * A clock under NTP: no step, but every now and then another rate, found by nobody if the change is small
 * next to what the delays hide. @most: largest change, ppm.
 */
void slewed_truth(struct truth *w, double span, size_t changes, double most);

/* TAP: one line for each check. */
int report(int number, const char *what, int failures);

#endif
