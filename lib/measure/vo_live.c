// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The live VO measurement: subjects -> clock exchanges, captures at both ends, twins,
 * passive RTT -> a vns_vo_result.
 *
 * The main thread reads the host's interfaces; each subject has a thread of its own for its agent,
 * which makes clock exchanges four times a second and takes in the guest's packets. A
 * guest that gets no CPU thus delays its own stream only: the engines hold the host's packets until
 * the guest's have come. Every host point is paired with the guest, and each outer point with
 * the tap, so that after the run the outermost point that the traffic really crossed
 * gives the figures and the others the hops (forwarded packets never pass the bridge's own
 * device, local ones never pass the uplink).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "measure/vo_budget.h"
#include "measure/vo_ending.h"
#include "measure/vo_epoch.h"
#include "measure/vo_guest.h"
#include "measure/vo_links.h"
#include "measure/vo_pump.h"
#include "measure/vo_quiet.h"

#define BURSTS         12 /* of exchanges before and after the traffic */
#define BURST_GAP_NS   (15 * VNS_NSEC_PER_MSEC)
#define DURING_GAP_NS  (250 * VNS_NSEC_PER_MSEC)
#define PROBE_GAP_NS   (20 * VNS_NSEC_PER_MSEC) /* mode exchange: one echo request each */
#define EXCHANGES      8    /* per burst before and after; 1 during, so as not to disturb */
#define BATCH          256
#define READ_NS        (20 * VNS_NSEC_PER_MSEC) /* between looks at the rings, which hold ten times that and more */
#define BEFORE_NS      (10 * VNS_NSEC_PER_MSEC) /* the same before the traffic, while exchanges are made */
#define WAIT_NS        (100 * VNS_NSEC_PER_MSEC) /* for an agent that has nothing to say */
#define SETTLE_NS      (60 * VNS_NSEC_PER_MSEC) /* ring blocks and agent batches still under way */
#define REPORT_NS      VNS_NSEC_PER_SEC
#define REPLY_MS       3000 /* of one request in mid-run: a guest that stands still holds up the others */
#define LOST_NS        (VO_LOST_S * VNS_NSEC_PER_SEC)
#define ATTEMPT_MS     900 /* an interrupt waits for one attempt */
#define SLOW_NS        (300 * VNS_NSEC_PER_MSEC) /* a burst that took longer: the next ones are short */
#define GIVE_UP_NS     (10 * VNS_NSEC_PER_SEC) /* nobody takes connections: its machine is gone */
#define AWAY_NS        (20 * VNS_NSEC_PER_SEC) /* before the traffic: the others wait that long, all told */
#define AGAIN_NS       (100 * VNS_NSEC_PER_MSEC) /* between attempts */

static void from_agent(void *ctx, uint32_t capture_id, const struct vns_packet *pkts, size_t n,
		       uint64_t dropped, int64_t now_ns)
{
	struct vo_subject *v = ctx;
	struct vns_packet own[BATCH];

	(void)capture_id;
	give_way_watch(&v->run->reading);
	give_way_lock(&v->turns);
	v->guest_lost += dropped;
	v->guest_upto_ns = now_ns > v->guest_upto_ns ? now_ns : v->guest_upto_ns;
	for (size_t at = 0; at < n;) {
		size_t m = 0;

		for (; at < n && m < BATCH; at++)
			if ((!v->gather || !vns_gather_packet(v->gather, VNS_POINT_B, &pkts[at])) &&
			    vo_subject_samples(v, VO_POINTS, &pkts[at]))
				own[m++] = pkts[at];
		vo_guest_packets(v, own, m);
	}
	vo_guest_upto(v, now_ns);
	pthread_mutex_unlock(&v->lock);
}

static void agent_note(void *ctx, const char *sentence)
{
	struct vo_subject *v = ctx;

	give_way_lock(&v->turns);
	snprintf(v->note, sizeof(v->note), "%s", sentence);
	pthread_mutex_unlock(&v->lock);
	atomic_store(&v->noted, true);
}

