/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * State of one live VO run, shared by the loop (vo_live.c) and the assembly of its
 * results (vo_run.c).
 */
#ifndef VNS_MEASURE_VO_RUN_H
#define VNS_MEASURE_VO_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include <vnetscope/rtt.h>

#include "measure/clock_watch.h"
#include "measure/gather.h"
#include "measure/give_way.h"
#include "measure/vo_doubt.h"
#include "measure/vo_figures.h"
#include "measure/vo_points.h"
#include "measure/vo_udp.h"
#include "packet/sample.h"

#define VO_GUEST    SIZE_MAX /* "the guest" as the inner end of a pair */
#define VO_POINTS   8
#define VO_PAIRS    (2 * VO_POINTS)
#define VO_CAPTURE_ID 1 /* of the guest's capture */

struct vo_subject;

/* Packets of the guest's that wait until it is known of which epoch they are (vo_guest.c). */
struct vo_held {
	struct vns_packet *at;
	size_t n, cap;
};

/*
 * An agent that says nothing (vo_quiet.c). @since_ns: since when, host clock, or 0; @back: it speaks
 * again, since @until_ns. Guarded by the subject's lock: @stopped_ns, when its process was last seen
 * stopped; @heard_ns, the guest's last packet at the innermost host point, and the last pause between
 * two of them.
 */
struct vo_quiet {
	int64_t since_ns, until_ns;
	bool back;
	int64_t stopped_ns;
	size_t n_event;
	int64_t heard_ns, gap_from_ns, gap_to_ns;
};

/*
 * Two points between which packets are paired: indices into the subject's points. Pairs within the
 * host need no clock relation: their samples go to the figures at once.
 */
struct vo_pair {
	size_t a, b;
	struct vo_subject *subject;
	struct vns_twin *twin;         /* of this epoch; NULL while the guest cannot be reached */
	int64_t from_ns;               /* it was begun then, on the host's clock */
	struct vns_twin_learnt *learnt; /* by the one before, for the next */
	struct vns_twin_mapping nat[VNS_TWIN_MAPPINGS];
	size_t n_nat;
	uint64_t translated;           /* by engines before */
	struct vns_vo_samples samples; /* that wait for the relation */
	struct vns_vo_tally tally;
	bool tallying;
	struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS];
	struct vns_vo_sum sum[VNS_PROTOS];
	struct vns_twin_counts counts[2];  /* of the epochs before */
	uint64_t evicted;
	uint64_t matched, unrelated;
	int64_t tallied_ns;                /* host time of the latest sample in the figures */
	uint64_t late;                     /* samples that came into them after later ones */
	uint64_t payload_bytes;            /* does not depend on what frames were cut into */
	struct vns_blocks recent[VNS_DIRECTIONS]; /* since the last progress report, preliminary */
};

/* What struct vns_vo_rtt is made from at the end: the guest's side in two parts, as VNS_VO_PAIR_NS divides it. */
struct vo_halves {
	struct vns_blocks client_side, guest_within, guest_over;
};

/* Context of one passive RTT engine: samples go to the halves of its point. */
struct vo_rtt_at {
	struct vo_subject *subject;
	size_t point;
};

/* Where a run stands; subjects' threads follow the main thread's lead. */
enum vo_phase { VO_BEFORE = 0, VO_TRAFFIC, VO_AFTER };

/*
 * One thread per subject talks to its agent (which may be slow to answer without holding up the
 * others or the host's captures); the main thread reads the host's captures. @lock guards
 * everything both touch: clock, probes in flight, twins, samples, notes.
 */
struct vo_subject {
	const struct vns_subject *s; /* &@own */
	struct vns_subject own;      /* its agent changes when it is reached anew */
	struct vo_run *run;
	pthread_t thread;
	pthread_mutex_t lock;
	struct give_way_turns turns; /* how the thread and the reading one come to @lock */
	bool has_thread;
	atomic_bool ready;         /* its exchanges before the traffic are made */
	int64_t away_ns;           /* first lost before the traffic, monotonic; 0: never */
	enum vns_clock_mode mode;
	struct vns_clock *clock;
	struct vns_gather *gather; /* NULL in mode same */
	/* the relation's windows and epochs (vo_epoch.c); instants on the host's clock */
	size_t seen;               /* samples of @clock that were looked at for steps */
	bool doubting;             /* the next of them may tell of a step: vo_doubt.c */
	struct vo_held held;       /* meanwhile */
	bool known;                /* the offset lies in: */
	struct vo_bounds in;
	int64_t last_fit_ns;
	uint64_t contradicting, undecided; /* exchanges that were left out, that nothing decided of; the former */
	int64_t counted_ns;        /* ... up to then; small steps were told up to: */
	int64_t step_told_ns;
	int64_t window_from_ns, epoch_from_ns;
	int64_t epoch_told_ns;     /* when it was known that it had begun */
	int64_t epoch_guest_ns;    /* its start on the guest's clock */
	int64_t epoch_back_ns;     /* by how much that was set back, or 0 */
	struct vns_clock_at at_middle, preliminary;
	uint64_t bounds_refused;
	struct clock_watch watch;  /* of both kernels' clocks; last at @watched_ns (monotonic) */
	int64_t watched_ns, look_gap_ns; /* time until the next look */
	double wander_ppm;         /* what relations allow for: the user's, or what kernels do and did */
	enum vns_clock_rate rate;  /* the most that a window's relation says of its constancy */
	struct vns_vo_event event[VNS_VO_MAX_EVENTS];
	size_t n_event, events_left_out;
	struct vns_vo_event *steered[CLOCK_ENDS]; /* the one of each clock's rates, or NULL */
	unsigned source_events;    /* of clock sources */
	struct vo_pair pair[VO_PAIRS];
	size_t n_pair;
	struct vns_rtt *rtt[VO_POINTS];
	struct vo_rtt_at rtt_at[VO_POINTS];
	struct vo_halves halves[VO_POINTS];
	struct vns_agent_usage usage_begin, usage_end;
	int64_t usage_from_ns, usage_to_ns; /* when these were read; monotonic, guests' clocks may be set */
	uint64_t agent_bytes, guest_lost;
	uint64_t unknown_address;  /* packets from the guest at its tap that bear none of its addresses */
	struct vns_addr unknown;   /* the latest of those */
	uint64_t other_epoch[3];   /* the guest's packets that no engine got, by enum vo_epoch */
	int64_t guest_upto_ns;     /* all that was captured up to then has come; guest clock */
	struct vo_quiet quiet;
	bool capturing;
	atomic_bool noted;         /* its agent said something: is its capture still there? */
	uint32_t one_in;           /* packets that are looked at; the agent was told: */
	uint32_t agent_one_in;
	struct vns_sampler sampler[VO_POINTS + 1]; /* by point, the last is the guest's; where not all are looked at */
	uint64_t not_sampled[VO_POINTS];           /* packets of the traffic that were left out, by point */
	struct vo_udp udp[VO_POINTS + 1];          /* the same: of what was chosen */
	double agent_share;        /* of one CPU, over the last second or so */
	struct vns_agent_usage usage_last;
	int64_t usage_last_ns;     /* monotonic */
	int64_t usage_asked_ns;    /* monotonic */
	bool paired;               /* its twins are open: the guest's packets count */
	char console[128];         /* its last line there before the traffic */
	atomic_bool dead;
	char why[256], note[256];
};

