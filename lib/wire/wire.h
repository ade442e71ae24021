/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The agent protocol as bytes: frames, message bodies, packet batches. Both ends use it;
 * doc/agent-protocol.md describes every message.
 *
 * A frame is a 16-byte header and a body, little-endian:
 *   u32 magic "VNSA", u32 body length, u16 type, u16 flags, u32 request id
 * Every type has a largest body. Whatever breaks a rule ends the session: the stream is not
 * searched for the next good frame (only a HELLO may be searched for, before a session).
 */
#ifndef VNS_WIRE_WIRE_H
#define VNS_WIRE_WIRE_H

#include <vnetscope/agent.h>

#include "base/cursor.h"

#define VNS_WIRE_MAGIC   0x41534e56u /* "VNSA" */
#define VNS_WIRE_HEADER  16u
#define VNS_WIRE_MAX_BODY 65536u     /* no message is longer */

enum vns_msg_type {
	VNS_MSG_HELLO = 1,
	VNS_MSG_HELLO_REPLY,
	VNS_MSG_OK,             /* done, nothing to tell */
	VNS_MSG_ERROR,          /* errno and a sentence */
	VNS_MSG_NOTE,           /* a sentence, unasked */
	VNS_MSG_CLOCK,
	VNS_MSG_CLOCK_REPLY,
	VNS_MSG_SHM_START,
	VNS_MSG_SHM_READY,
	VNS_MSG_SHM_DONE,
	VNS_MSG_PTP,
	VNS_MSG_PTP_REPLY,
	VNS_MSG_CAPTURE_START,
	VNS_MSG_CAPTURE_STOP,
	VNS_MSG_CAPTURE_BATCH,
	VNS_MSG_LOAD_START,
	VNS_MSG_LOAD_STARTED,
	VNS_MSG_LOAD_STATS,
	VNS_MSG_LOAD_STOP,
	VNS_MSG_LOAD_REPORT,
	VNS_MSG_USAGE,
	VNS_MSG_USAGE_REPLY,
	VNS_MSG_EXEC,
	VNS_MSG_EXEC_OUTPUT,
	VNS_MSG_EXEC_DONE,
	VNS_MSG_EXEC_KILL,
	VNS_MSG_SHUTDOWN,
	VNS_MSG_BYE,            /* the host ends the session */
	VNS_MSG_TSC,
	VNS_MSG_TSC_REPLY,
	VNS_MSG_CAPTURE_SAMPLE, /* from now on 1 packet in so many */
	VNS_MSG_CLOCK_STATE,
	VNS_MSG_CLOCK_STATE_REPLY,
	VNS_MSG_TYPES
};

enum vns_msg_sender { VNS_FROM_HOST = 1, VNS_FROM_AGENT = 2 };

struct vns_msg_rule {
	const char *name;
	uint32_t max_body;
	uint8_t sender;
};
/* Rule of @type, or NULL when there is no such type. */
const struct vns_msg_rule *vns_msg_rule(uint16_t type);

struct vns_frame_header {
	uint32_t body_len;
	uint16_t type;
	uint16_t flags; /* none defined: 0 */
	uint32_t request;
};

/* One frame inside an input buffer; @body is borrowed until the next call on the buffer. */
struct vns_wire_frame {
	struct vns_frame_header h;
	const uint8_t *body;
};

void vns_frame_put_header(uint8_t to[VNS_WIRE_HEADER], const struct vns_frame_header *h);

/*
 * Input buffer: bytes of any cut go in at the end, whole frames come out at the front.
 * Read into vns_inbuf_space(), tell with vns_inbuf_added().
 */
struct vns_inbuf {
	uint8_t *data;
	size_t size, start, end;
	uint8_t sender;  /* whose frames these are */
};
int vns_inbuf_init(struct vns_inbuf *b, enum vns_msg_sender sender);
void vns_inbuf_fini(struct vns_inbuf *b);
void vns_inbuf_clear(struct vns_inbuf *b);
uint8_t *vns_inbuf_space(struct vns_inbuf *b, size_t *room);
void vns_inbuf_added(struct vns_inbuf *b, size_t n);
/* Return: 1 with @out, 0 when more bytes are needed, -EPROTO with a sentence in @err. */
int vns_inbuf_next(struct vns_inbuf *b, struct vns_wire_frame *out, struct vns_err *err);
/*
 * Drop bytes until a header of @type (and plausible length) stands in front, or too few
 * bytes are left to tell. Return: bytes dropped.
 */
size_t vns_inbuf_seek(struct vns_inbuf *b, uint16_t type);
/* Drop one byte: what vns_inbuf_seek() found was no good. */
void vns_inbuf_skip_byte(struct vns_inbuf *b);

