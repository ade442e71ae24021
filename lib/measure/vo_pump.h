/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The main thread's part of a live run: reading the host's interfaces, in bounded time. */
#ifndef VNS_MEASURE_VO_PUMP_H
#define VNS_MEASURE_VO_PUMP_H

#include "measure/vo_run.h"

/*
 * Wait @wait_ns, less where the last look left something; then read what the host's rings hold by now, in a tenth
 * of a second at most (run->behind: that was not all), and tell the engines how far that is.
 */
void vo_pump(struct vo_run *run, int64_t wait_ns);

/*
 * The traffic is over: read on until all is read that was captured by now, for half a second of processor time at
 * most. What was lost by now and what is left is counted (struct vns_vo_point), and an event tells of it.
 */
void vo_pump_end(struct vo_run *run, int64_t wait_ns);

#endif
