// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Views over passive RTT: distributions of directions -> hosts and prefixes; listed directions -> both
 * sides of each flow's path.
 *
 * Groups merge distributions, so that their quantiles are those of all samples together. They stand
 * in an array with an open-addressing index of 32-bit numbers (linear probing, at most half full,
 * nothing is ever removed). @max bounds them; what finds no room is counted.
 *
 * The client of a flow is who opened it. Where that was not captured the lower port is taken for
 * the server's if it is below 32768, where Linux's ephemeral ports begin; else nothing is said.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "measure/rtt_rows.h"

#define DEFAULT_MAX_GROUPS (1u << 20)
#define FIRST_SLOTS        1024u
#define EPHEMERAL          32768

/* FNV-1a over the bytes that tell groups apart; spread by a multiplication (Knuth 6.4). */
static uint32_t group_hash(const struct vns_rtt_group *g)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof(g->addr.b); i++)
		h = (h ^ g->addr.b[i]) * 16777619u;
	h = (h ^ g->kind) * 16777619u;
	h = (h ^ g->point) * 16777619u;
	return h * 2654435769u >> 7;
}

static bool same_group(const struct vns_rtt_group *a, const struct vns_rtt_group *b)
{
	return a->kind == b->kind && a->point == b->point &&
	       memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0;
}

static void index_group(struct vns_rtt_groups *g, size_t i)
{
	size_t at = group_hash(&g->group[i]) & (g->n_slot - 1);

	while (g->slot[at])
		at = (at + 1) & (g->n_slot - 1);
	g->slot[at] = (uint32_t)(i + 1);
}

/* Room for one more. Return: false when memory or @max is at its end. */
static bool make_room(struct vns_rtt_groups *g)
{
	size_t max = g->max ? g->max : DEFAULT_MAX_GROUPS;

	if (g->n >= max)
		return false;
	if (g->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : FIRST_SLOTS / 2;
		struct vns_rtt_group *bigger = realloc(g->group, cap * sizeof(*bigger));

		if (!bigger)
			return false;
		g->group = bigger;
		g->cap = cap;
	}
	if (2 * (g->n + 1) > g->n_slot) {
		size_t n = g->n_slot ? 2 * g->n_slot : FIRST_SLOTS;
		uint32_t *slot = calloc(n, sizeof(*slot));

		if (!slot)
			return false;
		free(g->slot);
		g->slot = slot;
		g->n_slot = n;
		for (size_t i = 0; i < g->n; i++)
			index_group(g, i);
	}
	return true;
}

/* The group like @want, made if need be; NULL when there is no room. */
static struct vns_rtt_group *group_of(struct vns_rtt_groups *g, const struct vns_rtt_group *want)
{
	size_t at = group_hash(want) & (g->n_slot - 1);

	for (; g->n_slot && g->slot[at]; at = (at + 1) & (g->n_slot - 1))
		if (same_group(&g->group[g->slot[at] - 1], want))
			return &g->group[g->slot[at] - 1];
	if (!make_room(g))
		return NULL;
	g->group[g->n] = *want;
	index_group(g, g->n);
	return &g->group[g->n++];
}

/* Clear what stands behind the first @bits of @a. */
static void mask_address(struct vns_addr *a, unsigned int bits)
{
	for (unsigned int i = 0; i < sizeof(a->b); i++) {
		unsigned int keep = bits > 8 * i ? bits - 8 * i : 0;

		if (keep < 8)
			a->b[i] = (uint8_t)(a->b[i] & 0xff00u >> keep);
	}
}

void vns_rtt_groups_add(struct vns_rtt_groups *g, const struct vns_rtt_flow *f, uint16_t point)
{
	struct vns_rtt_group want = { .addr = f->key->addr[!f->dir], .kind = (uint8_t)f->kind,
				      .point = point }, *group;
	bool v4 = vns_addr_is_v4(&want.addr);

	want.prefix_len = v4 ? 32 : 128;
	if (g->by == VNS_RTT_BY_PREFIX) {
		want.prefix_len = v4 ? (g->prefix4 ? g->prefix4 : 24) :
				       (g->prefix6 ? g->prefix6 : 64);
		mask_address(&want.addr, want.prefix_len + (v4 ? 96u : 0u));
	}
	group = group_of(g, &want);
	if (!group) {
		g->lost += f->rtt->n;
		return;
	}
	group->directions++;
	vns_dist_merge(&group->rtt, f->rtt);
	if (f->series)
		vns_series_merge(&group->series, f->series);
	else /* one sample: a handshake */
		vns_series_add(&group->series, f->first_ns, f->rtt->min);
}

