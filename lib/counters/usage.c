// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * CPU time: "cpu user nice system idle iowait irq softirq steal guest guest_nice" in ticks,
 * proc(5). guest is part of user already, so it is not added; iowait counts as idle.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "counters/usage.h"

enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };

int vns_usage_parse(const char *line, long ticks_per_sec, struct vns_agent_usage *out)
{
	uint64_t v[FIELDS] = { 0 }, sum = 0, tick_ns;
	char *end;

	if (strncmp(line, "cpu ", 4) != 0 || ticks_per_sec <= 0)
		return -EINVAL;
	line += 4;
	for (int i = 0; i < FIELDS; i++) {
		v[i] = strtoull(line, &end, 10);
		if (end == line)
			return -EINVAL;
		line = end;
		sum += v[i];
	}
	tick_ns = (uint64_t)(VNS_NSEC_PER_SEC / ticks_per_sec);
	out->cpu_total_ns = sum * tick_ns;
	out->cpu_idle_ns = (v[IDLE] + v[IOWAIT]) * tick_ns;
	out->cpu_steal_ns = v[STEAL] * tick_ns;
	return 0;
}

int vns_usage_read(struct vns_agent_usage *out, struct vns_err *err)
{
	struct timespec ts;
	char buf[256];
	ssize_t n;
	int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return vns_err_set(err, -errno, "/proc/stat: %s", strerror(errno));
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return vns_err_set(err, -EIO, "/proc/stat cannot be read");
	buf[n] = '\0';
	if (vns_usage_parse(buf, sysconf(_SC_CLK_TCK), out) < 0)
		return vns_err_set(err, -EIO, "/proc/stat has no line of CPU times");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	out->agent_cpu_ns = (uint64_t)ts.tv_sec * VNS_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	out->at_ns = vns_now_ns();
	return 0;
}
