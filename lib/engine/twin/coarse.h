/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The coarse offset together with the packets that it follows from.
 *
 * In: stretches of both captures. Out: as vns_twin_coarse_offset(), and the pairs behind it, so that one look
 * tells of all that lies in the stretch.
 */
#ifndef VNS_ENGINE_TWIN_COARSE_H
#define VNS_ENGINE_TWIN_COARSE_H

#include <vnetscope/twin.h>

#define TWIN_EARLIEST 1001 /* pairs that make the median: of a long stretch only its start, clocks drift */

/* Packet @a of the first stretch and @b of the second are one; @diff_ns: its t_B - t_A. */
struct twin_coarse_pair {
	size_t a, b;
	int64_t diff_ns;
};

/*
 * As vns_twin_coarse_offset(), and all pairs in order of A's time to @out, which has room for as many as the shorter
 * stretch has packets (NULL: not wanted); *@n_out of them, whatever is returned (0 with -ENOMEM).
 */
int twin_coarse_pairs(const struct vns_packet *a, size_t n_a, const struct vns_packet *b, size_t n_b,
		      int64_t *offset_ns, size_t *support, struct twin_coarse_pair *out, size_t *n_out);

#endif
