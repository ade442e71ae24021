// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Passive RTT as one measurement: a source, one engine per capture point -> struct vns_rtt_result.
 *
 * A capture of a bridge and a tap holds each packet twice; engines of their own keep the points
 * apart, and each point's RTT is that point's.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

#include <vnetscope/measure.h>

#include "engine/rtt/bytes.h"
#include "measure/ahead.h"
#include "measure/memory.h"
#include "measure/rtt_again.h"
#include "source/source.h"

#define WATCH      1024 /* packets between two looks at the memory */
#define BATCH      256 /* 32 KiB of packets: decoded and used while in the cache */
#define ROW_BYTES  128 /* one listed direction: IPv6 with all its intervals */
#define SORT_BYTES 64  /* sorting one: its key, and as much for the sort itself */
#define TRIM_ROWS  100000 /* from so many on, what flows held is given back before the rows are sorted */
#define MAX_POINTS 256 /* with more interfaces one must be named */

struct point {
	uint16_t number;
	struct vns_rtt *engine;
	struct vns_rtt_app *app;
	struct state *state;
	struct vns_packet *mixed; /* of a batch that holds several points */
	size_t n_mixed;
};

#define OTHERS 8 /* points that are named where the one asked for is not there */

struct state {
	const struct vns_rtt_run *run;
	struct vns_source *source;
	struct vns_ahead *ahead; /* packets come from here; NULL: from source */
	struct point point[MAX_POINTS];
	size_t n_point;
	struct vns_rtt_result *out;
	uint64_t samples;
	struct vns_again *again;
	struct vns_copies copies;              /* of a capture with one point */
	struct vns_blocks once[VNS_RTT_KINDS]; /* "any": each round trip once, at the first of its points */
	int64_t last_ns, epoch_ns; /* of the packets read; see on_line() */
	bool any;
	bool done;
	bool final; /* no tick: what is reported now belongs to the aggregates */
	struct vns_memory memory;
	size_t unwatched; /* packets since the last look at it */
	bool limited;         /* the memory limit was reached: tables and lists grow no more */
	uint64_t full_before; /* pushed out by full tables until then */
	uint16_t other[OTHERS]; /* points passed over, by --point */
	size_t n_other;
};

static unsigned int wanted_kinds(const struct vns_rtt_run *run)
{
	return run->kinds ? run->kinds : (1u << VNS_RTT_KINDS) - 1;
}

static bool is_any(const struct state *st)
{
	return st->source->any && st->again;
}

static void on_sample(void *ctx, const struct vns_rtt_sample *s)
{
	struct point *p = ctx;

	if (!(wanted_kinds(p->state->run) & 1u << s->kind))
		return;
	p->state->samples++;
	if (is_any(p->state) && !vns_again_sample(p->state->again, p->number, s))
		vns_blocks_add(&p->state->once[s->kind], s->at_ns, s->rtt_ns);
	if (p->state->run->on_sample)
		p->state->run->on_sample(p->state->run->ctx, p->number, s);
}

/* One direction's figures into the aggregates and the result's list. */
static void list_flow(void *ctx, const struct vns_rtt_flow *f)
{
	const struct point *p = ctx;
	struct state *st = p->state;
	struct vns_rtt_result *out = st->out;
	const struct vns_dist *d = f->rtt;
	struct vns_rtt_entry e;

	if (!(wanted_kinds(st->run) & 1u << f->kind))
		return;
	if (st->run->by && (f->evicted || st->final))
		vns_rtt_groups_add(&out->groups, f, p->number);
	if (!st->run->per_flow)
		return;
	if (d->n < st->run->min_samples || (f->evicted && st->limited)) {
		out->flows_hidden++;
		return;
	}
	e = (struct vns_rtt_entry){
		.key = *f->key, .first_ns = f->first_ns, .last_ns = f->last_ns,
		.packets = f->packets, .samples = d->n, .min = d->min,
		.p50 = vns_dist_quantile(d, 0.50), .p95 = vns_dist_quantile(d, 0.95),
		.p99 = vns_dist_quantile(d, 0.99), .max = d->max, .mean = d->mean,
		.stddev = vns_dist_stddev(d), .kind = f->kind, .clock = f->clock, .point = p->number, .dir = f->dir,
		.opener = f->opener,
		.ended = f->evicted,
	};
	vns_series_intervals(f->series, d, &e.interval);
	if (vns_rtt_rows_add(&out->rows, &e))
		out->flows_hidden++;
}

