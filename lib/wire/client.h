/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of the host's end: one connection, its buffers, and the request call that
 * everything in calls.c is made of.
 */
#ifndef VNS_WIRE_CLIENT_H
#define VNS_WIRE_CLIENT_H

#include "wire/wire.h"

/* A reply may wait behind batches under way on a slow port in a loaded guest. */
#define VNS_CLIENT_TIMEOUT_MS 10000

struct vns_agent {
	char name[64];
	int rfd, wfd;
	pid_t child;          /* 0: none */
	struct vns_inbuf in;
	struct vns_agent_info info;
	struct vns_agent_sink sink;
	void (*explain)(void *ctx, int exit_code, char *buf, size_t size); /* what the transport said; or NULL */
	void *explain_ctx;
	struct vns_packet *pkts; /* room for one batch */
	uint64_t nonce;
	uint64_t rx_bytes, tx_bytes;
	uint32_t next_request;
	int64_t heard_ns;     /* monotonic: sign of life; something that came was read or handled then */
	int64_t silent_ns, silent_until_ns; /* longest silence since it was asked for; realtime */
	int timeout_ms;       /* of one request */
	const volatile int *stop; /* the user wants to end */
	int64_t stopped_ns;   /* monotonic: seen first then, or 0 */
	unsigned int captures; /* running */
	int broken;           /* -errno once the connection is of no more use */
	struct vns_err why;   /* it is not */
	int64_t read_ns;      /* realtime just after the last read: T4 of the channel */
	int64_t write_ns;     /* realtime just before the last frame was written: T1 */
};

/* Write a frame; while the agent does not take it, streamed data is read. */
int vns_client_send(struct vns_agent *a, uint16_t type, uint32_t request, const void *body,
		    size_t len, int64_t deadline_ns, struct vns_err *err);
/*
 * Next frame that is not streamed data, which is handed to the sink on the way. With
 * @streamed the call also returns after streamed data. Return: 1 frame, 2 streamed, or -errno.
 */
int vns_client_receive(struct vns_agent *a, struct vns_wire_frame *f, int64_t deadline_ns,
		       bool streamed, struct vns_err *err);
/*
 * Send @type and await a frame of @want under the same request id. An ERROR reply becomes
 * its code, and its sentence @err. @id_out (may be NULL): the request id used.
 */
int vns_client_request(struct vns_agent *a, uint16_t type, const void *body, size_t len,
		       uint16_t want, struct vns_wire_frame *reply, int timeout_ms,
		       uint32_t *id_out, struct vns_err *err);
/* Await @want for request @id, as above. */
int vns_client_await(struct vns_agent *a, uint32_t id, uint16_t want,
		     struct vns_wire_frame *reply, int64_t deadline_ns, struct vns_err *err);
/* The connection is lost: remember and say it. */
int vns_client_broken(struct vns_agent *a, int code, struct vns_err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
