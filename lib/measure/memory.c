// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory limit: what the kernel counts as resident (/proc/self/statm) -> whether to give up flows.
 *
 * The kernel's count holds everything: tables, distributions, buffers, threads, the C library's
 * own. It is asked every thousand packets, so a margin is left for what they can bring. Freed memory may
 * stay with the allocator, which uses it again: each time something was given up the mark rises by a
 * quarter of the margin at most, so that the same bytes are not given up twice; the last quarter is
 * never touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "measure/memory.h"

#define MARGIN (4u << 20) /* 2048 packets of as many new flows bring 2 MiB */
#define STEP   (4u << 20) /* what stands at the beginning differs by some 100 KiB from run to run */
#define LEAST  (6u << 20) /* over what stands at the beginning: margin and some ten thousand flows */

uint64_t vns_memory_resident(void)
{
	char text[128] = "", *end;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	(void)strtoull(text, &end, 10); /* the first number is the address space */
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

int vns_memory_begin(struct vns_memory *m, uint64_t limit, const char *what, struct vns_err *err)
{
	uint64_t now = vns_memory_resident(), least = (now + STEP - 1) / STEP * STEP + LEAST;

	*m = (struct vns_memory){ .limit = limit, .margin = MARGIN };
	if (limit == 0)
		return 0;
	if (now == 0)
		return vns_err_set(err, -ENOSYS, "%s: /proc does not tell the memory in use", what);
	if (limit < least)
		return vns_err_set(err, -ENOMEM, "%s: %.0f MiB are too small, %.0f MiB is the least here",
				   what, (double)limit / 0x1p20,
				   (double)(least >> 20));
	if (limit / 16 > m->margin)
		m->margin = limit / 16;
	return 0;
}

bool vns_memory_tight(const struct vns_memory *m, uint64_t more)
{
	return m->limit && vns_memory_resident() + more + m->margin > m->limit + m->rise;
}

void vns_memory_gave_up(struct vns_memory *m, uint64_t more)
{
	uint64_t most = m->margin * 3 / 4;

	malloc_trim(0);
	if (!vns_memory_tight(m, more)) /* it worked */
		return;
	m->rise += m->margin / 16;
	if (m->rise > most)
		m->rise = most;
}