/* Did a kernel's clock change since the last look? An event then, and relations allow for it. */
static void look_at_clocks(struct vo_subject *v)
{
	int64_t begin;

	if (!v->gather)
		return; /* one clock */
	begin = vns_monotonic_ns();
	clock_watch_look(&v->watch, v->s->agent);
	v->watched_ns = vns_monotonic_ns();
	v->look_gap_ns = clock_look_gap(v->watched_ns - begin);
	give_way_lock(&v->turns);
	vo_event_clocks(v, vns_now_ns());
	v->wander_ppm = clock_watch_wander(&v->watch, v->run->opts->wander_ppm);
	vns_clock_set_wander(v->clock, v->wander_ppm);
	pthread_mutex_unlock(&v->lock);
}

/*
 * The agent said something: did its capture end (its interface is gone), or does it go on (it went down)?
 * Without a capture there is no sign of life either, which would be waited for in vain. Return: 0, or -ENOENT.
 */
static int check_capture(struct vo_subject *v, struct vns_err *err)
{
	struct vns_err unused;
	char note[sizeof(v->note)];

	if (vns_agent_capture_sample(v->s->agent, VO_CAPTURE_ID, v->agent_one_in, &unused) != -ENOENT)
		return 0;
	vns_agent_poll(v->s->agent, (int)(WAIT_NS / VNS_NSEC_PER_MSEC), &unused); /* its last packets */
	give_way_lock(&v->turns);
	memcpy(note, v->note, sizeof(note));
	pthread_mutex_unlock(&v->lock);
	return vns_err_set(err, -ENOENT, "the capture in the guest ended: %.200s", note);
}

/* What do the exchanges made since the last look say? */
static int check_epoch(struct vo_subject *v, struct vns_err *err)
{
	int code;

	give_way_lock(&v->turns);
	code = vo_epoch_check(v, err);
	pthread_mutex_unlock(&v->lock);
	return code;
}

/*
 * Subject's thread: one burst of exchanges, then its stream for @ns. A burst that got no answer in
 * time is left out (a late answer is recognised and dropped); an agent that is silent altogether is
 * told by vns_agent_poll(), or earlier where it can be reached anew. Return: 0, or -errno: it is
 * dead or lost.
 */
static int exchange_and_poll(struct vo_subject *v, size_t exchanges, int64_t ns, struct vns_err *err)
{
	int64_t until = vns_monotonic_ns() + ns, left;
	int code = 0;

	/* nobody would answer, and others wait for their turn */
	if (v->gather && !(v->capturing && vns_agent_silence_ns(v->s->agent) > VO_QUIET_NS)) {
		pthread_mutex_lock(&v->run->exchanging);
		/* those before us may have used up what time there is at the end */
		if (!vo_in_phase(v->run, VO_AFTER) || vo_ending_bound(v))
			code = vns_gather_burst(v->gather, exchanges, err);
		pthread_mutex_unlock(&v->run->exchanging);
	}
	if (code == -ETIMEDOUT)
		code = 0;
	if (code >= 0 && v->gather) /* before more packets come that may be of another epoch */
		code = check_epoch(v, err);
	while (code >= 0 && (left = until - vns_monotonic_ns()) > 0) {
		give_way_watch(&v->run->reading);
		code = vns_agent_poll(v->s->agent, left < WAIT_NS ? (int)(left / VNS_NSEC_PER_MSEC) + 1 :
				      (int)(WAIT_NS / VNS_NSEC_PER_MSEC), err);
	}
	if (code >= 0 && v->capturing && v->s->reconnect &&
	    vns_agent_silence_ns(v->s->agent) > LOST_NS)
		code = vns_err_set(err, -ETIMEDOUT, "agent %s: silent for %d s", v->s->name,
				   (int)(LOST_NS / VNS_NSEC_PER_SEC));
	if (code >= 0)
		code = check_epoch(v, err);
	if (code >= 0 && v->capturing)
		vo_quiet_look(v);
	if (code >= 0 && !vo_in_phase(v->run, VO_AFTER) && !vo_stopped(v->run) && v->watched_ns &&
	    vns_monotonic_ns() - v->watched_ns > v->look_gap_ns &&
	    vns_agent_silence_ns(v->s->agent) < VNS_NSEC_PER_SEC)
		look_at_clocks(v);
	/* the end has its time; one that is silent would hold up its thread */
	if (!vo_in_phase(v->run, VO_TRAFFIC) || vo_stopped(v->run))
		return code < 0 ? code : 0;
	if (code >= 0 && v->capturing && atomic_exchange(&v->noted, false))
		code = check_capture(v, err);
	if (code >= 0 && v->capturing)
		vo_budget_agent(v);
	return code < 0 ? code : 0;
}

