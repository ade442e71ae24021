// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Keys of flows that were pushed out -> whether one that begins was among them. Layout and limits in
 * gone.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "engine/rtt/gone.h"

#define WAYS  16u
#define LEAST 1024u          /* tags: 4 KiB */
#define MOST  (UINT32_C(1) << 20)

static size_t bytes_of(const struct vns_gone *g)
{
	return ((size_t)g->mask + 1) * sizeof(*g->bucket);
}

static bool make(struct vns_gone *g, uint32_t flows)
{
	uint32_t tags = LEAST;

	while (tags < flows && tags < MOST)
		tags *= 2;
	g->mask = tags / WAYS - 1;
	g->bucket = calloc(tags / WAYS, sizeof(*g->bucket));
	vns_held_change(0, g->bucket ? bytes_of(g) : 0);
	return g->bucket;
}

static uint32_t *bucket_of(const struct vns_gone *g, const struct vns_flow_key *key, uint32_t *tag)
{
	uint64_t hash = vns_flow_key_hash(key);

	*tag = (uint32_t)(hash >> 32) | !(hash >> 32);
	return g->bucket[hash & g->mask];
}

void vns_gone_add(struct vns_gone *g, const struct vns_flow_key *key, uint32_t flows)
{
	uint32_t tag, *b;

	if (!g->bucket && !make(g, flows))
		return;
	b = bucket_of(g, key, &tag);
	memmove(b + 1, b, (WAYS - 1) * sizeof(*b));
	b[0] = tag;
}

bool vns_gone_take(struct vns_gone *g, const struct vns_flow_key *key)
{
	uint32_t tag, *b;

	if (!g->bucket)
		return false;
	b = bucket_of(g, key, &tag);
	for (uint32_t i = 0; i < WAYS; i++) {
		if (b[i] != tag)
			continue;
		memmove(b + i, b + i + 1, (WAYS - 1 - i) * sizeof(*b));
		b[WAYS - 1] = 0;
		return true;
	}
	return false;
}

void vns_gone_fini(struct vns_gone *g)
{
	if (g->bucket)
		vns_held_change(bytes_of(g), 0);
	free(g->bucket);
	*g = (struct vns_gone){ 0 };
}
