/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Packets made by hand and an engine to feed them to, for the tests of the twin engine. */
#ifndef VNS_TEST_TWIN_BENCH_H
#define VNS_TEST_TWIN_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vnetscope/twin.h>

#define US VNS_NSEC_PER_USEC
#define MS VNS_NSEC_PER_MSEC
#define SEC VNS_NSEC_PER_SEC
#define T0 (1700000000 * SEC)
#define MSS 1448u

static const uint8_t guest_v4[4] = { 10, 0, 0, 2 };
static const uint8_t peer_v4[4] = { 10, 0, 0, 9 };

struct bench {
	struct vns_twin *t;
	struct vns_twin_sample s[4096];
	size_t n;
	struct vns_twin_counts c[2];
	struct vns_packet last_a, last_b;
};

static inline void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	struct bench *b = ctx;

	assert_true(b->n < sizeof(b->s) / sizeof(b->s[0]));
	b->s[b->n++] = *s;
}

static inline struct bench *open_with(struct vns_twin_opts *o)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct vns_addr guest = vns_addr_from_v4(guest_v4);

	assert_non_null(b);
	o->guest = &guest;
	o->n_guest = 1;
	assert_int_equal(vns_twin_new(&b->t, o, on_sample, b, NULL), 0);
	return b;
}

static inline struct bench *open_default(void)
{
	struct vns_twin_opts o = { 0 };

	return open_with(&o);
}

static inline void feed(struct bench *b, enum vns_point p, struct vns_packet pkt)
{
	assert_int_equal(vns_twin_feed(b->t, p, &pkt, 1), 0);
}

static inline uint64_t class_sum(const struct vns_twin_counts *c)
{
	uint64_t n = 0;

	for (int i = 0; i < VNS_TWIN_CLASSES; i++)
		n += c->in_class[i];
	return n;
}

/* End the run; whatever the case, every packet has one class. */
static inline void done(struct bench *b)
{
	uint64_t up = 0;

	vns_twin_finish(b->t);
	for (int p = 0; p < 2; p++) {
		vns_twin_get_counts(b->t, p, &b->c[p]);
		assert_int_equal(class_sum(&b->c[p]), b->c[p].read);
	}
	up = b->c[0].in_class[VNS_TWIN_MATCHED] + b->c[1].in_class[VNS_TWIN_MATCHED];
	assert_true(b->n <= up);
}

static inline void drop(struct bench *b)
{
	vns_twin_free(b->t);
	free(b);
}

static inline void expect(struct bench *b, enum vns_point p, uint64_t matched, uint64_t missing,
		   uint64_t ambiguous, uint64_t outside)
{
	assert_int_equal(b->c[p].in_class[VNS_TWIN_MATCHED], matched);
	assert_int_equal(b->c[p].in_class[VNS_TWIN_MISSING], missing);
	assert_int_equal(b->c[p].in_class[VNS_TWIN_AMBIGUOUS], ambiguous);
	assert_int_equal(b->c[p].in_class[VNS_TWIN_OUTSIDE_WINDOW], outside);
}

/* A packet between peer and guest; @to_guest gives the direction. */
static inline struct vns_packet base(int64_t at, bool to_guest, uint8_t proto, uint16_t port)
{
	struct vns_packet p = { .time_ns = T0 + at, .proto = proto, .verdict = VNS_PKT_OK };
	struct vns_addr guest = vns_addr_from_v4(guest_v4), peer = vns_addr_from_v4(peer_v4);

	p.key.addr[0] = guest; /* 10.0.0.2 is the lower one */
	p.key.addr[1] = peer;
	p.key.port[0] = 5001;
	p.key.port[1] = port;
	p.key.ipproto = proto == VNS_PROTO_TCP ? 6 : proto == VNS_PROTO_UDP ? 17 : 1;
	p.key.family = 4;
	p.dir = to_guest;
	p.flow_hash = 0x1234567890abcdefu + port * UINT64_C(0x9e3779b97f4a7c15) + proto;
	return p;
}

static inline struct vns_packet udp(int64_t at, bool to_guest, uint64_t digest, uint32_t id)
{
	struct vns_packet p = base(at, to_guest, VNS_PROTO_UDP, 7000);

	p.digest = digest * UINT64_C(0xff51afd7ed558ccd);
	p.ip_id = id;
	p.payload_len = 100;
	return p;
}

static inline struct vns_packet tcp(int64_t at, bool to_guest, uint32_t seq, uint32_t len, uint32_t tsval)
{
	struct vns_packet p = base(at, to_guest, VNS_PROTO_TCP, 8000);

	p.seq = seq;
	p.payload_len = len;
	p.tcp_flags = VNS_TCP_ACK;
	p.ack = 77;
	p.tsval = tsval;
	p.flags = tsval ? VNS_PKT_F_HAS_TS : 0;
	p.window = 500;
	/* As the decoder does: seq, ack, flags, timestamps enter the digest. */
	p.digest = (seq * UINT64_C(31) + len) * UINT64_C(0xc4ceb9fe1a85ec53) ^
		   tsval * UINT64_C(0x2545f4914f6cdd1d);
	return p;
}

static inline struct vns_packet tcp_id(struct vns_packet p, uint32_t id)
{
	p.ip_id = id;
	return p;
}

/*
 * Something else before and after, so that the points cover the case's whole time: a ping there
 * (A to B) and one back.
 */
static inline void frame_case(struct bench *b, int64_t at)
{
	for (int to_guest = 0; to_guest < 2; to_guest++) {
		struct vns_packet p = base(at, to_guest, VNS_PROTO_ICMP, 0);

		p.digest = (uint64_t)at * 2 + (uint64_t)to_guest + 99;
		if (!to_guest)
			p.time_ns += 10 * MS;
		feed(b, to_guest ? VNS_POINT_A : VNS_POINT_B, p);
		p.time_ns += 5 * MS;
		feed(b, to_guest ? VNS_POINT_B : VNS_POINT_A, p);
	}
}

/* Pings, and @back ones, from @from on for @n * 20 ms; the clocks agree and packets take 50 us. */
static inline void talk(struct bench *b, int64_t from, int n, bool back)
{
	for (int i = 0; i < n; i++) {
		struct vns_packet p = udp(from + i * 20 * MS, true, (uint64_t)(from / MS + i) + 1000, 0);

		feed(b, VNS_POINT_A, p);
		p.time_ns += 50 * US;
		feed(b, VNS_POINT_B, p);
		if (!back)
			continue;
		p = udp(from + 5 * MS + i * 20 * MS, false, (uint64_t)(from / MS + i) + 1000, 0);
		feed(b, VNS_POINT_B, p);
		p.time_ns += 50 * US;
		feed(b, VNS_POINT_A, p);
	}
}

/* The samples of one protocol, in the order they came. */
static inline size_t samples_of(struct bench *b, uint8_t proto, struct vns_twin_sample *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->s[i].proto == proto && n < max)
			out[n++] = b->s[i];
	return n;
}

#endif
