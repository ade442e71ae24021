// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Log-linear histogram: signed 64-bit values -> counts per bucket, sparse and growing.
 *
 * Buckets: |v| < 64 has one bucket per value. Above, the power of two that holds |v| is cut into
 * 64 equal buckets, so a bucket is at most 1/64 of its lower bound wide and its middle is off by at
 * most 1/128 of the value (the idea of HdrHistogram, Tene 2012). Negative values mirror the
 * positive ones: bucket -b holds the negatives of bucket b's values.
 *
 * Storage is one block in one of two forms, since a capture may have a million flows with a dozen
 * samples each, and one total with a billion:
 *   sparse  sorted (bucket, count) pairs of 16 + 16 bits; a flow of 50 samples needs 150-250 bytes
 *   dense   64-bit counters over a range of buckets; from SPARSE_MAX pairs or 65,536 in one
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "stat/hist.h"

#define SUB_BITS    6 /* 64 buckets per power of two: 1/128 = 0.78 % < VNS_HIST_MAX_REL_ERROR */
#define SUB         (1 << SUB_BITS)
#define BUCKET_MAX  ((64 - SUB_BITS) * SUB + SUB - 1) /* of |INT64_MIN| = 2^63 */
#define SPARSE_MAX  256 /* pairs: 1 KiB, where a search costs more than a dense range wastes */
#define DENSE_SLACK SUB /* buckets kept free at both ends: one power of two */

struct pair {
	int16_t bucket;
	uint16_t count;
};

struct vns_hist {
	uint16_t used;  /* sparse: pairs; dense: buckets, all of them */
	uint16_t cap;   /* sparse: pairs there is room for; dense: 0 */
	int16_t lowest; /* dense: bucket of dense[0] */
	uint16_t zero;
	union {
		struct pair pair[0];
		uint64_t dense[0];
	};
};

/* Of the block of memory that @h is; NULL: none. */
static size_t hist_bytes(const struct vns_hist *h)
{
	if (!h)
		return 0;
	return sizeof(*h) + (h->cap ? h->cap * sizeof(h->pair[0]) : h->used * sizeof(h->dense[0]));
}

void vns_hist_free(struct vns_hist *h)
{
	vns_held_change(hist_bytes(h), 0);
	free(h);
}

static int bucket_of(int64_t value)
{
	uint64_t m = value < 0 ? -(uint64_t)value : (uint64_t)value;
	int e, b;

	if (m < SUB)
		return (int)value;
	e = 63 - __builtin_clzll(m) - SUB_BITS;
	b = (e + 1) * SUB + (int)(m >> e) - SUB;
	return value < 0 ? -b : b;
}

/* Inclusive bounds of @bucket. */
static void bucket_bounds(int bucket, int64_t *lo, int64_t *hi)
{
	int b = bucket < 0 ? -bucket : bucket;
	int e = b < SUB ? 0 : b / SUB - 1;
	uint64_t from = b < SUB ? (uint64_t)b : (uint64_t)(SUB + b % SUB) << e;
	uint64_t to = from + (UINT64_C(1) << e) - 1;

	if (bucket >= 0) {
		*lo = (int64_t)from;
		*hi = (int64_t)to;
		return;
	}
	/* two's complement by hand: the lowest bucket holds INT64_MIN and nothing beyond it */
	*lo = b == BUCKET_MAX - SUB + 1 ? INT64_MIN : -(int64_t)to;
	*hi = (int64_t)-from;
}

static int64_t bucket_middle(int bucket)
{
	int64_t lo, hi;

	bucket_bounds(bucket, &lo, &hi);
	return lo + (int64_t)((uint64_t)hi - (uint64_t)lo) / 2;
}

/* Position of the first pair with at least @bucket. Without a branch that could be mispredicted. */
static size_t lower_bound(const struct vns_hist *h, int bucket)
{
	const struct pair *base = h->pair;
	size_t n = h->used;

	while (n > 1) {
		size_t half = n / 2;

		base += (base[half - 1].bucket < bucket) * half;
		n -= half;
	}
	return (size_t)(base - h->pair) + (n == 1 && base->bucket < bucket);
}

