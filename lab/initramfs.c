// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Agent, busybox and kernel modules -> the guests' initramfs.
 *
 *   /init                     vnetscope-agent
 *   /modules.list             modules to load at boot, one path a line, in load order
 *   /lib/modules/VERSION/     these and more, with modules.dep for busybox's modprobe
 *   /bin/busybox and links    when the host has busybox-static
 *   /bin/PROGRAM              what `up --with` asked for
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab/cpio.h"
#include "lab/internal.h"
#include "lab/modules.h"
#include "lab/programs.h"

static const char *version_of(const char *modules_dir)
{
	const char *slash = strrchr(modules_dir, '/');

	return slash ? slash + 1 : modules_dir;
}

static void put_skeleton(struct lab_cpio *c)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "tmp", "run",	 "etc",	   "bin",
					    "sbin", "usr",  "usr/bin", "usr/sbin", "lib", "root",
					    "lib/modules" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		lab_cpio_dir(c, dirs[i]);
	lab_cpio_char_device(c, "dev/console", 5, 1);
	lab_cpio_char_device(c, "dev/null", 1, 3);
}

/* A dynamically linked busybox cannot run in the guest: it would not find its libraries. */
static bool is_static(const char *path)
{
	char text[4096] = "";
	char *argv[] = { (char *)path, (char[]){ "--list-full" }, NULL };
	struct lab_run r = { .out = text, .out_len = sizeof(text), .timeout_ms = 5000 };
	FILE *f = fopen(path, "re");
	char head[4096];
	size_t n = f ? fread(head, 1, sizeof(head), f) : 0;

	if (f)
		fclose(f);
	return n > 64 && !memmem(head, n, "/ld-linux", 9) && lab_run(argv, &r, NULL) == 0;
}

static void put_busybox(struct lab_cpio *c, const struct vns_lab_opts *o)
{
	char path[VNS_LAB_PATH_LEN], text[16384] = "", *save = NULL;
	char *argv[] = { path, (char[]){ "--list-full" }, NULL };
	struct lab_run r = { .out = text, .out_len = sizeof(text), .timeout_ms = 5000 };

	if (lab_find_program("busybox", path, sizeof(path)) || !is_static(path) ||
	    lab_run(argv, &r, NULL))
		return;
	lab_cpio_file(c, "bin/busybox", 0755, path);
	for (char *name = strtok_r(text, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
		if (strcmp(name, "bin/busybox") != 0 && strncmp(name, "linuxrc", 7) != 0 &&
		    !lab_programs_has(o, name))
			lab_cpio_link(c, name, "/bin/busybox");
}

static void put_dep_line(FILE *dep, const struct lab_modules *m, const struct lab_module *mod)
{
	char names[sizeof(mod->depends)], *save = NULL;

	fprintf(dep, "%s.ko:", mod->name);
	memcpy(names, mod->depends, sizeof(names));
	for (char *d = strtok_r(names, ",", &save); d; d = strtok_r(NULL, ",", &save))
		for (size_t i = 0; i < m->n; i++)
			if (strcmp(m->item[i].name, d) == 0)
				fprintf(dep, " %s.ko", d);
	fputc('\n', dep);
}

static int put_modules(struct lab_cpio *c, const char *dir, struct vns_err *err)
{
	char name[VNS_LAB_PATH_LEN], *list = NULL, *dep = NULL;
	size_t list_len = 0, dep_len = 0;
	struct lab_modules *m = malloc(sizeof(*m));
	FILE *lf, *df;
	int rc;

	if (!m)
		return vns_err_set(err, -ENOMEM, "no memory for the guests' modules");
	rc = lab_modules_collect(m, dir, err);
	lf = open_memstream(&list, &list_len);
	df = open_memstream(&dep, &dep_len);
	if (rc == 0 && (!lf || !df))
		rc = -ENOMEM;
	snprintf(name, sizeof(name), "lib/modules/%.200s", version_of(dir));
	lab_cpio_dir(c, name);
	for (size_t i = 0; i < m->n && rc == 0; i++) {
		const struct lab_module *mod = &m->item[i];

		snprintf(name, sizeof(name), "lib/modules/%.128s/%s.ko", version_of(dir),
			 mod->name);
		lab_cpio_data(c, name, 0644, mod->data, mod->size);
		put_dep_line(df, m, mod);
		if (mod->at_boot)
			fprintf(lf, "/%s\n", name);
	}
	if (lf)
		fclose(lf);
	if (df)
		fclose(df);
	if (rc == 0) {
		lab_cpio_data(c, "modules.list", 0644, list, list_len);
		snprintf(name, sizeof(name), "lib/modules/%.128s/modules.dep", version_of(dir));
		lab_cpio_data(c, name, 0644, dep, dep_len);
	}
	free(list);
	free(dep);
	lab_modules_free(m);
	free(m);
	return rc;
}

int lab_initramfs_build(const struct lab_plan *plan, struct vns_err *err)
{
	struct lab_cpio c;
	int rc = lab_cpio_open(&c, plan->initrd), close_rc;

	if (rc)
		return vns_err_set(err, rc, "cannot create %s: %s", plan->initrd, strerror(-rc));
	put_skeleton(&c);
	lab_cpio_file(&c, "init", 0755, plan->agent);
	rc = lab_programs_put(&c, plan->opts, err);
	put_busybox(&c, plan->opts);
	if (rc == 0)
		rc = put_modules(&c, plan->modules, err);
	close_rc = lab_cpio_close(&c);
	if (rc == 0 && close_rc)
		rc = vns_err_set(err, close_rc, "cannot write %s: %s", plan->initrd,
				 strerror(-close_rc));
	return rc;
}
