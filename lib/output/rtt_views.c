// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Views over passive RTT and the accounting of what is not TCP: struct vns_rtt_result -> text, JSON, CSV.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <vnetscope/output.h>

#include "output/rtt_say.h"

/* --- Accounting of ICMP, DNS and QUIC --- */

#define ROW(field) VNS_JSON_COUNTER(struct vns_rtt_query_counts, field)
static json_t *json_queries(const struct vns_rtt_query_counts *c)
{
	static const struct vns_json_counter rows[] = {
		ROW(requests), ROW(replies), ROW(samples), ROW(repeated), ROW(ambiguous),
		ROW(unasked), ROW(repeated_replies), ROW(backwards), ROW(unanswered),
		ROW(dropped),
	};
	json_t *o = json_object();

	vns_json_set_counters(o, c, rows, sizeof(rows) / sizeof(rows[0]));
	return o;
}
#undef ROW

#define ROW(field) VNS_JSON_COUNTER(struct vns_rtt_stream_counts, field)
static json_t *json_stream(const struct vns_rtt_stream_counts *c)
{
	static const struct vns_json_counter rows[] = { ROW(lengths), ROW(continued), ROW(unread), ROW(inside) };
	json_t *o = json_object();

	vns_json_set_counters(o, c, rows, sizeof(rows) / sizeof(rows[0]));
	return o;
}
#undef ROW

#define ROW(field) VNS_JSON_COUNTER(struct vns_rtt_quic_counts, field)
static json_t *json_quic(const struct vns_rtt_quic_counts *c)
{
	static const struct vns_json_counter rows[] = {
		ROW(long_headers), ROW(short_headers), ROW(flows),
		{ "flows_evicted_idle", offsetof(struct vns_rtt_quic_counts, flows_idle) },
		{ "flows_evicted_full", offsetof(struct vns_rtt_quic_counts, flows_full) },
		ROW(connections), ROW(retries), ROW(negotiations), ROW(repeated), ROW(ambiguous),
		ROW(foreign), ROW(handshake_samples), ROW(spin_edges), ROW(spin_samples),
		ROW(spin_rejected), ROW(spin_low), ROW(spin_silent), ROW(spin_unconfirmed),
		ROW(spin_not_spinning), ROW(cid_changes), ROW(backwards),
	};
	json_t *o = json_object();

	vns_json_set_counters(o, c, rows, sizeof(rows) / sizeof(rows[0]));
	return o;
}
#undef ROW

json_t *vns_rtt_json_app(const struct vns_rtt_result *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "other", vns_json_u64(r->app.other));
	json_object_set_new(o, "cut", vns_json_u64(r->app.cut));
	if (r->kinds & 1u << VNS_RTT_ICMP)
		json_object_set_new(o, "icmp", json_queries(&r->app.icmp));
	if (r->kinds & 1u << VNS_RTT_DNS) {
		json_object_set_new(o, "dns", json_queries(&r->app.dns));
		json_object_set_new(o, "dns_tcp", json_stream(&r->app.dns_tcp));
	}
	if (r->kinds & (1u << VNS_RTT_QUIC_HANDSHAKE | 1u << VNS_RTT_QUIC_SPIN))
		json_object_set_new(o, "quic", json_quic(&r->app.quic));
	return o;
}

static void text_queries(const struct vns_rtt_query_counts *c, const char *name, FILE *to)
{
	struct vns_rtt_sentence s = { 0 };
	char a[VNS_TEXT_LEN], b[VNS_TEXT_LEN], d[VNS_TEXT_LEN];

	if (!(c->requests + c->replies))
		return;
	vns_rtt_say(&s, "%-8s %s requests, %s replies: %s round trips", name, vns_text_count(a, c->requests),
		    vns_text_count(b, c->replies), c->samples ? vns_text_count(d, c->samples) : "no");
	s.items = 1;
	vns_rtt_say_count(&s, c->ambiguous, "ambiguous (request sent again)");
	vns_rtt_say_count(&s, c->unasked, "without their request");
	vns_rtt_say_count(&s, c->repeated_replies, "further {reply|replies}");
	vns_rtt_say_count(&s, c->backwards, "stamped before their request");
	vns_rtt_say_count(&s, c->unanswered, "unanswered");
	vns_rtt_say_count(&s, c->dropped, "GIVEN UP: TOO MANY WAITING");
	vns_rtt_said(&s, to);
}

