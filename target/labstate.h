/* SPDX-License-Identifier: GPL-3.0-or-later */
/**
 * DOC: target/labstate.h - what a running lab looks like from outside: its folder and state.json.
 *
 * The lab's holder and `lab up` write it (lab/), everybody else reads it. A lab is one folder:
 * state.json, NAME.ctl (agent sockets), NAME.serial and NAME.log, and /dev/shm/vnetscope-UID-LAB-NAME.
 * Its namespaces have no name: they live as long as the processes recorded here.
 */
#ifndef VNS_LABSTATE_H
#define VNS_LABSTATE_H

#include <sys/types.h>

#include <vnetscope/base.h>

#define VNS_LAB_MAX_GUESTS 32
#define VNS_LAB_MAX_QUEUES 8
#define VNS_LAB_NAME_LEN   17 /* 16 characters and the end */
#define VNS_LAB_PATH_LEN   256
#define VNS_LAB_BRIDGE     "br0"
#define VNS_LAB_UPLINK     "up0"
#define VNS_LAB_GUEST_IF   "eth0"
#define VNS_LAB_SHM_BYTES  (1u << 20)

/** struct vns_proc - a process, told from a later one with the same pid by its start time. */
struct vns_proc {
	pid_t pid;
	uint64_t start; /* /proc/PID/stat field 22, clock ticks since boot */
};

/** vns_proc_of() - identity of @pid now; start is 0 when there is no such process. */
struct vns_proc vns_proc_of(pid_t pid);
/** vns_proc_alive() - the very process still runs (a zombie does not). */
bool vns_proc_alive(const struct vns_proc *p);
/** vns_proc_stopped() - ... but is stopped by a signal or a debugger. */
bool vns_proc_stopped(const struct vns_proc *p);

enum vns_lab_backend { VNS_LAB_QEMU = 0, VNS_LAB_NETNS };
enum vns_lab_phase { VNS_LAB_STARTING = 0, VNS_LAB_RUNNING };

/** struct vns_lab_node - a guest, or the client. */
struct vns_lab_node {
	char name[16];
	struct vns_proc proc; /* QEMU, or the keeper of the namespace */
	char mac[18];
	char ip[16], ip6[40]; /* without prefix length */
	char tap[16];         /* host's end: tap or veth; the client's is the uplink */
	char agent_version[32], clocksource[32], kernel[96]; /* as the agent said; or empty */
	bool silent; /* vns_lab_ask() got no answer; not stored */
};

/** struct vns_lab - plain data. */
struct vns_lab {
	char name[VNS_LAB_NAME_LEN];
	char dir[VNS_LAB_PATH_LEN];
	enum vns_lab_phase phase;
	enum vns_lab_backend backend;
	unsigned int uid;         /* whose lab it is, as seen from outside any user namespace */
	bool rootless;            /* namespaces live in a user namespace of the holder */
	struct vns_proc holder;   /* its network namespace is the lab's host */
	struct vns_lab_node client;
	struct vns_lab_node guest[VNS_LAB_MAX_GUESTS];
	unsigned int n_guest;
	unsigned int vcpus, memory_mb, queues;
	char accel[8];            /* "kvm", "tcg"; "none" for namespaces */
	char accel_why[256];
	char offloads[96];        /* as asked: "default", "off", "no-tso,vm2:no-mrg" */
	char with[128];           /* programs put into the guests, blanks between; cut */
	char kernel[VNS_LAB_PATH_LEN];
	int64_t started_ns;       /* CLOCK_REALTIME */
};

/**
 * vns_lab_uid() - our user. Within a user namespace like that of a rootless lab, where everybody
 * is 0, the one outside: a process that has joined its lab still finds the lab's files.
 */
unsigned int vns_lab_uid(void);

/* For a sentence that says there is no lab: that root has one, where we are not root; or "". */
const char *vns_lab_of_root(void);
/** vns_lab_base_dir() - /run/vnetscope for root, else below XDG_RUNTIME_DIR or /tmp. */
int vns_lab_base_dir(char *buf, size_t len, struct vns_err *err);
/** vns_lab_dir() - folder of lab @name, whether or not it exists. -EINVAL: bad name. */
int vns_lab_dir(const char *name, char *buf, size_t len, struct vns_err *err);
bool vns_lab_name_ok(const char *name);
/** vns_lab_path() - DIR/NODE.SUFFIX into @buf of VNS_LAB_PATH_LEN. Return: @buf. */
const char *vns_lab_path(const struct vns_lab *lab, const char *node, const char *suffix,
			 char *buf);
/** vns_lab_shm_path() - the guest's ivshmem file. Return: @buf. */
const char *vns_lab_shm_path(const struct vns_lab *lab, const char *node, char *buf);

/**
 * vns_lab_load() - read state.json of lab @name.
 * Return: 0; -ENOENT there is no such lab; 1 its folder is there, its state is not (a start that
 * was cut off); or -errno. Whether it is alive: vns_proc_alive(&lab->holder).
 */
int vns_lab_load(struct vns_lab *lab, const char *name, struct vns_err *err);
/** vns_lab_save() - write state.json atomically. */
int vns_lab_save(const struct vns_lab *lab, struct vns_err *err);
/** vns_lab_names() - every lab folder of this user. Return: number, or -errno. */
int vns_lab_names(char (*names)[VNS_LAB_NAME_LEN], size_t max, struct vns_err *err);
/** vns_lab_node() - guest or client by name; NULL: none. */
const struct vns_lab_node *vns_lab_find_node(const struct vns_lab *lab, const char *name);
/** vns_lab_node_plugged() - is the node's port on the lab's host still there (the holder must be alive)? */
bool vns_lab_node_plugged(const struct vns_lab *lab, const struct vns_lab_node *node);
/** vns_lab_node_exit() - why a node's process ended ("exited with status 1"), or false. */
bool vns_lab_node_exit(const struct vns_lab *lab, const char *node, char *buf, size_t len);
/**
 * vns_lab_serial_tail() - last non-empty line of the guest's console, printable characters only.
 * Return: false when there is none.
 */
bool vns_lab_serial_tail(const struct vns_lab *lab, const char *node, char *buf, size_t len);

#define VNS_LAB_ASKING "asking" /* in the lock of one who is done within VNS_LAB_ASK_MS */
#define VNS_LAB_ASK_MS 2000
/**
 * vns_lab_lock() - be the only one who uses the guest's port, until the descriptor is closed.
 * @as:  left in the lock for others to read: a process id, or VNS_LAB_ASKING
 * @who: gets that of the one who has it, on -EBUSY
 * Return: descriptor, -EBUSY or -errno.
 */
int vns_lab_lock(const struct vns_lab *lab, const char *node, const char *as, char *who, size_t len);

/** vns_lab_open_ns() - open /proc/PID/ns/@which. Return: descriptor or -errno. */
int vns_lab_open_ns(pid_t pid, const char *which);

#endif
