/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/doctor.h - what this machine, and a target, can and cannot do.
 *
 * Everything is tried rather than guessed where trying changes nothing: sockets are opened,
 * a BPF program is loaded, namespaces are made in a child that ends at once.
 */
#ifndef VNETSCOPE_DOCTOR_H
#define VNETSCOPE_DOCTOR_H

#include <sys/types.h>

#include <vnetscope/measure.h>
#include <vnetscope/stat.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vns_doctor_verdict { VNS_DOCTOR_NO = 0, VNS_DOCTOR_PARTLY, VNS_DOCTOR_YES, VNS_DOCTOR_INFO };
/** "no", "partly", "yes", "info" (a fact that is neither good nor bad). */
const char *vns_doctor_verdict_name(enum vns_doctor_verdict v);

/** Purposes a check may be essential for; bits. */
#define VNS_DOCTOR_FOR_LIVE   0x1 /* capture here: rtt -i, vo, drift by exchange */
#define VNS_DOCTOR_FOR_LAB    0x2 /* lab up, demo */
#define VNS_DOCTOR_FOR_TARGET 0x4 /* drift and vo with the target that was named */

/**
 * struct vns_doctor_item - one check.
 * @group: "machine", "guests", "capture", "clock", "lab", "target"
 * @name: stable, for JSON: "kvm", "packet_socket", ...
 * @essential: VNS_DOCTOR_FOR_* for which a "no" is fatal
 * @detail: one sentence
 */
struct vns_doctor_item {
	char group[12];
	char name[24];
	enum vns_doctor_verdict verdict;
	unsigned int essential;
	char detail[320];
};

/** struct vns_doctor_link - a bridge or tap. Offloads: 1 on, 0 off, -1 not known. */
struct vns_doctor_link {
	char name[16];
	char kind[16];    /* "bridge", "tap" */
	char bridge[16];  /* the bridge it hangs on, or "" */
	pid_t owner_pid;  /* tap: the process that holds it; 0: none found */
	char owner[64];   /* its command name */
	int tso, gso, gro, tx_checksum;
};

/**
 * struct vns_doctor_precision - what to expect of one clock mode.
 * @error_ns: half-width of the offset interval; negative: not known on this machine
 * @origin: where the figure comes from, one sentence
 */
struct vns_doctor_precision {
	enum vns_clock_mode mode;
	double error_ns;
	char origin[256];
};

struct vns_doctor {
	struct vns_doctor_item *item;
	size_t n_item;
	struct vns_doctor_link *link;
	size_t n_link;
	struct vns_doctor_precision precision[VNS_CLOCK_MODES];
	size_t n_precision;
	/* Measured on this machine: */
	struct vns_dist clock_read;   /* cost of one clock_gettime(CLOCK_REALTIME), ns */
	struct vns_dist oversleep;    /* how much later than asked a sleep of 1 ms ends, ns */
	struct vns_dist stamp;        /* sendto() call to the kernel's receive stamp, loopback UDP */
	struct vns_dist wakeup;       /* the kernel's receive stamp to the reader's next instruction */
	struct vns_dist channel;      /* round trips of the target's channel, processing taken off */
	bool failed;                  /* out of memory: the lists are incomplete */
};

/** vns_doctor_examine() - check this machine; some seconds. @out is initialised here. */
void vns_doctor_examine(struct vns_doctor *out);
/** vns_doctor_examine_subject() - add what @s can do to @d. */
void vns_doctor_examine_subject(struct vns_doctor *d, const struct vns_subject *s);
/** vns_doctor_add() - add a check's result. */
void vns_doctor_add(struct vns_doctor *d, const char *group, const char *name,
		    enum vns_doctor_verdict verdict, unsigned int essential, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
/** vns_doctor_missing() - first check that is "no" and essential for @purpose, or NULL. */
const struct vns_doctor_item *vns_doctor_missing(const struct vns_doctor *d, unsigned int purpose);
void vns_doctor_fini(struct vns_doctor *d);

#ifdef __cplusplus
}
#endif
#endif
