// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Test tool: the twin engine on two capture files, every sample as a line, for comparison with truth.
 *
 * twindump HOST_FILE GUEST_FILE COARSE_NS WINDOW_NS BATCH GUEST_ADDR... [nat] [1/N]
 * 1/N: of the packets that vo --sample chooses; N from 2. Then also a line for each of them:
 *        P point t
 * Lines: S dir proto t_a t_b payload_len last_t_a last_t_b ("-": no last byte)
 *        M ipproto at_a port_a at_b port_b forward|masquerade flows
 *        C point read matched missing ambiguous outside_window undecodable
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/source.h>
#include <vnetscope/twin.h>

#include "packet/sample.h"

#define MAX_BATCH 4096

struct end {
	struct vns_source *source;
	struct vns_packet pkt[MAX_BATCH];
	struct vns_sampler sampler;
	int n;
	char name;
};

static uint32_t one_in;

static void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	(void)ctx;
	printf("S %s %s %" PRId64 " %" PRId64 " %u", s->direction ? "g2h" : "h2g",
	       vns_proto_name(s->proto), s->host_ns, s->host_ns + s->first_raw_ns, s->payload_len);
	if (s->has_last)
		printf(" %" PRId64 " %" PRId64 "\n", s->last_host_ns,
		       s->last_host_ns + s->last_raw_ns);
	else
		puts(" - -");
}

static void die(const char *what, const struct vns_err *err)
{
	fprintf(stderr, "twindump: %s: %s\n", what, err->text);
	exit(3);
}

static void fill(struct end *e, size_t batch)
{
	struct vns_err err = { "" };

	if (e->n != 0)
		return;
	e->n = vns_source_next(e->source, e->pkt, batch, &err);
	if (e->n < 0 && e->n != VNS_SOURCE_EOF)
		die("read", &err);
	if (one_in && e->n > 0) {
		int keep = 0;

		for (int i = 0; i < e->n; i++) {
			if (!vns_sampler_takes(&e->sampler, &e->pkt[i], one_in))
				continue;
			printf("P %c %" PRId64 "\n", e->name, e->pkt[i].time_ns);
			e->pkt[keep++] = e->pkt[i];
		}
		e->n = keep;
	}
}

static void print_counts(const struct vns_twin *t, enum vns_point p)
{
	struct vns_twin_counts c;

	vns_twin_get_counts(t, p, &c);
	printf("C %c %" PRIu64, "AB"[p], c.read);
	for (int k = 0; k < VNS_TWIN_CLASSES; k++)
		printf(" %" PRIu64, c.in_class[k]);
	putchar('\n');
}

static void print_mappings(const struct vns_twin *t)
{
	struct vns_twin_mapping m[VNS_TWIN_MAPPINGS];
	size_t n = vns_twin_mappings(t, m);

	for (size_t i = 0; i < n; i++) {
		char a[VNS_ADDR_STRLEN], b[VNS_ADDR_STRLEN];

		printf("M %u %s %u %s %u %s %" PRIu64 "\n", m[i].ipproto,
		       vns_addr_format(&m[i].at_a, a), m[i].port_a, vns_addr_format(&m[i].at_b, b),
		       m[i].port_b, m[i].forwarded ? "forward" : "masquerade", m[i].flows);
	}
}

int main(int argc, char **argv)
{
	static struct end end[2];
	struct vns_addr guest[64];
	struct vns_twin_opts opts = { .guest = guest };
	struct vns_err err = { "" };
	struct vns_twin *t;
	size_t batch;

	if (argc < 7 || argc - 6 > 64)
		return 2;
	opts.coarse_offset_ns = strtoll(argv[3], NULL, 0);
	opts.window_ns = strtoll(argv[4], NULL, 0);
	batch = strtoul(argv[5], NULL, 0);
	batch = batch < 1 ? 1 : batch > MAX_BATCH ? MAX_BATCH : batch;
	if (strncmp(argv[argc - 1], "1/", 2) == 0) {
		one_in = (uint32_t)strtoul(argv[argc - 1] + 2, NULL, 10);
		opts.sampled = one_in > 1;
		argc--;
	}
	if (strcmp(argv[argc - 1], "nat") == 0) {
		opts.nat = true;
		argc--;
	}
	for (int i = 6; i < argc; i++)
		if (vns_addr_parse(argv[i], &guest[opts.n_guest++]))
			return 2;
	end[0].name = 'A';
	end[1].name = 'B';
	for (int p = 0; p < 2; p++)
		if (vns_source_open_file(&end[p].source, argv[1 + p], NULL, &err))
			die(argv[1 + p], &err);
	if (vns_twin_new(&t, &opts, on_sample, NULL, &err))
		die("engine", &err);
	for (;;) {
		enum vns_point p;

		fill(&end[0], batch);
		fill(&end[1], batch);
		if (end[0].n < 0 && end[1].n < 0)
			break;
		p = end[1].n < 0 || (end[0].n > 0 && end[0].pkt[0].time_ns <=
						     end[1].pkt[0].time_ns - opts.coarse_offset_ns) ?
			    VNS_POINT_A : VNS_POINT_B;
		vns_twin_feed(t, p, end[p].pkt, (size_t)end[p].n);
		end[p].n = 0;
	}
	vns_twin_finish(t);
	print_mappings(t);
	print_counts(t, VNS_POINT_A);
	print_counts(t, VNS_POINT_B);
	vns_twin_free(t);
	vns_source_close(end[0].source);
	vns_source_close(end[1].source);
	return 0;
}
