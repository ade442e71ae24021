/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the offline measurement holds while it runs; see vo_offline.c. */
#ifndef VNS_MEASURE_VO_OFFLINE_H
#define VNS_MEASURE_VO_OFFLINE_H

#include <vnetscope/source.h>

#include "measure/vo_senders.h"
#include "measure/vo_figures.h"
#include "measure/vo_udp.h"
#include "packet/sample.h"

#define VO_AHEAD   64    /* packets that are looked at before their turn */
#define VO_PROBE   32768 /* packets of each file that tell the guest and the coarse offset */
#define VO_BATCH   512   /* packets read and fed at a time after that */
#define VO_RING    4096  /* samples of one direction that wait for the other's, at first */
#define VO_RING_MAX (1u << 18) /* ... and at most: 8 MiB; more each time that one came too late */
#define VO_GUESTS  64
#define VO_POINTS_MAX 64 /* capture points of one file that are told apart */
#define VO_CELL_NS (100 * VNS_NSEC_PER_MSEC) /* one bound of each direction is kept for so long */

/* One capture file and what was read of it but not fed yet. */
struct vo_end {
	const char *path;
	const char *filter; /* NULL: none */
	struct vns_source *source;
	struct vns_packet *pkt; /* VO_PROBE of them */
	size_t n;
	bool eof;
	const char *want; /* the point to read, by name or number; NULL: with most packets */
	bool one_point;  /* the file holds several capture points: only @point is read */
	uint16_t point;
	uint64_t left_out; /* packets of its other points */
	struct vo_once *once;  /* the file holds (nearly) every packet twice: of each the first is kept */
	uint64_t doubled;      /* second copies left out */
	uint32_t one_in;       /* --sample; 0 or 1: all */
	uint64_t not_sampled;  /* packets that --sample left out */
	struct vns_sampler sampler; /* with --sample */
	struct vo_udp udp;     /* the same: of datagrams that were chosen */
	const volatile int *stop; /* no more is to be read when it is set */
	bool stopped;          /* it was: this reading, and each after it, ends at packet number @limit */
	uint64_t taken, limit; /* packets of the file, of all its points */
	const struct vns_vo_senders *senders; /* known ones; NULL: not yet, or it is no matter */
	const struct vns_vo_offline_opts *given; /* its guest's addresses are looked for */
	bool has_given; /* a packet is from or to one of them */
	bool chosen;       /* it is known which point is read: from then on stray stamps are found */
	bool timed;        /* @last_ns: of the packet before that is not stray */
	int64_t last_ns;
	uint64_t stray, looked_at; /* packets with stray stamps, of so many */
	struct vns_packet ahead[VO_AHEAD]; /* read already, not handed out */
	size_t n_ahead;
	uint64_t strange; /* multicast and broadcast packets of other senders */
	uint64_t digest_short; /* packets read whose digest covers fewer bytes than it wants */
};

/* offset(at) <= value (upper) or >= value: the tightest packet of a cell of time. */
struct vo_bound {
	int64_t at_ns, value_ns;
	bool upper;
};

struct vo_ring {
	struct vns_vo_sample *s;
	size_t size; /* a power of two */
	size_t head, n;
	int64_t done_ns; /* of the latest that is tallied */
	uint64_t late;   /* came when later ones of the other direction had been tallied */
	bool grow;
};

/*
 * What one measurement finds of the relation between two files' clocks, for the next one that has the
 * same clocks: @clock from the traffic, or NULL when it may be 0, and bounds of it then.
 */
struct vo_relation {
	bool known;
	struct vns_clock *clock;
	int64_t lower_ns, upper_ns;
};

