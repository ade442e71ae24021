// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Frames of many datagrams among others of which some were lost: what keeps each of the engine's guards in its
 * place. A frame is named by its beginning; what is true of a case stands beside it.
 */
#include "packet/hash.h"
#include "twin_bench.h"

#define AT (2 * SEC) /* where cases begin, in the midst of other traffic */

/* Of @len bytes, which begin as number @n does. */
static struct vns_packet part(int64_t at, uint64_t n, uint32_t id, uint32_t len)
{
	struct vns_packet p = udp(AT + at, true, n, id);

	p.payload_len = len;
	p.digest += vns_length_term(len);
	return p;
}

static struct bench *begin(void)
{
	struct bench *b = open_default();

	talk(b, 0, 100, true);
	return b;
}

static void end(struct bench *b)
{
	talk(b, 3 * SEC, 400, true);
	done(b);
}

/* The only sample of @len bytes, NULL: none. */
static const struct vns_twin_sample *of_length(const struct bench *b, uint32_t len)
{
	const struct vns_twin_sample *found = NULL;

	for (size_t i = 0; i < b->n; i++) {
		if (b->s[i].payload_len != len)
			continue;
		assert_null(found);
		found = &b->s[i];
	}
	return found;
}

/*
 * Datagrams 10 to 14 of a frame of which the first is lost, and 11 to 14 of the next, whose last is lost: number 14 that
 * came is the first frame's.
 */
static void last_of_a_frame_without_its_first(void **state)
{
	struct bench *b = begin();

	(void)state;
	feed(b, VNS_POINT_A, part(0, 1, 10, 500));
	feed(b, VNS_POINT_A, part(20 * US, 2, 11, 400));
	for (uint32_t i = 0; i < 3; i++)
		feed(b, VNS_POINT_B, part((70 + i) * US, 2 + 10 * i, 11 + i, 100));
	feed(b, VNS_POINT_B, part(75 * US, 50, 14, 100));
	end(b);
	assert_non_null(of_length(b, 400));
	assert_int_equal(of_length(b, 400)->first_raw_ns, 50 * US);
	assert_false(of_length(b, 400)->has_last);
	drop(b);
}

/*
 * Of the frame with numbers 18 to 25 all but the first come late and joined; the next, 20 to 25, comes as four that were
 * joined and two that were not: the last of these is not the last of the first.
 */
static void last_of_a_frame_joined_in_part(void **state)
{
	struct bench *b = begin();

	(void)state;
	feed(b, VNS_POINT_A, part(0, 1, 18, 800));
	feed(b, VNS_POINT_A, part(20 * US, 2, 20, 600));
	feed(b, VNS_POINT_A, part(40 * US, 3, 40, 300));
	feed(b, VNS_POINT_B, part(50 * US, 1, 18, 100));
	feed(b, VNS_POINT_B, part(70 * US, 2, 20, 400));
	feed(b, VNS_POINT_B, part(71 * US, 30, 24, 100));
	feed(b, VNS_POINT_B, part(72 * US, 31, 25, 100));
	for (uint32_t i = 0; i < 3; i++)
		feed(b, VNS_POINT_B, part((90 + i) * US, 3 + 10 * i, 40 + i, 100));
	feed(b, VNS_POINT_B, part(500 * US, 40, 19, 700));
	end(b);
	assert_non_null(of_length(b, 800));
	assert_int_equal(of_length(b, 800)->first_raw_ns, 50 * US);
	assert_false(of_length(b, 800)->has_last);
	drop(b);
}

/*
 * Frames at both points, no numbers. Each loses a datagram of 100 bytes, the second its first, too, and the last its
 * first; two datagrams of the second come late, amid the others. So many bytes come as were sent from the third on, but
 * none of them is where its number of bytes would have it.
 */
