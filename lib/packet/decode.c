// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Bytes of a frame -> struct vns_packet: link and network layers; transport.c has the rest.
 *
 * Ethernet (IEEE 802.3, LLC/SNAP), 802.1Q/802.1ad, MPLS (RFC 3032), PPPoE (RFC 2516), Linux
 * cooked v1/v2, BSD loopback, raw IP; IPv4 (RFC 791), IPv6 and its extension headers (RFC 8200).
 * Each layer takes a span and returns the verdict of what is inside. Tunnels come back here
 * through vns_decode_ethertype(), so the innermost packet is what stays in the struct.
 * Headers are read by unaligned loads; every read is preceded by one length check.
 */
#include "packet/usual.h"

enum {
	ETH_IPV4 = 0x0800,
	ETH_IPV6 = 0x86dd,
	ETH_TEB = 0x6558,     /* transparent Ethernet bridging */
	ETH_MPLS = 0x8847,
	ETH_MPLS_MC = 0x8848,
	ETH_PPPOE = 0x8864,
	ETH_QTAG = 0x8100,
	ETH_STAG = 0x88a8,
	ETH_QINQ_OLD1 = 0x9100,
	ETH_QINQ_OLD2 = 0x9200,
	ETH_MIN_TYPE = 0x0600, /* lower values are 802.3 lengths */
};

enum { IP6_HOPOPTS = 0, IP6_ROUTING = 43, IP6_FRAGMENT = 44, IP_AH = 51, IP6_DSTOPTS = 60,
       IP6_MOBILITY = 135, IP6_HIP = 139, IP6_SHIM6 = 140 };

#define IP6_MAX_EXT_HEADERS 16 /* far more than any stack sends */

/*
 * Trim @s to the @len bytes of the IP packet, so that link-layer padding and trailers are gone.
 * Return: false when the packet claims more than was on the wire.
 */
static inline bool trim(struct vns_span *s, uint32_t len)
{
	if (unlikely(len > s->wire))
		return false;
	s->wire = len;
	if (s->cap > len)
		s->cap = len;
	return true;
}

/* Total length 0: a superframe captured before segmentation. Its length is the wire's. */
static bool guess_length(struct vns_packet *out, const struct vns_span *s, uint32_t *len)
{
	if (s->wire == VNS_WIRE_UNKNOWN)
		return false;
	out->flags |= VNS_PKT_F_LEN_GUESSED;
	*len = s->wire;
	return true;
}

static enum vns_verdict ipv4(struct vns_packet *out, struct vns_span s)
{
	const uint8_t *h = s.p;
	uint32_t len, ihl, frag;
	struct vns_net net;

	if (unlikely(s.cap < 20))
		return vns_span_lack(&s, 20);
	ihl = (h[0] & 0x0fu) * 4;
	len = vns_be16(h + 2);
	if (unlikely(h[0] >> 4 != 4 || ihl < 20))
		return VNS_PKT_MALFORMED;
	if (unlikely(len == 0) && !guess_length(out, &s, &len))
		return VNS_PKT_MALFORMED;
	if (unlikely(len < ihl || !trim(&s, len)))
		return VNS_PKT_MALFORMED;
	net = (struct vns_net){ .src = h + 12, .dst = h + 16, .ipproto = h[9] };
	out->key.family = 4;
	out->ip_id = vns_be16(h + 4);
	out->ttl = h[8];
	if ((h[16] & 0xf0) == 0xe0 || vns_be32(h + 16) == UINT32_MAX)
		out->flags |= VNS_PKT_F_MULTICAST;
	if (unlikely(s.cap < ihl))
		return VNS_PKT_CUT;
	vns_span_skip(&s, ihl);
	frag = vns_be16(h + 6);
	if (unlikely(frag & 0x3fff)) {
		out->frag_off = (uint16_t)((frag & 0x1fff) * 8);
		if (out->frag_off)
			return vns_decode_later_fragment(out, s, &net);
		out->flags |= VNS_PKT_F_FIRST_FRAG;
		net.first_frag = true;
	}
	if (likely(net.ipproto == VNS_IP_TCP))
		return vns_decode_tcp(out, &s, &net);
	return vns_decode_transport(out, s, &net);
}