/* The engine for what is not TCP, when such kinds are wanted. */
static int open_app(struct point *p, const struct vns_rtt_opts *tcp, struct vns_err *err)
{
	struct vns_rtt_app_opts opts = { .kinds = wanted_kinds(p->state->run) & VNS_RTT_APP_KINDS,
					 .per_flow = tcp->per_flow, .max_flows = tcp->max_flows,
					 .idle_ns = tcp->idle_ns, .on_sample = tcp->on_sample,
					 .on_flow_end = tcp->on_flow_end, .ctx = p };

	return opts.kinds ? vns_rtt_app_new(&p->app, &opts, err) : 0;
}

/* The engine of capture point @number, made at its first packet. Return: NULL with @err set. */
static struct point *point_of(struct state *st, uint16_t number, struct vns_err *err)
{
	bool per_flow = st->run->per_flow || st->run->by;
	struct vns_rtt_opts opts = { .method = st->run->method,
				     .inside = st->run->inside,
				     .per_flow = per_flow,
				     .max_flows = st->run->max_flows,
				     .idle_ns = st->run->idle_ns,
				     .on_flow_end = per_flow ? list_flow : NULL };
	struct point *p;

	for (size_t i = 0; i < st->n_point; i++)
		if (st->point[i].number == number)
			return &st->point[i];
	if (st->n_point == MAX_POINTS) {
		vns_err_set(err, -E2BIG, "more than %d capture points; choose one",
			    MAX_POINTS);
		return NULL;
	}
	p = &st->point[st->n_point];
	*p = (struct point){ .number = number, .state = st };
	if (st->run->on_sample || st->run->max_samples || is_any(st))
		opts.on_sample = on_sample;
	opts.ctx = p;
	if (vns_rtt_new(&p->engine, &opts, err))
		return NULL;
	st->n_point++;
	if (open_app(p, &opts, err))
		return NULL;
	return p;
}

/*
 * pcap's seconds have 32 bits: behind the end of 2106-02-07 comes 1970. Where stamps fall from the last month to the
 * first they went on, and come back where they rise so. Return: @time_ns on a line that goes on.
 */
static int64_t on_line(struct state *st, int64_t time_ns)
{
	const int64_t seconds = (INT64_C(1) << 32) * VNS_NSEC_PER_SEC, month = INT64_C(2678400) * VNS_NSEC_PER_SEC;

	if (st->last_ns <= seconds && st->last_ns >= seconds - month && time_ns >= 0 && time_ns < month)
		st->epoch_ns = seconds;
	else if (st->last_ns >= 0 && st->last_ns < month && time_ns >= seconds - month && time_ns <= seconds)
		st->epoch_ns = 0;
	st->last_ns = time_ns;
	return time_ns + st->epoch_ns;
}

static int feed_point(struct state *st, struct point *p, const struct vns_packet *pkts, size_t n,
		      struct vns_err *err)
{
	uint64_t limit = st->run->max_samples;
	/* with a limit packet by packet, so that it ends with exactly that many */
	size_t step = limit ? 1 : n;

	for (size_t i = 0; i < n && !st->done; i += step) {
		if (vns_rtt_feed(p->engine, pkts + i, step) ||
		    (p->app && vns_rtt_app_feed(p->app, pkts + i, step)))
			return vns_err_set(err, -ENOMEM, "no memory for the flow table");
		st->done = limit && st->samples >= limit;
		if (st->done) /* what follows in the batch was not looked at */
			st->out->to_ns = on_line(st, pkts[i].time_ns);
	}
	return 0;
}

