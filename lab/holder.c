// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The holder: one process per lab, plan -> running lab.
 *
 * It enters namespaces of its own (a user namespace too when it is not root), builds the network
 * there and becomes the parent of every guest and keeper. Each child asks the kernel to be killed
 * with it (PR_SET_PDEATHSIG), and the namespaces have no other reference than these processes:
 * kill -9 of the holder leaves only files. Until `up` commits (and for as long as it lives, when the
 * lab is tied to its maker), the holder watches its control socket; when the other end dies first, the
 * holder takes the lab down again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab/internal.h"

#define CTL_FD  3
#define LOCK_FD 4 /* shared with `up`: the folder stays locked until both are done starting */

static void tell(enum lab_msg_kind kind, int code, const char *text)
{
	struct lab_msg m = { .kind = kind, .code = code, .holder = vns_proc_of(getpid()) };

	snprintf(m.text, sizeof(m.text), "%s", text ? text : "");
	send(CTL_FD, &m, sizeof(m), MSG_NOSIGNAL);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* Become root of a user namespace that maps only our own user and group. */
static int enter_userns(struct vns_err *err)
{
	unsigned int uid = geteuid(), gid = getegid();
	char map[64];
	int rc;

	if (unshare(CLONE_NEWUSER))
		return vns_err_set(err, -errno,
				   "cannot make a user namespace (%s): run as root, or allow them "
				   "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)",
				   strerror(errno));
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	rc = write_file("/proc/self/uid_map", map);
	if (rc == 0) {
		snprintf(map, sizeof(map), "0 %u 1", gid);
		rc = write_file("/proc/self/gid_map", map);
	}
	return rc ? vns_err_set(err, rc, "cannot map the user into its namespace: %s",
				strerror(-rc)) : 0;
}

static int enter_namespaces(const struct vns_lab *lab, struct vns_err *err)
{
	int rc = lab->rootless ? enter_userns(err) : 0;

	if (rc == 0 && unshare(CLONE_NEWNET))
		rc = vns_err_set(err, -errno, "cannot make a network namespace: %s",
				 strerror(errno));
	return rc;
}

static int start_keeper(struct vns_lab *lab, struct vns_lab_node *node,
			const struct lab_plan *plan, unsigned int offload_bits,
			struct vns_err *err)
{
	pid_t pid = lab_keeper_start(lab, node->name, plan->agent, err);

	if (pid < 0)
		return pid;
	node->proc = vns_proc_of(pid);
	return lab_net_plug(lab, node, offload_bits, err);
}

static int start_guest(struct vns_lab *lab, struct vns_lab_node *node,
		       const struct lab_plan *plan, struct vns_err *err)
{
	pid_t pid;

	if (lab->backend == VNS_LAB_NETNS)
		return start_keeper(lab, node, plan, plan->offload_bits[node - lab->guest], err);
	pid = lab_qemu_start(lab, node, plan, err);
	if (pid < 0)
		return pid;
	node->proc = vns_proc_of(pid);
	return 0;
}

/* Return: descriptor on which the host's agent is asked for, or -errno. */
static int build(struct vns_lab *lab, const struct lab_plan *plan, struct vns_err *err)
{
	char path[VNS_LAB_PATH_LEN];
	int rc = enter_namespaces(lab, err);

	if (rc == 0)
		rc = lab_net_host(lab, err);
	if (rc == 0)
		rc = start_keeper(lab, &lab->client, plan, 0, err);
	for (unsigned int i = 0; i < lab->n_guest && rc == 0; i++)
		rc = start_guest(lab, &lab->guest[i], plan, err);
	if (rc == 0)
		rc = lab_net_neighbours(lab, err);
	if (rc == 0)
		rc = vns_lab_save(lab, err);
	return rc ? rc : lab_listen(vns_lab_path(lab, "host", "ctl", path), err);
}

/* A child ended: leave a note for `lab status`. */
static void note_exit(const struct vns_lab *lab, const struct vns_lab_node *node, int status)
{
	char path[VNS_LAB_PATH_LEN];
	int fd = open(vns_lab_path(lab, node->name, "exit", path),
		      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (WIFSIGNALED(status))
		dprintf(fd, "killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		dprintf(fd, "exited with status %d", WEXITSTATUS(status));
	close(fd);
}

static void reap(const struct vns_lab *lab)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == lab->client.proc.pid)
			note_exit(lab, &lab->client, status);
		for (unsigned int i = 0; i < lab->n_guest; i++)
			if (pid == lab->guest[i].proc.pid)
				note_exit(lab, &lab->guest[i], status);
	}
}

