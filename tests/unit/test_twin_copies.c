// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Twins among packets that look alike, rule by rule: what keeps each of the engine's guards in its place.
 * Each case is made by hand, and what is true of it stands beside it.
 */
#include "packet/hash.h"
#include "twin_bench.h"

/* No sample of @proto may say anything else than @lag to within @error. Return: how many there are. */
static size_t all_took(struct bench *b, uint8_t proto, int64_t lag, int64_t error)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++) {
		int64_t took = b->s[i].direction == VNS_HOST_TO_GUEST ? b->s[i].first_raw_ns : -b->s[i].first_raw_ns;

		if (b->s[i].proto != proto)
			continue;
		assert_true(took >= lag - error && took <= lag + error);
		n++;
	}
	return n;
}

/* Its number is one that an earlier one bore, which was seen long before this was sent. */
static void a_number_may_be_of_an_earlier_one(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, 0, 100, true);
	feed(b, VNS_POINT_B, udp(2000 * MS, true, 1, 7)); /* not captured at A */
	feed(b, VNS_POINT_A, udp(2500 * MS, true, 1, 7)); /* lost */
	feed(b, VNS_POINT_A, udp(2505 * MS, true, 1, 8));
	feed(b, VNS_POINT_B, udp(2505 * MS + 50 * US, true, 1, 8));
	talk(b, 2600 * MS, 600, true);
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_UDP, 50 * US, 0), 2 * 700 + 1);
	drop(b);
}

/*
 * Two transmissions that agree in all that was heard are both held up for longer than packets take, so that
 * the first arrives just behind the second's sending.
 */
static void held_up_together(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, 0, 100, true);
	feed(b, VNS_POINT_A, tcp(2000 * MS, true, 1000, MSS, 0));
	feed(b, VNS_POINT_A, tcp(2030 * MS, true, 1000, MSS, 0));
	feed(b, VNS_POINT_B, tcp(2030500 * US, true, 1000, MSS, 0));
	feed(b, VNS_POINT_B, tcp(2060500 * US, true, 1000, MSS, 0));
	talk(b, 2100 * MS, 600, true);
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_TCP, 0, 0), 0);
	assert_int_equal(b->c[VNS_POINT_A].in_class[VNS_TWIN_AMBIGUOUS], 2);
	drop(b);
}

/* A pair that time chose by the clocks' relation is no evidence of that relation. */
static void what_was_chosen_proves_nothing(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, 0, 50, false);
	feed(b, VNS_POINT_A, udp(1260 * MS, true, 1, 0)); /* lost */
	feed(b, VNS_POINT_B, udp(1295 * MS, true, 1, 0));
	feed(b, VNS_POINT_A, udp(1300 * MS, true, 1, 0));
	talk(b, 1400 * MS, 400, false);
	done(b);
	assert_int_equal(vns_twin_offset(b->t), 0);
	drop(b);
}

/* Alike and sent under the first guess, which is 8 ms wrong; the first twin of all comes later, and shows it. */
static void from_under_the_first_guess(void **state)
{
	struct bench *b = open_default();
	const int64_t b_is = -8 * MS;

	(void)state;
	feed(b, VNS_POINT_A, udp(0, true, 1, 0));
	feed(b, VNS_POINT_B, udp(200 * US + b_is, true, 1, 0));
	feed(b, VNS_POINT_A, udp(25 * MS, true, 1, 0));
	feed(b, VNS_POINT_B, udp(25 * MS + 200 * US + b_is, true, 1, 0));
	for (int i = 0; i < 300; i++) {
		feed(b, VNS_POINT_A, udp((100 + i * 20) * MS, true, (uint64_t)i + 1000, 0));
		feed(b, VNS_POINT_B, udp((100 + i * 20) * MS + 200 * US + b_is, true, (uint64_t)i + 1000, 0));
	}
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_UDP, 200 * US + b_is, 0), 302);
	drop(b);
}

/* Of @len bytes that begin as all of these do. */
static struct vns_packet zeros(int64_t at, uint32_t id, uint32_t len)
{
	struct vns_packet p = udp(at, true, 1, id);

	p.payload_len = len;
	p.digest += vns_length_term(len);
	return p;
}

/*
 * Two frames of five datagrams of zeros: Linux numbers the datagrams of the first 10 to 14, of the second 11 to
 * 15. The second's first is lost: the first's second is not it.
 */
