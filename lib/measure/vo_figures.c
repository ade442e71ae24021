// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Raw twin samples, clock relation -> figures with clock intervals; the sum of both
 * directions that needs no clock, and the check against it.
 *
 * Signs (requirements.md): offset > 0, the guest is ahead.
 *   vo(host to guest) = t_guest - t_host - offset =  raw - offset
 *   vo(guest to host) = t_host - t_guest + offset = -raw + offset
 * With the true offset anywhere in [lower, upper], a host_to_guest value v may truly be
 * as low as v - (upper - offset) and as high as v + (offset - lower); guest_to_host mirrors it.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/vo_figures.h"

#define CELL_NS     (50 * VNS_NSEC_PER_MSEC) /* relation evaluated at cell borders, chord between */
#define BOUND_CELL_NS (20 * VNS_NSEC_PER_MSEC) /* its fastest packets bound the clock */
#define PAIR_MAX_NS VNS_NSEC_PER_SEC         /* a reply belongs to a request at most that old */
#define MAX_PPM     500.0                    /* the clock model's limit (clock.h) */
#define PAIR_SLOTS  65536                    /* flows remembered for pairing, direct mapped */

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

static void cell_fill(struct vns_vo_cell *c, int64_t t)
{
	double expect;

	c->from_ns = t - (t % CELL_NS);
	vns_clock_eval(c->clock, c->from_ns, &c->a);
	vns_clock_eval(c->clock, c->from_ns + CELL_NS, &c->b);
	expect = c->a.offset_ns + c->a.drift_ppm * 1e-6 * (double)CELL_NS;
	c->linear = fabs(c->b.offset_ns - expect) < 1 && c->a.extrapolated == c->b.extrapolated;
	c->filled = true;
}

static double chord(double a, double b, double share)
{
	return a + (b - a) * share;
}

static struct vns_clock_at cell_eval(struct vns_vo_cell *c, int64_t t)
{
	struct vns_clock_at at;
	double share;

	if (!c->filled || t < c->from_ns || t >= c->from_ns + CELL_NS)
		cell_fill(c, t);
	if (!c->linear) {
		vns_clock_eval(c->clock, t, &at);
		return at;
	}
	share = (double)(t - c->from_ns) / (double)CELL_NS;
	at = c->a;
	at.at_ns = t;
	at.offset_ns = chord(c->a.offset_ns, c->b.offset_ns, share);
	at.lower_ns = chord(c->a.lower_ns, c->b.lower_ns, share);
	at.upper_ns = chord(c->a.upper_ns, c->b.upper_ns, share);
	return at;
}

/*
 * The relation at the instant when the guest stamped, raw - offset away from the host's stamp: at
 * 100 ppm a latency of 10 ms moves the offset by 1 us meanwhile.
 */
static struct vns_clock_at relation(struct vns_vo_cell *c, int64_t host_ns, int64_t raw_ns)
{
	struct vns_clock_at at = cell_eval(c, host_ns);
	double shift = at.drift_ppm * 1e-6 * ((double)raw_ns - at.offset_ns);

	at.offset_ns += shift;
	at.lower_ns += shift;
	at.upper_ns += shift;
	return at;
}

/* The corrected latency of one raw difference. */
static double corrected(int64_t raw_ns, double offset_ns, unsigned direction)
{
	double d = (double)raw_ns - offset_ns;

	return direction == VNS_HOST_TO_GUEST ? d : -d;
}

static void widen(struct vns_vo_figure *f, const struct vns_clock_at *at, unsigned direction)
{
	double below = at->offset_ns - at->lower_ns, above = at->upper_ns - at->offset_ns;
	double minus = direction == VNS_HOST_TO_GUEST ? above : below;
	double plus = direction == VNS_HOST_TO_GUEST ? below : above;
	double n = (double)f->first.n; /* this sample included */

	f->err_minus_ns = fmax(f->err_minus_ns, minus);
	f->err_plus_ns = fmax(f->err_plus_ns, plus);
	f->mean_err_minus_ns += (minus - f->mean_err_minus_ns) / n;
	f->mean_err_plus_ns += (plus - f->mean_err_plus_ns) / n;
}

static void add_figure(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	struct vns_vo_figure *f = &t->fig[s->direction][s->proto];
	struct vns_clock_at at = relation(&t->cell, s->host_ns, s->raw_ns);
	int64_t latency = llround(corrected(s->raw_ns, at.offset_ns, s->direction));

	vns_dist_add(&f->first, latency);
	vns_blocks_add(&t->blocks[s->direction][s->proto], s->host_ns, latency);
	widen(f, &at, s->direction);
	if (!s->has_last)
		return;
	at = relation(&t->cell, s->host_ns + s->last_host_ns, s->raw_ns + s->last_raw_ns);
	vns_dist_add(&f->last,
		     llround(corrected(s->raw_ns + s->last_raw_ns, at.offset_ns, s->direction)));
}

