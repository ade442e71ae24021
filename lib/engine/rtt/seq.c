// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sequence ranges that wait for their acknowledgement; what is a sample and why: seq.h.
 *
 * Numbers compare modulo 2^32 (RFC 9293 section 3.4). A jump of more than a GiB, the largest window
 * there is (RFC 7323 section 2.3), is another connection on the same ports: begun anew.
 */
#include <stdlib.h>

#include "engine/rtt/pending.h"
#include "base/held.h"
#include "engine/rtt/seq.h"

#define FIRST_CAP    4u
#define NO_SAMPLE    UINT32_C(0x80000000)
#define SACKED       UINT32_C(0x40000000)
#define RUN          UINT32_C(0x3fffffff) /* of a SACKed range: number of the first one of its run */
#define UNFILLED     INT64_MAX            /* time of a hole */
#define MAX_MARKED   64u                  /* ranges one repetition marks one by one */
#define MAX_DISTANCE (1 << 30)

struct vns_seq_ring {
	uint32_t cap; /* a power of two */
	uint32_t head, n;
	uint32_t number; /* of the first range, modulo RUN + 1: how many were taken away before it */
	uint32_t base;   /* ranges below were given up; holds while above the acknowledged end */
	uint32_t quiet;  /* no samples for ranges up to here; holds while @is_quiet */
	bool is_quiet;
	struct vns_seq_range range[];
};

static bool after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static bool empty(const struct vns_seq_side *s)
{
	return s->first.ns <= VNS_SEQ_NEVER;
}

static uint32_t count(const struct vns_seq_side *s)
{
	return empty(s) ? 0 : 1 + (s->ring ? s->ring->n : 0);
}

static struct vns_seq_range *at(struct vns_seq_side *s, uint32_t i)
{
	struct vns_seq_ring *ring = s->ring;

	return i == 0 ? &s->first : &ring->range[(ring->head + i - 1) & (ring->cap - 1)];
}

/* Where the first range begins. */
static uint32_t begin(const struct vns_seq_side *s)
{
	return s->ring && after(s->ring->base, s->una) ? s->ring->base : s->una;
}

static uint32_t start_of(struct vns_seq_side *s, uint32_t i)
{
	return i == 0 ? begin(s) : at(s, i - 1)->end;
}

static size_t ring_bytes(uint32_t cap)
{
	return sizeof(struct vns_seq_ring) + cap * sizeof(struct vns_seq_range);
}

static bool make_room(struct vns_seq_side *s, const struct vns_seq_room *room)
{
	struct vns_seq_ring *old = s->ring, *ring;
	uint32_t cap = old ? 4 * old->cap : FIRST_CAP;

	if (count(s) + 1 > room->limit)
		return false;
	if (old && old->n < old->cap)
		return true;
	if (*room->bytes + ring_bytes(cap) > VNS_PENDING_BYTES)
		return false;
	ring = malloc(ring_bytes(cap));
	if (!ring)
		return false;
	*ring = (struct vns_seq_ring){ .base = s->una };
	if (old)
		*ring = *old;
	ring->cap = cap;
	ring->head = 0;
	for (uint32_t i = 0; i < ring->n; i++)
		ring->range[i] = old->range[(old->head + i) & (old->cap - 1)];
	*room->bytes += ring_bytes(cap) - (old ? ring_bytes(old->cap) : 0);
	vns_held_change(old ? ring_bytes(old->cap) : 0, ring_bytes(cap));
	free(old);
	s->ring = ring;
	return true;
}

static void pop(struct vns_seq_side *s)
{
	struct vns_seq_ring *ring = s->ring;

	if (ring)
		ring->number = (ring->number + 1) & RUN;
	if (!ring || ring->n == 0) {
		s->first.ns = VNS_SEQ_EMPTY;
		return;
	}
	s->first = ring->range[ring->head];
	ring->head = (ring->head + 1) & (ring->cap - 1);
	ring->n--;
}

static void push(struct vns_seq_side *s, struct vns_seq_range r, const struct vns_seq_room *room)
{
	struct vns_seq_ring *ring;

	if (!empty(s) && !make_room(s, room)) {
		uint32_t end = s->first.end;

		pop(s);
		++*room->dropped;
		if (s->ring)
			s->ring->base = end;
		else /* nowhere to note what is gone */
			r.info |= NO_SAMPLE;
	}
	s->high = r.end;
	ring = s->ring;
	if (empty(s))
		s->first = r;
	else
		ring->range[(ring->head + ring->n++) & (ring->cap - 1)] = r;
}

