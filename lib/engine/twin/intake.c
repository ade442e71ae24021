// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Intake: what a packet is to the engine, and its place in memory.
 *
 * In: decoded packets of one point. Out: for each an entry of a node and of a queue; or a class at
 * once, for what has no direction (undecodable), came across a step of its clock or in too great
 * a disorder (ambiguous). With NAT, strangers of A may wait until B shows what became of them
 * (nat.c).
 *
 * Theory. The key finds the node: of TCP with sequence space the flow direction, of all else the
 * identity. A known node of the first kind has the direction too. Else the guest's addresses tell
 * it; point and direction tell the side. Packets are worked upon in chunks, in passes that fetch
 * what the next pass needs: one packet after the other would wait for memory at each step. Before a
 * packet goes in, what its stamp makes due is looked at (twin.c): so what an entry is held against
 * does not depend on how many packets come in one call.
 */
#include <string.h>

#include "engine/twin/intake.h"

#define FEW_GUESTS 8  /* addresses that are compared with all */
#define CHUNK      32 /* packets whose nodes are fetched ahead together */

bool twin_is_guest(const struct vns_twin *t, const struct vns_addr *a)
{
	for (size_t i = 0; i < t->n_guest; i++)
		if (memcmp(a, &t->guest[i], sizeof(*a)) == 0)
			return true;
	return false;
}

/* Bits: is endpoint 0, is endpoint 1 of @p the guest? Which it is, is a coin toss: no branch. */
TWIN_INLINE unsigned int guest_ends(const struct vns_twin *t, const struct vns_packet *p)
{
	uint64_t end[4], guest[2];
	unsigned int ends = 0;

	if (unlikely(t->n_guest > FEW_GUESTS))
		return twin_is_guest(t, &p->key.addr[0]) |
		       (unsigned int)twin_is_guest(t, &p->key.addr[1]) << 1;
	memcpy(end, p->key.addr, sizeof(end));
	for (size_t i = 0; i < t->n_guest; i++) {
		memcpy(guest, &t->guest[i], sizeof(guest));
		ends |= !((end[0] ^ guest[0]) | (end[1] ^ guest[1]));
		ends |= (unsigned int)!((end[2] ^ guest[0]) | (end[3] ^ guest[1])) << 1;
	}
	return ends;
}

/* Return: enum vns_direction, or -1 when the packet is neither to nor from the guest. */
TWIN_INLINE int direction_of(const struct vns_twin *t, const struct vns_packet *p)
{
	unsigned int ends = guest_ends(t, p);

	_Static_assert(VNS_GUEST_TO_HOST == 1 && VNS_HOST_TO_GUEST == 0, "what the source's bit says");
	if (likely(ends))
		return ends >> p->dir & 1;
	/* Flooded to the guest too; a sender without an address could be the guest itself. */
	if ((p->flags & VNS_PKT_F_MULTICAST) && !twin_is_unspecified(vns_packet_src(p)))
		return VNS_HOST_TO_GUEST;
	return -1;
}

/* What a packet is to the engine, before it is remembered. */
struct intake {
	uint64_t key;
	int64_t time;
	uint32_t node; /* probably @key's; 0: unknown */
	int8_t dir;    /* enum vns_direction; -1: undecodable */
	bool range, decoded;
	bool translated; /* its addresses were changed to those at the other point */
};

TWIN_INLINE void identify(struct intake *in, const struct vns_packet *p)
{
	uint64_t id;

	in->translated = false;
	in->decoded = p->verdict == VNS_PKT_OK || p->verdict == VNS_PKT_FRAGMENT;
	in->range = p->verdict == VNS_PKT_OK && p->proto == VNS_PROTO_TCP &&
		    !(p->flags & VNS_PKT_F_FIRST_FRAG) && !(p->tcp_flags & VNS_TCP_RST) &&
		    (p->payload_len || (p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_FIN)));
	id = in->range ? p->flow_hash + p->dir : twin_identity(p);
	/* Spread into the upper half, which the table uses (multiplier: golden ratio * 2^64). */
	id *= UINT64_C(0x9e3779b97f4a7c15);
	in->key = (id ^ id >> 32) * UINT64_C(0x9e3779b97f4a7c15) + in->range;
}

/* Direction; from the addresses, or as that of the packets of the same flow direction. */
TWIN_INLINE void orient(const struct vns_twin *t, struct intake *in, const struct vns_packet *p)
{
	const struct twin_node *node = &t->m.node[in->node];

	if (!twin_is_node_of(&t->m, in->node, in->key))
		in->node = 0;
	else if (likely(in->range && !node->repeated && !(p->flags & VNS_PKT_F_MULTICAST))) {
		in->dir = (int8_t)node->direction;
		return;
	}
	in->dir = in->decoded ? (int8_t)direction_of(t, p) : -1;
}

