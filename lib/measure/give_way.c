// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A thread that has time -> the idle scheduling class (SCHED_IDLE, sched(7)), as long as it keeps up there.
 *
 * Stamps are the kernel's and rings hold tenths of a second, so whoever reads them may be late; what it
 * observes may not: a transaction between two busy processors waits for every slice that we take. Whoever wakes
 * preempts the idle class at once. Where no processor is ever idle it gets next to nothing, so that
 * other threads watch it: not seen for LATE_NS, it is put back into the ordinary class for good; and it goes back
 * itself where that is not often enough (vo_pump.c). Somebody who chose
 * another class for us meant it. Schedulers that share out by group (cgroups, autogroup) know
 * "idle" within a group only: nothing is gained there, and nothing lost.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include <vnetscope/base.h>

#include "measure/give_way.h"

#define LATE_NS (100 * VNS_NSEC_PER_MSEC)
#define LOOK_NS (50 * VNS_NSEC_PER_MSEC) /* while a lock that it may hold is waited for */

static bool set_class(pid_t tid, int class)
{
	const struct sched_param none = { .sched_priority = 0 };

	return sched_setscheduler(tid, class, &none) == 0;
}

/* A thread to try it with, which sleeps meanwhile. */
struct trial {
	pid_t tid;
	sem_t here, done;
};

static void *be_there(void *arg)
{
	struct trial *t = arg;

	t->tid = gettid();
	sem_post(&t->here);
	while (sem_wait(&t->done))
		;
	return NULL;
}

/*
 * The way back takes a right of its own (RLIMIT_NICE, CAP_SYS_NICE): try it where nothing is lost. Not by a
 * thread that moves itself: on a busy machine it would have to wait for its turn in between.
 */
static bool can_come_back(void)
{
	struct trial t = { .tid = 0 };
	pthread_t thread;
	bool can = false;

	sem_init(&t.here, 0, 0);
	sem_init(&t.done, 0, 0);
	if (pthread_create(&thread, NULL, be_there, &t) == 0) {
		while (sem_wait(&t.here))
			;
		can = set_class(t.tid, SCHED_IDLE) && set_class(t.tid, SCHED_OTHER);
		sem_post(&t.done);
		pthread_join(thread, NULL);
	}
	sem_destroy(&t.here);
	sem_destroy(&t.done);
	return can;
}

void give_way_begin(struct give_way *g)
{
	if (sched_getscheduler(0) != SCHED_OTHER || !can_come_back() || !set_class(0, SCHED_IDLE))
		return;
	g->tid = gettid();
	give_way_alive(g);
	atomic_store(&g->idle, true);
}

void give_way_alive(struct give_way *g)
{
	atomic_store_explicit(&g->alive_ns, vns_monotonic_ns(), memory_order_relaxed);
}

void give_way_watch(struct give_way *g)
{
	if (atomic_load(&g->idle) &&
	    vns_monotonic_ns() - atomic_load_explicit(&g->alive_ns, memory_order_relaxed) > LATE_NS &&
	    set_class(g->tid, SCHED_OTHER))
		atomic_store(&g->idle, false);
}

void give_way_lock_reading(struct give_way_turns *t)
{
	pthread_mutex_lock(&t->next);
	pthread_mutex_lock(t->lock);
	pthread_mutex_unlock(&t->next);
}

/* As pthread_mutex_lock(). */
static void lock_watching(struct give_way *g, pthread_mutex_t *lock)
{
	while (pthread_mutex_trylock(lock)) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_NS;
		until.tv_sec += until.tv_nsec / VNS_NSEC_PER_SEC;
		until.tv_nsec %= VNS_NSEC_PER_SEC;
		if (pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &until) == 0)
			return;
		give_way_watch(g);
	}
}

void give_way_lock(struct give_way_turns *t)
{
	lock_watching(t->way, &t->next);
	lock_watching(t->way, t->lock);
	pthread_mutex_unlock(&t->next);
}

bool give_way_end(struct give_way *g)
{
	bool gave = atomic_exchange(&g->idle, false);

	if (gave)
		set_class(0, SCHED_OTHER);
	return gave;
}
