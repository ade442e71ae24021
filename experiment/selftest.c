// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The self-test's runs: a lab of one guest and a client -> rows of estimates beside the truth.
 *
 * Quiet: the offset as it is. Then known errors, one after the other: the guest's clock is made to
 * run faster (adjtimex), to jump (ADJ_SETOFFSET) in the middle of a measurement, and every frame to the
 * guest - none from it - is held for a known time between bridge and tap (relay.c), where neither
 * the shared page nor the agent's channel passes. Namespaces share the host's clock: their truth
 * is 0, and only the path can be given an error.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "experiment/own_lab.h"
#include "experiment/selftest_rows.h"
#include "target/target.h"

#define RATE_PPM    100.0
#define STEP_NS     (-5 * VNS_NSEC_PER_MSEC)
#define DELAY_NS    (3 * VNS_NSEC_PER_MSEC) /* far above what the path itself takes */
#define COUNT       60
#define INTERVAL_NS (20 * VNS_NSEC_PER_MSEC)
#define RATE_NS     (3 * VNS_NSEC_PER_SEC)  /* of the measurement: the longer, the better a rate is known */
#define STEP_RUN_NS (3 * VNS_NSEC_PER_SEC)
#define SETTLE_NS   (1200 * VNS_NSEC_PER_MSEC) /* a frequency holds from the next second on */
#define BOOT_NS     (2 * VNS_NSEC_PER_SEC)  /* the guest's TSC is calibrated again 1.8 s after its start */
#define TRAFFIC_NS  (3 * VNS_NSEC_PER_SEC)
#define BASE_NS     (2 * VNS_NSEC_PER_SEC)  /* of traffic through a relay that holds nothing */
#define ECHO_PORT   7007
#define RR_HZ       100
#define RR_BYTES    64
#define EXEC_MS     10000

struct selftest {
	struct vns_selftest_result *out;
	struct own_lab own;
	struct vns_target *vm, *client;
	struct vns_host_point bridge; /* the host's own packets to the guest are seen there */
	struct vns_host_point path[2]; /* uplink and tap: the client's */
	bool own_clock;
};

static void skip(struct vns_selftest_result *out, const char *sentence)
{
	size_t have = strlen(out->skipped);

	snprintf(out->skipped + have, sizeof(out->skipped) - have, "%s%s", have ? " " : "", sentence);
}

static int open_targets(struct selftest *t, struct vns_err *err)
{
	char spec[80];
	int code;

	snprintf(spec, sizeof(spec), "lab:%s/%s", t->own.lab.name, t->own.lab.guest[0].name);
	code = vns_target_open(&t->vm, spec, t->own.opts->agent_path, err);
	if (code)
		return code;
	snprintf(spec, sizeof(spec), "lab:%s/client", t->own.lab.name);
	code = vns_target_open(&t->client, spec, t->own.opts->agent_path, err);
	for (size_t i = 0; i < t->vm->n_point && !code; i++) {
		if (t->vm->point[i].kind == VNS_AT_BRIDGE)
			t->bridge = t->vm->point[i];
		if (t->vm->point[i].kind == VNS_AT_UPLINK)
			t->path[0] = t->vm->point[i];
		if (t->vm->point[i].kind == VNS_AT_TAP)
			t->path[1] = t->vm->point[i];
	}
	if (!code && (!t->bridge.ifname[0] || !t->path[0].ifname[0] || !t->path[1].ifname[0]))
		code = vns_err_set(err, -ENODEV, "the lab's uplink, bridge or tap was not found");
	return code;
}

/* Truth first, then the modes that are tested against it, all in one span. */
static int drift_run(struct selftest *t, int64_t duration_ns, struct selftest_run *run,
		     struct vns_err *err)
{
	struct vns_subject s = vns_target_subject(t->vm);
	struct vns_drift_opts o = { .n_mode = 3, .count = COUNT, .interval_ns = INTERVAL_NS,
				    .duration_ns = duration_ns, .stop = t->own.opts->interrupted };
	int code;

	o.mode[0] = t->own_clock ? VNS_CLOCK_SHM : VNS_CLOCK_SAME;
	o.mode[1] = VNS_CLOCK_CHANNEL;
	o.mode[2] = VNS_CLOCK_EXCHANGE;
	s.point = &t->bridge; /* so that what is between it and the guest is on the exchanges' path */
	s.n_point = 1;
	*run = (struct selftest_run){ .n = 0 };
	code = vns_measure_drift(&s, &o, run->r, err);
	if (!code)
		run->n = o.n_mode;
	return code;
}

