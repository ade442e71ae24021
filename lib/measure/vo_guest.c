// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets that a guest's agent sent -> the engines of the epoch that they belong to.
 *
 * Where an exchange says that the guest's clock may have stepped, packets stamped from then on are of one epoch or of the
 * other, and taken for the wrong one they would end its window at the wrong time. They are held until further
 * exchanges have decided (vo_doubt.c), a second or so, at most HELD_MOST of them; what does not fit is counted with
 * those of no epoch.
 */
#include <stdlib.h>
#include <string.h>

#include "measure/vo_epoch.h"
#include "measure/vo_guest.h"

#define HELD_FIRST 1024
#define HELD_MOST  (1u << 17) /* 24 MiB: a second of bulk traffic, at least */

static void count_other(struct vo_subject *v, enum vo_epoch e, size_t n)
{
	if (!vo_in_phase(v->run, VO_BEFORE))
		v->other_epoch[e] += n;
}

static void feed(struct vo_subject *v, const struct vns_packet *pkts, size_t n)
{
	for (size_t i = 0; n && i < v->n_pair; i++)
		if (v->pair[i].b == VO_GUEST && v->pair[i].twin)
			vns_twin_feed(v->pair[i].twin, VNS_POINT_B, pkts, n);
}

/* Packets of this epoch, as many in a row as there are, at once. */
static void sort_out(struct vo_subject *v, const struct vns_packet *pkts, size_t n)
{
	size_t from = 0;

	for (size_t i = 0; i < n; i++) {
		enum vo_epoch e = vo_epoch_of(v, pkts[i].time_ns);

		if (e == VO_EPOCH_THIS)
			continue;
		count_other(v, e, 1);
		feed(v, pkts + from, i - from);
		from = i + 1;
	}
	feed(v, pkts + from, n - from);
}

/* Return: is there room for @n more? */
static bool make_room(struct vo_held *h, size_t n)
{
	size_t cap = h->cap ? h->cap : HELD_FIRST;
	struct vns_packet *at;

	while (cap < h->n + n)
		cap *= 2;
	if (cap > HELD_MOST)
		return false;
	if (cap == h->cap)
		return true;
	at = aligned_alloc(_Alignof(struct vns_packet), cap * sizeof(*at));
	if (!at)
		return false;
	if (h->n)
		memcpy(at, h->at, h->n * sizeof(*at));
	free(h->at);
	h->at = at;
	h->cap = cap;
	return true;
}

void vo_guest_packets(struct vo_subject *v, const struct vns_packet *pkts, size_t n)
{
	if (!v->doubting) {
		sort_out(v, pkts, n);
	} else if (!make_room(&v->held, n)) {
		count_other(v, VO_EPOCH_BEFORE, n);
	} else {
		for (size_t i = 0; i < n; i++)
			v->held.at[v->held.n++] = pkts[i];
	}
}

void vo_guest_upto(struct vo_subject *v, int64_t guest_ns)
{
	for (size_t i = 0; !v->doubting && v->paired && i < v->n_pair && vo_epoch_of(v, guest_ns) == VO_EPOCH_THIS; i++)
		if (v->pair[i].b == VO_GUEST && v->pair[i].twin)
			vns_twin_advance(v->pair[i].twin, VNS_POINT_B, guest_ns);
}

void vo_guest_release(struct vo_subject *v)
{
	sort_out(v, v->held.at, v->held.n);
	free(v->held.at);
	v->held = (struct vo_held){ 0 };
}

void vo_guest_drop(struct vo_subject *v)
{
	count_other(v, VO_EPOCH_BEFORE, v->held.n);
	free(v->held.at);
	v->held = (struct vo_held){ 0 };
}
