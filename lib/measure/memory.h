/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A limit to the memory of this process, asked about now and then while tables grow.
 */
#ifndef VNS_MEASURE_MEMORY_H
#define VNS_MEASURE_MEMORY_H

#include <vnetscope/base.h>

/*
 * @limit:  bytes; 0: none
 * @margin: kept free for what comes between two questions
 * @rise:   what the last answer "tight" raised the mark by, since freed memory is not always given back
 */
struct vns_memory {
	uint64_t limit, margin, rise;
};

/* Bytes of this process that are in memory now; 0: not known. */
uint64_t vns_memory_resident(void);
/*
 * Begin, once everything that does not grow stands. Return: 0, or -ENOMEM with @err naming the least
 * limit; @what: the option, for the sentence.
 */
int vns_memory_begin(struct vns_memory *m, uint64_t limit, const char *what, struct vns_err *err);
/* Whether what there is and @more to come does not fit any longer: then give something up. */
bool vns_memory_tight(const struct vns_memory *m, uint64_t more);
/* Something was given up: hand it back to the system where that works. */
void vns_memory_gave_up(struct vns_memory *m, uint64_t more);

#endif
