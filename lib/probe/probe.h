/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Active tests, client side: request/response over TCP and UDP, ping, TCP stream.
 *
 * A run gets its specification, a place for live figures and an end; it reads clocks and
 * sockets and returns when the end has come or nothing more can be done. The place may lie in
 * memory shared with another process: one writer, 64-bit words, no pointers.
 */
#ifndef VNS_PROBE_PROBE_H
#define VNS_PROBE_PROBE_H

#include <sys/socket.h>

#include <vnetscope/agent.h>

/* Log-linear: 64 buckets per power of two (error below 0.8 %), to 2^40 ns = 18 minutes. */
#define VNS_PROBE_BUCKETS (64 * 35)

struct vns_probe_rtt {
	uint64_t n;
	int64_t min_ns, max_ns;
	double mean_ns, m2; /* Welford 1962 */
	uint32_t bucket[VNS_PROBE_BUCKETS];
};
void vns_probe_rtt_add(struct vns_probe_rtt *r, int64_t ns);
void vns_probe_rtt_merge(struct vns_probe_rtt *into, const struct vns_probe_rtt *from);
double vns_probe_rtt_stddev(const struct vns_probe_rtt *r);
int64_t vns_probe_rtt_quantile(const struct vns_probe_rtt *r, double q);

struct vns_probe_live {
	uint64_t ops, bytes_tx, bytes_rx, errors;
	struct vns_probe_rtt rtt;
};

/*
 * @end_ns: monotonic; 0 = none. @stop: looked at between operations; @begun: set before the first of them; both may
 * be NULL.
 * @index: which of the load's processes this is, from 0.
 */
struct vns_probe_run {
	const struct vns_load_spec *spec;
	struct vns_probe_live *live;
	int64_t end_ns;
	const volatile bool *stop;
	volatile bool *begun;
	unsigned int index;
};

/* Each runs to its end: 0, or -errno with a sentence. */
int vns_probe_tcp_rr(const struct vns_probe_run *run, struct vns_err *err);
int vns_probe_udp_rr(const struct vns_probe_run *run, struct vns_err *err);
int vns_probe_ping(const struct vns_probe_run *run, struct vns_err *err);
int vns_probe_tcp_stream(const struct vns_probe_run *run, struct vns_err *err);

#define VNS_PROBE_RETRY_NS (200 * VNS_NSEC_PER_MSEC) /* a far end that is away is tried again */

/*
 * One TCP connection after the other until the run is over: @connect gives a socket or -errno, @once does one
 * operation with @size bytes that do not repeat and counts what it moved; false: the connection is of no
 * use any more. @interval_ns: between operations, 0: none. Failures are counted.
 */
int vns_probe_tcp(const struct vns_probe_run *run, size_t size, double interval_ns,
		  int (*connect)(const struct vns_load_spec *spec),
		  bool (*once)(const struct vns_probe_run *run, int fd, uint8_t *buf, size_t size),
		  struct vns_err *err);

/* Helpers that loads use too. Asked before every operation, the first included. */
bool vns_probe_over(const struct vns_probe_run *run);
/* Socket address of @a and @port. Return: its length. */
socklen_t vns_probe_sockaddr(const struct vns_addr *a, uint16_t port,
			     struct sockaddr_storage *out);
/* Bytes that do not repeat, from a seed. */
void vns_probe_fill(uint8_t *to, size_t n, uint64_t seed);

/* Absolute schedule: operation k is due at start + k / rate, so that no error adds up. */
struct vns_probe_pace {
	int64_t next_ns;
	double interval_ns; /* 0: no pacing */
	double fraction;
};
void vns_probe_pace_init(struct vns_probe_pace *p, double interval_ns);
/* Sleep until the next operation is due. After a stall of a second the schedule starts anew. */
void vns_probe_pace_wait(struct vns_probe_pace *p);

#endif
