// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Step into a lab: struct vns_lab and a node's name -> this process runs there.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "lab/internal.h"

static int join(pid_t pid, const char *which, int type, const char *node, struct vns_err *err)
{
	int fd = vns_lab_open_ns(pid, which), rc = 0;

	if (fd < 0)
		return vns_err_set(err, fd, "cannot open the %s namespace of %s: %s", which, node,
				   strerror(-fd));
	if (setns(fd, type))
		rc = vns_err_set(err, -errno, "cannot enter the %s namespace of %s: %s", which,
				 node, strerror(errno));
	close(fd);
	return rc;
}

int vns_lab_enter(const struct vns_lab *lab, const char *node, struct vns_err *err)
{
	const struct vns_lab_node *n = vns_lab_find_node(lab, node);
	pid_t pid = lab->holder.pid;
	int rc = 0;

	if (n)
		pid = n->proc.pid;
	else if (strcmp(node, "host") != 0)
		return vns_err_set(err, -ENOENT, "lab '%s' has no '%s'", lab->name, node);
	if (lab->rootless)
		rc = join(pid, "user", CLONE_NEWUSER, node, err);
	return rc ? rc : join(pid, "net", CLONE_NEWNET, node, err);
}
