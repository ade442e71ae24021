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
	if (cut != INT64_MIN && time - cut <= t->window && cut - time <= t->window)
		return VNS_TWIN_AMBIGUOUS;
	/* A may hold the pieces of a frame of many datagrams (UDP GSO) as strangers. */
	if (t->nat && p == VNS_POINT_B && t->m.node[e->node].proto == VNS_PROTO_UDP &&
	    e->len > TWIN_LONGEST && !twin_nat_knows(t->nat, e->flow_hash))
		return VNS_TWIN_AMBIGUOUS;
	return VNS_TWIN_MISSING;
}
