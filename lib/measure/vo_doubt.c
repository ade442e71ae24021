// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An exchange off the relation and those that follow it -> a step of the clock, or wrong stamps.
 *
 * Theory. A clock that stepped agrees with itself from then on: each exchange bounds its offset, and bounds of one clock
 * overlap, widened by the fastest drift between them (clock.h). Wrong stamps agree with the relation of before as soon as
 * the next exchange is made. So the exchanges that do not fit are hypotheses, each with the bounds that it and
 * those that agree with it leave; the first of VO_DOUBT_AGREE exchanges is where the clock stepped. One that fits the
 * relation and none of the hypotheses refutes them all. One that took so long that it fits both says nothing; one
 * that fits the relation only by the slack is no suspect itself, but agrees with those that it fits as it is.
 * Where VO_DOUBT_MOST exchanges in a row fit neither the relation nor each other, there is no one clock: the hypothesis with
 * most of them, the latest of equals, is taken, so that a decision never waits for longer.
 */
#include <math.h>

#include "measure/vo_doubt.h"

#define MODEL_RATE 500e-6 /* the clock model's limit (clock.h) */

static double drift_ns(const struct vo_bounds *b, const struct vns_clock_sample *s)
{
	return fabs((double)(s->at_ns - b->at_ns)) * MODEL_RATE;
}

bool vo_bounds_meet(const struct vo_bounds *b, const struct vns_clock_sample *s, double slack_ns)
{
	double more = drift_ns(b, s) + slack_ns;

	return s->lower_ns <= b->upper_ns + more && s->upper_ns >= b->lower_ns - more;
}

void vo_bounds_take(struct vo_bounds *b, const struct vns_clock_sample *s)
{
	double drift = drift_ns(b, s);
	bool meet = vo_bounds_meet(b, s, 0);

	b->lower_ns = meet ? fmax(b->lower_ns - drift, s->lower_ns) : s->lower_ns;
	b->upper_ns = meet ? fmin(b->upper_ns + drift, s->upper_ns) : s->upper_ns;
	b->at_ns = s->at_ns;
}

/* A suspect, and those that agree with it, itself the first. */
struct guess {
	struct vo_bounds bounds;
	uint32_t members;
	int votes;
};

/* Exchange @j into the hypotheses before it. Return: the one that is settled by it, or -1. */
static int vote(struct guess g[VO_DOUBT_MOST], uint32_t suspects, const struct vns_clock_sample *s, size_t j)
{
	int settled = -1;

	for (size_t k = 0; k < j; k++) {
		if (!(suspects & 1u << k) || !vo_bounds_meet(&g[k].bounds, &s[j], 0))
			continue;
		vo_bounds_take(&g[k].bounds, &s[j]);
		g[k].members |= 1u << j;
		if (++g[k].votes >= VO_DOUBT_AGREE && settled < 0)
			settled = (int)k;
	}
	return settled;
}

/* Does @s meet none of the hypotheses? */
static bool refutes(const struct guess g[VO_DOUBT_MOST], uint32_t suspects, const struct vns_clock_sample *s)
{
	for (size_t k = 0; k < VO_DOUBT_MOST; k++)
		if ((suspects & 1u << k) && vo_bounds_meet(&g[k].bounds, s, 0))
			return false;
	return true;
}

static int best(const struct guess g[VO_DOUBT_MOST], uint32_t suspects)
{
	int most = 0; /* the first exchange is a suspect */

	for (int k = 1; k < VO_DOUBT_MOST; k++)
		if ((suspects & 1u << k) && g[k].votes >= g[most].votes)
			most = k;
	return most;
}

enum vo_verdict vo_doubt_judge(const struct vo_bounds *old, double slack_ns, const struct vns_clock_sample *s,
			       size_t n, struct vo_doubt *out)
{
	struct guess g[VO_DOUBT_MOST];
	uint32_t suspects = 0;
	int settled = -1;

	for (size_t j = 0; j < n && j < VO_DOUBT_MOST && settled < 0; j++) {
		bool fits = vo_bounds_meet(old, &s[j], slack_ns);

		if (fits && refutes(g, suspects, &s[j])) {
			*out = (struct vo_doubt){ .wrong = suspects };
			return VO_DOUBT_WRONG;
		}
		if (!vo_bounds_meet(old, &s[j], 0))
			settled = vote(g, suspects, s, j);
		if (!fits) {
			g[j] = (struct guess){ { s[j].lower_ns, s[j].upper_ns, s[j].at_ns }, 1u << j, 1 };
			suspects |= 1u << j;
		}
	}
	if (settled < 0 && n < VO_DOUBT_MOST)
		return VO_DOUBT_OPEN;
	settled = settled < 0 ? best(g, suspects) : settled;
	*out = (struct vo_doubt){ (size_t)settled, suspects & ~g[settled].members };
	return VO_DOUBT_STEP;
}