/*
 * `up` died, or somebody wants us to end. While starting we hold the folder's lock; later a
 * `down` may have it, and then leaving is enough, since our children end with us.
 */
static void give_up(const struct vns_lab *lab, bool starting)
{
	struct vns_lab mine = *lab;
	struct vns_lab_removed gone;

	mine.holder.pid = 0; /* ourselves: last, by _exit() */
	if (starting || lab_lock(lab, false, NULL) >= 0)
		lab_remove(&mine, false, &gone, NULL);
	_exit(0);
}

/*
 * What came on the control socket, or that it closed. Return: descriptor to watch on, -1: none, since
 * the lab stays.
 */
static int control(const struct vns_lab *lab, bool *starting)
{
	struct lab_msg m;

	if (recv(CTL_FD, &m, sizeof(m), 0) != sizeof(m) || m.kind != LAB_MSG_COMMIT || !*starting)
		give_up(lab, *starting);
	*starting = false;
	close(LOCK_FD);
	if (m.code)
		return CTL_FD;
	close(CTL_FD);
	return -1;
}

/* Serve until killed, or until the control socket closes. */
static void serve(const struct vns_lab *lab, const struct lab_plan *plan, int host_fd, int sig_fd)
{
	struct pollfd p[3] = { { .fd = sig_fd, .events = POLLIN },
			       { .fd = host_fd, .events = POLLIN },
			       { .fd = CTL_FD, .events = POLLIN } };
	bool starting = true;

	for (;;) {
		if (poll(p, 3, -1) < 0)
			continue;
		if (p[0].revents) {
			struct signalfd_siginfo si;

			if (read(sig_fd, &si, sizeof(si)) == sizeof(si) &&
			    si.ssi_signo == SIGTERM)
				give_up(lab, starting);
			reap(lab);
		}
		if (p[1].revents)
			lab_serve_one(host_fd, plan->agent);
		if (p[2].revents)
			p[2].fd = control(lab, &starting);
	}
}

/* Descriptors: 0 and 1 nothing, 2 the log, 3 the control socket, 4 the lock. */
static void detach(const struct vns_lab *lab, int ctl, int lock)
{
	char path[VNS_LAB_PATH_LEN];
	int null = open("/dev/null", O_RDWR), log;

	ctl = fcntl(ctl, F_DUPFD_CLOEXEC, 10); /* out of each other's way */
	lock = fcntl(lock, F_DUPFD_CLOEXEC, 10);
	dup3(ctl, CTL_FD, O_CLOEXEC);
	dup3(lock, LOCK_FD, O_CLOEXEC);
	dup2(null, 0);
	dup2(null, 1);
	log = open(vns_lab_path(lab, "holder", "log", path), O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log >= 0 ? log : null, 2);
	close_range(LOCK_FD + 1, ~0u, 0);
	setsid();
	umask(077);
	if (chdir("/"))
		dprintf(2, "chdir /: %s\n", strerror(errno));
	prctl(PR_SET_NAME, "vns-holder");
}

static void holder_main(struct vns_lab *lab, const struct lab_plan *plan, int ctl, int lock)
{
	struct vns_err err = { 0 };
	sigset_t set;
	int host_fd, sig_fd, rc;

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	detach(lab, ctl, lock);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sig_fd = signalfd(-1, &set, SFD_CLOEXEC);
	lab->holder = vns_proc_of(getpid());
	rc = vns_lab_save(lab, &err);
	host_fd = rc ? rc : build(lab, plan, &err);
	if (host_fd < 0) {
		tell(LAB_MSG_ERROR, host_fd, err.text);
		_exit(1); /* `up` holds the lock and cleans */
	}
	tell(LAB_MSG_UP, 0, NULL);
	serve(lab, plan, host_fd, sig_fd);
}

int lab_holder_start(struct vns_lab *lab, const struct lab_plan *plan, int lock,
		     struct vns_err *err)
{
	int sv[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return vns_err_set(err, -errno, "cannot make a socket pair: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		/* Twice, so that init becomes the holder's parent and reaps it. */
		pid = fork();
		if (pid == 0)
			holder_main(lab, plan, sv[1], lock);
		_exit(pid < 0);
	}
	close(sv[1]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) {
		close(sv[0]);
		return vns_err_set(err, -EAGAIN, "cannot fork the holder of lab '%s'", lab->name);
	}
	return sv[0];
}
