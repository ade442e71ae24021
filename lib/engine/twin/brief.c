// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Briefs: what each packet is to the engine, without looking at any other; see brief.h.
 *
 * In: decoded packets. Out: key of the node (of TCP with sequence space the flow direction, of all else
 * the identity), direction by the guest's addresses, and what the entry will hold.
 */
#include <string.h>

#include "engine/twin/brief.h"
#include "engine/twin/inorder.h"

#define FEW_GUESTS 8 /* addresses that are compared with all */

static bool is_one_of(const struct vns_addr *guest, size_t n, const struct vns_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(a, &guest[i], sizeof(*a)) == 0)
			return true;
	return false;
}

bool twin_is_guest(const struct vns_twin *t, const struct vns_addr *a)
{
	return is_one_of(t->guest, t->n_guest, a);
}

typedef uint64_t halves __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));

/* The guest's addresses, and those of them that are compared with all, each half of an address twice. */
struct guests {
	const struct vns_addr *addr;
	size_t n, few;
	halves first[FEW_GUESTS], second[FEW_GUESTS];
};

static void spread_guests(struct guests *g, const struct vns_addr *guest, size_t n)
{
	uint64_t half[2];

	g->addr = guest;
	g->n = n;
	g->few = n > FEW_GUESTS ? 0 : n;
	for (size_t i = 0; i < g->few; i++) {
		memcpy(half, &guest[i], sizeof(half));
		g->first[i] = (halves){ half[0], half[0] };
		g->second[i] = (halves){ half[1], half[1] };
	}
}

/*
 * Bits: is endpoint 0, is endpoint 1 of @p the guest? Which it is, is a coin toss: no branch. Both ends are
 * compared at once: first halves of both in one register, second ones in another.
 */
TWIN_INLINE unsigned int guest_ends(const struct guests *g, const struct vns_packet *p)
{
	halves end[2], first, second;
	words is = { 0 };

	if (__builtin_expect(g->n > FEW_GUESTS, 0))
		return is_one_of(g->addr, g->n, &p->key.addr[0]) |
		       (unsigned int)is_one_of(g->addr, g->n, &p->key.addr[1]) << 1;
	memcpy(end, p->key.addr, sizeof(end));
	first = __builtin_shufflevector(end[0], end[1], 0, 2);
	second = __builtin_shufflevector(end[0], end[1], 1, 3);
	for (size_t i = 0; i < g->few; i++) {
		words equal = (words)((words)((first ^ g->first[i]) | (second ^ g->second[i])) == 0);

		/* of 32 bits: SSE2 compares no longer ones */
		is |= equal & __builtin_shufflevector(equal, equal, 1, 0, 3, 2);
	}
	return (is[0] & 1) | (is[2] & 2);
}

/* Neither end is the guest. Flooded to it too; a sender without an address could be the guest itself. */
static int direction_of_strange(const struct vns_packet *p)
{
	return (p->flags & VNS_PKT_F_MULTICAST) && !twin_is_unspecified(vns_packet_src(p)) ?
		       VNS_HOST_TO_GUEST : -1;
}

/* Return: enum vns_direction, or -1 when the packet is neither to nor from the guest. */
TWIN_INLINE int direction_of(const struct guests *g, const struct vns_packet *p)
{
	unsigned int ends = guest_ends(g, p);

	_Static_assert(VNS_GUEST_TO_HOST == 1 && VNS_HOST_TO_GUEST == 0, "what the source's bit says");
	if (__builtin_expect(p->verdict != VNS_PKT_OK && p->verdict != VNS_PKT_FRAGMENT, 0))
		return -1;
	return __builtin_expect(ends != 0, 1) ? (int)(ends >> p->dir & 1) : direction_of_strange(p);
}

/* Bits of @from that are @bit become @to: one shift, since both are single bits. */
#define MOVE_BIT(from, bit, to) (((from) & (bit)) * 1u / (bit) * (to))

/* @yes or @no, without a branch: which it is, is a coin toss. */
TWIN_INLINE uint64_t either(bool which, uint64_t yes, uint64_t no)
{
	uint64_t mask = -(uint64_t)which;

	__asm__("" : "+r"(mask)); /* any number to the compiler, or it would branch after all */
	return no ^ ((no ^ yes) & mask);
}

/*
 * What tells packets of one identity, or copies of the same bytes, apart: the IP ID; of TCP without one what
 * the sender had heard by then and had room for (acknowledgement, TSecr, SACK block, window), which a
 * retransmission within one tick of TSval, and each of the duplicate ACKs of a loss, often has of its own.
 * Segmentation hands these on as they are, and joins only what agrees in them. PSH is not such: of joined or
 * cut segments only the last has it. Copies that agree in all this, and of which more than one can have been
 * under way by their times, nothing tells apart. Not even what was sent between them and is known surely:
 * a path that reorders moves one packet and leaves its neighbours (RFC 4737 section 3).
 */
