/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame that most captures are made of, decoded in one go: Ethernet, at most one 802.1Q tag, IPv4
 * without options or IPv6 without extension headers, not a fragment, TCP with NOP NOP TS as its
 * only options (what Linux, macOS and Android send behind the SYN), captured up to there.
 *
 * It is so much shorter than the layers of decode.c since all lengths are known after two
 * comparisons: what has to hold is gathered in one condition, and one branch leaves to the layers,
 * which remain the definition (tests compare the two). Fields that lie side by side in
 * the headers and in the struct are moved by one load and one store.
 */
#ifndef VNS_PACKET_USUAL_H
#define VNS_PACKET_USUAL_H

#include "packet/tcp.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

enum { USUAL_TCP = 32, USUAL_IPV4 = 20, USUAL_IPV6 = 40, USUAL_NOP_NOP_TS = 0x0101080a };

/* Two big-endian 32-bit numbers at @from to two of ours at @to. */
static inline void usual_pair(uint32_t *to, const uint8_t *from)
{
	uint64_t v = vns_be64(from);

	v = v << 32 | v >> 32;
	memcpy(to, &v, sizeof(v));
}

/* @bad: bits set so far. Return: whether it is the usual header at @h. */
static inline bool usual_tcp(struct vns_packet *out, const uint8_t *h, uint32_t len, uint32_t bad)
{
	bad |= (h[12] >> 4 ^ USUAL_TCP / 4) | (vns_be32(h + 20) ^ USUAL_NOP_NOP_TS);
	if (bad)
		return false;
	out->proto = VNS_PROTO_TCP;
	out->verdict = VNS_PKT_OK;
	usual_pair(&out->seq, h + 4);
	usual_pair(&out->tsval, h + 24);
	out->tcp_flags = h[13];
	out->window = vns_be16(h + 14);
	out->payload_len = len - USUAL_TCP;
	return true;
}

/* The v4-mapped form in @a, which is zero: 00 00 ff ff and the address as one word. */
static inline void usual_mapped(struct vns_addr *a, uint32_t v4)
{
	uint64_t v = (uint64_t)__builtin_bswap32(v4) << 32 | 0xffff0000u;

	memcpy(a->b + 8, &v, sizeof(v));
}

/* Key, direction and hash as set_key4() makes them, from addresses and ports as whole words. */
static inline void usual_key4(struct vns_packet *out, uint64_t addrs, uint32_t ports)
{
	uint64_t src = addrs >> 32 << 16 | ports >> 16;
	uint64_t dst = addrs << 32 >> 16 | (ports & 0xffff);
	bool dir = src > dst;

	/* which endpoint is the lower is a coin toss: rotate by 0 or by half, do not branch */
	addrs = addrs << 32 * dir | addrs >> (64 - 32 * dir) % 64;
	ports = ports << 16 * dir | ports >> (32 - 16 * dir) % 32;
	out->dir = dir;
	out->flow_hash = vns_mix2(addrs, (uint64_t)ports << 32 | VNS_IP_TCP << 8 | 4);
	usual_mapped(&out->key.addr[0], (uint32_t)(addrs >> 32));
	usual_mapped(&out->key.addr[1], (uint32_t)addrs);
	out->key.port[0] = (uint16_t)(ports >> 16);
	out->key.port[1] = (uint16_t)ports;
	out->key.ipproto = VNS_IP_TCP;
	out->key.family = 4;
}

static inline bool usual_ipv4(struct vns_packet *out, const uint8_t *h, uint32_t cap,
			      uint32_t wire)
{
	uint32_t len, bad;

	if (cap < USUAL_IPV4 + USUAL_TCP)
		return false;
	len = vns_be16(h + 2);
	bad = (h[0] ^ 0x45u) | (vns_be16(h + 6) & 0x3fff) | (h[9] ^ VNS_IP_TCP) |
	      (len < USUAL_IPV4 + USUAL_TCP) | (len > wire);
	if (!usual_tcp(out, h + USUAL_IPV4, len - USUAL_IPV4, bad))
		return false;
	out->ip_id = vns_be16(h + 4);
	out->ttl = h[8];
	out->flags |= (h[16] & 0xf0) == 0xe0 || vns_be32(h + 16) == UINT32_MAX ?
			      VNS_PKT_F_HAS_TS | VNS_PKT_F_MULTICAST : VNS_PKT_F_HAS_TS;
	usual_key4(out, vns_be64(h + 12), vns_be32(h + USUAL_IPV4));
	return true;
}

