/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Frames for the decoder's tests, put together byte by byte, and decoding from exactly sized
 * memory, so that a sanitizer sees the first byte read past the end. Shares nothing with lib/.
 */
#ifndef TESTS_UNIT_FRAMES_H
#define TESTS_UNIT_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <vnetscope/packet.h>

struct bytes {
	uint8_t b[2048];
	uint32_t n;
};

static inline void put(struct bytes *f, const void *p, uint32_t n)
{
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static inline void put8(struct bytes *f, unsigned int v)
{
	f->b[f->n++] = (uint8_t)v;
}

static inline void put16(struct bytes *f, unsigned int v)
{
	put8(f, v >> 8);
	put8(f, v);
}

static inline void put32(struct bytes *f, uint32_t v)
{
	put16(f, v >> 16);
	put16(f, v & 0xffff);
}

static inline void put_fill(struct bytes *f, uint32_t n, unsigned int seed)
{
	for (uint32_t i = 0; i < n; i++)
		put8(f, seed + i * 7);
}

static inline void eth(struct bytes *f, unsigned int type)
{
	put(f, "\x52\x54\x00\x00\x00\x02\x52\x54\x00\x00\x00\x01", 12);
	put16(f, type);
}

/* Returns the offset of the header: its length is set by ip4_end(). */
static inline uint32_t ip4(struct bytes *f, unsigned int proto, uint32_t src, uint32_t dst)
{
	uint32_t at = f->n;

	put(f, "\x45\x00", 2);
	put16(f, 0);
	put16(f, 0xbeef);
	put16(f, 0x4000);
	put8(f, 61);
	put8(f, proto);
	put16(f, 0x1111);
	put32(f, src);
	put32(f, dst);
	return at;
}

static inline void ip4_end(struct bytes *f, uint32_t at)
{
	f->b[at + 2] = (uint8_t)((f->n - at) >> 8);
	f->b[at + 3] = (uint8_t)(f->n - at);
}

static inline uint32_t ip6(struct bytes *f, unsigned int next, unsigned int src, unsigned int dst)
{
	uint32_t at = f->n;

	put32(f, 0x60012345);
	put16(f, 0);
	put8(f, next);
	put8(f, 55);
	put(f, "\xfd\x00\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
	put8(f, src);
	put(f, "\xfd\x00\0\0\0\0\0\0\0\0\0\0\0\0\0", 15);
	put8(f, dst);
	return at;
}

static inline void ip6_end(struct bytes *f, uint32_t at)
{
	f->b[at + 4] = (uint8_t)((f->n - at - 40) >> 8);
	f->b[at + 5] = (uint8_t)(f->n - at - 40);
}

static inline void tcp_head(struct bytes *f, unsigned int sport, unsigned int dport, unsigned int words,
		     unsigned int flags)
{
	put16(f, sport);
	put16(f, dport);
	put32(f, 0xa1b2c3d4);
	put32(f, 0x01020304);
	put8(f, words << 4);
	put8(f, flags);
	put16(f, 501);
	put16(f, 0x2222);
	put16(f, 0);
}

static inline void tcp_ts(struct bytes *f, unsigned int sport, unsigned int dport, uint32_t payload)
{
	tcp_head(f, sport, dport, 8, VNS_TCP_ACK | VNS_TCP_PSH);
	put32(f, 0x0101080a);
	put32(f, 0x11223344);
	put32(f, 0x55667788);
	put_fill(f, payload, 3);
}

static inline void udp_head(struct bytes *f, unsigned int sport, unsigned int dport, uint32_t payload)
{
	put16(f, sport);
	put16(f, dport);
	put16(f, 8 + payload);
	put16(f, 0x3333);
}

static inline struct vns_packet decode_as(const struct bytes *f, uint32_t cap, uint32_t wire,
				   uint32_t linktype)
{
	uint8_t *exact = malloc(cap ? cap : 1);
	struct vns_frame frame = { .time_ns = 1234567890123456789, .data = exact, .cap_len = cap,
				   .wire_len = wire, .linktype = linktype, .point = 3 };
	struct vns_packet p;
	enum vns_verdict v;

	assert_non_null(exact);
	memset(&p, 0xa5, sizeof(p));
	memcpy(exact, f->b, cap);
	v = vns_packet_decode(&frame, &p);
	assert_int_equal(v, p.verdict);
	free(exact);
	assert_int_equal(p.time_ns, 1234567890123456789);
	assert_int_equal(p.cap_len, cap);
	assert_int_equal(p.point, 3);
	assert_true(p.verdict < VNS_PKT_VERDICTS);
	return p;
}

static inline struct vns_packet decode(const struct bytes *f)
{
	return decode_as(f, f->n, f->n, VNS_LINK_ETHERNET);
}

static inline void expect_v4(const struct vns_addr *a, uint32_t host_order)
{
	uint8_t want[16] = { [10] = 0xff, [11] = 0xff, [12] = (uint8_t)(host_order >> 24),
			     [13] = (uint8_t)(host_order >> 16), [14] = (uint8_t)(host_order >> 8),
			     [15] = (uint8_t)host_order };

	assert_memory_equal(a->b, want, 16);
}

#define A 0x0a4d000bu /* 10.77.0.11 */
#define B 0x0a4d0001u /* 10.77.0.1, lower than A */

static inline void make_tcp4(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = ip4(f, 6, A, B);
	tcp_ts(f, 40000, 5201, payload);
	ip4_end(f, at);
}

static inline void make_udp4(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = ip4(f, 17, A, B);
	udp_head(f, 40000, 5202, payload);
	put_fill(f, payload, 9);
	ip4_end(f, at);
}

/* Every capture length: no read past the end, and a verdict that fits. */
static inline void every_cut(const struct bytes *f, uint32_t linktype)
{
	struct vns_packet whole = decode_as(f, f->n, f->n, linktype);

	for (uint32_t cap = 0; cap <= f->n; cap++) {
		struct vns_packet p = decode_as(f, cap, f->n, linktype);

		if (cap == f->n)
			assert_int_equal(p.verdict, whole.verdict);
		else if (p.verdict != whole.verdict)
			assert_int_equal(p.verdict, VNS_PKT_CUT);
		if (p.verdict == VNS_PKT_OK && !(p.flags & VNS_PKT_F_DIGEST_SHORT))
			assert_int_equal(p.digest, whole.digest);
		/* cut on the wire too: anything but a crash */
		decode_as(f, cap, cap, linktype);
	}
}

/* Wrap an inner frame builder's bytes: insert @n bytes @ins at @at. */
static inline void insert(struct bytes *f, uint32_t at, const void *ins, uint32_t n)
{
	memmove(f->b + at + n, f->b + at, f->n - at);
	memcpy(f->b + at, ins, n);
	f->n += n;
}

static inline void make_tcp6(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x86dd);
	at = ip6(f, 6, 0x11, 0x22);
	tcp_ts(f, 443, 50000, payload);
	ip6_end(f, at);
}

static inline void make_udp6(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x86dd);
	at = ip6(f, 17, 0x22, 0x11);
	udp_head(f, 6000, 5000, payload);
	put_fill(f, payload, 1);
	ip6_end(f, at);
}

static inline void make_ping4(struct bytes *f, unsigned int type, unsigned int id, unsigned int seq)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = type == 8 ? ip4(f, 1, A, B) : ip4(f, 1, B, A);
	put8(f, type);
	put8(f, 0);
	put16(f, 0x7777);
	put16(f, id);
	put16(f, seq);
	put_fill(f, 56, 5);
	ip4_end(f, at);
}

/* Put an outer IPv4 header of @proto, a UDP header when @dport, and @head before a frame. */
static inline void wrap(struct bytes *f, unsigned int proto, unsigned int dport, const void *head,
		 uint32_t head_len, uint32_t inner_from)
{
	struct bytes g = { .n = 0 };
	uint32_t at, inner = f->n - inner_from;

	eth(&g, 0x0800);
	at = ip4(&g, proto, 0xc0a80001, 0xc0a80002);
	if (dport)
		udp_head(&g, 33333, dport, head_len + inner);
	put(&g, head, head_len);
	put(&g, f->b + inner_from, inner);
	ip4_end(&g, at);
	*f = g;
}

#endif
