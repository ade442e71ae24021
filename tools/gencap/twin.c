// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * twin mode: units of traffic in order of their start -> items at two points -> two captures
 * and the truth. Items wait in one heap per point until no unit can come before them, so
 * memory holds only what is under way.
 */
#include <stdlib.h>
#include <string.h>

#include "twin.h"

/*
 * How near to an end of a capture nothing on the wire tells "lost" from "not captured": a reader
 * knows the end only by the packets near it.
 */
static int64_t edge_ns(const struct gc_opts *o)
{
	return 50 * GC_MSEC + (int64_t)(o->duration_s * 50e9 / (double)o->packets);
}

static const char point_name[] = "AB";
static const char *const dir_name[] = { "h2g,", "g2h,", "-," };

static void grow_items(struct twin *w)
{
	uint32_t from = w->n_items, to = from ? 2 * from : 4096;

	w->item = gc_grow(w->item, to, sizeof(*w->item));
	for (uint32_t i = to; i-- > from;) {
		w->item[i].next = w->free_item;
		w->free_item = i;
	}
	w->n_items = to;
}

struct tw_item *tw_put(struct twin *w, int point, int64_t t, int dir, const struct gc_pkt *pkt)
{
	struct tw_item *it;
	uint32_t id;

	if (w->free_item == UINT32_MAX)
		grow_items(w);
	id = w->free_item;
	it = &w->item[id];
	w->free_item = it->next;
	memset(it, 0, sizeof(*it));
	it->t = t;
	it->pkt = *pkt;
	it->dir = (uint8_t)dir;
	it->first = it->last = TW_NEVER;
	it->class = TW_MATCHED;
	gc_heap_push(&w->heap[point], t, w->order++, id);
	return it;
}

struct tw_item *tw_send(struct twin *w, struct tw_flow *f, int64_t t, int dir,
			const struct gc_pkt *pkt)
{
	if (t > f->busy_until)
		f->busy_until = t;
	w->sent++;
	return tw_put(w, dir == TW_H2G ? TW_A : TW_B, t, dir, pkt);
}

bool tw_seen_at(const struct twin *w, int point, int64_t t)
{
	return point == TW_A || (t >= w->from_b && t <= w->to_b);
}

static bool near(const struct twin *w, int64_t a, int64_t b)
{
	return a - b < edge_ns(w->o) && b - a < edge_ns(w->o);
}

void tw_unmatched(const struct twin *w, struct tw_item *it, int other_point, int64_t t)
{
	int64_t from = other_point == TW_B ? w->from_b : 0;
	int64_t to = other_point == TW_B && w->to_b < w->end ? w->to_b : w->end;

	it->class = tw_seen_at(w, other_point, t) ? TW_MISSING : TW_OUTSIDE;
	if (near(w, t, from) || near(w, t, to) || t > to)
		it->other |= TW_MISSING | TW_OUTSIDE;
}

/* Stamp of @point's clock, as written into the file. */
static int64_t stamp(const struct twin *w, int point, int64_t t)
{
	if (point == TW_B)
		t += w->o->offset_ns + (int64_t)(w->o->drift_ppm * 1e-6 * (double)t) +
		     (t >= w->end / 2 ? w->o->step_ns : 0);
	return gc_cap_round(&w->cap[point], t);
}

static void put_classes(struct gc_out *o, unsigned int set)
{
	static const char *const name[] = { "matched", "missing", "ambiguous", "outside_window",
					    "undecodable" };
	bool any = false;

	for (unsigned int i = 0; i < 5; i++) {
		if (!(set >> i & 1))
			continue;
		gc_csv_text(o, any ? "|" : "");
		gc_csv_text(o, name[i]);
		any = true;
	}
	gc_csv_text(o, any ? "," : "-,");
}

/* Stamps at A and B, and the latency, of one byte of an upstream item. */
static void put_byte(struct twin *w, int point, const struct tw_item *it, int64_t there, char end)
{
	int64_t base = w->cap[point].start_ns;
	bool up_is_a = point == TW_A;

	if (there == TW_NEVER) {
		gc_csv_text(&w->truth, end == '\n' ? ",,\n" : ",,,");
		return;
	}
	gc_csv_i64(&w->truth, stamp(w, TW_A, up_is_a ? it->t : there) + base, ',');
	gc_csv_i64(&w->truth, stamp(w, TW_B, up_is_a ? there : it->t) + base, ',');
	gc_csv_i64(&w->truth, there - it->t, end);
}

