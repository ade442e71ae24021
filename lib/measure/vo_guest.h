/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's packets on their way to the engines. All calls need the subject's lock.
 */
#ifndef VNS_MEASURE_VO_GUEST_H
#define VNS_MEASURE_VO_GUEST_H

#include "measure/vo_run.h"

/* To the engines of their epoch, in order; others are counted. While it is in doubt whether one ended they are held. */
void vo_guest_packets(struct vo_subject *v, const struct vns_packet *pkts, size_t n);
/* All of the guest's packets up to @guest_ns have come. */
void vo_guest_upto(struct vo_subject *v, int64_t guest_ns);
/* The doubt is over: those held go where they belong. */
void vo_guest_release(struct vo_subject *v);
/* It will never be over: those held are counted as of no epoch. */
void vo_guest_drop(struct vo_subject *v);

#endif
