/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/measure.h - results of whole measurements, as the renderers get them.
 *
 * One measurement is a clock relation, captures and engines together. It fills one of
 * these structs; text, JSON, CSV and HTML are renderings of the same struct.
 */
#ifndef VNETSCOPE_MEASURE_H
#define VNETSCOPE_MEASURE_H

#include <vnetscope/agent.h>
#include <vnetscope/clock.h>
#include <vnetscope/packet.h>
#include <vnetscope/rtt.h>
#include <vnetscope/rtt_app.h>
#include <vnetscope/rtt_views.h>
#include <vnetscope/source.h>
#include <vnetscope/stat.h>
#include <vnetscope/twin.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where on the host's side of the path a capture sits; order from outside to the guest. */
enum vns_point_kind { VNS_AT_UPLINK = 0, VNS_AT_BRIDGE, VNS_AT_TAP, VNS_AT_OTHER };
const char *vns_point_kind_name(enum vns_point_kind k); /* "uplink", "bridge", "tap", "other" */

/** struct vns_host_point - a host interface on which the guest's packets can be captured. */
struct vns_host_point {
	enum vns_point_kind kind;
	char ifname[16];
};

/** What a guest's network card is plugged into. */
enum vns_backing_kind {
	VNS_BACKED_UNKNOWN = 0,
	VNS_BACKED_TAP,
	VNS_BACKED_OVS,        /* a tap that is a port of Open vSwitch */
	VNS_BACKED_MACVTAP,
	VNS_BACKED_VHOST_USER, /* the host's kernel sees no packet of these: */
	VNS_BACKED_FUNCTION,   /* a PCI function passed through (SR-IOV) */
	VNS_BACKED_VDPA,
	VNS_BACKED_PROCESS,    /* user mode, sockets ... */
};
/**
 * struct vns_backing - as the host shows it.
 * @pid:    QEMU
 * @ifname: the interface that sees the guest's packets, or ""
 * @lower:  what that is a port of or sits on; the physical function's interface; or ""
 * @detail: socket, PCI address, device; or ""
 * @text:   half a sentence: what it is and, where nothing can be seen, why and what to do
 */
struct vns_backing {
	enum vns_backing_kind kind;
	pid_t pid;
	char ifname[16], lower[16];
	char detail[128];
	char text[400];
};
/**
 * vns_backing_find() - look for the guest whose card has address @mac among this machine's QEMU
 * processes. @root: "" (or NULL), or a folder with proc and sys of its own. Return: 0 or -ENOMEM.
 */
int vns_backing_find(const char *root, const uint8_t mac[6], struct vns_backing *out);

/**
 * struct vns_subject - one machine under measurement, as lib/measure sees it. Everything is
 * borrowed from the target that opened it (target/target.h).
 * @host_netns_fd: namespace of the host points, from which probes are sent too; -1: our own
 * @point: host points, outside first
 * @guest: the guest's addresses on @guest_ifname
 * @shm_page: mapped ivshmem page, or NULL
 * @vmm_pid: the process that runs the guest, or 0: not known (then the holder of its tap is looked for)
 * @same_clock: the agent runs on this very kernel: offset 0 by construction
 * @exclude_filter: pcap expression that matches traffic of our own, to leave out (ssh), or ""
 * @unseen: why no host point is known, half a sentence; "" or NULL: nothing more can be said
 * @reconnect: reach the agent anew after its connection was lost (a guest that reboots or is
 *   restored elsewhere): @agent becomes another one, NULL after a failure; one attempt of
 *   @timeout_ms. NULL: it cannot be reached anew
 * @console: the last line of the guest's console into @line, with the same context. Return: is there one? NULL:
 *   it cannot be read here
 */
struct vns_subject {
	const char *name;
	struct vns_agent *agent;
	int host_netns_fd;
	const struct vns_host_point *point;
	size_t n_point;
	const char *guest_ifname;
	const struct vns_addr *guest;
	size_t n_guest;
	void *shm_page;
	int vmm_pid;
	bool same_clock;
	bool tcg;
	const char *exclude_filter;
	const char *unseen;
	int (*reconnect)(void *ctx, int timeout_ms, struct vns_agent **agent, struct vns_err *err);
	bool (*console)(void *ctx, char *line, size_t size);
	void *reconnect_ctx;
};

