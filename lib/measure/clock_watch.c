// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Kernels' clock states before and after a measurement -> what changed, in a sentence, and the wander
 * that the clock's bounds must allow for.
 *
 * A kernel that finds its clock source unstable (a busy host lets TSC readings of a guest look like that)
 * takes another one, whose rate is another; a daemon that steers the clock writes frequency or tick. Such
 * changes are often too small to show in packets, so that the bounds of a straight line would exclude the
 * truth; here they are known of. A steered clock changes by the difference written, and between two
 * writes by what nobody sees, so RFC 5905's PHI is the least. A source's rate is calibrated to within
 * the kernel's own limit of adjustment, 500 ppm: half of that to either side of a constant.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "measure/clock_watch.h"

#define SOURCE_WANDER_PPM 250.0
#define FREQ_PER_PPM      65536.0
#define PPM_PER_TICK      100.0 /* 1 us of the 10 ms that a tick has (USER_HZ 100) */

static void add(char *text, size_t size, const char *sentence)
{
	size_t have = strlen(text);

	snprintf(text + have, size - have, "%s%s", have ? " " : "", sentence);
}

double clock_watch_compare(const char *whose, const struct vns_clock_state *before,
			   const struct vns_clock_state *after, char *text, size_t size)
{
	/* an agent may say anything: as integers their difference could overflow */
	double ppm = ((double)after->freq - (double)before->freq) / FREQ_PER_PPM +
		     ((double)after->tick_us - (double)before->tick_us) * PPM_PER_TICK, wander = 0;
	char s[200];

	if (before->source[0] && after->source[0] && strcmp(before->source, after->source) != 0) {
		snprintf(s, sizeof(s), "The %s's kernel changed its clock source from %s to %s meanwhile: its "
			 "rate changed, so the bounds allow for %g ppm of wander.", whose, before->source,
			 after->source, SOURCE_WANDER_PPM);
		add(text, size, s);
		wander = SOURCE_WANDER_PPM;
	}
	if (ppm != 0) {
		wander = fmax(wander, fmin(500, fmax(VNS_CLOCK_NTP_WANDER_PPM, fabs(ppm) / 2)));
		snprintf(s, sizeof(s), "The %s's clock was steered meanwhile (NTP?), by %+.3f ppm from begin to "
			 "end: the bounds allow for %g ppm of wander.", whose, ppm, wander);
		add(text, size, s);
	}
	return wander;
}

void clock_watch_begin(struct clock_watch *w, struct vns_agent *a)
{
	vns_clock_state_read(&w->host);
	w->have_guest = vns_agent_clock_state(a, &w->guest, NULL) == 0;
}

double clock_watch_end(const struct clock_watch *w, struct vns_agent *a, char *text, size_t size)
{
	struct vns_clock_state now;
	double wander = 0;

	text[0] = '\0';
	if (w->have_guest && vns_agent_clock_state(a, &now, NULL) == 0)
		wander = clock_watch_compare("guest", &w->guest, &now, text, size);
	vns_clock_state_read(&now);
	return fmin(500, wander + clock_watch_compare("host", &w->host, &now, text, size));
}
