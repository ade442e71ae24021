// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Intake: packets, by their briefs (brief.c), to their places in memory.
 *
 * In: decoded packets of one point. Out: for each an entry of a node and of a queue; or a class at
 * once, for what has no direction (undecodable), came across a step of its clock or in too great
 * a disorder (ambiguous). With NAT, strangers of A may wait until B shows what became of them
 * (nat.c).
 *
 * Theory. The key finds the node; point and direction tell the side. Packets are worked upon in chunks,
 * in passes that fetch what the next pass needs: one packet after the other would wait for memory at each
 * step. Before a packet goes in, what its stamp makes due is looked at (twin.c): so what an entry is held
 * against does not depend on how many packets come in one call.
 */
#include <stddef.h>
#include <string.h>

#include "engine/twin/brief.h"
#include "engine/twin/intake.h"

#define CHUNK 32 /* packets whose nodes are fetched ahead together */

/* Is it downstream? */
TWIN_INLINE bool is_down(enum vns_point p, const struct twin_brief *b)
{
	return (p == VNS_POINT_A) == (b->dir == VNS_GUEST_TO_HOST);
}

/* What brief and entry share lies in both in one order: few wide moves. */
TWIN_INLINE void fill(struct twin_entry *e, const struct twin_brief *b, int64_t time, bool down,
		      uint32_t node)
{
	enum { FROM = offsetof(struct twin_brief, flow_hash), TO = offsetof(struct twin_entry, flow_hash),
	       SHARED = offsetof(struct twin_entry, prev) - TO };

	_Static_assert(offsetof(struct twin_brief, flags) - FROM == SHARED &&
		       offsetof(struct twin_brief, ip_id) - FROM ==
		       offsetof(struct twin_entry, ip_id) - TO, "in one order");
	e->time = time;
	memcpy((char *)e + TO, (const char *)b + FROM, SHARED);
	e->prev = e->next = 0;
	e->node = node;
	e->flags = (uint16_t)(b->flags | (down ? E_DOWN : 0));
	e->n_first = e->n_last = 0;
}

/*
 * Of a packet of point @p, with @time on the engine's clock. @n: probably the node of its key; 0: unknown.
 * @translated: its addresses were changed to those at the other point.
 */
TWIN_INLINE int remember(struct vns_twin *t, enum vns_point p, const struct twin_brief *b, int64_t time,
			 uint32_t n, bool translated)
{
	uint32_t e = twin_entry_new(&t->m);
	const bool range = b->what & BRIEF_RANGE;
	struct twin_node *node;

	if (!twin_is_node_of(&t->m, n, b->key))
		n = e ? twin_node_get(&t->m, b->key) : 0;
	if (!n || !e)
		return -ENOMEM;
	node = &t->m.node[n];
	if (node->refs == 0) {
		node->kind = range ? TWIN_RANGE : TWIN_UNIT;
		node->direction = (uint8_t)b->dir;
		node->proto = b->proto;
		if (!range && b->what & BRIEF_NO_ID)
			node->repeated = twin_told_before(&t->m, b->key);
	}
	node->translated |= translated;
	node->refs++;
	t->counts[p].by_direction[b->dir]++;
	fill(&t->m.entry[e], b, time, is_down(p, b), n);
	if (!range) {
		if (unlikely(b->what & BRIEF_SHORT))
			twin_cut_flow(t, p, &t->m.entry[e]);
		twin_unit_insert(t, e);
	} else if (!twin_inorder_insert(t, node, e) && twin_range_insert(t, e)) {
		/* Too disordered to be searched in bounded time. */
		t->counts[p].in_class[VNS_TWIN_AMBIGUOUS]++;
		if (--node->refs == 0)
			twin_node_free(&t->m, n);
		twin_entry_free(&t->m, e);
		return 0;
	}
	t->pending[p]++;
	if (twin_queue_push(&t->queue[p][b->dir][STAGE_SETTLE], e))
		return -ENOMEM;
	while (t->pending[p] > t->max_pending)
		twin_evict(t, p);
	return 0;
}

/* By its own addresses, or by those put in their place. Return: 1 when neither end is the guest. */
static int take(struct vns_twin *t, const struct vns_packet *p, int64_t time, bool translated)
{
	struct twin_brief b;

	twin_brief(&b, p, 1, t->guest, t->n_guest);
	return b.dir < 0 ? 1 : remember(t, VNS_POINT_A, &b, time, 0, translated);
}

