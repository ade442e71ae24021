/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that give no sign of life for a while in a live run: noticed, named, waited for.
 */
#ifndef VNS_MEASURE_VO_QUIET_H
#define VNS_MEASURE_VO_QUIET_H

#include "measure/vo_run.h"

#define VO_QUIET_NS VNS_NSEC_PER_SEC /* four signs of life missed: it is not running now */
#define VO_CONSOLE_LEN 160
#define VO_LOST_S   5   /* twenty signs of life missed: try a new connection */
#define VO_SILENT_S 15  /* as long does vns_agent_poll() wait for a sign of life */
#define VO_END_WAIT_MS 3000 /* for all that comes after the traffic */

/* A sentence for the user at once. */
void vo_say(struct vo_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A packet from the guest at the host's innermost point. Needs the subject's lock. */
void vo_quiet_packet(struct vo_subject *v, int64_t time_ns);

/* Subject's thread, after each look at its agent: has it fallen silent, does it speak again? */
void vo_quiet_look(struct vo_subject *v);

/* Is the guest's process, as far as it is known, stopped by a signal now? */
bool vo_quiet_is_stopped(const struct vo_subject *v);

/* Has that process ended? False where it is not known. */
bool vo_quiet_has_ended(const struct vo_subject *v);

/* Remember what the guest's console says, where it can be read. */
void vo_quiet_read_console(struct vo_subject *v);
/* "; its console says last: ...": when that is another line; else "". Return: @to. */
const char *vo_quiet_console(const struct vo_subject *v, char to[VO_CONSOLE_LEN]);

/* Main thread, from time to time: which guests' processes are stopped? @now_ns: monotonic. */
void vo_quiet_watch(struct vo_run *run, int64_t now_ns);

/*
 * The run is over: an agent that is silent is asked, and waited for 3 s, after an interrupt for
 * VNS_AGENT_STOP_MS. Return: does it speak? If not, @err says why.
 */
bool vo_quiet_answers(struct vo_subject *v, struct vns_err *err);

#endif
