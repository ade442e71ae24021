// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory of the twin engine: entries, nodes, the hash table over nodes, queues.
 *
 * Entries and nodes are flat arrays of one cache line per element. Their address space is
 * reserved for the limit at once and becomes memory only where it is touched; freed elements are
 * used again first (last in, first out), so the memory in use is the highest number that ever
 * waited together. Indices stay valid and nothing moves.
 *
 * The hash table has open addressing with linear probing and backward-shift deletion (Knuth,
 * TAOCP vol. 3, 6.4, algorithm R): no tombstones, so it does not decay in a long run. A slot keeps
 * the upper 32 bits of the key, which give the position too: growing and
 * deleting never look at the nodes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"
#include "engine/twin/twin_int.h"

#define FIRST_SLOTS 4096u
#define FIRST_QUEUE 1024u

int twin_memory_init(struct twin_memory *m, size_t max_entries)
{
	memset(m, 0, sizeof(*m));
	m->max_entries = (uint32_t)max_entries;
	m->entry = vns_reserve(max_entries + 1, sizeof(*m->entry));
	m->node = vns_reserve(max_entries + 1, sizeof(*m->node));
	m->slot = vns_reserve(FIRST_SLOTS, sizeof(*m->slot));
	m->told = calloc(TWIN_TOLD, sizeof(*m->told));
	m->slot_mask = FIRST_SLOTS - 1;
	m->entry_top = m->node_top = 1; /* index 0 means none */
	if (!m->entry || !m->node || !m->slot || !m->told) {
		twin_memory_fini(m);
		return -ENOMEM;
	}
	return 0;
}

void twin_memory_fini(struct twin_memory *m)
{
	vns_unreserve(m->entry);
	vns_unreserve(m->node);
	vns_unreserve(m->slot);
	free(m->told);
	memset(m, 0, sizeof(*m));
}

bool twin_told_before(struct twin_memory *m, uint64_t key)
{
	uint32_t *told = &m->told[(key >> 32) % TWIN_TOLD], tag = (uint32_t)key | 1;
	bool before = *told == tag;

	*told = tag;
	return before;
}

static int grow_table(struct twin_memory *m)
{
	uint32_t mask = 2 * m->slot_mask + 1;
	struct twin_slot *bigger = vns_reserve((size_t)mask + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	for (uint32_t i = 0; i <= m->slot_mask; i++) {
		uint32_t at = m->slot[i].tag & mask;

		if (!m->slot[i].node)
			continue;
		while (bigger[at].node)
			at = (at + 1) & mask;
		bigger[at] = m->slot[i];
	}
	vns_unreserve(m->slot);
	m->slot = bigger;
	m->slot_mask = mask;
	return 0;
}

static uint32_t take_node(struct twin_memory *m)
{
	uint32_t n = m->node_free;

	if (n)
		m->node_free = m->node[n].refs;
	else if (m->node_top <= m->max_entries)
		n = m->node_top++;
	return n;
}

uint32_t twin_node_get(struct twin_memory *m, uint64_t key)
{
	uint32_t tag = (uint32_t)(key >> 32), at = tag & m->slot_mask, n;

	for (; m->slot[at].node; at = (at + 1) & m->slot_mask)
		if (m->slot[at].tag == tag && m->node[m->slot[at].node].key == key)
			return m->slot[at].node;
	/* At most half full: probes stay short. */
	if (2 * (m->n_nodes + 1) > m->slot_mask) {
		if (grow_table(m))
			return 0;
		for (at = tag & m->slot_mask; m->slot[at].node; at = (at + 1) & m->slot_mask)
			;
	}
	n = take_node(m);
	if (!n)
		return 0;
	m->node[n] = (struct twin_node){ .key = key };
	m->slot[at] = (struct twin_slot){ tag, n };
	m->n_nodes++;
	return n;
}

void twin_node_free(struct twin_memory *m, uint32_t node)
{
	uint32_t at = (uint32_t)(m->node[node].key >> 32) & m->slot_mask;

	while (m->slot[at].node != node)
		at = (at + 1) & m->slot_mask;
	for (uint32_t next = (at + 1) & m->slot_mask; m->slot[next].node;
	     next = (next + 1) & m->slot_mask) {
		uint32_t home = m->slot[next].tag & m->slot_mask;

		/* Move back what would not be found any more across the hole. */
		if (((next - home) & m->slot_mask) >= ((next - at) & m->slot_mask)) {
			m->slot[at] = m->slot[next];
			at = next;
		}
	}
	m->slot[at].node = 0;
	m->node[node].key = 0; /* so that a guess does not find it */
	m->node[node].refs = m->node_free;
	m->node_free = node;
	m->n_nodes--;
}

int twin_queue_grow(struct twin_queue *q)
{
	uint32_t more = q->cap ? 2 * q->cap : FIRST_QUEUE;
	uint32_t *bigger = malloc((size_t)more * sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		bigger[i] = q->slot[(q->head + i) & q->mask];
	free(q->slot);
	q->slot = bigger;
	q->cap = more;
	q->mask = more - 1;
	q->head = 0;
	return 0;
}
