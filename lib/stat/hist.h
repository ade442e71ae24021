/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The histogram behind struct vns_dist; shape and error in <vnetscope/stat.h>.
 */
#ifndef VNS_STAT_HIST_H
#define VNS_STAT_HIST_H

#include <vnetscope/stat.h>

/* The shortest block of time (struct vns_blocks) is 1 << 10 ns. */
#define VNS_BLOCK_SHIFT 10

/*
 * Add @count samples of @value. *@h is allocated, grown and moved as needed.
 * Return: 0, or -ENOMEM with *@h unchanged.
 */
int vns_hist_add(struct vns_hist **h, int64_t value, uint64_t count);
void vns_hist_free(struct vns_hist *h); /* NULL does nothing */
/* Add one sample of each of @n values. Return: number of those that memory could not be found for. */
uint64_t vns_hist_add_many(struct vns_hist **h, const int64_t *value, size_t n);
/* Add all of @from. Return: number of samples that memory could not be found for. */
uint64_t vns_hist_merge(struct vns_hist **into, const struct vns_hist *from);
/* An empty dense one for values like those of @like; *@h is NULL, and stays so without memory. */
void vns_hist_new_like(struct vns_hist **h, const struct vns_hist *like);
/* Middle of the bucket that holds the sample of @rank (1 = lowest). */
int64_t vns_hist_at_rank(const struct vns_hist *h, uint64_t rank);
/* Number of the bucket that holds @value; ascending with it. */
int vns_hist_bucket(int64_t value);
/* Inclusive bounds of the bucket that holds @value. */
void vns_hist_bounds(int64_t value, int64_t *lo, int64_t *hi);
/* Samples in buckets above @bucket. */
uint64_t vns_hist_above(const struct vns_hist *h, int bucket);
void vns_hist_each(const struct vns_hist *h,
		   void (*fn)(void *ctx, int64_t lo, int64_t hi, uint64_t count), void *ctx);

#endif
