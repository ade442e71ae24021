// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pcap-filter(7) expression -> classic BPF, and BPF run on a frame: libpcap's compiler and
 * interpreter. The only file that touches libpcap.
 *
 * In BPF "tcp" means no frame with a VLAN tag. Live the kernel takes the outermost tag out of the bytes before
 * the filter sees them, so one side of a link would be filtered otherwise than the other, and a file
 * otherwise than its live capture: of files the tags are taken out, too (file.c: up to four, so that a frame with
 * two passes there that live does not), unless the expression speaks of the link layer itself.
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

bool vns_filter_of_links(const char *expr)
{
	static const char *const words[] = { "vlan", "ether", "link", "mpls", "pppoed", "pppoes", "wlan" };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-.";

	for (const char *p = expr; *p;) {
		size_t n = strspn(p, letters);

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (n == strlen(words[i]) && memcmp(p, words[i], n) == 0)
				return true;
		p += n ? n : 1;
	}
	return false;
}

uint32_t vns_filter_tags(const struct vns_frame *f)
{
	enum { ADDRESSES = 12, TAG = 4, TYPE = 2, MOST = 4 };
	uint32_t n = 0;

	if (f->linktype != VNS_LINK_ETHERNET)
		return 0;
	for (const uint8_t *p = f->data + ADDRESSES; n < MOST * TAG && f->cap_len >= ADDRESSES + n + TAG + TYPE;
	     n += TAG, p += TAG) {
		uint32_t type = (uint32_t)p[0] << 8 | p[1];

		if (type != 0x8100 && type != 0x88a8 && type != 0x9100) /* 802.1Q, 802.1ad, QinQ before it */
			break;
	}
	return n;
}
