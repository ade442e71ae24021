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
#include <vnetscope/measure.h>
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

/* Of struct OF, which stands above the lines of each struct. */
#define NAME_(s)    #s
#define NAME(s)     &NAME_(s)[4] /* without "vns_" */
#define AT(f)       ((struct OF *)0)->f
#define FIELD(f, elem, k)                                                            \
	{ NAME(OF), #f, offsetof(struct OF, f), sizeof(AT(f)), sizeof(elem), k }
#define ONE(f)      FIELD(f, AT(f), KIND(AT(f)))    /* a number */
#define ARRAY(f)    FIELD(f, AT(f)[0], KIND(AT(f)[0]))
#define POINT(f)    FIELD(f, AT(f), 'p')            /* a pointer, to a function too */
#define WHOLE       { NAME(OF), "", 0, sizeof(struct OF), sizeof(struct OF), 'x' }

static const struct vns_abi_field fields[] = {
#define OF vns_err
	WHOLE, FIELD(text, char, 'x'),
#undef OF
#define OF vns_packet
	WHOLE, ONE(time_ns), ONE(digest), ONE(flow_hash), FIELD(key.addr, uint8_t, 'u'),
	ARRAY(key.port), ONE(key.ipproto), ONE(key.family), ONE(wire_len), ONE(cap_len),
	ONE(seq), ONE(ack), ONE(tsval), ONE(tsecr), ONE(payload_len), ONE(ip_id), ONE(window),
	ONE(frag_off), ONE(icmp_ident), ONE(icmp_seqno), ONE(dns_id), ONE(dns_flags), ONE(flags),
	ONE(vlan), ONE(tcp_flags), ONE(quic_type), ONE(icmp_type), ONE(icmp_code), ONE(dir),
	ONE(proto), ONE(verdict), ONE(tunnel_depth), ONE(ttl), ONE(point), ONE(sack_left),
	ONE(sack_right),
#undef OF
#define OF vns_source_opts
	WHOLE, POINT(filter), ONE(snaplen), ONE(ring_bytes), ONE(timeout_ms), ONE(promisc),
	ONE(netns_fd),
#undef OF
#define OF vns_source_stats
	WHOLE, ONE(frames), ONE(filtered), ONE(dropped), ONE(bytes), ONE(truncated),
	ONE(bad_records), ONE(backwards), ARRAY(verdicts), ONE(resolution_ns), ONE(damaged),
	ONE(early),
#undef OF
#define OF vns_rtt_row
	WHOLE, ONE(at_ns), ONE(rtt_ns), FIELD(key.addr, uint8_t, 'u'), ARRAY(key.port),
	ONE(key.ipproto), ONE(key.family), ONE(id), ONE(kind), ONE(dir), ONE(ident),
#undef OF
#define OF vns_rtt_opts
	WHOLE, ONE(per_flow), ONE(max_flows), ONE(idle_ns), FIELD(method, AT(method), 'u'),
	ONE(inside), POINT(on_sample), POINT(ctx),
#undef OF
#define OF vns_rtt_app_opts
	WHOLE, ONE(kinds), ONE(per_flow), ONE(max_flows), ONE(max_waiting), ONE(idle_ns),
	POINT(on_sample), POINT(ctx),
#undef OF
#define OF vns_rtt_counts
	WHOLE, ONE(packets), ONE(not_tcp), ONE(undecodable), ONE(options_cut), ONE(no_timestamp),
	ONE(outstanding_dropped), ONE(seq_dropped), ARRAY(samples), ONE(flows), ONE(flows_live),
	ONE(flows_evicted_idle), ONE(flows_evicted_full),
#undef OF
#define OF vns_twin_opts
	WHOLE, ONE(window_ns), ONE(coarse_offset_ns), ONE(slack_ns), POINT(guest), ONE(n_guest),
	ONE(nat), ONE(nat_peers), ONE(max_pending), ONE(sampled),
#undef OF
#define OF vns_vo_offline_opts
	WHOLE, POINT(host_file), POINT(guest_file), POINT(filter), ONE(have_offset), ONE(offset_ns),
	POINT(guest), ONE(n_guest), FIELD(nat, AT(nat), 'u'), POINT(host_point), POINT(guest_point),
#undef OF
#define OF vns_vo_learnt
	WHOLE, FIELD(guest, uint8_t, 'u'), ONE(n_guest), ONE(guest_assumed), ONE(offset_found),
	ONE(nat), ONE(nat_peers), ONE(offset_ns), FIELD(senders, bool, 'x'),
#undef OF
#define OF vns_twin_sample
	WHOLE, ONE(host_ns), ONE(first_raw_ns), ONE(last_host_ns), ONE(last_raw_ns),
	ONE(flow_hash), ONE(payload_len), ONE(proto), ONE(direction), ONE(has_last),
#undef OF
#define OF vns_twin_counts
	WHOLE, ONE(read), ARRAY(in_class), ARRAY(missing_by_proto),
#undef OF
#define OF vns_exchange
	WHOLE, ONE(t1_ns), ONE(t2_ns), ONE(t3_ns), ONE(t4_ns),
#undef OF
#define OF vns_clock_at
	WHOLE, ONE(offset_ns), ONE(lower_ns), ONE(upper_ns), ONE(at_ns), ONE(ci_lower_ns),
	ONE(ci_upper_ns), ONE(drift_ppm), ONE(extrapolated), ONE(drift_lower_ppm),
	ONE(drift_upper_ppm),
#undef OF
#define OF vns_clock_piece
	WHOLE, ONE(from_ns), ONE(to_ns), ONE(offset_ns), ONE(drift_ppm), ONE(drift_lower_ppm),
	ONE(drift_upper_ppm), ONE(step_after),
#undef OF
#define OF vns_blocks
	WHOLE,
#undef OF
#define OF vns_intervals
	WHOLE, ONE(mean.lower), ONE(mean.upper), ONE(p50.lower), ONE(p50.upper), ONE(p95.lower),
	ONE(p95.upper), ONE(p99.lower), ONE(p99.upper),
#undef OF
#define OF vns_dist
	WHOLE, ONE(n), ONE(min), ONE(max), ONE(mean), ONE(hist_lost),
#undef OF
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
