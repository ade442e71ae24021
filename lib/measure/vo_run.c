// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A live run's parts made, reported on and put together: engines per subject, progress
 * lines, and the choice of the point whose figures are the main ones.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/note.h"
#include "measure/vo_epoch.h"

/* Packets a live pair remembers at each point: 5 s of 100,000 packets a second; over it, counted. */
#define MAX_PENDING (1u << 19)

static int out_of_memory(struct vns_err *err)
{
	return vns_err_set(err, -ENOMEM, "out of memory");
}

static int init_clock(struct vo_subject *v, enum vns_clock_mode wanted, struct vns_err *err)
{
	const char *why;

	v->mode = wanted != VNS_CLOCK_NONE ? wanted : vns_gather_best_mode(v->s);
	why = vns_gather_refusal(v->s, v->mode);
	if (why)
		return vns_err_set(err, -EOPNOTSUPP, "%s: clock mode %s cannot be used: %s", v->s->name,
				   vns_clock_mode_name(v->mode), why);
	if (vns_clock_new(&v->clock, v->mode))
		return out_of_memory(err);
	v->wander_ppm = fmax(0, v->run->opts->wander_ppm);
	vns_clock_set_wander(v->clock, v->wander_ppm);
	if (v->mode == VNS_CLOCK_SAME)
		return vns_clock_set_fixed(v->clock, vns_now_ns(), 0, 0, 0);
	return vns_gather_open(&v->gather, v->s, v->mode, v->clock, &v->turns, err);
}

static int init_subject(struct vo_run *run, struct vo_subject *v, const struct vns_subject *s,
			struct vns_err *err)
{
	const struct vns_agent_info *info = vns_agent_info(s->agent);

	v->own = *s;
	v->one_in = run->one_in;
	v->s = s = &v->own;
	v->run = run;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->turns.next, NULL);
	v->turns.way = &run->reading;
	v->turns.lock = &v->lock;
	if (s->n_point == 0)
		return vns_err_set(err, -ENODEV, "%s: no interface of this host is known to carry its "
				   "packets; nothing to compare the guest's capture with%s%.300s", s->name,
				   s->unseen && *s->unseen ? ": " : "", s->unseen ? s->unseen : "");
	if (s->n_point > VO_POINTS)
		return vns_err_set(err, -E2BIG, "%s: more than %d capture points", s->name, VO_POINTS);
	if (!(info->caps & VNS_CAP_CAPTURE))
		return vns_err_set(err, -EPERM, "%s: its agent cannot capture: %s", s->name,
				   info->capture_why);
	return init_clock(v, run->opts->mode, err);
}

int vo_run_init(struct vo_run *run, const struct vns_subject *subjects, size_t n,
		const struct vns_vo_live_opts *opts, struct vns_err *err)
{
	run->first = subjects;
	pthread_mutex_init(&run->exchanging, NULL);
	pthread_mutex_init(&run->saying, NULL);
	run->opts = opts;
	run->one_in = opts->sample ? opts->sample : 1;
	if (vns_clock_new(&run->same, VNS_CLOCK_SAME) || vns_clock_set_fixed(run->same, 0, 0, 0, 0) ||
	    vns_clock_solve(run->same))
		return out_of_memory(err);
	for (size_t i = 0; i < n; i++) {
		int code = init_subject(run, &run->subject[i], &subjects[i], err);

		run->n++; /* also after a failure: vo_run_fini frees what is there */
		if (code)
			return code;
	}
	return 0;
}

static void rtt_sample(void *ctx, const struct vns_rtt_sample *s)
{
	const struct vo_rtt_at *at = ctx;
	const struct vns_addr *dst = &s->key->addr[!s->dir];
	struct vo_halves *halves = &at->subject->halves[at->point];
	const struct vns_subject *subject = at->subject->s;

	if (s->kind != VNS_RTT_TS)
		return;
	for (size_t i = 0; i < subject->n_guest; i++) {
		if (vns_addr_equal(dst, &subject->guest[i])) {
			vns_blocks_add(s->rtt_ns > VNS_VO_PAIR_NS ? &halves->guest_over :
								    &halves->guest_within,
				       s->at_ns, s->rtt_ns);
			return;
		}
	}
	vns_blocks_add(&halves->client_side, s->at_ns, s->rtt_ns);
}

