// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What one point of twin mode sees whole and the other in pieces: UDP frames of many datagrams, cut
 * (UDP_SEGMENT) or joined (UDP_GRO) between the points, and datagrams that are fragmented or
 * put together again between them.
 *
 * Frames come in trains, one close behind the other. Each piece has a fate of its own. The truth of a
 * cut frame's last byte is left out where nobody can know it: without identifications that
 * count up, and the last datagram as long as the others.
 */
#include "twin.h"

#define MAX_FRAMES 4
#define MAX_PIECES 20

struct piece {
	int64_t sent, there;
	bool lost, twice;
};

struct frame {
	struct piece piece[MAX_PIECES];
	uint32_t n, rest;
	uint64_t off;
	uint16_t id;
};

/* A train, and what happened to it. */
struct train {
	struct frame frame[MAX_FRAMES];
	uint32_t n;
	int up, down, dir;
	bool numbered, messy, outside, headless;
};

static void draw_frame(struct twin *w, struct tw_flow *f, struct train *tr, struct frame *fr,
		       int64_t *t)
{
	bool joined = f->joined[tr->dir];
	int64_t latest = tr->messy ? INT64_MAX : f->fifo[tr->dir];

	fr->n = 2 + gc_below(&w->rng, MAX_PIECES - 1);
	fr->rest = gc_below(&w->rng, 2) ? f->gso : 1 + gc_below(&w->rng, f->gso);
	fr->off = f->identical ? 0 : ((uint64_t)f->count++ << 20) | (uint64_t)tr->dir << 19;
	fr->id = tw_next_id(w, f, tr->dir == TW_G2H, f->id_by_frame && !joined ? 1 : fr->n);
	for (uint32_t k = 0; k < fr->n; k++) {
		struct piece *p = &fr->piece[k];

		p->sent = *t;
		*t += joined ? 1200 : 0;
		p->there = tw_cross(w, f, tr->dir, p->sent, !joined);
		p->lost = tw_draw_loss(w);
		p->twice = !p->lost && gc_pct(&w->rng, w->o->dup);
		tr->messy |= p->twice || p->there < latest;
		latest = p->there;
		tr->outside |= !tw_seen_at(w, tr->up, p->sent) || !tw_seen_at(w, tr->down, p->there);
	}
	tr->headless |= fr->piece[0].lost;
	*t += 2000 + gc_below(&w->rng, 30000);
}

static struct gc_pkt packet_at(const struct tw_flow *f, const struct train *tr, int point)
{
	struct gc_pkt p = tw_packet(f, point, tr->dir);

	p.ttl = (uint8_t)(64 - (f->routed && point == tr->down));
	return p;
}

/* Second copy of what @it was, just put downstream. */
static void put_copy(struct twin *w, const struct train *tr, int64_t t, const struct gc_pkt *p,
		     int64_t sent)
{
	struct tw_item *it = tw_put(w, tr->down, t + 500 + gc_jitter(&w->rng, 40 * GC_USEC), tr->dir,
				    p);

	it->other = TW_MATCHED | TW_AMBIGUOUS;
	tw_unmatched(w, it, tr->up, sent);
}

static void put_cut(struct twin *w, struct tw_flow *f, const struct train *tr,
		    const struct frame *fr)
{
	struct gc_pkt p = packet_at(f, tr, tr->up);
	const struct piece *first = &fr->piece[0], *last = &fr->piece[fr->n - 1];
	bool upset = w->o->dup > 0 || w->o->reorder > 0;
	int doubt = f->identical || upset || tr->outside ? TW_AMBIGUOUS : 0;
	struct tw_item *it;

	p.off = fr->off;
	p.ip_id = fr->id;
	p.len = (fr->n - 1) * f->gso + fr->rest;
	it = tw_send(w, f, first->sent, tr->dir, &p);
	it->other = (uint8_t)doubt;
	if (first->lost || !tw_seen_at(w, tr->down, first->there))
		tw_unmatched(w, it, tr->down, first->there);
	else
		it->first = first->there;
	if (it->first != TW_NEVER && !last->lost && tw_seen_at(w, tr->down, last->there) &&
	    (tr->numbered || fr->rest < f->gso))
		it->last = last->there;
	for (uint32_t k = 0; k < fr->n; k++) {
		const struct piece *x = &fr->piece[k];

		if (x->lost)
			continue;
		p = packet_at(f, tr, tr->down);
		p.off = fr->off + (f->identical ? 0 : k * f->gso);
		p.ip_id = (uint16_t)(fr->id ? fr->id + k : 0);
		p.len = k == fr->n - 1 ? fr->rest : f->gso;
		it = tw_put(w, tr->down, x->there, tr->dir, &p);
		it->other = (uint8_t)(doubt | (tr->headless || tr->outside ?
				      TW_AMBIGUOUS | TW_MISSING | TW_OUTSIDE : 0));
		if (!tw_seen_at(w, tr->up, x->sent))
			tw_unmatched(w, it, tr->up, x->sent);
		if (x->twice)
			put_copy(w, tr, x->there, &p, x->sent);
	}
}

