// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any exchanges and bounds through the clock engine: solving comes to an end, pieces are in order, and
 * at every instant the interval lies within the bound.
 *
 * input: records of 10 bytes: what it is and scales, then steps of t1, t2 - t1, t3 - t2, t4 - t3
 */
#include <stdlib.h>

#include <vnetscope/clock.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 10, MAX_RECORDS = 300 };

static void require(int truth)
{
	if (!truth)
		abort();
}

static int64_t step(const uint8_t *b, unsigned int scale)
{
	return (int16_t)(b[0] | b[1] << 8) * (INT64_C(1) << scale);
}

static void ask(const struct vns_clock *c, int64_t t)
{
	struct vns_clock_at at;

	if (vns_clock_eval(c, t, &at))
		return;
	require(at.lower_ns <= at.upper_ns);
	require(at.ci_lower_ns >= at.lower_ns && at.ci_upper_ns <= at.upper_ns);
	require(vns_clock_eval_guest(c, t, &at) == 0);
}

static void check(const struct vns_clock *c, uint64_t fed)
{
	const struct vns_clock_piece *p;
	uint64_t used, rejected;
	size_t n;

	vns_clock_counts(c, &used, &rejected);
	require(used <= fed && rejected <= fed);
	p = vns_clock_pieces(c, &n);
	ask(c, INT64_MIN);
	ask(c, INT64_MAX);
	for (size_t i = 0; i < n; i++) {
		require(p[i].from_ns <= p[i].to_ns);
		require(i == 0 || p[i - 1].to_ns <= p[i].from_ns);
		ask(c, p[i].from_ns);
		ask(c, p[i].to_ns);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vns_clock *c;
	int64_t t1 = INT64_C(1700000000) * VNS_NSEC_PER_SEC;
	uint64_t fed = 0;

	require(vns_clock_new(&c, VNS_CLOCK_EXCHANGE) == 0);
	for (size_t i = 0; i + RECORD <= size && i < RECORD * MAX_RECORDS; i += RECORD) {
		const uint8_t *b = data + i;
		struct vns_exchange x;

		t1 += llabs(step(b + 2, 2 * (b[0] & 15)));
		x.t1_ns = t1;
		x.t2_ns = x.t1_ns + step(b + 4, b[0] >> 4);
		x.t3_ns = x.t2_ns + step(b + 6, b[1] & 7);
		x.t4_ns = x.t3_ns - (x.t2_ns - x.t1_ns) + step(b + 8, b[1] >> 3 & 7);
		if (b[1] & 0x80)
			require(vns_clock_add_bound(c, x.t1_ns, x.t2_ns - x.t1_ns, b[1] & 0x40) >= 0);
		else
			require(vns_clock_add(c, &x) >= 0);
		fed++;
	}
	require(vns_clock_solve(c) >= 0);
	check(c, fed);
	require(vns_clock_set_wander(c, size > RECORD ? data[1] * 2 : 1) >= 0 || data[1] > 250);
	require(vns_clock_solve(c) >= 0);
	check(c, fed);
	vns_clock_free(c);
	return 0;
}
