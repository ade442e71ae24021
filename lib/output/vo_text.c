// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Virtualisation latency for people: struct vns_vo_result -> notes, tables and what they amount to.
 *
 * What limits the figures comes first (emulation, an assumed clock, a run that ended early), then the
 * figures with their clock interval, then what can be checked without any clock, then the books.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

/* Fewer packets than that, and less than 1 in so many of the busiest hop's: no row of its own. */
#define STRAY_PACKETS 10
#define STRAY_SHARE   20

static const char *const direction_words[] = { "host to guest", "guest to host" };

static const char *proto_word(int p)
{
	return p == VNS_PROTO_NONE ? "other" : vns_proto_name((enum vns_proto)p);
}

/* "-3.2 us +4.1 us": how far the true value may be below and above. */
static const char *interval(char buf[3 * VNS_TEXT_LEN], double minus, double plus)
{
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	snprintf(buf, 3 * VNS_TEXT_LEN, "-%s +%s",
		 isfinite(minus) ? vns_text_ns(a, fmax(0, minus)) : "unbounded",
		 isfinite(plus) ? vns_text_ns(b, fmax(0, plus)) : "unbounded");
	return buf;
}

static void print_clock(const struct vns_vo_target *t, FILE *to)
{
	const struct vns_clock_at *c = &t->clock;
	char offset[VNS_TEXT_LEN], upper[VNS_TEXT_LEN], within[3 * VNS_TEXT_LEN];
	char drift[VNS_TEXT_DRIFT_LEN];

	if (!isfinite(c->lower_ns) && !isfinite(c->upper_ns)) {
		fputs("clock: not known (no packet bounds it)\n", to);
		return;
	}
	if (vns_vo_split(t) == VNS_SPLIT_WITHHELD) {
		fprintf(to, "clock: mode %s, guest minus host certain from %s to %s, drift %s\n"
			"split not identifiable: these bounds come from the measured path itself, so each "
			"direction has an\n  interval and what is above its own floor; the sum stands "
			"(--assume-symmetric takes equal floors)\n",
			vns_clock_mode_name(t->clock_mode), vns_text_exact_ns(offset, c->lower_ns),
			vns_text_exact_ns(upper, c->upper_ns), vns_text_drift(drift, c));
		return;
	}
	if (vns_vo_split(t) == VNS_SPLIT_ASSUMED)
		fputs("ASSUMED SYMMETRIC: the floors of both directions are taken to be equal, as asked; "
		      "no measurement says so\n", to);
	fprintf(to, "clock: mode %s, guest %s the host by %s, certain within %s, drift %s\n",
		vns_clock_mode_name(t->clock_mode), c->offset_ns < 0 ? "behind" : "ahead of",
		vns_text_exact_ns(offset, fabs(c->offset_ns)) + 1,
		interval(within, c->offset_ns - c->lower_ns, c->upper_ns - c->offset_ns),
		vns_text_drift(drift, c));
}

/* Exchanges with wrong stamps, or what may be such. */
static void print_contradictions(const struct vns_vo_target *t, FILE *to)
{
	char n[VNS_TEXT_LEN];

	if (t->contradicting)
		fprintf(to, "  %s clock exchange%s contradicted the others, as no clock does: wrong stamps, left out\n",
			vns_text_count(n, t->contradicting), t->contradicting > 1 ? "s" : "");
	if (t->undecided)
		fprintf(to, "  %s clock exchange%s contradicted the others where too few followed: a step or wrong stamps\n",
			vns_text_count(n, t->undecided), t->undecided > 1 ? "s" : "");
}

static void print_events(const struct vns_vo_target *t, FILE *to)
{
	for (size_t i = 0; i < t->n_event; i++) {
		const struct vns_vo_event *e = &t->event[i];
		time_t s = (time_t)(e->at_ns / VNS_NSEC_PER_SEC);
		char when[32];
		struct tm tm;

		strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&s, &tm));
		fprintf(to, "at %s.%03d: %s\n", when,
			(int)(e->at_ns % VNS_NSEC_PER_SEC / VNS_NSEC_PER_MSEC), e->text);
	}
	if (t->events_left_out)
		fprintf(to, "and %zu more such events\n", t->events_left_out);
	if (t->unrelated)
		fprintf(to, "note: %" PRIu64 " matched packets fell into an interval in which the clocks' "
			"relation changed; they are in no figure.\n", t->unrelated);
}