/* Of "any": in the order of the capture, whatever the batches, and what comes again is counted. */
static int feed_any(struct state *st, const struct vns_packet *pkts, size_t n, struct vns_err *err)
{
	int error = 0;

	for (size_t i = 0, run; i < n && !error && !st->done; i += run) {
		struct point *p = point_of(st, pkts[i].point, err);

		for (run = 0; i + run < n && pkts[i + run].point == pkts[i].point; run++)
			st->out->seen_again += vns_again_packet(st->again, &pkts[i + run]);
		error = p ? feed_point(st, p, pkts + i, run, err) : -E2BIG;
	}
	return error;
}

/* A batch with packets of several points: sorted out into one batch for each. */
static int feed_mixed(struct state *st, const struct vns_packet *pkts, size_t n,
		      struct vns_err *err)
{
	int error = 0;

	for (size_t i = 0; i < n && !error; i++) {
		struct point *p = point_of(st, pkts[i].point, err);

		if (!p)
			return -E2BIG;
		if (!p->mixed)
			p->mixed = aligned_alloc(64, BATCH * sizeof(*p->mixed));
		if (!p->mixed)
			return vns_err_set(err, -ENOMEM, "no memory for capture point %u",
					   (unsigned)p->number);
		p->mixed[p->n_mixed++] = pkts[i];
	}
	for (size_t i = 0; i < st->n_point && !error; i++) {
		struct point *p = &st->point[i];

		error = feed_point(st, p, p->mixed, p->n_mixed, err);
		p->n_mixed = 0;
	}
	return error;
}

static void note_other(struct state *st, uint16_t point)
{
	for (size_t i = st->n_other; i--;)
		if (st->other[i] == point)
			return;
	if (st->n_other < OTHERS)
		st->other[st->n_other++] = point;
}

/* Leave out what was not asked for: other points, time behind the duration. Return: packets left. */
static size_t select_packets(struct state *st, struct vns_packet *pkts, size_t n)
{
	const struct vns_rtt_run *run = st->run;
	size_t kept = n;
	int64_t last_ns;

	if (n && !st->any) {
		st->out->from_ns = st->out->to_ns = st->last_ns = pkts[0].time_ns;
		st->any = true;
	}
	if (run->file && run->duration_ns) {
		for (kept = 0; kept < n && !st->done; kept++)
			st->done = on_line(st, pkts[kept].time_ns) - st->out->from_ns >= run->duration_ns;
		kept -= st->done;
	}
	last_ns = kept ? on_line(st, pkts[kept - 1].time_ns) : 0;
	/* a clock that was set back in between does not shorten what was read */
	if (kept && last_ns > st->out->to_ns)
		st->out->to_ns = last_ns;
	if (run->one_point) {
		size_t all = kept;

		kept = 0;
		for (size_t i = 0; i < all; i++)
			if (pkts[i].point == run->point)
				pkts[kept++] = pkts[i];
			else
				note_other(st, pkts[i].point);
		st->out->other_point += all - kept;
	}
	return kept;
}

static int feed(struct state *st, struct vns_packet *pkts, size_t n, struct vns_err *err)
{
	bool ends = (n = select_packets(st, pkts, n), st->done);
	struct point *p;
	int error;

	if (n == 0)
		return 0;
	st->done = false;
	if (is_any(st)) {
		error = feed_any(st, pkts, n, err);
		st->done |= ends;
		return error;
	}
	if (st->again && st->copies.looked < VNS_AGAIN_LOOK)
		vns_again_look(st->again, &st->copies, pkts, n);
	/* those of one point are still such when some are left out */
	if (!(st->ahead && vns_ahead_one_point(st->ahead)) && !vns_one_point(pkts, n)) {
		error = feed_mixed(st, pkts, n, err);
	} else {
		p = point_of(st, pkts[0].point, err);
		error = p ? feed_point(st, p, pkts, n, err) : -E2BIG;
	}
	st->done |= ends;
	return error;
}

