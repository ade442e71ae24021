// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A lab's folder -> struct vns_lab, and back. state.json is replaced by rename(2), so a reader
 * sees the old or the new one and a full disk leaves the old one.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target/labstate.h"

#define ROOT_DIR "/run/vnetscope" /* where root's labs are */
#define STATE_VERSION 1

/* Field 22 of /proc/PID/stat; the name in field 2 may hold blanks and parentheses. */
static int read_stat(pid_t pid, char *state, uint64_t *start)
{
	char path[64], buf[1024], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	buf[n] = '\0';
	p = strrchr(buf, ')');
	if (!p || !p[1])
		return -EPROTO;
	p += 2;
	*state = *p;
	for (int field = 3; field < 22; field++) {
		p = strchr(p, ' ');
		if (!p)
			return -EPROTO;
		p++;
	}
	*start = strtoull(p, NULL, 10);
	return 0;
}

struct vns_proc vns_proc_of(pid_t pid)
{
	struct vns_proc p = { .pid = pid };
	char state;

	if (pid <= 0 || read_stat(pid, &state, &p.start))
		p.start = 0;
	return p;
}

bool vns_proc_alive(const struct vns_proc *p)
{
	uint64_t start;
	char state;

	if (p->pid <= 0 || read_stat(p->pid, &state, &start))
		return false;
	return start == p->start && state != 'Z' && state != 'X';
}

bool vns_proc_stopped(const struct vns_proc *p)
{
	uint64_t start;
	char state;

	return p->pid > 0 && read_stat(p->pid, &state, &start) == 0 && start == p->start &&
	       (state == 'T' || state == 't');
}

bool vns_lab_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= VNS_LAB_NAME_LEN || name[0] == '-')
		return false;
	for (; *name; name++)
		if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) &&
		    *name != '-')
			return false;
	return true;
}

unsigned int vns_lab_uid(void)
{
	unsigned int inside, outside, n, uid = geteuid();
	char more[8];
	FILE *f = fopen("/proc/self/uid_map", "re");

	if (f && fscanf(f, "%u %u %u %7s", &inside, &outside, &n, more) == 3 && n == 1 &&
	    inside == uid)
		uid = outside;
	if (f)
		fclose(f);
	return uid;
}

int vns_lab_base_dir(char *buf, size_t len, struct vns_err *err)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (vns_lab_uid() == 0)
		n = snprintf(buf, len, ROOT_DIR);
	else if (xdg && xdg[0] == '/' && access(xdg, W_OK) == 0)
		n = snprintf(buf, len, "%s/vnetscope", xdg);
	else
		n = snprintf(buf, len, "/tmp/vnetscope-%u", vns_lab_uid());
	/* A socket's path holds 107 characters: folder, lab, "/client.ctl". */
	if (n < 0 || (size_t)n >= len || n > 70)
		return vns_err_set(err, -ENAMETOOLONG,
				   "the path of XDG_RUNTIME_DIR is too long for sockets in it");
	return 0;
}

int vns_lab_dir(const char *name, char *buf, size_t len, struct vns_err *err)
{
	char base[VNS_LAB_PATH_LEN];
	int rc;

	if (!vns_lab_name_ok(name))
		return vns_err_set(err, -EINVAL,
				   "'%s' is not a lab name: 1 to 16 of a-z, 0-9 and '-'", name);
	rc = vns_lab_base_dir(base, sizeof(base), err);
	if (rc)
		return rc;
	if ((size_t)snprintf(buf, len, "%s/%s", base, name) >= len)
		return vns_err_set(err, -ENAMETOOLONG, "path of lab '%s' is too long", name);
	return 0;
}

const char *vns_lab_path(const struct vns_lab *lab, const char *node, const char *suffix,
			 char *buf)
{
	if ((size_t)snprintf(buf, VNS_LAB_PATH_LEN, "%s/%s.%s", lab->dir, node, suffix) >=
	    VNS_LAB_PATH_LEN)
		buf[0] = '\0';
	return buf;
}

const char *vns_lab_shm_path(const struct vns_lab *lab, const char *node, char *buf)
{
	snprintf(buf, VNS_LAB_PATH_LEN, "/dev/shm/vnetscope-%u-%s-%s", lab->uid, lab->name,
		 node);
	return buf;
}

static void get_string(const json_t *o, const char *key, char *buf, size_t len)
{
	const char *s = json_string_value(json_object_get(o, key));

	snprintf(buf, len, "%s", s ? s : "");
}

static void get_proc(const json_t *o, struct vns_proc *p)
{
	p->pid = (pid_t)json_integer_value(json_object_get(o, "pid"));
	p->start = (uint64_t)json_integer_value(json_object_get(o, "start"));
}

