// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * How far the clocks of both points are apart while the engine runs: twins found -> t->ahead.
 *
 * Inside the engine B's stamps are shifted by the coarse offset that was given, and stay so: stamps
 * come out exactly as they went in. What that offset is wrong by, B "ahead" of A, changes with the
 * clocks' drift. No packet arrives before it was sent, so every twin bounds it: from above towards
 * the guest, from below from the guest. @ahead follows: a twin that contradicts it moves it, just so
 * far that it does not. Traffic of one direction bounds one side only; there the floor of
 * the latencies pulls it, never faster than clocks run apart (500 ppm). A contradiction of more
 * than the slack is a step of a clock, or a stamp gone wrong: it is believed when several twins in a
 * row say so. Copies are decided late: those seen before a step say nothing of what is after it.
 *
 * Copies are told apart by time long after they were seen. So what was known is remembered as
 * moments, cells of time with the offset and how far it may have been wrong then: as far as
 * the bounds of both directions left open, and the drift within two cells.
 */
#include <string.h>

#include "engine/twin/twin_int.h"

#define MAX_STEP_NS       (INT64_C(1) << 57) /* four years; sixteen of them are no overflow */
#define CELL_NS     (250 * VNS_NSEC_PER_MSEC)
#define MAX_PPM     500
#define IN_A_ROW    8  /* contradictions that make a step */
#define ENOUGH      4  /* twins of a direction that make its bound worth something */
#define MARGIN_NS   (50 * VNS_NSEC_PER_USEC) /* stamps are taken some way off the wire */
#define FOUND_NS    VNS_NSEC_PER_SEC /* after a step: corrections are of its size */
#define SETTLED     64 /* twins before which a correction is the first guess's, not a step */

static void clear_bounds(struct twin_bounds *b)
{
	*b = (struct twin_bounds){ .upper = INT64_MAX, .lower = INT64_MIN };
}

void twin_offset_init(struct vns_twin *t)
{
	t->cell = t->window / (TWIN_MOMENTS / 4);
	if (t->cell < CELL_NS)
		t->cell = CELL_NS;
	clear_bounds(&t->bounds[0]);
	clear_bounds(&t->bounds[1]);
	t->odd_at[0] = t->odd_at[1] = INT64_MIN;
	t->stepped_at = INT64_MIN;
}

/* How far @ahead can be wrong after @elapsed of a cell, which may be its end. */
static int64_t error_of_cell(const struct vns_twin *t, int64_t elapsed)
{
	const struct twin_bounds *b = t->bounds;
	int64_t upper = b[0].upper < b[1].upper ? b[0].upper : b[1].upper;
	int64_t lower = b[0].lower > b[1].lower ? b[0].lower : b[1].lower;
	int64_t error = (elapsed + t->cell_before) / 1000000 * MAX_PPM + MARGIN_NS;

	if (t->disturbed)
		return t->disturbed > t->slack ? t->disturbed : t->slack;
	if (b[0].n[0] + b[1].n[0] < ENOUGH || b[0].n[1] + b[1].n[1] < ENOUGH)
		return t->slack;
	if (upper > lower)
		error += upper - lower;
	return error < t->slack ? error : t->slack;
}

/* One direction only for two cells: let the floor of its latencies pull. */
static void pull(struct vns_twin *t, int64_t elapsed)
{
	const struct twin_bounds *b = t->bounds;
	int64_t most = elapsed / 1000000 * MAX_PPM, keep = t->slack / 4, excess;
	unsigned int down = b[0].n[0] + b[1].n[0], up = b[0].n[1] + b[1].n[1];

	if (!b[0].n[0] == !b[0].n[1] || (down && up))
		return;
	if (b[0].upper == INT64_MAX && b[0].lower == INT64_MIN) /* all of them were strange */
		return;
	excess = (b[0].n[0] ? b[0].upper - t->ahead : t->ahead - b[0].lower) - keep;
	if (excess <= 0)
		return;
	if (excess > most)
		excess = most;
	t->ahead += b[0].n[0] ? excess : -excess;
}

static void end_cell(struct vns_twin *t, int64_t at)
{
	struct twin_moment *m = &t->moment[t->n_moment % TWIN_MOMENTS];
	int64_t elapsed = t->n_moment ? at - t->cell_from : 0;

	*m = (struct twin_moment){ .from = t->cell_from, .ahead = t->ahead,
				   .error = error_of_cell(t, elapsed) };
	t->n_moment++;
	pull(t, elapsed);
	t->cell_before = elapsed;
	t->bounds[1] = t->bounds[0];
	clear_bounds(&t->bounds[0]);
	t->cell_from = at;
	t->disturbed = 0;
}

