// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where a guest that is reached over the network passes on this very host: its tap, the
 * bridge above it and the bridge's way out.
 *
 * in: the MAC addresses that the guest's agent reports, or the guest's namespace;
 * out: t->point.
 *
 * Asked of rtnetlink(7), which answers for the caller's network namespace (sysfs shows
 * the namespace it was mounted in). A bridge's forwarding table (AF_BRIDGE neighbours)
 * names the port behind which it has heard the address; without a bridge the neighbour
 * table names the tap. The way out is a port of the bridge that is no virtual pair, tap
 * or bridge itself; a bridge without such a port (libvirt's default network) is routed, so it is the
 * interface of the default route then, where NAT may have changed the addresses (vo learns them).
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "target/internal.h"

#define MAX_INTERFACES       256
#define REPLY_TIMEOUT_S 2

struct link {
	int index, master;
	int peer; /* the other end of a veth pair, by its index there; 0: none */
	char name[16];
	char kind[16]; /* "tun", "bridge", "veth", ... ; "" for hardware */
	bool up;
};

struct search {
	const struct vns_agent_info *info;
	const char *guest_ifname;
	struct link link[MAX_INTERFACES];
	size_t n_link;
	int port;      /* interface behind which the guest was heard; 0: none */
	int way_out;   /* interface of the best default route so far; 0: none */
	uint32_t way_out_metric;
	bool bridged;
};

typedef void (*on_message)(struct search *s, const struct nlmsghdr *h);

static struct rtattr *find_attr(struct rtattr *a, int len, int type)
{
	for (; RTA_OK(a, len); a = RTA_NEXT(a, len))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

/* One dump request; every reply message goes to @take. */
static int dump(struct search *s, uint16_t type, uint8_t family, on_message take)
{
	struct {
		struct nlmsghdr h;
		union {
			struct ifinfomsg link;
			struct ndmsg neigh;
			struct rtmsg route;
		} body;
	} req = { .h = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	struct timeval limit = { .tv_sec = REPLY_TIMEOUT_S };
	_Alignas(struct nlmsghdr) char buf[32768];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool done = false;

	if (fd < 0)
		return -errno;
	req.body.link.ifi_family = family;
	req.h.nlmsg_len = NLMSG_LENGTH(type == RTM_GETLINK  ? sizeof(req.body.link) :
				       type == RTM_GETROUTE ? sizeof(req.body.route) :
							      sizeof(req.body.neigh));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &req, req.h.nlmsg_len, 0) < 0)
		done = true;
	while (!done) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		ssize_t left = n;

		if (n <= 0)
			break;
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				done = true;
			else
				take(s, h);
		}
	}
	close(fd);
	return 0;
}

static void take_link(struct search *s, const struct nlmsghdr *h)
{
	struct ifinfomsg *i = NLMSG_DATA(h);
	int len = (int)IFLA_PAYLOAD(h);
	struct rtattr *name = find_attr(IFLA_RTA(i), len, IFLA_IFNAME);
	struct rtattr *master = find_attr(IFLA_RTA(i), len, IFLA_MASTER);
	struct rtattr *peer = find_attr(IFLA_RTA(i), len, IFLA_LINK);
	struct rtattr *info = find_attr(IFLA_RTA(i), len, IFLA_LINKINFO), *kind = NULL;
	struct link *l = &s->link[s->n_link];

	if (s->n_link == MAX_INTERFACES || !name)
		return;
	if (info)
		kind = find_attr(RTA_DATA(info), (int)RTA_PAYLOAD(info), IFLA_INFO_KIND);
	*l = (struct link){ .index = i->ifi_index, .up = i->ifi_flags & IFF_UP };
	if (peer)
		memcpy(&l->peer, RTA_DATA(peer), sizeof(l->peer));
	if (master)
		memcpy(&l->master, RTA_DATA(master), sizeof(l->master));
	snprintf(l->name, sizeof(l->name), "%s", (const char *)RTA_DATA(name));
	snprintf(l->kind, sizeof(l->kind), "%s", kind ? (const char *)RTA_DATA(kind) : "");
	s->n_link++;
}

static const struct link *link_of(const struct search *s, int index)
{
	for (size_t k = 0; index > 0 && k < s->n_link; k++)
		if (s->link[k].index == index)
			return &s->link[k];
	return NULL;
}

/* The agent's chosen interface only: another one of the guest may hang on another bridge. */
static bool is_guest_mac(const struct search *s, const void *mac)
{
	for (size_t k = 0; k < s->info->n_iface; k++)
		if (strcmp(s->info->iface[k].name, s->guest_ifname) == 0)
			return memcmp(s->info->iface[k].mac, mac, 6) == 0;
	return false;
}

static void take_neighbour(struct search *s, const struct nlmsghdr *h)
{
	struct ndmsg *n = NLMSG_DATA(h);
	int len = (int)NLMSG_PAYLOAD(h, sizeof(*n));
	struct rtattr *mac = find_attr((struct rtattr *)((char *)n + NLMSG_ALIGN(sizeof(*n))), len,
				       NDA_LLADDR);
	const struct link *l = link_of(s, n->ndm_ifindex);

	if (s->port || !l || !mac || RTA_PAYLOAD(mac) != 6 || !is_guest_mac(s, RTA_DATA(mac)))
		return;
	if (n->ndm_family == AF_BRIDGE) {
		/* NUD_PERMANENT is the port's own address, not one heard behind it. */
		if (!l->master || (n->ndm_state & NUD_PERMANENT))
			return;
		s->bridged = true;
	} else if (strcmp(l->kind, "tun") != 0) {
		return;
	}
	s->port = n->ndm_ifindex;
}

