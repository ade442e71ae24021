// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Capture files -> hands of packets for workers; what it is for stands in deal.h.
 *
 * Blocks of a source form a chain in file order:
 *
 *	slot k      slot k+1     slot k+2 (tail)
 *	READY       READY        being decoded          spare slots: a list
 *	  ^ worker 1  ^ worker 0
 *
 * A worker takes its hand of the slot it has arrived at; a slot that all workers have left is spare
 * again. A worker whose slot is not ready reads the next block behind the tail, if nobody
 * else is reading (reading is serial, decoding is not) and a slot is spare; else it sleeps. There
 * are 2 * workers + 2 slots for each source; more are only made when every worker would sleep, which
 * happens only with two sources and files that are badly out of order.
 *
 * Who writes what: @lock guards the chain, the counters of the slots and the flags. A slot's
 * contents belong to the thread that fills it until it is READY; after that each hand belongs to
 * its worker. The source belongs to whoever has set @reading.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "measure/deal.h"
#include "source/block.h"

/* Packets of a hand when there is one worker: they are used while they are in the first-level
 * cache. */
#define SMALL_HAND 256u

struct share {
	struct vns_packet *pkt; /* VNS_BLOCK_FRAMES, pages as they are first used */
	uint32_t *at;
	size_t n;
};

struct slot {
	struct slot *next;
	struct vns_block block;
	struct share share[VNS_DEAL_MAX_WORKERS];
	struct vns_mark *mark;
	size_t n_mark, max_mark;
	uint64_t first;
	int64_t clock_ns; /* file time before the block */
	size_t decoded;   /* one worker: frames that were handed out */
	unsigned left;    /* workers that have not left it */
	bool ready, failed;
	struct slot *all_next;
};

struct chain {
	struct vns_source *source;
	struct slot *all;         /* every slot, to free them */
	struct slot *tail, *spare;
	struct slot *at[VNS_DEAL_MAX_WORKERS]; /* the worker's next; NULL: not read yet */
	struct slot *held[VNS_DEAL_MAX_WORKERS];
	size_t n_slot;
	uint64_t packets;
	bool last; /* select() wants no more */
	int64_t clock_ns;
	bool reading; /* a worker uses source, packets, clock_ns, last */
	bool ended;
	int error;
	struct vns_err err;
};

struct vns_deal {
	struct vns_deal_opts opts;
	struct chain chain[VNS_DEAL_MAX_SOURCES];
	size_t n_chain;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned asleep, running; /* workers; one that was woken is not asleep */
	uint64_t wakes;
	bool gone[VNS_DEAL_MAX_WORKERS];
	bool cancelled;
	uint32_t *identity; /* 0, 1, 2 ...: places when one worker has all */
};

static void free_slot(struct slot *s, unsigned workers)
{
	for (unsigned w = 0; w < workers; w++) {
		free(s->share[w].pkt);
		free(s->share[w].at);
	}
	vns_block_fini(&s->block);
	free(s->mark);
	free(s);
}

static struct slot *new_slot(const struct vns_deal_opts *opts)
{
	size_t n = opts->workers > 1 ? VNS_BLOCK_FRAMES : SMALL_HAND;
	unsigned workers = opts->workers, shares = opts->one_engine ? 1 : workers;
	struct slot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (vns_block_init(&s->block))
		goto fail;
	for (unsigned w = 0; w < shares; w++) {
		s->share[w].pkt = aligned_alloc(64, n * sizeof(struct vns_packet));
		if (shares > 1)
			s->share[w].at = malloc(n * sizeof(uint32_t));
		if (!s->share[w].pkt || (shares > 1 && !s->share[w].at))
			goto fail;
	}
	return s;
fail:
	free_slot(s, workers);
	return NULL;
}

