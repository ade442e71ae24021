// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any bytes as a drift document: refused with a sentence, or a relation whose answers are in order
 * at every instant.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vnetscope/measure.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

static void ask(const struct vns_clock *c, int64_t t)
{
	struct vns_clock_at at;

	require(vns_clock_eval(c, t, &at) == 0);
	require(at.lower_ns <= at.upper_ns);
	require(at.ci_lower_ns >= at.lower_ns && at.ci_upper_ns <= at.upper_ns);
	require(vns_clock_eval_guest(c, t, &at) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t whens[] = { INT64_MIN, -1, 0, 1500000000, INT64_C(1763764800000000000),
					 INT64_MAX };
	struct vns_err err = { "" };
	struct vns_clock *c;
	char path[64];
	size_t n;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (vns_drift_file_read(path, &c, &err) == 0) {
		const struct vns_clock_piece *p = vns_clock_pieces(c, &n);

		for (size_t i = 0; i < sizeof(whens) / sizeof(whens[0]); i++)
			ask(c, whens[i]);
		for (size_t i = 0; i < n; i++) {
			ask(c, p[i].from_ns);
			ask(c, p[i].to_ns);
		}
		vns_clock_free(c);
	} else {
		require(err.text[0] && !c);
	}
	close(fd);
	return 0;
}