static void pair_sample(void *ctx, const struct vns_twin_sample *s)
{
	struct vo_pair *p = ctx;
	struct vns_vo_sample packed;

	p->matched++;
	p->payload_bytes += s->payload_len;
	if (p->b != VO_GUEST) {
		vns_vo_sample_pack(&packed, s);
		vns_vo_tally_add(&p->tally, &packed);
		return;
	}
	vns_vo_samples_add(&p->samples, s);
	if (p->subject->run->opts->progress) {
		const struct vns_clock_at *at = &p->subject->preliminary;
		double offset = at->offset_ns + at->drift_ppm * 1e-6 * (double)(s->host_ns - at->at_ns);
		int64_t d = s->first_raw_ns - (int64_t)offset;

		vns_blocks_add(&p->recent[s->direction], s->host_ns,
			       s->direction == VNS_HOST_TO_GUEST ? d : -d);
	}
}

static void add_counts(struct vns_twin_counts *to, const struct vns_twin_counts *c)
{
	to->read += c->read;
	for (int k = 0; k < VNS_TWIN_CLASSES; k++)
		to->in_class[k] += c->in_class[k];
	for (int k = 0; k < VNS_PROTOS; k++)
		to->missing_by_proto[k] += c->missing_by_proto[k];
	for (int k = 0; k < VNS_DIRECTIONS; k++)
		to->by_direction[k] += c->by_direction[k];
	to->wholes += c->wholes;
	to->partly += c->partly;
	to->pieces += c->pieces;
}

/* May packets bear other addresses at the pair's outer end? Not at the innermost point. */
static bool is_translated(const struct vo_pair *p)
{
	const struct vo_run *run = p->subject->run;

	return run->points.nat[p->subject - run->subject] && p->a + 1 < p->subject->s->n_point;
}

int vo_pair_begin(struct vo_pair *p, int64_t coarse_ns, struct vns_err *err)
{
	const struct vns_twin_opts opts = {
		.coarse_offset_ns = coarse_ns,
		.max_pending = MAX_PENDING,
		.guest = p->subject->s->guest,
		.n_guest = p->subject->s->n_guest,
		.nat = is_translated(p),
		.nat_peers = is_translated(p),
		.sampled = p->subject->one_in > 1,
	};
	int code = vns_twin_new(&p->twin, &opts, pair_sample, p, err);

	if (!code)
		vns_twin_take_over(p->twin, p->learnt);
	p->from_ns = vns_now_ns();
	p->learnt = code ? p->learnt : NULL;
	return code;
}

/* The engine has ended: its books are added to those of the engines before. */
static void add_up(struct vo_pair *p)
{
	for (int at = 0; at < 2; at++) {
		struct vns_twin_counts c;

		vns_twin_get_counts(p->twin, at, &c);
		add_counts(&p->counts[at], &c);
	}
	p->evicted += vns_twin_evicted(p->twin);
	p->translated += vns_twin_translated(p->twin);
}

void vo_pair_finish(struct vo_pair *p)
{
	if (!p->twin)
		return;
	vns_twin_finish(p->twin);
	p->n_nat = vns_twin_mappings(p->twin, p->nat);
	add_up(p);
	vns_twin_free(p->twin);
	p->twin = NULL;
}

void vo_pair_hand_over(struct vo_pair *p)
{
	if (!p->twin)
		return;
	p->n_nat = vns_twin_mappings(p->twin, p->nat);
	p->learnt = vns_twin_hand_over(p->twin);
	add_up(p);
	vns_twin_free(p->twin);
	p->twin = NULL;
}

