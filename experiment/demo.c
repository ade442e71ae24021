// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Demonstration run: lab -> workloads and client traffic -> drift and vo -> result.
 *
 * vm1 is the test VM (idle but for the traffic), vm2 hashes (MD5 of a random 1 MB file in
 * a loop), vm3 streams 1,450 kbit/s to the client: the thesis's kinds of neighbours (3.6.1).
 * The client sends each of them the same mix: ICMP echo, TCP and UDP request/response.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "experiment/demo.h"
#include "experiment/own_lab.h"
#include "target/target.h"

#define ECHO_PORT    7007
#define VIDEO_PORT   5004
#define VIDEO_BPS    1450000
#define HASH_BYTES   (1u << 20)
#define RR_BYTES     64
#define TCP_RR_HZ    150.0 /* below the 1 kHz of Linux time stamps: every exchange has its own TSval */
#define UDP_RR_HZ    150.0
#define PING_HZ      50.0
#define LOAD_STOP_MS 3000
#define MAX_LOADS    (5 * VNS_DEMO_VMS + 1)

static const char *const roles[VNS_DEMO_VMS] = { "test VM, idle", "hashing (MD5)",
						 "streaming 1,450 kbit/s" };

struct demo {
	const struct vns_demo_opts *opts;
	struct own_lab own;
	struct vns_target *vm[VNS_DEMO_VMS], *client;
	struct {
		struct vns_agent *agent;
		uint32_t id;
		uint32_t kind;
		int vm;
	} load[MAX_LOADS];
	size_t n_load;
};

static int open_targets(struct demo *d, struct vns_err *err)
{
	char spec[64];
	int code = 0;

	for (int i = 0; i < VNS_DEMO_VMS && !code; i++) {
		snprintf(spec, sizeof(spec), "lab:%s/%s", d->own.lab.name, d->own.lab.guest[i].name);
		code = vns_target_open(&d->vm[i], spec, d->opts->lab.agent_path, err);
	}
	if (code)
		return code;
	snprintf(spec, sizeof(spec), "lab:%s/client", d->own.lab.name);
	return vns_target_open(&d->client, spec, d->opts->lab.agent_path, err);
}

static int start_load(struct demo *d, struct vns_agent *agent, int vm, const struct vns_load_spec *spec,
		      struct vns_err *err)
{
	uint32_t id;
	int code = vns_agent_load_start(agent, spec, &id, err);

	if (code)
		return code;
	d->load[d->n_load].agent = agent;
	d->load[d->n_load].id = id;
	d->load[d->n_load].kind = spec->kind;
	d->load[d->n_load].vm = vm;
	d->n_load++;
	return 0;
}

/* What each VM works at. */
static int start_work(struct demo *d, struct vns_err *err)
{
	const struct vns_load_spec sink = { .kind = VNS_LOAD_UDP_SINK, .port = VIDEO_PORT };
	const struct vns_load_spec hash = { .kind = VNS_LOAD_MD5, .procs = 1, .size = HASH_BYTES };
	struct vns_load_spec video = { .kind = VNS_LOAD_VIDEO, .port = VIDEO_PORT,
				       .rate_bps = VIDEO_BPS };
	const struct vns_load_spec echo = { .kind = VNS_LOAD_ECHO_SERVER, .port = ECHO_PORT };
	int code = start_load(d, d->client->agent, -1, &sink, err);

	for (int i = 0; i < VNS_DEMO_VMS && !code; i++)
		code = start_load(d, d->vm[i]->agent, i, &echo, err);
	if (!code)
		code = start_load(d, d->vm[1]->agent, 1, &hash, err);
	if (!code)
		code = vns_addr_parse(d->own.lab.client.ip, &video.peer) ?
			       vns_err_set(err, -EINVAL, "the lab's client has no address") : 0;
	return code ? code : start_load(d, d->vm[2]->agent, 2, &video, err);
}

/* The same mix of requests from the client to every VM. */
static int start_traffic(struct demo *d, struct vns_err *err)
{
	static const struct {
		uint32_t kind;
		double hz;
	} mix[] = { { VNS_LOAD_TCP_RR, TCP_RR_HZ }, { VNS_LOAD_UDP_RR, UDP_RR_HZ },
		    { VNS_LOAD_PING, PING_HZ } };
	int code = 0;

	for (int i = 0; i < VNS_DEMO_VMS; i++) {
		for (size_t k = 0; k < sizeof(mix) / sizeof(mix[0]) && !code; k++) {
			struct vns_load_spec spec = { .kind = mix[k].kind, .port = ECHO_PORT,
						      .size = RR_BYTES, .rate_hz = mix[k].hz };

			if (vns_addr_parse(d->own.lab.guest[i].ip, &spec.peer))
				return vns_err_set(err, -EINVAL, "%s has no address", d->own.lab.guest[i].name);
			code = start_load(d, d->client->agent, i, &spec, err);
		}
	}
	return code;
}

static int measure_clocks(struct demo *d, struct vns_demo_result *out, struct vns_err *err)
{
	for (int i = 0; i < VNS_DEMO_VMS && !own_lab_stopped(&d->own); i++) {
		const struct vns_subject s = vns_target_subject(d->vm[i]);
		const struct vns_drift_opts o = { .count = d->opts->exchanges,
						  .interval_ns = 20 * VNS_NSEC_PER_MSEC,
						  .stop = d->opts->lab.interrupted };
		int code = vns_measure_drift(&s, &o, &out->drift[i], err);

		if (code)
			return code;
	}
	return 0;
}

