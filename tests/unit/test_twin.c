// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Twins, rule by rule. Packets are made by hand here (no decoder, no capture file), so that the
 * truth of every case is what the case itself wrote down.
 */
#include "twin_bench.h"

static void test_signs(void **state)
{
	struct bench *b = open_default();

	(void)state;
	/* Towards the guest: seen at A first. t_B - t_A = +30 us. From it: seen at B first. */
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	feed(b, VNS_POINT_B, udp(30 * US, true, 1, 0));
	feed(b, VNS_POINT_B, udp(100 * US, false, 2, 0));
	feed(b, VNS_POINT_A, udp(112 * US, false, 2, 0));
	done(b);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->s[0].direction, VNS_HOST_TO_GUEST);
	assert_int_equal(b->s[0].first_raw_ns, 30 * US);
	assert_int_equal(b->s[0].host_ns, T0);
	assert_int_equal(b->s[0].payload_len, 100);
	assert_int_equal(b->s[0].proto, VNS_PROTO_UDP);
	assert_true(b->s[0].has_last);
	assert_int_equal(b->s[0].last_raw_ns, 30 * US);
	assert_int_equal(b->s[1].direction, VNS_GUEST_TO_HOST);
	assert_int_equal(b->s[1].first_raw_ns, -12 * US);
	assert_int_equal(b->s[1].host_ns, T0 + 112 * US);
	expect(b, VNS_POINT_A, 2, 0, 0, 0);
	expect(b, VNS_POINT_B, 2, 0, 0, 0);
	drop(b);
}

static void test_coarse_offset_is_given_back(void **state)
{
	int64_t hours = 3 * 3600 * SEC + 17;
	struct vns_twin_opts o = { .coarse_offset_ns = hours + 2 * MS };
	struct bench *b = open_with(&o);

	(void)state;
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	feed(b, VNS_POINT_B, udp(hours + 30 * US, true, 1, 0));
	feed(b, VNS_POINT_B, udp(hours + 100 * US, false, 2, 0));
	feed(b, VNS_POINT_A, udp(112 * US, false, 2, 0));
	done(b);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->s[0].first_raw_ns, hours + 30 * US);
	assert_int_equal(b->s[0].host_ns, T0);
	assert_int_equal(b->s[1].first_raw_ns, hours - 12 * US);
	assert_int_equal(b->s[1].host_ns, T0 + 112 * US);
	drop(b);
}

static void test_superframe_to_segments(void **state)
{
	struct bench *b = open_default();

	(void)state;
	feed(b, VNS_POINT_A, tcp(0, true, 1000, 45 * MSS, 5));
	for (uint32_t i = 0; i < 45; i++)
		feed(b, VNS_POINT_B, tcp(50 * US + i * US, true, 1000 + i * MSS, MSS, 5));
	done(b);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->s[0].first_raw_ns, 50 * US);
	assert_true(b->s[0].has_last);
	assert_int_equal(b->s[0].last_raw_ns, 94 * US);
	assert_int_equal(b->s[0].last_host_ns, T0);
	assert_int_equal(b->s[0].payload_len, 45 * MSS);
	expect(b, VNS_POINT_A, 1, 0, 0, 0);
	expect(b, VNS_POINT_B, 45, 0, 0, 0);
	drop(b);
}

static void test_segments_to_gro_frame(void **state)
{
	struct bench *b = open_default();

	(void)state;
	for (uint32_t i = 0; i < 45; i++)
		feed(b, VNS_POINT_B, tcp(i * US, false, 1000 + i * MSS, MSS, 5));
	feed(b, VNS_POINT_A, tcp(100 * US, false, 1000, 45 * MSS, 5));
	done(b);
	assert_int_equal(b->n, 45);
	for (uint32_t i = 0; i < 45; i++) {
		assert_int_equal(b->s[i].first_raw_ns, (int64_t)i * US - 100 * US);
		assert_int_equal(b->s[i].last_raw_ns, (int64_t)i * US - 100 * US);
		assert_int_equal(b->s[i].host_ns, T0 + 100 * US);
	}
	expect(b, VNS_POINT_A, 1, 0, 0, 0);
	expect(b, VNS_POINT_B, 45, 0, 0, 0);
	drop(b);
}

