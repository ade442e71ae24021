// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Virtualisation latency as JSON and CSV: struct vns_vo_result -> documents for other programs.
 *
 * JSON has every direction and the three protocols always, empty ones with "matched": 0 and figures of
 * null, so that a reader needs no special case; packets of other protocols stand under "other" when
 * there are any. Interval ends that nothing bounds are null. Where the split of the directions cannot
 * be known ("split": "not identifiable") the figures that hold half of it are null too: "interval_ns",
 * "excess_ns" and the sum stand.
 */
#include <inttypes.h>
#include <math.h>

#include <vnetscope/measure.h>
#include <vnetscope/output.h>

static const char *const direction_name[] = { "host_to_guest", "guest_to_host" };
static const char *const point_name[] = { "host", "guest" };
static const char *const class_name[] = { "matched", "missing", "ambiguous", "outside_window",
					  "undecodable" };

static const char *proto_key(int p)
{
	return p == VNS_PROTO_NONE ? "other" : vns_proto_name((enum vns_proto)p);
}

/* One packet tells no percentile and no spread, and nothing above its own minimum. */
static void set_single(json_t *o, const struct vns_dist *d, bool above)
{
	static const char *const no[] = { "p50", "p95", "p99", "stddev", "mean", "max" };

	for (size_t i = 0; d->n == 1 && i < (above ? 6 : 4); i++)
		json_object_set_new(o, no[i], json_null());
}

static json_t *latency_json(const struct vns_dist *d, const struct vns_vo_figure *f, bool withheld)
{
	static const char *const midpoint[] = { "min", "mean", "p50", "p95", "p99", "max",
						"err_minus_ns", "err_plus_ns",
						"mean_err_minus_ns", "mean_err_plus_ns" };
	json_t *o = vns_json_dist(d);

	json_object_set_new(o, "err_minus_ns", vns_json_whole_ns(f->err_minus_ns, 1));
	json_object_set_new(o, "err_plus_ns", vns_json_whole_ns(f->err_plus_ns, 1));
	json_object_set_new(o, "mean_err_minus_ns", vns_json_whole_ns(f->mean_err_minus_ns, 1));
	json_object_set_new(o, "mean_err_plus_ns", vns_json_whole_ns(f->mean_err_plus_ns, 1));
	for (size_t i = 0; withheld && i < sizeof(midpoint) / sizeof(midpoint[0]); i++)
		json_object_set_new(o, midpoint[i], json_null());
	set_single(o, d, false);
	return o;
}

/*
 * [lowest, highest] that the clock relation leaves of a figure; null when there is none. Nothing is
 * below the least that the minimum can be.
 */
static json_t *span_json(const struct vns_vo_figure *f, double v, double minus, double plus)
{
	json_t *pair;

	if (!f->first.n)
		return json_null();
	pair = json_array();
	json_array_append_new(pair, vns_json_whole_ns(fmax(v - minus, f->floor_lower_ns), -1));
	json_array_append_new(pair, vns_json_whole_ns(v + plus, 1));
	return pair;
}

static json_t *interval_json(const struct vns_vo_figure *f)
{
	static const struct {
		const char *name;
		double q;
	} percentiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 } };
	json_t *o = json_object();

	json_object_set_new(o, "min", span_json(f, 0, -f->floor_lower_ns, f->floor_upper_ns));
	json_object_set_new(o, "mean", span_json(f, f->first.mean, f->mean_err_minus_ns,
						 f->mean_err_plus_ns));
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_object_set_new(o, percentiles[i].name, f->first.n == 1 ? json_null() : /* no percentile of one */
				    span_json(f, (double)vns_dist_quantile(&f->first, percentiles[i].q),
					      f->err_minus_ns, f->err_plus_ns));
	json_object_set_new(o, "max", span_json(f, (double)f->first.max, f->err_minus_ns,
						f->err_plus_ns));
	return o;
}

