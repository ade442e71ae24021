// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Stable short names of the kinds of round trips, for output.
 */
#include <vnetscope/rtt.h>

const char *vns_rtt_kind_name(enum vns_rtt_kind kind)
{
	static const char *const names[VNS_RTT_KINDS] = {
		[VNS_RTT_TS] = "ts",
		[VNS_RTT_SEQ] = "seq",
		[VNS_RTT_HANDSHAKE] = "handshake",
		[VNS_RTT_ICMP] = "icmp",
		[VNS_RTT_DNS] = "dns",
		[VNS_RTT_QUIC_HANDSHAKE] = "quic_handshake",
		[VNS_RTT_QUIC_SPIN] = "quic_spin",
	};

	return (unsigned int)kind < VNS_RTT_KINDS ? names[kind] : "unknown";
}
