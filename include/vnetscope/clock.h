/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/clock.h - the relation between a guest's clock and the host's.
 *
 * offset_ns > 0: the guest is ahead of the host. All times are on the HOST's clock unless a
 * name says otherwise. drift_ppm > 0: the guest's clock runs fast.
 *
 * Theory. An exchange gives T1 (host send), T2 (guest receive), T3 (guest send), T4 (host
 * receive). No packet arrives before it is sent, so offset <= T2-T1 and offset >= T3-T4: a
 * hard bound (Freris, Graham, Kumar 2011: from timestamps of one path no more than that can
 * be known of the split). Over many exchanges offset(t) is a line that stays below all upper
 * and above all lower points (Moon, Skelly, Towsley 1999; Zhang, Liu, Xia 2002).
 *
 * Two kinds of interval, never mixed: [lower_ns, upper_ns] is that causality bound, certain
 * while the clock obeys the model (|rate| <= 500 ppm; linear within each piece that is found, or with a
 * rate that wanders no further than vns_clock_set_wander() allows);
 * [ci_lower_ns, ci_upper_ns] is a statistical 95 % confidence interval.
 */
#ifndef VNETSCOPE_CLOCK_H
#define VNETSCOPE_CLOCK_H

#include <vnetscope/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where an exchange's stamps come from. */
enum vns_clock_mode {
	VNS_CLOCK_NONE = 0,
	VNS_CLOCK_EXCHANGE, /* packet stamps of ICMP echo over the measured network path */
	VNS_CLOCK_CHANNEL,  /* request/reply over the agent's own channel: another path */
	VNS_CLOCK_SHM,      /* ivshmem page shared by host and lab guest */
	VNS_CLOCK_PTP_KVM,  /* guest reads host time from /dev/ptp (KVM hypercall) */
	VNS_CLOCK_SAME,     /* one clock (namespaces): offset 0 by construction */
	VNS_CLOCK_GIVEN,    /* offset given by the user (--offset-ns) */
	VNS_CLOCK_TRAFFIC,  /* offline: bounds from the matched traffic itself */
	VNS_CLOCK_TSC,      /* KVM's map of the guest's counter to the host's (debugfs) */
	VNS_CLOCK_MODES
};
const char *vns_clock_mode_name(enum vns_clock_mode m); /* "exchange", "channel", "shm", ... */
int vns_clock_mode_parse(const char *name, enum vns_clock_mode *out);
/** True when the mode's probes cross the path that `vo` measures (split not identifiable). */
bool vns_clock_mode_shares_path(enum vns_clock_mode m);

/**
 * enum vns_split - may the floors of the two directions be told apart?
 * @VNS_SPLIT_WITHHELD: no, the probes crossed the measured path (Freris, Graham, Kumar 2011): each
 *	direction has its interval and its excess over its own floor, both together their sum
 * @VNS_SPLIT_ASSUMED: no either, but the user asked for equal floors, as in the thesis
 */
enum vns_split { VNS_SPLIT_KNOWN = 0, VNS_SPLIT_WITHHELD, VNS_SPLIT_ASSUMED };
/** vns_split_of() - @assume_symmetric: the user asked for equal floors. */
enum vns_split vns_split_of(enum vns_clock_mode m, bool assume_symmetric);
/** "identifiable", "not identifiable", "assumed symmetric". Static. */
const char *vns_split_name(enum vns_split s);

/** struct vns_exchange - the four stamps; t1, t4 host clock, t2, t3 guest clock, ns. */
struct vns_exchange {
	int64_t t1_ns, t2_ns, t3_ns, t4_ns;
};

/** One-sided bounds also exist (traffic that flows one way): see vns_clock_add_bound(). */

/**
 * struct vns_clock_piece - offset(t) = offset_ns + drift_ppm * (t - from_ns) / 1e6 on
 * [from_ns, to_ns]; within a piece the clock is taken to be linear.
 * @step_after: true when the piece ends in a detected step
 * @widened_ns: what its bounds were moved outward by as the rate may change within it; 0: not at all
 * @bent: there are signs that it did (a clock that is slewed); without a wander allowed for, it then has no 95 %
 *	interval but the bound
 * @undecided: at an end; exchanges there contradict the others, and nothing decides between a step and wrong stamps:
 *	the bound is that of both
 */
