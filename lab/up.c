// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * `up`: options -> plan (everything found out before anything is started) -> holder -> every
 * agent has answered -> commit. This process holds the lock of the lab's folder all the while
 * and cleans after any failure; when it is killed, the holder does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab/internal.h"
#include "target/internal.h"

#define BUILD_TIMEOUT_MS 60000

static const struct {
	const char *word;
	unsigned int bits;
} offload_words[] = {
	{ "default", 0 },
	{ "off", LAB_NO_TSO | LAB_NO_CSUM | LAB_NO_MRG | LAB_NO_GRO },
	{ "no-tso", LAB_NO_TSO },
	{ "no-guest-tso", LAB_NO_GUEST_TSO },
	{ "no-host-tso", LAB_NO_HOST_TSO },
	{ "no-csum", LAB_NO_CSUM | LAB_NO_TSO },
	{ "no-mrg", LAB_NO_MRG },
	{ "no-gro", LAB_NO_GRO },
};

/* "vm2:no-tso" -> 1 and what follows; without a guest -1: for all. -EINVAL: no such guest. */
static int offload_guest(const char **word, unsigned int n)
{
	unsigned int guest;
	int used = 0;

	if (sscanf(*word, "vm%u:%n", &guest, &used) != 1 || !used)
		return -1;
	*word += used;
	return guest >= 1 && guest <= n ? (int)guest - 1 : -EINVAL;
}

int lab_parse_offloads(const char *text, unsigned int *bits, unsigned int n, struct vns_err *err)
{
	memset(bits, 0, n * sizeof(*bits));
	while (*text) {
		const char *word = text;
		size_t len = strcspn(text, ","), i;
		int guest = offload_guest(&word, n);
		size_t rest = len - (size_t)(word - text);

		if (guest == -EINVAL)
			return vns_err_set(err, -EINVAL, "offloads '%.*s': there are vm1 to vm%u", (int)len,
					   text, n);
		for (i = 0; i < sizeof(offload_words) / sizeof(offload_words[0]); i++)
			if (strlen(offload_words[i].word) == rest &&
			    strncmp(offload_words[i].word, word, rest) == 0)
				break;
		if (i == sizeof(offload_words) / sizeof(offload_words[0]))
			return vns_err_set(err, -EINVAL,
					   "offloads '%.*s' is none of default, off, no-tso, "
					   "no-guest-tso, no-host-tso, no-csum, no-mrg, no-gro",
					   (int)rest, word);
		for (unsigned int g = 0; g < n; g++)
			if (guest < 0 || g == (unsigned int)guest)
				bits[g] |= offload_words[i].bits;
		text += len + (text[len] == ',');
	}
	return 0;
}

