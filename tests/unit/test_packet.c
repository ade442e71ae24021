// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Decoder against frames written out here byte by byte; nothing is shared with the decoder.
 * Every frame is also decoded at every capture length from an exactly sized allocation, so
 * that a sanitizer sees the first byte read past the end.
 */
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

static void put(struct bytes *f, const void *p, uint32_t n)
{
	memcpy(f->b + f->n, p, n);
	f->n += n;
}

static void put8(struct bytes *f, unsigned int v)
{
	f->b[f->n++] = (uint8_t)v;
}

static void put16(struct bytes *f, unsigned int v)
{
	put8(f, v >> 8);
	put8(f, v);
}

static void put32(struct bytes *f, uint32_t v)
{
	put16(f, v >> 16);
	put16(f, v & 0xffff);
}

static void put_fill(struct bytes *f, uint32_t n, unsigned int seed)
{
	for (uint32_t i = 0; i < n; i++)
		put8(f, seed + i * 7);
}

static void eth(struct bytes *f, unsigned int type)
{
	put(f, "\x52\x54\x00\x00\x00\x02\x52\x54\x00\x00\x00\x01", 12);
	put16(f, type);
}

/* Returns the offset of the header: its length is set by ip4_end(). */
static uint32_t ip4(struct bytes *f, unsigned int proto, uint32_t src, uint32_t dst)
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

static void ip4_end(struct bytes *f, uint32_t at)
{
	f->b[at + 2] = (uint8_t)((f->n - at) >> 8);
	f->b[at + 3] = (uint8_t)(f->n - at);
}

static uint32_t ip6(struct bytes *f, unsigned int next, unsigned int src, unsigned int dst)
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

static void ip6_end(struct bytes *f, uint32_t at)
{
	f->b[at + 4] = (uint8_t)((f->n - at - 40) >> 8);
	f->b[at + 5] = (uint8_t)(f->n - at - 40);
}

static void tcp_head(struct bytes *f, unsigned int sport, unsigned int dport, unsigned int words,
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

static void tcp_ts(struct bytes *f, unsigned int sport, unsigned int dport, uint32_t payload)
{
	tcp_head(f, sport, dport, 8, VNS_TCP_ACK | VNS_TCP_PSH);
	put32(f, 0x0101080a);
	put32(f, 0x11223344);
	put32(f, 0x55667788);
	put_fill(f, payload, 3);
}

static void udp_head(struct bytes *f, unsigned int sport, unsigned int dport, uint32_t payload)
{
	put16(f, sport);
	put16(f, dport);
	put16(f, 8 + payload);
	put16(f, 0x3333);
}

static struct vns_packet decode_as(const struct bytes *f, uint32_t cap, uint32_t wire,
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

static struct vns_packet decode(const struct bytes *f)
{
	return decode_as(f, f->n, f->n, VNS_LINK_ETHERNET);
}

static void expect_v4(const struct vns_addr *a, uint32_t host_order)
{
	uint8_t want[16] = { [10] = 0xff, [11] = 0xff, [12] = (uint8_t)(host_order >> 24),
			     [13] = (uint8_t)(host_order >> 16), [14] = (uint8_t)(host_order >> 8),
			     [15] = (uint8_t)host_order };

	assert_memory_equal(a->b, want, 16);
}

#define A 0x0a4d000bu /* 10.77.0.11 */
#define B 0x0a4d0001u /* 10.77.0.1, lower than A */

static void make_tcp4(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = ip4(f, 6, A, B);
	tcp_ts(f, 40000, 5201, payload);
	ip4_end(f, at);
}

static void make_udp4(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = ip4(f, 17, A, B);
	udp_head(f, 40000, 5202, payload);
	put_fill(f, payload, 9);
	ip4_end(f, at);
}

static void test_tcp4(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_tcp4(&f, 100);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.proto, VNS_PROTO_TCP);
	expect_v4(vns_packet_src(&p), A);
	expect_v4(vns_packet_dst(&p), B);
	expect_v4(&p.key.addr[0], B);
	assert_int_equal(p.dir, 1);
	assert_int_equal(vns_packet_sport(&p), 40000);
	assert_int_equal(vns_packet_dport(&p), 5201);
	assert_int_equal(p.key.ipproto, 6);
	assert_int_equal(p.key.family, 4);
	assert_int_equal(p.seq, 0xa1b2c3d4);
	assert_int_equal(p.ack, 0x01020304);
	assert_int_equal(p.tcp_flags, VNS_TCP_ACK | VNS_TCP_PSH);
	assert_int_equal(p.window, 501);
	assert_int_equal(p.tsval, 0x11223344);
	assert_int_equal(p.tsecr, 0x55667788);
	assert_int_equal(p.flags, VNS_PKT_F_HAS_TS);
	assert_int_equal(p.payload_len, 100);
	assert_int_equal(p.ip_id, 0xbeef);
	assert_int_equal(p.ttl, 61);
	assert_int_equal(p.tunnel_depth, 0);
	assert_int_equal(p.wire_len, f.n);
	assert_int_equal(p.flow_hash, vns_flow_key_hash(&p.key));
	(void)state;
}

static void test_udp4(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_udp4(&f, 1400);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.proto, VNS_PROTO_UDP);
	assert_int_equal(vns_packet_sport(&p), 40000);
	assert_int_equal(vns_packet_dport(&p), 5202);
	assert_int_equal(p.payload_len, 1400);
	assert_int_equal(p.flags, 0);
	(void)state;
}

