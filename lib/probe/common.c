// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What the active tests share: RTT summary of fixed size, pacing, addresses, payload, TCP connections.
 * The summary is not lib/stat's: it must live in memory shared between two processes,
 * so it has no pointers, and the agent stays small.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe/probe.h"

static unsigned int bucket_of(int64_t ns)
{
	uint64_t v = ns > 0 ? (uint64_t)ns : 0;
	unsigned int e, i;

	if (v < 64)
		return (unsigned int)v;
	e = 63 - (unsigned int)__builtin_clzll(v);
	i = (e - 5) * 64 + (unsigned int)((v >> (e - 6)) & 63);
	return i < VNS_PROBE_BUCKETS ? i : VNS_PROBE_BUCKETS - 1;
}

static int64_t bucket_middle(unsigned int i)
{
	unsigned int e = i / 64 + 5;
	int64_t width;

	if (i < 64)
		return i;
	width = INT64_C(1) << (e - 6);
	return (64 + (int64_t)(i % 64)) * width + width / 2;
}

void vns_probe_rtt_add(struct vns_probe_rtt *r, int64_t ns)
{
	double d = (double)ns - r->mean_ns;

	if (!r->n || ns < r->min_ns)
		r->min_ns = ns;
	if (!r->n || ns > r->max_ns)
		r->max_ns = ns;
	r->n++;
	r->mean_ns += d / (double)r->n;
	r->m2 += d * ((double)ns - r->mean_ns);
	r->bucket[bucket_of(ns)]++;
}

/* Chan, Golub, LeVeque 1979: means and squared deviations of two parts. */
void vns_probe_rtt_merge(struct vns_probe_rtt *into, const struct vns_probe_rtt *from)
{
	double n = (double)(into->n + from->n), d = from->mean_ns - into->mean_ns;

	if (!from->n)
		return;
	if (!into->n || from->min_ns < into->min_ns)
		into->min_ns = from->min_ns;
	if (!into->n || from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	into->m2 += from->m2 + d * d * (double)into->n * (double)from->n / n;
	into->mean_ns += d * (double)from->n / n;
	into->n += from->n;
	for (unsigned int i = 0; i < VNS_PROBE_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

double vns_probe_rtt_stddev(const struct vns_probe_rtt *r)
{
	return r->n > 1 ? sqrt(r->m2 / (double)(r->n - 1)) : 0.0;
}

int64_t vns_probe_rtt_quantile(const struct vns_probe_rtt *r, double q)
{
	uint64_t rank = (uint64_t)ceil(q * (double)r->n), seen = 0;
	int64_t v;

	for (unsigned int i = 0; i < VNS_PROBE_BUCKETS; i++) {
		seen += r->bucket[i];
		if (seen < rank || !r->bucket[i])
			continue;
		v = bucket_middle(i);
		return v < r->min_ns ? r->min_ns : v > r->max_ns ? r->max_ns : v;
	}
	return r->max_ns;
}

bool vns_probe_over(const struct vns_probe_run *run)
{
	if (run->begun)
		*run->begun = true;
	return (run->stop && *run->stop) ||
	       (run->end_ns && vns_monotonic_ns() >= run->end_ns);
}

socklen_t vns_probe_sockaddr(const struct vns_addr *a, uint16_t port,
			     struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (vns_addr_is_v4(a)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->b + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->b, 16);
	return sizeof(*in6);
}

/* xorshift64* (Vigna 2016): fast, and no block of it repeats. */
void vns_probe_fill(uint8_t *to, size_t n, uint64_t seed)
{
	uint64_t x = seed | 1, v;

	for (size_t i = 0; i < n; i += 8) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		v = x * UINT64_C(0x2545f4914f6cdd1d);
		memcpy(to + i, &v, n - i < 8 ? n - i : 8);
	}
}

void vns_probe_pace_init(struct vns_probe_pace *p, double interval_ns)
{
	*p = (struct vns_probe_pace){ .next_ns = vns_monotonic_ns(),
				      .interval_ns = interval_ns };
}

void vns_probe_pace_wait(struct vns_probe_pace *p)
{
	int64_t now;

	if (p->interval_ns <= 0)
		return;
	now = vns_monotonic_ns();
	if (now < p->next_ns)
		vns_sleep_ns(p->next_ns - now);
	else if (now - p->next_ns > VNS_NSEC_PER_SEC)
		p->next_ns = now;
	p->fraction += p->interval_ns;
	p->next_ns += (int64_t)p->fraction;
	p->fraction -= (double)(int64_t)p->fraction;
}

int vns_probe_tcp(const struct vns_probe_run *run, size_t size, double interval_ns,
		  int (*connect)(const struct vns_load_spec *spec),
		  bool (*once)(const struct vns_probe_run *run, int fd, uint8_t *buf, size_t size),
		  struct vns_err *err)
{
	struct vns_probe_pace pace;
	uint8_t *buf = malloc(size);
	int fd = -1;

	if (!buf)
		return vns_err_set(err, -ENOMEM, "out of memory");
	vns_probe_fill(buf, size, run->index + 1);
	vns_probe_pace_init(&pace, interval_ns);
	while (!vns_probe_over(run)) {
		if (fd < 0 && (fd = connect(run->spec)) < 0) {
			run->live->errors++;
			vns_sleep_ns(VNS_PROBE_RETRY_NS);
			continue;
		}
		vns_probe_pace_wait(&pace);
		if (once(run, fd, buf, size))
			continue;
		run->live->errors++;
		close(fd);
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	free(buf);
	return 0;
}