struct vo_run {
	const struct vns_subject *first;
	const struct vns_vo_live_opts *opts;
	struct vo_subject subject[VNS_VO_MAX_SUBJECTS];
	size_t n;
	struct vns_vo_points points;
	struct vns_clock *same; /* within the host: offset 0 */
	_Atomic enum vo_phase phase; /* captured packets count in VO_TRAFFIC only */
	bool interrupted;
	struct give_way reading; /* the main thread, during the traffic */
	pthread_mutex_t saying;     /* one sentence at a time */
	pthread_mutex_t exchanging; /* one subject at a time: both ends of a burst must run at once */
	int64_t from_ns, to_ns, elapsed_ns, cpu_ns;
	int64_t over_ns; /* the traffic's end, monotonic: what comes after it is waited for so long only */
	_Atomic int64_t stop_ns; /* an interrupt was first seen; monotonic */
	uint32_t one_in;
	bool behind;      /* the last look at the rings left packets there that it should have read */
	int64_t drops_ns; /* the kernel's counters of drops were looked at; monotonic */
	int64_t watched_ns; /* guests' processes were looked at; monotonic */
	int64_t budget_at_ns, budget_cpu_ns; /* when the budget was looked at, CPU time by then */
	uint64_t budget_packets; /* read at host points since then */
	double budget_before; /* what was used when the share was changed last, or could not be */
	bool budget_raised, budget_told;
};

/* Is @p, the next packet of point @k (VO_POINTS: of the guest), looked at? With the subject's lock. */
static inline bool vo_subject_samples(struct vo_subject *v, size_t k, const struct vns_packet *p)
{
	if (v->one_in <= 1)
		return true;
	if (!vns_sampler_takes(&v->sampler[k], p, v->one_in))
		return false;
	vo_udp_see(&v->udp[k], &v->sampler[k], p);
	return true;
}

/* The phase that both sides go by. */
static inline bool vo_in_phase(const struct vo_run *run, enum vo_phase phase)
{
	return atomic_load(&run->phase) == phase;
}

static inline bool vo_stopped(const struct vo_run *run)
{
	return run->opts->stop && *run->opts->stop;
}

int vo_run_init(struct vo_run *run, const struct vns_subject *subjects, size_t n,
		const struct vns_vo_live_opts *opts, struct vns_err *err);
/* After the first exchanges: solve, then pair with the offset they gave. Return: 0, 1 one is not ready, -errno */
int vo_run_open_twins(struct vo_run *run, struct vns_err *err);
/* Begin pairing with B's clock @coarse_ns ahead of A's; end it: its packets get their classes. */
int vo_pair_begin(struct vo_pair *p, int64_t coarse_ns, struct vns_err *err);
void vo_pair_finish(struct vo_pair *p);
/* End it where another will go on: what this one learnt is kept for that. */
void vo_pair_hand_over(struct vo_pair *p);
/* Packets at the host while nothing can come from the guest: they count as outside of its window. */
void vo_pair_unseen(struct vo_pair *p, const struct vns_packet *pkts, size_t n);
/* Does traffic of the guest cross @inner's point that does not cross @outer's, beyond what edges explain? */
bool vo_pair_sees_more(const struct vo_pair *inner, const struct vo_pair *outer);
/* Measuring it ends here, and its result says why; what was measured stands. */
void vo_subject_fail(struct vo_subject *v, const char *sentence);
void vo_run_report(struct vo_run *run, int64_t elapsed_ns);
int vo_run_result(struct vo_run *run, struct vns_vo_result *out, struct vns_err *err);
void vo_run_fini(struct vo_run *run);

#endif
