// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * TSvals and their times in, the time of an echoed one out: the queue of one direction, in rising order
 * modulo 2^32 (RFC 7323 section 5.2). An echo ends the waiting of all before it. Layout and limits in
 * pending.h.
 */
#include <stdlib.h>

#include "base/held.h"
#include "engine/rtt/pending.h"

#define FIRST_CAP 4u

struct entry {
	int64_t at_ns;
	uint32_t tsval;
};

struct vns_pending_ring {
	uint32_t cap; /* a power of two */
	uint32_t head, n;
	struct entry entry[];
};

static size_t ring_bytes(uint32_t cap)
{
	return sizeof(struct vns_pending_ring) + cap * sizeof(struct entry);
}

static struct vns_pending_ring *ring_of(const struct vns_pending *p)
{
	return (struct vns_pending_ring *)(p->ring & ~VNS_PENDING_IDLE);
}

/* Room for one more behind the oldest. Return: false when a limit or memory forbids it. */
static bool make_room(struct vns_pending *p, uint32_t limit, uint64_t *bytes)
{
	struct vns_pending_ring *old = ring_of(p), *ring;
	uint32_t n = old ? old->n : 0;
	uint32_t cap = old ? 4 * old->cap : FIRST_CAP;

	if (n + 2 > limit)
		return false;
	if (old && n < old->cap)
		return true;
	if (*bytes + ring_bytes(cap) > VNS_PENDING_BYTES)
		return false;
	ring = malloc(ring_bytes(cap));
	if (!ring)
		return false;
	ring->cap = cap;
	ring->head = 0;
	ring->n = n;
	for (uint32_t i = 0; i < n; i++)
		ring->entry[i] = old->entry[(old->head + i) & (old->cap - 1)];
	*bytes += ring_bytes(cap) - (old ? ring_bytes(old->cap) : 0);
	vns_held_change(old ? ring_bytes(old->cap) : 0, ring_bytes(cap));
	free(old);
	p->ring = (uintptr_t)ring;
	return true;
}

bool vns_pending_queue(struct vns_pending *p, uint32_t tsval, int64_t at_ns, uint32_t limit,
		       uint64_t *bytes)
{
	struct vns_pending_ring *ring;
	bool given_up = false;

	if (!make_room(p, limit, bytes)) {
		vns_pending_pop(p);
		given_up = true;
	}
	if (!vns_pending_any(p)) {
		p->oldest_ns = at_ns;
		p->oldest_tsval = tsval;
		return given_up;
	}
	ring = ring_of(p);
	ring->entry[(ring->head + ring->n++) & (ring->cap - 1)] = (struct entry){ at_ns, tsval };
	p->ring = (uintptr_t)ring;
	return given_up;
}

void vns_pending_next(struct vns_pending *p)
{
	struct vns_pending_ring *ring = ring_of(p);

	p->oldest_ns = ring->entry[ring->head].at_ns;
	p->oldest_tsval = ring->entry[ring->head].tsval;
	ring->head = (ring->head + 1) & (ring->cap - 1);
	if (--ring->n == 0)
		p->ring |= VNS_PENDING_IDLE;
}

uint32_t vns_pending_count(const struct vns_pending *p)
{
	const struct vns_pending_ring *ring = ring_of(p);

	return vns_pending_any(p) ? 1 + (ring ? ring->n : 0) : 0;
}

void vns_pending_clear(struct vns_pending *p, uint64_t *bytes)
{
	struct vns_pending_ring *ring = ring_of(p);

	if (ring) {
		*bytes -= ring_bytes(ring->cap);
		vns_held_change(ring_bytes(ring->cap), 0);
	}
	free(ring);
	*p = (struct vns_pending){ .oldest_ns = VNS_PENDING_NONE };
}
