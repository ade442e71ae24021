// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Error sentences: format once where the failure is known, forward unchanged.
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
