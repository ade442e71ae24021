// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Exchanges that contradict the others: exchanges in order of time -> those that no clock of the model explains
 * together with their neighbours, left out and counted.
 *
 * Model. Between two steps or changes of rate a clock keeps its line for at least LEAST_LINE exchanges, so that fewer
 * which do not fit the line that holds before and after them have wrong stamps (a thread moved to a CPU whose counter
 * is off, a packet taken for another). The division into lines with the least cost is looked for, where a
 * wrong exchange costs 1 and another line CUT_COST: to fit lines to the greatest consistent part of inequalities is
 * the maximum feasible subsystem problem (Amaldi, Kann 1995), least cost of division is that of Bellman (1961).
 *
 * Method. Exchanges are taken in turn into the feasible set of one line (fit.c). Where one does not fit, three
 * witnesses at most contradict it (Helly: two dimensions): itself, and the points that the extreme feasible
 * line touches. Each of them left out, and a new line begun instead, is carried on through the exchanges that follow,
 * and what costs least goes on. A line whose rejected exchanges cost no less than to divide it where its bounds do
 * is divided there (a small step, which only the fastest exchanges betray). Nothing here can move a bound
 * inward by what is left out; where exchanges are left out the bound is moved outward besides (widen.c), since
 * wrong stamps that contradict nothing may be left and a step too small for CUT_COST exchanges looks alike.
 *
 * At either end nothing decides between a step and wrong stamps: such exchanges make a piece of their own there,
 * and the bound is that of it and of its neighbour.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

#define CUT_COST   3    /* exchanges: what is betrayed by fewer is not a step of the model */
#define LEAST_LINE (2 * CUT_COST)
#define MOST_SHARE 0.1  /* of the exchanges may contradict: more is no error of single ones */
#define END        8    /* exchanges kept after it that settle that one before them is wrong */
#define LOOKS      3    /* how far is looked ahead, in exchanges */
#define AGAIN_MOST 64   /* of a line: rejected ones that are tried once more at its end */
static const size_t ahead[LOOKS] = { 8, 64, 512 };

enum fate { KEPT = 0, WRONG, OPEN };

struct scan {
	const struct clock_con *con; /* upper and lower point of each exchange */
	size_t n, start, n_wrong;
	unsigned char *fate;
	bool *cut;                   /* another line begins with it */
	struct clock_fit fit, trial;
};

/* What leaving one out, or another line, costs within each look ahead. */
struct cost {
	size_t within[LOOKS];
};

static int add(struct clock_fit *f, const struct clock_con *pair)
{
	int ret = clock_fit_has_room(f, &pair[0], &pair[1]) ? clock_fit_add(f, &pair[0]) : 1;

	return ret ? ret : clock_fit_add(f, &pair[1]);
}

/* The line's exchanges kept in [start, end), but @without, into @f. Return: 0, 1 they do not fit, -ENOMEM. */
static int replay(const struct scan *s, struct clock_fit *f, size_t start, size_t end, size_t without)
{
	int ret = 0;

	clock_fit_reset(f);
	for (size_t i = start; i < end && ret == 0; i++)
		if (s->fate[i] != WRONG && i != without)
			ret = add(f, &s->con[2 * i]);
	return ret;
}

/*
 * Carry @f on through what follows @from: what does not fit costs 1 each, and as many in a row as a line has at
 * least begin another line, so that a step further on costs every hypothesis the same.
 */
static int carry_on(const struct scan *s, struct clock_fit *f, size_t from, size_t cost, struct cost *out)
{
	size_t row = 0, look = 0;
	int ret = 0;

	for (size_t i = from;; i++) {
		for (; look < LOOKS && (i >= s->n || i - from == ahead[look]); look++)
			out->within[look] = cost;
		if (look == LOOKS)
			return 0;
		ret = add(f, &s->con[2 * i]);
		row = ret > 0 ? row + 1 : 0;
		cost += ret > 0;
		if (row == LEAST_LINE) {
			clock_fit_reset(f);
			for (row = 0, i -= LEAST_LINE; row < LEAST_LINE && ret >= 0; row++)
				ret = add(f, &s->con[2 * ++i]);
			row = 0;
		}
		if (ret < 0)
			return ret;
	}
}

