// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Twins: the same packet at two capture points.
 *
 * In: decoded packets of points A (host side) and B (guest side). Out: one sample for each
 * upstream packet that was found downstream, and one class for every packet read.
 *
 * Theory of operation. Intake (intake.c): a packet gets its direction from the guest's addresses,
 * hence its side: upstream (A for host_to_guest, B for guest_to_host) or downstream. It becomes an
 * entry of the node of its flow direction (TCP with sequence space: range.c) or of its identity (all
 * else: unit.c), and an entry of a queue in order of time. Both points have then been read up to some
 * "horizon"; an entry is looked at when the horizon is
 *   settle   past it (upstream; twice that downstream, so that upstream decides first): a twin
 *            that nobody contests is final. A rival would have shown by now.
 *   window   past it: the rest is decided with all that was seen, or is missing.
 * So memory holds `settle` worth of ordinary traffic and `window` worth of lost packets.
 *
 * A TCP packet upstream is matched when its first byte was found downstream. A downstream
 * packet is matched when any of its bytes came from a packet seen upstream (not ambiguous), also
 * when that packet's first byte is lost: it was not missing at the other point.
 *
 * All times inside are on A's clock; B's are shifted by the coarse offset, and samples give
 * the raw difference back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/twin/intake.h"

#define DEFAULT_WINDOW_NS (5 * VNS_NSEC_PER_SEC)
#define MAX_WINDOW_NS     (24 * 3600 * VNS_NSEC_PER_SEC) /* far from any overflow */
#define DEFAULT_SLACK_NS  (20 * VNS_NSEC_PER_MSEC)
#define DEFAULT_PENDING   ((size_t)4 << 20)
#define MAX_PENDING       ((size_t)1 << 30)
#define TICKS             10000 /* of a window: 0.5 ms of five seconds */
#define AHEAD             6 /* entries of a queue fetched before their turn */

static enum vns_point point_of(const struct vns_twin *t, const struct twin_entry *e)
{
	bool down = e->flags & E_DOWN;
	bool from_guest = t->m.node[e->node].direction == VNS_GUEST_TO_HOST;

	return down != from_guest ? VNS_POINT_B : VNS_POINT_A;
}