static void a_number_of_two_frames(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, 0, 100, true);
	feed(b, VNS_POINT_A, zeros(2 * SEC, 10, 500));
	feed(b, VNS_POINT_A, zeros(2 * SEC + 20 * US, 11, 500));
	for (uint32_t i = 0; i < 5; i++)
		feed(b, VNS_POINT_B, zeros(2 * SEC + (50 + i) * US, 10 + i, 100));
	for (uint32_t i = 1; i < 5; i++)
		feed(b, VNS_POINT_B, zeros(2 * SEC + (60 + i) * US, 11 + i, 100));
	talk(b, 3 * SEC, 400, true);
	done(b);
	for (size_t i = 0; i < b->n; i++)
		assert_true(b->s[i].host_ns != T0 + 2 * SEC + 20 * US);
	drop(b);
}

/* Sent again when the first, which is lost, is about to be given up: the second may still be under way then. */
static void sent_again_at_the_last_moment(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, -SEC, 50, true);
	feed(b, VNS_POINT_A, tcp_id(tcp(0, true, 1000, MSS, 0), 5));
	talk(b, 10 * MS, 249, true);
	feed(b, VNS_POINT_A, tcp_id(tcp(4999900 * US, true, 1000, MSS, 0), 6));
	talk(b, 5001 * MS, 1, true);
	feed(b, VNS_POINT_B, tcp_id(tcp(5010 * MS, true, 1000, MSS, 0), 6));
	talk(b, 5020 * MS, 300, true);
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_TCP, 10100 * US, 0), 1);
	assert_int_equal(b->c[VNS_POINT_A].in_class[VNS_TWIN_MISSING], 1);
	drop(b);
}

/* A segment took long, and was doubled; the first copy has been counted when the second comes. */
static void doubled_after_the_first_was_counted(void **state)
{
	(void)state;
	for (uint32_t again = 0; again < 2; again++) { /* alone, or with what came before it */
		struct bench *b = open_default();

		talk(b, -SEC, 50, true);
		feed(b, VNS_POINT_A, tcp(0, true, 1000, MSS, 5));
		talk(b, 10 * MS, 29, true);
		feed(b, VNS_POINT_B, tcp(600 * MS, true, 1000, MSS, 5));
		talk(b, 610 * MS, 69, true);
		feed(b, VNS_POINT_B, tcp(2 * SEC, true, 1000 - again * 100, MSS, 5));
		talk(b, 2100 * MS, 400, true);
		done(b);
		assert_int_equal(all_took(b, VNS_PROTO_TCP, 600 * MS, 0), 1);
		drop(b);
	}
}

/*
 * All take 15 ms, and a datagram is repeated every 40: never is it quiet for longer than packets take, so that a
 * share of them ends, and the next begins, between a sending and its arrival. Both are there: neither is missing.
 */
static void under_way_when_a_share_ends(void **state)
{
	struct vns_twin_opts o = { .window_ns = SEC };
	struct bench *b = open_with(&o);

	(void)state;
	for (int64_t ms = 0; ms < 1815; ms++) {
		struct vns_packet up = udp(ms * MS, ms & 1, 1000 + (uint64_t)ms, 0);
		struct vns_packet down = udp(ms * MS, ~ms & 1, 1000 + (uint64_t)ms - 15, 0);

		if (ms < 1800)
			feed(b, ms & 1 ? VNS_POINT_A : VNS_POINT_B, up);
		if (ms >= 15)
			feed(b, ms & 1 ? VNS_POINT_A : VNS_POINT_B, down);
		if (ms % 40 == 0 && ms < 1800)
			feed(b, VNS_POINT_A, udp(ms * MS + 100 * US, true, 1, 0));
		if (ms % 40 == 15)
			feed(b, VNS_POINT_B, udp(ms * MS + 100 * US, true, 1, 0));
	}
	done(b);
	assert_in_range(all_took(b, VNS_PROTO_UDP, 15 * MS, 0), 1830, 1844); /* of 1845: not what lies at the edge */
	assert_int_equal(b->c[VNS_POINT_A].in_class[VNS_TWIN_MISSING], 0);
	assert_int_equal(b->c[VNS_POINT_B].in_class[VNS_TWIN_MISSING], 0);
	drop(b);
}

/*
 * A datagram is repeated every 10 ms. When the first of them is given up, one is under way: it is decided with
 * those before it, and its twin is left with one that was sent later, and lost.
 */
