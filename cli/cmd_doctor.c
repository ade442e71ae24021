// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope doctor: what this machine, and a target, can and cannot do. Parses and renders;
 * the examination is lib/measure/doctor*.c.
 */
#include <stddef.h>
#include <string.h>

#include <vnetscope/doctor.h>
#include <vnetscope/output.h>

#include "cli/commands.h"
#include "lab/lab.h"
#include "target/target.h"

struct doctor_config {
	const char *purpose, *agent;
	bool json;
};

enum { HOST = 1 << 0, RUNNING = 1 << 1 };

static const struct cli_mode modes[] = {
	{ HOST, "host", NULL, "this machine alone (no TARGET)" },
	{ RUNNING, "running-agent", NULL, "a TARGET whose agent runs already" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *target, size_t n)
{
	(void)config;
	return cli_when(!n, HOST) | cli_when(n && cli_agent_runs(target[0]), RUNNING);
}

#define CLI_CONFIG struct doctor_config

static const struct cli_option options[] = {
	CLI_OPT(0, "for", CLI_CHOICE, purpose, EVERYWHERE, "PURPOSE",
		"end with 1 when something essential for it is missing", .choices = "live|lab"),
	CLI_OPT(0, "agent", CLI_STRING, agent, HOST | RUNNING, "FILE", "agent to use for the TARGET"),
	CLI_OPT(0, "json", CLI_FLAG, json, EVERYWHERE, NULL, "JSON on standard output"),
	CLI_END
};

static unsigned int purpose_bits(const struct doctor_config *c, bool target)
{
	unsigned int bits = target ? VNS_DOCTOR_FOR_TARGET : 0;

	if (c->purpose && strcmp(c->purpose, "live") == 0)
		bits |= VNS_DOCTOR_FOR_LIVE;
	if (c->purpose && strcmp(c->purpose, "lab") == 0)
		bits |= VNS_DOCTOR_FOR_LAB;
	return bits;
}

static json_t *link_json(const struct vns_doctor_link *l)
{
	static const char *const names[] = { "tso", "gso", "gro", "tx_checksum" };
	const int values[] = { l->tso, l->gso, l->gro, l->tx_checksum };
	json_t *o = json_object(), *off = json_object();

	json_object_set_new(o, "name", vns_json_string(l->name));
	json_object_set_new(o, "kind", json_string(l->kind));
	json_object_set_new(o, "bridge", *l->bridge ? vns_json_string(l->bridge) : json_null());
	json_object_set_new(o, "owner_pid", l->owner_pid ? json_integer(l->owner_pid) : json_null());
	json_object_set_new(o, "owner", *l->owner ? vns_json_string(l->owner) : json_null());
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		json_object_set_new(off, names[k],
				    values[k] < 0 ? json_null() : json_boolean(values[k]));
	json_object_set_new(o, "offloads", off);
	return o;
}

static json_t *noise_json(const struct vns_doctor *d)
{
	json_t *o = json_object();

	vns_json_set_percentile_error(o);
	json_object_set_new(o, "clock_read_ns", vns_json_dist(&d->clock_read));
	json_object_set_new(o, "oversleep_ns", vns_json_dist(&d->oversleep));
	json_object_set_new(o, "send_to_stamp_ns", vns_json_dist(&d->stamp));
	json_object_set_new(o, "stamp_to_reader_ns", vns_json_dist(&d->wakeup));
	if (d->channel.n)
		json_object_set_new(o, "channel_round_trip_ns", vns_json_dist(&d->channel));
	return o;
}

static int print_json(const struct vns_doctor *d, const char *target,
		      const struct vns_doctor_item *missing)
{
	json_t *doc = vns_json_head("vnetscope.doctor/1", cli_argc, cli_argv);
	json_t *checks = json_array(), *links = json_array(), *precision = json_array();
	int ret;

	json_object_set_new(doc, "target", target ? vns_json_string(target) : json_null());
	json_object_set_new(doc, "missing", missing ? json_string(missing->name) : json_null());
	for (size_t k = 0; k < d->n_item; k++)
		json_array_append_new(checks, json_pack("{s:s,s:s,s:s,s:o}", "group",
				      d->item[k].group, "name", d->item[k].name, "verdict",
				      vns_doctor_verdict_name(d->item[k].verdict), "detail",
				      vns_json_string(d->item[k].detail)));
	for (size_t k = 0; k < d->n_link; k++)
		json_array_append_new(links, link_json(&d->link[k]));
	for (size_t k = 0; k < d->n_precision; k++) {
		const struct vns_doctor_precision *p = &d->precision[k];
		json_t *o = json_object();

		json_object_set_new(o, "mode", json_string(vns_clock_mode_name(p->mode)));
		json_object_set_new(o, "error_ns",
				    p->error_ns < 0 ? json_null() : vns_json_real(p->error_ns, 1));
		json_object_set_new(o, "origin", vns_json_string(p->origin));
		json_array_append_new(precision, o);
	}
	json_object_set_new(doc, "checks", checks);
	json_object_set_new(doc, "links", links);
	json_object_set_new(doc, "measured", noise_json(d));
	json_object_set_new(doc, "precision", precision);
	ret = vns_json_print(doc, stdout);
	json_decref(doc);
	return ret;
}

static void print_checks(const struct vns_doctor *d)
{
	const char *group = "";

	for (size_t k = 0; k < d->n_item; k++) {
		const struct vns_doctor_item *i = &d->item[k];

		if (strcmp(group, i->group) != 0)
			printf("%s%s\n", *group ? "\n" : "", i->group);
		group = i->group;
		printf("  %-7s%-16s %s\n",
		       i->verdict == VNS_DOCTOR_INFO ? "" : vns_doctor_verdict_name(i->verdict),
		       i->name, i->detail);
	}
}

static const char *on_off(int v)
{
	return v < 0 ? "?" : v ? "on" : "off";
}

static void print_links(const struct vns_doctor *d)
{
	static const char *const heads[] = { "interface", "kind", "bridge", "held by", "tso", "gso",
					     "gro", "tx-csum" };
	struct vns_table t;

	puts("\nbridges and taps");
	if (!d->n_link) {
		puts("  none in this network namespace");
		return;
	}
	vns_table_init(&t, "<<<<<<<<", heads);
	for (size_t k = 0; k < d->n_link; k++) {
		const struct vns_doctor_link *l = &d->link[k];

		vns_table_cell(&t, "%s", l->name);
		vns_table_cell(&t, "%s", l->kind);
		vns_table_cell(&t, "%s", *l->bridge ? l->bridge : "-");
		if (l->owner_pid)
			vns_table_cell(&t, "%s (%d)", l->owner, (int)l->owner_pid);
		else
			vns_table_cell(&t, "-");
		vns_table_cell(&t, "%s", on_off(l->tso));
		vns_table_cell(&t, "%s", on_off(l->gso));
		vns_table_cell(&t, "%s", on_off(l->gro));
		vns_table_cell(&t, "%s", on_off(l->tx_checksum));
	}
	vns_table_print(&t, stdout);
	vns_table_fini(&t);
}

static void print_noise(const struct vns_doctor *d)
{
	static const char *const heads[] = { "measured now", "n", "min", "mean", "p50", "p95",
					     "p99", "max" };
	const struct {
		const char *name;
		const struct vns_dist *dist;
	} rows[] = { { "reading the clock", &d->clock_read },
		     { "late after a sleep of 1 ms", &d->oversleep },
		     { "send to kernel stamp, loopback UDP", &d->stamp },
		     { "kernel stamp to reader", &d->wakeup },
		     { "round trip of the target's channel", &d->channel } };
	struct vns_table t;

	putchar('\n');
	vns_table_init(&t, "<>>>>>>>", heads);
	for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		if (!rows[k].dist->n)
			continue;
		vns_table_cell(&t, "%s", rows[k].name);
		vns_table_cell(&t, "%llu", (unsigned long long)rows[k].dist->n);
		vns_table_dist(&t, rows[k].dist);
	}
	vns_table_print(&t, stdout);
	vns_table_fini(&t);
}

