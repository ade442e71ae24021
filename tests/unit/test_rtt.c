// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The passive RTT engine, rule by rule, on packets made by hand. Times are in microseconds here.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "rtt_bench.h"

#define SEC INT64_C(1000000)

static void start_with(struct vns_rtt_opts opts)
{
	start_engine(opts, 1u << VNS_RTT_TS);
}

static int setup(void **state)
{
	(void)state;
	start_with((struct vns_rtt_opts){ .per_flow = true, .max_flows = 1 << 16 });
	return 0;
}

static struct vns_packet tcp(int64_t at_us, unsigned flow, int dir, uint8_t flags, uint32_t len,
			     uint32_t tsval, uint32_t tsecr)
{
	struct vns_packet p = segment_of(flow, at_us, dir, flags, len);

	p.flags = VNS_PKT_F_HAS_TS;
	p.tsval = tsval;
	p.tsecr = tsecr;
	return p;
}

/* Flow 7 unless said otherwise. */
static void feed(int64_t at_us, int dir, uint8_t flags, uint32_t len, uint32_t tsval,
		 uint32_t tsecr)
{
	struct vns_packet p = tcp(at_us, 7, dir, flags, len, tsval, tsecr);

	feed_packet(&p);
}

static void feed_flow(int64_t at_us, unsigned flow, int dir, uint8_t flags, uint32_t tsval, uint32_t tsecr,
		      uint32_t seq)
{
	struct vns_packet p = tcp(at_us, flow, dir, flags, 10, tsval, tsecr);

	p.seq = seq;
	feed_packet(&p);
}

static void feed_seq(int64_t at_us, int dir, uint8_t flags, uint32_t seq, uint32_t tsval,
		     uint32_t tsecr)
{
	struct vns_packet p = tcp(at_us, 7, dir, flags, 0, tsval, tsecr);

	p.seq = seq;
	feed_packet(&p);
}

static struct vns_rtt_counts counts(void)
{
	struct vns_rtt_counts c;
	uint64_t with_ts;

	vns_rtt_get_counts(engine, &c);
	with_ts = c.tsval_stored + c.tsval_repeated + c.tsval_backwards + c.pure_acks;
	assert_int_equal(c.packets, c.not_tcp + c.undecodable + c.options_cut + c.no_timestamp +
					    with_ts);
	assert_int_equal(c.samples[VNS_RTT_TS], c.echo_matched - c.echo_before_tsval);
	assert_int_equal(c.samples[VNS_RTT_TS], n_seen);
	assert_int_equal(c.tsval_stored, c.echo_matched + c.tsval_passed + c.outstanding_dropped +
						 c.tsval_unanswered + c.tsval_pushed_out + c.tsval_waiting);
	assert_int_equal(c.samples[VNS_RTT_TS], vns_rtt_total(engine, VNS_RTT_TS)->n);
	assert_int_equal(c.flows, c.flows_live + c.flows_evicted_idle + c.flows_evicted_full +
					  c.flows_closed + c.flows_reused);
	return c;
}

static void expect(size_t i, int dir, uint32_t tsval, int64_t rtt_us)
{
	expect_sample(i, VNS_RTT_TS, dir, tsval, rtt_us);
}

static void test_handshake(void **state)
{
	(void)state;
	feed(0, 0, SYN, 0, 100, 0);
	feed(50, 1, SYN | ACK, 0, 900, 100);
	feed(80, 0, ACK, 0, 101, 900);
	assert_int_equal(n_seen, 2);
	expect(0, 0, 100, 50);
	expect(1, 1, 900, 30);
	assert_int_equal(counts().pure_acks, 1);
}

/* TSecr of a segment without ACK is not an echo, whatever stands there. */
static void test_tsecr_needs_ack(void **state)
{
	(void)state;
	feed(0, 0, SYN, 0, 100, 0);
	feed(50, 1, SYN, 0, 900, 100);
	assert_int_equal(n_seen, 0);
	assert_int_equal(counts().echo_unknown, 0);
}

