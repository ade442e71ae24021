/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/output.h - result structs to JSON and text. For the programs of the suite.
 *
 * JSON members keep the order they were set in, so that outputs can be compared as text.
 */
#ifndef VNETSCOPE_OUTPUT_H
#define VNETSCOPE_OUTPUT_H

#include <stddef.h>

#include <jansson.h>
#include <stdio.h>

#include <vnetscope/measure.h>
#include <vnetscope/stat.h>

/* --- JSON: the document's head, a distribution, printing --- */

/*
 * A new object with the head of every document: "schema" (for example "vnetscope.rtt/1"),
 * "program", "version", "argv", "run_id" and "time" (RFC 3339, UTC, when it was made).
 */
json_t *vns_json_head(const char *schema, int argc, char *const *argv);

/*
 * @text as a JSON string, cleaned where it is not UTF-8: for what comes from outside (arguments, names,
 * sentences). json_string() and json_pack() give NULL there, and the member would silently be missing.
 */
json_t *vns_json_string(const char *text);

/* "percentile_max_rel_error": 0.01: for objects that hold distributions. */
void vns_json_set_percentile_error(json_t *object);

/*
 * A distribution: {"n","min","mean","p50","p95","p99","max","stddev"}. Integers but for mean and
 * stddev (reals); all null but n when there is no sample. Unit: the name of the member it goes to.
 */
json_t *vns_json_dist(const struct vns_dist *d);

/* [lower, upper], or null when not known. */
json_t *vns_json_interval(const struct vns_interval *i);
/* {"mean": [lower, upper], "p50", "p95", "p99"}: null where not known. */
json_t *vns_json_intervals(const struct vns_intervals *i);
/* The same above @floor, the least of the samples. */
json_t *vns_json_intervals_above(const struct vns_intervals *i, int64_t floor);

/*
 * What a distribution's samples are above @floor: {"n","mean","p50","p95","p99","max","stddev"}, ns;
 * NULL figures when there is none.
 */
json_t *vns_json_excess(const struct vns_dist *d, int64_t floor);

/* A time_ns as RFC 3339 text in UTC with nine decimals. */
json_t *vns_json_time(int64_t time_ns);

json_t *vns_json_u64(uint64_t v);
/* A uint64_t of some struct of counters, under its name in JSON. */
struct vns_json_counter {
	const char *name;
	size_t at; /* offset in the struct */
};
#define VNS_JSON_COUNTER(type, field) { #field, offsetof(type, field) }
/* Each of @n rows of the struct at @counts becomes a member of @o. */
void vns_json_set_counters(json_t *o, const void *counts, const struct vns_json_counter *row, size_t n);

/* A number rounded to @digits decimals; null when it is not finite. */
json_t *vns_json_real(double v, int digits);

/* A whole ns, rounded down (-1), up (+1) or to nearest (0); null when it is not finite. */
json_t *vns_json_whole_ns(double v, int round_to);

/* Print indented with a newline and flush. @doc is not freed. Return: 0 or -errno. */
int vns_json_print(const json_t *doc, FILE *to);
/* Print on one line (JSON lines), @doc is freed. Return: 0 or -errno. */
int vns_json_print_line(json_t *doc, FILE *to);

/*
 * A document whose arrays may have a million elements: written element by element instead of being
 * built in memory. Values are freed once written. Errors stick and are told by the end.
 *
 *   vns_json_stream_begin(&s, stdout, vns_json_head(...));
 *   vns_json_stream_array(&s, "flows"); vns_json_stream_item(&s, item) ... vns_json_stream_array_end(&s);
 *   vns_json_stream_member(&s, "totals", object);
 *   error = vns_json_stream_end(&s);
 */
struct vns_json_stream {
	FILE *to;
	int error;
	bool first_item;
};
void vns_json_stream_begin(struct vns_json_stream *s, FILE *to, json_t *head);
void vns_json_stream_member(struct vns_json_stream *s, const char *name, json_t *value);
void vns_json_stream_array(struct vns_json_stream *s, const char *name);
/* The separator before an element that the caller writes itself. */
void vns_json_stream_next(struct vns_json_stream *s);
void vns_json_stream_item(struct vns_json_stream *s, json_t *value);
void vns_json_stream_array_end(struct vns_json_stream *s);
/* Close the document and flush. Return: 0 or -errno of the first failure. */
int vns_json_stream_end(struct vns_json_stream *s);

/* --- Text for people: numbers with units, and tables whose columns line up --- */

#define VNS_TEXT_LEN 32

