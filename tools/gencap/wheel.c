// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Event queue: events in any order -> events in order of time (ties: order of arrival).
 *
 * A timing wheel (Varghese and Lauck, 1987): slots of equal width hold unordered lists; the slot
 * being played is a small binary heap; what lies behind the wheel's horizon waits in a list that
 * is looked through once per turn. Constant time per event, where one heap over all flows costs
 * a cache miss per level.
 */
#include <stdlib.h>
#include <string.h>

#include "gencap.h"

#define SLOTS (1U << 16)
#define NONE  UINT32_MAX

/* Key by value: comparing must not touch the events. */
struct entry {
	int64_t t;
	uint32_t order, id;
};

struct gc_wheel {
	struct gc_event *pool;
	uint32_t pool_size, free_list, order;
	uint32_t slot[SLOTS], far;
	int64_t width;
	int64_t now_slot;   /* absolute number of the slot being played */
	uint64_t in_slots, in_far;
	struct entry *heap;
	size_t heap_n, heap_size;
	const char *flows;  /* array that events point into: fetched ahead of their turn */
	size_t flow_size;
};

static void *grow(void *p, size_t bytes)
{
	p = realloc(p, bytes);
	if (!p)
		gc_die(GC_EXIT_ENV, "no memory for %zu bytes of events", bytes);
	return p;
}

struct gc_wheel *gc_wheel_new(int64_t slot_ns)
{
	struct gc_wheel *w = grow(NULL, sizeof(*w));

	memset(w, 0, sizeof(*w));
	memset(w->slot, 0xff, sizeof(w->slot));
	w->far = w->free_list = NONE;
	w->width = slot_ns;
	return w;
}

void gc_wheel_free(struct gc_wheel *w)
{
	free(w->pool);
	free(w->heap);
	free(w);
}

static void add_to_pool(struct gc_wheel *w)
{
	uint32_t from = w->pool_size, to = from ? from * 2 : 4096;

	w->pool = grow(w->pool, (size_t)to * sizeof(*w->pool));
	for (uint32_t i = to; i-- > from;) {
		w->pool[i].next = w->free_list;
		w->free_list = i;
	}
	w->pool_size = to;
}

uint32_t gc_wheel_alloc(struct gc_wheel *w)
{
	uint32_t id;

	if (w->free_list == NONE)
		add_to_pool(w);
	id = w->free_list;
	w->free_list = w->pool[id].next;
	memset(&w->pool[id], 0, sizeof(w->pool[id]));
	return id;
}

struct gc_event *gc_wheel_event(struct gc_wheel *w, uint32_t id)
{
	return &w->pool[id];
}

void gc_wheel_release(struct gc_wheel *w, uint32_t id)
{
	w->pool[id].next = w->free_list;
	w->free_list = id;
}

static bool earlier(const struct entry *x, const struct entry *y)
{
	return x->t != y->t ? x->t < y->t : (int32_t)(x->order - y->order) < 0;
}

static void heap_push(struct gc_wheel *w, uint32_t id)
{
	struct entry new = { w->pool[id].t, w->pool[id].order, id };
	size_t i = w->heap_n++;

	if (w->heap_n > w->heap_size) {
		w->heap_size = w->heap_size ? w->heap_size * 2 : 256;
		w->heap = grow(w->heap, w->heap_size * sizeof(*w->heap));
	}
	for (; i && earlier(&new, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = new;
}

static uint32_t heap_pop(struct gc_wheel *w)
{
	uint32_t top = w->heap[0].id;
	struct entry last = w->heap[--w->heap_n];
	size_t i = 0;

	for (size_t k = 1; k < w->heap_n; k = 2 * i + 1) {
		if (k + 1 < w->heap_n && earlier(&w->heap[k + 1], &w->heap[k]))
			k++;
		if (!earlier(&w->heap[k], &last))
			break;
		w->heap[i] = w->heap[k];
		i = k;
	}
	w->heap[i] = last;
	return top;
}

void gc_wheel_fetch_ahead(struct gc_wheel *w, const void *flows, size_t size)
{
	w->flows = flows;
	w->flow_size = size;
}

static void fetch(const struct gc_wheel *w, uint32_t flow)
{
	const char *p = w->flows + flow * w->flow_size;

	for (size_t i = 0; w->flows && i < 6; i++)
		__builtin_prefetch(p + 64 * i, 1);
}

static void place(struct gc_wheel *w, uint32_t id)
{
	struct gc_event *e = &w->pool[id];
	int64_t s = e->t / w->width;

	if (s <= w->now_slot) {
		heap_push(w, id);
	} else if (s < w->now_slot + SLOTS) {
		e->next = w->slot[s % SLOTS];
		w->slot[s % SLOTS] = id;
		w->in_slots++;
	} else {
		e->next = w->far;
		w->far = id;
		w->in_far++;
	}
}

void gc_wheel_put(struct gc_wheel *w, uint32_t id)
{
	w->pool[id].order = w->order++;
	place(w, id);
}

static void replace_far(struct gc_wheel *w)
{
	uint32_t id = w->far;

	w->far = NONE;
	w->in_far = 0;
	while (id != NONE) {
		uint32_t next = w->pool[id].next;

		place(w, id);
		id = next;
	}
}

uint32_t gc_wheel_pop(struct gc_wheel *w)
{
	while (!w->heap_n) {
		uint32_t id;

		if (!w->in_slots && !w->in_far)
			return NONE;
		if (++w->now_slot % SLOTS == 0)
			replace_far(w);
		id = w->slot[w->now_slot % SLOTS];
		w->slot[w->now_slot % SLOTS] = NONE;
		while (id != NONE) {
			uint32_t next = w->pool[id].next;

			heap_push(w, id);
			fetch(w, w->pool[id].flow);
			w->in_slots--;
			id = next;
		}
	}
	return heap_pop(w);
}
