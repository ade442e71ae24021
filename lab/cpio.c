// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Names, modes and contents -> a "newc" cpio archive. Header: the magic 070701 and 13 fields of
 * eight hexadecimal digits; name and data are padded to four bytes each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lab/cpio.h"

static void put(struct lab_cpio *c, const void *data, size_t n)
{
	static const char zero[4];
	size_t pad = (4 - n % 4) % 4;

	if (c->error)
		return;
	errno = 0;
	if (fwrite(data, 1, n, c->to) != n || fwrite(zero, 1, pad, c->to) != pad)
		c->error = errno ? -errno : -EIO;
}

static void put_entry(struct lab_cpio *c, const char *name, unsigned int mode, const void *data,
		      size_t n, unsigned int major, unsigned int minor)
{
	size_t name_len = strlen(name) + 1;
	char head[111], *buf;

	if (n > UINT32_MAX)
		c->error = c->error ? c->error : -EFBIG;
	snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 ++c->inode, mode, 0, 0, 1, 0, (unsigned int)n, 0, 0, major, minor,
		 (unsigned int)name_len, 0);
	buf = malloc(110 + name_len);
	if (!buf) {
		c->error = -ENOMEM;
		return;
	}
	memcpy(buf, head, 110);
	memcpy(buf + 110, name, name_len);
	put(c, buf, 110 + name_len);
	put(c, data, n);
	free(buf);
}

int lab_cpio_open(struct lab_cpio *c, const char *path)
{
	*c = (struct lab_cpio){ .to = fopen(path, "we") };
	return c->to ? 0 : -errno;
}

void lab_cpio_dir(struct lab_cpio *c, const char *name)
{
	put_entry(c, name, S_IFDIR | 0755, "", 0, 0, 0);
}

void lab_cpio_data(struct lab_cpio *c, const char *name, unsigned int mode, const void *data,
		   size_t n)
{
	put_entry(c, name, S_IFREG | mode, data, n, 0, 0);
}

void lab_cpio_link(struct lab_cpio *c, const char *name, const char *target)
{
	put_entry(c, name, S_IFLNK | 0777, target, strlen(target), 0, 0);
}

void lab_cpio_char_device(struct lab_cpio *c, const char *name, unsigned int major,
			  unsigned int minor)
{
	put_entry(c, name, S_IFCHR | 0600, "", 0, major, minor);
}

void lab_cpio_file(struct lab_cpio *c, const char *name, unsigned int mode, const char *path)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	char *buf = NULL;

	if (f && fstat(fileno(f), &st) == 0 && (buf = malloc((size_t)st.st_size + 1)) &&
	    fread(buf, 1, (size_t)st.st_size, f) == (size_t)st.st_size)
		lab_cpio_data(c, name, mode, buf, (size_t)st.st_size);
	else if (!c->error)
		c->error = errno ? -errno : -EIO;
	free(buf);
	if (f)
		fclose(f);
}

int lab_cpio_close(struct lab_cpio *c)
{
	put_entry(c, "TRAILER!!!", 0, "", 0, 0, 0);
	if (fclose(c->to) && !c->error)
		c->error = -errno;
	return c->error;
}
