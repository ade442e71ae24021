// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Options: argv -> struct gc_opts by one table, from which the usage text derives too.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gencap.h"

enum type { FLAG, TEXT, WHOLE, SIGNED, SNAP, REAL, PERCENT, RANGE };
enum where { BOTH, RTT, TWIN };

struct option_row {
	const char *name, *arg;
	enum type type;
	enum where where;
	size_t at;
	double min, max;
	const char *help;
};

#define AT(field) offsetof(struct gc_opts, field)

static const struct option_row rows[] = {
	{ "out", "FILE", TEXT, RTT, AT(out), 0, 0, "capture to write ('-': standard output)" },
	{ "host", "FILE", TEXT, TWIN, AT(host), 0, 0, "capture at the host" },
	{ "guest", "FILE", TEXT, TWIN, AT(guest), 0, 0, "capture in the guest" },
	{ "truth", "FILE", TEXT, BOTH, AT(truth), 0, 0, "truth, as CSV" },
	{ "seed", "N", WHOLE, BOTH, AT(seed), 0, 1e18, "same seed, same bytes (1)" },
	{ "flows", "N", WHOLE, BOTH, AT(flows), 1, 1e8, "flows (rtt 1000, twin 40)" },
	{ "packets", "N", WHOLE, BOTH, AT(packets), 1, 1e11,
	  "packets to write, about; never more (rtt 100000; twin, at the sender, 20000)" },
	{ "duration", "SECONDS", REAL, BOTH, AT(duration_s), 0.01, 1e6,
	  "length of the capture, about (rtt 60, twin 10)" },
	{ "start", "SECONDS", SIGNED, BOTH, AT(start_s), 0, 4e9, "epoch of the first second" },
	{ "snap", "BYTES", SNAP, BOTH, AT(snap), 1, 262144, "bytes kept of each frame (262144)" },
	{ "nanosecond", NULL, FLAG, BOTH, 0, 0, 0, "nanosecond stamps (default)" },
	{ "microsecond", NULL, FLAG, BOTH, AT(micro), 0, 0, "microsecond stamps, cut not rounded" },
	{ "pcapng", NULL, FLAG, BOTH, AT(pcapng), 0, 0, "write pcapng" },
	{ "zero-checksum", NULL, FLAG, BOTH, AT(zero_checksum), 0, 0,
	  "leave TCP and UDP checksums zero" },
	{ "ipv6", "PCT", PERCENT, BOTH, AT(ipv6), 0, 100, "share of flows over IPv6 (20)" },
	{ "vlan", "PCT", PERCENT, BOTH, AT(vlan), 0, 100,
	  "share of flows with a VLAN tag; twin: tagged at the host only (10)" },
	{ "udp", "PCT", PERCENT, BOTH, AT(udp), 0, 100, "share of UDP flows (5; twin 25)" },
	{ "icmp", "PCT", PERCENT, BOTH, AT(icmp), 0, 100, "share of ICMP echo flows (2; twin 15)" },
	{ "loss", "PCT", PERCENT, BOTH, AT(loss), 0, 50,
	  "loss on either side of the capture point; twin: between the points (0.5)" },
	{ "reorder", "PCT", PERCENT, BOTH, AT(reorder), 0, 100, "segments let out of line (0)" },
	{ "no-ts", "PCT", PERCENT, RTT, AT(no_ts), 0, 100, "TCP flows without timestamps (5)" },
	{ "sack", NULL, FLAG, BOTH, AT(sack), 0, 0,
	  "SACK blocks; rtt: Q lines in the truth: which segment caused each ACK; twin: a segment sent twice "
	  "tells that its sender had heard more" },
	{ "one-way", "PCT", PERCENT, RTT, AT(one_way), 0, 100,
	  "flows of which one direction is captured (5)" },
	{ "rtt-left", "US[:US]", RANGE, RTT, AT(rtt_left_us), 1, 1e7,
	  "round trip client to capture point, microseconds, log-uniform (200:80000)" },
	{ "rtt-right", "US[:US]", RANGE, RTT, AT(rtt_right_us), 1, 1e7,
	  "round trip capture point to server (30:500)" },
	{ "offset-ns", "NS", SIGNED, TWIN, AT(offset_ns), -9e18, 9e18,
	  "guest's clock minus host's; positive: the guest is ahead (0)" },
	{ "drift-ppm", "PPM", REAL, TWIN, AT(drift_ppm), -1000, 1000, "of the guest's clock (0)" },
	{ "dup", "PCT", PERCENT, TWIN, AT(dup), 0, 50, "packets doubled between the points (0)" },
	{ "retrans", "PCT", PERCENT, TWIN, AT(retrans), 0, 50, "TCP sends that are repeated (2)" },
	{ "identical", "PCT", PERCENT, TWIN, AT(identical), 0, 100,
	  "UDP flows whose datagrams are all alike (20)" },
	{ "fragments", "PCT", PERCENT, TWIN, AT(fragments), 0, 100,
	  "UDP datagrams over IPv4 (IPv6: if one-sided) that are fragmented (0)" },
	{ "one-sided", "PCT", PERCENT, TWIN, AT(one_sided), 0, 100,
	  "of these, how many are whole at one point (0)" },
	{ "frames", "PCT", PERCENT, TWIN, AT(frames), 0, 100,
	  "UDP sends that are trains of frames of many datagrams at one point (0)" },
	{ "frame-kind", "KIND", TEXT, TWIN, AT(frame_kind), 0, 0,
	  "mix, cut (upstream in one) or joined (downstream in one) (mix)" },
	{ "foreign", "PCT", PERCENT, TWIN, AT(foreign), 0, 100,
	  "host packets that never cross, ARP among them (5)" },
	{ "cut", "SECONDS", REAL, TWIN, AT(cut_s), 0, 1e6,
	  "guest capture starts that much later and ends that much earlier (0)" },
	{ "offload", "KIND", TEXT, TWIN, AT(offload), 0, 0,
	  "mix, same, split, gro or regroup: what segmentation does between the points (mix)" },
	{ "nat", "KIND", TEXT, TWIN, AT(nat), 0, 0,
	  "none, masquerade (the guest's end is the host's at the host) or dnat (a port of the host "
	  "is forwarded to the guest) (none)" },
	{ "step-ns", "NS", SIGNED, TWIN, AT(step_ns), -9e18, 9e18,
	  "step of the guest's clock in the middle; positive: forward (0)" },
	{ "id-zero", NULL, FLAG, TWIN, AT(id_zero), 0, 0,
	  "IPv4 identification 0 in all packets that may not be fragmented" },
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

void gc_usage(FILE *to, bool twin)
{
	fprintf(to, "usage: vns-gencap [rtt] --out FILE [--truth FILE] [options]\n"
		    "       vns-gencap twin --host FILE --guest FILE [--truth FILE] [options]\n"
		    "Write captures whose truth is known. Options of %s:\n",
		twin ? "twin" : "rtt");
	for (size_t i = 0; i < N_ROWS; i++) {
		char left[40];

		if (rows[i].where != BOTH && rows[i].where != (twin ? TWIN : RTT))
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].arg ? " " : "",
			 rows[i].arg ? rows[i].arg : "");
		fprintf(to, "  %-22s %s\n", left, rows[i].help);
	}
	fprintf(to, "  %-22s show this text\n", "--help");
}

