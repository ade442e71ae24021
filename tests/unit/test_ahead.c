// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading ahead: the same batches, packets, end and counters as reading for oneself; ending in the
 * middle holds nobody up.
 */
#include <stdio.h>
#include <unistd.h>

#include "frames.h"
#include "measure/ahead.h"

#define PACKETS 100000u
#define BATCH   100u

static char path[64];

static void put_host32(FILE *f, uint32_t v)
{
	assert_int_equal(fwrite(&v, 4, 1, f), 1); /* the reader takes either byte order */
}

/* The last record is cut. */
static int make_file(void **state)
{
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vns-test-ahead-XXXXXX");
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	put_host32(f, 0xa1b2c3d4);
	put_host32(f, 0x00040002);
	for (int i = 0; i < 3; i++)
		put_host32(f, i == 2 ? 262144 : 0);
	put_host32(f, VNS_LINK_ETHERNET);
	for (uint32_t i = 0; i < PACKETS; i++) {
		struct bytes b;

		make_udp4(&b, 20 + i % 40);
		put_host32(f, i);
		put_host32(f, 0);
		put_host32(f, b.n);
		put_host32(f, b.n);
		assert_int_equal(fwrite(b.b, i + 1 == PACKETS ? b.n / 2 : b.n, 1, f), 1);
	}
	return fclose(f);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void test_same_batches(void **state)
{
	static struct vns_packet own[BATCH];
	struct vns_source_stats a_stats, b_stats;
	struct vns_source *a, *b;
	struct vns_packet *pkts;
	struct vns_ahead *ahead;
	struct vns_err err;
	uint64_t n = 0;
	int got;

	(void)state;
	assert_int_equal(vns_source_open_file(&a, path, NULL, &err), 0);
	assert_int_equal(vns_source_open_file(&b, path, NULL, &err), 0);
	assert_int_equal(vns_ahead_new(&ahead, b, BATCH, &err), 0);
	do {
		got = vns_source_next(a, own, BATCH, &err);
		assert_int_equal(vns_ahead_next(ahead, &pkts, &err), got);
		for (int i = 0; i < got; i++)
			assert_memory_equal(&own[i], &pkts[i], sizeof(own[i]));
		n += got > 0 ? (unsigned)got : 0;
	} while (got > 0);
	assert_int_equal(got, VNS_SOURCE_EOF);
	assert_int_equal(vns_ahead_next(ahead, &pkts, &err), VNS_SOURCE_EOF);
	assert_int_equal(n, PACKETS - 1);
	vns_ahead_free(ahead);
	vns_source_stats(a, &a_stats);
	vns_source_stats(b, &b_stats);
	assert_memory_equal(&a_stats, &b_stats, sizeof(a_stats));
	assert_int_equal(b_stats.truncated, 1);
	assert_string_equal(vns_source_sentence(a), vns_source_sentence(b));
	vns_source_close(a);
	vns_source_close(b);
}

static void test_early_end(void **state)
{
	(void)state;
	for (int batches = 0; batches < 40; batches++) {
		struct vns_packet *pkts;
		struct vns_ahead *ahead;
		struct vns_source *s;
		struct vns_err err;

		assert_int_equal(vns_source_open_file(&s, path, NULL, &err), 0);
		assert_int_equal(vns_ahead_new(&ahead, s, BATCH, &err), 0);
		for (int i = 0; i < batches; i++)
			assert_true(vns_ahead_next(ahead, &pkts, &err) > 0);
		vns_ahead_free(ahead);
		vns_source_close(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_batches), cmocka_unit_test(test_early_end),
	};

	return cmocka_run_group_tests_name("ahead", tests, make_file, remove_file);
}