static void print_end(const struct vns_addr *a, uint16_t port, FILE *to)
{
	char text[VNS_ADDR_STRLEN];

	fputs(vns_addr_format(a, text), to);
	if (port)
		fprintf(to, " port %u", port);
}

/* The translations that were learnt, so that nobody has to believe in them. */
static void print_nat(const struct vns_vo_target *t, FILE *to)
{
	char n[VNS_TEXT_LEN];

	for (size_t i = 0; i < t->n_nat; i++) {
		const struct vns_twin_mapping *m = &t->nat[i];

		fprintf(to, "NAT, learnt: %s, ", m->forwarded ? "forwarded" : "masqueraded");
		print_end(&m->at_a, m->port_a, to);
		fputs(" at the host is ", to);
		print_end(&m->at_b, m->port_b, to);
		fprintf(to, " in the guest (IP protocol %u, %s flows)\n", m->ipproto,
			vns_text_count(n, m->flows));
	}
	if (t->n_nat)
		fprintf(to, "NAT: %s packets at the host were paired by these\n",
			vns_text_count(n, t->translated));
}

/* What share it was to be, and what it came to: of the guest that is known where its capture is a file. */
static void print_sample(const struct vns_vo_target *t, FILE *to)
{
	static const char *const at[] = { "at the host", "in the guest" };
	const char *between = ": ";

	if (t->sample_last <= 1)
		return;
	fputs("note: these figures are of samples: 1 packet in ", to);
	if (t->sample_first != t->sample_last)
		fprintf(to, "%u at first, 1 in %u at the end", t->sample_first, t->sample_last);
	else
		fprintf(to, "%u", t->sample_last);
	fputs(" (TCP by connection)", to);
	for (int p = 0; p < 2; p++) {
		uint64_t read = t->counts[p].read, all = read + t->not_sampled[p];
		char chosen[VNS_TEXT_LEN], of[VNS_TEXT_LEN];

		if (!t->not_sampled[p])
			continue;
		fprintf(to, "%s%s of %s %s (%.3g %%)", between, vns_text_count(chosen, read),
			vns_text_count(of, all), at[p], 100 * (double)read / (double)all);
		between = ", ";
	}
	fputs(".\n", to);
}

static void print_notes(const struct vns_vo_target *t, FILE *to)
{
	if (t->tcg)
		fputs("note: this guest is emulated (TCG, no KVM): its latencies are far above those of "
		      "a guest under KVM.\n", to);
	if (t->ended_early[0])
		fprintf(to, "note: %s\n", t->ended_early);
	if (t->note[0])
		fprintf(to, "note: %s\n", t->note);
	print_sample(t, to);
	print_nat(t, to);
	print_events(t, to);
}

/* min, mean, p50, p95, p99, max, stddev; of one packet what one value can tell. */
static void add_dist(struct vns_table *t, const struct vns_dist *d)
{
	char v[VNS_TEXT_LEN];

	if (d->n != 1) {
		vns_table_dist(t, d);
		vns_table_cell(t, "%s", vns_text_ns(v, vns_dist_stddev(d)));
		return;
	}
	vns_text_ns(v, (double)d->min);
	for (int i = 0; i < 7; i++)
		vns_table_cell(t, "%s", i == 0 || i == 1 || i == 5 ? v : "-");
}

static void add_figure(struct vns_table *t, const char *from, int p, const struct vns_dist *d,
		       const char *byte)
{
	char n[VNS_TEXT_LEN];

	vns_table_cell(t, "%s", from);
	vns_table_cell(t, "%s", proto_word(p));
	vns_table_cell(t, "%s", byte);
	vns_table_cell(t, "%s", vns_text_count(n, d->n));
	add_dist(t, d);
}

