// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Enter and leave network namespaces; see netns.h.
 *
 * setns(2) back to where the thread came from fails when its capabilities went meanwhile. A thread
 * so stranded would open every later socket in the wrong namespace, without any sign of it;
 * it is marked, and from then on each of its entries is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/netns.h"

static _Thread_local bool stranded;

static int refuse(struct vns_err *err)
{
	return vns_err_set(err, -ENOTRECOVERABLE, "this thread could not return from another network "
			   "namespace: it can open nothing any more");
}

int vns_netns_enter(int fd, struct vns_err *err)
{
	int saved, code;

	if (stranded)
		return refuse(err) - 1;
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
	return vns_err_set(err, code - 1, "cannot enter the target's network namespace: %s%s",
			   strerror(-code), code == -EPERM ? " (needs CAP_SYS_ADMIN)" : "");
}

int vns_netns_leave(int token, struct vns_err *err)
{
	int code;

	if (token < 0)
		return 0;
	code = setns(token, CLONE_NEWNET) ? errno : 0;
	close(token);
	if (code == 0)
		return 0;
	stranded = true;
	return vns_err_set(err, -ENOTRECOVERABLE, "cannot return to this thread's own network namespace: "
			   "%s", strerror(code));
}
