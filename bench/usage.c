// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Run a command with its output thrown away; print the CPU seconds (user + system), the peak memory
 * in KB and the wall seconds that it took, as "SECONDS KB SECONDS". A small parent, since a
 * child's peak includes what its parent held at fork.
 *
 * usage: usage LIMIT_SECONDS COMMAND...; exit 3 when the command failed or took too long.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void become(char **argv)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	execvp(argv[0], argv);
	_exit(127);
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static pid_t child;

static void too_long(int sig)
{
	(void)sig;
	kill(child, SIGKILL);
}

int main(int argc, char **argv)
{
	double started = now();
	struct rusage u;
	int status;

	if (argc < 3)
		return 2;
	child = fork();
	if (child < 0)
		return 3;
	if (child == 0)
		become(argv + 2);
	signal(SIGALRM, too_long);
	alarm((unsigned int)atoi(argv[1]));
	if (wait4(child, &status, 0, &u) != child || !WIFEXITED(status) || WEXITSTATUS(status))
		return 3;
	printf("%.6f %ld %.6f\n", seconds(&u.ru_utime) + seconds(&u.ru_stime), u.ru_maxrss,
	       now() - started);
	return 0;
}
