/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The self-test: known errors are put into a lab's clock and path, in one direction, and every
 * estimate is held against the truth of the shared memory page (0 in namespaces).
 */
#ifndef VNS_EXPERIMENT_SELFTEST_H
#define VNS_EXPERIMENT_SELFTEST_H

#include <vnetscope/measure.h>

#include "lab/lab.h"

#define VNS_SELFTEST_ROWS 48

/*
 * One estimate.
 * @what, @mode: "offset", "channel"
 * @unit: 'n' ns, 'p' ppm
 * @injected: what was put in; NaN: nothing, the truth is what it is
 * @truth_lower, @truth_upper: what is known to be true, from a source that the estimate does not share
 * @value: the estimate; NaN where it is withheld
 * @lower, @upper: its interval
 * @within: the estimate is one value, which must lie in the truth's range. Else its interval claims to be certain
 * @inside: so it is: they have a value in common. Where they have none, both cannot be right
 */
struct vns_selftest_row {
	char what[48];
	char mode[16];
	char unit;
	double injected;
	double truth_lower, truth_upper;
	double value, lower, upper;
	bool within, inside;
};

/*
 * @row: every estimate; @skipped: what could not be tested here and why, or ""
 * @too_wide: rows left out: the machine was so busy that their tolerance would have been wider than half of the
 *	delay put in
 * @too_few: rows of vo left out: too few requests came back
 * @vague: rows left out: their truth is not known better than they claim to know it
 * @half_width_ns: by enum vns_clock_mode, half the offset's bound in the quiet run; NaN: not measured
 * @symmetric_error_ns: how far the middle of mode exchange's bounds is from the truth while one
 *	direction is delayed: what is withheld, and why
 */
struct vns_selftest_result {
	char host[256], lab[256];
	bool tcg, interrupted;
	struct vns_selftest_row row[VNS_SELFTEST_ROWS];
	size_t n_row, too_wide, too_few, vague;
	char skipped[1024];
	double half_width_ns[VNS_CLOCK_MODES];
	double symmetric_error_ns;
};

/* Estimates whose interval misses the truth. */
size_t vns_selftest_outside(const struct vns_selftest_result *r);

/*
 * Makes its lab and removes it, also on failure, interrupt and when it is killed. @lab: which one; its
 * .guests does not count, its progress and interrupted serve the run. Return: 0 or -errno with @err.
 */
int vns_selftest_run(const struct vns_lab_opts *lab, struct vns_selftest_result *out,
		     struct vns_err *err);

#endif
