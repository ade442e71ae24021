/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/twin.h - find the same packet at two capture points (VirtOCalc).
 *
 * Two streams of packets, point A (nearer the outside: the host) and point B (nearer the
 * guest), each in capture order. Every packet read ends in exactly one class per point.
 * The sample's raw difference t_B - t_A still holds the clock offset between the points;
 * the caller corrects it (vo(host to guest) = t_guest - t_host - offset,
 * vo(guest to host) = t_host - t_guest + offset).
 */
#ifndef VNETSCOPE_TWIN_H
#define VNETSCOPE_TWIN_H

#include <vnetscope/packet.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vns_point { VNS_POINT_A = 0, VNS_POINT_B = 1 };
enum vns_direction { VNS_HOST_TO_GUEST = 0, VNS_GUEST_TO_HOST = 1, VNS_DIRECTIONS = 2 };

/** enum vns_twin_class - one per packet read; they add up to `read`. */
enum vns_twin_class {
	VNS_TWIN_MATCHED = 0,
	VNS_TWIN_MISSING,        /* should have been seen at the other point, was not */
	VNS_TWIN_AMBIGUOUS,      /* several candidates, nothing tells them apart: not guessed */
	VNS_TWIN_OUTSIDE_WINDOW, /* the other point was not captured at that time */
	VNS_TWIN_UNDECODABLE,    /* verdict other than OK, or neither end is the guest */
	VNS_TWIN_CLASSES
};

/**
 * struct vns_twin_sample - one upstream packet found at the downstream point.
 * Upstream is A for host_to_guest and B for guest_to_host: one sample for each matched packet
 * of the upstream point.
 * @host_ns:       time at A of the packet that holds the first byte
 * @first_raw_ns:  t_B - t_A for the packet's first byte (uncorrected)
 * @last_host_ns, @last_raw_ns: the same for its last byte; valid when @has_last
 * @flow_hash:     of the upstream packet; of ICMP echoes XOR the sequence number, so the same for a request and its
 *                 reply and no other of its flow
 */
struct vns_twin_sample {
	int64_t host_ns, first_raw_ns;
	int64_t last_host_ns, last_raw_ns;
	uint64_t flow_hash;
	uint32_t payload_len;
	uint8_t proto;      /* enum vns_proto */
	uint8_t direction;  /* enum vns_direction */
	bool has_last;
};
typedef void (*vns_twin_sample_fn)(void *ctx, const struct vns_twin_sample *s);

/**
 * struct vns_twin_counts - what became of the packets of one point.
 * @wholes: beyond TCP: packets that the other point saw in pieces (IP fragments; UDP frames of many
 *   datagrams, UDP_SEGMENT and UDP_GRO)
 * @partly: of these, those of which pieces were lost, or are not known to be theirs
 * @pieces: packets that are pieces of one that the other point saw whole
 */
struct vns_twin_counts {
	uint64_t read;
	uint64_t in_class[VNS_TWIN_CLASSES];
	uint64_t missing_by_proto[VNS_PROTOS];
	uint64_t by_direction[VNS_DIRECTIONS]; /* of those that have one: read less undecodable */
	uint64_t wholes, partly, pieces;
};

/**
 * struct vns_twin_opts
 * @window_ns:        longest latency that is still looked for; 0 = 5 s. Bounds memory.
 *   A packet whose twin was found waits window/10 for rivals before it is counted.
 * @coarse_offset_ns: t_B - t_A to expect at the start, right to well within @window_ns. The engine
 *   follows drift and steps of the clocks from there by the twins it finds.
 * @slack_ns:         how far the offset may be wrong, where twins of both directions do not say it
 *   better, when time is to tell copies of the same packet apart; 0 = 20 ms. The smaller, the
 *   fewer packets are ambiguous. Latencies that are negative by more are still found where only
 *   one twin is possible.
 * @guest, @n_guest:  the guest's addresses (64 at most): tell the direction. Empty: learnt from
 *   the first batch of B, which must then be fed before A
 * @nat:              packets of A that are not the guest's by their addresses may be translated on the
 *                    way (NAT): learn the mapping of such flows from packets that agree. 20 MB
 * @nat_peers:        so may those that are the guest's, in their peers' addresses: packets of A wait
 *                    until it is known whether their flow is translated. With @nat only
 * @max_pending:      packets remembered at each point at most; 0 = 4 M; over it the oldest
 *                    are classed as missing and counted in vns_twin_evicted(). Address space of
 *                    256 bytes for each is reserved at once (1 GiB for 4 M; -ENOMEM where a limit
 *                    forbids it) and becomes memory only where it is used
 * @sampled:          the packets are those that vns_packet_sampled() chooses: of a UDP frame of many datagrams
 *                    only the first is sure to be fed with it, so only that is its twin; what else there is
 *                    of such a flow, and later fragments without a twin, is ambiguous and never missing by
 *                    the lack of what was not chosen
 */
