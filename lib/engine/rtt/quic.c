// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Round-trip times of QUIC: datagrams of one flow -> handshake and spin bit samples.
 *
 * Which UDP flow is QUIC (RFC 9312 section 3.1): one that began with an Initial of at least 1200 bytes
 * (RFC 9000 section 14.1), or any on port 443 with a header that can be QUIC. The client is who sent
 * that Initial, unless it came from port 443; without one, who is not on port 443.
 *
 * Handshake (RFC 9312 section 3.8.1). Client's Initial -> the server's first answer: Initial,
 * Handshake, Retry or Version Negotiation: round trip between here and the server. Server's first
 * Initial or Handshake -> first datagram of the client that shows it was received: between here and
 * the client. Shown it is by a Handshake packet, or by an Initial to the connection ID that the
 * server chose (RFC 9000 section 7.2); an Initial to the client's own first choice was sent before.
 * After Retry and Version Negotiation the client begins again, with a new round trip. Both contain
 * the cryptography of the answering side.
 *   Answers must carry the client's connection ID. Initials sent again: a long ClientHello takes two
 *   or three datagrams back to back, a lost one is repeated after a second, and which of them
 *   was answered is not visible. The sample runs from the first; it is taken while the train is at
 *   most an eighth of it, so that it is too high by no more, and is never too low (Karn).
 *
 * Spin bit (RFC 9000 section 17.4, RFC 9312 section 3.8.2). The server sends back the bit it saw last,
 * the client its inverse. So edges alternate at any point between them: the client changes only while
 * both directions show the same value, the server only while they differ. The time from an edge of
 * one direction to the edge it causes in the other is the round trip between here and the side that
 * answered; both components add up to the whole. It holds what that side waited before it sent.
 *   Reordered packets show edges that do not fit this alternation: such a packet changes nothing, and
 *   neither the sample that ended before it nor the next SPIN_QUARANTINE are taken; a sample is
 *   therefore given only when the next edge has confirmed it. A lost edge only delays what both see.
 *   Packets that come a round trip late make edges that fit: a component below 1/SPIN_LOW of the flow's
 *   smoothed one is not taken.
 *   Bits set by chance break the alternation too. Where a side may not change, each packet that does
 *   not is evidence with odds of one half; where it may, each that does, less each that does
 *   not (one packet per round trip changes every time). A flow is trusted with SPIN_EVIDENCE of
 *   them (chance: 2^-20), and SPIN_PER_REJECTED more for each packet that contradicted; its first
 *   samples wait until then. It is distrusted for good when a quarter of its edges is disturbed. A constant
 *   bit has no edges.
 *   Application-limited senders: a component above SPIN_HIGH times the flow's lowest (or the
 *   handshake's) is not taken when the sender was silent for more than half of it before the edge.
 *   A new connection ID restarts the bit on that path: both directions begin anew.
 * One direction alone cannot be checked in this way: it gives no samples.
 */
#include <stdlib.h>
#include <string.h>

#include "base/held.h"
#include "engine/rtt/app.h"

enum { PORT_QUIC = 443, INITIAL_MIN_BYTES = 1200, CLIENT_UNKNOWN = 2 };

#define KARN_PART    8 /* a train may last this part of the sample */
#define SPIN_HIGH    4
#define SPIN_LOW     4
#define SPIN_SMOOTHING 8 /* as TCP's smoothed RTT (RFC 6298) */
#define SPIN_EVIDENCE    20
#define SPIN_PER_REJECTED 10
#define SPIN_QUARANTINE  3  /* edges after a disturbance that give no sample */
#define SPIN_JUDGED      16 /* edges before a flow may be distrusted */
#define EPISODE_PART 4 /* a flow with this part of its edges disturbed does not spin */

static bool same_cid(const struct quic_cid *a, const struct quic_cid *b)
{
	return a->len == b->len && a->word[0] == b->word[0] && a->word[1] == b->word[1];
}

/* As far as both are known. */
static bool may_be_same_cid(const struct quic_cid *a, const struct quic_cid *b)
{
	return a->len == VNS_QUIC_CID_CUT || b->len == VNS_QUIC_CID_CUT || same_cid(a, b);
}

static struct quic_cid dcid_of(const struct vns_packet *p)
{
	return (struct quic_cid){ { p->quic_dcid[0], p->quic_dcid[1] }, p->quic_dcid_len };
}

static struct quic_cid scid_of(const struct vns_packet *p)
{
	return (struct quic_cid){ { p->quic_scid[0], p->quic_scid[1] }, p->quic_scid_len };
}

static void restart_spin(struct quic_flow *q)
{
	q->has = q->edge_ok = q->disturbed = 0;
	q->pending.rtt_ns = -1;
}

