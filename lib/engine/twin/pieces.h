/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What pieces.c (collecting, fragments, concluding) and superframe.c (trains of datagrams) share.
 */
#ifndef VNS_ENGINE_TWIN_PIECES_H
#define VNS_ENGINE_TWIN_PIECES_H

#include "engine/twin/twin_int.h"

enum piece_fate {
	FATE_OPEN,      /* nothing found: unit.c has the last word */
	FATE_MATCHED,
	FATE_AMBIGUOUS,
	FATE_ALONE,     /* known to have no twin: a second copy, or a whole without its first piece */
};

/*
 * One packet that found no twin of its own size.
 * @time:  in upstream's time; @order: as it was met, among equal times
 * @hosts: addresses and protocol; @flow: ports too
 * @base:  digest without the length's part: what its first payload bytes are
 * @len:   payload; of a fragment the bytes of IP payload in it, from @off
 * @first, @last: up: downstream pieces that hold the first and last byte; NULL: not known
 * @train: superframe.c: 1 + index of the train it is the anchor of; 0: none
 * @held:  to be looked at again when more is known
 * @known: not: its fragments were found
 */
struct piece {
	int64_t time;
	uint64_t hosts, flow, base;
	struct piece *first, *last;
	uint32_t entry, order;
	uint32_t id, len, off, train;
	uint8_t kind; /* enum piece_kind */
	uint8_t fate; /* enum piece_fate */
	bool down, held, known;
};

struct piece_ref {
	uint64_t key;
	struct piece *p;
};

/*
 * What is looked at together: one direction, up to @until (upstream's time). @defer: a train that begins
 * after this may go on beyond @until. @ended: nothing more will come. @unsettled: how many of upstream's
 * that are not settled yet are looked at too. @early: for want of memory, before the other point's
 * packets are all here: only what is found counts, the rest will be looked at again. @summed: something was decided
 * by sums that agree.
 * @lackers: frames that were known to lack a datagram before this look
 * @likes: likes.c, which makes it when it is wanted
 */
struct piece_batch {
	struct vns_twin *t;
	unsigned int dir;
	int64_t until, defer;
	bool ended, early, summed;
	uint32_t unsettled;
	size_t lackers;
	struct twin_limits limits;
	struct piece_ref *ref; /* scratch, twice as many as pieces */
	struct piece_likes *likes;
};

void piece_sort_refs(struct piece_ref *r, size_t n);
/* May @u have become @d, by their times and identifications? */
bool piece_plausible(const struct piece_batch *b, const struct piece *u, const struct piece *d);
/* @e's, in upstream's time. */
static inline int64_t piece_time(const struct piece_batch *b, const struct twin_entry *e)
{
	return twin_upstream_time(b->t, b->dir, e);
}

/* likes.c */
/* Is no packet like downstream @d known to have been seen before it, from @from (upstream's time) on? */
bool piece_is_first_of_likes(struct piece_batch *b, const struct piece *d, int64_t from);
void piece_likes_free(struct piece_batch *b);
/* pieces.c */
/* @whole was seen at one point, and pieces of it at the other; @all: all of them. */
void piece_count(struct piece_batch *b, const struct piece *whole, size_t pieces, bool all);
/* Doubled or out of order: for a while numbers prove nothing. */
void piece_upset(struct piece_batch *b, int64_t time);

/*
 * superframe.c: UDP packets of one flow, @n_up of upstream, then @n_down of downstream, each in
 * order of time.
 */
void piece_trains(struct piece_batch *b, struct piece *p, size_t n_up, size_t n_down);

#endif