/* One IPv6 fragment header (RFC 8200 4.5) at @s. Return: true when transport follows. */
static bool ip6_fragment(struct vns_packet *out, const struct vns_span *s, struct vns_net *net)
{
	uint32_t off = vns_be16(s->p + 2);

	out->ip_id = vns_be32(s->p + 4);
	out->frag_off = (uint16_t)(off & 0xfff8);
	if (out->frag_off)
		return false;
	if (off & 1) {
		out->flags |= VNS_PKT_F_FIRST_FRAG;
		net->first_frag = true;
	}
	return true;
}

/* Length of extension header @type at @p (8 bytes are readable); 0: not an extension header. */
static uint32_t ip6_ext_len(uint8_t type, const uint8_t *p)
{
	switch (type) {
	case IP6_HOPOPTS:
	case IP6_ROUTING:
	case IP6_DSTOPTS:
	case IP6_MOBILITY:
	case IP6_HIP:
	case IP6_SHIM6:
		return (p[1] + 1u) * 8;
	case IP6_FRAGMENT:
		return 8;
	case IP_AH:
		return (p[1] + 2u) * 4;
	default:
		return 0;
	}
}

static bool is_ext_header(uint8_t type)
{
	static const uint8_t shape[8] = { 0, 0xff };

	return ip6_ext_len(type, shape) != 0;
}

/* Walk extension headers from @net->ipproto on, then the transport. */
static enum vns_verdict ip6_chain(struct vns_packet *out, struct vns_span s, struct vns_net *net)
{
	for (int n = 0; is_ext_header(net->ipproto); n++) {
		uint8_t type = net->ipproto;
		uint32_t len;

		if (s.cap < 8)
			return vns_span_lack(&s, 8);
		len = ip6_ext_len(type, s.p);
		if (n == IP6_MAX_EXT_HEADERS || len > s.wire)
			return VNS_PKT_MALFORMED;
		net->ipproto = s.p[0];
		if (type == IP6_FRAGMENT && !ip6_fragment(out, &s, net)) {
			vns_span_skip(&s, 8);
			return vns_decode_later_fragment(out, s, net);
		}
		if (len > s.cap)
			return VNS_PKT_CUT;
		vns_span_skip(&s, len);
	}
	return vns_decode_transport(out, s, net);
}

static enum vns_verdict ipv6(struct vns_packet *out, struct vns_span s)
{
	enum { NO_NEXT_HEADER = 59 };
	const uint8_t *h = s.p;
	uint32_t len;
	struct vns_net net;

	if (unlikely(s.cap < 40))
		return vns_span_lack(&s, 40);
	if (unlikely(h[0] >> 4 != 6))
		return VNS_PKT_MALFORMED;
	len = vns_be16(h + 4) + 40u;
	/* 0 is a jumbogram (RFC 2675) or a superframe; nothing real but "no next header" is empty */
	if (unlikely(len == 40 && h[6] != NO_NEXT_HEADER) && !guess_length(out, &s, &len))
		return VNS_PKT_MALFORMED;
	if (unlikely(!trim(&s, len)))
		return VNS_PKT_MALFORMED;
	net = (struct vns_net){ .src = h + 8, .dst = h + 24, .ipproto = h[6] };
	out->key.family = 6;
	out->ttl = h[7];
	if (h[24] == 0xff)
		out->flags |= VNS_PKT_F_MULTICAST;
	vns_span_skip(&s, 40);
	if (likely(net.ipproto == VNS_IP_TCP))
		return vns_decode_tcp(out, &s, &net);
	return ip6_chain(out, s, &net);
}

enum vns_verdict vns_decode_ip(struct vns_packet *out, struct vns_span s)
{
	if (s.cap < 1)
		return vns_span_lack(&s, 1);
	switch (s.p[0] >> 4) {
	case 4:
		return ipv4(out, s);
	case 6:
		return ipv6(out, s);
	default:
		return VNS_PKT_NOT_IP;
	}
}

