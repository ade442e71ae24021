// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Twins as a stream: memory and work are bounded, points may run ahead of each other; and what is
 * learnt before the pairing (coarse offset, guest's addresses).
 */
#include <time.h>

#include "packet/hash.h"
#include "twin_bench.h"

#include "engine/twin/twin_int.h"

/* The hash table against a plain array; few different homes, so that probes run into each other. */
static void test_table(void **state)
{
	enum { KEYS = 600 };
	static uint32_t node[KEYS];
	struct twin_memory m;
	uint32_t rng = 7;

	(void)state;
	assert_int_equal(twin_memory_init(&m, KEYS), 0);
	memset(node, 0, sizeof(node));
	for (int i = 0; i < 200000; i++) {
		uint32_t k = ((rng = rng * 1664525 + 1013904223) >> 8) % KEYS;
		uint64_t key = (uint64_t)(4090 + k % 30) << 32 | k; /* wraps at 4096 slots */

		if (node[k] && rng >> 31) {
			twin_node_free(&m, node[k]);
			node[k] = 0;
		} else {
			uint32_t n = twin_node_get(&m, key);

			assert_true(n != 0 && (node[k] == 0 || node[k] == n));
			assert_int_equal(m.node[n].key, key);
			node[k] = n;
		}
	}
	twin_memory_fini(&m);
}

static void test_one_point_silent(void **state)
{
	struct bench *b = open_default();

	(void)state;
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	feed(b, VNS_POINT_A, tcp(0, true, 1, 1, 1));
	done(b);
	expect(b, VNS_POINT_A, 0, 0, 0, 2);
	drop(b);
}

/*
 * A frame's second segment is doubled: the frame waits for its copies to show while its first and last
 * segments, which nobody contests, are counted and leave.
 */
static void test_segments_that_left_before_their_frame(void **state)
{
	struct vns_twin_sample s[2];

	(void)state;
	for (int first = 0; first < 2; first++) { /* whichever point is read ahead */
		struct bench *b = open_default();

		frame_case(b, -2 * SEC);
		for (int i = 0; i < 2; i++) {
			if (i == first) {
				feed(b, VNS_POINT_A, tcp(0, true, 1000, 3 * MSS, 5));
				continue;
			}
			feed(b, VNS_POINT_B, tcp(30 * US, true, 1000, MSS, 5));
			feed(b, VNS_POINT_B, tcp(40 * US, true, 1000 + MSS, MSS, 5));
			feed(b, VNS_POINT_B, tcp(50 * US, true, 1000 + 2 * MSS, MSS, 5));
			feed(b, VNS_POINT_B, tcp(90 * US, true, 1000 + MSS, MSS, 5));
		}
		frame_case(b, 1500 * MS); /* the segments leave after 1 s, */
		frame_case(b, 30 * SEC);  /* the frame after 5 s */
		done(b);
		assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 2), 1);
		assert_int_equal(s[0].first_raw_ns, 30 * US);
		assert_true(s[0].has_last);
		assert_int_equal(s[0].last_raw_ns, 50 * US);
		expect(b, VNS_POINT_A, 7, 0, 0, 0);
		drop(b);
	}
}

/* As above, but no room for the contested segments until the frame is decided: nothing is guessed. */
static void test_copies_that_had_to_go_early(void **state)
{
	struct vns_twin_opts o = { .max_pending = 3 };
	struct vns_twin_sample s[2];
	struct bench *b = open_with(&o);

	(void)state;
	frame_case(b, -2 * SEC);
	feed(b, VNS_POINT_A, tcp(0, true, 1000, MSS, 5));
	feed(b, VNS_POINT_B, tcp(30 * US, true, 1000, MSS, 5));
	feed(b, VNS_POINT_B, tcp(90 * US, true, 1000, MSS, 5));
	for (int i = 0; i < 4; i++)
		feed(b, VNS_POINT_B, udp(i * MS, true, (uint64_t)i + 1, 0));
	frame_case(b, 30 * SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 2), 0);
	expect(b, VNS_POINT_A, 4, 0, 1, 0);
	drop(b);
}

