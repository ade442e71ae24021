/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/packet.h - bytes of a frame to one plain struct, decoded once.
 *
 * Everything downstream (RTT, twins, stages) works on struct vns_packet and never
 * sees bytes again. Decoding never reads past the captured bytes, never allocates
 * and never fails: what is malformed or foreign is a verdict, and is counted.
 */
#ifndef VNETSCOPE_PACKET_H
#define VNETSCOPE_PACKET_H

#include <vnetscope/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Link types, numbered as in pcap files (LINKTYPE_*, tcpdump.org/linktypes.html). */
enum vns_linktype {
	VNS_LINK_NULL = 0,       /* BSD loopback: 4 bytes family, writer's byte order */
	VNS_LINK_ETHERNET = 1,
	VNS_LINK_RAW_BSD = 12,   /* DLT_RAW on most systems */
	VNS_LINK_RAW_OPENBSD = 14,
	VNS_LINK_RAW = 101,      /* raw IP, version from the first nibble */
	VNS_LINK_LOOP = 108,     /* OpenBSD loopback: 4 bytes family, network order */
	VNS_LINK_LINUX_SLL = 113,
	VNS_LINK_IPV4 = 228,
	VNS_LINK_IPV6 = 229,
	VNS_LINK_LINUX_SLL2 = 276,
};

/** enum vns_verdict - what decoding came to; every frame gets exactly one. */
enum vns_verdict {
	VNS_PKT_OK = 0,          /* network and transport header decoded */
	VNS_PKT_NOT_IP,          /* ARP, LLDP, STP ...: fine, but nothing for us */
	VNS_PKT_OTHER_L4,        /* IP with a transport we do not read (SCTP, ESP, IGMP ...) */
	VNS_PKT_FRAGMENT,        /* later fragment: no transport header; addresses and ids are set */
	VNS_PKT_CUT,             /* the capture cut a header we need */
	VNS_PKT_MALFORMED,       /* a length or field contradicts itself */
	VNS_PKT_BAD_LINKTYPE,    /* the link layer is not supported */
	VNS_PKT_NO_TIME,         /* the capture holds no time for it: nothing can be measured */
	VNS_PKT_VERDICTS
};
/** vns_verdict_name() - short stable name ("ok", "not_ip", ...) for output. */
const char *vns_verdict_name(enum vns_verdict v);

/** enum vns_proto - transports the engines know; indices for small tables. */
enum vns_proto {
	VNS_PROTO_NONE = 0,
	VNS_PROTO_TCP,
	VNS_PROTO_UDP,
	VNS_PROTO_ICMP,          /* ICMPv4 and ICMPv6 */
	VNS_PROTOS
};
const char *vns_proto_name(enum vns_proto p);

/* TCP flags as on the wire (RFC 9293 3.1). */
#define VNS_TCP_FIN 0x01
#define VNS_TCP_SYN 0x02
#define VNS_TCP_RST 0x04
#define VNS_TCP_PSH 0x08
#define VNS_TCP_ACK 0x10
#define VNS_TCP_URG 0x20

/*
 * struct vns_packet.flags. MULTICAST, FIRST_FRAG, LATER_FRAG and LEN_GUESSED describe the
 * innermost packet, VLAN any level. A TCP header whose options are cut still is VNS_PKT_OK.
 */
#define VNS_PKT_F_HAS_TS       0x0001 /* TCP timestamp option present: tsval, tsecr valid */
#define VNS_PKT_F_FIRST_FRAG   0x0002 /* first fragment of a fragmented datagram */
#define VNS_PKT_F_LATER_FRAG   0x0004
#define VNS_PKT_F_VLAN         0x0008 /* at least one 802.1Q/802.1ad tag */
#define VNS_PKT_F_DIGEST_SHORT 0x0010 /* fewer bytes captured than the digest wants */
#define VNS_PKT_F_OUTGOING     0x0020 /* cooked or live capture says: sent by this host */
#define VNS_PKT_F_OPTS_CUT     0x0040 /* TCP options cut by the snap length: no timestamp known */
#define VNS_PKT_F_LEN_GUESSED  0x0080 /* IP total length 0 (offload): taken from the wire length */
#define VNS_PKT_F_MULTICAST    0x0100 /* link-layer or IP multicast/broadcast destination */
#define VNS_PKT_F_HAS_SACK     0x0200 /* TCP SACK option with a block: sack_left, sack_right valid */
#define VNS_PKT_F_DNS_TCP      0x0400 /* TCP segment of port 53 with payload: its first words, see dns_len */
#define VNS_PKT_F_DNS          0x4000 /* UDP payload, or begin of a TCP segment: DNS; dns_id, dns_flags valid */
#define VNS_PKT_F_QUIC         0x8000 /* UDP payload may be QUIC: quic_* valid */

/* struct vns_packet.dns_flags: as on the wire (RFC 1035 4.1.1). */
#define VNS_DNS_QR     0x8000 /* a response */
#define VNS_DNS_OPCODE 0x7800