/**
 * struct vns_vo_figure - latency of one protocol in one direction over one stretch.
 * @first: first byte's latency, corrected by the clock relation, ns
 * @last:  last byte's latency (n may be lower: the last byte was not always found)
 * @err_minus_ns, @err_plus_ns: clock interval: the true value of every order statistic v lies in
 *   [v - err_minus_ns, v + err_plus_ns] (worst case over the samples)
 * @interval, @last_interval: what the finite, correlated sample leaves open of the figures of @first
 *   and @last, 95 % (vns_blocks_intervals())
 * @mean_err_minus_ns, @mean_err_plus_ns: the same for the mean (average over the samples)
 * @floor_lower_ns, @floor_upper_ns: the true minimum lies between: least ends of all samples' own
 *   intervals, never wider than the minimum with the worst of them
 */
struct vns_vo_figure {
	struct vns_dist first, last;
	struct vns_intervals interval, last_interval;
	double err_minus_ns, err_plus_ns;
	double mean_err_minus_ns, mean_err_plus_ns;
	double floor_lower_ns, floor_upper_ns;
};

/**
 * struct vns_vo_check - do the corrected directions of some pairs add up to the clock-free sum of others?
 * @blocks: of time that were compared; 0: too few for an answer
 * @difference_ns: way in of the first half of the run and way out of the second, of half of the pairs,
 *   less the clock-free sum of the others. What the relation's error changes by from the first
 *   half to the second shows (a wrong rate, a step it does not have), as does one direction that really grew while
 *   the other shrank; a constant error of the offset cancels
 * @half_ns: half of its 95 % interval: sampling (batches of time), half of the change of the sum, which load
 *   may have made in one direction alone, and what the relation itself leaves open
 * @inside: 0 is inside; where nothing is wrong it is not in at most 1 of 20 by chance
 */
struct vns_vo_check {
	uint32_t blocks;
	double difference_ns, half_ns;
	bool inside;
};

/** A reply belongs to a request at most that old; so the sums of both directions hold nothing longer, ns. */
#define VNS_VO_PAIR_NS VNS_NSEC_PER_SEC

/**
 * struct vns_vo_sum - both directions together, free of the clock offset.
 * @paired: for each guest_to_host sample, the latest host_to_guest sample of the same flow before
 *   it (at most VNS_VO_PAIR_NS): raw_h2g - raw_g2h, less what the relation's offset changed by in between;
 *   the offset itself cancels. Of ICMP an echo's request and its reply, whichever side asked
 * @interval: of its figures, 95 %, as of struct vns_vo_figure
 * @gap_error_ns: mean of what the clock's rate may still be wrong by over a pair's gap, when all that is
 *   certain of it is |rate| <= 500 ppm: 500 ppm of the gap and the correction itself
 * @floor_upper_ns: the true minimum is not above: least sum and error of any pair; infinite where
 *   the clock stepped, as the step's instant is not certain
 * @forgotten: requests whose place another flow took over before a reply came, within VNS_VO_PAIR_NS
 * @late_replies: guest_to_host samples that are none's reply, since the latest matched request before them is
 *   older than VNS_VO_PAIR_NS: the guest stood still, or spoke unasked; each request counts at most once
 * @across_step: requests and replies between which a clock stepped: their sum would hold the step
 * @passed_over: requests that a later one of their flow came after before the reply that was paired with the
 *   latest; slow ones are more likely among them. Usual in TCP, which acknowledges several at once
 * @biased: the sum may be too low, and @interval is left out: beyond TCP more than 1 % of requests were passed over,
 *   or the way to the guest alone takes longer by its own figure than both by the sum
 */
struct vns_vo_sum {
	struct vns_dist paired;
	struct vns_intervals interval;
	double gap_error_ns;
	double floor_upper_ns;
	uint64_t forgotten, late_replies, across_step;
	struct vns_vo_check check;
	uint64_t passed_over;
	bool biased;
};

/** struct vns_vo_hop - one stretch of the path: host point to host point, or to the guest. */
struct vns_vo_hop {
	char from[32], to[32]; /* "uplink", "bridge", "tap", "guest" */
	bool clock_free;       /* both ends on the host's clock */
	struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS];
	struct vns_twin_counts counts[2];
};

#define VNS_VO_MAX_HOPS 8

/**
 * struct vns_vo_rtt - RTT seen at the host point towards the guest and back: for VO's share.
 * @guest_within: those of @guest_side of at most VNS_VO_PAIR_NS, which the sums of both directions cover too
 */
