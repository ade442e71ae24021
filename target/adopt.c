// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What every kind of target does once its agent has said hello.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/internal.h"

enum { CARRIER_LOST = 255 };

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

/*
 * ssh ends with 255 for every trouble of its own (ssh(1), EXIT STATUS), and its words depend on what
 * it was doing when the far end went: a read ends with "closed by remote host", a write with
 * "Broken pipe". Both are the same event, and get the same name.
 */
static void explain(void *ctx, int exit_code, char *buf, size_t size)
{
	const struct vns_child *c = ctx;
	char words[160];

	vns_child_last_words(c, words, sizeof(words));
	if (c->carrier && exit_code == CARRIER_LOST)
		snprintf(buf, size, "its %s connection was closed by remote host or broke%s%s%s",
			 c->carrier, *words ? " (" : "", words, *words ? ")" : "");
	else
		snprintf(buf, size, "%s", words);
}

static void end_child(struct vns_target *t)
{
	vns_child_end(t->priv);
	free(t->priv);
	t->priv = NULL;
}

int vns_target_attach(struct vns_target *t, struct vns_child *child, int timeout_ms,
		      const struct vns_addr *address, struct vns_err *err)
{
	struct vns_child *kept = malloc(sizeof(*kept));
	struct vns_agent *agent = NULL;
	struct vns_err why = { "" };
	char words[256];
	int ret;

	if (!kept) {
		vns_child_end(child);
		return vns_err_set(err, -ENOMEM, "out of memory");
	}
	*kept = *child;
	*child = (struct vns_child){ .rfd = -1, .wfd = -1, .errfd = -1 };
	ret = vns_agent_attach(&agent, t->name, kept->rfd, kept->wfd, kept->pid, timeout_ms, &why);
	kept->rfd = kept->wfd = -1;
	kept->pid = 0;
	if (ret) {
		vns_child_last_words(kept, words, sizeof(words));
		vns_child_end(kept);
		free(kept);
		return vns_err_set(err, ret, "%.220s%s%s%s", why.text, *words ? " (it said: " : "",
				   words, *words ? ")" : "");
	}
	t->priv = kept;
	t->close = end_child;
	vns_agent_set_explain(agent, explain, kept);
	vns_target_adopt(t, agent, address);
	return 0;
}
