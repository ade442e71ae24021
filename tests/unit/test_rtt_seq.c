// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Passive RTT by sequence numbers and of handshakes, rule by rule, on packets made by hand, and
 * against a model that keeps every range for ever and looks at all of them each time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtt_bench.h"

static void start_with(enum vns_rtt_method method, bool inside)
{
	start_engine((struct vns_rtt_opts){ .method = method, .inside = inside, .per_flow = true,
					    .max_flows = 1024 }, ~0u);
}

static int setup(void **state)
{
	(void)state;
	start_with(VNS_RTT_METHOD_SEQ, false);
	return 0;
}

static struct vns_packet segment(int64_t at_us, int dir, uint8_t flags, uint32_t seq, uint32_t len,
				 uint32_t ack)
{
	struct vns_packet p = segment_of(0, at_us, dir, flags, len);

	p.seq = seq;
	p.ack = ack;
	p.window = 1000;
	return p;
}

/* Data of direction 0. */
static void data(int64_t at_us, uint32_t seq, uint32_t len)
{
	struct vns_packet p = segment(at_us, 0, ACK, seq, len, 1);

	feed_packet(&p);
}

/* Pure ACK of direction 1. */
static void ack(int64_t at_us, uint32_t n)
{
	struct vns_packet p = segment(at_us, 1, ACK, 1, 0, n);

	feed_packet(&p);
}

static void sack(int64_t at_us, uint32_t n, uint32_t left, uint32_t right)
{
	struct vns_packet p = segment(at_us, 1, ACK, 1, 0, n);

	p.flags = VNS_PKT_F_HAS_SACK;
	p.sack_left = left;
	p.sack_right = right;
	feed_packet(&p);
}

static struct vns_rtt_counts counts(void)
{
	struct vns_rtt_counts c;
	uint64_t by_seq, samples = 0;

	vns_rtt_get_counts(engine, &c);
	by_seq = c.seq_stored + c.seq_repeated + c.seq_late + c.seq_probe + c.seq_old +
		 c.seq_pure_acks;
	assert_int_equal(c.packets, c.not_tcp + c.undecodable + c.seq_not_read + by_seq);
	assert_int_equal(c.packets, c.not_tcp + c.undecodable + c.options_cut + c.no_timestamp +
					    c.timestamp_not_read + c.tsval_stored +
					    c.tsval_repeated + c.tsval_backwards + c.pure_acks);
	assert_int_equal(c.samples[VNS_RTT_SEQ], c.ack_matched + c.ack_sacked);
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		assert_int_equal(c.samples[k], vns_rtt_total(engine, (enum vns_rtt_kind)k)->n);
		samples += c.samples[k];
	}
	assert_int_equal(samples, n_seen);
	return c;
}

static void expect_kind(size_t i, enum vns_rtt_kind kind, int dir, uint32_t id, int64_t rtt_us)
{
	counts();
	expect_sample(i, kind, dir, id, rtt_us);
}

static void expect(size_t i, uint32_t id, int64_t rtt_us)
{
	expect_kind(i, VNS_RTT_SEQ, 0, id, rtt_us);
}

/* The segment whose end is acknowledged; one sample for each ACK that says something new. */
static void test_exact_end(void **state)
{
	(void)state;
	data(0, 1000, 100);
	data(10, 1100, 100);
	data(20, 1200, 100);
	ack(100, 1200);
	expect(0, 1200, 90);
	ack(110, 1200);
	ack(120, 1300);
	expect(1, 1300, 100);
	ack(130, 1200);
	ack(140, 1400);
	assert_int_equal(n_seen, 2);
	assert_int_equal(counts().ack_repeated, 1);
	assert_int_equal(counts().ack_old, 1);
	assert_int_equal(counts().ack_unseen, 1);
	assert_int_equal(counts().ack_no_data, 3); /* of direction 1, which sent nothing */
}

static void test_inside(void **state)
{
	(void)state;
	for (int inside = 0; inside < 2; inside++) {
		start_with(VNS_RTT_METHOD_SEQ, inside);
		data(0, 1000, 3000);
		ack(50, 2000);
		ack(60, 3000);
		ack(70, 4000);
		assert_int_equal(n_seen, inside ? 3 : 1);
		if (inside)
			expect(0, 2000, 50);
		expect(inside ? 2 : 0, 4000, 70);
		assert_int_equal(counts().ack_inside, inside ? 0 : 2);
	}
}

