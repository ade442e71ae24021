// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the next lab will find: cache folders -> kernel there?, last verdict on KVM. Reading only.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "lab/internal.h"

/* Newest kernel folder of @cache into @out; an earlier find stays when there is none. */
static void look_for_kernel(const char *cache, struct vns_lab_outlook *out)
{
	char best[128] = "";
	struct dirent *e;
	DIR *d = opendir(cache);

	while (d && (e = readdir(d)))
		if (strncmp(e->d_name, "kernel-", 7) == 0 && strverscmp(e->d_name, best) > 0)
			snprintf(best, sizeof(best), "%.127s", e->d_name);
	if (d)
		closedir(d);
	if (*best)
		snprintf(out->kernel, sizeof(out->kernel), "%.120s/%s", cache, best);
}

static bool read_line(FILE *f, char *buf, size_t len)
{
	if (!f || !fgets(buf, (int)len, f))
		return false;
	buf[strcspn(buf, "\n")] = '\0';
	return true;
}

/* accel.c's file: key (it opens with the boot id), "works" or "fails", reason. */
static void look_for_verdict(const char *cache, struct vns_lab_outlook *out)
{
	char path[VNS_LAB_PATH_LEN], boot[64] = "", key[640], word[16];
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	read_line(f, boot, sizeof(boot));
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "%.160s/kvm-verdict", cache);
	f = fopen(path, "re");
	if (*boot && read_line(f, key, sizeof(key)) && strncmp(key, boot, strlen(boot)) == 0 &&
	    read_line(f, word, sizeof(word))) {
		out->kvm_tried = true;
		out->kvm_works = strcmp(word, "works") == 0;
		if (!read_line(f, out->kvm_why, sizeof(out->kvm_why)))
			out->kvm_why[0] = '\0';
	}
	if (f)
		fclose(f);
}

void vns_lab_outlook(struct vns_lab_outlook *out)
{
	char own[VNS_LAB_PATH_LEN];

	*out = (struct vns_lab_outlook){ .kvm_tried = false };
	look_for_kernel(LAB_SYSTEM_CACHE, out);
	if (lab_cache_name(own, sizeof(own), NULL) == 0) {
		look_for_kernel(own, out);
		look_for_verdict(own, out);
	}
}