/* The same, where a lost agent is the end. Return: false: it is dead. */
static bool alive_after(struct vo_subject *v, size_t exchanges, int64_t ns)
{
	struct vns_err err = { "" };

	if (exchange_and_poll(v, exchanges, ns, &err) == 0)
		return true;
	vo_subject_fail(v, err.text);
	return false;
}

static int start_guest_capture(struct vo_subject *v, struct vns_err *err)
{
	const struct vns_agent_sink sink = { from_agent, agent_note, v };
	const struct vns_vo_live_opts *opts = v->run->opts;
	struct vns_bpf_insn *insns = NULL;
	char expr[4096];
	int code = vns_vo_filter(&v->s, 1, false, opts->filter, expr, sizeof(expr), err), n;

	if (code)
		return code;
	n = vns_filter_compile(expr, VNS_LINK_ETHERNET, 256, &insns, err);
	if (n < 0)
		return n;
	vns_agent_set_sink(v->s->agent, &sink);
	vns_agent_set_stop(v->s->agent, opts->stop);
	code = vns_agent_capture_start(v->s->agent, VO_CAPTURE_ID, v->s->guest_ifname, insns, (size_t)n,
				       opts->snaplen, err);
	free(insns);
	v->capturing = !code;
	v->agent_one_in = 1;
	return code;
}

/* What went over a connection that is lost. */
static void read_traffic(struct vo_subject *v)
{
	uint64_t rx = 0, tx = 0;

	vns_agent_traffic(v->s->agent, &rx, &tx);
	v->agent_bytes += rx + tx;
}

static void read_usage(struct vo_subject *v, bool begin)
{
	uint64_t rx = 0, tx = 0;

	vns_agent_traffic(v->s->agent, &rx, &tx);
	if (begin) {
		v->agent_bytes -= rx + tx; /* of this connection, before the traffic */
	} else {
		v->agent_bytes += rx + tx;
	}
	*(begin ? &v->usage_from_ns : &v->usage_to_ns) = vns_monotonic_ns();
	vns_agent_usage(v->s->agent, begin ? &v->usage_begin : &v->usage_end, NULL);
}

/*
 * The run ended while the guest was silent, too short a time for it to be taken for lost: did it reboot? One
 * attempt; its old agent, if it is there after all, has not answered in time.
 */
static void name_reboot(struct vo_subject *v)
{
	int64_t silence = vns_agent_silence_ns(v->s->agent);
	char boot_id[40];

	if (!v->s->reconnect || vo_stopped(v->run) || vo_quiet_is_stopped(v))
		return;
	memcpy(boot_id, vns_agent_info(v->s->agent)->boot_id, sizeof(boot_id));
	if (v->s->reconnect(v->s->reconnect_ctx, ATTEMPT_MS, &v->own.agent, NULL) ||
	    strcmp(boot_id, vns_agent_info(v->s->agent)->boot_id) == 0)
		return;
	give_way_lock(&v->turns);
	vo_event(v, vns_now_ns() - silence, "reboot", "The guest rebooted here: it was silent from then on, and is "
		 "back. The run ended before its clock could be related anew: no packet after it is in the figures.");
	pthread_mutex_unlock(&v->lock);
}

/*
 * After the traffic: the capture goes on a little, so that what was under way is seen at the
 * guest too; then its rest is fetched and the relation gets its far end.
 */
static void end_subject(struct vo_subject *v)
{
	int64_t began_ns = vns_monotonic_ns(), took_ns;
	struct vns_err err = { "" };
	int code = 0;

	if (!vo_quiet_answers(v, &err)) {
		read_traffic(v);
		v->capturing = false;
		name_reboot(v);
		vo_subject_fail(v, err.text);
		return;
	}
	vo_ending_begin(v);
	alive_after(v, 1, SETTLE_NS);
	took_ns = vns_monotonic_ns() - began_ns;
	vo_ending_bound(v);
	read_usage(v, false);
	if (!atomic_load(&v->dead) && vo_ending_bound(v))
		look_at_clocks(v);
	if (!atomic_load(&v->dead))
		code = vo_ending_fetch(v, &err);
	/* one that ended by itself has said why */
	if (code)
		vo_subject_fail(v, code == -ENOENT && v->note[0] ? v->note : err.text);
	v->capturing = false;
	for (int i = 0; i < BURSTS && v->mode != VNS_CLOCK_EXCHANGE && !atomic_load(&v->dead) &&
			vo_ending_bound(v); i++) { /* exchange needs the captures: it went on to the end */
		began_ns = vns_monotonic_ns();
		alive_after(v, took_ns > SLOW_NS ? 1 : EXCHANGES, BURST_GAP_NS);
		took_ns = vns_monotonic_ns() - began_ns;
	}
}

