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
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].interval.p50.lower = (i ? b : a) * 98 / 100;
		f->vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].interval.p50.upper = (i ? b : a) * 102 / 100;
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

static char *remarks(const struct vns_report *r, size_t *n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	*n = vns_report_remarks(r, join_line, f);
	fclose(f);
	return text;
}

static void count_matched(struct vns_vo_target *t, uint64_t read, uint64_t matched)
{
	for (int p = 0; p < 2; p++) {
		t->counts[p].read = read;
		t->counts[p].in_class[VNS_TWIN_MATCHED] = matched;
		t->counts[p].in_class[VNS_TWIN_MISSING] = read - matched;
	}
}

static void nothing_wrong_is_no_remark(void **state)
{
	struct fake f;
	size_t n;
	char *text;

	(void)state;
	setup(&f, 50000, 60000, 500);
	count_matched(&f.vo[0], 1000, 1000);
	count_matched(&f.vo[1], 1000, 990);
	text = remarks(&f.report, &n);
	assert_int_equal(n, 0);
	assert_string_equal(text, "");
	assert_true(vns_report_is_whole(&f.report));
	free(text);
	teardown(&f);
}

/* Every loss, event, note and early end reaches the reader, on the page too. */
static void what_went_wrong_is_said(void **state)
{
	static const char *const said[] = {
		"vm2 ended early: silent for 5 s", "the capture in the guest lost 30,199", "31,861 were read",
		"The agent was silent", "and 2 more such events", "7 matched packets",
		"vm2, clock measurement: Only 35 of 100", "vm2: A note.", "interval is 1.524 ms wide, 2.600 us in",
	};
	struct vns_drift_result drift = { .mode = VNS_CLOCK_SHM, .note = "Only 35 of 100 exchanges." };
	struct fake f;
	char *text, *html = NULL;
	size_t n, len;
	FILE *to;

	(void)state;
	setup(&f, 50000, 60000, 500);
	count_matched(&f.vo[0], 1000, 1000);
	count_matched(&f.vo[1], 31861, 10534);
	drift.at = (struct vns_clock_at){ .lower_ns = -1300, .upper_ns = 1300 };
	f.vo[1].clock = (struct vns_clock_at){ .lower_ns = -752000, .upper_ns = 772000 };
	f.vo[1].capture_lost[VNS_POINT_B] = 30199;
	f.vo[1].unrelated = 7;
	f.vo[1].n_event = 5;
	f.vo[1].events_left_out = 2;
	for (int i = 0; i < 5; i++)
		strcpy(f.vo[1].event[i].text, "The agent was silent");
	strcpy(f.vo[1].note, "A note.");
	strcpy(f.vo[1].ended_early, "vm2 ended early: silent for 5 s");
	f.vm[1].drift = &drift;
	text = remarks(&f.report, &n);
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (!strstr(text, said[i]))
			fail_msg("'%s' is not in: %s", said[i], text);
	assert_int_equal(n, 12);
	assert_false(vns_report_is_whole(&f.report));
	f.vm[1].drift = NULL; /* whose clock the page would draw */
	to = open_memstream(&html, &len);
	vns_report_html(&f.report, to);
	fclose(to);
	assert_non_null(strstr(html, "What went wrong"));
	assert_non_null(strstr(html, "lost 30,199"));
	free(html);
	free(text);
	teardown(&f);
}

/* Where a median has no interval, nothing overlaps with it and nothing is apart from it. */
static void a_median_without_interval_is_not_compared(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct fake f;
		char *text;

		setup(&f, 50000, 200000, 500);
		f.vo[i].fig[VNS_HOST_TO_GUEST][VNS_PROTO_UDP].interval.p50 = (struct vns_interval){ 0 };
		text = reading(&f.report);
		assert_non_null(strstr(text, i ? "vm2 against vm1: vm2's udp median towards the VM has no interval: "
						 "not compared." :
						 "vm2 against vm1: vm1's udp median towards the VM has no interval: "
						 "not compared."));
		assert_null(strstr(text, "overlap"));
		free(text);
		teardown(&f);
	}
}