static json_t *figure_json(const struct vns_vo_figure *f, bool withheld)
{
	json_t *o = json_object(), *last = latency_json(&f->last, f, withheld);
	json_t *excess = vns_json_excess(&f->first, f->first.min);
	static const struct vns_intervals none;
	const struct vns_intervals *sampling = f->first.n && !withheld ? &f->interval : &none;

	json_object_set_new(o, "matched", json_integer((json_int_t)f->first.n));
	json_object_set_new(o, "latency_ns", latency_json(&f->first, f, withheld));
	json_object_set_new(o, "sampling_interval_ns", vns_json_intervals(sampling));
	json_object_set_new(last, "sampling_interval_ns",
			    vns_json_intervals(f->last.n && !withheld ? &f->last_interval : &none));
	json_object_set_new(o, "last_byte_ns", last);
	json_object_set_new(o, "interval_ns", interval_json(f));
	set_single(excess, &f->first, true);
	json_object_set_new(excess, "sampling_interval_ns",
			    vns_json_intervals_above(&f->interval, f->first.min));
	json_object_set_new(o, "excess_ns", excess);
	return o;
}

static json_t *directions_json(const struct vns_vo_figure fig[VNS_DIRECTIONS][VNS_PROTOS],
			       bool withheld)
{
	json_t *o = json_object();

	for (int d = 0; d < VNS_DIRECTIONS; d++) {
		json_t *of = json_object();

		for (int p = VNS_PROTO_NONE + 1; p < VNS_PROTOS; p++)
			json_object_set_new(of, proto_key(p), figure_json(&fig[d][p], withheld));
		if (fig[d][VNS_PROTO_NONE].first.n)
			json_object_set_new(of, "other",
					    figure_json(&fig[d][VNS_PROTO_NONE], withheld));
		json_object_set_new(o, direction_name[d], of);
	}
	return o;
}

/* Directions of some pairs against the sum of others: null when there were too few. */
static json_t *check_json(const struct vns_vo_check *c)
{
	json_t *o;

	if (!c->blocks)
		return json_null();
	o = json_object();
	json_object_set_new(o, "difference_ns", vns_json_real(c->difference_ns, 1));
	json_object_set_new(o, "lower_ns", vns_json_real(c->difference_ns - c->half_ns, 1));
	json_object_set_new(o, "upper_ns", vns_json_real(c->difference_ns + c->half_ns, 1));
	json_object_set_new(o, "blocks", json_integer(c->blocks));
	json_object_set_new(o, "inside", json_boolean(c->inside));
	return o;
}

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? vns_json_string(text) : json_null();
}

static json_t *dist_json(const struct vns_dist *d, const struct vns_intervals *sampling)
{
	json_t *o = vns_json_dist(d);

	json_object_set_new(o, "sampling_interval_ns", vns_json_intervals(sampling));
	return o;
}

static json_t *sums_json(const struct vns_vo_target *t)
{
	static const struct vns_vo_sum none;
	json_t *o = json_object();

	for (int p = 0; p < VNS_PROTOS; p++) {
		const char *withheld = vns_vo_sum_withheld(t, p);
		const struct vns_vo_sum *x = withheld ? &none : &t->sum[p];
		json_t *s;

		if (p == VNS_PROTO_NONE && !t->sum[p].paired.n)
			continue;
		s = dist_json(&x->paired, &x->interval);
		json_object_set_new(s, "gap_error_ns",
				    withheld ? json_null() : vns_json_real(x->gap_error_ns, 1));
		json_object_set_new(s, "forgotten",
				    withheld ? json_null() : json_integer((json_int_t)x->forgotten));
		json_object_set_new(s, "late_replies",
				    withheld ? json_null() : json_integer((json_int_t)x->late_replies));
		json_object_set_new(s, "across_step",
				    withheld ? json_null() : json_integer((json_int_t)x->across_step));
		json_object_set_new(s, "passed_over",
				    withheld ? json_null() : json_integer((json_int_t)x->passed_over));
		json_object_set_new(s, "biased", withheld ? json_null() : json_boolean(x->biased));
		json_object_set_new(s, "withheld", text_or_null(withheld));
		json_object_set_new(s, "check", check_json(&x->check));
		json_object_set_new(o, proto_key(p), s);
	}
	return o;
}