/* One attempt to have its agent back, capturing, with a relation. */
static int attempt(struct vo_subject *v, struct vns_err *err)
{
	int code = v->s->reconnect(v->s->reconnect_ctx, ATTEMPT_MS, &v->own.agent, err);

	if (code)
		return code;
	vns_agent_set_timeout(v->s->agent, REPLY_MS);
	code = start_guest_capture(v, err);
	if (!code) {
		v->watch.seen[CLOCK_GUEST] = false; /* perhaps another kernel's life: nothing to compare with */
		look_at_clocks(v);
	}
	for (int i = 0; i < BURSTS && !code; i++)
		code = exchange_and_poll(v, EXCHANGES, BURST_GAP_NS, err);
	if (!code) {
		give_way_lock(&v->turns);
		code = vo_epoch_begin(v, err);
		pthread_mutex_unlock(&v->lock);
	}
	if (!code)
		read_usage(v, true);
	return code;
}

static void tell_return(struct vo_subject *v, const char *boot_id, int64_t lost_ns)
{
	double away = (double)(vns_now_ns() - lost_ns) / 1e9;

	give_way_lock(&v->turns);
	if (strcmp(boot_id, vns_agent_info(v->s->agent)->boot_id) != 0)
		vo_event(v, vns_now_ns(), "reboot", "The guest is back after %.1f s: it has rebooted. Its clock "
			 "was related anew; no packet of before is paired with one of now.", away);
	else
		vo_event(v, vns_now_ns(), "back", "The guest's agent answers again after %.1f s; it has not "
			 "rebooted. Its clock was related anew.", away);
	pthread_mutex_unlock(&v->lock);
}

/* When the agent said something last, or a little later where this thread is kept from running: never earlier. */
static int64_t last_heard_ns(const struct vo_subject *v)
{
	int64_t silence = vns_agent_silence_ns(v->s->agent);

	return vns_now_ns() - silence;
}

/*
 * The agent is lost: what it gave stands, and until the run ends it is tried to reach it anew. A guest
 * that reboots takes its time; a machine that takes no connection any more is gone.
 */
static bool reach_again(struct vo_subject *v, struct vns_err *why)
{
	int64_t since = vns_monotonic_ns(), lost_ns = last_heard_ns(v);
	char boot_id[40], console[VO_CONSOLE_LEN], text[256];
	int code = -EPIPE;

	read_traffic(v);
	if (!v->s->reconnect) {
		vo_subject_fail(v, why->text);
		return false;
	}
	memcpy(boot_id, vns_agent_info(v->s->agent)->boot_id, sizeof(boot_id));
	v->capturing = false;
	give_way_lock(&v->turns);
	if (vo_quiet_is_stopped(v))
		vo_event(v, lost_ns, "lost", "Nothing more came from the guest: its process %d on the host is "
			 "stopped by a signal.", v->s->vmm_pid);
	else if (vo_quiet_has_ended(v))
		vo_event(v, lost_ns, "lost", "Nothing more came from the guest: its process %d on the host has ended%s.",
			 v->s->vmm_pid, vo_quiet_console(v, console));
	else
		vo_event(v, lost_ns, "lost", "Nothing more came from the guest: %.70s%s.", why->text,
			 vo_quiet_console(v, console));
	v->quiet.since_ns = 0;
	code = vo_epoch_end(v, why);
	pthread_mutex_unlock(&v->lock);
	while (!code && vo_in_phase(v->run, VO_TRAFFIC) && !vo_stopped(v->run)) {
		code = attempt(v, why);
		if (!code) {
			tell_return(v, boot_id, lost_ns);
			if (vo_quiet_has_ended(v))
				v->own.vmm_pid = 0; /* it runs in another one now */
			return true;
		}
		if ((code == -ECONNREFUSED || code == -ENOENT) && vns_monotonic_ns() - since > GIVE_UP_NS)
			break;
		code = 0;
		vns_sleep_ns(AGAIN_NS);
	}
	if (vo_quiet_has_ended(v))
		snprintf(text, sizeof(text), "its process %d on the host has ended, and nothing took its place%s",
			 v->s->vmm_pid, vo_quiet_console(v, console));
	else
		snprintf(text, sizeof(text), "%.100s%s", why->text, vo_quiet_console(v, console));
	vo_subject_fail(v, text);
	return false;
}

