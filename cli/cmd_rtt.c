// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope rtt (TRoTTEr): round-trip time of TCP traffic that is there anyway, from a file or live.
 * Parses and renders; the measurement is vns_measure_rtt(), the renderings lib/output/rtt.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <vnetscope/output.h>

#include "cli/commands.h"

#define TOP_FLOWS 15 /* of the rolling table: fits a terminal of 24 lines with the totals */
/* The ring's blocks retire every 10 ms at low rates: 128 of them bridge a stall of a second. */
#define RING_BYTES (32u << 20)

struct rtt_config {
	const char *ifname, *file, *capture, *sort, *kinds, *by, *method;
	bool inside, flows, halves, json, csv, samples, promisc;
	int64_t duration_ns, idle_ns;
	uint64_t count, worst, min_samples, max_flows, max_memory, point, snaplen, jobs;
};
#define NO_POINT UINT64_MAX

enum { LIVE = 1 << 0, READ = 1 << 1, JSON = 1 << 2, CSV = 1 << 3, SAMPLES = 1 << 4, CSV_GROUPS = 1 << 5,
       TOTALS = 1 << 6, PATHS = 1 << 7, STAMPS = 1 << 8, NO_TCP = 1 << 9, PART = 1 << 10,
       EBPF = 1 << 11 };

static const struct cli_mode modes[] = {
	{ LIVE, "live", "live", "a live capture (-i)" },
	{ READ, "file", "file", "a capture file (-r)" },
	{ JSON, "json", NULL, "--json" },
	{ CSV, "csv", NULL, "--csv" },
	{ SAMPLES, "samples", NULL, "--samples" },
	{ CSV_GROUPS, "csv-groups", NULL, "the CSV of --by" },
	{ TOTALS, "totals", NULL, "totals alone (no --flows, --by, --halves, --worst or --csv)" },
	{ PATHS, "halves", NULL, "--halves without --flows or --by" },
	{ STAMPS, "timestamps", NULL, "--method ts" },
	{ NO_TCP, "no-tcp", NULL, "--kinds without tcp" },
	{ PART, "part", NULL, "standard input or a part of a file (--duration, --count)" },
	{ EBPF, "ebpf", NULL, "--capture ebpf" },
	{ 0 }
};

static bool parse_kinds(const char *list, unsigned int *kinds);

static unsigned int mode_of(const void *config, char *const *filter, size_t n)
{
	const struct rtt_config *c = config;
	bool listed = c->flows || c->by || c->halves || c->worst || c->csv;
	bool part = c->duration_ns || c->count || (c->file && strcmp(c->file, "-") == 0);
	unsigned int kinds = 0;

	(void)filter, (void)n;
	return cli_when(c->ifname, LIVE) | cli_when(c->file, READ) | cli_when(c->json, JSON) |
	       cli_when(c->csv, CSV) | cli_when(c->samples, SAMPLES) |
	       cli_when(c->csv && c->by, CSV_GROUPS) | cli_when(c->file && !listed, TOTALS) |
	       cli_when(c->halves && !c->flows && !c->by, PATHS) |
	       cli_when(c->method && strcmp(c->method, "ts") == 0, STAMPS) |
	       cli_when(c->kinds && parse_kinds(c->kinds, &kinds) && !(kinds & ~VNS_RTT_APP_KINDS),
			NO_TCP) |
	       cli_when(c->file && part, PART) |
	       cli_when(cli_capture(c->capture) == VNS_CAPTURE_EBPF, EBPF);
}

#define CLI_CONFIG struct rtt_config

