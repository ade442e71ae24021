// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The host's end of the agent protocol: connection, hello, request and reply, streamed data.
 * Descriptors in; replies and sink calls out. The calls themselves are in calls.c.
 *
 * Every wait has a deadline. What the agent sends is not trusted: a frame or body that breaks
 * a rule ends the connection with one sentence, and what was delivered before stays valid.
 * Both directions are served while a request is written, so that an agent that is busy
 * streaming and a host that is busy asking cannot wait for each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wire/client.h"

/* HELLO is repeated while there is no answer: a port just reopened may have eaten it. */
#define HELLO_EVERY_MS 250
/* Stale bytes of an earlier session, login banners: more than that is no agent. */
#define MAX_GARBAGE_BYTES (8u << 20)
/* A capturing agent gives a sign of life at least every 250 ms; that long without is dead. */
#define SILENCE_NS (15 * VNS_NSEC_PER_SEC)

#define STOP_LOOK_MS 50
#define GONE_LOOKS   200 /* of 5 ms: what closed its end is about to exit, if it gets a processor */

static int64_t deadline_in(int timeout_ms)
{
	return vns_monotonic_ns() + timeout_ms * VNS_NSEC_PER_MSEC;
}

static int ms_left(int64_t deadline_ns)
{
	int64_t left = deadline_ns - vns_monotonic_ns();

	if (left <= 0)
		return 0;
	left = (left + VNS_NSEC_PER_MSEC - 1) / VNS_NSEC_PER_MSEC;
	return left > 3600000 ? 3600000 : (int)left;
}

/* The deadline, or an earlier one once the user wants to end and the agent says nothing. */
static int64_t limit_of(struct vns_agent *a, int64_t deadline_ns)
{
	int64_t last, limit;

	if (!a->stop || !*a->stop)
		return deadline_ns;
	if (!a->stopped_ns)
		a->stopped_ns = vns_monotonic_ns();
	last = a->heard_ns > a->stopped_ns ? a->heard_ns : a->stopped_ns;
	limit = last + VNS_AGENT_STOP_MS * VNS_NSEC_PER_MSEC;
	return limit < deadline_ns ? limit : deadline_ns;
}

/* How long to wait at once: an interrupt is looked at in between. */
static int wait_ms(struct vns_agent *a, int64_t deadline_ns)
{
	int left = ms_left(limit_of(a, deadline_ns));

	return a->stop && left > STOP_LOOK_MS ? STOP_LOOK_MS : left;
}

int vns_client_broken(struct vns_agent *a, int code, struct vns_err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why.text, sizeof(a->why.text), fmt, ap);
	va_end(ap);
	a->broken = code;
	return vns_err_set(err, code, "agent %s: %.400s", a->name, a->why.text);
}

/* Who asks later is told why the connection was lost, too: who asked first may have had no use for it. */
static int check_usable(const struct vns_agent *a, struct vns_err *err)
{
	return a->broken ? vns_err_set(err, a->broken, "agent %s: %.400s", a->name, a->why.text) : 0;
}

/* write() without SIGPIPE, for any kind of descriptor and without touching handlers. */
static ssize_t write_quiet(int fd, const void *data, size_t n)
{
	const struct timespec none = { 0 };
	sigset_t pipe_set, old, pending;
	bool was_pending;
	ssize_t r;
	int e;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	r = write(fd, data, n);
	e = errno;
	if (r < 0 && e == EPIPE && !was_pending)
		sigtimedwait(&pipe_set, NULL, &none);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = e;
	return r;
}