static void emit(struct vns_rtt_app *a, uint32_t id, enum vns_rtt_kind kind,
		 const struct spin_held *s)
{
	struct quic_flow *q = a->flow[id].quic;
	int64_t *min = &q->min_ns[s->dir];

	if (*min == 0 || s->rtt_ns < *min)
		*min = s->rtt_ns;
	if (!vns_rtt_app_wants(a, kind))
		return;
	if (kind == VNS_RTT_QUIC_SPIN)
		a->counts.quic.spin_samples++;
	else
		a->counts.quic.handshake_samples++;
	vns_rtt_app_emit(a, id, &(struct vns_rtt_sample){
		.at_ns = s->at_ns, .rtt_ns = s->rtt_ns, .key = &a->flows.head[id].key,
		.kind = (uint8_t)kind, .dir = s->dir });
}

/* --- Handshake --- */

/* A sample from a train that lasted from @train[0] to @train[1], sent in direction @dir. */
static void handshake_sample(struct vns_rtt_app *a, uint32_t id, const int64_t train[2],
			     int64_t now_ns, uint8_t dir)
{
	int64_t rtt_ns = now_ns - train[0];

	if (rtt_ns < 0 || train[1] < train[0])
		a->counts.quic.backwards++;
	else if (train[1] - train[0] > rtt_ns / KARN_PART)
		a->counts.quic.ambiguous++;
	else
		emit(a, id, VNS_RTT_QUIC_HANDSHAKE,
		     &(struct spin_held){ now_ns, rtt_ns, dir });
}

static void begin_connection(struct vns_rtt_app *a, struct quic_flow *q, const struct vns_packet *p)
{
	a->counts.quic.connections += q->phase != QUIC_AGAIN;
	q->phase = QUIC_ASKED;
	q->client_dir = p->dir;
	q->sent_ns[0] = q->sent_ns[1] = p->time_ns;
	q->client_dcid = dcid_of(p);
	q->scid[p->dir] = scid_of(p);
	q->version16 = p->quic_version16;
	q->cid_seen = 0;
	restart_spin(q);
}

/* An Initial or Handshake packet of the client. */
static void from_client(struct vns_rtt_app *a, uint32_t id, const struct vns_packet *p)
{
	struct quic_flow *q = a->flow[id].quic;
	struct quic_cid dcid = dcid_of(p);
	bool initial = p->quic_type == VNS_QUIC_INITIAL;
	bool first_choice = same_cid(&dcid, &q->client_dcid);
	bool to_server_cid = same_cid(&dcid, &q->scid[!p->dir]);
	bool big = p->payload_len >= INITIAL_MIN_BYTES;

	switch ((enum quic_phase)q->phase) {
	case QUIC_IDLE:
		if (initial && big)
			begin_connection(a, q, p);
		return;
	case QUIC_AGAIN:
		/* a late repetition of the first attempt has its version and connection ID */
		if (initial && big && !(first_choice && q->version16 == p->quic_version16))
			begin_connection(a, q, p);
		return;
	case QUIC_ASKED:
		if (!initial)
			return;
		if (big && !first_choice) {
			begin_connection(a, q, p);
			return;
		}
		a->counts.quic.repeated++;
		q->sent_ns[1] = p->time_ns;
		return;
	case QUIC_ANSWERED:
		if (initial && (first_choice || !to_server_cid))
			break;
		q->phase = QUIC_DONE;
		handshake_sample(a, id, q->answered_ns, p->time_ns, !p->dir);
		return;
	case QUIC_DONE:
		break;
	}
	/* a new connection from the same port? */
	if (initial && big && !first_choice && !to_server_cid)
		begin_connection(a, q, p);
}

static void from_server(struct vns_rtt_app *a, uint32_t id, const struct vns_packet *p)
{
	struct quic_flow *q = a->flow[id].quic;
	struct quic_cid dcid = dcid_of(p), scid = scid_of(p);

	if (q->phase == QUIC_ANSWERED && p->quic_type == VNS_QUIC_INITIAL) {
		q->answered_ns[1] = p->time_ns;
		return;
	}
	if (q->phase != QUIC_ASKED)
		return;
	if (!may_be_same_cid(&dcid, &q->scid[!p->dir]) ||
	    (p->quic_type == VNS_QUIC_NEGOTIATION && !may_be_same_cid(&scid, &q->client_dcid))) {
		a->counts.quic.foreign++;
		return;
	}
	handshake_sample(a, id, q->sent_ns, p->time_ns, !p->dir);
	q->scid[p->dir] = scid;
	q->answered_ns[0] = q->answered_ns[1] = p->time_ns;
	a->counts.quic.retries += p->quic_type == VNS_QUIC_RETRY;
	a->counts.quic.negotiations += p->quic_type == VNS_QUIC_NEGOTIATION;
	q->phase = p->quic_type == VNS_QUIC_RETRY || p->quic_type == VNS_QUIC_NEGOTIATION ?
			   QUIC_AGAIN : QUIC_ANSWERED;
}

