// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A report's figures -> one aligned table for the terminal.
 */
#include <vnetscope/output.h>
#include "report/report.h"

static void interval_cell(struct vns_table *t, double minus_ns, double plus_ns)
{
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN];

	vns_table_cell(t, "-%s +%s", vns_text_ns(a, minus_ns), vns_text_ns(b, plus_ns));
}

static void clock_rows(struct vns_table *t, const struct vns_report *r)
{
	for (size_t i = 0; i < r->n_vm; i++) {
		const struct vns_drift_result *d = r->vm[i].drift;
		char buf[VNS_TEXT_LEN];

		if (!d)
			continue;
		vns_table_cell(t, "%s", r->vm[i].name);
		vns_table_cell(t, "%s", r->vm[i].role);
		vns_table_cell(t, "%s", vns_clock_mode_name(d->mode));
		if (vns_drift_split(d) == VNS_SPLIT_WITHHELD) {
			vns_table_cell(t, "%s ..", vns_text_signed_ns(buf, d->at.lower_ns));
			vns_table_cell(t, "%s", vns_text_signed_ns(buf, d->at.upper_ns));
		} else {
			vns_table_cell(t, "%s", vns_text_signed_ns(buf, d->at.offset_ns));
			interval_cell(t, d->at.offset_ns - d->at.lower_ns,
				      d->at.upper_ns - d->at.offset_ns);
		}
		vns_table_cell(t, "%+.3f ppm", d->at.drift_ppm);
		vns_table_cell(t, "%+.3f .. %+.3f", d->at.drift_lower_ppm, d->at.drift_upper_ppm);
	}
}

/* A figure, or, where the split of the directions is withheld, what is above the least ("+5 us"). */
static void latency_cell(struct vns_table *t, const struct vns_report_vm *vm,
			 const struct vns_vo_figure *f, double v)
{
	char a[VNS_TEXT_LEN];

	if (vns_vo_split(vm->vo) == VNS_SPLIT_WITHHELD)
		vns_table_cell(t, "%s", vns_text_signed_ns(a, v - (double)f->first.min));
	else
		vns_table_cell(t, "%s", vns_text_ns(a, v));
}

static void vo_row(struct vns_table *t, const struct vns_report_vm *vm, int dir, int p)
{
	const struct vns_vo_figure *f = &vm->vo->fig[dir][p];
	bool withheld = vns_vo_split(vm->vo) == VNS_SPLIT_WITHHELD;
	char a[VNS_SPAN_LEN];

	vns_table_cell(t, "%s", vm->name);
	vns_table_cell(t, "%s", dir == VNS_HOST_TO_GUEST ? "to VM" : "from VM");
	vns_table_cell(t, "%s", vns_proto_name((enum vns_proto)p));
	vns_table_cell(t, "%s", vns_text_count(a, f->first.n));
	if (withheld)
		vns_table_cell(t, "%s", vns_text_span(a, f->floor_lower_ns, f->floor_upper_ns));
	else
		vns_table_cell(t, "%s", vns_text_ns(a, (double)f->first.min));
	latency_cell(t, vm, f, (double)vns_dist_quantile(&f->first, 0.5));
	latency_cell(t, vm, f, (double)vns_dist_quantile(&f->first, 0.95));
	latency_cell(t, vm, f, (double)vns_dist_quantile(&f->first, 0.99));
	latency_cell(t, vm, f, f->first.mean);
	if (withheld)
		vns_table_cell(t, "above min");
	else
		interval_cell(t, f->err_minus_ns, f->err_plus_ns);
}

/* The 95 % intervals of such a row. */
static void within_row(struct vns_table *t, const struct vns_report_vm *vm, int dir, int p)
{
	const struct vns_vo_figure *f = &vm->vo->fig[dir][p];
	bool withheld = vns_vo_split(vm->vo) == VNS_SPLIT_WITHHELD;

	vns_table_cell(t, "%s", vm->name);
	vns_table_cell(t, "%s", dir == VNS_HOST_TO_GUEST ? "to VM" : "from VM");
	vns_table_cell(t, "%s", vns_proto_name((enum vns_proto)p));
	vns_table_excess(t, &f->interval, withheld ? f->first.min : 0);
}

