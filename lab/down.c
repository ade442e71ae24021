// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Remove a lab, alive or dead: recorded state -> nothing left.
 *
 * The same steps serve `down`, an `up` that finds remains and a holder that gives up, so the path
 * after a crash is the one that always runs. Processes are ended only when pid and start time are
 * those recorded. While the holder lives its namespaces are certainly ours, so foreign processes
 * in them (commands started by `lab exec`) are ended too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/internal.h"

#define LOCK_WAIT_MS 60000 /* for another `up` or `down`: as long as one may take to build a network (up.c) */

static int make_folder(const char *path, struct vns_err *err)
{
	struct stat st;

	if (mkdir(path, 0700) && errno != EEXIST)
		return vns_err_set(err, -errno, "cannot create %s: %s", path, strerror(errno));
	if (lstat(path, &st)) /* -EAGAIN: somebody removed it just now */
		return vns_err_set(err, errno == ENOENT ? -EAGAIN : -errno, "cannot look at %s: %s",
				   path, strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return vns_err_set(err, -EPERM, "%s is not a folder of yours", path);
	return 0;
}

/* The folder may have been removed by another process while we waited for its lock. */
static bool is_current(int fd, const char *dir)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(dir, &b) == 0 && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

int lab_lock(const struct vns_lab *lab, bool create, struct vns_err *err)
{
	int64_t end = vns_monotonic_ns() + LOCK_WAIT_MS * VNS_NSEC_PER_MSEC;
	char base[VNS_LAB_PATH_LEN];
	int fd, rc;

	do {
		if (create) {
			rc = vns_lab_base_dir(base, sizeof(base), err);
			if (!rc)
				rc = make_folder(base, err);
			if (!rc && (rc = make_folder(lab->dir, err)) == -ENOENT)
				rc = -EAGAIN; /* the end of another lab, the last, took base along */
			if (rc && rc != -EAGAIN)
				return rc;
		}
		fd = open(lab->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && (errno != ENOENT || !create))
			return vns_err_set(err, -errno, "cannot open %s: %s", lab->dir,
					   strerror(errno));
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && is_current(fd, lab->dir))
			return fd;
		if (fd >= 0)
			close(fd);
		vns_sleep_ns(20 * VNS_NSEC_PER_MSEC);
	} while (vns_monotonic_ns() < end);
	return vns_err_set(err, -EBUSY, "another vnetscope is starting or removing lab '%s'",
			   lab->name);
}

bool vns_lab_busy(const struct vns_lab *lab)
{
	int fd = open(lab->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool busy = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return busy;
}

static void end_proc(const struct vns_proc *p)
{
	if (p->pid > 1 && vns_proc_alive(p))
		kill(p->pid, SIGKILL);
}

static bool ns_id(pid_t pid, char *buf, size_t len)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	n = readlink(path, buf, len - 1);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* Is @pid this process or one it descends from? */
static bool is_ancestor(pid_t pid)
{
	char path[64], line[256];
	pid_t p = getpid();

	while (p > 1 && p != pid) {
		FILE *f;
		int up = 0;

		snprintf(path, sizeof(path), "/proc/%d/status", (int)p);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "PPid: %d", &up) == 1)
				break;
		if (f)
			fclose(f);
		p = up;
	}
	return p == pid;
}

static const struct vns_proc *proc_at(const struct vns_lab *lab, unsigned int i)
{
	if (i == 0)
		return &lab->holder;
	return i == 1 ? &lab->client.proc : &lab->guest[i - 2].proc;
}

static bool is_recorded(const struct vns_lab *lab, pid_t pid)
{
	for (unsigned int i = 0; i < lab->n_guest + 2; i++)
		if (proc_at(lab, i)->pid == pid)
			return true;
	return false;
}

/* End whatever else runs in the namespace of @of. Only called while @of is alive. */
static void end_visitors(const struct vns_lab *lab, const struct vns_proc *of, unsigned int *n)
{
	char home[64], other[64], own[64];
	struct dirent *e;
	DIR *d;

	if (!vns_proc_alive(of) || !ns_id(of->pid, home, sizeof(home)) ||
	    !ns_id(getpid(), own, sizeof(own)) || strcmp(home, own) == 0)
		return;
	d = opendir("/proc");
	while (d && (e = readdir(d))) {
		pid_t pid = (pid_t)atoi(e->d_name);

		if (pid <= 1 || is_recorded(lab, pid) || !ns_id(pid, other, sizeof(other)) ||
		    strcmp(home, other) != 0 || is_ancestor(pid))
			continue;
		if (kill(pid, SIGKILL) == 0)
			(*n)++;
	}
	if (d)
		closedir(d);
}

