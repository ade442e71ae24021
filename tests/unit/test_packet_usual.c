// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The short way through the decoder (lib/packet/usual.h, datagram.c) against the layers that define it:
 * every field of the struct the same, for usual frames, for frames with one bit or byte changed, cut and
 * padded ones. Both ways must have been taken often.
 */
#include <stdio.h>

#include "frames.h"
#include "packet/datagram.h"
#include "packet/usual.h"

static uint32_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* As vns_packet_decode() without the short way. */
static struct vns_packet by_layers(const struct vns_frame *frame)
{
	struct vns_span s = { .p = frame->data, .cap = frame->cap_len,
			      .wire = frame->wire_len > frame->cap_len ? frame->wire_len :
									 frame->cap_len };
	struct vns_packet p;

	memset(&p, 0, sizeof(p));
	p.time_ns = frame->time_ns;
	p.wire_len = s.wire;
	p.cap_len = s.cap;
	p.point = frame->point;
	p.flags = frame->flags;
	p.vlan = frame->vlan;
	p.verdict = (uint8_t)vns_decode_ethernet(&p, s);
	return p;
}

static bool takes_short_way(const struct vns_frame *frame)
{
	struct vns_span s = { .p = frame->data, .cap = frame->cap_len, .wire = frame->wire_len };
	struct vns_packet p;

	memset(&p, 0, sizeof(p));
	return s.wire >= s.cap && vns_decode_usual(&p, s, true);
}

static void compare(const struct bytes *f, uint32_t cap, uint32_t wire, uint32_t *taken)
{
	uint8_t *exact = malloc(cap ? cap : 1);
	struct vns_frame frame = { .time_ns = rnd(), .data = exact, .cap_len = cap,
				   .wire_len = wire, .linktype = VNS_LINK_ETHERNET,
				   .point = (uint16_t)rnd(),
				   .flags = rnd() % 4 ? 0 : VNS_PKT_F_OUTGOING };
	struct vns_packet p, want;

	assert_non_null(exact);
	memcpy(exact, f->b, cap);
	memset(&p, 0x5a, sizeof(p));
	vns_packet_decode(&frame, &p);
	want = by_layers(&frame);
	assert_memory_equal(&p, &want, sizeof(p));
	want.digest = 0;
	memset(&p, 0xa5, sizeof(p));
	vns_packet_decode_without(&frame, VNS_WITHOUT_DIGEST, &p);
	assert_memory_equal(&p, &want, sizeof(p));
	*taken += takes_short_way(&frame);
	free(exact);
}

/* A frame that is usual but for what the dice say. */
static void make_frame(struct bytes *f)
{
	bool v6 = rnd() % 2;
	uint32_t ip = 14, tcp;

	if (v6)
		make_tcp6(f, rnd() % 200);
	else
		make_tcp4(f, rnd() % 200);
	if (rnd() % 3 == 0) {
		uint8_t tag[4] = { 0x81, 0, (uint8_t)rnd(), (uint8_t)rnd() };

		insert(f, 12, tag, 4);
		ip += 4;
	}
	tcp = ip + (v6 ? 40 : 20);
	for (uint32_t i = v6 ? ip + 8 : ip + 12; i < tcp + 12; i++) /* addresses, ports, seq, ack */
		f->b[i] = (uint8_t)(rnd() % 4 ? f->b[i] : rnd());
	f->b[tcp + 13] = (uint8_t)rnd();
	for (uint32_t i = tcp + 14; i < tcp + 20; i++)
		f->b[i] = (uint8_t)rnd();
	for (uint32_t i = tcp + 24; i < tcp + 32; i++)
		f->b[i] = (uint8_t)rnd();
}

static void random_bytes(uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)rnd();
}

/* One of those that say what the payload is; or, mostly, another. @tunnels: also of those that hold a packet */
static void any_port(uint8_t *p, bool tunnels)
{
	static const uint16_t known[] = { 53, 443, 5353, VNS_PORT_VXLAN, VNS_PORT_GENEVE };
	uint16_t port = rnd() % 3 ? (uint16_t)rnd() : known[rnd() % (tunnels ? 5 : 3)];

	if (!tunnels && (port == VNS_PORT_VXLAN || port == VNS_PORT_GENEVE))
		port++;
	p[0] = (uint8_t)(port >> 8);
	p[1] = (uint8_t)port;
}

/* What QUIC and DNS may begin with, among noise. */
static void random_payload(uint8_t *p, uint32_t n)
{
	static const uint32_t versions[] = { 0, 1, 0x6b3343cf, 0xff00001b, 0xff000023, 0x1a2a3a4a };
	uint32_t version = versions[rnd() % 6];

	random_bytes(p, n);
	if (n < 7 || rnd() % 3)
		return;
	for (int i = 0; i < 4; i++)
		p[1 + i] = (uint8_t)(version >> (24 - 8 * i));
	p[5] = (uint8_t)(rnd() % 24); /* length of a connection ID, number of questions */
}

