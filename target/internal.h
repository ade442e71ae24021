/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kinds of targets share. Each kind has one open function that fills a
 * zeroed struct vns_target (descriptors -1); target.c dispatches on the spec.
 */
#ifndef VNS_TARGET_INTERNAL_H
#define VNS_TARGET_INTERNAL_H

#include <sys/types.h>

#include "target/target.h"

/* @where: "[LAB/]NODE". */
int vns_target_open_lab(struct vns_target *t, const char *where, const char *agent_path,
			struct vns_err *err);
/* @name: in /run/netns, or an absolute path of a namespace file. */
int vns_target_open_netns(struct vns_target *t, const char *name, const char *agent_path,
			  struct vns_err *err);
/* @where: "[USER@]HOST[:PORT]" with IPv6 addresses in brackets. */
int vns_target_open_ssh(struct vns_target *t, const char *where, const char *agent_path,
			struct vns_err *err);
/* @command: for /bin/sh -c. */
int vns_target_open_pipe(struct vns_target *t, const char *command, const char *agent_path,
			 struct vns_err *err);

/*
 * A child that speaks on its standard input and output; its standard error is kept in memory.
 * It ignores SIGINT: Ctrl-C ends a measurement, not the connections it still reads from.
 */
struct vns_child {
	pid_t pid;
	int rfd, wfd; /* our ends: its stdout, its stdin */
	int errfd;    /* memory file with its stderr */
	const char *carrier; /* it carries a connection, and ends with 255 when that is lost; or NULL */
};
/* @netns_fd: namespace to enter first, or -1. Return: 0 or -errno; exec failures are found here. */
int vns_child_spawn(struct vns_child *c, char *const argv[], int netns_fd, struct vns_err *err);
/* Last line of its stderr that says something, without the line end; "" when there is none. */
void vns_child_last_words(const struct vns_child *c, char *buf, size_t size);
/* Closes what is open, ends and reaps the child: first by end of file, then SIGTERM, SIGKILL. */
void vns_child_end(struct vns_child *c);

/*
 * Say hello to the agent that @child is or carries. @child is taken over in any case; with success
 * it lives as long as @t, and its last words explain a lost connection. t->name must be set.
 */
int vns_target_attach(struct vns_target *t, struct vns_child *child, int timeout_ms,
		      const struct vns_addr *address, struct vns_err *err);

/*
 * The agent's binary for @machine (uname -m; NULL: this machine's): @asked when given, else
 * beside the running program, in the build tree, or in libexec. Return: 0 or -ENOENT.
 */
int vns_target_find_agent(char *path, size_t size, const char *asked, const char *machine,
			  struct vns_err *err);

/*
 * Make @agent the target's own: choose the guest's interface (the one that has @address; NULL:
 * the first that is up, is not loopback and has an address), copy its addresses, compare clocks.
 */
void vns_target_adopt(struct vns_target *t, struct vns_agent *agent, const struct vns_addr *address);

/*
 * Find where the chosen guest interface's packets pass on this host: by its MAC address in the
 * bridges' forwarding tables and the neighbour tables of our namespace. Fills t->point; finding
 * nothing is no error.
 */
void vns_target_find_points(struct vns_target *t);
/* The same for a guest interface that is one end of a veth pair and lives in @netns_fd. */
void vns_target_find_peer_points(struct vns_target *t, int netns_fd);

#endif
