// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Child processes that carry the agent protocol on their pipes.
 *
 * in: argv; out: pid, two descriptors, and the child's stderr in a memory file. A memory
 * file needs no reader: whatever the child complains about cannot block it, and its last
 * sentence is there when the connection breaks.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/internal.h"

#define END_GRACE_MS 2000 /* between end of file, SIGTERM and SIGKILL */
#define STEP_MS      10

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* In the child; never returns. Errors go back through @report as an errno, a namespace's as its negative. */
static void run_child(char *const argv[], int netns_fd, int in, int out, int errfd, int report)
{
	sigset_t none;
	int code;
	bool inside;

	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	inside = netns_fd < 0 || setns(netns_fd, CLONE_NEWNET) == 0;
	if (inside && dup2(in, 0) == 0 &&
	    dup2(out, 1) == 1 && dup2(errfd, 2) == 2)
		execvp(argv[0], argv);
	code = inside ? errno : -errno;
	if (write(report, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

/* The child's errno when it could not start (negative: to enter the namespace), 0 when exec closed the pipe. */
static int start_result(int fd)
{
	int code = 0;
	ssize_t n;

	do
		n = read(fd, &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	return n == sizeof(code) ? code : 0;
}

int vns_child_spawn(struct vns_child *c, char *const argv[], int netns_fd, struct vns_err *err)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, report[2] = { -1, -1 };
	int code = 0;

	*c = (struct vns_child){ .rfd = -1, .wfd = -1, .errfd = -1 };
	c->errfd = memfd_create("stderr", MFD_CLOEXEC);
	if (c->errfd < 0 || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
	    pipe2(report, O_CLOEXEC)) {
		code = errno;
		goto out;
	}
	c->pid = fork();
	if (c->pid == 0)
		run_child(argv, netns_fd, in[0], out[1], c->errfd, report[1]);
	if (c->pid < 0) {
		code = errno;
		c->pid = 0;
		goto out;
	}
	close_fd(&report[1]);
	code = start_result(report[0]);
	c->rfd = out[0];
	c->wfd = in[1];
	out[0] = in[1] = -1;
out:
	for (int i = 0; i < 2; i++) {
		close_fd(&in[i]);
		close_fd(&out[i]);
		close_fd(&report[i]);
	}
	if (!code)
		return 0;
	vns_child_end(c);
	if (code < 0)
		return vns_err_set(err, code, "cannot enter the network namespace: %s%s", strerror(-code),
				   code == -EPERM ? " (that needs root)" : "");
	return vns_err_set(err, -code, "%s could not be started: %s", argv[0], strerror(code));
}

void vns_child_last_words(const struct vns_child *c, char *buf, size_t size)
{
	char tail[2048];
	off_t end = c->errfd >= 0 ? lseek(c->errfd, 0, SEEK_END) : 0;
	off_t from = end > (off_t)sizeof(tail) ? end - (off_t)sizeof(tail) : 0;
	ssize_t n = end > 0 ? pread(c->errfd, tail, sizeof(tail), from) : 0;
	size_t len = n > 0 ? (size_t)n : 0, start;

	while (len > 0 && (unsigned char)tail[len - 1] <= ' ')
		len--;
	for (start = len; start > 0 && tail[start - 1] != '\n'; start--)
		;
	vns_text_clean(buf, size, tail + start, len - start);
}

static bool reaped(pid_t pid, int within_ms)
{
	for (int waited = 0;; waited += STEP_MS) {
		pid_t got = waitpid(pid, NULL, WNOHANG);

		if (got == pid || (got < 0 && errno != EINTR))
			return true;
		if (waited >= within_ms)
			return false;
		vns_sleep_ns(STEP_MS * VNS_NSEC_PER_MSEC);
	}
}

void vns_child_end(struct vns_child *c)
{
	close_fd(&c->wfd);
	close_fd(&c->rfd);
	close_fd(&c->errfd);
	if (c->pid > 0 && !reaped(c->pid, END_GRACE_MS)) {
		kill(c->pid, SIGTERM);
		if (!reaped(c->pid, END_GRACE_MS)) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
	}
	c->pid = 0;
}
