// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A guest's agent that says nothing -> what stood still, as an event, and how long it is waited for.
 *
 * A capturing agent speaks every 250 ms. Where it does not for a second, three things show what it was:
 * the state of the guest's process on the host (stopped by a signal), the guest's own packets at the
 * innermost point of the host (they go on where only the agent stands still), and the next clock
 * exchange: a clock that fell behind was stopped with its guest, and vo_epoch.c has told that. A guest
 * whose process is stopped by a signal, or that gets no CPU, has a clock that goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/vo_epoch.h"
#include "measure/vo_quiet.h"

#define BACK_NS     (VO_QUIET_NS / 2) /* silent for less: it speaks again */
#define EDGE_NS     (200 * VNS_NSEC_PER_MSEC) /* signs of life are that coarse */
#define WATCH_NS    (VNS_NSEC_PER_SEC / 2)

/* The letter of process @pid's state (proc(5)), which follows its name, which may hold anything; '-': there is none. */
static char state_of(int pid)
{
	char path[64], line[512] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return '-';
	state = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return state && state[1] ? state[2] : '-';
}

/* Is process @pid stopped (T) or traced (t)? */
static bool is_stopped(int pid)
{
	char state = pid > 0 ? state_of(pid) : '-';

	return state == 'T' || state == 't';
}

void vo_say(struct vo_run *run, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!run->opts->say)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&run->saying);
	run->opts->say(run->opts->ctx, text);
	pthread_mutex_unlock(&run->saying);
}

void vo_quiet_packet(struct vo_subject *v, int64_t time_ns)
{
	struct vo_quiet *q = &v->quiet;

	if (q->heard_ns && time_ns - q->heard_ns > EDGE_NS) {
		q->gap_from_ns = q->heard_ns;
		q->gap_to_ns = time_ns;
	}
	q->heard_ns = time_ns;
}

/* Did packets of the guest's come at the host while its agent was silent? */
static bool heard_meanwhile(const struct vo_quiet *q, int64_t until_ns)
{
	int64_t from = q->since_ns + EDGE_NS, to = until_ns - EDGE_NS;

	if (q->heard_ns < from)
		return false;
	return q->gap_from_ns > from || q->gap_to_ns < to;
}

static void describe(struct vo_subject *v, int64_t until_ns)
{
	const struct vo_quiet *q = &v->quiet;
	const char *point = v->s->point[v->s->n_point - 1].ifname;
	double lasted = (double)(until_ns - q->since_ns) / 1e9;

	for (size_t i = q->n_event; i < v->n_event; i++)
		if (strcmp(v->event[i].kind, "stood_still") == 0 || strcmp(v->event[i].kind, "lost") == 0)
			return;
	if (q->stopped_ns >= q->since_ns && q->stopped_ns <= until_ns + WATCH_NS)
		vo_event(v, q->since_ns, "stood_still", "The guest stood still for about %.1f s from here: its "
			 "process %d on the host was stopped by a signal. Its clock went on.", lasted,
			 v->s->vmm_pid);
	else if (heard_meanwhile(q, until_ns))
		vo_event(v, q->since_ns, "agent_silent", "The guest's agent was silent for about %.1f s from here, "
			 "while packets of the guest came at %s: the agent was stopped, or starved in the "
			 "guest.", lasted, point);
	else
		vo_event(v, q->since_ns, "stood_still", "The guest gave no sign of life for about %.1f s from here: "
			 "its agent was silent and nothing came from it at %s (stopped, or starved by the "
			 "host). Its clock went on.", lasted, point);
}

static void begin(struct vo_subject *v, int64_t since_ns)
{
	struct vo_quiet *q = &v->quiet;

	bool stopped = is_stopped(v->s->vmm_pid); /* the main thread's next look may be after its end */

	q->since_ns = since_ns;
	q->back = false;
	give_way_lock(&v->turns);
	if (stopped)
		q->stopped_ns = vns_now_ns();
	q->n_event = v->n_event;
	pthread_mutex_unlock(&v->lock);
	vo_say(v->run, v->s->reconnect ? "%s: no sign of life for %.1f s; after %d s its connection is taken for "
	       "lost, and a new one is tried until the run ends" :
	       "%s: no sign of life for %.1f s; after %d s it is given up", v->s->name,
	       (double)(vns_now_ns() - since_ns) / 1e9, v->s->reconnect ? VO_LOST_S : VO_SILENT_S);
}

