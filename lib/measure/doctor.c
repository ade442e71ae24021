// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Examination of this machine: the lists, and facts about processors and kernel.
 * in: the machine as it is; out: struct vns_doctor. Nothing is changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "measure/doctor.h"

const char *vns_doctor_verdict_name(enum vns_doctor_verdict v)
{
	static const char *const names[] = { "no", "partly", "yes", "info" };

	return (unsigned int)v < sizeof(names) / sizeof(names[0]) ? names[v] : "info";
}

void vns_doctor_add(struct vns_doctor *d, const char *group, const char *name,
		    enum vns_doctor_verdict verdict, unsigned int essential, const char *fmt, ...)
{
	struct vns_doctor_item *grown, *i;
	va_list ap;

	grown = realloc(d->item, (d->n_item + 1) * sizeof(*grown));
	if (!grown) {
		d->failed = true;
		return;
	}
	d->item = grown;
	i = &grown[d->n_item++];
	*i = (struct vns_doctor_item){ .verdict = verdict, .essential = essential };
	snprintf(i->group, sizeof(i->group), "%s", group);
	snprintf(i->name, sizeof(i->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(i->detail, sizeof(i->detail), fmt, ap);
	va_end(ap);
}

void vns_doctor_add_precision(struct vns_doctor *d, enum vns_clock_mode mode, double error_ns,
			      const char *fmt, ...)
{
	struct vns_doctor_precision *p = NULL;
	va_list ap;

	for (size_t k = 0; k < d->n_precision; k++)
		if (d->precision[k].mode == mode)
			p = &d->precision[k];
	if (!p && d->n_precision == VNS_CLOCK_MODES)
		return;
	if (!p)
		p = &d->precision[d->n_precision++];
	p->mode = mode;
	p->error_ns = error_ns;
	va_start(ap, fmt);
	vsnprintf(p->origin, sizeof(p->origin), fmt, ap);
	va_end(ap);
}

const struct vns_doctor_item *vns_doctor_missing(const struct vns_doctor *d, unsigned int purpose)
{
	for (size_t k = 0; k < d->n_item; k++)
		if (d->item[k].verdict == VNS_DOCTOR_NO && (d->item[k].essential & purpose))
			return &d->item[k];
	return NULL;
}

char *vns_doctor_read(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	buf[0] = '\0';
	if (!f)
		return buf;
	if (fgets(buf, (int)size, f))
		buf[strcspn(buf, "\n")] = '\0';
	fclose(f);
	return buf;
}

/* True when /proc/cpuinfo's flags of the first CPU have @flag. */
static bool cpu_flag(const char *flag)
{
	char line[8192], padded[64];
	FILE *f = fopen("/proc/cpuinfo", "re");
	bool found = false;

	snprintf(padded, sizeof(padded), " %s ", flag);
	while (f && !found && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = ' ';
		found = strncmp(line, "flags", 5) == 0 && strstr(line, padded);
	}
	if (f)
		fclose(f);
	return found;
}

/* What a processor does when it has nothing to do: how long it takes to wake is in every idle guest's latency. */
static void examine_idle(struct vns_doctor *d)
{
	char driver[64], governor[64];

	vns_doctor_read("/sys/devices/system/cpu/cpuidle/current_driver", driver, sizeof(driver));
	vns_doctor_read("/sys/devices/system/cpu/cpuidle/current_governor", governor, sizeof(governor));
	if (*driver && strcmp(driver, "none") != 0)
		vns_doctor_add(d, "machine", "idle_states", VNS_DOCTOR_INFO, 0, "cpuidle driver %s, governor %s: a "
			       "guest that is seldom spoken to also waits for a processor to wake", driver,
			       *governor ? governor : "none");
	else
		vns_doctor_add(d, "machine", "idle_states", VNS_DOCTOR_INFO, 0, "no cpuidle driver: an idle "
			       "processor halts%s", cpu_flag("hypervisor") ?
			       ", here to the host of this machine, which wakes it" : "");
}

static void examine_cpus(struct vns_doctor *d)
{
	char governor[64], isolated[128];
	struct utsname u;

	if (uname(&u) == 0)
		vns_doctor_add(d, "machine", "kernel", VNS_DOCTOR_INFO, 0, "%s %s on %s", u.sysname,
			       u.release, u.machine);
	vns_doctor_add(d, "machine", "cpus", VNS_DOCTOR_INFO, 0, "%ld online%s",
		       sysconf(_SC_NPROCESSORS_ONLN),
		       cpu_flag("hypervisor") ? "; this machine is itself a virtual one" : "");
	vns_doctor_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor,
			sizeof(governor));
	if (!*governor)
		vns_doctor_add(d, "machine", "governor", VNS_DOCTOR_INFO, 0,
			       "no frequency control is visible");
	else
		vns_doctor_add(d, "machine", "governor",
			       strcmp(governor, "performance") == 0 ? VNS_DOCTOR_YES :
								      VNS_DOCTOR_PARTLY, 0,
			       "%s%s", governor, strcmp(governor, "performance") == 0 ? "" :
			       ": changing frequencies spread latencies; 'performance' is steadier");
	examine_idle(d);
	vns_doctor_read("/sys/devices/system/cpu/isolated", isolated, sizeof(isolated));
	vns_doctor_add(d, "machine", "isolation", VNS_DOCTOR_INFO, 0, "isolated CPUs: %s",
		       *isolated ? isolated : "none");
}

void vns_doctor_examine(struct vns_doctor *out)
{
	memset(out, 0, sizeof(*out));
	examine_cpus(out);
	vns_doctor_guests(out);
	vns_doctor_capture(out);
	vns_doctor_clock(out);
	vns_doctor_noise(out);
	vns_doctor_links(out);
}

void vns_doctor_fini(struct vns_doctor *d)
{
	struct vns_dist *all[] = { &d->clock_read, &d->oversleep, &d->stamp, &d->wakeup,
				   &d->channel };

	for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
		vns_dist_fini(all[k]);
	free(d->item);
	free(d->link);
	memset(d, 0, sizeof(*d));
}
