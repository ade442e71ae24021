// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The clock relation: exchanges and one-sided bounds -> offset(t) in linear pieces.
 *
 * Theory. Let G(t) be what the guest's clock shows at host time t; it grows, and offset(t) =
 * G(t) - t. A request sent at T1 arrives later, so T2 >= G(T1): offset(T1) <= T2 - T1, exactly at
 * T1 whenever the arrival was. A reply sent at T3 arrives later, so G(T4) >= T3:
 * offset(T4) >= T3 - T4, exactly at T4. Stamps are cut to whole ns, hence CLOCK_STAMP_NS.
 * Each exchange so gives one upper point at T1 and one lower point at T4, and no drift removal
 * is needed to add them up: pieces are lines between the two sets (split.c, fit.c).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock/clock_priv.h"

/* Beyond the span: where a relation is asked that far out, either line may be the guess. */
#define OPEN_NS 86400e9

static const char *const mode_names[VNS_CLOCK_MODES] = {
	[VNS_CLOCK_NONE] = "none",	 [VNS_CLOCK_EXCHANGE] = "exchange",
	[VNS_CLOCK_CHANNEL] = "channel", [VNS_CLOCK_SHM] = "shm",
	[VNS_CLOCK_PTP_KVM] = "ptp_kvm", [VNS_CLOCK_SAME] = "same",
	[VNS_CLOCK_GIVEN] = "given",	 [VNS_CLOCK_TRAFFIC] = "traffic",
	[VNS_CLOCK_TSC] = "tsc",
};

const char *vns_clock_mode_name(enum vns_clock_mode m)
{
	return (unsigned int)m < VNS_CLOCK_MODES ? mode_names[m] : "unknown";
}

