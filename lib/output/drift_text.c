// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clock relations for people: struct vns_drift_result -> sentences, and each exchange's offset
 * over time as characters (thesis, fig 3.2).
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

#define PLOT_ROWS      12
#define VALUE_COLUMN   13 /* behind the names of lines */
#define MAX_PIECES     20 /* printed; the JSON has all */
#define PLOT_MIN_NS    10 /* least height of the plot */
#define PLOT_PAD       0.25 /* room above and below the used exchanges, of their range */
#define PLOT_MAX_CELLS 20000

/* "-120 ns +95 ns" around the estimate. */
static const char *around(char buf[3 * VNS_TEXT_LEN], double lower, double v, double upper)
{
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	if (!isfinite(lower))
		snprintf(a, sizeof(a), "-unbounded");
	else
		vns_text_ns(a, v > lower ? lower - v : 0);
	if (!isfinite(upper))
		snprintf(b, sizeof(b), "unbounded");
	else
		vns_text_ns(b, upper > v ? upper - v : 0);
	snprintf(buf, 3 * VNS_TEXT_LEN, "%s +%s", a, b);
	return buf;
}

static const char *path_words(enum vns_clock_mode m)
{
	if (m == VNS_CLOCK_SAME)
		return "one kernel, one clock: zero by construction";
	if (m == VNS_CLOCK_GIVEN)
		return "given by the user";
	return vns_clock_mode_shares_path(m) ?
		       "its probes cross the path that vo measures: the split of the directions' "
		       "floors cannot be known from it" :
		       "its probes do not cross the path that vo measures";
}

static void print_pieces(const struct vns_drift_result *r, FILE *to)
{
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(r->clock, &n);

	if (n < 2)
		return;
	fprintf(to, "  %zu pieces: the clock %s or changed its rate\n", n,
		n == 2 && (p[0].undecided || p[1].undecided) ? "perhaps stepped" : "stepped");
	for (size_t i = 0; i < n && i < MAX_PIECES; i++) {
		char off[VNS_TEXT_LEN];

		fprintf(to, "    from %+10.3f s to %+10.3f s: %s, %+.3f ppm (%+.3f to %+.3f)%s\n",
			(double)(p[i].from_ns - p[0].from_ns) / 1e9,
			(double)(p[i].to_ns - p[0].from_ns) / 1e9,
			vns_text_exact_ns(off, p[i].offset_ns), p[i].drift_ppm, p[i].drift_lower_ppm,
			p[i].drift_upper_ppm,
			p[i].undecided ? ", if that is no wrong stamp" :
			i + 1 < n && p[i + 1].undecided ? ", then perhaps a step" :
			p[i].step_after ? ", then a step" : i + 1 < n ? ", then another rate" : "");
	}
	if (n > MAX_PIECES)
		fprintf(to, "    ... and %zu more\n", n - MAX_PIECES);
}

/* Exchanges with wrong stamps, or what may be such. */
static void print_contradictions(const struct vns_drift_result *r, FILE *to)
{
	uint64_t wrong, undecided;

	vns_clock_contradictions(r->clock, &wrong, &undecided);
	if (wrong)
		fprintf(to, "  wrong      %" PRIu64 " exchange%s contradict%s the others, as no clock does that keeps "
			"its line for six: left out, the bound widened\n", wrong, wrong > 1 ? "s" : "",
			wrong > 1 ? "" : "s");
	if (undecided)
		fprintf(to, "  undecided  %" PRIu64 " exchange%s at an end contradict%s the others: a step or wrong "
			"stamps; the bound there is that of both\n", undecided, undecided > 1 ? "s" : "",
			undecided > 1 ? "" : "s");
}