static void unlink_counted(const char *path, unsigned int *n)
{
	if (unlink(path) == 0)
		(*n)++;
}

/* /dev/shm/vnetscope-UID-LAB-NODE, also of guests that no state knows of. */
static void remove_shm(const struct vns_lab *lab, unsigned int *n)
{
	char prefix[VNS_LAB_PATH_LEN], path[VNS_LAB_PATH_LEN];
	struct dirent *e;
	size_t len;
	DIR *d;

	vns_lab_shm_path(lab, "vm", prefix);
	len = strlen(prefix) - strlen("/dev/shm/");
	d = opendir("/dev/shm");
	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, prefix + strlen("/dev/shm/"), len) == 0 &&
		    strspn(e->d_name + len, "0123456789") == strlen(e->d_name + len) &&
		    (size_t)snprintf(path, sizeof(path), "/dev/shm/%s", e->d_name) < sizeof(path))
			unlink_counted(path, n);
	if (d)
		closedir(d);
}

static int empty_folder(const struct vns_lab *lab, bool keep, unsigned int *n, struct vns_err *err)
{
	char path[2 * VNS_LAB_PATH_LEN];
	struct dirent *e;
	DIR *d = opendir(lab->dir);

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			snprintf(path, sizeof(path), "%s/%s", lab->dir, e->d_name);
			unlink_counted(path, n);
		}
	if (d)
		closedir(d);
	if (keep)
		return 0;
	if (rmdir(lab->dir) && errno != ENOENT)
		return vns_err_set(err, -errno, "cannot remove %s: %s", lab->dir, strerror(errno));
	/* the folder above goes with its last lab */
	if (vns_lab_base_dir(path, sizeof(path), err) == 0)
		rmdir(path);
	return 0;
}

int lab_remove(const struct vns_lab *lab, bool keep_folder, struct vns_lab_removed *out,
	       struct vns_err *err)
{
	unsigned int n_proc = lab->n_guest + 2;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->was_alive = vns_proc_alive(&lab->holder);
	for (unsigned int i = 0; i < n_proc && out->was_alive; i++)
		if (i != 2 || lab->backend == VNS_LAB_NETNS)
			end_visitors(lab, proc_at(lab, i), &out->processes);
	/* Count first: the holder's end takes the others along. */
	for (unsigned int i = 0; i < n_proc; i++)
		out->processes += vns_proc_alive(proc_at(lab, i));
	for (unsigned int i = 0; i < n_proc; i++)
		end_proc(proc_at(lab, i));
	for (unsigned int i = 0; i < n_proc; i++)
		if (!lab_wait_gone(proc_at(lab, i), 5000))
			rc = vns_err_set(err, -EBUSY, "process %d of lab '%s' does not end",
					 (int)proc_at(lab, i)->pid, lab->name);
	if (rc)
		return rc;
	remove_shm(lab, &out->files);
	return empty_folder(lab, keep_folder, &out->files, err);
}

int vns_lab_down(const char *name, struct vns_lab_removed *out, struct vns_err *err)
{
	struct vns_lab lab;
	int rc, lock;

	memset(out, 0, sizeof(*out));
	memset(&lab, 0, sizeof(lab));
	rc = vns_lab_dir(name, lab.dir, sizeof(lab.dir), err);
	if (rc)
		return rc;
	snprintf(lab.name, sizeof(lab.name), "%s", name);
	lab.uid = vns_lab_uid();
	lock = lab_lock(&lab, false, err);
	if (lock == -ENOENT) {
		remove_shm(&lab, &out->files);
		return out->files ? 0 : 1;
	}
	if (lock < 0)
		return lock;
	rc = vns_lab_load(&lab, name, err);
	if (rc >= 0)
		rc = lab_remove(&lab, false, out, err);
	close(lock);
	return rc;
}
