// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Views over RTT: groups by host and prefix (merged, bounded, masked, sorted), halves of the path.
 * tests/cli/test_rtt_app.py holds the figures against single samples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <vnetscope/measure.h>

static struct vns_addr v4(unsigned int a, unsigned int b, unsigned int c, unsigned int d)
{
	return vns_addr_from_v4((const uint8_t[]){ (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d });
}

/* @n samples of @value of the direction that leads to @to. */
static void add(struct vns_rtt_groups *g, struct vns_addr to, enum vns_rtt_kind kind, int64_t value,
		int n)
{
	struct vns_flow_key key = { .addr = { v4(10, 0, 0, 1), to }, .ipproto = 6, .family = 4 };
	struct vns_dist d = { 0 };
	struct vns_rtt_flow f = { .key = &key, .kind = kind, .dir = 0, .rtt = &d };

	while (n--)
		vns_dist_add(&d, value);
	vns_rtt_groups_add(g, &f, 0);
	vns_dist_fini(&d);
}

static void test_groups(void **state)
{
	struct vns_rtt_result r = { .groups = { .by = VNS_RTT_BY_PREFIX } };
	struct vns_rtt_groups *g = &r.groups;

	for (unsigned int i = 0; i < 5000; i++) {
		add(g, v4(100, i >> 8, i & 255, 7), VNS_RTT_TS, 1000 + i, 1);
		add(g, v4(100, i >> 8, i & 255, 9), VNS_RTT_TS, 3000 + i, 2);
	}
	add(g, v4(100, 0, 0, 9), VNS_RTT_ICMP, 5, 70); /* kinds stay apart */
	assert_int_equal(g->n, 5001);
	vns_rtt_groups_sort(&r, VNS_RTT_BY_MEAN, 2, 3);
	assert_int_equal(g->n, 4);
	assert_int_equal(g->hidden, 4997);
	assert_int_equal(g->group[0].kind, VNS_RTT_TS);
	assert_int_equal(g->group[0].rtt.max, 7999);
	assert_int_equal(g->group[0].rtt.min, 5999);
	assert_int_equal(g->group[0].rtt.n, 3);
	assert_int_equal(g->group[0].directions, 2);
	assert_int_equal(g->group[0].prefix_len, 24);
	assert_int_equal(g->group[0].addr.b[15], 0);
	assert_int_equal(g->group[3].kind, VNS_RTT_ICMP);
	vns_rtt_groups_fini(g);
	(void)state;
}

/* A flow's handshake comes as a distribution of one value without a histogram. */
static void test_handshakes(void **state)
{
	struct vns_rtt_groups g = { .by = VNS_RTT_BY_HOST };
	struct vns_flow_key key = { .addr = { v4(10, 0, 0, 1), v4(10, 0, 0, 2) } };

	for (int i = 1; i <= 60; i++) { /* below 64 a bucket holds one value */
		struct vns_dist one = { .n = 1, .min = i, .max = i, .mean = i };
		struct vns_rtt_flow f = { .key = &key, .kind = VNS_RTT_HANDSHAKE, .rtt = &one };

		vns_rtt_groups_add(&g, &f, 0);
	}
	assert_int_equal(g.n, 1);
	assert_int_equal(g.group[0].rtt.n, 60);
	assert_int_equal(g.group[0].rtt.hist_lost, 0);
	for (int rank = 1; rank <= 60; rank++)
		assert_int_equal(vns_dist_quantile(&g.group[0].rtt, rank / 60.0), rank);
	vns_rtt_groups_fini(&g);
	(void)state;
}

static void test_bound(void **state)
{
	struct vns_rtt_groups g = { .by = VNS_RTT_BY_HOST, .max = 2 };

	add(&g, v4(1, 0, 0, 1), VNS_RTT_TS, 1, 3);
	add(&g, v4(1, 0, 0, 2), VNS_RTT_TS, 1, 3);
	add(&g, v4(1, 0, 0, 3), VNS_RTT_TS, 1, 5);
	add(&g, v4(1, 0, 0, 2), VNS_RTT_TS, 1, 3);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.lost, 5);
	assert_int_equal(g.group[1].rtt.n, 6);
	assert_int_equal(g.group[1].prefix_len, 32);
	vns_rtt_groups_fini(&g);
	(void)state;
}

static void test_mask(void **state)
{
	struct vns_rtt_groups g = { .by = VNS_RTT_BY_PREFIX, .prefix4 = 15, .prefix6 = 61 };
	struct vns_addr six = { .b = { 0xfd, 1, 2, 3, 4, 5, 6, 0xff, 9, 9 } }, want = six;

	add(&g, six, VNS_RTT_TS, 1, 1);
	want.b[7] = 0xf8;
	memset(want.b + 8, 0, 8);
	assert_memory_equal(&g.group[0].addr, &want, sizeof(want));
	assert_int_equal(g.group[0].prefix_len, 61);
	add(&g, v4(10, 255, 255, 255), VNS_RTT_TS, 1, 1);
	want = v4(10, 254, 0, 0);
	assert_memory_equal(&g.group[1].addr, &want, sizeof(want));
	vns_rtt_groups_fini(&g);
	(void)state;
}

