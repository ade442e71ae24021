// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Test tool: one tab-separated line for each packet of a capture file or interface, for
 * comparison with other dissectors. Columns: see columns[]. Statistics go to stderr.
 *
 * pktdump [-f FILTER] [-q] FILE
 * pktdump -i IFACE [-N NETNS_FILE] [-f FILTER] [-s SNAPLEN] [-B RING_BYTES] [-t SECONDS]
 *         [-c afpacket|ebpf|tcx|tc] [-F FANOUT_NUMBER] [-j THREADS] [-q]
 * -q: no packets
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vnetscope/source.h>

#include "source/ebpf.h"

static volatile sig_atomic_t stop;

static const char columns[] =
	"time_ns\tpoint\tverdict\tproto\tsrc\tsport\tdst\tdport\tseq\tack\ttcp_flags\twindow\t"
	"tsval\ttsecr\tpayload_len\tip_id\tfrag_off\ticmp_type\ticmp_code\ticmp_id\ticmp_seq\t"
	"ttl\tvlan\ttunnel_depth\tflags\twire_len\tcap_len\tdigest\tflow_hash\t"
	"app\tdns_id\tdns_flags\tquic_type\tquic_version16\tquic_dcid_len\tquic_scid_len\t"
	"quic_dcid\tquic_scid";

struct args {
	const char *iface, *file, *capture;
	struct vns_source_opts opts;
	int64_t run_ns;
	bool quiet;
};

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static void dump_application(const struct vns_packet *p)
{
	bool is_dns = p->flags & VNS_PKT_F_DNS, is_quic = p->flags & VNS_PKT_F_QUIC;

	printf("\t%s", is_dns ? "dns" : is_quic ? "quic" : "");
	printf(is_dns ? "\t%u\t0x%04x" : "\t\t", p->dns_id, p->dns_flags);
	if (is_quic)
		printf("\t%u\t0x%04x\t%u\t%u\t%08x%08x\t%08x%08x\n", p->quic_type,
		       p->quic_version16, p->quic_dcid_len, p->quic_scid_len, p->quic_dcid[0],
		       p->quic_dcid[1], p->quic_scid[0], p->quic_scid[1]);
	else
		puts("\t\t\t\t\t\t");
}

static void dump(const struct vns_packet *p)
{
	char src[VNS_ADDR_STRLEN], dst[VNS_ADDR_STRLEN];

	printf("%" PRId64 "\t%u\t%s\t%s\t%s\t%u\t%s\t%u\t%u\t%u\t%u\t%u\t", p->time_ns, p->point,
	       vns_verdict_name(p->verdict), vns_proto_name(p->proto),
	       p->key.family ? vns_addr_format(vns_packet_src(p), src) : "",
	       vns_packet_sport(p),
	       p->key.family ? vns_addr_format(vns_packet_dst(p), dst) : "",
	       vns_packet_dport(p), p->seq, p->ack, p->tcp_flags, p->window);
	printf("%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t%u\t", p->tsval, p->tsecr,
	       p->payload_len, p->ip_id, p->frag_off, p->icmp_type, p->icmp_code, p->icmp_ident,
	       p->icmp_seqno, p->ttl, p->vlan, p->tunnel_depth);
	printf("0x%04x\t%u\t%u\t%016" PRIx64 "\t%016" PRIx64, p->flags, p->wire_len,
	       p->cap_len, p->digest, p->flow_hash);
	dump_application(p);
}

static void print_stats(struct vns_source *s)
{
	struct vns_source_stats st;

	vns_source_stats(s, &st);
	fprintf(stderr, "frames %" PRIu64 " filtered %" PRIu64 " dropped %" PRIu64
		" bytes %" PRIu64 " truncated %" PRIu64 " bad_records %" PRIu64
		" backwards %" PRIu64, st.frames, st.filtered, st.dropped, st.bytes,
		st.truncated, st.bad_records, st.backwards);
	for (unsigned int v = 0; v < VNS_PKT_VERDICTS; v++)
		fprintf(stderr, " %s %" PRIu64, vns_verdict_name(v), st.verdicts[v]);
	fprintf(stderr, " early %" PRIu64 "\n", st.early);
	if (vns_source_sentence(s))
		fprintf(stderr, "%s\n", vns_source_sentence(s));
}