/* Every capture length: no read past the end, and a verdict that fits. */
static void every_cut(const struct bytes *f, uint32_t linktype)
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
static void insert(struct bytes *f, uint32_t at, const void *ins, uint32_t n)
{
	memmove(f->b + at + n, f->b + at, f->n - at);
	memcpy(f->b + at, ins, n);
	f->n += n;
}

static void make_tcp6(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x86dd);
	at = ip6(f, 6, 0x11, 0x22);
	tcp_ts(f, 443, 50000, payload);
	ip6_end(f, at);
}

static void make_udp6(struct bytes *f, uint32_t payload)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x86dd);
	at = ip6(f, 17, 0x22, 0x11);
	udp_head(f, 6000, 5000, payload);
	put_fill(f, payload, 1);
	ip6_end(f, at);
}

static void make_ping4(struct bytes *f, unsigned int type, unsigned int id, unsigned int seq)
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

static void test_tcp6(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_tcp6(&f, 33);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.proto, VNS_PROTO_TCP);
	assert_int_equal(p.key.family, 6);
	assert_int_equal(p.dir, 0);
	assert_int_equal(vns_packet_src(&p)->b[0], 0xfd);
	assert_int_equal(vns_packet_src(&p)->b[15], 0x11);
	assert_int_equal(vns_packet_dst(&p)->b[15], 0x22);
	assert_int_equal(vns_packet_sport(&p), 443);
	assert_int_equal(vns_packet_dport(&p), 50000);
	assert_int_equal(p.tsval, 0x11223344);
	assert_int_equal(p.payload_len, 33);
	assert_int_equal(p.ttl, 55);
	assert_int_equal(p.ip_id, 0);
	assert_int_equal(p.flow_hash, vns_flow_key_hash(&p.key));
	(void)state;
}

static void test_icmp(void **state)
{
	struct bytes f;
	struct vns_packet a, b;
	uint32_t at;

	make_ping4(&f, 8, 0x1234, 7);
	a = decode(&f);
	make_ping4(&f, 0, 0x1234, 7);
	b = decode(&f);
	assert_int_equal(a.verdict, VNS_PKT_OK);
	assert_int_equal(a.proto, VNS_PROTO_ICMP);
	assert_int_equal(a.icmp_type, 8);
	assert_int_equal(b.icmp_type, 0);
	assert_int_equal(a.icmp_id, 0x1234);
	assert_int_equal(a.icmp_seq, 7);
	assert_int_equal(a.key.port[0], 0x1234);
	assert_int_equal(a.key.port[1], 0x1234);
	assert_int_equal(a.payload_len, 56);
	assert_memory_equal(&a.key, &b.key, sizeof(a.key));
	assert_int_equal(a.dir, !b.dir);
	assert_int_equal(a.flow_hash, b.flow_hash);
	assert_int_not_equal(a.digest, b.digest);
	make_ping4(&f, 8, 0x1234, 8);
	assert_int_not_equal(a.digest, decode(&f).digest);
	/* an error message has no identifier */
	make_ping4(&f, 3, 0x1234, 7);
	assert_int_equal(decode(&f).icmp_id, 0);
	assert_int_equal(decode(&f).key.port[0], 0);
	/* ICMPv6 echo; type 8 means nothing there */
	f.n = 0;
	eth(&f, 0x86dd);
	at = ip6(&f, 58, 1, 2);
	put(&f, "\x80\x00\x11\x11\x43\x21\x00\x09hello", 13);
	ip6_end(&f, at);
	a = decode(&f);
	assert_int_equal(a.proto, VNS_PROTO_ICMP);
	assert_int_equal(a.icmp_id, 0x4321);
	assert_int_equal(a.icmp_seq, 9);
	assert_int_equal(a.payload_len, 5);
	every_cut(&f, VNS_LINK_ETHERNET);
	(void)state;
}

