/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TCP (RFC 9293) from an IP payload, with the usual layout of the timestamp option (RFC 7323,
 * appendix A: NOP NOP TS) read without a walk. Inlined into the network layers, since
 * most packets are TCP; other options are in transport.c.
 */
#ifndef VNS_PACKET_TCP_H
#define VNS_PACKET_TCP_H

#include "packet/key.h"

#define VNS_IP_TCP   6
#define VNS_PORT_DNS 53

/* The DNS message that a segment of port 53 may begin with; @s: its payload, of which there is some (app.c). */
void vns_decode_tcp_dns(struct vns_packet *out, const struct vns_span *s, uint16_t sport,
			uint16_t dport);

/* Timestamp and first SACK block among the options at @p, @cap of @len bytes readable. */
void vns_tcp_options(struct vns_packet *out, const uint8_t *p, uint32_t cap, uint32_t len);

static inline void tcp_digest(struct vns_packet *out)
{
	out->digest = vns_mix4((uint64_t)out->tcp_flags << 8 | VNS_IP_TCP,
			       (uint64_t)out->seq << 32 | out->ack,
			       (uint64_t)out->tsval << 32 | out->tsecr, out->payload_len);
}

static inline enum vns_verdict vns_decode_tcp(struct vns_packet *out, const struct vns_span *s,
					      const struct vns_net *net)
{
	/* up to and including the flags: all but the window is known from these */
	enum { HEADER = 20, NEEDED = 14, LAYOUT_NOP_NOP_TS = 0x0101080a };
	const uint8_t *h = s->p;
	uint16_t sport, dport;
	uint32_t len;

	out->proto = VNS_PROTO_TCP;
	if (unlikely(s->cap < NEEDED))
		return vns_span_lack(s, HEADER);
	sport = vns_be16(h);
	dport = vns_be16(h + 2);
	set_key(out, net, sport, dport);
	out->seq = vns_be32(h + 4);
	out->ack = vns_be32(h + 8);
	out->tcp_flags = h[13];
	len = (h[12] >> 4) * 4u;
	if (unlikely(len < HEADER || len > s->wire))
		return VNS_PKT_MALFORMED;
	out->payload_len = s->wire - len;
	if (likely(s->cap >= 32 && len == 32 && vns_be32(h + 20) == LAYOUT_NOP_NOP_TS)) {
		out->tsval = vns_be32(h + 24);
		out->tsecr = vns_be32(h + 28);
		out->flags |= VNS_PKT_F_HAS_TS;
	} else if (len > HEADER) {
		vns_tcp_options(out, h + HEADER, s->cap > len ? len - HEADER :
				s->cap > HEADER ? s->cap - HEADER : 0, len - HEADER);
	}
	if (likely(s->cap >= 16))
		out->window = vns_be16(h + 14);
	if (unlikely((sport == VNS_PORT_DNS || dport == VNS_PORT_DNS) && s->wire > len)) {
		const struct vns_span payload = { .p = h + len, .cap = s->cap > len ? s->cap - len : 0,
						  .wire = s->wire - len };

		vns_decode_tcp_dns(out, &payload, sport, dport);
	}
	tcp_digest(out);
	return VNS_PKT_OK;
}

#endif
