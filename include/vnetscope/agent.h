/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * DOC: vnetscope/agent.h - the host's end of the agent protocol (doc/agent-protocol.md).
 *
 * One struct vns_agent is one connection (virtio-serial socket, pipes of ssh or of a child in a
 * namespace). Every call has a time-out; a dead agent is an error (-EPIPE, -ETIMEDOUT) with one
 * sentence, never a hang. While a call waits for its reply, streamed data that arrives (capture
 * batches, notes) goes to the sink. Not thread-safe; one thread per connection.
 */
#ifndef VNETSCOPE_AGENT_H
#define VNETSCOPE_AGENT_H

#include <sys/types.h>

#include <vnetscope/clock.h>
#include <vnetscope/packet.h>
#include <vnetscope/source.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Raised also when the digest or the flow hash of a packet is computed otherwise, or the choice of --sample:
 * both ends must agree on them, or nothing is paired. 2: the payload's length is a term of its own in UDP's
 * and ICMP's digest. 3: TCP is chosen by the client's port where the ports tell which that is.
 */
#define VNS_AGENT_PROTOCOL 4

/* Capabilities an agent announces. */
#define VNS_CAP_CAPTURE   0x0001
#define VNS_CAP_SHM       0x0002 /* ivshmem page found and mapped */
#define VNS_CAP_PTP_KVM   0x0004
#define VNS_CAP_EXEC      0x0008 /* lab guests only */
#define VNS_CAP_LOAD      0x0010
#define VNS_CAP_TSC       0x0040 /* can read its processor's time stamp counter */
#define VNS_CAP_CLOCK_STATE 0x0080
#define VNS_CAP_SAME_CLOCK_POSSIBLE 0x0020 /* boot id equals: caller compares @boot_id */

struct vns_agent_iface {
	char name[16];
	uint8_t mac[6];
	bool up;
	struct vns_addr addr[8];
	uint8_t n_addr;
};

struct vns_agent_info {
	uint32_t protocol;
	uint32_t caps;
	char version[32];
	char hostname[64];
	char kernel[96];
	char boot_id[40];      /* /proc/sys/kernel/random/boot_id: equal to ours = same clock */
	char clocksource[32];
	uint16_t n_cpu;
	char capture_why[128]; /* why there is no VNS_CAP_CAPTURE; empty when there is */
	struct vns_agent_iface iface[8];
	uint8_t n_iface;
};

/** What an agent streams. Callbacks run inside vns_agent_* calls; data is borrowed. */
struct vns_agent_sink {
	/* @dropped: lost by the guest's kernel since the last call; @now_ns: guest clock, capture
	 * is complete up to it. @n is 0 in the signs of life of a silent capture. */
	void (*packets)(void *ctx, uint32_t capture_id, const struct vns_packet *pkts, size_t n,
			uint64_t dropped, int64_t now_ns);
	void (*note)(void *ctx, const char *sentence); /* e.g. "interface eth0 went down" */
	void *ctx;
};

struct vns_agent;

/**
 * vns_agent_attach() - speak to an agent over @rfd/@wfd (may be equal), say hello, learn what it
 * can. @name is used in messages. Takes ownership of the descriptors, and of @child (reaped on
 * close; 0: none). Return: 0, -EPROTO (another protocol version, named in @err), -ETIMEDOUT, ...
 */
int vns_agent_attach(struct vns_agent **out, const char *name, int rfd, int wfd, pid_t child,
		     int timeout_ms, struct vns_err *err);
void vns_agent_close(struct vns_agent *a);
const struct vns_agent_info *vns_agent_info(const struct vns_agent *a);
const char *vns_agent_name(const struct vns_agent *a);
void vns_agent_set_sink(struct vns_agent *a, const struct vns_agent_sink *sink);
/**
 * vns_agent_set_explain() - @explain writes what the transport itself said last ("Connection
 * closed by remote host"; "" for nothing); it is asked once the connection is lost. @exit_code: of
 * the child that carried it, or -1 when it has none or did not exit.
 */
void vns_agent_set_explain(struct vns_agent *a,
			   void (*explain)(void *ctx, int exit_code, char *buf, size_t size),
			   void *ctx);
