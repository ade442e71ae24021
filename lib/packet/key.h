/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Addresses and ports -> flow key, direction and flow hash of struct vns_packet. Inlined: it is a
 * large part of the work on each packet.
 */
#ifndef VNS_PACKET_KEY_H
#define VNS_PACKET_KEY_H

#include "packet/decode.h"
#include "packet/hash.h"

static inline uint64_t port_word(uint16_t port0, uint16_t port1, uint8_t ipproto, uint8_t family)
{
	return (uint64_t)port0 << 48 | (uint64_t)port1 << 32 | (uint64_t)ipproto << 8 | family;
}

static inline unsigned __int128 address_value(const uint8_t *p)
{
	return (unsigned __int128)vns_be64(p) << 64 | vns_be64(p + 8);
}

static inline uint64_t hash_v4(uint32_t a0, uint32_t a1, uint64_t ports)
{
	return vns_mix2((uint64_t)a0 << 32 | a1, ports);
}

static inline uint64_t hash_v6(unsigned __int128 a0, unsigned __int128 a1, uint64_t ports)
{
	return vns_mix5((uint64_t)(a0 >> 64), (uint64_t)a0, (uint64_t)(a1 >> 64), (uint64_t)a1,
			ports);
}

/* The v4-mapped form of an address in network order, by three stores. */
static inline void put_v4(struct vns_addr *a, const uint8_t *v4)
{
	static const uint8_t middle[4] = { 0, 0, 0xff, 0xff };

	memcpy(a->b + 8, middle, 4);
	memcpy(a->b + 12, v4, 4);
}

/* Key, direction and flow hash. Indexing by direction instead of branching: it is a coin toss. */
static inline void set_key4(struct vns_packet *out, const struct vns_net *net, uint16_t sport,
			    uint16_t dport)
{
	struct vns_flow_key *key = &out->key;
	uint64_t src = (uint64_t)vns_be32(net->src) << 16 | sport;
	uint64_t dst = (uint64_t)vns_be32(net->dst) << 16 | dport;
	unsigned int dir = src > dst;
	uint64_t lo = dir ? dst : src, hi = dir ? src : dst;

	out->dir = (uint8_t)dir;
	put_v4(&key->addr[dir], net->src);
	put_v4(&key->addr[!dir], net->dst);
	key->port[0] = (uint16_t)lo;
	key->port[1] = (uint16_t)hi;
	key->ipproto = net->ipproto;
	out->flow_hash = hash_v4((uint32_t)(lo >> 16), (uint32_t)(hi >> 16),
				 port_word((uint16_t)lo, (uint16_t)hi, net->ipproto, 4));
}

static inline void set_key6(struct vns_packet *out, const struct vns_net *net, uint16_t sport,
		     uint16_t dport)
{
	struct vns_flow_key *key = &out->key;
	unsigned __int128 src = address_value(net->src), dst = address_value(net->dst);
	unsigned int dir = (unsigned int)(src > dst) | ((unsigned int)(src == dst) & (sport > dport));

	out->dir = (uint8_t)dir;
	memcpy(key->addr[dir].b, net->src, 16);
	memcpy(key->addr[!dir].b, net->dst, 16);
	key->port[dir] = sport;
	key->port[!dir] = dport;
	key->ipproto = net->ipproto;
	out->flow_hash = hash_v6(dir ? dst : src, dir ? src : dst,
				 port_word(dir ? dport : sport, dir ? sport : dport,
					   net->ipproto, 6));
}

static inline void set_key(struct vns_packet *out, const struct vns_net *net, uint16_t sport,
			   uint16_t dport)
{
	if (likely(out->key.family == 4))
		set_key4(out, net, sport, dport);
	else
		set_key6(out, net, sport, dport);
}

#endif
