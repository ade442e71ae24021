// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Distributions and clock samples -> inline SVG.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/output.h>

#include "report/svg.h"

#define W       560.0
#define H       260.0
#define LEFT    46.0
#define RIGHT   24.0
#define TOP     30.0
#define BOTTOM  34.0
#define FLOOR_NS 100.0 /* a log axis has no zero; below this the clock's error rules anyway */

void vns_html_text(FILE *to, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			fputs("&amp;", to);
			break;
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			fputc(*s, to);
		}
	}
}

static const char *decade_label(double ns)
{
	static const char *const labels[] = { "100 ns", "1 µs",   "10 µs", "100 µs", "1 ms",
					      "10 ms",  "100 ms", "1 s",   "10 s",   "100 s" };
	int i = (int)lround(log10(ns)) - 2;

	return i >= 0 && i < (int)(sizeof(labels) / sizeof(labels[0])) ? labels[i] : "";
}

static void open_figure(FILE *to, const char *title)
{
	fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\"><title>", W, H);
	vns_html_text(to, title);
	fprintf(to, "</title><text class=\"ft\" x=\"%.0f\" y=\"16\">", LEFT);
	vns_html_text(to, title);
	fputs("</text>\n", to);
}

static double x_log(double ns, double lo, double hi)
{
	double v = ns < lo ? lo : ns > hi ? hi : ns;

	return LEFT + (W - LEFT - RIGHT) * (log10(v) - log10(lo)) / (log10(hi) - log10(lo));
}

static double y_share(double share)
{
	return TOP + (H - TOP - BOTTOM) * (1 - share);
}

struct cdf_pen {
	FILE *to;
	double lo, hi;
	uint64_t n, seen;
};

/* One histogram bucket: a step up to the share of samples not above its midpoint. */
static void cdf_bucket(void *ctx, int64_t lo, int64_t hi, uint64_t count)
{
	struct cdf_pen *p = ctx;
	double x = x_log(((double)lo + (double)hi) / 2, p->lo, p->hi);

	fprintf(p->to, "H%.1f", x);
	p->seen += count;
	fprintf(p->to, "V%.1f", y_share((double)p->seen / (double)p->n));
}

static void cdf_axes(FILE *to, double lo, double hi)
{
	for (double d = lo; d <= hi * 1.001; d *= 10) {
		double x = x_log(d, lo, hi);

		fprintf(to, "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/>"
			"<text class=\"ax m\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
			x, TOP, H - BOTTOM, x, H - BOTTOM + 14, decade_label(d));
	}
	for (int q = 0; q <= 4; q++)
		fprintf(to, "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>"
			"<text class=\"ax e\" x=\"%.1f\" y=\"%.1f\">%d %%</text>\n",
			LEFT, y_share(q / 4.0), W - RIGHT, LEFT - 4, y_share(q / 4.0) + 4, q * 25);
}

/* The decades that hold every series. Return: false when there is nothing to draw. */
static bool cdf_range(const struct vns_svg_series *s, size_t n, double *lo, double *hi)
{
	bool any = false;

	*lo = 1e30;
	*hi = 0;
	for (size_t i = 0; i < n; i++) {
		if (!s[i].dist || s[i].dist->n == 0)
			continue;
		any = true;
		*lo = fmin(*lo, fmax((double)s[i].dist->min, FLOOR_NS));
		*hi = fmax(*hi, fmax((double)s[i].dist->max, FLOOR_NS));
	}
	if (!any)
		return false;
	*lo = pow(10, floor(log10(*lo)));
	*hi = pow(10, ceil(log10(*hi)));
	if (*hi <= *lo)
		*hi = *lo * 10;
	return true;
}

static void count_below(void *ctx, int64_t lo, int64_t hi, uint64_t count)
{
	(void)lo;
	if ((double)hi < FLOOR_NS)
		*(uint64_t *)ctx += count;
}

static void cdf_series(FILE *to, const struct vns_svg_series *s, double lo, double hi)
{
	static const double quantiles[] = { 0.5, 0.99 };
	struct cdf_pen pen = { to, lo, hi, s->dist->n - s->dist->hist_lost, 0 };

	fprintf(to, "<path class=\"l s%d\" d=\"M%.1f %.1f", s->colour, LEFT, y_share(0));
	vns_dist_buckets(s->dist, cdf_bucket, &pen);
	fprintf(to, "H%.1f\"/>\n", W - RIGHT);
	for (size_t i = 0; i < 2; i++) {
		double v = (double)vns_dist_quantile(s->dist, quantiles[i]), y = y_share(quantiles[i]);
		const struct vns_interval *within = i ? &s->within->p99 : &s->within->p50;
		char span[VNS_SPAN_LEN];

		if (vns_interval_known(within))
			fprintf(to, "<path class=\"i s%d\" d=\"M%.1f %.1fH%.1f\"/>", s->colour,
				x_log((double)within->lower, lo, hi), y, x_log((double)within->upper, lo, hi));
		fprintf(to, "<circle class=\"d s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s p%.0f: "
			"%.1f µs (95 %%: %s)</title></circle>\n", s->colour, x_log(v, lo, hi), y, s->name,
			quantiles[i] * 100, v / 1000, vns_text_interval(span, within, 0));
	}
}

