// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Twins of packets that travel whole: UDP, ICMP, other fragments, pure ACKs, RST, keep-alives.
 *
 * A node holds all packets of one identity (flow, direction, digest; TCP: window too) that are
 * not decided, in order of arrival on each side. Nearly always that is one upstream and
 * one downstream: twins, once they have waited long enough for a rival to show. Several of
 * the same identity (an application that repeats a datagram, duplicate ACKs) are told apart as
 * copies.c says. That needs all of them: a group is decided up to a moment of
 * quiet at which as many had arrived as had been sent; what never comes to such a moment
 * is decided when its oldest member leaves the window, by IP ID and time, or is ambiguous.
 */
#include "engine/twin/twin_int.h"

static unsigned int side_of(const struct twin_entry *e)
{
	return e->flags & E_DOWN ? TWIN_DOWN : TWIN_UP;
}

void twin_unit_insert(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_side *s = &t->m.node[entry[e].node].side[side_of(&entry[e])];

	entry[e].prev = s->tail;
	entry[e].next = 0;
	if (s->tail)
		entry[s->tail].next = e;
	else
		s->head = e;
	s->tail = e;
	s->n++;
}

void twin_unit_remove(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_side *s = &t->m.node[x->node].side[side_of(x)];

	if (x->prev)
		entry[x->prev].next = x->next;
	else
		s->head = x->next;
	if (x->next)
		entry[x->next].prev = x->prev;
	else
		s->tail = x->prev;
	s->n--;
}

static void make_twins(struct vns_twin *t, uint32_t u, uint32_t d)
{
	struct twin_entry *entry = t->m.entry;

	entry[u].flags |= E_DONE | E_MATCHED;
	entry[d].flags |= E_DONE | E_MATCHED;
	entry[u].first = entry[u].last = entry[d].time;
	entry[u].n_first = entry[u].n_last = 1;
	twin_unit_remove(t, u);
	twin_unit_remove(t, d);
}

/* The oldest of both sides carry the same IP ID, and their successors another. */
static bool told_by_id(const struct twin_entry *entry, uint32_t u, uint32_t d)
{
	uint32_t id = entry[u].ip_id;

	return id && entry[d].ip_id == id &&
	       (!entry[u].next || entry[entry[u].next].ip_id != id) &&
	       (!entry[d].next || entry[entry[d].next].ip_id != id);
}

/* The oldest downstream packet can only have been made by the oldest upstream one. */
static bool told_by_time(const struct vns_twin *t, uint32_t u, uint32_t d)
{
	const struct twin_entry *entry = t->m.entry;
	uint32_t u2 = entry[u].next, d2 = entry[d].next;

	if (entry[d].time + t->slack < entry[u].time)
		return false;
	if (u2 && entry[u2].time <= entry[d].time + t->slack)
		return false;
	/* ... and is not followed by a second copy of the same. */
	return !d2 || (u2 && entry[d2].time + t->slack >= entry[u2].time);
}

bool twin_unit_settle(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_node *node = &t->m.node[entry[e].node];
	uint32_t d = node->side[TWIN_DOWN].head;
	int64_t lag;

	if (entry[e].flags & E_DONE)
		return true;
	if (node->side[TWIN_UP].head != e || !d)
		return false;
	lag = entry[d].time - entry[e].time;
	if (lag > t->window || lag < -t->window || entry[d].time >= t->horizon - t->slack)
		return false; /* the last: there may be rivals that were not read yet */
	if (!(node->side[TWIN_UP].n == 1 && node->side[TWIN_DOWN].n == 1) &&
	    !told_by_id(entry, e, d) && !told_by_time(t, e, d))
		return false;
	make_twins(t, e, d);
	return true;
}

/* Take copies in order of arrival into the scratch sets and out of the node, and decide. */
static void decide(struct vns_twin *t, struct twin_node *node, size_t nu, size_t nd)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_copies *set[2] = { &t->up, &t->down };
	size_t want[2] = { nu, nd };
	bool known = true;

	t->up.n = t->down.n = 0;
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < want[side]; i++) {
			uint32_t e = node->side[side].head;

			known &= twin_copies_add(set[side], &entry[e], e) == 0;
			entry[e].flags |= E_DONE | E_AMBIGUOUS; /* unless decided below */
			twin_unit_remove(t, e);
		}
	}
	if (!known)
		return;
	twin_match_copies(&t->up, &t->down, t->slack, twin_quiet(t, node->direction));
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < set[side]->n; i++) {
			struct twin_copy *c = &set[side]->c[i];
			struct twin_entry *x = &entry[c->entry];
			int64_t twin;

			if (c->pair != COPY_AMBIGUOUS)
				x->flags &= (uint16_t)~E_AMBIGUOUS;
			if (c->pair < 0)
				continue;
			twin = set[!side]->c[c->pair].time;
			if (twin - c->time > t->window || c->time - twin > t->window)
				continue;
			x->flags |= set[0]->n > 1 ? E_MATCHED | E_CHOSEN : E_MATCHED;
			x->first = x->last = twin;
			x->n_first = x->n_last = 1;
		}
	}
}

/*
 * Walk both sides of @node together in order of time and cut them into groups.
 * *@nu, *@nd: the first group's size. Return: true when it ends in quiet with
 * equal counts; false: these are all up to @until and what follows without a quiet moment.
 */
static bool next_group(const struct vns_twin *t, const struct twin_node *node, int64_t until,
		       size_t *nu, size_t *nd)
{
	const struct twin_entry *entry = t->m.entry;
	uint32_t u = node->side[TWIN_UP].head, d = node->side[TWIN_DOWN].head;
	int64_t last = 0, quiet = twin_quiet(t, node->direction);

	*nu = *nd = 0;
	while (u || d) {
		bool up = u && (!d || entry[u].time <= entry[d].time);
		int64_t time = up ? entry[u].time : entry[d].time;

		if (*nu + *nd > 0 && time - last > quiet) {
			if (*nu == *nd)
				return true;
			if (time > until)
				return false;
		} else if (*nu + *nd == 0 && time > until) {
			return false;
		}
		if (time > t->horizon)
			return false;
		last = time;
		if (up) {
			u = entry[u].next;
			(*nu)++;
		} else {
			d = entry[d].next;
			(*nd)++;
		}
	}
	return *nu > 0 && *nu == *nd && last + quiet < until;
}

void twin_unit_resolve(struct vns_twin *t, uint32_t e, int64_t until)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_node *node = &t->m.node[entry[e].node];

	while (!(entry[e].flags & E_DONE)) {
		size_t nu, nd;

		next_group(t, node, until, &nu, &nd);
		if (nu + nd == 0) /* cannot be: @e itself is older than @until */
			return;
		decide(t, node, nu, nd);
	}
}