/* Karn's rule: bytes that passed twice give nothing, in part included; new ones behind them do. */
static void test_repeated(void **state)
{
	(void)state;
	data(0, 1000, 100);
	data(10, 1000, 100);
	ack(100, 1100);
	assert_int_equal(n_seen, 0);
	data(200, 1100, 100);
	data(210, 1200, 100);
	data(220, 1150, 100); /* over the middle of both */
	ack(300, 1200);
	ack(310, 1300);
	assert_int_equal(n_seen, 0);
	data(400, 1300, 100);
	data(410, 1300, 200); /* the old ones and a hundred more */
	ack(500, 1500);
	expect(0, 1500, 90);
	assert_int_equal(counts().ack_ambiguous, 3);
	assert_int_equal(counts().seq_repeated, 3);
}

/* A repetition of one segment takes nothing from its neighbours. */
static void test_repeated_neighbour(void **state)
{
	(void)state;
	data(0, 1000, 100);
	data(10, 1100, 100);
	data(20, 1100, 100);
	ack(30, 1100);
	expect(0, 1100, 30);
	data(40, 1200, 100);
	ack(100, 1300); /* sent behind the repetition: nothing waited for it */
	expect(1, 1300, 60);
}

/* Lost behind the capture point: what waits behind the hole gives no sample. */
static void test_hole_behind(void **state)
{
	(void)state;
	data(0, 1000, 100); /* lost */
	data(10, 1100, 100);
	data(20, 1200, 100);
	ack(60, 1000);
	data(300, 1000, 100);
	ack(350, 1300);
	assert_int_equal(n_seen, 0);
	assert_int_equal(counts().ack_behind_hole, 1);
	data(400, 1300, 100);
	ack(460, 1400);
	expect(0, 1400, 60);
}

/* Lost or overtaken before the capture point: the filler gives none, nor what waited. */
static void test_hole_before(void **state)
{
	(void)state;
	data(0, 1000, 100);
	data(20, 1200, 100);
	data(30, 1300, 100);
	ack(50, 1100);
	expect(0, 1100, 50);
	data(300, 1100, 100);
	ack(350, 1400);
	assert_int_equal(n_seen, 1);
	assert_int_equal(counts().seq_late, 1);
	assert_int_equal(counts().ack_behind_hole, 1);
	/* missed by the capture only: acknowledged, but whether it had to be repeated is not known */
	data(400, 1500, 100);
	ack(450, 1600);
	assert_int_equal(n_seen, 1);
	assert_int_equal(counts().ack_behind_hole, 2);
}

static void test_sack(void **state)
{
	(void)state;
	data(0, 1000, 100); /* lost */
	for (uint32_t i = 1; i < 6; i++)
		data(i * 10, 1000 + i * 100, 100);
	sack(60, 1000, 1100, 1200);
	expect(0, 1200, 50);
	sack(70, 1000, 1100, 1300);
	expect(1, 1300, 50);
	sack(71, 1000, 1100, 1300); /* nothing new */
	sack(72, 1000, 1050, 1300); /* nothing new, left edge inside a range */
	sack(80, 1000, 1500, 1600);
	expect(2, 1600, 30);
	sack(90, 1000, 1100, 1600); /* the two between: the later of them */
	expect(3, 1500, 50);
	data(300, 1000, 100);
	ack(350, 1600);
	assert_int_equal(n_seen, 4);
	assert_int_equal(counts().ack_after_sack, 1);
	assert_int_equal(counts().ack_sacked, 4);
	assert_int_equal(counts().ack_repeated, 2);
}

