// SPDX-License-Identifier: GPL-3.0-or-later
/* What ends a live run or one of its epochs, as far as it needs no clock (vo_ending.c, vo_epoch.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "measure/vo_budget.h"
#include "measure/vo_ending.h"
#include "measure/vo_epoch.h"

#define OVER (INT64_C(1000) * VNS_NSEC_PER_SEC)
#define MS   VNS_NSEC_PER_MSEC

static void an_end_has_three_seconds(void **state)
{
	(void)state;
	assert_int_equal(vo_ending_left_ms(OVER, 0, OVER), 3000);
	assert_int_equal(vo_ending_left_ms(OVER, 0, OVER + 2500 * MS), 500);
	assert_int_equal(vo_ending_left_ms(OVER, 0, OVER + 3000 * MS), 0);
	assert_int_equal(vo_ending_left_ms(OVER, 0, OVER + 67000 * MS), 0);
}

/* However often the agent speaks: 0.9 s from the interrupt or the traffic's end, never beyond the 3 s. */
static void an_interrupt_leaves_less(void **state)
{
	(void)state;
	assert_int_equal(vo_ending_left_ms(OVER, OVER - 50 * MS, OVER), 900);
	assert_int_equal(vo_ending_left_ms(OVER, OVER + 1000 * MS, OVER + 1000 * MS), 900);
	assert_int_equal(vo_ending_left_ms(OVER, OVER + 1000 * MS, OVER + 1900 * MS), 0);
	assert_int_equal(vo_ending_left_ms(OVER, OVER + 2800 * MS, OVER + 2900 * MS), 100);
}

/* The guest 1 s ahead, known to 1 ms 10 s ago: 500 ppm of drift make that 6 ms, a margin of 20 ms. */
static void stamps_of_the_future_are_no_packets_of_now(void **state)
{
	struct vo_subject *v = calloc(1, sizeof(*v));
	int64_t now = OVER, guest = now + VNS_NSEC_PER_SEC;

	(void)state;
	assert_non_null(v);
	assert_false(vo_epoch_is_ahead(v, guest + 3600 * VNS_NSEC_PER_SEC, now)); /* nothing is known */
	v->known = true;
	v->in = (struct vo_bounds){ 999.0 * MS, 1001.0 * MS, now - 10 * VNS_NSEC_PER_SEC };
	assert_false(vo_epoch_is_ahead(v, guest, now));
	assert_false(vo_epoch_is_ahead(v, guest - 60 * VNS_NSEC_PER_SEC, now)); /* late is not ahead */
	assert_false(vo_epoch_is_ahead(v, guest + 25 * MS, now));
	assert_true(vo_epoch_is_ahead(v, guest + 27 * MS, now));
	assert_true(vo_epoch_is_ahead(v, guest + 3600 * VNS_NSEC_PER_SEC, now));
	free(v);
}

/* Why an engine gets no packet, so that the books add up to what was seen. */
static void every_packet_has_its_epoch(void **state)
{
	struct vo_subject *v = calloc(1, sizeof(*v));
	int64_t now = vns_now_ns();

	(void)state;
	assert_non_null(v);
	assert_int_equal(vo_epoch_of(v, now), VO_EPOCH_BEFORE); /* the guest is not reached yet */
	v->paired = v->known = true;
	v->epoch_from_ns = v->epoch_told_ns = v->epoch_guest_ns = now;
	v->in = (struct vo_bounds){ -1.0 * MS, 1.0 * MS, now };
	assert_int_equal(vo_epoch_of(v, now), VO_EPOCH_THIS);
	assert_int_equal(vo_epoch_of(v, now - 40 * MS), VO_EPOCH_BEFORE);
	assert_int_equal(vo_epoch_of(v, now + 60 * VNS_NSEC_PER_SEC), VO_EPOCH_AHEAD);
	v->paired = false;
	assert_int_equal(vo_epoch_of(v, now), VO_EPOCH_BEFORE);
	free(v);
}

