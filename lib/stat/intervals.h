/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What blocks.c and series.c give to intervals.c.
 */
#ifndef VNS_STAT_INTERVALS_H
#define VNS_STAT_INTERVALS_H

#include <vnetscope/stat.h>

#include "stat/hist.h"

#define VNS_INTERVAL_SAMPLES 16 /* below that nothing is said */
/* Independent samples beyond a quantile, on its thin side: p50 from 16 on, p95 from 160, p99 from 800. */
#define VNS_INTERVAL_TAIL 8

/* Samples in blocks of time, in order. */
struct vns_batches {
	unsigned int n;
	double size[VNS_BLOCKS]; /* samples */
	double sum[VNS_BLOCKS];  /* of their differences to the mean of all */
	/* add to @above the samples of each block in buckets above that of @x */
	void (*above)(const void *from, int64_t x, double above[VNS_BLOCKS]);
	const void *from;
};

/* @out: 95 % intervals of the figures of @all, the same samples. */
void vns_intervals_estimate(const struct vns_batches *b, const struct vns_dist *all,
			    struct vns_intervals *out);

#endif
