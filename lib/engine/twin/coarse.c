// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What must be known before twins can be looked for: how far the clocks of two captures are
 * apart, coarsely, and which addresses are the guest's.
 *
 * Both follow from packets whose identity occurs once at each point. Their t_B - t_A is offset +
 * latency towards the guest and offset - latency from it, so the median is the offset to within the
 * latencies; and between two addresses, of a packet and the one before it of the other way, that
 * with the larger t_B - t_A goes to the guest, whatever the offset (the sum of both latencies is
 * positive). Most of them decide, since a clock may step between two.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/twin/coarse.h"
#include "engine/twin/twin_int.h"
#include "packet/hash.h"

bool twin_is_unspecified(const struct vns_addr *a)
{
	static const struct vns_addr v6, v4 = { { [10] = 0xff, [11] = 0xff } };

	return vns_addr_equal(a, &v6) || vns_addr_equal(a, &v4);
}

static uint64_t bare(const struct vns_packet *p, uint64_t digest, uint16_t window)
{
	uint64_t h = digest + ((uint64_t)p->ip_id << 16 ^ window) * UINT64_C(0x94d049bb133111eb) +
		     p->key.ipproto;

	return (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

uint64_t twin_bare_identity(const struct vns_packet *p)
{
	if (p->proto == VNS_PROTO_UDP && p->verdict == VNS_PKT_OK && !(p->flags & VNS_PKT_F_FIRST_FRAG))
		return bare(p, p->digest - vns_length_term(p->payload_len), 0);
	return bare(p, p->digest, p->window);
}

/* ... with the length. */
static uint64_t bare_whole_identity(const struct vns_packet *p)
{
	return bare(p, p->digest, p->window);
}

typedef uint64_t (*identity_fn)(const struct vns_packet *p);

/*
 * Of what a short snap length leaves too: TCP without its options, ICMP without its payload, and of
 * datagrams that have one the IP identification.
 */
static uint64_t short_identity(const struct vns_packet *p)
{
	uint64_t what, more;

	if (p->verdict == VNS_PKT_FRAGMENT || p->frag_off)
		return twin_identity(p);
	if (p->proto == VNS_PROTO_TCP) {
		what = (uint64_t)p->seq << 32 | p->ack;
		more = (uint64_t)p->window << 8 | p->tcp_flags;
	} else if (p->proto == VNS_PROTO_ICMP) {
		what = (uint64_t)p->icmp_seqno << 32 | p->ip_id;
		more = (uint64_t)p->icmp_type << 8 | p->icmp_code;
	} else if (p->proto == VNS_PROTO_UDP && p->ip_id) {
		what = p->ip_id;
		more = 0;
	} else {
		return twin_identity(p);
	}
	return vns_mix4(p->flow_hash + p->dir, what, more, p->payload_len);
}

static bool is_short(const struct vns_packet *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].flags & (VNS_PKT_F_DIGEST_SHORT | VNS_PKT_F_OPTS_CUT))
			return true;
	return false;
}

/* What the packets of both points are compared by: only what both have captured. */
static identity_fn identity_for(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
				size_t n_b)
{
	return is_short(a, n_a) || is_short(b, n_b) ? short_identity : twin_identity;
}

struct seen {
	uint64_t id;
	const struct vns_packet *p;
};

static int by_identity(const void *pa, const void *pb)
{
	const struct seen *a = pa, *b = pb;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return (a->p->time_ns > b->p->time_ns) - (a->p->time_ns < b->p->time_ns);
}

#define FEW        16 /* sorted by insertion */
#define MAX_ROUNDS 64 /* of a selection; 2 log2(n) are usual */


static int by_value(const void *pa, const void *pb)
{
	int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

	return a < b ? -1 : a > b;
}

/*
 * The @k-th lowest of @v, which gets another order (Hoare's selection, CACM 4(7), 1961). Where the
 * pivots are bad ones again and again, by sorting.
 */