/* First range that ends behind @seq. */
static uint32_t find(struct vns_seq_side *s, uint32_t seq)
{
	uint32_t lo = 0, hi = count(s);

	if (hi && after(s->first.end, seq))
		return 0; /* what was lost is repeated from the oldest on */
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (after(at(s, mid)->end, seq))
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static void silence(struct vns_seq_side *s)
{
	if (s->ring) {
		s->ring->quiet = s->high;
		s->ring->is_quiet = true;
	}
}

/* [@from, @to) passes again, or late into a hole: no samples for the ranges it touches. */
static enum vns_seq_kind mark(struct vns_seq_side *s, uint32_t from, uint32_t to, int64_t now_ns)
{
	uint32_t i = find(s, from), n = count(s);
	enum vns_seq_kind kind = VNS_SEQ_LATE;

	if (after(begin(s), from)) { /* of ranges that were given up */
		silence(s);
		kind = VNS_SEQ_REPEATED;
	}
	for (uint32_t k = 0; i < n && after(to, start_of(s, i)); i++, k++) {
		struct vns_seq_range *r = at(s, i);

		if (k == MAX_MARKED) {
			silence(s);
			break;
		}
		if (r->ns != UNFILLED)
			kind = VNS_SEQ_REPEATED;
		r->ns = now_ns;
		r->info |= NO_SAMPLE;
	}
	return kind;
}

static void begin_at(struct vns_seq_side *s, uint32_t seq)
{
	while (!empty(s))
		pop(s);
	s->first.ns = VNS_SEQ_EMPTY;
	s->una = s->high = seq;
	if (s->ring) {
		s->ring->base = seq;
		s->ring->is_quiet = false;
	}
}

enum vns_seq_kind vns_seq_add(struct vns_seq_side *s, uint32_t seq, uint32_t len, int64_t now_ns,
			      bool probe, const struct vns_seq_room *room)
{
	enum vns_seq_kind kind = probe ? VNS_SEQ_PROBE : VNS_SEQ_STORED;
	struct vns_seq_range r = { now_ns, seq + len, probe ? NO_SAMPLE : 0 };
	int32_t ahead = (int32_t)(seq - s->high);

	if (s->first.ns == VNS_SEQ_NEVER || ahead > MAX_DISTANCE || ahead < -MAX_DISTANCE)
		begin_at(s, seq);
	else if (ahead > 0)
		push(s, (struct vns_seq_range){ UNFILLED, seq, NO_SAMPLE }, room);
	else if (ahead < 0 && !after(r.end, s->una))
		return VNS_SEQ_OLD;
	else if (ahead < 0)
		kind = mark(s, after(seq, s->una) ? seq : s->una, r.end, now_ns);
	if (after(r.end, s->high))
		push(s, r, room);
	return kind;
}

/* Whether @last, the range an acknowledgement ends with, gives a sample. */
static enum vns_seq_ack judge(const struct vns_seq_side *s, const struct vns_seq_range *last,
			      int64_t newest_ns, int64_t now_ns)
{
	if (last->info & SACKED)
		return VNS_ACK_AGAIN;
	if (last->info & NO_SAMPLE)
		return VNS_ACK_AMBIGUOUS;
	if (newest_ns > last->ns ||
	    (s->ring && s->ring->is_quiet && !after(last->end, s->ring->quiet)))
		return VNS_ACK_BEHIND;
	return now_ns < last->ns ? VNS_ACK_EARLY : VNS_ACK_MATCHED;
}

enum vns_seq_ack vns_seq_ack(struct vns_seq_side *s, uint32_t ack, int64_t now_ns, bool inside,
			     struct vns_seq_range *sent)
{
	int64_t newest_ns = INT64_MIN;
	enum vns_seq_ack kind;
	bool any = false;

	if (s->first.ns == VNS_SEQ_NEVER)
		return VNS_ACK_NO_DATA;
	if (ack == s->una)
		return VNS_ACK_REPEATED;
	if (!after(ack, s->una))
		return VNS_ACK_OLD;
	if (after(ack, s->high)) {
		begin_at(s, ack);
		return VNS_ACK_UNSEEN;
	}
	if (after(begin(s), ack)) {
		s->una = ack;
		return VNS_ACK_UNSEEN;
	}
	while (!empty(s) && !after(s->first.end, ack)) {
		*sent = s->first;
		newest_ns = sent->ns > newest_ns ? sent->ns : newest_ns;
		any = true;
		pop(s);
	}
	s->una = ack;
	if (any && sent->end == ack)
		kind = judge(s, sent, newest_ns, now_ns);
	else if (empty(s)) /* given up in between */
		kind = VNS_ACK_UNSEEN;
	else if (!inside)
		kind = VNS_ACK_INSIDE;
	else
		kind = judge(s, &s->first, newest_ns, now_ns);
	if (!any || sent->end != ack)
		*sent = (struct vns_seq_range){ s->first.ns, ack, 0 };
	if (s->ring && s->ring->is_quiet && after(ack, s->ring->quiet))
		s->ring->is_quiet = false;
	return kind;
}

/* First range of the run of SACKed ones that range @i belongs to, as far as is known there. */
static uint32_t run_of(struct vns_seq_side *s, uint32_t i)
{
	uint32_t number = s->ring ? s->ring->number : 0;
	uint32_t first = ((at(s, i)->info & RUN) - number) & RUN;

	return first <= i ? first : 0; /* its beginning was taken away */
}

static void set_run(struct vns_seq_side *s, uint32_t i, uint32_t first)
{
	struct vns_seq_range *r = at(s, i);
	uint32_t number = s->ring ? s->ring->number : 0;

	r->info = (r->info & ~RUN) | SACKED | ((first + number) & RUN);
}

/*
 * Ranges from the one behind @i down to @left get SACKed. @newest: the one that passed last of those
 * which were not. Return: the first range of the run that @i now belongs to.
 */
static uint32_t walk(struct vns_seq_side *s, uint32_t i, uint32_t left, struct vns_seq_range *newest)
{
	uint32_t k = i + 1, leftmost;

	while (k > 0 && !after(left, start_of(s, k - 1))) {
		struct vns_seq_range *r = at(s, k - 1);

		if (r->info & SACKED) {
			k = run_of(s, k - 1);
			continue;
		}
		if (r->ns > newest->ns)
			*newest = *r;
		k--;
		set_run(s, k, k);
	}
	leftmost = k;
	for (k = i + 1; k > leftmost;) {
		uint32_t next = run_of(s, k - 1);

		set_run(s, k - 1, leftmost);
		k = next;
	}
	return leftmost;
}

enum vns_seq_ack vns_seq_sack(struct vns_seq_side *s, uint32_t left, uint32_t right,
			      int64_t now_ns, struct vns_seq_range *sent)
{
	uint32_t behind;

	sent->ns = INT64_MIN;
	if (empty(s) || !after(left, s->una) || !after(right, left) || after(right, s->high))
		return VNS_ACK_REPEATED; /* of what is acknowledged: a duplicate SACK (RFC 2883) */
	behind = find(s, right);
	if (behind == 0 || after(left, start_of(s, behind - 1)))
		return VNS_ACK_REPEATED;
	walk(s, behind - 1, left, sent);
	if (sent->ns == INT64_MIN)
		return VNS_ACK_REPEATED;
	switch (judge(s, sent, sent->ns, now_ns)) {
	case VNS_ACK_MATCHED:
		return VNS_ACK_SACKED;
	case VNS_ACK_EARLY:
		return VNS_ACK_EARLY;
	case VNS_ACK_BEHIND:
		return VNS_ACK_BEHIND;
	default:
		return VNS_ACK_AMBIGUOUS;
	}
}

uint32_t vns_seq_waiting(struct vns_seq_side *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count(s); i++)
		n += at(s, i)->ns != UNFILLED && !(at(s, i)->info & (NO_SAMPLE | SACKED));
	return n;
}

void vns_seq_clear(struct vns_seq_side *s, uint64_t *bytes)
{
	if (s->ring) {
		*bytes -= ring_bytes(s->ring->cap);
		vns_held_change(ring_bytes(s->ring->cap), 0);
	}
	free(s->ring);
	vns_seq_init(s);
}
