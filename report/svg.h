/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Figures as inline SVG: no script, no outside resource, colours by CSS class
 * (s0..s5), so that a report stays one file and follows the reader's theme.
 */
#ifndef VNS_REPORT_SVG_H
#define VNS_REPORT_SVG_H

#include <stdio.h>

#include <vnetscope/clock.h>
#include <vnetscope/stat.h>

struct vns_svg_series {
	const char *name;
	const struct vns_dist *dist; /* borrowed; skipped when empty */
	const struct vns_intervals *within; /* of its figures, drawn as bars at p50 and p99 */
	int colour;                  /* 0..5 */
};

/*
 * Empirical distribution functions over a logarithmic time axis. Values below 100 ns stand on
 * the left edge; their number is written under the figure.
 */
void vns_svg_cdf(FILE *to, const char *title, const struct vns_svg_series *series, size_t n);

/*
 * The clock's offset per exchange (thesis fig 3.2): each exchange's own bound as a bar, its
 * midpoint as a dot, the solved relation's causality bound as a band.
 */
void vns_svg_clock(FILE *to, const char *title, const struct vns_clock *clock);

/* @s with &, <, > and quotes escaped. */
void vns_html_text(FILE *to, const char *s);

#endif
