// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Capture file, pipe or standard input -> a source: open it, tell compression and format by the
 * first bytes, and what the formats share (interfaces, filters, the end of the file).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source/file.h"

static bool known_linktype(uint32_t linktype)
{
	const struct vns_frame f = { .linktype = linktype };
	struct vns_packet p;

	return vns_packet_decode(&f, &p) != VNS_PKT_BAD_LINKTYPE;
}

/* The filter for @linktype, compiled at its first use. Foreign link types stay unfiltered: their
 * frames become verdicts, so that the accounting shows them. */
static int find_filter(struct vns_file *f, uint32_t linktype, const struct vns_bpf_insn **out,
		       struct vns_err *err)
{
	size_t i;
	int rc;

	*out = NULL;
	if (!f->expr || !known_linktype(linktype))
		return 0;
	for (i = 0; i < f->n_filter && f->filter[i].linktype != linktype; i++)
		;
	if (i == VNS_FILE_MAX_FILTERS)
		return vns_err_set(err, -EINVAL, "%s has too many link types", f->name);
	if (i == f->n_filter) {
		rc = vns_filter_compile(f->expr, linktype, 0, &f->filter[i].code, err);
		if (rc < 0)
			return rc;
		f->filter[i].linktype = linktype;
		f->n_filter++;
	}
	*out = f->filter[i].code;
	return 0;
}

bool vns_file_wants(const struct vns_file *f, const struct vns_file_iface *iface, const struct vns_frame *frame)
{
	enum { ADDRESSES = 12 };
	struct vns_frame plain = *frame;
	uint32_t tags = f->untagged ? vns_filter_tags(frame) : 0;

	if (!tags)
		return vns_filter_match(iface->filter, frame);
	memcpy(f->untagged, frame->data, ADDRESSES);
	memcpy(f->untagged + ADDRESSES, frame->data + ADDRESSES + tags, frame->cap_len - ADDRESSES - tags);
	plain.data = f->untagged;
	plain.cap_len -= tags;
	plain.wire_len -= tags < plain.wire_len ? tags : plain.wire_len;
	return vns_filter_match(iface->filter, &plain);
}

int vns_file_add_iface(struct vns_file *f, const struct vns_file_iface *iface,
		       struct vns_err *err)
{
	struct vns_file_iface *grown;

	if (f->n_iface == f->max_iface) {
		grown = reallocarray(f->iface, f->max_iface * 2 + 4, sizeof(*grown));
		if (!grown)
			return vns_err_set(err, -ENOMEM, "no memory for the interfaces of %s",
					   f->name);
		f->iface = grown;
		f->max_iface = f->max_iface * 2 + 4;
	}
	/* a second one: captures of several hosts, perhaps, in which a packet is no forwarded one */
	f->base.any &= iface->linktype == VNS_LINK_LINUX_SLL2 && !f->n_iface;
	if (iface->usable && f->base.stats.resolution_ns < iface->mul >> iface->shift)
		f->base.stats.resolution_ns = iface->mul >> iface->shift;
	f->iface[f->n_iface] = *iface;
	f->iface[f->n_iface].last_ns = INT64_MIN;
	return find_filter(f, iface->linktype, &f->iface[f->n_iface++].filter, err);
}

/* Byte numbers in sentences count in the capture, whatever holds it. */
static const char *unpacked(const struct vns_file *f)
{
	return f->feed.stream ? " of what it unpacks to" : "";
}

/* The end of the bytes, if their stream is to blame for it. Return: whether a sentence is set. */
static bool blame_stream(struct vns_file *f)
{
	bool cut;
	const char *why = f->feed.stream ? vns_stream_problem(f->feed.stream, &cut) : NULL;

	if (!why)
		return false;
	f->base.stats.truncated |= cut;
	f->base.stats.bad_records += !cut;
	f->base.stats.damaged |= !cut;
	snprintf(f->base.sentence, sizeof(f->base.sentence), "%.300s: %s; the %llu packets before "
		 "that were read", f->name, why,
		 (unsigned long long)(f->base.stats.frames + f->base.stats.filtered));
	return true;
}

