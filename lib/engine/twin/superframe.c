// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * UDP frames of many datagrams: one point saw the frame, the other its datagrams.
 *
 * In: packets of one UDP flow and direction that found no twin of their own size. Out: the fate
 * of each.
 *
 * Theory. A sender hands N datagrams to its stack as one frame (UDP_SEGMENT), which is cut late; a
 * receiver joins those that come one after another (UDP_GRO). All datagrams of a frame have the size g,
 * only the last may be shorter: r. So a frame of L bytes has N = ceil(L / g), r = L - (N - 1) g. What
 * is seen of the frame when payload is cut off is its length and its beginning, and that is:
 *   - the first datagram's payload: the digest but for the length is the same (the "base"), and
 *   - over IPv4 its identification. Cutting counts up from there, one for each datagram (Linux
 *     inet_gso_segment()), while the next frame of the socket may begin one higher: the numbers of
 *     frames close to each other overlap.
 * Nothing of the frame tells what the other datagrams are. So:
 *   Anchor (anchors.c): frame and datagram with the same base, and identification if both have one,
 *     which nothing else at either point has, and at times that are possible. This is what any other datagram
 *     is paired by; it gives the first byte.
 *   Train: what lies between two anchors of a flow, in order of time, belongs to the first of them.
 *   Cut frame (upstream whole), numbers count up: each datagram has its place, also with
 *     loss, doubling and disorder. The last one's gives the last byte, unless its number
 *     could as well be that of a lost one of a neighbouring frame.
 *   Cut frame, no numbers (IPv6): a train holds no more bytes than the frames it can come from, so its
 *     datagrams are the frame's, whichever are lost. The last byte is known where r < g, since
 *     only the last is that short, and not else: order alone proves nothing when one is lost.
 *   Joined frame (downstream whole): which datagrams got into it is known by their number only: where
 *     the train has just N that fit, all of them; where it has more, one of them was lost, and all
 *     but the anchor are ambiguous. One lost and another doubled count the same too; so wherever
 *     loss, doubling or disorder was seen within the last windows, in cut frames too, the number proves nothing.
 *     (A path whose first loss falls into one frame with its first doubling stays unseen: the captures are those
 *     of one that lost and doubled nothing.)
 *   Frames on both sides, cut at different datagrams: where a train has the same bytes on both, the
 *     bytes tell as TCP's sequence numbers do, under the same condition.
 *   Copies: the first of those alike (beginning, length and identification) gives the time; so a
 *     datagram of which one was seen before, in another train or in an earlier look, gives none.
 *   End of a look: its last train goes on in what was not seen yet, and is left to the next look
 *     with all trains that crossing anchors tie to it.
 * In a sample (packet/sample.c) a frame's other datagrams, and other frames' first ones, are there or not by their
 * own beginnings: neither numbers, bytes nor order tell then. Anchors do as ever, for all that begins as they
 * do is chosen with them.
 * A frame without its first datagram is missing, for its first byte is. Frames that begin alike and have
 * no numbers of their own (payload of zeros) are ambiguous.
 */
#include <stdlib.h>

#include "engine/twin/trains.h"

#define JUMBO    9216 /* no Ethernet carries more at once */
#define NO_PLACE UINT32_MAX

static bool lately_upset(const struct trains *s, const struct piece *p)
{
	int64_t upset = s->b->t->pieces->upset[s->b->dir];

	return upset != INT64_MIN && p->time - upset < 10 * s->b->t->window;
}

static bool lately_lost(const struct trains *s, const struct piece *p)
{
	int64_t lost = s->b->t->pieces->lost[s->b->dir];

	return lost != INT64_MIN && p->time - lost < 10 * s->b->t->window;
}

static bool is_cut(const struct train *a)
{
	return a->u->len > a->d->len;
}

/* Behind a frame, and behind its first datagram, for longer than packets take: nothing of its. */
static void end_in_time(const struct trains *s, struct train *a)
{
	int64_t last = a->u->time > a->d->time ? a->u->time : a->d->time;

	for (const struct piece *u = a->u + 1; u < a->u_end; u++)
		if (u->len >= a->size && u->fate == FATE_OPEN && u->time > last)
			last = u->time;
	while (a->d_end > a->d + 1 && a->d_end[-1].time > last + s->b->limits.reach)
		a->d_end--;
}

