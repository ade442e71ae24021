/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writer of cpio archives in the format that the kernel unpacks as initramfs ("newc",
 * Documentation/driver-api/early-userspace/buffer-format.rst). Errors stick: check
 * lab_cpio_close() only.
 */
#ifndef VNS_LAB_CPIO_H
#define VNS_LAB_CPIO_H

#include <stdio.h>

#include <vnetscope/base.h>

struct lab_cpio {
	FILE *to;
	unsigned int inode;
	int error; /* first -errno */
};

int lab_cpio_open(struct lab_cpio *c, const char *path);
void lab_cpio_dir(struct lab_cpio *c, const char *name);
void lab_cpio_data(struct lab_cpio *c, const char *name, unsigned int mode, const void *data,
		   size_t n);
void lab_cpio_link(struct lab_cpio *c, const char *name, const char *target);
void lab_cpio_char_device(struct lab_cpio *c, const char *name, unsigned int major,
			  unsigned int minor);
/* Copy the file at @path in as @name. */
void lab_cpio_file(struct lab_cpio *c, const char *name, unsigned int mode, const char *path);
/* Write the trailer and close. Return: 0 or the first -errno. */
int lab_cpio_close(struct lab_cpio *c);

#endif