/* Timestamps among other options, after a broken option, and cut by the snap length. */
static void test_tcp_options(void **state)
{
	struct bytes f;
	struct vns_packet p;
	uint32_t at;

	f.n = 0;
	eth(&f, 0x0800);
	at = ip4(&f, 6, A, B);
	tcp_head(&f, 1, 2, 10, VNS_TCP_SYN);
	put(&f, "\x02\x04\x05\xb4\x04\x02\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00\x01\x03\x03\x07", 20);
	ip4_end(&f, at);
	p = decode(&f);
	assert_int_equal(p.tsval, 0x01020304);
	assert_int_equal(p.tsecr, 0);
	assert_int_equal(p.flags, VNS_PKT_F_HAS_TS);
	assert_int_equal(p.payload_len, 0);
	assert_int_equal(p.tcp_flags, VNS_TCP_SYN);
	every_cut(&f, VNS_LINK_ETHERNET);
	/* cut before the option's end: no stamp, but a verdict and the flag */
	p = decode_as(&f, 14 + 20 + 20 + 15, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.flags, VNS_PKT_F_OPTS_CUT | VNS_PKT_F_DIGEST_SHORT);
	assert_int_equal(p.tsval, 0);
	/* cut after it: the stamp is known */
	p = decode_as(&f, 14 + 20 + 20 + 16, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(p.flags, VNS_PKT_F_HAS_TS);
	/* option of length 0: the walk ends, the packet is fine */
	f.b[14 + 20 + 20 + 1] = 0;
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.flags, 0);
	/* end-of-options hides what follows */
	f.b[14 + 20 + 20] = 0;
	p = decode(&f);
	assert_int_equal(p.flags, 0);
	/* header longer than the packet; header too short */
	f.b[14 + 20 + 12] = 0xb0;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	f.b[14 + 20 + 12] = 0x40;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	(void)state;
}

