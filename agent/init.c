// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * PID 1 of a lab guest. The kernel command line says what to be:
 *
 *   vns.ip=10.77.0.11/24  vns.ip6=fd77::11/64   addresses of vns.if= (eth0)
 *   vns.gw=10.77.0.1      vns.gw6=fd77::1       default routes
 *   vns.mac=52:54:00:...                        another MAC
 *   vns.neigh=ADDRESS/MAC                       permanent neighbour, repeatable
 *   vns.host=NAME         vns.port=NAME         host name; virtio port to serve (vnetscope)
 *
 * In: an initramfs with this program as /init, /modules.list with module files in the order
 * to load, perhaps /bin/busybox. Out: a machine on the network. Nothing here is fatal: what
 * fails is told on the console, which the lab shows, and the rest is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	dprintf(1, "vnetscope init: %s\n", text);
}

static void mount_one(const char *type, const char *where, unsigned long flags)
{
	mkdir(where, 0755);
	if (mount(type, where, type, flags, NULL) < 0 && errno != EBUSY)
		say("mount %s: %s", where, strerror(errno));
}

/* An initramfs without /dev/console starts us without descriptors 0 to 2. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR);

	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		if (fd != i && fcntl(i, F_GETFD) < 0)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void write_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* not in this kernel: then there is nothing to switch */
	if (write(fd, value, strlen(value)) < 0)
		say("%s: %s", path, strerror(errno));
	close(fd);
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		say("module %s: %s", path, strerror(errno));
		return;
	}
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		/* ptp_kvm has no device under emulation: that is normal */
		if (!strstr(path, "ptp_kvm"))
			say("module %s: %s", path, strerror(errno));
	close(fd);
}

static void load_modules(void)
{
	FILE *f = fopen("/modules.list", "re");
	char line[256];

	if (!f) {
		say("no /modules.list: only what the kernel has built in");
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\r\n")] = '\0';
		if (line[0] && line[0] != '#')
			load_module(line);
	}
	fclose(f);
}

static void take_option(char *word, struct netconf *n, char *port, size_t port_size,
			char host[64])
{
	char *value = strchr(word, '=');

	if (strncmp(word, "vns.", 4) != 0 || !value)
		return;
	*value++ = '\0';
	word += 4;
	if (strcmp(word, "if") == 0)
		snprintf(n->ifname, sizeof(n->ifname), "%s", value);
	else if (strcmp(word, "mac") == 0)
		snprintf(n->mac, sizeof(n->mac), "%s", value);
	else if (strcmp(word, "ip") == 0)
		snprintf(n->ip[0], sizeof(n->ip[0]), "%s", value);
	else if (strcmp(word, "ip6") == 0)
		snprintf(n->ip[1], sizeof(n->ip[1]), "%s", value);
	else if (strcmp(word, "gw") == 0)
		snprintf(n->gw[0], sizeof(n->gw[0]), "%s", value);
	else if (strcmp(word, "gw6") == 0)
		snprintf(n->gw[1], sizeof(n->gw[1]), "%s", value);
	else if (strcmp(word, "neigh") == 0 && n->n_neigh < 16)
		snprintf(n->neigh[n->n_neigh++], sizeof(n->neigh[0]), "%s", value);
	else if (strcmp(word, "port") == 0)
		snprintf(port, port_size, "%s", value);
	else if (strcmp(word, "host") == 0)
		snprintf(host, 64, "%s", value);
}

static void read_command_line(struct netconf *n, char *port, size_t port_size, char host[64])
{
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	char line[4096], *save = NULL;
	ssize_t len = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	line[len > 0 ? len : 0] = '\0';
	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
		take_option(w, n, port, port_size, host);
}

static void install_busybox(void)
{
	pid_t pid;

	if (access("/bin/busybox", X_OK) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		execl("/bin/busybox", "busybox", "--install", "-s", "/bin", (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void init_machine(char *port, size_t size)
{
	struct rlimit files = { 65536, 65536 };
	struct netconf net = { .ifname = "eth0" };
	char host[64] = "vnetscope-guest";

	mount_one("devtmpfs", "/dev", 0);
	open_console();
	mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_one("tmpfs", "/tmp", MS_NOSUID | MS_NODEV);
	mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/", 1);
	setrlimit(RLIMIT_NOFILE, &files);
	snprintf(port, size, "vnetscope");
	read_command_line(&net, port, size, host);
	if (sethostname(host, strlen(host)) < 0)
		say("host name %s: %s", host, strerror(errno));
	/* before the drivers make interfaces, which take the default over */
	write_sysctl("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
	write_sysctl("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
	load_modules();
	netconf_apply(&net, say);
	install_busybox();
	say("%s is up (%s %s)", host, net.ip[0], net.ip[1]);
}

void init_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;) /* PID 1 must not end: the kernel would panic */
		pause();
}
