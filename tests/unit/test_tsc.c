// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Clock mode tsc without KVM hardware: a tree like KVM's in debugfs, and a host and a guest whose counters
 * and clocks are functions of one true time that only this test knows.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "measure/tsc.h"

#define PID     1234
#define EPOCH   INT64_C(1763764800123456789)
#define TICKS   2.8           /* host counter's ticks per true ns */
#define BOOT    UINT64_C(987654321012345)

static uint64_t rng = 42;

static double uniform(double lo, double hi)
{
	rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return lo + (hi - lo) * ((double)(rng >> 11) / 9007199254740992.0);
}

/* The world. */
struct world {
	double now;             /* true ns */
	uint64_t ratio, offset; /* what KVM's processor does */
	unsigned int frac;
	double host_ppm;        /* of the host's clock: NTP slews it */
	double offset_ns, ppm;  /* guest's clock minus the host's, true */
	double gap_ns;          /* what a request takes at least, either way */
	double stall;           /* chance that a guest's reading is interrupted */
	bool change_meanwhile;  /* the next request sees the guest write its counter */
	uint64_t new_offset;
	char tree[64];
};

static uint64_t host_counter(const struct world *w)
{
	return BOOT + (uint64_t)(w->now * TICKS);
}

static uint64_t guest_counter(const struct world *w)
{
	return (uint64_t)((unsigned __int128)host_counter(w) * w->ratio >> w->frac) + w->offset;
}

static double host_clock(const struct world *w)
{
	return w->now * (1 + w->host_ppm * 1e-6);
}

static double true_offset(const struct world *w)
{
	return w->offset_ns + w->ppm * 1e-6 * host_clock(w);
}

static void host_reads(void *ctx, struct vns_tsc_reading *r)
{
	struct world *w = ctx;

	r->before = host_counter(w);
	w->now += uniform(10, 40);
	r->clock_ns = EPOCH + (int64_t)floor(host_clock(w));
	w->now += uniform(10, 40);
	r->after = host_counter(w);
}

