/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The histogram behind struct vns_dist; shape and error in <vnetscope/stat.h>.
 */
#ifndef VNS_STAT_HIST_H
#define VNS_STAT_HIST_H

#include <vnetscope/stat.h>

/*
 * Add @count samples of @value. *@h is allocated, grown and moved as needed.
 * Return: 0, or -ENOMEM with *@h unchanged.
 */
int vns_hist_add(struct vns_hist **h, int64_t value, uint64_t count);
/* Add one sample of each of @n values. Return: number of those that memory could not be found for. */
uint64_t vns_hist_add_many(struct vns_hist **h, const int64_t *value, size_t n);
/* Add all of @from. Return: number of samples that memory could not be found for. */
uint64_t vns_hist_merge(struct vns_hist **into, const struct vns_hist *from);
/* Middle of the bucket that holds the sample of @rank (1 = lowest). */
int64_t vns_hist_at_rank(const struct vns_hist *h, uint64_t rank);
void vns_hist_each(const struct vns_hist *h,
		   void (*fn)(void *ctx, int64_t lo, int64_t hi, uint64_t count), void *ctx);

#endif
