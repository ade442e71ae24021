// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Flows of twin mode: addresses and habits; datagrams, echoes, and strangers that never cross.
 */
#include <string.h>

#include "twin.h"

/*
 * What NAT makes of the path at the host: the guest's end bears an address of the host. Masquerading
 * keeps a port where it can (Linux does), dnat forwards one port to another. Payload and its
 * checksums follow: the path's key stays.
 */
static void translate(struct twin *w, struct gc_path *p, uint64_t i)
{
	bool masquerade = strcmp(w->o->nat, "masquerade") == 0;

	if (strcmp(w->o->nat, "none") == 0)
		return;
	memset(p->addr[1], 0, sizeof(p->addr[1]));
	p->addr[1][0] = p->v6 ? 0xfd : 192;
	p->addr[1][1] = p->v6 ? 0 : 168;
	p->addr[1][p->v6 ? 15 : 3] = 1;
	if (p->proto == GC_TCP || p->proto == GC_UDP)
		p->port[1] = (uint16_t)(masquerade && i % 3 ? p->port[1] : p->port[1] + 2000);
}

static void make_paths(struct twin *w, struct tw_flow *f, uint64_t i)
{
	struct gc_path *p = &f->path[TW_A];
	uint32_t host = (uint32_t)(i / 8) + 5;

	p->key = gc_rand(&w->rng);
	p->v6 = gc_pct(&w->rng, w->o->ipv6);
	p->zero_checksum = w->o->zero_checksum;
	p->proto = gc_pct(&w->rng, w->o->udp) ? GC_UDP :
		gc_pct(&w->rng, w->o->icmp) ? (p->v6 ? GC_ICMP6 : GC_ICMP) : GC_TCP;
	p->port[0] = (uint16_t)(20000 + i % 8 * 1000 + i / 8 % 1000);
	p->port[1] = p->proto == GC_UDP ? 6053 : (uint16_t)(5201 + gc_below(&w->rng, 8) * 100);
	for (int k = 0; k < 2; k++) {
		uint8_t *a = p->addr[k], *tail = a + (p->v6 ? 13 : 1);
		uint32_t low = k ? 11 : host;

		a[0] = p->v6 ? 0xfd : k ? 100 : i % 2 ? 150 : 10;
		if (p->v6)
			a[7] = (uint8_t)(k ? 8 : i % 2 ? 9 : 7);
		tail[0] = (uint8_t)(low >> 16);
		tail[1] = (uint8_t)(low >> 8);
		tail[2] = (uint8_t)low;
	}
	f->path[TW_B] = *p;
	translate(w, p, i);
	p->pad = gc_below(&w->rng, 2);
	if (gc_pct(&w->rng, w->o->vlan))
		p->vlan = (uint16_t)(2 + gc_below(&w->rng, 4000));
}

static uint8_t pick_form(struct twin *w)
{
	static const char *const name[] = { "same", "split", "gro", "regroup" };

	for (uint8_t i = 0; i < 4; i++)
		if (strcmp(w->o->offload, name[i]) == 0)
			return i;
	return (uint8_t)gc_below(&w->rng, 4);
}

void tw_flow_init(struct twin *w, uint64_t i)
{
	static const uint32_t rate[] = { 1000, 1000, 250, 100 };
	struct tw_flow *f = &w->flow[i];

	memset(f, 0, sizeof(*f));
	make_paths(w, f, i);
	f->ts = f->path[0].proto == GC_TCP && gc_below(&w->rng, 10);
	f->identical = f->path[0].proto == GC_UDP && gc_pct(&w->rng, w->o->identical);
	f->path[0].blank = f->path[1].blank = f->identical && w->o->frames > 0;
	f->size = gc_below(&w->rng, 4) ? gc_below(&w->rng, 1200) : 0;
	f->id_reuse = !f->identical && gc_below(&w->rng, 10) == 0;
	f->routed = gc_below(&w->rng, 2);
	/* From the key: flows of captures without frames stay as they were. */
	f->gso = 200 + (uint32_t)(f->path[0].key % 1200);
	f->id_by_frame = f->path[0].key >> 20 & 1;
	for (int d = 0; d < 2; d++) {
		f->joined[d] = w->o->frame_kind[0] == 'j' ||
			       (w->o->frame_kind[0] == 'm' && f->path[0].key >> (21 + d) & 1);
		f->base[d] = (int64_t)gc_log_uniform(&w->rng, 15e3, 200e3);
		f->form[d] = pick_form(w);
		f->isn[d] = gc_below(&w->rng, 8) ? (uint32_t)gc_rand(&w->rng) :
						   0 - gc_below(&w->rng, 100000);
		f->tsbase[d] = (uint32_t)gc_rand(&w->rng);
		f->hz[d] = rate[gc_below(&w->rng, 4)];
		f->id[d] = (uint16_t)gc_rand(&w->rng);
		f->sent[d] = f->acked[d] = 1;
		f->win[d] = 501;
	}
}

