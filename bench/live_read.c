// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reads an interface through the library and counts: the capture benchmark's reader.
 *
 * live_read IFACE afpacket|ebpf SOCKETS|cpu [counted|rejected]   until SIGTERM
 * SOCKETS > 1: fanout, a thread each. cpu: one for each processor, read by one thread. counted: also what the
 * kernel's programs cost a packet by bpf_stats, which costs too; rejected: the same with a filter that takes nothing.
 * Prints one line of JSON: packets, drops, CPU seconds, runs and ns of the programs.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef VNS_HAVE_EBPF
#include <bpf/bpf.h>
#endif

#include "source/live.h"

#define MAX_SOCKETS 16
#define BATCH       256

static volatile sig_atomic_t stop;

struct reader {
	pthread_t thread;
	struct vns_source *source;
	struct vns_source_stats stats;
	uint64_t sum; /* of digests: what an engine would at least look at */
};

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void *read_on(void *arg)
{
	struct reader *r = arg;
	struct vns_packet *pkts = aligned_alloc(64, BATCH * sizeof(*pkts));
	int n = 0;

	while (pkts && !stop && n >= 0) {
		n = vns_source_next(r->source, pkts, BATCH, NULL);
		for (int i = 0; i < n; i++)
			r->sum += pkts[i].digest;
	}
	/* what the ring still holds */
	for (int i = 0; pkts && i < 20000; i++)
		if (vns_source_next(r->source, pkts, BATCH, NULL) <= 0)
			break;
	vns_source_stats(r->source, &r->stats);
	free(pkts);
	return NULL;
}

#ifdef VNS_HAVE_EBPF
/* Runs and time of all programs of ours in the kernel. */
static void program_cost(uint64_t *runs, uint64_t *ns)
{
	*runs = *ns = 0;
	for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && strncmp(info.name, "vns_", 4) == 0) {
			*runs += info.run_cnt;
			*ns += info.run_time_ns;
		}
		close(fd);
	}
}

static int enable_stats(void)
{
	return bpf_enable_stats(BPF_STATS_RUN_TIME);
}
#else
static void program_cost(uint64_t *runs, uint64_t *ns)
{
	*runs = *ns = 0;
}

static int enable_stats(void)
{
	return -1;
}
#endif

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static int open_all(struct reader *r, int n, bool per_cpu, const char *ifname, bool ebpf,
		    const char *filter)
{
	struct vns_source_opts o = { .timeout_ms = 20, .filter = filter, .ring_bytes = 32u << 20,
				     .capture = ebpf ? VNS_CAPTURE_EBPF : VNS_CAPTURE_AFPACKET };
	struct vns_err err;

	o.fanout = per_cpu ? VNS_FANOUT_CPU : n > 1 ? (uint16_t)(getpid() % 65000 + 1) : 0;
	for (int i = 0; i < n; i++)
		if (vns_source_open_live(&r[i].source, ifname, &o, &err)) {
			fprintf(stderr, "live_read: %s\n", err.text);
			return 3;
		}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	static struct reader r[MAX_SOCKETS];
	bool per_cpu = argc > 3 && strcmp(argv[3], "cpu") == 0;
	int n = per_cpu ? 1 : argc > 3 ? atoi(argv[3]) : 0, stats_fd = -1;
	bool ebpf = argc > 2 && strcmp(argv[2], "ebpf") == 0, stats = argc > 4;
	uint64_t frames = 0, dropped = 0, runs = 0, ns = 0;
	struct rusage u;

	if (n < 1 || n > MAX_SOCKETS || (ebpf && n > 1)) {
		fputs("usage: live_read IFACE afpacket|ebpf SOCKETS|cpu [counted|rejected]\n", stderr);
		return 2;
	}
	sigaction(SIGTERM, &sa, NULL);
	if (open_all(r, n, per_cpu, argv[1], ebpf, stats && argv[4][0] == 'r' ? "ip host 192.0.2.1" : NULL))
		return 3;
	if (ebpf && stats)
		stats_fd = enable_stats();
	puts("reading");
	fflush(stdout);
	for (int i = 0; i < n; i++)
		pthread_create(&r[i].thread, NULL, read_on, &r[i]);
	for (int i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		frames += r[i].stats.frames;
		dropped += r[i].stats.dropped;
	}
	getrusage(RUSAGE_SELF, &u);
	if (stats_fd >= 0) {
		program_cost(&runs, &ns);
		close(stats_fd);
	}
	printf("{\"frames\": %llu, \"dropped\": %llu, \"user_s\": %.3f, \"system_s\": %.3f, "
	       "\"runs\": %llu, \"run_ns\": %.1f}\n", (unsigned long long)frames,
	       (unsigned long long)dropped, seconds(&u.ru_utime), seconds(&u.ru_stime),
	       (unsigned long long)runs, runs ? (double)ns / (double)runs : 0.0);
	for (int i = 0; i < n; i++)
		vns_source_close(r[i].source);
	return 0;
}