/* Of port 53 by TCP, beside the messages: nothing where there is no more to it. */
static void text_stream(const struct vns_rtt_stream_counts *c, FILE *to)
{
	struct vns_rtt_sentence s = { 0 };
	char b[VNS_TEXT_LEN];

	if (!(c->lengths + c->continued + c->unread + c->inside))
		return;
	vns_rtt_say(&s, "DNS/TCP  %s segments beside those that begin a message",
		    vns_text_count(b, c->lengths + c->continued + c->unread));
	s.items = 1;
	vns_rtt_say_count(&s, c->continued, "the rest of one");
	vns_rtt_say_count(&s, c->lengths, "a length alone");
	vns_rtt_say_count(&s, c->unread, "NOT READ (begin not known, or no DNS)");
	vns_rtt_say_count(&s, c->inside, "{MESSAGE NOT READ that begins|MESSAGES NOT READ that begin} within a segment");
	vns_rtt_said(&s, to);
}

static void text_quic(const struct vns_rtt_quic_counts *c, FILE *to)
{
	struct vns_rtt_sentence s = { 0 };

	vns_rtt_say(&s, "QUIC     ");
	vns_rtt_say_count(&s, c->connections, "{handshake|handshakes}");
	vns_rtt_say_count(&s, c->retries, "with Retry");
	vns_rtt_say_count(&s, c->negotiations, "with version negotiation");
	vns_rtt_say_count(&s, c->ambiguous, "round {trip|trips} ambiguous (Initial sent again)");
	vns_rtt_say_count(&s, c->foreign, "{answer|answers} to others");
	vns_rtt_say_count(&s, c->spin_edges, "{change|changes} of the spin bit");
	vns_rtt_say_count(&s, c->spin_rejected, "{packet|packets} out of order");
	vns_rtt_say_count(&s, c->spin_low, "spin {sample|samples} too low");
	vns_rtt_say_count(&s, c->spin_silent, "after a silence");
	vns_rtt_say_count(&s, c->spin_unconfirmed, "unconfirmed");
	vns_rtt_say_count(&s, c->spin_not_spinning, "{flow|flows} set it by chance");
	vns_rtt_say_count(&s, c->flows_full, "{FLOW|FLOWS} PUSHED OUT OF A FULL TABLE");
	if (s.items)
		vns_rtt_said(&s, to);
}

void vns_rtt_text_app(const struct vns_rtt_result *r, FILE *to)
{
	char b[VNS_TEXT_LEN];

	if (r->kinds & 1u << VNS_RTT_ICMP)
		text_queries(&r->app.icmp, "echo", to);
	if (r->kinds & 1u << VNS_RTT_DNS)
		text_queries(&r->app.dns, "DNS", to);
	if (r->kinds & 1u << VNS_RTT_DNS)
		text_stream(&r->app.dns_tcp, to);
	if (r->kinds & (1u << VNS_RTT_QUIC_HANDSHAKE | 1u << VNS_RTT_QUIC_SPIN))
		text_quic(&r->app.quic, to);
	if (r->app.cut)
		fprintf(to, "cut      %s ICMP, DNS or QUIC headers cut by the capture\n",
			vns_text_count(b, r->app.cut));
	if (r->total[VNS_RTT_QUIC_SPIN].n)
		fputs("spin bit " VNS_RTT_SPIN_NOTE "\n", to);
}

/* --- Hosts and prefixes --- */

static void csv_interval(const struct vns_interval *i, FILE *to)
{
	if (vns_interval_known(i))
		fprintf(to, ",%" PRId64 ",%" PRId64, i->lower, i->upper);
	else
		fputs(",,", to);
}

