// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Flows of a result -> their order: kind by kind, by a figure, ties by address.
 *
 * A capture may have millions of them, of 170 bytes each, and most of them share their figure with
 * thousands of others (a single sample). So what is compared stands in a key of 40 bytes, numbers
 * only; the flows themselves are looked at where keys say no more, and moved once, at the end.
 */
#include <stdlib.h>
#include <string.h>

#include <vnetscope/measure.h>

/*
 * @rank: the kind and the figure, as numbers that rise where the order goes on
 * @src, @dst: of the address; see address_key()
 */
struct key {
	uint64_t rank;
	uint64_t src, dst;
	uint32_t ports;
	uint32_t at;
	uint8_t kind;
};
#define NOT_ALL (UINT64_C(1) << 62) /* an address key from here on is that of several addresses */

static int by_address(const struct vns_rtt_entry *a, const struct vns_rtt_entry *b)
{
	const int8_t da = (int8_t)a->dir, db = (int8_t)b->dir;
	int c = memcmp(&a->key.addr[da], &b->key.addr[db], sizeof(a->key.addr[0]));

	c = c ? c : memcmp(&a->key.addr[!da], &b->key.addr[!db], sizeof(a->key.addr[0]));
	c = c ? c : a->key.port[da] - b->key.port[db];
	c = c ? c : a->key.port[!da] - b->key.port[!db];
	c = c ? c : a->point - b->point;
	return c ? c : (a->first_ns > b->first_ns) - (a->first_ns < b->first_ns);
}

static uint64_t word_of(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/*
 * A number that orders addresses as their bytes do. Below NOT_ALL it is the address (all of IPv4: what
 * is below 2^62 in 128 bits); above, addresses with the same first 63 bits share one.
 */
static uint64_t address_key(const struct vns_addr *a)
{
	uint64_t upper = word_of(a->b), lower = word_of(a->b + 8);

	if (upper)
		return NOT_ALL + 1 + (upper >> 1);
	return lower < NOT_ALL ? lower : NOT_ALL;
}

/* A number that falls where @v rises; figures are no NaN. */
static uint64_t falling(double v)
{
	uint64_t bits;

	v += 0.0; /* -0 is 0 */
	memcpy(&bits, &v, sizeof(bits));
	return bits >> 63 ? bits : ~(bits | UINT64_C(1) << 63);
}

static double order_value(const struct vns_rtt_entry *e, enum vns_rtt_order order)
{
	switch (order) {
	case VNS_RTT_BY_SAMPLES:
		return (double)e->samples;
	case VNS_RTT_BY_MIN:
		return (double)e->min;
	case VNS_RTT_BY_MEAN:
		return e->mean;
	case VNS_RTT_BY_P50:
		return (double)e->p50;
	case VNS_RTT_BY_P95:
		return (double)e->p95;
	case VNS_RTT_BY_P99:
		return (double)e->p99;
	case VNS_RTT_BY_MAX:
		return (double)e->max;
	case VNS_RTT_BY_STDDEV:
		return e->stddev;
	case VNS_RTT_BY_FIRST:
		return -(double)e->first_ns;
	case VNS_RTT_BY_ADDRESS:
		break;
	}
	return 0;
}

static struct key key_of(const struct vns_rtt_entry *e, enum vns_rtt_order order, uint32_t at)
{
	const struct vns_flow_key *k = &e->key;

	return (struct key){ .rank = falling(order_value(e, order)),
			     .src = address_key(&k->addr[e->dir]),
			     .dst = address_key(&k->addr[!e->dir]),
			     .ports = (uint32_t)k->port[e->dir] << 16 | k->port[!e->dir],
			     .at = at, .kind = (uint8_t)e->kind };
}

#define DIFFERENCE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_keys(const void *pa, const void *pb, void *flows)
{
	const struct key *a = pa, *b = pb;
	const struct vns_rtt_entry *flow = flows;
	int c = DIFFERENCE(a->kind, b->kind);

	c = c ? c : DIFFERENCE(a->rank, b->rank);
	c = c ? c : DIFFERENCE(a->src, b->src);
	if (c || a->src >= NOT_ALL)
		return c ? c : by_address(&flow[a->at], &flow[b->at]);
	c = DIFFERENCE(a->dst, b->dst);
	if (c || a->dst >= NOT_ALL)
		return c ? c : by_address(&flow[a->at], &flow[b->at]);
	c = DIFFERENCE(a->ports, b->ports);
	return c ? c : by_address(&flow[a->at], &flow[b->at]);
}

/* Each flow to the place of its key, along the cycles of the permutation; @key is used up. */
static void put_in_order(struct vns_rtt_entry *flow, struct key *key, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct vns_rtt_entry first = flow[i];
		size_t to = i;

		if (key[i].at == i)
			continue;
		while (key[to].at != i) {
			size_t from = key[to].at;

			flow[to] = flow[from];
			key[to].at = (uint32_t)to;
			to = from;
		}
		flow[to] = first;
		key[to].at = (uint32_t)to;
	}
}

/* Without memory for keys, which is less than that for the flows. */
static int compare_entries(const void *pa, const void *pb, void *order)
{
	struct vns_rtt_entry flow[2] = { *(const struct vns_rtt_entry *)pa,
					 *(const struct vns_rtt_entry *)pb };
	struct key a = key_of(&flow[0], *(enum vns_rtt_order *)order, 0);
	struct key b = key_of(&flow[1], *(enum vns_rtt_order *)order, 1);

	return compare_keys(&a, &b, flow);
}

void vns_rtt_sort(struct vns_rtt_result *r, enum vns_rtt_order order)
{
	struct key *key = r->n_flow && r->n_flow < UINT32_MAX ?
				  malloc(r->n_flow * sizeof(*key)) : NULL;

	if (!key) {
		if (r->n_flow)
			qsort_r(r->flow, r->n_flow, sizeof(*r->flow), compare_entries, &order);
		return;
	}
	for (size_t i = 0; i < r->n_flow; i++)
		key[i] = key_of(&r->flow[i], order, (uint32_t)i);
	qsort_r(key, r->n_flow, sizeof(*key), compare_keys, r->flow);
	put_in_order(r->flow, key, r->n_flow);
	free(key);
}
