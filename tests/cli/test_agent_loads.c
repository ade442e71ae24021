// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Loads of the real vnetscope-agent at the far end of pipes, without privileges. argv[1]: the agent.
 * Truth: what an echo server or a sink of the same agent has got, and the specification.
 */
#include <errno.h>

#include "tests/cli/agent_peer.h"

#define MOST_STRETCHES 40
#define MOST_RUNS 5

/* Of @hz operations a second, did it make as many as were due in the stretch since @before, but for a tenth and two? */
static bool kept_rate(const struct vns_load_stats *before, const struct vns_load_stats *st, double hz)
{
	return (double)(st->ops - before->ops) >= 0.9 * hz * (double)(st->elapsed_ns - before->elapsed_ns) / 1e9 - 2;
}

/*
 * Run a load until it has made @ops operations and, in a stretch of @ms, those of its rate, @hz (0: it has none). One
 * that does not keep its rate never gets there; one that a busy machine gives no time does so later. More than
 * that since its start it may never make.
 */
static struct vns_load_stats run_load(struct peer *p, struct vns_load_spec spec, int ms, uint64_t ops, double hz)
{
	struct vns_load_stats st = { 0 }, before;
	struct vns_err err = { "" };
	int stretches = 0;
	uint32_t id;

	if (vns_agent_load_start(p->a, &spec, &id, &err) < 0)
		fail_msg("%s", err.text);
	do {
		if (stretches++ == MOST_STRETCHES)
			fail_msg("%llu operations in %.3f s, of %g a second", (unsigned long long)st.ops,
				 (double)st.elapsed_ns / 1e9, hz);
		before = st;
		wait_ms(p, ms);
		assert_int_equal(vns_agent_load_stats(p->a, id, &st, &err), 0);
	} while (st.ops < ops || !kept_rate(&before, &st, hz));
	assert_int_equal(vns_agent_load_stop(p->a, id, &st, &err), 0);
	if (hz > 0 && (double)st.ops > hz * (double)st.elapsed_ns / 1e9 + 2)
		fail_msg("%llu operations in %.3f s, asked for %g a second", (unsigned long long)st.ops,
			 (double)st.elapsed_ns / 1e9, hz);
	assert_int_equal(vns_agent_load_stats(p->a, id, &(struct vns_load_stats){ 0 }, &err), -ENOENT);
	return st;
}

/* An answer after more than a second counts as lost: on a machine that stood still for so long the next run counts. */
static struct vns_load_stats run_without_errors(struct peer *p, struct vns_load_spec spec, int ms, uint64_t ops, double hz)
{
	struct vns_load_stats st;

	for (int i = 0; i < MOST_RUNS; i++) {
		st = run_load(p, spec, ms, ops, hz);
		if (!st.errors)
			return st;
	}
	fail_msg("%llu errors in %llu operations", (unsigned long long)st.errors, (unsigned long long)st.ops);
	return st;
}

/* On a port that nobody else has: other copies of this test may run beside it, and other programs. */
static uint16_t start_server(struct peer *p, uint32_t kind, uint32_t *id)
{
	struct vns_load_spec server = { .kind = kind };
	struct vns_err err = { "" };

	for (int i = 0; i < 200; i++) {
		server.port = (uint16_t)(20000 + (getpid() * 31 + i) % 10000);
		if (vns_agent_load_start(p->a, &server, id, &err) == 0)
			return server.port;
	}
	fail_msg("no port: %s", err.text);
	return 0;
}