struct vns_clock_piece {
	int64_t from_ns, to_ns;
	double offset_ns;
	double drift_ppm, drift_lower_ppm, drift_upper_ppm;
	bool step_after;
	double widened_ns;
	bool bent, undecided;
};

/**
 * struct vns_clock_at - the relation at one instant.
 * @drift_lower_ppm, @drift_upper_ppm: rates that the bounds leave feasible there: of every piece that may
 *	hold at that instant
 */
struct vns_clock_at {
	int64_t at_ns;
	double offset_ns;              /* best estimate */
	double lower_ns, upper_ns;     /* causality bound */
	double ci_lower_ns, ci_upper_ns; /* 95 % confidence interval; equals the bound if unknown */
	double drift_ppm, drift_lower_ppm, drift_upper_ppm;
	bool extrapolated;             /* outside the measured span: bound widened by the feasible
					* range of rates; certain only while the rate stays */
};

struct vns_clock; /* estimator: feed exchanges, solve, ask */

int vns_clock_new(struct vns_clock **out, enum vns_clock_mode mode);
void vns_clock_free(struct vns_clock *c);
enum vns_clock_mode vns_clock_get_mode(const struct vns_clock *c);

/**
 * vns_clock_add() - one exchange, in order of t1. Exchanges with t4 < t1 or t3 < t2, or that
 * last longer in the guest than on the host, are rejected and counted. In mode PTP_KVM t1 may
 * equal t4: the host time that the guest read, t2 and t3 the guest's clock before and after it. Return: 0, 1 rejected, -ENOMEM.
 */
int vns_clock_add(struct vns_clock *c, const struct vns_exchange *x);
/**
 * vns_clock_add_bound() - offset(at) <= value (upper) or >= value (lower), from one packet.
 *
 * Mode TRAFFIC lives on these alone. Beside exchanges they make bounds tighter within the pieces
 * that the exchanges show; those of a piece are left out if one of them contradicts it.
 */
int vns_clock_add_bound(struct vns_clock *c, int64_t at_ns, int64_t value_ns, bool upper);
/** vns_clock_bound_counts() - of the last solve: bounds taken in beside exchanges, and left out. */
void vns_clock_bound_counts(const struct vns_clock *c, uint64_t *used, uint64_t *refused);
/** vns_clock_set_fixed() - a relation that is known: SAME (0) or GIVEN; error +-@error_ns. */
int vns_clock_set_fixed(struct vns_clock *c, int64_t at_ns, double offset_ns, double drift_ppm,
			double error_ns);

/**
 * vns_clock_set_wander() - allow for a rate that changes without a sign of it (a clock slewed by NTP).
 *
 * Bounds are certain then while within each piece the rate stays within @ppm of some constant, at
 * any speed of change: 0 (as it is made) is a straight line; RFC 5905 takes a disciplined clock
 * to be within 15 ppm (PHI); adjtime() slews by 500. Before vns_clock_solve(). Return: 0 or -EINVAL.
 */
int vns_clock_set_wander(struct vns_clock *c, double ppm);
double vns_clock_get_wander(const struct vns_clock *c); /* ppm */
#define VNS_CLOCK_NTP_WANDER_PPM 15.0
/**
 * vns_clock_bent() - are there signs that the rate changed within a piece? @widened_ns (may be NULL): the
 * most that any piece's bounds were moved outward by, for that or for the wander allowed for.
 */
bool vns_clock_bent(const struct vns_clock *c, double *widened_ns);
/**
 * enum vns_clock_rate - what a solved relation says of whether the clock kept its rate between its steps.
 * @VNS_CLOCK_RATE_SIGNS: its bounds leave less room than the fastest exchange took, or midpoints or single exchanges show
 *	a change that odd or wrong ones may explain: so do 3 of 100 clocks that keep theirs, and many that NTP slews
 * @VNS_CLOCK_RATE_CHANGED: a test at level 1 in 1000 for the whole run refutes that one line runs through all midpoints but
 *	the odd ones (chance 1 in 50 each), or causality leaves no one line where the exchanges are too few for that test. The
 *	level is the test's, for exchanges that are odd one by one: of clocks that keep their rate 5 in 1000 looked so where 1 in
 *	100 exchanges had stamps wrong by one or two of the fastest delays, two or three in a row
 */
