// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What was given -> constraints that make the pieces, and others that only tighten them.
 *
 * An exchange's packet arrives somewhere between T1 and T4. While exchanges do not overlap, the
 * order of their constraints is the order of these events, so that a step divides the list into a
 * left and a right part; split.c relies on it. Of exchanges that overlap (a reply held up for long, or
 * requests sent before the reply) as many as possible that do not are chosen, the one that ends
 * first each time; the others bound a piece only where they lie wholly within it.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "engine/clock/clock_priv.h"

static int by_time(const void *pa, const void *pb)
{
	const struct clock_con *a = pa, *b = pb;

	if (a->x != b->x)
		return (a->x > b->x) - (a->x < b->x);
	if (a->sample != b->sample)
		return (a->sample > b->sample) - (a->sample < b->sample);
	return (int)b->upper - (int)a->upper;
}

static int by_end(const void *pa, const void *pb)
{
	const struct clock_con *a = *(const struct clock_con *const *)pa;
	const struct clock_con *b = *(const struct clock_con *const *)pb;

	if (a->hi != b->hi)
		return (a->hi > b->hi) - (a->hi < b->hi);
	return (a->lo < b->lo) - (a->lo > b->lo);
}

/* The exchanges in order of their ends; @order points to each one's first constraint. */
static int choose(struct vns_clock *c)
{
	size_t n = c->given.n / 2;
	const struct clock_con **order = malloc((n + 1) * sizeof(*order));
	double free_from = -INFINITY;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = &c->given.v[2 * i];
	qsort(order, n, sizeof(*order), by_end);
	for (size_t i = 0; i < n; i++) {
		bool chosen = order[i]->lo >= free_from;

		for (int k = 0; k < 2; k++) {
			if (chosen)
				c->con[c->n_con++] = order[i][k];
			else
				c->side[c->n_side++] = order[i][k];
		}
		if (chosen)
			free_from = order[i]->hi;
	}
	free(order);
	return 0;
}

int clock_order(struct vns_clock *c)
{
	int ret = 0;

	free(c->con);
	free(c->side);
	c->n_con = c->n_side = 0;
	c->con = malloc((c->given.n + 1) * sizeof(*c->con));
	c->side = malloc((c->given.n + c->bounds.n + 1) * sizeof(*c->side));
	if (!c->con || !c->side)
		return -ENOMEM;
	if (c->mode == VNS_CLOCK_TRAFFIC)
		for (size_t i = 0; i < c->given.n; i++)
			c->con[c->n_con++] = c->given.v[i];
	else
		ret = choose(c);
	if (ret == 0 && c->mode != VNS_CLOCK_TRAFFIC)
		ret = clock_find_wrong(c);
	for (size_t i = 0; i < c->bounds.n; i++)
		c->side[c->n_side++] = c->bounds.v[i];
	qsort(c->con, c->n_con, sizeof(*c->con), by_time);
	qsort(c->side, c->n_side, sizeof(*c->side), by_time);
	return ret;
}
