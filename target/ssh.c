// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Target "ssh:[USER@]HOST[:PORT]": a machine that the user's own ssh reaches.
 *
 * in: the place, the agent's binary; out: a target with a running agent.
 *
 * One connection does everything: the user's `ssh` (their configuration, keys, agent and
 * jump hosts hold) runs `sh`, which receives ssh_bootstrap.c's script, then the agent for
 * that machine, then becomes the agent. Root logins run it directly, others through
 * `sudo -n` where that works, else without privilege: the agent then says that it cannot
 * capture. Prompts are ssh's own and go to the terminal; without one there are none.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/internal.h"
#include "target/ssh_bootstrap.h"

#define CONNECT_S        "15"
#define PROMPT_TIMEOUT_S 120 /* a human types a password or accepts a host key */
#define SILENT_TIMEOUT_S 30  /* nobody is asked: connect time-out plus a slow login */
#define UPLOAD_TIMEOUT_S 120 /* 2 MB over 20 kbyte/s */
#define HELLO_TIMEOUT_MS 15000
#define MAX_NOISE_BYTES  65536 /* what login scripts may print before our first line */

struct place {
	char login[256]; /* USER@HOST or HOST */
	char port[8];    /* "" when not given */
};

/* What the bootstrap told. */
struct session {
	const char *where;
	struct vns_child child;
	int64_t deadline_ns;
	char arch[32];
	char dir[128];
	char conn[256];
	char error[256];
	bool root, sudo;
};

static int bad_place(const char *where, struct vns_err *err)
{
	return vns_err_set(err, -EINVAL, "ssh:%s is not [USER@]HOST[:PORT]", where);
}

/* Splits "[USER@]HOST[:PORT]". A word that ssh would read as an option is refused. */
static int parse_place(const char *where, struct place *p, struct vns_err *err)
{
	const char *at = strrchr(where, '@'), *host = at ? at + 1 : where, *port = NULL;
	size_t len = strlen(host), user_len = at ? (size_t)(at - where) + 1 : 0;
	unsigned long n;
	char *end;

	p->port[0] = '\0';
	if (*host == '[') {
		const char *close = strchr(++host, ']');

		if (!close || (close[1] != '\0' && close[1] != ':'))
			return bad_place(where, err);
		len = (size_t)(close - host);
		port = close[1] ? close + 2 : NULL;
	} else if (strchr(host, ':') && strchr(host, ':') == strrchr(host, ':')) {
		port = strchr(host, ':') + 1;
		len = (size_t)(port - host) - 1;
	}
	if (len == 0 || *host == '-' || *where == '-' || user_len == 1 ||
	    strpbrk(where, " \t\r\n") || user_len + len >= sizeof(p->login))
		return bad_place(where, err);
	memcpy(p->login, where, user_len);
	memcpy(p->login + user_len, host, len);
	p->login[user_len + len] = '\0';
	if (port) {
		n = strtoul(port, &end, 10);
		if (*port < '0' || *port > '9' || *end || n == 0 || n > 65535)
			return bad_place(where, err);
		snprintf(p->port, sizeof(p->port), "%lu", n);
	}
	return 0;
}

static bool have_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int spawn_ssh(struct session *s, const struct place *p, struct vns_err *err)
{
	bool terminal = have_terminal();
	char *argv[40];
	int n = 0;

	argv[n++] = "ssh";
	argv[n++] = "-T";
	argv[n++] = "-oConnectTimeout=" CONNECT_S;
	argv[n++] = "-oServerAliveInterval=5";
	argv[n++] = "-oServerAliveCountMax=3";
	argv[n++] = "-oClearAllForwardings=yes";
	argv[n++] = "-oRemoteCommand=none";
	if (!terminal)
		argv[n++] = "-oBatchMode=yes";
	if (p->port[0]) {
		argv[n++] = "-p";
		argv[n++] = (char *)p->port;
	}
	argv[n++] = "--";
	argv[n++] = (char *)p->login;
	argv[n++] = "exec sh";
	argv[n] = NULL;
	s->deadline_ns = vns_monotonic_ns() +
			 (terminal ? PROMPT_TIMEOUT_S : SILENT_TIMEOUT_S) * VNS_NSEC_PER_SEC;
	return vns_child_spawn(&s->child, argv, -1, err);
}

