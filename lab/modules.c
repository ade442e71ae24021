// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * /lib/modules/VERSION -> the modules a guest needs, in load order, uncompressed.
 *
 * Dependencies are read from the modules themselves (section .modinfo, "depends=a,b"), since an
 * unpacked kernel package has no modules.dep: depmod runs when a package is installed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/internal.h"
#include "lab/modules.h"

#define MAX_MODULE_BYTES (64u << 20)

/* What `up` asks for. @needed: no guest without it. */
static const struct {
	const char *name;
	bool at_boot, needed;
} wanted[] = {
	{ "virtio_pci", true, true },	{ "virtio_net", true, true },
	{ "virtio_console", true, true }, { "af_packet", true, true },
	{ "ptp_kvm", true, false },	{ "ipv6", true, false },
	{ "sch_netem", false, false },	{ "sch_tbf", false, false },
	{ "sch_fq", false, false },	{ "sch_ingress", false, false },
	{ "cls_u32", false, false },	{ "cls_bpf", false, false },
	{ "act_bpf", false, false },	{ "act_mirred", false, false },
	{ "act_police", false, false }, { "ifb", false, false },
	{ "tcp_bbr", false, false },
};

struct index {
	char (*path)[VNS_LAB_PATH_LEN];
	size_t n, cap;
};
static struct index *walking; /* nftw() passes no context */

static int index_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type != FTW_F || !strstr(path, ".ko") || strlen(path) >= VNS_LAB_PATH_LEN)
		return 0;
	if (walking->n == walking->cap) {
		size_t cap = walking->cap ? 2 * walking->cap : 1024;
		void *p = realloc(walking->path, cap * sizeof(*walking->path));

		if (!p)
			return -1;
		walking->path = p;
		walking->cap = cap;
	}
	snprintf(walking->path[walking->n++], VNS_LAB_PATH_LEN, "%s", path);
	return 0;
}

/* Is the file's or list line's last component @name.ko...? '-' and '_' are one. */
static bool is_module(const char *path, const char *name)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	for (; *name; name++, base++)
		if (*base != *name && !(*base == '-' && *name == '_') &&
		    !(*base == '_' && *name == '-'))
			return false;
	return strncmp(base, ".ko", 3) == 0;
}

static const char *find_module(const struct index *ix, const char *name)
{
	for (size_t i = 0; i < ix->n; i++)
		if (is_module(ix->path[i], name))
			return ix->path[i];
	return NULL;
}

static bool is_builtin(const char *dir, const char *name)
{
	char path[VNS_LAB_PATH_LEN + 32], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/modules.builtin", dir);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = is_module(line, name);
	if (f)
		fclose(f);
	return found;
}

static int read_fd(int fd, void **data, size_t *size)
{
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) || st.st_size > MAX_MODULE_BYTES)
		return -EFBIG;
	*data = malloc((size_t)st.st_size + 1);
	if (!*data)
		return -ENOMEM;
	while (got < (size_t)st.st_size) {
		ssize_t n = pread(fd, (char *)*data + got, (size_t)st.st_size - got, (off_t)got);

		if (n <= 0) {
			free(*data);
			return n < 0 ? -errno : -EIO;
		}
		got += (size_t)n;
	}
	*size = got;
	return 0;
}

/* Debian 12 stores modules plain, later releases as .xz, others as .zst or .gz. */
static int unpack(const char *path, int out_fd, struct vns_err *err)
{
	static const struct {
		const char *suffix, *program;
	} packers[] = { { ".xz", "xz" }, { ".zst", "zstd" }, { ".gz", "gzip" } };
	char program[VNS_LAB_PATH_LEN];
	char *argv[] = { program, (char[]){ "-dc" }, (char *)path, NULL };
	struct lab_run r = { .out_fd = out_fd };

	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		size_t n = strlen(packers[i].suffix);

		if (strlen(path) < n || strcmp(path + strlen(path) - n, packers[i].suffix) != 0)
			continue;
		if (lab_find_program(packers[i].program, program, sizeof(program)))
			return vns_err_set(err, -ENOENT, "the program %s is missing to unpack %s",
					   packers[i].program, path);
		return lab_run(argv, &r, err);
	}
	return vns_err_set(err, -EINVAL, "%s is packed in an unknown way", path);
}

