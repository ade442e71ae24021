/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of lab/ share. */
#ifndef VNS_LAB_INTERNAL_H
#define VNS_LAB_INTERNAL_H

#include "lab/lab.h"

/* Addresses: 10.77.0.0/24 and fd77::/64; guest N has 10 + N. */
#define LAB_NET4        "10.77.0."
#define LAB_NET6        "fd77::"
#define LAB_HOST_NUMBER 1
#define LAB_CLIENT_NUMBER 2
#define LAB_GUEST_NUMBER 10
#define LAB_HOST_MAC    "52:54:00:77:01:01"
#define LAB_CLIENT_MAC  "52:54:00:77:01:02"

/* Offloads taken away from the virtual card. */
#define LAB_NO_HOST_TSO  0x01u /* the guest may not send frames to be cut */
#define LAB_NO_CSUM      0x02u
#define LAB_NO_MRG       0x04u
#define LAB_NO_GRO       0x08u
#define LAB_NO_GUEST_TSO 0x10u /* the host cuts frames before it hands them to the guest */
#define LAB_NO_TSO       (LAB_NO_HOST_TSO | LAB_NO_GUEST_TSO)
/*
 * lab_parse_offloads() - "off", "no-tso,vm2:no-gro" -> bits of each of @n guests; a word without
 * a guest is for all. Return: 0 or -EINVAL.
 */
int lab_parse_offloads(const char *text, unsigned int *bits, unsigned int n, struct vns_err *err);

/* struct lab_plan - everything the holder needs, found out before anything is started. */
struct lab_plan {
	const struct vns_lab_opts *opts;
	unsigned int offload_bits[VNS_LAB_MAX_GUESTS];
	char agent[VNS_LAB_PATH_LEN];
	/* QEMU guests only */
	char qemu[VNS_LAB_PATH_LEN];
	char kernel[VNS_LAB_PATH_LEN], modules[VNS_LAB_PATH_LEN], initrd[VNS_LAB_PATH_LEN];
	bool kvm, vhost;
};

/*
 * run.c: child processes.
 * struct lab_run: @input to stdin (NULL: nothing); @netns_of: enter the network namespace of this
 * process, 0: stay; @out: stdout goes here as text, cut to @out_len; @out_fd: stdout goes to
 * this descriptor instead; @timeout_ms: 0 = 60 s.
 */
struct lab_run {
	const char *input;
	const char *cwd;
	pid_t netns_of;
	char *out;
	size_t out_len;
	int out_fd;
	int timeout_ms;
	const volatile int *interrupted;
};
/* Return: 0 when @argv ended with status 0; else -errno and @err with its last words. */
int lab_run(char *const argv[], const struct lab_run *r, struct vns_err *err);
/* In a fresh child: die with @parent, default signals. Exits when @parent is gone already. */
void lab_child_setup(pid_t parent);
/* Search PATH and the sbin folders. Return: 0 or -ENOENT. */
int lab_find_program(const char *name, char *buf, size_t len);
/* Wait until @p is gone. Return: false after @timeout_ms. */
bool lab_wait_gone(const struct vns_proc *p, int timeout_ms);

/* keeper.c: a process that holds a network namespace and serves agents on a unix socket. */
int lab_listen(const char *path, struct vns_err *err);
void lab_serve_one(int listen_fd, const char *agent);
/* Return: pid, or -errno. The namespace is @node's; log and socket in the lab's folder. */
pid_t lab_keeper_start(const struct vns_lab *lab, const char *node, const char *agent,
		       struct vns_err *err);

/* net.c: all run in the holder, inside the lab's host namespace. */
int lab_net_host(const struct vns_lab *lab, struct vns_err *err);
/* Plug @node (the client, or a namespace guest) in by a veth pair and give it addresses. */
int lab_net_plug(const struct vns_lab *lab, const struct vns_lab_node *node,
		 unsigned int offload_bits, struct vns_err *err);
int lab_net_neighbours(const struct vns_lab *lab, struct vns_err *err);

/* cache.c */
#define LAB_SYSTEM_CACHE "/var/cache/vnetscope" /* root's; others may read it */
/* Name of the folder for what is worth keeping between labs. Return: 0 or -errno. */
int lab_cache_name(char *buf, size_t len, struct vns_err *err);
/* The same, and the folder is created. Return: 0 or -errno. */
int lab_cache_dir(char *buf, size_t len, struct vns_err *err);
/* rm -r; what cannot be removed stays. */
void lab_remove_tree(const char *path);

/* kernel.c: the guest's kernel and its modules' folder into @plan; fetched when need be. */
int lab_kernel_find(struct lab_plan *plan, struct vns_err *err);

/* initramfs.c: agent as /init, modules, busybox when there is one -> @plan->initrd. */
int lab_initramfs_build(const struct lab_plan *plan, struct vns_err *err);

/* qemu.c */
int lab_qemu_find(struct lab_plan *plan, struct vns_err *err);
/* Start @node's guest; called in the holder. Return: pid or -errno. */
pid_t lab_qemu_start(const struct vns_lab *lab, const struct vns_lab_node *node,
		     const struct lab_plan *plan, struct vns_err *err);
/*
 * accel.c: decide between KVM and emulation, by really booting a guest with KVM once for each
 * boot of this host, QEMU and kernel. Fills lab->accel, lab->accel_why and plan->kvm.
 */
int lab_accel_choose(struct lab_plan *plan, struct vns_lab *lab, struct vns_err *err);
/* hello.c: wait until every node's agent has answered; notes what it said in @lab. */
int lab_await_agents(struct vns_lab *lab, const struct vns_lab_opts *o, struct vns_err *err);

/* up.c */
void lab_say(const struct vns_lab_opts *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* holder.c */
/* .code of a commit: the lab is tied to the control socket, and removed when that closes. */
enum lab_msg_kind { LAB_MSG_PROGRESS = 1, LAB_MSG_ERROR, LAB_MSG_UP, LAB_MSG_COMMIT };
struct lab_msg {
	enum lab_msg_kind kind;
	int code;
	struct vns_proc holder; /* the sender */
	char text[512];
};
/*
 * Fork the holder. Return: control socket, or -errno. Until LAB_MSG_COMMIT was sent the holder
 * shares @lock and removes the lab when the socket closes.
 */
int lab_holder_start(struct vns_lab *lab, const struct lab_plan *plan, int lock,
		     struct vns_err *err);

/* down.c */
/*
 * End what @lab records and remove its files; with @keep_folder the folder stays, and with it
 * the caller's lock. Called by a holder that gives up, too.
 */
int lab_remove(const struct vns_lab *lab, bool keep_folder, struct vns_lab_removed *out,
	       struct vns_err *err);
/* Create and lock the lab's folder. Return: descriptor that holds the lock, or -errno. */
int lab_lock(const struct vns_lab *lab, bool create, struct vns_err *err);

#endif
