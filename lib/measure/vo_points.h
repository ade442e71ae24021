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
	uint64_t lost_before; /* by captures of it that have ended */
	uint64_t drops_seen; /* by the kernel so far, at the last look */
	uint64_t left;     /* captured in time, and not read when the run ended; part of @lost then */
	bool dropping;     /* the kernel dropped packets of the traffic */
	bool begun;        /* what is read now was captured since the traffic began */
	bool behind;       /* the last look left packets that it should have read */
	int64_t upto_ns;   /* all that was captured by then has been read */
	bool ended;        /* interface gone; @why says it */
	int64_t down_ns;   /* it went down then; 0: it is up */
	bool down_told;
	bool said_up;      /* the kernel's last message of it said that it is up */
	struct vns_err why;
	int ifindex;       /* 0: not known */
	uint32_t queues;   /* of a tap that has several: packets of two may overtake each other */
	bool nat;          /* packets may bear other addresses than a subject's here: all IP is taken */
	bool own;          /* the tap of one subject alone: all IP is taken, since it is this guest's */
	int watch_fd;      /* rtnetlink of its namespace, at the first point there; else -1 */
};

struct vns_vo_points {
	struct vns_vo_point point[VNS_VO_MAX_POINTS];
	size_t n;
	/* index[i][k]: place in @point of subject i's k-th host point */
	size_t index[VNS_VO_MAX_SUBJECTS][8];
	/* as given to vns_vo_points_open(), to open a point again; borrowed */
	const struct vns_subject *subjects;
	size_t n_subject;
	const char *filter;
	uint32_t snaplen;
	enum vns_capture capture;
	enum vns_nat_mode nat_mode;
	bool nat[VNS_VO_MAX_SUBJECTS]; /* addresses may be translated on subject i's way */
};

/*
 * Does the kernel translate addresses in the namespace of @netns_fd (-1: our own)? Return: 0, or
 * -ENOTRECOVERABLE (base/netns.h).
 */
int vns_vo_host_nat(int netns_fd, bool *found, struct vns_err *err);

/*
 * Write the filter for @subjects' addresses (@any: for all IP), the user's own expression and the
 * exclusions.
 */
int vns_vo_filter(const struct vns_subject *const *subjects, size_t n, bool any, const char *user,
		  char *to, size_t size, struct vns_err *err);

/* Bytes of the ring of each of @points (> 0) on a machine of @memory_bytes. */
uint32_t vns_vo_ring_bytes(size_t points, uint64_t memory_bytes);
/* Have the points smaller rings than one alone would have? @bytes: of each. */
bool vns_vo_rings_are_small(const struct vns_vo_points *p, uint32_t *bytes);

/*
 * Open every host point of the subjects, which stay where they are. Where addresses are translated
 * (@opts->nat), those outside the innermost take every IP packet. On failure nothing stays open.
 */
int vns_vo_points_open(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n,
		       const struct vns_vo_live_opts *opts, struct vns_err *err);
/* Open one point (again). */
int vns_vo_point_open(struct vns_vo_points *p, size_t at, struct vns_err *err);
void vns_vo_points_close(struct vns_vo_points *p);

/*
 * Watch the points' interfaces. What happens to one is told as a word (struct vns_vo_event) and a
 * sentence; an interface of the same name that appears after one was removed takes its place. Not
 * being able to watch is no error; a thread stranded in another namespace is (base/netns.h).
 */
int vns_vo_watch_open(struct vns_vo_points *p, struct vns_err *err);
void vns_vo_watch_read(struct vns_vo_points *p,
		       void (*tell)(void *ctx, size_t at, const char *kind, const char *text),
		       void *ctx);
/* What is lost: once when the traffic begins, once when it has ended (into @lost). */
void vns_vo_points_count(struct vns_vo_points *p, bool begin);
/* Packets that the kernel dropped since the last call, or since the traffic began. */
uint64_t vns_vo_point_drops(struct vns_vo_point *p);

#endif