static int measure_latency(struct demo *d, struct vns_demo_result *out, struct vns_err *err)
{
	struct vns_subject s[VNS_DEMO_VMS];
	const struct vns_vo_live_opts o = { .duration_ns = d->opts->duration_ns,
					    .stop = d->opts->lab.interrupted,
					    .progress = d->opts->live,
					    .ctx = d->opts->lab.ctx };

	for (int i = 0; i < VNS_DEMO_VMS; i++)
		s[i] = vns_target_subject(d->vm[i]);
	return vns_measure_vo_live(s, VNS_DEMO_VMS, &o, &out->vo, err);
}

/* End the loads; the hashing and streaming ones tell what they did. */
static void stop_loads(struct demo *d, struct vns_demo_result *out)
{
	const struct vns_agent *lost = NULL; /* answers no more: one wait is enough */

	while (d->n_load > 0) {
		struct vns_load_stats st = { 0 };
		size_t have = strlen(out->load_note);
		char *to = out->load_note + have;
		size_t room = sizeof(out->load_note) - have;
		double sec;

		d->n_load--;
		if (d->load[d->n_load].agent == lost)
			continue; /* it ends with its session */
		vns_agent_set_timeout(d->load[d->n_load].agent, LOAD_STOP_MS);
		if (vns_agent_load_stop(d->load[d->n_load].agent, d->load[d->n_load].id, &st, NULL)) {
			lost = d->load[d->n_load].agent;
			continue;
		}
		sec = (double)st.elapsed_ns / 1e9;
		if (sec <= 0)
			continue;
		if (d->load[d->n_load].kind == VNS_LOAD_MD5)
			snprintf(to, room, "%s hashed %.1f MB/s with %.0f %% of a vCPU. ",
				 d->own.lab.guest[d->load[d->n_load].vm].name,
				 (double)st.ops * HASH_BYTES / sec / 1e6,
				 100 * (double)st.cpu_ns / (double)st.elapsed_ns);
		else if (d->load[d->n_load].kind == VNS_LOAD_VIDEO)
			snprintf(to, room, "%s streamed %.0f kbit/s. ",
				 d->own.lab.guest[d->load[d->n_load].vm].name,
				 (double)st.bytes_tx * 8 / sec / 1e3);
	}
}

static void describe(struct demo *d, struct vns_demo_result *out)
{
	own_lab_host(out->host, sizeof(out->host));
	if (d->own.lab.backend == VNS_LAB_NETNS)
		snprintf(out->lab, sizeof(out->lab), "Lab: %d namespaces (one kernel, one clock), bridge, "
			 "client device behind an uplink.", VNS_DEMO_VMS);
	else
		snprintf(out->lab, sizeof(out->lab), "Lab: %d QEMU guests (q35, virtio-net, %u vCPU, %u MB), "
			 "accelerator %s; bridge, client device behind an uplink.", VNS_DEMO_VMS,
			 d->own.lab.vcpus, d->own.lab.memory_mb, d->own.lab.accel);
	out->tcg = strcmp(d->own.lab.accel, "tcg") == 0;
	for (int i = 0; i < VNS_DEMO_VMS; i++) {
		snprintf(out->name[i], sizeof(out->name[i]), "%s", d->own.lab.guest[i].name);
		out->role[i] = roles[i];
	}
}

static int run_in_lab(struct demo *d, struct vns_demo_result *out, struct vns_err *err)
{
	int code;

	describe(d, out);
	own_lab_say(&d->own, "Connecting to the agents of %d VMs and the client", VNS_DEMO_VMS);
	code = open_targets(d, err);
	if (code)
		return code;
	own_lab_say(&d->own, "Starting the work: %s; %s; %s", roles[0], roles[1], roles[2]);
	code = start_work(d, err);
	if (!code)
		code = start_traffic(d, err);
	if (code)
		return code;
	own_lab_say(&d->own, "Measuring clock offset and drift of each VM (%zu exchanges)", d->opts->exchanges);
	code = measure_clocks(d, out, err);
	if (code || own_lab_stopped(&d->own))
		return code ? code : vns_err_set(err, -EINTR, "interrupted before the traffic was measured");
	own_lab_say(&d->own, "Measuring latency and RTT for %.0f s: capturing at uplink, bridge, taps and in the VMs",
	    (double)d->opts->duration_ns / 1e9);
	code = measure_latency(d, out, err);
	stop_loads(d, out);
	out->vo.interrupted |= !code && own_lab_stopped(&d->own);
	return code;
}

int vns_demo_run(const struct vns_demo_opts *opts, struct vns_demo_result *out, struct vns_err *err)
{
	struct demo d = { .opts = opts };
	int code;

	*out = (struct vns_demo_result){ .at_ns = vns_now_ns() };
	code = own_lab_open(&d.own, &opts->lab, VNS_DEMO_VMS, opts->keep_lab, err);
	if (code)
		return code;
	code = run_in_lab(&d, out, err);
	vns_target_close(d.client);
	for (int i = 0; i < VNS_DEMO_VMS; i++)
		vns_target_close(d.vm[i]);
	code = own_lab_close(&d.own, code, err);
	if (code)
		vns_demo_result_free(out);
	return code;
}

void vns_demo_result_free(struct vns_demo_result *r)
{
	for (int i = 0; i < VNS_DEMO_VMS; i++)
		vns_drift_result_free(&r->drift[i]);
	vns_vo_result_free(&r->vo);
}
