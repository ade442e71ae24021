/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * vns-gencap: captures whose truth is known. Shares no code and no header with the library:
 * what it writes judges what the library reads.
 *
 * Times are int64_t ns since the start of the simulation ("sim time"); a capture file's
 * stamps add the epoch of --start.
 */
#ifndef VNS_GENCAP_H
#define VNS_GENCAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GC_SEC  INT64_C(1000000000)
#define GC_MSEC INT64_C(1000000)
#define GC_USEC INT64_C(1000)

enum { GC_TCP = 6, GC_UDP = 17, GC_ICMP = 1, GC_ICMP6 = 58 };
enum { GC_FIN = 1, GC_SYN = 2, GC_RST = 4, GC_PSH = 8, GC_ACK = 16 };

/* Exit codes of the project: usage, environment. */
enum { GC_EXIT_USAGE = 2, GC_EXIT_ENV = 3 };

/* ---- random numbers: splitmix64 (Steele, Lea, Flood 2014), one state, replayable ---- */
struct gc_rng {
	uint64_t state;
};

static inline uint64_t gc_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t gc_rand(struct gc_rng *r)
{
	return gc_mix(r->state += 0x9e3779b97f4a7c15ULL);
}

static inline double gc_unit(struct gc_rng *r)
{
	return (double)(gc_rand(r) >> 11) * 0x1p-53;
}

static inline uint32_t gc_below(struct gc_rng *r, uint32_t n)
{
	return (uint32_t)(((gc_rand(r) >> 32) * n) >> 32);
}

static inline bool gc_pct(struct gc_rng *r, double pct)
{
	return pct > 0 && gc_unit(r) * 100 < pct;
}

/* Right-skewed, bounded: mean/4 of @scale, at most @scale. Cheaper than a logarithm. */
static inline int64_t gc_jitter(struct gc_rng *r, int64_t scale)
{
	double u = gc_unit(r);

	return (int64_t)(u * u * u * (double)scale);
}

double gc_exponential(struct gc_rng *r, double mean);
double gc_log_uniform(struct gc_rng *r, double lo, double hi);

