// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The agent's loop: transport, captures, commands, children; bytes in, frames out.
 *
 * Order within a round: input first, so that T2 is close to the arrival; then the replies are
 * written; then a bounded piece of each capture. Nothing blocks but the shared-memory clock
 * exchange, which the host waits for, and that is bounded.
 *
 * A virtio port stays open when the host goes away: until one is back, poll() says POLLIN and POLLHUP at
 * once and read() gives 0 (drivers/char/virtio_console.c). It may hold half a frame then: a frame that stays
 * incomplete for PARTIAL_NS is given up, and so is the session. Without a session everything up to a HELLO is skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define PARTIAL_NS (2 * VNS_NSEC_PER_SEC)
#define HUP_MS 20 /* look that often whether a host is back */
/* Pipes: that much without a hello is no host. */
#define MAX_GARBAGE 65536u
#define LEAVE_NS (500 * VNS_NSEC_PER_MSEC)
#define MAX_POLL (3 + MAX_CAPTURES + 2 * MAX_EXECS)

int agent_init(struct agent *a, struct vns_err *err)
{
	struct sigaction interrupt;
	sigset_t set;

	outq_init(&a->out);
	for (unsigned int i = 0; i < MAX_EXECS; i++)
		a->command[i] = (struct command){ .out = { -1, -1 } };
	a->pkts = aligned_alloc(_Alignof(struct vns_packet), 64 * sizeof(*a->pkts));
	a->filter = calloc(VNS_WIRE_MAX_BPF, sizeof(*a->filter));
	if (!a->pkts || !a->filter || vns_inbuf_init(&a->in, VNS_FROM_HOST) < 0 ||
	    vns_loads_new(&a->loads) < 0)
		return vns_err_set(err, -ENOMEM, "out of memory");
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	/* A blocked signal is told though it is ignored: Ctrl-C in a terminal is for whoever started us so. */
	if (sigaction(SIGINT, NULL, &interrupt) == 0 && interrupt.sa_handler != SIG_IGN)
		sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signal_fd < 0)
		return vns_err_set(err, -errno, "signalfd: %s", strerror(errno));
	a->shm = shm_find();
	a->ptp_fd = ptp_find(&ptp_kernel);
	return 0;
}

void agent_end_session(struct agent *a)
{
	a->session = false;
	for (unsigned int i = 0; i < MAX_CAPTURES; i++)
		capture_close(&a->capture[i]);
	command_end_all(a);
	vns_loads_end_session(a->loads);
}

void agent_fini(struct agent *a)
{
	agent_end_session(a);
	vns_loads_free(a->loads);
	vns_inbuf_fini(&a->in);
	outq_clear(&a->out);
	free(a->pkts);
	free(a->filter);
	close(a->signal_fd);
}

static void reap_children(struct agent *a)
{
	struct rusage ru;
	char note[256];
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
		if (!vns_loads_reaped(a->loads, pid, status, &ru, note))
			command_reaped(a, pid, status); /* else an orphan that PID 1 inherited */
		else if (note[0])
			agent_note(a, note);
	}
}

static void on_signals(struct agent *a)
{
	struct signalfd_siginfo si;

	while (read(a->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			reap_children(a);
		else if (!a->is_init)
			a->quit = true;
	}
}

void agent_wait(struct agent *a, int ms)
{
	struct pollfd p = { .fd = a->signal_fd, .events = POLLIN };

	if (poll(&p, 1, ms) > 0)
		on_signals(a);
}

/* Before a session: skip to a HELLO. Return: false when the other end is no host. */
static bool skip_to_hello(struct agent *a)
{
	a->garbage += vns_inbuf_seek(&a->in, VNS_MSG_HELLO);
	if (a->virtio || a->garbage <= MAX_GARBAGE)
		return true;
	agent_error(a, 0, -EPROTO, "what came is not the agent protocol");
	return false;
}

/* Every whole frame in the buffer. */
static void handle_input(struct agent *a)
{
	struct vns_err err = { "" };
	struct vns_wire_frame f;
	int r;

	while (!a->quit) {
		if (!a->session && !skip_to_hello(a)) {
			a->lost = true;
			return;
		}
		r = vns_inbuf_next(&a->in, &f, &err);
		if (r > 0) {
			a->partial_since = 0;
			agent_handle(a, &f);
			continue;
		}
		if (r == 0)
			break;
		agent_error(a, 0, r, err.text);
		agent_end_session(a);
		a->lost |= !a->virtio;
		if (a->lost)
			return;
		vns_inbuf_skip_byte(&a->in);
	}
	if (a->in.start == a->in.end)
		a->partial_since = 0;
	else if (!a->partial_since)
		a->partial_since = vns_monotonic_ns();
}

static void give_up_partial(struct agent *a)
{
	if (!a->partial_since || vns_monotonic_ns() - a->partial_since < PARTIAL_NS)
		return;
	a->partial_since = 0;
	if (a->session)
		agent_error(a, 0, -EPROTO, "a message stayed incomplete");
	agent_end_session(a);
	vns_inbuf_skip_byte(&a->in);
	handle_input(a);
}

/* Return: false when a virtio port has no host. */
static bool read_transport(struct agent *a)
{
	size_t room;
	uint8_t *to = vns_inbuf_space(&a->in, &room);
	ssize_t n = read(a->rfd, to, room);

	a->read_ns = vns_now_ns();
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n > 0) {
		vns_inbuf_added(&a->in, (size_t)n);
		handle_input(a);
	} else if (!a->virtio) {
		a->lost = true;
	}
	return n > 0 || !a->virtio;
}