/*
 * What a figure of the table above is known to within: by the samples, and by the clock; in one table and,
 * for lines that would be too wide, in two.
 */
static void add_within(struct vns_table t[3], const char *from, int p, const char *byte,
		       const struct vns_vo_figure *f, const struct vns_intervals *sampling)
{
	char around[3 * VNS_TEXT_LEN];

	for (int i = 0; i < 3; i++) {
		vns_table_cell(&t[i], "%s", from);
		vns_table_cell(&t[i], "%s", proto_word(p));
		vns_table_cell(&t[i], "%s", byte);
		if (i < 2)
			vns_table_intervals(&t[i], sampling);
		if (i != 1)
			vns_table_cell(&t[i], "%s", interval(around, f->err_minus_ns, f->err_plus_ns));
	}
}

static bool same_dist(const struct vns_dist *a, const struct vns_dist *b)
{
	return a->n == b->n && a->min == b->min && a->max == b->max && fabs(a->mean - b->mean) < 0.5;
}

static bool matched_any(const struct vns_vo_target *t)
{
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		for (int p = 0; p < VNS_PROTOS; p++)
			if (t->fig[d][p].first.n)
				return true;
	return false;
}

/* What the clock leaves of the least and the median; then what is above the least, without the clock. */
static void add_withheld(struct vns_table *bounds, struct vns_table *above, struct vns_table *within,
			 const char *from, int p, const struct vns_vo_figure *f)
{
	static const double q[] = { 0.5, 0.95, 0.99 };
	const struct vns_dist *d = &f->first;
	double floor = (double)d->min, p50 = (double)vns_dist_quantile(d, 0.5);
	double least = fmax(p50 - f->err_minus_ns, f->floor_lower_ns); /* as the minimum's */
	struct vns_table *all[] = { bounds, above, within };
	char b[VNS_SPAN_LEN];

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		vns_table_cell(all[i], "%s", from);
		vns_table_cell(all[i], "%s", proto_word(p));
	}
	vns_table_cell(bounds, "%s", vns_text_count(b, d->n));
	vns_table_cell(bounds, "%s", vns_text_span(b, f->floor_lower_ns, f->floor_upper_ns));
	vns_table_cell(bounds, "%s", vns_text_span(b, least, p50 + f->err_plus_ns));
	vns_table_excess(within, &f->interval, d->min);
	for (size_t i = 0; d->n == 1 && i < 6; i++)
		vns_table_cell(above, "-"); /* one is its own least */
	if (d->n == 1)
		return;
	vns_table_cell(above, "%s", vns_text_ns(b, d->mean - floor));
	for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++)
		vns_table_cell(above, "%s", vns_text_ns(b, (double)vns_dist_quantile(d, q[i]) - floor));
	vns_table_cell(above, "%s", vns_text_ns(b, (double)d->max - floor));
	vns_table_cell(above, "%s", vns_text_ns(b, vns_dist_stddev(d)));
}

static void print_tables(struct vns_table *t, size_t n, FILE *to)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			fputc('\n', to);
		vns_table_print(&t[i], to);
		vns_table_fini(&t[i]);
	}
}

/* Figures without the midpoint that nothing measured. */
static void print_withheld(const struct vns_vo_target *t, FILE *to)
{
	static const char *const bounds[] = { "direction", "protocol", "matched", "min between",
					      "p50 between" };
	static const char *const above[] = { "above its min", "", "mean", "p50", "p95", "p99", "max",
					     "stddev" };
	static const char *const within[] = { "that within (95 %)", "", "mean", "p50", "p95", "p99" };
	struct vns_text_why why = { 0 };
	struct vns_table table[3];

	vns_table_init(&table[0], "<<>>>", bounds);
	vns_table_init(&table[1], "<<>>>>>>", above);
	vns_table_init(&table[2], "<<>>>>", within);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = VNS_PROTOS - 1; p >= 0; p--) {
			const struct vns_vo_figure *f = &t->fig[d][p];

			if (!f->first.n)
				continue;
			add_withheld(&table[0], &table[1], &table[2], direction_words[d], p, f);
			vns_text_why_add(&why, &f->first, &f->interval);
		}
	}
	print_tables(table, 3, to);
	vns_text_why_print(&why, "packets", VNS_TEXT_COLUMNS, to);
}