struct vo_offline {
	struct vo_relation *relation; /* NULL: this measurement's alone */
	size_t max_pending; /* 0: the engine's own; set once, by the memory limit */
	const struct vns_vo_offline_opts *opts;
	struct vo_end end[2]; /* by enum vns_point */
	struct vns_addr guest[VO_GUESTS];
	size_t n_guest;
	bool guest_assumed;
	struct vns_vo_senders senders; /* of what both files begin with */
	uint64_t unlearnt[2][2]; /* packets at the start of each file, of IPv4 and IPv6, if its guest is unknown */
	bool nat;              /* addresses may be translated between the points */
	bool nat_peers;        /* ... those of the guest's peers too */
	int64_t coarse_ns;
	bool coarse_told;      /* the traffic tells an offset (another was given: that holds) */
	int64_t jump_ns;       /* between two stamps of a file: a silence, or a step of its clock */
	int64_t first_ns;      /* first packet of the host's file */
	struct vns_clock *clock;
	struct vns_twin *twin;
	struct vns_vo_tally tally;
	struct vo_ring ring[VNS_DIRECTIONS];
	int64_t from_ns, to_ns; /* of the samples */
	struct vns_twin_step step[VNS_TWIN_STEPS]; /* of a clock, from a reading before this one */
	struct vns_twin_step found[VNS_TWIN_STEPS]; /* in this reading */
	size_t n_step;
	uint64_t unrelated;    /* samples in a step, or after one that no relation covers */
	bool want_bounds;
	int64_t lower_ns, upper_ns; /* of a constant offset */
	int64_t cut_ns[2];      /* coarsest resolution of each file's stamps; 0: exact */
	struct vo_bound *bound;
	size_t n_bound, cap_bound;
	uint64_t last_lost;
	int failed;
};

/* vo_end.c */
/* The sentence for -ENOMEM, which it returns. */
int vo_out_of_memory(struct vns_err *err);
void vo_end_close(struct vo_end *e);
/* Read up to @max packets of the chosen point to @to. Return: their number, 0 at the end, -errno. */
int vo_end_read(struct vo_end *e, struct vns_packet *to, size_t max, struct vns_err *err);
/* Have the next packets of the file, of all points, in @e->ahead. Return: 0 or -errno. */
int vo_end_look_ahead(struct vo_end *e, struct vns_err *err);
/* Number of the file's point of that name or number, among those described so far; or -ENOENT. */
int vo_point_find(const struct vns_source *s, const char *want);
/*
 * Open both files; learn the guest's addresses and the coarse offset. What was read of the files on
 * the way waits in their buffers. Return: 0 or -errno.
 */
int vo_find_out(struct vo_offline *r, struct vns_err *err);
/* Is @path gone once it was read: standard input, a FIFO, a pipe? To open it again may wait for ever. */
bool vo_read_once(const char *path);
/* Both files again from their starts; -ESPIPE where one can be read only once. */
int vo_reopen(struct vo_offline *r, struct vns_err *err);
/* Give back what the ends hold. */
void vo_ends_fini(struct vo_offline *r);

/* vo_offline.c */
/* As vns_measure_vo_offline(); with @relation if that is known, else it is set (clock: owned). */
int vo_offline_measure(const struct vns_vo_offline_opts *opts, struct vo_relation *relation,
		       struct vns_vo_result *out, struct vns_err *err);
/*
 * Take the steps that are known out of @s, so that its clock is one. Return: false when the clocks'
 * relation at its time is not known. Called by the engine's thread.
 */
bool vo_unstep(struct vo_offline *r, struct vns_twin_sample *s);
/* Samples to the bounds of the clock and, in order of time, to the figures. */
void vo_take_samples(struct vo_offline *r, const struct vns_vo_sample *s, size_t n);

/* vo_once.c */
struct vo_once;
/* Look at what was read of @e: sets @e->once, and then filters it. Return: 0 or -ENOMEM. */
int vo_once_detect(struct vo_end *e);
/* Drop second copies of @pkt. Return: packets kept. */
size_t vo_once_filter(struct vo_end *e, struct vns_packet *pkt, size_t n);

/* vo_stray.c */
#define VO_STRAY_NS VNS_NSEC_PER_SEC /* off its neighbours: far more than captures are out of order */
/* Packets of @pkt, of the point that is read, with stray stamps: undecodable. Return: 0 or -errno. */
int vo_stray_filter(struct vo_end *e, struct vns_packet *pkt, size_t n, struct vns_err *err);

/* vo_pipeline.c */
/* One reading of both files through the twin engine, which it makes with @opts and leaves in @r. */
int vo_pipeline(struct vo_offline *r, const struct vns_twin_opts *opts, struct vns_err *err);

#endif