static void test_snap_68(void **state)
{
	struct bytes f;
	struct vns_packet whole, p;

	make_tcp4(&f, 1448);
	whole = decode(&f);
	p = decode_as(&f, 68, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(p.flags, VNS_PKT_F_HAS_TS);
	assert_int_equal(p.payload_len, 1448);
	assert_int_equal(p.digest, whole.digest);
	/* IPv6: ports, numbers and flags are there, options are not */
	make_tcp6(&f, 1428);
	whole = decode(&f);
	p = decode_as(&f, 68, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.flags, VNS_PKT_F_OPTS_CUT | VNS_PKT_F_DIGEST_SHORT);
	assert_int_equal(p.seq, whole.seq);
	assert_int_equal(p.tcp_flags, whole.tcp_flags);
	assert_int_equal(p.payload_len, 1428);
	assert_int_equal(decode_as(&f, 67, f.n, VNS_LINK_ETHERNET).verdict, VNS_PKT_CUT);
	make_udp4(&f, 1000);
	p = decode_as(&f, 65, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.flags, VNS_PKT_F_DIGEST_SHORT);
	(void)state;
}

/* Digest: the same through every snap length >= 96, VLAN, MAC, TTL, checksum, DSCP, ID. */
static void expect_invariant(const struct bytes *orig, uint32_t ip_at)
{
	static const uint8_t vlan[8] = { 0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x60, 0x2a };
	struct bytes f = *orig;
	struct vns_packet want = decode(&f), p;
	bool v4 = f.b[ip_at] >> 4 == 4;

	assert_int_equal(want.verdict, VNS_PKT_OK);
	f.b[0] ^= 0x44;
	f.b[7] ^= 0x44;
	f.b[ip_at + (v4 ? 8 : 7)] -= 3;
	f.b[ip_at + 1] ^= 0x04;
	if (v4) {
		f.b[ip_at + 4] ^= 0xff;
		f.b[ip_at + 10] ^= 0x99;
	}
	insert(&f, 12, vlan, sizeof(vlan));
	for (uint32_t cap = 96; cap <= f.n; cap++) {
		p = decode_as(&f, cap, f.n, VNS_LINK_ETHERNET);
		assert_int_equal(p.digest, want.digest);
		assert_int_equal(p.flow_hash, want.flow_hash);
		assert_int_equal(p.vlan, 42);
		assert_true(p.flags & VNS_PKT_F_VLAN);
		assert_int_equal(p.payload_len, want.payload_len);
	}
	p = decode(&f);
	assert_int_equal(p.digest, want.digest);
}

static void test_digest_invariance(void **state)
{
	struct bytes f;

	make_tcp4(&f, 200);
	expect_invariant(&f, 14);
	make_tcp6(&f, 200);
	expect_invariant(&f, 14);
	make_udp4(&f, 200);
	expect_invariant(&f, 14);
	make_udp6(&f, 200);
	expect_invariant(&f, 14);
	make_ping4(&f, 8, 1, 2);
	expect_invariant(&f, 14);
	(void)state;
}

/* Each field of the digest changes it, and so does each of the first payload bytes of UDP. */
static void test_digest_sensitivity(void **state)
{
	static const uint32_t tcp_bytes[] = { 35, 37, 38, 41, 42, 45, 47, 58, 61, 62, 65 };
	struct bytes f;
	struct vns_packet want;

	make_tcp4(&f, 50);
	want = decode(&f);
	for (size_t i = 0; i < sizeof(tcp_bytes) / sizeof(tcp_bytes[0]); i++) {
		f.b[tcp_bytes[i]] ^= 1;
		assert_int_not_equal(decode(&f).digest, want.digest);
		f.b[tcp_bytes[i]] ^= 1;
	}
	make_tcp4(&f, 51);
	assert_int_not_equal(decode(&f).digest, want.digest);
	make_udp4(&f, 50);
	want = decode(&f);
	for (uint32_t i = 0; i < VNS_DIGEST_PAYLOAD_BYTES; i++) {
		f.b[42 + i] ^= 1;
		assert_int_not_equal(decode(&f).digest, want.digest);
		f.b[42 + i] ^= 1;
	}
	assert_int_equal(decode(&f).digest, want.digest);
	/* a payload of zeros: its length counts */
	make_udp4(&f, 2);
	memset(f.b + 42, 0, 2);
	want = decode(&f);
	make_udp4(&f, 3);
	memset(f.b + 42, 0, 3);
	assert_int_not_equal(decode(&f).digest, want.digest);
	(void)state;
}

/* Both directions: one key, one hash; other flows: others. */
static void test_symmetric_flow(void **state)
{
	struct bytes f;
	struct vns_packet a, b;
	uint32_t at;

	make_udp4(&f, 10);
	a = decode(&f);
	f.n = 0;
	eth(&f, 0x0800);
	at = ip4(&f, 17, B, A);
	udp_head(&f, 5202, 40000, 0);
	ip4_end(&f, at);
	b = decode(&f);
	assert_memory_equal(&a.key, &b.key, sizeof(a.key));
	assert_int_equal(a.flow_hash, b.flow_hash);
	assert_int_equal(a.dir, !b.dir);
	f.b[36] ^= 1;
	assert_int_not_equal(decode(&f).flow_hash, a.flow_hash);
	/* same address at both ends: the port decides */
	for (uint32_t sport = 1; sport <= 3; sport++) {
		f.n = 0;
		eth(&f, 0x0800);
		at = ip4(&f, 17, A, A);
		udp_head(&f, sport, 2, 0);
		ip4_end(&f, at);
		b = decode(&f);
		assert_int_equal(b.dir, sport > 2);
		assert_int_equal(vns_packet_sport(&b), sport);
		assert_true(b.key.port[0] <= b.key.port[1]);
	}
	(void)state;
}

/* 6 bytes of ARP-sized padding behind a pure ACK are no payload. */
static void test_padding(void **state)
{
	struct bytes f;
	struct vns_packet p, bare;
	uint32_t at;

	f.n = 0;
	eth(&f, 0x0800);
	at = ip4(&f, 6, A, B);
	tcp_head(&f, 1, 2, 5, VNS_TCP_ACK);
	ip4_end(&f, at);
	bare = decode(&f);
	put_fill(&f, 6, 0xcc);
	p = decode(&f);
	assert_int_equal(p.payload_len, 0);
	assert_int_equal(p.digest, bare.digest);
	assert_int_equal(p.wire_len, 60);
	make_udp4(&f, 3);
	bare = decode(&f);
	put_fill(&f, 15, 0xcc);
	p = decode(&f);
	assert_int_equal(p.payload_len, 3);
	assert_int_equal(p.digest, bare.digest);
	assert_int_equal(p.flags, 0);
	(void)state;
}

/* Offloaded superframes: total length 0, taken from the wire. */
static void test_length_zero(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_tcp4(&f, 1000);
	f.b[16] = f.b[17] = 0;
	p = decode_as(&f, 96, 14 + 52 + 65000, VNS_LINK_ETHERNET);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.payload_len, 65000);
	assert_int_equal(p.flags, VNS_PKT_F_HAS_TS | VNS_PKT_F_LEN_GUESSED);
	make_tcp6(&f, 1000);
	f.b[18] = f.b[19] = 0;
	p = decode_as(&f, 96, 14 + 40 + 32 + 100000, VNS_LINK_ETHERNET);
	assert_int_equal(p.payload_len, 100000);
	assert_true(p.flags & VNS_PKT_F_LEN_GUESSED);
	/* a length beyond the wire is a contradiction */
	make_tcp4(&f, 10);
	f.b[17]++;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	(void)state;
}

