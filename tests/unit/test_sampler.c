// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * packet/sample.h: a frame or datagram is chosen with the first of its pieces, and later fragments follow that.
 */
#include "frames.h"
#include "packet/sample.h"

#define SECOND_NS INT64_C(1000000000)

/* IPv4 and UDP, of datagram @id, whose payload begins with it; a first fragment if @more, at @off a later one. */
static struct vns_packet datagram(unsigned int id, uint32_t payload, bool more, unsigned int off, int64_t at_ns)
{
	struct vns_packet p;
	struct bytes f;

	make_udp4(&f, payload);
	f.b[18] = (uint8_t)(id >> 8);
	f.b[19] = (uint8_t)id;
	f.b[20] = (uint8_t)((more ? 0x20 : 0) | off >> 11);
	f.b[21] = (uint8_t)(off >> 3);
	f.b[42] = (uint8_t)(id >> 8);
	f.b[43] = (uint8_t)id;
	p = decode(&f);
	p.time_ns = at_ns;
	return p;
}

static void test_whole_and_first_piece(void **state)
{
	unsigned int taken = 0;

	for (unsigned int id = 1; id <= 4000; id++) {
		struct vns_packet whole = datagram(id, 1900, false, 0, 0), first = datagram(id, 1200, true, 0, 0);
		struct vns_packet frame = datagram(id, 1899, false, 0, 0);

		assert_int_not_equal(whole.digest, first.digest);
		for (uint32_t n = 2; n <= 64; n *= 2) {
			assert_int_equal(vns_packet_sampled(&whole, n), vns_packet_sampled(&first, n));
			assert_int_equal(vns_packet_sampled(&whole, n), vns_packet_sampled(&frame, n));
		}
		taken += vns_packet_sampled(&whole, 4);
	}
	assert_in_range(taken, 863, 1137); /* 1000, five standard deviations of 27 */
	(void)state;
}

static void test_later_fragments_follow(void **state)
{
	static struct vns_sampler s;
	unsigned int taken = 0;

	for (unsigned int id = 1; id <= 1000; id++) {
		int64_t at = id * SECOND_NS / 1000;
		struct vns_packet first = datagram(id, 1400, true, 0, at);
		struct vns_packet later = datagram(id, 1400, false, 1480, at + 1);
		struct vns_packet other = datagram(id + 20000, 1400, false, 1480, at + 1);
		bool yes = vns_sampler_takes(&s, &first, 4);

		assert_int_equal(later.verdict, VNS_PKT_FRAGMENT);
		assert_int_equal(vns_sampler_takes(&s, &later, 4), yes);
		assert_int_equal(vns_sampler_takes(&s, &later, 4), yes);
		assert_false(vns_sampler_takes(&s, &other, 4)); /* its first was not seen */
		later.time_ns = at + 2 * SECOND_NS; /* the number may be another's by now */
		assert_false(vns_sampler_takes(&s, &later, 4));
		later.time_ns = INT64_MIN;
		assert_false(vns_sampler_takes(&s, &later, 4));
		assert_true(vns_sampler_takes(&s, &other, 1));
		taken += yes;
	}
	assert_in_range(taken, 182, 318); /* 250, five standard deviations of 14 */
	(void)state;
}

/* One that came before its first was left out: its copies, which come behind it, must be too, or one is its twin. */
static void test_overtaken_first(void **state)
{
	static struct vns_sampler s;
	unsigned int taken = 0;

	for (unsigned int id = 1; id <= 1000; id++) {
		int64_t at = id * SECOND_NS / 1000;
		struct vns_packet later = datagram(id, 1400, false, 1480, at);
		struct vns_packet first = datagram(id, 1400, true, 0, at + 1);
		struct vns_packet next = datagram(id, 1400, false, 2960, at + 2);

		assert_false(vns_sampler_takes(&s, &later, 4));
		assert_int_equal(vns_sampler_takes(&s, &first, 4), vns_packet_sampled(&first, 4));
		assert_false(vns_sampler_takes(&s, &next, 4));
		assert_false(vns_sampler_takes(&s, &later, 4));
		first.time_ns = later.time_ns = at + 2 * SECOND_NS; /* another datagram of this number */
		taken += vns_sampler_takes(&s, &first, 4);
		assert_int_equal(vns_sampler_takes(&s, &later, 4), vns_packet_sampled(&first, 4));
	}
	assert_in_range(taken, 182, 318); /* 250, five standard deviations of 14 */
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_and_first_piece),
		cmocka_unit_test(test_later_fragments_follow),
		cmocka_unit_test(test_overtaken_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