/* Before the traffic, where the agent was lost: a new connection, and its capture. Return: 0 or -errno. */
static int capture_again(struct vo_subject *v, struct vns_err *why)
{
	int64_t now = vns_monotonic_ns();
	int code = -EPIPE;

	v->away_ns = v->away_ns ? v->away_ns : now;
	v->capturing = false;
	while (v->s->reconnect && !vo_stopped(v->run) && vns_monotonic_ns() - v->away_ns < AWAY_NS) {
		code = v->s->reconnect(v->s->reconnect_ctx, ATTEMPT_MS, &v->own.agent, why);
		if ((code == -ECONNREFUSED || code == -ENOENT) && vns_monotonic_ns() - now > GIVE_UP_NS)
			break;
		if (!code)
			code = start_guest_capture(v, why);
		if (!code)
			break;
		vns_sleep_ns(AGAIN_NS);
	}
	return code;
}

/* Is an epoch open already? If not, none is opened until @v is ready again. */
static bool is_paired_else_unready(struct vo_subject *v)
{
	bool paired;

	give_way_lock(&v->turns);
	paired = v->paired;
	if (!paired)
		atomic_store(&v->ready, false);
	pthread_mutex_unlock(&v->lock);
	return paired;
}

/*
 * The agent is lost before the traffic began (a guest that is migrated just then): it is reached anew, and the
 * exchanges are made anew, since its clock may be another one.
 */
static bool begin_again(struct vo_subject *v, struct vns_err *why)
{
	int64_t lost_ns = last_heard_ns(v);
	char boot_id[40];
	int code;

	if (is_paired_else_unready(v)) { /* the traffic begins this moment */
		while (vo_in_phase(v->run, VO_BEFORE))
			vns_sleep_ns(BEFORE_NS);
		return reach_again(v, why);
	}
	if (v->s->reconnect) {
		memcpy(boot_id, vns_agent_info(v->s->agent)->boot_id, sizeof(boot_id));
		give_way_lock(&v->turns);
		vo_event(v, lost_ns, "lost", "Before the traffic began nothing more came from the guest: %.150s.",
			 why->text);
		pthread_mutex_unlock(&v->lock);
	}
	code = capture_again(v, why);
	if (!code) {
		tell_return(v, boot_id, lost_ns);
		give_way_lock(&v->turns);
		code = vo_epoch_forget(v, why);
		pthread_mutex_unlock(&v->lock);
	}
	if (code) { /* what is known of its clock stands, for those that are measured with it */
		vo_subject_fail(v, why->text);
		return false;
	}
	v->watch.seen[CLOCK_GUEST] = false;
	look_at_clocks(v);
	return true;
}

/* The exchanges before the traffic. Return: false: @v is dead. */
static bool relate(struct vo_subject *v)
{
	struct vns_err err = { "" };

	for (int i = 0; i < BURSTS && !vo_stopped(v->run); i++) {
		if (exchange_and_poll(v, EXCHANGES, BURST_GAP_NS, &err) == 0)
			continue;
		if (!begin_again(v, &err))
			return false;
		i = -1;
	}
	return true;
}

static void *subject_thread(void *arg)
{
	struct vo_subject *v = arg;
	int64_t gap = v->mode == VNS_CLOCK_EXCHANGE ? PROBE_GAP_NS : DURING_GAP_NS;
	struct vns_err err = { "" };
	bool alive = true;

	vo_quiet_read_console(v);
	look_at_clocks(v); /* what changes from the first exchange on must be seen */
	alive = relate(v);
	atomic_store(&v->ready, true);
	while (alive && vo_in_phase(v->run, VO_BEFORE)) {
		if (exchange_and_poll(v, 1, BURST_GAP_NS, &err))
			alive = begin_again(v, &err) && (v->paired || relate(v));
		atomic_store(&v->ready, true);
	}
	if (alive) {
		read_usage(v, true);
		vns_agent_set_timeout(v->s->agent, REPLY_MS);
	}
	while (alive && vo_in_phase(v->run, VO_TRAFFIC))
		if (exchange_and_poll(v, 1, gap, &err))
			alive = reach_again(v, &err);
	if (alive)
		end_subject(v);
	return NULL;
}

