// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ICMP, DNS and QUIC round trips: messages by hand, and the samples that they must and must not give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <vnetscope/rtt_app.h>

#define MS VNS_NSEC_PER_MSEC
#define MAX 256

struct seen {
	struct vns_rtt_sample s[MAX];
	size_t n;
};

static void on_sample(void *ctx, const struct vns_rtt_sample *s)
{
	struct seen *seen = ctx;

	assert_true(seen->n < MAX);
	seen->s[seen->n++] = *s;
}

static struct vns_rtt_app *start(struct seen *seen, const struct vns_rtt_app_opts *more)
{
	struct vns_rtt_app_opts o = { .per_flow = true, .max_flows = 100, .max_waiting = 100 };
	struct vns_rtt_app *a;
	struct vns_err err;

	if (more)
		o = *more;
	*seen = (struct seen){ 0 };
	o.on_sample = on_sample;
	o.ctx = seen;
	assert_int_equal(vns_rtt_app_new(&a, &o, &err), 0);
	return a;
}

static struct vns_packet packet(int64_t at, unsigned int dir, uint8_t ipproto, uint16_t port0,
				uint16_t port1)
{
	struct vns_packet p = { .time_ns = at, .dir = (uint8_t)dir,
				.proto = ipproto == 17 ? VNS_PROTO_UDP : VNS_PROTO_ICMP };

	p.key.addr[0] = vns_addr_from_v4((const uint8_t[]){ 10, 0, 0, 1 });
	p.key.addr[1] = vns_addr_from_v4((const uint8_t[]){ 10, 0, 0, 2 });
	p.key.port[0] = port0;
	p.key.port[1] = port1;
	p.key.ipproto = ipproto;
	p.key.family = 4;
	p.flow_hash = vns_flow_key_hash(&p.key);
	return p;
}

static void feed(struct vns_rtt_app *a, struct vns_packet p)
{
	assert_int_equal(vns_rtt_app_feed(a, &p, 1), 0);
}

/* @dir 0: request of 10.0.0.1 */
static void echo(struct vns_rtt_app *a, int64_t at, unsigned int dir, bool reply, uint16_t seq)
{
	struct vns_packet p = packet(at, dir, 1, 77, 77);

	p.icmp_type = reply ? 0 : 8;
	p.icmp_ident = 77;
	p.icmp_seqno = seq;
	feed(a, p);
}

static void dns(struct vns_rtt_app *a, int64_t at, unsigned int dir, bool reply, uint16_t id)
{
	struct vns_packet p = packet(at, dir, 17, 40000, 53);

	p.flags = VNS_PKT_F_DNS;
	p.dns_id = id;
	p.dns_flags = reply ? VNS_DNS_QR : 0;
	feed(a, p);
}

static struct vns_rtt_app_counts end(struct vns_rtt_app *a)
{
	struct vns_rtt_app_counts c;

	vns_rtt_app_finish(a);
	vns_rtt_app_get_counts(a, &c);
	assert_int_equal(c.packets, c.other + c.cut + c.icmp.requests + c.icmp.replies +
			 c.dns.requests + c.dns.replies + c.quic.long_headers +
			 c.quic.short_headers);
	assert_int_equal(c.icmp.replies, c.icmp.samples + c.icmp.ambiguous + c.icmp.unasked +
			 c.icmp.repeated_replies + c.icmp.backwards);
	assert_int_equal(c.icmp.samples, vns_rtt_app_total(a, VNS_RTT_ICMP)->n);
	assert_int_equal(c.dns.samples, vns_rtt_app_total(a, VNS_RTT_DNS)->n);
	assert_int_equal(c.quic.handshake_samples,
			 vns_rtt_app_total(a, VNS_RTT_QUIC_HANDSHAKE)->n);
	assert_int_equal(c.quic.spin_samples, vns_rtt_app_total(a, VNS_RTT_QUIC_SPIN)->n);
	vns_rtt_app_free(a);
	return c;
}

static void expect(const struct seen *seen, size_t i, enum vns_rtt_kind kind, int dir, int64_t rtt)
{
	assert_true(i < seen->n);
	assert_int_equal(seen->s[i].kind, kind);
	assert_int_equal(seen->s[i].dir, dir);
	assert_int_equal(seen->s[i].rtt_ns, rtt);
}