static void put_joined(struct twin *w, struct tw_flow *f, const struct train *tr,
		       const struct frame *fr)
{
	bool upset = w->o->dup > 0 || w->o->reorder > 0;
	int doubt = f->identical || tr->outside ? TW_AMBIGUOUS : 0;
	/* Only their number tells which are in the frame; one lost and another doubled count the same. */
	int inside = doubt | (upset || w->o->loss > 0 || tr->messy ? TW_AMBIGUOUS : 0);
	int edge = tr->outside ? TW_AMBIGUOUS | TW_MISSING | TW_OUTSIDE : 0;
	struct gc_pkt p, whole = packet_at(f, tr, tr->down);
	bool begun = false;
	int64_t at = 0;
	struct tw_item *it;

	for (uint32_t k = 0; k < fr->n; k++)
		if (!fr->piece[k].lost)
			at = fr->piece[k].there + 700;
	for (uint32_t k = 0; k < fr->n; k++) {
		const struct piece *x = &fr->piece[k];

		p = packet_at(f, tr, tr->up);
		p.off = fr->off + (f->identical ? 0 : k * f->gso);
		p.ip_id = (uint16_t)(fr->id ? fr->id + k : 0);
		p.len = k == fr->n - 1 ? fr->rest : f->gso;
		it = tw_send(w, f, x->sent, tr->dir, &p);
		it->other = (uint8_t)((!x->lost && !begun && !x->twice ? doubt : inside) | edge);
		if (x->lost || !tw_seen_at(w, tr->down, at))
			tw_unmatched(w, it, tr->down, x->there);
		else
			it->first = it->last = at;
		if (x->lost)
			continue;
		if (!begun) {
			whole.off = p.off;
			whole.ip_id = p.ip_id;
		}
		begun = true;
		whole.len += p.len * (1U + x->twice);
	}
	if (!begun)
		return;
	it = tw_put(w, tr->down, at, tr->dir, &whole);
	it->other = (uint8_t)(doubt | edge | (tr->messy ? TW_AMBIGUOUS : 0));
	if (!tw_seen_at(w, tr->up, fr->piece[fr->n - 1].sent))
		tw_unmatched(w, it, tr->up, fr->piece[fr->n - 1].sent);
	if (at > f->fifo[tr->dir])
		f->fifo[tr->dir] = at;
}

void tw_frames(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	struct train tr = { .dir = dir, .up = dir == TW_H2G ? TW_A : TW_B, .n = 1 };

	tr.down = !tr.up;
	tr.numbered = !f->path[0].v6 && !w->o->id_zero;
	tr.n += gc_below(&w->rng, MAX_FRAMES);
	for (uint32_t i = 0; i < tr.n; i++) {
		draw_frame(w, f, &tr, &tr.frame[i], &t);
		/* What is joined waits for its last: the next one comes after it. */
		if (f->joined[dir] && f->fifo[dir] < INT64_MAX)
			f->fifo[dir] += 1000;
	}
	for (uint32_t i = 0; i < tr.n; i++) {
		if (f->joined[dir])
			put_joined(w, f, &tr, &tr.frame[i]);
		else
			put_cut(w, f, &tr, &tr.frame[i]);
	}
}

/* ---- fragments ---- */

struct datagram {
	struct piece piece[8];
	uint32_t n, step, len;
	uint64_t off;
	uint16_t id;
	bool lost, outside;
};

/* The fragment @k of @d, as it is at @point. */
static struct gc_pkt fragment(const struct tw_flow *f, const struct train *tr,
			      const struct datagram *d, uint32_t k, int point)
{
	struct gc_pkt p = packet_at(f, tr, point);
	uint32_t all = 8 + d->len;

	p.df = false;
	p.whole = d->len;
	p.off = d->off;
	p.ip_id = d->id;
	p.frag_off = k * d->step;
	p.len = all - p.frag_off < d->step ? all - p.frag_off : d->step;
	return p;
}

