// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope lab: start, show, enter and remove a lab. Parses and renders; the work is lab/'s.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vnetscope/output.h>

#include "cli/commands.h"
#include "cli/lab_options.h"
#include "lab/lab.h"
#include "target/target.h"

#define EXEC_TIMEOUT_MS (24 * 3600 * 1000)
#define FAULTS_LEN      (32 * (VNS_LAB_MAX_GUESTS + 1)) /* "NAME unplugged, " of each node */

struct lab_config {
	struct cli_lab_options lab;
	const char *offloads;
	uint64_t guests, vcpus, memory, queues;
	struct cli_list with;
	bool no_tso, json;
};

enum { UP = 1 << 0, STATUS = 1 << 1, EXEC = 1 << 2, DOWN = 1 << 3, NETNS = 1 << 4 };
#define NOT_UP (STATUS | EXEC | DOWN)

static const struct cli_mode modes[] = {
	{ UP, "up", "up", "lab up" },
	{ STATUS, "status", "status", "lab status" },
	{ EXEC, "exec", "exec", "lab exec" },
	{ DOWN, "down", "down", "lab down" },
	{ NETNS, "netns", NULL, "guests that are namespaces (--backend netns)" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *words, size_t n)
{
	const struct lab_config *c = config;
	unsigned int bits = cli_when(cli_lab_is_netns(&c->lab), NETNS);

	for (const struct cli_mode *m = modes; n && m->bit; m++)
		bits |= cli_when(m->word && strcmp(words[0], m->word) == 0, m->bit);
	return bits;
}

#define CLI_CONFIG struct lab_config

static const struct cli_option options[] = {
	CLI_OPT(0, "name", CLI_STRING, lab.name, EVERYWHERE, "LAB",
		"which lab (default: lab)"),
	CLI_OPT('n', "guests", CLI_U64, guests, NOT_UP, "N",
		"number of guests (default 3)", .min = 1, .max = VNS_LAB_MAX_GUESTS),
	CLI_OPT(0, "vcpus", CLI_U64, vcpus, NOT_UP | NETNS, "N",
		"virtual CPUs of each guest (default 1)", .min = 1, .max = 64),
	CLI_OPT(0, "memory", CLI_U64, memory, NOT_UP | NETNS, "MB",
		"memory of each guest (default 128)", .min = 96, .max = 65536),
	CLI_OPT(0, "queues", CLI_U64, queues, NOT_UP | NETNS, "N",
		"queue pairs of each guest's card and tap (default 1)", .min = 1,
		.max = VNS_LAB_MAX_QUEUES),
	CLI_OPT(0, "backend", CLI_CHOICE, lab.backend, NOT_UP, "KIND",
		"real guests, or namespaces that share the host's clock", .choices = "qemu|netns"),
	CLI_OPT(0, "offloads", CLI_STRING, offloads, NOT_UP, "LIST",
		"default, off, or of no-tso, no-guest-tso, no-host-tso, no-csum, no-mrg, no-gro; "
		"vm2:WORD for one guest"),
	CLI_OPT(0, "no-tso", CLI_FLAG, no_tso, NOT_UP, NULL,
		"the same as --offloads no-tso"),
	CLI_LAB_ROWS(NOT_UP, NETNS),
	CLI_OPT(0, "with", CLI_LIST, with, NOT_UP | NETNS, "PROGRAM",
		"put this host's PROGRAM into the guests too (tc, iperf3); repeatable"),
	CLI_OPT(0, "json", CLI_FLAG, json, EXEC | DOWN, NULL,
		"JSON on standard output"),
	CLI_END
};

static const char *state_of(const struct vns_lab *lab, const struct vns_lab_node *n, char *why,
			    size_t len)
{
	char line[256];
	size_t used;

	why[0] = '\0';
	if (n->proc.pid == 0)
		return "waiting";
	if (vns_proc_stopped(&n->proc)) {
		snprintf(why, len, "its process %d is stopped by a signal", (int)n->proc.pid);
		return "stopped";
	}
	if (vns_proc_alive(&n->proc)) {
		if (n->silent) {
			snprintf(why, len, "its process %d runs, but its agent has not answered for %.0f s: its kernel "
				 "hangs, still boots, is paused, or gets no CPU", (int)n->proc.pid,
				 VNS_LAB_ASK_MS / 1e3);
			used = strlen(why);
			if (vns_lab_serial_tail(lab, n->name, line, sizeof(line)) && used < len)
				snprintf(why + used, len - used, "; last console line: %s", line);
			return "silent";
		}
		if (lab->phase != VNS_LAB_RUNNING || !vns_proc_alive(&lab->holder) ||
		    vns_lab_node_plugged(lab, n))
			return "running";
		snprintf(why, len, "its port %s is gone from the lab's host", n->tap);
		return "unplugged";
	}
	if (!vns_lab_node_exit(lab, n->name, why, len))
		snprintf(why, len, "its process %d is gone", (int)n->proc.pid);
	used = strlen(why);
	if (vns_lab_serial_tail(lab, n->name, line, sizeof(line)) && used < len)
		snprintf(why + used, len - used, "; last console line: %s", line);
	return "exited";
}

static json_t *node_json(const struct vns_lab *lab, const struct vns_lab_node *n)
{
	char why[512];
	const char *state = state_of(lab, n, why, sizeof(why));
	json_t *o = json_pack("{s:s s:s s:i s:s s:s s:s s:s s:s s:s s:s}", "name", n->name,
			      "state", state, "pid", (int)n->proc.pid, "ip", n->ip, "ip6", n->ip6,
			      "mac", n->mac, "tap", n->tap, "agent_version", n->agent_version,
			      "clocksource", n->clocksource, "kernel", n->kernel);

	if (o && why[0])
		json_object_set_new(o, "why", vns_json_string(why));
	return o;
}

/* "vm1 exited, vm3 unplugged" of guests and client. Return: are there such? */
static bool faults(const struct vns_lab *lab, char *text, size_t len)
{
	size_t used = 0;
	char why[512];

	text[0] = '\0';
	for (unsigned int i = 0; i <= lab->n_guest; i++) {
		const struct vns_lab_node *n = i < lab->n_guest ? &lab->guest[i] : &lab->client;
		const char *state = state_of(lab, n, why, sizeof(why));

		if (why[0] && used < len)
			used += (size_t)snprintf(text + used, len - used, "%s%s %s", used ? ", " : "",
						 n->name, state);
	}
	return text[0] != '\0';
}

static const char *lab_state(const struct vns_lab *lab)
{
	char text[FAULTS_LEN];

	if (!vns_proc_alive(&lab->holder))
		return vns_lab_busy(lab) ? "starting" : "stale";
	if (lab->phase != VNS_LAB_RUNNING)
		return "starting";
	return faults(lab, text, sizeof(text)) ? "degraded" : "running";
}

static json_t *lab_json(const struct vns_lab *lab)
{
	json_t *guests = json_array();

	for (unsigned int i = 0; i < lab->n_guest; i++)
		json_array_append_new(guests, node_json(lab, &lab->guest[i]));
	return json_pack("{s:s s:s s:s s:s s:s s:b s:i s:s s:f s:i s:i s:i s:s s:s s:o s:o}", "name",
			 lab->name, "state", lab_state(lab), "backend",
			 lab->backend == VNS_LAB_NETNS ? "netns" : "qemu", "accel", lab->accel,
			 "accel_why", lab->accel_why, "rootless", (int)lab->rootless,
			 "holder_pid", (int)lab->holder.pid, "folder", lab->dir, "uptime_s",
			 (double)(vns_now_ns() - lab->started_ns) / 1e9, "vcpus", (int)lab->vcpus,
			 "memory_mb", (int)lab->memory_mb, "queues", (int)lab->queues, "offloads",
			 lab->offloads, "kernel", lab->kernel, "client", node_json(lab, &lab->client), "guests", guests);
}

static void node_row(struct vns_table *t, const struct vns_lab *lab, const struct vns_lab_node *n)
{
	char why[512];

	vns_table_cell(t, "%s", n->name);
	vns_table_cell(t, "%s", state_of(lab, n, why, sizeof(why)));
	vns_table_cell(t, "%d", (int)n->proc.pid);
	vns_table_cell(t, "%s", n->ip);
	vns_table_cell(t, "%s", n->tap);
	vns_table_cell(t, "%s", n->agent_version[0] ? n->agent_version : "-");
	vns_table_cell(t, "%s", n->clocksource[0] ? n->clocksource : "-");
}

static void lab_text(const struct vns_lab *lab)
{
	static const char *const heads[] = { "name", "state", "pid", "address", "host port",
					     "agent", "clock source" };
	double uptime = (double)(vns_now_ns() - lab->started_ns) / 1e9;
	char why[512], broken[FAULTS_LEN];
	struct vns_table t;

	if (!vns_proc_alive(&lab->holder) && vns_lab_busy(lab)) {
		printf("lab %s: being started or removed\n", lab->name);
		return;
	}
	if (!vns_proc_alive(&lab->holder)) {
		printf("lab %s: not running; remains are in %s; remove them with: "
		       "vnetscope lab down --name %s\n", lab->name, lab->dir, lab->name);
		return;
	}
	faults(lab, broken, sizeof(broken));
	printf("lab %s: %s%s%s%s, %s%s%s, up %.0f s, held by process %d%s\n", lab->name, lab_state(lab),
	       broken[0] ? " (" : "", broken, broken[0] ? ")" : "",
	       lab->backend == VNS_LAB_NETNS ? "namespaces" : "QEMU guests",
	       lab->backend == VNS_LAB_NETNS ? "" : ", accelerator ",
	       lab->backend == VNS_LAB_NETNS ? "" : lab->accel, uptime, (int)lab->holder.pid,
	       lab->rootless ? ", in a user namespace" : "");
	if (lab->accel_why[0])
		printf("%s\n", lab->accel_why);
	vns_table_init(&t, "<<><<<<", heads);
	node_row(&t, lab, &lab->client);
	for (unsigned int i = 0; i < lab->n_guest; i++)
		node_row(&t, lab, &lab->guest[i]);
	vns_table_print(&t, stdout);
	vns_table_fini(&t);
	for (unsigned int i = 0; i <= lab->n_guest; i++) {
		const struct vns_lab_node *n = i < lab->n_guest ? &lab->guest[i] : &lab->client;

		state_of(lab, n, why, sizeof(why));
		if (why[0])
			printf("%s: %s\n", n->name, why);
	}
}

static int print_json(const struct cli_command *cmd, json_t *labs)
{
	json_t *doc = vns_json_head("vnetscope.lab/1", cli_argc, cli_argv);
	int rc;

	json_object_set_new(doc, "labs", labs);
	rc = vns_json_print(doc, stdout);
	json_decref(doc);
	return rc ? cli_fail(cmd, VNS_EXIT_SETUP, "cannot write: %s", strerror(-rc)) : VNS_EXIT_OK;
}

static int fail(const struct cli_command *cmd, int rc, const struct vns_err *err)
{
	return cli_fail(cmd, rc == -EINVAL ? VNS_EXIT_USAGE : VNS_EXIT_SETUP, "%s", err->text);
}

static int lab_status(const struct cli_command *cmd, const struct lab_config *cfg)
{
	char names[64][VNS_LAB_NAME_LEN];
	json_t *labs = json_array();
	struct vns_err err = { 0 };
	int n = vns_lab_names(names, 64, &err), shown = 0;

	for (int i = 0; i < n; i++) {
		struct vns_lab lab;
		int rc;

		if (cfg->lab.name && strcmp(cfg->lab.name, names[i]) != 0)
			continue;
		rc = vns_lab_load(&lab, names[i], &err);
		if (rc < 0)
			continue; /* removed meanwhile */
		shown++;
		vns_lab_ask(&lab);
		if (cfg->json)
			json_array_append_new(labs, lab_json(&lab));
		else
			lab_text(&lab);
	}
	if (cfg->json && n >= 0)
		return print_json(cmd, labs);
	json_decref(labs);
	if (n < 0)
		return fail(cmd, n, &err);
	if (!shown)
		printf("no lab%s%s is running%s\n", cfg->lab.name ? " " : "", cfg->lab.name ? cfg->lab.name : "",
		       vns_lab_of_root());
	return VNS_EXIT_OK;
}

static int lab_up(const struct cli_command *cmd, const struct lab_config *cfg)
{
	struct vns_lab_opts o = VNS_LAB_OPTS_DEFAULT;
	struct vns_err err = { 0 };
	struct vns_lab lab;
	char offloads[96];
	int rc;

	cli_lab_opts(&cfg->lab, &o);
	o.guests = (unsigned int)cfg->guests;
	o.vcpus = (unsigned int)cfg->vcpus;
	o.memory_mb = (unsigned int)cfg->memory;
	o.queues = (unsigned int)cfg->queues;
	snprintf(offloads, sizeof(offloads), "%s%s", cfg->offloads, cfg->no_tso ? ",no-tso" : "");
	o.offloads = offloads;
	o.with = cfg->with.item;
	o.n_with = cfg->with.n;
	cli_catch_interrupts();
	rc = vns_lab_up(&o, &lab, &err);
	if (rc < 0)
		return fail(cmd, rc, &err);
	if (cfg->json)
		return print_json(cmd, json_pack("[o]", lab_json(&lab)));
	if (rc == 1)
		printf("lab %s runs already with these options\n", lab.name);
	lab_text(&lab);
	return VNS_EXIT_OK;
}

static int lab_down(const struct cli_command *cmd, const struct lab_config *cfg)
{
	const char *name = cfg->lab.name ? cfg->lab.name : "lab";
	struct vns_lab_removed gone;
	struct vns_err err = { 0 };
	int rc = vns_lab_down(name, &gone, &err);

	if (rc < 0)
		return fail(cmd, rc, &err);
	if (rc == 1)
		printf("there is no lab %s%s; nothing to remove\n", name, vns_lab_of_root());
	else
		printf("lab %s is gone%s: ended %u processes, removed %u files\n", name,
		       gone.was_alive ? "" : " (it was not running any more)", gone.processes,
		       gone.files);
	return VNS_EXIT_OK;
}

/* Become the command, inside the node's namespaces. */
static int exec_here(const struct cli_command *cmd, const struct vns_lab *lab, const char *node,
		     char **argv)
{
	struct vns_err err = { 0 };
	int rc = vns_lab_enter(lab, node, &err);

	if (rc)
		return fail(cmd, rc, &err);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	return cli_fail(cmd, errno == ENOENT ? 127 : 126, "%s: %s", argv[0], strerror(errno));
}

static void pass_output(void *ctx, int fd, const void *data, size_t n)
{
	const char *p = data;

	(void)ctx;
	while (n > 0) {
		ssize_t k = write(fd == 2 ? 2 : 1, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return; /* nobody reads any more; the command goes on */
		p += k;
		n -= (size_t)k;
	}
}

/* A guest has its own kernel: its agent runs the command. */
static int exec_there(const struct cli_command *cmd, const struct vns_lab *lab, const char *node,
		      char **argv)
{
	struct vns_target *t;
	struct vns_err err = { 0 };
	char spec[64];
	int rc, status = 0;

	snprintf(spec, sizeof(spec), "lab:%s/%s", lab->name, node);
	rc = vns_target_open(&t, spec, NULL, &err);
	if (rc)
		return fail(cmd, rc, &err);
	rc = vns_agent_exec(t->agent, argv, pass_output, NULL, EXEC_TIMEOUT_MS, &status, &err);
	vns_target_close(t);
	if (rc)
		return fail(cmd, rc, &err);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int lab_exec(const struct cli_command *cmd, const struct lab_config *cfg, const char *node,
		    char **argv)
{
	struct vns_err err = { 0 };
	struct vns_lab lab;
	int rc = vns_lab_load(&lab, cfg->lab.name ? cfg->lab.name : "lab", &err);

	if (rc)
		return fail(cmd, rc, &err);
	if (!node || !argv[0])
		return cli_fail(cmd, VNS_EXIT_USAGE, "exec needs a node and a command, e.g. "
				"vnetscope lab exec client -- ping 10.77.0.11");
	if (!vns_proc_alive(&lab.holder))
		return cli_fail(cmd, VNS_EXIT_SETUP, "lab '%s' is not running", lab.name);
	if (lab.backend == VNS_LAB_QEMU && strcmp(node, "host") != 0 &&
	    strcmp(node, lab.client.name) != 0)
		return exec_there(cmd, &lab, node, argv);
	return exec_here(cmd, &lab, node, argv);
}

/*
 * `exec NODE [--] COMMAND...`: what follows NODE is the command's own, options included.
 * Return: number of leading words that are ours to parse.
 */
static int own_words(int argc, char **argv)
{
	int plain = 0;

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-') {
			if (strcmp(argv[i], "--name") == 0)
				i++;
			continue;
		}
		if (plain++ == 0 && strcmp(argv[i], "exec") != 0)
			return argc;
		if (plain == 2)
			return i + 1;
	}
	return argc;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct lab_config cfg = { .guests = 3, .vcpus = 1, .memory = 128, .queues = 1,
				  .lab = { CLI_LAB_DEFAULT, .backend = "qemu" },
				  .offloads = "default" };
	char *rest[4] = { 0 };
	size_t n_rest;
	int words = own_words(argc, argv);
	int rc = cli_parse(self, words, argv, &cfg, rest, 3, &n_rest);

	if (rc)
		return rc > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (n_rest == 0) {
		cli_usage(self, stderr);
		return VNS_EXIT_USAGE;
	}
	if (strcmp(rest[0], "exec") == 0)
		return lab_exec(self, &cfg, rest[1],
				argv + words + (words < argc && strcmp(argv[words], "--") == 0));
	if (n_rest > 1)
		return cli_fail(self, VNS_EXIT_USAGE, "too many arguments at '%s'", rest[1]);
	if (strcmp(rest[0], "up") == 0)
		return lab_up(self, &cfg);
	if (strcmp(rest[0], "status") == 0)
		return lab_status(self, &cfg);
	if (strcmp(rest[0], "down") == 0)
		return lab_down(self, &cfg);
	return cli_fail(self, VNS_EXIT_USAGE, "'%s' is none of up, status, exec, down", rest[0]);
}

const struct cli_command cmd_lab = {
	.name = "lab",
	.args = "up|status|exec|down [NODE -- COMMAND...]",
	.summary = "a lab of guests, bridge and client on this machine, in its own namespaces",
	.detail = "up      start it, and wait until every guest answers\n"
		  "status  show what runs, and remains of what does not\n"
		  "exec    run COMMAND in a guest (vm1...), on the lab's host or its client\n"
		  "down    end it and remove everything",
	.verbs = "up|status|exec|down",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run,
};
