/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Kernel modules of a folder /lib/modules/VERSION: which depend on which, and their contents. */
#ifndef VNS_LAB_MODULES_H
#define VNS_LAB_MODULES_H

#include <vnetscope/base.h>

#define LAB_MAX_MODULES 96

struct lab_module {
	char name[64];
	char depends[256]; /* names, comma-separated */
	void *data;        /* the uncompressed file */
	size_t size;
	bool at_boot;      /* loaded by the guest's init */
};

/* In load order: what a module depends on stands before it. */
struct lab_modules {
	struct lab_module item[LAB_MAX_MODULES];
	size_t n;
};

/*
 * lab_modules_collect() - what a lab guest needs or may use, from @dir. What is built into the
 * kernel (modules.builtin) needs no file. Return: 0, or -ENOENT when a driver is missing.
 */
int lab_modules_collect(struct lab_modules *m, const char *dir, struct vns_err *err);
void lab_modules_free(struct lab_modules *m);

/* "depends=" of a module's .modinfo section into @buf. Return: 0, or -EINVAL: no ELF module. */
int lab_module_depends(const void *data, size_t size, char *buf, size_t len);

#endif
