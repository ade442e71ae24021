/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flows that a full table pushed out, to know one that comes back: what it was is lost, so it is counted
 * as a flow once more.
 *
 * Buckets of sixteen 32-bit tags (one cache line) of the key's 64-bit hash, made at the first eviction with as
 * many tags as the table had flows (LEAST to MOST): a tag that finds its bucket full takes the place of the
 * oldest in it, so some are forgotten and the count is "at least"; that a stranger is taken for a known
 * flow happens once in 2^28 looks.
 */
#ifndef VNS_ENGINE_RTT_GONE_H
#define VNS_ENGINE_RTT_GONE_H

#include <vnetscope/packet.h>

struct vns_gone {
	uint32_t (*bucket)[16]; /* NULL: none was pushed out; newest first, 0: free */
	uint32_t mask;
};

/* @key was pushed out of a table of @flows. Without memory nothing is remembered. */
void vns_gone_add(struct vns_gone *g, const struct vns_flow_key *key, uint32_t flows);
/* A flow begins. Return: whether it was pushed out before; it is forgotten then. */
bool vns_gone_take(struct vns_gone *g, const struct vns_flow_key *key);
void vns_gone_fini(struct vns_gone *g);

#endif