static int load(const char *path, struct lab_module *m, struct vns_err *err)
{
	bool plain = strcmp(path + strlen(path) - 3, ".ko") == 0;
	int fd = plain ? open(path, O_RDONLY | O_CLOEXEC) : memfd_create("module", MFD_CLOEXEC);
	int rc = fd < 0 ? -errno : plain ? 0 : unpack(path, fd, err);

	if (rc == 0 || fd < 0)
		rc = fd < 0 ? rc : read_fd(fd, &m->data, &m->size);
	if (fd >= 0)
		close(fd);
	if (rc == 0 && lab_module_depends(m->data, m->size, m->depends, sizeof(m->depends))) {
		free(m->data);
		rc = vns_err_set(err, -EINVAL, "%s is not a kernel module", path);
	} else if (rc && err && !err->text[0]) {
		vns_err_set(err, rc, "cannot read %s: %s", path, strerror(-rc));
	}
	return rc;
}

static bool in_file(size_t size, uint64_t at, uint64_t n)
{
	return at <= size && n <= size - at;
}

static const char *find_info(const char *text, size_t n, const char *key)
{
	size_t len = strlen(key);

	while (n > len) {
		size_t item = strnlen(text, n);

		if (item == n)
			return NULL; /* not terminated */
		if (strncmp(text, key, len) == 0)
			return text + len;
		text += item + 1;
		n -= item + 1;
	}
	return NULL;
}

int lab_module_depends(const void *data, size_t size, char *buf, size_t len)
{
	const unsigned char *b = data;
	const char *found = NULL;
	Elf64_Ehdr eh;
	Elf64_Shdr names;

	if (size < sizeof(eh))
		return -EINVAL;
	memcpy(&eh, b, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_shentsize != sizeof(Elf64_Shdr) || eh.e_shstrndx >= eh.e_shnum ||
	    !in_file(size, eh.e_shoff, (uint64_t)eh.e_shnum * sizeof(Elf64_Shdr)))
		return -EINVAL;
	memcpy(&names, b + eh.e_shoff + eh.e_shstrndx * sizeof(names), sizeof(names));
	if (!in_file(size, names.sh_offset, names.sh_size))
		return -EINVAL;
	for (unsigned int i = 0; i < eh.e_shnum && !found; i++) {
		static const char want[] = ".modinfo";
		Elf64_Shdr sh;

		memcpy(&sh, b + eh.e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_PROGBITS || !in_file(size, sh.sh_offset, sh.sh_size) ||
		    !in_file(names.sh_size, sh.sh_name, sizeof(want)) ||
		    memcmp(b + names.sh_offset + sh.sh_name, want, sizeof(want)) != 0)
			continue;
		found = find_info((const char *)b + sh.sh_offset, sh.sh_size, "depends=");
	}
	snprintf(buf, len, "%s", found ? found : "");
	return 0;
}

static bool have(const struct lab_modules *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (strcmp(m->item[i].name, name) == 0)
			return true;
	return false;
}

/* Depth first, so that dependencies come first. @depth ends loops in broken modules. */
static int add(struct lab_modules *m, const struct index *ix, const char *name, bool at_boot,
	       int depth, struct vns_err *err)
{
	const char *path = find_module(ix, name);
	struct lab_module new = { .at_boot = at_boot };
	char *save = NULL, deps[sizeof(new.depends)];
	int rc = 0;

	if (!path || have(m, name))
		return 0;
	snprintf(new.name, sizeof(new.name), "%s", name);
	rc = load(path, &new, err);
	if (rc)
		return rc;
	memcpy(deps, new.depends, sizeof(deps));
	for (char *d = strtok_r(deps, ",", &save); d && rc == 0 && depth < 16;
	     d = strtok_r(NULL, ",", &save))
		rc = add(m, ix, d, at_boot, depth + 1, err);
	if (rc == 0 && m->n == LAB_MAX_MODULES)
		rc = vns_err_set(err, -E2BIG, "more than %d modules are needed", LAB_MAX_MODULES);
	if (rc) {
		free(new.data);
		return rc;
	}
	m->item[m->n++] = new;
	return 0;
}

int lab_modules_collect(struct lab_modules *m, const char *dir, struct vns_err *err)
{
	struct index ix = { 0 };
	int rc;

	memset(m, 0, sizeof(*m));
	walking = &ix;
	rc = nftw(dir, index_file, 16, FTW_PHYS) ?
		vns_err_set(err, -ENOENT, "cannot read the modules folder %s", dir) : 0;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]) && rc == 0; i++) {
		const char *name = wanted[i].name;

		if (wanted[i].needed && !find_module(&ix, name) && !is_builtin(dir, name))
			rc = vns_err_set(err, -ENOENT, "kernel module %s is missing in %s", name,
					 dir);
		else
			rc = add(m, &ix, name, wanted[i].at_boot, 0, err);
	}
	free(ix.path);
	if (rc)
		lab_modules_free(m);
	return rc;
}

void lab_modules_free(struct lab_modules *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->item[i].data);
	m->n = 0;
}