/* 1,429 superframes of 41 segments against 1,849 frames of up to 32: cuts do not nest. */
static void test_other_superframes(void **state)
{
	struct bench *b = open_default();
	uint32_t bytes = 1429 * 41 * MSS, start = 0xfff00000u; /* wraps on the way */
	size_t frames = 0;

	(void)state;
	for (uint32_t at = 0, d = 0; at < bytes; at += 41 * MSS) {
		feed(b, VNS_POINT_A, tcp(at, true, start + at, 41 * MSS, 5 + at / 1000000));
		/* B gets what is complete, 10 us later by the time of its first byte. */
		for (; d + 32 * MSS <= at + 41 * MSS; d += 32 * MSS, frames++)
			feed(b, VNS_POINT_B, tcp(d + 10 * US + 41 * MSS, true, start + d, 32 * MSS,
						 5 + d / 1000000));
	}
	done(b);
	/* TSval changes about 85 times; a frame that crosses such a change is left out below. */
	assert_true(b->c[0].in_class[VNS_TWIN_MATCHED] > 1300);
	for (size_t i = 0; i < b->n; i++) {
		uint32_t at = (uint32_t)(b->s[i].host_ns - T0), d = at / (32 * MSS) * (32 * MSS);

		assert_int_equal(b->s[i].first_raw_ns, (int64_t)d + 10 * US + 41 * MSS - at);
	}
	drop(b);
}

/* Same bytes, same TSval, in order, and alone: but 6 s apart; only the second segment has its twin, @lag later. */
static void only_the_second_pairs(enum vns_point early, enum vns_point late, int64_t lag)
{
	struct bench *b = open_default();

	feed(b, early, tcp(0, true, 1000, MSS, 5));
	feed(b, late, tcp(6 * SEC, true, 1000, MSS, 5));
	feed(b, late, tcp(6 * SEC + MS, true, 1000 + MSS, MSS, 5));
	feed(b, early, tcp(6 * SEC + lag, true, 1000 + MSS, MSS, 5));
	done(b);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->s[0].first_raw_ns, MS);
	assert_int_equal(b->c[0].in_class[VNS_TWIN_MATCHED], 1);
	assert_int_equal(b->c[1].in_class[VNS_TWIN_MATCHED], 1);
	drop(b);
}

/* More than the window. */
static void test_in_order_but_too_late(void **state)
{
	(void)state;
	only_the_second_pairs(VNS_POINT_A, VNS_POINT_B, 0);
}

/* ... or a window too early, which no clock is wrong by. */
static void in_order_but_too_early(void **state)
{
	(void)state;
	only_the_second_pairs(VNS_POINT_B, VNS_POINT_A, 2 * MS);
}

static void test_syn_and_fin_take_a_number(void **state)
{
	struct bench *b = open_default();
	struct vns_packet syn = tcp(0, true, 0xffffffffu, 0, 1), fin = tcp(2 * US, true, 10, 0, 2);
	struct vns_packet data = tcp(US, true, 0, 10, 2);

	(void)state;
	syn.tcp_flags = VNS_TCP_SYN;
	fin.tcp_flags = VNS_TCP_FIN | VNS_TCP_ACK;
	feed(b, VNS_POINT_A, syn);
	feed(b, VNS_POINT_A, data);
	feed(b, VNS_POINT_A, fin);
	syn.time_ns += 20 * US;
	feed(b, VNS_POINT_B, syn);
	/* Data and FIN arrive joined. */
	data.tcp_flags |= VNS_TCP_FIN;
	data.time_ns += 30 * US;
	feed(b, VNS_POINT_B, data);
	done(b);
	assert_int_equal(b->n, 3);
	assert_int_equal(b->s[0].first_raw_ns, 20 * US);
	assert_int_equal(b->s[0].payload_len, 0);
	assert_int_equal(b->s[1].first_raw_ns, 30 * US);
	assert_int_equal(b->s[1].payload_len, 10);
	assert_int_equal(b->s[2].first_raw_ns, 29 * US);
	assert_int_equal(b->s[2].payload_len, 0);
	expect(b, VNS_POINT_B, 2, 0, 0, 0);
	drop(b);
}