static void test_data_both_ways(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(40, 1, ACK, 20, 900, 100);
	feed(65, 0, ACK, 10, 101, 900);
	feed(95, 1, ACK, 0, 901, 101);
	assert_int_equal(n_seen, 3);
	expect(0, 0, 100, 40);
	expect(1, 1, 900, 25);
	expect(2, 0, 101, 30);
}

/* Segments of one tick: the first counts, and the first echo. */
static void test_repeated_tsval(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(5, 0, ACK, 10, 100, 0);
	feed(30, 1, ACK, 0, 900, 100);
	feed(35, 1, ACK, 0, 900, 100);
	feed(36, 0, ACK, 10, 100, 900); /* after its echo: still the old TSval */
	feed(66, 1, ACK, 0, 901, 100);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 100, 30);
	assert_int_equal(counts().tsval_repeated, 3);
	assert_int_equal(counts().echo_repeated, 2);
}

/* A delayed ACK echoes the first of two TSvals; the next echo passes the second. */
static void test_delayed_ack(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(1000, 0, ACK, 10, 101, 0);
	feed(1030, 1, ACK, 0, 900, 100);
	feed(3000, 0, ACK, 10, 103, 0);
	feed(3030, 1, ACK, 0, 902, 103);
	feed(3040, 1, ACK, 0, 902, 101); /* overtaken on its way: not a sample */
	assert_int_equal(n_seen, 2);
	expect(0, 0, 100, 1030);
	expect(1, 0, 103, 30);
	assert_int_equal(counts().tsval_passed, 1);
	assert_int_equal(counts().echo_unknown, 3 + 1); /* the three data segments echo 0 */
}

static void test_pure_ack_not_stored(void **state)
{
	(void)state;
	feed(0, 0, ACK, 0, 100, 0);
	feed(5000, 1, ACK, 10, 900, 100);
	assert_int_equal(n_seen, 0);
	assert_int_equal(counts().pure_acks, 1);
	assert_int_equal(counts().echo_unknown, 2);
}

/* Its echo may be the pure ACK's: a sample from the later data would be too low. */
static void test_pure_ack_spends_tsval(void **state)
{
	(void)state;
	feed(0, 0, ACK, 0, 100, 0);
	feed(900, 0, ACK, 10, 100, 0);
	feed(901, 1, ACK, 10, 900, 100);
	assert_int_equal(n_seen, 0);
	assert_int_equal(counts().tsval_repeated, 1);
}

static void test_fin_stored(void **state)
{
	(void)state;
	feed(0, 0, FIN | ACK, 0, 100, 0);
	feed(20, 1, ACK, 0, 900, 100);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 100, 20);
}

static void test_wrap(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 0xffffffff, 0);
	feed(100, 0, ACK, 10, 0, 0);
	feed(200, 0, ACK, 10, 1, 0);
	feed(300, 1, ACK, 0, 0x7fffffff, 0xffffffff);
	feed(400, 1, ACK, 10, 0x80000000, 1);
	feed(450, 0, ACK, 0, 2, 0x80000000);
	assert_int_equal(n_seen, 3);
	expect(0, 0, 0xffffffff, 300);
	expect(1, 0, 1, 200);
	expect(2, 1, 0x80000000, 50);
	assert_int_equal(counts().tsval_backwards, 0);
}

/* An old TSval that comes again (late on the way, or sent again) is not stored anew. */
static void test_backwards(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(30, 1, ACK, 0, 900, 100);
	feed(1000, 0, ACK, 10, 101, 900);
	feed(1001, 0, ACK, 10, 100, 900);
	feed(1010, 1, ACK, 0, 901, 100);
	feed(1030, 1, ACK, 0, 901, 101);
	assert_int_equal(n_seen, 2);
	expect(1, 0, 101, 30);
	assert_int_equal(counts().tsval_backwards, 1);
}

