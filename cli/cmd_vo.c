// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope vo (VirtOCalc): latency that virtualisation adds, per direction and protocol. Parses
 * and renders; the measurement is lib/measure's, the renderings lib/output/vo*.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>
#include <vnetscope/source.h>

#include "cli/commands.h"

#define MAX_GUEST 64
#define NO_OFFSET INT64_MIN

struct vo_config {
	const char *host, *guest, *drift_file, *filter;
	int64_t offset_ns, window_ns;
	struct cli_list guest_addr;
	bool json, csv;
};

#define OPT(let, word, kind, field, argument, text, ...) \
	{ .letter = let, .name = word, .type = kind, .offset = offsetof(struct vo_config, field), \
	  .arg = argument, .help = text, __VA_ARGS__ }

static const struct cli_option options[] = {
	OPT(0, "host", CLI_STRING, host, "FILE", "capture made on the host (pcap or pcapng)"),
	OPT(0, "guest", CLI_STRING, guest, "FILE", "capture of the same traffic made in the guest"),
	OPT(0, "offset-ns", CLI_I64, offset_ns, "NS",
	    "guest's clock minus the host's: positive when the guest is ahead"),
	OPT(0, "drift-file", CLI_STRING, drift_file, "FILE",
	    "clock relation as `vnetscope drift --json` wrote it"),
	OPT('f', "filter", CLI_STRING, filter, "EXPR", "only packets that match (pcap-filter(7))"),
	OPT(0, "guest-addr", CLI_LIST, guest_addr, "ADDR",
	    "an address of the guest (default: learnt from the captures)"),
	OPT(0, "window", CLI_DURATION, window_ns, "TIME",
	    "longest latency that is looked for (default 5)", .min = 0.001, .max = 3600),
	OPT('j', "json", CLI_FLAG, json, NULL, "JSON (schema vnetscope.vo/1)"),
	OPT(0, "csv", CLI_FLAG, csv, NULL, "CSV, one line per direction and protocol"),
	CLI_END
};

static int run_vo(const struct cli_command *self, int argc, char **argv);

const struct cli_command cmd_vo = {
	.name = "vo",
	.args = "--host FILE --guest FILE",
	.summary = "Latency that virtualisation adds, per direction and protocol.",
	.detail = "Finds every packet of one capture in the other and prints how long it took between\n"
		  "the two points. Without --offset-ns and --drift-file the clocks are taken to be one\n"
		  "where the traffic allows it, else the offset is bounded by the traffic itself.\n"
		  "Exit: 0 done (a file cut at its end too: said in a note), 1 a latency is negative: the\n"
		  "clock relation contradicts the traffic, 2 usage or filter, 3 file, 4 no packet was\n"
		  "found at both points.",
	.options = options,
	.run = run_vo,
};

static uint64_t matched(const struct vns_vo_target *t)
{
	return t->counts[VNS_POINT_A].class[VNS_TWIN_MATCHED] +
	       t->counts[VNS_POINT_B].class[VNS_TWIN_MATCHED];
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

	for (size_t i = 0; i < r->n_target; i++) {
		const struct vns_vo_target *t = &r->target[i];

		if (t->note[0] && (c->json || c->csv))
			cli_fail(self, 0, "%s: %s", t->name, t->note);
		if (matched(t) == 0)
			code = cli_fail(self, VNS_EXIT_INCONCLUSIVE,
					"%s: no packet was found at both points", t->name);
		else if (vns_vo_contradiction(t, why, sizeof(why)))
			code = cli_fail(self, VNS_EXIT_CHECK, "%s: %s", t->name, why);
	}
	return code;
}

/* -EINVAL of a measurement is the filter's when the expression does not compile. */
static int failed(const struct cli_command *self, int error, const char *filter,
		  const struct vns_err *err)
{
	struct vns_bpf_insn *insn = NULL;
	int n = filter ? vns_filter_compile(filter, VNS_LINK_ETHERNET, 262144, &insn, NULL) : 0;
	int code = error == -EINVAL && n < 0 ? VNS_EXIT_USAGE :
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

static int run_offline(const struct cli_command *self, const struct vo_config *c)
{
	struct vns_addr guest[MAX_GUEST];
	struct vns_vo_offline_opts opts = {
		.host_file = c->host, .guest_file = c->guest,
		.filter = c->filter, .drift_file = c->drift_file,
		.have_offset = c->offset_ns != NO_OFFSET, .offset_ns = c->offset_ns,
		.guest = guest, .n_guest = c->guest_addr.n, .window_ns = c->window_ns,
	};
	struct vns_vo_result result;
	struct vns_err err = { "" };
	int error;

	for (size_t i = 0; i < c->guest_addr.n; i++)
		if (vns_addr_parse(c->guest_addr.item[i], &guest[i]))
			return cli_fail(self, VNS_EXIT_USAGE, "--guest-addr: '%s' is not an IPv4 or IPv6 "
					"address", c->guest_addr.item[i]);
	error = vns_measure_vo_offline(&opts, &result, &err);
	return error ? failed(self, error, c->filter, &err) : finish(self, c, &result);
}

static int run_vo(const struct cli_command *self, int argc, char **argv)
{
	struct vo_config c = { .offset_ns = NO_OFFSET };
	char *rest[1];
	size_t n_rest;
	int code = cli_parse(self, argc, argv, &c, rest, 1, &n_rest);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (n_rest)
		return cli_fail(self, VNS_EXIT_USAGE, "unexpected argument '%s'", rest[0]);
	if (!c.host || !c.guest)
		return cli_fail(self, VNS_EXIT_USAGE, "give both captures: --host FILE --guest FILE");
	if (c.json && c.csv)
		return cli_fail(self, VNS_EXIT_USAGE, "--json and --csv exclude each other");
	if (c.drift_file && c.offset_ns != NO_OFFSET)
		return cli_fail(self, VNS_EXIT_USAGE,
				"--offset-ns and --drift-file exclude each other");
	if (c.drift_file && strcmp(c.drift_file, "-") == 0 &&
	    (strcmp(c.host, "-") == 0 || strcmp(c.guest, "-") == 0))
		return cli_fail(self, VNS_EXIT_USAGE, "only one file can be standard input");
	if (strcmp(c.host, "-") == 0 && strcmp(c.guest, "-") == 0)
		return cli_fail(self, VNS_EXIT_USAGE, "only one file can be standard input");
	return run_offline(self, &c);
}
