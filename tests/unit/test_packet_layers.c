// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Decoder: link layers, IP options and extension headers, fragments, tunnels. The frames are
 * written out byte by byte (frames.h).
 */
#include "frames.h"

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
	static const uint8_t zeros[252];
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
	/* Geneve with the longest options: 63 words */
	make_tcp4(&f, 30);
	want = decode(&f);
	wrap(&f, 17, 6081, "\x3f\0\x65\x58\0\0\7\0", 8, 0);
	insert(&f, 14 + 20 + 8 + 8, zeros, sizeof(zeros));
	f.b[16] = (uint8_t)((f.n - 14) >> 8);
	f.b[17] = (uint8_t)(f.n - 14);
	f.b[38] = (uint8_t)((f.n - 34) >> 8);
	f.b[39] = (uint8_t)(f.n - 34);
	p = decode(&f);
	assert_int_equal(p.verdict, VNS_PKT_OK);
	assert_int_equal(p.digest, want.digest);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_ip6_extensions),
		cmocka_unit_test(test_ip4_options),
		cmocka_unit_test(test_link_layers),
		cmocka_unit_test(test_vlan_from_capture),
		cmocka_unit_test(test_tunnels),
		cmocka_unit_test(test_tunnel_edges),
		cmocka_unit_test(test_other_transports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