int vns_deal_new(struct vns_deal **out, struct vns_source *const *source, size_t n_source,
		 const struct vns_deal_opts *opts, struct vns_err *err)
{
	struct vns_deal *d;

	if (opts->workers < 1 || opts->workers > VNS_DEAL_MAX_WORKERS || n_source < 1 ||
	    n_source > VNS_DEAL_MAX_SOURCES || opts->clock_step_ns < 0)
		return vns_err_set(err, -EINVAL, "%u workers on %zu files are out of range",
				   opts->workers, n_source);
	d = calloc(1, sizeof(*d));
	if (d)
		d->identity = malloc(VNS_BLOCK_FRAMES * sizeof(*d->identity));
	if (!d || !d->identity) {
		free(d);
		return vns_err_set(err, -ENOMEM, "no memory to read in blocks");
	}
	for (uint32_t i = 0; i < VNS_BLOCK_FRAMES; i++)
		d->identity[i] = i;
	d->opts = *opts;
	d->running = opts->workers;
	d->n_chain = n_source;
	for (size_t i = 0; i < n_source; i++) {
		d->chain[i].source = source[i];
		d->chain[i].clock_ns = INT64_MIN;
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->changed, NULL);
	*out = d;
	return 0;
}

void vns_deal_free(struct vns_deal *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_chain; i++)
		for (struct slot *s = d->chain[i].all, *next; s; s = next) {
			next = s->all_next;
			free_slot(s, d->opts.workers);
		}
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d->identity);
	free(d);
}

static int64_t step_of(int64_t time_ns, int64_t step_ns)
{
	return time_ns / step_ns - (time_ns % step_ns < 0);
}

/* Marks of the frames @from to @to - 1 and the file time behind them. Return: false, no memory. */
static bool set_marks(const struct vns_deal *d, struct slot *s, size_t from, size_t to)
{
	const int64_t step_ns = d->opts.clock_step_ns;
	int64_t clock = s->clock_ns;
	int64_t step = clock == INT64_MIN ? INT64_MIN : step_of(clock, step_ns);

	s->n_mark = 0;
	for (size_t i = from; i < to; i++) {
		int64_t now = s->block.frame[i].time_ns;

		if (now <= clock)
			continue;
		clock = now;
		if (step_of(now, step_ns) == step)
			continue;
		step = step_of(now, step_ns);
		if (s->n_mark == s->max_mark) {
			size_t max = 2 * s->max_mark + 4;
			struct vns_mark *bigger = reallocarray(s->mark, max, sizeof(*bigger));

			if (!bigger)
				return false;
			s->mark = bigger;
			s->max_mark = max;
		}
		s->mark[s->n_mark++] = (struct vns_mark){ (uint32_t)(i - from), now };
	}
	s->clock_ns = clock;
	return true;
}

/* One worker: the next frames of its slot. */
static void decode_small(struct vns_deal *d, struct slot *s, uint64_t *verdicts)
{
	size_t left = s->block.n - s->decoded, n = left < SMALL_HAND ? left : SMALL_HAND;
	const struct vns_frame *frame = &s->block.frame[s->decoded];

	for (size_t i = 0; i < n; i++)
		verdicts[vns_packet_decode_without(&frame[i], s->block.without,
						   &s->share[0].pkt[i])]++;
	if (d->opts.clock_step_ns)
		s->failed = !set_marks(d, s, s->decoded, s->decoded + n);
	s->share[0].n = n;
	s->decoded += n;
}

/* Several: all frames of the slot. A packet is decoded in the first-level cache and copied to its
 * owner's share: a branch on a coin toss would cost more than the copy. */
static void decode_shares(struct vns_deal *d, struct slot *s, uint64_t *verdicts)
{
	unsigned workers = d->opts.workers;
	struct vns_packet p;

	for (unsigned w = 0; w < workers; w++)
		s->share[w].n = d->opts.one_engine && w == 0 ? s->block.n : 0;
	for (size_t i = 0; d->opts.one_engine && i < s->block.n; i++)
		verdicts[vns_packet_decode_without(&s->block.frame[i], s->block.without,
						   &s->share[0].pkt[i])]++;
	for (size_t i = 0; !d->opts.one_engine && i < s->block.n; i++) {
		struct share *to;
		unsigned part;

		verdicts[vns_packet_decode_without(&s->block.frame[i], s->block.without, &p)]++;
		part = d->opts.owner ? d->opts.owner(d->opts.ctx, &p) : vns_deal_part(&p);
		to = &s->share[part % workers];
		to->at[to->n] = (uint32_t)i;
		to->pkt[to->n++] = p;
	}
	if (d->opts.clock_step_ns)
		s->failed = !set_marks(d, s, 0, s->block.n);
}

