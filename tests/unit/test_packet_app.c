// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * DNS and QUIC in UDP payloads: what is marked and what must not be. tests/cli/test_app_tshark.py
 * judges the fields against tshark; here stand the borders of each rule and every capture length.
 */
#include "frames.h"

static struct vns_packet udp_of(struct bytes *f, unsigned int sport, unsigned int dport,
				const void *data, uint32_t n)
{
	uint32_t at;

	f->n = 0;
	eth(f, 0x0800);
	at = ip4(f, 17, A, B);
	udp_head(f, sport, dport, n);
	put(f, data, n);
	ip4_end(f, at);
	return decode(f);
}

static bool marked(unsigned int sport, unsigned int dport, const void *data, uint32_t n,
		   unsigned int flag)
{
	struct bytes f;
	struct vns_packet p = udp_of(&f, sport, dport, data, n);

	assert_int_equal(p.verdict, VNS_PKT_OK);
	if (!(p.flags & (VNS_PKT_F_DNS | VNS_PKT_F_QUIC))) { /* what is neither leaves no trace */
		assert_int_equal(p.seq | p.ack | p.tsval | p.tsecr, 0);
		assert_int_equal(p.window | p.icmp_ident | p.icmp_seqno, 0);
		assert_int_equal(p.tcp_flags | p.icmp_type | p.icmp_code, 0);
	}
	every_cut(&f, VNS_LINK_ETHERNET);
	return p.flags & flag;
}

static void test_dns(void **state)
{
	uint8_t m[17] = { 0x12, 0x34, 0x01, 0x00, 0, 1 };
	struct bytes f;
	struct vns_packet p = udp_of(&f, 40000, 53, m, sizeof(m));

	assert_int_equal(p.dns_id, 0x1234);
	assert_int_equal(p.dns_flags, 0x0100);
	assert_int_equal(p.flags & (VNS_PKT_F_DNS | VNS_PKT_F_QUIC), VNS_PKT_F_DNS);
	assert_false(marked(53, 40000, m, sizeof(m), VNS_PKT_F_DNS)); /* a query from the server */
	assert_true(marked(53, 53, m, sizeof(m), VNS_PKT_F_DNS));
	assert_false(marked(40000, 5353, m, sizeof(m), VNS_PKT_F_DNS));
	assert_false(marked(40000, 54, m, sizeof(m), VNS_PKT_F_DNS));
	assert_false(marked(40000, 53, m, 11, VNS_PKT_F_DNS));
	m[5] = 2;
	assert_false(marked(40000, 53, m, sizeof(m), VNS_PKT_F_DNS));
	m[5] = 1;
	m[2] = 0x38; /* operation 7 does not exist */
	assert_false(marked(40000, 53, m, sizeof(m), VNS_PKT_F_DNS));
	m[2] = 0x81;
	assert_true(marked(53, 40000, m, sizeof(m), VNS_PKT_F_DNS));
	(void)state;
}

