// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Readings of both ends' counters and clocks, and KVM's numbers -> exchanges; see tsc.h.
 *
 * Theory. The guest's clock showed C while its counter was between g0 and g1. By KVM's map (Linux,
 * arch/x86/kvm/x86.c: kvm_scale_tsc, and debugfs.c, which shows the numbers per vCPU) the host's
 * counter was then between x0 and x1. The host's clock was read around the whole request: A before, B
 * after. Between the two it grew from A to B; at a rate that is within 500 ppm of the counter's nominal one
 * at every instant, it strays from the chord A-B by no more than 1000 ppm of the way to
 * the nearer end. So it was at least T1 at x0 and at most T4 at x1, and T1..T4 with T2 = T3 = C is an
 * exchange as any other: what is certain stays certain, and steps and drift are the engine's.
 * A guest that writes its counter, a reset or a migration changes the numbers: they are read before and
 * after each request, and a request in whose course they changed is dropped. While a vCPU runs a guest of
 * its guest, KVM shows that one's offset: such readings fit no map, or the numbers changed. A reading that no
 * map puts between A and B was made under other numbers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure/tsc.h"

#define BURST        32      /* readings of one request */
#define CHORD_STRAY  1000e-6 /* of the way to the nearer end; twice the model's 500 ppm */
#define STAMP_NS     2      /* a clock is cut to whole ns, the scaled counter to whole ticks */

static int read_number(const char *path, bool is_signed, uint64_t *out)
{
	char text[64], *end;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return n < 0 ? -errno : -EINVAL;
	text[n] = '\0';
	errno = 0;
	*out = is_signed ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
	return end == text || errno ? -EINVAL : 0;
}

static int cannot(int code, const char *path, struct vns_err *err)
{
	if (code == -EPERM)
		return vns_err_set(err, code, "%s cannot be read: the kernel is locked down (lockdown=), or "
				   "debugfs is off", path);
	if (code == -EACCES)
		return vns_err_set(err, code, "%s cannot be read: run as root", path);
	return vns_err_set(err, code, "%s cannot be read: %s", path, strerror(-code));
}

/* One vCPU's numbers. Without the scaling files the host cannot scale: 1. */
static int read_vcpu(const char *dir, struct vns_tsc_map *m, struct vns_err *err)
{
	char path[600];
	uint64_t bits = 0;
	int code;

	snprintf(path, sizeof(path), "%.560s/tsc-offset", dir);
	code = read_number(path, true, &m->offset);
	if (code == -ENOENT)
		return vns_err_set(err, -EOPNOTSUPP, "%s is not there: this kernel's KVM does not show the "
				   "guest's counter (on arm64 none does)", path);
	if (code)
		return cannot(code, path, err);
	m->ratio = 1;
	m->frac_bits = 0;
	snprintf(path, sizeof(path), "%.560s/tsc-scaling-ratio", dir);
	code = read_number(path, false, &m->ratio);
	if (code == -ENOENT)
		return 0;
	if (!code) {
		snprintf(path, sizeof(path), "%.560s/tsc-scaling-ratio-frac-bits", dir);
		code = read_number(path, false, &bits);
	}
	if (!code && (m->ratio == 0 || bits > 63))
		code = -EINVAL;
	m->frac_bits = (unsigned int)bits;
	return code ? cannot(code, path, err) : 0;
}

static void keep(struct vns_tsc_maps *maps, const struct vns_tsc_map *m)
{
	for (size_t i = 0; i < maps->n; i++)
		if (maps->map[i].ratio == m->ratio && maps->map[i].frac_bits == m->frac_bits &&
		    maps->map[i].offset == m->offset)
			return;
	if (maps->n < VNS_TSC_MAX_VCPU)
		maps->map[maps->n++] = *m;
}

/* Every vcpuN below the VM's folder. */
static int read_vm(const char *dir, struct vns_tsc_maps *out, struct vns_err *err)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int code = 0;

	if (!d)
		return cannot(-errno, dir, err);
	while (!code && (e = readdir(d))) {
		struct vns_tsc_map m = { 0 };
		char path[560];

		if (strncmp(e->d_name, "vcpu", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "%.280s/%.255s", dir, e->d_name);
		code = read_vcpu(path, &m, err);
		if (!code)
			keep(out, &m);
	}
	closedir(d);
	if (!code && out->n == 0)
		return vns_err_set(err, -EOPNOTSUPP, "%s shows no vCPU", dir);
	return code;
}

