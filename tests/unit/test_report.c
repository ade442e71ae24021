// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reports from made-up results: what is claimed, what is escaped, what the page holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "measure/vo_figures.h"
#include "report/report.h"

struct fake {
	struct vns_vo_target vo[2];
	struct vns_report_vm vm[2];
	struct vns_report report;
};

/* @n latencies around @center, spread by @spread, both ways. */
static void fill(struct vns_vo_target *t, int64_t center, int64_t spread, int n)
{
	for (int i = 0; i < n; i++) {
		int64_t v = center + spread * (i % 21 - 10) / 10;

		vns_dist_add(&t->fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].first, v);
		vns_dist_add(&t->fig[VNS_GUEST_TO_HOST][VNS_PROTO_UDP].first, v / 2);
	}
	snprintf(t->from_point, sizeof(t->from_point), "uplink");
}

static void setup(struct fake *f, int64_t a, int64_t b, double clock_error_ns)
{
	memset(f, 0, sizeof(*f));
	fill(&f->vo[0], a, a / 10, 500);
	fill(&f->vo[1], b, b / 10, 500);
	for (int i = 0; i < 2; i++) {
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].err_minus_ns = clock_error_ns;
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].err_plus_ns = clock_error_ns;
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].p50_lower_ns = (i ? b : a) * 98 / 100;
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].p50_upper_ns = (i ? b : a) * 102 / 100;
	}
	f->vm[0] = (struct vns_report_vm){ "vm1", "idle & <quiet>", NULL, &f->vo[0] };
	f->vm[1] = (struct vns_report_vm){ "vm2", "hashing", NULL, &f->vo[1] };
	f->report = (struct vns_report){ .title = "a < b", .host = "h", .lab = "l", .command = "c",
					 .vm = f->vm, .n_vm = 2, .duration_ns = VNS_NSEC_PER_SEC };
}

static void teardown(struct fake *f)
{
	vns_vo_target_fini(&f->vo[0]);
	vns_vo_target_fini(&f->vo[1]);
}

static void join_line(void *ctx, const char *sentence)
{
	fprintf(ctx, "%s\n", sentence);
}

/* Owned text of the reading. */
static char *reading(const struct vns_report *r)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	vns_report_reading(r, join_line, f);
	fclose(f);
	return text;
}

static void a_clear_difference_is_claimed(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	setup(&f, 50000, 200000, 500);
	text = reading(&f.report);
	assert_non_null(strstr(text, "4.0"));
	assert_non_null(strstr(text, "times as long"));
	free(text);
	teardown(&f);
}

static void a_difference_within_the_clock_is_not(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	setup(&f, 50000, 60000, 20000);
	text = reading(&f.report);
	assert_null(strstr(text, "times as long"));
	assert_non_null(strstr(text, "shows no difference"));
	free(text);
	teardown(&f);
}

static void emulation_is_said_first(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	setup(&f, 50000, 60000, 500);
	f.report.tcg = true;
	text = reading(&f.report);
	assert_int_equal(strncmp(text, "These guests run under TCG", 26), 0);
	free(text);
	teardown(&f);
}

static void no_samples_is_a_sentence(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	memset(&f, 0, sizeof(f));
	f.vm[0] = (struct vns_report_vm){ "vm1", "idle", NULL, &f.vo[0] };
	f.report = (struct vns_report){ .title = "t", .vm = f.vm, .n_vm = 1 };
	text = reading(&f.report);
	assert_non_null(strstr(text, "vm1: no packet was matched"));
	free(text);
}

static void the_page_is_escaped_and_whole(void **state)
{
	struct fake f;
	char *html = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&html, &len);

	(void)state;
	setup(&f, 50000, 200000, 500);
	vns_report_html(&f.report, to);
	fclose(to);
	assert_non_null(strstr(html, "<title>a &lt; b</title>"));
	assert_non_null(strstr(html, "idle &amp; &lt;quiet&gt;"));
	assert_null(strstr(html, "<quiet>"));
	assert_null(strstr(html, "<script"));
	assert_null(strstr(html, "http")); /* self-contained */
	assert_non_null(strstr(html, "<svg"));
	assert_string_equal(html + len - 15, "</body></html>\n");
	free(html);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clear_difference_is_claimed),
		cmocka_unit_test(a_difference_within_the_clock_is_not),
		cmocka_unit_test(emulation_is_said_first),
		cmocka_unit_test(no_samples_is_a_sentence),
		cmocka_unit_test(the_page_is_escaped_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
