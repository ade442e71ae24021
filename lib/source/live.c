// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Live capture with a filter expression: compiles it and hands over to afpacket.c or ebpf.c. Apart
 * from there, so that the agent can link without libpcap.
 */
#include <errno.h>
#include <stdlib.h>

#include "source/ebpf.h"
#include "source/live.h"

int vns_source_open_live(struct vns_source **out, const char *ifname,
			 const struct vns_source_opts *opts, struct vns_err *err)
{
	struct vns_bpf_insn *code;
	uint32_t snaplen = opts && opts->snaplen ? opts->snaplen : VNS_LIVE_SNAPLEN;
	int linktype, n, rc;

	if (opts && opts->capture == VNS_CAPTURE_EBPF && vns_live_is_any(ifname))
		return vns_err_set(err, -EOPNOTSUPP, "eBPF programs hang on one interface: name it "
				   "instead of any, or capture by packet sockets");
	linktype = vns_source_live_linktype(ifname, opts ? opts->netns_fd : -1, err);
	if ((linktype == -EPERM || linktype == -EACCES) && opts && opts->capture == VNS_CAPTURE_EBPF)
		return vns_err_set(err, linktype, "eBPF capture needs the capabilities CAP_BPF, CAP_NET_ADMIN and "
				   "CAP_NET_RAW: run as root");
	if (linktype < 0)
		return linktype;
	n = vns_filter_compile(opts ? opts->filter : NULL, (uint32_t)linktype, snaplen, &code,
			       err);
	if (n < 0)
		return n;
	if (opts && opts->capture == VNS_CAPTURE_EBPF)
		rc = vns_source_open_ebpf(out, ifname, code, (size_t)n, VNS_EBPF_AUTO, opts, err);
	else if (opts && opts->threads > 1)
		rc = vns_source_open_many(out, ifname, code, (size_t)n, opts, err);
	else
		rc = vns_source_open_live_bpf(out, ifname, code, (size_t)n, opts, err);
	free(code);
	return rc;
}
