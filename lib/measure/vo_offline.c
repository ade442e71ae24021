// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * VO from two capture files: host's and guest's -> one target named "offline".
 *
 * The beginnings of both files tell the guest's addresses and the coarse offset of the clocks
 * (vo_end.c). Then both are read in step of time, packets go to the twin engine, samples to the
 * figures (vo_pipeline.c); nothing is kept but what the engine's window holds.
 *
 * The relation between the clocks is
 *   given    by --offset-ns or by a file that `drift --json` wrote; or, when neither is there,
 *   same     when the traffic allows an offset of 0: no packet arrives before it was sent, so
 *            max(g2h t_B - t_A) <= offset <= min(h2g t_B - t_A), and 0 lies between;
 *   traffic  when 0 contradicts the traffic, or a clock stepped: the middle of these bounds, as a function of
 *            time. Then the floors of both directions come out equal by construction, and the note
 *            says so. The bounds are known only after the last packet: the files are read again.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/source.h>

#include "base/reserve.h"
#include "measure/memory.h"
#include "measure/note.h"
#include "measure/vo_offline.h"
#include "measure/vo_steps.h"

/* --- reading both in step --- */

/* What the traffic says of the offset, as the tightest packet of each VO_CELL_NS of time. */
static int add_bound(struct vo_offline *r, const struct vns_vo_sample *s)
{
	bool upper = s->direction == VNS_HOST_TO_GUEST;
	int64_t cell = s->host_ns / VO_CELL_NS, v = s->raw_ns;
	struct vo_bound *last = r->n_bound ? &r->bound[r->n_bound - 1] : NULL;

	if (upper ? v < r->upper_ns : v > r->lower_ns)
		*(upper ? &r->upper_ns : &r->lower_ns) = v;
	/* Samples of the two directions come in turns: look at the last few cells. */
	for (size_t i = 0; i < 8 && i < r->n_bound; i++, last--) {
		if (last->upper != upper || last->at_ns / VO_CELL_NS != cell)
			continue;
		if (upper ? v < last->value_ns : v > last->value_ns)
			*last = (struct vo_bound){ s->host_ns, v, upper };
		return 0;
	}
	if (r->n_bound == r->cap_bound) {
		size_t cap = r->cap_bound ? 2 * r->cap_bound : 1024;
		struct vo_bound *more = realloc(r->bound, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->bound = more;
		r->cap_bound = cap;
	}
	r->bound[r->n_bound++] = (struct vo_bound){ s->host_ns, v, upper };
	return 0;
}

#define AHEAD 8 /* samples whose pairing slot is asked for before their turn */

static void tally_oldest(struct vo_offline *r, struct vo_ring *q)
{
	const struct vns_vo_sample *s = &q->s[q->head++ & (q->size - 1)];

	vns_vo_tally_expect(&r->tally, &q->s[(q->head + AHEAD - 1) & (q->size - 1)]);
	q->done_ns = s->host_ns;
	vns_vo_tally_pair(&r->tally, s);
	q->n--;
}

/* The earlier of both directions' oldest; which it is, is a coin toss: no branch. Return: false: not both have one. */
static bool tally_earlier(struct vo_offline *r)
{
	struct vo_ring *q = r->ring;

	if (!q[0].n || !q[1].n)
		return false;
	tally_oldest(r, &q[q[0].s[q[0].head & (q[0].size - 1)].host_ns >
			   q[1].s[q[1].head & (q[1].size - 1)].host_ns]);
	return true;
}

#define AT_ONCE 64 /* samples that leave a full ring: many at once cost less each */

/*
 * The engine gives each direction in order, but one direction after the other, a batch at a
 * time. Merge them, since the sum of both directions pairs replies with requests before them. A ring
 * that is full is emptied no farther than need be: the longer a sample waits, the less comes too late; and
 * the pairing thread waits meanwhile.
 */
static void make_room(struct vo_offline *r, struct vo_ring *q)
{
	while (q->n > q->size - AT_ONCE)
		if (!tally_earlier(r))
			tally_oldest(r, q);
}

static void merge_all(struct vo_offline *r)
{
	while (tally_earlier(r))
		;
	for (int d = 0; d < VNS_DIRECTIONS; d++)
		while (r->ring[d].n > 0)
			tally_oldest(r, &r->ring[d]);
}

#define RING_STEP 8 /* times: to fill memory anew costs more than to have too much of it for a while */

/* More room to wait in, since a sample came too late. Out of memory: it stays as it is. */
static void grow(struct vo_ring *q)
{
	size_t size = q->size * RING_STEP < VO_RING_MAX ? q->size * RING_STEP : VO_RING_MAX;
	struct vns_vo_sample *s = vns_reserve(size, sizeof(*s));

	q->grow = false;
	if (!s)
		return;
	for (size_t i = 0; i < q->n; i++)
		s[i] = q->s[(q->head + i) & (q->size - 1)];
	vns_unreserve(q->s);
	q->s = s;
	q->head = 0;
	q->size = size;
}

void vo_take_samples(struct vo_offline *r, const struct vns_vo_sample *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct vo_ring *q = &r->ring[s[i].direction];

		vns_vo_tally_figure(&r->tally, &s[i]); /* these need not wait */
		r->from_ns = s[i].host_ns < r->from_ns ? s[i].host_ns : r->from_ns;
		r->to_ns = s[i].host_ns > r->to_ns ? s[i].host_ns : r->to_ns;
		if (r->want_bounds && add_bound(r, &s[i]))
			r->failed = -ENOMEM;
		if (s[i].host_ns < r->ring[!s[i].direction].done_ns) {
			q->late++;
			r->ring[!s[i].direction].grow = true; /* that one should have waited */
		}
		if (q->n == q->size && q->grow && q->size < VO_RING_MAX)
			grow(q);
		if (q->n == q->size)
			make_room(r, q);
		q->s[(q->head + q->n++) & (q->size - 1)] = s[i];
	}
}

