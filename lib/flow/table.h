/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flow table: direction-free five-tuple -> small number (id), with ageing and bounded size.
 *
 * An engine keeps its own state in arrays indexed by the id. Ids run from 0 to max_flows - 1 and
 * the lowest free ones are used first, so such arrays are touched only as far as flows exist at
 * the same time.
 *
 * Theory of operation
 *
 *   head[id]   64 bytes, one cache line: the key, the time of the last packet, the list links.
 *   slot[]     open addressing with linear probing, at most a quarter full, 4 bytes per slot: the id, and
 *              above it as many bits of the hash as are left. Ids stay below a quarter of the slots,
 *              so that is at least 3 of them, and 16 in a table for 65,000 flows: a probe touches
 *              one cache line and rarely reads the head of another flow. Half the bytes of a slot
 *              that holds 32 bits of the hash are twice the flows whose slots are in the cache.
 *              Removal shifts the cluster back, so there are no graves and a table that has run
 *              for weeks probes as fast as a new one. It doubles as flows come.
 *   lists      flows in the order of their last packet, to the precision of a tick: a flow moves to
 *              the front when the tick of its packet differs from the tick it was moved in,
 *              since unlinking touches two other flows' lines on every packet otherwise. The back
 *              is therefore the longest idle flow to within a tick. Two lists: open and closed.
 *
 * Look-ups of independent packets need not wait for memory one after another: for a batch, call
 * vns_flow_prefetch_slot() for all, then vns_flow_guess() for all, then vns_flow_find_guessed().
 */
#ifndef VNS_FLOW_TABLE_H
#define VNS_FLOW_TABLE_H

#include <string.h>

#include <vnetscope/packet.h>

#define VNS_FLOW_NONE  UINT32_MAX
#define VNS_FLOW_EMPTY UINT32_MAX
#define VNS_FLOW_LOOKS 4u /* slots in which vns_flow_guess() looks */

enum vns_flow_list { VNS_FLOW_OPEN, VNS_FLOW_CLOSED, VNS_FLOW_LISTS };

struct vns_flow_head {
	struct vns_flow_key key;
	int64_t last_ns;
	uint32_t prev, next; /* towards the front (recent) and the back */
	uint32_t tag;
	uint8_t tick;        /* modulo 256: a false "same tick" once only delays a move */
	uint8_t list;
	uint16_t user;       /* the engine's own bits; 0 for a new flow */
};

struct vns_flow_table {
	struct vns_flow_head *head;
	uint32_t *slot;          /* vns_flow_mark() | id, or VNS_FLOW_EMPTY; VNS_FLOW_LOOKS - 1 more behind the last */
	uint64_t secret;         /* odd, by chance */
	uint32_t mask;           /* slots - 1 */
	uint32_t shift;          /* 32 - log2(slots) */
	uint32_t id_bits;        /* log2(slots) - 2: no id has all of these set */
	uint32_t live, max;
	uint32_t used;           /* ids ever used; the rest of head[] was never touched */
	uint32_t free;           /* chain of freed ids through next */
	uint32_t front[VNS_FLOW_LISTS], back[VNS_FLOW_LISTS];
	int64_t tick_ns;
	int64_t tick_from_ns;    /* the current tick lasts from here for tick_ns */
	uint8_t tick;
};

/* Return: 0 or -ENOMEM. Memory is taken as flows come, whatever @max_flows. */
int vns_flow_table_init(struct vns_flow_table *t, uint32_t max_flows, int64_t tick_ns);
void vns_flow_table_fini(struct vns_flow_table *t);

/* Return: the id of @key, or VNS_FLOW_NONE. @hash as in struct vns_packet. */
uint32_t vns_flow_find(const struct vns_flow_table *t, uint64_t hash,
		       const struct vns_flow_key *key);
/*
 * Add @key, which must not be there, to the front of the open list.
 * Return: its id, or VNS_FLOW_NONE when the table is full or memory ran out.
 */
uint32_t vns_flow_insert(struct vns_flow_table *t, uint64_t hash, const struct vns_flow_key *key,
			 int64_t now_ns);
void vns_flow_remove(struct vns_flow_table *t, uint32_t id);
/* Memory that its flows took; ids that were freed stay. */
static inline uint64_t vns_flow_table_bytes(const struct vns_flow_table *t)
{
	return t->used * sizeof(*t->head) + ((uint64_t)t->mask + 1) * sizeof(*t->slot);
}
/* Whether @id (< used) is a flow now, and not one of those that were removed. */
static inline bool vns_flow_lives(const struct vns_flow_table *t, uint32_t id)
{
	return t->head[id].key.ipproto != 0;
}

