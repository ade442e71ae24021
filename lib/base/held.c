// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Sizes of blocks taken and given back -> what they come to. glibc's malloc() keeps 8 bytes beside each
 * block and gives multiples of 16, 32 at least (malloc(3) does not promise it; a few bytes of
 * difference elsewhere only make the sum a little wrong).
 */
#include "base/held.h"

#define BESIDE 8u
#define STEP   16u
#define LEAST  32u

static _Thread_local int64_t held;

static size_t chunk(size_t n)
{
	size_t all = (n + BESIDE + STEP - 1) & ~(size_t)(STEP - 1);

	if (n == 0)
		return 0;
	return all < LEAST ? LEAST : all;
}

int64_t vns_held(void)
{
	return held;
}

void vns_held_change(size_t was, size_t is)
{
	held += (int64_t)chunk(is) - (int64_t)chunk(was);
}