static void test_pure_acks(void **state)
{
	struct bench *b = open_default();
	struct vns_packet one = tcp(0, true, 10, 0, 7), other = one;

	(void)state;
	other.window = 600; /* a window update: all else is equal */
	other.time_ns += US;
	feed(b, VNS_POINT_A, one);
	feed(b, VNS_POINT_A, other);
	other.time_ns += 20 * US;
	one.time_ns += 40 * US;
	feed(b, VNS_POINT_B, other); /* overtakes */
	feed(b, VNS_POINT_B, one);
	done(b);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->s[0].first_raw_ns, 40 * US);
	assert_int_equal(b->s[1].first_raw_ns, 20 * US);
	drop(b);
}

static void test_retransmission_told_by_tsval(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 5)); /* lost */
	feed(b, VNS_POINT_A, tcp(300 * MS, true, 10, 100, 305));
	feed(b, VNS_POINT_B, tcp(300 * MS + 40 * US, true, 10, 100, 305));
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, 40 * US);
	assert_int_equal(b->c[0].missing_by_proto[VNS_PROTO_TCP], 1);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	expect(b, VNS_POINT_B, 5, 0, 0, 0);
	drop(b);
}

static void test_retransmission_told_by_ip_id(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp_id(tcp(0, true, 10, 100, 5), 41)); /* lost */
	feed(b, VNS_POINT_A, tcp_id(tcp(300 * US, true, 10, 100, 5), 42));
	feed(b, VNS_POINT_B, tcp_id(tcp(340 * US, true, 10, 100, 5), 42));
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, 40 * US);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	expect(b, VNS_POINT_B, 5, 0, 0, 0);
	drop(b);
}

/* Without IP ID; before it was sent again the receiver's buffer was read. */
static void retransmission_told_by_window(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];
	struct vns_packet again = tcp(300 * US, true, 10, 100, 5);

	(void)state;
	frame_case(b, -1 * SEC);
	again.window++;
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 5)); /* lost */
	feed(b, VNS_POINT_A, again);
	again.time_ns += 40 * US;
	feed(b, VNS_POINT_B, again);
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, 40 * US);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	expect(b, VNS_POINT_B, 5, 0, 0, 0);
	drop(b);
}

/* As many there as here is no proof of order: one may have been lost and the other doubled. */
static void test_retransmission_in_order(void **state)
{
	struct bench *b = open_default();

	(void)state;
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 5));
	feed(b, VNS_POINT_A, tcp(300 * US, true, 10, 100, 5));
	feed(b, VNS_POINT_B, tcp(340 * US, true, 10, 100, 5));
	feed(b, VNS_POINT_B, tcp(350 * US, true, 10, 100, 5));
	done(b);
	assert_int_equal(b->n, 0);
	expect(b, VNS_POINT_A, 0, 0, 2, 0);
	expect(b, VNS_POINT_B, 0, 0, 2, 0);
	drop(b);
}

static void test_retransmission_ambiguous(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 5));
	feed(b, VNS_POINT_A, tcp(300 * US, true, 10, 100, 5));
	feed(b, VNS_POINT_B, tcp(340 * US, true, 10, 100, 5));
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 0);
	expect(b, VNS_POINT_A, 4, 0, 2, 0);
	expect(b, VNS_POINT_B, 4, 0, 1, 0);
	drop(b);
}

