/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all JSON output has in common: the document's head, a distribution, printing.
 *
 * Members keep the order they were set in, so that outputs can be compared as text.
 */
#ifndef VNS_OUTPUT_JSON_H
#define VNS_OUTPUT_JSON_H

#include <jansson.h>
#include <stdio.h>

#include <vnetscope/stat.h>

/*
 * A new object with the head of every document: "schema" (for example "vnetscope.rtt/1"),
 * "program", "version", "argv", "run_id" and "time" (RFC 3339, UTC, when it was made).
 */
json_t *vns_json_head(const char *schema, int argc, char *const *argv);

/* "percentile_max_rel_error": 0.01: for objects that hold distributions. */
void vns_json_set_percentile_error(json_t *object);

/*
 * A distribution: {"n","min","mean","p50","p95","p99","max","stddev"}. Integers but for mean and
 * stddev (reals); all null but n when there is no sample. Unit: the name of the member it goes to.
 */
json_t *vns_json_dist(const struct vns_dist *d);

/* A time_ns as RFC 3339 text in UTC with nine decimals. */
json_t *vns_json_time(int64_t time_ns);

/* A number rounded to @digits decimals; null when it is not finite. */
json_t *vns_json_real(double v, int digits);

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
void vns_json_stream_item(struct vns_json_stream *s, json_t *value);
void vns_json_stream_array_end(struct vns_json_stream *s);
/* Close the document and flush. Return: 0 or -errno of the first failure. */
int vns_json_stream_end(struct vns_json_stream *s);

#endif