struct vns_vo_rtt {
	struct vns_dist client_side; /* host point -> client -> host point, TCP timestamps */
	struct vns_dist guest_side;  /* host point -> guest -> host point */
	struct vns_dist guest_within;
	struct vns_intervals client_interval, guest_interval, within_interval; /* of their figures, 95 % */
};

/**
 * struct vns_vo_event - something that happened to a target while it was measured.
 * @kind: "clock_step", "stood_still", "agent_silent", "lost", "reboot", "back", "renamed", "removed", "returned",
 *        "link_down", "link_up", "sampling", "clock_changed", "late", "drops", "behind"
 * @text: one sentence
 * @within_ns: a step of the guest's clock was within so long from @at_ns on; 0: none is told here, or not with bounds
 * @by_ns, @lower_ns, @upper_ns: how far the step put the guest's clock further ahead of the host's (< 0: behind), best,
 *        and what that is certainly between
 */
struct vns_vo_event {
	int64_t at_ns;
	char kind[16];
	char text[232];
	int64_t within_ns;
	double by_ns, lower_ns, upper_ns;
};
#define VNS_VO_MAX_EVENTS 32

/**
 * struct vns_vo_target - one target's result.
 * @unrelated: packets matched within an interval in which the clocks' relation changed: their
 *             latency is not known, so they are in no figure
 * @sample_first, @sample_last: 1 packet in so many was looked at, at the beginning and at the end
 * @not_sampled:    packets that --sample left out at each point; of the guest offline only (its agent leaves them out)
 * @clock_ahead, @other_epoch: the guest's packets (live) that are not in counts[].read: stamped later than its
 *             clock could show before an exchange told of its step; of before such a change, or of a time
 *             without a relation
 * @contradicting, @undecided: clock exchanges (live) with wrong stamps, which contradict the others and are
 *             left out; those at an end of a relation that may tell of a step as well
 * @late_samples:   matched packets that came out of time order too late to be paired as request and reply
 *             (sum_ns)
 * @exchanges: clock exchanges made (live), with those left out; @fastest_ns, @slowest_ns: of their round trips
 * @unknown_address, @unknown: packets from the guest at its tap (live) whose source is no address known of
 *             it, so that they are not measured; one such address
 * @doubled:        second copies of packets that a capture held twice, left out at each point
 * @stray:          offline: packets whose stamp is far off those before and behind, undecodable
 * @nat, @n_nat:    address translations learnt; @translated: packets at the host paired by them
 * @event, @n_event: what happened meanwhile, in order; @events_left_out did not fit
 */
struct vns_vo_target {
	char name[64];
	char from_point[32];   /* the host point of the main figures */
	bool tcg;
	struct vns_clock_at clock; /* at the middle of the run */
	enum vns_clock_mode clock_mode;
	bool assume_symmetric;     /* the midpoint is given although the mode cannot tell it */
	struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS];
	struct vns_vo_sum sum[VNS_PROTOS];
	struct vns_twin_counts counts[2];  /* VNS_POINT_A host, VNS_POINT_B guest */
	uint64_t capture_lost[2];
	uint64_t evicted;
	struct vns_vo_hop hop[VNS_VO_MAX_HOPS];
	size_t n_hop;
	struct vns_vo_rtt rtt;
	uint64_t unrelated;
	uint32_t sample_first, sample_last;
	uint64_t not_sampled[2], doubled[2], stray[2];
	uint64_t clock_ahead, other_epoch, late_samples, unknown_address;
	uint64_t contradicting, undecided;
	uint64_t exchanges;
	int64_t fastest_ns, slowest_ns;
	struct vns_addr unknown;
	struct vns_twin_mapping nat[VNS_TWIN_MAPPINGS];
	size_t n_nat;
	uint64_t translated;
	struct vns_vo_event event[VNS_VO_MAX_EVENTS];
	size_t n_event, events_left_out;
	/* own overhead during the run: share of one CPU, 0..1; negative: not known */
	double host_cpu, agent_cpu;
	uint64_t agent_bytes;
	char ended_early[256]; /* why this target's figures end before the run did, or which of its
				  * files is damaged; empty: neither */
	char note[4096];        /* what the reader must know (assumed clock, shared path), or empty */
};

/** A minimum below zero by no more than its interval and this is no contradiction: rounding. */
#define VNS_VO_STAMP_NS 1

/**
 * vns_vo_contradiction() - is a latency negative beyond its clock interval, or that of both directions
 * together beyond what the clock's rate explains? Then the clock relation, or (of the sum) a stamp or a
 * pairing, cannot be right. Return: true, with a sentence in @why.
 */
