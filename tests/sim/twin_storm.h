/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Storms: what is sent between two points, what becomes of it on the way, and what each point sees.
 *
 * In: @rng, which is a storm's seed. Out: two captures of packets, each with the numbers of what it is made of.
 * A storm is a few streams of TCP, datagrams and echoes (identical or not, with identifications that count,
 * repeat or are absent), UDP frames and fragments, at rates of loss, doubling, lateness and capture loss that are drawn
 * for it, between clocks that are wrong by as much as the engine's options allow. Every segment or datagram on the
 * wire has a number; a captured packet holds those it was made of.
 */
#ifndef VNS_TESTS_TWIN_STORM_H
#define VNS_TESTS_TWIN_STORM_H

#include <stdlib.h>
#include <string.h>

#include <vnetscope/twin.h>

#include "packet/hash.h"

#define MAX_STREAMS 6
#define MAX_WIRE    24   /* segments of one send */
#define PACKETS     16384
#define START_NS    (10 * VNS_NSEC_PER_SEC)

enum kind { TCP, ACKS, UDP, ICMP, FRAMES, FRAGMENTS, KINDS };
enum id_mode { ID_NONE, ID_COUNTS, ID_REPEATS, ID_MODES };

/* A captured packet. @w: numbers of what it holds, in order. @lone: nothing else looks like it at its point. */
struct seen {
	struct vns_packet p;
	uint32_t w[MAX_WIRE], n;
	int64_t true_ns;
	uint32_t tx;     /* which send it is of */
	bool lone;
};

struct capture {
	struct seen *s;
	struct vns_packet *pkt;
	size_t n;
};

/* What a storm is like; rates are per 1000. */
struct world {
	unsigned int loss, dup, late, unseen, streams;
	bool two_ways, fifo;
	int64_t window, slack, offset, coarse_error, base[2], last_there[2], longest_late;
	double ppm;
	uint32_t next_w, next_tx;
};

struct stream {
	enum kind kind;
	enum id_mode id_mode;
	struct vns_packet like;
	bool dir_fixed, dir, ts, super, joins, same, identical, cut_here[2];
	uint32_t seq[2], first_seq[2], mss, size;
	uint32_t ack, tsecr, count, digests;
	uint16_t id[2], window;
};

/* One segment or datagram on the way. */
struct wire {
	int64_t sent, there, again;
	uint32_t w, from, len, id;
	uint64_t base;
	bool lost, twice;
};

static uint64_t rng;
static uint32_t kinds = KINDS, id_modes = 2; /* how many of each are drawn from */

static uint32_t rnd(uint32_t below)
{
	uint64_t x = rng += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return below ? (uint32_t)((x ^ x >> 31) >> 32) % below : 0;
}

