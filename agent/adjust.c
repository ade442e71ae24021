// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A known error for this machine's clock: "step=NS" or "ppm=X" -> clock_adjtime(2).
 *
 * ADJ_SETOFFSET moves the clock by exactly so much, whatever time the call itself takes;
 * ADJ_FREQUENCY is in ppm with 16 fractional bits and holds from the next second on. vnetscope's
 * self-test uses it in its own lab guests.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "agent.h"

#define MAX_STEP_NS INT64_C(86400000000000)
#define MAX_PPM     500.0

static int set(struct timex *t)
{
	if (clock_adjtime(CLOCK_REALTIME, t) >= 0)
		return VNS_EXIT_OK;
	fprintf(stderr, "vnetscope-agent: the clock cannot be adjusted: %s\n", strerror(errno));
	return VNS_EXIT_SETUP;
}

int adjust_clock(const char *what)
{
	struct timex t = { .modes = 0 };
	char *end = NULL;

	if (strncmp(what, "step=", 5) == 0) {
		int64_t ns = strtoll(what + 5, &end, 10), sec;

		if (end == what + 5 || *end || ns > MAX_STEP_NS || ns < -MAX_STEP_NS)
			return VNS_EXIT_USAGE;
		sec = ns / VNS_NSEC_PER_SEC;
		ns -= sec * VNS_NSEC_PER_SEC;
		if (ns < 0) {
			ns += VNS_NSEC_PER_SEC;
			sec--;
		}
		t.modes = ADJ_SETOFFSET | ADJ_NANO;
		t.time.tv_sec = (time_t)sec;
		t.time.tv_usec = (suseconds_t)ns;
		return set(&t);
	}
	if (strncmp(what, "ppm=", 4) == 0) {
		double ppm = strtod(what + 4, &end);

		if (end == what + 4 || *end || !(ppm >= -MAX_PPM && ppm <= MAX_PPM))
			return VNS_EXIT_USAGE;
		t.modes = ADJ_FREQUENCY;
		t.freq = (long)(ppm * 65536);
		return set(&t);
	}
	return VNS_EXIT_USAGE;
}