bool vo_unstep(struct vo_offline *r, struct vns_twin_sample *s)
{
	for (size_t i = 0; i < r->n_step; i++) {
		const struct vns_twin_step *x = &r->step[i];
		bool back = x->host_ns < x->since_ns;

		if (s->host_ns < (back ? x->host_ns : x->since_ns + 1))
			continue;
		/* In the step; or after it, and the offset that was given is that of before. */
		if (s->host_ns < (back ? x->since_ns : x->host_ns) || r->opts->have_offset) {
			r->unrelated++;
			return false;
		}
		s->first_raw_ns -= x->by_ns;
		s->last_raw_ns -= x->by_ns;
	}
	return true;
}

/*
 * Packets that may wait at each point under the memory limit. For one at both: entry and node of 64 bytes, slots of
 * the hash table at its fullest and while it doubles, places in queues. Beside them the figures, buffers of
 * each thread, and the mappings of addresses.
 */
static int pending_limit(struct vo_offline *r, struct vns_err *err)
{
	enum { EACH = 2 * (64 + 64 + 96), LEAST = 8192 };
	uint64_t limit = r->opts->max_memory, fixed = VNS_MEMORY_PROGRAM + (UINT64_C(30) << 20);

	if (limit == 0 || r->max_pending)
		return 0;
	fixed += ((r->nat ? UINT64_C(20) : 0) + 4 * (uint64_t)r->opts->threads) * (1 << 20);
	if (limit < fixed + LEAST * EACH)
		return vns_memory_too_small("--max-memory", limit, fixed + LEAST * EACH + (1 << 20), err);
	r->max_pending = (size_t)((limit - fixed) / EACH);
	return 0;
}

/* One reading of both files with the relation @clock. */
static int read_both(struct vo_offline *r, const struct vns_clock *clock, struct vns_vo_target *t,
		     struct vns_err *err)
{
	int code = pending_limit(r, err);
	const struct vns_twin_opts opts = {
		.max_pending = r->max_pending,
		.window_ns = r->opts->window_ns,
		.coarse_offset_ns = r->coarse_ns,
		.guest = r->guest,
		.n_guest = r->n_guest,
		.nat = r->nat,
		.nat_peers = r->nat_peers,
		.sampled = r->opts->sample_one_in > 1,
	};