static int start_threads(struct vo_run *run, struct vns_err *err)
{
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];
		int code = pthread_create(&v->thread, NULL, subject_thread, v);

		if (code)
			return vns_err_set(err, -code, "cannot start a thread for %s: %s", v->s->name,
					   strerror(code));
		v->has_thread = true;
	}
	return 0;
}

/* Leave @phase behind; in VO_AFTER the subjects' threads end by themselves. */
static void join_threads(struct vo_run *run)
{
	run->over_ns = vns_monotonic_ns();
	atomic_store(&run->phase, VO_AFTER);
	for (size_t i = 0; i < run->n; i++) {
		if (run->subject[i].has_thread)
			pthread_join(run->subject[i].thread, NULL);
		run->subject[i].has_thread = false;
	}
}

static bool all_ready(struct vo_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		if (!atomic_load(&run->subject[i].ready))
			return false;
	return true;
}

static bool any_alive(struct vo_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		if (!atomic_load(&run->subject[i].dead))
			return true;
	return false;
}

static void traffic_phase(struct vo_run *run)
{
	int64_t begin = vns_monotonic_ns(), end = begin + run->opts->duration_ns;
	int64_t next_report = begin + REPORT_NS, now;

	run->from_ns = vns_now_ns();
	atomic_store(&run->phase, VO_TRAFFIC);
	give_way_begin(&run->reading);
	while ((now = vns_monotonic_ns()) < end && !vo_stopped(run) && any_alive(run)) {
		vo_pump(run, READ_NS);
		vo_budget_check(run, now);
		vo_quiet_watch(run, now);
		if (run->opts->progress && now >= next_report) {
			vo_run_report(run, now - begin);
			next_report += REPORT_NS;
		}
	}
	vo_pump_end(run, READ_NS);
	give_way_end(&run->reading);
	vo_links_end(run);
	run->elapsed_ns = vns_monotonic_ns() - begin;
	run->to_ns = vns_now_ns();
	run->interrupted = vo_stopped(run);
}

static int64_t own_cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * VNS_NSEC_PER_SEC +
	       ((int64_t)u.ru_utime.tv_usec + u.ru_stime.tv_usec) * VNS_NSEC_PER_USEC;
}

static int measure(struct vo_run *run, struct vns_err *err)
{
	int code = vns_vo_points_open(&run->points, run->first, run->n, run->opts, err);

	for (size_t i = 0; i < run->n && !code; i++) {
		code = start_guest_capture(&run->subject[i], err);
		if (code == -EPIPE)
			code = capture_again(&run->subject[i], err);
	}
	if (!code)
		code = start_threads(run, err);
	do {
		while (code >= 0 && !all_ready(run))
			vo_pump(run, BEFORE_NS);
		if (code >= 0)
			code = vo_run_open_twins(run, err);
	} while (code > 0); /* one was lost again meanwhile */
	if (!code) {
		vo_pump(run, 0); /* what came before, and was lost before, is no part of it */
		vns_vo_points_count(&run->points, true);
		run->cpu_ns = own_cpu_ns();
		traffic_phase(run);
		run->cpu_ns = own_cpu_ns() - run->cpu_ns;
	}
	join_threads(run);
	run->interrupted |= vo_stopped(run); /* while the last packets were waited for */
	return code;
}

int vns_measure_vo_live(const struct vns_subject *subjects, size_t n,
			const struct vns_vo_live_opts *opts, struct vns_vo_result *out,
			struct vns_err *err)
{
	struct vo_run *run;
	int code;

	*out = (struct vns_vo_result){ 0 };
	if (n == 0 || n > VNS_VO_MAX_SUBJECTS)
		return vns_err_set(err, -E2BIG, "%zu targets: 1 to %d can be measured at once", n,
				   VNS_VO_MAX_SUBJECTS);
	run = calloc(1, sizeof(*run));
	if (!run)
		return vns_err_set(err, -ENOMEM, "out of memory");
	code = vo_run_init(run, subjects, n, opts, err);
	if (!code)
		code = measure(run, err);
	if (!code)
		code = vo_run_result(run, out, err);
	vo_run_fini(run);
	free(run);
	return code;
}
