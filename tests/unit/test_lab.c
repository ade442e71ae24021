// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The lab's pure parts: the cpio writer against a reader of our own that follows the format's
 * description, dependencies out of module files (whole, cut and spoilt), names and offload words,
 * a lab's state written and read back.
 */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab/cpio.h"
#include "lab/internal.h"
#include "lab/modules.h"

static char folder[] = "/tmp/vns-test-lab-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	lab_remove_tree(folder);
	return 0;
}

static unsigned long field(const char *head, int n)
{
	char text[9] = "";

	memcpy(text, head + 6 + 8 * n, 8);
	return strtoul(text, NULL, 16);
}

/* Expect the entry at @at; return where the next one starts. */
static size_t expect_entry(const char *b, size_t size, size_t at, const char *name,
			   unsigned long mode, const char *data)
{
	size_t n_name = strlen(name) + 1, n_data = strlen(data);

	assert_true(at % 4 == 0 && at + 110 + n_name <= size);
	assert_memory_equal(b + at, "070701", 6);
	assert_int_equal(field(b + at, 1), mode);
	assert_int_equal(field(b + at, 6), n_data);
	assert_int_equal(field(b + at, 11), n_name);
	assert_string_equal(b + at + 110, name);
	at = (at + 110 + n_name + 3) & ~(size_t)3;
	assert_true(at + n_data <= size);
	assert_memory_equal(b + at, data, n_data);
	return (at + n_data + 3) & ~(size_t)3;
}

