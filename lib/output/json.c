// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Common JSON pieces: result structs -> jansson values -> text; see output.h.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include <vnetscope/output.h>

/* 15 digits are what a double holds for sure; 17 would print 0.1 as 0.10000000000000001. */
#define REALS JSON_REAL_PRECISION(15)

static void utc(int64_t time_ns, struct tm *tm, long *ns)
{
	time_t s = (time_t)(time_ns / VNS_NSEC_PER_SEC);

	*ns = (long)(time_ns % VNS_NSEC_PER_SEC);
	if (*ns < 0) {
		*ns += VNS_NSEC_PER_SEC;
		s--;
	}
	gmtime_r(&s, tm);
}

json_t *vns_json_time(int64_t time_ns)
{
	struct tm tm;
	long ns;

	utc(time_ns, &tm, &ns);
	return json_sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900, tm.tm_mon + 1,
			    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ns);
}

/* Sorts by time, and two runs in the same second still differ. */
static json_t *run_id(int64_t now_ns)
{
	uint32_t random = (uint32_t)now_ns;
	struct tm tm;
	long ns;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)now_ns;
	utc(now_ns, &tm, &ns);
	return json_sprintf("%04d%02d%02dT%02d%02d%02dZ-%08x", tm.tm_year + 1900, tm.tm_mon + 1,
			    tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, random);
}

json_t *vns_json_string(const char *text)
{
	json_t *as_it_is = json_string(text);
	size_t n = strlen(text);
	char *clean = as_it_is ? NULL : malloc(n + 1);

	if (clean)
		vns_text_clean(clean, n + 1, text, n);
	if (!as_it_is)
		as_it_is = json_string(clean ? clean : "");
	free(clean);
	return as_it_is;
}

json_t *vns_json_head(const char *schema, int argc, char *const *argv)
{
	json_t *o = json_object(), *words = json_array();
	int64_t now = vns_now_ns();

	for (int i = 0; i < argc; i++)
		json_array_append_new(words, vns_json_string(argv[i]));
	json_object_set_new(o, "schema", json_string(schema));
	json_object_set_new(o, "program", json_string("vnetscope"));
	json_object_set_new(o, "version", json_string(VNS_VERSION));
	json_object_set_new(o, "argv", words);
	json_object_set_new(o, "run_id", run_id(now));
	json_object_set_new(o, "time", vns_json_time(now));
	return o;
}

void vns_json_set_percentile_error(json_t *object)
{
	json_object_set_new(object, "percentile_max_rel_error", json_real(VNS_HIST_MAX_REL_ERROR));
}

json_t *vns_json_real(double v, int digits)
{
	double scale = pow(10, digits);

	if (!isfinite(v))
		return json_null();
	return json_real(fabs(v) < 1e15 / scale ? round(v * scale) / scale : v);
}

static const struct {
	const char *name;
	double q;
} percentiles[] = { { "p50", 0.50 }, { "p95", 0.95 }, { "p99", 0.99 } };

json_t *vns_json_dist(const struct vns_dist *d)
{
	json_t *o = json_object();
	bool any = d->n > 0;

	json_object_set_new(o, "n", json_integer((json_int_t)d->n));
	json_object_set_new(o, "min", any ? json_integer(d->min) : json_null());
	json_object_set_new(o, "mean", any ? vns_json_real(d->mean, 3) : json_null());
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_object_set_new(o, percentiles[i].name,
				    any ? json_integer(vns_dist_quantile(d, percentiles[i].q)) :
					  json_null());
	json_object_set_new(o, "max", any ? json_integer(d->max) : json_null());
	json_object_set_new(o, "stddev", any ? vns_json_real(vns_dist_stddev(d), 3) : json_null());
	return o;
}

static json_t *interval_above(const struct vns_interval *i, int64_t floor)
{
	return vns_interval_known(i) ? json_pack("[I,I]", (json_int_t)(i->lower - floor),
						 (json_int_t)(i->upper - floor)) : json_null();
}

json_t *vns_json_interval(const struct vns_interval *i)
{
	return interval_above(i, 0);
}

json_t *vns_json_intervals_above(const struct vns_intervals *i, int64_t floor)
{
	json_t *o = json_object();

	json_object_set_new(o, "mean", interval_above(&i->mean, floor));
	json_object_set_new(o, "p50", interval_above(&i->p50, floor));
	json_object_set_new(o, "p95", interval_above(&i->p95, floor));
	json_object_set_new(o, "p99", interval_above(&i->p99, floor));
	return o;
}

