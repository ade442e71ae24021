// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pcapng file -> frames (draft-ietf-opsawg-pcapng): blocks of a type, a length, a body and the
 * length again. A section header sets the byte order and forgets the interfaces; interface
 * descriptions give link type, time resolution and offset; enhanced, simple and old packet
 * blocks hold packets; interface statistics hold the capture's drops. Others are skipped.
 *
 * A block whose length is impossible ends the file, since the next one cannot be found. A
 * packet block that contradicts itself is counted and skipped.
 */
#include <errno.h>

#include "source/file.h"

enum { BLOCK_IDB = 1, BLOCK_OLD_PACKET = 2, BLOCK_SPB = 3, BLOCK_ISB = 5, BLOCK_EPB = 6 };

enum { BLOCK_OVERHEAD = 12, /* type and both lengths */
       SHB_MIN = 28, IDB_BODY = 8, EPB_BODY = 20, SPB_BODY = 4, ISB_BODY = 12 };

#define BOM 0x1a2b3c4du

/* Largest block that is looked into: a packet and its options (comments, hashes). */
#define MAX_BLOCK (VNS_FILE_MAX_PACKET + (512u << 10))

/* Times further from 1970 than this (146 years) are nonsense; differences must not overflow. */
#define MAX_TIME_NS (INT64_C(1) << 62)

struct block {
	uint32_t type, len;
	const uint8_t *body;
	uint32_t body_len;
};

/* Option @code of a list at @p; NULL when there is none. Lengths are checked, data unaligned. */
static const uint8_t *find_option(const struct vns_file *f, const uint8_t *p, size_t n,
				  uint16_t code, uint16_t want_len)
{
	while (n >= 4) {
		uint16_t c = vns_file_u16(f, p), len = vns_file_u16(f, p + 2);
		size_t padded = ((size_t)len + 3) & ~(size_t)3;

		if (c == 0 || padded > n - 4)
			return NULL;
		if (c == code && len == want_len)
			return p + 4;
		p += 4 + padded;
		n -= 4 + padded;
	}
	return NULL;
}

/* The text of option @code, fit to be shown, cut to what fits. */
static void option_text(const struct vns_file *f, const uint8_t *p, size_t n, uint16_t code, char *to,
			size_t size)
{
	const uint8_t *opt = NULL;
	uint16_t len = 0;

	for (size_t at = 0; at + 4 <= n; at += 4 + (((size_t)len + 3) & ~(size_t)3)) {
		uint16_t c = vns_file_u16(f, p + at);

		len = vns_file_u16(f, p + at + 2);
		if (c == 0 || len > n - at - 4)
			break;
		if (c == code)
			opt = p + at + 4;
		if (opt)
			break;
	}
	if (opt)
		vns_text_clean(to, size, opt, strnlen((const char *)opt, len));
}

/* if_tsresol: 10^-n, or 2^-n when the upper bit is set. */
static void set_resolution(struct vns_file_iface *iface, uint8_t tsresol)
{
	unsigned int n = tsresol & 0x7f;

	iface->mul = iface->div = 1;
	if (tsresol & 0x80) {
		iface->mul = (uint64_t)VNS_NSEC_PER_SEC;
		iface->shift = n;
		iface->usable = n < 64;
		return;
	}
	iface->usable = n <= 28; /* 10^19 is the largest power that 64 bits hold */
	for (unsigned int i = n; iface->usable && i < 9; i++)
		iface->mul *= 10;
	for (unsigned int i = 9; iface->usable && i < n; i++)
		iface->div *= 10;
}