static void put_truth(struct twin *w, int point, const struct tw_item *it)
{
	struct gc_out *o = &w->truth;
	char head[3] = { point_name[point], ',', '\0' };

	gc_csv_text(o, "P,");
	gc_csv_text(o, head);
	gc_csv_i64(o, (int64_t)w->cap[point].packets - 1, ',');
	gc_csv_i64(o, stamp(w, point, it->t) + w->cap[point].start_ns, ',');
	gc_csv_text(o, dir_name[it->dir]);
	gc_csv_i64(o, it->arp ? 0 : it->pkt.path->proto, ',');
	gc_csv_i64(o, it->pkt.len, ',');
	put_classes(o, it->class);
	put_classes(o, it->other & ~it->class);
	put_byte(w, point, it, it->first, ',');
	put_byte(w, point, it, it->last, '\n');
}

static void write_item(struct twin *w, int point, const struct tw_item *it)
{
	struct gc_cap *c = &w->cap[point];
	uint8_t *room;
	uint32_t wire;

	if (!tw_seen_at(w, point, it->t))
		return;
	room = gc_cap_room(c);
	wire = it->arp ? gc_build_arp(it->pkt.path, room) : gc_build(&it->pkt, room, c->snap);
	gc_cap_commit(c, stamp(w, point, it->t), wire);
	if (w->want_truth)
		put_truth(w, point, it);
}

static void flush(struct twin *w, int64_t before)
{
	for (int point = 0; point < 2; point++) {
		struct gc_heap *h = &w->heap[point];

		while (h->n && h->entry[0].t < before) {
			uint32_t id = gc_heap_pop(h);

			write_item(w, point, &w->item[id]);
			w->item[id].next = w->free_item;
			w->free_item = id;
		}
	}
}

static void begin(struct twin *w)
{
	const struct gc_opts *o = w->o;

	w->end = (int64_t)(o->duration_s * 1e9);
	w->from_b = (int64_t)(o->cut_s * 1e9);
	w->to_b = o->cut_s > 0 ? w->end - w->from_b : INT64_MAX;
	if (w->from_b >= w->end / 2)
		gc_die(GC_EXIT_USAGE, "--cut: %g s at each end leave nothing of %g s", o->cut_s,
		       o->duration_s);
	gc_cap_open(&w->cap[TW_A], o->host, o);
	gc_cap_open(&w->cap[TW_B], o->guest, o);
	if (w->want_truth) {
		gc_out_open(&w->truth, o->truth);
		gc_csv_text(&w->truth, "H,vns-gencap,1,twin,seed,");
		gc_csv_i64(&w->truth, (int64_t)o->seed, '\n');
		gc_csv_text(&w->truth, "# P,point,index,stamp_ns,dir,proto,len,class,others,"
				       "a_first_ns,b_first_ns,first_latency_ns,"
				       "a_last_ns,b_last_ns,last_latency_ns\n");
	}
	w->flow = gc_grow(NULL, o->flows, sizeof(*w->flow));
	for (uint64_t i = 0; i < o->flows; i++)
		tw_flow_init(w, i);
}

static void end(struct twin *w)
{
	flush(w, INT64_MAX);
	for (int p = 0; p < 2; p++) {
		gc_cap_close(&w->cap[p]);
		free(w->heap[p].entry);
	}
	if (w->want_truth)
		gc_out_close(&w->truth);
	free(w->item);
	free(w->flow);
	fprintf(stderr, "vns-gencap: %llu packets at the host, %llu in the guest\n",
		(unsigned long long)w->cap[TW_A].packets,
		(unsigned long long)w->cap[TW_B].packets);
}

int gc_run_twin(const struct gc_opts *o)
{
	struct twin w = { .o = o, .rng.state = o->seed, .want_truth = o->truth != NULL,
			  .free_item = UINT32_MAX };
	int64_t t = 0;
	uint64_t units = 0;

	begin(&w);
	while (w.sent < o->packets && t < w.end) {
		double per_unit = units > 100 ? (double)w.sent / (double)units : 4;
		double left = (double)(o->packets - w.sent) / per_unit;

		flush(&w, t);
		if (gc_pct(&w.rng, o->foreign))
			tw_stranger(&w, t);
		else
			tw_unit(&w, &w.flow[gc_below(&w.rng, (uint32_t)o->flows)], t);
		units++;
		t += (int64_t)gc_exponential(&w.rng, (double)(w.end - t) / (left + 1));
	}
	end(&w);
	return 0;
}
