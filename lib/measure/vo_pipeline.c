// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Offline VO as a pipeline: two capture files -> packets -> twin engine -> samples -> figures.
 *
 * Four steps that may be done at once: reading and decoding each file, pairing, and adding samples to
 * the figures. Pairing is one thread's work, the caller's: where a packet's twin is depends on
 * all that came before it. The others are jobs of a crew (crew.h), done in order each, so the
 * results are the same with any number of threads. To reading belongs all that a packet tells the engine by
 * itself (brief.h). Pairing is left with about half of a packet's cost, so a second thread nearly
 * doubles the speed and a fourth is the last that helps.
 *
 * Both files are fed in turns of time, all of one and then all of the other that lies in a few
 * milliseconds, so that the engine remembers no more than its window. The turns follow from the stamps
 * alone: where reads and batches end changes nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/twin/brief.h"
#include "measure/crew.h"
#include "measure/vo_offline.h"
#include "measure/vo_stretch.h"

#define BUFFERS 8 /* batches that may wait between two steps */
/*
 * A job that has caught up rests until so many batches have gathered: a thread that is woken for each
 * of them, for 30 us, costs more in waking, and the scheduler leaves it on the waker's core.
 */
#define RESTED  (BUFFERS / 2)

struct pipeline;

/* Batches read from one file: full ones from head on. @head and @n are the crew's lock's. */
struct inbox {
	struct vo_end *end;
	const struct vns_addr *guest; /* of the engine, for briefs */
	size_t n_guest;
	struct vns_packet *pkt[BUFFERS];
	struct twin_brief *brief[BUFFERS]; /* NULL: the engine makes them itself */
	size_t count[BUFFERS];
	size_t wanted; /* batches that are read ahead of the engine */
	size_t head, n, filling;
	bool resting; /* full, and not yet half empty */
	bool ended;
	int code, got, late;
	struct vns_err err;
};

/* Batches of samples from the engine. */
struct outbox {
	struct vo_offline *run;
	struct pipeline *pipe;
	struct vns_vo_sample *s[BUFFERS];
	size_t count[BUFFERS];
	size_t head, n;
	size_t filling, filled; /* the engine's: slot, and samples in it */
	bool resting; /* empty, and not yet half full */
	bool failed;
};

/* What the engine gets next from a file: what probing left over, then batches. */
struct feed {
	const struct vns_packet *pkt;
	const struct twin_brief *brief; /* of these, or NULL */
	size_t n;
	bool from_inbox, eof;
	int64_t last_ns; /* stamp of the packet fed last */
	bool any;        /* ... and there was one */
	uint64_t fed;    /* packets */
	unsigned int steps; /* of its clock that the engine was told */
};

struct pipeline {
	struct vns_crew *crew;
	struct inbox in[2];
	struct outbox out;
	struct feed feed[2];
	struct vns_crew_job job[3];
	struct vo_stretch looked; /* for steps of a clock: the last look's */
	int64_t turn_until, turn_offset; /* this turn's end (A's clock), and t_B - t_A in it */
};

/* --- job: read and decode a batch --- */

static bool can_fill(void *ctx)
{
	struct inbox *in = ctx;

	if (in->wanted == 1 && in->n == 0)
		in->head = 0; /* one thread: the same buffer again and again, which stays in its cache */
	in->filling = (in->head + in->n) % BUFFERS; /* stays where it is while full ones are taken */
	in->resting &= in->n > RESTED;
	return !in->ended && in->n < in->wanted && !in->resting;
}

/* The file that the engine will wait for first: both are used up at the same pace. */
static unsigned int fill_urgency(void *ctx)
{
	const struct inbox *in = ctx;

	return BUFFERS - (unsigned int)in->n;
}