static void test_echo(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_rtt_app_counts c;

	echo(a, 0, 0, false, 1);
	echo(a, 1 * MS, 1, false, 1); /* the other host pings with the same numbers */
	echo(a, 5 * MS, 1, true, 1);
	echo(a, 7 * MS, 0, true, 1);
	echo(a, 8 * MS, 1, true, 1);     /* duplicate */
	echo(a, 10 * MS, 0, false, 2);
	echo(a, 11 * MS, 0, false, 2);   /* sent again: ambiguous */
	echo(a, 15 * MS, 1, true, 2);
	echo(a, 16 * MS, 1, true, 2);
	echo(a, 20 * MS, 1, true, 3);    /* never asked */
	echo(a, 30 * MS, 0, false, 4);   /* no answer for 31 s */
	echo(a, 31000 * MS, 1, true, 4);
	echo(a, 40000 * MS, 0, false, 5);
	echo(a, 40001 * MS, 1, true, 5);
	echo(a, 40002 * MS, 0, false, 5); /* numbers wrap: a new request */
	echo(a, 40004 * MS, 1, true, 5);
	assert_int_equal(seen.n, 4);
	expect(&seen, 0, VNS_RTT_ICMP, 0, 5 * MS);
	expect(&seen, 1, VNS_RTT_ICMP, 1, 6 * MS);
	expect(&seen, 2, VNS_RTT_ICMP, 0, 1 * MS);
	expect(&seen, 3, VNS_RTT_ICMP, 0, 2 * MS);
	assert_int_equal(seen.s[2].id, 5);
	c = end(a);
	assert_int_equal(c.icmp.ambiguous, 1);
	assert_int_equal(c.icmp.repeated, 1);
	assert_int_equal(c.icmp.repeated_replies, 2);
	assert_int_equal(c.icmp.unasked, 2);
	assert_int_equal(c.icmp.unanswered, 1);
	(void)state;
}

/* A host pings itself: both directions are the same. */
static void test_echo_to_itself(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_intervals within;
	struct vns_rtt_app_counts c;

	for (int i = 0; i < 6; i++) {
		struct vns_packet p = packet(i * MS, 0, 1, 77, 77);

		p.key.addr[1] = p.key.addr[0];
		p.flow_hash = vns_flow_key_hash(&p.key);
		p.icmp_type = i % 2 ? 0 : 8;
		p.icmp_seqno = (uint16_t)(i / 2);
		feed(a, p);
	}
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.s[0].rtt_ns, MS);
	vns_rtt_app_intervals(a, VNS_RTT_ICMP, &within);
	assert_false(vns_interval_known(&within.p50)); /* three samples say nothing */
	c = end(a);
	assert_int_equal(c.icmp.unasked, 0);
	(void)state;
}

static void test_dns_and_bounds(void **state)
{
	struct vns_rtt_app_opts few = { .max_waiting = 4, .max_flows = 9, .per_flow = true };
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, &few);
	struct vns_rtt_app_counts c;

	dns(a, 0, 0, false, 100);
	dns(a, 3 * MS, 1, true, 100);
	dns(a, 4 * MS, 0, false, 101);
	dns(a, 5 * MS, 0, false, 101);
	dns(a, 9 * MS, 1, true, 101);
	dns(a, 10 * MS, 0, false, 101); /* stays ambiguous: an answer is still under way */
	dns(a, 11 * MS, 1, true, 101);
	assert_int_equal(seen.n, 1);
	expect(&seen, 0, VNS_RTT_DNS, 0, 3 * MS);
	for (uint16_t i = 0; i < 10; i++)
		dns(a, 20 * MS + i, 0, false, (uint16_t)(200 + i));
	dns(a, 30 * MS, 1, true, 209);
	dns(a, 30 * MS, 1, true, 200);
	assert_int_equal(seen.n, 2);
	c = end(a);
	assert_int_equal(c.dns.dropped, 6);
	assert_int_equal(c.dns.unanswered, 3);
	assert_int_equal(c.dns.unasked, 1);
	(void)state;
}

/* --- QUIC: 10.0.0.1 (direction 0) is the client --- */

#define CLIENT 0xc11e0000u
#define FIRST  0xf1850000u /* the client's first choice of a connection ID */
#define SERVER 0x5e470000u

static void quic(struct vns_rtt_app *a, int64_t at, unsigned int dir, enum vns_quic_type type,
		 uint32_t dcid, uint32_t scid, uint32_t size)
{
	struct vns_packet p = packet(at, dir, 17, 40000, 4433);

	p.flags = VNS_PKT_F_QUIC;
	p.quic_type = (uint8_t)type;
	p.quic_dcid[0] = dcid;
	p.quic_scid[0] = scid;
	p.quic_dcid_len = dcid ? 8 : 0;
	p.quic_scid_len = scid ? 8 : type <= VNS_QUIC_SHORT_1;
	p.quic_version16 = type == VNS_QUIC_NEGOTIATION ? 0 : 1;
	p.payload_len = size;
	feed(a, p);
}

static void shake(struct vns_rtt_app *a, int64_t at)
{
	quic(a, at, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, at + 4 * MS, 1, VNS_QUIC_INITIAL, CLIENT, SERVER, 1200);
	quic(a, at + 7 * MS, 0, VNS_QUIC_HANDSHAKE, SERVER, CLIENT, 300);
}

