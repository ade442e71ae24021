// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What one look for a step of a clock tells of the gaps after it (lib/measure/vo_stretch.c), held to a look at each:
 * the median by sorting, of all pairs from there on. Where it is called steady no look may see a step, and steady
 * traffic must need few looks, however many gaps it has.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "measure/vo_stretch.h"

#define PACKETS 20000
#define JUMP    1000

static int64_t diff[PACKETS]; /* t_B - t_A of packet i, which is i in both files */
static bool paired[PACKETS];  /* has it a twin? */
static uint64_t seed;

static uint64_t draw(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static int by_value(const void *pa, const void *pb)
{
	int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

	return (a > b) - (a < b);
}

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* As a look from @at on sees it. */
static bool shows_step(size_t at, int64_t offset)
{
	static int64_t v[TWIN_EARLIEST];
	size_t n = 0;

	for (size_t i = at; i < min_of(at + VO_LOOK, PACKETS) && n < TWIN_EARLIEST; i++)
		if (paired[i])
			v[n++] = diff[i];
	if (n == 0)
		return false;
	qsort(v, n, sizeof(*v), by_value);
	return llabs(v[n / 2] - offset) > JUMP;
}

static void look(struct vo_stretch *s, size_t at, int64_t offset)
{
	size_t end = min_of(at + VO_LOOK, PACKETS);

	s->n = 0;
	for (int p = 0; p < 2; p++) {
		s->at[p] = at;
		s->end[p] = end;
		s->all[p] = end == PACKETS;
	}
	for (size_t i = at; i < end; i++)
		if (paired[i])
			s->pair[s->n++] = (struct twin_coarse_pair){ i - at, i - at, diff[i] };
	vo_stretch_count(s, offset, JUMP);
}

/*
 * Gaps before every @every-th packet; the engine keeps to its offset, or follows each step. @judge: hold each gap to
 * the sorted pairs. Return: looks.
 */
static size_t go(size_t every, bool judge, bool follows)
{
	struct vo_stretch *s = calloc(1, sizeof(*s));
	int64_t offset = diff[0];
	size_t looks = 0;

	assert_non_null(s);
	for (size_t i = 0; i < PACKETS; i += every) {
		const uint64_t at[] = { i, i };
		bool step = judge && shows_step(i, offset);

		if (vo_stretch_is_steady(s, at, offset, JUMP)) {
			assert_false(step);
			continue;
		}
		looks++;
		look(s, i, offset);
		if (step && follows)
			offset = diff[i];
	}
	free(s);
	return looks;
}

/* One in @one_in packets has a twin; @far in 1000 of them come late; @steps steps of the clock. */
static void make(uint64_t one_in, uint64_t far, size_t steps)
{
	int64_t offset = 0;

	for (size_t i = 0; i < PACKETS; i++) {
		if (steps && i && i % (PACKETS / (steps + 1)) == 0)
			offset += draw(2) ? 5 * JUMP : -3 * JUMP;
		paired[i] = draw(one_in) == 0;
		diff[i] = offset + (int64_t)draw(JUMP) - JUMP / 2 + (draw(1000) < far ? 9 * JUMP : 0);
	}
	diff[0] = 0;
}

static void steady_is_never_a_step(void **state)
{
	static const uint64_t one_in[] = { 1, 3, 12 }, far[] = { 0, 100, 400, 600 };

	(void)state;
	seed = 1;
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 4; k++)
			for (size_t steps = 0; steps < 4; steps++) {
				make(one_in[i], far[k], steps);
				go(53, true, steps & 1);
			}
}

/* Of 20,000 gaps. Where few packets have a twin, less is sure of what lies beyond a look. */
static void steady_traffic_needs_few_looks(void **state)
{
	(void)state;
	seed = 7;
	make(1, 0, 0);
	assert_in_range(go(1, false, false), PACKETS / VO_LOOK, 20);
	make(1, 100, 0);
	assert_in_range(go(1, false, false), PACKETS / VO_LOOK, 20);
	make(12, 100, 0);
	assert_in_range(go(1, false, false), PACKETS / VO_LOOK, 1000);
}

/* An engine that has moved its offset by half a jump, one way or the other, since the look. */
static void the_offset_of_now_counts(void **state)
{
	struct vo_stretch *s = calloc(1, sizeof(*s));
	const uint64_t at[] = { 5, 5 };

	(void)state;
	assert_non_null(s);
	seed = 9;
	make(1, 0, 0);
	look(s, 0, 0);
	assert_true(vo_stretch_is_steady(s, at, JUMP / 4, JUMP));
	assert_false(vo_stretch_is_steady(s, at, JUMP, JUMP));
	assert_false(vo_stretch_is_steady(s, at, -JUMP, JUMP));
	assert_false(vo_stretch_is_steady(s, at, INT64_MIN, JUMP));
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steady_is_never_a_step),
		cmocka_unit_test(steady_traffic_needs_few_looks),
		cmocka_unit_test(the_offset_of_now_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
