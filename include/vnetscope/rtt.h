/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/rtt.h - passive round-trip time (TRoTTEr).
 *
 * A round trip is told apart by how it was read (enum vns_rtt_kind). Kinds differ in what a sample
 * contains, so they are never mixed into one figure: distributions are per kind.
 *
 * VNS_RTT_SEQ: one sample for each ACK that raises the acknowledged end, for the segment whose last byte it
 * acknowledges, and for each new SACK block (RFC 2018) from the segment that caused it; none of bytes
 * that passed more than once (Karn's rule) or late, nor of what waited behind a hole. Other tools'
 * definitions beside it: doc/rtt-peers.md.
 * VNS_RTT_TS:
 * Strowes, "Passively measuring TCP round-trip times" (ACM Queue 2013), on RFC 7323 timestamps:
 * the time from the first data, SYN or FIN segment that carries a TSval to the first segment of
 * the other direction that echoes it as TSecr. A sample of direction src -> dst is therefore the
 * round trip between the capture point and dst.
 */
#ifndef VNETSCOPE_RTT_H
#define VNETSCOPE_RTT_H

#include <vnetscope/packet.h>
#include <vnetscope/stat.h>

#ifdef __cplusplus
extern "C" {
#endif

/** enum vns_rtt_kind - how a sample was read. */
enum vns_rtt_kind {
	VNS_RTT_TS = 0,         /* TCP: a TSval and its echo */
	VNS_RTT_SEQ,            /* TCP: sequence numbers and their acknowledgement */
	VNS_RTT_HANDSHAKE,      /* TCP: SYN to SYN-ACK, SYN-ACK to ACK */
	VNS_RTT_ICMP,           /* echo request to reply */
	VNS_RTT_DNS,            /* query to response: holds the server's work */
	VNS_RTT_QUIC_HANDSHAKE, /* long headers, RFC 9000 */
	VNS_RTT_QUIC_SPIN,      /* spin bit, RFC 9000 section 17.4; RFC 9312 */
	VNS_RTT_KINDS
};
/** vns_rtt_kind_name() - "ts", "seq", "handshake", "icmp", "dns", "quic_handshake", "quic_spin". */
const char *vns_rtt_kind_name(enum vns_rtt_kind kind);

/**
 * struct vns_rtt_sample - @dir of @key: src = key.addr[dir]. @at_ns: time of the echo.
 * @key:  borrowed, valid during the call; that of the flow whose figures the sample is in (struct
 *        vns_rtt_flow): ICMP without ports, DNS without the client's
 * @id:   what was answered: TSval; sequence number behind the segment; ICMP sequence; DNS id; spin: 0
 * @kind: enum vns_rtt_kind
 * @ident: what the key leaves out: ICMP identifier, DNS client's port; else 0
 */
struct vns_rtt_sample {
	int64_t at_ns;
	int64_t rtt_ns;
	const struct vns_flow_key *key;
	uint32_t id;
	uint8_t kind;
	uint8_t dir;
	uint16_t ident;
};
typedef void (*vns_rtt_sample_fn)(void *ctx, const struct vns_rtt_sample *s);

/**
 * struct vns_rtt_clock - rate of a TSval clock. All 0: too few values, or too short a time.
 * @hz, @error_hz: estimate and its 95 % interval (+-)
 * @nominal_hz: 100, 250, 1000 or 1000000; 0: none of these
 */
struct vns_rtt_clock {
	double hz, error_hz;
	uint32_t nominal_hz;
};

/**
 * struct vns_rtt_flow - one direction of a flow and its distribution of one kind (borrowed).
 * @evicted:  left the live table (idle, closed, pushed out); its figures are final
 * @first_ns, @last_ns: first and last segment of the flow that was read, either direction
 * @packets:  segments read, of this direction; stops at 2^32 - 1
 * @opener:   index in @key of who opened it (SYN, QUIC Initial), or VNS_RTT_OPENER_UNKNOWN
 * @series:   the samples of @rtt with their times, for vns_series_intervals(); NULL: one sample
 * @clock:    VNS_RTT_TS: of the sender's TSvals
 */
#define VNS_RTT_OPENER_UNKNOWN 2
struct vns_rtt_flow {
	const struct vns_flow_key *key;
	enum vns_rtt_kind kind;
	uint8_t dir, opener;
	bool evicted;
	int64_t first_ns, last_ns;
	uint64_t packets;
	const struct vns_dist *rtt;
	const struct vns_series *series;
	struct vns_rtt_clock clock;
};
typedef void (*vns_rtt_flow_fn)(void *ctx, const struct vns_rtt_flow *f);

/**
 * struct vns_rtt_counts - the accounting: what became of every packet.
 *
 * By timestamps: packets = not_tcp + undecodable + options_cut + no_timestamp + timestamp_not_read +
 * those read, each of which is one of tsval_stored, tsval_repeated, tsval_backwards, pure_acks. Of
 * those with ACK each is one of echo_matched, echo_repeated, echo_unknown. samples[VNS_RTT_TS] =
 * echo_matched - echo_before_tsval. tsval_stored = echo_matched + tsval_passed + outstanding_dropped +
 * tsval_unanswered + tsval_pushed_out + tsval_waiting.
 *
 * By sequence numbers: packets = not_tcp + undecodable + seq_not_read + those read, each of which is one
 * of seq_stored, seq_repeated, seq_late, seq_probe, seq_old, seq_pure_acks. Of those with ACK each
 * is one of the ack_*. samples[VNS_RTT_SEQ] = ack_matched + ack_sacked.
 *
 * @undecodable:  cut, malformed, or without a time
 * @options_cut:  TCP whose options were cut: no timestamp known
 * @timestamp_not_read: with timestamp, in a flow that is read by sequence numbers only
 * @pure_acks:    a new TSval on a segment without data, SYN or FIN: not stored, since its echo waits
 *                for the peer's next data
 * @tsval_passed: stored, but a higher one was echoed first (delayed ACKs, losses)
 * @tsval_unanswered: no echo until the flow was over (idle, closed, ports used again)
 * @tsval_pushed_out: waited for its echo when a full table pushed its flow out
 * @tsval_waiting: waits in a flow of the table: at the end, for what the capture has not
 * @echo_unknown: of a TSval that was not stored, was given up, or was passed
 * @echo_before_tsval: stamped before its TSval: the capture is not in order; no sample
 * @outstanding_dropped: remembered TSvals given up: too many in flight, or one direction only
 * @seq_not_read: TCP of flows read by timestamps only, and every RST
 * @seq_repeated: bytes that passed before, in whole or in part
 * @seq_late:     filled a hole: reordered, or its first copy was lost before the capture point
 * @seq_probe:    one byte sent into a closed window
 * @seq_old:      already acknowledged: keep-alive or needless repetition
 * @seq_dropped:  remembered segments given up, as outstanding_dropped
 * @seq_pushed_out: segments that waited for their acknowledgement when a full table pushed their flow out
 * @ack_matched, @ack_sacked: gave a sample, by the acknowledged end or by a new SACK block
 * @ack_ambiguous: of bytes that passed more than once, late or as a probe (Karn's rule)
 * @ack_behind_hole: filled a hole that the segment had waited behind
 * @ack_after_sack: of a segment that a SACK had acknowledged
 * @ack_inside:   ends inside a segment
 * @ack_repeated, @ack_old: says nothing new; overtaken by a later one
 * @ack_unseen:   of bytes that the capture missed, or of a segment given up
 * @ack_no_data:  before any segment of the other direction
 * @ack_before_segment: stamped before its segment: the capture is not in order
 * @flows:        ever opened, including ports used again
 * @flows_evicted_idle, @flows_evicted_full, @flows_closed, @flows_reused: why flows left the table:
 *                silent too long; pushed out of a full table; FIN both ways or RST; new SYN on an
 *                open flow's ports
 * @flows_returned: of @flows, those that a full table had pushed out before, without a SYN of their own
 *                since: the same flow counted again. At least so many: see engine/rtt/gone.h
 * @flows_one_direction: of the ended ones, and of all after vns_rtt_finish()
 */
struct vns_rtt_counts {
	uint64_t packets;
	uint64_t not_tcp;
	uint64_t undecodable;
	uint64_t options_cut, no_timestamp, timestamp_not_read;
	uint64_t tsval_stored, tsval_repeated, tsval_backwards, tsval_passed;
	uint64_t tsval_unanswered, tsval_pushed_out, tsval_waiting;
	uint64_t pure_acks;
	uint64_t echo_matched, echo_repeated, echo_unknown, echo_before_tsval;
	uint64_t outstanding_dropped;
	uint64_t seq_not_read;
	uint64_t seq_stored, seq_repeated, seq_late, seq_probe, seq_old, seq_pure_acks;
	uint64_t seq_dropped, seq_pushed_out;
	uint64_t ack_matched, ack_sacked;
	uint64_t ack_ambiguous, ack_behind_hole, ack_after_sack, ack_inside;
	uint64_t ack_repeated, ack_old, ack_unseen, ack_no_data, ack_before_segment;
	uint64_t samples[VNS_RTT_KINDS];
	uint64_t flows, flows_live;
	uint64_t flows_evicted_idle, flows_evicted_full, flows_closed, flows_reused;
	uint64_t flows_returned;
	uint64_t flows_one_direction;
};

/** enum vns_rtt_method - what TCP segments are read by; handshakes are read in any case. */
enum vns_rtt_method {
	VNS_RTT_METHOD_AUTO = 0, /* timestamps in flows that have them, else sequence numbers */
	VNS_RTT_METHOD_TS,       /* flows without timestamps are not looked at */
	VNS_RTT_METHOD_SEQ,
	VNS_RTT_METHOD_BOTH,
};

/**
 * struct vns_rtt_opts
 * @method:     of TCP
 * @inside:     VNS_RTT_SEQ: an ACK that ends inside a segment gives a sample too
 * @per_flow:   keep a distribution for each flow and direction
 * @max_flows:  live flows at most; 0 = 1,048,576; over it closed ones go, then the longest idle (to
 *              1/32 of the idle time), counted
 * @idle_ns:    a flow silent for longer (packet time) is over; 0 = 300 s
 * @on_sample:  may be NULL; called before vns_rtt_feed() returns
 * @on_flow_end: may be NULL; per_flow only: for each direction with samples of a flow that leaves
 *              the table, its figures are freed afterwards. Not called by finish and free
 */
struct vns_rtt_opts {
	enum vns_rtt_method method;
	bool inside;
	bool per_flow;
	size_t max_flows;
	int64_t idle_ns;
	vns_rtt_sample_fn on_sample;
	vns_rtt_flow_fn on_flow_end;
	void *ctx;
};

struct vns_rtt;
int vns_rtt_new(struct vns_rtt **out, const struct vns_rtt_opts *opts, struct vns_err *err);
void vns_rtt_free(struct vns_rtt *r);
/**
 * vns_rtt_feed() - packets in capture order, in batches (64 to 1024 are fast).
 * Packets of several capture points must not be mixed: one engine for each. Return: 0 or -ENOMEM.
 */
int vns_rtt_feed(struct vns_rtt *r, const struct vns_packet *pkts, size_t n);
/** vns_rtt_finish() - no more packets: complete the accounting. Once. */
void vns_rtt_finish(struct vns_rtt *r);
/**
 * vns_rtt_limit_flows() - from here on at most @max flows (never more than before): what is over leaves at
 * once, closed ones first, then the longest idle, counted as from a full table.
 */
void vns_rtt_limit_flows(struct vns_rtt *r, size_t max);
void vns_rtt_get_counts(const struct vns_rtt *r, struct vns_rtt_counts *out);
/** vns_rtt_total() - all samples of one kind of all flows (borrowed). */
const struct vns_dist *vns_rtt_total(const struct vns_rtt *r, enum vns_rtt_kind kind);
/** vns_rtt_intervals() - of the figures of vns_rtt_total(), ns; see vns_blocks_intervals(). */
void vns_rtt_intervals(const struct vns_rtt *r, enum vns_rtt_kind kind, struct vns_intervals *out);
/**
 * vns_rtt_blocks() - the samples of vns_rtt_total() by time, to merge with another engine's (borrowed);
 * NULL: this engine has none of the kind.
 */
const struct vns_blocks *vns_rtt_blocks(const struct vns_rtt *r, enum vns_rtt_kind kind);
/** vns_rtt_each_flow() - every direction and kind with a sample of the flows in the table, oldest
 * first. */
void vns_rtt_each_flow(const struct vns_rtt *r, vns_rtt_flow_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
