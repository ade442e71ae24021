// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vnetscope-agent: the small static program inside a guest, and PID 1 of lab guests.
 * Speaks the protocol of doc/agent-protocol.md over one transport: a virtio port (reopened
 * for ever), standard input and output (ssh, a child in a namespace), or a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent.h"

static const char usage_text[] =
	"usage: vnetscope-agent --stdio | --virtio-port NAME | --fd N  [--allow-exec]\n"
	"       vnetscope-agent --adjust-clock step=NS|ppm=X\n"
	"       vnetscope-agent --version\n"
	"Serves vnetscope on a host: clock, captures, loads. See vnetscope-agent(8).\n";

struct options {
	const char *port;
	bool stdio, allow_exec;
	int fd; /* -1: none */
};

static int usage_error(const char *sentence)
{
	fprintf(stderr, "vnetscope-agent: %s\n%s", sentence, usage_text);
	return VNS_EXIT_USAGE;
}

/* Return: -1 go on, else the exit code. */
static int read_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "virtio-port", required_argument, NULL, 'p' }, { "stdio", no_argument, NULL, 's' },
		{ "fd", required_argument, NULL, 'f' }, { "allow-exec", no_argument, NULL, 'x' },
		{ "adjust-clock", required_argument, NULL, 'a' },
		{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->port = optarg;
			break;
		case 's':
			o->stdio = true;
			break;
		case 'f':
			o->fd = (int)strtol(optarg, &end, 10);
			if (*end || o->fd < 0 || fcntl(o->fd, F_GETFD) < 0)
				return usage_error("--fd needs the number of an open descriptor");
			break;
		case 'x':
			o->allow_exec = true;
			break;
		case 'a':
			c = adjust_clock(optarg);
			return c == VNS_EXIT_USAGE ? usage_error("--adjust-clock takes step=NS (at most "
								 "a day) or ppm=X (at most 500)") : c;
		case 'V':
			printf("vnetscope-agent %s (protocol %d)\n", VNS_VERSION,
			       VNS_AGENT_PROTOCOL);
			return VNS_EXIT_OK;
		case 'h':
			fputs(usage_text, stdout);
			return VNS_EXIT_OK;
		default:
			fputs(usage_text, stderr);
			return VNS_EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage_error("there are no arguments beside options");
	if ((o->port != NULL) + o->stdio + (o->fd >= 0) != 1)
		return usage_error("exactly one of --stdio, --virtio-port and --fd is needed");
	return -1;
}

/*
 * Take the protocol's descriptors out of the way of standard input and output, so that nothing
 * printed by accident gets into the stream.
 */
static int take_stdio(struct agent *a)
{
	int null;

	if (isatty(0))
		return usage_error("--stdio speaks a binary protocol; it is started by vnetscope");
	a->rfd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	a->wfd = fcntl(1, F_DUPFD_CLOEXEC, 3);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (a->rfd < 0 || a->wfd < 0 || null < 0) {
		fprintf(stderr, "vnetscope-agent: standard input and output: %s\n",
			strerror(errno));
		return VNS_EXIT_SETUP;
	}
	dup2(null, 0);
	dup2(2, 1);
	a->name = "stdio";
	return -1;
}

/* Serve the port for ever; it may come and go with its device. */
static void serve_port(struct agent *a)
{
	bool told = false;
	int fd;

	while (!a->quit) {
		fd = port_open(a->name);
		if (fd < 0) {
			if (!told)
				fprintf(stderr, "vnetscope-agent: virtio port %s: %s; waiting\n",
					a->name, strerror(-fd));
			told = true;
			agent_wait(a, 100);
			continue;
		}
		a->rfd = a->wfd = fd;
		agent_serve(a);
		close(fd);
	}
}

/* It needs little CPU but needs it at once: a clock reply waits for nothing in a busy guest. */
#define AGENT_NICE -10

static int run(struct agent *a)
{
	struct vns_err err = { "" };

	setpriority(PRIO_PROCESS, 0, AGENT_NICE); /* as root; else it stays as it is */

	if (agent_init(a, &err) < 0) {
		fprintf(stderr, "vnetscope-agent: %s\n", err.text);
		return VNS_EXIT_SETUP;
	}
	if (a->virtio)
		serve_port(a);
	else
		agent_serve(a);
	agent_fini(a);
	return VNS_EXIT_OK;
}

static int be_init(void)
{
	static char port[64];
	struct agent a = { .virtio = true, .is_init = true, .allow_exec = true, .ptp_fd = -1,
			   .name = port };

	init_machine(port, sizeof(port));
	run(&a);
	init_power_off();
}

int main(int argc, char **argv)
{
	struct options o = { .fd = -1 };
	struct agent a = { .ptp_fd = -1 };
	int r;

	if (getpid() == 1 && (argc < 2 || argv[1][0] != '-'))
		return be_init();
	r = read_options(argc, argv, &o);
	if (r >= 0)
		return r;
	/* Over ssh it runs from an open descriptor, and would be listed as "3". */
	prctl(PR_SET_NAME, "vnetscope-agent");
	a.allow_exec = o.allow_exec;
	if (o.stdio) {
		r = take_stdio(&a);
		if (r >= 0)
			return r;
	} else if (o.port) {
		a.virtio = true;
		a.name = o.port;
	} else {
		a.rfd = a.wfd = o.fd;
		fcntl(o.fd, F_SETFD, FD_CLOEXEC);
		a.name = "fd";
	}
	return run(&a);
}