/* Same TSval, other cuts: the superframe's copy is lost, its first segment was sent again. */
static void test_resegmented_retransmission(void **state)
{
	struct bench *b = open_default();

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp_id(tcp(0, true, 0, 3 * MSS, 5), 100));
	feed(b, VNS_POINT_B, tcp_id(tcp(30 * US, true, MSS, MSS, 5), 101));
	feed(b, VNS_POINT_B, tcp_id(tcp(31 * US, true, 2 * MSS, MSS, 5), 102));
	feed(b, VNS_POINT_A, tcp_id(tcp(300 * US, true, 0, MSS, 5), 103));
	feed(b, VNS_POINT_B, tcp_id(tcp(340 * US, true, 0, MSS, 5), 103));
	frame_case(b, SEC);
	done(b);
	/* The retransmission has its twin; the superframe's first byte never came. */
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	expect(b, VNS_POINT_B, 7, 0, 0, 0);
	drop(b);
}

/* So soon that only the TSval tells. */
static void test_quick_retransmission_told_by_tsval(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 5)); /* lost */
	feed(b, VNS_POINT_A, tcp(2 * MS, true, 10, 100, 7));
	feed(b, VNS_POINT_B, tcp(2 * MS + 40 * US, true, 10, 100, 7));
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, 40 * US);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	drop(b);
}

/* Neither TSval nor ID, and not quiet between them: the first had arrived before the second left. */
static void test_segments_told_by_time(void **state)
{
	struct bench *b = open_default();

	(void)state;
	vns_twin_advance(b->t, VNS_POINT_B, T0 - SEC);
	feed(b, VNS_POINT_A, tcp(0, true, 10, 100, 0));
	feed(b, VNS_POINT_B, tcp(40 * US, true, 10, 100, 0));
	feed(b, VNS_POINT_A, tcp(100 * MS, true, 10, 100, 0)); /* lost */
	vns_twin_advance(b->t, VNS_POINT_B, T0 + SEC);
	done(b);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->s[0].first_raw_ns, 40 * US);
	expect(b, VNS_POINT_A, 1, 1, 0, 0);
	expect(b, VNS_POINT_B, 1, 0, 0, 0);
	drop(b);
}

/* Alike but for the ID, and they overtake each other. */
static void test_ids_tell_the_order(void **state)
{
	struct bench *b = open_default();

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		feed(b, VNS_POINT_A, udp(i * US, true, 1, 10 + i));
	for (uint32_t i = 0; i < 2; i++)
		feed(b, VNS_POINT_B, udp(50 * US + i * US, true, 1, 11 - i));
	done(b);
	assert_int_equal(b->n, 2);
	for (size_t k = 0; k < 2; k++)
		assert_int_equal(b->s[k].first_raw_ns, b->s[k].host_ns == T0 ? 51 * US : 49 * US);
	drop(b);
}

/* An old retransmission is told apart by time alone: it had arrived before the next was sent. */
static void test_copies_told_by_time(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	feed(b, VNS_POINT_B, udp(40 * US, true, 1, 0));
	feed(b, VNS_POINT_A, udp(300 * MS, true, 1, 0)); /* lost */
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_UDP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, 40 * US);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	drop(b);
}

/* An echo's request and its reply have one flow hash of their own; of TCP no sequence number is in it. */
static void test_echoes_have_their_own_hash(void **state)
{
	struct bench *b = open_default();

	(void)state;
	for (unsigned int i = 0; i < 4; i++) { /* two requests, then both replies */
		bool to_guest = i < 2;
		struct vns_packet p = base(i * MS, to_guest, VNS_PROTO_ICMP, 0);
		struct vns_packet data = tcp(i * MS, to_guest, 1000 + i * 100, 100, 7);

		p.icmp_type = to_guest ? 8 : 0;
		p.icmp_seqno = (uint16_t)(7 + i % 2);
		p.digest = 100 + i;
		feed(b, to_guest ? VNS_POINT_A : VNS_POINT_B, p);
		feed(b, to_guest ? VNS_POINT_A : VNS_POINT_B, data);
		p.time_ns = data.time_ns += 50 * US;
		feed(b, to_guest ? VNS_POINT_B : VNS_POINT_A, p);
		feed(b, to_guest ? VNS_POINT_B : VNS_POINT_A, data);
	}
	done(b);
	assert_int_equal(b->n, 8);
	for (size_t i = 0; i < b->n; i++) {
		for (size_t j = 0; j < b->n; j++) {
			bool same = b->s[i].proto == b->s[j].proto &&
				    (b->s[i].proto == VNS_PROTO_TCP ||
				     b->s[i].host_ns / MS % 2 == b->s[j].host_ns / MS % 2);

			assert_int_equal(b->s[i].flow_hash == b->s[j].flow_hash, same);
		}
	}
	drop(b);
}

