/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The choice of a sample at one capture point, in the order of its packets: what a later fragment cannot tell by
 * itself (its ports, the payload's beginning) its first fragment has told before.
 */
#ifndef VNS_PACKET_SAMPLE_H
#define VNS_PACKET_SAMPLE_H

#include <vnetscope/packet.h>

/*
 * Datagrams whose fragments may be under way to the point at once, chosen or not; of more, some lose their later
 * fragments.
 */
#define VNS_SAMPLER_SLOTS 2048

/*
 * Zeroed: nothing seen yet. @key: of a datagram of which a fragment was seen last at @time_ns; 0: none. @follow: its
 * later fragments are chosen
 */
struct vns_sampler {
	struct {
		uint64_t key;
		int64_t time_ns;
		bool follow;
	} slot[VNS_SAMPLER_SLOTS];
};

/* The datagram that fragment @p is of, at this point; never 0. */
uint64_t vns_fragment_key(const struct vns_packet *p);

/*
 * vns_packet_sampled() of the point's next packet, but a later fragment is chosen where its datagram's first
 * fragment was, within the last second, and was the first of it to come. To be asked of every packet, in capture order.
 */
bool vns_sampler_takes(struct vns_sampler *s, const struct vns_packet *p, uint32_t one_in);

#endif
