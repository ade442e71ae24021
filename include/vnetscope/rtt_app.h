/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/rtt_app.h - passive round-trip time beyond TCP: ICMP echo, DNS, QUIC.
 *
 * The companion of vnetscope/rtt.h with the same samples, flows and rules: packets in, samples out,
 * a sample of direction src -> dst is the round trip between the capture point and dst.
 */
#ifndef VNETSCOPE_RTT_APP_H
#define VNETSCOPE_RTT_APP_H

#include <vnetscope/rtt.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The kinds that this engine reads, as bits 1 << kind. */
#define VNS_RTT_APP_KINDS (1u << VNS_RTT_ICMP | 1u << VNS_RTT_DNS | \
			   1u << VNS_RTT_QUIC_HANDSHAKE | 1u << VNS_RTT_QUIC_SPIN)

/**
 * struct vns_rtt_query_counts - requests and replies of ICMP echo or DNS.
 *
 * replies = samples + ambiguous + unasked + repeated_replies + backwards. Every request that is not
 * repeated ends with its first reply, in unanswered or in dropped.
 *
 * @repeated:   requests sent again before their answer
 * @ambiguous:  first replies to those: which request they answer is not known (Karn's rule)
 * @unasked:    replies whose request was not captured or was forgotten (30 s)
 * @repeated_replies: further replies
 * @backwards:  stamped before their request
 * @unanswered: requests without a reply within 30 s or until the end
 * @dropped:    unanswered requests given up since too many were waiting
 */
struct vns_rtt_query_counts {
	uint64_t requests, replies;
	uint64_t repeated, ambiguous, unasked, repeated_replies, backwards;
	uint64_t unanswered, dropped;
	uint64_t samples;
};

/**
 * struct vns_rtt_quic_counts - QUIC.
 *
 * @long_headers, @short_headers: datagrams of QUIC flows by their first header
 * @flows:        ever opened; @flows_live now; @flows_idle, @flows_full left the table: silent too
 *                long; pushed out of a full one
 * @connections:  handshakes begun; @retries, @negotiations: answered so and begun again
 * @repeated:     Initials sent again before an answer; @ambiguous: handshake round trips not taken
 *                since such a train was longer than an eighth of them (Karn's rule)
 * @foreign:      answers whose connection IDs are not the client's
 * @handshake_samples, @spin_samples
 * @spin_edges:   changes of the spin bit that fit the other direction's
 * @spin_rejected: packets whose bit contradicts the other direction's: reordered, or not spinning;
 *                the samples around them are not taken
 * @spin_low:     samples not taken: below a quarter of the flow's smoothed ones (packets late by a round
 *                trip)
 * @spin_silent:  samples not taken: much above the flow's minimum, after a silence of the sender
 *                (limited by the application)
 * @spin_unconfirmed: samples not taken since the flow was too short to tell spinning from
 *                chance, or was found to be chance
 * @spin_not_spinning: flows found to set the bit by chance
 * @cid_changes:  connection ID changed: both sides begin to spin anew (RFC 9000 section 17.4)
 * @backwards:    samples not taken: stamps run back
 */
struct vns_rtt_quic_counts {
	uint64_t long_headers, short_headers;
	uint64_t flows, flows_live, flows_idle, flows_full;
	uint64_t connections, retries, negotiations, repeated, ambiguous, foreign;
	uint64_t handshake_samples;
	uint64_t spin_edges, spin_rejected, spin_low, spin_silent, spin_unconfirmed, spin_not_spinning;
	uint64_t spin_samples;
	uint64_t cid_changes, backwards;
};

/**
 * struct vns_rtt_stream_counts - DNS over TCP: what of port 53 is no message's begin, or is not read.
 * The first three are segments with payload, and part of "other".
 *
 * @lengths:   a message's length alone: the message is read at the next segment
 * @continued: the rest of a message that began before
 * @unread:    neither, nor a message: where the last one ended is not known (the capture began later, or lost a
 *             segment; or this is no DNS)
 * @inside:    messages, not segments, that begin within one, behind another or its rest: not read
 */
struct vns_rtt_stream_counts {
	uint64_t lengths, continued, unread, inside;
};

/**
 * struct vns_rtt_app_counts - the accounting: what became of every packet.
 * packets = other + cut + requests and replies of icmp and of dns + QUIC's long_headers and
 * short_headers.
 * @other: nothing of the kinds that were asked for
 * @cut:   ICMP, DNS or QUIC (port 443) whose header the capture cut
 */
struct vns_rtt_app_counts {
	uint64_t packets, other, cut;
	struct vns_rtt_query_counts icmp, dns;
	struct vns_rtt_stream_counts dns_tcp;
	struct vns_rtt_quic_counts quic;
};

/**
 * struct vns_rtt_app_opts - as struct vns_rtt_opts; zero means default.
 * @kinds:       bits of VNS_RTT_APP_KINDS; 0 = all of them
 * @per_flow:    keep distributions: ICMP echo by pair of hosts (ports 0), DNS by client host and
 *               server (client's port 0), QUIC by five-tuple
 * @max_flows:   0 = 1,048,576
 * @max_waiting: requests remembered at once; 0 = 262,144; over it answered ones go first
 * @idle_ns:     0 = 300 s
 */
struct vns_rtt_app_opts {
	unsigned int kinds;
	bool per_flow;
	size_t max_flows, max_waiting;
	int64_t idle_ns;
	vns_rtt_sample_fn on_sample;
	vns_rtt_flow_fn on_flow_end;
	void *ctx;
};

struct vns_rtt_app;
int vns_rtt_app_new(struct vns_rtt_app **out, const struct vns_rtt_app_opts *opts,
		    struct vns_err *err);
void vns_rtt_app_free(struct vns_rtt_app *a);
/** vns_rtt_app_feed() - packets of one capture point in capture order. Return: 0 or -ENOMEM. */
int vns_rtt_app_feed(struct vns_rtt_app *a, const struct vns_packet *pkts, size_t n);
/** vns_rtt_app_finish() - no more packets: complete the accounting. Once. */
void vns_rtt_app_finish(struct vns_rtt_app *a);
/** vns_rtt_app_limit_flows() - as vns_rtt_limit_flows(), for flows and for requests that wait. */
void vns_rtt_app_limit_flows(struct vns_rtt_app *a, size_t max);
/** vns_rtt_app_live() - flows and requests in the tables now. */
size_t vns_rtt_app_live(const struct vns_rtt_app *a);
void vns_rtt_app_get_counts(const struct vns_rtt_app *a, struct vns_rtt_app_counts *out);
/** vns_rtt_app_total() - all samples of a kind of VNS_RTT_APP_KINDS (borrowed). */
const struct vns_dist *vns_rtt_app_total(const struct vns_rtt_app *a, enum vns_rtt_kind kind);
/** vns_rtt_app_intervals() - as vns_rtt_intervals(). */
void vns_rtt_app_intervals(const struct vns_rtt_app *a, enum vns_rtt_kind kind,
			   struct vns_intervals *out);
/** vns_rtt_app_blocks() - as vns_rtt_blocks(). */
const struct vns_blocks *vns_rtt_app_blocks(const struct vns_rtt_app *a, enum vns_rtt_kind kind);
/** vns_rtt_app_each_flow() - every direction and kind with a sample of the flows in the table. */
void vns_rtt_app_each_flow(const struct vns_rtt_app *a, vns_rtt_flow_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
