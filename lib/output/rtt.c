// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Passive RTT for people and programs: struct vns_rtt_result -> text, JSON, CSV.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <vnetscope/output.h>

#include "output/rtt_flow.h"
#include "output/rtt_say.h"

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
		{ "returned", offsetof(struct vns_rtt_counts, flows_returned) },
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
	COUNTER(tsval_unanswered), COUNTER(tsval_pushed_out), COUNTER(tsval_waiting),
	COUNTER(outstanding_dropped), COUNTER(echo_matched), COUNTER(echo_repeated),
	COUNTER(echo_unknown), COUNTER(echo_before_tsval), COUNTER(seq_not_read),
	COUNTER(seq_stored), COUNTER(seq_repeated), COUNTER(seq_late), COUNTER(seq_probe),
	COUNTER(seq_old), COUNTER(seq_pure_acks), COUNTER(seq_dropped), COUNTER(seq_pushed_out), COUNTER(ack_matched),
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
	json_object_set_new(o, "seen_again", vns_json_u64(r->seen_again));
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
		for (size_t i = 0; i < r->rows.n && !ferror(to); i++) {
			struct vns_rtt_entry e;

			vns_rtt_rows_get(&r->rows, i, &e);
			vns_json_stream_next(&s);
			vns_rtt_json_flow(&e, r->n_point > 1, to);
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

static void csv_row(const struct vns_rtt_entry *e, FILE *to)
{
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

int vns_rtt_print_csv(const struct vns_rtt_result *r, FILE *to)
{
	fputs("src,sport,dst,dport,method,samples,min_ns,mean_ns,p50_ns,p95_ns,p99_ns,max_ns,"
	      "stddev_ns,packets,first_ns,last_ns,ended,point,tsval_hz,tsval_error_hz,"
	      VNS_RTT_CSV_INTERVALS "\n", to);
	for (size_t i = 0; i < r->rows.n; i++) {
		struct vns_rtt_entry e;

		vns_rtt_rows_get(&r->rows, i, &e);
		csv_row(&e, to);
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

/* A second table: of those with samples enough. The @n rows from @from on. */
static void print_kind_intervals(const struct vns_rtt_rows *rows, size_t from, size_t n, FILE *to)
{
	static const char *const heads[] = { "within (95 %)", "to (and back)", "mean", "p50", "p95",
					     "p99" };
	struct vns_rtt_entry e;
	struct vns_table t;
	char a[64];

	vns_table_init(&t, "<<>>>>", heads);
	for (size_t i = from; i < from + n; i++) {
		vns_rtt_rows_get(rows, i, &e);
		if (!vns_interval_known(&e.interval.mean))
			continue;
		vns_table_cell(&t, "%s", endpoint(&e, e.dir, a));
		vns_table_cell(&t, "%s", endpoint(&e, !e.dir, a));
		vns_table_intervals(&t, &e.interval);
	}
	if (t.n > t.columns) {
		fputc('\n', to);
		vns_table_print_within(&t, 2, to);
	}
	vns_table_fini(&t);
}

static void flow_cells(struct vns_table *t, const struct vns_rtt_entry *e)
{
	const double v[] = { (double)e->min, e->mean, (double)e->p50, (double)e->p95,
			     (double)e->p99, (double)e->max, e->stddev };
	char a[64], b[VNS_TEXT_LEN];

	vns_table_cell(t, "%s", endpoint(e, e->dir, a));
	vns_table_cell(t, "%s", endpoint(e, !e->dir, a));
	vns_table_cell(t, "%s", vns_text_count(b, e->samples));
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++)
		vns_table_cell(t, "%s", vns_text_ns(b, v[k]));
	if (e->kind == VNS_RTT_TS)
		clock_cell(t, e);
}

/* The @n directions from @from on, all of one @kind. */
static void print_kind(const struct vns_rtt_rows *rows, size_t from, size_t n, enum vns_rtt_kind kind,
		       FILE *to)
{
	enum { STDDEV = 9 };
	const char *const heads[] = { vns_rtt_kind_label(kind), "to (and back)", "samples", "min", "mean",
				      "p50", "p95", "p99", "max", "stddev", "TS clock" };
	struct vns_rtt_entry e;
	struct vns_table t;
	char b[VNS_TEXT_LEN];
	size_t coarse = 0;

	vns_table_init(&t, kind == VNS_RTT_TS ? "<<>>>>>>>>>" : "<<>>>>>>>>", heads);
	for (size_t i = from; i < from + n; i++) {
		vns_rtt_rows_get(rows, i, &e);
		flow_cells(&t, &e);
		coarse += vns_rtt_clock_is_coarse(&e);
	}
	vns_table_leave_out(&t, STDDEV);
	vns_table_print_within(&t, 2, to);
	vns_table_fini(&t);
	if (coarse)
		fprintf(to, "* %s directions: a tick is longer than the median, so many round trips go "
			"unseen (--method seq sees them)\n", vns_text_count(b, coarse));
	print_kind_intervals(rows, from, n, to);
}

/* One block per kind (the flows stand kind by kind), of each at most @max lines. */
static void print_flows(const struct vns_rtt_result *r, size_t max, FILE *to)
{
	const struct vns_rtt_rows *rows = &r->rows;
	struct vns_rtt_entry e;
	char b[VNS_TEXT_LEN];

	for (size_t i = 0, n; i < rows->n; i += n) {
		enum vns_rtt_kind kind;

		vns_rtt_rows_get(rows, i, &e);
		kind = e.kind;
		for (n = 1; i + n < rows->n && (vns_rtt_rows_get(rows, i + n, &e), e.kind == kind);)
			n++;
		print_kind(rows, i, max && n > max ? max : n, kind, to);
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

/* Whether there was anything to read a kind from: what the capture has nothing of is no row. */
static bool has_traffic(const struct vns_rtt_counts *c, const struct vns_rtt_app_counts *a, int kind)
{
	switch (kind) {
	case VNS_RTT_TS:
		return with_timestamp(c);
	case VNS_RTT_SEQ:
		return with_sequence(c);
	case VNS_RTT_ICMP:
		return a->icmp.requests + a->icmp.replies;
	case VNS_RTT_DNS:
		return a->dns.requests + a->dns.replies + a->dns_tcp.unread;
	case VNS_RTT_QUIC_HANDSHAKE:
		return a->quic.long_headers;
	case VNS_RTT_QUIC_SPIN:
		return a->quic.short_headers;
	}
	return false; /* a handshake is its sample */
}

/* Rows of one kind: those of each point, where there are several, and that of all. */
static void total_rows(struct vns_table t[2], const struct vns_rtt_result *r, int k)
{
	static const struct vns_rtt_app_counts none;
	const char *label = vns_rtt_kind_label((enum vns_rtt_kind)k);
	char name[96];

	for (size_t i = 0; r->n_point > 1 && i < r->n_point; i++) {
		const struct vns_rtt_point *p = &r->point[i];

		if (!p->rtt[k].n && !has_traffic(&p->counts, &none, k))
			continue;
		snprintf(name, sizeof(name), "%s, point %u%s%s", label, (unsigned)p->point,
			 p->name[0] ? " " : "", p->name);
		total_row(t, name, &p->rtt[k], &p->interval[k]);
	}
	snprintf(name, sizeof(name), "%s, all %s", label, r->n_point > 1 ? "points" : "flows");
	total_row(t, name, &r->total[k], &r->total_interval[k]);
}

static void print_totals(const struct vns_rtt_result *r, FILE *to)
{
	enum { STDDEV = 8 };
	static const char *const heads[] = { "RTT", "samples", "min", "mean", "p50",
					     "p95", "p99", "max", "stddev" };
	static const char *const within[] = { "within (95 %)", "mean", "p50", "p95", "p99" };
	struct vns_table t[2];

	vns_table_init(&t[0], "<>>>>>>>>", heads);
	vns_table_init(&t[1], "<>>>>", within);
	for (int k = 0; k < VNS_RTT_KINDS; k++)
		if (r->kinds & 1u << k && (r->total[k].n || has_traffic(&r->counts, &r->app, k)))
			total_rows(t, r, k);
	vns_table_leave_out(&t[0], STDDEV);
	for (int i = 0; i < 2; i++) {
		if (t[i].n > t[i].columns) {
			if (i)
				fputc('\n', to);
			vns_table_print_within(&t[i], 1, to);
		}
		vns_table_fini(&t[i]);
	}
}

/* --- What became of the packets, in sentences --- */

void vns_rtt_say(struct vns_rtt_sentence *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	s->n += (size_t)vsnprintf(s->text + s->n, sizeof(s->text) - s->n, fmt, ap);
	va_end(ap);
	if (s->n >= sizeof(s->text))
		s->n = sizeof(s->text) - 1;
}

/* Of "{packet was|packets were} lost" the words that fit @n, to @to, which has room for them. Return: @to. */
static const char *plural(char *to, size_t size, uint64_t n, const char *words)
{
	enum { ALL, ONE, MANY } part = ALL;
	size_t len = 0;

	for (; *words && len + 1 < size; words++) {
		if (part == ALL && *words == '{')
			part = ONE;
		else if (part == ONE && *words == '|')
			part = MANY;
		else if (part == MANY && *words == '}')
			part = ALL;
		else if (part == ALL || (part == ONE) == (n == 1))
			to[len++] = *words;
	}
	to[len] = '\0';
	return to;
}

void vns_rtt_say_count(struct vns_rtt_sentence *s, uint64_t n, const char *what)
{
	char b[VNS_TEXT_LEN], words[128];

	if (!n)
		return;
	vns_rtt_say(s, "%s%s %s", s->items ? ", " : "", vns_text_count(b, n), plural(words, sizeof(words), n, what));
	s->items++;
}

void vns_rtt_said(struct vns_rtt_sentence *s, FILE *to)
{
	enum { LABEL = 9 };

	vns_text_wrap(s->text, VNS_TEXT_COLUMNS, LABEL, to);
	*s = (struct vns_rtt_sentence){ 0 };
}

static void print_packets(const struct vns_rtt_result *r, FILE *to)
{
	const struct vns_rtt_counts *c = &r->counts;
	struct vns_rtt_sentence s = { 0 };
	char b[VNS_TEXT_LEN], t[VNS_TEXT_LEN];

	if (c->packets + r->other_point)
		vns_rtt_say(&s, "packets  %s read over %s: ", vns_text_count(b, c->packets + r->other_point),
			    vns_text_ns(t, (double)(r->to_ns - r->from_ns)));
	else
		vns_rtt_say(&s, "packets  0 read: ");
	vns_rtt_say_count(&s, with_timestamp(c) + c->timestamp_not_read, "of TCP with timestamps");
	vns_rtt_say_count(&s, c->no_timestamp, "of TCP without timestamps");
	vns_rtt_say_count(&s, c->not_tcp, "not TCP");
	vns_rtt_say_count(&s, c->options_cut, "of TCP whose options the capture cut");
	vns_rtt_say_count(&s, c->undecodable, "cut or malformed");
	vns_rtt_say_count(&s, r->other_point, "of other points");
	vns_rtt_say_count(&s, r->seen_again, "seen again at another interface (all points: each round trip once)");
	vns_rtt_say_count(&s, r->source.bad_records, "bad {record|records} skipped");
	vns_rtt_say_count(&s, r->source.dropped, "LOST BY THE CAPTURE");
	vns_rtt_say_count(&s, r->source.backwards, "with time running back");
	if (!s.items)
		s.text[s.n - 2] = '\0';
	vns_rtt_said(&s, to);
}

/* Round trips by timestamps, and what gave none. */
static void print_timestamps(const struct vns_rtt_counts *c, FILE *to)
{
	struct vns_rtt_sentence s = { 0 };
	const uint64_t sampled = c->echo_matched - c->echo_before_tsval;
	char b[VNS_TEXT_LEN], t[VNS_TEXT_LEN], w[32];

	if (!c->tsval_stored)
		return;
	vns_rtt_say(&s, "by time  %s timestamp %s passed on data, SYN or FIN, and %s of them came back in an "
		    "echo%s", vns_text_count(b, c->tsval_stored), plural(w, sizeof(w), c->tsval_stored, "{value|values}"),
		    sampled ? vns_text_count(t, sampled) : "none", sampled ? ": a round trip each" : "");
	s.items = 1;
	vns_rtt_say_count(&s, c->tsval_passed, "{was|were} skipped, since the receiver acknowledged later data at once "
			  "(delayed ACK)");
	vns_rtt_say_count(&s, c->echo_before_tsval, "{has|have} an echo with an earlier time");
	vns_rtt_say_count(&s, c->outstanding_dropped, "given up (too many waited for an echo)");
	vns_rtt_say_count(&s, c->tsval_unanswered, "had no echo until their flow was over");
	vns_rtt_say_count(&s, c->tsval_pushed_out, "waited in flows that a full table pushed out");
	vns_rtt_say_count(&s, c->tsval_waiting, "still waited for an echo at the end");
	vns_rtt_said(&s, to);
}

/* Round trips by sequence numbers, and what gave none. */
static void print_sequence(const struct vns_rtt_counts *c, FILE *to)
{
	const uint64_t sampled = c->ack_matched + c->ack_sacked;
	struct vns_rtt_sentence s = { 0 };
	char b[VNS_TEXT_LEN], t[VNS_TEXT_LEN];

	if (c->seq_stored + c->seq_repeated + c->seq_late) {
		const uint64_t segments = c->seq_stored + c->seq_repeated + c->seq_late;
		char w[32], x[48];

		vns_rtt_say(&s, "by ACK   %s %s with data, SYN or FIN; %s %s a round trip", vns_text_count(b, segments),
			    plural(w, sizeof(w), segments, "{segment|segments}"),
			    sampled ? vns_text_count(t, sampled) : "no",
			    plural(x, sizeof(x), sampled, "{acknowledgement gives|acknowledgements give}"));
		s.items = 1;
		vns_rtt_say_count(&s, c->seq_repeated, "{segment was|segments were} sent again");
		vns_rtt_say_count(&s, c->seq_late, "came late (reordered, or a first copy was lost before here)");
		vns_rtt_say_count(&s, c->ack_ambiguous, "{acknowledgement of such gives|acknowledgements of such give} none (which copy is "
				  "answered?)");
		vns_rtt_say_count(&s, c->ack_behind_hole, "{ACK waited for lost data and gives|ACKs waited for lost data and give} none");
		vns_rtt_say_count(&s, c->ack_inside, "{ACK ends|ACKs end} inside a segment (--inside takes them)");
		vns_rtt_say_count(&s, c->ack_unseen, "{ACK is|ACKs are} of data that the capture has not");
		vns_rtt_say_count(&s, c->seq_dropped, "{segment|segments} given up (too many waited)");
		vns_rtt_say_count(&s, c->seq_pushed_out, "{segment|segments} waited in flows that a full table pushed out");
		vns_rtt_said(&s, to);
	}
}

static void print_flow_counts(const struct vns_rtt_result *r, FILE *to)
{
	const struct vns_rtt_counts *c = &r->counts;
	struct vns_rtt_sentence s = { 0 };

	vns_rtt_say(&s, "flows    ");
	vns_rtt_say_count(&s, c->flows, "of TCP");
	vns_rtt_say_count(&s, c->flows_one_direction, "seen in one direction only");
	vns_rtt_say_count(&s, c->flows_closed, "closed");
	vns_rtt_say_count(&s, c->flows_evicted_idle, "silent for too long (--idle)");
	vns_rtt_say_count(&s, c->flows_evicted_full, "PUSHED OUT OF A FULL TABLE (--max-flows, --max-memory)");
	vns_rtt_say_count(&s, c->flows_returned, "of them CAME BACK and {is|are} counted again");
	vns_rtt_say_count(&s, c->flows_reused, "with ports used again");
	vns_rtt_say_count(&s, r->flows_hidden, "{direction|directions} not listed");
	if (s.items)
		vns_rtt_said(&s, to);
}

static void print_accounting(const struct vns_rtt_result *r, FILE *to)
{
	fputc('\n', to);
	print_packets(r, to);
	print_timestamps(&r->counts, to);
	print_sequence(&r->counts, to);
	print_flow_counts(r, to);
}

int vns_rtt_print_text(const struct vns_rtt_result *r, bool flows, size_t max_flows, FILE *to)
{
	if (flows && r->rows.n)
		print_flows(r, max_flows, to);
	print_totals(r, to);
	print_accounting(r, to);
	vns_rtt_text_app(r, to);
	return vns_text_flush(to);
}
