// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Clock relations as JSON and CSV: struct vns_drift_result -> documents that vns_drift_file_read()
 * and other programs read.
 *
 * Where the probes cross the measured path ("split": "not identifiable") the document's midpoint is
 * null; samples and pieces stay as they were measured, for vns_drift_file_read() and plots.
 * Offsets and bounds are whole ns, bounds rounded outward: nothing is lost for offsets of hours,
 * and what is certain stays certain.
 */
#include <inttypes.h>
#include <math.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

#define SCHEMA "vnetscope.drift/1"

/* ppm with nine decimals (1e-15 of a rate), rounded outward by @dir. */
static json_t *ppm(double v, int dir)
{
	double scaled = v * 1e9;

	return json_real((dir < 0 ? floor(scaled) : dir > 0 ? ceil(scaled) : round(scaled)) / 1e9);
}

static json_t *knots(const struct vns_clock_knot *k, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("[I,I]", (json_int_t)k[i].at_ns,
						      (json_int_t)k[i].value_ns));
	return list;
}

static json_t *piece_json(const struct vns_clock_saved *s)
{
	const struct vns_clock_piece *p = &s->piece;
	json_t *o = json_object(), *ci = json_object();

	json_object_set_new(o, "from_ns", json_integer(p->from_ns));
	json_object_set_new(o, "to_ns", json_integer(p->to_ns));
	json_object_set_new(o, "offset_ns", vns_json_whole_ns(p->offset_ns, 0));
	json_object_set_new(o, "drift_ppm", ppm(p->drift_ppm, 0));
	json_object_set_new(o, "drift_lower_ppm", ppm(p->drift_lower_ppm, -1));
	json_object_set_new(o, "drift_upper_ppm", ppm(p->drift_upper_ppm, 1));
	json_object_set_new(o, "step_after", json_boolean(p->step_after));
	json_object_set_new(o, "widened_ns", vns_json_whole_ns(p->widened_ns, 1));
	json_object_set_new(o, "bent", json_boolean(p->bent));
	json_object_set_new(o, "undecided", json_boolean(p->undecided));
	json_object_set_new(o, "split_ns", json_integer(s->split_ns));
	json_object_set_new(o, "uncertain", json_boolean(s->weak));
	if (s->have_ci) {
		json_object_set_new(ci, "at_ns", json_integer(s->ci_at_ns));
		json_object_set_new(ci, "half_ns", vns_json_real(s->ci_half_ns, 3));
		json_object_set_new(ci, "half_ppm", vns_json_real(s->ci_half_ppm, 9));
		json_object_set(o, "ci", ci);
	}
	json_decref(ci);
	json_object_set_new(o, "lower", knots(s->lower, s->n_lower));
	json_object_set_new(o, "upper", knots(s->upper, s->n_upper));
	return o;
}

static json_t *pieces_json(const struct vns_clock *clock)
{
	json_t *list = json_array();
	size_t n;

	vns_clock_pieces(clock, &n);
	for (size_t i = 0; i < n; i++) {
		struct vns_clock_saved s;

		if (vns_clock_export(clock, i, &s))
			break;
		json_array_append_new(list, piece_json(&s));
		vns_clock_saved_fini(&s);
	}
	return list;
}

static json_t *samples_json(const struct vns_clock *clock)
{
	json_t *list = json_array();
	size_t n;
	const struct vns_clock_sample *s = vns_clock_samples(clock, &n);

	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "at_ns", json_integer(s[i].at_ns));
		json_object_set_new(o, "offset_ns", vns_json_whole_ns(s[i].offset_ns, 0));
		json_object_set_new(o, "lower_ns", vns_json_whole_ns(s[i].lower_ns, -1));
		json_object_set_new(o, "upper_ns", vns_json_whole_ns(s[i].upper_ns, 1));
		json_object_set_new(o, "rtt_ns", json_integer(s[i].rtt_ns));
		json_object_set_new(o, "processing_ns", json_integer(s[i].processing_ns));
		json_object_set_new(o, "used", json_boolean(s[i].used));
		json_object_set_new(o, "contradicts", json_boolean(s[i].contradicts));
		json_array_append_new(list, o);
	}
	return list;
}

/* What the exchanges' own packets took: null where the mode makes none. */
static json_t *ways_json(const struct vns_drift_result *r)
{
	static const char *const names[] = { "host_to_guest", "guest_to_host" };
	json_t *o = json_object();

	if (!r->way[0].excess.n) {
		json_decref(o);
		return json_null();
	}
	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		json_t *way = json_object();

		json_object_set_new(way, "floor_lower_ns",
				    vns_json_whole_ns(r->way[d].floor_lower_ns, -1));
		json_object_set_new(way, "floor_upper_ns",
				    vns_json_whole_ns(r->way[d].floor_upper_ns, 1));
		json_object_set_new(way, "excess_ns", vns_json_excess(&r->way[d].excess, 0));
		json_object_set_new(o, names[d], way);
	}
	json_object_set_new(o, "floor_sum_ns", vns_json_whole_ns(r->floor_sum_ns, 0));
	json_object_set_new(o, "floor_sum_upper_ns", vns_json_whole_ns(r->floor_sum_upper_ns, 1));
	return o;
}