static int interface_block(struct vns_file *f, const struct block *b, struct vns_err *err)
{
	enum { IF_NAME = 2, IF_TSRESOL = 9, IF_TSOFFSET = 14, MICROSECONDS = 6 };
	struct vns_file_iface iface = { .linktype = 0 };
	const uint8_t *opt;
	int64_t offset;

	if (b->body_len < IDB_BODY || f->n_iface == VNS_FILE_MAX_IFACES) {
		f->base.stats.bad_records++;
		return 0;
	}
	iface.linktype = vns_file_u16(f, b->body);
	iface.snaplen = vns_file_u32(f, b->body + 4);
	option_text(f, b->body + IDB_BODY, b->body_len - IDB_BODY, IF_NAME, iface.name,
		    sizeof(iface.name));
	opt = find_option(f, b->body + IDB_BODY, b->body_len - IDB_BODY, IF_TSRESOL, 1);
	set_resolution(&iface, opt ? *opt : MICROSECONDS);
	opt = find_option(f, b->body + IDB_BODY, b->body_len - IDB_BODY, IF_TSOFFSET, 8);
	if (opt) {
		memcpy(&offset, opt, sizeof(offset));
		if (f->swapped)
			offset = (int64_t)__builtin_bswap64((uint64_t)offset);
		if (offset > MAX_TIME_NS / VNS_NSEC_PER_SEC ||
		    offset < -MAX_TIME_NS / VNS_NSEC_PER_SEC)
			iface.usable = false;
		else
			iface.offset_ns = offset * VNS_NSEC_PER_SEC;
	}
	return vns_file_add_iface(f, &iface, err);
}

/* Return: false when the time is nonsense. */
static bool to_ns(const struct vns_file_iface *iface, uint64_t ticks, int64_t *ns)
{
	unsigned __int128 v = (unsigned __int128)ticks * iface->mul;

	if (iface->div != 1)
		v /= iface->div;
	v >>= iface->shift;
	if (v > MAX_TIME_NS)
		return false;
	*ns = (int64_t)v + iface->offset_ns;
	return *ns <= MAX_TIME_NS && *ns >= -MAX_TIME_NS;
}

/* epb_flags: bits 0 and 1 are the direction, 2 is outbound. */
static uint16_t direction_flag(const struct vns_file *f, const uint8_t *p, size_t n)
{
	enum { EPB_FLAGS = 2, OUTBOUND = 2 };
	const uint8_t *opt = find_option(f, p, n, EPB_FLAGS, 4);

	return opt && (vns_file_u32(f, opt) & 3) == OUTBOUND ? VNS_PKT_F_OUTGOING : 0;
}

/*
 * The point of a packet of interface @id. Where a section describes one interface, of cooked frames, it is the
 * index in each frame. A description that comes behind such packets changes nothing of it, and its own points
 * are numbered from the top, or they would be some of those.
 */
static uint16_t point_of(struct vns_file *f, uint32_t id, const struct vns_frame *frame)
{
	if (f->n_iface == 1)
		f->by_index = f->by_interface && frame->linktype == VNS_LINK_LINUX_SLL2;
	f->had_index |= f->by_index;
	if (f->n_iface == 1 || (f->by_index && id == 0))
		return vns_file_point(f, frame->linktype, frame->data, frame->cap_len);
	return (uint16_t)(f->had_index ? VNS_FILE_LAST_POINT - id : id);
}

/* Enhanced and old packet blocks: the same but for the size of the interface number. */
static size_t packet_block(struct vns_file *f, const struct block *b, struct vns_frame *frame)
{
	const uint8_t *p = b->body;
	struct vns_file_iface *iface;
	uint32_t id, padded;

	if (b->body_len < EPB_BODY)
		goto bad;
	id = b->type == BLOCK_EPB ? vns_file_u32(f, p) : vns_file_u16(f, p);
	*frame = (struct vns_frame){ .data = p + EPB_BODY, .cap_len = vns_file_u32(f, p + 12),
				    .wire_len = vns_file_u32(f, p + 16), .point = (uint16_t)id };
	if (id >= f->n_iface || frame->cap_len > b->body_len - EPB_BODY)
		goto bad;
	iface = &f->iface[id];
	frame->linktype = iface->linktype;
	if (!iface->usable ||
	    !to_ns(iface, (uint64_t)vns_file_u32(f, p + 4) << 32 | vns_file_u32(f, p + 8),
		   &frame->time_ns))
		goto bad;
	frame->point = point_of(f, id, frame);
	f->latest_ns = frame->time_ns;
	padded = (frame->cap_len + 3) & ~3u;
	if (padded + 4 < b->body_len - EPB_BODY)
		frame->flags = direction_flag(f, p + EPB_BODY + padded,
					     b->body_len - EPB_BODY - padded);
	return vns_file_emit(f, iface, frame);
bad:
	f->base.stats.bad_records++;
	return 0;
}

