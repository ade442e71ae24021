/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the two ways through the decoder share of UDP and ICMP: the numbers that tell them, and the digest
 * of their payload.
 */
#ifndef VNS_PACKET_DATAGRAM_H
#define VNS_PACKET_DATAGRAM_H

#include "packet/decode.h"
#include "packet/hash.h"

enum { VNS_IP_ICMP = 1, VNS_IP_UDP = 17, VNS_IP_ICMPV6 = 58 };

enum { VNS_PORT_VXLAN = 4789, VNS_PORT_GENEVE = 6081 };

static inline bool icmp_is_echo(uint8_t ipproto, uint8_t type)
{
	return ipproto == VNS_IP_ICMP ? type == 0 || type == 8 : type == 128 || type == 129;
}

/* What the digest of an ICMP message takes of its kind. */
static inline uint64_t icmp_digest_head(const struct vns_packet *out, uint8_t ipproto)
{
	return (uint64_t)out->icmp_type << 56 | (uint64_t)out->icmp_code << 48 | ipproto;
}

/*
 * Digest of @head and @head2, the first bytes of @payload and its length on the wire. Missing bytes
 * count as zero; the length tells a short payload from one that ends in zeros.
 */
static inline void payload_digest(struct vns_packet *out, uint64_t head, uint64_t head2,
				  const struct vns_span *payload)
{
	uint32_t want = payload->wire < VNS_DIGEST_PAYLOAD_BYTES ? payload->wire :
								   VNS_DIGEST_PAYLOAD_BYTES;
	uint64_t w[VNS_DIGEST_PAYLOAD_BYTES / 8] = { 0 };
	uint8_t buf[VNS_DIGEST_PAYLOAD_BYTES] = { 0 };
	const uint8_t *from = payload->p;

	if (unlikely(payload->cap < want)) {
		out->flags |= VNS_PKT_F_DIGEST_SHORT;
		want = payload->cap;
	}
	if (unlikely(want < VNS_DIGEST_PAYLOAD_BYTES)) {
		memcpy(buf, payload->p, want);
		from = buf;
	}
	for (size_t i = 0; i < VNS_DIGEST_PAYLOAD_BYTES / 8; i++)
		w[i] = vns_be64(from + 8 * i);
	out->digest = vns_mix5(head, head2, w[0], w[1], w[2]) + vns_length_term(payload->wire);
}

#endif
