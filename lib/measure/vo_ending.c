// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The end of a live run: traffic's end, interrupt, what the agent still sends -> when it is over.
 *
 * A guest that gets little CPU lags: its agent may hold packets of many seconds when the run ends, and it
 * speaks all the while, so that silence bounds nothing. All that comes after the traffic (the
 * capture's rest, the far end of the relation) has one limit together. The twin engine knows up to when
 * the guest's capture was read, so host packets later than that are outside the window, not missing.
 */
#include <errno.h>

#include "measure/vo_ending.h"
#include "measure/vo_epoch.h"
#include "measure/vo_quiet.h"

#define LEAST_MS 50 /* to end a capture: the request must at least be sent */
#define LATE_NS  (200 * VNS_NSEC_PER_MSEC) /* rings and batches hold packets back so long anyway */
#define LAG_NS   VNS_NSEC_PER_SEC /* further behind than that: it is said that it is waited for */

int vo_ending_left_ms(int64_t over_ns, int64_t stop_ns, int64_t now_ns)
{
	int64_t limit = over_ns + VO_END_WAIT_MS * VNS_NSEC_PER_MSEC, stop;

	if (stop_ns) {
		stop = (stop_ns > over_ns ? stop_ns : over_ns) + VNS_AGENT_STOP_MS * VNS_NSEC_PER_MSEC;
		limit = stop < limit ? stop : limit;
	}
	return now_ns < limit ? (int)((limit - now_ns) / VNS_NSEC_PER_MSEC) : 0;
}

static int left_ms(struct vo_run *run)
{
	int64_t now_ns = vns_monotonic_ns(), never = 0;

	if (run->opts->stop && *run->opts->stop)
		atomic_compare_exchange_strong(&run->stop_ns, &never, now_ns);
	return vo_ending_left_ms(run->over_ns, atomic_load(&run->stop_ns), now_ns);
}

bool vo_ending_bound(struct vo_subject *v)
{
	int left = left_ms(v->run);

	vns_agent_set_timeout(v->s->agent, left > LEAST_MS ? left : LEAST_MS);
	return left > 0;
}

/* By how much what has come of the guest's packets falls short of the run's end. */
static int64_t behind_ns(struct vo_subject *v)
{
	int64_t behind;

	give_way_lock(&v->turns);
	if (v->guest_upto_ns)
		behind = v->run->to_ns - (v->guest_upto_ns - (v->epoch_guest_ns - v->epoch_from_ns));
	else
		behind = v->run->to_ns - v->run->from_ns; /* nothing has come yet */
	pthread_mutex_unlock(&v->lock);
	return behind;
}

void vo_ending_begin(struct vo_subject *v)
{
	int64_t behind = behind_ns(v);
	int left = left_ms(v->run);

	if (behind > LAG_NS && left > 0)
		vo_say(v->run, "%s: its packets come %.1f s late; the rest is waited for, %.1f s at most",
		       v->s->name, (double)behind / 1e9, left / 1e3);
	vo_ending_bound(v);
}

int vo_ending_fetch(struct vo_subject *v, struct vns_err *err)
{
	int64_t behind;
	int code;

	vo_ending_bound(v);
	code = vns_agent_capture_stop(v->s->agent, VO_CAPTURE_ID, err);
	if (code != -ETIMEDOUT || vns_agent_silence_ns(v->s->agent) > VO_QUIET_NS)
		return code;
	behind = behind_ns(v);
	if (behind <= LATE_NS)
		return 0;
	give_way_lock(&v->turns);
	vo_event(v, v->run->to_ns - behind, "late", "The guest's packets come late: when the run ended, those of "
		 "its last %.1f s had not come and were not waited for any longer; they are outside the window, "
		 "not missing.", (double)behind / 1e9);
	pthread_mutex_unlock(&v->lock);
	return 0;
}
