// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * TCP segments -> samples by sequence numbers and of handshakes; which method reads a flow.
 *
 * Sequence numbers: theory in seq.h. SYN and FIN take a number each (RFC 9293 section 3.4). A RST
 * gives nothing: it may come from anyone on the path.
 *
 * Handshake: SYN to SYN-ACK is the round trip between the capture point and the server, SYN-ACK to the
 * ACK that answers it the one to the client; neither of them waits for data or a delayed ACK. None
 * of a SYN or SYN-ACK that was sent twice.
 *
 * Automatic choice: both sides offer timestamps in their SYNs or neither may use them (RFC 7323
 * section 3.2); so the first segment decides, except for a SYN: until its answer it is kept for both. So
 * it is after a SYN or SYN-ACK whose options were cut, which are longer than other segments'.
 */
#include "engine/rtt/tcp.h"

static void drop_seq(struct vns_rtt *r, uint32_t id)
{
	for (int d = 0; d < 2; d++)
		vns_seq_clear(&r->seq[id].side[d], &r->pending_bytes);
	r->flows.head[id].user &= (uint16_t)~BY_SEQ;
	r->flows.head[id].user |= WAS_BY_SEQ; /* data in a SYN that was acknowledged */
}

static void drop_ts(struct vns_rtt *r, uint32_t id)
{
	for (int d = 0; d < 2; d++)
		vns_pending_clear(&r->track[id].pending[d], &r->pending_bytes);
	r->flows.head[id].user &= (uint16_t)~BY_TS;
}

/* Neither timestamps nor their absence is settled by @p. */
static bool leaves_open(const struct vns_packet *p)
{
	return (p->tcp_flags & VNS_TCP_RST) ||
	       ((p->tcp_flags & VNS_TCP_SYN) && (p->flags & VNS_PKT_F_OPTS_CUT)) ||
	       ((p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_ACK)) == VNS_TCP_SYN &&
		(p->flags & VNS_PKT_F_HAS_TS));
}

static uint16_t first_choice(enum vns_rtt_method method, const struct vns_packet *p)
{
	if (method == VNS_RTT_METHOD_TS)
		return BY_TS;
	if (method == VNS_RTT_METHOD_SEQ)
		return BY_SEQ;
	if (leaves_open(p))
		return BY_TS | BY_SEQ;
	if (!(p->flags & VNS_PKT_F_HAS_TS))
		return BY_SEQ;
	return method == VNS_RTT_METHOD_BOTH ? BY_TS | BY_SEQ : BY_TS;
}

void tcp_choose_method(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	uint16_t *user = &r->flows.head[id].user;

	if (!(*user & (BY_TS | BY_SEQ))) {
		*user |= first_choice(r->opts.method, p);
		if (!(*user & BY_SEQ))
			return;
		vns_touched_mark(&r->touched_seq, id);
		for (int d = 0; d < 2; d++)
			vns_seq_init(&r->seq[id].side[d]);
		return;
	}
	if ((*user & (BY_TS | BY_SEQ)) != (BY_TS | BY_SEQ) || leaves_open(p))
		return;
	if (!(p->flags & VNS_PKT_F_HAS_TS))
		drop_ts(r, id);
	else if (r->opts.method == VNS_RTT_METHOD_AUTO)
		drop_seq(r, id);
}

/* @p acknowledges the SYN of direction @d. */
static void answer_syn(struct vns_rtt *r, uint32_t id, int d, const struct vns_packet *p)
{
	struct cold *c = &r->cold[id];

	if (p->ack != c->isn[d] + 1 || p->time_ns < c->syn_ns[d])
		return;
	c->syn_ns[d] = p->time_ns - c->syn_ns[d];
	c->syn[d] = SYN_ANSWERED;
	tcp_add_sample(r, id, (struct sample){ .at_ns = p->time_ns, .rtt_ns = c->syn_ns[d],
					       .what = p->ack, .kind = VNS_RTT_HANDSHAKE,
					       .dir = (uint8_t)d });
}

void tcp_handshake(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	struct cold *c = &r->cold[id];
	bool syn = p->tcp_flags & VNS_TCP_SYN, ack = p->tcp_flags & VNS_TCP_ACK;
	uint8_t *mine = &c->syn[p->dir], *other = &c->syn[!p->dir];

	if (p->tcp_flags & VNS_TCP_RST)
		return;
	if (ack && *other == (syn ? SYN_SENT : SYN_ACK_SENT))
		answer_syn(r, id, !p->dir, p);
	if (!syn)
		return;
	if (*mine == SYN_NONE) {
		*mine = ack ? SYN_ACK_SENT : SYN_SENT;
		c->syn_ns[p->dir] = p->time_ns;
	} else if (*mine != SYN_ANSWERED) {
		*mine = SYN_REPEATED;
	}
}

static void acknowledge(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	struct vns_seq_side *s = &r->seq[id].side[!p->dir];
	struct vns_seq_range sent, by_sack;
	enum vns_seq_ack kind = vns_seq_ack(s, p->ack, p->time_ns, r->opts.inside, &sent);

	if (p->flags & VNS_PKT_F_HAS_SACK) {
		/* where the end rose too, the segment that caused the ACK is not in the block */
		enum vns_seq_ack block = vns_seq_sack(s, p->sack_left, p->sack_right, p->time_ns,
						      &by_sack);

		if (kind == VNS_ACK_REPEATED) {
			kind = block;
			sent = by_sack;
		}
	}
	r->ack[kind]++;
	if (kind == VNS_ACK_MATCHED || kind == VNS_ACK_SACKED)
		tcp_add_sample(r, id, (struct sample){ .at_ns = p->time_ns, .what = sent.end,
						       .rtt_ns = p->time_ns - sent.ns,
						       .kind = VNS_RTT_SEQ,
						       .dir = (uint8_t)!p->dir });
}

/* @p's counterpart was seen. */
static bool both_seen(const struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	return r->track[id].packets[!p->dir] ||
	       r->seq[id].side[!p->dir].first.ns != VNS_SEQ_NEVER;
}

void tcp_by_sequence(struct vns_rtt *r, uint32_t id, const struct vns_packet *p)
{
	uint16_t *user = &r->flows.head[id].user;
	bool control = p->tcp_flags & (VNS_TCP_SYN | VNS_TCP_FIN);
	uint32_t len = p->payload_len + !!(p->tcp_flags & VNS_TCP_SYN) +
		       !!(p->tcp_flags & VNS_TCP_FIN);
	const struct vns_seq_room room = {
		.limit = both_seen(r, id, p) ? VNS_PENDING_MAX : VNS_PENDING_ALONE,
		.bytes = &r->pending_bytes, .dropped = &r->counts.seq_dropped,
	};
	enum vns_seq_kind kind = VNS_SEQ_PURE;

	if (p->tcp_flags & VNS_TCP_RST)
		return;
	if (p->tcp_flags & VNS_TCP_ACK) {
		acknowledge(r, id, p);
		*user &= (uint16_t)~NO_WINDOW(!p->dir);
		if (p->window == 0)
			*user |= NO_WINDOW(!p->dir);
	}
	if (len)
		kind = vns_seq_add(&r->seq[id].side[p->dir], p->seq, len, p->time_ns,
				   (*user & NO_WINDOW(p->dir)) && len == 1 && !control, &room);
	r->range[kind]++;
}
