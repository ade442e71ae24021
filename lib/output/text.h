/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text for people: numbers with units, and tables whose columns line up.
 */
#ifndef VNS_OUTPUT_TEXT_H
#define VNS_OUTPUT_TEXT_H

#include <stdio.h>

#include <vnetscope/stat.h>

#define VNS_TEXT_LEN 32

/* "0 ns", "123.4 us", "-1.234 ms", "2.500 s": four significant digits, whole ns. Return: @buf. */
const char *vns_text_ns(char buf[VNS_TEXT_LEN], double ns);
/* The same always with its sign: for offsets ("+12.30 us"). */
const char *vns_text_signed_ns(char buf[VNS_TEXT_LEN], double ns);
/* "1234", "12,345", "1,234,567". */
const char *vns_text_count(char buf[VNS_TEXT_LEN], uint64_t n);
/* "12.3 %"; "< 0.1 %" for what is not nothing; of 0: "-". */
const char *vns_text_share(char buf[VNS_TEXT_LEN], uint64_t part, uint64_t of);
/* "96 B", "1.5 KiB", "23.4 MiB". */
const char *vns_text_bytes(char buf[VNS_TEXT_LEN], uint64_t bytes);

/*
 * A table: cells are added left to right, a row is full after as many cells as there are columns.
 *
 *   vns_table_init(&t, "<>>", (const char *[]){ "flow", "samples", "min" });
 *   vns_table_cell(&t, "%s", name); ...
 *   vns_table_print(&t, stdout); vns_table_fini(&t);
 */
struct vns_table {
	char **cell;
	size_t n, cap;
	size_t columns;
	char align[32];
	bool failed; /* out of memory: the table prints what it has */
};
/* @align: one of '<' and '>' per column, at most 31; @heads: as many names. */
void vns_table_init(struct vns_table *t, const char *align, const char *const *heads);
void vns_table_cell(struct vns_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The figures of a distribution as six cells: min mean p50 p95 p99 max; "-" when empty. */
void vns_table_dist(struct vns_table *t, const struct vns_dist *d);
/* Two blanks between columns, none at the end of a line. Return: lines printed. */
size_t vns_table_print(const struct vns_table *t, FILE *to);
void vns_table_fini(struct vns_table *t);

#endif
