/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host's interfaces of a live run tell beside the guests' packets. Main thread.
 */
#ifndef VNS_MEASURE_VO_LINKS_H
#define VNS_MEASURE_VO_LINKS_H

#include "measure/vo_run.h"

/* Something happened at point @at of the run @ctx, now: an event of every subject that is seen there. */
void vo_links_tell(void *ctx, size_t at, const char *kind, const char *text);
/* A packet at @v's innermost point that bears none of its addresses; needs its lock. */
void vo_links_unknown(struct vo_subject *v, const struct vns_packet *p);
/* Packets come at point @at, which was down. */
void vo_links_up(struct vo_run *run, size_t at);
/* What rtnetlink says; points that are down for a second. */
void vo_links_look(struct vo_run *run);
/* The traffic is over: points that are down and not told. */
void vo_links_end(struct vo_run *run);

#endif