/* Where each train ends, and which must wait for what is not in the batch. */
static void set_ends(struct trains *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct train *a = &s->t[i], *next = i + 1 < s->n ? a + 1 : NULL;

		a->u->train = 1 + (uint32_t)i;
		a->d_end = next ? next->d : s->down + s->n_down;
		a->u_end = next ? next->u : s->up + s->n_up;
		a->size = is_cut(a) ? a->d->len : a->u->len;
		a->places = train_places(is_cut(a) ? a->u->len : a->d->len, a->size);
		a->rest = (is_cut(a) ? a->u->len : a->d->len) - (a->places - 1) * a->size;
		/*
		 * Nothing is in a frame that was sent after it arrived; but a frame may have been
		 * stamped when its first datagram arrived.
		 */
		while (!is_cut(a) && a->u_end > a->u + 1 &&
		       a->u_end[-1].time > a->d->time + s->b->limits.slack)
			a->u_end--;
		if (a->u_end <= a->u) {
			a->u_end = a->u + 1;
			a->upset = a[1].upset = true;
			piece_upset(s->b, a->d->time);
		}
		end_in_time(s, a);
	}
}

/*
 * The last train must wait for what is not in the batch, if it may go on there; so must those that anchors which
 * cross tie to it: half of what they are made of would be gone by then.
 */
static void put_off(struct trains *s)
{
	struct train *last = &s->t[s->n - 1];
	const struct piece *from = last->u;
	size_t first = s->n - 1;

	last->later = last->u->time > s->b->defer;
	for (size_t i = s->n - 1; last->later && i-- > 0;) {
		if (s->t[i].u < from)
			continue;
		for (; first > i; first--) {
			s->t[first - 1].later = true;
			from = s->t[first - 1].u < from ? s->t[first - 1].u : from;
		}
	}
}

/* The place of @d in @a's frame by its number, or NO_PLACE. */
static uint32_t place_of(const struct train *a, const struct piece *d)
{
	uint32_t k = (uint16_t)(d->id - a->u->id);

	if (k >= a->places)
		return NO_PLACE;
	return d->len == (k == a->places - 1 ? a->rest : a->size) ? k : NO_PLACE;
}

static bool numbered(const struct train *a)
{
	const struct piece *d = a->d + 1;

	if (!is_cut(a) || !a->u->id || !a->d->id || a->places > MAX_PLACES)
		return false;
	for (; d < a->d_end; d++)
		if (d->id != a->d->id)
			return true;
	return a->d_end == a->d + 1;
}

static bool vacant(const struct train *a, const struct piece *d)
{
	uint32_t k = a->numbered ? place_of(a, d) : NO_PLACE;

	return k != NO_PLACE && !a->at[k];
}

/* Is there a frame in the train that lost its anchor, and fits @d? */
static bool another_fits(const struct train *a, const struct piece *d)
{
	for (const struct piece *u = a->u + 1; u < a->u_end && u - a->u < NEARBY; u++) {
		uint32_t k = (uint16_t)(d->id - u->id);

		if (u->fate == FATE_OPEN && k > 0 && d->len * (uint64_t)(k + 1) <= u->len)
			return true;
	}
	return false;
}

/* Put those that have a number into their places. */
static void place(struct trains *s, struct train *a)
{
	for (struct piece *d = a->d; d < a->d_end; d++) {
		uint32_t k = place_of(a, d);

		if (k == NO_PLACE || (d->fate != FATE_OPEN && d != a->d))
			continue;
		if (!a->at[k]) {
			a->at[k] = 1 + (uint32_t)(d - s->down);
			d->fate = FATE_MATCHED;
			continue;
		}
		if (another_fits(a, d))
			continue;
		piece_upset(s->b, d->time);
		if (s->down[a->at[k] - 1].base == d->base && (k == 0 || d->base != a->d->base)) {
			d->fate = FATE_ALONE; /* once more */
			continue;
		}
		/* Two frames' datagrams: both were sent, but whose is whose is not known. */
		d->fate = FATE_AMBIGUOUS;
		if (k == a->places - 1)
			a->upset = true;
	}
}

/* Can @o's frame, as well as @a's, have been cut into @d, by its time? */
static bool sent_in_time(const struct trains *s, const struct train *a, const struct train *o,
			 const struct piece *d)
{
	int64_t age = d->time - o->u->time;

	return age >= -train_error(s, d->time) && (age <= s->b->limits.reach || o->u->time >= a->u->time);
}

