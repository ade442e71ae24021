// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The lab's network: struct vns_lab -> one `ip -batch` script per namespace.
 *
 * The host namespace holds the bridge br0 (no spanning tree: ports forward at once), the uplink
 * up0 whose other end is the client's eth0, and one tap (or veth) per guest. Neighbour entries
 * are permanent, so no 1 s ARP retry falls into a measurement or into a guest's boot.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab/internal.h"

static bool have_ip6(void)
{
	return access("/proc/sys/net/ipv6", F_OK) == 0;
}

/* Run @script by `ip -batch` in the namespace of @pid (0: here). */
static int run_ip(const char *script, pid_t pid, struct vns_err *err)
{
	char ip[VNS_LAB_PATH_LEN];
	char *argv[] = { ip, (char[]){ "-batch" }, (char[]){ "-" }, NULL };
	struct lab_run r = { .input = script, .netns_of = pid, .timeout_ms = 20000 };

	if (lab_find_program("ip", ip, sizeof(ip)))
		return vns_err_set(err, -ENOENT,
				   "the program ip is missing (Debian package iproute2)");
	return lab_run(argv, &r, err);
}

static int end_script(FILE *f, char **text, pid_t pid, struct vns_err *err)
{
	int rc;

	if (fclose(f) || !*text)
		rc = vns_err_set(err, -ENOMEM, "no memory for a network script");
	else
		rc = run_ip(*text, pid, err);
	free(*text);
	return rc;
}

int lab_net_host(const struct vns_lab *lab, struct vns_err *err)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	fputs("link set lo up\n"
	      "link add " VNS_LAB_BRIDGE " address " LAB_HOST_MAC
	      " type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n", f);
	fprintf(f, "addr add " LAB_NET4 "%d/24 dev " VNS_LAB_BRIDGE "\n", LAB_HOST_NUMBER);
	if (have_ip6())
		fprintf(f, "addr add " LAB_NET6 "%d/64 dev " VNS_LAB_BRIDGE " nodad\n",
			LAB_HOST_NUMBER);
	fputs("link set " VNS_LAB_BRIDGE " up\n", f);
	for (unsigned int i = 0; i < lab->n_guest && lab->backend == VNS_LAB_QEMU; i++)
		fprintf(f, "tuntap add dev %s mode tap vnet_hdr%s\n"
			"link set %s master " VNS_LAB_BRIDGE " up\n", lab->guest[i].tap,
			lab->queues > 1 ? " multi_queue" : "", lab->guest[i].tap);
	return end_script(f, &text, 0, err);
}

static void put_neighbour(FILE *f, const char *ip, const char *ip6, const char *mac,
			  const char *dev)
{
	fprintf(f, "neigh replace %s lladdr %s dev %s nud permanent\n", ip, mac, dev);
	if (have_ip6())
		fprintf(f, "neigh replace %s lladdr %s dev %s nud permanent\n", ip6, mac, dev);
}

/* Everybody but @self, as seen through @dev. */
static void put_neighbours(FILE *f, const struct vns_lab *lab, const struct vns_lab_node *self,
			   const char *dev)
{
	char ip[32], ip6[32];

	for (unsigned int i = 0; i < lab->n_guest; i++)
		if (&lab->guest[i] != self)
			put_neighbour(f, lab->guest[i].ip, lab->guest[i].ip6, lab->guest[i].mac,
				      dev);
	if (&lab->client != self)
		put_neighbour(f, lab->client.ip, lab->client.ip6, lab->client.mac, dev);
	snprintf(ip, sizeof(ip), LAB_NET4 "%d", LAB_HOST_NUMBER);
	snprintf(ip6, sizeof(ip6), LAB_NET6 "%d", LAB_HOST_NUMBER);
	if (self)
		put_neighbour(f, ip, ip6, LAB_HOST_MAC, dev);
}

int lab_net_neighbours(const struct vns_lab *lab, struct vns_err *err)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	put_neighbours(f, lab, NULL, VNS_LAB_BRIDGE);
	return end_script(f, &text, 0, err);
}

/* Legacy ethtool requests: present for veth since ever and need no netlink. */
static void set_feature(int s, const char *dev, __u32 cmd)
{
	struct ethtool_value v = { .cmd = cmd, .data = 0 };
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	ifr.ifr_data = (char *)&v;
	ioctl(s, SIOCETHTOOL, &ifr); /* a card without it has nothing to take away */
}

static void take_offloads(const char *dev, unsigned int bits)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return;
	if (bits & LAB_NO_TSO) {
		set_feature(s, dev, ETHTOOL_STSO);
		set_feature(s, dev, ETHTOOL_SGSO);
	}
	if (bits & LAB_NO_CSUM) {
		set_feature(s, dev, ETHTOOL_STXCSUM);
		set_feature(s, dev, ETHTOOL_SRXCSUM);
	}
	if (bits & LAB_NO_GRO)
		set_feature(s, dev, ETHTOOL_SGRO);
	close(s);
}

/* The node's own end of the veth pair, configured from within its namespace. */
static int plug_inside(const struct vns_lab *lab, const struct vns_lab_node *node,
		       struct vns_err *err)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return -ENOMEM;
	fprintf(f, "link set lo up\naddr add %s/24 dev " VNS_LAB_GUEST_IF "\n", node->ip);
	if (have_ip6())
		fprintf(f, "addr add %s/64 dev " VNS_LAB_GUEST_IF " nodad\n", node->ip6);
	fputs("link set " VNS_LAB_GUEST_IF " up\n", f);
	fprintf(f, "route add default via " LAB_NET4 "%d\n", LAB_HOST_NUMBER);
	put_neighbours(f, lab, node, VNS_LAB_GUEST_IF);
	return end_script(f, &text, node->proc.pid, err);
}

/* ethtool requests reach the cards of the namespace that the socket was opened in. */
static void take_offloads_inside(pid_t pid, unsigned int bits)
{
	int here = vns_lab_open_ns(getpid(), "net"), there = vns_lab_open_ns(pid, "net");

	if (here >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
		take_offloads(VNS_LAB_GUEST_IF, bits);
		if (setns(here, CLONE_NEWNET))
			_exit(1); /* lost in the wrong namespace: nothing sound can follow */
	}
	if (here >= 0)
		close(here);
	if (there >= 0)
		close(there);
}

int lab_net_plug(const struct vns_lab *lab, const struct vns_lab_node *node,
		 unsigned int offload_bits, struct vns_err *err)
{
	char script[400];
	int rc;

	snprintf(script, sizeof(script),
		 "link add %s type veth peer name " VNS_LAB_GUEST_IF " address %s netns %d\n"
		 "link set %s master " VNS_LAB_BRIDGE " up\n",
		 node->tap, node->mac, (int)node->proc.pid, node->tap);
	rc = run_ip(script, 0, err);
	if (rc == 0)
		rc = plug_inside(lab, node, err);
	if (rc == 0 && offload_bits) {
		take_offloads(node->tap, offload_bits);
		take_offloads_inside(node->proc.pid, offload_bits);
	}
	return rc;
}