/* The figures, and what they are known to within: in lines that are not too wide. */
static void print_within(struct vns_table table[4], FILE *to)
{
	bool wide = vns_table_width(&table[1]) > VNS_TEXT_COLUMNS;

	print_tables(table, 1, to);
	fputc('\n', to);
	print_tables(&table[wide ? 2 : 1], wide ? 2 : 1, to);
	for (int i = wide ? 1 : 2; i < (wide ? 2 : 4); i++)
		vns_table_fini(&table[i]);
}

static void print_figures(const struct vns_vo_target *t, FILE *to)
{
	static const char *const heads[] = { "direction", "protocol", "byte", "matched", "min", "mean",
					     "p50", "p95", "p99", "max", "stddev" };
	static const char *const within[] = { "within (95 %)", "", "", "mean", "p50", "p95", "p99",
					      "clock interval" };
	static const char *const clock[] = { "within (certain)", "", "", "clock interval" };
	struct vns_text_why why = { 0 };
	struct vns_table table[4];
	size_t rows = 0;

	vns_table_init(&table[0], "<<<>>>>>>>>", heads);
	vns_table_init(&table[1], "<<<>>>><", within);
	vns_table_init(&table[2], "<<<>>>>", within);
	vns_table_init(&table[3], "<<<<", clock);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = VNS_PROTOS - 1; p >= 0; p--) {
			const struct vns_vo_figure *f = &t->fig[d][p];

			if (!f->first.n)
				continue;
			rows++;
			add_figure(&table[0], direction_words[d], p, &f->first, "first");
			add_within(&table[1], direction_words[d], p, "first", f, &f->interval);
			vns_text_why_add(&why, &f->first, &f->interval);
			if (!f->last.n || same_dist(&f->first, &f->last))
				continue;
			add_figure(&table[0], "", p, &f->last, "last");
			add_within(&table[1], "", p, "last", f, &f->last_interval);
			vns_text_why_add(&why, &f->last, &f->last_interval);
		}
	}
	if (rows) {
		print_within(table, to);
		vns_text_why_print(&why, "packets", VNS_TEXT_COLUMNS, to);
		return;
	}
	fprintf(to, "no packet was found at both points%s\n",
		t->counts[VNS_POINT_A].read || t->counts[VNS_POINT_B].read ? "" : ": none passed");
	for (int i = 0; i < 4; i++)
		vns_table_fini(&table[i]);
}

/* In mode same both ways are stamped by one clock, which then is no cause. */
static void print_check(const struct vns_vo_check *c, enum vns_clock_mode mode, FILE *to)
{
	const char *cause = mode == VNS_CLOCK_SAME ?
		": the directions changed\n  against each other (one clock stamps both: it is not the cause; "
		"by chance in at most 1 of 20)" :
		": NOT THE SAME: the clock relation drifts or lacks a step, or one\n  direction grew while the "
		"other shrank (by chance in at most 1 of 20)";
	char d[VNS_TEXT_LEN], half[VNS_TEXT_LEN];

	if (!c->blocks)
		return;
	fprintf(to, "  check: way in of the first half and way out of the second, of other packets, add up to "
		"that\n  %s+-%s (95 %%)%s\n", vns_text_signed_ns(d, c->difference_ns),
		vns_text_ns(half, c->half_ns),
		c->inside ? "" : cause);
}

