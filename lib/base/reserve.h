/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large tables that are used from the start on: address space for the limit now, memory as elements
 * are first touched. Beside calloc(), which promises neither alignment nor to leave the pages alone.
 */
#ifndef VNS_BASE_RESERVE_H
#define VNS_BASE_RESERVE_H

#include <stddef.h>

/* @n zeroed elements of @size bytes, at the start of a page. Return: NULL when it cannot be had. */
void *vns_reserve(size_t n, size_t size);
/* Give back what vns_reserve() returned; NULL does nothing. */
void vns_unreserve(void *p);

#endif
