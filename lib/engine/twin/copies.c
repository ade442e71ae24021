// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Several copies of the same thing at two points: which is whose twin?
 *
 * In: the copies seen upstream and downstream. Out: each copy's `pair`.
 *
 * Retransmissions with the same TSval, duplicates made by the network, and applications that send
 * the same datagram again look alike. What may tell them apart:
 *   1. the IP identification, where it occurs once on each side (RFC 6864: unique only for a while
 *      and only by sender's choice, so it breaks ties and never forms the identity), or of TCP without
 *      one what the sender had heard by then (twin.c);
 *   2. time: a packet is not seen downstream before it was upstream (less @slack, the error of the
 *      offset), nor later than packets take here (@reach). A downstream copy that only one upstream
 *      copy can have made then is its twin, unless what is left over shows that all may have
 *      been late.
 * Order alone tells nothing: where one copy is lost and another doubled, both sides count the
 * same. What is left of one side only is missing at the other. When none of these tells, the
 * copies are ambiguous: nothing is guessed.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/twin/twin_int.h"

int twin_copies_add(struct twin_copies *set, const struct twin_entry *e, uint32_t index,
		    int64_t time)
{
	if (set->n == set->cap) {
		size_t cap = set->cap ? 2 * set->cap : 64;
		struct twin_copy *c = realloc(set->c, cap * sizeof(*c));

		if (!c)
			return -ENOMEM;
		set->c = c;
		set->cap = cap;
	}
	set->c[set->n++] = (struct twin_copy){ .time = time, .seen = e->time, .ip_id = e->ip_id, .seq = e->seq,
					       .entry = index, .pair = COPY_OPEN };
	return 0;
}

static void make_pair(struct twin_copies *up, struct twin_copies *down, size_t u, size_t d)
{
	up->c[u].pair = (int32_t)d;
	down->c[d].pair = (int32_t)u;
}

struct id_ref {
	uint64_t id; /* sequence number and IP ID, which counts up with the former; or what was heard */
	size_t index;
};

static bool is_weak(const struct twin_copy *c)
{
	return c->ip_id & TWIN_WEAK_ID;
}

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
			out[n++] = (struct id_ref){ (is_weak(&set->c[i]) ? 0 : (uint64_t)set->c[i].seq << 32) |
						    set->c[i].ip_id, i };
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
 * memory for the index the step is left out: less is told apart, nothing is wrong. What was there before
 * it was sent is another packet with the same ID.
 */
static bool match_by_id(struct twin_copies *up, struct twin_copies *down,
			const struct twin_limits *limits)
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
			int64_t lag = down->c[d[j].index].time - up->c[u[i].index].time;

			common = true;
			if (alone(u, nu, i) && alone(d, nd, j) && lag >= limits->earliest)
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

/* What is being decided. */
struct group {
	struct twin_copies *up, *down;
	const struct twin_limits *limits;
	bool ids_tell;
	size_t low; /* upstream copies before this are too old for what comes downstream */
	size_t doubted; /* ... and of those between nobody before this is open any more */
	size_t steps;   /* looks at copies for doubt's sake */
};

#define MANY 64 /* candidates looked at before a copy is given up as ambiguous */

/* Can upstream @x have become downstream @y, by all but their times? */
static bool alike(const struct group *g, const struct twin_copy *x, const struct twin_copy *y)
{
	if (!g->ids_tell || !x->ip_id || !y->ip_id || x->ip_id == y->ip_id)
		return true;
	return x->seq != y->seq && !(is_weak(x) && is_weak(y));
}

/*
 * Upstream copies that can have made downstream copy @y: sent before it and not longer ago
 * than packets take. *@one: the first of them. Return: their number, 2 for more.
 */
static size_t makers(struct group *g, const struct twin_copy *y, size_t *one)
{
	struct twin_copies *up = g->up;
	size_t n = 0;

	while (g->low < up->n && y->time - up->c[g->low].time > g->limits->reach)
		g->low++;
	for (size_t u = g->low; u < up->n && up->c[u].time <= y->time + g->limits->slack; u++) {
		if (u - g->low > MANY)
			return 2;
		if (!alike(g, &up->c[u], y))
			continue;
		if (n++)
			return 2;
		*one = u;
	}
	return n;
}

/*
 * Downstream @y is ambiguous, and so are the open copies that can have made it. Where identifications do not
 * tell that is all that are in reach, each of which is looked at once; where they would, but the copies are
 * so many that each look goes over thousands, it is all of them too.
 */
static void doubt_makers(struct group *g, struct twin_copy *y)
{
	struct twin_copies *up = g->up;
	bool all = !g->ids_tell || !y->ip_id || g->steps > MANY * (up->n + g->down->n);
	size_t u = g->low > g->doubted ? g->low : g->doubted;

	y->pair = COPY_AMBIGUOUS;
	for (; u < up->n && up->c[u].time <= y->time + g->limits->slack; u++, g->steps++)
		if (up->c[u].pair == COPY_OPEN && (all || alike(g, &up->c[u], y)))
			up->c[u].pair = COPY_AMBIGUOUS;
	if (all && u > g->doubted)
		g->doubted = u;
}

/*
 * Only upstream @x can have made downstream @y, and another one before. If that one came before @x by the
 * clocks, which may be wrong, it may be of an earlier @x that was not captured.
 */
static void once_more(struct group *g, struct twin_copy *x, struct twin_copy *y)
{
	struct twin_copy *other = x->pair >= 0 ? &g->down->c[x->pair] : NULL;

	if (other && other->time < x->time && y->time >= x->time)
		other->pair = x->pair = COPY_AMBIGUOUS;
	y->pair = x->pair == COPY_AMBIGUOUS ? COPY_AMBIGUOUS : COPY_NONE;
}

/*
 * Only upstream copy @u can have made downstream @y, but was sent after it, by what the clocks are known to be apart
 * by: all other twins fit that. Was there another that may have made @y, held up for longer than others lately, if
 * the clocks are wrong the other way?
 */
static bool may_be_late(const struct group *g, size_t u, const struct twin_copy *y)
{
	const struct twin_copy *up = g->up->c;

	if (up[u].time <= y->time)
		return false;
	for (size_t i = u; i-- > 0 && y->time - up[i].time <= g->limits->stall + g->limits->slack;)
		if (u - i > MANY || alike(g, &up[i], y))
			return true;
	return false;
}

/*
 * A downstream copy that only one upstream copy can have made is its twin, a later one of
 * the same maker a duplicate. One that two can have made leaves both in doubt: if one was lost and
 * the other doubled, order would tell wrong. So it does for an upstream copy that made a later one
 * surely, since its first is wanted; hence in order of time, and doubt stays.
 */
static void match_by_time(struct group *g)
{
	for (size_t d = 0; d < g->down->n; d++) {
		struct twin_copy *y = &g->down->c[d];
		size_t u = 0, n;

		if (y->pair != COPY_OPEN)
			continue;
		n = makers(g, y, &u);
		if (n == 2 || (n == 1 && may_be_late(g, u, y)))
			doubt_makers(g, y);
		else if (n == 1 && g->up->c[u].pair == COPY_OPEN)
			make_pair(g->up, g->down, u, d);
		else if (n == 1)
			once_more(g, &g->up->c[u], y);
	}
}

static size_t count_open(const struct twin_copies *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++)
		n += set->c[i].pair == COPY_OPEN;
	return n;
}

