// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Raw twin samples, clock relation -> figures with clock intervals; the sum of both
 * directions, free of the clock's offset.
 *
 * Signs (requirements.md): offset > 0, the guest is ahead.
 *   vo(host to guest) = t_guest - t_host - offset =  raw - offset
 *   vo(guest to host) = t_host - t_guest + offset = -raw + offset
 * With the true offset anywhere in [lower, upper], a host_to_guest value v may truly be
 * as low as v - (upper - offset) and as high as v + (offset - lower); guest_to_host mirrors it.
 *   both = raw_in - raw_out - (offset_in - offset_out)
 * needs only what the offset changed by between a request and its reply: rate * gap. The true change
 * is within MAX_PPM * gap, so the relation's is wrong by at most that and its own size.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/reserve.h"
#include "measure/vo_figures.h"

#define CELL_NS     (50 * VNS_NSEC_PER_MSEC) /* relation evaluated at cell borders, chord between */
#define BOUND_CELL_NS (20 * VNS_NSEC_PER_MSEC) /* its fastest packets bound the clock */
#define MAX_PPM     500.0                    /* the clock model's limit (clock.h) */

bool vns_vo_sample_pack(struct vns_vo_sample *to, const struct vns_twin_sample *s)
{
	int64_t last_host = s->last_host_ns - s->host_ns, last_raw = s->last_raw_ns - s->first_raw_ns;
	bool last_fits = llabs(last_host) <= INT32_MAX && llabs(last_raw) <= INT32_MAX;

	*to = (struct vns_vo_sample){
		.host_ns = s->host_ns,
		.raw_ns = s->first_raw_ns,
		.last_host_ns = last_fits ? (int32_t)last_host : 0,
		.last_raw_ns = last_fits ? (int32_t)last_raw : 0,
		.flow = (uint32_t)(s->flow_hash ^ s->flow_hash >> 32),
		.proto = s->proto,
		.direction = s->direction,
		.has_last = s->has_last && last_fits,
	};
	return !s->has_last || last_fits;
}

void vns_vo_samples_add(void *ctx, const struct vns_twin_sample *s)
{
	struct vns_vo_samples *all = ctx;
	struct vns_vo_sample *to;

	if (all->n == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 4096;
		void *more = realloc(all->at, cap * sizeof(*all->at));

		if (!more) {
			all->lost++;
			return;
		}
		all->at = more;
		all->cap = cap;
	}
	to = &all->at[all->n];
	all->last_lost += !vns_vo_sample_pack(to, s);
	all->unsorted |= all->n && to[-1].host_ns > to->host_ns;
	all->n++;
}

void vns_vo_samples_free(struct vns_vo_samples *s)
{
	free(s->at);
	*s = (struct vns_vo_samples){ 0 };
}

static int by_time(const void *a, const void *b)
{
	const struct vns_vo_sample *x = a, *y = b;

	return (x->host_ns > y->host_ns) - (x->host_ns < y->host_ns);
}

static void cell_fill(struct vns_vo_cell *c, const struct vns_clock *clock, int64_t t)
{
	double expect;

	c->from_ns = t - (t % CELL_NS);
	vns_clock_eval(clock, c->from_ns, &c->a);
	vns_clock_eval(clock, c->from_ns + CELL_NS, &c->b);
	expect = c->a.offset_ns + c->a.drift_ppm * 1e-6 * (double)CELL_NS;
	c->linear = fabs(c->b.offset_ns - expect) < 1 && c->a.extrapolated == c->b.extrapolated;
	c->below[0] = c->a.offset_ns - c->a.lower_ns;
	c->below[1] = c->b.offset_ns - c->b.lower_ns;
	c->above[0] = c->a.upper_ns - c->a.offset_ns;
	c->above[1] = c->b.upper_ns - c->b.offset_ns;
	c->flat = c->linear && c->a.offset_ns == c->b.offset_ns && c->a.drift_ppm == 0 &&
		  c->below[0] == c->below[1] && c->above[0] == c->above[1];
	c->filled = true;
}

