// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The PTP clock by which KVM shows a guest the host's time, for mode ptp_kvm: /dev/ptpN whose clock_name
 * is "KVM virtual PTP" -> readings of the host's clock between two of our own.
 *
 * PTP_SYS_OFFSET_EXTENDED, else PTP_SYS_OFFSET (linux/ptp_clock.h): the driver as it is (drivers/ptp/
 * ptp_kvm_common.c) knows only the plain read of its clock, so the kernel refuses the former. PTP_SYS_OFFSET_PRECISE
 * would pair the two clocks at one instant, but nothing measured says how
 * exactly: a bound made from it would not be certain, so it is not used.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptp_clock.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent.h"

static int real_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	(void)ctx;
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

const struct ptp_ops ptp_kernel = { "/sys/class/ptp", "/dev", real_ioctl, NULL };

static int64_t ptp_ns(const struct ptp_clock_time *t)
{
	return t->sec * VNS_NSEC_PER_SEC + t->nsec;
}

static int read_extended(const struct ptp_ops *ops, int fd, struct vns_ptp_reading *r, unsigned int n)
{
	struct ptp_sys_offset_extended x = { .n_samples = n };
	int code = ops->ioctl(ops->ctx, fd, PTP_SYS_OFFSET_EXTENDED, &x);

	if (code)
		return code;
	for (unsigned int i = 0; i < n; i++)
		r[i] = (struct vns_ptp_reading){ ptp_ns(&x.ts[i][0]), ptp_ns(&x.ts[i][1]),
						 ptp_ns(&x.ts[i][2]) };
	return (int)n;
}

/* System and device times in turn: each device time lies between its neighbours. */
static int read_plain(const struct ptp_ops *ops, int fd, struct vns_ptp_reading *r, unsigned int n)
{
	struct ptp_sys_offset x = { .n_samples = n };
	int code = ops->ioctl(ops->ctx, fd, PTP_SYS_OFFSET, &x);

	if (code)
		return code;
	for (unsigned int i = 0; i < n; i++)
		r[i] = (struct vns_ptp_reading){ ptp_ns(&x.ts[2 * i]), ptp_ns(&x.ts[2 * i + 1]),
						 ptp_ns(&x.ts[2 * i + 2]) };
	return (int)n;
}

int ptp_read(const struct ptp_ops *ops, int fd, struct vns_ptp_reading *r, size_t n,
	     struct vns_err *err)
{
	int got = 0, k;

	while (got < (int)n) {
		unsigned int want = (unsigned int)n - (unsigned int)got;

		if (want > PTP_MAX_SAMPLES)
			want = PTP_MAX_SAMPLES;
		k = read_extended(ops, fd, r + got, want);
		if (k < 0)
			k = read_plain(ops, fd, r + got, want);
		if (k < 0)
			return vns_err_set(err, k, "the PTP clock of KVM gives no time: %s",
					   strerror(-k));
		got += k;
	}
	return got;
}

int ptp_find(const struct ptp_ops *ops)
{
	DIR *d = opendir(ops->sys);
	struct vns_ptp_reading r[2];
	char path[300], text[64];
	struct dirent *e;
	int fd = -1;

	while (d && fd < 0 && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%.200s/%.60s/clock_name", ops->sys, e->d_name);
		if (!read_line(path, text, sizeof(text)) || strcmp(text, "KVM virtual PTP") != 0)
			continue;
		snprintf(path, sizeof(path), "%.200s/%.60s", ops->dev, e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && ptp_read(ops, fd, r, 2, NULL) < 2) {
			close(fd); /* there, but gives no time: emulated CPUs */
			fd = -1;
		}
	}
	if (d)
		closedir(d);
	return fd;
}