void vo_pair_unseen(struct vo_pair *p, const struct vns_packet *pkts, size_t n)
{
	const struct vns_subject *s = p->subject->s;
	struct vns_twin_counts *c = &p->counts[VNS_POINT_A];

	for (size_t i = 0; i < n; i++) {
		bool to = false, from = false;

		for (size_t k = 0; k < s->n_guest; k++) {
			to |= vns_addr_equal(vns_packet_dst(&pkts[i]), &s->guest[k]);
			from |= vns_addr_equal(vns_packet_src(&pkts[i]), &s->guest[k]);
		}
		c->read++;
		if ((pkts[i].verdict != VNS_PKT_OK && pkts[i].verdict != VNS_PKT_FRAGMENT) || !(to || from)) {
			c->in_class[VNS_TWIN_UNDECODABLE]++;
			continue;
		}
		c->in_class[VNS_TWIN_OUTSIDE_WINDOW]++;
		c->by_direction[to ? VNS_HOST_TO_GUEST : VNS_GUEST_TO_HOST]++;
	}
}

static int add_pair(struct vo_subject *v, size_t a, size_t b, struct vns_err *err)
{
	struct vo_pair *p = &v->pair[v->n_pair++];
	bool to_guest = b == VO_GUEST;

	p->a = a;
	p->b = b;
	p->subject = v;
	if (vns_vo_tally_init(&p->tally, to_guest ? v->clock : v->run->same, p->fig,
			      to_guest ? p->sum : NULL))
		return out_of_memory(err);
	p->tallying = true;
	return to_guest ? 0 : vo_pair_begin(p, 0, err);
}

/* Every point with the guest, then every outer point with the innermost one. */
static int open_pairs(struct vo_subject *v, struct vns_err *err)
{
	size_t inner = v->s->n_point - 1;
	int code = 0;

	for (size_t k = 0; k <= inner && !code; k++)
		code = add_pair(v, k, VO_GUEST, err);
	for (size_t k = 0; k < inner && !code; k++)
		code = add_pair(v, k, inner, err);
	for (size_t k = 0; k <= inner && !code; k++) {
		const struct vns_rtt_opts opts = { .method = VNS_RTT_METHOD_TS,
						   .on_sample = rtt_sample, .ctx = &v->rtt_at[k] };

		v->rtt_at[k] = (struct vo_rtt_at){ v, k };
		code = vns_rtt_new(&v->rtt[k], &opts, err);
	}
	return code;
}

int vo_run_open_twins(struct vo_run *run, struct vns_err *err)
{
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];
		int code = 0;

		pthread_mutex_lock(&v->lock);
		if (!v->paired)
			code = atomic_load(&v->ready) ? open_pairs(v, err) : 1;
		if (!code && !v->paired)
			code = vo_epoch_begin(v, err);
		pthread_mutex_unlock(&v->lock);
		if (code == -ENODATA && v->dead)
			return vns_err_set(err, -EPIPE, "%s", v->why);
		if (code)
			return code;
	}
	return 0;
}

void vo_subject_fail(struct vo_subject *v, const char *sentence)
{
	if (atomic_load(&v->dead))
		return;
	snprintf(v->why, sizeof(v->why), "%s ended early: %.200s", v->s->name, sentence);
	atomic_store(&v->dead, true);
}

static void pair_counts(const struct vo_pair *p, enum vns_point at, struct vns_twin_counts *out)
{
	struct vns_twin_counts now;

	*out = p->counts[at];
	if (!p->twin)
		return;
	vns_twin_get_counts(p->twin, at, &now);
	add_counts(out, &now);
}

/* The pair with the guest whose samples stand for the subject: see choose_main(). */
static size_t main_pair(const struct vo_subject *v)
{
	uint64_t most = 0, matched[VO_POINTS] = { 0 };

	for (size_t k = 0; k < v->s->n_point; k++) {
		struct vns_twin_counts c;

		pair_counts(&v->pair[k], VNS_POINT_B, &c);
		matched[k] = c.in_class[VNS_TWIN_MATCHED];
		most = matched[k] > most ? matched[k] : most;
	}
	/* outermost first: the first point that most of the traffic crosses */
	for (size_t k = 0; k < v->s->n_point; k++)
		if (most && matched[k] * 2 >= most)
			return k;
	return v->s->n_point - 1;
}