static void free_group(struct vns_rtt_group *g)
{
	vns_dist_fini(&g->rtt);
	vns_series_free(g->series);
	g->series = NULL;
}

void vns_rtt_groups_fini(struct vns_rtt_groups *g)
{
	for (size_t i = 0; i < g->n; i++)
		free_group(&g->group[i]);
	free(g->group);
	free(g->slot);
	*g = (struct vns_rtt_groups){ 0 };
}

static double group_figure(const struct vns_rtt_group *g, int order)
{
	const struct vns_dist *d = &g->rtt;

	switch (order) {
	case VNS_RTT_BY_SAMPLES:
		return (double)d->n;
	case VNS_RTT_BY_MIN:
		return (double)d->min;
	case VNS_RTT_BY_MEAN:
		return d->mean;
	case VNS_RTT_BY_P50:
		return (double)vns_dist_quantile(d, 0.50);
	case VNS_RTT_BY_P95:
		return (double)vns_dist_quantile(d, 0.95);
	case VNS_RTT_BY_P99:
		return (double)vns_dist_quantile(d, 0.99);
	case VNS_RTT_BY_MAX:
		return (double)d->max;
	case VNS_RTT_BY_STDDEV:
		return vns_dist_stddev(d);
	}
	return 0;
}

static int compare_groups(const void *pa, const void *pb, void *order)
{
	const struct vns_rtt_group *a = pa, *b = pb;
	double va = group_figure(a, *(int *)order), vb = group_figure(b, *(int *)order);
	int c = a->kind - b->kind;

	c = c ? c : (va < vb) - (va > vb);
	c = c ? c : memcmp(&a->addr, &b->addr, sizeof(a->addr));
	return c ? c : a->point - b->point;
}

void vns_rtt_groups_sort(struct vns_rtt_result *r, int order, uint64_t min_samples, size_t worst)
{
	struct vns_rtt_groups *g = &r->groups;
	size_t kept = 0, of_kind = 0;

	if (g->n)
		qsort_r(g->group, g->n, sizeof(*g->group), compare_groups, &order);
	for (size_t i = 0; i < g->n; i++) {
		struct vns_rtt_group *from = &g->group[i];

		if (kept == 0 || g->group[kept - 1].kind != from->kind)
			of_kind = 0;
		if (from->rtt.n < min_samples || (worst && of_kind >= worst)) {
			free_group(from);
			g->hidden++;
			continue;
		}
		of_kind++;
		vns_series_intervals(from->series, &from->rtt, &from->interval);
		if (kept != i)
			g->group[kept] = *from;
		kept++;
	}
	g->n = kept;
}

void vns_rtt_keep_worst(struct vns_rtt_result *r, size_t n)
{
	struct vns_rtt_rows *rows = &r->rows;
	size_t kept = 0, of_kind = 0;
	unsigned int kind = VNS_RTT_KINDS;

	for (size_t i = 0; i < rows->n; i++) {
		unsigned int is = vns_rtt_rows_head(rows, i)->kind & VNS_RTT_ROW_KIND;

		of_kind = is == kind ? of_kind + 1 : 1;
		kind = is;
		if (of_kind <= n)
			rows->at[kept++] = rows->at[i];
	}
	r->flows_hidden += rows->n - kept;
	rows->n = kept;
}

/* --- Halves of the path --- */

static bool same_flow(const struct vns_rtt_entry *a, const struct vns_rtt_entry *b)
{
	return a->kind == b->kind && a->point == b->point && a->first_ns == b->first_ns &&
	       a->dir != b->dir && memcmp(&a->key, &b->key, sizeof(a->key)) == 0;
}

static int by_flow(const void *pa, const void *pb)
{
	const struct vns_rtt_entry *a = pa, *b = pb;
	int c = a->kind < b->kind ? -1 : a->kind > b->kind;

	c = c ? c : a->point - b->point;
	c = c ? c : memcmp(&a->key, &b->key, sizeof(a->key));
	c = c ? c : (a->first_ns > b->first_ns) - (a->first_ns < b->first_ns);
	return c ? c : a->dir - b->dir;
}

static void find_client(struct vns_rtt_path *p, const struct vns_rtt_entry *e)
{
	const uint16_t *port = e->key.port;
	uint16_t low = port[0] < port[1] ? port[0] : port[1];

	if (e->opener != VNS_RTT_OPENER_UNKNOWN) {
		p->client = e->opener;
		p->role = VNS_RTT_ROLE_OPENED;
	} else if (port[0] != port[1] && low < EPHEMERAL) {
		p->client = port[1] == low ? 0 : 1;
		p->role = VNS_RTT_ROLE_PORTS;
	}
}