static void add_members(json_t *o, const struct vns_drift_result *r)
{
	enum vns_split split = vns_drift_split(r);
	double hide = split == VNS_SPLIT_WITHHELD ? NAN : 0; /* not finite: null */
	json_t *exchanges = json_object();
	size_t n;
	const struct vns_clock_piece *p = vns_clock_pieces(r->clock, &n);
	uint64_t used, rejected, wrong, undecided;

	vns_clock_counts(r->clock, &used, &rejected);
	vns_clock_contradictions(r->clock, &wrong, &undecided);
	json_object_set_new(o, "target", vns_json_string(r->target));
	json_object_set_new(o, "mode", json_string(vns_clock_mode_name(r->mode)));
	json_object_set_new(o, "shares_measured_path",
			    json_boolean(vns_clock_mode_shares_path(r->mode)));
	json_object_set_new(o, "split", json_string(vns_split_name(split)));
	json_object_set_new(o, "tcg", json_boolean(r->tcg));
	json_object_set_new(o, "at_ns", json_integer(r->at.at_ns));
	json_object_set_new(o, "offset_ns", vns_json_whole_ns(r->at.offset_ns + hide, 0));
	json_object_set_new(o, "lower_ns", vns_json_whole_ns(r->at.lower_ns, -1));
	json_object_set_new(o, "upper_ns", vns_json_whole_ns(r->at.upper_ns, 1));
	json_object_set_new(o, "ci_lower_ns", vns_json_whole_ns(r->at.ci_lower_ns + hide, -1));
	json_object_set_new(o, "ci_upper_ns", vns_json_whole_ns(r->at.ci_upper_ns + hide, 1));
	json_object_set_new(o, "max_wander_ppm", ppm(vns_clock_get_wander(r->clock), 0));
	json_object_set_new(o, "ci_level", json_real(0.95));
	json_object_set_new(o, "ci_assumes", json_string("same fixed delay in both directions"));
	json_object_set_new(o, "drift_ppm", ppm(r->at.drift_ppm, 0));
	if (n > 0) {
		json_object_set_new(o, "drift_lower_ppm", ppm(p[n - 1].drift_lower_ppm, -1));
		json_object_set_new(o, "drift_upper_ppm", ppm(p[n - 1].drift_upper_ppm, 1));
	}
	json_object_set_new(o, "interrupted", json_boolean(r->interrupted));
	json_object_set_new(o, "ended_early",
			    r->ended_early[0] ? vns_json_string(r->ended_early) : json_null());
	json_object_set_new(o, "note", r->note[0] ? vns_json_string(r->note) : json_null());
	json_object_set_new(exchanges, "used", json_integer((json_int_t)used));
	json_object_set_new(exchanges, "rejected", json_integer((json_int_t)rejected));
	json_object_set_new(exchanges, "contradicting", json_integer((json_int_t)wrong));
	json_object_set_new(exchanges, "undecided", json_integer((json_int_t)undecided));
	json_object_set_new(exchanges, "lost", json_integer((json_int_t)r->lost));
	json_object_set_new(o, "exchanges", exchanges);
	json_object_set_new(o, "ways", ways_json(r));
	json_object_set_new(o, "pieces", pieces_json(r->clock));
	json_object_set_new(o, "samples", samples_json(r->clock));
}

json_t *vns_drift_json(const struct vns_drift_result *r)
{
	json_t *o = json_object();

	add_members(o, r);
	return o;
}

json_t *vns_drift_document(const struct vns_drift_result *r, size_t n, int argc, char *const *argv)
{
	json_t *doc = vns_json_head(SCHEMA, argc, argv), *modes;

	if (n == 1) {
		add_members(doc, r);
		return doc;
	}
	modes = json_array();
	if (n > 0) {
		json_object_set_new(doc, "target", vns_json_string(r[0].target));
		json_object_set_new(doc, "at_ns", json_integer(r[0].at.at_ns));
	}
	json_object_set_new(doc, "agree", json_boolean(vns_drift_agree(r, n)));
	for (size_t i = 0; i < n; i++)
		json_array_append_new(modes, vns_drift_json(&r[i]));
	json_object_set_new(doc, "modes", modes);
	return doc;
}

void vns_drift_csv(const struct vns_drift_result *r, size_t n, FILE *to)
{
	fputs("target,mode,at_ns,offset_ns,lower_ns,upper_ns,rtt_ns,processing_ns,used\n", to);
	for (size_t k = 0; k < n; k++) {
		size_t n_sample;
		const struct vns_clock_sample *s = vns_clock_samples(r[k].clock, &n_sample);

		for (size_t i = 0; i < n_sample; i++)
			fprintf(to, "%s,%s,%" PRId64 ",%.0f,%.0f,%.0f,%" PRId64 ",%" PRId64 ",%d\n",
				r[k].target, vns_clock_mode_name(r[k].mode), s[i].at_ns,
				s[i].offset_ns, floor(s[i].lower_ns), ceil(s[i].upper_ns),
				s[i].rtt_ns, s[i].processing_ns, s[i].used);
	}
}
