// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Target "pipe:COMMAND": any program that speaks the agent protocol on its pipes, run by
 * /bin/sh. For transports we do not know (docker exec, a serial console's socat, qemu-user).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "target/internal.h"

#define HELLO_TIMEOUT_MS 10000

/* The first word; where it is long its end, which has the program's name. */
static void name_of(const char *command, char *to, size_t size)
{
	const size_t len = strcspn(command, " \t"), room = size - sizeof("pipe:...");

	if (len <= room)
		snprintf(to, size, "pipe:%.*s", (int)len, command);
	else
		snprintf(to, size, "pipe:...%.*s", (int)room, command + len - room);
}

int vns_target_open_pipe(struct vns_target *t, const char *command, const char *agent_path,
			 struct vns_err *err)
{
	char *argv[] = { "/bin/sh", "-c", (char *)command, NULL };
	struct vns_child child;
	int ret;

	(void)agent_path; /* the command starts its own */
	if (!*command)
		return vns_err_set(err, -EINVAL, "pipe: a command must follow, as in pipe:COMMAND");
	ret = vns_child_spawn(&child, argv, -1, err);
	if (ret)
		return ret;
	name_of(command, t->name, sizeof(t->name));
	return vns_target_attach(t, &child, HELLO_TIMEOUT_MS, NULL, err);
}
