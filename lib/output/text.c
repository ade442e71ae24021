// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Values -> text for people: times with four digits and a unit, counts with commas, shares, and tables
 * whose columns line up; and the end of every output, flushed or told why not. Contracts in output.h.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/output.h>

int vns_text_flush(FILE *to)
{
	errno = 0;
	if (fflush(to))
		return errno ? -errno : -EIO;
	if (!ferror(to))
		return 0;
	clearerr(to);
	errno = 0;
	return (fputc('\n', to) == EOF || fflush(to)) && errno ? -errno : -EIO;
}

static const char *format_ns(char buf[VNS_TEXT_LEN], double ns, bool plus)
{
	static const struct {
		double size;
		const char *name;
	} units[] = { { 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" } };
	double a = fabs(ns);

	if (!isfinite(ns)) {
		snprintf(buf, VNS_TEXT_LEN, "-");
		return buf;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		double v = a / units[i].size;

		/* 999.96 us has four digits as 1.000 ms */
		if (v >= 0.99995) {
			int decimals = v < 9.9995 ? 3 : v < 99.995 ? 2 : v < 999.95 ? 1 : 0;

			snprintf(buf, VNS_TEXT_LEN, "%s%.*f %s", ns < 0 ? "-" : plus ? "+" : "",
				 decimals, v, units[i].name);
			return buf;
		}
	}
	snprintf(buf, VNS_TEXT_LEN, "%s%.0f ns", ns <= -0.5 ? "-" : plus ? "+" : "", a);
	return buf;
}

const char *vns_text_ns(char buf[VNS_TEXT_LEN], double ns)
{
	return format_ns(buf, ns, false);
}

const char *vns_text_signed_ns(char buf[VNS_TEXT_LEN], double ns)
{
	return format_ns(buf, ns, true);
}

const char *vns_text_exact_ns(char buf[VNS_TEXT_LEN], double ns)
{
	double a = fabs(ns);

	if (!isfinite(ns))
		snprintf(buf, VNS_TEXT_LEN, "%cunbounded", ns < 0 ? '-' : '+');
	else if (a < 1e6)
		snprintf(buf, VNS_TEXT_LEN, "%+.3f us", ns / 1e3);
	else if (a < 1e9)
		snprintf(buf, VNS_TEXT_LEN, "%+.6f ms", ns / 1e6);
	else
		snprintf(buf, VNS_TEXT_LEN, "%+.9f s", ns / 1e9);
	return buf;
}

const char *vns_text_drift(char buf[VNS_TEXT_DRIFT_LEN], const struct vns_clock_at *at)
{
	if (at->drift_lower_ppm < at->drift_upper_ppm)
		snprintf(buf, VNS_TEXT_DRIFT_LEN, "%+.3f ppm (%+.3f to %+.3f feasible)", at->drift_ppm,
			 at->drift_lower_ppm, at->drift_upper_ppm);
	else
		snprintf(buf, VNS_TEXT_DRIFT_LEN, "%+.3f ppm", at->drift_ppm);
	return buf;
}

const char *vns_text_span(char buf[VNS_SPAN_LEN], double lower_ns, double upper_ns)
{
	char a[VNS_TEXT_LEN] = "unbounded", b[VNS_TEXT_LEN] = "unbounded", *of_a, *of_b;

	if (isnan(lower_ns) || isnan(upper_ns))
		return strcpy(buf, "-");
	if (isfinite(lower_ns))
		vns_text_ns(a, lower_ns);
	if (isfinite(upper_ns))
		vns_text_ns(b, upper_ns);
	of_a = strchr(a, ' ');
	of_b = strchr(b, ' ');
	if (of_a && of_b && strcmp(of_a, of_b) == 0)
		*of_a = '\0'; /* the same unit once */
	snprintf(buf, VNS_SPAN_LEN, "%s..%s", a, b);
	return buf;
}

const char *vns_text_interval(char buf[VNS_SPAN_LEN], const struct vns_interval *i, int64_t floor_ns)
{
	if (!vns_interval_known(i))
		return strcpy(buf, "-");
	return vns_text_span(buf, (double)(i->lower - floor_ns), (double)(i->upper - floor_ns));
}

const char *vns_text_count(char buf[VNS_TEXT_LEN], uint64_t n)
{
	char digits[VNS_TEXT_LEN];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *p = buf;

	for (int i = 0; i < len; i++) {
		if (i > 0 && len > 4 && (len - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	*p = '\0';
	return buf;
}

const char *vns_text_share(char buf[VNS_TEXT_LEN], uint64_t part, uint64_t of)
{
	double share = of ? 100.0 * (double)part / (double)of : 0;

	if (of == 0)
		snprintf(buf, VNS_TEXT_LEN, "-");
	else if (part > 0 && share < 0.1)
		snprintf(buf, VNS_TEXT_LEN, "< 0.1 %%");
	else
		snprintf(buf, VNS_TEXT_LEN, "%.1f %%", share);
	return buf;
}

const char *vns_text_bytes(char buf[VNS_TEXT_LEN], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(buf, VNS_TEXT_LEN, "%llu B", (unsigned long long)bytes);
		return buf;
	}
	for (v /= 1024; v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
		v /= 1024;
	snprintf(buf, VNS_TEXT_LEN, "%.1f %s", v, units[i]);
	return buf;
}

void vns_table_init(struct vns_table *t, const char *align, const char *const *heads)
{
	*t = (struct vns_table){ .columns = strlen(align) };
	if (t->columns >= sizeof(t->align))
		t->columns = sizeof(t->align) - 1;
	memcpy(t->align, align, t->columns);
	for (size_t i = 0; i < t->columns; i++)
		vns_table_cell(t, "%s", heads[i]);
}

void vns_table_cell(struct vns_table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char **bigger = realloc(t->cell, cap * sizeof(*bigger));

		if (!bigger) {
			t->failed = true;
			return;
		}
		t->cell = bigger;
		t->cap = cap;
	}
	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		t->failed = true;
	else
		t->cell[t->n++] = text;
}

void vns_table_dist(struct vns_table *t, const struct vns_dist *d)
{
	const double v[] = { (double)d->min,
			     d->mean,
			     (double)vns_dist_quantile(d, 0.50),
			     (double)vns_dist_quantile(d, 0.95),
			     (double)vns_dist_quantile(d, 0.99),
			     (double)d->max };
	char buf[VNS_TEXT_LEN];

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		vns_table_cell(t, "%s", d->n ? vns_text_ns(buf, v[i]) : "-");
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static size_t text_width(const char *s)
{
	size_t w = 0;

	for (; *s; s++)
		w += ((unsigned char)*s & 0xc0) != 0x80;
	return w;
}

static void print_cell(FILE *to, const char *text, size_t width, bool right, bool last)
{
	int pad = (int)(width - text_width(text));

	if (right)
		fprintf(to, "%*s%s", pad, "", text);
	else
		fprintf(to, "%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", to);
}

void vns_table_interval(struct vns_table *t, const struct vns_interval *i)
{
	char span[VNS_SPAN_LEN];

	vns_table_cell(t, "%s", vns_text_interval(span, i, 0));
}

void vns_table_excess(struct vns_table *t, const struct vns_intervals *i, int64_t floor_ns)
{
	const struct vns_interval *of[] = { &i->mean, &i->p50, &i->p95, &i->p99 };
	char span[VNS_SPAN_LEN];

	for (size_t k = 0; k < sizeof(of) / sizeof(of[0]); k++)
		vns_table_cell(t, "%s", vns_text_interval(span, of[k], floor_ns));
}

void vns_table_intervals(struct vns_table *t, const struct vns_intervals *i)
{
	vns_table_excess(t, i, 0);
}

/* Of each column. */
static void find_widths(const struct vns_table *t, size_t width[sizeof(t->align)])
{
	memset(width, 0, sizeof(t->align) * sizeof(*width));
	for (size_t i = 0; i < t->n; i++) {
		size_t w = text_width(t->cell[i]);

		if (w > width[i % t->columns])
			width[i % t->columns] = w;
	}
}

size_t vns_table_width(const struct vns_table *t)
{
	size_t width[sizeof(t->align)], all = 2 * (t->columns - 1);

	find_widths(t, width);
	for (size_t i = 0; i < t->columns; i++)
		all += width[i];
	return all;
}

size_t vns_table_print(const struct vns_table *t, FILE *to)
{
	size_t width[sizeof(t->align)];

	find_widths(t, width);
	for (size_t i = 0; i < t->n; i++) {
		size_t column = i % t->columns;

		print_cell(to, t->cell[i], width[column], t->align[column] == '>',
			   column + 1 == t->columns || i + 1 == t->n);
	}
	return (t->n + t->columns - 1) / t->columns;
}

void vns_table_print_within(const struct vns_table *t, size_t names, FILE *to)
{
	size_t width[sizeof(t->align)];

	if (vns_table_width(t) <= VNS_TEXT_COLUMNS) {
		vns_table_print(t, to);
		return;
	}
	find_widths(t, width);
	for (size_t i = 0; i < t->n; i++) {
		size_t column = i % t->columns;

		if (column == names)
			fputs("    ", to);
		print_cell(to, t->cell[i], width[column], t->align[column] == '>',
			   column + 1 == names || column + 1 == t->columns || i + 1 == t->n);
	}
}

void vns_table_leave_out(struct vns_table *t, size_t column)
{
	size_t width[sizeof(t->align)], all = vns_table_width(t), kept = 0;

	find_widths(t, width);
	if (t->failed || all <= VNS_TEXT_COLUMNS || all - width[column] - 2 > VNS_TEXT_COLUMNS)
		return;
	for (size_t i = 0; i < t->n; i++) {
		if (i % t->columns == column)
			free(t->cell[i]);
		else
			t->cell[kept++] = t->cell[i];
	}
	t->n = kept;
	memmove(&t->align[column], &t->align[column + 1], t->columns - column);
	t->columns--;
}

void vns_table_fini(struct vns_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct vns_table){ 0 };
}
