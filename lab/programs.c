// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Programs of the host for the guests (`up --with tc`): name -> the file, and the libraries that
 * ldd(1) names, under their own paths in the initramfs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab/internal.h"
#include "lab/programs.h"

#define MAX_PATHS 256

struct seen {
	char *path[MAX_PATHS]; /* folders and libraries that are in the archive already */
	size_t n;
};

/* Return: true the first time that @path is asked for. */
static bool first_time(struct seen *s, const char *path)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->path[i], path) == 0)
			return false;
	if (s->n < MAX_PATHS && (s->path[s->n] = strdup(path)))
		s->n++;
	return true;
}

/* @path without its leading slash; the skeleton's own folders may come twice, which is harmless. */
static void put_parents(struct lab_cpio *c, struct seen *s, const char *path)
{
	char dir[VNS_LAB_PATH_LEN];

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - path), path);
		if (first_time(s, dir))
			lab_cpio_dir(c, dir);
	}
}

/* Every absolute path in ldd's output is a library or the loader. */
static void put_libraries(struct lab_cpio *c, struct seen *s, char *text)
{
	char *save = NULL;

	for (char *w = strtok_r(text, " \t\n", &save); w; w = strtok_r(NULL, " \t\n", &save)) {
		if (w[0] != '/' || w[strlen(w) - 1] == ':' || !first_time(s, w))
			continue;
		put_parents(c, s, w + 1);
		lab_cpio_file(c, w + 1, 0755, w);
	}
}

static int put_program(struct lab_cpio *c, struct seen *s, const char *name, struct vns_err *err)
{
	char path[VNS_LAB_PATH_LEN], ldd[VNS_LAB_PATH_LEN], text[8192] = "", to[VNS_LAB_PATH_LEN];
	char *argv[] = { ldd, path, NULL };
	struct lab_run r = { .out = text, .out_len = sizeof(text), .timeout_ms = 10000 };

	if (strchr(name, '/') ? snprintf(path, sizeof(path), "%s", name) >= (int)sizeof(path) :
				lab_find_program(name, path, sizeof(path)))
		return vns_err_set(err, -ENOENT, "there is no program %s to put into the guests",
				   name);
	if (lab_find_program("ldd", ldd, sizeof(ldd)))
		return vns_err_set(err, -ENOENT, "ldd is missing (Debian package libc-bin)");
	lab_run(argv, &r, NULL); /* fails for a static program, which needs no library */
	put_libraries(c, s, text);
	snprintf(to, sizeof(to), "bin/%.200s", strrchr(path, '/') + 1);
	lab_cpio_file(c, to, 0755, path);
	if (c->error)
		return vns_err_set(err, c->error, "cannot put %s into the guests: %s", path,
				   strerror(-c->error));
	return 0;
}

int lab_programs_put(struct lab_cpio *c, const struct vns_lab_opts *o, struct vns_err *err)
{
	struct seen s = { .n = 0 };
	int rc = 0;

	for (size_t i = 0; i < o->n_with && rc == 0; i++)
		rc = put_program(c, &s, o->with[i], err);
	while (s.n > 0)
		free(s.path[--s.n]);
	return rc;
}

bool lab_programs_has(const struct vns_lab_opts *o, const char *applet)
{
	const char *name = strrchr(applet, '/') ? strrchr(applet, '/') + 1 : applet;

	for (size_t i = 0; i < o->n_with; i++) {
		const char *base = strrchr(o->with[i], '/');

		if (strcmp(base ? base + 1 : o->with[i], name) == 0)
			return true;
	}
	return false;
}
