// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One guest: plan and node -> a QEMU process.
 *
 * q35 with nothing but what is measured: a virtio-net card on a tap, a virtio-serial port "ctl"
 * for the agent, an ivshmem page as a clock path of its own, a serial console into a file, a QMP
 * socket. No vhost under emulation; with KVM when /dev/vhost-net can be opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lab/internal.h"

#define MAX_ARGS 64

/* QEMU's option values take a comma doubled. */
static const char *quote(const char *value, char buf[2 * VNS_LAB_PATH_LEN])
{
	char *p = buf;

	for (; *value; value++) {
		*p++ = *value;
		if (*value == ',')
			*p++ = ',';
	}
	*p = '\0';
	return buf;
}

struct args {
	char *v[MAX_ARGS + 1];
	int n;
	bool failed;
};

__attribute__((format(printf, 2, 3)))
static void arg(struct args *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (a->n == MAX_ARGS || vasprintf(&s, fmt, ap) < 0)
		a->failed = true;
	else
		a->v[a->n++] = s;
	va_end(ap);
}

static void free_args(struct args *a)
{
	while (a->n > 0)
		free(a->v[--a->n]);
}

int lab_qemu_find(struct lab_plan *plan, struct vns_err *err)
{
	struct utsname u;

	if (uname(&u) == 0 && strcmp(u.machine, "x86_64") != 0)
		return vns_err_set(err, -ENOTSUP,
				   "lab guests need an x86-64 host, this is %s; "
				   "use --backend netns", u.machine);
	if (lab_find_program("qemu-system-x86_64", plan->qemu, sizeof(plan->qemu)))
		return vns_err_set(err, -ENOENT, "qemu-system-x86_64 is missing (Debian package "
				   "qemu-system-x86); or use --backend netns");
	if (access("/dev/net/tun", R_OK | W_OK))
		return vns_err_set(err, -errno, "cannot use /dev/net/tun, which guests' taps need: "
				   "%s; or use --backend netns", strerror(errno));
	return 0;
}

static const char *onoff(bool off)
{
	return off ? "off" : "on";
}

static void put_card(struct args *a, const struct vns_lab *lab, const struct vns_lab_node *n,
		     const struct lab_plan *plan)
{
	unsigned int bits = plan->offload_bits[n - lab->guest];
	const char *csum = onoff(bits & LAB_NO_CSUM);
	const char *out = onoff(bits & LAB_NO_HOST_TSO), *in = onoff(bits & LAB_NO_GUEST_TSO);
	char queues[24] = "", mq[40] = "";

	if (lab->queues > 1) {
		snprintf(queues, sizeof(queues), ",queues=%u", lab->queues);
		/* an interrupt for each queue, one for changes of the configuration, one for control */
		snprintf(mq, sizeof(mq), ",mq=on,vectors=%u", 2 * lab->queues + 2);
	}
	arg(a, "-netdev");
	arg(a, "tap,id=n0,ifname=%s,script=no,downscript=no,vhost=%s%s", n->tap,
	    plan->vhost ? "on" : "off", queues);
	arg(a, "-device");
	arg(a, "virtio-net-pci,netdev=n0,mac=%s,romfile=,csum=%s,guest_csum=%s,host_tso4=%s,"
	    "host_tso6=%s,host_ecn=%s,host_ufo=%s,guest_tso4=%s,guest_tso6=%s,guest_ecn=%s,"
	    "guest_ufo=%s,mrg_rxbuf=%s%s", n->mac, csum, csum, out, out, out, out, in, in, in, in,
	    onoff(bits & LAB_NO_MRG), mq);
}

