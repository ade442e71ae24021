// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * A frame at tc ingress or egress -> one record in the ring (record.h).
 *
 * Decodes what nearly all traffic is: Ethernet with up to two VLAN tags, IPv4 with options, IPv6,
 * TCP with no option, the timestamp (RFC 7323, appendix A), or that and SACK as Linux lays them out,
 * UDP, ICMP. Everything else,
 * and every header that contradicts itself or is cut, is handed up as bytes to the decoder in
 * user space (lib/packet/), so that both ways give the same packet: this program must either
 * agree with it in every field or pass.
 *
 * Headers are read in the linear part of the buffer, where the kernel itself needs them. Of the packet nothing
 * is changed, and the next program or filter always runs (TCX_NEXT).
 *
 * A small program for each direction (lib/source/ebpf_filter.c) says in the scratch field cb[4] which it is, and goes on
 * here: with an image for each, the kernel would have to verify twice as much at every start, and caches to hold
 * twice as much (bench/ebpf_cost.c).
 *
 * The reader is not woken for every packet: that would cost the observed more than all the rest. Each
 * processor has a ring of its own (up to VNS_BPF_RINGS), since the lock and the position of one would move between
 * the caches of two that take turns, as both ends of a transaction do; the reader puts them in order.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <vnetscope/packet.h>

#include "bpf/record.h"
#include "packet/hash.h"

#define NEXT (-1) /* TCX_NEXT, TC_ACT_UNSPEC: go on as if we were not here */

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd, ETH_QTAG = 0x8100, ETH_STAG = 0x88a8 };
enum { IP_ICMP = 1, IP_TCP = 6, IP_UDP = 17, IP_ICMPV6 = 58 };
enum { PORT_DNS = 53, PORT_QUIC = 443, PORT_VXLAN = 4789, PORT_MDNS = 5353, PORT_GENEVE = 6081 };

const volatile struct vns_bpf_config conf = { .snaplen = VNS_BPF_RAW_SMALL };

struct vns_bpf_state state;

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* those put in are larger */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, VNS_BPF_RINGS);
	__type(key, uint32_t);
	__array(values, struct ring);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, uint32_t);
	__type(value, struct vns_bpf_counts);
} counts SEC(".maps");

/*
 * A packet on its way through the layers.
 * @p:       next header; @off bytes of the frame lie before it
 * @end:     of the linear part
 * @cap:     bytes of the frame that may be looked at
 * @len:     bytes from @p to the packet's end, as the IP header says
 */
struct walk {
	const uint8_t *p, *end;
	uint32_t off, cap, wire, len;
	const uint8_t *src, *dst;
	uint16_t flags, vlan;
	uint32_t ip_id;
	uint8_t ipproto, ttl, family;
	/* transport */
	uint16_t sport, dport;
	uint64_t digest;
	uint32_t payload_len, seq, ack, tsval, tsecr, sack_left, sack_right;
	uint16_t window, icmp_ident, icmp_seqno;
	uint8_t tcp_flags, icmp_type, icmp_code, proto;
};

static __always_inline uint16_t be16(const uint8_t *p)
{
	return bpf_ntohs(*(const uint16_t *)p);
}

static __always_inline uint32_t be32(const uint8_t *p)
{
	return bpf_ntohl(*(const uint32_t *)p);
}

static __always_inline uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

/* May @n bytes be read at @w->p, in the buffer and by the snap length? */
static __always_inline bool have(const struct walk *w, uint32_t n)
{
	return w->p + n <= w->end && w->off + n <= w->cap;
}

static __always_inline void skip(struct walk *w, uint32_t n)
{
	w->p += n;
	w->off += n;
}

static __always_inline bool ipv4(struct walk *w)
{
	const uint8_t *h = w->p;
	uint32_t ihl, len;

	if (!have(w, 20))
		return false;
	ihl = (h[0] & 0x0f) * 4;
	len = be16(h + 2);
	if (h[0] >> 4 != 4 || ihl < 20 || len < ihl || len > w->wire - w->off ||
	    be16(h + 6) & 0x3fff)
		return false;
	w->family = 4;
	w->src = h + 12;
	w->dst = h + 16;
	w->ipproto = h[9];
	w->ttl = h[8];
	w->ip_id = be16(h + 4);
	if ((h[16] & 0xf0) == 0xe0 || be32(h + 16) == UINT32_MAX)
		w->flags |= VNS_PKT_F_MULTICAST;
	w->len = len - ihl;
	skip(w, ihl);
	return true;
}