static void test_fragments(void **state)
{
	struct bytes f;
	struct vns_packet p, q;
	uint32_t at;

	make_udp4(&f, 64);
	f.b[20] = 0x20; /* more fragments */
	f.b[39] = 0xff; /* UDP length of the whole datagram */
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.flags, VNS_PKT_F_FIRST_FRAG);
	assert_int_equal(vns_packet_dport(&p), 5202);
	assert_int_equal(p.payload_len, 64);
	f.b[20] = 0x20;
	f.b[21] = 185;
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_FRAGMENT);
	assert_int_equal(p.flags, VNS_PKT_F_LATER_FRAG);
	assert_int_equal(p.frag_off, 1480);
	assert_int_equal(p.ip_id, 0xbeef);
	assert_int_equal(p.payload_len, 72);
	assert_int_equal(p.key.port[0], 0);
	assert_int_equal(p.proto, VNS_PROTO_UDP);
	expect_v4(vns_packet_src(&p), A);
	f.b[21] = 186;
	q = decode(&f);
	assert_int_not_equal(p.digest, q.digest);
	/* IPv6: hop-by-hop, fragment header, then the rest */
	f.n = 0;
	eth(&f, 0x86dd);
	at = ip6(&f, 0, 1, 2);
	put(&f, "\x2c\x00\x01\x04\x00\x00\x00\x00", 8);
	put(&f, "\x11\x00\x05\xc9\xde\xad\xbe\xef", 8);
	put_fill(&f, 40, 1);
	ip6_end(&f, at);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_FRAGMENT);
	assert_int_equal(p.ip_id, 0xdeadbeef);
	assert_int_equal(p.frag_off, 0x5c8);
	assert_int_equal(p.payload_len, 40);
	every_cut(&f, VNS_LINK_ETHERNET);
	(void)state;
}