bool vns_vo_contradiction(const struct vns_vo_target *t, char *why, size_t size);

/**
 * vns_vo_sum_withheld() - is @p's sum of both directions no figure of one request and its reply? TCP is
 * sampled by connection, other packets each by themselves: then a request is not looked at together
 * with its reply, and the latest request before a reply is another one's. Return: why, or NULL.
 */
static inline const char *vns_vo_sum_withheld(const struct vns_vo_target *t, int p)
{
	return t->sample_last > 1 && p != VNS_PROTO_TCP ?
		       "packets other than TCP are sampled one by one, so a request and its reply are not "
		       "chosen together" : NULL;
}

/**
 * struct vns_vo_negative - a figure whose least value is below 0.
 * @impossible: beyond its interval; else the clock's bound leaves room for a true value of 0 or more
 * @text:       a sentence that says which, how far, and why it may be so
 */
struct vns_vo_negative {
	bool impossible;
	char text[232];
};
#define VNS_VO_MAX_NEGATIVE ((VNS_DIRECTIONS + 1) * VNS_PROTOS)
/** vns_vo_negatives() - every printed figure of @t that goes below 0, hops left out. Return: their number. */
size_t vns_vo_negatives(const struct vns_vo_target *t, struct vns_vo_negative out[VNS_VO_MAX_NEGATIVE]);

/**
 * struct vns_vo_share - the part of TCP's RTT from the host's point to the guest and back that both directions
 * take, by means, which add up.
 * @percent: of the two means; where @ratio is above 100, 100: a part is at most the whole
 * @lower, @upper: both means at the worst ends of their 95 % intervals, at most 100; NAN: one has none
 * @ratio:   what the means give: above 100 only since they are of different packets (the RTT has one sample
 *           for each tick of the time stamps, the sum one for each request and reply)
 * @left_out: RTT samples above VNS_VO_PAIR_NS: in neither mean
 * @withheld: why there is no share, half a sentence; or empty
 */
struct vns_vo_share {
	double percent, lower, upper, ratio;
	uint64_t left_out;
	char withheld[232];
};
/** vns_vo_share() - Return: false where nothing was measured that it could be of (no TCP; offline). */
bool vns_vo_share(const struct vns_vo_target *t, struct vns_vo_share *out);

/** vns_vo_split() - are @t's figures of each direction known, withheld or assumed? */
static inline enum vns_split vns_vo_split(const struct vns_vo_target *t)
{
	return vns_split_of(t->clock_mode, t->assume_symmetric);
}

struct vns_vo_result {
	struct vns_vo_target *target;
	size_t n_target;
	int64_t from_ns, to_ns;   /* of the run, host clock */
	bool interrupted;
};
void vns_vo_result_free(struct vns_vo_result *r); /* frees the contents, not @r */

/**
 * struct vns_drift_way - one direction of a mode's own exchanges, processing left out.
 * @floor_lower_ns, @floor_upper_ns: its least delay lies between (causality bound)
 * @excess: what the exchanges took above that least delay, drift removed, ns
 */
struct vns_drift_way {
	double floor_lower_ns, floor_upper_ns;
	struct vns_dist excess;
};

/**
 * struct vns_drift_result - one mode's clock relation.
 * @floor_sum_ns: least delay of both directions together, free of the offset; with @way, 0 samples
 *	where the mode makes no exchange
 * @floor_sum_upper_ns: it is not above this, whatever the rate; so is neither direction's
 */
struct vns_drift_result {
	char target[64];
	bool tcg;
	enum vns_clock_mode mode;
	struct vns_clock *clock;     /* owned; solved; samples and pieces are in it */
	struct vns_clock_at at;      /* at the end of the measurement */
	bool interrupted;
	bool assume_symmetric;       /* see vns_split_of() */
	struct vns_drift_way way[VNS_DIRECTIONS];
	double floor_sum_ns, floor_sum_upper_ns;
	uint64_t lost;               /* probes sent that came to no exchange */
	char ended_early[256];       /* why the measurement ended before it was complete, or empty */
	char note[4096];
};
void vns_drift_result_free(struct vns_drift_result *r);
/** vns_drift_split() - is the offset between the bounds known, withheld or assumed? */
static inline enum vns_split vns_drift_split(const struct vns_drift_result *r)
{
	return vns_split_of(r->mode, r->assume_symmetric);
}
/** vns_drift_ways() - fill @way, @floor_sum_ns and its upper bound from the solved clock's exchanges. */
void vns_drift_ways(struct vns_drift_result *r);

