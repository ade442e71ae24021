// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Twins of TCP segments that take sequence space (data, SYN, FIN), by byte ranges.
 *
 * Segmentation and receive offload cut and join segments between the points: one 64 KB frame on
 * one side may be 45 segments on the other, or one set of superframes another set that is cut at
 * other bytes. What stays is the byte stream. So the twin of an upstream packet's first byte is
 * the downstream packet that covers the byte; likewise for its last byte.
 *
 * Copies of a byte (retransmissions) are told apart by TSval first: offloads join only segments
 * with equal timestamps. Segments of one side that overlap with equal TSval are "contested", and so
 * is everything on the other side that they may be the twin of. What is not contested is
 * matched as soon as the other side's packet is there; contested packets wait until all copies have
 * had their time to show, then copies.c decides. Where the snap length of one point left no TSval, it
 * tells nothing at the other either.
 *
 * Each side is a list sorted by sequence number (modulo 2^32; the window is far below 2^31 bytes
 * for a list in use). Segments come nearly in order, so a walk from the tail, or from where the
 * last search ended, is a step or two. Hostile input could make every walk as long as the list:
 * each packet brings TWIN_WALK_PER_PACKET steps of credit, and without credit a packet is ambiguous.
 */
#include <errno.h>

#include "engine/twin/twin_int.h"

/* Sequence numbers compare modulo 2^32 (RFC 9293 3.4). */
static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static bool covers(const struct twin_entry *e, uint32_t byte)
{
	return byte - e->seq < e->len;
}

static bool overlap(const struct twin_entry *a, const struct twin_entry *b)
{
	return b->seq - a->seq < a->len || a->seq - b->seq < b->len;
}

static bool same_tsval(const struct twin_entry *a, const struct twin_entry *b)
{
	if ((a->flags | b->flags) & E_TS_CUT)
		return true;
	return (a->flags & E_TS) == (b->flags & E_TS) && a->tsval == b->tsval;
}

/* Was one of the points cut so short that TSvals cannot tell copies of @node apart? */
static bool tsval_unknown(const struct vns_twin *t, const struct twin_node *node)
{
	return (t->m.entry[node->side[TWIN_UP].tail].flags |
		t->m.entry[node->side[TWIN_DOWN].tail].flags) & E_TS_CUT;
}

static bool in_window(const struct vns_twin *t, const struct twin_entry *a,
		      const struct twin_entry *b)
{
	return a->time - b->time <= t->window && b->time - a->time <= t->window;
}

/* The same across sides: is @far within the window of @e, whose side's times differ by @ahead? */
static bool in_reach(const struct vns_twin *t, const struct twin_entry *e,
		     const struct twin_entry *far, int64_t ahead)
{
	int64_t d = far->time - e->time - ahead;

	return d <= t->window && d >= -t->window;
}

/* What the other side's times are ahead of @e's. */
static int64_t ahead_of(const struct vns_twin *t, const struct twin_entry *e)
{
	int64_t ahead = twin_ahead(t->m.node[e->node].direction, t->ahead);

	return e->flags & E_DOWN ? -ahead : ahead;
}

static unsigned int side_of(const struct twin_entry *e)
{
	return e->flags & E_DOWN ? TWIN_DOWN : TWIN_UP;
}

/* The last entry of @s that starts at or before @seq; 0: none. Leaves the finger there. */
static uint32_t find(struct vns_twin *t, struct twin_side *s, uint32_t seq)
{
	struct twin_entry *entry = t->m.entry;
	uint32_t at = s->finger ? s->finger : s->tail;

	while (at && before(seq, entry[at].seq)) {
		at = entry[at].prev;
		t->credit--;
	}
	if (!at) {
		s->finger = s->head;
		return 0;
	}
	while (entry[at].next && !before(seq, entry[entry[at].next].seq)) {
		at = entry[at].next;
		t->credit--;
	}
	s->finger = at;
	return at;
}