static __always_inline bool ipv6(struct walk *w)
{
	const uint8_t *h = w->p;

	if (!have(w, 40))
		return false;
	w->len = be16(h + 4);
	if (h[0] >> 4 != 6 || w->len == 0 || w->len + 40 > w->wire - w->off)
		return false;
	w->family = 6;
	w->src = h + 8;
	w->dst = h + 24;
	w->ipproto = h[6];
	w->ttl = h[7];
	if (h[24] == 0xff)
		w->flags |= VNS_PKT_F_MULTICAST;
	skip(w, 40);
	return true;
}

static __always_inline bool network(struct walk *w)
{
	uint16_t type;

	if (!have(w, 14))
		return false;
	if (w->p[0] & 1)
		w->flags |= VNS_PKT_F_MULTICAST;
	type = be16(w->p + 12);
	skip(w, 14);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (type != ETH_QTAG && type != ETH_STAG)
			break;
		if (!have(w, 4))
			return false;
		w->flags |= VNS_PKT_F_VLAN;
		w->vlan = be16(w->p) & 0x0fff;
		type = be16(w->p + 2);
		skip(w, 4);
	}
	return type == ETH_IPV4 ? ipv4(w) : type == ETH_IPV6 ? ipv6(w) : false;
}

static __always_inline bool tcp(struct walk *w)
{
	enum { HEADER = 20, WITH_TS = 32, WITH_SACK = 44, LAYOUT_NOP_NOP_TS = 0x0101080a,
	       LAYOUT_NOP_NOP_SACK = 0x01010500 };
	const uint8_t *h = w->p;
	uint32_t len;

	if (!have(w, HEADER))
		return false;
	len = (h[12] >> 4) * 4;
	if (len < HEADER || len > w->len)
		return false;
	if (len != HEADER) {
		if (len < WITH_TS || w->off + len > w->cap || !have(w, WITH_TS) ||
		    be32(h + 20) != LAYOUT_NOP_NOP_TS)
			return false;
		w->tsval = be32(h + 24);
		w->tsecr = be32(h + 28);
		w->flags |= VNS_PKT_F_HAS_TS;
	}
	if (len > WITH_TS) {
		/* one to three blocks, and nothing behind them */
		if (!have(w, WITH_SACK) || len % 8 != WITH_SACK % 8 ||
		    be32(h + 32) != (LAYOUT_NOP_NOP_SACK | (len - 34)))
			return false;
		w->sack_left = be32(h + 36);
		w->sack_right = be32(h + 40);
		w->flags |= VNS_PKT_F_HAS_SACK;
	}
	w->proto = VNS_PROTO_TCP;
	w->sport = be16(h);
	w->dport = be16(h + 2);
	if (w->sport == PORT_DNS || w->dport == PORT_DNS) /* the payload may be a message */
		return false;
	w->seq = be32(h + 4);
	w->ack = be32(h + 8);
	w->tcp_flags = h[13];
	w->window = be16(h + 14);
	w->payload_len = w->len - len;
	if (!conf.no_digest)
		w->digest = vns_mix4((uint64_t)w->tcp_flags << 8 | IP_TCP,
				     (uint64_t)w->seq << 32 | w->ack,
				     (uint64_t)w->tsval << 32 | w->tsecr, w->payload_len);
	return true;
}

/* The first bytes of a payload as big-endian words; what it has not, is zero. */
struct payload {
	uint64_t word[VNS_DIGEST_PAYLOAD_BYTES / 8];
};

/* Read the payload's begin, all of which the snap length must leave. */
static __always_inline bool read_payload(const struct walk *w, struct __sk_buff *skb,
					 struct payload *to)
{
	uint32_t want = w->payload_len;

	if (want > sizeof(*to))
		want = sizeof(*to);
	if (w->off + want > w->cap)
		return false;
	barrier_var(want); /* as in send_raw() */
	if (want && bpf_skb_load_bytes(skb, w->off, to, want))
		return false;
#pragma unroll
	for (int i = 0; i < VNS_DIGEST_PAYLOAD_BYTES / 8; i++)
		to->word[i] = bpf_be64_to_cpu(to->word[i]);
	return true;
}

