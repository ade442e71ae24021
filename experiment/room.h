/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lab that an experiment makes for itself and removes again; see room.c. Its options' progress,
 * ctx and interrupted serve the experiment, too.
 */
#ifndef VNS_EXPERIMENT_ROOM_H
#define VNS_EXPERIMENT_ROOM_H

#include "lab/lab.h"

struct room {
	const struct vns_lab_opts *opts; /* borrowed */
	struct vns_lab lab;
	int tie; /* the lab ends when it closes; -1: it stays */
};

/*
 * Start the lab of @opts with @guests instead of its own number. @keep: it outlives this process; else
 * it ends with this process, however that ends. Return: 0 or -errno with @err; -EBUSY: one of that name runs.
 */
int room_open(struct room *r, const struct vns_lab_opts *opts, unsigned int guests, bool keep,
	      struct vns_err *err);
/* Remove it, unless it is kept. Return: @code, or why it could not be removed. */
int room_close(struct room *r, int code, struct vns_err *err);

/* One sentence to the progress. */
void room_say(const struct room *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool room_stopped(const struct room *r);
/* "Host: Linux 6.1.0, x86_64, 2 CPUs." */
void room_host(char *to, size_t size);

#endif