static void test_identical_datagrams(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[64];

	(void)state;
	frame_case(b, -1 * SEC);
	/* Farther apart than packets take: time tells. */
	for (int i = 0; i < 10; i++)
		feed(b, VNS_POINT_A, udp(i * 60 * MS - 600 * MS, true, 1, 0));
	for (int i = 0; i < 10; i++)
		feed(b, VNS_POINT_B, udp(i * 60 * MS - 595 * MS, true, 1, 0));
	/* Nearer, and nothing does, though all are there: one lost and one doubled look the same. */
	for (int i = 0; i < 10; i++)
		feed(b, VNS_POINT_A, udp(100 * MS + i * MS, true, 4, 0));
	for (int i = 0; i < 10; i++)
		feed(b, VNS_POINT_B, udp(100 * MS + i * MS + 5 * MS, true, 4, 0));
	for (int i = 0; i < 10; i++)
		feed(b, VNS_POINT_A, udp(500 * MS + i * MS, true, 2, 0));
	for (int i = 0; i < 9; i++)
		feed(b, VNS_POINT_B, udp(500 * MS + i * MS + 5 * MS, true, 2, 0));
	/* The same with IP IDs: they tell. */
	for (uint32_t i = 0; i < 10; i++)
		feed(b, VNS_POINT_A, udp(600 * MS + i * MS, true, 3, 100 + i));
	for (uint32_t i = 0; i < 10; i++)
		if (i != 4)
			feed(b, VNS_POINT_B, udp(600 * MS + i * MS + 5 * MS, true, 3, 100 + i));
	frame_case(b, SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_UDP, s, 64), 19);
	for (int i = 0; i < 19; i++)
		assert_int_equal(s[i].first_raw_ns, 5 * MS);
	expect(b, VNS_POINT_A, 4 + 19, 1, 20, 0);
	expect(b, VNS_POINT_B, 4 + 19, 0, 19, 0);
	drop(b);
}

/* IP IDs only break ties: a hop that rewrites them changes nothing where no tie is. */
static void test_rewritten_ip_id(void **state)
{
	struct bench *b = open_default();

	(void)state;
	feed(b, VNS_POINT_A, udp(0, true, 1, 5));
	feed(b, VNS_POINT_B, udp(40 * US, true, 1, 9));
	feed(b, VNS_POINT_A, tcp_id(tcp(0, true, 1, 1, 1), 5));
	feed(b, VNS_POINT_B, tcp_id(tcp(40 * US, true, 1, 1, 1), 9));
	done(b);
	assert_int_equal(b->n, 2);
	drop(b);
}

/* The first is lost, the second doubled: as many there as here, but the IDs say which. */
static void test_lost_and_doubled(void **state)
{
	struct bench *b = open_default();

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, tcp_id(tcp(0, true, 10, 100, 5), 41));
	feed(b, VNS_POINT_A, tcp_id(tcp(300 * US, true, 10, 100, 5), 42));
	feed(b, VNS_POINT_B, tcp_id(tcp(340 * US, true, 10, 100, 5), 42));
	feed(b, VNS_POINT_B, tcp_id(tcp(350 * US, true, 10, 100, 5), 42));
	frame_case(b, SEC);
	done(b);
	expect(b, VNS_POINT_A, 5, 1, 0, 0);
	expect(b, VNS_POINT_B, 5, 1, 0, 0);
	drop(b);
}

