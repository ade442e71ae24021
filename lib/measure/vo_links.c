// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A live run's host points: rtnetlink's messages, the captures' errors, packets of addresses that nobody told
 * -> events and counts of the subjects that are seen there.
 *
 * An interface that is removed goes down first, some time before: the kernel waits in between for all that still
 * looks at it (dev_close_many(), synchronize_net(), then RTM_DELLINK). So that it went down is told after
 * DOWN_NS only, with the time when it did, and not at all where it was removed meanwhile. Whoever reads late finds
 * packets of before and after first, and that it was down last: then it is up again by the kernel's messages.
 */
#include <string.h>

#include "measure/vo_epoch.h"
#include "measure/vo_links.h"

#define DOWN_NS VNS_NSEC_PER_SEC

/* Something happened at a host point at @at_ns: every subject seen there is told. */
static void tell_at(struct vo_run *run, size_t at, int64_t at_ns, const char *kind, const char *text)
{
	struct vns_err err = { "" };

	for (size_t i = 0; i < run->n; i++) {
		for (size_t k = 0; k < run->subject[i].s->n_point; k++) {
			if (run->points.index[i][k] != at)
				continue;
			pthread_mutex_lock(&run->subject[i].lock);
			vo_event(&run->subject[i], at_ns, kind, "%s: %s",
				 run->points.point[at].ifname, text);
			if (strcmp(kind, "returned") == 0 &&
			    vo_epoch_renew(&run->subject[i], k, &err))
				vo_subject_fail(&run->subject[i], err.text);
			pthread_mutex_unlock(&run->subject[i].lock);
		}
	}
}

void vo_links_tell(void *ctx, size_t at, const char *kind, const char *text)
{
	tell_at(ctx, at, vns_now_ns(), kind, text);
}

/* Once. */
static void tell_down(struct vo_run *run, size_t at)
{
	struct vns_vo_point *p = &run->points.point[at];

	if (!p->down_told)
		tell_at(run, at, p->down_ns, "link_down", p->why.text);
	p->down_told = true;
}

static void tell_up(struct vo_run *run, size_t at, const char *text)
{
	tell_down(run, at);
	vo_links_tell(run, at, "link_up", text);
	run->points.point[at].down_ns = 0;
}

/* Those that went down @age_ns ago or earlier, and have not been removed since. */
static void tell_downs(struct vo_run *run, int64_t age_ns)
{
	int64_t now_ns = vns_now_ns();

	for (size_t at = 0; at < run->points.n; at++) {
		const struct vns_vo_point *p = &run->points.point[at];

		if (!p->down_ns || now_ns - p->down_ns < age_ns)
			continue;
		tell_down(run, at);
		if (p->said_up)
			tell_up(run, at, "It is up again.");
	}
}

void vo_links_up(struct vo_run *run, size_t at)
{
	tell_up(run, at, "It is up again: packets come.");
}

void vo_links_look(struct vo_run *run)
{
	vns_vo_watch_read(&run->points, vo_links_tell, run);
	tell_downs(run, DOWN_NS);
}

void vo_links_end(struct vo_run *run)
{
	tell_downs(run, 0);
}

/* Does it come from the guest? On a tap of its own nobody else sends; what the bridge floods goes the other way. */
void vo_links_unknown(struct vo_subject *v, const struct vns_packet *p)
{
	const struct vo_run *run = v->run;

	if (!run->points.point[run->points.index[v - run->subject][v->s->n_point - 1]].own ||
	    (p->flags & (VNS_PKT_F_OUTGOING | VNS_PKT_F_MULTICAST)) || p->verdict == VNS_PKT_NOT_IP ||
	    p->verdict > VNS_PKT_FRAGMENT)
		return;
	v->unknown_address++;
	v->unknown = *vns_packet_src(p);
}
