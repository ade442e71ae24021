/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lines on stderr while a measurement runs; only when stderr is a terminal. */
#ifndef VNS_CLI_LIVE_H
#define VNS_CLI_LIVE_H

#include <vnetscope/measure.h>

/* A vns_vo_live_opts.progress; @ctx is unused. Rewrites its lines in place. */
void cli_live_vo(void *ctx, const struct vns_vo_live_progress *p);

/* "vnetscope COMMAND: sentence" as progress: on a terminal and off it, since a run takes a while. */
void cli_say(void *ctx, const char *sentence);

#endif
