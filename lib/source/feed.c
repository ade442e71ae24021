// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A descriptor -> a sliding window of its bytes, by read(), unpacked when they are compressed.
 *
 * Not mmap(): a file that another program cuts while it is mapped kills the reader by SIGBUS.
 * MADV_POPULATE_READ reports a cut page as an error, but only at that moment, and a library may
 * not own the signal's handler. Nothing is lost by it: read() into a buffer that stays in the
 * second-level cache and walking its records took 17 ns per packet of 100 bytes, a mapping
 * populated and released in windows of 256 KiB to 2 MiB 19 to 21 ns (file in the page cache; buffers
 * of 8 to 512 KiB make no difference). The buffer has 512 KiB, more only for a longer record,
 * whatever the file's size. Pipes cannot be mapped anyway.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source/feed.h"

#define CHUNK (256u << 10) /* bytes: half of a common second-level cache */

int vns_feed_init(struct vns_feed *f, int fd)
{
	*f = (struct vns_feed){ .fd = fd, .size = 2 * CHUNK };
	f->buf = malloc(f->size);
	f->p = f->end = f->buf;
	return f->buf ? 0 : -ENOMEM;
}

void vns_feed_fini(struct vns_feed *f)
{
	vns_stream_close(f->stream);
	free(f->buf);
}

int vns_feed_unpack(struct vns_feed *f, enum vns_stream_kind kind)
{
	int rc = vns_stream_open(&f->stream, kind, f->fd, f->p, vns_feed_left(f));

	f->p = f->end = f->buf;
	f->buf_at = 0;
	f->eof = false;
	return rc;
}

static ssize_t read_some(struct vns_feed *f, uint8_t *to, size_t n)
{
	ssize_t got = f->stream ? vns_stream_read(f->stream, to, n) : read(f->fd, to, n);

	return got < 0 && !f->stream ? -errno : got;
}

/* What is left moves to the buffer's start; behind it there is room for @n bytes and a chunk. */
static int make_room(struct vns_feed *f, size_t n)
{
	size_t have = vns_feed_left(f);
	uint8_t *grown;

	memmove(f->buf, f->p, have);
	f->buf_at += (uint64_t)(f->p - f->buf);
	f->p = f->buf;
	f->end = f->buf + have;
	if (n + CHUNK <= f->size)
		return 0;
	grown = realloc(f->buf, n + CHUNK);
	if (!grown)
		return -ENOMEM;
	f->size = n + CHUNK;
	f->p = f->buf = grown;
	f->end = grown + have;
	return 0;
}

int vns_feed_more(struct vns_feed *f, size_t n)
{
	size_t have = vns_feed_left(f);
	int rc;

	if (f->eof)
		return have < n;
	rc = make_room(f, n);
	if (rc)
		return rc;
	while (have < n) {
		size_t want = n - have > CHUNK ? n - have : CHUNK;
		ssize_t got = read_some(f, f->buf + have, want);

		if (got < 0)
			return (int)got;
		f->eof = got == 0;
		if (f->eof)
			return 1;
		have += (size_t)got;
		f->end = f->buf + have;
	}
	return 0;
}

int vns_feed_skip(struct vns_feed *f, uint64_t n)
{
	while (n) {
		uint64_t step = vns_feed_left(f) < n ? vns_feed_left(f) : n;
		int rc;

		f->p += step;
		n -= step;
		do
			rc = n ? vns_feed_more(f, 1) : 0;
		while (rc == -EINTR);
		if (rc)
			return rc;
	}
	return 0;
}