static int64_t nth(int64_t *v, size_t n, size_t k)
{
	size_t lo = 0, hi = n - 1;

	for (int round = 0; lo < hi && round < MAX_ROUNDS; round++) {
		int64_t pivot = v[lo + (hi - lo) / 2];
		size_t i = lo, j = hi;

		for (;;) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			int64_t x = v[i];

			v[i++] = v[j];
			v[j--] = x;
		}
		/* v[lo..j] <= pivot <= v[j+1..hi], and neither is all */
		if (k <= j)
			hi = j;
		else
			lo = j + 1;
	}
	if (lo < hi)
		qsort(v + lo, hi - lo + 1, sizeof(*v), by_value);
	return v[k];
}

static void sort_few(struct seen *s, size_t n)
{
	if (n > FEW) {
		qsort(s, n, sizeof(*s), by_identity);
		return;
	}
	for (size_t i = 1; i < n; i++) {
		struct seen x = s[i];
		size_t at = i;

		for (; at && by_identity(&s[at - 1], &x) > 0; at--)
			s[at] = s[at - 1];
		s[at] = x;
	}
}

/*
 * @in to @out, sorted: identities are hashes, so their upper bits are nearly their ranks, and one
 * pass puts each within a few places of its own. qsort() guesses wrong at every other comparison.
 * @start: room for 2^@bits + 1 places.
 */
static void sort_seen(const struct seen *in, size_t n, struct seen *out, size_t *start,
		      unsigned int bits)
{
	size_t parts = (size_t)1 << bits;

	memset(start, 0, (parts + 1) * sizeof(*start));
	for (size_t i = 0; i < n; i++)
		start[(in[i].id >> 1 >> (63 - bits)) + 1]++;
	for (size_t k = 0; k < parts; k++)
		start[k + 1] += start[k];
	for (size_t i = 0; i < n; i++)
		out[start[in[i].id >> 1 >> (63 - bits)]++] = in[i];
	/* Each part now starts where the one before it ends. */
	for (size_t k = 0, from = 0; k < parts; from = start[k++])
		sort_few(out + from, start[k] - from);
}

/* All decoded packets, sorted by identity and time; the array is the caller's to free. */
static size_t by_identities(const struct vns_packet *in, size_t n, identity_fn identity,
			    struct seen **out)
{
	unsigned int bits = n > 1 ? 63 - (unsigned int)__builtin_clzll(n) : 0;
	struct seen *s = malloc((n ? n : 1) * sizeof(*s)), *sorted = malloc((n ? n : 1) * sizeof(*s));
	size_t *start = malloc((((size_t)1 << bits) + 1) * sizeof(*start));
	size_t m = 0;

	for (size_t i = 0; s && i < n; i++)
		if (in[i].verdict == VNS_PKT_OK || in[i].verdict == VNS_PKT_FRAGMENT)
			s[m++] = (struct seen){ identity(&in[i]), &in[i] };
	if (s && sorted && start)
		sort_seen(s, m, sorted, start, bits);
	else
		m = 0;
	free(s);
	free(start);
	*out = sorted;
	return m;
}

static size_t alike(const struct seen *s, size_t n, size_t from)
{
	size_t i = from + 1;

	while (i < n && s[i].id == s[from].id)
		i++;
	return i - from;
}

struct pair {
	const struct vns_packet *a, *b;
};

/* @pairs in A's order of capture: nearly that of time, so that to sort them by it is little work. */
static void in_order_of_capture(struct pair *pairs, size_t n, const struct vns_packet *a, size_t n_a)
{
	const struct vns_packet **twin = calloc(n_a ? n_a : 1, sizeof(*twin));

	for (size_t i = 0; twin && i < n; i++)
		twin[pairs[i].a - a] = pairs[i].b;
	for (size_t i = 0, k = 0; twin && k < n; i++)
		if (twin[i])
			pairs[k++] = (struct pair){ &a[i], twin[i] };
	free(twin);
}

/*
 * Packets that are unique at both points; and multicast that was repeated as often at one as at the
 * other (router solicitations are all alike). Return: their number; *@out is the caller's to free.
 */
