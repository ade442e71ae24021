// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * TCP of twin mode: one unit = what one write of an application (or one round of ACKs) puts on
 * the way: upstream packets -> wire segments -> downstream packets, by what segmentation
 * offload does on the path:
 *   same     packets pass as they are
 *   split    superframes upstream (TSO), MTU segments downstream
 *   gro      MTU segments upstream, superframes downstream
 *   regroup  superframes on both sides, of other boundaries (split, then put together by GRO)
 */
#include <string.h>

#include "twin.h"

#define MAX_UP   48U    /* upstream packets of a unit */
#define MAX_WIRE 512U   /* wire segments of a unit */
#define SUPER    60000U /* payload of a superframe at most: 64 KB less headers */
#define WIRE_NS  1211   /* 1514 bytes at 10 Gbit/s */

struct piece {
	uint64_t off;
	int64_t t;       /* upstream: sent; wire: arrived */
	uint32_t len;
	uint16_t id;
	uint8_t flags;
	bool lost, twice;
};

struct unit {
	struct tw_flow *f;
	int dir;
	enum tw_form form;
	uint32_t n_up, n_wire;
	struct gc_pkt model;
	struct piece up[MAX_UP], wire[MAX_WIRE];
};

static uint32_t tick(const struct tw_flow *f, int sender, int64_t t)
{
	return f->tsbase[sender] + (uint32_t)(t / (GC_SEC / f->hz[sender]));
}

static struct gc_pkt segment(const struct tw_flow *f, int dir, int64_t t, uint8_t flags)
{
	int from = dir == TW_G2H;
	struct gc_pkt p = tw_packet(f, TW_A, dir);

	p.flags = flags;
	p.ts = f->ts;
	p.win = f->win[from];
	p.ack = flags & GC_ACK ? f->isn[!from] + (uint32_t)f->sent[!from] : 0;
	p.tsval = tick(f, from, t);
	p.tsecr = flags & GC_ACK ? tick(f, !from, t - 2 * GC_MSEC) : 0;
	return p;
}

static void handshake(struct twin *w, struct tw_flow *f, int64_t t)
{
	int dir = (int)gc_below(&w->rng, 2);

	for (int i = 0; i < 3; i++, dir = !dir, t += 12 * GC_MSEC) {
		int from = dir == TW_G2H;
		struct gc_pkt p = segment(f, dir, t, i == 0 ? GC_SYN : i == 1 ? GC_SYN | GC_ACK :
								     GC_ACK);

		p.seq = f->isn[from] + (i == 2);
		p.mss = i < 2 ? (f->path[0].v6 ? 1440 : 1460) : 0;
		p.ip_id = tw_next_id(w, f, from, 1);
		tw_single(w, f, &p, dir, t, false, TW_UNIQUE);
	}
	f->open = true;
}

static uint32_t mss_of(const struct tw_flow *f)
{
	return (f->path[0].v6 ? 1440U : 1460U) - (f->ts ? 12U : 0U);
}

/* Cut @total bytes into upstream packets of the unit's form. */
static void make_upstream(struct twin *w, struct unit *u, int64_t t, uint32_t total)
{
	uint32_t mss = mss_of(u->f);
	int from = u->dir == TW_G2H;
	bool super = u->form == TW_SPLIT || u->form == TW_REGROUP ||
		     (u->form == TW_SAME && gc_below(&w->rng, 2));

	while (total && u->n_up < MAX_UP) {
		uint32_t most = super ? mss * (1 + gc_below(&w->rng, SUPER / mss)) : mss;
		uint32_t len = total < most ? total : most;

		u->up[u->n_up++] = (struct piece){
			.off = u->f->sent[from], .t = t, .len = len,
			.id = tw_next_id(w, u->f, from, (len + mss - 1) / mss),
			.flags = len == total ? GC_ACK | GC_PSH : GC_ACK,
		};
		u->f->sent[from] += len;
		total -= len;
		t += WIRE_NS * ((len + mss - 1) / mss);
	}
}

