/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Windows of time with one clock relation each, and what happened to a subject meanwhile.
 * All calls need the subject's lock, or its only thread.
 */
#ifndef VNS_MEASURE_VO_EPOCH_H
#define VNS_MEASURE_VO_EPOCH_H

#include "measure/vo_run.h"

/* Note something that happened to @v at @at_ns (host clock). Return: it, borrowed, or NULL: there was no room. */
struct vns_vo_event *vo_event(struct vo_subject *v, int64_t at_ns, const char *kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Note what the last look at both kernels' clocks found, @at_ns: the rates that a clock is steered by are one event,
 * which tells their number, time and range; clock sources are a few. The others thus find room.
 */
void vo_event_clocks(struct vo_subject *v, int64_t at_ns);

/*
 * Look at the exchanges made since the last call. Has the clock certainly stepped, the epoch ends: its
 * pairs are finished, their samples get the relation they belong to, and new pairs begin. A
 * window that has grown long or full is closed too, and goes over into the next.
 * Return: 0 or -errno.
 */
int vo_epoch_check(struct vo_subject *v, struct vns_err *err);

/*
 * Pairs at the subject's point @k (SIZE_MAX: all) end and begin anew, with the same relation: the
 * capture there is another one now, or chooses other packets.
 */
int vo_epoch_renew(struct vo_subject *v, size_t k, struct vns_err *err);

/* Before the first epoch: the exchanges made so far are of a guest that was lost and count no more. */
int vo_epoch_forget(struct vo_subject *v, struct vns_err *err);

/* The guest cannot be reached: end the epoch; its pairs wait for vo_epoch_begin(). */
int vo_epoch_end(struct vo_subject *v, struct vns_err *err);

/* The exchanges since vo_epoch_end() begin a new epoch. */
int vo_epoch_begin(struct vo_subject *v, struct vns_err *err);

/* The run is over: every sample left gets its relation, every figure is completed. */
int vo_epoch_finish(struct vo_subject *v);

/*
 * Is @guest_ns later than the guest's clock, as it is known, can be at @now_ns (host)? Then that clock was
 * set forward, and the exchange that shows by how much is still to come.
 */
bool vo_epoch_is_ahead(const struct vo_subject *v, int64_t guest_ns, int64_t now_ns);

/*
 * Of which epoch may a guest's packet of @guest_ns be? Some of the last one may still be under way
 * (VO_EPOCH_BEFORE); there is none while the guest cannot be reached.
 */
enum vo_epoch { VO_EPOCH_THIS = 0, VO_EPOCH_AHEAD, VO_EPOCH_BEFORE };
enum vo_epoch vo_epoch_of(const struct vo_subject *v, int64_t guest_ns);

#endif
