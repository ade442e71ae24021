// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Payload of a UDP datagram or of a TCP segment of port 53 -> the DNS and QUIC fields of struct vns_packet,
 * where it is either.
 *
 * DNS (RFC 1035 section 4.1.1): port 53 at one end. The QR bit must agree with the port where only
 * one end is 53, the operation code be one that exists (0 to 6) and, as far as it was captured, the
 * message have one question or none (RFC 9619). Multicast DNS (port 5353) is not read: its
 * queries have id 0 and any host may answer, so that no answer belongs to one question. Nor is LLMNR
 * (port 5355, RFC 4795): what is asked of a group is answered from a host's own address.
 * By TCP (RFC 1035 section 4.2.2, RFC 7766) a message stands behind its length. That at the start of a
 * segment is read; those that begin within it are counted. The first words of every segment are
 * kept, since only the flow tells whether one stands behind a length that had a segment of its own.
 *
 * QUIC (RFC 8999, 9000 section 17, 9369, 9312 section 3.1). Nothing in a datagram says that it is
 * QUIC, so what is marked is what can be:
 *   long header   first bit 1, connection IDs of at most 20 bytes that fit, and a version that is
 *                 1, 2 or a draft from 27 on, on any port (a random payload passes once in 2^29).
 *                 On port 443 also, with the fixed bit, reserved versions (?a?a?a?a), with the types
 *                 of version 1, and unknown ones, which are called so.
 *   negotiation   first bit 1, version 0, connection IDs as above, then at least one version and
 *                 nothing but whole ones. The engine wants an Initial that it answers.
 *   short header  first bits 01 and 21 bytes at least (RFC 9000 section 10.3). One random payload in
 *                 four passes; flows decide. Senders may grease the fixed bit (RFC 9287), which
 *                 ngtcp2 does from the server's first packet on: on port 443 it may be 0, elsewhere
 *                 such packets are missed, which delays an edge by a packet or two.
 * Only the first QUIC packet of a datagram is looked at: the coalesced others have the same IDs.
 */
#include "packet/decode.h"
#include "packet/tcp.h"

enum { PORT_DNS = VNS_PORT_DNS, PORT_MDNS = 5353, PORT_QUIC = 443 };

#define LONG  0x80 /* of QUIC's first byte: a long header */
#define FIXED 0x40 /* the fixed bit */

enum { SHORTEST = 21 }; /* payload with a short header */

static void dns(struct vns_packet *out, const struct vns_span *s, uint16_t sport, uint16_t dport)
{
	enum { HEADER = 12, ID_AND_FLAGS = 4, QUESTIONS_END = 6, LAST_OPCODE = 6 };
	uint16_t flags;
	bool response;

	if (s->wire < HEADER || s->cap < ID_AND_FLAGS)
		return;
	flags = vns_be16(s->p + 2);
	response = flags & VNS_DNS_QR;
	if (sport != dport && response != (sport == PORT_DNS))
		return;
	if ((flags & VNS_DNS_OPCODE) >> 11 > LAST_OPCODE)
		return;
	if (s->cap >= QUESTIONS_END && vns_be16(s->p + 4) > 1)
		return;
	out->dns_id = vns_be16(s->p);
	out->dns_flags = flags;
	out->flags |= VNS_PKT_F_DNS;
}

/* How many messages begin behind the one at the start, as far as lengths tell that were captured. */
static uint8_t messages_behind(const struct vns_span *s)
{
	enum { PREFIX = 2 };
	uint32_t at = 0;
	uint8_t n = 0;

	while (at + PREFIX <= s->cap && n < UINT8_MAX) {
		at += PREFIX + vns_be16(s->p + at);
		if (at >= s->wire)
			break;
		n++;
	}
	return n;
}

void vns_decode_tcp_dns(struct vns_packet *out, const struct vns_span *s, uint16_t sport,
			uint16_t dport)
{
	enum { PREFIX = 2, ID = 4, FLAGS = 6 };
	struct vns_span message = *s;
	uint32_t len;

	out->flags |= VNS_PKT_F_DNS_TCP;
	if (s->cap < PREFIX)
		return;
	out->dns_len = vns_be16(s->p);
	out->dns_id = s->cap < ID ? 0 : vns_be16(s->p + PREFIX);
	out->dns_flags = s->cap < FLAGS ? 0 : vns_be16(s->p + ID);
	len = out->dns_len;
	message.p += PREFIX;
	message.cap -= PREFIX;
	message.wire -= PREFIX;
	if (message.wire > len)
		message.wire = len;
	if (message.cap > message.wire)
		message.cap = message.wire;
	dns(out, &message, sport, dport);
	if (out->flags & VNS_PKT_F_DNS)
		out->dns_behind = messages_behind(s);
}

/* The first bytes of a connection ID, of which @cap can be read, as two words. */
static void connection_id(uint32_t to[2], const uint8_t *p, uint32_t len, uint32_t cap)
{
	uint8_t id[VNS_QUIC_CID_BYTES] = { 0 };
	uint32_t n = len < cap ? len : cap;

	memcpy(id, p, n < sizeof(id) ? n : sizeof(id));
	to[0] = vns_be32(id);
	to[1] = vns_be32(id + 4);
}

static bool known_version(uint32_t v)
{
	enum { V1 = 1, V2 = 0x6b3343cf };
	const uint32_t first_draft = 0xff00001b, last_draft = 0xff000022;

	return v == V1 || v == V2 || (v >= first_draft && v <= last_draft);
}

static enum vns_quic_type long_type(uint8_t first, uint32_t version, bool port)
{
	enum { V2 = 0x6b3343cf };
	/* by the two type bits; version 2 turns them by one (RFC 9369 section 3.2) */
	static const uint8_t types[4] = { VNS_QUIC_INITIAL, VNS_QUIC_0RTT, VNS_QUIC_HANDSHAKE,
					  VNS_QUIC_RETRY };
	unsigned int bits = first >> 4 & 3;