/* While nothing comes from the guest, the host's packets count all the same. */
static void a_lost_guest_leaves_the_hosts_books_whole(void **state)
{
	struct vns_addr guest = { { [15] = 1 } }, other = { { [15] = 2 } };
	struct vo_subject *v = calloc(1, sizeof(*v));
	struct vns_packet p[4] = { 0 };
	const struct vns_twin_counts *c;

	(void)state;
	assert_non_null(v);
	v->own = (struct vns_subject){ .guest = &guest, .n_guest = 1 };
	v->s = &v->own;
	v->pair[0].subject = v;
	for (int i = 0; i < 4; i++)
		p[i].key.addr[0] = p[i].key.addr[1] = other;
	p[0].key.addr[0] = guest;
	p[1].key.addr[1] = guest;
	p[2].key.addr[1] = guest;
	p[2].verdict = VNS_PKT_NOT_IP;
	vo_pair_unseen(&v->pair[0], p, 4);
	c = &v->pair[0].counts[VNS_POINT_A];
	assert_int_equal(c->read, 4);
	assert_int_equal(c->in_class[VNS_TWIN_OUTSIDE_WINDOW], 2);
	assert_int_equal(c->in_class[VNS_TWIN_UNDECODABLE], 2);
	assert_int_equal(c->by_direction[0] + c->by_direction[1], 2);
	assert_int_equal(c->by_direction[0], 1);
	free(v);
}

static void fewer_packets_save_what_packets_cost(void **state)
{
	(void)state;
	assert_false(vo_budget_helps(0.08, 0.02, 0, 0));      /* no traffic */
	assert_false(vo_budget_helps(0.08, 0.02, 500, 0));    /* too little for so much */
	assert_true(vo_budget_helps(0.127, 0.02, 1200, 0));   /* it may: try */
	assert_true(vo_budget_helps(0.081, 0.02, 1200, 0.127)); /* it did */
	assert_false(vo_budget_helps(0.085, 0.02, 1200, 0.081));
	assert_true(vo_budget_helps(0.4, 0.02, 50000, 0.085)); /* new traffic */
}

static void edges_are_no_traffic_within_the_host(void **state)
{
	struct vo_pair *inner = calloc(1, sizeof(*inner)), *outer = calloc(1, sizeof(*outer));
	uint64_t *in, *out;

	(void)state;
	assert_true(inner && outer);
	in = inner->counts[VNS_POINT_B].in_class;
	out = outer->counts[VNS_POINT_B].in_class;
	in[VNS_TWIN_MATCHED] = 400;
	inner->payload_bytes = 400 * 64;
	out[VNS_TWIN_MATCHED] = 390;
	outer->payload_bytes = 390 * 64;
	out[VNS_TWIN_OUTSIDE_WINDOW] = 10;
	assert_false(vo_pair_sees_more(inner, outer)); /* all of it at the captures' edges */
	out[VNS_TWIN_OUTSIDE_WINDOW] = 0;
	out[VNS_TWIN_MISSING] = 10;
	assert_true(vo_pair_sees_more(inner, outer));
	in[VNS_TWIN_MISSING] = 10;
	assert_false(vo_pair_sees_more(inner, outer)); /* seen nowhere */
	free(inner);
	free(outer);
}

static void many_points_share_a_part_of_the_memory(void **state)
{
	const uint64_t gib = UINT64_C(1) << 30;

	(void)state;
	assert_int_equal(vns_vo_ring_bytes(1, gib), 32u << 20);
	assert_int_equal(vns_vo_ring_bytes(8, gib), 32u << 20);
	assert_int_equal(vns_vo_ring_bytes(16, gib), 16u << 20); /* 256 MiB together */
	assert_int_equal(vns_vo_ring_bytes(128, gib), 8u << 20); /* less would lose packets at once */
	assert_int_equal(vns_vo_ring_bytes(32, 16 * gib), 32u << 20); /* 1 GiB together */
	assert_int_equal(vns_vo_ring_bytes(128, 16 * gib), 8u << 20);
	assert_int_equal(vns_vo_ring_bytes(128, 32 * gib), 16u << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_has_three_seconds),
		cmocka_unit_test(many_points_share_a_part_of_the_memory),
		cmocka_unit_test(an_interrupt_leaves_less),
		cmocka_unit_test(fewer_packets_save_what_packets_cost),
		cmocka_unit_test(edges_are_no_traffic_within_the_host),
		cmocka_unit_test(stamps_of_the_future_are_no_packets_of_now),
		cmocka_unit_test(every_packet_has_its_epoch),
		cmocka_unit_test(a_lost_guest_leaves_the_hosts_books_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
