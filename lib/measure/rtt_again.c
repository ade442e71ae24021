// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets and samples of several capture points -> which of them are the same once more.
 *
 * "any" and a bridge with its tap show each forwarded packet at two interfaces or more. What no hop changes tells
 * it: flow, direction, sequence numbers, timestamps, lengths, IP ID. A hash of these stands in a table, the newest
 * in each place, with its point and time. A packet at another point within a second is the same again.
 * Datagrams without an IP ID have nothing of the kind and are not told.
 *
 * A round trip is measured at each point by itself, and once in the figures over all: at the point that its answer
 * passed first, which is the one next to who answers. The same answer at another point comes after less than half
 * of the round trip; a later sample of the same number is another one.
 */
#include <stdlib.h>

#include "base/held.h"
#include "measure/rtt_again.h"

#define PLACES  65536u              /* of each table; 1.5 MiB */
#define LATEST  VNS_NSEC_PER_SEC    /* a hop takes less */
#define SHORTEST_RTO (50 * INT64_C(1000000)) /* ns; Linux: 200 ms, and a probe of the tail is a tenth of that at least */

struct place {
	uint64_t what;
	int64_t at_ns;
	uint16_t point;
};

struct vns_again {
	struct place packet[PLACES];
	struct place *sample; /* PLACES of them, from the first one on */
};

struct vns_again *vns_again_new(void)
{
	struct vns_again *a = calloc(1, sizeof(*a));

	vns_held_change(0, a ? sizeof(*a) : 0);
	return a;
}

void vns_again_free(struct vns_again *a)
{
	vns_held_change(a ? sizeof(*a) + (a->sample ? PLACES * sizeof(*a->sample) : 0) : 0, 0);
	if (a)
		free(a->sample);
	free(a);
}

/* Stafford's variant 13 of MurmurHash3's last steps. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) + UINT64_C(0x9e3779b97f4a7c15);
	h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
	return h ^ h >> 31;
}

/* Return: 0 for a packet that nothing tells from its like. */
static uint64_t what_is(const struct vns_packet *p)
{
	uint64_t h;

	if (p->verdict != VNS_PKT_OK || (p->proto == VNS_PROTO_UDP && !p->ip_id))
		return 0;
	h = mix(p->flow_hash, (uint64_t)p->payload_len << 32 | (uint64_t)p->tcp_flags << 8 | p->dir);
	h = mix(h, (uint64_t)p->seq << 32 | p->ack);
	h = mix(h, (uint64_t)p->tsval << 32 | p->tsecr);
	h = mix(h, (uint64_t)p->ip_id << 32 | (uint64_t)p->icmp_ident << 16 | p->icmp_seqno);
	return h | 1;
}

bool vns_again_packet(struct vns_again *a, const struct vns_packet *p)
{
	const uint64_t what = what_is(p);
	struct place *at = &a->packet[what >> 32 & (PLACES - 1)];

	if (!what)
		return false;
	if (at->what == what && at->point != p->point && p->time_ns - at->at_ns < LATEST &&
	    at->at_ns - p->time_ns < LATEST)
		return true;
	*at = (struct place){ what, p->time_ns, p->point };
	return false;
}

bool vns_again_sample(struct vns_again *a, uint16_t point, const struct vns_rtt_sample *s)
{
	uint64_t what = mix(vns_flow_key_hash(s->key), (uint64_t)s->id << 32 | (uint64_t)s->ident << 16 |
						       (uint64_t)s->kind << 8 | s->dir) | 1;
	struct place *at;
	int64_t since;

	if (!a->sample) {
		a->sample = calloc(PLACES, sizeof(*a->sample));
		vns_held_change(0, a->sample ? PLACES * sizeof(*a->sample) : 0);
	}
	if (!a->sample)
		return false;
	at = &a->sample[what >> 32 & (PLACES - 1)];
	since = s->at_ns - at->at_ns;
	if (at->what == what && at->point != point && since >= 0 && since <= s->rtt_ns / 2)
		return true;
	*at = (struct place){ what, s->at_ns, point };
	return false;
}

void vns_again_look(struct vns_again *a, struct vns_copies *c, const struct vns_packet *p, size_t n)
{
	for (const struct vns_packet *end = p + n; p < end && c->looked < VNS_AGAIN_LOOK; p++) {
		const uint64_t what = p->proto == VNS_PROTO_TCP && p->payload_len ? what_is(p) : 0;
		struct place *at = &a->packet[what >> 32 & (PLACES - 1)];

		if (!what)
			continue;
		c->looked++;
		c->found += at->what == what && at->point == p->point && p->time_ns - at->at_ns < SHORTEST_RTO &&
			    at->at_ns - p->time_ns < SHORTEST_RTO;
		*at = (struct place){ what, p->time_ns, p->point };
	}
}
