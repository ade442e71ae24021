// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Segments of port 53 -> DNS messages by TCP, and what of them cannot be read, in constant memory.
 *
 * A message stands behind its length (RFC 1035 section 4.2.2); a sender may hand both to TCP at once, or
 * the length first, or several messages together, or one that takes many segments (RFC 7766
 * section 8). What is known of a packet are its payload's first six bytes and how many messages begin
 * behind the first, so a direction is followed by where its next message begins:
 *
 *   a message at the segment's start    a query or response; the next begins behind its length
 *   a length alone                      the next segment is the message itself
 *   within a message                    its rest; a message that begins behind that is not read
 *   none of these                       unread, unless it looks like a message: the capture may have begun, or
 *                                       the place for the direction been taken by another
 *
 * A segment that was sent again finds its message's begin remembered, so it is the same message.
 */
#include <errno.h>

#include "base/held.h"
#include "engine/rtt/app.h"

enum { PREFIX = 2, FIRST_WORDS = 6, PORT_DNS = 53, LAST_OPCODE = 6 };

static struct dns_stream *stream_of(struct vns_rtt_app *a, const struct vns_packet *p)
{
	uint64_t flow = ((p->flow_hash << 1 | p->dir) + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	struct dns_stream *s;

	if (!a->stream)
		a->stream = vns_app_calloc(DNS_STREAMS, sizeof(*a->stream));
	if (!a->stream)
		return NULL;
	s = &a->stream[flow >> 32 & (DNS_STREAMS - 1)];
	if (s->flow != flow)
		*s = (struct dns_stream){ .flow = flow, .from = p->seq, .next = p->seq };
	return s;
}

/* Payload bytes of @p that the capture kept. */
static uint32_t captured(const struct vns_packet *p)
{
	uint32_t head = p->wire_len - p->payload_len;

	return p->cap_len > head ? p->cap_len - head : 0;
}

/* Behind a length of its own: may the first words be a message? As the decoder asks (packet/app.c). */
static bool is_message(const struct vns_packet *p, const struct dns_stream *s)
{
	enum { HEADER = 12 };
	uint16_t flags = p->dns_id, questions = p->dns_flags;
	bool response = flags & VNS_DNS_QR, both = p->key.port[0] == p->key.port[1];

	if (s->len < HEADER || (!both && response != (p->key.port[p->dir] == PORT_DNS)))
		return false;
	return (flags & VNS_DNS_OPCODE) >> 11 <= LAST_OPCODE && questions <= 1;
}

/* @p begins a message that ends at @end; @behind: how many more begin in the segment. */
static void begin(struct vns_rtt_app *a, struct dns_stream *s, const struct vns_packet *p, uint32_t end,
		  bool bare, uint64_t behind)
{
	*s = (struct dns_stream){ s->flow, p->seq, behind ? p->seq : end, s->len, false, bare };
	a->counts.dns_tcp.inside += behind;
}

static void other(struct vns_rtt_app *a, uint64_t *class)
{
	a->counts.other++;
	++*class;
}

/* The message whose length stood alone. */
static int after_length(struct vns_rtt_app *a, struct dns_stream *s, const struct vns_packet *p)
{
	bool cut = captured(p) < FIRST_WORDS;

	if (!cut && !is_message(p, s)) {
		*s = (struct dns_stream){ .flow = s->flow, .from = p->seq, .next = p->seq };
		other(a, &a->counts.dns_tcp.unread);
		return 0;
	}
	begin(a, s, p, p->seq + s->len, true, p->payload_len > s->len);
	a->counts.cut += cut;
	return cut ? 0 : vns_query_dns(a, p, p->dns_len, p->dns_id);
}

int vns_dns_segment(struct vns_rtt_app *a, const struct vns_packet *p)
{
	struct dns_stream *s = stream_of(a, p);
	uint32_t end = p->seq + p->payload_len;

	if (!s)
		return -ENOMEM;
	if ((s->lone && p->seq == s->next) || (s->bare && p->seq == s->from))
		return after_length(a, s, p);
	if ((int32_t)(p->seq - s->from) > 0 && (int32_t)(s->next - p->seq) > 0) {
		other(a, &a->counts.dns_tcp.continued);
		if ((int32_t)(end - s->next) > 0) {
			a->counts.dns_tcp.inside++;
			s->from = s->next = end;
		}
	} else if (p->flags & VNS_PKT_F_DNS) {
		begin(a, s, p, p->seq + PREFIX + p->dns_len, false, p->dns_behind);
		return vns_query_dns(a, p, p->dns_id, p->dns_flags);
	} else if (p->payload_len == PREFIX && captured(p) >= PREFIX) {
		*s = (struct dns_stream){ s->flow, p->seq, end, p->dns_len, true, false };
		other(a, &a->counts.dns_tcp.lengths);
	} else if (captured(p) < FIRST_WORDS && captured(p) < p->payload_len) {
		a->counts.cut++;
	} else {
		other(a, &a->counts.dns_tcp.unread);
	}
	return 0;
}
