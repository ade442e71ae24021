// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets of two points -> does one of them see UDP datagrams in frames (UDP_SEGMENT, UDP_GRO) that the other sees
 * one by one? And what that means for the books of a sample.
 *
 * A point that has longer datagrams of a flow than the other has them joined; what it has whole and the other in IP
 * fragments is as long at both when the fragments' ends count (RFC 791 section 3.2). Flows are told by their ports,
 * not by addresses, which NAT may change. Lengths may be of datagrams that one point did not see at all, so they
 * count only where the engine found packets in pieces.
 */
#include <vnetscope/twin.h>

#include "measure/vo_udp.h"
#include "packet/sample.h"

#define ENOUGH 16 /* datagrams, so that loss alone does not leave only short ones */
#define HEADER 8  /* of UDP: the first fragment holds it */

static void longest(struct vo_udp *u, size_t flow, uint32_t len)
{
	if (len > u->flow[flow].longest)
		u->flow[flow].longest = len;
}

void vo_udp_see(struct vo_udp *u, struct vns_sampler *s, const struct vns_packet *p)
{
	uint32_t low = p->key.port[p->key.port[0] > p->key.port[1]];
	size_t flow = (low * 31 + p->key.port[0] + p->key.port[1] + 7u * p->dir) % VO_UDP_FLOWS;

	if (p->proto != VNS_PROTO_UDP || (p->verdict != VNS_PKT_OK && p->verdict != VNS_PKT_FRAGMENT))
		return;
	if (p->flags & VNS_PKT_F_LATER_FRAG) {
		uint64_t end = (uint64_t)p->frag_off + p->payload_len;

		if (end > HEADER && end <= UINT16_MAX)
			longest(u, *vns_sampler_mark(s, p), (uint32_t)end - HEADER);
		return;
	}
	u->flow[flow].n++;
	longest(u, flow, p->payload_len);
	if (p->flags & VNS_PKT_F_FIRST_FRAG)
		*vns_sampler_mark(s, p) = (uint16_t)flow;
}

/* Longer by so much that loss of the longest does not explain it. */
static bool in_pieces(const struct vo_udp *a, const struct vo_udp *b)
{
	for (size_t i = 0; i < VO_UDP_FLOWS; i++) {
		bool a_cuts = a->flow[i].longest < b->flow[i].longest;
		const struct vo_udp *cut = a_cuts ? a : b, *whole = a_cuts ? b : a;

		if (whole->flow[i].n && cut->flow[i].n >= ENOUGH &&
		    2 * (uint64_t)whole->flow[i].longest > 3 * (uint64_t)cut->flow[i].longest)
			return true;
	}
	return false;
}

const char *vo_udp_doubt(const struct vo_udp *a, const struct vo_udp *b, struct vns_twin_counts counts[2])
{
	/* Lengths alone may differ by loss, or by what one capture saw before the other began. */
	if ((!counts[0].wholes && !counts[1].wholes) || !in_pieces(a, b))
		return NULL;
	for (int p = 0; p < 2; p++) {
		uint64_t *udp = &counts[p].missing_by_proto[VNS_PROTO_UDP];

		counts[p].in_class[VNS_TWIN_MISSING] -= *udp;
		counts[p].in_class[VNS_TWIN_AMBIGUOUS] += *udp;
		*udp = 0;
	}
	return "UDP datagrams are joined or cut between the points (offloads): a frame of many is chosen and paired by "
	       "its first datagram, and UDP packets without a twin (the frames' other datagrams among them) are "
	       "ambiguous, not missing.";
}