/* Equal ends need no arithmetic, which would make nothing of infinite ones. */
static double chord(double a, double b, double share)
{
	return a == b ? a : a + (b - a) * share;
}

/* What the relation says of one raw difference. */
struct relation {
	double offset_ns;
	double below_ns, above_ns; /* offset - lower and upper - offset */
};

static bool in_cell(const struct vns_vo_cell *c, int64_t t)
{
	return t >= c->from_ns && t < c->from_ns + CELL_NS;
}

static struct vns_vo_cell *cell_of(struct vns_vo_tally *t, int64_t host_ns)
{
	struct vns_vo_cell *c = &t->cell[(uint64_t)(host_ns / CELL_NS) % VNS_VO_CELLS];

	if (!c->filled || !in_cell(c, host_ns))
		cell_fill(c, t->clock, host_ns);
	return c;
}

/*
 * The relation at the instant when the guest stamped, raw - offset away from the host's stamp: at
 * 100 ppm a latency of 10 ms moves the offset by 1 us meanwhile. @c is the cell of @host_ns.
 */
static struct relation relation_in(const struct vns_vo_tally *t, const struct vns_vo_cell *c,
				   int64_t host_ns, int64_t raw_ns)
{
	struct relation r;
	double share, ppm;

	if (c->flat)
		return (struct relation){ c->a.offset_ns, c->below[0], c->above[0] };
	if (c->linear) {
		share = (double)(host_ns - c->from_ns) / (double)CELL_NS;
		ppm = c->a.drift_ppm;
		r.offset_ns = chord(c->a.offset_ns, c->b.offset_ns, share);
		r.below_ns = chord(c->below[0], c->below[1], share);
		r.above_ns = chord(c->above[0], c->above[1], share);
	} else {
		struct vns_clock_at at;

		vns_clock_eval(t->clock, host_ns, &at);
		ppm = at.drift_ppm;
		r.offset_ns = at.offset_ns;
		r.below_ns = at.offset_ns - at.lower_ns;
		r.above_ns = at.upper_ns - at.offset_ns;
	}
	r.offset_ns += ppm * 1e-6 * ((double)raw_ns - r.offset_ns);
	return r;
}

static struct relation relation(struct vns_vo_tally *t, int64_t host_ns, int64_t raw_ns)
{
	return relation_in(t, cell_of(t, host_ns), host_ns, raw_ns);
}

/* The corrected latency of one raw difference. */
static double corrected(int64_t raw_ns, double offset_ns, unsigned direction)
{
	double d = (double)raw_ns - offset_ns;

	return direction == VNS_HOST_TO_GUEST ? d : -d;
}

/* To the nearest, as llround(), which is a call. */
static int64_t nearest(double x)
{
	return (int64_t)(x < 0 ? x - 0.5 : x + 0.5);
}

static void widen(struct vns_vo_figure *f, struct vns_vo_batch *b, const struct relation *r,
		  double latency, int direction)
{
	double minus = direction == VNS_HOST_TO_GUEST ? r->above_ns : r->below_ns;
	double plus = direction == VNS_HOST_TO_GUEST ? r->below_ns : r->above_ns;

	f->err_minus_ns = minus > f->err_minus_ns ? minus : f->err_minus_ns;
	f->err_plus_ns = plus > f->err_plus_ns ? plus : f->err_plus_ns;
	b->minus += minus;
	b->plus += plus;
	b->floor_lower = latency - minus < b->floor_lower ? latency - minus : b->floor_lower;
	b->floor_upper = latency + plus < b->floor_upper ? latency + plus : b->floor_upper;
}

/*
 * What points cut alike has its last byte with its first: then both distributions are one, counted once. From the
 * first sample on that parts them they are two.
 */
static void part_last(struct vns_vo_tally *t, int d, int p)
{
	if (!t->batch[d][p].parted)
		vns_blocks_merge(&t->last[d][p], &t->blocks[d][p]);
	t->batch[d][p].parted = true;
}

