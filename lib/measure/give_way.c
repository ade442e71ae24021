// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A thread that has time -> the idle scheduling class (SCHED_IDLE, sched(7)), as long as it keeps up there.
 *
 * Stamps are the kernel's and rings hold tenths of a second, so whoever reads them may be late; what it
 * observes may not: a transaction between two busy processors waits for every slice that we take. Whoever wakes
 * preempts the idle class at once. Where no processor is ever idle it gets next to nothing, so that
 * other threads watch it: not seen for LATE_NS, it is put back into the ordinary class for good. Somebody who chose
 * another class for us meant it. Schedulers that share out by group (cgroups, autogroup) know
 * "idle" within a group only: nothing is gained there, and nothing lost.
 */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <vnetscope/base.h>

#include "measure/give_way.h"

#define LATE_NS (100 * VNS_NSEC_PER_MSEC)

static bool set_class(pid_t tid, int class)
{
	const struct sched_param none = { .sched_priority = 0 };

	return sched_setscheduler(tid, class, &none) == 0;
}

/* The way back takes a right of its own (RLIMIT_NICE, CAP_SYS_NICE): try it where nothing is lost. */
static void *there_and_back(void *can)
{
	*(bool *)can = set_class(0, SCHED_IDLE) && set_class(0, SCHED_OTHER);
	return NULL;
}

void give_way_begin(struct give_way *g)
{
	bool can = false;
	pthread_t thread;

	if (sched_getscheduler(0) != SCHED_OTHER || pthread_create(&thread, NULL, there_and_back, &can))
		return;
	pthread_join(thread, NULL);
	if (!can || !set_class(0, SCHED_IDLE))
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

void give_way_end(struct give_way *g)
{
	if (atomic_exchange(&g->idle, false))
		set_class(0, SCHED_OTHER);
}