/* Why the far end is gone: an exit status and the transport's own words say more than "closed". */
static int gone(struct vns_agent *a, struct vns_err *err)
{
	char how[64] = "closed the connection", words[256] = "";
	int status, code = -1;

	for (int i = 0; a->child > 0 && i < GONE_LOOKS; i++) {
		if (waitpid(a->child, &status, WNOHANG) == a->child) {
			a->child = 0;
			if (WIFSIGNALED(status))
				snprintf(how, sizeof(how), "ended by signal %d", WTERMSIG(status));
			else
				snprintf(how, sizeof(how), "ended with exit code %d",
					 code = WEXITSTATUS(status));
			break;
		}
		vns_sleep_ns(5 * VNS_NSEC_PER_MSEC);
	}
	if (a->explain)
		a->explain(a->explain_ctx, code, words, sizeof(words));
	return vns_client_broken(a, -EPIPE, err, "%s%s%s", how, words[0] ? ": " : "", words);
}

/* Read what is there. Return: bytes > 0, 0 nothing yet, -errno when the connection is lost. */
static int read_some(struct vns_agent *a, struct vns_err *err)
{
	size_t room;
	uint8_t *to = vns_inbuf_space(&a->in, &room);
	ssize_t n = read(a->rfd, to, room);

	a->read_ns = vns_now_ns();
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0 && errno != ECONNRESET && errno != EIO)
		return vns_client_broken(a, -errno, err, "cannot be read: %s", strerror(errno));
	if (n <= 0)
		return gone(a, err);
	vns_inbuf_added(&a->in, (size_t)n);
	a->rx_bytes += (uint64_t)n;
	a->heard_ns = vns_monotonic_ns();
	return (int)n;
}

static int deliver_batch(struct vns_agent *a, const struct vns_wire_frame *f, struct vns_err *err)
{
	struct vns_wire_batch b;
	struct vns_cursor c;

	vns_cursor_init_const(&c, f->body, f->h.body_len);
	if (!vns_get_batch(&c, &b, a->pkts))
		return vns_client_broken(a, -EPROTO, err, "sent a packet batch that breaks the protocol");
	if (a->sink.packets)
		a->sink.packets(a->sink.ctx, b.id, a->pkts, b.n, b.dropped, b.now_ns);
	return 0;
}

static int deliver_note(struct vns_agent *a, const struct vns_wire_frame *f, struct vns_err *err)
{
	struct vns_cursor c;
	char text[512];

	vns_cursor_init_const(&c, f->body, f->h.body_len);
	vns_get_str(&c, text, sizeof(text));
	if (c.bad)
		return vns_client_broken(a, -EPROTO, err, "sent a note that breaks the protocol");
	if (a->sink.note)
		a->sink.note(a->sink.ctx, text);
	return 0;
}

/* Streamed data to the sink. Return: 1 it was streamed, 0 it is a reply, -errno. */
static int deliver(struct vns_agent *a, const struct vns_wire_frame *f, struct vns_err *err)
{
	int r;

	switch (f->h.type) {
	case VNS_MSG_CAPTURE_BATCH:
		r = deliver_batch(a, f, err);
		break;
	case VNS_MSG_NOTE:
		r = deliver_note(a, f, err);
		break;
	case VNS_MSG_HELLO_REPLY: /* answer to a HELLO that was repeated */
		return 1;
	default:
		return 0;
	}
	/* a sink may take long where we get little time: whoever spoke before is not silent meanwhile */
	a->heard_ns = vns_monotonic_ns();
	return r < 0 ? r : 1;
}

/* Nothing was there to be read just now. Only a capturing agent owes a word that nobody asked for. */
static void note_silence(struct vns_agent *a)
{
	int64_t silence = vns_agent_silence_ns(a);

	if (!a->captures || silence <= a->silent_ns)
		return;
	a->silent_ns = silence;
	a->silent_until_ns = vns_now_ns();
}

