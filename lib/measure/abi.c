// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The public structs -> a table of their fields, and samples -> arrays; see abi.h.
 *
 * One line per field that callers outside of C need; the compiler fills in offset, size and kind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/abi.h>
#include <vnetscope/clock.h>
#include <vnetscope/rtt_app.h>
#include <vnetscope/source.h>
#include <vnetscope/stat.h>

/* The element of an array, or the field itself, has this kind. */
#define KIND(x) _Generic((x),                                                        \
	bool: 'b', bool *: 'b',                                                      \
	int8_t: 'i', int16_t: 'i', int32_t: 'i', int64_t: 'i', int64_t *: 'i',       \
	uint8_t: 'u', uint16_t: 'u', uint32_t: 'u', uint64_t: 'u',                   \
	uint8_t *: 'u', uint16_t *: 'u', uint32_t *: 'u', uint64_t *: 'u',           \
	double: 'f', double *: 'f', default: 'x')
#define AT(s, f) ((struct s *)0)->f
#define FIELD(s, f, elem, k)                                                         \
	{ &#s[4], #f, offsetof(struct s, f), sizeof(AT(s, f)), sizeof(elem), k }
#define ONE(s, f)   FIELD(s, f, AT(s, f), KIND(AT(s, f)))    /* a number */
#define ARRAY(s, f) FIELD(s, f, AT(s, f)[0], KIND(AT(s, f)[0]))
#define POINT(s, f) FIELD(s, f, AT(s, f), 'p')               /* a pointer, to a function too */
#define WHOLE(s)    { &#s[4], "", 0, sizeof(struct s), sizeof(struct s), 'x' }

static const struct vns_abi_field fields[] = {
	WHOLE(vns_err), FIELD(vns_err, text, char, 'x'),
	WHOLE(vns_packet),
	ONE(vns_packet, time_ns), ONE(vns_packet, digest), ONE(vns_packet, flow_hash),
	FIELD(vns_packet, key.addr, uint8_t, 'u'), ARRAY(vns_packet, key.port),
	ONE(vns_packet, key.ipproto), ONE(vns_packet, key.family), ONE(vns_packet, wire_len),
	ONE(vns_packet, cap_len), ONE(vns_packet, seq), ONE(vns_packet, ack),
	ONE(vns_packet, tsval), ONE(vns_packet, tsecr), ONE(vns_packet, payload_len),
	ONE(vns_packet, ip_id), ONE(vns_packet, window), ONE(vns_packet, frag_off),
	ONE(vns_packet, icmp_ident), ONE(vns_packet, icmp_seqno), ONE(vns_packet, dns_id),
	ONE(vns_packet, dns_flags), ONE(vns_packet, flags), ONE(vns_packet, vlan),
	ONE(vns_packet, tcp_flags), ONE(vns_packet, quic_type), ONE(vns_packet, icmp_type),
	ONE(vns_packet, icmp_code), ONE(vns_packet, dir), ONE(vns_packet, proto),
	ONE(vns_packet, verdict), ONE(vns_packet, tunnel_depth), ONE(vns_packet, ttl),
	ONE(vns_packet, point), ONE(vns_packet, sack_left), ONE(vns_packet, sack_right),
	WHOLE(vns_source_opts),
	POINT(vns_source_opts, filter), ONE(vns_source_opts, snaplen),
	ONE(vns_source_opts, ring_bytes), ONE(vns_source_opts, timeout_ms),
	ONE(vns_source_opts, promisc), ONE(vns_source_opts, netns_fd),
	WHOLE(vns_source_stats),
	ONE(vns_source_stats, frames), ONE(vns_source_stats, filtered),
	ONE(vns_source_stats, dropped), ONE(vns_source_stats, bytes),
	ONE(vns_source_stats, truncated), ONE(vns_source_stats, bad_records),
	ONE(vns_source_stats, backwards), ARRAY(vns_source_stats, verdicts),
	ONE(vns_source_stats, resolution_ns), ONE(vns_source_stats, damaged),
	ONE(vns_source_stats, early),
	WHOLE(vns_rtt_row),
	ONE(vns_rtt_row, at_ns), ONE(vns_rtt_row, rtt_ns),
	FIELD(vns_rtt_row, key.addr, uint8_t, 'u'), ARRAY(vns_rtt_row, key.port),
	ONE(vns_rtt_row, key.ipproto), ONE(vns_rtt_row, key.family), ONE(vns_rtt_row, id),
	ONE(vns_rtt_row, kind), ONE(vns_rtt_row, dir), ONE(vns_rtt_row, ident),
	WHOLE(vns_rtt_opts),
	ONE(vns_rtt_opts, per_flow), ONE(vns_rtt_opts, max_flows), ONE(vns_rtt_opts, idle_ns),
	FIELD(vns_rtt_opts, method, AT(vns_rtt_opts, method), 'u'), ONE(vns_rtt_opts, inside),
	POINT(vns_rtt_opts, on_sample), POINT(vns_rtt_opts, ctx),
	WHOLE(vns_rtt_app_opts),
	ONE(vns_rtt_app_opts, kinds), ONE(vns_rtt_app_opts, per_flow),
	ONE(vns_rtt_app_opts, max_flows), ONE(vns_rtt_app_opts, max_waiting),
	ONE(vns_rtt_app_opts, idle_ns), POINT(vns_rtt_app_opts, on_sample),
	POINT(vns_rtt_app_opts, ctx),
	WHOLE(vns_rtt_counts),
	ONE(vns_rtt_counts, packets), ONE(vns_rtt_counts, not_tcp),
	ONE(vns_rtt_counts, undecodable), ONE(vns_rtt_counts, options_cut),
	ONE(vns_rtt_counts, no_timestamp), ONE(vns_rtt_counts, outstanding_dropped),
	ONE(vns_rtt_counts, seq_dropped),
	ARRAY(vns_rtt_counts, samples), ONE(vns_rtt_counts, flows),
	ONE(vns_rtt_counts, flows_live), ONE(vns_rtt_counts, flows_evicted_idle),
	ONE(vns_rtt_counts, flows_evicted_full),
	WHOLE(vns_twin_opts),
	ONE(vns_twin_opts, window_ns), ONE(vns_twin_opts, coarse_offset_ns),
	ONE(vns_twin_opts, slack_ns), POINT(vns_twin_opts, guest), ONE(vns_twin_opts, n_guest),
	ONE(vns_twin_opts, nat), ONE(vns_twin_opts, max_pending),
	WHOLE(vns_twin_sample),
	ONE(vns_twin_sample, host_ns), ONE(vns_twin_sample, first_raw_ns),
	ONE(vns_twin_sample, last_host_ns), ONE(vns_twin_sample, last_raw_ns),
	ONE(vns_twin_sample, flow_hash), ONE(vns_twin_sample, payload_len),
	ONE(vns_twin_sample, proto), ONE(vns_twin_sample, direction),
	ONE(vns_twin_sample, has_last),
	WHOLE(vns_twin_counts),
	ONE(vns_twin_counts, read), ARRAY(vns_twin_counts, in_class),
	ARRAY(vns_twin_counts, missing_by_proto),
	WHOLE(vns_exchange),
	ONE(vns_exchange, t1_ns), ONE(vns_exchange, t2_ns), ONE(vns_exchange, t3_ns),
	ONE(vns_exchange, t4_ns),
	WHOLE(vns_clock_at),
	ONE(vns_clock_at, offset_ns), ONE(vns_clock_at, lower_ns), ONE(vns_clock_at, upper_ns),
	ONE(vns_clock_at, at_ns), ONE(vns_clock_at, ci_lower_ns), ONE(vns_clock_at, ci_upper_ns),
	ONE(vns_clock_at, drift_ppm), ONE(vns_clock_at, extrapolated),
	ONE(vns_clock_at, drift_lower_ppm), ONE(vns_clock_at, drift_upper_ppm),
	WHOLE(vns_clock_piece),
	ONE(vns_clock_piece, from_ns), ONE(vns_clock_piece, to_ns), ONE(vns_clock_piece, offset_ns),
	ONE(vns_clock_piece, drift_ppm), ONE(vns_clock_piece, drift_lower_ppm),
	ONE(vns_clock_piece, drift_upper_ppm), ONE(vns_clock_piece, step_after),
	WHOLE(vns_blocks), WHOLE(vns_intervals),
	ONE(vns_intervals, mean.lower), ONE(vns_intervals, mean.upper),
	ONE(vns_intervals, p50.lower), ONE(vns_intervals, p50.upper),
	ONE(vns_intervals, p95.lower), ONE(vns_intervals, p95.upper),
	ONE(vns_intervals, p99.lower), ONE(vns_intervals, p99.upper),
	WHOLE(vns_dist),
	ONE(vns_dist, n), ONE(vns_dist, min), ONE(vns_dist, max), ONE(vns_dist, mean),
	ONE(vns_dist, hist_lost),
};

const struct vns_abi_field *vns_abi_fields(size_t *n)
{
	*n = sizeof(fields) / sizeof(fields[0]);
	return fields;
}

const char *vns_abi_version(void)
{
	return VNS_VERSION;
}

size_t vns_packets_of_point(struct vns_packet *pkts, size_t n, uint16_t point)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (pkts[i].point == point) {
			if (kept != i)
				pkts[kept] = pkts[i];
			kept++;
		}
	return kept;
}

