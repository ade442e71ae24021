// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Request/response clients: send @size bytes, wait for as many, note the time between as the
 * application saw it. The far end is any echo (RFC 862), such as VNS_LOAD_ECHO_SERVER.
 * A far end that is away is tried again, and counted: a measurement outlives a reboot.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "probe/probe.h"

#define MAX_TCP_SIZE  (1u << 20)
#define MAX_UDP_SIZE  65000u
/* A reply later than that counts as lost (UDP) or as a dead connection (TCP). */
#define REPLY_TIMEOUT_US 1000000

static double rr_interval(const struct vns_load_spec *s)
{
	return s->rate_hz > 0 ? 1e9 / s->rate_hz : 0.0;
}

/* Connected socket with time-outs, or -errno. */
static int connect_to(const struct vns_load_spec *s, int type)
{
	struct timeval tv = { .tv_sec = REPLY_TIMEOUT_US / 1000000 };
	struct sockaddr_storage sa;
	socklen_t len = vns_probe_sockaddr(&s->peer, s->port, &sa);
	int one = 1, fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0), e;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	e = errno;
	close(fd);
	return -e;
}

static int connect_tcp(const struct vns_load_spec *s)
{
	return connect_to(s, SOCK_STREAM);
}

/* One request and the whole response. Return: 0, or -errno (the connection is then unusable). */
static int tcp_once(int fd, uint8_t *buf, size_t size, struct vns_probe_live *live)
{
	size_t sent = 0, got = 0;
	ssize_t n;

	while (got < size) {
		/* big requests: read while writing, or both ends stand with full windows */
		if (sent < size) {
			n = send(fd, buf + sent, size - sent,
				 MSG_NOSIGNAL | (sent > got ? MSG_DONTWAIT : 0));
			if (n < 0 && errno != EAGAIN && errno != EINTR)
				return -errno;
			if (n > 0) {
				sent += (size_t)n;
				live->bytes_tx += (uint64_t)n;
			}
		}
		n = recv(fd, buf + got, sent - got, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			got += (size_t)n;
			live->bytes_rx += (uint64_t)n;
		}
	}
	return 0;
}

static bool tcp_request(const struct vns_probe_run *run, int fd, uint8_t *buf, size_t size)
{
	int64_t t = vns_monotonic_ns();

	if (tcp_once(fd, buf, size, run->live))
		return false;
	vns_probe_rtt_add(&run->live->rtt, vns_monotonic_ns() - t);
	run->live->ops++;
	return true;
}

int vns_probe_tcp_rr(const struct vns_probe_run *run, struct vns_err *err)
{
	size_t size = run->spec->size ? run->spec->size : 1;

	if (size > MAX_TCP_SIZE)
		return vns_err_set(err, -EINVAL, "a TCP request has at most %u bytes", MAX_TCP_SIZE);
	return vns_probe_tcp(run, size, rr_interval(run->spec), connect_tcp, tcp_request, err);
}

/* Await the datagram that begins with @buf's mark. Return: true when it came in time. */
static bool udp_reply(int fd, const uint8_t *mark, size_t n_mark, uint8_t *in,
		      struct vns_probe_live *live, int64_t until)
{
	ssize_t n;

	do {
		n = recv(fd, in, MAX_UDP_SIZE, 0);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			live->bytes_rx += (uint64_t)n;
		if (n >= (ssize_t)n_mark && memcmp(in, mark, n_mark) == 0)
			return true;
	} while (vns_monotonic_ns() < until);
	return false;
}

static void udp_loop(const struct vns_probe_run *run, int fd, uint8_t *buf, uint8_t *in,
		     size_t size)
{
	size_t n_mark = size < 8 ? size : 8;
	struct vns_probe_pace pace;
	uint64_t seq = (uint64_t)run->index << 48;
	int64_t t;

	vns_probe_pace_init(&pace, rr_interval(run->spec));
	while (!vns_probe_over(run)) {
		seq++;
		memcpy(buf, &seq, n_mark); /* every payload its own: told apart at two points */
		vns_probe_pace_wait(&pace);
		t = vns_monotonic_ns();
		if (send(fd, buf, size, MSG_NOSIGNAL) < 0) {
			run->live->errors++;
			vns_sleep_ns(VNS_PROBE_RETRY_NS);
			continue;
		}
		run->live->bytes_tx += size;
		if (udp_reply(fd, buf, n_mark, in, run->live,
			      t + REPLY_TIMEOUT_US * VNS_NSEC_PER_USEC)) {
			vns_probe_rtt_add(&run->live->rtt, vns_monotonic_ns() - t);
			run->live->ops++;
		} else {
			run->live->errors++;
			if (vns_monotonic_ns() - t < VNS_PROBE_RETRY_NS) /* refused: do not spin */
				vns_sleep_ns(VNS_PROBE_RETRY_NS);
		}
	}
}

int vns_probe_udp_rr(const struct vns_probe_run *run, struct vns_err *err)
{
	size_t size = run->spec->size ? run->spec->size : 1;
	uint8_t *buf, *in;
	int fd;

	if (size > MAX_UDP_SIZE)
		return vns_err_set(err, -EINVAL, "a UDP request has at most %u bytes", MAX_UDP_SIZE);
	fd = connect_to(run->spec, SOCK_DGRAM);
	if (fd < 0)
		return vns_err_set(err, fd, "no UDP socket to the peer: %s", strerror(-fd));
	buf = malloc(size);
	in = malloc(MAX_UDP_SIZE);
	if (buf && in) {
		vns_probe_fill(buf, size, run->index + 1);
		udp_loop(run, fd, buf, in, size);
	}
	close(fd);
	free(buf);
	free(in);
	return 0;
}