/* Sent again 200 ms later with a TSval of its own: two TSvals, the echo says which. */
static void test_retransmission(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(200000, 0, ACK, 10, 300, 0);
	feed(200030, 1, ACK, 0, 900, 300);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 300, 30);
	assert_int_equal(counts().tsval_passed, 1);
}

/* An echo of what the capture did not see, or of nothing sensible, spoils nothing. */
static void test_unknown_echo(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(10, 1, ACK, 0, 900, 99);
	feed(11, 1, ACK, 0, 900, 101);
	feed(12, 1, ACK, 0, 900, 0x80000000);
	feed(13, 1, ACK, 0, 900, 100);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 100, 13);
	assert_int_equal(counts().echo_unknown, 1 + 3);
}

/* Unsorted capture: never a negative sample. */
static void test_never_negative(void **state)
{
	(void)state;
	feed(1000, 0, ACK, 10, 100, 0);
	feed(900, 1, ACK, 0, 900, 100);
	feed(1100, 0, ACK, 10, 101, 900);
	feed(1100, 1, ACK, 0, 900, 101);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 101, 0);
	assert_int_equal(counts().echo_before_tsval, 1);
}

static void test_flows_apart(void **state)
{
	struct vns_packet p[] = { tcp(0, 1, 0, ACK, 10, 100, 0), tcp(1, 2, 0, ACK, 10, 100, 0),
				  tcp(10, 2, 1, ACK, 0, 5, 100), tcp(20, 1, 1, ACK, 0, 5, 100) };

	(void)state;
	assert_int_equal(vns_rtt_feed(engine, p, 4), 0);
	assert_int_equal(n_seen, 2);
	expect(0, 0, 100, 9);
	expect(1, 0, 100, 20);
	assert_int_equal(counts().flows, 2);
}

/* Same 32 hash bits, same hash: the key decides. */
static void test_hash_collision(void **state)
{
	struct vns_packet p[] = { tcp(0, 1, 0, ACK, 10, 100, 0), tcp(1, 2, 0, ACK, 10, 100, 0),
				  tcp(20, 1, 1, ACK, 0, 5, 100) };

	(void)state;
	p[1].flow_hash = p[0].flow_hash;
	assert_int_equal(vns_rtt_feed(engine, p, 3), 0);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 100, 20);
	assert_int_equal(counts().flows, 2);
}

static void test_one_direction(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		feed(1000 * i, 0, ACK, 10, 100 + i, 0);
	assert_int_equal(counts().outstanding_dropped, 83);
	/* what is left are the latest */
	feed(100000, 1, ACK, 0, 900, 195);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 195, 5000);
	vns_rtt_finish(engine);
	assert_int_equal(counts().flows_one_direction, 0);
}

static void test_one_direction_counted(void **state)
{
	struct vns_packet p = tcp(1000 * SEC, 8, 0, ACK, 10, 1, 0);

	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed_packet(&p); /* ages the first out */
	vns_rtt_finish(engine);
	assert_int_equal(counts().flows_evicted_idle, 1);
	assert_int_equal(counts().flows_one_direction, 2);
}

/* Many in flight, up to the limit and over it. */
static void test_many_outstanding(void **state)
{
	(void)state;
	feed(0, 1, ACK, 0, 900, 0);
	for (uint32_t i = 0; i < 4096; i++)
		feed(1000 * i, 0, ACK, 10, i, 900);
	assert_int_equal(counts().outstanding_dropped, 0);
	feed(4096000, 0, ACK, 10, 4096, 900);
	assert_int_equal(counts().outstanding_dropped, 1);
	for (uint32_t i = 0; i <= 4096; i++)
		feed(5000000 + i, 1, ACK, 0, 901 + i, i);
	assert_int_equal(n_seen, 4096);
	for (uint32_t i = 1; i <= 4096; i++)
		expect(i - 1, 0, i, 5000000 + (int64_t)i - 1000 * (int64_t)i);
}