static void print_exchanges(const struct vns_drift_result *r, FILE *to)
{
	uint64_t used, rejected, slow = 0;
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(r->clock, &n);
	int64_t best = INT64_MAX;
	char a[VNS_TEXT_LEN];

	vns_clock_counts(r->clock, &used, &rejected);
	if (used + rejected == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		slow += !s[i].used && !s[i].contradicts;
		if (!s[i].contradicts && s[i].rtt_ns - s[i].processing_ns < best)
			best = s[i].rtt_ns - s[i].processing_ns;
	}
	fprintf(to, "  exchanges  %" PRIu64 " used, %" PRIu64 " rejected", used, rejected);
	if (slow == rejected && slow)
		fputs(" (far slower than the fastest; they still bound)", to);
	else if (slow)
		fprintf(to, " (%" PRIu64 " of them far slower than the fastest; these still bound)", slow);
	if (r->lost)
		fprintf(to, ", %" PRIu64 " lost", r->lost);
	if (n)
		fprintf(to, "; the best one alone bounds the error by %s",
			vns_text_ns(a, (double)best / 2));
	fputc('\n', to);
	print_contradictions(r, to);
}

/* What the bound is certain under. */
static const char *model_words(const struct vns_drift_result *r, char *buf, size_t size)
{
	double ppm = vns_clock_get_wander(r->clock);

	if (ppm > 0)
		snprintf(buf, size, "certain while the clock's rate wanders by at most %g ppm", ppm);
	else
		snprintf(buf, size, "certain while the clock is linear in pieces, at most 500 ppm");
	return buf;
}

/* Bounds moved outward, and why. */
static void print_bend(const struct vns_drift_result *r, FILE *to)
{
	char a[VNS_TEXT_LEN];
	double most;
	static const char *const words[] = {
		[VNS_CLOCK_RATE_SIGNS] = "there are signs that the clock changes its rate (slewed by NTP?); 3 of "
					 "100 that keep theirs show them",
		[VNS_CLOCK_RATE_CHANGED] = "the clock changed its rate, or stepped by less than its bound shows",
	};
	enum vns_clock_rate rate = vns_clock_rate(r->clock);

	vns_clock_bent(r->clock, &most);
	if (most > 0 && vns_clock_get_wander(r->clock) > 0)
		fprintf(to, "  wander     bounds moved outward by up to %s for it\n", vns_text_ns(a, most));
	else if (most > 0)
		fprintf(to, "  wander     bounds moved outward by up to %s\n", vns_text_ns(a, most));
	if (rate != VNS_CLOCK_RATE_STEADY)
		fprintf(to, "             %s%s\n", words[rate],
			vns_clock_get_wander(r->clock) > 0 ? "" :
							      "; --max-wander makes the bound certain");
}

static void print_offset(const struct vns_drift_result *r, FILE *to)
{
	char a[VNS_TEXT_LEN], b[3 * VNS_TEXT_LEN], m[96];

	if (vns_drift_split(r) == VNS_SPLIT_WITHHELD) {
		fprintf(to, "  offset     from %s", vns_text_exact_ns(a, r->at.lower_ns));
		fprintf(to, " to %s: %s\n"
			"             split not identifiable: nothing tells which value in between "
			"(--assume-symmetric takes the middle)\n",
			vns_text_exact_ns(a, r->at.upper_ns), model_words(r, m, sizeof(m)));
		return;
	}
	fprintf(to, "  offset     %s (%s)%s\n", vns_text_exact_ns(a, r->at.offset_ns),
		r->at.offset_ns > 0 ? "the guest is ahead" :
		r->at.offset_ns < 0 ? "the guest is behind" :
				      "no difference",
		vns_drift_split(r) == VNS_SPLIT_ASSUMED ? ", ASSUMED SYMMETRIC" : "");
	if (r->at.lower_ns < r->at.upper_ns)
		fprintf(to, "  bound      %s: %s\n",
			around(b, r->at.lower_ns, r->at.offset_ns, r->at.upper_ns),
			model_words(r, m, sizeof(m)));
	if (r->at.ci_lower_ns > r->at.lower_ns || r->at.ci_upper_ns < r->at.upper_ns)
		fprintf(to, "  95 %%       %s: if both directions have the same fixed delay, which is not known\n",
			around(b, r->at.ci_lower_ns, r->at.offset_ns, r->at.ci_upper_ns));
}