/**
 * enum vns_quic_type - the first QUIC packet of a datagram (RFC 9000 17; version 2: RFC 9369).
 * VNS_QUIC_SHORT_0 and _1 are short headers by their spin bit. A short header names no version: any
 * UDP payload of at least 21 bytes that begins with the bits 01 (on port 443: with 0) looks like one,
 * and only a flow whose long headers were seen, or port 443 with the fixed bit, makes it QUIC.
 */
enum vns_quic_type {
	VNS_QUIC_NONE = 0,
	VNS_QUIC_SHORT_0,
	VNS_QUIC_SHORT_1,
	VNS_QUIC_INITIAL,
	VNS_QUIC_0RTT,
	VNS_QUIC_HANDSHAKE,
	VNS_QUIC_RETRY,
	VNS_QUIC_NEGOTIATION,  /* version negotiation */
	VNS_QUIC_OTHER,        /* long header of a version we do not know, port 443 only */
};

/** Bytes of a connection ID that a packet keeps, from its first. */
#define VNS_QUIC_CID_BYTES 8
/** quic_dcid_len, quic_scid_len: the length was not captured. */
#define VNS_QUIC_CID_CUT 0xff

/**
 * Payload bytes that enter the digest of UDP, ICMP and unknown transports: what a snap length of
 * 96 leaves behind Ethernet (14), two VLAN tags (8), IPv6 (40) and UDP (8), in whole words.
 */
#define VNS_DIGEST_PAYLOAD_BYTES 24

/**
 * struct vns_flow_key - direction-free flow identity.
 * Endpoint 0 is the lower of the two (address, then port, compared as bytes, then as number).
 * @addr:   v4-mapped for IPv4
 * @port:   host byte order; ICMP echo: the identifier in both; other ICMP: 0
 * @ipproto: IP protocol number (6, 17, 1, 58)
 * @family: 4 or 6
 * @zero:   always 0, so that keys compare with memcmp
 */
struct vns_flow_key {
	struct vns_addr addr[2];
	uint16_t port[2];
	uint8_t ipproto;
	uint8_t family;
	uint8_t zero[2];
};

/**
 * struct vns_packet - one decoded frame; two cache lines; plain data.
 *
 * @time_ns:   capture timestamp, ns since the epoch, clock of the capture point
 * @digest:    64-bit hash of what no hop changes, NAT neither: IP protocol, payload length, TCP
 *             seq/ack/flags/timestamps; for the others ICMP type/code/seq and the first
 *             VNS_DIGEST_PAYLOAD_BYTES of payload. Later fragments: IP ID and offset too.
 *             Not in it: TTL, checksums, MAC, VLAN, window, DSCP, IP ID of whole packets,
 *             addresses, ports, ICMP echo's identifier (add flow_hash for those). The same on every
 *             machine and run; the same for every snap length unless VNS_PKT_F_DIGEST_SHORT says
 *             otherwise.
 * @flow_hash: hash of @key, the same in both directions
 * @key, @dir: flow; dir = 0 when the packet goes from endpoint 0 to endpoint 1
 * @wire_len, @cap_len: bytes on the wire and captured, link header included
 * @seq, @ack, @tcp_flags, @window, @tsval, @tsecr: TCP, host byte order
 * @payload_len: transport payload by the IP length, not by the captured bytes; behind a later
 *             fragment's or an unknown transport's IP header: all that follows it
 * @ip_id:     IPv4 identification, or IPv6 fragment identification; 0 if none
 * @frag_off:  fragment offset in bytes
 * @icmp_ident, @icmp_seqno, @icmp_type, @icmp_code: ICMP and ICMPv6
 * @dns_id, @dns_flags: in the place of the two ICMP fields, with VNS_PKT_F_DNS
 * @dns_len:   with VNS_PKT_F_DNS_TCP: the payload's first two bytes, the message's length where one begins there;
 *             dns_id and dns_flags are the next four then, also where they are no message's; 0 what was
 *             not captured
 * @dns_behind: in the place of ICMP's type: messages that begin in that segment behind the first one, by the
 *             lengths captured
 * @quic_type: enum vns_quic_type, in the place of TCP's fields as all quic_*, with VNS_PKT_F_QUIC
 * @quic_dcid, @quic_scid: first VNS_QUIC_CID_BYTES of the connection IDs as big-endian words, the
 *             rest zero. Of a short header: what follows its first byte, whatever the length
 * @quic_dcid_len, @quic_scid_len: of a long header; VNS_QUIC_CID_CUT when not captured. Of a short
 *             header dcid_len is the number of valid bytes in @quic_dcid, scid_len the fixed bit
 * @quic_version16: upper half of the version xor the lower
 * @proto:     enum vns_proto of the innermost packet
 * @verdict:   enum vns_verdict; the fields above are valid as far as it says
 * @tunnel_depth: number of tunnel headers removed (VXLAN, GRE, IP-in-IP ...)
 * @vlan:      innermost VLAN id of the innermost packet; 0 if none
 * @sack_left, @sack_right: first SACK block, [left, right): the one that holds the segment which
 *             caused this ACK (RFC 2018 section 4)
 * @point:     capture point, set by the caller or the source (interface index in a pcapng file)
 */
