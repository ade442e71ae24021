// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Captures: packets of an interface (lib/source, filtered in the kernel) to CAPTURE_BATCH
 * frames. Only decoded fields leave, no payload.
 *
 * A batch goes out when it is full, FLUSH_MS after its first packet, when the ring is empty that long
 * after the last batch, or empty every BEAT_MS as a sign of life. A wake-up is dear in a guest (0.1 ms and
 * more where it is emulated), so the ring hands packets over only every RETIRE_MS: the host
 * waits for them. When the transport does not keep up, the ring is left alone: it fills, the
 * kernel drops and counts, and the count goes out with the next batch.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

#define BATCH_BYTES (32u << 10) /* a clock reply may have to wait for one */
#define FLUSH_MS 20
#define BEAT_MS  250
/* Packets read in one go: the loop looks at the transport in between. */
#define READ_PACKETS 64u
#define RETIRE_MS  40
/* The ring hands a block over up to two RETIRE_MS after its first packet; what is older than this is out. */
#define RETIRED_NS (130 * VNS_NSEC_PER_MSEC)
#define STOP_MIN_NS RETIRED_NS
#define STOP_MAX_NS (1000 * VNS_NSEC_PER_MSEC)
/* Holds 0.1 s at 100,000 packets/s; a small guest has little to give. */
#define RING_BYTES (4u << 20)

static struct capture *find_capture(struct agent *a, uint32_t id)
{
	for (unsigned int i = 0; i < MAX_CAPTURES; i++)
		if (a->capture[i].source && a->capture[i].id == id)
			return &a->capture[i];
	return NULL;
}

void capture_start(struct agent *a, uint32_t request, const struct vns_wire_capture *w)
{
	struct vns_source_opts o = { .snaplen = w->snaplen, .ring_bytes = RING_BYTES,
				     .timeout_ms = -1, .retire_ms = RETIRE_MS };
	struct capture *c = NULL;
	struct vns_err err = { "" };
	int r;

	if (find_capture(a, w->id)) {
		agent_error(a, request, -EEXIST, "a capture of that number runs already");
		return;
	}
	for (unsigned int i = 0; i < MAX_CAPTURES && !c; i++)
		if (!a->capture[i].source)
			c = &a->capture[i];
	if (!c) {
		agent_error(a, request, -EBUSY, "too many captures run already");
		return;
	}
	*c = (struct capture){ .id = w->id };
	r = vns_source_open_live_bpf(&c->source, w->ifname, w->filter, w->n_filter, &o, &err);
	if (r < 0) {
		c->source = NULL;
		agent_error(a, request, r, err.text);
		return;
	}
	c->complete_ns = c->last_ns = vns_now_ns();
	c->sent_at = vns_monotonic_ns();
	outq_put(&a->out.control, VNS_MSG_OK, request, NULL, 0);
}

void capture_close(struct capture *c)
{
	if (c->source)
		vns_source_close(c->source);
	free(c->frame);
	*c = (struct capture){ .source = NULL };
}

/* Hand the batch to the queue, empty or not. */
static void send_batch(struct agent *a, struct capture *c)
{
	struct vns_source_stats st;
	struct outframe *fit;
	struct vns_cursor cur;

	if (!c->frame) {
		c->frame = outframe_new(VNS_WIRE_BATCH_HEADER);
		if (!c->frame)
			return; /* told with a later one */
		c->head = (struct vns_wire_batch){ .base_ns = c->last_ns };
		c->len = VNS_WIRE_BATCH_HEADER;
	}
	vns_source_stats(c->source, &st);
	c->head.id = c->id;
	c->head.dropped = st.dropped - c->dropped;
	c->dropped = st.dropped;
	c->head.now_ns = c->complete_ns;
	vns_cursor_init(&cur, c->frame->data + VNS_WIRE_HEADER, VNS_WIRE_BATCH_HEADER);
	vns_put_batch_header(&cur, &c->head);
	/* give back what was not filled: the queue's limit counts what it really holds */
	fit = realloc(c->frame, sizeof(*fit) + VNS_WIRE_HEADER + c->len);
	outq_add(&a->out.bulk, fit ? fit : c->frame, VNS_MSG_CAPTURE_BATCH, 0, c->len);
	c->frame = NULL;
	c->sent_at = vns_monotonic_ns();
}

static bool add_packet(struct agent *a, struct capture *c, const struct vns_packet *p)
{
	if (!c->frame) {
		c->frame = outframe_new(BATCH_BYTES);
		if (!c->frame)
			return false;
		c->head = (struct vns_wire_batch){ .base_ns = p->time_ns };
		c->last_ns = p->time_ns;
		c->len = VNS_WIRE_BATCH_HEADER;
		c->opened_at = vns_monotonic_ns();
	}
	c->len += vns_put_packet(c->frame->data + VNS_WIRE_HEADER + c->len, p, c->last_ns);
	c->last_ns = p->time_ns;
	c->head.n++;
	if (c->head.n == VNS_WIRE_BATCH_PACKETS || c->len > BATCH_BYTES - VNS_WIRE_PACKET_MAX)
		send_batch(a, c);
	return true;
}

