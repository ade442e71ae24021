/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets and round trips that a capture holds more than once, since it was made at several interfaces of one host.
 */
#ifndef VNS_MEASURE_RTT_AGAIN_H
#define VNS_MEASURE_RTT_AGAIN_H

#include <vnetscope/rtt.h>

struct vns_again;

/* Return: NULL without memory. */
struct vns_again *vns_again_new(void);
void vns_again_free(struct vns_again *a);
/* Whether the same packet passed another point within the last second. In capture order. */
bool vns_again_packet(struct vns_again *a, const struct vns_packet *p);
/*
 * Whether @s, of @point, is a round trip that another point has shown: its answer passed there a short while ago.
 * In the order of the answers.
 */
bool vns_again_sample(struct vns_again *a, uint16_t point, const struct vns_rtt_sample *s);

/*
 * Of a capture with one point: how many of the first segments passed before, byte for byte as far as headers
 * tell, within a time in which none is sent anew.
 */
struct vns_copies {
	uint64_t looked, found;
};
void vns_again_look(struct vns_again *a, struct vns_copies *c, const struct vns_packet *p, size_t n);
#define VNS_AGAIN_LOOK 16384 /* segments: a thousandth of a second of work */

#endif