int vns_agent_fd(const struct vns_agent *a);
/** vns_agent_set_timeout() - longest wait for the reply to one request; 0: the default, 10 s. */
void vns_agent_set_timeout(struct vns_agent *a, int timeout_ms);
/**
 * vns_agent_set_stop() - once *@stop is not 0, an agent that has not said anything since, or for
 * VNS_AGENT_STOP_MS, is waited for no longer: its requests end with -ETIMEDOUT. One that speaks is
 * waited for as ever. NULL: no such thing.
 */
#define VNS_AGENT_STOP_MS 900
void vns_agent_set_stop(struct vns_agent *a, const volatile int *stop);
/**
 * vns_agent_silence_ns() - how long nothing has come; a capturing agent speaks every 250 ms. 0: something
 * waits to be read, however long the caller has not come to read it.
 */
int64_t vns_agent_silence_ns(const struct vns_agent *a);
/**
 * vns_agent_was_silent_ns() - the longest time without a word of a capturing agent since the last call, counted
 * while somebody waited for one, in a request too. @until_ns: when it ended or, if it goes on, now; real time.
 */
int64_t vns_agent_was_silent_ns(struct vns_agent *a, int64_t *until_ns);
/** Bytes received and sent so far: part of our own overhead. */
void vns_agent_traffic(const struct vns_agent *a, uint64_t *rx, uint64_t *tx);

/** vns_agent_poll() - wait up to @timeout_ms for streamed data. Return: messages, 0, -errno. */
int vns_agent_poll(struct vns_agent *a, int timeout_ms, struct vns_err *err);

/** vns_agent_exchange() - one T1..T4 over the channel itself (mode channel). */
int vns_agent_exchange(struct vns_agent *a, struct vns_exchange *out, struct vns_err *err);
/**
 * vns_agent_shm_exchange() - up to @n exchanges over the ivshmem page mapped at @page
 * (4096 bytes or more). The guest's side polls only during the call, @max_ns at most.
 * Return: number of exchanges written to @out, or -errno.
 */
int vns_agent_shm_exchange(struct vns_agent *a, void *page, struct vns_exchange *out, size_t n,
			   int64_t max_ns, struct vns_err *err);
/** vns_agent_ptp_exchange() - guest reads /dev/ptp (host time) between two reads of its own. */
int vns_agent_ptp_exchange(struct vns_agent *a, struct vns_exchange *out, size_t n,
			   struct vns_err *err);

/** struct vns_tsc_reading - a clock (CLOCK_REALTIME, ns) between two readings of the counter. */
struct vns_tsc_reading {
	uint64_t before;
	int64_t clock_ns;
	uint64_t after;
};
/** vns_agent_tsc_read() - up to @n readings of the guest, one after the other. Return: number. */
int vns_agent_tsc_read(struct vns_agent *a, struct vns_tsc_reading *out, size_t n,
		       struct vns_err *err);

/**
 * struct vns_clock_state - what a kernel keeps its time by.
 * @source:  clock source ("tsc", "kvm-clock", "hpet"), or "" where none is named
 * @freq:    adjtimex(2) freq, 2^-16 ppm; @tick_us: its tick: what the clock is steered by
 * @steering_known: these two and all below were told (not by an agent of an earlier version, nor where
 *	adjtimex(2) is not allowed)
 * @status, @constant: adjtimex(2)'s; @offset_ns: what its loop still has to take away
 * @slew_us: what adjtime(3) still has to
 */
struct vns_clock_state {
	char source[32];
	int64_t freq, tick_us;
	bool steering_known;
	int32_t status, constant;
	int64_t offset_ns, slew_us;
};
/** vns_clock_state_read() - of this machine. */
void vns_clock_state_read(struct vns_clock_state *out);
/** vns_agent_clock_state() - of the agent's. Return: 0, -EOPNOTSUPP (an earlier agent), ... */
int vns_agent_clock_state(struct vns_agent *a, struct vns_clock_state *out, struct vns_err *err);

