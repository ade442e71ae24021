// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Dealing the packets of a file out to workers: every packet to exactly one, in file order, the same
 * packets to the same part and the same marks of time whatever the number of workers.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "frames.h"
#include "measure/deal.h"

#define PACKETS 60000u
#define FLOWS   200u
#define WORKERS 5u
#define STEP_NS (3 * VNS_NSEC_PER_SEC)

static char path[2][64];
static int64_t time_of[PACKETS]; /* seconds only: as the file has them */

/* Mostly forward, at times far forward, at times back. */
static void make_times(void)
{
	int64_t now = 1000;

	srand(7);
	for (uint32_t i = 0; i < PACKETS; i++) {
		int r = rand() % 5000;

		now += r < 20 ? 1 : r < 23 ? 40 : r < 26 ? -7 : 0;
		time_of[i] = now * VNS_NSEC_PER_SEC;
	}
}

static void put_le32(FILE *f, uint32_t v)
{
	assert_int_equal(fwrite(&v, 4, 1, f), 1); /* the reader takes either byte order */
}

static void make_file(char *name, size_t size, uint32_t n, bool cut)
{
	FILE *f;

	snprintf(name, size, "/tmp/vns-test-deal-XXXXXX");
	f = fdopen(mkstemp(name), "w");
	assert_non_null(f);
	put_le32(f, 0xa1b2c3d4);
	put_le32(f, 0x00040002);
	for (int i = 0; i < 3; i++)
		put_le32(f, i == 2 ? 262144 : 0);
	put_le32(f, VNS_LINK_ETHERNET);
	for (uint32_t i = 0; i < n; i++) {
		struct bytes b;

		make_udp4(&b, 20 + i % 40);
		b.b[34] = (uint8_t)(i % FLOWS >> 8); /* source port: the flow */
		b.b[35] = (uint8_t)(i % FLOWS);
		put_le32(f, (uint32_t)(time_of[i] / VNS_NSEC_PER_SEC));
		put_le32(f, 0);
		put_le32(f, b.n);
		put_le32(f, b.n);
		assert_int_equal(fwrite(b.b, 1, cut && i + 1 == n ? b.n / 2 : b.n, f),
				 cut && i + 1 == n ? b.n / 2 : b.n);
	}
	assert_int_equal(fclose(f), 0);
}

/* What one worker saw. */
struct seen {
	uint32_t number[PACKETS]; /* of its packets, in the order of the hands */
	size_t n;
	uint64_t hash_sum;
	struct { uint64_t at; int64_t now_ns; } mark[PACKETS];
	size_t n_mark;
};
static struct seen seen[WORKERS];
static uint64_t part_sum[16]; /* of packet numbers times flow hashes */
static void *work_ctx;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void look(struct seen *s, const struct vns_hand *h)
{
	for (size_t i = 0; i < h->n; i++) {
		uint64_t number = h->first + h->at[i];

		assert_true(h->at[i] < h->size && number < PACKETS);
		assert_int_equal(h->pkt[i].time_ns, time_of[number]);
		assert_int_equal(vns_packet_dport(&h->pkt[i]), 5202);
		assert_int_equal(vns_packet_sport(&h->pkt[i]), number % FLOWS);
		s->number[s->n++] = (uint32_t)number;
		pthread_mutex_lock(&lock);
		part_sum[vns_deal_part(&h->pkt[i])] += number * h->pkt[i].flow_hash;
		pthread_mutex_unlock(&lock);
	}
	for (size_t i = 0; i < h->n_mark; i++) {
		s->mark[s->n_mark].at = h->first + h->mark[i].at;
		s->mark[s->n_mark++].now_ns = h->mark[i].now_ns;
	}
	assert_int_equal(h->from_ns, time_of[h->first]);
	assert_int_equal(h->to_ns, time_of[h->first + h->size - 1]);
}

static int work(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	struct vns_hand h;
	int rc;

	(void)ctx;
	while ((rc = vns_deal_next(d, 0, worker, &h, err)) > 0)
		look(&seen[worker], &h);
	return rc;
}

static void reset(void)
{
	for (size_t i = 0; i < WORKERS; i++)
		seen[i].n = seen[i].n_mark = 0;
	memset(part_sum, 0, sizeof(part_sum));
}

static int deal_file(const char *name, struct vns_deal_opts opts, vns_deal_fn fn,
		     struct vns_source_stats *stats)
{
	struct vns_source *s;
	struct vns_deal *d;
	struct vns_err err;
	int rc;