static void step(struct vns_twin *t, unsigned int dir, int64_t by)
{
	t->ahead += by;
	clear_bounds(&t->bounds[0]);
	clear_bounds(&t->bounds[1]);
	t->strange[0] = t->strange[1] = 0;
	if (t->n_twins < SETTLED)
		return;
	if (t->n_steps < VNS_TWIN_STEPS)
		t->steps[t->n_steps] = (struct vns_twin_step){
			twin_stamp(t, VNS_POINT_A, t->sane_until[dir]),
			twin_stamp(t, VNS_POINT_A, t->strange_from[dir]), by };
	t->n_steps++;
	t->stepping = t->n_steps;
	t->stepped_at = t->strange_from[dir];
}

/*
 * @ahead was wrong by @need; so was the size of a step just found, the least that twins asked for. The first
 * guess was as wrong all the time: copies seen under it keep their order to those seen since.
 */
static void correct(struct vns_twin *t, int64_t at, int64_t need)
{
	t->ahead += need;
	for (unsigned int i = 0; t->n_twins < SETTLED && i < t->n_moment && i < TWIN_MOMENTS; i++)
		t->moment[i].ahead += need;
	if (t->stepping && t->stepping <= VNS_TWIN_STEPS && at - t->stepped_at < FOUND_NS)
		t->steps[t->stepping - 1].by_ns += need;
}

/* One more contradiction in a row. Return: are they believed now? */
static bool believed(struct vns_twin *t, unsigned int dir, int64_t at, int64_t need)
{
	int64_t size = need < 0 ? -need : need;
	int64_t known = t->demand[dir] < 0 ? -t->demand[dir] : t->demand[dir];

	if (t->strange[dir] == 0)
		t->strange_from[dir] = at;
	if (t->strange[dir]++ == 0 || size < known)
		t->demand[dir] = need;
	return t->strange[dir] == IN_A_ROW;
}

/* A clock has stepped after @from: cells from then on may be of before or after. */
static void widen(struct vns_twin *t, int64_t from, int64_t size)
{
	for (unsigned int i = 0; i < t->n_moment && i < TWIN_MOMENTS; i++)
		if (t->moment[i].from >= from - 2 * t->cell && t->moment[i].error < size)
			t->moment[i].error = size;
	if (size > t->disturbed)
		t->disturbed = size;
}

/* A twin that cannot be with @ahead as it is: @need is what it must be changed by at least. */
static void contradicted(struct vns_twin *t, unsigned int dir, int64_t at, int64_t need)
{
	int64_t size = need < 0 ? -need : need;

	if (size <= t->slack / 2) {
		if (t->sane[dir] && size > error_of_cell(t, at > t->cell_from ? at - t->cell_from : 0))
			widen(t, t->sane_until[dir] < at ? t->sane_until[dir] : at, t->slack);
		correct(t, at, need);
		return;
	}
	if (size > t->disturbed)
		t->disturbed = size;
	if (believed(t, dir, at, need))
		step(t, dir, t->demand[dir]);
}

void twin_offset_odd(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff)
{
	int64_t need = diff - t->ahead, size = need < 0 ? -need : need;

	if (at <= t->odd_at[dir] || at < t->stepped_at) /* looked at before; or of before a step */
		return;
	t->odd_at[dir] = at;
	if (t->strange[dir] == 0 || size > t->odd_most[dir])
		t->odd_most[dir] = size;
	if (!believed(t, dir, at, need))
		return;
	/* They were refused as impossible: now that they are not, they find each other at their last look. */
	widen(t, t->strange_from[dir], t->odd_most[dir] + t->slack);
	step(t, dir, t->demand[dir]);
}

