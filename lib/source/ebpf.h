/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the eBPF source: ebpf.c is the source, ebpf_attach.c hangs the programs on an
 * interface, ebpf_filter.c makes a filter program, ebpf_ring.c reads the rings. Without clang or
 * libbpf at build time ebpf_none.c stands for all of them.
 */
#ifndef VNS_SOURCE_EBPF_H
#define VNS_SOURCE_EBPF_H

#include <vnetscope/source.h>

#include "bpf/record.h"

/* enum vns_ebpf_how - how programs hang on an interface; AUTO takes TCX where the kernel has it. */
enum vns_ebpf_how { VNS_EBPF_AUTO = 0, VNS_EBPF_TCX, VNS_EBPF_TC };

/* As vns_source_open_live_bpf(), by programs in the kernel. Return: -EOPNOTSUPP when built without. */
int vns_source_open_ebpf(struct vns_source **out, const char *ifname,
			 const struct vns_bpf_insn *filter, size_t n_filter, enum vns_ebpf_how how,
			 const struct vns_source_opts *opts, struct vns_err *err);

/* Does the kernel take the programs, as this user? They are not attached. Return: 0 or -errno. */
int vns_source_try_ebpf(struct vns_err *err);

/* The kernel's programs and their maps, loaded and not yet attached. */
struct vns_ebpf_object {
	struct bpf_object *object;
	int prog;      /* descriptor of the capture program; run by itself it takes what it sees for received */
	int filter[2]; /* programs for ingress and egress that filter and then go on with @prog; -1: not made yet */
	int gates;     /* map through which they go on; -1 */
	int counts, state; /* maps */
	int ring[VNS_BPF_RINGS]; /* maps */
	unsigned int n_ring;
	uint32_t ring_bytes; /* of each */
};

/*
 * @config->ring_mask: rings less one, 0 for a single one (vns_ebpf_ring_mask()); @ring_bytes: of all
 * together. On failure nothing stays open.
 */
int vns_ebpf_load(struct vns_ebpf_object *o, const struct vns_bpf_config *config,
		  uint32_t ring_bytes, struct vns_err *err);
/* A ring for each processor, as far as each is large enough. */
uint8_t vns_ebpf_ring_mask(uint32_t ring_bytes);
/* Make the programs to attach: @filter (none: all), then the capture program. */
int vns_ebpf_load_filter(struct vns_ebpf_object *o, const struct vns_bpf_insn *filter, size_t n,
			 struct vns_err *err);
void vns_ebpf_unload(struct vns_ebpf_object *o);
/* From here on packets are captured: called when all programs hang, so that all begin at once. */
int vns_ebpf_begin(const struct vns_ebpf_object *o, struct vns_err *err);
/* The program to attach, made by vns_ebpf_load_filter(). */
int vns_ebpf_entry(const struct vns_ebpf_object *o, int egress);
/* What was counted so far, of all processors. */
struct vns_bpf_counts vns_ebpf_counts(const struct vns_ebpf_object *o);
/* What libbpf said last, for a sentence; "" when nothing. Not thread-safe between loads. */
const char *vns_ebpf_said(void);

/* struct vns_bpf_insn @filter to eBPF; see ebpf_filter.c. */
struct bpf_insn;
#define VNS_EBPF_MAX_INSNS 30000 /* jumps have 16 bits with sign */
int vns_ebpf_translate(const struct vns_bpf_insn *filter, size_t n, int gates_fd, int egress,
		       struct bpf_insn **out, struct vns_err *err);

/* Programs hanging on one interface. */
struct vns_ebpf_hooks {
	enum vns_ebpf_how how;
	int link[2];     /* TCX: the links; they end with their descriptors */
	int ifindex;
	int netns_fd;    /* TC: own copy, where to detach; -1: the caller's own */
	int owner;       /* TC: socket whose name says that the filters' owner lives */
	uint32_t handle;
	bool qdisc_made; /* TC: the clsact qdisc is ours */
	bool hung[2];
};

/*
 * Attach @o's programs (only the ingress one with @ingress_only) to interface @ifindex of the
 * calling thread's network namespace; @netns_fd is that namespace's, for the way back. Leftovers of
 * dead owners are removed first.
 */
int vns_ebpf_attach(struct vns_ebpf_hooks *h, const struct vns_ebpf_object *o, const char *ifname,
		    int ifindex, int netns_fd, bool ingress_only, enum vns_ebpf_how how,
		    struct vns_err *err);
void vns_ebpf_detach(struct vns_ebpf_hooks *h);

/* MONOTONIC to REALTIME: offset and how far it may be off. */
struct vns_ebpf_timebase {
	int64_t offset_ns, error_ns, checked_ns;
};

/* A ring, mapped. @end: what was written when it was looked at last. */
struct vns_ebpf_ring {
	volatile uint64_t *consumer;
	const volatile uint64_t *producer;
	const uint8_t *data;
	uint64_t mask, at, end;
	size_t page, data_bytes;
};

/* Those of all processors. @held: the last look left packets to a later one. */
struct vns_ebpf_rings {
	struct vns_ebpf_ring ring[VNS_BPF_RINGS];
	unsigned int n;
	bool held;
	struct vns_ebpf_timebase time;
};

int vns_ebpf_rings_map(struct vns_ebpf_rings *r, const struct vns_ebpf_object *o,
		       struct vns_err *err);
void vns_ebpf_rings_unmap(struct vns_ebpf_rings *r);
/* Up to @max packets into @out in the order of time, counted in @s. @linktype: of raw records. */
size_t vns_ebpf_rings_drain(struct vns_ebpf_rings *r, struct vns_source *s, uint32_t linktype,
			    int64_t *last_ns, struct vns_packet *out, size_t max);
/* Packets with stamps up to @upto_ns (REALTIME) that wait to be read. */
uint64_t vns_ebpf_rings_left(const struct vns_ebpf_rings *r, int64_t upto_ns);
/* Look at both clocks again, at most once in 5 ms; a step of REALTIME is taken over. */
void vns_ebpf_time_track(struct vns_ebpf_timebase *t);

#endif
