// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the capture program costs a packet, by BPF_PROG_TEST_RUN with many repetitions: everything in
 * the cache, so a lower bound; bench/live.py counts it on real traffic. Medians of rounds. Then on two
 * processors at once, as both ends of a transaction do: through one ring, and through one each.
 *
 * And what repeating hides: between two packets the kernel works through far more than the first caches hold, and a
 * transaction passes four places (ingress and egress of uplink and tap). Single runs, before each of which so much
 * memory is written: of one image with its ring, of two in turn (as interfaces have them) and of four (as
 * if each direction had its own), less an empty program in the same place.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "source/ebpf.h"
#include "tests/unit/frames.h"

#define REPEAT 50000 /* records of a round fit the ring */
#define ROUNDS 15
#define RING   (32u << 20)

static int by_value(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a <
								 *(const uint32_t *)b);
}

static void cost(const char *name, const struct bytes *f, bool raw, const char *filter)
{
	struct vns_bpf_config config = { .snaplen = 128, .raw_only = raw,
					 .wake_ns = 10 * VNS_NSEC_PER_MSEC };
	struct vns_ebpf_object o;
	struct vns_ebpf_rings rings;
	struct vns_bpf_insn *code = NULL;
	struct vns_err err = { "" };
	uint32_t ns[ROUNDS];
	int n = vns_filter_compile(filter, VNS_LINK_ETHERNET, 0, &code, &err);

	if (n < 0 || vns_ebpf_load(&o, &config, RING, &err) ||
	    vns_ebpf_load_filter(&o, code, (size_t)n, &err) ||
	    vns_ebpf_rings_map(&rings, &o, &err) || vns_ebpf_begin(&o, &err)) {
		fprintf(stderr, "ebpf_cost: %s\n", err.text);
		exit(77);
	}
	for (int i = 0; i < ROUNDS; i++) {
		LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = f->b, .data_size_in = f->n,
			    .repeat = REPEAT);

		if (bpf_prog_test_run_opts(vns_ebpf_entry(&o, 0), &t))
			exit(3);
		ns[i] = t.duration;
		*rings.ring[0].consumer = *rings.ring[0].producer;
	}
	qsort(ns, ROUNDS, sizeof(*ns), by_value);
	printf("  %-44s %4u ns (lowest %u, highest %u)%s\n", name, ns[ROUNDS / 2], ns[0],
	       ns[ROUNDS - 1], vns_ebpf_counts(&o).lost ? " LOST" : "");
	free(code);
	vns_ebpf_rings_unmap(&rings);
	vns_ebpf_unload(&o);
}

struct side {
	pthread_barrier_t *start;
	int prog, cpu;
	uint32_t ns;
	const struct bytes *f;
};

static void *run_side(void *arg)
{
	struct side *s = arg;
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = s->f->b, .data_size_in = s->f->n,
		    .repeat = REPEAT);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)s->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	pthread_barrier_wait(s->start);
	if (bpf_prog_test_run_opts(s->prog, &t))
		exit(3);
	s->ns = t.duration;
	return NULL;
}

/* Two processors at once. A round in which they did not really overlap is as quick as one alone. */
static void contended(const char *name, const struct bytes *f, uint8_t ring_mask)
{
	struct vns_bpf_config config = { .snaplen = 128, .ring_mask = ring_mask,
					 .wake_ns = 10 * VNS_NSEC_PER_MSEC };
	struct vns_ebpf_object o;
	struct vns_ebpf_rings rings;
	struct vns_err err = { "" };
	pthread_barrier_t start;
	uint32_t ns[2 * ROUNDS];

	if (vns_ebpf_load(&o, &config, RING, &err) || vns_ebpf_rings_map(&rings, &o, &err) ||
	    vns_ebpf_begin(&o, &err)) {
		fprintf(stderr, "ebpf_cost: %s\n", err.text);
		exit(77);
	}
	pthread_barrier_init(&start, NULL, 2);
	for (int i = 0; i < ROUNDS; i++) {
		struct side s[2] = { { &start, o.prog, 0, 0, f }, { &start, o.prog, 1, 0, f } };
		pthread_t t[2];

		for (int k = 0; k < 2; k++)
			pthread_create(&t[k], NULL, run_side, &s[k]);
		for (int k = 0; k < 2; k++) {
			pthread_join(t[k], NULL);
			ns[2 * i + k] = s[k].ns;
		}
		for (unsigned int k = 0; k < rings.n; k++)
			*rings.ring[k].consumer = *rings.ring[k].producer;
	}
	qsort(ns, 2 * ROUNDS, sizeof(*ns), by_value);
	printf("  %-44s %4u ns (lowest %u, highest %u)%s\n", name, ns[ROUNDS], ns[0],
	       ns[2 * ROUNDS - 1], vns_ebpf_counts(&o).lost ? " LOST" : "");
	pthread_barrier_destroy(&start);
	vns_ebpf_rings_unmap(&rings);
	vns_ebpf_unload(&o);
}

#define PLACES      4
#define OBJECTS     7 /* 1 + 2 + 4 */
#define COLD_ROUNDS 1000

