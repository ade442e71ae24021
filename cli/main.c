// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vnetscope: the command table and nothing else. A command lives in cmd_NAME.c
 * and only parses and renders; what it measures stands in lib/measure.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <vnetscope/output.h>

#include "cli/cli.h"
#include "cli/commands.h"

const struct cli_command *const cli_commands[] = {
	&cmd_lab,
	&cmd_drift,
	&cmd_vo,
	&cmd_rtt,
	&cmd_demo,
	&cmd_doctor,
	&cmd_selftest,
	NULL,
};

int cli_argc;
char **cli_argv;
volatile int cli_interrupted;

static void on_interrupt(int sig)
{
	cli_interrupted = 1;
	signal(sig, SIG_DFL);
}

void cli_catch_interrupts(void)
{
	struct sigaction sa = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void print_overview(FILE *to)
{
	fputs("usage: vnetscope COMMAND [options] ...\n"
	      "Latency that virtualisation adds, RTT of real traffic, clock error of guests.\n\n"
	      "commands:\n", to);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		fprintf(to, "  %-10s %s\n", (*c)->name, (*c)->summary);
	fputs("\n`vnetscope COMMAND --help` shows a command's options; `vnetscope --version`.\n", to);
}

/* One line per command and option, read by the shell completion and the man page check. */
static int print_tables(void)
{
	for (const struct cli_command *const *c = cli_commands; *c; c++) {
		const struct cli_mode *const modes = (*c)->modes;

		printf("command %s %s\n", (*c)->name, (*c)->verbs ? (*c)->verbs : "-");
		for (const struct cli_mode *m = modes; m && m->bit; m++)
			printf("mode %s %s %s\n", (*c)->name, m->name, m->what);
		for (const struct cli_option *o = (*c)->options; o && o->name; o++) {
			printf("option %s --%s %c %s %s\n", (*c)->name, o->name,
			       o->letter ? o->letter : '-', o->arg ? o->arg : "-",
			       o->choices ? o->choices : "-");
			for (const struct cli_mode *m = modes; m && m->bit; m++)
				if (o->not_in & m->bit)
					printf("without %s --%s %s\n", (*c)->name, o->name, m->name);
		}
	}
	return VNS_EXIT_OK;
}

/* getopt moves words about; output shows the command line as typed. */
static void keep_argv(int argc, char **argv)
{
	static char *copy[256];

	cli_argc = argc < 256 ? argc : 255;
	memcpy(copy, argv, (size_t)cli_argc * sizeof(*copy));
	cli_argv = copy;
}

/* What was printed must have reached its reader: a full disk is no success. */
static int flushed(int code)
{
	int error = code == VNS_EXIT_OK ? vns_text_flush(stdout) : 0;

	if (!error)
		return code;
	fprintf(stderr, "vnetscope: standard output could not be written: %s\n", strerror(-error));
	return VNS_EXIT_SETUP;
}

int main(int argc, char **argv)
{
	keep_argv(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		print_overview(stderr);
		return VNS_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_overview(stdout);
		return flushed(VNS_EXIT_OK);
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("vnetscope " VNS_VERSION);
		return flushed(VNS_EXIT_OK);
	}
	if (strcmp(argv[1], "--tables") == 0)
		return flushed(print_tables());
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		if (strcmp(argv[1], (*c)->name) == 0)
			return flushed((*c)->run(*c, argc - 1, argv + 1));
	fprintf(stderr, "vnetscope: there is no command '%s'; see vnetscope --help\n", argv[1]);
	return VNS_EXIT_USAGE;
}
