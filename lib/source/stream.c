// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Compressed bytes of a descriptor -> unpacked bytes, by zlib and libzstd.
 *
 * gzip (RFC 1952): any number of members one behind the other, zeros as padding behind the last
 * (tapes). zstd (RFC 8878): frames and skippable frames one behind the other. In both, the file may
 * end only between two of these; elsewhere it is cut. What was unpacked before damage has been
 * handed out; a checksum at the end that does not hold is said, too.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "source/stream.h"

enum { INPUT = 128 << 10,   /* bytes read at once */
       GZIP_ONLY = 15 + 16, /* inflateInit2(): window of 32 KiB, a gzip header and nothing else */
       ZSTD_WINDOW_LOG = 27 /* 128 MiB: what zstd itself accepts without --long=N */ };

struct vns_stream {
	enum vns_stream_kind kind;
	int fd;
	uint8_t *in;
	size_t at, end;      /* in[at..end) is not yet consumed */
	uint64_t in_at;      /* offset of in[0] in the compressed file */
	bool eof;            /* of the descriptor */
	bool between;        /* no member or frame is open */
	bool done, cut;
	z_stream z;
	ZSTD_DCtx *zstd;
	char problem[160];
};

static const char *kind_name(const struct vns_stream *s)
{
	return s->kind == VNS_STREAM_GZIP ? "gzip" : "zstd";
}

enum vns_stream_kind vns_stream_kind(const uint8_t *p, size_t n)
{
	static const uint8_t zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
	static const uint8_t skippable[] = { 0x2a, 0x4d, 0x18 }; /* behind 0x50..0x5f */

	if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
		return VNS_STREAM_GZIP;
	if (n >= 4 && (memcmp(p, zstd, 4) == 0 ||
		       ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, skippable, 3) == 0)))
		return VNS_STREAM_ZSTD;
	return VNS_STREAM_PLAIN;
}

/* The end, and why. */
static void stop(struct vns_stream *s, bool cut, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void stop(struct vns_stream *s, bool cut, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->problem, sizeof(s->problem), fmt, ap);
	va_end(ap);
	s->done = true;
	s->cut = cut;
}

static void damaged(struct vns_stream *s, const char *why)
{
	stop(s, false, "its %s stream is damaged at byte %llu (%s)", kind_name(s),
	     (unsigned long long)(s->in_at + s->at), why);
}

/* Between two members: zeros are padding, anything but a member's first byte is foreign. */
static bool next_member(struct vns_stream *s)
{
	while (s->at < s->end && s->in[s->at] == 0)
		s->at++;
	if (s->at == s->end)
		return false;
	if (s->in[s->at] != 0x1f) {
		stop(s, false, "what stands behind its gzip stream from byte %llu on is not gzip",
		     (unsigned long long)(s->in_at + s->at));
		return false;
	}
	s->between = false;
	return inflateReset(&s->z) == Z_OK;
}

static ssize_t unpack_gzip(struct vns_stream *s, uint8_t *to, size_t n)
{
	int rc;

	if (s->between && !next_member(s))
		return 0;
	s->z.next_in = s->in + s->at;
	s->z.avail_in = (uInt)(s->end - s->at);
	s->z.next_out = to;
	s->z.avail_out = (uInt)(n > UINT32_MAX ? UINT32_MAX : n);
	rc = inflate(&s->z, Z_NO_FLUSH);
	s->at = s->end - s->z.avail_in;
	if (rc == Z_MEM_ERROR)
		return -ENOMEM;
	s->between = rc == Z_STREAM_END;
	if (rc == Z_DATA_ERROR || rc == Z_STREAM_ERROR || rc == Z_NEED_DICT)
		damaged(s, s->z.msg ? s->z.msg : "no gzip header");
	return s->z.next_out - to;
}

static ssize_t unpack_zstd(struct vns_stream *s, uint8_t *to, size_t n)
{
	ZSTD_inBuffer in = { s->in, s->end, s->at };
	ZSTD_outBuffer out = { to, n, 0 };
	size_t rc;

	if (s->between && s->at == s->end)
		return 0;
	rc = ZSTD_decompressStream(s->zstd, &out, &in);
	s->at = in.pos;
	s->between = rc == 0;
	if (!ZSTD_isError(rc))
		return (ssize_t)out.pos;
	if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation)
		return -ENOMEM;
	if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
		stop(s, false, "its zstd stream needs a window of more than 128 MiB "
		     "(zstdcat --long=31 unpacks it)");
	else
		damaged(s, ZSTD_getErrorName(rc));
	return (ssize_t)out.pos;
}

/* More input into the empty buffer. Return: 0 or -errno. */
static int refill(struct vns_stream *s)
{
	ssize_t got = read(s->fd, s->in, INPUT);

	if (got < 0)
		return -errno;
	s->in_at += s->end;
	s->at = 0;
	s->end = (size_t)got;
	s->eof = got == 0;
	return 0;
}

ssize_t vns_stream_read(struct vns_stream *s, uint8_t *to, size_t n)
{
	while (!s->done) {
		ssize_t made = s->kind == VNS_STREAM_GZIP ? unpack_gzip(s, to, n)
							   : unpack_zstd(s, to, n);
		int rc;

		if (made)
			return made;
		if (s->done || s->at < s->end)
			continue;
		if (!s->eof) {
			rc = refill(s);
			if (rc)
				return rc;
			continue;
		}
		s->done = true;
		if (!s->between)
			stop(s, true, "its %s stream is cut at byte %llu", kind_name(s),
			     (unsigned long long)(s->in_at + s->end));
	}
	return 0;
}

const char *vns_stream_problem(const struct vns_stream *s, bool *cut)
{
	*cut = s->cut;
	return s->problem[0] ? s->problem : NULL;
}

int vns_stream_open(struct vns_stream **out, enum vns_stream_kind kind, int fd,
		    const uint8_t *have, size_t n)
{
	struct vns_stream *s = calloc(1, sizeof(*s));
	bool ok;

	if (!s)
		return -ENOMEM;
	s->kind = kind;
	s->fd = fd;
	s->end = n;
	s->in = malloc(n > INPUT ? n : INPUT);
	ok = s->in;
	if (ok)
		memcpy(s->in, have, n);
	if (kind == VNS_STREAM_GZIP) {
		ok = ok && inflateInit2(&s->z, GZIP_ONLY) == Z_OK;
	} else {
		s->zstd = ZSTD_createDCtx();
		ok = ok && s->zstd &&
		     !ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax,
							  ZSTD_WINDOW_LOG));
	}
	if (!ok) {
		vns_stream_close(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void vns_stream_close(struct vns_stream *s)
{
	if (!s)
		return;
	inflateEnd(&s->z); /* of a stream never begun: an error code, nothing else */
	ZSTD_freeDCtx(s->zstd);
	free(s->in);
	free(s);
}
