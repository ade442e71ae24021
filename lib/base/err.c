// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Failure -> one sentence beside -errno: formatted once, where it is known what failed, and forwarded
 * unchanged by everybody above.
 */
#include <stdio.h>

#include <vnetscope/base.h>

int vns_err_set(struct vns_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}