/* Echoes are rare and may be the host's clock probes: it chooses among them itself. */
static bool is_chosen(struct capture *c, const struct vns_packet *p)
{
	return p->proto == VNS_PROTO_ICMP || vns_sampler_takes(&c->sampler, p, c->one_in);
}

/* Return: packets taken; 0 the ring is empty; < 0 the capture is over. */
static int read_packets(struct agent *a, struct capture *c)
{
	struct vns_err err = { "" };
	int n = vns_source_next(c->source, a->pkts, READ_PACKETS, &err);

	if (n == VNS_SOURCE_EOF || n == -ENODEV) {
		agent_note(a, err.text[0] ? err.text : "a capture ended: its interface is gone");
		return -ENODEV;
	}
	if (n < 0) {
		agent_note(a, err.text); /* an interface that went down may come up again */
		return 0;
	}
	for (int i = 0; i < n; i++)
		if (is_chosen(c, &a->pkts[i]) && !add_packet(a, c, &a->pkts[i]))
			return -ENOMEM;
	if (n)
		c->complete_ns = a->pkts[n - 1].time_ns;
	return n;
}

static void finish(struct agent *a, struct capture *c)
{
	send_batch(a, c);
	if (c->stop_request) /* behind the last batch */
		outq_put(&a->out.bulk, VNS_MSG_OK, c->stop_request, NULL, 0);
	capture_close(c);
}

void capture_sample(struct agent *a, uint32_t request, uint32_t id, uint32_t one_in)
{
	struct capture *c = find_capture(a, id);

	if (!c) {
		agent_error(a, request, -ENOENT, "there is no capture of that number");
		return;
	}
	c->one_in = one_in;
	outq_put(&a->out.control, VNS_MSG_OK, request, NULL, 0);
}

void capture_stop(struct agent *a, uint32_t request, uint32_t id)
{
	struct capture *c = find_capture(a, id);

	if (!c || c->stop_at) {
		agent_error(a, request, -ENOENT, "there is no capture of that number");
		return;
	}
	c->stop_at = vns_monotonic_ns();
	c->stop_request = request;
}

bool capture_wants_poll(const struct agent *a, const struct capture *c)
{
	/* a stopping capture is emptied in any case: the ring bounds what that can be */
	return c->source && (c->stop_at || a->out.bulk.bytes < BULK_LIMIT_BYTES);
}

void capture_work(struct agent *a, struct capture *c, enum capture_state state, int64_t polled_ns)
{
	int64_t now = vns_monotonic_ns();
	/*
	 * A silent one is asked once a beat: what it has to say of its interface's end comes behind its last packets,
	 * and the socket that told it does so once only, so that poll() finds nothing any more.
	 */
	bool ask = state == CAPTURE_EMPTY && now - c->sent_at >= BEAT_MS * VNS_NSEC_PER_MSEC;
	int n = state == CAPTURE_READABLE || ask ? read_packets(a, c) : 0;
	bool emptied = state == CAPTURE_READABLE && n < (int)READ_PACKETS;

	if (n < 0) {
		finish(a, c);
		return;
	}
	now = vns_monotonic_ns();
	if (state == CAPTURE_EMPTY && polled_ns - RETIRED_NS > c->complete_ns)
		c->complete_ns = polled_ns - RETIRED_NS;
	if (c->stop_at && ((state == CAPTURE_EMPTY && now - c->stop_at > STOP_MIN_NS) ||
			   now - c->stop_at > STOP_MAX_NS)) {
		finish(a, c);
		return;
	}
	if ((c->frame && now - (emptied ? c->sent_at : c->opened_at) >= FLUSH_MS * VNS_NSEC_PER_MSEC) ||
	    (now - c->sent_at >= BEAT_MS * VNS_NSEC_PER_MSEC &&
	     a->out.bulk.bytes < BULK_LIMIT_BYTES))
		send_batch(a, c);
}

int capture_wait_ms(const struct capture *c)
{
	int64_t left_ns;

	if (c->stop_at)
		return 5;
	if (!c->frame)
		return BEAT_MS;
	left_ns = c->opened_at + FLUSH_MS * VNS_NSEC_PER_MSEC - vns_monotonic_ns();
	return left_ns > 0 ? (int)(left_ns / VNS_NSEC_PER_MSEC) + 1 : 0;
}
