/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw twin samples and a clock relation -> corrected figures.
 *
 * Samples are remembered raw (32 bytes each) since the relation is only known once the
 * exchanges after the run are in; then each is corrected at its own instant.
 */
#ifndef VNS_MEASURE_VO_FIGURES_H
#define VNS_MEASURE_VO_FIGURES_H

#include "measure/vo_check.h"

struct vns_vo_sample {
	int64_t host_ns;       /* first byte at the host point */
	int64_t raw_ns;        /* t_B - t_A of the first byte */
	int32_t last_host_ns;  /* last byte at the host point, after host_ns */
	int32_t last_raw_ns;   /* its t_B - t_A, minus raw_ns */
	uint32_t flow;         /* folded flow_hash: pairs requests with replies */
	uint8_t proto, direction;
	uint8_t has_last;
	uint8_t waiting;       /* the tally's: a request whose reply has not come */
};

struct vns_vo_samples {
	struct vns_vo_sample *at;
	size_t n, cap;
	uint64_t lost;      /* not remembered: out of memory */
	uint64_t last_lost; /* last byte more than 2 s from the first: only the first is kept */
	bool unsorted;
};

/* Return: false when the last byte is too far from the first to be kept. */
bool vns_vo_sample_pack(struct vns_vo_sample *to, const struct vns_twin_sample *s);

/* A vns_twin_sample_fn; @ctx is a struct vns_vo_samples. */
void vns_vo_samples_add(void *ctx, const struct vns_twin_sample *s);
void vns_vo_samples_free(struct vns_vo_samples *s);
void vns_vo_samples_sort(struct vns_vo_samples *s); /* by time */

/*
 * The relation over one cell of time. Within a piece the estimate is a line, the upper
 * bound is convex and the lower concave in t (extremes over a set of lines), so chords
 * between the cell's borders are exact for the first and never too narrow for the others.
 */
struct vns_vo_cell {
	int64_t from_ns;
	struct vns_clock_at a, b;
	double below[2], above[2]; /* offset - lower, upper - offset at both borders; may be infinite */
	bool linear, filled;
	bool flat; /* the same at all times, and no drift: nothing to interpolate */
};

/*
 * Cells kept, direct mapped by time: those of the last 1.6 s, since a reply asks for the relation of
 * its request, which is up to a second older.
 */
#define VNS_VO_CELLS 32

/*
 * Samples of one direction and protocol on their way to its figure: many at once cost less each.
 * @last: bit i: last_host_ns[i] and last_raw_ns[i] hold the last byte, as in struct vns_vo_sample
 */
#define VNS_VO_BATCH 64
struct vns_vo_batch {
	int64_t at_ns[VNS_VO_BATCH], raw_ns[VNS_VO_BATCH];
	int32_t last_host_ns[VNS_VO_BATCH], last_raw_ns[VNS_VO_BATCH];
	uint64_t last;
	size_t n;
	double minus, plus; /* sums of the clock's share of each first byte's interval */
	double floor_lower, floor_upper; /* least end of any first byte's interval */
	double within; /* sum of the latencies of at most VNS_VO_PAIR_NS, which are n_within */
	uint64_t n_within;
	bool parted; /* a sample's last byte was not told together with its first, or not at all */
};

struct vns_vo_pair_sums {
	double error;
	double upper; /* least upper end of any pair's sum */
	uint64_t n;
};

/*
 * Samples to figures one by one, in bounded memory, when the relation is known beforehand. Samples
 * should come in order of time: those that do not count in @fig all the same, but may
 * miss their partner for @sum.
 */
