// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * UDP (RFC 768) and ICMP echo (RFC 792, RFC 4443) of the usual frame -> struct vns_packet, in one go; see
 * usual.h.
 *
 * In: an IP header without options or extension headers, at its end a header of 8 bytes and as much of the
 * payload as the digest takes. Out: what the layers make of it. A tunnel, a length that contradicts the IP
 * header's and what was cut too early are left to them.
 */
#include "packet/datagram.h"
#include "packet/usual.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

enum { HEADER = 8 }; /* of UDP and of ICMP echo */

/*
 * Header @l4 and @payload behind it, when that is the usual and captured as far as the digest goes.
 * @ports: those of the key, source's above destination's
 */
static inline bool is_usual(const uint8_t *l4, uint8_t ipproto, uint8_t icmp,
			    const struct vns_span *payload, uint32_t *ports)
{
	uint32_t dport = vns_be16(l4 + 2);

	if (unlikely(payload->cap < VNS_DIGEST_PAYLOAD_BYTES && payload->cap < payload->wire))
		return false;
	if (likely(ipproto == VNS_IP_UDP)) {
		*ports = vns_be32(l4);
		return likely(vns_be16(l4 + 4) - (uint32_t)HEADER <= payload->wire) &&
		       likely(dport != VNS_PORT_VXLAN && dport != VNS_PORT_GENEVE);
	}
	*ports = vns_be16(l4 + 4) * 0x10001u; /* an echo's identifier stands for both */
	return ipproto == icmp && icmp_is_echo(icmp, l4[0]);
}

/* All that does not belong to the IP header or the key. */
static inline void take(struct vns_packet *out, const uint8_t *l4, uint8_t ipproto,
			const struct vns_span *payload, bool digest)
{
	out->verdict = VNS_PKT_OK;
	out->payload_len = payload->wire;
	if (likely(ipproto == VNS_IP_UDP)) {
		out->proto = VNS_PROTO_UDP;
		if (digest)
			payload_digest(out, VNS_IP_UDP, 0, payload);
		vns_decode_udp_payload(out, payload, vns_be16(l4), vns_be16(l4 + 2));
		return;
	}
	out->proto = VNS_PROTO_ICMP;
	out->icmp_type = l4[0];
	out->icmp_code = l4[1];
	out->icmp_ident = vns_be16(l4 + 4);
	out->icmp_seqno = vns_be16(l4 + 6);
	if (digest)
		payload_digest(out, icmp_digest_head(out, ipproto), out->icmp_seqno, payload);
}

/* What follows @headers bytes of a packet of @len, of which @cap or more were captured. */
static inline struct vns_span payload_of(const uint8_t *packet, uint32_t headers, uint32_t len,
					 uint32_t cap)
{
	return (struct vns_span){ .p = packet + headers, .cap = (cap < len ? cap : len) - headers,
				  .wire = len - headers };
}

bool vns_usual_datagram4(struct vns_packet *out, const uint8_t *h, uint32_t cap, uint32_t wire,
			 bool digest)
{
	const uint8_t *l4 = h + USUAL_IPV4;
	struct vns_span payload;
	uint32_t len, ports;

	if (cap < USUAL_IPV4 + HEADER || (usual_raw64(h) & USUAL_IPV4_MASK) != USUAL_IPV4_FIRST)
		return false;
	len = vns_be16(h + 2);
	if (unlikely(len < USUAL_IPV4 + HEADER || len > wire))
		return false;
	payload = payload_of(h, USUAL_IPV4 + HEADER, len, cap);
	if (!is_usual(l4, h[9], VNS_IP_ICMP, &payload, &ports))
		return false;
	out->ip_id = vns_be16(h + 4);
	out->ttl = h[8];
	out->flags |= usual_group4(h + 16);
	usual_key4(out, h + 12, ports, h[9]);
	take(out, l4, h[9], &payload, digest);
	return true;
}

bool vns_usual_datagram6(struct vns_packet *out, const uint8_t *h, uint32_t cap, uint32_t wire,
			 bool digest)
{
	const struct vns_net net = { .src = h + 8, .dst = h + 24, .ipproto = h[6] };
	const uint8_t *l4 = h + USUAL_IPV6;
	struct vns_span payload;
	uint32_t len, ports;

	if (cap < USUAL_IPV6 + HEADER || h[0] >> 4 != 6)
		return false;
	len = vns_be16(h + 4) + (uint32_t)USUAL_IPV6;
	if (unlikely(len < USUAL_IPV6 + HEADER || len > wire))
		return false;
	payload = payload_of(h, USUAL_IPV6 + HEADER, len, cap);
	if (!is_usual(l4, h[6], VNS_IP_ICMPV6, &payload, &ports))
		return false;
	out->key.family = 6;
	out->ttl = h[7];
	out->flags |= h[24] == 0xff ? VNS_PKT_F_MULTICAST : 0;
	set_key6(out, &net, (uint16_t)(ports >> 16), (uint16_t)ports);
	take(out, l4, h[6], &payload, digest);
	return true;
}

#endif
