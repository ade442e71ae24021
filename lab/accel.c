// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * KVM or emulation? plan -> verdict and the reason in one sentence.
 *
 * That /dev/kvm opens proves little: inside some virtual machines stock kernels hang on it. So a
 * small guest is booted with KVM, once for each boot of this host, QEMU and kernel; the verdict
 * is kept in the cache folder. A guest counts as booting when its kernel says its first words
 * within 4 s and then reaches its init.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab/internal.h"

#define FIRST_WORDS_MS 4000  /* firmware and decompression take under 1 s with KVM */
#define REACH_INIT_MS  10000

struct verdict {
	char key[640];
	bool works;
	char why[160];
};

/* Length of the file's content that was read into @buf as text. */
static size_t slurp(const char *path, char *buf, size_t len)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(buf, 1, len - 1, f) : 0;

	if (f)
		fclose(f);
	buf[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (buf[i] == '\0')
			buf[i] = ' ';
	return n;
}

/* What the verdict depends on. */
static void make_key(const struct lab_plan *plan, char *key, size_t len)
{
	char boot[64];
	struct stat q = { 0 };

	slurp("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	boot[strcspn(boot, "\n")] = '\0';
	stat(plan->qemu, &q);
	snprintf(key, len, "%s %s %lld %.200s", boot, plan->qemu, (long long)q.st_mtime,
		 plan->kernel);
}

static bool recall(const char *path, struct verdict *v)
{
	char text[1024], *line, *save = NULL;

	slurp(path, text, sizeof(text));
	line = strtok_r(text, "\n", &save);
	if (!line || strcmp(line, v->key) != 0 || !(line = strtok_r(NULL, "\n", &save)))
		return false;
	v->works = strcmp(line, "works") == 0;
	line = strtok_r(NULL, "\n", &save);
	snprintf(v->why, sizeof(v->why), "%s", line ? line : "");
	return true;
}

/* A verdict that cannot be kept is found again next time. */
static void keep(const char *path, const struct verdict *v)
{
	char temp[VNS_LAB_PATH_LEN + 64];
	FILE *f;

	snprintf(temp, sizeof(temp), "%s.%d", path, (int)getpid());
	f = fopen(temp, "we");
	if (!f)
		return;
	fprintf(f, "%s\n%s\n%s\n", v->key, v->works ? "works" : "fails", v->why);
	if (fclose(f) || rename(temp, path))
		unlink(temp);
}

static pid_t start_probe(const struct lab_plan *plan, const char *serial, const char *log)
{
	char serial_arg[VNS_LAB_PATH_LEN + 8];
	pid_t parent = getpid(), pid;
	int fd;

	snprintf(serial_arg, sizeof(serial_arg), "file:%s", serial);
	pid = fork();
	if (pid)
		return pid;
	lab_child_setup(parent);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execl(plan->qemu, plan->qemu, "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "128",
	      "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-kernel",
	      plan->kernel, "-initrd", plan->initrd, "-append",
	      "console=ttyS0 earlyprintk=ttyS0 panic=-1 vns.probe=1", "-serial", serial_arg,
	      (char *)NULL);
	dprintf(2, "%s\n", strerror(errno));
	_exit(127);
}

/* Wait for @words in the console's file. Return: 0, -ETIMEDOUT, -ECHILD QEMU ended, -EINTR. */
static int await_words(pid_t pid, const char *serial, const char *words, int timeout_ms,
		       const volatile int *interrupted)
{
	int64_t end = vns_monotonic_ns() + timeout_ms * VNS_NSEC_PER_MSEC;
	char *text = malloc(1 << 18);
	int rc = -ETIMEDOUT, status;

	while (text && vns_monotonic_ns() < end) {
		slurp(serial, text, 1 << 18);
		if (strstr(text, words)) {
			rc = 0;
			break;
		}
		if (waitpid(pid, &status, WNOHANG) == pid) {
			rc = -ECHILD;
			break;
		}
		if (interrupted && *interrupted) {
			rc = -EINTR;
			break;
		}
		vns_sleep_ns(20 * VNS_NSEC_PER_MSEC);
	}
	free(text);
	return rc;
}

static void probe(const struct lab_plan *plan, const struct vns_lab *lab, struct verdict *v)
{
	char serial[VNS_LAB_PATH_LEN], log[VNS_LAB_PATH_LEN], words[120];
	pid_t pid;
	int rc;

	vns_lab_path(lab, "probe", "serial", serial);
	vns_lab_path(lab, "probe", "log", log);
	unlink(serial);
	pid = start_probe(plan, serial, log);
	rc = pid < 0 ? -errno : await_words(pid, serial, "Linux version", FIRST_WORDS_MS,
					    plan->opts->interrupted);
	if (rc == -ETIMEDOUT)
		snprintf(v->why, sizeof(v->why), "/dev/kvm exists but a guest did not boot within "
			 "%d s", FIRST_WORDS_MS / 1000);
	if (rc == 0) {
		rc = await_words(pid, serial, "Run /init", REACH_INIT_MS, plan->opts->interrupted);
		if (rc == -ETIMEDOUT)
			snprintf(v->why, sizeof(v->why), "a guest's kernel starts but does not "
				 "reach its init within %d s", REACH_INIT_MS / 1000);
	}
	v->works = rc == 0;
	if (rc == -ECHILD) {
		slurp(log, words, sizeof(words));
		words[strcspn(words, "\n")] = '\0';
		snprintf(v->why, sizeof(v->why), "QEMU ended at once: %s", words);
	} else if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	unlink(serial);
	unlink(log);
}

static void find_verdict(const struct lab_plan *plan, const struct vns_lab *lab,
			 struct verdict *v)
{
	char cache[VNS_LAB_PATH_LEN], path[VNS_LAB_PATH_LEN + 16];
	bool keeps;

	if (access("/dev/kvm", F_OK)) {
		snprintf(v->why, sizeof(v->why), "this machine has no /dev/kvm");
		return;
	}
	if (access("/dev/kvm", R_OK | W_OK)) {
		snprintf(v->why, sizeof(v->why), "no permission for /dev/kvm (join group kvm?)");
		return;
	}
	keeps = lab_cache_dir(cache, sizeof(cache), NULL) == 0;
	snprintf(path, sizeof(path), "%s/kvm-verdict", cache);
	make_key(plan, v->key, sizeof(v->key));
	if (keeps && recall(path, v))
		return;
	lab_say(plan->opts, "trying KVM with a small guest");
	probe(plan, lab, v);
	if (keeps && !(plan->opts->interrupted && *plan->opts->interrupted))
		keep(path, v);
}

int lab_accel_choose(struct lab_plan *plan, struct vns_lab *lab, struct vns_err *err)
{
	struct verdict v = { 0 };

	if (plan->opts->accel == VNS_LAB_ACCEL_TCG) {
		snprintf(v.why, sizeof(v.why), "emulation was asked for");
	} else {
		find_verdict(plan, lab, &v);
		if (plan->opts->interrupted && *plan->opts->interrupted)
			return vns_err_set(err, -EINTR, "interrupted");
		if (plan->opts->accel == VNS_LAB_ACCEL_KVM && !v.works)
			return vns_err_set(err, -ENODEV, "KVM was asked for, but %s", v.why);
	}
	plan->kvm = v.works;
	plan->vhost = v.works && access("/dev/vhost-net", R_OK | W_OK) == 0;
	snprintf(lab->accel, sizeof(lab->accel), "%s", v.works ? "kvm" : "tcg");
	if (v.works)
		snprintf(lab->accel_why, sizeof(lab->accel_why), "KVM: a guest boots with it%s",
			 plan->vhost ? "; vhost-net is used" : "");
	else
		snprintf(lab->accel_why, sizeof(lab->accel_why),
			 "TCG (emulation), so latencies are much larger than with KVM: %s", v.why);
	return 0;
}