static void add_pair(struct vns_vo_tally *t, const struct vns_vo_sample *in,
		     const struct vns_vo_sample *out)
{
	struct vns_clock_at at_in = relation(&t->cell, in->host_ns, in->raw_ns);
	struct vns_clock_at at_out = relation(&t->cell, out->host_ns, out->raw_ns);
	struct vns_vo_pair_sums *acc = &t->acc[out->proto];

	vns_dist_add(&t->sum[out->proto].paired, in->raw_ns - out->raw_ns);
	acc->in += corrected(in->raw_ns, at_in.offset_ns, VNS_HOST_TO_GUEST);
	acc->out += corrected(out->raw_ns, at_out.offset_ns, VNS_GUEST_TO_HOST);
	acc->gap += (double)(out->host_ns - in->host_ns);
	acc->n++;
}

/* A slot holds a flow's latest request; taken over by another flow, it is just forgotten. */
static void pair_up(struct vns_vo_tally *t, const struct vns_vo_sample *x)
{
	struct vns_vo_pair_slot *p = &t->slot[(x->flow ^ x->flow >> 16) % PAIR_SLOTS];
	int64_t gap = x->host_ns - p->request.host_ns;

	if (x->direction == VNS_HOST_TO_GUEST) {
		p->request = *x;
		p->waiting = true;
	} else if (p->waiting && p->request.flow == x->flow && gap >= 0 && gap <= PAIR_MAX_NS) {
		add_pair(t, &p->request, x);
		p->waiting = false; /* one reply each: the first */
	}
}

int vns_vo_tally_init(struct vns_vo_tally *t, const struct vns_clock *clock,
		      struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		      struct vns_vo_sum *sum)
{
	*t = (struct vns_vo_tally){ .cell.clock = clock, .fig = fig, .sum = sum };
	if (!sum)
		return 0;
	t->slot = calloc(PAIR_SLOTS, sizeof(*t->slot));
	return t->slot ? 0 : -ENOMEM;
}

void vns_vo_tally_add(struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	add_figure(t, s);
	if (t->sum)
		pair_up(t, s);
}

static void finish_medians(struct vns_vo_tally *t)
{
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			struct vns_vo_figure *f = &t->fig[d][p];

			vns_blocks_median_ci(&t->blocks[d][p], &f->first, &f->p50_lower_ns,
					     &f->p50_upper_ns);
			vns_blocks_fini(&t->blocks[d][p]);
		}
	}
}

void vns_vo_tally_fini(struct vns_vo_tally *t)
{
	finish_medians(t);
	for (int p = 0; t->sum && p < VNS_PROTOS; p++) {
		double n = (double)t->acc[p].n;

		if (!t->acc[p].n)
			continue;
		t->sum[p].from_directions_ns = (t->acc[p].in + t->acc[p].out) / n;
		t->sum[p].gap_error_ns = t->acc[p].gap / n * MAX_PPM * 1e-6;
		t->sum[p].agrees = fabs(t->sum[p].paired.mean - t->sum[p].from_directions_ns) <=
				   t->sum[p].gap_error_ns + 1;
	}
	free(t->slot);
	t->slot = NULL;
}

static void sort_samples(struct vns_vo_samples *s)
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

	sort_samples(s);
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
	sort_samples(s);
	for (size_t i = 0; i < s->n; i++)
		vns_vo_tally_add(&t, &s->at[i]);
	vns_vo_tally_fini(&t);
	return 0;
}

bool vns_vo_contradiction(const struct vns_vo_target *t, char *why, size_t size)
{
	static const char *const names[] = { "host to guest", "guest to host" };

	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			const struct vns_vo_figure *f = &t->fig[d][p];

			if (!f->first.n || (double)f->first.min + f->err_plus_ns >= -VNS_VO_STAMP_NS)
				continue;
			snprintf(why, size, "negative latency: %s %s has a minimum of %.3f us, %s", names[d],
				 vns_proto_name((enum vns_proto)p), (double)f->first.min / 1e3,
				 t->clock_mode == VNS_CLOCK_GIVEN ?
					 "so the offset given contradicts the traffic" :
					 "so the clock relation contradicts the traffic");
			return true;
		}
	}
	return false;
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
}

void vns_vo_result_free(struct vns_vo_result *r)
{
	for (size_t i = 0; i < r->n_target; i++)
		vns_vo_target_fini(&r->target[i]);
	free(r->target);
	*r = (struct vns_vo_result){ 0 };
}
