/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside the twin engine: what is remembered of a packet, and where.
 *
 * An entry is one packet that waits for its class. A node ties entries together that may be
 * twins: the data of one TCP flow direction (kind RANGE, entries sorted by sequence number), or
 * all packets of one identity (kind UNIT, entries in order of arrival). A node has two sides,
 * upstream and downstream. Both live in flat arrays and refer to each other by 32-bit
 * index (0: none), which keeps either at one cache line.
 *
 * Who writes what: memory.c owns allocation, the hash table and the queues; brief.c says what an entry will
 * hold, intake.c fills and queues it; range.c and unit.c link entries and set flags; only twin.c decides when a queued
 * entry's time has come, counts its class and frees it.
 */
#ifndef VNS_ENGINE_TWIN_INT_H
#define VNS_ENGINE_TWIN_INT_H

#include <errno.h>

#include <vnetscope/twin.h>

#define UNSET INT64_MIN /* a time that is not known */
#define TWIN_UP   0 /* sides of a node: where the packet is seen first ... */
#define TWIN_DOWN 1 /* ... and next */

enum twin_kind { TWIN_RANGE, TWIN_UNIT };

/* struct twin_entry.flags */
#define E_DOWN      0x0001 /* seen downstream */
#define E_CTRL_SYN  0x0002 /* len counts a SYN */
#define E_CTRL_FIN  0x0004 /* len counts a FIN */
#define E_TS        0x0008 /* tsval is valid */
#define E_TS_CUT    0x0010 /* whether there was a TSval is unknown: fits any */
#define E_SEEN      0x0020 /* down: some of its bytes were seen upstream */
#define E_CONTESTED 0x0040 /* another copy of some of its bytes exists at one of the points */
#define E_ASSIGNED  0x0080 /* down: decided to be somebody's twin */
#define E_LEFTOVER  0x0100 /* down: a copy that was nobody's twin when its group was decided */
#define E_AMBIGUOUS 0x0200
#define E_DONE      0x0400 /* decided; only waits for its turn to be counted */
#define E_MATCHED   0x0800 /* with E_DONE: has a twin */
#define E_CHOSEN    0x1000 /* up: its twin was chosen among copies: no evidence of how long packets take */

#define E_OVERLAP   0x2000 /* overlaps another of its own side, whatever their TSvals (RANGE) */
#define E_LOOKED    0x4000 /* pieces.c has looked for its pieces, or what it is a piece of */

#define E_CUT       0x8000 /* the snap length left less of it than its identity wants (UNIT) */

/* What a UNIT entry may be, in the upper half of its tsval (below: offset of a fragment). */
enum piece_kind {
	PIECE_NONE,  /* TCP, and what has no transport of ours */
	PIECE_WHOLE,
	PIECE_FIRST, /* fragments */
	PIECE_LATER,
};

/*
 * An identification that is no IP ID: what differs in it is different, but what agrees need not be
 * the same.
 */
#define TWIN_WEAK_ID (1u << 31)

/*
 * @time:  on point A's clock (B's shifted by the coarse offset), ns
 * @first: up: time of the downstream packet with the first byte; @last: with the last byte
 *         UNIT, until its twin is found: digest but for the length, hash of the hosts; see pieces.c
 * @n_first, @n_last: downstream packets found with that byte, saturating at 2
 * @seq, @len: sequence space covered, SYN and FIN included (RANGE); an ICMP echo's sequence number (the same
 *         in all of a node, whose identity it is in), payload bytes (UNIT)
 */
struct twin_entry {
	int64_t time;
	uint64_t flow_hash;
	int64_t first, last;
	uint32_t seq, len;
	uint32_t tsval;
	uint32_t ip_id;
	uint32_t prev, next;
	uint32_t node;
	uint16_t flags;
	uint8_t n_first, n_last;
};

/*
 * @finger:  entry last looked at from the other side (RANGE)
 * @n:       entries (UNIT); entries that overlap another (RANGE: 0 is what makes searches short)
 * @max_end: highest sequence number that ever ended an entry of the present list (RANGE)
 * @max_len: longest entry of the present list (RANGE)
 */
struct twin_side {
	uint32_t head, tail;
	uint32_t finger;
	uint32_t n;
	uint32_t max_end;
	uint32_t max_len;
};

