// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Stable short names of verdicts and protocols, for output.
 */
#include <vnetscope/packet.h>

const char *vns_verdict_name(enum vns_verdict v)
{
	static const char *const names[VNS_PKT_VERDICTS] = {
		[VNS_PKT_OK] = "ok",
		[VNS_PKT_NOT_IP] = "not_ip",
		[VNS_PKT_OTHER_L4] = "other_l4",
		[VNS_PKT_FRAGMENT] = "fragment",
		[VNS_PKT_CUT] = "cut",
		[VNS_PKT_MALFORMED] = "malformed",
		[VNS_PKT_BAD_LINKTYPE] = "bad_linktype",
		[VNS_PKT_NO_TIME] = "no_time",
	};

	return (unsigned int)v < VNS_PKT_VERDICTS ? names[v] : "unknown";
}

const char *vns_proto_name(enum vns_proto p)
{
	static const char *const names[VNS_PROTOS] = {
		[VNS_PROTO_NONE] = "none",
		[VNS_PROTO_TCP] = "tcp",
		[VNS_PROTO_UDP] = "udp",
		[VNS_PROTO_ICMP] = "icmp",
	};

	return (unsigned int)p < VNS_PROTOS ? names[p] : "unknown";
}
