// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What this kernel keeps its time by: /sys and adjtimex(2) -> struct vns_clock_state. A change of any of it
 * is a change of the clock's rate that no packet needs to show.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

#include <vnetscope/agent.h>

#define SOURCE_FILE "/sys/devices/system/clocksource/clocksource0/current_clocksource"

void vns_clock_state_read(struct vns_clock_state *out)
{
	struct timex t = { .modes = 0 };
	int fd = open(SOURCE_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out->source, sizeof(out->source) - 1);

	if (fd >= 0)
		close(fd);
	out->source[n > 0 ? n : 0] = '\0';
	out->source[strcspn(out->source, "\n")] = '\0';
	if (adjtimex(&t) < 0)
		t.freq = t.tick = 0;
	out->freq = t.freq;
	out->tick_us = t.tick;
}
