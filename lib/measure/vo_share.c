// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Both directions' sum and TCP's passive RTT at the host's point -> virtualisation's share of that RTT.
 *
 * By means, which add up: of the sums of requests and replies at most VNS_VO_PAIR_NS apart, over the RTT samples
 * that are no longer either. Longer ones (a guest that stood still) are in no sum; were they in the RTT,
 * the share would come out too small. The RTT towards the client is left out: its echo rides on
 * the client's next request, so it holds the client's own pauses.
 *
 * The interval has both means at the ends of theirs that are worst for it: wider than 95 %. Numerator and
 * denominator are of different packets (one RTT sample for each tick of the time stamps, 1 ms on Linux; a sum
 * for every pair), so their ratio may pass 1 by chance; where it does beyond both intervals, the RTT's samples
 * do not stand for the pairs, and there is no share.
 *
 * Nor is there one where the pairs do not stand for the traffic: where packets take longer than the gap
 * between them, the latest request before a reply is a fast one. Then the way to the guest alone, by its own figure,
 * may take longer than both by the sum, which cannot be.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "measure/vo_figures.h"

#define MOST_PASSED 0.01 /* of requests: what else a reply may be of */

/* TCP acknowledges several segments at once, so there it means nothing that requests are passed over. */
bool vo_sum_is_biased(const struct vns_vo_sum *s, const struct vns_vo_figure *in, double within, int p)
{
	double passed = (double)s->passed_over, least = fmin(within, (double)in->interval.mean.lower);

	if (p != VNS_PROTO_TCP && passed > MOST_PASSED * ((double)s->paired.n + passed))
		return true;
	return vns_interval_known(&s->interval.mean) && vns_interval_known(&in->interval.mean) &&
	       least - in->mean_err_minus_ns > (double)s->interval.mean.upper;
}

#define LEAST_PAIRED 0.9 /* of a point's packets: the rest are a run's two ends */

/* The RTT is of all traffic at the point: the pairs must be of nearly all of it. */
static bool other_traffic(const struct vns_vo_target *t, char *why, size_t size)
{
	const struct vns_twin_counts *c = &t->counts[VNS_POINT_A];
	uint64_t read = c->read - c->in_class[VNS_TWIN_UNDECODABLE], matched = c->in_class[VNS_TWIN_MATCHED];
	bool lost = t->capture_lost[VNS_POINT_A] || t->capture_lost[VNS_POINT_B];

	if (!t->ended_early[0] && !lost && !t->unrelated && (double)matched >= LEAST_PAIRED * (double)read)
		return false;
	snprintf(why, size, "the RTT is of all traffic at the %s, the latency only of what was paired (%" PRIu64
		 " of %" PRIu64 " packets%s)", t->from_point, matched, read,
		 t->ended_early[0] ? ", and this guest's part ended early" :
		 lost		   ? "; a capture lost some" :
		 t->unrelated	   ? "; some while the clocks' relation changed" : "");
	return true;
}

bool vns_vo_share(const struct vns_vo_target *t, struct vns_vo_share *out)
{
	const struct vns_vo_sum *sum = &t->sum[VNS_PROTO_TCP];
	const struct vns_interval *part = &sum->interval.mean, *whole = &t->rtt.within_interval.mean;
	const struct vns_dist *rtt = &t->rtt.guest_within;
	double lower = NAN, upper = NAN;

	*out = (struct vns_vo_share){ .percent = NAN, .lower = NAN, .upper = NAN, .ratio = NAN };
	if (!rtt->n || !sum->paired.n || rtt->mean <= 0)
		return false;
	out->left_out = t->rtt.guest_side.n - rtt->n;
	if (other_traffic(t, out->withheld, sizeof(out->withheld)))
		return true;
	if (sum->biased) {
		snprintf(out->withheld, sizeof(out->withheld), "the way to the guest alone takes longer than both by the "
			 "sum: slow requests were passed over by later ones, so the pairs do not stand for the traffic");
		return true;
	}
	if (vns_interval_known(part) && vns_interval_known(whole) && whole->lower > 0) {
		lower = 100 * (double)part->lower / (double)whole->upper;
		upper = 100 * (double)part->upper / (double)whole->lower;
	}
	if (lower > 100) {
		snprintf(out->withheld, sizeof(out->withheld), "the sum's mean is above the RTT's beyond both "
			 "intervals: the RTT's samples, one for each tick of the time stamps, do not stand for "
			 "the pairs");
		return true;
	}
	out->ratio = 100 * sum->paired.mean / rtt->mean;
	out->percent = fmin(out->ratio, 100);
	if (!isnan(lower)) {
		out->lower = fmax(lower, 0);
		out->upper = fmin(upper, 100);
	}
	return true;
}
