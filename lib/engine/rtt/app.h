/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the engine for ICMP echo, DNS and QUIC: what its parts share.
 */
#ifndef VNS_ENGINE_RTT_APP_H
#define VNS_ENGINE_RTT_APP_H

#include <vnetscope/rtt_app.h>

#include "flow/table.h"

#define VNS_QUERY_TIMEOUT_NS (30 * VNS_NSEC_PER_SEC)

/* Requests by flow, direction and id; see query.c. */
struct vns_queries {
	struct vns_flow_table table;
	int64_t *sent_ns; /* by id */
};

enum quic_phase { QUIC_IDLE, QUIC_ASKED, QUIC_ANSWERED, QUIC_AGAIN, QUIC_DONE };

struct quic_cid {
	uint32_t word[2];
	uint8_t len; /* VNS_QUIC_CID_CUT: not known */
};

/* Samples of a flow that is not yet known to spin. */
#define SPIN_HELD 24
struct spin_held {
	int64_t at_ns, rtt_ns;
	uint8_t dir;
};

/* One QUIC five-tuple; index 0 and 1 as in vns_packet.dir. */
struct quic_flow {
	/* handshake */
	int64_t sent_ns[2];          /* first and last of a train of Initials */
	int64_t answered_ns[2];      /* the same of the server's */
	struct quic_cid client_dcid; /* first one of the client, by chance */
	struct quic_cid scid[2];     /* of client_dir and of the server */
	uint16_t version16;
	uint8_t phase;               /* enum quic_phase */
	uint8_t client_dir;          /* 2: not known */
	/* spin bit */
	uint8_t has, value;          /* bits by direction */
	uint8_t edge_ok;             /* bits: edge_ns may begin a sample */
	uint8_t distrusted, quarantine;
	uint8_t disturbed;           /* since the last edge that fits */
	uint8_t cid_seen;            /* bits: cid[] is valid */
	int64_t edge_ns[2], last_ns[2];
	int64_t min_ns[2];           /* lowest sample, of handshake or spin; 0: none */
	uint32_t cid[2][2];
	int64_t mean_ns[2];          /* smoothed spin samples; 0: none */
	uint32_t edges, episodes;    /* edges that fit; those that were disturbed after */
	uint32_t rejected;
	uint32_t kept_forbidden, kept_allowed; /* packets without an edge, by whether one would fit */
	struct spin_held pending;    /* rtt_ns < 0: none; confirmed by the next edge */
	struct spin_held *held;      /* SPIN_HELD of them, until trusted */
	uint8_t n_held;
	uint8_t trusted;
};

struct app_dists {
	struct vns_dist rtt[2][2]; /* [1]: spin; by direction */
	struct vns_series *series[2][2];
};

struct app_flow {
	struct app_dists *dists; /* NULL: no sample yet */
	struct quic_flow *quic;  /* NULL: ICMP or DNS */
	int64_t first_ns;
	uint32_t packets[2];
};

/*
 * Where one direction of a connection of port 53 stands (stream.c): a message, or a length alone, began at
 * @from and ends at @next; both the same: not known where.
 */
struct dns_stream {
	uint64_t flow; /* hash and direction; 0: none */
	uint32_t from, next;
	uint16_t len;  /* of the message that a length of its own told */
	bool lone;     /* at @from is that length, its message begins at @next */
	bool bare;     /* at @from is that message, without its length */
};
#define DNS_STREAMS 2048 /* 48 KiB; directions that meet in one place take it from each other */

struct vns_rtt_app {
	struct vns_rtt_app_opts opts;
	struct vns_queries query;
	struct vns_flow_table flows;
	struct app_flow *flow; /* by id */
	struct vns_dist total[VNS_RTT_KINDS];
	struct vns_blocks block[VNS_RTT_KINDS];
	struct vns_rtt_app_counts counts;
	struct dns_stream *stream; /* DNS_STREAMS of them, from the first segment of port 53 on */
};

static inline bool vns_rtt_app_wants(const struct vns_rtt_app *a, enum vns_rtt_kind kind)
{
	return a->opts.kinds >> kind & 1;
}

/* Of a request's key: DNS, by UDP or TCP, or else ICMP. */
static inline bool vns_rtt_is_dns(uint8_t ipproto)
{
	return ipproto == 17 || ipproto == 6;
}

/* calloc() for what hangs at a flow, counted (base/held.h). Freed with vns_held_change() beside it. */
void *vns_app_calloc(size_t n, size_t size);
/* The flow @key, made if need be and @make. Return: its id or VNS_FLOW_NONE. */
uint32_t vns_rtt_app_flow(struct vns_rtt_app *a, const struct vns_flow_key *key, uint64_t hash,
			  int64_t now_ns, bool make);
/* A sample, for total, flow @id (VNS_FLOW_NONE: none) and sink. */
void vns_rtt_app_emit(struct vns_rtt_app *a, uint32_t id, const struct vns_rtt_sample *s);

int vns_queries_init(struct vns_queries *q, size_t max);
void vns_queries_fini(struct vns_queries *q);
/* At most @max from here on: the answered go first, then the oldest, counted as dropped. */
void vns_queries_limit(struct vns_rtt_app *a, uint32_t max);
/* Each returns 0 or -ENOMEM. */
int vns_query_icmp(struct vns_rtt_app *a, const struct vns_packet *p);
int vns_query_dns(struct vns_rtt_app *a, const struct vns_packet *p, uint16_t id, uint16_t flags);
/* A segment of port 53 with payload. */
int vns_dns_segment(struct vns_rtt_app *a, const struct vns_packet *p);
/* Forget old ones, at most @work; at the end (@all) count every one that waits. */
void vns_queries_age(struct vns_rtt_app *a, int64_t now_ns, size_t work);
void vns_queries_finish(struct vns_rtt_app *a);

/* Return: whether the datagram belongs to a QUIC flow. */
bool vns_quic_packet(struct vns_rtt_app *a, const struct vns_packet *p);
/* The flow ends: what is held is lost and counted; frees @q. */
void vns_quic_end(struct vns_rtt_app *a, struct quic_flow *q);

#endif
