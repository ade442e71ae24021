// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Servers: echo over TCP and UDP (RFC 862), and a sink that only counts, each on one port,
 * both address families. One poll loop; a peer that does not read its echo is not read from
 * either, and delays no other.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load/load.h"

#define CLIENTS 64u
#define BUF (64u << 10)
/* Datagrams or connections of one socket served in a row: nobody starves. */
#define IN_A_ROW 64
/* Bytes of datagrams that may wait while this has no processor; the kernel gives its own limit where it is less. */
#define WAITING (2 << 20)

struct client {
	int fd;
	uint8_t *out;      /* echo not yet taken by the peer */
	size_t at, len;
};

struct server {
	bool echo;
	int udp, tcp;
	struct client client[CLIENTS];
	unsigned int n_client;
	uint8_t *buf;
	struct vns_probe_live *live;
};

/*
 * Bound socket for IPv6 and IPv4, or IPv4 alone where there is no IPv6. Return: fd or -errno.
 * SO_REUSEADDR not for UDP: there it would share the port with another server, and take its datagrams.
 */
static int bound_socket(int type, uint16_t port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, zero = 0, waiting = WAITING, r, e;
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool v6 = fd >= 0;

	if (!v6)
		fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	else if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &waiting, sizeof(waiting)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &waiting, sizeof(waiting));
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	r = v6 ? bind(fd, (struct sockaddr *)&a6, sizeof(a6)) :
		 bind(fd, (struct sockaddr *)&a4, sizeof(a4));
	if (r == 0 && (type != SOCK_STREAM || listen(fd, CLIENTS) == 0))
		return fd;
	e = errno;
	close(fd);
	return -e;
}

static void serve_udp(struct server *s)
{
	struct sockaddr_storage from;
	socklen_t len;
	ssize_t n;

	for (int i = 0; i < IN_A_ROW; i++) {
		len = sizeof(from);
		n = recvfrom(s->udp, s->buf, BUF, 0, (struct sockaddr *)&from, &len);
		if (n < 0)
			return;
		s->live->ops++;
		s->live->bytes_rx += (uint64_t)n;
		if (!s->echo)
			continue;
		if (sendto(s->udp, s->buf, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&from,
			   len) < 0)
			s->live->errors++;
		else
			s->live->bytes_tx += (uint64_t)n;
	}
}

static void serve_accept(struct server *s)
{
	int one = 1, fd;

	while (s->n_client < CLIENTS) {
		fd = accept4(s->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		s->client[s->n_client++] = (struct client){ .fd = fd };
	}
}

static void drop_client(struct server *s, unsigned int i)
{
	close(s->client[i].fd);
	free(s->client[i].out);
	s->client[i] = s->client[--s->n_client];
}

/* Send @data, keep what the peer does not take. Return: false when the peer is gone. */
static bool echo_back(struct server *s, struct client *c, const uint8_t *data, size_t n)
{
	ssize_t w = send(c->fd, data, n, MSG_NOSIGNAL);

	if (w < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	if (w < 0)
		w = 0;
	s->live->bytes_tx += (uint64_t)w;
	if ((size_t)w == n)
		return true;
	if (!c->out && !(c->out = malloc(BUF)))
		return false;
	memcpy(c->out, data + w, n - (size_t)w);
	c->at = 0;
	c->len = n - (size_t)w;
	return true;
}

/* Return: false when the peer is gone. */
static bool serve_client(struct server *s, struct client *c)
{
	ssize_t n;

	if (c->at < c->len) {
		n = send(c->fd, c->out + c->at, c->len - c->at, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->at += (size_t)n;
		s->live->bytes_tx += (uint64_t)n;
		return true;
	}
	n = recv(c->fd, s->buf, BUF, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	s->live->ops++;
	s->live->bytes_rx += (uint64_t)n;
	return !s->echo || echo_back(s, c, s->buf, (size_t)n);
}

static void serve_once(struct server *s)
{
	struct pollfd p[2 + CLIENTS];
	unsigned int n = s->n_client;

	p[0] = (struct pollfd){ .fd = s->udp, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = n < CLIENTS ? s->tcp : -1, .events = POLLIN };
	for (unsigned int i = 0; i < n; i++)
		p[2 + i] = (struct pollfd){ .fd = s->client[i].fd,
			.events = s->client[i].at < s->client[i].len ? POLLOUT : POLLIN };
	if (poll(p, 2 + n, 500) <= 0)
		return;
	if (p[0].revents)
		serve_udp(s);
	/* downwards: dropping moves the last into the gap, and that one was served */
	for (unsigned int i = n; i-- > 0;)
		if (p[2 + i].revents && !serve_client(s, &s->client[i]))
			drop_client(s, i);
	if (p[1].revents)
		serve_accept(s);
}

static int run_server(const struct vns_probe_run *run, bool echo, struct vns_err *err)
{
	struct server *s = calloc(1, sizeof(*s));
	uint16_t port = run->spec->port;
	int r = 0;

	if (!s)
		return vns_err_set(err, -ENOMEM, "out of memory");
	s->echo = echo;
	s->live = run->live;
	s->udp = bound_socket(SOCK_DGRAM, port);
	s->tcp = s->udp < 0 ? s->udp : bound_socket(SOCK_STREAM, port);
	s->buf = malloc(BUF);
	if (s->udp < 0 || s->tcp < 0)
		r = vns_err_set(err, s->tcp, "port %u: %s", port, strerror(-s->tcp));
	else if (!s->buf)
		r = vns_err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && !vns_probe_over(run))
		serve_once(s);
	while (s->n_client)
		drop_client(s, 0);
	if (s->udp >= 0)
		close(s->udp);
	if (s->tcp >= 0)
		close(s->tcp);
	free(s->buf);
	free(s);
	return r;
}

int vns_load_echo_server(const struct vns_probe_run *run, struct vns_err *err)
{
	return run_server(run, true, err);
}

int vns_load_sink(const struct vns_probe_run *run, struct vns_err *err)
{
	return run_server(run, false, err);
}
