// SPDX-License-Identifier: GPL-3.0-or-later
/* What the tests of passive TCP RTT share; see rtt_bench.h. */
#include "rtt_bench.h"

struct seen seen[MAX_SEEN];
size_t n_seen;
struct vns_rtt *engine;
static unsigned int kept;

static void on_sample(void *ctx, const struct vns_rtt_sample *s)
{
	assert_ptr_equal(ctx, seen);
	if (!(kept & 1u << s->kind))
		return;
	assert_true(n_seen < MAX_SEEN);
	seen[n_seen++] = (struct seen){ s->rtt_ns, s->id, s->kind, s->dir };
}

void start_engine(struct vns_rtt_opts opts, unsigned int kinds)
{
	vns_rtt_free(engine);
	opts.on_sample = on_sample;
	opts.ctx = seen;
	n_seen = 0;
	kept = kinds;
	assert_int_equal(vns_rtt_new(&engine, &opts, NULL), 0);
}

int teardown(void **state)
{
	(void)state;
	vns_rtt_free(engine);
	engine = NULL;
	return 0;
}

struct vns_packet segment_of(unsigned int flow, int64_t at_us, int dir, uint8_t flags, uint32_t len)
{
	struct vns_packet p = { .time_ns = at_us * 1000, .verdict = VNS_PKT_OK, .proto = VNS_PROTO_TCP,
				.dir = (uint8_t)dir, .tcp_flags = flags, .payload_len = len };

	p.key.addr[0].b[15] = 1;
	p.key.addr[1].b[15] = 2;
	p.key.port[0] = (uint16_t)(flow & 0xffff);
	p.key.port[1] = 80;
	p.key.addr[0].b[12] = (uint8_t)(flow >> 16);
	p.key.ipproto = 6;
	p.key.family = 6;
	p.flow_hash = flow * UINT64_C(0x9e3779b97f4a7c15);
	return p;
}

void feed_packet(const struct vns_packet *p)
{
	assert_int_equal(vns_rtt_feed(engine, p, 1), 0);
}

void expect_sample(size_t i, enum vns_rtt_kind kind, int dir, uint32_t id, int64_t rtt_us)
{
	assert_true(i < n_seen);
	assert_int_equal(seen[i].kind, kind);
	assert_int_equal(seen[i].dir, dir);
	assert_int_equal(seen[i].id, id);
	assert_int_equal(seen[i].rtt_ns, rtt_us * 1000);
}
