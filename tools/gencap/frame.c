// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Frames: struct gc_pkt -> bytes with right lengths and checksums (RFC 791, 8200, 9293, 768,
 * 792, 4443; checksum RFC 1071), without allocating.
 *
 * Payload bytes are a function of the flow's key and the place in its byte stream, so that the
 * same byte is the same in every segmentation and retransmission. The stream is made of cells of
 * 32 bytes whose last two bytes bring the cell's one's complement sum to 0xffff, which is zero:
 * whole cells vanish from the checksum (at odd places too: 0xffff swapped is itself), so that the
 * checksum of a 64 KB superframe cut at 96 bytes costs its two edge cells only.
 */
#include <string.h>

#include "gencap.h"

#define CELL 32U

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint32_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

/* Sum of 16-bit words in memory order; @n may be odd. */
static uint64_t sum_bytes(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;
	uint32_t four;
	uint16_t two;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&four, p, 4);
		sum += four;
	}
	if (n >= 2) {
		memcpy(&two, p, 2);
		sum += two;
		n -= 2;
		p += 2;
	}
	if (n) {
		two = 0;
		memcpy(&two, p, 1);
		sum += two;
	}
	return sum;
}

static void make_cell(uint64_t key, uint64_t index, uint8_t *cell)
{
	uint64_t w[4];
	uint16_t last;

	w[0] = gc_mix(key + index * 0x9e3779b97f4a7c15ULL);
	w[1] = (w[0] ^ (w[0] >> 29)) * 0xff51afd7ed558ccdULL;
	w[2] = (w[1] ^ (w[1] >> 32)) * 0xc4ceb9fe1a85ec53ULL;
	w[3] = (w[2] ^ (w[2] >> 31)) * 0xd6e8feb86659fd93ULL;
	memcpy(cell, w, CELL);
	last = (uint16_t)~fold(sum_bytes(cell, CELL - 2));
	memcpy(cell + CELL - 2, &last, 2);
}

/* The bytes [off, off + n) of the stream. */
static void fill(const struct gc_path *path, uint64_t off, uint8_t *out, size_t n)
{
	uint8_t cell[CELL];

	if (path->blank)
		memset(out, 0, n);
	while (n && !path->blank) {
		size_t at = off % CELL, k = CELL - at < n ? CELL - at : n;

		make_cell(path->key, off / CELL, cell);
		memcpy(out, cell + at, k);
		out += k;
		off += k;
		n -= k;
	}
}

/* Sum of the payload as if it stood at an even place. */
static uint64_t sum_payload(const struct gc_path *path, uint64_t off, uint32_t len)
{
	uint8_t edge[CELL];
	uint32_t head = (uint32_t)(off % CELL ? CELL - off % CELL : 0), tail;
	uint64_t sum;

	if (head > len)
		head = len;
	tail = (uint32_t)((off + len) % CELL);
	if (tail > len - head)
		tail = 0;
	if (path->blank)
		return 0;
	fill(path, off, edge, head);
	sum = sum_bytes(edge, head);
	fill(path, off + len - tail, edge, tail);
	if ((len - tail) & 1) {
		uint32_t s = fold(sum_bytes(edge, tail));

		return sum + ((s >> 8 | s << 8) & 0xffff);
	}
	return sum + sum_bytes(edge, tail);
}

static uint8_t *put_ethernet(const struct gc_path *path, int from, uint8_t *p)
{
	static const uint8_t mac[2][6] = { { 2, 0x77, 0, 0, 0, 1 }, { 2, 0x77, 0, 0, 0, 2 } };

	memcpy(p, mac[!from], 6);
	memcpy(p + 6, mac[from], 6);
	p += 12;
	if (path->vlan) {
		put16(p, 0x8100);
		put16(p + 2, path->vlan);
		p += 4;
	}
	return p;
}

static bool more_fragments(const struct gc_pkt *p)
{
	return p->whole && p->frag_off + p->len < 8 + p->whole;
}

