// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What every kind of target does once its agent has said hello, and where the agent's
 * binary is found.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "target/internal.h"

#ifndef VNS_LIBEXECDIR
#define VNS_LIBEXECDIR "/usr/local/libexec"
#endif

/* Machines with an agent build: uname -m -> name of the binary. */
static const char *agent_name(const char *machine)
{
	if (strcmp(machine, "x86_64") == 0)
		return "vnetscope-agent";
	if (strcmp(machine, "aarch64") == 0)
		return "vnetscope-agent-arm64";
	return NULL;
}

/* Directory of the running program, without the slash at its end. */
static bool own_directory(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size - 1);
	char *slash;

	if (n <= 0)
		return false;
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

int vns_target_find_agent(char *path, size_t size, const char *asked, const char *machine,
			  struct vns_err *err)
{
	static const char *const beside[] = { "/", "/../agent/", "/../libexec/vnetscope/" };
	struct utsname uts = { 0 };
	char own[PATH_MAX];
	const char *name;

	if (asked) {
		snprintf(path, size, "%s", asked);
		if (access(asked, R_OK) == 0)
			return 0;
		return vns_err_set(err, -errno, "agent %s: %s", asked, strerror(errno));
	}
	if (!machine && uname(&uts) == 0)
		machine = uts.machine;
	name = machine ? agent_name(machine) : NULL;
	if (!name)
		return vns_err_set(err, -ENOENT, "there is no agent for machine type '%s'; name one "
				   "with --agent", machine ? machine : "");
	if (own_directory(own, sizeof(own))) {
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
			snprintf(path, size, "%s%s%s", own, beside[i], name);
			if (access(path, R_OK) == 0)
				return 0;
		}
	}
	snprintf(path, size, "%s/vnetscope/%s", VNS_LIBEXECDIR, name);
	if (access(path, R_OK) == 0)
		return 0;
	return vns_err_set(err, -ENOENT, "%s is neither beside the program nor in %s/vnetscope; "
			   "name one with --agent", name, VNS_LIBEXECDIR);
}

static bool has_address(const struct vns_agent_iface *i, const struct vns_addr *a)
{
	for (size_t k = 0; k < i->n_addr; k++)
		if (vns_addr_equal(&i->addr[k], a))
			return true;
	return false;
}

static const struct vns_agent_iface *choose_iface(const struct vns_agent_info *info,
						  const struct vns_addr *address)
{
	for (size_t k = 0; address && k < info->n_iface; k++)
		if (has_address(&info->iface[k], address))
			return &info->iface[k];
	for (size_t k = 0; k < info->n_iface; k++)
		if (info->iface[k].up && info->iface[k].n_addr > 0 &&
		    strcmp(info->iface[k].name, "lo") != 0)
			return &info->iface[k];
	return NULL;
}

static bool is_our_boot(const char *boot_id)
{
	char ours[40] = "";
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f)
		return false;
	if (fgets(ours, sizeof(ours), f))
		ours[strcspn(ours, "\n")] = '\0';
	fclose(f);
	return *ours && strcmp(ours, boot_id) == 0;
}

void vns_target_adopt(struct vns_target *t, struct vns_agent *agent, const struct vns_addr *address)
{
	const struct vns_agent_info *info = vns_agent_info(agent);
	const struct vns_agent_iface *iface = choose_iface(info, address);

	t->agent = agent;
	t->same_clock = is_our_boot(info->boot_id);
	if (!iface)
		return;
	snprintf(t->guest_ifname, sizeof(t->guest_ifname), "%s", iface->name);
	t->n_guest = iface->n_addr;
	memcpy(t->guest, iface->addr, iface->n_addr * sizeof(t->guest[0]));
}
