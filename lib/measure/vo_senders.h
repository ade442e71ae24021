/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Senders of multicast and broadcast packets that were at the beginnings of two files.
 */
#ifndef VNS_MEASURE_VO_SENDERS_H
#define VNS_MEASURE_VO_SENDERS_H

#include <vnetscope/packet.h>

#define VO_SENDERS 256
#define VO_SENDERS_GUEST 64

/* Zeroed: none. @known: not the guest's. @many: more than fit, so that a later one may have been there */
struct vo_senders {
	struct vns_addr known[VO_SENDERS], guest[VO_SENDERS_GUEST];
	size_t n_known, n_guest;
	bool many;
};

/* Of a file's beginning, when the @n_guest addresses of the guest are known (at most VO_SENDERS_GUEST). */
void vo_senders_learn(struct vo_senders *s, const struct vns_packet *pkt, size_t n, const struct vns_addr *guest,
		      size_t n_guest);
/* Make those of senders that are not known neither end's. Return: their number. */
uint64_t vo_senders_filter(const struct vo_senders *s, struct vns_packet *pkt, size_t n);

#endif