struct twin_node {
	uint64_t key;
	struct twin_side side[2];
	uint32_t refs;     /* entries that name this node; a free node: the next free one */
	uint8_t kind;      /* enum twin_kind */
	uint8_t direction; /* enum vns_direction */
	uint8_t proto;     /* enum vns_proto */
	bool repeated : 1; /* UNIT: several waited at once, or, without IP ID, the same was seen before, maybe long ago */
	bool translated : 1; /* its packets of A had other addresses there */
};

_Static_assert(sizeof(struct twin_entry) == 64 && sizeof(struct twin_node) == 64,
	       "an entry and a node are one cache line each");

/* First in, first out, of entry indices; grows. */
struct twin_queue {
	uint32_t *slot;
	uint32_t cap, mask; /* slots, and that less one (no slots: 0) */
	uint32_t head, n;
};

/* Slots of the hash table: @tag is the upper half of the key, @node its index. */
struct twin_slot {
	uint32_t tag, node;
};

struct twin_memory {
	struct twin_entry *entry;
	struct twin_node *node;
	uint32_t max_entries;
	uint32_t entry_top, entry_free;
	uint32_t node_top, node_free;
	struct twin_slot *slot;
	uint32_t slot_mask;
	uint32_t n_nodes;
	uint32_t *told; /* tags of identities without IP ID, at most TWIN_TOLD */
};
#define TWIN_TOLD (1u << 15) /* 128 KB */

/* One of several copies of the same bytes or datagram; see copies.c. */
#define COPY_OPEN      (-3)
#define COPY_AMBIGUOUS (-2)
#define COPY_NONE      (-1)
struct twin_copy {
	int64_t time; /* in upstream's time */
	int64_t seen; /* as it was stamped */
	uint32_t ip_id;
	uint32_t seq;
	uint32_t entry;
	int32_t pair; /* index into the other side's copies, or COPY_* */
};

struct twin_copies {
	struct twin_copy *c;
	size_t n, cap;
};

/*
 * What twins tell of the offset, see offset.c. All on the engine's time, B's ahead of A's.
 * @upper, @lower: tightest bounds in a cell; @n: twins of each direction that gave them
 */
struct twin_bounds {
	int64_t upper, lower;
	unsigned int n[VNS_DIRECTIONS];
};
/* @error: how far @ahead may have been wrong from @from on */
struct twin_moment {
	int64_t from, ahead, error;
};
#define TWIN_MOMENTS 64 /* they cover more than two windows */

/* Stamps of a point = the engine's time + @shift, from the engine's time @from on. */
struct twin_epoch {
	int64_t from, shift;
};

/* Stages at which an entry is looked at, one queue each. */
enum { STAGE_SETTLE, STAGE_EXPIRE, STAGES };

struct twin_nat;
struct twin_brief;
struct piece;

/*
 * A frame that was decided without all its datagrams: @vacant: a bit for each place that nobody has; @rest_seen:
 * one as short as its last was seen with it. See superframe.c.
 */
struct twin_lacker {
	int64_t time;
	uint64_t flow, vacant[2];
	uint32_t id, size, places, rest;
	bool numbered, rest_seen;
};
#define TWIN_LACKERS 64

#define TWIN_CUT_FLOWS 4096
/* pieces.c: packets that one point saw whole and the other in pieces. */
struct twin_pieces {
	struct piece *p; /* scratch */
	size_t n, cap;
	int64_t upset[VNS_DIRECTIONS]; /* when doubling or disorder was last seen */
	int64_t lost[VNS_DIRECTIONS];  /* ... a packet that did not arrive */
	struct twin_lacker lacker[VNS_DIRECTIONS][TWIN_LACKERS]; /* the last ones, in a ring */
	size_t n_lackers[VNS_DIRECTIONS];
	uint64_t walked, compared;     /* entries gone through in all looks, and those of them that were sorted */
	uint64_t evictions, next_look[VNS_DIRECTIONS]; /* no look for an eviction before this one */
	int64_t cut_at[2];             /* cut.c: when headers were last seen cut, by point */
	uint32_t cut_flow[2][TWIN_CUT_FLOWS]; /* flows whose packets are cut, at their hash */
};