/*
 * Simple packet block: interface 0, no time. It takes the one of the packet before it, so that it
 * stands where it was captured, and the mark that keeps it out of every measurement.
 */
static size_t simple_block(struct vns_file *f, const struct block *b, struct vns_frame *frame)
{
	size_t n;
	uint32_t keep;

	if (b->body_len < SPB_BODY || !f->n_iface) {
		f->base.stats.bad_records++;
		return 0;
	}
	*frame = (struct vns_frame){ .data = b->body + SPB_BODY,
				     .linktype = f->iface[0].linktype,
				     .wire_len = vns_file_u32(f, b->body),
				     .time_ns = f->latest_ns, .flags = VNS_FRAME_NO_TIME };
	if (frame->time_ns < f->iface[0].last_ns)
		frame->time_ns = f->iface[0].last_ns;
	keep = b->body_len - SPB_BODY;
	if (f->iface[0].snaplen && f->iface[0].snaplen < keep)
		keep = f->iface[0].snaplen;
	frame->cap_len = frame->wire_len < keep ? frame->wire_len : keep;
	n = vns_file_emit(f, &f->iface[0], frame);
	f->untimed += n;
	return n;
}

/* Interface statistics: what the capturing machine lost, counted up since its start. */
static void statistics_block(struct vns_file *f, const struct block *b)
{
	enum { ISB_IFDROP = 5, ISB_OSDROP = 7 };
	static const uint16_t codes[] = { ISB_IFDROP, ISB_OSDROP };
	struct vns_file_iface *iface;
	uint64_t lost = 0, v;
	uint32_t id;

	if (b->body_len < ISB_BODY)
		return;
	id = vns_file_u32(f, b->body);
	if (id >= f->n_iface)
		return;
	iface = &f->iface[id];
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		const uint8_t *opt = find_option(f, b->body + ISB_BODY, b->body_len - ISB_BODY,
						 codes[i], 8);

		if (!opt)
			continue;
		memcpy(&v, opt, sizeof(v));
		lost += f->swapped ? __builtin_bswap64(v) : v;
	}
	if (lost > iface->lost) {
		f->base.stats.dropped += lost - iface->lost;
		iface->lost = lost;
	}
}

static int framing_error(struct vns_file *f, const char *what)
{
	return vns_file_stop(f, "%s: block %llu at byte %llu %s; nothing behind it can be read",
			     f->name, (unsigned long long)f->record + 1,
			     (unsigned long long)vns_feed_at(&f->feed), what);
}

/*
 * Type and length of the block at the feed's position; a section header sets the byte order.
 * Return: 0, 1 impossible (sentence set), 2 more bytes are needed.
 */
static int peek_block(struct vns_file *f, struct block *b)
{
	const uint8_t *p = f->feed.p;
	uint32_t bom;

	if (vns_feed_left(&f->feed) < BLOCK_OVERHEAD)
		return 2;
	b->type = vns_file_u32(f, p);
	if (b->type == VNS_PCAPNG_MAGIC) {
		memcpy(&bom, p + 8, sizeof(bom));
		if (bom != BOM && bom != __builtin_bswap32(BOM)) {
			framing_error(f, "has no valid byte-order mark");
			return 1;
		}
		f->swapped = bom != BOM;
	}
	b->len = vns_file_u32(f, p + 4);
	if (b->len < BLOCK_OVERHEAD || b->len % 4 ||
	    (b->type == VNS_PCAPNG_MAGIC && (b->len < SHB_MIN || b->len > MAX_BLOCK))) {
		framing_error(f, "has an impossible length");
		return 1;
	}
	b->body = p + 8;
	b->body_len = b->len - BLOCK_OVERHEAD;
	return 0;
}