void vns_rtt_csv_intervals(const struct vns_intervals *i, FILE *to)
{
	csv_interval(&i->mean, to);
	csv_interval(&i->p50, to);
	csv_interval(&i->p95, to);
	csv_interval(&i->p99, to);
	fputc('\n', to);
}

/* "10.0.0.1", "10.0.0.0/24". */
static const char *group_name(const struct vns_rtt_group *g, char buf[VNS_ADDR_STRLEN + 5])
{
	bool whole = g->prefix_len == (vns_addr_is_v4(&g->addr) ? 32 : 128);
	char addr[VNS_ADDR_STRLEN];

	vns_addr_format(&g->addr, addr);
	if (whole)
		snprintf(buf, VNS_ADDR_STRLEN + 5, "%s", addr);
	else
		snprintf(buf, VNS_ADDR_STRLEN + 5, "%s/%u", addr, (unsigned)g->prefix_len);
	return buf;
}

static void name_cell(struct vns_table *t, const struct vns_rtt_group *g, bool points)
{
	char name[VNS_ADDR_STRLEN + 5];

	if (points)
		vns_table_cell(t, "%s, point %u", group_name(g, name), (unsigned)g->point);
	else
		vns_table_cell(t, "%s", group_name(g, name));
}

/* A second table: of those with samples enough. */
static void text_group_intervals(const struct vns_rtt_group *g, size_t n, bool points, FILE *to)
{
	static const char *const heads[] = { "within (95 %)", "mean", "p50", "p95", "p99" };
	struct vns_table t;

	vns_table_init(&t, "<>>>>", heads);
	for (; n--; g++) {
		if (!vns_interval_known(&g->interval.mean))
			continue;
		name_cell(&t, g, points);
		vns_table_intervals(&t, &g->interval);
	}
	if (t.n > t.columns) {
		fputc('\n', to);
		vns_table_print_within(&t, 1, to);
	}
	vns_table_fini(&t);
}

static void text_groups_of_kind(const struct vns_rtt_group *g, size_t n, bool points, FILE *to)
{
	enum { STDDEV = 9 };
	const struct vns_rtt_group *first = g;
	size_t all = n;
	char title[64], b[VNS_TEXT_LEN];
	const char *const heads[] = { title, "flows", "samples", "min", "mean", "p50", "p95", "p99",
				      "max", "stddev" };
	struct vns_table t;

	snprintf(title, sizeof(title), "%s to (and back)", vns_rtt_kind_label(g->kind));
	vns_table_init(&t, "<>>>>>>>>>", heads);
	for (; n--; g++) {
		name_cell(&t, g, points);
		vns_table_cell(&t, "%s", vns_text_count(b, g->directions));
		vns_table_cell(&t, "%s", vns_text_count(b, g->rtt.n));
		vns_table_dist(&t, &g->rtt);
		vns_table_cell(&t, "%s", vns_text_ns(b, vns_dist_stddev(&g->rtt)));
	}
	vns_table_leave_out(&t, STDDEV);
	vns_table_print_within(&t, 1, to);
	vns_table_fini(&t);
	text_group_intervals(first, all, points, to);
	fputc('\n', to);
}

int vns_rtt_text_groups(const struct vns_rtt_result *r, FILE *to)
{
	const struct vns_rtt_groups *g = &r->groups;
	char b[VNS_TEXT_LEN];

	for (size_t i = 0, n; i < g->n; i += n) {
		for (n = 1; i + n < g->n && g->group[i + n].kind == g->group[i].kind;)
			n++;
		text_groups_of_kind(&g->group[i], n, r->n_point > 1, to);
	}
	if (g->hidden)
		fprintf(to, "%s not listed: fewer samples, or not among the worst\n",
			vns_text_count(b, g->hidden));
	if (g->lost)
		fprintf(to, "%s samples found no room in the aggregates\n",
			vns_text_count(b, g->lost));
	return vns_text_flush(to);
}

