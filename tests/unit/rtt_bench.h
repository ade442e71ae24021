/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An engine of passive TCP RTT, segments made by hand to feed it, and the samples that it gave. */
#ifndef VNS_TEST_RTT_BENCH_H
#define VNS_TEST_RTT_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vnetscope/rtt.h>

#define SYN VNS_TCP_SYN
#define FIN VNS_TCP_FIN
#define RST VNS_TCP_RST
#define ACK VNS_TCP_ACK

#define MAX_SEEN 100000

struct seen {
	int64_t rtt_ns;
	uint32_t id;
	uint8_t kind, dir;
};

extern struct seen seen[MAX_SEEN];
extern size_t n_seen;
extern struct vns_rtt *engine;

/* A new engine in place of the last one; samples of @kinds, bits of 1 << enum vns_rtt_kind, are kept. */
void start_engine(struct vns_rtt_opts opts, unsigned int kinds);
int teardown(void **state);

/* A segment without options of a flow between two addresses; times in us. */
struct vns_packet segment_of(unsigned int flow, int64_t at_us, int dir, uint8_t flags, uint32_t len);
void feed_packet(const struct vns_packet *p);

/* Sample @i is of this kind, direction, id and time. */
void expect_sample(size_t i, enum vns_rtt_kind kind, int dir, uint32_t id, int64_t rtt_us);

#endif