static const struct cli_option options[] = {
	CLI_OPT('i', "interface", CLI_STRING, ifname, EVERYWHERE, "IFACE",
		"capture live on IFACE or any (needs CAP_NET_RAW)"),
	CLI_OPT('r', "read", CLI_STRING, file, EVERYWHERE, "FILE",
		"read a pcap or pcapng file; - is standard input"),
	CLI_OPT('f', "flows", CLI_FLAG, flows, SAMPLES | CSV_GROUPS, NULL,
		"figures of each flow and direction"),
	CLI_OPT(0, "json", CLI_FLAG, json, CSV, NULL, "JSON (schema vnetscope.rtt/2)"),
	CLI_OPT(0, "csv", CLI_FLAG, csv, JSON, NULL,
		"CSV, one line per flow and direction, or per sample"),
	CLI_OPT('s', "samples", CLI_FLAG, samples, EVERYWHERE, NULL,
		"one line per sample as it comes; with --json JSON lines"),
	CLI_OPT('d', "duration", CLI_DURATION, duration_ns, EVERYWHERE, "TIME",
		"end after TIME; of a file: only its first TIME", .min = 0.001, .max = 31536000),
	CLI_OPT('c', "count", CLI_U64, count, EVERYWHERE, "N",
		"end with N samples", .min = 1, .max = 1e18),
	CLI_OPT(0, "kinds", CLI_STRING, kinds, EVERYWHERE, "LIST",
		"what to read: tcp,icmp,dns,quic (default: all that is there)"),
	CLI_OPT('m', "method", CLI_CHOICE, method, NO_TCP, "HOW",
		"TCP by timestamps, sequence numbers or both; auto (default): by what a flow has",
		.choices = "auto|ts|seq|both"),
	CLI_OPT(0, "inside", CLI_FLAG, inside, NO_TCP | STAMPS, NULL,
		"by sequence numbers: also from ACKs that end inside a segment"),
	CLI_OPT(0, "by", CLI_STRING, by, SAMPLES, "VIEW",
		"figures by far end: host, prefix or prefix=24,64 (IPv4, IPv6)"),
	CLI_OPT(0, "halves", CLI_FLAG, halves, SAMPLES | CSV, NULL,
		"client's and server's side of the path of each flow, and their sum"),
	CLI_OPT(0, "worst", CLI_U64, worst, SAMPLES, "N",
		"only the N worst flows, or of --by, of each kind; by p95 unless --sort says otherwise",
		.min = 1, .max = 1e6),
	CLI_OPT(0, "min-samples", CLI_U64, min_samples, SAMPLES | TOTALS, "N",
		"list only directions with N samples"),
	CLI_OPT(0, "sort", CLI_CHOICE, sort, SAMPLES | TOTALS | PATHS, "FIGURE",
		"order of the flows",
		.choices = "samples|min|mean|p50|p95|p99|max|stddev|first|address"),
	CLI_OPT(0, "max-memory", CLI_SIZE, max_memory, EVERYWHERE, "SIZE",
		"memory of the process at most (256M, 1G); near it the longest idle flows leave",
		.min = 1, .max = 1e15),
	CLI_OPT(0, "max-flows", CLI_U64, max_flows, EVERYWHERE, "N",
		"flows kept at once (default 1048576); over it the longest idle go", .min = 1,
		.max = 1e9),
	CLI_OPT(0, "idle", CLI_DURATION, idle_ns, EVERYWHERE, "TIME",
		"a flow silent for longer is over (default 300)",
		.min = 0.001, .max = 1e9),
	CLI_OPT(0, "point", CLI_U64, point, LIVE, "N",
		"only capture point N (interface of a pcapng file)",
		.min = 0, .max = 65535),
	CLI_OPT(0, "snaplen", CLI_U64, snaplen, READ, "BYTES",
		"bytes kept of each packet (default 128)",
		.min = 64, .max = 262144),
	CLI_OPT(0, "capture", CLI_CHOICE, capture, READ, "KIND",
		"packet socket, or programs in the kernel (default afpacket)",
		.choices = "afpacket|ebpf"),
	CLI_OPT('j', "jobs", CLI_U64, jobs, PART | EBPF, "N",
		"threads that read and decode; the results are the same (default 1)", .min = 1, .max = 16),
	CLI_OPT('p', "promiscuous", CLI_FLAG, promisc, READ, NULL, "also packets for other hosts"),
	CLI_END
};

