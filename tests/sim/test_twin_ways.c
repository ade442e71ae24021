// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The short way through the twin engine (lib/engine/twin/inorder.h) against the general one, which defines
 * it: an engine that was compiled without the short way must give the same samples, in the same order, and
 * the same counts.
 *
 * TCP streams at random: cut alike at both points or otherwise, lost, sent again (whole, in part,
 * with the same or another TSval), doubled, out of order, over the wrap of sequence numbers, with and
 * without timestamps, STREAMS of them to one engine. argv: number of engines, first seed. The seed of what
 * differs is printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/twin.h>

#define STREAMS 4
#define SENDS   24   /* of one stream, at most */
#define PIECES  6    /* of one send, at most */
#define PACKETS (STREAMS * SENDS * PIECES * 4)
#define WINDOW_NS (100 * VNS_NSEC_PER_MSEC)
#define TURN_NS   (2 * VNS_NSEC_PER_MSEC)

/* The engine without the short way. */
int general_twin_new(struct vns_twin **out, const struct vns_twin_opts *opts, vns_twin_sample_fn fn,
		     void *ctx, struct vns_err *err);
void general_twin_free(struct vns_twin *t);
int general_twin_feed(struct vns_twin *t, enum vns_point p, const struct vns_packet *pkts, size_t n);
void general_twin_finish(struct vns_twin *t);
void general_twin_get_counts(const struct vns_twin *t, enum vns_point p, struct vns_twin_counts *out);

static const struct engine {
	int (*new)(struct vns_twin **, const struct vns_twin_opts *, vns_twin_sample_fn, void *,
		   struct vns_err *);
	void (*free)(struct vns_twin *);
	int (*feed)(struct vns_twin *, enum vns_point, const struct vns_packet *, size_t);
	void (*finish)(struct vns_twin *);
	void (*get_counts)(const struct vns_twin *, enum vns_point, struct vns_twin_counts *);
} ways[] = {
	{ vns_twin_new, vns_twin_free, vns_twin_feed, vns_twin_finish, vns_twin_get_counts },
	{ general_twin_new, general_twin_free, general_twin_feed, general_twin_finish,
	  general_twin_get_counts },
};

struct capture {
	struct vns_packet pkt[PACKETS];
	size_t n;
};

struct outcome {
	uint64_t hash, samples;
	struct vns_twin_counts count[2];
};

/* One stream: its flow, and how often (in 64) what happens to it. */
struct stream {
	struct vns_packet like; /* of all its packets */
	bool down_to_guest, alike, whole[2];
	unsigned int unseen, lost, again, doubled, late;
	bool short_snap[2]; /* timestamps cut off at that point */
	uint32_t seq;
	int64_t at_ns;
};

static uint64_t rng;

static unsigned int rnd(unsigned int below)
{
	rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned int)(rng >> 33) % below;
}

static bool chance(unsigned int of_64)
{
	return rnd(64) < of_64;
}

static void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	struct outcome *o = ctx;
	const uint64_t field[] = { (uint64_t)s->host_ns, (uint64_t)s->first_raw_ns, (uint64_t)s->last_host_ns,
				   (uint64_t)s->last_raw_ns, s->flow_hash, s->payload_len, s->proto,
				   s->direction, s->has_last };

	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		o->hash = (o->hash ^ field[i]) * UINT64_C(0x9e3779b97f4a7c15);
		o->hash ^= o->hash >> 29;
	}
	o->samples++;
}

static void see(struct capture *c, const struct stream *s, bool short_snap, int64_t time, uint32_t seq,
		uint32_t len, uint32_t tsval, uint8_t flags)
{
	struct vns_packet *p = &c->pkt[c->n];

	if (c->n == PACKETS)
		return;
	*p = s->like;
	p->time_ns = time;
	p->seq = seq;
	p->payload_len = len - !!(flags & VNS_TCP_SYN) - !!(flags & VNS_TCP_FIN);
	p->tsval = s->like.flags & VNS_PKT_F_HAS_TS ? tsval : 0;
	p->tcp_flags = flags | VNS_TCP_ACK;
	if (short_snap) {
		p->flags = (uint16_t)((p->flags & ~VNS_PKT_F_HAS_TS) | VNS_PKT_F_OPTS_CUT);
		p->tsval = 0;
	}
	p->ip_id = rnd(3) ? (uint32_t)c->n + 1 : 0;
	c->n++;
}

