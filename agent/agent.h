/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside of vnetscope-agent: one process, one thread, one poll loop.
 *
 * State and who writes it: struct agent is the loop's; captures, commands and clocks are
 * parts with functions of their own below; loads are processes (lib/load). Everything that
 * leaves goes through the output queue, which keeps replies ahead of bulk.
 */
#ifndef VNS_AGENT_INTERNAL_H
#define VNS_AGENT_INTERNAL_H

#include <poll.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "load/load.h"
#include "packet/sample.h"
#include "source/live.h"
#include "wire/wire.h"

/* ---- output queue (outq.c) ---- */

/* Bulk waiting for a slow transport: then captures stay in the kernel's ring, which counts. */
#define BULK_LIMIT_BYTES (1u << 20)
/* Replies waiting for a host that asks and does not read: then it is not read from either. */
#define CONTROL_LIMIT_BYTES (256u << 10)

struct outframe {
	struct outframe *next;
	size_t len, at;  /* bytes in data; already written */
	bool stamp_t3;   /* its last 8 bytes are the time it is written at */
	uint8_t data[];  /* header and body */
};
struct outlist {
	struct outframe *first, **end;
	size_t bytes;
};
struct outq {
	struct outlist control, bulk;
	struct outframe *current; /* being written: never overtaken, frames are whole */
};
void outq_init(struct outq *q);
void outq_clear(struct outq *q);
bool outq_empty(const struct outq *q);
/* Write what the descriptor takes. Return: 0, or -errno when it is lost. */
int outq_flush(struct outq *q, int fd);
/* A frame with a copy of @body; false when memory is short. */
bool outq_put(struct outlist *l, uint16_t type, uint32_t request, const void *body, size_t len);
/* A frame filled by the caller: outframe_new() with room for the body, then outq_add(). */
struct outframe *outframe_new(size_t room);
void outq_add(struct outlist *l, struct outframe *f, uint16_t type, uint32_t request,
	      size_t body_len);

/* ---- captures (capture.c) ---- */

#define MAX_CAPTURES 4u
struct capture {
	struct vns_source *source; /* NULL: free */
	uint32_t id;
	struct outframe *frame;    /* batch under construction, or NULL */
	struct vns_wire_batch head;
	size_t len;                /* body bytes in @frame */
	int64_t last_ns;           /* time of the last packet: the next one's difference is to it */
	int64_t complete_ns;       /* guest clock: nothing older is to come */
	uint64_t dropped;          /* told so far */
	int64_t opened_at, sent_at; /* monotonic: batch begun; last batch sent */
	int64_t stop_at;           /* monotonic, 0: running */
	uint32_t stop_request;
	uint32_t one_in;           /* packets chosen: vns_sampler_takes() */
	struct vns_sampler sampler;
};

/* ---- commands (exec.c) ---- */

#define MAX_EXECS 4u
struct command {
	pid_t pid;       /* 0: free */
	uint32_t request;
	int out[2];      /* stdout, stderr; -1: at its end */
};

struct agent {
	const char *name;       /* of the transport, for messages */
	int rfd, wfd;
	bool virtio, is_init, allow_exec;
	bool session, quit, shutdown;
	bool lost;              /* the transport is gone */
	uint64_t nonce;
	int64_t read_ns;        /* realtime just after the last read: T2 */
	int64_t partial_since;  /* monotonic; a frame has been incomplete since; 0: none */
	size_t garbage;         /* bytes skipped before the hello */
	struct vns_inbuf in;
	struct outq out;
	struct capture capture[MAX_CAPTURES];
	struct command command[MAX_EXECS];
	struct vns_loads *loads;
	struct vns_packet *pkts; /* scratch of one read from a capture */
	struct vns_bpf_insn *filter; /* scratch for VNS_WIRE_MAX_BPF */
	void *shm;              /* page shared with the host, or NULL */
	int ptp_fd;             /* -1: none */
	int signal_fd;
};

/* serve.c: speak over rfd/wfd until the transport is lost or the host says so. */
int agent_init(struct agent *a, struct vns_err *err);
void agent_fini(struct agent *a);
/* Sleep @ms or until a signal; one that ends the agent sets its quit. */
void agent_wait(struct agent *a, int ms);
void agent_serve(struct agent *a);
void agent_end_session(struct agent *a);
void agent_note(struct agent *a, const char *sentence);

/* handlers.c */
void agent_handle(struct agent *a, const struct vns_wire_frame *f);
void agent_error(struct agent *a, uint32_t request, int code, const char *sentence);

/* capture.c */
void capture_start(struct agent *a, uint32_t request, const struct vns_wire_capture *w);
void capture_sample(struct agent *a, uint32_t request, uint32_t id, uint32_t one_in);
void capture_stop(struct agent *a, uint32_t request, uint32_t id);
void capture_close(struct capture *c);
/* Poll entry, work when readable or not, and the longest wait until there is work. */
bool capture_wants_poll(const struct agent *a, const struct capture *c);
/* What poll() said of the ring; one that is left alone may well hold packets. */
enum capture_state { CAPTURE_LEFT_ALONE, CAPTURE_EMPTY, CAPTURE_READABLE };
/* @polled_ns: guest clock before it was asked */
void capture_work(struct agent *a, struct capture *c, enum capture_state state,
		  int64_t polled_ns);
int capture_wait_ms(const struct capture *c);

/* exec.c */
void command_start(struct agent *a, uint32_t request, const uint8_t *body, size_t len);
void command_kill(struct agent *a, uint32_t request, uint32_t which);
void command_output(struct agent *a, struct command *c, int which);
bool command_reaped(struct agent *a, pid_t pid, int status);
void command_end_all(struct agent *a);

/* clocks.c */
void *shm_find(void);

/* First line of a small file, without its newline. Return: false when there is none. */
bool read_line(const char *path, char *buf, size_t size);

/*
 * Where PTP clocks are looked for, and the call that asks one; tests bring their own.
 * @ioctl: Return: 0 or -errno
 */
struct ptp_ops {
	const char *sys, *dev;
	int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
	void *ctx;
};
extern const struct ptp_ops ptp_kernel;

/* The PTP clock of KVM that gives time. Return: its descriptor, or -1. */
int ptp_find(const struct ptp_ops *ops);
/* Return: readings in @r, or -errno with @err. */
int ptp_read(const struct ptp_ops *ops, int fd, struct vns_ptp_reading *r, size_t n,
	     struct vns_err *err);

/* info.c */
void info_read(struct vns_agent_info *i, const struct agent *a);

/* port.c: descriptor of the virtio port called @name, or -errno. */
int port_open(const char *name);

/* init.c: be PID 1 of a lab guest; fills @port with the name of the port to serve. */
void init_machine(char *port, size_t size);
void init_power_off(void) __attribute__((noreturn));

/* netconf.c */
struct netconf {
	char ifname[16];
	char mac[18];
	char ip[2][64];      /* ADDRESS/PREFIX, v4 and v6; empty: none */
	char gw[2][64];
	char neigh[16][80];  /* ADDRESS/MAC */
	unsigned int n_neigh;
};
/* Return: 0; each failure is told to @say and the rest still done. */
int netconf_apply(const struct netconf *n, void (*say)(const char *fmt, ...));

/* "step=NS" or "ppm=X" of this machine's clock (adjust.c). Return: an exit code. */
int adjust_clock(const char *what);

#endif
