// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The page that an ivshmem PCI device shares with the host, for mode shm.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"
#include "wire/shm.h"

#define IVSHMEM_VENDOR 0x1af4 /* Red Hat; docs/specs/ivshmem-spec of QEMU */
#define IVSHMEM_DEVICE 0x1110

bool read_line(const char *path, char *buf, size_t size)
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
