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

#endif
