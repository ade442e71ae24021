// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A virtio port by its name: /dev/virtio-ports/NAME where udev makes it, else by the name
 * that sysfs shows for /dev/vportNpM.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

static bool has_name(const char *device, const char *name)
{
	char path[300], text[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, name) == 0;
}

int port_open(const char *name)
{
	char path[300];
	struct dirent *e;
	int fd, err = ENOENT;
	DIR *d;

	snprintf(path, sizeof(path), "/dev/virtio-ports/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT)
		return -errno;
	d = opendir("/sys/class/virtio-ports");
	while (d && fd < 0 && (e = readdir(d))) {
		if (!has_name(e->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", e->d_name);
		fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		err = errno;
	}
	if (d)
		closedir(d);
	return fd >= 0 ? fd : -err;
}