_Static_assert(sizeof(struct vns_rtt_counts) % sizeof(uint64_t) == 0 &&
	       sizeof(struct vns_rtt_app_counts) % sizeof(uint64_t) == 0,
	       "counts are nothing but uint64_t: summed as arrays");

static void add_counts(void *to, const void *from, size_t size)
{
	uint64_t *a = to;
	const uint64_t *b = from;

	for (size_t i = 0; i < size / sizeof(uint64_t); i++)
		a[i] += b[i];
}

/* What is not TCP: counts, totals and flows of one point. */
static void collect_app(struct state *st, struct point *p)
{
	struct vns_rtt_result *out = st->out;
	struct vns_rtt_app_counts c;

	vns_rtt_app_get_counts(p->app, &c);
	add_counts(&out->app, &c, sizeof(c));
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		const struct vns_dist *d = vns_rtt_app_total(p->app, (enum vns_rtt_kind)k);

		if (!(VNS_RTT_APP_KINDS & 1u << k))
			continue;
		vns_dist_merge(&out->total[k], d);
		out->counts.samples[k] += d->n;
	}
	if ((st->run->per_flow || st->run->by) && (st->final || st->run->tick_rows))
		vns_rtt_app_each_flow(p->app, list_flow, p);
}

/* Of TCP: what the method reads; chosen by itself, what there was, and timestamps for want of any. */
static unsigned int tcp_kinds(const struct state *st)
{
	const struct vns_rtt_counts *c = &st->out->counts;
	enum vns_rtt_method method = st->run->method;
	bool has_seq = c->packets > c->not_tcp + c->undecodable + c->seq_not_read;
	bool has_ts = c->tsval_stored + c->tsval_repeated + c->tsval_backwards + c->pure_acks;
	bool ts = method == VNS_RTT_METHOD_AUTO ? has_ts || !has_seq : method != VNS_RTT_METHOD_SEQ;
	bool seq = method == VNS_RTT_METHOD_AUTO ? has_seq : method != VNS_RTT_METHOD_TS;

	return (ts ? 1u << VNS_RTT_TS : 0) | (seq ? 1u << VNS_RTT_SEQ : 0) |
	       (c->samples[VNS_RTT_HANDSHAKE] ? 1u << VNS_RTT_HANDSHAKE : 0);
}

/* The kinds that are worth a line: asked for by name, or with traffic of their protocol. */
static unsigned int shown_kinds(const struct state *st)
{
	const struct vns_rtt_app_counts *c = &st->out->app;
	unsigned int kinds = tcp_kinds(st);

	kinds |= st->run->kinds & VNS_RTT_APP_KINDS;
	kinds |= c->icmp.requests + c->icmp.replies ? 1u << VNS_RTT_ICMP : 0;
	kinds |= c->dns.requests + c->dns.replies + c->dns_tcp.unread ? 1u << VNS_RTT_DNS : 0;
	kinds |= c->quic.long_headers ? 1u << VNS_RTT_QUIC_HANDSHAKE : 0;
	kinds |= c->quic.short_headers ? 1u << VNS_RTT_QUIC_SPIN : 0;
	return kinds & wanted_kinds(st->run);
}

/* The intervals of a kind's total over all points: their samples in the same blocks of time. */
static void total_interval(struct state *st, enum vns_rtt_kind k)
{
	struct vns_blocks all = { 0 };

	if (is_any(st)) {
		vns_dist_fini(&st->out->total[k]);
		vns_blocks_total(&st->once[k], &st->out->total[k]);
		vns_blocks_intervals(&st->once[k], &st->out->total[k], &st->out->total_interval[k]);
		return;
	}
	for (size_t i = 0; i < st->n_point; i++) {
		const struct point *p = &st->point[i];
		const struct vns_blocks *b = VNS_RTT_APP_KINDS >> k & 1 ?
			p->app ? vns_rtt_app_blocks(p->app, k) : NULL : vns_rtt_blocks(p->engine, k);

		if (b && st->n_point == 1)
			vns_blocks_intervals(b, &st->out->total[k], &st->out->total_interval[k]);
		else if (b)
			vns_blocks_merge(&all, b);
	}
	if (st->n_point > 1)
		vns_blocks_intervals(&all, &st->out->total[k], &st->out->total_interval[k]);
	vns_blocks_fini(&all);
}

