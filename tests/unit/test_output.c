// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * lib/output: numbers, tables and the common JSON pieces, as text.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vnetscope/output.h>

static void test_ns(void **state)
{
	static const struct {
		double ns;
		const char *text;
	} cases[] = {
		{ 0, "0 ns" },          { 1, "1 ns" },           { -7, "-7 ns" },
		{ 999, "999 ns" },      { 1000, "1.000 us" },    { 12345, "12.35 us" },
		{ 123400, "123.4 us" }, { 999940, "999.9 us" },  { 999960, "1.000 ms" },
		{ -1234000, "-1.234 ms" }, { 2.5e9, "2.500 s" }, { 12345e9, "12345 s" },
	};
	char buf[VNS_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(vns_text_ns(buf, cases[i].ns), cases[i].text);
	assert_string_equal(vns_text_signed_ns(buf, 12300), "+12.30 us");
	assert_string_equal(vns_text_signed_ns(buf, -12300), "-12.30 us");
	assert_string_equal(vns_text_signed_ns(buf, 0), "+0 ns");
}

/* A rate that is known has no range; else what is feasible stands beside it, at any rate. */
static void test_drift(void **state)
{
	struct vns_clock_at at = { .drift_ppm = -0.0001, .drift_lower_ppm = -0.25, .drift_upper_ppm = 0.125 };
	char buf[VNS_TEXT_DRIFT_LEN];

	(void)state;
	assert_string_equal(vns_text_drift(buf, &at), "-0.000 ppm (-0.250 to +0.125 feasible)");
	at.drift_ppm = at.drift_lower_ppm = at.drift_upper_ppm = 0;
	assert_string_equal(vns_text_drift(buf, &at), "+0.000 ppm");
}

static void test_counts(void **state)
{
	char buf[VNS_TEXT_LEN];

	(void)state;
	assert_string_equal(vns_text_count(buf, 0), "0");
	assert_string_equal(vns_text_count(buf, 1234), "1234");
	assert_string_equal(vns_text_count(buf, 12345), "12,345");
	assert_string_equal(vns_text_count(buf, 1234567), "1,234,567");
	assert_string_equal(vns_text_count(buf, UINT64_MAX), "18,446,744,073,709,551,615");
	assert_string_equal(vns_text_share(buf, 1, 8), "12.5 %");
	assert_string_equal(vns_text_share(buf, 1, 1000000), "< 0.1 %");
	assert_string_equal(vns_text_share(buf, 0, 8), "0.0 %");
	assert_string_equal(vns_text_share(buf, 0, 0), "-");
	assert_string_equal(vns_text_bytes(buf, 1023), "1023 B");
	assert_string_equal(vns_text_bytes(buf, 1536), "1.5 KiB");
	assert_string_equal(vns_text_bytes(buf, UINT64_C(3) << 30), "3.0 GiB");
}

static void test_words_of_others(void **state)
{
	static const struct {
		const char *from, *clean;
	} cases[] = {
		{ "k\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x90\xa7", "k\xc3\xb6ln \xe2\x82\xac \xf0\x9f\x90\xa7" },
		{ "a\x1b[2Jb\x7f\t\r", "a [2Jb   " },            /* C0, DEL */
		{ "\xc2\x9b" "2J \xc2\xa0.", " 2J \xc2\xa0." }, /* C1 in UTF-8; beside it a blank */
		{ "\x9b" "2J \xff", "?2J ?" },                  /* C1 as a byte */
		{ "\xc0\x80 \xe0\x9f\xbf \xf0\x8f\xbf\xbf", "?? ??? ????" }, /* too long forms */
		{ "\xed\xa0\x80 \xf4\x90\x80\x80 \xf5", "??? ???? ?" },   /* surrogate, beyond */
		{ "\xe2\x82", "??" }, { "\xc3(", "?(" }, { "\xe2\x28\xa1", "?(?" }, /* cut, mixed */
		{ "\xe2\x80\xaetxt\xe2\x81\xa9", " txt " },       /* text that runs backwards */
		{ "", "" },
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *s = vns_json_string(cases[i].from);

		assert_int_equal(vns_text_clean(buf, sizeof(buf), cases[i].from, strlen(cases[i].from)),
				 strlen(cases[i].clean));
		assert_string_equal(buf, cases[i].clean);
		assert_true(json_is_string(s));
		json_decref(s);
		/* in its own place */
		snprintf(buf, sizeof(buf), "%s", cases[i].from);
		vns_text_clean(buf, sizeof(buf), buf, strlen(buf));
		assert_string_equal(buf, cases[i].clean);
	}
	/* cut between characters, always closed */
	assert_int_equal(vns_text_clean(buf, 4, "ab\xc3\xb6", 4), 2);
	assert_string_equal(buf, "ab");
	assert_int_equal(vns_text_clean(buf, 5, "ab\xc3\xb6", 4), 4);
	assert_int_equal(vns_text_clean(buf, 1, "ab", 2), 0);
	assert_string_equal(buf, "");
}

/* What @print writes to a FILE. */
static char *printed(void (*print)(FILE *to))
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	print(f);
	fclose(f);
	return text;
}

