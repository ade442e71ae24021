/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gather clock exchanges of one subject by one mode, for drift and for vo.
 *
 * channel, shm, ptp_kvm: vns_gather_burst() makes whole exchanges. exchange: it sends ICMP
 * echo requests from the host's namespace; T1 and T4 are the stamps of request and reply at the
 * host's capture point, T2 and T3 those in the guest (thesis 3.4.1), so the caller hands
 * every captured packet to vns_gather_packet(), which completes exchanges as they come in.
 */
#ifndef VNS_MEASURE_GATHER_H
#define VNS_MEASURE_GATHER_H

#include <vnetscope/measure.h>

#include "measure/give_way.h"

struct vns_gather;

/*
 * The mode that serves @s best: same, shm, ptp_kvm, channel (none of them crosses the measured
 * path). exchange is never chosen while there is another; it is the user's choice, or the last one.
 */
enum vns_clock_mode vns_gather_best_mode(const struct vns_subject *s);

/* Why @mode cannot be used with @s: a sentence, or NULL when it can. */
const char *vns_gather_refusal(const struct vns_subject *s, enum vns_clock_mode mode);

/*
 * Exchanges go to @clock (borrowed, of mode @mode). The lock of @turns guards the clock and the probes in
 * flight when bursts and packets come from different threads: taken inside vns_gather_burst(), never
 * while it waits for the agent; held by the callers of the functions below. NULL: one thread.
 * Return: 0 or -errno with @err.
 */
int vns_gather_open(struct vns_gather **out, const struct vns_subject *s, enum vns_clock_mode mode,
		    struct vns_clock *clock, struct give_way_turns *turns, struct vns_err *err);
/* From here on exchanges go to @clock; called with the lock held. */
void vns_gather_set_clock(struct vns_gather *g, struct vns_clock *clock);
void vns_gather_close(struct vns_gather *g);

/*
 * Make (or, mode exchange: send one request per call towards) @n exchanges. shm and ptp_kvm make
 * sixteen for each that is kept, the fastest. No request is sent while 1024 are under way that are neither
 * overtaken nor 3 s old: their replies may come yet.
 */
int vns_gather_burst(struct vns_gather *g, size_t n, struct vns_err *err);

/*
 * One packet of @point (A: host, at the point nearest to the guest; B: guest). Return: true when
 * it belongs to a probe of ours and must stay out of the measured traffic.
 */
bool vns_gather_packet(struct vns_gather *g, enum vns_point point, const struct vns_packet *p);

/* True when @p is a probe of ours, without taking its stamp: for the outer capture points. */
bool vns_gather_is_probe(const struct vns_gather *g, const struct vns_packet *p);

/* Probes sent whose exchange is not complete yet, without those that a later one overtook (mode exchange). */
size_t vns_gather_outstanding(const struct vns_gather *g);

/* Mode tsc: how often KVM's map of the guest's counter changed. */
uint64_t vns_gather_changes(const struct vns_gather *g);

/* Exchanges that the estimator took so far (some it may have left out since), and the extremes of their round trips. */
uint64_t vns_gather_taken(const struct vns_gather *g, int64_t *fastest_ns, int64_t *slowest_ns);

/* Probes sent so far (mode exchange). */
uint64_t vns_gather_sent(const struct vns_gather *g);
/* Those of them that came back, wanted or not. */
uint64_t vns_gather_done(const struct vns_gather *g);
/* So many exchanges are wanted: what was sent before the last of them came back is not taken (mode exchange). */
void vns_gather_limit(struct vns_gather *g, uint64_t n);

/* pcap expression that matches mode exchange's probes of @s, for a capture of them alone. */
void vns_gather_filter(const struct vns_subject *s, char *to, size_t size);

#endif
