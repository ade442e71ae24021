// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Enter and leave network namespaces; see netns.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/netns.h"

int vns_netns_enter(int fd, struct vns_err *err)
{
	int saved, code;

	if (fd <= 0)
		return -1;
	saved = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (saved < 0)
		return vns_err_set(err, -errno - 1, "cannot open this thread's network namespace: %s",
				   strerror(errno));
	if (setns(fd, CLONE_NEWNET) == 0)
		return saved;
	code = -errno;
	close(saved);
	return vns_err_set(err, code - 1, "cannot enter the target's network namespace: %s",
			   strerror(-code));
}

void vns_netns_leave(int token)
{
	if (token < 0)
		return;
	if (setns(token, CLONE_NEWNET))
		abort(); /* every later socket would be opened in the wrong namespace */
	close(token);
}