static void test_cpio(void **state)
{
	char path[64], *b = malloc(65536);
	struct lab_cpio c;
	size_t n, at = 0;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/a.cpio", folder);
	assert_int_equal(lab_cpio_open(&c, path), 0);
	lab_cpio_dir(&c, "dev");
	lab_cpio_char_device(&c, "dev/console", 5, 1);
	lab_cpio_data(&c, "four", 0644, "1234", 4);
	lab_cpio_data(&c, "fives", 0755, "12345", 5);
	lab_cpio_link(&c, "bin/sh", "/bin/busybox");
	assert_int_equal(lab_cpio_close(&c), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(b, 1, 65536, f);
	fclose(f);
	at = expect_entry(b, n, at, "dev", S_IFDIR | 0755, "");
	assert_int_equal(field(b + at, 9), 5);
	assert_int_equal(field(b + at, 10), 1);
	at = expect_entry(b, n, at, "dev/console", S_IFCHR | 0600, "");
	at = expect_entry(b, n, at, "four", S_IFREG | 0644, "1234");
	at = expect_entry(b, n, at, "fives", S_IFREG | 0755, "12345");
	at = expect_entry(b, n, at, "bin/sh", S_IFLNK | 0777, "/bin/busybox");
	at = expect_entry(b, n, at, "TRAILER!!!", 0, "");
	assert_int_equal(at, n);
	free(b);
}

static void test_cpio_full_disk(void **state)
{
	static const char big[1 << 16];
	struct lab_cpio c;

	(void)state;
	if (lab_cpio_open(&c, "/dev/full"))
		skip();
	lab_cpio_data(&c, "big", 0644, big, sizeof(big));
	assert_int_equal(lab_cpio_close(&c), -ENOSPC);
}

#define INFO "license=GPL\0depends=virtio_ring,virtio\0name=x"

struct fake {
	Elf64_Ehdr eh;
	char names[32];
	char info[sizeof(INFO)];
	Elf64_Shdr sh[3];
} __attribute__((packed));

static struct fake make_module(void)
{
	struct fake m = { .names = "\0.shstrtab\0.modinfo" };

	memcpy(m.eh.e_ident, ELFMAG, SELFMAG);
	m.eh.e_ident[EI_CLASS] = ELFCLASS64;
	m.eh.e_shoff = offsetof(struct fake, sh);
	m.eh.e_shentsize = sizeof(Elf64_Shdr);
	m.eh.e_shnum = 3;
	m.eh.e_shstrndx = 1;
	memcpy(m.info, INFO, sizeof(INFO));
	m.sh[1] = (Elf64_Shdr){ .sh_name = 1, .sh_type = SHT_STRTAB, .sh_size = sizeof(m.names),
				.sh_offset = offsetof(struct fake, names) };
	m.sh[2] = (Elf64_Shdr){ .sh_name = 11, .sh_type = SHT_PROGBITS, .sh_size = sizeof(m.info),
				.sh_offset = offsetof(struct fake, info) };
	return m;
}

static void test_module_depends(void **state)
{
	struct fake m = make_module();
	char deps[64];

	(void)state;
	assert_int_equal(lab_module_depends(&m, sizeof(m), deps, sizeof(deps)), 0);
	assert_string_equal(deps, "virtio_ring,virtio");
	memcpy(m.info + 12, "DEPENDS", 7);
	assert_int_equal(lab_module_depends(&m, sizeof(m), deps, sizeof(deps)), 0);
	assert_string_equal(deps, "");
	assert_int_equal(lab_module_depends("text", 4, deps, sizeof(deps)), -EINVAL);
}

/* Every cut, and every byte set to values that make lengths and offsets huge. */
static void test_module_hostile(void **state)
{
	const struct fake good = make_module();
	char deps[64];

	(void)state;
	for (size_t n = 0; n < sizeof(good); n++) {
		void *exact = malloc(n ? n : 1);

		memcpy(exact, &good, n);
		assert_int_equal(lab_module_depends(exact, n, deps, sizeof(deps)), -EINVAL);
		free(exact);
	}
	for (size_t i = 0; i < sizeof(good); i++)
		for (int v = 0x7f; v <= 0xff; v += 0x40) {
			struct fake *bad = malloc(sizeof(*bad));

			*bad = good;
			((unsigned char *)bad)[i] = (unsigned char)v;
			lab_module_depends(bad, sizeof(*bad), deps, sizeof(deps));
			assert_true(strlen(deps) < sizeof(deps));
			free(bad);
		}
}

static void test_words(void **state)
{
	unsigned int bits[3];

	(void)state;
	assert_true(vns_lab_name_ok("lab") && vns_lab_name_ok("a234567890123456"));
	assert_false(vns_lab_name_ok("") || vns_lab_name_ok("a2345678901234567") ||
		     vns_lab_name_ok("../x") || vns_lab_name_ok("Lab") || vns_lab_name_ok("-a"));
	assert_int_equal(lab_parse_offloads("default", bits, 3, NULL), 0);
	assert_int_equal(bits[0] | bits[1] | bits[2], 0);
	assert_int_equal(lab_parse_offloads("no-mrg,no-csum", bits, 3, NULL), 0);
	assert_int_equal(bits[2], LAB_NO_MRG | LAB_NO_CSUM | LAB_NO_TSO);
	assert_int_equal(lab_parse_offloads("no-mrg,vm2:no-guest-tso", bits, 3, NULL), 0);
	assert_int_equal(bits[0], LAB_NO_MRG);
	assert_int_equal(bits[1], LAB_NO_MRG | LAB_NO_GUEST_TSO);
	assert_int_equal(lab_parse_offloads("no-mrg,no", bits, 3, NULL), -EINVAL);
	assert_int_equal(lab_parse_offloads("no-mrg,,off", bits, 3, NULL), -EINVAL);
	assert_int_equal(lab_parse_offloads("vm4:off", bits, 3, NULL), -EINVAL);
	assert_int_equal(lab_parse_offloads("vm0:off", bits, 3, NULL), -EINVAL);
}

static void test_process_identity(void **state)
{
	struct vns_proc self = vns_proc_of(getpid()), child;
	pid_t pid = fork();

	(void)state;
	assert_true(vns_proc_alive(&self));
	self.start++;
	assert_false(vns_proc_alive(&self)); /* another process with our pid */
	if (pid == 0)
		_exit(0);
	child = vns_proc_of(pid);
	assert_true(lab_wait_gone(&child, 5000)); /* a zombie counts as gone */
	waitpid(pid, NULL, 0);
	assert_false(vns_proc_alive(&child));
}

static void test_state(void **state)
{
	struct vns_lab lab = { .name = "t-unit", .backend = VNS_LAB_NETNS, .n_guest = 2,
			       .phase = VNS_LAB_RUNNING, .holder = { 4711, 1234567890123 },
			       .vcpus = 3, .memory_mb = 200, .queues = 2, .started_ns = INT64_MAX,
			       .accel = "none", .offloads = "no-tso" };
	struct vns_lab back;

	(void)state;
	/* Not as root, whose folder is /run/vnetscope. */
	assert_int_equal(chown(folder, geteuid() ? geteuid() : 65534, getegid()), 0);
	assert_int_equal(seteuid(geteuid() ? geteuid() : 65534), 0);
	setenv("XDG_RUNTIME_DIR", folder, 1);
	assert_int_equal(vns_lab_dir(lab.name, lab.dir, sizeof(lab.dir), NULL), 0);
	lab.uid = vns_lab_uid();
	for (char *p = strchr(lab.dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(lab.dir, 0700);
		*p = '/';
	}
	mkdir(lab.dir, 0700);
	snprintf(lab.guest[1].name, sizeof(lab.guest[1].name), "vm2");
	assert_int_equal(vns_lab_save(&lab, NULL), 0);
	assert_int_equal(vns_lab_load(&back, lab.name, NULL), 0);
	assert_memory_equal(&back, &lab, sizeof(lab));
	assert_int_equal(seteuid(getuid()), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpio),
		cmocka_unit_test(test_cpio_full_disk),
		cmocka_unit_test(test_module_depends),
		cmocka_unit_test(test_module_hostile),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_process_identity),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