/* Waits for @events on @fd until the deadline. Return: 0, -ETIMEDOUT, -errno. */
static int wait_for(const struct session *s, int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = s->deadline_ns - vns_monotonic_ns();
		int n;

		if (left <= 0)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)(left / VNS_NSEC_PER_MSEC) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Byte by byte: not one byte of what follows the line may be taken. Overlong lines are cut. */
static int read_line(const struct session *s, char *buf, size_t size, size_t *budget)
{
	size_t n = 0;

	for (;;) {
		char c;
		ssize_t got;
		int ret = wait_for(s, s->child.rfd, POLLIN);

		if (ret)
			return ret;
		got = read(s->child.rfd, &c, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EPIPE;
		if (--*budget == 0)
			return -EPROTO;
		if (c == '\n')
			break;
		if (n < size - 1)
			buf[n++] = c;
	}
	buf[n] = '\0';
	return 0;
}

static void take_value(const char *line, const char *key, char *to, size_t size)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n) == 0 && line[n] == ' ')
		snprintf(to, size, "%s", line + n + 1);
}

/* Reads the script's lines until @until. Return: 0, -EREMOTEIO with s->error, or -errno. */
static int listen_until(struct session *s, const char *until)
{
	static const size_t mark = sizeof(SSH_BOOTSTRAP_MARK) - 1;
	size_t budget = MAX_NOISE_BYTES;
	char line[512], word[16];
	int ret;

	while ((ret = read_line(s, line, sizeof(line), &budget)) == 0) {
		const char *said = line + mark;

		if (strncmp(line, SSH_BOOTSTRAP_MARK, mark) != 0)
			continue;
		if (strcmp(said, until) == 0)
			return 0;
		take_value(said, "arch", s->arch, sizeof(s->arch));
		take_value(said, "dir", s->dir, sizeof(s->dir));
		take_value(said, "conn", s->conn, sizeof(s->conn));
		take_value(said, "error", s->error, sizeof(s->error));
		word[0] = '\0';
		take_value(said, "uid", word, sizeof(word));
		s->root = s->root || strcmp(word, "0") == 0;
		word[0] = '\0';
		take_value(said, "sudo", word, sizeof(word));
		s->sudo = s->sudo || strcmp(word, "yes") == 0;
		if (s->error[0])
			return -EREMOTEIO;
	}
	return ret;
}

static int send_all(const struct session *s, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		int ret = wait_for(s, s->child.wfd, POLLOUT);
		ssize_t put;

		if (ret)
			return ret;
		put = write(s->child.wfd, p, n);
		if (put < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (put > 0) {
			p += put;
			n -= (size_t)put;
		}
	}
	return 0;
}