void vo_quiet_look(struct vo_subject *v)
{
	struct vo_quiet *q = &v->quiet;
	int64_t until_ns, silence = vns_agent_was_silent_ns(v->s->agent, &until_ns);

	if (!q->since_ns && silence > VO_QUIET_NS)
		begin(v, until_ns - silence);
	if (!q->since_ns)
		return;
	if (silence > BACK_NS)
		q->until_ns = until_ns;
	if (vns_agent_silence_ns(v->s->agent) > BACK_NS)
		return;
	if (v->doubting)
		return; /* the next exchanges tell whether it is a step that says so */
	if (!q->back) { /* the next exchange tells whether its clock stood still too */
		q->back = true;
		return;
	}
	give_way_lock(&v->turns);
	describe(v, q->until_ns);
	pthread_mutex_unlock(&v->lock);
	q->since_ns = 0;
}

void vo_quiet_watch(struct vo_run *run, int64_t now_ns)
{
	if (now_ns - run->watched_ns < WATCH_NS)
		return;
	run->watched_ns = now_ns;
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];
		bool stopped = is_stopped(v->s->vmm_pid);

		pthread_mutex_lock(&v->lock);
		if (stopped)
			v->quiet.stopped_ns = vns_now_ns();
		pthread_mutex_unlock(&v->lock);
	}
}

bool vo_quiet_is_stopped(const struct vo_subject *v)
{
	return is_stopped(v->s->vmm_pid);
}

static bool read_console(const struct vo_subject *v, char *line, size_t size)
{
	line[0] = '\0';
	return v->s->console && v->s->console(v->s->reconnect_ctx, line, size);
}

void vo_quiet_read_console(struct vo_subject *v)
{
	read_console(v, v->console, sizeof(v->console));
}

const char *vo_quiet_console(const struct vo_subject *v, char to[VO_CONSOLE_LEN])
{
	char line[sizeof(v->console)];

	to[0] = '\0';
	if (read_console(v, line, sizeof(line)) && strcmp(line, v->console) != 0)
		snprintf(to, VO_CONSOLE_LEN, "; its console says last: %.90s", line);
	return to;
}

bool vo_quiet_has_ended(const struct vo_subject *v)
{
	char state = v->s->vmm_pid > 0 ? state_of(v->s->vmm_pid) : 'R';

	return state == '-' || state == 'Z' || state == 'X';
}

bool vo_quiet_answers(struct vo_subject *v, struct vns_err *err)
{
	const volatile int *stop = v->run->opts->stop;
	double silence = (double)vns_agent_silence_ns(v->s->agent) / 1e9;
	int code;

	if (silence * 1e9 <= VO_QUIET_NS)
		return true;
	if (!v->note[0])
		vo_say(v->run, "%s: silent for %.1f s; its last packets are waited for, %.1f s at most", v->s->name,
		       silence, stop && *stop ? VNS_AGENT_STOP_MS / 1e3 : VO_END_WAIT_MS / 1e3);
	vns_agent_set_timeout(v->s->agent, VO_END_WAIT_MS);
	v->usage_to_ns = vns_monotonic_ns();
	code = vns_agent_usage(v->s->agent, &v->usage_end, err);
	vns_agent_set_timeout(v->s->agent, 0);
	if (code == -ETIMEDOUT)
		vns_err_set(err, code, "%s silent for %.1f s when the run ended, and answered nothing until %.1f s after; "
			    "its last packets are missing",
			    vo_quiet_is_stopped(v) ? "its process on the host is stopped by a signal; it had been" :
						     "its agent had been",
			    silence, (double)(vns_monotonic_ns() - v->usage_to_ns) / 1e9);
	return code >= 0;
}
