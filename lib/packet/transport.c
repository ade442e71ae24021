// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * IP payload -> transport fields, flow key, flow hash and digest of struct vns_packet.
 *
 * TCP (RFC 9293, timestamps RFC 7323, SACK RFC 2018), UDP (RFC 768), ICMP (RFC 792), ICMPv6 (RFC 4443), and the
 * tunnels VXLAN (RFC 7348), Geneve (RFC 8926), GRE (RFC 2784, 2890), IP in IP (RFC 2003, 4213).
 * The span is exactly the IP payload: its wire length is what the IP header says, so padding is
 * already gone and lengths here are the sender's.
 */
#include "packet/datagram.h"
#include "packet/tcp.h"

enum { IPPROTO_NR_IPIP = 4, IPPROTO_NR_IPV6 = 41, IPPROTO_NR_GRE = 47 };

uint64_t vns_flow_key_hash(const struct vns_flow_key *key)
{
	const uint8_t *a0 = key->addr[0].b, *a1 = key->addr[1].b;
	uint64_t ports = port_word(key->port[0], key->port[1], key->ipproto, key->family);

	if (key->family == 4)
		return hash_v4(vns_be32(a0 + 12), vns_be32(a1 + 12), ports);
	return hash_v6(address_value(a0), address_value(a1), ports);
}

static enum vns_proto proto_of(uint8_t ipproto)
{
	switch (ipproto) {
	case VNS_IP_TCP:
		return VNS_PROTO_TCP;
	case VNS_IP_UDP:
		return VNS_PROTO_UDP;
	case VNS_IP_ICMP:
	case VNS_IP_ICMPV6:
		return VNS_PROTO_ICMP;
	default:
		return VNS_PROTO_NONE;
	}
}

/* One whole option at @p that may be the timestamp or a SACK; @size bytes. */
static void keep_option(struct vns_packet *out, const uint8_t *p, uint32_t size)
{
	enum { SACK = 5, ONE_BLOCK = 10, TIMESTAMP = 8, TIMESTAMP_LEN = 10 };

	if (p[0] == TIMESTAMP && size == TIMESTAMP_LEN) {
		out->tsval = vns_be32(p + 2);
		out->tsecr = vns_be32(p + 6);
		out->flags |= VNS_PKT_F_HAS_TS;
	} else if (p[0] == SACK && size >= ONE_BLOCK) {
		out->sack_left = vns_be32(p + 2);
		out->sack_right = vns_be32(p + 6);
		out->flags |= VNS_PKT_F_HAS_SACK;
	}
}

/*
 * TCP options from @p, @cap of @len bytes readable. Timestamp and SACK are wanted; a broken
 * option ends the walk as it does in the receiving stack.
 */
void vns_tcp_options(struct vns_packet *out, const uint8_t *p, uint32_t cap, uint32_t len)
{
	enum { END = 0, NOP = 1, SACK = 5, TIMESTAMP = 8, WANTED = 10 };
	uint32_t i = 0;

	while (i < cap && p[i] != END) {
		if (p[i] == NOP) {
			i++;
			continue;
		}
		if (i + 1 >= cap)
			break;
		if (p[i + 1] < 2 || p[i + 1] > len - i)
			return;
		if (p[i] == TIMESTAMP || p[i] == SACK) {
			if (i + WANTED > cap && p[i + 1] >= WANTED)
				break;
			keep_option(out, p + i, p[i + 1]);
		}
		i += p[i + 1];
	}
	if (!(out->flags & VNS_PKT_F_HAS_TS) && cap < len && (i >= cap || p[i] != END))
		out->flags |= VNS_PKT_F_OPTS_CUT | VNS_PKT_F_DIGEST_SHORT;
}

/* Forget what belonged to the outer packet; time, lengths, point and VLAN flag stay. */
static void enter_tunnel(struct vns_packet *out)
{
	memset(&out->key, 0, sizeof(out->key));
	out->digest = 0;
	out->flow_hash = 0;
	out->payload_len = 0;
	out->ip_id = 0;
	out->frag_off = 0;
	out->vlan = 0;
	out->dir = 0;
	out->proto = VNS_PROTO_NONE;
	out->ttl = 0;
	out->flags &= VNS_PKT_F_OUTGOING | VNS_PKT_F_VLAN;
	out->tunnel_depth++;
}

/*
 * Inside of a UDP payload when it carries a tunnel we know.
 * Return: true with the verdict of the inside in *@v; false when it is plain UDP.
 */
static bool udp_tunnel(struct vns_packet *out, struct vns_span s, uint16_t dport,
		       enum vns_verdict *v)
{
	enum { HEADER = 8, VXLAN_I = 0x08, ETHERTYPE_TEB = 0x6558 };
	uint32_t len = HEADER;
	uint16_t type = ETHERTYPE_TEB;

	if (out->tunnel_depth == VNS_MAX_TUNNELS || s.wire < HEADER)
		return false;
	if (s.cap < HEADER) {
		*v = VNS_PKT_CUT;
		return true;
	}
	if (dport == VNS_PORT_VXLAN) {
		if (!(s.p[0] & VXLAN_I))
			return false;
	} else {
		len += (s.p[0] & 0x3fu) * 4;
		type = vns_be16(s.p + 2);
		if (s.p[0] >> 6 != 0 || len > s.wire)
			return false;
	}
	enter_tunnel(out);
	*v = VNS_PKT_CUT;
	if (s.cap >= len) {
		vns_span_skip(&s, len);
		*v = vns_decode_ethertype(out, s, type);
	}
	return true;
}

