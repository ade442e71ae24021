// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vns-gencap: options -> captures with known truth. Modes: rtt (one capture point between
 * clients and servers).
 */
#include <string.h>

#include "gencap.h"

int main(int argc, char **argv)
{
	struct gc_opts o;
	int skip = 1 + (argc > 1 && strcmp(argv[1], "rtt") == 0);

	if (gc_parse(&o, argc - skip, argv + skip, false))
		return 0;
	return gc_run_rtt(&o);
}
