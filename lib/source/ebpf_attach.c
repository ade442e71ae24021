// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Loaded programs -> hung on an interface, before everything of others, and taken off again.
 *
 * TCX links (Linux 6.6) end with their descriptors, also by kill -9. On older kernels the programs
 * are filters of preference 5 in a clsact qdisc (tc-bpf(8)), which stays shared with others.
 * Those survive a crash, so each pair of filters has an owner: a Unix socket in the interface's
 * namespace with an abstract name made of interface and handle, which ends with its process. The
 * next start removes filters of ours whose name nobody holds. A qdisc that we made goes too
 * once it is empty; one whose maker crashed stays, since it cannot be told from another's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "base/netns.h"
#include "source/ebpf.h"
#include "source/ebpf_compat.h"

#define PREFERENCE  5  /* before the kernel's own choice (49152 downwards) and most users' */
#define MAX_HANDLES 64 /* captures of this kind on one interface at a time */
#define NAME_PREFIX "vns_" /* of every program of ours; the filter's name in tc begins with it */

static const enum bpf_tc_attach_point point_of[2] = { BPF_TC_INGRESS, BPF_TC_EGRESS };

/* A socket whose abstract name is @handle's on @ifindex. Return: -1 when somebody holds it. */
static int hold_handle(int ifindex, uint32_t handle)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), n;

	if (fd < 0)
		return -1;
	n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "vnetscope-tc/%d/%u", ifindex, handle);
	if (bind(fd, (struct sockaddr *)&a,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool is_ours(uint32_t prog_id)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(prog_id);
	bool ours = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
		    strncmp(info.name, NAME_PREFIX, strlen(NAME_PREFIX)) == 0;

	if (fd >= 0)
		close(fd);
	return ours;
}

/* Remove our filter @handle of one side. Return: true when there was one. */
static bool remove_filter(int ifindex, int side, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point_of[side]);
	LIBBPF_OPTS(bpf_tc_opts, query, .handle = handle, .priority = PREFERENCE);
	LIBBPF_OPTS(bpf_tc_opts, which, .handle = handle, .priority = PREFERENCE);

	if (bpf_tc_query(&hook, &query) || !is_ours(query.prog_id))
		return false;
	return bpf_tc_detach(&hook, &which) == 0;
}

/*
 * The lowest free handle becomes ours; what dead owners left at any handle is removed.
 * Return: false when all are taken.
 */
static bool take_handle(struct vns_ebpf_hooks *h)
{
	for (uint32_t i = 1; i <= MAX_HANDLES; i++) {
		int fd = hold_handle(h->ifindex, i);

		if (fd < 0)
			continue;
		for (int side = 0; side < 2; side++)
			remove_filter(h->ifindex, side, i);
		if (h->owner < 0) {
			h->owner = fd;
			h->handle = i;
		} else {
			close(fd);
		}
	}
	return h->owner >= 0;
}

struct qdisc_request {
	struct nlmsghdr n;
	struct tcmsg t;
};

/* Kind of one qdisc message when it stands at the ingress hook of @ifindex. */
static void read_kind(const struct nlmsghdr *n, int ifindex, char kind[16])
{
	const struct tcmsg *t = NLMSG_DATA(n);
	int left = (int)(n->nlmsg_len - NLMSG_LENGTH(sizeof(*t)));

	if (n->nlmsg_type != RTM_NEWQDISC || left < 0 || t->tcm_ifindex != ifindex ||
	    t->tcm_parent != TC_H_INGRESS)
		return;
	for (const struct rtattr *a = (const void *)((const char *)t + NLMSG_ALIGN(sizeof(*t)));
	     RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == TCA_KIND)
			snprintf(kind, 16, "%s", (const char *)RTA_DATA(a));
}

/* Kind of the qdisc at the ingress hook of @ifindex: "clsact", "ingress", or "". */
static void ingress_kind(int ifindex, char kind[16])
{
	struct qdisc_request q = {
		.n = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETQDISC,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex },
	};
	char buf[32768] __attribute__((aligned(8)));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool done = fd < 0 || send(fd, &q, sizeof(q), 0) != sizeof(q);

	kind[0] = '\0';
	while (!done) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);
		size_t left = got > 0 ? (size_t)got : 0;

		done = got <= 0;
		for (const struct nlmsghdr *n = (const void *)buf; NLMSG_OK(n, left);
		     n = NLMSG_NEXT(n, left)) {
			done |= n->nlmsg_type == NLMSG_DONE || n->nlmsg_type == NLMSG_ERROR;
			if (!done)
				read_kind(n, ifindex, kind);
		}
	}
	if (fd >= 0)
		close(fd);
}