/*
 * Is everything out that was written to @to? Return: 0, or -errno (ENOSPC, EPIPE). Of an earlier write
 * that failed stdio remembers only that it did: one more, of a line end, tells why.
 */
int vns_text_flush(FILE *to);
/* "0 ns", "123.4 us", "-1.234 ms", "2.500 s": four significant digits, whole ns. Return: @buf. */
const char *vns_text_ns(char buf[VNS_TEXT_LEN], double ns);
/* The same always with its sign: for offsets ("+12.30 us"). */
const char *vns_text_signed_ns(char buf[VNS_TEXT_LEN], double ns);
/* With its sign and every ns: "+1.234 us", "-3600.000012345 s". */
const char *vns_text_exact_ns(char buf[VNS_TEXT_LEN], double ns);
/* "+9.630 ppm (+9.512 to +9.744 feasible)"; a rate that is known has no range. Return: @buf. */
#define VNS_TEXT_DRIFT_LEN 96
const char *vns_text_drift(char buf[VNS_TEXT_DRIFT_LEN], const struct vns_clock_at *at);
/* "10.21..35.10 us", "998.2 us..1.012 ms", "unbounded" for an infinite end; "-" where one is no number. */
#define VNS_SPAN_LEN (2 * VNS_TEXT_LEN)
const char *vns_text_span(char buf[VNS_SPAN_LEN], double lower_ns, double upper_ns);
/* The same of a 95 % interval, above @floor_ns; "-" where it is not known. */
const char *vns_text_interval(char buf[VNS_SPAN_LEN], const struct vns_interval *i, int64_t floor_ns);
/* "1234", "12,345", "1,234,567". */
const char *vns_text_count(char buf[VNS_TEXT_LEN], uint64_t n);
/* "12.3 %"; "< 0.1 %" for what is not nothing; of 0: "-". */
const char *vns_text_share(char buf[VNS_TEXT_LEN], uint64_t part, uint64_t of);
/* "96 B", "1.5 KiB", "23.4 MiB". */
const char *vns_text_bytes(char buf[VNS_TEXT_LEN], uint64_t bytes);

/* Columns of every text for people, but for single words that are longer. */
#define VNS_TEXT_COLUMNS 120
/* Print the lines of @text, those wider than @columns broken at blanks; what goes on stands @indent in. */
void vns_text_wrap(const char *text, size_t columns, size_t indent, FILE *to);

/*
 * Why "-" stands in the place of an interval, or of a figure of one sample: zero-initialise, add what each
 * row of a table shows, then print the sentence below it.
 */
struct vns_text_why {
	bool single, few, bursts, tail[3];
};
void vns_text_why_add(struct vns_text_why *w, const struct vns_dist *d, const struct vns_intervals *i);
/* @what the samples are ("packets"). Return: false when nothing was withheld: no line is printed. */
bool vns_text_why_print(const struct vns_text_why *w, const char *what, size_t columns, FILE *to);

/*
 * A table: cells are added left to right, a row is full after as many cells as there are columns.
 *
 *   vns_table_init(&t, "<>>", (const char *[]){ "flow", "samples", "min" });
 *   vns_table_cell(&t, "%s", name); ...
 *   vns_table_print(&t, stdout); vns_table_fini(&t);
 */