	if (version == 0)
		return VNS_QUIC_NEGOTIATION;
	if (version == V2)
		return types[(bits + 3) & 3];
	if (known_version(version))
		return types[bits];
	if (!port || !(first & FIXED))
		return VNS_QUIC_NONE;
	return (version & 0x0f0f0f0f) == 0x0a0a0a0a ? types[bits] : VNS_QUIC_OTHER;
}

/*
 * Lengths and bytes of the two connection IDs behind first byte and version.
 * Return: bytes of the header up to the end of the second, 0 when it cannot be QUIC; what the capture
 * cut is VNS_QUIC_CID_CUT or zero and counts as fitting.
 */
static uint32_t connection_ids(struct vns_packet *out, const struct vns_span *s)
{
	enum { DCID_AT = 6, MAX_CID = 20 };
	uint32_t dcid_len = s->p[DCID_AT - 1], scid_at = DCID_AT + dcid_len + 1, scid_len;

	if (dcid_len > MAX_CID || scid_at > s->wire)
		return 0;
	out->quic_dcid_len = (uint8_t)dcid_len;
	out->quic_scid_len = VNS_QUIC_CID_CUT;
	connection_id(out->quic_dcid, s->p + DCID_AT, dcid_len, s->cap - DCID_AT);
	if (scid_at > s->cap)
		return scid_at;
	scid_len = s->p[scid_at - 1];
	if (scid_len > MAX_CID || scid_at + scid_len > s->wire)
		return 0;
	out->quic_scid_len = (uint8_t)scid_len;
	connection_id(out->quic_scid, s->p + scid_at, scid_len, s->cap - scid_at);
	return scid_at + scid_len;
}

static void quic_long(struct vns_packet *out, const struct vns_span *s, bool port)
{
	enum { DCID_LEN_END = 6, VERSION = 4 };
	enum vns_quic_type type;
	uint32_t version, len;

	if (s->cap < DCID_LEN_END)
		return;
	version = vns_be32(s->p + 1);
	type = long_type(s->p[0], version, port);
	if (type == VNS_QUIC_NONE)
		return;
	len = connection_ids(out, s);
	if (!len || (type == VNS_QUIC_NEGOTIATION && out->quic_scid_len != VNS_QUIC_CID_CUT &&
		     (s->wire == len || (s->wire - len) % VERSION))) {
		memset(out->quic_dcid, 0, sizeof(out->quic_dcid));
		memset(out->quic_scid, 0, sizeof(out->quic_scid));
		out->quic_dcid_len = out->quic_scid_len = 0;
		return;
	}
	out->quic_type = (uint8_t)type;
	out->quic_version16 = (uint16_t)(version >> 16 ^ version);
	out->flags |= VNS_PKT_F_QUIC;
}

static void quic_short(struct vns_packet *out, const struct vns_span *s)
{
	enum { SPIN = 0x20 };

	if (s->wire < SHORTEST)
		return;
	connection_id(out->quic_dcid, s->p + 1, VNS_QUIC_CID_BYTES, s->cap - 1);
	out->quic_dcid_len = (uint8_t)(s->cap - 1 < VNS_QUIC_CID_BYTES ? s->cap - 1 :
									  VNS_QUIC_CID_BYTES);
	out->quic_scid_len = !!(s->p[0] & FIXED);
	out->quic_type = s->p[0] & SPIN ? VNS_QUIC_SHORT_1 : VNS_QUIC_SHORT_0;
	out->flags |= VNS_PKT_F_QUIC;
}

/*
 * The same of a payload on ports that tell nothing, @s long enough for a short header and captured as far
 * as its fields go. Of such a payload the first two bits are anyone's guess, and a wrong guess costs more
 * than all of this: so they are not branched on, but for the versions of long headers, which
 * other payloads do not begin with.
 */
static void quic_any(struct vns_packet *out, const struct vns_span *s)
{
	uint32_t version = vns_be32(s->p + 1), first = s->p[0], mask;

	if (unlikely(version == 0 || known_version(version)) && first & LONG) {
		quic_long(out, s, false);
		return;
	}
	mask = -(uint32_t)((first & (LONG | FIXED)) == FIXED);
	__asm__("" : "+r"(mask)); /* any number to the compiler, or it would branch after all */
	out->quic_dcid[0] = vns_be32(s->p + 1) & mask;
	out->quic_dcid[1] = vns_be32(s->p + 5) & mask;
	out->quic_dcid_len = (uint8_t)(VNS_QUIC_CID_BYTES & mask);
	out->quic_scid_len = (uint8_t)(1 & mask);
	out->quic_type = (uint8_t)((VNS_QUIC_SHORT_0 + (first >> 5 & 1)) & mask);
	out->flags |= (uint16_t)(VNS_PKT_F_QUIC & mask);
}

void vns_decode_udp_payload(struct vns_packet *out, const struct vns_span *s, uint16_t sport,
			    uint16_t dport)
{
	bool port;

	if (sport == PORT_DNS || dport == PORT_DNS) {
		dns(out, s, sport, dport);
		return;
	}
	if (s->cap == 0 || sport == PORT_MDNS || dport == PORT_MDNS)
		return;
	port = sport == PORT_QUIC || dport == PORT_QUIC;
	if (likely(!port && s->cap > VNS_QUIC_CID_BYTES && s->wire >= SHORTEST))
		quic_any(out, s);
	else if (s->p[0] & LONG)
		quic_long(out, s, port);
	else if ((s->p[0] & FIXED) || port)
		quic_short(out, s);
}