#define VNS_DRIFT_MAX_MODES 4

/**
 * struct vns_drift_opts - options of a clock measurement.
 * @mode, @n_mode: modes to measure in the same time span, in turns; n_mode 0 takes the best
 * @count:       exchanges per mode
 * @interval_ns: between rounds; 0 = 20 ms
 * @duration_ns: go on for so long whatever @count says; 0: until @count
 * @assume_symmetric: handed on to the results
 * @wander_ppm:  see vns_clock_set_wander(); 0: what both kernels' adjtimex(2) asks for (15 where a clock is
 *	steered); below 0: none. Changes seen meanwhile are allowed for in any case
 * @stop:        ends the measurement gracefully once it is not 0; may be NULL
 * @progress:    after each round: exchanges made of those wanted; may be NULL. It may look at the samples of the
 *	results' clocks (vns_clock_samples()) and use the subject's agent
 */
struct vns_drift_opts {
	enum vns_clock_mode mode[VNS_DRIFT_MAX_MODES];
	size_t n_mode;
	size_t count;
	int64_t interval_ns, duration_ns;
	bool assume_symmetric;
	double wander_ppm;
	const volatile int *stop;
	void (*progress)(void *ctx, size_t done, size_t wanted);
	void *ctx;
};

/**
 * vns_measure_drift() - measure @s's clock; @out gets one result per mode (one when n_mode is 0),
 * all evaluated at the same instant, the last one inside every mode's span.
 * Return: 0, -ENODATA when a mode gave no exchange at all, or another -errno with @err.
 */
int vns_measure_drift(const struct vns_subject *s, const struct vns_drift_opts *opts,
		      struct vns_drift_result *out, struct vns_err *err);

/**
 * vns_drift_agree() - results evaluated at one instant: do all causality bounds have a common
 * point? Bounds that are certain contain one truth, so they must.
 */
bool vns_drift_agree(const struct vns_drift_result *r, size_t n);

/**
 * vns_drift_file_read() - the clock relation from what `drift --json` wrote; "-" reads standard
 * input. Of a document with several modes the first counts. Pieces without their own bounds get
 * the document's. Return: 0 with an owned @out, ready for vns_clock_eval(), or -errno with @err.
 */
int vns_drift_file_read(const char *path, struct vns_clock **out, struct vns_err *err);

/**
 * enum vns_nat_mode - AUTO: where the beginnings of the captures show signs of it; live: where the
 * host's kernel has rules for it.
 */
enum vns_nat_mode { VNS_NAT_AUTO = 0, VNS_NAT_ON, VNS_NAT_OFF };

/** struct vns_vo_offline_opts - `vo --host A --guest B`. */
struct vns_vo_offline_opts {
	const char *host_file, *guest_file;
	const char *filter;
	bool have_offset;
	int64_t offset_ns;        /* guest ahead: positive */
	const char *drift_file;   /* JSON written by `drift --json`; NULL: none */
	const struct vns_addr *guest;
	size_t n_guest;
	int64_t window_ns;        /* 0: default */
	unsigned int threads;     /* reading, pairing and figures at once; 0 = 1; more than 4 do not help */
	bool assume_symmetric;    /* handed on to the target */
	double wander_ppm;        /* vns_clock_set_wander(), of a clock that the traffic bounds; 0 or less: none */
	enum vns_nat_mode nat;    /* look for address translation between the points */
	uint64_t max_memory;      /* of this process, in bytes; 0: no limit. Bounds the packets that wait
				   * for their twin; as in struct vns_rtt_run */
	uint32_t sample_one_in;   /* look at 1 in so many (vns_packet_sampled()); 0 or 1: at all */
	bool coarse;              /* find the coarse offset from the traffic even when it is 0 */
	const char *host_point, *guest_point; /* capture point of the file, by its name or number;
					       * NULL: the one with most packets */
	const volatile int *stop; /* when it becomes non-zero: results of what was read; may be NULL */
};
/** vns_measure_vo_offline() - pair two capture files. Fills one target named "offline". */
int vns_measure_vo_offline(const struct vns_vo_offline_opts *opts, struct vns_vo_result *out,
			   struct vns_err *err);

/**
 * struct vns_vo_senders - who sends multicast and broadcast packets where two files begin.
 * @known, @n_known: not the guest's; @guest, @n_guest: the guest's
 * @many: more than fit, or nothing is known of them: any may have been there
 */
