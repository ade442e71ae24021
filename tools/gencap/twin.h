/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The simulated world of twin mode: a guest (end 1 of every flow) talks to the outside (end 0);
 * what passes is captured at the host (point A) and in the guest (point B). Direction 0 is host to
 * guest: A is upstream; direction 1 is guest to host: B is upstream.
 */
#ifndef VNS_GENCAP_TWIN_H
#define VNS_GENCAP_TWIN_H

#include "gencap.h"

enum { TW_A, TW_B };
enum { TW_H2G, TW_G2H, TW_NO_DIR };

/* Classes, as bits: an item has one class and a set of others that are not wrong. */
enum {
	TW_MATCHED = 1,
	TW_MISSING = 2,
	TW_AMBIGUOUS = 4,
	TW_OUTSIDE = 8,
	TW_UNDECODABLE = 16,
};

enum tw_form { TW_SAME, TW_SPLIT, TW_GRO, TW_REGROUP };

#define TW_NEVER INT64_MIN
#define TW_FRAGMENT  1480U /* payload of an IPv4 packet of 1500 bytes */
#define TW_FRAGMENT6 1448U /* of an IPv6 one, in whole words */
/* IP ID of flows that use seven values again and again; 0 would mean that there is none. */
#define TW_REUSED_ID(n) ((uint16_t)(1 + (n) % 7))

/* struct tw_item - one packet at one point, with its truth */
struct tw_item {
	int64_t t;
	int64_t first, last;  /* upstream: when its first and last byte passed downstream */
	struct gc_pkt pkt;
	uint32_t next;
	uint8_t dir, class, other;
	bool arp;
};

struct tw_flow {
	struct gc_path path[2];  /* as seen at A and at B */
	int64_t base[2];         /* latency by direction, without jitter */
	int64_t fifo[2];         /* last arrival downstream by direction */
	int64_t busy_until;      /* last upstream packet of the units so far */
	uint64_t sent[2];        /* stream offset by sender: 0 outside, 1 guest */
	uint64_t acked[2];       /* last acknowledgement sent, by sender */
	uint32_t isn[2], tsbase[2], ack_tick[2], hz[2];
	uint32_t count;          /* datagrams or echo requests so far */
	uint16_t id[2], win[2];
	uint8_t form[2];         /* enum tw_form by direction */
	bool ts, identical, id_reuse, routed, open;
	bool joined[2];          /* frames of many datagrams: downstream, not upstream */
	bool id_by_frame;        /* identifications count frames, not datagrams (Linux) */
	uint32_t gso;            /* datagrams of a frame: payload */
	uint32_t size;           /* of identical datagrams */
};

struct twin {
	const struct gc_opts *o;
	struct gc_rng rng;
	struct gc_cap cap[2];
	struct gc_out truth;
	bool want_truth;
	struct gc_heap heap[2];
	struct tw_item *item;
	uint32_t n_items, free_item, order, strangers;
	uint16_t fragment_id;
	struct tw_flow *flow;
	int64_t end, from_b, to_b; /* of the traffic, and of B's capture */
	uint64_t sent;             /* upstream packets */
};

/* twin.c: items -> files */
/*
 * A packet at @point at @t. It is written when tw_flush() passes its time. The pointer is good
 * until the next call.
 */
struct tw_item *tw_put(struct twin *w, int point, int64_t t, int dir, const struct gc_pkt *pkt);
/* An upstream packet of @f: the flow's next unit comes after it. */
struct tw_item *tw_send(struct twin *w, struct tw_flow *f, int64_t t, int dir,
			const struct gc_pkt *pkt);
bool tw_seen_at(const struct twin *w, int point, int64_t t);
/* Class of a packet without a twin, that would have passed the other point at @t. */
void tw_unmatched(const struct twin *w, struct tw_item *it, int other_point, int64_t t);

/* twinflow.c: what flows send */
void tw_flow_init(struct twin *w, uint64_t number);
void tw_unit(struct twin *w, struct tw_flow *f, int64_t t);
void tw_stranger(struct twin *w, int64_t t);
bool tw_draw_loss(struct twin *w);
/* twinwhole.c: what one point sees whole and the other in pieces */
void tw_frames(struct twin *w, struct tw_flow *f, int dir, int64_t t);
void tw_fragments_once(struct twin *w, struct tw_flow *f, int dir, int64_t t);
/* twintcp.c */
void tw_tcp_unit(struct twin *w, struct tw_flow *f, int64_t t);
/* The packet as it looks at @point; IP ID and TTL are set. */
struct gc_pkt tw_packet(const struct tw_flow *f, int point, int dir);
uint16_t tw_next_id(const struct twin *w, struct tw_flow *f, int sender, uint32_t n);
/* Time at the downstream point of what passed upstream at @t. */
int64_t tw_cross(struct twin *w, struct tw_flow *f, int dir, int64_t t, bool may_reorder);
/*
 * Whether other packets look the same: TW_ALIKE packets are told apart by IP ID, if they have one
 * and all are at both points; of TW_DOUBTFUL packets one is known not to be.
 */
enum tw_likeness { TW_UNIQUE, TW_ALIKE, TW_DOUBTFUL };
/* One packet that crosses unchanged: both items and their truth. */
void tw_single(struct twin *w, struct tw_flow *f, const struct gc_pkt *at_a, int dir, int64_t t,
	       bool lost, enum tw_likeness like);

#endif