static void rtt_rows(struct vns_table t[2], const struct vns_report_vm *vm, struct vns_text_why *why)
{
	const struct vns_dist *half[] = { &vm->vo->rtt.guest_side, &vm->vo->rtt.client_side };
	const struct vns_intervals *within[] = { &vm->vo->rtt.guest_interval, &vm->vo->rtt.client_interval };
	char a[VNS_TEXT_LEN];

	for (int i = 0; i < 2; i++) {
		if (!half[i]->n)
			continue;
		for (int k = 0; k < 2; k++) {
			vns_table_cell(&t[k], "%s", vm->name);
			vns_table_cell(&t[k], "%s - %s - %s", vm->vo->from_point, i ? "client" : "VM",
				       vm->vo->from_point);
		}
		vns_table_cell(&t[0], "%s", vns_text_count(a, half[i]->n));
		vns_table_dist(&t[0], half[i]);
		vns_table_intervals(&t[1], within[i]);
		vns_text_why_add(why, half[i], within[i]);
	}
}

static void print_and_drop(struct vns_table *t, const char *title, FILE *to)
{
	fprintf(to, "\n%s\n", title);
	vns_table_print(t, to);
	vns_table_fini(t);
}

void vns_report_table(const struct vns_report *r, FILE *to)
{
	struct vns_text_why of_vo = { 0 }, of_rtt = { 0 };
	struct vns_table t[2];

	vns_table_init(t, "<<<>>>>", (const char *[]){ "VM", "workload", "mode", "clock offset",
						       "certain within", "drift", "feasible (ppm)" });
	clock_rows(t, r);
	print_and_drop(t, "Clock of each VM against the host's (+: ahead)", to);

	vns_table_init(&t[0], "<<<>>>>>>>", (const char *[]){ "VM", "way", "proto", "packets", "min", "p50",
							      "p95", "p99", "mean", "clock interval" });
	vns_table_init(&t[1], "<<<>>>>", (const char *[]){ "VM", "way", "proto", "mean", "p50", "p95", "p99" });
	for (size_t i = 0; i < r->n_vm; i++)
		for (int dir = 0; r->vm[i].vo && dir < VNS_DIRECTIONS; dir++)
			for (int p = 1; p < VNS_PROTOS; p++)
				if (r->vm[i].vo->fig[dir][p].first.n) {
					vo_row(&t[0], &r->vm[i], dir, p);
					within_row(&t[1], &r->vm[i], dir, p);
					vns_text_why_add(&of_vo, &r->vm[i].vo->fig[dir][p].first,
							 &r->vm[i].vo->fig[dir][p].interval);
				}
	print_and_drop(&t[0], "Latency that virtualisation adds, by VM, direction and protocol", to);
	print_and_drop(&t[1], "These within (95 %, by the samples alone)", to);
	of_vo.single = false; /* its "-" are intervals alone */
	vns_text_why_print(&of_vo, "packets", VNS_TEXT_COLUMNS, to);

	vns_table_init(&t[0], "<<>>>>>>>", (const char *[]){ "VM", "path", "samples", "min", "mean", "p50",
							     "p95", "p99", "max" });
	vns_table_init(&t[1], "<<>>>>", (const char *[]){ "VM", "path", "mean", "p50", "p95", "p99" });
	for (size_t i = 0; i < r->n_vm; i++)
		if (r->vm[i].vo)
			rtt_rows(t, &r->vm[i], &of_rtt);
	print_and_drop(&t[0], "RTT that TCP itself sees (time stamps, passive; the client's half holds its "
		       "own pauses)", to);
	print_and_drop(&t[1], "These within (95 %, by the samples alone)", to);
	vns_text_why_print(&of_rtt, "samples", VNS_TEXT_COLUMNS, to);
}
