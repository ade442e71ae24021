// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Subjects -> the host interfaces to capture on, each opened once, with a filter that
 * leaves everything but the subjects' own IP packets to the kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "measure/vo_points.h"
#include "source/live.h"

/*
 * A ring's blocks are retired every 10 ms however empty they are, so 8 MiB, on two processors 4 MiB for
 * each, hold 0.6 s of a quiet interface, and 0.16 s of 250,000 packets a second: too little while a busy host
 * keeps us waiting. Where many points have to share the memory, rings are smaller, and the result says so.
 */
#define RING_BYTES  (32u << 20)
#define RINGS_BYTES (256ull << 20) /* of all together: so much at least, */
#define RINGS_SHARE 16             /* or this part of the machine's memory */
#define RING_LEAST  (8u << 20)

/* Append to a bounded string. Return: false when it does not fit. */
static bool append(char *to, size_t size, const char *text)
{
	size_t have = strlen(to), more = strlen(text);

	if (have + more >= size)
		return false;
	memcpy(to + have, text, more + 1);
	return true;
}

static bool append_hosts(const struct vns_subject *s, bool *first, char *to, size_t size)
{
	char text[VNS_ADDR_STRLEN];
	bool fits = true;

	for (size_t i = 0; i < s->n_guest && fits; i++) {
		bool v4 = vns_addr_is_v4(&s->guest[i]);

		fits = append(to, size, *first ? "" : " or ") &&
		       append(to, size, v4 ? "ip host " : "ip6 host ") &&
		       append(to, size, vns_addr_format(&s->guest[i], text));
		*first = false;
	}
	return fits;
}

int vns_vo_filter(const struct vns_subject *const *subjects, size_t n, bool any, const char *user,
		  char *to, size_t size, struct vns_err *err)
{
	bool first = !any, fits;

	to[0] = '\0';
	fits = append(to, size, any ? "(ip or ip6" : "(");
	for (size_t i = 0; i < n && fits && !any; i++)
		fits = append_hosts(subjects[i], &first, to, size);
	if (first)
		return vns_err_set(err, -EADDRNOTAVAIL, "%s has no IP address to capture by",
				   subjects[0]->name);
	fits = fits && append(to, size, ")");
	if (user && *user)
		fits = fits && append(to, size, " and (") && append(to, size, user) &&
		       append(to, size, ")");
	for (size_t i = 0; i < n && fits; i++) {
		const char *ex = subjects[i]->exclude_filter;

		if (ex && *ex)
			fits = append(to, size, " and not (") && append(to, size, ex) &&
			       append(to, size, ")");
	}
	return fits ? 0 : vns_err_set(err, -E2BIG, "the capture filter for these targets is too long");
}

static ino_t namespace_of(int fd)
{
	struct stat st;

	if (fd > 0)
		return fstat(fd, &st) ? 0 : st.st_ino;
	return stat("/proc/thread-self/ns/net", &st) ? 0 : st.st_ino;
}

static size_t find_point(struct vns_vo_points *p, const char *ifname, ino_t ns)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->point[i].netns_ino == ns && strcmp(p->point[i].ifname, ifname) == 0)
			return i;
	return p->n;
}

/* List each interface once. */
static int collect(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n,
		   struct vns_err *err)
{
	for (size_t i = 0; i < n; i++) {
		ino_t ns = namespace_of(subjects[i].host_netns_fd);

		for (size_t k = 0; k < subjects[i].n_point; k++) {
			const char *ifname = subjects[i].point[k].ifname;
			size_t at = find_point(p, ifname, ns);

			if (at == VNS_VO_MAX_POINTS)
				return vns_err_set(err, -E2BIG, "more than %d interfaces to capture on",
						   VNS_VO_MAX_POINTS);
			if (at == p->n) {
				snprintf(p->point[at].ifname, sizeof(p->point[at].ifname), "%s", ifname);
				p->point[at].netns_fd = subjects[i].host_netns_fd;
				p->point[at].netns_ino = ns;
				p->n++;
			}
			p->index[i][k] = at;
		}
	}
	return 0;
}

/* Where packets may bear other addresses than the subjects': outside the innermost point. */
static int find_nat(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n,
		    struct vns_err *err)
{
	for (size_t i = 0; i < n; i++) {
		int code = 0;

		p->nat[i] = p->nat_mode == VNS_NAT_ON;
		if (p->nat_mode == VNS_NAT_AUTO && subjects[i].n_point > 1)
			code = vns_vo_host_nat(subjects[i].host_netns_fd, &p->nat[i], err);
		if (code)
			return code;
		for (size_t k = 0; p->nat[i] && k + 1 < subjects[i].n_point; k++)
			p->point[p->index[i][k]].nat = true;
	}
	return 0;
}

