// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * ICMP echo to one peer at a rate (RFC 792, RFC 4443), or each as soon as the last was
 * answered. Every payload is its own, so that the echo can be found at two capture points.
 * Replies are matched by sequence number; those later than 1024 requests are not counted.
 */
#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe/probe.h"

#define SLOTS 1024u
#define MAX_SIZE 65000u
#define HEADER 8u
#define LOST_NS VNS_NSEC_PER_SEC
#define DEFAULT_SIZE 56u

struct ping {
	int fd;
	bool v4, raw;
	uint16_t id, seq;
	uint8_t *out, *in;
	size_t size;
	int64_t sent_ns[SLOTS]; /* 0: answered */
	bool waiting;           /* the last request has no reply yet */
};

/* RFC 1071 */
static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	if (n & 1)
		sum += (uint32_t)p[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static int open_socket(struct ping *p, const struct vns_load_spec *s, struct vns_err *err)
{
	struct icmp_filter f4 = { .data = ~(1u << ICMP_ECHOREPLY) };
	struct sockaddr_storage sa;
	socklen_t len = vns_probe_sockaddr(&s->peer, 0, &sa);
	int proto = p->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	p->raw = true;
	p->fd = socket(sa.ss_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, proto);
	if (p->fd < 0) {
		p->raw = false; /* net.ipv4.ping_group_range may allow these */
		p->fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, proto);
	}
	if (p->fd < 0)
		return vns_err_set(err, -errno, "no ICMP socket: %s", strerror(errno));
	if (p->raw && p->v4)
		setsockopt(p->fd, SOL_RAW, ICMP_FILTER, &f4, sizeof(f4));
	if (connect(p->fd, (struct sockaddr *)&sa, len) < 0)
		return vns_err_set(err, -errno, "no route to the peer: %s", strerror(errno));
	return 0;
}

static void send_one(struct ping *p, uint64_t count, struct vns_probe_live *live)
{
	size_t n = HEADER + p->size;
	uint16_t sum;

	p->seq++;
	memset(p->out, 0, HEADER);
	p->out[0] = p->v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
	p->out[4] = (uint8_t)(p->id >> 8);
	p->out[5] = (uint8_t)p->id;
	p->out[6] = (uint8_t)(p->seq >> 8);
	p->out[7] = (uint8_t)p->seq;
	memcpy(p->out + HEADER, &count, p->size < 8 ? p->size : 8);
	sum = p->v4 ? checksum(p->out, n) : 0; /* ICMPv6: by the kernel */
	p->out[2] = (uint8_t)(sum >> 8);
	p->out[3] = (uint8_t)sum;
	if (p->sent_ns[p->seq % SLOTS])
		live->errors++; /* the request 1024 before was never answered */
	p->sent_ns[p->seq % SLOTS] = vns_monotonic_ns();
	if (send(p->fd, p->out, n, MSG_NOSIGNAL) < 0) {
		live->errors++;
		p->sent_ns[p->seq % SLOTS] = 0;
		return;
	}
	p->waiting = true;
	live->bytes_tx += n;
}

static void take_reply(struct ping *p, size_t n, int64_t now, struct vns_probe_live *live)
{
	const uint8_t *d = p->in;
	size_t skip = p->raw && p->v4 && n ? (size_t)(d[0] & 15) * 4 : 0;
	uint16_t id, seq;

	if (n < skip + HEADER)
		return;
	d += skip;
	id = (uint16_t)(d[4] << 8 | d[5]);
	seq = (uint16_t)(d[6] << 8 | d[7]);
	if (d[0] != (p->v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY) || (p->raw && id != p->id) ||
	    !p->sent_ns[seq % SLOTS] || (uint16_t)(p->seq - seq) >= SLOTS)
		return;
	vns_probe_rtt_add(&live->rtt, now - p->sent_ns[seq % SLOTS]);
	p->sent_ns[seq % SLOTS] = 0;
	live->ops++;
	live->bytes_rx += n - skip;
	if (seq == p->seq)
		p->waiting = false;
}

/* Take replies until @until_ns; without a rate also until the last request is answered. */
static void receive(struct ping *p, int64_t until_ns, bool until_answered,
		    struct vns_probe_live *live)
{
	struct pollfd pf = { .fd = p->fd, .events = POLLIN };
	struct timespec ts;
	int64_t left;
	ssize_t n;

	while ((left = until_ns - vns_monotonic_ns()) > 0 && !(until_answered && !p->waiting)) {
		ts = (struct timespec){ left / VNS_NSEC_PER_SEC, left % VNS_NSEC_PER_SEC };
		if (ppoll(&pf, 1, &ts, NULL) <= 0)
			continue;
		n = recv(p->fd, p->in, MAX_SIZE, 0);
		if (n > 0)
			take_reply(p, (size_t)n, vns_monotonic_ns(), live);
	}
}

static void ping_loop(struct ping *p, const struct vns_probe_run *run)
{
	double rate = run->spec->rate_hz;
	int64_t step = rate > 0 ? (int64_t)(1e9 / rate) : 0, next = vns_monotonic_ns();
	uint64_t count = (uint64_t)run->index << 48;

	while (!vns_probe_over(run)) {
		send_one(p, ++count, run->live);
		if (step) {
			next += step;
			if (next < vns_monotonic_ns() - VNS_NSEC_PER_SEC)
				next = vns_monotonic_ns();
			receive(p, next, false, run->live);
		} else {
			receive(p, vns_monotonic_ns() + LOST_NS, true, run->live);
		}
	}
}

int vns_probe_ping(const struct vns_probe_run *run, struct vns_err *err)
{
	struct ping *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return vns_err_set(err, -ENOMEM, "out of memory");
	p->size = run->spec->size ? run->spec->size : DEFAULT_SIZE;
	p->v4 = vns_addr_is_v4(&run->spec->peer);
	p->id = (uint16_t)((unsigned int)getpid() ^ (unsigned int)vns_monotonic_ns());
	p->out = p->size <= MAX_SIZE ? malloc(HEADER + p->size) : NULL;
	p->in = malloc(MAX_SIZE);
	if (!p->out || !p->in) {
		r = vns_err_set(err, -EINVAL, "a ping has at most %u bytes", MAX_SIZE);
		p->fd = -1;
	} else {
		r = open_socket(p, run->spec, err);
	}
	if (r == 0) {
		vns_probe_fill(p->out + HEADER, p->size, run->index + 1);
		ping_loop(p, run);
	}
	if (p->fd >= 0)
		close(p->fd);
	free(p->out);
	free(p->in);
	free(p);
	return r;
}