/* One run after @bytes of other memory were written. */
static uint32_t run_after(int prog, const struct bytes *f, volatile uint8_t *other, size_t bytes)
{
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = f->b, .data_size_in = f->n, .repeat = 1);

	for (size_t i = 0; i < bytes; i += 64)
		other[i]++;
	if (bpf_prog_test_run_opts(prog, &t))
		exit(3);
	return t.duration;
}

static void print_cold(const char *name, uint32_t *ns, int n, uint32_t empty_ns)
{
	int64_t at[3];

	qsort(ns, (size_t)n, sizeof(*ns), by_value);
	for (int i = 0; i < 3; i++)
		at[i] = (int64_t)ns[(i + 1) * n / 4] - empty_ns;
	printf("    %-42s %4ld ns (quartiles %ld and %ld)\n", name, (long)at[1], (long)at[0], (long)at[2]);
}

static void cold_after(const struct vns_ebpf_object *o, struct vns_ebpf_rings *rings, int empty,
		       const struct bytes *f, size_t bytes)
{
	static uint32_t ns[4][PLACES * COLD_ROUNDS];
	uint8_t *other = calloc(1, bytes + 1);
	int n = 0;

	if (!other)
		exit(3);
	for (int i = 0; i < COLD_ROUNDS; i++) {
		for (int k = 0; k < PLACES; k++, n++) {
			ns[0][n] = run_after(empty, f, other, bytes);
			for (int j = 0; j < 3; j++) /* 1, 2, 4 of the objects, each kind its own */
				ns[j + 1][n] = run_after(o[(1 << j) - 1 + k % (1 << j)].prog, f, other, bytes);
		}
		for (int k = 0; k < OBJECTS; k++)
			*rings[k].ring[0].consumer = *rings[k].ring[0].producer;
	}
	free(other);
	qsort(ns[0], (size_t)n, sizeof(ns[0][0]), by_value);
	printf("  after %zu KB of other memory:\n", bytes >> 10);
	print_cold("one image", ns[1], n, ns[0][n / 2]);
	print_cold("two in turn", ns[2], n, ns[0][n / 2]);
	print_cold("four in turn", ns[3], n, ns[0][n / 2]);
}

static void cold(const struct bytes *f)
{
	const struct bpf_insn nothing[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1 },
					    { .code = BPF_JMP | BPF_EXIT } };
	const struct vns_bpf_config config = { .snaplen = 128, .wake_ns = UINT64_MAX };
	long second = sysconf(_SC_LEVEL2_CACHE_SIZE);
	struct vns_ebpf_object o[OBJECTS];
	struct vns_ebpf_rings rings[OBJECTS];
	struct vns_err err = { "" };
	int empty = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "vns_empty", "Dual BSD/GPL", nothing, 2, NULL);

	for (int k = 0; k < OBJECTS; k++) {
		if (empty < 0 || vns_ebpf_load(&o[k], &config, RING, &err) ||
		    vns_ebpf_rings_map(&rings[k], &o[k], &err) || vns_ebpf_begin(&o[k], &err)) {
			fprintf(stderr, "ebpf_cost: %s\n", err.text);
			exit(77);
		}
	}
	printf("... one run at a time, IPv4 TCP with timestamps:\n");
	second = second > 0 ? second : 1 << 20;
	cold_after(o, rings, empty, f, 0);
	cold_after(o, rings, empty, f, (size_t)second / 2);
	cold_after(o, rings, empty, f, (size_t)second * 3);
	for (int k = 0; k < OBJECTS; k++) {
		vns_ebpf_rings_unmap(&rings[k]);
		vns_ebpf_unload(&o[k]);
	}
	close(empty);
}

int main(void)
{
	struct bytes tcp4 = { .n = 0 }, udp4 = { .n = 0 }, tcp6 = { .n = 0 };
	uint32_t at;

	eth(&tcp4, 0x0800);
	at = ip4(&tcp4, 6, 0x0a000001, 0x0a000002);
	tcp_ts(&tcp4, 5001, 40000, 100);
	ip4_end(&tcp4, at);
	eth(&udp4, 0x0800);
	at = ip4(&udp4, 17, 0x0a000001, 0x0a000002);
	udp_head(&udp4, 5001, 40000, 32);
	put_fill(&udp4, 32, 9);
	ip4_end(&udp4, at);
	eth(&tcp6, 0x86dd);
	at = ip6(&tcp6, 6, 1, 2);
	tcp_ts(&tcp6, 5001, 40000, 100);
	ip6_end(&tcp6, at);
	printf("kernel's capture program, ns a packet, everything in the cache:\n");
	cost("IPv4 TCP with timestamps", &tcp4, false, NULL);
	cost("IPv6 TCP with timestamps", &tcp6, false, NULL);
	cost("IPv4 UDP", &udp4, false, NULL);
	cost("first 128 bytes, not decoded", &tcp4, true, NULL);
	cost("IPv4 TCP behind a filter that takes it", &tcp4, false, "ip host 10.0.0.1 and tcp");
	cost("... and one that does not", &tcp4, false, "ip host 10.0.0.9 and tcp");
	cold(&tcp4);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return 0;
	printf("... by two processors at once:\n");
	contended("IPv4 TCP with timestamps, one ring", &tcp4, 0);
	contended("... a ring each", &tcp4, 1);
	contended("IPv4 UDP, one ring", &udp4, 0);
	contended("... a ring each", &udp4, 1);
	return 0;
}