/* What a file that could be read to its end should not hold, as far as it does. */
static void say_oddities(struct vns_file *f)
{
	const uint64_t bad = f->base.stats.bad_records;
	char *to = f->base.sentence;
	size_t n = 0, size = sizeof(f->base.sentence);

	if (bad)
		n = (size_t)snprintf(to, size, "%llu record%s of %.300s contradict%s the file and %s skipped",
				     (unsigned long long)bad, bad > 1 ? "s" : "", f->name,
				     bad > 1 ? "" : "s", bad > 1 ? "are" : "is");
	if (f->joined && n < size)
		n += (size_t)snprintf(to + n, size - n, "%s%.300s holds %llu pcap files one behind the other, "
				      "which are read as one", n ? "; " : "", f->name,
				      (unsigned long long)f->joined + 1);
	if (f->overfull && n < size)
		n += (size_t)snprintf(to + n, size - n, "%sthe time of %llu record%s of %.300s has a part of a second "
				      "that is one or more: taken as it stands", n ? "; " : "",
				      (unsigned long long)f->overfull, f->overfull > 1 ? "s" : "", f->name);
	if (f->untimed && n < size)
		snprintf(to + n, size - n, "%s%llu packets of %.300s have no time (simple packet blocks): they "
			 "are counted and not measured", n ? "; " : "", (unsigned long long)f->untimed,
			 f->name);
}

int vns_file_short(struct vns_file *f, int rc, const char *what, struct vns_err *err)
{
	if (rc == -EINTR || rc == -EAGAIN)
		return VNS_SOURCE_NONE;
	f->ended = true;
	if (rc < 0)
		return vns_err_set(err, rc, "reading %s failed at byte %llu: %s", f->name,
				   (unsigned long long)(vns_feed_at(&f->feed) +
							vns_feed_left(&f->feed)),
				   strerror(-rc));
	if (!blame_stream(f) && what) {
		f->base.stats.truncated = 1;
		snprintf(f->base.sentence, sizeof(f->base.sentence),
			 "%s is cut in the middle of %s %llu at byte %llu%s", f->name, what,
			 (unsigned long long)f->record + 1,
			 (unsigned long long)(vns_feed_at(&f->feed) + vns_feed_left(&f->feed)),
			 unpacked(f));
	}
	if (!f->base.sentence[0])
		say_oddities(f);
	return VNS_SOURCE_EOF;
}

int vns_file_stop(struct vns_file *f, const char *fmt, ...)
{
	va_list ap;

	f->ended = true;
	f->base.stats.bad_records++;
	f->base.stats.damaged = 1;
	va_start(ap, fmt);
	vsnprintf(f->base.sentence, sizeof(f->base.sentence), fmt, ap);
	va_end(ap);
	return VNS_SOURCE_EOF;
}

/* The walk and the decoding take turns on some frames: the bytes stay in the first-level cache. */
static int file_next(struct vns_source *s, struct vns_packet *out, size_t max,
		     struct vns_err *err)
{
	struct vns_file *f = (struct vns_file *)s;
	struct vns_frame frame[VNS_FILE_FRAMES];
	size_t done = 0;

	while (done < max && done < INT32_MAX / 2) {
		size_t want;
		int n;

		if (f->decode && !f->ended)
			done += f->decode(f, out + done, max - done);
		want = max - done < VNS_FILE_FRAMES ? max - done : VNS_FILE_FRAMES;
		if (!want)
			break;
		n = f->ended ? VNS_SOURCE_EOF : f->walk(f, frame, want, done == 0, err);
		if (n <= 0) /* with @done it comes again, alone */
			return done ? (int)done : n;
		for (int i = 0; i < n; i++)
			s->stats.verdicts[vns_packet_decode_without(&frame[i], s->without, &out[done++])]++;
	}
	return (int)done;
}

static void file_close(struct vns_source *s)
{
	struct vns_file *f = (struct vns_file *)s;

	for (size_t i = 0; i < f->n_filter; i++)
		free(f->filter[i].code);
	if (f->feed.fd > STDIN_FILENO)
		close(f->feed.fd);
	vns_feed_fini(&f->feed);
	free(f->iface);
	free(f->expr);
	free(f->untagged);
	free(f->name);
	free(f);
}

static const char *file_point_name(const struct vns_source *s, uint16_t point)
{
	const struct vns_file *f = (const struct vns_file *)s;

	if (f->had_index)
		point = (uint16_t)(VNS_FILE_LAST_POINT - point);
	return point < f->n_iface ? f->iface[point].name : NULL;
}

static const struct vns_source_ops file_ops = { .point_name = file_point_name,
						 .next = file_next, .close = file_close };