static void rr_loads(void **state)
{
	struct peer *p = *state;
	struct vns_load_spec s = { .kind = VNS_LOAD_TCP_RR, .size = 100, .rate_hz = 200 };
	struct vns_load_stats st, server;
	struct vns_err err;
	uint32_t echo;

	s.port = start_server(p, VNS_LOAD_ECHO_SERVER, &echo);
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(vns_addr_parse(v6 ? "::1" : "127.0.0.1", &s.peer), 0);
		s.kind = VNS_LOAD_TCP_RR;
		st = run_without_errors(p, s, 500, 50, 200);
		assert_int_equal(st.bytes_rx, st.rtt_n * 100);
		assert_true(st.rtt_min_ns > 0 && st.rtt_min_ns <= st.rtt_p50_ns);
		assert_true(st.rtt_p50_ns <= st.rtt_p99_ns && st.rtt_p99_ns <= st.rtt_max_ns);
		s.kind = VNS_LOAD_UDP_RR;
		run_without_errors(p, s, 500, 50, 200);
	}
	assert_int_equal(vns_agent_load_stop(p->a, echo, &server, &err), 0);
	assert_true(server.bytes_rx >= 4 * 50 * 100);
	assert_int_equal(server.bytes_rx, server.bytes_tx);
}

static void big_requests(void **state)
{
	struct peer *p = *state;
	struct vns_load_spec s = { .kind = VNS_LOAD_TCP_RR, .size = 1 << 20 };
	struct vns_load_stats st;
	struct vns_err err;
	uint32_t echo;

	s.port = start_server(p, VNS_LOAD_ECHO_SERVER, &echo);
	vns_addr_parse("127.0.0.1", &s.peer);
	st = run_without_errors(p, s, 400, 2, 0);
	assert_true(st.bytes_rx >= st.ops << 20);
	assert_int_equal(vns_agent_load_stop(p->a, echo, NULL, &err), 0);
}

static void cpu_load_keeps_its_share(void **state)
{
	struct peer *p = *state;
	struct vns_load_spec s = { .kind = VNS_LOAD_MD5, .percent = 25, .size = 1 << 16 };
	struct vns_load_stats st = run_load(p, s, 1000, 3, 0);
	double share = (double)st.cpu_ns / (double)st.elapsed_ns;

	if (share < 0.01 || share > 0.40) /* a crowded machine gives less */
		fail_msg("asked for 25 %% of a CPU, got %.0f %%", 100 * share);
}

static void video_keeps_its_rate(void **state)
{
	struct peer *p = *state;
	struct vns_load_spec s = { .kind = VNS_LOAD_VIDEO };
	struct vns_load_stats st, got;
	struct vns_err err;
	uint32_t id;
	double hz = 1450e3 / (1316 * 8); /* 137.7 packets a second */

	vns_addr_parse("127.0.0.1", &s.peer);
	s.port = start_server(p, VNS_LOAD_UDP_SINK, &id);
	st = run_load(p, s, 1500, 100, hz);
	do { /* what is under way */
		wait_ms(p, 10);
		assert_int_equal(vns_agent_load_stats(p->a, id, &got, &err), 0);
	} while (got.ops < st.ops);
	assert_int_equal(vns_agent_load_stop(p->a, id, &got, &err), 0);
	assert_int_equal(got.ops, st.ops);
	assert_int_equal(got.bytes_rx, st.bytes_tx);
}

/* Whatever its receiver has got, a load that was stopped amid its work has counted. */
static void stopped_loads_have_counted(void **state)
{
	struct peer *p = *state;
	struct vns_load_spec s = { .kind = VNS_LOAD_VIDEO, .rate_bps = 200000000 };
	struct vns_load_stats st, got = { 0 };
	struct vns_err err;
	uint64_t sent = 0, before;
	uint32_t id, video;

	vns_addr_parse("127.0.0.1", &s.peer);
	s.port = start_server(p, VNS_LOAD_UDP_SINK, &id);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(vns_agent_load_start(p->a, &s, &video, &err), 0);
		wait_ms(p, 1);
		assert_int_equal(vns_agent_load_stop(p->a, video, &st, &err), 0);
		sent += st.ops;
	}
	do { /* what it has not read yet */
		before = got.ops;
		wait_ms(p, 20);
		assert_int_equal(vns_agent_load_stats(p->a, id, &got, &err), 0);
	} while (got.ops != before || !got.ops);
	assert_int_equal(vns_agent_load_stop(p->a, id, &got, &err), 0);
	assert_true(got.ops <= sent);
}

