// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Clocks, links and the exchanges over them, drawn from a seed, and whether a solved relation holds their
 * truth. in: a seed, shapes; out: struct vns_exchange as a host would have them. The truth is kept in doubles
 * relative to EPOCH and shares no code with the engine.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clocks.h"

uint64_t rng_state;

uint64_t rng_next(void) /* splitmix64 (Steele, Lea, Flood 2014) */
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static double uniform(void)
{
	return ((double)(rng_next() >> 11) + 0.5) / 9007199254740992.0;
}

double between(double lo, double hi)
{
	return lo + (hi - lo) * uniform();
}

double log_between(double lo, double hi)
{
	return lo * pow(hi / lo, uniform());
}

double truth_offset(const struct truth *w, double t)
{
	size_t i = 0, end = w->n;

	while (end - i > 1) { /* the last that begins at or before @t */
		size_t mid = i + (end - i) / 2;

		if (t < w->from[mid])
			end = mid;
		else
			i = mid;
	}
	return w->at_from[i] + w->rate[i] * (t - w->from[i]);
}

static double queue_delay(struct link *l, int dir)
{
	double u = uniform();

	switch (l->kind[dir]) {
	case Q_EXP:
		return -l->scale[dir] * log(u);
	case Q_PARETO:
		return l->scale[dir] * (pow(u, -1 / 1.3) - 1);
	case Q_BURST:
		if (l->burst_left[dir] == 0 && uniform() < 0.02)
			l->burst_left[dir] = (int)between(5, 40);
		if (l->burst_left[dir] > 0) {
			l->burst_left[dir]--;
			return -20 * l->scale[dir] * log(u);
		}
		return -l->scale[dir] * log(u);
	default:
		return 0;
	}
}

bool make_exchange(const struct truth *w, struct link *l, double t, struct vns_exchange *x)
{
	double arrive = t + l->base[0] + queue_delay(l, 0);
	double leave = arrive + l->proc * between(0.5, 1.5);
	double back = leave + l->base[1] + queue_delay(l, 1);

	x->t1_ns = EPOCH + (int64_t)floor(t);
	x->t2_ns = EPOCH + w->base + (int64_t)floor(arrive + truth_offset(w, arrive));
	x->t3_ns = EPOCH + w->base + (int64_t)floor(leave + truth_offset(w, leave));
	x->t4_ns = EPOCH + (int64_t)floor(back);
	return uniform() >= l->loss;
}

struct vns_exchange xs[MAX_SAMPLES];
size_t n_x;

void simulate(const struct truth *w, struct link *l, size_t n, double interval)
{
	double t = 0;

	n_x = 0;
	for (size_t i = 0; i < n; i++) {
		if (make_exchange(w, l, t, &xs[n_x]))
			n_x++;
		t += interval * between(0.9, 1.1);
	}
}

void random_link(struct link *l, double interval)
{
	memset(l, 0, sizeof(*l));
	for (int d = 0; d < 2; d++) {
		l->base[d] = log_between(200, 100e3);
		l->kind[d] = (enum queueing)(rng_next() % Q_KINDS);
		l->scale[d] = log_between(50, 200e3);
	}
	if (rng_next() % 3 == 0)
		l->base[1] = l->base[0];
	if (rng_next() % 3 == 0)
		l->kind[rng_next() % 2] = Q_NONE;
	l->proc = log_between(100, 20e3);
	l->loss = rng_next() % 4 ? 0 : between(0.01, 0.3);
	/* an exchange ends before the next begins, most of the time */
	for (int d = 0; d < 2; d++)
		l->scale[d] = fmin(l->scale[d], interval / 10);
}

static double random_rate(void)
{
	double limit = rng_next() % 4 ? 200e-6 : 499e-6;

	return between(-limit, limit);
}

void random_truth(struct truth *w, double span, size_t steps, double least, double most)
{
	double t = 0;

	w->base = (int64_t)between(-7.2e12, 7.2e12);
	w->n = steps + 1;
	w->from[0] = 0;
	w->at_from[0] = 0;
	w->rate[0] = random_rate();
	for (size_t i = 1; i <= steps; i++) {
		double end;

		t += span / (double)(steps + 1) * between(0.6, 1);
		end = w->at_from[i - 1] + w->rate[i - 1] * (t - w->from[i - 1]);
		w->from[i] = t;
		w->at_from[i] = end + (rng_next() % 2 ? 1 : -1) * log_between(least, most);
		w->rate[i] = rng_next() % 2 ? w->rate[0] : random_rate();
	}
}

struct vns_clock *solve(void)
{
	struct vns_clock *c;

