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
	struct timex t = { .modes = 0 }, slew = { .modes = ADJ_OFFSET_SS_READ };
	int fd = open(SOURCE_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out->source, sizeof(out->source) - 1);

	if (fd >= 0)
		close(fd);
	out->source[n > 0 ? n : 0] = '\0';
	out->source[strcspn(out->source, "\n")] = '\0';
	out->steering_known = adjtimex(&t) >= 0 && adjtimex(&slew) >= 0;
	if (!out->steering_known)
		t = slew = (struct timex){ .modes = 0 };
	out->freq = t.freq;
	out->tick_us = t.tick;
	out->status = t.status;
	out->constant = (int32_t)t.constant;
	out->offset_ns = t.status & STA_NANO ? t.offset : t.offset * 1000;
	out->slew_us = slew.offset;
}
