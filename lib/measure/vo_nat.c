// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Does a host translate addresses? Its network namespace -> yes or no.
 *
 * Where it does, packets cross its outer interfaces under other addresses than the guest's, and a
 * capture there has to take them all in for the twin engine to learn the mapping from. So it is
 * asked for only where the kernel holds base chains of type "nat": nftables' (and those of iptables
 * over nftables) by nfnetlink's dump of chains, those of the older iptables by the table's name in
 * /proc/net/ip_tables_names. Translation elsewhere (a switch's, by tc or by BPF) is not seen so:
 * --nat on is for that.
 */
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/netns.h"
#include "measure/vo_points.h"

#define ANSWER_BYTES 32768
#define WAIT_S       1 /* the kernel answers at once */

/* Is a chain of this message, made of attributes up to @end, a base chain of type "nat"? */
static bool is_nat_chain(const char *at, const char *end)
{
	while (end - at >= (ptrdiff_t)NLA_HDRLEN) {
		struct nlattr a;

		memcpy(&a, at, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > end - at)
			return false;
		if ((a.nla_type & NLA_TYPE_MASK) == NFTA_CHAIN_TYPE)
			return a.nla_len >= NLA_HDRLEN + sizeof("nat") &&
			       memcmp(at + NLA_HDRLEN, "nat", sizeof("nat")) == 0;
		at += NLA_ALIGN(a.nla_len) < end - at ? NLA_ALIGN(a.nla_len) : end - at;
	}
	return false;
}

/* One datagram of the dump. Return: 1 a chain of type nat; 0 more to come; -1 that was all. */
static int read_chains(const char *buf, size_t n)
{
	const size_t head = NLMSG_LENGTH(sizeof(struct nfgenmsg));

	while (n >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		size_t step;

		memcpy(&h, buf, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > n || h.nlmsg_type == NLMSG_DONE ||
		    h.nlmsg_type == NLMSG_ERROR)
			return -1;
		if (h.nlmsg_len >= head && is_nat_chain(buf + head, buf + h.nlmsg_len))
			return 1;
		step = NLMSG_ALIGN(h.nlmsg_len) < n ? NLMSG_ALIGN(h.nlmsg_len) : n;
		buf += step;
		n -= step;
	}
	return 0;
}

static bool has_nat_chain(void)
{
	struct {
		struct nlmsghdr h;
		struct nfgenmsg g;
	} req = { .h = { .nlmsg_len = sizeof(req), .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			 .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN },
		  .g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 } };
	struct timeval limit = { .tv_sec = WAIT_S };
	char buf[ANSWER_BYTES];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER), said = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &req, sizeof(req), 0) > 0)
		while (said == 0 && (n = recv(fd, buf, sizeof(buf), 0)) > 0)
			said = read_chains(buf, (size_t)n);
	close(fd);
	return said == 1;
}

static bool has_nat_table(const char *path)
{
	FILE *f = fopen(path, "re");
	char name[64];
	bool found = false;

	while (f && !found && fgets(name, sizeof(name), f))
		found = strcmp(name, "nat\n") == 0;
	if (f)
		fclose(f);
	return found;
}

int vns_vo_host_nat(int netns_fd, bool *found, struct vns_err *err)
{
	int token = vns_netns_enter(netns_fd, NULL);

	*found = false;
	if (vns_netns_failed(token))
		return 0;
	*found = has_nat_chain() || has_nat_table("/proc/thread-self/net/ip_tables_names") ||
		 has_nat_table("/proc/thread-self/net/ip6_tables_names");
	return vns_netns_leave(token, err) ? -ENOTRECOVERABLE : 0;
}
