/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the TCP engine: what rtt.c (flows, timestamps), sequence.c (sequence numbers,
 * handshakes) and figures.c (samples, results) share.
 *
 * Memory, so that 100,000 flows stay in a few cache lines each and none is read in vain:
 *   head[id]     64 bytes, flow table: key, last time, lists    every packet
 *   track[id]    64 bytes: both directions' TSvals in flight    every packet
 *   seq[id]      64 bytes: both directions' ranges in flight    flows read by sequence numbers
 *   cold[id]     first time, handshake                          SYNs, the flow's end
 *   ts_rtt[id]   distributions by timestamps                    samples, with per_flow only
 *   seq_rtt[id]  its distributions by sequence numbers, or NULL samples, with per_flow only: few flows
 *                                                               have any, and they lie everywhere
 *   tick[id]     rates of the TSval clocks                      samples, with per_flow only
 * All grow by use up to the largest number of flows that live at once.
 */
#ifndef VNS_ENGINE_RTT_TCP_H
#define VNS_ENGINE_RTT_TCP_H

#include <vnetscope/rtt.h>

#include "base/reserve.h"
#include "engine/rtt/bytes.h"
#include "engine/rtt/gone.h"
#include "engine/rtt/pending.h"
#include "engine/rtt/seq.h"
#include "engine/rtt/tick.h"
#include "flow/table.h"

/* Kinds that this engine reads: the first ones. */
#define TCP_KINDS (VNS_RTT_HANDSHAKE + 1)
#define SAMPLES 32 /* collected before they go to the distributions */
#define LINE    64

/* head.user */
#define BY_TS              (uint16_t)VNS_PKT_F_HAS_TS /* read by timestamps; the packets' bit, to be
							 compared with theirs at once */
#define BY_SEQ             (uint16_t)0x02             /* ... by sequence numbers */
#define FIN(dir)           (uint16_t)(0x04 << (dir))
#define HAS_ISN(dir)       (uint16_t)(0x10 << (dir))
#define HAS_ECHO(dir)      (uint16_t)(0x40 << (dir))  /* the direction's TSvals were echoed */
#define NOT_ONLY_SYN       (uint16_t)0x100
#define NO_WINDOW(dir)     (uint16_t)(0x200 << (dir)) /* the other side lets it send nothing */
#define WAS_BY_SEQ         (uint16_t)0x800            /* given up, but seq_rtt[id] may hold samples */

/* In flight, both directions; index 0 and 1 as in vns_packet.dir: of the sender of the TSvals. */
struct track {
	struct vns_pending pending[2];
	uint32_t tsval_max[2]; /* highest TSval seen on any segment; valid when packets > 0 */
	uint32_t packets[2];   /* stops at its maximum */
};
_Static_assert(sizeof(struct track) == LINE, "a packet should touch one line of it");

struct seq_track {
	struct vns_seq_side side[2];
};
_Static_assert(sizeof(struct seq_track) == LINE, "a packet should touch one line of it");

/* Of a direction's SYN. */
enum syn_state { SYN_NONE, SYN_SENT, SYN_ACK_SENT, SYN_REPEATED, SYN_ANSWERED };

struct cold {
	int64_t first_ns;
	int64_t syn_ns[2]; /* when it passed; once SYN_ANSWERED its RTT */
	uint32_t isn[2];
	uint8_t syn[2];    /* enum syn_state */
	uint8_t opener;    /* direction of the SYN, plus 1; 0: not seen */
};

struct flow_dists {
	struct vns_dist rtt[2];
	struct vns_series *series[2]; /* the same samples with their times */
};

struct sample {
	int64_t at_ns, rtt_ns;
	uint32_t id, what; /* flow; vns_rtt_sample.id */
	uint8_t kind, dir;
};

/* What a segment's TSval and TSecr came to; see struct vns_rtt_counts. */
enum tsval_kind { TSVAL_STORED, TSVAL_REPEATED, TSVAL_BACKWARDS, PURE_ACK, TSVAL_KINDS };
enum echo_kind { ECHO_MATCHED, ECHO_REPEATED, ECHO_UNKNOWN, ECHO_KINDS };

/* All samples stand in @block; @total is what they come to, made when it is asked for. */
struct tcp_totals {
	struct vns_blocks block[TCP_KINDS];
	struct vns_dist total[VNS_RTT_KINDS];
};

struct vns_rtt {
	struct vns_rtt_opts opts;
	struct vns_flow_table flows;
	struct track *track;
	struct seq_track *seq;
	struct cold *cold;
	struct flow_dists *ts_rtt; /* NULL unless per_flow, as the next two */
	struct flow_dists **seq_rtt;
	struct tick_line (*tick)[2];
	uint16_t any_tcp;    /* VNS_PKT_F_HAS_TS: TCP without timestamps is read too, by seq[] */
	uint16_t seq_always; /* VNS_PKT_F_HAS_TS: seq[] also of flows that have them */
	uint64_t pending_bytes;
	struct tcp_totals *totals;
	struct vns_rtt_counts counts;  /* without what stands in the next four */
	uint64_t tsval[TSVAL_KINDS];
	uint64_t echo[ECHO_KINDS];
	uint64_t range[VNS_SEQ_RANGES];
	uint64_t ack[VNS_ACKS];
	struct sample sample[SAMPLES]; /* not yet in the distributions */
	size_t n_sample;
	struct vns_gone gone; /* pushed out of a full table */
	struct vns_touched touched_seq, touched_ts_rtt, touched_tick; /* their pages */
};

/* Where the sample's flow keeps its kind; NULL: nowhere yet. */
static inline struct flow_dists *tcp_flow_dists(const struct vns_rtt *r, const struct sample *s)
{
	return s->kind == VNS_RTT_TS ? &r->ts_rtt[s->id] : r->seq_rtt[s->id];
}

/* Give the collected samples to the distributions and the sink. */
void tcp_flush_samples(struct vns_rtt *r);

static inline void tcp_add_sample(struct vns_rtt *r, uint32_t id, struct sample s)
{
	s.id = id;
	r->counts.samples[s.kind]++;
	if (r->n_sample == SAMPLES)
		tcp_flush_samples(r);
	r->sample[r->n_sample++] = s;
	if (r->opts.per_flow && s.kind != VNS_RTT_HANDSHAKE) {
		__builtin_prefetch(s.kind == VNS_RTT_TS ? (void *)&r->ts_rtt[id].rtt[s.dir] :
							  (void *)&r->seq_rtt[id], 1);
		if (r->tick)
			__builtin_prefetch(&r->tick[id][s.dir], 1);
	}
}

/* Each direction and kind with samples of flow @id. */
void tcp_report_flow(const struct vns_rtt *r, uint32_t id, bool evicted, vns_rtt_flow_fn fn,
		     void *ctx);
bool tcp_one_direction(const struct track *t);
/* Free what the flow holds. */
void tcp_forget_flow(struct vns_rtt *r, uint32_t id);

/* A segment before which the flow saw nothing but SYNs: by what it is read, and its handshake. */
void tcp_choose_method(struct vns_rtt *r, uint32_t id, const struct vns_packet *p);
void tcp_handshake(struct vns_rtt *r, uint32_t id, const struct vns_packet *p);
/* A segment of a flow that is read by sequence numbers. */
void tcp_by_sequence(struct vns_rtt *r, uint32_t id, const struct vns_packet *p);

#endif