/* ---- options ---- */
struct gc_opts {
	const char *out;       /* rtt mode: capture */
	const char *host, *guest; /* twin mode: captures */
	const char *truth;
	uint64_t seed, flows, packets;
	uint32_t snap;
	bool micro, pcapng, zero_checksum, sack;
	double duration_s;
	int64_t start_s;
	double ipv6, vlan, no_ts, one_way, loss, reorder, udp, icmp; /* percent */
	double rtt_left_us[2], rtt_right_us[2];                      /* log-uniform between */
	/* twin mode */
	int64_t offset_ns;
	double drift_ppm, dup, retrans, identical, foreign, cut_s;
	const char *offload;   /* mix|same|split|gro|regroup */
	bool id_zero;
	double fragments, one_sided, frames;
	const char *frame_kind; /* mix|cut|joined */
	const char *nat;       /* none|masquerade|dnat */
	int64_t step_ns;       /* of the guest's clock, in the middle */
};
int gc_parse(struct gc_opts *o, int argc, char **argv, bool twin);
void gc_usage(FILE *to, bool twin);
/* Message on stderr, then exit with @code. */
_Noreturn void gc_die(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- buffered output; any failure to write ends the program with one sentence ---- */
struct gc_out {
	int fd;
	const char *path;
	uint8_t *buf;
	size_t used;
};
#define GC_OUT_SIZE (1U << 20)
/* Largest piece that gc_out_room() can promise. */
#define GC_OUT_PIECE (1U << 17)
void gc_out_open(struct gc_out *o, const char *path);
void gc_out_flush(struct gc_out *o);
void gc_out_close(struct gc_out *o);
/* Pointer to at least GC_OUT_PIECE free bytes; advance with o->used += n. */
static inline uint8_t *gc_out_room(struct gc_out *o)
{
	if (GC_OUT_SIZE - o->used < GC_OUT_PIECE)
		gc_out_flush(o);
	return o->buf + o->used;
}

/* ---- one frame ---- */
/* struct gc_path - what all packets of a flow share; [0] is the client, [1] the server */
struct gc_path {
	uint64_t key;        /* seed of the payload bytes */
	uint8_t addr[2][16]; /* IPv4 in the first four bytes */
	uint16_t port[2];
	uint16_t vlan;       /* 0: untagged */
	uint8_t proto;
	bool v6, pad, zero_checksum;
	bool blank;          /* payload of zeros */
};

struct gc_pkt {
	const struct gc_path *path;
	uint8_t from;        /* sender: 0 client, 1 server */
	uint8_t flags, ttl;
	bool ts, df;
	uint16_t ip_id, win, mss; /* mss != 0: SYN options */
	uint32_t seq, ack, tsval, tsecr;
	uint32_t sack[2];    /* first block; equal: none */
	uint8_t icmp_type;
	uint16_t icmp_id, icmp_seq;
	uint64_t off;        /* place of the payload in the flow's byte stream */
	uint32_t len;        /* payload; of a fragment: what IP carries of the datagram */
	uint32_t whole;      /* fragment of UDP: payload of the datagram; else 0 */
	uint32_t frag_off;   /* bytes of the datagram, header included, before this fragment */
};
/*
 * Build the frame into @buf (room for snap + 160 bytes), payload only as far as @snap asks.
 * Return: length on the wire.
 */
uint32_t gc_build(const struct gc_pkt *p, uint8_t *buf, uint32_t snap);
uint32_t gc_build_arp(const struct gc_path *path, uint8_t *buf);

/* ---- capture files ---- */
struct gc_cap {
	struct gc_out out;
	uint32_t snap;
	bool micro, pcapng;
	int64_t start_ns;
	uint64_t packets, bytes;
};
void gc_cap_open(struct gc_cap *c, const char *path, const struct gc_opts *o);
/* Time as the file can hold it: whole microseconds in a microsecond file. */
static inline int64_t gc_cap_round(const struct gc_cap *c, int64_t t)
{
	return c->micro ? t - t % GC_USEC : t;
}
/* Space for a frame: build there, then gc_cap_commit() with its time and wire length. */
uint8_t *gc_cap_room(struct gc_cap *c);
void gc_cap_commit(struct gc_cap *c, int64_t t, uint32_t wire_len);
void gc_cap_close(struct gc_cap *c);

/* ---- truth file: CSV ---- */
void gc_csv_text(struct gc_out *o, const char *text);
void gc_csv_i64(struct gc_out *o, int64_t v, char end);
void gc_csv_addr(struct gc_out *o, const struct gc_path *p, int who);

/* ---- heap of ids by time; ties by order ---- */
struct gc_heap_entry {
	int64_t t;
	uint32_t order, id;
};
struct gc_heap {
	struct gc_heap_entry *entry;
	size_t n, size;
};
void gc_heap_push(struct gc_heap *h, int64_t t, uint32_t order, uint32_t id);
uint32_t gc_heap_pop(struct gc_heap *h); /* of a heap that is not empty */

/* reallocarray() that ends the program when there is no memory. */
void *gc_grow(void *p, size_t n, size_t size);

/* ---- event queue: a timing wheel, with a heap for the slot being played ---- */
struct gc_event {
	int64_t t;
	int64_t sent;         /* segment: sim time at its sender */
	uint64_t off, ack;    /* stream offsets, not sequence numbers */
	uint32_t next, flow, order;
	uint32_t tick, echo;  /* the sender's clock count, and the one it echoes */
	uint32_t trip;        /* ns from capture point to echoing host of the echoed segment */
	uint16_t len;
	uint8_t kind, side, flags;
	bool lost;            /* dies behind the capture point */
	/* with --sack: */
	int64_t seen;         /* when this segment passed the capture point, as stamped */
	int64_t raised_seen;  /* ACK: the same of the segment that raised it; -1: it filled a hole */
	uint64_t block[2];    /* first SACK block; empty: none */
	uint64_t block_end;   /* behind the segment that caused it, and when that was seen */
	int64_t block_seen;
};

struct gc_wheel;
struct gc_wheel *gc_wheel_new(int64_t slot_ns);
void gc_wheel_free(struct gc_wheel *w);
/* Where gc_event.flow points: an optimisation, may be left out. */
void gc_wheel_fetch_ahead(struct gc_wheel *w, const void *flows, size_t size);
/* A blank event, to be filled and given to gc_wheel_put(). Invalidates event pointers. */
uint32_t gc_wheel_alloc(struct gc_wheel *w);
struct gc_event *gc_wheel_event(struct gc_wheel *w, uint32_t id);
void gc_wheel_put(struct gc_wheel *w, uint32_t id);
void gc_wheel_release(struct gc_wheel *w, uint32_t id);
/* The earliest event leaves the queue. Return: its id, UINT32_MAX when there is none. */
uint32_t gc_wheel_pop(struct gc_wheel *w);

int gc_run_rtt(const struct gc_opts *o);
int gc_run_twin(const struct gc_opts *o);

#endif