static void test_duplicate_downstream(void **state)
{
	struct bench *b = open_default();

	(void)state;
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_A, udp(0, true, 1, 5));
	feed(b, VNS_POINT_B, udp(40 * US, true, 1, 5));
	feed(b, VNS_POINT_B, udp(41 * US, true, 1, 5));
	feed(b, VNS_POINT_A, tcp(0, true, 1, 100, 5));
	feed(b, VNS_POINT_B, tcp(40 * US, true, 1, 100, 5));
	feed(b, VNS_POINT_B, tcp(41 * US, true, 1, 100, 5));
	frame_case(b, SEC);
	done(b);
	expect(b, VNS_POINT_A, 6, 0, 0, 0);
	expect(b, VNS_POINT_B, 6, 2, 0, 0);
	for (size_t i = 0; i < b->n; i++)
		assert_true(b->s[i].proto == VNS_PROTO_ICMP || b->s[i].first_raw_ns == 40 * US);
	drop(b);
}

static void test_reordering(void **state)
{
	struct bench *b = open_default();
	static const int order[] = { 3, 0, 5, 1, 2, 4, 7, 6 };

	(void)state;
	for (int i = 0; i < 8; i++) {
		feed(b, VNS_POINT_A, tcp(i * US, true, (uint32_t)i * 100, 100, 5));
		feed(b, VNS_POINT_A, udp(i * US, true, (uint64_t)i, 0));
	}
	for (int i = 0; i < 8; i++) {
		feed(b, VNS_POINT_B, tcp(50 * US + i * US, true, (uint32_t)order[i] * 100, 100, 5));
		feed(b, VNS_POINT_B, udp(50 * US + i * US, true, (uint64_t)order[i], 0));
	}
	done(b);
	assert_int_equal(b->n, 16);
	for (size_t k = 0; k < b->n; k++) {
		int sent = (int)((b->s[k].host_ns - T0) / US), i = 0;

		while (order[i] != sent)
			i++;
		assert_int_equal(b->s[k].first_raw_ns, 50 * US + i * US - sent * US);
	}
	drop(b);
}

static void test_fragments(void **state)
{
	struct bench *b = open_default();
	struct vns_packet f[4];

	(void)state;
	for (uint32_t i = 0; i < 4; i++) { /* two datagrams, two later fragments each */
		f[i] = base(i * US, true, VNS_PROTO_NONE, 0);
		f[i].key.ipproto = 17;
		f[i].verdict = VNS_PKT_FRAGMENT;
		f[i].flags = VNS_PKT_F_LATER_FRAG;
		f[i].ip_id = 700 + i / 2;
		f[i].frag_off = (uint16_t)(1480 * (1 + i % 2));
		feed(b, VNS_POINT_A, f[i]);
	}
	for (uint32_t i = 4; i-- > 0;) {
		f[i].time_ns += 50 * US;
		feed(b, VNS_POINT_B, f[i]);
	}
	done(b);
	assert_int_equal(b->n, 4);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(b->s[i].first_raw_ns, 50 * US);
		assert_int_equal(b->s[i].proto, VNS_PROTO_UDP);
	}
	drop(b);
}

