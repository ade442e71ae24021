// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Main thread of a live run: the rings of the host's interfaces -> the subjects' twins and RTT engines.
 *
 * Rings are looked at by the clock (a wake-up for each block that the kernel hands over would take a
 * processor from the observed 400 times a second). One look, a pump, reads what had been captured when it
 * began, and at most for PUMP_NS: where packets come faster than they are read the reader falls behind, but the
 * run's end and an interrupt are still seen in time. How far each point has been read is told to the engines, so
 * that what the other end saw later waits, or is outside the window at the end, and is not missing. What the
 * kernel had no room for is counted there. After the run's end its last packets are read for END_NS
 * of processor time at most (who gets none for a while has not read too slowly), and LONGEST times that by the
 * clock; those that are left then are counted among the lost, and an event says so.
 *
 * As long as it keeps up the thread gives way to what it observes (give_way.c). It does not any more once it has
 * fallen behind or the kernel had to drop packets.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "measure/vo_links.h"
#include "measure/vo_pump.h"
#include "measure/vo_quiet.h"
#include "source/source.h"

#define BATCH       256
#define PUMP_NS     (100 * VNS_NSEC_PER_MSEC) /* for all points together; an interrupt waits for it */
#define MOMENT_NS   VNS_NSEC_PER_MSEC /* instead of a wait when there is more: others want the locks */
#define HOST_LAG_NS (50 * VNS_NSEC_PER_MSEC) /* a silent ring is complete up to so long ago */
#define END_NS      (500 * VNS_NSEC_PER_MSEC) /* for the last packets; this thread's processor time */
#define STOP_NS     (200 * VNS_NSEC_PER_MSEC) /* the same after an interrupt */
#define LONGEST     5 /* by the clock, so many times that */
#define STEPPED_NS  VNS_NSEC_PER_SEC /* a stamp so far ahead is of before the clock was set back */
#define DROPS_NS    (250 * VNS_NSEC_PER_MSEC) /* between looks at the kernel's counters */

/* Packets of one point of a subject, some of them perhaps its own under other addresses. */
static void feed_host(struct vo_subject *v, size_t k, const struct vns_packet *pkts, size_t n)
{
	for (size_t i = 0; i < v->n_pair; i++) {
		if (!v->pair[i].twin) {
			if (v->pair[i].a == k && v->pair[i].b == VO_GUEST)
				vo_pair_unseen(&v->pair[i], pkts, n);
			continue;
		}
		if (v->pair[i].a == k)
			vns_twin_feed(v->pair[i].twin, VNS_POINT_A, pkts, n);
		else if (v->pair[i].b == k)
			vns_twin_feed(v->pair[i].twin, VNS_POINT_B, pkts, n);
	}
}

static bool is_guest(const struct vns_subject *s, const struct vns_addr *a)
{
	for (size_t i = 0; i < s->n_guest; i++)
		if (vns_addr_equal(a, &s->guest[i]))
			return true;
	return false;
}

static bool is_any_guest(const struct vo_run *run, const struct vns_addr *a)
{
	for (size_t i = 0; i < run->n; i++)
		if (is_guest(run->subject[i].s, a))
			return true;
	return false;
}

/* At a point where addresses are translated: may @p be a subject's all the same? */
static bool may_be_translated(const struct vo_run *run, const struct vns_packet *p)
{
	return !(p->flags & VNS_PKT_F_MULTICAST) && !is_any_guest(run, &p->key.addr[0]) &&
	       !is_any_guest(run, &p->key.addr[1]);
}

/* Is it of the sample? Those that are not count. */
static bool is_looked_at(struct vo_subject *v, size_t k, const struct vns_packet *p)
{
	bool taken = vo_subject_samples(v, k, p);

	v->not_sampled[k] += !taken && vo_in_phase(v->run, VO_TRAFFIC);
	return taken;
}

/*
 * Take the subject's own packets out of a batch of a shared point: probes go to the clock, the rest to
 * twins and RTT. Where NAT hides whose they are the twins get the others too.
 */
