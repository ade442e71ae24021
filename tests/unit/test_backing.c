// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a guest's card is plugged into, from made-up proc and sys folders: command lines as QEMU gets
 * them by hand and from libvirt (JSON), descriptors, sysfs links.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <vnetscope/measure.h>

static const uint8_t mac[6] = { 0x52, 0x54, 0x00, 0xAB, 0x00, 0x01 };
static char root[64];

/* ROOT/path with its folders. */
static const char *place(const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *p = strchr(full + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(full, 0700);
		*p = '/';
	}
	return full;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(place(path), "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void put_link(const char *path, const char *target)
{
	assert_int_equal(symlink(target, place(path)), 0);
}

/* @words: separated by blanks. */
static void put_qemu(const char *pid, const char *words)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "proc/%s/cmdline", pid);
	f = fopen(place(path), "w");
	assert_non_null(f);
	for (; *words; words++)
		fputc(*words == ' ' ? '\0' : *words, f);
	fputc('\0', f);
	assert_int_equal(fclose(f), 0);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *w)
{
	(void)st;
	(void)type;
	(void)w;
	return remove(path);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/test-backing-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(root, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static struct vns_backing find(enum vns_backing_kind kind)
{
	struct vns_backing b;

	assert_int_equal(vns_backing_find(root, mac, &b), 0);
	assert_int_equal(b.kind, kind);
	assert_true(*b.text);
	return b;
}

static void test_tap_by_name(void **state)
{
	struct vns_backing b;

	(void)state;
	put_qemu("100", "/usr/bin/qemu-system-x86_64 -netdev tap,id=n0,ifname=tapother -device "
		 "virtio-net-pci,netdev=n0,mac=52:54:00:ab:00:02");
	put_qemu("101", "qemu-system-x86_64 -netdev tap,id=n1,ifname=tapx,vhost=on -device "
		 "virtio-net-pci,netdev=n1,mac=52:54:00:AB:00:01 -netdev user,id=n2");
	put("proc/101x/cmdline", "no process");
	b = find(VNS_BACKED_TAP);
	assert_int_equal(b.pid, 101);
	assert_string_equal(b.ifname, "tapx");
}

static void test_ovs_by_libvirts_descriptor(void **state)
{
	struct vns_backing b;

	(void)state;
	put_qemu("200", "/usr/bin/qemu-kvm -netdev {\"type\":\"tap\",\"fds\":\"33:35\",\"vhost\":true,\"id\":\"hostnet0\"} "
		 "-device {\"driver\":\"virtio-net-pci\",\"netdev\":\"hostnet0\",\"id\":\"net0\",\"mac\":\"52:54:00:ab:00:01\"}");
	put("proc/200/fdinfo/33", "pos:\t0\nflags:\t0104002\niff:\tvnet7\n");
	place("proc/200/fd/33");
	mkdir(place("proc/200/fd"), 0700);
	put_link("proc/200/fd/33", "/dev/net/tun");
	mkdir(place("sys/class/net/vnet7/x"), 0700);
	put_link("sys/class/net/vnet7/master", "../ovs-system");
	b = find(VNS_BACKED_OVS);
	assert_string_equal(b.ifname, "vnet7");
	assert_non_null(strstr(b.text, "Open vSwitch"));
}

static void test_macvtap(void **state)
{
	struct vns_backing b;

	(void)state;
	put_qemu("300", "qemu-system-aarch64 -netdev tap,fd=9,id=a -device virtio-net-pci,mac=52:54:00:ab:00:01,netdev=a");
	put_link("proc/300/fd/9", "/dev/tap17");
	put("sys/class/net/eth0/ifindex", "2\n");
	put("sys/class/net/macvtap3/ifindex", "17\n");
	put_link("sys/class/net/macvtap3/lower_eth0", "../eth0");
	b = find(VNS_BACKED_MACVTAP);
	assert_string_equal(b.ifname, "macvtap3");
	assert_string_equal(b.lower, "eth0");
}

static void test_vhost_user(void **state)
{
	struct vns_backing b;

	(void)state;
	put_qemu("400", "qemu-system-x86_64 -chardev socket,id=c0,path=/run/ovs/vhu1,server=on -netdev "
		 "vhost-user,id=n,chardev=c0 -device virtio-net-pci,netdev=n,mac=52:54:00:ab:00:01");
	b = find(VNS_BACKED_VHOST_USER);
	assert_string_equal(b.detail, "/run/ovs/vhu1");
	assert_string_equal(b.ifname, "");
	assert_non_null(strstr(b.text, "ovs-tcpdump"));
}

static void test_virtual_function(void **state)
{
	struct vns_backing b;

	(void)state;
	put_qemu("500", "qemu-kvm -device {\"driver\":\"vfio-pci\",\"host\":\"0000:03:10.1\",\"id\":\"hostdev0\"} "
		 "-device vfio-pci,host=04:00.0");
	put("sys/bus/pci/devices/0000:03:10.1/class", "0x020000\n");
	put("sys/bus/pci/devices/0000:04:00.0/class", "0x030000\n"); /* a graphics card */
	mkdir(place("sys/bus/pci/devices/0000:03:10.1/physfn/net/ens1f0/x"), 0700);
	b = find(VNS_BACKED_FUNCTION);
	assert_string_equal(b.detail, "0000:03:10.1");
	assert_string_equal(b.lower, "ens1f0");
	/* a second guest with one: nothing tells which is which */
	put_qemu("501", "qemu-kvm -device vfio-pci,host=0000:03:10.1");
	find(VNS_BACKED_UNKNOWN);
}

static void test_others(void **state)
{
	struct vns_backing b;

	(void)state;
	find(VNS_BACKED_UNKNOWN);
	put_qemu("600", "qemu-system-x86_64 -nic user,mac=52:54:00:ab:00:01,model=virtio");
	b = find(VNS_BACKED_PROCESS);
	assert_string_equal(b.detail, "user");
	put_qemu("600", "qemu-system-x86_64 -device virtio-net-pci,mac=52:54:00:ab:00:01,netdev=v -netdev "
		 "vhost-vdpa,id=v,vhostdev=/dev/vhost-vdpa-0");
	b = find(VNS_BACKED_VDPA);
	assert_string_equal(b.detail, "/dev/vhost-vdpa-0");
	/* cut, unbalanced, empty: no guess */
	put_qemu("600", "qemu-system-x86_64 -device {\"mac\":\"52:54:00:ab:00:01\" -netdev");
	find(VNS_BACKED_UNKNOWN);
	put_qemu("600", "");
	find(VNS_BACKED_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tap_by_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ovs_by_libvirts_descriptor, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_macvtap, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_vhost_user, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_virtual_function, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_others, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
