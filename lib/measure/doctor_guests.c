// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination: what running guests and shaping their traffic needs.
 *
 * in: devices, programs and a private network namespace in a child; out: checks of group
 * "guests". Queueing disciplines are tried on the child's own loopback device, but not
 * where a module would have to be loaded for it: that would change the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure/doctor.h"

#ifdef __aarch64__
#define QEMU "qemu-system-aarch64"
#else
#define QEMU "qemu-system-x86_64"
#endif
#define LOOPBACK_INDEX 1 /* of every network namespace */

static void examine_kvm(struct vns_doctor *d)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (fd < 0) {
		vns_doctor_add(d, "guests", "kvm", VNS_DOCTOR_NO, 0,
			       "/dev/kvm: %s; guests run under emulation (TCG)", strerror(errno));
		return;
	}
	vm = ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION ? ioctl(fd, KVM_CREATE_VM, 0) : -1;
	if (vm < 0)
		vns_doctor_add(d, "guests", "kvm", VNS_DOCTOR_NO, 0,
			       "/dev/kvm opens but creates no VM: %s", strerror(errno));
	else
		vns_doctor_add(d, "guests", "kvm", VNS_DOCTOR_YES, 0,
			       "/dev/kvm creates a VM; only a boot proves that guests run "
			       "(`lab up` tries, and falls back to TCG)");
	if (vm >= 0)
		close(vm);
	close(fd);
}

static void examine_device(struct vns_doctor *d, const char *name, const char *path,
			   unsigned int essential, const char *without)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		vns_doctor_add(d, "guests", name, VNS_DOCTOR_NO, essential, "%s: %s; %s", path,
			       strerror(errno), without);
	else
		vns_doctor_add(d, "guests", name, VNS_DOCTOR_YES, 0, "%s opens", path);
	if (fd >= 0)
		close(fd);
}

static void examine_qemu(struct vns_doctor *d)
{
	char line[160] = "";
	FILE *p = popen(QEMU " --version 2>/dev/null </dev/null", "re");

	if (p && fgets(line, sizeof(line), p))
		line[strcspn(line, "\n")] = '\0';
	if (p)
		pclose(p);
	if (*line)
		vns_doctor_add(d, "guests", "qemu", VNS_DOCTOR_YES, 0, "%s", line);
	else
		vns_doctor_add(d, "guests", "qemu", VNS_DOCTOR_NO, VNS_DOCTOR_FOR_LAB,
			       QEMU " is not there (package qemu-system-x86)");
}

/* True when a module file @name.ko stands in the running kernel's list of loadable modules. */
static bool is_loadable(const char *name)
{
	struct utsname u;
	char path[256], line[1024], needle[64];
	bool found = false;
	FILE *f;

	uname(&u);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", u.release);
	snprintf(needle, sizeof(needle), "/%s.ko", name);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, ":")] = '\0';
		found = strstr(line, needle);
	}
	if (f)
		fclose(f);
	return found;
}

/* A private network namespace for the calling (child) process. Return: 0 or errno. */
static int leave_for_private_network(void)
{
	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno;
}

/*
 * Ask for a root qdisc of @kind on the loopback device, without parameters: a kind the kernel
 * has not answers ENOENT, one it has complains about the parameters or takes it.
 */
static int try_qdisc(const char *kind)
{
	struct {
		struct nlmsghdr h;
		struct tcmsg t;
		struct rtattr a;
		char kind[16];
	} req = { .h = { .nlmsg_len = sizeof(req), .nlmsg_type = RTM_NEWQDISC,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE },
		  .t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = LOOPBACK_INDEX,
			 .tcm_parent = TC_H_ROOT },
		  .a = { .rta_len = RTA_LENGTH(sizeof(req.kind)), .rta_type = TCA_KIND } };
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[512];
	} reply;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), code = EIO;

	if (fd < 0)
		return errno;
	snprintf(req.kind, sizeof(req.kind), "%s", kind);
	if (send(fd, &req, sizeof(req), 0) > 0 && recv(fd, &reply, sizeof(reply), 0) > 0 &&
	    reply.h.nlmsg_type == NLMSG_ERROR)
		code = -reply.e.error;
	close(fd);
	return code;
}

/* Runs @probe(@arg) in a child with a network of its own. Return: its errno value, 255: no child. */
static int in_private_network(int (*probe)(const char *), const char *arg)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int code = leave_for_private_network();

		_exit(code ? 254 : probe ? probe(arg) & 0x7f : 0);
	}
	if (pid < 0)
		return 255;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void examine_qdisc(struct vns_doctor *d, const char *kind, const char *use)
{
	char module[32];
	int code;

	snprintf(module, sizeof(module), "sch_%s", kind);
	if (is_loadable(module)) {
		vns_doctor_add(d, "guests", kind, VNS_DOCTOR_YES, 0, "%s (module %s)", use, module);
		return;
	}
	code = in_private_network(try_qdisc, kind);
	if (code >= 254)
		vns_doctor_add(d, "guests", kind, VNS_DOCTOR_PARTLY, 0,
			       "not known: no private network namespace to try it in");
	else if (code == ENOENT || code == EOPNOTSUPP)
		vns_doctor_add(d, "guests", kind, VNS_DOCTOR_NO, 0, "this kernel has no %s: no %s",
			       kind, use);
	else
		vns_doctor_add(d, "guests", kind, VNS_DOCTOR_YES, 0, "%s (built in)", use);
}

static void examine_user_namespaces(struct vns_doctor *d)
{
	int status = 0;
	pid_t pid = fork();
	bool root = geteuid() == 0;

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNET) ? errno & 0x7f : 0);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		status = EIO << 8;
	if (WEXITSTATUS(status) == 0)
		vns_doctor_add(d, "guests", "user_namespaces", VNS_DOCTOR_YES, 0,
			       "a lab works without root");
	else
		vns_doctor_add(d, "guests", "user_namespaces", VNS_DOCTOR_NO,
			       root ? 0 : VNS_DOCTOR_FOR_LAB, "unshare: %s; a lab needs root",
			       strerror(WEXITSTATUS(status)));
}

void vns_doctor_guests(struct vns_doctor *d)
{
	examine_kvm(d);
	examine_qemu(d);
	examine_device(d, "tun", "/dev/net/tun", VNS_DOCTOR_FOR_LAB, "no taps for guests");
	examine_device(d, "vhost_net", "/dev/vhost-net", 0,
		       "packets of guests pass through QEMU's main loop");
	examine_user_namespaces(d);
	examine_qdisc(d, "tbf", "rate limits");
	examine_qdisc(d, "netem", "added delay and loss");
}