	reset();
	assert_int_equal(vns_source_open_file(&s, name, NULL, &err), 0);
	assert_int_equal(vns_deal_new(&d, &s, 1, &opts, &err), 0);
	rc = vns_deal_run(d, fn, work_ctx, &err);
	vns_deal_free(d);
	vns_source_stats(s, stats);
	vns_source_close(s);
	return rc;
}

/* Each packet once, rising in every worker, up to @n. */
static void expect_all(unsigned workers, uint32_t n)
{
	static uint8_t times[PACKETS];

	memset(times, 0, sizeof(times));
	for (unsigned w = 0; w < workers; w++) {
		for (size_t i = 0; i < seen[w].n; i++) {
			assert_true(i == 0 || seen[w].number[i] > seen[w].number[i - 1]);
			times[seen[w].number[i]]++;
		}
	}
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(times[i], 1);
	for (uint32_t i = n; i < PACKETS; i++)
		assert_int_equal(times[i], 0);
}

/* The marks by their definition, packet by packet. */
static void expect_marks(const struct seen *s)
{
	int64_t high = INT64_MIN, from = INT64_MIN;
	size_t n = 0;

	for (uint32_t i = 0; i < PACKETS; i++) {
		int64_t begin = time_of[i] - time_of[i] % STEP_NS;

		if (time_of[i] <= high)
			continue;
		high = time_of[i];
		if (begin <= from)
			continue;
		from = begin;
		assert_true(n < s->n_mark);
		assert_int_equal(s->mark[n].at, i);
		assert_int_equal(s->mark[n++].now_ns, time_of[i]);
	}
	assert_true(n > 50);
	assert_int_equal(n, s->n_mark);
}

static void test_every_number_of_workers(void **state)
{
	struct vns_source_stats stats;
	uint64_t want[16];

	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		assert_int_equal(deal_file(path[0], (struct vns_deal_opts){ .workers = w,
					   .clock_step_ns = STEP_NS }, work, &stats), 0);
		assert_int_equal(stats.frames, PACKETS);
		assert_int_equal(stats.verdicts[VNS_PKT_OK], PACKETS);
		assert_int_equal(stats.truncated, 0);
		expect_all(w, PACKETS);
		for (unsigned i = 0; i < w; i++) {
			assert_true(seen[i].n > 0);
			expect_marks(&seen[i]);
		}
		if (w == 1)
			memcpy(want, part_sum, sizeof(want));
		assert_memory_equal(part_sum, want, sizeof(want));
	}
}

/* All to worker 0, whoever decodes; when it ends, the others do. */
static int one_engine(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	const size_t *limit = ctx;
	struct vns_hand h;
	int rc;

	while ((rc = vns_deal_next(d, 0, worker, &h, err)) > 0) {
		look(&seen[worker], &h);
		if (worker == 0 && seen[0].n >= *limit)
			return 0;
	}
	return rc;
}

static void test_one_engine(void **state)
{
	struct vns_source_stats stats;

	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		size_t limit = SIZE_MAX;
		struct vns_deal_opts opts = { .workers = w, .one_engine = true,
					      .clock_step_ns = STEP_NS };

		work_ctx = &limit;
		assert_int_equal(deal_file(path[0], opts, one_engine, &stats), 0);
		expect_all(1, PACKETS);
		expect_marks(&seen[0]);
		for (unsigned i = 1; i < w; i++)
			assert_int_equal(seen[i].n, 0);
		limit = 5000;
		assert_int_equal(deal_file(path[0], opts, one_engine, &stats), 0);
		assert_true(seen[0].n >= limit && seen[0].n < PACKETS);
		work_ctx = NULL;
	}
}

static void test_cut_file(void **state)
{
	struct vns_source_stats stats;

	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		assert_int_equal(deal_file(path[1], (struct vns_deal_opts){ .workers = w }, work,
					   &stats), 0);
		assert_int_equal(stats.truncated, 1);
		expect_all(w, 29999);
	}
}

/* Every third frame is wanted, and none after the 50,000th. */
static size_t every_third(void *ctx, size_t source, struct vns_frame *frame, size_t n, bool *last)
{
	uint64_t *offered = ctx;
	size_t kept = 0;

	assert_int_equal(source, 0);
	for (size_t i = 0; i < n && *offered < 50000; i++)
		if ((*offered)++ % 3 == 0)
			frame[kept++] = frame[i];
	*last = *offered == 50000;
	return kept;
}

static int count(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	struct vns_hand h;
	int rc;

	(void)ctx;
	while ((rc = vns_deal_next(d, 0, worker, &h, err)) > 0) {
		for (size_t i = 0; i < h.n; i++)
			assert_int_equal(h.pkt[i].time_ns, time_of[3 * (h.first + h.at[i])]);
		seen[worker].n += h.n;
	}
	return rc;
}

