// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Passive RTT for people and programs: struct vns_rtt_result -> text, JSON, CSV.
 */
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include <vnetscope/output.h>

#include "output/rtt_flow.h"

/* {"ts": {"samples", "rtt_ns"}, ...}: every kind that was looked for. */
static json_t *methods(unsigned int kinds, const struct vns_dist dist[VNS_RTT_KINDS],
		       const struct vns_intervals interval[VNS_RTT_KINDS])
{
	json_t *all = json_object();

	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		json_t *o, *figures;

		if (!(kinds & 1u << k))
			continue;
		o = json_object();
		figures = vns_json_dist(&dist[k]);
		json_object_del(figures, "n"); /* stands beside it as "samples" */
		json_object_set_new(o, "samples", vns_json_u64(dist[k].n));
		json_object_set_new(o, "rtt_ns", figures);
		json_object_set_new(o, "sampling_interval_ns",
				    vns_json_intervals(&interval[k]));
		if (k == VNS_RTT_QUIC_SPIN)
			json_object_set_new(o, "note", json_string(VNS_RTT_SPIN_NOTE));
		json_object_set_new(all, vns_rtt_kind_name((enum vns_rtt_kind)k), o);
	}
	return all;
}

static json_t *json_flow_counts(const struct vns_rtt_counts *c)
{
	static const struct vns_json_counter rows[] = {
		{ "opened", offsetof(struct vns_rtt_counts, flows) },
		{ "live", offsetof(struct vns_rtt_counts, flows_live) },
		{ "closed", offsetof(struct vns_rtt_counts, flows_closed) },
		{ "evicted_idle", offsetof(struct vns_rtt_counts, flows_evicted_idle) },
		{ "evicted_full", offsetof(struct vns_rtt_counts, flows_evicted_full) },
		{ "ports_reused", offsetof(struct vns_rtt_counts, flows_reused) },
		{ "one_direction", offsetof(struct vns_rtt_counts, flows_one_direction) },
	};
	json_t *o = json_object();

	vns_json_set_counters(o, c, rows, sizeof(rows) / sizeof(rows[0]));
	return o;
}

json_t *vns_rtt_json_totals(const struct vns_rtt_result *r)
{
	json_t *o = json_object(), *points;

	json_object_set_new(o, "methods", methods(r->kinds, r->total, r->total_interval));
	json_object_set_new(o, "from_ns", json_integer(r->from_ns));
	json_object_set_new(o, "to_ns", json_integer(r->to_ns));
	json_object_set_new(o, "flows", json_flow_counts(&r->counts));
	json_object_set_new(o, "interrupted", json_boolean(r->interrupted));
	if (r->n_point < 2)
		return o;
	points = json_array();
	for (size_t i = 0; i < r->n_point; i++) {
		json_t *p = json_object();

		json_object_set_new(p, "point", json_integer(r->point[i].point));
		if (r->point[i].name[0])
			json_object_set_new(p, "name", vns_json_string(r->point[i].name));
		json_object_set_new(p, "methods",
				    methods(r->kinds, r->point[i].rtt, r->point[i].interval));
		json_array_append_new(points, p);
	}
	json_object_set_new(o, "points", points);
	return o;
}

static uint64_t with_timestamp(const struct vns_rtt_counts *c)
{
	return c->tsval_stored + c->tsval_repeated + c->tsval_backwards + c->pure_acks;
}

static uint64_t with_sequence(const struct vns_rtt_counts *c)
{
	return c->seq_stored + c->seq_repeated + c->seq_late + c->seq_probe + c->seq_old +
	       c->seq_pure_acks;
}