static void sort_out(struct vo_run *run, struct vo_subject *v, size_t k,
		     const struct vns_packet *pkts, size_t n)
{
	bool nat = run->points.point[run->points.index[v - run->subject][k]].nat &&
		   run->points.nat[v - run->subject];
	struct vns_packet own[BATCH], all[BATCH];
	size_t m = 0, n_all = 0;

	give_way_lock_reading(&v->turns);
	for (size_t i = 0; i < n; i++) {
		const struct vns_packet *p = &pkts[i];

		if (!is_guest(v->s, &p->key.addr[0]) && !is_guest(v->s, &p->key.addr[1])) {
			if (vo_in_phase(run, VO_TRAFFIC) && k + 1 == v->s->n_point)
				vo_links_unknown(v, p);
			if (nat && may_be_translated(run, p) && is_looked_at(v, k, p))
				all[n_all++] = *p;
			continue;
		}
		if (v->gather) {
			/* the innermost point stamps the probes; the others only leave them out */
			bool inner = k == v->s->n_point - 1;

			if (inner ? vns_gather_packet(v->gather, VNS_POINT_A, p) :
				    vns_gather_is_probe(v->gather, p))
				continue;
		}
		if (k + 1 == v->s->n_point && is_guest(v->s, vns_packet_src(p)))
			vo_quiet_packet(v, p->time_ns);
		if (!is_looked_at(v, k, p))
			continue;
		own[m++] = *p;
		if (nat)
			all[n_all++] = *p;
	}
	if (vo_in_phase(run, VO_TRAFFIC)) {
		feed_host(v, k, nat ? all : own, nat ? n_all : m);
		if (v->rtt[k])
			vns_rtt_feed(v->rtt[k], own, m);
	}
	pthread_mutex_unlock(&v->lock);
}

/* To every subject that is seen at point @at; of what came before the traffic nothing is looked at. */
static void deliver(struct vo_run *run, size_t at, const struct vns_packet *pkts, size_t n)
{
	struct vns_vo_point *p = &run->points.point[at];
	size_t early = 0;

	while (!p->begun && vo_in_phase(run, VO_TRAFFIC) && early < n && pkts[early].time_ns < run->from_ns)
		early++;
	p->begun |= vo_in_phase(run, VO_TRAFFIC) && early < n;
	if (early == n)
		return;
	run->budget_packets += (uint64_t)(n - early);
	for (size_t i = 0; i < run->n; i++)
		for (size_t k = 0; k < run->subject[i].s->n_point; k++)
			if (run->points.index[i][k] == at)
				sort_out(run, &run->subject[i], k, pkts + early, n - early);
}

/* The source says @code instead of packets. */
static void no_packets(struct vo_run *run, size_t at, int code)
{
	struct vns_vo_point *p = &run->points.point[at];

	p->ended = code != -ENETDOWN;
	if (!p->ended && !p->down_ns) {
		p->down_ns = vns_now_ns();
		p->down_told = false;
	}
}

/* Read one host interface up to what was captured by @mark_ns, as long as it is not @limit_ns (monotonic). */
static void drain_point(struct vo_run *run, size_t at, int64_t mark_ns, int64_t limit_ns)
{
	struct vns_vo_point *p = &run->points.point[at];
	struct vns_packet pkts[BATCH];
	int64_t last_ns;
	int n;

	p->behind = false;
	while (!p->ended && !p->behind && (n = vns_source_next(p->source, pkts, BATCH, &p->why)) != 0) {
		give_way_alive(&run->reading);
		if (n < 0) {
			no_packets(run, at, n);
			break;
		}
		if (p->down_ns)
			vo_links_up(run, at);
		deliver(run, at, pkts, (size_t)n);
		last_ns = pkts[n - 1].time_ns;
		if (last_ns >= mark_ns && last_ns < mark_ns + STEPPED_NS)
			break;
		p->behind = vns_monotonic_ns() >= limit_ns;
		p->upto_ns = last_ns - HOST_LAG_NS;
	}
	p->begun |= !p->behind && vo_in_phase(run, VO_TRAFFIC);
}

/*
 * Tell a pair up to when all that was captured at point @k has been read: for good, once it ended. What
 * came before the pair was begun went to another or to none, so of that time it says nothing:
 * packets of it that come late from the guest are outside the window.
 */
static void advance_pair(const struct vo_run *run, const struct vo_pair *p, enum vns_point at, size_t k)
{
	const struct vns_vo_point *point =
		&run->points.point[run->points.index[p->subject - run->subject][k]];
	int64_t from_ns = p->from_ns > run->from_ns ? p->from_ns : run->from_ns;

	if (point->ended)
		vns_twin_advance(p->twin, at, INT64_MAX);
	else if (point->upto_ns >= from_ns)
		vns_twin_advance(p->twin, at, point->upto_ns);
}