struct vns_packet {
	int64_t time_ns;
	uint64_t digest;
	uint64_t flow_hash;
	struct vns_flow_key key;
	uint32_t wire_len, cap_len;
	/* members of one union have the same width and order, so that any of them carries all */
	union {
		struct {
			uint32_t seq, ack;
			uint32_t tsval, tsecr;
		};
		struct {
			uint32_t quic_dcid[VNS_QUIC_CID_BYTES / 4];
			uint32_t quic_scid[VNS_QUIC_CID_BYTES / 4];
		};
	};
	uint32_t payload_len;
	uint32_t ip_id;
	union {
		uint16_t window;
		uint16_t quic_version16;
	};
	uint16_t frag_off;
	union {
		struct {
			uint16_t icmp_ident, icmp_seqno;
		};
		struct {
			uint16_t dns_id, dns_flags;
		};
	};
	uint16_t flags;
	uint16_t vlan;
	union {
		uint8_t tcp_flags;
		uint8_t quic_type;
	};
	union {
		struct {
			uint8_t icmp_type, icmp_code;
		};
		struct {
			uint8_t quic_dcid_len, quic_scid_len;
		};
		struct {
			uint8_t dns_behind, dns_zero;
		};
	};
	uint8_t dir;
	uint8_t proto;
	uint8_t verdict;
	uint8_t tunnel_depth;
	uint8_t ttl;
	uint16_t point;
	uint16_t dns_len;
	uint32_t sack_left, sack_right;
} __attribute__((aligned(64)));

/**
 * vns_flow_key_hash() - the hash that decoding leaves in @flow_hash, from a key alone.
 * The same on every machine and in every run.
 */
uint64_t vns_flow_key_hash(const struct vns_flow_key *key);

/** vns_packet_src() / vns_packet_dst() - borrowed pointer into @p->key. */
static inline const struct vns_addr *vns_packet_src(const struct vns_packet *p)
{
	return &p->key.addr[p->dir];
}
static inline const struct vns_addr *vns_packet_dst(const struct vns_packet *p)
{
	return &p->key.addr[!p->dir];
}
static inline uint16_t vns_packet_sport(const struct vns_packet *p)
{
	return p->key.port[p->dir];
}
static inline uint16_t vns_packet_dport(const struct vns_packet *p)
{
	return p->key.port[!p->dir];
}

/** struct vns_frame.flags: @time_ns only keeps it in order; the verdict will be VNS_PKT_NO_TIME. */
#define VNS_FRAME_NO_TIME 0x0001

/**
 * struct vns_frame - a captured frame before decoding; @data is borrowed.
 */
struct vns_frame {
	int64_t time_ns;
	const uint8_t *data;
	uint32_t cap_len, wire_len;
	uint32_t linktype;   /* enum vns_linktype */
	uint16_t point;
	uint16_t flags;      /* VNS_PKT_F_OUTGOING, VNS_PKT_F_VLAN as known from the capture, VNS_FRAME_* */
	uint16_t vlan;       /* id of a tag that the capture took out of the bytes (F_VLAN set) */
};

/**
 * vns_packet_decode() - decode @frame into @out (every field set).
 * Return: @out->verdict.
 */
enum vns_verdict vns_packet_decode(const struct vns_frame *frame, struct vns_packet *out);

/** What decoding may leave out, as bits. */
#define VNS_WITHOUT_DIGEST 0x1u /* digest is 0: nobody pairs or samples these packets */

/**
 * vns_packet_decode_without() - vns_packet_decode() for those who do not need all of it.
 * @without: VNS_WITHOUT_*; what they name is zero in @out and its work is saved where it counts
 */
enum vns_verdict vns_packet_decode_without(const struct vns_frame *frame, unsigned int without,
					   struct vns_packet *out);

/**
 * vns_packet_sampled() - is @p one of the 1 in @one_in that every capture point chooses alike?
 *
 * TCP by a hash of the client's port (the one of 32768 and above; of both ports where that tells
 * nothing), the same in both directions and for every segmentation: whole
 * connections are chosen. All else by the digest without the payload's length (hash-based selection, RFC 5475
 * 6.2.2), so packet by packet, and a frame of many datagrams or a datagram in fragments with the first of its
 * pieces (where that has VNS_DIGEST_PAYLOAD_BYTES of payload). A later fragment shows nothing of what its
 * first was chosen by: it is chosen by itself here, and `vo` lets it follow its first. No addresses enter: NAT that
 * keeps the client's port changes nothing. What 1 in 2N
 * chooses, 1 in N does too. Packets without a digest (foreign, cut or malformed ones) are always
 * chosen: they are counted, not paired. @one_in 0 or 1: every packet.
 */
bool vns_packet_sampled(const struct vns_packet *p, uint32_t one_in);

#ifdef __cplusplus
}
#endif
#endif
