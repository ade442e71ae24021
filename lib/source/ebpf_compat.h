/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TCX (Linux 6.6) by its numbers in the kernel's UAPI: headers and libbpf of Debian 12 are older.
 */
#ifndef VNS_SOURCE_EBPF_COMPAT_H
#define VNS_SOURCE_EBPF_COMPAT_H

#include <linux/bpf.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VNS_BPF_TCX_INGRESS 46
#define VNS_BPF_TCX_EGRESS  47
#define VNS_BPF_F_BEFORE    (1u << 3) /* with no other program named: before all of them */

/* The link_create part of union bpf_attr for TCX. */
struct vns_tcx_attr {
	uint32_t prog_fd, target_ifindex, attach_type, flags;
	uint32_t relative_fd, zero;
	uint64_t expected_revision;
};

/* A link that hangs @prog_fd on @ifindex before what hangs there. Return: descriptor, -1 (errno). */
static inline int vns_tcx_link(int prog_fd, int ifindex, int egress)
{
	struct vns_tcx_attr a = { .prog_fd = (uint32_t)prog_fd, .target_ifindex = (uint32_t)ifindex,
				  .attach_type = egress ? VNS_BPF_TCX_EGRESS : VNS_BPF_TCX_INGRESS,
				  .flags = VNS_BPF_F_BEFORE };

	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &a, sizeof(a));
}

#endif