static __always_inline uint64_t payload_digest(const struct payload *p, uint64_t head,
					       uint64_t head2, uint32_t len)
{
	if (conf.no_digest)
		return 0;
	return vns_mix5(head, head2, p->word[0], p->word[1], p->word[2]) + vns_length_term(len);
}

/* May version @v stand in a QUIC long header, on port 443 (@port) or elsewhere? More is passed up. */
static __always_inline bool quic_version(uint32_t v, bool port)
{
	return v <= 1 || v == 0x6b3343cf || v >> 24 == 0xff || port;
}

/*
 * As lib/packet/app.c: a short header's fields. Return: false when there may be more to it (DNS, a
 * long header), which user space decodes.
 */
static __always_inline bool udp_payload(struct walk *w, const struct payload *p)
{
	enum { LONG = 0x80, FIXED = 0x40, SPIN = 0x20, LONG_LEAST = 6, SHORT_LEAST = 21 };
	bool port = w->sport == PORT_QUIC || w->dport == PORT_QUIC;
	uint8_t first = p->word[0] >> 56;

	if (w->sport == PORT_DNS || w->dport == PORT_DNS)
		return false;
	if (w->payload_len == 0 || w->sport == PORT_MDNS || w->dport == PORT_MDNS)
		return true;
	if (first & LONG)
		return w->payload_len < LONG_LEAST ||
		       !quic_version((uint32_t)(p->word[0] >> 24), port);
	if ((!(first & FIXED) && !port) || w->payload_len < SHORT_LEAST)
		return true;
	w->seq = (uint32_t)(p->word[0] >> 24); /* quic_dcid */
	w->ack = (uint32_t)(p->word[0] << 8) | p->word[1] >> 56;
	w->icmp_type = VNS_QUIC_CID_BYTES; /* quic_dcid_len */
	w->icmp_code = first & FIXED ? 1 : 0; /* quic_scid_len */
	w->tcp_flags = first & SPIN ? VNS_QUIC_SHORT_1 : VNS_QUIC_SHORT_0; /* quic_type */
	w->flags |= VNS_PKT_F_QUIC;
	return true;
}

static __always_inline bool udp(struct walk *w, struct __sk_buff *skb)
{
	enum { HEADER = 8 };
	struct payload p = { 0 };
	uint32_t len;

	if (!have(w, HEADER) || w->len < HEADER)
		return false;
	w->sport = be16(w->p);
	w->dport = be16(w->p + 2);
	len = be16(w->p + 4);
	if ((len && len < HEADER) || len > w->len || w->dport == PORT_VXLAN ||
	    w->dport == PORT_GENEVE)
		return false;
	w->proto = VNS_PROTO_UDP;
	w->payload_len = w->len - HEADER;
	skip(w, HEADER);
	if (!read_payload(w, skb, &p) || !udp_payload(w, &p))
		return false;
	w->digest = payload_digest(&p, IP_UDP, 0, w->payload_len);
	return true;
}

static __always_inline bool icmp(struct walk *w, struct __sk_buff *skb)
{
	enum { HEADER = 8 };
	struct payload p = { 0 };
	uint32_t rest;
	uint8_t type;

	if (!have(w, HEADER) || w->len < HEADER)
		return false;
	w->proto = VNS_PROTO_ICMP;
	w->icmp_type = type = w->p[0];
	w->icmp_code = w->p[1];
	rest = be32(w->p + 4);
	if (w->ipproto == IP_ICMP ? type == 0 || type == 8 : type == 128 || type == 129) {
		w->icmp_ident = w->sport = w->dport = (uint16_t)(rest >> 16);
		w->icmp_seqno = (uint16_t)rest;
		rest &= 0xffff;
	}
	w->payload_len = w->len - HEADER;
	skip(w, HEADER);
	if (!read_payload(w, skb, &p))
		return false;
	w->digest = payload_digest(&p, (uint64_t)w->icmp_type << 56 |
				   (uint64_t)w->icmp_code << 48 | w->ipproto,
				   rest, w->payload_len);
	return true;
}