static void print_sum(const struct vns_vo_target *t, int p, struct vns_text_why *why, FILE *to)
{
	const struct vns_vo_sum *s = &t->sum[p];
	const struct vns_dist *d = &s->paired;
	struct vns_intervals shown = s->interval;
	char v[VNS_TEXT_LEN], within[VNS_SPAN_LEN];

	shown.p95 = shown.p99 = (struct vns_interval){ 0, 1 }; /* not shown, so not missed */
	if (!s->biased) {
		vns_text_why_add(why, d, &shown);
		why->single = false;
	}
	fprintf(to, "both directions, free of the clock's offset: %s %s pairs, min ", proto_word(p),
		vns_text_count(v, d->n));
	fprintf(to, "%s,\n", vns_text_ns(v, (double)d->min));
	fprintf(to, "  p50 %s (95 %%: %s)", vns_text_ns(v, (double)vns_dist_quantile(d, 0.5)),
		vns_text_interval(within, &s->interval.p50, 0));
	fprintf(to, ", mean %s (%s)", vns_text_ns(v, d->mean), vns_text_interval(within, &s->interval.mean, 0));
	if (t->clock_mode != VNS_CLOCK_SAME)
		fprintf(to, ";\n  its rate is corrected, off by at most %s in the mean",
			vns_text_ns(v, s->gap_error_ns + 1));
	fputc('\n', to);
	if (s->biased)
		fprintf(to, "  it may be too low, so it has no interval: %s requests were passed over by a later one of "
			"their flow\n  before a reply came, slow ones more likely than others%s\n",
			vns_text_count(v, s->passed_over),
			p == VNS_PROTO_TCP ? "; the way to the guest alone takes longer" : "");
	print_check(&s->check, t->clock_mode, to);
}

/* Pairs that there might have been, and what became of them. */
static void print_unpaired(const struct vns_vo_target *t, FILE *to)
{
	uint64_t forgotten = 0, late = 0, step = 0;
	char n[VNS_TEXT_LEN];

	for (int p = 0; p < VNS_PROTOS; p++) {
		forgotten += t->sum[p].forgotten;
		late += vns_vo_sum_withheld(t, p) ? 0 : t->sum[p].late_replies;
		step += t->sum[p].across_step;
	}
	if (forgotten)
		fprintf(to, "  %s requests were forgotten before a reply came: their flows share a place with others\n",
			vns_text_count(n, forgotten));
	if (late)
		fprintf(to, "  %s times a flow's next packet from the guest came more than %d s after the latest to it "
			"that was matched:\n  unasked, late, or another's reply; in no sum\n", vns_text_count(n, late),
			(int)(VNS_VO_PAIR_NS / VNS_NSEC_PER_SEC));
	if (step)
		fprintf(to, "  %s requests and replies lie across a step of the clock: in no sum\n",
			vns_text_count(n, step));
	if (t->late_samples)
		fprintf(to, "  %s matched packets came too late, out of their order, to be paired as request and "
			"reply\n", vns_text_count(n, t->late_samples));
}

static void print_sums(const struct vns_vo_target *t, FILE *to)
{
	struct vns_text_why why_not = { 0 };

	for (int p = VNS_PROTOS - 1; p >= 0; p--) {
		const char *why = vns_vo_sum_withheld(t, p);

		if (t->sum[p].paired.n && why)
			fprintf(to, "both directions: %s withheld: %s\n", proto_word(p), why);
		else if (t->sum[p].paired.n)
			print_sum(t, p, &why_not, to);
	}
	vns_text_why_print(&why_not, "pairs", VNS_TEXT_COLUMNS, to);
	print_unpaired(t, to);
}

/* No figure below 0 stands without its reason. */
static void print_negatives(const struct vns_vo_target *t, FILE *to)
{
	struct vns_vo_negative negative[VNS_VO_MAX_NEGATIVE];
	size_t n = vns_vo_negatives(t, negative);

	for (size_t i = 0; i < n; i++)
		fprintf(to, "%s%s\n", negative[i].impossible ? "" : "note: ", negative[i].text);
}

/*
 * Did only a few packets of the host's own (neighbour discovery, say) cross hop @i that way? Then it is
 * not the path measured.
 */
static bool is_stray(const struct vns_vo_target *t, size_t i, int d, int p)
{
	uint64_t most = 0, n = t->hop[i].fig[d][p].first.n;

	for (size_t k = 0; k < t->n_hop; k++)
		most = t->hop[k].fig[d][p].first.n > most ? t->hop[k].fig[d][p].first.n : most;
	return n < STRAY_PACKETS && n * STRAY_SHARE < most;
}

