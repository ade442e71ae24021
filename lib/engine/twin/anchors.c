// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Anchors: which frame and which datagram begin alike, and with nothing else.
 *
 * In: UDP packets of one flow and direction that found no twin of their own size. Out: one train
 * for each frame (of either point) whose first datagram was found, in order of what downstream has
 * of each; and the fate of what is known by its beginning alone: the anchors, copies of them, and
 * those that nothing tells apart.
 *
 * Theory. A frame is known by its first datagram: the digest but for the length (the "base") is the
 * same, and the times are possible. Where just two have a base, they are a pair. Where more have,
 * the identification (IPv4) tells, if a single packet of each side has it and no frame nearby may have
 * given that number to one of its own datagrams: superframe.c says how numbers run. What is left
 * of a base that both sides have is ambiguous.
 */
#include <stdlib.h>

#include "engine/twin/trains.h"

static void add_anchor(struct trains *s, struct piece *u, struct piece *d)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct train *more = realloc(s->t, cap * sizeof(*more));

		if (!more)
			return; /* less is found */
		s->t = more;
		s->cap = cap;
	}
	s->t[s->n++] = (struct train){ .u = u, .d = d };
	u->fate = d->fate = FATE_MATCHED;
	u->first = d;
}

/* @common: others begin like these two */
static bool may_anchor(const struct trains *s, const struct piece *u, const struct piece *d,
		       bool common)
{
	int64_t lag = d->time - u->time;

	/* Alike in length too: not ours. */
	if (u->len == d->len || !u->len || !d->len || (u->id && d->id && u->id != d->id))
		return false;
	return lag >= -train_error(s, u->time) &&
	       lag <= (common ? s->b->limits.reach : s->b->t->window);
}

/* Is @u's number one that a neighbouring frame may have given to one of its datagrams? */
static bool number_shared(const struct trains *s, const struct piece *u, uint32_t size)
{
	int64_t reach = s->b->limits.reach;

	for (int step = -1; step <= 1; step += 2) {
		const struct piece *x = u + step;

		for (int n = 0; x >= s->up && x < s->up + s->n_up; n++, x += step) {
			if (x->time - u->time > reach || u->time - x->time > reach)
				break;
			if (n == NEARBY || (uint16_t)(u->id - x->id) < train_places(x->len, size))
				return true;
		}
	}
	return false;
}

/* Of @n refs of one base, those that only one packet of each side has the number of. */
static void anchor_by_number(struct trains *s, struct piece_ref *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r[i].key = r[i].p->id;
	piece_sort_refs(r, n);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && r[k].key == r[i].key; k++)
			;
		if (!r[i].key || k - i != 2 || r[i].p->down == r[i + 1].p->down)
			continue;
		/* In memory upstream's lie before downstream's. */
		if (may_anchor(s, r[i].p, r[i + 1].p, true) && train_first_of_likes(s, r[i].p, r[i + 1].p) &&
		    !number_shared(s, r[i].p, r[i + 1].p->len))
			add_anchor(s, r[i].p, r[i + 1].p);
	}
}

/* Packets of one base that nothing tells apart, frames among them. */
static void doubt(struct piece_ref *r, size_t n)
{
	bool up = false, down = false;

	for (size_t i = 0; i < n; i++) {
		up |= r[i].p->fate == FATE_OPEN && !r[i].p->down;
		down |= r[i].p->fate == FATE_OPEN && r[i].p->down;
	}
	for (size_t i = 0; up && down && i < n; i++)
		if (r[i].p->fate == FATE_OPEN)
			r[i].p->fate = FATE_AMBIGUOUS;
}

/*
 * Leave those that have a twin of their own length and number to unit.c; without numbers, where all
 * have one length. Return: how many are left.
 */
static size_t without_likes(struct piece_ref *r, size_t n)
{
	size_t left = 0;

	if (n == 2 && (r[0].p->len != r[1].p->len || r[0].p->id != r[1].p->id))
		return n; /* nearly always */
	for (size_t i = 0; i < n; i++)
		r[i].key = (uint64_t)r[i].p->len << 32 | r[i].p->id;
	piece_sort_refs(r, n);
	for (size_t i = 0, k; i < n; i = k) {
		bool alike;

		for (k = i + 1; k < n && r[k].key == r[i].key; k++)
			;
		alike = !r[i].p->down && r[k - 1].p->down && (r[i].p->id || k - i == n);
		for (size_t j = i; j < k; j++) {
			if (alike)
				r[j].p->fate = FATE_ALONE;
			else
				r[left++] = r[j];
		}
	}
	for (size_t i = 0; i < left; i++)
		r[i].key = 0;
	piece_sort_refs(r, left);
	return left;
}

/* Copies of one datagram, @r[1] the first of them, of which only @r[0] can be the frame? */
static bool only_doubled(const struct piece_ref *r, size_t n)
{
	const struct piece *d = r[1].p;

	if (r[0].p->down || !d->down || !d->id || r[0].p->len == (n - 1) * d->len)
		return false;
	for (size_t i = 2; i < n; i++)
		if (r[i].p->id != d->id || r[i].p->len != d->len)
			return false;
	return true;
}

/* @n refs of one base, in order of memory: upstream's before downstream's, each by time. */
static void anchors_of_base(struct trains *s, struct piece_ref *r, size_t n)
{
	if (n < 2 || r[0].p->down || !r[n - 1].p->down)
		return;
	n = without_likes(r, n);
	if (n < 2 || r[0].p->down || !r[n - 1].p->down)
		return;
	if (n == 2 || only_doubled(r, n)) {
		if (!may_anchor(s, r[0].p, r[1].p, false))
			return;
		if (!train_first_of_likes(s, r[0].p, r[1].p)) {
			doubt(r, n);
			return;
		}
		add_anchor(s, r[0].p, r[1].p);
		for (size_t i = 2; i < n; i++) {
			r[i].p->fate = FATE_ALONE;
			piece_upset(s->b, r[i].p->time);
		}
		return;
	}
	if (!s->b->t->sampled) /* then a frame nearby that gave the same number may not be here */
		anchor_by_number(s, r, n);
	doubt(r, n);
}

static int by_down(const void *pa, const void *pb)
{
	const struct train *a = pa, *b = pb;

	return (a->d > b->d) - (a->d < b->d);
}

void train_anchors(struct trains *s)
{
	size_t n = s->n_up + s->n_down;

	for (size_t i = 0; i < n; i++)
		s->ref[i] = (struct piece_ref){ s->up[i].base, &s->up[i] };
	piece_sort_refs(s->ref, n);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && s->ref[k].key == s->ref[i].key; k++)
			;
		anchors_of_base(s, s->ref + i, k - i);
	}
	if (s->n)
		qsort(s->t, s->n, sizeof(*s->t), by_down);
}
