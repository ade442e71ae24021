// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Flow table: keys -> ids, ageing lists; theory of operation in table.h.
 *
 * Removal by backward shift: Knuth, The Art of Computer Programming 3, 6.4, algorithm R.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/reserve.h"
#include "flow/table.h"

#define FIRST_BITS  10
#define FIRST_SLOTS (1u << FIRST_BITS)
#define LINE        64 /* bytes of a cache line */

_Static_assert(sizeof(struct vns_flow_head) == LINE, "a look-up should touch one line");

/* Odd. Without the kernel's help an address by chance (ASLR) is better than nothing. */
static uint64_t secret_number(void)
{
	uint64_t n;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uintptr_t)&n * UINT64_C(0x9e3779b97f4a7c15);
	return n | 1;
}

/* @n empty slots, and those behind them that only vns_flow_guess() sees. */
static uint32_t *new_slots(size_t n)
{
	const size_t all = n + VNS_FLOW_LOOKS - 1;
	uint32_t *slot = vns_reserve(all, sizeof(*slot)); /* with huge pages: no slot is near the last one */

	if (slot)
		memset(slot, 0xff, all * sizeof(*slot));
	return slot;
}

int vns_flow_table_init(struct vns_flow_table *t, uint32_t max_flows, int64_t tick_ns)
{
	*t = (struct vns_flow_table){ .max = max_flows, .free = VNS_FLOW_NONE,
				      .secret = secret_number(), .mask = FIRST_SLOTS - 1,
				      .shift = 32 - FIRST_BITS, .id_bits = FIRST_BITS - 2, .tick_ns = tick_ns > 0 ? tick_ns : 1 };
	t->head = vns_reserve(max_flows, sizeof(*t->head)); /* pages come as ids are first used */
	t->slot = new_slots(FIRST_SLOTS);
	if (!t->head || !t->slot) {
		vns_flow_table_fini(t);
		return -ENOMEM;
	}
	for (int i = 0; i < VNS_FLOW_LISTS; i++)
		t->front[i] = t->back[i] = VNS_FLOW_NONE;
	return 0;
}

void vns_flow_table_fini(struct vns_flow_table *t)
{
	vns_unreserve(t->head);
	vns_unreserve(t->slot);
	*t = (struct vns_flow_table){ 0 };
}

uint32_t vns_flow_find(const struct vns_flow_table *t, uint64_t hash,
		       const struct vns_flow_key *key)
{
	uint32_t tag = vns_flow_tag(t, hash), mark = vns_flow_mark(t, tag), slot;

	for (uint32_t i = vns_flow_home(t, tag); slot = t->slot[i], slot != VNS_FLOW_EMPTY;
	     i = (i + 1) & t->mask) {
		uint32_t id = slot ^ mark; /* or more than any: of another mark */

		if (id < t->used && vns_flow_same_key(&t->head[id].key, key))
			return id;
	}
	return VNS_FLOW_NONE;
}

/* The id in a slot that is not empty. */
static uint32_t id_in(const struct vns_flow_table *t, uint32_t slot)
{
	return slot & ((UINT32_C(1) << t->id_bits) - 1);
}

static void put_slot(struct vns_flow_table *t, uint32_t tag, uint32_t id)
{
	uint32_t i = vns_flow_home(t, tag);

	while (t->slot[i] != VNS_FLOW_EMPTY)
		i = (i + 1) & t->mask;
	t->slot[i] = vns_flow_mark(t, tag) | id;
}

static int double_slots(struct vns_flow_table *t)
{
	const struct vns_flow_table old = *t;
	size_t n = 2 * ((size_t)t->mask + 1);
	uint32_t *bigger;

	if (n > UINT32_MAX)
		return -ENOMEM;
	bigger = new_slots(n);
	if (!bigger)
		return -ENOMEM;
	t->slot = bigger;
	t->mask = (uint32_t)(n - 1);
	t->shift--;
	t->id_bits++;
	for (size_t i = 0; i < n / 2; i++) {
		uint32_t id = id_in(&old, old.slot[i]);

		if (old.slot[i] != VNS_FLOW_EMPTY)
			put_slot(t, t->head[id].tag, id);
	}
	vns_unreserve(old.slot);
	return 0;
}

static void unlink_flow(struct vns_flow_table *t, uint32_t id)
{
	struct vns_flow_head *h = &t->head[id];

	if (h->prev == VNS_FLOW_NONE)
		t->front[h->list] = h->next;
	else
		t->head[h->prev].next = h->next;
	if (h->next == VNS_FLOW_NONE)
		t->back[h->list] = h->prev;
	else
		t->head[h->next].prev = h->prev;
}

static void link_front(struct vns_flow_table *t, uint32_t id, enum vns_flow_list list)
{
	struct vns_flow_head *h = &t->head[id];

	h->list = (uint8_t)list;
	h->tick = t->tick;
	h->prev = VNS_FLOW_NONE;
	h->next = t->front[list];
	if (h->next == VNS_FLOW_NONE)
		t->back[list] = id;
	else
		t->head[h->next].prev = id;
	t->front[list] = id;
}

void vns_flow_move(struct vns_flow_table *t, uint32_t id, enum vns_flow_list list)
{
	unlink_flow(t, id);
	link_front(t, id, list);
}

void vns_flow_next_tick(struct vns_flow_table *t, int64_t now_ns)
{
	int64_t tick = now_ns / t->tick_ns;

	t->tick = (uint8_t)tick;
	t->tick_from_ns = tick * t->tick_ns;
}

uint32_t vns_flow_insert(struct vns_flow_table *t, uint64_t hash, const struct vns_flow_key *key,
			 int64_t now_ns)
{
	uint32_t id = t->free;
	struct vns_flow_head *h;

	if (t->live == t->max)
		return VNS_FLOW_NONE;
	/* one less than a quarter: the last id and a mark of ones would look like an empty slot */
	if (4 * ((uint64_t)t->live + 2) > (uint64_t)t->mask + 1 && double_slots(t))
		return VNS_FLOW_NONE;
	if (id == VNS_FLOW_NONE)
		id = t->used++;
	else
		t->free = t->head[id].next;
	h = &t->head[id];
	h->key = *key;
	h->tag = vns_flow_tag(t, hash);
	h->user = 0;
	h->last_ns = now_ns;
	put_slot(t, h->tag, id);
	link_front(t, id, VNS_FLOW_OPEN);
	t->live++;
	return id;
}

/* Close the gap at @i: pull back whatever was pushed over it by linear probing. */
static void remove_slot(struct vns_flow_table *t, uint32_t i)
{
	uint32_t gap = i, home;

	for (;;) {
		i = (i + 1) & t->mask;
		if (t->slot[i] == VNS_FLOW_EMPTY)
			break;
		home = vns_flow_home(t, t->head[id_in(t, t->slot[i])].tag);
		/* an entry may move into the gap unless its home lies behind the gap */
		if (((i - home) & t->mask) >= ((i - gap) & t->mask)) {
			t->slot[gap] = t->slot[i];
			gap = i;
		}
	}
	t->slot[gap] = VNS_FLOW_EMPTY;
}

void vns_flow_remove(struct vns_flow_table *t, uint32_t id)
{
	struct vns_flow_head *h = &t->head[id];
	uint32_t i = vns_flow_home(t, h->tag);

	while (id_in(t, t->slot[i]) != id)
		i = (i + 1) & t->mask;
	remove_slot(t, i);
	unlink_flow(t, id);
	h->key.ipproto = 0; /* no packet that is looked up has such a key: see vns_flow_lives() */
	h->next = t->free;
	t->free = id;
	t->live--;
}