static void test_accounting(void **state)
{
	struct vns_packet p[6];

	(void)state;
	for (size_t i = 0; i < 6; i++)
		p[i] = tcp(0, 7, 0, ACK, 10, 1, 0);
	p[0].verdict = VNS_PKT_NOT_IP;
	p[1].proto = VNS_PROTO_UDP;
	p[2].verdict = VNS_PKT_CUT;
	p[3].verdict = VNS_PKT_MALFORMED;
	p[4].flags = 0;
	p[5].flags = VNS_PKT_F_OPTS_CUT;
	assert_int_equal(vns_rtt_feed(engine, p, 6), 0);
	assert_int_equal(counts().not_tcp, 2);
	assert_int_equal(counts().undecodable, 2);
	assert_int_equal(counts().options_cut, 1);
	assert_int_equal(counts().no_timestamp, 1);
	assert_int_equal(counts().flows, 1);
}

static int64_t ended[16];
static size_t n_ended;

static void on_end(void *ctx, const struct vns_rtt_flow *f)
{
	(void)ctx;
	assert_true(f->evicted && f->rtt->n > 0 && n_ended < 16);
	ended[n_ended++] = f->rtt->min / 1000;
}

/* Silent for longer than the idle time: over; its TSvals are forgotten, its figures told. */
static void test_idle(void **state)
{
	(void)state;
	n_ended = 0;
	start_with((struct vns_rtt_opts){ .per_flow = true, .max_flows = 64, .idle_ns = 10 * VNS_NSEC_PER_SEC,
					  .on_flow_end = on_end });
	feed(0, 0, ACK, 10, 100, 0);
	feed(30, 1, ACK, 0, 900, 100);
	feed(31, 0, ACK, 10, 101, 900);
	feed(10 * SEC + 31, 1, ACK, 0, 901, 101); /* just within */
	feed(10 * SEC + 32, 0, ACK, 10, 102, 901);
	feed(20 * SEC + 33, 1, ACK, 0, 902, 102); /* just over */
	assert_int_equal(n_seen, 2);
	assert_int_equal(counts().flows, 2);
	assert_int_equal(counts().flows_evicted_idle, 1);
	assert_int_equal(n_ended, 1);
	assert_int_equal(ended[0], 30);
}

/* 10,000 flows, one after another: the table holds those of one idle time. */
static void test_idle_bounds_table(void **state)
{
	(void)state;
	start_with((struct vns_rtt_opts){ .max_flows = 1024, .idle_ns = VNS_NSEC_PER_SEC });
	for (unsigned i = 0; i < 10000; i++) {
		struct vns_packet p = tcp(10000 * (int64_t)i, i, 0, ACK, 10, 100, 0);

		feed_packet(&p);
		assert_true(counts().flows_live <= 100 + 100 / 32 + 2);
	}
	assert_true(counts().flows_live >= 100);
}

static void test_closed(void **state)
{
	struct vns_packet other;

	(void)state;
	feed(0, 0, FIN | ACK, 10, 100, 0);
	feed(10, 1, FIN | ACK, 0, 900, 100);
	feed(15, 0, ACK, 0, 101, 900); /* the last ACK still counts */
	assert_int_equal(n_seen, 2);
	other = tcp(9 * SEC, 8, 0, ACK, 10, 1, 0);
	assert_int_equal(vns_rtt_feed(engine, &other, 1), 0);
	assert_int_equal(counts().flows_closed, 0);
	other = tcp(11 * SEC, 8, 0, ACK, 10, 2, 0);
	assert_int_equal(vns_rtt_feed(engine, &other, 1), 0);
	assert_int_equal(counts().flows_closed, 1);
	assert_int_equal(counts().flows_live, 1);
}

static void test_reset_without_option(void **state)
{
	struct vns_packet rst = tcp(20, 7, 1, RST, 0, 0, 0);

	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	rst.flags = 0;
	assert_int_equal(vns_rtt_feed(engine, &rst, 1), 0);
	feed(11 * SEC, 0, ACK, 10, 101, 0);
	assert_int_equal(counts().flows_closed, 1);
	assert_int_equal(counts().no_timestamp, 1);
}