int vns_client_receive(struct vns_agent *a, struct vns_wire_frame *f, int64_t deadline_ns,
		       bool streamed, struct vns_err *err)
{
	struct vns_err why = { "" };
	struct pollfd p = { .fd = a->rfd, .events = POLLIN };
	int r;

	for (;;) {
		r = vns_inbuf_next(&a->in, f, &why);
		if (r < 0)
			return vns_client_broken(a, r, err, "%.300s", why.text);
		if (r > 0) {
			r = deliver(a, f, err);
			if (r < 0)
				return r;
			if (r == 0)
				return 1;
			if (streamed)
				return 2;
			if (vns_monotonic_ns() >= deadline_ns)
				return -ETIMEDOUT; /* streams go on for ever */
			continue;
		}
		r = poll(&p, 1, wait_ms(a, deadline_ns));
		if (r < 0 && errno != EINTR)
			return vns_err_set(err, -errno, "agent %s: %s", a->name, strerror(errno));
		if (r == 0)
			note_silence(a);
		if (r > 0 && read_some(a, err) < 0)
			return a->broken;
		if (r <= 0 && vns_monotonic_ns() >= limit_of(a, deadline_ns))
			return -ETIMEDOUT;
	}
}

/*
 * Take in what arrives while a request cannot be written. Whole frames of streamed data are
 * handed over; a late reply of an earlier request is dropped, none can be for this one yet.
 */
static int read_meanwhile(struct vns_agent *a, struct vns_err *err)
{
	struct vns_err why = { "" };
	struct vns_wire_frame f;
	int r = read_some(a, err);

	while (r >= 0 && (r = vns_inbuf_next(&a->in, &f, &why)) > 0)
		r = deliver(a, &f, err);
	if (r < 0 && !a->broken)
		return vns_client_broken(a, r, err, "%.300s", why.text);
	return r < 0 ? r : 0;
}

/* @hello: nothing that comes in is a frame yet, so it stays in the buffer. */
static int send_bytes(struct vns_agent *a, const uint8_t *data, size_t len, int64_t deadline_ns,
		      bool hello, struct vns_err *err)
{
	struct pollfd p[2] = { { .fd = a->wfd, .events = POLLOUT },
			       { .fd = hello ? -1 : a->rfd, .events = POLLIN } };
	ssize_t n;

	while (len) {
		a->write_ns = vns_now_ns();
		n = write_quiet(a->wfd, data, len);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			a->tx_bytes += (uint64_t)n;
			continue;
		}
		if (n < 0 && errno == EPIPE)
			return gone(a, err);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return vns_client_broken(a, -errno, err, "cannot be written to: %s",
						 strerror(errno));
		if (vns_monotonic_ns() >= limit_of(a, deadline_ns))
			return vns_client_broken(a, -ETIMEDOUT, err, "does not take requests");
		if (poll(p, 2, wait_ms(a, deadline_ns)) > 0 && p[1].revents &&
		    read_meanwhile(a, err) < 0)
			return a->broken;
	}
	return 0;
}

int vns_client_send(struct vns_agent *a, uint16_t type, uint32_t request, const void *body,
		    size_t len, int64_t deadline_ns, struct vns_err *err)
{
	struct vns_frame_header h = { (uint32_t)len, type, 0, request };
	uint8_t small[512], *buf = small;
	int r;

	if (VNS_WIRE_HEADER + len > sizeof(small)) {
		buf = malloc(VNS_WIRE_HEADER + len);
		if (!buf)
			return vns_err_set(err, -ENOMEM, "agent %s: out of memory", a->name);
	}
	vns_frame_put_header(buf, &h);
	if (len)
		memcpy(buf + VNS_WIRE_HEADER, body, len);
	r = send_bytes(a, buf, VNS_WIRE_HEADER + len, deadline_ns, type == VNS_MSG_HELLO, err);
	if (buf != small)
		free(buf);
	return r;
}

/* The agent's sentence. To no request: with it the agent ends the session. */
static int error_reply(struct vns_agent *a, const struct vns_wire_frame *f, struct vns_err *err)
{
	struct vns_err said;
	struct vns_cursor c;
	int code;

	vns_cursor_init_const(&c, f->body, f->h.body_len);
	if (!vns_get_error(&c, &code, &said))
		return vns_client_broken(a, -EPROTO, err, "sent an error that breaks the protocol");
	if (f->h.request == 0)
		return vns_client_broken(a, code, err, "%.400s", said.text);
	return vns_err_set(err, code, "agent %s: %.400s", a->name, said.text);
}

