/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trains of datagrams: what anchors.c (where each begins) and superframe.c (what becomes of it)
 * share.
 *
 * In: the UDP packets of one flow and direction in a batch of pieces.h. Out: an array of trains, in
 * order of their anchors downstream. Theory: superframe.c.
 */
#ifndef VNS_ENGINE_TWIN_TRAINS_H
#define VNS_ENGINE_TWIN_TRAINS_H

#include "engine/twin/pieces.h"

#define MAX_PLACES 128 /* datagrams of a frame whose places are remembered: Linux's limit */
#define NEARBY     256 /* frames looked at on each side of one whose number may be another's */

struct train {
	struct piece *u, *d;         /* the anchor */
	struct piece *u_end, *d_end; /* behind the last of the train */
	uint32_t size, places, rest; /* g, N, r */
	bool numbered;               /* identifications count up: @at is valid */
	bool upset;                  /* anchors cross: what is between them is not in order */
	bool later;                  /* undecided yet */
	uint32_t at[MAX_PLACES];     /* by place: 1 + index among downstream's, 0: nobody */
};

struct trains {
	struct piece_batch *b;
	struct piece *up, *down;
	size_t n_up, n_down;
	struct piece_ref *ref; /* scratch */
	struct train *t;
	size_t n, cap;
};

/* Datagrams of @size bytes that @len bytes make. */
static inline uint32_t train_places(uint32_t len, uint32_t size)
{
	return size ? len / size + (len % size != 0) : 1; /* any 32-bit length may be in a file */
}

/* How far the clocks may be wrong at @time (upstream's), for what depends on their order. */
static inline int64_t train_error(const struct trains *s, int64_t time)
{
	bool at_a = s->b->dir == VNS_HOST_TO_GUEST;
	const struct vns_twin *t = s->b->t;

	return twin_moment_at(t, at_a ? time : time - t->ahead).error;
}

/*
 * Is downstream @d the first of its like since upstream @u was sent? A copy seen before it may lie in another train, or
 * was decided in an earlier look.
 */
static inline bool train_first_of_likes(const struct trains *s, const struct piece *u, const struct piece *d)
{
	return piece_is_first_of_likes(s->b, d, u->time - train_error(s, u->time));
}

/* anchors.c: makes @s->t, the caller's to free; what is decided alongside has its fate. */
void train_anchors(struct trains *s);

/* lackers.c */
/* Does a frame close to @a, which was decided in an earlier look, lack @d, which is @a's last? */
bool train_lacked_before(const struct trains *s, const struct train *a, const struct piece *d);
/* @a, which is cut, is decided without all its datagrams. @rest_seen: see struct twin_lacker. */
void train_note_lacker(const struct trains *s, const struct train *a, bool rest_seen);

#endif
