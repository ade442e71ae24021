// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A stretch of both files that was looked at for a step of a clock: the look's pairs -> which of the gaps that follow
 * in it need no look of their own.
 *
 * Theory. A look takes the median of t_B - t_A over the first TWIN_EARLIEST pairs from a gap on, and it is a step
 * that puts the median more than a jump away. Where fewer than half of these pairs are that far away, the
 * median cannot be. They are among those of the look before, but for pairs that its end cut off; each packet
 * that the later look reaches further may add one. So the count of odd pairs, as running sums, settles the
 * later look without it. Half of what would be enough is demanded: a copy that comes in, or drops out, makes
 * a pair unique or no more.
 */
#include "measure/vo_stretch.h"

#define MARGIN 2 /* times as many odd pairs as may be */

static bool is_off(int64_t diff, int64_t offset, int64_t jump)
{
	int64_t by;

	return __builtin_sub_overflow(diff, offset, &by) || by > jump || by < -jump;
}

void vo_stretch_count(struct vo_stretch *s, int64_t offset_ns, int64_t jump_ns)
{
	s->first = 0;
	s->least = INT64_MAX;
	s->most = INT64_MIN;
	s->odd[0] = 0;
	for (size_t i = 0; i < s->n; i++) {
		int64_t diff = s->pair[i].diff_ns;
		bool off = is_off(diff, offset_ns, jump_ns);

		s->odd[i + 1] = s->odd[i] + off;
		if (!off && diff < s->least)
			s->least = diff;
		if (!off && diff > s->most)
			s->most = diff;
	}
}

/* Pairs that a look from @at on may have beyond those of the stretch. */
static uint64_t further(const struct vo_stretch *s, const uint64_t at[2])
{
	uint64_t n = 0;

	for (int p = 0; p < 2; p++)
		n += s->all[p] ? 0 : at[p] + VO_LOOK - s->end[p];
	return n;
}

bool vo_stretch_is_steady(struct vo_stretch *s, const uint64_t at[2], int64_t offset_ns, int64_t jump_ns)
{
	size_t n;
	uint64_t odd;

	while (s->first < s->n && (s->at[0] + s->pair[s->first].a < at[0] || s->at[1] + s->pair[s->first].b < at[1]))
		s->first++;
	n = s->n - s->first;
	if (n == 0 || s->least > s->most || is_off(s->least, offset_ns, jump_ns) ||
	    is_off(s->most, offset_ns, jump_ns))
		return false;
	if (n > TWIN_EARLIEST)
		n = TWIN_EARLIEST;
	odd = s->odd[s->first + n] - s->odd[s->first];
	if (n < TWIN_EARLIEST)
		odd += further(s, at);
	return 2 * MARGIN * odd < n;
}
