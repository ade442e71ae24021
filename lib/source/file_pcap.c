// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pcap file -> frames (draft-ietf-opsawg-pcap): a header of 24 bytes, then records of a header
 * of 16 bytes (time, captured length, wire length) and the packet. Either byte order, micro- and
 * nanoseconds, the modified format of Kuznetzov (record headers of 24 bytes), and the
 * length order of versions before 2.4.
 *
 * Files that were put one behind the other (cat) are read as one when their link types agree. The header
 * of the second looks like a record: its magic number is the time, decades ahead, its time zone of 0 the
 * captured length.
 */
#include <errno.h>

#include "packet/usual.h"
#include "source/file.h"

enum { FILE_HEADER = 24, RECORD_HEADER = 16, RECORD_HEADER_MODIFIED = 24 };

#define MAGIC_US       0xa1b2c3d4u
#define MAGIC_NS       0xa1b23c4du
#define MAGIC_MODIFIED 0xa1b2cd34u

enum peek { WHOLE, SHORT, IMPOSSIBLE, HEADER };

static bool is_magic(uint32_t magic)
{
	return magic == MAGIC_US || magic == MAGIC_NS || magic == MAGIC_MODIFIED;
}

/* Does a file's header stand at @h, where a record's should? Of each order of bytes. */
static bool is_header(const uint8_t *h)
{
	uint32_t magic, zero[2];
	uint16_t major;

	memcpy(&magic, h, sizeof(magic));
	memcpy(&major, h + 4, sizeof(major));
	memcpy(zero, h + 8, sizeof(zero)); /* time zone and accuracy: always 0 */
	return ((is_magic(magic) && major == 2) ||
		(is_magic(__builtin_bswap32(magic)) && major == __builtin_bswap16(2))) &&
	       !zero[0] && !zero[1];
}

/*
 * The record at the feed's position into @frame, its length or what is known of it into @need.
 * Before 2.3 the wire length came first; files of 2.3 are found in either order.
 */
static inline enum peek peek_record(const struct vns_file *f, struct vns_frame *frame,
				    size_t *need)
{
	const uint8_t *h = f->feed.p;
	uint32_t cap, wire;

	*need = f->record_header;
	if (vns_feed_left(&f->feed) < *need)
		return SHORT;
	cap = vns_file_u32(f, h + 8);
	wire = vns_file_u32(f, h + 12);
	if (f->minor < 4 && (f->minor < 3 || cap > wire)) {
		cap = wire;
		wire = vns_file_u32(f, h + 8);
	}
	if (__builtin_expect(cap == 0 && is_header(h), 0))
		return HEADER;
	if (cap > VNS_FILE_MAX_PACKET)
		return IMPOSSIBLE;
	*need += cap;
	*frame = (struct vns_frame){
		.time_ns = vns_file_u32(f, h) * VNS_NSEC_PER_SEC +
			   (int64_t)(vns_file_u32(f, h + 4) * f->iface[0].mul),
		.data = h + f->record_header, .cap_len = cap, .wire_len = wire,
		.linktype = f->iface[0].linktype,
	};
	if (vns_feed_left(&f->feed) >= *need)
		frame->point = vns_file_point(f, frame->linktype, frame->data, cap);
	return vns_feed_left(&f->feed) < *need ? SHORT : WHOLE;
}

static int impossible(struct vns_file *f)
{
	uint32_t magic;

	memcpy(&magic, f->feed.p, sizeof(magic));
	if (magic == VNS_PCAPNG_MAGIC)
		return vns_file_stop(f, "%s: behind record %llu, at byte %llu, a pcapng file begins: it is not "
				     "read", f->name, (unsigned long long)f->record,
				     (unsigned long long)vns_feed_at(&f->feed));
	return vns_file_stop(f, "%s: record %llu at byte %llu claims to be longer than %u bytes; "
			     "nothing behind it can be read", f->name,
			     (unsigned long long)f->record + 1,
			     (unsigned long long)vns_feed_at(&f->feed), VNS_FILE_MAX_PACKET);
}