/** vns_agent_capture_start() - stream decoded packets of @ifname, pre-filtered in its kernel. */
int vns_agent_capture_start(struct vns_agent *a, uint32_t capture_id, const char *ifname,
			    const struct vns_bpf_insn *filter, size_t n_filter, uint32_t snaplen,
			    struct vns_err *err);
/**
 * vns_agent_capture_sample() - from now on stream only the packets that vns_packet_sampled() chooses,
 * later fragments with the first of their datagram,
 * and all of ICMP, which may be clock probes. Return: 0, or -errno (an agent of an earlier version).
 */
int vns_agent_capture_sample(struct vns_agent *a, uint32_t capture_id, uint32_t one_in,
			     struct vns_err *err);
/** vns_agent_capture_stop() - the rest is delivered to the sink before this returns. */
int vns_agent_capture_stop(struct vns_agent *a, uint32_t capture_id, struct vns_err *err);

enum vns_load_kind {
	VNS_LOAD_MD5 = 1,  /* MD5 of a random file in a loop; @size bytes, @procs, @percent */
	VNS_LOAD_VIDEO,    /* UDP stream of @rate_bps to @peer:@port, RTP-like */
	VNS_LOAD_ECHO_SERVER, /* TCP and UDP echo / request-response server on @port */
	VNS_LOAD_TCP_RR,   /* request/response to @peer:@port: @size bytes, @rate_hz (0 = max) */
	VNS_LOAD_UDP_RR,
	VNS_LOAD_PING,     /* ICMP echo to @peer, @rate_hz, @size payload bytes */
	VNS_LOAD_TCP_STREAM, /* bulk to @peer:@port; @rate_bps 0 = max */
	VNS_LOAD_UDP_SINK, /* receive and count on @port: UDP, and TCP as the end of a stream */
};
struct vns_load_spec {
	uint32_t kind;
	struct vns_addr peer;
	uint16_t port;
	uint16_t procs;
	uint32_t size;
	uint32_t percent;    /* target utilisation of one vCPU; 0 = 100 */
	double rate_hz;
	uint64_t rate_bps;
	int64_t duration_ns; /* 0: until stopped */
	bool persist;        /* runs on when this session ends; else stopped with it */
};
/** What a load did so far; RR kinds: rtt as the application saw it. */
struct vns_load_stats {
	uint64_t ops, bytes_tx, bytes_rx, errors;
	int64_t elapsed_ns, cpu_ns;
	uint64_t rtt_n;
	int64_t rtt_min_ns, rtt_max_ns;
	double rtt_mean_ns, rtt_stddev_ns;
	int64_t rtt_p50_ns, rtt_p95_ns, rtt_p99_ns;
};
int vns_agent_load_start(struct vns_agent *a, const struct vns_load_spec *spec, uint32_t *id,
			 struct vns_err *err);
int vns_agent_load_stats(struct vns_agent *a, uint32_t id, struct vns_load_stats *out,
			 struct vns_err *err);
int vns_agent_load_stop(struct vns_agent *a, uint32_t id, struct vns_load_stats *out,
			struct vns_err *err);

/** struct vns_agent_usage - the machine's and the agent's own CPU time. */
struct vns_agent_usage {
	int64_t at_ns;            /* guest clock */
	uint64_t cpu_total_ns, cpu_idle_ns, cpu_steal_ns; /* all CPUs, /proc/stat */
	uint64_t agent_cpu_ns;
};
int vns_agent_usage(struct vns_agent *a, struct vns_agent_usage *out, struct vns_err *err);

/**
 * vns_agent_exec() - run @argv in a lab guest (VNS_CAP_EXEC only). Output is handed over as it
 * comes. Return: 0 with *@status = wait status, or -errno.
 */
int vns_agent_exec(struct vns_agent *a, char *const argv[],
		   void (*output)(void *ctx, int fd, const void *data, size_t n), void *ctx,
		   int timeout_ms, int *status, struct vns_err *err);

/**
 * vns_agent_shutdown() - an agent that is a lab guest's init powers the guest off, any other
 * ends. Return: 0 as soon as the agent has agreed.
 */
int vns_agent_shutdown(struct vns_agent *a, struct vns_err *err);

#ifdef __cplusplus
}
#endif
#endif