int vns_client_await(struct vns_agent *a, uint32_t id, uint16_t want,
		     struct vns_wire_frame *reply, int64_t deadline_ns, struct vns_err *err)
{
	int64_t began_ns = vns_monotonic_ns();
	int r;

	for (;;) {
		r = vns_client_receive(a, reply, deadline_ns, false, err);
		if (r == -ETIMEDOUT && vns_monotonic_ns() < deadline_ns)
			return vns_err_set(err, r, "agent %s: says nothing, and is not waited for after an "
					   "interrupt; its last packets are missing", a->name);
		if (r == -ETIMEDOUT)
			return vns_err_set(err, r, "agent %s: no answer within %.1f s", a->name,
					   (double)(vns_monotonic_ns() - began_ns) / 1e9);
		if (r < 0)
			return r;
		if (reply->h.type == VNS_MSG_ERROR &&
		    (reply->h.request == id || reply->h.request == 0))
			return error_reply(a, reply, err);
		if (reply->h.request != id)
			continue; /* late reply of a request that was given up */
		if (reply->h.type == want)
			return 0;
		return vns_client_broken(a, -EPROTO, err, "answered with %s instead of %s",
					 vns_msg_rule(reply->h.type)->name,
					 vns_msg_rule(want)->name);
	}
}

int vns_client_request(struct vns_agent *a, uint16_t type, const void *body, size_t len,
		       uint16_t want, struct vns_wire_frame *reply, int timeout_ms,
		       uint32_t *id_out, struct vns_err *err)
{
	int64_t deadline = deadline_in(timeout_ms);
	uint32_t id = ++a->next_request;
	int r = check_usable(a, err);

	if (r)
		return r;
	if (id == 0) /* 0 stands for "no request" */
		id = ++a->next_request;
	if (id_out)
		*id_out = id;
	r = vns_client_send(a, type, id, body, len, deadline, err);
	return r ? r : vns_client_await(a, id, want, reply, deadline, err);
}

/* What was skipped before the hello, if it reads as text: a shell's or ssh's complaint. */
struct garbage {
	char text[160];
	size_t n, total;
};

static void keep_garbage(struct garbage *g, const uint8_t *p, size_t n)
{
	g->total += n;
	for (size_t i = 0; i < n && g->n < sizeof(g->text) - 1; i++) {
		if (p[i] >= 0x20 && p[i] < 0x7f)
			g->text[g->n++] = (char)p[i];
		else if (g->n && g->text[g->n - 1] != ' ')
			g->text[g->n++] = ' ';
	}
	g->text[g->n] = '\0';
}

/* Look for our HELLO_REPLY in what has come. Return: 1 found, 0 not yet, -errno. */
static int find_hello(struct vns_agent *a, struct garbage *g, struct vns_err *err)
{
	struct vns_wire_frame f;
	struct vns_cursor c;
	const uint8_t *from;
	uint64_t nonce;
	int r;

	for (;;) {
		from = a->in.data + a->in.start;
		keep_garbage(g, from, vns_inbuf_seek(&a->in, VNS_MSG_HELLO_REPLY));
		if (g->total > MAX_GARBAGE_BYTES)
			return vns_client_broken(a, -EPROTO, err, "is no agent: %zu bytes came "
						 "and no hello among them", g->total);
		r = vns_inbuf_next(&a->in, &f, NULL);
		if (r <= 0)
			return 0; /* fewer bytes than a header, or than the body: more must come */
		vns_cursor_init_const(&c, f.body, f.h.body_len);
		if (!vns_get_hello_reply(&c, &nonce, &a->info) || nonce != a->nonce)
			continue; /* of an earlier session */
		if (a->info.protocol != VNS_AGENT_PROTOCOL)
			return vns_client_broken(a, -EPROTO, err,
				"speaks protocol %u (version %s), this program speaks %u; "
				"use an agent of this version", a->info.protocol,
				a->info.version, VNS_AGENT_PROTOCOL);
		return 1;
	}
}

