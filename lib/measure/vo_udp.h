/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Are UDP datagrams joined into frames, or cut from them, between two points? Told by the longest datagram of each
 * flow and direction, whatever was chosen of them.
 */
#ifndef VNS_MEASURE_VO_UDP_H
#define VNS_MEASURE_VO_UDP_H

#include <vnetscope/packet.h>

#define VO_UDP_FLOWS     1024 /* those with the same place are taken for one */
#define VO_UDP_FRAGMENTS 256  /* datagrams in fragments whose flow is remembered */

/* What one point saw; zeroed: nothing. */
struct vo_udp {
	struct {
		uint32_t longest, n; /* payload of the longest datagram; datagrams */
	} flow[VO_UDP_FLOWS];
	struct {
		uint64_t key; /* vns_fragment_key(); 0: none */
		size_t flow;
	} fragment[VO_UDP_FRAGMENTS];
};

void vo_udp_see(struct vo_udp *u, const struct vns_packet *p);
bool vo_udp_in_pieces(const struct vo_udp *a, const struct vo_udp *b);

struct vns_twin_counts;
/*
 * Of a sample, where they are: which datagrams a frame held that was not chosen is not known, so what has no twin is
 * ambiguous in @counts of both points, not missing. Return: what to say of it, or NULL: there are none.
 */
const char *vo_udp_doubt(const struct vo_udp *a, const struct vo_udp *b, struct vns_twin_counts counts[2]);

#endif