struct vns_vo_senders {
	struct vns_addr known[256], guest[64];
	size_t n_known, n_guest;
	bool many;
};

/**
 * vns_vo_senders_filter() - packets to a group whose sender was not at the beginnings may be either end's: make those
 * among @n packets neither end's, so that they bound no clock and are undecodable. Return: their number.
 */
uint64_t vns_vo_senders_filter(const struct vns_vo_senders *s, struct vns_packet *pkt, size_t n);

/**
 * struct vns_vo_learnt - what two capture files tell before anything is paired.
 * @n_guest:       addresses in @guest, those that were given among them; 0: none could be told
 * @guest_assumed: only the sign of the time differences tells it
 * @offset_found:  the traffic tells how far the clocks are apart
 * @offset_ns:     coarse, guest ahead: positive; the one that was given where one was; else 0 if not found
 * @nat, @nat_peers: addresses are translated between the points; those of the guest's peers too
 * @senders:       of multicast, for vns_vo_senders_filter(); through NAT nothing is known of them
 */
struct vns_vo_learnt {
	struct vns_addr guest[64];
	size_t n_guest;
	bool guest_assumed, offset_found, nat, nat_peers;
	int64_t offset_ns;
	struct vns_vo_senders senders;
};
/**
 * vns_measure_vo_learn() - the guest's addresses and the coarse offset, as vns_measure_vo_offline()
 * learns them: from the beginnings of both files, or where these share nothing, from all of both.
 * @opts:         as there; files must be such that can be read twice
 * @guest_filter: of the guest's file; NULL: as the host's
 *
 * Return: 0, also when nothing could be learnt, or -errno with @err.
 */
int vns_measure_vo_learn(const struct vns_vo_offline_opts *opts, const char *guest_filter,
			 struct vns_vo_learnt *out, struct vns_err *err);

/**
 * vns_measure_vo_hops() - hop by hop through a file of several capture points, outside first.
 * @opts:   host_file holds the points; guest_file, when not NULL, is one more, the innermost
 * @point:  their names or numbers; @n_point 0: every point of the file, in its order
 *
 * The target's figures are those from the first point to the last; its hops are those between
 * neighbours. Points of one file are taken to have one clock where the traffic allows it, so
 * offset and drift file count where the guest's file is an end, or, without one, for no hop
 * but the last. The file is read once for each hop and once more. Return: 0, -EEXIST when a point is
 * named twice, or -errno with @err.
 */
int vns_measure_vo_hops(const struct vns_vo_offline_opts *opts, const char *const *point,
			size_t n_point, struct vns_vo_result *out, struct vns_err *err);

/** struct vns_vo_live_target - how one target stands, for lines while the run goes on. */
struct vns_vo_live_target {
	const char *name;
	uint64_t matched;            /* upstream packets found downstream, since the start */
	struct vns_dist recent[VNS_DIRECTIONS]; /* first byte, since the last call; preliminary clock */
	struct vns_intervals recent_interval[VNS_DIRECTIONS]; /* of its figures, 95 % */
	bool withheld;               /* of @recent only what is above its minimum may be shown */
	double offset_ns, bound_ns;  /* relation so far: offset and half the width of its bound */
	bool ended;
};
struct vns_vo_live_progress {
	const struct vns_vo_live_target *target;
	size_t n_target;
	int64_t elapsed_ns, duration_ns;
	uint32_t one_in; /* packets looked at: 1 in so many */
};

/**
 * struct vns_vo_live_opts - options of the live measurement.
 * @duration_ns: of the traffic captured, after the clock exchanges that come first
 * @filter:      pcap expression for both ends, or NULL
 * @mode:        clock mode; VNS_CLOCK_NONE takes the best each subject offers
 * @snaplen:     bytes of each frame looked at; 0 = 128
 * @capture:     of the host's interfaces; a guest's agent captures by AF_PACKET
 * @sample:      look at 1 packet in so many, the same at every point (vns_packet_sampled()); 0: all
 * @max_cpu:     budget: share of one CPU for this process, and for each agent in its guest; where it
 *               is exceeded for a second @sample is raised. 0: none
 * @stop:        the run ends gracefully once this is not 0; may be NULL
 * @progress:    called about once a second; may be NULL
 * @say:         gets a sentence when somebody is waited for, with the deadline; called by any thread, one
 *               at a time; may be NULL
 */
