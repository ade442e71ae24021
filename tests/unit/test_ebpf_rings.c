// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Packets that the capture program writes on several processors at once, each into the ring of its
 * own, come out in the order of their stamps while they are still being written: all of them, but those
 * that found their ring full and were counted.
 *
 * First one thread runs the program (BPF_PROG_TEST_RUN) on either processor in turns, then one on each runs
 * it over and over; the rings are read meanwhile in pieces of odd sizes. Needs root; exit 77 is a skip.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "source/ebpf.h"
#include "source/source.h"
#include "tests/unit/frames.h"

#define THREADS 2
#define ROUNDS  4000
#define REPEAT  50 /* runs of one system call */
#define TURNS   200
#define ALL     (TURNS + THREADS * ROUNDS * REPEAT)
#define RING    (16u << 20)

static struct bytes frame;
static int program;
static atomic_int running = THREADS;

static void write_records(int n)
{
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = frame.b, .data_size_in = frame.n, .repeat = n);

	if (bpf_prog_test_run_opts(program, &t))
		exit(3);
}

static void go_to(size_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* where there is one only, all is written there */
}

static void *write_on(void *arg)
{
	go_to((size_t)arg);
	for (int i = 0; i < ROUNDS; i++)
		write_records(REPEAT);
	running--;
	return NULL;
}

/* One record here, one there. */
static void *write_in_turns(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < TURNS; i++) {
		go_to(i % THREADS);
		write_records(1);
	}
	return NULL;
}

int main(void)
{
	struct vns_bpf_config config = { .snaplen = 128, .ring_mask = THREADS - 1,
					 .wake_ns = VNS_NSEC_PER_SEC };
	static struct vns_source s;
	struct vns_packet got[61];
	struct vns_ebpf_object o;
	struct vns_ebpf_rings rings;
	struct vns_err err = { "" };
	pthread_t thread[THREADS];
	int64_t last_ns = INT64_MIN, since = 0;
	unsigned int used = 0;
	bool ok;

	if (vns_ebpf_load(&o, &config, RING, &err) || vns_ebpf_rings_map(&rings, &o, &err) ||
	    vns_ebpf_begin(&o, &err)) {
		printf("SKIP: %s\n", err.text);
		return 77;
	}
	eth(&frame, 0x0800);
	ip4_end(&frame, ip4(&frame, 6, 0x0a000001, 0x0a000002));
	program = o.prog;
	pthread_create(&thread[0], NULL, write_in_turns, NULL);
	pthread_join(thread[0], NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, write_on, (void *)i);
	while (running || !since || vns_monotonic_ns() - since < 20 * VNS_NSEC_PER_MSEC) {
		if (!running && !since)
			since = vns_monotonic_ns();
		vns_ebpf_rings_drain(&rings, &s, VNS_LINK_ETHERNET, &last_ns, got,
				     1 + s.stats.frames % 61);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	while (vns_ebpf_rings_drain(&rings, &s, VNS_LINK_ETHERNET, &last_ns, got, 61))
		;
	for (unsigned int i = 0; i < rings.n; i++)
		used += *rings.ring[i].producer != 0;
	printf("%llu packets of %d through %u rings, %llu lost, %llu earlier than their predecessor\n",
	       (unsigned long long)s.stats.frames, ALL, used,
	       (unsigned long long)vns_ebpf_counts(&o).lost, (unsigned long long)s.stats.backwards);
	ok = s.stats.frames + vns_ebpf_counts(&o).lost == ALL &&
	     s.stats.backwards == 0 && s.stats.frames;
	vns_ebpf_rings_unmap(&rings);
	vns_ebpf_unload(&o);
	return ok ? 0 : 1;
}
