// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The flow table against an array: random inserts, look-ups, moves and removals, with hashes
 * so poor that probe clusters are long and wrap around the end of the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flow/table.h"

enum { KEYS = 600 };

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static struct vns_flow_key key_of(uint32_t i)
{
	struct vns_flow_key k = { .ipproto = 6, .family = 4 };

	memcpy(k.addr[0].b, &i, sizeof(i));
	return k;
}

/* A table whose secret is known, so that clusters can be made. */
#define SECRET UINT64_C(0x9e3779b97f4a7c15)

static void known_table(struct vns_flow_table *t, uint32_t max_flows, int64_t tick_ns)
{
	assert_int_equal(vns_flow_table_init(t, max_flows, tick_ns), 0);
	t->secret = SECRET;
}

/* The hash whose tag is @tag: the inverse of vns_flow_tag()'s multiplication. */
static uint64_t hash_with_tag(uint32_t tag)
{
	const uint64_t inverse = UINT64_C(0xf1de83e19937733d);

	return ((uint64_t)tag << 32) * inverse;
}

/* Homes on eight slots around the end of the first 1024, four keys to the same tag. */
static uint64_t hash_of(uint32_t i)
{
	return hash_with_tag(i / 32 + (((1020 + i % 8) & 1023) << 22));
}

static void test_hash_helper(void **state)
{
	struct vns_flow_table t;

	(void)state;
	known_table(&t, 1, 1);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(vns_flow_tag(&t, hash_with_tag(i * 2654435761u)), i * 2654435761u);
	vns_flow_table_fini(&t);
}

/* Hashes chosen to meet in one place of one table are spread in every other. */
static void test_chosen_hashes(void **state)
{
	uint64_t longest = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct vns_flow_table t;
		uint32_t run = 0;

		assert_int_equal(vns_flow_table_init(&t, 4096, 1), 0);
		for (uint32_t i = 0; i < 250; i++) {
			struct vns_flow_key k = key_of(i);

			vns_flow_insert(&t, hash_with_tag(7u << 22 | (next_random() & 0x3fffff)), &k, 0);
		}
		for (uint32_t i = 0; i <= t.mask; i++) {
			run = t.slot[i] == VNS_FLOW_EMPTY ? 0 : run + 1;
			longest = run > longest ? run : longest;
		}
		vns_flow_table_fini(&t);
	}
	assert_in_range(longest, 1, 100); /* in the table that they are for: 250 */
}

static void check_lists(const struct vns_flow_table *t)
{
	uint32_t seen = 0;

	for (int list = 0; list < VNS_FLOW_LISTS; list++) {
		uint32_t prev = VNS_FLOW_NONE;

		for (uint32_t id = t->front[list]; id != VNS_FLOW_NONE; id = t->head[id].next) {
			assert_int_equal(t->head[id].prev, prev);
			assert_int_equal(t->head[id].list, list);
			prev = id;
			assert_true(++seen <= t->live);
		}
		assert_int_equal(t->back[list], prev);
	}
	assert_int_equal(seen, t->live);
}

static uint32_t stale_guess[KEYS];

static void random_step(struct vns_flow_table *t, uint32_t *id_of, int64_t now)
{
	uint32_t i = next_random() % KEYS;
	struct vns_flow_key k = key_of(i);

	assert_int_equal(vns_flow_find(t, hash_of(i), &k), id_of[i]);
	/* any guess, stale or not, ends at the right id */
	assert_int_equal(vns_flow_find_guessed(t, hash_of(i), &k, stale_guess[i]), id_of[i]);
	stale_guess[i] = vns_flow_guess(t, hash_of(i));
	if (id_of[i] == VNS_FLOW_NONE) {
		uint32_t live = t->live;

		id_of[i] = vns_flow_insert(t, hash_of(i), &k, now);
		assert_true((id_of[i] == VNS_FLOW_NONE) == (live == t->max));
		return;
	}
	switch (next_random() % 4) {
	case 0:
		vns_flow_remove(t, id_of[i]);
		id_of[i] = VNS_FLOW_NONE;
		break;
	case 1:
		vns_flow_move(t, id_of[i], VNS_FLOW_CLOSED);
		break;
	default:
		vns_flow_touch(t, id_of[i], now);
		assert_int_equal(t->head[id_of[i]].last_ns, now);
	}
}