static enum vns_verdict udp(struct vns_packet *out, struct vns_span s, const struct vns_net *net)
{
	enum { HEADER = 8, NEEDED = 6 };
	uint16_t sport, dport;
	uint32_t len;
	enum vns_verdict v;

	out->proto = VNS_PROTO_UDP;
	if (unlikely(s.cap < NEEDED))
		return vns_span_lack(&s, HEADER);
	sport = vns_be16(s.p);
	dport = vns_be16(s.p + 2);
	len = vns_be16(s.p + 4);
	set_key(out, net, sport, dport);
	/* 0: jumbogram or superframe. More than the IP packet holds: only while fragmented. */
	if (unlikely(s.wire < HEADER || (len && len < HEADER) ||
		     (len > s.wire && !net->first_frag)))
		return VNS_PKT_MALFORMED;
	out->payload_len = s.wire - HEADER;
	s.p += s.cap < HEADER ? s.cap : HEADER;
	s.cap -= s.cap < HEADER ? s.cap : HEADER;
	s.wire -= HEADER;
	if (unlikely(dport == VNS_PORT_VXLAN || dport == VNS_PORT_GENEVE)) {
		struct vns_span inner = s;

		if (net->first_frag)
			inner.wire = VNS_WIRE_UNKNOWN;
		if (udp_tunnel(out, inner, dport, &v))
			return v;
	}
	payload_digest(out, VNS_IP_UDP, 0, &s);
	vns_decode_udp_payload(out, &s, sport, dport);
	return VNS_PKT_OK;
}

/* Every ICMP message of use has 8 bytes before its body; for echo they hold id and sequence. */
static enum vns_verdict icmp(struct vns_packet *out, struct vns_span s, const struct vns_net *net)
{
	enum { HEADER = 8 };
	uint16_t id = 0;
	uint32_t rest;

	out->proto = VNS_PROTO_ICMP;
	if (s.cap < HEADER)
		return vns_span_lack(&s, HEADER);
	out->icmp_type = s.p[0];
	out->icmp_code = s.p[1];
	rest = vns_be32(s.p + 4);
	if (icmp_is_echo(net->ipproto, out->icmp_type)) {
		out->icmp_ident = id = (uint16_t)(rest >> 16);
		out->icmp_seqno = (uint16_t)rest;
		rest &= 0xffff; /* the identifier is the flow's port: NAT may change it */
	}
	set_key(out, net, id, id);
	vns_span_skip(&s, HEADER);
	out->payload_len = s.wire;
	payload_digest(out, icmp_digest_head(out, net->ipproto), rest, &s);
	return VNS_PKT_OK;
}

static enum vns_verdict other_l4(struct vns_packet *out, const struct vns_span *s,
				 const struct vns_net *net)
{
	set_key(out, net, 0, 0);
	out->payload_len = s->wire;
	payload_digest(out, net->ipproto, 0, s);
	return VNS_PKT_OTHER_L4;
}

/* GRE version 0 without source routing. Return: length of the header, 0 when it is another. */
static uint32_t gre_len(const uint8_t *p)
{
	enum { CHECKSUM = 0x8000, ROUTING = 0x4000, KEY = 0x2000, SEQ = 0x1000, VERSION = 7 };
	uint32_t flags = vns_be16(p);

	if (flags & (ROUTING | VERSION))
		return 0;
	return 4u + (flags & CHECKSUM ? 4 : 0) + (flags & KEY ? 4 : 0) + (flags & SEQ ? 4 : 0);
}

/* GRE, IP in IP, IPv6 in IP. */
static enum vns_verdict ip_tunnel(struct vns_packet *out, struct vns_span s,
				  const struct vns_net *net)
{
	uint32_t len = 0;
	uint16_t type = 0;

	if (net->ipproto == IPPROTO_NR_GRE) {
		if (s.cap < 4)
			return vns_span_lack(&s, 4);
		len = gre_len(s.p);
		type = vns_be16(s.p + 2);
		if (!len)
			return other_l4(out, &s, net);
	}
	if (out->tunnel_depth == VNS_MAX_TUNNELS)
		return other_l4(out, &s, net);
	if (s.cap < len)
		return vns_span_lack(&s, len);
	vns_span_skip(&s, len);
	if (net->first_frag)
		s.wire = VNS_WIRE_UNKNOWN;
	enter_tunnel(out);
	return len ? vns_decode_ethertype(out, s, type) : vns_decode_ip(out, s);
}

enum vns_verdict vns_decode_later_fragment(struct vns_packet *out, struct vns_span s,
					   const struct vns_net *net)
{
	out->flags |= VNS_PKT_F_LATER_FRAG;
	out->proto = (uint8_t)proto_of(net->ipproto);
	out->payload_len = s.wire;
	set_key(out, net, 0, 0);
	payload_digest(out, (uint64_t)out->ip_id << 32 | (uint64_t)out->frag_off << 8 | net->ipproto,
		   0, &s);
	return VNS_PKT_FRAGMENT;
}

enum vns_verdict vns_decode_transport(struct vns_packet *out, struct vns_span s,
				      const struct vns_net *net)
{
	if (likely(net->ipproto == VNS_IP_TCP))
		return vns_decode_tcp(out, &s, net);
	switch (net->ipproto) {
	case VNS_IP_UDP:
		return udp(out, s, net);
	case VNS_IP_ICMP:
	case VNS_IP_ICMPV6:
		return icmp(out, s, net);
	case IPPROTO_NR_GRE:
	case IPPROTO_NR_IPIP:
	case IPPROTO_NR_IPV6:
		return ip_tunnel(out, s, net);
	default:
		return other_l4(out, &s, net);
	}
}