static void report_subject(struct vo_subject *v, struct vns_vo_live_target *t)
{
	struct vns_clock_at at;
	struct vo_pair *p;

	pthread_mutex_lock(&v->lock);
	p = &v->pair[main_pair(v)];
	if (vns_clock_solve(v->clock) == 0 && vns_clock_eval(v->clock, vns_now_ns(), &at) == 0)
		v->preliminary = at;
	t->name = v->s->name;
	t->matched = p->matched;
	t->ended = v->dead;
	t->offset_ns = v->preliminary.offset_ns;
	t->withheld = vns_split_of(v->mode, v->run->opts->assume_symmetric) == VNS_SPLIT_WITHHELD;
	t->bound_ns = (v->preliminary.upper_ns - v->preliminary.lower_ns) / 2;
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		vns_blocks_total(&p->recent[d], &t->recent[d]);
		vns_blocks_intervals(&p->recent[d], &t->recent[d], &t->recent_interval[d]);
	}
	for (size_t k = 0; k < v->n_pair; k++)
		for (int d = 0; d < VNS_DIRECTIONS; d++)
			vns_blocks_fini(&v->pair[k].recent[d]);
	pthread_mutex_unlock(&v->lock);
}

void vo_run_report(struct vo_run *run, int64_t elapsed_ns)
{
	struct vns_vo_live_target *t = calloc(run->n, sizeof(*t));
	struct vns_vo_live_progress p = { t, run->n, elapsed_ns, run->opts->duration_ns, run->one_in };

	if (!t)
		return;
	for (size_t i = 0; i < run->n; i++)
		report_subject(&run->subject[i], &t[i]);
	run->opts->progress(run->opts->ctx, &p);
	for (size_t i = 0; i < run->n; i++)
		for (int d = 0; d < VNS_DIRECTIONS; d++)
			vns_dist_fini(&t[i].recent[d]);
	free(t);
}

static const char *point_name(const struct vo_subject *v, size_t k)
{
	return k == VO_GUEST ? "guest" : vns_point_kind_name(v->s->point[k].kind);
}

static void copy_figures(struct vns_vo_figure to[VNS_DIRECTIONS][VNS_PROTOS],
			 const struct vns_vo_figure from[VNS_DIRECTIONS][VNS_PROTOS])
{
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		for (int p = 0; p < VNS_PROTOS; p++) {
			struct vns_vo_figure *f = &to[d][p];

			*f = from[d][p];
			vns_dist_init(&f->first);
			vns_dist_init(&f->last);
			vns_dist_merge(&f->first, &from[d][p].first);
			vns_dist_merge(&f->last, &from[d][p].last);
		}
	}
}

/* The hops: every outer point to the innermost, the innermost to the guest; if crossed at all. */
/* Return: what to say of frames of UDP datagrams between two points next to each other in a sample, or NULL */
static const char *fill_hops(struct vo_subject *v, struct vns_vo_target *t)
{
	size_t inner = v->s->n_point - 1;
	const char *said = NULL;

	for (size_t i = 0; i < v->n_pair && t->n_hop < VNS_VO_MAX_HOPS; i++) {
		struct vo_pair *p = &v->pair[i];
		struct vns_vo_hop *h = &t->hop[t->n_hop];
		bool to_guest = p->b == VO_GUEST;

		if ((to_guest && p->a != inner) || p->matched == 0)
			continue;
		snprintf(h->from, sizeof(h->from), "%s", point_name(v, p->a));
		snprintf(h->to, sizeof(h->to), "%s", point_name(v, p->b));
		h->clock_free = !to_guest || v->mode == VNS_CLOCK_SAME;
		memcpy(h->counts, p->counts, sizeof(h->counts));
		if (v->run->one_in > 1) {
			const char *doubt =
				vo_udp_doubt(&v->udp[p->a], &v->udp[to_guest ? VO_POINTS : p->b], h->counts);

			said = doubt ? doubt : said;
		}
		copy_figures(h->fig, p->fig);
		t->n_hop++;
	}
	return said;
}

static void fill_overhead(const struct vo_run *run, const struct vo_subject *v,
			  struct vns_vo_target *t)
{
	int64_t span = v->usage_to_ns - v->usage_from_ns;