/*
 * A segment that the sender's capture lacks, its retransmission 5 ms later with the same TSval. @known: the clocks
 * are, to within less; @arrives: the retransmission does.
 */
static struct bench *first_not_captured(bool known, bool arrives, uint32_t id)
{
	struct bench *b = open_default();

	talk(b, 0, 100, known);
	feed(b, VNS_POINT_B, tcp_id(tcp(2 * SEC, true, 1000, MSS, 5), id));
	feed(b, VNS_POINT_A, tcp_id(tcp(2005 * MS, true, 1000, MSS, 5), id + !!id));
	if (arrives)
		feed(b, VNS_POINT_B, tcp_id(tcp(2005 * MS + 50 * US, true, 1000, MSS, 5), id + !!id));
	talk(b, 2010 * MS, 600, known);
	done(b);
	return b;
}

static void test_seen_before_it_was_sent_again(void **state)
{
	struct vns_twin_sample s[2];

	(void)state;
	for (int i = 0; i < 8; i++) {
		bool known = i & 1, arrives = i & 2;
		uint32_t id = i & 4 ? 7 : 0;
		struct bench *b = first_not_captured(known, arrives, id);
		size_t n = samples_of(b, VNS_PROTO_TCP, s, 2);

		if (!known && !arrives) { /* nothing says that the clocks do not differ by so much */
			drop(b);
			continue;
		}
		assert_int_equal(n, arrives && (known || id));
		if (n)
			assert_int_equal(s[0].first_raw_ns, 50 * US);
		else
			assert_int_equal(b->c[VNS_POINT_A].in_class[VNS_TWIN_AMBIGUOUS], 1);
		assert_int_equal(vns_twin_steps(b->t, (struct vns_twin_step[VNS_TWIN_STEPS]){ 0 }), 0);
		drop(b);
	}
}

/* All segments so: a clock has stepped, and they are twins. */
static void test_clock_steps_by_milliseconds(void **state)
{
	struct vns_twin_sample s[200];

	(void)state;
	for (int64_t by = -7 * MS; by <= 7 * MS; by += 14 * MS) {
		struct bench *b = open_default();

		talk(b, 0, 100, true);
		for (uint32_t i = 0; i < 200; i++) {
			bool in = i % 2;
			int64_t at = 2 * SEC + i * 10 * MS, step = i < 50 ? 0 : by;
			struct vns_packet p = tcp(at + (in ? 0 : step), in, 1000 + i / 2 * 100, 100, 5 + i);

			feed(b, in ? VNS_POINT_A : VNS_POINT_B, p);
			p.time_ns = T0 + at + 50 * US + (in ? step : 0);
			feed(b, in ? VNS_POINT_B : VNS_POINT_A, p);
		}
		frame_case(b, 30 * SEC);
		done(b);
		assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 200), 200);
		drop(b);
	}
}

/* Streaming: what is settled leaves at once, what is lost after the window. */
static void test_memory_is_bounded(void **state)
{
	struct vns_twin_opts o = { .max_pending = 100 };
	struct bench *b = open_with(&o);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		feed(b, VNS_POINT_A, tcp(i * US, true, i * 10, 10, 1 + i));
		feed(b, VNS_POINT_A, udp(i * US, true, i, 0));
	}
	feed(b, VNS_POINT_B, tcp(1001 * US, true, 9990, 10, 1000));
	assert_int_equal(vns_twin_evicted(b->t), 0); /* B was silent: outside its window */
	done(b);
	/* The last datagram would have been there with the segment. */
	expect(b, VNS_POINT_A, 1, 1, 0, 1998);
	expect(b, VNS_POINT_B, 1, 0, 0, 0);
	drop(b);

	b = open_with(&o);
	frame_case(b, -1 * SEC);
	feed(b, VNS_POINT_B, udp(100 * SEC, false, 5, 0));
	for (uint32_t i = 0; i < 1000; i++)
		feed(b, VNS_POINT_A, udp(i * US, true, i, 0));
	assert_int_equal(vns_twin_evicted(b->t), 900);
	done(b);
	expect(b, VNS_POINT_A, 2, 1000, 0, 0);
	drop(b);
}

