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

static void print_direction(const char *label, const struct vns_dist *d, bool withheld)
{
	double floor = withheld ? (double)d->min : 0;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	if (d->n)
		fprintf(stderr, "  %s %sp50 %9s p99 %9s", label, withheld ? "above min: " : "",
			vns_text_ns(a, (double)vns_dist_quantile(d, 0.5) - floor),
			vns_text_ns(b, (double)vns_dist_quantile(d, 0.99) - floor));
	else
		fprintf(stderr, "  %s %27s", label, "no packets");
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
		char count[VNS_TEXT_LEN], bound[VNS_TEXT_LEN];

		fprintf(stderr, "  %-12s %10s matched", t->name, vns_text_count(count, t->matched));
		print_direction("to VM", &t->recent[VNS_HOST_TO_GUEST], t->withheld);
		print_direction("from VM", &t->recent[VNS_GUEST_TO_HOST], t->withheld);
		fprintf(stderr, "  clock +-%s%s\n", vns_text_ns(bound, t->bound_ns),
			t->ended ? "  ENDED" : "");
	}
	lines_up = p->n_target + 1;
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