static void close_as(struct twin_copies *set, int32_t as)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->c[i].pair == COPY_OPEN)
			set->c[i].pair = as;
}

static int by_arrival(const void *pa, const void *pb)
{
	const struct twin_copy *a = pa, *b = pb;

	return (a->seen > b->seen) - (a->seen < b->seen);
}

/*
 * Order of arrival, which nearly always is there already. The point's own clock tells it: what the clocks are
 * taken to be apart by is corrected between two copies, and must not put the later one first.
 */
static void sort_by_arrival(struct twin_copies *set)
{
	size_t i = 1;

	while (i < set->n && set->c[i].seen >= set->c[i - 1].seen)
		i++;
	if (i < set->n)
		qsort(set->c, set->n, sizeof(*set->c), by_arrival);
	for (i = 1; i < set->n; i++)
		if (set->c[i].time < set->c[i - 1].time)
			set->c[i].time = set->c[i - 1].time;
}

/*
 * An upstream copy is left over, and later a downstream one: each of those between may be the
 * twin of the one before, all held up together for longer than packets were lately.
 */
static void doubt_shifts(struct group *g)
{
	struct twin_copies *up = g->up, *down = g->down;
	int64_t from = 0, last = 0;
	bool left = false;

	for (size_t u = 0, d = 0; d < down->n; d++) {
		struct twin_copy *y = &down->c[d];

		for (; u < up->n && up->c[u].time <= y->time + g->limits->slack; u++) {
			if (up->c[u].time - last > g->limits->stall)
				left = false;
			last = up->c[u].time;
			if (up->c[u].pair != COPY_OPEN)
				continue;
			from = left ? from : last;
			left = true;
		}
		if (!left || y->pair >= 0 || y->time - last > g->limits->stall)
			continue;
		for (size_t i = u; i-- > 0 && up->c[i].time >= from;) {
			if (up->c[i].pair >= 0)
				down->c[up->c[i].pair].pair = COPY_AMBIGUOUS;
			up->c[i].pair = COPY_AMBIGUOUS;
		}
		y->pair = COPY_AMBIGUOUS;
		left = false;
	}
}

bool twin_only_pair(int64_t lag, uint32_t id_up, uint32_t id_down,
		    const struct twin_limits *limits)
{
	if (lag >= -limits->slack && lag <= limits->reach)
		return true;
	/* Seen before it was sent: another like it, of which the other point lacks the twin. */
	if (lag < limits->earliest)
		return false;
	/* Later than any other, or earlier than can be: the same packet still, or another like it? */
	if (id_up && id_down && (id_up != id_down || !(id_up & TWIN_WEAK_ID)))
		return id_up == id_down;
	return !limits->repeated;
}

void twin_match_copies(struct twin_copies *up, struct twin_copies *down,
		       const struct twin_limits *limits)
{
	struct group g = { .up = up, .down = down, .limits = limits };
	bool doubt;

	sort_by_arrival(up);
	sort_by_arrival(down);
	if (up->n == 1 && down->n == 1) {
		if (twin_only_pair(down->c[0].time - up->c[0].time, up->c[0].ip_id,
				   down->c[0].ip_id, limits))
			make_pair(up, down, 0, 0);
	} else {
		g.ids_tell = match_by_id(up, down, limits);
		match_by_time(&g);
		/* What agrees in a weak one is told apart by nothing else. */
		if (!g.ids_tell || (up->n && up->c[0].ip_id & TWIN_WEAK_ID))
			doubt_shifts(&g);
	}
	/* Under way for longer than anything else lately, or lost and something else? */
	doubt = count_open(up) && count_open(down);
	close_as(up, doubt ? COPY_AMBIGUOUS : COPY_NONE);
	close_as(down, doubt ? COPY_AMBIGUOUS : COPY_NONE);
}
