/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes of a file or pipe in order, as much in one piece as the reader asks for.
 *
 * Between p and end lie bytes that have been read and not yet consumed. The reader checks the
 * distance itself (one comparison on the hot path) and calls vns_feed_more() when it is short;
 * pointers into the buffer are invalid after that.
 */
#ifndef VNS_SOURCE_FEED_H
#define VNS_SOURCE_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source/stream.h"

struct vns_feed {
	const uint8_t *p, *end;
	uint8_t *buf;
	size_t size;
	uint64_t buf_at; /* offset of buf[0] in the file, or in what it unpacks to */
	int fd;
	struct vns_stream *stream; /* unpacks what comes from fd; NULL: it is not compressed */
	bool eof;
};

int vns_feed_init(struct vns_feed *f, int fd);
void vns_feed_fini(struct vns_feed *f); /* leaves the descriptor open */

/* From the file's start (what was read of it included) on, read what it unpacks to.
 * Return: 0 or -ENOMEM. */
int vns_feed_unpack(struct vns_feed *f, enum vns_stream_kind kind);

static inline size_t vns_feed_left(const struct vns_feed *f)
{
	return (size_t)(f->end - f->p);
}

/* Offset of the next byte in the file, or in what it unpacks to. */
static inline uint64_t vns_feed_at(const struct vns_feed *f)
{
	return f->buf_at + (uint64_t)(f->p - f->buf);
}

/*
 * Read until @n bytes (at most VNS_FEED_MAX) are in one piece at p.
 * Return: 0, 1 when the file ends before, -EINTR by a signal (try again), -errno.
 */
int vns_feed_more(struct vns_feed *f, size_t n);

/* Move on by @n bytes, however many. Return: 0, 1 when the file ends before, -errno. */
int vns_feed_skip(struct vns_feed *f, uint64_t n);

#define VNS_FEED_MAX (2u << 20)

#endif
