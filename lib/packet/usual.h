/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frame that most captures are made of, decoded in one go: Ethernet, at most one 802.1Q tag, IPv4
 * without options or IPv6 without extension headers, not a fragment, TCP with NOP NOP TS as its
 * only options (what Linux, macOS and Android send behind the SYN), not of port 53, captured up to there;
 * or UDP that is no tunnel, or ICMP echo (datagram.c).
 *
 * It is so much shorter than the layers of decode.c since all lengths are known after a few
 * comparisons. Each of them is one instruction on the bytes as they stand (constants are in the
 * file's order instead), and what fails leaves to the layers, which remain the definition (tests
 * compare the two). Fields that lie side by side in the headers and in the struct are
 * moved by one load and one store.
 */
#ifndef VNS_PACKET_USUAL_H
#define VNS_PACKET_USUAL_H

#include <stddef.h>

#include "packet/tcp.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

enum { USUAL_TCP = 32, USUAL_IPV4 = 20, USUAL_IPV6 = 40 };

/* As they stand in the file, read by a little-endian machine. */
#define USUAL_NOP_NOP_TS  0x0a080101u
#define USUAL_TYPE_IPV4   0x0008u
#define USUAL_TYPE_IPV6   0xdd86u
#define USUAL_TYPE_TAG    0x0081u
#define USUAL_PORT_DNS    0x3500u
#define USUAL_IPV4_MASK   UINT64_C(0xff3f0000000000ff) /* version, length; fragment bit and offset */
#define USUAL_IPV4_FIRST  UINT64_C(0x0000000000000045)
#define USUAL_CLASS_D     0xe0000000u /* multicast, and what lies above it */

static inline uint64_t usual_raw64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t usual_raw32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t usual_raw16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Two big-endian 32-bit numbers at @from to two of ours at @to. */
static inline void usual_pair(uint32_t *to, const uint8_t *from)
{
	uint64_t v = vns_be64(from);

	v = v << 32 | v >> 32;
	memcpy(to, &v, sizeof(v));
}

/* Is @h a TCP header whose only options are NOP NOP TS, and not of DNS, of which more is read? */
static inline bool usual_is_tcp(const uint8_t *h)
{
	return (h[12] & 0xf0) == USUAL_TCP / 4 << 4 && usual_raw32(h + 20) == USUAL_NOP_NOP_TS &&
	       likely(usual_raw16(h) != USUAL_PORT_DNS && usual_raw16(h + 2) != USUAL_PORT_DNS);
}

/* @len: of the TCP header and what follows it. */
static inline void usual_tcp(struct vns_packet *out, const uint8_t *h, uint32_t len)
{
	out->proto = VNS_PROTO_TCP;
	out->verdict = VNS_PKT_OK;
	usual_pair(&out->seq, h + 4);
	usual_pair(&out->tsval, h + 24);
	out->tcp_flags = h[13];
	out->window = vns_be16(h + 14);
	out->payload_len = len - USUAL_TCP;
}

/* Ports, protocol and family of the key are neighbours: eight bytes by one store. */
static inline void usual_key_end(struct vns_flow_key *key, uint32_t ports, uint32_t ipproto,
				 uint32_t family)
{
	uint64_t v = (uint64_t)(family << 8 | ipproto) << 32 | (ports << 16 | ports >> 16);

	_Static_assert(offsetof(struct vns_flow_key, ipproto) ==
		       offsetof(struct vns_flow_key, port) + 4, "one word");
	memcpy(key->port, &v, sizeof(v));
}

/*
 * Key, direction and hash as set_key4() makes them. Which endpoint is the lower is a coin toss, so it
 * is not branched on: both addresses are one number, and the lower of it and of itself with its halves
 * exchanged is the one with the lower address in front. The v4-mapped forms are 00 00 ff ff and the
 * address as it stands. @ports: source's above destination's
 */
static inline void usual_key4(struct vns_packet *out, const uint8_t *src, uint32_t ports,
			      uint32_t ipproto)
{
	uint64_t raw = usual_raw64(src), to = __builtin_bswap64(raw), back = to << 32 | to >> 32;
	uint32_t ports_back = ports << 16 | ports >> 16;
	bool dir = to > back, same = to == back;
	uint64_t addr[2], turn;

	if (unlikely(same)) /* of one address: the ports tell */
		dir = ports > ports_back;
	turn = -(uint64_t)dir;
	__asm__("" : "+r"(turn)); /* any number to the compiler, or it would branch after all */
	to ^= (to ^ back) & turn;
	ports ^= (ports ^ ports_back) & (uint32_t)turn;
	raw ^= (raw ^ (raw << 32 | raw >> 32)) & turn;
	addr[0] = raw << 32 | 0xffff0000u;
	addr[1] = (raw & ~UINT64_C(0xffffffff)) | 0xffff0000u;
	out->dir = dir;
	out->flow_hash = vns_mix2(to, (uint64_t)ports << 32 | ipproto << 8 | 4);
	memcpy(out->key.addr[0].b + 8, &addr[0], sizeof(addr[0]));
	memcpy(out->key.addr[1].b + 8, &addr[1], sizeof(addr[1]));
	usual_key_end(&out->key, ports, ipproto, 4);
}