	if (code)
		return code;
	if (vns_vo_tally_init(&r->tally, clock, t->fig, t->sum))
		return vo_out_of_memory(err);
	r->from_ns = INT64_MAX;
	r->to_ns = INT64_MIN;
	r->unrelated = 0;
	for (int d = 0; d < VNS_DIRECTIONS; d++) { /* a reading before this one says nothing of this one's order */
		r->ring[d].done_ns = INT64_MIN;
		r->ring[d].late = 0;
		r->ring[d].grow = false;
	}
	code = vo_pipeline(r, &opts, err);
	if (!code) {
		merge_all(r);
		for (int p = 0; p < 2; p++)
			vns_twin_get_counts(r->twin, p, &t->counts[p]);
		t->evicted = vns_twin_evicted(r->twin);
		t->n_nat = vns_twin_mappings(r->twin, t->nat);
		t->translated = vns_twin_translated(r->twin);
		t->unrelated = r->unrelated;
		vo_pairing_steps(r->found, vns_twin_steps(r->twin, r->found), t);
	}
	vns_vo_tally_fini(&r->tally);
	vns_twin_free(r->twin);
	r->twin = NULL;
	return code;
}

/* --- the relation between the clocks --- */

static int fixed_clock(struct vo_offline *r, enum vns_clock_mode mode, double offset_ns,
		       struct vns_clock **out)
{
	int code = vns_clock_new(out, mode);

	if (!code)
		code = vns_clock_set_fixed(*out, r->first_ns, offset_ns, 0, 0);
	return code ? code : vns_clock_solve(*out);
}

static int first_clock(struct vo_offline *r, struct vns_err *err)
{
	if (r->opts->drift_file)
		return vns_drift_file_read(r->opts->drift_file, &r->clock, err);
	if (r->opts->have_offset)
		return fixed_clock(r, VNS_CLOCK_GIVEN, (double)r->opts->offset_ns, &r->clock);
	if (r->relation && r->relation->clock) {
		r->clock = r->relation->clock;
		r->relation->clock = NULL;
		return 0;
	}
	if (r->relation && r->relation->known) {
		r->lower_ns = r->relation->lower_ns;
		r->upper_ns = r->relation->upper_ns;
	}
	r->want_bounds = true;
	return fixed_clock(r, VNS_CLOCK_SAME, 0, &r->clock);
}

/* For the next measurement; not across steps, of which each finds its own instants. */
static void keep_relation(struct vo_offline *r, const struct vns_vo_target *t)
{
	if (!r->relation || r->relation->known || t->n_event || r->opts->have_offset || r->opts->drift_file)
		return;
	*r->relation = (struct vo_relation){ .known = true, .lower_ns = r->lower_ns, .upper_ns = r->upper_ns };
	if (t->clock_mode != VNS_CLOCK_TRAFFIC)
		return;
	r->relation->clock = r->clock;
	r->clock = NULL;
}

/*
 * What cutting stamps to a file's resolution leaves open: a true t_B - t_A lies above
 * raw - cut[A] and below raw + cut[B]. Nanosecond stamps count as exact.
 */
static void read_resolution(struct vo_offline *r)
{
	for (int p = 0; p < 2; p++) {
		struct vns_source_stats st;

		vns_source_stats(r->end[p].source, &st);
		r->cut_ns[p] = st.resolution_ns > 1 ? (int64_t)st.resolution_ns : 0;
	}
	if (r->lower_ns != INT64_MIN)
		r->lower_ns -= r->cut_ns[VNS_POINT_A];
	if (r->upper_ns != INT64_MAX)
		r->upper_ns += r->cut_ns[VNS_POINT_B];
	for (size_t i = 0; i < r->n_bound; i++)
		r->bound[i].value_ns += r->bound[i].upper ? r->cut_ns[VNS_POINT_B] :
							    -r->cut_ns[VNS_POINT_A];
}

/* The figures' intervals hold the stamps' resolution too. */
static void widen_by_resolution(const struct vo_offline *r, struct vns_vo_target *t)
{
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		double minus = (double)r->cut_ns[d == VNS_HOST_TO_GUEST ? VNS_POINT_A : VNS_POINT_B];
		double plus = (double)r->cut_ns[d == VNS_HOST_TO_GUEST ? VNS_POINT_B : VNS_POINT_A];

		for (int p = 0; p < VNS_PROTOS; p++) {
			struct vns_vo_figure *f = &t->fig[d][p];

			f->err_minus_ns += minus;
			f->mean_err_minus_ns += minus;
			f->err_plus_ns += plus;
			f->mean_err_plus_ns += plus;
			f->floor_lower_ns -= minus;
			f->floor_upper_ns += plus;
		}
	}
}

