// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The smallest TCP load that a capture can slow down: one byte to and fro, or a stream one way.
 *
 * rr serve PORT             answers each connection: first byte 'r' echo, 's' sink
 * rr PORT ADDRESS r|s SECONDS   after 0.2 s of warming up prints transactions (r) or bytes (s) per
 *                           second: the upper quartile of slots of 25 ms. What is with us all the time
 *                           is in each slot; a neighbour of a shared machine is in some.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_S 0.2
#define SLOT_S    0.025
#define MAX_SLOTS 10000

static char buf[128 << 10];

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void answer(int fd)
{
	char kind;
	ssize_t n;

	no_delay(fd);
	if (read(fd, &kind, 1) != 1)
		return;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (kind == 'r' && write(fd, buf, (size_t)n) != n)
			return;
}

static int serve(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, c;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 8)) {
		perror("rr: listen");
		return 1;
	}
	puts("serving");
	fflush(stdout);
	while ((c = accept(fd, NULL, NULL)) >= 0) {
		if (fork() == 0) {
			answer(c);
			_exit(0);
		}
		close(c);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	return 1;
}

/* One transaction or one write. Return: what it counts, 0 at an error. */
static size_t once(int fd, char kind)
{
	ssize_t n = write(fd, buf, kind == 'r' ? 1 : sizeof(buf));

	if (kind == 'r' && n == 1)
		n = read(fd, buf, 1);
	return n > 0 ? (size_t)n : 0;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int client(uint16_t port, const char *address, char kind, double seconds)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	static double slot[MAX_SLOTS];
	double begin, now, end;
	size_t n_slot = 0;

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) || write(fd, &kind, 1) != 1) {
		perror("rr: connect");
		return 1;
	}
	no_delay(fd);
	for (begin = now_s(); now_s() - begin < WARM_UP_S;)
		if (!once(fd, kind))
			return 1;
	for (end = now_s() + seconds; now_s() < end && n_slot < MAX_SLOTS; n_slot++) {
		size_t sum = 0, n;

		for (begin = now = now_s(); now - begin < SLOT_S; now = now_s()) {
			n = once(fd, kind);
			if (!n)
				return 1;
			sum += n;
		}
		slot[n_slot] = (double)sum / (now - begin);
	}
	qsort(slot, n_slot, sizeof(*slot), by_size);
	printf("%.1f\n", slot[n_slot * 3 / 4]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve((uint16_t)atoi(argv[2]));
	if (argc == 5)
		return client((uint16_t)atoi(argv[1]), argv[2], argv[3][0], atof(argv[4]));
	fputs("usage: rr serve PORT | rr PORT ADDRESS r|s SECONDS\n", stderr);
	return 2;
}
