// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * TCP bulk to one peer, as fast as it goes or at a rate; the far end is VNS_LOAD_UDP_SINK
 * (which takes TCP too) or anything that reads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "probe/probe.h"

#define CHUNK_MAX (128u << 10)
#define CHUNK_DEFAULT (64u << 10)
#define PACED_CHUNK (16u << 10) /* small enough that a paced stream is no train of bursts */
#define RETRY_NS (200 * VNS_NSEC_PER_MSEC)

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

int vns_probe_tcp_stream(const struct vns_probe_run *run, struct vns_err *err)
{
	const struct vns_load_spec *s = run->spec;
	size_t chunk = s->size ? s->size : s->rate_bps ? PACED_CHUNK : CHUNK_DEFAULT;
	struct vns_probe_pace pace;
	uint8_t *buf;
	ssize_t n;
	int fd = -1;

	if (chunk > CHUNK_MAX)
		chunk = CHUNK_MAX;
	buf = malloc(chunk);
	if (!buf)
		return vns_err_set(err, -ENOMEM, "out of memory");
	vns_probe_fill(buf, chunk, run->index + 1);
	vns_probe_pace_init(&pace, s->rate_bps ? (double)chunk * 8e9 / (double)s->rate_bps : 0.0);
	while (!vns_probe_over(run)) {
		if (fd < 0 && (fd = stream_connect(s)) < 0) {
			run->live->errors++;
			vns_sleep_ns(RETRY_NS);
			continue;
		}
		vns_probe_pace_wait(&pace);
		n = send(fd, buf, chunk, MSG_NOSIGNAL);
		if (n > 0) {
			run->live->bytes_tx += (uint64_t)n;
			run->live->ops++;
		} else if (errno != EAGAIN && errno != EINTR) {
			run->live->errors++;
			close(fd);
			fd = -1;
		}
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return 0;
}
