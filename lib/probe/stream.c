// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * TCP bulk to one peer, as fast as it goes or at a rate; the far end is VNS_LOAD_UDP_SINK
 * (which takes TCP too) or anything that reads.
 */
#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

#include "probe/probe.h"

#define CHUNK_MAX (128u << 10)
#define CHUNK_DEFAULT (64u << 10)
#define PACED_CHUNK (16u << 10) /* small enough that a paced stream is no train of bursts */

static int stream_connect(const struct vns_load_spec *s)
{
	struct timeval tv = { .tv_sec = 1 };
	struct sockaddr_storage sa;
	socklen_t len = vns_probe_sockaddr(&s->peer, s->port, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* send() comes back every second, so that the end is seen */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	close(fd);
	return -ECONNREFUSED;
}

static bool send_chunk(const struct vns_probe_run *run, int fd, uint8_t *buf, size_t size)
{
	ssize_t n = send(fd, buf, size, MSG_NOSIGNAL);

	if (n <= 0)
		return errno == EAGAIN || errno == EINTR;
	run->live->bytes_tx += (uint64_t)n;
	run->live->ops++;
	return true;
}

int vns_probe_tcp_stream(const struct vns_probe_run *run, struct vns_err *err)
{
	const struct vns_load_spec *s = run->spec;
	size_t chunk = s->size ? s->size : s->rate_bps ? PACED_CHUNK : CHUNK_DEFAULT;

	if (chunk > CHUNK_MAX)
		chunk = CHUNK_MAX;
	return vns_probe_tcp(run, chunk, s->rate_bps ? (double)chunk * 8e9 / (double)s->rate_bps : 0.0,
			     stream_connect, send_chunk, err);
}