static __always_inline bool transport(struct walk *w, struct __sk_buff *skb)
{
	switch (w->ipproto) {
	case IP_TCP:
		return tcp(w);
	case IP_UDP:
		return udp(w, skb);
	case IP_ICMP:
	case IP_ICMPV6:
		return icmp(w, skb);
	default:
		return false;
	}
}

static __always_inline uint64_t port_word(const struct vns_bpf_digest *d, uint8_t family)
{
	return (uint64_t)d->port[0] << 48 | (uint64_t)d->port[1] << 32 |
	       (uint64_t)d->ipproto << 8 | family;
}

/* Key, direction and flow hash, as lib/packet/key.h has them. */
static __always_inline void set_key4(const struct walk *w, struct vns_bpf_digest *d)
{
	uint64_t src = (uint64_t)be32(w->src) << 16 | w->sport;
	uint64_t dst = (uint64_t)be32(w->dst) << 16 | w->dport;
	bool dir = src > dst;
	uint64_t lo = dir ? dst : src, hi = dir ? src : dst;
	uint32_t *addr = (uint32_t *)d->addr;

	d->dir = dir;
	d->port[0] = (uint16_t)lo;
	d->port[1] = (uint16_t)hi;
	addr[0] = bpf_htonl((uint32_t)(lo >> 16));
	addr[1] = bpf_htonl((uint32_t)(hi >> 16));
	d->flow_hash = vns_mix2(lo >> 16 << 32 | hi >> 16, port_word(d, 4));
}

static __always_inline void set_key6(const struct walk *w, struct vns_bpf_digest *d)
{
	uint64_t s0 = be64(w->src), s1 = be64(w->src + 8), d0 = be64(w->dst),
		 d1 = be64(w->dst + 8);
	bool dir = s0 != d0 ? s0 > d0 : s1 != d1 ? s1 > d1 : w->sport > w->dport;
	uint32_t *addr = (uint32_t *)d->addr;
	uint64_t lo0 = dir ? d0 : s0, lo1 = dir ? d1 : s1;
	uint64_t hi0 = dir ? s0 : d0, hi1 = dir ? s1 : d1;

	d->dir = dir;
	d->port[0] = dir ? w->dport : w->sport;
	d->port[1] = dir ? w->sport : w->dport;
	addr[0] = bpf_htonl((uint32_t)(lo0 >> 32));
	addr[1] = bpf_htonl((uint32_t)lo0);
	addr[2] = bpf_htonl((uint32_t)(lo1 >> 32));
	addr[3] = bpf_htonl((uint32_t)lo1);
	addr[4] = bpf_htonl((uint32_t)(hi0 >> 32));
	addr[5] = bpf_htonl((uint32_t)hi0);
	addr[6] = bpf_htonl((uint32_t)(hi1 >> 32));
	addr[7] = bpf_htonl((uint32_t)hi1);
	d->flow_hash = vns_mix5(lo0, lo1, hi0, hi1, port_word(d, 6));
}

/* All of @d but key, kind and time. */
static __always_inline void fill(const struct walk *w, struct vns_bpf_digest *d)
{
	d->r.wire_len = w->wire;
	d->r.cap_len = w->cap;
	d->r.flags = w->flags;
	d->r.vlan = w->vlan;
	d->digest = w->digest;
	d->payload_len = w->payload_len;
	d->seq = w->seq;
	d->ack = w->ack;
	d->tsval = w->tsval;
	d->tsecr = w->tsecr;
	d->ip_id = w->ip_id;
	d->sack_left = w->sack_left;
	d->sack_right = w->sack_right;
	d->window = w->window;
	d->icmp_ident = w->icmp_ident;
	d->icmp_seqno = w->icmp_seqno;
	d->tcp_flags = w->tcp_flags;
	d->icmp_type = w->icmp_type;
	d->icmp_code = w->icmp_code;
	d->proto = w->proto;
	d->ttl = w->ttl;
	d->ipproto = w->ipproto;
}

static __always_inline void count_lost(void)
{
	uint32_t zero = 0;
	struct vns_bpf_counts *c = bpf_map_lookup_elem(&counts, &zero);

	if (c)
		c->lost++;
}

