// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any sequence of packets through both RTT engines, with tables of a few entries: no sample below
 * zero, the samples counted are the samples given, and the accounting adds up.
 *
 * input: 1 byte (bits 0-2: flows at most less one, bit 3: per flow, bits 4-5: method of TCP, bit 6:
 * samples inside segments), then records of packets.h
 */
#include <stdlib.h>

#include <vnetscope/rtt.h>
#include <vnetscope/rtt_app.h>

#include "packets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seen[VNS_RTT_KINDS];

static void require(int truth)
{
	if (!truth)
		abort();
}

static void on_sample(void *ctx, const struct vns_rtt_sample *s)
{
	(void)ctx;
	require(s->kind < VNS_RTT_KINDS && s->dir < 2 && s->rtt_ns >= 0);
	seen[s->kind]++;
}

static void on_flow(void *ctx, const struct vns_rtt_flow *f)
{
	require(f->dir < 2 && f->kind < VNS_RTT_KINDS && f->rtt->n > 0 && f->rtt->min >= 0);
	*(uint64_t *)ctx += f->rtt->n;
}

static void check_rtt(const struct vns_rtt *r, uint64_t fed, size_t max_flows, bool per_flow,
		      uint64_t ended)
{
	struct vns_rtt_counts c;
	uint64_t samples = 0;

	vns_rtt_get_counts(r, &c);
	require(c.packets == fed);
	require(c.not_tcp + c.undecodable + c.options_cut + c.no_timestamp + c.timestamp_not_read +
		c.tsval_stored + c.tsval_repeated + c.tsval_backwards + c.pure_acks == fed);
	require(c.not_tcp + c.undecodable + c.seq_not_read + c.seq_stored + c.seq_repeated + c.seq_late +
		c.seq_probe + c.seq_old + c.seq_pure_acks == fed);
	require(c.samples[VNS_RTT_SEQ] == c.ack_matched + c.ack_sacked);
	require(c.tsval_waiting <= c.tsval_stored); /* what has no class, and never less than none */
	require(c.flows_live <= max_flows);
	require(c.flows_returned <= c.flows_evicted_full);
	require(c.flows == c.flows_live + c.flows_evicted_idle + c.flows_evicted_full +
				   c.flows_closed + c.flows_reused);
	for (int k = 0; k < VNS_RTT_KINDS; k++) {
		if (1u << k & VNS_RTT_APP_KINDS)
			continue;
		require(c.samples[k] == seen[k]);
		require(vns_rtt_total(r, k)->n == seen[k]);
		samples += seen[k];
	}
	vns_rtt_each_flow(r, on_flow, &ended);
	require(!per_flow || ended == samples);
}

static void check_query(const struct vns_rtt_query_counts *q)
{
	require(q->replies == q->samples + q->ambiguous + q->unasked + q->repeated_replies +
			      q->backwards);
	require(q->repeated <= q->requests);
}

static void check_app(const struct vns_rtt_app *a, uint64_t fed)
{
	struct vns_rtt_app_counts c;

	vns_rtt_app_get_counts(a, &c);
	require(c.packets == fed);
	require(c.packets == c.other + c.cut + c.icmp.requests + c.icmp.replies + c.dns.requests +
			     c.dns.replies + c.quic.long_headers + c.quic.short_headers);
	check_query(&c.icmp);
	check_query(&c.dns);
	require(c.icmp.samples == seen[VNS_RTT_ICMP] && c.dns.samples == seen[VNS_RTT_DNS]);
	require(c.quic.spin_samples == seen[VNS_RTT_QUIC_SPIN]);
	require(c.quic.handshake_samples == seen[VNS_RTT_QUIC_HANDSHAKE]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_packets f;
	size_t max_flows = size ? (data[0] & 7) + 1u : 1;
	bool per_flow = size && data[0] & 8;
	uint64_t ended = 0, fed = 0;
	struct vns_rtt_opts o = { .per_flow = per_flow, .max_flows = max_flows,
				  .method = size ? data[0] >> 4 & 3 : 0,
				  .inside = size && data[0] & 0x40,
				  .on_sample = on_sample, .on_flow_end = on_flow, .ctx = &ended };
	struct vns_rtt_app_opts ao = { .per_flow = per_flow, .max_flows = max_flows,
				       .max_waiting = 3, .on_sample = on_sample };
	struct vns_rtt_app *a;
	struct vns_rtt *r;

	memset(seen, 0, sizeof(seen));
	fuzz_packets_init(&f);
	require(vns_rtt_new(&r, &o, NULL) == 0 && vns_rtt_app_new(&a, &ao, NULL) == 0);
	for (size_t i = 1; i + FUZZ_RECORD <= size; i += FUZZ_RECORD, fed++) {
		int point;
		struct vns_packet p = fuzz_packet(&f, data + i, &point);

		require(vns_rtt_feed(r, &p, 1) == 0 && vns_rtt_app_feed(a, &p, 1) == 0);
	}
	vns_rtt_finish(r);
	vns_rtt_app_finish(a);
	check_rtt(r, fed, max_flows, per_flow, ended);
	check_app(a, fed);
	vns_rtt_free(r);
	vns_rtt_app_free(a);
	return 0;
}
