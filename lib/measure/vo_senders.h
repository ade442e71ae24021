/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Senders of multicast and broadcast packets that were at the beginnings of two files.
 */
#ifndef VNS_MEASURE_VO_SENDERS_H
#define VNS_MEASURE_VO_SENDERS_H

#include <vnetscope/measure.h>

/* Of a file's beginning, when the @n_guest addresses of the guest are known (at most those that fit). */
void vo_senders_learn(struct vns_vo_senders *s, const struct vns_packet *pkt, size_t n, const struct vns_addr *guest,
		      size_t n_guest);
#endif