/* @to: ends of the pieces of @len bytes. Return: their number. */
static size_t cut(uint32_t len, bool whole, uint32_t to[PIECES])
{
	size_t n = 0;
	uint32_t at = 0;

	while (!whole && n < PIECES - 1 && len - at > 1 && rnd(4))
		to[n++] = at += 1 + rnd(len - at - 1);
	to[n++] = len;
	return n;
}

/* @len bytes from @seq on, seen at both points, cut as the stream is. */
static void send_bytes(struct capture cap[2], struct stream *s, uint32_t seq, uint32_t len, uint8_t flags)
{
	enum vns_point up = s->down_to_guest ? VNS_POINT_A : VNS_POINT_B;
	uint32_t end[2][PIECES], tsval = (uint32_t)(s->at_ns / VNS_NSEC_PER_MSEC) + 7;
	size_t n[2];

	n[0] = cut(len, s->whole[0], end[0]);
	n[1] = s->alike ? n[0] : cut(len, s->whole[1], end[1]);
	if (s->alike)
		memcpy(end[1], end[0], sizeof(end[0]));
	for (int down = 0; down < 2; down++) {
		int64_t at = s->at_ns + (down ? 5000 + rnd(100000) : 0);

		for (size_t i = 0; i < n[down]; i++, at += rnd(2000)) {
			uint32_t from = i ? end[down][i - 1] : 0;
			int64_t when = at + (down && chance(s->late) ? rnd(rnd(4) ? 3000000 : 300000000) : 0);
			int copies = down && chance(s->doubled) ? 2 : 1;

			if (chance(down ? s->lost : s->unseen))
				continue;
			for (int copy = 0; copy < copies; copy++)
				see(&cap[down ? !up : up], s, s->short_snap[down], when + copy * 700,
				    seq + from, end[down][i] - from, tsval, flags);
		}
	}
}

static struct stream make_stream(int number)
{
	static const unsigned int rates[] = { 0, 0, 1, 8 };
	struct stream s = { .down_to_guest = rnd(2), .alike = rnd(2), .whole = { rnd(2), rnd(2) },
			    .unseen = rates[rnd(4)], .lost = rates[rnd(4)], .again = rates[rnd(4)], .doubled = rates[rnd(4)],
			    .late = rates[rnd(4)], .at_ns = VNS_NSEC_PER_SEC + rnd(5000000),
			    .short_snap = { !rnd(16), !rnd(16) },
			    .seq = rnd(3) ? rnd(1u << 31) : UINT32_MAX - rnd(20000) };
	struct vns_packet *p = &s.like;

	p->verdict = VNS_PKT_OK;
	p->proto = VNS_PROTO_TCP;
	p->flags = rnd(5) ? VNS_PKT_F_HAS_TS : 0;
	p->key = (struct vns_flow_key){ .port = { 1000, (uint16_t)(2000 + number) }, .ipproto = 6, .family = 4 };
	memcpy(p->key.addr[0].b + 10, "\xff\xff\x0a\0\0\x01", 6);
	memcpy(p->key.addr[1].b + 10, "\xff\xff\x0a\0\0\x02", 6); /* the guest */
	p->flow_hash = (uint64_t)(number + 1) * UINT64_C(0x9e3779b97f4a7c15);
	p->dir = !s.down_to_guest;
	return s;
}

