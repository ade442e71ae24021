// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What must be known before twins can be looked for: how far the clocks of two captures are
 * apart, coarsely, and which addresses are the guest's.
 *
 * Both follow from packets whose identity occurs once at each point. Their t_B - t_A is offset +
 * latency towards the guest and offset - latency from it, so the median is the offset to within the
 * latencies; and between two addresses, the direction with the larger t_B - t_A goes to
 * the guest, whatever the offset (the sum of both latencies is positive).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/twin/twin_int.h"

bool twin_is_unspecified(const struct vns_addr *a)
{
	static const struct vns_addr v6, v4 = { { [10] = 0xff, [11] = 0xff } };

	return vns_addr_equal(a, &v6) || vns_addr_equal(a, &v4);
}

uint64_t twin_identity(const struct vns_packet *p)
{
	uint64_t h = p->flow_hash + p->dir;

	h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	if (p->verdict == VNS_PKT_FRAGMENT || p->frag_off)
		return h + ((uint64_t)p->ip_id << 16 ^ p->frag_off) * UINT64_C(0x94d049bb133111eb);
	return h ^ (p->digest + (uint64_t)p->window * UINT64_C(0x94d049bb133111eb));
}

struct seen {
	uint64_t id;
	const struct vns_packet *p;
};

static int by_identity(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int by_value(const void *pa, const void *pb)
{
	int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

	return a < b ? -1 : a > b;
}

/* Packets whose identity occurs once in @in, sorted by it; the array is the caller's to free. */
static size_t unique_packets(const struct vns_packet *in, size_t n, struct seen **out)
{
	struct seen *s = malloc((n ? n : 1) * sizeof(*s));
	size_t m = 0, k = 0;

	*out = s;
	if (!s)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (in[i].verdict == VNS_PKT_OK || in[i].verdict == VNS_PKT_FRAGMENT)
			s[m++] = (struct seen){ twin_identity(&in[i]), &in[i] };
	qsort(s, m, sizeof(*s), by_identity);
	for (size_t i = 0, j; i < m; i = j) {
		for (j = i + 1; j < m && s[j].id == s[i].id; j++)
			;
		if (j == i + 1)
			s[k++] = s[i];
	}
	return k;
}

struct pair {
	const struct vns_packet *a, *b;
};

/* Packets that are unique at both points. Return: their number; *@out is the caller's to free. */
static size_t unique_pairs(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			   size_t n_b, struct pair **out)
{
	struct seen *sa, *sb;
	size_t na = unique_packets(a, n_a, &sa), nb = unique_packets(b, n_b, &sb);
	size_t most = na < nb ? na : nb, n = 0;
	struct pair *pairs = malloc((most ? most : 1) * sizeof(*pairs));

	for (size_t i = 0, j = 0; pairs && i < na && j < nb;) {
		if (sa[i].id < sb[j].id)
			i++;
		else if (sb[j].id < sa[i].id)
			j++;
		else
			pairs[n++] = (struct pair){ sa[i++].p, sb[j++].p };
	}
	free(sa);
	free(sb);
	*out = pairs;
	return n;
}

int vns_twin_coarse_offset(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			   size_t n_b, int64_t *offset_ns, size_t *support)
{
	struct pair *pairs;
	size_t n = unique_pairs(a, n_a, b, n_b, &pairs);
	int64_t *diff = malloc((n ? n : 1) * sizeof(*diff));

	if (!pairs || !diff) {
		free(pairs);
		free(diff);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		diff[i] = twin_time_sub(pairs[i].b->time_ns, pairs[i].a->time_ns);
	qsort(diff, n, sizeof(*diff), by_value);
	if (n)
		*offset_ns = diff[n / 2];
	*support = n;
	free(pairs);
	free(diff);
	return n ? 0 : 1;
}

/* Votes for one address: is it the guest's? */
struct votes {
	struct vns_addr addr;
	uint64_t packets; /* not yet explained by an address already chosen */
	uint64_t sent;    /* the capture says that B's machine sent them */
};

#define MAX_VOTES 256

static struct votes *vote_for(struct votes *v, size_t *n, const struct vns_addr *a)
{
	for (size_t i = 0; i < *n; i++)
		if (vns_addr_equal(&v[i].addr, a))
			return &v[i];
	if (*n == MAX_VOTES)
		return NULL;
	v[*n] = (struct votes){ .addr = *a };
	return &v[(*n)++];
}

static bool contains(const struct vns_addr *list, size_t n, const struct vns_addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (vns_addr_equal(&list[i], a))
			return true;
	return false;
}

static bool usable(const struct vns_packet *p)
{
	return (p->verdict == VNS_PKT_OK || p->verdict == VNS_PKT_FRAGMENT) &&
	       !(p->flags & VNS_PKT_F_MULTICAST);
}

/* The address that most of the unexplained packets share; a tie tells nothing. */
static const struct vns_addr *most_shared(const struct vns_packet *b, size_t n_b,
					  const struct vns_addr *known, size_t n_known,
					  struct votes *v)
{
	size_t n = 0;
	struct votes *best = NULL;
	bool tie = false;

	for (size_t i = 0; i < n_b; i++) {
		const struct vns_packet *p = &b[i];
		struct votes *x;

		if (!usable(p) || contains(known, n_known, &p->key.addr[0]) ||
		    contains(known, n_known, &p->key.addr[1]))
			continue;
		for (int e = 0; e < 2; e++) {
			x = vote_for(v, &n, &p->key.addr[e]);
			if (x)
				x->packets++;
		}
		x = vote_for(v, &n, vns_packet_src(p));
		if (x && (p->flags & VNS_PKT_F_OUTGOING))
			x->sent++;
	}
	for (size_t i = 0; i < n; i++) {
		if (v[i].sent)
			return &v[i].addr;
		tie = best && v[i].packets == best->packets ? true : tie;
		if (!best || v[i].packets > best->packets) {
			best = &v[i];
			tie = false;
		}
	}
	return best && !tie ? &best->addr : NULL;
}

size_t vns_twin_learn_guest(const struct vns_packet *b, size_t n_b, struct vns_addr *out,
			    size_t max)
{
	struct votes *v = malloc(MAX_VOTES * sizeof(*v));
	const struct vns_addr *a;
	size_t n = 0;

	while (v && n < max && (a = most_shared(b, n_b, out, n, v)) != NULL)
		out[n++] = *a;
	free(v);
	return n;
}

/* Two addresses that talk to each other, and t_B - t_A in both directions. */
struct talk {
	const struct vns_addr *src, *dst;
	int64_t diff;
};

static int by_talk(const void *pa, const void *pb)
{
	const struct talk *a = pa, *b = pb;
	int c = memcmp(a->src, b->src, sizeof(*a->src));

	if (!c)
		c = memcmp(a->dst, b->dst, sizeof(*a->dst));
	return c ? c : (a->diff > b->diff) - (a->diff < b->diff);
}

/* Median difference of packets src -> dst. Return: false when there are none. */
static bool median_talk(const struct talk *t, size_t n, const struct vns_addr *src,
			const struct vns_addr *dst, int64_t *out)
{
	struct talk low = { src, dst, INT64_MIN };
	size_t from = 0, to = n, end;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (by_talk(&t[mid], &low) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	for (end = from; end < n && vns_addr_equal(t[end].src, src) &&
	     vns_addr_equal(t[end].dst, dst); end++)
		;
	if (end == from)
		return false;
	*out = t[from + (end - from) / 2].diff;
	return true;
}

/* One address pair of two that talk, with the guest told from its peer. */
struct verdict {
	const struct vns_addr *guest, *peer;
	int64_t there, back; /* median t_B - t_A towards the guest and from it */
};

static bool judge(const struct talk *t, size_t n, const struct talk *x, struct verdict *v)
{
	int64_t out, back;

	if (!median_talk(t, n, x->src, x->dst, &out) || !median_talk(t, n, x->dst, x->src, &back) ||
	    out == back)
		return false;
	if (out > back)
		*v = (struct verdict){ x->dst, x->src, out, back };
	else
		*v = (struct verdict){ x->src, x->dst, back, out };
	return true;
}

/*
 * Multicast has a source only (an IPv6 link-local address often sends nothing else): it is the
 * guest's when t_B - t_A is nearer to what leaves the guest than to what arrives.
 */
static size_t learn_senders(const struct talk *t, size_t n, const struct verdict *v,
			    struct vns_addr *out, size_t found, size_t max)
{
	for (size_t i = 0; i < n && found < max; i++)
		if (!contains(out, found, t[i].src) && !vns_addr_equal(t[i].src, v->peer) &&
		    t[i].diff < v->back + (v->there - v->back) / 2)
			out[found++] = *t[i].src;
	return found;
}

size_t vns_twin_learn_guest_pairs(const struct vns_packet *a, size_t n_a,
				  const struct vns_packet *b, size_t n_b, struct vns_addr *out,
				  size_t max)
{
	struct pair *pairs;
	size_t n = unique_pairs(a, n_a, b, n_b, &pairs), n_talk = 0, n_multi = 0, found = 0;
	struct talk *t = malloc((n ? n : 1) * sizeof(*t));
	struct verdict v, last = { 0 };

	/* Unicast from the front, multicast from the back. */
	for (size_t i = 0; t && i < n; i++) {
		const struct vns_packet *p = pairs[i].b;
		struct talk x = { vns_packet_src(p), vns_packet_dst(p),
				  twin_time_sub(p->time_ns, pairs[i].a->time_ns) };

		if (usable(p))
			t[n_talk++] = x;
		else if (!twin_is_unspecified(x.src))
			t[n - ++n_multi] = x;
	}
	if (t)
		qsort(t, n_talk, sizeof(*t), by_talk);
	for (size_t i = 0; i < n_talk; i++) {
		if (i > 0 && vns_addr_equal(t[i].src, t[i - 1].src) &&
		    vns_addr_equal(t[i].dst, t[i - 1].dst))
			continue;
		if (!judge(t, n_talk, &t[i], &v))
			continue;
		last = v;
		if (found < max && !contains(out, found, v.guest))
			out[found++] = *v.guest;
	}
	if (found)
		found = learn_senders(t + n - n_multi, n_multi, &last, out, found, max);
	free(t);
	free(pairs);
	return found;
}