/* Upstream packets -> wire segments with their fate. */
static void make_wire(struct twin *w, struct unit *u)
{
	uint32_t mss = mss_of(u->f);
	bool whole = u->form == TW_SAME || u->form == TW_GRO;
	bool fifo_only = u->form == TW_GRO || u->form == TW_REGROUP;

	for (uint32_t i = 0; i < u->n_up; i++) {
		const struct piece *up = &u->up[i];
		uint32_t step = whole ? up->len : mss, n = 0;

		for (uint32_t at = 0; at < up->len && u->n_wire < MAX_WIRE; at += step, n++) {
			struct piece *p = &u->wire[u->n_wire++];

			*p = *up;
			p->off += at;
			p->len = up->len - at < step ? up->len - at : step;
			p->id = u->f->id_reuse && up->id ? TW_REUSED_ID(up->id - 1U + n) :
				up->id || !w->o->id_zero ? (uint16_t)(up->id + n) : 0;
			p->flags = at + step < up->len ? GC_ACK : up->flags;
			p->lost = gc_pct(&w->rng, w->o->loss);
			p->twice = !p->lost && !fifo_only && gc_pct(&w->rng, w->o->dup);
			p->t = tw_cross(w, u->f, u->dir, up->t + WIRE_NS * n, !fifo_only);
		}
	}
}

/* Whether a doubled packet touches @up: a careful reader may then doubt all of it. */
static bool doubled(const struct piece *up, const struct piece *down, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (down[i].twice && down[i].off < up->off + up->len &&
		    up->off < down[i].off + down[i].len)
			return true;
	return false;
}

/* When the byte @off of @up was seen downstream; TW_NEVER when it was not. */
static int64_t when_seen(const struct piece *down, uint32_t n, uint64_t off)
{
	for (uint32_t i = 0; i < n; i++)
		if (off >= down[i].off && off < down[i].off + down[i].len)
			return down[i].t;
	return TW_NEVER;
}

static void shape(const struct unit *u, const struct piece *p, int point, struct gc_pkt *pkt)
{
	int from = u->dir == TW_G2H;
	bool down = point == (u->dir == TW_H2G ? TW_B : TW_A);

	*pkt = u->model;
	pkt->path = &u->f->path[point];
	pkt->ttl = (uint8_t)(64 - (u->f->routed && down));
	pkt->seq = u->f->isn[from] + (uint32_t)p->off;
	pkt->off = p->off | (uint64_t)from << 62;
	pkt->len = p->len;
	pkt->ip_id = p->id;
	pkt->flags = p->flags;
}

/* Wire segments -> downstream packets (GRO joins what is adjacent). Return: their number. */
static uint32_t make_downstream(struct twin *w, const struct unit *u, struct piece *down)
{
	bool join = u->form == TW_GRO || u->form == TW_REGROUP;
	uint32_t n = 0, limit = 0;

	for (uint32_t i = 0; i < u->n_wire; i++) {
		const struct piece *p = &u->wire[i];
		struct piece *last = n ? &down[n - 1] : NULL;

		if (p->lost)
			continue;
		if (join && last && last->off + last->len == p->off &&
		    last->len + p->len <= limit) {
			last->len += p->len;
			last->flags |= p->flags;
			last->t = p->t; /* handed up when the last segment is in */
			continue;
		}
		down[n++] = *p;
		limit = gc_below(&w->rng, SUPER);
	}
	return n;
}