static void put_channels(struct args *a, const struct vns_lab *lab, const struct vns_lab_node *n)
{
	char path[VNS_LAB_PATH_LEN], quoted[2 * VNS_LAB_PATH_LEN];

	arg(a, "-serial");
	arg(a, "file:%s", vns_lab_path(lab, n->name, "serial", path));
	arg(a, "-qmp");
	arg(a, "unix:%s,server=on,wait=off",
	    quote(vns_lab_path(lab, n->name, "qmp", path), quoted));
	arg(a, "-device");
	arg(a, "virtio-serial-pci");
	arg(a, "-chardev");
	arg(a, "socket,id=c0,path=%s,server=on,wait=off",
	    quote(vns_lab_path(lab, n->name, "ctl", path), quoted));
	arg(a, "-device");
	arg(a, "virtserialport,chardev=c0,name=ctl");
	arg(a, "-object");
	arg(a, "memory-backend-file,id=sm,size=%u,share=on,prealloc=on,mem-path=%s", VNS_LAB_SHM_BYTES,
	    quote(vns_lab_shm_path(lab, n->name, path), quoted));
	arg(a, "-device");
	arg(a, "ivshmem-plain,memdev=sm,master=on"); /* else a guest cannot be saved or migrated */
}

static void put_machine(struct args *a, const struct vns_lab *lab, const struct vns_lab_node *n,
			const struct lab_plan *plan)
{
	arg(a, "%s", plan->qemu);
	arg(a, "-name");
	arg(a, "%s,debug-threads=on", n->name);
	arg(a, "-M");
	arg(a, "q35");
	arg(a, "-accel");
	arg(a, "%s", plan->kvm ? "kvm" : "tcg,tb-size=64");
	arg(a, "-cpu");
	arg(a, "%s", plan->kvm ? "host" : "max");
	arg(a, "-smp");
	arg(a, "%u", lab->vcpus);
	arg(a, "-m");
	arg(a, "%u", lab->memory_mb);
	arg(a, "-nodefaults");
	arg(a, "-no-user-config");
	arg(a, "-no-reboot");
	arg(a, "-display");
	arg(a, "none");
	arg(a, "-kernel");
	arg(a, "%s", plan->kernel);
	arg(a, "-initrd");
	arg(a, "%s", plan->initrd);
}

static void build_args(struct args *a, const struct vns_lab *lab, const struct vns_lab_node *n,
		       const struct lab_plan *plan)
{
	put_machine(a, lab, n, plan);
	arg(a, "-append");
	/* no_timer_check: the kernel's test of the timer interrupt panics ("IO-APIC + timer doesn't
	 * work") when an emulated guest gets too little of a busy host's CPU */
	arg(a, "console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on cryptomgr.notests "
	    "vns.ip=%s/24 vns.ip6=%s/64 vns.gw=" LAB_NET4 "%d vns.host=%s vns.port=ctl "
	    "vns.neigh=" LAB_NET4 "%d/" LAB_HOST_MAC " vns.neigh=%s/%s "
	    "vns.neigh=" LAB_NET6 "%d/" LAB_HOST_MAC " vns.neigh=%s/%s", n->ip,
	    n->ip6, LAB_HOST_NUMBER, n->name, LAB_HOST_NUMBER, lab->client.ip, lab->client.mac,
	    LAB_HOST_NUMBER, lab->client.ip6, lab->client.mac);
	put_card(a, lab, n, plan);
	put_channels(a, lab, n);
	a->v[a->n] = NULL;
}

static void qemu_child(const struct vns_lab *lab, const char *node, char **argv, pid_t parent)
{
	char path[VNS_LAB_PATH_LEN];
	int log;

	lab_child_setup(parent);
	log = open(vns_lab_path(lab, node, "log", path), O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (log >= 0) {
		dup2(log, 1);
		dup2(log, 2);
	}
	close_range(3, ~0u, 0);
	execv(argv[0], argv);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t lab_qemu_start(const struct vns_lab *lab, const struct vns_lab_node *node,
		     const struct lab_plan *plan, struct vns_err *err)
{
	pid_t parent = getpid(), pid = -1;
	struct args a = { 0 };

	build_args(&a, lab, node, plan);
	if (!a.failed)
		pid = fork();
	if (pid == 0)
		qemu_child(lab, node->name, a.v, parent);
	if (pid < 0)
		pid = vns_err_set(err, -ENOMEM, "cannot start QEMU for %s", node->name);
	free_args(&a);
	return pid;
}