static int attach_tc(struct vns_ebpf_hooks *h, const struct vns_ebpf_object *o, const char *ifname,
		     bool ingress_only, struct vns_err *err)
{
	LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = h->ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	char kind[16];
	int rc;

	ingress_kind(h->ifindex, kind);
	if (strcmp(kind, "ingress") == 0 && !ingress_only)
		return vns_err_set(err, -EBUSY, "%s has an ingress qdisc of somebody else, and beside "
				   "it what %s sends cannot be captured by tc filters: use --capture "
				   "afpacket", ifname, ifname);
	if (!kind[0]) {
		rc = bpf_tc_hook_create(&both);
		if (rc && rc != -EEXIST)
			return vns_err_set(err, rc, "cannot add a clsact qdisc to %s: %s", ifname,
					   strerror(-rc));
		h->qdisc_made = rc == 0;
	}
	if (!take_handle(h))
		return vns_err_set(err, -EBUSY, "%d captures hang on %s already", MAX_HANDLES, ifname);
	for (int side = 0; side < (ingress_only ? 1 : 2); side++) {
		LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = h->ifindex,
			    .attach_point = point_of[side]);
		LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = vns_ebpf_entry(o, side),
			    .handle = h->handle, .priority = PREFERENCE);

		rc = bpf_tc_attach(&hook, &opts);
		if (rc)
			return vns_err_set(err, rc, "cannot add a tc filter to %s: %s", ifname,
					   vns_ebpf_said()[0] ? vns_ebpf_said() : strerror(-rc));
		h->hung[side] = true;
	}
	return 0;
}

/* Return: 0, 1 when this kernel has no TCX, or -errno. */
static int attach_tcx(struct vns_ebpf_hooks *h, const struct vns_ebpf_object *o,
		      const char *ifname, bool ingress_only, struct vns_err *err)
{
	for (int side = 0; side < (ingress_only ? 1 : 2); side++) {
		h->link[side] = vns_tcx_link(vns_ebpf_entry(o, side), h->ifindex, side);
		if (h->link[side] >= 0)
			continue;
		if (side == 0 && (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
			return 1;
		return vns_err_set(err, -errno, "cannot hang a capture program on %s: %s", ifname,
				   strerror(errno));
	}
	return 0;
}

int vns_ebpf_attach(struct vns_ebpf_hooks *h, const struct vns_ebpf_object *o, const char *ifname,
		    int ifindex, int netns_fd, bool ingress_only, enum vns_ebpf_how how,
		    struct vns_err *err)
{
	int rc = 1;

	*h = (struct vns_ebpf_hooks){ .link = { -1, -1 }, .ifindex = ifindex, .owner = -1,
				      .netns_fd = -1, .how = VNS_EBPF_TCX };
	if (how != VNS_EBPF_TC)
		rc = attach_tcx(h, o, ifname, ingress_only, err);
	if (rc > 0 && how == VNS_EBPF_TCX)
		return vns_err_set(err, -EOPNOTSUPP, "this kernel has no TCX (Linux 6.6)");
	if (rc > 0) {
		h->how = VNS_EBPF_TC;
		if (netns_fd > 0)
			h->netns_fd = fcntl(netns_fd, F_DUPFD_CLOEXEC, 3);
		rc = attach_tc(h, o, ifname, ingress_only, err);
	}
	if (!rc)
		rc = vns_ebpf_begin(o, err);
	if (rc)
		vns_ebpf_detach(h);
	return rc;
}

/* Does one side of the interface's clsact qdisc have a filter, whoever's? */
static bool has_filters(int ifindex, uint32_t parent)
{
	struct qdisc_request q = {
		.n = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETTFILTER,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex, .tcm_parent = parent },
	};
	char buf[8192] __attribute__((aligned(8)));
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	const struct nlmsghdr *n = (const void *)buf;
	bool any = true; /* when it cannot be known: leave the qdisc */

	if (fd >= 0 && send(fd, &q, sizeof(q), 0) == sizeof(q) &&
	    recv(fd, buf, sizeof(buf), 0) >= (ssize_t)sizeof(*n))
		any = n->nlmsg_type == RTM_NEWTFILTER;
	if (fd >= 0)
		close(fd);
	return any;
}

static void detach_tc(struct vns_ebpf_hooks *h)
{
	LIBBPF_OPTS(bpf_tc_hook, both, .ifindex = h->ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	for (int side = 0; side < 2; side++)
		if (h->hung[side])
			remove_filter(h->ifindex, side, h->handle);
	if (h->qdisc_made && !has_filters(h->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) &&
	    !has_filters(h->ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)))
		bpf_tc_hook_destroy(&both);
}

void vns_ebpf_detach(struct vns_ebpf_hooks *h)
{
	for (int side = 0; side < 2; side++)
		if (h->link[side] >= 0)
			close(h->link[side]);
	if (h->how == VNS_EBPF_TC) {
		int token = vns_netns_enter(h->netns_fd, NULL);

		if (!vns_netns_failed(token)) {
			detach_tc(h);
			vns_netns_leave(token, NULL);
		}
	}
	if (h->owner >= 0)
		close(h->owner);
	if (h->netns_fd >= 0)
		close(h->netns_fd);
	*h = (struct vns_ebpf_hooks){ .link = { -1, -1 }, .owner = -1, .netns_fd = -1 };
}
