/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The script that an ssh target's far shell runs, and the line protocol it speaks.
 */
#ifndef VNS_TARGET_SSH_BOOTSTRAP_H
#define VNS_TARGET_SSH_BOOTSTRAP_H

/* Opens each of its lines, so that what a login script prints is told apart. */
#define SSH_BOOTSTRAP_MARK "vnetscope-bootstrap "

extern const char ssh_bootstrap_script[];

#endif
