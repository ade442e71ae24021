// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Enumerators of measurements -> the stable names that JSON, CSV and text use.
 */
#include <vnetscope/measure.h>

const char *vns_point_kind_name(enum vns_point_kind k)
{
	static const char *const names[] = { "uplink", "bridge", "tap", "other" };

	return (unsigned)k < sizeof(names) / sizeof(names[0]) ? names[k] : "other";
}