	t->host_cpu = run->elapsed_ns > 0 ? (double)run->cpu_ns / (double)run->elapsed_ns : -1;
	t->agent_cpu = v->usage_begin.at_ns && v->usage_end.at_ns && span > 0 ?
			       (double)(v->usage_end.agent_cpu_ns - v->usage_begin.agent_cpu_ns) /
				       (double)span :
			       -1;
	t->agent_bytes = v->agent_bytes;
}

static void add_note(struct vns_vo_target *t, const char *sentence)
{
	size_t n = strlen(sentence);

	if (n)
		note_add(t->note, sizeof(t->note), "%s%s", sentence, strchr(".!?", sentence[n - 1]) ? "" : ".");
}

#define LOCAL_SHARE 100 /* less than this part is the captures' beginnings and ends */

bool vo_pair_sees_more(const struct vo_pair *inner, const struct vo_pair *outer)
{
	const struct vns_twin_counts *in = &inner->counts[VNS_POINT_B], *out = &outer->counts[VNS_POINT_B];
	uint64_t some = in->in_class[VNS_TWIN_MISSING] + in->in_class[VNS_TWIN_MATCHED] / LOCAL_SHARE;

	/* what lies beyond an edge of the outer capture is outside its window, not missing there */
	return out->in_class[VNS_TWIN_MISSING] > some &&
	       inner->payload_bytes > outer->payload_bytes + inner->payload_bytes / LOCAL_SHARE;
}

/* Was everything at host point @k captured and looked at? Only then its lack means something. */
static bool saw_all(const struct vo_run *run, const struct vo_subject *v, size_t k)
{
	const struct vns_vo_point *p =
		&run->points.point[run->points.index[v - run->subject][k]];

	return !p->ended && !p->lost && !p->lost_before && !v->guest_lost && run->one_in <= 1;
}

static void fill_notes(const struct vo_run *run, const struct vo_subject *v, size_t k,
		       struct vns_vo_target *t)
{
	size_t i = (size_t)(v - run->subject), inner = v->s->n_point - 1;
	char text[256], clocks[CLOCK_WORDS];
	uint32_t ring;

	if (vns_clock_mode_shares_path(v->mode))
		add_note(t, "The clock was related over the measured path itself.");
	if (v->unknown_address) {
		char address[VNS_ADDR_STRLEN];

		snprintf(text, sizeof(text), "%" PRIu64 " packets from the guest at %s are of no address that is known of "
			 "it (such as %s): they are not measured.", v->unknown_address, v->s->point[inner].ifname,
			 vns_addr_format(&v->unknown, address));
		add_note(t, text);
	}
	if (v->bounds_refused) {
		snprintf(text, sizeof(text), "Some packets arrived before they were sent by this clock (%"
			 PRIu64 " fastest of 20 ms not used to bound it): mispaired, or the clock is wrong.",
			 v->bounds_refused);
		add_note(t, text);
	}
	if (v->gather) {
		clock_watch_words(&v->watch, run->opts->wander_ppm, clocks, sizeof(clocks));
		add_note(t, clocks);
	}
	if (v->rate != VNS_CLOCK_RATE_STEADY)
		add_note(t, vns_vo_bent_words(v->event, v->n_event, v->rate, v->wander_ppm > 0,
					      clock_watch_steady(&v->watch)));
	if (v->note[0]) { /* half a sentence, as errors are */
		snprintf(clocks, sizeof(clocks), "The guest's agent: %.255s", v->note);
		add_note(t, clocks);
	}
	if (is_translated(&v->pair[k]) && run->opts->nat == VNS_NAT_AUTO && !v->pair[k].n_nat &&
	    v->pair[k].counts[VNS_POINT_A].in_class[VNS_TWIN_UNDECODABLE]) {
		snprintf(text, sizeof(text), "The host's kernel has NAT rules, so the %s took all IP packets; none of "
			 "this guest's was translated there, and --nat off spares that.", point_name(v, k));
		add_note(t, text);
	}
	if (is_translated(&v->pair[k]) && run->one_in > 1 && (v->pair[k].translated ||
	    v->pair[k].counts[VNS_POINT_B].missing_by_proto[VNS_PROTO_TCP]))
		add_note(t, "Connections are sampled by their clients' ports: those of which NAT changes it are chosen "
			 "differently at each point, and may be missing or undecodable for that.");
	if (vns_vo_rings_are_small(&run->points, &ring)) {
		snprintf(text, sizeof(text), "%zu points share the memory for packets that wait to be read: %u MiB each, "
			 "which a burst fills sooner than the 32 MiB of few points.", run->points.n, ring >> 20);
		add_note(t, text);
	}
	for (size_t j = 0; j < v->s->n_point; j++) {
		const struct vns_vo_point *p = &run->points.point[run->points.index[i][j]];

		/* of a guest that died its removal is no more news: its event has the time */
		if (p->ended && !(v->dead && !p->ifindex)) {
			snprintf(text, sizeof(text), "The capture at the %s ended: %.200s", point_name(v, j),
				 p->why.text);
			add_note(t, text);
		}
		if (p->source && vns_source_sentence(p->source))
			add_note(t, vns_source_sentence(p->source));
		if (p->queues > 1) {
			snprintf(text, sizeof(text), "%s has %u queues: packets of different queues may "
				 "overtake each other.", p->ifname, p->queues);
			add_note(t, text);
		}
	}
	if (k < inner && saw_all(run, v, k) && saw_all(run, v, inner) &&
	    vo_pair_sees_more(&v->pair[inner], &v->pair[k])) {
		snprintf(text, sizeof(text), "%" PRIu64 " bytes of matched payload crossed the %s but not "
			 "the %s: traffic within this host; the hops show it.",
			 v->pair[inner].payload_bytes - v->pair[k].payload_bytes, point_name(v, inner),
			 point_name(v, k));
		add_note(t, text);
	}
	if (v->pair[k].samples.lost)
		add_note(t, "Out of memory: some samples are counted but not in the figures.");
}