static int hello_failed(struct vns_agent *a, int code, struct garbage *g, struct vns_err *err)
{
	struct vns_err why = { "" };
	uint8_t last[256];
	ssize_t n;

	if (code != -ETIMEDOUT && err)
		why = *err;
	/* what waits in the buffer, and what was written before the end */
	keep_garbage(g, a->in.data + a->in.start, a->in.end - a->in.start);
	n = read(a->rfd, last, sizeof(last));
	keep_garbage(g, last, n > 0 ? (size_t)n : 0);
	if (g->n)
		return vns_err_set(err, code, "%.200s%s; it said \"%.150s\"",
				   *why.text ? why.text : a->name,
				   *why.text ? "" : ": no agent answered in time", g->text);
	if (code == -ETIMEDOUT)
		return vns_err_set(err, code, "agent %s: does not answer", a->name);
	return code;
}

static int say_hello(struct vns_agent *a, int64_t deadline, struct vns_err *err)
{
	struct vns_wire_hello h = { .nonce = a->nonce, .protocol = VNS_AGENT_PROTOCOL,
				    .version = VNS_VERSION };
	struct pollfd p = { .fd = a->rfd, .events = POLLIN };
	struct garbage g = { .n = 0 };
	int64_t again = 0, now;
	struct vns_cursor c;
	uint8_t body[64];
	int r;

	vns_cursor_init(&c, body, sizeof(body));
	vns_put_hello(&c, &h);
	for (;;) {
		now = vns_monotonic_ns();
		if (now >= deadline)
			return hello_failed(a, -ETIMEDOUT, &g, err);
		if (now >= again) {
			r = vns_client_send(a, VNS_MSG_HELLO, 0, body, c.pos, deadline, err);
			if (r < 0)
				return hello_failed(a, r, &g, err);
			again = now + HELLO_EVERY_MS * VNS_NSEC_PER_MSEC;
		}
		if (poll(&p, 1, ms_left(again < deadline ? again : deadline)) <= 0)
			continue;
		r = read_some(a, err);
		if (r >= 0)
			r = find_hello(a, &g, err);
		if (r < 0)
			return hello_failed(a, r, &g, err);
		if (r > 0)
			return 0;
	}
}

static void set_nonblock(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	if (fl >= 0)
		fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
}

int vns_agent_attach(struct vns_agent **out, const char *name, int rfd, int wfd, pid_t child,
		     int timeout_ms, struct vns_err *err)
{
	struct vns_agent *a = calloc(1, sizeof(*a));
	int r = -ENOMEM;

	*out = NULL;
	if (!a) {
		close(rfd);
		if (wfd != rfd)
			close(wfd);
		return vns_err_set(err, -ENOMEM, "agent %s: out of memory", name);
	}
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->rfd = rfd;
	a->wfd = wfd;
	a->child = child;
	a->timeout_ms = VNS_CLIENT_TIMEOUT_MS;
	a->pkts = aligned_alloc(_Alignof(struct vns_packet),
				VNS_WIRE_BATCH_PACKETS * sizeof(*a->pkts));
	set_nonblock(rfd);
	set_nonblock(wfd);
	if (getrandom(&a->nonce, sizeof(a->nonce), 0) != sizeof(a->nonce))
		a->nonce = (uint64_t)vns_now_ns() ^ (uint64_t)getpid() << 48;
	if (vns_inbuf_init(&a->in, VNS_FROM_AGENT) == 0 && a->pkts)
		r = say_hello(a, deadline_in(timeout_ms), err);
	else
		vns_err_set(err, r, "agent %s: out of memory", name);
	if (r < 0) {
		a->broken = r;
		vns_agent_close(a);
		return r;
	}
	*out = a;
	return 0;
}

