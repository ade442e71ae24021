// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Twins of packets that travel whole: UDP, ICMP, other fragments, pure ACKs, RST, keep-alives.
 *
 * A node holds all packets of one identity (flow, direction, digest; TCP: window too) that are
 * not decided, in order of arrival on each side. Nearly always that is one upstream and
 * one downstream: twins, once they have waited long enough for a rival to show. Several of
 * the same identity (an application that repeats a datagram, duplicate ACKs) are told apart as
 * copies.c says. That needs all of them: they wait until the oldest leaves the window; what was
 * seen up to a moment of quiet, or up to a time by which all have arrived, is decided together.
 */
#include "engine/twin/twin_int.h"

#define MAX_WALK 4096 /* entries passed to put one in order; beyond, order is wrong and less is told */

static unsigned int side_of(const struct twin_entry *e)
{
	return e->flags & E_DOWN ? TWIN_DOWN : TWIN_UP;
}

void twin_unit_insert(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_side *s = &t->m.node[entry[e].node].side[side_of(&entry[e])];
	uint32_t after = s->tail, next = 0;

	/* In order of time: captures are nearly so, packets that waited for their NAT mapping are not. */
	for (int i = 0; i < MAX_WALK && after && entry[after].time > entry[e].time; i++) {
		next = after;
		after = entry[after].prev;
	}
	entry[e].prev = after;
	entry[e].next = next;
	*(after ? &entry[after].next : &s->head) = e;
	*(next ? &entry[next].prev : &s->tail) = e;
	if (s->n++ > 0) /* several at once: an identity that is no rare one */
		t->m.node[entry[e].node].repeated = true;
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

#define LIKES 256 /* packets of one identity that are compared before their time */

/* Does none of those behind @e, the oldest of its side, bear its IP ID, up to @until (its point's time)? */
static bool only_id(const struct twin_entry *entry, uint32_t e, int64_t until)
{
	uint32_t next = entry[e].next;
	int n = 0;

	while (next && entry[next].time <= until) {
		if (n++ == LIKES || entry[next].ip_id == entry[e].ip_id)
			return false;
		next = entry[next].next;
	}
	return true;
}

/*
 * The oldest of both sides carry the same IP ID, and no others that can have been taken for them: sent before
 * downstream's was seen, or seen so soon after it that they are a second copy, which would be left over. Nor was
 * it seen before it was sent: then it is an earlier one's, whose number has come again.
 */
static bool told_by_id(const struct vns_twin *t, uint32_t u, uint32_t d, int64_t lag)
{
	const struct twin_entry *entry = t->m.entry;
	uint32_t id = entry[u].ip_id;

	return id && !(id & TWIN_WEAK_ID) && entry[d].ip_id == id &&
	       lag >= twin_earliest(t, t->m.node[entry[u].node].direction, 0, entry[u].time) &&
	       only_id(entry, u, entry[u].time + lag + 2 * t->slack) &&
	       only_id(entry, d, entry[d].time + 2 * t->slack);
}

static void report_odd(struct vns_twin *t, const struct twin_node *node, uint32_t u, uint32_t d)
{
	bool in = node->direction == VNS_HOST_TO_GUEST;
	int64_t lag = t->m.entry[d].time - t->m.entry[u].time;

	twin_offset_odd(t, node->direction, t->m.entry[in ? u : d].time, in ? lag : -lag);
}

/*
 * Is @e the last of its side that was seen before the horizon, which is @until on its point's clock? What came
 * later may have been fed or not, by the turns that the points take: it tells nothing.
 */
static bool last_by(const struct twin_entry *entry, uint32_t e, int64_t until)
{
	return !entry[e].next || entry[entry[e].next].time >= until;
}

/*
 * Until when copies of @node were decided in the midst of traffic; INT64_MIN: never. Kept in what only
 * the other kind of node uses; a new node has zeros there.
 */
static int64_t cut_at(const struct twin_node *node)
{
	const struct twin_side *s = &node->side[TWIN_UP];
	uint64_t at = (uint64_t)s->max_len << 32 | s->max_end;

	return at ? (int64_t)at : INT64_MIN;
}

static bool same_strong_id(const struct twin_entry *u, const struct twin_entry *d)
{
	return u->ip_id && !(u->ip_id & TWIN_WEAK_ID) && u->ip_id == d->ip_id;
}

/*
 * May one of an only pair belong to copies that were decided before it, in the midst of traffic? @time: upstream's, of
 * the one seen first.
 */
static bool near_cut(const struct vns_twin *t, const struct twin_node *node, int64_t time)
{
	int64_t cut = cut_at(node);

	return cut != INT64_MIN && time - twin_reach(t, node->direction) < cut;
}

/*
 * @lag is one that twins do not have here, and nothing else tells: it may be a piece of another packet, or made of
 * some, as much as one that was held up. That look comes first.
 */
static bool may_be_piece(const struct vns_twin *t, uint32_t e, int64_t lag, const struct twin_limits *l)
{
	const struct twin_entry *x = &t->m.entry[e];

	return (lag < -l->slack || lag > l->reach) && twin_is_piece(t, x) && !(x->flags & E_LOOKED);
}

bool twin_unit_settle(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_node *node = &t->m.node[entry[e].node];
	uint32_t d = node->side[TWIN_DOWN].head;
	int64_t lag, until;

	if (entry[e].flags & E_DONE)
		return true;
	if (node->side[TWIN_UP].head != e || !d)
		return false;
	lag = entry[d].time - entry[e].time - twin_ahead(node->direction, t->ahead);
	if (lag > t->window || lag < -t->window ||
	    entry[d].time >= t->quiet_before[node->direction])
		return false; /* the last: there may be rivals that were not read yet */
	until = t->horizon + (node->direction == VNS_HOST_TO_GUEST ? 0 : t->ahead);
	if (last_by(entry, e, until) &&
	    last_by(entry, d, until + twin_ahead(node->direction, t->ahead))) {
		struct twin_limits limits = { t->slack, twin_reach(t, node->direction), 0,
					      node->repeated,
					      twin_earliest(t, node->direction, 0, entry[e].time) };
		bool same = same_strong_id(&entry[e], &entry[d]);

		/* Seen before it was sent, and nothing is known of the clocks yet: what comes may tell. */
		if (lag < -limits.slack && !t->sane[node->direction] && entry[e].time >= until - t->window)
			return false;
		if (!same && near_cut(t, node, entry[e].time + (lag < 0 ? lag : 0)))
			return false;
		if (!twin_only_pair(lag, entry[e].ip_id, entry[d].ip_id, &limits)) {
			if (lag < limits.earliest)
				report_odd(t, node, e, d);
			return false;
		}
		if (!same && may_be_piece(t, e, lag, &limits))
			return false;
	} else if (!told_by_id(t, e, d, lag)) {
		return false;
	}
	make_twins(t, e, d);
	return true;
}

/* Up to where the copies of a node are decided together; all in upstream's time. */
struct share {
	size_t n[2];        /* copies, by side */
	struct twin_limits limits;
	int64_t from, to;   /* what lies within the reach of these may belong to what is not in it */
};

/* May @c belong to what is not in the share? As long as packets take, or the clocks may be wrong by. */
static bool near_edge(const struct share *s, const struct twin_copy *c)
{
	int64_t far = s->limits.reach > s->limits.slack ? s->limits.reach : s->limits.slack;

	return (s->from != INT64_MIN && c->time - far < s->from) ||
	       (s->to != INT64_MAX && c->time + far > s->to);
}

/* What was found of one copy -> its entry. */
static void conclude(struct vns_twin *t, const struct share *s, unsigned int side, size_t i)
{
	struct twin_copies *set[2] = { &t->up, &t->down };
	const struct twin_copy *c = &set[side]->c[i], *twin;
	struct twin_entry *entry = t->m.entry, *x = &entry[c->entry];

	if (c->pair == COPY_AMBIGUOUS)
		return;
	twin = c->pair >= 0 ? &set[!side]->c[c->pair] : NULL;
	/* One that may be another's is nobody's twin. */
	if ((near_edge(s, c) || (twin && near_edge(s, twin))) &&
	    !(twin && x->ip_id && !(x->ip_id & TWIN_WEAK_ID) && x->ip_id == twin->ip_id))
		return;
	x->flags &= (uint16_t)~E_AMBIGUOUS;
	if (!twin || twin->time - c->time > t->window || c->time - twin->time > t->window)
		return;
	x->flags |= set[0]->n > 1 ? E_MATCHED | E_CHOSEN : E_MATCHED;
	x->first = x->last = entry[twin->entry].time;
	x->n_first = x->n_last = 1;
}

static int64_t upstream_time(const struct vns_twin *t, const struct twin_entry *e)
{
	return twin_upstream_time(t, t->m.node[e->node].direction, e);
}

/* @e is decided with others: how far the clocks may be wrong is what is worst of any of them. */
static void widen(const struct vns_twin *t, const struct twin_entry *e, struct twin_limits *l)
{
	unsigned int dir = t->m.node[e->node].direction;
	int64_t error = twin_moment_of(t, e).error;
	int64_t earliest = twin_earliest(t, dir, error, e->time);

	l->slack = error > l->slack ? error : l->slack;
	l->earliest = earliest < l->earliest ? earliest : l->earliest;
}

/* Take copies in order of arrival into the scratch sets and out of the node, and decide. */
static void decide(struct vns_twin *t, struct twin_node *node, struct share *s)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_copies *set[2] = { &t->up, &t->down };
	bool known = true;

	t->up.n = t->down.n = 0;
	for (int side = 0; side < 2; side++) {
		for (size_t i = 0; i < s->n[side]; i++) {
			uint32_t e = node->side[side].head;

			known &= twin_copies_add(set[side], &entry[e], e,
						 upstream_time(t, &entry[e])) == 0;
			widen(t, &entry[e], &s->limits);
			entry[e].flags |= E_DONE | E_AMBIGUOUS; /* unless decided below */
			twin_unit_remove(t, e);
		}
	}
	if (!known)
		return;
	twin_match_copies(&t->up, &t->down, &s->limits);
	for (unsigned int side = 0; side < 2; side++)
		for (size_t i = 0; i < set[side]->n; i++)
			conclude(t, s, side, i);
}

