/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What intake.c (packets become entries) and twin.c (entries get their class) share.
 *
 * In: stamps of packets. Out: how far each point has been read, and whether entries are due.
 *
 * Theory. A point has been read up to the latest of its stamps, and both up to the earlier of the
 * two points' latest: entries are due by that alone. Each packet asks, few are told yes: so the
 * question is here, inline, and the answer a call.
 */
#ifndef VNS_ENGINE_TWIN_INTAKE_H
#define VNS_ENGINE_TWIN_INTAKE_H

#include "engine/twin/inorder.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Up to where both points have been read. */
TWIN_INLINE int64_t twin_read_until(const struct vns_twin *t)
{
	int64_t a = t->now[VNS_POINT_A], b = t->now[VNS_POINT_B];

	if (unlikely(a == UNSET || b == UNSET))
		return UNSET;
	b = b == INT64_MAX ? b : b - t->ahead;
	return a < b ? a : b;
}

/*
 * Look at what is due, once a tick. How many packets are seen after an entry before it is looked at
 * must not depend on how many come in one call: so it is when a stamp passes a tick, and as of that
 * tick. It also looks at many at once.
 */
TWIN_INLINE bool twin_is_due(const struct vns_twin *t)
{
	return twin_read_until(t) >= t->next_tick;
}

/* Point @p has been read up to @time, at least. */
TWIN_INLINE void twin_see_time(struct vns_twin *t, enum vns_point p, int64_t time)
{
	/* UNSET is less than any time; and what is later than the last is none earlier than the first */
	if (likely(t->first[p] != UNSET && time > t->last[p] && time > t->now[p])) {
		t->last[p] = t->now[p] = time;
		return;
	}
	if (t->first[p] == UNSET || time < t->first[p])
		t->first[p] = time;
	if (time > t->last[p])
		t->last[p] = time;
	if (time > t->now[p])
		t->now[p] = time;
}

/* twin.c */
/* Look at what is due. Return: 0 or -ENOMEM. */
int twin_drain(struct vns_twin *t);
/* Over the limit: the oldest entry of point @p gets its class now. */
void twin_evict(struct vns_twin *t, enum vns_point p);

/* intake.c */
/* Strangers of A that waited for what B shows of their translation. Return: 0 or -ENOMEM. */
int twin_release_held(struct vns_twin *t);

#endif