/* ... of which none is further from @a. */
static bool too_far(const struct trains *s, const struct train *a, const struct train *o)
{
	int64_t between = o->u->time - a->u->time, most = 2 * s->b->limits.reach;

	return between > most || between < -most;
}

/*
 * May train @o's anchor be several datagrams that were joined again on the way, of a size g that leaves place for @d in
 * its frame: either that size is @d's, or @d ends the frame? Where @o has all its datagrams, it is not.
 */
static bool fits_joined(const struct train *o, const struct piece *d)
{
	uint32_t k = (uint16_t)(d->id - o->u->id), before = o->u->len - d->len, have = 0;

	if (!o->numbered || k < 2 || !d->len || d->len >= o->size)
		return false;
	for (uint32_t i = 0; i < o->places; i++)
		have += o->at[i] != 0;
	if (have == o->places)
		return false;
	if (o->size % d->len == 0 && d->len * (uint64_t)k >= o->size && d->len * (uint64_t)(k + 1) <= o->u->len)
		return true;
	return before % k == 0 && before / k >= d->len && before / k < o->size && o->size % (before / k) == 0;
}

/* Can @d be of a frame without anchor, sent before or behind @a's, that is not known to be something else? */
static bool of_anchorless(const struct trains *s, const struct train *a, const struct piece *d)
{
	for (int step = -1; step <= 1; step += 2) {
		const struct piece *u = a->u + step;

		for (int n = 0; u >= s->up && u < s->up + s->n_up; n++, u += step) {
			uint32_t k = (uint16_t)(d->id - u->id);

			if (step < 0 ? d->time - u->time > s->b->limits.reach :
				       u->time > d->time + train_error(s, d->time))
				break;
			if (n == NEARBY)
				return true;
			if (!u->train && (u->fate == FATE_OPEN || u->fate == FATE_AMBIGUOUS) && k > 0 &&
			    d->len * (uint64_t)(k + 1) <= u->len)
				return true;
		}
	}
	return false;
}

/*
 * Frames sent so close to train @i's that datagrams may have got from one to the other, whose lack of one
 * @d would fill, and whether frames without an anchor would; where there is disorder, also those that lack
 * none. Return: how many.
 */
static size_t lackers(const struct trains *s, size_t i, const struct piece *d)
{
	const struct train *a = &s->t[i];
	bool upset = lately_upset(s, a->d);
	size_t frames = 0;

	for (int step = -1; step <= 1; step += 2) {
		for (size_t n = 1; step < 0 ? n <= i : i + n < s->n; n++) {
			const struct train *o = step < 0 ? a - n : a + n;

			if (too_far(s, a, o))
				break;
			if (n > NEARBY)
				return 2;
			if (sent_in_time(s, a, o, d))
				frames += fits_joined(o, d) ||
					  (upset ? o->numbered && place_of(o, d) != NO_PLACE : vacant(o, d));
		}
	}
	return frames + of_anchorless(s, a, d);
}

/* What of the frames sent shortly before it a datagram that has no place yet fits into, by its number. */
struct fits {
	struct train *vacant;
	size_t frames;  /* frames that lack it */
	bool taken;     /* a place that has another */
};

static void fit(struct trains *s, const struct piece *u, const struct piece *d, struct fits *f)
{
	struct train *a = u->train ? &s->t[u->train - 1] : NULL;
	uint32_t k = a && a->numbered ? place_of(a, d) : NO_PLACE;

	if (k != NO_PLACE && !a->at[k]) {
		f->vacant = a;
		f->frames++;
	} else if (k != NO_PLACE) {
		f->taken = true;
		a->upset |= k == a->places - 1; /* which of them is it? */
	} else if (!a && u->fate == FATE_OPEN) {
		k = (uint16_t)(d->id - u->id);
		f->frames += k > 0 && d->len * (uint64_t)(k + 1) <= u->len;
	}
}

