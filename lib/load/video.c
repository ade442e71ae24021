// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Video load: a constant stream of RTP packets (RFC 3550 header, payload type 33 MPEG-TS,
 * 7 x 188 bytes as streaming servers send them) at 1,450 kbit/s unless told otherwise.
 * A 64-bit counter behind the header makes every payload its own.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "load/load.h"

#define DEFAULT_BPS  1450000u
#define DEFAULT_SIZE 1316u
#define RTP_HEADER   12u
#define MIN_SIZE     8u
#define MAX_SIZE     8960u
#define RTP_CLOCK_HZ 90000

static void put_be(uint8_t *to, uint64_t v, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		to[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static void rtp_header(uint8_t *p, uint64_t count, int64_t since_ns, uint32_t source)
{
	p[0] = 0x80;
	p[1] = 33;
	put_be(p + 2, count, 2);
	put_be(p + 4, (uint64_t)(since_ns / 1000 * RTP_CLOCK_HZ / 1000000), 4);
	put_be(p + 8, source, 4);
	put_be(p + RTP_HEADER, count, 8);
}

int vns_load_video(const struct vns_probe_run *run, struct vns_err *err)
{
	const struct vns_load_spec *s = run->spec;
	uint64_t bps = s->rate_bps ? s->rate_bps : DEFAULT_BPS, count = 0;
	size_t size = s->size ? s->size : DEFAULT_SIZE;
	uint8_t buf[RTP_HEADER + MAX_SIZE];
	struct sockaddr_storage sa;
	socklen_t len = vns_probe_sockaddr(&s->peer, s->port, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct vns_probe_pace pace;
	int64_t start = vns_monotonic_ns();

	if (fd < 0)
		return vns_err_set(err, -errno, "no UDP socket: %s", strerror(errno));
	if (size < MIN_SIZE || size > MAX_SIZE) {
		close(fd);
		return vns_err_set(err, -EINVAL, "video packets have %u to %u bytes", MIN_SIZE,
				   MAX_SIZE);
	}
	vns_probe_fill(buf, sizeof(buf), (uint64_t)start ^ run->index);
	vns_probe_pace_init(&pace, (double)size * 8e9 / (double)bps);
	while (!vns_probe_over(run)) {
		vns_probe_pace_wait(&pace);
		rtp_header(buf, ++count, vns_monotonic_ns() - start, (uint32_t)getpid());
		/* unconnected: a receiver that is away must not turn sends into errors */
		if (sendto(fd, buf, RTP_HEADER + size, MSG_NOSIGNAL, (struct sockaddr *)&sa,
			   len) < 0) {
			run->live->errors++;
		} else {
			run->live->ops++;
			run->live->bytes_tx += RTP_HEADER + size;
		}
	}
	close(fd);
	return 0;
}