/* Correct what the batch of direction @d and protocol @p holds, and add it to its figure. */
static void flush_batch(struct vns_vo_tally *t, int d, int p)
{
	struct vns_vo_batch *b = &t->batch[d][p];
	int64_t first[VNS_VO_BATCH], last[VNS_VO_BATCH], last_at[VNS_VO_BATCH];
	const struct vns_vo_cell *c = NULL;
	size_t n_last = 0, apart = 0;

	for (size_t i = 0; i < b->n; i++) {
		int64_t at = b->at_ns[i], raw = b->raw_ns[i];
		struct relation r;
		double latency;

		if (!c || !in_cell(c, at))
			c = cell_of(t, at);
		r = relation_in(t, c, at, raw);
		latency = corrected(raw, r.offset_ns, (unsigned int)d);
		widen(&t->fig[d][p], b, &r, latency, d);
		first[i] = nearest(latency);
		if (first[i] <= VNS_VO_PAIR_NS) {
			b->within += latency;
			b->n_within++;
		}
		if (!(b->last >> i & 1))
			continue;
		last[n_last] = first[i];
		last_at[n_last] = at;
		if (b->last_host_ns[i] || b->last_raw_ns[i]) {
			raw += b->last_raw_ns[i];
			r = relation(t, at + b->last_host_ns[i], raw);
			last[n_last] = nearest(corrected(raw, r.offset_ns, (unsigned int)d));
			c = NULL; /* the cell may have been filled anew */
			apart++;
		}
		n_last++;
	}
	if (apart || n_last < b->n)
		part_last(t, d, p);
	vns_blocks_add_many(&t->blocks[d][p], b->at_ns, first, b->n);
	if (b->parted)
		vns_blocks_add_many(&t->last[d][p], last_at, last, n_last);
	b->n = 0;
	b->last = 0;
}

void vns_vo_tally_flush(struct vns_vo_tally *t)
{
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		for (int p = 0; p < VNS_PROTOS; p++)
			flush_batch(t, d, p);
}

static void add_figure(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	struct vns_vo_batch *b = &t->batch[s->direction][s->proto];
	size_t n;

	if (b->n == VNS_VO_BATCH)
		flush_batch(t, s->direction, s->proto);
	n = b->n++;
	b->at_ns[n] = s->host_ns;
	b->raw_ns[n] = s->raw_ns;
	b->last_host_ns[n] = s->last_host_ns;
	b->last_raw_ns[n] = s->last_raw_ns;
	b->last |= (uint64_t)s->has_last << n;
}

/* @x answers @request; of ICMP @request may be the guest's own. */
static void add_pair(struct vns_vo_tally *t, const struct vns_vo_sample *request,
		     const struct vns_vo_sample *x)
{
	bool to_guest = request->direction == VNS_HOST_TO_GUEST;
	const struct vns_vo_sample *in = to_guest ? request : x, *out = to_guest ? x : request;
	struct relation at_in = relation(t, in->host_ns, in->raw_ns);
	struct relation at_out = relation(t, out->host_ns, out->raw_ns);
	struct vns_vo_pair_sums *acc = &t->acc[out->proto];
	double gap = fabs((double)(x->host_ns - request->host_ns));
	double change = at_in.offset_ns - at_out.offset_ns, error = gap * MAX_PPM * 1e-6 + fabs(change);
	double both = (double)(in->raw_ns - out->raw_ns) - change, way_in, way_out;
	const struct vns_clock_at *now;

	t->sum[x->proto].passed_over += (uint32_t)request->last_raw_ns;
	vns_blocks_add(&t->paired[out->proto], x->host_ns, nearest(both));
	acc->upper = !acc->n || both + error < acc->upper ? both + error : acc->upper;
	acc->error += error;
	way_in = corrected(in->raw_ns, at_in.offset_ns, VNS_HOST_TO_GUEST);
	way_out = corrected(out->raw_ns, at_out.offset_ns, VNS_GUEST_TO_HOST);
	now = &cell_of(t, x->host_ns)->a;
	vo_check_add(&t->check[out->proto], x->host_ns, way_in, way_out, both,
		     (now->ci_upper_ns - now->ci_lower_ns) / 2);
	acc->n++;
}

