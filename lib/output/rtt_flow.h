/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One direction of a flow as JSON; see rtt_flow.c.
 */
#ifndef VNS_OUTPUT_RTT_FLOW_H
#define VNS_OUTPUT_RTT_FLOW_H

#include <vnetscope/output.h>

/* A tick that is longer than half of the round trips: most of them begin in a tick that is spent. */
bool vns_rtt_clock_is_coarse(const struct vns_rtt_entry *e);
/* One element of "flows", with its capture point where @point. */
void vns_rtt_json_flow(const struct vns_rtt_entry *e, bool point, FILE *to);

#endif