/* Wherever the source's own reads end: a batch is full, but for the last. */
static void fill(void *ctx)
{
	struct inbox *in = ctx;
	struct vns_packet *to = in->pkt[in->filling];
	size_t n = 0;
	int got;

	do {
		got = in->late ? in->late : vo_end_read(in->end, to + n, VO_BATCH - n, &in->err);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 && n < VO_BATCH);
	in->late = got < 0 ? got : 0; /* what came before it comes first */
	in->got = n ? (int)n : got;
	if (in->brief[in->filling])
		twin_brief(in->brief[in->filling], to, n, in->guest, in->n_guest);
}

static void filled(void *ctx)
{
	struct inbox *in = ctx;

	if (in->got > 0) {
		in->count[in->filling] = (size_t)in->got;
		in->n++;
		in->resting = in->n == BUFFERS;
	} else {
		in->ended = true;
		in->code = in->got;
	}
}

/* --- job: a batch of samples to the figures --- */

static bool can_tally(void *ctx)
{
	struct outbox *out = ctx;

	out->resting &= out->n < RESTED;
	return out->n > 0 && !out->resting;
}

/* The fuller, the sooner the engine will wait for room. */
static unsigned int tally_urgency(void *ctx)
{
	return (unsigned int)((struct outbox *)ctx)->n;
}

static void tally(void *ctx)
{
	struct outbox *out = ctx;

	vo_take_samples(out->run, out->s[out->head], out->count[out->head]);
}

static void tallied(void *ctx)
{
	struct outbox *out = ctx;

	out->failed = out->run->failed != 0;
	out->head = (out->head + 1) % BUFFERS;
	out->n--;
	out->resting = out->n == 0;
}

/* --- the caller's thread --- */

static bool has_input(void *ctx)
{
	const struct inbox *in = ctx;

	return in->n > 0 || in->ended;
}

static bool has_room(void *ctx)
{
	return ((struct outbox *)ctx)->n < BUFFERS;
}

static bool is_empty(void *ctx)
{
	return ((struct outbox *)ctx)->n == 0;
}

static void hand_over(struct outbox *out)
{
	struct vns_crew *crew = out->pipe->crew;

	vns_crew_lock(crew);
	out->count[out->filling] = out->filled;
	out->n++;
	vns_crew_wait(crew, has_room, out);
	out->filling = (out->head + out->n) % BUFFERS;
	out->filled = 0;
	vns_crew_unlock(crew);
}

#define SAMPLES_FETCHED 8 /* places asked for ahead: another core has read what was there before */

static void on_sample(void *ctx, const struct vns_twin_sample *s)
{
	struct outbox *out = ctx;
	struct vo_offline *r = out->run;
	struct vns_twin_sample unstepped;
	struct vns_vo_sample *to;

	if (r->n_step) {
		unstepped = *s;
		s = &unstepped;
		if (!vo_unstep(r, &unstepped))
			return;
	}
	to = &out->s[out->filling][out->filled++];
	__builtin_prefetch(to + SAMPLES_FETCHED, 1);
	r->last_lost += !vns_vo_sample_pack(to, s);
	if (out->filled == VO_BATCH)
		hand_over(out);
}

/* See that @f has packets, or is at its end. */
static int next_batch(struct pipeline *pl, enum vns_point p, struct vns_err *err)
{
	struct feed *f = &pl->feed[p];
	struct inbox *in = &pl->in[p];
	int code = 0;

	if (f->n || f->eof)
		return 0;
	vns_crew_lock(pl->crew);
	vns_crew_wait(pl->crew, has_input, in);
	if (in->n) {
		f->pkt = in->pkt[in->head];
		f->brief = in->brief[in->head];
		f->n = in->count[in->head];
		f->from_inbox = true;
	} else {
		f->eof = true;
		code = in->code;
		if (code && err)
			*err = in->err;
	}
	vns_crew_unlock(pl->crew);
	return code;
}

/* The batch was fed: its buffer is free again. */
static void done_with(struct pipeline *pl, enum vns_point p)
{
	struct feed *f = &pl->feed[p];

	if (f->from_inbox) {
		vns_crew_lock(pl->crew);
		pl->in[p].head = (pl->in[p].head + 1) % BUFFERS;
		pl->in[p].n--;
		vns_crew_unlock(pl->crew);
	}
	f->n = 0;
}