/* TCP flows that are still in the table. Aggregates merge them in the order of their age. */
static void list_flows(struct state *st, struct point *p)
{
	if (!st->final && !st->run->tick_rows)
		return;
	if (st->final && !st->run->by && st->run->per_flow)
		vns_rtt_take_flows(p->engine, list_flow, p);
	else if (st->run->per_flow || st->run->by)
		vns_rtt_each_flow(p->engine, list_flow, p);
}

/* Totals, flows still in the tables and source counters: the state so far. */
static void collect(struct state *st)
{
	struct vns_rtt_result *out = st->out;

	for (size_t i = 0; i < st->n_point; i++) {
		struct vns_rtt_counts c;

		vns_rtt_get_counts(st->point[i].engine, &c);
		add_counts(&out->counts, &c, sizeof(c));
		for (int k = 0; k < VNS_RTT_KINDS; k++)
			vns_dist_merge(&out->total[k], vns_rtt_total(st->point[i].engine, k));
		list_flows(st, &st->point[i]);
		if (st->point[i].app)
			collect_app(st, &st->point[i]);
	}
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		total_interval(st, (enum vns_rtt_kind)k);
		if (!(wanted_kinds(st->run) & 1u << k))
			out->counts.samples[k] = 0;
	}
	out->kinds = shown_kinds(st);
	if (st->ahead) /* another thread is counting */
		return;
	vns_source_stats(st->source, &out->source);
	out->source.backwards -= st->source->wraps;
}

static void fini_kinds(struct vns_dist dist[VNS_RTT_KINDS])
{
	for (int k = 0; k < VNS_RTT_KINDS; k++)
		vns_dist_fini(&dist[k]);
}

static void fini_blocks(struct vns_blocks block[VNS_RTT_KINDS])
{
	for (int k = 0; k < VNS_RTT_KINDS; k++)
		vns_blocks_fini(&block[k]);
}

/* Show the figures so far, then take back what belongs to this moment only. */
static void tick(struct state *st)
{
	struct vns_rtt_result *out = st->out;
	const size_t ended = out->rows.n, used = out->rows.used;
	const uint64_t hidden = out->flows_hidden;

	collect(st);
	st->run->on_tick(st->run->ctx, out);
	out->rows.n = ended;
	out->rows.used = used;
	out->flows_hidden = hidden;
	out->counts = (struct vns_rtt_counts){ 0 };
	out->app = (struct vns_rtt_app_counts){ 0 };
	fini_kinds(out->total);
}

/* The next batch, read into @own or ahead. Return: as vns_source_next(). */
static int next_packets(struct state *st, struct vns_packet *own, struct vns_packet **pkts,
			struct vns_err *err)
{
	if (st->ahead)
		return vns_ahead_next(st->ahead, pkts, err);
	*pkts = own;
	return vns_source_next(st->source, own, BATCH, err);
}

/* What the tables of all points hold and what they pushed out. */
struct load {
	uint64_t live, full, samples;
};

static struct load load_of(const struct state *st)
{
	struct load l = { 0 };

	for (size_t i = 0; i < st->n_point; i++) {
		const struct point *p = &st->point[i];
		struct vns_rtt_app_counts a = { 0 };
		struct vns_rtt_counts c;

		vns_rtt_get_counts(p->engine, &c);
		if (p->app) {
			vns_rtt_app_get_counts(p->app, &a);
			l.live += vns_rtt_app_live(p->app);
		}
		l.live += c.flows_live;
		l.full += c.flows_evicted_full + a.quic.flows_full + a.icmp.dropped + a.dns.dropped;
		l.samples += a.icmp.samples + a.dns.samples + a.quic.spin_samples;
		for (int k = 0; k < VNS_RTT_KINDS; k++)
			l.samples += c.samples[k];
	}
	return l;
}

