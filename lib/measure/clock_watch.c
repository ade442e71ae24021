// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Kernels' clock states, look by look -> what steers the clocks, what changed, in sentences, and the
 * wander that the relation's bounds must allow for.
 *
 * A kernel that finds its clock source unstable (a busy host lets TSC readings of a guest look like that)
 * takes another one, whose rate is another; a daemon that steers the clock writes frequency or tick. Such
 * changes are often too small to show in packets, so that the bounds of a straight line would exclude the
 * truth; here they are known of. A steered clock changes by the difference written, and between two
 * writes by what nobody sees, so RFC 5905's PHI is the least. A source's rate is calibrated to within
 * the kernel's own limit of adjustment, 500 ppm: half of that to either side of a constant.
 *
 * A clock is steered where adjtimex(2) says anything else than it does from boot on: unsynchronised, no
 * frequency, tick of 10 ms, nothing left to slew. (chrony without rtcsync leaves it "unsynchronised", but
 * writes a frequency.) Then PHI is allowed for, though no change was seen. The kernel's loop takes
 * offset / 2^(SHIFT_PLL + constant) away in each second, less and less (kernel/time/ntp.c): from that rate to
 * none is half of it to either side; adjtime(3) slews by 500 ppm until it is done.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

#include "measure/clock_watch.h"

#define SOURCE_WANDER_PPM 250.0
#define SLEW_WANDER_PPM   250.0
#define LIMIT_PPM         500.0 /* the clock model's (clock.h) */
#define FREQ_PER_PPM      65536.0
#define PPM_PER_TICK      100.0 /* 1 us of the 10 ms that a tick has (USER_HZ 100) */
#define TICK_US           10000
#define SHIFT_PLL         2

static const char *const whose[CLOCK_ENDS] = { "guest", "host" };

static void add(char *text, size_t size, const char *sentence)
{
	size_t have = strlen(text);

	snprintf(text + have, size - have, "%s%s", have ? " " : "", sentence);
}

/* What @s runs fast or slow by as it was written, ppm. An agent may say anything: no integers, no overflow. */
static double written_ppm(const struct vns_clock_state *s)
{
	return (double)s->freq / FREQ_PER_PPM + ((double)s->tick_us - TICK_US) * PPM_PER_TICK;
}

static bool is_steered(const struct vns_clock_state *s)
{
	return !(s->status & STA_UNSYNC) || (s->status & (STA_PLL | STA_FLL | STA_PPSFREQ | STA_PPSTIME)) ||
	       s->freq || s->tick_us != TICK_US || s->offset_ns || s->slew_us;
}

/* The wander that @s, which steers, asks for. */
static double steering_ppm(const struct vns_clock_state *s)
{
	int shift = SHIFT_PLL + (s->constant < 0 ? 0 : s->constant > 30 ? 30 : s->constant);
	double loop = fabs((double)s->offset_ns) / 1e3 / (double)(INT64_C(1) << shift) / 2;

	return fmin(LIMIT_PPM, fmax(VNS_CLOCK_NTP_WANDER_PPM, s->slew_us ? fmax(loop, SLEW_WANDER_PPM) : loop));
}

static void compare(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now,
		    char *text, size_t size)
{
	const struct vns_clock_state *before = &w->last[end];
	double ppm = before->steering_known && now->steering_known ? written_ppm(now) - written_ppm(before) : 0;
	char s[200];

	if (before->source[0] && now->source[0] && strcmp(before->source, now->source) != 0) {
		snprintf(s, sizeof(s), "The %s's kernel changed its clock source from %s to %s meanwhile: its "
			 "rate changed, so the bounds allow for %g ppm of wander.", whose[end], before->source,
			 now->source, SOURCE_WANDER_PPM);
		add(text, size, s);
		w->change_ppm[end] = fmax(w->change_ppm[end], SOURCE_WANDER_PPM);
	}
	if (ppm != 0) {
		double wander = fmin(LIMIT_PPM, fmax(VNS_CLOCK_NTP_WANDER_PPM, fabs(ppm) / 2));

		snprintf(s, sizeof(s), "The %s's clock was steered meanwhile (NTP?), by %+.3f ppm from begin to "
			 "end: the bounds allow for %g ppm of wander.", whose[end], ppm, wander);
		add(text, size, s);
		w->change_ppm[end] = fmax(w->change_ppm[end], wander);
	}
}

void clock_watch_take(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now,
		      char *text, size_t size)
{
	if (!now) {
		w->unknown[end] |= !w->seen[end];
		return;
	}
	if (w->seen[end])
		compare(w, end, now, text, size);
	w->unknown[end] = !now->steering_known;
	if (now->steering_known && is_steered(now)) {
		w->steered[end] = true;
		w->steer_ppm[end] = fmax(w->steer_ppm[end], steering_ppm(now));
	}
	w->last[end] = *now;
	w->seen[end] = true;
}

void clock_watch_look(struct clock_watch *w, struct vns_agent *a, char *text, size_t size)
{
	struct vns_clock_state now;

	text[0] = '\0';
	clock_watch_take(w, CLOCK_GUEST, vns_agent_clock_state(a, &now, NULL) == 0 ? &now : NULL, text, size);
	vns_clock_state_read(&now);
	clock_watch_take(w, CLOCK_HOST, &now, text, size);
}

double clock_watch_wander(const struct clock_watch *w, double wanted)
{
	double sum = 0;

	for (int i = 0; i < CLOCK_ENDS; i++)
		sum += wanted == 0 ? fmax(w->change_ppm[i], w->steer_ppm[i]) : w->change_ppm[i];
	return fmin(LIMIT_PPM, fmax(sum, wanted));
}

void clock_watch_words(const struct clock_watch *w, double wanted, char *text, size_t size)
{
	char s[300];

	text[0] = '\0';
	for (int i = 0; i < CLOCK_ENDS; i++) {
		const struct vns_clock_state *now = &w->last[i];
		char allowed[80] = "--max-wander says what is allowed for";

		if (wanted == 0)
			snprintf(allowed, sizeof(allowed), "%g ppm of wander are allowed for", w->steer_ppm[i]);
		if (w->steered[i])
			snprintf(s, sizeof(s), "The %s's clock is steered (%s, frequency %+.3f ppm%s): %s.", whose[i],
				 now->status & STA_UNSYNC ? "not marked as synchronised" : "synchronised, NTP",
				 written_ppm(now), now->slew_us ? ", adjtime at work" : "", allowed);
		else if (w->unknown[i])
			snprintf(s, sizeof(s), "Whether the %s's clock is steered is not known (%s): the bounds take it "
				 "not to be.", whose[i], i == CLOCK_HOST ? "adjtimex fails" :
				 "its agent does not tell");
		if (w->steered[i] || w->unknown[i])
			add(text, size, s);
	}
}

bool clock_watch_steady(const struct clock_watch *w)
{
	for (int i = 0; i < CLOCK_ENDS; i++)
		if (!w->seen[i] || w->unknown[i] || w->steered[i] || w->change_ppm[i] > 0)
			return false;
	return true;
}