struct view {
	const struct rtt_config *config;
	const struct wants *wants;
	enum vns_rtt_order order;
	struct vns_blocks interval[VNS_RTT_KINDS]; /* samples since the last line */
	uint64_t packets_told;    /* of the lines so far */
	int64_t started;
	size_t lines;             /* of the rolling table on the screen */
	bool progress;            /* a progress line stands on stderr */
	bool write_failed;
};

/* What the words of the command line come to. */
struct wants {
	unsigned int kinds; /* 0: all */
	enum vns_rtt_by by;
	uint8_t prefix4, prefix6;
	enum vns_rtt_order order;
	uint64_t min_samples;
	bool flows;
};

static int run_rtt(const struct cli_command *self, int argc, char **argv);

const struct cli_command cmd_rtt = {
	.name = "rtt",
	.args = "-i IFACE | -r FILE [FILTER...]",
	.summary = "Round-trip time of real traffic, passively.",
	.detail = "A line FROM -> TO is the time from a segment of FROM passing the capture point to its\n"
		  "echo by TO coming back there: the path between the capture point and TO. FILTER is a\n"
		  "pcap filter (pcap-filter(7)). Ctrl-C ends with the results so far.\n"
		  "Exit: 0 done (a file cut at its end too: said on stderr), 2 usage or filter, 3 file\n"
		  "(damaged, too), interface or privilege, 4 nothing to measure (no packet, no answer, one direction).",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run_rtt,
};

static enum vns_rtt_order order_of(const char *word)
{
	static const char *const names[] = {
		[VNS_RTT_BY_SAMPLES] = "samples", [VNS_RTT_BY_MIN] = "min",
		[VNS_RTT_BY_MEAN] = "mean",       [VNS_RTT_BY_P50] = "p50",
		[VNS_RTT_BY_P95] = "p95",         [VNS_RTT_BY_P99] = "p99",
		[VNS_RTT_BY_MAX] = "max",         [VNS_RTT_BY_STDDEV] = "stddev",
		[VNS_RTT_BY_FIRST] = "first",     [VNS_RTT_BY_ADDRESS] = "address",
	};

	for (size_t i = 0; word && i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(word, names[i]) == 0)
			return (enum vns_rtt_order)i;
	return VNS_RTT_BY_SAMPLES;
}

static enum vns_rtt_method method_of(const char *word)
{
	static const char *const names[] = { "auto", "ts", "seq", "both" };
	size_t i = word ? sizeof(names) / sizeof(names[0]) : 1;

	while (--i && strcmp(word, names[i]) != 0)
		;
	return (enum vns_rtt_method)i;
}

static json_t *sample_json(uint16_t point, const struct vns_rtt_sample *s, const char *src,
			   const char *dst)
{
	return json_pack("{s:I,s:s,s:i,s:s,s:i,s:s,s:I,s:I,s:i,s:i}", "at_ns", (json_int_t)s->at_ns, "src",
			 src, "sport", (int)s->key->port[s->dir], "dst", dst, "dport",
			 (int)s->key->port[!s->dir], "method", vns_rtt_kind_name(s->kind), "rtt_ns",
			 (json_int_t)s->rtt_ns, "id", (json_int_t)s->id, "point", (int)point,
			 "ident", (int)s->ident);
}

static void print_sample(struct view *v, uint16_t point, const struct vns_rtt_sample *s)
{
	char src[VNS_ADDR_STRLEN], dst[VNS_ADDR_STRLEN], rtt[VNS_TEXT_LEN];
	unsigned sport = s->key->port[s->dir], dport = s->key->port[!s->dir];
	int failed;

	vns_addr_format(&s->key->addr[s->dir], src);
	vns_addr_format(&s->key->addr[!s->dir], dst);
	if (v->config->json)
		failed = vns_json_print_line(sample_json(point, s, src, dst), stdout);
	else if (v->config->csv)
		failed = printf("%" PRId64 ",%s,%u,%s,%u,%s,%" PRId64 ",%" PRIu32 ",%u,%u\n",
				s->at_ns, src, sport, dst, dport, vns_rtt_kind_name(s->kind),
				s->rtt_ns, s->id, (unsigned)point, (unsigned)s->ident) < 0;
	else
		failed = printf("%" PRId64 ".%09" PRId64 " %s %u > %s %u  %s  %s\n",
				s->at_ns / VNS_NSEC_PER_SEC, s->at_ns % VNS_NSEC_PER_SEC, src, sport,
				dst, dport, vns_rtt_kind_name(s->kind),
				vns_text_ns(rtt, (double)s->rtt_ns)) < 0;
	v->write_failed |= failed != 0;
}

