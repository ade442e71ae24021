// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Samples with their times -> distributions of equal blocks of time, for intervals.c.
 *
 * A block's number is the time shifted right. When a sample would make one block too many all are
 * joined in pairs: number and number ^ 1 become number >> 1. The shift at the end is the least one
 * under which the samples fall into VNS_BLOCKS blocks or fewer, whatever their order. Idle time
 * has no blocks and costs no resolution.
 */
#include <string.h>

#include "stat/hist.h"

/*
 * From so many samples in a block on the next one's histogram is dense from its start: to insert into a
 * sorted list costs ten times as much as to count.
 */
#define DENSE_FROM 256

static void join_pairs(struct vns_blocks *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->n; i++) {
		struct vns_block k = b->block[i];

		k.number >>= 1;
		if (n && b->block[n - 1].number == k.number) {
			vns_dist_merge(&b->block[n - 1].dist, &k.dist);
			vns_dist_fini(&k.dist);
		} else {
			b->block[n++] = k;
		}
	}
	b->n = n;
	b->shift++;
}

/* Where block @number stands or belongs; usually at the end. */
static unsigned int place_of(const struct vns_blocks *b, int64_t number)
{
	unsigned int at = b->n;

	while (at && b->block[at - 1].number >= number)
		at--;
	return at;
}

/* The block of @at_ns, made if need be. */
static struct vns_block *block_of(struct vns_blocks *b, int64_t at_ns)
{
	if (b->shift == 0)
		b->shift = VNS_BLOCK_SHIFT;
	for (;;) {
		int64_t number = at_ns >> b->shift;
		unsigned int at = place_of(b, number);

		if (at < b->n && b->block[at].number == number)
			return &b->block[at];
		if (b->n < VNS_BLOCKS) {
			memmove(&b->block[at + 1], &b->block[at],
				(b->n - at) * sizeof(b->block[0]));
			b->block[at] = (struct vns_block){ .number = number };
			if (at && b->block[at - 1].dist.n >= DENSE_FROM)
				vns_hist_new_like(&b->block[at].dist.hist,
						  b->block[at - 1].dist.hist);
			b->n++;
			return &b->block[at];
		}
		join_pairs(b);
	}
}

void vns_blocks_add(struct vns_blocks *b, int64_t at_ns, int64_t value)
{
	vns_dist_add(&block_of(b, at_ns)->dist, value);
}

void vns_blocks_add_many(struct vns_blocks *b, const int64_t *at_ns, const int64_t *value, size_t n)
{
	for (size_t from = 0, to; from < n; from = to) {
		struct vns_block *k = block_of(b, at_ns[from]);

		for (to = from + 1; to < n && at_ns[to] >> b->shift == k->number;)
			to++;
		vns_dist_add_many(&k->dist, value + from, to - from);
	}
}

void vns_blocks_merge(struct vns_blocks *into, const struct vns_blocks *from)
{
	if (into->n == 0)
		into->shift = from->shift;
	while (into->shift < from->shift)
		join_pairs(into);
	/* a longer block of @into than @from's: its number follows from any time in it */
	for (unsigned int i = 0; i < from->n; i++) {
		int64_t at_ns = (int64_t)((uint64_t)from->block[i].number << from->shift);

		vns_dist_merge(&block_of(into, at_ns)->dist, &from->block[i].dist);
	}
}

void vns_blocks_total(const struct vns_blocks *b, struct vns_dist *out)
{
	for (unsigned int i = 0; i < b->n; i++)
		vns_dist_merge(out, &b->block[i].dist);
}

void vns_blocks_fini(struct vns_blocks *b)
{
	for (unsigned int i = 0; i < b->n; i++)
		vns_dist_fini(&b->block[i].dist);
	b->n = b->shift = 0;
}
