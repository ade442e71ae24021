// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets that one point saw whole and the other in pieces: IP fragments, and (superframe.c) UDP frames
 * of many datagrams.
 *
 * In: packets that waited for a twin of their own size in vain. Out: their twins, or that they are
 * ambiguous; what is left open stays what it was for unit.c.
 *
 * Theory. Nearly all packets find their twin as a whole soon after they were seen, and never come
 * here. What did not is looked at once more before it is given up as missing, when all that belongs to
 * it has been seen at both points: a batch of one direction, all hosts together, sorted, so that
 * nothing need be kept for it beforehand but 20 bytes in the entry.
 *
 * Fragments (RFC 791 section 3.2, RFC 8200 section 4.5). A fragment names its datagram by (source,
 * destination, protocol, identification), and its place in it by its offset. A datagram that was not
 * fragmented at the other point
 *   - over IPv4 bears the same identification (RFC 6864: unique while the datagram may live), and
 *   - over IPv6 has none; but the first fragment holds the ports and the first payload bytes, whose digest
 *     but for the length is that of the whole.
 * So the first fragment leads to the whole (flow, digest and, where there is one, identification must
 * agree, and one candidate only), and the identification to the others, which must fit in. Without the
 * first fragment an IPv4 identification may still do; an IPv6 one leads nowhere. Latency of
 * the first byte is that of the first fragment, of the last byte that of the fragment which
 * ends where the whole does. Fragments upstream of a whole all got there with it. Those downstream that nothing leads
 * from are ambiguous where a whole that did not arrive may be what they are of.
 * Fragments of TCP are not looked at: nobody sends them since path MTU discovery.
 *
 * Where memory is full, packets leave one by one and before their time. A look goes through all that
 * waits, so there is one for a sixteenth of it: it takes in those that will leave before the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/twin/brief.h"
#include "engine/twin/pieces.h"
#include "packet/hash.h"

#define EVICT_SHARE 16 /* of what waits, one part leaves between two looks for want of memory */
#define AHEAD       8  /* entries of a queue fetched before their turn */
#define TRANSPORT_HEADER 8 /* UDP and ICMP: what the first fragment holds before the payload */

static uint64_t hash_of_hosts(const struct vns_flow_key *key)
{
	uint64_t h = key->ipproto, w;

	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < 16; k += 8) {
			memcpy(&w, &key->addr[i].b[k], sizeof(w));
			h = (h ^ w) * VNS_MIX_K4;
			h ^= h >> 32;
		}
	}
	return h;
}

void twin_pieces_note(struct twin_brief *b, const struct vns_packet *p)
{
	unsigned int kind = p->flags & VNS_PKT_F_LATER_FRAG ? PIECE_LATER :
			    p->flags & VNS_PKT_F_FIRST_FRAG ? PIECE_FIRST : PIECE_WHOLE;

	b->first = (int64_t)(p->digest - vns_length_term(p->payload_len));
	b->last = (int64_t)hash_of_hosts(&p->key);
	b->tsval = kind << 16 | p->frag_off;
}

/* ---- a batch ---- */

static int add(struct piece_batch *b, uint32_t index)
{
	struct twin_pieces *set = b->t->pieces;
	const struct twin_entry *e = &b->t->m.entry[index];
	unsigned int kind = e->tsval >> 16;
	int64_t time;

	/* A look goes through all that waits: what can be told of an entry alone comes first. */
	if (!e->tsval || e->flags & (E_DONE | E_LOOKED) || !twin_is_piece(b->t, e))
		return 0;
	time = piece_time(b, e);
	if (time > b->until)
		return 0;
	if (set->n == set->cap) {
		size_t cap = set->cap ? 2 * set->cap : 256;
		struct piece *p = realloc(set->p, cap * sizeof(*p));

		if (!p)
			return -1;
		set->p = p;
		set->cap = cap;
	}
	set->p[set->n] = (struct piece){
		.time = time, .hosts = (uint64_t)e->last, .flow = e->flow_hash,
		.base = (uint64_t)e->first, .entry = index, .order = (uint32_t)set->n,
		.id = e->ip_id, .off = e->tsval & 0xffff, .kind = (uint8_t)kind,
		.len = e->len > UINT32_MAX - TRANSPORT_HEADER ? UINT32_MAX : /* any may be in a file */
		       e->len + (kind == PIECE_FIRST ? TRANSPORT_HEADER : 0),
		.down = e->flags & E_DOWN,
	};
	set->n++;
	return 0;
}