/* Those that were out of order, or whose frame lacks its anchor. */
static void place_strays(struct trains *s)
{
	const struct piece *from = s->up, *end = s->up + s->n_up;

	for (struct piece *d = s->down; d < s->down + s->n_down; d++) {
		struct fits f = { NULL, 0, false };

		while (from < end && d->time - from->time > s->b->limits.reach)
			from++;
		if (d->fate != FATE_OPEN || !d->id)
			continue;
		for (const struct piece *u = from; u < end && u - from < NEARBY &&
		     u->time <= d->time + train_error(s, d->time); u++)
			if (u->id && u->len > d->len)
				fit(s, u, d, &f);
		if (f.frames == 1 && f.vacant) {
			f.vacant->at[place_of(f.vacant, d)] = 1 + (uint32_t)(d - s->down);
			piece_upset(s->b, d->time);
		}
		if (f.frames)
			d->fate = FATE_MATCHED;
		else if (f.taken)
			d->fate = FATE_AMBIGUOUS;
	}
}

/* Has the train datagrams that no frame's numbers explain? */
static bool strangers_in(const struct train *a)
{
	for (const struct piece *d = a->d + 1; d < a->d_end; d++)
		if (d->fate == FATE_OPEN)
			return true;
	return false;
}

/* May what came of @a's frame have been joined again on the way, so that pieces are no datagrams? */
static bool joined_again(const struct train *a)
{
	for (const struct piece *d = a->d; d < a->d_end; d++)
		if (d->len > a->size && !d->known)
			return true;
	return a->size > TWIN_LONGEST;
}

/* Not all of train @a came, unless its end was not captured: where that happens, sums that agree prove nothing. */
static void note_lost(const struct trains *s, const struct train *a)
{
	if (!s->b->ended || a + 1 != s->t + s->n)
		twin_pieces_lost(s->b->t, s->b->dir, a->d->time);
}

/* Is the datagram in @a's last place surely @a's? */
static bool last_is_sure(const struct trains *s, size_t i)
{
	const struct train *a = &s->t[i];
	const struct piece *d = &s->down[a->at[a->places - 1] - 1];

	return !a->upset && !strangers_in(a) && !joined_again(a) && !train_lacked_before(s, a, d) &&
	       lackers(s, i, d) == 0 && train_first_of_likes(s, a->u, d);
}

static void cut_by_number(struct trains *s, size_t i)
{
	struct train *a = &s->t[i];
	size_t have = 0;

	for (uint32_t k = 0; k < a->places; k++)
		have += a->at[k] != 0;
	if (a->at[a->places - 1] && last_is_sure(s, i))
		a->u->last = &s->down[a->at[a->places - 1] - 1];
	if (have < a->places) {
		train_note_lacker(s, a, a->at[a->places - 1]);
		note_lost(s, a);
	}
	piece_count(s->b, a->u, have, have == a->places);
}

/* Does a frame close to train @i's lack a last datagram that looks like @i's? */
static bool rest_shared(const struct trains *s, size_t i, const struct piece *rest)
{
	const struct train *a = &s->t[i];

	for (int step = -1; step <= 1; step += 2) {
		for (size_t n = 1; step < 0 ? n <= i : i + n < s->n; n++) {
			const struct train *o = step < 0 ? a - n : a + n;
			size_t have = 0;

			if (too_far(s, a, o))
				break;
			if (n <= NEARBY && !sent_in_time(s, a, o, rest))
				continue;
			for (const struct piece *d = o->d; d < o->d_end; d++)
				have += d->len == a->rest;
			if (n > NEARBY || (o->rest == a->rest && have == 0))
				return true;
		}
	}
	return false;
}