/* Members of "accounting" that are those of struct vns_rtt_counts. */
#define COUNTER(field) VNS_JSON_COUNTER(struct vns_rtt_counts, field)
static const struct vns_json_counter counters[] = {
	COUNTER(not_tcp), COUNTER(undecodable), COUNTER(options_cut), COUNTER(no_timestamp),
	COUNTER(timestamp_not_read), COUNTER(tsval_stored), COUNTER(tsval_repeated),
	COUNTER(tsval_backwards), COUNTER(pure_acks), COUNTER(tsval_passed),
	COUNTER(outstanding_dropped), COUNTER(echo_matched), COUNTER(echo_repeated),
	COUNTER(echo_unknown), COUNTER(echo_before_tsval), COUNTER(seq_not_read),
	COUNTER(seq_stored), COUNTER(seq_repeated), COUNTER(seq_late), COUNTER(seq_probe),
	COUNTER(seq_old), COUNTER(seq_pure_acks), COUNTER(seq_dropped), COUNTER(ack_matched),
	COUNTER(ack_sacked), COUNTER(ack_ambiguous), COUNTER(ack_behind_hole),
	COUNTER(ack_after_sack), COUNTER(ack_inside), COUNTER(ack_repeated), COUNTER(ack_old),
	COUNTER(ack_unseen), COUNTER(ack_no_data), COUNTER(ack_before_segment),
};

json_t *vns_rtt_json_accounting(const struct vns_rtt_result *r)
{
	const struct vns_rtt_counts *c = &r->counts;
	json_t *o = json_object();

	json_object_set_new(o, "read", vns_json_u64(c->packets + r->other_point));
	json_object_set_new(o, "other_point", vns_json_u64(r->other_point));
	json_object_set_new(o, "with_timestamp", vns_json_u64(with_timestamp(c)));
	json_object_set_new(o, "with_sequence", vns_json_u64(with_sequence(c)));
	vns_json_set_counters(o, c, counters, sizeof(counters) / sizeof(counters[0]));
	json_object_set_new(o, "filtered", vns_json_u64(r->source.filtered));
	json_object_set_new(o, "capture_lost", vns_json_u64(r->source.dropped));
	json_object_set_new(o, "bad_records", vns_json_u64(r->source.bad_records));
	json_object_set_new(o, "file_cut", json_boolean(r->source.truncated != 0));
	json_object_set_new(o, "file_damaged", json_boolean(r->source.damaged != 0));
	json_object_set_new(o, "seems_doubled", json_boolean(vns_rtt_seems_doubled(r)));
	json_object_set_new(o, "time_backwards", vns_json_u64(r->source.backwards));
	json_object_set_new(o, "flows_hidden", vns_json_u64(r->flows_hidden));
	json_object_set_new(o, "flows_out_of_memory", vns_json_u64(r->memory_flows));
	json_object_set_new(o, "memory_bytes",
			    r->memory_bytes ? vns_json_u64(r->memory_bytes) : json_null());
	if (r->kinds & VNS_RTT_APP_KINDS)
		json_object_set_new(o, "beyond_tcp", vns_rtt_json_app(r));
	return o;
}

int vns_rtt_print_json(const struct vns_rtt_result *r, bool flows, const struct vns_rtt_path *paths,
		       size_t n_paths, json_t *head, FILE *to)
{
	struct vns_json_stream s;

	vns_json_set_percentile_error(head);
	vns_json_stream_begin(&s, to, head);
	if (flows) {
		vns_json_stream_array(&s, "flows");
		for (size_t i = 0; i < r->n_flow && !ferror(to); i++) {
			vns_json_stream_next(&s);
			vns_rtt_json_flow(&r->flow[i], r->n_point > 1, to);
		}
		vns_json_stream_array_end(&s);
	}
	if (r->groups.by)
		vns_rtt_json_groups(r, &s);
	if (paths)
		vns_rtt_json_paths(paths, n_paths, r->n_point > 1, &s);
	vns_json_stream_member(&s, "totals", vns_rtt_json_totals(r));
	vns_json_stream_member(&s, "accounting", vns_rtt_json_accounting(r));
	return vns_json_stream_end(&s);
}

