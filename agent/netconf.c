// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Network of a lab guest through rtnetlink(7): MAC, link up, addresses, default routes,
 * permanent neighbours. The guest has no ip program, and needs none.
 *
 * IPv6 addresses are added with IFA_F_NODAD: duplicate address detection (RFC 4862) would keep
 * them unusable for a second, and the lab gives every address out once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

#define IFACE_WAIT_MS 5000 /* the driver may still be looking at its device */

struct request {
	struct nlmsghdr h;
	union {
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct ndmsg neigh;
		struct ifinfomsg link;
	} u;
	uint8_t attrs[128];
};

static void add_attr(struct request *r, unsigned short type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)(void *)((uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(r->h.nlmsg_len) + RTA_LENGTH(len));
}

/* Send, wait for the acknowledgement. Return: 0 or -errno of the kernel. */
static int talk(int nl, struct request *r)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t more[512];
	} ack;

	r->h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(nl, r, r->h.nlmsg_len, 0) < 0)
		return -errno;
	if (recv(nl, &ack, sizeof(ack), 0) < (ssize_t)(sizeof(ack.h) + sizeof(ack.e.error)))
		return -EIO;
	return ack.h.nlmsg_type == NLMSG_ERROR ? ack.e.error : -EIO;
}

static struct request request_of(unsigned short type, unsigned short flags, size_t body)
{
	struct request r;

	memset(&r, 0, sizeof(r));
	r.h.nlmsg_type = type;
	r.h.nlmsg_flags = flags;
	r.h.nlmsg_len = (uint32_t)NLMSG_LENGTH(body);
	return r;
}

/* "a.b.c.d" or IPv6 to bytes. Return: 4, 16, or 0 when it is no address. */
static size_t parse_address(const char *text, uint8_t out[16])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static unsigned char family_of(size_t len)
{
	return len == 4 ? AF_INET : AF_INET6;
}

static int set_up(int nl, int ifindex, const uint8_t *mac)
{
	struct request r = request_of(RTM_NEWLINK, 0, sizeof(r.u.link));

	r.u.link.ifi_index = ifindex;
	r.u.link.ifi_flags = r.u.link.ifi_change = IFF_UP;
	if (mac)
		add_attr(&r, IFLA_ADDRESS, mac, 6);
	return talk(nl, &r);
}

/* @text: ADDRESS/PREFIX */
static int add_address(int nl, int ifindex, const char *text)
{
	struct request r = request_of(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
				      sizeof(r.u.addr));
	char address[64];
	const char *slash = strchr(text, '/');
	uint8_t ip[16], brd[4];
	uint32_t mask;
	size_t len;
	int prefix;

	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	len = parse_address(address, ip);
	prefix = slash ? atoi(slash + 1) : (int)len * 8;
	if (!len || prefix < 0 || prefix > (int)len * 8)
		return -EINVAL;
	r.u.addr.ifa_family = family_of(len);
	r.u.addr.ifa_prefixlen = (unsigned char)prefix;
	r.u.addr.ifa_flags = len == 16 ? IFA_F_NODAD : 0;
	r.u.addr.ifa_index = (unsigned int)ifindex;
	add_attr(&r, IFA_LOCAL, ip, len);
	add_attr(&r, IFA_ADDRESS, ip, len);
	if (len == 4 && prefix < 31) {
		mask = htonl(prefix ? ~0u << (32 - prefix) : 0);
		for (int i = 0; i < 4; i++)
			brd[i] = (uint8_t)(ip[i] | ~((uint8_t *)&mask)[i]);
		add_attr(&r, IFA_BROADCAST, brd, 4);
	}
	return talk(nl, &r);
}

static int add_default_route(int nl, const char *gw)
{
	struct request r = request_of(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
				      sizeof(r.u.route));
	uint8_t ip[16];
	size_t len = parse_address(gw, ip);

	if (!len)
		return -EINVAL;
	r.u.route.rtm_family = family_of(len);
	r.u.route.rtm_table = RT_TABLE_MAIN;
	r.u.route.rtm_protocol = RTPROT_BOOT;
	r.u.route.rtm_scope = RT_SCOPE_UNIVERSE;
	r.u.route.rtm_type = RTN_UNICAST;
	add_attr(&r, RTA_GATEWAY, ip, len);
	return talk(nl, &r);
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	unsigned int v[6];

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &v[0], &v[1], &v[2], &v[3], &v[4],
		   &v[5]) != 6)
		return false;
	for (int i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
	return true;
}

/* @text: ADDRESS/MAC. A permanent entry spares the first packet a second of ARP retries. */
static int add_neighbour(int nl, int ifindex, const char *text)
{
	struct request r = request_of(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
				      sizeof(r.u.neigh));
	const char *slash = strchr(text, '/');
	char address[64];
	uint8_t ip[16], mac[6];
	size_t len;

	snprintf(address, sizeof(address), "%.*s", (int)strcspn(text, "/"), text);
	len = parse_address(address, ip);
	if (!len || !slash || !parse_mac(slash + 1, mac))
		return -EINVAL;
	r.u.neigh.ndm_family = family_of(len);
	r.u.neigh.ndm_ifindex = ifindex;
	r.u.neigh.ndm_state = NUD_PERMANENT;
	add_attr(&r, NDA_DST, ip, len);
	add_attr(&r, NDA_LLADDR, mac, sizeof(mac));
	return talk(nl, &r);
}

static int wait_for_interface(const char *name)
{
	int i = 0, ifindex;

	while (!(ifindex = (int)if_nametoindex(name)) && i++ < IFACE_WAIT_MS / 10)
		vns_sleep_ns(10 * VNS_NSEC_PER_MSEC);
	return ifindex;
}

int netconf_apply(const struct netconf *n, void (*say)(const char *fmt, ...))
{
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), lo, dev, r;
	uint8_t mac[6];

	if (nl < 0) {
		say("no netlink: %s", strerror(errno));
		return -errno;
	}
	lo = (int)if_nametoindex("lo");
	if (lo && (r = set_up(nl, lo, NULL)) < 0)
		say("lo: %s", strerror(-r));
	dev = wait_for_interface(n->ifname);
	if (!dev) {
		say("there is no interface %s", n->ifname);
		close(nl);
		return -ENODEV;
	}
	r = set_up(nl, dev, n->mac[0] && parse_mac(n->mac, mac) ? mac : NULL);
	if (r < 0)
		say("%s up: %s", n->ifname, strerror(-r));
	for (int i = 0; i < 2; i++)
		if (n->ip[i][0] && (r = add_address(nl, dev, n->ip[i])) < 0)
			say("address %s: %s", n->ip[i], strerror(-r));
	for (int i = 0; i < 2; i++)
		if (n->gw[i][0] && (r = add_default_route(nl, n->gw[i])) < 0)
			say("route by %s: %s", n->gw[i], strerror(-r));
	for (unsigned int i = 0; i < n->n_neigh; i++)
		if ((r = add_neighbour(nl, dev, n->neigh[i])) < 0)
			say("neighbour %s: %s", n->neigh[i], strerror(-r));
	close(nl);
	return 0;
}