/* Hop-by-hop, routing, authentication and destination options before TCP. */
static void test_ip6_extensions(void **state)
{
	struct bytes f;
	struct vns_packet p;
	uint32_t at;

	f.n = 0;
	eth(&f, 0x86dd);
	at = ip6(&f, 0, 1, 2);
	put(&f, "\x2b\x00\x01\x04\x00\x00\x00\x00", 8);
	put(&f, "\x33\x02\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	put(&f, "\x3c\x04\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	put(&f, "\x06\x00\x01\x04\x00\x00\x00\x00", 8);
	tcp_ts(&f, 80, 81, 12);
	ip6_end(&f, at);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(vns_packet_sport(&p), 80);
	assert_int_equal(p.payload_len, 12);
	assert_int_equal(p.key.ipproto, 6);
	every_cut(&f, VNS_LINK_ETHERNET);
	/* an extension header longer than the packet */
	f.b[14 + 40 + 1] = 0xff;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	/* a chain without end */
	f.n = 0;
	eth(&f, 0x86dd);
	at = ip6(&f, 60, 1, 2);
	for (int i = 0; i < 40; i++)
		put(&f, "\x3c\x00\x01\x04\x00\x00\x00\x00", 8);
	ip6_end(&f, at);
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	(void)state;
}

static void test_ip4_options(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_tcp4(&f, 20);
	insert(&f, 34, "\x94\x04\x00\x00", 4);
	f.b[14] = 0x46;
	f.b[17] += 4;
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.payload_len, 20);
	assert_int_equal(p.tsval, 0x11223344);
	every_cut(&f, VNS_LINK_ETHERNET);
	f.b[14] = 0x44;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	f.b[14] = 0x65;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	(void)state;
}

/* The same TCP packet behind every link layer. */
static void test_link_layers(void **state)
{
	static const struct {
		uint32_t linktype;
		const char *head;
		uint32_t len;
		uint16_t flags;
	} links[] = {
		{ VNS_LINK_RAW, "", 0, 0 },
		{ VNS_LINK_RAW_BSD, "", 0, 0 },
		{ VNS_LINK_IPV4, "", 0, 0 },
		{ VNS_LINK_NULL, "\2\0\0\0", 4, 0 },
		{ VNS_LINK_NULL, "\0\0\0\2", 4, 0 },
		{ VNS_LINK_LOOP, "\0\0\0\2", 4, 0 },
		{ VNS_LINK_LINUX_SLL, "\0\4\0\1\0\6\1\2\3\4\5\6\0\0\x08\0", 16,
		  VNS_PKT_F_OUTGOING },
		{ VNS_LINK_LINUX_SLL, "\0\2\0\1\0\6\1\2\3\4\5\6\0\0\x08\0", 16,
		  VNS_PKT_F_MULTICAST },
		{ VNS_LINK_LINUX_SLL2, "\x08\0\0\0\0\0\0\3\0\1\4\6\1\2\3\4\5\6\0\0", 20,
		  VNS_PKT_F_OUTGOING },
		{ VNS_LINK_ETHERNET, "\1\0\x5e\0\0\1\2\0\0\0\0\1\x08\0", 14, VNS_PKT_F_MULTICAST },
		/* MPLS, two labels */
		{ VNS_LINK_ETHERNET, "\2\0\0\0\0\2\2\0\0\0\0\1\x88\x47\0\1\0\x40\0\2\1\x40", 22, 0 },
		/* PPPoE session */
		{ VNS_LINK_ETHERNET, "\2\0\0\0\0\2\2\0\0\0\0\1\x88\x64\x11\0\0\1\0\x60\0\x21", 22, 0 },
		/* 802.3 length, LLC/SNAP */
		{ VNS_LINK_ETHERNET, "\2\0\0\0\0\2\2\0\0\0\0\1\0\x60\xaa\xaa\3\0\0\0\x08\0", 22, 0 },
		/* three VLAN tags */
		{ VNS_LINK_ETHERNET, "\2\0\0\0\0\2\2\0\0\0\0\1\x91\0\0\1\x88\xa8\0\2\x81\0\0\3\x08\0",
		  26, VNS_PKT_F_VLAN },
	};
	struct bytes f;
	struct vns_packet want, p;

	make_tcp4(&f, 30);
	want = decode(&f);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		struct bytes g = { .n = 0 };

		put(&g, links[i].head, links[i].len);
		put(&g, f.b + 14, f.n - 14);
		p = decode_as(&g, g.n, g.n, links[i].linktype);
		assert_int_equal(p.verdict, VNS_PKT_OK);
		assert_int_equal(p.digest, want.digest);
		assert_int_equal(p.flow_hash, want.flow_hash);
		assert_int_equal(p.payload_len, 30);
		assert_int_equal(p.flags, VNS_PKT_F_HAS_TS | links[i].flags);
		assert_int_equal(p.tunnel_depth, 0);
		every_cut(&g, links[i].linktype);
	}
	assert_int_equal(decode_as(&f, f.n, f.n, 105).verdict, VNS_PKT_BAD_LINKTYPE);
	f.b[12] = 0x88;
	f.b[13] = 0xcc; /* LLDP */
	assert_int_equal(decode(&f).verdict, VNS_PKT_NOT_IP);
	(void)state;
}

