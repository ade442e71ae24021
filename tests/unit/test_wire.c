// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The agent protocol's bytes: what goes in comes out, whatever is cut is refused, limits hold.
 * Truth: the structs themselves, filled at random (alike each time unless VNS_SEED is set), and for
 * the frame and packet layout bytes written out by hand from doc/agent-protocol.md.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "load/load.h"
#include "counters/usage.h"
#include "wire/wire.h"

static uint64_t rng_state;

static uint64_t rnd(void)
{
	uint64_t z = (rng_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Often zero, often small, sometimes anything: each presence bit gets both values. */
static uint64_t some(void)
{
	switch (rnd() % 3) {
	case 0:
		return 0;
	case 1:
		return rnd() % 70000;
	default:
		return rnd() >> rnd() % 64;
	}
}

static struct vns_packet random_packet(void)
{
	struct vns_packet p;

	memset(&p, 0, sizeof(p));
	p.time_ns = (int64_t)(rnd() >> rnd() % 64);
	if (rnd() % 8 == 0)
		p.time_ns = rnd() & 1 ? INT64_MIN : INT64_MAX;
	p.digest = rnd();
	p.flow_hash = rnd();
	for (int i = 0; i < 2; i++) {
		uint64_t v = rnd();

		if (rnd() & 1)
			p.key.addr[i] = vns_addr_from_v4((const uint8_t *)&v);
		else
			memcpy(p.key.addr[i].b, &v, 8);
		p.key.port[i] = (uint16_t)some();
	}
	p.key.ipproto = (uint8_t)rnd();
	p.key.family = (uint8_t)rnd();
	p.wire_len = (uint32_t)some();
	p.cap_len = rnd() & 1 ? p.wire_len : (uint32_t)some();
	p.seq = (uint32_t)some();
	p.ack = (uint32_t)some();
	p.tsval = (uint32_t)some();
	p.tsecr = (uint32_t)some();
	p.payload_len = (uint32_t)some();
	p.ip_id = (uint32_t)some();
	p.window = (uint16_t)some();
	p.frag_off = (uint16_t)some();
	p.icmp_ident = (uint16_t)some();
	p.icmp_seqno = (uint16_t)some();
	p.flags = (uint16_t)(some() & ~VNS_PKT_F_HAS_SACK); /* the block stays behind */
	p.vlan = (uint16_t)some();
	p.tcp_flags = (uint8_t)some();
	p.icmp_type = (uint8_t)some();
	p.icmp_code = (uint8_t)some();
	p.dir = rnd() & 1;
	p.proto = (uint8_t)(rnd() % VNS_PROTOS);
	p.verdict = (uint8_t)(rnd() % VNS_PKT_VERDICTS);
	p.tunnel_depth = (uint8_t)some();
	p.ttl = (uint8_t)rnd();
	p.point = (uint16_t)some();
	return p;
}

/*
 * memcmp over the whole struct would miss nothing, also no field added later: those the
 * encoder forgets come back as zero while random_packet() leaves them zero. So the size is held.
 * dns_len, the last one, is not sent: no engine that reads an agent's packets looks at it.
 */
static void packet_has_no_new_fields(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct vns_packet, dns_len), 118);
	assert_int_equal(sizeof(struct vns_flow_key), 40);
	assert_int_equal(sizeof(struct vns_packet), 128);
}

static void packets_survive(void **state)
{
	uint8_t buf[VNS_WIRE_PACKET_MAX + 8];
	struct vns_cursor c;
	size_t n, longest = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct vns_packet in = random_packet(), out;
		int64_t prev = (int64_t)rnd();

		memset(buf, 0xee, sizeof(buf));
		n = vns_put_packet(buf, &in, prev);
		assert_in_range(n, 1, VNS_WIRE_PACKET_MAX);
		assert_int_equal(buf[n], 0xee);
		longest = n > longest ? n : longest;
		vns_cursor_init_const(&c, buf, n);
		assert_true(vns_get_packet(&c, &out, prev));
		assert_int_equal(c.pos, n);
		assert_memory_equal(&in, &out, sizeof(in));
		for (size_t cut = 0; cut < n; cut++) {
			vns_cursor_init_const(&c, buf, cut);
			assert_false(vns_get_packet(&c, &out, prev));
		}
	}
	assert_true(longest > 100); /* the random packets did use most of it */
}