/* A stranger of A: translated on the way, perhaps, or perhaps later known to be. */
__attribute__((noinline)) static int take_stranger(struct vns_twin *t, const struct vns_packet *p,
						   int64_t time, bool again)
{
	struct vns_packet q;
	int ret;

	if (t->nat && (p->verdict == VNS_PKT_OK || p->verdict == VNS_PKT_FRAGMENT)) {
		q = *p;
		if (twin_nat_translate(t, &q, time)) {
			ret = take(t, &q, time, true);
			/* The mapping may be new: those of the flow that waited go on too. */
			if (ret <= 0)
				return ret || again ? ret : twin_release_held(t);
		} else if (!again && twin_nat_hold(t, p, time)) {
			return 0;
		}
	}
	ret = take(t, p, time, false);
	if (ret <= 0)
		return ret;
	t->counts[VNS_POINT_A].in_class[VNS_TWIN_UNDECODABLE]++;
	return 0;
}

int twin_release_held(struct vns_twin *t)
{
	const struct vns_packet *p;
	int64_t time;
	int ret = 0;

	while (!ret && (p = twin_nat_next(t, &time)) != NULL)
		ret = take_stranger(t, p, time, true);
	return ret;
}

/*
 * Passes, since all this is larger than the cache: ask for the slots, for the nodes they name, for the
 * entries these name; when they are worked upon all have arrived.
 */
TWIN_INLINE void fetch(const struct vns_twin *t, enum vns_point p, const struct twin_brief *b,
		       uint32_t *node, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		twin_prefetch_slot(&t->m, b[i].key);
		twin_prefetch_told(&t->m, b[i].key);
	}
	for (size_t i = 0; i < n; i++)
		node[i] = twin_prefetch_node(&t->m, b[i].key);
	for (size_t i = 0; i < n; i++)
		twin_prefetch_entries(&t->m, node[i], is_down(p, &b[i]));
}

/* Without a direction, or in need of another look at the packet itself. */
static int feed_other(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkt, int64_t time)
{
	if (pkt->verdict == VNS_PKT_CUT)
		twin_cut_headers(t, p, time);
	if (p == VNS_POINT_A)
		return take_stranger(t, pkt, time, false);
	t->counts[p].in_class[VNS_TWIN_UNDECODABLE]++;
	return 0;
}

static int feed_chunk(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts,
		      const struct twin_brief *b, size_t n)
{
	const struct twin_epoch *epoch = &t->epoch[p][t->n_epoch[p] - 1];
	uint32_t node[CHUNK];
	int ret = 0;

	fetch(t, p, b, node, n);
	t->counts[p].read += n;
	for (size_t i = 0; i < n && !ret; i++) {
		int64_t time = twin_time_sub(b[i].time_ns, epoch->shift);

		twin_see_time(t, p, time);
		if (unlikely(twin_is_due(t)))
			ret = twin_drain(t);
		if (unlikely(ret))
			break;
		if (unlikely(b[i].dir < 0)) {
			ret = feed_other(t, p, &pkts[i], time);
			continue;
		}
		if (unlikely(t->nat && p == VNS_POINT_B))
			twin_nat_see(t, &pkts[i], time);
		if (unlikely(t->nat_peers && p == VNS_POINT_A) && twin_nat_unsure(t, &pkts[i], time))
			ret = take_stranger(t, &pkts[i], time, false);
		else if (unlikely(time < epoch->from)) /* across a step of the clock: before or after? */
			t->counts[p].in_class[VNS_TWIN_AMBIGUOUS]++;
		else
			ret = remember(t, p, &b[i], time, node[i], false);
	}
	return ret;
}

int twin_feed_briefed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts,
		      const struct twin_brief *briefs, size_t n)
{
	int ret = 0;

	for (size_t at = 0; at < n && !ret; at += CHUNK) {
		/* They come from another core, where they were made: ask for the next chunk's. */
		for (size_t i = at + CHUNK; i < n && i < at + 2 * CHUNK; i++)
			__builtin_prefetch(&briefs[i]);
		ret = feed_chunk(t, p, pkts + at, briefs + at, n - at < CHUNK ? n - at : CHUNK);
	}
	return ret;
}

int vns_twin_feed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts, size_t n)
{
	struct twin_brief b[CHUNK];
	int ret = 0;

	if (p == VNS_POINT_B && t->n_guest == 0)
		t->n_guest = vns_twin_learn_guest(pkts, n, t->guest,
						  sizeof(t->guest) / sizeof(t->guest[0]));
	for (size_t at = 0; at < n && !ret; at += CHUNK) {
		size_t some = n - at < CHUNK ? n - at : CHUNK;

		twin_brief(b, pkts + at, some, t->guest, t->n_guest);
		ret = feed_chunk(t, p, pkts + at, b, some);
	}
	return ret;
}
