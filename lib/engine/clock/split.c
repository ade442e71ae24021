// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where the clock stepped or changed its rate: constraints in order of time -> the least number
 * of linear pieces, and for each piece the latest and the earliest constraint it can begin with.
 *
 * Theory: part of a feasible set is feasible. So taking the longest feasible run from the left,
 * again and again, gives the least number of pieces, and the i-th boundary of any division into
 * that many pieces lies at or before the i-th one found from the left, and at or after the one
 * found from the right. What stands between the two may belong to either neighbour and bounds
 * neither: only so is a bound near a step certain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

static struct clock_con mirrored(const struct clock_con *c)
{
	struct clock_con m = *c;

	m.x = -c->x;
	return m;
}

/* Longest feasible runs; @starts gets the first index of each, in reading order. */
static int greedy(const struct clock_con *con, size_t n, bool backward, size_t *starts,
		  size_t *n_runs)
{
	struct clock_fit fit = { 0 };
	int ret = 0;

	*n_runs = 0;
	for (size_t i = 0; i < n; i++) {
		struct clock_con c = backward ? mirrored(&con[n - 1 - i]) : con[i];

		if (i > 0)
			ret = clock_fit_add(&fit, &c);
		if (i == 0 || ret > 0) {
			clock_fit_reset(&fit);
			starts[(*n_runs)++] = i;
			ret = clock_fit_add(&fit, &c);
		}
		if (ret < 0)
			break;
	}
	clock_fit_fini(&fit);
	return ret < 0 ? ret : 0;
}

int clock_split_find(const struct clock_con *con, size_t n, struct clock_split *out)
{
	size_t *fwd = malloc((n + 1) * sizeof(*fwd));
	size_t *bwd = malloc((n + 1) * sizeof(*bwd));
	size_t n_fwd = 0, n_bwd = 0;
	int ret = -ENOMEM;

	if (fwd && bwd)
		ret = greedy(con, n, false, fwd, &n_fwd);
	if (ret == 0)
		ret = greedy(con, n, true, bwd, &n_bwd);
	if (ret) {
		free(fwd);
		free(bwd);
		return ret;
	}
	/* Run k from the right begins (in time) right after the place where run k+1 ends. */
	if (n_fwd == n_bwd && n_fwd > 0) {
		for (size_t i = 0, j = n_bwd - 1; i < j; i++, j--) {
			size_t t = bwd[i];

			bwd[i] = bwd[j];
			bwd[j] = t;
		}
		/* bwd[i] counts from the right: run i covers (.., n - 1 - bwd[i]] */
		for (size_t i = n_bwd - 1; i > 0; i--)
			bwd[i] = n - bwd[i - 1];
		bwd[0] = 0;
	} else {
		memcpy(bwd, fwd, n_fwd * sizeof(*bwd));
	}
	*out = (struct clock_split){ .latest = fwd, .earliest = bwd, .n = n_fwd };
	return 0;
}

void clock_split_fini(struct clock_split *s)
{
	free(s->latest);
	free(s->earliest);
	free(s->tested);
	*s = (struct clock_split){ 0 };
}