static void long_header(struct vns_rtt_app *a, uint32_t id, const struct vns_packet *p)
{
	struct quic_flow *q = a->flow[id].quic;
	uint8_t type = p->quic_type;

	if (q->client_dir == CLIENT_UNKNOWN && type == VNS_QUIC_INITIAL)
		q->client_dir = p->dir;
	if (p->dir == q->client_dir) {
		if (type == VNS_QUIC_INITIAL || type == VNS_QUIC_HANDSHAKE)
			from_client(a, id, p);
	} else if (type != VNS_QUIC_0RTT && type != VNS_QUIC_OTHER) {
		from_server(a, id, p);
	}
}

/* --- Spin bit --- */

static void spin_begin(struct quic_flow *q)
{
	if (!q->trusted && !q->held)
		q->held = vns_app_calloc(SPIN_HELD, sizeof(*q->held));
}

static void free_held(struct quic_flow *q)
{
	vns_held_change(q->held ? SPIN_HELD * sizeof(*q->held) : 0, 0);
	free(q->held);
	q->held = NULL;
}

static void drop_held(struct vns_rtt_app *a, struct quic_flow *q)
{
	a->counts.quic.spin_unconfirmed += q->n_held;
	free_held(q);
	q->n_held = 0;
}

/* After each edge that fits: is this a spinning flow? */
static void judge(struct vns_rtt_app *a, uint32_t id)
{
	struct quic_flow *q = a->flow[id].quic;

	uint64_t may = q->edges > q->kept_allowed ? q->edges - q->kept_allowed : 0;
	uint64_t enough = SPIN_EVIDENCE + (uint64_t)SPIN_PER_REJECTED * q->rejected;

	if (!q->trusted && q->kept_forbidden + may >= enough) {
		q->trusted = 1;
		for (uint8_t i = 0; i < q->n_held; i++)
			emit(a, id, VNS_RTT_QUIC_SPIN, &q->held[i]);
		q->n_held = 0;
		free_held(q);
	} else if (q->edges >= SPIN_JUDGED && q->episodes > q->edges / EPISODE_PART) {
		q->distrusted = 1;
		a->counts.quic.spin_not_spinning++;
		drop_held(a, q);
	}
}

/* The sample that waited for this edge. */
static void confirm(struct vns_rtt_app *a, uint32_t id)
{
	struct quic_flow *q = a->flow[id].quic;
	struct spin_held s = q->pending;

	q->pending.rtt_ns = -1;
	if (s.rtt_ns < 0)
		return;
	if (q->trusted)
		emit(a, id, VNS_RTT_QUIC_SPIN, &s);
	else if (q->held && q->n_held < SPIN_HELD)
		q->held[q->n_held++] = s;
	else
		a->counts.quic.spin_unconfirmed++;
}

/* A bit that contradicts the alternation: forget the samples on both sides of the last edge. */
static void disturb(struct vns_rtt_app *a, struct quic_flow *q)
{
	a->counts.quic.spin_rejected++;
	q->rejected++;
	q->episodes += !q->disturbed && q->edges > 0;
	q->disturbed = 1;
	q->pending.rtt_ns = -1;
	q->edge_ok = 0;
	q->quarantine = SPIN_QUARANTINE;
}

/* Far below the flow's own samples? Their mean follows even those that are not taken. */
static bool too_low(struct quic_flow *q, uint8_t dir, int64_t rtt_ns)
{
	int64_t *mean_ns = &q->mean_ns[dir];
	bool low = rtt_ns < *mean_ns / SPIN_LOW;

	*mean_ns = *mean_ns ? *mean_ns + (rtt_ns - *mean_ns) / SPIN_SMOOTHING : rtt_ns;
	return low;
}

/* An edge that fits, of the direction of @p, which was silent for @silence_ns before. */
static void edge(struct vns_rtt_app *a, uint32_t id, const struct vns_packet *p, int64_t silence_ns)
{
	struct quic_flow *q = a->flow[id].quic;
	uint8_t bit = (uint8_t)(1u << p->dir), cause = !p->dir;
	int64_t rtt_ns = p->time_ns - q->edge_ns[cause], min_ns = q->min_ns[cause];

	a->counts.quic.spin_edges++;
	q->edges++;
	spin_begin(q);
	confirm(a, id);
	judge(a, id);
	q->disturbed = 0;
	q->value ^= bit;
	if (q->quarantine) {
		q->quarantine--;
	} else if (q->edge_ok & 1u << cause) {
		if (rtt_ns < 0)
			a->counts.quic.backwards++;
		else if (too_low(q, cause, rtt_ns))
			a->counts.quic.spin_low++;
		else if (min_ns && rtt_ns / SPIN_HIGH > min_ns && silence_ns > rtt_ns / 2)
			a->counts.quic.spin_silent++;
		else
			q->pending = (struct spin_held){ p->time_ns, rtt_ns, cause };
	}
	q->edge_ns[p->dir] = p->time_ns;
	q->edge_ok |= bit;
}

