// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which packets are looked at when not all can be: struct vns_packet, N -> yes or no.
 *
 * Capture points must choose the same packets without talking to each other, so the choice is a
 * function of what the packet looks like at all of them (hash-based selection, RFC 5475 section
 * 6.2; trajectory sampling, Duffield and Grossglauser 2001). TCP segments differ between points
 * where offloads cut and join them, so TCP is chosen by connection.
 */
#include "packet/hash.h"

#include <vnetscope/packet.h>

bool vns_packet_sampled(const struct vns_packet *p, uint32_t one_in)
{
	uint16_t a = p->key.port[0], b = p->key.port[1];
	uint64_t h = p->digest;

	if (one_in <= 1)
		return true;
	/* A later fragment has no ports. */
	if (p->proto == VNS_PROTO_TCP && p->verdict == VNS_PKT_OK)
		h = vns_mix2(a < b ? a : b, a < b ? b : a);
	return h <= UINT64_MAX / one_in;
}
