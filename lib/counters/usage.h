/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPU time of the machine and of this process, from /proc/stat and the process clock.
 */
#ifndef VNS_COUNTERS_USAGE_H
#define VNS_COUNTERS_USAGE_H

#include <vnetscope/agent.h>

/* Return: 0, or -errno with a sentence (no /proc). */
int vns_usage_read(struct vns_agent_usage *out, struct vns_err *err);
/* The first line of /proc/stat, "cpu user nice ...", as times. Return: 0 or -EINVAL. */
int vns_usage_parse(const char *line, long ticks_per_sec, struct vns_agent_usage *out);

#endif