/* Fragments before wholes; those by datagram and place, these by flow, side and time. */
static int by_hosts(const void *pa, const void *pb)
{
	const struct piece *a = pa, *b = pb;
	bool whole = a->kind == PIECE_WHOLE;

	if (a->hosts != b->hosts)
		return a->hosts < b->hosts ? -1 : 1;
	if (whole != (b->kind == PIECE_WHOLE))
		return whole ? 1 : -1;
	if (whole && a->flow != b->flow)
		return a->flow < b->flow ? -1 : 1;
	if (!whole && a->id != b->id)
		return a->id < b->id ? -1 : 1;
	if (a->down != b->down)
		return a->down ? 1 : -1;
	if (!whole && a->off != b->off)
		return a->off < b->off ? -1 : 1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return (a->order > b->order) - (a->order < b->order);
}

static int by_key(const void *pa, const void *pb)
{
	const struct piece_ref *a = pa, *b = pb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return (a->p > b->p) - (a->p < b->p); /* the order they were in */
}

void piece_sort_refs(struct piece_ref *r, size_t n)
{
	qsort(r, n, sizeof(*r), by_key);
}

bool piece_plausible(const struct piece_batch *b, const struct piece *u, const struct piece *d)
{
	int64_t lag = d->time - u->time;

	if (lag > b->t->window || lag < -b->t->window)
		return false;
	return twin_only_pair(lag, u->id, d->id, &b->limits);
}

void piece_count(struct piece_batch *b, const struct piece *whole, size_t pieces, bool all)
{
	bool at_b = whole->down == (b->dir == VNS_HOST_TO_GUEST);
	struct vns_twin_counts *here = &b->t->counts[at_b];

	here->wholes++;
	here->partly += !all;
	b->t->counts[!at_b].pieces += pieces;
}

void piece_upset(struct piece_batch *b, int64_t time)
{
	twin_pieces_doubled(b->t, b->dir, time);
}

/* ---- fragments ---- */

/* Of @n refs, in order, the first that has @key or a later one. */
static size_t first_of_key(const struct piece_ref *r, size_t n, uint64_t key)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (r[mid].key < key)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The only one among @n refs of @key that lies on the side @down and may have been what @f is of. */
static struct piece *only_whole(const struct piece_batch *b, const struct piece_ref *r, size_t n,
				uint64_t key, const struct piece *f)
{
	size_t low = first_of_key(r, n, key);
	struct piece *found = NULL;

	for (size_t i = low; i < n && r[i].key == key && i - low < 64; i++) {
		struct piece *w = r[i].p;
		int64_t lag = w->down ? w->time - f->time : f->time - w->time;

		if (w->down == f->down || w->fate != FATE_OPEN || lag < -b->limits.slack ||
		    lag > b->t->window || (w->id && w->id != f->id))
			continue;
		if (found)
			return NULL;
		found = w;
	}
	return found;
}

static uint64_t key_of_base(const struct piece *p)
{
	return p->flow ^ p->base * VNS_MIX_K4;
}

/* Bytes of IP payload. Lengths in a file may be such that sums do not fit into 32 bits. */
static uint64_t end_of(const struct piece *f)
{
	return (uint64_t)f->off + f->len;
}

static uint64_t bytes_of(const struct piece *whole)
{
	return (uint64_t)whole->len + TRANSPORT_HEADER;
}

/* Do @n fragments, in order of their places, lie in @whole without overlap? */
static bool fit_in(const struct piece *f, size_t n, const struct piece *whole)
{
	uint64_t end = 0;

	for (size_t i = 0; i < n; i++) {
		if (f[i].off < end)
			return false;
		end = end_of(&f[i]);
	}
	return end <= bytes_of(whole);
}

/* Fragments of @n places, none twice, are those of @whole. */
static void join(struct piece_batch *b, struct piece *f, size_t n, struct piece *whole)
{
	uint64_t bytes = 0, all = bytes_of(whole);

	whole->fate = FATE_ALONE;
	for (size_t i = 0; i < n; i++) {
		bytes += f[i].len;
		f[i].fate = FATE_MATCHED;
		if (whole->down) {
			f[i].first = f[i].last = whole;
			continue;
		}
		if (f[i].off == 0)
			whole->first = &f[i];
		if (end_of(&f[i]) == all)
			whole->last = &f[i];
	}
	if (whole->down || whole->first)
		whole->fate = FATE_MATCHED;
	piece_count(b, whole, n, bytes == all);
}

