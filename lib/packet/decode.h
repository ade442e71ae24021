/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the decoder: the span of bytes still to read, and the layers' entry points.
 *
 * A span knows two ends: what was captured and what was on the wire. A header beyond the first
 * but not the second was cut by the capture (VNS_PKT_CUT); one beyond the second contradicts
 * the packet's own lengths (VNS_PKT_MALFORMED).
 */
#ifndef VNS_PACKET_DECODE_H
#define VNS_PACKET_DECODE_H

#include <endian.h>
#include <string.h>

#include <vnetscope/packet.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Tunnels inside tunnels: deeper is left as the outer transport. */
#define VNS_MAX_TUNNELS 4

/* Wire length of the inside of a fragmented tunnel packet: not known from its first fragment. */
#define VNS_WIRE_UNKNOWN UINT32_MAX

struct vns_span {
	const uint8_t *p;
	uint32_t cap;  /* bytes that may be read at @p */
	uint32_t wire; /* bytes that were on the wire, >= @cap; or VNS_WIRE_UNKNOWN */
};

static inline uint16_t vns_be16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t vns_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t vns_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

/* Why @need bytes are not there. */
static inline enum vns_verdict vns_span_lack(const struct vns_span *s, uint32_t need)
{
	return need > s->wire ? VNS_PKT_MALFORMED : VNS_PKT_CUT;
}

/* Caller has checked that @n <= cap. */
static inline void vns_span_skip(struct vns_span *s, uint32_t n)
{
	s->p += n;
	s->cap -= n;
	if (s->wire != VNS_WIRE_UNKNOWN)
		s->wire -= n;
}

/*
 * Addresses and what the IP header said, for the transport layer.
 * @src, @dst: point into the frame, 4 or 16 bytes by @out->key.family
 */
struct vns_net {
	const uint8_t *src, *dst;
	uint8_t ipproto;
	bool first_frag; /* more fragments follow: the transport's own length may exceed the span */
};

/* Each continues decoding at @s; the return value becomes the verdict. */
/* All links; @out holds what the frame itself says. */
enum vns_verdict vns_decode_layers(const struct vns_frame *frame, struct vns_span s,
				   struct vns_packet *out);
enum vns_verdict vns_decode_ethernet(struct vns_packet *out, struct vns_span s);
enum vns_verdict vns_decode_ethertype(struct vns_packet *out, struct vns_span s, uint16_t type);
enum vns_verdict vns_decode_ip(struct vns_packet *out, struct vns_span s);
/* @s: exactly the IP payload */
enum vns_verdict vns_decode_transport(struct vns_packet *out, struct vns_span s,
				      const struct vns_net *net);
/* DNS and QUIC in the payload @s of a UDP datagram; see app.c. */
void vns_decode_udp_payload(struct vns_packet *out, const struct vns_span *s, uint16_t sport,
			    uint16_t dport);
/* A later fragment: addresses and identification only. */
enum vns_verdict vns_decode_later_fragment(struct vns_packet *out, struct vns_span s,
					   const struct vns_net *net);

#endif
