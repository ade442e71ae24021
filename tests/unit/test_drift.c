// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Drift documents: written, read again, the same relation; hostile files, a sentence each.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

#include "measure/vo_steps.h"

#define T0  INT64_C(1763764800000000000)
#define SEC INT64_C(1000000000)

static struct vns_drift_result measured(enum vns_clock_mode mode, int64_t offset, int step_at)
{
	struct vns_drift_result r = { .target = "vm1", .mode = mode };

	assert_int_equal(vns_clock_new(&r.clock, mode), 0);
	for (int i = 0; i < 200; i++) {
		int64_t t = T0 + i * SEC / 10, o = offset + i * 600 + (i >= step_at ? SEC : 0);
		int64_t there = 20000 + i * 7919 % 9000, back = 20000 + i * 104729 % 8000;
		struct vns_exchange x = { t, t + there + o, t + there + 1000 + o,
					  t + there + 1000 + back };

		assert_int_equal(vns_clock_add(r.clock, &x), 0);
	}
	assert_int_equal(vns_clock_solve(r.clock), 0);
	assert_int_equal(vns_clock_eval(r.clock, T0 + 19 * SEC, &r.at), 0);
	return r;
}

static char path[64];

static void write_file(const char *text)
{
	FILE *f;
	int fd;

	strcpy(path, "/tmp/vns-drift-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	fputs(text, f);
	fclose(f);
}

static void test_round_trip(void **state)
{
	static const int64_t offsets[] = { 0, -7200 * SEC - 1, 30 * 86400 * SEC + 7 };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct vns_drift_result r = measured(VNS_CLOCK_CHANNEL, offsets[k], 80);
		char *argv[] = { "drift", "vm1" };
		json_t *doc = vns_drift_document(&r, 1, 2, argv);
		char *text = json_dumps(doc, 0);
		struct vns_clock *c;
		struct vns_err err = { "" };

		write_file(text);
		assert_int_equal(vns_drift_file_read(path, &c, &err), 0);
		assert_int_equal(vns_clock_get_mode(c), VNS_CLOCK_CHANNEL);
		for (int i = -30; i < 240; i++) {
			struct vns_clock_at a, b;
			int64_t t = T0 + i * SEC / 10 + SEC / 20;

			vns_clock_eval(r.clock, t, &a);
			vns_clock_eval(c, t, &b);
			assert_true(b.lower_ns <= a.lower_ns && b.lower_ns > a.lower_ns - 10);
			assert_true(b.upper_ns >= a.upper_ns && b.upper_ns < a.upper_ns + 10);
			assert_true(fabs(a.offset_ns - b.offset_ns) <= 2);
			assert_true(fabs(a.ci_upper_ns - b.ci_upper_ns) <= 10);
			assert_int_equal(a.extrapolated, b.extrapolated);
		}
		unlink(path);
		free(text);
		json_decref(doc);
		vns_clock_free(c);
		vns_drift_result_free(&r);
	}
}

/* The members that others test against, and several modes in one document. */
static void test_contract(void **state)
{
	static const char *const members[] = { "schema", "target", "mode", "at_ns", "offset_ns",
		"lower_ns", "upper_ns", "drift_ppm", "pieces", "exchanges", "samples" };
	struct vns_drift_result r[2] = { measured(VNS_CLOCK_SHM, 5, 999),
					 measured(VNS_CLOCK_EXCHANGE, 9, 999) };
	json_t *doc = vns_drift_document(r, 1, 0, NULL), *piece, *both;
	struct vns_clock *c;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		assert_non_null(json_object_get(doc, members[i]));
	piece = json_array_get(json_object_get(doc, "pieces"), 0);
	assert_true(json_is_integer(json_object_get(piece, "from_ns")));
	assert_true(json_is_integer(json_object_get(piece, "to_ns")));
	assert_true(json_is_integer(json_object_get(piece, "offset_ns")));
	assert_true(json_is_number(json_object_get(piece, "drift_ppm")));
	assert_int_equal(json_array_size(json_object_get(doc, "samples")), 200);
	assert_true((double)json_integer_value(json_object_get(doc, "lower_ns")) <= r[0].at.lower_ns);
	assert_true((double)json_integer_value(json_object_get(doc, "upper_ns")) >= r[0].at.upper_ns);
	assert_true(vns_drift_agree(r, 2));
	both = vns_drift_document(r, 2, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(both, "modes")), 2);
	assert_true(json_is_true(json_object_get(both, "agree")));
	text = json_dumps(both, 0);
	write_file(text);
	assert_int_equal(vns_drift_file_read(path, &c, NULL), 0);
	assert_int_equal(vns_clock_get_mode(c), VNS_CLOCK_SHM);
	unlink(path);
	free(text);
	vns_clock_free(c);
	json_decref(doc);
	json_decref(both);
	vns_drift_result_free(&r[1]);
	r[1] = measured(VNS_CLOCK_EXCHANGE, 90000, 999);
	assert_false(vns_drift_agree(r, 2));
	vns_drift_result_free(&r[0]);
	vns_drift_result_free(&r[1]);
}

