/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The demonstration: three lab guests with different work, real traffic from a client,
 * every measurement of the suite on each of them.
 */
#ifndef VNS_EXPERIMENT_DEMO_H
#define VNS_EXPERIMENT_DEMO_H

#include <vnetscope/measure.h>

#include "lab/lab.h"

#define VNS_DEMO_VMS 3

struct vns_demo_opts {
	struct vns_lab_opts lab;     /* all but .guests; its progress, ctx and interrupted serve the run */
	int64_t duration_ns;         /* of the captured traffic */
	size_t exchanges;            /* clock exchanges per VM beforehand */
	bool keep_lab;
	void (*live)(void *ctx, const struct vns_vo_live_progress *p);
};

struct vns_demo_result {
	char host[256], lab[256];    /* one line each */
	bool tcg;
	int64_t at_ns;
	char name[VNS_DEMO_VMS][16];
	const char *role[VNS_DEMO_VMS];
	struct vns_drift_result drift[VNS_DEMO_VMS];
	struct vns_vo_result vo;
	char load_note[256];         /* what the loads themselves say they did */
};

/* The lab is removed before this returns (unless kept), also on failure and interrupt. */
int vns_demo_run(const struct vns_demo_opts *opts, struct vns_demo_result *out, struct vns_err *err);
void vns_demo_result_free(struct vns_demo_result *r);

#endif
