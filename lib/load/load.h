/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loads: what keeps a machine busy while it is measured. Each runs in processes of its own,
 * forked from a single-threaded parent, that die with the parent; their figures lie in shared
 * memory. The parent reaps (vns_loads_reaped()) and stops them.
 */
#ifndef VNS_LOAD_LOAD_H
#define VNS_LOAD_LOAD_H

#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "probe/probe.h"

#define VNS_LOADS_MAX  32u
#define VNS_LOAD_PROCS 64u

struct vns_loads;

int vns_loads_new(struct vns_loads **out);
/* Ends everything that still runs. */
void vns_loads_free(struct vns_loads *l);
/* Return: 0 with *@id (> 0), or -errno with a sentence about the specification. */
int vns_loads_start(struct vns_loads *l, const struct vns_load_spec *spec, uint32_t *id,
		    struct vns_err *err);
int vns_loads_stats(struct vns_loads *l, uint32_t id, struct vns_load_stats *out,
		    struct vns_err *err);
int vns_loads_stop(struct vns_loads *l, uint32_t id, struct vns_load_stats *out,
		   struct vns_err *err);
/* The session that started them ends: stop all that are not to persist. */
void vns_loads_end_session(struct vns_loads *l);
/*
 * A child @pid was reaped. Return: false when it is no load. @note: a sentence when it ended
 * before its time, else empty.
 */
bool vns_loads_reaped(struct vns_loads *l, pid_t pid, int status, const struct rusage *ru,
		      char note[256]);

/* Kinds; each runs to its end: 0, or -errno with a sentence. */
int vns_load_md5(const struct vns_probe_run *run, struct vns_err *err);
int vns_load_video(const struct vns_probe_run *run, struct vns_err *err);
int vns_load_echo_server(const struct vns_probe_run *run, struct vns_err *err);
int vns_load_sink(const struct vns_probe_run *run, struct vns_err *err);

/* MD5 (RFC 1321): the work of the CPU load, no security. */
struct vns_md5 {
	uint32_t state[4];
	uint64_t bytes;
	uint8_t block[64];
};
void vns_md5_init(struct vns_md5 *m);
void vns_md5_add(struct vns_md5 *m, const void *data, size_t n);
void vns_md5_end(struct vns_md5 *m, uint8_t digest[16]);

#endif