/* Multicast or broadcast? The destination stands at @dst. */
static inline uint16_t usual_group4(const uint8_t *dst)
{
	uint32_t to = vns_be32(dst);

	if (likely(to < USUAL_CLASS_D))
		return 0;
	return to >> 28 == USUAL_CLASS_D >> 28 || to == UINT32_MAX ? VNS_PKT_F_MULTICAST : 0;
}

/*
 * UDP and ICMP echo behind the IP header @h of the same kind (datagram.c); @cap, @wire: from there.
 * Return: false when it is something else; then @out is as before.
 */
bool vns_usual_datagram4(struct vns_packet *out, const uint8_t *h, uint32_t cap, uint32_t wire,
			 bool digest);
bool vns_usual_datagram6(struct vns_packet *out, const uint8_t *h, uint32_t cap, uint32_t wire,
			 bool digest);

static inline __attribute__((always_inline)) bool
usual_ipv4(struct vns_packet *out, const uint8_t *h, uint32_t cap, uint32_t wire, bool digest)
{
	uint32_t len;

	if (cap < USUAL_IPV4 + USUAL_TCP ||
	    (usual_raw64(h) & USUAL_IPV4_MASK) != USUAL_IPV4_FIRST || h[9] != VNS_IP_TCP ||
	    !usual_is_tcp(h + USUAL_IPV4))
		return cap >= USUAL_IPV4 && h[9] != VNS_IP_TCP &&
		       vns_usual_datagram4(out, h, cap, wire, digest);
	len = vns_be16(h + 2);
	if (len < USUAL_IPV4 + USUAL_TCP || len > wire)
		return false;
	usual_tcp(out, h + USUAL_IPV4, len - USUAL_IPV4);
	out->ip_id = vns_be16(h + 4);
	out->ttl = h[8];
	out->flags |= VNS_PKT_F_HAS_TS | usual_group4(h + 16);
	usual_key4(out, h + 12, vns_be32(h + USUAL_IPV4), VNS_IP_TCP);
	if (digest)
		tcp_digest(out);
	return true;
}

static inline bool usual_ipv6(struct vns_packet *out, const uint8_t *h, uint32_t cap,
			      uint32_t wire, bool digest)
{
	const struct vns_net net = { .src = h + 8, .dst = h + 24, .ipproto = VNS_IP_TCP };
	uint32_t len;

	if (cap < USUAL_IPV6 + USUAL_TCP || h[0] >> 4 != 6 || h[6] != VNS_IP_TCP ||
	    !usual_is_tcp(h + USUAL_IPV6))
		return cap >= USUAL_IPV6 && h[6] != VNS_IP_TCP &&
		       vns_usual_datagram6(out, h, cap, wire, digest);
	len = vns_be16(h + 4);
	if (len < USUAL_TCP || len + USUAL_IPV6 > wire)
		return false;
	usual_tcp(out, h + USUAL_IPV6, len);
	out->key.family = 6;
	out->ttl = h[7];
	out->flags |= h[24] == 0xff ? VNS_PKT_F_HAS_TS | VNS_PKT_F_MULTICAST : VNS_PKT_F_HAS_TS;
	set_key6(out, &net, vns_be16(h + USUAL_IPV6), vns_be16(h + USUAL_IPV6 + 2));
	if (digest)
		tcp_digest(out);
	return true;
}

/*
 * @out is zero but for what the frame says; @digest: is it wanted? Return: false when @s is another kind
 * of frame; then @out is as before, but for the VLAN tag's fields, which the layers set to the same.
 */
static inline __attribute__((always_inline)) bool
vns_decode_usual(struct vns_packet *out, struct vns_span s, bool digest)
{
	enum { ETHERNET = 14, TAG = 4 };
	const uint8_t *h;
	uint32_t type, from = ETHERNET;

	if (unlikely(s.cap < ETHERNET + TAG)) /* an empty one may be NULL */
		return false;
	h = s.p + ETHERNET;
	type = usual_raw16(h - 2);
	if (type == USUAL_TYPE_TAG) {
		out->flags |= VNS_PKT_F_VLAN;
		out->vlan = vns_be16(h) & 0x0fff;
		from += TAG;
		h += TAG;
		type = usual_raw16(h - 2);
	}
	out->flags |= (uint16_t)((s.p[0] & 1) * VNS_PKT_F_MULTICAST);
	if (likely(type == USUAL_TYPE_IPV4))
		return usual_ipv4(out, h, s.cap - from, s.wire - from, digest);
	return type == USUAL_TYPE_IPV6 &&
	       usual_ipv6(out, h, s.cap - from, s.wire - from, digest);
}

#else

static inline bool vns_decode_usual(struct vns_packet *out, struct vns_span s, bool digest)
{
	(void)out;
	(void)s;
	(void)digest;
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

/*
 * vns_packet_decode() of a record of a file, if it is the usual frame, for the loop over records to
 * hold: a call for each and a frame to pass cost a tenth of a packet's time.
 * Return: false when it is another; then @out is ready for vns_decode_layers().
 */
static inline __attribute__((always_inline)) bool
vns_decode_record(struct vns_packet *out, struct vns_span s, int64_t time_ns, bool ethernet,
		  bool digest)
{
	usual_clear(out);
	out->time_ns = time_ns;
	out->wire_len = s.wire;
	out->cap_len = s.cap;
	return likely(ethernet) && vns_decode_usual(out, s, digest);
}

#endif