static void left_over_of_a_share(void **state)
{
	struct vns_twin_opts o = { .window_ns = SEC };
	struct bench *b = open_with(&o);

	(void)state;
	for (int64_t ms = 0; ms < 1800; ms++) {
		struct vns_packet p = udp(ms * MS, ms & 1, 1000 + (uint64_t)ms, 0);

		feed(b, ms & 1 ? VNS_POINT_A : VNS_POINT_B, p);
		p.time_ns += 50 * US;
		feed(b, ms & 1 ? VNS_POINT_B : VNS_POINT_A, p);
		if (ms == 1010)
			feed(b, VNS_POINT_B, udp(ms * MS + 100 * US, true, 1, 0));
		if (ms == 1010)
			feed(b, VNS_POINT_A, udp(ms * MS + 300 * US, true, 1, 0));
		if (ms == 1009)
			feed(b, VNS_POINT_A, udp(ms * MS + 850 * US, true, 1, 0));
		if (ms % 10 != 9 || ms >= 1009)
			continue;
		feed(b, VNS_POINT_A, udp((ms - 9 ? ms * MS + 800 * US : 9880 * US), true, 1, 0));
		feed(b, VNS_POINT_B, udp(ms * MS + 930 * US, true, 1, 0));
	}
	done(b);
	for (size_t i = 0; i < b->n; i++)
		assert_true((b->s[i].direction == VNS_HOST_TO_GUEST) == (b->s[i].first_raw_ns > 0));
	drop(b);
}

/*
 * A datagram that is repeated takes 25 ms where all else takes 50 us: each is seen as many ms before the next is sent
 * as no clock is wrong by here, with quiet around the two. They are no pair.
 */
static void slower_than_all_else(void **state)
{
	struct vns_twin_opts o = { .window_ns = SEC };
	struct bench *b = open_with(&o);

	(void)state;
	for (int64_t ms = 0; ms < 1800; ms++) {
		struct vns_packet p = udp(ms * MS + 100 * US, ms & 1, 1000 + (uint64_t)ms, 0);

		if (ms % 40 == 0 && ms < 1760)
			feed(b, VNS_POINT_A, udp(ms * MS, true, 1, 0));
		if (ms % 40 == 25)
			feed(b, VNS_POINT_B, udp(ms * MS, true, 1, 0));
		feed(b, ms & 1 ? VNS_POINT_A : VNS_POINT_B, p);
		p.time_ns += 50 * US;
		feed(b, ms & 1 ? VNS_POINT_B : VNS_POINT_A, p);
	}
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_UDP, 50 * US, 0), 1800);
	drop(b);
}

/* A long frame reaches over a shorter one that was sent again from its midst: it still has all its pieces. */
static void reaches_over_another(void **state)
{
	struct bench *b = open_default();

	(void)state;
	talk(b, 0, 100, true);
	feed(b, VNS_POINT_A, tcp(2000 * MS, true, 1000, 10 * MSS, 5));
	feed(b, VNS_POINT_A, tcp(2001 * MS, true, 1000 + 4 * MSS, MSS, 6));
	for (uint32_t i = 0; i < 10; i++)
		feed(b, VNS_POINT_B, tcp(2002 * MS + i * US, true, 1000 + i * MSS, MSS, 5));
	feed(b, VNS_POINT_B, tcp(2003 * MS, true, 1000 + 4 * MSS, MSS, 6));
	talk(b, 2100 * MS, 600, true);
	done(b);
	assert_int_equal(all_took(b, VNS_PROTO_TCP, 2 * MS, 0), 2);
	for (size_t i = 0; i < b->n; i++)
		if (b->s[i].proto == VNS_PROTO_TCP && b->s[i].payload_len == 10 * MSS)
			assert_int_equal(b->s[i].last_raw_ns, 2 * MS + 9 * US);
	assert_int_equal(b->c[VNS_POINT_B].in_class[VNS_TWIN_MISSING], 0);
	drop(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_may_be_of_an_earlier_one),
		cmocka_unit_test(held_up_together),
		cmocka_unit_test(what_was_chosen_proves_nothing),
		cmocka_unit_test(from_under_the_first_guess),
		cmocka_unit_test(a_number_of_two_frames),
		cmocka_unit_test(sent_again_at_the_last_moment),
		cmocka_unit_test(doubled_after_the_first_was_counted),
		cmocka_unit_test(under_way_when_a_share_ends),
		cmocka_unit_test(left_over_of_a_share),
		cmocka_unit_test(slower_than_all_else),
		cmocka_unit_test(reaches_over_another),
	};

	return cmocka_run_group_tests_name("twin_copies", tests, NULL, NULL);
}