static void fill_half(const struct vns_blocks *from, struct vns_dist *to, struct vns_intervals *interval)
{
	vns_blocks_total(from, to);
	vns_blocks_intervals(from, to, interval);
}

/* @from->guest_over gets all of the guest's side. */
static void fill_halves(struct vns_vo_rtt *to, struct vo_halves *from)
{
	fill_half(&from->client_side, &to->client_side, &to->client_interval);
	fill_half(&from->guest_within, &to->guest_within, &to->within_interval);
	vns_blocks_merge(&from->guest_over, &from->guest_within);
	fill_half(&from->guest_over, &to->guest_side, &to->guest_interval);
}

static void fill_events(const struct vo_subject *v, struct vns_vo_target *t)
{
	for (size_t i = 0; i < v->n_event; i++) { /* in order of time: some are told later than others */
		size_t at = i;

		for (; at > 0 && t->event[at - 1].at_ns > v->event[i].at_ns; at--)
			t->event[at] = t->event[at - 1];
		t->event[at] = v->event[i];
	}
	t->n_event = v->n_event;
	t->events_left_out = v->events_left_out;
}

static int fill_target(struct vo_run *run, struct vo_subject *v, struct vns_vo_target *t)
{
	int code = vo_epoch_finish(v);
	size_t k = main_pair(v), i = (size_t)(v - run->subject);
	struct vo_pair *p = &v->pair[k];
	const char *doubt, *of_hops;

	snprintf(t->name, sizeof(t->name), "%s", v->s->name);
	snprintf(t->from_point, sizeof(t->from_point), "%s", point_name(v, k));
	t->tcg = v->s->tcg;
	t->clock_mode = v->mode;
	t->assume_symmetric = run->opts->assume_symmetric;
	t->clock = v->at_middle;
	copy_figures(t->fig, p->fig);
	memcpy(t->sum, p->sum, sizeof(t->sum));
	memset(p->sum, 0, sizeof(p->sum)); /* its distributions are the target's now */
	of_hops = fill_hops(v, t);
	memcpy(t->counts, p->counts, sizeof(t->counts));
	t->evicted = p->evicted;
	t->unrelated = p->unrelated;
	t->late_samples = p->late;
	t->unknown_address = v->unknown_address;
	t->unknown = v->unknown;
	memcpy(t->nat, p->nat, p->n_nat * sizeof(t->nat[0]));
	t->n_nat = p->n_nat;
	t->translated = p->translated;
	t->sample_first = run->opts->sample ? run->opts->sample : 1;
	t->sample_last = run->one_in;
	t->not_sampled[VNS_POINT_A] = v->not_sampled[k];
	fill_events(v, t);
	t->capture_lost[VNS_POINT_A] = run->points.point[run->points.index[i][k]].lost;
	t->capture_lost[VNS_POINT_B] = v->guest_lost;
	t->clock_ahead = v->other_epoch[VO_EPOCH_AHEAD];
	t->other_epoch = v->other_epoch[VO_EPOCH_BEFORE];
	t->contradicting = v->contradicting;
	t->undecided = v->undecided;
	if (v->gather)
		t->exchanges = vns_gather_taken(v->gather, &t->fastest_ns, &t->slowest_ns);
	fill_halves(&t->rtt, &v->halves[k]);
	fill_overhead(run, v, t);
	doubt = run->one_in > 1 ? vo_udp_doubt(&v->udp[k], &v->udp[VO_POINTS], t->counts) : NULL;
	if (doubt || of_hops)
		add_note(t, doubt ? doubt : of_hops);
	fill_notes(run, v, k, t);
	if (v->dead)
		snprintf(t->ended_early, sizeof(t->ended_early), "%s", v->why);
	return code;
}

