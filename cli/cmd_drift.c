// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope drift: how far a guest's clock is from the host's, and how fast it drifts.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

#include "cli/commands.h"
#include "target/target.h"

#define PLOT_COLUMNS 72

struct drift_config {
	const char *mode, *modes, *agent;
	uint64_t count;
	int64_t interval_ns, duration_ns;
	double wander_ppm;
	bool json, csv, plot, symmetric;
};

enum { JSON = 1 << 0, CSV = 1 << 1, LIST = 1 << 2, TIMED = 1 << 3, OTHER_CLOCK = 1 << 4, RUNNING = 1 << 5,
       SAME = 1 << 6 };

static const struct cli_mode modes[] = {
	{ JSON, "json", NULL, "--json" },
	{ CSV, "csv", NULL, "--csv" },
	{ LIST, "list", NULL, "--modes" },
	{ TIMED, "timed", NULL, "--duration" },
	{ OTHER_CLOCK, "other-clock", NULL, "a --mode that does not share the measured path" },
	{ RUNNING, "running-agent", NULL, "a TARGET whose agent runs already" },
	{ SAME, "same", NULL, "--mode same" },
	{ 0 }
};

static unsigned int mode_of(const void *config, char *const *target, size_t n)
{
	const struct drift_config *c = config;
	const char *chosen = c->modes ? c->modes : c->mode ? c->mode : "auto";

	return cli_when(c->json, JSON) | cli_when(c->csv, CSV) | cli_when(c->modes, LIST) |
	       cli_when(c->duration_ns, TIMED) |
	       cli_when(strcmp(chosen, "auto") != 0 && !strstr(chosen, "exchange"), OTHER_CLOCK) |
	       cli_when(n && cli_agent_runs(target[0]), RUNNING) |
	       cli_when(strcmp(chosen, "same") == 0, SAME);
}

#define CLI_CONFIG struct drift_config

static const struct cli_option options[] = {
	CLI_OPT('m', "mode", CLI_CHOICE, mode, LIST, "MODE",
		"where the stamps come from; auto takes the best that there is",
		.choices = "auto|exchange|channel|shm|ptp_kvm|tsc|same"),
	CLI_OPT(0, "modes", CLI_STRING, modes, EVERYWHERE, "MODE,MODE",
		"several modes in the same time span, compared at one instant"),
	CLI_OPT('n', "count", CLI_U64, count, TIMED | SAME, "N",
		"exchanges per mode (default 100)", .min = 1, .max = 1000000),
	CLI_OPT('i', "interval", CLI_DURATION, interval_ns, SAME, "TIME",
		"between rounds of exchanges (default 20ms)", .min = 0.0001, .max = 60),
	CLI_OPT('t', "duration", CLI_DURATION, duration_ns, SAME, "TIME",
		"go on for so long, instead of --count", .min = 0.001, .max = 86400),
	CLI_OPT(0, "assume-symmetric", CLI_FLAG, symmetric, OTHER_CLOCK, NULL,
		"mode exchange: take both directions' floors as equal, which nothing measures"),
	CLI_OPT(0, "max-wander", CLI_DOUBLE, wander_ppm, SAME, "PPM",
		"let the bound hold while a clock's rate wanders by so much (default: what adjtimex asks for)",
		.max = 500),
	CLI_OPT('p', "plot", CLI_FLAG, plot, JSON | CSV | SAME, NULL,
		"plot the offset of every exchange"),
	CLI_OPT(0, "json", CLI_FLAG, json, CSV, NULL,
		"print JSON (vo --drift-file reads it)"),
	CLI_OPT(0, "csv", CLI_FLAG, csv, JSON, NULL, "print a line per exchange"),
	CLI_OPT(0, "agent", CLI_STRING, agent, RUNNING, "FILE",
		"vnetscope-agent to use"),
	CLI_END,
};

static int add_mode(const struct cli_command *self, struct vns_drift_opts *o, const char *name)
{
	enum vns_clock_mode m;

	if (vns_clock_mode_parse(name, &m) ||
	    !(m == VNS_CLOCK_EXCHANGE || m == VNS_CLOCK_CHANNEL || m == VNS_CLOCK_SHM ||
	      m == VNS_CLOCK_PTP_KVM || m == VNS_CLOCK_TSC || m == VNS_CLOCK_SAME))
		return cli_fail(self, VNS_EXIT_USAGE,
				"'%s' is not a clock mode: exchange, channel, shm, ptp_kvm, tsc, same", name);
	for (size_t i = 0; i < o->n_mode; i++)
		if (o->mode[i] == m)
			return cli_fail(self, VNS_EXIT_USAGE, "mode %s stands twice", name);
	if (o->n_mode == VNS_DRIFT_MAX_MODES)
		return cli_fail(self, VNS_EXIT_USAGE, "at most %d modes at once", VNS_DRIFT_MAX_MODES);
	o->mode[o->n_mode++] = m;
	return VNS_EXIT_OK;
}