static json_t *node_to_json(const struct vns_lab *lab, const struct vns_lab_node *n)
{
	char ctl[VNS_LAB_PATH_LEN], shm[VNS_LAB_PATH_LEN];

	return json_pack("{s:s s:i s:I s:s s:s s:s s:s s:s s:s s:s s:s s:s}", "name", n->name,
			 "pid", (int)n->proc.pid, "start", (json_int_t)n->proc.start, "mac",
			 n->mac, "ip", n->ip, "ip6", n->ip6, "tap", n->tap, "agent_version",
			 n->agent_version, "clocksource", n->clocksource, "kernel", n->kernel,
			 "ctl", vns_lab_path(lab, n->name, "ctl", ctl), "shm",
			 vns_lab_shm_path(lab, n->name, shm));
}

static void node_from_json(const json_t *o, struct vns_lab_node *n)
{
	get_string(o, "name", n->name, sizeof(n->name));
	get_proc(o, &n->proc);
	get_string(o, "mac", n->mac, sizeof(n->mac));
	get_string(o, "ip", n->ip, sizeof(n->ip));
	get_string(o, "ip6", n->ip6, sizeof(n->ip6));
	get_string(o, "tap", n->tap, sizeof(n->tap));
	get_string(o, "agent_version", n->agent_version, sizeof(n->agent_version));
	get_string(o, "clocksource", n->clocksource, sizeof(n->clocksource));
	get_string(o, "kernel", n->kernel, sizeof(n->kernel));
}

static json_t *lab_to_json(const struct vns_lab *lab)
{
	json_t *guests = json_array();

	for (unsigned int i = 0; i < lab->n_guest; i++)
		json_array_append_new(guests, node_to_json(lab, &lab->guest[i]));
	return json_pack("{s:i s:s s:s s:s s:b s:{s:i s:I} s:o s:o s:i s:i s:i s:s s:s s:s s:s s:s s:I}",
			 "version", STATE_VERSION, "name", lab->name, "phase",
			 lab->phase == VNS_LAB_RUNNING ? "running" : "starting", "backend",
			 lab->backend == VNS_LAB_NETNS ? "netns" : "qemu", "rootless",
			 (int)lab->rootless, "holder", "pid", (int)lab->holder.pid, "start",
			 (json_int_t)lab->holder.start, "client", node_to_json(lab, &lab->client),
			 "guests", guests, "vcpus", (int)lab->vcpus, "memory_mb",
			 (int)lab->memory_mb, "queues", (int)lab->queues, "accel", lab->accel, "accel_why", lab->accel_why,
			 "offloads", lab->offloads, "with", lab->with, "kernel", lab->kernel, "started_ns",
			 (json_int_t)lab->started_ns);
}

static void lab_from_json(const json_t *o, struct vns_lab *lab)
{
	const json_t *guests = json_object_get(o, "guests");
	char word[16];

	get_string(o, "phase", word, sizeof(word));
	lab->phase = strcmp(word, "running") == 0 ? VNS_LAB_RUNNING : VNS_LAB_STARTING;
	get_string(o, "backend", word, sizeof(word));
	lab->backend = strcmp(word, "netns") == 0 ? VNS_LAB_NETNS : VNS_LAB_QEMU;
	lab->rootless = json_is_true(json_object_get(o, "rootless"));
	get_proc(json_object_get(o, "holder"), &lab->holder);
	node_from_json(json_object_get(o, "client"), &lab->client);
	for (size_t i = 0; i < json_array_size(guests) && i < VNS_LAB_MAX_GUESTS; i++)
		node_from_json(json_array_get(guests, i), &lab->guest[lab->n_guest++]);
	lab->vcpus = (unsigned int)json_integer_value(json_object_get(o, "vcpus"));
	lab->memory_mb = (unsigned int)json_integer_value(json_object_get(o, "memory_mb"));
	lab->queues = (unsigned int)json_integer_value(json_object_get(o, "queues"));
	get_string(o, "accel", lab->accel, sizeof(lab->accel));
	get_string(o, "accel_why", lab->accel_why, sizeof(lab->accel_why));
	get_string(o, "offloads", lab->offloads, sizeof(lab->offloads));
	get_string(o, "with", lab->with, sizeof(lab->with));
	get_string(o, "kernel", lab->kernel, sizeof(lab->kernel));
	lab->started_ns = json_integer_value(json_object_get(o, "started_ns"));
}

const char *vns_lab_of_root(void)
{
	/* the folder goes with the last lab in it; what is in it root alone can see */
	return vns_lab_uid() != 0 && access(ROOT_DIR, F_OK) == 0 ?
	       " (root has a lab, in " ROOT_DIR ": it takes root to see and use it)" : "";
}

