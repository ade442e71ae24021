/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Live capture without libpcap: the agent links this (afpacket.c, source.c) and gets its filter
 * ready made from the host.
 */
#ifndef VNS_SOURCE_LIVE_H
#define VNS_SOURCE_LIVE_H

#include <string.h>

#include <vnetscope/source.h>

/*
 * As vns_source_open_live(), but with the filter as classic BPF (@n_filter 0: accept all);
 * opts->filter is not looked at. A filter's return values are lowered to the snap length. It must
 * have been compiled for the interface's link type: VNS_LINK_ETHERNET for Ethernet and
 * loopback, VNS_LINK_RAW for all others (tun, WireGuard, ipip ...).
 */
int vns_source_open_live_bpf(struct vns_source **out, const char *ifname,
			     const struct vns_bpf_insn *filter, size_t n_filter,
			     const struct vns_source_opts *opts, struct vns_err *err);

/* Link type that capture on @ifname has. Return: enum vns_linktype, or -errno with @err. */
int vns_source_live_linktype(const char *ifname, int netns_fd, struct vns_err *err);

/* socket(AF_PACKET, @type) inside the namespace @netns_fd (> 0), back in ours afterwards. */
int vns_live_socket(int netns_fd, int type, struct vns_err *err);
/* Index and hardware type of an interface that is up, seen from the namespace of socket @fd. */
int vns_live_look_up(int fd, const char *ifname, int *ifindex, int *arphrd, struct vns_err *err);
/* As long as the packet socket @fd is open. Return: 0, or -1 with errno. */
int vns_live_promiscuous(int fd, int ifindex);
/* Is @ifname all interfaces of the namespace? */
static inline bool vns_live_is_any(const char *ifname)
{
	return strcmp(ifname, "any") == 0;
}

/* Capture point of interface @ifindex where all are captured. Indices beyond 16 bits share the last. */
#define VNS_LIVE_LAST_POINT UINT16_MAX
static inline uint16_t vns_live_point(int ifindex)
{
	return ifindex > 0 && ifindex < VNS_LIVE_LAST_POINT ? (uint16_t)ifindex : VNS_LIVE_LAST_POINT;
}

/* enum vns_linktype of hardware type @arphrd. */
int vns_live_linktype(int arphrd);

/* opts->fanout: a number that nobody has; which it became, vns_live_fanout() tells. */
#define VNS_FANOUT_NEW 0xffffu
/*
 * opts->fanout: one source of several sockets, one for each processor, in the order of time up to 40 ms
 * later. For an interface that several processors' packets pass. It has no descriptor to poll. By eBPF, which
 * has its rings by processor anyway, it means that the reader looks by the clock and is never woken.
 */
#define VNS_FANOUT_CPU 0xfffeu
uint16_t vns_live_fanout(const struct vns_source *s);

/* opts->threads (2 to 64) sockets that share @ifname out, read by a thread each, as one source. */
int vns_source_open_many(struct vns_source **out, const char *ifname,
			 const struct vns_bpf_insn *filter, size_t n_filter,
			 const struct vns_source_opts *opts, struct vns_err *err);

#define VNS_LIVE_SNAPLEN 128 /* bytes: headers of two tunnel levels, or the digest's payload */

#endif