/*
 * Second copies of fragments that were doubled on the way are nobody's, and go behind the others.
 * Return: how many those are; 0 when two datagrams have one identification.
 */
static size_t without_copies(struct piece_batch *b, struct piece *f, size_t n)
{
	size_t kept = 1;

	for (size_t i = 1; i < n; i++) {
		struct piece next = f[i];

		if (next.off != f[kept - 1].off) {
			f[i] = f[kept];
			f[kept++] = next;
			continue;
		}
		if (!next.down || next.base != f[kept - 1].base || next.len != f[kept - 1].len) {
			for (size_t k = 0; k < n; k++)
				f[k].fate = FATE_AMBIGUOUS;
			return 0;
		}
		f[i].fate = FATE_ALONE;
		piece_upset(b, f[i].time);
	}
	return kept;
}

/* @n fragments of one datagram at one point, by their places. */
static void datagram_in_fragments(struct piece_batch *b, struct piece *f, size_t n,
				  const struct piece_ref *by_base, const struct piece_ref *by_id,
				  size_t n_wholes)
{
	struct piece *whole;

	n = without_copies(b, f, n);
	if (n == 0)
		return;
	if (f[0].kind == PIECE_FIRST)
		whole = only_whole(b, by_base, n_wholes, key_of_base(&f[0]), &f[0]);
	else
		whole = f[0].id ? only_whole(b, by_id, n_wholes, f[0].id, &f[0]) : NULL;
	if (!whole || !fit_in(f, n, whole))
		return;
	if (f[0].kind != PIECE_FIRST &&
	    (whole->id != f[0].id || end_of(&f[n - 1]) != bytes_of(whole)))
		return;
	join(b, f, n, whole);
}

/*
 * Downstream fragment @f has no part in what was found: its datagram's first one is lost, or the last of those left.
 * May one of the wholes of @key that did not arrive be what it is of? Among many, yes.
 */
static bool may_be_of_whole(const struct piece_batch *b, const struct piece_ref *r, size_t n, uint32_t key,
			    const struct piece *f)
{
	size_t from = first_of_key(r, n, key);

	for (size_t i = from; i < n && r[i].key == key; i++) {
		const struct piece *w = r[i].p;

		if (i - from == 64)
			return true;
		if (!w->down && w->fate == FATE_OPEN && f->time - w->time >= -b->limits.slack &&
		    f->time - w->time <= b->limits.reach && end_of(f) <= bytes_of(w))
			return true;
	}
	return false;
}

static void fragments(struct piece_batch *b, struct piece *f, size_t n, struct piece *wholes,
		      size_t n_wholes)
{
	struct piece_ref *by_base = b->ref, *by_id = b->ref + n_wholes;

	if (n == 0 || n_wholes == 0)
		return;
	for (size_t i = 0; i < n_wholes; i++) {
		by_base[i] = (struct piece_ref){ key_of_base(&wholes[i]), &wholes[i] };
		by_id[i] = (struct piece_ref){ wholes[i].id, &wholes[i] };
	}
	piece_sort_refs(by_base, n_wholes);
	piece_sort_refs(by_id, n_wholes);
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && f[k].id == f[i].id && f[k].down == f[i].down; k++)
			;
		datagram_in_fragments(b, f + i, k - i, by_base, by_id, n_wholes);
	}
	for (size_t i = 0; i < n; i++)
		if (f[i].down && f[i].kind == PIECE_LATER && f[i].fate == FATE_OPEN &&
		    (may_be_of_whole(b, by_id, n_wholes, 0, &f[i]) ||
		     (f[i].id && may_be_of_whole(b, by_id, n_wholes, f[i].id, &f[i]))))
			f[i].fate = FATE_AMBIGUOUS;
}

/* ---- the whole ---- */

/* All packets between two hosts. */
static void between_hosts(struct piece_batch *b, struct piece *p, size_t n)
{
	size_t n_frags = 0;

	while (n_frags < n && p[n_frags].kind != PIECE_WHOLE)
		n_frags++;
	fragments(b, p, n_frags, p + n_frags, n - n_frags);
	for (size_t i = n_frags, k; i < n; i = k) {
		size_t up = 0;

		for (k = i; k < n && p[k].flow == p[i].flow; k++)
			up += !p[k].down;
		if (up && up < k - i)
			piece_trains(b, p + i, up, k - i - up);
	}
}

