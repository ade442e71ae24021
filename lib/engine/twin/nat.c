// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * NAT between the points: flows of A that bear other addresses than at B -> the flows of B.
 *
 * A packet of A that is not the guest's by its addresses may be one whose addresses are translated on
 * the way (RFC 3022; IPv6 prefixes: RFC 6296): masqueraded (the guest's own address hidden behind the
 * host's) or forwarded to the guest. The digest has no addresses and no ports in it, so both sightings
 * have the same, and one end of the flow, the peer's, is the same at both points. Where that is so the
 * packet is evidence for a mapping between two flows. Evidence counts when digest and IP ID occurred in
 * one flow of that end's at B and were claimed by one flow of A only, and when the times fit. Several different
 * packets must agree before a mapping is used (fewer where the same pair of addresses is mapped
 * already); one contradiction, and the flow is never mapped.
 *
 * A frame of many datagrams that the other point sees in pieces (UDP GSO, GRO) has its first
 * datagram's beginning and IP ID: the length of a datagram is left out. Once the flow is known,
 * superframe.c pairs them all.
 *
 * Where the peers' addresses are translated on their way to the guest (nat_peers), the end that is
 * the same is the guest's, and its packets at A are the guest's by their addresses: they wait likewise,
 * until B has shown their flow under the same addresses or under others.
 *
 * Evidence comes late: the twin at B may be read later than A's packet. So A's strangers wait in
 * a ring, chained by flow; after `settle` they are looked up as evidence. When a flow's mapping is
 * trusted all its packets go on at once, with B's flow in place of their own; a superframe at B would
 * not wait for the rest of its segments. What waited for most of the window is nobody's.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "engine/twin/twin_int.h"
#include "flow/table.h"
#include "packet/hash.h"

#define RING      65536u /* strangers that wait: 8 MB, 6 s of 10,000 a second */
#define SEEN      65536u /* packets of B that are remembered: 6 MB */
#define FLOWS     262144u
#define KNOWN     4096u /* flows of B that are remembered to be translations; 16 KB */
#define AT_B      65536u /* flows of B that are remembered; 512 KB */
#define GONE      INT64_MAX /* time of a packet in the ring that went on before its turn */
#define TICK_NS   VNS_NSEC_PER_SEC
#define ENOUGH_TCP  3 /* packets: each agrees in sequence numbers and timestamps */
#define ENOUGH_ID   3 /* datagrams that agree in payload and IP ID */
#define ENOUGH_BARE 6 /* datagrams that agree in payload alone */

/* NAT_PLAIN: B has the flow under the same addresses. */
enum nat_state { NAT_OPEN, NAT_TRUSTED, NAT_REFUSED, NAT_PLAIN };

static bool is_echo(const struct vns_flow_key *key)
{
	return key->ipproto == IPPROTO_ICMP || key->ipproto == IPPROTO_ICMPV6;
}

/* What is known of a flow of A. */
struct nat_flow {
	struct vns_flow_key key; /* at B, from the evidence */
	uint64_t hash;
	uint64_t last;           /* identity of the last evidence: copies of a packet are one */
	uint32_t first_held, last_held; /* in the ring, + 1 */
	uint8_t n, state;
	uint8_t end_a, end_b;    /* the end that is the same at both points */
	bool bare;               /* evidence had no IP ID and was no TCP */
	uint8_t first_dir;       /* of the flow's first packet at A */
};

/* A packet of B. */
struct nat_seen {
	struct vns_flow_key key;
	uint64_t hash, id; /* id: identity_with() the end that may be the same at A */
	int64_t time;
	uint32_t len;
	uint32_t claimed_by; /* flow of A, + 1 */
	uint8_t dir;
	bool many;
};

struct twin_nat {
	struct vns_flow_table table;
	struct nat_flow *flow;
	struct nat_seen *seen;
	struct vns_packet *ring;
	int64_t *time;       /* of the packets in the ring, the engine's */
	uint32_t *next;      /* the flow's next packet in the ring, + 1 */
	uint32_t head, looked, tail; /* counters; the ring holds [head, tail), [looked, tail) is new */
	uint32_t going;      /* packet of a flow that has just become trusted, + 1 */
	struct vns_twin_mapping map[VNS_TWIN_MAPPINGS];
	size_t n_map;
	uint32_t known[KNOWN]; /* B's flows that are a translation, at their hash */
	uint64_t at_b[AT_B];   /* nat_peers: hashes of flows that B has */
};

int twin_nat_new(struct twin_nat **out)
{
	struct twin_nat *n = calloc(1, sizeof(*n));

	*out = n;
	if (!n)
		return -ENOMEM;
	n->flow = calloc(FLOWS, sizeof(*n->flow));
	n->seen = calloc(SEEN, sizeof(*n->seen));
	n->ring = aligned_alloc(64, RING * sizeof(*n->ring));
	n->time = calloc(RING, sizeof(*n->time));
	n->next = calloc(RING, sizeof(*n->next));
	if (n->flow && n->seen && n->ring && n->time && n->next &&
	    vns_flow_table_init(&n->table, FLOWS, TICK_NS) == 0)
		return 0;
	twin_nat_free(n);
	*out = NULL;
	return -ENOMEM;
}

void twin_nat_free(struct twin_nat *n)
{
	if (!n)
		return;
	vns_flow_table_fini(&n->table);
	free(n->flow);
	free(n->seen);
	free(n->ring);
	free(n->time);
	free(n->next);
	free(n);
}

/*
 * A packet that an end of the flow, which is the same at both points, sends (@sends) or receives. Ends
 * are addresses and ports; an echo's identifier may be translated, and its ends are addresses.
 */
static uint64_t identity_with(const struct vns_packet *p, bool sends)
{
	unsigned int end = sends ? p->dir : !p->dir;
	uint64_t w[2];

	memcpy(w, &p->key.addr[end], sizeof(w));
	return vns_mix4(twin_bare_identity(p), w[0], w[1],
			(uint64_t)(is_echo(&p->key) ? 0 : p->key.port[end]) << 1 | sends);
}

static void see_with(struct twin_nat *n, const struct vns_packet *p, int64_t time, bool sends)
{
	uint64_t id = identity_with(p, sends);
	struct nat_seen *s = &n->seen[id % SEEN];

	if (s->id == id && time - s->time < VNS_NSEC_PER_SEC) {
		/* A copy of it is no other packet. */
		s->many |= !vns_flow_same_key(&s->key, &p->key) || s->dir != p->dir;
		return;
	}
	*s = (struct nat_seen){ .key = p->key, .hash = p->flow_hash, .id = id, .time = time,
				.len = p->payload_len, .dir = p->dir };
}

void twin_nat_see(struct vns_twin *t, const struct vns_packet *p, int64_t time)
{
	bool sent = twin_is_guest(t, vns_packet_src(p)), got = twin_is_guest(t, vns_packet_dst(p));

	if (t->nat_peers)
		t->nat->at_b[p->flow_hash % AT_B] = p->flow_hash;
	/* The end that is the same is the peer's, or if those are translated, the guest's. */
	if (got || t->nat_peers)
		see_with(t->nat, p, time, true);
	if (sent || t->nat_peers)
		see_with(t->nat, p, time, false);
}

/* The flow of @p, made when there is none; the one idle for longest makes room. */
static uint32_t flow_of(struct twin_nat *n, const struct vns_packet *p, int64_t time)
{
	uint32_t id = vns_flow_find(&n->table, p->flow_hash, &p->key);

	if (id != VNS_FLOW_NONE) {
		vns_flow_touch(&n->table, id, time);
		return id;
	}
	if (n->table.live == n->table.max)
		vns_flow_remove(&n->table, n->table.back[VNS_FLOW_OPEN]);
	id = vns_flow_insert(&n->table, p->flow_hash, &p->key, time);
	if (id != VNS_FLOW_NONE)
		n->flow[id] = (struct nat_flow){ .first_dir = p->dir };
	return id;
}

static void translate(const struct nat_flow *f, struct vns_packet *p)
{
	p->key = f->key;
	p->flow_hash = f->hash;
	p->dir ^= f->end_a != f->end_b;
}

static bool same_end(const struct vns_flow_key *a, int i, const struct vns_flow_key *b, int j)
{
	return memcmp(&a->addr[i], &b->addr[j], sizeof(a->addr[i])) == 0 &&
	       (is_echo(a) || a->port[i] == b->port[j]);
}

/*
 * Which end of A's flow is B's too? NAT translates one end: exactly one is the same.
 * Return: does A's packet then go the way B's goes?
 */
bool twin_nat_fits(const struct vns_packet *a, const struct vns_flow_key *key_b, uint8_t dir_b,
		   int *end_a, int *end_b)
{
	int found = 0;

	if (a->key.ipproto != key_b->ipproto || a->key.family != key_b->family)
		return false;
	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2; j++) {
			if (!same_end(&a->key, i, key_b, j))
				continue;
			found++;
			*end_a = i;
			*end_b = j;
		}
	}
	return found == 1 && (a->dir == *end_a) == (dir_b == *end_b);
}

