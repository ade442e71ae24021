// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Decoder against frames written out here byte by byte; nothing is shared with the decoder.
 * Every frame is also decoded at every capture length from an exactly sized allocation, so
 * that a sanitizer sees the first byte read past the end.
 */

#include <vnetscope/agent.h>

#include "frames.h"

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
	assert_int_equal(a.icmp_ident, 0x1234);
	assert_int_equal(a.icmp_seqno, 7);
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
	assert_int_equal(decode(&f).icmp_ident, 0);
	assert_int_equal(decode(&f).key.port[0], 0);
	/* ICMPv6 echo; type 8 means nothing there */
	f.n = 0;
	eth(&f, 0x86dd);
	at = ip6(&f, 58, 1, 2);
	put(&f, "\x80\x00\x11\x11\x43\x21\x00\x09hello", 13);
	ip6_end(&f, at);
	a = decode(&f);
	assert_int_equal(a.proto, VNS_PROTO_ICMP);
	assert_int_equal(a.icmp_ident, 0x4321);
	assert_int_equal(a.icmp_seqno, 9);
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

/* The first SACK block, behind and before a timestamp, alone, and cut. */
static void test_sack(void **state)
{
	static const char ts[] = "\x01\x01\x08\x0a\x01\x02\x03\x04\x05\x06\x07\x08";
	static const char sack[] = "\x01\x01\x05\x12\xff\xff\xff\xf0\x00\x00\x00\x10"
				   "\x00\x00\x00\x20\x00\x00\x00\x30";
	struct vns_packet p, plain;
	struct bytes f;
	uint32_t at;

	for (int order = 0; order < 3; order++) {
		f.n = 0;
		eth(&f, 0x0800);
		at = ip4(&f, 6, A, B);
		tcp_head(&f, 1, 2, order == 2 ? 10 : 13, VNS_TCP_ACK);
		if (order == 0)
			put(&f, ts, 12);
		put(&f, sack, 20);
		if (order == 1)
			put(&f, ts, 12);
		ip4_end(&f, at);
		p = decode(&f);
		assert_int_equal(p.flags, VNS_PKT_F_HAS_SACK | (order < 2 ? VNS_PKT_F_HAS_TS : 0));
		assert_int_equal(p.sack_left, 0xfffffff0);
		assert_int_equal(p.sack_right, 0x10);
		assert_int_equal(p.tsval, order < 2 ? 0x01020304 : 0);
		every_cut(&f, VNS_LINK_ETHERNET);
	}
	/* cut behind the first block: known; before its end: not, and the walk saw no timestamp */
	plain = decode_as(&f, 14 + 20 + 20 + 12, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(plain.flags & VNS_PKT_F_HAS_SACK, VNS_PKT_F_HAS_SACK);
	plain = decode_as(&f, 14 + 20 + 20 + 11, f.n, VNS_LINK_ETHERNET);
	assert_int_equal(plain.flags, VNS_PKT_F_OPTS_CUT | VNS_PKT_F_DIGEST_SHORT);
	assert_int_equal(plain.sack_right, 0);
	assert_int_equal(plain.digest, p.digest); /* no SACK in the digest */
	/* shorter than a block: not a SACK with one */
	f.b[14 + 20 + 20 + 3] = 2;
	assert_int_equal(decode(&f).flags & VNS_PKT_F_HAS_SACK, 0);
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
	static const uint32_t tcp_bytes[] = { 38, 41, 42, 45, 47, 58, 61, 62, 65 };
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

static void make_echo(struct bytes *f, uint32_t payload)
{
	(void)payload;
	make_ping4(f, 8, 1, 2);
}

/*
 * Host and guest compare digests and flow hashes that each computed: where a value here changes, raise
 * VNS_AGENT_PROTOCOL, and put the new ones down with it.
 */
static void test_digest_of_protocol(void **state)
{
	static const struct {
		void (*make)(struct bytes *f, uint32_t payload);
		uint64_t digest, flow_hash;
	} want[] = {
		{ make_tcp4, UINT64_C(0x84be6ff17ba258c6), UINT64_C(0x9396dd6ae793ddb9) },
		{ make_tcp6, UINT64_C(0x84be6ff17ba258c6), UINT64_C(0x4852d3d0ad1b9611) },
		{ make_udp4, UINT64_C(0x247ebe1a7cb447e7), UINT64_C(0xdc0692f2c840d3ed) },
		{ make_udp6, UINT64_C(0xadfa4450168bc531), UINT64_C(0xd3215813df2062d2) },
		{ make_echo, UINT64_C(0x41623511d40e5ff5), UINT64_C(0xddfc9f1353372d22) },
	};
	struct bytes f;

	(void)state;
	assert_int_equal(VNS_AGENT_PROTOCOL, 4);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct vns_packet p;

		want[i].make(&f, 200);
		p = decode(&f);
		assert_int_equal(p.digest, want[i].digest);
		assert_int_equal(p.flow_hash, want[i].flow_hash);
	}
}

/* What NAT rewrites - addresses, ports, an echo's identifier - leaves the digest alone. */
static void test_digest_nat(void **state)
{
	struct bytes f;
	struct vns_packet want, p;

	make_tcp4(&f, 50);
	want = decode(&f);
	f.b[29] ^= 1; /* source address, then both ports */
	f.b[35] ^= 1;
	f.b[37] ^= 1;
	p = decode(&f);
	assert_int_equal(p.digest, want.digest);
	assert_int_not_equal(p.flow_hash, want.flow_hash);
	make_udp6(&f, 50);
	want = decode(&f);
	f.b[25] ^= 1;
	f.b[57] ^= 1;
	assert_int_equal(decode(&f).digest, want.digest);
	make_ping4(&f, 8, 1, 2);
	want = decode(&f);
	make_ping4(&f, 8, 7, 2);
	assert_int_equal(decode(&f).digest, want.digest);
	(void)state;
}

/* Half and half, TCP by connection in both directions, nested, the rest by digest. */
static void test_sampled(void **state)
{
	struct vns_packet p = { .verdict = VNS_PKT_OK, .proto = VNS_PROTO_TCP };
	unsigned int taken = 0;

	for (uint32_t i = 0; i < 6000; i++) {
		struct vns_packet q = p;

		p.key.port[0] = (uint16_t)(30000 + i);
		p.key.port[1] = 80;
		p.digest = i * UINT64_C(0x9e3779b97f4a7c15);
		q = p;
		q.key.port[0] = 80; /* endpoints change places when NAT changes their order */
		q.key.port[1] = p.key.port[0];
		q.digest = ~p.digest;
		assert_int_equal(vns_packet_sampled(&p, 2), vns_packet_sampled(&q, 2));
		assert_true(!vns_packet_sampled(&p, 8) || vns_packet_sampled(&p, 4));
		assert_true(vns_packet_sampled(&p, 1) && vns_packet_sampled(&p, 0));
		taken += vns_packet_sampled(&p, 4);
		if (q.key.port[1] >= 32768) { /* a client's: the other may be forwarded to another */
			q.key.port[0] = 8080;
			assert_int_equal(vns_packet_sampled(&p, 4), vns_packet_sampled(&q, 4));
		}
	}
	assert_in_range(taken, 1325, 1675); /* 1500, five standard deviations of 34 */
	p.proto = VNS_PROTO_UDP;
	p.digest = UINT64_MAX / 4;
	assert_true(vns_packet_sampled(&p, 4));
	p.digest++;
	assert_false(vns_packet_sampled(&p, 4));
	p.digest = 0;
	assert_true(vns_packet_sampled(&p, UINT32_MAX));
	p.payload_len = 1000; /* nor has one that is cut a digest */
	assert_true(vns_packet_sampled(&p, UINT32_MAX));
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

static void test_symmetric_flow6(void **state)
{
	struct bytes f;
	struct vns_packet p;
	uint32_t at;

	for (uint32_t sport = 1; sport <= 3; sport++) {
		f.n = 0;
		eth(&f, 0x86dd);
		at = ip6(&f, 17, 9, 9);
		udp_head(&f, sport, 2, 0);
		ip6_end(&f, at);
		p = decode(&f);
		assert_int_equal(p.dir, sport > 2);
		assert_int_equal(vns_packet_sport(&p), sport);
		assert_int_equal(p.flow_hash, vns_flow_key_hash(&p.key));
	}
	(void)state;
}

/* Padding may not complete a header that the IP packet is too short for. */
static void test_padding_is_no_header(void **state)
{
	struct bytes f;

	make_ping4(&f, 8, 1, 2);
	f.b[17] = 20 + 4;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	make_udp4(&f, 30);
	f.b[17] = 20 + 7;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
	make_tcp4(&f, 30);
	f.b[17] = 20 + 19;
	assert_int_equal(decode(&f).verdict, VNS_PKT_MALFORMED);
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
		cmocka_unit_test(test_sack),
		cmocka_unit_test(test_snap_68),
		cmocka_unit_test(test_digest_invariance),
		cmocka_unit_test(test_digest_sensitivity),
		cmocka_unit_test(test_digest_of_protocol),
		cmocka_unit_test(test_digest_nat),
		cmocka_unit_test(test_sampled),
		cmocka_unit_test(test_symmetric_flow),
		cmocka_unit_test(test_symmetric_flow6),
		cmocka_unit_test(test_padding_is_no_header),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_length_zero),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
