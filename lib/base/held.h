/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stores hold on the heap, counted by themselves: a function of what was stored alone, where the
 * kernel's resident size differs from run to run.
 *
 * One counter for each thread, so that runs of several threads do not see each other's; a store that is
 * filled by one and freed by another is missing in the one and too much in the other, so differences
 * are taken while a run lasts.
 */
#ifndef VNS_BASE_HELD_H
#define VNS_BASE_HELD_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that this thread has taken less those it gave back; only differences mean anything. */
int64_t vns_held(void);
/* A store's block of @was bytes is one of @is from now on; 0: none. malloc()'s own part is added. */
void vns_held_change(size_t was, size_t is);

#endif
