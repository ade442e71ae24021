// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope demo: run the demonstration, print its table and reading, write the same as
 * JSON and as one HTML file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/output.h>

#include "cli/commands.h"
#include "cli/live.h"
#include "cli/lab_options.h"
#include "experiment/demo.h"
#include "report/report.h"

struct demo_config {
	int64_t duration_ns;
	uint64_t exchanges;
	const char *html, *json;
	struct cli_lab_options lab;
	bool keep;
};

enum { NETNS = 1 };

static const struct cli_mode modes[] = {
	{ NETNS, "netns", NULL, "guests that are namespaces (--backend netns)" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *rest, size_t n)
{
	const struct demo_config *c = config;

	(void)rest, (void)n;
	return cli_when(cli_lab_is_netns(&c->lab), NETNS);
}

#define CLI_CONFIG struct demo_config

static const struct cli_option options[] = {
	CLI_OPT('t', "duration", CLI_DURATION, duration_ns, EVERYWHERE, "TIME",
		"how long traffic is measured (default 15s)", .min = 1, .max = 3600),
	CLI_OPT(0, "exchanges", CLI_U64, exchanges, EVERYWHERE, "N",
		"clock exchanges per VM beforehand (default 100)", .min = 2, .max = 100000),
	CLI_OPT(0, "html", CLI_STRING, html, EVERYWHERE, "FILE",
		"report to write (default vnetscope-demo.html)"),
	CLI_OPT(0, "json", CLI_STRING, json, EVERYWHERE, "FILE",
		"results to write (default vnetscope-demo.json)"),
	CLI_OPT(0, "backend", CLI_CHOICE, lab.backend, EVERYWHERE, "KIND",
		"real guests or namespaces", .choices = "qemu|netns"),
	CLI_LAB_ROWS(EVERYWHERE, NETNS),
	CLI_OPT(0, "name", CLI_STRING, lab.name, EVERYWHERE, "LAB",
		"name of the lab it makes (default demo)"),
	CLI_OPT(0, "keep", CLI_FLAG, keep, EVERYWHERE, NULL,
		"leave the lab running afterwards"),
	CLI_END,
};

static void print_line(void *ctx, const char *sentence)
{
	char text[2048];

	snprintf(text, sizeof(text), "  - %s", sentence);
	vns_text_wrap(text, VNS_TEXT_COLUMNS, 4, ctx);
}

static void no_line(void *ctx, const char *sentence)
{
	(void)ctx, (void)sentence;
}

static void command_line(char *to, size_t size)
{
	size_t have = 0;

	to[0] = '\0';
	for (int i = 0; i < cli_argc && have < size; i++) {
		const char *word = i ? cli_argv[i] : "vnetscope";

		have += (size_t)snprintf(to + have, size - have, "%s%s", i ? " " : "", word);
	}
}

/* Open @path for writing by @write; every byte must have reached the file. */
static int write_file(const struct cli_command *self, const char *path,
		      int (*write)(FILE *to, const void *what), const void *what)
{
	FILE *f = fopen(path, "w");
	int code;

	if (!f)
		return cli_fail(self, VNS_EXIT_SETUP, "cannot write %s: %s", path, strerror(errno));
	code = write(f, what);
	if (!code)
		code = vns_text_flush(f);
	if (fclose(f) && !code)
		code = -errno;
	if (code)
		return cli_fail(self, VNS_EXIT_SETUP, "%s is incomplete: %s", path, strerror(-code));
	return VNS_EXIT_OK;
}

static int write_html(FILE *to, const void *what)
{
	vns_report_html(what, to);
	return 0;
}

static json_t *demo_json(const struct vns_demo_result *r)
{
	json_t *doc = vns_json_head("vnetscope.demo/1", cli_argc, cli_argv);
	json_t *drift = json_array(), *roles = json_object(), *targets = json_array();

	json_object_set_new(doc, "host", vns_json_string(r->host));
	json_object_set_new(doc, "lab", vns_json_string(r->lab));
	json_object_set_new(doc, "tcg", json_boolean(r->tcg));
	json_object_set_new(doc, "interrupted", json_boolean(r->vo.interrupted));
	json_object_set_new(doc, "duration_ns", json_integer(r->vo.to_ns - r->vo.from_ns));
	for (int i = 0; i < VNS_DEMO_VMS; i++) {
		json_object_set_new(roles, r->name[i], json_string(r->role[i]));
		if (r->drift[i].clock)
			json_array_append_new(drift, vns_drift_json(&r->drift[i]));
	}
	for (size_t i = 0; i < r->vo.n_target; i++)
		json_array_append_new(targets, vns_vo_json_target(&r->vo.target[i]));
	json_object_set_new(doc, "workloads", roles);
	json_object_set_new(doc, "drift", drift);
	json_object_set_new(doc, "targets", targets);
	return doc;
}

static int write_json(FILE *to, const void *what)
{
	return vns_json_print(what, to);
}

static void as_report(const struct vns_demo_result *r, const char *command,
		      struct vns_report_vm vm[VNS_DEMO_VMS], struct vns_report *out)
{
	for (int i = 0; i < VNS_DEMO_VMS; i++)
		vm[i] = (struct vns_report_vm){ r->name[i], r->role[i],
						r->drift[i].clock ? &r->drift[i] : NULL,
						(size_t)i < r->vo.n_target ? &r->vo.target[i] : NULL };
	*out = (struct vns_report){
		.title = "vnetscope demo: what virtualisation adds to three VMs",
		.host = r->host,
		.lab = r->lab,
		.command = command,
		.at_ns = r->at_ns,
		.duration_ns = r->vo.to_ns - r->vo.from_ns,
		.tcg = r->tcg,
		.interrupted = r->vo.interrupted,
		.vm = vm,
		.n_vm = VNS_DEMO_VMS,
	};
}

static int render(const struct cli_command *self, const struct demo_config *c,
		  const struct vns_demo_result *r)
{
	struct vns_report_vm vm[VNS_DEMO_VMS];
	struct vns_report report;
	char command[512];
	json_t *doc = demo_json(r);
	int html, json, error;

	command_line(command, sizeof(command));
	as_report(r, command, vm, &report);
	printf("%s\n%s\n", r->host, r->lab);
	vns_report_table(&report, stdout);
	if (vns_report_remarks(&report, no_line, NULL)) {
		printf("\nWhat went wrong, and what limits the figures\n");
		vns_report_remarks(&report, print_line, stdout);
	}
	printf("\nReading\n");
	vns_report_reading(&report, print_line, stdout);
	if (r->load_note[0])
		print_line(stdout, r->load_note);
	html = write_file(self, c->html, write_html, &report);
	json = write_file(self, c->json, write_json, doc);
	json_decref(doc);
	if (!html && !json)
		printf("\nReport: %s   Results: %s\n", c->html, c->json);
	error = vns_text_flush(stdout);
	if (error)
		return cli_fail(self, VNS_EXIT_SETUP, "standard output: %s", strerror(-error));
	if (html || json)
		return html ? html : json;
	if (vns_report_is_whole(&report))
		return VNS_EXIT_OK;
	return cli_fail(self, VNS_EXIT_SETUP, "a part ended early or saw no packet: the figures are not of the "
			"whole run");
}

/* A file that cannot be written is better known before the guests are booted. */
static bool can_write(const struct cli_command *self, const char *path)
{
	FILE *f = fopen(path, "a");

	if (!f) {
		cli_fail(self, 0, "cannot write %s: %s", path, strerror(errno));
		return false;
	}
	fclose(f);
	return true;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct demo_config c = { .duration_ns = 15 * VNS_NSEC_PER_SEC, .exchanges = 100,
				 .html = "vnetscope-demo.html", .json = "vnetscope-demo.json",
				 .lab = { CLI_LAB_DEFAULT, .backend = "qemu", .name = "demo" } };
	struct vns_demo_opts opts = { .lab = VNS_LAB_OPTS_DEFAULT, .live = cli_live_vo };
	struct vns_demo_result r;
	struct vns_err err = { "" };
	char *rest[1];
	size_t n_rest;
	int code = cli_parse(self, argc, argv, &c, rest, 1, &n_rest);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (n_rest)
		return cli_fail(self, VNS_EXIT_USAGE, "unexpected argument '%s'", rest[0]);
	if (!can_write(self, c.html) || !can_write(self, c.json))
		return VNS_EXIT_SETUP;
	cli_catch_interrupts();
	cli_lab_opts(&c.lab, &opts.lab);
	opts.duration_ns = c.duration_ns;
	opts.exchanges = c.exchanges;
	opts.keep_lab = c.keep;
	code = vns_demo_run(&opts, &r, &err);
	if (code)
		return cli_fail(self, code == -EINVAL ? VNS_EXIT_USAGE : VNS_EXIT_SETUP, "%s", err.text);
	code = render(self, &c, &r);
	vns_demo_result_free(&r);
	return code;
}

const struct cli_command cmd_demo = {
	.name = "demo",
	.args = "",
	.summary = "boot three guests, measure clocks, latency and RTT, write a report",
	.detail = "Boots a test VM, a hashing VM and a streaming VM in namespaces of their own, sends\n"
		  "traffic, measures, prints one table with its reading and removes everything.",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run,
};