#define HEAD "{\"schema\":\"vnetscope.drift/1\",\"mode\":\"channel\","
#define ONE  "\"from_ns\":1000,\"to_ns\":2000000000,\"offset_ns\":50"

/* A document with nothing but the contract's members. */
static void test_plain_document(void **state)
{
	struct vns_clock *c;
	struct vns_clock_at a;

	(void)state;
	write_file(HEAD "\"offset_ns\":50,\"lower_ns\":-10,\"upper_ns\":150,"
		   "\"pieces\":[{" ONE ",\"drift_ppm\":100}]}");
	assert_int_equal(vns_drift_file_read(path, &c, NULL), 0);
	unlink(path);
	vns_clock_eval(c, 1000 + SEC, &a);
	assert_true(fabs(a.offset_ns - 100050) < 1.01);
	assert_true(fabs(a.lower_ns - 99990) < 1.01 && fabs(a.upper_ns - 100150) < 1.01);
	vns_clock_free(c);
}

static void test_hostile(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "null", "{\"schema\":7}", "{\"schema\":\"vnetscope.vo/1\"}",
		HEAD "\"pieces\":[]}", HEAD "\"pieces\":7}", HEAD "\"pieces\":[7]}",
		HEAD "\"pieces\":[{}]}", HEAD "\"pieces\":[{" ONE "}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":\"1\"}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":100}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":1e6,\"lower\":[],\"upper\":[]}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":0,\"lower\":[[1]],\"upper\":[]}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":0,\"lower\":[[9,9],[9,9]],\"upper\":[]}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":0,\"lower\":[[9,9]],\"upper\":[[9,-9]]}]}",
		HEAD "\"pieces\":[{\"from_ns\":9,\"to_ns\":1,\"offset_ns\":0,\"drift_ppm\":0}]}",
		HEAD "\"pieces\":[{\"from_ns\":1e300,\"to_ns\":1,\"offset_ns\":0,\"drift_ppm\":0}]}",
		HEAD "\"lower_ns\":1e300,\"upper_ns\":0,\"offset_ns\":0,\"pieces\":[{" ONE
		     ",\"drift_ppm\":0}]}",
		HEAD "\"pieces\":[{" ONE ",\"drift_ppm\":0,\"drift_lower_ppm\":5,\"drift_upper_ppm\":1,"
		     "\"lower\":[],\"upper\":[]}]}",
		"{\"schema\":\"vnetscope.drift/1\",\"mode\":\"sundial\",\"pieces\":[]}",
	};
	struct vns_err err;
	struct vns_clock *c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file(bad[i]);
		err.text[0] = '\0';
		assert_int_equal(vns_drift_file_read(path, &c, &err), -EINVAL);
		assert_null(c);
		assert_non_null(strstr(err.text, path));
		unlink(path);
	}
	assert_int_equal(vns_drift_file_read("/nonexistent/d.json", &c, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/d.json"));
	assert_true(vns_drift_file_read("/", &c, &err) < 0);
	/* extreme but not contradictory numbers give a relation and no overflow */
	write_file(HEAD "\"pieces\":[{\"from_ns\":-9223372036854775807,\"to_ns\":9223372036854775807,"
		   "\"offset_ns\":-9000000000000000000,\"drift_ppm\":500,"
		   "\"lower\":[[-9223372036854775807,-9223372036854775807]],"
		   "\"upper\":[[9223372036854775807,9223372036854775807]]}]}");
	if (vns_drift_file_read(path, &c, &err) == 0) {
		struct vns_clock_at a;

		vns_clock_eval(c, INT64_MIN, &a);
		vns_clock_eval_guest(c, INT64_MAX, &a);
		vns_clock_free(c);
	}
	unlink(path);
}

static void test_text(void **state)
{
	struct vns_drift_result r[2] = { measured(VNS_CLOCK_SHM, -3600 * SEC, 100),
					 measured(VNS_CLOCK_EXCHANGE, -3600 * SEC, 100) };
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	(void)state;
	r[0].tcg = true;
	vns_drift_text(r, 2, 60, to);
	fclose(to);
	assert_true(strncmp(text, "The guest runs under TCG", 24) == 0);
	assert_non_null(strstr(text, "clock mode shm"));
	assert_non_null(strstr(text, "-3598.9998"));
	assert_non_null(strstr(text, "then a step"));
	assert_non_null(strstr(text, "ppm"));
	assert_non_null(strstr(text, "200 used, 0 rejected"));
	assert_non_null(strstr(text, "  |"));
	assert_non_null(strstr(text, "bounds of all modes intersect"));
	if (getenv("SHOW"))
		fputs(text, stderr);
	free(text);
	to = open_memstream(&text, &size);
	vns_drift_csv(r, 2, to);
	fclose(to);
	assert_non_null(strstr(text, "\nvm1,exchange,1763764800000"));
	free(text);
	vns_drift_result_free(&r[0]);
	vns_drift_result_free(&r[1]);
}

/* A wrong exchange is told in text and JSON, and no direction's least delay is above that of both. */
static void test_wrong_exchange(void **state)
{
	struct vns_drift_result r = measured(VNS_CLOCK_SHM, 5, 999);
	int64_t t = T0 + 10 * SEC + SEC / 20;
	struct vns_exchange x = { t, t + 30000 + SEC, t + 31000 + SEC, t + 61000 };
	char *text = NULL;
	json_t *doc, *sub;
	size_t size;
	FILE *to;

	(void)state;
	assert_int_equal(vns_clock_add(r.clock, &x), 0);
	assert_int_equal(vns_clock_solve(r.clock), 0);
	assert_int_equal(vns_clock_eval(r.clock, T0 + 19 * SEC, &r.at), 0);
	vns_drift_ways(&r);
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		assert_true(r.way[d].floor_upper_ns <= r.floor_sum_upper_ns);
	assert_true(r.floor_sum_ns <= r.floor_sum_upper_ns && r.floor_sum_upper_ns < 43000);
	assert_true(r.floor_sum_upper_ns >= 40000); /* the true sum */
	doc = vns_drift_document(&r, 1, 0, NULL);
	sub = json_object_get(doc, "exchanges");
	assert_int_equal(json_integer_value(json_object_get(sub, "contradicting")), 1);
	assert_int_equal(json_integer_value(json_object_get(sub, "undecided")), 0);
	assert_int_equal(json_array_size(json_object_get(doc, "pieces")), 1);
	sub = json_array_get(json_object_get(doc, "samples"), 200);
	assert_true(json_is_true(json_object_get(sub, "contradicts")));
	json_decref(doc);
	for (size_t i = 0; i < 40; i++)
		strcat(r.note, "a word more ");
	to = open_memstream(&text, &size);
	vns_drift_text(&r, 1, 0, to);
	fclose(to);
	assert_non_null(strstr(text, "200 used, 1 rejected; the best"));
	assert_non_null(strstr(text, "1 exchange contradicts the others"));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= VNS_TEXT_COLUMNS);
	free(text);
	vns_drift_result_free(&r);
}