/* Without numbers. */
static void cut_by_bytes(struct trains *s, size_t i)
{
	struct train *a = &s->t[i];
	uint64_t sent = 0, got = 0;
	size_t n = 0, n_rest = 0, frames = 0;
	struct piece *rest = NULL, *last = NULL;
	bool fits;

	for (struct piece *u = a->u; u < a->u_end; u++) {
		if (u->len >= a->size && (u == a->u || u->fate == FATE_OPEN)) {
			sent += u->len;
			frames++;
		}
	}
	for (struct piece *d = a->d; d < a->d_end; d++) {
		if (d->len > a->size || (d->fate != FATE_OPEN && d != a->d))
			continue;
		if (d->len < a->size && frames == 1 && d->len != a->rest)
			continue;
		got += d->len;
		n++;
		last = d;
		if (d->len == a->rest && a->rest < a->size) {
			rest = d;
			n_rest++;
		}
	}
	fits = got <= sent && !a->upset;
	if (!fits)
		piece_upset(s->b, a->d->time);
	for (struct piece *d = a->d + 1; d < a->d_end; d++)
		if (d->fate == FATE_OPEN && d->len <= a->size &&
		    (d->len == a->size || frames > 1 || d->len == a->rest))
			d->fate = fits ? FATE_MATCHED : FATE_AMBIGUOUS;
	/* Where frames are cut elsewhere than at datagrams, one of any length may be amid the others. */
	if (fits && n_rest == 1 && frames == 1 && last == rest && !joined_again(a) &&
	    !train_lacked_before(s, a, rest) && !rest_shared(s, i, rest) && train_first_of_likes(s, a->u, rest))
		a->u->last = rest;
	if (got < sent) {
		train_note_lacker(s, a, n_rest > 0);
		note_lost(s, a);
	}
	piece_count(s->b, a->u, n, got == sent);
}

/*
 * Do numbers forbid that @d begins @at bytes behind where frame @u does? Each datagram in between has one byte at
 * least.
 */
static bool misnumbered(const struct piece *u, const struct piece *d, uint64_t at)
{
	uint32_t k = (uint16_t)(d->id - u->id);

	return u->id && d->id && (k >= MAX_PLACES || k > at || !k != !at);
}

/* ... in all of train @a, whose bytes add up? */
static bool in_number(const struct train *a)
{
	uint64_t from = 0, at = 0;
	const struct piece *u = a->u;

	for (const struct piece *d = a->d; d < a->d_end; d++) {
		for (; u < a->u_end && at - from >= u->len; u++)
			from += u->len;
		if (u == a->u_end || misnumbered(u, d, at - from))
			return false;
		at += d->len;
	}
	return true;
}

/* @up bytes were sent and @down came. */
static void note_difference(const struct trains *s, const struct train *a, uint64_t up, uint64_t down)
{
	if (up > down && !a->later)
		note_lost(s, a);
	else if (up < down && !a->later && (!s->b->ended || a + 1 != s->t + s->n))
		piece_upset(s->b, a->d->time);
}

/* Frames on both sides: bytes as in TCP. Return: false when they do not add up. */
static bool regrouped(struct trains *s, struct train *a)
{
	uint64_t up = 0, down = 0, at = 0, d_to = 0;
	struct piece *d = a->d - 1;
	bool unfit = false;

	for (struct piece *u = a->u; u < a->u_end; u++) {
		up += u->len;
		unfit |= !u->len || (u->fate != FATE_OPEN && u != a->u);
	}
	for (struct piece *x = a->d; x < a->d_end; x++) {
		down += x->len;
		unfit |= !x->len || (x->fate != FATE_OPEN && x != a->d);
	}
	if (!unfit)
		note_difference(s, a, up, down);
	if (unfit || up != down || a->upset || lately_upset(s, a->d) || lately_lost(s, a->d) ||
	    !in_number(a))
		return false;
	for (struct piece *u = a->u; u < a->u_end; u++) {
		for (; d_to <= at; d_to += d->len)
			d++;
		u->first = d;
		d->fate = FATE_MATCHED;
		at += u->len;
		for (; d_to < at; d_to += d->len) {
			d++;
			d->fate = FATE_MATCHED;
		}
		u->last = d;
		u->fate = FATE_MATCHED;
	}
	s->b->summed = true;
	piece_count(s->b, is_cut(a) ? a->u : a->d, 1, true);
	return true;
}

/* By its length, may @u be in @a's joined frame? What has a twin already is not. */
static bool may_be_in(const struct train *a, const struct piece *u)
{
	if (u != a->u && u->fate != FATE_OPEN && u->fate != FATE_AMBIGUOUS)
		return false;
	return u->len == a->size || u->len == a->rest;
}

/* Does the train hold exactly what a frame of @a's is made of, in its order? */
static bool just_right(const struct train *a)
{
	size_t n = 0, n_rest = 0;

	for (const struct piece *u = a->u; u < a->u_end; u++) {
		if (!may_be_in(a, u))
			continue;
		if (n_rest) /* the shorter one ends a frame */
			return false;
		*(u->len == a->size ? &n : &n_rest) += 1;
	}
	return a->rest == a->size ? n == a->places : n == a->places - 1 && n_rest == 1;
}