/* Duplicate SACK (RFC 2883), nonsense blocks, SACK of what was repeated, SACK beside progress. */
static void test_sack_odd(void **state)
{
	(void)state;
	data(0, 1000, 100);
	ack(50, 1100);
	n_seen = 0;
	start_with(VNS_RTT_METHOD_SEQ, false);
	data(0, 1000, 100);
	data(10, 1100, 100);
	data(20, 1200, 100);
	data(25, 1300, 100);
	ack(50, 1100);
	sack(60, 1100, 1000, 1100);        /* duplicate below */
	sack(61, 1100, 1300, 1200);        /* backwards */
	sack(62, 1100, 1200, 5000);        /* never sent */
	assert_int_equal(n_seen, 1);
	data(70, 1200, 100);
	sack(80, 1100, 1200, 1300);
	assert_int_equal(n_seen, 1);
	assert_int_equal(counts().ack_ambiguous, 1);
	/* the end rises: the block is older news, and its range is spent */
	sack(90, 1200, 1300, 1400);
	expect(1, 1200, 80);
	sack(95, 1200, 1300, 1400);
	assert_int_equal(n_seen, 2);
}

/* SYN, data and FIN to their acknowledgements, both ways, over the wrap of the numbers. */
static void test_connection_and_wrap(void **state)
{
	const struct vns_packet p[] = {
		segment(0, 0, SYN, 0xffffffff, 0, 0),
		segment(30, 1, SYN | ACK, 0xfffffff0, 0, 0),
		segment(100, 0, ACK, 0, 0, 0xfffffff1),
		segment(110, 0, ACK, 0, 10, 0xfffffff1),
		segment(150, 1, ACK, 0xfffffff1, 100, 10),
		segment(230, 0, FIN | ACK, 10, 5, 85),
		segment(270, 1, FIN | ACK, 85, 0, 16),
		segment(370, 0, ACK, 16, 0, 86),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		feed_packet(&p[i]);
	expect_kind(0, VNS_RTT_HANDSHAKE, 0, 0, 30);
	expect_kind(1, VNS_RTT_SEQ, 0, 0, 30);
	expect_kind(2, VNS_RTT_HANDSHAKE, 1, 0xfffffff1, 70);
	expect_kind(3, VNS_RTT_SEQ, 1, 0xfffffff1, 70);
	expect_kind(4, VNS_RTT_SEQ, 0, 10, 40);
	expect_kind(5, VNS_RTT_SEQ, 1, 85, 80);
	expect_kind(6, VNS_RTT_SEQ, 0, 16, 40);
	expect_kind(7, VNS_RTT_SEQ, 1, 86, 100);
	assert_int_equal(n_seen, 8);
}

/* A SYN that was sent twice gives no sample; the other side's still does. */
static void test_handshake_repeated(void **state)
{
	(void)state;
	for (int which = 0; which < 3; which++) {
		struct vns_packet syn = segment(0, 0, SYN, 100, 0, 0);
		struct vns_packet synack = segment(30, 1, SYN | ACK, 500, 0, 101);
		struct vns_packet last = segment(70, 0, ACK, 101, 0, 501);

		start_with(VNS_RTT_METHOD_AUTO, false);
		feed_packet(&syn);
		if (which == 1)
			feed_packet(&syn);
		feed_packet(&synack);
		if (which == 2)
			feed_packet(&synack);
		feed_packet(&last);
		assert_int_equal(counts().samples[VNS_RTT_HANDSHAKE], which ? 1 : 2);
		assert_int_equal(counts().samples[VNS_RTT_SEQ], which ? 1 : 2);
		if (which)
			expect_kind(0, VNS_RTT_HANDSHAKE, which == 1, which == 1 ? 501 : 101,
				    which == 1 ? 40 : 30);
	}
}

/* A refused connection and an ACK for another number are no handshake. */
static void test_handshake_refused(void **state)
{
	struct vns_packet syn = segment(0, 0, SYN, 100, 0, 0);
	struct vns_packet rst = segment(30, 1, RST | ACK, 0, 0, 101);
	struct vns_packet other = segment(40, 1, SYN | ACK, 500, 0, 7);

	(void)state;
	feed_packet(&syn);
	feed_packet(&other);
	feed_packet(&rst);
	assert_int_equal(n_seen, 0);
	assert_int_equal(counts().seq_not_read, 1);
}

static void test_keepalive_and_probe(void **state)
{
	struct vns_packet closed = segment(60, 1, ACK, 1, 0, 1100);

	(void)state;
	data(0, 1000, 100);
	ack(50, 1100);
	data(1000, 1099, 1);
	ack(1050, 1100);
	assert_int_equal(counts().seq_old, 1);
	closed.time_ns = 1100000;
	closed.window = 0;
	feed_packet(&closed);
	data(2000, 1100, 1);
	ack(2050, 1101);
	assert_int_equal(n_seen, 1);
	assert_int_equal(counts().seq_probe, 1);
	data(3000, 1101, 1); /* the window is open again: one byte of data */
	ack(3050, 1102);
	expect(1, 1102, 50);
}

/* Timestamps where both sides offer them; what is settled later is kept for both till then. */
static void test_automatic_choice(void **state)
{
	static const struct {
		uint16_t syn, synack, rest;
		uint64_t ts, seq;
	} cases[] = {
		{ VNS_PKT_F_HAS_TS, VNS_PKT_F_HAS_TS, VNS_PKT_F_HAS_TS, 3, 0 },
		{ VNS_PKT_F_HAS_TS, 0, 0, 0, 3 },
		{ 0, 0, 0, 0, 3 },
		{ VNS_PKT_F_OPTS_CUT, VNS_PKT_F_OPTS_CUT, VNS_PKT_F_HAS_TS, 1, 1 },
		{ VNS_PKT_F_OPTS_CUT, VNS_PKT_F_OPTS_CUT, VNS_PKT_F_OPTS_CUT, 0, 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vns_packet p[] = {
			segment(0, 0, SYN, 100, 0, 0),
			segment(30, 1, SYN | ACK, 500, 0, 101),
			segment(70, 0, ACK, 101, 0, 501),
			segment(80, 0, ACK, 101, 10, 501),
			segment(120, 1, ACK, 501, 0, 111),
		};

		start_with(VNS_RTT_METHOD_AUTO, false);
		for (int k = 0; k < 5; k++) {
			p[k].flags = k == 0 ? cases[i].syn : k == 1 ? cases[i].synack : cases[i].rest;
			if (p[k].flags & VNS_PKT_F_HAS_TS) {
				p[k].tsval = 1000u * (1 + p[k].dir) + (unsigned)k;
				p[k].tsecr = (const unsigned[]){ 0, 1000, 2001, 2001, 1003 }[k];
			}
			feed_packet(&p[k]);
		}
		assert_int_equal(counts().samples[VNS_RTT_TS], cases[i].ts);
		/* the numbers of cut SYNs are read until timestamps appear */
		assert_int_equal(counts().samples[VNS_RTT_SEQ], cases[i].seq);
		assert_int_equal(counts().samples[VNS_RTT_HANDSHAKE], 2);
	}
}

/* More than is remembered: counted, and never a sample that is too low or of something else. */
static void test_limits(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 5000; i++)
		data(i, 1000 + i * 10, 10);
	assert_int_equal(counts().seq_dropped, 5000 - 17); /* no other direction yet */
	ack(6000, 1000 + 4990 * 10);
	expect(0, 1000 + 4990 * 10, 6000 - 4989);
	ack(6001, 1000 + 5000 * 10);
	for (uint32_t i = 5000; i < 10000; i++)
		data(5000 + i, 1000 + i * 10, 10);
	assert_int_equal(counts().seq_dropped, 5000 - 17 + 5000 - 4096);
	ack(20000, 1000 + 5001 * 10);
	assert_int_equal(counts().ack_unseen, 1);
	data(20001, 1000 + 5001 * 10, 10); /* a repetition of what was given up */
	ack(20002, 1000 + 9000 * 10);
	assert_int_equal(counts().ack_behind_hole, 1);
	data(20003, 1000 + 10000 * 10, 10);
	ack(20010, 1000 + 10001 * 10);
	expect(n_seen - 1, 1000 + 10001 * 10, 7);
}

/*
 * The model: a list of ranges, searched from end to end. It knows the rules of seq.h and nothing of
 * queues, runs and limits.
 */
struct range {
	uint32_t from, to; /* offsets */
	int64_t ns;
	bool spent, sacked, hole;
};
static struct range model[100000];
static size_t n_model;
static uint32_t m_una, m_high;

static void model_add(uint32_t from, uint32_t to, int64_t ns)
{
	if (from > m_high)
		model[n_model++] = (struct range){ m_high, from, INT64_MAX, true, false, true };
	for (size_t i = 0; i < n_model; i++) {
		struct range *r = &model[i];

		if (to > m_una && from < m_high && r->to > m_una && r->from < to &&
		    r->to > (from > m_una ? from : m_una)) {
			r->ns = ns;
			r->spent = true;
		}
	}
	if (to > m_high)
		model[n_model++] = (struct range){ from > m_high ? from : m_high, to, ns, false, false,
						   false };
	m_high = to > m_high ? to : m_high;
}

/* Return: RTT, or -1. */
static int64_t model_ack(uint32_t to, int64_t ns)
{
	int64_t newest = INT64_MIN, rtt = -1;

	for (size_t i = 0; i < n_model; i++)
		if (model[i].to > m_una && model[i].to <= to && model[i].ns > newest)
			newest = model[i].ns;
	for (size_t i = 0; i < n_model; i++)
		if (to > m_una && model[i].to == to && !model[i].spent && !model[i].sacked &&
		    model[i].ns >= newest)
			rtt = ns - model[i].ns;
	m_una = to > m_una ? to : m_una;
	return rtt;
}

static int64_t model_sack(uint32_t from, uint32_t to, int64_t ns, bool silent)
{
	const struct range *newest = NULL;

	for (size_t i = n_model; i-- > 0;) {
		struct range *r = &model[i];

		if (r->from < from || r->to > to || r->from < m_una || r->sacked)
			continue;
		r->sacked = true;
		if (!newest || r->ns > newest->ns)
			newest = r;
	}
	return !newest || newest->spent || silent ? -1 : ns - newest->ns;
}

static uint32_t rand_state;

static uint32_t below(uint32_t n)
{
	rand_state = rand_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)rand_state * n >> 32);
}

