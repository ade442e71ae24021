// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Open and close targets: spec -> the kind's open function, by its prefix.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "target/internal.h"

static const struct {
	const char *prefix;
	int (*open)(struct vns_target *t, const char *where, const char *agent_path,
		    struct vns_err *err);
} kinds[] = {
	{ "lab:", vns_target_open_lab },
	{ "netns:", vns_target_open_netns },
	{ "ssh:", vns_target_open_ssh },
	{ "pipe:", vns_target_open_pipe },
};

static int open_kind(struct vns_target *t, const char *spec, const char *agent_path,
		     struct vns_err *err)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(spec, kinds[i].prefix, n) == 0)
			return kinds[i].open(t, spec + n, agent_path, err);
	}
	if (strchr(spec, ':'))
		return vns_err_set(err, -EINVAL, "'%s' is no target: NAME, lab:LAB/NAME, "
				   "netns:NAME, ssh:[USER@]HOST[:PORT] or pipe:COMMAND", spec);
	return vns_target_open_lab(t, spec, agent_path, err);
}

int vns_target_open(struct vns_target **out, const char *spec, const char *agent_path,
		    struct vns_err *err)
{
	struct vns_target *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return vns_err_set(err, -ENOMEM, "out of memory");
	t->host_netns_fd = -1;
	t->host_userns_fd = -1;
	snprintf(t->spec, sizeof(t->spec), "%s", spec);
	rc = open_kind(t, spec, agent_path, err);
	if (rc) {
		vns_target_close(t);
		return rc;
	}
	*out = t;
	return 0;
}

void vns_target_close(struct vns_target *t)
{
	if (!t)
		return;
	if (t->agent)
		vns_agent_close(t->agent);
	if (t->close)
		t->close(t);
	if (t->shm_page)
		munmap(t->shm_page, t->shm_bytes);
	if (t->host_netns_fd >= 0)
		close(t->host_netns_fd);
	if (t->host_userns_fd >= 0)
		close(t->host_userns_fd);
	free(t);
}

struct vns_subject vns_target_subject(struct vns_target *t)
{
	return (struct vns_subject){
		.name = t->name,
		.agent = t->agent,
		.host_netns_fd = t->host_netns_fd,
		.point = t->point,
		.n_point = t->n_point,
		.guest_ifname = t->guest_ifname,
		.guest = t->guest,
		.n_guest = t->n_guest,
		.shm_page = t->shm_page,
		.vmm_pid = t->vmm_pid,
		.same_clock = t->same_clock,
		.tcg = t->is_tcg,
		.exclude_filter = t->exclude_filter,
		.unseen = t->unseen,
		.reconnect = t->reconnect,
		.reconnect_ctx = t,
		.console = t->console,
	};
}
