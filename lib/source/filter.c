// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pcap-filter(7) expression -> classic BPF, and BPF run on a frame: libpcap's compiler and
 * interpreter. The only file that touches libpcap.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>

#include "source/filter.h"

#define SNAPLEN_ALL 262144 /* bytes; "everything", as libpcap has it */

_Static_assert(sizeof(struct vns_bpf_insn) == sizeof(struct bpf_insn), "same layout");

/* pcap files number raw IP otherwise than the library's DLT_ does (linktypes.html). */
static int dlt_of(uint32_t linktype)
{
	return linktype == VNS_LINK_RAW || linktype == VNS_LINK_RAW_OPENBSD ? DLT_RAW :
									      (int)linktype;
}

static int accept_all(uint32_t snaplen, struct vns_bpf_insn **out, struct vns_err *err)
{
	*out = malloc(sizeof(**out));
	if (!*out)
		return vns_err_set(err, -ENOMEM, "no memory for a filter");
	**out = (struct vns_bpf_insn){ .code = BPF_RET | BPF_K, .k = snaplen };
	return 1;
}

int vns_filter_compile(const char *expr, uint32_t linktype, uint32_t snaplen,
		       struct vns_bpf_insn **out, struct vns_err *err)
{
	uint32_t keep = snaplen ? snaplen : SNAPLEN_ALL;
	struct bpf_program prog;
	pcap_t *p;
	int n;

	if (!expr || expr[strspn(expr, " \t\r\n")] == '\0')
		return accept_all(keep, out, err);
	p = pcap_open_dead(dlt_of(linktype), (int)keep);
	if (!p)
		return vns_err_set(err, -ENOMEM, "no memory for the filter \"%s\"", expr);
	if (pcap_compile(p, &prog, expr, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		vns_err_set(err, 0, "filter \"%s\": %s", expr, pcap_geterr(p));
		pcap_close(p);
		return -EINVAL;
	}
	n = (int)prog.bf_len;
	*out = malloc(prog.bf_len * sizeof(**out));
	if (*out)
		memcpy(*out, prog.bf_insns, prog.bf_len * sizeof(**out));
	else
		n = vns_err_set(err, -ENOMEM, "no memory for the filter \"%s\"", expr);
	pcap_freecode(&prog);
	pcap_close(p);
	return n;
}

bool vns_filter_match(const struct vns_bpf_insn *code, const struct vns_frame *f)
{
	return bpf_filter((const struct bpf_insn *)(const void *)code, f->data, f->wire_len,
			  f->cap_len) != 0;
}
