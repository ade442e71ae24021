/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Deal the packets of capture files out to workers, so that decoding and engines run on several
 * cores with results that do not depend on how many.
 *
 * Every packet belongs to one worker, by its flow (or what opts.owner says). A worker asks for its
 * share of one block of the file after another: its "hand", in file order. Whoever finds no hand
 * ready reads and decodes the next block itself, for all. So decoding is split by blocks, the
 * engines by flows, and each engine sees its flows' packets exactly as in the file.
 *
 *	static int work(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
 *	{
 *		struct vns_hand h;
 *		int rc;
 *
 *		while ((rc = vns_deal_next(d, 0, worker, &h, err)) > 0)
 *			... h.pkt[0 .. h.n - 1] to the engine of @worker ...
 *		return rc;
 *	}
 *	vns_deal_new(&d, &source, 1, &opts, err); vns_deal_run(d, work, ctx, err); vns_deal_free(d);
 *
 * With several sources (the two files of a pair) a worker takes hands of each as it needs them, in any
 * order: when all workers wait for one another, a block more is read instead.
 */
#ifndef VNS_MEASURE_DEAL_H
#define VNS_MEASURE_DEAL_H

#include <vnetscope/source.h>

#define VNS_DEAL_MAX_WORKERS 16u
#define VNS_DEAL_MAX_SOURCES 2u

/**
 * struct vns_deal_opts
 * @workers: 1 to VNS_DEAL_MAX_WORKERS; 1 needs no thread, and decodes in small batches
 * @owner:   which worker has the packet: result modulo @workers; must give the same for all packets
 *           that one engine has to see together. NULL: vns_deal_part(), the symmetric flow hash.
 *           Called from several threads at once
 * @one_engine: all packets are worker 0's, without copying; the others read and decode for it and
 *           get empty hands. When worker 0 ends, all end
 * @select:  called in file order, one at a time per source, before decoding: how many of the frames
 *           in front to keep, after it has moved away what is not wanted; *@last ends the file
 *           there. NULL: all
 * @clock_step_ns: > 0: marks in the hands; see struct vns_mark
 * @stop:    raised from outside: read no more; may be NULL
 */
struct vns_deal_opts {
	unsigned workers;
	bool one_engine;
	unsigned (*owner)(void *ctx, const struct vns_packet *p);
	size_t (*select)(void *ctx, size_t source, struct vns_frame *frame, size_t n, bool *last);
	int64_t clock_step_ns;
	const volatile int *stop;
	void *ctx;
};

/**
 * struct vns_mark - file time passed a multiple of clock_step_ns.
 *
 * File time is the highest time stamp so far, whoever's packet it was on. Marks stand where it
 * passed a step, at the same packets for every worker and however many there are, so
 * that what engines do by the passing of time does not depend on the number of workers.
 * @at:     it happened with the packet at this place in the block, before which the mark stands
 * @now_ns: that packet's time
 */
struct vns_mark {
	uint32_t at;
	int64_t now_ns;
};

/**
 * struct vns_hand - one worker's packets of one block (borrowed until its next vns_deal_next()
 * for the same source). It may have no packets.
 * @pkt, @n: in file order; the worker may write to them
 * @at:      place of each in the block; @first + @at[i] is its number in the file (as selected)
 * @size:    packets of the block, all workers' together
 * @from_ns, @to_ns: times of the block's first and last packet
 */
struct vns_hand {
	struct vns_packet *pkt;
	const uint32_t *at;
	size_t n;
	const struct vns_mark *mark;
	size_t n_mark;
	uint64_t first;
	size_t size;
	int64_t from_ns, to_ns;
};

struct vns_deal;
/* The sources stay the caller's; until vns_deal_free() only their counters may be asked, and these
 * are complete when vns_deal_run() has returned. Return: 0, -EINVAL or -ENOMEM with @err. */
int vns_deal_new(struct vns_deal **out, struct vns_source *const *source, size_t n_source,
		 const struct vns_deal_opts *opts, struct vns_err *err);
void vns_deal_free(struct vns_deal *d);

/*
 * The next hand of @worker, in the thread of that worker.
 * Return: 1, 0 at the end (also by the stop flag, or when another worker failed), VNS_SOURCE_NONE
 * never; -errno with @err when the file cannot be read any further: each worker gets this, after
 * all that came before.
 */
int vns_deal_next(struct vns_deal *d, size_t source, unsigned worker, struct vns_hand *h,
		  struct vns_err *err);

typedef int (*vns_deal_fn)(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err);
/*
 * Run @fn once for each worker, worker 0 in the calling thread, and wait for all. Signals are
 * blocked in the others. Return: 0, or the negative result of the lowest worker that had one.
 */
int vns_deal_run(struct vns_deal *d, vns_deal_fn fn, void *ctx, struct vns_err *err);

/* The 16 parts that flows fall into; worker w has parts w, w + workers ... */
static inline unsigned vns_deal_part(const struct vns_packet *p)
{
	return (unsigned)(p->flow_hash >> 60);
}

#endif