/* 0 was assumed and fits: its interval is what the traffic leaves. */
static void bounds_to_figures(const struct vo_offline *r, struct vns_vo_target *t)
{
	double lower = r->lower_ns == INT64_MIN ? -INFINITY : fmin(0, (double)r->lower_ns);
	double upper = r->upper_ns == INT64_MAX ? INFINITY : fmax(0, (double)r->upper_ns);

	t->clock.lower_ns = t->clock.ci_lower_ns = lower;
	t->clock.upper_ns = t->clock.ci_upper_ns = upper;
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			struct vns_vo_figure *f = &t->fig[d][p];

			f->err_minus_ns = d == VNS_HOST_TO_GUEST ? upper : -lower;
			f->err_plus_ns = d == VNS_HOST_TO_GUEST ? -lower : upper;
			f->mean_err_minus_ns = f->err_minus_ns;
			f->floor_lower_ns = (double)f->first.min - f->err_minus_ns;
			f->floor_upper_ns = (double)f->first.min + f->err_plus_ns;
			f->mean_err_plus_ns = f->err_plus_ns;
		}
	}
}

/* Does an offset of 0 contradict the traffic (by more than the stamps' resolution)? */
static bool zero_fits(const struct vo_offline *r)
{
	return r->lower_ns <= VNS_VO_STAMP_NS && r->upper_ns >= -VNS_VO_STAMP_NS;
}

static int by_bound_time(const void *pa, const void *pb)
{
	const struct vo_bound *a = pa, *b = pb;

	return (a->at_ns > b->at_ns) - (a->at_ns < b->at_ns);
}

/* Addresses of the guest were given, and no packet of either file bears one. */
static bool given_is_absent(const struct vo_offline *r)
{
	return r->opts->n_guest && !r->end[0].has_given && !r->end[1].has_given;
}

/* The traffic bounds the clock from one side, and wrongly: is it the clock, or who the guest is? */
static int one_way_only(const struct vo_offline *r, struct vns_err *err)
{
	const char *host = r->end[0].path, *guest = r->end[1].path;
	char text[VNS_ADDR_STRLEN];

	if (given_is_absent(r))
		return vns_err_set(err, -ENODATA, "no packet of %s or %s is from or to %s%s: only multicast was paired, and "
				   "which end sent it cannot be told; --guest-addr wants an address that they hold", host,
				   guest, vns_addr_format(&r->opts->guest[0], text),
				   r->opts->n_guest > 1 ? " or another one given" : "");
	if (!r->n_guest || r->guest_assumed)
		return vns_err_set(err, -ENODATA, "what %s and %s have in common does not tell which address is the "
				   "guest's, and the clocks fit no guess: give --guest-addr, or let more traffic in", host,
				   guest);
	return vns_err_set(err, -ENODATA, "the clocks of %s and %s differ and the matched traffic goes one way only: "
			   "give --offset-ns or --drift-file", host, guest);
}

static int traffic_clock(struct vo_offline *r, struct vns_err *err)
{
	int code;

	if (r->lower_ns == INT64_MIN || r->upper_ns == INT64_MAX)
		return one_way_only(r, err);
	vns_clock_free(r->clock);
	r->clock = NULL;
	qsort(r->bound, r->n_bound, sizeof(*r->bound), by_bound_time);
	code = vns_clock_new(&r->clock, VNS_CLOCK_TRAFFIC);
	if (!code)
		vns_clock_set_wander(r->clock, fmax(0, r->opts->wander_ppm));
	for (size_t i = 0; i < r->n_bound && !code; i++)
		code = vns_clock_add_bound(r->clock, r->bound[i].at_ns, r->bound[i].value_ns,
					   r->bound[i].upper);
	if (!code)
		code = vns_clock_solve(r->clock);
	return code ? vns_err_set(err, code, "no clock relation follows from the traffic") : 0;
}

/* --- the result --- */

#define note(t, ...) note_add((t)->note, sizeof((t)->note), __VA_ARGS__)

#define COPY_PAIRS 8 /* that many equal pairs of stamps are no chance */
#define ONE_WAY 20 /* packets of the other direction that prove that a capture has one only */

