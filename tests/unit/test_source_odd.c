// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Captures that are odd rather than broken: clocks that go back or wrap, packets without a time,
 * sections that do not resemble each other, records without bytes, and the engines behind them
 * where memory is short.
 */
#include "captures.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <vnetscope/rtt.h>
#include <vnetscope/twin.h>

/* 2038 passes unnoticed, 2106 is the end of pcap's seconds: what follows is counted as backwards. */
static void test_seconds_wrap(void **state)
{
	static const uint32_t secs[] = { INT32_MAX, 0x80000000u, UINT32_MAX, 0, 1, 1, 0 };
	struct writer w = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 10);
	pcap_head(&w, 0xa1b23c4d, 1);
	for (size_t i = 0; i < 7; i++)
		pcap_record(&w, secs[i], 999999999, &f, f.n);
	assert_int_equal(slurp(save(&w, w.n), NULL, 3), 7);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(got[i].time_ns, secs[i] * VNS_NSEC_PER_SEC + 999999999);
	assert_int_equal(stats.backwards, 2);
	(void)state;
}

/* Ten interfaces in one section, one of another link type and resolution in the next: numbers
 * start anew, the clock of one interface says nothing about another's. */
static void test_unlike_sections(void **state)
{
	struct bytes f, raw = { .n = 0 };

	make_tcp4(&f, 40);
	put(&raw, f.b + 14, f.n - 14);
	for (int big = 0; big < 2; big++) {
		struct writer w = { .big = big };

		ng_section(&w);
		for (int i = 0; i < 10; i++)
			ng_iface(&w, 1, 0, 6, 0);
		for (uint32_t i = 0; i < 10; i++)
			ng_packet(&w, 9 - i, 5000000 - i, &f, f.n, 0);
		w.big = !w.big;
		ng_section(&w);
		ng_iface(&w, 101, 0, 0x80 | 30, -3); /* 2^-30 s, three seconds earlier */
		ng_packet(&w, 0, (5ull << 30) | 1 << 29, &raw, raw.n, 0);
		ng_packet(&w, 3, 5, &f, f.n, 0); /* of the section before: unknown here */
		assert_int_equal(slurp(save(&w, w.n), NULL, 4), 11);
		for (int i = 0; i < 10; i++)
			assert_int_equal(got[i].point, 9 - i);
		assert_int_equal(got[10].point, 0);
		assert_int_equal(got[10].time_ns, 2500000000);
		assert_int_equal(got[10].verdict, VNS_PKT_OK);
		assert_int_equal(stats.backwards, 0);
		assert_int_equal(stats.bad_records, 1);
	}
	(void)state;
}

/* An interface's name goes to terminals and into JSON: whoever wrote the file gives no orders there. */
static void test_vile_name(void **state)
{
	static const char name[] = "\x1b[2Jb\xc3\xb6 \xff\xc2\x9b"; /* escape, o umlaut, no UTF-8, a C1 */
	struct writer w = { .n = 0 };
	struct vns_source *s;
	struct bytes f;
	size_t at;

	make_tcp4(&f, 10);
	ng_section(&w);
	at = block(&w, 1);
	w32(&w, 1);
	w32(&w, 0);
	w16(&w, 2);
	w16(&w, sizeof(name) - 1);
	w_bytes(&w, name, sizeof(name) - 1);
	block_end(&w, at);
	ng_packet(&w, 0, 7, &f, f.n, 0);
	assert_int_equal(vns_source_open_file(&s, save(&w, w.n), NULL, &err), 0);
	assert_int_equal(vns_source_next(s, got, MAX, &err), 1);
	assert_string_equal(vns_source_point_name(s, 0), " [2Jb\xc3\xb6 ? ");
	vns_source_close(s);
	(void)state;
}

static void simple_packet(struct writer *w, const struct bytes *f)
{
	size_t at = block(w, 3);

	w32(w, f->n);
	w_bytes(w, f->b, f->n);
	block_end(w, at);
}

/* Simple packet blocks: in their place, counted, out of every measurement, and said. */
static void test_no_time(void **state)
{
	struct vns_rtt_counts c;
	struct writer w = { .n = 0 };
	struct vns_rtt *r;
	struct bytes f;

	make_tcp4(&f, 10);
	ng_section(&w);
	ng_iface(&w, 1, 0, 6, 0);
	simple_packet(&w, &f);
	ng_packet(&w, 0, 7000000, &f, f.n, 0);
	simple_packet(&w, &f);
	simple_packet(&w, &f);
	assert_int_equal(slurp(save(&w, w.n), NULL, 9), 4);
	assert_int_equal(got[0].time_ns, 0);
	assert_int_equal(got[3].time_ns, 7000000000);
	assert_int_equal(stats.verdicts[VNS_PKT_NO_TIME], 3);
	assert_int_equal(stats.backwards, 0);
	assert_non_null(strstr(sentence, "3 packets of"));
	assert_int_equal(vns_rtt_new(&r, &(struct vns_rtt_opts){ .max_flows = 4 }, &err), 0);
	assert_int_equal(vns_rtt_feed(r, got, 4), 0);
	vns_rtt_finish(r);
	vns_rtt_get_counts(r, &c);
	assert_int_equal(c.undecodable, 3);
	assert_int_equal(c.packets, 4);
	vns_rtt_free(r);
	assert_int_equal(slurp(path, "udp", 9), 0);
	assert_string_equal(sentence, "");
	(void)state;
}

/* Records that hold nothing, of packets that were something. */
static void test_no_bytes(void **state)
{
	struct writer w = { .n = 0 };
	struct bytes f;

	make_tcp4(&f, 10);
	pcap_head(&w, 0xa1b2c3d4, 1);
	for (uint32_t i = 0; i < 60; i++)
		pcap_record(&w, i, 0, &f, 0);
	assert_int_equal(slurp(save(&w, w.n), NULL, 64), 60);
	assert_int_equal(stats.verdicts[VNS_PKT_CUT], 60);
	assert_int_equal(stats.bytes, 60 * f.n);
	(void)state;
}

static void ignore(void *ctx, const struct vns_twin_sample *s)
{
	(void)ctx;
	(void)s;
}

/* Where address space is limited, the default size is refused in words and a small one works. */
static void in_little_space(void)
{
	const struct rlimit limit = { 256 << 20, 256 << 20 };
	struct vns_twin_opts o = { .max_pending = 0 };
	struct vns_twin *t = NULL;

	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	assert_int_equal(vns_twin_new(&t, &o, ignore, NULL, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "pending packets"));
	o.max_pending = 1000;
	assert_int_equal(vns_twin_new(&t, &o, ignore, NULL, &err), 0);
	vns_twin_free(t);
}

static void test_little_space(void **state)
{
	int status;
	pid_t pid;

#if defined(__SANITIZE_ADDRESS__)
	skip(); /* the sanitizer itself takes terabytes of address space */
#endif
	pid = fork();
	if (pid == 0) {
		in_little_space();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds_wrap),
		cmocka_unit_test(test_unlike_sections),
		cmocka_unit_test(test_vile_name),
		cmocka_unit_test(test_no_time),
		cmocka_unit_test(test_no_bytes),
		cmocka_unit_test(test_little_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
