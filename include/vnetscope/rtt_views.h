/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/rtt_views.h - passive RTT seen by host, by prefix and by halves of the path.
 *
 * A host's figures are the samples of every direction that leads to it: round trips between the
 * capture point and that host, merged as distributions. Kinds and capture points stay apart.
 */
#ifndef VNETSCOPE_RTT_VIEWS_H
#define VNETSCOPE_RTT_VIEWS_H

#include <vnetscope/rtt.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Samples from which on a p95 is listed unless told otherwise: the least n with 1 - 0.95^n >= 0.95, so
 * that with 95 % confidence the true p95 is not above all that was seen (Conover, Practical
 * Nonparametric Statistics, 3.3).
 */
#define VNS_RTT_WORST_SAMPLES 59

enum vns_rtt_by { VNS_RTT_BY_NONE = 0, VNS_RTT_BY_HOST, VNS_RTT_BY_PREFIX };

/**
 * struct vns_rtt_group - one host or prefix, one kind, one capture point.
 * @addr:   the rest behind @prefix_len is 0; v4-mapped for IPv4
 * @prefix_len: of the address family: 0 to 32 or 0 to 128
 * @directions: directions of flows that are merged in @rtt
 * @series: of @rtt, owned; @interval: made of it by vns_rtt_groups_sort()
 */
struct vns_rtt_group {
	struct vns_addr addr;
	uint8_t prefix_len;
	uint8_t kind; /* enum vns_rtt_kind */
	uint16_t point;
	uint64_t directions;
	struct vns_dist rtt;
	struct vns_series *series;
	struct vns_intervals interval;
};

/**
 * struct vns_rtt_groups - the aggregates of a run. Zero-initialise with @by and the prefix lengths.
 * @max:    groups at most; 0 = 1,048,576; @lost: samples that found no room
 * @hidden: groups that vns_rtt_groups_sort() left out
 */
struct vns_rtt_groups {
	enum vns_rtt_by by;
	uint8_t prefix4, prefix6; /* VNS_RTT_BY_PREFIX; 0 = 24 and 64 */
	size_t max;
	struct vns_rtt_group *group;
	size_t n, cap;
	uint32_t *slot; /* index; private */
	size_t n_slot;
	uint64_t lost, hidden;
};
/** vns_rtt_groups_add() - the distribution of one direction, to the group of the host it leads to. */
void vns_rtt_groups_add(struct vns_rtt_groups *g, const struct vns_rtt_flow *f, uint16_t point);
void vns_rtt_groups_fini(struct vns_rtt_groups *g);

struct vns_rtt_result;
/**
 * vns_rtt_seems_doubled() - whether the capture looks as if it held every packet twice (several
 * interfaces of one host in one file). Told by counts alone: about half of the TCP segments read by
 * sequence numbers passed before and nearly no ACK is certain, or about half of the ICMP or DNS
 * requests and of their replies came again. Such copies leave round trips by timestamps right.
 */
bool vns_rtt_seems_doubled(const struct vns_rtt_result *r);
/**
 * vns_rtt_groups_sort() - order r->groups kind by kind; @order is an enum vns_rtt_order (measure.h), of
 * which first is taken as address. Groups with fewer than @min_samples, and of each kind all behind
 * the first @worst (0: none), are dropped and counted in @hidden. Nothing may be added afterwards.
 */
void vns_rtt_groups_sort(struct vns_rtt_result *r, int order, uint64_t min_samples, size_t worst);
/** vns_rtt_keep_worst() - of r->rows, sorted, only the first @n of each kind; the rest are hidden. */
void vns_rtt_keep_worst(struct vns_rtt_result *r, size_t n);

/** enum vns_rtt_role - how the client of a flow is known. */
enum vns_rtt_role {
	VNS_RTT_ROLE_UNKNOWN = 0,
	VNS_RTT_ROLE_OPENED, /* it sent the SYN or the first Initial */
	VNS_RTT_ROLE_PORTS,  /* the other side's port is the lower one, and below 32768 */
};

/**
 * struct vns_rtt_half - one side of the path of one flow, capture point to host and back, ns.
 * @samples: 0: nothing was seen of this side and the rest is 0
 * @interval: of mean, p50, p95 and p99
 */
struct vns_rtt_half {
	uint64_t samples;
	int64_t min, p50, p95;
	double mean;
	struct vns_intervals interval;
};

/**
 * struct vns_rtt_path - both sides of a flow.
 * @client: index of the client in @key; 0 when its @role is unknown, side[0] then is key.addr[0]'s
 * @side:   [0] the client's, [1] the server's
 * @sum_min, @sum_mean: of both sides: the path's least round trip is not below the first (each side
 *          had its least at another moment); the second is the mean round trip. 0 unless both
 * @sum_mean_interval: the sum of both means' intervals: at least 95 %, however the sides are related
 */
struct vns_rtt_path {
	struct vns_flow_key key;
	uint8_t kind;
	uint8_t client;
	uint8_t role; /* enum vns_rtt_role */
	uint16_t point;
	int64_t first_ns;
	struct vns_rtt_half side[2];
	int64_t sum_min;
	double sum_mean;
	struct vns_interval sum_mean_interval;
};

/**
 * vns_rtt_paths() - pair the directions of @r->rows; owned array in *@out, free() it.
 * In the order of their keys. ICMP and DNS, which have one side, are left out.
 * Return: number of paths, or -ENOMEM.
 */
long vns_rtt_paths(struct vns_rtt_result *r, struct vns_rtt_path **out);
/** vns_rtt_worst_paths() - the @worst longest of each kind by @sum_mean first. Return: how many of @n. */
long vns_rtt_worst_paths(struct vns_rtt_path *path, long n, size_t worst);

#ifdef __cplusplus
}
#endif
#endif
