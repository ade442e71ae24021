// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Progress of live measurements -> stderr.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vnetscope/output.h>

#include "cli/live.h"

static _Atomic size_t lines_up; /* lines of the last report still on the screen */

/* The rest of a line: what crossed within the last second, each figure with its 95 % interval. */
static void print_direction(const char *label, const struct vns_vo_live_target *t, int direction)
{
	const struct vns_dist *d = &t->recent[direction];
	const struct vns_intervals *within = &t->recent_interval[direction];
	int64_t floor = t->withheld ? d->min : 0;
	char v[VNS_TEXT_LEN], span[VNS_SPAN_LEN];

	fprintf(stderr, "  %-7s %9s packets", label, vns_text_count(v, d->n));
	if (!d->n)
		return;
	fprintf(stderr, "%s  p50 %s", t->withheld ? " above min" : "",
		vns_text_ns(v, (double)(vns_dist_quantile(d, 0.5) - floor)));
	fprintf(stderr, " (%s)", vns_text_interval(span, &within->p50, floor));
	fprintf(stderr, "  p99 %s", vns_text_ns(v, (double)(vns_dist_quantile(d, 0.99) - floor)));
	fprintf(stderr, " (%s)", vns_text_interval(span, &within->p99, floor));
}

void cli_live_vo(void *ctx, const struct vns_vo_live_progress *p)
{
	(void)ctx;
	if (!isatty(STDERR_FILENO))
		return;
	if (lines_up)
		fprintf(stderr, "\033[%zuA\033[J", lines_up);
	fprintf(stderr, "%.0f of %.0f s", (double)p->elapsed_ns / 1e9, (double)p->duration_ns / 1e9);
	if (p->one_in > 1)
		fprintf(stderr, ", 1 packet in %u", p->one_in);
	fputc('\n', stderr);
	for (size_t i = 0; i < p->n_target; i++) {
		const struct vns_vo_live_target *t = &p->target[i];
		char count[VNS_TEXT_LEN], bound[VNS_TEXT_LEN], clock[2 * VNS_TEXT_LEN];

		fprintf(stderr, "  %-12s %10s matched", t->name, vns_text_count(count, t->matched));
		print_direction("to VM", t, VNS_HOST_TO_GUEST);
		snprintf(clock, sizeof(clock), "clock +-%s%s", vns_text_ns(bound, t->bound_ns),
			 t->ended ? ", ENDED" : "");
		fprintf(stderr, "\n  %-31s", clock);
		print_direction("from VM", t, VNS_GUEST_TO_HOST);
		fputc('\n', stderr);
	}
	lines_up = 2 * p->n_target + 1;
}

void cli_say(void *ctx, const char *sentence)
{
	char *text = strdup(sentence);

	(void)ctx;
	lines_up = 0;
	if (text)
		vns_text_clean(text, strlen(text) + 1, text, strlen(text));
	fprintf(stderr, "%s\n", text ? text : "no memory for a message");
	free(text);
}
