/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Capture files put together byte by byte, kept in memory, and read back through the source.
 * Shares nothing with the reader.
 */
#ifndef TESTS_UNIT_CAPTURES_H
#define TESTS_UNIT_CAPTURES_H

#include "frames.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vnetscope/source.h>

/* A file being written; integers in the chosen byte order. */
struct writer {
	uint8_t b[1 << 16];
	size_t n;
	bool big;
};

static inline void w16(struct writer *w, unsigned int v)
{
	w->b[w->n++] = (uint8_t)(w->big ? v >> 8 : v);
	w->b[w->n++] = (uint8_t)(w->big ? v : v >> 8);
}

static inline void w32(struct writer *w, uint32_t v)
{
	w16(w, w->big ? v >> 16 : v & 0xffff);
	w16(w, w->big ? v & 0xffff : v >> 16);
}

static inline void w_bytes(struct writer *w, const void *p, size_t n)
{
	memcpy(w->b + w->n, p, n);
	w->n += n;
}

static inline void pcap_head(struct writer *w, uint32_t magic, uint32_t linktype)
{
	w32(w, magic);
	w16(w, 2);
	w16(w, 4);
	w32(w, 0);
	w32(w, 0);
	w32(w, 65535);
	w32(w, linktype);
}

static inline void pcap_record(struct writer *w, uint32_t sec, uint32_t frac, const struct bytes *f,
			uint32_t cap)
{
	w32(w, sec);
	w32(w, frac);
	w32(w, cap);
	w32(w, f->n);
	w_bytes(w, f->b, cap);
}

/* A pcapng block begins; block_end() sets both lengths. */
static inline size_t block(struct writer *w, uint32_t type)
{
	size_t at = w->n;

	w32(w, type);
	w32(w, 0);
	return at;
}

static inline void block_end(struct writer *w, size_t at)
{
	size_t end;

	while (w->n % 4)
		w->b[w->n++] = 0;
	w32(w, (uint32_t)(w->n + 4 - at));
	end = w->n;
	w->n = at + 4;
	w32(w, (uint32_t)(end - at));
	w->n = end;
}

static inline void ng_section(struct writer *w)
{
	size_t at = block(w, 0x0a0d0d0a);

	w32(w, 0x1a2b3c4d);
	w16(w, 1);
	w16(w, 0);
	w32(w, 0xffffffff);
	w32(w, 0xffffffff);
	block_end(w, at);
}

/* @tsresol < 0: none; @tsoffset 0: none */
static inline void ng_iface(struct writer *w, unsigned int linktype, uint32_t snaplen, int tsresol,
		     int32_t tsoffset)
{
	size_t at = block(w, 1);

	w16(w, linktype);
	w16(w, 0);
	w32(w, snaplen);
	w16(w, 2); /* if_name, to be passed over */
	w16(w, 3);
	w_bytes(w, "eth\0", 4);
	if (tsresol >= 0) {
		w16(w, 9);
		w16(w, 1);
		w_bytes(w, (uint8_t[4]){ (uint8_t)tsresol }, 4);
	}
	if (tsoffset) {
		w16(w, 14);
		w16(w, 8);
		if (w->big)
			w32(w, tsoffset < 0 ? UINT32_MAX : 0);
		w32(w, (uint32_t)tsoffset);
		if (!w->big)
			w32(w, tsoffset < 0 ? UINT32_MAX : 0);
	}
	w32(w, 0);
	block_end(w, at);
}

static inline void ng_packet(struct writer *w, uint32_t iface, uint64_t ticks, const struct bytes *f,
		      uint32_t cap, uint32_t epb_flags)
{
	size_t at = block(w, 6);

	w32(w, iface);
	w32(w, (uint32_t)(ticks >> 32));
	w32(w, (uint32_t)ticks);
	w32(w, cap);
	w32(w, f->n);
	w_bytes(w, f->b, cap);
	while (w->n % 4)
		w->b[w->n++] = 0;
	if (epb_flags) {
		w16(w, 2);
		w16(w, 4);
		w32(w, epb_flags);
		w32(w, 0);
	}
	block_end(w, at);
}

static char path[64];
static int file = -1;

/* In memory: hundreds of small files on a disk take seconds. */
static inline const char *save(const struct writer *w, size_t n)
{
	if (file >= 0)
		close(file);
	file = memfd_create("capture", MFD_CLOEXEC);
	assert_true(file >= 0);
	assert_int_equal(write(file, w->b, n), n);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return path;
}

#define MAX 64
static struct vns_packet got[MAX];
static struct vns_source_stats stats;
static char sentence[512];
static struct vns_err err;

/* Read it all in batches of @batch. Return: packets, or the error of opening or reading. */
static inline int slurp(const char *from, const char *filter, int batch)
{
	struct vns_source_opts o = { .filter = filter };
	struct vns_source *s;
	int n = 0, rc;

	err.text[0] = '\0';
	sentence[0] = '\0';
	memset(&stats, 0, sizeof(stats));
	rc = vns_source_open_file(&s, from, &o, &err);
	if (rc)
		return rc;
	assert_int_equal(vns_source_fd(s), -1);
	while ((rc = vns_source_next(s, got + n, (size_t)(MAX - n < batch ? MAX - n : batch),
				     &err)) > 0)
		n += rc;
	vns_source_stats(s, &stats);
	if (vns_source_sentence(s))
		snprintf(sentence, sizeof(sentence), "%s", vns_source_sentence(s));
	assert_int_equal(stats.frames, n);
	vns_source_close(s);
	return rc == VNS_SOURCE_EOF ? n : rc;
}

#endif
