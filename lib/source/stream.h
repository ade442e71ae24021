/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A compressed file or pipe as the bytes it unpacks to, in order.
 *
 * The kind is told by the first bytes, never by the name. Memory is bounded whatever the file
 * claims: one input buffer and the window of the format (32 KiB for gzip, at most 128 MiB for
 * zstd; a file that needs more is a problem, not an allocation).
 */
#ifndef VNS_SOURCE_STREAM_H
#define VNS_SOURCE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum vns_stream_kind { VNS_STREAM_PLAIN, VNS_STREAM_GZIP, VNS_STREAM_ZSTD };

struct vns_stream;

/* What the first @n bytes at @p begin; four are enough to tell. */
enum vns_stream_kind vns_stream_kind(const uint8_t *p, size_t n);

/*
 * Unpack what comes from @fd (borrowed), of which the @n bytes at @have (copied) have been read
 * already. @kind is not plain. Return: 0 or -ENOMEM.
 */
int vns_stream_open(struct vns_stream **out, enum vns_stream_kind kind, int fd,
		    const uint8_t *have, size_t n);

/*
 * Up to @n bytes (at least 1) into @to. Waits for the descriptor only while it has none to give.
 * Return: their number, 0 at the end (vns_stream_problem() says whether it is a good one), or
 * -errno of read() (-EINTR: call again).
 */
ssize_t vns_stream_read(struct vns_stream *s, uint8_t *to, size_t n);

/*
 * Why the stream ended before its end ("its gzip stream is cut at byte 4242", bytes of the
 * compressed file), or NULL. Borrowed. @cut: the file ends early; else it is damaged.
 */
const char *vns_stream_problem(const struct vns_stream *s, bool *cut);

void vns_stream_close(struct vns_stream *s); /* leaves the descriptor open */

#endif
