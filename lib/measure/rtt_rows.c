// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Directions of flows -> rows of some 40 to 70 bytes, and back.
 *
 * A capture may have millions of directions, of 230 bytes each when open. What stands in a row is what
 * tells them apart: a fixed part (kind, ports, first time, both addresses, of IPv4 in 4 bytes each), then
 * numbers as varints of 7 bits each, low first, signed ones in zigzag: the last time as difference to the first,
 * each figure as difference to the one below it. A direction of one sample has no other figures. Floating
 * point numbers are kept whole, so that an entry comes back bit by bit as it went in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "measure/rtt_rows.h"

#define MOST  320u /* above the longest row: 50 fixed, 16 numbers of 10 bytes, 40 of floating point */
#define SIGNS UINT64_C(0x8000000000000000)

static uint8_t *put(uint8_t *to, const void *from, size_t n)
{
	memcpy(to, from, n);
	return to + n;
}

static uint8_t *put_number(uint8_t *to, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*to++ = (uint8_t)(v | 0x80);
	*to++ = (uint8_t)v;
	return to;
}

/* @v - @base, whatever they are: modulo 2^64. */
static uint8_t *put_difference(uint8_t *to, int64_t v, int64_t base)
{
	uint64_t d = (uint64_t)v - (uint64_t)base;

	return put_number(to, d & SIGNS ? ~(d << 1) : d << 1);
}

static const uint8_t *get(const uint8_t *from, void *to, size_t n)
{
	memcpy(to, from, n);
	return from + n;
}

static const uint8_t *get_number(const uint8_t *from, uint64_t *v)
{
	unsigned int shift = 0;

	for (*v = 0; *from & 0x80; shift += 7)
		*v |= (uint64_t)(*from++ & 0x7f) << shift;
	*v |= (uint64_t)*from++ << shift;
	return from;
}

static const uint8_t *get_difference(const uint8_t *from, int64_t *v, int64_t base)
{
	uint64_t d;

	from = get_number(from, &d);
	*v = (int64_t)((uint64_t)base + (d & 1 ? ~(d >> 1) : d >> 1));
	return from;
}

static bool is_single(const struct vns_rtt_entry *e)
{
	return e->samples == 1 && e->p50 == e->min && e->p95 == e->min && e->p99 == e->min &&
	       e->max == e->min && e->mean == (double)e->min && e->stddev == 0;
}

static uint8_t *put_figures(uint8_t *to, const struct vns_rtt_entry *e)
{
	to = put_difference(to, e->p50, e->min);
	to = put_difference(to, e->p95, e->p50);
	to = put_difference(to, e->p99, e->p95);
	to = put_difference(to, e->max, e->p99);
	to = put(to, &e->mean, sizeof(e->mean));
	return put(to, &e->stddev, sizeof(e->stddev));
}

static const uint8_t *get_figures(const uint8_t *from, struct vns_rtt_entry *e)
{
	from = get_difference(from, &e->p50, e->min);
	from = get_difference(from, &e->p95, e->p50);
	from = get_difference(from, &e->p99, e->p95);
	from = get_difference(from, &e->max, e->p99);
	from = get(from, &e->mean, sizeof(e->mean));
	return get(from, &e->stddev, sizeof(e->stddev));
}

enum { INTERVALS = sizeof(struct vns_intervals) / sizeof(struct vns_interval) };

/* Which are known, as bits; then both ends of those. */
static uint8_t *put_intervals(uint8_t *to, const struct vns_rtt_entry *e, unsigned int known)
{
	const struct vns_interval *i = (const struct vns_interval *)&e->interval;

	*to++ = (uint8_t)known;
	for (unsigned int k = 0; k < INTERVALS; k++) {
		if (!(known >> k & 1))
			continue;
		to = put_difference(to, i[k].lower, e->min);
		to = put_difference(to, i[k].upper, i[k].lower);
	}
	return to;
}

static const uint8_t *get_intervals(const uint8_t *from, struct vns_rtt_entry *e)
{
	struct vns_interval *i = (struct vns_interval *)&e->interval;
	unsigned int known = *from++;

	for (unsigned int k = 0; k < INTERVALS; k++) {
		if (!(known >> k & 1))
			continue;
		from = get_difference(from, &i[k].lower, e->min);
		from = get_difference(from, &i[k].upper, i[k].lower);
	}
	return from;
}

static unsigned int known_intervals(const struct vns_rtt_entry *e)
{
	const struct vns_interval *i = (const struct vns_interval *)&e->interval;
	unsigned int known = 0;

	for (unsigned int k = 0; k < INTERVALS; k++)
		known |= (unsigned int)vns_interval_known(&i[k]) << k;
	return known;
}

static bool both_v4(const struct vns_flow_key *k)
{
	return vns_addr_is_v4(&k->addr[0]) && vns_addr_is_v4(&k->addr[1]);
}