/* HELLO. Its first three fields, and those of the reply, stay as they are in every version. */
struct vns_wire_hello {
	uint64_t nonce;
	uint32_t protocol;
	char version[32];
};
void vns_put_hello(struct vns_cursor *c, const struct vns_wire_hello *h);
bool vns_get_hello(struct vns_cursor *c, struct vns_wire_hello *h);
void vns_put_hello_reply(struct vns_cursor *c, uint64_t nonce, const struct vns_agent_info *i);
/* Of another version only @nonce, protocol and version are read. */
bool vns_get_hello_reply(struct vns_cursor *c, uint64_t *nonce, struct vns_agent_info *i);

void vns_put_error(struct vns_cursor *c, int code, const char *sentence);
bool vns_get_error(struct vns_cursor *c, int *code, struct vns_err *sentence);

/* Capture. */
#define VNS_WIRE_MAX_BPF 4096u
struct vns_wire_capture {
	uint32_t id;
	uint32_t snaplen;
	char ifname[16];
	uint32_t n_filter;
	struct vns_bpf_insn *filter; /* caller's room for VNS_WIRE_MAX_BPF when decoding */
};
void vns_put_capture(struct vns_cursor *c, const struct vns_wire_capture *w);
bool vns_get_capture(struct vns_cursor *c, struct vns_wire_capture *w);

#define VNS_WIRE_BATCH_PACKETS 1024u /* in one batch at most */
#define VNS_WIRE_BATCH_HEADER  32u
#define VNS_WIRE_PACKET_MAX    128u  /* one encoded packet at most */
struct vns_wire_batch {
	uint32_t id;
	uint32_t n;
	uint64_t dropped;   /* by the guest's kernel since the batch before */
	int64_t now_ns;     /* guest clock: complete up to it */
	int64_t base_ns;    /* time the first packet's difference is to */
};
void vns_put_batch_header(struct vns_cursor *c, const struct vns_wire_batch *b);
/* Append one packet; @prev_ns is the packet's before it, or base_ns. Needs _PACKET_MAX room. */
size_t vns_put_packet(uint8_t *to, const struct vns_packet *p, int64_t prev_ns);
bool vns_get_packet(struct vns_cursor *c, struct vns_packet *p, int64_t prev_ns);
/* Whole body to @pkts (room for VNS_WIRE_BATCH_PACKETS). False: the body breaks a rule. */
bool vns_get_batch(struct vns_cursor *c, struct vns_wire_batch *b, struct vns_packet *pkts);

/* Loads and counters. */
void vns_put_load_spec(struct vns_cursor *c, const struct vns_load_spec *s);
bool vns_get_load_spec(struct vns_cursor *c, struct vns_load_spec *s);
void vns_put_load_stats(struct vns_cursor *c, const struct vns_load_stats *s);
bool vns_get_load_stats(struct vns_cursor *c, struct vns_load_stats *s);
void vns_put_usage(struct vns_cursor *c, const struct vns_agent_usage *u);
bool vns_get_usage(struct vns_cursor *c, struct vns_agent_usage *u);

/* PTP: the guest's clock before, the host's from the device, the guest's after. */
struct vns_ptp_reading {
	int64_t before_ns, host_ns, after_ns;
};
#define VNS_WIRE_MAX_PTP 26u /* PTP_MAX_SAMPLES of linux/ptp_clock.h is 25, plus one to pair */
void vns_put_ptp(struct vns_cursor *c, const struct vns_ptp_reading *r, size_t n);
/* Return: readings, or -EPROTO. @r has room for VNS_WIRE_MAX_PTP. */
int vns_get_ptp(struct vns_cursor *c, struct vns_ptp_reading *r);
/*
 * @n readings in order give n - 1 exchanges. Reading i says: the host clock showed host_ns
 * before the guest's showed after_ns (host "sends" to guest), reading i+1 that the guest's
 * showed before_ns before the host's showed host_ns (guest "sends" to host). So
 *   t1 = host_i, t2 = after_i, t3 = before_(i+1), t4 = host_(i+1)
 * is a true exchange and t3 - t4 <= offset <= t2 - t1 holds. Return: exchanges written.
 */
size_t vns_ptp_to_exchanges(const struct vns_ptp_reading *r, size_t n, struct vns_exchange *out,
			    size_t max);

#define VNS_WIRE_MAX_TSC 32u
void vns_put_tsc(struct vns_cursor *c, const struct vns_tsc_reading *r, size_t n);
void vns_put_clock_state(struct vns_cursor *c, const struct vns_clock_state *s);
bool vns_get_clock_state(struct vns_cursor *c, struct vns_clock_state *s);
/* Return: readings, or -EPROTO. @r has room for VNS_WIRE_MAX_TSC. */
int vns_get_tsc(struct vns_cursor *c, struct vns_tsc_reading *r);

#define VNS_WIRE_MAX_ARGV 64u
#define VNS_WIRE_MAX_ARGS_BYTES 16384u

#endif
