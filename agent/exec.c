// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands (only with --allow-exec, or as a lab guest's init): argv in, output as it comes,
 * wait status at the end. A command gets a session of its own, so that killing it takes
 * what it started along.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define OUTPUT_BYTES 16384u

static void __attribute__((noreturn)) run(char **argv, const int out[2])
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	setpriority(PRIO_PROCESS, 0, 0); /* the agent's own priority is not its commands' */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(out[0], 1);
	dup2(out[1], 2);
	execvp(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Strings of the body into @argv. Return: true when they are well-formed. */
static bool get_argv(const uint8_t *body, size_t len, char *argv[VNS_WIRE_MAX_ARGV + 1],
		     char store[VNS_WIRE_MAX_ARGS_BYTES])
{
	struct vns_cursor c;
	uint16_t n, size;
	const uint8_t *p;
	size_t at = 0;

	vns_cursor_init_const(&c, body, len);
	n = vns_get_le16(&c);
	if (n == 0 || n > VNS_WIRE_MAX_ARGV)
		return false;
	for (uint16_t i = 0; i < n; i++) {
		size = vns_get_le16(&c);
		p = vns_get_span(&c, size);
		if (!p || memchr(p, 0, size))
			return false;
		/* fits: each string had a 2-byte length and gets a 1-byte end */
		argv[i] = store + at;
		memcpy(store + at, p, size);
		at += size;
		store[at++] = '\0';
	}
	argv[n] = NULL;
	return c.pos == c.len;
}

static int spawn(struct command *c, char **argv)
{
	int out[2][2] = { { -1, -1 }, { -1, -1 } };
	int ends[2], e = 0;

	if (pipe2(out[0], O_CLOEXEC) < 0 || pipe2(out[1], O_CLOEXEC) < 0) {
		e = errno;
	} else {
		ends[0] = out[0][1];
		ends[1] = out[1][1];
		c->pid = fork();
		if (c->pid == 0)
			run(argv, ends);
		if (c->pid < 0)
			e = errno;
	}
	for (int i = 0; i < 2; i++) {
		if (out[i][1] >= 0)
			close(out[i][1]);
		if (e && out[i][0] >= 0)
			close(out[i][0]);
		if (!e) {
			fcntl(out[i][0], F_SETFL, O_NONBLOCK);
			c->out[i] = out[i][0];
		}
	}
	if (e)
		c->pid = 0;
	return -e;
}

void command_start(struct agent *a, uint32_t request, const uint8_t *body, size_t len)
{
	char *argv[VNS_WIRE_MAX_ARGV + 1], store[VNS_WIRE_MAX_ARGS_BYTES];
	struct command *c = NULL;
	int r;

	if (!a->allow_exec) {
		agent_error(a, request, -EPERM, "runs no commands: it was not started with "
			    "--allow-exec");
		return;
	}
	for (unsigned int i = 0; i < MAX_EXECS && !c; i++)
		if (!a->command[i].pid)
			c = &a->command[i];
	if (!c) {
		agent_error(a, request, -EBUSY, "too many commands run already");
		return;
	}
	if (!get_argv(body, len, argv, store)) {
		agent_error(a, request, -EINVAL, "the command line is malformed");
		return;
	}
	r = spawn(c, argv);
	if (r < 0) {
		agent_error(a, request, r, "no process for the command");
		return;
	}
	c->request = request;
	outq_put(&a->out.control, VNS_MSG_OK, request, NULL, 0);
}

/* Its whole session; itself by name, too: on a busy guest it may not have made one yet. */
static void kill_command(const struct command *c)
{
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
}

void command_kill(struct agent *a, uint32_t request, uint32_t which)
{
	for (unsigned int i = 0; i < MAX_EXECS; i++)
		if (a->command[i].pid && a->command[i].request == which)
			kill_command(&a->command[i]);
	outq_put(&a->out.control, VNS_MSG_OK, request, NULL, 0);
}

/* One read's worth. Return: false at the end of the output, or when there is none now. */
static bool forward(struct agent *a, struct command *c, int which)
{
	struct outframe *f = outframe_new(4 + OUTPUT_BYTES);
	struct vns_cursor cur;
	ssize_t n;

	if (!f)
		return false;
	vns_cursor_init(&cur, f->data + VNS_WIRE_HEADER, 4);
	vns_put_le32(&cur, (uint32_t)which + 1);
	n = read(c->out[which], f->data + VNS_WIRE_HEADER + 4, OUTPUT_BYTES);
	if (n > 0) {
		outq_add(&a->out.bulk, f, VNS_MSG_EXEC_OUTPUT, c->request, 4 + (size_t)n);
		return true;
	}
	free(f);
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(c->out[which]);
		c->out[which] = -1;
	}
	return false;
}

void command_output(struct agent *a, struct command *c, int which)
{
	forward(a, c, which);
}

static void command_free(struct command *c)
{
	for (int i = 0; i < 2; i++)
		if (c->out[i] >= 0)
			close(c->out[i]);
	*c = (struct command){ .out = { -1, -1 } };
}

bool command_reaped(struct agent *a, pid_t pid, int status)
{
	struct vns_cursor cur;
	uint8_t body[4];

	for (unsigned int i = 0; i < MAX_EXECS; i++) {
		struct command *c = &a->command[i];

		if (c->pid != pid)
			continue;
		/* what it wrote before it ended; not what a child left behind may still write.
		 * A pipe holds 64 KiB, so this is bounded. */
		for (int k = 0; k < 2; k++)
			for (int n = 0; n < 8 && c->out[k] >= 0 && forward(a, c, k); n++)
				;
		vns_cursor_init(&cur, body, sizeof(body));
		vns_put_le32(&cur, (uint32_t)status);
		outq_put(&a->out.bulk, VNS_MSG_EXEC_DONE, c->request, body, sizeof(body));
		command_free(c);
		return true;
	}
	return false;
}

void command_end_all(struct agent *a)
{
	for (unsigned int i = 0; i < MAX_EXECS; i++) {
		struct command *c = &a->command[i];

		if (!c->pid)
			continue;
		kill_command(c);
		waitpid(c->pid, NULL, 0);
		command_free(c);
	}
}
