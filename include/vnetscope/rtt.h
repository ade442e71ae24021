/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/rtt.h - passive TCP round-trip time (TRoTTEr).
 *
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

/** struct vns_rtt_sample - @dir of @key: src = key.addr[dir]. @at_ns: time of the echo. */
struct vns_rtt_sample {
	int64_t at_ns;
	int64_t rtt_ns;
	const struct vns_flow_key *key; /* borrowed, valid during the call */
	uint32_t tsval;
	uint8_t dir;
};
typedef void (*vns_rtt_sample_fn)(void *ctx, const struct vns_rtt_sample *s);

/** struct vns_rtt_flow - one direction of a flow and its distribution (borrowed). */
struct vns_rtt_flow {
	const struct vns_flow_key *key;
	uint8_t dir;
	bool evicted;     /* aged out of the live table; its figures are final */
	int64_t first_ns, last_ns;
	uint64_t packets;
	const struct vns_dist *rtt;
};
typedef void (*vns_rtt_flow_fn)(void *ctx, const struct vns_rtt_flow *f);

/** struct vns_rtt_counts - the accounting: what became of every packet. */
struct vns_rtt_counts {
	uint64_t packets;         /* fed */
	uint64_t not_tcp;         /* other protocol or verdict */
	uint64_t undecodable;     /* cut or malformed */
	uint64_t no_timestamp;    /* TCP without the option */
	uint64_t tsval_stored, tsval_repeated, tsval_backwards;
	uint64_t pure_acks;       /* not stored: their echo waits for data */
	uint64_t echo_matched, echo_repeated, echo_unknown;
	uint64_t outstanding_dropped; /* remembered TSvals given up: flow over its limit */
	uint64_t samples;
	uint64_t flows, flows_evicted_idle, flows_evicted_full, flows_closed;
	uint64_t flows_one_direction;
};

/**
 * struct vns_rtt_opts
 * @per_flow:   keep a distribution for each flow and direction
 * @max_flows:  live flows at most; 0 = 1,048,576; over it the longest idle go, counted
 * @idle_ns:    a flow silent that long (packet time) is aged out; 0 = 300 s
 */
struct vns_rtt_opts {
	bool per_flow;
	size_t max_flows;
	int64_t idle_ns;
	vns_rtt_sample_fn on_sample; /* may be NULL */
	vns_rtt_flow_fn on_flow_end; /* a flow leaves the table; may be NULL */
	void *ctx;
};

struct vns_rtt;
int vns_rtt_new(struct vns_rtt **out, const struct vns_rtt_opts *opts, struct vns_err *err);
void vns_rtt_free(struct vns_rtt *r);
/** vns_rtt_feed() - packets in capture order, in batches (64 to 1024 are fast). */
int vns_rtt_feed(struct vns_rtt *r, const struct vns_packet *pkts, size_t n);
void vns_rtt_finish(struct vns_rtt *r);
void vns_rtt_get_counts(const struct vns_rtt *r, struct vns_rtt_counts *out);
/** vns_rtt_total() - all samples of all flows (borrowed). */
const struct vns_dist *vns_rtt_total(const struct vns_rtt *r);
/** vns_rtt_each_flow() - every flow direction with at least one sample. */
void vns_rtt_each_flow(const struct vns_rtt *r, vns_rtt_flow_fn fn, void *ctx);

#ifdef __cplusplus
}
#endif
#endif