struct vns_table {
	char **cell;
	size_t n, cap;
	size_t columns;
	char align[32];
	bool failed; /* out of memory: the table prints what it has */
};
/* @align: one of '<' and '>' per column, at most 31; @heads: as many names. */
void vns_table_init(struct vns_table *t, const char *align, const char *const *heads);
void vns_table_cell(struct vns_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The figures of a distribution as six cells: min mean p50 p95 p99 max; "-" when empty. */
void vns_table_dist(struct vns_table *t, const struct vns_dist *d);
/* One interval, as a cell. */
void vns_table_interval(struct vns_table *t, const struct vns_interval *i);
/* Intervals of mean, p50, p95 and p99 as four cells: "1.23..1.42 us"; "-" where not known. */
void vns_table_intervals(struct vns_table *t, const struct vns_intervals *i);
/* The same above @floor_ns, the least of the samples. */
void vns_table_excess(struct vns_table *t, const struct vns_intervals *i, int64_t floor_ns);
/* The width of its lines, in columns. */
size_t vns_table_width(const struct vns_table *t);
/* Two blanks between columns, none at the end of a line. Return: lines printed. */
size_t vns_table_print(const struct vns_table *t, FILE *to);
/* As vns_table_print(); where that is wider than VNS_TEXT_COLUMNS, the first @names columns of a row have a
 * line of their own and the others stand below them. */
void vns_table_print_within(const struct vns_table *t, size_t names, FILE *to);
/* Leave out column @column if the table fits into VNS_TEXT_COLUMNS without it, and not with it. */
void vns_table_leave_out(struct vns_table *t, size_t column);
void vns_table_fini(struct vns_table *t);

/* --- drift: one result per clock mode, all evaluated at one instant --- */

struct vns_drift_result;

/* One mode's object: "target", "mode", "at_ns", "offset_ns", ..., "pieces", "samples". */
json_t *vns_drift_json(const struct vns_drift_result *r);
/* The document: one mode's members at the top; of several modes "modes" and "agree". */
json_t *vns_drift_document(const struct vns_drift_result *r, size_t n, int argc, char *const *argv);
/* One line per exchange, with a head line. */
void vns_drift_csv(const struct vns_drift_result *r, size_t n, FILE *to);
/* For people; @plot_columns 0 leaves the plot out. */
void vns_drift_text(const struct vns_drift_result *r, size_t n, unsigned int plot_columns, FILE *to);
/* The offset of every exchange over time (thesis, fig 3.2), as @columns x @rows characters. */
void vns_drift_plot(const struct vns_drift_result *r, unsigned int columns, unsigned int rows,
		    FILE *to);

/* --- Passive RTT (struct vns_rtt_result) --- */

/*
 * The document of `rtt --json`; its "flows" when @flows, "groups" when there are any, "paths" when
 * @paths is not NULL. @head as of vns_json_head(), taken.
 */
int vns_rtt_print_json(const struct vns_rtt_result *r, bool flows, const struct vns_rtt_path *paths,
		       size_t n_paths, json_t *head, FILE *to);
/* One line per direction of each flow, a line of names above. Return: 0 or -errno. */
int vns_rtt_print_csv(const struct vns_rtt_result *r, FILE *to);
/* Tables for people: at most @max_flows directions when @flows (0: all), totals, accounting. */
int vns_rtt_print_text(const struct vns_rtt_result *r, bool flows, size_t max_flows, FILE *to);
/* The last columns of such lines, after a comma; empty where not known. Ends the line. */
#define VNS_RTT_CSV_INTERVALS "mean_lower_ns,mean_upper_ns,p50_lower_ns,p50_upper_ns," \
			      "p95_lower_ns,p95_upper_ns,p99_lower_ns,p99_upper_ns"
void vns_rtt_csv_intervals(const struct vns_intervals *i, FILE *to);
/* "TCP timestamps", "ICMP echo" ...: a kind in a table. */
const char *vns_rtt_kind_label(enum vns_rtt_kind kind);
/* What everybody must know who reads spin bit figures (Kunze et al., IMC 2023). */
#define VNS_RTT_SPIN_NOTE "upper estimate: about 10 % of domains set it, and it overestimates in half"
/* What became of ICMP, DNS and QUIC: "accounting"."beyond_tcp", and lines for people. */
json_t *vns_rtt_json_app(const struct vns_rtt_result *r);
void vns_rtt_text_app(const struct vns_rtt_result *r, FILE *to);
/* Hosts or prefixes: tables, "groups" of a document that is being written, CSV. */
int vns_rtt_text_groups(const struct vns_rtt_result *r, FILE *to);
void vns_rtt_json_groups(const struct vns_rtt_result *r, struct vns_json_stream *s);
int vns_rtt_csv_groups(const struct vns_rtt_result *r, FILE *to);
/* Both sides of flows, as vns_rtt_paths() gives them: tables, "paths" of a document. */
int vns_rtt_text_paths(const struct vns_rtt_path *p, size_t n, FILE *to);
void vns_rtt_json_paths(const struct vns_rtt_path *p, size_t n, bool points,
			struct vns_json_stream *s);
/* "totals" and "accounting" of the document, for lines of JSON. */
json_t *vns_rtt_json_totals(const struct vns_rtt_result *r);
json_t *vns_rtt_json_accounting(const struct vns_rtt_result *r);

/* --- Virtualisation latency (struct vns_vo_result) --- */

struct vns_vo_result;
struct vns_vo_target;

/* The document of `vo --json`. @head as of vns_json_head(), taken. */
int vns_vo_print_json(const struct vns_vo_result *r, json_t *head, FILE *to);
/* One element of its "targets". */
json_t *vns_vo_json_target(const struct vns_vo_target *t);
/* One line per target, direction and protocol, a line of names above. Return: 0 or -errno. */
int vns_vo_print_csv(const struct vns_vo_result *r, FILE *to);
/* For people. Return: 0 or -errno. */
int vns_vo_print_text(const struct vns_vo_result *r, FILE *to);

#endif
