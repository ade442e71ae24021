/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file in blocks of frames that are not decoded yet, so that several threads can decode.
 *
 * vns_source_next_block() is the part of reading that must be done in order (bytes, record
 * headers, interfaces, filter, all counters but the verdicts) and is called under the caller's
 * lock. A block owns the bytes of its frames; decoding it needs neither the lock nor the source:
 * vns_packet_decode_without() on each frame, then vns_source_count_verdicts() under the lock. Blocks and
 * vns_source_next() may alternate.
 */
#ifndef VNS_SOURCE_BLOCK_H
#define VNS_SOURCE_BLOCK_H

#include <vnetscope/source.h>

/* A block is what one read() brought (256 KiB), if it has no more frames than this. */
#define VNS_BLOCK_FRAMES 4096

/* @frame: point into @buf, valid until the block is filled anew or freed; @without: as the source was
 * opened. */
struct vns_block {
	struct vns_frame *frame;
	size_t n;
	unsigned int without;
	uint8_t *buf;
	size_t size;
};

int vns_block_init(struct vns_block *b); /* Return: 0 or -ENOMEM */
void vns_block_fini(struct vns_block *b);

/*
 * Return: number of frames (> 0), VNS_SOURCE_NONE, VNS_SOURCE_EOF, or -errno with @err set, as
 * vns_source_next() has them; -EINVAL when @s is not a file.
 */
int vns_source_next_block(struct vns_source *s, struct vns_block *b, struct vns_err *err);
/* Add to the source's verdicts what the frames of its blocks came to. */
void vns_source_count_verdicts(struct vns_source *s, const uint64_t counts[VNS_PKT_VERDICTS]);

#endif