/* Ask, then make the child end. It is ours: spawned for this connection. */
static void reap(pid_t child)
{
	int status;

	for (int i = 0; i < 100; i++) {
		if (waitpid(child, &status, WNOHANG) != 0)
			return;
		if (i == 50)
			kill(child, SIGTERM);
		vns_sleep_ns(20 * VNS_NSEC_PER_MSEC);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

void vns_agent_close(struct vns_agent *a)
{
	if (!a)
		return;
	if (!a->broken)
		vns_client_send(a, VNS_MSG_BYE, 0, NULL, 0, deadline_in(200), NULL);
	close(a->rfd);
	if (a->wfd != a->rfd)
		close(a->wfd);
	if (a->child > 0)
		reap(a->child);
	vns_inbuf_fini(&a->in);
	free(a->pkts);
	free(a);
}

int vns_agent_poll(struct vns_agent *a, int timeout_ms, struct vns_err *err)
{
	int64_t deadline = deadline_in(timeout_ms);
	struct vns_wire_frame f;
	int n = 0, r = check_usable(a, err);

	if (r)
		return r;
	/* after the first message only what is here already */
	while ((r = vns_client_receive(a, &f, n ? 0 : deadline, true, err)) > 0) {
		n++;
		if (r == 1 && f.h.type == VNS_MSG_ERROR && f.h.request == 0)
			return error_reply(a, &f, err);
		if (n >= 64)
			break;
	}
	if (r < 0 && r != -ETIMEDOUT)
		return r;
	if (!n && a->captures && vns_agent_silence_ns(a) > SILENCE_NS)
		return vns_client_broken(a, -ETIMEDOUT, err, "silent for %d s while capturing",
					 (int)(SILENCE_NS / VNS_NSEC_PER_SEC));
	return n;
}

void vns_agent_set_timeout(struct vns_agent *a, int timeout_ms)
{
	a->timeout_ms = timeout_ms > 0 ? timeout_ms : VNS_CLIENT_TIMEOUT_MS;
}

void vns_agent_set_stop(struct vns_agent *a, const volatile int *stop)
{
	a->stop = stop;
	a->stopped_ns = 0;
}

int64_t vns_agent_silence_ns(const struct vns_agent *a)
{
	struct pollfd p = { .fd = a->rfd, .events = POLLIN };

	if (!a->heard_ns || (!a->broken && poll(&p, 1, 0) > 0 && p.revents & POLLIN))
		return 0; /* what waits to be read was said, however long we have not come to read it */
	return vns_monotonic_ns() - a->heard_ns;
}

int64_t vns_agent_was_silent_ns(struct vns_agent *a, int64_t *until_ns)
{
	int64_t silence = a->silent_ns;

	*until_ns = a->silent_until_ns;
	a->silent_ns = 0;
	return silence;
}

const struct vns_agent_info *vns_agent_info(const struct vns_agent *a)
{
	return &a->info;
}

const char *vns_agent_name(const struct vns_agent *a)
{
	return a->name;
}

void vns_agent_set_sink(struct vns_agent *a, const struct vns_agent_sink *sink)
{
	a->sink = sink ? *sink : (struct vns_agent_sink){ 0 };
}

void vns_agent_set_explain(struct vns_agent *a,
			   void (*explain)(void *ctx, int exit_code, char *buf, size_t size),
			   void *ctx)
{
	a->explain = explain;
	a->explain_ctx = ctx;
}

int vns_agent_fd(const struct vns_agent *a)
{
	return a->rfd;
}

void vns_agent_traffic(const struct vns_agent *a, uint64_t *rx, uint64_t *tx)
{
	*rx = a->rx_bytes;
	*tx = a->tx_bytes;
}
