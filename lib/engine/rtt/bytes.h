/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tables of the engines take, by what was stored in them: pages that were touched. What hangs at
 * single flows is on the heap and counted there (base/held.h).
 */
#ifndef VNS_ENGINE_RTT_BYTES_H
#define VNS_ENGINE_RTT_BYTES_H

#include <vnetscope/rtt_app.h>

uint64_t vns_rtt_bytes(const struct vns_rtt *r);
uint64_t vns_rtt_app_bytes(const struct vns_rtt_app *a);
/*
 * At the end: vns_rtt_each_flow(), in the order of the memory, which is given back as it goes, so that what @fn
 * makes of flows finds room. Afterwards none has a figure any more; counts and totals stay.
 */
void vns_rtt_take_flows(struct vns_rtt *r, vns_rtt_flow_fn fn, void *ctx);

#endif
