/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Programs of the host in the guests' initramfs. */
#ifndef VNS_LAB_PROGRAMS_H
#define VNS_LAB_PROGRAMS_H

#include "lab/cpio.h"
#include "lab/lab.h"

/* Put every program of @o->with into /bin, with its libraries. Return: 0 or -errno. */
int lab_programs_put(struct lab_cpio *c, const struct vns_lab_opts *o, struct vns_err *err);
/* Is busybox's @applet ("sbin/tc") to be left out in favour of one of those? */
bool lab_programs_has(const struct vns_lab_opts *o, const char *applet);

#endif
