// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Hop by hop through one pcapng file of several capture points (uplink, bridge, tap, and the guest when
 * it was merged in), and a guest's file behind them.
 *
 * Each hop is an offline measurement of its own between two neighbours, so that what is true of
 * one is true of all: complete accounting, clocks taken to be one only where the traffic allows
 * it. Between points of one host the clock is the same, and each hop's figures need no relation.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/note.h"
#include "measure/vo_offline.h"

#define SAME_STAMPS 10 /* so many zeros are no chance */
#define POINTS_MAX (VNS_VO_MAX_HOPS + 1)

struct hops {
	const struct vns_vo_offline_opts *opts;
	char name[POINTS_MAX][32];  /* as shown */
	char which[POINTS_MAX][40]; /* as asked for: name or number */
	size_t n;                   /* points of the host's file */
	bool guest;                 /* one more, in a file of its own */
};

static void add_point(struct hops *h, const char *name, unsigned int number)
{
	snprintf(h->which[h->n], sizeof(h->which[0]), "%u", number);
	if (*name)
		snprintf(h->name[h->n], sizeof(h->name[0]), "%.31s", name);
	else
		snprintf(h->name[h->n], sizeof(h->name[0]), "point %u", number);
	h->n++;
}

/* Every point of the file that has packets among its first ones. */
static int all_points(struct hops *h, const struct vns_source *s, const bool *seen, struct vns_err *err)
{
	for (uint16_t i = 0; i < VO_POINTS_MAX; i++) {
		if (!seen[i])
			continue;
		if (h->n + h->guest == POINTS_MAX)
			return vns_err_set(err, -E2BIG, "%s holds more than %d capture points with packets: "
					   "name those to compare with --points", h->opts->host_file,
					   POINTS_MAX - h->guest);
		add_point(h, vns_source_point_name(s, i), i);
	}
	return 0;
}

static bool has_point(const struct hops *h, unsigned int number)
{
	for (size_t i = 0; i < h->n; i++)
		if (strtoul(h->which[i], NULL, 10) == number)
			return true;
	return false;
}

static int named_points(struct hops *h, const struct vns_source *s, const char *const *point, size_t n,
			struct vns_err *err)
{
	if (n + h->guest > POINTS_MAX)
		return vns_err_set(err, -E2BIG, "at most %d points can be compared", POINTS_MAX);
	for (size_t i = 0; i < n; i++) {
		int number = vo_point_find(s, point[i]);
		char all[300] = "";
		const char *name;

		if (number >= 0 && has_point(h, (unsigned int)number)) {
			name = vns_source_point_name(s, (uint16_t)number);
			return vns_err_set(err, -EEXIST, "capture point %d%s%.31s%s is named twice; a point "
					   "cannot be compared with itself", number, *name ? " '" : "", name,
					   *name ? "'" : "");
		}
		if (number >= 0) {
			add_point(h, vns_source_point_name(s, (uint16_t)number), (unsigned int)number);
			continue;
		}
		for (uint16_t k = 0; (name = vns_source_point_name(s, k)) != NULL; k++) {
			size_t used = strlen(all);

			snprintf(all + used, sizeof(all) - used, "%s%u%s%.31s", used ? ", " : "", k,
				 *name ? " " : "", name);
		}
		return vns_err_set(err, -ENOENT, "%s has no capture point '%.40s'; there are: %s",
				   h->opts->host_file, point[i], all);
	}
	return 0;
}

/* Interfaces are described before their packets: read on a little. */
static int find_points(struct hops *h, const char *const *point, size_t n_point, struct vns_err *err)
{
	struct vns_packet pkt[128];
	bool seen[VO_POINTS_MAX] = { false };
	struct vns_source *s;
	size_t read = 0;
	int n, code;

	if (vo_read_once(h->opts->host_file))
		return vns_err_set(err, -ESPIPE, "%s is read once for each hop, so it must be a regular file",
				   h->opts->host_file);
	code = vns_source_open_file(&s, h->opts->host_file, NULL, err);
	if (code)
		return code;
	while (read < VO_PROBE && (n = vns_source_next(s, pkt, 128, err)) != VNS_SOURCE_EOF) {
		if (n < 0) {
			vns_source_close(s);
			return n;
		}
		for (int i = 0; i < n; i++)
			if (pkt[i].point < VO_POINTS_MAX && pkt[i].verdict == VNS_PKT_OK)
				seen[pkt[i].point] = true;
		read += (size_t)n;
	}
	code = n_point ? named_points(h, s, point, n_point, err) : all_points(h, s, seen, err);
	vns_source_close(s);
	if (!code && n_point && h->n + h->guest < 2)
		return vns_err_set(err, -EEXIST, "--points names only one capture point, %s: name another one, or "
				   "give a --guest file to compare it with", h->name[0]);
	if (!code && h->n + h->guest < 2)
		code = vns_err_set(err, -EINVAL, "%s holds one capture point: give a --guest file to compare "
				   "it with (mergecap -I none keeps the points of several files apart)",
				   h->opts->host_file);
	return code;
}

