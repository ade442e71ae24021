// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * One interface, several packet sockets that share it out by flow (PACKET_FANOUT_HASH), a thread each
 * that reads and decodes -> one source in the order of time.
 *
 * Each lane is a queue that its thread fills and next() empties: one writer, one reader, two
 * counters. The lanes' heads are merged by time stamp. An empty lane holds the others up until its
 * thread has found its ring empty for so long that whatever comes is later: the ring's retire time
 * and the thread's own wait, LAG_NS. A queue that is full leaves packets to the kernel's ring,
 * which counts what it loses.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "source/live.h"
#include "source/source.h"

#define QUEUE      (1u << 15) /* packets: 4 MiB, 65 ms of 500,000 a second */
#define BATCH      256u
#define WAIT_MS    10
#define LAG_NS     (40 * VNS_NSEC_PER_MSEC)
#define FULL_NS    (200 * VNS_NSEC_PER_USEC)
#define TIMEOUT_MS 100
#define DONE       INT64_MAX

struct many;

/*
 * @head, @tail: packets put in and taken out, ever
 * @complete_ns: nothing earlier than that will still be put in; DONE: nothing at all, see @code
 */
struct lane {
	struct many *many;
	struct vns_source *source;
	pthread_t thread;
	bool runs;
	struct vns_packet *queue;
	_Atomic uint64_t head, tail;
	_Atomic int64_t complete_ns;
	int code;
	struct vns_err err;
	struct vns_source_stats stats; /* under the lock */
};

struct many {
	struct vns_source base;
	struct lane *lane;
	unsigned int n;
	pthread_mutex_t lock;
	pthread_cond_t progress;
	atomic_bool stop;
	int timeout_ms;
	bool told; /* why it ended */
};

/* Let the reader know: packets, completeness or the end. */
static void publish(struct lane *l)
{
	struct vns_source_stats stats;

	vns_source_stats(l->source, &stats);
	pthread_mutex_lock(&l->many->lock);
	l->stats = stats;
	pthread_cond_signal(&l->many->progress);
	pthread_mutex_unlock(&l->many->lock);
}

/* Read once into the free part of the queue. Return: false at the end. */
static bool read_lane(struct lane *l)
{
	uint64_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
	uint64_t room = QUEUE - (head - atomic_load_explicit(&l->tail, memory_order_acquire));
	size_t at = head % QUEUE, max = QUEUE - at < BATCH ? QUEUE - at : BATCH;
	int64_t now = vns_now_ns();
	int n;

	if (room < max) {
		vns_sleep_ns(FULL_NS);
		return true;
	}
	n = vns_source_next(l->source, l->queue + at, max, &l->err);
	if (n > 0)
		atomic_store_explicit(&l->head, head + (uint64_t)n, memory_order_release);
	else if (n == VNS_SOURCE_NONE)
		atomic_store_explicit(&l->complete_ns, now - LAG_NS, memory_order_release);
	else
		l->code = n;
	return n >= 0;
}

static void *run_lane(void *arg)
{
	struct lane *l = arg;

	while (!atomic_load_explicit(&l->many->stop, memory_order_relaxed) && read_lane(l))
		publish(l);
	atomic_store_explicit(&l->complete_ns, DONE, memory_order_release);
	publish(l);
	return NULL;
}

/* The lane whose next packet is the earliest of all, if that is certain. Return: NULL not yet. */
static struct lane *earliest(struct many *m, bool *ended)
{
	int64_t first_ns = INT64_MAX, least_ns = INT64_MAX;
	struct lane *first = NULL;

	for (unsigned int i = 0; i < m->n; i++) {
		struct lane *l = &m->lane[i];
		/* before the head: what is complete was put in before */
		int64_t complete_ns = atomic_load_explicit(&l->complete_ns, memory_order_acquire);
		uint64_t head = atomic_load_explicit(&l->head, memory_order_acquire);
		uint64_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

		if (head == tail) {
			least_ns = complete_ns < least_ns ? complete_ns : least_ns;
		} else if (l->queue[tail % QUEUE].time_ns < first_ns) {
			first_ns = l->queue[tail % QUEUE].time_ns;
			first = l;
		}
	}
	*ended = !first && least_ns == DONE;
	return first && first_ns <= least_ns ? first : NULL;
}

static size_t merge(struct many *m, struct vns_packet *out, size_t max, bool *ended)
{
	size_t n = 0;
	struct lane *l;

	*ended = false;
	while (n < max && (l = earliest(m, ended))) {
		uint64_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

		out[n++] = l->queue[tail % QUEUE];
		atomic_store_explicit(&l->tail, tail + 1, memory_order_release);
	}
	return n;
}

/* All lanes are empty and over: say why, once. */
static int the_end(struct many *m, struct vns_err *err)
{
	for (unsigned int i = 0; i < m->n && !m->told; i++) {
		struct lane *l = &m->lane[i];

		if (l->code == VNS_SOURCE_EOF || l->code >= 0)
			continue;
		m->told = true;
		return vns_err_set(err, l->code, "%s", l->err.text);
	}
	return VNS_SOURCE_EOF;
}