/* TCP over IPv4, byte by byte as documented. */
static void packet_layout(void **state)
{
	static const uint8_t want[] = {
		0x07, 0x00,                         /* v4, tcp, timestamps */
		0x90, 0x4e,                         /* +5000 ns: zigzag 10000 */
		1, 0, 0, 0, 0, 0, 0, 0,             /* digest */
		2, 0, 0, 0, 0, 0, 0, 0,             /* flow hash */
		10, 0, 0, 1, 10, 0, 0, 2, 0x50, 0, 0x34, 0x12,
		6, 4, 1, VNS_PROTO_TCP, VNS_PKT_OK, 64,
		0x01, 0x00,                         /* flags: has timestamps */
		0xea, 0x0b,                         /* wire length 1514 */
		0xa8, 0x0b,                         /* payload 1448 */
		0xcd, 0xab,                         /* ip id */
		4, 3, 2, 1, 8, 7, 6, 5, 0x00, 0x10, 0x18,
		0x0d, 0, 0, 0, 0x0e, 0, 0, 0,
	};
	const uint8_t a[4] = { 10, 0, 0, 1 }, b[4] = { 10, 0, 0, 2 };
	struct vns_packet p = {
		.time_ns = 6000, .digest = 1, .flow_hash = 2,
		.key = { { vns_addr_from_v4(a), vns_addr_from_v4(b) }, { 80, 0x1234 }, 6, 4, { 0 } },
		.wire_len = 1514, .cap_len = 1514, .seq = 0x01020304, .ack = 0x05060708,
		.tsval = 13, .tsecr = 14, .payload_len = 1448, .ip_id = 0xabcd, .window = 0x1000,
		.flags = VNS_PKT_F_HAS_TS, .tcp_flags = 0x18, .dir = 1, .proto = VNS_PROTO_TCP,
		.ttl = 64,
	};
	uint8_t buf[VNS_WIRE_PACKET_MAX];

	(void)state;
	assert_int_equal(vns_put_packet(buf, &p, 1000), sizeof(want));
	assert_memory_equal(buf, want, sizeof(want));
}

static void packets_that_would_index_out_are_refused(void **state)
{
	/* offsets of dir, proto, verdict in packet_layout()'s bytes: one-byte time, v4 */
	const size_t at[] = { 2 + 1 + 16 + 8 + 4 + 2, 2 + 1 + 16 + 8 + 4 + 3, 2 + 1 + 16 + 8 + 4 + 4 };
	const uint8_t bad[] = { 2, VNS_PROTOS, VNS_PKT_VERDICTS };
	const uint8_t v4[4] = { 1, 2, 3, 4 };
	struct vns_packet p = { .key.addr = { vns_addr_from_v4(v4), vns_addr_from_v4(v4) } }, out;
	uint8_t buf[VNS_WIRE_PACKET_MAX];
	struct vns_cursor c;
	size_t n = vns_put_packet(buf, &p, 0);

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint8_t old = buf[at[i]];

		buf[at[i]] = bad[i];
		vns_cursor_init_const(&c, buf, n);
		assert_false(vns_get_packet(&c, &out, 0));
		buf[at[i]] = (uint8_t)(bad[i] - 1);
		vns_cursor_init_const(&c, buf, n);
		assert_true(vns_get_packet(&c, &out, 0));
		buf[at[i]] = old;
	}
	buf[1] |= 0x80; /* a mask bit nobody defined */
	vns_cursor_init_const(&c, buf, n);
	assert_false(vns_get_packet(&c, &out, 0));
}

static size_t make_batch(uint8_t *buf, size_t size, struct vns_packet *pkts, uint32_t n)
{
	struct vns_wire_batch b = { .id = 7, .n = n, .dropped = 3, .now_ns = 99, .base_ns = 5 };
	struct vns_cursor c;
	size_t len = VNS_WIRE_BATCH_HEADER;
	int64_t prev = b.base_ns;

	vns_cursor_init(&c, buf, size);
	vns_put_batch_header(&c, &b);
	assert_int_equal(c.pos, VNS_WIRE_BATCH_HEADER);
	for (uint32_t i = 0; i < n; i++) {
		pkts[i] = random_packet();
		len += vns_put_packet(buf + len, &pkts[i], prev);
		prev = pkts[i].time_ns;
	}
	return len;
}