static struct gc_pkt datagram(const struct tw_flow *f, const struct train *tr,
			      const struct datagram *d, int point)
{
	struct gc_pkt p = packet_at(f, tr, point);

	p.df = false;
	p.off = d->off;
	p.ip_id = d->id;
	p.len = d->len;
	return p;
}

/* Whole upstream, fragments downstream. */
static void put_fragmented(struct twin *w, struct tw_flow *f, const struct train *tr,
			   const struct datagram *d)
{
	const struct piece *first = &d->piece[0], *last = &d->piece[d->n - 1];
	int other = first->lost || d->outside ? TW_MISSING | TW_OUTSIDE | TW_AMBIGUOUS : 0;
	struct gc_pkt p = datagram(f, tr, d, tr->up);
	struct tw_item *it = tw_send(w, f, first->sent, tr->dir, &p);

	if (first->lost || !tw_seen_at(w, tr->down, first->there))
		tw_unmatched(w, it, tr->down, first->there);
	else
		it->first = first->there;
	if (it->first != TW_NEVER && !last->lost && tw_seen_at(w, tr->down, last->there))
		it->last = last->there;
	for (uint32_t k = 0; k < d->n; k++) {
		const struct piece *x = &d->piece[k];

		if (x->lost)
			continue;
		p = fragment(f, tr, d, k, tr->down);
		it = tw_put(w, tr->down, x->there, tr->dir, &p);
		it->other = (uint8_t)other;
		if (!tw_seen_at(w, tr->up, x->sent))
			tw_unmatched(w, it, tr->up, x->sent);
		if (x->twice)
			put_copy(w, tr, x->there, &p, x->sent);
	}
}

/* Fragments upstream, put together before they are seen downstream: all or nothing. */
static void put_reassembled(struct twin *w, struct tw_flow *f, const struct train *tr,
			    const struct datagram *d)
{
	int other = d->outside ? TW_MATCHED | TW_MISSING | TW_OUTSIDE | TW_AMBIGUOUS : 0;
	struct gc_pkt p;
	struct tw_item *it;
	int64_t at = 0;

	for (uint32_t k = 0; k < d->n; k++)
		if (d->piece[k].there + 900 > at)
			at = d->piece[k].there + 900;
	for (uint32_t k = 0; k < d->n; k++) {
		p = fragment(f, tr, d, k, tr->up);
		it = tw_send(w, f, d->piece[k].sent, tr->dir, &p);
		it->other = (uint8_t)other;
		if (d->lost || !tw_seen_at(w, tr->down, at))
			tw_unmatched(w, it, tr->down, at);
		else
			it->first = it->last = at;
	}
	if (d->lost)
		return;
	p = datagram(f, tr, d, tr->down);
	it = tw_put(w, tr->down, at, tr->dir, &p);
	it->other = (uint8_t)other;
	if (!tw_seen_at(w, tr->up, d->piece[0].sent))
		tw_unmatched(w, it, tr->up, d->piece[0].sent);
	if (at > f->fifo[tr->dir])
		f->fifo[tr->dir] = at;
}

void tw_fragments_once(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	struct train tr = { .dir = dir, .up = dir == TW_H2G ? TW_A : TW_B };
	struct datagram d = { .step = f->path[0].v6 ? TW_FRAGMENT6 : TW_FRAGMENT };
	bool reassembled = gc_below(&w->rng, 2);

	tr.down = !tr.up;
	d.len = 2000 + gc_below(&w->rng, 6192);
	d.off = ((uint64_t)f->count++ << 20) | (uint64_t)dir << 19;
	d.id = w->fragment_id++;
	d.n = (8 + d.len + d.step - 1) / d.step;
	for (uint32_t k = 0; k < d.n; k++, t += 1200) {
		struct piece *x = &d.piece[k];

		x->sent = reassembled ? t : d.piece[0].sent + (k ? 0 : t);
		x->there = tw_cross(w, f, dir, x->sent, true);
		x->lost = tw_draw_loss(w);
		x->twice = !x->lost && !reassembled && gc_pct(&w->rng, w->o->dup);
		d.lost |= x->lost;
		d.outside |= !tw_seen_at(w, tr.up, x->sent) || !tw_seen_at(w, tr.down, x->there);
	}
	if (reassembled)
		put_reassembled(w, f, &tr, &d);
	else
		put_fragmented(w, f, &tr, &d);
}
