// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reserved tables: size -> zeroed address space. The page before the table holds its length.
 */
#include <sys/mman.h>

#include "base/reserve.h"

#define FRONT 65536u /* the largest page size of Linux on the machines that we know */

void *vns_reserve(size_t n, size_t size)
{
	size_t bytes;
	char *p;

	if (__builtin_mul_overflow(n, size, &bytes) || __builtin_add_overflow(bytes, FRONT, &bytes))
		return NULL;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	*(size_t *)(void *)p = bytes;
	return p + FRONT;
}

void vns_unreserve(void *p)
{
	char *front = p ? (char *)p - FRONT : NULL;

	if (front)
		munmap(front, *(size_t *)(void *)front);
}