/* Null where nothing was measured that it could be of. */
static json_t *share_json(const struct vns_vo_target *t)
{
	struct vns_vo_share s;
	json_t *o;

	if (!vns_vo_share(t, &s))
		return json_null();
	o = json_object();
	json_object_set_new(o, "percent", vns_json_real(s.percent, 3));
	json_object_set_new(o, "lower_percent", vns_json_real(s.lower, 3));
	json_object_set_new(o, "upper_percent", vns_json_real(s.upper, 3));
	json_object_set_new(o, "ratio_percent", vns_json_real(s.ratio, 3));
	json_object_set_new(o, "left_out", json_integer((json_int_t)s.left_out));
	json_object_set_new(o, "withheld", text_or_null(s.withheld));
	return o;
}

static json_t *counts_json(const struct vns_twin_counts *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "read", json_integer((json_int_t)c->read));
	for (int k = 0; k < VNS_TWIN_CLASSES; k++)
		json_object_set_new(o, class_name[k], json_integer((json_int_t)c->in_class[k]));
	return o;
}

static json_t *missing_json(const struct vns_twin_counts *c)
{
	json_t *o = json_object();

	for (int p = 0; p < VNS_PROTOS; p++)
		if (p != VNS_PROTO_NONE || c->missing_by_proto[p])
			json_object_set_new(o, proto_key(p),
					    json_integer((json_int_t)c->missing_by_proto[p]));
	return o;
}

static json_t *ways_json(const struct vns_twin_counts *c)
{
	json_t *o = json_object();

	for (int d = 0; d < VNS_DIRECTIONS; d++)
		json_object_set_new(o, direction_name[d], json_integer((json_int_t)c->by_direction[d]));
	return o;
}

static json_t *end_json(const struct vns_addr *a, uint16_t port)
{
	char text[VNS_ADDR_STRLEN];
	json_t *o = json_object();

	json_object_set_new(o, "address", json_string(vns_addr_format(a, text)));
	json_object_set_new(o, "port", port ? json_integer(port) : json_null());
	return o;
}

static json_t *nat_json(const struct vns_vo_target *t)
{
	json_t *o = json_object(), *list = json_array();

	for (size_t i = 0; i < t->n_nat; i++) {
		const struct vns_twin_mapping *m = &t->nat[i];
		json_t *x = json_object();

		json_object_set_new(x, "kind", json_string(m->forwarded ? "forward" : "masquerade"));
		json_object_set_new(x, "ip_protocol", json_integer(m->ipproto));
		json_object_set_new(x, "at_host", end_json(&m->at_a, m->port_a));
		json_object_set_new(x, "at_guest", end_json(&m->at_b, m->port_b));
		json_object_set_new(x, "flows", json_integer((json_int_t)m->flows));
		json_array_append_new(list, x);
	}
	json_object_set_new(o, "translated", json_integer((json_int_t)t->translated));
	json_object_set_new(o, "mappings", list);
	return o;
}

/* What is whole at one point and in pieces at the other, beyond TCP. */
static json_t *pieces_json(const struct vns_twin_counts *c)
{
	return json_pack("{s:I, s:I, s:I}", "wholes", (json_int_t)c->wholes, "partly",
			 (json_int_t)c->partly, "pieces", (json_int_t)c->pieces);
}

static json_t *accounting_json(const struct vns_vo_target *t)
{
	json_t *o = json_object();

	for (int p = 0; p < 2; p++) {
		json_t *c = counts_json(&t->counts[p]);

		json_object_set_new(c, "capture_lost", json_integer((json_int_t)t->capture_lost[p]));
		json_object_set_new(c, "doubled", json_integer((json_int_t)t->doubled[p]));
		json_object_set_new(c, "stray_stamps", json_integer((json_int_t)t->stray[p]));
		json_object_set_new(c, "not_sampled", json_integer((json_int_t)t->not_sampled[p]));
		json_object_set_new(c, "clock_ahead",
				    json_integer(p == VNS_POINT_B ? (json_int_t)t->clock_ahead : 0));
		json_object_set_new(c, "other_epoch",
				    json_integer(p == VNS_POINT_B ? (json_int_t)t->other_epoch : 0));
		json_object_set_new(c, "unknown_address",
				    json_integer(p == VNS_POINT_A ? (json_int_t)t->unknown_address : 0));
		json_object_set_new(c, "in_pieces", pieces_json(&t->counts[p]));
		json_object_set_new(c, "by_direction", ways_json(&t->counts[p]));
		json_object_set_new(c, "missing_by_protocol", missing_json(&t->counts[p]));
		json_object_set_new(o, point_name[p], c);
	}
	return o;
}