static void on_sample(void *ctx, uint16_t point, const struct vns_rtt_sample *s)
{
	struct view *v = ctx;

	if (v->config->samples)
		print_sample(v, point, s);
	else
		vns_blocks_add(&v->interval[s->kind], s->at_ns, s->rtt_ns);
}

/* Live on a terminal: the table is drawn over its predecessor. */
static void roll_table(struct view *v, const struct vns_rtt_result *so_far)
{
	/* the rendering sorts: a shallow copy with an order of its own */
	struct vns_rtt_result r = *so_far;
	size_t bytes = r.rows.n * sizeof(*r.rows.at), len = 0;
	char *text = NULL;
	FILE *f = NULL;

	r.rows.at = malloc(bytes + 1);
	if (r.rows.at)
		f = open_memstream(&text, &len);
	if (!f) {
		free(r.rows.at);
		return;
	}
	if (bytes)
		memcpy(r.rows.at, so_far->rows.at, bytes);
	vns_rtt_sort(&r, v->order);
	vns_rtt_print_text(&r, true, TOP_FLOWS, f);
	fclose(f);
	free(r.rows.at);
	if (v->lines)
		printf("\033[%zuA\033[J", v->lines);
	v->lines = 0;
	for (const char *p = text; *p; p++)
		v->lines += *p == '\n';
	fputs(text, stdout);
	fflush(stdout);
	free(text);
}

/* Live, not on a terminal: one line per second about that second. */
static void roll_line(struct view *v, const struct vns_rtt_result *so_far)
{
	static const char *const names[] = { "min", "p50", "p99", "max" };
	static const double q[] = { 0, 0.5, 0.99, 1 };
	char b[VNS_TEXT_LEN], span[VNS_SPAN_LEN];

	printf("%4.0f s  packets %" PRIu64 "  flows %" PRIu64,
	       (double)(vns_monotonic_ns() - v->started) / 1e9,
	       so_far->counts.packets - v->packets_told, so_far->counts.flows_live);
	v->packets_told = so_far->counts.packets;
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		struct vns_intervals within;
		struct vns_dist d = { 0 };

		vns_blocks_total(&v->interval[k], &d);
		vns_blocks_intervals(&v->interval[k], &d, &within);
		vns_blocks_fini(&v->interval[k]);
		if (d.n)
			printf("  %s samples %" PRIu64, vns_rtt_kind_name((enum vns_rtt_kind)k), d.n);
		for (size_t i = 0; d.n && i < sizeof(q) / sizeof(q[0]); i++) {
			printf("  %s %s", names[i], vns_text_ns(b, (double)vns_dist_quantile(&d, q[i])));
			if (i == 1 || i == 2)
				printf(" (%s)", vns_text_interval(span, i == 1 ? &within.p50 : &within.p99, 0));
		}
		vns_dist_fini(&d);
	}
	v->write_failed |= putchar('\n') == EOF || fflush(stdout);
}

static uint64_t all_samples(const struct vns_rtt_counts *c)
{
	uint64_t n = 0;

	for (int k = 0; k < VNS_RTT_KINDS; k++)
		n += c->samples[k];
	return n;
}