/* Captures that do not hold what they should: directions missing, packets twice, or a choice. */
static void notes_of_points(const struct vo_offline *r, struct vns_vo_target *t)
{
	static const char *const at[] = { "host", "guest" };
	const char *doubt;

	for (int p = 0; p < 2; p++) {
		const uint64_t *here = t->counts[p].by_direction, *there = t->counts[!p].by_direction;

		t->doubled[p] = r->end[p].doubled;
		t->not_sampled[p] = r->end[p].not_sampled;
		if (t->doubled[p])
			note(t, "The %s's capture holds packets twice (bridge and tap together?): of "
				"each the first is taken, %llu copies are left out, and its figures mix "
				"two points.", at[p], (unsigned long long)t->doubled[p]);
		for (int d = 0; d < VNS_DIRECTIONS; d++)
			if (!here[d] && here[!d] >= ONE_WAY && there[d] >= ONE_WAY)
				note(t, "The %s's capture has no packet %s the guest: it saw one "
					"direction only (a sender that bypasses the qdisc, "
					"PACKET_QDISC_BYPASS, is invisible on its own machine).",
				     at[p], d == VNS_HOST_TO_GUEST ? "to" : "from");
	}
	t->sample_first = t->sample_last = r->opts->sample_one_in > 1 ? r->opts->sample_one_in : 1;
	doubt = t->sample_last > 1 ? vo_udp_doubt(&r->end[0].udp, &r->end[1].udp, t->counts) : NULL;
	if (doubt)
		note(t, "%s", doubt);
	if (t->sample_last > 1 && r->nat &&
	    (t->translated || t->counts[VNS_POINT_B].missing_by_proto[VNS_PROTO_TCP]))
		note(t, "Connections are sampled by their clients' ports: those of which NAT changes it are chosen "
			 "differently at each point, and may be missing or undecodable for that.");
}

/* A damaged file: its figures stand, and are not of everything. */
static void add_damage(struct vns_vo_target *t, const char *sentence)
{
	size_t have = strlen(t->ended_early);

	snprintf(t->ended_early + have, sizeof(t->ended_early) - have, "%s%s", have ? "; " : "", sentence);
}

/* A family of addresses is at both points, and none of them could be told to be the guest's. */
static void note_unlearnt(const struct vo_offline *r, struct vns_vo_target *t)
{
	for (int v6 = 0; v6 < 2 && r->n_guest; v6++)
		if (r->unlearnt[v6][0] && r->unlearnt[v6][1])
			note(t, "Which %s addresses are the guest's could not be told of all traffic: of the "
				"packets at the start, %llu at the host and %llu at the guest count as "
				"undecodable; give them too by --guest-addr.",
			     v6 ? "IPv6" : "IPv4", (unsigned long long)r->unlearnt[v6][0],
			     (unsigned long long)r->unlearnt[v6][1]);
}

/* Senders that speak after the beginnings only: at which end are they? */
static void note_strange(const struct vo_offline *r, struct vns_vo_target *t)
{
	if (r->end[0].strange || r->end[1].strange)
		note(t, "%llu multicast or broadcast packets at the host and %llu at the guest are of senders that the "
			"beginnings of the files do not have: whether they are the guest's is not known, and they are "
			"undecodable; give its other addresses by --guest-addr.",
		     (unsigned long long)r->end[0].strange, (unsigned long long)r->end[1].strange);
}

