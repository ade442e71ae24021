// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * CPU time used against a budget -> the share of packets that is looked at.
 *
 * All points must choose alike, though the guest hears of a change later than the host does it. The
 * choice is nested (what 1 in 2N chooses, 1 in N does too: hash-based selection, RFC 5475 section
 * 6.2), and the host applies the present share to what the guest still sends by the former one; so
 * a change is one instant for both. Pairs begin anew then: what was under way is outside their
 * window, not missing. What no packet causes, fewer packets do not save: where there are too few of them, or
 * the last change has saved nothing, there is no further one, and that is said. The share never grows back, so
 * that a run's samples stay comparable.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "measure/vo_budget.h"
#include "measure/vo_epoch.h"

#define LOOK_NS    VNS_NSEC_PER_SEC
#define MAX_ONE_IN 65536u
#define PACKET_S   100e-6 /* CPU time that one packet costs, at the very most: in an emulated guest */
#define HELPED     0.9    /* a share halved that saves less than that is not what costs */
#define GREW       1.5    /* so much more than before is new traffic: it may help now */

static int64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((int64_t)u.ru_utime.tv_sec + u.ru_stime.tv_sec) * VNS_NSEC_PER_SEC +
	       ((int64_t)u.ru_utime.tv_usec + u.ru_stime.tv_usec) * VNS_NSEC_PER_USEC;
}

/* All subjects look at 1 packet in @one_in from now on. */
static void set_share(struct vo_run *run, uint32_t one_in, double used, const char *whose)
{
	struct vns_err err = { "" };

	run->one_in = one_in;
	run->budget_told = false;
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];

		pthread_mutex_lock(&v->lock);
		v->one_in = one_in;
		vo_event(v, vns_now_ns(), "sampling", "%s used %.1f %% of a CPU, the budget is %.1f %%: from "
			 "here on 1 packet in %u is looked at.", whose, 100 * used,
			 100 * run->opts->max_cpu, one_in);
		if (vo_epoch_renew(v, SIZE_MAX, &err))
			vo_subject_fail(v, err.text);
		pthread_mutex_unlock(&v->lock);
	}
}

static void tell_impossible(struct vo_run *run, double used, const char *whose)
{
	for (size_t i = 0; i < run->n && !run->budget_told; i++) {
		struct vo_subject *v = &run->subject[i];

		pthread_mutex_lock(&v->lock);
		vo_event(v, vns_now_ns(), "sampling", "%s used %.1f %% of a CPU, the budget is %.1f %%: looking at "
			 "fewer than 1 packet in %u would not bring it below.", whose, 100 * used,
			 100 * run->opts->max_cpu, run->one_in);
		pthread_mutex_unlock(&v->lock);
	}
	run->budget_told = true;
}

/* The one that uses most: this process or an agent. */
static double most_used(struct vo_run *run, double own, const char **whose)
{
	double most = own;

	*whose = "vnetscope on the host";
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];
		double share;

		pthread_mutex_lock(&v->lock);
		share = v->agent_share;
		v->agent_share = 0; /* each look counts once */
		pthread_mutex_unlock(&v->lock);
		if (share > most) {
			most = share;
			*whose = "the agent in a guest";
		}
	}
	return most;
}

bool vo_budget_helps(double used, double budget, double packets, double before)
{
	if (packets * PACKET_S < used - budget)
		return false;
	return before <= 0 || used < HELPED * before || used > GREW * before;
}

void vo_budget_check(struct vo_run *run, int64_t now_ns)
{
	int64_t cpu = cpu_ns(), since = now_ns - run->budget_at_ns;
	double used, packets, budget = run->opts->max_cpu;
	uint32_t one_in = run->one_in;
	const char *whose;

	if (budget <= 0 || (run->budget_at_ns && since < LOOK_NS))
		return;
	used = run->budget_at_ns ? (double)(cpu - run->budget_cpu_ns) / (double)since : 0;
	packets = run->budget_at_ns ? (double)run->budget_packets / ((double)since / 1e9) : 0;
	run->budget_at_ns = now_ns;
	run->budget_cpu_ns = cpu;
	run->budget_packets = 0;
	used = most_used(run, used, &whose);
	if (run->budget_raised) { /* an agent's figure may still hold some of before */
		run->budget_raised = false;
		return;
	}
	if (used <= budget)
		return;
	if (!vo_budget_helps(used, budget, packets, run->budget_before)) {
		run->budget_before = used;
		tell_impossible(run, used, whose);
		return;
	}
	run->budget_before = used;
	/* at least by half; towards the budget at once, since every change costs what is under way */
	do
		one_in *= 2;
	while (one_in < MAX_ONE_IN && used * run->one_in / one_in > budget);
	if (one_in > MAX_ONE_IN)
		tell_impossible(run, used, whose);
	else
		set_share(run, one_in, used, whose);
	run->budget_raised = true;
}

/* What the agent used since the last look. */
static void ask_usage(struct vo_subject *v)
{
	struct vns_agent_usage now;
	int64_t span, now_ns = vns_monotonic_ns(); /* the guest's clock may be set meanwhile */

	if (vns_agent_usage(v->s->agent, &now, NULL))
		return;
	span = now_ns - v->usage_last_ns;
	if (v->usage_last.at_ns && span > 0 && now.agent_cpu_ns >= v->usage_last.agent_cpu_ns) {
		give_way_lock(&v->turns);
		v->agent_share = (double)(now.agent_cpu_ns - v->usage_last.agent_cpu_ns) / (double)span;
		pthread_mutex_unlock(&v->lock);
	}
	v->usage_last = now;
	v->usage_last_ns = now_ns;
}

void vo_budget_agent(struct vo_subject *v)
{
	int64_t now_ns = vns_monotonic_ns();
	uint32_t one_in;

	give_way_lock(&v->turns);
	one_in = v->one_in;
	pthread_mutex_unlock(&v->lock);
	if (one_in != v->agent_one_in &&
	    vns_agent_capture_sample(v->s->agent, VO_CAPTURE_ID, one_in, NULL) != -ETIMEDOUT)
		v->agent_one_in = one_in; /* one that refuses sends everything: the host chooses anyway */
	if (v->run->opts->max_cpu > 0 && now_ns - v->usage_asked_ns >= LOOK_NS) {
		v->usage_asked_ns = now_ns;
		ask_usage(v);
	}
}