/* The next block of the file, selected. The caller has set @reading. Return: as next_block(). */
static int read_block(struct vns_deal *d, struct chain *c, struct slot *s)
{
	struct vns_block *b = &s->block;
	bool last = false;
	int n;

	do {
		if (c->last || (d->opts.stop && *d->opts.stop))
			return VNS_SOURCE_EOF;
		n = vns_source_next_block(c->source, b, &c->err);
		if (n < 0)
			return n;
		if (n > 0 && d->opts.select)
			b->n = d->opts.select(d->opts.ctx, (size_t)(c - d->chain), b->frame, b->n,
					      &last);
		c->last = last;
	} while (b->n == 0);
	s->first = c->packets;
	s->clock_ns = c->clock_ns;
	c->packets += b->n;
	for (size_t i = 0; d->opts.clock_step_ns && i < b->n; i++)
		if (b->frame[i].time_ns > c->clock_ns)
			c->clock_ns = b->frame[i].time_ns;
	return 1;
}

static void wake(struct vns_deal *d)
{
	if (!d->asleep)
		return;
	d->asleep = 0;
	d->wakes++;
	pthread_cond_broadcast(&d->changed);
}

static void sleep_on(struct vns_deal *d)
{
	uint64_t before = d->wakes;

	d->asleep++;
	while (d->wakes == before)
		pthread_cond_wait(&d->changed, &d->lock);
}

/* Behind the tail: all workers will come to it. */
static void append(struct vns_deal *d, struct chain *c, struct slot *s)
{
	s->next = NULL;
	s->ready = s->failed = false;
	s->decoded = 0;
	s->left = d->running;
	if (c->tail)
		c->tail->next = s;
	c->tail = s;
	for (unsigned w = 0; w < d->opts.workers; w++)
		if (!c->at[w] && !d->gone[w])
			c->at[w] = s;
}

static void leave(struct vns_deal *d, struct chain *c, struct slot *s)
{
	if (--s->left)
		return;
	if (c->tail == s)
		c->tail = NULL;
	s->next = c->spare;
	c->spare = s;
	wake(d);
}

/* A slot to read into; NULL when the worker had better wait, or without memory (error set). */
static struct slot *find_slot(struct vns_deal *d, struct chain *c)
{
	struct slot *s = c->spare;

	if (c->ended || c->reading)
		return NULL;
	if (s) {
		c->spare = s->next;
		return s;
	}
	if (c->n_slot >= 2 * d->opts.workers + 2 && d->asleep + 1 < d->running)
		return NULL;
	s = new_slot(&d->opts);
	if (!s) {
		c->ended = true;
		c->error = vns_err_set(&c->err, -ENOMEM, "no memory to read in blocks");
		return NULL;
	}
	s->all_next = c->all;
	c->all = s;
	c->n_slot++;
	return s;
}

/* Read a block into @s and decode it for all; locked before and after, not meanwhile. */
static void fill(struct vns_deal *d, struct chain *c, struct slot *s)
{
	uint64_t verdicts[VNS_PKT_VERDICTS] = { 0 };
	int rc;

	c->reading = true;
	pthread_mutex_unlock(&d->lock);
	rc = read_block(d, c, s);
	pthread_mutex_lock(&d->lock);
	c->reading = false;
	if (rc < 0) {
		c->ended = true;
		c->error = rc == VNS_SOURCE_EOF ? 0 : rc;
		s->next = c->spare;
		c->spare = s;
	} else {
		append(d, c, s);
		if (d->opts.workers > 1) {
			wake(d); /* somebody may read on */
			pthread_mutex_unlock(&d->lock);
			decode_shares(d, s, verdicts);
			pthread_mutex_lock(&d->lock);
			vns_source_count_verdicts(c->source, verdicts);
		}
		s->ready = true;
	}
	wake(d);
}