static int pick_modes(const struct cli_command *self, const struct drift_config *c,
		      struct vns_drift_opts *o)
{
	char list[128], *save = NULL;
	int code = VNS_EXIT_OK;

	if (c->mode && strcmp(c->mode, "auto") != 0)
		return add_mode(self, o, c->mode);
	if (!c->modes)
		return VNS_EXIT_OK;
	if (snprintf(list, sizeof(list), "%s", c->modes) >= (int)sizeof(list))
		return cli_fail(self, VNS_EXIT_USAGE, "--modes: the list is too long");
	for (char *w = strtok_r(list, ",", &save); w && !code; w = strtok_r(NULL, ",", &save))
		code = add_mode(self, o, w);
	if (!code && o->n_mode == 0)
		return cli_fail(self, VNS_EXIT_USAGE, "--modes: the list is empty");
	return code;
}

static void show_progress(void *ctx, size_t done, size_t wanted)
{
	(void)ctx;
	fprintf(stderr, "\r%zu of %zu exchanges ", done, wanted);
}

static int render(const struct drift_config *c, const struct vns_drift_result *r, size_t n)
{
	struct winsize w = { .ws_col = 0 };
	unsigned int columns = PLOT_COLUMNS;

	if (c->json) {
		json_t *doc = vns_drift_document(r, n, cli_argc, cli_argv);
		int code = vns_json_print(doc, stdout);

		json_decref(doc);
		return code;
	}
	if (c->csv) {
		vns_drift_csv(r, n, stdout);
		return vns_text_flush(stdout);
	}
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 24)
		columns = w.ws_col > 132 ? 128 : (unsigned int)w.ws_col - 4;
	vns_drift_text(r, n, c->plot || isatty(STDOUT_FILENO) ? columns : 0, stdout);
	return vns_text_flush(stdout);
}

static int measure(const struct cli_command *self, const struct drift_config *c,
		   struct vns_drift_opts *o, const char *spec)
{
	struct vns_drift_result r[VNS_DRIFT_MAX_MODES] = { 0 };
	size_t n = o->n_mode ? o->n_mode : 1;
	struct vns_target *t;
	struct vns_subject s;
	struct vns_err err = { "" };
	int code = vns_target_open(&t, spec, c->agent, &err);

	if (code)
		return cli_fail(self, code == -EINVAL ? VNS_EXIT_USAGE : VNS_EXIT_SETUP, "%s", err.text);
	s = vns_target_subject(t);
	code = vns_measure_drift(&s, o, r, &err);
	if (o->progress)
		fputs("\r\033[K", stderr);
	vns_target_close(t);
	if (code)
		return cli_fail(self, code == -ENODATA ? VNS_EXIT_INCONCLUSIVE : VNS_EXIT_SETUP, "%s",
				err.text);
	code = render(c, r, n);
	if (code)
		code = cli_fail(self, VNS_EXIT_SETUP, "cannot write the result: %s", strerror(-code));
	else if (r[0].ended_early[0])
		code = cli_fail(self, VNS_EXIT_SETUP, "%s", r[0].ended_early);
	else if (n > 1 && !vns_drift_agree(r, n))
		code = cli_fail(self, VNS_EXIT_CHECK, "%s: the bounds of the modes do not intersect",
				r[0].target);
	for (size_t i = 0; i < n; i++)
		vns_drift_result_free(&r[i]);
	return code;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct drift_config c = { .wander_ppm = CLI_WANDER_AUTO, .count = 100,
				  .interval_ns = 20 * VNS_NSEC_PER_MSEC };
	struct vns_drift_opts o = { .stop = &cli_interrupted };
	char *target[1];
	size_t n_target;
	int code = cli_parse(self, argc, argv, &c, (char **)target, 1, &n_target);

	if (code)
		return code > 0 ? VNS_EXIT_OK : VNS_EXIT_USAGE;
	if (n_target == 0)
		return cli_fail(self, VNS_EXIT_USAGE, "name a TARGET; see vnetscope drift --help");
	code = pick_modes(self, &c, &o);
	if (code)
		return code;
	o.count = c.count;
	o.interval_ns = c.interval_ns;
	o.duration_ns = c.duration_ns;
	o.assume_symmetric = c.symmetric;
	o.wander_ppm = cli_wander(c.wander_ppm);
	if (isatty(STDERR_FILENO))
		o.progress = show_progress;
	cli_catch_interrupts();
	return measure(self, &c, &o, target[0]);
}

const struct cli_command cmd_drift = {
	.name = "drift",
	.args = "TARGET",
	.summary = "Clock offset and drift of a guest against this host, with certain bounds.",
	.detail = "TARGET: NAME or lab:NAME (guest of the running lab), netns:NAME, "
		  "ssh:[USER@]HOST[:PORT],\n"
		  "pipe:COMMAND. Offset > 0: the guest's clock is ahead. Exit 1 when the bounds of\n"
		  "several modes do not intersect, 4 when no exchange came back.",
	.options = options,
	.modes = modes,
	.mode_of = mode_of,
	.run = run,
};