/* What the exchanges' own packets took. */
static void print_ways(const struct vns_drift_result *r, FILE *to)
{
	static const char *const names[] = { "to guest  ", "from guest" };
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], c[VNS_TEXT_LEN];

	if (!r->way[0].excess.n)
		return;
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		const struct vns_drift_way *w = &r->way[d];

		fprintf(to, "  %s least delay between %s and %s", names[d],
			vns_text_ns(a, w->floor_lower_ns), vns_text_ns(b, w->floor_upper_ns));
		fprintf(to, "; above it p50 %s, p95 %s, max %s\n",
			vns_text_ns(a, (double)vns_dist_quantile(&w->excess, 0.5)),
			vns_text_ns(b, (double)vns_dist_quantile(&w->excess, 0.95)),
			vns_text_ns(c, (double)w->excess.max));
	}
	fprintf(to, "  both ways  least delays add up to %s (%s at most), whatever the offset\n",
		vns_text_ns(a, r->floor_sum_ns), vns_text_ns(b, r->floor_sum_upper_ns));
}

static void print_result(const struct vns_drift_result *r, FILE *to)
{
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(r->clock, &n);
	char drift[VNS_TEXT_DRIFT_LEN];

	fprintf(to, "%s, clock mode %s: %s\n", r->target, vns_clock_mode_name(r->mode),
		path_words(r->mode));
	print_offset(r, to);
	if (n > 0 && p[n - 1].from_ns < p[n - 1].to_ns)
		fprintf(to, "  drift      %s\n", vns_text_drift(drift, &r->at));
	print_bend(r, to);
	print_exchanges(r, to);
	print_ways(r, to);
	print_pieces(r, to);
	if (r->note[0])
		fprintf(to, "  note: %s\n", r->note);
	if (r->ended_early[0])
		fprintf(to, "  ended early: %s\n", r->ended_early);
	if (r->interrupted)
		fputs("  interrupted: figures are of what was measured until then\n", to);
}

/* The same in lines that are not too wide. */
static void print_within(const struct vns_drift_result *r, FILE *to)
{
	char *text = NULL;
	size_t size = 0;
	FILE *whole = open_memstream(&text, &size);

	if (!whole)
		return;
	print_result(r, whole);
	if (fclose(whole) == 0)
		vns_text_wrap(text, VNS_TEXT_COLUMNS, VALUE_COLUMN, to);
	free(text);
}

/* What the plot spans. */
struct frame {
	int64_t from, to;
	double low, high;
	unsigned int columns, rows;
};

static bool find_frame(const struct vns_clock_sample *s, size_t n, struct frame *f)
{
	bool any = false;
	double pad;

	for (size_t i = 0; i < n; i++) {
		if (!s[i].used)
			continue;
		f->low = any ? fmin(f->low, s[i].offset_ns) : s[i].offset_ns;
		f->high = any ? fmax(f->high, s[i].offset_ns) : s[i].offset_ns;
		any = true;
	}
	if (!any)
		return false;
	pad = (f->high - f->low) * PLOT_PAD;
	f->low -= pad;
	f->high += pad;
	f->from = s[0].at_ns;
	f->to = s[n - 1].at_ns > s[0].at_ns ? s[n - 1].at_ns : s[0].at_ns + 1;
	if (f->high - f->low < PLOT_MIN_NS) {
		double mid = (f->high + f->low) / 2;

		f->low = mid - PLOT_MIN_NS / 2.0;
		f->high = mid + PLOT_MIN_NS / 2.0;
	}
	return true;
}