static void check(int64_t rtt, size_t before)
{
	assert_int_equal(n_seen - before, rtt >= 0);
	if (rtt >= 0)
		assert_int_equal(seen[n_seen - 1].rtt_ns, rtt);
}

static void random_data(int64_t t, uint32_t isn)
{
	uint32_t from = m_high, len = 1 + below(30);

	if (below(8) == 0)
		from += below(20);
	else if (below(5) == 0 && m_high > m_una)
		from = m_una + below(m_high - m_una);
	data(t, isn + from, len);
	model_add(from, from + len, t * 1000);
}

static void random_ack(int64_t t, uint32_t isn)
{
	uint32_t to = m_una;
	size_t before = n_seen;

	if (n_model && below(3)) {
		to = model[n_model - 1 - below(n_model < 6 ? (uint32_t)n_model : 6)].to;
		to = to < m_una ? m_una : to;
	}
	ack(t, isn + to);
	check(model_ack(to, t * 1000), before);
}

static void random_sack(int64_t t, uint32_t isn)
{
	uint32_t a = below(20), b = below(20), from, to;
	size_t before = n_seen;

	if (n_model < 21)
		return;
	from = model[n_model - 1 - (a > b ? a : b)].from;
	to = model[n_model - 1 - (a > b ? b : a)].to;
	if (from <= m_una)
		return;
	sack(t, isn + m_una, isn + from, isn + to);
	check(model_sack(from, to, t * 1000, false), before);
}

static void test_against_model(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 60; seed++) {
		uint32_t isn = seed % 2 ? 0xffffff00u : seed * 77777;

		start_with(VNS_RTT_METHOD_SEQ, false);
		rand_state = seed;
		n_model = 0;
		m_una = m_high = 0;
		data(0, isn, 1);
		model_add(0, 1, 0);
		for (int64_t t = 1; t < 3000; t++) {
			uint32_t what = below(10);

			if (what < 5)
				random_data(t, isn);
			else if (what < 7 && m_high - m_una > below(400))
				random_ack(t, isn);
			else
				random_sack(t, isn);
		}
		counts();
	}
}

int main(void)
{
#define RULE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		RULE(test_exact_end), RULE(test_inside), RULE(test_repeated),
		RULE(test_repeated_neighbour), RULE(test_hole_behind), RULE(test_hole_before),
		RULE(test_sack), RULE(test_sack_odd), RULE(test_connection_and_wrap),
		RULE(test_handshake_repeated), RULE(test_handshake_refused),
		RULE(test_keepalive_and_probe), RULE(test_automatic_choice), RULE(test_limits),
		RULE(test_against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