/* A long run gives its samples while it runs, and a late twin within the window is found. */
static void test_streams(void **state)
{
	struct bench *b = open_default();

	(void)state;
	for (int i = 0; i < 200; i++) {
		feed(b, VNS_POINT_A, udp(i * 100 * MS, true, (uint64_t)i, 0));
		if (i == 100)
			continue;
		feed(b, VNS_POINT_B, udp(i * 100 * MS + 40 * US, true, (uint64_t)i, 0));
		if (i == 140)
			feed(b, VNS_POINT_B, udp(14000 * MS, true, 100, 0)); /* 4 s late */
	}
	assert_true(b->n > 190);
	done(b);
	assert_int_equal(b->n, 200);
	expect(b, VNS_POINT_A, 200, 0, 0, 0);
	drop(b);
}

/* B is read ahead of A: what looks like the first datagram's twin is the second's. */
static void test_one_point_ahead(void **state)
{
	struct bench *b = open_default();
	struct vns_twin_sample s[8];

	(void)state;
	frame_case(b, -2 * SEC);
	feed(b, VNS_POINT_A, udp(0, true, 1, 0)); /* lost */
	feed(b, VNS_POINT_A, tcp(0, true, 1, 100, 0)); /* lost */
	feed(b, VNS_POINT_B, udp(1050 * MS, true, 1, 0));
	feed(b, VNS_POINT_B, tcp(1050 * MS, true, 1, 100, 0));
	feed(b, VNS_POINT_B, udp(1100 * MS, true, 2, 0));
	feed(b, VNS_POINT_A, udp(600 * MS, true, 3, 0)); /* lost; A is read up to here */
	feed(b, VNS_POINT_A, udp(1049 * MS, true, 1, 0));
	feed(b, VNS_POINT_A, tcp(1049 * MS, true, 1, 100, 0));
	feed(b, VNS_POINT_A, udp(1099 * MS, true, 2, 0));
	frame_case(b, 3 * SEC);
	done(b);
	assert_int_equal(samples_of(b, VNS_PROTO_UDP, s, 8), 2);
	assert_int_equal(s[0].first_raw_ns, MS);
	assert_int_equal(s[1].first_raw_ns, MS);
	assert_int_equal(samples_of(b, VNS_PROTO_TCP, s, 8), 1);
	assert_int_equal(s[0].first_raw_ns, MS);
	expect(b, VNS_POINT_A, 7, 3, 0, 0);
	drop(b);
}

static void test_advance(void **state)
{
	struct bench *b = open_default();

	(void)state;
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	vns_twin_advance(b->t, VNS_POINT_B, T0 - SEC); /* the capture began before */
	vns_twin_advance(b->t, VNS_POINT_A, T0 + 20 * SEC);
	vns_twin_advance(b->t, VNS_POINT_B, T0 + 20 * SEC);
	vns_twin_get_counts(b->t, VNS_POINT_A, &b->c[0]);
	expect(b, VNS_POINT_A, 0, 1, 0, 0);
	drop(b);
}

/*
 * Hostile: all segments overlap, in falling order of sequence numbers. Bounded work, and
 * every packet still has a class.
 */
static void test_hostile_overlaps(void **state)
{
	struct bench *b = open_default();

	(void)state;
	for (uint32_t i = 0; i < 60000; i++) {
		struct vns_packet p = tcp(i, true, 0x7fffffffu - i * 3, 60000, 5);

		feed(b, VNS_POINT_A, p);
		p.time_ns += US;
		feed(b, VNS_POINT_B, p);
		if (b->n > 4000)
			b->n = 0;
	}
	b->n = 0;
	vns_twin_finish(b->t);
	vns_twin_get_counts(b->t, VNS_POINT_A, &b->c[0]);
	assert_int_equal(class_sum(&b->c[0]), 60000);
	drop(b);
}