static void conclude(const struct piece_batch *b, const struct piece *p)
{
	struct vns_twin *t = b->t;
	struct twin_entry *entry = t->m.entry, *e = &entry[p->entry];

	if (p->held || (b->early && p->fate != FATE_MATCHED))
		return;
	if (p->time <= b->defer || p->fate != FATE_OPEN)
		e->flags |= E_LOOKED;
	if (p->fate != FATE_MATCHED && p->fate != FATE_AMBIGUOUS)
		return;
	e->flags |= E_DONE | E_CHOSEN | (p->fate == FATE_MATCHED ? E_MATCHED : E_AMBIGUOUS);
	twin_unit_remove(t, p->entry);
	if (p->first) {
		e->first = entry[p->first->entry].time;
		e->n_first = 1;
	}
	if (p->last) {
		e->last = entry[p->last->entry].time;
		e->n_last = 1;
	}
}

/* ---- what has no part in it ---- */

#define PLACES 1024 /* flows and hosts share them, which only keeps more */
#define CROWD  256  /* among more than these nothing that is left is told apart */

/* Of the packets whose flow falls on one place; @fragments: of those whose hosts do. */
struct place {
	uint32_t len;
	bool up, down, lengths_differ, fragments;
};

static struct place *place_of(struct place *of, uint64_t hash)
{
	return &of[hash * VNS_MIX_K4 >> 32 & (PLACES - 1)];
}

static void note_place(struct place *of, const struct piece *p)
{
	struct place *flow = place_of(of, p->flow);

	if (p->kind != PIECE_WHOLE) {
		place_of(of, p->hosts)->fragments = true;
		return;
	}
	flow->lengths_differ |= (flow->up || flow->down) && flow->len != p->len;
	flow->len = p->len;
	flow->up |= !p->down;
	flow->down |= p->down;
}

/* May there be others that @p is a piece of, or that are pieces of it? */
static bool has_part(struct place *of, const struct piece *p)
{
	const struct place *flow = place_of(of, p->flow);

	return p->kind != PIECE_WHOLE || place_of(of, p->hosts)->fragments ||
	       (flow->up && flow->down && flow->lengths_differ);
}

/*
 * A frame is longer than any of its pieces: where all packets of a flow are of one length, or were seen at one
 * point only, none is a piece of another. So it is of floods, of which all that one point lost comes here. Of @n
 * refs of one base in such a flow that leaves what anchors.c does with those alike: what both points have by its
 * number is unit.c's; what is left at both is ambiguous, unless it is just two, or copies of one.
 */
static void without_parts(struct piece_ref *r, size_t n)
{
	size_t left[2] = { 0, 0 }, in_all;
	bool one_number = true;
	uint32_t number = 0;

	for (size_t i = 0; i < n; i++)
		r[i].key = r[i].p->id;
	piece_sort_refs(r, n);
	for (size_t i = 0, k; i < n; i = k) {
		bool at[2] = { false, false };

		for (k = i; k < n && r[k].key == r[i].key; k++)
			at[r[k].p->down] = true;
		for (size_t j = i; j < k; j++) {
			struct piece *p = r[j].p;

			if (at[0] && at[1] && (p->id || k - i == n)) {
				p->fate = FATE_ALONE;
				continue;
			}
			left[p->down]++;
			one_number &= !p->down || ((!number || number == p->id) && p->id && p->len);
			number = p->down ? p->id : number;
		}
	}
	in_all = left[0] + left[1];
	if (!left[0] || !left[1] || (n <= CROWD && (in_all == 2 || (left[0] == 1 && one_number))))
		return;
	for (size_t i = 0; i < n; i++)
		if (r[i].p->fate == FATE_OPEN)
			r[i].p->fate = FATE_AMBIGUOUS;
}

/*
 * More of a kind downstream than upstream, anywhere: packets are being doubled. Not where others begin
 * like them: the datagrams of a frame may be as alike as copies.
 */
