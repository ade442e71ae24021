// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Both ends' decoders of the agent protocol. The first byte picks whose stream it is and
 * whether a hello is searched for first, the second how the rest is cut on its way into the
 * input buffer. Every frame's body goes to its decoder; what decodes must be within bounds that
 * the rest of the program indexes by.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vns_packet pkts[VNS_WIRE_BATCH_PACKETS];
static struct vns_bpf_insn filter[VNS_WIRE_MAX_BPF];
static struct vns_ptp_reading readings[VNS_WIRE_MAX_PTP];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void batch(struct vns_cursor *c)
{
	struct vns_wire_batch b;

	if (!vns_get_batch(c, &b, pkts))
		return;
	must(b.n <= VNS_WIRE_BATCH_PACKETS);
	for (uint32_t i = 0; i < b.n; i++)
		must(pkts[i].dir < 2 && pkts[i].proto < VNS_PROTOS &&
		     pkts[i].verdict < VNS_PKT_VERDICTS);
}

static void hello_reply(struct vns_cursor *c)
{
	struct vns_agent_info info;
	uint64_t nonce;

	if (!vns_get_hello_reply(c, &nonce, &info))
		return;
	must(info.n_iface <= 8 && strlen(info.hostname) < sizeof(info.hostname));
	for (unsigned int i = 0; i < info.n_iface; i++)
		must(info.iface[i].n_addr <= 8);
}

static void ptp(struct vns_cursor *c)
{
	struct vns_exchange x[VNS_WIRE_MAX_PTP];
	int n = vns_get_ptp(c, readings);

	if (n > 0)
		must(vns_ptp_to_exchanges(readings, (size_t)n, x, VNS_WIRE_MAX_PTP) == (size_t)n - 1);
}

static void tsc(struct vns_cursor *c)
{
	struct vns_tsc_reading r[VNS_WIRE_MAX_TSC];

	must(vns_get_tsc(c, r) <= (int)VNS_WIRE_MAX_TSC);
}

static void body(const struct vns_wire_frame *f)
{
	struct vns_wire_capture w = { .filter = filter };
	struct vns_load_stats stats;
	struct vns_agent_usage usage;
	struct vns_clock_state state;
	struct vns_load_spec spec;
	struct vns_wire_hello h;
	struct vns_err sentence;
	struct vns_cursor c;
	int code;

	vns_cursor_init_const(&c, f->body, f->h.body_len);
	switch (f->h.type) {
	case VNS_MSG_HELLO:
		if (vns_get_hello(&c, &h))
			must(strlen(h.version) < sizeof(h.version));
		break;
	case VNS_MSG_HELLO_REPLY:
		hello_reply(&c);
		break;
	case VNS_MSG_ERROR:
		if (vns_get_error(&c, &code, &sentence))
			must(code < 0 && strlen(sentence.text) < sizeof(sentence.text));
		break;
	case VNS_MSG_CAPTURE_START:
		if (vns_get_capture(&c, &w))
			must(w.n_filter <= VNS_WIRE_MAX_BPF && strlen(w.ifname) < 16);
		break;
	case VNS_MSG_CAPTURE_BATCH:
		batch(&c);
		break;
	case VNS_MSG_LOAD_START:
		vns_get_load_spec(&c, &spec);
		break;
	case VNS_MSG_LOAD_REPORT:
		vns_get_load_stats(&c, &stats);
		break;
	case VNS_MSG_USAGE_REPLY:
		vns_get_usage(&c, &usage);
		break;
	case VNS_MSG_CLOCK_STATE_REPLY:
		vns_get_clock_state(&c, &state);
		break;
	case VNS_MSG_TSC_REPLY:
		tsc(&c);
		break;
	case VNS_MSG_PTP_REPLY:
		ptp(&c);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vns_wire_frame f;
	struct vns_inbuf b;
	struct vns_err err;
	bool searching;
	size_t room, n, cut;

	if (size < 2 || vns_inbuf_init(&b, data[0] & 1 ? VNS_FROM_HOST : VNS_FROM_AGENT) < 0)
		return 0;
	searching = data[0] & 2;
	cut = data[1] + 1u;
	for (data += 2, size -= 2; size; data += n, size -= n) {
		uint8_t *to = vns_inbuf_space(&b, &room);

		must(room > 0);
		n = size < cut ? size : cut;
		n = n < room ? n : room;
		memcpy(to, data, n);
		vns_inbuf_added(&b, n);
		if (searching)
			vns_inbuf_seek(&b, b.sender == VNS_FROM_HOST ? VNS_MSG_HELLO :
								       VNS_MSG_HELLO_REPLY);
		while (vns_inbuf_next(&b, &f, &err) == 1)
			body(&f);
		if (b.end - b.start > VNS_WIRE_HEADER + VNS_WIRE_MAX_BODY)
			break; /* a bad frame in front: a session would have ended */
	}
	vns_inbuf_fini(&b);
	return 0;
}
