/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets of a source, read and decoded ahead of the one who uses them, by a helper thread.
 *
 * The calls on the source are those that its user would have made, in the same order and with the
 * same batches, so what is made of them does not depend on whether somebody read ahead. Reading and
 * decoding are about half of what an engine costs; a second helper would find nothing to do.
 */
#ifndef VNS_MEASURE_AHEAD_H
#define VNS_MEASURE_AHEAD_H

#include <vnetscope/source.h>

struct vns_ahead;

/*
 * @s is borrowed; until vns_ahead_free() nobody else may use it. @batch: packets at most that one
 * vns_ahead_next() gives. Where no thread can be had the caller reads for itself.
 * Return: 0, or -ENOMEM with @err.
 */
int vns_ahead_new(struct vns_ahead **out, struct vns_source *s, size_t batch, struct vns_err *err);
/* As vns_source_next(), with the packets in *@pkts: borrowed until the next call, may be changed. */
int vns_ahead_next(struct vns_ahead *a, struct vns_packet **pkts, struct vns_err *err);
/* vns_one_point() of what vns_ahead_next() gave last. */
bool vns_ahead_one_point(const struct vns_ahead *a);
void vns_ahead_free(struct vns_ahead *a);

/* Are all @n (>= 1) packets of one capture point? */
static inline bool vns_one_point(const struct vns_packet *pkts, size_t n)
{
	size_t same = 1;

	while (same < n && pkts[same].point == pkts[0].point)
		same++;
	return same == n;
}

#endif