static uint8_t *put_entry(uint8_t *to, const struct vns_rtt_entry *e)
{
	const size_t skip = both_v4(&e->key) ? VNS_RTT_ROW_V4_FROM : 0;
	const unsigned int known = known_intervals(e);
	struct vns_rtt_row_head h = {
		.flags = (uint8_t)((e->dir ? VNS_RTT_ROW_DIR : 0) | (e->ended ? VNS_RTT_ROW_ENDED : 0) |
				   (skip ? VNS_RTT_ROW_V4 : 0) | (is_single(e) ? VNS_RTT_ROW_SINGLE : 0) |
				   (e->clock.hz > 0 ? VNS_RTT_ROW_CLOCK : 0) |
				   (known ? VNS_RTT_ROW_INTERVALS : 0)),
		.kind = (uint8_t)((unsigned int)e->kind | (unsigned int)e->opener << 4),
		.ipproto = e->key.ipproto, .family = e->key.family, .point = e->point,
		.port = { e->key.port[0], e->key.port[1] },
		.first_ns = { (uint32_t)((uint64_t)e->first_ns >> 32), (uint32_t)e->first_ns } };

	to = put(to, &h, sizeof(h));
	for (int i = 0; i < 2; i++)
		to = put(to, e->key.addr[i].b + skip, sizeof(e->key.addr[i].b) - skip);
	to = put_difference(to, e->last_ns, e->first_ns);
	to = put_number(to, e->packets);
	to = put_number(to, e->samples);
	to = put_difference(to, e->min, 0);
	if (!(h.flags & VNS_RTT_ROW_SINGLE))
		to = put_figures(to, e);
	if (h.flags & VNS_RTT_ROW_CLOCK) {
		to = put(to, &e->clock.hz, sizeof(e->clock.hz));
		to = put(to, &e->clock.error_hz, sizeof(e->clock.error_hz));
		to = put(to, &e->clock.nominal_hz, sizeof(e->clock.nominal_hz));
	}
	return known ? put_intervals(to, e, known) : to;
}

/* Room for the longest row. Return: false without memory, or where 32 bits do not reach. */
static bool make_room(struct vns_rtt_rows *r)
{
	if (r->used / VNS_RTT_ROW_UNIT > UINT32_MAX - MOST)
		return false;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap + r->cap / 2 : 256;
		uint32_t *bigger = reallocarray(r->at, cap, sizeof(*bigger));

		if (!bigger)
			return false;
		r->at = bigger;
		r->cap = cap;
	}
	if (r->room - r->used < MOST) {
		size_t room = r->room ? r->room + r->room / 2 : 64 * MOST;
		uint8_t *bigger = realloc(r->bytes, room);

		if (!bigger)
			return false;
		r->bytes = bigger;
		r->room = room;
	}
	return true;
}

int vns_rtt_rows_add(struct vns_rtt_rows *r, const struct vns_rtt_entry *e)
{
	size_t used;

	if (!make_room(r))
		return -ENOMEM;
	used = (size_t)(put_entry(r->bytes + r->used, e) - r->bytes);
	r->at[r->n++] = (uint32_t)(r->used / VNS_RTT_ROW_UNIT);
	r->used = (used + VNS_RTT_ROW_UNIT - 1) & ~(size_t)(VNS_RTT_ROW_UNIT - 1);
	return 0;
}

void vns_rtt_row_open(const struct vns_rtt_row_head *h, struct vns_rtt_entry *e)
{
	const uint8_t *from = (const uint8_t *)(h + 1);

	*e = (struct vns_rtt_entry){
		.key = { .port = { h->port[0], h->port[1] }, .ipproto = h->ipproto, .family = h->family },
		.first_ns = vns_rtt_row_first(h), .kind = h->kind & VNS_RTT_ROW_KIND, .opener = h->kind >> 4,
		.point = h->point, .dir = h->flags & VNS_RTT_ROW_DIR,
		.ended = h->flags & VNS_RTT_ROW_ENDED };
	vns_rtt_row_addr(h, 0, &e->key.addr[0]);
	vns_rtt_row_addr(h, 1, &e->key.addr[1]);
	from += h->flags & VNS_RTT_ROW_V4 ? 8 : 32;
	from = get_difference(from, &e->last_ns, e->first_ns);
	from = get_number(from, &e->packets);
	from = get_number(from, &e->samples);
	from = get_difference(from, &e->min, 0);
	if (h->flags & VNS_RTT_ROW_SINGLE) {
		e->p50 = e->p95 = e->p99 = e->max = e->min;
		e->mean = (double)e->min;
	} else {
		from = get_figures(from, e);
	}
	if (h->flags & VNS_RTT_ROW_CLOCK) {
		from = get(from, &e->clock.hz, sizeof(e->clock.hz));
		from = get(from, &e->clock.error_hz, sizeof(e->clock.error_hz));
		from = get(from, &e->clock.nominal_hz, sizeof(e->clock.nominal_hz));
	}
	if (h->flags & VNS_RTT_ROW_INTERVALS)
		get_intervals(from, e);
}

void vns_rtt_rows_get(const struct vns_rtt_rows *r, size_t i, struct vns_rtt_entry *e)
{
	vns_rtt_row_open(vns_rtt_rows_head(r, i), e);
}

void vns_rtt_rows_fini(struct vns_rtt_rows *r)
{
	free(r->bytes);
	free(r->at);
	*r = (struct vns_rtt_rows){ 0 };
}
