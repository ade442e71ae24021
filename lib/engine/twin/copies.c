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
 *   2. time: a packet is not seen downstream before it was upstream (less @slack, the error of the
 *      coarse offset). A downstream copy that only one upstream copy can have made is its twin;
 *   3. order, when as many are left on either side.
 * When none of these tells, all that is left is ambiguous: nothing is guessed.
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

/* Without memory for the index the step is left out: less is told apart, nothing is wrong. */
static void match_by_id(struct twin_copies *up, struct twin_copies *down)
{
	struct id_ref *u = malloc((up->n + down->n) * sizeof(*u)), *d = u + up->n;
	size_t nu, nd;

	if (!u)
		return;
	nu = sorted_ids(up, u);
	nd = sorted_ids(down, d);
	for (size_t i = 0, j = 0; i < nu && j < nd;) {
		if (u[i].id < d[j].id) {
			i++;
		} else if (d[j].id < u[i].id) {
			j++;
		} else {
			if (alone(u, nu, i) && alone(d, nd, j))
				make_pair(up, down, u[i].index, d[j].index);
			i++;
			j++;
		}
	}
	free(u);
}

/* The first open copy at or after @i. */
static size_t next_open(const struct twin_copies *set, size_t i)
{
	while (i < set->n && set->c[i].pair != COPY_OPEN)
		i++;
	return i;
}

/* Can upstream copy @u have made something that was seen at @time? */
static bool can_precede(const struct twin_copies *up, size_t u, int64_t time, int64_t slack)
{
	return u < up->n && up->c[u].time <= time + slack;
}

static void match_by_time(struct twin_copies *up, struct twin_copies *down, int64_t slack)
{
	for (size_t d = next_open(down, 0), u = next_open(up, 0); d < down->n;) {
		size_t d2 = next_open(down, d + 1), u2 = next_open(up, u < up->n ? u + 1 : u);

		if (!can_precede(up, u, down->c[d].time, slack)) {
			down->c[d].pair = COPY_NONE; /* nothing was sent yet */
		} else if (can_precede(up, u2, down->c[d].time, slack) ||
			   (d2 < down->n && !can_precede(up, u2, down->c[d2].time, slack))) {
			break; /* two may have made it, or it and the next have one maker */
		} else {
			make_pair(up, down, u, d);
			u = u2;
		}
		d = d2;
	}
}

/* Sent after the last arrival that is left: never arrived. */
static void drop_unarrived(struct twin_copies *up, const struct twin_copies *down, int64_t slack)
{
	size_t d = down->n;

	while (d > 0 && down->c[d - 1].pair != COPY_OPEN)
		d--;
	for (size_t u = up->n; u-- > 0;) {
		if (up->c[u].pair != COPY_OPEN)
			continue;
		if (d > 0 && can_precede(up, u, down->c[d - 1].time, slack))
			break;
		up->c[u].pair = COPY_NONE;
	}
}

static size_t count_open(const struct twin_copies *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		n += set->c[i].pair == COPY_OPEN;
	return n;
}

static void close_all(struct twin_copies *set, int32_t as)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->c[i].pair == COPY_OPEN)
			set->c[i].pair = as;
}

static bool in_order_fits(const struct twin_copies *up, const struct twin_copies *down,
			  int64_t slack)
{
	size_t u = next_open(up, 0), d = next_open(down, 0);

	for (; u < up->n; u = next_open(up, u + 1), d = next_open(down, d + 1))
		if (!can_precede(up, u, down->c[d].time, slack))
			return false;
	return true;
}

void twin_match_copies(struct twin_copies *up, struct twin_copies *down, int64_t slack)
{
	size_t nu, nd;

	if (up->n > 1 || down->n > 1) {
		match_by_id(up, down);
		match_by_time(up, down, slack);
		drop_unarrived(up, down, slack);
	}
	nu = count_open(up);
	nd = count_open(down);
	if (nu == 0 || nd == 0) {
		close_all(up, COPY_NONE);
		close_all(down, COPY_NONE);
	} else if (nu == nd && (nu == 1 || in_order_fits(up, down, slack))) {
		size_t u = next_open(up, 0), d = next_open(down, 0);

		while (u < up->n) {
			make_pair(up, down, u, d);
			u = next_open(up, u);
			d = next_open(down, d);
		}
	} else {
		close_all(up, COPY_AMBIGUOUS);
		close_all(down, COPY_AMBIGUOUS);
	}
}