/* The capture took the VLAN tag out of the bytes. */
static void test_vlan_from_capture(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_tcp4(&f, 30);
	struct vns_frame frame = { .data = f.b, .cap_len = f.n, .wire_len = f.n, .linktype = 1,
				   .flags = VNS_PKT_F_VLAN | VNS_PKT_F_OUTGOING, .vlan = 77 };
	vns_packet_decode(&frame, &p);
	assert_int_equal(p.vlan, 77);
	assert_int_equal(p.flags, VNS_PKT_F_VLAN | VNS_PKT_F_OUTGOING | VNS_PKT_F_HAS_TS);
	(void)state;
}

/* Put an outer IPv4 header of @proto, a UDP header when @dport, and @head before a frame. */
static void wrap(struct bytes *f, unsigned int proto, unsigned int dport, const void *head,
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

static void test_tunnels(void **state)
{
	static const struct {
		unsigned int proto, dport;
		const char *head;
		uint32_t head_len, inner_from;
	} tunnels[] = {
		{ 17, 4789, "\x08\0\0\0\0\0\7\0", 8, 0 },
		{ 17, 6081, "\0\0\x65\x58\0\0\7\0", 8, 0 },
		{ 17, 6081, "\2\0\x65\x58\0\0\7\0OPTSOPTS", 16, 0 },
		{ 17, 6081, "\0\0\x08\0\0\0\7\0", 8, 14 },
		{ 47, 0, "\0\0\x08\0", 4, 14 },
		{ 47, 0, "\0\0\x65\x58", 4, 0 },
		{ 47, 0, "\xb0\0\x65\x58" "CSUMKEYYSEQU", 16, 0 },
		{ 4, 0, "", 0, 14 },
	};
	struct bytes f;
	struct vns_packet want, p;

	for (size_t i = 0; i < sizeof(tunnels) / sizeof(tunnels[0]); i++) {
		make_tcp4(&f, 30);
		want = decode(&f);
		for (unsigned int depth = 1; depth <= 4; depth++) {
			wrap(&f, tunnels[i].proto, tunnels[i].dport, tunnels[i].head,
			     tunnels[i].head_len, tunnels[i].inner_from);
			p = decode(&f);
			assert_int_equal(p.verdict, VNS_PKT_OK);
			assert_int_equal(p.tunnel_depth, depth);
			assert_int_equal(p.digest, want.digest);
			assert_memory_equal(&p.key, &want.key, sizeof(p.key));
			assert_int_equal(p.flow_hash, want.flow_hash);
			assert_int_equal(p.payload_len, 30);
			assert_int_equal(p.ip_id, 0xbeef);
			if (depth == 1)
				every_cut(&f, VNS_LINK_ETHERNET);
		}
		/* one more is not entered: the outermost four were */
		wrap(&f, tunnels[i].proto, tunnels[i].dport, tunnels[i].head, tunnels[i].head_len,
		     tunnels[i].inner_from);
		p = decode(&f);
		assert_int_equal(p.tunnel_depth, 4);
		assert_int_not_equal(p.proto, VNS_PROTO_TCP);
	}
	(void)state;
}

/* 6in4; plain UDP on a tunnel's port that is none; a fragmented tunnel's first fragment. */
static void test_tunnel_edges(void **state)
{
	struct bytes f;
	struct vns_packet want, p;

	make_tcp6(&f, 30);
	want = decode(&f);
	wrap(&f, 41, 0, "", 0, 14);
	p = decode(&f);
	assert_int_equal(p.digest, want.digest);
	assert_int_equal(p.key.family, 6);
	make_udp4(&f, 40);
	f.b[36] = 4789 >> 8;
	f.b[37] = (uint8_t)4789;
	f.b[42] = 0; /* no I flag */
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.tunnel_depth, 0);
	assert_int_equal(p.payload_len, 40);
	/* VXLAN, cut into IP fragments: the inner TCP is longer than what is here */
	make_tcp4(&f, 500);
	wrap(&f, 17, 4789, "\x08\0\0\0\0\0\7\0", 8, 0);
	f.n = 14 + 400;
	f.b[16] = 400 >> 8;
	f.b[17] = (uint8_t)400;
	f.b[20] = 0x20;
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.proto, VNS_PROTO_TCP);
	assert_int_equal(p.payload_len, 500);
	/* ARP inside VXLAN */
	f.n = 0;
	eth(&f, 0x0806);
	put_fill(&f, 28, 1);
	wrap(&f, 17, 4789, "\x08\0\0\0\0\0\7\0", 8, 0);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_NOT_IP);
	assert_int_equal(p.key.family, 0);
	(void)state;
}