struct vns_twin_opts {
	int64_t window_ns;
	int64_t coarse_offset_ns;
	int64_t slack_ns;
	const struct vns_addr *guest;
	size_t n_guest;
	bool nat;
	bool nat_peers;
	size_t max_pending;
	bool sampled;
};

struct vns_twin;
int vns_twin_new(struct vns_twin **out, const struct vns_twin_opts *opts, vns_twin_sample_fn fn,
		 void *ctx, struct vns_err *err);
void vns_twin_free(struct vns_twin *t);
/**
 * vns_twin_feed() - packets of one point in capture order. The points may be fed in turns of
 * any size; feed them so that their (offset-corrected) times stay close, since what
 * one is ahead must be remembered. The outcome is one of the packets and of the order in which
 * those of both points come, not of how many are in one call (but where the guest's addresses are
 * learnt from the first). The order of turns may tell of a few packets that overtook others, were doubled or
 * sent again, and next to a step of a clock: how far one point is ahead is what is known of rivals, and in what
 * order the clocks' relation is learnt.
 */
int vns_twin_feed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts, size_t n);
/**
 * vns_twin_advance() - live: point @p has been read up to @now_ns (its clock) though silent; before
 * its first packet: the capture began then. INT64_MAX: the point ended with its last packet.
 */
void vns_twin_advance(struct vns_twin *t, enum vns_point p, int64_t now_ns);
/**
 * vns_twin_end_at() - before vns_twin_finish() or _hand_over(): what came at point @p after @at_ns (its clock) and has no twin
 * is outside the window and not missing, as the other point's stamps may be wrong from then on.
 */
void vns_twin_end_at(struct vns_twin *t, enum vns_point p, int64_t at_ns);
/**
 * vns_twin_finish() - no more packets: everything still pending gets its class. Only then do the
 * classes add up to `read`; before, what is missing in the sum still waits.
 */
void vns_twin_finish(struct vns_twin *t);
void vns_twin_get_counts(const struct vns_twin *t, enum vns_point p, struct vns_twin_counts *out);
uint64_t vns_twin_evicted(const struct vns_twin *t);

#define VNS_TWIN_MAPPINGS 64
/**
 * struct vns_twin_mapping - an address translation between the points, learnt from packets.
 * @at_a, @port_a: the guest's end of the flows as A sees it; @at_b, @port_b: as B does (host byte
 *   order; 0: flows differ in it, or the protocol has none)
 * @ipproto:   IP protocol number
 * @forwarded: the other end began the flows (port forwarding, DNAT); else the guest did
 *   (masquerading, SNAT)
 * @flows:     flows mapped so
 */
struct vns_twin_mapping {
	struct vns_addr at_a, at_b;
	uint64_t flows;
	uint16_t port_a, port_b;
	uint8_t ipproto;
	bool forwarded;
};
/** vns_twin_mappings() - what was learnt. Return: their number; those past VNS_TWIN_MAPPINGS are not listed. */
size_t vns_twin_mappings(const struct vns_twin *t, struct vns_twin_mapping out[VNS_TWIN_MAPPINGS]);
/** vns_twin_translated() - packets of A that were paired under another flow's addresses. */
uint64_t vns_twin_translated(const struct vns_twin *t);

