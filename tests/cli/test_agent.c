// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The real vnetscope-agent at the far end of pipes, without privileges: hello, clock, loads,
 * commands, and every way a session can go wrong. argv[1]: the agent.
 * Truth: agent and test share one machine, so one clock: T1 <= T2 <= T3 <= T4 must hold exactly.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/cli/agent_peer.h"
#include "wire/shm.h"

#ifdef __SANITIZE_ADDRESS__ /* the agent carries its shadow, too */
#define RSS_MAX_KB 65536
#else
#define RSS_MAX_KB 8192
#endif

static void hello(void **state)
{
	struct peer *p = *state;
	const struct vns_agent_info *i = vns_agent_info(p->a);
	char boot[64] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	assert_non_null(f);
	assert_non_null(fgets(boot, sizeof(boot), f));
	fclose(f);
	boot[strcspn(boot, "\n")] = '\0';
	assert_string_equal(i->boot_id, boot);
	assert_string_equal(i->version, VNS_VERSION);
	assert_int_equal(i->protocol, VNS_AGENT_PROTOCOL);
	assert_true(i->caps & VNS_CAP_EXEC);
	assert_true(i->n_cpu >= 1);
	assert_true(i->caps & VNS_CAP_CAPTURE || i->capture_why[0]);
	assert_true(i->n_iface >= 1);
}

static void clock_is_ours(void **state)
{
	struct peer *p = *state;
	struct vns_exchange x;
	struct vns_err err;

	for (int i = 0; i < 500; i++) {
		assert_int_equal(vns_agent_exchange(p->a, &x, &err), 0);
		assert_true(x.t1_ns <= x.t2_ns);
		assert_true(x.t2_ns <= x.t3_ns);
		assert_true(x.t3_ns <= x.t4_ns);
	}
}

static void take_output(void *ctx, int fd, const void *data, size_t n)
{
	struct peer *p = ctx;
	size_t room = sizeof(p->out) - 1 - strlen(p->out);

	if (fd == 1)
		p->out_bytes += n;
	strncat(p->out, data, n < room ? n : room);
}

static void commands(void **state)
{
	struct peer *p = *state;
	char *both[] = { "sh", "-c", "echo hello; echo oops >&2; exit 7", NULL };
	char *many[] = { "sh", "-c", "head -c 3000000 /dev/zero", NULL };
	char *hang[] = { "sh", "-c", "sleep 100 & sleep 100", NULL };
	char *none[] = { "/no/such/program", NULL };
	struct vns_err err;
	int status = 0;

	assert_int_equal(vns_agent_exec(p->a, both, take_output, p, PATIENCE_MS, &status, &err), 0);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_non_null(strstr(p->out, "hello\n"));
	assert_non_null(strstr(p->out, "oops\n"));
	p->out_bytes = 0;
	assert_int_equal(vns_agent_exec(p->a, many, take_output, p, PATIENCE_MS, &status, &err), 0);
	assert_int_equal(p->out_bytes, 3000000);
	assert_int_equal(vns_agent_exec(p->a, none, NULL, NULL, PATIENCE_MS, &status, &err), 0);
	assert_int_equal(WEXITSTATUS(status), 127);
	assert_int_equal(vns_agent_exec(p->a, hang, NULL, NULL, 300, &status, &err), -ETIMEDOUT);
	clock_is_ours(state);
}

static void usage(void **state)
{
	struct peer *p = *state;
	struct vns_agent_usage u;
	struct vns_err err;
	int64_t before = vns_now_ns();

	assert_int_equal(vns_agent_usage(p->a, &u, &err), 0);
	assert_in_range(u.at_ns, before, vns_now_ns());
	assert_true(u.cpu_idle_ns <= u.cpu_total_ns);
	assert_true(u.cpu_total_ns > 0);
}