static void notes_of_files(struct vo_offline *r, struct vns_vo_target *t)
{
	static const char *const at[] = { "host", "guest" };
	char text[VNS_ADDR_STRLEN];

	for (int p = 0; p < 2; p++) {
		const struct vo_end *e = &r->end[p];
		struct vns_source_stats st;

		vns_source_stats(e->source, &st);
		t->capture_lost[p] = st.dropped;
		/* cut before its first packet: as of rtt, nothing of it can be read */
		if (st.damaged || (st.truncated && !st.frames && !st.filtered))
			add_damage(t, vns_source_sentence(e->source));
		else if (vns_source_sentence(e->source))
			note(t, "%s.", vns_source_sentence(e->source));
		if (st.verdicts[VNS_PKT_BAD_LINKTYPE])
			note(t, "%s: %llu frames have a link type that is not supported.", e->path,
			     (unsigned long long)st.verdicts[VNS_PKT_BAD_LINKTYPE]);
		if (e->one_point && !e->want)
			note(t, "%s holds several capture points: only the one with most packets (%u) is "
				"read, %llu packets of others are left out.", e->path, e->point,
			     (unsigned long long)e->left_out);
		t->stray[p] = e->stray;
		if (e->stray)
			note(t, "Of %s %llu %s a time more than %d s off those before and behind: not believed, and counted as "
				"undecodable.", e->path, (unsigned long long)e->stray,
			     e->stray == 1 ? "packet has" : "packets have", (int)(VO_STRAY_NS / VNS_NSEC_PER_SEC));
		if (st.backwards > e->stray)
			note(t, "%s is not in order of time (%llu step%s back).", e->path,
			     (unsigned long long)st.backwards, st.backwards == 1 ? "" : "s");
		if (t->counts[p].read == 0)
			note(t, "The %s's capture holds no packet%s.", at[p],
			     r->opts->filter ? " that the filter lets through" : "");
	}
	notes_of_points(r, t);
	if (r->end[0].digest_short != r->end[1].digest_short &&
	    t->counts[0].in_class[VNS_TWIN_AMBIGUOUS] + t->counts[1].in_class[VNS_TWIN_AMBIGUOUS])
		note(t, "The captures keep different lengths of each packet: datagrams cut shorter than "
			"%d payload bytes at one point only find no twin, and count as undecodable "
			"there and ambiguous at the other.", VNS_DIGEST_PAYLOAD_BYTES);
	if (r->guest_assumed)
		note(t, "%s is taken to be the guest's address from the sign of the time differences; "
			"--guest-addr makes it certain.", vns_addr_format(&r->guest[0], text));
	else if (!r->n_guest)
		note(t, "Which address is the guest's cannot be told from these captures; give "
			"--guest-addr.");
	note_unlearnt(r, t);
	note_strange(r, t);
}

/* Of most packets of a file the capture kept less than the headers that tell them apart. */
static bool note_cut_headers(const struct vo_offline *r, struct vns_vo_target *t)
{
	bool any = false;

	for (int p = 0; p < 2; p++) {
		struct vns_source_stats st;

		vns_source_stats(r->end[p].source, &st);
		if (2 * st.verdicts[VNS_PKT_CUT] <= st.frames)
			continue;
		any = true;
		note(t, "Nothing was paired, and in %s the headers of %llu of %llu packets are cut: capture more of each "
			"(tcpdump -s 128).", r->end[p].path, (unsigned long long)st.verdicts[VNS_PKT_CUT],
		     (unsigned long long)st.frames);
	}
	return any;
}

/*
 * A file not in an order that it could be paired in, or of an unknown link type (notes_of_files() says
 * so): not a question of what it holds.
 */
static bool note_unfit_file(const struct vo_offline *r, struct vns_vo_target *t)
{
	bool any = false;

	if (note_cut_headers(r, t))
		return true;
	for (int p = 0; p < 2; p++) {
		struct vns_source_stats st;

		vns_source_stats(r->end[p].source, &st);
		any |= st.verdicts[VNS_PKT_BAD_LINKTYPE] == t->counts[p].read || st.backwards > r->end[p].stray;
		if (st.backwards > r->end[p].stray)
			note(t, "Nothing was paired, and the time in %s goes back (captures put one after "
				"another, or one twice?): bring it in order of time first, with mergecap or "
				"reordercap.", r->end[p].path);
	}
	return any;
}

/* Nothing was paired: what to look at, since the captures alone do not say. */
static void note_nothing(const struct vo_offline *r, struct vns_vo_target *t)
{
	char text[VNS_ADDR_STRLEN];

	if (note_unfit_file(r, t))
		return;
	if (given_is_absent(r)) {
		note(t, "Nothing was paired, since no packet of either capture is from or to %s%s (--guest-addr).",
		     vns_addr_format(&r->opts->guest[0], text), r->opts->n_guest > 1 ? " or another one given" : "");
		return;
	}
	note(t, "No packet of one capture is in the other. Were both made at the same time, on the path of the "
		"same traffic?");
	if (r->n_guest)
		note(t, "If so: --guest-addr (%s%s taken for the guest's)%s%s.",
		     vns_addr_format(&r->guest[0], text), r->n_guest > 1 ? " and more are" : " is",
		     r->nat ? "" : ", --nat on where addresses are translated",
		     r->opts->have_offset || r->opts->drift_file ? ", another offset of the clocks" : "");
}

