/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fuzzer's bytes -> packets as the decoder could have made them: a few flows whose sequence
 * numbers, time stamps and clocks move on by what the bytes say, forwards and backwards, and earlier
 * packets seen again (at the other point, cut in two, or twice).
 *
 * 12 bytes make a packet:
 *   0     bit 0 direction, bit 1 point, bits 2-3 flow, bits 4-6 what it is
 *   1     TCP flags; what is wrong with it; which earlier packet
 *   2-3   time since the last packet at this point, signed; << 2 * (byte 4 & 15)
 *   4     upper half: which fields are present
 *   5-6   sequence number since the last, signed
 *   7     payload length
 *   8, 9  TSval and TSecr since the last, signed
 *   10    id, or the part of an earlier packet
 *   11    acknowledgement behind what the other side has sent, signed
 * A piece (fuzz_piece()) takes its beginning, size and place from bytes 1 and 7 to 9.
 */
#ifndef TESTS_FUZZ_PACKETS_H
#define TESTS_FUZZ_PACKETS_H

#include <string.h>

#include <vnetscope/packet.h>

#include "packet/hash.h"

enum { FUZZ_RECORD = 12, FUZZ_FLOWS = 4, FUZZ_EARLIER = 16 };

struct fuzz_side {
	uint32_t seq, tsval;
};

struct fuzz_packets {
	struct fuzz_side side[FUZZ_FLOWS][2];
	int64_t now[2];
	struct vns_packet earlier[FUZZ_EARLIER];
	unsigned int n;
};

static inline void fuzz_packets_init(struct fuzz_packets *f)
{
	memset(f, 0, sizeof(*f));
	f->now[0] = f->now[1] = INT64_C(1700000000) * VNS_NSEC_PER_SEC;
	for (int i = 0; i < FUZZ_FLOWS; i++)
		for (int d = 0; d < 2; d++)
			f->side[i][d] = (struct fuzz_side){ .seq = i == 1 ? UINT32_MAX - 2000 : 1000,
							    .tsval = i == 2 ? UINT32_MAX - 3 : 50 };
}

static inline void fuzz_key(struct vns_packet *p, unsigned int flow, uint8_t ipproto)
{
	static const uint8_t low[4] = { 10, 0, 0, 2 }, high[4] = { 10, 0, 0, 9 };

	p->key.addr[0] = vns_addr_from_v4(low);
	p->key.addr[1] = vns_addr_from_v4(high);
	p->key.port[0] = (uint16_t)(flow == 3 ? 53 : 443);
	p->key.port[1] = (uint16_t)(40000 + flow);
	p->key.ipproto = ipproto;
	p->key.family = 4;
}

static inline void fuzz_tcp(struct fuzz_packets *f, struct vns_packet *p, unsigned int flow,
			    const uint8_t *b)
{
	struct fuzz_side *me = &f->side[flow][p->dir], *peer = &f->side[flow][!p->dir];

	fuzz_key(p, flow, 6);
	p->proto = VNS_PROTO_TCP;
	p->tcp_flags = b[1];
	me->seq += (uint32_t)(int16_t)(b[5] | b[6] << 8);
	me->tsval += (uint32_t)(int8_t)b[8];
	p->seq = me->seq;
	p->ack = peer->seq + (uint32_t)(int8_t)b[11];
	p->payload_len = (b[0] >> 4 & 1) ? 0 : (uint32_t)b[7] * 11;
	me->seq += p->payload_len + !!(b[1] & (VNS_TCP_SYN | VNS_TCP_FIN));
	p->window = b[10];
	p->ip_id = b[10];
	if (b[4] & 0x10) {
		p->flags |= VNS_PKT_F_HAS_TS;
		p->tsval = me->tsval;
		p->tsecr = peer->tsval + (uint32_t)(int8_t)b[9];
	} else if (b[4] & 0x20) {
		p->flags |= VNS_PKT_F_OPTS_CUT;
	}
	if (b[4] & 0x40) {
		p->flags |= VNS_PKT_F_HAS_SACK;
		p->sack_left = p->ack + b[9];
		p->sack_right = p->sack_left + b[8];
	}
}