static void missing_devices_are_told(void **state)
{
	struct peer *p = *state;
	struct vns_exchange x[4];
	char page[4096];
	struct vns_err err = { "" };

	if (!(vns_agent_info(p->a)->caps & VNS_CAP_SHM))
		assert_int_equal(vns_agent_shm_exchange(p->a, page, x, 4, 0, &err), -EOPNOTSUPP);
	if (!(vns_agent_info(p->a)->caps & VNS_CAP_PTP_KVM))
		assert_int_equal(vns_agent_ptp_exchange(p->a, x, 4, &err), -EOPNOTSUPP);
	assert_int_equal(vns_agent_capture_start(p->a, 1, "no-such-if", NULL, 0, 0, &err) < 0, 1);
	assert_true(err.text[0]);
	assert_int_equal(vns_agent_capture_stop(p->a, 7, &err), -ENOENT);
	clock_is_ours(state);
}

static void killed_in_the_middle(void **state)
{
	struct peer *p = *state;
	struct vns_exchange x;
	struct vns_err err = { "" }, again = { "" };
	int r = 0;

	kill(p->pid, SIGKILL);
	for (int i = 0; i < 50 && r == 0; i++)
		r = vns_agent_exchange(p->a, &x, &err);
	assert_int_equal(r, -EPIPE);
	assert_non_null(strstr(err.text, "agent test: ended by signal 9"));
	/* who asks next is told the reason, too */
	assert_int_equal(vns_agent_exchange(p->a, &x, &again), -EPIPE);
	assert_string_equal(again.text, err.text);
	assert_int_equal(vns_agent_poll(p->a, 0, &again), -EPIPE);
	assert_string_equal(again.text, err.text);
}

static void stopped_agent_times_out(void **state)
{
	struct peer *p = *state;
	char *argv[] = { "sleep", "1", NULL };
	struct vns_err err = { "" };
	int64_t t = vns_monotonic_ns();
	int status;

	kill(p->pid, SIGSTOP);
	assert_true(vns_agent_poll(p->a, 100, &err) == 0);
	assert_true(vns_monotonic_ns() - t >= 90 * VNS_NSEC_PER_MSEC);
	kill(p->pid, SIGCONT);
	assert_int_equal(vns_agent_exec(p->a, argv, NULL, NULL, PATIENCE_MS, &status, &err), 0);
}

static void shutdown_ends_it(void **state)
{
	struct peer *p = *state;
	struct vns_err err;

	assert_int_equal(vns_agent_shutdown(p->a, &err), 0);
	assert_int_equal(vns_agent_shutdown(p->a, &err), -EPIPE);
	assert_string_equal(err.text, "agent test: was told to end");
	waitpid(p->pid, NULL, 0);
	assert_int_equal(kill(p->pid, 0), -1);
}

/* ---- far ends that are no agent of ours ---- */

static int attach_to(const char *script, int timeout_ms, struct vns_err *err)
{
	char *argv[] = { "/bin/sh", "-c", (char *)(uintptr_t)script, NULL };
	struct vns_agent *a;
	int rfd, wfd, r;
	pid_t pid = spawn(argv, &rfd, &wfd);

	err->text[0] = '\0';
	r = vns_agent_attach(&a, "x", rfd, wfd, pid, timeout_ms, err);
	assert_null(a);
	assert_true(err->text[0]);
	return r;
}

static void no_agents(void **state)
{
	struct vns_err err;
	int64_t t;

	(void)state;
	assert_int_equal(attach_to("echo vnetscope-agent: command not found; exit 127",
				   PATIENCE_MS, &err), -EPIPE);
	assert_non_null(strstr(err.text, "command not found"));
	assert_non_null(strstr(err.text, "exit code 127"));
	assert_int_equal(attach_to("head -c 20000000 /dev/zero; exec sleep 100", PATIENCE_MS, &err), -EPROTO);
	assert_int_equal(attach_to("kill -9 $$", PATIENCE_MS, &err), -EPIPE);
	t = vns_monotonic_ns();
	assert_int_equal(attach_to("exec sleep 20", 500, &err), -ETIMEDOUT);
	assert_true(vns_monotonic_ns() - t < 20 * VNS_NSEC_PER_SEC); /* not for as long as it lives */
	/* it never reads either: HELLOs pile up in the pipe at worst */
	assert_int_equal(attach_to("yes", 2000, &err) < 0, 1);
}