static void set_cut(struct twin_node *node, int64_t at)
{
	node->side[TWIN_UP].max_end = (uint32_t)at;
	node->side[TWIN_UP].max_len = (uint32_t)((uint64_t)at >> 32);
}

/*
 * Walk both sides of @node together in order of time, up to a moment of quiet at which as many
 * had arrived as had been sent, or to @until.
 */
static void next_share(const struct vns_twin *t, const struct twin_node *node, int64_t until,
		       struct share *s)
{
	const struct twin_entry *entry = t->m.entry;
	uint32_t u = node->side[TWIN_UP].head, d = node->side[TWIN_DOWN].head;
	int64_t last = 0, horizon = t->horizon;
	bool any = false;

	horizon += node->direction == VNS_HOST_TO_GUEST ? 0 : t->ahead;
	s->n[0] = s->n[1] = 0;
	s->from = cut_at(node);
	s->to = INT64_MAX;
	while (u || d) {
		int64_t down = d ? upstream_time(t, &entry[d]) : 0;
		bool up = u && (!d || entry[u].time <= down);
		int64_t time = up ? entry[u].time : down;

		if (time > horizon || (!any && time > until))
			break;
		if (any && time - last > s->limits.reach && (s->n[0] == s->n[1] || time > until))
			return;
		any = true;
		last = time;
		s->n[!up]++;
		if (up)
			u = entry[u].next;
		else
			d = entry[d].next;
	}
	/* What comes next may have been fed or not: it is quiet if nothing came for long enough by the horizon. */
	if (any && !t->finishing &&
	    (horizon - last <= s->limits.reach || (s->n[0] != s->n[1] && horizon <= until)))
		s->to = horizon;
}

bool twin_unit_alone(const struct vns_twin *t, uint32_t e)
{
	const struct twin_node *node = &t->m.node[t->m.entry[e].node];

	return node->side[!side_of(&t->m.entry[e])].n == 0 && cut_at(node) == INT64_MIN;
}

void twin_unit_resolve(struct vns_twin *t, uint32_t e, int64_t until)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_node *node = &t->m.node[entry[e].node];
	struct share s;

	if (until != INT64_MAX)
		until -= entry[e].time - upstream_time(t, &entry[e]);
	while (!(entry[e].flags & E_DONE)) {
		s.limits = (struct twin_limits){ 0, twin_reach(t, node->direction), t->settle,
						 node->repeated, INT64_MAX };
		next_share(t, node, until, &s);
		if (s.n[0] + s.n[1] == 0) /* cannot be: @e itself is older than @until */
			return;
		set_cut(node, s.to == INT64_MAX ? 0 : s.to);
		decide(t, node, &s);
	}
}