/*
 * Is hop @i a part of one above? Packets that the host routes cross the uplink and the bridge, and both
 * are paired with the tap: what most of the outer hop's packets passed again lies within it.
 */
static bool is_nested(const struct vns_vo_target *t, size_t i, int d, int p)
{
	uint64_t n = t->hop[i].fig[d][p].first.n;

	for (size_t k = 0; k < i; k++)
		if (strcmp(t->hop[k].to, t->hop[i].to) == 0 && !is_stray(t, k, d, p) &&
		    2 * t->hop[k].fig[d][p].first.n >= n)
			return true;
	return false;
}

/* Each hop's part of the sum of all hops' means, in percent. */
static double hop_share(const struct vns_vo_target *t, size_t i, int d, int p)
{
	double all = 0;

	if (vns_vo_split(t) == VNS_SPLIT_WITHHELD)
		return NAN;
	for (size_t k = 0; k < t->n_hop; k++)
		all += is_stray(t, k, d, p) || is_nested(t, k, d, p) ? 0 : t->hop[k].fig[d][p].first.mean;
	return all > 0 ? 100 * t->hop[i].fig[d][p].first.mean / all : NAN;
}

/* "12.0..30.5 %": the same with each mean at the end of its interval that is worst for it. */
static void add_share_within(struct vns_table *table, const struct vns_vo_target *t, size_t i, int d, int p)
{
	const struct vns_interval *own = &t->hop[i].fig[d][p].interval.mean;
	double least = 0, most = 0;
	bool known = vns_interval_known(own) && isfinite(hop_share(t, i, d, p)), nested = is_nested(t, i, d, p);

	for (size_t k = 0; k < t->n_hop; k++) {
		const struct vns_interval *mean = &t->hop[k].fig[d][p].interval.mean;

		if ((k == i && !nested) || is_stray(t, k, d, p) || is_nested(t, k, d, p))
			continue;
		known = known && (vns_interval_known(mean) || !t->hop[k].fig[d][p].first.n);
		least += (double)mean->lower;
		most += (double)mean->upper;
	}
	least += nested ? 0 : (double)own->upper;
	most += nested ? 0 : (double)own->lower;
	if (known && least > 0 && most > 0)
		vns_table_cell(table, "%.1f..%.1f %%", fmax(100 * (double)own->lower / most, 0),
			       fmin(100 * (double)own->upper / least, 100));
	else
		vns_table_cell(table, "-");
}

/* p50, mean, p99 of a hop; what lies above its floor where the split is withheld. */
static const char *hop_figure(char buf[VNS_TEXT_LEN], const struct vns_vo_target *t,
			      const struct vns_vo_hop *h, const struct vns_dist *x, int which)
{
	double v = which == 1 ? x->mean : (double)vns_dist_quantile(x, which ? 0.99 : 0.5);
	bool withheld = !h->clock_free && vns_vo_split(t) == VNS_SPLIT_WITHHELD;

	if (!withheld)
		return vns_text_ns(buf, v);
	return vns_text_signed_ns(buf, v - (double)x->min);
}

static void add_hop(struct vns_table table[2], const struct vns_vo_target *t, size_t i, int d, int p)
{
	const struct vns_vo_hop *h = &t->hop[i];
	const struct vns_vo_figure *f = &h->fig[d][p];
	char arrow = d == VNS_HOST_TO_GUEST ? '>' : '<';
	bool withheld = !h->clock_free && vns_vo_split(t) == VNS_SPLIT_WITHHELD;
	double share = hop_share(t, i, d, p);
	char b[VNS_TEXT_LEN];

	for (int k = 0; k < 2; k++)
		vns_table_cell(&table[k], "%s %c %s", h->from, arrow, h->to);
	vns_table_cell(&table[0], "%s", direction_words[d]);
	vns_table_cell(&table[0], "%s", proto_word(p));
	vns_table_cell(&table[0], "%s", vns_text_count(b, f->first.n));
	for (int q = 0; q < 3; q++)
		vns_table_cell(&table[0], "%s", f->first.n == 1 && (q != 1 || withheld) ? "-" :
				hop_figure(b, t, h, &f->first, q));
	if (isfinite(share))
		vns_table_cell(&table[0], is_nested(t, i, d, p) ? "(%.1f %%)" : "%.1f %%", share);
	else
		vns_table_cell(&table[0], "-");
	vns_table_cell(&table[0], "%s", h->clock_free ? "exact (one clock)" :
					withheld      ? "above its floor only" : "as above");
	vns_table_cell(&table[1], "%s", proto_word(p));
	vns_table_excess(&table[1], &f->interval, withheld ? f->first.min : 0);
	add_share_within(&table[1], t, i, d, p);
}