struct vns_collector {
	uint8_t *row;
	size_t width, n, room;
	bool given, lost;
};

int vns_collector_new(struct vns_collector **out, size_t width)
{
	struct vns_collector *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->width = width;
	*out = c;
	return 0;
}

void vns_collector_free(struct vns_collector *c)
{
	if (c)
		free(c->row);
	free(c);
}

/* Room for one more row; what was taken makes place. */
static void *next_row(struct vns_collector *c)
{
	if (c->given)
		c->n = 0;
	c->given = false;
	if (c->n == c->room) {
		size_t more = c->room ? c->room * 2 : 4096;
		uint8_t *grown = reallocarray(c->row, more, c->width);

		if (!grown) {
			c->lost = true;
			return NULL;
		}
		c->row = grown;
		c->room = more;
	}
	return c->row + c->n++ * c->width;
}

void vns_collect_rtt(void *ctx, const struct vns_rtt_sample *s)
{
	struct vns_rtt_row *r = next_row(ctx);

	if (r)
		*r = (struct vns_rtt_row){ .at_ns = s->at_ns, .rtt_ns = s->rtt_ns, .key = *s->key,
					   .id = s->id, .kind = s->kind, .dir = s->dir, .ident = s->ident };
}

void vns_collect_twin(void *ctx, const struct vns_twin_sample *s)
{
	struct vns_twin_sample *r = next_row(ctx);

	if (r)
		*r = *s;
}

int vns_collector_take(struct vns_collector *c, const void **rows, size_t *n)
{
	*rows = c->row;
	*n = c->given ? 0 : c->n;
	c->given = true;
	return c->lost ? -ENOMEM : 0;
}
