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
 * later fragments are chosen; @mark: see vns_sampler_mark()
 */
struct vns_sampler {
	struct {
		uint64_t key;
		int64_t time_ns;
		bool follow;
		uint16_t mark;
	} slot[VNS_SAMPLER_SLOTS];
};

/*
 * vns_packet_sampled() of the point's next packet, but a later fragment is chosen where its datagram's first
 * fragment was, within the last second, and was the first of it to come. To be asked of every packet, in capture order.
 */
bool vns_sampler_takes(struct vns_sampler *s, const struct vns_packet *p, uint32_t one_in);

/*
 * What the asker remembers of the datagram that fragment @p is of, which was just taken with @one_in above 1; 0: nothing
 * yet. Until @s is asked of its next packet.
 */
uint16_t *vns_sampler_mark(struct vns_sampler *s, const struct vns_packet *p);

#endif
