/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the clock engine. Everything here is relative: x = host time - epoch_ns and
 * y = offset - base_ns, both in ns as doubles. Differences stay far below 2^53, so that an
 * offset of hours or a time of 1.7e18 ns costs no precision.
 */
#ifndef VNS_CLOCK_PRIV_H
#define VNS_CLOCK_PRIV_H

#include <vnetscope/clock.h>

/* The model: no clock runs faster or slower than this (ntpd and Linux refuse more). */
#define CLOCK_MAX_RATE 500e-6
/* Slack of a comparison, ns: far above rounding (1e-4), far below a stamp's resolution. */
#define CLOCK_TOL_NS 1e-3
/* A stamp is its clock's value cut to whole ns: each bound is moved outward by this. */
#define CLOCK_STAMP_NS 1

/* a - b in ns, without overflow and exact up to 2^53. */
static inline double clock_rel(int64_t a, int64_t b)
{
	return (double)((long double)a - (long double)b);
}

struct clock_point {
	double x, y;
};

/*
 * One constraint on the line: y(x) <= y (upper) or >= y (lower). The event behind it took place
 * in [lo, hi]; a step in that interval may lie on either side of it.
 */
struct clock_con {
	double x, y, lo, hi;
	bool upper;
	size_t sample; /* index of the exchange; SIZE_MAX for a one-sided bound */
};

struct clock_list {
	struct clock_con *v;
	size_t n, cap;
};

struct clock_hull {
	struct clock_point *v;
	size_t n, cap;
};

/* On-line feasibility of one line between data ranges (fit.c). */
struct clock_fit {
	struct clock_hull up;  /* lower hull of the upper points */
	struct clock_hull low; /* upper hull of the lower points */
	double bmin, bmax;     /* feasible slopes */
	struct clock_point at_min, at_max; /* a point of the line of least and of largest slope */
};

void clock_fit_reset(struct clock_fit *f);
void clock_fit_fini(struct clock_fit *f);
/* Make @to, zero-initialised or in use, the same as @from. Return: 0 or -ENOMEM. */
int clock_fit_copy(struct clock_fit *to, const struct clock_fit *from);
/* Add a constraint with x >= all before. Return: 0, 1 no line satisfies it, -ENOMEM. */
int clock_fit_add(struct clock_fit *f, const struct clock_con *c);
/* Would an exchange's two points, right of all before, both fit? */
bool clock_fit_has_room(const struct clock_fit *f, const struct clock_con *upper, const struct clock_con *lower);
/* Of one that does not: where the points before are that contradict it; NAN for less than two. */
void clock_fit_against(const struct clock_fit *f, const struct clock_con *upper, const struct clock_con *lower,
		       double x[2]);

/* What stands for a piece when it is asked: two chains, a line, its interval (relation.c). */
struct clock_seg {
	double from, to;      /* the piece certainly holds here */
	double split_after;   /* best guess of where the next piece begins */
	double bmin, bmax;
	struct clock_point *up, *low;
	size_t n_up, n_low;
	double xc, yc, slope; /* estimate: yc + slope * (x - xc) */
	double ci_x, ci_half, ci_slope; /* half-width: hypot(ci_half, ci_slope * (x - ci_x)) */
	bool have_ci;
	bool weak;            /* no constraint is certain to be its own: take the neighbours in */
	bool step_after;
	bool doubtful;        /* the change after it: a few wrong exchanges may be all there is of it (change.c) */
	bool undecided;       /* a step, or wrong stamps: the neighbour may hold in its place */
	/* of widen.c and wander.c: opposite points next to each other, what the bounds are moved by */
	size_t n_pair;
	double least_pair, fast_pair;
	double more_up, more_low;
	bool bent;            /* there are signs that the rate changed within the piece */
};

