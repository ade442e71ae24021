/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Results of one run of the self-test -> rows; see selftest.h.
 */
#ifndef VNS_EXPERIMENT_SELFTEST_ROWS_H
#define VNS_EXPERIMENT_SELFTEST_ROWS_H

#include "experiment/relay.h"
#include "experiment/selftest.h"

/*
 * One drift run: modes measured in the same span, the first one's clock being the truth (shm, or
 * same).
 */
struct selftest_run {
	struct vns_drift_result r[VNS_DRIFT_MAX_MODES];
	size_t n;
};
void selftest_run_fini(struct selftest_run *run);

/* Offset of every mode but the first at one instant; half widths of all into the result. */
void selftest_offsets(struct vns_selftest_result *out, const struct selftest_run *run,
		      const char *what);
/* Change of the rate between two runs, by every mode. */
void selftest_rates(struct vns_selftest_result *out, const struct selftest_run *before,
		    const struct selftest_run *after, double ppm);
/* A step made between the host's instants @from_ns and @to_ns within the run, by every mode. */
void selftest_steps(struct vns_selftest_result *out, const struct selftest_run *run,
		    double step_ns, int64_t from_ns, int64_t to_ns);
/* Least delay of each direction and of both by mode exchange, while @delay_ns is added to one. */
void selftest_ways(struct vns_selftest_result *out, const struct selftest_run *run,
		   double delay_ns);
/*
 * Least RTT of the client's requests by its own clock, without and with the hold; 0: none came back.
 */
struct selftest_app {
	int64_t base_min_ns, held_min_ns;
};
/*
 * Latencies and RTT of vo while the relay held every frame to the guest: not below the least that it held
 * one (@relay), and not above what the same path took when the relay held nothing (@base) and the hold.
 */
void selftest_latencies(struct vns_selftest_result *out, const struct vns_vo_target *base,
			const struct vns_vo_target *t, const struct vns_relay_counts *relay,
			const struct selftest_app *app, double delay_ns);

#endif