/* --- steps of a clock that are longer than what the engine looks for --- */

#define AGREEING 8   /* of a look's pairs that must show a step */
#define TURNS    500 /* of the shortest jump: 5 ms of five seconds' window */

_Static_assert(VO_LOOK == BUFFERS * VO_BATCH, "a look is at what the buffers hold");

static bool is_full(void *ctx)
{
	const struct inbox *in = ctx;

	return in->n == BUFFERS || in->ended;
}

/* What comes next of @p, to @to. Return: packets, at most VO_LOOK. */
static size_t look_ahead(struct pipeline *pl, enum vns_point p, struct vns_packet *to)
{
	struct vo_stretch *s = &pl->looked;
	const struct feed *f = &pl->feed[p];
	struct inbox *in = &pl->in[p];
	size_t n = f->n < VO_LOOK ? f->n : VO_LOOK, wanted;

	memcpy(to, f->pkt, n * sizeof(*to));
	vns_crew_lock(pl->crew);
	in->resting = false;
	wanted = in->wanted;
	in->wanted = BUFFERS;
	vns_crew_wait(pl->crew, is_full, in);
	in->wanted = wanted;
	s->all[p] = in->ended && n == f->n;
	/* The batch being fed is still the inbox's first. */
	for (size_t i = f->from_inbox; i < in->n; i++) {
		size_t slot = (in->head + i) % BUFFERS, m = in->count[slot];

		if (n + m > VO_LOOK) {
			s->all[p] = false;
			break;
		}
		memcpy(to + n, in->pkt[slot], m * sizeof(*to));
		n += m;
	}
	vns_crew_unlock(pl->crew);
	s->at[p] = f->fed;
	s->end[p] = f->fed + n;
	return n;
}

/* Look at what comes next of both. Return: has a clock stepped, by *@by? -ENOMEM. */
static int look(const struct vo_offline *r, struct pipeline *pl, int64_t *by)
{
	struct vns_packet *a = malloc(2 * VO_LOOK * sizeof(*a)), *b = a + VO_LOOK;
	int64_t offset, before = vns_twin_offset(r->twin);
	size_t support = 0, n_a, n_b;
	int code;

	if (!a)
		return -ENOMEM;
	n_a = look_ahead(pl, VNS_POINT_A, a);
	n_b = look_ahead(pl, VNS_POINT_B, b);
	code = twin_coarse_pairs(a, n_a, b, n_b, &offset, &support, pl->looked.pair, &pl->looked.n);
	free(a);
	vo_stretch_count(&pl->looked, before, r->jump_ns);
	return code == 0 && support >= AGREEING && !__builtin_sub_overflow(offset, before, by) &&
	       (*by > r->jump_ns || *by < -r->jump_ns);
}

/*
 * Stamps of @p have jumped. A silence ends so too; a clock that stepped shows in packets that both
 * files hold from here on, at another offset than before. Where the look from an earlier gap settles that
 * there is none, and where the engine takes no more steps, it is not looked for.
 */
static int see_jump(struct vo_offline *r, struct pipeline *pl, enum vns_point p,
		    struct vns_err *err)
{
	const uint64_t at[] = { pl->feed[VNS_POINT_A].fed, pl->feed[VNS_POINT_B].fed };
	struct feed *f = &pl->feed[p];
	int64_t by;
	int code;

	if (f->steps == VNS_TWIN_STEPS ||
	    vo_stretch_is_steady(&pl->looked, at, vns_twin_offset(r->twin), r->jump_ns))
		return 0;
	code = look(r, pl, &by);
	if (code < 0)
		return vns_err_set(err, code, "no memory to look for a step of the clock");
	if (code && vns_twin_step(r->twin, p, f->pkt[0].time_ns, p == VNS_POINT_B ? by : -by) == 0)
		f->steps++;
	return 0;
}

static bool is_jump(const struct vo_offline *r, int64_t from, int64_t to)
{
	int64_t by;

	return __builtin_sub_overflow(to, from, &by) || by > r->jump_ns || by < -r->jump_ns;
}