/* A busy host hands a frame's datagrams on 15 ms after it, one behind the other: all are its. */
static void test_superframe_held_up(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 8; id += 7) { /* with identifications, and without */
		struct bench *b = open_default();
		struct vns_packet p = udp(2 * SEC, true, 1, id);

		talk(b, 0, 100, false);
		p.payload_len = 3000;
		p.digest += vns_length_term(3000);
		feed(b, VNS_POINT_A, p);
		for (uint32_t i = 0; i < 3; i++) {
			p = udp(2015 * MS + i * 5 * MS, true, i + 1, id ? id + i : 0);
			p.payload_len = 1000;
			p.digest += vns_length_term(1000);
			feed(b, VNS_POINT_B, p);
		}
		talk(b, 3 * SEC, 100, false);
		done(b);
		expect(b, VNS_POINT_A, 201, 0, 0, 0);
		expect(b, VNS_POINT_B, 203, 0, 0, 0);
		drop(b);
	}
}

/* A frame that claims to be so long that its datagrams cannot be counted in 32 bits plainly. */
static void test_hostile_superframe(void **state)
{
	struct bench *b = open_default();
	struct vns_packet whole = udp(0, true, 1, 7), part = udp(40 * US, true, 1, 7);

	(void)state;
	whole.payload_len = UINT32_MAX - 41;
	part.payload_len = 1000;
	whole.digest += vns_length_term(whole.payload_len);
	part.digest += vns_length_term(part.payload_len);
	feed(b, VNS_POINT_A, whole);
	feed(b, VNS_POINT_B, part);
	done(b);
	assert_int_equal(b->n, 1);
	assert_int_equal(b->s[0].first_raw_ns, 40 * US);
	assert_false(b->s[0].has_last);
	drop(b);
}

/* 120,000 datagrams alike in a second, some of them late by far: in doubt, and soon so. */
static void test_flood_of_copies(void **state)
{
	const unsigned int n = 120000;

	(void)state;
	for (uint32_t ids = 0; ids < 2; ids++) { /* without identifications; then with 1000, again and again */
		struct bench *b = open_default();
		clock_t began = clock();

		for (unsigned int i = 0; i < n; i++) {
			struct vns_packet p = udp(i * 8 * US, true, 1, ids * (1 + i % 1000));

			feed(b, VNS_POINT_A, p);
			p.time_ns += i % 1000 == 500 ? 900 * MS : 300 * MS;
			if (i % 10)
				feed(b, VNS_POINT_B, p);
		}
		done(b);
		assert_true(b->c[VNS_POINT_A].in_class[VNS_TWIN_AMBIGUOUS] > n / 2);
		assert_true(clock() - began < 5 * CLOCKS_PER_SEC); /* of a processor: quadratic work is minutes */
		drop(b);
	}
}

/* Datagrams alike in fragments of IPv6: an identification of 32 bits, any of them. */
static void test_identification_of_32_bits(void **state)
{
	const unsigned int n = 4000, late = 5; /* packets, and how many are under way */

	(void)state;
	for (uint32_t id = 1000; id; id = id == 1000 ? 0x80001000 : 0) {
		struct bench *b = open_default();

		for (unsigned int i = 0; i < n + late; i++) {
			struct vns_packet p = udp(i * 5 * MS, true, 1, id + i);

			p.flags = VNS_PKT_F_FIRST_FRAG;
			if (i < n)
				feed(b, VNS_POINT_A, p);
			p.ip_id -= late;
			if (i >= late)
				feed(b, VNS_POINT_B, p);
		}
		done(b);
		expect(b, VNS_POINT_A, n, 0, 0, 0);
		expect(b, VNS_POINT_B, n, 0, 0, 0);
		drop(b);
	}
}

