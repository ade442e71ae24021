/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread that reads the rings of a live run gives way to what it observes.
 */
#ifndef VNS_MEASURE_GIVE_WAY_H
#define VNS_MEASURE_GIVE_WAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* @idle: @tid is in the idle class by our doing; @alive_ns: it was seen running then; monotonic. */
struct give_way {
	atomic_bool idle;
	pid_t tid;
	_Atomic int64_t alive_ns;
};

/* A lock that the thread which gives way, @way, takes over and over. @next: held by whoever is next to have it. */
struct give_way_turns {
	struct give_way *way;
	pthread_mutex_t *lock, next;
};

/* The calling thread gives way from now on, if it is in the ordinary class and can come back. */
void give_way_begin(struct give_way *g);
/* By that thread, often. */
void give_way_alive(struct give_way *g);
/* By other threads, now and then: where it starves, it gives way no longer. */
void give_way_watch(struct give_way *g);
/*
 * By other threads: take the lock, and watch as long as that lasts: that thread may starve with it. Whoever waits is
 * next: where the reading thread always has more to read it would take the lock again before one that it woke has
 * come to run. Both are left by pthread_mutex_unlock().
 */
void give_way_lock(struct give_way_turns *t);
/* By that thread: take the lock after those that wait for it. */
void give_way_lock_reading(struct give_way_turns *t);
/* By that thread: back to what it was. Return: did it give way until now? */
bool give_way_end(struct give_way *g);

#endif
