// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Target "NODE" or "lab:[LAB/]NODE": a guest of a running lab, its client, or its host.
 *
 * The agent is asked over the node's unix socket. A guest's virtio port serves one connection at
 * a time, so a lock file says who has it. The host's side lives in the holder's namespaces; a
 * rootless lab's can only be used from inside its user namespace, which this process then joins
 * for good, together with the lab's host namespace (setns(2) into one's parent is not allowed).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "target/internal.h"
#include "target/labstate.h"

#define HELLO_TIMEOUT_MS 10000
#define DEFAULT_LAB      "lab"
#define ASKED_NS         (20 * VNS_NSEC_PER_MSEC) /* between looks at a lock that is held for a moment */

static int running(struct vns_lab *lab, const char *name, struct vns_err *err)
{
	int rc = vns_lab_load(lab, name, err);

	if (rc == 0 && !vns_proc_alive(&lab->holder))
		rc = 1;
	if (rc > 0)
		return vns_err_set(err, -ENOENT, "lab '%s' is not running", name);
	return rc;
}

/* Without a lab's name: "lab", or the only one there is. */
static int find_lab(struct vns_lab *lab, const char *name, struct vns_err *err)
{
	char names[3][VNS_LAB_NAME_LEN];
	int n;

	if (name[0] || running(lab, DEFAULT_LAB, err) == 0)
		return running(lab, name[0] ? name : DEFAULT_LAB, err);
	n = vns_lab_names(names, 3, NULL);
	if (n == 1)
		return running(lab, names[0], err);
	if (n > 1)
		return vns_err_set(err, -ENOENT, "several labs are there (%s, %s%s): say which, lab:LAB/GUEST",
				   names[0], names[1], n > 2 ? ", ..." : "");
	return vns_err_set(err, -ENOENT, "no lab is running%s; start one with: vnetscope lab up", vns_lab_of_root());
}

