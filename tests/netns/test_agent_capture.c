// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Captures of the real agent, in a network namespace of this test's own. argv[1]: the agent.
 * Truth: what this test itself sent over loopback, counted and numbered by it, and its clock,
 * which is the agent's, too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <vnetscope/agent.h>

#define PORT 4000 /* not one that the kernel gives to others */
static const char *agent_path;

struct seen {
	uint64_t packets, dropped, batches, empty;
	int64_t first_ns, last_ns, complete_ns;
	bool backwards, incomplete, foreign;
	uint32_t lengths; /* sum of payload lengths */
	unsigned int slow_ms; /* each batch takes the host so long */
	char note[256];
};

static void take_packets(void *ctx, uint32_t id, const struct vns_packet *p, size_t n,
			 uint64_t dropped, int64_t now_ns)
{
	struct seen *s = ctx;

	usleep(s->slow_ms * 1000);
	s->batches++;
	s->empty += n == 0;
	s->dropped += dropped;
	for (size_t i = 0; i < n; i++) {
		if (p[i].proto != VNS_PROTO_UDP || vns_packet_dport(&p[i]) != PORT || id != 3)
			s->foreign = true;
		if (s->packets && p[i].time_ns < s->last_ns)
			s->backwards = true;
		/* the promise: nothing older than what was called complete */
		if (p[i].time_ns < s->complete_ns)
			s->incomplete = true;
		if (!s->packets++)
			s->first_ns = p[i].time_ns;
		s->last_ns = p[i].time_ns;
		s->lengths += p[i].payload_len;
	}
	s->complete_ns = now_ns;
}

static void take_note(void *ctx, const char *sentence)
{
	struct seen *s = ctx;

	snprintf(s->note, sizeof(s->note), "%s", sentence);
}

static struct vns_agent *start(struct seen *s, pid_t *pid)
{
	struct vns_agent_sink sink = { take_packets, take_note, s };
	struct vns_err err = { "" };
	struct vns_agent *a;
	int sv[2];
	char arg[16];

	memset(s, 0, sizeof(*s));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	*pid = fork();
	if (*pid == 0) {
		fcntl(sv[1], F_SETFD, 0);
		snprintf(arg, sizeof(arg), "%d", sv[1]);
		execl(agent_path, agent_path, "--fd", arg, (char *)NULL);
		_exit(127);
	}
	close(sv[1]);
	if (vns_agent_attach(&a, "ns", sv[0], sv[0], *pid, 60000, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(vns_agent_info(a)->caps & VNS_CAP_CAPTURE);
	vns_agent_set_sink(a, &sink);
	return a;
}

static void capture(struct vns_agent *a, const char *expression)
{
	struct vns_err err = { "" };
	struct vns_bpf_insn *code;
	int n = vns_filter_compile(expression, VNS_LINK_ETHERNET, 128, &code, &err);

	assert_true(n > 0);
	if (vns_agent_capture_start(a, 3, "lo", code, (size_t)n, 0, &err) < 0)
		fail_msg("%s", err.text);
	free(code);
}

static int udp_socket(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	/* never read: a full receive buffer does not keep loopback from showing the packet */
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void all_and_nothing_else(void **state)
{
	struct seen s;
	struct vns_err err;
	char buf[512] = { 0 };
	int64_t before, after;
	uint32_t bytes = 0;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT), other = udp_socket(PORT + 1);

	(void)state;
	capture(a, "udp port 4000");
	before = vns_now_ns();
	for (uint32_t i = 0; i < 5000; i++) {
		memcpy(buf, &i, sizeof(i));
		assert_true(send(fd, buf, 20 + i % 400, 0) > 0);
		bytes += 20 + i % 400;
		assert_true(send(other, buf, 20, 0) > 0);
	}
	after = vns_now_ns();
	/* stopped at once: what is still in the ring must come before the stop returns */
	assert_int_equal(vns_agent_capture_stop(a, 3, &err), 0);
	assert_int_equal(s.packets, 5000);
	assert_int_equal(s.lengths, bytes);
	assert_int_equal(s.dropped, 0);
	assert_false(s.foreign || s.backwards || s.incomplete);
	assert_true(s.first_ns >= before && s.last_ns <= after);
	assert_true(s.complete_ns >= s.last_ns);
	vns_agent_close(a);
	close(fd);
	close(other);
}

/* A silent capture gives signs of life and moves its "complete up to" on; a packet comes with none behind it. */
static void silent_and_prompt(void **state)
{
	struct seen s;
	struct vns_err err;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);
	int64_t began = vns_monotonic_ns(), first = 0;

	(void)state;
	capture(a, "udp port 4000");
	while (s.empty < 4) {
		assert_true(vns_agent_poll(a, 50, &err) >= 0);
		first = s.empty == 1 ? s.complete_ns : first;
	}
	/* every 250 ms */
	assert_true((int64_t)s.empty <= (vns_monotonic_ns() - began) / (150 * VNS_NSEC_PER_MSEC));
	assert_int_equal(s.packets, 0);
	assert_true(s.complete_ns > first);
	assert_true(send(fd, "x", 1, 0) == 1);
	while (!s.packets)
		assert_true(vns_agent_poll(a, 5, &err) >= 0);
	assert_int_equal(s.packets, 1);
	/* trickles: batches leave while the next packet waits in the ring */
	for (int i = 0; i < 60; i++) {
		assert_true(send(fd, "y", 1, 0) == 1);
		assert_true(vns_agent_poll(a, 1 + i % 20, &err) >= 0);
	}
	assert_int_equal(vns_agent_capture_stop(a, 3, &err), 0);
	assert_int_equal(s.packets, 61);
	assert_false(s.incomplete);
	vns_agent_close(a);
	close(fd);
}

static long rss_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &kb);
	fclose(f);
	return kb;
}