static struct vns_rtt_entry entry(uint8_t dir, uint16_t port0, uint16_t port1, uint8_t opener,
				  int64_t first_ns)
{
	return (struct vns_rtt_entry){
		.key = { .addr = { v4(10, 0, 0, 1), v4(10, 0, 0, 2) }, .port = { port0, port1 } },
		.kind = VNS_RTT_TS, .dir = dir, .opener = opener, .first_ns = first_ns,
		.samples = 5, .min = 100 + dir, .p50 = 200, .mean = 300 + dir };
}

static void test_paths(void **state)
{
	struct vns_rtt_entry e[] = {
		entry(1, 80, 40000, VNS_RTT_OPENER_UNKNOWN, 0), /* by ports, sides out of order */
		entry(0, 40000, 50000, VNS_RTT_OPENER_UNKNOWN, 0), /* unknown, one side */
		entry(0, 80, 40000, VNS_RTT_OPENER_UNKNOWN, 0),
		entry(0, 80, 40000, 0, 7), /* the ports again, opened by the lower one */
		entry(1, 80, 40000, 0, 7),
	};
	struct vns_rtt_result r = { 0 };
	struct vns_rtt_path *p;

	for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++)
		assert_int_equal(vns_rtt_rows_add(&r.rows, &e[i]), 0);

	assert_int_equal(vns_rtt_paths(&r, &p), 3);
	for (int i = 0; i < 3; i++) {
		if (p[i].key.port[0] == 40000) {
			assert_int_equal(p[i].role, VNS_RTT_ROLE_UNKNOWN);
			assert_int_equal(p[i].sum_min, 0);
			continue;
		}
		assert_int_equal(p[i].role, p[i].first_ns ? VNS_RTT_ROLE_OPENED :
							     VNS_RTT_ROLE_PORTS);
		assert_int_equal(p[i].client, p[i].first_ns ? 0 : 1);
		/* the direction of endpoint 0 leads to endpoint 1 */
		assert_int_equal(p[i].side[p[i].client == 1 ? 0 : 1].min, 100);
		assert_int_equal(p[i].sum_min, 201);
		assert_true(p[i].sum_mean == 601);
	}
	free(p);
	vns_rtt_rows_fini(&r.rows);
	(void)state;
}

/* Every number at its ends, single samples, IPv6: what goes into a row comes out of it. */
static void test_rows(void **state)
{
	static const int64_t odd[] = { 0, 1, -1, 63, -64, 127, 128, 1000000, INT64_MAX, INT64_MIN };
	enum { N = sizeof(odd) / sizeof(odd[0]) };
	struct vns_rtt_rows rows = { 0 };
	struct vns_rtt_entry want[2 * N * N], got;
	size_t n = 0;

	for (size_t i = 0; i < N; i++) {
		for (size_t k = 0; k < N; k++) {
			struct vns_rtt_entry *e = &want[n++];

			memset(e, 0, sizeof(*e));
			e->key = (struct vns_flow_key){ .addr = { v4(10, 0, (uint8_t)i, 1),
								  v4(255, 0, (uint8_t)k, 2) },
							.port = { (uint16_t)odd[i], (uint16_t)odd[k] },
							.ipproto = 6, .family = i & 1 ? 6 : 4 };
			if (i & 1) /* one of another family than the other does not happen, nor does it hurt */
				memset(e->key.addr[k & 1].b, 0xa5, sizeof(e->key.addr[0].b));
			e->first_ns = odd[i];
			e->last_ns = odd[k];
			e->packets = (uint64_t)odd[k];
			e->samples = (uint64_t)odd[(i + k) % N];
			e->min = odd[i];
			e->p50 = odd[k];
			e->p95 = odd[(i + 1) % N];
			e->p99 = odd[(k + 2) % N];
			e->max = odd[(i + k + 3) % N];
			e->mean = 0.1 + (double)odd[i];
			e->stddev = k ? 1.0 / (double)k : 0;
			e->interval.p50 = (struct vns_interval){ odd[i], odd[k] };
			e->interval.p99 = (struct vns_interval){ odd[k], odd[i] };
			if (k & 1)
				e->clock = (struct vns_rtt_clock){ 999.9, 0.25, 1000 };
			e->kind = (enum vns_rtt_kind)(k % VNS_RTT_KINDS);
			e->point = (uint16_t)odd[i];
			e->dir = i & 1;
			e->opener = (uint8_t)(k % 3);
			e->ended = k & 1;
			want[n] = *e;
			e = &want[n++];
			e->samples = 1;
			e->p50 = e->p95 = e->p99 = e->max = e->min;
			e->mean = (double)e->min;
			e->stddev = 0;
		}
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(vns_rtt_rows_add(&rows, &want[i]), 0);
	assert_int_equal(rows.n, n);
	for (size_t i = 0; i < n; i++) {
		memset(&got, 0x5a, sizeof(got));
		vns_rtt_rows_get(&rows, i, &got);
		assert_memory_equal(&got.key, &want[i].key, sizeof(got.key));
		assert_memory_equal(&got.first_ns, &want[i].first_ns,
				    offsetof(struct vns_rtt_entry, clock) - offsetof(struct vns_rtt_entry, first_ns));
		assert_true(got.clock.hz == want[i].clock.hz && got.clock.error_hz == want[i].clock.error_hz &&
			    got.clock.nominal_hz == want[i].clock.nominal_hz);
		assert_true(got.kind == want[i].kind && got.point == want[i].point && got.dir == want[i].dir &&
			    got.opener == want[i].opener && got.ended == want[i].ended);
	}
	vns_rtt_rows_fini(&rows);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_handshakes),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
