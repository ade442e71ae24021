/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Host-side captures of a live run: one source per interface, shared by all
 * subjects whose packets pass there.
 */
#ifndef VNS_MEASURE_VO_POINTS_H
#define VNS_MEASURE_VO_POINTS_H

#include <sys/types.h>

#include <vnetscope/measure.h>

#define VNS_VO_MAX_POINTS 128

struct vns_vo_point {
	struct vns_source *source;
	char ifname[16];
	int netns_fd;      /* borrowed from a subject */
	ino_t netns_ino;   /* tells two namespaces apart */
	uint64_t lost;     /* by the kernel, between the two counts */
	bool ended;        /* interface gone; @why says it */
	struct vns_err why;
};

struct vns_vo_points {
	struct vns_vo_point point[VNS_VO_MAX_POINTS];
	size_t n;
	/* index[i][k]: place in @point of subject i's k-th host point */
	size_t index[VNS_VO_MAX_SUBJECTS][8];
};

/* Write the filter for @subjects' addresses, the user's own expression and the exclusions. */
int vns_vo_filter(const struct vns_subject *const *subjects, size_t n, const char *user, char *to,
		  size_t size, struct vns_err *err);

/* Open every host point of the subjects. On failure nothing stays open. */
int vns_vo_points_open(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n,
		       const char *filter, uint32_t snaplen, enum vns_capture capture,
		       struct vns_err *err);
void vns_vo_points_close(struct vns_vo_points *p);
/* The kernel's drop counters: once when the traffic begins, once when it has ended (into @lost). */
void vns_vo_points_count(struct vns_vo_points *p, bool begin);

#endif