static void batches(void **state)
{
	static struct vns_packet in[VNS_WIRE_BATCH_PACKETS], out[VNS_WIRE_BATCH_PACKETS];
	static uint8_t buf[VNS_WIRE_BATCH_PACKETS * VNS_WIRE_PACKET_MAX];
	struct vns_wire_batch b;
	struct vns_cursor c;
	size_t len = make_batch(buf, sizeof(buf), in, 20);

	(void)state;
	vns_cursor_init_const(&c, buf, len);
	assert_true(vns_get_batch(&c, &b, out));
	assert_int_equal(b.id, 7);
	assert_int_equal(b.n, 20);
	assert_int_equal(b.dropped, 3);
	assert_int_equal(b.now_ns, 99);
	assert_memory_equal(in, out, 20 * sizeof(in[0]));
	for (size_t cut = 0; cut < len; cut++) {
		vns_cursor_init_const(&c, buf, cut);
		assert_false(vns_get_batch(&c, &b, out));
	}
	buf[len] = 0; /* a byte too many */
	vns_cursor_init_const(&c, buf, len + 1);
	assert_false(vns_get_batch(&c, &b, out));
	buf[4] = 0xff; /* more packets than there is room for */
	buf[5] = 0xff;
	vns_cursor_init_const(&c, buf, len);
	assert_false(vns_get_batch(&c, &b, out));
}

static void frames_of_any_cut(void **state)
{
	uint8_t stream[4096];
	size_t len = 0, fed = 0;
	struct vns_wire_frame f;
	struct vns_inbuf b;
	struct vns_err err;
	uint32_t got = 0;

	(void)state;
	for (uint32_t i = 1; i <= 40; i++) {
		struct vns_frame_header h = { i, VNS_MSG_ERROR, 0, i };

		vns_frame_put_header(stream + len, &h);
		memset(stream + len + 16, (int)i, i);
		len += 16 + i;
	}
	assert_memory_equal(stream, "VNSA\x01\0\0\0\x04\0\0\0\x01\0\0\0\x01", 17);
	assert_int_equal(vns_inbuf_init(&b, VNS_FROM_AGENT), 0);
	while (fed < len) {
		size_t room, n = 1 + rnd() % 50;
		uint8_t *to = vns_inbuf_space(&b, &room);

		n = n > len - fed ? len - fed : n;
		memcpy(to, stream + fed, n);
		vns_inbuf_added(&b, n);
		fed += n;
		while (vns_inbuf_next(&b, &f, &err) == 1) {
			got++;
			assert_int_equal(f.h.request, got);
			assert_int_equal(f.h.body_len, got);
			assert_int_equal(f.body[got - 1], got);
		}
	}
	assert_int_equal(got, 40);
	vns_inbuf_fini(&b);
}

/* The largest frames, over and over: the buffer never runs out of room for a whole one. */
static void big_frames_fit(void **state)
{
	struct vns_frame_header h = { VNS_WIRE_MAX_BODY, VNS_MSG_CAPTURE_BATCH, 0, 0 };
	uint8_t head[16];
	struct vns_wire_frame f;
	struct vns_inbuf b;
	struct vns_err err;
	size_t room, sent = 0, frames = 0, total = 10 * (16 + VNS_WIRE_MAX_BODY);

	(void)state;
	vns_frame_put_header(head, &h);
	assert_int_equal(vns_inbuf_init(&b, VNS_FROM_AGENT), 0);
	while (sent < total) {
		uint8_t *to = vns_inbuf_space(&b, &room);
		size_t at = sent % (16 + VNS_WIRE_MAX_BODY), n = 1 + rnd() % 40000;

		assert_true(room > 0);
		if (at < 16)
			n = 16 - at;
		else if (n > 16 + VNS_WIRE_MAX_BODY - at)
			n = 16 + VNS_WIRE_MAX_BODY - at;
		n = n > room ? room : n;
		if (at < 16)
			memcpy(to, head + at, n);
		else
			memset(to, 1, n);
		vns_inbuf_added(&b, n);
		sent += n;
		frames += vns_inbuf_next(&b, &f, &err) == 1;
	}
	assert_int_equal(frames, 10);
	vns_inbuf_fini(&b);
}

