// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A running guest's QEMU -> what it shall do when the guest reboots.
 *
 * QEMU is started with -no-reboot, so that a guest that cannot start (its kernel panics, and panic=-1 reboots)
 * ends instead of trying for ever. Once its agent has answered, a reboot is an ordinary thing: it starts anew
 * in the same process. QMP (docs/interop/qmp-spec.txt): one greeting, then a reply to each command, as lines of
 * JSON; only the member that begins a reply, "return" or "error", is looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lab/internal.h"

#define ANSWER_S 5 /* on a busy host an emulated guest's QEMU may take that long */

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = ANSWER_S };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* Send @command, a line, and wait for its reply; events may come before it. NULL: only for the greeting. */
static int ask(FILE *f, const char *command)
{
	char line[4096];

	if (command && send(fileno(f), command, strlen(command), MSG_NOSIGNAL) < 0)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, "\"error\""))
			return -EOPNOTSUPP;
		if (strstr(line, command ? "\"return\"" : "\"QMP\""))
			return 0;
	}
	return -EIO;
}

int lab_qmp_let_reboot(const struct vns_lab *lab, const struct vns_lab_node *n)
{
	char path[VNS_LAB_PATH_LEN];
	int fd = connect_to(vns_lab_path(lab, n->name, "qmp", path)), rc;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "re");

	if (!f) {
		if (fd >= 0)
			close(fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	rc = ask(f, NULL);
	if (rc == 0)
		rc = ask(f, "{\"execute\": \"qmp_capabilities\"}\n");
	if (rc == 0)
		rc = ask(f, "{\"execute\": \"set-action\", \"arguments\": {\"reboot\": \"reset\"}}\n");
	fclose(f);
	return rc;
}
