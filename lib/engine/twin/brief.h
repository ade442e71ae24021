/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a packet is to the twin engine, told by the packet and the guest's addresses alone.
 *
 * In: decoded packets. Out: one cache line for each, all that the engine reads of nearly every packet
 * (NAT and packets without a direction want the packet itself).
 *
 * Theory. Nothing of it depends on the packets before, so it may be made ahead, and by another thread
 * than the engine's: pairing is one thread's work and what a pipeline waits for. Then the packets
 * stay in that other core's cache, and half as much comes over.
 */
#ifndef VNS_ENGINE_TWIN_BRIEF_H
#define VNS_ENGINE_TWIN_BRIEF_H

#include <vnetscope/twin.h>

/* struct twin_brief.what */
#define BRIEF_RANGE 0x01 /* takes sequence space: a node of kind RANGE */
#define BRIEF_NO_ID 0x02 /* of IP */
#define BRIEF_SHORT 0x04 /* the snap length left less of it than its identity wants */

/*
 * @key:       of its node
 * @time_ns:   its stamp
 * @flow_hash, @first, @last, @seq, @len, @tsval, @ip_id, @flags: of its entry (twin_int.h), in its order
 * @proto:     enum vns_proto of its node
 * @dir:       enum vns_direction; -1: neither to nor from the guest, or not decodable
 */
struct twin_brief {
	uint64_t key;
	int64_t time_ns;
	uint64_t flow_hash;
	int64_t first, last;
	uint32_t seq, len;
	uint32_t tsval;
	uint32_t ip_id;
	uint16_t flags;
	uint8_t proto, what;
	int8_t dir;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct twin_brief) == 64, "one cache line");

/*
 * Of @n packets. @guest: the addresses that the engine was made with; none, and no packet has a direction but
 * what is flooded. An engine that is to learn them must make its briefs itself.
 */
void twin_brief(struct twin_brief *out, const struct vns_packet *pkts, size_t n,
		const struct vns_addr *guest, size_t n_guest);
/* vns_twin_feed() of packets of which @briefs were made. */
int twin_feed_briefed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts,
		      const struct twin_brief *briefs, size_t n);

#endif
