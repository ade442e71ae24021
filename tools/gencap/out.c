// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Output: frames -> pcap or pcapng file, figures -> CSV; both through one large buffer.
 *
 * Formats: pcap (draft-ietf-opsawg-pcap), pcapng (draft-ietf-opsawg-pcapng: section header,
 * one interface description, enhanced packet blocks).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gencap.h"

void gc_die(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("vns-gencap: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(code);
}

void gc_out_open(struct gc_out *o, const char *path)
{
	o->path = path;
	o->used = 0;
	o->fd = strcmp(path, "-") == 0 ? STDOUT_FILENO :
		open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (o->fd < 0)
		gc_die(GC_EXIT_ENV, "cannot create %s: %s", path, strerror(errno));
	o->buf = malloc(GC_OUT_SIZE);
	if (!o->buf)
		gc_die(GC_EXIT_ENV, "no memory for the buffer of %s", path);
}

void gc_out_flush(struct gc_out *o)
{
	size_t done = 0;

	while (done < o->used) {
		ssize_t n = write(o->fd, o->buf + done, o->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			gc_die(GC_EXIT_ENV, "cannot write %s: %s", o->path,
			       n < 0 ? strerror(errno) : "nothing was taken");
		done += (size_t)n;
	}
	o->used = 0;
}

void gc_out_close(struct gc_out *o)
{
	gc_out_flush(o);
	if (close(o->fd))
		gc_die(GC_EXIT_ENV, "cannot write %s: %s", o->path, strerror(errno));
	free(o->buf);
	o->buf = NULL;
}

static void put_bytes(struct gc_out *o, const void *data, size_t n)
{
	memcpy(gc_out_room(o), data, n);
	o->used += n;
}

static void pcapng_header(struct gc_cap *c)
{
	uint32_t shb[7] = { 0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28 };
	/* linktype 1; options: if_tsresol (code 9, length 1), end */
	uint32_t idb[8] = { 1, 32, 1, c->snap, 9 | 1U << 16, c->micro ? 6 : 9, 0, 32 };

	put_bytes(&c->out, shb, sizeof(shb));
	put_bytes(&c->out, idb, sizeof(idb));
}

void gc_cap_open(struct gc_cap *c, const char *path, const struct gc_opts *o)
{
	uint32_t head[6] = { o->micro ? 0xa1b2c3d4 : 0xa1b23c4d, 2 | 4U << 16, 0, 0, o->snap, 1 };

	*c = (struct gc_cap){ .snap = o->snap, .micro = o->micro, .pcapng = o->pcapng,
			      .start_ns = o->start_s * GC_SEC };
	gc_out_open(&c->out, path);
	if (c->pcapng)
		pcapng_header(c);
	else
		put_bytes(&c->out, head, sizeof(head));
}

#define PCAP_RECORD   16
#define PCAPNG_RECORD 28

uint8_t *gc_cap_room(struct gc_cap *c)
{
	return gc_out_room(&c->out) + (c->pcapng ? PCAPNG_RECORD : PCAP_RECORD);
}

void gc_cap_commit(struct gc_cap *c, int64_t t, uint32_t wire_len)
{
	uint32_t cap = wire_len < c->snap ? wire_len : c->snap;
	uint64_t abs_ns = (uint64_t)(t + c->start_ns);
	uint8_t *rec = c->out.buf + c->out.used;

	if (c->pcapng) {
		uint32_t padded = (cap + 3) & ~3U, total = PCAPNG_RECORD + padded + 4;
		uint64_t ts = c->micro ? abs_ns / GC_USEC : abs_ns;
		uint32_t head[7] = { 6, total, 0, (uint32_t)(ts >> 32), (uint32_t)ts, cap,
				     wire_len };

		memcpy(rec, head, sizeof(head));
		memset(rec + PCAPNG_RECORD + cap, 0, padded - cap);
		memcpy(rec + PCAPNG_RECORD + padded, &total, 4);
		c->out.used += total;
	} else {
		uint32_t sub = (uint32_t)(abs_ns % GC_SEC);
		uint32_t head[4] = { (uint32_t)(abs_ns / GC_SEC), c->micro ? sub / 1000 : sub, cap,
				     wire_len };

		memcpy(rec, head, sizeof(head));
		c->out.used += PCAP_RECORD + cap;
	}
	c->packets++;
	c->bytes += wire_len;
}

void gc_cap_close(struct gc_cap *c)
{
	gc_out_close(&c->out);
}

void gc_csv_text(struct gc_out *o, const char *text)
{
	put_bytes(o, text, strlen(text));
}

void gc_csv_i64(struct gc_out *o, int64_t v, char end)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	*--p = end;
	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		*--p = '-';
	put_bytes(o, p, (size_t)(digits + sizeof(digits) - p));
}

void gc_csv_addr(struct gc_out *o, const struct gc_path *p, int who)
{
	char text[INET6_ADDRSTRLEN + 2];

	inet_ntop(p->v6 ? AF_INET6 : AF_INET, p->addr[who], text, INET6_ADDRSTRLEN);
	gc_csv_text(o, text);
	gc_csv_text(o, ",");
}