struct vns_vo_live_opts {
	int64_t duration_ns;
	const char *filter;
	enum vns_clock_mode mode;
	uint32_t snaplen;
	bool assume_symmetric; /* handed on to the targets */
	double wander_ppm;     /* as in struct vns_drift_opts */
	enum vns_capture capture;
	uint32_t sample;
	double max_cpu;
	enum vns_nat_mode nat; /* look for address translation between the host's points */
	const volatile int *stop;
	void (*progress)(void *ctx, const struct vns_vo_live_progress *p);
	void (*say)(void *ctx, const char *sentence);
	void *ctx;
};

/**
 * vns_measure_vo_live() - measure all @subjects at once (at most VNS_VO_MAX_SUBJECTS).
 *
 * Clock exchanges before, during and after; captures at every host point and in every guest for
 * the duration; pairing while it runs. A guest that dies ends its own part only: its figures
 * up to then are in @out and its ended_early says so. Return: 0, or -errno with @err when nothing
 * could be measured at all.
 */
#define VNS_VO_MAX_SUBJECTS 32
int vns_measure_vo_live(const struct vns_subject *subjects, size_t n,
			const struct vns_vo_live_opts *opts, struct vns_vo_result *out,
			struct vns_err *err);

/**
 * struct vns_rtt_entry - figures of one direction of a flow by one kind of sample, all RTTs in ns.
 * @dir:   data of key.addr[dir] -> key.addr[!dir] and its echo: capture point to the latter and back
 * @ended: the flow left the table before the run ended (idle, closed, pushed out)
 */
struct vns_rtt_entry {
	struct vns_flow_key key;
	int64_t first_ns, last_ns;
	uint64_t packets, samples;
	int64_t min, p50, p95, p99, max;
	double mean, stddev;
	struct vns_intervals interval; /* of mean, p50, p95 and p99 */
	struct vns_rtt_clock clock; /* as in struct vns_rtt_flow */
	enum vns_rtt_kind kind;
	uint16_t point;
	uint8_t dir, opener; /* as in struct vns_rtt_flow */
	bool ended;
};

/**
 * struct vns_rtt_rows - directions of flows, packed: some 40 to 70 bytes each. Read with vns_rtt_rows_get().
 * @n:  how many
 * @at, @cap, @bytes, @used, @room: private. A copy of the struct with an array @at of its own may be put in
 *      another order without changing this one's
 */
struct vns_rtt_rows {
	size_t n;
	uint32_t *at;
	size_t cap;
	uint8_t *bytes;
	size_t used, room;
};
/** vns_rtt_rows_get() - the direction at place @i (below @r->n) of the present order. */
void vns_rtt_rows_get(const struct vns_rtt_rows *r, size_t i, struct vns_rtt_entry *out);
/** vns_rtt_rows_add() - behind the last one. Return: 0, or -ENOMEM. */
int vns_rtt_rows_add(struct vns_rtt_rows *r, const struct vns_rtt_entry *e);
void vns_rtt_rows_fini(struct vns_rtt_rows *r); /* frees the contents, not @r */

/** struct vns_rtt_point - what one capture point saw; the same packet at two points is not mixed. */
struct vns_rtt_point {
	uint16_t point;
	char name[32]; /* the interface's, cut to this; empty: not known */
	struct vns_rtt_counts counts;
	struct vns_dist rtt[VNS_RTT_KINDS];
	struct vns_intervals interval[VNS_RTT_KINDS];
};

/**
 * struct vns_rtt_result - passive RTT of a file or a live capture.
 * @rows:         with per_flow: every direction with at least min_samples
 * @flows_hidden: directions left out: fewer samples, or no memory to list them
 * @counts, @total: of all points together; @total per kind, @total_interval of its figures (95 %)
 * @kinds:        bit 1 << kind: this kind was asked for by name, or there is traffic to read it from
 * @app:          what became of the packets that are not TCP, when @kinds has such
 * @seen_again:   of a capture on "any": packets that passed another of its points before. @total and its
 *                intervals hold each round trip once then, from the point that its answer passed first
 * @looked, @copies: of a capture with one point: segments with data among the first ones, and copies among them
 * @groups:       with by: the aggregates
 * @memory_flows: flows and waiting requests that max_memory pushed out before their time
 * @memory_from_ns: time of the packet from which on it did so
 * @memory_bytes: with max_memory: the most that was held, as the stores count it
 * @other_point:  packets of points that were not asked for
 * @source:       what was read and what the kernel dropped
 * @from_ns, @to_ns: time of the first and the last packet
 * @sentence:     about the end of the file (cut in mid-record, or damaged), or empty
 * @ended_early:  why the capture broke off, or empty; the figures until then stand
 * @interrupted:  the stop flag was raised
 */
