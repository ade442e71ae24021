// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Steps and changes of rate that are too small to contradict a bound: low-delay midpoints of a
 * piece -> further boundaries.
 *
 * Theory: one line against two, the boundary being the place where two fit best (Quandt 1960); the
 * gain in likelihood, n ln(RSS1/RSS2), is weakened where neighbouring residuals go together. To
 * cut where nothing happened only loosens the bound, as fewer points make it; not to cut where
 * something did makes it wrong. All places that fit nearly as well stay between the pieces, which
 * is a likelihood, not a certainty.
 * A load that delays one direction for a while also moves midpoints, but by at most half of the
 * delay it adds; and a single exchange may be odd by what its delay does not show (a thread kept waiting
 * between its stamp and its store). What is found so is a change only where a test at level LEVEL for the whole run
 * refutes that one line runs within half of the added delay of all midpoints but the odd ones
 * (queueing_explains()). The test assumes that exchanges are odd one by one, by chance ODD_SHARE at most, and that
 * the directions' floors move against each other by no more than what is seen of the delays' own scatter.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

#define LEAST_SIDE  6    /* exchanges on either side of a boundary */
#define LEAST_GAIN  30.0 /* of 2 ln(likelihood); 3 parameters more and n places to choose from */
#define NEARLY_GAIN 20.0 /* places this much worse than the best may still be the true one */
#define LEVEL       1e-3 /* of clocks that keep their rate so many may be said to change it */
#define ODD_SHARE   0.02 /* chance of an exchange to be an odd one that says nothing of the clock */
#define SIGN_ODD    1    /* of a block on either side; else there are signs of a change, for which bounds are widened */
#define LEAST_BLOCK 12   /* exchanges; three blocks at least show a change */
#define MOST_BLOCKS 6  /* few long ones: each sheds the same odd ones */
#define TICK_VAR    (1.0 / 12) /* of a midpoint of whole ns, ns^2 */

struct moments {
	double w, x, y, xx, xy, yy;
};

static void moments_add(struct moments *m, const struct clock_obs *o, double x)
{
	m->w += o->w;
	m->x += o->w * x;
	m->y += o->w * o->r;
	m->xx += o->w * x * x;
	m->xy += o->w * x * o->r;
	m->yy += o->w * o->r * o->r;
}

/* Weighted sum of squares that the best line leaves. */
static double rest(const struct moments *m)
{
	double xx = m->xx - m->x * m->x / m->w, xy = m->xy - m->x * m->y / m->w;
	double yy = m->yy - m->y * m->y / m->w;

	return fmax(0, yy - (xx > 1e-12 * m->xx ? xy * xy / xx : 0));
}

static struct moments moments_less(const struct moments *a, const struct moments *b)
{
	return (struct moments){ a->w - b->w,	a->x - b->x,   a->y - b->y,
				 a->xx - b->xx, a->xy - b->xy, a->yy - b->yy };
}

/* Times in [-1, 1] and residuals of one line, so that sums of squares do not cancel. */
static double scale_of(const struct clock_obs *o, size_t n)
{
	return fmax(1, (o[n - 1].x - o[0].x) / 2);
}

static double unit_time(const struct clock_obs *o, size_t n, size_t i)
{
	return (o[i].x - o[0].x) / scale_of(o, n) - 1;
}

static void one_line(struct clock_obs *o, size_t n)
{
	struct moments m = { 0 };
	double xx, slope, mean_x, mean_y;

	for (size_t i = 0; i < n; i++) {
		o[i].r = o[i].y - o[0].y;
		moments_add(&m, &o[i], unit_time(o, n, i));
	}
	mean_x = m.x / m.w;
	mean_y = m.y / m.w;
	xx = m.xx - m.w * mean_x * mean_x;
	slope = xx > 0 ? (m.xy - m.w * mean_x * mean_y) / xx : 0;
	for (size_t i = 0; i < n; i++)
		o[i].r -= mean_y + slope * (unit_time(o, n, i) - mean_x);
}