struct vns_twin_learnt;
/**
 * vns_twin_hand_over() - end @t amid traffic that another engine goes on with: as vns_twin_finish(), but
 * what may still have been under way, for as long as packets sometimes take, is outside the window
 * and not missing. Return: what was learnt beyond the packets (translations, how long packets
 * take), owned; NULL: no memory for it. @t is good for its counts only then.
 */
struct vns_twin_learnt *vns_twin_hand_over(struct vns_twin *t);
/**
 * vns_twin_take_over() - before the first packet: @t, between the same points and for the same guest, begins
 * with what another one learnt. Flows that were mapped stay so. Frees @learnt, which may be NULL.
 */
void vns_twin_take_over(struct vns_twin *t, struct vns_twin_learnt *learnt);
void vns_twin_learnt_free(struct vns_twin_learnt *learnt);

#define VNS_TWIN_STEPS 16
/**
 * struct vns_twin_step - t_B - t_A changed by @by_ns, to within the latencies: not before @since_ns, not
 * after @host_ns (A's stamps). Where A's own clock was set back, @host_ns is the lower.
 */
struct vns_twin_step {
	int64_t since_ns, host_ns, by_ns;
};
/**
 * vns_twin_steps() - steps of a clock that the engine saw in the twins or was told of.
 * Return: their number; the first VNS_TWIN_STEPS of them are in @out.
 */
size_t vns_twin_steps(const struct vns_twin *t, struct vns_twin_step out[VNS_TWIN_STEPS]);
/** vns_twin_offset() - t_B - t_A as followed so far, to within the latencies: to feed in step. */
int64_t vns_twin_offset(const struct vns_twin *t);
/**
 * vns_twin_step() - the clock of @p jumped by @by_ns at @at_ns: stamps of @p fed from now on are
 * taken to be that much ahead. For jumps longer than the window, which twins cannot show. @at_ns: the
 * next packet's stamp. Return: 0, or -ENOSPC after VNS_TWIN_STEPS of them and for absurd jumps.
 */
int vns_twin_step(struct vns_twin *t, enum vns_point p, int64_t at_ns, int64_t by_ns);

/**
 * vns_twin_coarse_offset() - coarse offset between two captures whose clocks may differ by hours:
 * feed the start of both, ask for the offset on which unique packets agree.
 * Return of vns_twin_coarse_offset(): 0 with *@offset_ns = the median of t_B - t_A over the earliest
 * packets whose identity is unique at both points, @support = those that agree with it to a second;
 * 1 when there are none, or most of them do not agree.
 */
int vns_twin_coarse_offset(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			   size_t n_b, int64_t *offset_ns, size_t *support);
/**
 * vns_twin_find_nat() - the same through NAT: packets whose flows differ in one end between the points.
 * @addr: gets the guest's addresses as B sees them, where traffic of both directions tells which end is
 *   the guest's; room for @max, the first @n_known are known already. Return: their number;
 *   *@support, *@offset_ns as above; *@peers: packets of which the peer's end differs. Few packets are
 *   no proof: the engine asks for more before it uses a mapping.
 */
size_t vns_twin_find_nat(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			 size_t n_b, struct vns_addr *addr, size_t n_known, size_t max,
			 int64_t *offset_ns, size_t *support, size_t *peers);
/** vns_twin_learn_guest() - addresses that B's packets show to be the guest's own. */
size_t vns_twin_learn_guest(const struct vns_packet *b, size_t n_b, struct vns_addr *out,
			    size_t max);
/**
 * vns_twin_learn_guest_pairs() - the same from both points, where B alone cannot tell (one peer
 * only): t_B - t_A is larger towards the guest than from it, whatever the clock offset is.
 * @addr: room for @max addresses, of which the first @n_known are known already; then only senders
 *   of multicast are added (IPv6 link-local addresses). Return: addresses in @addr.
 */
size_t vns_twin_learn_guest_pairs(const struct vns_packet *a, size_t n_a,
				  const struct vns_packet *b, size_t n_b, struct vns_addr *addr,
				  size_t n_known, size_t max);

#ifdef __cplusplus
}
#endif
#endif