/*
 * Bytes that the end of the run, or the next step in a table's growth, will take beside what is there:
 * the tables' index doubles, those that leave are noted, flows become rows (each direction by two methods), rows are sorted
 * and shown.
 */
static uint64_t still_to_come(const struct state *st, const struct load *l)
{
	const struct vns_rtt_result *out = st->out;
	const struct vns_rtt_run *run = st->run;
	uint64_t rows = run->per_flow ? 4 * l->live : 0, all, bytes;

	if (run->min_samples && rows > l->samples / run->min_samples)
		rows = l->samples / run->min_samples;
	all = rows + out->rows.n;
	bytes = st->limited ? 0 : l->live * (8 * sizeof(uint32_t) + 4 * sizeof(uint32_t) +
						      2 * sizeof(uint32_t));
	bytes += rows * ROW_BYTES + all * (SORT_BYTES + run->row_bytes);
	return bytes + out->groups.n * (sizeof(*out->groups.group) + run->row_bytes);
}

/* What the run's stores hold now (memory.c). */
static uint64_t counted(struct state *st)
{
	const struct vns_rtt_result *out = st->out;
	uint64_t tables = out->rows.used + out->rows.n * sizeof(*out->rows.at) +
			  out->groups.cap * sizeof(*out->groups.group) +
			  out->groups.n_slot * sizeof(*out->groups.slot);

	for (size_t i = 0; i < st->n_point; i++) {
		const struct point *p = &st->point[i];

		tables += vns_rtt_bytes(p->engine) + (p->app ? vns_rtt_app_bytes(p->app) : 0);
	}
	return vns_memory_counted(&st->memory, tables);
}

/*
 * Near the limit: nothing grows from here on, and an eighth of the flows leave, again when memory grows all
 * the same (distributions do).
 */
static void give_up_flows(struct state *st, int64_t now_ns)
{
	struct load l = load_of(st);

	if (!st->limited) {
		st->full_before = l.full;
		st->out->memory_from_ns = now_ns;
		st->limited = true;
	}
	st->out->groups.max = st->out->groups.n ? st->out->groups.n : 1;
	for (size_t i = 0; i < st->n_point; i++) {
		const struct point *p = &st->point[i];
		struct vns_rtt_counts c;

		vns_rtt_get_counts(p->engine, &c);
		vns_rtt_limit_flows(p->engine, c.flows_live - c.flows_live / 8);
		if (p->app)
			vns_rtt_app_limit_flows(p->app, vns_rtt_app_live(p->app) * 7 / 8);
	}
	l = load_of(st);
	vns_memory_gave_up(&st->memory, counted(st), still_to_come(st, &l));
}

/* Every WATCH packets, exactly, so that it does not depend on the batches they came in. */
static void watch_memory(struct state *st, const struct vns_packet *pkts, size_t n)
{
	struct load l;

	st->unwatched += n;
	if (st->memory.limit == 0 || st->unwatched < WATCH)
		return;
	st->unwatched = 0;
	l = load_of(st);
	if (vns_memory_tight(&st->memory, counted(st), still_to_come(st, &l)))
		give_up_flows(st, pkts[n - 1].time_ns);
}

/* A batch, in parts where a look at the memory is due within it. */
static int feed_watched(struct state *st, struct vns_packet *pkts, size_t n, struct vns_err *err)
{
	int error = 0;

	for (size_t i = 0, part; i < n && !error && !st->done; i += part) {
		part = st->memory.limit && n - i > WATCH - st->unwatched ? WATCH - st->unwatched : n - i;
		error = feed(st, pkts + i, part, err);
		watch_memory(st, pkts + i, part);
	}
	return error;
}

/*
 * A live run that is to end reads what had come by then: on a busy machine that is all that waits in the ring
 * since this process last had a processor. @wall_ns: packets later than that are after the end; 0: it goes on
 */
struct ending {
	int64_t wall_ns, mono_ns;
	unsigned int empty;
};