struct vns_rtt_result {
	struct vns_rtt_rows rows;
	uint64_t flows_hidden;
	struct vns_rtt_counts counts;
	unsigned int kinds;
	struct vns_dist total[VNS_RTT_KINDS];
	struct vns_intervals total_interval[VNS_RTT_KINDS];
	struct vns_rtt_app_counts app;
	uint64_t seen_again, looked, copies;
	struct vns_rtt_groups groups;
	struct vns_rtt_point *point;
	size_t n_point;
	uint64_t memory_flows;
	int64_t memory_from_ns;
	uint64_t memory_bytes;
	uint64_t other_point;
	struct vns_source_stats source;
	int64_t from_ns, to_ns;
	char sentence[512];
	char ended_early[512];
	bool interrupted;
};

/**
 * struct vns_rtt_run - options of a run; zero means default.
 * @file, @ifname: one of them; file "-" is standard input
 * @source:      filter, snap length, network namespace ...
 * @threads:     file: 2 and more read and decode in a second thread, which nearly halves the time; the
 *               result is the same. No effect on pipes, with @duration_ns or @max_samples
 * @duration_ns: live: end after so long. File: only so much of its time. 0: all
 * @max_samples: end with so many samples; 0: no limit
 * @max_memory:  bytes of this process at most; 0: no limit. Near it flows leave (closed ones, then the longest
 *               idle) and no more of those that left are listed; a process with transparent huge
 *               pages needs more room than the margin kept, see prctl(2) PR_SET_THP_DISABLE
 * @row_bytes:   what showing one listed direction or group will take, counted against @max_memory
 * @per_flow:    fill the result's rows
 * @min_samples: list a direction only with so many
 * @kinds:       bits 1 << kind to look for; 0: all
 * @method, @inside: of TCP, see struct vns_rtt_opts
 * @by, @prefix4, @prefix6: fill the result's groups, see struct vns_rtt_groups
 * @one_point, @point: only that capture point of a file
 * @stop:        raised from outside (signal handler, thread): end with what there is; may be NULL
 * @on_sample:   each sample, @point beside it; may be NULL
 * @on_tick:     about every @tick_ns of wall time with the figures so far (borrowed); NULL: never
 * @tick_rows:   with per_flow: those figures hold rows too, which is work for each flow
 */
struct vns_rtt_run {
	const char *file, *ifname;
	struct vns_source_opts source;
	unsigned int threads;
	int64_t duration_ns;
	uint64_t max_samples;
	uint64_t max_memory, row_bytes;
	size_t max_flows;
	int64_t idle_ns;
	bool per_flow;
	uint64_t min_samples;
	unsigned int kinds;
	enum vns_rtt_method method;
	bool inside;
	enum vns_rtt_by by;
	uint8_t prefix4, prefix6;
	bool one_point;
	uint16_t point;
	const volatile int *stop;
	void (*on_sample)(void *ctx, uint16_t point, const struct vns_rtt_sample *s);
	void (*on_tick)(void *ctx, const struct vns_rtt_result *so_far);
	int64_t tick_ns;
	bool tick_rows;
	void *ctx;
};

/**
 * vns_measure_rtt() - run to the end of the file, the duration, the count or the stop flag.
 * Return: 0 with @out filled (also when the capture broke off: see ended_early), or -errno with @err
 * when it could not begin.
 */
int vns_measure_rtt(const struct vns_rtt_run *run, struct vns_rtt_result *out,
		    struct vns_err *err);
void vns_rtt_result_free(struct vns_rtt_result *r); /* frees the contents, not @r */

enum vns_rtt_order {
	VNS_RTT_BY_SAMPLES, /* most first, as all but the last two */
	VNS_RTT_BY_MIN, VNS_RTT_BY_MEAN, VNS_RTT_BY_P50, VNS_RTT_BY_P95, VNS_RTT_BY_P99,
	VNS_RTT_BY_MAX, VNS_RTT_BY_STDDEV,
	VNS_RTT_BY_FIRST,   /* earliest first */
	VNS_RTT_BY_ADDRESS, /* lowest first */
};
/** vns_rtt_sort() - order @r->rows, kind by kind; ties by address, so that the same run prints the same. */
void vns_rtt_sort(struct vns_rtt_result *r, enum vns_rtt_order order);

#ifdef __cplusplus
}
#endif
#endif
