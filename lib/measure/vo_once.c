// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A capture that holds packets twice: seen at bridge and tap, say, and put into one file without
 * a word of which was where. Packets -> is nearly each there twice? and then: only its first copy.
 *
 * The network doubles packets too, but a few of them. Here (nearly) every one is: the same header,
 * IP ID included, twice within some milliseconds. Where an ID is missing, copies are dropped by turns,
 * every second one.
 */
#include <errno.h>
#include <stdlib.h>

#include "measure/vo_offline.h"

#define SLOTS     16384u
#define WITHIN_NS (5 * VNS_NSEC_PER_MSEC) /* bridge to tap, on a busy host */
#define FEW       20 /* packets that prove nothing */

struct seen {
	uint64_t id;
	int64_t time_ns;
};

struct vo_once {
	struct seen slot[SLOTS];
};

static uint64_t identity(const struct vns_packet *p)
{
	uint64_t h = p->digest ^ (p->flow_hash + p->dir) * UINT64_C(0x9e3779b97f4a7c15);

	h += ((uint64_t)p->ip_id << 16 ^ p->window) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 31) * UINT64_C(0x94d049bb133111eb);
	return h | 1; /* 0: an empty slot */
}

static bool decoded(const struct vns_packet *p)
{
	return p->verdict == VNS_PKT_OK || p->verdict == VNS_PKT_FRAGMENT;
}

/* Is @p the second copy of what was seen a moment ago? A third is a first again. */
static bool again(struct vo_once *o, const struct vns_packet *p)
{
	uint64_t id = identity(p);
	struct seen *s = &o->slot[id >> 32 & (SLOTS - 1)];
	int64_t ago;

	if (s->id == id && !__builtin_sub_overflow(p->time_ns, s->time_ns, &ago) &&
	    ago <= WITHIN_NS && ago >= -WITHIN_NS) {
		s->id = 0;
		return true;
	}
	*s = (struct seen){ id, p->time_ns };
	return false;
}

size_t vo_once_filter(struct vo_end *e, struct vns_packet *pkt, size_t n)
{
	size_t keep = 0;

	for (size_t i = 0; i < n; i++) {
		if (decoded(&pkt[i]) && again(e->once, &pkt[i]))
			e->doubled++;
		else
			pkt[keep++] = pkt[i];
	}
	return keep;
}

int vo_once_detect(struct vo_end *e)
{
	struct vo_once *o = calloc(1, sizeof(*o));
	size_t n = 0, twice = 0;

	if (!o)
		return -ENOMEM;
	for (size_t i = 0; i < e->n; i++) {
		const struct vns_packet *p = &e->pkt[i];

		/* An application may send the same again; not with the same IP ID or TCP bytes. */
		if (!decoded(p) || !(p->ip_id || (p->proto == VNS_PROTO_TCP && p->payload_len)))
			continue;
		n++;
		twice += again(o, p);
	}
	free(o);
	/* Half would be all; some may be cut off at the ends or lost. */
	if (n < FEW || 5 * twice < 2 * n)
		return 0;
	e->once = calloc(1, sizeof(*e->once));
	if (!e->once)
		return -ENOMEM;
	e->n = vo_once_filter(e, e->pkt, e->n);
	return 0;
}
