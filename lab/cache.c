// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The cache folder: what is worth keeping between labs (guest kernels, the verdict on KVM).
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/internal.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void lab_remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int make_parents(char *path)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

int lab_cache_name(char *buf, size_t len, struct vns_err *err)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		snprintf(buf, len, LAB_SYSTEM_CACHE);
	else if (xdg && xdg[0] == '/')
		snprintf(buf, len, "%.160s/vnetscope", xdg);
	else if (home && home[0] == '/')
		snprintf(buf, len, "%.160s/.cache/vnetscope", home);
	else
		return vns_err_set(err, -ENOENT, "neither XDG_CACHE_HOME nor HOME is set");
	return 0;
}

int lab_cache_dir(char *buf, size_t len, struct vns_err *err)
{
	int rc = lab_cache_name(buf, len, err);

	if (rc)
		return rc;
	rc = make_parents(buf);
	if (rc == 0 && access(buf, W_OK))
		rc = -errno;
	return rc ? vns_err_set(err, rc, "cannot write to %s: %s", buf, strerror(-rc)) : 0;
}