/* A new SYN on the same ports: TSvals may start lower, old ones must not match. */
static void test_port_reuse(void **state)
{
	(void)state;
	feed_seq(0, 0, SYN, 5000, 1000, 0);
	feed_seq(30, 1, SYN | ACK, 7000, 900, 1000);
	feed(40, 0, ACK, 10, 1001, 900);
	feed_seq(2 * SEC, 0, SYN, 5001, 500, 0);
	feed_seq(2 * SEC + 20, 1, SYN | ACK, 7001, 300, 500);
	feed(2 * SEC + 30, 1, ACK, 0, 301, 1001);
	assert_int_equal(n_seen, 3);
	expect(2, 0, 500, 20);
	assert_int_equal(counts().flows_reused, 1);
	assert_int_equal(counts().flows, 2);
}

/* The same SYN again (same ISN): the same flow. So is the other side's SYN before any answer. */
static void test_syn_again(void **state)
{
	(void)state;
	feed_seq(0, 0, SYN, 5000, 1000, 0);
	feed_seq(SEC, 0, SYN, 5000, 2000, 0);
	feed_seq(SEC + 10, 1, SYN, 7000, 900, 0);
	feed_seq(SEC + 30, 1, SYN | ACK, 7000, 901, 2000);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 2000, 30);
	assert_int_equal(counts().flows, 1);
}

/* A flow that was under way when the capture began, then a SYN on its ports. */
static void test_syn_after_midstream(void **state)
{
	(void)state;
	feed(0, 0, ACK, 10, 1000, 0);
	feed_seq(SEC, 0, SYN, 5000, 10, 0);
	feed_seq(SEC + 20, 1, SYN | ACK, 7000, 900, 10);
	assert_int_equal(n_seen, 1);
	expect(0, 0, 10, 20);
	assert_int_equal(counts().flows_reused, 1);
}

/* Full: closed ones go first, then the longest idle; what is busy stays. */
static void test_full_table(void **state)
{
	struct vns_packet p;

	(void)state;
	start_with((struct vns_rtt_opts){ .max_flows = 4, .idle_ns = 32 * VNS_NSEC_PER_SEC });
	for (unsigned i = 0; i < 4; i++) {
		p = tcp((int64_t)i * 2 * SEC, i, 0, ACK, 10, 100, 0);
		feed_packet(&p);
	}
	p = tcp(8 * SEC, 0, 1, ACK, 10, 5, 0); /* flow 0 is busy, flow 1 the longest idle */
	feed_packet(&p);
	p = tcp(9 * SEC, 3, 0, RST, 0, 101, 0);
	feed_packet(&p);
	p = tcp(10 * SEC, 4, 0, ACK, 10, 1, 0); /* takes the place of 3, closed */
	feed_packet(&p);
	assert_int_equal(counts().flows_closed, 1);
	p = tcp(12 * SEC, 5, 0, ACK, 10, 1, 0); /* takes the place of 1 */
	feed_packet(&p);
	assert_int_equal(counts().flows_evicted_full, 1);
	p = tcp(13 * SEC, 0, 1, ACK, 0, 6, 100);
	feed_packet(&p);
	p = tcp(13 * SEC, 2, 1, ACK, 0, 6, 100);
	feed_packet(&p);
	assert_int_equal(n_seen, 2); /* flows 0 and 2 kept what they had */
	assert_int_equal(counts().flows_live, 4);
}

/*
 * What an eviction costs: flow 0 had two TSvals waiting each way but one, flow 1 one; then 0 comes back, with
 * the echoes that are unknown now. A SYN on the ports of a flow that was pushed out opens another one.
 */