static int refuse(uint16_t type, uint32_t len, uint16_t flags, struct vns_err *err)
{
	struct vns_frame_header h = { len, type, flags, 1 };
	struct vns_wire_frame f;
	struct vns_inbuf b;
	size_t room;
	int r;

	assert_int_equal(vns_inbuf_init(&b, VNS_FROM_AGENT), 0);
	vns_frame_put_header(vns_inbuf_space(&b, &room), &h);
	vns_inbuf_added(&b, 16);
	err->text[0] = '\0';
	r = vns_inbuf_next(&b, &f, err);
	vns_inbuf_fini(&b);
	return r;
}

static void limits(void **state)
{
	struct vns_err err;

	(void)state;
	for (uint16_t t = 0; t < VNS_MSG_TYPES + 3; t++) {
		const struct vns_msg_rule *rule = vns_msg_rule(t);

		if (!rule || rule->sender != VNS_FROM_AGENT) {
			assert_int_equal(refuse(t, 0, 0, &err), -EPROTO);
			assert_true(err.text[0]);
			continue;
		}
		assert_true(rule->max_body <= VNS_WIRE_MAX_BODY);
		assert_int_equal(refuse(t, rule->max_body, 0, &err) < 0, 0);
		assert_int_equal(refuse(t, rule->max_body + 1, 0, &err), -EPROTO);
		assert_non_null(strstr(err.text, rule->name));
		assert_int_equal(refuse(t, 0, 1, &err), -EPROTO);
	}
}

/* The table of doc/agent-protocol.md (VNS_PROTOCOL_DOC) against the rules in force. */
static void document_agrees(void **state)
{
	const char *path = getenv("VNS_PROTOCOL_DOC");
	unsigned int type, max, seen = 0;
	char line[1024], name[32], from;
	FILE *f;

	(void)state;
	if (!path)
		skip();
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const struct vns_msg_rule *r;

		if (sscanf(line, "| %u | %31[A-Z_] | %c | %u |", &type, name, &from, &max) != 4)
			continue;
		r = vns_msg_rule((uint16_t)type);
		assert_non_null(r);
		assert_string_equal(r->name, name);
		assert_int_equal(r->max_body, max);
		assert_int_equal(r->sender, from == 'H' ? VNS_FROM_HOST : VNS_FROM_AGENT);
		seen++;
	}
	fclose(f);
	assert_int_equal(seen, VNS_MSG_TYPES - 1);
}

static struct vns_agent_info sample_info(void)
{
	struct vns_agent_info i = { .protocol = VNS_AGENT_PROTOCOL, .caps = 0x1f,
		.version = "1.2.3", .hostname = "vm1", .kernel = "Linux 6.1", .boot_id = "abc",
		.clocksource = "tsc", .n_cpu = 3, .capture_why = "because", .n_iface = 2 };

	for (int k = 0; k < 2; k++) {
		snprintf(i.iface[k].name, sizeof(i.iface[k].name), "eth%d", k);
		i.iface[k].up = k;
		i.iface[k].n_addr = (uint8_t)(k * 8);
		for (int j = 0; j < 6; j++)
			i.iface[k].mac[j] = (uint8_t)rnd();
		for (unsigned int j = 0; j < i.iface[k].n_addr; j++)
			memset(i.iface[k].addr[j].b, (int)j + 1, 16);
	}
	return i;
}

static void clock_state(void **state)
{
	struct vns_clock_state in = { .source = "kvm-clock", .freq = -65536 * 12, .tick_us = 10001,
				      .steering_known = true, .status = 0x2041, .constant = -3,
				      .offset_ns = INT64_MIN, .slew_us = -7 }, out;
	size_t n;
	uint8_t buf[96];
	struct vns_cursor c;

	(void)state;
	vns_cursor_init(&c, buf, sizeof(buf));
	vns_put_clock_state(&c, &in);
	assert_false(c.bad);
	n = c.pos;
	for (size_t cut = 0; cut < n; cut++) {
		vns_cursor_init_const(&c, buf, cut);
		assert_false(vns_get_clock_state(&c, &out));
	}
	vns_cursor_init_const(&c, buf, n);
	assert_true(vns_get_clock_state(&c, &out));
	assert_string_equal(out.source, in.source);
	assert_true(out.freq == in.freq && out.tick_us == in.tick_us && out.steering_known);
	assert_true(out.status == in.status && out.constant == in.constant);
	assert_true(out.offset_ns == in.offset_ns && out.slew_us == in.slew_us);
	memset(in.source, 'x', sizeof(in.source) - 1); /* the longest name fits the limit */
	vns_cursor_init(&c, buf, sizeof(buf));
	vns_put_clock_state(&c, &in);
	assert_false(c.bad);
}