static void put_upstream(struct twin *w, const struct unit *u, const struct piece *down,
			 uint32_t n_down, const struct piece *p)
{
	int up = u->dir == TW_H2G ? TW_A : TW_B;
	struct gc_pkt pkt;
	struct tw_item *it;
	int64_t first = when_seen(down, n_down, p->off);
	int64_t last = when_seen(down, n_down, p->off + p->len - 1);
	bool any = false;

	shape(u, p, up, &pkt);
	it = tw_send(w, u->f, p->t, u->dir, &pkt);
	it->other = doubled(p, down, n_down) ? TW_AMBIGUOUS : 0;
	for (uint32_t i = 0; i < n_down; i++) {
		bool overlap = down[i].off < p->off + p->len && p->off < down[i].off + down[i].len;

		any |= overlap && tw_seen_at(w, !up, down[i].t);
	}
	if (first != TW_NEVER && tw_seen_at(w, !up, first)) {
		it->first = first;
		it->last = last != TW_NEVER && tw_seen_at(w, !up, last) ? last : TW_NEVER;
		return;
	}
	tw_unmatched(w, it, !up, first != TW_NEVER ? first : p->t + u->f->base[u->dir]);
	if (any) /* a part is there, its first byte is not */
		it->other |= TW_MATCHED | TW_AMBIGUOUS | TW_MISSING | TW_OUTSIDE;
}

static void put_downstream(struct twin *w, const struct unit *u, const struct piece *p,
			   const struct piece *down, uint32_t n_down)
{
	int up = u->dir == TW_H2G ? TW_A : TW_B;
	struct gc_pkt pkt;
	struct tw_item *it;
	bool head = false, part = false;
	int64_t sent = TW_NEVER;

	shape(u, p, !up, &pkt);
	it = tw_put(w, !up, p->t, u->dir, &pkt);
	for (uint32_t i = 0; i < u->n_up; i++) {
		const struct piece *o = &u->up[i];

		if (o->off >= p->off + p->len || p->off >= o->off + o->len)
			continue;
		sent = o->t;
		it->other |= doubled(o, down, n_down) ? TW_AMBIGUOUS : 0;
		if (!tw_seen_at(w, up, o->t) || when_seen(down, n_down, o->off) == TW_NEVER)
			part = true;
		else
			head = true;
	}
	if (!head)
		tw_unmatched(w, it, up, sent);
	if (part)
		it->other |= TW_MATCHED | TW_AMBIGUOUS | TW_MISSING | TW_OUTSIDE;
	if (head)
		it->class = TW_MATCHED;
	if (!p->twice)
		return;
	it = tw_put(w, !up, p->t + 300 + gc_jitter(&w->rng, 30 * GC_USEC), u->dir, &pkt);
	it->other = TW_MATCHED | TW_AMBIGUOUS;
	tw_unmatched(w, it, up, sent);
}

static void put_unit(struct twin *w, const struct unit *u)
{
	struct piece down[MAX_WIRE];
	uint32_t n = make_downstream(w, u, down);

	for (uint32_t i = 0; i < u->n_up; i++)
		put_upstream(w, u, down, n, &u->up[i]);
	for (uint32_t i = 0; i < n; i++)
		put_downstream(w, u, &down[i], down, n);
}

/* Send one segment's bytes again, with a new TSval. */
static void repeat_later(struct twin *w, const struct unit *u, int64_t t)
{
	struct unit again = { .f = u->f, .dir = u->dir, .form = TW_SAME };
	const struct piece *p = &u->wire[gc_below(&w->rng, u->n_wire)];

	t += GC_SEC / u->f->hz[u->dir == TW_G2H] + 10 * GC_MSEC;
	again.up[0] = *p;
	again.n_up = 1;
	again.up[0].t = t;
	again.up[0].id = tw_next_id(w, u->f, u->dir == TW_G2H, 1);
	again.model = segment(u->f, u->dir, t, GC_ACK);
	make_wire(w, &again);
	put_unit(w, &again);
}

/* What @p acknowledges beyond a gap of one segment: @n segments. */
static void sack(struct gc_pkt *p, uint32_t mss, uint32_t n)
{
	p->sack[0] = p->ack + mss;
	p->sack[1] = p->sack[0] + n * mss;
}

/*
 * One segment sent twice with one TSval (or without timestamps): only the IP ID tells them
 * apart, and without it the order, as long as both pass. With --sack the sender had heard of more in the
 * meantime: of a later packet (TSecr) or, beyond a gap, of some bytes (SACK block).
 */