/* A datagram that may be one of a frame's, or that frame, or a fragment: payloads that begin alike. */
static inline void fuzz_piece(struct vns_packet *p, const uint8_t *b)
{
	p->payload_len = ((uint32_t)b[7] + (b[8] & 3)) << (b[8] >> 4 & 15) << (b[8] & 8 ? 9 : 0);
	p->ip_id = b[10];
	if (b[4] & 0x10) {
		p->frag_off = (uint16_t)(b[9] << 3);
		p->flags |= p->frag_off ? VNS_PKT_F_LATER_FRAG : VNS_PKT_F_FIRST_FRAG;
		p->verdict = p->frag_off ? VNS_PKT_FRAGMENT : VNS_PKT_OK;
	}
	if (b[4] & 0x20)
		p->flags |= VNS_PKT_F_DIGEST_SHORT;
	p->digest = (uint64_t)(b[1] & 7) * VNS_MIX_K4 + vns_length_term(p->payload_len);
}

static inline void fuzz_other(struct vns_packet *p, unsigned int flow, unsigned int what,
			      const uint8_t *b)
{
	p->payload_len = b[7];
	if (what == 4) {
		fuzz_key(p, flow, 1);
		p->proto = VNS_PROTO_ICMP;
		p->icmp_type = b[1] & 1 ? 8 : b[1] & 2 ? 0 : 3;
		p->icmp_seqno = b[10];
		p->icmp_ident = p->key.port[0] = p->key.port[1] = b[11];
		return;
	}
	fuzz_key(p, flow, 17);
	p->proto = VNS_PROTO_UDP;
	if (what == 3) {
		fuzz_piece(p, b);
	} else if (what == 5) {
		p->flags |= VNS_PKT_F_DNS;
		p->dns_id = b[10];
		p->dns_flags = b[1] & 1 ? VNS_DNS_QR : 0;
	} else if (what == 6) {
		p->flags |= VNS_PKT_F_QUIC;
		p->quic_type = (uint8_t)(b[1] % (VNS_QUIC_OTHER + 1));
		p->quic_dcid[0] = b[10];
		p->quic_scid[0] = b[11];
		p->quic_dcid_len = b[8];
		p->quic_scid_len = b[9];
	}
}

/* The packet of the record at @b; its point too. */
static inline struct vns_packet fuzz_packet(struct fuzz_packets *f, const uint8_t *b, int *point)
{
	unsigned int what = b[0] >> 4 & 7, flow = b[0] >> 2 & 3;
	struct vns_packet p;

	*point = b[0] >> 1 & 1;
	/* within 100 years, so that the sum over any input does not overflow */
	f->now[*point] += (int16_t)(b[2] | b[3] << 8) * (INT64_C(1) << 2 * (b[4] & 0x0f));
	if (f->now[*point] > INT64_C(1) << 62 || f->now[*point] < -(INT64_C(1) << 62))
		f->now[*point] = 0;
	memset(&p, 0, sizeof(p));
	p.verdict = VNS_PKT_OK;
	p.dir = b[0] & 1;
	if (what == 7 && f->n) {
		p = f->earlier[b[1] % (f->n < FUZZ_EARLIER ? f->n : FUZZ_EARLIER)];
		if (b[10] & 1 && p.proto == VNS_PROTO_TCP && p.payload_len > 1) {
			uint32_t first = p.payload_len / 2;

			p.seq += b[10] & 2 ? first : 0;
			p.payload_len = b[10] & 2 ? p.payload_len - first : first;
			p.digest++;
		}
		p.ip_id ^= b[10] >> 7;
	} else if (what < 3) {
		fuzz_tcp(f, &p, flow, b);
	} else {
		fuzz_other(&p, flow, what, b);
	}
	if (b[4] & 0x80)
		p.verdict = (uint8_t)(b[1] % VNS_PKT_VERDICTS);
	p.time_ns = f->now[*point];
	p.wire_len = p.cap_len = 66 + p.payload_len;
	p.flow_hash = vns_flow_key_hash(&p.key);
	if (what != 7 && what != 3)
		p.digest = (uint64_t)p.seq << 32 ^ (uint64_t)p.ack << 7 ^ p.tsval ^ p.icmp_seqno ^
			   (uint64_t)p.payload_len << 13 ^ p.dir;
	if (what != 7)
		f->earlier[f->n++ % FUZZ_EARLIER] = p;
	return p;
}

#endif
