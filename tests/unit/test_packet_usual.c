// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The short way through the decoder (lib/packet/usual.h) against the layers that define it: every
 * field of the struct the same, for usual frames, for frames with one bit or byte changed, cut and
 * padded ones. Both ways must have been taken often.
 */
#include <stdio.h>

#include "frames.h"
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
	return s.wire >= s.cap && vns_decode_usual(&p, s);
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
		cmocka_unit_test(test_cut_frames),
	};

	return cmocka_run_group_tests_name("packet_usual", tests, NULL, NULL);
}