/*
 * Did a clock step between @in and @out, or may it have? The instant is somewhere between two pieces of
 * the relation. Then their sum holds the step and not what packets take.
 */
static bool across_step(const struct vns_clock *clock, const struct vns_vo_sample *in,
			const struct vns_vo_sample *out)
{
	size_t n = 0;
	const struct vns_clock_piece *piece = vns_clock_pieces(clock, &n);

	for (size_t i = 0; i + 1 < n; i++)
		if (piece[i].step_after && in->host_ns <= piece[i + 1].from_ns &&
		    out->host_ns >= piece[i].to_ns)
			return true;
	return false;
}

/* ICMP's "flow" is one echo (struct vns_twin_sample), so in any order one answers the other. */
static bool answers(const struct vns_vo_sample *x, const struct vns_vo_sample *request)
{
	return request->waiting && request->flow == x->flow && request->direction != x->direction &&
	       (x->direction == VNS_GUEST_TO_HOST || x->proto == VNS_PROTO_ICMP);
}

/* Is @x, which was slow and is told late, of a flow of which the slot holds a later request? It was passed over. */
static bool told_late(struct vns_vo_tally *t, struct vns_vo_sample *latest, const struct vns_vo_sample *x)
{
	if (x->proto == VNS_PROTO_ICMP || x->direction != VNS_HOST_TO_GUEST || latest->flow != x->flow ||
	    x->host_ns >= latest->host_ns)
		return false;
	if (latest->waiting)
		latest->last_raw_ns += latest->last_raw_ns < INT32_MAX;
	else
		t->sum[x->proto].passed_over++;
	return true;
}

/*
 * A slot holds a flow's latest request; taken over by another flow, it is just forgotten. Of its last byte,
 * which no sum is of, it has the place: for the number of requests before it that it passed over.
 */
static void pair_up(struct vns_vo_tally *t, const struct vns_vo_sample *x)
{
	struct vns_vo_sample *request = vns_vo_tally_slot(t, x);
	int64_t gap = x->host_ns - request->host_ns;

	if (told_late(t, request, x))
		return;
	if (answers(x, request)) {
		if (gap < 0 && x->proto != VNS_PROTO_ICMP)
			return;
		if (llabs(gap) > VNS_VO_PAIR_NS)
			t->sum[x->proto].late_replies++;
		else if (t->stepped && across_step(t->clock, gap < 0 ? x : request, gap < 0 ? request : x))
			t->sum[x->proto].across_step++;
		else
			add_pair(t, request, x);
		request->waiting = false; /* one reply each: the first */
	} else if (x->direction == VNS_HOST_TO_GUEST || x->proto == VNS_PROTO_ICMP) {
		bool later = request->waiting && request->flow == x->flow;
		int32_t passed = later && request->last_raw_ns < INT32_MAX ? request->last_raw_ns + 1 : 0;

		if (request->waiting && request->flow != x->flow && gap <= VNS_VO_PAIR_NS)
			t->sum[request->proto].forgotten++;
		*request = *x;
		request->last_raw_ns = passed;
		request->waiting = true;
	}
}

static bool has_step(const struct vns_clock *clock)
{
	size_t n = 0;
	const struct vns_clock_piece *piece = vns_clock_pieces(clock, &n);

	for (size_t i = 0; i < n; i++)
		if (piece[i].step_after)
			return true;
	return false;
}

int vns_vo_tally_init(struct vns_vo_tally *t, const struct vns_clock *clock,
		      struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		      struct vns_vo_sum *sum)
{
	*t = (struct vns_vo_tally){ .clock = clock, .fig = fig, .sum = sum };
	t->stepped = has_step(clock);
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		for (int p = 0; p < VNS_PROTOS; p++)
			t->batch[d][p].floor_lower = t->batch[d][p].floor_upper = INFINITY;
	if (!sum)
		return 0;
	t->slot = vns_reserve(VNS_VO_PAIR_SLOTS, sizeof(*t->slot));
	return t->slot ? 0 : -ENOMEM;
}

void vns_vo_tally_figure(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	add_figure(t, s);
}

void vns_vo_tally_pair(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	if (t->sum)
		pair_up(t, s);
}

