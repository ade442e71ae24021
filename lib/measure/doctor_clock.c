// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination: clocks, and how finely this machine can time anything.
 *
 * in: the kernel's clock state (read only), and three short measurements:
 *  - the cost of reading CLOCK_REALTIME, in batches of reads that follow each other;
 *  - how late a sleep of 1 ms ends: what scheduling adds to every software probe;
 *  - UDP datagrams over loopback with SO_TIMESTAMPNS: from the call to the kernel's stamp,
 *    and from the stamp to the reader. One host's whole stack is crossed, no wire: no
 *    exchange over a network path on this machine can be narrower.
 * out: checks of group "clock", distributions, and the precision to expect per clock mode.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "measure/doctor.h"

#define READ_BATCHES   200
#define READS_A_BATCH  100
#define SLEEPS         200
#define SLEEP_NS       VNS_NSEC_PER_MSEC
#define DATAGRAMS      2000
#define DATAGRAM_BYTES 64
#define RECEIVE_MS     200
/* Published figures of lab guests (doc: origin sentences), half of a round trip, ns. */
#define SHM_HALF_TRIP_NS     350
#define CHANNEL_HALF_TRIP_NS 55000

static void examine_source(struct vns_doctor *d)
{
	static const char base[] = "/sys/devices/system/clocksource/clocksource0/";
	char path[128], current[64], available[128];

	snprintf(path, sizeof(path), "%scurrent_clocksource", base);
	vns_doctor_read(path, current, sizeof(current));
	snprintf(path, sizeof(path), "%savailable_clocksource", base);
	vns_doctor_read(path, available, sizeof(available));
	for (size_t n = strlen(available); n && available[n - 1] == ' '; n--)
		available[n - 1] = '\0'; /* the kernel ends the list with one */
	if (strcmp(current, "tsc") == 0 || strcmp(current, "kvm-clock") == 0 ||
	    strcmp(current, "arch_sys_counter") == 0)
		vns_doctor_add(d, "clock", "clocksource", VNS_DOCTOR_YES, 0, "%s (of: %s)", current,
			       available);
	else
		vns_doctor_add(d, "clock", "clocksource", VNS_DOCTOR_PARTLY, 0,
			       "%s (of: %s): reading it costs more than a TSC", current, available);
}

/* Reads the discipline (modes = 0 sets nothing). */
static void examine_discipline(struct vns_doctor *d)
{
	struct timex t = { .modes = 0 };
	double ppm, left_us;
	int state = adjtimex(&t);

	if (state < 0) {
		vns_doctor_add(d, "clock", "discipline", VNS_DOCTOR_INFO, 0, "adjtimex: %s",
			       strerror(errno));
		return;
	}
	ppm = (double)t.freq / 65536.0;
	left_us = (double)t.offset / (t.status & STA_NANO ? 1000.0 : 1.0);
	if (left_us != 0.0)
		vns_doctor_add(d, "clock", "discipline", VNS_DOCTOR_PARTLY, 0,
			       "the clock is being slewed: %+.1f us to go, frequency %+.3f ppm; drift "
			       "figures contain it", left_us, ppm);
	else
		vns_doctor_add(d, "clock", "discipline", VNS_DOCTOR_INFO, 0,
			       "not being slewed; frequency %+.3f ppm; %s", ppm,
			       t.status & STA_UNSYNC ? "not synchronised" : "synchronised");
}

static void examine_ptp(struct vns_doctor *d)
{
	glob_t g;
	char path[128], name[64], all[160] = "";

	if (glob("/sys/class/ptp/ptp*", 0, NULL, &g) == 0) {
		for (size_t k = 0; k < g.gl_pathc; k++) {
			size_t used = strlen(all);

			snprintf(path, sizeof(path), "%s/clock_name", g.gl_pathv[k]);
			vns_doctor_read(path, name, sizeof(name));
			snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "", name);
		}
		globfree(&g);
	}
	vns_doctor_add(d, "clock", "ptp_devices", *all ? VNS_DOCTOR_YES : VNS_DOCTOR_INFO, 0, "%s",
		       *all ? all : "none on this machine (mode ptp_kvm needs one in the guest)");
}