static size_t unique_pairs(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			   size_t n_b, identity_fn identity, struct pair **out)
{
	struct seen *sa, *sb;
	size_t na = by_identities(a, n_a, identity, &sa);
	size_t nb = by_identities(b, n_b, identity, &sb), n = 0;
	size_t most = na < nb ? na : nb;
	struct pair *pairs = malloc((most ? most : 1) * sizeof(*pairs));

	for (size_t i = 0, j = 0; pairs && i < na && j < nb;) {
		size_t ka = alike(sa, na, i), kb = alike(sb, nb, j);
		bool same = sa[i].id == sb[j].id, a_first = sa[i].id < sb[j].id;

		if (same && ka == kb && (ka == 1 || (sa[i].p->flags & VNS_PKT_F_MULTICAST)))
			for (size_t k = 0; k < ka; k++)
				pairs[n++] = (struct pair){ sa[i + k].p, sb[j + k].p };
		if (same || a_first)
			i += ka;
		if (same || !a_first)
			j += kb;
	}
	free(sa);
	free(sb);
	if (pairs)
		in_order_of_capture(pairs, n, a, n_a);
	*out = pairs;
	return n;
}

static int by_pair_time(const void *pa, const void *pb)
{
	const struct pair *x = pa, *y = pb;

	return (x->a->time_ns > y->a->time_ns) - (x->a->time_ns < y->a->time_ns);
}

static void sort_by_time(struct pair *pairs, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (by_pair_time(&pairs[i - 1], &pairs[i]) > 0) {
			qsort(pairs, n, sizeof(*pairs), by_pair_time);
			return;
		}
	}
}

#define AGREE_NS VNS_NSEC_PER_SEC

/*
 * Median of t_B - t_A over the earliest pairs. Return: those that agree with it; 0 when these are
 * fewer than half.
 */
static size_t median_offset(struct pair *pairs, size_t n, int64_t *offset_ns)
{
	int64_t diff[TWIN_EARLIEST], median;
	size_t agree = 0;

	if (n == 0)
		return 0;
	sort_by_time(pairs, n);
	if (n > TWIN_EARLIEST)
		n = TWIN_EARLIEST;
	for (size_t i = 0; i < n; i++)
		diff[i] = twin_time_sub(pairs[i].b->time_ns, pairs[i].a->time_ns);
	qsort(diff, n, sizeof(*diff), by_value);
	median = diff[n / 2];
	for (size_t i = 0; i < n; i++)
		agree += diff[i] - median <= AGREE_NS && median - diff[i] <= AGREE_NS;
	*offset_ns = median;
	return 2 * agree > n ? agree : 0;
}

int twin_coarse_pairs(const struct vns_packet *a, size_t n_a, const struct vns_packet *b, size_t n_b,
		      int64_t *offset_ns, size_t *support, struct twin_coarse_pair *out, size_t *n_out)
{
	struct pair *pairs;
	size_t n = unique_pairs(a, n_a, b, n_b, identity_for(a, n_a, b, n_b), &pairs);

	*n_out = 0;
	if (!pairs)
		return -ENOMEM;
	*support = median_offset(pairs, n, offset_ns);
	for (size_t i = 0; out && i < n; i++)
		out[i] = (struct twin_coarse_pair){
			(size_t)(pairs[i].a - a), (size_t)(pairs[i].b - b),
			twin_time_sub(pairs[i].b->time_ns, pairs[i].a->time_ns) };
	*n_out = n;
	free(pairs);
	return *support ? 0 : 1;
}

int vns_twin_coarse_offset(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			   size_t n_b, int64_t *offset_ns, size_t *support)
{
	size_t n;

	return twin_coarse_pairs(a, n_a, b, n_b, offset_ns, support, NULL, &n);
}

#define LATENCY_NS (500 * VNS_NSEC_PER_MSEC)

/*
 * Keep the pairs on which the clocks are as far apart as at the start, drift (500 ppm at most) and
 * latencies aside: across a step, t_B - t_A tells no direction. Return: their number.
 */