static void twice_alike(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	int from = dir == TW_G2H;
	uint32_t len = 1 + gc_below(&w->rng, mss_of(f));
	struct gc_pkt p = segment(f, dir, t, GC_ACK | GC_PSH);
	bool no_id = f->path[0].v6 || w->o->id_zero;
	enum tw_likeness like = f->id_reuse || (no_id && !w->o->sack) ? TW_DOUBTFUL : TW_UNIQUE;
	bool lost = gc_below(&w->rng, 2);

	p.seq = f->isn[from] + (uint32_t)f->sent[from];
	p.off = f->sent[from] | (uint64_t)from << 62;
	p.len = len;
	p.ip_id = tw_next_id(w, f, from, 1);
	tw_single(w, f, &p, dir, t, lost, like);
	p.ip_id = tw_next_id(w, f, from, 1);
	if (w->o->sack && f->ts && len % 2)
		p.tsecr++;
	else if (w->o->sack)
		sack(&p, mss_of(f), 1);
	tw_single(w, f, &p, dir, t + 400 * GC_USEC, false, like);
	f->sent[from] += len;
}

static void data(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	struct unit u = { .f = f, .dir = dir, .form = f->form[dir] };
	uint32_t mss = mss_of(f);
	uint32_t total = gc_below(&w->rng, 3) ? 1 + gc_below(&w->rng, 2000) :
						1 + gc_below(&w->rng, 60 * mss);
	bool again = gc_pct(&w->rng, w->o->retrans);

	if (again && (!f->ts || gc_below(&w->rng, 3) == 0)) {
		twice_alike(w, f, dir, t);
		return;
	}
	u.model = segment(f, dir, t, GC_ACK);
	make_upstream(w, &u, t, total);
	make_wire(w, &u);
	put_unit(w, &u);
	if (again)
		repeat_later(w, &u, u.up[u.n_up - 1].t);
}

/*
 * One ACK with a number, TSval or window of its own, or a burst of duplicates (with --sack each has heard of
 * one more segment behind a gap).
 */
static void acks(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	int from = dir == TW_G2H;
	uint32_t n = gc_below(&w->rng, 8) ? 1 : 3;
	struct gc_pkt p;

	if (f->acked[from] == f->sent[!from])
		f->win[from] = (uint16_t)(f->win[from] == 65000 ? 400 : f->win[from] + 1);
	f->acked[from] = f->sent[!from];
	p = segment(f, dir, t, GC_ACK);
	p.seq = f->isn[from] + (uint32_t)f->sent[from];
	for (uint32_t i = 0; i < n; i++) {
		p.ip_id = tw_next_id(w, f, from, 1);
		if (w->o->sack && n > 1)
			sack(&p, mss_of(f), i + 1);
		tw_single(w, f, &p, dir, t + 3 * WIRE_NS * i, gc_pct(&w->rng, w->o->loss),
			  n > 1 && (!w->o->sack || f->id_reuse) ? TW_ALIKE : TW_UNIQUE);
	}
}

static void keepalive(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	int from = dir == TW_G2H;
	struct gc_pkt p = segment(f, dir, t, GC_ACK);

	p.seq = f->isn[from] + (uint32_t)f->sent[from] - 1;
	p.win = f->win[from] = (uint16_t)(f->win[from] + 1);
	p.ip_id = tw_next_id(w, f, from, 1);
	tw_single(w, f, &p, dir, t, false, TW_UNIQUE);
}

void tw_tcp_unit(struct twin *w, struct tw_flow *f, int64_t t)
{
	uint32_t kind = gc_below(&w->rng, 100);
	int dir = (int)gc_below(&w->rng, 2);

	if (!f->open)
		handshake(w, f, t);
	else if (kind < 70)
		data(w, f, dir, t);
	else if (kind < 97)
		acks(w, f, dir, t);
	else
		keepalive(w, f, dir, t);
}
