// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Was a datagram seen before? What waits downstream, decided or not -> the first of those alike.
 *
 * Two packets of one flow are alike when they begin alike and have one length and one
 * identification: then the later is a copy that was made on the way, or the same sent again. A
 * packet that was decided in an earlier look keeps all that in its entry until it is counted, which is
 * later than any other that was sent with it can be looked at.
 *
 * The table is made once for a look, and only if one asks. It is sorted by one pass over buckets of the
 * (mixed) key, and within them by key and time: few buckets hold two.
 */
#include <stdlib.h>

#include "engine/twin/pieces.h"
#include "packet/hash.h"

struct like {
	uint64_t key;
	int64_t time; /* upstream's */
};

/* @end: of each bucket, index into @like; the first begins at 0 */
struct piece_likes {
	struct like *like;
	uint32_t *end;
	unsigned int shift;
};

static uint64_t key_of(uint64_t flow, uint64_t base, uint32_t len, uint32_t id)
{
	uint64_t h = (flow ^ base) * VNS_MIX_K4;

	return (h ^ h >> 32 ^ ((uint64_t)len << 32 | id)) * VNS_MIX_K4;
}

static int by_key_and_time(const void *pa, const void *pb)
{
	const struct like *a = pa, *b = pb;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return (a->time > b->time) - (a->time < b->time);
}

/* Those of @q that may be asked for. What found a twin of its own size at once is nobody's piece. */
static size_t gather(const struct piece_batch *b, const struct twin_queue *q, struct like *out)
{
	const struct twin_entry *entry = b->t->m.entry;
	size_t n = 0;

	for (uint32_t i = 0; i < q->n; i++) {
		const struct twin_entry *e = &entry[q->slot[(q->head + i) & q->mask]];

		if ((e->flags & (E_DONE | E_LOOKED)) != E_DONE && twin_is_piece(b->t, e))
			out[n++] = (struct like){
				key_of(e->flow_hash, (uint64_t)e->first, e->len, e->ip_id), piece_time(b, e) };
	}
	return n;
}

static void sort(struct piece_likes *l, const struct like *from, size_t n, size_t buckets)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i++)
		l->end[from[i].key >> l->shift]++;
	for (size_t i = 0; i < buckets; i++) { /* to where each begins */
		uint32_t of = l->end[i];

		l->end[i] = sum;
		sum += of;
	}
	for (size_t i = 0; i < n; i++)
		l->like[l->end[from[i].key >> l->shift]++] = from[i];
	for (size_t i = 0; i < buckets; i++) {
		uint32_t start = i ? l->end[i - 1] : 0;

		if (l->end[i] - start > 1)
			qsort(l->like + start, l->end[i] - start, sizeof(*l->like), by_key_and_time);
	}
}

static struct piece_likes *learn(const struct piece_batch *b)
{
	enum vns_point down = b->dir == VNS_HOST_TO_GUEST ? VNS_POINT_B : VNS_POINT_A;
	const struct twin_queue *q = b->t->queue[down][b->dir];
	size_t most = (size_t)q[STAGE_SETTLE].n + q[STAGE_EXPIRE].n + 1, n, bits = 1;
	struct piece_likes *l = calloc(1, sizeof(*l));
	struct like *all = malloc(most * sizeof(*all));

	if (!l || !all)
		goto out;
	n = gather(b, &q[STAGE_SETTLE], all);
	n += gather(b, &q[STAGE_EXPIRE], all + n);
	while (n >> bits)
		bits++;
	l->shift = 64 - (unsigned int)bits;
	l->like = malloc((n + 1) * sizeof(*l->like));
	l->end = calloc((size_t)1 << bits, sizeof(*l->end));
	if (l->like && l->end)
		sort(l, all, n, (size_t)1 << bits);
out:
	free(all);
	return l;
}

bool piece_is_first_of_likes(struct piece_batch *b, const struct piece *d, int64_t from)
{
	const struct like want = { key_of(d->flow, d->base, d->len, d->id), from };
	const struct piece_likes *l = b->likes ? b->likes : (b->likes = learn(b));
	size_t low, high, end;

	if (!l || !l->like || !l->end)
		return false; /* no memory: less is told */
	low = want.key >> l->shift ? l->end[(want.key >> l->shift) - 1] : 0;
	high = end = l->end[want.key >> l->shift];
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (by_key_and_time(&l->like[mid], &want) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low == end || l->like[low].key != want.key || l->like[low].time >= d->time;
}

void piece_likes_free(struct piece_batch *b)
{
	if (b->likes) {
		free(b->likes->like);
		free(b->likes->end);
	}
	free(b->likes);
}
