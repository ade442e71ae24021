// SPDX-License-Identifier: GPL-3.0-or-later
/* Prints the round-trip times that a capture file shows: cc rtt.c $(pkg-config --cflags --libs vnetscope) */
#include <stdio.h>
#include <vnetscope/rtt.h>
#include <vnetscope/source.h>

static void print_sample(void *ctx, const struct vns_rtt_sample *s)
{
	char a[VNS_ADDR_STRLEN], b[VNS_ADDR_STRLEN];

	(void)ctx;
	printf("%s:%u %s:%u %.3f us\n", vns_addr_format(&s->key->addr[s->dir], a),
	       s->key->port[s->dir], vns_addr_format(&s->key->addr[!s->dir], b),
	       s->key->port[!s->dir], (double)s->rtt_ns / 1e3);
}

int main(int argc, char **argv)
{
	static struct vns_packet pkts[256];
	struct vns_rtt_opts opts = { .on_sample = print_sample };
	struct vns_source *source = NULL;
	struct vns_rtt *rtt = NULL;
	struct vns_err err = { "usage: rtt FILE" };
	int n = -1;

	if (argc == 2 && vns_source_open_file(&source, argv[1], NULL, &err) == 0 &&
	    vns_rtt_new(&rtt, &opts, &err) == 0) {
		while ((n = vns_source_next(source, pkts, 256, &err)) > 0)
			vns_rtt_feed(rtt, pkts, (size_t)n);
		vns_rtt_finish(rtt);
	}
	if (n != VNS_SOURCE_EOF)
		fprintf(stderr, "%s\n", err.text);
	vns_rtt_free(rtt);
	vns_source_close(source);
	return n != VNS_SOURCE_EOF;
}