static void wait_until(struct many *m, const struct timespec *until)
{
	pthread_mutex_lock(&m->lock);
	pthread_cond_timedwait(&m->progress, &m->lock, until);
	pthread_mutex_unlock(&m->lock);
}

static int many_next(struct vns_source *s, struct vns_packet *out, size_t max, struct vns_err *err)
{
	struct many *m = (struct many *)s;
	int64_t end = vns_monotonic_ns() + m->timeout_ms * VNS_NSEC_PER_MSEC, now;
	bool ended;
	size_t n;

	while (!(n = merge(m, out, max > INT32_MAX ? INT32_MAX : max, &ended)) && !ended) {
		struct timespec until;

		now = vns_monotonic_ns();
		if (now >= end)
			return VNS_SOURCE_NONE;
		/* a signal may come between look and wait: look again soon */
		now = now + WAIT_MS * VNS_NSEC_PER_MSEC < end ?
		      now + WAIT_MS * VNS_NSEC_PER_MSEC : end;
		until = (struct timespec){ now / VNS_NSEC_PER_SEC, now % VNS_NSEC_PER_SEC };
		wait_until(m, &until);
	}
	return n ? (int)n : the_end(m, err);
}

static void many_refresh(struct vns_source *s)
{
	struct many *m = (struct many *)s;

	memset(&s->stats, 0, sizeof(s->stats));
	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->n; i++) {
		const struct vns_source_stats *l = &m->lane[i].stats;

		s->stats.frames += l->frames;
		s->stats.dropped += l->dropped;
		s->stats.bytes += l->bytes;
		s->stats.backwards += l->backwards;
		s->stats.resolution_ns = l->resolution_ns;
		vns_source_count_verdicts(s, l->verdicts);
	}
	pthread_mutex_unlock(&m->lock);
}

static void many_close(struct vns_source *s)
{
	struct many *m = (struct many *)s;

	atomic_store(&m->stop, true);
	for (unsigned int i = 0; i < m->n; i++) {
		if (m->lane[i].runs)
			pthread_join(m->lane[i].thread, NULL);
		vns_source_close(m->lane[i].source);
		free(m->lane[i].queue);
	}
	pthread_cond_destroy(&m->progress);
	pthread_mutex_destroy(&m->lock);
	free(m->lane);
	free(m);
}

static const char *many_point_name(const struct vns_source *s, uint16_t point)
{
	return vns_source_point_name(((const struct many *)s)->lane[0].source, point);
}

static const struct vns_source_ops many_ops = {
	.next = many_next, .refresh = many_refresh, .point_name = many_point_name,
	.close = many_close,
};

static int open_lane(struct many *m, struct lane *l, const char *ifname,
		     const struct vns_bpf_insn *filter, size_t n_filter,
		     struct vns_source_opts *o, struct vns_err *err)
{
	int rc;

	l->many = m;
	atomic_store(&l->complete_ns, INT64_MIN);
	l->queue = aligned_alloc(64, QUEUE * sizeof(*l->queue));
	if (!l->queue)
		return vns_err_set(err, -ENOMEM, "no memory to capture on %s", ifname);
	rc = vns_source_open_live_bpf(&l->source, ifname, filter, n_filter, o, err);
	if (rc)
		return rc;
	o->fanout = vns_live_fanout(l->source);
	if (!o->fanout) { /* the kernel shares nothing out: this one has all */
		m->n = 1;
		snprintf(m->base.sentence, sizeof(m->base.sentence), "%s", vns_source_sentence(l->source));
	}
	return 0;
}

/* Signals are the caller's. */
static int start_threads(struct many *m, struct vns_err *err)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned int i = 0; i < m->n && !rc; i++) {
		rc = -pthread_create(&m->lane[i].thread, NULL, run_lane, &m->lane[i]);
		m->lane[i].runs = !rc;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? vns_err_set(err, rc, "cannot start a thread to capture: %s", strerror(-rc)) : 0;
}

int vns_source_open_many(struct vns_source **out, const char *ifname,
			 const struct vns_bpf_insn *filter, size_t n_filter,
			 const struct vns_source_opts *opts, struct vns_err *err)
{
	struct many *m = calloc(1, sizeof(*m));
	struct vns_source_opts o = *opts;
	pthread_condattr_t monotonic;
	int rc = 0;

	if (m)
		m->lane = calloc(opts->threads, sizeof(*m->lane));
	if (!m || !m->lane) {
		free(m);
		return vns_err_set(err, -ENOMEM, "no memory to capture on %s", ifname);
	}
	m->base.ops = &many_ops;
	m->n = opts->threads;
	m->timeout_ms = o.timeout_ms ? (o.timeout_ms > 0 ? o.timeout_ms : 0) : TIMEOUT_MS;
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->progress, &monotonic);
	pthread_condattr_destroy(&monotonic);
	o.timeout_ms = WAIT_MS;
	o.fanout = VNS_FANOUT_NEW;
	for (unsigned int i = 0; i < m->n && !rc; i++)
		rc = open_lane(m, &m->lane[i], ifname, filter, n_filter, &o, err);
	if (!rc)
		rc = start_threads(m, err);
	if (rc)
		many_close(&m->base);
	else
		*out = &m->base;
	return rc;
}
