// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination of a target through its agent: what it announces, and how narrow its clock
 * relation can be. in: an open subject; out: checks of group "target" and measured precision.
 *
 * An exchange bounds the offset to [T3-T4, T2-T1]; half the width of that interval is
 * (T4-T1 - (T3-T2)) / 2. The best of some exchanges is the figure to expect.
 */
#include <stdio.h>
#include <string.h>

#include "measure/doctor.h"

#define CHANNEL_EXCHANGES 200
#define SHM_EXCHANGES     200
#define SHM_MAX_NS        (VNS_NSEC_PER_SEC / 2)
#define PTP_EXCHANGES     50

static int64_t width_ns(const struct vns_exchange *e)
{
	return (e->t4_ns - e->t1_ns) - (e->t3_ns - e->t2_ns);
}

static void measure_channel(struct vns_doctor *d, const struct vns_subject *s)
{
	struct vns_err err = { "" };
	struct vns_exchange e;

	for (int k = 0; k < CHANNEL_EXCHANGES; k++) {
		if (vns_agent_exchange(s->agent, &e, &err)) {
			vns_doctor_add(d, "target", "exchange", VNS_DOCTOR_NO,
				       VNS_DOCTOR_FOR_TARGET, "%.300s", err.text);
			return;
		}
		vns_dist_add(&d->channel, width_ns(&e));
	}
	vns_doctor_add_precision(d, VNS_CLOCK_CHANNEL, (double)d->channel.min / 2,
				 "half of the best of %d round trips over %s's own channel, measured "
				 "now", CHANNEL_EXCHANGES, s->name);
}

/* Half of the narrowest of @n exchanges. */
static double best_half_width(const struct vns_exchange *e, int n)
{
	int64_t best = width_ns(&e[0]);

	for (int k = 1; k < n; k++)
		if (width_ns(&e[k]) < best)
			best = width_ns(&e[k]);
	return (double)best / 2;
}

static void measure_shm(struct vns_doctor *d, const struct vns_subject *s, uint32_t caps)
{
	struct vns_exchange e[SHM_EXCHANGES];
	struct vns_err err = { "" };
	int n;

	if (!(caps & VNS_CAP_SHM) || !s->shm_page) {
		vns_doctor_add(d, "target", "shm", VNS_DOCTOR_NO, 0,
			       "no shared-memory device (lab guests have one)");
		vns_doctor_add_precision(d, VNS_CLOCK_SHM, -1, "%s has no such device", s->name);
		return;
	}
	n = vns_agent_shm_exchange(s->agent, s->shm_page, e, SHM_EXCHANGES, SHM_MAX_NS, &err);
	vns_doctor_add(d, "target", "shm", n > 0 ? VNS_DOCTOR_YES : VNS_DOCTOR_PARTLY, 0, "%.300s",
		       n > 0 ? "exchanges over the shared page work" :
		       *err.text ? err.text : "the guest answered none in time: too busy a machine?");
	if (n > 0)
		vns_doctor_add_precision(d, VNS_CLOCK_SHM, best_half_width(e, n),
					 "half of the best of %d exchanges over %s's shared page, "
					 "measured now", n, s->name);
}

static void measure_ptp(struct vns_doctor *d, const struct vns_subject *s, uint32_t caps)
{
	struct vns_exchange e[PTP_EXCHANGES];
	struct vns_err err = { "" };
	int n;

	if (!(caps & VNS_CAP_PTP_KVM)) {
		vns_doctor_add(d, "target", "ptp_kvm", VNS_DOCTOR_NO, 0,
			       "no KVM PTP device in the guest (KVM guests: modprobe ptp_kvm)");
		vns_doctor_add_precision(d, VNS_CLOCK_PTP_KVM, -1, "%s has no such device", s->name);
		return;
	}
	n = vns_agent_ptp_exchange(s->agent, e, PTP_EXCHANGES, &err);
	vns_doctor_add(d, "target", "ptp_kvm", n > 0 ? VNS_DOCTOR_YES : VNS_DOCTOR_NO, 0, "%.300s",
		       n > 0 ? "the guest reads the host's clock" : err.text);
	if (n > 0)
		vns_doctor_add_precision(d, VNS_CLOCK_PTP_KVM, best_half_width(e, n),
					 "half of the narrowest of %d readings in %s, measured now", n,
					 s->name);
}

static void examine_points(struct vns_doctor *d, const struct vns_subject *s)
{
	char all[200] = "";

	for (size_t k = 0; k < s->n_point; k++) {
		size_t used = strlen(all);

		snprintf(all + used, sizeof(all) - used, "%s%s %s", used ? ", " : "",
			 vns_point_kind_name(s->point[k].kind), s->point[k].ifname);
	}
	if (*all)
		vns_doctor_add(d, "target", "host_points", VNS_DOCTOR_YES, 0, "%s", all);
	else
		vns_doctor_add(d, "target", "host_points", VNS_DOCTOR_NO, 0,
			       "its packets were found on no interface of this machine%s%.260s",
			       s->unseen && *s->unseen ? ": " : "", s->unseen ? s->unseen : "");
}

void vns_doctor_examine_subject(struct vns_doctor *d, const struct vns_subject *s)
{
	const struct vns_agent_info *i = vns_agent_info(s->agent);
	bool capture = i->caps & VNS_CAP_CAPTURE;

	vns_doctor_add(d, "target", "agent", VNS_DOCTOR_YES, 0,
		       "%s: agent %s, protocol %u, on %s, %u CPUs, %s%s", i->hostname, i->version,
		       i->protocol, i->kernel, i->n_cpu, i->clocksource,
		       s->tcg ? "; emulated (TCG)" : "");
	vns_doctor_add(d, "target", "capture", capture ? VNS_DOCTOR_YES : VNS_DOCTOR_NO,
		       VNS_DOCTOR_FOR_TARGET, "%s%s", capture ? "packets can be captured on " :
								"no capture: ",
		       !capture ? i->capture_why : *s->guest_ifname ? s->guest_ifname :
								      "no interface");
	examine_points(d, s);
	if (s->exclude_filter && *s->exclude_filter)
		vns_doctor_add(d, "target", "own_traffic", VNS_DOCTOR_INFO, 0,
			       "left out of captures: %.290s", s->exclude_filter);
	vns_doctor_add(d, "target", "same_clock", VNS_DOCTOR_INFO, 0, "%s",
		       s->same_clock ? "it runs on this very kernel: one clock" :
				       "a kernel of its own: a clock of its own");
	measure_channel(d, s);
	measure_shm(d, s, i->caps);
	measure_ptp(d, s, i->caps);
}
