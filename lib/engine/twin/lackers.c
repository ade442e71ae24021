// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Frames that were decided without all their datagrams: what a later look must know of them.
 *
 * In: a cut frame's train whose places are not all taken. Out: whether a datagram that a later look finds may be
 * what it lacks. Theory: superframe.c. The last of them are kept, in a ring of each direction.
 */
#include "engine/twin/trains.h"

/*
 * Does a frame close to @a, which was decided in an earlier look, lack @d, which is @a's last? Nothing tells any
 * more whose it is.
 */
bool train_lacked_before(const struct trains *s, const struct train *a, const struct piece *d)
{
	const struct twin_pieces *p = s->b->t->pieces;
	size_t known = s->b->lackers < TWIN_LACKERS ? s->b->lackers : TWIN_LACKERS;

	for (size_t i = 1; i <= known; i++) {
		const struct twin_lacker *l = &p->lacker[s->b->dir][(s->b->lackers - i) % TWIN_LACKERS];
		uint32_t k = (uint16_t)(d->id - l->id);

		if (l->flow != a->u->flow || a->u->time - l->time > s->b->limits.reach)
			continue;
		if (!a->numbered || !l->numbered ? !l->rest_seen && l->rest == a->rest :
		    k < l->places && l->vacant[k / 64] >> k % 64 & 1 &&
		    d->len == (k == l->places - 1 ? l->rest : l->size))
			return true;
	}
	return false;
}

/* @a, which is cut, is decided without all its datagrams. @rest_seen: see struct twin_lacker. */
void train_note_lacker(const struct trains *s, const struct train *a, bool rest_seen)
{
	struct twin_pieces *p = s->b->t->pieces;
	struct twin_lacker *l = &p->lacker[s->b->dir][p->n_lackers[s->b->dir]++ % TWIN_LACKERS];

	*l = (struct twin_lacker){ .time = a->u->time, .flow = a->u->flow, .id = a->u->id, .size = a->size,
				   .places = a->places, .rest = a->rest, .numbered = a->numbered,
				   .rest_seen = rest_seen };
	for (uint32_t k = 0; k < a->places && a->numbered; k++)
		l->vacant[k / 64] |= (uint64_t)!a->at[k] << k % 64;
}
