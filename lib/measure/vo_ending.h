/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long the end of a live run may take, and what is said of a guest whose packets come later.
 */
#ifndef VNS_MEASURE_VO_ENDING_H
#define VNS_MEASURE_VO_ENDING_H

#include "measure/vo_run.h"

/*
 * Milliseconds that are left at @now_ns of a run whose traffic ended at @over_ns and that was interrupted
 * at @stop_ns (0: it was not); all monotonic. 0: it is time to end.
 */
int vo_ending_left_ms(int64_t over_ns, int64_t stop_ns, int64_t now_ns);

/* Subject's thread, the traffic is over: a guest that lags is named, and how long it is waited for. */
void vo_ending_begin(struct vo_subject *v);

/* Subject's thread: the next request waits for no longer than is left. Return: is anything left? */
bool vo_ending_bound(struct vo_subject *v);

/*
 * End the guest's capture and take in the rest of it, as far as it comes in time; an event tells what did
 * not. Return: 0; -errno: the agent failed or fell silent.
 */
int vo_ending_fetch(struct vo_subject *v, struct vns_err *err);

#endif