struct vns_twin {
	struct twin_memory m;
	struct twin_queue queue[2][VNS_DIRECTIONS][STAGES]; /* by point, direction, stage */
	int64_t window, settle, slack;
	int64_t tick, next_tick; /* entries are looked at as of multiples of @tick (A's time); the next */
	size_t max_pending;
	size_t pending[2];
	/*
	 * The engine's time: A's clock at the start, B's stamps shifted by the coarse offset; B's
	 * then are @ahead of A's.
	 */
	struct twin_epoch epoch[2][VNS_TWIN_STEPS + 1];
	unsigned int n_epoch[2];
	int64_t ahead;
	struct twin_bounds bounds[2]; /* of this cell and the one before */
	struct twin_moment moment[TWIN_MOMENTS];
	unsigned int n_moment;
	int64_t cell, cell_from, cell_before, disturbed;
	int64_t demand[VNS_DIRECTIONS];
	unsigned int strange[VNS_DIRECTIONS];
	int64_t strange_from[VNS_DIRECTIONS], sane_until[VNS_DIRECTIONS]; /* A's time */
	int64_t odd_at[VNS_DIRECTIONS], odd_most[VNS_DIRECTIONS]; /* twin_offset_odd() */
	bool sane[VNS_DIRECTIONS]; /* a twin was found that contradicts nothing */
	int64_t stepped_at;        /* A's time of the first twin after the latest step found */
	size_t stepping;           /* number of that step, 1 the first; 0: none */
	uint64_t n_twins;
	struct vns_twin_step steps[VNS_TWIN_STEPS];
	size_t n_steps;
	int64_t horizon;         /* both points have been read up to here (A's time) */
	int64_t quiet_before[VNS_DIRECTIONS]; /* no rival can come before this (downstream's time) */
	int64_t now[2];          /* each point has been read up to here (its own time) */
	int64_t first[2], last[2]; /* what each point covers (its own time) */
	int64_t end[2]; /* what came later and has no twin is outside the window */
	int64_t shortest[VNS_DIRECTIONS], longest[VNS_DIRECTIONS]; /* latencies found so far */
	int64_t recent[VNS_DIRECTIONS]; /* longest latency found lately: decays by 1/1024 per sample */
	bool found[VNS_DIRECTIONS];
	struct vns_twin_counts counts[2];
	uint64_t evicted, translated;
	struct twin_nat *nat;    /* NULL: no NAT is looked for */
	bool nat_peers;          /* the addresses of the guest's peers may be translated */
	bool sampled;            /* of a UDP frame of many datagrams the others need not be here */
	struct twin_pieces *pieces;
	int64_t credit;          /* list steps that may still be taken; see range.c */
	struct vns_addr guest[64];
	size_t n_guest;
	bool finishing;
	vns_twin_sample_fn fn;
	void *ctx;
	struct twin_copies up, down; /* scratch of range.c and unit.c */
};

/*
 * a - b, kept within +-2^62: capture files may hold any 64-bit stamp, and differences and small sums
 * of what this returns do not overflow.
 */
static inline int64_t twin_time_sub(int64_t a, int64_t b)
{
	const int64_t limit = (INT64_C(1) << 62) - 1;
	int64_t d;

	if (__builtin_sub_overflow(a, b, &d))
		d = a < b ? -limit : limit;
	return d > limit ? limit : d < -limit ? -limit : d;
}

/* A point's stamp of the engine's @time. */
static inline int64_t twin_stamp(const struct vns_twin *t, enum vns_point p, int64_t time)
{
	const struct twin_epoch *e = &t->epoch[p][t->n_epoch[p] - 1];

	while (e > t->epoch[p] && time < e->from)
		e--;
	return time + e->shift;
}

/* What downstream's times are ahead of upstream's by when B's are ahead of A's by @ahead. */
static inline int64_t twin_ahead(unsigned int direction, int64_t ahead)
{
	return direction == VNS_HOST_TO_GUEST ? ahead : -ahead;
}

/*
 * Longer than packets of @direction are under way: twice the longest latency found lately, and never
 * less than the slack (a busy host holds a packet up for milliseconds without warning).
 */
static inline int64_t twin_reach(const struct vns_twin *t, unsigned int direction)
{
	int64_t reach = 2 * t->recent[direction];

	if (!t->found[direction])
		return t->settle;
	return reach > t->slack ? reach : t->slack;
}

/* offset.c */
void twin_offset_init(struct vns_twin *t);
void twin_offset_news(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff);
/*
 * A twin that is beyond doubt: @diff = B's time less A's, @at = A's time. Most tell nothing that is not
 * known.
 */
