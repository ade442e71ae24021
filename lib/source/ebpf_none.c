// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The eBPF source of a build without clang or libbpf: it says so.
 */
#include <errno.h>

#include "source/ebpf.h"

int vns_source_open_ebpf(struct vns_source **out, const char *ifname,
			 const struct vns_bpf_insn *filter, size_t n_filter, enum vns_ebpf_how how,
			 const struct vns_source_opts *opts, struct vns_err *err)
{
	(void)out, (void)filter, (void)n_filter, (void)how, (void)opts;
	return vns_err_set(err, -EOPNOTSUPP, "cannot capture on %s by eBPF: this vnetscope was built "
			   "without clang or libbpf; use --capture afpacket", ifname);
}

int vns_source_try_ebpf(struct vns_err *err)
{
	return vns_err_set(err, -EOPNOTSUPP, "this vnetscope was built without clang or libbpf");
}