uint16_t tw_next_id(const struct twin *w, struct tw_flow *f, int sender, uint32_t n)
{
	uint16_t id = f->id[sender];

	f->id[sender] = (uint16_t)(id + n);
	if (w->o->id_zero)
		return 0;
	return f->id_reuse ? TW_REUSED_ID(id) : id;
}

struct gc_pkt tw_packet(const struct tw_flow *f, int point, int dir)
{
	int sender = dir == TW_G2H;
	bool downstream = point == (dir == TW_H2G ? TW_B : TW_A);

	return (struct gc_pkt){ .path = &f->path[point], .from = (uint8_t)sender, .df = true,
				.ttl = (uint8_t)(64 - (f->routed && downstream)) };
}

int64_t tw_cross(struct twin *w, struct tw_flow *f, int dir, int64_t t, bool may_reorder)
{
	int64_t at = t + f->base[dir] + gc_jitter(&w->rng, f->base[dir]);

	if (gc_below(&w->rng, 200) == 0) /* a hiccup of the vCPU */
		at += gc_jitter(&w->rng, 8 * GC_MSEC);
	if (may_reorder && gc_pct(&w->rng, w->o->reorder))
		return at + 20 * GC_USEC + gc_jitter(&w->rng, GC_MSEC);
	if (at <= f->fifo[dir])
		at = f->fifo[dir] + 150;
	f->fifo[dir] = at;
	return at;
}

void tw_single(struct twin *w, struct tw_flow *f, const struct gc_pkt *at_a, int dir, int64_t t,
	       bool lost, enum tw_likeness like)
{
	int up = dir == TW_H2G ? TW_A : TW_B, down = !up;
	bool no_id = f->path[0].v6 || w->o->id_zero || f->id_reuse;
	bool uneven = no_id || w->o->loss > 0 || w->o->dup > 0 || w->o->cut_s > 0;
	int others = like == TW_DOUBTFUL || (like == TW_ALIKE && uneven) ? TW_AMBIGUOUS : 0;
	int64_t there = tw_cross(w, f, dir, t, like == TW_UNIQUE);
	bool twice = !lost && gc_pct(&w->rng, w->o->dup);
	struct gc_pkt p = *at_a;
	struct tw_item *it;

	p.path = &f->path[up];
	p.ttl = 64;
	it = tw_send(w, f, t, dir, &p);
	it->other = (uint8_t)(others | (twice ? TW_AMBIGUOUS : 0));
	if (lost || !tw_seen_at(w, down, there)) {
		tw_unmatched(w, it, down, there);
	} else {
		it->first = it->last = there;
	}
	if (lost)
		return;
	p.path = &f->path[down];
	p.ttl = (uint8_t)(64 - f->routed);
	it = tw_put(w, down, there, dir, &p);
	it->other = (uint8_t)(others | (twice ? TW_AMBIGUOUS : 0));
	if (!tw_seen_at(w, up, t))
		tw_unmatched(w, it, up, t);
	if (!twice)
		return;
	it = tw_put(w, down, there + 500 + gc_jitter(&w->rng, 40 * GC_USEC), dir, &p);
	it->other = TW_MATCHED | TW_AMBIGUOUS;
	if (it->t > f->fifo[dir])
		f->fifo[dir] = it->t;
	tw_unmatched(w, it, up, t);
}

bool tw_draw_loss(struct twin *w)
{
	return gc_pct(&w->rng, w->o->loss);
}


/*
 * Each fragment is a packet with a fate of its own. Fragments of all flows between two addresses
 * share the identification (RFC 791), so one counter serves all.
 */
static void fragments(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	struct gc_pkt p = tw_packet(f, TW_A, dir);

	p.df = false;
	p.whole = 2000 + gc_below(&w->rng, 6192);
	p.off = ((uint64_t)f->count++ << 20) | (uint64_t)dir << 19;
	p.ip_id = w->fragment_id++;
	for (; p.frag_off < 8 + p.whole; p.frag_off += TW_FRAGMENT, t += 1200) {
		p.len = 8 + p.whole - p.frag_off;
		if (p.len > TW_FRAGMENT)
			p.len = TW_FRAGMENT;
		tw_single(w, f, &p, dir, t, tw_draw_loss(w), TW_UNIQUE);
	}
}