TWIN_INLINE uint32_t telling_id(const struct vns_packet *p, bool range)
{
	bool by_id = (p->ip_id != 0) | (p->proto != VNS_PROTO_TCP) | !!(p->flags & VNS_PKT_F_OPTS_CUT);
	uint32_t heard = ((p->ack + ((uint32_t)p->window << 16)) * 0x9e3779b1u) ^ (p->tsecr * 0x85ebca6bu);

	heard &= -(uint32_t)range;
	if (p->flags & VNS_PKT_F_HAS_SACK)
		heard += (p->sack_left * 0x9e3779b1u ^ p->sack_right) * 0xc2b2ae35u;
	/* an IPv6 fragment's has 32 bits; one less tells as well */
	return (uint32_t)either(by_id, p->ip_id & ~TWIN_WEAK_ID, heard | TWIN_WEAK_ID);
}

/* Of what has no transport: later fragments, and what is foreign. */
static uint8_t proto_by_number(const struct vns_packet *p)
{
	switch (p->key.ipproto) {
	case 6:
		return VNS_PROTO_TCP;
	case 17:
		return VNS_PROTO_UDP;
	case 1:
	case 58:
		return VNS_PROTO_ICMP;
	}
	return VNS_PROTO_NONE;
}

TWIN_INLINE uint64_t key_of(const struct vns_packet *p, bool range)
{
	uint64_t id = either(range, p->flow_hash + p->dir, twin_identity(p));

	/* Spread into the upper half, which the table uses (multiplier: golden ratio * 2^64). */
	id *= UINT64_C(0x9e3779b97f4a7c15);
	return (id ^ id >> 32) * UINT64_C(0x9e3779b97f4a7c15) + range;
}

/* Is it TCP that takes sequence space? */
TWIN_INLINE bool is_range(const struct vns_packet *p)
{
	unsigned int ends = p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_FIN);
	unsigned int not = (unsigned int)(p->verdict ^ VNS_PKT_OK) | (p->proto ^ VNS_PROTO_TCP) |
			   (p->flags & VNS_PKT_F_FIRST_FRAG) | (p->tcp_flags & VNS_TCP_RST);

	return !not & !!(p->payload_len | ends);
}

/*
 * Without a branch on what kind of packet it is: kinds follow each other by chance, and a wrong guess costs
 * more than all of this.
 */
TWIN_INLINE void brief_one(struct twin_brief *b, const struct vns_packet *p, const struct guests *g)
{
	bool range = is_range(p);
	uint32_t only = -(uint32_t)range; /* in ranges */
	unsigned int syn = !!(p->tcp_flags & VNS_TCP_SYN), fin = p->tcp_flags & VNS_TCP_FIN;
	unsigned int flags = syn * E_CTRL_SYN | fin * E_CTRL_FIN |
			     MOVE_BIT(p->flags, VNS_PKT_F_HAS_TS, E_TS) |
			     MOVE_BIT(p->flags, VNS_PKT_F_OPTS_CUT, E_TS_CUT);

	b->key = key_of(p, range);
	b->time_ns = p->time_ns;
	b->flow_hash = p->flow_hash;
	b->first = b->last = 0;
	b->seq = (p->seq & only) | (p->icmp_seqno & -(uint32_t)(p->proto == VNS_PROTO_ICMP));
	b->len = p->payload_len + ((syn + fin) & only);
	b->tsval = p->tsval & only;
	b->ip_id = telling_id(p, range);
	b->flags = (uint16_t)(flags & only);
	b->proto = __builtin_expect(p->proto != VNS_PROTO_NONE, 1) ? p->proto : proto_by_number(p);
	b->dir = (int8_t)direction_of(g, p);
	b->what = (uint8_t)(range * BRIEF_RANGE | !p->ip_id * BRIEF_NO_ID |
			    MOVE_BIT(p->flags, VNS_PKT_F_DIGEST_SHORT, BRIEF_SHORT));
}

#define SOME 32 /* packets whose kinds are told apart together */

void twin_brief(struct twin_brief *out, const struct vns_packet *pkts, size_t n,
		const struct vns_addr *guest, size_t n_guest)
{
	struct guests g;

	spread_guests(&g, guest, n_guest);
	for (size_t at = 0; at < n; at += SOME) {
		size_t end = n - at < SOME ? n : at + SOME, pieces = 0;
		size_t piece[SOME];

		for (size_t i = at; i < end; i++) {
			const struct vns_packet *p = &pkts[i];

			brief_one(&out[i], p, &g);
			piece[pieces] = i;
			pieces += (p->proto == VNS_PROTO_UDP) | (p->proto == VNS_PROTO_ICMP);
		}
		for (size_t i = 0; i < pieces; i++)
			twin_pieces_note(&out[piece[i]], &pkts[piece[i]]);
	}
}