static void print_table(FILE *to)
{
	static const char *const heads[] = { "flow", "n", "note" };
	struct vns_table t;

	vns_table_init(&t, "<><", heads);
	vns_table_cell(&t, "a");
	vns_table_cell(&t, "%d", 12345);
	vns_table_cell(&t, "x");
	vns_table_cell(&t, "longer \xc2\xb5");
	vns_table_cell(&t, "7");
	vns_table_cell(&t, "yy");
	assert_int_equal(vns_table_print(&t, to), 3);
	vns_table_fini(&t);
}

static void test_table(void **state)
{
	char *text = printed(print_table);

	(void)state;
	assert_string_equal(text, "flow          n  note\n"
				  "a         12345  x\n"
				  "longer \xc2\xb5      7  yy\n");
	free(text);
}

static void print_stream(FILE *to)
{
	struct vns_json_stream s;
	struct vns_dist d = { 0 }, none = { 0 };

	for (int i = 1; i <= 100; i++)
		vns_dist_add(&d, i);
	vns_json_stream_begin(&s, to, json_pack("{s:s,s:[s]}", "schema", "test/1", "argv", "a\"b"));
	vns_json_stream_array(&s, "empty");
	vns_json_stream_array_end(&s);
	vns_json_stream_array(&s, "items");
	vns_json_stream_item(&s, vns_json_dist(&d));
	vns_json_stream_item(&s, vns_json_dist(&none));
	vns_json_stream_array_end(&s);
	vns_json_stream_member(&s, "real", vns_json_real(0.1, 3));
	vns_json_stream_member(&s, "nan", vns_json_real(0.0 / 0.0, 3));
	assert_int_equal(vns_json_stream_end(&s), 0);
	vns_dist_fini(&d);
}

static void test_stream(void **state)
{
	char *text = printed(print_stream);
	json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *item;

	(void)state;
	assert_non_null(doc);
	assert_non_null(strstr(text, "{\"n\": 100, \"min\": 1, \"mean\": 50.5, \"p50\": 50, "
				     "\"p95\": 95, \"p99\": 99, \"max\": 100, \"stddev\": 29.011}"));
	assert_non_null(strstr(text, "\"real\": 0.1"));
	assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "argv"), 0)),
			    "a\"b");
	assert_int_equal(json_array_size(json_object_get(doc, "empty")), 0);
	item = json_array_get(json_object_get(doc, "items"), 1);
	assert_int_equal(json_integer_value(json_object_get(item, "n")), 0);
	assert_true(json_is_null(json_object_get(item, "min")));
	assert_true(json_is_null(json_object_get(doc, "nan")));
	json_decref(doc);
	free(text);
}

static void test_head(void **state)
{
	char *argv[] = { "vnetscope", "rtt", "\xff" };
	json_t *head = vns_json_head("vnetscope.rtt/1", 3, argv);
	json_t *t = vns_json_time(INT64_C(1700000000000000001)), *old = vns_json_time(-1);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(head, "schema")), "vnetscope.rtt/1");
	assert_int_equal(json_array_size(json_object_get(head, "argv")), 3);
	assert_int_equal(strlen(json_string_value(json_object_get(head, "run_id"))), 25);
	assert_string_equal(json_string_value(t), "2023-11-14T22:13:20.000000001Z");
	assert_string_equal(json_string_value(old), "1969-12-31T23:59:59.999999999Z");
	json_decref(head);
	json_decref(t);
	json_decref(old);
}