/* Labels down to the bottom of the stack; what follows is told by its first nibble. */
static enum vns_verdict mpls(struct vns_packet *out, struct vns_span s)
{
	bool bottom;

	do {
		if (s.cap < 4)
			return vns_span_lack(&s, 4);
		bottom = s.p[2] & 1;
		vns_span_skip(&s, 4);
	} while (!bottom);
	return vns_decode_ip(out, s);
}

/* Header of 6 bytes, then the PPP protocol in two bytes, or in one when compressed (odd). */
static enum vns_verdict pppoe(struct vns_packet *out, struct vns_span s)
{
	enum { PPP_IPV4 = 0x21, PPP_IPV6 = 0x57 };
	uint32_t proto;

	if (s.cap < 8)
		return vns_span_lack(&s, 8);
	if (s.p[0] != 0x11 || s.p[1] != 0)
		return VNS_PKT_NOT_IP;
	proto = s.p[6] & 1 ? s.p[6] : vns_be16(s.p + 6);
	vns_span_skip(&s, s.p[6] & 1 ? 7 : 8);
	return proto == PPP_IPV4 || proto == PPP_IPV6 ? vns_decode_ip(out, s) : VNS_PKT_NOT_IP;
}

static bool is_vlan(uint16_t type)
{
	return type == ETH_QTAG || type == ETH_STAG || type == ETH_QINQ_OLD1 ||
	       type == ETH_QINQ_OLD2;
}

enum vns_verdict vns_decode_ethertype(struct vns_packet *out, struct vns_span s, uint16_t type)
{
	while (is_vlan(type)) {
		if (s.cap < 4)
			return vns_span_lack(&s, 4);
		out->flags |= VNS_PKT_F_VLAN;
		out->vlan = vns_be16(s.p) & 0x0fff;
		type = vns_be16(s.p + 2);
		vns_span_skip(&s, 4);
	}
	switch (type) {
	case ETH_IPV4:
		return ipv4(out, s);
	case ETH_IPV6:
		return ipv6(out, s);
	case ETH_MPLS:
	case ETH_MPLS_MC:
		return mpls(out, s);
	case ETH_PPPOE:
		return pppoe(out, s);
	case ETH_TEB:
		return vns_decode_ethernet(out, s);
	default:
		return VNS_PKT_NOT_IP;
	}
}

/* IEEE 802.2 LLC: only SNAP with an Ethernet type can hold IP (RFC 1042). */
static enum vns_verdict llc(struct vns_packet *out, struct vns_span s)
{
	static const uint8_t snap[6] = { 0xaa, 0xaa, 0x03 };
	uint16_t type;

	if (s.cap < 8)
		return s.wire < 8 ? VNS_PKT_NOT_IP : VNS_PKT_CUT;
	type = vns_be16(s.p + 6);
	if (memcmp(s.p, snap, sizeof(snap)) != 0 || type < ETH_MIN_TYPE)
		return VNS_PKT_NOT_IP;
	vns_span_skip(&s, 8);
	return vns_decode_ethertype(out, s, type);
}

enum vns_verdict vns_decode_ethernet(struct vns_packet *out, struct vns_span s)
{
	uint16_t type;

	if (unlikely(s.cap < 14))
		return vns_span_lack(&s, 14);
	out->flags |= s.p[0] & 1 ? VNS_PKT_F_MULTICAST : 0;
	type = vns_be16(s.p + 12);
	vns_span_skip(&s, 14);
	if (likely(type == ETH_IPV4))
		return ipv4(out, s);
	return likely(type >= ETH_MIN_TYPE) ? vns_decode_ethertype(out, s, type) : llc(out, s);
}

/* Linux cooked: packet type 1 broadcast, 2 multicast, 4 sent by us. */
static enum vns_verdict cooked(struct vns_packet *out, struct vns_span s, bool v2)
{
	enum { HEADER_V1 = 16, HEADER_V2 = 20, ARPHRD_NETLINK_ = 824 };
	uint32_t len = v2 ? HEADER_V2 : HEADER_V1;
	uint32_t pkttype, arphrd;
	uint16_t type;