/* The size as a line, then the file. */
static int send_file(const struct session *s, const char *path, struct vns_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	struct stat st;
	char buf[65536];
	int64_t left;

	if (fd < 0 || fstat(fd, &st)) {
		ret = vns_err_set(err, -errno, "agent %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	left = st.st_size;
	ret = send_all(s, buf, (size_t)snprintf(buf, sizeof(buf), "%lld\n", (long long)left));
	while (!ret && left > 0) {
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n <= 0)
			ret = vns_err_set(err, n < 0 ? -errno : -EIO, "agent %s: %s", path,
					  n < 0 ? strerror(errno) : "it shrank while it was sent");
		else
			ret = send_all(s, buf, (size_t)n);
		left -= n > 0 ? n : 0;
	}
	close(fd);
	return ret;
}

/* One sentence: what the far shell said, else what ssh said, else what we saw. */
static int ssh_failed(struct session *s, int ret, const char *doing, struct vns_err *err)
{
	char words[256];

	if (s->error[0])
		return vns_err_set(err, ret, "ssh %s: %s", s->where, s->error);
	/* ssh writes its reason before it ends, and closes our pipe a little before that. */
	if (ret == -EPIPE) {
		close(s->child.wfd);
		s->child.wfd = -1;
		vns_sleep_ns(50 * VNS_NSEC_PER_MSEC);
	}
	vns_child_last_words(&s->child, words, sizeof(words));
	if (words[0])
		return vns_err_set(err, ret, "ssh %s: %s", s->where,
				   strncmp(words, "ssh: ", 5) == 0 ? words + 5 : words);
	return vns_err_set(err, ret, "ssh %s: %s while %s", s->where,
			   ret == -EPIPE ? "the connection ended" :
			   ret == -EPROTO ? "its login prints without end" : strerror(-ret), doing);
}

/* From a started ssh to a shell that is about to become the agent. */
static int bootstrap(struct session *s, const char *agent_path, struct vns_err *err)
{
	char path[PATH_MAX];
	struct vns_err local = { "" };
	int ret;

	ret = send_all(s, ssh_bootstrap_script, strlen(ssh_bootstrap_script));
	if (!ret || ret == -EPIPE)
		ret = listen_until(s, "send");
	if (ret)
		return ssh_failed(s, ret, "it logged in", err);
	ret = vns_target_find_agent(path, sizeof(path), agent_path, s->arch, err);
	if (ret)
		return ret;
	s->deadline_ns = vns_monotonic_ns() + UPLOAD_TIMEOUT_S * VNS_NSEC_PER_SEC;
	fcntl(s->child.wfd, F_SETFL, O_NONBLOCK);
	ret = send_file(s, path, &local);
	fcntl(s->child.wfd, F_SETFL, 0);
	if (local.text[0])
		return vns_err_set(err, ret, "%s", local.text);
	if (!ret || ret == -EPIPE)
		ret = listen_until(s, "run");
	return ret ? ssh_failed(s, ret, "the agent was sent", err) : 0;
}

/* SSH_CONNECTION "CLIENT CPORT SERVER SPORT" to a filter that leaves our own bytes out. */
static void note_connection(struct vns_target *t, const char *conn, struct vns_addr *server)
{
	char client[64], there[64];
	unsigned int cport, sport;
	struct vns_addr parsed;

	if (sscanf(conn, "%63s %5u %63s %5u", client, &cport, there, &sport) != 4 ||
	    vns_addr_parse(client, &parsed) || vns_addr_parse(there, server))
		return;
	snprintf(t->exclude_filter, sizeof(t->exclude_filter),
		 "tcp and host %s and host %s and port %u and port %u", client, there, cport,
		 sport);
}

static int attach(struct vns_target *t, struct session *s, struct vns_err *err)
{
	struct vns_addr server = { { 0 } };
	struct vns_err why = { "" };
	int ret;

	note_connection(t, s->conn, &server);
	s->child.carrier = "ssh";
	ret = vns_target_attach(t, &s->child, HELLO_TIMEOUT_MS, &server, &why);
	if (ret)
		return vns_err_set(err, ret, "ssh %.120s: the agent did not start in %s: %.220s",
				   s->where, s->dir, why.text);
	vns_target_find_points(t);
	return 0;
}

int vns_target_open_ssh(struct vns_target *t, const char *where, const char *agent_path,
			struct vns_err *err)
{
	struct session s = { .where = where };
	struct place place;
	int ret = parse_place(where, &place, err);

	if (ret)
		return ret;
	ret = spawn_ssh(&s, &place, err);
	if (ret)
		return ret;
	snprintf(t->name, sizeof(t->name), "%.63s", place.login);
	ret = bootstrap(&s, agent_path, err);
	if (!ret)
		ret = attach(t, &s, err);
	vns_child_end(&s.child);
	return ret;
}
