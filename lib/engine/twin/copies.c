// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Several copies of the same thing at two points: which is whose twin?
 *
 * In: the copies seen upstream and downstream, each in order of arrival. Out: each copy's `pair`.
 *
 * Retransmissions with the same TSval, duplicates made by the network, and applications that send
 * the same datagram again look alike. What may tell them apart, in this order:
 *   1. the IP identification, where it occurs once on each side (RFC 6864: unique only for a while
 *      and only by sender's choice, so it breaks ties and never forms the identity);
 *   2. quiet: copies are cut into groups wherever nothing was seen for longer than packets take
 *      here (@quiet), and a group is judged by itself;
 *   3. order, when a group has as many upstream as downstream, and neither IDs nor times speak
 *      against it;
 *   4. time: a packet is not seen downstream before it was upstream (less @slack, the error of the
 *      coarse offset). A downstream copy that only one upstream copy can have made is its twin.
 * What is left of one side only is missing at the other. When none of these tells, the
 * group is ambiguous: nothing is guessed.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/twin/twin_int.h"

int twin_copies_add(struct twin_copies *set, const struct twin_entry *e, uint32_t index)
{
	if (set->n == set->cap) {
		size_t cap = set->cap ? 2 * set->cap : 64;
		struct twin_copy *c = realloc(set->c, cap * sizeof(*c));

		if (!c)
			return -ENOMEM;
		set->c = c;
		set->cap = cap;
	}
	set->c[set->n++] = (struct twin_copy){ .time = e->time, .ip_id = e->ip_id, .seq = e->seq,
					       .entry = index, .pair = COPY_OPEN };
	return 0;
}

static void make_pair(struct twin_copies *up, struct twin_copies *down, size_t u, size_t d)
{
	up->c[u].pair = (int32_t)d;
	down->c[d].pair = (int32_t)u;
}

struct id_ref {
	uint64_t id; /* sequence number and IP ID */
	size_t index;
};

static int by_id(const void *pa, const void *pb)
{
	const struct id_ref *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static size_t sorted_ids(const struct twin_copies *set, struct id_ref *out)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		if (set->c[i].ip_id)
			out[n++] = (struct id_ref){ (uint64_t)set->c[i].seq << 32 | set->c[i].ip_id, i };
	qsort(out, n, sizeof(*out), by_id);
	return n;
}

static bool alone(const struct id_ref *r, size_t n, size_t i)
{
	return (i == 0 || r[i - 1].id != r[i].id) && (i + 1 == n || r[i + 1].id != r[i].id);
}

static void drop_unknown_ids(struct twin_copies *set, const struct id_ref *r, size_t n,
			     const struct id_ref *known, size_t n_known)
{
	for (size_t i = 0, j = 0; i < n; i++) {
		while (j < n_known && known[j].id < r[i].id)
			j++;
		if (j == n_known || known[j].id != r[i].id)
			set->c[r[i].index].pair = COPY_NONE;
	}
}

/*
 * Return: do both sides have IDs in common, so that differing IDs mean different packets? Without
 * memory for the index the step is left out: less is told apart, nothing is wrong.
 */
static bool match_by_id(struct twin_copies *up, struct twin_copies *down)
{
	struct id_ref *u = malloc((up->n + down->n) * sizeof(*u)), *d = u + up->n;
	bool common = false;
	size_t nu, nd;

	if (!u)
		return false;
	nu = sorted_ids(up, u);
	nd = sorted_ids(down, d);
	for (size_t i = 0, j = 0; i < nu && j < nd;) {
		if (u[i].id < d[j].id) {
			i++;
		} else if (d[j].id < u[i].id) {
			j++;
		} else {
			common = true;
			if (alone(u, nu, i) && alone(d, nd, j))
				make_pair(up, down, u[i].index, d[j].index);
			i++;
			j++;
		}
	}
	/* Where every copy has an ID and starts at the same byte, an ID that one side lacks is lost. */
	if (common && nu == up->n && nd == down->n && u[0].id >> 32 == u[nu - 1].id >> 32 &&
	    d[0].id >> 32 == u[0].id >> 32 && d[nd - 1].id >> 32 == u[0].id >> 32) {
		drop_unknown_ids(up, u, nu, d, nd);
		drop_unknown_ids(down, d, nd, u, nu);
	}
	free(u);
	return common;
}

/* What is being decided: the open copies in [u, u_end) and [d, d_end). */
struct group {
	struct twin_copies *up, *down;
	size_t u, u_end, d, d_end;
	int64_t slack, quiet;
	bool ids_tell;
};

/* The first open copy at or after @i and before @end; else @end. */
static size_t next_open(const struct twin_copies *set, size_t i, size_t end)
{
	while (i < end && set->c[i].pair != COPY_OPEN)
		i++;
	return i;
}

static size_t count_open(const struct twin_copies *set, size_t from, size_t end)
{
	size_t n = 0;

	for (size_t i = from; i < end; i++)
		n += set->c[i].pair == COPY_OPEN;
	return n;
}

static void close_as(struct twin_copies *set, size_t from, size_t end, int32_t as)
{
	for (size_t i = from; i < end; i++)
		if (set->c[i].pair == COPY_OPEN)
			set->c[i].pair = as;
}

/* Can upstream copy @u of the group have made something that was seen at @time? */
static bool can_precede(const struct group *g, size_t u, int64_t time)
{
	return u < g->u_end && g->up->c[u].time <= time + g->slack;
}

static void match_by_time(struct group *g)
{
	struct twin_copies *up = g->up, *down = g->down;
	size_t u = next_open(up, g->u, g->u_end), d = next_open(down, g->d, g->d_end);

	while (d < g->d_end) {
		size_t d2 = next_open(down, d + 1, g->d_end);
		size_t u2 = u < g->u_end ? next_open(up, u + 1, g->u_end) : u;

		if (!can_precede(g, u, down->c[d].time)) {
			down->c[d].pair = COPY_NONE; /* nothing was sent yet */
		} else if (can_precede(g, u2, down->c[d].time) ||
			   (d2 < g->d_end && !can_precede(g, u2, down->c[d2].time))) {
			break; /* two may have made it, or it and the next have one maker */
		} else {
			make_pair(up, down, u, d);
			u = u2;
		}
		d = d2;
	}
}

/* Sent after the last arrival that is left: never arrived. */
static void drop_unarrived(struct group *g)
{
	size_t d = g->d_end;

	while (d > g->d && g->down->c[d - 1].pair != COPY_OPEN)
		d--;
	for (size_t u = g->u_end; u-- > g->u;) {
		if (g->up->c[u].pair != COPY_OPEN)
			continue;
		if (d > g->d && can_precede(g, u, g->down->c[d - 1].time))
			break;
		g->up->c[u].pair = COPY_NONE;
	}
}

/* May the copies that are left be twins in order? */
static bool in_order_fits(const struct group *g)
{
	size_t u = next_open(g->up, g->u, g->u_end), d = next_open(g->down, g->d, g->d_end);

	while (u < g->u_end) {
		const struct twin_copy *x = &g->up->c[u], *y = &g->down->c[d];

		if (!can_precede(g, u, y->time) || y->time - x->time > g->quiet)
			return false;
		if (g->ids_tell && x->ip_id && y->ip_id && x->ip_id != y->ip_id &&
		    x->seq == y->seq)
			return false;
		u = next_open(g->up, u + 1, g->u_end);
		d = next_open(g->down, d + 1, g->d_end);
	}
	return true;
}

static void match_in_order(struct group *g)
{
	size_t u = next_open(g->up, g->u, g->u_end), d = next_open(g->down, g->d, g->d_end);

	while (u < g->u_end) {
		make_pair(g->up, g->down, u, d);
		u = next_open(g->up, u, g->u_end);
		d = next_open(g->down, d, g->d_end);
	}
}

/* One group, both sides present. */
static void decide_group(struct group *g)
{
	size_t nu = count_open(g->up, g->u, g->u_end), nd = count_open(g->down, g->d, g->d_end);

	if (nu == nd && in_order_fits(g)) {
		match_in_order(g);
		return;
	}
	match_by_time(g);
	drop_unarrived(g);
	if (count_open(g->up, g->u, g->u_end) && count_open(g->down, g->d, g->d_end)) {
		close_as(g->up, g->u, g->u_end, COPY_AMBIGUOUS);
		close_as(g->down, g->d, g->d_end, COPY_AMBIGUOUS);
	}
	close_as(g->up, g->u, g->u_end, COPY_NONE);
	close_as(g->down, g->d, g->d_end, COPY_NONE);
}

/* Move @g to the next group: open copies with no longer quiet between them. */
static bool next_group(struct group *g)
{
	const struct twin_copies *up = g->up, *down = g->down;
	size_t u, d;
	int64_t last = 0;
	bool any = false;

	g->u = u = next_open(up, g->u_end, up->n);
	g->d = d = next_open(down, g->d_end, down->n);
	while (u < up->n || d < down->n) {
		bool is_up = u < up->n && (d == down->n || up->c[u].time <= down->c[d].time);
		int64_t time = is_up ? up->c[u].time : down->c[d].time;

		if (any && time - last > g->quiet)
			break;
		any = true;
		last = time;
		if (is_up)
			u = next_open(up, u + 1, up->n);
		else
			d = next_open(down, d + 1, down->n);
	}
	g->u_end = u;
	g->d_end = d;
	return any;
}

void twin_match_copies(struct twin_copies *up, struct twin_copies *down, int64_t slack,
		       int64_t quiet)
{
	struct group g = { .up = up, .down = down, .slack = slack, .quiet = quiet };
	size_t nu, nd;

	if (up->n > 1 || down->n > 1) {
		g.ids_tell = match_by_id(up, down);
		while (next_group(&g))
			if (count_open(up, g.u, g.u_end) && count_open(down, g.d, g.d_end))
				decide_group(&g);
	}
	nu = count_open(up, 0, up->n);
	nd = count_open(down, 0, down->n);
	if (up->n == 1 && down->n == 1 && nu && nd)
		make_pair(up, down, 0, 0); /* however late: there is no other */
	close_as(up, 0, up->n, nu && nd ? COPY_AMBIGUOUS : COPY_NONE);
	close_as(down, 0, down->n, nu && nd ? COPY_AMBIGUOUS : COPY_NONE);
}
