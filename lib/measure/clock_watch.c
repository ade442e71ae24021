// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Kernels' clock states, look by look -> what steers the clocks, what changed, in sentences, and the
 * wander that the relation's bounds must allow for.
 *
 * A kernel that finds its clock source unstable (a busy host lets TSC readings of a guest look like that)
 * takes another one, whose rate is another; a daemon that steers the clock writes frequency or tick. Such
 * changes are often too small to show in packets, so that the bounds of a straight line would exclude the
 * truth; here they are known of. A source's rate is calibrated to within the kernel's own limit of adjustment,
 * 500 ppm: half of that to either side of a constant. A steered clock has been set to every rate between the least
 * and the most that was written while it was looked at, and the constant may as well be the middle of them: half of that
 * range to either side. Besides the kernel's loop takes an offset away (kernel/time/ntp.c): at each second it
 * sets out to take offset / 2^s of it, s = SHIFT_PLL + constant, and at once shows what is left, so that
 * what it takes in that second is 1 / (2^s - 1) of what is shown; then less and less, to nothing. adjtime(3) slews by
 * 500 ppm until it is done. All of them add up. What was written and taken back between two looks nobody sees, so
 * RFC 5905's PHI is the least; how far apart the looks were is told where that is long.
 *
 * A clock is steered where adjtimex(2) says anything else than it does from boot on: unsynchronised, no
 * frequency, tick of 10 ms, nothing left to slew. (chrony without rtcsync leaves it "unsynchronised", but
 * writes a frequency.) Then PHI is allowed for, though no change was seen.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

#include "measure/clock_watch.h"

#define SOURCE_WANDER_PPM 250.0
#define SLEW_PPM          500.0 /* adjtime(3)'s */
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

/* What the loop and adjtime(3) of @s add to that, ppm. */
static struct clock_range taking_ppm(const struct vns_clock_state *s)
{
	int shift = SHIFT_PLL + (s->constant < 0 ? 0 : s->constant > 30 ? 30 : s->constant);
	double loop = (double)s->offset_ns / 1e3 / (double)((INT64_C(1) << shift) - 1);
	double slew = s->slew_us > 0 ? SLEW_PPM : s->slew_us < 0 ? -SLEW_PPM : 0;

	return (struct clock_range){ fmin(0, loop) + fmin(0, slew), fmax(0, loop) + fmax(0, slew) };
}

/* Half of what lies in the range: to either side of its middle. */
static double half_of(const struct clock_range *r)
{
	return (r->hi - r->lo) / 2;
}

/* The wander that changes seen at @end ask for; with @steering also what steers it, seen to change or not. */
static double wander_of(const struct clock_watch *w, enum clock_end end, bool steering)
{
	double written = half_of(&w->written[end]), steered = written + (steering ? half_of(&w->taking[end]) : 0);
	bool any = written > 0 || (steering && w->steered[end]);

	return fmin(LIMIT_PPM, w->source_ppm[end] + (any ? fmax(VNS_CLOCK_NTP_WANDER_PPM, steered) : 0));
}

static void compare(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now)
{
	const struct vns_clock_state was = w->last[end], *before = &was;
	double ppm = before->steering_known && now->steering_known ? written_ppm(now) - written_ppm(before) : 0;
	struct clock_said *said = &w->said[end];

	if (before->source[0] && now->source[0] && strcmp(before->source, now->source) != 0) {
		snprintf(said->source, sizeof(said->source), "The %s's kernel changed its clock source from %s to %s "
			 "meanwhile: its rate changed, so the bounds allow for %g ppm of wander.", whose[end],
			 before->source, now->source, SOURCE_WANDER_PPM);
		w->source_ppm[end] = SOURCE_WANDER_PPM;
	}
	if (ppm != 0) {
		snprintf(said->rate, sizeof(said->rate), "The %s's clock was steered meanwhile (NTP?), by %+.3f ppm since "
			 "it was last looked at: the bounds allow for %g ppm of wander.", whose[end], ppm,
			 wander_of(w, end, false));
		w->rate_changes[end]++;
	}
}

void clock_watch_rates(const struct clock_watch *w, enum clock_end end, const char *when, char *text, size_t size)
{
	text[0] = '\0';
	if (w->rate_changes[end])
		snprintf(text, size, "The %s's clock was steered meanwhile (NTP?), %u time%s%s, from %+.3f to %+.3f ppm: the "
			 "bounds allow for %g ppm of wander.", whose[end], w->rate_changes[end],
			 w->rate_changes[end] > 1 ? "s" : "", when, w->written[end].lo, w->written[end].hi,
			 wander_of(w, end, false));
}