static __always_inline void count_early(void)
{
	uint32_t zero = 0;
	struct vns_bpf_counts *c = bpf_map_lookup_elem(&counts, &zero);

	if (c)
		c->early++;
}

/* The ring of this processor. Return: NULL never; the verifier wants to see it asked. */
static __always_inline void *own_ring(void)
{
	uint32_t i = bpf_get_smp_processor_id() & conf.ring_mask;

	return bpf_map_lookup_elem(&rings, &i);
}

static __always_inline void submit(void *record, uint64_t now_ns)
{
	uint64_t flags = BPF_RB_NO_WAKEUP;

	if (now_ns - state.woken_ns >= conf.wake_ns) {
		state.woken_ns = now_ns;
		flags = BPF_RB_FORCE_WAKEUP;
	}
	bpf_ringbuf_submit(record, flags);
}

static __always_inline void send_digest(const struct walk *w, uint64_t now_ns)
{
	struct vns_bpf_digest *d;
	void *ring = own_ring();

	if (!ring)
		return;
	if (w->family == 4) {
		d = bpf_ringbuf_reserve(ring, VNS_BPF_DIGEST4_BYTES, 0);
		if (!d) {
			count_lost();
			return;
		}
		fill(w, d);
		d->r.kind = VNS_BPF_DIGEST4;
		set_key4(w, d);
	} else {
		d = bpf_ringbuf_reserve(ring, VNS_BPF_DIGEST6_BYTES, 0);
		if (!d) {
			count_lost();
			return;
		}
		fill(w, d);
		d->r.kind = VNS_BPF_DIGEST6;
		set_key6(w, d);
	}
	d->r.mono_ns = now_ns;
	submit(d, now_ns);
}

struct raw_record {
	struct vns_bpf_record r;
	uint8_t data[VNS_BPF_RAW_LARGE];
};

static __always_inline void send_raw(struct __sk_buff *skb, uint64_t now_ns, uint16_t flags,
				     uint16_t vlan)
{
	const uint32_t room = conf.snaplen <= VNS_BPF_RAW_SMALL ? VNS_BPF_RAW_SMALL :
								  VNS_BPF_RAW_LARGE;
	uint32_t cap = skb->len;
	struct raw_record *d;
	void *ring = own_ring();

	if (!ring)
		return;
	if (room == VNS_BPF_RAW_SMALL)
		d = bpf_ringbuf_reserve(ring, sizeof(d->r) + VNS_BPF_RAW_SMALL, 0);
	else
		d = bpf_ringbuf_reserve(ring, sizeof(d->r) + VNS_BPF_RAW_LARGE, 0);
	if (!d) {
		count_lost();
		return;
	}
	if (cap > conf.snaplen)
		cap = conf.snaplen;
	if (cap > room)
		cap = room;
	d->r = (struct vns_bpf_record){ .mono_ns = now_ns, .wire_len = skb->len, .flags = flags,
					.vlan = vlan, .kind = VNS_BPF_RAW };
	barrier_var(cap); /* the verifier must see the register that is passed compared with 0 */
	if (cap && bpf_skb_load_bytes(skb, 0, d->data, cap) == 0)
		d->r.cap_len = cap;
	submit(d, now_ns);
}

SEC("tc")
int vns_capture(struct __sk_buff *skb)
{
	uint64_t now_ns = bpf_ktime_get_ns();
	uint16_t flags = skb->cb[VNS_BPF_CB_EGRESS] ? VNS_PKT_F_OUTGOING : 0, vlan = 0;

	if (!state.begun) {
		count_early();
		return NEXT;
	}
	if (skb->vlan_present) {
		flags |= VNS_PKT_F_VLAN;
		vlan = skb->vlan_tci & 0x0fff;
	}
	if (!conf.raw_only && !conf.bare) {
		struct walk w = { .p = (const uint8_t *)(long)skb->data,
				  .end = (const uint8_t *)(long)skb->data_end,
				  .wire = skb->len, .flags = flags, .vlan = vlan };

		w.cap = w.wire < conf.snaplen ? w.wire : conf.snaplen;
		if (network(&w) && transport(&w, skb)) {
			send_digest(&w, now_ns);
			return NEXT;
		}
	}
	send_raw(skb, now_ns, flags, vlan);
	return NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
