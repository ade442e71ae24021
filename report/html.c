// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A report -> one HTML file: no script, no outside resource; readable in print,
 * in light and in dark.
 */
#include <time.h>

#include <vnetscope/output.h>
#include "report/report.h"
#include "report/svg.h"

static const char style[] =
	":root{--bg:#fff;--fg:#1b1f24;--mut:#5b6570;--line:#d9dee4;--card:#f6f8fa;"
	"--c0:#0b6bcb;--c1:#c2410c;--c2:#15803d;--c3:#7e22ce;--c4:#a16207;--c5:#9aa3ad}"
	"@media(prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e6e9ec;--mut:#9aa5b1;"
	"--line:#2f3740;--card:#1b2127;--c0:#5aa9ff;--c1:#ff9552;--c2:#5fd38a;--c3:#c793ff;"
	"--c4:#e0b84a;--c5:#66707a}}"
	"body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;margin:0 auto;"
	"max-width:1180px;padding:24px}h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;"
	"margin:32px 0 8px}p.sub{color:var(--mut);margin:0 0 4px}"
	".warn{border-left:4px solid var(--c1);background:var(--card);padding:8px 12px;margin:16px 0}"
	"table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}"
	".scroll{overflow-x:auto}th,td{padding:4px 10px;text-align:right;border-bottom:1px solid "
	"var(--line);white-space:nowrap}th{color:var(--mut);font-weight:600}"
	"td.t,th.t{text-align:left}.grid{display:grid;gap:12px;"
	"grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr))}"
	".grid>div{background:var(--card);border-radius:6px;padding:6px}svg{width:100%;height:auto;"
	"display:block;font:11px system-ui,sans-serif}.ft{fill:var(--fg);font-size:13px;"
	"font-weight:600}.ax{fill:var(--mut)}.m{text-anchor:middle}.e{text-anchor:end}"
	".g{stroke:var(--line);fill:none}"
	".i{fill:none;stroke-width:7;opacity:.45}td small{display:block;color:var(--mut);font-size:11px}"
	".i.s0{stroke:var(--c0)}.i.s1{stroke:var(--c1)}.i.s2{stroke:var(--c2)}.i.s3{stroke:var(--c3)}"
	".l{fill:none;stroke-width:2}.b{stroke:var(--c5);stroke-width:1;opacity:.6;fill:none}"
	".band{fill:var(--c0);opacity:.25;stroke:var(--c0)}.d{stroke:none}"
	".l.s0{stroke:var(--c0)}.l.s1{stroke:var(--c1)}.l.s2{stroke:var(--c2)}.l.s3{stroke:var(--c3)}"
	".d.s0,.k.s0{fill:var(--c0)}.d.s1,.k.s1{fill:var(--c1)}.d.s2,.k.s2{fill:var(--c2)}"
	".d.s3,.k.s3{fill:var(--c3)}.d.s5,.k.s5{fill:var(--c5)}"
	"dt{font-weight:600}dd{margin:0 0 8px;color:var(--mut)}";

static const char *const direction_title[VNS_DIRECTIONS] = { "to the VM", "from the VM" };

static void reading_item(void *ctx, const char *sentence)
{
	FILE *to = ctx;

	fputs("<li>", to);
	vns_html_text(to, sentence);
	fputs("</li>\n", to);
}

static void no_line(void *ctx, const char *sentence)
{
	(void)ctx, (void)sentence;
}

static void remarks(FILE *to, const struct vns_report *r)
{
	if (!vns_report_remarks(r, no_line, NULL))
		return;
	fputs("<div class=\"warn\"><h2>What went wrong, and what limits the figures</h2><ul>\n", to);
	vns_report_remarks(r, reading_item, to);
	fputs("</ul></div>\n", to);
}

static void cell_ns(FILE *to, double ns)
{
	char b[32];

	fprintf(to, "<td>%s</td>", vns_text_ns(b, ns));
}

/* A figure and, under it, its 95 % interval; both above @floor. */
static void cell_within(FILE *to, double ns, const struct vns_interval *within, int64_t floor)
{
	char b[VNS_TEXT_LEN], span[VNS_SPAN_LEN];

	fprintf(to, "<td>%s<small>%s</small></td>", vns_text_ns(b, ns - (double)floor),
		vns_interval_known(within) ? vns_text_interval(span, within, floor) : "too few independent samples");
}