static void put_datagram(struct bytes *f, bool echo, bool v6, uint32_t payload, bool tunnels)
{
	uint32_t at = f->n;

	if (echo) {
		put8(f, v6 ? 128 + rnd() % 2 : 8 * (rnd() % 2));
		put8(f, rnd() % 4 ? 0 : rnd());
		put16(f, 0x7777);
		put32(f, rnd());
	} else {
		udp_head(f, 0, 0, payload);
		any_port(f->b + at, false);
		any_port(f->b + at + 2, tunnels);
	}
	random_payload(f->b + f->n, payload);
	f->n += payload;
}

/* UDP or ICMP echo that is usual but for what the dice say; behind it, perhaps, padding. */
static void make_datagram(struct bytes *f, bool tunnels)
{
	bool v6 = rnd() % 2, echo = rnd() % 4 == 0;
	uint32_t payload = rnd() % 2 ? rnd() % 30 : rnd() % 200, at;

	f->n = 0;
	eth(f, v6 ? 0x86dd : 0x0800);
	at = v6 ? ip6(f, echo ? VNS_IP_ICMPV6 : VNS_IP_UDP, 1, 2) :
		  ip4(f, echo ? VNS_IP_ICMP : VNS_IP_UDP, A, rnd() % 4 ? B : rnd());
	if (rnd() % 2)
		random_bytes(f->b + at + (v6 ? 8 : 12), v6 ? 32 : 8);
	if (rnd() % 8 == 0) /* of one address: the ports tell */
		memcpy(f->b + at + (v6 ? 24 : 16), f->b + at + (v6 ? 8 : 12), v6 ? 16 : 4);
	put_datagram(f, echo, v6, payload, tunnels);
	if (v6)
		ip6_end(f, at);
	else
		ip4_end(f, at);
	if (rnd() % 4 == 0)
		put_fill(f, rnd() % 20, 3);
	if (rnd() % 3 == 0)
		insert(f, 12, "\x81\0\x12\x34", 4);
}

static void test_usual_datagrams(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 50000; i++) {
		make_datagram(&f, false);
		compare(&f, f.n, f.n + (rnd() % 4 ? 0 : rnd() % 60), &taken);
	}
	assert_int_equal(taken, 50000);
}

/* One bit anywhere in the headers, or one byte there or anywhere; tunnels, and what is no packet inside. */
static void test_changed_datagrams(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		make_datagram(&f, true);
		if (rnd() % 2)
			f.b[rnd() % 62] ^= (uint8_t)(1 << rnd() % 8);
		else
			f.b[rnd() % (rnd() % 2 ? 62 : f.n)] = (uint8_t)rnd();
		compare(&f, f.n, f.n, &taken);
	}
	assert_in_range(taken, 100000, 270000);
}

static void test_cut_datagrams(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 400; i++) {
		make_datagram(&f, true);
		for (uint32_t cap = 0; cap <= f.n; cap++) {
			compare(&f, cap, f.n, &taken);
			compare(&f, cap, cap, &taken);
		}
	}
	assert_true(taken > 8000);
}

static void test_usual_frames(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		make_frame(&f);
		compare(&f, f.n, f.n + (rnd() % 4 ? 0 : rnd() % 60), &taken);
	}
	assert_int_equal(taken, 20000);
}

/* One bit anywhere in the headers, or one byte anywhere. */
static void test_changed_frames(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		make_frame(&f);
		if (rnd() % 2)
			f.b[rnd() % 86] ^= (uint8_t)(1 << rnd() % 8);
		else
			f.b[rnd() % f.n] = (uint8_t)rnd();
		compare(&f, f.n, f.n, &taken);
	}
	assert_in_range(taken, 80000, 180000);
}

static void test_cut_frames(void **state)
{
	uint32_t taken = 0;
	struct bytes f;

	(void)state;
	for (int i = 0; i < 100; i++) {
		make_frame(&f);
		for (uint32_t cap = 0; cap <= f.n; cap++) {
			compare(&f, cap, f.n, &taken);
			compare(&f, cap, cap, &taken);
		}
	}
	assert_true(taken > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual_frames), cmocka_unit_test(test_changed_frames),
		cmocka_unit_test(test_cut_frames), cmocka_unit_test(test_usual_datagrams),
		cmocka_unit_test(test_changed_datagrams), cmocka_unit_test(test_cut_datagrams),
	};

	return cmocka_run_group_tests_name("packet_usual", tests, NULL, NULL);
}
