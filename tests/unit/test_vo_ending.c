// SPDX-License-Identifier: GPL-3.0-or-later
/* What ends a live run, as far as it needs no clock: time left (vo_ending.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "measure/vo_ending.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_end_has_three_seconds),
		cmocka_unit_test(an_interrupt_leaves_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
