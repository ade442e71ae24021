/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The short way of what nearly all TCP segments are: in order, and cut alike at both points.
 *
 * In: an entry that is to be remembered, or whose time to settle has come. Out: done, exactly as
 * range.c and retire() would have, or false and nothing changed: then these do it.
 *
 * Theory. No entry of a side ends behind its max_end, so a segment that starts at or behind its own
 * side's max_end is new data, appended without a search. If it starts at or behind the other side's
 * max_end too, no packet of that side holds any of its bytes: it is first to come, and that side's
 * entries need not be touched at all. If not, the other side is ahead, and as it came in order the twin
 * is the entry behind the one that was matched last (the finger): with the same first byte and length,
 * and not overlapped by its own side, it alone covers the new segment, and that alone covers it. Three comparisons thus take the place of two searches and three walks. Whatever does
 * not fit (retransmission, loss at one point, other segmentation) is general. As in range.c all this
 * holds while the sequence numbers of a list in use span far less than 2^31.
 *
 * A flow direction pays for what it is: its own segments that are out of line take the general way,
 * those behind them the short one again.
 */
#ifndef VNS_ENGINE_TWIN_INORDER_H
#define VNS_ENGINE_TWIN_INORDER_H

#include "engine/twin/twin_int.h"

/* On the path of every packet: worth a copy at each call. */
#define TWIN_INLINE static inline __attribute__((always_inline))

/*
 * One entry is the other's twin, whole, and neither has another: same bytes and TSval, in time. Where the
 * snap length left no TSval only those that overlap others are in doubt, and these are not taken here.
 * Downstream's is behind all that is left of its side; what was there and is counted may have been upstream's
 * twin.
 */
TWIN_INLINE bool twin_inorder_fits(const struct vns_twin *t, const struct twin_node *node,
				   const struct twin_entry *u, const struct twin_entry *d)
{
	int64_t lag = d->time - u->time - twin_ahead(node->direction, t->ahead);
	unsigned int differ = (u->seq ^ d->seq) | (u->len ^ d->len) | (u->tsval ^ d->tsval) |
			      ((u->flags ^ d->flags) & E_TS) | u->n_first | u->n_last;

	return !(differ | ((u->flags | d->flags) & (E_CONTESTED | E_OVERLAP))) && lag <= t->window &&
	       lag >= -t->window;
}

/* twin_range_insert(). Return: false when @e does not come in order. */
TWIN_INLINE bool twin_inorder_insert(struct vns_twin *t, struct twin_node *node, uint32_t e)
{
	struct twin_entry *entry = t->m.entry, *x = &entry[e];
	bool down = x->flags & E_DOWN;
	struct twin_side *own = &node->side[down], *far = &node->side[!down];
	uint32_t end = x->seq + x->len, tail = own->tail;

	if ((tail && (int32_t)(x->seq - own->max_end) < 0) || t->credit < 0)
		return false;
	if (far->head && (int32_t)(x->seq - far->max_end) < 0) {
		uint32_t at = far->finger ? far->finger : far->tail;
		struct twin_entry *u, *d;

		if (entry[at].seq != x->seq)
			at = entry[at].next;
		u = down ? &entry[at] : x;
		d = down ? x : &entry[at];
		if (!at || !twin_inorder_fits(t, node, u, d))
			return false;
		far->finger = at;
		d->flags |= E_SEEN;
		u->first = u->last = d->time;
		u->n_first = u->n_last = 1;
	}
	t->credit += TWIN_WALK_PER_PACKET;
	if (t->credit > TWIN_WALK_BANK)
		t->credit = TWIN_WALK_BANK;
	if (tail) {
		entry[tail].next = e;
		own->max_len = x->len > own->max_len ? x->len : own->max_len;
	} else {
		own->head = e;
		own->max_len = x->len;
	}
	own->max_end = end;
	own->tail = e;
	x->prev = tail;
	x->next = 0;
	return true;
}

/*
 * settled() and class_of(): is @e of a RANGE node matched beyond doubt? Downstream: SEEN alone.
 * @before: what came downstream later than that may still have rivals.
 */
TWIN_INLINE bool twin_inorder_settled(const struct twin_entry *e, int64_t before)
{
	const unsigned int plain = E_CONTESTED | E_AMBIGUOUS | E_DONE;

	if (e->flags & E_DOWN)
		return (e->flags & (plain | E_SEEN | E_LEFTOVER | E_ASSIGNED)) == E_SEEN;
	return !(e->flags & plain) && e->n_first == 1 && e->n_last == 1 && e->first < before &&
	       e->last < before;
}

/* Take @x, entry @e of @node, out of its side's list. */
TWIN_INLINE void twin_range_unlink(struct vns_twin *t, struct twin_node *node,
				   struct twin_entry *x, uint32_t e)
{
	struct twin_entry *entry = t->m.entry;
	struct twin_side *s = &node->side[!!(x->flags & E_DOWN)];

	if (s->finger == e)
		s->finger = x->prev ? x->prev : x->next;
	*(x->prev ? &entry[x->prev].next : &s->head) = x->next;
	*(x->next ? &entry[x->next].prev : &s->tail) = x->prev;
	s->n -= !!(x->flags & E_OVERLAP);
}

#endif