/* A second server on a port is refused at once, in words, and takes nothing of what the first one is sent. */
static void taken_port_is_refused(void **state)
{
	struct vns_load_spec video = { .kind = VNS_LOAD_VIDEO, .rate_bps = 20000000 };
	struct vns_load_spec second = { .kind = VNS_LOAD_UDP_SINK };
	struct peer *p = *state;
	struct vns_load_stats st, got;
	struct vns_err err;
	uint32_t id, none, first;

	vns_addr_parse("127.0.0.1", &video.peer);
	video.port = second.port = start_server(p, VNS_LOAD_UDP_SINK, &first);
	assert_int_equal(vns_agent_load_start(p->a, &video, &id, &err), 0);
	for (int i = 0; i < 100; i++) {
		err.text[0] = '\0';
		assert_int_equal(vns_agent_load_start(p->a, &second, &none, &err), -EIO);
		assert_non_null(strstr(err.text, "Address already in use"));
	}
	assert_int_equal(vns_agent_load_stop(p->a, id, &st, &err), 0);
	do {
		wait_ms(p, 10);
		assert_int_equal(vns_agent_load_stats(p->a, first, &got, &err), 0);
	} while (got.ops < st.ops);
	assert_int_equal(got.ops, st.ops);
}

static void bad_loads_are_refused(void **state)
{
	static const struct vns_load_spec bad[] = {
		{ .kind = 0 }, { .kind = 999 }, { .kind = VNS_LOAD_TCP_RR, .port = 1 },
		{ .kind = VNS_LOAD_MD5, .percent = 101 }, { .kind = VNS_LOAD_MD5, .procs = 1000 },
		{ .kind = VNS_LOAD_MD5, .rate_hz = -1 }, { .kind = VNS_LOAD_ECHO_SERVER },
		{ .kind = VNS_LOAD_MD5, .duration_ns = -1 },
	};
	struct peer *p = *state;
	struct vns_exchange x;
	struct vns_err err;
	uint32_t id;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_int_equal(vns_agent_load_start(p->a, &bad[i], &id, &err), -EINVAL);
		assert_non_null(strstr(err.text, "agent test: "));
	}
	assert_int_equal(vns_agent_exchange(p->a, &x, &err), 0); /* and the session lives */
}

static void take_note(void *ctx, const char *sentence)
{
	struct peer *p = ctx;

	snprintf(p->note, sizeof(p->note), "%s", sentence);
}

static void dead_load_is_reported(void **state)
{
	struct peer *p = *state;
	struct vns_agent_sink sink = { .note = take_note, .ctx = p };
	struct vns_load_spec s = { .kind = VNS_LOAD_MD5 };
	char *kill_it[] = { "/bin/sh", "-c", "kill -9 $(cat /proc/$PPID/task/$PPID/children | "
			    "tr ' ' '\\n' | head -1)", NULL };
	struct vns_err err;
	uint32_t id;
	int status;

	vns_agent_set_sink(p->a, &sink);
	assert_int_equal(vns_agent_load_start(p->a, &s, &id, &err), 0);
	assert_int_equal(vns_agent_exec(p->a, kill_it, NULL, NULL, PATIENCE_MS, &status, &err), 0);
	for (int i = 0; i < PATIENCE_MS / 20 && !p->note[0]; i++)
		wait_ms(p, 20);
	assert_non_null(strstr(p->note, "md5"));
	assert_non_null(strstr(p->note, "signal 9"));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_AGENT(rr_loads),
		WITH_AGENT(big_requests),
		WITH_AGENT(cpu_load_keeps_its_share),
		WITH_AGENT(video_keeps_its_rate),
		WITH_AGENT(stopped_loads_have_counted),
		WITH_AGENT(taken_port_is_refused),
		WITH_AGENT(bad_loads_are_refused),
		WITH_AGENT(dead_load_is_reported),
	};

	if (argc < 2) {
		fprintf(stderr, "usage: test_agent_loads AGENT\n");
		return 2;
	}
	agent_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
