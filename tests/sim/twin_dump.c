// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Two capture files -> what the twin engine makes of them, one line per sample and per count,
 * for test_twin_truth.py to judge.
 *
 * usage: twin_dump HOST GUEST COARSE_OFFSET_NS GUEST_ADDRESS...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/source.h>
#include <vnetscope/twin.h>

#define MAX_GUEST 4

struct stream {
	struct vns_packet *pkt;
	size_t n, size, fed;
};

static void read_all(const char *path, struct stream *s)
{
	struct vns_err err = { 0 };
	struct vns_source_opts opts = { 0 };
	struct vns_source *src;
	int n;

	if (vns_source_open_file(&src, path, &opts, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(3);
	}
	do {
		if (s->n + 256 > s->size) {
			struct vns_packet *old = s->pkt;

			s->size = s->size ? 2 * s->size : 4096;
			s->pkt = aligned_alloc(64, s->size * sizeof(*s->pkt));
			if (!s->pkt)
				exit(3);
			memcpy(s->pkt, old ? old : s->pkt, s->n * sizeof(*s->pkt));
			free(old);
		}
		n = vns_source_next(src, s->pkt + s->n, 256, &err);
		s->n += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	vns_source_close(src);
}

static void print_sample(void *ctx, const struct vns_twin_sample *s)
{
	(void)ctx;
	printf("sample,%s,%s,%" PRId64 ",%" PRId64 ",%" PRIu32,
	       s->direction == VNS_HOST_TO_GUEST ? "h2g" : "g2h",
	       vns_proto_name((enum vns_proto)s->proto), s->host_ns, s->host_ns + s->first_raw_ns,
	       s->payload_len);
	if (s->has_last)
		printf(",%" PRId64 ",%" PRId64, s->last_host_ns, s->last_host_ns + s->last_raw_ns);
	printf("\n");
}

static void print_counts(const struct vns_twin *t, enum vns_point p)
{
	static const char *const name[] = { "matched", "missing", "ambiguous", "outside_window",
					    "undecodable" };
	struct vns_twin_counts c;

	vns_twin_get_counts(t, p, &c);
	printf("count,%c,read,%" PRIu64 "\n", "AB"[p], c.read);
	for (int i = 0; i < VNS_TWIN_CLASSES; i++)
		printf("count,%c,%s,%" PRIu64 "\n", "AB"[p], name[i], c.class[i]);
}

int main(int argc, char **argv)
{
	struct stream s[2] = { 0 };
	struct vns_twin_opts opts = { 0 };
	struct vns_err err = { 0 };
	struct vns_addr guest[MAX_GUEST];
	struct vns_twin *t;

	if (argc < 4 || argc > 4 + MAX_GUEST)
		return 2;
	for (int i = 4; i < argc; i++)
		if (vns_addr_parse(argv[i], &guest[opts.n_guest++]))
			return 2;
	opts.guest = guest;
	read_all(argv[1], &s[0]);
	read_all(argv[2], &s[1]);
	opts.coarse_offset_ns = strtoll(argv[3], NULL, 10);
	if (vns_twin_new(&t, &opts, print_sample, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 3;
	}
	while (s[0].fed < s[0].n || s[1].fed < s[1].n) {
		int p = s[0].fed == s[0].n ||
			(s[1].fed < s[1].n && s[1].pkt[s[1].fed].time_ns - opts.coarse_offset_ns <
						      s[0].pkt[s[0].fed].time_ns);
		size_t left = s[p].n - s[p].fed, n = left < 16 ? left : 16;

		vns_twin_feed(t, (enum vns_point)p, s[p].pkt + s[p].fed, n);
		s[p].fed += n;
	}
	vns_twin_finish(t);
	print_counts(t, VNS_POINT_A);
	print_counts(t, VNS_POINT_B);
	vns_twin_free(t);
	free(s[0].pkt);
	free(s[1].pkt);
	return 0;
}
