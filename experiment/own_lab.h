/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lab that an experiment makes for itself and removes again; see own_lab.c. Its options' progress,
 * ctx and interrupted serve the experiment, too.
 */
#ifndef VNS_EXPERIMENT_OWN_LAB_H
#define VNS_EXPERIMENT_OWN_LAB_H

#include "lab/lab.h"

struct own_lab {
	const struct vns_lab_opts *opts; /* borrowed */
	struct vns_lab lab;
	int tie; /* the lab ends when it closes; -1: it stays */
};

/*
 * Start the lab of @opts with @guests instead of its own number. @keep: it outlives this process; else
 * it ends with this process, however that ends. Return: 0 or -errno with @err; -EBUSY: one of that name runs.
 */
int own_lab_open(struct own_lab *r, const struct vns_lab_opts *opts, unsigned int guests, bool keep,
	      struct vns_err *err);
/* Remove it, unless it is kept. Return: @code, or why it could not be removed. */
int own_lab_close(struct own_lab *r, int code, struct vns_err *err);

/* One sentence to the progress. */
void own_lab_say(const struct own_lab *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool own_lab_stopped(const struct own_lab *r);
/* "Host: Linux 6.1.0, x86_64, 2 CPUs." */
void own_lab_host(char *to, size_t size);

#endif