/*
 * The first entry of @s that can overlap what starts at @seq. Without overlaps on the side that
 * is the entry found; with them any of the last max_len bytes may reach over.
 */
static uint32_t first_candidate(struct vns_twin *t, struct twin_side *s, uint32_t seq)
{
	struct twin_entry *entry = t->m.entry;
	uint32_t at = find(t, s, seq);

	if (!at)
		return s->head;
	if (s->n == 0)
		return at;
	while (entry[at].prev && seq - entry[entry[at].prev].seq < s->max_len) {
		at = entry[at].prev;
		t->credit--;
	}
	return at;
}

static void contest(struct vns_twin *t, uint32_t a, uint32_t b)
{
	t->m.entry[a].flags |= E_CONTESTED;
	t->m.entry[b].flags |= E_CONTESTED;
}

/* Insert @e after @after (0: as the head). */
static void link_in(struct vns_twin *t, struct twin_side *s, uint32_t e, uint32_t after)
{
	struct twin_entry *entry = t->m.entry;
	uint32_t next = after ? entry[after].next : s->head;

	entry[e].prev = after;
	entry[e].next = next;
	if (after)
		entry[after].next = e;
	else
		s->head = e;
	if (next)
		entry[next].prev = e;
	else
		s->tail = e;
}

static void mark_overlap(struct twin_side *s, struct twin_entry *x)
{
	s->n += !(x->flags & E_OVERLAP);
	x->flags |= E_OVERLAP;
}

/* Put @e into its own side, and see whether it overlaps what is there. */
static void insert_own(struct vns_twin *t, struct twin_node *node, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_side *s = &node->side[side_of(x)];
	uint32_t end = x->seq + x->len, after;
	bool blind = (x->flags & E_TS_CUT) || tsval_unknown(t, node);

	if (!s->tail) {
		s->max_end = end;
		s->max_len = x->len;
		link_in(t, s, e, 0);
		return;
	}
	if (x->len > s->max_len)
		s->max_len = x->len;
	if (!before(x->seq, s->max_end)) { /* new data: the usual case */
		s->max_end = end;
		link_in(t, s, e, s->tail);
		return;
	}
	if (before(s->max_end, end))
		s->max_end = end;
	after = find(t, s, x->seq);
	for (uint32_t i = first_candidate(t, s, x->seq);
	     i && before(entry[i].seq, end); i = entry[i].next) {
		t->credit--;
		if (!overlap(&entry[i], x))
			continue;
		mark_overlap(s, x);
		mark_overlap(s, &entry[i]);
		if ((blind || same_tsval(&entry[i], x)) && in_window(t, &entry[i], x))
			contest(t, i, e);
	}
	if (blind) /* sent again, perhaps, and the other is gone */
		mark_overlap(s, x);
	link_in(t, s, e, after);
}

static void count_found(uint8_t *n, int64_t *when, int64_t time)
{
	if (*n == 0)
		*when = time;
	if (*n < 2)
		(*n)++;
}

static void link_pair(struct vns_twin *t, uint32_t a, uint32_t b)
{
	struct twin_entry *x = &t->m.entry[a], *y = &t->m.entry[b];
	struct twin_entry *u = x->flags & E_DOWN ? y : x, *d = x->flags & E_DOWN ? x : y;

	d->flags |= E_SEEN;
	if (covers(d, u->seq))
		count_found(&u->n_first, &u->first, d->time);
	if (covers(d, u->seq + u->len - 1))
		count_found(&u->n_last, &u->last, d->time);
	/* More than one with a byte, though none overlaps: the first was counted, and is gone. */
	if ((u->flags | d->flags) & E_CONTESTED || u->n_first > 1 || u->n_last > 1 ||
	    ((u->flags | d->flags) & E_TS_CUT && (u->flags | d->flags) & E_OVERLAP))
		contest(t, a, b);
}

