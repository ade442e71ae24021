// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Samples of both directions wait for each other's order in rings (lib/measure/vo_offline.c): a full one
 * lets go of its oldest only. Emptied farther, what comes a little late could not be paired, and whoever
 * empties it is away for long.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <cmocka.h>

#include "base/reserve.h"
#include "measure/vo_offline.h"

#define STEP_NS 1000

static struct vns_vo_sample sample(unsigned int direction, int64_t at)
{
	return (struct vns_vo_sample){ .host_ns = at * STEP_NS, .flow = 7, .proto = VNS_PROTO_TCP,
				       .direction = (uint8_t)direction };
}

static void a_full_ring_keeps_what_it_can(void **state)
{
	struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS] = { 0 };
	struct vns_vo_sum sum[VNS_PROTOS] = { 0 };
	struct vo_offline *r = calloc(1, sizeof(*r));
	struct vns_vo_sample s;
	struct vns_clock *clock;
	struct rlimit had, none;

	(void)state;
	assert_non_null(r);
	assert_int_equal(vns_clock_new(&clock, VNS_CLOCK_SAME), 0);
	assert_int_equal(vns_clock_set_fixed(clock, 0, 0, 0, 0), 0);
	assert_int_equal(vns_clock_solve(clock), 0);
	assert_int_equal(vns_vo_tally_init(&r->tally, clock, fig, sum), 0);
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		r->ring[d] = (struct vo_ring){ .s = vns_reserve(VO_RING, sizeof(s)), .size = VO_RING,
					       .done_ns = INT64_MIN };
	for (int64_t i = 0; i <= VO_RING; i++) { /* one more than has room */
		for (unsigned int d = 0; d < VNS_DIRECTIONS; d++) {
			s = sample(d, 2 * i + d);
			vo_take_samples(r, &s, 1);
		}
	}
	for (unsigned int d = 0; d < VNS_DIRECTIONS; d++) {
		assert_true(r->ring[d].n > VO_RING - 256);
		s = sample(d, VO_RING); /* as far behind as half the ring */
		vo_take_samples(r, &s, 1);
		assert_int_equal(r->ring[d].late, 0);
	}
	s = sample(VNS_HOST_TO_GUEST, 0); /* of before all that wait */
	vo_take_samples(r, &s, 1);
	assert_int_equal(r->ring[VNS_HOST_TO_GUEST].late, 1);
	/* no memory for a larger one: its oldest leave, and none is overwritten */
	while (r->ring[0].n < r->ring[0].size) {
		s = sample(0, 3 * VO_RING);
		vo_take_samples(r, &s, 1);
	}
	assert_int_equal(getrlimit(RLIMIT_AS, &had), 0);
	none = (struct rlimit){ 0, had.rlim_max };
	r->ring[0].grow = true;
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	vo_take_samples(r, &s, 1);
	assert_int_equal(setrlimit(RLIMIT_AS, &had), 0);
	assert_int_equal(r->ring[0].size, VO_RING);
	assert_true(r->ring[0].n <= VO_RING && !r->ring[0].grow);
	vns_vo_tally_fini(&r->tally);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		vns_unreserve(r->ring[d].s);
		for (int p = 0; p < VNS_PROTOS; p++) {
			vns_dist_fini(&fig[d][p].first);
			vns_dist_fini(&fig[d][p].last);
		}
	}
	for (int p = 0; p < VNS_PROTOS; p++)
		vns_dist_fini(&sum[p].paired);
	vns_clock_free(clock);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_ring_keeps_what_it_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