int vns_rtt_print_csv(const struct vns_rtt_result *r, FILE *to)
{
	fputs("src,sport,dst,dport,method,samples,min_ns,mean_ns,p50_ns,p95_ns,p99_ns,max_ns,"
	      "stddev_ns,packets,first_ns,last_ns,ended,point,tsval_hz,tsval_error_hz,"
	      VNS_RTT_CSV_INTERVALS "\n", to);
	for (size_t i = 0; i < r->n_flow; i++) {
		const struct vns_rtt_entry *e = &r->flow[i];
		char src[VNS_ADDR_STRLEN], dst[VNS_ADDR_STRLEN];

		fprintf(to, "%s,%u,%s,%u,%s,%" PRIu64 ",%" PRId64 ",%.3f,%" PRId64 ",%" PRId64
			",%" PRId64 ",%" PRId64 ",%.3f,%" PRIu64 ",%" PRId64 ",%" PRId64 ",%d,%u,%.6g,%.3g",
			vns_addr_format(&e->key.addr[e->dir], src), (unsigned)e->key.port[e->dir],
			vns_addr_format(&e->key.addr[!e->dir], dst),
			(unsigned)e->key.port[!e->dir], vns_rtt_kind_name(e->kind), e->samples,
			e->min, e->mean, e->p50, e->p95, e->p99, e->max, e->stddev, e->packets, e->first_ns, e->last_ns, e->ended,
			(unsigned)e->point, e->clock.hz, e->clock.error_hz);
		vns_rtt_csv_intervals(&e->interval, to);
	}
	return vns_text_flush(to);
}

/* "10.0.0.1:80", "[fd00::1]:80". */
static const char *endpoint(const struct vns_rtt_entry *e, unsigned end, char buf[64])
{
	char addr[VNS_ADDR_STRLEN];
	bool v4 = vns_addr_is_v4(&e->key.addr[end]);

	vns_addr_format(&e->key.addr[end], addr);
	if (e->key.port[end] == 0) /* ICMP, DNS clients: figures of a host */
		snprintf(buf, 64, "%s", addr);
	else
		snprintf(buf, 64, "%s%s%s:%u", v4 ? "" : "[", addr, v4 ? "" : "]",
			 (unsigned)e->key.port[end]);
	return buf;
}

/* What a kind's samples are, in a table's head or first column. */
const char *vns_rtt_kind_label(enum vns_rtt_kind kind)
{
	static const char *const labels[VNS_RTT_KINDS] = {
		[VNS_RTT_TS] = "TCP timestamps",
		[VNS_RTT_SEQ] = "TCP seq/ack",
		[VNS_RTT_HANDSHAKE] = "TCP handshake",
		[VNS_RTT_ICMP] = "ICMP echo",
		[VNS_RTT_DNS] = "DNS",
		[VNS_RTT_QUIC_HANDSHAKE] = "QUIC handshake",
		[VNS_RTT_QUIC_SPIN] = "QUIC spin bit",
	};

	return labels[kind];
}

/* "1 kHz", "about 128 Hz", "?" when unknown; "*" when it is coarse. */
static void clock_cell(struct vns_table *t, const struct vns_rtt_entry *e)
{
	const struct vns_rtt_clock *c = &e->clock;
	const char *star = vns_rtt_clock_is_coarse(e) ? " *" : "";

	if (c->hz <= 0)
		vns_table_cell(t, "?");
	else if (c->nominal_hz == 1000000)
		vns_table_cell(t, "1 MHz%s", star);
	else if (c->nominal_hz)
		vns_table_cell(t, "%u Hz%s", (unsigned)c->nominal_hz, star);
	else
		vns_table_cell(t, "about %.4g Hz%s", c->hz, star);
}

/* A second table: of those with samples enough. */
static void print_kind_intervals(const struct vns_rtt_entry *e, size_t n, FILE *to)
{
	static const char *const heads[] = { "within (95 %)", "to (and back)", "mean", "p50", "p95",
					     "p99" };
	struct vns_table t;
	char a[64];

	vns_table_init(&t, "<<>>>>", heads);
	for (; n--; e++) {
		if (!vns_interval_known(&e->interval.mean))
			continue;
		vns_table_cell(&t, "%s", endpoint(e, e->dir, a));
		vns_table_cell(&t, "%s", endpoint(e, !e->dir, a));
		vns_table_intervals(&t, &e->interval);
	}
	if (t.n) {
		fputc('\n', to);
		vns_table_print(&t, to);
	}
	vns_table_fini(&t);
}