static void test_eviction_costs(void **state)
{
	struct vns_packet p;
	struct vns_rtt_counts c;

	(void)state;
	start_with((struct vns_rtt_opts){ .max_flows = 2, .method = VNS_RTT_METHOD_BOTH });
	feed_flow(0, 0, 0, ACK, 100, 0, 1000);
	feed_flow(1, 0, 0, ACK, 101, 0, 1010);
	feed_flow(2, 0, 1, ACK, 500, 0, 9000);
	feed_flow(3, 1, 0, ACK, 100, 0, 1000);
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.tsval_waiting, 4);
	feed_flow(SEC, 2, 0, ACK, 7, 0, 1000); /* 0 leaves, longest idle */
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.tsval_pushed_out, 3);
	assert_int_equal(c.seq_pushed_out, 3);
	assert_int_equal(c.tsval_waiting, 2);
	assert_int_equal(c.flows_returned, 0);
	feed_flow(SEC + 1, 0, 1, ACK, 501, 101, 9010); /* 1 leaves, 0 is back */
	feed_flow(SEC + 2, 1, 0, SYN, 1, 0, 1);        /* another connection on 1's ports */
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.flows_evicted_full, 3);
	assert_int_equal(c.flows_returned, 1);
	assert_int_equal(c.flows, 5);
	assert_int_equal(c.tsval_pushed_out, 3 + 1 + 1);
	p = tcp(SEC + 3, 0, 0, RST, 0, 102, 0);
	feed_packet(&p);
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.tsval_unanswered, 0); /* closed, but not over */
	p = tcp(30 * SEC, 5, 0, ACK, 10, 1, 0);
	feed_packet(&p);
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.tsval_unanswered, 1);
	assert_int_equal(c.tsval_stored, c.echo_matched + c.tsval_passed + c.outstanding_dropped +
						 c.tsval_unanswered + c.tsval_pushed_out + c.tsval_waiting);
	assert_int_equal(n_seen, 0);
}

/*
 * One direction alone was captured: 200 servers' connections on 100 ports, each of its SYN-ACK and an answer, in a table
 * of 50. All ports come again after they were pushed out, each with a new connection: none of them came back.
 */
static void test_new_on_old_ports(void **state)
{
	struct vns_rtt_counts c;

	(void)state;
	start_with((struct vns_rtt_opts){ .max_flows = 50 });
	for (unsigned i = 0; i < 200; i++) {
		feed_flow(i * 10, i % 100, 1, SYN | ACK, 100 + i, 7, i);
		feed_flow(i * 10 + 1, i % 100, 1, ACK, 101 + i, 7, i + 1);
	}
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.flows, 200);
	assert_int_equal(c.flows_evicted_full, 150);
	assert_int_equal(c.flows_returned, 0);
}

/* Each of 500 flows comes back 3 times into a table of 100: all returns but forgotten ones are counted, no more. */
static void test_returns(void **state)
{
	struct vns_rtt_counts c;

	(void)state;
	start_with((struct vns_rtt_opts){ .max_flows = 100 });
	for (unsigned i = 0; i < 2000; i++)
		feed_flow(i * 10, i % 500, 0, ACK, i, 0, i);
	vns_rtt_get_counts(engine, &c);
	assert_int_equal(c.flows, 2000);
	assert_int_equal(c.flows_evicted_full, 1900);
	assert_in_range(c.flows_returned, 1400, 1500);
}