static struct vns_twin_mapping *mapping_of(struct twin_nat *n, uint8_t ipproto,
					   const struct vns_addr *at_a, const struct vns_addr *at_b,
					   bool forwarded, uint16_t port)
{
	for (size_t i = 0; i < n->n_map; i++) {
		struct vns_twin_mapping *m = &n->map[i];

		if (m->ipproto == ipproto && m->forwarded == forwarded &&
		    vns_addr_equal(&m->at_a, at_a) && vns_addr_equal(&m->at_b, at_b) &&
		    (!forwarded || m->port_b == port))
			return m;
	}
	return NULL;
}

static bool addresses_known(const struct twin_nat *n, const struct vns_addr *at_a,
			    const struct vns_addr *at_b)
{
	for (size_t i = 0; i < n->n_map; i++)
		if (vns_addr_equal(&n->map[i].at_a, at_a) && vns_addr_equal(&n->map[i].at_b, at_b))
			return true;
	return false;
}

/* Enough evidence: the mapping is used from now on, and listed. */
static void trust(struct twin_nat *n, struct nat_flow *f, const struct vns_flow_key *a)
{
	int end_a = f->end_a, end_b = f->end_b;
	/* The peer's end is the same; a first packet from there was forwarded to the guest. */
	bool forwarded = f->first_dir == end_a;
	bool ports = !is_echo(a); /* an echo's is its number */
	uint16_t port_a = ports ? a->port[!end_a] : 0, port_b = ports ? f->key.port[!end_b] : 0;
	struct vns_twin_mapping *m = mapping_of(n, a->ipproto, &a->addr[!end_a],
						&f->key.addr[!end_b], forwarded, port_b);

	f->state = NAT_TRUSTED;
	n->known[(f->hash >> 32) % KNOWN] = (uint32_t)f->hash | 1;
	n->going = f->first_held;
	if (!m && n->n_map < VNS_TWIN_MAPPINGS) {
		m = &n->map[n->n_map++];
		*m = (struct vns_twin_mapping){
			.at_a = a->addr[!end_a], .at_b = f->key.addr[!end_b], .port_a = port_a,
			.port_b = port_b, .ipproto = a->ipproto, .forwarded = forwarded };
	}
	if (!m)
		return;
	m->flows++;
	if (m->port_a != port_a)
		m->port_a = 0;
	if (m->port_b != port_b)
		m->port_b = 0;
}

