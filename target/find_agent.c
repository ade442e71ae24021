// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where the agent's binary is: machine type -> path, from a list of places.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
		/* Whoever starts it may stand in another folder by then. */
		char *real = realpath(asked, NULL);

		if (real && access(real, R_OK) == 0) {
			snprintf(path, size, "%s", real);
			free(real);
			return 0;
		}
		free(real);
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