/*
 * The connection ID of a short header is known by the length that the receiver chose in the
 * handshake. Return: false when it is not the one of the packet before.
 */
static bool same_connection_id(struct quic_flow *q, const struct vns_packet *p)
{
	uint8_t len = q->scid[!p->dir].len, bit = (uint8_t)(1u << p->dir);
	uint8_t n = len < p->quic_dcid_len ? len : p->quic_dcid_len;
	uint64_t id = (uint64_t)p->quic_dcid[0] << 32 | p->quic_dcid[1], before;
	uint32_t *seen = q->cid[p->dir];
	bool known = q->phase != QUIC_IDLE && len != VNS_QUIC_CID_CUT && n > 0, same;

	if (!known)
		return true;
	id &= ~UINT64_C(0) << (64 - 8 * n);
	before = (uint64_t)seen[0] << 32 | seen[1];
	same = !(q->cid_seen & bit) || before == id;
	q->cid_seen |= bit;
	seen[0] = (uint32_t)(id >> 32);
	seen[1] = (uint32_t)id;
	return same;
}

static void short_header(struct vns_rtt_app *a, uint32_t id, const struct vns_packet *p)
{
	struct quic_flow *q = a->flow[id].quic;
	uint8_t bit = (uint8_t)(1u << p->dir), spin = p->quic_type == VNS_QUIC_SHORT_1;
	int64_t silence_ns = p->time_ns - q->last_ns[p->dir];
	bool differ, forbidden;

	if (q->distrusted || q->client_dir == CLIENT_UNKNOWN)
		return;
	if (!same_connection_id(q, p)) {
		a->counts.quic.cid_changes++;
		restart_spin(q);
	}
	q->last_ns[p->dir] = p->time_ns;
	if (!(q->has & bit)) {
		q->has |= bit;
		q->value = (uint8_t)((q->value & ~bit) | (spin ? bit : 0));
		return;
	}
	if (q->has != 3)
		return;
	differ = q->value == 1 || q->value == 2;
	forbidden = differ == (p->dir == q->client_dir);
	if (spin == (q->value >> p->dir & 1)) {
		q->kept_forbidden += forbidden;
		q->kept_allowed += !forbidden;
	} else if (forbidden) {
		disturb(a, q);
	} else {
		edge(a, id, p, silence_ns);
	}
}

/* --- Flows --- */

/* May @p open a flow? */
static bool opens(const struct vns_packet *p)
{
	bool is_short = p->quic_type == VNS_QUIC_SHORT_0 || p->quic_type == VNS_QUIC_SHORT_1;

	if (p->key.port[0] == PORT_QUIC || p->key.port[1] == PORT_QUIC)
		return !is_short || p->quic_scid_len; /* with the fixed bit */
	return p->quic_type == VNS_QUIC_INITIAL && p->payload_len >= INITIAL_MIN_BYTES;
}

static uint8_t client_by_port(const struct vns_packet *p)
{
	bool a = p->key.port[0] == PORT_QUIC, b = p->key.port[1] == PORT_QUIC;

	return a == b ? CLIENT_UNKNOWN : a;
}

bool vns_quic_packet(struct vns_rtt_app *a, const struct vns_packet *p)
{
	uint32_t id = vns_rtt_app_flow(a, &p->key, p->flow_hash, p->time_ns, opens(p));
	struct app_flow *f;

	if (id == VNS_FLOW_NONE)
		return false;
	f = &a->flow[id];
	if (!f->quic) {
		f->quic = vns_app_calloc(1, sizeof(*f->quic));
		if (!f->quic)
			return false;
		f->quic->client_dir = client_by_port(p);
		f->quic->pending.rtt_ns = -1;
		a->counts.quic.flows++;
	}
	f->packets[p->dir] += f->packets[p->dir] != UINT32_MAX;
	if (p->quic_type == VNS_QUIC_SHORT_0 || p->quic_type == VNS_QUIC_SHORT_1) {
		a->counts.quic.short_headers++;
		short_header(a, id, p);
	} else {
		a->counts.quic.long_headers++;
		long_header(a, id, p);
	}
	return true;
}

void vns_quic_end(struct vns_rtt_app *a, struct quic_flow *q)
{
	if (q->pending.rtt_ns >= 0)
		a->counts.quic.spin_unconfirmed++;
	drop_held(a, q);
	vns_held_change(sizeof(*q), 0);
	free(q);
}