static void test_other_transports(void **state)
{
	struct bytes f;
	struct vns_packet p;

	make_udp4(&f, 40);
	f.b[23] = 132; /* SCTP */
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OTHER_L4);
	assert_int_equal(p.proto, VNS_PROTO_NONE);
	assert_int_equal(p.key.ipproto, 132);
	assert_int_equal(p.payload_len, 48);
	expect_v4(vns_packet_src(&p), A);
	every_cut(&f, VNS_LINK_ETHERNET);
	/* UDP lengths that contradict the packet */
	make_udp4(&f, 40);
	f.b[39] = 49;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	f.b[39] = 7;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	/* multicast by address */
	make_udp4(&f, 4);
	f.b[30] = 224;
	assert_int_equal(decode(&f).flags, VNS_PKT_F_MULTICAST);
	(void)state;
}

/* Random bytes and random changes to good frames: any verdict, no crash, no stray read. */
static void test_noise(void **state)
{
	static const uint32_t links[] = { 0, 1, 12, 101, 108, 113, 228, 229, 276, 999 };
	struct bytes f;
	uint32_t seed = 12345;

	for (int round = 0; round < 20000; round++) {
		if (round % 3 == 0)
			make_tcp6(&f, 60);
		else if (round % 3 == 1)
			make_udp4(&f, 60);
		else
			wrap(&f, 17, 4789, "\x08\0\0\0\0\0\7\0", 8, 0);
		if (f.n > 600)
			f.n = 600;
		for (int i = 0; i < 1 + round % 9; i++) {
			seed = seed * 1664525 + 1013904223;
			f.b[(seed >> 8) % (round % 5 ? 70 : f.n)] = (uint8_t)(seed >> 24);
		}
		decode_as(&f, (seed >> 3) % (f.n + 1), f.n, links[(seed >> 13) % 10]);
		decode(&f);
	}
	(void)state;
}

static void test_cuts(void **state)
{
	struct bytes f;

	make_tcp4(&f, 40);
	every_cut(&f, VNS_LINK_ETHERNET);
	make_tcp6(&f, 40);
	every_cut(&f, VNS_LINK_ETHERNET);
	make_udp4(&f, 60);
	every_cut(&f, VNS_LINK_ETHERNET);
	make_udp6(&f, 60);
	every_cut(&f, VNS_LINK_ETHERNET);
	make_ping4(&f, 8, 1, 2);
	every_cut(&f, VNS_LINK_ETHERNET);
	(void)state;
}

static void test_names(void **state)
{
	assert_string_equal(vns_verdict_name(VNS_PKT_OK), "ok");
	assert_string_equal(vns_verdict_name(VNS_PKT_BAD_LINKTYPE), "bad_linktype");
	assert_string_equal(vns_proto_name(VNS_PROTO_ICMP), "icmp");
	assert_string_equal(vns_proto_name(99), "unknown");
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp4),
		cmocka_unit_test(test_tcp6),
		cmocka_unit_test(test_udp4),
		cmocka_unit_test(test_icmp),
		cmocka_unit_test(test_tcp_options),
		cmocka_unit_test(test_snap_68),
		cmocka_unit_test(test_digest_invariance),
		cmocka_unit_test(test_digest_sensitivity),
		cmocka_unit_test(test_symmetric_flow),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_length_zero),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_ip6_extensions),
		cmocka_unit_test(test_ip4_options),
		cmocka_unit_test(test_link_layers),
		cmocka_unit_test(test_vlan_from_capture),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_tunnel_edges),
		cmocka_unit_test(test_other_transports),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