void vns_vo_tally_add(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	vns_vo_tally_figure(t, s);
	vns_vo_tally_pair(t, s);
}

void vns_vo_tally_set_clock(struct vns_vo_tally *t, const struct vns_clock *clock, bool apart)
{
	vns_vo_tally_flush(t);
	t->clock = clock;
	memset(t->cell, 0, sizeof(t->cell));
	t->stepped |= has_step(clock);
	for (size_t i = 0; apart && t->slot && i < VNS_VO_PAIR_SLOTS; i++)
		t->slot[i].waiting = false;
}

/* The distribution that @blocks hold, and the intervals of its figures. */
static void finish_blocks(struct vns_blocks *blocks, struct vns_dist *all, struct vns_intervals *interval)
{
	vns_blocks_total(blocks, all);
	vns_blocks_intervals(blocks, all, interval);
	vns_blocks_fini(blocks);
}

/* What the batches hold; the distributions, which the blocks hold. */
static void finish_figures(struct vns_vo_tally *t)
{
	vns_vo_tally_flush(t);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			struct vns_vo_figure *f = &t->fig[d][p];

			finish_blocks(&t->blocks[d][p], &f->first, &f->interval);
			if (t->batch[d][p].parted) {
				finish_blocks(&t->last[d][p], &f->last, &f->last_interval);
			} else {
				vns_dist_merge(&f->last, &f->first);
				f->last_interval = f->interval;
			}
			if (f->first.n) {
				f->mean_err_minus_ns = t->batch[d][p].minus / (double)f->first.n;
				f->mean_err_plus_ns = t->batch[d][p].plus / (double)f->first.n;
				f->floor_lower_ns = t->batch[d][p].floor_lower;
				if (f->floor_lower_ns < 0 && t->batch[d][p].floor_upper >= 0)
					f->floor_lower_ns = 0; /* none arrives before it was sent */
				f->floor_upper_ns = t->batch[d][p].floor_upper;
			}
		}
	}
}

void vns_vo_tally_fini(struct vns_vo_tally *t)
{
	finish_figures(t);
	for (int p = 0; t->sum && p < VNS_PROTOS; p++) {
		const struct vns_vo_pair_sums *acc = &t->acc[p];
		double n = (double)acc->n, within = 0;

		if (!acc->n)
			continue;
		finish_blocks(&t->paired[p], &t->sum[p].paired, &t->sum[p].interval);
		vo_check_judge(&t->check[p], &t->sum[p].check);
		if (t->batch[VNS_HOST_TO_GUEST][p].n_within)
			within = t->batch[VNS_HOST_TO_GUEST][p].within /
				 (double)t->batch[VNS_HOST_TO_GUEST][p].n_within;
		t->sum[p].biased = vo_sum_is_biased(&t->sum[p], &t->fig[VNS_HOST_TO_GUEST][p], within, p);
		if (t->sum[p].biased)
			t->sum[p].interval = (struct vns_intervals){ 0 };
		t->sum[p].gap_error_ns = acc->error / n;
		t->sum[p].floor_upper_ns = t->stepped ? INFINITY : acc->upper;
	}
	vns_unreserve(t->slot);
	t->slot = NULL;
}

void vns_vo_samples_sort(struct vns_vo_samples *s)
{
	if (s->unsorted && s->n)
		qsort(s->at, s->n, sizeof(*s->at), by_time);
	s->unsorted = false;
}

/* The fastest packets of one cell, by direction, to the clock. */
static int give_bounds(const struct vns_vo_sample *best[VNS_DIRECTIONS], struct vns_clock *clock)
{
	int code = 0;

	for (int d = 0; d < VNS_DIRECTIONS && !code; d++) {
		if (best[d])
			code = vns_clock_add_bound(clock, best[d]->host_ns, best[d]->raw_ns,
						   d == VNS_HOST_TO_GUEST);
		best[d] = NULL;
	}
	return code;
}

static bool is_faster(const struct vns_vo_sample *a, const struct vns_vo_sample *b)
{
	return a->direction == VNS_HOST_TO_GUEST ? a->raw_ns < b->raw_ns : a->raw_ns > b->raw_ns;
}

