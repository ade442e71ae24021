// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Senders of multicast and broadcast packets: what two files begin with -> which of them are the host's side.
 *
 * A packet to a group has no guest's address unless the guest sent it. Of a sender that is not the guest's it
 * goes to the guest, and the time it takes bounds the clocks; the beginnings of the files tell the guest's addresses by
 * which point sees them first. One that speaks later only (a router solicitation from a link-local address, mDNS
 * from 169.254.0.0/16, RFC 3927) may be either: its packets would bound the clocks from the wrong side. They are
 * undecodable.
 */
#include <string.h>

#include "flow/table.h"
#include "measure/vo_senders.h"

static bool is_group(const struct vns_packet *p)
{
	return p->flags & VNS_PKT_F_MULTICAST && p->verdict == VNS_PKT_OK;
}

static bool is_among(const struct vns_addr *set, size_t n, const struct vns_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (vns_addr_equal(&set[i], a))
			return true;
	return false;
}

void vo_senders_learn(struct vns_vo_senders *s, const struct vns_packet *pkt, size_t n, const struct vns_addr *guest,
		      size_t n_guest)
{
	s->n_guest = n_guest;
	memcpy(s->guest, guest, n_guest * sizeof(*guest));
	for (size_t i = 0; i < n; i++) {
		const struct vns_addr *src = vns_packet_src(&pkt[i]);

		if (!is_group(&pkt[i]) || is_among(s->guest, n_guest, src) || is_among(s->known, s->n_known, src))
			continue;
		if (s->n_known == sizeof(s->known) / sizeof(s->known[0])) {
			s->many = true;
			return;
		}
		s->known[s->n_known++] = *src;
	}
}

uint64_t vns_vo_senders_filter(const struct vns_vo_senders *s, struct vns_packet *pkt, size_t n)
{
	uint64_t strange = 0;

	if (s->many)
		return 0;
	for (size_t i = 0; i < n; i++) {
		const struct vns_addr *src = vns_packet_src(&pkt[i]);

		if (!is_group(&pkt[i]) || is_among(s->guest, s->n_guest, src) || is_among(s->known, s->n_known, src))
			continue;
		pkt[i].flags &= (__typeof__(pkt[i].flags))~VNS_PKT_F_MULTICAST; /* then it is neither end's */
		strange++;
	}
	return strange;
}