static void print_hops(const struct vns_vo_target *t, FILE *to)
{
	static const char *const heads[] = { "hop", "direction", "protocol", "matched", "p50",
					     "mean", "p99", "share", "clock" };
	static const char *const within[] = { "within (95 %)", "", "mean", "p50", "p95", "p99", "share" };
	struct vns_text_why why = { 0 };
	struct vns_table table[2];

	if (t->n_hop < 2)
		return;
	vns_table_init(&table[0], "<<<>>>>><", heads);
	vns_table_init(&table[1], "<<>>>>>", within);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = VNS_PROTOS - 1; p >= 0; p--) {
			for (size_t i = 0; i < t->n_hop; i++) {
				const struct vns_vo_figure *f = &t->hop[i].fig[d][p];

				if (!f->first.n || is_stray(t, i, d, p))
					continue;
				add_hop(table, t, i, d, p);
				vns_text_why_add(&why, &f->first, &f->interval);
			}
		}
	}
	fputc('\n', to);
	print_tables(table, 2, to);
	vns_text_why_print(&why, "packets", VNS_TEXT_COLUMNS, to);
	if (vns_vo_split(t) == VNS_SPLIT_WITHHELD)
		fputs("no shares: the last hop's split of the directions is not identifiable\n", to);
}

/* VO as a share of TCP's RTT from the host's point to the guest and back. */
static void print_share(const struct vns_vo_target *t, FILE *to)
{
	const struct vns_dist *sum = &t->sum[VNS_PROTO_TCP].paired, *rtt = &t->rtt.guest_within;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], n[VNS_TEXT_LEN], within[VNS_SPAN_LEN];
	struct vns_vo_share s;

	if (!vns_vo_share(t, &s))
		return;
	if (s.withheld[0]) {
		fprintf(to, "share of the RTT: withheld: %s\n", s.withheld);
		return;
	}
	fprintf(to, "share of the RTT: both directions take %s of TCP's mean RTT from the %s to the guest "
		"and back,\n  %s (%s samples, 95 %%: %s): %.1f %%",
		vns_text_ns(a, sum->mean), t->from_point, vns_text_ns(b, rtt->mean),
		vns_text_count(n, rtt->n), vns_text_interval(within, &t->rtt.within_interval.mean, 0), s.percent);
	if (isnan(s.lower))
		fputs(" (no interval: too few independent samples of one of both means)", to);
	else
		fprintf(to, " (%.1f..%.1f %%)", s.lower, s.upper);
	fputc('\n', to);
	if (s.ratio > 100)
		fprintf(to, "  all of it: the means give %.1f %%, as they are of different packets (the RTT has one sample "
			"for each tick\n  of the time stamps), and a part is at most the whole\n", s.ratio);
	if (s.left_out)
		fprintf(to, "  without %s RTT samples of more than %d s, which no sum of both directions covers (the guest "
			"stood still,\n  or answered late)\n", vns_text_count(n, s.left_out),
			(int)(VNS_VO_PAIR_NS / VNS_NSEC_PER_SEC));
}