static inline void twin_offset_learn(struct vns_twin *t, unsigned int dir, int64_t at,
				     int64_t diff)
{
	struct twin_bounds *b = &t->bounds[0];

	if (at - t->cell_from < t->cell && !t->strange[dir] &&
	    (dir == VNS_HOST_TO_GUEST ? diff >= b->upper : diff <= b->lower)) {
		b->n[dir]++;
		t->n_twins++;
		if (at > t->sane_until[dir]) /* contested packets come late */
			t->sane_until[dir] = at;
	} else {
		twin_offset_news(t, dir, at, diff);
	}
}
/*
 * Two that would be twins but for their times, which cannot be with @ahead as it is. Several in a row
 * say that a clock has stepped; then they will be. @at, @diff: as above.
 */
void twin_offset_odd(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff);
/*
 * limits.earliest at @at, where the clocks' relation may be wrong by @error, and by what they have drifted
 * since the last twin that fits, and within a cell: 500 ppm at most each way.
 */
static inline int64_t twin_earliest(const struct vns_twin *t, unsigned int dir, int64_t error,
				    int64_t at)
{
	int64_t since = at > t->sane_until[dir] ? at - t->sane_until[dir] : t->sane_until[dir] - at;

	if (!t->sane[dir])
		return INT64_MIN;
	return -(error > t->slack ? error : t->slack) - since / 1000 - t->cell_before / 1000;
}
/*
 * Would twins of @at and @diff, as above, contradict more than may be wrong by what is known now? Then they
 * are noted as odd.
 */
bool twin_offset_early(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff);
/*
 * Least time that a packet can take, where the clocks' relation may be wrong by @error at @at: as
 * twin_earliest(), but for TCP data, where a copy may be of an earlier transmission, no more is granted
 * where traffic of both directions tells.
 */
int64_t twin_soonest(const struct vns_twin *t, unsigned int dir, int64_t error, int64_t at);
/* What was known of the offset at @time. */
struct twin_moment twin_moment_at(const struct vns_twin *t, int64_t time);
/* ... when @e was seen. */
static inline struct twin_moment twin_moment_of(const struct vns_twin *t,
						const struct twin_entry *e)
{
	bool at_a = !(e->flags & E_DOWN) == (t->m.node[e->node].direction == VNS_HOST_TO_GUEST);

	return twin_moment_at(t, at_a ? e->time : e->time - t->ahead);
}

/* When @e, of a node of @direction, was seen, in upstream's time as the clocks were then: a share may last for seconds. */
static inline int64_t twin_upstream_time(const struct vns_twin *t, unsigned int direction, const struct twin_entry *e)
{
	return e->flags & E_DOWN ? e->time - twin_ahead(direction, twin_moment_of(t, e).ahead) : e->time;
}

/* memory.c */
int twin_memory_init(struct twin_memory *m, size_t max_entries);
void twin_memory_fini(struct twin_memory *m);
static inline uint32_t twin_entry_new(struct twin_memory *m)
{
	uint32_t e = m->entry_free;

	if (e) {
		m->entry_free = m->entry[e].next;
		__builtin_prefetch(&m->entry[m->entry_free], 1);
	} else if (m->entry_top <= m->max_entries) {
		e = m->entry_top++;
	}
	return e;
}
static inline void twin_entry_free(struct twin_memory *m, uint32_t e)
{
	m->entry[e].next = m->entry_free;
	m->entry_free = e;
}
/* Was an identity without IP ID seen before (nearly surely so)? It is now. */
bool twin_told_before(struct twin_memory *m, uint64_t key);
/* The node of @key, made when there is none. Return: index, or 0 when memory ran out. */
uint32_t twin_node_get(struct twin_memory *m, uint64_t key);
void twin_node_free(struct twin_memory *m, uint32_t node);
/* Room for more in a full queue. */
int twin_queue_grow(struct twin_queue *q);
static inline int twin_queue_push(struct twin_queue *q, uint32_t e)
{
	if (__builtin_expect(q->n == q->cap, 0) && twin_queue_grow(q))
		return -ENOMEM;
	q->slot[(q->head + q->n++) & q->mask] = e;
	return 0;
}
static inline uint32_t twin_queue_head(const struct twin_queue *q)
{
	return q->n ? q->slot[q->head & q->mask] : 0;
}
static inline void twin_queue_pop(struct twin_queue *q)
{
	q->head++;
	q->n--;
}
/* gcc finds a function that only prefetches free of effects, and drops calls of it: inline always. */
#define TWIN_PREFETCHER static inline __attribute__((always_inline))