static void test_quic_long(void **state)
{
	uint8_t m[100] = { 0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 0xa, 0xb, 0xc, 0xd };
	struct bytes f;
	struct vns_packet p = udp_of(&f, 40000, 4433, m, sizeof(m));

	assert_true(p.flags & VNS_PKT_F_QUIC);
	assert_int_equal(p.quic_type, VNS_QUIC_INITIAL);
	assert_int_equal(p.quic_dcid[0], 0x01020304);
	assert_int_equal(p.quic_dcid[1], 0x05060708);
	assert_int_equal(p.quic_scid[0], 0x0a0b0c0d);
	assert_int_equal(p.quic_scid[1], 0);
	assert_int_equal(p.quic_dcid_len, 8);
	assert_int_equal(p.quic_scid_len, 4);
	p = decode_as(&f, 42 + 10, f.n, VNS_LINK_ETHERNET); /* cut in the first ID */
	assert_int_equal(p.quic_type, VNS_QUIC_INITIAL);
	assert_int_equal(p.quic_dcid[1], 0);
	assert_int_equal(p.quic_scid_len, VNS_QUIC_CID_CUT);
	m[5] = 21; /* longer than any connection ID */
	assert_false(marked(40000, 443, m, sizeof(m), VNS_PKT_F_QUIC));
	m[5] = 8;
	m[14] = 86; /* runs out of the datagram */
	assert_false(marked(40000, 443, m, sizeof(m), VNS_PKT_F_QUIC));
	m[14] = 4;
	m[0] = 0x83; /* fixed bit 0: greased */
	assert_true(marked(40000, 4433, m, sizeof(m), VNS_PKT_F_QUIC));
	m[4] = 9;
	assert_false(marked(40000, 443, m, sizeof(m), VNS_PKT_F_QUIC));
	m[0] = 0xc3;
	m[4] = 9; /* a version nobody knows */
	assert_false(marked(40000, 4433, m, sizeof(m), VNS_PKT_F_QUIC));
	assert_true(marked(40000, 443, m, sizeof(m), VNS_PKT_F_QUIC));
	assert_int_equal(udp_of(&f, 40000, 443, m, sizeof(m)).quic_type, VNS_QUIC_OTHER);
	(void)state;
}

static void test_quic_negotiation_and_short(void **state)
{
	uint8_t m[40] = { 0x80, 0, 0, 0, 0, 1, 7, 1, 8, 0, 0, 0, 1, 0x1a, 0x2a, 0x3a, 0x4a };

	assert_true(marked(443, 40000, m, 17, VNS_PKT_F_QUIC));
	assert_false(marked(443, 40000, m, 16, VNS_PKT_F_QUIC)); /* half a version */
	assert_false(marked(443, 40000, m, 9, VNS_PKT_F_QUIC));  /* none */
	m[0] = 0x60;
	assert_true(marked(40000, 9999, m, 21, VNS_PKT_F_QUIC));
	assert_false(marked(40000, 9999, m, 20, VNS_PKT_F_QUIC));
	m[0] = 0x20; /* greased */
	assert_false(marked(40000, 444, m, 40, VNS_PKT_F_QUIC));
	assert_true(marked(40000, 443, m, 40, VNS_PKT_F_QUIC));
	(void)state;
}

/* What needs no port to be told for QUIC is the same on all; of each type there is some. */
static void test_quic_on_any_port(void **state)
{
	static const uint32_t version[] = { 0, 1, 0x6b3343cf, 0xff00001b, 0xff000022 };
	uint32_t seen[VNS_QUIC_OTHER + 1] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t m[48] = { 0 };
		struct vns_packet p, q;
		struct bytes f;

		for (size_t k = 0; k < sizeof(m); k++)
			m[k] = (uint8_t)((i * 40 + k + 1) * 0x9e3779b1u >> 24);
		m[0] |= 0x40;
		for (int k = 0; k < 4 && m[0] & 0x80; k++)
			m[1 + k] = (uint8_t)(version[i % 5] >> (24 - 8 * k));
		m[5] &= 15;
		m[6 + m[5]] &= 15;
		p = udp_of(&f, 40000, 443, m, 21 + i % 28);
		q = udp_of(&f, 40000, 4433, m, 21 + i % 28);
		assert_memory_equal(p.quic_dcid, q.quic_dcid, sizeof(p.quic_dcid));
		assert_memory_equal(p.quic_scid, q.quic_scid, sizeof(p.quic_scid));
		assert_int_equal(p.quic_type, q.quic_type);
		assert_int_equal(p.quic_dcid_len, q.quic_dcid_len);
		assert_int_equal(p.quic_scid_len, q.quic_scid_len);
		assert_int_equal(p.quic_version16, q.quic_version16);
		assert_int_equal(p.flags, q.flags);
		seen[q.quic_type]++;
	}
	for (int type = VNS_QUIC_SHORT_0; type <= VNS_QUIC_NEGOTIATION; type++)
		assert_true(seen[type] > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dns),
		cmocka_unit_test(test_quic_long),
		cmocka_unit_test(test_quic_negotiation_and_short),
		cmocka_unit_test(test_quic_on_any_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