static void test_random_steps(void **state)
{
	static uint32_t id_of[KEYS];
	struct vns_flow_table t;

	(void)state;
	memset(id_of, 0xff, sizeof(id_of));
	memset(stale_guess, 0xff, sizeof(stale_guess));
	known_table(&t, 450, 1000);
	for (int64_t now = 0; now < 30000; now++) {
		random_step(&t, id_of, now * 7);
		if (now % 1000 == 0)
			check_lists(&t);
	}
	for (uint32_t i = 0; i < KEYS; i++) {
		struct vns_flow_key k = key_of(i);

		assert_int_equal(vns_flow_find(&t, hash_of(i), &k), id_of[i]);
	}
	assert_true(t.used <= 450);
	vns_flow_table_fini(&t);
}

/* The back is the longest idle to within a tick. */
static void test_age_order(void **state)
{
	enum { N = 100, TICK = 50 };
	struct vns_flow_table t;
	uint32_t id[N];

	(void)state;
	known_table(&t, N, TICK);
	for (uint32_t i = 0; i < N; i++) {
		struct vns_flow_key k = key_of(i);

		id[i] = vns_flow_insert(&t, hash_of(i), &k, 0);
		vns_flow_touch(&t, id[i], 0);
	}
	for (int64_t now = 1; now < 20000; now++) {
		int64_t oldest = INT64_MAX;

		vns_flow_touch(&t, id[next_random() % N], now);
		for (uint32_t i = 0; i < N; i++)
			if (t.head[id[i]].last_ns < oldest)
				oldest = t.head[id[i]].last_ns;
		assert_true(t.head[t.back[VNS_FLOW_OPEN]].last_ns - oldest < TICK);
	}
	vns_flow_table_fini(&t);
}

/* Growth keeps everything findable; ids are dense. */
static void test_growth(void **state)
{
	enum { N = 50000 };
	struct vns_flow_table t;

	(void)state;
	assert_int_equal(vns_flow_table_init(&t, N, 1), 0);
	for (uint32_t i = 0; i < N; i++) {
		struct vns_flow_key k = key_of(i);

		assert_int_equal(vns_flow_insert(&t, i, &k, i), i);
	}
	for (uint32_t i = 0; i < N; i++) {
		struct vns_flow_key k = key_of(i);

		assert_int_equal(vns_flow_find(&t, i, &k), i);
	}
	assert_true(t.mask + 1 >= 4 * N && t.mask + 1 <= 8 * N);
	vns_flow_table_fini(&t);
}

/* A quarter of 2^18 slots, and what a guess without a branch finds: with one id less the table is as full as it gets. */
static void test_guess(void **state)
{
	enum { FULL = 1 << 16 };
	static uint64_t hash[FULL];
	struct vns_flow_table t;
	uint32_t right = 0;

	(void)state;
	assert_int_equal(vns_flow_table_init(&t, 2 * FULL, 1), 0);
	t.secret = 1; /* not by chance */
	for (uint32_t i = 0; i < FULL; i++) {
		struct vns_flow_key k = key_of(i);

		hash[i] = (uint64_t)(next_random() << 8 ^ next_random()) << 32;
		if (i + 1 == FULL) /* its mark is all ones, as its id's bits would be: an empty slot, it seemed */
			hash[i] |= UINT64_C(0xffff) << 32;
		assert_int_equal(vns_flow_insert(&t, hash[i], &k, i), i);
		if (i + 2 == FULL)
			assert_int_equal(t.mask + 1, 4 * FULL);
	}
	assert_int_equal(t.mask + 1, 8 * FULL);
	for (uint32_t i = 0; i < FULL; i++) {
		struct vns_flow_key k = key_of(i);
		uint32_t guess = vns_flow_guess(&t, hash[i]);

		assert_true(guess == VNS_FLOW_NONE || guess < t.used);
		right += guess == i;
		assert_int_equal(vns_flow_find_guessed(&t, hash[i], &k, guess), i);
	}
	assert_true(right > FULL / 100 * 99);
	print_message("%u of %u guessed\n", right, FULL);
	for (uint32_t i = 0; i < FULL; i += 2)
		vns_flow_remove(&t, i);
	for (uint32_t i = 0; i < FULL; i++) {
		struct vns_flow_key k = key_of(i);

		assert_int_equal(vns_flow_find(&t, hash[i], &k), i % 2 ? i : VNS_FLOW_NONE);
	}
	vns_flow_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hash_helper),
		cmocka_unit_test(test_chosen_hashes),
		cmocka_unit_test(test_random_steps),
		cmocka_unit_test(test_age_order),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_guess),
	};

	return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