/* Figures of @e, a direction that leads to one of the ends, into that end's side. */
static void put_side(struct vns_rtt_path *p, const struct vns_rtt_entry *e)
{
	unsigned int end = e->dir ? 0 : 1;
	bool to_client = end == p->client;

	p->side[to_client ? 0 : 1] = (struct vns_rtt_half){
		.samples = e->samples, .min = e->min, .p50 = e->p50, .p95 = e->p95, .mean = e->mean,
		.interval = e->interval };
}

static bool has_sides(const struct vns_rtt_entry *e)
{
	return e->kind != VNS_RTT_ICMP && e->kind != VNS_RTT_DNS;
}

static void add_intervals(struct vns_rtt_path *p)
{
	const struct vns_interval *a = &p->side[0].interval.mean, *b = &p->side[1].interval.mean;

	if (vns_interval_known(a) && vns_interval_known(b))
		p->sum_mean_interval = (struct vns_interval){ a->lower + b->lower,
							      a->upper + b->upper };
}

/* Directions that have another side, by flow; their number in *@n. NULL: no memory. */
static struct vns_rtt_entry *sided(const struct vns_rtt_rows *rows, size_t *n)
{
	struct vns_rtt_entry *e = reallocarray(NULL, rows->n + 1, sizeof(*e));

	*n = 0;
	for (size_t i = 0; e && i < rows->n; i++) {
		vns_rtt_rows_get(rows, i, &e[*n]);
		*n += has_sides(&e[*n]);
	}
	if (e)
		qsort(e, *n, sizeof(*e), by_flow);
	return e;
}

long vns_rtt_paths(struct vns_rtt_result *r, struct vns_rtt_path **out)
{
	size_t n_side;
	struct vns_rtt_entry *side = sided(&r->rows, &n_side);
	struct vns_rtt_path *path = calloc(n_side + 1, sizeof(*path));
	long n = 0;

	if (!path || !side) {
		free(path);
		free(side);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_side; i++) {
		const struct vns_rtt_entry *e = &side[i];
		struct vns_rtt_path *p = &path[n++];

		*p = (struct vns_rtt_path){ .key = e->key, .kind = (uint8_t)e->kind,
					    .point = e->point, .first_ns = e->first_ns };
		find_client(p, e);
		put_side(p, e);
		if (i + 1 < n_side && same_flow(e, &side[i + 1])) {
			put_side(p, &side[++i]);
			p->sum_min = p->side[0].min + p->side[1].min;
			p->sum_mean = p->side[0].mean + p->side[1].mean;
			add_intervals(p);
		}
	}
	free(side);
	*out = path;
	return n;
}

static int by_sum(const void *pa, const void *pb)
{
	const struct vns_rtt_path *a = pa, *b = pb;
	int c = a->kind - b->kind;

	c = c ? c : (a->sum_mean < b->sum_mean) - (a->sum_mean > b->sum_mean);
	c = c ? c : memcmp(&a->key, &b->key, sizeof(a->key));
	return c ? c : (a->first_ns > b->first_ns) - (a->first_ns < b->first_ns);
}

long vns_rtt_worst_paths(struct vns_rtt_path *path, long n, size_t worst)
{
	long kept = 0;
	size_t of_kind = 0;

	qsort(path, (size_t)n, sizeof(*path), by_sum);
	for (long i = 0; i < n; i++) {
		if (kept == 0 || path[kept - 1].kind != path[i].kind)
			of_kind = 0;
		if (of_kind++ < worst)
			path[kept++] = path[i];
	}
	return kept;
}

#define DOUBLED_MIN 10 /* fewer ambiguous answers say nothing */

/* @part of @all is what second copies make of it, less what the edges of a capture cost. */
static bool about_half(uint64_t part, uint64_t all)
{
	return (double)part >= 0.45 * (double)all;
}

static bool queries_doubled(const struct vns_rtt_query_counts *c)
{
	return c->ambiguous >= DOUBLED_MIN && about_half(c->repeated, c->requests) &&
	       about_half(c->repeated_replies, c->replies);
}

bool vns_rtt_seems_doubled(const struct vns_rtt_result *r)
{
	const struct vns_rtt_counts *c = &r->counts;
	uint64_t again = c->seq_repeated + c->seq_old;
	uint64_t certain = c->ack_matched + c->ack_sacked;

	if (r->copies >= DOUBLED_MIN && about_half(r->copies, r->looked))
		return true;
	if (c->ack_ambiguous >= DOUBLED_MIN && certain < c->ack_ambiguous / 10 &&
	    about_half(again, again + c->seq_stored + c->seq_late + c->seq_probe))
		return true;
	return queries_doubled(&r->app.icmp) || queries_doubled(&r->app.dns);
}