/* p50, p95, p99, maximum, mean and standard deviation. */
static void cells_of(FILE *to, const struct vns_dist *d, const struct vns_intervals *within, int64_t floor)
{
	cell_within(to, (double)vns_dist_quantile(d, 0.5), &within->p50, floor);
	cell_within(to, (double)vns_dist_quantile(d, 0.95), &within->p95, floor);
	cell_within(to, (double)vns_dist_quantile(d, 0.99), &within->p99, floor);
	cell_ns(to, (double)(d->max - floor));
	cell_within(to, d->mean, &within->mean, floor);
	cell_ns(to, vns_dist_stddev(d));
}

static void clock_table(FILE *to, const struct vns_report *r)
{
	fputs("<h2>Clocks</h2><div class=\"scroll\"><table><tr><th class=\"t\">VM</th>"
	      "<th class=\"t\">mode</th><th>offset</th><th>certain from</th><th>to</th>"
	      "<th>95 % interval from</th><th>to</th><th>drift</th><th>feasible from</th><th>to</th><th>exchanges used</th>"
	      "<th>rejected</th></tr>\n", to);
	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_drift_result *d = r->vm[i].drift;
		uint64_t used = 0, rejected = 0;

		if (!d)
			continue;
		vns_clock_counts(d->clock, &used, &rejected);
		fputs("<tr><td class=\"t\">", to);
		vns_html_text(to, r->vm[i].name);
		fprintf(to, "</td><td class=\"t\">%s</td>", vns_clock_mode_name(d->mode));
		if (vns_drift_split(d) == VNS_SPLIT_WITHHELD)
			fprintf(to, "<td>not identifiable</td><td>%+.3f µs</td><td>%+.3f</td><td></td>"
				"<td></td>", d->at.lower_ns / 1e3, d->at.upper_ns / 1e3);
		else
			fprintf(to, "<td>%+.3f µs</td><td>%+.3f</td><td>%+.3f</td><td>%+.3f</td>"
				"<td>%+.3f</td>", d->at.offset_ns / 1e3, d->at.lower_ns / 1e3,
				d->at.upper_ns / 1e3, d->at.ci_lower_ns / 1e3, d->at.ci_upper_ns / 1e3);
		fprintf(to, "<td>%+.3f ppm</td><td>%+.3f ppm</td><td>%+.3f ppm</td><td>%llu</td>"
			"<td>%llu</td></tr>\n", d->at.drift_ppm, d->at.drift_lower_ppm,
			d->at.drift_upper_ppm, (unsigned long long)used, (unsigned long long)rejected);
	}
	fputs("</table></div>\n", to);
}

static void vo_row(FILE *to, const struct vns_report_vm *vm, int dir, int proto)
{
	const struct vns_vo_figure *f = &vm->vo->fig[dir][proto];
	bool withheld = vns_vo_split(vm->vo) == VNS_SPLIT_WITHHELD;
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], span[VNS_SPAN_LEN];

	fputs("<tr><td class=\"t\">", to);
	vns_html_text(to, vm->name);
	fputs("</td><td class=\"t\">", to);
	vns_html_text(to, vm->role);
	fprintf(to, "</td><td class=\"t\">%s</td><td class=\"t\">%s</td><td>%llu</td>",
		direction_title[dir], vns_proto_name((enum vns_proto)proto),
		(unsigned long long)f->first.n);
	vns_text_span(span, f->floor_lower_ns, f->floor_upper_ns);
	if (withheld)
		fprintf(to, "<td>%s<small>all that is certain</small></td>", span);
	else
		fprintf(to, "<td>%s<small>certain: %s</small></td>", vns_text_ns(a, (double)f->first.min), span);
	cells_of(to, &f->first, &f->interval, withheld ? f->first.min : 0); /* withheld: what is above it */
	if (withheld)
		fputs("<td>not identifiable: above the min</td></tr>\n", to);
	else
		fprintf(to, "<td>−%s +%s</td></tr>\n", vns_text_ns(a, f->err_minus_ns),
			vns_text_ns(b, f->err_plus_ns));
}

