// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * vns-gencap: options -> captures with known truth. Two modes: rtt (one capture point between
 * clients and servers) and twin (the same traffic at a host and in its guest).
 */
#include <string.h>

#include "gencap.h"

int main(int argc, char **argv)
{
	struct gc_opts o;
	bool twin = argc > 1 && strcmp(argv[1], "twin") == 0;
	int skip = 1 + (twin || (argc > 1 && strcmp(argv[1], "rtt") == 0));

	if (gc_parse(&o, argc - skip, argv + skip, twin))
		return 0;
	return twin ? gc_run_twin(&o) : gc_run_rtt(&o);
}
