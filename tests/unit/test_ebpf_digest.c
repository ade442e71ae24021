// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The kernel's capture program against the decoder in user space: every field of every packet.
 *
 * Frames of the capture files named, frames put together here (all that the program decodes itself
 * and much that it passes up), and mutations of all of them (bytes changed, ends cut; seed printed)
 * run through the loaded program by BPF_PROG_TEST_RUN; what comes out of the ring must equal
 * vns_packet_decode() of the same bytes, at several snap lengths, both directions, and with
 * raw bytes only. It counts how many were decoded in the kernel, so that passing everything up
 * would fail too.
 *
 * Filters: expressions translated to eBPF must take the same frames as libpcap's interpreter.
 *
 * usage: test_ebpf_digest FILE...   exit 77 when programs cannot be loaded here
 */
#include <errno.h>
#include <inttypes.h>
#define PCAP_DONT_INCLUDE_PCAP_BPF_H /* it has a struct bpf_insn too */
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "source/ebpf.h"
#include "source/filter.h"
#include "source/source.h"
#include "tests/unit/frames.h"

#define MAX_FRAME 3000 /* what a test run takes in one page */
#define MAX_FRAMES 60000
#define RING      (1u << 20)

struct frame {
	uint8_t *data;
	uint32_t len;
};

static struct frame frames[MAX_FRAMES];
static size_t n_frames, n_good; /* the first n_good are as captured or made, the rest mutated */
static unsigned int failures;
static uint64_t state;

static uint64_t rnd(void)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 33;
}

static void add_frame(const uint8_t *data, uint32_t len)
{
	/* the kernel refuses to run on less than an Ethernet header */
	if (len < 14 || len > MAX_FRAME || n_frames == MAX_FRAMES)
		return;
	frames[n_frames].data = malloc(len);
	memcpy(frames[n_frames].data, data, len);
	frames[n_frames++].len = len;
}

/* Captured bytes, and zeros for what the capture cut. */
static void add_file(const char *path)
{
	char why[PCAP_ERRBUF_SIZE];
	pcap_t *p = pcap_open_offline(path, why);
	const struct pcap_pkthdr *h;
	static uint8_t padded[MAX_FRAME];
	struct pcap_pkthdr *hdr;
	const u_char *data;

	if (!p) {
		printf("FAIL: %s: %s\n", path, why);
		failures++;
		return;
	}
	while (pcap_datalink(p) == VNS_LINK_ETHERNET && pcap_next_ex(p, &hdr, &data) == 1) {
		h = hdr;
		if (h->len > MAX_FRAME || h->caplen > h->len)
			continue;
		memset(padded, 0, sizeof(padded));
		memcpy(padded, data, h->caplen);
		add_frame(padded, h->len);
	}
	pcap_close(p);
}

static void vlan_tags(struct bytes *f, unsigned int n)
{
	static const unsigned int tpid[3] = { 0x88a8, 0x8100, 0x9100 };

	put(f, "\x52\x54\x00\x00\x00\x02\x52\x54\x00\x00\x00\x01", 12);
	for (unsigned int i = 0; i < n; i++) {
		put16(f, tpid[i]);
		put16(f, 0x6000 + 100 + i);
	}
}

static void transport(struct bytes *f, unsigned int proto, unsigned int dport, unsigned int opts,
		      unsigned int payload, unsigned int first)
{
	put16(f, proto == 1 || proto == 58 ? first << 8 : 33000);
	put16(f, dport);
	if (proto == 6) {
		put32(f, 0xfffffff0);
		put32(f, 0x01020304);
		put8(f, (opts ? opts : 5) << 4);
		put8(f, 0x18);
		put16(f, 501);
		put32(f, 0);
		if (opts == 8)
			put(f, "\1\1\10\12\1\2\3\4\5\6\7\10", 12);
		else if (opts == 10) /* SYN's: MSS, SACK permitted, timestamp, NOP, scale */
			put(f, "\2\4\5\264\4\2\10\12\1\2\3\4\0\0\0\0\1\3\3\7", 20);
		else if (opts == 11) /* timestamp and one SACK block */
			put(f, "\1\1\10\12\1\2\3\4\5\6\7\10\1\1\5\12\0\0\1\0\0\0\2\0", 24);
	} else {
		put16(f, proto == 17 ? payload + 8 : 0x4242);
		put16(f, 7);
	}
	put8(f, first);
	put_fill(f, payload ? payload - 1 : 0, 5);
	f->n -= payload ? 0 : 1;
}

