// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Any bytes as a frame: the decoder must give a verdict, read nothing past the end and keep its
 * promises about the key, the hash and repeatability; its short way for usual frames must leave in
 * every field what the layers do.
 *
 * input: 1 byte link type (index), 2 bytes wire length beyond the captured, then the frame
 */
#include <stdlib.h>
#include <string.h>

#include "packet/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
	if (!truth)
		abort();
}

/* @frame without the short way. */
static struct vns_packet by_layers(const struct vns_frame *frame)
{
	struct vns_packet p;

	memset(&p, 0, sizeof(p));
	p.time_ns = frame->time_ns;
	p.cap_len = frame->cap_len;
	p.wire_len = frame->wire_len;
	p.verdict = (uint8_t)vns_decode_layers(frame, (struct vns_span){ frame->data, p.cap_len, p.wire_len },
					       &p);
	return p;
}

static void check(const struct vns_frame *frame)
{
	struct vns_packet p, q;
	const struct vns_flow_key *k = &p.key;
	int order;

	memset(&p, 0x00, sizeof(p));
	memset(&q, 0xff, sizeof(q));
	vns_packet_decode(frame, &p);
	require(vns_packet_decode(frame, &q) == p.verdict);
	require(memcmp(&p, &q, sizeof(p)) == 0);
	require(p.verdict < VNS_PKT_VERDICTS && p.proto < VNS_PROTOS && p.dir <= 1);
	require(p.tunnel_depth <= 4);
	q = by_layers(frame);
	require(memcmp(&p, &q, sizeof(p)) == 0);
	if (p.verdict != VNS_PKT_OK)
		return;
	order = memcmp(k->addr[0].b, k->addr[1].b, 16);
	require(order < 0 || (order == 0 && k->port[0] <= k->port[1]));
	require(k->family == 4 || k->family == 6);
	require(k->zero[0] == 0 && k->zero[1] == 0);
	require(p.flow_hash == vns_flow_key_hash(k));
	require(p.proto != VNS_PROTO_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t links[] = { 1, 1, 101, 113, 276, 0, 108, 228, 229, 12, 14, 147 };
	struct vns_frame frame = { .time_ns = 1 };

	if (size < 3)
		return 0;
	frame.linktype = links[data[0] % (sizeof(links) / sizeof(links[0]))];
	frame.data = data + 3;
	frame.cap_len = (uint32_t)(size - 3);
	frame.wire_len = frame.cap_len + (uint32_t)(data[1] << 8 | data[2]);
	check(&frame);
	return 0;
}
