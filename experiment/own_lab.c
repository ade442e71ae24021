// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A lab for the time of one experiment: options -> lab, and nothing left of it.
 *
 * The lab's holder keeps the socket over which it was started; when that closes, because the
 * experiment is over or was killed, the holder removes the lab.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "experiment/own_lab.h"

int own_lab_open(struct own_lab *r, const struct vns_lab_opts *opts, unsigned int guests, bool keep,
	      struct vns_err *err)
{
	struct vns_lab_opts o = *opts;
	int code;

	r->opts = opts;
	r->tie = -1;
	o.guests = guests;
	o.tie = keep ? NULL : &r->tie;
	code = vns_lab_up(&o, &r->lab, err);
	if (code > 0)
		return vns_err_set(err, -EBUSY, "a lab named '%s' is running; end it with vnetscope lab down "
				   "--name %s", o.name, o.name);
	return code;
}

int own_lab_close(struct own_lab *r, int code, struct vns_err *err)
{
	struct vns_lab_removed removed;
	struct vns_err down_err = { "" };

	if (r->tie < 0)
		return code;
	own_lab_say(r, "Removing the lab");
	if (vns_lab_down(r->lab.name, &removed, &down_err) < 0 && !code)
		code = vns_err_set(err, -EIO, "the lab could not be removed: %s", down_err.text);
	close(r->tie);
	return code;
}

void own_lab_say(const struct own_lab *r, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!r->opts->progress)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	r->opts->progress(r->opts->ctx, line);
}

bool own_lab_stopped(const struct own_lab *r)
{
	return r->opts->interrupted && *r->opts->interrupted;
}

void own_lab_host(char *to, size_t size)
{
	struct utsname u;

	if (uname(&u) == 0)
		snprintf(to, size, "Host: Linux %s, %s, %ld CPUs.", u.release, u.machine,
			 sysconf(_SC_NPROCESSORS_ONLN));
}