/* @even: no other frame or datagram in the train, but what has a twin. */
static void joined(struct trains *s, struct train *a, bool even)
{
	bool sure = even && just_right(a) && a->d_end == a->d + 1 && !a->upset;
	size_t n = 0;

	for (const struct piece *u = a->u; u < a->u_end; u++)
		n += may_be_in(a, u);
	if (n < a->places)
		piece_upset(s->b, a->d->time);
	else if (n > a->places)
		twin_pieces_lost(s->b->t, s->b->dir, a->d->time);
	sure &= !lately_upset(s, a->d) && !lately_lost(s, a->d);
	s->b->summed |= sure;
	/* A frame itself may have been cut and put together otherwise: where its last went is not known. */
	if (a->u->len <= TWIN_LONGEST)
		a->u->last = a->d;
	for (struct piece *u = a->u + 1; u < a->u_end; u++) {
		if (u->fate != FATE_OPEN || !may_be_in(a, u))
			continue;
		u->fate = sure ? FATE_MATCHED : FATE_AMBIGUOUS;
		u->first = u->last = sure ? a->d : NULL;
	}
	/* A shorter one that ends them may be in it, and a copy of it too. */
	for (struct piece *u = a->u + 1; u < a->u_end && !sure; u++) {
		if (u->len >= a->size)
			continue;
		if (u->fate == FATE_OPEN && 2 * u->len % a->size == a->rest % a->size)
			u->fate = FATE_AMBIGUOUS;
		break;
	}
	for (struct piece *d = a->d + 1; d < a->d_end; d++)
		if (d->fate == FATE_OPEN && d->len > a->size)
			d->fate = FATE_AMBIGUOUS;
	piece_count(s->b, a->d, n < a->places ? n : a->places, true);
}

/* No piece longer than the first, but what has a twin? */
static bool cut_evenly(const struct train *a)
{
	for (const struct piece *d = a->d + 1; d < a->d_end; d++)
		if (d->len > a->size && d->fate == FATE_OPEN)
			return false;
	return true;
}

static bool joined_evenly(const struct train *a)
{
	for (const struct piece *u = a->u + 1; u < a->u_end; u++)
		if (u->len > a->size && u->fate == FATE_OPEN)
			return false;
	return true;
}

/* Frames at both points, whose bytes do not tell what became of which. */
static void doubt_train(struct train *a)
{
	for (struct piece *u = a->u; u < a->u_end; u++)
		if (u->fate == FATE_OPEN)
			u->fate = FATE_AMBIGUOUS;
	for (struct piece *d = a->d; d < a->d_end; d++)
		if (d->fate == FATE_OPEN)
			d->fate = FATE_AMBIGUOUS;
}

/* Train @i holds no numbers, or none that explain it. */
static void by_order(struct trains *s, size_t i)
{
	struct train *a = &s->t[i];
	bool even = is_cut(a) ? cut_evenly(a) : joined_evenly(a);

	if (!even && regrouped(s, a))
		return;
	if (!is_cut(a))
		joined(s, a, even);
	else if (even)
		cut_by_bytes(s, i);
	if (!even)
		doubt_train(a);
}

/*
 * Can downstream @d, which has no place in cut train @a, be of its frame, because some of what that was cut into were
 * joined again on the way? Not where all of it is there.
 */
static bool may_be_joined(const struct train *a, const struct piece *d)
{
	uint32_t k = (uint16_t)(d->id - a->u->id), have = 0;

	if (!is_cut(a) || (uint64_t)a->size + d->len > a->u->len ||
	    (d->id && a->u->id && (k == 0 || k >= MAX_PLACES)))
		return false;
	for (uint32_t i = 0; a->numbered && i < a->places; i++)
		have += a->at[i] != 0;
	return have < a->places && (a->numbered || d->len > a->size);
}