/* Tie @e to all packets of the other side that hold some of its bytes. */
static void link_across(struct vns_twin *t, struct twin_node *node, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_side *s = &node->side[!side_of(x)];
	uint32_t end = x->seq + x->len;
	int64_t ahead = ahead_of(t, x);

	for (uint32_t i = first_candidate(t, s, x->seq);
	     i && before(entry[i].seq, end); i = entry[i].next) {
		t->credit--;
		if (overlap(&entry[i], x) && same_tsval(&entry[i], x) &&
		    in_reach(t, x, &entry[i], ahead))
			link_pair(t, i, e);
	}
}

int twin_range_insert(struct vns_twin *t, uint32_t e)
{
	struct twin_node *node = &t->m.node[t->m.entry[e].node];

	t->credit += TWIN_WALK_PER_PACKET;
	if (t->credit > TWIN_WALK_BANK)
		t->credit = TWIN_WALK_BANK;
	if (t->credit < 0)
		return -E2BIG;
	insert_own(t, node, e);
	if (node->side[!side_of(&t->m.entry[e])].head)
		link_across(t, node, e);
	return 0;
}

/*
 * All copies of @byte on one side that may be told from upstream @x only by more than TSval, in
 * upstream's time, as the clocks were when each was seen.
 */
static int gather(struct vns_twin *t, struct twin_node *node, unsigned int side,
		  const struct twin_entry *x, uint32_t byte, struct twin_copies *out,
		  struct twin_limits *limits)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_side *s = &node->side[side];
	bool blind = tsval_unknown(t, node);

	out->n = 0;
	for (uint32_t i = first_candidate(t, s, byte);
	     i && !before(byte, entry[i].seq); i = entry[i].next) {
		struct twin_moment m;
		int64_t ahead;

		if (t->credit-- < 0)
			return -E2BIG;
		if (!covers(&entry[i], byte) || !(blind || same_tsval(&entry[i], x)))
			continue;
		m = twin_moment_of(t, &entry[i]);
		ahead = side == TWIN_DOWN ? twin_ahead(node->direction, m.ahead) : 0;
		if (!in_reach(t, x, &entry[i], ahead))
			continue;
		if (twin_copies_add(out, &entry[i], i, entry[i].time - ahead))
			return -ENOMEM;
		limits->slack = m.error > limits->slack ? m.error : limits->slack;
	}
	return 0;
}

/*
 * Was the downstream packet with @byte, seen at @when, nobody else's, so that it has been counted and
 * is gone? What made @e contested since came too late for it, or is about other bytes of @e.
 */
static bool is_settled(struct vns_twin *t, struct twin_node *node, uint32_t byte, int64_t when)
{
	struct twin_entry *entry = t->m.entry;

	for (uint32_t i = first_candidate(t, &node->side[TWIN_DOWN], byte);
	     i && !before(byte, entry[i].seq); i = entry[i].next)
		if (t->credit-- < 0 || (covers(&entry[i], byte) && entry[i].time == when))
			return false;
	return true;
}

/* Which downstream packet holds upstream @e's copy of @byte? Return: entry or COPY_*. */
static int64_t twin_of_byte(struct vns_twin *t, uint32_t e, uint32_t byte)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_node *node = &t->m.node[entry[e].node];
	struct twin_limits limits = { 0, twin_reach(t, node->direction), t->settle, false, INT64_MIN };
	int32_t pair = COPY_NONE;

	if (gather(t, node, TWIN_UP, &entry[e], byte, &t->up, &limits) ||
	    gather(t, node, TWIN_DOWN, &entry[e], byte, &t->down, &limits))
		return COPY_AMBIGUOUS;
	limits.earliest = twin_soonest(t, node->direction, limits.slack, entry[e].time);
	twin_match_copies(&t->up, &t->down, &limits);
	for (size_t i = 0; i < t->up.n; i++)
		if (t->up.c[i].entry == e)
			pair = t->up.c[i].pair;
	for (size_t i = 0; i < t->down.n; i++)
		if (t->down.c[i].pair == COPY_NONE)
			entry[t->down.c[i].entry].flags |= E_LEFTOVER;
	return pair < 0 ? pair : (int64_t)t->down.c[pair].entry;
}