static void on_tick(void *ctx, const struct vns_rtt_result *so_far)
{
	struct view *v = ctx;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	if (v->config->samples) {
		fflush(stdout);
	} else if (v->config->ifname && !v->config->json && !v->config->csv) {
		if (isatty(STDOUT_FILENO))
			roll_table(v, so_far);
		else
			roll_line(v, so_far);
	} else if (isatty(STDERR_FILENO)) {
		fprintf(stderr, "\r%s packets, %s samples ", vns_text_count(a, so_far->counts.packets),
			vns_text_count(b, all_samples(&so_far->counts)));
		v->progress = true;
	}
	if (v->write_failed)
		cli_interrupted = 1; /* nobody reads any more: end, and say so */
}

/* Behind a sentence about packets: that @n of them could not be read. Return: @to. */
static const char *cut_words(char *to, size_t size, uint64_t n)
{
	snprintf(to, size, n ? " (%" PRIu64 " of them cut, malformed or of an unknown link type)" : "", n);
	return to;
}

/* What the figures do not say by themselves. Return: the exit code. */
static int verdict(const struct cli_command *self, const struct rtt_config *c,
		   const struct vns_rtt_result *r)
{
	const char *what = c->file ? c->file : c->ifname;
	const struct vns_rtt_counts *n = &r->counts;
	const struct vns_rtt_app_counts *a = &r->app;
	bool messages = a->icmp.requests + a->icmp.replies + a->dns.requests + a->dns.replies + a->dns_tcp.unread +
			a->quic.long_headers + a->quic.short_headers;
	bool no_point = n->packets == 0 && r->other_point;
	char words[96];

	if (r->interrupted && c->file)
		cli_fail(self, 0, "interrupted: these are the results so far");
	if (r->sentence[0] && !no_point)
		cli_fail(self, 0, "%s", r->sentence);
	if (r->n_point > 1)
		cli_fail(self, 0, "%s has %zu capture points; each is measured by itself, the totals hold "
			 "%s; --point N chooses one", what, r->n_point,
			 r->seen_again ? "each round trip once" : "all");
	if (r->source.dropped)
		cli_fail(self, 0, "%" PRIu64 " %s lost by the capture", r->source.dropped,
			 r->source.dropped == 1 ? "packet was" : "packets were");
	if (c->max_memory && r->memory_from_ns)
		cli_fail(self, 0, "--max-memory was reached %.3f s after the first packet: %" PRIu64
			 " flows and requests left before their time, the longest idle first%s",
			 (double)(r->memory_from_ns - r->from_ns) / 1e9, r->memory_flows,
			 r->flows_hidden ? "; not all are listed" : "");
	if (n->tsval_pushed_out + n->seq_pushed_out + n->flows_returned)
		cli_fail(self, 0, "%" PRIu64 " flows were pushed out of a full table: %" PRIu64 " timestamp values "
			 "and %" PRIu64 " segments waited in them for an answer and give no round trip; %s%" PRIu64
			 " of the flows came back and are counted twice", n->flows_evicted_full,
			 n->tsval_pushed_out, n->seq_pushed_out, n->flows_returned ? "at least " : "",
			 n->flows_returned);
	if (r->ended_early[0])
		return cli_fail(self, VNS_EXIT_SETUP, "%s (figures until then)", r->ended_early);
	if (r->source.damaged) /* r->sentence says it */
		return VNS_EXIT_SETUP;
	if (vns_rtt_seems_doubled(r))
		return cli_fail(self, all_samples(n) ? VNS_EXIT_OK : VNS_EXIT_INCONCLUSIVE,
				"%s seems to hold every packet twice (several interfaces, -i any): which copy "
				"was answered is not known; capture on one interface", what);
	if (all_samples(n))
		return VNS_EXIT_OK;
	if (n->packets == 0 && r->source.truncated && !r->source.filtered) /* nothing of it can be read */
		return VNS_EXIT_SETUP;
	if (n->packets == 0 && r->source.filtered)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
				"%s%" PRIu64 " %s of %s %s the filter", r->source.filtered == 1 ? "the " : "none of the ",
				r->source.filtered, r->source.filtered == 1 ? "packet" : "packets",
				what, r->source.filtered == 1 ? "does not match" : "matches");
	if (no_point)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE, "%s has no capture point %" PRIu64 ": %s", what, c->point, r->sentence);
	if (n->packets == 0)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE, "no packets %s %s",
				c->file ? "in" : "seen on", what);
	if (r->kinds & VNS_RTT_APP_KINDS && n->flows == 0 && messages)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
				"%s has messages of ICMP, DNS or QUIC, but no answer that gives a round trip "
				"(capture where both directions pass)", what);
	if (n->packets == n->undecodable + n->not_tcp)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
				"no %s among the %" PRIu64 " %s of %s: nothing to measure%s",
				c->kinds ? c->kinds : "TCP, ICMP echo, DNS or QUIC", n->packets,
				n->packets == 1 ? "packet" : "packets", what,
				cut_words(words, sizeof(words), n->undecodable));
	if (n->flows == 0)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
				"no TCP timestamps in %s: --method seq may tell more", what);
	if (n->flows_one_direction == n->flows)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
				"%s shows one direction only of every flow: the answers are missing "
				"(capture where both directions pass)", what);
	return cli_fail(self, VNS_EXIT_INCONCLUSIVE,
			"nothing that was sent in %s was answered so that its time is certain", what);
}