/* Every pair has equal stamps at both points. Fewer may have: stamps are of whole us in many files. */
static bool is_copy(const struct vns_vo_target *t)
{
	uint64_t pairs = 0;

	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			const struct vns_dist *first = &t->fig[d][p].first;

			if (first->min || first->max)
				return false;
			pairs += first->n;
		}
	}
	return pairs >= COPY_PAIRS && t->clock.offset_ns == 0 && t->clock.drift_ppm == 0;
}

/* Why the clock is bounded by the traffic; of 0, what its bound says. */
static const char *why_traffic(const struct vo_offline *r, const struct vns_vo_target *t)
{
	if (t->clock.lower_ns > 0 || t->clock.upper_ns < 0)
		return "0 contradicts the traffic";
	return r->n_step ? "a clock stepped" : "0 throughout contradicts the traffic";
}

static void notes_of_clock(const struct vo_offline *r, struct vns_vo_target *t)
{
	bool any = t->counts[0].in_class[VNS_TWIN_MATCHED] + t->counts[1].in_class[VNS_TWIN_MATCHED] > 0;

	if (!any && t->counts[0].read && t->counts[1].read)
		note_nothing(r, t);
	if (is_copy(t))
		note(t, "Both captures hold the same stamps: a copy? Then these latencies show nothing.");
	if (any && given_is_absent(r))
		note(t, "No packet of either capture is from or to an address that was given (--guest-addr): only multicast "
			"was paired, and which end sent it is not known.");
	if (any && t->clock_mode == VNS_CLOCK_SAME)
		note(t, "Assumed: one clock (no offset was given, and 0 is consistent with the traffic).");
	if (t->clock_mode == VNS_CLOCK_TRAFFIC)
		note(t, "No offset was given, and %s: the clock is bounded by the traffic itself; --offset-ns or "
			"--drift-file tells the split.", why_traffic(r, t));
	if (r->n_step && !r->opts->have_offset)
		note(t, "The relation of the clocks is that of before the first step. Steps are taken out to within the "
			"latencies: what is above a direction's least holds that error (intervals of the latencies do, "
			"too, and cover it).");
	if (t->clock_mode == VNS_CLOCK_TRAFFIC && vns_clock_rate(r->clock) != VNS_CLOCK_RATE_STEADY)
		note(t, "%s: the bounds were widened%s.",
		     vns_clock_rate(r->clock) == VNS_CLOCK_RATE_CHANGED ?
			     "A clock changed its rate, or stepped by less than its bounds show" :
			     "There are signs that a clock changes its rate (slewed by NTP?; 3 of 100 clocks that "
			     "keep theirs show them)",
		     r->opts->wander_ppm > 0 ? "" : "; --max-wander makes them certain");
	if (r->last_lost)
		note(t, "%llu last bytes came more than 2 s after the first and are left out.",
		     (unsigned long long)r->last_lost);
	if (t->evicted)
		note(t, "%llu packets were given up before their time, since %s.",
		     (unsigned long long)t->evicted, r->opts->max_memory ?
		     "--max-memory leaves no room for more to wait" : "too many were pending");
}

/* Read once more, with another idea of the clock. */
static int read_again(struct vo_offline *r, struct vns_vo_target *t, struct vns_err *err)
{
	int code = vo_reopen(r, err);

	if (code)
		return code;
	vns_vo_target_fini(t);
	*t = (struct vns_vo_target){ 0 };
	return read_both(r, r->clock, t, err);
}

/*
 * A clock has stepped: latencies before and after must not share one relation. Take the steps out, as
 * well as they are known; a relation from the traffic finds the rest.
 */
static int without_steps(struct vo_offline *r, struct vns_vo_target *t, struct vns_err *err)
{
	r->n_step = t->n_event < VNS_TWIN_STEPS ? t->n_event : VNS_TWIN_STEPS;
	memcpy(r->step, r->found, r->n_step * sizeof(r->step[0]));
	r->n_bound = 0;
	r->lower_ns = INT64_MIN;
	r->upper_ns = INT64_MAX;
	return read_again(r, t, err);
}