static json_t *clock_json(const struct vns_vo_target *t)
{
	const struct vns_clock_at *c = &t->clock;
	enum vns_split split = vns_vo_split(t);
	/* One clock was only assumed, and no packet was there to bear it out. */
	bool none = t->clock_mode == VNS_CLOCK_SAME && !isfinite(c->lower_ns) && !isfinite(c->upper_ns);
	double hide = none || split == VNS_SPLIT_WITHHELD ? NAN : 0; /* not finite: null */
	double rate = none ? NAN : 0;
	json_t *o = json_object();

	json_object_set_new(o, "split", text_or_null(none ? NULL : vns_split_name(split)));
	json_object_set_new(o, "mode", text_or_null(none ? NULL : vns_clock_mode_name(t->clock_mode)));
	json_object_set_new(o, "shares_measured_path",
			    json_boolean(vns_clock_mode_shares_path(t->clock_mode)));
	json_object_set_new(o, "at_ns", json_integer(c->at_ns));
	json_object_set_new(o, "offset_ns", vns_json_whole_ns(c->offset_ns + hide, 0));
	json_object_set_new(o, "lower_ns", vns_json_whole_ns(c->lower_ns, -1));
	json_object_set_new(o, "upper_ns", vns_json_whole_ns(c->upper_ns, 1));
	json_object_set_new(o, "ci_lower_ns", vns_json_whole_ns(c->ci_lower_ns + hide, -1));
	json_object_set_new(o, "ci_upper_ns", vns_json_whole_ns(c->ci_upper_ns + hide, 1));
	json_object_set_new(o, "drift_ppm", vns_json_real(c->drift_ppm + rate, 6));
	json_object_set_new(o, "drift_lower_ppm", vns_json_real(c->drift_lower_ppm + rate, 6));
	json_object_set_new(o, "drift_upper_ppm", vns_json_real(c->drift_upper_ppm + rate, 6));
	json_object_set_new(o, "extrapolated", json_boolean(c->extrapolated));
	json_object_set_new(o, "exchanges", json_integer((json_int_t)t->exchanges));
	json_object_set_new(o, "fastest_exchange_ns", t->exchanges ? json_integer(t->fastest_ns) : json_null());
	json_object_set_new(o, "slowest_exchange_ns", t->exchanges ? json_integer(t->slowest_ns) : json_null());
	json_object_set_new(o, "contradicting", json_integer((json_int_t)t->contradicting));
	json_object_set_new(o, "undecided", json_integer((json_int_t)t->undecided));
	return o;
}

static json_t *hops_json(const struct vns_vo_target *t)
{
	bool withheld = vns_vo_split(t) == VNS_SPLIT_WITHHELD;
	json_t *list = json_array();

	for (size_t i = 0; i < t->n_hop; i++) {
		const struct vns_vo_hop *h = &t->hop[i];
		json_t *o = json_object(), *a = json_object();

		json_object_set_new(o, "from", vns_json_string(h->from));
		json_object_set_new(o, "to", vns_json_string(h->to));
		json_object_set_new(o, "clock_free", json_boolean(h->clock_free));
		json_object_set_new(o, "directions",
				    directions_json(h->fig, withheld && !h->clock_free));
		json_object_set_new(a, "from", counts_json(&h->counts[VNS_POINT_A]));
		json_object_set_new(a, "to", counts_json(&h->counts[VNS_POINT_B]));
		json_object_set_new(o, "accounting", a);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *negatives_json(const struct vns_vo_target *t)
{
	struct vns_vo_negative negative[VNS_VO_MAX_NEGATIVE];
	size_t n = vns_vo_negatives(t, negative);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:b s:o}", "impossible", negative[i].impossible,
						      "text", vns_json_string(negative[i].text)));
	return list;
}