static void take_route(struct search *s, const struct nlmsghdr *h)
{
	struct rtmsg *r = NLMSG_DATA(h);
	int len = (int)RTM_PAYLOAD(h);
	struct rtattr *out = find_attr(RTM_RTA(r), len, RTA_OIF);
	struct rtattr *metric = find_attr(RTM_RTA(r), len, RTA_PRIORITY);
	uint32_t m = 0;

	if (h->nlmsg_type != RTM_NEWROUTE || r->rtm_dst_len || r->rtm_type != RTN_UNICAST ||
	    r->rtm_table != RT_TABLE_MAIN || !out)
		return;
	if (metric)
		memcpy(&m, RTA_DATA(metric), sizeof(m));
	if (s->way_out && m >= s->way_out_metric)
		return;
	memcpy(&s->way_out, RTA_DATA(out), sizeof(s->way_out));
	s->way_out_metric = m;
}

/* Where what a bridge's guests send to others leaves this host, if not by a port of the bridge. */
static const struct link *routed_way_out(const struct search *s, int bridge)
{
	struct search routes = { 0 };
	const struct link *l;

	if (dump(&routes, RTM_GETROUTE, AF_INET, take_route) == 0 && !routes.way_out)
		dump(&routes, RTM_GETROUTE, AF_INET6, take_route);
	l = link_of(s, routes.way_out);
	return l && l->up && l->index != bridge && l->master != bridge ? l : NULL;
}

static void add_point(struct vns_target *t, enum vns_point_kind kind, const struct link *l)
{
	struct vns_host_point *p = &t->point[t->n_point];

	if (!l || t->n_point == VNS_TARGET_MAX_POINTS)
		return;
	p->kind = kind;
	snprintf(p->ifname, sizeof(p->ifname), "%s", l->name);
	t->n_point++;
}

static const struct link *uplink_of(const struct search *s, int bridge, int port)
{
	static const char *const inner[] = { "tun", "veth", "bridge", "dummy" };

	for (size_t k = 0; k < s->n_link; k++) {
		const struct link *l = &s->link[k];
		bool outward = l->master == bridge && l->index != port && l->up;

		for (size_t i = 0; outward && i < sizeof(inner) / sizeof(inner[0]); i++)
			outward = strcmp(l->kind, inner[i]) != 0;
		if (outward)
			return l;
	}
	return NULL;
}

static void add_path(struct vns_target *t, const struct search *s, const struct link *port)
{
	if (s->bridged) {
		const struct link *uplink = uplink_of(s, port->master, port->index);

		add_point(t, VNS_AT_UPLINK, uplink ? uplink : routed_way_out(s, port->master));
		add_point(t, VNS_AT_BRIDGE, link_of(s, port->master));
	}
	add_point(t, VNS_AT_TAP, port);
}

static const struct link *link_named(const struct search *s, const char *name)
{
	for (size_t k = 0; *name && k < s->n_link; k++)
		if (strcmp(s->link[k].name, name) == 0)
			return &s->link[k];
	return NULL;
}

/*
 * Neither a bridge nor a neighbour entry knows the guest (Open vSwitch keeps its own tables, a macvtap
 * needs none): QEMU itself tells what its card is plugged into.
 */
static void add_backing(struct vns_target *t, const struct search *s)
{
	const struct vns_agent_iface *card = NULL;
	struct vns_backing b;

	for (size_t k = 0; k < s->info->n_iface; k++)
		if (strcmp(s->info->iface[k].name, s->guest_ifname) == 0)
			card = &s->info->iface[k];
	if (!card || vns_backing_find("", card->mac, &b))
		return;
	if (b.kind == VNS_BACKED_MACVTAP)
		add_point(t, VNS_AT_UPLINK, link_named(s, b.lower));
	add_point(t, VNS_AT_TAP, link_named(s, b.ifname));
	if (!t->n_point)
		snprintf(t->unseen, sizeof(t->unseen), "%s", b.text);
}

void vns_target_find_points(struct vns_target *t)
{
	struct search s = { .info = vns_agent_info(t->agent), .guest_ifname = t->guest_ifname };
	const struct link *port;

	if (dump(&s, RTM_GETLINK, AF_UNSPEC, take_link))
		return;
	dump(&s, RTM_GETNEIGH, AF_BRIDGE, take_neighbour);
	if (!s.port)
		dump(&s, RTM_GETNEIGH, AF_UNSPEC, take_neighbour);
	port = link_of(&s, s.port);
	if (port)
		add_path(t, &s, port);
	else
		add_backing(t, &s);
}

static int dump_links_in(struct search *s, int netns_fd)
{
	int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), rc;

	if (own < 0 || setns(netns_fd, CLONE_NEWNET)) {
		rc = -errno;
		if (own >= 0)
			close(own);
		return rc;
	}
	rc = dump(s, RTM_GETLINK, AF_UNSPEC, take_link);
	if (setns(own, CLONE_NEWNET))
		abort(); /* every later socket would be opened in the wrong namespace */
	close(own);
	return rc;
}

void vns_target_find_peer_points(struct vns_target *t, int netns_fd)
{
	struct search there = { 0 }, here = { 0 };
	const struct link *guest = NULL, *port, *master;

	if (dump_links_in(&there, netns_fd) || dump(&here, RTM_GETLINK, AF_UNSPEC, take_link))
		return;
	for (size_t k = 0; k < there.n_link; k++)
		if (strcmp(there.link[k].name, t->guest_ifname) == 0)
			guest = &there.link[k];
	port = guest ? link_of(&here, guest->peer) : NULL;
	/* An index says nothing about the namespace it counts in: both ends must agree. */
	if (!port || strcmp(port->kind, "veth") != 0 || port->peer != guest->index)
		return;
	master = link_of(&here, port->master);
	here.bridged = master && strcmp(master->kind, "bridge") == 0;
	add_path(t, &here, port);
}