/* Which exchange of the line has a point at @x; SIZE_MAX: none. */
static size_t exchange_at(const struct scan *s, size_t end, double x)
{
	size_t lo = s->start, hi = end;

	while (lo < hi) { /* first whose lower point is not left of it */
		size_t mid = lo + (hi - lo) / 2;

		if (s->con[2 * mid + 1].x < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo < end && s->fate[lo] == WRONG)
		lo++;
	return lo < end && (s->con[2 * lo].x == x || s->con[2 * lo + 1].x == x) ? lo : SIZE_MAX;
}

static bool is_less(const struct cost *a, const struct cost *b)
{
	for (size_t k = LOOKS; k-- > 0;)
		if (a->within[k] != b->within[k])
			return a->within[k] < b->within[k];
	return false;
}

static void leave_out(struct scan *s, size_t i)
{
	s->fate[i] = WRONG;
	s->n_wrong++;
}

/* Exchange @j fits no line with those before it. Return: 0 or -ENOMEM. */
static int decide(struct scan *s, size_t j)
{
	size_t who[3] = { j, SIZE_MAX, SIZE_MAX }, best = 0;
	struct cost cost[3], other = { { 0 } };
	double x[2];
	bool cut = false;
	int ret = 0;

	memset(cost, 0x7f, sizeof(cost));
	ret = clock_fit_copy(&s->trial, &s->fit);
	if (ret == 0)
		ret = carry_on(s, &s->trial, j + 1, 1, &cost[0]);
	if (ret == 0 && cost[0].within[LOOKS - 1] == 1) { /* nothing costs less, and a line costs more */
		leave_out(s, j);
		return 0;
	}
	clock_fit_against(&s->fit, &s->con[2 * j], &s->con[2 * j + 1], x);
	for (int k = 0; k < 2; k++)
		who[k + 1] = exchange_at(s, j, x[k]);
	for (size_t k = 1; k < 3 && ret >= 0; k++) {
		if (who[k] == SIZE_MAX || (k == 2 && who[2] == who[1]))
			continue;
		ret = replay(s, &s->trial, s->start, j, who[k]);
		if (ret == 0)
			ret = carry_on(s, &s->trial, j, 1, &cost[k]);
		if (ret == 0 && is_less(&cost[k], &cost[best]))
			best = k;
	}
	clock_fit_reset(&s->trial);
	if (ret >= 0)
		ret = carry_on(s, &s->trial, j, CUT_COST, &other);
	if (ret < 0)
		return ret;
	cut = !is_less(&cost[best], &other);
	if (cut) {
		s->cut[j] = true;
		s->start = j;
	} else {
		leave_out(s, who[best]);
		if (best == 0) /* the line holds what it held */
			return 0;
	}
	ret = replay(s, &s->fit, s->start, j + 1, SIZE_MAX);
	if (ret > 0) { /* the one left out was not all that contradicts it */
		leave_out(s, j);
		ret = replay(s, &s->fit, s->start, j, SIZE_MAX);
	}
	return ret < 0 ? ret : 0;
}

static size_t most_wrong(const struct scan *s)
{
	return (size_t)(MOST_SHARE * (double)s->n) + 1;
}

static int go_through(struct scan *s)
{
	int ret = 0;

	clock_fit_reset(&s->fit);
	for (size_t i = 0; i < s->n && s->n_wrong <= most_wrong(s) && ret >= 0; i++) {
		ret = add(&s->fit, &s->con[2 * i]);
		if (ret > 0)
			ret = decide(s, i);
	}
	return ret < 0 ? ret : 0;
}

static size_t line_end(const struct scan *s, size_t start)
{
	size_t end = start + 1;

	while (end < s->n && !s->cut[end])
		end++;
	return end;
}

/* Lines that all exchanges of [start, end) need, none left out. Return: their number or -ENOMEM. */
static long strict_lines(struct scan *s, size_t start, size_t end)
{
	long lines = 1;

	clock_fit_reset(&s->trial);
	for (size_t i = start; i < end; i++) {
		int ret = add(&s->trial, &s->con[2 * i]);

		if (ret > 0) {
			lines++;
			clock_fit_reset(&s->trial);
			ret = add(&s->trial, &s->con[2 * i]);
		}
		if (ret < 0)
			return ret;
	}
	return lines;
}

/* Wrong ones right before a line that fit it belong to it: only a later one showed the step. */
static int move_cut(struct scan *s, size_t start, size_t *at)
{
	size_t end = line_end(s, *at);
	int ret = 0;

	for (size_t i = *at; i-- > start && ret >= 0;) {
		size_t first = i;

		if (s->fate[i] != WRONG)
			continue;
		s->fate[i] = KEPT;
		ret = replay(s, &s->trial, first, end, SIZE_MAX);
		if (ret) {
			s->fate[i] = WRONG;
			break;
		}
		s->cut[*at] = false;
		s->cut[i] = true;
		*at = i;
	}
	return ret < 0 ? ret : 0;
}

/* A line whose wrong ones cost no less than its division; and those that fit after all. */
static int settle(struct scan *s, size_t start, size_t end)
{
	size_t wrong = 0, tried = 0;
	long lines;
	int ret = 0;

	for (size_t i = start; i < end; i++)
		wrong += s->fate[i] == WRONG;
	if (wrong == 0)
		return 0;
	lines = strict_lines(s, start, end);
	if (lines < 0)
		return (int)lines;
	for (size_t i = start; i < end && ret >= 0; i++) {
		if (s->fate[i] != WRONG)
			continue;
		s->fate[i] = KEPT;
		if (CUT_COST * (size_t)(lines - 1) <= wrong)
			continue;
		ret = tried++ < AGAIN_MOST ? replay(s, &s->trial, start, end, SIZE_MAX) : 1;
		if (ret)
			s->fate[i] = WRONG;
	}
	return ret < 0 ? ret : 0;
}

/* The last exchanges (the first ones, @first): do few enough follow a wrong one that it may be a step? */
static int look_at_end(struct scan *s, bool first)
{
	size_t kept = 0, end = line_end(s, 0);
	int ret = 0;

	if (first && end < CUT_COST && end < s->n) { /* the scan began with them: they fit no line after them */
		for (size_t i = 0; i < end; i++)
			s->fate[i] = s->fate[i] == KEPT ? OPEN : s->fate[i];
		return 0;
	}
	for (size_t k = 0; k < s->n && kept < END && ret >= 0; k++) {
		size_t i = first ? k : s->n - 1 - k;

		if (first && s->cut[i])
			break;
		kept += s->fate[i] == KEPT;
		if (s->fate[i] == WRONG) {
			s->fate[i] = OPEN;
			ret = first ? replay(s, &s->trial, 0, i + 1, SIZE_MAX) :
				      replay(s, &s->trial, i, s->n, SIZE_MAX);
			if (ret)
				s->fate[i] = WRONG;
		}
		if (s->cut[i])
			break;
	}
	return ret < 0 ? ret : 0;
}

static int find(struct scan *s)
{
	int ret = go_through(s);

	if (ret || s->n_wrong > most_wrong(s))
		return ret;
	for (size_t a = 0, b; a < s->n && ret == 0; a = b) {
		b = line_end(s, a);
		if (b < s->n)
			ret = move_cut(s, a, &b);
		if (ret == 0)
			ret = settle(s, a, b);
	}
	if (ret == 0)
		ret = look_at_end(s, true);
	return ret ? ret : look_at_end(s, false);
}

/* Into the samples, and those left out from the list. */
static void note(struct vns_clock *c, const struct scan *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct vns_clock_sample *x = &c->sample[c->con[2 * i].sample];

		x->contradicts = s->fate[i] != KEPT;
		if (s->fate[i] == OPEN) {
			c->n_open++;
			if (i < s->n / 2)
				c->open_first = true;
			else
				c->open_last = true;
		}
		c->n_wrong += s->fate[i] == WRONG;
		if (s->fate[i] == WRONG)
			continue;
		memmove(&c->con[2 * kept], &c->con[2 * i], 2 * sizeof(*c->con));
		kept++;
	}
	c->n_con = 2 * kept;
}

int clock_find_wrong(struct vns_clock *c)
{
	struct scan s = { .con = c->con, .n = c->n_con / 2 };
	int ret;

	c->n_wrong = c->n_open = 0;
	c->open_first = c->open_last = false;
	for (size_t i = 0; i < c->n_sample; i++)
		c->sample[i].contradicts = false;
	s.fate = calloc(s.n + 1, sizeof(*s.fate));
	s.cut = calloc(s.n + 1, sizeof(*s.cut));
	ret = s.fate && s.cut ? find(&s) : -ENOMEM;
	if (ret == 0 && s.n_wrong <= most_wrong(&s))
		note(c, &s);
	clock_fit_fini(&s.fit);
	clock_fit_fini(&s.trial);
	free(s.fate);
	free(s.cut);
	return ret;
}