/* The host does not read while more comes than queue and ring hold: counted, not forgotten. */
static void slow_host(void **state)
{
	struct seen s;
	struct vns_err err = { "" };
	struct vns_agent_usage u;
	struct vns_exchange x;
	char buf[64] = { 0 };
	const uint64_t n = 120000;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);
	long kb;

	(void)state;
	capture(a, "udp port 4000");
	for (uint64_t i = 0; i < n; i++) {
		memcpy(buf, &i, sizeof(i));
		assert_true(send(fd, buf, sizeof(buf), 0) > 0);
	}
	kb = rss_kb(pid);
	assert_in_range(kb, 1, 24000);
	/* clock requests get through whatever is queued */
	assert_int_equal(vns_agent_exchange(a, &x, &err), 0);
	assert_true(x.t1_ns <= x.t2_ns && x.t2_ns <= x.t3_ns && x.t3_ns <= x.t4_ns);
	assert_int_equal(vns_agent_capture_stop(a, 3, &err), 0);
	assert_int_equal(vns_agent_usage(a, &u, &err), 0);
	printf("sent %llu, streamed %llu, dropped %llu, agent holds %ld KB, "
	       "%llu ns of CPU each\n",
	       (unsigned long long)n, (unsigned long long)s.packets,
	       (unsigned long long)s.dropped, kb,
	       (unsigned long long)(u.agent_cpu_ns / (s.packets ? s.packets : 1)));
	assert_true(s.dropped > 0); /* else the test tests nothing: send more */
	assert_int_equal(s.packets + s.dropped, n);
	assert_false(s.backwards || s.incomplete || s.foreign);
	vns_agent_close(a);
	close(fd);
}

static void wait_for_note(struct vns_agent *a, const struct seen *s)
{
	int64_t end = vns_monotonic_ns() + 60 * VNS_NSEC_PER_SEC;
	struct vns_err err;

	while (!s->note[0] && vns_monotonic_ns() < end)
		assert_true(vns_agent_poll(a, 50, &err) >= 0);
}

static void run_command(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s failed", command);
}

static void interface_goes_down(void **state)
{
	struct seen s;
	struct vns_err err;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);

	(void)state;
	capture(a, "udp port 4000");
	run_command("ip link set lo down");
	wait_for_note(a, &s);
	assert_non_null(strstr(s.note, "lo"));
	run_command("ip link set lo up");
	assert_true(send(fd, "x", 1, 0) == 1);
	assert_int_equal(vns_agent_capture_stop(a, 3, &err), 0);
	assert_int_equal(s.packets, 1);
	vns_agent_close(a);
	close(fd);
}

/* The last packets are still in the ring when the interface goes: they come, and that it is gone is told. */
static void interface_goes_with_packets_unread(void **state)
{
	struct seen s;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);
	char buf[20] = { 0 };

	(void)state;
	capture(a, "udp port 4000");
	for (int i = 0; i < 5; i++)
		assert_int_equal(send(fd, buf, sizeof(buf), 0), sizeof(buf));
	run_command("ip link set lo down");
	wait_for_note(a, &s);
	assert_non_null(strstr(s.note, "lo"));
	assert_int_equal(s.packets, 5);
	run_command("ip link set lo up");
	vns_agent_close(a);
	close(fd);
}