static void print_precision(const struct vns_doctor *d)
{
	char text[VNS_TEXT_LEN];

	puts("\nprecision to expect of a clock offset, by mode");
	for (size_t k = 0; k < d->n_precision; k++) {
		const struct vns_doctor_precision *p = &d->precision[k];

		printf("  %-9s +/- %-10s %s\n", vns_clock_mode_name(p->mode),
		       p->error_ns < 0 ? "?" : vns_text_ns(text, p->error_ns), p->origin);
	}
}

static void print_text(const struct vns_doctor *d, const struct vns_doctor_item *missing)
{
	print_checks(d);
	print_links(d);
	print_noise(d);
	print_precision(d);
	if (missing)
		printf("\nessential and missing: %s: %s\n", missing->name, missing->detail);
}

/* What earlier labs found out on this machine. */
static void examine_lab(struct vns_doctor *d)
{
	struct vns_lab_outlook o;

	vns_lab_outlook(&o);
	if (o.kvm_tried)
		vns_doctor_add(d, "lab", "kvm_boot", o.kvm_works ? VNS_DOCTOR_YES : VNS_DOCTOR_NO, 0,
			       "%s", o.kvm_works ? "a guest has booted with KVM since this host started"
						 : o.kvm_why);
	else
		vns_doctor_add(d, "lab", "kvm_boot", VNS_DOCTOR_INFO, 0,
			       "no guest has been booted with KVM yet; `lab up` tries it once");
	vns_doctor_add(d, "lab", "guest_kernel", *o.kernel ? VNS_DOCTOR_YES : VNS_DOCTOR_INFO, 0, "%s",
		       *o.kernel ? o.kernel : "not in the cache; `lab up` fetches it (27 MB)");
}

