// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The crew: jobs are done in order, each item once, with any number of helpers; a wait that nothing
 * can end says so; what is most urgent is done first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "measure/crew.h"

#define ITEMS 20000
#define SLOTS 4

/* A maker numbers items, a taker adds them up in the order it gets them. */
struct line {
	unsigned int slot[SLOTS], next;
	size_t head, n, filling;
	uint64_t mixed; /* depends on the order */
	unsigned int taken;
};

static bool can_make(void *ctx)
{
	struct line *l = ctx;

	l->filling = (l->head + l->n) % SLOTS;
	return l->n < SLOTS && l->next < ITEMS;
}

static void make(void *ctx)
{
	struct line *l = ctx;

	l->slot[l->filling] = l->next;
}

static void made(void *ctx)
{
	struct line *l = ctx;

	l->next++;
	l->n++;
}

static bool can_take(void *ctx)
{
	return ((struct line *)ctx)->n > 0;
}

static void take(void *ctx)
{
	struct line *l = ctx;

	l->mixed = l->mixed * 31 + l->slot[l->head];
}

static void taken(void *ctx)
{
	struct line *l = ctx;

	l->head = (l->head + 1) % SLOTS;
	l->n--;
	l->taken++;
}

static bool all_taken(void *ctx)
{
	return ((struct line *)ctx)->taken == ITEMS;
}

static bool never(void *ctx)
{
	(void)ctx;
	return false;
}

static void test_in_order(void **state)
{
	uint64_t want = 0;

	(void)state;
	for (unsigned int i = 0; i < ITEMS; i++)
		want = want * 31 + i;
	for (size_t helpers = 0; helpers < 4; helpers++) {
		struct line l = { 0 };
		struct vns_crew_job jobs[] = { { .ready = can_make, .run = make, .done = made, .ctx = &l },
					       { .ready = can_take, .run = take, .done = taken, .ctx = &l } };
		struct vns_crew *c;

		assert_int_equal(vns_crew_new(&c, jobs, 2, helpers, NULL), 0);
		vns_crew_lock(c);
		assert_true(vns_crew_wait(c, all_taken, &l));
		assert_false(vns_crew_wait(c, never, NULL)); /* all is done: it returns */
		vns_crew_unlock(c);
		vns_crew_free(c);
		assert_int_equal(l.taken, ITEMS);
		assert_true(l.mixed == want);
	}
}

/* The owner is the maker: it unlocks after each, and helpers must notice. */
static void test_owner_feeds(void **state)
{
	(void)state;
	for (size_t helpers = 0; helpers < 3; helpers++) {
		struct line l = { 0 };
		struct vns_crew_job jobs[] = { { .ready = can_take, .run = take, .done = taken, .ctx = &l } };
		struct vns_crew *c;
		uint64_t want = 0;

		assert_int_equal(vns_crew_new(&c, jobs, 1, helpers, NULL), 0);
		for (unsigned int i = 0; i < ITEMS; i++) {
			vns_crew_lock(c);
			assert_true(l.n < SLOTS || vns_crew_wait(c, can_make, &l));
			assert_true(can_make(&l));
			make(&l);
			made(&l);
			vns_crew_unlock(c);
			want = want * 31 + i;
		}
		vns_crew_lock(c);
		assert_true(vns_crew_wait(c, all_taken, &l));
		vns_crew_unlock(c);
		vns_crew_free(c);
		assert_true(l.mixed == want);
	}
}

/* Two jobs that are always ready: the one of which less has been done goes first. */
struct pair {
	unsigned int done[2];
	char order[9];
	unsigned int n;
};

struct half {
	struct pair *pair;
	int which;
};

static bool can_do(void *ctx)
{
	return ((struct half *)ctx)->pair->n < 8;
}

static unsigned int how_urgent(void *ctx)
{
	const struct half *h = ctx;

	return 100 - h->pair->done[h->which];
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void one_more(void *ctx)
{
	struct half *h = ctx;

	h->pair->done[h->which]++;
	h->pair->order[h->pair->n++] = (char)('a' + h->which);
}

static void test_urgent_first(void **state)
{
	struct pair p = { { 0, 4 }, "", 0 };
	struct half half[] = { { &p, 0 }, { &p, 1 } };
	struct vns_crew_job jobs[2];
	struct vns_crew *c;

	(void)state;
	for (int i = 0; i < 2; i++)
		jobs[i] = (struct vns_crew_job){ .ready = can_do, .run = nothing, .done = one_more,
						 .urgency = how_urgent, .ctx = &half[i] };
	assert_int_equal(vns_crew_new(&c, jobs, 2, 0, NULL), 0);
	vns_crew_lock(c);
	assert_false(vns_crew_wait(c, never, NULL));
	vns_crew_unlock(c);
	vns_crew_free(c);
	assert_string_equal(p.order, "aaaaabab"); /* of equal ones the first */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_owner_feeds),
		cmocka_unit_test(test_urgent_first),
	};

	return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
