// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any bytes as a capture file: reading must come to an end, count every frame and say why it
 * stopped early.
 *
 * input: 1 byte (bits 0-2: packets per call less one; bit 3: with a filter), then the file
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vnetscope/source.h>

#include "source/stream.h"

#define MAX_UNPACKED 200000 /* packets: a compressed file may hold millions, too slow here */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

static void read_all(struct vns_source *s, size_t batch, const uint8_t *file, size_t size)
{
	static struct vns_packet pkts[8];
	struct vns_source_stats st;
	struct vns_err err = { "" };
	uint64_t n = 0, verdicts = 0;
	bool packed = size > 4 && vns_stream_kind(file, size) != VNS_STREAM_PLAIN;
	int rc;

	while ((rc = vns_source_next(s, pkts, batch, &err)) > 0) {
		require((size_t)rc <= batch);
		n += (uint64_t)rc;
		if (packed && n > MAX_UNPACKED)
			return;
		require(packed || n <= size / 12 + 1); /* the shortest record has 12 bytes */
	}
	require(rc == VNS_SOURCE_EOF || err.text[0]);
	vns_source_stats(s, &st);
	require(st.frames == n);
	for (int v = 0; v < VNS_PKT_VERDICTS; v++)
		verdicts += st.verdicts[v];
	require(verdicts == n);
	require(!st.truncated || vns_source_sentence(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vns_source_opts o = { .filter = NULL };
	struct vns_err err = { "" };
	struct vns_source *s;
	char path[64];
	int fd;

	if (size < 1)
		return 0;
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	require(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	o.filter = data[0] & 8 ? "udp or ip6" : NULL;
	if (vns_source_open_file(&s, path, &o, &err) == 0) {
		read_all(s, (data[0] & 7) + 1, data + 1, size - 1);
		vns_source_close(s);
	} else {
		require(err.text[0]);
	}
	close(fd);
	return 0;
}
