// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Wait until every agent of a starting lab has answered, and note what it said of itself; later ask whether
 * those of a running one still do.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vnetscope/agent.h>

#include "lab/internal.h"

/* An emulated guest boots in 2 s alone; on a host with a load of 14 one took 65 s. */
#define PATIENCE_S           120
#define PATIENCE_PER_GUEST_S 10
#define SLICE_MS             1000 /* how soon Ctrl-C and a dead QEMU are noticed, at first */
#define LONGEST_MS           16000 /* a guest that is starved needs longer: whoever hangs up first never hears it */

static int connect_ctl(const struct vns_lab *lab, const struct vns_lab_node *n)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char path[VNS_LAB_PATH_LEN];
	int fd, rc;

	vns_lab_path(lab, n->name, "ctl", path);
	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static void note(struct vns_lab_node *n, struct vns_agent *agent)
{
	const struct vns_agent_info *i = vns_agent_info(agent);

	snprintf(n->agent_version, sizeof(n->agent_version), "%s", i->version);
	snprintf(n->clocksource, sizeof(n->clocksource), "%s", i->clocksource);
	snprintf(n->kernel, sizeof(n->kernel), "%s", i->kernel);
}

static void first_log_line(const struct vns_lab *lab, const struct vns_lab_node *n, char *buf,
			   size_t len)
{
	char path[VNS_LAB_PATH_LEN];
	FILE *f = fopen(vns_lab_path(lab, n->name, "log", path), "re");

	buf[0] = '\0';
	if (!f)
		return;
	if (fgets(buf, (int)len, f))
		buf[strcspn(buf, "\n")] = '\0';
	fclose(f);
}

/* QEMU's log says why it ended; the guest's console, when it ended by itself. */
static int ended(const struct vns_lab *lab, const struct vns_lab_node *n, struct vns_err *err)
{
	char why[200] = "", line[200] = "", log[200];

	first_log_line(lab, n, log, sizeof(log));
	/* The holder needs a moment to reap it and write down how it ended. */
	for (int i = 0; i < 50 && !vns_lab_node_exit(lab, n->name, why, sizeof(why)); i++)
		vns_sleep_ns(10 * VNS_NSEC_PER_MSEC);
	vns_lab_serial_tail(lab, n->name, line, sizeof(line));
	return vns_err_set(err, -ECHILD, "%s ended while it started (%s)%s%s", n->name,
			   why[0] ? why : "no reason recorded", log[0] || line[0] ? ": " : "",
			   log[0] ? log : line);
}

static int late(const struct vns_lab *lab, const struct vns_lab_node *n, int waited_s,
		const struct vns_err *last, struct vns_err *err)
{
	char line[200];

	if (vns_lab_serial_tail(lab, n->name, line, sizeof(line)))
		return vns_err_set(err, -ETIMEDOUT, "%s has not answered after %d s; its console "
				   "says last: %s", n->name, waited_s, line);
	return vns_err_set(err, -ETIMEDOUT, "%s has not answered after %d s (%.200s)", n->name,
			   waited_s, last->text[0] ? last->text : "its console is silent");
}

/* A keeper starts an agent at once: one that closes the connection will not do better later. */
static int agent_fails(const struct vns_lab *lab, const struct vns_lab_node *n,
		       const struct vns_err *why, struct vns_err *err)
{
	char log[200];

	first_log_line(lab, n, log, sizeof(log));
	return vns_err_set(err, -EPIPE, "%.200s%s%s", why->text, log[0] ? ": " : "", log);
}

static int await(const struct vns_lab *lab, struct vns_lab_node *n, const struct vns_lab_opts *o,
		 int64_t end_ns, int waited_s, struct vns_err *err)
{
	for (int slice_ms = SLICE_MS;; slice_ms += slice_ms < LONGEST_MS ? slice_ms / 4 : 0) {
		struct vns_err why = { 0 };
		struct vns_agent *agent;
		int fd, rc;

		if (o->interrupted && *o->interrupted)
			return vns_err_set(err, -EINTR, "interrupted");
		fd = connect_ctl(lab, n);
		rc = fd < 0 ? fd : vns_agent_attach(&agent, n->name, fd, fd, 0, slice_ms, &why);
		if (rc == 0) {
			note(n, agent);
			vns_agent_close(agent);
			return 0;
		}
		if (rc == -EPROTO)
			return vns_err_set(err, rc, "%s", why.text);
		if (!vns_proc_alive(&n->proc))
			return ended(lab, n, err);
		if (rc == -EPIPE && (n == &lab->client || lab->backend == VNS_LAB_NETNS))
			return agent_fails(lab, n, &why, err);
		if (vns_monotonic_ns() >= end_ns)
			return late(lab, n, waited_s, &why, err);
		vns_sleep_ns(20 * VNS_NSEC_PER_MSEC);
	}
}

struct question {
	const struct vns_lab *lab;
	struct vns_lab_node *node;
	pthread_t thread;
};

static void *ask(void *arg)
{
	struct question *q = arg;
	struct vns_agent *agent;
	int lock, fd, rc;
	char who[64];

	lock = vns_lab_lock(q->lab, q->node->name, VNS_LAB_ASKING, who, sizeof(who));
	if (lock < 0)
		return NULL;
	fd = connect_ctl(q->lab, q->node);
	rc = fd < 0 ? fd : vns_agent_attach(&agent, q->node->name, fd, fd, 0, VNS_LAB_ASK_MS, NULL);
	if (rc == 0)
		vns_agent_close(agent);
	/* one that was killed meanwhile is told as such */
	q->node->silent = rc != 0 && vns_proc_alive(&q->node->proc) && !vns_proc_stopped(&q->node->proc);
	close(lock);
	return NULL;
}

void vns_lab_ask(struct vns_lab *lab)
{
	struct question q[VNS_LAB_MAX_GUESTS];
	unsigned int n = 0;

	if (lab->backend != VNS_LAB_QEMU || lab->phase != VNS_LAB_RUNNING || !vns_proc_alive(&lab->holder))
		return;
	for (unsigned int i = 0; i < lab->n_guest; i++) {
		struct vns_lab_node *node = &lab->guest[i];

		if (!vns_proc_alive(&node->proc) || vns_proc_stopped(&node->proc))
			continue;
		q[n] = (struct question){ .lab = lab, .node = node };
		if (pthread_create(&q[n].thread, NULL, ask, &q[n]) == 0)
			n++;
	}
	while (n > 0)
		pthread_join(q[--n].thread, NULL);
}

int lab_await_agents(struct vns_lab *lab, const struct vns_lab_opts *o, struct vns_err *err)
{
	int patience_s = PATIENCE_S + PATIENCE_PER_GUEST_S * (int)lab->n_guest;
	int64_t start = vns_monotonic_ns(), end = start + patience_s * VNS_NSEC_PER_SEC;
	int rc = await(lab, &lab->client, o, end, patience_s, err);

	for (unsigned int i = 0; i < lab->n_guest && rc == 0; i++) {
		rc = await(lab, &lab->guest[i], o, end, patience_s, err);
		if (rc == 0 && lab->backend == VNS_LAB_QEMU)
			lab_say(o, "%s answers after %.1f s", lab->guest[i].name,
				(double)(vns_monotonic_ns() - start) / 1e9);
	}
	return rc;
}