/* Is the evidence for @f, the flow @a of A, enough? It gets so too when its addresses become known. */
static bool trusted(struct twin_nat *n, struct nat_flow *f, const struct vns_flow_key *a)
{
	bool strong = !f->bare, known;
	unsigned int need = a->ipproto == IPPROTO_TCP ? ENOUGH_TCP : strong ? ENOUGH_ID : ENOUGH_BARE;

	if (f->state != NAT_OPEN || f->n == 0)
		return f->state == NAT_TRUSTED;
	known = addresses_known(n, &a->addr[!f->end_a], &f->key.addr[!f->end_b]);
	if (known)
		need = strong ? 1 : ENOUGH_BARE / 2;
	if (f->n >= need)
		trust(n, f, a);
	return f->state == NAT_TRUSTED;
}

static bool time_fits(const struct vns_twin *t, const struct vns_packet *p,
		      const struct nat_seen *s, int64_t time, int end_a)
{
	int64_t diff = s->time - time - t->ahead;
	/* The end that is the same is the peer's, unless the peers' addresses are translated. */
	bool from_peer = (p->dir == end_a) != (t->nat_peers && twin_is_guest(t, &p->key.addr[end_a]));
	int64_t lag = from_peer ? diff : -diff; /* A saw it first */

	return lag <= t->window && lag >= (t->n_twins ? -t->slack : -t->window);
}