/* The documents and tables but for the lines of samples. @path: owned by the caller, or NULL. */
static int render_views(const struct rtt_config *c, const struct wants *w, struct vns_rtt_result *r,
			const struct vns_rtt_path *path, size_t n_path)
{
	int error = 0;

	if (c->json)
		return vns_rtt_print_json(r, w->flows, path, n_path,
					  vns_json_head("vnetscope.rtt/2", cli_argc, cli_argv),
					  stdout);
	if (c->csv)
		return w->by ? vns_rtt_csv_groups(r, stdout) : vns_rtt_print_csv(r, stdout);
	if (w->by)
		error = vns_rtt_text_groups(r, stdout);
	if (path && !error)
		error = vns_rtt_text_paths(path, n_path, stdout);
	return error ? error : vns_rtt_print_text(r, w->flows, 0, stdout);
}

static int render(const struct rtt_config *c, struct view *v, struct vns_rtt_result *r)
{
	const struct wants *w = v->wants;
	struct vns_rtt_path *path = NULL;
	long n_path = 0;
	json_t *last;
	int error;

	if (v->lines)
		printf("\033[%zuA\033[J", v->lines);
	if (c->samples && c->json) {
		last = json_pack("{s:o,s:o}", "totals", vns_rtt_json_totals(r), "accounting",
				 vns_rtt_json_accounting(r));
		return vns_json_print_line(last, stdout);
	}
	if (c->samples) { /* samples only on stdout */
		vns_rtt_print_text(r, false, 0, stderr);
		return 0;
	}
	if (c->halves)
		n_path = vns_rtt_paths(r, &path);
	if (n_path < 0)
		return (int)n_path;
	if (path && c->worst)
		n_path = vns_rtt_worst_paths(path, n_path, (size_t)c->worst);
	vns_rtt_sort(r, v->order);
	if (w->by)
		vns_rtt_groups_sort(r, (int)v->order, w->min_samples, (size_t)c->worst);
	else if (c->worst)
		vns_rtt_keep_worst(r, (size_t)c->worst);
	error = render_views(c, w, r, path, (size_t)n_path);
	free(path);
	return error;
}

/* All words of the filter as one expression; the caller frees it. */
static char *join(char **words, size_t n)
{
	size_t len = 1;
	char *text;

	for (size_t i = 0; i < n; i++)
		len += strlen(words[i]) + 1;
	text = calloc(1, len);
	for (size_t i = 0; text && i < n; i++) {
		if (i)
			strcat(text, " ");
		strcat(text, words[i]);
	}
	return text;
}

static void print_sample_head(const struct rtt_config *c)
{
	if (c->json)
		vns_json_print_line(vns_json_head("vnetscope.rtt.samples/2", cli_argc, cli_argv),
				    stdout);
	else if (c->csv)
		puts("at_ns,src,sport,dst,dport,method,rtt_ns,id,point,ident");
}