static int run(struct vns_source *s, const struct args *a)
{
	static struct vns_packet pkts[256];
	struct vns_err err = { "" };
	int64_t end = a->run_ns ? vns_monotonic_ns() + a->run_ns : INT64_MAX;
	int64_t over_ns = 0; /* of the interface's packets those are still read that came before that */
	int n = 0, empty = 0;

	while (empty < 2) {
		if (!over_ns && (stop || vns_monotonic_ns() >= end)) {
			over_ns = vns_now_ns();
			if (!a->iface)
				break;
		}
		n = vns_source_next(s, pkts, 256, &err);
		if (n < 0)
			break;
		empty = over_ns && !n ? empty + 1 : 0;
		if (over_ns && n && pkts[0].time_ns > over_ns)
			break;
		for (int i = 0; i < n && !a->quiet; i++)
			dump(&pkts[i]);
		if (a->iface)
			fflush(stdout);
	}
	print_stats(s);
	if (n < 0 && n != VNS_SOURCE_EOF) {
		fprintf(stderr, "pktdump: %s\n", err.text);
		return 3;
	}
	return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
	int c;

	while ((c = getopt(argc, argv, "i:f:N:s:B:t:c:F:j:q")) != -1) {
		switch (c) {
		case 'i':
			a->iface = optarg;
			break;
		case 'f':
			a->opts.filter = optarg;
			break;
		case 'N':
			a->opts.netns_fd = open(optarg, O_RDONLY | O_CLOEXEC);
			break;
		case 's':
			a->opts.snaplen = (uint32_t)atol(optarg);
			break;
		case 'B':
			a->opts.ring_bytes = (uint32_t)atol(optarg);
			break;
		case 't':
			a->run_ns = (int64_t)(atof(optarg) * 1e9);
			break;
		case 'c':
			a->capture = optarg;
			break;
		case 'F':
			a->opts.fanout = (uint16_t)atol(optarg);
			break;
		case 'j':
			a->opts.threads = (uint16_t)atol(optarg);
			break;
		case 'q':
			a->quiet = true;
			break;
		default:
			return 2;
		}
	}
	a->file = argv[optind];
	return (a->iface != NULL) + (a->file != NULL) == 1 ? 0 : 2;
}

/* The interface by the capture asked for; tcx and tc are eBPF hung up in that very way. */
static int open_live(struct vns_source **s, struct args *a, struct vns_err *err)
{
	bool tcx = a->capture && strcmp(a->capture, "tcx") == 0;
	bool tc = a->capture && strcmp(a->capture, "tc") == 0;
	struct vns_bpf_insn *code;
	int n, rc;

	if (a->capture && strcmp(a->capture, "ebpf") == 0)
		a->opts.capture = VNS_CAPTURE_EBPF;
	if (!tcx && !tc)
		return vns_source_open_live(s, a->iface, &a->opts, err);
	n = vns_filter_compile(a->opts.filter, VNS_LINK_ETHERNET, 0, &code, err);
	if (n < 0)
		return n;
	rc = vns_source_open_ebpf(s, a->iface, code, (size_t)n, tc ? VNS_EBPF_TC : VNS_EBPF_TCX,
				  &a->opts, err);
	free(code);
	return rc;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct args a = { 0 };
	struct vns_source *s;
	struct vns_err err;
	int rc;

	if (parse(argc, argv, &a)) {
		fputs("usage: pktdump [options] FILE | -i IFACE\n", stderr);
		return 2;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	rc = a.iface ? open_live(&s, &a, &err) :
		       vns_source_open_file(&s, a.file, &a.opts, &err);
	if (rc) {
		fprintf(stderr, "pktdump: %s\n", err.text);
		return 3;
	}
	puts(columns);
	fflush(stdout);
	rc = run(s, &a);
	vns_source_close(s);
	return rc;
}