static void hello_reply(void **state)
{
	struct vns_agent_info in = sample_info(), out;
	uint8_t buf[4096];
	struct vns_cursor c;
	uint64_t nonce;
	size_t n;

	(void)state;
	vns_cursor_init(&c, buf, sizeof(buf));
	vns_put_hello_reply(&c, 77, &in);
	assert_false(c.bad);
	n = c.pos;
	vns_cursor_init_const(&c, buf, n);
	assert_true(vns_get_hello_reply(&c, &nonce, &out));
	assert_int_equal(nonce, 77);
	assert_memory_equal(&in, &out, sizeof(in));
	for (size_t cut = 0; cut < n; cut++) {
		vns_cursor_init_const(&c, buf, cut);
		assert_false(vns_get_hello_reply(&c, &nonce, &out));
	}
	/* the fullest there can be fits the limit */
	for (int k = 0; k < 8; k++)
		in.iface[k] = in.iface[1];
	in.n_iface = 8;
	memset(in.hostname, 'h', sizeof(in.hostname) - 1);
	memset(in.kernel, 'k', sizeof(in.kernel) - 1);
	memset(in.capture_why, 'w', sizeof(in.capture_why) - 1);
	vns_cursor_init(&c, buf, vns_msg_rule(VNS_MSG_HELLO_REPLY)->max_body);
	vns_put_hello_reply(&c, 77, &in);
	assert_false(c.bad);
}

static void other_bodies(void **state)
{
	struct vns_load_spec s = { .kind = 3, .port = 80, .procs = 2, .size = 9, .percent = 50,
		.rate_hz = 12.5, .rate_bps = 1450000, .duration_ns = 77, .persist = true }, s2;
	struct vns_load_stats st = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10.5, 11.5, 12, 13, 14 }, st2;
	struct vns_agent_usage u = { -1, 2, 3, 4, 5 }, u2;
	struct vns_bpf_insn in[3] = { { 1, 2, 3, 4 }, { 5, 6, 7, 0xffffffff }, { 6, 0, 0, 0 } };
	struct vns_bpf_insn out[VNS_WIRE_MAX_BPF];
	struct vns_wire_capture w = { 9, 96, "eth0", 3, in }, w2 = { .filter = out };
	struct vns_err sentence;
	struct vns_cursor c;
	uint8_t buf[256];
	size_t n;
	int code;

	(void)state;
	memset(s.peer.b, 5, 16);
#define ROUND_TRIP(put, get, a, b) do { \
		vns_cursor_init(&c, buf, sizeof(buf)); put(&c, a); n = c.pos; \
		vns_cursor_init_const(&c, buf, n); assert_true(get(&c, b)); \
		for (size_t cut = 0; cut < n; cut++) { \
			vns_cursor_init_const(&c, buf, cut); assert_false(get(&c, b)); \
		} \
		vns_cursor_init_const(&c, buf, n + 1); assert_false(get(&c, b)); \
		vns_cursor_init_const(&c, buf, n); assert_true(get(&c, b)); } while (0)
	ROUND_TRIP(vns_put_load_spec, vns_get_load_spec, &s, &s2);
	assert_int_equal(s.kind, s2.kind);
	assert_memory_equal(&s.peer, &s2.peer, 16);
	assert_true(s.rate_hz == s2.rate_hz && s.rate_bps == s2.rate_bps && s2.persist);
	assert_true(s.port == s2.port && s.procs == s2.procs && s.size == s2.size &&
		    s.percent == s2.percent && s.duration_ns == s2.duration_ns);
	ROUND_TRIP(vns_put_load_stats, vns_get_load_stats, &st, &st2);
	assert_memory_equal(&st, &st2, sizeof(st));
	ROUND_TRIP(vns_put_usage, vns_get_usage, &u, &u2);
	assert_memory_equal(&u, &u2, sizeof(u));
	ROUND_TRIP(vns_put_capture, vns_get_capture, &w, &w2);
	assert_int_equal(w2.id, 9);
	assert_int_equal(w2.snaplen, 96);
	assert_string_equal(w2.ifname, "eth0");
	assert_int_equal(w2.n_filter, 3);
	assert_memory_equal(in, out, sizeof(in));
	/* an error whose code is none must not turn into success */
	vns_cursor_init(&c, buf, sizeof(buf));
	vns_put_error(&c, 0, "why");
	vns_cursor_init_const(&c, buf, c.pos);
	assert_true(vns_get_error(&c, &code, &sentence));
	assert_int_equal(code, -EPROTO);
	assert_string_equal(sentence.text, "why");
}

