// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clock devices of a guest: the page an ivshmem PCI device shares with the host, and the PTP
 * clock by which KVM shows the host's time.
 *
 * For PTP each reading of the host's clock is taken between two of our own
 * (PTP_SYS_OFFSET_EXTENDED, else PTP_SYS_OFFSET; linux/ptp_clock.h). PTP_SYS_OFFSET_PRECISE
 * would pair the two clocks at one instant, but nothing measured says how
 * exactly: a bound made from it would not be certain, so it is not used.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"
#include "wire/shm.h"

#define IVSHMEM_VENDOR 0x1af4 /* Red Hat; docs/specs/ivshmem-spec of QEMU */
#define IVSHMEM_DEVICE 0x1110

/* First line of a small file, without its newline. */
static bool read_line(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

static bool is_ivshmem(const char *device)
{
	char path[300], text[32];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", device);
	if (!read_line(path, text, sizeof(text)) || strtol(text, NULL, 16) != IVSHMEM_VENDOR)
		return false;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", device);
	return read_line(path, text, sizeof(text)) && strtol(text, NULL, 16) == IVSHMEM_DEVICE;
}

static void *map_device(const char *device)
{
	char path[300];
	void *page;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			fprintf(stderr, "vnetscope-agent: %s: %s\n", path, strerror(errno));
		close(fd);
	}
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", device);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	page = mmap(NULL, VNS_SHM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return page == MAP_FAILED ? NULL : page;
}

void *shm_find(void)
{
	DIR *d = opendir("/sys/bus/pci/devices");
	void *page = NULL;
	struct dirent *e;

	while (d && !page && (e = readdir(d)))
		if (is_ivshmem(e->d_name))
			page = map_device(e->d_name);
	if (d)
		closedir(d);
	return page;
}

int ptp_find(void)
{
	DIR *d = opendir("/sys/class/ptp");
	struct vns_ptp_reading r[2];
	char path[300], text[64];
	struct dirent *e;
	int fd = -1;

	while (d && fd < 0 && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/sys/class/ptp/%s/clock_name", e->d_name);
		if (!read_line(path, text, sizeof(text)) || strcmp(text, "KVM virtual PTP") != 0)
			continue;
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && ptp_read(fd, r, 2, NULL) < 2) {
			close(fd); /* there, but gives no time: emulated CPUs */
			fd = -1;
		}
	}
	if (d)
		closedir(d);
	return fd;
}

static int64_t ptp_ns(const struct ptp_clock_time *t)
{
	return t->sec * VNS_NSEC_PER_SEC + t->nsec;
}

static int read_extended(int fd, struct vns_ptp_reading *r, unsigned int n)
{
	struct ptp_sys_offset_extended x = { .n_samples = n };

	if (ioctl(fd, PTP_SYS_OFFSET_EXTENDED, &x) < 0)
		return -errno;
	for (unsigned int i = 0; i < n; i++)
		r[i] = (struct vns_ptp_reading){ ptp_ns(&x.ts[i][0]), ptp_ns(&x.ts[i][1]),
						 ptp_ns(&x.ts[i][2]) };
	return (int)n;
}

/* System and device times in turn: each device time lies between its neighbours. */
static int read_plain(int fd, struct vns_ptp_reading *r, unsigned int n)
{
	struct ptp_sys_offset x = { .n_samples = n };

	if (ioctl(fd, PTP_SYS_OFFSET, &x) < 0)
		return -errno;
	for (unsigned int i = 0; i < n; i++)
		r[i] = (struct vns_ptp_reading){ ptp_ns(&x.ts[2 * i]), ptp_ns(&x.ts[2 * i + 1]),
						 ptp_ns(&x.ts[2 * i + 2]) };
	return (int)n;
}

int ptp_read(int fd, struct vns_ptp_reading *r, size_t n, struct vns_err *err)
{
	int got = 0, k;

	while (got < (int)n) {
		unsigned int want = (unsigned int)n - (unsigned int)got;

		if (want > PTP_MAX_SAMPLES)
			want = PTP_MAX_SAMPLES;
		k = read_extended(fd, r + got, want);
		if (k < 0)
			k = read_plain(fd, r + got, want);
		if (k < 0)
			return vns_err_set(err, k, "the PTP clock of KVM gives no time: %s",
					   strerror(-k));
		got += k;
	}
	return got;
}