static bool chance(unsigned int of_1000)
{
	return rnd(1000) < of_1000;
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

/* ---- the way ---- */

static int64_t cross(struct world *o, bool to_guest, int64_t sent)
{
	int64_t at = sent + o->base[to_guest] + rnd((uint32_t)o->base[to_guest]);

	if (rnd(200) == 0)
		at += rnd(4000000);
	if (chance(o->late))
		return at + rnd(rnd(4) ? 1000000 : (uint32_t)o->longest_late);
	if (o->fifo && at <= o->last_there[to_guest])
		at = o->last_there[to_guest] + 150;
	o->last_there[to_guest] = at > o->last_there[to_guest] ? at : o->last_there[to_guest];
	return at;
}

static void send_wire(struct world *o, struct wire *x, bool to_guest, int64_t sent, bool may_double)
{
	x->w = o->next_w++;
	x->sent = sent;
	x->there = cross(o, to_guest, sent);
	x->lost = chance(o->loss);
	x->twice = !x->lost && may_double && chance(o->dup);
	x->again = x->there + 500 + rnd(rnd(4) ? 40000 : 3000000);
}

/* Put a packet into the capture of @point; return where its numbers go, NULL when it was not captured. */
static struct seen *see(struct world *o, struct capture *c, int point, int64_t t, const struct stream *s,
			bool to_guest, uint32_t tx)
{
	struct seen *x = &c[point].s[c[point].n];

	if (c[point].n == PACKETS || chance(o->unseen))
		return NULL;
	memset(x, 0, sizeof(*x));
	x->p = s->like;
	x->p.dir = !to_guest;
	x->true_ns = t;
	x->tx = tx;
	x->p.time_ns = t;
	if (point == VNS_POINT_B)
		x->p.time_ns += o->offset + (int64_t)(o->ppm * 1e-6 * (double)(t - START_NS));
	c[point].n++;
	return x;
}

/* ---- TCP ---- */

static void shape_tcp(struct seen *x, const struct stream *s, const struct wire *w, uint32_t n, int64_t at,
		      const struct vns_packet *heard)
{
	if (!x)
		return;
	x->p.seq = w[0].from;
	x->p.payload_len = 0;
	for (uint32_t i = 0; i < n; i++) {
		x->p.payload_len += w[i].len;
		x->w[x->n++] = w[i].w;
	}
	x->p.ip_id = w[0].id;
	x->p.tsval = s->ts ? (uint32_t)(at / VNS_NSEC_PER_MSEC) + 7 : 0;
	x->p.ack = heard->ack;
	x->p.tsecr = heard->tsecr;
	x->p.window = heard->window;
}

/* Bytes [@seq, @seq + @len) at @at. */
static void send_tcp(struct world *o, struct capture *c, struct stream *s, bool to_guest, int64_t at,
		     uint32_t seq, uint32_t len)
{
	struct wire w[MAX_WIRE];
	int up = to_guest ? VNS_POINT_A : VNS_POINT_B, down = !up;
	uint32_t n = 0, tx = o->next_tx++, step = s->same && s->super ? len : s->mss;
	struct vns_packet heard = { .ack = s->ack, .tsecr = s->ts ? s->tsecr : 0, .window = s->window };
	struct seen *x;

	for (uint32_t at_byte = 0; at_byte < len && n < MAX_WIRE; at_byte += step, n++) {
		send_wire(o, &w[n], to_guest, at, !s->joins);
		w[n].from = seq + at_byte;
		w[n].len = len - at_byte < step ? len - at_byte : step;
		w[n].id = s->id_mode == ID_NONE ? 0 : s->id_mode == ID_REPEATS ? 1 + s->id[to_guest]++ % 8u :
			  s->id[to_guest]++ | 1u << 16;
		w[n].id &= 0xffff;
		at += s->super ? 0 : 1211;
	}
	for (uint32_t i = 0, k; i < n; i = k) {
		k = s->super ? i + 1 + rnd(n - i) : i + 1;
		x = see(o, c, up, w[i].sent, s, to_guest, tx);
		shape_tcp(x, s, w + i, k - i, w[0].sent, &heard);
	}
	for (uint32_t i = 0, k; i < n; i = k) {
		int64_t there = w[i].there;

		k = i + 1;
		if (w[i].lost)
			continue;
		while (s->joins && k < n && !w[k].lost && rnd(8) && w[k].there >= there)
			there = w[k++].there;
		x = see(o, c, down, there, s, to_guest, tx);
		shape_tcp(x, s, w + i, k - i, w[0].sent, &heard);
		if (w[i].twice && k == i + 1) {
			x = see(o, c, down, w[i].again, s, to_guest, tx);
			shape_tcp(x, s, w + i, 1, w[0].sent, &heard);
		}
	}
}

static int64_t tcp_round(struct world *o, struct capture *c, struct stream *s, int64_t at)
{
	bool to_guest = s->dir_fixed ? s->dir : rnd(2);
	uint32_t len = 1 + rnd(rnd(3) ? 1448 : s->mss * (MAX_WIRE - 4));

	if (rnd(2))
		s->ack += rnd(3000);
	if (rnd(2))
		s->tsecr++;
	send_tcp(o, c, s, to_guest, at, s->seq[to_guest], len);
	s->seq[to_guest] += len;
	while (chance(150)) { /* sent again, what was heard in the meantime or not */
		uint32_t most = s->seq[to_guest] - s->first_seq[to_guest];
		uint32_t back = rnd(2) ? len : 1 + rnd(3000), n;

		back = back > most ? most : back;
		n = rnd(3) ? back : 1 + rnd(back);
		n = n > s->mss * (MAX_WIRE - 4) ? s->mss : n;
		at += rnd(3) ? rnd(5000000) : rnd(700);
		if (rnd(3) == 0)
			s->ack++;
		if (rnd(4) == 0)
			s->window++;
		send_tcp(o, c, s, to_guest, at, s->seq[to_guest] - back, n);
	}
	return at;
}

/* ---- whole packets ---- */

static int64_t whole_round(struct world *o, struct capture *c, struct stream *s, int64_t at)
{
	bool to_guest = s->dir_fixed ? s->dir : rnd(2);
	unsigned int burst = 1 + (rnd(4) ? 0 : rnd(5));
	int up = to_guest ? VNS_POINT_A : VNS_POINT_B;

	for (unsigned int i = 0; i < burst; i++, at += rnd(2) ? 3000 : rnd(3000000)) {
		uint32_t which = s->identical ? rnd(s->digests) : s->count++, tx = o->next_tx++;
		struct stream one = *s;
		struct wire w;
		struct seen *x;

		send_wire(o, &w, to_guest, at, true);
		one.like.payload_len = s->kind == ACKS ? 0 : 20 + which % 400;
		one.like.digest = mix(mix(5, s->like.flow_hash), which) + vns_length_term(one.like.payload_len);
		one.like.seq = s->kind == ACKS ? 1000 + which : one.like.seq;
		one.like.ip_id = s->id_mode == ID_NONE ? 0 : s->id_mode == ID_COUNTS ?
				 (s->id[to_guest]++ & 0x7fffu) + 1 : 1 + s->id[to_guest]++ % 4u;
		if (s->kind == ACKS && s->id_mode == ID_NONE && rnd(2)) {
			one.like.flags |= VNS_PKT_F_HAS_SACK;
			one.like.sack_left = 100;
			one.like.sack_right = 200 + rnd(4);
		}
		x = see(o, c, up, w.sent, &one, to_guest, tx);
		if (x)
			x->w[x->n++] = w.w;
		if (w.lost)
			continue;
		x = see(o, c, !up, w.there, &one, to_guest, tx);
		if (x)
			x->w[x->n++] = w.w;
		x = w.twice ? see(o, c, !up, w.again, &one, to_guest, tx) : NULL;
		if (x)
			x->w[x->n++] = w.w;
	}
	return at;
}

/* ---- frames of datagrams ---- */

static void shape_frame(struct seen *x, const struct wire *w, uint32_t n)
{
	if (!x)
		return;
	x->p.payload_len = 0;
	for (uint32_t i = 0; i < n; i++) {
		x->p.payload_len += w[i].len;
		x->w[x->n++] = w[i].w;
	}
	x->p.ip_id = w[0].id;
	x->p.digest = w[0].base + vns_length_term(x->p.payload_len);
}

static int64_t frame_round(struct world *o, struct capture *c, struct stream *s, int64_t at)
{
	bool to_guest = s->dir_fixed ? s->dir : rnd(2);
	int up = to_guest ? VNS_POINT_A : VNS_POINT_B, down = !up;
	unsigned int frames = 1 + rnd(4);

	for (unsigned int f = 0; f < frames; f++, at += 2000 + rnd(30000)) {
		uint32_t n = 2 + rnd(10), rest = rnd(2) ? s->size : 1 + rnd(s->size), tx = o->next_tx++;
		struct wire w[MAX_WIRE], got[MAX_WIRE];
		uint32_t n_got = 0;

		for (uint32_t k = 0; k < n; k++) {
			send_wire(o, &w[k], to_guest, at, !s->super || !s->joins);
			w[k].len = k == n - 1 ? rest : s->size;
			w[k].base = s->identical ? mix(6, s->like.flow_hash) : mix(mix(7, s->like.flow_hash), s->count++);
			w[k].id = s->id_mode == ID_COUNTS ? (s->id[to_guest] + k) & 0xffffu : 0;
			at += s->super ? 0 : 1200;
			if (s->joins && k && w[k].there < w[k - 1].there)
				w[k].there = w[k - 1].there + 100;
			for (int copy = 0; !w[k].lost && copy <= w[k].twice && n_got < MAX_WIRE; copy++)
				got[n_got++] = w[k];
		}
		s->id[to_guest] = (uint16_t)(s->id[to_guest] + (s->super && rnd(2) ? 1 : n));
		if (s->super)
			shape_frame(see(o, c, up, w[0].sent, s, to_guest, tx), w, n);
		for (uint32_t k = 0; k < n && !s->super; k++)
			shape_frame(see(o, c, up, w[k].sent, s, to_guest, tx), &w[k], 1);
		if (!s->joins) {
			for (uint32_t k = 0; k < n; k++) {
				if (!w[k].lost)
					shape_frame(see(o, c, down, w[k].there, s, to_guest, tx), &w[k], 1);
				if (w[k].twice)
					shape_frame(see(o, c, down, w[k].again, s, to_guest, tx), &w[k], 1);
			}
			continue;
		}
		for (uint32_t k = 0, e; k < n_got; k = e) { /* as GRO does: of one size, the last may be shorter */
			for (e = k + 1; e < n_got && got[e - 1].len == got[k].len && got[e].len <= got[k].len && rnd(30); e++)
				;
			shape_frame(see(o, c, down, got[e - 1].there + 700 + k, s, to_guest, tx), got + k, e - k);
		}
	}
	return at;
}

/* ---- fragments ---- */

static void shape_fragment(struct seen *x, const struct stream *s, const struct wire *w, uint32_t k)
{
	if (!x)
		return;
	x->p.ip_id = w[k].id;
	x->p.payload_len = w[k].len;
	x->p.digest = w[k].base + vns_length_term(w[k].len);
	x->p.flags |= k ? VNS_PKT_F_LATER_FRAG : VNS_PKT_F_FIRST_FRAG;
	x->w[x->n++] = w[k].w;
	if (!k)
		return;
	x->p.verdict = VNS_PKT_FRAGMENT;
	x->p.frag_off = (uint16_t)(w[k].from + 8);
	x->p.key.port[0] = x->p.key.port[1] = 0;
	x->p.flow_hash = mix(77, s->like.key.family);
}

static void put_fragments(struct world *o, struct capture *c, const struct stream *s, bool to_guest, int point,
			  bool up, const struct wire *w, uint32_t n, uint32_t tx)
{
	for (uint32_t k = 0; k < n; k++) {
		if (up || !w[k].lost)
			shape_fragment(see(o, c, point, up ? w[k].sent : w[k].there, s, to_guest, tx), s, w, k);
		if (!up && w[k].twice)
			shape_fragment(see(o, c, point, w[k].again, s, to_guest, tx), s, w, k);
	}
}

static void put_whole(struct world *o, struct capture *c, const struct stream *s, bool to_guest, int point,
		      int64_t t, const struct wire *w, uint32_t n, uint32_t tx)
{
	struct seen *x = see(o, c, point, t, s, to_guest, tx);

	if (!x)
		return;
	shape_frame(x, w, n);
	x->p.ip_id = s->like.key.family == 6 ? 0 : w[0].id;
	x->p.digest = w[0].base + vns_length_term(x->p.payload_len);
}

static int64_t fragment_round(struct world *o, struct capture *c, struct stream *s, int64_t at)
{
	static uint32_t fragment_id;
	bool to_guest = s->dir_fixed ? s->dir : rnd(2);
	int up = to_guest ? VNS_POINT_A : VNS_POINT_B, down = !up;
	uint32_t len = 2000 + rnd(6000), n = 0, tx = o->next_tx++;
	bool pieces_up = s->cut_here[0], pieces_down = s->cut_here[1], lost = false;
	struct wire w[MAX_WIRE];
	int64_t whole_there = 0;

	fragment_id = fragment_id % 60000 + 1;
	for (uint32_t byte = 0; byte < len; n++) {
		send_wire(o, &w[n], to_guest, at, pieces_down);
		w[n].from = byte;
		w[n].len = len - byte < 1472u + (n ? 8 : 0) ? len - byte : 1472u + (n ? 8 : 0);
		byte += w[n].len;
		w[n].id = fragment_id;
		w[n].base = mix(mix(8, s->like.flow_hash), s->count++);
		lost |= w[n].lost;
		whole_there = w[n].there + 900 > whole_there ? w[n].there + 900 : whole_there;
		at += pieces_up ? 1200 : 0;
	}
	if (pieces_up)
		put_fragments(o, c, s, to_guest, up, true, w, n, tx);
	else
		put_whole(o, c, s, to_guest, up, w[0].sent, w, n, tx);
	if (pieces_down)
		put_fragments(o, c, s, to_guest, down, false, w, n, tx);
	else if (!lost)
		put_whole(o, c, s, to_guest, down, whole_there, w, n, tx);
	return at;
}

/* ---- a storm ---- */

static struct stream make_stream(const struct world *o, unsigned int number)
{
	struct stream s = { .kind = rnd(kinds), .id_mode = rnd(id_modes), .dir_fixed = !o->two_ways || rnd(2),
			    .dir = o->two_ways ? rnd(2) : 0, .ts = rnd(5), .super = rnd(2), .joins = rnd(2),
			    .same = rnd(2), .identical = rnd(3) == 0, .cut_here = { rnd(2), rnd(2) },
			    .mss = 500 + rnd(949), .size = 100 + rnd(1200), .ack = rnd(UINT32_MAX), .tsecr = rnd(1u << 30),
			    .digests = 1 + rnd(3), .id = { (uint16_t)rnd(65536), (uint16_t)rnd(65536) }, .window = 501 };
	struct vns_packet *p = &s.like;

	for (int i = 0; i < 2; i++)
		s.seq[i] = s.first_seq[i] = rnd(3) ? rnd(1u << 31) : UINT32_MAX - rnd(20000);
	p->verdict = VNS_PKT_OK;
	p->proto = s.kind <= ACKS ? VNS_PROTO_TCP : s.kind == ICMP ? VNS_PROTO_ICMP : VNS_PROTO_UDP;
	p->tcp_flags = s.kind <= ACKS ? VNS_TCP_ACK : 0;
	p->flags = s.kind == TCP && s.ts ? VNS_PKT_F_HAS_TS : 0;
	p->key = (struct vns_flow_key){ .port = { 1000, (uint16_t)(2000 + number) },
					.ipproto = s.kind <= ACKS ? 6 : s.kind == ICMP ? 1 : 17,
					.family = s.id_mode == ID_NONE ? 6 : 4 };
	memcpy(p->key.addr[0].b + 10, "\xff\xff\x0a\0\0\x01", 6);
	memcpy(p->key.addr[1].b + 10, "\xff\xff\x0a\0\0\x02", 6); /* the guest */
	p->flow_hash = mix(number + 1, 3);
	if (s.joins && s.kind == TCP)
		s.same = false;
	/*
	 * Frames of zeros tell nothing where they are cut or put together otherwise; and where both points see
	 * frames, only those of more than an Ethernet frame holds are known to be some.
	 */
	if (s.kind == FRAMES && s.super)
		s.identical = false;
	if (s.kind == FRAMES && s.super && s.joins)
		s.size = 737 + rnd(600);
	p->vlan = s.kind == FRAMES && s.identical; /* zeros: see is_sure() */
	return s;
}

static struct world make_world(void)
{
	static const unsigned int rates[] = { 0, 0, 1, 5, 30, 120 };
	static const int64_t windows[] = { 100, 400, 1000 };
	struct world o = { .loss = rates[rnd(6)], .dup = rates[rnd(6)], .late = rates[rnd(5)], .unseen = rnd(4) ? 0 : rates[rnd(4)],
			   .streams = 1 + rnd(MAX_STREAMS), .two_ways = rnd(4), .fifo = rnd(4),
			   .window = windows[rnd(3)] * VNS_NSEC_PER_MSEC, .offset = rnd(3) ? (int64_t)rnd(1u << 31) * 40 : 0,
			   .base = { 15000 + rnd(185000), 15000 + rnd(185000) }, .ppm = rnd(2) ? 0 : rnd(400) - 200.0 };

	o.slack = o.window / 10 < 20 * VNS_NSEC_PER_MSEC ? o.window / 10 : 20 * VNS_NSEC_PER_MSEC;
	o.longest_late = o.slack;
	o.coarse_error = rnd(2) ? 0 : (int64_t)rnd(8000000) - 4000000;
	return o;
}

static int by_time(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	if (a->p.time_ns != b->p.time_ns)
		return a->p.time_ns < b->p.time_ns ? -1 : 1;
	return (a->w[0] > b->w[0]) - (a->w[0] < b->w[0]);
}

/* In order of their stamps, of which no two are alike: a sample names its packets by them. */
static void put_in_order(struct capture *c)
{
	qsort(c->s, c->n, sizeof(*c->s), by_time);
	for (size_t i = 0; i < c->n; i++) {
		if (i && c->s[i].p.time_ns <= c->s[i - 1].p.time_ns)
			c->s[i].p.time_ns = c->s[i - 1].p.time_ns + 1;
		c->pkt[i] = c->s[i].p;
	}
}

static struct world brew(struct capture c[2])
{
	struct world o = make_world();

	c[0].n = c[1].n = 0;
	for (unsigned int k = 0; k < o.streams; k++) {
		struct stream s = make_stream(&o, k);
		int64_t at = START_NS + rnd(20000000), end = START_NS + 4 * o.window;
		unsigned int rounds = 10 + rnd(60);

		o.last_there[0] = o.last_there[1] = 0;
		for (unsigned int i = 0; i < rounds; i++) {
			at += rnd(4) ? rnd(300000) : rnd((uint32_t)((end - START_NS) / 20));
			if (s.kind == TCP)
				at = tcp_round(&o, c, &s, at);
			else if (s.kind == FRAMES)
				at = frame_round(&o, c, &s, at);
			else if (s.kind == FRAGMENTS)
				at = fragment_round(&o, c, &s, at);
			else
				at = whole_round(&o, c, &s, at);
		}
	}
	put_in_order(&c[0]);
	put_in_order(&c[1]);
	return o;
}

#endif
