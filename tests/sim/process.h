/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Standard normal values in time, dependent as packets' delays are, for tests of intervals: see
 * test_intervals.c. All from one seed.
 */
#ifndef VNS_TESTS_SIM_PROCESS_H
#define VNS_TESTS_SIM_PROCESS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

static uint64_t state; /* the seed, then the generator's */

static double uniform(void) /* splitmix64; 0 < u < 1 */
{
	uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return ((double)((x ^ x >> 31) >> 11) + 0.5) * 0x1p-53;
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

struct series {
	double rho;    /* of AR(1); bursts: share of the burst's variance */
	bool bursts;
	double z, level;
	unsigned int left;
	int64_t now_ns;
};

static double next_z(struct series *s)
{
	double own = normal();

	if (s->bursts) {
		if (s->left == 0) {
			s->left = 1 + (unsigned int)(log(uniform()) / log(1 - 1 / 20.0));
			s->level = normal();
			s->now_ns += (int64_t)(-log(uniform()) * 1e8);
		}
		s->left--;
		s->now_ns += 20000;
		s->z = sqrt(s->rho) * s->level + sqrt(1 - s->rho) * own;
	} else {
		s->now_ns += (int64_t)(-log(uniform()) * 1e6);
		s->z = s->rho * s->z + sqrt(1 - s->rho * s->rho) * own;
	}
	return s->z;
}

#endif