/* Gain of a boundary before each exchange into @gain. Return: index of the best, 0 none. */
static size_t best_boundary(struct clock_obs *o, size_t n, double *gain)
{
	struct moments all = { 0 }, left = { 0 };
	double one, factor, noise, most = 0;
	size_t best = 0;

	one_line(o, n);
	for (size_t i = 0; i < n; i++)
		moments_add(&all, &o[i], unit_time(o, n, i));
	noise = all.w * TICK_VAR;
	one = rest(&all) + noise;
	for (size_t k = 0; k < n; k++) {
		gain[k] = 0;
		if (k >= LEAST_SIDE && n - k >= LEAST_SIDE) {
			struct moments right = moments_less(&all, &left);

			gain[k] = (double)n * log(one / (rest(&left) + rest(&right) + noise));
			if (gain[k] > most) {
				most = gain[k];
				best = k;
			}
		}
		moments_add(&left, &o[k], unit_time(o, n, k));
	}
	if (best == 0)
		return 0;
	/* The residuals of one line go together if there is a step: judge them from its sides. */
	one_line(o, best);
	one_line(o + best, n - best);
	factor = clock_autocorrelation(o, n);
	for (size_t k = 0; k < n; k++)
		gain[k] /= factor;
	return gain[best] >= LEAST_GAIN ? best : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The fastest exchange still waited somewhere, by what nobody sees, and excesses are above it: half of that
 * is what a midpoint may be wrong by beyond half of its excess. Where both directions queue, few sums are
 * small: their density rises from 0 in proportion, so the k-th least is near s sqrt(k), and the least is
 * above 2.6 s in 1 of 1000. The quartile gives s, since the least ones themselves are chance.
 * Return: ns, or -1 out of memory.
 */
static double unseen_wait(const struct clock_obs *o, size_t n)
{
	double *e = malloc(n * sizeof(*e)), s;
	size_t q = n / 4;

	if (!e)
		return -1;
	for (size_t i = 0; i < n; i++)
		e[i] = o[i].excess;
	qsort(e, n, sizeof(*e), by_value);
	s = (e[q] - e[0]) / (sqrt((double)q + 1) - 1);
	free(e);
	return 2.6 * s / 2 + CLOCK_STAMP_NS;
}

/*
 * Of @n exchanges, each odd by chance ODD_SHARE, how many are so at most but for @chance? By the exponential bound
 * n KL(k/n, share) >= -ln chance of the binomial's tail (Chernoff 1952; Hoeffding 1963, theorem 1).
 */
static size_t most_odd(size_t n, double chance)
{
	size_t k = (size_t)(ODD_SHARE * (double)n) + 1;

	for (; k < n; k++) {
		double p = (double)k / (double)n;
		double kl = p * log(p / ODD_SHARE) + (1 - p) * log((1 - p) / (1 - ODD_SHARE));

		if ((double)n * kl >= -log(chance))
			return k - 1;
	}
	return n - 1;
}

/*
 * Where the line runs at a block of exchanges: within half of the excess and @slack of each midpoint but of the
 * odd ones, of which there may be @odd on either side. @low, @high: for sorting. As constraints into @c.
 */
static void block_holds(const struct clock_obs *o, size_t n, double slack, size_t odd, double *low, double *high,
			struct clock_con c[2])
{
	double x = 0;

	for (size_t i = 0; i < n; i++) {
		double half = o[i].excess / 2 + slack;

		x += (o[i].x - o[0].x) / (double)n;
		low[i] = o[i].r - half;
		high[i] = o[i].r + half;
	}
	qsort(low, n, sizeof(*low), by_value);
	qsort(high, n, sizeof(*high), by_value);
	for (int k = 0; k < 2; k++) {
		c[k].x = o[0].x + x;
		c[k].y = k == 0 ? high[odd] : low[n - 1 - odd];
	}
}

/*
 * Does one line explain the midpoints by queueing and odd exchanges? @o is cut into blocks of as many exchanges,
 * wherever the change seems to be, and one line must run where each block allows. If the clock keeps its rate
 * each of both sides of a block leaves the truth out with at most LEVEL / (2 blocks), so all of them together
 * with at most LEVEL (Bonferroni). Without @claim only SIGN_ODD of each block are let off.
 * Return: 1 yes, or too few to tell, 0 no, -ENOMEM.
 */
static int queueing_explains(struct clock_obs *o, size_t n, double slack, bool claim)
{
	size_t blocks = n / LEAST_BLOCK < MOST_BLOCKS ? n / LEAST_BLOCK : MOST_BLOCKS;
	double *sorted = malloc(2 * n * sizeof(*sorted)), unseen = unseen_wait(o, n);
	struct clock_fit fit = { 0 };
	int ret = sorted && unseen >= 0 ? 0 : -ENOMEM;

	if (ret == 0)
		one_line(o, n);
	clock_fit_reset(&fit);
	for (size_t b = 0; ret == 0 && blocks >= 3 && b < blocks; b++) {
		size_t first = n * b / blocks, end = n * (b + 1) / blocks;
		struct clock_con c[2] = { { .upper = true }, { .upper = false } };

		block_holds(o + first, end - first, fmax(slack, unseen),
			    claim ? most_odd(end - first, LEVEL / (2 * (double)blocks)) : SIGN_ODD, sorted,
			    sorted + n, c);
		ret = c[0].y < c[1].y ? 1 : clock_fit_add(&fit, &c[0]);
		if (ret == 0)
			ret = clock_fit_add(&fit, &c[1]);
	}
	clock_fit_fini(&fit);
	free(sorted);
	return ret < 0 ? ret : ret == 0;
}

/* First constraint of the exchange whose lower point is @con. */
static size_t first_con(const struct vns_clock *c, size_t con)
{
	size_t i = con;

	while (i > 0 && !(c->con[i].upper && c->con[i].sample == c->con[con].sample))
		i--;
	return i;
}

/* Signs of a change between these exchanges. Return: 1 or -ENOMEM. */
static int note_suspect(struct vns_clock *c, const struct clock_obs *o, size_t n)
{
	struct clock_point *v = realloc(c->suspect, (c->n_suspect + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	c->suspect = v;
	v[c->n_suspect++] = (struct clock_point){ o[0].x, o[n - 1].x };
	return 1;
}

/* One boundary in [first, last). Return: 1 found, 0 none, -ENOMEM. */
static int find_change(struct vns_clock *c, size_t first, size_t last, size_t *earliest,
		       size_t *latest)
{
	struct clock_obs *o;
	double *gain, slack;
	size_t n, best = 0, lo, hi;
	int explained = 0, suspect = 1, ret = clock_observe(c, first, last, &o, &n, &slack);

	if (ret)
		return ret;
	gain = malloc((n + 1) * sizeof(*gain));
	if (gain && n >= 2 * LEAST_SIDE)
		best = best_boundary(o, n, gain);
	if (best > 0)
		explained = queueing_explains(o, n, slack, true);
	if (explained > 0)
		suspect = queueing_explains(o, n, slack, false);
	if (suspect == 0)
		suspect = note_suspect(c, o, n);
	if (explained)
		best = 0;
	if (best > 0) {
		for (lo = best; lo > 1 && gain[lo - 1] >= gain[best] - NEARLY_GAIN; lo--)
			;
		for (hi = best; hi + 1 < n && gain[hi + 1] >= gain[best] - NEARLY_GAIN; hi++)
			;
		*earliest = o[lo - 1].con + 1;
		*latest = first_con(c, o[hi].con);
		if (*latest < *earliest)
			*latest = *earliest;
	}
	ret = gain && explained >= 0 && suspect >= 0 ? best > 0 : -ENOMEM;
	free(gain);
	free(o);
	return ret;
}

struct growing {
	struct clock_split split;
	size_t cap;
};

static int append(struct growing *g, size_t earliest, size_t latest, bool tested)
{
	if (g->split.n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 16;
		size_t *e = realloc(g->split.earliest, cap * sizeof(*e)), *l;
		bool *t;

		if (!e)
			return -ENOMEM;
		g->split.earliest = e;
		l = realloc(g->split.latest, cap * sizeof(*l));
		if (!l)
			return -ENOMEM;
		g->split.latest = l;
		t = realloc(g->split.tested, cap * sizeof(*t));
		if (!t)
			return -ENOMEM;
		g->split.tested = t;
		g->cap = cap;
	}
	g->split.earliest[g->split.n] = earliest;
	g->split.tested[g->split.n] = tested;
	g->split.latest[g->split.n++] = latest;
	return 0;
}

/* Boundaries inside of [first, last), in order of time. */
static int cut(struct vns_clock *c, size_t first, size_t last, struct growing *g)
{
	size_t earliest = first, latest = first;
	int ret = first < last ? find_change(c, first, last, &earliest, &latest) : 0;

	if (ret <= 0)
		return ret;
	ret = cut(c, first, earliest, g);
	if (ret == 0)
		ret = append(g, earliest, latest, true);
	return ret ? ret : cut(c, latest, last, g);
}

int clock_split_refine(struct vns_clock *c, struct clock_split *s)
{
	struct growing g = { 0 };
	int ret = 0;

	c->n_suspect = 0;
	for (size_t i = 0; ret == 0 && i < s->n; i++) {
		size_t last = i + 1 < s->n ? s->earliest[i + 1] : c->n_con;

		ret = append(&g, s->earliest[i], s->latest[i], false);
		if (ret == 0)
			ret = cut(c, s->latest[i], last, &g);
	}
	if (ret) {
		clock_split_fini(&g.split);
		return ret;
	}
	clock_split_fini(s);
	*s = g.split;
	return 0;
}

/*
 * Causality alone divided the exchanges: then a few of them with wrong stamps, each off by little more than a fast delay,
 * may be why. If the rate changed those after it do not agree with the line before: the test of both pieces together
 * refutes one line. If it does not, and there are enough to test, the change is doubtful.
 */
int clock_doubt_changes(struct vns_clock *c, const struct clock_split *s)
{
	int explained = 0;

	for (size_t i = 0; i + 1 < c->n_seg && explained >= 0; i++) {
		size_t last = i + 2 < s->n ? s->earliest[i + 2] : c->n_con, n;
		struct clock_obs *o;
		double slack;

		if (c->seg[i].step_after || s->tested[i + 1])
			continue;
		if (clock_observe(c, s->latest[i], last, &o, &n, &slack))
			return -ENOMEM;
		explained = n < 3 * LEAST_BLOCK ? 0 : queueing_explains(o, n, slack, true);
		c->seg[i].doubtful = explained > 0;
		free(o);
	}
	return explained < 0 ? explained : 0;
}
