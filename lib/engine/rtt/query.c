// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Request -> reply of ICMP echo and DNS: decoded packets -> samples.
 *
 * ICMP echo (RFC 792, RFC 4443 section 4): request and reply agree in addresses, identifier and
 * sequence number. DNS (RFC 1035 section 4.1.1, RFC 5452 section 9.1): query and response agree in
 * addresses, ports and id, by UDP and by TCP; over TCP several of a connection may be under way, answered in
 * any order (RFC 7766 section 6.2.1.1).
 *
 * A request that was sent again before an answer makes that answer ambiguous: no sample (Karn and
 * Partridge, SIGCOMM 1987). The request stays ambiguous until it is forgotten, since answers to both
 * may come. So does one that was answered twice. After an answer the same id may be used anew
 * (sequence numbers wrap, resolvers reuse ids): that is a request of its own.
 *
 * The requests stand in a flow table whose key has the direction and the id in its spare bytes: open
 * list for those that wait, closed list for the answered; both are forgotten VNS_QUERY_TIMEOUT_NS
 * after their last message.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/rtt/app.h"

#define DEFAULT_WAITING (UINT32_C(1) << 18)
#define AMBIGUOUS       0x01 /* head.user */
#define DIR_BIT         0x80 /* in key.family: direction of the request */

int vns_queries_init(struct vns_queries *q, size_t max)
{
	uint32_t n = max ? (uint32_t)max : DEFAULT_WAITING;

	/* address space; pages come as ids are first used */
	q->sent_ns = calloc(n, sizeof(*q->sent_ns));
	if (!q->sent_ns || vns_flow_table_init(&q->table, n, VNS_QUERY_TIMEOUT_NS / 32)) {
		vns_queries_fini(q);
		return -ENOMEM;
	}
	return 0;
}

void vns_queries_fini(struct vns_queries *q)
{
	vns_flow_table_fini(&q->table);
	free(q->sent_ns);
	q->sent_ns = NULL;
}

static struct vns_rtt_query_counts *counts_of(struct vns_rtt_app *a, uint8_t ipproto)
{
	return vns_rtt_is_dns(ipproto) ? &a->counts.dns : &a->counts.icmp;
}

