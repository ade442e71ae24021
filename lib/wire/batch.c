// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packet batches: struct vns_packet to bytes and back, every field but the SACK block, which only
 * the RTT engine reads, at the host's own captures.
 *
 * A capture in a guest must cost little CPU there and little room on a slow port, so a packet
 * is a bit mask of what it has and then only that: about 65 bytes for TCP over IPv4 instead
 * of 192. Times are differences (zigzag varint, as in Protocol Buffers' wire format).
 * The encoder writes without a check per field: the caller keeps _PACKET_MAX bytes free.
 */
#include <endian.h>
#include <string.h>

#include "wire/wire.h"

#define HAS_V4       0x0001 /* both addresses v4-mapped: 4 bytes each */
#define HAS_TCP      0x0002 /* seq, ack, window, flags */
#define HAS_TS       0x0004 /* tsval, tsecr */
#define HAS_ICMP     0x0008
#define HAS_FRAG     0x0010
#define HAS_VLAN     0x0020
#define HAS_TUNNEL   0x0040
#define HAS_POINT    0x0080
#define HAS_ID32     0x0100 /* ip_id needs 32 bits */
#define HAS_CUT      0x0200 /* cap_len differs from wire_len */
#define HAS_ALL      0x03ff

static uint8_t *w16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *w32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *w64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint8_t *wvar(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* At most ten bytes, the tenth at most 1: anything else is no 64-bit number. */
static uint64_t rvar(struct vns_cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		uint8_t b = vns_get_u8(c);

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static uint32_t rvar32(struct vns_cursor *c)
{
	uint64_t v = rvar(c);

	if (v > UINT32_MAX)
		c->bad = true;
	return (uint32_t)v;
}

static uint16_t mask_of(const struct vns_packet *p)
{
	unsigned int m = 0;

	if (vns_addr_is_v4(&p->key.addr[0]) && vns_addr_is_v4(&p->key.addr[1]))
		m |= HAS_V4;
	if (p->seq | p->ack | p->window | p->tcp_flags)
		m |= HAS_TCP;
	if (p->tsval | p->tsecr)
		m |= HAS_TS;
	if (p->icmp_ident | p->icmp_seqno | p->icmp_type | p->icmp_code)
		m |= HAS_ICMP;
	if (p->frag_off)
		m |= HAS_FRAG;
	if (p->vlan)
		m |= HAS_VLAN;
	if (p->tunnel_depth)
		m |= HAS_TUNNEL;
	if (p->point)
		m |= HAS_POINT;
	if (p->ip_id > UINT16_MAX)
		m |= HAS_ID32;
	if (p->cap_len != p->wire_len)
		m |= HAS_CUT;
	return (uint16_t)m;
}

static uint8_t *put_common(uint8_t *w, const struct vns_packet *p, uint16_t m)
{
	size_t skip = m & HAS_V4 ? 12 : 0;

	w = w64(w, p->digest);
	w = w64(w, p->flow_hash);
	for (int i = 0; i < 2; i++) {
		memcpy(w, p->key.addr[i].b + skip, 16 - skip);
		w += 16 - skip;
	}
	w = w16(w, p->key.port[0]);
	w = w16(w, p->key.port[1]);
	*w++ = p->key.ipproto;
	*w++ = p->key.family;
	*w++ = p->dir;
	*w++ = p->proto;
	*w++ = p->verdict;
	*w++ = p->ttl;
	w = w16(w, (uint16_t)(p->flags & ~VNS_PKT_F_HAS_SACK));
	w = wvar(w, p->wire_len);
	w = wvar(w, p->payload_len);
	return m & HAS_ID32 ? w32(w, p->ip_id) : w16(w, (uint16_t)p->ip_id);
}

size_t vns_put_packet(uint8_t *to, const struct vns_packet *p, int64_t prev_ns)
{
	uint64_t d = (uint64_t)p->time_ns - (uint64_t)prev_ns;
	uint16_t m = mask_of(p);
	uint8_t *w = w16(to, m);

	w = wvar(w, (d << 1) ^ (0 - (d >> 63)));
	w = put_common(w, p, m);
	if (m & HAS_TCP) {
		w = w32(w, p->seq);
		w = w32(w, p->ack);
		w = w16(w, p->window);
		*w++ = p->tcp_flags;
	}
	if (m & HAS_TS) {
		w = w32(w, p->tsval);
		w = w32(w, p->tsecr);
	}
	if (m & HAS_ICMP) {
		w = w16(w, p->icmp_ident);
		w = w16(w, p->icmp_seqno);
		*w++ = p->icmp_type;
		*w++ = p->icmp_code;
	}
	if (m & HAS_FRAG)
		w = w16(w, p->frag_off);
	if (m & HAS_VLAN)
		w = w16(w, p->vlan);
	if (m & HAS_TUNNEL)
		*w++ = p->tunnel_depth;
	if (m & HAS_POINT)
		w = w16(w, p->point);
	if (m & HAS_CUT)
		w = wvar(w, p->cap_len);
	return (size_t)(w - to);
}

static void get_addresses(struct vns_cursor *c, struct vns_packet *p, uint16_t m)
{
	uint8_t v4[4];

	for (int i = 0; i < 2; i++) {
		if (m & HAS_V4) {
			vns_get_bytes(c, v4, sizeof(v4));
			p->key.addr[i] = vns_addr_from_v4(v4);
		} else {
			vns_get_bytes(c, p->key.addr[i].b, sizeof(p->key.addr[i].b));
		}
	}
}

static void get_common(struct vns_cursor *c, struct vns_packet *p, uint16_t m)
{
	p->digest = vns_get_le64(c);
	p->flow_hash = vns_get_le64(c);
	get_addresses(c, p, m);
	p->key.port[0] = vns_get_le16(c);
	p->key.port[1] = vns_get_le16(c);
	p->key.ipproto = vns_get_u8(c);
	p->key.family = vns_get_u8(c);
	p->dir = vns_get_u8(c);
	p->proto = vns_get_u8(c);
	p->verdict = vns_get_u8(c);
	p->ttl = vns_get_u8(c);
	p->flags = vns_get_le16(c);
	p->wire_len = rvar32(c);
	p->payload_len = rvar32(c);
	p->ip_id = m & HAS_ID32 ? vns_get_le32(c) : vns_get_le16(c);
	/* these index tables further on */
	if (p->dir > 1 || p->proto >= VNS_PROTOS || p->verdict >= VNS_PKT_VERDICTS)
		c->bad = true;
}

bool vns_get_packet(struct vns_cursor *c, struct vns_packet *p, int64_t prev_ns)
{
	uint16_t m = vns_get_le16(c);
	uint64_t d = rvar(c);

	memset(p, 0, sizeof(*p));
	if (m & ~HAS_ALL)
		c->bad = true;
	p->time_ns = (int64_t)((uint64_t)prev_ns + ((d >> 1) ^ (0 - (d & 1))));
	get_common(c, p, m);
	if (m & HAS_TCP) {
		p->seq = vns_get_le32(c);
		p->ack = vns_get_le32(c);
		p->window = vns_get_le16(c);
		p->tcp_flags = vns_get_u8(c);
	}
	if (m & HAS_TS) {
		p->tsval = vns_get_le32(c);
		p->tsecr = vns_get_le32(c);
	}
	if (m & HAS_ICMP) {
		p->icmp_ident = vns_get_le16(c);
		p->icmp_seqno = vns_get_le16(c);
		p->icmp_type = vns_get_u8(c);
		p->icmp_code = vns_get_u8(c);
	}
	if (m & HAS_FRAG)
		p->frag_off = vns_get_le16(c);
	if (m & HAS_VLAN)
		p->vlan = vns_get_le16(c);
	if (m & HAS_TUNNEL)
		p->tunnel_depth = vns_get_u8(c);
	if (m & HAS_POINT)
		p->point = vns_get_le16(c);
	p->cap_len = m & HAS_CUT ? rvar32(c) : p->wire_len;
	return !c->bad;
}

void vns_put_batch_header(struct vns_cursor *c, const struct vns_wire_batch *b)
{
	vns_put_le32(c, b->id);
	vns_put_le32(c, b->n);
	vns_put_le64(c, b->dropped);
	vns_put_le64(c, (uint64_t)b->now_ns);
	vns_put_le64(c, (uint64_t)b->base_ns);
}

bool vns_get_batch(struct vns_cursor *c, struct vns_wire_batch *b, struct vns_packet *pkts)
{
	int64_t prev;

	b->id = vns_get_le32(c);
	b->n = vns_get_le32(c);
	b->dropped = vns_get_le64(c);
	b->now_ns = (int64_t)vns_get_le64(c);
	b->base_ns = (int64_t)vns_get_le64(c);
	if (c->bad || b->n > VNS_WIRE_BATCH_PACKETS)
		return false;
	prev = b->base_ns;
	for (uint32_t i = 0; i < b->n; i++) {
		if (!vns_get_packet(c, &pkts[i], prev))
			return false;
		prev = pkts[i].time_ns;
	}
	return c->pos == c->len;
}