void vns_rtt_json_groups(const struct vns_rtt_result *r, struct vns_json_stream *s)
{
	char name[VNS_ADDR_STRLEN + 5];

	vns_json_stream_array(s, "groups");
	for (size_t i = 0; i < r->groups.n; i++) {
		const struct vns_rtt_group *g = &r->groups.group[i];
		json_t *o = json_object(), *figures = vns_json_dist(&g->rtt);

		json_object_del(figures, "n");
		json_object_set_new(o, "to", json_string(group_name(g, name)));
		json_object_set_new(o, "method", json_string(vns_rtt_kind_name(g->kind)));
		json_object_set_new(o, "flows", vns_json_u64(g->directions));
		json_object_set_new(o, "samples", vns_json_u64(g->rtt.n));
		json_object_set_new(o, "rtt_ns", figures);
		json_object_set_new(o, "sampling_interval_ns", vns_json_intervals(&g->interval));
		if (r->n_point > 1)
			json_object_set_new(o, "point", json_integer(g->point));
		vns_json_stream_item(s, o);
	}
	vns_json_stream_array_end(s);
	vns_json_stream_member(s, "groups_hidden", vns_json_u64(r->groups.hidden));
	vns_json_stream_member(s, "groups_lost_samples", vns_json_u64(r->groups.lost));
}

int vns_rtt_csv_groups(const struct vns_rtt_result *r, FILE *to)
{
	char name[VNS_ADDR_STRLEN + 5];

	fputs("to,method,flows,samples,min_ns,mean_ns,p50_ns,p95_ns,p99_ns,max_ns,stddev_ns,point,"
	      VNS_RTT_CSV_INTERVALS "\n", to);
	for (size_t i = 0; i < r->groups.n; i++) {
		const struct vns_rtt_group *g = &r->groups.group[i];
		const struct vns_dist *d = &g->rtt;

		fprintf(to, "%s,%s,%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%.3f,%" PRId64 ",%" PRId64
			",%" PRId64 ",%" PRId64 ",%.3f,%u", group_name(g, name),
			vns_rtt_kind_name(g->kind), g->directions, d->n, d->min, d->mean,
			vns_dist_quantile(d, 0.50), vns_dist_quantile(d, 0.95),
			vns_dist_quantile(d, 0.99), d->max, vns_dist_stddev(d),
			(unsigned)g->point);
		vns_rtt_csv_intervals(&g->interval, to);
	}
	return vns_text_flush(to);
}

/* --- Halves of the path --- */

static const char *role_name(uint8_t role)
{
	static const char *const names[] = { [VNS_RTT_ROLE_UNKNOWN] = "unknown",
					     [VNS_RTT_ROLE_OPENED] = "opened",
					     [VNS_RTT_ROLE_PORTS] = "ports" };

	return names[role];
}

static const char *end_name(const struct vns_rtt_path *p, unsigned int end, char buf[64])
{
	char addr[VNS_ADDR_STRLEN];
	bool v4 = vns_addr_is_v4(&p->key.addr[end]);

	snprintf(buf, 64, v4 ? "%s:%u" : "[%s]:%u", vns_addr_format(&p->key.addr[end], addr),
		 (unsigned)p->key.port[end]);
	return buf;
}

static bool both(const struct vns_rtt_path *p)
{
	return p->side[0].samples && p->side[1].samples;
}

/* A line for each side and one for the sum. */
static void path_rows(struct vns_table *t, const struct vns_rtt_path *p)
{
	char a[64], b[VNS_TEXT_LEN];

	for (unsigned int i = 0; i < 2; i++) {
		const struct vns_rtt_half *h = &p->side[i];

		if (i)
			vns_table_cell(t, "server %s", end_name(p, !p->client, a));
		else
			vns_table_cell(t, "client %s (%s)", end_name(p, p->client, a), role_name(p->role));
		vns_table_cell(t, "%s", h->samples ? vns_text_count(b, h->samples) : "-");
		vns_table_cell(t, "%s", h->samples ? vns_text_ns(b, (double)h->min) : "-");
		vns_table_cell(t, "%s", h->samples ? vns_text_ns(b, (double)h->p50) : "-");
		vns_table_cell(t, "%s", h->samples ? vns_text_ns(b, h->mean) : "-");
		vns_table_interval(t, &h->interval.mean);
	}
	if (!both(p))
		return;
	vns_table_cell(t, "  whole path: sum min, sum mean");
	vns_table_cell(t, "%s", "");
	vns_table_cell(t, "%s", vns_text_ns(b, (double)p->sum_min));
	vns_table_cell(t, "%s", "");
	vns_table_cell(t, "%s", vns_text_ns(b, p->sum_mean));
	vns_table_interval(t, &p->sum_mean_interval);
}