	if (s.cap < len)
		return vns_span_lack(&s, len);
	pkttype = v2 ? s.p[10] : vns_be16(s.p);
	arphrd = vns_be16(s.p + (v2 ? 8 : 2));
	type = vns_be16(s.p + (v2 ? 0 : 14));
	out->flags |= pkttype == 4 ? VNS_PKT_F_OUTGOING : 0;
	out->flags |= pkttype == 1 || pkttype == 2 ? VNS_PKT_F_MULTICAST : 0;
	vns_span_skip(&s, len);
	if (arphrd == ARPHRD_NETLINK_)
		return VNS_PKT_NOT_IP;
	return vns_decode_ethertype(out, s, type);
}

/* BSD loopback: the family's number depends on system and byte order; small either way. */
static enum vns_verdict loopback(struct vns_packet *out, struct vns_span s)
{
	uint32_t family;

	if (s.cap < 4)
		return vns_span_lack(&s, 4);
	family = vns_be32(s.p);
	if (family > 0xffff)
		family = __builtin_bswap32(family);
	vns_span_skip(&s, 4);
	/* AF_INET everywhere; AF_INET6 of Linux, NetBSD/OpenBSD, FreeBSD, macOS */
	if (family == 2 || family == 10 || family == 24 || family == 28 || family == 30)
		return vns_decode_ip(out, s);
	return VNS_PKT_NOT_IP;
}

static enum vns_verdict other_link(struct vns_packet *out, struct vns_span s, uint32_t linktype)
{
	switch (linktype) {
	case VNS_LINK_LINUX_SLL:
		return cooked(out, s, false);
	case VNS_LINK_LINUX_SLL2:
		return cooked(out, s, true);
	case VNS_LINK_RAW:
	case VNS_LINK_RAW_BSD:
	case VNS_LINK_RAW_OPENBSD:
	case VNS_LINK_IPV4:
	case VNS_LINK_IPV6:
		return vns_decode_ip(out, s);
	case VNS_LINK_NULL:
	case VNS_LINK_LOOP:
		return loopback(out, s);
	default:
		return VNS_PKT_BAD_LINKTYPE;
	}
}

enum vns_verdict vns_decode_layers(const struct vns_frame *frame, struct vns_span s,
				   struct vns_packet *out)
{
	enum vns_verdict v = frame->linktype == VNS_LINK_ETHERNET ? vns_decode_ethernet(out, s) :
				     other_link(out, s, frame->linktype);

	if (unlikely(frame->flags & VNS_FRAME_NO_TIME))
		v = VNS_PKT_NO_TIME;
	return v;
}

enum vns_verdict vns_packet_decode_without(const struct vns_frame *frame, unsigned int without,
					   struct vns_packet *out)
{
	struct vns_span s = { .p = frame->data, .cap = frame->cap_len, .wire = frame->wire_len };
	enum vns_verdict v = VNS_PKT_OK;

	/* a capture cannot hold more than was on the wire: believe the bytes */
	if (unlikely(s.wire < s.cap))
		s.wire = s.cap;
	usual_clear(out);
	out->time_ns = frame->time_ns;
	out->wire_len = s.wire;
	out->cap_len = s.cap;
	out->point = frame->point;
	out->flags = frame->flags & (VNS_PKT_F_OUTGOING | VNS_PKT_F_VLAN);
	out->vlan = frame->vlan;
	if (likely(frame->linktype == VNS_LINK_ETHERNET && !(frame->flags & VNS_FRAME_NO_TIME)) &&
	    vns_decode_usual(out, s, !(without & VNS_WITHOUT_DIGEST)))
		return v;
	v = vns_decode_layers(frame, s, out);
	if (without & VNS_WITHOUT_DIGEST)
		out->digest = 0;
	out->verdict = (uint8_t)v;
	return v;
}

enum vns_verdict vns_packet_decode(const struct vns_frame *frame, struct vns_packet *out)
{
	return vns_packet_decode_without(frame, 0, out);
}
