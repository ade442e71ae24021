// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What happens to the interfaces that a run captures on: rtnetlink(7) messages -> words and sentences.
 *
 * A capture is bound to an interface's index: a new name changes nothing about it, and an interface
 * that is made anew under the old name (libvirt does that when a guest restarts, so does a
 * migration) is another one, on which the capture must be opened again. Messages of family
 * AF_BRIDGE tell of bridge ports, not of interfaces, and are passed over.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/netns.h"
#include "measure/vo_points.h"
#include "source/source.h"

typedef void (*teller)(void *ctx, size_t at, const char *kind, const char *text);

static int open_socket(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static struct rtattr *find_attr(struct rtattr *a, int len, int type)
{
	for (; a && RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

/* How many queues QEMU has open on the tap @ifindex; 0: it is none, or the kernel does not tell. */
static uint32_t tap_queues(int ifindex)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} req = { .h = { .nlmsg_len = sizeof(req), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST },
		  .i = { .ifi_index = ifindex } };
	struct timeval limit = { .tv_sec = 1 };
	_Alignas(struct nlmsghdr) char buf[16384];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct rtattr *info = NULL, *data = NULL, *n = NULL;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t len = -1;
	uint32_t queues = 0;

	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &req, sizeof(req), 0) > 0)
		len = recv(fd, buf, sizeof(buf), 0);
	if (len > 0 && NLMSG_OK(h, (size_t)len) && h->nlmsg_type == RTM_NEWLINK)
		info = find_attr(IFLA_RTA(NLMSG_DATA(h)), (int)IFLA_PAYLOAD(h), IFLA_LINKINFO);
	if (info)
		data = find_attr(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_DATA);
	if (data)
		n = find_attr(RTA_DATA(data), (int)RTA_PAYLOAD(data), IFLA_TUN_NUM_QUEUES);
	if (n && RTA_PAYLOAD(n) >= sizeof(queues))
		memcpy(&queues, RTA_DATA(n), sizeof(queues));
	close(fd);
	return queues;
}

int vns_vo_watch_open(struct vns_vo_points *p, struct vns_err *err)
{
	for (size_t i = 0; i < p->n; i++) {
		bool first = true;
		int token;

		for (size_t k = 0; k < i; k++)
			first = first && p->point[k].netns_ino != p->point[i].netns_ino;
		token = vns_netns_enter(p->point[i].netns_fd, NULL);
		if (vns_netns_failed(token))
			continue;
		p->point[i].ifindex = (int)if_nametoindex(p->point[i].ifname);
		p->point[i].watch_fd = first ? open_socket() : -1;
		p->point[i].queues = tap_queues(p->point[i].ifindex);
		if (vns_netns_leave(token, err))
			return -ENOTRECOVERABLE;
	}
	return 0;
}

static void removed(struct vns_vo_points *p, size_t at, teller tell, void *ctx)
{
	struct vns_vo_point *point = &p->point[at];

	tell(ctx, at, "removed", "The interface was removed: nothing more is captured there.");
	point->ifindex = 0;
	if (!point->down_ns)
		return; /* the capture says so itself, once it has given all it had */
	vns_err_set(&point->why, -ENODEV, "interface %s was removed while capturing on it", point->ifname);
	point->ended = true; /* it has said that the interface went down, and will not speak again */
	point->down_ns = 0;
}

static void renamed(struct vns_vo_points *p, size_t at, const char *name, teller tell, void *ctx)
{
	char text[96];

	snprintf(text, sizeof(text), "The interface is called %s now; the capture goes on.", name);
	tell(ctx, at, "renamed", text);
	snprintf(p->point[at].ifname, sizeof(p->point[at].ifname), "%.15s", name);
}

/* Another interface has the name of one that is gone. */
static void returned(struct vns_vo_points *p, size_t at, int ifindex, teller tell, void *ctx)
{
	struct vns_vo_point *point = &p->point[at];
	struct vns_source_stats st;

	if (point->source) {
		vns_source_stats(point->source, &st);
		point->lost_before += st.dropped + vns_source_left(point->source, INT64_MAX);
		vns_source_close(point->source);
		point->source = NULL;
	}
	point->down_ns = 0;
	point->ended = vns_vo_point_open(p, at, &point->why) != 0;
	point->ifindex = ifindex;
	if (point->ended)
		tell(ctx, at, "returned", point->why.text);
	else
		tell(ctx, at, "returned", "Another interface of that name is there: its packets are "
		     "captured from now on.");
}

static void take(struct vns_vo_points *p, ino_t ns, const struct nlmsghdr *h, teller tell, void *ctx)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	int len = (int)IFLA_PAYLOAD(h);
	const char *name = "";

	if (i->ifi_family == AF_BRIDGE || len < 0)
		return;
	for (struct rtattr *a = IFLA_RTA(i); RTA_OK(a, len); a = RTA_NEXT(a, len))
		if (a->rta_type == IFLA_IFNAME)
			name = RTA_DATA(a);
	for (size_t at = 0; at < p->n; at++) {
		struct vns_vo_point *point = &p->point[at];
		bool same = point->ifindex == i->ifi_index;

		if (point->netns_ino != ns)
			continue;
		if (same)
			point->said_up = h->nlmsg_type == RTM_NEWLINK && (i->ifi_flags & IFF_UP);
		if (h->nlmsg_type == RTM_DELLINK && same)
			removed(p, at, tell, ctx);
		else if (h->nlmsg_type == RTM_NEWLINK && same && *name && strcmp(name, point->ifname) != 0)
			renamed(p, at, name, tell, ctx);
		else if (h->nlmsg_type == RTM_NEWLINK && !point->ifindex && (i->ifi_flags & IFF_UP) &&
			 strcmp(name, point->ifname) == 0)
			returned(p, at, i->ifi_index, tell, ctx);
	}
}

void vns_vo_watch_read(struct vns_vo_points *p, teller tell, void *ctx)
{
	_Alignas(struct nlmsghdr) char buf[16384];

	for (size_t i = 0; i < p->n; i++) {
		ssize_t n;

		if (p->point[i].watch_fd < 0)
			continue;
		while ((n = recv(p->point[i].watch_fd, buf, sizeof(buf), 0)) > 0) {
			ssize_t left = n;

			for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left);
			     h = NLMSG_NEXT(h, left))
				if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK)
					take(p, p->point[i].netns_ino, h, tell, ctx);
		}
	}
}
