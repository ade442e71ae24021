/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clock mode tsc: a KVM guest's time stamp counter is the host's, scaled and shifted by numbers that
 * KVM shows in debugfs. Both ends read their counter around their clock; nothing is sent
 * whose delay would count.
 */
#ifndef VNS_MEASURE_TSC_H
#define VNS_MEASURE_TSC_H

#include <vnetscope/measure.h>

#define VNS_TSC_DEBUGFS  "/sys/kernel/debug/kvm"
#define VNS_TSC_MAX_VCPU 256

/*
 * guest counter = (host counter * ratio >> frac_bits) + offset, modulo 2^64. A guest's vCPUs may have
 * different ones; several alike are kept once.
 */
struct vns_tsc_map {
	uint64_t ratio;
	unsigned int frac_bits;
	uint64_t offset;
};
struct vns_tsc_maps {
	struct vns_tsc_map map[VNS_TSC_MAX_VCPU];
	size_t n;
};

/*
 * Where readings come from; a test brings its own.
 * @host:  fill one reading of this host
 * @guest: up to @n readings of the guest, made after the call began and before it returns. Return: number
 *	or -errno
 */
struct vns_tsc_ops {
	void (*host)(void *ctx, struct vns_tsc_reading *r);
	int (*guest)(void *ctx, struct vns_tsc_reading *r, size_t n, struct vns_err *err);
	void *ctx;
};

/*
 * @debugfs: VNS_TSC_DEBUGFS, or a test's tree; @pid: the VM's process
 * @changes: how often the maps were other ones than before
 * @refused: readings that no map puts between the host's: the counter was written meanwhile
 */
struct vns_tsc {
	const char *debugfs;
	int pid;
	struct vns_tsc_ops ops;
	struct vns_tsc_maps maps;
	uint64_t changes, refused;
};

/*
 * Read the maps of @pid's VM below @debugfs. Return: 0; -ENOENT, -EACCES, -EPERM, -EOPNOTSUPP with
 * a sentence that tells what would help.
 */
int vns_tsc_maps_read(const char *debugfs, int pid, struct vns_tsc_maps *out, struct vns_err *err);

/* Read the maps for the first time. @t->debugfs, pid and ops are set. Return: 0 or -errno. */
int vns_tsc_begin(struct vns_tsc *t, struct vns_err *err);

/*
 * Up to @n exchanges. T2 = T3 is what the guest's clock showed, T1 and T4 are the host's clock at the
 * latest instant certainly before it and the earliest certainly after. Return: exchanges in @out (0: the
 * counter changed meanwhile) or -errno.
 */
int vns_tsc_exchange(struct vns_tsc *t, struct vns_exchange *out, size_t n, struct vns_err *err);

#endif