static void put(const struct world *w, int vcpu, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void put(const struct world *w, int vcpu, const char *name, const char *fmt, ...)
{
	char path[200];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%d-17", w->tree, PID);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d-17/vcpu%d", w->tree, PID, vcpu);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%d-17/vcpu%d/%s", w->tree, PID, vcpu, name);
	f = fopen(path, "w");
	assert_non_null(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static int guest_reads(void *ctx, struct vns_tsc_reading *r, size_t n, struct vns_err *err)
{
	struct world *w = ctx;

	(void)err;
	w->now += uniform(w->gap_ns, 10 * w->gap_ns);
	for (size_t i = 0; i < n; i++) {
		r[i].before = guest_counter(w);
		w->now += uniform(0, 1) < w->stall ? uniform(1e3, 100e3) : uniform(15, 60);
		r[i].clock_ns = EPOCH + (int64_t)floor(host_clock(w) + true_offset(w));
		w->now += uniform(15, 60);
		r[i].after = guest_counter(w);
		w->now += uniform(0, 50);
	}
	if (w->change_meanwhile) {
		w->offset = w->new_offset;
		put(w, 0, "tsc-offset", "%lld\n", (long long)w->offset);
		w->change_meanwhile = false;
	}
	w->now += uniform(w->gap_ns, 10 * w->gap_ns);
	return (int)n;
}

static void make(struct world *w, struct vns_tsc *t)
{
	snprintf(w->tree, sizeof(w->tree), "/tmp/vns-tsc-XXXXXX");
	assert_non_null(mkdtemp(w->tree));
	put(w, 0, "tsc-offset", "%lld\n", (long long)w->offset);
	if (w->frac) {
		put(w, 0, "tsc-scaling-ratio", "%llu\n", (unsigned long long)w->ratio);
		put(w, 0, "tsc-scaling-ratio-frac-bits", "%u\n", w->frac);
	}
	*t = (struct vns_tsc){ .debugfs = w->tree, .pid = PID,
			       .ops = { host_reads, guest_reads, w } };
}

static void drop(struct world *w)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf '%s'", w->tree);
	assert_int_equal(system(command), 0);
}

/* Each exchange's own bound, and the engine's over all; widths in ns into @width. */
static void hold_truth(struct world *w, struct vns_tsc *t, int rounds, double *width)
{
	struct vns_exchange x[16];
	struct vns_clock *c;
	struct vns_clock_at at;
	struct vns_err err = { "" };
	int kept = 0;

	assert_int_equal(vns_clock_new(&c, VNS_CLOCK_TSC), 0);
	*width = INFINITY;
	for (int i = 0; i < rounds; i++) {
		double before = true_offset(w), after;
		int n = vns_tsc_exchange(t, x, 16, &err);

		assert_true(n >= 0);
		after = true_offset(w);
		for (int k = 0; k < n; k++) {
			double lower = (double)(x[k].t3_ns - x[k].t4_ns);
			double upper = (double)(x[k].t2_ns - x[k].t1_ns);

			assert_true(lower - 1.01 <= fmax(before, after));
			assert_true(upper + 1.01 >= fmin(before, after));
			*width = fmin(*width, upper - lower);
			assert_int_equal(vns_clock_add(c, &x[k]), 0);
			kept++;
		}
		w->now += uniform(5e6, 20e6);
	}
	assert_true(kept >= rounds * 16 / 2);
	assert_int_equal(vns_clock_solve(c), 0);
	for (int k = 1; k <= 10; k++) {
		struct world then = *w;

		then.now = w->now * k / 11;
		assert_int_equal(vns_clock_eval(c, EPOCH + (int64_t)host_clock(&then), &at), 0);
		assert_true(at.lower_ns - 1.01 <= true_offset(&then));
		assert_true(at.upper_ns + 1.01 >= true_offset(&then));
		assert_true(fabs(at.drift_ppm - w->ppm) < 1);
	}
	vns_clock_free(c);
}

static void test_truth(void **state)
{
	/* offset only; Intel's 48 bits; AMD's 32; a guest slower and one faster than the host */
	static const struct {
		unsigned int frac;
		double ratio;
		int64_t offset;
		double ppm, gap_ns;
	} kinds[] = { { 0, 1, -987654000000000, 0, 20e3 }, { 48, 0.75, -5000, 37.5, 20e3 },
		      { 32, 1.3, INT64_C(123456789012345), -120, 20e3 },
		      { 48, 1, INT64_MIN + 77, 200, 20e3 },
		      { 48, 1.1, 12345, 5, 20 } }; /* so fast that only the brackets are left */

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct world w = { .frac = kinds[i].frac, .offset = (uint64_t)kinds[i].offset,
				   .ratio = (uint64_t)ldexp(kinds[i].ratio, (int)kinds[i].frac),
				   .host_ppm = uniform(-50, 50), .offset_ns = uniform(-1e12, 1e12),
				   .ppm = kinds[i].ppm, .gap_ns = kinds[i].gap_ns,
				   .stall = kinds[i].gap_ns > 1e3 ? 0.05 : 0 };
		struct vns_tsc t;
		struct vns_err err = { "" };
		double width;

		make(&w, &t);
		assert_int_equal(vns_tsc_begin(&t, &err), 0);
		assert_int_equal(t.maps.n, 1);
		hold_truth(&w, &t, 200, &width);
		assert_int_equal(t.changes, 0);
		assert_int_equal(t.refused, 0);
		print_message("kind %zu: best width %.0f ns\n", i, width);
		assert_true(width < 1000);
		drop(&w);
	}
}

/* The guest writes its counter in mid-request: that request is dropped, the next is right again. */
static void test_written_counter(void **state)
{
	struct world w = { .ratio = 1, .gap_ns = 20e3, .offset = (uint64_t)-1000000, .offset_ns = 5e6, .ppm = 10 };
	struct vns_exchange x[4];
	struct vns_err err = { "" };
	struct vns_tsc t;
	double width;

	(void)state;
	make(&w, &t);
	assert_int_equal(vns_tsc_begin(&t, &err), 0);
	assert_int_equal(vns_tsc_exchange(&t, x, 4, &err), 4);
	w.change_meanwhile = true;
	w.new_offset = UINT64_C(77777777777);
	assert_int_equal(vns_tsc_exchange(&t, x, 4, &err), 0);
	assert_int_equal(t.changes, 1);
	hold_truth(&w, &t, 50, &width);
	assert_int_equal(t.changes, 1);
	drop(&w);
}

