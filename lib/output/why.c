// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Figures of a table and their intervals -> one sentence below it that says why "-" stands in it: only the
 * rules that withheld something there. The rules are lib/stat/intervals.c's.
 */
#include <vnetscope/output.h>

#include "stat/intervals.h"

void vns_text_why_add(struct vns_text_why *w, const struct vns_dist *d, const struct vns_intervals *i)
{
	const struct vns_interval *of[] = { &i->p50, &i->p95, &i->p99 };

	if (!d->n)
		return;
	w->single |= d->n == 1;
	if (d->n < VNS_INTERVAL_SAMPLES) {
		w->few = true;
		return;
	}
	if (!vns_interval_known(&i->mean)) {
		w->bursts = true;
		return;
	}
	for (int k = 0; k < 3; k++)
		w->tail[k] |= !vns_interval_known(of[k]);
}

bool vns_text_why_print(const struct vns_text_why *w, const char *what, size_t columns, FILE *to)
{
	static const struct {
		const char *name;
		int thin; /* samples for each on the thin side */
	} q[] = { { "p50", 2 }, { "p95", 20 }, { "p99", 100 } };
	char text[640];
	int n = snprintf(text, sizeof(text), "-: not known from these %s.", what);
	bool tail = false;

	if (!w->few && !w->bursts && !w->single && !w->tail[0] && !w->tail[1] && !w->tail[2])
		return false;
	if (w->single)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " One has no spread and no percentiles.");
	if (w->few)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " An interval needs %d of them.",
			      VNS_INTERVAL_SAMPLES);
	if (w->bursts)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " Most came within a few moments, which says "
			      "nothing of the rest of the time.");
	for (int k = 0; k < 3; k++) {
		if (!w->tail[k])
			continue;
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%s needs %d", tail ? ", " : " The interval of ",
			      q[k].name, VNS_INTERVAL_TAIL * q[k].thin);
		tail = true;
	}
	if (tail)
		snprintf(text + n, sizeof(text) - (size_t)n, " independent ones (%d beyond it); those close in time "
			 "share their fate and count less.", VNS_INTERVAL_TAIL);
	vns_text_wrap(text, columns, 2, to);
	return true;
}
