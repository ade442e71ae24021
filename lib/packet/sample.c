// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which packets are looked at when not all can be: struct vns_packet, N -> yes or no.
 *
 * Capture points must choose the same packets without talking to each other, so the choice is a
 * function of what the packet looks like at all of them (hash-based selection, RFC 5475 section
 * 6.2; trajectory sampling, Duffield and Grossglauser 2001). TCP segments differ between points
 * where offloads cut and join them, so TCP is chosen by connection: by the client's port alone where
 * it can be told from the server's, since a port forwarded by NAT is another one behind it.
 */
#include "packet/hash.h"

#include <vnetscope/packet.h>

#define EPHEMERAL 32768 /* clients' ports begin here (Linux ip_local_port_range; IANA: 49152), services' end */

/* What a connection is chosen by. */
static uint64_t connection(uint16_t low, uint16_t high)
{
	return low < EPHEMERAL && high >= EPHEMERAL ? vns_mix2(high, high) : vns_mix2(low, high);
}

bool vns_packet_sampled(const struct vns_packet *p, uint32_t one_in)
{
	uint16_t a = p->key.port[0], b = p->key.port[1];
	uint64_t h = p->digest;

	if (one_in <= 1)
		return true;
	/* A later fragment has no ports. */
	if (p->proto == VNS_PROTO_TCP && p->verdict == VNS_PKT_OK)
		h = connection(a < b ? a : b, a < b ? b : a);
	return h <= UINT64_MAX / one_in;
}
