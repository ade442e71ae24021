// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope vo (VirtOCalc): latency that virtualisation adds, per direction and protocol. Parses
 * and renders; the measurement is lib/measure's, the renderings lib/output/vo*.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>
#include <vnetscope/source.h>

#include "cli/commands.h"
#include "cli/live.h"
#include "target/target.h"

#define MAX_GUEST 64
#define MAX_SAMPLE 65536u
#define NO_OFFSET INT64_MIN

struct vo_config {
	const char *host, *guest, *drift_file, *filter, *clock, *agent, *capture, *nat;
	int64_t offset_ns, window_ns, duration_ns;
	uint64_t snaplen, jobs, max_memory;
	struct cli_list guest_addr;
	const char *points, *sample, *max_cpu;
	double wander_ppm;
	bool json, csv, symmetric;
};

enum { LIVE = 1 << 0, OFFLINE = 1 << 1, JSON = 1 << 2, CSV = 1 << 3, OFFSET = 1 << 4, DRIFT_FILE = 1 << 5,
       OTHER_CLOCK = 1 << 6, RUNNING = 1 << 7, SAME = 1 << 8 };

static const struct cli_mode modes[] = {
	{ LIVE, "live", "live", "a live TARGET" },
	{ OFFLINE, "offline", "offline", "capture files (--host)" },
	{ JSON, "json", NULL, "--json" },
	{ CSV, "csv", NULL, "--csv" },
	{ OFFSET, "offset", NULL, "--offset-ns" },
	{ DRIFT_FILE, "drift-file", NULL, "--drift-file" },
	{ OTHER_CLOCK, "other-clock", NULL, "a --clock that does not share the measured path" },
	{ RUNNING, "running-agent", NULL, "a TARGET whose agent runs already" },
	{ SAME, "same", NULL, "--clock same" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *target, size_t n)
{
	const struct vo_config *c = config;
	bool running = n > 0;

	for (size_t i = 0; i < n; i++)
		running &= cli_agent_runs(target[i]);
	return cli_when(n, LIVE) | cli_when(!n && (c->host || c->guest || c->points), OFFLINE) |
	       cli_when(c->json, JSON) | cli_when(c->csv, CSV) |
	       cli_when(c->offset_ns != NO_OFFSET, OFFSET) | cli_when(c->drift_file, DRIFT_FILE) |
	       cli_when(c->clock && strcmp(c->clock, "auto") != 0 && strcmp(c->clock, "exchange") != 0,
			OTHER_CLOCK) |
	       cli_when(running, RUNNING) | cli_when(c->clock && strcmp(c->clock, "same") == 0, SAME);
}

#define CLI_CONFIG struct vo_config

static const struct cli_option options[] = {
	CLI_OPT('t', "duration", CLI_DURATION, duration_ns, OFFLINE, "TIME",
		"how long to capture (default 10)", .min = 0.1, .max = 86400),
	CLI_OPT('m', "clock", CLI_CHOICE, clock, OFFLINE, "MODE",
		"where the clock relation comes from; auto takes the best that there is",
		.choices = "auto|exchange|channel|shm|ptp_kvm|tsc|same"),
	CLI_OPT(0, "snaplen", CLI_U64, snaplen, OFFLINE, "BYTES",
		"bytes of each frame looked at (default 128)", .min = 96, .max = 65535),
	CLI_OPT(0, "capture", CLI_CHOICE, capture, OFFLINE, "KIND",
		"packet socket, or programs in the kernel (default afpacket)",
		.choices = "afpacket|ebpf"),
	CLI_OPT(0, "sample", CLI_STRING, sample, EVERYWHERE, "1/N",
		"look at 1 packet in N, the same at every point (TCP by connection)"),
	CLI_OPT(0, "max-cpu", CLI_STRING, max_cpu, OFFLINE, "PERCENT",
		"of one CPU, for us and each agent; over it, fewer packets are looked at"),
	CLI_OPT(0, "agent", CLI_STRING, agent, OFFLINE | RUNNING, "FILE", "vnetscope-agent to use"),
	CLI_OPT(0, "host", CLI_STRING, host, LIVE, "FILE",
		"capture made on the host (pcap or pcapng)"),
	CLI_OPT(0, "guest", CLI_STRING, guest, LIVE, "FILE",
		"capture of the same traffic made in the guest"),
	CLI_OPT(0, "points", CLI_STRING, points, LIVE, "LIST",
		"hop by hop through a pcapng --host file: its interfaces, outside first"),
	CLI_OPT(0, "offset-ns", CLI_I64, offset_ns, LIVE | DRIFT_FILE, "NS",
		"guest's clock minus the host's: positive when the guest is ahead"),
	CLI_OPT(0, "drift-file", CLI_STRING, drift_file, LIVE, "FILE",
		"clock relation as `vnetscope drift --json` wrote it"),
	CLI_OPT('f', "filter", CLI_STRING, filter, EVERYWHERE, "EXPR",
		"only packets that match (pcap-filter(7))"),
	CLI_OPT(0, "guest-addr", CLI_LIST, guest_addr, LIVE, "ADDR",
		"an address of the guest (default: learnt from the captures)"),
	CLI_OPT(0, "window", CLI_DURATION, window_ns, LIVE, "TIME",
		"longest latency that is looked for (default 5)", .min = 0.001, .max = 3600),
	CLI_OPT(0, "max-memory", CLI_SIZE, max_memory, LIVE, "SIZE",
		"memory of the process at most (256M, 1G); the oldest packets then wait no longer",
		.min = 1, .max = 1e15),
	CLI_OPT(0, "nat", CLI_CHOICE, nat, EVERYWHERE, "MODE",
		"learn address translation between the points (default auto: where there are signs of it)",
		.choices = "auto|on|off"),
	CLI_OPT('j', "jobs", CLI_U64, jobs, LIVE, "N",
		"threads; the results are the same (default 1; 2 to 4 help)", .min = 1, .max = 64),
	CLI_OPT(0, "json", CLI_FLAG, json, CSV, NULL, "JSON (schema vnetscope.vo/1)"),
	CLI_OPT(0, "assume-symmetric", CLI_FLAG, symmetric, OTHER_CLOCK | OFFSET, NULL,
		"clock from the measured path itself: take both directions' floors as equal"),
	CLI_OPT(0, "max-wander", CLI_DOUBLE, wander_ppm, OFFSET | DRIFT_FILE | SAME, "PPM",
		"let the bound hold while a clock's rate wanders by so much (default: what adjtimex asks for)",
		.max = 500),
	CLI_OPT(0, "csv", CLI_FLAG, csv, JSON, NULL, "CSV, one line per direction and protocol"),
	CLI_END
};

static int run_vo(const struct cli_command *self, int argc, char **argv);

const struct cli_command cmd_vo = {
	.name = "vo",
	.args = "TARGET... | --host FILE [--guest FILE]",
	.summary = "Latency that virtualisation adds, per direction and protocol.",
	.detail = "Live: captures at the host's uplink, bridge and tap and in every TARGET at once, relates\n"
		  "the clocks before, during and after, and pairs as it runs; Ctrl-C ends it with the\n"
		  "results so far. TARGET: NAME or lab:NAME (guest of the running lab), netns:NAME,\n"
		  "ssh:[USER@]HOST[:PORT], pipe:COMMAND.\n"
		  "Offline, hop by hop: a --host file of several interfaces, with --points or without --guest.\n"
		  "Offline: finds every packet of one capture in the other and prints how long it took\n"
		  "between the two points. Without --offset-ns and --drift-file the clocks are taken to be one\n"
		  "where the traffic allows it, else the offset is bounded by the traffic itself.\n"
		  "Exit: 0 done (a file cut at its end too: said in a note), 1 a latency is negative: the\n"
		  "clock relation contradicts the traffic, 2 usage or filter, 3 file or target (also\n"
		  "one that ended early or is damaged), 4 no packet was found at both points.",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run_vo,
};

static uint64_t matched(const struct vns_vo_target *t)
{
	return t->counts[VNS_POINT_A].in_class[VNS_TWIN_MATCHED] +
	       t->counts[VNS_POINT_B].in_class[VNS_TWIN_MATCHED];
}

static int render(const struct vo_config *c, const struct vns_vo_result *r)
{
	if (c->json)
		return vns_vo_print_json(r, vns_json_head("vnetscope.vo/1", cli_argc, cli_argv), stdout);
	return c->csv ? vns_vo_print_csv(r, stdout) : vns_vo_print_text(r, stdout);
}

/* What the figures do not say by themselves. Return: the exit code. */
static int verdict(const struct cli_command *self, const struct vo_config *c,
		   const struct vns_vo_result *r)
{
	int code = VNS_EXIT_OK;
	char why[256];

	if (r->interrupted)
		cli_fail(self, 0, "interrupted: these are the results so far");
	for (size_t i = 0; i < r->n_target; i++) {
		const struct vns_vo_target *t = &r->target[i];

		if (t->note[0] && (c->json || c->csv))
			cli_fail(self, 0, "%s: %s", t->name, t->note);
		if (matched(t) == 0)
			code = cli_fail(self, VNS_EXIT_INCONCLUSIVE,
					"%s: no packet was found at both points%s", t->name,
					t->counts[VNS_POINT_A].read || t->counts[VNS_POINT_B].read ?
						"" : ": none passed");
		else if (vns_vo_contradiction(t, why, sizeof(why)))
			code = cli_fail(self, VNS_EXIT_CHECK, "%s: %s", t->name, why);
		if (t->ended_early[0])
			code = cli_fail(self, VNS_EXIT_SETUP, "%s", t->ended_early);
	}
	return code;
}

/*
 * -EINVAL of a measurement is the filter's when the expression does not compile; -EEXIST: a point was
 * named twice, or one alone.
 */
static int failed(const struct cli_command *self, int error, const char *filter,
		  const struct vns_err *err)
{
	struct vns_bpf_insn *insn = NULL;
	int n = filter ? vns_filter_compile(filter, VNS_LINK_ETHERNET, 262144, &insn, NULL) : 0;
	int code = (error == -EINVAL && n < 0) || error == -EEXIST ? VNS_EXIT_USAGE :
		   error == -ENODATA ? VNS_EXIT_INCONCLUSIVE : VNS_EXIT_SETUP;

	free(insn);
	return cli_fail(self, code, "%s", err->text);
}

static int finish(const struct cli_command *self, const struct vo_config *c,
		  struct vns_vo_result *r)
{
	int error = render(c, r), code = verdict(self, c, r);

	if (error)
		code = cli_fail(self, VNS_EXIT_SETUP, "cannot write the results: %s",
				strerror(-error));
	vns_vo_result_free(r);
	return code;
}

/* "uplink,br0,tap0" -> the hops between them; without names between all points of the file. */
static int measure_hops(const struct vo_config *c, const struct vns_vo_offline_opts *opts,
			struct vns_vo_result *result, struct vns_err *err)
{
	const char *point[VNS_VO_MAX_HOPS + 2];
	char *list = strdup(c->points ? c->points : ""), *save = NULL;
	size_t n = 0;
	int error;

	if (!list)
		return vns_err_set(err, -ENOMEM, "out of memory");
	for (char *w = strtok_r(list, ",", &save); w && n < VNS_VO_MAX_HOPS + 2;
	     w = strtok_r(NULL, ",", &save))
		point[n++] = w;
	error = vns_measure_vo_hops(opts, point, n, result, err);
	free(list);
	return error;
}

/* "1/N" or "N"; nothing: 1. Return: is it one? */
static bool parse_sample(const char *text, uint32_t *one_in)
{
	unsigned long value = 1;
	char *end;

	if (text) {
		text += strncmp(text, "1/", 2) == 0 ? 2 : 0;
		value = strtoul(text, &end, 10);
		if (*text < '0' || *text > '9' || *end)
			value = 0;
	}
	*one_in = (uint32_t)value;
	return value >= 1 && value <= MAX_SAMPLE;
}

static int bad_sample(const struct cli_command *self)
{
	return cli_fail(self, VNS_EXIT_USAGE, "--sample takes 1/N with N from 1 to %u, --max-cpu a "
			"percentage above 0", MAX_SAMPLE);
}

static enum vns_nat_mode nat_mode(const struct vo_config *c)
{
	if (!c->nat || strcmp(c->nat, "auto") == 0)
		return VNS_NAT_AUTO;
	return strcmp(c->nat, "on") == 0 ? VNS_NAT_ON : VNS_NAT_OFF;
}

static int run_offline(const struct cli_command *self, const struct vo_config *c)
{
	struct vns_addr guest[MAX_GUEST];
	struct vns_vo_offline_opts opts = {
		.host_file = c->host, .guest_file = c->guest,
		.filter = c->filter, .drift_file = c->drift_file,
		.have_offset = c->offset_ns != NO_OFFSET, .offset_ns = c->offset_ns,
		.guest = guest, .n_guest = c->guest_addr.n, .window_ns = c->window_ns,
		.threads = (unsigned int)c->jobs, .max_memory = c->max_memory,
		.assume_symmetric = c->symmetric, .wander_ppm = cli_wander(c->wander_ppm),
		.stop = &cli_interrupted,
	};
	struct vns_vo_result result;
	struct vns_err err = { "" };
	int error;

	for (size_t i = 0; i < c->guest_addr.n; i++)
		if (vns_addr_parse(c->guest_addr.item[i], &guest[i]))
			return cli_fail(self, VNS_EXIT_USAGE, "--guest-addr: '%s' is not an IPv4 or IPv6 "
					"address", c->guest_addr.item[i]);
	if (c->max_memory) /* huge pages would come by 2 MiB for a byte */
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	opts.nat = nat_mode(c);
	if (!parse_sample(c->sample, &opts.sample_one_in))
		return bad_sample(self);
	cli_catch_interrupts();
	error = c->points || !c->guest ? measure_hops(c, &opts, &result, &err) :
					 vns_measure_vo_offline(&opts, &result, &err);
	if (error == -ENOMEM && c->max_memory)
		return cli_fail(self, VNS_EXIT_USAGE, "%s", err.text);
	return error ? failed(self, error, c->filter, &err) : finish(self, c, &result);
}

/* Open every target named; on failure those opened are closed. */
static int open_targets(const struct cli_command *self, const struct vo_config *c, char **spec,
			size_t n, struct vns_target **target, struct vns_subject *subject)
{
	struct vns_err err = { "" };

	for (size_t i = 0; i < n; i++) {
		int error = vns_target_open(&target[i], spec[i], c->agent, &err);

		if (error) {
			while (i-- > 0)
				vns_target_close(target[i]);
			return cli_fail(self, error == -EINVAL ? VNS_EXIT_USAGE : VNS_EXIT_SETUP, "%s",
					err.text);
		}
		subject[i] = vns_target_subject(target[i]);
	}
	return VNS_EXIT_OK;
}

/* --sample 1/16 (or 16), --max-cpu 2% (or 2). */
static bool parse_share(const struct vo_config *c, struct vns_vo_live_opts *opts)
{
	char *end;

	if (!parse_sample(c->sample, &opts->sample))
		return false;
	if (c->max_cpu) {
		opts->max_cpu = strtod(c->max_cpu, &end) / 100;
		if (end == c->max_cpu || (*end && strcmp(end, "%") != 0) || !(opts->max_cpu > 0) ||
		    opts->max_cpu > 1024)
			return false;
	}
	return true;
}

static int run_live(const struct cli_command *self, const struct vo_config *c, char **spec, size_t n)
{
	struct vns_target *target[VNS_VO_MAX_SUBJECTS];
	struct vns_subject subject[VNS_VO_MAX_SUBJECTS];
	struct vns_vo_live_opts opts = {
		.duration_ns = c->duration_ns, .filter = c->filter,
		.snaplen = (uint32_t)c->snaplen, .capture = cli_capture(c->capture),
		.stop = &cli_interrupted,
		.progress = cli_live_vo, .say = cli_say,
		.assume_symmetric = c->symmetric, .wander_ppm = cli_wander(c->wander_ppm),
		.nat = nat_mode(c),
	};
	struct vns_vo_result result;
	struct vns_err err = { "" };
	int code;

	if (!parse_share(c, &opts))
		return bad_sample(self);
	if (c->clock && strcmp(c->clock, "auto") != 0)
		vns_clock_mode_parse(c->clock, &opts.mode); /* the option table checked the word */
	code = open_targets(self, c, spec, n, target, subject);
	if (code)
		return code;
	cli_catch_interrupts();
	code = vns_measure_vo_live(subject, n, &opts, &result, &err);
	for (size_t i = 0; i < n; i++)
		vns_target_close(target[i]);
	return code ? failed(self, code, c->filter, &err) : finish(self, c, &result);
}

/* By whatever names: a capture compared with itself shows nothing. */
static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* A FIFO, or process substitution: gone once it was read. */
static bool irregular(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* "lab:vm1" is "vm1". */
static const char *plain_name(const char *target)
{
	return strncmp(target, "lab:", 4) == 0 ? target + 4 : target;
}

/* A guest named twice would be measured against itself. */
static int check_targets(const struct cli_command *self, char *const *target, size_t n)
{
	if (n > VNS_VO_MAX_SUBJECTS)
		return cli_fail(self, VNS_EXIT_USAGE, "at most %d targets at once", VNS_VO_MAX_SUBJECTS);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(plain_name(target[i]), plain_name(target[k])) == 0)
				return cli_fail(self, VNS_EXIT_USAGE, "TARGET %s stands twice", target[i]);
	return VNS_EXIT_OK;
}

/* What the files' options say against each other. */
static int check_files(const struct cli_command *self, const struct vo_config *c)
{
	if (!c->host)
		return cli_fail(self, VNS_EXIT_USAGE, "name a TARGET to measure live, or give both "
				"captures: --host FILE --guest FILE");
	if ((c->points || !c->guest) && strcmp(c->host, "-") == 0)
		return cli_fail(self, VNS_EXIT_USAGE, "a --host file is read once for each hop, so it cannot "
				"be standard input");
	if ((c->points || !c->guest) && irregular(c->host))
		return cli_fail(self, VNS_EXIT_USAGE, "a --host file is read once for each hop, so it must be a "
				"regular file: %s is none", c->host);
	if ((c->points || !c->guest) && c->drift_file &&
	    (strcmp(c->drift_file, "-") == 0 || irregular(c->drift_file)))
		return cli_fail(self, VNS_EXIT_USAGE, "--drift-file is read once for each hop, so it "
				"must be a regular file");
	if (c->guest && same_file(c->host, c->guest))
		return cli_fail(self, VNS_EXIT_USAGE, "--host and --guest are the same file; two points of one "
				"file are compared with --points");
	if ((c->drift_file && strcmp(c->drift_file, "-") == 0 &&
	     (strcmp(c->host, "-") == 0 || (c->guest && strcmp(c->guest, "-") == 0))) ||
	    (c->guest && strcmp(c->host, "-") == 0 && strcmp(c->guest, "-") == 0))
		return cli_fail(self, VNS_EXIT_USAGE, "only one file can be standard input");
	return VNS_EXIT_OK;
}

static int run_vo(const struct cli_command *self, int argc, char **argv)
{
	struct vo_config c = { .wander_ppm = CLI_WANDER_AUTO, .offset_ns = NO_OFFSET,
			       .duration_ns = 10 * VNS_NSEC_PER_SEC };
	char *target[VNS_VO_MAX_SUBJECTS + 1];
	size_t n_target;
	int code = cli_parse(self, argc, argv, &c, target, VNS_VO_MAX_SUBJECTS + 1, &n_target);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	code = n_target ? check_targets(self, target, n_target) : check_files(self, &c);
	if (!code)
		code = cli_check_snaplen(self, c.capture, c.snaplen);
	if (code)
		return code;
	return n_target ? run_live(self, &c, target, n_target) : run_offline(self, &c);
}
