/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Open something in another network namespace: enter it, open, leave. Only the
 * calling thread moves (setns(2)); a socket stays where it was opened.
 */
#ifndef VNS_BASE_NETNS_H
#define VNS_BASE_NETNS_H

#include <vnetscope/base.h>

/*
 * Enter the namespace of @fd. Return: a descriptor of the former one for vns_netns_leave(),
 * -1 when @fd <= 0 (nothing to do), or below -1: -errno of open or setns minus one; see @err.
 * -ENOTRECOVERABLE - 1: the thread could not return from an earlier entry and is of no more use
 * for opening anything, in any namespace (also with @fd <= 0).
 */
int vns_netns_enter(int fd, struct vns_err *err);
/* True when vns_netns_enter() failed. */
static inline bool vns_netns_failed(int token)
{
	return token < -1;
}
/* -errno of a failed vns_netns_enter(). */
static inline int vns_netns_error(int token)
{
	return token + 1;
}
/*
 * Go back and close @token; -1 does nothing. Return: 0, or -ENOTRECOVERABLE: the thread stays where
 * it is, what it has just opened is in the target's namespace as it should be, and every later
 * vns_netns_enter() of this thread fails. Close what was opened and end the thread or the run.
 */
int vns_netns_leave(int token, struct vns_err *err);

#endif
