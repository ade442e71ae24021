/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/stat.h - summaries of samples in bounded memory.
 *
 * A struct vns_dist holds exact count, minimum, maximum, mean and standard
 * deviation, and a log-linear histogram for percentiles. Values are signed ns
 * (a one-way latency under a wrong clock may be negative).
 */
#ifndef VNETSCOPE_STAT_H
#define VNETSCOPE_STAT_H

#include <vnetscope/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Largest relative error of a percentile read from the histogram (1 %). */
#define VNS_HIST_MAX_REL_ERROR 0.01

/**
 * struct vns_hist - log-linear histogram of signed 64-bit values, sparse and growing.
 *
 * Each power of two is cut into 64 equal buckets, so a bucket's midpoint is within
 * 1/128 (0.78 %) of every value in it; values with |v| < 64 are exact. Storage follows the
 * buckets in use: a histogram of a dozen samples costs some hundred bytes.
 */
struct vns_hist;

/**
 * struct vns_dist - distribution of one figure. Plain data; zero-initialise or vns_dist_init().
 * @n:    samples
 * @min:  exact, ns; 0 when n == 0
 * @max:  exact, ns; 0 when n == 0
 * @mean: exact up to rounding (Welford 1962), ns
 * @m2:   sum of squared deviations from the mean (Welford)
 * @hist: owned; NULL until the first sample; may stay NULL when n == 1 (@min is the sample then)
 * @hist_lost: samples that are not in @hist since memory ran out
 */
struct vns_dist {
	uint64_t n;
	int64_t min, max;
	double mean, m2;
	struct vns_hist *hist;
	uint64_t hist_lost;
};

void vns_dist_init(struct vns_dist *d);
void vns_dist_fini(struct vns_dist *d);
void vns_dist_add(struct vns_dist *d, int64_t value);
/** vns_dist_add_many() - as vns_dist_add() for each of @n values, several times faster. */
void vns_dist_add_many(struct vns_dist *d, const int64_t *value, size_t n);
/** vns_dist_merge() - add all of @from to @into, as if its samples had been added one by one. */
void vns_dist_merge(struct vns_dist *into, const struct vns_dist *from);
/** vns_dist_stddev() - sample standard deviation (n - 1), ns; 0 when n < 2. */
double vns_dist_stddev(const struct vns_dist *d);
/**
 * vns_dist_quantile() - the @q quantile (0..1), nearest rank, from the histogram,
 * clamped to [min, max]; within VNS_HIST_MAX_REL_ERROR. 0 when n == 0.
 */
int64_t vns_dist_quantile(const struct vns_dist *d, double q);
/**
 * vns_dist_buckets() - walk the histogram in ascending order.
 * @fn gets each non-empty bucket's inclusive bounds and count.
 */
void vns_dist_buckets(const struct vns_dist *d,
		      void (*fn)(void *ctx, int64_t lo, int64_t hi, uint64_t count), void *ctx);

/**
 * struct vns_interval - 95 % interval of one figure, in its unit: what a finite, correlated sample leaves
 * open of the process it was drawn from. Both 0: the samples do not suffice to say.
 */
struct vns_interval {
	int64_t lower, upper;
};
/** vns_interval_known() - whether there is one. */
static inline bool vns_interval_known(const struct vns_interval *i)
{
	return i->lower != 0 || i->upper != 0;
}

/** struct vns_intervals - of the figures that a distribution is shown by. */
struct vns_intervals {
	struct vns_interval mean, p50, p95, p99;
};

#define VNS_BLOCKS 64

/** struct vns_block - the samples of the time [number, number + 1) << shift, in ns. */
struct vns_block {
	int64_t number;
	struct vns_dist dist;
};

/**
 * struct vns_blocks - samples by time: at most VNS_BLOCKS equal blocks that have any, for intervals that
 * survive correlated samples. Zero-initialise; vns_blocks_fini() frees. Blocks are the shortest
 * power of two of ns (at least 1024) that is enough, aligned to time 0: what they hold depends on
 * the samples alone, neither on their order nor on the batches they came in.
 */
struct vns_blocks {
	unsigned int shift, n;
	struct vns_block block[VNS_BLOCKS]; /* by number */
};
void vns_blocks_add(struct vns_blocks *b, int64_t at_ns, int64_t value);
/** vns_blocks_add_many() - as vns_blocks_add() for each of @n samples; fast when in order of time. */
void vns_blocks_add_many(struct vns_blocks *b, const int64_t *at_ns, const int64_t *value, size_t n);
/** vns_blocks_merge() - all samples of @from to @into, as if added one by one. */
void vns_blocks_merge(struct vns_blocks *into, const struct vns_blocks *from);
/** vns_blocks_total() - add all samples of all blocks to @out. */
void vns_blocks_total(const struct vns_blocks *b, struct vns_dist *out);
/**
 * vns_blocks_intervals() - of mean, p50, p95 and p99 of @all (the same samples), by batch means.
 * Theory, coverage and what is needed for each: lib/stat/intervals.c.
 */
void vns_blocks_intervals(const struct vns_blocks *b, const struct vns_dist *all,
			  struct vns_intervals *out);
void vns_blocks_fini(struct vns_blocks *b);

/**
 * struct vns_series - the same in less memory, for a million series of a dozen samples: 8 bytes for
 * each of the first 512, blocks from then on. NULL is an empty one; vns_series_free() frees.
 */
struct vns_series;
/** vns_series_add() - Return: 0, or -ENOMEM and the sample is not in. */
int vns_series_add(struct vns_series **s, int64_t at_ns, int64_t value);
/** vns_series_merge() - all of @from (may be NULL). Return: 0, or -ENOMEM with @into as far as it came. */
int vns_series_merge(struct vns_series **into, const struct vns_series *from);
/** vns_series_intervals() - as vns_blocks_intervals(); none known where samples are not in @s. */
void vns_series_intervals(const struct vns_series *s, const struct vns_dist *all,
			  struct vns_intervals *out);
void vns_series_free(struct vns_series *s);

#ifdef __cplusplus
}
#endif
#endif
