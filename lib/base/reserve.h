/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large tables that are used from the start on: address space for the limit now, memory as elements
 * are first touched. Beside calloc(), which promises neither alignment nor to leave the pages alone.
 */
#ifndef VNS_BASE_RESERVE_H
#define VNS_BASE_RESERVE_H

#include <stddef.h>
#include <stdint.h>

/* @n zeroed elements of @size bytes, at the start of a page. Return: NULL when it cannot be had. */
void *vns_reserve(size_t n, size_t size);
/* Give back what vns_reserve() returned; NULL does nothing. */
void vns_unreserve(void *p);
/* The pages that hold nothing but elements @from to @to - 1, of @size bytes, are no longer needed; @p may be NULL. */
void vns_release(void *p, size_t from, size_t to, size_t size);

/*
 * Which pages of such a table were touched, where elements are met in no order: a bit each. Zero-initialise;
 * vns_touched_init() with the table's numbers; marking costs a look at one bit.
 */
#define VNS_TOUCHED_PAGE 4096u
struct vns_touched {
	uint64_t *bit;
	uint64_t pages;
	size_t size; /* of an element */
};
/* Return: 0 or -ENOMEM. */
int vns_touched_init(struct vns_touched *t, size_t n, size_t size);
void vns_touched_fini(struct vns_touched *t);
static inline void vns_touched_mark(struct vns_touched *t, size_t id)
{
	size_t page = id * t->size / VNS_TOUCHED_PAGE;
	uint64_t bit = UINT64_C(1) << page % 64;

	if (t->bit[page / 64] & bit)
		return;
	t->bit[page / 64] |= bit;
	t->pages++;
}
static inline uint64_t vns_touched_bytes(const struct vns_touched *t)
{
	return t->pages * VNS_TOUCHED_PAGE;
}

#endif