/* Where another thread made briefs, packets are looked at no more: they are in that one's cache. */
static int64_t stamp_of(const struct feed *f, size_t i)
{
	return f->brief ? f->brief[i].time_ns : f->pkt[i].time_ns;
}

/* On A's clock, as this turn has it. Any 64-bit stamp may be in a file. */
static int64_t time_of(const struct pipeline *pl, enum vns_point p, int64_t stamp)
{
	int64_t time;

	if (__builtin_sub_overflow(stamp, p == VNS_POINT_B ? pl->turn_offset : 0, &time))
		return INT64_MAX - 1;
	return time;
}

static int64_t next_time(const struct pipeline *pl, enum vns_point p)
{
	return pl->feed[p].n ? time_of(pl, p, stamp_of(&pl->feed[p], 0)) : INT64_MAX;
}

/* The point that has packets in this turn, A first; where neither has, the next turn begins. */
static enum vns_point whose_turn(const struct vo_offline *r, struct pipeline *pl)
{
	int64_t a = next_time(pl, VNS_POINT_A), b = next_time(pl, VNS_POINT_B);

	if (a >= pl->turn_until && b >= pl->turn_until) {
		pl->turn_offset = vns_twin_offset(r->twin);
		a = next_time(pl, VNS_POINT_A);
		b = next_time(pl, VNS_POINT_B);
		if (__builtin_add_overflow(a < b ? a : b, r->jump_ns / TURNS + 1, &pl->turn_until))
			pl->turn_until = INT64_MAX;
	}
	return a < pl->turn_until ? VNS_POINT_A : VNS_POINT_B;
}

/* Packets of the turn, up to the next jump of the stamps. */
static size_t of_turn(const struct vo_offline *r, const struct pipeline *pl, enum vns_point p)
{
	const struct feed *f = &pl->feed[p];
	size_t n = 1;

	while (n < f->n && time_of(pl, p, stamp_of(f, n)) < pl->turn_until &&
	       !is_jump(r, stamp_of(f, n - 1), stamp_of(f, n)))
		n++;
	return n;
}

/* Feed one file as far as its turn goes, and its clock steadily. */
static int feed_one(struct vo_offline *r, struct pipeline *pl, struct vns_err *err)
{
	enum vns_point p;
	struct feed *f;
	size_t n;

	/* Set forward, a clock makes its file wait for the other; set back, the other for it. */
	for (int i = 0; i < 2; i++) {
		int code;

		f = &pl->feed[i];
		if (!f->n || !f->any || !is_jump(r, f->last_ns, stamp_of(f, 0)))
			continue;
		f->last_ns = stamp_of(f, 0); /* looked at once */
		code = see_jump(r, pl, i, err);
		if (code)
			return code;
		return 0;
	}
	p = whose_turn(r, pl);
	f = &pl->feed[p];
	n = of_turn(r, pl, p);
	if (f->brief ? twin_feed_briefed(r->twin, p, f->pkt, f->brief, n) :
		       vns_twin_feed(r->twin, p, f->pkt, n))
		return vns_err_set(err, -ENOMEM, "no memory to pair the captures");
	f->any = true;
	f->last_ns = stamp_of(f, n - 1);
	f->fed += n;
	if (n == f->n) {
		done_with(pl, p);
	} else {
		f->pkt += n;
		f->brief = f->brief ? f->brief + n : NULL;
		f->n -= n;
	}
	return 0;
}

static int pump(struct vo_offline *r, struct pipeline *pl, struct vns_err *err)
{
	for (;;) {
		bool failed;
		int code;

		for (int i = 0; i < 2; i++) {
			code = next_batch(pl, i, err);
			if (code)
				return code;
			if (pl->feed[i].eof)
				vns_twin_advance(r->twin, i, INT64_MAX);
		}
		if (pl->feed[0].eof && pl->feed[1].eof)
			break;
		code = feed_one(r, pl, err);
		if (code)
			return code;
		vns_crew_lock(pl->crew);
		failed = pl->out.failed;
		vns_crew_unlock(pl->crew);
		if (failed)
			return vns_err_set(err, -ENOMEM, "no memory to pair the captures");
	}
	vns_twin_finish(r->twin);
	hand_over(&pl->out);
	vns_crew_lock(pl->crew);
	pl->out.resting = false;
	vns_crew_wait(pl->crew, is_empty, &pl->out);
	vns_crew_unlock(pl->crew);
	return pl->out.failed ? vns_err_set(err, -ENOMEM, "no memory for the figures") : 0;
}

