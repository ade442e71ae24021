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
/* Cache lines at the front of a flow that an event touches. */
#define FETCH_LINES 10

struct gc_wheel {
	struct gc_event *pool;
	uint32_t pool_size, free_list, order;
	uint32_t slot[SLOTS], far;
	int64_t width;
	int64_t now_slot;   /* absolute number of the slot being played */
	uint64_t in_slots, in_far;
	struct gc_heap heap;   /* the slot being played */
	const char *flows;  /* array that events point into: fetched ahead of their turn */
	size_t flow_size;
};

struct gc_wheel *gc_wheel_new(int64_t slot_ns)
{
	struct gc_wheel *w = gc_grow(NULL, 1, sizeof(*w));

	memset(w, 0, sizeof(*w));
	memset(w->slot, 0xff, sizeof(w->slot));
	w->far = w->free_list = NONE;
	w->width = slot_ns;
	return w;
}

void gc_wheel_free(struct gc_wheel *w)
{
	free(w->pool);
	free(w->heap.entry);
	free(w);
}

static void add_to_pool(struct gc_wheel *w)
{
	uint32_t from = w->pool_size, to = from ? from * 2 : 4096;

	w->pool = gc_grow(w->pool, to, sizeof(*w->pool));
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

void gc_wheel_fetch_ahead(struct gc_wheel *w, const void *flows, size_t size)
{
	w->flows = flows;
	w->flow_size = size;
}

static void fetch(const struct gc_wheel *w, uint32_t flow)
{
	const char *p = w->flows + flow * w->flow_size;

	for (size_t i = 0; w->flows && i < FETCH_LINES; i++)
		__builtin_prefetch(p + 64 * i, 1);
}

static void place(struct gc_wheel *w, uint32_t id)
{
	struct gc_event *e = &w->pool[id];
	int64_t s = e->t / w->width;

	if (s <= w->now_slot) {
		gc_heap_push(&w->heap, w->pool[id].t, w->pool[id].order, id);
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
	while (!w->heap.n) {
		uint32_t id;

		if (!w->in_slots && !w->in_far)
			return NONE;
		if (++w->now_slot % SLOTS == 0)
			replace_far(w);
		id = w->slot[w->now_slot % SLOTS];
		w->slot[w->now_slot % SLOTS] = NONE;
		while (id != NONE) {
			uint32_t next = w->pool[id].next;

			gc_heap_push(&w->heap, w->pool[id].t, w->pool[id].order, id);
			fetch(w, w->pool[id].flow);
			w->in_slots--;
			id = next;
		}
	}
	return gc_heap_pop(&w->heap);
}