void lab_say(const struct vns_lab_opts *o, const char *fmt, ...)
{
	char sentence[512];
	va_list ap;

	if (!o->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	o->progress(o->ctx, sentence);
}

static int check_opts(const struct vns_lab_opts *o, struct vns_err *err)
{
	if (o->guests < 1 || o->guests > VNS_LAB_MAX_GUESTS)
		return vns_err_set(err, -EINVAL, "a lab has 1 to %d guests, not %u",
				   VNS_LAB_MAX_GUESTS, o->guests);
	if (o->queues < 1 || o->queues > VNS_LAB_MAX_QUEUES)
		return vns_err_set(err, -EINVAL, "a guest's card has 1 to %d queues, not %u",
				   VNS_LAB_MAX_QUEUES, o->queues);
	if (!o->kernel != !o->modules)
		return vns_err_set(err, -EINVAL, "--kernel FILE and --modules DIR go together");
	return 0;
}

static void name_nodes(struct vns_lab *lab)
{
	struct vns_lab_node *c = &lab->client;

	snprintf(c->name, sizeof(c->name), "client");
	snprintf(c->tap, sizeof(c->tap), VNS_LAB_UPLINK);
	snprintf(c->mac, sizeof(c->mac), LAB_CLIENT_MAC);
	snprintf(c->ip, sizeof(c->ip), LAB_NET4 "%d", LAB_CLIENT_NUMBER);
	snprintf(c->ip6, sizeof(c->ip6), LAB_NET6 "%d", LAB_CLIENT_NUMBER);
	for (unsigned int i = 0; i < lab->n_guest; i++) {
		struct vns_lab_node *g = &lab->guest[i];
		unsigned int k = i + 1, number = LAB_GUEST_NUMBER + k;

		snprintf(g->name, sizeof(g->name), "vm%u", k);
		snprintf(g->tap, sizeof(g->tap), "tapvm%u", k);
		snprintf(g->mac, sizeof(g->mac), "52:54:00:77:00:%02x", k & 0xff);
		snprintf(g->ip, sizeof(g->ip), LAB_NET4 "%u", number);
		snprintf(g->ip6, sizeof(g->ip6), LAB_NET6 "%u", number);
	}
}

static int describe(struct vns_lab *lab, const struct vns_lab_opts *o, struct vns_err *err)
{
	int rc;

	memset(lab, 0, sizeof(*lab));
	rc = vns_lab_dir(o->name, lab->dir, sizeof(lab->dir), err);
	if (rc)
		return rc;
	snprintf(lab->name, sizeof(lab->name), "%s", o->name);
	lab->backend = o->backend;
	lab->uid = vns_lab_uid();
	lab->rootless = lab->uid != 0;
	lab->n_guest = o->guests;
	lab->vcpus = o->vcpus;
	lab->memory_mb = o->memory_mb;
	lab->queues = o->queues;
	snprintf(lab->accel, sizeof(lab->accel), "none");
	snprintf(lab->offloads, sizeof(lab->offloads), "%s", o->offloads);
	for (size_t i = 0; i < o->n_with; i++) {
		size_t n = strlen(lab->with);

		snprintf(lab->with + n, sizeof(lab->with) - n, "%s%s", n ? " " : "", o->with[i]);
	}
	lab->started_ns = vns_now_ns();
	name_nodes(lab);
	return 0;
}

static bool same_options(const struct vns_lab *a, const struct vns_lab *b)
{
	return a->backend == b->backend && a->n_guest == b->n_guest &&
	       strcmp(a->offloads, b->offloads) == 0 &&
	       (a->backend == VNS_LAB_NETNS ||
		(a->vcpus == b->vcpus && a->memory_mb == b->memory_mb && a->queues == b->queues &&
		 strcmp(a->with, b->with) == 0));
}

static bool is_whole(const struct vns_lab *lab, const struct vns_lab_node *n)
{
	return vns_proc_alive(&n->proc) && vns_lab_node_plugged(lab, n);
}

/* A guest or the client that has ended or lost its port; NULL: none. */
static const struct vns_lab_node *first_broken(const struct vns_lab *lab)
{
	for (unsigned int i = 0; i < lab->n_guest; i++)
		if (!is_whole(lab, &lab->guest[i]))
			return &lab->guest[i];
	return is_whole(lab, &lab->client) ? NULL : &lab->client;
}

/*
 * Look at what stands in the folder already. Return: 0 it is empty now; 1 a whole lab with our
 * options runs, @old describes it; -EBUSY it has other options.
 */
static int look_around(const struct vns_lab *want, struct vns_lab *old,
		       const struct vns_lab_opts *o, struct vns_err *err)
{
	struct vns_lab_removed gone;
	int rc = vns_lab_load(old, want->name, err);

	if (rc < 0)
		return rc;
	if (rc == 0 && vns_proc_alive(&old->holder) && old->phase == VNS_LAB_RUNNING) {
		const struct vns_lab_node *dead = first_broken(old);

		if (!dead && same_options(old, want))
			return 1;
		if (!dead)
			return vns_err_set(err, -EBUSY,
					   "lab '%s' runs with other options (%u guests, %s); "
					   "end it first: vnetscope lab down --name %s",
					   old->name, old->n_guest,
					   old->backend == VNS_LAB_NETNS ? "netns" : "qemu",
					   old->name);
		lab_say(o, "%s of the running lab has %s: starting anew", dead->name,
			vns_proc_alive(&dead->proc) ? "lost its port" : "ended");
	}
	rc = lab_remove(old, true, &gone, err);
	if (rc == 0 && (gone.processes || gone.files))
		lab_say(o, "removed remains: %u processes, %u files", gone.processes, gone.files);
	return rc;
}

/* Wait for the holder's verdict. */
static int await_holder(struct vns_lab *lab, const struct vns_lab_opts *o, int ctl,
			struct vns_err *err)
{
	int64_t end = vns_monotonic_ns() + BUILD_TIMEOUT_MS * VNS_NSEC_PER_MSEC;
	struct pollfd p = { .fd = ctl, .events = POLLIN };

	while (vns_monotonic_ns() < end) {
		struct lab_msg m;

		if (o->interrupted && *o->interrupted)
			return vns_err_set(err, -EINTR, "interrupted");
		if (poll(&p, 1, 100) <= 0)
			continue;
		if (recv(ctl, &m, sizeof(m), 0) != sizeof(m))
			return vns_err_set(err, -EPIPE, "the holder of lab '%s' died", lab->name);
		lab->holder = m.holder;
		m.text[sizeof(m.text) - 1] = '\0';
		if (m.kind == LAB_MSG_UP)
			return 0;
		if (m.kind == LAB_MSG_ERROR)
			return vns_err_set(err, m.code, "%s", m.text);
		lab_say(o, "%s", m.text);
	}
	return vns_err_set(err, -ETIMEDOUT, "the network of lab '%s' was not ready after %d s",
			   lab->name, BUILD_TIMEOUT_MS / 1000);
}

static int commit(const struct vns_lab *lab, int ctl, bool tied, struct vns_err *err)
{
	struct lab_msg m = { .kind = LAB_MSG_COMMIT, .code = tied };
	int rc = vns_lab_save(lab, err);

	if (rc == 0 && send(ctl, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		rc = vns_err_set(err, -EPIPE, "the holder of lab '%s' died", lab->name);
	return rc;
}

static int start(struct vns_lab *lab, const struct lab_plan *plan, int lock,
		 struct vns_err *err)
{
	struct vns_lab_removed gone;
	int ctl = lab_holder_start(lab, plan, lock, err), rc;

	if (ctl < 0)
		return ctl;
	rc = await_holder(lab, plan->opts, ctl, err);
	if (rc == 0)
		rc = vns_lab_load(lab, lab->name, err);
	if (rc == 0)
		rc = lab_await_agents(lab, plan->opts, err);
	if (rc == 0) {
		lab->phase = VNS_LAB_RUNNING;
		rc = commit(lab, ctl, plan->opts->tie, err);
	}
	if (rc) {
		struct vns_lab recorded;

		/* What the holder wrote down last knows most of its children. */
		if (vns_lab_load(&recorded, lab->name, NULL) == 0)
			*lab = recorded;
		lab_remove(lab, false, &gone, NULL);
	}
	if (rc || !plan->opts->tie)
		close(ctl);
	else
		*plan->opts->tie = ctl;
	return rc;
}

/* Everything that can be missing is found missing here, before anything is started. */
static int make_plan(struct lab_plan *plan, struct vns_lab *lab, struct vns_err *err)
{
	int rc = vns_target_find_agent(plan->agent, sizeof(plan->agent), plan->opts->agent_path,
				       NULL, err);

	if (rc || lab->backend == VNS_LAB_NETNS)
		return rc;
	rc = lab_qemu_find(plan, err);
	if (rc == 0)
		rc = lab_kernel_find(plan, err);
	if (rc)
		return rc;
	snprintf(lab->kernel, sizeof(lab->kernel), "%s", plan->kernel);
	vns_lab_path(lab, "initrd", "cpio", plan->initrd);
	rc = lab_initramfs_build(plan, err);
	if (rc == 0)
		rc = lab_accel_choose(plan, lab, err);
	if (rc == 0)
		lab_say(plan->opts, "%s", lab->accel_why);
	return rc;
}

/* The folder is empty and locked by us: fill it, or leave it removed. */
static int start_fresh(struct vns_lab *lab, struct lab_plan *plan, int lock,
		       struct vns_err *err)
{
	struct vns_lab_removed gone;
	int rc = make_plan(plan, lab, err);

	if (rc)
		lab_remove(lab, false, &gone, NULL);
	return rc ? rc : start(lab, plan, lock, err);
}

int vns_lab_up(const struct vns_lab_opts *opts, struct vns_lab *out, struct vns_err *err)
{
	struct lab_plan plan = { .opts = opts };
	struct vns_lab old;
	int lock, rc = check_opts(opts, err);

	if (rc == 0)
		rc = lab_parse_offloads(opts->offloads, plan.offload_bits, opts->guests, err);
	if (rc == 0)
		rc = describe(out, opts, err);
	if (rc)
		return rc;
	lock = lab_lock(out, true, err);
	if (lock < 0)
		return lock;
	rc = look_around(out, &old, opts, err);
	if (rc == 1)
		*out = old;
	if (rc == 0)
		rc = start_fresh(out, &plan, lock, err);
	close(lock);
	return rc;
}