/* The host has gone from the virtio port: what it began ends. */
static void on_hangup(struct agent *a)
{
	if (a->session)
		agent_end_session(a);
	outq_clear(&a->out);
	vns_inbuf_clear(&a->in);
	a->partial_since = 0;
}

struct pollset {
	struct pollfd p[MAX_POLL];
	unsigned int n;
};

static unsigned int add_poll(struct pollset *s, int fd, short events)
{
	s->p[s->n] = (struct pollfd){ .fd = fd, .events = events };
	return s->n++;
}

static int wait_ms(const struct agent *a, bool hung_up)
{
	int ms = hung_up ? HUP_MS : 1000;

	for (unsigned int i = 0; i < MAX_CAPTURES; i++)
		if (a->capture[i].source && capture_wait_ms(&a->capture[i]) < ms)
			ms = capture_wait_ms(&a->capture[i]);
	return ms;
}

static void work_captures(struct agent *a, const struct pollset *s, const unsigned int *at,
			  int64_t polled_ns)
{
	for (unsigned int i = 0; i < MAX_CAPTURES; i++) {
		const struct pollfd *p = &s->p[at[i]];

		if (a->capture[i].source)
			capture_work(a, &a->capture[i], p->fd < 0 ? CAPTURE_LEFT_ALONE :
				     p->revents ? CAPTURE_READABLE : CAPTURE_EMPTY, polled_ns);
	}
}

static void work_commands(struct agent *a, const struct pollset *s,
			  const unsigned int (*at)[2])
{
	for (unsigned int i = 0; i < MAX_EXECS; i++)
		for (int k = 0; k < 2; k++)
			if (a->command[i].pid && a->command[i].out[k] >= 0 &&
			    s->p[at[i][k]].fd == a->command[i].out[k] && s->p[at[i][k]].revents)
				command_output(a, &a->command[i], k);
}

/* One round of the loop. Return: true while a virtio port has no host. */
static bool serve_round(struct agent *a, bool hung_up)
{
	unsigned int cap[MAX_CAPTURES], cmd[MAX_EXECS][2];
	struct pollset s = { .n = 0 };
	bool take = a->out.control.bytes < CONTROL_LIMIT_BYTES;
	short out = outq_empty(&a->out) ? 0 : POLLOUT;
	bool host = true;
	int64_t polled_ns;

	add_poll(&s, a->rfd, take ? POLLIN : 0);
	add_poll(&s, out ? a->wfd : -1, out);
	add_poll(&s, a->signal_fd, POLLIN);
	for (unsigned int i = 0; i < MAX_CAPTURES; i++)
		cap[i] = add_poll(&s, capture_wants_poll(a, &a->capture[i]) ?
				      vns_source_fd(a->capture[i].source) : -1, POLLIN);
	for (unsigned int i = 0; i < MAX_EXECS; i++)
		for (int k = 0; k < 2; k++)
			cmd[i][k] = add_poll(&s, a->out.bulk.bytes < BULK_LIMIT_BYTES ?
						 a->command[i].out[k] : -1, POLLIN);
	if (hung_up) /* its POLLHUP would not let us sleep */
		s.p[0].fd = s.p[1].fd = -1;
	polled_ns = vns_now_ns();
	if (poll(s.p, s.n, wait_ms(a, hung_up)) < 0)
		return hung_up;
	if (hung_up) {
		struct pollfd again = { .fd = a->rfd, .events = POLLIN };

		poll(&again, 1, 0);
		s.p[0].revents = again.revents;
	}
	if (s.p[0].revents & (POLLIN | (a->virtio ? 0 : POLLHUP)))
		host = read_transport(a);
	else if (s.p[0].revents & (POLLHUP | POLLERR | POLLNVAL) && a->virtio)
		host = false;
	else if (s.p[0].revents & (POLLERR | POLLNVAL))
		a->lost = true;
	if (!host)
		on_hangup(a);
	if (outq_flush(&a->out, a->wfd) < 0 && !a->virtio)
		a->lost = true;
	work_captures(a, &s, cap, polled_ns);
	work_commands(a, &s, (const unsigned int (*)[2])cmd);
	if (s.p[2].revents)
		on_signals(a);
	give_up_partial(a);
	return !host;
}

/* What is queued goes out, for LEAVE_NS at most. */
static void flush_and_leave(struct agent *a)
{
	int64_t end = vns_monotonic_ns() + LEAVE_NS;

	while (!outq_empty(&a->out) && vns_monotonic_ns() < end) {
		struct pollfd p = { .fd = a->wfd, .events = POLLOUT };

		if (outq_flush(&a->out, a->wfd) < 0)
			break;
		poll(&p, 1, 20);
	}
}

void agent_serve(struct agent *a)
{
	bool hung_up = false;

	fcntl(a->rfd, F_SETFL, fcntl(a->rfd, F_GETFL) | O_NONBLOCK);
	fcntl(a->wfd, F_SETFL, fcntl(a->wfd, F_GETFL) | O_NONBLOCK);
	a->lost = false;
	while (!a->quit && !a->lost)
		hung_up = serve_round(a, hung_up);
	agent_end_session(a);
	flush_and_leave(a);
	outq_clear(&a->out);
	vns_inbuf_clear(&a->in);
}