static void vo_table(FILE *to, const struct vns_report *r)
{
	fputs("<h2>Latency that virtualisation adds</h2><div class=\"scroll\"><table><tr>"
	      "<th class=\"t\">VM</th><th class=\"t\">workload</th><th class=\"t\">direction</th>"
	      "<th class=\"t\">protocol</th><th>packets</th><th>min</th><th>p50</th>"
	      "<th>p95</th><th>p99</th><th>max</th><th>mean</th>"
	      "<th>std dev</th><th>clock interval</th></tr>\n", to);
	for (size_t i = 0; i < r->n_vm; i++)
		for (int dir = 0; r->vm[i].vo && dir < VNS_DIRECTIONS; dir++)
			for (int p = 1; p < VNS_PROTOS; p++)
				if (r->vm[i].vo->fig[dir][p].first.n)
					vo_row(to, &r->vm[i], dir, p);
	fputs("</table></div>\n", to);
}

static void rtt_table(FILE *to, const struct vns_report *r)
{
	fputs("<h2>RTT that TCP sees</h2><div class=\"scroll\"><table><tr><th class=\"t\">VM</th>"
	      "<th class=\"t\">half of the path</th><th>samples</th><th>min</th><th>p50</th><th>p95</th>"
	      "<th>p99</th><th>max</th><th>mean</th><th>std dev</th></tr>\n", to);
	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_vo_target *t = r->vm[i].vo;

		for (int half = 0; t && half < 2; half++) {
			const struct vns_dist *d = half ? &t->rtt.client_side : &t->rtt.guest_side;
			const struct vns_intervals *within = half ? &t->rtt.client_interval :
								    &t->rtt.guest_interval;

			if (!d->n)
				continue;
			fputs("<tr><td class=\"t\">", to);
			vns_html_text(to, r->vm[i].name);
			fprintf(to, "</td><td class=\"t\">%s – %s</td><td>%llu</td>", t->from_point,
				half ? "client" : "VM", (unsigned long long)d->n);
			cell_ns(to, (double)d->min);
			cells_of(to, d, within, 0);
			fputs("</tr>\n", to);
		}
	}
	fputs("</table></div>\n", to);
}

static void accounting_table(FILE *to, const struct vns_report *r)
{
	static const char *const points[2] = { "host", "guest" };

	fputs("<h2>Every packet accounted for</h2><div class=\"scroll\"><table><tr><th class=\"t\">VM</th>"
	      "<th class=\"t\">point</th><th>read</th><th>matched</th><th>missing</th><th>ambiguous</th>"
	      "<th>outside window</th><th>undecodable</th><th>lost by the capture</th></tr>\n", to);
	for (size_t i = 0; i < r->n_vm; i++) {
		for (int p = 0; r->vm[i].vo && p < 2; p++) {
			const struct vns_twin_counts *c = &r->vm[i].vo->counts[p];

			fputs("<tr><td class=\"t\">", to);
			vns_html_text(to, r->vm[i].name);
			fprintf(to, "</td><td class=\"t\">%s</td><td>%llu</td>", points[p],
				(unsigned long long)c->read);
			for (int k = 0; k < VNS_TWIN_CLASSES; k++)
				fprintf(to, "<td>%llu</td>", (unsigned long long)c->in_class[k]);
			fprintf(to, "<td>%llu</td></tr>\n",
				(unsigned long long)r->vm[i].vo->capture_lost[p]);
		}
	}
	fputs("</table></div>\n", to);
}