static void put_sample(char *cell, const struct frame *f, const struct vns_clock_sample *s)
{
	double x = (double)(s->at_ns - f->from) / (double)(f->to - f->from);
	double y = (f->high - s->offset_ns) / (f->high - f->low);
	unsigned int col = (unsigned int)(fmax(0, fmin(1, x)) * (f->columns - 1) + 0.5);
	unsigned int row = (unsigned int)(fmax(0, fmin(1, y)) * (f->rows - 1) + 0.5);
	char *c = &cell[row * f->columns + col];

	if (y < 0 || y > 1)
		*c = *c == ' ' ? (y < 0 ? '^' : 'v') : *c;
	else if (s->used)
		*c = 'o';
	else if (*c == ' ')
		*c = '.';
}

void vns_drift_plot(const struct vns_drift_result *r, unsigned int columns, unsigned int rows,
		    FILE *to)
{
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(r->clock, &n);
	struct frame f = { .columns = columns, .rows = rows };
	char a[VNS_TEXT_LEN];
	char *cell;

	if (columns < 2 || rows < 2 || columns * rows > PLOT_MAX_CELLS || !find_frame(s, n, &f))
		return;
	cell = malloc(columns * rows);
	if (!cell)
		return;
	memset(cell, ' ', columns * rows);
	for (size_t i = 0; i < n; i++)
		put_sample(cell, &f, &s[i]);
	fprintf(to, "  offset of each exchange; the top is %s", vns_text_exact_ns(a, f.high));
	fprintf(to, ", the bottom %s below it\n", vns_text_ns(a, f.high - f.low));
	for (unsigned int row = 0; row < rows; row++) {
		unsigned int width = columns;

		while (width > 0 && cell[row * columns + width - 1] == ' ')
			width--;
		fprintf(to, "  |%.*s\n", (int)width, &cell[row * columns]);
	}
	fputs("  +", to);
	for (unsigned int i = 0; i < columns; i++)
		fputc('-', to);
	fprintf(to, "\n   %.3f s   o used   . left out of the estimate (slower, or wrong)   ^ v beyond the plot\n",
		(double)(f.to - f.from) / 1e9);
	free(cell);
}

static void print_agreement(const struct vns_drift_result *r, size_t n, FILE *to)
{
	struct vns_table t;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], c[VNS_TEXT_LEN];
	double base = vns_drift_split(r) == VNS_SPLIT_WITHHELD ? r[0].at.lower_ns : r[0].at.offset_ns;

	fprintf(to, "\nAll modes at one instant, relative to the first one's %s:\n",
		vns_drift_split(r) == VNS_SPLIT_WITHHELD ? "lower bound" : "offset");
	vns_table_init(&t, "<>>>", (const char *[]){ "mode", "lower", "offset", "upper" });
	for (size_t i = 0; i < n; i++) {
		const struct vns_clock_at *at = &r[i].at;

		vns_table_cell(&t, "%s", vns_clock_mode_name(r[i].mode));
		vns_table_cell(&t, "%s", vns_text_signed_ns(a, at->lower_ns - base));
		vns_table_cell(&t, "%s", vns_drift_split(&r[i]) == VNS_SPLIT_WITHHELD ?
						 "withheld" :
						 vns_text_signed_ns(b, at->offset_ns - base));
		vns_table_cell(&t, "%s", vns_text_signed_ns(c, at->upper_ns - base));
	}
	vns_table_print(&t, to);
	vns_table_fini(&t);
	fputs(vns_drift_agree(r, n) ? "The bounds of all modes intersect, as they must.\n" :
			   "THE BOUNDS DO NOT INTERSECT: a mode's stamps are wrong, or a step hid.\n",
	      to);
}

void vns_drift_text(const struct vns_drift_result *r, size_t n, unsigned int plot_columns, FILE *to)
{
	if (n > 0 && r[0].tcg)
		fputs("The guest runs under TCG emulation, not KVM: its delays are the emulator's.\n", to);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			fputc('\n', to);
		print_within(&r[i], to);
		if (plot_columns)
			vns_drift_plot(&r[i], plot_columns, PLOT_ROWS, to);
	}
	if (n > 1)
		print_agreement(r, n, to);
}
