// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The guests' kernel: the user's choice, the cache, or Debian's cloud kernel package, fetched by
 * apt-get and unpacked by dpkg-deb. Nothing is installed; a fetched kernel appears in the cache
 * by one rename, as CACHE/kernel-PACKAGE_VERSION/{vmlinuz,modules/VERSION/}.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/internal.h"

#define META_PACKAGE     "linux-image-cloud-amd64"
#define FETCH_TIMEOUT_MS 600000
#define ELSE             "or name a kernel with --kernel FILE --modules DIR"

/* The one entry of @dir that starts with @prefix and ends with @suffix. Return: found. */
static bool find_entry(const char *dir, const char *prefix, const char *suffix, char *buf,
		       size_t len)
{
	struct dirent *e;
	bool found = false;
	DIR *d = opendir(dir);

	while (d && !found && (e = readdir(d))) {
		size_t n = strlen(e->d_name), s = strlen(suffix);

		if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)) != 0 ||
		    n < s || strcmp(e->d_name + n - s, suffix) != 0)
			continue;
		found = (size_t)snprintf(buf, len, "%s/%s", dir, e->d_name) < len;
	}
	if (d)
		closedir(d);
	return found;
}

static bool take_cached(struct lab_plan *plan, const char *dir)
{
	char modules[VNS_LAB_PATH_LEN];

	if ((size_t)snprintf(plan->kernel, sizeof(plan->kernel), "%s/vmlinuz", dir) >=
		    sizeof(plan->kernel) ||
	    (size_t)snprintf(modules, sizeof(modules), "%s/modules", dir) >= sizeof(modules))
		return false;
	return access(plan->kernel, R_OK) == 0 &&
	       find_entry(modules, "", "", plan->modules, sizeof(plan->modules));
}

/* The newest kernel in a cache; folders of fetches that were cut off are removed. */
static bool find_cached(struct lab_plan *plan, const char *cache)
{
	char best[256] = "", path[VNS_LAB_PATH_LEN];
	struct dirent *e;
	DIR *d = opendir(cache);

	while (d && (e = readdir(d))) {
		int pid = 0;

		if (sscanf(e->d_name, "tmp-%d", &pid) == 1 && kill(pid, 0) && errno == ESRCH &&
		    (size_t)snprintf(path, sizeof(path), "%s/%s", cache, e->d_name) < sizeof(path))
			lab_remove_tree(path);
		if (strncmp(e->d_name, "kernel-", 7) == 0 && strverscmp(e->d_name, best) > 0)
			snprintf(best, sizeof(best), "%s", e->d_name);
	}
	if (d)
		closedir(d);
	return best[0] &&
	       (size_t)snprintf(path, sizeof(path), "%s/%s", cache, best) < sizeof(path) &&
	       take_cached(plan, path);
}

/* The package that the meta package stands for now. */
static int find_package(char *package, size_t len, struct vns_err *err)
{
	char program[VNS_LAB_PATH_LEN], text[4096] = "", *p;
	char *argv[] = { program, (char[]){ "depends" }, (char[]){ META_PACKAGE }, NULL };
	struct lab_run r = { .out = text, .out_len = sizeof(text) };

	if (lab_find_program("apt-cache", program, sizeof(program)))
		return vns_err_set(err, -ENOENT,
				   "apt-cache is missing, so no guest kernel can be fetched: "
				   "name one with --kernel FILE --modules DIR");
	if (lab_run(argv, &r, NULL) || !(p = strstr(text, "Depends: linux-image-")))
		return vns_err_set(err, -ENOENT,
				   "apt knows no package " META_PACKAGE
				   ": run apt-get update as root, " ELSE);
	p += strlen("Depends: ");
	p[strcspn(p, " \n")] = '\0';
	snprintf(package, len, "%s", p);
	return 0;
}

static int download(const struct lab_plan *plan, const char *temp, const char *package,
		    char *deb, size_t len, struct vns_err *err)
{
	char program[VNS_LAB_PATH_LEN];
	struct vns_err why = { 0 };
	struct lab_run r = { .cwd = temp, .timeout_ms = FETCH_TIMEOUT_MS,
			     .interrupted = plan->opts->interrupted };
	/* Without its sandbox user, who could not write to a folder of ours. */
	char *argv[] = { program, (char[]){ "-q" }, (char[]){ "-o" },
			 (char[]){ "APT::Sandbox::User=root" }, (char[]){ "download" },
			 (char *)package, NULL };
	int rc;

	if (lab_find_program("apt-get", program, sizeof(program)))
		return vns_err_set(err, -ENOENT, "apt-get is missing: name a kernel with "
				   "--kernel FILE --modules DIR");
	rc = lab_run(argv, &r, &why);
	if (rc)
		return vns_err_set(err, rc, "cannot fetch %s (%.300s); " ELSE, package, why.text);
	if (!find_entry(temp, package, ".deb", deb, len))
		return vns_err_set(err, -ENOENT, "apt-get fetched no %s into %s", package, temp);
	return 0;
}