static void test_quic_handshake(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);

	shake(a, 0);
	assert_int_equal(seen.n, 2);
	expect(&seen, 0, VNS_RTT_QUIC_HANDSHAKE, 0, 4 * MS);
	expect(&seen, 1, VNS_RTT_QUIC_HANDSHAKE, 1, 3 * MS);
	end(a);

	/* the client's repetition crosses the answer: it proves nothing */
	a = start(&seen, NULL);
	quic(a, 0, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 4 * MS, 1, VNS_QUIC_HANDSHAKE, CLIENT, SERVER, 1200);
	quic(a, 5 * MS, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	assert_int_equal(seen.n, 1);
	quic(a, 9 * MS, 0, VNS_QUIC_INITIAL, SERVER, CLIENT, 1200);
	assert_int_equal(seen.n, 2);
	expect(&seen, 1, VNS_RTT_QUIC_HANDSHAKE, 1, 5 * MS);
	end(a);

	/* an answer to somebody else; then a repeated Initial: ambiguous */
	a = start(&seen, NULL);
	quic(a, 0, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 1 * MS, 1, VNS_QUIC_INITIAL, CLIENT + 1, SERVER, 1200);
	quic(a, 1000 * MS, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 1004 * MS, 1, VNS_QUIC_INITIAL, CLIENT, SERVER, 1200);
	assert_int_equal(seen.n, 0);
	assert_int_equal(end(a).quic.ambiguous, 1);

	/* a ClientHello of two datagrams */
	a = start(&seen, NULL);
	quic(a, 0, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, MS / 10, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 4 * MS, 1, VNS_QUIC_INITIAL, CLIENT, SERVER, 1200);
	expect(&seen, 0, VNS_RTT_QUIC_HANDSHAKE, 0, 4 * MS);
	end(a);
	(void)state;
}

static void test_quic_again(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_rtt_app_counts c;

	quic(a, 0, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 4 * MS, 1, VNS_QUIC_RETRY, CLIENT, SERVER, 60);
	quic(a, 5 * MS, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200); /* late, of the first attempt */
	quic(a, 7 * MS, 0, VNS_QUIC_INITIAL, SERVER, CLIENT, 1200);
	quic(a, 12 * MS, 1, VNS_QUIC_INITIAL, CLIENT, SERVER + 1, 1200);
	quic(a, 14 * MS, 0, VNS_QUIC_HANDSHAKE, SERVER + 1, CLIENT, 300);
	assert_int_equal(seen.n, 3);
	expect(&seen, 0, VNS_RTT_QUIC_HANDSHAKE, 0, 4 * MS);
	expect(&seen, 1, VNS_RTT_QUIC_HANDSHAKE, 0, 5 * MS);
	expect(&seen, 2, VNS_RTT_QUIC_HANDSHAKE, 1, 2 * MS);
	c = end(a);
	assert_int_equal(c.quic.retries, 1);
	assert_int_equal(c.quic.connections, 1);

	a = start(&seen, NULL);
	quic(a, 0, 0, VNS_QUIC_INITIAL, FIRST, CLIENT, 1200);
	quic(a, 4 * MS, 1, VNS_QUIC_NEGOTIATION, CLIENT, FIRST, 60);
	quic(a, 7 * MS, 0, VNS_QUIC_INITIAL, FIRST + 1, CLIENT, 1200);
	quic(a, 12 * MS, 1, VNS_QUIC_INITIAL, CLIENT, SERVER, 1200);
	assert_int_equal(seen.n, 2);
	expect(&seen, 1, VNS_RTT_QUIC_HANDSHAKE, 0, 5 * MS);
	assert_int_equal(end(a).quic.negotiations, 1);
	(void)state;
}

static void spin(struct vns_rtt_app *a, int64_t at, unsigned int dir, int bit)
{
	quic(a, at, dir, bit ? VNS_QUIC_SHORT_1 : VNS_QUIC_SHORT_0, dir ? CLIENT : SERVER, 0, 100);
}

/* @n edges of each side from @at on; the client is 3 ms away, the server 5 ms. Return: the end. */
static int64_t spin_for(struct vns_rtt_app *a, int64_t at, int n)
{
	for (int i = 0; i < n; i++) {
		spin(a, at, 0, (i + 1) & 1);
		spin(a, at + 5 * MS, 1, (i + 1) & 1);
		at += 8 * MS;
	}
	return at;
}

/* The first packets of each side after the handshake, then @n edges. Return: the end. */
static int64_t spin_up(struct vns_rtt_app *a, int n)
{
	spin(a, 8 * MS, 0, 0);
	spin(a, 9 * MS, 1, 0);
	return spin_for(a, 10 * MS, n);
}