/* KVM shows numbers that the guest's counter does not follow: nothing is made up from them. */
static void test_numbers_that_do_not_fit(void **state)
{
	struct world w = { .ratio = 1, .gap_ns = 20e3, .offset = 0, .offset_ns = 0 };
	struct vns_exchange x[4];
	struct vns_err err = { "" };
	struct vns_tsc t;

	(void)state;
	make(&w, &t);
	put(&w, 0, "tsc-offset", "%lld\n", 28000000000LL); /* 10 s away */
	assert_int_equal(vns_tsc_begin(&t, &err), 0);
	assert_int_equal(vns_tsc_exchange(&t, x, 4, &err), 0);
	assert_int_equal(t.refused, 4);
	drop(&w);
}

/* vCPUs that differ: whichever the guest read on, the truth is inside. */
static void test_several_vcpus(void **state)
{
	struct world w = { .ratio = 1, .gap_ns = 20e3, .offset = 5000, .offset_ns = -3e9, .ppm = -20 };
	struct vns_err err = { "" };
	struct vns_tsc t;
	double narrow, wide;

	(void)state;
	make(&w, &t);
	put(&w, 1, "tsc-offset", "5000\n");
	assert_int_equal(vns_tsc_begin(&t, &err), 0);
	assert_int_equal(t.maps.n, 1); /* alike: kept once */
	hold_truth(&w, &t, 50, &narrow);
	put(&w, 2, "tsc-offset", "%d\n", 5000 + 28000); /* 10 us apart */
	assert_int_equal(vns_tsc_begin(&t, &err), 0);
	assert_int_equal(t.maps.n, 2);
	w.now = 0;
	hold_truth(&w, &t, 50, &wide);
	assert_true(wide > narrow + 9000);
	put(&w, 3, "tsc-offset", "%lld\n", 28000000000LL); /* 10 s apart: impossible, so of no account */
	assert_int_equal(vns_tsc_begin(&t, &err), 0);
	w.now = 0;
	hold_truth(&w, &t, 50, &wide);
	assert_true(wide < narrow + 12000);
	drop(&w);
}

static void refused(const char *tree, int pid, int code, const char *word)
{
	struct vns_tsc_maps maps;
	struct vns_err err = { "" };

	assert_int_equal(vns_tsc_maps_read(tree, pid, &maps, &err), code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not name '%s'", err.text, word);
}

static void test_refusals(void **state)
{
	struct world w = { .ratio = 1, .offset = 1 };
	struct vns_tsc t;
	char path[200];

	(void)state;
	make(&w, &t);
	refused("/no/such/tree", PID, -ENOENT, "not mounted");
	refused(w.tree, 0, -ENOENT, "not known");
	refused(w.tree, 123, -ENOENT, "process 123"); /* 1234-17 is not its folder */
	put(&w, 0, "tsc-offset", "nonsense\n");
	refused(w.tree, PID, -EINVAL, "tsc-offset");
	put(&w, 0, "tsc-offset", "7\n");
	put(&w, 0, "tsc-scaling-ratio", "0\n");
	put(&w, 0, "tsc-scaling-ratio-frac-bits", "48\n");
	refused(w.tree, PID, -EINVAL, "ratio");
	snprintf(path, sizeof(path), "%s/%d-17/vcpu0/tsc-offset", w.tree, PID);
	unlink(path);
	refused(w.tree, PID, -EOPNOTSUPP, "does not show");
	if (geteuid() != 0) {
		chmod(w.tree, 0);
		refused(w.tree, PID, -EACCES, "root");
		chmod(w.tree, 0755);
	}
	drop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth),
		cmocka_unit_test(test_written_counter),
		cmocka_unit_test(test_numbers_that_do_not_fit),
		cmocka_unit_test(test_several_vcpus),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
