// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope self-test: known errors in a lab of its own, every estimate beside the truth, and how far
 * this machine's figures can be trusted.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include <vnetscope/output.h>

#include "cli/commands.h"
#include "cli/lab_options.h"
#include "experiment/selftest.h"

#define MAX_LABS 2

struct selftest_config {
	struct cli_lab_options lab;
	bool json, quiet;
};

enum { NETNS = 1 };

static const struct cli_mode modes[] = {
	{ NETNS, "netns", NULL, "namespaces alone (--backend netns)" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *rest, size_t n)
{
	const struct selftest_config *c = config;

	(void)rest, (void)n;
	return cli_when(cli_lab_is_netns(&c->lab), NETNS);
}

#define CLI_CONFIG struct selftest_config

static const struct cli_option options[] = {
	CLI_OPT(0, "backend", CLI_CHOICE, lab.backend, EVERYWHERE, "KIND",
		"namespaces, a real guest, or both one after the other (default)",
		.choices = "both|netns|qemu"),
	CLI_LAB_ROWS(EVERYWHERE, NETNS),
	CLI_OPT(0, "name", CLI_STRING, lab.name, EVERYWHERE, "LAB",
		"name of the lab it makes (default self-test)"),
	CLI_OPT('q', "quiet", CLI_FLAG, quiet, EVERYWHERE, NULL, "no lines about progress"),
	CLI_OPT(0, "json", CLI_FLAG, json, EVERYWHERE, NULL, "JSON (schema vnetscope.self-test/1)"),
	CLI_END,
};

/* One lab's part: what it found, or why it could not run. */
struct part {
	const char *backend;
	struct vns_selftest_result r;
	int code;
	struct vns_err err;
};

static json_t *real_or_null(double v)
{
	return vns_json_real(v, 4);
}

static json_t *row_json(const struct vns_selftest_row *row)
{
	json_t *o = json_object();

	json_object_set_new(o, "estimate", json_string(row->what));
	json_object_set_new(o, "mode", json_string(row->mode));
	json_object_set_new(o, "unit", json_string(row->unit == 'p' ? "ppm" : "ns"));
	json_object_set_new(o, "injected", real_or_null(row->injected));
	json_object_set_new(o, "truth_lower", real_or_null(row->truth_lower));
	json_object_set_new(o, "truth_upper", real_or_null(row->truth_upper));
	json_object_set_new(o, "value", real_or_null(row->value));
	json_object_set_new(o, "lower", real_or_null(row->lower));
	json_object_set_new(o, "upper", real_or_null(row->upper));
	json_object_set_new(o, "rule", json_string(row->within ? "within" : "holds"));
	json_object_set_new(o, "inside", json_boolean(row->inside));
	return o;
}

static json_t *part_json(const struct part *p)
{
	json_t *o = json_object(), *rows = json_array(), *widths = json_object();

	json_object_set_new(o, "backend", json_string(p->backend));
	json_object_set_new(o, "failed", p->code ? vns_json_string(cli_interrupted ? "interrupted" : p->err.text) :
							     json_null());
	json_object_set_new(o, "host", vns_json_string(p->r.host));
	json_object_set_new(o, "lab", vns_json_string(p->r.lab));
	json_object_set_new(o, "tcg", json_boolean(p->r.tcg));
	json_object_set_new(o, "skipped", p->r.skipped[0] ? vns_json_string(p->r.skipped) : json_null());
	for (size_t i = 0; i < p->r.n_row; i++)
		json_array_append_new(rows, row_json(&p->r.row[i]));
	json_object_set_new(o, "estimates", rows);
	for (int m = 0; m < VNS_CLOCK_MODES; m++)
		if (!p->code && !isnan(p->r.half_width_ns[m]))
			json_object_set_new(widths, vns_clock_mode_name((enum vns_clock_mode)m),
					    real_or_null(p->r.half_width_ns[m]));
	json_object_set_new(o, "offset_known_within_ns", widths);
	json_object_set_new(o, "symmetric_error_ns", real_or_null(p->code ? NAN :
								  p->r.symmetric_error_ns));
	return o;
}

static const char *figure(char buf[VNS_TEXT_LEN], char unit, double v)
{
	if (isnan(v))
		snprintf(buf, VNS_TEXT_LEN, "-");
	else if (unit == 'p')
		snprintf(buf, VNS_TEXT_LEN, "%+.3f ppm", v);
	else
		vns_text_signed_ns(buf, v);
	return buf;
}

/*
 * Offsets of hours leave no digits for what matters: figures are relative to the truth's middle where
 * nothing was injected.
 */
static void print_rows(const struct vns_selftest_result *r)
{
	struct vns_table t;

	vns_table_init(&t, "<<>>>>><", (const char *[]){ "estimate", "mode", "injected", "truth from",
							   "to", "interval from", "to", "the truth" });
	for (size_t i = 0; i < r->n_row; i++) {
		const struct vns_selftest_row *w = &r->row[i];
		double base = isnan(w->injected) ? (w->truth_lower + w->truth_upper) / 2 : 0;
		char b[VNS_TEXT_LEN];

		vns_table_cell(&t, "%s", w->what);
		vns_table_cell(&t, "%s", w->mode);
		vns_table_cell(&t, "%s", figure(b, w->unit, w->injected));
		vns_table_cell(&t, "%s", figure(b, w->unit, w->truth_lower - base));
		vns_table_cell(&t, "%s", figure(b, w->unit, w->truth_upper - base));
		vns_table_cell(&t, "%s", figure(b, w->unit, w->lower - base));
		vns_table_cell(&t, "%s", figure(b, w->unit, w->upper - base));
		vns_table_cell(&t, "%s%s", w->inside ? "" : "NOT ", w->within ? "within" : "holds");
	}
	vns_table_print(&t, stdout);
	vns_table_fini(&t);
	printf("offsets are relative to the truth's middle\n");
}

static void print_part(const struct part *p)
{
	char a[VNS_TEXT_LEN];

	if (p->code) {
		printf("Not run (%s): %s\n", p->backend, cli_interrupted ? "interrupted" : p->err.text);
		return;
	}
	printf("%s %s\n", p->r.host, p->r.lab);
	if (p->r.tcg)
		puts("The guest runs under TCG emulation, not KVM: its delays are the emulator's.");
	print_rows(&p->r);
	if (p->r.skipped[0])
		printf("not tested: %s\n", p->r.skipped);
	for (int m = 0; m < VNS_CLOCK_MODES; m++)
		if (p->r.half_width_ns[m] > 0)
			printf("an idle guest's offset is certain within +-%s by mode %s\n",
			       vns_text_ns(a, p->r.half_width_ns[m]),
			       vns_clock_mode_name((enum vns_clock_mode)m));
	if (!isnan(p->r.symmetric_error_ns))
		printf("the middle of mode exchange's bounds was %s off with one way delayed: that is why it is "
		       "withheld\n", vns_text_ns(a, fabs(p->r.symmetric_error_ns)));
}

static int verdict_of(const struct part *p, size_t n, size_t *rows, size_t *outside)
{
	bool incomplete = false;

	*rows = *outside = 0;
	for (size_t i = 0; i < n; i++) {
		incomplete |= p[i].code || p[i].r.interrupted;
		*rows += p[i].r.n_row;
		*outside += vns_selftest_outside(&p[i].r);
	}
	if (*outside)
		return VNS_EXIT_CHECK;
	return incomplete || *rows == 0 ? VNS_EXIT_INCONCLUSIVE : VNS_EXIT_OK;
}

static const char *verdict_words(int code, const struct part *p, size_t n)
{
	bool skipped = false;

	for (size_t i = 0; i < n; i++)
		skipped |= p[i].r.skipped[0] != '\0';
	if (code == VNS_EXIT_CHECK)
		return "AN INTERVAL MISSES THE TRUTH: do not trust that estimate here";
	if (code == VNS_EXIT_INCONCLUSIVE)
		return cli_interrupted ? "interrupted: not everything was tested" :
					 "inconclusive: not everything could be tested";
	return skipped ? "no interval contradicts the truth. Each holds it or lies within what was put in; of what was "
			 "tested, figures of this machine can be trusted as far as the intervals printed with them" :
			 "no interval contradicts the truth. Each holds it or lies within what was put in; "
			 "figures of this machine can be trusted as far as the intervals printed with them";
}

static int unwritten(const struct cli_command *self, int error)
{
	return cli_fail(self, VNS_EXIT_SETUP, "cannot write the results: %s", strerror(-error));
}

static int render(const struct cli_command *self, const struct selftest_config *c,
		  const struct part *p, size_t n)
{
	size_t rows, outside;
	int code = verdict_of(p, n, &rows, &outside), error;
	char text[512];

	if (c->json) {
		json_t *doc = vns_json_head("vnetscope.self-test/1", cli_argc, cli_argv);
		json_t *list = json_array();

		for (size_t i = 0; i < n; i++)
			json_array_append_new(list, part_json(&p[i]));
		json_object_set_new(doc, "labs", list);
		json_object_set_new(doc, "estimates", json_integer((json_int_t)rows));
		json_object_set_new(doc, "outside", json_integer((json_int_t)outside));
		json_object_set_new(doc, "verdict", json_string(verdict_words(code, p, n)));
		error = vns_json_print(doc, stdout);
		json_decref(doc);
		return error ? unwritten(self, error) : code;
	}
	for (size_t i = 0; i < n; i++) {
		fputs(i ? "\n" : "", stdout);
		print_part(&p[i]);
	}
	snprintf(text, sizeof(text), "%zu of %zu estimates inside: %s", rows - outside, rows, verdict_words(code, p, n));
	putchar('\n');
	vns_text_wrap(text, VNS_TEXT_COLUMNS, 2, stdout);
	error = vns_text_flush(stdout);
	return error ? unwritten(self, error) : code;
}

static void run_part(const struct selftest_config *c, enum vns_lab_backend backend, struct part *p)
{
	struct vns_lab_opts o = VNS_LAB_OPTS_DEFAULT;

	cli_lab_opts(&c->lab, &o);
	o.backend = backend;
	if (c->quiet)
		o.progress = NULL;
	p->backend = backend == VNS_LAB_NETNS ? "netns" : "qemu";
	p->code = vns_selftest_run(&o, &p->r, &p->err);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct selftest_config c = { .lab = { CLI_LAB_DEFAULT, .backend = "both",
						   .name = "self-test" } };
	struct part part[MAX_LABS] = { 0 };
	char *rest[1];
	size_t n_rest, n = 0;
	int code = cli_parse(self, argc, argv, &c, rest, 1, &n_rest);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (n_rest)
		return cli_fail(self, VNS_EXIT_USAGE, "unexpected argument '%s'", rest[0]);
	cli_catch_interrupts();
	if (strcmp(c.lab.backend, "qemu") != 0)
		run_part(&c, VNS_LAB_NETNS, &part[n++]);
	if (n && part[0].code == -EINVAL) /* what was asked for is wrong, for the other lab too */
		return cli_fail(self, VNS_EXIT_USAGE, "%s", part[0].err.text);
	if (strcmp(c.lab.backend, "netns") != 0 && !cli_interrupted)
		run_part(&c, VNS_LAB_QEMU, &part[n++]);
	if (n == 1 && part[0].code && cli_interrupted)
		return cli_fail(self, VNS_EXIT_INCONCLUSIVE, "interrupted: nothing was tested");
	for (size_t i = 0; i < n && n == 1; i++)
		if (part[i].code)
			return cli_fail(self, part[i].code == -EINVAL ? VNS_EXIT_USAGE : VNS_EXIT_SETUP,
					"%s", part[i].err.text);
	return render(self, &c, part, n);
}

const struct cli_command cmd_selftest = {
	.name = "self-test",
	.args = "",
	.summary = "known errors in a lab, every estimate beside the truth",
	.detail = "Makes a lab of namespaces and one of a real guest, gives the guest's clock a known rate\n"
		  "and a known step and its path a known delay in one direction, and holds every estimate\n"
		  "against the truth. Takes less than a minute. Exit 0 when no interval contradicts the truth,\n"
		  "1 when one misses it, 4 when not everything could be tested.",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run,
};