/* A hello reply of another version, longer than ours, as a later version may have it. */
static void refuses_version(uint32_t version, const char *sentence)
{
	struct vns_agent *a;
	struct vns_err err = { "" };
	uint8_t in[256], out[16 + 64];
	struct vns_cursor c;
	struct vns_frame_header h = { 34, VNS_MSG_HELLO_REPLY, 0, 0 };
	int sv[2], r, status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pid = fork();
	if (pid == 0) {
		close(sv[0]);
		if (read(sv[1], in, sizeof(in)) < 24)
			_exit(1);
		vns_frame_put_header(out, &h);
		memcpy(out + 16, in + 16, 8); /* nonce */
		vns_cursor_init(&c, out + 24, sizeof(out) - 24);
		vns_put_le32(&c, version);
		vns_put_str(&c, "9.9");
		vns_put_bytes(&c, "a field we don't know", 17);
		_exit(write(sv[1], out, 50) == 50 ? 0 : 1);
	}
	close(sv[1]);
	r = vns_agent_attach(&a, "new", sv[0], sv[0], 0, PATIENCE_MS, &err);
	assert_int_equal(r, -EPROTO);
	assert_non_null(strstr(err.text, sentence));
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void other_version(void **state)
{
	(void)state;
	refuses_version(77, "speaks protocol 77 (version 9.9), this program speaks 4; use an agent of "
			    "this version");
	refuses_version(2, "speaks protocol 2 (version 9.9), this program speaks 4;");
	/* Its digests of UDP and ICMP are not ours. */
	refuses_version(1, "speaks protocol 1 (version 9.9), this program speaks 4;");
}

/* ---- hosts that are none of ours ---- */

/* Bytes to a fresh agent; what it answers comes back. Return: its exit status. */
static int feed_agent(const void *bytes, size_t n, uint8_t *reply, size_t *reply_len)
{
	char *argv[] = { (char *)(uintptr_t)agent_path, "--stdio", NULL };
	size_t room = *reply_len;
	int rfd, wfd, status;
	pid_t pid = spawn(argv, &rfd, &wfd);
	ssize_t k;

	signal(SIGPIPE, SIG_IGN);
	if (write(wfd, bytes, n) < 0)
		assert_int_equal(errno, EPIPE);
	close(wfd);
	*reply_len = 0;
	while ((k = read(rfd, reply + *reply_len, room - *reply_len)) > 0)
		*reply_len += (size_t)k;
	close(rfd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static size_t put_frame(uint8_t *to, uint16_t type, uint32_t len, const void *body, size_t n)
{
	struct vns_frame_header h = { len, type, 0, 5 };

	vns_frame_put_header(to, &h);
	memcpy(to + VNS_WIRE_HEADER, body, n);
	return VNS_WIRE_HEADER + n;
}

static size_t put_hello_frame(uint8_t *to)
{
	struct vns_wire_hello h = { .nonce = 42, .protocol = VNS_AGENT_PROTOCOL, .version = "t" };
	struct vns_cursor c;
	uint8_t body[64];

	vns_cursor_init(&c, body, sizeof(body));
	vns_put_hello(&c, &h);
	return put_frame(to, VNS_MSG_HELLO, (uint32_t)c.pos, body, c.pos);
}

/* The last frame of @reply is an ERROR that contains @text. */
static void expect_error(const uint8_t *reply, size_t n, const char *text)
{
	assert_non_null(memmem(reply, n, text, strlen(text)));
}

static void hostile_hosts(void **state)
{
	static uint8_t junk[100000], reply[100000];
	uint8_t msg[4096] = { 0 };
	size_t n, len;

	(void)state;
	vns_cursor_init(&(struct vns_cursor){ 0 }, junk, 0);
	memset(junk, 'x', sizeof(junk));
	len = sizeof(reply);
	assert_int_equal(feed_agent(junk, sizeof(junk), reply, &len), 0);
	expect_error(reply, len, "not the agent protocol");

	/* unknown type, over-long length, wrong side, cut body: each after a good hello */
	n = put_hello_frame(msg);
	len = sizeof(reply);
	feed_agent(msg, n + put_frame(msg + n, 999, 0, "", 0), reply, &len);
	expect_error(reply, len, "unknown");
	len = sizeof(reply);
	feed_agent(msg, n + put_frame(msg + n, VNS_MSG_CLOCK, 0xffffffff, "", 0), reply, &len);
	expect_error(reply, len, "over its limit");
	len = sizeof(reply);
	feed_agent(msg, n + put_frame(msg + n, VNS_MSG_CLOCK_REPLY, 0, "", 0), reply, &len);
	expect_error(reply, len, "wrong side");
	for (uint16_t type = VNS_MSG_CLOCK; type < VNS_MSG_TYPES; type++) {
		if (!vns_msg_rule(type) || vns_msg_rule(type)->sender != VNS_FROM_HOST)
			continue;
		for (uint32_t k = 0; k <= vns_msg_rule(type)->max_body && k < 90; k += 1 + k / 4) {
			len = sizeof(reply);
			assert_int_equal(feed_agent(msg, n + put_frame(msg + n, type, k, junk, k),
						    reply, &len), 0);
		}
	}
}

/* A host that asks and asks and never reads: the agent's memory stays bounded, it lives on. */
static void slow_reader(void **state)
{
	char *argv[] = { (char *)(uintptr_t)agent_path, "--stdio", NULL };
	uint8_t msg[64], clock[VNS_WIRE_HEADER];
	size_t sent = 0;
	char path[64], line[256];
	long rss_kb = 0;
	int rfd, wfd;
	pid_t pid = spawn(argv, &rfd, &wfd);
	FILE *f;

	(void)state;
	assert_true(write(wfd, msg, put_hello_frame(msg)) > 0);
	put_frame(clock, VNS_MSG_CLOCK, 0, "", 0);
	fcntl(wfd, F_SETFL, O_NONBLOCK);
	for (int idle = 0; idle < 20 && sent < (50u << 20);) {
		if (write(wfd, clock, sizeof(clock)) == sizeof(clock)) {
			sent += sizeof(clock);
			idle = 0;
		} else {
			idle++;
			vns_sleep_ns(10 * VNS_NSEC_PER_MSEC);
		}
	}
	assert_true(sent < (10u << 20)); /* it stopped reading */
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &rss_kb);
	fclose(f);
	assert_in_range(rss_kb, 1, RSS_MAX_KB);
	close(wfd);
	close(rfd);
	waitpid(pid, NULL, 0);
}

/*
 * An agent with two loads, one of which persists, for the host @a; @again: another descriptor of the same
 * connection. Return: its pid.
 */
static pid_t start_with_loads(struct vns_agent **a, uint32_t id[2], int *again)
{
	struct vns_load_spec s = { .kind = VNS_LOAD_MD5, .percent = 5 };
	char arg[16];
	char *argv[] = { (char *)(uintptr_t)agent_path, "--fd", arg, NULL };
	struct vns_err err = { "" };
	int sv[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	snprintf(arg, sizeof(arg), "%d", sv[1]);
	pid = fork();
	if (pid == 0) {
		close(sv[0]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(sv[1]);
	*again = fcntl(sv[0], F_DUPFD_CLOEXEC, 3);
	assert_int_equal(vns_agent_attach(a, "one", sv[0], sv[0], 0, PATIENCE_MS, &err), 0);
	assert_int_equal(vns_agent_load_start(*a, &s, &id[0], &err), 0);
	s.persist = true;
	assert_int_equal(vns_agent_load_start(*a, &s, &id[1], &err), 0);
	return pid;
}

static void other_session(void **state)
{
	struct vns_agent *a, *b;
	struct vns_err err = { "" };
	struct vns_exchange x;
	uint32_t id[2];
	int again;
	pid_t pid = start_with_loads(&a, id, &again);

	(void)state;
	/* half a message and a reply nobody took stay behind; the next host says hello */
	assert_int_equal(write(again, "VNSA\4", 5), 5);
	if (vns_agent_attach(&b, "two", again, again, 0, 9000, &err) == 0) {
		/* over a socket a broken frame ends the agent; over a virtio port it resyncs */
		fail_msg("a cut frame was taken");
	}
	assert_int_equal(vns_agent_exchange(a, &x, &err) < 0, 1);
	vns_agent_close(a);
	waitpid(pid, NULL, 0);
}

/* Two hosts in turn on one open connection: the second's hello ends the first's session. */
static void hello_resets(void **state)
{
	struct vns_agent *a, *b;
	struct vns_load_stats st;
	struct vns_err err = { "" };
	uint32_t id[2];
	int again;
	pid_t pid = start_with_loads(&a, id, &again);

	(void)state;
	assert_int_equal(vns_agent_attach(&b, "two", again, again, 0, PATIENCE_MS, &err), 0);
	assert_int_equal(vns_agent_load_stats(b, id[0], &st, &err), -ENOENT);
	assert_int_equal(vns_agent_load_stop(b, id[1], &st, &err), 0);
	vns_agent_close(b);
	vns_agent_close(a);
	waitpid(pid, NULL, 0);
}

/* Both sides of the shared page, the guest's in a child: one clock, so the stamps are ordered. */
static void shm_page(void **state)
{
	static struct vns_exchange x[200];
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	clock_t used;
	size_t n;
	pid_t pid;
	int status;

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	memset(page, 0xff, 4096); /* what another session left */
	pid = fork();
	if (pid == 0)
		_exit(vns_shm_serve(page, 4711, 2 * VNS_NSEC_PER_SEC) >= 1 ? 0 : 1);
	n = vns_shm_ask(page, 4711, 2 * VNS_NSEC_PER_SEC, x, 200);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_true(n >= 1);
	for (size_t i = 0; i < n; i++)
		assert_true(x[i].t1_ns <= x[i].t2_ns && x[i].t2_ns <= x[i].t3_ns &&
			    x[i].t3_ns <= x[i].t4_ns);
	/* nobody there: back in time, both */
	used = clock();
	assert_int_equal(vns_shm_ask(page, 4712, 50 * VNS_NSEC_PER_MSEC, x, 200), 0);
	assert_int_equal(vns_shm_serve(page, 4713, 50 * VNS_NSEC_PER_MSEC), 0);
	assert_true(clock() - used < CLOCKS_PER_SEC); /* they spin: what this had of a processor */
	munmap(page, 4096);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		WITH_AGENT(hello),
		WITH_AGENT(clock_is_ours),
		WITH_AGENT(commands),
		WITH_AGENT(usage),
		WITH_AGENT(missing_devices_are_told),
		WITH_AGENT(killed_in_the_middle),
		WITH_AGENT(stopped_agent_times_out),
		WITH_AGENT(shutdown_ends_it),
		cmocka_unit_test(no_agents),
		cmocka_unit_test(other_version),
		cmocka_unit_test(hostile_hosts),
		cmocka_unit_test(slow_reader),
		cmocka_unit_test(other_session),
		cmocka_unit_test(hello_resets),
		cmocka_unit_test(shm_page),
	};

	if (argc < 2) {
		fprintf(stderr, "usage: test_agent AGENT\n");
		return 2;
	}
	agent_path = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