/* A file that is not a capture: say what it is, if that is known. */
static int refuse(struct vns_file *f, struct vns_err *err)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *what;
	} known[] = {
		{ "\x1f\x8b", 2, "compressed twice, with gzip inside (zcat unpacks once)" },
		{ "\x28\xb5\x2f\xfd", 4, "compressed twice, with zstd inside (zstdcat unpacks once)" },
		{ "\xfd" "7zXZ", 5, "compressed with xz (xzcat unpacks it)" },
		{ "BZh", 3, "compressed with bzip2 (bzcat unpacks it)" },
		{ "\x04\x22\x4d\x18", 4, "compressed with lz4 (lz4cat unpacks it)" },
		{ "snoop", 5, "a snoop capture (editcap converts it)" },
	};
	const uint8_t *p = f->feed.p;
	size_t n = vns_feed_left(&f->feed);

	if (n < 4 && blame_stream(f))
		return vns_err_set(err, -EINVAL, "%s", f->base.sentence);
	if (n == 0)
		return vns_err_set(err, -EINVAL, "%s is empty", f->name);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (n >= known[i].len && memcmp(p, known[i].magic, known[i].len) == 0)
			return vns_err_set(err, -EINVAL, "%s is %s, not pcap or pcapng", f->name,
					   known[i].what);
	if (n < 4)
		return vns_err_set(err, -EINVAL, "%s is too short for a pcap or pcapng file",
				   f->name);
	return vns_err_set(err, -EINVAL, "%s is not a pcap or pcapng file (it starts with "
			   "%02x %02x %02x %02x)", f->name, p[0], p[1], p[2], p[3]);
}

static int open_descriptor(const char *path, struct vns_err *err)
{
	struct stat st;
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return vns_err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (fd != STDIN_FILENO)
			close(fd);
		return vns_err_set(err, -EISDIR, "%s is a directory", path);
	}
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}

/* The first bytes decide; a pipe that is interrupted before they came is an error. */
static int open_format(struct vns_file *f, struct vns_err *err)
{
	enum vns_stream_kind kind;
	uint32_t magic = 0;
	int rc = vns_feed_more(&f->feed, 5);

	kind = vns_stream_kind(f->feed.p, vns_feed_left(&f->feed));
	if (rc >= 0 && kind != VNS_STREAM_PLAIN) {
		rc = vns_feed_unpack(&f->feed, kind);
		if (!rc)
			rc = vns_feed_more(&f->feed, 5);
	}
	if (rc < 0)
		return vns_err_set(err, rc, "cannot read %s: %s", f->name, strerror(-rc));
	if (vns_feed_left(&f->feed) < sizeof(magic))
		return refuse(f, err);
	memcpy(&magic, f->feed.p, sizeof(magic));
	if (magic == VNS_PCAPNG_MAGIC)
		return vns_file_open_pcapng(f, err);
	rc = vns_file_open_pcap(f, err);
	return rc > 0 ? refuse(f, err) : rc;
}

int vns_source_open_file(struct vns_source **out, const char *path,
			 const struct vns_source_opts *opts, struct vns_err *err)
{
	struct vns_file *f;
	int fd = open_descriptor(path, err);
	int rc;

	if (fd < 0)
		return fd;
	f = calloc(1, sizeof(*f));
	if (!f) {
		if (fd != STDIN_FILENO)
			close(fd);
		return vns_err_set(err, -ENOMEM, "no memory to read %s", path);
	}
	f->base.ops = &file_ops;
	f->base.without = opts ? opts->without : 0;
	f->by_interface = f->base.any = opts && opts->by_interface;
	rc = vns_feed_init(&f->feed, fd);
	f->name = strdup(fd == STDIN_FILENO ? "standard input" : path);
	if (opts && opts->filter && opts->filter[0])
		f->expr = strdup(opts->filter);
	if (f->expr && !vns_filter_of_links(f->expr))
		f->untagged = malloc(VNS_FILE_MAX_PACKET);
	if (rc || !f->name || (opts && opts->filter && opts->filter[0] && !f->expr) ||
	    (f->expr && !f->untagged && !vns_filter_of_links(f->expr)))
		rc = vns_err_set(err, -ENOMEM, "no memory to read %s", path);
	if (!rc)
		rc = open_format(f, err);
	if (rc) {
		file_close(&f->base);
		return rc;
	}
	*out = &f->base;
	return 0;
}