/* A whole record at @p to a frame; @mul: ns of the file's fraction of a second. */
static inline void to_frame(struct vns_frame *frame, const uint8_t *p, int64_t mul,
			    uint32_t linktype)
{
	uint32_t h[RECORD_HEADER / 4];

	memcpy(h, p, sizeof(h));
	*frame = (struct vns_frame){ .time_ns = h[0] * VNS_NSEC_PER_SEC + h[1] * mul,
				     .data = p + RECORD_HEADER, .cap_len = h[2],
				     .wire_len = h[3], .linktype = linktype };
}

/* Another frame than the usual one: from where vns_decode_record() left @out, by the layers. */
static __attribute__((noinline)) void decode_other(struct vns_file *f, const uint8_t *p,
						   struct vns_span s, struct vns_packet *out)
{
	struct vns_frame frame;

	to_frame(&frame, p, (int64_t)f->iface[0].mul, f->iface[0].linktype);
	out->point = vns_file_point(f, frame.linktype, frame.data, frame.cap_len);
	out->verdict = (uint8_t)vns_decode_layers(&frame, s, out);
	if (f->base.without & VNS_WITHOUT_DIGEST)
		out->digest = 0;
	f->base.stats.verdicts[out->verdict]++;
}

/*
 * Records of the usual kind (our byte order, version 2.4, headers of 16 bytes, no filter, not empty)
 * that lie whole in the feed, as @frames or decoded as @pkts; the first other one is left to the walk below.
 * The same with counters in registers, nothing to decide per record, and no frame in between
 * where it is decoded at once.
 */
static inline __attribute__((always_inline)) size_t
walk_usual(struct vns_file *f, struct vns_frame *frames, struct vns_packet *pkts, size_t max)
{
	const uint8_t *p = f->feed.p, *end = f->feed.end;
	struct vns_file_iface *iface = &f->iface[0];
	const bool ethernet = iface->linktype == VNS_LINK_ETHERNET;
	const bool digest = !(f->base.without & VNS_WITHOUT_DIGEST);
	const int64_t mul = (int64_t)iface->mul;
	const uint32_t second = (uint32_t)(VNS_NSEC_PER_SEC / mul);
	int64_t last_ns = iface->last_ns;
	uint64_t bytes = 0, overfull = 0;
	size_t n = 0, others = 0;

	while (n < max && end - p >= RECORD_HEADER) {
		struct vns_span s = { .p = p + RECORD_HEADER };
		uint32_t h[RECORD_HEADER / 4];
		int64_t time_ns;

		memcpy(h, p, sizeof(h));
		if (h[2] - 1 >= VNS_FILE_MAX_PACKET || end - s.p < (ptrdiff_t)h[2])
			break;
		time_ns = h[0] * VNS_NSEC_PER_SEC + h[1] * mul;
		s.cap = h[2];
		s.wire = h[3] > h[2] ? h[3] : h[2]; /* a capture cannot hold more: believe the bytes */
		bytes += s.wire;
		if (__builtin_expect(time_ns < last_ns, 0))
			vns_source_back(&f->base, last_ns, time_ns);
		overfull += h[1] >= second;
		last_ns = time_ns;
		if (frames) {
			to_frame(&frames[n], p, mul, iface->linktype);
			frames[n].point = vns_file_point(f, iface->linktype, s.p, s.cap);
		} else if (!vns_decode_record(&pkts[n], s, time_ns, ethernet, digest)) {
			others++;
			decode_other(f, p, s, &pkts[n]);
		}
		p = s.p + s.cap;
		n++;
	}
	if (pkts)
		f->base.stats.verdicts[VNS_PKT_OK] += n - others;
	f->feed.p = p;
	f->record += n;
	f->base.stats.frames += n;
	f->base.stats.bytes += bytes;
	f->overfull += overfull;
	iface->last_ns = last_ns;
	return n;
}

static bool is_usual(const struct vns_file *f)
{
	return !f->swapped && f->minor >= 4 && f->record_header == RECORD_HEADER &&
	       !f->iface[0].filter;
}

static size_t decode_pcap(struct vns_file *f, struct vns_packet *out, size_t max)
{
	return is_usual(f) ? walk_usual(f, NULL, out, max) : 0;
}