/* -EINVAL of an open is the filter's; of the file itself the library says something else. */
static int failed_to_begin(const struct cli_command *self, const struct rtt_config *c, int error, const char *filter,
			   const struct vns_err *err)
{
	struct vns_bpf_insn *insn = NULL;
	int n = filter ? vns_filter_compile(filter, VNS_LINK_ETHERNET, 262144, &insn, NULL) : 0;

	free(insn);
	if (error == -EINVAL && n >= 0 && filter && c->ifname && strcmp(c->ifname, "any") == 0)
		return cli_fail(self, VNS_EXIT_USAGE, "%s (any has no link layer to look at: name one interface)", err->text);
	return cli_fail(self, error == -EINVAL && n < 0 ? VNS_EXIT_USAGE : VNS_EXIT_SETUP, "%s",
			err->text);
}

/*
 * For each line that is shown: the tables of text hold some 20 cells of 48 bytes; both sides of a path; CSV and
 * JSON are written as they go.
 */
static uint64_t row_bytes(const struct rtt_config *c)
{
	return (c->halves ? 2 * sizeof(struct vns_rtt_path) + sizeof(struct vns_rtt_entry) : 0) +
	       (c->json || c->csv ? 0 : 2048);
}

static int measure(const struct cli_command *self, const struct rtt_config *c,
		   const struct wants *w, const char *filter)
{
	struct view v = { .config = c, .wants = w, .order = w->order,
			  .started = vns_monotonic_ns() };
	bool rolling = c->ifname && !c->json && !c->csv && !c->samples;
	bool per_flow = w->flows || c->halves || (c->csv && !c->samples && !w->by);
	struct vns_rtt_run run = {
		.file = c->file, .ifname = c->ifname,
		.source = { .filter = filter, .promisc = c->promisc,
			    .snaplen = (uint32_t)c->snaplen, .ring_bytes = RING_BYTES,
			    .threads = (uint16_t)c->jobs, .capture = cli_capture(c->capture) },
		.threads = (unsigned)c->jobs, .duration_ns = c->duration_ns, .max_samples = c->count,
		.max_memory = c->max_memory, .row_bytes = row_bytes(c),
		.max_flows = (size_t)c->max_flows, .idle_ns = c->idle_ns,
		.min_samples = w->min_samples, .kinds = w->kinds, .by = w->by,
		.method = method_of(c->method), .inside = c->inside,
		.prefix4 = w->prefix4, .prefix6 = w->prefix6, .one_point = c->point != NO_POINT,
		.point = (uint16_t)c->point,
		.per_flow = per_flow || (rolling && isatty(STDOUT_FILENO)),
		.tick_rows = rolling && isatty(STDOUT_FILENO),
		.stop = &cli_interrupted, .on_tick = on_tick, .ctx = &v,
		.on_sample = c->samples || rolling ? on_sample : NULL,
	};
	struct vns_rtt_result result;
	struct vns_err err;
	int error, code;

	if (c->max_memory) /* they would come by 2 MiB for a byte */
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);

	if (c->samples)
		print_sample_head(c);
	error = vns_measure_rtt(&run, &result, &err);
	if (error == -ENOMEM && c->max_memory)
		return cli_fail(self, VNS_EXIT_USAGE, "%s", err.text);
	if (error)
		return failed_to_begin(self, c, error, filter, &err);
	if (v.progress)
		fputs("\r\033[K", stderr);
	error = render(c, &v, &result);
	if (!error)
		error = vns_text_flush(stdout);
	code = verdict(self, c, &result);
	if (error || v.write_failed)
		code = cli_fail(self, VNS_EXIT_SETUP, "cannot write the results: %s",
				strerror(error ? -error : EPIPE));
	for (int k = 0; k < VNS_RTT_KINDS; k++)
		vns_blocks_fini(&v.interval[k]);
	vns_rtt_result_free(&result);
	return code;
}