static void run_stream(struct capture cap[2], int number)
{
	struct stream s = make_stream(number);
	uint32_t first = s.seq;
	unsigned int sends = 1 + rnd(SENDS);

	if (rnd(2))
		send_bytes(cap, &s, s.seq++, 1, VNS_TCP_SYN);
	for (unsigned int i = 0; i < sends; i++) {
		uint32_t len = 1 + rnd(rnd(3) ? 1448 : 20000);

		s.at_ns += rnd(4) ? rnd(300000) : rnd(30000000);
		send_bytes(cap, &s, s.seq, len, 0);
		s.seq += len;
		while (chance(s.again)) { /* some of the last bytes */
			uint32_t back = rnd(2) ? len : 1 + rnd(3000), n;

			back = back > s.seq - first ? s.seq - first : back;
			n = rnd(3) ? back : 1 + rnd(back);
			s.at_ns += rnd(3) ? rnd(2000000) : rnd(400);
			send_bytes(cap, &s, s.seq - back, n, 0);
		}
	}
	if (rnd(2))
		send_bytes(cap, &s, s.seq, 1, VNS_TCP_FIN);
}

static int by_time(const void *pa, const void *pb)
{
	const struct vns_packet *a = pa, *b = pb;

	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns ? -1 : 1;
	return (a->seq > b->seq) - (a->seq < b->seq);
}

static struct outcome pair(const struct engine *way, const struct capture cap[2])
{
	struct vns_addr guest = { .b = { [10] = 0xff, 0xff, 10, 0, 0, 2 } };
	const struct vns_twin_opts opts = { .window_ns = WINDOW_NS, .max_pending = 4096, .guest = &guest,
					    .n_guest = 1 };
	struct outcome o = { 0 };
	struct vns_twin *t;
	size_t at[2] = { 0 };

	if (way->new(&t, &opts, on_sample, &o, NULL))
		exit(2);
	for (int64_t until = VNS_NSEC_PER_SEC; at[0] < cap[0].n || at[1] < cap[1].n; until += TURN_NS) {
		for (int p = 0; p < 2; p++) {
			size_t to = at[p];

			while (to < cap[p].n && cap[p].pkt[to].time_ns < until)
				to++;
			if (way->feed(t, p, cap[p].pkt + at[p], to - at[p]))
				exit(2);
			at[p] = to;
		}
	}
	way->finish(t);
	for (int p = 0; p < 2; p++)
		way->get_counts(t, p, &o.count[p]);
	way->free(t);
	return o;
}

int main(int argc, char **argv)
{
	static struct capture cap[2];
	unsigned long engines = argc > 1 ? strtoul(argv[1], NULL, 10) : 5000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, samples = 0, wrong = 0;
	uint64_t class[VNS_TWIN_CLASSES] = { 0 };

	for (unsigned long i = 0; i < engines; i++) {
		struct outcome o[2];

		rng = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
		cap[0].n = cap[1].n = 0;
		for (int k = 0; k < STREAMS; k++)
			run_stream(cap, k);
		for (int p = 0; p < 2; p++)
			qsort(cap[p].pkt, cap[p].n, sizeof(cap[p].pkt[0]), by_time);
		for (int k = 0; k < 2; k++)
			o[k] = pair(&ways[k], cap);
		samples += o[0].samples;
		for (int c = 0; c < VNS_TWIN_CLASSES; c++)
			class[c] += o[1].count[0].in_class[c] + o[1].count[1].in_class[c];
		if (o[0].samples != o[1].samples || o[0].hash != o[1].hash ||
		    memcmp(o[0].count, o[1].count, sizeof(o[0].count)) != 0) {
			printf("seed %" PRIu64 ": %" PRIu64 " samples the short way, %" PRIu64
			       " the general one\n", seed + i, o[0].samples, o[1].samples);
			wrong++;
		}
	}
	printf("%lu engines of %d streams, %" PRIu64 " samples, %" PRIu64 " matched, %" PRIu64
	       " missing, %" PRIu64 " ambiguous; %" PRIu64 " engines differ\n", engines, STREAMS, samples,
	       class[VNS_TWIN_MATCHED], class[VNS_TWIN_MISSING], class[VNS_TWIN_AMBIGUOUS], wrong);
	return wrong || !samples;
}