enum vns_clock_rate { VNS_CLOCK_RATE_STEADY = 0, VNS_CLOCK_RATE_SIGNS, VNS_CLOCK_RATE_CHANGED };
enum vns_clock_rate vns_clock_rate(const struct vns_clock *c);

/** vns_clock_solve() - fit all pieces to what was added so far. May be called repeatedly. */
int vns_clock_solve(struct vns_clock *c);

/**
 * vns_clock_eval() - the relation at host time @at_ns, after vns_clock_solve().
 * Return: 0, or -ENODATA when nothing was added.
 */
int vns_clock_eval(const struct vns_clock *c, int64_t at_ns, struct vns_clock_at *out);
/** vns_clock_eval_guest() - the same for an instant given on the GUEST's clock. */
int vns_clock_eval_guest(const struct vns_clock *c, int64_t guest_ns, struct vns_clock_at *out);

const struct vns_clock_piece *vns_clock_pieces(const struct vns_clock *c, size_t *n);
/**
 * @used: accepted into the fit; @rejected: contradictory stamps, or left out of the estimate
 * since their delay is far above the floor (they still bound).
 */
void vns_clock_counts(const struct vns_clock *c, uint64_t *used, uint64_t *rejected);

/**
 * vns_clock_contradictions() - of the last solve: exchanges that no clock explains together with the others if it
 * keeps each line for six exchanges at least.
 * @wrong: left out: they bound nothing; the bound around them is moved outward (vns_clock_piece.widened_ns)
 * @undecided: at an end, where they may as well tell of a step: they made a piece of their own
 *
 * Nothing is left out in mode TRAFFIC, nor where more than a tenth contradict: there each makes a piece.
 */
void vns_clock_contradictions(const struct vns_clock *c, uint64_t *wrong, uint64_t *undecided);

/** One exchange as the thesis plots it: its midpoint offset and its own bound (fig 3.2). */
struct vns_clock_sample {
	int64_t at_ns;        /* (t1 + t4) / 2 */
	double offset_ns;     /* ((t2 - t1) + (t3 - t4)) / 2 */
	double lower_ns, upper_ns; /* t3 - t4, t2 - t1 */
	int64_t rtt_ns, processing_ns; /* t4 - t1, t3 - t2 */
	bool used;
	bool contradicts; /* the others: see vns_clock_contradictions() */
};
const struct vns_clock_sample *vns_clock_samples(const struct vns_clock *c, size_t *n);

/** struct vns_clock_knot - a vertex of a bound, on the host's clock. */
struct vns_clock_knot {
	int64_t at_ns, value_ns;
};

#define VNS_CLOCK_MAX_KNOTS 64

/**
 * struct vns_clock_saved - a piece with its bounds, to be written to a file and read again.
 * @split_ns: best guess of where the next piece begins
 * @upper: vertices of the upper bound; left of them it goes on with piece.drift_lower_ppm, right
 *	with piece.drift_upper_ppm (@lower: the other way round). Vertices may be left out: the
 *	bound then is looser, never wrong. None: not bounded on that side.
 * @ci_half_ns, @ci_half_ppm: half-width of the 95 % interval at t:
 *	hypot(ci_half_ns, ci_half_ppm * (t - ci_at_ns) / 1e6)
 * @weak: no exchange is certain to belong to this piece; bounds take in the neighbours'
 */
struct vns_clock_saved {
	struct vns_clock_piece piece;
	int64_t split_ns;
	struct vns_clock_knot *lower, *upper;
	size_t n_lower, n_upper;
	int64_t ci_at_ns;
	double ci_half_ns, ci_half_ppm;
	bool have_ci, weak;
};
/** vns_clock_export() - piece @i as plain data; @out is owned, free with _saved_fini(). */
int vns_clock_export(const struct vns_clock *c, size_t i, struct vns_clock_saved *out);
void vns_clock_saved_fini(struct vns_clock_saved *s);
/**
 * vns_clock_restore() - a relation from saved pieces (copied), ready for vns_clock_eval().
 * Return: 0, -EINVAL when the pieces are not in order or not finite, -ENOMEM.
 */
int vns_clock_restore(struct vns_clock **out, enum vns_clock_mode mode,
		      const struct vns_clock_saved *pieces, size_t n);

#ifdef __cplusplus
}
#endif
#endif