/*
 * Room for one more pair. Steps of 4 pairs fill the allocator's 16-byte classes; growing by a
 * half keeps the copies few and the waste of a million small histograms low.
 */
static struct vns_hist *grow_sparse(struct vns_hist *h)
{
	size_t cap = h ? (h->cap + h->cap / 2u + 3) & ~(size_t)3 : 4;
	struct vns_hist *bigger;
	size_t was;

	if (cap > SPARSE_MAX)
		cap = SPARSE_MAX;
	was = hist_bytes(h);
	bigger = realloc(h, sizeof(*h) + cap * sizeof(struct pair));
	if (!bigger)
		return NULL;
	vns_held_change(was, sizeof(*h) + cap * sizeof(struct pair));
	if (!h)
		memset(bigger, 0, sizeof(*bigger));
	bigger->cap = (uint16_t)cap;
	return bigger;
}

static struct vns_hist *new_dense(int lowest, int highest)
{
	size_t n = (size_t)(highest - lowest + 1);
	struct vns_hist *h = calloc(1, sizeof(*h) + n * sizeof(h->dense[0]));

	if (!h)
		return NULL;
	vns_held_change(0, sizeof(*h) + n * sizeof(h->dense[0]));
	h->used = (uint16_t)n;
	h->lowest = (int16_t)lowest;
	return h;
}

/* A dense copy of @h that also covers @bucket, with slack where it grows; @h is freed. */
static struct vns_hist *to_dense(struct vns_hist *h, int bucket)
{
	int lowest = h->cap ? h->pair[0].bucket : h->lowest;
	int highest = h->cap ? h->pair[h->used - 1].bucket : h->lowest + h->used - 1;
	struct vns_hist *wide;

	if (bucket < lowest || h->cap)
		lowest = (bucket < lowest ? bucket : lowest) - DENSE_SLACK;
	if (bucket > highest || h->cap)
		highest = (bucket > highest ? bucket : highest) + DENSE_SLACK;
	if (lowest < -BUCKET_MAX)
		lowest = -BUCKET_MAX;
	if (highest > BUCKET_MAX)
		highest = BUCKET_MAX;
	wide = new_dense(lowest, highest);
	if (!wide)
		return NULL;
	for (size_t i = 0; i < h->used; i++) {
		if (h->cap)
			wide->dense[h->pair[i].bucket - lowest] = h->pair[i].count;
		else
			wide->dense[h->lowest + (int)i - lowest] = h->dense[i];
	}
	vns_hist_free(h);
	return wide;
}

static int add_dense(struct vns_hist **hist, int bucket, uint64_t count)
{
	struct vns_hist *h = *hist;

	if (h->cap || bucket < h->lowest || bucket >= h->lowest + h->used) {
		h = to_dense(h, bucket);
		if (!h)
			return -ENOMEM;
		*hist = h;
	}
	h->dense[bucket - h->lowest] += count;
	return 0;
}

static int insert_pair(struct vns_hist **hist, size_t at, int bucket, uint64_t count)
{
	struct vns_hist *h = *hist;

	if (h->used == h->cap) {
		h = grow_sparse(h);
		if (!h)
			return -ENOMEM;
		*hist = h;
	}
	memmove(&h->pair[at + 1], &h->pair[at], (h->used - at) * sizeof(struct pair));
	h->pair[at] = (struct pair){ (int16_t)bucket, (uint16_t)count };
	h->used++;
	return 0;
}

static int add_bucket(struct vns_hist **hist, int bucket, uint64_t count)
{
	struct vns_hist *h = *hist;
	size_t at;

	if (!h) {
		h = grow_sparse(NULL);
		if (!h)
			return -ENOMEM;
		*hist = h;
	}
	if (!h->cap)
		return add_dense(hist, bucket, count);
	at = lower_bound(h, bucket);
	if (at < h->used && h->pair[at].bucket == bucket) {
		if (count > (uint64_t)(UINT16_MAX - h->pair[at].count))
			return add_dense(hist, bucket, count);
		h->pair[at].count = (uint16_t)(h->pair[at].count + count);
		return 0;
	}
	if (h->used == SPARSE_MAX || (count > UINT16_MAX && h->used))
		return add_dense(hist, bucket, count);
	if (count > UINT16_MAX) { /* an empty one: give to_dense() a pair to start from */
		h->pair[h->used++] = (struct pair){ (int16_t)bucket, 0 };
		return add_dense(hist, bucket, count);
	}
	return insert_pair(hist, at, bucket, count);
}