void twin_offset_news(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff)
{
	struct twin_bounds *b = &t->bounds[0];
	int64_t need = 0;

	if (at - t->cell_from >= t->cell || t->n_twins == 0)
		end_cell(t, at);
	t->n_twins++;
	if (at < t->stepped_at) /* decided late: it tells how far the clocks were apart before the step */
		return;
	b->n[dir]++;
	if (dir == VNS_HOST_TO_GUEST ? diff < t->ahead : diff > t->ahead)
		need = diff - t->ahead;
	if (need)
		contradicted(t, dir, at, need);
	else
		t->strange[dir] = 0;
	/* One stamp gone wrong must not become a bound. */
	if (t->strange[dir])
		return;
	t->sane[dir] = true;
	if (at > t->sane_until[dir])
		t->sane_until[dir] = at;
	if (dir == VNS_HOST_TO_GUEST && diff < b->upper)
		b->upper = diff;
	if (dir == VNS_GUEST_TO_HOST && diff > b->lower)
		b->lower = diff;
}

int64_t twin_soonest(const struct vns_twin *t, unsigned int dir, int64_t error, int64_t at)
{
	int64_t since = at - t->sane_until[dir];

	if (!t->sane[dir] || error >= t->slack)
		return twin_earliest(t, dir, error, at);
	return -error - (since > 0 ? since / 1000 : 0);
}

bool twin_offset_early(struct vns_twin *t, unsigned int dir, int64_t at, int64_t diff)
{
	int64_t lag = dir == VNS_HOST_TO_GUEST ? diff - t->ahead : t->ahead - diff;
	int64_t elapsed = at > t->cell_from ? at - t->cell_from : 0;

	if (lag >= twin_soonest(t, dir, error_of_cell(t, elapsed), at))
		return false;
	twin_offset_odd(t, dir, at, diff);
	return true;
}

struct twin_moment twin_moment_at(const struct vns_twin *t, int64_t time)
{
	const struct twin_moment *m = NULL;
	unsigned int n = t->n_moment < TWIN_MOMENTS ? t->n_moment : TWIN_MOMENTS;

	if (time >= t->cell_from || n == 0)
		return (struct twin_moment){ .from = time, .ahead = t->ahead, .error = t->slack };
	for (unsigned int i = 1; i <= n; i++) {
		m = &t->moment[(t->n_moment - i) % TWIN_MOMENTS];
		if (m->from <= time)
			break;
	}
	return *m;
}

size_t vns_twin_steps(const struct vns_twin *t, struct vns_twin_step out[VNS_TWIN_STEPS])
{
	memcpy(out, t->steps, sizeof(t->steps));
	/* What was under way while the clock stepped has one stamp of before and one of after. */
	for (size_t i = 0; i < t->n_steps && i < VNS_TWIN_STEPS; i++) {
		bool back = out[i].host_ns < out[i].since_ns;

		*(back ? &out[i].host_ns : &out[i].since_ns) -= t->slack;
		*(back ? &out[i].since_ns : &out[i].host_ns) += t->slack;
	}
	return t->n_steps;
}

int64_t vns_twin_offset(const struct vns_twin *t)
{
	return t->epoch[VNS_POINT_B][t->n_epoch[VNS_POINT_B] - 1].shift -
	       t->epoch[VNS_POINT_A][t->n_epoch[VNS_POINT_A] - 1].shift + t->ahead;
}

/* What A's clock says at @p's time @time. */
static int64_t stamp_at_a(const struct vns_twin *t, enum vns_point p, int64_t time)
{
	return twin_stamp(t, VNS_POINT_A, p == VNS_POINT_B ? time - t->ahead : time);
}

int vns_twin_step(struct vns_twin *t, enum vns_point p, int64_t at_ns, int64_t by_ns)
{
	unsigned int n = t->n_epoch[p];
	int64_t shift, from;

	if (n > VNS_TWIN_STEPS || by_ns > MAX_STEP_NS || by_ns < -MAX_STEP_NS)
		return -ENOSPC;
	shift = t->epoch[p][n - 1].shift + by_ns;
	from = twin_time_sub(at_ns, shift);
	/* Stamps must stay tied to their epoch: time goes on from where it was. */
	if (t->last[p] != UNSET && from <= t->last[p]) {
		shift -= t->last[p] + 1 - from;
		from = t->last[p] + 1;
	}
	if (t->n_steps < VNS_TWIN_STEPS)
		t->steps[t->n_steps].since_ns = stamp_at_a(t, p, t->last[p]);
	t->epoch[p][n] = (struct twin_epoch){ from, shift };
	t->n_epoch[p]++;
	if (t->n_steps < VNS_TWIN_STEPS) {
		t->steps[t->n_steps].host_ns = stamp_at_a(t, p, from);
		t->steps[t->n_steps].by_ns = p == VNS_POINT_B ? by_ns : -by_ns;
	}
	t->n_steps++;
	return 0;
}