/* A step that the relation is sure of, with its size between bounds; a rate that changes is none. */
static void test_small_steps(void **state)
{
	struct vo_step step;

	(void)state;
	for (int64_t by = -SEC / 200; by <= SEC / 200; by += SEC / 1000) {
		struct vns_drift_result r = measured(VNS_CLOCK_CHANNEL, 77, 999);
		size_t n, steps = 0;

		vns_clock_free(r.clock);
		assert_int_equal(vns_clock_new(&r.clock, VNS_CLOCK_CHANNEL), 0);
		for (int i = 0; i < 200; i++) {
			int64_t t = T0 + i * SEC / 10, o = i < 120 ? i * 600 : i * 600 + by;
			struct vns_exchange x = { t, t + 20000 + o, t + 21000 + o, t + 41000 };

			assert_int_equal(vns_clock_add(r.clock, &x), 0);
		}
		assert_int_equal(vns_clock_solve(r.clock), 0);
		vns_clock_pieces(r.clock, &n);
		for (size_t i = 0; i < n; i++)
			steps += vo_step_after(r.clock, i, &step);
		assert_int_equal(steps, by != 0);
		if (steps) {
			assert_true(step.lower_ns <= (double)by && step.upper_ns >= (double)by);
			assert_true(step.upper_ns - step.lower_ns < 250e3);
			assert_true(step.at_ns <= T0 + 12 * SEC && step.at_ns + step.gap_ns >= T0 + 119 * SEC / 10);
		}
		vns_drift_result_free(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_contract),
		cmocka_unit_test(test_plain_document), cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_text), cmocka_unit_test(test_wrong_exchange),
		cmocka_unit_test(test_small_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
