// SPDX-License-Identifier: GPL-3.0-or-later
/* Pairs the packets of two captures with one clock, the host's and the guest's; its address is given. */
#include <stdio.h>
#include <vnetscope/source.h>
#include <vnetscope/twin.h>

static void print_pair(void *ctx, const struct vns_twin_sample *s)
{
	(void)ctx;
	printf("%s %.3f us\n", s->direction == VNS_HOST_TO_GUEST ? "to guest" : "from guest",
	       (double)(s->direction == VNS_HOST_TO_GUEST ? s->first_raw_ns : -s->first_raw_ns) / 1e3);
}

int main(int argc, char **argv)
{
	static struct vns_packet pkts[256];
	struct vns_source *source[2] = { NULL, NULL };
	struct vns_err err = { "usage: pair HOST-FILE GUEST-FILE GUEST-ADDRESS" };
	struct vns_addr guest;
	struct vns_twin_opts opts = { .guest = &guest, .n_guest = 1 };
	struct vns_twin *twin = NULL;
	int n[2] = { 1, 1 };

	if (argc != 4 || vns_addr_parse(argv[3], &guest) ||
	    vns_source_open_file(&source[0], argv[1], NULL, &err) ||
	    vns_source_open_file(&source[1], argv[2], NULL, &err) ||
	    vns_twin_new(&twin, &opts, print_pair, NULL, &err))
		n[0] = n[1] = 0;
	while (n[0] > 0 || n[1] > 0) /* in turns; long files want turns by time */
		for (int p = 0; p < 2; p++)
			if (n[p] > 0 && (n[p] = vns_source_next(source[p], pkts, 256, &err)) > 0)
				vns_twin_feed(twin, (enum vns_point)p, pkts, (size_t)n[p]);
	if (n[0] == VNS_SOURCE_EOF && n[1] == VNS_SOURCE_EOF)
		vns_twin_finish(twin);
	else
		fprintf(stderr, "%s\n", err.text);
	vns_twin_free(twin);
	vns_source_close(source[0]);
	vns_source_close(source[1]);
	return n[0] != VNS_SOURCE_EOF || n[1] != VNS_SOURCE_EOF;
}