static void one_frame(unsigned int tags, bool v6, unsigned int ip_opts, unsigned int proto,
		      unsigned int dport, unsigned int opts, unsigned int payload, unsigned int first)
{
	struct bytes f = { .n = 0 };
	uint32_t at;

	vlan_tags(&f, tags);
	put16(&f, v6 ? 0x86dd : 0x0800);
	if (v6) {
		at = ip6(&f, proto, 1 + (unsigned int)(rnd() & 1), 1 + (unsigned int)(rnd() & 1));
	} else {
		at = ip4(&f, proto, 0x0a000001 + (uint32_t)(rnd() & 3), 0x0a000002);
		f.b[at] = (uint8_t)(0x45 + ip_opts);
		put_fill(&f, ip_opts * 4, 1);
	}
	transport(&f, proto, dport, opts, payload, first);
	if (v6)
		ip6_end(&f, at);
	else
		ip4_end(&f, at);
	if (rnd() % 8 == 0)
		put_fill(&f, 6, 9); /* Ethernet's padding */
	add_frame(f.b, f.n);
}

static void add_made(void)
{
	static const unsigned int protos[] = { 6, 17, 1, 58, 47, 4, 50 };
	static const unsigned int ports[] = { 5001, 53, 443, 5353, 4789, 6081 };
	static const unsigned int options[] = { 0, 8, 10, 11 };
	static const unsigned int sizes[] = { 0, 1, 5, 6, 20, 21, 23, 24, 25, 100, 1400 };
	static const unsigned int firsts[] = { 0x00, 0x08, 0x40, 0x60, 0x80, 0x81, 0xc0, 0x7f };

	for (unsigned int i = 0; i < 6000; i++)
		one_frame((unsigned int)rnd() % 4, rnd() & 1, rnd() % 4 ? 0 : (unsigned int)rnd() % 11,
			  protos[rnd() % 3 ? rnd() % 3 : rnd() % 7],
			  ports[rnd() % 3 ? 0 : rnd() % 6], options[rnd() % 4], sizes[rnd() % 11],
			  firsts[rnd() % 8]);
}

/* Bytes changed, mostly in the headers, and ends cut. */
static void add_mutated(size_t n)
{
	n_good = n_frames;
	for (size_t i = 0; i < n && n_good; i++) {
		const struct frame *f = &frames[rnd() % n_good];
		uint8_t copy[MAX_FRAME];
		uint32_t len = f->len, head = len < 90 ? len : 90;

		memcpy(copy, f->data, len);
		for (uint64_t k = 1 + rnd() % 3; k; k--)
			copy[12 + rnd() % (head - 12)] = (uint8_t)(rnd() % 4 ? rnd() : rnd() % 9);
		if (rnd() % 4 == 0)
			len = 14 + (uint32_t)rnd() % (len - 13);
		add_frame(copy, len);
	}
}

/* One frame through program @prog. Return: 0 or -errno. */
static int run_program(int prog, const struct frame *f)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f->data, .data_size_in = f->len, .repeat = 1);

	return bpf_prog_test_run_opts(prog, &o);
}

static void show(const struct frame *f, const struct vns_packet *want, const struct vns_packet *got)
{
	const uint8_t *a = (const uint8_t *)want, *b = (const uint8_t *)got;

	if (++failures > 10)
		return;
	printf("FAIL: %u bytes, verdict %s, proto %s: the packets differ at bytes", f->len,
	       vns_verdict_name(want->verdict), vns_proto_name(want->proto));
	for (size_t i = 0; i < sizeof(*want); i++)
		if (a[i] != b[i])
			printf(" %zu(%02x,%02x)", i, a[i], b[i]);
	printf("\n  frame:");
	for (uint32_t i = 0; i < f->len && i < 100; i++)
		printf("%s%02x", i % 16 ? " " : "\n    ", f->data[i]);
	printf("\n");
}

struct tally {
	uint64_t run, in_kernel, by_verdict[VNS_PKT_VERDICTS];
};

/* What the ring holds after one run, against the decoder. */
static void compare(struct vns_ebpf_rings *rings, const struct frame *f, uint32_t snaplen,
		    uint16_t flags, struct tally *t)
{
	static struct vns_source s;
	struct vns_frame frame = { .data = f->data, .wire_len = f->len, .flags = flags,
				   .cap_len = f->len < snaplen ? f->len : snaplen,
				   .linktype = VNS_LINK_ETHERNET };
	struct vns_packet want, got[2];
	int64_t last_ns = 0;
	const struct vns_ebpf_ring *ring = &rings->ring[0];
	const struct vns_bpf_record *rec = (const void *)(ring->data + (ring->at & ring->mask) + 8);
	bool raw = rec->kind == VNS_BPF_RAW;
	size_t n = vns_ebpf_rings_drain(rings, &s, VNS_LINK_ETHERNET, &last_ns, got, 2);

	vns_packet_decode(&frame, &want);
	if (n != 1) {
		printf("FAIL: %zu records for one frame\n", n);
		failures++;
		return;
	}
	want.time_ns = got[0].time_ns;
	if (memcmp(&want, &got[0], sizeof(want)) != 0)
		show(f, &want, &got[0]);
	t->run++;
	t->in_kernel += !raw;
	t->by_verdict[want.verdict]++;
}