bool twin_range_early(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_node *node = &t->m.node[x->node];
	bool in = node->direction == VNS_HOST_TO_GUEST;
	int64_t seen = x->first < x->last ? x->first : x->last, lag = seen - x->time;
	uint32_t end = x->seq + x->len;

	if (!twin_offset_early(t, node->direction, in ? x->time : seen, in ? lag : -lag))
		return false;
	for (uint32_t i = first_candidate(t, &node->side[TWIN_DOWN], x->seq);
	     i && before(entry[i].seq, end); i = entry[i].next)
		if (overlap(&entry[i], x) && same_tsval(&entry[i], x))
			contest(t, i, e);
	x->flags |= E_CONTESTED;
	return true;
}

void twin_range_doubt(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_node *node = &t->m.node[x->node];
	uint32_t end = x->seq + x->len;
	int64_t ahead = ahead_of(t, x);

	for (uint32_t i = first_candidate(t, &node->side[!side_of(x)], x->seq);
	     i && before(entry[i].seq, end); i = entry[i].next)
		if (overlap(&entry[i], x) && same_tsval(&entry[i], x) &&
		    in_reach(t, x, &entry[i], ahead))
			entry[i].flags |= E_AMBIGUOUS;
}

/*
 * Find out when upstream @e's @byte was seen downstream. @n, @when: packets with it that @e was tied to so far,
 * time of the first; then the outcome. Return: COPY_AMBIGUOUS, COPY_NONE, or 0.
 */
static int resolve_byte(struct vns_twin *t, uint32_t e, uint32_t byte, uint8_t *n, int64_t *when)
{
	struct twin_entry *entry = t->m.entry;
	unsigned int dir = t->m.node[entry[e].node].direction;
	bool settled = *n && is_settled(t, &t->m.node[entry[e].node], byte, *when);
	struct twin_moment m = twin_moment_of(t, &entry[e]);
	int64_t twin = twin_of_byte(t, e, byte);

	*n = settled || twin >= 0;
	if (settled && *when - entry[e].time - twin_ahead(dir, m.ahead) >=
			       twin_soonest(t, dir, m.error, entry[e].time))
		return 0;
	if (settled) {
		*n = 0;
		return COPY_AMBIGUOUS;
	}
	if (twin < 0)
		return (int)twin;
	*when = entry[twin].time;
	entry[twin].flags |= E_ASSIGNED;
	return 0;
}

static void resolve_one(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *x = &t->m.entry[e];
	int first = resolve_byte(t, e, x->seq, &x->n_first, &x->first);

	x->flags |= E_DONE;
	if (first == COPY_AMBIGUOUS) {
		x->flags |= E_AMBIGUOUS;
		twin_range_doubt(t, e);
	}
	if (first < 0) {
		x->n_last = 0;
		return;
	}
	x->flags |= E_MATCHED | E_CHOSEN;
	resolve_byte(t, e, x->seq + x->len - 1, &x->n_last, &x->last);
}

/*
 * Decide contested upstream @e, and with it all copies it overlaps: once @e is gone, their count
 * would be wrong, also where @e itself was decided with another one before. Copies that are too young to
 * have reached the other point wait for their own turn.
 */
void twin_range_resolve(struct vns_twin *t, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	struct twin_node *node = &t->m.node[x->node];
	uint32_t end = x->seq + x->len;
	bool blind = tsval_unknown(t, node);

	if (!(x->flags & E_DONE))
		resolve_one(t, e);
	for (uint32_t i = first_candidate(t, &node->side[TWIN_UP], x->seq);
	     i && before(entry[i].seq, end); i = entry[i].next)
		if (i != e && (entry[i].flags & (E_CONTESTED | E_DONE)) == E_CONTESTED &&
		    overlap(&entry[i], x) && (blind || same_tsval(&entry[i], x)) &&
		    (t->finishing || entry[i].time <= x->time + t->window - t->settle))
			resolve_one(t, i);
}