/* RFC 791: "more fragments" and the offset in units of eight bytes. */
static uint32_t fragment_word(const struct gc_pkt *p)
{
	return (more_fragments(p) ? 0x2000 : 0) | p->frag_off >> 3;
}

/* RFC 8200 section 4.5: the fragment header, behind the IPv6 header at @h. */
static uint8_t *put_fragment6(const struct gc_pkt *p, uint8_t *h, uint32_t l4_len)
{
	put16(h + 4, 8 + l4_len);
	h[6] = 44;
	h[40] = p->path->proto;
	h[41] = 0;
	put16(h + 42, p->frag_off | more_fragments(p));
	put32(h + 44, 0x51000000U | p->ip_id);
	return h + 48;
}

static uint8_t *put_ip(const struct gc_pkt *p, uint8_t *h, uint32_t l4_len)
{
	const struct gc_path *path = p->path;
	const uint8_t *src = path->addr[p->from], *dst = path->addr[!p->from];
	uint16_t sum;

	if (path->v6) {
		put16(h, 0x86dd);
		h += 2;
		put32(h, 0x60000000);
		/* RFC 2675: 0 where the length does not fit, as Linux's big TCP has it */
		put16(h + 4, l4_len > 65535 ? 0 : l4_len);
		h[6] = path->proto;
		h[7] = p->ttl;
		memcpy(h + 8, src, 16);
		memcpy(h + 24, dst, 16);
		return p->whole ? put_fragment6(p, h, l4_len) : h + 40;
	}
	put16(h, 0x0800);
	h += 2;
	put16(h, 0x4500);
	put16(h + 2, 20 + l4_len);
	put16(h + 4, p->ip_id);
	put16(h + 6, p->df ? 0x4000 : fragment_word(p));
	h[8] = p->ttl;
	h[9] = path->proto;
	put16(h + 10, 0);
	memcpy(h + 12, src, 4);
	memcpy(h + 16, dst, 4);
	sum = (uint16_t)~fold(sum_bytes(h, 20));
	memcpy(h + 10, &sum, 2);
	return h + 20;
}

static uint32_t tcp_options(const struct gc_pkt *p, uint8_t *o)
{
	uint32_t n = 0;

	/* Timestamps last: a snap length that cuts the options cuts them. */
	if (p->mss) {
		put32(o, 0x02040000U | p->mss);
		put32(o + 4, 0x03030704); /* window scale 7, SACK permitted */
		put16(o + 8, 0x0201);
		n = 10;
	}
	if (p->ts) {
		if (!p->mss) {
			put16(o, 0x0101);
			n = 2;
		}
		put16(o + n, 0x080a);
		put32(o + n + 2, p->tsval);
		put32(o + n + 6, p->tsecr);
		n += 10;
	} else if (p->mss) {
		put16(o + n, 0x0101);
		n += 2;
	}
	if (p->sack[0] != p->sack[1]) {
		put32(o + n, 0x0101050a);
		put32(o + n + 4, p->sack[0]);
		put32(o + n + 8, p->sack[1]);
		n += 12;
	}
	return n;
}

static uint32_t put_l4(const struct gc_pkt *p, uint8_t *h)
{
	const struct gc_path *path = p->path;

	if (path->proto == GC_TCP) {
		uint32_t opts = tcp_options(p, h + 20);

		put16(h, path->port[p->from]);
		put16(h + 2, path->port[!p->from]);
		put32(h + 4, p->seq);
		put32(h + 8, p->ack);
		h[12] = (uint8_t)((20 + opts) << 2);
		h[13] = p->flags;
		put16(h + 14, p->win);
		put32(h + 16, 0);
		return 20 + opts;
	}
	if (path->proto == GC_UDP) {
		put16(h, path->port[p->from]);
		put16(h + 2, path->port[!p->from]);
		put16(h + 4, 8 + p->len);
		put16(h + 6, 0);
		return 8;
	}
	put16(h, (uint32_t)p->icmp_type << 8);
	put16(h + 2, 0);
	put16(h + 4, p->icmp_id);
	put16(h + 6, p->icmp_seq);
	return 8;
}