/* The @n paths from @p on, all of one kind. */
static void text_paths_of_kind(const struct vns_rtt_path *p, size_t n, FILE *to)
{
	char title[64];
	const char *const heads[] = { title, "samples", "min", "p50", "mean", "mean within (95 %)" };
	struct vns_table t;

	snprintf(title, sizeof(title), "%s, side of", vns_rtt_kind_label((enum vns_rtt_kind)p->kind));
	vns_table_init(&t, "<>>>>>", heads);
	for (; n--; p++)
		path_rows(&t, p);
	vns_table_print_within(&t, 1, to);
	vns_table_fini(&t);
	fputc('\n', to);
}

int vns_rtt_text_paths(const struct vns_rtt_path *p, size_t n, FILE *to)
{
	for (size_t i = 0, m; i < n; i += m) {
		for (m = 1; i + m < n && p[i + m].kind == p[i].kind;)
			m++;
		text_paths_of_kind(&p[i], m, to);
	}
	return vns_text_flush(to);
}

static json_t *json_side(const struct vns_rtt_half *h)
{
	json_t *o = json_object();

	json_object_set_new(o, "samples", vns_json_u64(h->samples));
	json_object_set_new(o, "min", h->samples ? json_integer(h->min) : json_null());
	json_object_set_new(o, "mean", h->samples ? vns_json_real(h->mean, 3) : json_null());
	json_object_set_new(o, "p50", h->samples ? json_integer(h->p50) : json_null());
	json_object_set_new(o, "p95", h->samples ? json_integer(h->p95) : json_null());
	json_object_set_new(o, "sampling_interval_ns", vns_json_intervals(&h->interval));
	return o;
}

void vns_rtt_json_paths(const struct vns_rtt_path *p, size_t n, bool points,
			struct vns_json_stream *s)
{
	char addr[VNS_ADDR_STRLEN];

	vns_json_stream_array(s, "paths");
	for (; n--; p++) {
		json_t *o = json_object();
		unsigned int c = p->client;

		json_object_set_new(o, "client", json_string(vns_addr_format(&p->key.addr[c], addr)));
		json_object_set_new(o, "cport", json_integer(p->key.port[c]));
		json_object_set_new(o, "server",
				    json_string(vns_addr_format(&p->key.addr[!c], addr)));
		json_object_set_new(o, "sport", json_integer(p->key.port[!c]));
		json_object_set_new(o, "client_known_by", json_string(role_name(p->role)));
		json_object_set_new(o, "method",
				    json_string(vns_rtt_kind_name((enum vns_rtt_kind)p->kind)));
		json_object_set_new(o, "client_side_ns", json_side(&p->side[0]));
		json_object_set_new(o, "server_side_ns", json_side(&p->side[1]));
		json_object_set_new(o, "sum_min_ns", both(p) ? json_integer(p->sum_min) : json_null());
		json_object_set_new(o, "sum_mean_ns",
				    both(p) ? vns_json_real(p->sum_mean, 3) : json_null());
		json_object_set_new(o, "sum_mean_interval_ns",
				    vns_json_interval(&p->sum_mean_interval));
		json_object_set_new(o, "first_ns", json_integer(p->first_ns));
		if (points)
			json_object_set_new(o, "point", json_integer(p->point));
		vns_json_stream_item(s, o);
	}
	vns_json_stream_array_end(s);
}
