/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options of the lab that a command makes, shared by those that make one. */
#ifndef VNS_CLI_LAB_OPTIONS_H
#define VNS_CLI_LAB_OPTIONS_H

#include "cli/cli.h"
#include "lab/lab.h"

/* A command's config has one as its member lab; the words of @backend differ between commands. */
struct cli_lab_options {
	const char *name, *backend, *accel, *kernel, *modules, *agent;
};
#define CLI_LAB_DEFAULT .accel = "auto"

/* Rows for a table: @elsewhere, modes without a lab to make; @netns, the one of namespaces only. */
#define CLI_LAB_ROWS(elsewhere, netns)                                                             \
	CLI_OPT(0, "accel", CLI_CHOICE, lab.accel, (elsewhere) | (netns), "KIND",                  \
		"accelerator of the guests; auto tries KVM and falls back to emulation",           \
		.choices = "auto|kvm|tcg"),                                                        \
	CLI_OPT(0, "kernel", CLI_STRING, lab.kernel, (elsewhere) | (netns), "FILE",                \
		"guest kernel (default: Debian's cloud kernel, fetched once)"),                    \
	CLI_OPT(0, "modules", CLI_STRING, lab.modules, (elsewhere) | (netns), "DIR",               \
		"its modules, e.g. /lib/modules/6.1.0-41-amd64"),                                  \
	CLI_OPT(0, "agent", CLI_STRING, lab.agent, elsewhere, "FILE",                              \
		"vnetscope-agent to run in the guests")

/* Are the guests namespaces, and nothing else? For cli_command.mode_of. */
bool cli_lab_is_netns(const struct cli_lab_options *lab);

/* @lab and what the program itself brings (progress, Ctrl-C) into @o. */
void cli_lab_opts(const struct cli_lab_options *lab, struct vns_lab_opts *o);

#endif