static void test_spin(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_rtt_app_counts c;
	int64_t at;

	shake(a, 0);
	seen.n = 0;
	at = spin_up(a, 5);
	assert_int_equal(seen.n, 0); /* not trusted yet */
	at = spin_for(a, at, 0);
	spin(a, at, 0, 0);
	spin(a, at + 5 * MS, 1, 0);
	at = spin_for(a, at + 8 * MS, 10);
	/* 32 edges give 31 samples; the last one waits for confirmation */
	assert_int_equal(seen.n, 30);
	for (size_t i = 0; i < seen.n; i++)
		expect(&seen, i, VNS_RTT_QUIC_SPIN, (int)i % 2, i % 2 ? 3 * MS : 5 * MS);
	c = end(a);
	assert_int_equal(c.quic.spin_rejected, 0);
	assert_int_equal(c.quic.spin_unconfirmed, 1);
	(void)state;
}

static void test_spin_reordered(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_rtt_app_counts c;
	int64_t at;

	shake(a, 0);
	at = spin_up(a, 10);
	seen.n = 0;
	/* late packet of the old value: a false edge that would give 1 ms */
	spin(a, at, 0, 1);
	spin(a, at + MS, 0, 0);
	spin(a, at + 2 * MS, 0, 1);
	spin(a, at + 5 * MS, 1, 1);
	/* one later than the answer: an edge that fits, until the next packet of the client */
	spin(a, at + 6 * MS, 0, 0);
	spin(a, at + 7 * MS, 0, 1);
	spin(a, at + 8 * MS, 0, 0);
	spin(a, at + 13 * MS, 1, 0);
	spin_for(a, at + 16 * MS, 8);
	for (size_t i = 0; i < seen.n; i++)
		assert_int_equal(seen.s[i].rtt_ns, seen.s[i].dir ? 3 * MS : 5 * MS);
	assert_true(seen.n >= 8);
	c = end(a);
	assert_int_equal(c.quic.spin_rejected, 2);
	(void)state;
}

static void test_spin_new_id_and_chance(void **state)
{
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, NULL);
	struct vns_rtt_app_counts c;
	int64_t at;

	shake(a, 0);
	at = spin_up(a, 10);
	seen.n = 0;
	/* another connection ID restarts the bit at 0: no edge, though the value changed */
	spin(a, at, 0, 1);
	quic(a, at + MS, 0, VNS_QUIC_SHORT_0, SERVER + 9, 0, 100);
	quic(a, at + 2 * MS, 1, VNS_QUIC_SHORT_0, CLIENT, 0, 100);
	assert_int_equal(seen.n, 1); /* the one that the client's last edge confirmed */
	c = end(a);
	assert_int_equal(c.quic.cid_changes, 1);

	/* both set the bit by chance, ten packets of each side per 100 us */
	srand(20111213);
	for (int run = 0; run < 50; run++) {
		a = start(&seen, NULL);
		shake(a, 0);
		seen.n = 0;
		for (int i = 0; i < 4000; i++)
			spin(a, 10 * MS + i * 10000, (unsigned int)(rand() >> 8 & 1),
			     rand() >> 8 & 1);
		assert_int_equal(seen.n, 0);
		assert_int_equal(end(a).quic.spin_not_spinning, 1);
	}
	(void)state;
}

/* Thirty flows in a table of nine, then silence: every end is counted, nothing is left. */
static void test_flow_bounds(void **state)
{
	struct vns_rtt_app_opts few = { .max_waiting = 4, .max_flows = 9, .per_flow = true,
					.idle_ns = 10 * VNS_NSEC_PER_SEC };
	struct seen seen;
	struct vns_rtt_app *a = start(&seen, &few);
	struct vns_rtt_app_counts c;

	for (uint16_t i = 0; i < 30; i++) {
		struct vns_packet p = packet(i * MS, 0, 17, (uint16_t)(40000 + i), 443);

		p.flags = VNS_PKT_F_QUIC;
		p.quic_type = VNS_QUIC_INITIAL;
		p.payload_len = 1200;
		feed(a, p);
	}
	vns_rtt_app_get_counts(a, &c);
	assert_int_equal(c.quic.flows_full, 21);
	for (int i = 0; i < 9; i++) /* not QUIC: it only moves the time on */
		feed(a, packet(20000 * MS, 0, 17, 1, 2));
	c = end(a);
	assert_int_equal(c.quic.flows_idle, 9);
	assert_int_equal(c.quic.flows, 30);
	assert_int_equal(c.quic.flows_live, 0);
	assert_int_equal(c.other, 9);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_echo_to_itself),
		cmocka_unit_test(test_dns_and_bounds),
		cmocka_unit_test(test_quic_handshake),
		cmocka_unit_test(test_quic_again),
		cmocka_unit_test(test_spin),
		cmocka_unit_test(test_spin_reordered),
		cmocka_unit_test(test_spin_new_id_and_chance),
		cmocka_unit_test(test_flow_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
