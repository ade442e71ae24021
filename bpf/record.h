/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What the kernel program writes into the ring and user space reads (lib/source/ebpf*.c).
 *
 * A record is either a digest, a packet decoded in the kernel, or raw: its first bytes, for
 * vns_packet_decode(). Both begin with struct vns_bpf_record. Host byte order.
 */
#ifndef VNS_BPF_RECORD_H
#define VNS_BPF_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum vns_bpf_kind { VNS_BPF_RAW = 0, VNS_BPF_DIGEST4 = 4, VNS_BPF_DIGEST6 = 6 };

#define VNS_BPF_RINGS 8 /* at most; processors beyond share them */

#define VNS_BPF_RAW_SMALL 128 /* bytes of a raw record with a snap length up to that */
#define VNS_BPF_RAW_LARGE 256 /* and of all others: no snap length is larger */

/*
 * @mono_ns:  CLOCK_MONOTONIC when the program began
 * @wire_len: length of the frame, link header included
 * @cap_len:  its bytes looked at: @wire_len or the snap length
 * @flags:    VNS_PKT_F_*
 * @vlan:     as in struct vns_packet; raw: the tag that the kernel keeps outside of the bytes
 */
struct vns_bpf_record {
	uint64_t mono_ns;
	uint32_t wire_len;
	uint32_t cap_len;
	uint16_t flags;
	uint16_t vlan;
	uint8_t kind;
	uint8_t zero[3];
};

/*
 * Fields of struct vns_packet of the same names. The addresses of endpoint 0 and 1 follow at the
 * end, in network order: 4 bytes each for VNS_BPF_DIGEST4, 16 for VNS_BPF_DIGEST6.
 */
struct vns_bpf_digest {
	struct vns_bpf_record r;
	uint64_t digest;
	uint64_t flow_hash;
	uint32_t payload_len;
	uint32_t seq, ack;
	uint32_t tsval, tsecr;
	uint32_t ip_id;
	uint32_t sack_left, sack_right;
	uint16_t port[2];
	uint16_t window;
	uint16_t icmp_ident, icmp_seqno;
	uint8_t tcp_flags;
	uint8_t icmp_type, icmp_code;
	uint8_t dir;
	uint8_t proto;
	uint8_t ttl;
	uint8_t ipproto;
	uint8_t zero[3];
	uint8_t addr[]; /* 4-byte aligned */
};

#define VNS_BPF_DIGEST4_BYTES (offsetof(struct vns_bpf_digest, addr) + 8)
#define VNS_BPF_DIGEST6_BYTES (offsetof(struct vns_bpf_digest, addr) + 32)

/*
 * Set before the program is loaded.
 * @snaplen:     bytes of a frame that may be looked at, at most VNS_BPF_RAW_LARGE
 * @raw_only:    hand up raw bytes always
 * @no_digest:   leave the digest 0
 * @bare:        frames have no link header (tun, WireGuard ...): always raw
 * @wake_ns:     wake the reader at most once in so long
 * @ring_mask:   rings but one, a power of two less one: a processor writes to that of its number
 */
struct vns_bpf_config {
	uint64_t wake_ns;
	uint32_t snaplen;
	uint8_t raw_only;
	uint8_t bare;
	uint8_t no_digest;
	uint8_t ring_mask;
};

/* Word of the scratch field cb[] by which the program is told that it runs at egress, not 0, or at ingress. */
#define VNS_BPF_CB_EGRESS 4

/*
 * What the program and user space both write.
 * @woken_ns: when the reader was woken last; two processors may both wake, which does no harm
 * @begun:    set when all programs hang: they are hung one after the other, milliseconds apart, and
 *            what only one of them could see would be questions without answers
 */
struct vns_bpf_state {
	uint64_t woken_ns;
	uint32_t begun;
	uint32_t zero;
};

/*
 * Value of the per-CPU map "counts".
 * @lost:  packets that found no room in the ring
 * @early: packets that passed before all programs hung, and are left out
 */
struct vns_bpf_counts {
	uint64_t lost;
	uint64_t early;
};

#endif