/* The @n directions from @e on, all of one kind. */
static void print_kind(const struct vns_rtt_entry *e, size_t n, FILE *to)
{
	const char *const heads[] = { vns_rtt_kind_label(e->kind), "to (and back)", "samples", "min", "mean",
				      "p50", "p95", "p99", "max", "stddev", "TSval clock" };
	const struct vns_rtt_entry *first = e;
	bool ts = e->kind == VNS_RTT_TS;
	size_t coarse = 0, all = n;
	char a[64], b[VNS_TEXT_LEN];
	struct vns_table t;

	vns_table_init(&t, ts ? "<<>>>>>>>>>" : "<<>>>>>>>>", heads);
	for (; n--; e++) {
		const double v[] = { (double)e->min, e->mean, (double)e->p50, (double)e->p95,
				     (double)e->p99, (double)e->max, e->stddev };

		vns_table_cell(&t, "%s", endpoint(e, e->dir, a));
		vns_table_cell(&t, "%s", endpoint(e, !e->dir, a));
		vns_table_cell(&t, "%s", vns_text_count(b, e->samples));
		for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++)
			vns_table_cell(&t, "%s", vns_text_ns(b, v[k]));
		if (ts)
			clock_cell(&t, e);
		coarse += vns_rtt_clock_is_coarse(e);
	}
	vns_table_print(&t, to);
	vns_table_fini(&t);
	if (coarse)
		fprintf(to, "* %s directions: a tick is longer than the median, so many round trips go "
			"unseen (--method seq sees them)\n", vns_text_count(b, coarse));
	print_kind_intervals(first, all, to);
}

/* One block per kind (the flows stand kind by kind), of each at most @max lines. */
static void print_flows(const struct vns_rtt_result *r, size_t max, FILE *to)
{
	char b[VNS_TEXT_LEN];

	for (size_t i = 0, n; i < r->n_flow; i += n) {
		for (n = 1; i + n < r->n_flow && r->flow[i + n].kind == r->flow[i].kind;)
			n++;
		print_kind(&r->flow[i], max && n > max ? max : n, to);
		if (max && n > max)
			fprintf(to, "... and %s more\n", vns_text_count(b, n - max));
		fputc('\n', to);
	}
}

/* One row of the table of figures, and of that of their intervals. */
static void total_row(struct vns_table t[2], const char *name, const struct vns_dist *d,
		      const struct vns_intervals *interval)
{
	char b[VNS_TEXT_LEN];

	vns_table_cell(&t[0], "%s", name);
	vns_table_cell(&t[0], "%s", vns_text_count(b, d->n));
	vns_table_dist(&t[0], d);
	vns_table_cell(&t[0], "%s", d->n ? vns_text_ns(b, vns_dist_stddev(d)) : "-");
	if (!d->n)
		return;
	vns_table_cell(&t[1], "%s", name);
	vns_table_intervals(&t[1], interval);
}

/* A kind of TCP without samples is no row where other kinds have some and no packet was TCP. */
static bool is_idle(const struct vns_rtt_result *r, int kind)
{
	uint64_t others = 0;

	for (int k = 0; k < VNS_RTT_KINDS; k++)
		others += r->total[k].n;
	return others && r->counts.packets == r->counts.not_tcp + r->counts.undecodable &&
	       !(VNS_RTT_APP_KINDS & 1u << kind) && !r->total[kind].n;
}

