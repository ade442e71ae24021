/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The share of packets that a live run looks at, and its budget of CPU time. */
#ifndef VNS_MEASURE_VO_BUDGET_H
#define VNS_MEASURE_VO_BUDGET_H

#include "measure/vo_run.h"

/* Main thread, often: once a second the CPU time used is held against the budget. */
void vo_budget_check(struct vo_run *run, int64_t now_ns);

/* Subject's thread, often: tell the agent what share to send, ask what it uses. */
void vo_budget_agent(struct vo_subject *v);

/*
 * May looking at fewer packets bring @used of a CPU below @budget, where @packets a second are read? @before:
 * what was used when that was last tried, or 0.
 */
bool vo_budget_helps(double used, double budget, double packets, double before);

#endif