/* Many flows come and go in random order: every look-up finds its own, whatever was removed. */
static void test_churn(void **state)
{
	enum { FLOWS = 3000, ROUNDS = 60000 };
	static int64_t sent_us[FLOWS], quiet_until_us[FLOWS];
	static uint32_t ts[FLOWS];
	uint32_t random = 12345;

	(void)state;
	for (int64_t t = 1000; t <= ROUNDS * 1000; t += 1000) {
		unsigned f;
		struct vns_packet p;

		random = random * 1664525 + 1013904223;
		f = (random >> 8) % FLOWS;
		if (t < quiet_until_us[f])
			continue;
		if (sent_us[f]) {
			size_t before = n_seen = n_seen > 19000 ? 0 : n_seen;
			bool reset = random >> 28 == 0; /* over; a new flow after a while */

			p = tcp(t, f, 1, reset ? ACK | RST : ACK, 0, 1, ts[f]);
			feed_packet(&p);
			assert_int_equal(n_seen, before + 1);
			assert_int_equal(seen[before].rtt_ns, (t - sent_us[f]) * 1000);
			sent_us[f] = 0;
			quiet_until_us[f] = reset ? t + 11 * SEC : 0;
			ts[f] = reset ? random : ts[f];
		} else {
			p = tcp(t, f, 0, ACK, 1, ++ts[f], 1);
			feed_packet(&p);
			sent_us[f] = t;
		}
	}
	n_seen = vns_rtt_total(engine, VNS_RTT_TS)->n;
	assert_true(counts().flows_closed > 500);
}

struct listed {
	size_t n;
	uint64_t samples;
};

static void on_flow(void *ctx, const struct vns_rtt_flow *f)
{
	struct listed *l = ctx;

	assert_false(f->evicted);
	assert_true(f->first_ns <= f->last_ns);
	l->n++;
	l->samples += f->rtt->n;
	if (f->dir == 0) {
		assert_int_equal(f->packets, 2);
		assert_int_equal(f->rtt->min, 30000);
		assert_int_equal(f->rtt->max, 40000);
	}
}

static void test_per_flow(void **state)
{
	struct listed l = { 0 };

	(void)state;
	feed(0, 0, ACK, 10, 100, 0);
	feed(30, 1, ACK, 0, 900, 100);
	feed(1000, 0, ACK, 10, 101, 900);
	feed(1040, 1, ACK, 10, 901, 101);
	vns_rtt_each_flow(engine, on_flow, &l);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.samples, counts().samples[VNS_RTT_TS]);
}

/* The answer does not depend on how packets are cut into batches. */
static void test_batches(void **state)
{
	enum { N = 1000 };
	static struct vns_packet p[N];
	static struct seen one[N];
	size_t n_one;

	(void)state;
	for (uint32_t i = 0; i < N; i++)
		p[i] = tcp(100 * i, i / 2 % 37, (int)(i & 1), ACK, 10, 1000 + i, 1000 + i - 1);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(vns_rtt_feed(engine, &p[i], 1), 0);
	n_one = n_seen;
	memcpy(one, seen, n_one * sizeof(one[0]));
	assert_true(n_one >= N / 2);
	setup(NULL);
	for (size_t i = 0; i < N; i += 250)
		assert_int_equal(vns_rtt_feed(engine, &p[i], 250), 0);
	assert_int_equal(n_seen, n_one);
	for (size_t i = 0; i < n_one; i++)
		assert_true(one[i].rtt_ns == seen[i].rtt_ns && one[i].id == seen[i].id &&
			    one[i].dir == seen[i].dir);
	counts();
}

/* 96,000 flows alive with 50 samples in each direction: 150 MB at most, so 1,600 bytes each. */
static void test_memory(void **state)
{
	enum { FLOWS = 20000, SAMPLES = 50 };
	struct mallinfo2 before, after;
	uint32_t random = 1;
	size_t each;

	(void)state;
	teardown(NULL);
	before = mallinfo2();
	assert_int_equal(vns_rtt_new(&engine, &(struct vns_rtt_opts){ .per_flow = true,
								     .max_flows = FLOWS }, NULL), 0);
	for (uint32_t s = 0; s < 2 * SAMPLES; s++) {
		for (unsigned f = 0; f < FLOWS; f++) {
			struct vns_packet p;

			random = random * 1664525 + 1013904223;
			p = tcp(100000 * (int64_t)s + (random >> 16), f, (int)(s & 1), ACK, 10,
				1000 + s, 1000 + s - 1);
			feed_packet(&p);
		}
	}
	after = mallinfo2();
	assert_int_equal(vns_rtt_total(engine, VNS_RTT_TS)->n, FLOWS * (2 * SAMPLES - 1));
	each = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / FLOWS;
	print_message("%zu bytes per flow\n", each);
#ifndef __SANITIZE_ADDRESS__
	assert_true(each > 256 && each < 1600);
#endif
}

