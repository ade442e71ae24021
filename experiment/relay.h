/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A known delay in one direction of a lab guest's path.
 *
 *   br0 --- port --- guest        becomes        br0 --- relay0 [this process] port --- guest
 *
 * Frames to the guest are held for a time and then sent on, those from it at once. How long each
 * was held is measured here, on the host's clock.
 */
#ifndef VNS_EXPERIMENT_RELAY_H
#define VNS_EXPERIMENT_RELAY_H

#include <vnetscope/stat.h>

struct vns_relay;

/*
 * @hold_min_ns, @hold_max_ns, @hold_mean_ns: of the frames to the guest, read to written: their least
 *	possible delay, as they also waited to be read
 * @hold_p25_ns: a quarter of them was held no longer
 * @frames: to the guest and from it; @dropped: the queue was full
 */
struct vns_relay_counts {
	uint64_t frames[2], dropped;
	int64_t hold_min_ns, hold_max_ns, hold_p25_ns;
	double hold_mean_ns;
};

/*
 * Put the relay between @bridge and @port in the namespace @netns_fd (borrowed). A thread of its own
 * works until vns_relay_close(). Return: 0 or -errno with @err.
 */
int vns_relay_open(struct vns_relay **out, int netns_fd, const char *bridge, const char *port,
		   int64_t delay_ns, struct vns_err *err);
/* Put the port back. @counts may be NULL. */
void vns_relay_close(struct vns_relay *r, struct vns_relay_counts *counts);

#endif
