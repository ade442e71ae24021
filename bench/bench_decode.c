// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Speed of reading and decoding a capture file, against libpcap reading the same file and only
 * counting. Both in turns in one process; the best of some rounds stands for each, since other
 * work on the machine only adds.
 *
 * in: capture file, rounds (default 7)
 * out: one JSON object: packets, CPU ns per packet of each, packets per CPU-second, their ratio
 */
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <vnetscope/source.h>

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
}

static uint64_t count_libpcap(const char *path)
{
	char why[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline(path, why);
	struct pcap_pkthdr *h;
	const u_char *data;
	uint64_t n = 0;

	if (!p) {
		fprintf(stderr, "bench_decode: %s\n", why);
		exit(3);
	}
	while (pcap_next_ex(p, &h, &data) == 1)
		n++;
	pcap_close(p);
	return n;
}

static uint64_t count_decoded(const char *path)
{
	static struct vns_packet batch[256];
	struct vns_source *s;
	struct vns_err err;
	uint64_t n = 0;
	int got;

	if (vns_source_open_file(&s, path, NULL, &err)) {
		fprintf(stderr, "bench_decode: %s\n", err.text);
		exit(3);
	}
	while ((got = vns_source_next(s, batch, 256, &err)) > 0)
		n += (uint64_t)got;
	vns_source_close(s);
	return n;
}

static void best(int64_t *least, int64_t took)
{
	if (!*least || took < *least)
		*least = took;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 7;
	int64_t ours = 0, theirs = 0;
	uint64_t n = 0;

	if (argc < 2) {
		fputs("usage: bench_decode FILE [ROUNDS]\n", stderr);
		return 2;
	}
	for (int i = 0; i < rounds; i++) {
		int64_t t0 = cpu_ns(), t1;

		n = count_libpcap(argv[1]);
		t1 = cpu_ns();
		best(&theirs, t1 - t0);
		if (count_decoded(argv[1]) != n) {
			fputs("bench_decode: libpcap counts another number of packets\n", stderr);
			return 1;
		}
		best(&ours, cpu_ns() - t1);
	}
	if (!n)
		return 4;
	printf("{\"packets\": %llu, \"rounds\": %d, \"libpcap_count_ns\": %.1f, "
	       "\"decode_ns\": %.1f, \"decode_packets_per_cpu_s\": %.0f, "
	       "\"times_libpcap_count\": %.2f}\n", (unsigned long long)n, rounds,
	       (double)theirs / (double)n, (double)ours / (double)n,
	       (double)n * 1e9 / (double)ours, (double)ours / (double)theirs);
	return 0;
}