static json_t *overhead_json(const struct vns_vo_target *t)
{
	json_t *o = json_object();

	json_object_set_new(o, "host_cpu", t->host_cpu < 0 ? json_null() : vns_json_real(t->host_cpu, 4));
	json_object_set_new(o, "agent_cpu",
			    t->agent_cpu < 0 ? json_null() : vns_json_real(t->agent_cpu, 4));
	json_object_set_new(o, "agent_bytes", json_integer((json_int_t)t->agent_bytes));
	return o;
}

/* The size of a step with its bounds, or null. */
static json_t *step_json(const struct vns_vo_event *e)
{
	json_t *o;

	if (!e->within_ns)
		return json_null();
	o = json_object();
	json_object_set_new(o, "by_ns", vns_json_whole_ns(e->by_ns, 0));
	json_object_set_new(o, "lower_ns", vns_json_whole_ns(e->lower_ns, -1));
	json_object_set_new(o, "upper_ns", vns_json_whole_ns(e->upper_ns, 1));
	json_object_set_new(o, "within_ns", json_integer(e->within_ns));
	return o;
}

static json_t *events_json(const struct vns_vo_target *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n_event; i++) {
		const struct vns_vo_event *e = &t->event[i];

		json_array_append_new(list, json_pack("{s:I s:s s:o s:o}", "at_ns", (json_int_t)e->at_ns, "kind",
						      e->kind, "text", vns_json_string(e->text), "step", step_json(e)));
	}
	return list;
}

json_t *vns_vo_json_target(const struct vns_vo_target *t)
{
	json_t *o = json_object(), *rtt = json_object();

	json_object_set_new(o, "name", vns_json_string(t->name));
	json_object_set_new(o, "from_point", vns_json_string(t->from_point));
	json_object_set_new(o, "tcg", json_boolean(t->tcg));
	json_object_set_new(o, "clock", clock_json(t));
	json_object_set_new(o, "directions", directions_json(t->fig, vns_vo_split(t) == VNS_SPLIT_WITHHELD));
	json_object_set_new(o, "sum_ns", sums_json(t));
	json_object_set_new(o, "late_samples", json_integer((json_int_t)t->late_samples));
	json_object_set_new(o, "negative", negatives_json(t));
	json_object_set_new(o, "accounting", accounting_json(t));
	json_object_set_new(o, "nat", nat_json(t));
	json_object_set_new(o, "evicted", json_integer((json_int_t)t->evicted));
	json_object_set_new(o, "sample", json_pack("{s:I s:I}", "first_one_in",
						   (json_int_t)(t->sample_first ? t->sample_first : 1),
						   "last_one_in",
						   (json_int_t)(t->sample_last ? t->sample_last : 1)));
	json_object_set_new(o, "unrelated", json_integer((json_int_t)t->unrelated));
	json_object_set_new(o, "events", events_json(t));
	json_object_set_new(o, "events_left_out", json_integer((json_int_t)t->events_left_out));
	json_object_set_new(o, "hops", hops_json(t));
	json_object_set_new(rtt, "client_side_ns", dist_json(&t->rtt.client_side, &t->rtt.client_interval));
	json_object_set_new(rtt, "guest_side_ns", dist_json(&t->rtt.guest_side, &t->rtt.guest_interval));
	json_object_set_new(rtt, "guest_within_ns", dist_json(&t->rtt.guest_within, &t->rtt.within_interval));
	json_object_set_new(o, "rtt", rtt);
	json_object_set_new(o, "share", share_json(t));
	json_object_set_new(o, "overhead", overhead_json(t));
	json_object_set_new(o, "ended_early", text_or_null(t->ended_early));
	json_object_set_new(o, "note", text_or_null(t->note));
	return o;
}

