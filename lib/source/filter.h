/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters on capture files: run a compiled program on one frame. See filter.c.
 */
#ifndef VNS_SOURCE_FILTER_H
#define VNS_SOURCE_FILTER_H

#include <vnetscope/source.h>

/* @code from vns_filter_compile(). Return: true when the frame is wanted. */
bool vns_filter_match(const struct vns_bpf_insn *code, const struct vns_frame *f);
/* Does @expr have words of the link layer (vlan, ether ...)? Then frames are looked at as they stand. */
bool vns_filter_of_links(const char *expr);
/* Bytes of the VLAN tags behind the addresses of an Ethernet frame; 0: none, or cut. */
uint32_t vns_filter_tags(const struct vns_frame *f);

#endif