/* What @worker gets of @s, which is ready; it moves on unless more of a small hand is left. */
static int take(struct vns_deal *d, struct chain *c, unsigned worker, struct slot *s,
		struct vns_hand *h, struct vns_err *err)
{
	const struct share *share = &s->share[worker];
	uint64_t verdicts[VNS_PKT_VERDICTS] = { 0 };
	size_t before = s->decoded;

	if (d->opts.workers == 1) {
		decode_small(d, s, verdicts);
		vns_source_count_verdicts(c->source, verdicts);
	}
	if (s->failed)
		return vns_err_set(err, -ENOMEM, "no memory to read in blocks");
	*h = (struct vns_hand){
		.pkt = share->pkt, .at = share->at ? share->at : d->identity, .n = share->n,
		.mark = s->mark, .n_mark = s->n_mark, .first = s->first + before,
		.size = d->opts.workers == 1 ? share->n : s->block.n,
		.from_ns = s->block.frame[before].time_ns,
	};
	h->to_ns = s->block.frame[before + h->size - 1].time_ns;
	if (d->opts.workers == 1 && s->decoded < s->block.n)
		return 1;
	c->held[worker] = s;
	c->at[worker] = s->next;
	return 1;
}

int vns_deal_next(struct vns_deal *d, size_t source, unsigned worker, struct vns_hand *h,
		  struct vns_err *err)
{
	struct chain *c = &d->chain[source];
	struct slot *s;
	int rc = 0;

	pthread_mutex_lock(&d->lock);
	if (c->held[worker])
		leave(d, c, c->held[worker]);
	c->held[worker] = NULL;
	for (;;) {
		s = c->at[worker];
		if (d->cancelled)
			break;
		if (s && s->ready) {
			rc = take(d, c, worker, s, h, err);
			break;
		}
		if (!s && c->ended) {
			rc = c->error;
			if (rc && err)
				*err = c->err;
			break;
		}
		s = find_slot(d, c);
		if (s)
			fill(d, c, s);
		else if (!c->ended || c->at[worker])
			sleep_on(d);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* @worker needs no more hands, also of blocks that others will read. */
static void go(struct vns_deal *d, unsigned worker, bool cancel)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < d->n_chain; i++) {
		struct chain *c = &d->chain[i];
		struct slot *s = c->at[worker], *next;

		if (c->held[worker])
			leave(d, c, c->held[worker]);
		for (; s; s = next) {
			next = s->next;
			leave(d, c, s);
		}
		c->held[worker] = c->at[worker] = NULL;
	}
	d->gone[worker] = true;
	d->running--;
	d->cancelled |= cancel || (d->opts.one_engine && worker == 0);
	wake(d);
	pthread_mutex_unlock(&d->lock);
}

struct thread {
	struct vns_deal *deal;
	vns_deal_fn fn;
	void *ctx;
	unsigned worker;
	pthread_t id;
	int rc;
	struct vns_err err;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	t->rc = t->fn(t->ctx, t->worker, t->deal, &t->err);
	go(t->deal, t->worker, t->rc < 0);
	return NULL;
}

int vns_deal_run(struct vns_deal *d, vns_deal_fn fn, void *ctx, struct vns_err *err)
{
	struct thread t[VNS_DEAL_MAX_WORKERS];
	unsigned workers = d->opts.workers, started = 1;
	sigset_t all, before;
	int rc = 0;

	d->running = workers;
	for (unsigned w = 0; w < workers; w++)
		t[w] = (struct thread){ .deal = d, .fn = fn, .ctx = ctx, .worker = w };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < workers; started++) {
		rc = pthread_create(&t[started].id, NULL, thread_main, &t[started]);
		if (rc)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	for (unsigned w = started; rc && w < workers; w++)
		go(d, w, true);
	if (rc)
		t[0].rc = vns_err_set(&t[0].err, -rc, "cannot start %u threads: %s", workers,
				      strerror(rc));
	if (rc)
		go(d, 0, true);
	else
		thread_main(&t[0]);
	for (unsigned w = 1; w < started; w++)
		pthread_join(t[w].id, NULL);
	for (unsigned w = 0; w < started; w++) {
		if (t[w].rc < 0) {
			if (err)
				*err = t[w].err;
			return t[w].rc;
		}
	}
	return 0;
}
