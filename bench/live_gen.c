// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Small UDP datagrams at a steady rate from many source ports: the load of the capture benchmark.
 *
 * live_gen ADDRESS PACKETS_PER_SECOND SECONDS [FLOWS]
 * Prints how many were sent and in how many seconds. Datagrams are sent in batches by sendmmsg(2), a
 * batch every half millisecond, so that what is behind sees bursts of rate / 2000. Nothing by
 * PACKET_QDISC_BYPASS: captures on the sender would not see it.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 500000
#define MAX_BATCH 4096
#define MAX_FLOWS 256
#define SIZE      18 /* bytes: a frame of 60, Ethernet's least */

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void wait_until(int64_t at_ns)
{
	struct timespec t = { at_ns / 1000000000, at_ns % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int connected(const char *address, int i)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 8 << 20;

	(void)i;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("live_gen");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	static char payload[SIZE];
	static struct mmsghdr m[MAX_BATCH];
	struct iovec v = { payload, SIZE };
	int fd[MAX_FLOWS], flows = argc > 4 ? atoi(argv[4]) : 64;
	double rate = argc > 3 ? atof(argv[2]) : 0, seconds = argc > 3 ? atof(argv[3]) : 0;
	uint64_t sent = 0, failed = 0, turn = 0;
	int64_t begin, now;

	if (rate <= 0 || seconds <= 0 || flows < 1 || flows > MAX_FLOWS) {
		fputs("usage: live_gen ADDRESS PACKETS_PER_SECOND SECONDS [FLOWS]\n", stderr);
		return 2;
	}
	for (int i = 0; i < flows; i++)
		fd[i] = connected(argv[1], i);
	for (int i = 0; i < MAX_BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 };
	begin = now = now_ns();
	while (now - begin < (int64_t)(seconds * 1e9)) {
		/* what is due by now, so that lateness is made up for */
		uint64_t due = (uint64_t)((double)(now - begin) / 1e9 * rate);

		/* one that is behind has ever more to make up for: it ends in time all the same */
		while (sent + failed < due && now_ns() - begin < (int64_t)(seconds * 1e9)) {
			uint64_t left = due - sent - failed;
			unsigned int n = left < 64 ? (unsigned int)left : 64;
			int done = sendmmsg(fd[turn++ % (uint64_t)flows], m, n, MSG_DONTWAIT);

			sent += done > 0 ? (uint64_t)done : 0;
			failed += done > 0 ? 0 : n;
		}
		wait_until(now + PERIOD_NS);
		now = now_ns();
	}
	now = now_ns();
	printf("%llu %.3f %llu\n", (unsigned long long)sent, (double)(now - begin) / 1e9,
	       (unsigned long long)failed);
	return 0;
}