/* Can downstream @d, which is in no frame so far, be of one all the same? @from: not sent too long before. */
static bool may_be_cut(const struct trains *s, const struct piece *from, const struct piece *d)
{
	const struct piece *end = s->up + s->n_up;
	int64_t error = train_error(s, d->time);

	for (const struct piece *u = from; u < end && u->time <= d->time + error; u++) {
		uint32_t k = (uint16_t)(d->id - u->id);

		if (u - from > NEARBY)
			return true;
		if (u->train && lately_upset(s, d) && is_cut(&s->t[u->train - 1]) &&
		    (d->len == s->t[u->train - 1].size || d->len == s->t[u->train - 1].rest))
			return true;
		if (u->train && may_be_joined(&s->t[u->train - 1], d))
			return true;
		if ((u->fate != FATE_OPEN && u->fate != FATE_AMBIGUOUS) || u->len <= d->len ||
		    (!s->n && u->len <= JUMBO))
			continue;
		if (!d->id || !u->id || (k > 0 && d->len * (uint64_t)(k + 1) <= u->len))
			return true;
	}
	return false;
}

static void doubt_rest(struct trains *s)
{
	const struct piece *from = s->up;

	for (struct piece *d = s->down; d < s->down + s->n_down; d++) {
		while (from < s->up + s->n_up && d->time - from->time > s->b->limits.reach)
			from++;
		if (d->fate == FATE_OPEN && may_be_cut(s, from, d))
			d->fate = FATE_AMBIGUOUS;
	}
}

/* What was sent before the first frame that was joined may be in it. */
static void before_first(struct trains *s)
{
	const struct train *a = &s->t[0];

	if (a->later || is_cut(a))
		return;
	for (struct piece *u = s->up; u < a->u; u++)
		if (u->fate == FATE_OPEN && u->len == a->size &&
		    a->d->time - u->time <= s->b->limits.reach)
			u->fate = FATE_AMBIGUOUS;
}

/* Where anchors crossed, what stands in no train or in the wrong one. */
static void doubt_upset(struct trains *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct train *a = &s->t[i];

		if (!a->upset || a->later)
			continue;
		for (struct piece *d = a->d; d < a->d_end && is_cut(a) && !a->numbered; d++)
			if (d->fate == FATE_OPEN && d->len <= a->size)
				d->fate = FATE_AMBIGUOUS;
		for (struct piece *u = a->u; u < s->up + s->n_up && u - a->u < NEARBY && !is_cut(a); u++)
			if (u->fate == FATE_OPEN && u->len <= a->size)
				u->fate = FATE_AMBIGUOUS;
	}
}

/* To the next look: that its last place is disputed must be known there. */
static void put_aside(const struct trains *s, struct train *a)
{
	if (a->upset) {
		a->at[a->numbered ? a->places - 1 : 0] = 0;
		train_note_lacker(s, a, false);
	}
	for (struct piece *u = a->u; u < a->u_end; u++)
		u->held = !u->known;
	for (struct piece *d = a->d; d < a->d_end; d++)
		d->held = !d->known;
}

static void decide(struct trains *s)
{
	for (size_t i = 0; i < s->n; i++) {
		s->t[i].numbered = numbered(&s->t[i]);
		if (s->t[i].numbered)
			place(s, &s->t[i]);
	}
	place_strays(s);
	for (size_t i = 0; i < s->n; i++) {
		struct train *a = &s->t[i];

		if (a->later)
			put_aside(s, a);
		else if (a->numbered && (!strangers_in(a) || !regrouped(s, a)))
			cut_by_number(s, i);
		else if (a->numbered)
			continue;
		else
			by_order(s, i);
	}
	before_first(s);
	doubt_upset(s);
}

/* A sample: what lies between anchors may be any frame's, chosen or not. The anchors alone are sure. */
static void anchors_only(struct trains *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct train *a = &s->t[i];

		if (!is_cut(a) && a->u->len <= TWIN_LONGEST)
			a->u->last = a->d; /* no frame itself, so all of it is in the one that it begins */
		piece_count(s->b, is_cut(a) ? a->u : a->d, 1, false);
	}
}

void piece_trains(struct piece_batch *b, struct piece *p, size_t n_up, size_t n_down)
{
	struct trains s = { .b = b, .up = p, .down = p + n_up, .n_up = n_up, .n_down = n_down,
			    .ref = b->ref };

	for (size_t i = 0; i < n_up + n_down; i++)
		p[i].known = p[i].fate != FATE_OPEN;
	train_anchors(&s);
	if (s.n && b->t->sampled) {
		anchors_only(&s);
	} else if (s.n) {
		set_ends(&s);
		put_off(&s);
		decide(&s);
	}
	doubt_rest(&s);
	free(s.t);
}