/* The bits of one word of --kinds; 0: no such kind. */
static unsigned int kinds_of(const char *word, size_t len)
{
	static const struct {
		const char *name;
		unsigned int kinds;
	} sets[] = {
		{ "tcp", 1u << VNS_RTT_TS | 1u << VNS_RTT_SEQ | 1u << VNS_RTT_HANDSHAKE },
		{ "icmp", 1u << VNS_RTT_ICMP },
		{ "dns", 1u << VNS_RTT_DNS },
		{ "quic", 1u << VNS_RTT_QUIC_HANDSHAKE | 1u << VNS_RTT_QUIC_SPIN },
	};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (strlen(sets[i].name) == len && strncmp(sets[i].name, word, len) == 0)
			return sets[i].kinds;
	return 0;
}

/* --kinds LIST. Return: false when a word is none. */
static bool parse_kinds(const char *list, unsigned int *kinds)
{
	while (*list) {
		size_t len = strcspn(list, ",");
		unsigned int more = kinds_of(list, len);

		if (!more)
			return false;
		*kinds |= more;
		list += len + (list[len] == ',');
	}
	return *kinds != 0;
}

/* --by VIEW. Return: false when it is none. */
static bool parse_by(const char *text, struct wants *w)
{
	unsigned int v4 = 24, v6 = 64;
	int end = 0;

	if (strcmp(text, "host") == 0) {
		w->by = VNS_RTT_BY_HOST;
		return true;
	}
	w->by = VNS_RTT_BY_PREFIX;
	if (strcmp(text, "prefix") != 0) {
		int n = sscanf(text, "prefix=%2u%n,%3u%n", &v4, &end, &v6, &end);

		if (n < 1 || text[end] || v4 < 1 || v4 > 32 || v6 < 1 || v6 > 128)
			return false;
	}
	w->prefix4 = (uint8_t)v4;
	w->prefix6 = (uint8_t)v6;
	return true;
}

static int parse_wants(const struct cli_command *self, const struct rtt_config *c, struct wants *w)
{
	*w = (struct wants){ .order = order_of(c->sort), .min_samples = c->min_samples,
			     .flows = c->flows || (c->worst && !c->by && !c->halves) };
	if (c->worst && !c->sort)
		w->order = VNS_RTT_BY_P95;
	if (c->worst && !c->min_samples)
		w->min_samples = VNS_RTT_WORST_SAMPLES;
	if (c->kinds && !parse_kinds(c->kinds, &w->kinds))
		return cli_fail(self, VNS_EXIT_USAGE,
				"--kinds takes tcp, icmp, dns and quic, separated by commas");
	if (c->by && !parse_by(c->by, w))
		return cli_fail(self, VNS_EXIT_USAGE,
				"--by takes host, prefix or prefix=1..32,1..128");
	return 0;
}

static int run_rtt(const struct cli_command *self, int argc, char **argv)
{
	struct rtt_config c = { .point = NO_POINT };
	struct wants w;
	char *words[256], *filter = NULL;
	size_t n_words;
	int code = cli_parse(self, argc, argv, &c, words, sizeof(words) / sizeof(words[0]), &n_words);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (!c.ifname == !c.file)
		return cli_fail(self, VNS_EXIT_USAGE, "give either -i IFACE or -r FILE");
	if (c.ifname && strcmp(c.ifname, "any") == 0 &&
	    (c.promisc || cli_capture(c.capture) == VNS_CAPTURE_EBPF))
		return cli_fail(self, VNS_EXIT_USAGE, "%s is one interface's: name it instead of any",
				c.promisc ? "--promiscuous" : "--capture ebpf");
	code = cli_check_snaplen(self, c.capture, c.snaplen);
	if (!code)
		code = parse_wants(self, &c, &w);
	if (code)
		return code;
	if (n_words) {
		filter = join(words, n_words);
		if (!filter)
			return cli_fail(self, VNS_EXIT_SETUP, "no memory");
	}
	cli_catch_interrupts();
	code = measure(self, &c, &w, filter);
	free(filter);
	return code;
}
