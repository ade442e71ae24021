// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Frames: header, rules of every message type, and an input buffer that hands out whole
 * frames from a stream cut anywhere. Bytes in, frames or one sentence out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

static const struct vns_msg_rule rules[VNS_MSG_TYPES] = {
	[VNS_MSG_HELLO] = { "HELLO", 256, VNS_FROM_HOST },
	[VNS_MSG_HELLO_REPLY] = { "HELLO_REPLY", 4096, VNS_FROM_AGENT },
	[VNS_MSG_OK] = { "OK", 0, VNS_FROM_AGENT },
	[VNS_MSG_ERROR] = { "ERROR", 1024, VNS_FROM_AGENT },
	[VNS_MSG_NOTE] = { "NOTE", 1024, VNS_FROM_AGENT },
	[VNS_MSG_CLOCK] = { "CLOCK", 0, VNS_FROM_HOST },
	[VNS_MSG_CLOCK_REPLY] = { "CLOCK_REPLY", 16, VNS_FROM_AGENT },
	[VNS_MSG_SHM_START] = { "SHM_START", 16, VNS_FROM_HOST },
	[VNS_MSG_SHM_READY] = { "SHM_READY", 0, VNS_FROM_AGENT },
	[VNS_MSG_SHM_DONE] = { "SHM_DONE", 8, VNS_FROM_AGENT },
	[VNS_MSG_PTP] = { "PTP", 4, VNS_FROM_HOST },
	[VNS_MSG_PTP_REPLY] = { "PTP_REPLY", 4 + 24 * VNS_WIRE_MAX_PTP, VNS_FROM_AGENT },
	[VNS_MSG_CAPTURE_START] = { "CAPTURE_START", 32 + 8 * VNS_WIRE_MAX_BPF, VNS_FROM_HOST },
	[VNS_MSG_CAPTURE_STOP] = { "CAPTURE_STOP", 4, VNS_FROM_HOST },
	[VNS_MSG_CAPTURE_BATCH] = { "CAPTURE_BATCH", VNS_WIRE_MAX_BODY, VNS_FROM_AGENT },
	[VNS_MSG_LOAD_START] = { "LOAD_START", 80, VNS_FROM_HOST },
	[VNS_MSG_LOAD_STARTED] = { "LOAD_STARTED", 4, VNS_FROM_AGENT },
	[VNS_MSG_LOAD_STATS] = { "LOAD_STATS", 4, VNS_FROM_HOST },
	[VNS_MSG_LOAD_STOP] = { "LOAD_STOP", 4, VNS_FROM_HOST },
	[VNS_MSG_LOAD_REPORT] = { "LOAD_REPORT", 128, VNS_FROM_AGENT },
	[VNS_MSG_USAGE] = { "USAGE", 0, VNS_FROM_HOST },
	[VNS_MSG_USAGE_REPLY] = { "USAGE_REPLY", 40, VNS_FROM_AGENT },
	[VNS_MSG_EXEC] = { "EXEC", VNS_WIRE_MAX_ARGS_BYTES, VNS_FROM_HOST },
	[VNS_MSG_EXEC_OUTPUT] = { "EXEC_OUTPUT", 16384 + 4, VNS_FROM_AGENT },
	[VNS_MSG_EXEC_DONE] = { "EXEC_DONE", 4, VNS_FROM_AGENT },
	[VNS_MSG_EXEC_KILL] = { "EXEC_KILL", 4, VNS_FROM_HOST },
	[VNS_MSG_SHUTDOWN] = { "SHUTDOWN", 0, VNS_FROM_HOST },
	[VNS_MSG_BYE] = { "BYE", 0, VNS_FROM_HOST },
	[VNS_MSG_TSC] = { "TSC", 4, VNS_FROM_HOST },
	[VNS_MSG_TSC_REPLY] = { "TSC_REPLY", 4 + 24 * VNS_WIRE_MAX_TSC, VNS_FROM_AGENT },
	[VNS_MSG_CAPTURE_SAMPLE] = { "CAPTURE_SAMPLE", 8, VNS_FROM_HOST },
	[VNS_MSG_CLOCK_STATE] = { "CLOCK_STATE", 0, VNS_FROM_HOST },
	[VNS_MSG_CLOCK_STATE_REPLY] = { "CLOCK_STATE_REPLY", 96, VNS_FROM_AGENT },
};