/* Names and counts in the series' colours, in the title's line. */
static void cdf_legend(FILE *to, const struct vns_svg_series *s, size_t n)
{
	fprintf(to, "<text class=\"e\" x=\"%.0f\" y=\"16\">", W - RIGHT);
	for (size_t i = 0; i < n; i++) {
		uint64_t below = 0;

		if (!s[i].dist || s[i].dist->n == 0)
			continue;
		vns_dist_buckets(s[i].dist, count_below, &below);
		fprintf(to, "<tspan class=\"k s%d\" dx=\"12\">%s n=%llu", s[i].colour, s[i].name,
			(unsigned long long)s[i].dist->n);
		if (below)
			fprintf(to, " (%llu below 100 ns)", (unsigned long long)below);
		fputs("</tspan>", to);
	}
	fputs("</text>\n", to);
}

void vns_svg_cdf(FILE *to, const char *title, const struct vns_svg_series *series, size_t n)
{
	double lo, hi;

	open_figure(to, title);
	if (!cdf_range(series, n, &lo, &hi)) {
		fprintf(to, "<text class=\"ax\" x=\"%.0f\" y=\"%.0f\">no samples</text></svg>\n", LEFT,
			H / 2);
		return;
	}
	cdf_axes(to, lo, hi);
	for (size_t i = 0; i < n; i++)
		if (series[i].dist && series[i].dist->n)
			cdf_series(to, &series[i], lo, hi);
	cdf_legend(to, series, n);
	fputs("</svg>\n", to);
}

/* Linear map of the clock plot. */
struct clock_plot {
	double t0, t1, v0, v1;
	double base; /* offset that stands at 0 on the axis, ns */
};

static double clock_x(const struct clock_plot *p, double t)
{
	return LEFT + 20 + (W - LEFT - 20 - RIGHT) * (t - p->t0) / (p->t1 - p->t0);
}

static double clock_y(const struct clock_plot *p, double v)
{
	double c = v < p->v0 ? p->v0 : v > p->v1 ? p->v1 : v;

	return TOP + (H - TOP - BOTTOM) * (p->v1 - c) / (p->v1 - p->v0);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Vertical range: the middle 95 % of the samples' own bounds and all of the relation's, so
 * that one slow exchange does not flatten the rest.
 */
static int clock_range(struct clock_plot *p, const struct vns_clock_sample *s, size_t n)
{
	double *v = malloc(2 * n * sizeof(*v));

	if (!v)
		return -1;
	p->base = (double)s[0].offset_ns;
	p->t0 = 0;
	p->t1 = fmax((double)(s[n - 1].at_ns - s[0].at_ns), 1);
	for (size_t i = 0; i < n; i++) {
		v[i] = s[i].lower_ns - p->base;
		v[n + i] = s[i].upper_ns - p->base;
	}
	qsort(v, 2 * n, sizeof(*v), by_value);
	p->v0 = v[(size_t)(0.025 * (double)(2 * n))];
	p->v1 = v[(size_t)(0.975 * (double)(2 * n - 1))];
	free(v);
	if (p->v1 - p->v0 < 100) {
		p->v0 -= 50;
		p->v1 += 50;
	}
	return 0;
}

static void clock_axes(FILE *to, const struct clock_plot *p)
{
	for (int i = 0; i <= 4; i++) {
		double v = p->v0 + (p->v1 - p->v0) * i / 4;

		fprintf(to, "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>"
			"<text class=\"ax e\" x=\"%.1f\" y=\"%.1f\">%+.1f µs</text>\n",
			LEFT + 20, clock_y(p, v), W - RIGHT, LEFT + 16, clock_y(p, v) + 4, v / 1000);
	}
	fprintf(to, "<text class=\"ax\" x=\"%.0f\" y=\"%.0f\">0 is %+.6f ms; %.1f s of exchanges</text>\n",
		LEFT + 20, H - 10, p->base / 1e6, p->t1 / 1e9);
}

static void clock_band(FILE *to, const struct clock_plot *p, const struct vns_clock *clock,
		       int64_t start_ns)
{
	enum { STEPS = 80 };
	struct vns_clock_at at[STEPS + 1];
	const char *op = "M";

	fputs("<path class=\"band\" d=\"", to);
	for (int i = 0; i <= STEPS; i++) {
		vns_clock_eval(clock, start_ns + (int64_t)(p->t1 * i / STEPS), &at[i]);
		fprintf(to, "%s%.1f %.1f", op, clock_x(p, p->t1 * i / STEPS),
			clock_y(p, at[i].upper_ns - p->base));
		op = "L";
	}
	for (int i = STEPS; i >= 0; i--)
		fprintf(to, "L%.1f %.1f", clock_x(p, p->t1 * i / STEPS),
			clock_y(p, at[i].lower_ns - p->base));
	fputs("Z\"/>\n", to);
}

void vns_svg_clock(FILE *to, const char *title, const struct vns_clock *clock)
{
	size_t n = 0;
	const struct vns_clock_sample *s = clock ? vns_clock_samples(clock, &n) : NULL;
	struct clock_plot p;

	open_figure(to, title);
	if (n < 2 || clock_range(&p, s, n)) {
		fprintf(to, "<text class=\"ax\" x=\"%.0f\" y=\"%.0f\">no exchanges</text></svg>\n", LEFT,
			H / 2);
		return;
	}
	clock_axes(to, &p);
	for (size_t i = 0; i < n; i++) {
		double x = clock_x(&p, (double)(s[i].at_ns - s[0].at_ns));

		fprintf(to, "<path class=\"b\" d=\"M%.1f %.1fV%.1f\"/>", x,
			clock_y(&p, s[i].lower_ns - p.base), clock_y(&p, s[i].upper_ns - p.base));
		fprintf(to, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2\"/>\n",
			s[i].used ? "d s0" : "d s5", x, clock_y(&p, s[i].offset_ns - p.base));
	}
	clock_band(to, &p, clock, s[0].at_ns);
	fputs("</svg>\n", to);
}