/* In the guest: adjust its clock by @what, after @delay_s in the background. */
static int adjust(struct selftest *t, const char *what, int delay_s, struct vns_err *err)
{
	char command[160];
	char *argv[] = { "/bin/sh", "-c", command, NULL };
	int status = 0, code;

	if (delay_s > 0)
		snprintf(command, sizeof(command),
			 "(sleep %d; /init --adjust-clock %s) >/dev/null 2>&1 &", delay_s, what);
	else
		snprintf(command, sizeof(command), "/init --adjust-clock %s", what);
	code = vns_agent_exec(t->vm->agent, argv, NULL, NULL, EXEC_MS, &status, err);
	if (!code && status)
		code = vns_err_set(err, -EPROTO, "the guest's clock could not be adjusted (status %d)",
				   status);
	return code;
}

static int clock_errors(struct selftest *t, const struct selftest_run *quiet, struct vns_err *err)
{
	struct selftest_run run = { .n = 0 };
	char what[64];
	int code;

	own_lab_say(&t->own, "Making the guest's clock run 100 ppm faster");
	snprintf(what, sizeof(what), "ppm=%g", RATE_PPM);
	code = adjust(t, what, 0, err);
	if (code)
		return code;
	vns_sleep_ns(SETTLE_NS);
	code = drift_run(t, RATE_NS, &run, err);
	if (code)
		return code;
	selftest_rates(t->out, quiet, &run, RATE_PPM);
	selftest_run_fini(&run);
	if (own_lab_stopped(&t->own))
		return 0;
	own_lab_say(&t->own, "Setting the guest's clock back by 5 ms in the middle of a measurement");
	snprintf(what, sizeof(what), "step=%lld", (long long)STEP_NS);
	code = adjust(t, what, 1, err);
	if (!code)
		code = drift_run(t, STEP_RUN_NS, &run, err);
	if (!code)
		selftest_steps(t->out, &run, (double)STEP_NS);
	selftest_run_fini(&run);
	return code;
}

/* Requests of the client that a vo run sees. */
static int vo_with_requests(struct selftest *t, int64_t duration_ns, struct vns_vo_result *vo,
			    struct vns_err *err)
{
	const struct vns_load_spec echo = { .kind = VNS_LOAD_ECHO_SERVER, .port = ECHO_PORT };
	struct vns_load_spec rr = { .kind = VNS_LOAD_TCP_RR, .port = ECHO_PORT, .size = RR_BYTES,
				    .rate_hz = RR_HZ };
	struct vns_vo_live_opts o = { .duration_ns = duration_ns, .stop = t->own.opts->interrupted };
	struct vns_subject s = vns_target_subject(t->vm);
	struct vns_load_stats st = { 0 };
	uint32_t server, client;
	int code = vns_addr_parse(t->own.lab.guest[0].ip, &rr.peer) ?
			   vns_err_set(err, -EINVAL, "the lab's guest has no address") :
			   vns_agent_load_start(t->vm->agent, &echo, &server, err);

	if (!code)
		code = vns_agent_load_start(t->client->agent, &rr, &client, err);
	if (code)
		return code;
	s.point = t->path;
	s.n_point = 2;
	code = vns_measure_vo_live(&s, 1, &o, vo, err);
	vns_agent_load_stop(t->client->agent, client, &st, NULL);
	vns_agent_load_stop(t->vm->agent, server, NULL, NULL);
	return code;
}

/* The same path, the relay in it too, without the delay. */
static int path_undelayed(struct selftest *t, struct vns_vo_result *vo, struct vns_err *err)
{
	struct vns_relay *relay = NULL;
	int code;

	own_lab_say(&t->own, "Measuring the path through the relay, nothing held");
	code = vns_relay_open(&relay, t->vm->host_netns_fd, t->bridge.ifname, t->path[1].ifname, 0, err);
	if (!code)
		code = vo_with_requests(t, BASE_NS, vo, err);
	vns_relay_close(relay, NULL);
	return code;
}