static inline bool usual_ipv6(struct vns_packet *out, const uint8_t *h, uint32_t cap,
			      uint32_t wire)
{
	const struct vns_net net = { .src = h + 8, .dst = h + 24, .ipproto = VNS_IP_TCP };
	uint32_t len, bad;

	if (cap < USUAL_IPV6 + USUAL_TCP)
		return false;
	len = vns_be16(h + 4);
	bad = (h[0] >> 4 ^ 6u) | (h[6] ^ VNS_IP_TCP) | (len < USUAL_TCP) |
	      (len + USUAL_IPV6 > wire);
	if (!usual_tcp(out, h + USUAL_IPV6, len, bad))
		return false;
	out->key.family = 6;
	out->ttl = h[7];
	out->flags |= h[24] == 0xff ? VNS_PKT_F_HAS_TS | VNS_PKT_F_MULTICAST : VNS_PKT_F_HAS_TS;
	set_key6(out, &net, vns_be16(h + USUAL_IPV6), vns_be16(h + USUAL_IPV6 + 2));
	return true;
}

/*
 * @out is zero but for what the frame says. Return: false when @s is another kind of frame; then
 * @out is as before, but for the VLAN tag's fields, which the layers set to the same.
 */
static inline bool vns_decode_usual(struct vns_packet *out, struct vns_span s)
{
	enum { ETHERNET = 14, TAG = 4, TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86dd, TYPE_TAG = 0x8100 };
	uint32_t from = ETHERNET;
	uint16_t type;

	if (s.cap < ETHERNET + TAG)
		return false;
	type = vns_be16(s.p + ETHERNET - 2);
	if (type == TYPE_TAG) {
		out->flags |= VNS_PKT_F_VLAN;
		out->vlan = vns_be16(s.p + ETHERNET) & 0x0fff;
		from += TAG;
		type = vns_be16(s.p + from - 2);
	}
	out->flags |= (uint16_t)((s.p[0] & 1) * VNS_PKT_F_MULTICAST);
	if (likely(type == TYPE_IPV4))
		return usual_ipv4(out, s.p + from, s.cap - from, s.wire - from);
	return type == TYPE_IPV6 && usual_ipv6(out, s.p + from, s.cap - from, s.wire - from);
}

#else

static inline bool vns_decode_usual(struct vns_packet *out, struct vns_span s)
{
	(void)out;
	(void)s;
	return false;
}

#endif

/* Eight stores; for this size the compiler would take "rep stos" with its slow start. */
static inline void usual_clear(struct vns_packet *p)
{
	typedef uint64_t v2 __attribute__((vector_size(16), may_alias));
	v2 *to = (v2 *)p;

	_Static_assert(sizeof(*p) == 8 * sizeof(v2), "two cache lines");
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++)
		to[i] = (v2){ 0, 0 };
}

/* vns_packet_decode_without(), for loops that it shall be part of: a tenth of a packet's cost is the
 * call and constants that are loaded anew. */
static inline enum vns_verdict vns_decode_frame(const struct vns_frame *frame, unsigned int without,
						struct vns_packet *out)
{
	struct vns_span s = { .p = frame->data, .cap = frame->cap_len, .wire = frame->wire_len };
	enum vns_verdict v = VNS_PKT_OK;

	/* a capture cannot hold more than was on the wire: believe the bytes */
	if (unlikely(s.wire < s.cap))
		s.wire = s.cap;
	usual_clear(out);
	out->time_ns = frame->time_ns;
	out->wire_len = s.wire;
	out->cap_len = s.cap;
	out->point = frame->point;
	out->flags = frame->flags & (VNS_PKT_F_OUTGOING | VNS_PKT_F_VLAN);
	out->vlan = frame->vlan;
	if (likely(frame->linktype == VNS_LINK_ETHERNET && !(frame->flags & VNS_FRAME_NO_TIME)) &&
	    vns_decode_usual(out, s)) {
		if (!(without & VNS_WITHOUT_DIGEST))
			tcp_digest(out);
		return v;
	}
	v = vns_decode_layers(frame, s, out);
	if (without & VNS_WITHOUT_DIGEST)
		out->digest = 0;
	out->verdict = (uint8_t)v;
	return v;
}

#endif