const struct vns_msg_rule *vns_msg_rule(uint16_t type)
{
	return type < VNS_MSG_TYPES && rules[type].name ? &rules[type] : NULL;
}

void vns_frame_put_header(uint8_t to[VNS_WIRE_HEADER], const struct vns_frame_header *h)
{
	struct vns_cursor c;

	vns_cursor_init(&c, to, VNS_WIRE_HEADER);
	vns_put_le32(&c, VNS_WIRE_MAGIC);
	vns_put_le32(&c, h->body_len);
	vns_put_le16(&c, h->type);
	vns_put_le16(&c, h->flags);
	vns_put_le32(&c, h->request);
}

/* Two frames of the largest size: one being read while one waits. */
#define INBUF_SIZE (2 * (VNS_WIRE_HEADER + VNS_WIRE_MAX_BODY))

int vns_inbuf_init(struct vns_inbuf *b, enum vns_msg_sender sender)
{
	*b = (struct vns_inbuf){ .size = INBUF_SIZE, .sender = (uint8_t)sender };
	b->data = malloc(b->size);
	return b->data ? 0 : -ENOMEM;
}

void vns_inbuf_fini(struct vns_inbuf *b)
{
	free(b->data);
	b->data = NULL;
}

void vns_inbuf_clear(struct vns_inbuf *b)
{
	b->start = b->end = 0;
}

uint8_t *vns_inbuf_space(struct vns_inbuf *b, size_t *room)
{
	if (b->start == b->end) {
		b->start = b->end = 0;
	} else if (b->start > b->size / 2) {
		memmove(b->data, b->data + b->start, b->end - b->start);
		b->end -= b->start;
		b->start = 0;
	}
	*room = b->size - b->end;
	return b->data + b->end;
}

void vns_inbuf_added(struct vns_inbuf *b, size_t n)
{
	b->end += n;
}

void vns_inbuf_skip_byte(struct vns_inbuf *b)
{
	if (b->start < b->end)
		b->start++;
}

/* Parse the header in front; the caller has checked that 16 bytes are there. */
static uint32_t get_header(const struct vns_inbuf *b, struct vns_frame_header *h)
{
	struct vns_cursor c;
	uint32_t magic;

	vns_cursor_init_const(&c, b->data + b->start, VNS_WIRE_HEADER);
	magic = vns_get_le32(&c);
	h->body_len = vns_get_le32(&c);
	h->type = vns_get_le16(&c);
	h->flags = vns_get_le16(&c);
	h->request = vns_get_le32(&c);
	return magic;
}

int vns_inbuf_next(struct vns_inbuf *b, struct vns_wire_frame *out, struct vns_err *err)
{
	const struct vns_msg_rule *r;

	if (b->end - b->start < VNS_WIRE_HEADER)
		return 0;
	if (get_header(b, &out->h) != VNS_WIRE_MAGIC)
		return vns_err_set(err, -EPROTO, "what came is not the agent protocol");
	r = vns_msg_rule(out->h.type);
	if (!r)
		return vns_err_set(err, -EPROTO, "message type %u is unknown", out->h.type);
	if (r->sender != b->sender)
		return vns_err_set(err, -EPROTO, "%s came from the wrong side", r->name);
	if (out->h.body_len > r->max_body)
		return vns_err_set(err, -EPROTO, "%s of %u bytes is over its limit of %u",
				   r->name, out->h.body_len, r->max_body);
	if (out->h.flags)
		return vns_err_set(err, -EPROTO, "%s has unknown flags 0x%x", r->name,
				   out->h.flags);
	if (b->end - b->start < VNS_WIRE_HEADER + out->h.body_len)
		return 0;
	out->body = b->data + b->start + VNS_WIRE_HEADER;
	b->start += VNS_WIRE_HEADER + out->h.body_len;
	return 1;
}

size_t vns_inbuf_seek(struct vns_inbuf *b, uint16_t type)
{
	size_t from = b->start;
	struct vns_frame_header h;

	for (; b->end - b->start >= VNS_WIRE_HEADER; b->start++) {
		if (get_header(b, &h) == VNS_WIRE_MAGIC && h.type == type && !h.flags &&
		    h.body_len <= rules[type].max_body)
			break;
	}
	return b->start - from;
}
