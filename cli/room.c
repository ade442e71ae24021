// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The options of the lab that a command makes -> struct vns_lab_opts.
 */
#include <string.h>

#include "cli/live.h"
#include "cli/room.h"

bool cli_room_is_netns(const struct cli_room *room)
{
	return strcmp(room->backend, "netns") == 0;
}

void cli_room_opts(const struct cli_room *room, struct vns_lab_opts *o)
{
	if (room->name)
		o->name = room->name;
	o->backend = cli_room_is_netns(room) ? VNS_LAB_NETNS : VNS_LAB_QEMU;
	o->accel = strcmp(room->accel, "kvm") == 0 ? VNS_LAB_ACCEL_KVM :
		   strcmp(room->accel, "tcg") == 0 ? VNS_LAB_ACCEL_TCG : VNS_LAB_ACCEL_AUTO;
	o->kernel = room->kernel;
	o->modules = room->modules;
	o->agent_path = room->agent;
	o->progress = cli_say;
	o->interrupted = &cli_interrupted;
}
