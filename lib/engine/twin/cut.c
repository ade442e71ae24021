// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a short snap length does to pairing: packets without a twin -> cut, or missing?
 *
 * Captures keep different amounts of the same packet: a tunnel or a VLAN tag at one point pushes the rest of
 * it out. Then its identity is another at each point (fewer payload bytes in the digest, no
 * timestamps in that of a TCP acknowledgement), or there is none (the headers themselves are cut).
 * That it found no twin says nothing of whether it was there. So
 *   - a packet whose identity is cut, of a flow whose packets are not at the other point, is cut
 *     (counted as undecodable), and
 *   - one whose identity is whole, of a flow that is cut at the other point only, or near in time to packets there
 *     of which not even the flow is known, is ambiguous: one of those may be its twin.
 * Where both points cut alike, identities agree as ever, and what is missing is missing.
 */
#include "engine/twin/twin_int.h"

static uint32_t *place(const struct vns_twin *t, enum vns_point p, uint64_t flow)
{
	return &t->pieces->cut_flow[p][(flow >> 32) % TWIN_CUT_FLOWS];
}

static bool flow_is_cut(const struct vns_twin *t, enum vns_point p, uint64_t flow)
{
	return *place(t, p, flow) == ((uint32_t)flow | 1);
}

void twin_cut_flow(struct vns_twin *t, enum vns_point p, struct twin_entry *e)
{
	e->flags |= E_CUT;
	*place(t, p, e->flow_hash) = (uint32_t)e->flow_hash | 1;
}

void twin_cut_headers(struct vns_twin *t, enum vns_point p, int64_t time)
{
	t->pieces->cut_at[p] = time;
}

/* In a sample a first fragment decides for the later ones: what was lost between the points may be just that one. */
static bool follows_another(const struct vns_twin *t, const struct twin_entry *e)
{
	return t->sampled && t->m.node[e->node].kind == TWIN_UNIT && e->tsval >> 16 == PIECE_LATER;
}

/*
 * May A hold its twin as a stranger? So it may the pieces of a frame of many datagrams (UDP GSO), and of a sample
 * what too little was chosen of its flow to learn the translation from; of TCP all of the connection is chosen.
 */
static bool may_be_strangers(const struct vns_twin *t, const struct twin_entry *e)
{
	uint8_t proto = t->m.node[e->node].proto;

	if (!t->nat || proto == VNS_PROTO_TCP || twin_nat_knows(t->nat, e->flow_hash))
		return false;
	return t->sampled || (proto == VNS_PROTO_UDP && e->len > TWIN_LONGEST);
}

enum vns_twin_class twin_cut_class(const struct vns_twin *t, enum vns_point p,
				   const struct twin_entry *e)
{
	bool here = flow_is_cut(t, p, e->flow_hash), there = flow_is_cut(t, !p, e->flow_hash);
	int64_t cut = t->pieces->cut_at[!p], time = p == VNS_POINT_A ? e->time + t->ahead :
								       e->time - t->ahead;

	if (e->flags & E_CUT && !there)
		return VNS_TWIN_UNDECODABLE;
	if (there && !here && t->m.node[e->node].kind == TWIN_UNIT)
		return VNS_TWIN_AMBIGUOUS;
	if (follows_another(t, e))
		return VNS_TWIN_AMBIGUOUS;
	if (cut != INT64_MIN && time - cut <= t->window && cut - time <= t->window)
		return VNS_TWIN_AMBIGUOUS;
	if (p == VNS_POINT_B && may_be_strangers(t, e))
		return VNS_TWIN_AMBIGUOUS;
	return VNS_TWIN_MISSING;
}
