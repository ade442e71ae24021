// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A source -> its packets, read and decoded ahead: buffers filled in order by one job of a crew
 * (crew.h), which the user's thread does too while it waits.
 */
#include <errno.h>
#include <stdlib.h>

#include "measure/ahead.h"
#include "measure/crew.h"

/*
 * A buffer is some 40 us of work, against a few for handing it over. All together are 1 MB, which is
 * half of a core's second-level cache: what waits longer has to be fetched from farther.
 */
#define BUFFERS 8 /* filled and waiting, at most */
#define BATCHES 4 /* of one buffer */

/*
 * @got: what vns_source_next() returned for each batch; the last one may be an end or error.
 * @one_point: whether all packets of the batch are of one capture point
 */
struct buffer {
	struct vns_packet *pkt;
	int got[BATCHES];
	bool one_point[BATCHES];
	size_t n;
	struct vns_err err;
};

/*
 * Full buffers from @head on; @head, @full, @ended and @resting are the crew's lock's.
 * @resting: all buffers were full, and more than half of them are. Who would begin anew with each that
 * is taken would sleep and be woken for each, and a switch costs as much as filling it.
 */
struct vns_ahead {
	struct vns_source *source;
	size_t batch;
	struct vns_crew *crew;
	struct vns_crew_job job;
	struct buffer buffer[BUFFERS];
	size_t head, full, filling;
	bool ended, resting;
	bool one_point;
	size_t next; /* batch of the buffer at head; the user's */
};

static bool can_fill(void *ctx)
{
	struct vns_ahead *a = ctx;

	a->filling = (a->head + a->full) % BUFFERS; /* stays while full ones are taken */
	return !a->ended && !a->resting;
}

static void fill(void *ctx)
{
	struct vns_ahead *a = ctx;
	struct buffer *b = &a->buffer[a->filling];

	b->n = 0;
	do {
		struct vns_packet *pkt = b->pkt + b->n * a->batch;
		int got = vns_source_next(a->source, pkt, a->batch, &b->err);

		b->got[b->n] = got;
		/* here they are in the cache; the user would wait for each */
		b->one_point[b->n] = got > 0 && vns_one_point(pkt, (size_t)got);
	} while (b->got[b->n++] > 0 && b->n < BATCHES);
}

static void filled(void *ctx)
{
	struct vns_ahead *a = ctx;
	const struct buffer *b = &a->buffer[a->filling];

	a->full++;
	a->resting = a->full == BUFFERS;
	a->ended = b->got[b->n - 1] < 0;
}

static bool has_full(void *ctx)
{
	return ((struct vns_ahead *)ctx)->full > 0;
}

int vns_ahead_new(struct vns_ahead **out, struct vns_source *s, size_t batch, struct vns_err *err)
{
	struct vns_ahead *a = calloc(1, sizeof(*a));
	bool have = a != NULL;

	for (int i = 0; have && i < BUFFERS; i++)
		have = (a->buffer[i].pkt = aligned_alloc(64, BATCHES * batch *
							 sizeof(struct vns_packet))) != NULL;
	if (have) {
		a->source = s;
		a->batch = batch;
		a->job = (struct vns_crew_job){ .ready = can_fill, .run = fill, .done = filled, .ctx = a };
		have = !vns_crew_new(&a->crew, &a->job, 1, 1, err);
	}
	if (!have) {
		vns_ahead_free(a);
		return vns_err_set(err, -ENOMEM, "no memory to read ahead");
	}
	*out = a;
	return 0;
}

void vns_ahead_free(struct vns_ahead *a)
{
	if (!a)
		return;
	vns_crew_free(a->crew);
	for (int i = 0; i < BUFFERS; i++)
		free(a->buffer[i].pkt);
	free(a);
}

int vns_ahead_next(struct vns_ahead *a, struct vns_packet **pkts, struct vns_err *err)
{
	const struct buffer *b = &a->buffer[a->head];
	size_t i;

	if (a->next && a->next == b->n && b->got[b->n - 1] >= 0) {
		vns_crew_lock(a->crew);
		a->head = (a->head + 1) % BUFFERS;
		a->full--;
		a->resting = a->resting && a->full > BUFFERS / 2;
		vns_crew_unlock(a->crew);
		a->next = 0;
	}
	if (!a->next) {
		vns_crew_lock(a->crew);
		vns_crew_wait(a->crew, has_full, a);
		vns_crew_unlock(a->crew);
	}
	b = &a->buffer[a->head];
	i = a->next < b->n ? a->next++ : b->n - 1; /* an end comes again and again */
	*pkts = b->pkt + i * a->batch;
	a->one_point = b->one_point[i];
	if (b->got[i] < 0 && err)
		*err = b->err;
	return b->got[i];
}

bool vns_ahead_one_point(const struct vns_ahead *a)
{
	return a->one_point;
}