static void advance_host(struct vo_run *run)
{
	for (size_t i = 0; vo_in_phase(run, VO_TRAFFIC) && i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];

		give_way_lock_reading(&v->turns);
		for (size_t j = 0; j < v->n_pair; j++) {
			if (!v->pair[j].twin)
				continue;
			advance_pair(run, &v->pair[j], VNS_POINT_A, v->pair[j].a);
			if (v->pair[j].b != VO_GUEST)
				advance_pair(run, &v->pair[j], VNS_POINT_B, v->pair[j].b);
		}
		pthread_mutex_unlock(&v->lock);
	}
}

/* Wait a little, then read what has been captured by now, but nothing later than @end_ns. */
static void pump(struct vo_run *run, int64_t wait_ns, int64_t end_ns)
{
	int64_t share_ns = PUMP_NS / (int64_t)(run->points.n ? run->points.n : 1), now_ns, mark_ns;

	vns_sleep_ns(run->behind && wait_ns > MOMENT_NS ? MOMENT_NS : wait_ns);
	give_way_alive(&run->reading);
	now_ns = vns_now_ns();
	mark_ns = now_ns < end_ns ? now_ns : end_ns;
	run->behind = false;
	for (size_t i = 0; i < run->points.n; i++) {
		struct vns_vo_point *p = &run->points.point[i];

		drain_point(run, i, mark_ns, vns_monotonic_ns() + share_ns);
		if (!p->behind)
			p->upto_ns = now_ns - HOST_LAG_NS < mark_ns ? now_ns - HOST_LAG_NS : mark_ns;
		run->behind |= p->behind;
	}
	vo_links_look(run);
	advance_host(run);
}

/* Reading has to be quicker: it gives way no longer. */
static void hurry(struct vo_run *run, const char *ifname, const char *why)
{
	if (give_way_end(&run->reading))
		vo_say(run, "%s: %s; reading them gives way to other work no longer", ifname, why);
}

/* Did the kernel drop packets since the last look? */
static void look_at_drops(struct vo_run *run)
{
	int64_t now_ns = vns_monotonic_ns();

	if (now_ns - run->drops_ns < DROPS_NS)
		return;
	run->drops_ns = now_ns;
	for (size_t i = 0; i < run->points.n; i++) {
		struct vns_vo_point *p = &run->points.point[i];
		uint64_t drops = vns_vo_point_drops(p);

		if (drops && !p->dropping)
			vo_links_tell(run, i, "drops", "From here on the kernel had to drop packets: they came faster "
				   "than they were read. They count as lost by the capture.");
		if (drops)
			hurry(run, p->ifname, "packets are dropped");
		p->dropping |= drops > 0;
	}
}

void vo_pump(struct vo_run *run, int64_t wait_ns)
{
	pump(run, wait_ns, INT64_MAX);
	if (!vo_in_phase(run, VO_TRAFFIC))
		return;
	for (size_t i = 0; i < run->points.n; i++)
		if (run->points.point[i].behind)
			hurry(run, run->points.point[i].ifname, "packets come faster than they are read");
	look_at_drops(run);
}

/* Packets up to @end_ns that nobody will read any more. */
static void count_left(struct vo_run *run, int64_t end_ns)
{
	char text[160];

	for (size_t i = 0; i < run->points.n; i++) {
		struct vns_vo_point *p = &run->points.point[i];

		if (!p->behind || !p->source)
			continue;
		p->left = vns_source_left(p->source, end_ns);
		if (!p->left)
			continue;
		p->lost += p->left;
		snprintf(text, sizeof(text), "When the run ended, %" PRIu64 " packets of its last %.2f s had not been "
			 "read and were not waited for. They count as lost by the capture.", p->left,
			 (double)(end_ns - p->upto_ns - HOST_LAG_NS) / 1e9);
		vo_links_tell(run, i, "behind", text);
	}
}

static int64_t thread_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
}

void vo_pump_end(struct vo_run *run, int64_t wait_ns)
{
	int64_t began_ns = vns_monotonic_ns(), began_cpu_ns = thread_cpu_ns(), end_ns = vns_now_ns();
	int64_t took_ns = 0, used_ns = 0, most_ns = END_NS;

	run->drops_ns = 0; /* what is dropped from here on came after the end */
	look_at_drops(run);
	vns_vo_points_count(&run->points, false);
	while (took_ns < HOST_LAG_NS || (run->behind && used_ns < most_ns && took_ns < LONGEST * most_ns)) {
		pump(run, wait_ns, end_ns);
		took_ns = vns_monotonic_ns() - began_ns;
		used_ns = thread_cpu_ns() - began_cpu_ns;
		most_ns = vo_stopped(run) ? STOP_NS : END_NS;
	}
	count_left(run, end_ns);
}
