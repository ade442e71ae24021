/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Measured results -> one self-contained HTML page, and a plain-language reading
 * that the terminal and the page share.
 */
#ifndef VNS_REPORT_H
#define VNS_REPORT_H

#include <stdio.h>

#include <vnetscope/measure.h>

/* One machine in a report; everything borrowed. */
struct vns_report_vm {
	const char *name;
	const char *role;                    /* "idle", "hashing (MD5)", "streaming 1,450 kbit/s" */
	const struct vns_drift_result *drift; /* may be NULL */
	const struct vns_vo_target *vo;       /* may be NULL */
};

struct vns_report {
	const char *title;
	const char *host;     /* kernel, CPUs: one line */
	const char *lab;      /* guests, accelerator: one line */
	const char *command;  /* what was typed */
	int64_t at_ns;        /* when the run began */
	int64_t duration_ns;
	bool tcg;
	bool interrupted;     /* ended before its time: the figures are of a shorter run */
	const struct vns_report_vm *vm;
	size_t n_vm;
};

/*
 * The reading: one call of @line for each sentence. The first VM is the yardstick the others
 * are compared with; a difference is only claimed when the intervals do not overlap.
 */
void vns_report_reading(const struct vns_report *r, void (*line)(void *ctx, const char *sentence),
			void *ctx);

/*
 * What went wrong and what limits the figures: one call of @line for each sentence. Return: their
 * number; 0 when there is nothing to say.
 */
size_t vns_report_remarks(const struct vns_report *r, void (*line)(void *ctx, const char *sentence),
			  void *ctx);

/* Has every machine figures, and did no part of them end before its time? */
bool vns_report_is_whole(const struct vns_report *r);

/* The main table as aligned text. */
void vns_report_table(const struct vns_report *r, FILE *to);

/* The page. Write errors are left in @to (ferror). */
void vns_report_html(const struct vns_report *r, FILE *to);

#endif