#define ENDING_EMPTY 2 /* looks without a packet, of up to 100 ms each: a signal ends one, eBPF's edge another */
#define ENDING_NS    (5 * VNS_NSEC_PER_SEC) /* of reading on at most: a clock that is set back makes later ones earlier */

/* Is all read that came before the end? @n, @pkts: what the last look gave. */
static bool has_ended(struct ending *e, const struct vns_packet *pkts, int n)
{
	if (!e->wall_ns)
		return false;
	e->empty = n == VNS_SOURCE_NONE ? e->empty + 1 : 0;
	return e->empty == ENDING_EMPTY || (n > 0 && pkts[n - 1].time_ns > e->wall_ns) ||
	       vns_monotonic_ns() - e->mono_ns > ENDING_NS;
}

/* Return: is there nothing to read on for? That is so of files. */
static bool begin_to_end(struct ending *e, const struct vns_rtt_run *run)
{
	if (!e->wall_ns)
		*e = (struct ending){ .wall_ns = vns_now_ns(), .mono_ns = vns_monotonic_ns() };
	return !run->ifname;
}

static void read_all(struct state *st)
{
	static const int64_t default_tick = VNS_NSEC_PER_SEC;
	const struct vns_rtt_run *run = st->run;
	int64_t started = vns_monotonic_ns(), ticked = started, now = started;
	int64_t every = run->tick_ns ? run->tick_ns : default_tick;
	struct vns_packet *own = aligned_alloc(64, BATCH * sizeof(*own)), *pkts = own;
	struct vns_err err = { "no memory for packets" };
	struct ending end = { 0 };
	int n = own ? 0 : -ENOMEM;
	unsigned turn = 0;

	while (n >= 0 && !st->done && !has_ended(&end, pkts, n)) {
		if (run->stop && *run->stop) {
			st->out->interrupted = true;
			if (begin_to_end(&end, run))
				break;
		}
		/* a file's batch takes microseconds: look at the clock now and then */
		if (run->ifname || (run->on_tick && ++turn % 256 == 0))
			now = vns_monotonic_ns();
		if (run->ifname && run->duration_ns && now - started >= run->duration_ns)
			begin_to_end(&end, run);
		if (run->on_tick && now - ticked >= every) {
			tick(st);
			ticked = now;
		}
		n = next_packets(st, own, &pkts, &err);
		if (n > 0) {
			int error = feed_watched(st, pkts, (size_t)n, &err);

			n = error ? error : n;
		}
	}
	if (n < 0 && n != VNS_SOURCE_EOF)
		strcpy(st->out->ended_early, err.text);
	free(own);
}

/*
 * Reading ahead is of use where all that is read is used: a run that ends before the file does would
 * have read and counted too far.
 */
static bool reads_ahead(const struct vns_rtt_run *run)
{
	struct stat s;

	return run->file && run->threads > 1 && !run->duration_ns && !run->max_samples &&
	       stat(run->file, &s) == 0 && S_ISREG(s.st_mode);
}

static void keep_kind(const struct point *from, enum vns_rtt_kind k, struct vns_rtt_point *to)
{
	if (VNS_RTT_APP_KINDS >> k & 1 && from->app) {
		vns_dist_merge(&to->rtt[k], vns_rtt_app_total(from->app, k));
		vns_rtt_app_intervals(from->app, k, &to->interval[k]);
	} else {
		vns_dist_merge(&to->rtt[k], vns_rtt_total(from->engine, k));
		vns_rtt_intervals(from->engine, k, &to->interval[k]);
	}
}

/* Nothing is of the point asked for: which there are. */
static void name_others(struct state *st)
{
	char *to = st->out->sentence;
	size_t size = sizeof(st->out->sentence), at = strlen(to);

	for (size_t i = 0; i < st->n_other && !st->out->counts.packets && at < size; i++) {
		const char *name = vns_source_point_name(st->source, st->other[i]);

		at += (size_t)snprintf(to + at, size - at, "%s%u%s%s%s", i ? ", " : at ? "; its capture points are " :
				       "its capture points are ", (unsigned)st->other[i],
				       name && *name ? " (" : "", name && *name ? name : "", name && *name ? ")" : "");
	}
}