/* Of one length, or one the beginning of the other: a frame of many datagrams and its first. */
static bool lengths_fit(const struct vns_packet *p, const struct nat_seen *s)
{
	return s->len == p->payload_len ||
	       (p->proto == VNS_PROTO_UDP && s->len > VNS_DIGEST_PAYLOAD_BYTES &&
		p->payload_len > VNS_DIGEST_PAYLOAD_BYTES);
}

/* The same packet at B, of a flow of which @p's may be the translation; NULL: none, or several. */
static struct nat_seen *find_seen(struct vns_twin *t, const struct vns_packet *p, int64_t time,
				  int *end_a, int *end_b)
{
	struct nat_seen *found = NULL;

	for (int sends = 0; sends < 2; sends++) {
		uint64_t id = identity_with(p, sends);
		struct nat_seen *s = &t->nat->seen[id % SEEN];
		int a = 0, b = 0;

		if (s->id != id || s->many || !lengths_fit(p, s) ||
		    !twin_nat_fits(p, &s->key, s->dir, &a, &b) || !time_fits(t, p, s, time, a))
			continue;
		if (found)
			return NULL;
		found = s;
		*end_a = a;
		*end_b = b;
	}
	return found;
}

/* Has B the flow of @p as it is? */
static bool is_plain(const struct vns_twin *t, const struct vns_packet *p)
{
	return t->nat_peers && t->nat->at_b[p->flow_hash % AT_B] == p->flow_hash;
}

/* Evidence: is @p at B, under other addresses? */
static void look_up(struct vns_twin *t, const struct vns_packet *p, int64_t time)
{
	struct twin_nat *n = t->nat;
	uint32_t at = flow_of(n, p, time);
	struct nat_flow *f = &n->flow[at];
	struct nat_seen *s;
	int end_a = 0, end_b = 0;

	if (at == VNS_FLOW_NONE || f->state != NAT_OPEN)
		return;
	if (is_plain(t, p)) {
		f->state = NAT_PLAIN;
		n->going = f->first_held;
		return;
	}
	s = find_seen(t, p, time, &end_a, &end_b);
	if (!s || f->last == s->id)
		return;
	if ((s->claimed_by && s->claimed_by != at + 1) ||
	    (f->n && !vns_flow_same_key(&f->key, &s->key))) {
		if (s->claimed_by && s->claimed_by != at + 1)
			n->flow[s->claimed_by - 1].state = NAT_REFUSED;
		f->state = NAT_REFUSED;
		return;
	}
	s->claimed_by = at + 1;
	f->key = s->key;
	f->hash = s->hash;
	f->end_a = (uint8_t)end_a;
	f->end_b = (uint8_t)end_b;
	f->bare |= p->proto != VNS_PROTO_TCP && !p->ip_id;
	f->last = s->id;
	f->n++;
	trusted(n, f, &p->key);
}

bool twin_nat_translate(struct vns_twin *t, struct vns_packet *p, int64_t time)
{
	uint32_t at = flow_of(t->nat, p, time);

	if (at == VNS_FLOW_NONE || !trusted(t->nat, &t->nat->flow[at], &p->key))
		return false;
	translate(&t->nat->flow[at], p);
	return true;
}

bool twin_nat_knows(const struct twin_nat *n, uint64_t flow_hash)
{
	return n->known[(flow_hash >> 32) % KNOWN] == ((uint32_t)flow_hash | 1);
}

bool twin_nat_unsure(struct vns_twin *t, const struct vns_packet *p, int64_t time)
{
	uint32_t at = flow_of(t->nat, p, time);

	return at != VNS_FLOW_NONE && t->nat->flow[at].state != NAT_PLAIN &&
	       t->nat->flow[at].state != NAT_REFUSED;
}

bool twin_nat_hold(struct vns_twin *t, const struct vns_packet *p, int64_t time)
{
	struct twin_nat *n = t->nat;
	struct nat_flow *f;
	uint32_t at;

	if ((p->verdict != VNS_PKT_OK && p->verdict != VNS_PKT_FRAGMENT) ||
	    (p->flags & VNS_PKT_F_MULTICAST))
		return false;
	if (n->tail - n->head == RING)
		return false;
	at = flow_of(n, p, time);
	if (at == VNS_FLOW_NONE)
		return false;
	n->ring[n->tail % RING] = *p;
	n->time[n->tail % RING] = time;
	n->next[n->tail % RING] = 0;
	n->tail++;
	f = &n->flow[at];
	if (f->last_held && f->last_held - 1 - n->head < RING)
		n->next[(f->last_held - 1) % RING] = n->tail;
	else
		f->first_held = n->tail;
	f->last_held = n->tail;
	return true;
}