/* What was seen but is not among the packets read. */
static void print_left_out(const struct vns_vo_target *t, FILE *to)
{
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], c[VNS_TEXT_LEN], text[512];

	if (!t->clock_ahead && !t->other_epoch)
		return;
	if (t->clock_mode == VNS_CLOCK_SAME) {
		fprintf(to, "seen in the guest: %s packets; not among those read: %s from before the pairing began\n",
			vns_text_count(a, t->counts[VNS_POINT_B].read + t->other_epoch),
			vns_text_count(c, t->other_epoch));
		return;
	}
	snprintf(text, sizeof(text), "seen in the guest: %s packets; not among those read: %s%s%s%s%s",
		 vns_text_count(a, t->counts[VNS_POINT_B].read + t->clock_ahead + t->other_epoch),
		 t->clock_ahead ? vns_text_count(b, t->clock_ahead) : "",
		 t->clock_ahead ? " with stamps of the future, since its clock was set forward" : "",
		 t->clock_ahead && t->other_epoch ? ", and " : "", t->other_epoch ? vns_text_count(c, t->other_epoch) : "",
		 t->other_epoch ? " of before a change of the clocks' relation, or of a time without one" : "");
	vns_text_wrap(text, VNS_TEXT_COLUMNS, 2, to);
}

static void print_books(const struct vns_vo_target *t, FILE *to)
{
	static const char *const heads[] = { "capture", "read", "matched", "missing", "ambiguous",
					     "outside window", "undecodable", "lost by capture" };
	static const char *const names[] = { "host", "guest" };
	struct vns_table table;

	vns_table_init(&table, "<>>>>>>>", heads);
	for (int p = 0; p < 2; p++) {
		const struct vns_twin_counts *c = &t->counts[p];
		char b[VNS_TEXT_LEN];

		vns_table_cell(&table, "%s", p == VNS_POINT_A && t->from_point[0] ? t->from_point :
										    names[p]);
		vns_table_cell(&table, "%s", vns_text_count(b, c->read));
		for (int k = 0; k < VNS_TWIN_CLASSES; k++)
			vns_table_cell(&table, "%s", vns_text_count(b, c->in_class[k]));
		vns_table_cell(&table, "%s", vns_text_count(b, t->capture_lost[p]));
	}
	fputc('\n', to);
	vns_table_print(&table, to);
	vns_table_fini(&table);
	print_left_out(t, to);
	if (t->counts[0].in_class[VNS_TWIN_OUTSIDE_WINDOW] || t->counts[1].in_class[VNS_TWIN_OUTSIDE_WINDOW])
		fputs("outside window: seen while nothing was to be expected from the other point: before its "
		      "first packet or\n  after its last, to within the time that packets take, or where the "
		      "capture began anew\n", to);
}

static void print_overhead(const struct vns_vo_target *t, FILE *to)
{
	char b[VNS_TEXT_LEN];

	if (t->host_cpu < 0 && t->agent_cpu < 0)
		return;
	fputs("our own overhead:", to);
	if (t->host_cpu >= 0)
		fprintf(to, " host %.1f %% of one CPU,", 100 * t->host_cpu);
	if (t->agent_cpu >= 0)
		fprintf(to, " guest %.1f %% of one CPU,", 100 * t->agent_cpu);
	fprintf(to, " %s from the agent\n", vns_text_bytes(b, t->agent_bytes));
}

static void print_targets(const struct vns_vo_result *r, FILE *to)
{
	for (size_t i = 0; i < r->n_target; i++) {
		const struct vns_vo_target *t = &r->target[i];

		fprintf(to, "%s%s: %s to guest\n", i ? "\n" : "", t->name, t->from_point);
		print_notes(t, to);
		print_clock(t, to);
		print_contradictions(t, to);
		if (vns_vo_split(t) == VNS_SPLIT_WITHHELD && matched_any(t))
			print_withheld(t, to);
		else
			print_figures(t, to);
		print_sums(t, to);
		print_negatives(t, to);
		print_share(t, to);
		print_hops(t, to);
		print_books(t, to);
		print_overhead(t, to);
	}
}

int vns_vo_print_text(const struct vns_vo_result *r, FILE *to)
{
	char *text = NULL;
	size_t size = 0;
	FILE *whole = open_memstream(&text, &size);

	if (!whole)
		return -errno;
	print_targets(r, whole);
	if (fclose(whole)) {
		free(text);
		return -ENOMEM;
	}
	vns_text_wrap(text, VNS_TEXT_COLUMNS, 2, to);
	free(text);
	return vns_text_flush(to);
}
