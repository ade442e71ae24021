/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The real vnetscope-agent at the far end of pipes, for the tests of it. */
#ifndef TESTS_CLI_AGENT_PEER_H
#define TESTS_CLI_AGENT_PEER_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/wire.h"

#define PATIENCE_MS 60000 /* for what comes at once where there is a processor */

static const char *agent_path;

struct peer {
	struct vns_agent *a;
	pid_t pid;
	char note[512];
	size_t out_bytes;
	char out[64];
};

/* Start @argv on two pipes. */
static pid_t spawn(char *const argv[], int *rfd, int *wfd)
{
	int to[2], from[2];
	pid_t pid;

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		execv(argv[0], argv);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	*rfd = from[0];
	*wfd = to[1];
	return pid;
}

static int on_setup(void **state)
{
	char *argv[] = { (char *)(uintptr_t)agent_path, "--stdio", "--allow-exec", NULL };
	struct peer *p = calloc(1, sizeof(*p));
	struct vns_err err = { "" };
	int rfd, wfd;

	p->pid = spawn(argv, &rfd, &wfd);
	if (vns_agent_attach(&p->a, "test", rfd, wfd, p->pid, PATIENCE_MS, &err) < 0)
		fail_msg("%s", err.text);
	*state = p;
	return 0;
}

static int on_teardown(void **state)
{
	struct peer *p = *state;

	vns_agent_close(p->a);
	free(p);
	return 0;
}

static inline void wait_ms(struct peer *p, int ms)
{
	int64_t end = vns_monotonic_ns() + ms * VNS_NSEC_PER_MSEC;
	struct vns_err err;

	while (vns_monotonic_ns() < end)
		assert_true(vns_agent_poll(p->a, 10, &err) >= 0);
}

#define WITH_AGENT(f) cmocka_unit_test_setup_teardown(f, on_setup, on_teardown)

#endif