static int section_block(struct vns_file *f, const struct block *b)
{
	if (vns_file_u16(f, b->body + 4) != 1)
		return framing_error(f, "starts a section of a pcapng version other than 1");
	f->n_iface = 0;
	f->by_index = false;
	return 0;
}

/* One whole block. Return: packets written (0, 1), or a condition of vns_source_next(). */
static int take_block(struct vns_file *f, const struct block *b, struct vns_frame *frame,
		      struct vns_err *err)
{
	if (vns_file_u32(f, b->body + b->body_len) != b->len)
		return framing_error(f, "ends with another length than it starts with");
	switch (b->type) {
	case BLOCK_EPB:
	case BLOCK_OLD_PACKET:
		return (int)packet_block(f, b, frame);
	case BLOCK_SPB:
		return (int)simple_block(f, b, frame);
	case BLOCK_IDB:
		return interface_block(f, b, err);
	case BLOCK_ISB:
		statistics_block(f, b);
		return 0;
	case VNS_PCAPNG_MAGIC:
		return section_block(f, b);
	default:
		return 0;
	}
}

/* A block too long to look into: only those without packets may be. */
static int skip_block(struct vns_file *f, const struct block *b, struct vns_err *err)
{
	int rc = vns_feed_skip(&f->feed, b->len);

	if (rc)
		return vns_file_short(f, rc, "block", err);
	if (b->type == BLOCK_EPB || b->type == BLOCK_OLD_PACKET || b->type == BLOCK_SPB)
		f->base.stats.bad_records++;
	f->record++;
	return 0;
}

static int walk_pcapng(struct vns_file *f, struct vns_frame *out, size_t max,
		       bool more, struct vns_err *err)
{
	size_t n = 0;
	int rc;

	while (n < max && !f->ended) {
		struct block b = { .len = BLOCK_OVERHEAD };
		int seen = peek_block(f, &b);

		if (seen == 1)
			break;
		if (seen == 0 && vns_feed_left(&f->feed) >= b.len) {
			rc = take_block(f, &b, &out[n], err);
			if (rc < 0 && (n || !more)) /* an error comes again, alone */
				break;
			f->ended |= rc < 0;
			if (rc < 0)
				return rc;
			f->feed.p += b.len;
			f->record++;
			n += (size_t)rc;
			continue;
		}
		if (n || !more) /* what we have first: reading on may wait */
			break;
		if (b.len > MAX_BLOCK) {
			rc = skip_block(f, &b, err);
			if (rc)
				return rc;
			continue;
		}
		rc = vns_feed_more(&f->feed, b.len);
		if (rc)
			return vns_file_short(f, rc, vns_feed_left(&f->feed) ? "block" : NULL,
					      err);
	}
	return n || !f->ended ? (int)n : VNS_SOURCE_EOF;
}

/*
 * Read on to the first interface, so that a wrong filter is an error of opening. No packet can
 * come before it: one that does is counted as bad by take_block().
 */
int vns_file_open_pcapng(struct vns_file *f, struct vns_err *err)
{
	struct vns_frame none;
	struct block b = { .len = SHB_MIN };
	int rc = vns_feed_more(&f->feed, SHB_MIN);

	f->walk = walk_pcapng;
	if (rc)
		return vns_err_set(err, rc < 0 ? rc : -EINVAL, "%s is cut inside its header",
				   f->name);
	if (peek_block(f, &b) || section_block(f, &b))
		return vns_err_set(err, -EINVAL, "%s", f->base.sentence);
	while (!f->n_iface && !f->ended) {
		rc = peek_block(f, &b);
		if (rc == 1 || b.len > MAX_BLOCK)
			break;
		if (rc == 2)
			b.len = BLOCK_OVERHEAD;
		if (vns_feed_left(&f->feed) < b.len) {
			if (vns_feed_more(&f->feed, b.len))
				break; /* the walk meets the same end and says so */
			continue;
		}
		rc = take_block(f, &b, &none, err);
		f->feed.p += b.len;
		f->record++;
		if (rc < 0 && rc != VNS_SOURCE_EOF)
			return rc;
	}
	return 0;
}
