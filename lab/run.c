// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Child processes with a time limit: program and input -> exit status, output, last words.
 * Input and output pass through memfds, so that no pipe can fill up and block.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab/internal.h"

#define DEFAULT_TIMEOUT_MS 60000
#define SBIN               "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"

int lab_find_program(const char *name, char *buf, size_t len)
{
	const char *env = getenv("PATH");
	char path[4096], *save = NULL;

	snprintf(path, sizeof(path), "%s:" SBIN, env ? env : "/usr/bin");
	for (char *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save))
		if ((size_t)snprintf(buf, len, "%s/%s", dir, name) < len && access(buf, X_OK) == 0)
			return 0;
	return -ENOENT;
}

void lab_child_setup(pid_t parent)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

bool lab_wait_gone(const struct vns_proc *p, int timeout_ms)
{
	int64_t end = vns_monotonic_ns() + timeout_ms * VNS_NSEC_PER_MSEC;

	while (vns_proc_alive(p)) {
		if (vns_monotonic_ns() > end)
			return false;
		vns_sleep_ns(2 * VNS_NSEC_PER_MSEC);
	}
	return true;
}

static void run_child(char *const argv[], const struct lab_run *r, const int fd[3], int netns_fd,
		      pid_t parent)
{
	lab_child_setup(parent);
	if (netns_fd >= 0 && setns(netns_fd, CLONE_NEWNET))
		_exit(126);
	if (r->cwd && chdir(r->cwd))
		_exit(126);
	dup2(fd[0], 0);
	dup2(r->out_fd > 0 ? r->out_fd : fd[1], 1);
	dup2(fd[2], 2);
	close_range(3, ~0u, 0);
	setenv("LC_ALL", "C.UTF-8", 1);
	execv(argv[0], argv);
	_exit(127);
}

/* Wait for @pid. Return: wait status, -ETIMEDOUT or -EINTR after killing it. */
static int wait_child(pid_t pid, int timeout_ms, const volatile int *interrupted)
{
	int64_t end = vns_monotonic_ns() + timeout_ms * VNS_NSEC_PER_MSEC;
	struct pollfd p = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	int status, rc = 0;

	while (p.fd >= 0 && poll(&p, 1, 100) <= 0) {
		if (interrupted && *interrupted)
			rc = -EINTR;
		else if (vns_monotonic_ns() > end)
			rc = -ETIMEDOUT;
		if (rc) {
			kill(pid, SIGKILL);
			break;
		}
	}
	if (p.fd >= 0)
		close(p.fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return rc ? rc : -errno;
	return rc ? rc : status;
}

static void read_all(int fd, char *buf, size_t len)
{
	ssize_t n = pread(fd, buf, len - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
}

/* The first line that says something. */
static void first_line(char *text)
{
	size_t skip = strspn(text, " \n\t");

	memmove(text, text + skip, strlen(text + skip) + 1);
	text[strcspn(text, "\n")] = '\0';
}

static int run_verdict(char *const argv[], int status, int stderr_fd, struct vns_err *err)
{
	char words[300];

	if (status == 0)
		return 0;
	if (status == -ETIMEDOUT)
		return vns_err_set(err, status, "%s did not finish in time", argv[0]);
	if (status == -EINTR)
		return vns_err_set(err, status, "interrupted");
	if (status < 0)
		return vns_err_set(err, status, "%s: %s", argv[0], strerror(-status));
	read_all(stderr_fd, words, sizeof(words));
	first_line(words);
	if (words[0] == '\0')
		snprintf(words, sizeof(words), "ended with status %d",
			 WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return vns_err_set(err, -EIO, "%s: %s", argv[0], words);
}

static int put_input(int fd, const char *input)
{
	size_t n = input ? strlen(input) : 0;

	if (write(fd, input ? input : "", n) != (ssize_t)n)
		return errno ? -errno : -ENOSPC;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

int lab_run(char *const argv[], const struct lab_run *r, struct vns_err *err)
{
	pid_t parent = getpid(), pid;
	int fd[3], netns_fd = -1, rc;

	for (int i = 0; i < 3; i++)
		fd[i] = memfd_create("vnetscope-run", MFD_CLOEXEC);
	if (fd[0] < 0 || fd[1] < 0 || fd[2] < 0)
		rc = vns_err_set(err, -errno, "cannot make a memory file: %s", strerror(errno));
	else if (r->netns_of && (netns_fd = vns_lab_open_ns(r->netns_of, "net")) < 0)
		rc = vns_err_set(err, netns_fd, "cannot open the namespace of process %d: %s",
				 (int)r->netns_of, strerror(-netns_fd));
	else {
		rc = put_input(fd[0], r->input);
		pid = rc ? -1 : fork();
		if (pid == 0)
			run_child(argv, r, fd, netns_fd, parent);
		if (pid > 0)
			rc = wait_child(pid, r->timeout_ms ? r->timeout_ms : DEFAULT_TIMEOUT_MS,
					r->interrupted);
		else if (!rc)
			rc = -errno;
		rc = run_verdict(argv, rc, fd[2], err);
		if (r->out)
			read_all(fd[1], r->out, r->out_len);
	}
	for (int i = 0; i < 3; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	if (netns_fd >= 0)
		close(netns_fd);
	return rc;
}