static size_t before_steps(struct pair *pairs, size_t n)
{
	size_t keep = 0;
	int64_t offset, from;

	if (!median_offset(pairs, n, &offset))
		return n;
	from = pairs[0].a->time_ns;
	for (size_t i = 0; i < n; i++) {
		int64_t off = twin_time_sub(twin_time_sub(pairs[i].b->time_ns,
							  pairs[i].a->time_ns), offset);
		int64_t may = LATENCY_NS + twin_time_sub(pairs[i].a->time_ns, from) / 2000;

		if (off <= may && off >= -may)
			pairs[keep++] = pairs[i];
	}
	return keep;
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

/*
 * One address that sends to another. @votes: its packets whose t_B - t_A is greater than that of the
 * one before of the other way, less those whose is smaller; those of the other way count reversed.
 */
struct talk {
	const struct vns_addr *src, *dst;
	bool heard;
	int64_t latest; /* t_B - t_A */
	int64_t votes;
};

/* All talks, and a table over them by hash (number + 1; 0: none). */
struct talks {
	struct talk *t;
	size_t n;
	uint32_t *slot;
	size_t mask;
};

/* Room for @n packets. Return: 0 or -ENOMEM. */
static int talks_init(struct talks *all, size_t n)
{
	*all = (struct talks){ .mask = 63 };
	while (all->mask < 4 * n)
		all->mask = 2 * all->mask + 1;
	all->t = malloc((2 * n + 2) * sizeof(*all->t));
	all->slot = calloc(all->mask + 1, sizeof(*all->slot));
	return all->t && all->slot ? 0 : -ENOMEM;
}

static void talks_fini(struct talks *all)
{
	free(all->t);
	free(all->slot);
}

static struct talk *talk_of(struct talks *all, const struct vns_addr *src, const struct vns_addr *dst)
{
	uint64_t w[4];
	size_t at;

	memcpy(w, src, sizeof(*src));
	memcpy(w + 2, dst, sizeof(*dst));
	for (at = vns_mix4(w[0], w[1], w[2], w[3]) & all->mask; all->slot[at]; at = (at + 1) & all->mask) {
		struct talk *t = &all->t[all->slot[at] - 1];

		if (vns_addr_equal(t->src, src) && vns_addr_equal(t->dst, dst))
			return t;
	}
	all->t[all->n++] = (struct talk){ .src = src, .dst = dst };
	all->slot[at] = (uint32_t)all->n;
	return &all->t[all->n - 1];
}

/*
 * The next packet in time. It is compared with its neighbour of the other way, not with all of them:
 * whatever a clock steps by, only the few that the step lies between say the opposite.
 */
static void talks_hear(struct talks *all, const struct vns_packet *p, int64_t diff)
{
	struct talk *t = talk_of(all, vns_packet_src(p), vns_packet_dst(p));
	struct talk *back = talk_of(all, vns_packet_dst(p), vns_packet_src(p));
	int vote = back->heard && t != back ? (diff > back->latest) - (diff < back->latest) : 0;

	t->heard = true;
	t->latest = diff;
	t->votes += vote;
	back->votes -= vote;
}

/* What is known so far: the guest's addresses. */
struct learnt {
	struct vns_addr *addr;
	size_t n, max;
	bool given; /* they were given: none are added from unicast */
};

static void learn_unicast(const struct talks *all, struct learnt *known)
{
	for (const struct talk *t = all->t; t < all->t + all->n && !known->given; t++) {
		const struct vns_addr *guest = t->votes > 0 ? t->dst : t->src;

		if (t->votes != 0 && known->n < known->max && !contains(known->addr, known->n, guest))
			known->addr[known->n++] = *guest;
	}
}

/* A sender of multicast, t_B - t_A, and how many unicast packets from the guest came before it. */
struct sender {
	const struct vns_addr *src;
	int64_t diff;
	size_t before;
};

#define BESIDE 256 /* packets from the guest before and after one that bound what it can be */

static int64_t highest(const int64_t *v, size_t n)
{
	int64_t most = INT64_MIN;

	for (size_t i = 0; i < n; i++)
		most = v[i] > most ? v[i] : most;
	return most;
}

/*
 * Multicast has a source only, and an IPv6 link-local address often sends nothing else: it is the
 * guest's when its t_B - t_A is lower than any packet's towards the guest can be. @from: t_B - t_A of
 * the @n_from packets from the guest, none of which is higher than that. A step of a clock changes
 * what they say: both those before the sender's packet and those after it must say so.
 */
static void learn_senders(const struct sender *t, size_t n, const int64_t *from, size_t n_from,
			  struct learnt *known)
{
	for (size_t i = 0; i < n && known->n < known->max; i++) {
		size_t past = t[i].before < BESIDE ? t[i].before : BESIDE;
		size_t next = n_from - t[i].before < BESIDE ? n_from - t[i].before : BESIDE;
		int64_t lower = past ? highest(from + t[i].before - past, past) : INT64_MAX;
		int64_t after = next ? highest(from + t[i].before, next) : INT64_MAX;

		lower = after < lower ? after : lower;
		if (n_from && t[i].diff < lower && t[i].diff > lower - VNS_NSEC_PER_SEC &&
		    !contains(known->addr, known->n, t[i].src))
			known->addr[known->n++] = *t[i].src;
	}
}

struct moment {
	int64_t time, diff;
};

static int by_slope(const void *pa, const void *pb)
{
	const double *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

#define SLICES     32
#define SPAN       (SLICES / 4) /* slices of a slope at most: a clock's step is in one of six */
#define SLICE_MIN  8      /* pairs of a slice at least */
#define MAX_RATE   0.001  /* 1000 ppm: twice what a clock may do */

/*
 * How fast t_B - t_A of @pairs, which are in order of time, grows: Theil and Sen's median of slopes
 * (Sen 1968) between the medians of slices of time. Latencies of both directions are in every
 * slice, so they hardly tilt it. A minute at 20 ppm is 1.2 ms, against which a latency tells no
 * direction.
 */
static double rate_of(const struct pair *pairs, size_t n)
{
	size_t k = n / SLICE_MIN < SLICES ? n / SLICE_MIN : SLICES, n_slope = 0;
	double slope[SLICES * (SLICES - 1) / 2];
	struct moment *m = malloc((n ? n : 1) * sizeof(*m)), mid[SLICES];
	int64_t *diff = malloc((n ? n : 1) * sizeof(*diff));
	double rate = 0;

	for (size_t i = 0; m && i < n; i++)
		m[i] = (struct moment){ pairs[i].a->time_ns,
					twin_time_sub(pairs[i].b->time_ns, pairs[i].a->time_ns) };
	for (size_t s = 0; m && diff && s < k; s++) {
		size_t from = s * n / k, count = (s + 1) * n / k - from;

		for (size_t i = 0; i < count; i++)
			diff[i] = m[from + i].diff;
		mid[s] = (struct moment){ m[from + count / 2].time, nth(diff, count, count / 2) };
		for (size_t i = s > SPAN ? s - SPAN : 0; i < s; i++)
			if (mid[s].time > mid[i].time)
				slope[n_slope++] = (double)twin_time_sub(mid[s].diff, mid[i].diff) /
						   (double)twin_time_sub(mid[s].time, mid[i].time);
	}
	if (n_slope) {
		qsort(slope, n_slope, sizeof(*slope), by_slope);
		rate = slope[n_slope / 2];
	}
	free(m);
	free(diff);
	return rate > MAX_RATE || rate < -MAX_RATE ? 0 : rate;
}

/* t_B - t_A of @pair, without what the clocks drifted apart since @first. */
static int64_t undrifted(const struct pair *pair, const struct pair *first, double rate)
{
	int64_t since = twin_time_sub(pair->a->time_ns, first->a->time_ns);

	return twin_time_sub(pair->b->time_ns, pair->a->time_ns) - (int64_t)(rate * (double)since);
}

/* @pairs' multicast senders, given the guest's addresses as unicast shows them. */
static void learn_multicast(const struct pair *pairs, size_t n, double rate, struct learnt *known)
{
	struct sender *multi = malloc((n + 1) * sizeof(*multi));
	int64_t *from = malloc((n + 1) * sizeof(*from));
	size_t n_multi = 0, n_from = 0;

	for (size_t i = 0; multi && from && i < n; i++) {
		const struct vns_packet *p = pairs[i].b;
		int64_t diff = undrifted(&pairs[i], &pairs[0], rate);

		if (!usable(p) && !twin_is_unspecified(vns_packet_src(p)))
			multi[n_multi++] = (struct sender){ vns_packet_src(p), diff, n_from };
		else if (usable(p) && contains(known->addr, known->n, vns_packet_src(p)) &&
			 !contains(known->addr, known->n, vns_packet_dst(p)))
			from[n_from++] = diff;
	}
	learn_senders(multi, n_multi, from, n_from, known);
	free(multi);
	free(from);
}

size_t vns_twin_learn_guest_pairs(const struct vns_packet *a, size_t n_a,
				  const struct vns_packet *b, size_t n_b, struct vns_addr *addr,
				  size_t n_known, size_t max)
{
	struct learnt known = { addr, n_known, max, n_known > 0 };
	struct pair *pairs;
	size_t n = unique_pairs(a, n_a, b, n_b, identity_for(a, n_a, b, n_b), &pairs);
	struct talks all;
	double rate;

	if (!talks_init(&all, n) && pairs) {
		n = before_steps(pairs, n);
		rate = rate_of(pairs, n);
		for (size_t i = 0; i < n; i++)
			if (usable(pairs[i].b))
				talks_hear(&all, pairs[i].b, undrifted(&pairs[i], &pairs[0], rate));
		learn_unicast(&all, &known);
		learn_multicast(pairs, n, rate, &known);
	}
	talks_fini(&all);
	free(pairs);
	return known.n;
}

/*
 * The guest's addresses from @pairs of which one end differs. Either end may be the guest's: its own
 * address is hidden at A, or the peer's is at B. As without NAT the sign of the times tells.
 */
static void learn_translated(struct pair *pairs, size_t n, struct learnt *known)
{
	struct talks all;
	bool have = !talks_init(&all, n);
	double rate;

	n = before_steps(pairs, n);
	rate = rate_of(pairs, n);
	for (size_t i = 0; have && i < n; i++)
		talks_hear(&all, pairs[i].b, undrifted(&pairs[i], &pairs[0], rate));
	if (have)
		learn_unicast(&all, known);
	talks_fini(&all);
}

/* Packets that are unique at both points but for one end's address. Return: as unique_pairs(). */
static size_t translated_pairs(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			       size_t n_b, identity_fn identity, struct pair **out)
{
	size_t n = unique_pairs(a, n_a, b, n_b, identity, out), fit = 0;
	struct pair *pairs = *out;
	int end_a, end_b;

	for (size_t i = 0; pairs && i < n; i++)
		if (usable(pairs[i].a) &&
		    twin_nat_fits(pairs[i].a, &pairs[i].b->key, pairs[i].b->dir, &end_a, &end_b))
			pairs[fit++] = pairs[i];
	return fit;
}

size_t vns_twin_find_nat(const struct vns_packet *a, size_t n_a, const struct vns_packet *b,
			 size_t n_b, struct vns_addr *addr, size_t n_known, size_t max,
			 int64_t *offset_ns, size_t *support, size_t *peers)
{
	struct learnt known = { addr, n_known, max, false };
	struct pair *pairs;
	size_t fit = translated_pairs(a, n_a, b, n_b, bare_whole_identity, &pairs);
	int end_a, end_b;

	/* Frames of many datagrams are all there is? */
	if (pairs && fit == 0) {
		free(pairs);
		fit = translated_pairs(a, n_a, b, n_b, twin_bare_identity, &pairs);
	}
	*support = *peers = 0;
	if (!pairs)
		return n_known;
	*support = median_offset(pairs, fit, offset_ns);
	if (*support)
		learn_translated(pairs, fit, &known);
	for (size_t i = 0; i < fit && *support; i++) {
		twin_nat_fits(pairs[i].a, &pairs[i].b->key, pairs[i].b->dir, &end_a, &end_b);
		*peers += contains(addr, known.n, &pairs[i].b->key.addr[end_b]);
	}
	free(pairs);
	return known.n;
}