static int unpack(const struct lab_plan *plan, const char *deb, const char *dir,
		  struct vns_err *err)
{
	char program[VNS_LAB_PATH_LEN];
	char *argv[] = { program, (char[]){ "-x" }, (char *)deb, (char *)dir, NULL };
	struct lab_run r = { .interrupted = plan->opts->interrupted, .timeout_ms = 180000 };

	if (lab_find_program("dpkg-deb", program, sizeof(program)))
		return vns_err_set(err, -ENOENT, "dpkg-deb is missing: name a kernel with "
				   "--kernel FILE --modules DIR");
	return lab_run(argv, &r, err);
}

static int move(const char *from, const char *to, struct vns_err *err)
{
	if (rename(from, to))
		return vns_err_set(err, -errno, "cannot move %s to %s: %s", from, to,
				   strerror(errno));
	return 0;
}

/* Of the unpacked package keep the kernel and its modules, and put them in place at once. */
static int arrange(const char *temp, const char *final, struct vns_err *err)
{
	char from[VNS_LAB_PATH_LEN + 32], to[VNS_LAB_PATH_LEN + 32], found[VNS_LAB_PATH_LEN];
	int rc;

	snprintf(to, sizeof(to), "%s/out", temp);
	if (mkdir(to, 0755))
		return vns_err_set(err, -errno, "cannot create %s: %s", to, strerror(errno));
	snprintf(from, sizeof(from), "%s/x/boot", temp);
	if (!find_entry(from, "vmlinuz", "", found, sizeof(found)))
		return vns_err_set(err, -ENOENT, "the kernel package holds no kernel");
	snprintf(to, sizeof(to), "%s/out/vmlinuz", temp);
	rc = move(found, to, err);
	snprintf(from, sizeof(from), "%s/x/lib/modules", temp);
	snprintf(to, sizeof(to), "%s/out/modules", temp);
	if (rc == 0 && access(from, F_OK)) /* later releases: /usr/lib */
		snprintf(from, sizeof(from), "%s/x/usr/lib/modules", temp);
	rc = rc ? rc : move(from, to, err);
	snprintf(from, sizeof(from), "%s/out", temp);
	if (rc == 0 && rename(from, final) && errno != EEXIST && errno != ENOTEMPTY)
		rc = vns_err_set(err, -errno, "cannot move %s to %s: %s", from, final,
				 strerror(errno));
	return rc;
}

static int fetch(struct lab_plan *plan, const char *cache, struct vns_err *err)
{
	char package[128], temp[VNS_LAB_PATH_LEN], deb[VNS_LAB_PATH_LEN], dir[VNS_LAB_PATH_LEN];
	char *name;
	int rc = find_package(package, sizeof(package), err);

	if (rc)
		return rc;
	lab_say(plan->opts, "fetching the guests' kernel (Debian package %s, unpacked into %s, "
		"not installed)", package, cache);
	snprintf(temp, sizeof(temp), "%.200s/tmp-%d", cache, (int)getpid());
	lab_remove_tree(temp);
	if (mkdir(temp, 0755))
		return vns_err_set(err, -errno, "cannot create %s: %s", temp, strerror(errno));
	rc = download(plan, temp, package, deb, sizeof(deb), err);
	snprintf(dir, sizeof(dir), "%.240s/x", temp);
	if (rc == 0)
		rc = unpack(plan, deb, dir, err);
	if (rc == 0) {
		name = strrchr(deb, '/') + 1;
		name[strlen(name) - strlen(".deb")] = '\0';
		snprintf(dir, sizeof(dir), "%.120s/kernel-%.120s", cache, name);
		rc = arrange(temp, dir, err);
	}
	lab_remove_tree(temp);
	if (rc == 0 && !take_cached(plan, dir))
		rc = vns_err_set(err, -EIO, "the kernel in %s is not complete; remove that folder",
				 dir);
	return rc;
}

static int take_given(struct lab_plan *plan, struct vns_err *err)
{
	const struct vns_lab_opts *o = plan->opts;
	char *real;

	if (access(o->kernel, R_OK))
		return vns_err_set(err, -errno, "kernel %s: %s", o->kernel, strerror(errno));
	real = realpath(o->kernel, NULL);
	snprintf(plan->kernel, sizeof(plan->kernel), "%s", real ? real : o->kernel);
	free(real);
	real = realpath(o->modules, NULL);
	if (!real)
		return vns_err_set(err, -errno, "modules %s: %s", o->modules, strerror(errno));
	snprintf(plan->modules, sizeof(plan->modules), "%s", real);
	free(real);
	return 0;
}

int lab_kernel_find(struct lab_plan *plan, struct vns_err *err)
{
	char cache[VNS_LAB_PATH_LEN];
	int rc;

	if (plan->opts->kernel)
		return take_given(plan, err);
	rc = lab_cache_dir(cache, sizeof(cache), err);
	if (rc)
		return rc;
	if (find_cached(plan, cache) || find_cached(plan, LAB_SYSTEM_CACHE))
		return 0;
	return fetch(plan, cache, err);
}