static double number(const struct option_row *row, const char *text, char **end)
{
	double v = strtod(text, end);

	if (*end == text || !isfinite(v))
		gc_die(GC_EXIT_USAGE, "--%s: '%s' is not a number", row->name, text);
	if (v < row->min || v > row->max)
		gc_die(GC_EXIT_USAGE, "--%s: %s is outside %g to %g", row->name, text, row->min,
		       row->max);
	return v;
}

static int64_t whole(const struct option_row *row, const char *text)
{
	char *end;
	long long v;

	number(row, text, &end);
	errno = 0;
	v = strtoll(text, &end, 10);
	if (*end || errno)
		gc_die(GC_EXIT_USAGE, "--%s: '%s' is not a whole number", row->name, text);
	return v;
}

static void set_range(const struct option_row *row, const char *text, double *pair)
{
	char *end;

	pair[0] = pair[1] = number(row, text, &end);
	if (*end == ':')
		pair[1] = number(row, end + 1, &end);
	if (*end || pair[1] < pair[0])
		gc_die(GC_EXIT_USAGE, "--%s: '%s' is not LOW:HIGH", row->name, text);
}

static void set(struct gc_opts *o, const struct option_row *row, const char *text)
{
	void *field = (char *)o + row->at;
	char *end;

	switch (row->type) {
	case FLAG:
		if (row->at)
			*(bool *)field = true;
		break;
	case TEXT:
		*(const char **)field = text;
		break;
	case WHOLE:
		*(uint64_t *)field = (uint64_t)whole(row, text);
		break;
	case SIGNED:
		*(int64_t *)field = whole(row, text);
		break;
	case SNAP:
		*(uint32_t *)field = (uint32_t)whole(row, text);
		break;
	case REAL:
	case PERCENT:
		*(double *)field = number(row, text, &end);
		if (*end)
			gc_die(GC_EXIT_USAGE, "--%s: '%s' is not a number", row->name, text);
		break;
	case RANGE:
		set_range(row, text, field);
	}
}