/* The packet at @i leaves the ring, or its place in it. Return: false when it has left before. */
static bool take(struct twin_nat *n, uint32_t i, int64_t *time)
{
	*time = n->time[i % RING];
	n->time[i % RING] = GONE;
	return *time != GONE;
}

static const struct vns_packet *next_going(struct twin_nat *n, int64_t *time)
{
	while (n->going) {
		uint32_t i = n->going - 1;

		n->going = i - n->head < n->tail - n->head ? n->next[i % RING] : 0;
		if (i - n->head < n->tail - n->head && take(n, i, time))
			return &n->ring[i % RING];
	}
	return NULL;
}

const struct vns_packet *twin_nat_next(struct vns_twin *t, int64_t *time)
{
	struct twin_nat *n = t->nat;
	int64_t old = t->horizon - t->settle, oldest = t->horizon - t->window / 10 * 6;
	const struct vns_packet *p = next_going(n, time);
	uint32_t at;

	while (!p && n->looked != n->tail &&
	       (n->time[n->looked % RING] < old || n->time[n->looked % RING] == GONE)) {
		at = n->looked++ % RING;
		if (n->time[at] == GONE)
			continue;
		look_up(t, &n->ring[at], n->time[at]);
		p = next_going(n, time);
	}
	while (!p && n->head != n->looked) {
		at = n->head % RING;
		if (n->time[at] != GONE && n->time[at] >= oldest &&
		    n->tail - n->head < RING / 8 * 7)
			break;
		n->head++;
		if (take(n, at, time))
			p = &n->ring[at];
	}
	return p;
}

size_t vns_twin_mappings(const struct vns_twin *t, struct vns_twin_mapping out[VNS_TWIN_MAPPINGS])
{
	if (!t->nat)
		return 0;
	memcpy(out, t->nat->map, t->nat->n_map * sizeof(*out));
	return t->nat->n_map;
}

struct vns_twin_learnt {
	struct twin_nat *nat;
	int64_t shortest[VNS_DIRECTIONS], longest[VNS_DIRECTIONS], recent[VNS_DIRECTIONS];
	bool found[VNS_DIRECTIONS];
};

struct vns_twin_learnt *vns_twin_hand_over(struct vns_twin *t)
{
	struct vns_twin_learnt *l = calloc(1, sizeof(*l));

	bool found[VNS_DIRECTIONS];

	memcpy(found, t->found, sizeof(found));
	/*
	 * Where traffic goes on a packet may be slower than any before: the usual allowance for that, which
	 * the twins that still wait must not undo as if they were the first.
	 */
	for (unsigned int d = 0; d < VNS_DIRECTIONS; d++) {
		if (t->longest[d] < twin_reach(t, d))
			t->longest[d] = twin_reach(t, d);
		t->found[d] = true;
	}
	vns_twin_finish(t);
	for (unsigned int d = 0; d < VNS_DIRECTIONS; d++)
		t->found[d] = found[d] || t->recent[d] > 0;
	if (!l)
		return NULL;
	memcpy(l->shortest, t->shortest, sizeof(l->shortest));
	memcpy(l->longest, t->longest, sizeof(l->longest));
	memcpy(l->recent, t->recent, sizeof(l->recent));
	memcpy(l->found, t->found, sizeof(l->found));
	l->nat = t->nat; /* its ring is empty: all that waited has its class */
	t->nat = NULL;
	return l;
}

void vns_twin_take_over(struct vns_twin *t, struct vns_twin_learnt *l)
{
	if (!l)
		return;
	memcpy(t->shortest, l->shortest, sizeof(t->shortest));
	memcpy(t->longest, l->longest, sizeof(t->longest));
	memcpy(t->recent, l->recent, sizeof(t->recent));
	memcpy(t->found, l->found, sizeof(t->found));
	if (t->nat && l->nat) {
		struct twin_nat *own = t->nat;

		t->nat = l->nat;
		l->nat = own;
	}
	vns_twin_learnt_free(l);
}

void vns_twin_learnt_free(struct vns_twin_learnt *l)
{
	if (!l)
		return;
	twin_nat_free(l->nat);
	free(l);
}

uint64_t vns_twin_translated(const struct vns_twin *t)
{
	return t->translated;
}