static bool in_same_ns(int fd, const char *own_path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(own_path, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

static int open_host_side(struct vns_target *t, const struct vns_lab *lab, struct vns_err *err)
{
	if (lab->rootless) {
		t->host_userns_fd = vns_lab_open_ns(lab->holder.pid, "user");
		if (t->host_userns_fd < 0)
			return vns_err_set(err, t->host_userns_fd,
					   "cannot open the user namespace of lab '%s': %s",
					   lab->name, strerror(-t->host_userns_fd));
		if (!in_same_ns(t->host_userns_fd, "/proc/self/ns/user") &&
		    setns(t->host_userns_fd, CLONE_NEWUSER))
			return vns_err_set(err, -errno, "cannot enter the user namespace of lab "
					   "'%s': %s", lab->name, strerror(errno));
	}
	t->host_netns_fd = vns_lab_open_ns(lab->holder.pid, "net");
	if (t->host_netns_fd < 0)
		return vns_err_set(err, t->host_netns_fd, "cannot open the namespace of lab '%s': %s",
				   lab->name, strerror(-t->host_netns_fd));
	if (lab->rootless && setns(t->host_netns_fd, CLONE_NEWNET))
		return vns_err_set(err, -errno, "cannot enter the namespace of lab '%s': %s",
				   lab->name, strerror(errno));
	return 0;
}

struct held {
	int lock_fd;
	char ctl[VNS_LAB_PATH_LEN]; /* the agent's socket */
	struct vns_lab lab;
};

static void let_go(struct vns_target *t)
{
	struct held *h = t->priv;

	close(h->lock_fd);
	free(h);
}

/* What process @pid was started with ("vnetscope lab exec vm1 -- sleep 60"), as far as it fits. */
static bool words_of(const char *pid, char to[200])
{
	char path[96];
	FILE *f;
	size_t n;

	to[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%.63s/cmdline", pid);
	f = *pid ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	n = fread(to, 1, 199, f);
	fclose(f);
	for (size_t i = 0; i < n; i++)
		to[i] = to[i] ? to[i] : ' ';
	while (n && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
	return n > 0;
}

static int hold(struct vns_target *t, const struct vns_lab *lab, const char *node,
		struct vns_err *err)
{
	int64_t end = vns_monotonic_ns() + (VNS_LAB_ASK_MS + 500) * VNS_NSEC_PER_MSEC;
	char path[VNS_LAB_PATH_LEN], who[64] = "", what[200], self[16];
	struct held *h = malloc(sizeof(*h));
	int looks = 0;

	if (!h)
		return vns_err_set(err, -ENOMEM, "out of memory");
	snprintf(self, sizeof(self), "%d", (int)getpid());
	/* `lab status` has it for a moment; and one that has it just now has not written yet who it is */
	while ((h->lock_fd = vns_lab_lock(lab, node, self, who, sizeof(who))) == -EBUSY &&
	       (looks++ == 0 || (strcmp(who, VNS_LAB_ASKING) == 0 && vns_monotonic_ns() < end)))
		vns_sleep_ns(ASKED_NS);
	if (h->lock_fd < 0) {
		int rc = h->lock_fd;

		free(h);
		if (rc == -EBUSY && strcmp(who, VNS_LAB_ASKING) == 0)
			return vns_err_set(err, rc, "guest %s is being asked by `vnetscope lab status` again and "
					   "again: end that", node);
		if (rc == -EBUSY)
			return vns_err_set(err, rc, "guest %s is in use by another vnetscope (process %s%s%s): wait "
					   "for it or end it", node, who[0] ? who : "unknown",
					   words_of(who, what) ? ": " : "", what);
		return vns_err_set(err, rc, "cannot lock %s: %s", vns_lab_path(lab, node, "lock", path),
				   strerror(-rc));
	}
	vns_lab_path(lab, node, "ctl", h->ctl);
	h->lab = *lab;
	t->priv = h;
	t->close = let_go;
	return 0;
}

static int connect_agent(const struct vns_target *t, const char *path, int timeout_ms,
			 struct vns_agent **agent, struct vns_err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return vns_err_set(err, -ENAMETOOLONG, "socket path %s is too long", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		int rc = vns_err_set(err, -errno, "cannot reach the agent of %s at %s: %s", t->name,
				     path, strerror(errno));

		if (fd >= 0)
			close(fd);
		return rc;
	}
	return vns_agent_attach(agent, t->name, fd, fd, 0, timeout_ms, err);
}

/* A guest's QEMU keeps its socket over a reset; one that is restored listens at the same place. */
static int reconnect(void *ctx, int timeout_ms, struct vns_agent **agent, struct vns_err *err)
{
	struct vns_target *t = ctx;
	const struct held *h = t->priv;
	int rc;

	vns_agent_close(t->agent);
	t->agent = NULL;
	rc = connect_agent(t, h->ctl, timeout_ms, &t->agent, err);
	*agent = t->agent;
	return rc;
}

/* The guest's last line on its serial console. Return: is there one? */
static bool console(void *ctx, char *line, size_t size)
{
	struct vns_target *t = ctx;
	const struct held *h = t->priv;

	return vns_lab_serial_tail(&h->lab, t->name, line, size);
}

/* No page is no error: another clock mode serves then. */
static void map_shm(struct vns_target *t, const struct vns_lab *lab, const char *node)
{
	char path[VNS_LAB_PATH_LEN];
	int fd = open(vns_lab_shm_path(lab, node, path), O_RDWR | O_CLOEXEC);
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, VNS_LAB_SHM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	t->shm_page = p;
	t->shm_bytes = VNS_LAB_SHM_BYTES;
}

static void add_point(struct vns_target *t, enum vns_point_kind kind, const char *ifname)
{
	struct vns_host_point *p = &t->point[t->n_point++];

	p->kind = kind;
	snprintf(p->ifname, sizeof(p->ifname), "%s", ifname);
}

/* The client is seen from the bridge through the uplink, a guest through its tap. */
static void add_points(struct vns_target *t, const struct vns_lab *lab,
		       const struct vns_lab_node *node)
{
	if (node != &lab->client)
		add_point(t, VNS_AT_UPLINK, VNS_LAB_UPLINK);
	add_point(t, VNS_AT_BRIDGE, VNS_LAB_BRIDGE);
	add_point(t, VNS_AT_TAP, node->tap);
}

static int check_alive(const struct vns_lab *lab, const struct vns_lab_node *node,
		       struct vns_err *err)
{
	char why[160], line[200];

	if (vns_proc_alive(&node->proc))
		return 0;
	if (!vns_lab_node_exit(lab, node->name, why, sizeof(why)))
		snprintf(why, sizeof(why), "its process is gone");
	if (!vns_lab_serial_tail(lab, node->name, line, sizeof(line)))
		snprintf(line, sizeof(line), "none");
	return vns_err_set(err, -ESRCH, "guest %s of lab '%s' has ended: %s; last console line: %s",
			   node->name, lab->name, why, line);
}

static int open_node(struct vns_target *t, const struct vns_lab *lab, const char *name,
		     struct vns_err *err)
{
	const struct vns_lab_node *node = vns_lab_find_node(lab, name);
	char ctl[VNS_LAB_PATH_LEN];
	struct vns_agent *agent = NULL;
	struct vns_addr addr;
	int rc = 0;

	if (!node && strcmp(name, "host") != 0)
		return vns_err_set(err, -ENOENT, "lab '%s' has no '%s': there are vm1 to vm%u, "
				   "client and host", lab->name, name, lab->n_guest);
	snprintf(t->name, sizeof(t->name), "%s", name);
	if (node)
		rc = check_alive(lab, node, err);
	if (rc == 0)
		rc = open_host_side(t, lab, err);
	if (rc == 0 && lab->backend == VNS_LAB_QEMU && node && node != &lab->client)
		rc = hold(t, lab, name, err);
	if (rc == 0)
		rc = connect_agent(t, vns_lab_path(lab, name, "ctl", ctl), HELLO_TIMEOUT_MS, &agent, err);
	if (rc)
		return rc;
	vns_target_adopt(t, agent,
			 node && vns_addr_parse(node->ip, &addr) == 0 ? &addr : NULL);
	if (!node)
		return 0;
	add_points(t, lab, node);
	if (node != &lab->client && lab->backend == VNS_LAB_QEMU) {
		t->reconnect = reconnect;
		t->console = console;
		map_shm(t, lab, name);
		t->vmm_pid = node->proc.pid;
		t->is_tcg = strcmp(lab->accel, "tcg") == 0;
	}
	return 0;
}

int vns_target_open_lab(struct vns_target *t, const char *where, const char *agent_path,
			struct vns_err *err)
{
	const char *slash = strchr(where, '/');
	struct vns_lab *lab = malloc(sizeof(*lab));
	char name[VNS_LAB_NAME_LEN] = "";
	int rc;

	(void)agent_path; /* the lab's agents run already */
	if (!lab)
		return vns_err_set(err, -ENOMEM, "out of memory");
	if (slash && (slash == where || (size_t)(slash - where) >= sizeof(name)))
		rc = vns_err_set(err, -EINVAL, "'%s' is not LAB/NAME", where);
	else {
		if (slash)
			memcpy(name, where, (size_t)(slash - where));
		rc = find_lab(lab, name, err);
	}
	if (rc == 0)
		rc = open_node(t, lab, slash ? slash + 1 : where, err);
	free(lab);
	return rc;
}