/* A fragment whose end, counted in 32 bits, is that of the datagram. */
static void test_hostile_fragment(void **state)
{
	struct bench *b = open_default();
	struct vns_packet whole = udp(0, true, 1, 7), part = udp(40 * US, true, 2, 7);

	(void)state;
	frame_case(b, -2 * SEC);
	part.verdict = VNS_PKT_FRAGMENT;
	part.flags = VNS_PKT_F_LATER_FRAG;
	part.frag_off = 1480;
	part.payload_len = whole.payload_len + 8 - 1480;
	feed(b, VNS_POINT_A, whole);
	feed(b, VNS_POINT_B, part);
	frame_case(b, 30 * SEC);
	done(b);
	expect(b, VNS_POINT_A, 4, 1, 0, 0);
	expect(b, VNS_POINT_B, 4, 1, 0, 0);
	drop(b);
}

static void test_coarse_offset(void **state)
{
	struct vns_packet a[40], b[40];
	int64_t hours = -5 * 3600 * SEC, found = 0;
	size_t support = 0;

	(void)state;
	for (uint32_t i = 0; i < 40; i++) {
		a[i] = udp(i * MS, i % 2, i < 30 ? i : 1000, 0);
		b[i] = a[i];
		b[i].time_ns += hours + (i % 2 ? 40 * US : -40 * US);
	}
	assert_int_equal(vns_twin_coarse_offset(a, 40, b, 40, &found, &support), 0);
	assert_true(llabs(found - hours) <= 40 * US);
	assert_int_equal(support, 30);
	assert_int_equal(vns_twin_coarse_offset(a, 10, b + 20, 10, &found, &support), 1);
}

static void test_learn_guest(void **state)
{
	struct vns_packet a[20], b[20];
	struct vns_addr guest = vns_addr_from_v4(guest_v4), out[4];

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		a[i] = udp(i * MS, i % 2, i, 0);
		b[i] = a[i];
		b[i].time_ns += SEC + (i % 2 ? 40 * US : -40 * US);
	}
	/* One peer only: B alone cannot tell, both points can. */
	assert_int_equal(vns_twin_learn_guest(b, 20, out, 4), 0);
	assert_int_equal(vns_twin_learn_guest_pairs(a, 20, b, 20, out, 0, 4), 1);
	assert_true(vns_addr_equal(&out[0], &guest));
	/* Two multicast senders: one's stamps are those of the guest, the other's those of a peer. */
	for (uint32_t i = 10; i < 12; i++) {
		a[i].flags = b[i].flags = VNS_PKT_F_MULTICAST;
		a[i].dir = b[i].dir = 0;
		a[i].key.addr[0].b[15] = b[i].key.addr[0].b[15] = (uint8_t)(100 + i);
		b[i].time_ns = a[i].time_ns + SEC + (i % 2 ? 20 * US : -45 * US);
	}
	assert_int_equal(vns_twin_learn_guest_pairs(a, 20, b, 20, out, 0, 4), 2);
	assert_int_equal(out[1].b[15], 110);
	assert_int_equal(vns_twin_learn_guest_pairs(a, 20, b, 20, out, 1, 4), 2);
	assert_true(vns_addr_equal(&out[0], &guest));
	assert_int_equal(out[1].b[15], 110);
	/* A second peer: the guest is what all packets share. */
	b[3].key.addr[1].b[15] = 77;
	assert_int_equal(vns_twin_learn_guest(b, 20, out, 4), 1);
	assert_true(vns_addr_equal(&out[0], &guest));
}

/*
 * More waits than memory holds: single datagrams at A that B sees 160 ms later, one in ten of them in
 * two fragments that B sees at once. Work is bounded for each packet, and the fragments are found.
 */
