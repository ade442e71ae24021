// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The options of the lab that a command makes -> struct vns_lab_opts.
 */
#include <string.h>

#include "cli/live.h"
#include "cli/lab_options.h"

bool cli_lab_is_netns(const struct cli_lab_options *lab)
{
	return strcmp(lab->backend, "netns") == 0;
}

void cli_lab_opts(const struct cli_lab_options *lab, struct vns_lab_opts *o)
{
	if (lab->name)
		o->name = lab->name;
	o->backend = cli_lab_is_netns(lab) ? VNS_LAB_NETNS : VNS_LAB_QEMU;
	o->accel = strcmp(lab->accel, "kvm") == 0 ? VNS_LAB_ACCEL_KVM :
		   strcmp(lab->accel, "tcg") == 0 ? VNS_LAB_ACCEL_TCG : VNS_LAB_ACCEL_AUTO;
	o->kernel = lab->kernel;
	o->modules = lab->modules;
	o->agent_path = lab->agent;
	o->progress = cli_say;
	o->interrupted = &cli_interrupted;
}
