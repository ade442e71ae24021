// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory limit: what the stores of a run hold, as they count it themselves -> whether to give up flows.
 *
 * Counted bytes follow from the packets alone, so a run under a limit gives the same figures each time; the
 * kernel's resident size, which differs by some 100 KiB from run to run, would not. Counted are the pages
 * of tables that were touched (they stay when their flows leave), blocks on the heap with malloc()'s own
 * part (base/held.h), the rows of the result; all else (program, libraries, the file's window, buffers
 * of two threads) is VNS_MEMORY_PROGRAM, an allowance. Freed memory is used again by what comes next, and
 * what malloc() could not join lies in the margin. tests/cli/test_memory.py holds it to the kernel's figure.
 *
 * Each time something was given up and the tables, which do not shrink, still stand near the limit, the mark
 * rises by a quarter of the margin at most, so that the same bytes are not given up twice; the last
 * quarter is never touched.
 */
#include <errno.h>
#include <malloc.h>

#include "base/held.h"
#include "measure/memory.h"

#define MARGIN (4u << 20) /* 1024 packets of as many new flows bring 1 MiB */
#define LEAST  (6u << 20) /* beside the program: margin and some ten thousand flows */

int vns_memory_too_small(const char *what, uint64_t limit, uint64_t least, struct vns_err *err)
{
	static const char *const units[] = { "bytes", "KiB", "MiB" };
	int unit = (limit >= 1u << 10) + (limit >= 1u << 20);

	return vns_err_set(err, -ENOMEM, "%s: %.0f %s are too small, %.0f MiB is the least here", what,
			   (double)(limit >> 10 * unit), units[unit], (double)(least >> 20));
}

int vns_memory_begin(struct vns_memory *m, uint64_t limit, const char *what, struct vns_err *err)
{
	const uint64_t least = VNS_MEMORY_PROGRAM + LEAST;

	*m = (struct vns_memory){ .limit = limit, .margin = MARGIN, .held_before = vns_held() };
	if (limit && limit < least)
		return vns_memory_too_small(what, limit, least, err);
	if (limit / 16 > m->margin)
		m->margin = limit / 16;
	return 0;
}

uint64_t vns_memory_counted(struct vns_memory *m, uint64_t tables)
{
	int64_t held = vns_held() - m->held_before;
	uint64_t now = VNS_MEMORY_PROGRAM + tables + (held > 0 ? (uint64_t)held : 0);

	m->peak = now > m->peak ? now : m->peak;
	return now;
}

bool vns_memory_tight(const struct vns_memory *m, uint64_t counted, uint64_t more)
{
	return m->limit && counted + more + m->margin > m->limit + m->rise;
}

void vns_memory_gave_up(struct vns_memory *m, uint64_t counted, uint64_t more)
{
	uint64_t most = m->margin * 3 / 4;

	malloc_trim(0);
	if (!vns_memory_tight(m, counted, more)) /* it worked */
		return;
	m->rise += m->margin / 16;
	if (m->rise > most)
		m->rise = most;
}