int vo_run_result(struct vo_run *run, struct vns_vo_result *out, struct vns_err *err)
{
	int code = 0;

	out->target = calloc(run->n, sizeof(*out->target));
	if (!out->target)
		code = -ENOMEM;
	for (size_t i = 0; i < run->n && !code; i++) {
		struct vo_subject *v = &run->subject[i];

		for (size_t k = 0; k < v->s->n_point; k++)
			vns_rtt_finish(v->rtt[k]);
		code = fill_target(run, v, &out->target[i]);
		out->n_target++;
	}
	out->from_ns = run->from_ns;
	out->to_ns = run->to_ns;
	out->interrupted = run->interrupted;
	if (code) {
		vns_vo_result_free(out);
		return vns_err_set(err, code, "the figures could not be put together: %s",
				   strerror(-code));
	}
	return 0;
}

static void free_pair(struct vo_pair *p)
{
	vns_twin_free(p->twin);
	vns_twin_learnt_free(p->learnt);
	vns_vo_samples_free(&p->samples);
	if (p->tallying)
		vns_vo_tally_fini(&p->tally);
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		vns_blocks_fini(&p->recent[d]);
		for (int k = 0; k < VNS_PROTOS; k++) {
			vns_dist_fini(&p->fig[d][k].first);
			vns_dist_fini(&p->fig[d][k].last);
		}
	}
	for (int k = 0; k < VNS_PROTOS; k++)
		vns_dist_fini(&p->sum[k].paired);
}

void vo_run_fini(struct vo_run *run)
{
	for (size_t i = 0; i < run->n; i++) {
		struct vo_subject *v = &run->subject[i];

		if (!v->s)
			continue;
		if (v->s->agent) {
			vns_agent_set_sink(v->s->agent, NULL);
			vns_agent_set_timeout(v->s->agent, 0);
			vns_agent_set_stop(v->s->agent, NULL);
		}
		for (size_t j = 0; j < v->n_pair; j++)
			free_pair(&v->pair[j]);
		for (size_t k = 0; k < VO_POINTS; k++) {
			vns_rtt_free(v->rtt[k]);
			vns_blocks_fini(&v->halves[k].client_side);
			vns_blocks_fini(&v->halves[k].guest_within);
			vns_blocks_fini(&v->halves[k].guest_over);
		}
		vns_gather_close(v->gather);
		vns_clock_free(v->clock);
		free(v->held.at);
		pthread_mutex_destroy(&v->turns.next);
		pthread_mutex_destroy(&v->lock);
	}
	vns_clock_free(run->same);
	vns_vo_points_close(&run->points);
	pthread_mutex_destroy(&run->exchanging);
	pthread_mutex_destroy(&run->saying);
}
