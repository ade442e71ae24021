/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A limit to the memory of this process, asked about now and then while tables grow. All of it by one thread.
 */
#ifndef VNS_MEASURE_MEMORY_H
#define VNS_MEASURE_MEMORY_H

#include <vnetscope/base.h>

/* Program, libraries, file window, buffers: 5 MiB are resident of `rtt` on a capture of no flows. */
#define VNS_MEMORY_PROGRAM (UINT64_C(6) << 20)

/*
 * @limit:  bytes; 0: none
 * @margin: kept free for what comes between two questions
 * @rise:   what the last answer "tight" raised the mark by, since tables do not shrink
 * @peak:   the most that was counted
 */
struct vns_memory {
	uint64_t limit, margin, rise, peak;
	int64_t held_before;
};

/* A limit below the @least: the sentence. Return: -ENOMEM. */
int vns_memory_too_small(const char *what, uint64_t limit, uint64_t least, struct vns_err *err);
/*
 * Begin, before the stores hold anything. Return: 0, or -ENOMEM with @err naming the least limit;
 * @what: the option, for the sentence.
 */
int vns_memory_begin(struct vns_memory *m, uint64_t limit, const char *what, struct vns_err *err);
/* Bytes of this process, by count: @tables beside what the thread's stores hold on the heap. */
uint64_t vns_memory_counted(struct vns_memory *m, uint64_t tables);
/* Whether what there is and @more to come does not fit any longer: then give something up. */
bool vns_memory_tight(const struct vns_memory *m, uint64_t counted, uint64_t more);
/* Something was given up: hand it back to the system where that works. */
void vns_memory_gave_up(struct vns_memory *m, uint64_t counted, uint64_t more);

#endif