static void run_all(uint32_t snaplen, bool raw_only, bool egress, struct tally *t)
{
	struct vns_bpf_config config = { .snaplen = snaplen, .raw_only = raw_only, .wake_ns = 1 };
	struct vns_ebpf_object o;
	struct vns_ebpf_rings rings;
	struct vns_err err;
	size_t refused = 0;

	if (vns_ebpf_load(&o, &config, RING, &err) || vns_ebpf_load_filter(&o, NULL, 0, &err) ||
	    vns_ebpf_rings_map(&rings, &o, &err) || vns_ebpf_begin(&o, &err)) {
		printf("SKIP: %s\n", err.text);
		exit(77);
	}
	for (size_t i = 0; i < n_frames; i++) {
		if (run_program(vns_ebpf_entry(&o, egress), &frames[i]))
			refused++;
		else
			compare(&rings, &frames[i], snaplen, egress ? VNS_PKT_F_OUTGOING : 0, t);
	}
	printf("snaplen %u%s %s: %" PRIu64 " frames, %" PRIu64 " decoded in the kernel, ok %" PRIu64
	       " not_ip %" PRIu64 " other_l4 %" PRIu64 " fragment %" PRIu64 " cut %" PRIu64
	       " malformed %" PRIu64 "; %zu refused by the test run\n", snaplen,
	       raw_only ? " raw" : "", egress ? "egress" : "ingress", t->run, t->in_kernel,
	       t->by_verdict[0], t->by_verdict[1], t->by_verdict[2], t->by_verdict[3],
	       t->by_verdict[4], t->by_verdict[5], refused);
	failures += refused > n_frames / 30; /* IP packets shorter than their header */
	vns_ebpf_rings_unmap(&rings);
	vns_ebpf_unload(&o);
}

/* Does the translated filter let the same frames through? */
static void run_filter(const char *expr)
{
	struct vns_bpf_config config = { .snaplen = 128, .wake_ns = 1 };
	struct vns_bpf_insn *code = NULL;
	struct vns_ebpf_object o;
	struct vns_ebpf_rings rings;
	struct vns_err err = { "" };
	uint64_t at, passed = 0, differ = 0;
	int n = vns_filter_compile(expr, VNS_LINK_ETHERNET, 0, &code, &err);

	if (n < 0 || vns_ebpf_load(&o, &config, RING, &err) ||
	    vns_ebpf_load_filter(&o, code, (size_t)n, &err) ||
	    vns_ebpf_rings_map(&rings, &o, &err) || vns_ebpf_begin(&o, &err)) {
		printf("FAIL: filter \"%s\": %s\n", expr, err.text);
		failures++;
		return;
	}
	for (size_t i = 0; i < n_frames; i += i < n_good ? 3 : 17) {
		struct vns_frame f = { .data = frames[i].data, .cap_len = frames[i].len,
				       .wire_len = frames[i].len };
		bool want = vns_filter_match(code, &f), got;

		if (run_program(vns_ebpf_entry(&o, 0), &frames[i]))
			continue;
		at = *rings.ring[0].producer;
		got = at != *rings.ring[0].consumer;
		*rings.ring[0].consumer = at;
		passed += got;
		differ += want != got;
	}
	printf("filter \"%s\": %d instructions, %" PRIu64 " passed, %" PRIu64 " otherwise than by "
	       "libpcap\n", expr, n, passed, differ);
	failures += differ != 0 || passed == 0;
	free(code);
	vns_ebpf_rings_unmap(&rings);
	vns_ebpf_unload(&o);
}

int main(int argc, char **argv)
{
	static const uint32_t snaplens[] = { 64, 68, 96, 128, 256 };
	static const char *const filters[] = {
		"tcp", "udp port 5001", "ip host 10.0.0.2 or ip6", "icmp or icmp6",
		"tcp[tcpflags] & tcp-push != 0 and ip", "udp[8] & 0x40 != 0", "vlan", "greater 200",
		"(ip host 10.0.0.2 or ip host 10.0.0.3) and not (tcp port 22)",
		"ip[6:2] & 0x1fff = 0 and (ip[2:2] - ((ip[0] & 0xf) << 2)) / 8 > 3 and not ip[8] = 7",
		"ip6[6] = 17", "len % 7 = 3",
	};
	struct tally fast = { 0 };

	state = argc > 1 && getenv("VNS_SEED") ? strtoull(getenv("VNS_SEED"), NULL, 0) : 20261122;
	printf("seed %" PRIu64 " (VNS_SEED)\n", state);
	for (int i = 1; i < argc; i++)
		add_file(argv[i]);
	add_made();
	add_mutated(6000);
	for (size_t i = 0; i < sizeof(snaplens) / sizeof(snaplens[0]); i++) {
		struct tally t = { 0 };

		run_all(snaplens[i], false, i & 1, snaplens[i] == 128 ? &fast : &t);
	}
	run_all(128, true, false, &(struct tally){ 0 });
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		run_filter(filters[i]);
	if (fast.in_kernel * 3 < fast.run) {
		printf("FAIL: too many packets were passed up undecoded\n");
		failures++;
	}
	printf("%u failures\n", failures);
	return failures ? 1 : 0;
}
