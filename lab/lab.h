/* SPDX-License-Identifier: GPL-3.0-or-later */
/**
 * DOC: lab/lab.h - start, inspect and remove lab topologies.
 *
 *   client (eth0) --- up0  br0 --- tapvm1 --- vm1
 *   10.77.0.2         10.77.0.1              10.77.0.11
 *                     host namespace
 *
 * One holder process per lab owns the host namespace and is the parent of every guest and of the
 * client's keeper. When it dies, by whatever signal, the kernel ends its children and with them
 * the namespaces; what is left then are files, removed by the next up or down.
 */
#ifndef VNS_LAB_H
#define VNS_LAB_H

#include "target/labstate.h"

enum vns_lab_accel { VNS_LAB_ACCEL_AUTO = 0, VNS_LAB_ACCEL_KVM, VNS_LAB_ACCEL_TCG };

/**
 * struct vns_lab_opts - what `up` builds. Start from VNS_LAB_OPTS_DEFAULT.
 * @offloads:    "default", "off", or a list of no-tso, no-guest-tso, no-host-tso, no-csum, no-mrg,
 *               no-gro (of the virtual network card, as the guest sees it); "vm2:WORD" for one guest
 * @queues:      pairs of queues of each guest's card and tap; more than @vcpus lie idle
 * @kernel, @modules: guest kernel and the folder /lib/modules/VERSION; NULL: Debian's cloud kernel
 * @with, @n_with: programs of this host to have in the guests too, by name or path
 * @agent_path:  vnetscope-agent; NULL: found beside the running program
 * @progress:    what is being done, one sentence each; may be NULL
 * @tie:         NULL: the lab stays until somebody removes it; else a descriptor is left there, and the
 *               lab is removed when that closes, at the latest with this process
 * @interrupted: `up` gives up and cleans when it becomes non-zero; may be NULL
 */
struct vns_lab_opts {
	const char *name;
	unsigned int guests, vcpus, memory_mb, queues;
	enum vns_lab_backend backend;
	enum vns_lab_accel accel;
	const char *offloads;
	const char *kernel, *modules;
	const char *const *with;
	size_t n_with;
	const char *agent_path;
	void (*progress)(void *ctx, const char *sentence);
	void *ctx;
	int *tie;
	const volatile int *interrupted;
};
#define VNS_LAB_OPTS_DEFAULT \
	{ .name = "lab", .guests = 3, .vcpus = 1, .memory_mb = 128, .queues = 1, .offloads = "default" }

/**
 * vns_lab_up() - start the lab; every guest's agent has answered when this returns.
 * Remains of an earlier lab of that name are removed first.
 * Return: 0; 1 it runs already with these options; -EBUSY it runs with others; -EINVAL options;
 * else -errno. After an error nothing is left.
 */
int vns_lab_up(const struct vns_lab_opts *opts, struct vns_lab *out, struct vns_err *err);

/** struct vns_lab_removed - what `down` found. */
struct vns_lab_removed {
	unsigned int processes, files;
	bool was_alive;
};
/** vns_lab_down() - end and remove lab @name. Return: 0; 1 there was none; -errno. */
int vns_lab_down(const char *name, struct vns_lab_removed *out, struct vns_err *err);

/**
 * struct vns_lab_outlook - what earlier labs left in the cache: what the next `up` need not find out.
 * @kernel: folder of the newest cached guest kernel, or ""
 * @kvm_tried: a guest was booted with KVM since this host started
 * @kvm_works, @kvm_why: how that went
 */
struct vns_lab_outlook {
	char kernel[256];
	bool kvm_tried, kvm_works;
	char kvm_why[160];
};
/** vns_lab_outlook() - read the cache; changes nothing. */
void vns_lab_outlook(struct vns_lab_outlook *out);

/**
 * vns_lab_ask() - does the agent of each QEMU guest of a running lab answer? All at once, VNS_LAB_ASK_MS
 * at most. @silent of those that do not is set; who is in use by another program is not asked.
 */
void vns_lab_ask(struct vns_lab *lab);

/** vns_lab_busy() - somebody is starting or removing the lab right now. */
bool vns_lab_busy(const struct vns_lab *lab);

/**
 * vns_lab_enter() - move this (single-threaded) process into the namespaces of "host", "client"
 * or a namespace guest. Return: 0 or -errno.
 */
int vns_lab_enter(const struct vns_lab *lab, const char *node, struct vns_err *err);

#endif