/* A read that waits for its writer must end by Ctrl-C. */
static bool is_pipe(const struct vo_end *e)
{
	struct stat s;

	return (strcmp(e->path, "-") ? stat(e->path, &s) : fstat(STDIN_FILENO, &s)) || !S_ISREG(s.st_mode);
}

/* @ahead: briefs are made with the packets; the engine must know its guest's addresses for it. */
static bool take_inbox(struct inbox *in, bool ahead)
{
	bool have = true;

	for (int i = 0; i < BUFFERS; i++) {
		have &= (in->pkt[i] = aligned_alloc(64, VO_BATCH * sizeof(*in->pkt[i]))) != NULL;
		if (ahead)
			have &= (in->brief[i] = aligned_alloc(64, VO_BATCH * sizeof(*in->brief[i]))) !=
				NULL;
	}
	return have;
}

static int take_buffers(struct vo_offline *r, struct pipeline *pl)
{
	bool have = true;

	for (int i = 0; i < BUFFERS; i++)
		have &= (pl->out.s[i] = malloc(VO_BATCH * sizeof(*pl->out.s[i]))) != NULL;
	for (int p = 0; p < 2; p++) {
		pl->in[p].end = &r->end[p];
		pl->in[p].guest = r->guest;
		pl->in[p].n_guest = r->n_guest;
		pl->in[p].wanted = r->opts->threads > 1 && !is_pipe(&r->end[p]) ? BUFFERS : 1;
		have &= take_inbox(&pl->in[p], pl->in[p].wanted > 1 && r->n_guest);
		pl->feed[p] = (struct feed){ .pkt = r->end[p].pkt, .n = r->end[p].n };
		pl->job[p] = (struct vns_crew_job){ can_fill, fill, filled, fill_urgency, &pl->in[p],
						     false, is_pipe(&r->end[p]) };
	}
	pl->out.run = r;
	pl->out.pipe = pl;
	pl->job[2] = (struct vns_crew_job){ can_tally, tally, tallied, tally_urgency, &pl->out, false,
					     false };
	return have ? 0 : -ENOMEM;
}

static void free_pipeline(struct pipeline *pl)
{
	vns_crew_free(pl->crew);
	for (int i = 0; i < BUFFERS; i++) {
		free(pl->in[0].pkt[i]);
		free(pl->in[1].pkt[i]);
		free(pl->in[0].brief[i]);
		free(pl->in[1].brief[i]);
		free(pl->out.s[i]);
	}
	free(pl);
}

int vo_pipeline(struct vo_offline *r, const struct vns_twin_opts *opts, struct vns_err *err)
{
	struct pipeline *pl = calloc(1, sizeof(*pl));
	unsigned int threads = r->opts->threads ? r->opts->threads : 1;
	int code;

	if (!pl)
		return vns_err_set(err, -ENOMEM, "no memory to pair the captures");
	pl->turn_until = INT64_MIN;
	r->jump_ns = (opts->window_ns > 0 ? opts->window_ns : 5 * VNS_NSEC_PER_SEC) / 2;
	code = take_buffers(r, pl);
	if (code)
		vns_err_set(err, code, "no memory to pair the captures");
	if (!code)
		code = vns_twin_new(&r->twin, opts, on_sample, &pl->out, err);
	if (!code)
		code = vns_crew_new(&pl->crew, pl->job, 3, threads < 4 ? threads - 1 : 3, err);
	if (!code)
		code = pump(r, pl, err);
	free_pipeline(pl);
	return code;
}
