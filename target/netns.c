// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Target "netns:NAME": a network namespace of this machine (container, `ip netns add`). Our
 * agent is started inside it; the host's side is the other end of its veth pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "target/internal.h"

#define HELLO_TIMEOUT_MS 10000

static int open_ns(const char *name, struct vns_err *err)
{
	char path[256];
	int fd;

	if ((size_t)snprintf(path, sizeof(path), "%s%s", name[0] == '/' ? "" : "/run/netns/",
			     name) >= sizeof(path) || !name[0] || (name[0] != '/' && strchr(name, '/')))
		return vns_err_set(err, -EINVAL, "'%s' is not the name of a network namespace",
				   name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return vns_err_set(err, -errno, "cannot open the network namespace %s: %s", path,
				   strerror(errno));
	return fd;
}

static int start_agent(struct vns_target *t, int netns_fd, const char *agent_path,
		       struct vns_err *err)
{
	char path[4096];
	char *argv[] = { path, "--stdio", NULL };
	struct vns_child child;
	int rc = vns_target_find_agent(path, sizeof(path), agent_path, NULL, err);

	if (rc == 0)
		rc = vns_child_spawn(&child, argv, netns_fd, err);
	return rc ? rc : vns_target_attach(t, &child, HELLO_TIMEOUT_MS, NULL, err);
}

int vns_target_open_netns(struct vns_target *t, const char *name, const char *agent_path,
			  struct vns_err *err)
{
	const char *slash = strrchr(name, '/');
	int fd = open_ns(name, err), rc;

	if (fd < 0)
		return fd;
	snprintf(t->name, sizeof(t->name), "%s", slash ? slash + 1 : name);
	rc = start_agent(t, fd, agent_path, err);
	if (rc == 0)
		vns_target_find_peer_points(t, fd);
	close(fd);
	return rc;
}
