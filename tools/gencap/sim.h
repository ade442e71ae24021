/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The simulated world of rtt mode: flows between clients and servers, one capture point
 * between them. Leg 0 lies between client and capture point, leg 1 between capture point
 * and server.
 *
 * Stream offsets are 64 bits and start at 0 with the SYN; data starts at 1. "Tick" is the count
 * of a host's timestamp clock since the start of the simulation (never 0); TSval = tsbase + tick.
 */
#ifndef VNS_GENCAP_SIM_H
#define VNS_GENCAP_SIM_H

#include "gencap.h"

/* Segments in flight at most; the truth's memory of ticks must be longer. */
#define SIM_WINDOW 20
#define SIM_TICKS  32
#define SIM_HOLES  4

enum sim_event {
	SIM_OPEN,    /* the next flow starts */
	SIM_CAPTURE, /* a segment passes the capture point */
	SIM_ARRIVE,  /* a segment reaches its receiver */
	SIM_APP,     /* an application writes or closes */
	SIM_DELACK,
	SIM_RTO,
};

enum sim_kind { SIM_MUST, SIM_SHARED, SIM_BEHIND, SIM_LATE };

/* struct sim_tick - a tick that was seen on a countable segment at the capture point */
struct sim_tick {
	int64_t t;          /* as stamped */
	uint32_t tick;
	uint8_t kind;
	bool echoed;
};

/* struct sim_side - one host's end of a flow, and what the capture point saw of it */
struct sim_side {
	uint64_t snd_una, snd_nxt, app_end, fin_at;
	uint64_t rcv_nxt, rcv_wup;      /* rcv_wup: RFC 7323's Last.ACK.sent */
	uint64_t recover;
	uint64_t hole[SIM_HOLES][2];    /* received beyond rcv_nxt */
	int64_t delack_at, rto_at;      /* 0: not running */
	int64_t pre_last, post_last;    /* FIFO of the legs: last at the capture point, last here */
	uint32_t isn, tsbase, hz, phase_ns;
	uint32_t ts_recent, ts_trip;    /* peer's tick; its way from the capture point to here */
	uint32_t acks_sent;
	/* with --sack: what the next ACK tells, as in struct gc_event */
	int64_t raised_seen, block_seen;
	uint64_t block_end;
	/* the capture point's view of the ACKs this side sent */
	uint64_t hi_ack;
	uint8_t dupacks, backoff;
	bool delack_armed, rto_armed;
	uint16_t ip_id;
	/* the capture point's view of the segments this side sent */
	uint32_t n_ticks, hi_tick, hi_ack_tick, hi_echoed;
	uint64_t packets, samples, must;
	int64_t min_must;
};

enum sim_turn { TURN_CLIENT, TURN_REQUEST, TURN_SERVER, TURN_RESPONSE, TURN_CLOSED };

struct sim_flow {
	struct gc_path path;
	struct sim_side side[2];
	int64_t owd[2];       /* one way of each leg, without jitter */
	int64_t think, service;
	uint32_t request, response, transactions;
	uint32_t refs;        /* events in the queue */
	uint32_t planned, written;
	uint8_t turn, mode;
	int8_t only;          /* asymmetric capture: the side that is seen; -1: both */
	bool ts;
	struct sim_tick tick[2][SIM_TICKS]; /* by sender; behind what every event touches */
};

struct sim {
	const struct gc_opts *o;
	struct gc_rng rng;
	struct gc_wheel *wheel;
	struct gc_cap cap;
	struct gc_out truth;
	bool want_truth;
	struct sim_flow *flow;
	uint32_t flow_size, n_free, *free_flow;
	uint64_t opened, live, planned, done_planned, done_written, samples, tick_overflow;
	int64_t horizon, open_gap;
};

/* tcp.c: the hosts */
void sim_segment(struct sim *s, uint32_t f, int side, int64_t t, uint64_t off, uint32_t len,
		 uint8_t flags);
void sim_arrive(struct sim *s, const struct gc_event *e);
void sim_timer(struct sim *s, const struct gc_event *e);
void sim_app(struct sim *s, const struct gc_event *e);
void sim_later(struct sim *s, uint32_t f, int side, int64_t t, enum sim_event kind);
uint32_t sim_tick(const struct sim_side *h, int64_t t);
/* point.c: the capture point and its truth */
void sim_capture(struct sim *s, const struct gc_event *e);
void sim_truth_head(struct sim *s);
void sim_truth_flow(struct sim *s, const struct sim_flow *f);
/* flows.c: flows come and go */
void sim_open(struct sim *s, int64_t t);
void sim_close(struct sim *s, uint32_t f);

static inline uint32_t sim_mss(const struct sim_flow *f)
{
	return (f->path.v6 ? 1440U : 1460U) - (f->ts ? 12U : 0U);
}

#endif
