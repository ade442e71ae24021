// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The samples of one flow or host with their times -> intervals, in little memory.
 *
 * The first LOG samples stand one by one: time in units of the shortest block since the first one, and
 * value as float (its 24 bits are finer than any histogram's bucket; figures themselves come from the
 * exact distribution, this only tells how they vary). Then, or when 32 bits do not hold the time
 * (37 minutes), they go to blocks of time. Either form gives the same blocks.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "stat/intervals.h"

#define LOG 512u /* 4 KiB; blocks take as much before their histograms */

struct logged {
	int32_t at; /* (at_ns >> VNS_BLOCK_SHIFT) - first */
	float value;
};

struct vns_series {
	int64_t first;
	uint64_t lost;             /* samples without memory */
	struct vns_blocks *blocks; /* NULL: in log */
	uint32_t n, cap;
	struct logged log[];
};

static size_t series_bytes(uint32_t cap)
{
	return sizeof(struct vns_series) + cap * sizeof(struct logged);
}

/* As the log keeps it, so that both forms hold the same. */
static int64_t rounded(int64_t value)
{
	float f = (float)value;

	return f >= 0x1p63f ? INT64_MAX : (int64_t)f;
}

static int64_t time_of(const struct vns_series *s, const struct logged *l)
{
	return (int64_t)(((uint64_t)s->first + (uint64_t)(int64_t)l->at) << VNS_BLOCK_SHIFT);
}

static int64_t value_of(const struct logged *l)
{
	return l->value >= 0x1p63f ? INT64_MAX : (int64_t)l->value;
}

/* Return: false without memory. */
static bool to_blocks(struct vns_series *s)
{
	struct vns_blocks *b = calloc(1, sizeof(*b));

	if (!b)
		return false;
	vns_held_change(0, sizeof(*b));
	for (uint32_t i = 0; i < s->n; i++)
		vns_blocks_add(b, time_of(s, &s->log[i]), value_of(&s->log[i]));
	s->blocks = b;
	return true;
}

/* Room for one more in the log of *@p. Return: false without memory. */
static bool grow(struct vns_series **p)
{
	uint32_t n = *p ? (*p)->n : 0, cap = n ? n + n / 2 + 2 : 4, was = *p ? (*p)->cap : 0;
	struct vns_series *s;

	if (cap > LOG)
		cap = LOG;
	s = realloc(*p, sizeof(*s) + cap * sizeof(s->log[0]));
	if (!s)
		return false;
	vns_held_change(*p ? series_bytes(was) : 0, series_bytes(cap));
	if (!*p)
		memset(s, 0, sizeof(*s));
	s->cap = cap;
	*p = s;
	return true;
}

int vns_series_add(struct vns_series **p, int64_t at_ns, int64_t value)
{
	struct vns_series *s = *p;
	int64_t at = at_ns >> VNS_BLOCK_SHIFT, since = 0;

	if (s && !s->blocks && s->n) {
		since = at - s->first; /* both have 54 bits */
		if ((s->n == LOG || since != (int32_t)since) && !to_blocks(s)) {
			s->lost++;
			return -ENOMEM;
		}
	}
	if (s && s->blocks) {
		vns_blocks_add(s->blocks, at_ns, rounded(value));
		return 0;
	}
	if ((!s || s->n == s->cap) && !grow(p)) {
		if (s)
			s->lost++;
		return -ENOMEM;
	}
	s = *p;
	if (s->n == 0)
		s->first = at;
	s->log[s->n++] = (struct logged){ (int32_t)since, (float)value };
	return 0;
}

int vns_series_merge(struct vns_series **into, const struct vns_series *from)
{
	int error = 0;

	if (!from)
		return 0;
	if (!*into && !grow(into))
		return -ENOMEM;
	(*into)->lost += from->lost;
	if (!from->blocks) {
		for (uint32_t i = 0; i < from->n && !error; i++)
			error = vns_series_add(into, time_of(from, &from->log[i]),
					       value_of(&from->log[i]));
		return error;
	}
	if (!(*into)->blocks && !to_blocks(*into)) {
		(*into)->lost++;
		return -ENOMEM;
	}
	vns_blocks_merge((*into)->blocks, from->blocks);
	return 0;
}

static int by_time(const void *pa, const void *pb)
{
	const struct logged *a = pa, *b = pb;

	return a->at != b->at ? (a->at > b->at) - (a->at < b->at) :
				(a->value > b->value) - (a->value < b->value);
}

/* Number the blocks of the sorted @log at the least shift that needs VNS_BLOCKS or fewer. */
static unsigned int number_blocks(const struct vns_series *s, const struct logged *log,
				  uint8_t block[])
{
	for (unsigned int shift = 0;; shift++) {
		unsigned int n = 0;
		int64_t last = 0;

		for (uint32_t i = 0; i < s->n && n <= VNS_BLOCKS; i++) {
			int64_t number = (s->first + log[i].at) >> shift;

			n += i == 0 || number != last;
			last = number;
			block[i] = (uint8_t)(n - 1);
		}
		if (n <= VNS_BLOCKS)
			return n;
	}
}

/* The log as seen by intervals.c. */
struct log_view {
	const struct logged *log;
	uint8_t block[LOG]; /* of each */
	uint32_t n;
};

static void log_above(const void *from, int64_t x, double above[VNS_BLOCKS])
{
	const struct log_view *v = from;
	int bucket = vns_hist_bucket(x);

	for (uint32_t i = 0; i < v->n; i++)
		above[v->block[i]] += vns_hist_bucket(value_of(&v->log[i])) > bucket;
}

void vns_series_intervals(const struct vns_series *s, const struct vns_dist *all,
			  struct vns_intervals *out)
{
	struct vns_batches batches = { .above = log_above };
	struct logged log[LOG];
	struct log_view view;

	*out = (struct vns_intervals){ 0 };
	if (!s || s->lost)
		return;
	if (s->blocks) {
		vns_blocks_intervals(s->blocks, all, out);
		return;
	}
	if (s->n < VNS_INTERVAL_SAMPLES)
		return;
	memcpy(log, s->log, s->n * sizeof(log[0]));
	qsort(log, s->n, sizeof(log[0]), by_time);
	view.log = log;
	view.n = s->n;
	batches.from = &view;
	batches.n = number_blocks(s, log, view.block);
	for (uint32_t i = 0; i < s->n; i++) {
		batches.size[view.block[i]]++;
		batches.sum[view.block[i]] += (double)value_of(&log[i]) - all->mean;
	}
	vns_intervals_estimate(&batches, all, out);
}

void vns_series_free(struct vns_series *s)
{
	if (!s)
		return;
	if (s->blocks) {
		vns_blocks_fini(s->blocks);
		vns_held_change(sizeof(*s->blocks), 0);
	}
	free(s->blocks);
	vns_held_change(series_bytes(s->cap), 0);
	free(s);
}