static void look_for_copies(struct piece_batch *b, struct place *of)
{
	struct twin_pieces *set = b->t->pieces;

	for (size_t i = 0; i < set->n; i++)
		b->ref[i] = (struct piece_ref){ key_of_base(&set->p[i]), &set->p[i] };
	piece_sort_refs(b->ref, set->n);
	for (size_t i = 0, k; i < set->n; i = k) {
		const struct piece *first = b->ref[i].p;
		bool alike = true;
		size_t up = 0;

		for (k = i; k < set->n && b->ref[k].key == b->ref[i].key; k++) {
			const struct piece *p = b->ref[k].p;

			up += !p->down;
			alike &= p->len == first->len && p->id == first->id;
		}
		if (alike && up && k - i > 2 * up)
			piece_upset(b, first->time);
		if (up && up < k - i && !has_part(of, first))
			without_parts(b->ref + i, k - i);
	}
}

/* The first @max of @q. */
static int add_queue(struct piece_batch *b, const struct twin_queue *q, uint32_t max)
{
	uint32_t n = q->n < max ? q->n : max;

	b->t->pieces->walked += n;
	for (uint32_t i = 0; i < n; i++) {
		/* Neighbours in the queue are none in memory. */
		if (i + AHEAD < n)
			__builtin_prefetch(&b->t->m.entry[q->slot[(q->head + i + AHEAD) & q->mask]]);
		if (add(b, q->slot[(q->head + i) & q->mask]))
			return -1;
	}
	return 0;
}

/* The first @max of @q: what has a twin of its own size is no piece. */
static void settle_queue(struct piece_batch *b, const struct twin_queue *q, uint32_t max)
{
	struct vns_twin *t = b->t;

	for (uint32_t i = 0; i < q->n && i < max; i++) {
		uint32_t e = q->slot[(q->head + i) & q->mask];

		if (!(t->m.entry[e].flags & (E_DOWN | E_DONE | E_LOOKED)) && twin_is_piece(t, &t->m.entry[e]))
			twin_unit_settle(t, e);
	}
}

/*
 * Pair first what has a twin of its own size: what is looked at ahead of its time, and, where packets take so long that
 * their twins had not been seen when they had waited for the settle time, what came through that without one.
 */
static void settle_first(struct piece_batch *b)
{
	struct vns_twin *t = b->t;

	for (int p = 0; p < 2; p++) {
		if (t->settle < 2 * b->limits.reach)
			settle_queue(b, &t->queue[p][b->dir][STAGE_EXPIRE], UINT32_MAX);
		settle_queue(b, &t->queue[p][b->dir][STAGE_SETTLE], b->unsettled);
	}
}

static int collect(struct piece_batch *b, uint32_t trigger)
{
	struct vns_twin *t = b->t;

	t->pieces->n = 0;
	if (add(b, trigger))
		return -1;
	settle_first(b);
	/* Downstream's settle stage lags by what was fed at once; what has a twin is done. */
	for (int p = 0; p < 2; p++) {
		bool down = (p == VNS_POINT_B) == (b->dir == VNS_HOST_TO_GUEST);

		if (add_queue(b, &t->queue[p][b->dir][STAGE_SETTLE], down ? UINT32_MAX : b->unsettled) ||
		    add_queue(b, &t->queue[p][b->dir][STAGE_EXPIRE], UINT32_MAX))
			return -1;
	}
	return 0;
}

static void set_times(struct piece_batch *b, uint32_t trigger)
{
	struct vns_twin *t = b->t;
	int64_t now = piece_time(b, &t->m.entry[trigger]), wait, margin;

	b->limits = (struct twin_limits){ t->slack, twin_reach(t, b->dir), t->settle, false,
					  twin_earliest(t, b->dir, 0, now) };
	b->ended = t->now[VNS_POINT_A] == INT64_MAX && t->now[VNS_POINT_B] == INT64_MAX;
	if (b->ended) {
		b->until = b->defer = INT64_MAX;
		b->unsettled = UINT32_MAX;
		return;
	}
	/* By then the settle stage of both points is past, see twin.c. */
	wait = t->window - 3 * t->settle;
	margin = b->limits.reach > t->settle ? b->limits.reach : t->settle;
	b->until = now + wait;
	b->defer = b->until - (margin < wait / 2 ? margin : wait / 2);
}

static void all_hosts(struct piece_batch *b)
{
	struct twin_pieces *set = b->t->pieces;

	qsort(set->p, set->n, sizeof(*set->p), by_hosts);
	for (size_t i = 0, k; i < set->n; i = k) {
		for (k = i + 1; k < set->n && set->p[k].hosts == set->p[i].hosts; k++)
			;
		between_hosts(b, set->p + i, k - i);
	}
}