static void test_work_of_evictions_is_bounded(void **state)
{
	enum { N = 20000, LATE = N, PENDING = 2000 };
	struct vns_twin_opts o = { .max_pending = PENDING };
	struct bench *b = open_with(&o);

	(void)state;
	for (uint32_t i = 0; i < N + LATE; i++) {
		struct vns_packet p = udp(i * 8 * US, true, i, i), q = p;

		if (i < N)
			feed(b, VNS_POINT_A, p);
		if (i < N && i % 10 == 0) {
			q.flags |= VNS_PKT_F_FIRST_FRAG;
			q.payload_len = 40;
			q.digest += vns_length_term(40) - vns_length_term(100);
			q.verdict = VNS_PKT_FRAGMENT;
			feed(b, VNS_POINT_B, q);
			q.flags = VNS_PKT_F_LATER_FRAG;
			q.frag_off = 48;
			q.payload_len = 60;
			q.key.port[0] = q.key.port[1] = 0;
			q.digest = i;
			feed(b, VNS_POINT_B, q);
		} else if (i >= LATE && i % 10) { /* LATE is a multiple of 10 */
			feed(b, VNS_POINT_B, udp(i * 8 * US, true, i - LATE, i - LATE));
		}
	}
	assert_true(vns_twin_evicted(b->t) > N / 2);
	assert_in_range(b->t->pieces->walked, 1, 20 * 2 * N);
	done(b);
	/* Those at A's end left B, for what came late, before the next look. */
	assert_in_range(b->c[VNS_POINT_A].wholes, (N - PENDING) / 10, N / 10);
	assert_int_equal(b->c[VNS_POINT_B].pieces, 2 * b->c[VNS_POINT_A].wholes);
	assert_int_equal(b->c[VNS_POINT_A].partly, 0);
	drop(b);
}

/*
 * A flood: datagrams that are all alike but for their IP IDs, of which each point loses long runs that the other
 * one saw. They are of one length: none is a piece of another, so none is sorted to find that out.
 */
static void test_work_of_floods_is_bounded(void **state)
{
	enum { RUN = 400, RUNS = 17, N = RUNS * RUN, SENDERS = 8 };
	struct bench *b = open_default();

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		struct vns_packet p = udp(i * 5 * US, true, 1, 1 + i), q;
		uint32_t run = i / RUN % 4, sender = i / 64 % SENDERS;

		p.flow_hash += sender;
		p.key.port[1] = (uint16_t)(p.key.port[1] + sender);
		q = p;
		q.time_ns += 20 * US;
		if (run != 1)
			feed(b, VNS_POINT_A, p);
		if (run != 3)
			feed(b, VNS_POINT_B, q);
	}
	done(b);
	expect(b, VNS_POINT_A, 9 * RUN, 0, 4 * RUN, 0); /* what is left at both points may be one another's */
	expect(b, VNS_POINT_B, 9 * RUN, 0, 4 * RUN, 0);
	assert_int_equal(b->t->pieces->compared, 0);
	assert_in_range(b->t->pieces->walked, 1, 4 * N);
	drop(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_one_point_silent),
		cmocka_unit_test(test_segments_that_left_before_their_frame),
		cmocka_unit_test(test_copies_that_had_to_go_early),
		cmocka_unit_test(test_seen_before_it_was_sent_again),
		cmocka_unit_test(test_clock_steps_by_milliseconds),
		cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_work_of_evictions_is_bounded),
		cmocka_unit_test(test_work_of_floods_is_bounded),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_one_point_ahead),
		cmocka_unit_test(test_advance),
		cmocka_unit_test(test_hostile_overlaps),
		cmocka_unit_test(test_superframe_held_up),
		cmocka_unit_test(test_hostile_superframe),
		cmocka_unit_test(test_identification_of_32_bits),
		cmocka_unit_test(test_flood_of_copies),
		cmocka_unit_test(test_hostile_fragment),
		cmocka_unit_test(test_coarse_offset),
		cmocka_unit_test(test_learn_guest),
	};

	return cmocka_run_group_tests_name("twin_stream", tests, NULL, NULL);
}