/* A full disk is told, not swallowed. */
static void test_full(void **state)
{
	FILE *full = fopen("/dev/full", "w");
	struct vns_json_stream s;
	json_t *doc = json_pack("{s:i}", "a", 1);

	(void)state;
	if (!full)
		skip();
	assert_true(vns_json_print(doc, full) < 0);
	vns_json_stream_begin(&s, full, doc);
	assert_true(vns_json_stream_end(&s) < 0);
	fclose(full);
}

static void test_spans(void **state)
{
	char b[VNS_SPAN_LEN];

	(void)state;
	assert_string_equal(vns_text_span(b, 10210, 35100), "10.21..35.10 us");
	assert_string_equal(vns_text_span(b, 998200, 1012000), "998.2 us..1.012 ms");
	assert_string_equal(vns_text_span(b, -1500, 0), "-1.500 us..0 ns");
	assert_string_equal(vns_text_span(b, -INFINITY, 20), "unbounded..20 ns");
	assert_string_equal(vns_text_span(b, 5, INFINITY), "5 ns..unbounded");
	assert_string_equal(vns_text_span(b, NAN, 1), "-");
	assert_string_equal(vns_text_interval(b, &(struct vns_interval){ 1200, 3400 }, 200),
			    "1.000..3.200 us");
	assert_string_equal(vns_text_interval(b, &(struct vns_interval){ 0, 0 }, 200), "-");
}

static void print_wrapped(FILE *to)
{
	vns_text_wrap("one two three four\n  a b\n\nabcdefghijklmnop q\n\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 "
		      "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 x", 10, 2, to);
}

/* No line is wider than asked, but for a word that is; none is lost, and UTF-8 counts by columns. */
static void test_wrap(void **state)
{
	char *text = printed(print_wrapped);

	(void)state;
	assert_string_equal(text, "one two\n  three\n  four\n  a b\n\nabcdefghijklmnop\n  q\n"
			    "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\n  x\n");
	free(text);
}

static struct vns_text_why why;

static void print_why(FILE *to)
{
	vns_text_why_print(&why, "packets", 1000, to);
}

/* What one row adds to the sentence below a table. @known: of mean, p50, p95, p99. */
static char *why_of(uint64_t n, const char *known)
{
	struct vns_intervals i = { 0 };
	struct vns_interval *of[] = { &i.mean, &i.p50, &i.p95, &i.p99 };
	const struct vns_dist d = { .n = n };

	for (int k = 0; k < 4; k++)
		if (known[k] == '+')
			*of[k] = (struct vns_interval){ 1, 2 };
	why = (struct vns_text_why){ 0 };
	vns_text_why_add(&why, &d, &i);
	return printed(print_why);
}

/* Only the rules that withheld something are named. */
static void test_why(void **state)
{
	static const struct {
		uint64_t n;
		const char *known, *says;
	} rows[] = {
		{ 0, "----", "" },
		{ 5000, "++++", "" },
		{ 1, "----", "-: not known from these packets. One has no spread and no percentiles. An interval "
			     "needs 16 of them.\n" },
		{ 15, "----", "-: not known from these packets. An interval needs 16 of them.\n" },
		{ 500, "----", "-: not known from these packets. Most came within a few moments, which says nothing "
			       "of the rest of the time.\n" },
		{ 500, "++--", "-: not known from these packets. The interval of p95 needs 160, p99 needs 800 "
			       "independent ones (8 beyond it); those close in time share their fate and count "
			       "less.\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = why_of(rows[i].n, rows[i].known);

		assert_string_equal(text, rows[i].says);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ns),     cmocka_unit_test(test_drift),
		cmocka_unit_test(test_counts), cmocka_unit_test(test_words_of_others),
		cmocka_unit_test(test_table),  cmocka_unit_test(test_stream),
		cmocka_unit_test(test_head),   cmocka_unit_test(test_full),
		cmocka_unit_test(test_spans), cmocka_unit_test(test_wrap), cmocka_unit_test(test_why),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