int vns_tsc_maps_read(const char *debugfs, int pid, struct vns_tsc_maps *out, struct vns_err *err)
{
	char prefix[32], path[280];
	struct dirent *e;
	int code = -ENOENT;
	DIR *d;

	out->n = 0;
	if (pid <= 0)
		return vns_err_set(err, -ENOENT, "the process of the virtual machine is not known");
	d = opendir(debugfs);
	if (!d && errno == ENOENT)
		return vns_err_set(err, -ENOENT, "%s is not there: KVM is not loaded, or debugfs is not "
				   "mounted (mount -t debugfs none /sys/kernel/debug)", debugfs);
	if (!d)
		return cannot(-errno, debugfs, err);
	snprintf(prefix, sizeof(prefix), "%d-", pid); /* PID-FD */
	while (code == -ENOENT && (e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%.100s/%.160s", debugfs, e->d_name);
		code = read_vm(path, out, err);
		break;
	}
	closedir(d);
	if (code == -ENOENT && !out->n)
		return vns_err_set(err, code, "%s shows no virtual machine of process %d: it does not run "
				   "under KVM, or has just ended", debugfs, pid);
	return code;
}

static bool same_maps(const struct vns_tsc_maps *a, const struct vns_tsc_maps *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		bool found = false;

		for (size_t k = 0; k < b->n; k++)
			found |= a->map[i].offset == b->map[k].offset &&
				 a->map[i].ratio == b->map[k].ratio &&
				 a->map[i].frac_bits == b->map[k].frac_bits;
		if (!found)
			return false;
	}
	return true;
}

int vns_tsc_begin(struct vns_tsc *t, struct vns_err *err)
{
	t->changes = t->refused = 0;
	return vns_tsc_maps_read(t->debugfs, t->pid, &t->maps, err);
}

/*
 * The host's counter when the guest's showed @guest, near @near: as far from it as the guest's
 * counter then was from what it showed at @near.
 */
static double host_counter(const struct vns_tsc_map *m, uint64_t guest, uint64_t near)
{
	uint64_t then = (uint64_t)((unsigned __int128)near * m->ratio >> m->frac_bits) + m->offset;
	int64_t ticks = (int64_t)(guest - then);

	return (double)((long double)ticks * ldexpl(1, (int)m->frac_bits) / (long double)m->ratio);
}

/* A's and B's clock over the counter, relative to A. */
struct chord {
	uint64_t base;        /* A's counter, before its clock */
	int64_t clock_ns;     /* A's clock */
	double a[2], b[2];    /* counters around A and B */
	double elapsed_ns;
};

/*
 * The host's clock at counter @x at least (@side -1) or at most (+1). The chord lies through the
 * bracket ends that make it so.
 */
static double clock_at(const struct chord *c, double x, int side)
{
	double a = side < 0 ? c->a[1] : c->a[0], b = side < 0 ? c->b[1] : c->b[0];
	double rate = c->elapsed_ns / (b - a), left = x - a, right = b - x;
	double stray = CHORD_STRAY * rate * fmax(0, fmin(left, right));

	return rate * left + side * (stray + STAMP_NS);
}

/* One reading by every map that puts it between A and B. Return: false when none does. */
static bool place(const struct vns_tsc_maps *maps, const struct chord *c,
		  const struct vns_tsc_reading *r, struct vns_exchange *out)
{
	double first = INFINITY, last = -INFINITY;

	for (size_t i = 0; i < maps->n; i++) {
		double x0 = host_counter(&maps->map[i], r->before, c->base);
		double x1 = host_counter(&maps->map[i], r->after, c->base);

		if (x0 < c->a[0] || x1 > c->b[1] || x1 < x0)
			continue;
		first = fmin(first, clock_at(c, x0, -1));
		last = fmax(last, clock_at(c, x1, 1));
	}
	if (first > last)
		return false;
	*out = (struct vns_exchange){ .t1_ns = c->clock_ns + (int64_t)floor(first),
				      .t2_ns = r->clock_ns, .t3_ns = r->clock_ns,
				      .t4_ns = c->clock_ns + (int64_t)ceil(last) };
	return true;
}

static bool make_chord(const struct vns_tsc_reading *a, const struct vns_tsc_reading *b,
		       struct chord *c)
{
	*c = (struct chord){ .base = a->before, .clock_ns = a->clock_ns,
			     .a = { 0, (double)(a->after - a->before) },
			     .b = { (double)(b->before - a->before), (double)(b->after - a->before) },
			     .elapsed_ns = (double)(b->clock_ns - a->clock_ns) };
	return c->b[0] > c->a[1] && c->elapsed_ns > 0; /* else the host's own clock stepped */
}

int vns_tsc_exchange(struct vns_tsc *t, struct vns_exchange *out, size_t n, struct vns_err *err)
{
	struct vns_tsc_reading a, b, r[BURST];
	struct vns_tsc_maps after;
	struct chord c;
	int got, code, kept = 0;

	t->ops.host(t->ops.ctx, &a);
	got = t->ops.guest(t->ops.ctx, r, n < BURST ? n : BURST, err);
	if (got < 0)
		return got;
	t->ops.host(t->ops.ctx, &b);
	code = vns_tsc_maps_read(t->debugfs, t->pid, &after, err);
	if (code)
		return code;
	if (!same_maps(&t->maps, &after)) {
		t->maps = after;
		t->changes++;
		return 0;
	}
	if (!make_chord(&a, &b, &c))
		return 0;
	for (int i = 0; i < got; i++) {
		if (place(&t->maps, &c, &r[i], &out[kept]))
			kept++;
		else
			t->refused++;
	}
	return kept;
}