	if (vns_clock_new(&c, VNS_CLOCK_EXCHANGE))
		abort();
	for (size_t i = 0; i < n_x; i++)
		if (vns_clock_add(c, &xs[i]) < 0)
			abort();
	if (vns_clock_solve(c))
		abort();
	return c;
}

const char *where;

bool holds(const struct vns_clock *c, const struct truth *w, double t, const char *place)
{
	struct vns_clock_at at;
	double o = (double)w->base + truth_offset(w, floor(t));

	where = place;
	if (vns_clock_eval(c, EPOCH + (int64_t)floor(t), &at))
		return false;
	return at.lower_ns <= o + EDGE_NS && at.upper_ns >= o - EDGE_NS &&
	       at.lower_ns <= at.offset_ns && at.offset_ns <= at.upper_ns &&
	       at.ci_lower_ns <= at.offset_ns && at.offset_ns <= at.ci_upper_ns &&
	       at.ci_lower_ns >= at.lower_ns && at.ci_upper_ns <= at.upper_ns;
}

/* The same for an instant read off the guest's clock at host time @t. */
static bool guest_holds(const struct vns_clock *c, const struct truth *w, double t)
{
	struct vns_clock_at at;
	double o = truth_offset(w, t);

	where = "guest instant";
	if (vns_clock_eval_guest(c, EPOCH + w->base + (int64_t)floor(t + o), &at))
		return false;
	return at.lower_ns <= (double)w->base + o + 2 * EDGE_NS &&
	       at.upper_ns >= (double)w->base + o - 2 * EDGE_NS;
}

bool all_hold(const struct vns_clock *c, const struct truth *w)
{
	double first = (double)(xs[0].t1_ns - EPOCH), last = (double)(xs[n_x - 1].t4_ns - EPOCH);
	size_t stride = n_x / 500 + 1;

	for (size_t i = 0; i < n_x; i += stride) {
		double t1 = (double)(xs[i].t1_ns - EPOCH), t4 = (double)(xs[i].t4_ns - EPOCH);
		double next = i + 1 < n_x ? (double)(xs[i + 1].t1_ns - EPOCH) : t4;

		if (!holds(c, w, t1, "t1") || !holds(c, w, t4, "t4") ||
		    !holds(c, w, (t1 + t4) / 2, "mid") ||
		    !holds(c, w, (t4 + next) / 2, "between exchanges") ||
		    !guest_holds(c, w, (t1 + t4) / 2))
			return false;
	}
	for (size_t i = 1; i < w->n; i++)
		if (!holds(c, w, w->from[i], "at a step") || !holds(c, w, w->from[i] - 1, "before a step") ||
		    !guest_holds(c, w, w->from[i]) || !guest_holds(c, w, w->from[i] - 1))
			return false;
	return holds(c, w, first - 0.05 * (last - first), "before the span") &&
	       holds(c, w, last + 0.05 * (last - first), "after the span");
}

double miss(const struct vns_clock *c, const struct truth *w)
{
	double worst = 0;

	for (size_t i = 0; i < n_x; i++) {
		struct vns_clock_at at;
		double t = (double)(xs[i].t1_ns - EPOCH), o = (double)w->base + truth_offset(w, t);

		vns_clock_eval(c, xs[i].t1_ns, &at);
		worst = fmax(worst, fmax(at.lower_ns - o, o - at.upper_ns) / (at.upper_ns - at.lower_ns));
	}
	return worst;
}

double fastest(void)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < n_x; i++) {
		int64_t d = xs[i].t4_ns - xs[i].t1_ns - (xs[i].t3_ns - xs[i].t2_ns);

		least = d < least ? d : least;
	}
	return (double)least;
}

void slewed_truth(struct truth *w, double span, size_t changes, double most)
{
	w->base = (int64_t)between(-7.2e12, 7.2e12);
	w->n = changes + 1;
	w->from[0] = 0;
	w->at_from[0] = 0;
	w->rate[0] = random_rate();
	for (size_t i = 1; i <= changes; i++) {
		double t = span / (double)(changes + 1) * ((double)i + between(-0.3, 0.3));
		double rate = w->rate[i - 1] + (rng_next() % 2 ? 1 : -1) * log_between(0.1e-6, most * 1e-6);

		w->at_from[i] = w->at_from[i - 1] + w->rate[i - 1] * (t - w->from[i - 1]);
		w->from[i] = t;
		w->rate[i] = fmax(-499e-6, fmin(499e-6, rate));
	}
}

int report(int number, const char *what, int failures)
{
	printf("%sok %d - %s\n", failures ? "not " : "", number, what);
	fflush(stdout);
	return failures != 0;
}
