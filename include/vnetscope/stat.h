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

#define VNS_BLOCKS 32

/**
 * struct vns_blocks - a time series cut into at most VNS_BLOCKS equal blocks of time, for
 * intervals that survive correlated samples. Zero-initialise; vns_blocks_fini() frees.
 */
struct vns_blocks {
	int64_t from_ns, len_ns;
	struct vns_dist block[VNS_BLOCKS];
};
void vns_blocks_add(struct vns_blocks *b, int64_t at_ns, int64_t value);
/** vns_blocks_add_many() - as vns_blocks_add() for each of @n samples; fast when in order of time. */
void vns_blocks_add_many(struct vns_blocks *b, const int64_t *at_ns, const int64_t *value, size_t n);
/** vns_blocks_total() - add all samples of all blocks to @out. */
void vns_blocks_total(const struct vns_blocks *b, struct vns_dist *out);
/**
 * vns_blocks_median_ci() - 95 % interval of the median: t interval over the blocks' medians
 * (batch means), never narrower than order statistics of @all (the same samples) give.
 */
void vns_blocks_median_ci(const struct vns_blocks *b, const struct vns_dist *all, int64_t *lower,
			  int64_t *upper);
void vns_blocks_fini(struct vns_blocks *b);

#ifdef __cplusplus
}
#endif
#endif
