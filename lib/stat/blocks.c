// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A time series of samples -> a sampling interval for its median that survives
 * correlation.
 *
 * Packets a few milliseconds apart share their fate (one busy vCPU delays them all), so an interval
 * from ranks alone, right for independent samples, claims too much. Here the medians of equal
 * time blocks are taken; blocks much longer than the correlation are nearly independent,
 * and the spread of their medians gives a t interval (batch means: Law, Simulation Modeling and
 * Analysis, 9.5.3). Blocks start short and are merged in pairs when there are too many, so
 * that memory is bounded whatever the run's length.
 */
#include <math.h>

#include <vnetscope/stat.h>

#define FIRST_LEN_NS (100 * VNS_NSEC_PER_MSEC)
#define BLOCK_MIN    8     /* samples in a block before its median counts */
#define MIN_BLOCKS   8     /* below that a t interval is mostly noise: ranks stand alone */
#define Z95          1.96

/* Upper 97.5 % point of Student's t for 7..31 degrees of freedom. */
static const double t975[] = { 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
			       2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
			       2.060, 2.056, 2.052, 2.048, 2.045, 2.042, 2.040 };

static void double_length(struct vns_blocks *b)
{
	for (size_t i = 0; i < VNS_BLOCKS; i += 2) {
		struct vns_dist joined = b->block[i];

		vns_dist_merge(&joined, &b->block[i + 1]);
		vns_dist_fini(&b->block[i + 1]);
		vns_dist_init(&b->block[i]);
		b->block[i / 2] = joined;
	}
	b->len_ns *= 2;
}

/* The block of @at_ns, made by doubling the length of all where it lies behind the last one. */
static size_t block_of(struct vns_blocks *b, int64_t at_ns)
{
	uint64_t since;

	if (b->len_ns == 0) {
		b->from_ns = at_ns;
		b->len_ns = FIRST_LEN_NS;
	}
	if (at_ns < b->from_ns)
		at_ns = b->from_ns; /* a little out of order at the very start */
	since = (uint64_t)at_ns - (uint64_t)b->from_ns; /* hostile times may be 2^64 ns apart */
	while (since / (uint64_t)b->len_ns >= VNS_BLOCKS)
		double_length(b);
	return (size_t)(since / (uint64_t)b->len_ns);
}

void vns_blocks_add(struct vns_blocks *b, int64_t at_ns, int64_t value)
{
	vns_dist_add(&b->block[block_of(b, at_ns)], value);
}

void vns_blocks_add_many(struct vns_blocks *b, const int64_t *at_ns, const int64_t *value, size_t n)
{
	for (size_t from = 0, to; from < n; from = to) {
		size_t block = block_of(b, at_ns[from]);
		uint64_t start = (uint64_t)b->from_ns + block * (uint64_t)b->len_ns;

		for (to = from + 1; to < n; to++)
			if ((uint64_t)at_ns[to] - start >= (uint64_t)b->len_ns)
				break;
		vns_dist_add_many(&b->block[block], value + from, to - from);
	}
}

void vns_blocks_total(const struct vns_blocks *b, struct vns_dist *out)
{
	for (size_t i = 0; i < VNS_BLOCKS; i++)
		vns_dist_merge(out, &b->block[i]);
}

/* Widen [@lower, @upper] around @mid to what the blocks' medians say. */
static void widen_by_blocks(const struct vns_blocks *b, int64_t mid, int64_t *lower, int64_t *upper)
{
	double median[VNS_BLOCKS], mean = 0, var = 0;
	size_t k = 0;
	int64_t half;

	for (size_t i = 0; i < VNS_BLOCKS; i++)
		if (b->block[i].n >= BLOCK_MIN)
			median[k++] = (double)vns_dist_quantile(&b->block[i], 0.5);
	if (k < MIN_BLOCKS)
		return;
	for (size_t i = 0; i < k; i++)
		mean += median[i] / (double)k;
	for (size_t i = 0; i < k; i++)
		var += (median[i] - mean) * (median[i] - mean) / (double)(k - 1);
	half = llround(t975[k - MIN_BLOCKS] * sqrt(var / (double)k));
	if (mid - half < *lower)
		*lower = mid - half;
	if (mid + half > *upper)
		*upper = mid + half;
}

void vns_blocks_median_ci(const struct vns_blocks *b, const struct vns_dist *all, int64_t *lower,
			  int64_t *upper)
{
	double half = all->n ? Z95 / 2 / sqrt((double)all->n) : 0;

	*lower = vns_dist_quantile(all, fmax(0.5 - half, 0));
	*upper = vns_dist_quantile(all, fmin(0.5 + half, 1));
	widen_by_blocks(b, vns_dist_quantile(all, 0.5), lower, upper);
	/* every quantile was read from the histogram */
	*lower -= llround(fabs((double)*lower) * VNS_HIST_MAX_REL_ERROR);
	*upper += llround(fabs((double)*upper) * VNS_HIST_MAX_REL_ERROR);
	if (*lower < all->min)
		*lower = all->min; /* no median lies outside the sample's range */
	if (*upper > all->max)
		*upper = all->max;
}

void vns_blocks_fini(struct vns_blocks *b)
{
	for (size_t i = 0; i < VNS_BLOCKS; i++)
		vns_dist_fini(&b->block[i]);
	b->len_ns = 0;
}
