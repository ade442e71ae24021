// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the agent says of itself and its machine in the hello.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"
#include "wire/tsc.h"

static void read_text(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

static struct vns_agent_iface *iface_of(struct vns_agent_info *i, const char *name,
					unsigned int flags)
{
	struct vns_agent_iface *f;

	for (unsigned int k = 0; k < i->n_iface; k++)
		if (strcmp(i->iface[k].name, name) == 0)
			return &i->iface[k];
	if (i->n_iface == sizeof(i->iface) / sizeof(i->iface[0]))
		return NULL;
	f = &i->iface[i->n_iface++];
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->up = flags & IFF_UP;
	return f;
}

static void add_address(struct vns_agent_iface *f, const struct sockaddr *sa)
{
	const struct sockaddr_ll *ll = (const void *)sa;
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;
	struct vns_addr *to = &f->addr[f->n_addr];

	if (sa->sa_family == AF_PACKET && ll->sll_halen == sizeof(f->mac))
		memcpy(f->mac, ll->sll_addr, sizeof(f->mac));
	if (f->n_addr == sizeof(f->addr) / sizeof(f->addr[0]))
		return;
	if (sa->sa_family == AF_INET) {
		*to = vns_addr_from_v4((const uint8_t *)&in->sin_addr);
		f->n_addr++;
	} else if (sa->sa_family == AF_INET6) {
		memcpy(to->b, &in6->sin6_addr, sizeof(to->b));
		f->n_addr++;
	}
}

/* Two rounds: loopback last, so that it never takes the place of a real interface. */
static void read_ifaces(struct vns_agent_info *i)
{
	struct vns_agent_iface *f;
	struct ifaddrs *list, *p;

	if (getifaddrs(&list) < 0)
		return;
	for (unsigned int loopback = 0; loopback < 2; loopback++)
		for (p = list; p; p = p->ifa_next) {
			if (!!(p->ifa_flags & IFF_LOOPBACK) != loopback || !p->ifa_addr)
				continue;
			f = iface_of(i, p->ifa_name, p->ifa_flags);
			if (f)
				add_address(f, p->ifa_addr);
		}
	freeifaddrs(list);
}

static void read_capture(struct vns_agent_info *i)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		close(fd);
		i->caps |= VNS_CAP_CAPTURE;
	} else if (errno == EPERM || errno == EACCES) {
		snprintf(i->capture_why, sizeof(i->capture_why),
			 "the agent runs without CAP_NET_RAW (not as root)");
	} else {
		snprintf(i->capture_why, sizeof(i->capture_why), "no packet socket: %s",
			 strerror(errno));
	}
}

void info_read(struct vns_agent_info *i, const struct agent *a)
{
	long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);
	struct utsname u;

	*i = (struct vns_agent_info){ .protocol = VNS_AGENT_PROTOCOL,
				      .caps = VNS_CAP_LOAD | VNS_CAP_CLOCK_STATE |
					      VNS_CAP_SAME_CLOCK_POSSIBLE };
	snprintf(i->version, sizeof(i->version), "%s", VNS_VERSION);
	i->n_cpu = n_cpu > 0 && n_cpu < UINT16_MAX ? (uint16_t)n_cpu : 1;
	if (uname(&u) == 0) {
		snprintf(i->hostname, sizeof(i->hostname), "%.63s", u.nodename);
		snprintf(i->kernel, sizeof(i->kernel), "%.30s %.40s %.20s", u.sysname,
			 u.release, u.machine);
	}
	read_text("/proc/sys/kernel/random/boot_id", i->boot_id, sizeof(i->boot_id));
	read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource",
		  i->clocksource, sizeof(i->clocksource));
	read_capture(i);
	read_ifaces(i);
	if (a->shm)
		i->caps |= VNS_CAP_SHM;
	if (a->ptp_fd >= 0)
		i->caps |= VNS_CAP_PTP_KVM;
	if (vns_tsc_present())
		i->caps |= VNS_CAP_TSC;
	if (a->allow_exec)
		i->caps |= VNS_CAP_EXEC;
}