static void test_classes(void **state)
{
	struct bench *b = open_default();
	struct vns_packet other = udp(0, true, 50, 0), arp = other, multi = other, own = other;
	struct vns_addr x = vns_addr_from_v4((const uint8_t[]){ 10, 0, 0, 7 });
	struct vns_twin_sample s[8];

	(void)state;
	arp.verdict = VNS_PKT_NOT_IP;
	feed(b, VNS_POINT_A, arp);
	other.key.addr[0] = x; /* neither end is the guest */
	feed(b, VNS_POINT_A, other);
	multi.key.addr[0] = x; /* flooded to the guest */
	multi.flags = VNS_PKT_F_MULTICAST;
	multi.time_ns += 30 * MS;
	feed(b, VNS_POINT_A, multi);
	multi.time_ns += 30 * US;
	feed(b, VNS_POINT_B, multi);
	own.flags = VNS_PKT_F_MULTICAST; /* the guest's own */
	own.digest = 51;
	own.dir = 0;
	own.time_ns += 40 * MS;
	feed(b, VNS_POINT_B, own);
	own.time_ns += 10 * US;
	feed(b, VNS_POINT_A, own);
	/* Before B's first packet (A started earlier) and after A's last. */
	feed(b, VNS_POINT_A, udp(10 * MS, true, 60, 0));
	feed(b, VNS_POINT_A, udp(50 * MS, true, 61, 0)); /* lost */
	frame_case(b, 100 * MS);
	feed(b, VNS_POINT_B, udp(200 * MS, true, 62, 0));
	done(b);
	assert_int_equal(b->c[0].in_class[VNS_TWIN_UNDECODABLE], 2);
	expect(b, VNS_POINT_A, 4, 1, 0, 1);
	expect(b, VNS_POINT_B, 4, 0, 0, 1);
	assert_int_equal(samples_of(b, VNS_PROTO_UDP, s, 8), 2);
	assert_int_equal(s[0].direction, VNS_HOST_TO_GUEST);
	assert_int_equal(s[1].direction, VNS_GUEST_TO_HOST);
	drop(b);
}

/* Forty pings without identification, B's clock @back from the twentieth on. */
static struct bench *pings(int64_t back)
{
	struct bench *b = open_default();

	for (int i = 0; i < 40; i++) {
		int64_t at = i * 100 * MS;

		feed(b, VNS_POINT_A, udp(at, true, (uint64_t)i + 1, 0));
		feed(b, VNS_POINT_B, udp(at + 50 * US - (i < 20 ? 0 : back), true, (uint64_t)i + 1, 0));
	}
	return b;
}

/* Alike, the later one sent: two datagrams whose twins are lost or from before a capture. */
static void not_seen_before_it_was_sent(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 8; id += 7) {
		struct bench *b = pings(0);

		feed(b, VNS_POINT_B, udp(4 * SEC, true, 1000, id));
		feed(b, VNS_POINT_A, udp(4365 * MS, true, 1000, id));
		frame_case(b, 5 * SEC);
		done(b);
		expect(b, VNS_POINT_A, 42, 0, 1, 0);
		expect(b, VNS_POINT_B, 42, 0, 1, 0);
		assert_int_equal(vns_twin_steps(b->t, (struct vns_twin_step[VNS_TWIN_STEPS]){ 0 }), 0);
		drop(b);
	}
}

/* All of them: a clock has stepped, and they are twins. */
static void all_seen_before_they_were_sent(void **state)
{
	struct bench *b = pings(365 * MS);

	(void)state;
	done(b);
	expect(b, VNS_POINT_A, 40, 0, 0, 0);
	expect(b, VNS_POINT_B, 40, 0, 0, 0);
	drop(b);
}

/* As left of IPv6 by a snap length of 80. */
static struct vns_packet no_tsval(struct vns_packet p)
{
	p.flags = VNS_PKT_F_OPTS_CUT;
	p.tsval = 0;
	return p;
}

/*
 * The end of a segment is sent again, with a later TSval that only the guest's capture shows. @lost: bits,
 * those of the two that do not reach the host. It does not arrive before it is sent.
 */
static struct bench *sent_again(int64_t after, unsigned int lost, bool host_first)
{
	struct bench *b = open_default();
	struct vns_packet up[2] = { tcp(after, false, 1000 + 324, MSS - 324, 17),
				    tcp(0, false, 1000, MSS, 5) };

	for (uint32_t i = 0; i < 20; i++) {
		feed(b, VNS_POINT_B, tcp(-((int64_t)20 - i) * MS, false, 1000 - (20 - i) * 10, 10, 4));
		feed(b, VNS_POINT_A,
		     no_tsval(tcp(50 * US - ((int64_t)20 - i) * MS, false, 1000 - (20 - i) * 10, 10, 0)));
	}
	for (int pass = 0; pass < 2; pass++) {
		for (int i = 2; i-- > 0;) {
			struct vns_packet down = no_tsval(up[i]);

			down.time_ns += 50 * US;
			if ((pass == 0) != host_first)
				feed(b, VNS_POINT_B, up[i]);
			else if (!(lost & (i ? 1 : 2)))
				feed(b, VNS_POINT_A, down);
		}
	}
	frame_case(b, 2 * SEC);
	done(b);
	return b;
}

