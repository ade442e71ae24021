// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination: capture privileges, BPF and type information.
 * in: sockets and programs that are really opened and loaded; out: checks of group "capture".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "measure/doctor.h"
#include "source/ebpf.h"

static void examine_packet_socket(struct vns_doctor *d)
{
	int version = TPACKET_V3, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		vns_doctor_add(d, "capture", "packet_socket", VNS_DOCTOR_NO, VNS_DOCTOR_FOR_LIVE,
			       "packet socket: %s; live capture needs root or CAP_NET_RAW",
			       strerror(errno));
		return;
	}
	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)))
		vns_doctor_add(d, "capture", "packet_socket", VNS_DOCTOR_NO, VNS_DOCTOR_FOR_LIVE,
			       "a packet socket opens, but has no TPACKET_V3 ring: %s",
			       strerror(errno));
	else
		vns_doctor_add(d, "capture", "packet_socket", VNS_DOCTOR_YES, 0,
			       "a packet socket with TPACKET_V3 opens; time stamps in ns");
	close(fd);
}

static void examine_ping_socket(struct vns_doctor *d)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int ping = fd < 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP) : -1;

	if (fd < 0 && ping < 0)
		vns_doctor_add(d, "capture", "icmp_socket", VNS_DOCTOR_NO, 0,
			       "ICMP socket: %s; drift --mode exchange cannot probe",
			       strerror(errno));
	else
		vns_doctor_add(d, "capture", "icmp_socket", VNS_DOCTOR_YES, 0, "%s ICMP socket opens",
			       fd >= 0 ? "a raw" : "an unprivileged");
	if (fd >= 0)
		close(fd);
	if (ping >= 0)
		close(ping);
}

/* Loads "return 0" as a tracing-capable program type; it is attached to nothing and freed. */
static void examine_bpf(struct vns_doctor *d)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = { 0 };
	long fd;

	attr.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT;
	attr.insns = (uint64_t)(uintptr_t)code;
	attr.insn_cnt = 2;
	attr.license = (uint64_t)(uintptr_t)"Dual BSD/GPL";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		vns_doctor_add(d, "capture", "bpf", VNS_DOCTOR_NO, 0,
			       "loading a raw tracepoint program: %s%s", strerror(errno),
			       errno == EPERM ? "; it needs root or CAP_BPF and CAP_PERFMON" : "");
	else
		vns_doctor_add(d, "capture", "bpf", VNS_DOCTOR_YES, 0,
			       "a raw tracepoint program loads");
	if (fd >= 0)
		close((int)fd);
}

static void examine_ebpf_capture(struct vns_doctor *d)
{
	struct vns_err err = { "" };

	if (vns_source_try_ebpf(&err))
		vns_doctor_add(d, "capture", "ebpf_capture", VNS_DOCTOR_NO, 0,
			       "%.400s", err.text);
	else
		vns_doctor_add(d, "capture", "ebpf_capture", VNS_DOCTOR_YES, 0,
			       "--capture ebpf: the kernel takes the programs");
}

static void examine_btf(struct vns_doctor *d)
{
	static const char path[] = "/sys/kernel/btf/vmlinux";
	struct stat st;

	if (stat(path, &st))
		vns_doctor_add(d, "capture", "btf", VNS_DOCTOR_NO, 0, "%s: %s", path,
			       strerror(errno));
	else
		vns_doctor_add(d, "capture", "btf", VNS_DOCTOR_YES, 0, "%s, %lld bytes", path,
			       (long long)st.st_size);
}

void vns_doctor_capture(struct vns_doctor *d)
{
	examine_packet_socket(d);
	examine_ping_socket(d);
	examine_bpf(d);
	examine_ebpf_capture(d);
	examine_btf(d);
}