static int path_error(struct selftest *t, struct vns_err *err)
{
	struct vns_relay_counts counts = { .dropped = 0 };
	struct selftest_run run = { .n = 0 };
	struct vns_vo_result base = { .n_target = 0 }, vo = { .n_target = 0 };
	struct vns_relay *relay = NULL;
	int code;

	if (t->own.lab.rootless) {
		skip(t->out, "A rootless lab's path cannot be given a delay (root can).");
		return 0;
	}
	code = path_undelayed(t, &base, err);
	if (!code)
		own_lab_say(&t->own, "Holding every frame to the guest, none from it, for 3 ms");
	if (!code)
		code = vns_relay_open(&relay, t->vm->host_netns_fd, t->bridge.ifname, t->path[1].ifname,
				      DELAY_NS, err);
	if (!code)
		code = drift_run(t, 0, &run, err);
	if (!code && !own_lab_stopped(&t->own))
		code = vo_with_requests(t, TRAFFIC_NS, &vo, err);
	vns_relay_close(relay, &counts);
	if (!code && counts.dropped)
		skip(t->out, "The relay's queue overflowed: its delays are not all known.");
	if (!code) {
		selftest_offsets(t->out, &run, "offset, one way delayed");
		selftest_ways(t->out, &run, (double)DELAY_NS);
	}
	if (!code && base.n_target && vo.n_target)
		selftest_latencies(t->out, &base.target[0], &vo.target[0], &counts, (double)DELAY_NS);
	if (t->out->too_wide)
		skip(t->out, "The machine was too busy for some of vo's latencies: their tolerance would have been "
			     "wider than half of the delay put in.");
	if (!code && !own_lab_stopped(&t->own) && !(base.n_target && vo.n_target))
		skip(t->out, "No request came back while vo ran: its latencies were not tested.");
	if (base.n_target)
		vns_vo_result_free(&base);
	if (vo.n_target)
		vns_vo_result_free(&vo);
	selftest_run_fini(&run);
	return code;
}

static void describe(struct selftest *t)
{
	own_lab_host(t->out->host, sizeof(t->out->host));
	if (t->own.lab.backend == VNS_LAB_NETNS)
		snprintf(t->out->lab, sizeof(t->out->lab), "Lab: a namespace (the host's own kernel and clock), "
			 "bridge, client.");
	else
		snprintf(t->out->lab, sizeof(t->out->lab), "Lab: a QEMU guest (accelerator %s), bridge, "
			 "client.", t->own.lab.accel);
	t->out->tcg = strcmp(t->own.lab.accel, "tcg") == 0;
}

static int run_in_lab(struct selftest *t, struct vns_err *err)
{
	struct selftest_run quiet = { .n = 0 };
	int code;

	describe(t);
	code = open_targets(t, err);
	if (code)
		return code;
	t->own_clock = !t->vm->same_clock;
	if (t->own_clock && !t->vm->shm_page)
		return vns_err_set(err, -ENODEV, "the guest has no shared memory page, so its clock's truth "
				   "is not known");
	if (t->own_clock)
		vns_sleep_ns(BOOT_NS);
	own_lab_say(&t->own, "Measuring the clock as it is");
	code = drift_run(t, t->own_clock ? RATE_NS : 0, &quiet, err);
	if (!code)
		selftest_offsets(t->out, &quiet, "offset");
	if (!code && !own_lab_stopped(&t->own) && t->own_clock)
		code = clock_errors(t, &quiet, err);
	else if (!code && !t->own_clock)
		skip(t->out, "A namespace has the host's clock: rate and step were not tested.");
	if (!code && !own_lab_stopped(&t->own))
		code = path_error(t, err);
	selftest_run_fini(&quiet);
	return code;
}

int vns_selftest_run(const struct vns_lab_opts *lab, struct vns_selftest_result *out,
		     struct vns_err *err)
{
	struct selftest t = { .out = out };
	int code;

	*out = (struct vns_selftest_result){ .symmetric_error_ns = NAN };
	for (int m = 0; m < VNS_CLOCK_MODES; m++)
		out->half_width_ns[m] = NAN;
	code = own_lab_open(&t.own, lab, 1, false, err);
	if (code)
		return code;
	code = run_in_lab(&t, err);
	vns_target_close(t.client);
	vns_target_close(t.vm);
	out->interrupted = own_lab_stopped(&t.own);
	return own_lab_close(&t.own, code, err);
}

size_t vns_selftest_outside(const struct vns_selftest_result *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_row; i++)
		n += !r->row[i].inside;
	return n;
}
