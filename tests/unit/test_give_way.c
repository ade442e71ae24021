// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A thread gives way, comes back at the end, or at once when others find that it starves; another class
 * than the ordinary one is left alone.
 */
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <vnetscope/base.h>

#include "measure/give_way.h"

static void gives_way_and_comes_back(void **state)
{
	struct give_way g = { 0 };

	(void)state;
	give_way_begin(&g);
	if (!g.idle)
		skip(); /* the way back is forbidden here */
	assert_int_equal(sched_getscheduler(0), SCHED_IDLE);
	give_way_watch(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_IDLE);
	give_way_end(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

static void does_not_starve(void **state)
{
	struct give_way g = { 0 };

	(void)state;
	give_way_begin(&g);
	if (!g.idle)
		skip();
	g.alive_ns -= VNS_NSEC_PER_SEC;
	give_way_watch(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_false(g.idle);
	give_way_end(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *wants_the_lock(void *turns)
{
	give_way_lock(turns);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Whoever would watch waits for a lock that the starving thread holds. */
static void does_not_starve_with_a_lock(void **state)
{
	struct give_way g = { 0 };
	struct give_way_turns turns = { &g, &lock, PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread;

	(void)state;
	give_way_begin(&g);
	if (!g.idle)
		skip();
	pthread_mutex_lock(&lock);
	g.alive_ns -= VNS_NSEC_PER_SEC;
	assert_int_equal(pthread_create(&thread, NULL, wants_the_lock, &turns), 0);
	for (int i = 0; i < 500 && g.idle; i++)
		vns_sleep_ns(10 * VNS_NSEC_PER_MSEC);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	give_way_end(&g);
}

static int had_it;

static void *has_the_lock_once(void *turns)
{
	give_way_lock(turns);
	had_it = 1;
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* The reading thread wants it again at once, as with more packets to read; who waits has it before. */
static void takes_turns(void **state)
{
	struct give_way g = { 0 };
	struct give_way_turns turns = { &g, &lock, PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread;

	(void)state;
	give_way_lock_reading(&turns);
	assert_int_equal(pthread_create(&thread, NULL, has_the_lock_once, &turns), 0);
	while (pthread_mutex_trylock(&turns.next) == 0) { /* until it waits */
		pthread_mutex_unlock(&turns.next);
		vns_sleep_ns(VNS_NSEC_PER_MSEC);
	}
	pthread_mutex_unlock(&lock);
	give_way_lock_reading(&turns);
	assert_int_equal(had_it, 1);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
}

static void leaves_another_class_alone(void **state)
{
	const struct sched_param none = { .sched_priority = 0 };
	struct give_way g = { 0 };

	(void)state;
	assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &none), 0);
	give_way_begin(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
	give_way_end(&g);
	assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
	assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &none), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_way_and_comes_back), cmocka_unit_test(does_not_starve),
		cmocka_unit_test(does_not_starve_with_a_lock),
		cmocka_unit_test(takes_turns), cmocka_unit_test(leaves_another_class_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
