// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Rows of a result -> their order: kind by kind, by a figure, ties by address.
 *
 * A capture may have millions of them, and most of them share their figure with thousands of others (a
 * single sample). So what is compared stands in a key of 32 bytes, numbers only; the rows themselves are
 * looked at where keys say no more. Keys are made for one kind at a time: they take less than the rows.
 */
#include <stdlib.h>
#include <string.h>

#include "measure/rtt_rows.h"

/*
 * @rank: the figure, as a number that rises where the order goes on
 * @src, @dst: of the address; see address_key()
 * @at: the row, as in struct vns_rtt_rows
 */
struct key {
	uint64_t rank;
	uint64_t src, dst;
	uint32_t ports;
	uint32_t at;
};
#define NOT_ALL (UINT64_C(1) << 62) /* an address key from here on is that of several addresses */

static int by_address(const struct vns_rtt_row_head *a, const struct vns_rtt_row_head *b)
{
	const unsigned int da = a->flags & VNS_RTT_ROW_DIR, db = b->flags & VNS_RTT_ROW_DIR;
	const int64_t fa = vns_rtt_row_first(a), fb = vns_rtt_row_first(b);
	int c = 0;

	for (unsigned int end = 0; end < 2 && !c; end++) {
		struct vns_addr x, y;

		vns_rtt_row_addr(a, da ^ end, &x);
		vns_rtt_row_addr(b, db ^ end, &y);
		c = memcmp(&x, &y, sizeof(x));
	}
	c = c ? c : a->port[da] - b->port[db];
	c = c ? c : a->port[!da] - b->port[!db];
	c = c ? c : a->point - b->point;
	return c ? c : (fa > fb) - (fa < fb);
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
			     .at = at };
}

#define DIFFERENCE(a, b) (((a) > (b)) - ((a) < (b)))

static int compare_keys(const void *pa, const void *pb, void *rows)
{
	const struct key *a = pa, *b = pb;
	int c = DIFFERENCE(a->rank, b->rank);

	c = c ? c : DIFFERENCE(a->src, b->src);
	if (!c && a->src < NOT_ALL) {
		c = DIFFERENCE(a->dst, b->dst);
		if (!c && a->dst < NOT_ALL)
			c = DIFFERENCE(a->ports, b->ports);
	}
	return c ? c : by_address(vns_rtt_row_at(rows, a->at), vns_rtt_row_at(rows, b->at));
}

struct order {
	const struct vns_rtt_rows *rows;
	enum vns_rtt_order by;
};

/* Without memory for keys: rows are opened again and again. */
static int compare_rows(const void *pa, const void *pb, void *ctx)
{
	const struct order *o = ctx;
	struct vns_rtt_entry a, b;
	struct key ka, kb;

	vns_rtt_row_open(vns_rtt_row_at(o->rows, *(const uint32_t *)pa), &a);
	vns_rtt_row_open(vns_rtt_row_at(o->rows, *(const uint32_t *)pb), &b);
	ka = key_of(&a, o->by, *(const uint32_t *)pa);
	kb = key_of(&b, o->by, *(const uint32_t *)pb);
	return compare_keys(&ka, &kb, (void *)o->rows);
}

/* The @n rows from @from on, all of one kind. */
static void sort_kind(struct vns_rtt_rows *r, size_t from, size_t n, enum vns_rtt_order by)
{
	struct key *key = n > 1 ? reallocarray(NULL, n, sizeof(*key)) : NULL;
	struct order order = { r, by };

	if (n < 2)
		return;
	if (!key) {
		qsort_r(r->at + from, n, sizeof(*r->at), compare_rows, &order);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct vns_rtt_entry e;

		vns_rtt_rows_get(r, from + i, &e);
		key[i] = key_of(&e, by, r->at[from + i]);
	}
	qsort_r(key, n, sizeof(*key), compare_keys, r);
	for (size_t i = 0; i < n; i++)
		r->at[from + i] = key[i].at;
	free(key);
}

static unsigned int kind_at(const struct vns_rtt_rows *r, size_t i)
{
	return vns_rtt_rows_head(r, i)->kind & VNS_RTT_ROW_KIND;
}

/* Rows of the lowest kind to the front, then those of the next ...; in place, cycle by cycle. */
static void part_kinds(struct vns_rtt_rows *r, size_t begin[VNS_RTT_KINDS + 1])
{
	size_t next[VNS_RTT_KINDS], n[VNS_RTT_KINDS] = { 0 };

	for (size_t i = 0; i < r->n; i++)
		n[kind_at(r, i)]++;
	begin[0] = 0;
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		next[k] = begin[k];
		begin[k + 1] = begin[k] + n[k];
	}
	for (unsigned int k = 0; k < VNS_RTT_KINDS; k++) {
		while (next[k] < begin[k + 1]) {
			unsigned int is = kind_at(r, next[k]);
			uint32_t moved = r->at[next[k]];

			if (is == k) {
				next[k]++;
				continue;
			}
			r->at[next[k]] = r->at[next[is]];
			r->at[next[is]++] = moved;
		}
	}
}

void vns_rtt_sort(struct vns_rtt_result *r, enum vns_rtt_order order)
{
	size_t begin[VNS_RTT_KINDS + 1];

	part_kinds(&r->rows, begin);
	for (int k = 0; k < VNS_RTT_KINDS; k++)
		sort_kind(&r->rows, begin[k], begin[k + 1] - begin[k], order);
}