static int examine_target(struct vns_doctor *d, const char *spec, const struct doctor_config *c,
			  struct vns_err *err)
{
	struct vns_target *t = NULL;
	struct vns_subject s;
	int ret = vns_target_open(&t, spec, c->agent, err);

	if (ret)
		return ret;
	s = vns_target_subject(t);
	vns_doctor_examine_subject(d, &s);
	vns_target_close(t);
	return 0;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct doctor_config c = { 0 };
	const struct vns_doctor_item *missing;
	struct vns_doctor d;
	struct vns_err err = { "" };
	char *target = NULL;
	size_t n = 0;
	int error;
	int ret = cli_parse(self, argc, argv, &c, &target, 1, &n);

	if (ret)
		return ret > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	vns_doctor_examine(&d);
	examine_lab(&d);
	ret = n ? examine_target(&d, target, &c, &err) : 0;
	if (ret)
		vns_doctor_add(&d, "target", "open", VNS_DOCTOR_NO, VNS_DOCTOR_FOR_TARGET, "%.300s",
			       err.text);
	missing = vns_doctor_missing(&d, purpose_bits(&c, n > 0));
	if (ret)
		cli_fail(self, 0, "%s", err.text);
	error = c.json ? print_json(&d, target, missing) :
			 (print_text(&d, missing), vns_text_flush(stdout));
	if (error)
		ret = cli_fail(self, VNS_EXIT_SETUP, "cannot write the output: %s", strerror(-error));
	vns_doctor_fini(&d);
	return ret ? VNS_EXIT_SETUP : missing ? VNS_EXIT_CHECK : VNS_EXIT_OK;
}

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.args = "[TARGET]",
	.summary = "What this machine, and a target, can and cannot do; changes nothing",
	.detail = "Checks by trying, measures the noise of clocks and stamps, and says which precision\n"
		  "to expect. Ends with 1 when something essential for --for PURPOSE, or for measuring\n"
		  "the TARGET, is missing; with 3 when the TARGET cannot be reached.",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run,
};