int vns_hist_add(struct vns_hist **h, int64_t value, uint64_t count)
{
	return add_bucket(h, bucket_of(value), count);
}

uint64_t vns_hist_add_many(struct vns_hist **hist, const int64_t *value, size_t n)
{
	uint64_t lost = 0;

	for (size_t i = 0; i < n; i++) {
		struct vns_hist *h = *hist;
		int bucket = bucket_of(value[i]);

		/* the usual case of a large histogram, without calls */
		if (h && !h->cap && (unsigned int)(bucket - h->lowest) < h->used)
			h->dense[bucket - h->lowest]++;
		else if (add_bucket(hist, bucket, 1))
			lost++;
	}
	return lost;
}

/* The @i-th stored bucket and its count. */
static int stored(const struct vns_hist *h, size_t i, uint64_t *count)
{
	*count = h->cap ? h->pair[i].count : h->dense[i];
	return h->cap ? h->pair[i].bucket : h->lowest + (int)i;
}

/* Whether dense @into has all buckets of dense @from; it is made to, with memory. */
static bool covers(struct vns_hist **into, const struct vns_hist *from)
{
	int highest = from->lowest + from->used - 1;

	if (from->cap || !*into || (*into)->cap)
		return false;
	if (from->lowest < (*into)->lowest && add_dense(into, from->lowest, 0))
		return false;
	return highest < (*into)->lowest + (*into)->used || add_dense(into, highest, 0) == 0;
}

uint64_t vns_hist_merge(struct vns_hist **into, const struct vns_hist *from)
{
	uint64_t lost = 0;

	if (from && covers(into, from)) {
		uint64_t *to = &(*into)->dense[from->lowest - (*into)->lowest];

		for (size_t i = 0; i < from->used; i++)
			to[i] += from->dense[i];
		return 0;
	}
	for (size_t i = 0; from && i < from->used; i++) {
		uint64_t count;
		int bucket = stored(from, i, &count);

		if (count && add_bucket(into, bucket, count))
			lost += count;
	}
	return lost;
}

void vns_hist_new_like(struct vns_hist **h, const struct vns_hist *like)
{
	int lowest, highest;

	if (!like || !like->used)
		return;
	lowest = like->cap ? like->pair[0].bucket : like->lowest;
	highest = like->cap ? like->pair[like->used - 1].bucket : like->lowest + like->used - 1;
	*h = new_dense(lowest, highest);
}

int64_t vns_hist_at_rank(const struct vns_hist *h, uint64_t rank)
{
	uint64_t seen = 0;
	int bucket = 0;

	for (size_t i = 0; h && i < h->used && seen < rank; i++) {
		uint64_t count;

		bucket = stored(h, i, &count);
		seen += count;
	}
	return bucket_middle(bucket);
}

int vns_hist_bucket(int64_t value)
{
	return bucket_of(value);
}

void vns_hist_bounds(int64_t value, int64_t *lo, int64_t *hi)
{
	bucket_bounds(bucket_of(value), lo, hi);
}

uint64_t vns_hist_above(const struct vns_hist *h, int bucket)
{
	uint64_t above = 0, count;

	for (size_t i = h ? h->used : 0; i-- > 0 && stored(h, i, &count) > bucket;)
		above += count;
	return above;
}

void vns_hist_each(const struct vns_hist *h,
		   void (*fn)(void *ctx, int64_t lo, int64_t hi, uint64_t count), void *ctx)
{
	for (size_t i = 0; h && i < h->used; i++) {
		uint64_t count;
		int64_t lo, hi;

		bucket_bounds(stored(h, i, &count), &lo, &hi);
		if (count)
			fn(ctx, lo, hi, count);
	}
}
