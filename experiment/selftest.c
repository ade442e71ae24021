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
#define STEP_SIDE   40 /* exchanges by every mode before the step, and as many after it */
#define STEP_RUN_NS (20 * VNS_NSEC_PER_SEC) /* at most: a guest that hardly runs makes fewer */
#define SETTLE_NS   (1200 * VNS_NSEC_PER_MSEC) /* a frequency holds from the next second on */
#define BOOT_NS     (2 * VNS_NSEC_PER_SEC)  /* the guest's TSC is calibrated again 1.8 s after its start */
#define EARLY_NS    (10 * VNS_NSEC_PER_SEC) /* or later: where it was disturbed the kernel tries again each second */
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
	char source[32]; /* the guest's clock source during the quiet run, or "" */
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
static int drift_run(struct selftest *t, struct vns_drift_opts o, struct selftest_run *run, struct vns_err *err)
{
	struct vns_subject s = vns_target_subject(t->vm);
	int code;

	o.n_mode = 3;
	o.count = COUNT;
	o.interval_ns = INTERVAL_NS;
	if (!o.stop)
		o.stop = t->own.opts->interrupted;
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

/* In the guest: adjust its clock by @what. */
static int adjust(struct selftest *t, const char *what, struct vns_err *err)
{
	char *argv[] = { "/init", "--adjust-clock", (char *)what, NULL };
	int status = 0, code = vns_agent_exec(t->vm->agent, argv, NULL, NULL, EXEC_MS, &status, err);

	if (!code && status)
		code = vns_err_set(err, -EPROTO, "the guest's clock could not be adjusted (status %d)",
				   status);
	return code;
}

static void guest_source(struct selftest *t, char source[32])
{
	struct vns_clock_state now;

	source[0] = '\0';
	if (vns_agent_clock_state(t->vm->agent, &now, NULL) == 0)
		snprintf(source, 32, "%s", now.source);
}

/* Until the guest's kernel has calibrated its counter for good. */
static void let_boot(struct selftest *t)
{
	int64_t begin = vns_monotonic_ns();

	vns_sleep_ns(BOOT_NS);
	for (;;) {
		guest_source(t, t->source);
		if (strcmp(t->source, "tsc-early") != 0 || vns_monotonic_ns() - begin > EARLY_NS ||
		    own_lab_stopped(&t->own))
			return;
		vns_sleep_ns(BOOT_NS / 10);
	}
}

/* The step is made once every mode has its exchanges before it, and the run ends when it has those after it. */
struct step {
	struct selftest *t;
	const struct selftest_run *run;
	size_t had[VNS_DRIFT_MAX_MODES];
	bool made;
	int64_t from_ns, to_ns; /* it was made between these */
	volatile int stop;
	int code;
	struct vns_err *err;
};

static void step_once(void *ctx, size_t done, size_t wanted)
{
	struct step *s = ctx;
	size_t n[VNS_DRIFT_MAX_MODES] = { 0 };
	bool enough = true;
	char what[64];

	(void)done, (void)wanted;
	for (size_t i = 0; i < VNS_DRIFT_MAX_MODES && s->run->r[i].clock; i++) {
		vns_clock_samples(s->run->r[i].clock, &n[i]);
		enough &= n[i] >= s->had[i] + STEP_SIDE;
	}
	if ((enough && s->made) || own_lab_stopped(&s->t->own))
		s->stop = 1;
	if (!enough || s->stop)
		return;
	memcpy(s->had, n, sizeof(n));
	snprintf(what, sizeof(what), "step=%lld", (long long)STEP_NS);
	s->from_ns = vns_now_ns();
	s->code = adjust(s->t, what, s->err);
	s->to_ns = vns_now_ns();
	s->made = true;
	s->stop = s->code != 0;
}

static int step_error(struct selftest *t, struct vns_err *err)
{
	struct selftest_run run = { .n = 0 };
	struct step s = { .t = t, .run = &run, .err = err };
	int code;

	own_lab_say(&t->own, "Setting the guest's clock back by 5 ms in the middle of a measurement");
	code = drift_run(t, (struct vns_drift_opts){ .duration_ns = STEP_RUN_NS, .stop = &s.stop,
						     .progress = step_once, .ctx = &s }, &run, err);
	if (!code)
		code = s.code;
	if (!code && s.made)
		selftest_steps(t->out, &run, (double)STEP_NS, s.from_ns, s.to_ns);
	else if (!code && !own_lab_stopped(&t->own))
		skip(t->out, "The guest hardly ran: its clock was not stepped.");
	selftest_run_fini(&run);
	return code;
}

static int rate_error(struct selftest *t, const struct selftest_run *quiet, struct vns_err *err)
{
	struct selftest_run run = { .n = 0 };
	char what[64], source[32];
	int code;

	own_lab_say(&t->own, "Making the guest's clock run 100 ppm faster");
	snprintf(what, sizeof(what), "ppm=%g", RATE_PPM);
	code = adjust(t, what, err);
	if (code)
		return code;
	vns_sleep_ns(SETTLE_NS);
	code = drift_run(t, (struct vns_drift_opts){ .duration_ns = RATE_NS }, &run, err);
	if (code)
		return code;
	guest_source(t, source);
	if (strcmp(source, t->source) == 0)
		selftest_rates(t->out, quiet, &run, RATE_PPM);
	else /* each source has a rate of its own: what was put in is not what it changed by */
		skip(t->out, "The guest's kernel changed its clock source: the rate was not tested.");
	selftest_run_fini(&run);
	return 0;
}

/* Requests of the client that a vo run sees; their least RTT by its own clock into @app_min_ns. */
static int vo_with_requests(struct selftest *t, int64_t duration_ns, struct vns_vo_result *vo,
			    int64_t *app_min_ns, struct vns_err *err)
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
	*app_min_ns = st.rtt_n ? st.rtt_min_ns : 0;
	return code;
}