static void print_totals(const struct vns_rtt_result *r, FILE *to)
{
	static const char *const heads[] = { "RTT", "samples", "min", "mean", "p50",
					     "p95", "p99", "max", "stddev" };
	static const char *const within[] = { "within (95 %)", "mean", "p50", "p95", "p99" };
	struct vns_table t[2];
	char name[96];

	vns_table_init(&t[0], "<>>>>>>>>", heads);
	vns_table_init(&t[1], "<>>>>", within);
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		const char *label = vns_rtt_kind_label((enum vns_rtt_kind)k);

		if (!(r->kinds & 1u << k) || is_idle(r, k))
			continue;
		for (size_t i = 0; r->n_point > 1 && i < r->n_point; i++) {
			const char *of = r->point[i].name;

			snprintf(name, sizeof(name), "%s, point %u%s%s", label,
				 (unsigned)r->point[i].point, of[0] ? " " : "", of);
			total_row(t, name, &r->point[i].rtt[k], &r->point[i].interval[k]);
		}
		snprintf(name, sizeof(name), "%s, all %s", label,
			 r->n_point > 1 ? "points" : "flows");
		total_row(t, name, &r->total[k], &r->total_interval[k]);
	}
	vns_table_print(&t[0], to);
	if (t[1].n) {
		fputc('\n', to);
		vns_table_print(&t[1], to);
	}
	vns_table_fini(&t[0]);
	vns_table_fini(&t[1]);
}

/* ", N what" unless N is 0. */
static void also(FILE *to, uint64_t n, const char *what)
{
	char b[VNS_TEXT_LEN];

	if (n)
		fprintf(to, ", %s %s", vns_text_count(b, n), what);
}

/* What gave no sample, and why. */
static void print_sequence(const struct vns_rtt_counts *c, FILE *to)
{
	char b[VNS_TEXT_LEN], t[VNS_TEXT_LEN];

	if (!with_sequence(c))
		return;
	fprintf(to, "\nranges   %s remembered by sequence number: %s acknowledged",
		vns_text_count(b, c->seq_stored),
		vns_text_count(t, c->ack_matched + c->ack_sacked));
	also(to, c->seq_repeated, "sent again");
	also(to, c->seq_late, "late (reordered, or lost before)");
	also(to, c->ack_ambiguous, "ambiguous ACKs");
	also(to, c->ack_behind_hole, "ACKs that filled a hole");
	also(to, c->ack_inside, "ACKs inside a segment");
	also(to, c->ack_unseen, "ACKs of what was not seen");
	also(to, c->seq_dropped, "given up");
}

static void print_accounting(const struct vns_rtt_result *r, FILE *to)
{
	const struct vns_rtt_counts *c = &r->counts;
	char b[VNS_TEXT_LEN], t[VNS_TEXT_LEN];

	fprintf(to, "\npackets  %s read over %s: ", vns_text_count(b, c->packets + r->other_point),
		vns_text_ns(t, (double)(r->to_ns - r->from_ns)));
	fprintf(to, "%s with timestamps", vns_text_count(b, with_timestamp(c)));
	also(to, c->no_timestamp, "TCP without");
	also(to, c->not_tcp, "not TCP");
	also(to, c->options_cut, "with TCP options cut");
	also(to, c->undecodable, "cut or malformed");
	also(to, r->other_point, "of other points");
	also(to, r->source.bad_records, "bad records skipped");
	also(to, r->source.dropped, "LOST BY THE CAPTURE");
	also(to, r->source.backwards, "with time running back");
	if (with_timestamp(c)) {
		fprintf(to, "\nTSvals   %s remembered: %s echoed", vns_text_count(b, c->tsval_stored),
			vns_text_count(t, c->echo_matched));
		also(to, c->tsval_passed, "passed by a later echo (delayed ACKs)");
		also(to, c->outstanding_dropped, "given up");
	}
	print_sequence(c, to);
	fprintf(to, "\nflows    %s", vns_text_count(b, c->flows));
	also(to, c->flows_one_direction, "seen in one direction only");
	also(to, c->flows_closed, "closed");
	also(to, c->flows_evicted_idle, "aged out");
	also(to, c->flows_evicted_full, "PUSHED OUT OF A FULL TABLE");
	also(to, c->flows_reused, "with ports used again");
	also(to, r->flows_hidden, "directions not listed");
	fputc('\n', to);
}

int vns_rtt_print_text(const struct vns_rtt_result *r, bool flows, size_t max_flows, FILE *to)
{
	if (flows && r->n_flow)
		print_flows(r, max_flows, to);
	print_totals(r, to);
	print_accounting(r, to);
	vns_rtt_text_app(r, to);
	return vns_text_flush(to);
}