static void bytes_that_add_up_where_some_are_lost(void **state)
{
	struct bench *b = begin();

	(void)state;
	feed(b, VNS_POINT_A, part(0, 1, 0, 1000));
	feed(b, VNS_POINT_A, part(10 * US, 2, 0, 600));
	feed(b, VNS_POINT_B, part(50 * US, 1, 0, 900));
	feed(b, VNS_POINT_A, part(2000 * US, 3, 0, 500));
	feed(b, VNS_POINT_A, part(2020 * US, 4, 0, 950));
	feed(b, VNS_POINT_B, part(2050 * US, 3, 0, 400));
	feed(b, VNS_POINT_B, part(2060 * US, 20, 0, 200));
	feed(b, VNS_POINT_B, part(2070 * US, 40, 0, 850));
	feed(b, VNS_POINT_A, part(2500 * US, 5, 0, 300)); /* what comes from here on is of other frames */
	feed(b, VNS_POINT_B, part(2550 * US, 5, 0, 300));
	end(b);
	assert_null(of_length(b, 950));
	assert_non_null(of_length(b, 500));
	assert_int_equal(of_length(b, 500)->first_raw_ns, 50 * US);
	assert_false(of_length(b, 500)->has_last);
	drop(b);
}

/*
 * Datagrams of zeros, which are joined downstream: 72 bytes that were sent, and 72 that come so much later than all else
 * does, look alike. But others began as they do, and frames were made of them.
 */
static void late_and_like_one_that_was_joined(void **state)
{
	struct bench *b = begin();

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		feed(b, VNS_POINT_A, part(i * US, 1, 0, 101));
	feed(b, VNS_POINT_A, part(3 * US, 1, 0, 72));
	feed(b, VNS_POINT_B, part(60 * US, 1, 0, 375));
	feed(b, VNS_POINT_A, part(30 * MS, 1, 0, 36));
	feed(b, VNS_POINT_A, part(30 * MS + US, 1, 0, 36));
	feed(b, VNS_POINT_B, part(30 * MS + 50 * US, 1, 0, 72));
	end(b);
	assert_null(of_length(b, 72));
	drop(b);
}

/* Of a frame of eight the second and the last are lost, and five come joined: these are not missing upstream. */
static void joined_after_a_loss_is_not_missing(void **state)
{
	struct bench *b = begin();

	(void)state;
	feed(b, VNS_POINT_A, part(0, 1, 18, 800));
	feed(b, VNS_POINT_B, part(50 * US, 1, 18, 100));
	feed(b, VNS_POINT_B, part(60 * US, 40, 20, 500));
	end(b);
	assert_non_null(of_length(b, 800));
	assert_false(of_length(b, 800)->has_last);
	assert_int_equal(b->c[VNS_POINT_B].in_class[VNS_TWIN_MISSING], 0);
	assert_int_equal(b->c[VNS_POINT_B].in_class[VNS_TWIN_AMBIGUOUS], 1);
	drop(b);
}

/*
 * Joined downstream, no numbers: three datagrams and a shorter one, of which the second was doubled, and another that
 * was sent after the shorter one. By number and bytes that one could be in the frame; but the shorter one ends it.
 */
static void not_behind_the_one_that_ends_it(void **state)
{
	struct bench *b = begin();

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		feed(b, VNS_POINT_A, part(i * US, 1 + 10 * i, 0, 100));
	feed(b, VNS_POINT_A, part(3 * US, 60, 0, 40));
	feed(b, VNS_POINT_A, part(10 * US, 70, 0, 100));
	feed(b, VNS_POINT_B, part(50 * US, 1, 0, 440));
	end(b);
	for (size_t i = 0; i < b->n; i++)
		assert_true(b->s[i].host_ns != T0 + AT + 10 * US);
	drop(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_of_a_frame_without_its_first),
		cmocka_unit_test(last_of_a_frame_joined_in_part),
		cmocka_unit_test(bytes_that_add_up_where_some_are_lost),
		cmocka_unit_test(late_and_like_one_that_was_joined),
		cmocka_unit_test(joined_after_a_loss_is_not_missing),
		cmocka_unit_test(not_behind_the_one_that_ends_it),
	};

	return cmocka_run_group_tests_name("twin_frames", tests, NULL, NULL);
}