static void counters_survive(void **state)
{
	struct vns_tsc_reading in[3] = { { 1, -2, UINT64_MAX }, { 5, INT64_MAX, 6 }, { 0, 0, 0 } };
	struct vns_tsc_reading out[VNS_WIRE_MAX_TSC];
	uint8_t body[4 + 24 * 3];
	struct vns_cursor c;

	(void)state;
	vns_cursor_init(&c, body, sizeof(body));
	vns_put_tsc(&c, in, 3);
	assert_int_equal(c.pos, sizeof(body));
	vns_cursor_init_const(&c, body, sizeof(body));
	assert_int_equal(vns_get_tsc(&c, out), 3);
	assert_memory_equal(in, out, sizeof(in));
	vns_cursor_init_const(&c, body, sizeof(body) - 1);
	assert_int_equal(vns_get_tsc(&c, out), -EPROTO);
	body[0] = VNS_WIRE_MAX_TSC + 1;
	vns_cursor_init_const(&c, body, sizeof(body));
	assert_int_equal(vns_get_tsc(&c, out), -EPROTO);
}

static void nan_is_refused(void **state)
{
	struct vns_load_spec s = { .rate_hz = 0 };
	struct vns_cursor c;
	uint8_t buf[80];

	(void)state;
	s.rate_hz = __builtin_nan("");
	vns_cursor_init(&c, buf, sizeof(buf));
	vns_put_load_spec(&c, &s);
	vns_cursor_init_const(&c, buf, c.pos);
	assert_false(vns_get_load_spec(&c, &s));
}

/* A guest 5 s ahead reads the host's clock; each read of a clock costs 1 us. */
static void ptp_mapping(void **state)
{
	struct vns_ptp_reading r[5];
	struct vns_exchange x[8];
	int64_t t = 1000000, offset = 5000000000;

	(void)state;
	for (int i = 0; i < 5; i++, t += 3000)
		r[i] = (struct vns_ptp_reading){ t + offset, t + 700, t + 1000 + offset };
	assert_int_equal(vns_ptp_to_exchanges(r, 5, x, 8), 4);
	for (int i = 0; i < 4; i++) {
		assert_true(x[i].t1_ns < x[i].t4_ns && x[i].t2_ns <= x[i].t3_ns);
		/* the bound holds the truth, and is as tight as the brackets are */
		assert_int_equal(x[i].t2_ns - x[i].t1_ns, offset + 300);
		assert_int_equal(x[i].t3_ns - x[i].t4_ns, offset - 700);
	}
	assert_int_equal(vns_ptp_to_exchanges(r, 1, x, 8), 0);
	assert_int_equal(vns_ptp_to_exchanges(r, 0, x, 8), 0);
	assert_int_equal(vns_ptp_to_exchanges(r, 5, x, 2), 2);
}