static void sent_again_without_tsval_at_one_point(void **state)
{
	static const int64_t after[] = { 12500 * US, 300 * MS, 450 * MS };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int lost = 0; lost < 8; lost++) {
			struct bench *b = sent_again(after[i], lost & 3, lost & 4);

			for (size_t s = 0; s < b->n; s++)
				if (b->s[s].proto == VNS_PROTO_TCP)
					assert_int_equal(b->s[s].first_raw_ns, -50 * US);
			assert_true(b->c[1].in_class[VNS_TWIN_MATCHED] >= 22);
			drop(b);
		}
	}
}

/* A duplicate ACK over IPv6: all but its SACK block is as in the one before. */
static struct vns_packet sacked(int64_t at, uint32_t right)
{
	struct vns_packet p = tcp(at, true, 1000, 0, 5);

	p.flags |= right ? VNS_PKT_F_HAS_SACK : 0;
	p.sack_left = right ? 5000 : 0;
	p.sack_right = right;
	return p;
}

/* Ten of them at once, the fourth lost; where one point is cut before the blocks, nothing is guessed. */
static void duplicate_acks_told_by_sack(void **state)
{
	(void)state;
	for (uint32_t cut = 0; cut < 2; cut++) {
		struct bench *b = open_default();

		for (uint32_t i = 0; i < 10; i++) {
			feed(b, VNS_POINT_A, sacked(i * 10 * US, 6000 + i * MSS));
			if (i != 3)
				feed(b, VNS_POINT_B, sacked(50 * US + i * 10 * US, cut ? 0 : 6000 + i * MSS));
		}
		frame_case(b, 2 * SEC);
		done(b);
		expect(b, VNS_POINT_A, cut ? 2 : 11, cut ? 0 : 1, cut ? 10 : 0, 0);
		expect(b, VNS_POINT_B, cut ? 2 : 11, 0, cut ? 9 : 0, 0);
		drop(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(duplicate_acks_told_by_sack),
		cmocka_unit_test(sent_again_without_tsval_at_one_point),
		cmocka_unit_test(not_seen_before_it_was_sent),
		cmocka_unit_test(all_seen_before_they_were_sent),
		cmocka_unit_test(test_signs),
		cmocka_unit_test(test_coarse_offset_is_given_back),
		cmocka_unit_test(test_superframe_to_segments),
		cmocka_unit_test(test_segments_to_gro_frame),
		cmocka_unit_test(test_other_superframes),
		cmocka_unit_test(test_in_order_but_too_late),
		cmocka_unit_test(in_order_but_too_early),
		cmocka_unit_test(test_syn_and_fin_take_a_number),
		cmocka_unit_test(test_pure_acks),
		cmocka_unit_test(test_retransmission_told_by_tsval),
		cmocka_unit_test(test_retransmission_told_by_ip_id),
		cmocka_unit_test(retransmission_told_by_window),
		cmocka_unit_test(test_retransmission_in_order),
		cmocka_unit_test(test_retransmission_ambiguous),
		cmocka_unit_test(test_resegmented_retransmission),
		cmocka_unit_test(test_copies_told_by_time),
		cmocka_unit_test(test_quick_retransmission_told_by_tsval),
		cmocka_unit_test(test_segments_told_by_time),
		cmocka_unit_test(test_ids_tell_the_order),
		cmocka_unit_test(test_echoes_have_their_own_hash),
		cmocka_unit_test(test_identical_datagrams),
		cmocka_unit_test(test_rewritten_ip_id),
		cmocka_unit_test(test_lost_and_doubled),
		cmocka_unit_test(test_duplicate_downstream),
		cmocka_unit_test(test_reordering),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_classes),
	};

	return cmocka_run_group_tests_name("twin", tests, NULL, NULL);
}