/*
 * What is only seen on the way (disorder; a loss, where sums were trusted) counts for what was decided before it as
 * well: if there was any, everything is decided once more.
 */
static void decide_twice(struct piece_batch *b)
{
	struct twin_pieces *set = b->t->pieces;
	const struct vns_twin_counts before[2] = { b->t->counts[0], b->t->counts[1] };
	const int64_t upset = set->upset[b->dir], lost = set->lost[b->dir];

	all_hosts(b);
	if (upset == set->upset[b->dir] && (lost == set->lost[b->dir] || !b->summed))
		return;
	memcpy(b->t->counts, before, sizeof(before));
	set->n_lackers[b->dir] = b->lackers;
	for (size_t i = 0; i < set->n; i++) {
		struct piece *p = &set->p[i];

		p->first = p->last = NULL;
		p->fate = FATE_OPEN;
		p->train = 0;
		p->held = false;
	}
	all_hosts(b);
}

/* Those that may be pieces or have some, to the front. Return: how many. */
static size_t put_first(struct twin_pieces *set, struct place *of)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct piece p = set->p[i];

		if (!has_part(of, &p))
			continue;
		set->p[i] = set->p[n];
		set->p[n++] = p;
	}
	return n;
}

/* Those that may be pieces or have some; the others' fate is known. */
static void decide_parts(struct piece_batch *b, struct place *of)
{
	struct twin_pieces *set = b->t->pieces;
	const size_t all = set->n;

	set->n = put_first(set, of);
	set->compared += set->n;
	decide_twice(b);
	set->n = all;
}

/* @ahead: so many of upstream's that are not settled yet are looked at with @e. @early: see the batch. */
static void look(struct vns_twin *t, uint32_t e, uint32_t ahead, bool early)
{
	struct piece_batch b = { .t = t, .dir = t->m.node[t->m.entry[e].node].direction,
				 .unsettled = ahead, .early = early };
	struct twin_pieces *set = t->pieces;
	struct place of[PLACES] = { 0 };
	size_t up = 0;

	if (t->m.entry[e].flags & E_LOOKED)
		return;
	set_times(&b, e);
	if (collect(&b, e))
		return; /* no memory: less is found, nothing is wrong */
	for (size_t i = 0; i < set->n; i++) {
		up += !set->p[i].down;
		note_place(of, &set->p[i]);
	}
	b.ref = up && up < set->n ? malloc(2 * set->n * sizeof(*b.ref)) : NULL;
	if (b.ref) {
		b.lackers = set->n_lackers[b.dir];
		look_for_copies(&b, of);
		decide_parts(&b, of);
	}
	for (size_t i = 0; i < set->n; i++)
		conclude(&b, &set->p[i]);
	t->m.entry[e].flags |= E_LOOKED;
	free(b.ref);
	piece_likes_free(&b);
}

void twin_pieces_look(struct vns_twin *t, uint32_t e)
{
	look(t, e, 0, false);
}

void twin_pieces_evict(struct vns_twin *t, uint32_t e)
{
	struct twin_pieces *set = t->pieces;
	unsigned int dir = t->m.node[t->m.entry[e].node].direction;
	uint32_t ahead = 0;

	set->evictions++;
	if (!twin_is_piece(t, &t->m.entry[e]) || t->m.entry[e].flags & E_LOOKED ||
	    twin_unit_settle(t, e))
		return;
	if (set->evictions < set->next_look[dir]) {
		t->m.entry[e].flags |= E_LOOKED;
		return;
	}
	for (int p = 0; p < 2; p++)
		for (int s = 0; s < STAGES; s++)
			ahead += t->queue[p][dir][s].n / EVICT_SHARE;
	look(t, e, ahead, true);
	set->next_look[dir] = set->evictions + ahead;
}

int twin_pieces_new(struct twin_pieces **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->upset[0] = (*out)->upset[1] = INT64_MIN;
	(*out)->lost[0] = (*out)->lost[1] = INT64_MIN;
	(*out)->cut_at[0] = (*out)->cut_at[1] = INT64_MIN;
	return 0;
}

void twin_pieces_free(struct twin_pieces *p)
{
	if (p)
		free(p->p);
	free(p);
}