int vns_twin_new(struct vns_twin **out, const struct vns_twin_opts *opts, vns_twin_sample_fn fn,
		 void *ctx, struct vns_err *err)
{
	struct vns_twin *t = calloc(1, sizeof(*t));

	if (!t)
		return vns_err_set(err, -ENOMEM, "no memory for the twin engine");
	t->window = opts->window_ns > 0 ? opts->window_ns : DEFAULT_WINDOW_NS;
	if (t->window > MAX_WINDOW_NS)
		t->window = MAX_WINDOW_NS;
	t->settle = t->window / 10;
	t->tick = t->window / TICKS + 1;
	t->next_tick = INT64_MIN + 1; /* behind UNSET */
	t->slack = opts->slack_ns > 0 ? opts->slack_ns : DEFAULT_SLACK_NS;
	if (t->slack > t->settle)
		t->slack = t->settle;
	t->n_epoch[0] = t->n_epoch[1] = 1;
	t->epoch[VNS_POINT_A][0].from = t->epoch[VNS_POINT_B][0].from = INT64_MIN;
	t->epoch[VNS_POINT_B][0].shift = twin_time_sub(opts->coarse_offset_ns, 0);
	t->max_pending = opts->max_pending ? opts->max_pending : DEFAULT_PENDING;
	if (t->max_pending > MAX_PENDING)
		t->max_pending = MAX_PENDING;
	t->sampled = opts->sampled;
	t->fn = fn;
	t->ctx = ctx;
	for (int p = 0; p < 2; p++) {
		t->now[p] = t->first[p] = t->last[p] = UNSET;
		t->end[p] = INT64_MAX;
	}
	t->credit = TWIN_WALK_START;
	t->horizon = INT64_MIN / 2;
	t->quiet_before[0] = t->quiet_before[1] = INT64_MIN / 2;
	twin_offset_init(t);
	t->n_guest = opts->n_guest;
	if (t->n_guest > sizeof(t->guest) / sizeof(t->guest[0])) {
		free(t);
		return vns_err_set(err, -EINVAL, "more than 64 guest addresses");
	}
	if (t->n_guest)
		memcpy(t->guest, opts->guest, t->n_guest * sizeof(t->guest[0]));
	t->nat_peers = opts->nat && opts->nat_peers;
	if (opts->nat && twin_nat_new(&t->nat)) {
		free(t);
		return vns_err_set(err, -ENOMEM, "no memory to learn address translation");
	}
	if (twin_pieces_new(&t->pieces)) {
		twin_nat_free(t->nat);
		free(t);
		return vns_err_set(err, -ENOMEM, "no memory for the twin engine");
	}
	/* One more at each point: the limit is enforced after the insertion. */
	if (twin_memory_init(&t->m, 2 * (t->max_pending + 1))) {
		vns_err_set(err, -ENOMEM, "no memory for %zu pending packets at each point",
			    t->max_pending);
		twin_nat_free(t->nat);
		twin_pieces_free(t->pieces);
		free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

void vns_twin_free(struct vns_twin *t)
{
	if (!t)
		return;
	for (int p = 0; p < 2; p++)
		for (int d = 0; d < VNS_DIRECTIONS; d++)
			for (int s = 0; s < STAGES; s++)
				free(t->queue[p][d][s].slot);
	free(t->up.c);
	free(t->down.c);
	twin_nat_free(t->nat);
	twin_pieces_free(t->pieces);
	twin_memory_fini(&t->m);
	free(t);
}

/* Missing at the other point, or was the other point not captured when it should have been there? */
static enum vns_twin_class unmatched(const struct vns_twin *t, const struct twin_entry *e,
				     enum vns_point p)
{
	unsigned int dir = t->m.node[e->node].direction;
	int64_t there = p == VNS_POINT_A ? t->ahead : -t->ahead;
	int64_t from = t->first[!p] - there, to = t->last[!p] - there;
	int64_t lo = t->shortest[dir], hi = t->longest[dir];

	if (from == UNSET || e->time > t->end[p])
		return VNS_TWIN_OUTSIDE_WINDOW;
	if (e->flags & E_DOWN)
		return e->time - hi < from || e->time - lo > to ? VNS_TWIN_OUTSIDE_WINDOW
								: VNS_TWIN_MISSING;
	return e->time + lo < from || e->time + hi > to ? VNS_TWIN_OUTSIDE_WINDOW
							: VNS_TWIN_MISSING;
}

static enum vns_twin_class class_of(const struct vns_twin *t, const struct twin_entry *e,
				    enum vns_point p)
{
	bool range = t->m.node[e->node].kind == TWIN_RANGE;
	bool matched;

	if (range && (e->flags & E_DOWN)) {
		if (e->flags & E_ASSIGNED)
			return VNS_TWIN_MATCHED;
		matched = (e->flags & (E_SEEN | E_LEFTOVER)) == E_SEEN;
	} else if (range && !(e->flags & E_CONTESTED)) {
		matched = e->n_first == 1;
	} else {
		matched = e->flags & E_MATCHED;
	}
	if (e->flags & E_AMBIGUOUS)
		return VNS_TWIN_AMBIGUOUS;
	return matched ? VNS_TWIN_MATCHED : unmatched(t, e, p);
}

/* How long packets take, from those whose twin is beyond doubt. */
static void learn_lag(struct vns_twin *t, unsigned int dir, int64_t lag)
{
	if (!t->found[dir] || lag < t->shortest[dir])
		t->shortest[dir] = lag;
	if (!t->found[dir] || lag > t->longest[dir])
		t->longest[dir] = lag;
	t->recent[dir] -= t->recent[dir] / 1024;
	if (lag > t->recent[dir])
		t->recent[dir] = lag;
	t->found[dir] = true;
}

/* Clocks have stepped: each stamp goes back by the shift it came with. */
static void unshift(const struct vns_twin *t, struct vns_twin_sample *s, int64_t up, int64_t first,
		    int64_t last)
{
	bool in = s->direction == VNS_HOST_TO_GUEST;
	enum vns_point at = in ? VNS_POINT_A : VNS_POINT_B;
	int64_t u = twin_stamp(t, at, up), f = twin_stamp(t, !at, first);
	int64_t l = twin_stamp(t, !at, last);

	s->host_ns = in ? u : f;
	s->first_raw_ns = in ? f - u : u - f;
	s->last_host_ns = in ? u : l;
	s->last_raw_ns = in ? l - u : u - l;
}

TWIN_INLINE void emit(struct vns_twin *t, const struct twin_entry *e)
{
	const struct twin_node *node = &t->m.node[e->node];
	unsigned int dir = node->direction;
	bool in = dir == VNS_HOST_TO_GUEST;
	uint32_t ctrl = !!(e->flags & E_CTRL_SYN) + !!(e->flags & E_CTRL_FIN);
	int64_t offset = t->epoch[VNS_POINT_B][0].shift;
	/* without a last byte @last holds what it was last used for */
	int64_t last = e->n_last == 1 ? e->last : e->first;
	int64_t lag = e->first - e->time, last_lag = last - e->time;
	struct vns_twin_sample s = {
		.flow_hash = e->flow_hash ^ (node->proto == VNS_PROTO_ICMP ? e->seq : 0),
		.payload_len = e->len - ctrl,
		.proto = node->proto,
		.direction = (uint8_t)dir,
		.has_last = e->n_last == 1,
	};

	if (!(e->flags & E_CHOSEN)) {
		twin_offset_learn(t, dir, in ? e->time : e->first, in ? lag : -lag);
		learn_lag(t, dir, lag - twin_ahead(dir, t->ahead));
	}
	s.host_ns = in ? e->time : e->first;
	s.last_host_ns = in ? e->time : last;
	s.first_raw_ns = offset + (in ? lag : -lag);
	s.last_raw_ns = offset + (in ? last_lag : -last_lag);
	if (unlikely(t->n_epoch[0] + t->n_epoch[1] > 2))
		unshift(t, &s, e->time, e->first, last);
	if (!s.has_last)
		s.last_host_ns = s.last_raw_ns = 0;
	if (t->fn)
		t->fn(t->ctx, &s);
}

/* Count @e's class and forget it. */
static enum vns_twin_class retire(struct vns_twin *t, uint32_t index)
{
	struct twin_entry *e = &t->m.entry[index];
	struct twin_node *node = &t->m.node[e->node];
	enum vns_point p = point_of(t, e);
	enum vns_twin_class c = class_of(t, e, p);

	if (c == VNS_TWIN_MISSING)
		c = twin_cut_class(t, p, e);
	t->counts[p].in_class[c]++;
	if (c == VNS_TWIN_MISSING)
		t->counts[p].missing_by_proto[node->proto]++;
	else if (c == VNS_TWIN_UNDECODABLE)
		t->counts[p].by_direction[node->direction]--;
	if (c == VNS_TWIN_MATCHED)
		t->translated += p == VNS_POINT_A && node->translated;
	if (c == VNS_TWIN_MATCHED && !(e->flags & E_DOWN))
		emit(t, e);
	t->pending[p]--;
	if (node->kind == TWIN_RANGE)
		twin_range_unlink(t, node, e, index);
	else if (!(e->flags & E_DONE))
		twin_unit_remove(t, index);
	if (--node->refs == 0)
		twin_node_free(&t->m, e->node);
	twin_entry_free(&t->m, index);
	return c;
}

/* Upstream: seen at the other point before it was sent, as the clocks are taken to be? Rare. */
TWIN_INLINE bool seen_early(const struct vns_twin *t, const struct twin_entry *e)
{
	int64_t sent = e->time + twin_ahead(t->m.node[e->node].direction, t->ahead);

	return !(e->flags & E_DOWN) && (e->first < sent || e->last < sent);
}

/* The same for the many that are matched beyond doubt at the first look. Return: false for others. */
TWIN_INLINE bool retire_inorder(struct vns_twin *t, enum vns_point p, uint32_t index)
{
	struct twin_entry *e = &t->m.entry[index];
	struct twin_node *node = &t->m.node[e->node];

	if (node->kind != TWIN_RANGE ||
	    !twin_inorder_settled(e, t->quiet_before[node->direction]) ||
	    unlikely(seen_early(t, e)))
		return false;
	t->counts[p].in_class[VNS_TWIN_MATCHED]++;
	t->translated += p == VNS_POINT_A && node->translated;
	if (!(e->flags & E_DOWN))
		emit(t, e);
	t->pending[p]--;
	twin_range_unlink(t, node, e, index);
	if (--node->refs == 0)
		twin_node_free(&t->m, e->node);
	twin_entry_free(&t->m, index);
	return true;
}

/* First look. Return: true when @e's class is known. */
static bool settled(struct vns_twin *t, uint32_t index)
{
	const struct twin_entry *e = &t->m.entry[index];
	const struct twin_node *node = &t->m.node[e->node];
	int64_t before = t->quiet_before[node->direction];

	if (node->kind == TWIN_UNIT)
		return e->flags & E_DOWN ? e->flags & E_DONE : twin_unit_settle(t, index);
	if (e->flags & E_CONTESTED)
		return false;
	if (e->flags & E_DOWN)
		return e->flags & E_SEEN;
	/* One point may be read ahead of the other: rivals of what lies there are still unknown. */
	return e->n_first == 1 && e->n_last == 1 && e->first < before && e->last < before &&
	       !(seen_early(t, e) && twin_range_early(t, index));
}

/* Last look: decide what is not decided. */
static enum vns_twin_class expire(struct vns_twin *t, uint32_t index)
{
	struct twin_entry *e = &t->m.entry[index];

	if (t->m.node[e->node].kind == TWIN_UNIT && e->flags & E_DONE)
		return retire(t, index);
	if (t->m.node[e->node].kind == TWIN_UNIT) {
		int64_t until = t->finishing ? INT64_MAX : e->time + t->window - t->settle;

		if (!twin_unit_settle(t, index)) {
			bool piece = twin_is_piece(t, e);

			if (piece)
				twin_pieces_look(t, index);
			/* Its likes may yet be found to be pieces: they wait for their own last look. */
			if (!(e->flags & E_DONE) && !(piece && twin_unit_alone(t, index)))
				twin_unit_resolve(t, index, until);
		}
	} else if ((e->flags & (E_CONTESTED | E_DOWN)) == E_CONTESTED) {
		twin_range_resolve(t, index);
	}
	return retire(t, index);
}

/* Entries that wait have left the cache: ask for those that come next, and for what they name. */
TWIN_PREFETCHER void prefetch_queue(const struct vns_twin *t, const struct twin_queue *q)
{
	const struct twin_entry *e, *entry = t->m.entry;
	const struct twin_node *node;

	if (q->n <= 3 * AHEAD)
		return;
	__builtin_prefetch(&entry[q->slot[(q->head + 3 * AHEAD) & q->mask]]);
	e = &entry[q->slot[(q->head + 2 * AHEAD) & q->mask]];
	__builtin_prefetch(&t->m.node[e->node]);
	__builtin_prefetch(&entry[e->next]);
	e = &entry[q->slot[(q->head + AHEAD) & q->mask]];
	node = &t->m.node[e->node];
	__builtin_prefetch(&entry[node->side[TWIN_DOWN].head]);
	/* the node may go with its last entry, and its slot with it */
	twin_prefetch_slot(&t->m, node->key);
}

/* Look at all entries of point @p and direction @dir whose time has come. */
static int drain_queue(struct vns_twin *t, enum vns_point p, unsigned int dir, int64_t settle_at,
		       int64_t expire_at)
{
	struct twin_queue *x = &t->queue[p][dir][STAGE_EXPIRE];
	struct twin_queue q = t->queue[p][dir][STAGE_SETTLE];
	const struct twin_entry *entry = t->m.entry;
	uint32_t e;
	int ret = 0;

	while (!ret && (e = twin_queue_head(&q)) && entry[e].time < settle_at) {
		prefetch_queue(t, &q);
		twin_queue_pop(&q);
		if (likely(retire_inorder(t, p, e)))
			continue;
		if (settled(t, e))
			retire(t, e);
		else
			ret = twin_queue_push(x, e);
	}
	t->queue[p][dir][STAGE_SETTLE] = q;
	if (ret)
		return ret;
	while ((e = twin_queue_head(x)) && t->m.entry[e].time < expire_at) {
		prefetch_queue(t, x);
		twin_queue_pop(x);
		expire(t, e);
	}
	return 0;
}

int twin_drain(struct vns_twin *t)
{
	const int64_t far = INT64_MAX / 2; /* finished: later than any time, and sums do not overflow */
	int64_t wait = t->settle, window = t->window, until = twin_read_until(t);
	int ret = 0;

	if (until == UNSET)
		return 0;
	if (until >= far) {
		t->horizon = t->next_tick = far;
	} else {
		int64_t into = until % t->tick;

		t->horizon = until - (into < 0 ? into + t->tick : into);
		t->next_tick = t->horizon + t->tick;
	}
	if (t->nat)
		ret = twin_release_held(t);
	for (unsigned int d = 0; d < VNS_DIRECTIONS && !ret; d++) {
		bool in = d == VNS_HOST_TO_GUEST;
		enum vns_point up = in ? VNS_POINT_A : VNS_POINT_B;
		int64_t upper = t->horizon + (in ? 0 : t->ahead);
		int64_t lower = t->horizon + (in ? t->ahead : 0);

		t->quiet_before[d] = lower - t->slack;
		ret = drain_queue(t, up, d, upper - wait, upper - window);
		if (!ret)
			ret = drain_queue(t, !up, d, lower - 2 * wait, lower - window - wait);
	}
	return ret;
}

void twin_evict(struct vns_twin *t, enum vns_point p)
{
	struct twin_queue *oldest = NULL;
	int64_t time = INT64_MAX;
	uint32_t e;

	for (unsigned int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int s = 0; s < STAGES; s++) {
			e = twin_queue_head(&t->queue[p][d][s]);
			if (e && t->m.entry[e].time <= time) {
				oldest = &t->queue[p][d][s];
				time = t->m.entry[e].time;
			}
		}
	}
	if (!oldest)
		return;
	e = twin_queue_head(oldest);
	twin_queue_pop(oldest);
	if ((t->m.entry[e].flags & (E_CONTESTED | E_DOWN)) == (E_CONTESTED | E_DOWN))
		twin_range_doubt(t, e); /* too early: the copies it would be told apart from are not here */
	twin_pieces_evict(t, e);
	t->evicted += expire(t, e) == VNS_TWIN_MISSING;
}

void vns_twin_advance(struct vns_twin *t, enum vns_point p, int64_t now_ns)
{
	if (now_ns == INT64_MAX)
		t->now[p] = INT64_MAX;
	else
		twin_see_time(t, p, twin_time_sub(now_ns, t->epoch[p][t->n_epoch[p] - 1].shift));
	if (twin_is_due(t))
		twin_drain(t);
}

void vns_twin_end_at(struct vns_twin *t, enum vns_point p, int64_t at_ns)
{
	t->end[p] = twin_time_sub(at_ns, t->epoch[p][t->n_epoch[p] - 1].shift);
}

void vns_twin_finish(struct vns_twin *t)
{
	t->finishing = true;
	t->now[VNS_POINT_A] = t->now[VNS_POINT_B] = INT64_MAX;
	twin_drain(t);
}

void vns_twin_get_counts(const struct vns_twin *t, enum vns_point p, struct vns_twin_counts *out)
{
	*out = t->counts[p];
}

uint64_t vns_twin_evicted(const struct vns_twin *t)
{
	return t->evicted;
}