/* What each point saw, for results with more than one. */
static void keep_points(struct state *st)
{
	struct vns_rtt_result *out = st->out;

	out->point = calloc(st->n_point ? st->n_point : 1, sizeof(*out->point));
	for (size_t i = 0; out->point && i < st->n_point; i++) {
		struct vns_rtt_point *p = &out->point[out->n_point++];
		const char *name = st->source ? vns_source_point_name(st->source, st->point[i].number) :
						NULL;

		p->point = st->point[i].number;
		snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
		vns_rtt_get_counts(st->point[i].engine, &p->counts);
		for (int k = 0; k < VNS_RTT_KINDS; k++)
			keep_kind(&st->point[i], (enum vns_rtt_kind)k, p);
	}
}

int vns_measure_rtt(const struct vns_rtt_run *run, struct vns_rtt_result *out,
		    struct vns_err *err)
{
	struct state st = { .run = run, .out = out };
	struct vns_source_opts source = run->source;
	const char *sentence;
	int error;

	*out = (struct vns_rtt_result){ .groups = { .by = run->by, .prefix4 = run->prefix4,
						    .prefix6 = run->prefix6 } };
	if (!run->file == !run->ifname)
		return vns_err_set(err, -EINVAL, "either a file or an interface");
	source.without |= VNS_WITHOUT_DIGEST;
	source.by_interface = true;
	error = run->file ? vns_source_open_file(&st.source, run->file, &source, err) :
			    vns_source_open_live(&st.source, run->ifname, &source, err);
	if (error == -EINTR && run->stop && *run->stop) { /* before the first bytes came: no packets */
		out->interrupted = true;
		return 0;
	}
	if (error)
		return error;
	error = vns_memory_begin(&st.memory, run->max_memory, "--max-memory", err);
	st.again = vns_again_new(); /* without: nothing is known of copies */
	if (!error && reads_ahead(run))
		error = vns_ahead_new(&st.ahead, st.source, BATCH, err);
	if (!error)
		read_all(&st);
	vns_ahead_free(st.ahead);
	st.ahead = NULL;
	if (error) {
		vns_again_free(st.again);
		vns_source_close(st.source);
		return error;
	}
	for (size_t i = 0; i < st.n_point; i++) {
		vns_rtt_finish(st.point[i].engine);
		if (st.point[i].app)
			vns_rtt_app_finish(st.point[i].app);
	}
	st.final = true;
	counted(&st); /* before flows become rows */
	collect(&st);
	counted(&st);
	out->looked = st.copies.looked;
	out->copies = st.copies.found;
	if (!is_any(&st)) /* another capture came behind in the file: the totals hold all */
		out->seen_again = 0;
	out->memory_bytes = run->max_memory ? st.memory.peak : 0;
	out->memory_flows = st.limited ? load_of(&st).full - st.full_before : 0;
	keep_points(&st);
	sentence = vns_source_sentence(st.source);
	if (sentence)
		strncat(out->sentence, sentence, sizeof(out->sentence) - 1);
	name_others(&st);
	for (size_t i = 0; i < st.n_point; i++) {
		vns_rtt_free(st.point[i].engine);
		vns_rtt_app_free(st.point[i].app);
		free(st.point[i].mixed);
	}
	vns_again_free(st.again);
	fini_blocks(st.once);
	vns_source_close(st.source);
	if (out->rows.n > TRIM_ROWS)
		malloc_trim(0);
	return 0;
}

void vns_rtt_result_free(struct vns_rtt_result *r)
{
	for (size_t i = 0; i < r->n_point; i++)
		fini_kinds(r->point[i].rtt);
	free(r->point);
	vns_rtt_rows_fini(&r->rows);
	vns_rtt_groups_fini(&r->groups);
	fini_kinds(r->total);
	*r = (struct vns_rtt_result){ 0 };
}
