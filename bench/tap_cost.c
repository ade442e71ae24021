// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a capture on an interface adds to each packet that passes, in the kernel, on the sender's own time.
 *
 * tap_cost [ROUNDS]
 * Two threads, a processor each, send datagrams through a veth pair in opposite directions; the capture is on
 * one end and sees both, as it sees questions and answers of a transaction, but nobody has to be woken and nobody
 * reads meanwhile. Rounds go through all kinds in random order; a figure is the median over rounds of CPU
 * time a packet (CLOCK_THREAD_CPUTIME_ID, so that neighbours that take the processor do not count), less that
 * without a capture in the same round, with the order statistics that hold it with at least 95 %. Needs root:
 * it works in a network namespace of its own.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "source/live.h"

#define PACKETS    8000 /* of each thread in a run: what the rings hold */
#define ROUNDS     41
#define MAX_ROUNDS 1000

static const struct kind {
	const char *name;
	bool none;
	struct vns_source_opts opts;
} kinds[] = {
	{ "no capture", true, { 0 } },
	{ "one socket, ring of 32 MiB", false, { .ring_bytes = 32u << 20 } },
	{ "one socket, ring of 4 MiB", false, { .ring_bytes = 4u << 20 } },
	{ "a socket for each processor, 32 MiB", false,
	  { .ring_bytes = 32u << 20, .fanout = VNS_FANOUT_CPU } },
	{ "eBPF, 32 MiB", false, { .ring_bytes = 32u << 20, .capture = VNS_CAPTURE_EBPF } },
	{ "eBPF, one ring of 4 MiB", false, { .ring_bytes = 4u << 20, .capture = VNS_CAPTURE_EBPF } },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct side {
	pthread_barrier_t *start;
	size_t cpu;
	int fd;
	double ns;
};

static void *send_on(void *arg)
{
	struct side *s = arg;
	char payload[18] = "";
	struct timespec a, b;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	pthread_barrier_wait(s->start);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < PACKETS; i++)
		send(s->fd, payload, sizeof(payload), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	s->ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / PACKETS;
	return NULL;
}

/* Nobody has the address, so that what arrives is dropped. */
static int sender(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("tap_cost");
		exit(3);
	}
	return fd;
}

static void set_up(void)
{
	if (unshare(CLONE_NEWNET)) {
		puts("needs root: a network namespace");
		exit(77);
	}
	if (system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up && "
		   "ip link add v0 type veth peer name v1 && ip addr add 10.95.0.1/24 dev v0 && "
		   "ip addr add 10.96.0.1/24 dev v1 && ip link set v0 up && ip link set v1 up && "
		   "ip neigh add 10.95.0.2 lladdr 02:00:00:00:00:01 dev v0 nud permanent && "
		   "ip neigh add 10.96.0.2 lladdr 02:00:00:00:00:02 dev v1 nud permanent")) {
		puts("tap_cost: cannot make a veth pair");
		exit(77);
	}
}

/* Read what the rings hold. Return: packets seen; 0 when some were dropped. */
static uint64_t drain(struct vns_source *s)
{
	static struct vns_packet pkts[256];
	int64_t end = vns_monotonic_ns() + 300 * VNS_NSEC_PER_MSEC;
	struct vns_source_stats st = { 0 };
	int n;

	while (st.frames < 2 * PACKETS && vns_monotonic_ns() < end) {
		n = vns_source_next(s, pkts, 256, NULL);
		st.frames += n > 0 ? (uint64_t)n : 0;
	}
	vns_source_stats(s, &st);
	return st.dropped ? 0 : st.frames;
}

/* CPU time of a packet in one run, both sides together by half. */
static double one_run(const struct kind *k, const int fd[2], bool *lost)
{
	struct vns_source *source = NULL;
	pthread_barrier_t start;
	struct side s[2];
	pthread_t t[2];
	struct vns_err err;
	struct vns_source_opts o = k->opts;


	o.timeout_ms = 10;
	o.filter = "udp and ip host 10.95.0.2 or ip host 10.96.0.2";
	if (!k->none && vns_source_open_live(&source, "v0", &o, &err)) {
		printf("  %s: %s\n", k->name, err.text);
		exit(3);
	}
	pthread_barrier_init(&start, NULL, 2);
	for (size_t i = 0; i < 2; i++) {
		s[i] = (struct side){ &start, i, fd[i], 0 };
		pthread_create(&t[i], NULL, send_on, &s[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&start);
	if (source) {
		*lost |= drain(source) != 2 * PACKETS;
		vns_source_close(source);
	}
	return (s[0].ns + s[1].ns) / 2;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* How many values may be left out at either end of @n for 95 %. */
static int order(int n)
{
	double p = 1, sum = 0;
	int k = 0;

	for (int i = 0; i < n; i++)
		p /= 2;
	while (k < n / 2 && sum + p <= 0.025) {
		sum += p;
		p = p * (n - k) / (k + 1);
		k++;
	}
	return k ? k - 1 : 0;
}

int main(int argc, char **argv)
{
	static double ns[KINDS][MAX_ROUNDS];
	int n = argc > 1 ? atoi(argv[1]) : ROUNDS, at, fd[2];
	bool lost[KINDS] = { false };

	if (n < 6 || n > MAX_ROUNDS) {
		fputs("usage: tap_cost [ROUNDS]\n", stderr);
		return 2;
	}
	set_up();
	fd[0] = sender("10.95.0.2");
	fd[1] = sender("10.96.0.2");
	srandom((unsigned int)getpid());
	for (int r = 0; r < n; r++)
		for (size_t i = 0, first = (size_t)random() % KINDS; i < KINDS; i++) {
			size_t k = (first + i) % KINDS;

			ns[k][r] = one_run(&kinds[k], fd, &lost[k]);
		}
	printf("what a capture adds to a packet on its way, two processors at once, %d rounds:\n", n);
	for (size_t k = 1; k < KINDS; k++) {
		for (int r = 0; r < n; r++)
			ns[k][r] -= ns[0][r];
		qsort(ns[k], (size_t)n, sizeof(double), by_size);
		at = order(n);
		printf("  %-38s %4.0f ns (%.0f to %.0f)%s\n", kinds[k].name, ns[k][n / 2], ns[k][at],
		       ns[k][n - 1 - at], lost[k] ? " LOST" : "");
	}
	qsort(ns[0], (size_t)n, sizeof(double), by_size);
	printf("  a packet without a capture: %.0f ns\n", ns[0][n / 2]);
	return 0;
}
