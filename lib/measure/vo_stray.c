// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Packets of one point of a file -> those that bear a stray stamp become undecodable.
 *
 * A damaged record, or a clock that was read wrongly once, leaves one stamp minutes ahead among good ones. Believed, it
 * is the time of all that follows: what waits for its twin is given up as missing, though it is at both points. So a
 * stamp counts as stray where it is far from the one before and, of the next few packets, one is near that again: time
 * does not go away and come back. Where it stays away the clock was set, or nothing was sent meanwhile. The first
 * packet, which none is before, is stray where it is far behind all that follow.
 *
 * A file in which that is so of more than a few packets is not in order of time: then all stamps stand.
 */
#include <string.h>

#include "measure/vo_offline.h"

#define NEXT  16 /* packets of which one must be near again */
#define FIRST 3  /* ... that must be there to judge the first one by */
#define FEW   8  /* strays that any file may have, */
#define SHARE 64 /* and 1 in so many of its packets */

static bool is_near(int64_t a, int64_t b)
{
	return (uint64_t)a - (uint64_t)b + VO_STRAY_NS <= 2 * (uint64_t)VO_STRAY_NS;
}

/* The packets behind number @i of @pkt, in it and ahead, of the point that is read. Return: their number. */
static size_t followers(struct vo_end *e, const struct vns_packet *pkt, size_t n, size_t i, int64_t time[NEXT])
{
	size_t found = 0;

	while (++i < n && found < NEXT)
		time[found++] = pkt[i].time_ns;
	for (i = 0; i < e->n_ahead && found < NEXT; i++)
		if (!e->one_point || e->ahead[i].point == e->point)
			time[found++] = e->ahead[i].time_ns;
	return found;
}

/* Is number @i of @pkt stray? Its true time is about @time then. Return: 1, 0 or -errno. */
static int is_stray(struct vo_end *e, const struct vns_packet *pkt, size_t n, size_t i, int64_t *time, struct vns_err *err)
{
	int64_t next[NEXT];
	size_t found = followers(e, pkt, n, i, next), before = 0;

	if (found < NEXT) {
		int code = vo_end_look_ahead(e, err);

		if (code)
			return code;
		found = followers(e, pkt, n, i, next);
	}
	for (size_t k = 0; k < found; k++) {
		if (e->timed && is_near(next[k], e->last_ns)) {
			*time = e->last_ns;
			return 1;
		}
		before += next[k] < pkt[i].time_ns && !is_near(next[k], pkt[i].time_ns);
	}
	if (e->timed || found < FIRST || before < found)
		return 0;
	*time = next[0];
	return 1;
}

int vo_stray_filter(struct vo_end *e, struct vns_packet *pkt, size_t n, struct vns_err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct vns_packet *p = &pkt[i];
		int64_t time = p->time_ns;
		int stray;

		e->looked_at++;
		if (e->timed && (is_near(time, e->last_ns) || e->stray > FEW + e->looked_at / SHARE)) {
			e->last_ns = time;
			continue;
		}
		stray = is_stray(e, pkt, n, i, &time, err);
		if (stray < 0)
			return stray;
		if (stray) {
			e->stray++;
			*p = (struct vns_packet){ .time_ns = time, .verdict = VNS_PKT_MALFORMED, .point = p->point,
						  .wire_len = p->wire_len, .cap_len = p->cap_len };
			continue;
		}
		e->last_ns = p->time_ns;
		e->timed = true;
	}
	return 0;
}
