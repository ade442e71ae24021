// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Keeper: a child of the holder that owns one network namespace (the client's, or that of a
 * namespace guest) and starts a vnetscope-agent for every connection to its unix socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lab/internal.h"

int lab_listen(const char *path, struct vns_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return vns_err_set(err, -ENAMETOOLONG, "socket path %s is too long", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8)) {
		int rc = vns_err_set(err, -errno, "cannot listen on %s: %s", path,
				     strerror(errno));

		if (fd >= 0)
			close(fd);
		return rc;
	}
	return fd;
}

void lab_serve_one(int listen_fd, const char *agent)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	pid_t parent = getpid(), pid;

	if (fd < 0) {
		vns_sleep_ns(10 * VNS_NSEC_PER_MSEC); /* out of descriptors: not in a busy loop */
		return;
	}
	pid = fork();
	if (pid == 0) {
		lab_child_setup(parent);
		dup2(fd, 0);
		dup2(fd, 1);
		close_range(3, ~0u, 0);
		execl(agent, "vnetscope-agent", "--stdio", "--allow-exec", (char *)NULL);
		_exit(127);
	}
	close(fd);
}

/* Why the keeper cannot start goes to the holder through @ready (descriptor 3). */
static void keeper_fail(const char *what, const char *why)
{
	dprintf(3, "%s: %s", what, why);
	_exit(1);
}

static void keeper_main(const char *socket_path, const char *log, const char *agent, int ready)
{
	struct vns_err err = { 0 };
	int fd;

	dup2(ready, 3);
	close_range(4, ~0u, 0);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		keeper_fail(log, strerror(errno));
	dup2(fd, 2);
	prctl(PR_SET_NAME, "vns-keeper");
	if (unshare(CLONE_NEWNET))
		keeper_fail("cannot make a network namespace", strerror(errno));
	fd = lab_listen(socket_path, &err);
	if (fd < 0)
		keeper_fail("no agent socket", err.text);
	dprintf(3, "ok");
	close(3);
	signal(SIGCHLD, SIG_IGN); /* agents are reaped by the kernel */
	for (;;)
		lab_serve_one(fd, agent);
}

pid_t lab_keeper_start(const struct vns_lab *lab, const char *node, const char *agent,
		       struct vns_err *err)
{
	char path[VNS_LAB_PATH_LEN], log[VNS_LAB_PATH_LEN], said[400];
	pid_t parent = getpid(), pid;
	ssize_t n;
	int p[2];

	vns_lab_path(lab, node, "ctl", path);
	vns_lab_path(lab, node, "log", log);
	if (pipe2(p, O_CLOEXEC))
		return vns_err_set(err, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		lab_child_setup(parent);
		keeper_main(path, log, agent, p[1]);
	}
	close(p[1]);
	n = pid < 0 ? 0 : read(p[0], said, sizeof(said) - 1);
	close(p[0]);
	said[n > 0 ? n : 0] = '\0';
	if (strcmp(said, "ok") != 0)
		return vns_err_set(err, -EIO, "%s does not start: %s", node,
				   n > 0 ? said : "its process died");
	return pid;
}
