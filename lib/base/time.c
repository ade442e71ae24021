// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clocks. Packet time stamps are CLOCK_REALTIME (what the kernel puts on frames);
 * CLOCK_MONOTONIC serves time-outs only.
 */
#include <errno.h>
#include <time.h>

#include <vnetscope/base.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
}

int64_t vns_now_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t vns_monotonic_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

void vns_sleep_ns(int64_t ns)
{
	struct timespec ts = {
		.tv_sec = ns / VNS_NSEC_PER_SEC,
		.tv_nsec = ns % VNS_NSEC_PER_SEC,
	};

	if (ns <= 0)
		return;
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
		;
}