struct vns_clock {
	enum vns_clock_mode mode;
	int64_t epoch_ns, base_ns;
	bool have_base;
	bool fixed, loaded, dirty;
	struct vns_clock_sample *sample;
	size_t n_sample, cap_sample;
	struct clock_list given; /* as added: two of each exchange; in mode TRAFFIC bounds */
	struct clock_list bounds; /* one-sided bounds beside exchanges */
	/* made of these by each solve, in order of x (order.c): */
	struct clock_con *con;   /* no two exchanges in it overlap: these make the pieces */
	size_t n_con;
	struct clock_con *side;  /* all others: these only tighten */
	size_t n_side;
	uint64_t refused; /* stamps that contradict themselves */
	uint64_t n_wrong, n_open; /* exchanges that contradict the others: left out, or perhaps a step (contradict.c) */
	bool open_first, open_last; /* the latter stand at the beginning, at the end */
	uint64_t side_used, side_refused;
	struct clock_point *suspect; /* stretches with signs of another rate, from x to y (change.c) */
	size_t n_suspect;
	double wander; /* how far a piece's rate may be from a constant */
	double span_lo, span_hi;
	struct clock_seg *seg;
	size_t n_seg;
	struct vns_clock_piece *piece;
};

/* Sort what was given into con and side (order.c). Return: 0 or -ENOMEM. */
int clock_order(struct vns_clock *c);
/* Leave out of con, two points of each exchange, what contradicts the others (contradict.c). Return: 0 or -ENOMEM. */
int clock_find_wrong(struct vns_clock *c);

/* Where pieces begin: latest and earliest possible first constraint of each (split.c). */
struct clock_split {
	size_t *latest, *earliest;
	bool *tested; /* found by estimates, by a test (change.c); set by clock_split_refine() */
	size_t n;
};
int clock_split_find(const struct clock_con *con, size_t n, struct clock_split *out);
void clock_split_fini(struct clock_split *s);

/* Pieces are cut further where the estimates show a change that no bound shows (change.c). */
int clock_split_refine(struct vns_clock *c, struct clock_split *s);

/* Which changes of rate may be a few wrong exchanges, into the pieces' doubtful (change.c). Return: 0 or -ENOMEM. */
int clock_doubt_changes(struct vns_clock *c, const struct clock_split *s);
/* Does a piece end without a step, whatever is doubtful? */
bool clock_has_kink(const struct vns_clock *c);

/* Of a piece just bounded by @con: what clock_widen() needs of them (widen.c). Return: 0 or -ENOMEM. */
int clock_look_closer(const struct vns_clock *c, const struct clock_con *const *con, size_t n,
		      struct clock_seg *seg);
/* Bounds outward where a change of rate may hide (widen.c). Return: 0 or -ENOMEM. */
int clock_widen(struct vns_clock *c);
/* How far out a piece's bounds must be if its rate wanders, into @seg (wander.c). */
int clock_wander_of(const struct clock_con *const *con, size_t n, double wander, double span,
		    struct clock_seg *seg);
/* Move the bounds by that; rays beyond the piece get steeper by the wander (wander.c). */
int clock_move_bounds(struct clock_seg *s, double wander);

/* A low-delay exchange: @x, @y midpoint, @excess delay above the floor, @w weight, @r residual. */
struct clock_obs {
	double x, y, excess, w, r;
	size_t sample, con; /* indices; @con of its lower point */
};
/*
 * The low-delay exchanges whose points are all in [first, last), weighted. @out: free();
 * @slack: how well the floor of the delays is known, ns.
 */
int clock_observe(const struct vns_clock *c, size_t first, size_t last, struct clock_obs **out,
		  size_t *n, double *slack);
/* How much residuals that go together enlarge a variance; at least 1. */
double clock_autocorrelation(const struct clock_obs *o, size_t n);

/*
 * Best line through the low-delay exchanges of [first, last) and its 95 % interval into @seg,
 * whose chains are set (estimate.c). Marks the samples' used. Return: 0 or -ENOMEM.
 */
int clock_estimate(struct vns_clock *c, size_t first, size_t last, struct clock_seg *seg);

/* relation.c */
double clock_seg_upper(const struct clock_seg *s, double x);
double clock_seg_lower(const struct clock_seg *s, double x);
double clock_seg_best(const struct clock_seg *s, double x);
int clock_seg_from_fit(const struct clock_fit *f, struct clock_seg *out);
void clock_seg_fini(struct clock_seg *s);
void clock_drop_segs(struct vns_clock *c);
int clock_publish_pieces(struct vns_clock *c);

#endif