static void widen(struct clock_range *r, double lo, double hi)
{
	r->lo = fmin(r->lo, lo);
	r->hi = fmax(r->hi, hi);
}

/* What @now says of steering, into the ranges. */
static void take_steering(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now)
{
	struct clock_range taking = taking_ppm(now);
	double written = written_ppm(now);

	if (!w->known[end])
		w->written[end] = (struct clock_range){ written, written };
	w->known[end] = true;
	widen(&w->written[end], written, written);
	widen(&w->taking[end], taking.lo, taking.hi);
	w->steered[end] |= is_steered(now);
}

void clock_watch_take(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now)
{
	w->said[end] = (struct clock_said){ "", "" };
	if (!now) {
		w->unknown[end] |= !w->seen[end];
		return;
	}
	if (now->steering_known)
		take_steering(w, end, now);
	if (w->seen[end])
		compare(w, end, now);
	w->unknown[end] = !now->steering_known;
	w->last[end] = *now;
	w->seen[end] = true;
}

void clock_watch_gap(struct clock_watch *w, enum clock_end end, int64_t from_ns, int64_t to_ns)
{
	/* a guest whose last look is of another life has none to compare with */
	if (w->seen[end] && w->asked_ns[end] && to_ns - w->asked_ns[end] > w->longest_ns[end])
		w->longest_ns[end] = to_ns - w->asked_ns[end];
	w->asked_ns[end] = from_ns;
}

/* Before what was seen goes into @w: it knows of no look before the first one. */
static void take(struct clock_watch *w, enum clock_end end, const struct vns_clock_state *now, int64_t from_ns)
{
	if (now)
		clock_watch_gap(w, end, from_ns, vns_monotonic_ns());
	clock_watch_take(w, end, now);
}

void clock_watch_look(struct clock_watch *w, struct vns_agent *a)
{
	int64_t begin = vns_monotonic_ns();
	struct vns_clock_state now;

	take(w, CLOCK_GUEST, vns_agent_clock_state(a, &now, NULL) == 0 ? &now : NULL, begin);
	begin = vns_monotonic_ns();
	vns_clock_state_read(&now);
	take(w, CLOCK_HOST, &now, begin);
}

double clock_watch_wander(const struct clock_watch *w, double wanted)
{
	double sum = 0;

	for (int i = 0; i < CLOCK_ENDS; i++)
		sum += wander_of(w, (enum clock_end)i, wanted == 0);
	return fmin(LIMIT_PPM, fmax(sum, wanted));
}

void clock_watch_words(const struct clock_watch *w, double wanted, char *text, size_t size)
{
	char s[300];

	text[0] = '\0';
	for (int i = 0; i < CLOCK_ENDS; i++) {
		const struct vns_clock_state *now = &w->last[i];
		char allowed[80] = "--max-wander says what is allowed for", frequency[80];

		if (wanted == 0)
			snprintf(allowed, sizeof(allowed), "%g ppm of wander are allowed for",
				 wander_of(w, (enum clock_end)i, true));
		if (half_of(&w->written[i]) > 0)
			snprintf(frequency, sizeof(frequency), "frequency from %+.3f to %+.3f ppm", w->written[i].lo,
				 w->written[i].hi);
		else
			snprintf(frequency, sizeof(frequency), "frequency %+.3f ppm", written_ppm(now));
		if (w->steered[i])
			snprintf(s, sizeof(s), "The %s's clock is steered (%s, %s%s): %s.", whose[i],
				 now->status & STA_UNSYNC ? "not marked as synchronised" : "synchronised, NTP",
				 frequency, now->slew_us ? ", adjtime at work" : "", allowed);
		else if (w->unknown[i])
			snprintf(s, sizeof(s), "Whether the %s's clock is steered is not known (%s): the bounds take it "
				 "not to be.", whose[i], i == CLOCK_HOST ? "adjtimex fails" :
				 "its agent does not tell");
		if (w->steered[i] || w->unknown[i])
			add(text, size, s);
		if (w->steered[i] && wanted == 0 && w->longest_ns[i] > CLOCK_LOOK_FAR_NS) {
			snprintf(s, sizeof(s), "It was looked at up to %.1f s apart: a rate that it had for less long may not "
				 "have been seen, and is not allowed for then.", (double)w->longest_ns[i] / 1e9);
			add(text, size, s);
		}
	}
}

bool clock_watch_steady(const struct clock_watch *w)
{
	for (int i = 0; i < CLOCK_ENDS; i++)
		if (!w->seen[i] || w->unknown[i] || w->steered[i] || wander_of(w, (enum clock_end)i, false) > 0)
			return false;
	return true;
}