/* Test suite of RFC 1321, appendix A.5. */
static void md5_of_the_rfc(void **state)
{
	static const struct { const char *in, *hex; } t[] = {
		{ "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ "a", "0cc175b9c0f1b6a831c399e269772661" },
		{ "abc", "900150983cd24fb0d6963f7d28e17f72" },
		{ "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
		{ "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
		  "d174ab98d277d9f5a5611c2c9f419d9f" },
		{ "1234567890123456789012345678901234567890123456789012345678901234567890"
		  "1234567890", "57edf4a22be3c955ac49da2e2107b67a" },
	};
	struct vns_md5 m;
	uint8_t d[16];
	char hex[33];

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		for (size_t cut = 0; cut <= strlen(t[i].in); cut++) {
			vns_md5_init(&m);
			vns_md5_add(&m, t[i].in, cut);
			vns_md5_add(&m, t[i].in + cut, strlen(t[i].in) - cut);
			vns_md5_end(&m, d);
			for (int k = 0; k < 16; k++)
				snprintf(hex + 2 * k, 3, "%02x", d[k]);
			assert_string_equal(hex, t[i].hex);
		}
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void rtt_summary(void **state)
{
	static struct vns_probe_rtt r, part[2];
	static int64_t v[10000];
	const double q[] = { 0.01, 0.5, 0.95, 0.99, 1.0 };
	double sum = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		v[i] = (int64_t)(rnd() >> (26 + rnd() % 30));
		sum += (double)v[i];
		vns_probe_rtt_add(&part[i & 1], v[i]);
	}
	vns_probe_rtt_merge(&r, &part[0]);
	vns_probe_rtt_merge(&r, &part[1]);
	qsort(v, 10000, sizeof(v[0]), by_value);
	assert_int_equal(r.n, 10000);
	assert_int_equal(r.min_ns, v[0]);
	assert_int_equal(r.max_ns, v[9999]);
	assert_true(r.mean_ns > sum / 10000 * 0.999999 && r.mean_ns < sum / 10000 * 1.000001);
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
		double want = (double)v[(int)(q[i] * 10000) - 1];
		double got = (double)vns_probe_rtt_quantile(&r, q[i]);

		if (got < want * 0.99 - 1 || got > want * 1.01 + 1)
			fail_msg("quantile %.2f: %.0f, truth %.0f", q[i], got, want);
	}
}

static void proc_stat(void **state)
{
	struct vns_agent_usage u;

	(void)state;
	assert_int_equal(vns_usage_parse("cpu  10 20 30 400 5 6 7 8 9 10\n", 100, &u), 0);
	assert_int_equal(u.cpu_total_ns, (10 + 20 + 30 + 400 + 5 + 6 + 7 + 8) * INT64_C(10000000));
	assert_int_equal(u.cpu_idle_ns, 405 * INT64_C(10000000));
	assert_int_equal(u.cpu_steal_ns, 8 * INT64_C(10000000));
	assert_int_equal(vns_usage_parse("cpu0 1 2 3 4 5 6 7 8\n", 100, &u), -EINVAL);
	assert_int_equal(vns_usage_parse("cpu  1 2 3\n", 100, &u), -EINVAL);
}

/* A guest could send its host's terminal orders. */
static void test_strings_hold_no_controls(void **state)
{
	static const char said[] = "tsc\n\x1b[2J\x7f\xc3\xa9";
	uint8_t body[64];
	char heard[32];
	struct vns_cursor c;

	(void)state;
	vns_cursor_init(&c, body, sizeof(body));
	vns_put_str(&c, said);
	vns_cursor_init_const(&c, body, sizeof(body));
	vns_get_str(&c, heard, sizeof(heard));
	assert_string_equal(heard, "tsc  [2J \xc3\xa9");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings_hold_no_controls),
		cmocka_unit_test(packet_has_no_new_fields),
		cmocka_unit_test(packets_survive),
		cmocka_unit_test(packet_layout),
		cmocka_unit_test(packets_that_would_index_out_are_refused),
		cmocka_unit_test(batches),
		cmocka_unit_test(frames_of_any_cut),
		cmocka_unit_test(big_frames_fit),
		cmocka_unit_test(limits),
		cmocka_unit_test(document_agrees),
		cmocka_unit_test(clock_state),
		cmocka_unit_test(hello_reply),
		cmocka_unit_test(other_bodies),
		cmocka_unit_test(counters_survive),
		cmocka_unit_test(nan_is_refused),
		cmocka_unit_test(ptp_mapping),
		cmocka_unit_test(md5_of_the_rfc),
		cmocka_unit_test(rtt_summary),
		cmocka_unit_test(proc_stat),
	};
	const char *seed = getenv("VNS_SEED");

	rng_state = seed ? strtoull(seed, NULL, 0) : 1;
	printf("VNS_SEED=0x%llx\n", (unsigned long long)rng_state);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
