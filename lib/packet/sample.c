// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which packets are looked at when not all can be: struct vns_packet, N -> yes or no.
 *
 * Capture points must choose the same packets without talking to each other, so the choice is a
 * function of what the packet looks like at all of them (hash-based selection, RFC 5475 section
 * 6.2; trajectory sampling, Duffield and Grossglauser 2001).
 *   TCP segments differ between points where offloads cut and join them, so TCP is chosen by connection: by the
 * client's port alone where it can be told from the server's, since a port forwarded by NAT is another one
 * behind it.
 *   Of all else a packet that one point sees whole and the other in pieces (a frame of many datagrams, an IP
 * datagram in fragments) has nothing in common with the pieces but what the first of them begins with: not its
 * length, nor an IPv6 identification, and no IPv4 one that counts where there is DF (RFC 6864). So the choice is
 * the digest's without the length: whole and first piece are chosen together, and all that begins alike is too,
 * so that the rivals of what was chosen are all there to be seen.
 *   A later fragment has not even that. Its first fragment, which senders let go ahead, decides for it: a
 * point remembers what it chose by the hosts and the identification, which are of this point only, so that NAT is
 * no matter. A later fragment that overtook its first cannot be chosen, so nothing that comes after the first is
 * either: a copy of the one left out, doubled on the way, would be taken for it.
 *   The other datagrams of a frame are chosen each by its own beginning, where they are seen: 1 of N of what each
 * point sees, and of the frames 1 of N with a first datagram to be paired with.
 */
#include <string.h>

#include "packet/hash.h"
#include "packet/sample.h"

#define EPHEMERAL 32768 /* clients' ports begin here (Linux ip_local_port_range; IANA: 49152), services' end */
#define FOLLOW_NS VNS_NSEC_PER_SEC /* fragments follow each other; then the identification may be another's */

/* What a connection is chosen by. */
static uint64_t connection(uint16_t low, uint16_t high)
{
	return low < EPHEMERAL && high >= EPHEMERAL ? vns_mix2(high, high) : vns_mix2(low, high);
}

bool vns_packet_sampled(const struct vns_packet *p, uint32_t one_in)
{
	uint16_t a = p->key.port[0], b = p->key.port[1];
	uint64_t h = p->digest ? p->digest - vns_length_term(p->payload_len) : 0;

	if (one_in <= 1)
		return true;
	/* A later fragment has no ports. */
	if (p->proto == VNS_PROTO_TCP && p->verdict == VNS_PKT_OK)
		h = connection(a < b ? a : b, a < b ? b : a);
	return h <= UINT64_MAX / one_in;
}

static uint64_t word(const struct vns_addr *a, int at)
{
	uint64_t w;

	memcpy(&w, &a->b[at], sizeof(w));
	return w;
}

/* The datagram that fragment @p is of, at this point; never 0. */
static uint64_t fragment_key(const struct vns_packet *p)
{
	const struct vns_addr *src = vns_packet_src(p), *dst = vns_packet_dst(p);
	/* IPv6's is unique without the protocol, which behind its fragment header may be an extension's. */
	uint64_t what = (uint64_t)p->ip_id << 8 | (p->key.family == 4 ? p->key.ipproto : 0);

	return vns_mix5(word(src, 0), word(src, 8), word(dst, 0), word(dst, 8), what) | 1;
}

static size_t place_of(uint64_t key)
{
	return key >> 32 & (VNS_SAMPLER_SLOTS - 1);
}

bool vns_sampler_takes(struct vns_sampler *s, const struct vns_packet *p, uint32_t one_in)
{
	bool later = p->flags & VNS_PKT_F_LATER_FRAG, taken = !later && vns_packet_sampled(p, one_in);
	bool known, follow;
	uint64_t key;
	size_t i;

	if (one_in <= 1)
		return true;
	if (!(p->flags & (VNS_PKT_F_FIRST_FRAG | VNS_PKT_F_LATER_FRAG)))
		return taken;
	key = fragment_key(p);
	i = place_of(key);
	known = s->slot[i].key == key && /* stamps in a file may be any: unsigned */
		(uint64_t)p->time_ns - (uint64_t)s->slot[i].time_ns + FOLLOW_NS <= 2 * FOLLOW_NS;
	follow = known ? s->slot[i].follow && (later || taken) : taken;
	s->slot[i].key = key;
	s->slot[i].time_ns = p->time_ns;
	s->slot[i].follow = follow;
	if (!known)
		s->slot[i].mark = 0;
	return later ? follow : taken;
}

uint16_t *vns_sampler_mark(struct vns_sampler *s, const struct vns_packet *p)
{
	return &s->slot[place_of(fragment_key(p))].mark;
}