/* Move to the front of @list. */
void vns_flow_move(struct vns_flow_table *t, uint32_t id, enum vns_flow_list list);
void vns_flow_next_tick(struct vns_flow_table *t, int64_t now_ns);

/* A packet of the flow at @now_ns. Time may run back in an unsorted file: no harm done. */
static inline void vns_flow_touch(struct vns_flow_table *t, uint32_t id, int64_t now_ns)
{
	struct vns_flow_head *h = &t->head[id];

	if ((uint64_t)now_ns - (uint64_t)t->tick_from_ns >= (uint64_t)t->tick_ns)
		vns_flow_next_tick(t, now_ns);
	h->last_ns = now_ns;
	if (h->tick != t->tick)
		vns_flow_move(t, id, (enum vns_flow_list)h->list);
}

/*
 * 32 hash bits whose upper ones say where the search starts. Multiplied by the table's secret odd
 * number: flow hashes are the same everywhere, and who sends packets could choose such that meet
 * in one place; multiply-shift hashing keeps two of them apart but for 2 in as many as there are
 * slots (Dietzfelbinger, Hagerup, Katajainen, Penttonen, J. Algorithms 25, 1997).
 */
static inline uint32_t vns_flow_tag(const struct vns_flow_table *t, uint64_t hash)
{
	return (uint32_t)((hash * t->secret) >> 32);
}

static inline uint32_t vns_flow_home(const struct vns_flow_table *t, uint32_t tag)
{
	return tag >> t->shift;
}

/* A flow's slot without its id: the hash bits that its home says least about. */
static inline uint32_t vns_flow_mark(const struct vns_flow_table *t, uint32_t tag)
{
	return tag << t->id_bits;
}

static inline void vns_flow_prefetch_slot(const struct vns_flow_table *t, uint64_t hash)
{
	__builtin_prefetch(&t->slot[vns_flow_home(t, vns_flow_tag(t, hash))]);
}

static inline uint64_t vns_flow_key_word(const struct vns_flow_key *key, size_t i)
{
	uint64_t v;

	memcpy(&v, (const char *)key + i * sizeof(v), sizeof(v));
	return v;
}

/* Keys as five words, loaded one by one: a call of memcmp() costs more than comparing them, and
 * arrays of words the compiler would fill by vector stores, only to read them back. */
static inline bool vns_flow_same_key(const struct vns_flow_key *a, const struct vns_flow_key *b)
{
	uint64_t differs = 0;

	_Static_assert(sizeof(*a) == 5 * sizeof(differs), "a key is five words");
#pragma GCC unroll 5
	for (size_t i = 0; i < 5; i++)
		differs |= vns_flow_key_word(a, i) ^ vns_flow_key_word(b, i);
	return differs == 0;
}

/*
 * vns_flow_find() with a guess of vns_flow_guess(), which saves the search. The guess may be stale:
 * a removed flow's head matches no key, and an id that was given anew has another one.
 */
static inline uint32_t vns_flow_find_guessed(const struct vns_flow_table *t, uint64_t hash,
					     const struct vns_flow_key *key, uint32_t guess)
{
	if (guess != VNS_FLOW_NONE && vns_flow_same_key(&t->head[guess].key, key))
		return guess;
	return vns_flow_find(t, hash, key);
}

/*
 * Return: the id that vns_flow_find() will most likely give, its head being fetched; or none, or that
 * of another flow. It stands in one of four slots, but for one flow in thousands, and in which one is nothing
 * that a processor could predict, so all are looked at and nothing is branched on: the slot of the flow's mark
 * leaves its id alone when the mark is taken off, any other one a number above all ids.
 */
static inline uint32_t vns_flow_guess(const struct vns_flow_table *t, uint64_t hash)
{
	uint32_t tag = vns_flow_tag(t, hash), mark = vns_flow_mark(t, tag);
	const uint32_t *slot = &t->slot[vns_flow_home(t, tag)];
	uint32_t guess = VNS_FLOW_NONE, id;

#pragma GCC unroll 4
	for (size_t i = 0; i < VNS_FLOW_LOOKS; i++) {
		uint32_t one = slot[i] ^ mark;

		guess = one < guess ? one : guess;
	}
	id = guess < t->used ? guess : 0;
	__builtin_prefetch(&t->head[id], 1);
	return guess < t->used ? guess : VNS_FLOW_NONE;
}

#endif