/* Killed in mid-stream: an error with a sentence; what came before stays; nothing hangs. */
static void killed_in_the_middle(void **state)
{
	struct seen s;
	struct vns_err err = { "" };
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT), r = 0;
	int64_t t;

	(void)state;
	capture(a, "udp port 4000");
	for (int i = 0; i < 2000; i++)
		assert_true(send(fd, "0123456789", 10, 0) > 0);
	while (!s.packets && r >= 0)
		r = vns_agent_poll(a, 100, &err);
	kill(pid, SIGKILL);
	t = vns_monotonic_ns();
	while (r >= 0 && vns_monotonic_ns() - t < 60 * VNS_NSEC_PER_SEC)
		r = vns_agent_poll(a, 100, &err);
	assert_int_equal(r, -EPIPE);
	assert_non_null(strstr(err.text, "signal 9"));
	assert_true(s.packets > 0 && !s.foreign);
	assert_int_equal(vns_agent_capture_stop(a, 3, &err), -EPIPE);
	vns_agent_close(a);
	close(fd);
}

/* Run a load until it has made so many operations (0: until it ends by itself), however long that takes here. */
static struct vns_load_stats run_load(struct vns_agent *a, const struct vns_load_spec *spec, uint64_t ops)
{
	struct vns_load_stats st = { 0 };
	struct vns_err err = { "" };
	int64_t before;
	uint32_t id;

	if (vns_agent_load_start(a, spec, &id, &err) < 0)
		fail_msg("%s", err.text);
	do {
		before = st.elapsed_ns;
		for (int i = 0; i < 5; i++)
			assert_true(vns_agent_poll(a, 20, &err) >= 0);
		assert_int_equal(vns_agent_load_stats(a, id, &st, &err), 0);
	} while (ops ? st.ops < ops : !st.elapsed_ns || st.elapsed_ns != before);
	assert_int_equal(vns_agent_load_stop(a, id, &st, &err), 0);
	return st;
}

/* Pings by two kinds of addresses, at a rate and back to back; the kernel answers them. */
static void pings(void **state)
{
	struct vns_load_spec paced = { .kind = VNS_LOAD_PING, .rate_hz = 100, .size = 100 };
	struct vns_load_spec flood = { .kind = VNS_LOAD_PING };
	struct vns_load_stats st;
	struct seen s;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		assert_int_equal(vns_addr_parse(v6 ? "::1" : "127.0.0.1", &paced.peer), 0);
		flood.peer = paced.peer;
		st = run_load(a, &paced, 50);
		/* never faster than asked */
		assert_in_range(st.ops, 50, st.elapsed_ns / 10000000 + 2);
		assert_int_equal(st.errors, 0);
		assert_int_equal(st.rtt_n, st.ops);
		assert_int_equal(st.bytes_rx, st.ops * 108);
		assert_in_range(st.rtt_min_ns, 1, st.rtt_max_ns);
		assert_true(st.rtt_max_ns < st.elapsed_ns);
		st = run_load(a, &flood, 50);
		assert_int_equal(st.errors, 0);
	}
	vns_agent_close(a);
}

static void streams(void **state)
{
	struct vns_load_spec sink = { .kind = VNS_LOAD_UDP_SINK, .port = 5001 };
	struct vns_load_spec paced = { .kind = VNS_LOAD_TCP_STREAM, .port = 5001,
				       .rate_bps = 20000000 };
	struct vns_load_spec full = { .kind = VNS_LOAD_TCP_STREAM, .port = 5001, .procs = 2,
				      .duration_ns = 300 * VNS_NSEC_PER_MSEC };
	struct vns_load_stats st, got;
	struct vns_err err;
	struct seen s;
	uint32_t id;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	double bps;

	(void)state;
	assert_int_equal(vns_addr_parse("127.0.0.1", &paced.peer), 0);
	full.peer = paced.peer;
	assert_int_equal(vns_agent_load_start(a, &sink, &id, &err), 0);
	st = run_load(a, &paced, 30);
	bps = (double)st.bytes_tx * 8e9 / (double)st.elapsed_ns;
	if (bps > 22e6)
		fail_msg("asked for 20 Mbit/s, got %.1f Mbit/s", bps / 1e6);
	/* ends by itself, and that is nothing to report */
	got = run_load(a, &full, 0);
	assert_true(got.elapsed_ns > 290 * VNS_NSEC_PER_MSEC);
	assert_true(got.bytes_tx > 0);
	assert_string_equal(s.note, "");
	st.bytes_tx += got.bytes_tx;
	while (vns_agent_load_stats(a, id, &got, &err) == 0 && got.bytes_rx < st.bytes_tx) /* what is under way */
		assert_true(vns_agent_poll(a, 20, &err) >= 0);
	assert_int_equal(vns_agent_load_stop(a, id, &got, &err), 0);
	assert_int_equal(got.bytes_rx, st.bytes_tx);
	vns_agent_close(a);
}

/* What a server cannot do is told when it is started, not later. */
static void port_in_use(void **state)
{
	struct vns_load_spec echo = { .kind = VNS_LOAD_ECHO_SERVER, .port = PORT };
	struct vns_err err = { "" };
	struct seen s;
	uint32_t id;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);

	(void)state;
	assert_int_equal(vns_agent_load_start(a, &echo, &id, &err), -EIO);
	assert_non_null(strstr(err.text, "port 4000"));
	close(fd);
	assert_int_equal(vns_agent_load_start(a, &echo, &id, &err), 0);
	vns_agent_close(a);
}