static const struct option_row *find(const char *name, size_t n, bool twin)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (strlen(rows[i].name) == n && strncmp(rows[i].name, name, n) == 0 &&
		    (rows[i].where == BOTH || rows[i].where == (twin ? TWIN : RTT)))
			return &rows[i];
	return NULL;
}

static void defaults(struct gc_opts *o, bool twin)
{
	*o = (struct gc_opts){ .seed = 1, .flows = 1000, .packets = 100000, .duration_s = 60,
			       .start_s = 1700000000, .snap = 262144, .ipv6 = 20, .vlan = 10,
			       .udp = 5, .icmp = 2, .loss = 0.5, .no_ts = 5, .one_way = 5,
			       .rtt_left_us = { 200, 80000 }, .rtt_right_us = { 30, 500 },
			       .retrans = 2, .identical = 20, .foreign = 5, .offload = "mix",
			       .nat = "none", .frame_kind = "mix" };
	if (twin) {
		o->flows = 40;
		o->packets = 20000;
		o->duration_s = 10;
		o->udp = 25;
		o->icmp = 15;
	}
}

static void check(const struct gc_opts *o, bool twin)
{
	static const char *const kinds[] = { "mix", "same", "split", "gro", "regroup" };
	bool known = false;

	if (twin ? !o->host || !o->guest : !o->out)
		gc_die(GC_EXIT_USAGE, "%s; see --help",
		       twin ? "--host and --guest name the files to write" :
			      "--out names the file to write");
	if (strcmp(o->nat, "none") && strcmp(o->nat, "masquerade") && strcmp(o->nat, "dnat"))
		gc_die(GC_EXIT_USAGE, "--nat: '%s' is not none, masquerade or dnat", o->nat);
	if (strcmp(o->frame_kind, "mix") && strcmp(o->frame_kind, "cut") &&
	    strcmp(o->frame_kind, "joined"))
		gc_die(GC_EXIT_USAGE, "--frame-kind: '%s' is not mix, cut or joined",
		       o->frame_kind);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		known |= strcmp(o->offload, kinds[i]) == 0;
	if (!known)
		gc_die(GC_EXIT_USAGE, "--offload: '%s' is not mix, same, split, gro or regroup",
		       o->offload);
}

/* Return: 0, or 1 when --help was answered. */
int gc_parse(struct gc_opts *o, int argc, char **argv, bool twin)
{
	defaults(o, twin);
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *eq;
		const struct option_row *row;
		size_t n;

		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			gc_usage(stdout, twin);
			return 1;
		}
		eq = strchr(word, '=');
		n = eq ? (size_t)(eq - word) : strlen(word);
		row = strncmp(word, "--", 2) == 0 ? find(word + 2, n - 2, twin) : NULL;
		if (!row)
			gc_die(GC_EXIT_USAGE, "unknown option '%s'; see --help", word);
		if (row->type == FLAG && eq)
			gc_die(GC_EXIT_USAGE, "--%s takes no value", row->name);
		if (row->type != FLAG && !eq && ++i == argc)
			gc_die(GC_EXIT_USAGE, "--%s needs a value (%s)", row->name, row->arg);
		set(o, row, row->type == FLAG ? NULL : eq ? eq + 1 : argv[i]);
	}
	check(o, twin);
	return 0;
}