/* What the table knows a request by, whichever of its messages @p is. */
static uint64_t query_key(struct vns_flow_key *key, const struct vns_packet *p, uint16_t id,
			  unsigned int request_dir)
{
	/* a host that asks itself: both directions look the same, and the type tells them apart */
	if (p->key.port[0] == p->key.port[1] &&
	    memcmp(&p->key.addr[0], &p->key.addr[1], sizeof(p->key.addr[0])) == 0)
		request_dir = 0;
	*key = p->key;
	memcpy(key->zero, &id, sizeof(id));
	key->family = (uint8_t)(key->family | (request_dir ? DIR_BIT : 0));
	return p->flow_hash + ((uint64_t)id << 1 | request_dir) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Forget request @id; @lost: the counter when it never was answered. */
static void forget(struct vns_rtt_app *a, uint32_t id, bool dropped)
{
	struct vns_flow_head *h = &a->query.table.head[id];
	struct vns_rtt_query_counts *c = counts_of(a, h->key.ipproto);

	if (h->list == VNS_FLOW_OPEN) {
		c->dropped += dropped;
		c->unanswered += !dropped;
	}
	vns_flow_remove(&a->query.table, id);
}

static bool expired(const struct vns_flow_head *h, int64_t now_ns)
{
	return (int64_t)((uint64_t)now_ns - (uint64_t)h->last_ns) > VNS_QUERY_TIMEOUT_NS;
}

static uint32_t find_query(struct vns_rtt_app *a, uint64_t hash, const struct vns_flow_key *key,
			   int64_t now_ns)
{
	uint32_t id = vns_flow_find(&a->query.table, hash, key);

	if (id != VNS_FLOW_NONE && expired(&a->query.table.head[id], now_ns)) {
		forget(a, id, false);
		id = VNS_FLOW_NONE;
	}
	return id;
}

/* Make room for one: an answered request, else the oldest. */
static void push_out(struct vns_rtt_app *a)
{
	struct vns_flow_table *t = &a->query.table;

	for (int list = VNS_FLOW_LISTS; list-- > 0;) {
		if (t->back[list] != VNS_FLOW_NONE) {
			forget(a, t->back[list], true);
			break;
		}
	}
}

void vns_queries_limit(struct vns_rtt_app *a, uint32_t max)
{
	if (max < a->query.table.max)
		a->query.table.max = max;
	while (a->query.table.live > a->query.table.max)
		push_out(a);
}

static uint32_t new_query(struct vns_rtt_app *a, uint64_t hash, const struct vns_flow_key *key,
			  int64_t now_ns)
{
	struct vns_flow_table *t = &a->query.table;
	uint32_t id = vns_flow_insert(t, hash, key, now_ns);

	if (id != VNS_FLOW_NONE)
		return id;
	push_out(a);
	return vns_flow_insert(t, hash, key, now_ns);
}

static int request(struct vns_rtt_app *a, const struct vns_packet *p, uint16_t ident)
{
	struct vns_rtt_query_counts *c = counts_of(a, p->key.ipproto);
	struct vns_flow_table *t = &a->query.table;
	struct vns_flow_key key;
	uint64_t hash = query_key(&key, p, ident, p->dir);
	uint32_t id = find_query(a, hash, &key, p->time_ns);

	c->requests++;
	if (id == VNS_FLOW_NONE) {
		id = new_query(a, hash, &key, p->time_ns);
		if (id == VNS_FLOW_NONE)
			return -ENOMEM;
	} else if (t->head[id].list == VNS_FLOW_OPEN) {
		c->repeated++;
		t->head[id].user |= AMBIGUOUS;
		vns_flow_touch(t, id, p->time_ns);
		return 0;
	} else {
		vns_flow_touch(t, id, p->time_ns);
		vns_flow_move(t, id, VNS_FLOW_OPEN);
	}
	a->query.sent_ns[id] = p->time_ns;
	return 0;
}

/* Return: the round trip, or -1 when the reply gives none. */
static int64_t reply(struct vns_rtt_app *a, const struct vns_packet *p, uint16_t ident)
{
	struct vns_rtt_query_counts *c = counts_of(a, p->key.ipproto);
	struct vns_flow_table *t = &a->query.table;
	struct vns_flow_key key;
	uint64_t hash = query_key(&key, p, ident, !p->dir);
	uint32_t id = find_query(a, hash, &key, p->time_ns);

	c->replies++;
	if (id == VNS_FLOW_NONE) {
		c->unasked++;
		return -1;
	}
	vns_flow_touch(t, id, p->time_ns);
	if (t->head[id].list == VNS_FLOW_CLOSED) {
		c->repeated_replies++;
		t->head[id].user |= AMBIGUOUS;
		return -1;
	}
	vns_flow_move(t, id, VNS_FLOW_CLOSED);
	if (t->head[id].user & AMBIGUOUS) {
		c->ambiguous++;
		return -1;
	}
	if (p->time_ns < a->query.sent_ns[id]) {
		c->backwards++;
		return -1;
	}
	c->samples++;
	return p->time_ns - a->query.sent_ns[id];
}

/*
 * The flow for the figures of @p's exchange, @client being the direction of requests: hosts, and for
 * DNS the server's port; the rest is new for every process or query.
 */
static struct vns_flow_key figures_key(const struct vns_packet *p, int client, bool dns)
{
	struct vns_flow_key key = p->key;

	key.port[client] = 0;
	if (!dns)
		key.port[!client] = 0;
	return key;
}

static uint32_t figures_of(struct vns_rtt_app *a, const struct vns_packet *p,
			   const struct vns_flow_key *key)
{
	uint32_t id;

	if (!a->opts.per_flow)
		return VNS_FLOW_NONE;
	id = vns_rtt_app_flow(a, key, vns_flow_key_hash(key), p->time_ns, true);
	if (id != VNS_FLOW_NONE)
		a->flow[id].packets[p->dir] += a->flow[id].packets[p->dir] != UINT32_MAX;
	return id;
}

static int exchange(struct vns_rtt_app *a, const struct vns_packet *p, enum vns_rtt_kind kind,
		    bool is_reply, uint16_t ident)
{
	int client = is_reply ? !p->dir : p->dir;
	struct vns_flow_key key = figures_key(p, client, kind == VNS_RTT_DNS);
	uint32_t flow = figures_of(a, p, &key);
	int64_t rtt_ns;

	if (!is_reply)
		return request(a, p, ident);
	rtt_ns = reply(a, p, ident);
	if (rtt_ns >= 0)
		vns_rtt_app_emit(a, flow, &(struct vns_rtt_sample){
			.at_ns = p->time_ns, .rtt_ns = rtt_ns, .key = &key, .id = ident,
			.ident = p->key.port[client], .kind = (uint8_t)kind, .dir = (uint8_t)client });
	return 0;
}

int vns_query_icmp(struct vns_rtt_app *a, const struct vns_packet *p)
{
	bool is_reply = p->icmp_type == 0 || p->icmp_type == 129;

	return exchange(a, p, VNS_RTT_ICMP, is_reply, p->icmp_seqno);
}

int vns_query_dns(struct vns_rtt_app *a, const struct vns_packet *p, uint16_t id, uint16_t flags)
{
	return exchange(a, p, VNS_RTT_DNS, flags & VNS_DNS_QR, id);
}

void vns_queries_age(struct vns_rtt_app *a, int64_t now_ns, size_t work)
{
	struct vns_flow_table *t = &a->query.table;

	for (int list = 0; list < VNS_FLOW_LISTS; list++) {
		for (size_t i = 0; i < work; i++) {
			uint32_t id = t->back[list];

			if (id == VNS_FLOW_NONE || !expired(&t->head[id], now_ns))
				break;
			forget(a, id, false);
		}
	}
}

void vns_queries_finish(struct vns_rtt_app *a)
{
	struct vns_flow_table *t = &a->query.table;

	for (uint32_t id = t->back[VNS_FLOW_OPEN]; id != VNS_FLOW_NONE; id = t->head[id].prev)
		counts_of(a, t->head[id].key.ipproto)->unanswered++;
}
