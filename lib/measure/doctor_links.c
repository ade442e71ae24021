// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination: bridges and taps of this network namespace, who holds each tap, offloads.
 *
 * in: if_nameindex(3), sysfs links, ETHTOOL_G* (reading only), and the "iff:" line that a
 * tap's descriptor shows in /proc/PID/fdinfo/FD; out: d->link.
 */
#include <dirent.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure/doctor.h"

static bool link_has(const char *name, const char *file)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, file);
	return stat(path, &st) == 0;
}

/* Last part of what /sys/class/net/NAME/FILE points to; "" when there is none. */
static void link_target(const char *name, const char *file, char *to, size_t size)
{
	char path[96], target[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, file);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	snprintf(to, size, "%.15s", strrchr(target, '/') ? strrchr(target, '/') + 1 : target);
}

static int offload(int fd, const char *name, uint32_t command)
{
	struct ethtool_value v = { .cmd = command };
	struct ifreq r = { .ifr_data = (char *)&v };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return fd >= 0 && ioctl(fd, SIOCETHTOOL, &r) == 0 ? v.data != 0 : -1;
}

/* Name in the "iff:" line of one fdinfo file. */
static bool fdinfo_iff(const char *path, char name[16])
{
	char line[128];
	FILE *f = fopen(path, "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "iff: %15s", name) == 1;
	if (f)
		fclose(f);
	return found;
}

static void note_owner(struct vns_doctor *d, const char *name, const char *pid)
{
	char path[64];

	for (size_t k = 0; k < d->n_link; k++) {
		struct vns_doctor_link *l = &d->link[k];

		if (l->owner_pid || strcmp(l->name, name) != 0 || strcmp(l->kind, "tap") != 0)
			continue;
		l->owner_pid = atoi(pid);
		snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
		vns_doctor_read(path, l->owner, sizeof(l->owner));
	}
}

/* Process @pid's descriptors of /dev/net/tun; only processes of our own namespace count. */
static void scan_process(struct vns_doctor *d, const char *pid, const struct stat *our_net)
{
	char path[64], link[96], target[32], name[16];
	struct dirent *e;
	struct stat st;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/ns/net", pid);
	if (stat(path, &st) || st.st_ino != our_net->st_ino)
		return;
	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		snprintf(link, sizeof(link), "%s/%.16s", path, e->d_name);
		n = readlink(link, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strcmp(target, "/dev/net/tun") != 0)
			continue;
		snprintf(link, sizeof(link), "/proc/%.16s/fdinfo/%.16s", pid, e->d_name);
		if (fdinfo_iff(link, name))
			note_owner(d, name, pid);
	}
	if (dir)
		closedir(dir);
}

static void find_owners(struct vns_doctor *d)
{
	struct dirent *e;
	struct stat net;
	DIR *proc = stat("/proc/self/ns/net", &net) == 0 ? opendir("/proc") : NULL;

	while (proc && (e = readdir(proc)))
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			scan_process(d, e->d_name, &net);
	if (proc)
		closedir(proc);
}

static void add_link(struct vns_doctor *d, const char *name, const char *kind, int fd)
{
	struct vns_doctor_link *grown = realloc(d->link, (d->n_link + 1) * sizeof(*grown)), *l;

	if (!grown) {
		d->failed = true;
		return;
	}
	d->link = grown;
	l = &grown[d->n_link++];
	*l = (struct vns_doctor_link){ .owner_pid = 0 };
	snprintf(l->name, sizeof(l->name), "%s", name);
	snprintf(l->kind, sizeof(l->kind), "%s", kind);
	link_target(name, "master", l->bridge, sizeof(l->bridge));
	l->tso = offload(fd, name, ETHTOOL_GTSO);
	l->gso = offload(fd, name, ETHTOOL_GGSO);
	l->gro = offload(fd, name, ETHTOOL_GGRO);
	l->tx_checksum = offload(fd, name, ETHTOOL_GTXCSUM);
}

void vns_doctor_links(struct vns_doctor *d)
{
	struct if_nameindex *all = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (struct if_nameindex *i = all; i && i->if_index; i++) {
		if (link_has(i->if_name, "bridge"))
			add_link(d, i->if_name, "bridge", fd);
		else if (link_has(i->if_name, "tun_flags"))
			add_link(d, i->if_name, "tap", fd);
	}
	if (all)
		if_freenameindex(all);
	if (fd >= 0)
		close(fd);
	find_owners(d);
}