/* Bits of @from that are @bit become @to: one shift, since both are single bits. */
#define MOVE_BIT(from, bit, to) (((from) & (bit)) * 1u / (bit) * (to))

/*
 * What tells packets of one identity, or copies of the same bytes, apart: the IP ID; of TCP without one what
 * the sender had heard by then (acknowledgement, TSecr, SACK block), which a retransmission within one
 * tick of TSval, and each of the duplicate ACKs of a loss, often has of its own. Segmentation hands these on
 * as they are, and joins only what agrees in them.
 */
TWIN_INLINE uint32_t telling_id(const struct vns_packet *p, bool range)
{
	uint32_t heard = 0;

	/* an IPv6 fragment's has 32 bits; one less tells as well */
	if (likely(p->ip_id || p->proto != VNS_PROTO_TCP || p->flags & VNS_PKT_F_OPTS_CUT))
		return p->ip_id & ~TWIN_WEAK_ID;
	if (range)
		heard = (p->ack * 0x9e3779b1u) ^ (p->tsecr * 0x85ebca6bu);
	if (p->flags & VNS_PKT_F_HAS_SACK)
		heard += (p->sack_left * 0x9e3779b1u ^ p->sack_right) * 0xc2b2ae35u;
	return heard | TWIN_WEAK_ID;
}

TWIN_INLINE void fill(struct twin_entry *e, const struct vns_packet *p, const struct intake *in,
		      bool down, uint32_t node)
{
	unsigned int syn = !!(p->tcp_flags & VNS_TCP_SYN), fin = p->tcp_flags & VNS_TCP_FIN;
	unsigned int flags = syn * E_CTRL_SYN | fin * E_CTRL_FIN |
			     MOVE_BIT(p->flags, VNS_PKT_F_HAS_TS, E_TS) |
			     MOVE_BIT(p->flags, VNS_PKT_F_OPTS_CUT, E_TS_CUT);
	bool range = in->range;

	e->time = in->time;
	e->flow_hash = p->flow_hash;
	e->first = e->last = 0;
	e->seq = range ? p->seq : 0;
	e->len = p->payload_len + (range ? syn + fin : 0);
	e->tsval = range ? p->tsval : 0;
	e->ip_id = telling_id(p, range);
	e->prev = e->next = 0;
	e->node = node;
	e->flags = (uint16_t)((range ? flags : 0) | (down ? E_DOWN : 0));
	e->n_first = e->n_last = 0;
}

static uint8_t proto_of(const struct vns_packet *p)
{
	if (p->proto != VNS_PROTO_NONE)
		return p->proto;
	switch (p->key.ipproto) { /* later fragments */
	case 6:
		return VNS_PROTO_TCP;
	case 17:
		return VNS_PROTO_UDP;
	case 1:
	case 58:
		return VNS_PROTO_ICMP;
	}
	return VNS_PROTO_NONE;
}

/* Is it downstream? */
TWIN_INLINE bool is_down(enum vns_point p, const struct intake *in)
{
	return (p == VNS_POINT_A) == (in->dir == VNS_GUEST_TO_HOST);
}

