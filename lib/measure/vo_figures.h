/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw twin samples and a clock relation -> corrected figures.
 *
 * Samples are remembered raw (32 bytes each) since the relation is only known once the
 * exchanges after the run are in; then each is corrected at its own instant.
 */
#ifndef VNS_MEASURE_VO_FIGURES_H
#define VNS_MEASURE_VO_FIGURES_H

#include <vnetscope/measure.h>

struct vns_vo_sample {
	int64_t host_ns;       /* first byte at the host point */
	int64_t raw_ns;        /* t_B - t_A of the first byte */
	int32_t last_host_ns;  /* last byte at the host point, after host_ns */
	int32_t last_raw_ns;   /* its t_B - t_A, minus raw_ns */
	uint32_t flow;         /* folded flow_hash: pairs requests with replies */
	uint8_t proto, direction;
	uint8_t has_last;
	uint8_t zero;
};

struct vns_vo_samples {
	struct vns_vo_sample *at;
	size_t n, cap;
	uint64_t lost;      /* not remembered: out of memory */
	uint64_t last_lost; /* last byte more than 2 s from the first: only the first is kept */
	bool unsorted;
};

/* A vns_twin_sample_fn; @ctx is a struct vns_vo_samples. */
void vns_vo_samples_add(void *ctx, const struct vns_twin_sample *s);
void vns_vo_samples_free(struct vns_vo_samples *s);

/*
 * Correct every sample by @clock (solved) and add it to @fig. @sum (per protocol) may be NULL.
 * Sorts @s by time. A hop within the host takes a clock of mode SAME.
 */
int vns_vo_figures(struct vns_vo_samples *s, const struct vns_clock *clock,
		   struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		   struct vns_vo_sum sum[VNS_PROTOS]);

/* Free what @t holds (not @t). */
void vns_vo_target_fini(struct vns_vo_target *t);

#endif