/* Return: false when @magic is no pcap magic in this byte order. */
static bool take_magic(struct vns_file *f, uint32_t magic, struct vns_file_iface *iface)
{
	iface->mul = magic == MAGIC_NS ? 1 : 1000;
	f->record_header = magic == MAGIC_MODIFIED ? RECORD_HEADER_MODIFIED : RECORD_HEADER;
	return is_magic(magic);
}

/* The magic number at the feed's position; false: it is none. */
static bool find_magic(struct vns_file *f, struct vns_file_iface *iface)
{
	uint32_t magic;

	memcpy(&magic, f->feed.p, sizeof(magic));
	f->swapped = !take_magic(f, magic, iface);
	return !f->swapped || take_magic(f, __builtin_bswap32(magic), iface);
}

/* The header behind the magic number, which is there whole. */
static void take_header(struct vns_file *f, struct vns_file_iface *iface)
{
	f->minor = vns_file_u16(f, f->feed.p + 6);
	/* the upper bits say whether frames end in a checksum, which decoding cuts anyway */
	iface->linktype = vns_file_u32(f, f->feed.p + 20) & 0xffff;
	f->feed.p += FILE_HEADER;
}

/* Another file begins. Return: 0, or what vns_source_next() shall. */
static int next_file(struct vns_file *f, struct vns_err *err)
{
	struct vns_file_iface iface = { .usable = true };
	uint64_t at = vns_feed_at(&f->feed);
	int rc = vns_feed_left(&f->feed) < FILE_HEADER ? vns_feed_more(&f->feed, FILE_HEADER) : 0;

	if (rc)
		return vns_file_short(f, rc, "record", err);
	find_magic(f, &iface);
	take_header(f, &iface);
	if (iface.linktype != f->iface[0].linktype)
		return vns_file_stop(f, "%s: behind record %llu, at byte %llu, another pcap file begins, of link "
				     "type %u and not %u: it is not read", f->name,
				     (unsigned long long)f->record, (unsigned long long)at, iface.linktype,
				     f->iface[0].linktype);
	f->iface[0].mul = iface.mul;
	if (f->base.stats.resolution_ns < iface.mul)
		f->base.stats.resolution_ns = iface.mul;
	f->joined++;
	return 0;
}

static int walk_pcap(struct vns_file *f, struct vns_frame *out, size_t max, bool more,
		     struct vns_err *err)
{
	size_t n = is_usual(f) ? walk_usual(f, out, NULL, max) : 0, need;

	while (n < max) {
		enum peek seen = peek_record(f, &out[n], &need);
		int rc;

		if (__builtin_expect(seen == WHOLE, 1)) {
			f->overfull += vns_file_u32(f, f->feed.p + 4) >= VNS_NSEC_PER_SEC / (int64_t)f->iface[0].mul;
			n += vns_file_emit(f, &f->iface[0], &out[n]);
			f->feed.p += need;
			f->record++;
			continue;
		}
		if (n || !more) /* what we have first: reading on may wait */
			break;
		if (seen == IMPOSSIBLE)
			return impossible(f);
		if (seen == HEADER) {
			rc = next_file(f, err);
			if (rc)
				return rc;
			continue;
		}
		rc = vns_feed_more(&f->feed, need);
		if (rc)
			return vns_file_short(f, rc, vns_feed_left(&f->feed) ? "record" : NULL,
					      err);
	}
	return (int)n;
}

int vns_file_open_pcap(struct vns_file *f, struct vns_err *err)
{
	struct vns_file_iface iface = { .usable = true };
	const uint8_t *h;
	int rc;

	if (!find_magic(f, &iface))
		return 1;
	rc = vns_feed_more(&f->feed, FILE_HEADER);
	if (rc)
		return vns_err_set(err, rc < 0 ? rc : -EINVAL, "%s is cut inside its header",
				   f->name);
	h = f->feed.p;
	if (vns_file_u16(f, h + 4) != 2)
		return vns_err_set(err, -EINVAL, "%s is a pcap file of version %u.%u; "
				   "2.x can be read", f->name, vns_file_u16(f, h + 4),
				   vns_file_u16(f, h + 6));
	take_header(f, &iface);
	f->walk = walk_pcap;
	f->decode = decode_pcap;
	return vns_file_add_iface(f, &iface, err);
}