static void vm_figures(FILE *to, const struct vns_report_vm *vm)
{
	char title[128];

	fputs("<h2>", to);
	vns_html_text(to, vm->name);
	fputs(" – ", to);
	vns_html_text(to, vm->role);
	fputs("</h2><div class=\"grid\">\n", to);
	for (int dir = 0; vm->vo && vns_vo_split(vm->vo) != VNS_SPLIT_WITHHELD &&
			  dir < VNS_DIRECTIONS; dir++) {
		struct vns_svg_series s[VNS_PROTOS];
		size_t n = 0;

		for (int p = 1; p < VNS_PROTOS; p++)
			s[n++] = (struct vns_svg_series){ vns_proto_name((enum vns_proto)p),
							  &vm->vo->fig[dir][p].first,
							  &vm->vo->fig[dir][p].interval, p - 1 };
		snprintf(title, sizeof(title), "%s, latency %s", vm->name, direction_title[dir]);
		fputs("<div>", to);
		vns_svg_cdf(to, title, s, n);
		fputs("</div>\n", to);
	}
	if (vm->vo) {
		const struct vns_vo_rtt *x = &vm->vo->rtt;
		struct vns_svg_series s[] = { { "VM and back", &x->guest_side, &x->guest_interval, 0 },
					      { "client and back", &x->client_side, &x->client_interval, 1 } };

		snprintf(title, sizeof(title), "%s, TCP RTT from the %s", vm->name, vm->vo->from_point);
		fputs("<div>", to);
		vns_svg_cdf(to, title, s, 2);
		fputs("</div>\n", to);
	}
	if (vm->drift && vm->drift->mode != VNS_CLOCK_SAME) {
		snprintf(title, sizeof(title), "%s, clock offset per exchange (%s)", vm->name,
			 vns_clock_mode_name(vm->drift->mode));
		fputs("<div>", to);
		vns_svg_clock(to, title, vm->drift->clock);
		fputs("</div>\n", to);
	}
	fputs("</div>\n", to);
}

static void how_to_read(FILE *to)
{
	fputs("<h2>How to read this</h2><dl>"
	      "<dt>Latency to and from the VM</dt><dd>The same packet is found at the host's capture point "
	      "and in the guest; its two time stamps are subtracted after the guest's clock has been "
	      "related to the host's. First byte's latency.</dd>"
	      "<dt>Clock interval</dt><dd>What the relation of the two clocks leaves open: the true value "
	      "lies between value − first and value + second figure, for certain while the guest's "
	      "clock is piecewise linear. An error moves one direction up and the other down; their sum "
	      "does not depend on it.</dd>"
	      "<dt>The small figures below, the bars in the charts</dt><dd>What a sample of this length leaves "
	      "open (95 % interval): from the spread of equal time blocks, since neighbouring packets share "
	      "their fate. Below the minimum stands what the clocks leave of it, for certain.</dd>"
	      "<dt>RTT</dt><dd>From TCP time stamps of the traffic itself (Strowes 2013), no probe sent. "
	      "Linux time stamps tick in 1 ms, so faster exchanges are sampled once a tick.</dd>"
	      "<dt>Percentiles</dt><dd>From a log-linear histogram, within 1 %; minimum, maximum, mean and "
	      "standard deviation are exact.</dd></dl>\n", to);
}

static void one_line(FILE *to, const char *text)
{
	if (!text || !*text)
		return;
	fputs("<p class=\"sub\">", to);
	vns_html_text(to, text);
	fputs("</p>\n", to);
}

void vns_report_html(const struct vns_report *r, FILE *to)
{
	time_t sec = (time_t)(r->at_ns / VNS_NSEC_PER_SEC);
	char when[64] = "";
	struct tm tm;

	if (gmtime_r(&sec, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
	      "content=\"width=device-width,initial-scale=1\"><title>", to);
	vns_html_text(to, r->title);
	fprintf(to, "</title><style>%s</style></head><body>\n<h1>", style);
	vns_html_text(to, r->title);
	fputs("</h1>\n", to);
	fprintf(to, "<p class=\"sub\">%s, %.1f s of traffic, vnetscope %s</p>\n", when,
		(double)r->duration_ns / 1e9, VNS_VERSION);
	one_line(to, r->host);
	one_line(to, r->lab);
	one_line(to, r->command);
	if (r->tcg)
		fputs("<p class=\"warn\">The guests ran under TCG, software emulation. Do not read these "
		      "figures as KVM's.</p>\n", to);
	if (r->interrupted)
		fputs("<p class=\"warn\">The run was interrupted before its time.</p>\n", to);
	remarks(to, r);
	fputs("<h2>Reading</h2><ul>\n", to);
	vns_report_reading(r, reading_item, to);
	fputs("</ul>\n", to);
	clock_table(to, r);
	vo_table(to, r);
	rtt_table(to, r);
	for (size_t i = 0; i < r->n_vm; i++)
		vm_figures(to, &r->vm[i]);
	accounting_table(to, r);
	how_to_read(to);
	fputs("</body></html>\n", to);
}