static void put_checksum(const struct gc_pkt *p, uint8_t *h, uint32_t hlen)
{
	const struct gc_path *path = p->path;
	uint8_t pseudo[4] = { 0, path->proto, 0, 0 };
	uint64_t sum = sum_bytes(h, hlen) + sum_payload(path, p->off, p->len);
	uint32_t l4 = hlen + p->len, at = path->proto == GC_TCP ? 16 : path->proto == GC_UDP ? 6 : 2;
	uint16_t c;

	if (path->zero_checksum && path->proto != GC_ICMP && path->proto != GC_ICMP6)
		return;
	if (path->proto != GC_ICMP) {
		size_t n = path->v6 ? 16 : 4;

		put16(pseudo + 2, (l4 & 0xffff) + (l4 >> 16));
		sum += sum_bytes(pseudo, 4) + sum_bytes(path->addr[0], n) +
		       sum_bytes(path->addr[1], n);
	}
	c = (uint16_t)~fold(sum);
	if (c == 0 && path->proto == GC_UDP)
		c = 0xffff;
	memcpy(h + at, &c, 2);
}

#define MIN_FRAME 60U /* Ethernet without its check sequence */

static void fill_until(const struct gc_pkt *p, uint8_t *buf, uint32_t have, uint64_t off,
		       uint32_t len, uint32_t snap)
{
	if (have < snap)
		fill(p->path, off, buf + have, len < snap - have ? len : snap - have);
}

/* The UDP header and its checksum stand in the first fragment only. */
static uint32_t build_fragment(const struct gc_pkt *p, uint8_t *buf, uint32_t snap)
{
	uint8_t *ip = put_ethernet(p->path, p->from, buf), *l4 = put_ip(p, ip, p->len);
	uint32_t have = (uint32_t)(l4 - buf), head = p->frag_off ? 0 : 8;
	struct gc_pkt whole = *p;

	if (head) {
		whole.len = p->whole;
		put_l4(&whole, l4);
		put_checksum(&whole, l4, head);
	}
	fill_until(p, buf, have + head, p->off + (head ? 0 : p->frag_off - 8), p->len - head, snap);
	return have + p->len;
}

uint32_t gc_build(const struct gc_pkt *p, uint8_t *buf, uint32_t snap)
{
	uint8_t *link = put_ethernet(p->path, p->from, buf), *l4, *ip;
	uint32_t hlen, wire, have;

	if (p->whole)
		return build_fragment(p, buf, snap);
	/* L4 first: its length enters the IP header. */
	ip = link;
	l4 = ip + 2 + (p->path->v6 ? 40 : 20);
	hlen = put_l4(p, l4);
	put_ip(p, ip, hlen + p->len);
	put_checksum(p, l4, hlen);
	have = (uint32_t)(l4 - buf) + hlen;
	wire = have + p->len;
	fill_until(p, buf, have, p->off, p->len, snap);
	if (p->path->pad && wire < MIN_FRAME) {
		memset(buf + wire, 0, MIN_FRAME - wire);
		wire = MIN_FRAME;
	}
	return wire;
}

uint32_t gc_build_arp(const struct gc_path *path, uint8_t *buf)
{
	uint8_t *p;

	memset(buf, 0xff, 6);
	put_ethernet(path, 0, buf);
	memset(buf, 0xff, 6);
	p = buf + (path->vlan ? 16 : 12);
	put16(p, 0x0806);
	put32(p + 2, 0x00010800);
	put32(p + 6, 0x06040001);
	memcpy(p + 10, buf + 6, 6);
	memcpy(p + 16, path->addr[0], 4);
	memset(p + 20, 0, 6);
	memcpy(p + 26, path->addr[1], 4);
	return (uint32_t)(p + 30 - buf);
}
