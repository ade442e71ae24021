/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TSvals of one direction that wait for their echo: a queue, oldest first, strictly rising
 * modulo 2^32.
 *
 * The oldest stands inline, which is all that request and response traffic needs; what follows
 * stands in a ring that is allocated at the second and grows by four. Limits: VNS_PENDING_MAX per
 * direction (a TSval clock of 1 kHz and 4 s of round trip), VNS_PENDING_ALONE while the other
 * direction was never seen (nothing will echo), VNS_PENDING_BYTES for all flows together. Over a
 * limit the oldest is given up: it has waited longest and is the likeliest to be lost.
 *
 * A ring that a flow once needed is mostly empty later, and looking at it to learn that is a cache
 * miss: the lowest bit of its address, free by alignment, says so.
 */
#ifndef VNS_ENGINE_RTT_PENDING_H
#define VNS_ENGINE_RTT_PENDING_H

#include <vnetscope/base.h>

#define VNS_PENDING_MAX   4096u
#define VNS_PENDING_ALONE 17u
#define VNS_PENDING_BYTES (UINT64_C(64) << 20)

struct vns_pending_ring;

struct vns_pending {
	int64_t oldest_ns; /* INT64_MIN: nothing waits */
	uintptr_t ring; /* address of a struct vns_pending_ring or 0; VNS_PENDING_IDLE: it is empty */
	uint32_t oldest_tsval;
	uint32_t last_echo; /* TSecr that matched last; the engine's, it fills a gap here */
};

#define VNS_PENDING_NONE INT64_MIN
#define VNS_PENDING_IDLE ((uintptr_t)1)

static inline bool vns_pending_any(const struct vns_pending *p)
{
	return p->oldest_ns != VNS_PENDING_NONE;
}

/* The two below where something else waits already or still. */
bool vns_pending_queue(struct vns_pending *p, uint32_t tsval, int64_t at_ns, uint32_t limit,
		       uint64_t *bytes);
void vns_pending_next(struct vns_pending *p);

/*
 * Add the newest. @limit: entries at most (>= 1); @bytes: ring memory of all queues.
 * Return: true when the oldest was given up for it.
 */
static inline bool vns_pending_push(struct vns_pending *p, uint32_t tsval, int64_t at_ns,
				    uint32_t limit, uint64_t *bytes)
{
	if (vns_pending_any(p))
		return vns_pending_queue(p, tsval, at_ns, limit, bytes);
	p->oldest_ns = at_ns;
	p->oldest_tsval = tsval;
	return false;
}

/* Drop the oldest; there must be one. */
static inline void vns_pending_pop(struct vns_pending *p)
{
	if (p->ring == 0 || (p->ring & VNS_PENDING_IDLE))
		p->oldest_ns = VNS_PENDING_NONE;
	else
		vns_pending_next(p);
}

/* How many wait. */
uint32_t vns_pending_count(const struct vns_pending *p);
/* Free the ring and forget everything. */
void vns_pending_clear(struct vns_pending *p, uint64_t *bytes);

#endif
