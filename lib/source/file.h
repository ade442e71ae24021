/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of capture file reading: file.c opens and tells the format, file_pcap.c and
 * file_pcapng.c walk the records. A walk finds frames and does not look into them: it is the part
 * of reading that must be done in order.
 */
#ifndef VNS_SOURCE_FILE_H
#define VNS_SOURCE_FILE_H

#include <string.h>

#include "source/feed.h"
#include "source/filter.h"
#include "source/source.h"

/* Bytes of one packet that are believed; the largest superframe (BIG TCP) has 512 KiB. */
#define VNS_FILE_MAX_PACKET (1u << 20)

/* Interfaces of a section that are told apart (struct vns_packet.point has 16 bits). */
#define VNS_FILE_MAX_IFACES 65536u
/* Downwards from here where interfaces' indices are points, too; 65535 is every index above. */
#define VNS_FILE_LAST_POINT 65534u

/*
 * One interface of the file. Time in ns = ticks * mul / div >> shift + offset_ns.
 * @usable: link type and time resolution make sense
 * @filter: borrowed; NULL: all frames are wanted
 */
struct vns_file_iface {
	uint32_t linktype, snaplen;
	uint64_t mul, div;
	unsigned int shift;
	bool usable;
	int64_t offset_ns, last_ns;
	uint64_t lost; /* the interface's latest count of drops */
	const struct vns_bpf_insn *filter;
	char name[32]; /* cut to that; or "" */
};

/* Frames found before they are decoded: 1.3 KB, and small against what they hold. */
#define VNS_FILE_FRAMES 32

/* Filters are compiled once for each link type; this many we know. */
#define VNS_FILE_MAX_FILTERS 12

struct vns_file {
	struct vns_source base;
	struct vns_feed feed;
	char *name;         /* for messages */
	char *expr;         /* filter expression, NULL: none */
	struct {
		uint32_t linktype;
		struct vns_bpf_insn *code;
	} filter[VNS_FILE_MAX_FILTERS];
	size_t n_filter;
	uint8_t *untagged;  /* VNS_FILE_MAX_PACKET, for the filter; NULL: it looks at frames as they stand */
	struct vns_file_iface *iface;
	size_t n_iface, max_iface;
	/* Return: as vns_source_next(), but 0 also when nothing is left to find without @more reading */
	int (*walk)(struct vns_file *f, struct vns_frame *out, size_t max, bool more,
		    struct vns_err *err);
	/* what of the buffer can be walked and decoded in one go, up to @max; may be NULL */
	size_t (*decode)(struct vns_file *f, struct vns_packet *out, size_t max);
	uint64_t record;     /* records or blocks read so far */
	uint64_t joined;     /* pcap: further files behind the first */
	uint64_t untimed;    /* packets of simple packet blocks, handed out */
	uint64_t overfull;   /* pcap: records whose part of a second is a second or more */
	int64_t latest_ns;   /* pcapng: time of the packet read last */
	bool swapped;        /* the file's byte order is not ours */
	bool ended;
	bool by_interface;   /* of cooked frames */
	bool by_index;       /* pcapng: packets of the section's first interface have their index as point */
	bool had_index;      /* ... of this section or one before */
	uint16_t minor;      /* pcap: minor version */
	uint32_t record_header; /* pcap: bytes before each packet */
};

static inline uint32_t vns_file_u32(const struct vns_file *f, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return f->swapped ? __builtin_bswap32(v) : v;
}

static inline uint16_t vns_file_u16(const struct vns_file *f, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return f->swapped ? __builtin_bswap16(v) : v;
}

/* Of a frame that no interface description tells of: 0, or the index in a cooked header. */
static inline uint16_t vns_file_point(const struct vns_file *f, uint32_t linktype, const uint8_t *p, uint32_t cap)
{
	enum { INDEX = 4, INDEX_END = 8, MOST = 65535 };
	uint32_t index;

	if (!f->by_interface || linktype != VNS_LINK_LINUX_SLL2 || cap < INDEX_END)
		return 0;
	index = (uint32_t)p[INDEX] << 24 | (uint32_t)p[INDEX + 1] << 16 | (uint32_t)p[INDEX + 2] << 8 | p[INDEX + 3];
	return index < MOST ? (uint16_t)index : MOST;
}

/* Does the filter of @iface want @frame? Looked at without its VLAN tags, as live, see filter.c. */
bool vns_file_wants(const struct vns_file *f, const struct vns_file_iface *iface, const struct vns_frame *frame);

/* Filter and count @frame, which is in its place already. Return: frames to keep, 0 or 1. */
static inline size_t vns_file_emit(struct vns_file *f, struct vns_file_iface *iface,
				   const struct vns_frame *frame)
{
	if (iface->filter && !vns_file_wants(f, iface, frame)) {
		f->base.stats.filtered++;
		return 0;
	}
	vns_source_count(&f->base, frame, &iface->last_ns);
	return 1;
}

/* Add an interface; compiles the filter for its link type. Return: 0 or -errno with @err. */
int vns_file_add_iface(struct vns_file *f, const struct vns_file_iface *iface,
		       struct vns_err *err);

/*
 * What a walker does when vns_feed_more() or _skip() gave @rc != 0 in the middle of what it calls
 * @what ("record", "block") or between two (@what NULL).
 * Return: what vns_source_next() shall.
 */
int vns_file_short(struct vns_file *f, int rc, const char *what, struct vns_err *err);

/* No more can be read from here on; the formatted text becomes the source's sentence. */
int vns_file_stop(struct vns_file *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The feed stands at the start of the file, at least 4 bytes are there. Return: 0 or -errno. */
int vns_file_open_pcap(struct vns_file *f, struct vns_err *err);
int vns_file_open_pcapng(struct vns_file *f, struct vns_err *err);

#define VNS_PCAPNG_MAGIC 0x0a0d0d0au /* the same in both byte orders */

#endif
