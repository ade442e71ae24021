/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Are UDP datagrams joined into frames, or cut from them, between two points? Told by the longest datagram of each
 * flow and direction, of those that were chosen: of the others the host knows at its own points only.
 */
#ifndef VNS_MEASURE_VO_UDP_H
#define VNS_MEASURE_VO_UDP_H

#include <vnetscope/packet.h>

#define VO_UDP_FLOWS 1024 /* those with the same place are taken for one */

/* What one point saw; zeroed: nothing. */
struct vo_udp {
	struct {
		uint32_t longest, n; /* payload of the longest datagram; datagrams */
	} flow[VO_UDP_FLOWS];
};

struct vns_sampler;
/* @p: just taken by the point's sampler @s, which is used for it alone */
void vo_udp_see(struct vo_udp *u, struct vns_sampler *s, const struct vns_packet *p);

struct vns_twin_counts;
/*
 * Of a sample, where they are: which datagrams a frame held that was not chosen is not known, so what has no twin is
 * ambiguous in @counts of both points, not missing. Return: what to say of it, or NULL: there are none.
 */
const char *vo_udp_doubt(const struct vo_udp *a, const struct vo_udp *b, struct vns_twin_counts counts[2]);

#endif