TWIN_INLINE int remember(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkt,
			 const struct intake *in)
{
	uint32_t e = twin_entry_new(&t->m), n = in->node;
	struct twin_node *node;

	if (!twin_is_node_of(&t->m, n, in->key))
		n = e ? twin_node_get(&t->m, in->key) : 0;
	if (!n || !e)
		return -ENOMEM;
	node = &t->m.node[n];
	if (node->refs == 0) {
		node->kind = in->range ? TWIN_RANGE : TWIN_UNIT;
		node->direction = (uint8_t)in->dir;
		node->proto = proto_of(pkt);
		if (in->range)
			node->repeated = pkt->flags & VNS_PKT_F_MULTICAST;
		else if (!pkt->ip_id)
			node->repeated = twin_told_before(&t->m, in->key);
	}
	node->translated |= in->translated;
	node->refs++;
	t->counts[p].by_direction[in->dir]++;
	fill(&t->m.entry[e], pkt, in, is_down(p, in), n);
	if (!in->range) {
		if (pkt->proto == VNS_PROTO_UDP || pkt->proto == VNS_PROTO_ICMP)
			twin_pieces_note(&t->m.entry[e], pkt);
		if (unlikely(pkt->flags & VNS_PKT_F_DIGEST_SHORT))
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
	if (twin_queue_push(&t->queue[p][in->dir][STAGE_SETTLE], e))
		return -ENOMEM;
	while (t->pending[p] > t->max_pending)
		twin_evict(t, p);
	return 0;
}

/* As it is: the guest's by its addresses, or nobody's. */
static int take_untranslated(struct vns_twin *t, const struct vns_packet *p, int64_t time)
{
	struct intake in = { .time = time };

	identify(&in, p);
	orient(t, &in, p);
	if (in.dir >= 0)
		return remember(t, VNS_POINT_A, p, &in);
	t->counts[VNS_POINT_A].in_class[VNS_TWIN_UNDECODABLE]++;
	return 0;
}

/* A stranger of A: translated on the way, perhaps, or perhaps later known to be. */
__attribute__((noinline)) static int take_stranger(struct vns_twin *t, const struct vns_packet *p,
						   int64_t time, bool again)
{
	struct vns_packet q;
	struct intake in = { .time = time };

	if (t->nat && (p->verdict == VNS_PKT_OK || p->verdict == VNS_PKT_FRAGMENT)) {
		q = *p;
		if (twin_nat_translate(t, &q, time)) {
			identify(&in, &q);
			in.translated = true;
			orient(t, &in, &q);
			if (in.dir >= 0) {
				int ret = remember(t, VNS_POINT_A, &q, &in);

				/* The mapping may be new: those of the flow that waited go on too. */
				return ret || again ? ret : twin_release_held(t);
			}
		} else if (!again && twin_nat_hold(t, p, time)) {
			return 0;
		}
	}
	return take_untranslated(t, p, time);
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
 * What @pkts are. Passes, since all this is larger than the cache: ask for the slots, for the nodes they
 * name, for the entries these name; when they are worked upon all have arrived.
 */
TWIN_INLINE void take_in(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts,
			 struct intake *in, size_t n)
{
	int64_t shift = t->epoch[p][t->n_epoch[p] - 1].shift;

	for (size_t i = 0; i < n; i++) {
		in[i].time = twin_time_sub(pkts[i].time_ns, shift);
		identify(&in[i], &pkts[i]);
		twin_prefetch_slot(&t->m, in[i].key);
	}
	for (size_t i = 0; i < n; i++)
		in[i].node = twin_prefetch_node(&t->m, in[i].key);
	for (size_t i = 0; i < n; i++) {
		orient(t, &in[i], &pkts[i]);
		twin_prefetch_entries(&t->m, in[i].node, is_down(p, &in[i]));
	}
	t->counts[p].read += n;
}

static int feed_chunk(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts,
		      size_t n)
{
	const struct twin_epoch *epoch = &t->epoch[p][t->n_epoch[p] - 1];
	struct intake in[CHUNK];
	int ret = 0;

	take_in(t, p, pkts, in, n);
	for (size_t i = 0; i < n && !ret; i++) {
		twin_see_time(t, p, in[i].time);
		if (unlikely(twin_is_due(t)))
			ret = twin_drain(t);
		if (unlikely(ret))
			break;
		if (unlikely(in[i].dir < 0)) {
			if (pkts[i].verdict == VNS_PKT_CUT)
				twin_cut_headers(t, p, in[i].time);
			if (p == VNS_POINT_A)
				ret = take_stranger(t, &pkts[i], in[i].time, false);
			else
				t->counts[p].in_class[VNS_TWIN_UNDECODABLE]++;
			continue;
		}
		if (unlikely(t->nat && p == VNS_POINT_B))
			twin_nat_see(t, &pkts[i], in[i].time);
		if (unlikely(t->nat_peers && p == VNS_POINT_A) &&
		    twin_nat_unsure(t, &pkts[i], in[i].time)) {
			ret = take_stranger(t, &pkts[i], in[i].time, false);
			continue;
		}
		if (unlikely(in[i].time < epoch->from)) /* across a step of the clock: before or after? */
			t->counts[p].in_class[VNS_TWIN_AMBIGUOUS]++;
		else
			ret = remember(t, p, &pkts[i], &in[i]);
	}
	return ret;
}

int vns_twin_feed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts, size_t n)
{
	if (p == VNS_POINT_B && t->n_guest == 0)
		t->n_guest = vns_twin_learn_guest(pkts, n, t->guest,
						  sizeof(t->guest) / sizeof(t->guest[0]));
	for (size_t at = 0; at < n; at += CHUNK) {
		int ret = feed_chunk(t, p, pkts + at, n - at < CHUNK ? n - at : CHUNK);

		if (ret)
			return ret;
	}
	return 0;
}