json_t *vns_json_intervals(const struct vns_intervals *i)
{
	return vns_json_intervals_above(i, 0);
}

json_t *vns_json_excess(const struct vns_dist *d, int64_t floor)
{
	json_t *o = json_object();

	json_object_set_new(o, "n", json_integer((json_int_t)d->n));
	json_object_set_new(o, "mean", d->n ? vns_json_real(d->mean - (double)floor, 3) :
					      json_null());
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_object_set_new(o, percentiles[i].name,
				    d->n ? json_integer(vns_dist_quantile(d, percentiles[i].q) - floor) :
					   json_null());
	json_object_set_new(o, "max", d->n ? json_integer(d->max - floor) : json_null());
	json_object_set_new(o, "stddev", d->n ? vns_json_real(vns_dist_stddev(d), 3) : json_null());
	return o;
}

json_t *vns_json_u64(uint64_t v)
{
	return json_integer((json_int_t)v);
}

void vns_json_set_counters(json_t *o, const void *counts, const struct vns_json_counter *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value;

		memcpy(&value, (const char *)counts + row[i].at, sizeof(value));
		json_object_set_new(o, row[i].name, vns_json_u64(value));
	}
}

/* errno of a failed write, or of the flush that finds it out. */
static int flushed(FILE *to, int failed)
{
	int code = vns_text_flush(to);

	return code ? code : failed ? -EIO : 0;
}

int vns_json_print(const json_t *doc, FILE *to)
{
	return flushed(to, json_dumpf(doc, to, JSON_INDENT(2) | REALS) || fputc('\n', to) == EOF);
}

int vns_json_print_line(json_t *doc, FILE *to)
{
	int failed = json_dumpf(doc, to, JSON_COMPACT | REALS) || fputc('\n', to) == EOF;

	json_decref(doc);
	return failed ? (errno ? -errno : -EIO) : 0;
}

static void check(struct vns_json_stream *s, bool ok)
{
	if (!ok && !s->error)
		s->error = errno ? -errno : -EIO;
}

static void put_value(struct vns_json_stream *s, json_t *value, size_t flags)
{
	check(s, !json_dumpf(value, s->to, flags | JSON_ENCODE_ANY | REALS));
	json_decref(value);
}

static void put_name(struct vns_json_stream *s, const char *name)
{
	check(s, fprintf(s->to, ",\n  \"%s\": ", name) > 0);
}

void vns_json_stream_begin(struct vns_json_stream *s, FILE *to, json_t *head)
{
	const char *name;
	json_t *value;
	bool first = true;

	*s = (struct vns_json_stream){ .to = to };
	check(s, fputc('{', to) != EOF);
	json_object_foreach(head, name, value) {
		check(s, fprintf(to, "%s\n  \"%s\": ", first ? "" : ",", name) > 0);
		put_value(s, json_incref(value), JSON_COMPACT);
		first = false;
	}
	json_decref(head);
}

void vns_json_stream_member(struct vns_json_stream *s, const char *name, json_t *value)
{
	put_name(s, name);
	put_value(s, value, 0);
}

void vns_json_stream_array(struct vns_json_stream *s, const char *name)
{
	put_name(s, name);
	check(s, fputc('[', s->to) != EOF);
	s->first_item = true;
}

void vns_json_stream_next(struct vns_json_stream *s)
{
	check(s, fputs(s->first_item ? "\n    " : ",\n    ", s->to) != EOF);
	s->first_item = false;
}

void vns_json_stream_item(struct vns_json_stream *s, json_t *value)
{
	vns_json_stream_next(s);
	put_value(s, value, 0);
}

void vns_json_stream_array_end(struct vns_json_stream *s)
{
	check(s, fputs(s->first_item ? "]" : "\n  ]", s->to) != EOF);
}

int vns_json_stream_end(struct vns_json_stream *s)
{
	int flush_error;

	check(s, fputs("\n}\n", s->to) != EOF);
	flush_error = flushed(s->to, 0);
	return s->error ? s->error : flush_error;
}

json_t *vns_json_whole_ns(double v, int round_to)
{
	double w = round_to < 0 ? floor(v) : round_to > 0 ? ceil(v) : round(v);

	return fabs(w) < 9.2e18 ? json_integer((json_int_t)w) : json_null();
}