int vns_vo_bound_clock(struct vns_vo_samples *s, struct vns_clock *clock)
{
	const struct vns_vo_sample *best[VNS_DIRECTIONS] = { NULL };
	int64_t cell = INT64_MIN;
	int code = 0;

	vns_vo_samples_sort(s);
	for (size_t i = 0; i < s->n && !code; i++) {
		const struct vns_vo_sample *x = &s->at[i], **b = &best[x->direction];

		if (x->host_ns / BOUND_CELL_NS != cell)
			code = give_bounds(best, clock);
		cell = x->host_ns / BOUND_CELL_NS;
		if (!*b || is_faster(x, *b))
			*b = x;
	}
	return code ? code : give_bounds(best, clock);
}

int vns_vo_figures(struct vns_vo_samples *s, const struct vns_clock *clock,
		   struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		   struct vns_vo_sum sum[VNS_PROTOS])
{
	struct vns_vo_tally t;
	int code = vns_vo_tally_init(&t, clock, fig, sum);

	if (code)
		return code;
	vns_vo_samples_sort(s);
	for (size_t i = 0; i < s->n; i++)
		vns_vo_tally_add(&t, &s->at[i]);
	vns_vo_tally_fini(&t);
	return 0;
}

/* A request and its reply together took less than nothing: no offset explains that. */
static bool sum_contradiction(const struct vns_vo_target *t, char *why, size_t size)
{
	for (int p = 0; p < VNS_PROTOS; p++) {
		const struct vns_vo_sum *s = &t->sum[p];

		if (!s->paired.n || s->floor_upper_ns >= -2 * VNS_VO_STAMP_NS || vns_vo_sum_withheld(t, p))
			continue;
		snprintf(why, size, "negative latency: %s in both directions together has a minimum of %.3f us, "
			 "which no clock offset explains", vns_proto_name((enum vns_proto)p),
			 (double)s->paired.min / 1e3);
		return true;
	}
	return false;
}

/* Negative beyond its interval: the least, or any sample beyond its own, which may be narrower. */
static bool is_impossible(const struct vns_vo_figure *f)
{
	return f->first.n && fmin((double)f->first.min + f->err_plus_ns, f->floor_upper_ns) < -VNS_VO_STAMP_NS;
}

static void describe_way(const struct vns_vo_figure *f, const char *way, const char *proto,
			 struct vns_vo_negative *out)
{
	out->impossible = is_impossible(f);
	if (out->impossible)
		snprintf(out->text, sizeof(out->text), "%s %s: latencies down to %.3f us are IMPOSSIBLE: below 0 by "
			 "more than the clock bound leaves (-%.3f +%.3f us, of some packets less).", proto, way,
			 (double)f->first.min / 1e3, f->err_minus_ns / 1e3, f->err_plus_ns / 1e3);
	else
		snprintf(out->text, sizeof(out->text), "%s %s: latencies down to %.3f us are below 0 within the "
			 "clock bound of -%.3f +%.3f us; the true ones are not negative.", proto, way,
			 (double)f->first.min / 1e3, f->err_minus_ns / 1e3, f->err_plus_ns / 1e3);
}

static void describe_sum(const struct vns_vo_sum *s, const char *proto, struct vns_vo_negative *out)
{
	const char *why = s->floor_upper_ns < -2 * VNS_VO_STAMP_NS ?
				  "no clock offset explains that: a stamp or a pairing is wrong" :
			  isinf(s->floor_upper_ns) ? "a clock stepped in this run, and some pairs lie across it" :
						     "what a clock may drift within a pair's gap explains it";

	out->impossible = !(s->floor_upper_ns >= 0) || isinf(s->floor_upper_ns);
	snprintf(out->text, sizeof(out->text), "%s, both directions: a sum down to %.3f us is %s: %s.", proto,
		 (double)s->paired.min / 1e3, out->impossible ? "IMPOSSIBLE" : "below 0", why);
}