/* From point @a to point @b; @b == h->n is the guest's file. */
static int measure(const struct hops *h, size_t a, size_t b, struct vo_relation *relation,
		   struct vns_vo_result *out, struct vns_err *err)
{
	struct vns_vo_offline_opts o = *h->opts;
	bool last = b + 1 == h->n + h->guest;

	o.host_point = h->which[a];
	if (b < h->n) {
		o.guest_file = o.host_file;
		o.guest_point = h->which[b];
	}
	if (!last) {
		o.have_offset = false;
		o.drift_file = NULL;
	}
	return vo_offline_measure(&o, last && h->guest ? relation : NULL, out, err);
}

#define note(t, ...) note_add((t)->note, sizeof((t)->note), __VA_ARGS__)

/*
 * The kernel stamps a packet that it receives once: captured on an interface and again on the bridge
 * above it, it has the same time twice.
 */
static void note_same_stamps(struct vns_vo_target *t, const struct vns_vo_hop *hop)
{
	static const char *const way[] = { "towards the guest", "from the guest" };

	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		uint64_t n = 0;
		bool zero = true;

		for (int p = 0; p < VNS_PROTOS; p++) {
			n += hop->fig[d][p].first.n;
			zero = zero && !hop->fig[d][p].first.max && !hop->fig[d][p].first.min;
		}
		if (n >= SAME_STAMPS && zero)
			note(t, "%s and %s hold the same time stamps %s: the kernel stamps a received packet once, "
			     "so this stretch is not measured.", hop->from, hop->to, way[d]);
	}
}

/* A hop's measurement becomes a row of @t; its distributions change hands. */
static void take_hop(const struct hops *h, size_t i, struct vns_vo_target *t,
		     struct vns_vo_target *from)
{
	struct vns_vo_hop *hop = &t->hop[t->n_hop++];

	snprintf(hop->from, sizeof(hop->from), "%s", h->name[i]);
	snprintf(hop->to, sizeof(hop->to), "%s", i + 1 < h->n ? h->name[i + 1] : "guest");
	/* A file of its own may be of another machine: one clock is assumed then. */
	hop->clock_free = from->clock_mode == VNS_CLOCK_SAME && i + 1 < h->n;
	memcpy(hop->fig, from->fig, sizeof(hop->fig));
	memcpy(hop->counts, from->counts, sizeof(hop->counts));
	memset(from->fig, 0, sizeof(from->fig));
	if (from->clock_mode == VNS_CLOCK_TRAFFIC && !vns_clock_mode_shares_path(t->clock_mode))
		note(t, "The clocks of %s and %s differ.", hop->from, hop->to);
	note_same_stamps(t, hop);
}

int vns_measure_vo_hops(const struct vns_vo_offline_opts *opts, const char *const *point,
			size_t n_point, struct vns_vo_result *out, struct vns_err *err)
{
	struct hops *h = calloc(1, sizeof(*h));
	struct vns_vo_result last = { 0 };
	struct vo_relation relation = { 0 };
	size_t end;
	int code;

	*out = (struct vns_vo_result){ 0 };
	if (!h)
		return vns_err_set(err, -ENOMEM, "out of memory");
	h->opts = opts;
	h->guest = opts->guest_file != NULL;
	code = find_points(h, point, n_point, err);
	end = h->n + h->guest - 1;
	/* The shortest way to the guest bounds its clock best: the whole way takes the relation from there. */
	if (!code && h->guest && end > 1)
		code = measure(h, end - 1, end, &relation, &last, err);
	if (!code)
		code = measure(h, 0, end, &relation, out, err);
	if (!code) {
		snprintf(out->target->from_point, sizeof(out->target->from_point), "%.31s", h->name[0]);
		note(out->target, "The main figures are those from %s to %s.", h->name[0],
		     h->guest ? "the guest's file" : h->name[end]);
	}
	for (size_t i = 0; i < end && !code && !out->interrupted; i++) {
		struct vns_vo_result hop = { 0 };

		if (i + 1 == end && last.target) {
			hop = last;
			last = (struct vns_vo_result){ 0 };
		} else {
			code = measure(h, i, i + 1, &relation, &hop, err);
		}
		if (code)
			break;
		take_hop(h, i, out->target, hop.target);
		out->interrupted = hop.interrupted;
		vns_vo_result_free(&hop);
	}
	vns_clock_free(relation.clock);
	vns_vo_result_free(&last);
	if (code)
		vns_vo_result_free(out);
	free(h);
	return code;
}