int vns_vo_print_json(const struct vns_vo_result *r, json_t *head, FILE *to)
{
	json_t *list = json_array();
	int code;

	vns_json_set_percentile_error(head);
	json_object_set_new(head, "from_ns", json_integer(r->from_ns));
	json_object_set_new(head, "to_ns", json_integer(r->to_ns));
	json_object_set_new(head, "interrupted", json_boolean(r->interrupted));
	for (size_t i = 0; i < r->n_target; i++)
		json_array_append_new(list, vns_vo_json_target(&r->target[i]));
	json_object_set_new(head, "targets", list);
	code = vns_json_print(head, to);
	json_decref(head);
	return code;
}

/* A number, or nothing where nothing bounds it. */
static void put_ns(FILE *to, double v)
{
	if (isfinite(v))
		fprintf(to, ",%.0f", v);
	else
		fputc(',', to);
}

static void put_row(const struct vns_vo_target *t, int d, int p, const char *byte,
		    const struct vns_dist *x, FILE *to)
{
	const struct vns_vo_figure *f = &t->fig[d][p];
	enum vns_split split = vns_vo_split(t);
	bool withheld = split == VNS_SPLIT_WITHHELD;
	static const struct vns_intervals none;

	fprintf(to, "%s,%s,%s,%s,%" PRIu64, t->name, direction_name[d], proto_key(p), byte, x->n);
	if (withheld)
		fprintf(to, ",,,,,,,%.1f,,", vns_dist_stddev(x));
	else
		fprintf(to, ",%" PRId64 ",%.1f,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%.1f",
			x->min, x->mean, vns_dist_quantile(x, 0.5), vns_dist_quantile(x, 0.95),
			vns_dist_quantile(x, 0.99), x->max, vns_dist_stddev(x));
	if (!withheld) {
		put_ns(to, ceil(f->err_minus_ns));
		put_ns(to, ceil(f->err_plus_ns));
	}
	fprintf(to, ",%s", vns_clock_mode_name(t->clock_mode));
	put_ns(to, withheld ? NAN : t->clock.offset_ns);
	put_ns(to, floor(t->clock.lower_ns));
	put_ns(to, ceil(t->clock.upper_ns));
	fprintf(to, ",%s", vns_split_name(split));
	put_ns(to, x == &f->first ? floor(f->floor_lower_ns) : NAN);
	put_ns(to, x == &f->first ? ceil(f->floor_upper_ns) : NAN);
	fprintf(to, ",%.1f,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64,
		x->mean - (double)x->min, vns_dist_quantile(x, 0.5) - x->min,
		vns_dist_quantile(x, 0.95) - x->min, vns_dist_quantile(x, 0.99) - x->min,
		x->max - x->min);
	vns_rtt_csv_intervals(withheld ? &none : x == &f->first ? &f->interval : &f->last_interval, to);
}

int vns_vo_print_csv(const struct vns_vo_result *r, FILE *to)
{
	fputs("target,direction,protocol,byte,matched,min_ns,mean_ns,p50_ns,p95_ns,p99_ns,max_ns,"
	      "stddev_ns,err_minus_ns,err_plus_ns,clock_mode,offset_ns,lower_ns,upper_ns,split,"
	      "floor_lower_ns,floor_upper_ns,excess_mean_ns,excess_p50_ns,excess_p95_ns,"
	      "excess_p99_ns,excess_max_ns," VNS_RTT_CSV_INTERVALS "\n", to);
	for (size_t i = 0; i < r->n_target; i++) {
		const struct vns_vo_target *t = &r->target[i];

		for (int d = 0; d < VNS_DIRECTIONS; d++) {
			for (int p = 0; p < VNS_PROTOS; p++) {
				if (t->fig[d][p].first.n)
					put_row(t, d, p, "first", &t->fig[d][p].first, to);
				if (t->fig[d][p].last.n)
					put_row(t, d, p, "last", &t->fig[d][p].last, to);
			}
		}
	}
	return vns_text_flush(to);
}
