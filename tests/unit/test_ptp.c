// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Clock mode ptp_kvm without KVM: a class folder like sysfs's and a device whose answers are functions of one
 * true time that only this test knows, by a kernel with and by one without PTP_SYS_OFFSET_EXTENDED.
 */
#include <errno.h>
#include <linux/ptp_clock.h>
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

#include "agent/agent.h"
#include "wire/wire.h"

#define EPOCH INT64_C(1763764800123456789)

struct world {
	double now, offset_ns, ppm; /* guest's clock minus the host's, which shows the true time */
	bool extended, refuses;
	int asked;
	char tree[64], sys[80], dev[80];
	struct ptp_ops ops;
};

static uint64_t rng = 7;

static double uniform(double lo, double hi)
{
	rng = rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return lo + (hi - lo) * ((double)(rng >> 11) / 9007199254740992.0);
}

static double true_offset(const struct world *w)
{
	return w->offset_ns + w->ppm * 1e-6 * w->now;
}

static struct ptp_clock_time stamp(double ns)
{
	int64_t t = EPOCH + (int64_t)floor(ns);

	return (struct ptp_clock_time){ .sec = t / VNS_NSEC_PER_SEC,
					.nsec = (uint32_t)(t % VNS_NSEC_PER_SEC) };
}

static struct ptp_clock_time guest(struct world *w)
{
	w->now += uniform(10, 200);
	return stamp(w->now + true_offset(w));
}

/* A hypercall: slow there and back, now and then very. */
static struct ptp_clock_time host(struct world *w)
{
	struct ptp_clock_time t;

	w->now += uniform(300, uniform(0, 1) < 0.05 ? 50000 : 2000);
	t = stamp(w->now);
	w->now += uniform(300, 2000);
	return t;
}

static int fake_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	struct world *w = ctx;

	assert_true(fd >= 0);
	w->asked++;
	if (w->refuses)
		return -EOPNOTSUPP;
	if (request == PTP_SYS_OFFSET_EXTENDED) {
		struct ptp_sys_offset_extended *x = arg;

		if (!w->extended)
			return -ENOTTY;
		assert_in_range(x->n_samples, 1, PTP_MAX_SAMPLES);
		for (unsigned int i = 0; i < x->n_samples; i++) {
			x->ts[i][0] = guest(w);
			x->ts[i][1] = host(w);
			x->ts[i][2] = guest(w);
		}
	} else {
		struct ptp_sys_offset *x = arg;

		assert_int_equal(request, PTP_SYS_OFFSET);
		assert_in_range(x->n_samples, 1, PTP_MAX_SAMPLES);
		for (unsigned int i = 0; i < x->n_samples; i++) {
			x->ts[2 * i] = guest(w);
			x->ts[2 * i + 1] = host(w);
		}
		x->ts[2 * x->n_samples] = guest(w);
	}
	return 0;
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[200];
	FILE *f;

	mkdir(dir, 0755);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void clock_device(struct world *w, const char *name, const char *clock_name)
{
	char dir[120];

	snprintf(dir, sizeof(dir), "%s/%s", w->sys, name);
	put(dir, "clock_name", clock_name);
	put(w->dev, name, "");
}

static void make(struct world *w)
{
	snprintf(w->tree, sizeof(w->tree), "/tmp/vns-ptp-XXXXXX");
	assert_non_null(mkdtemp(w->tree));
	snprintf(w->sys, sizeof(w->sys), "%s/class", w->tree);
	snprintf(w->dev, sizeof(w->dev), "%s/dev", w->tree);
	mkdir(w->sys, 0755);
	w->ops = (struct ptp_ops){ w->sys, w->dev, fake_ioctl, w };
}

static void drop(struct world *w)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf '%s'", w->tree);
	assert_int_equal(system(command), 0);
}

static void test_truth(void **state)
{
	(void)state;
	for (int extended = 0; extended < 2; extended++) {
		struct world w = { .extended = extended, .offset_ns = uniform(-1e12, 1e12), .ppm = 80 };
		struct vns_exchange x[VNS_WIRE_MAX_PTP];
		struct vns_clock *c;
		struct vns_clock_at at;
		int fd, kept = 0;

		make(&w);
		clock_device(&w, "ptp0", "Intel I210\n"); /* a network card's: not the host's time */
		clock_device(&w, "ptp1", "KVM virtual PTP\n");
		fd = ptp_find(&w.ops);
		assert_true(fd >= 0);
		assert_int_equal(vns_clock_new(&c, VNS_CLOCK_PTP_KVM), 0);
		for (int i = 0; i < 100; i++) {
			struct vns_ptp_reading r[VNS_WIRE_MAX_PTP];
			int n = ptp_read(&w.ops, fd, r, VNS_WIRE_MAX_PTP, NULL);

			assert_int_equal(n, VNS_WIRE_MAX_PTP); /* more than one call gives */
			n = (int)vns_ptp_to_exchanges(r, (size_t)n, x, VNS_WIRE_MAX_PTP);
			for (int k = 0; k < n; k++, kept++) {
				assert_true((double)(x[k].t3_ns - x[k].t4_ns) - 1.01 <= true_offset(&w));
				assert_true((double)(x[k].t2_ns - x[k].t1_ns) + 1.01 >=
					    true_offset(&w) - w.ppm * 1e-6 * 1e7);
				assert_int_equal(vns_clock_add(c, &x[k]), 0);
			}
			w.now += 10e6;
		}
		assert_int_equal(kept, 100 * ((int)VNS_WIRE_MAX_PTP - 1));
		assert_int_equal(vns_clock_solve(c), 0);
		for (int k = 1; k <= 10; k++) {
			struct world then = w;

			then.now = w.now * k / 11;
			assert_int_equal(vns_clock_eval(c, EPOCH + (int64_t)then.now, &at), 0);
			assert_true(at.lower_ns - 1.01 <= true_offset(&then));
			assert_true(at.upper_ns + 1.01 >= true_offset(&then));
			assert_true(at.upper_ns - at.lower_ns < 3000);
			assert_true(fabs(at.drift_ppm - w.ppm) < 1);
		}
		vns_clock_free(c);
		close(fd);
		drop(&w);
	}
}

static void test_none(void **state)
{
	struct world w = { .refuses = true };
	struct vns_ptp_reading r[2];
	struct vns_err err = { "" };

	(void)state;
	make(&w);
	assert_int_equal(ptp_find(&w.ops), -1);
	clock_device(&w, "ptp0", "Intel I210\n");
	assert_int_equal(ptp_find(&w.ops), -1);
	assert_int_equal(w.asked, 0); /* another device's clock is left alone */
	clock_device(&w, "ptp1", "KVM virtual PTP\n"); /* there, but the hypercall is refused (TCG) */
	assert_int_equal(ptp_find(&w.ops), -1);
	assert_true(w.asked > 0);
	assert_int_equal(ptp_read(&w.ops, 0, r, 2, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "gives no time"));
	drop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
