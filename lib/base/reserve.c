// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reserved tables: size -> zeroed address space. A note in front of the table says what to unmap.
 *
 * Elements are met in any order, so with pages of 4 KiB a large table misses in the TLB as often as
 * in the cache, and the kernel is entered for every 64 flows. From SMALL bytes on a table asks for
 * huge pages; up to there it keeps small ones, so that one that stays small costs no 2 MiB. For that
 * the table begins SMALL bytes before a huge page's border.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/reserve.h"

#define FRONT 65536u        /* the largest page size of Linux on the machines that we know */
#define HUGE  (2u << 20)    /* of x86-64, and of arm64 with pages of 4 KiB */
#define SMALL (256u << 10)

struct note {
	void *start;
	size_t bytes;
};

void *vns_reserve(size_t n, size_t size)
{
	size_t bytes, huge, all;
	struct note *note;
	char *start, *p;

	if (__builtin_mul_overflow(n, size, &bytes) ||
	    __builtin_add_overflow(bytes, FRONT + 2 * HUGE, &all))
		return NULL;
	/* a part of one is never given: the last one is reserved whole */
	huge = bytes > SMALL ? (bytes - SMALL + HUGE - 1) / HUGE * HUGE : 0;
	start = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	p = start + FRONT;
	p += -((uintptr_t)p + SMALL) % HUGE;
	if (huge)
		madvise(p + SMALL, huge, MADV_HUGEPAGE); /* refused: small ones do too */
	note = (struct note *)(void *)(p - FRONT);
	*note = (struct note){ start, all };
	return p;
}

void vns_unreserve(void *p)
{
	const struct note *note = p ? (const struct note *)(void *)((char *)p - FRONT) : NULL;

	if (note)
		munmap(note->start, note->bytes);
}

void vns_release(void *p, size_t from, size_t to, size_t size)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t begin = (from * size + page - 1) / page * page, end = to * size / page * page;

	if (p && end > begin)
		madvise((char *)p + begin, end - begin, MADV_DONTNEED);
}

int vns_touched_init(struct vns_touched *t, size_t n, size_t size)
{
	size_t pages = n * size / VNS_TOUCHED_PAGE + 2;

	t->size = size;
	t->bit = calloc(pages / 64 + 1, sizeof(*t->bit));
	return t->bit ? 0 : -ENOMEM;
}

void vns_touched_fini(struct vns_touched *t)
{
	free(t->bit);
	t->bit = NULL;
}