/* The taps that one guest alone is plugged into: what comes from there is its own whatever address it bears. */
static void find_own(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t inner = subjects[i].n_point - 1, users = 0;

		for (size_t k = 0; k < n; k++)
			for (size_t j = 0; j < subjects[k].n_point; j++)
				users += p->index[k][j] == p->index[i][inner];
		p->point[p->index[i][inner]].own = users == 1 && subjects[i].point[inner].kind == VNS_AT_TAP;
	}
}

/* The subjects whose packets pass point @at. */
static size_t users_of(const struct vns_vo_points *p, size_t at, const struct vns_subject *subjects,
		       size_t n, const struct vns_subject **out)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < subjects[i].n_point; k++) {
			if (p->index[i][k] == at) {
				out[m++] = &subjects[i];
				break;
			}
		}
	}
	return m;
}

uint32_t vns_vo_ring_bytes(size_t points, uint64_t memory_bytes)
{
	uint64_t all = memory_bytes / RINGS_SHARE > RINGS_BYTES ? memory_bytes / RINGS_SHARE : RINGS_BYTES;
	uint64_t share = all / points;

	if (share > RING_BYTES)
		return RING_BYTES;
	return share < RING_LEAST ? RING_LEAST : (uint32_t)share;
}

static uint64_t memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

bool vns_vo_rings_are_small(const struct vns_vo_points *p, uint32_t *bytes)
{
	*bytes = p->n ? vns_vo_ring_bytes(p->n, memory_bytes()) : RING_BYTES;
	return *bytes < RING_BYTES;
}

int vns_vo_point_open(struct vns_vo_points *p, size_t at, struct vns_err *err)
{
	const struct vns_subject *users[VNS_VO_MAX_SUBJECTS];
	char expr[4096];
	const struct vns_source_opts opts = { .snaplen = p->snaplen, .timeout_ms = -1, .filter = expr,
					      .capture = p->capture,
					      .ring_bytes = vns_vo_ring_bytes(p->n, memory_bytes()),
					      .fanout = VNS_FANOUT_CPU,
					      .netns_fd = p->point[at].netns_fd };
	int code = vns_vo_filter(users, users_of(p, at, p->subjects, p->n_subject, users),
				 p->point[at].nat || p->point[at].own, p->filter, expr, sizeof(expr), err);

	return code ? code : vns_source_open_live(&p->point[at].source, p->point[at].ifname, &opts, err);
}

int vns_vo_points_open(struct vns_vo_points *p, const struct vns_subject *subjects, size_t n,
		       const struct vns_vo_live_opts *opts, struct vns_err *err)
{
	int code;

	memset(p, 0, sizeof(*p));
	p->subjects = subjects;
	p->n_subject = n;
	p->filter = opts->filter;
	p->snaplen = opts->snaplen;
	p->capture = opts->capture;
	p->nat_mode = opts->nat;
	for (size_t at = 0; at < VNS_VO_MAX_POINTS; at++)
		p->point[at].watch_fd = -1;
	code = collect(p, subjects, n, err);
	if (!code)
		code = find_nat(p, subjects, n, err);
	if (!code)
		find_own(p, subjects, n);
	for (size_t at = 0; at < p->n && !code; at++)
		code = vns_vo_point_open(p, at, err);
	if (!code)
		code = vns_vo_watch_open(p, err);
	if (code)
		vns_vo_points_close(p);
	return code;
}

void vns_vo_points_close(struct vns_vo_points *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->point[i].source)
			vns_source_close(p->point[i].source);
		if (p->point[i].watch_fd >= 0)
			close(p->point[i].watch_fd);
	}
	p->n = 0;
}

static uint64_t dropped(const struct vns_vo_point *p)
{
	struct vns_source_stats st = { 0 };

	if (p->source)
		vns_source_stats(p->source, &st);
	return st.dropped + p->lost_before;
}

void vns_vo_points_count(struct vns_vo_points *p, bool begin)
{
	for (size_t i = 0; i < p->n; i++) {
		struct vns_vo_point *point = &p->point[i];

		if (begin)
			point->lost = point->drops_seen = dropped(point);
		else
			point->lost = dropped(point) - point->lost;
	}
}

uint64_t vns_vo_point_drops(struct vns_vo_point *p)
{
	uint64_t before = p->drops_seen;

	p->drops_seen = dropped(p);
	return p->drops_seen - before;
}