static void a_machine_without_pairs_is_not_whole(void **state)
{
	struct fake f;

	(void)state;
	setup(&f, 50000, 60000, 500);
	count_matched(&f.vo[0], 1000, 1000);
	count_matched(&f.vo[1], 1000, 0);
	assert_false(vns_report_is_whole(&f.report));
	teardown(&f);
}

/* Small beside the median: no word of the clock; a tenth: its interval; more than all of it: withheld. */
static void the_clock_is_said_where_it_matters(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	setup(&f, 50000, 60000, 1000);
	text = reading(&f.report);
	assert_null(strstr(text, "the clock leaves"));
	free(text);
	teardown(&f);
	setup(&f, 50000, 60000, 4000);
	text = reading(&f.report);
	assert_non_null(strstr(text, "the clock leaves -4.000 us +4.000 us of the former open"));
	assert_non_null(strstr(text, "holds a udp packet"));
	free(text);
	teardown(&f);
	setup(&f, 50000, 60000, 50000);
	vns_dist_add(&f.vo[0].sum[VNS_PROTO_UDP].paired, 75000);
	text = reading(&f.report);
	assert_non_null(strstr(text, "is withheld: the clock leaves -50.00 us +50.00 us"));
	assert_non_null(strstr(text, "us at the median"));
	assert_null(strstr(text, "holds a udp packet to"));
	free(text);
	vns_dist_fini(&f.vo[0].sum[VNS_PROTO_UDP].paired);
	teardown(&f);
}

/* A share of the RTT needs both of the same traffic. */
static void the_share_needs_the_same_traffic(void **state)
{
	struct fake f;
	char *text;

	(void)state;
	setup(&f, 50000, 60000, 500);
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		vns_dist_add(&f.vo[0].fig[d][VNS_PROTO_TCP].first, 200000);
	vns_dist_add(&f.vo[0].sum[VNS_PROTO_TCP].paired, 400000);
	vns_dist_add(&f.vo[0].rtt.guest_side, 1000000);
	vns_dist_add(&f.vo[0].rtt.guest_within, 1000000);
	count_matched(&f.vo[0], 1000, 950);
	text = reading(&f.report);
	assert_non_null(strstr(text, "of it, 40 %"));
	free(text);
	/* both ways have their interval; a part is never more than the whole */
	f.vo[0].sum[VNS_PROTO_TCP].interval.mean = (struct vns_interval){ 30000, 100000 };
	f.vo[0].rtt.within_interval.mean = (struct vns_interval){ 50000, 200000 };
	text = reading(&f.report);
	assert_non_null(strstr(text, "[30.00..100.0 us] of it, 40 % [15..100 %]"));
	free(text);
	strcpy(f.vo[0].ended_early, "vm1 ended early");
	text = reading(&f.report);
	assert_null(strstr(text, "of it, 40 %"));
	assert_non_null(strstr(text, "share of TCP's RTT is withheld"));
	free(text);
	f.vo[0].ended_early[0] = '\0';
	count_matched(&f.vo[0], 1000, 660);
	text = reading(&f.report);
	assert_non_null(strstr(text, "660 of 1000 packets"));
	free(text);
	vns_dist_fini(&f.vo[0].sum[VNS_PROTO_TCP].paired);
	vns_dist_fini(&f.vo[0].rtt.guest_side);
	vns_dist_fini(&f.vo[0].rtt.guest_within);
	teardown(&f);
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
	/* the median's interval beside it, the others of so few samples not known; none without a word */
	assert_non_null(strstr(html, "<small>49.00..51.00 us</small>"));
	assert_non_null(strstr(html, "<small>too few independent samples</small>"));
	assert_non_null(strstr(html, "(95 %: 49.00..51.00 us)</title>"));
	assert_non_null(strstr(html, "class=\"i s1\""));
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
		cmocka_unit_test(nothing_wrong_is_no_remark),
		cmocka_unit_test(what_went_wrong_is_said),
		cmocka_unit_test(a_median_without_interval_is_not_compared),
		cmocka_unit_test(a_machine_without_pairs_is_not_whole),
		cmocka_unit_test(the_clock_is_said_where_it_matters),
		cmocka_unit_test(the_share_needs_the_same_traffic),
		cmocka_unit_test(the_page_is_escaped_and_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
