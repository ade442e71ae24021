/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A machine that can be measured: lab guest, network namespace, ssh host, or any
 * program that speaks the agent protocol on its pipes. One struct, filled by the kind.
 *
 * Specs: "NAME" or "lab:NAME"   guest of the running lab (lab:LAB/NAME for another lab)
 *        "netns:NAME"           agent started in /run/netns/NAME
 *        "ssh:[USER@]HOST[:PORT]"  the user's own ssh; agent binary copied to a temp folder
 *        "pipe:COMMAND"         COMMAND run by /bin/sh speaks the protocol on its stdin/stdout
 */
#ifndef VNS_TARGET_H
#define VNS_TARGET_H

#include <vnetscope/agent.h>
#include <vnetscope/measure.h>

#define VNS_TARGET_MAX_POINTS 8

struct vns_target {
	char name[64];       /* as printed: "vm1", "user@host" */
	char spec[128];
	struct vns_agent *agent;      /* owned */
	char guest_ifname[16];        /* interface to capture in the guest */
	struct vns_addr guest[16];    /* the guest's addresses on that interface */
	size_t n_guest;
	/* Host side. netns_fd: where the points live and probes are sent from; -1: our own. */
	int host_netns_fd;            /* owned */
	int host_userns_fd;           /* owned; -1 unless a rootless lab */
	struct vns_host_point point[VNS_TARGET_MAX_POINTS]; /* by kind, outside first */
	size_t n_point;
	void *shm_page;               /* mapped ivshmem page, or NULL */
	size_t shm_bytes;
	int vmm_pid;                  /* QEMU of a lab guest; 0: not known */
	bool same_clock;              /* boot id equals the host's: one kernel, one clock */
	bool is_tcg;                  /* guest runs under TCG emulation: figures say so */
	char unseen[400];             /* why there is no point, or "" */
	char exclude_filter[256];     /* pcap expression that matches our own traffic (ssh), or "" */
	/* reach the agent anew (measure.h); NULL: this kind cannot */
	int (*reconnect)(void *ctx, int timeout_ms, struct vns_agent **agent, struct vns_err *err);
	bool (*console)(void *ctx, char *line, size_t size);
	void *priv;
	void (*close)(struct vns_target *t); /* kind's own clean-up */
};

/*
 * Open @spec. @agent_path: vnetscope-agent to use for netns and ssh (NULL: found beside the
 * running program or in libexec). Return: 0 or -errno with @err.
 */
int vns_target_open(struct vns_target **out, const char *spec, const char *agent_path,
		    struct vns_err *err);
void vns_target_close(struct vns_target *t);

/* What lib/measure needs of @t; borrowed, valid while @t is open. */
struct vns_subject vns_target_subject(struct vns_target *t);

#endif