int vns_lab_load(struct vns_lab *lab, const char *name, struct vns_err *err)
{
	char path[VNS_LAB_PATH_LEN] = "", own_name[VNS_LAB_NAME_LEN] = "";
	json_t *root;
	int rc;

	snprintf(own_name, sizeof(own_name), "%s", name); /* @name may be lab->name */
	rc = vns_lab_dir(name, path, sizeof(path), err);
	if (rc)
		return rc;
	memset(lab, 0, sizeof(*lab));
	lab->uid = vns_lab_uid();
	memcpy(lab->dir, path, sizeof(lab->dir));
	memcpy(lab->name, own_name, sizeof(lab->name));
	name = lab->name;
	if (access(lab->dir, F_OK) != 0)
		return vns_err_set(err, -ENOENT, "there is no lab '%s'%s; start one with: vnetscope lab up", name,
				   vns_lab_of_root());
	root = json_load_file(vns_lab_path(lab, "state", "json", path), 0, NULL);
	if (!root || json_integer_value(json_object_get(root, "version")) != STATE_VERSION) {
		json_decref(root);
		return vns_err_set(err, 1, "lab '%s' has no readable state in %s", name, lab->dir);
	}
	lab_from_json(root, lab);
	json_decref(root);
	return 0;
}

int vns_lab_save(const struct vns_lab *lab, struct vns_err *err)
{
	char path[VNS_LAB_PATH_LEN], temp[VNS_LAB_PATH_LEN];
	json_t *root = lab_to_json(lab);
	int rc = 0;

	if (!root)
		return vns_err_set(err, -ENOMEM, "no memory for the state of lab '%s'", lab->name);
	vns_lab_path(lab, "state", "json", path);
	vns_lab_path(lab, "state", "json.new", temp);
	errno = 0;
	if (json_dump_file(root, temp, JSON_INDENT(1)) || rename(temp, path)) {
		rc = errno ? -errno : -EIO;
		vns_err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
		unlink(temp);
	}
	json_decref(root);
	return rc;
}

int vns_lab_names(char (*names)[VNS_LAB_NAME_LEN], size_t max, struct vns_err *err)
{
	char base[VNS_LAB_PATH_LEN];
	struct dirent *e;
	size_t n = 0;
	DIR *d;
	int rc = vns_lab_base_dir(base, sizeof(base), err);

	if (rc)
		return rc;
	d = opendir(base);
	if (!d)
		return errno == ENOENT ? 0 :
			vns_err_set(err, -errno, "cannot read %s: %s", base, strerror(errno));
	while (n < max && (e = readdir(d)))
		if (e->d_type == DT_DIR && vns_lab_name_ok(e->d_name))
			snprintf(names[n++], VNS_LAB_NAME_LEN, "%.16s", e->d_name);
	closedir(d);
	return (int)n;
}

const struct vns_lab_node *vns_lab_find_node(const struct vns_lab *lab, const char *name)
{
	if (strcmp(name, lab->client.name) == 0)
		return &lab->client;
	for (unsigned int i = 0; i < lab->n_guest; i++)
		if (strcmp(name, lab->guest[i].name) == 0)
			return &lab->guest[i];
	return NULL;
}

bool vns_lab_node_plugged(const struct vns_lab *lab, const struct vns_lab_node *node)
{
	char path[64], line[256], name[64];
	bool found = false;
	FILE *f;

	/* The holder's network namespace is the lab's host, and this needs no way into it. */
	snprintf(path, sizeof(path), "/proc/%d/net/dev", (int)lab->holder.pid);
	f = fopen(path, "re");
	if (!f)
		return true; /* nothing is known against it */
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %63[^: ]:", name) == 1 && strcmp(name, node->tap) == 0;
	fclose(f);
	return found;
}

/* The file's last @len - 1 bytes. Return: bytes read, or 0. */
static size_t read_tail(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0) {
		off_t from = st.st_size > (off_t)len - 1 ? st.st_size - (off_t)len + 1 : 0;

		n = pread(fd, buf, len - 1, from);
	}
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

bool vns_lab_node_exit(const struct vns_lab *lab, const char *node, char *buf, size_t len)
{
	char path[VNS_LAB_PATH_LEN];

	return read_tail(vns_lab_path(lab, node, "exit", path), buf, len) > 0;
}

bool vns_lab_serial_tail(const struct vns_lab *lab, const char *node, char *buf, size_t len)
{
	char path[VNS_LAB_PATH_LEN], tail[2048];
	size_t n = read_tail(vns_lab_path(lab, node, "serial", path), tail, sizeof(tail));
	char *line;

	for (size_t i = 0; i < n; i++)
		if (tail[i] != '\n' && !isprint((unsigned char)tail[i]))
			tail[i] = ' ';
	while (n > 0 && isspace((unsigned char)tail[n - 1]))
		tail[--n] = '\0';
	if (n == 0)
		return false;
	line = strrchr(tail, '\n');
	snprintf(buf, len, "%s", line ? line + 1 : tail);
	return true;
}

int vns_lab_lock(const struct vns_lab *lab, const char *node, const char *as, char *who, size_t len)
{
	char path[VNS_LAB_PATH_LEN];
	int fd = open(vns_lab_path(lab, node, "lock", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		n = pread(fd, who, len - 1, 0);
		who[n > 0 ? n : 0] = '\0';
		rc = -EBUSY;
	} else if (ftruncate(fd, 0) || dprintf(fd, "%s", as) < 0) {
		rc = -errno;
	}
	if (rc)
		close(fd);
	return rc ? rc : fd;
}

int vns_lab_open_ns(pid_t pid, const char *which)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, which);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