/*
 * Bring what twin_node_get(@key) will touch into the cache, in steps that need each other: its
 * slot; the node that the slot names (a guess: a wrong one costs nothing); that
 * node's entries at which new ones are inserted and looked up.
 */
TWIN_PREFETCHER void twin_prefetch_slot(const struct twin_memory *m, uint64_t key)
{
	__builtin_prefetch(&m->slot[(uint32_t)(key >> 32) & m->slot_mask]);
}
TWIN_PREFETCHER uint32_t twin_prefetch_node(const struct twin_memory *m, uint64_t key)
{
	const struct twin_slot *s = &m->slot[(uint32_t)(key >> 32) & m->slot_mask];
	uint32_t node = s->node & -(uint32_t)(s->tag == (uint32_t)(key >> 32)); /* a coin toss: no branch */

	__builtin_prefetch(&m->node[node]);
	return node;
}
/* Where twin_told_before() will look. */
TWIN_PREFETCHER void twin_prefetch_told(const struct twin_memory *m, uint64_t key)
{
	__builtin_prefetch(&m->told[(key >> 32) % TWIN_TOLD]);
}
/* Is it @key's? Free nodes have key 0, which is nobody's guess. */
static inline bool twin_is_node_of(const struct twin_memory *m, uint32_t node, uint64_t key)
{
	return node && m->node[node].key == key && key;
}
TWIN_PREFETCHER void twin_prefetch_entries(const struct twin_memory *m, uint32_t node, bool down)
{
	const struct twin_side *s = m->node[node].side;

	__builtin_prefetch(&m->entry[s[down].tail]);
	__builtin_prefetch(&m->entry[s[!down].finger]);
}

/* Identity of a packet that travels whole; in it: flow, direction, digest, window. */
static inline uint64_t twin_identity(const struct vns_packet *p)
{
	uint64_t h = p->flow_hash + p->dir;

	h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	if (__builtin_expect(p->verdict == VNS_PKT_FRAGMENT || p->frag_off, 0))
		return h + ((uint64_t)p->ip_id << 16 ^ p->frag_off) * UINT64_C(0x94d049bb133111eb);
	return h ^ (p->digest + (uint64_t)p->window * UINT64_C(0x94d049bb133111eb));
}

/* coarse.c */
/* 0.0.0.0 or ::, the source of a machine that has no address yet. */
bool twin_is_unspecified(const struct vns_addr *a);

/*
 * ... without flow and direction, with IP ID: what NAT leaves of it (routers do not touch the ID). Of a datagram
 * the length is left out, in which it differs from a frame that begins with it.
 */
uint64_t twin_bare_identity(const struct vns_packet *p);

/* brief.c */
bool twin_is_guest(const struct vns_twin *t, const struct vns_addr *a);

/* nat.c */
int twin_nat_new(struct twin_nat **out);
void twin_nat_free(struct twin_nat *n);
/* A packet of B, for evidence. */
void twin_nat_see(struct vns_twin *t, const struct vns_packet *p, int64_t time);
/* A stranger of A: put B's flow in place of its own if that is known. Return: false when it is not. */
bool twin_nat_translate(struct vns_twin *t, struct vns_packet *p, int64_t time);
/* Is B's flow of this hash known to be the translation of one of A's? */
bool twin_nat_knows(const struct twin_nat *n, uint64_t flow_hash);
/* May the guest's packet @p of A bear another peer's address at B? False once its flow was seen there. */
bool twin_nat_unsure(struct vns_twin *t, const struct vns_packet *p, int64_t time);
/* Keep a stranger for later. Return: false when it is no use. */
bool twin_nat_hold(struct vns_twin *t, const struct vns_packet *p, int64_t time);
/* The next kept stranger whose time has come (borrowed until the next hold); NULL: none. */
const struct vns_packet *twin_nat_next(struct vns_twin *t, int64_t *time);
/* Do @a and @b of A and B have one end in common? Indices of that end. */
bool twin_nat_fits(const struct vns_packet *a, const struct vns_flow_key *key_b, uint8_t dir_b,
		   int *end_a, int *end_b);