static void limits_of_captures(void **state)
{
	struct seen s;
	struct vns_err err;
	struct vns_bpf_insn bad[2] = { { 0xffff, 0, 0, 0 }, { 6, 0, 0, 1 } };
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);

	(void)state;
	assert_int_equal(vns_agent_capture_start(a, 1, "nope", NULL, 0, 0, &err), -ENODEV);
	assert_true(vns_agent_capture_start(a, 1, "lo", bad, 2, 0, &err) < 0);
	for (uint32_t i = 1; i <= 4; i++)
		assert_int_equal(vns_agent_capture_start(a, i, "lo", NULL, 0, 0, &err), 0);
	assert_int_equal(vns_agent_capture_start(a, 4, "lo", NULL, 0, 0, &err), -EEXIST);
	assert_int_equal(vns_agent_capture_start(a, 5, "lo", NULL, 0, 0, &err), -EBUSY);
	assert_int_equal(vns_agent_capture_stop(a, 2, &err), 0);
	assert_int_equal(vns_agent_capture_start(a, 5, "lo", NULL, 0, 0, &err), 0);
	assert_int_equal(vns_agent_capture_start(a, 6, "a-name-that-is-too-long", NULL, 0, 0,
						 &err), -EINVAL);
	vns_agent_close(a);
}

/* Nobody asked it anything for two seconds before its capture: that is no silence of a capturing agent. */
static void idle_before_a_capture(void **state)
{
	struct vns_err err = { "" };
	struct seen s;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int64_t until;

	(void)state;
	sleep(2);
	assert_true(vns_agent_poll(a, 20, &err) >= 0);
	assert_int_equal(vns_agent_was_silent_ns(a, &until), 0);
	sleep(2);
	assert_true(vns_agent_poll(a, 20, &err) >= 0);
	capture(a, "udp");
	assert_int_equal(vns_agent_was_silent_ns(a, &until), 0);
	vns_agent_close(a);
}

static void wait_bytes(const struct vns_agent *a, int bytes)
{
	for (int i = 0, waiting = 0; i < 1000; i++) {
		assert_int_equal(ioctl(vns_agent_fd(a), FIONREAD, &waiting), 0);
		if (waiting > bytes)
			return;
		usleep(10000);
	}
	fail_msg("the agent sent no %d bytes", bytes);
}

/* Where the host does not come to read, or to look at what it has read, its agent is not silent. */
static void late_host(void **state)
{
	struct vns_agent_usage u;
	struct vns_err err;
	char buf[64] = { 0 };
	struct seen s;
	pid_t pid;
	struct vns_agent *a = start(&s, &pid);
	int fd = udp_socket(PORT);

	(void)state;
	capture(a, "udp port 4000");
	for (int i = 0; i < 5000; i++)
		assert_true(send(fd, buf, 20, 0) > 0);
	wait_bytes(a, 40000); /* batches of 1024 packets, 8 bytes of each at least */
	usleep(300000);
	assert_int_equal(vns_agent_silence_ns(a), 0);
	s.slow_ms = 500;
	vns_agent_set_timeout(a, 10);
	assert_int_equal(vns_agent_usage(a, &u, &err), -ETIMEDOUT);
	assert_true(s.batches > 0 && s.batches < 5);
	assert_true(vns_agent_silence_ns(a) < 500000000);
	vns_agent_close(a);
	close(fd);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("%s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* A network namespace; without root inside a user namespace where we are root. */
static int own_namespace(void)
{
	char map[64];

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	snprintf(map, sizeof(map), "0 %d 1", (int)geteuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	write_file("/proc/self/uid_map", map);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_and_nothing_else),
		cmocka_unit_test(silent_and_prompt),
		cmocka_unit_test(slow_host),
		cmocka_unit_test(interface_goes_down),
		cmocka_unit_test(interface_goes_with_packets_unread),
		cmocka_unit_test(killed_in_the_middle),
		cmocka_unit_test(limits_of_captures),
		cmocka_unit_test(idle_before_a_capture),
		cmocka_unit_test(late_host),
		cmocka_unit_test(pings),
		cmocka_unit_test(streams),
		cmocka_unit_test(port_in_use),
	};
	int r;

	if (argc < 2) {
		fprintf(stderr, "usage: test_agent_capture AGENT\n");
		return 2;
	}
	r = own_namespace();
	if (r < 0) {
		printf("no network namespace can be made here: %s\n", strerror(-r));
		return 77;
	}
	agent_path = argv[1];
	if (system("ip link set lo up") != 0) {
		printf("ip(8) cannot set up loopback in a new namespace\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