static void datagram(struct twin *w, struct tw_flow *f, int dir, int64_t t)
{
	struct gc_pkt p = tw_packet(f, TW_A, dir);

	bool one_sided = gc_pct(&w->rng, w->o->one_sided);

	if (!f->identical && (one_sided || !f->path[0].v6) &&
	    gc_pct(&w->rng, w->o->fragments)) {
		if (!one_sided)
			fragments(w, f, dir, t);
		else
			tw_fragments_once(w, f, dir, t);
		return;
	}
	if (gc_pct(&w->rng, w->o->frames)) {
		tw_frames(w, f, dir, t);
		return;
	}
	p.ip_id = tw_next_id(w, f, dir == TW_G2H, 1);
	p.len = f->identical ? f->size : 8 + gc_below(&w->rng, 1400);
	p.off = f->identical ? 0 : ((uint64_t)f->count++ << 20) | (uint64_t)dir << 19;
	tw_single(w, f, &p, dir, t, tw_draw_loss(w), f->identical ? TW_ALIKE : TW_UNIQUE);
}

/* Request one way, reply the other; both ends may ask. */
static void echo(struct twin *w, struct tw_flow *f, int64_t t)
{
	int dir = (int)gc_below(&w->rng, 2);
	bool v6 = f->path[0].v6;
	struct gc_pkt p = tw_packet(f, TW_A, dir);
	int64_t delay = 12 * GC_MSEC + gc_jitter(&w->rng, GC_MSEC);
	bool lost;

	p.icmp_type = v6 ? 128 : 8;
	p.icmp_id = (uint16_t)(f->path[0].port[0] + dir);
	p.icmp_seq = (uint16_t)f->count++;
	p.len = 56;
	p.off = (uint64_t)f->count << 20;
	p.ip_id = tw_next_id(w, f, dir == TW_G2H, 1);
	lost = tw_draw_loss(w);
	tw_single(w, f, &p, dir, t, lost, TW_UNIQUE);
	if (lost)
		return;
	p.from = dir != TW_G2H;
	p.icmp_type = v6 ? 129 : 0;
	p.ip_id = tw_next_id(w, f, p.from, 1);
	tw_single(w, f, &p, !dir, t + delay, tw_draw_loss(w), TW_UNIQUE);
}

void tw_unit(struct twin *w, struct tw_flow *f, int64_t t)
{
	if (t <= f->busy_until)
		return;
	if (f->path[0].proto == GC_TCP)
		tw_tcp_unit(w, f, t);
	else if (f->path[0].proto == GC_UDP)
		datagram(w, f, (int)gc_below(&w->rng, 2), t);
	else
		echo(w, f, t);
}

static const struct gc_path neighbour = {
	.key = 41, .proto = GC_UDP, .addr = { { 10, 9, 9, 9 }, { 100, 0, 0, 77 } },
	.port = { 999, 7053 },
};
static const struct gc_path of_guest = {
	.key = 42, .proto = GC_UDP, .addr = { { 10, 9, 9, 9 }, { 100, 0, 0, 11 } },
	.port = { 999, 7053 },
};

/* Neighbours' packets and ARP at the host; packets of the guest that one point never sees. */
void tw_stranger(struct twin *w, int64_t t)
{
	uint32_t kind = gc_below(&w->rng, 4), n = w->strangers++;
	struct gc_pkt p = { .path = kind < 2 ? &neighbour : &of_guest, .from = kind == 3,
			    .ttl = 64, .len = 40 + gc_below(&w->rng, 400),
			    .off = (uint64_t)n << 20, .ip_id = (uint16_t)n };
	int point = kind == 3 ? TW_B : TW_A;
	struct tw_item *it;

	it = tw_put(w, point, t, kind < 2 ? TW_NO_DIR : kind == 3 ? TW_G2H : TW_H2G, &p);
	if (kind < 2) {
		it->arp = kind == 0;
		it->class = TW_UNDECODABLE;
		it->other = kind == 0 ? 0 : TW_MISSING | TW_OUTSIDE;
	} else {
		tw_unmatched(w, it, !point, t);
		w->sent++;
	}
}