/* KVM shows guests' TSC offsets under debugfs when it is mounted and readable. */
static void examine_tsc_offset(struct vns_doctor *d)
{
	glob_t g;
	int found = glob("/sys/kernel/debug/kvm/*/vcpu*/tsc-offset", 0, NULL, &g);

	vns_doctor_add(d, "clock", "tsc_offset", found ? VNS_DOCTOR_INFO : VNS_DOCTOR_YES, 0, "%s",
		       found ? "no running KVM guest shows its TSC offset in debugfs" :
			       "running KVM guests show their TSC offsets in debugfs");
	if (!found)
		globfree(&g);
}

void vns_doctor_clock(struct vns_doctor *d)
{
	examine_source(d);
	examine_discipline(d);
	examine_ptp(d);
	examine_tsc_offset(d);
}

static void measure_clock_read(struct vns_doctor *d)
{
	struct timespec ts;

	for (int b = 0; b < READ_BATCHES; b++) {
		int64_t start = vns_monotonic_ns();

		for (int k = 0; k < READS_A_BATCH; k++)
			clock_gettime(CLOCK_REALTIME, &ts);
		vns_dist_add(&d->clock_read, (vns_monotonic_ns() - start) / READS_A_BATCH);
	}
}

static void measure_oversleep(struct vns_doctor *d)
{
	for (int k = 0; k < SLEEPS; k++) {
		int64_t start = vns_monotonic_ns();

		vns_sleep_ns(SLEEP_NS);
		vns_dist_add(&d->oversleep, vns_monotonic_ns() - start - SLEEP_NS);
	}
}

/* A UDP socket on a free port of loopback, connected to itself, with ns receive stamps. */
static int open_loop(void)
{
	struct sockaddr_in self = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_usec = RECEIVE_MS * 1000 };
	socklen_t len = sizeof(self);
	int on = 1, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&self, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&self, &len) == 0 &&
	    connect(fd, (struct sockaddr *)&self, len) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* One datagram to ourselves. Return: the kernel's receive stamp, 0 when there was none. */
static int64_t loop_once(int fd, int64_t *sent_ns, int64_t *read_ns)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
	char data[DATAGRAM_BYTES] = { 0 };
	struct iovec io = { .iov_base = data, .iov_len = sizeof(data) };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct timespec ts;

	*sent_ns = vns_now_ns();
	if (send(fd, data, sizeof(data), 0) < 0 || recvmsg(fd, &m, 0) < 0)
		return 0;
	*read_ns = vns_now_ns();
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&ts, CMSG_DATA(c), sizeof(ts));
		return (int64_t)ts.tv_sec * VNS_NSEC_PER_SEC + ts.tv_nsec;
	}
	return 0;
}

static void measure_stamps(struct vns_doctor *d)
{
	int fd = open_loop();

	for (int k = 0; fd >= 0 && k < DATAGRAMS; k++) {
		int64_t sent, got, stamp = loop_once(fd, &sent, &got);

		if (!stamp)
			break;
		vns_dist_add(&d->stamp, stamp - sent);
		vns_dist_add(&d->wakeup, got - stamp);
	}
	if (fd >= 0)
		close(fd);
}

void vns_doctor_noise(struct vns_doctor *d)
{
	measure_clock_read(d);
	measure_oversleep(d);
	measure_stamps(d);
	vns_doctor_add_precision(d, VNS_CLOCK_SAME, 0,
				 "one kernel, one clock (namespaces): offset 0 by construction");
	vns_doctor_add_precision(d, VNS_CLOCK_SHM, SHM_HALF_TRIP_NS,
				 "lab guests only; half of the 0.7 us round trip seen on TCG guests, "
				 "not measured here");
	vns_doctor_add_precision(d, VNS_CLOCK_PTP_KVM, -1,
				 "KVM guests with a ptp_kvm device; name a TARGET to have it measured");
	vns_doctor_add_precision(d, VNS_CLOCK_CHANNEL, CHANNEL_HALF_TRIP_NS,
				 "half of the 111 us round trip seen over virtio-serial on TCG guests, "
				 "not measured here; name a TARGET");
	if (d->stamp.n)
		vns_doctor_add_precision(d, VNS_CLOCK_EXCHANGE, (double)d->stamp.min,
					 "at least: fastest of %llu datagrams through this machine's "
					 "stack over loopback, measured now; a guest's path adds to it",
					 (unsigned long long)d->stamp.n);
	else
		vns_doctor_add_precision(d, VNS_CLOCK_EXCHANGE, -1,
					 "loopback datagrams carried no stamps: not measured");
}
