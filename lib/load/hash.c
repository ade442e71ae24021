// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * CPU load: MD5 of a random file in a loop (ops counts whole files), at a share of one CPU.
 *
 * The file lies in memory (memfd), so that no disk enters. Below 100 % the load works for that
 * share of each period, by its own CPU time, and sleeps for the rest: 20 ms is
 * short against what a scheduler averages over and long against one chunk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "load/load.h"

#define DEFAULT_SIZE (1u << 20)
#define MAX_SIZE     (256u << 20)
#define CHUNK        (16u << 10)
#define PERIOD_NS    (20 * VNS_NSEC_PER_MSEC)

/* A file of @size random bytes in memory. Return: descriptor or -errno. */
static int random_file(size_t size, unsigned int seed)
{
	int fd = memfd_create("vnetscope-md5", MFD_CLOEXEC);
	uint8_t buf[4096];
	size_t n;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < size; at += n) {
		n = size - at < sizeof(buf) ? size - at : sizeof(buf);
		vns_probe_fill(buf, n, (uint64_t)vns_now_ns() ^ at << 20 ^ seed);
		if (write(fd, buf, n) != (ssize_t)n) {
			int e = errno ? errno : ENOSPC;

			close(fd);
			return -e;
		}
	}
	return fd;
}

static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
}

struct duty {
	int64_t work_ns, cpu_start_ns, period_start_ns;
};

/* After each chunk: when this period's share is used up, sleep until the next begins. */
static void duty_rest(struct duty *d)
{
	int64_t now, end;

	if (!d->work_ns || cpu_ns() - d->cpu_start_ns < d->work_ns)
		return;
	now = vns_monotonic_ns();
	end = d->period_start_ns + PERIOD_NS;
	if (now < end)
		vns_sleep_ns(end - now);
	d->period_start_ns = now < end ? end : now;
	d->cpu_start_ns = cpu_ns();
}

int vns_load_md5(const struct vns_probe_run *run, struct vns_err *err)
{
	const struct vns_load_spec *s = run->spec;
	size_t size = s->size ? s->size : DEFAULT_SIZE, at = 0;
	struct duty duty = { .cpu_start_ns = cpu_ns(), .period_start_ns = vns_monotonic_ns() };
	uint8_t chunk[CHUNK], digest[16];
	struct vns_md5 m;
	ssize_t n;
	int fd;

	if (size > MAX_SIZE)
		return vns_err_set(err, -EINVAL, "the file has at most %u bytes", MAX_SIZE);
	if (s->percent && s->percent < 100)
		duty.work_ns = PERIOD_NS * s->percent / 100;
	fd = random_file(size, run->index);
	if (fd < 0)
		return vns_err_set(err, fd, "no file in memory: %s", strerror(-fd));
	vns_md5_init(&m);
	while (!vns_probe_over(run)) {
		n = pread(fd, chunk, sizeof(chunk), (off_t)at);
		if (n <= 0) {
			vns_md5_end(&m, digest);
			vns_md5_init(&m);
			run->live->ops++;
			at = 0;
			continue;
		}
		vns_md5_add(&m, chunk, (size_t)n);
		at += (size_t)n;
		run->live->bytes_rx += (uint64_t)n;
		duty_rest(&duty);
	}
	close(fd);
	return 0;
}