static int measure(struct vo_offline *r, struct vns_vo_target *t, struct vns_err *err)
{
	int code = first_clock(r, err);

	if (!code)
		code = read_both(r, r->clock, t, err);
	if (!code && t->n_event && !r->opts->drift_file)
		code = without_steps(r, t, err);
	if (!code)
		read_resolution(r);
	if (!code && r->want_bounds && (r->n_step || !zero_fits(r))) {
		r->want_bounds = false;
		code = traffic_clock(r, err);
		if (!code)
			code = read_again(r, t, err);
	}
	if (code)
		return code;
	t->clock_mode = vns_clock_get_mode(r->clock);
	t->assume_symmetric = r->opts->assume_symmetric;
	if (r->to_ns < r->from_ns)
		r->from_ns = r->to_ns = r->first_ns;
	vns_clock_eval(r->clock, vo_before_steps(r->step, r->n_step, r->from_ns, r->to_ns), &t->clock);
	if (r->want_bounds)
		bounds_to_figures(r, t);
	widen_by_resolution(r, t);
	return 0;
}

static void name_target(struct vns_vo_target *t)
{
	snprintf(t->name, sizeof(t->name), "offline");
	snprintf(t->from_point, sizeof(t->from_point), "host");
	t->host_cpu = t->agent_cpu = -1;
}

/* The relation is what was given, or not bounded. */
static int nothing_read(struct vo_offline *r, struct vns_vo_target *t, struct vns_err *err)
{
	int code = first_clock(r, err);

	if (code)
		return code;
	name_target(t);
	t->clock_mode = vns_clock_get_mode(r->clock);
	vns_clock_eval(r->clock, 0, &t->clock);
	if (r->want_bounds)
		bounds_to_figures(r, t);
	return 0;
}

int vns_measure_vo_offline(const struct vns_vo_offline_opts *opts, struct vns_vo_result *out,
			   struct vns_err *err)
{
	return vo_offline_measure(opts, NULL, out, err);
}

int vo_offline_measure(const struct vns_vo_offline_opts *opts, struct vo_relation *relation,
		       struct vns_vo_result *out, struct vns_err *err)
{
	struct vo_offline *r = calloc(1, sizeof(*r));
	struct vns_vo_target *t = calloc(1, sizeof(*t));
	int code = 0;

	*out = (struct vns_vo_result){ .target = t, .n_target = 1 };
	if (!r || !t) {
		code = vo_out_of_memory(err);
		goto out;
	}
	*r = (struct vo_offline){ .opts = opts, .relation = relation, .lower_ns = INT64_MIN, .upper_ns = INT64_MAX,
			       .end[0] = { .path = opts->host_file, .want = opts->host_point },
			       .end[1] = { .path = opts->guest_file, .want = opts->guest_point } };
	r->end[0].filter = r->end[1].filter = opts->filter;
	r->end[0].one_in = r->end[1].one_in = opts->sample_one_in;
	r->end[0].stop = r->end[1].stop = opts->stop;
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		r->ring[d] = (struct vo_ring){ .s = vns_reserve(VO_RING, sizeof(*r->ring[d].s)), .size = VO_RING };
		if (!r->ring[d].s)
			code = vo_out_of_memory(err);
	}
	if (code)
		goto out;
	code = vo_find_out(r, err);
	if (code == -EINTR && opts->stop && *opts->stop) { /* before the first bytes came: no packets */
		out->interrupted = true;
		code = nothing_read(r, t, err);
		goto out;
	}
	if (!code)
		code = measure(r, t, err);
	if (code)
		goto out;
	name_target(t);
	t->late_samples = r->ring[0].late + r->ring[1].late;
	vo_steps_to_events(r->clock, t);
	notes_of_clock(r, t);
	notes_of_files(r, t);
	keep_relation(r, t);
	out->interrupted = r->end[0].stopped || r->end[1].stopped;
	out->from_ns = r->from_ns;
	out->to_ns = r->to_ns;
out:
	if (r) {
		vo_ends_fini(r);
		vns_clock_free(r->clock);
		for (int d = 0; d < VNS_DIRECTIONS; d++)
			vns_unreserve(r->ring[d].s);
		free(r->bound);
	}
	free(r);
	if (code && t)
		vns_vo_result_free(out);
	return code;
}