static void test_select(void **state)
{
	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		struct vns_source_stats stats;
		uint64_t offered = 0;
		size_t all = 0;

		assert_int_equal(deal_file(path[0], (struct vns_deal_opts){ .workers = w,
					   .select = every_third, .ctx = &offered }, count, &stats), 0);
		for (unsigned i = 0; i < w; i++)
			all += seen[i].n;
		assert_int_equal(all, (50000 + 2) / 3);
	}
}

/* A worker that ends early, with or without an error, holds nobody up. */
static int ends_early(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	struct vns_hand h;

	(void)ctx;
	if (worker == 1)
		return vns_deal_next(d, 0, worker, &h, err) > 0 ? 0 : -EIO;
	return work(ctx, worker, d, err);
}

static int fails(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	struct vns_hand h;

	(void)ctx;
	if (worker == 1 && vns_deal_next(d, 0, worker, &h, err) > 0)
		return -ENOSPC;
	return work(ctx, worker, d, err);
}

static void test_early_end(void **state)
{
	struct vns_source_stats stats;

	(void)state;
	for (unsigned w = 2; w <= WORKERS; w++) {
		assert_int_equal(deal_file(path[0], (struct vns_deal_opts){ .workers = w },
					   ends_early, &stats), 0);
		assert_int_equal(stats.frames, PACKETS);
		assert_int_equal(deal_file(path[0], (struct vns_deal_opts){ .workers = w }, fails,
					   &stats), -ENOSPC);
	}
}

static void test_stop(void **state)
{
	volatile int stop = 1;
	struct vns_source_stats stats;

	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		assert_int_equal(deal_file(path[0], (struct vns_deal_opts){ .workers = w,
					   .stop = &stop }, work, &stats), 0);
		expect_all(w, 0);
	}
}

/* Even workers read file 0 first and then file 1, odd ones the other way: they would wait for each
 * other for ever if the number of blocks in memory were fixed. */
static int crosswise(void *ctx, unsigned worker, struct vns_deal *d, struct vns_err *err)
{
	(void)ctx;
	for (unsigned i = 0; i < 2; i++) {
		struct vns_hand h;
		int rc;

		while ((rc = vns_deal_next(d, (worker + i) % 2, worker, &h, err)) > 0)
			seen[worker].n += h.n;
		if (rc)
			return rc;
	}
	return 0;
}

static unsigned by_port(void *ctx, const struct vns_packet *p)
{
	(void)ctx;
	return vns_packet_sport(p);
}

static void test_two_files(void **state)
{
	(void)state;
	for (unsigned w = 1; w <= WORKERS; w++) {
		struct vns_deal_opts opts = { .workers = w, .owner = by_port };
		struct vns_source *s[2];
		struct vns_deal *d;
		struct vns_err err;
		size_t all = 0;

		reset();
		for (int i = 0; i < 2; i++)
			assert_int_equal(vns_source_open_file(&s[i], path[i], NULL, &err), 0);
		assert_int_equal(vns_deal_new(&d, s, 2, &opts, &err), 0);
		assert_int_equal(vns_deal_run(d, crosswise, NULL, &err), 0);
		vns_deal_free(d);
		for (int i = 0; i < 2; i++)
			vns_source_close(s[i]);
		for (unsigned i = 0; i < w; i++)
			all += seen[i].n;
		assert_int_equal(all, PACKETS + 29999);
	}
}

static void test_refusals(void **state)
{
	struct vns_deal_opts opts = { .workers = VNS_DEAL_MAX_WORKERS + 1 };
	struct vns_source *s = NULL;
	struct vns_deal *d;
	struct vns_err err;

	(void)state;
	assert_int_equal(vns_deal_new(&d, &s, 1, &opts, &err), -EINVAL);
	opts.workers = 0;
	assert_int_equal(vns_deal_new(&d, &s, 1, &opts, &err), -EINVAL);
	opts.workers = 1;
	assert_int_equal(vns_deal_new(&d, &s, VNS_DEAL_MAX_SOURCES + 1, &opts, &err), -EINVAL);
}

static int make_files(void **state)
{
	(void)state;
	make_times();
	make_file(path[0], sizeof(path[0]), PACKETS, false);
	make_file(path[1], sizeof(path[1]), 30000, true);
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	return unlink(path[0]) | unlink(path[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_number_of_workers), cmocka_unit_test(test_one_engine), cmocka_unit_test(test_cut_file),
		cmocka_unit_test(test_select), cmocka_unit_test(test_early_end),
		cmocka_unit_test(test_stop), cmocka_unit_test(test_two_files),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests_name("deal", tests, make_files, remove_files);
}