/* The same path, the relay in it too, without the delay. */
static int path_undelayed(struct selftest *t, struct vns_vo_result *vo, int64_t *app_min_ns,
			  struct vns_err *err)
{
	struct vns_relay *relay = NULL;
	int code;

	own_lab_say(&t->own, "Measuring the path through the relay, nothing held");
	code = vns_relay_open(&relay, t->vm->host_netns_fd, t->bridge.ifname, t->path[1].ifname, 0, err);
	if (!code)
		code = vo_with_requests(t, BASE_NS, vo, app_min_ns, err);
	vns_relay_close(relay, NULL);
	return code;
}

static int path_error(struct selftest *t, struct vns_err *err)
{
	struct vns_relay_counts counts = { .dropped = 0 };
	struct selftest_app app = { 0, 0 };
	struct selftest_run run = { .n = 0 };
	struct vns_vo_result base = { .n_target = 0 }, vo = { .n_target = 0 };
	struct vns_relay *relay = NULL;
	int code;

	if (t->own.lab.rootless) {
		skip(t->out, "A rootless lab's path cannot be given a delay (root can).");
		return 0;
	}
	code = path_undelayed(t, &base, &app.base_min_ns, err);
	if (!code)
		own_lab_say(&t->own, "Holding every frame to the guest, none from it, for 3 ms");
	if (!code)
		code = vns_relay_open(&relay, t->vm->host_netns_fd, t->bridge.ifname, t->path[1].ifname,
				      DELAY_NS, err);
	if (!code)
		code = drift_run(t, (struct vns_drift_opts){ .duration_ns = 0 }, &run, err);
	if (!code && !own_lab_stopped(&t->own))
		code = vo_with_requests(t, TRAFFIC_NS, &vo, &app.held_min_ns, err);
	vns_relay_close(relay, &counts);
	if (!code && counts.dropped)
		skip(t->out, "The relay's queue overflowed: its delays are not all known.");
	if (!code) {
		selftest_offsets(t->out, &run, "offset, one way delayed");
		selftest_ways(t->out, &run, (double)DELAY_NS);
	}
	if (!code && base.n_target && vo.n_target)
		selftest_latencies(t->out, &base.target[0], &vo.target[0], &counts, &app, (double)DELAY_NS);
	if (t->out->too_wide)
		skip(t->out, "The machine was too busy for some of the delays: their tolerance would have been wider than "
			     "half of the delay put in.");
	if (t->out->too_few)
		skip(t->out, "The machine was too busy for some of vo's latencies: too few requests came back.");
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
		let_boot(t);
	own_lab_say(&t->own, "Measuring the clock as it is");
	code = drift_run(t, (struct vns_drift_opts){ .duration_ns = t->own_clock ? RATE_NS : 0 }, &quiet, err);
	if (!code)
		selftest_offsets(t->out, &quiet, "offset");
	if (!code && !own_lab_stopped(&t->own) && t->own_clock)
		code = rate_error(t, &quiet, err);
	if (!code && !own_lab_stopped(&t->own) && t->own_clock)
		code = step_error(t, err);
	if (!code && !t->own_clock)
		skip(t->out, "A namespace has the host's clock: rate and step were not tested.");
	if (!code && !own_lab_stopped(&t->own))
		code = path_error(t, err);
	if (t->out->vague)
		skip(t->out, "The machine was too busy for some estimates of the clock: their truth was not known better "
			     "than they claim to know it.");
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