static void test_bad_options(void **state)
{
	struct vns_rtt_opts opts = { .max_flows = UINT32_MAX };
	struct vns_err err = { "" };
	struct vns_rtt *r = NULL;

	(void)state;
	assert_true(vns_rtt_new(&r, &opts, &err) < 0);
	assert_true(err.text[0] && !r);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void on_clock(void *ctx, const struct vns_rtt_flow *f)
{
	if (f->kind == VNS_RTT_TS && f->dir == 0)
		*(struct vns_rtt_clock *)ctx = f->clock;
}

/* Rates of TSval clocks through jitter and the wrap of the values; too little: unknown. */
static void test_tsval_clock(void **state)
{
	static const struct {
		double hz;
		int n, gap_us, jitter_us;
		uint32_t nominal; /* UINT32_MAX: unknown */
	} cases[] = {
		{ 1000, 200, 10000, 300, 1000 },
		{ 250, 200, 10000, 300, 250 },
		{ 100, 200, 25000, 5000, 100 },
		{ 1e6, 50, 1000, 20, 1000000 },
		{ 1e6, 1000, 100000000, 20, 1000000 }, /* wraps 23 times */
		{ 128, 400, 10000, 300, 0 },
		{ 1000, 3, 10000, 300, UINT32_MAX },
		{ 1000, 50, 200, 100, UINT32_MAX }, /* ten ticks */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vns_rtt_clock c = { 0 };
		unsigned random = 1;

		start_with((struct vns_rtt_opts){ .per_flow = true, .max_flows = 16 });
		for (int k = 0; k < cases[i].n; k++) {
			int64_t at = (int64_t)k * cases[i].gap_us;
			uint32_t tsval = 0xffffff00u + (uint32_t)(int64_t)((double)at * 1e-6 * cases[i].hz);

			random = random * 1664525 + 1013904223;
			at += (int64_t)((uint64_t)random * (unsigned)cases[i].jitter_us >> 32);
			feed(at, 0, ACK, 10, tsval, 1);
			feed(at + 50, 1, ACK, 0, 1, tsval);
		}
		vns_rtt_finish(engine);
		vns_rtt_each_flow(engine, on_clock, &c);
		if (cases[i].nominal == UINT32_MAX) {
			assert_true(c.hz == 0);
			continue;
		}
		assert_int_equal(c.nominal_hz, cases[i].nominal);
		assert_true(c.error_hz > 0 && c.error_hz <= 0.05 * c.hz);
		assert_true(c.hz - c.error_hz <= cases[i].hz && cases[i].hz <= c.hz + c.error_hz);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_tsval_clock),
		T(test_handshake),       T(test_tsecr_needs_ack),     T(test_data_both_ways),
		T(test_repeated_tsval),  T(test_delayed_ack),         T(test_pure_ack_not_stored),
		T(test_pure_ack_spends_tsval), T(test_fin_stored),    T(test_wrap),
		T(test_backwards),       T(test_retransmission),      T(test_unknown_echo),
		T(test_never_negative),  T(test_flows_apart),         T(test_hash_collision),
		T(test_one_direction),   T(test_one_direction_counted), T(test_many_outstanding),
		T(test_accounting),      T(test_idle),                T(test_idle_bounds_table),
		T(test_closed),          T(test_reset_without_option), T(test_port_reuse),
		T(test_syn_again),       T(test_syn_after_midstream), T(test_full_table), T(test_eviction_costs),
		T(test_returns),         T(test_new_on_old_ports),
		T(test_churn),           T(test_per_flow),            T(test_batches),
		T(test_memory),          T(test_bad_options),
	};

	return cmocka_run_group_tests_name("rtt", tests, NULL, NULL);
}