int vns_clock_mode_parse(const char *name, enum vns_clock_mode *out)
{
	for (unsigned int i = 0; i < VNS_CLOCK_MODES; i++) {
		if (strcmp(name, mode_names[i]) == 0) {
			*out = (enum vns_clock_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool vns_clock_mode_shares_path(enum vns_clock_mode m)
{
	return m == VNS_CLOCK_EXCHANGE || m == VNS_CLOCK_TRAFFIC;
}

enum vns_split vns_split_of(enum vns_clock_mode m, bool assume_symmetric)
{
	if (!vns_clock_mode_shares_path(m))
		return VNS_SPLIT_KNOWN;
	return assume_symmetric ? VNS_SPLIT_ASSUMED : VNS_SPLIT_WITHHELD;
}

const char *vns_split_name(enum vns_split s)
{
	static const char *const names[] = { "identifiable", "not identifiable",
					     "assumed symmetric" };

	return names[s];
}

int vns_clock_new(struct vns_clock **out, enum vns_clock_mode mode)
{
	struct vns_clock *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->mode = mode;
	c->span_lo = INFINITY;
	c->span_hi = -INFINITY;
	*out = c;
	return 0;
}

void vns_clock_free(struct vns_clock *c)
{
	if (!c)
		return;
	clock_drop_segs(c);
	free(c->sample);
	free(c->given.v);
	free(c->bounds.v);
	free(c->con);
	free(c->side);
	free(c->suspect);
	free(c);
}

enum vns_clock_mode vns_clock_get_mode(const struct vns_clock *c)
{
	return c->mode;
}

static int push(struct clock_list *list, const struct clock_con *k)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64;
		struct clock_con *v = realloc(list->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		list->v = v;
		list->cap = cap;
	}
	list->v[list->n++] = *k;
	return 0;
}

static int add_con(struct vns_clock *c, const struct clock_con *k)
{
	int ret = push(&c->given, k);

	if (ret)
		return ret;
	c->span_lo = fmin(c->span_lo, k->lo);
	c->span_hi = fmax(c->span_hi, k->hi);
	c->dirty = true;
	return 0;
}

/* Upper and lower point of an exchange, as stamps; false when the stamps contradict themselves. */
static bool read_exchange(const struct vns_clock *c, const struct vns_exchange *x,
			  struct vns_clock_sample *s, int64_t *upper, int64_t *lower)
{
	int64_t t2 = x->t2_ns, t3 = x->t3_ns, rtt, proc, slack;

	/* One host instant between two reads of the guest, whichever stands first. */
	if (x->t1_ns == x->t4_ns && c->mode == VNS_CLOCK_PTP_KVM && t2 < t3) {
		t2 = x->t3_ns;
		t3 = x->t2_ns;
	}
	if (__builtin_sub_overflow(x->t4_ns, x->t1_ns, &rtt) ||
	    __builtin_sub_overflow(t3, t2, &proc) ||
	    __builtin_sub_overflow(t2, x->t1_ns, upper) ||
	    __builtin_sub_overflow(t3, x->t4_ns, lower))
		return false;
	if (rtt < 0 || (proc < 0 && (rtt != 0 || c->mode != VNS_CLOCK_PTP_KVM)))
		return false;
	slack = (int64_t)((double)rtt * CLOCK_MAX_RATE) + 2 * CLOCK_STAMP_NS;
	if (rtt - proc < -slack)
		return false;
	*s = (struct vns_clock_sample){
		.at_ns = x->t1_ns + rtt / 2,
		.offset_ns = (double)*lower + (double)(*upper - *lower) / 2,
		.lower_ns = (double)*lower,
		.upper_ns = (double)*upper,
		.rtt_ns = rtt - (proc < 0 ? proc : 0),
		.processing_ns = proc < 0 ? 0 : proc,
	};
	return true;
}

static void set_base(struct vns_clock *c, int64_t at_ns, int64_t offset_ns)
{
	if (c->have_base)
		return;
	c->epoch_ns = at_ns;
	c->base_ns = offset_ns;
	c->have_base = true;
}

int vns_clock_add(struct vns_clock *c, const struct vns_exchange *x)
{
	struct vns_clock_sample s;
	struct clock_con k;
	int64_t upper, lower;
	int ret;

	if (!read_exchange(c, x, &s, &upper, &lower)) {
		c->refused++;
		return 1;
	}
	set_base(c, x->t1_ns, lower + (upper - lower) / 2);
	if (c->n_sample == c->cap_sample) {
		size_t cap = c->cap_sample ? 2 * c->cap_sample : 64;
		struct vns_clock_sample *v = realloc(c->sample, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		c->sample = v;
		c->cap_sample = cap;
	}
	k.lo = clock_rel(x->t1_ns, c->epoch_ns);
	k.hi = clock_rel(x->t4_ns, c->epoch_ns);
	k.sample = c->n_sample;
	k.upper = true;
	k.x = k.lo;
	k.y = clock_rel(upper, c->base_ns) + CLOCK_STAMP_NS;
	ret = add_con(c, &k);
	if (ret)
		return ret;
	k.upper = false;
	k.x = k.hi;
	k.y = clock_rel(lower, c->base_ns) - CLOCK_STAMP_NS;
	ret = add_con(c, &k);
	if (ret == 0)
		c->sample[c->n_sample++] = s;
	else
		c->given.n--;
	return ret;
}

int vns_clock_add_bound(struct vns_clock *c, int64_t at_ns, int64_t value_ns, bool upper)
{
	struct clock_con k = { .upper = upper, .sample = SIZE_MAX };

	set_base(c, at_ns, value_ns);
	k.x = k.lo = k.hi = clock_rel(at_ns, c->epoch_ns);
	k.y = clock_rel(value_ns, c->base_ns) + (upper ? CLOCK_STAMP_NS : -CLOCK_STAMP_NS);
	if (c->mode == VNS_CLOCK_TRAFFIC)
		return add_con(c, &k);
	c->dirty = true;
	return push(&c->bounds, &k);
}

void vns_clock_bound_counts(const struct vns_clock *c, uint64_t *used, uint64_t *refused)
{
	*used = c->side_used;
	*refused = c->side_refused;
}

int vns_clock_set_fixed(struct vns_clock *c, int64_t at_ns, double offset_ns, double drift_ppm,
			double error_ns)
{
	struct clock_seg *s;

	clock_drop_segs(c);
	c->fixed = true;
	c->have_base = true;
	c->epoch_ns = at_ns;
	c->base_ns = (int64_t)llround(offset_ns);
	c->seg = s = calloc(1, sizeof(*c->seg));
	if (!s)
		return -ENOMEM;
	c->n_seg = 1;
	s->up = malloc(sizeof(*s->up));
	s->low = malloc(sizeof(*s->low));
	if (!s->up || !s->low)
		return -ENOMEM;
	s->n_up = s->n_low = 1;
	s->yc = offset_ns - (double)c->base_ns;
	s->up[0] = (struct clock_point){ 0, s->yc + error_ns };
	s->low[0] = (struct clock_point){ 0, s->yc - error_ns };
	s->slope = s->bmin = s->bmax = drift_ppm * 1e-6;
	return clock_publish_pieces(c);
}

int vns_clock_set_wander(struct vns_clock *c, double ppm)
{
	if (!(ppm >= 0 && ppm <= 1e6 * CLOCK_MAX_RATE))
		return -EINVAL;
	c->dirty |= c->wander != ppm * 1e-6;
	c->wander = ppm * 1e-6;
	return 0;
}

double vns_clock_get_wander(const struct vns_clock *c)
{
	return c->wander * 1e6;
}

bool vns_clock_bent(const struct vns_clock *c, double *widened_ns)
{
	double most = 0;
	bool bent = false;

	for (size_t i = 0; i < c->n_seg; i++) {
		most = fmax(most, fmax(c->seg[i].more_up, c->seg[i].more_low));
		bent |= c->seg[i].bent;
	}
	if (widened_ns)
		*widened_ns = most;
	return bent;
}

/* Does piece @i end without a step, and not at an end that is undecided? */
static bool is_kink(const struct vns_clock *c, size_t i)
{
	return !c->seg[i].step_after && !c->seg[i].undecided && !c->seg[i + 1].undecided;
}

bool clock_has_kink(const struct vns_clock *c)
{
	for (size_t i = 0; i + 1 < c->n_seg; i++)
		if (is_kink(c, i))
			return true;
	return false;
}

enum vns_clock_rate vns_clock_rate(const struct vns_clock *c)
{
	for (size_t i = 0; i + 1 < c->n_seg; i++)
		if (is_kink(c, i) && !c->seg[i].doubtful)
			return VNS_CLOCK_RATE_CHANGED;
	return clock_has_kink(c) || vns_clock_bent(c, NULL) ? VNS_CLOCK_RATE_SIGNS : VNS_CLOCK_RATE_STEADY;
}

/* Index of the first of the others after @x. */
static size_t side_after(const struct vns_clock *c, double x)
{
	size_t lo = 0, hi = c->n_side;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->side[mid].x <= x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/*
 * The piece's constraints in order of time into @out: those of [first, last), with @beside also those of
 * the others between them that lie wholly within the piece. Return: their number.
 */
static size_t members(const struct vns_clock *c, size_t first, size_t last,
		      const struct clock_seg *seg, bool beside, const struct clock_con **out)
{
	size_t side = beside ? side_after(c, nextafter(seg->from, -INFINITY)) : 0;
	size_t end = beside ? side_after(c, seg->to) : 0, n = 0;

	while (first < last || side < end) {
		const struct clock_con *k;

		if (side == end || (first < last && c->con[first].x <= c->side[side].x))
			k = &c->con[first++];
		else if (c->side[side].sample != SIZE_MAX && c->sample[c->side[side].sample].contradicts) {
			side++;
			continue;
		} else
			k = &c->side[side++];
		if (k->lo >= seg->from && k->hi <= seg->to)
			out[n++] = k;
	}
	return n;
}

/* Return: 0, 1 one of those @beside contradicts the exchanges, -ENOMEM. */
static int fit_all(const struct clock_con *const *con, size_t n, bool beside, struct clock_fit *fit)
{
	int ret = 0;

	clock_fit_reset(fit);
	for (size_t i = 0; ret == 0 && i < n; i++) {
		ret = clock_fit_add(fit, con[i]);
		if (ret > 0 && !beside)
			ret = 0; /* rounding; exchanges of a piece go together */
	}
	return ret;
}

/* One-sided bounds in the piece, for the count. */
static uint64_t bounds_within(const struct vns_clock *c, const struct clock_seg *seg)
{
	uint64_t n = 0;

	for (size_t i = side_after(c, nextafter(seg->from, -INFINITY));
	     i < c->n_side && c->side[i].x <= seg->to; i++)
		n += c->side[i].sample == SIZE_MAX;
	return n;
}

/* Exchanges beside the others that contradict them each by itself are left out and counted. */
static int refuse_wrong(struct vns_clock *c, const struct clock_fit *fit, const struct clock_seg *seg)
{
	struct clock_seg own = { .from = seg->from, .to = seg->to };
	int ret = clock_seg_from_fit(fit, &own);

	for (size_t i = side_after(c, nextafter(seg->from, -INFINITY));
	     ret == 0 && i < c->n_side && c->side[i].x <= seg->to; i++) {
		const struct clock_con *k = &c->side[i];
		struct vns_clock_sample *s = k->sample == SIZE_MAX ? NULL : &c->sample[k->sample];

		if (!s || s->contradicts || k->lo < seg->from || k->hi > seg->to)
			continue;
		s->contradicts = k->upper ? k->y < clock_seg_lower(&own, k->x) - CLOCK_TOL_NS :
					    k->y > clock_seg_upper(&own, k->x) + CLOCK_TOL_NS;
		c->n_wrong += s->contradicts;
	}
	clock_seg_fini(&own);
	return ret;
}

/*
 * Chains of one piece from the constraints that are certainly its own. One-sided bounds only make
 * them tighter; if one of them contradicts the exchanges none of this piece's is believed.
 */
static int bound_piece(struct vns_clock *c, const struct clock_split *sp, size_t i,
		       struct clock_fit *fit, struct clock_seg *seg)
{
	const struct clock_con **con = malloc((c->n_con + c->n_side + 1) * sizeof(const void *));
	size_t first = sp->latest[i], n;
	size_t last = i + 1 < sp->n ? sp->earliest[i + 1] : c->n_con;
	int ret;

	if (!con)
		return -ENOMEM;
	if (first >= last) {
		seg->weak = true;
		last = i + 1 < sp->n ? sp->latest[i + 1] : c->n_con;
	}
	seg->from = i == 0 ? c->span_lo : c->con[first].lo;
	seg->to = i + 1 == sp->n ? c->span_hi : c->con[last - 1].hi;
	n = members(c, first, last, seg, !seg->weak, con);
	ret = fit_all(con, n, !seg->weak, fit);
	if (ret > 0) {
		n = members(c, first, last, seg, false, con);
		ret = fit_all(con, n, false, fit);
		if (ret == 0)
			ret = refuse_wrong(c, fit, seg);
		n = members(c, first, last, seg, true, con);
		if (ret == 0)
			ret = fit_all(con, n, true, fit);
	}
	if (ret > 0) {
		c->side_refused += bounds_within(c, seg);
		n = members(c, first, last, seg, false, con);
		ret = fit_all(con, n, false, fit);
	} else if (!seg->weak) {
		c->side_used += bounds_within(c, seg);
	}
	if (ret == 0)
		ret = clock_seg_from_fit(fit, seg);
	if (ret == 0)
		ret = clock_look_closer(c, con, n, seg);
	free(con);
	return ret;
}

/* Edges of what is certain: an exchange across a boundary may belong to either side. */
static void set_gaps(struct vns_clock *c, const struct clock_split *sp)
{
	for (size_t i = 0; i + 1 < c->n_seg; i++) {
		size_t before = sp->earliest[i + 1] - 1, after = sp->latest[i + 1];
		double lo = c->con[before].lo, hi = c->con[after].hi;

		c->seg[i].to = fmax(c->seg[i].from, fmin(lo, hi));
		c->seg[i + 1].from = fmax(c->seg[i].to, hi);
	}
}

static double misfit(const struct vns_clock *c, size_t k, const struct clock_seg *seg)
{
	const struct clock_con *con = &c->con[k];
	const struct vns_clock_sample *s;
	double x, width;

	if (con->sample == SIZE_MAX)
		return fabs(con->y - clock_seg_best(seg, con->x));
	s = &c->sample[con->sample];
	x = clock_rel(s->at_ns, c->epoch_ns);
	width = (double)(s->rtt_ns - s->processing_ns) + CLOCK_STAMP_NS;
	return fabs(s->offset_ns - (double)c->base_ns - clock_seg_best(seg, x)) / width;
}

/* Most plausible first constraint of piece i+1, between its earliest and latest. */
static size_t likely_start(const struct vns_clock *c, const struct clock_split *sp, size_t i)
{
	size_t best = sp->earliest[i + 1];
	double cost = 0, least = 0;

	for (size_t k = sp->earliest[i + 1]; k < sp->latest[i + 1]; k++) {
		cost += misfit(c, k, &c->seg[i]) - misfit(c, k, &c->seg[i + 1]);
		if (cost < least) {
			least = cost;
			best = k + 1;
		}
	}
	return best;
}

/* When piece i ends: where the two lines meet if they do inside the gap, else at the start. */
static void set_split(struct vns_clock *c, size_t i, size_t start)
{
	struct clock_seg *a = &c->seg[i], *b = &c->seg[i + 1];
	double lo = a->to, hi = b->from, meet;
	double d_lo = clock_seg_best(b, lo) - clock_seg_best(a, lo);
	double d_hi = clock_seg_best(b, hi) - clock_seg_best(a, hi);

	a->split_after = fmax(lo, fmin(hi, c->con[start].x));
	a->step_after = clock_seg_lower(b, a->split_after) > clock_seg_upper(a, a->split_after) ||
			clock_seg_upper(b, a->split_after) < clock_seg_lower(a, a->split_after);
	if (d_lo * d_hi >= 0 || hi <= lo)
		return;
	meet = lo + (hi - lo) * (d_lo / (d_lo - d_hi));
	a->split_after = fmax(lo, fmin(hi, meet));
	a->step_after = false;
}

/* Contradicting exchanges at an end make a piece that may not be one: the neighbour's line is the likelier. */
static void leave_open(struct vns_clock *c)
{
	struct clock_seg *last = c->n_seg ? &c->seg[c->n_seg - 1] : NULL;

	if (c->n_seg < 2)
		return;
	if (c->open_first) {
		c->seg[0].weak = c->seg[0].undecided = true;
		c->seg[0].split_after = c->span_lo - OPEN_NS;
	}
	if (c->open_last) {
		last->weak = last->undecided = true;
		last[-1].split_after = c->span_hi + OPEN_NS;
	}
}

static int solve_pieces(struct vns_clock *c, const struct clock_split *sp, struct clock_fit *fit,
			size_t *start)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < sp->n; i++) {
		ret = bound_piece(c, sp, i, fit, &c->seg[i]);
		c->n_seg = i + 1;
	}
	if (ret)
		return ret;
	set_gaps(c, sp);
	for (size_t i = 0; ret == 0 && i < sp->n; i++)
		ret = clock_estimate(c, sp->latest[i],
				     i + 1 < sp->n && !c->seg[i].weak ? sp->earliest[i + 1] :
				     i + 1 < sp->n		      ? sp->latest[i + 1] :
									c->n_con,
				     &c->seg[i]);
	start[0] = 0;
	start[sp->n] = c->n_con;
	for (size_t i = 0; i + 1 < sp->n; i++)
		start[i + 1] = likely_start(c, sp, i);
	for (size_t i = 0; i < c->n_sample; i++)
		c->sample[i].used = false;
	for (size_t i = 0; ret == 0 && i < sp->n; i++)
		if (start[i] < start[i + 1])
			ret = clock_estimate(c, start[i], start[i + 1], &c->seg[i]);
	for (size_t i = 0; i + 1 < sp->n; i++)
		set_split(c, i, start[i + 1]);
	leave_open(c);
	return ret ? ret : clock_doubt_changes(c, sp);
}

int vns_clock_solve(struct vns_clock *c)
{
	struct clock_split sp = { 0 };
	struct clock_fit fit = { 0 };
	size_t *start = NULL;
	int ret;

	if (c->fixed || c->loaded || !c->dirty)
		return 0;
	c->side_used = c->side_refused = 0;
	clock_drop_segs(c);
	ret = clock_order(c);
	if (ret == 0)
		ret = clock_split_find(c->con, c->n_con, &sp);
	if (ret == 0)
		ret = clock_split_refine(c, &sp);
	if (ret) {
		clock_split_fini(&sp);
		return ret;
	}
	c->seg = calloc(sp.n, sizeof(*c->seg));
	start = calloc(sp.n + 1, sizeof(*start));
	ret = c->seg && start ? solve_pieces(c, &sp, &fit, start) : -ENOMEM;
	if (ret == 0)
		ret = clock_widen(c);
	if (ret == 0)
		ret = clock_publish_pieces(c);
	if (ret == 0)
		c->dirty = false;
	clock_fit_fini(&fit);
	clock_split_fini(&sp);
	free(start);
	return ret;
}

void vns_clock_contradictions(const struct vns_clock *c, uint64_t *wrong, uint64_t *undecided)
{
	*wrong = c->n_wrong;
	*undecided = c->n_open;
}

void vns_clock_counts(const struct vns_clock *c, uint64_t *used, uint64_t *rejected)
{
	*used = 0;
	for (size_t i = 0; i < c->n_sample; i++)
		*used += c->sample[i].used;
	*rejected = c->refused + c->n_sample - *used;
}

const struct vns_clock_sample *vns_clock_samples(const struct vns_clock *c, size_t *n)
{
	*n = c->n_sample;
	return c->sample;
}