size_t vns_vo_negatives(const struct vns_vo_target *t, struct vns_vo_negative out[VNS_VO_MAX_NEGATIVE])
{
	static const char *const ways[] = { "host to guest", "guest to host" };
	bool shown = vns_vo_split(t) != VNS_SPLIT_WITHHELD;
	size_t n = 0;

	for (int p = 0; p < VNS_PROTOS; p++) {
		const char *proto = p == VNS_PROTO_NONE ? "other" : vns_proto_name((enum vns_proto)p);

		for (int d = 0; d < VNS_DIRECTIONS; d++) {
			const struct vns_vo_figure *f = &t->fig[d][p];

			if (f->first.n && f->first.min < -VNS_VO_STAMP_NS && (shown || is_impossible(f)))
				describe_way(f, ways[d], proto, &out[n++]);
		}
		if (t->sum[p].paired.n && t->sum[p].paired.min < -2 * VNS_VO_STAMP_NS &&
		    !vns_vo_sum_withheld(t, p))
			describe_sum(&t->sum[p], proto, &out[n++]);
	}
	return n;
}

bool vns_vo_contradiction(const struct vns_vo_target *t, char *why, size_t size)
{
	static const char *const names[] = { "host to guest", "guest to host" };

	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			const struct vns_vo_figure *f = &t->fig[d][p];

			if (!is_impossible(f))
				continue;
			snprintf(why, size, "negative latency: %s %s has a minimum of %.3f us, %s", names[d],
				 vns_proto_name((enum vns_proto)p), (double)f->first.min / 1e3,
				 t->clock_mode == VNS_CLOCK_GIVEN ?
					 "so the offset given contradicts the traffic" :
					 "so the clock relation contradicts the traffic");
			return true;
		}
	}
	return sum_contradiction(t, why, size);
}

static void figures_fini(struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS])
{
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			vns_dist_fini(&fig[d][p].first);
			vns_dist_fini(&fig[d][p].last);
		}
	}
}

void vns_vo_target_fini(struct vns_vo_target *t)
{
	figures_fini(t->fig);
	for (size_t i = 0; i < t->n_hop; i++)
		figures_fini(t->hop[i].fig);
	for (int p = 0; p < VNS_PROTOS; p++)
		vns_dist_fini(&t->sum[p].paired);
	vns_dist_fini(&t->rtt.client_side);
	vns_dist_fini(&t->rtt.guest_side);
	vns_dist_fini(&t->rtt.guest_within);
}

void vns_vo_result_free(struct vns_vo_result *r)
{
	for (size_t i = 0; i < r->n_target; i++)
		vns_vo_target_fini(&r->target[i]);
	free(r->target);
	*r = (struct vns_vo_result){ 0 };
}

const char *vns_vo_bent_words(const struct vns_vo_event *event, size_t n, enum vns_clock_rate rate,
			      bool wander, bool steady)
{
	bool disturbed = false;

	for (; n--; event++)
		disturbed |= strcmp(event->kind, "clock_changed") && strcmp(event->kind, "sampling");
	if (disturbed)
		return wander ? "The guest's clock fits no constant rate; what happened meanwhile may be why." :
				"The guest's clock fits no constant rate, so its bounds were widened; what happened "
				"meanwhile may be why.";
	if (rate == VNS_CLOCK_RATE_SIGNS && steady)
		return "The clock's exchanges leave less room than their delays explain: signs of a rate that "
		       "changes, but 3 of 100 clocks that keep theirs show them, and both kernels say that "
		       "nothing steers their clocks; the bounds were widened all the same.";
	if (rate == VNS_CLOCK_RATE_SIGNS)
		return wander ? "There are signs that the guest's clock changes its rate (slewed by NTP?); 3 of 100 "
				"clocks that keep theirs show them." :
				"There are signs that the guest's clock changes its rate (slewed by NTP?; 3 of 100 "
				"clocks that keep theirs show them): its bounds were widened; --max-wander makes "
				"them certain.";
	return wander ? "The guest's clock changed its rate, or stepped by less than its bounds show." :
			"The guest's clock changed its rate, or stepped by less than its bounds show: they were "
			"widened; --max-wander makes them certain.";
}