/* pieces.c */
#define TWIN_LONGEST 1472 /* payload of a datagram in an Ethernet frame (IEEE 802.3: 1500, less IP and UDP) */
int twin_pieces_new(struct twin_pieces **out);
void twin_pieces_free(struct twin_pieces *p);
/* Keep for the entry of @p, which is no TCP segment, what may be needed of it. */
void twin_pieces_note(struct twin_brief *b, const struct vns_packet *p);
static inline bool twin_is_piece(const struct vns_twin *t, const struct twin_entry *e)
{
	return t->m.node[e->node].kind == TWIN_UNIT && e->tsval;
}
/* Packets of @direction are being doubled between the points. */
static inline void twin_pieces_doubled(struct vns_twin *t, unsigned int direction, int64_t time)
{
	if (time > t->pieces->upset[direction])
		t->pieces->upset[direction] = time;
}
/* ... are being lost there. */
static inline void twin_pieces_lost(struct vns_twin *t, unsigned int direction, int64_t time)
{
	if (time > t->pieces->lost[direction])
		t->pieces->lost[direction] = time;
}
/* The last look at @e, which found no twin of its own size, and at all that may have to do with it. */
void twin_pieces_look(struct vns_twin *t, uint32_t e);
/* @e was taken from its queue to be evicted: the same, for it and those that will be evicted next. */
void twin_pieces_evict(struct vns_twin *t, uint32_t e);

/* cut.c */
/* @e of point @p is cut, and so is its flow there. */
void twin_cut_flow(struct vns_twin *t, enum vns_point p, struct twin_entry *e);
/* A packet of @p is cut so short that not even its flow is known. */
void twin_cut_headers(struct vns_twin *t, enum vns_point p, int64_t time);
/* Class of @e of point @p, which found no twin though the other point was captured. */
enum vns_twin_class twin_cut_class(const struct vns_twin *t, enum vns_point p,
				   const struct twin_entry *e);

/* copies.c */
/* @time: @e's in upstream's time. */
int twin_copies_add(struct twin_copies *set, const struct twin_entry *e, uint32_t index,
		    int64_t time);
/*
 * @slack: error of the clocks; @reach: longer than packets take; @stall: longer than they ever do.
 * @repeated: this identity is no rare one. @earliest: less than this is impossible, whatever else agrees.
 */
struct twin_limits {
	int64_t slack, reach, stall;
	bool repeated;
	int64_t earliest;
};
/* Sets every copy's pair. */
void twin_match_copies(struct twin_copies *up, struct twin_copies *down,
		       const struct twin_limits *limits);
/* Are times and IP IDs of an only pair no reason to doubt it? @lag: downstream's time less upstream's. */
bool twin_only_pair(int64_t lag, uint32_t id_up, uint32_t id_down,
		    const struct twin_limits *limits);

/* range.c: TCP segments that take sequence space */
int twin_range_insert(struct vns_twin *t, uint32_t e);
void twin_range_resolve(struct vns_twin *t, uint32_t e);
/*
 * Upstream @e was seen downstream, by t->ahead's reckoning before it was sent: by more than is usual? Then
 * it waits as contested: a step of a clock shows by more of the kind.
 */
bool twin_range_early(struct vns_twin *t, uint32_t e);
/* @e is ambiguous or lost to us: so is what may hold its bytes at the other point. */
void twin_range_doubt(struct vns_twin *t, uint32_t e);
/*
 * Steps in lists that each packet may cost, that may be saved up for one that costs more, and that are there at
 * the start (milliseconds of work): copies among a capture's first packets have nothing saved up yet.
 */
#define TWIN_WALK_PER_PACKET 64
#define TWIN_WALK_START      (INT64_C(1) << 20)
#define TWIN_WALK_BANK       (INT64_C(16) << 20)

/* unit.c: everything else */
void twin_unit_insert(struct vns_twin *t, uint32_t e);
/* Try to find the twin of upstream entry @e early. Return: true when decided (E_DONE). */
bool twin_unit_settle(struct vns_twin *t, uint32_t e);
/* Is nothing like @e left at the other point, nor was there lately? */
bool twin_unit_alone(const struct vns_twin *t, uint32_t e);
/* Decide @e's whole group as far as it is known up to @until. @e is decided after it. */
void twin_unit_resolve(struct vns_twin *t, uint32_t e, int64_t until);
void twin_unit_remove(struct vns_twin *t, uint32_t e);

#endif