struct vns_vo_tally {
	const struct vns_clock *clock;
	struct vns_vo_cell cell[VNS_VO_CELLS];
	struct vns_vo_figure (*fig)[VNS_PROTOS];
	struct vns_vo_sum *sum;
	struct vns_vo_sample *slot; /* latest request of the flows that share it */
	struct vns_vo_pair_sums acc[VNS_PROTOS];
	struct vo_check check[VNS_PROTOS];
	bool stepped; /* a relation has a step: near it a pair's own error is not known */
	struct vns_blocks blocks[VNS_DIRECTIONS][VNS_PROTOS], last[VNS_DIRECTIONS][VNS_PROTOS];
	struct vns_blocks paired[VNS_PROTOS];
	struct vns_vo_batch batch[VNS_DIRECTIONS][VNS_PROTOS];
};
/* @sum (per protocol) may be NULL. All three are borrowed until vns_vo_tally_fini(). */
int vns_vo_tally_init(struct vns_vo_tally *t, const struct vns_clock *clock,
		      struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		      struct vns_vo_sum *sum);
void vns_vo_tally_add(struct vns_vo_tally *t, const struct vns_vo_sample *s);
/*
 * The same in two steps: to @fig, which wants the samples of each direction in order, and to @sum, which
 * wants both directions in one order and may wait for it.
 */
void vns_vo_tally_figure(struct vns_vo_tally *t, const struct vns_vo_sample *s);
void vns_vo_tally_pair(struct vns_vo_tally *t, const struct vns_vo_sample *s);
/* Samples wait for others to be corrected with: correct them now, before their clock is freed. */
void vns_vo_tally_flush(struct vns_vo_tally *t);
#define VNS_VO_PAIR_SLOTS 65536 /* flows remembered for pairing, direct mapped */
static inline struct vns_vo_sample *vns_vo_tally_slot(const struct vns_vo_tally *t,
						      const struct vns_vo_sample *s)
{
	return &t->slot[(s->flow ^ s->flow >> 16) % VNS_VO_PAIR_SLOTS];
}
/* @s, or what now lies in its place, will be added soon: bring its slot into the cache. */
static inline __attribute__((always_inline)) void
vns_vo_tally_expect(const struct vns_vo_tally *t, const struct vns_vo_sample *s)
{
	if (t->slot)
		__builtin_prefetch(vns_vo_tally_slot(t, s), 1);
}
/*
 * From here on samples are corrected by @clock. @apart: its offset has nothing to do with the one
 * before, so no reply is paired with a request from before.
 */
void vns_vo_tally_set_clock(struct vns_vo_tally *t, const struct vns_clock *clock, bool apart);
/* Complete @fig and @sum, which hold nothing certain before, and free what the tally holds. */
void vns_vo_tally_fini(struct vns_vo_tally *t);

/*
 * Do the pairs of @s, of protocol @p, stand for the requests? @in: the way to the guest alone, complete; @within:
 * its mean over what takes at most VNS_VO_PAIR_NS. See vo_share.c.
 */
bool vo_sum_is_biased(const struct vns_vo_sum *s, const struct vns_vo_figure *in, double within, int p);

/*
 * The measured packets bound the clock as well: none arrives before it was sent. Adds the fastest
 * of each direction every 20 ms to @clock (not SAME or GIVEN), to be solved afterwards, so that a
 * clock known to 100 us by a slow channel is known to the floor of the traffic. @s must be of the
 * host point nearest to the guest; it gets sorted by time. Return: 0 or -ENOMEM.
 */
int vns_vo_bound_clock(struct vns_vo_samples *s, struct vns_clock *clock);

/*
 * Correct every sample by @clock (solved) and add it to @fig. @sum (per protocol) may be NULL.
 * Sorts @s by time. A hop within the host takes a clock of mode SAME.
 */
int vns_vo_figures(struct vns_vo_samples *s, const struct vns_clock *clock,
		   struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
		   struct vns_vo_sum sum[VNS_PROTOS]);

/* Free what @t holds (not @t). */
void vns_vo_target_fini(struct vns_vo_target *t);

/*
 * What is said of a relation with signs of a rate that changes. Only an undisturbed run claims that it does:
 * an interface that went, a guest that stood still or a step (@event, @n) leave the same signs. @wander: a
 * changing rate was allowed for. @steady: both kernels say that nothing steers their clocks.
 */
const char *vns_vo_bent_words(const struct vns_vo_event *event, size_t n, enum vns_clock_rate rate,
			      bool wander, bool steady);

#endif
