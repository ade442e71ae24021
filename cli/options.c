// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Option tables: argv -> a command's config struct, and the usage text.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vnetscope/output.h>

#include "cli/cli.h"

#define MAX_OPTIONS 64
#define HELP_CODE   0x1000
#define LONG_BASE   0x2000
#define HELP_WIDTH  100
#define HELP_COLUMN 33 /* where an option's words begin */

int cli_fail(const struct cli_command *cmd, int exit_code, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	/* it may quote a guest, a file or an argument */
	if (text)
		vns_text_clean(text, strlen(text) + 1, text, strlen(text));
	fprintf(stderr, "vnetscope %s: %s\n", cmd->name, text ? text : fmt);
	free(text);
	return exit_code;
}

static int bad_value(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		     const char *want)
{
	cli_fail(cmd, 0, "--%s: '%s' is not %s", o->name, text, want);
	return -1;
}

static bool in_range(const struct cli_option *o, double v)
{
	return (o->min == 0 && o->max == 0) || (v >= o->min && v <= o->max);
}

static int out_of_range(const struct cli_command *cmd, const struct cli_option *o,
			const char *text)
{
	cli_fail(cmd, 0, "--%s: %s is outside %g to %g", o->name, text, o->min, o->max);
	return -1;
}

/* "10", "2.5s", "300ms" -> ns. Return: 0 or -1. */
static int parse_duration(const char *text, int64_t *out)
{
	static const struct {
		const char *suffix;
		double ns;
	} units[] = { { "", 1e9 }, { "ns", 1 },   { "us", 1e3 },  { "ms", 1e6 },
		      { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	char *end;
	double v = strtod(text, &end);

	if (end == text || !isfinite(v) || v < 0)
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].suffix) == 0 && v * units[i].ns < 9e18) {
			*out = (int64_t)llround(v * units[i].ns);
			return 0;
		}
	}
	return -1;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (const char *p = choices; p && *p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (strncmp(p, text, n) == 0 && (p[n] == '|' || p[n] == '\0'))
			return n > 0;
	return false;
}

static int set_u64(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		   void *field)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (end == text || *end || errno || strchr(text, '-'))
		return bad_value(cmd, o, text, "a whole number");
	if (!in_range(o, (double)v))
		return out_of_range(cmd, o, text);
	*(uint64_t *)field = v;
	return 0;
}

static int set_size(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		    uint64_t *field)
{
	static const char units[] = "KMG";
	char *end;
	double v = strtod(text, &end);
	const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;

	if (unit)
		v = ldexp(v, 10 * (int)(unit - units + 1));
	if (end == text || !isfinite(v) || v < 0 || (*end && (!unit || end[1])))
		return bad_value(cmd, o, text, "a size (64M, 1G)");
	if (!in_range(o, v))
		return out_of_range(cmd, o, text);
	*field = (uint64_t)v;
	return 0;
}

static int set_i64(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		   void *field)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 0);
	if (end == text || *end || errno)
		return bad_value(cmd, o, text, "a whole number");
	if (!in_range(o, (double)v))
		return out_of_range(cmd, o, text);
	*(int64_t *)field = v;
	return 0;
}

static int set_double(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		      void *field)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !isfinite(v))
		return bad_value(cmd, o, text, "a number");
	if (!in_range(o, v))
		return out_of_range(cmd, o, text);
	*(double *)field = v;
	return 0;
}

static int set_list(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		    struct cli_list *list)
{
	if (list->n == sizeof(list->item) / sizeof(list->item[0])) {
		cli_fail(cmd, 0, "--%s stands more than %zu times", o->name, list->n);
		return -1;
	}
	list->item[list->n++] = text;
	return 0;
}

static int set_field(const struct cli_command *cmd, const struct cli_option *o, const char *text,
		     void *config)
{
	void *field = (char *)config + o->offset;

	switch (o->type) {
	case CLI_FLAG:
		*(bool *)field = true;
		return 0;
	case CLI_STRING:
		*(const char **)field = text;
		return 0;
	case CLI_U64:
		return set_u64(cmd, o, text, field);
	case CLI_SIZE:
		return set_size(cmd, o, text, field);
	case CLI_I64:
		return set_i64(cmd, o, text, field);
	case CLI_DOUBLE:
		return set_double(cmd, o, text, field);
	case CLI_DURATION:
		if (parse_duration(text, field))
			return bad_value(cmd, o, text, "a duration (10, 500ms, 2m)");
		if (!in_range(o, (double)*(int64_t *)field / 1e9))
			return out_of_range(cmd, o, text);
		return 0;
	case CLI_CHOICE:
		if (!is_choice(o->choices, text))
			return bad_value(cmd, o, text, o->choices);
		*(const char **)field = text;
		return 0;
	case CLI_LIST:
		return set_list(cmd, o, text, field);
	}
	return -1;
}

/* "live: ": the modes that an option is for, when it is not for all that have a word. */
static const char *words_of(const struct cli_command *cmd, const struct cli_option *o, char *buf,
			    size_t len)
{
	bool all = true;
	size_t n = 0;

	buf[0] = '\0';
	for (const struct cli_mode *m = cmd->modes; m && m->bit; m++) {
		if (!m->word)
			continue;
		all &= !(o->not_in & m->bit);
		if (!(o->not_in & m->bit) && n < len)
			n += (size_t)snprintf(buf + n, len - n, "%s%s", n ? ", " : "", m->word);
	}
	if (all)
		return "";
	if (n < len)
		snprintf(buf + n, len - n, ": ");
	return buf;
}

void cli_usage(const struct cli_command *cmd, FILE *to)
{
	fprintf(to, "usage: vnetscope %s [options] %s\n%s\n", cmd->name, cmd->args ? cmd->args : "",
		cmd->summary);
	if (cmd->detail)
		fprintf(to, "\n%s\n", cmd->detail);
	fputs("\noptions:\n", to);
	for (const struct cli_option *o = cmd->options; o && o->name; o++) {
		char left[64], when[64], line[512];

		snprintf(left, sizeof(left), "%c%c%s--%s%s%s", o->letter ? '-' : ' ',
			 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		snprintf(line, sizeof(line), "  %-*s %s%s%s%s%s", HELP_COLUMN - 3, left,
			 words_of(cmd, o, when, sizeof(when)), o->help, o->choices ? " (" : "",
			 o->choices ? o->choices : "", o->choices ? ")" : "");
		vns_text_wrap(line, HELP_WIDTH, HELP_COLUMN, to);
	}
	fprintf(to, "  %-*s %s\n", HELP_COLUMN - 3, "-h, --help", "show this text");
}

/* getopt's two forms of the table. Return: number of options. */
static int build_getopt(const struct cli_command *cmd, char *letters, struct option *longs)
{
	int n = 0;
	char *p = letters;

	*p++ = ':';
	*p++ = 'h';
	for (const struct cli_option *o = cmd->options; o && o->name && n < MAX_OPTIONS; o++, n++) {
		longs[n] = (struct option){ o->name,
					    o->type == CLI_FLAG ? no_argument : required_argument,
					    NULL, LONG_BASE + n };
		if (o->letter) {
			*p++ = o->letter;
			if (o->type != CLI_FLAG)
				*p++ = ':';
		}
	}
	longs[n] = (struct option){ "help", no_argument, NULL, HELP_CODE };
	longs[n + 1] = (struct option){ 0 };
	*p = '\0';
	return n;
}

static const struct cli_option *find_option(const struct cli_command *cmd, int code)
{
	for (const struct cli_option *o = cmd->options; o && o->name; o++)
		if ((o->letter && o->letter == code) || LONG_BASE + (o - cmd->options) == code)
			return o;
	return NULL;
}

/* An option twice: the first would be overlooked. Return: 0 or -1. */
static int count_option(const struct cli_command *cmd, const struct cli_option *o, bool *given)
{
	bool twice = given[o - cmd->options] && o->type != CLI_LIST && o->type != CLI_FLAG;
	char what[32] = "";

	given[o - cmd->options] = true;
	for (size_t i = 0; twice && o->arg[i] && i < sizeof(what) - 1; i++)
		what[i] = (char)(o->arg[1] ? tolower((unsigned char)o->arg[i]) : o->arg[i]);
	if (twice)
		cli_fail(cmd, 0, "--%s stands twice; it takes one %s", o->name, what);
	return twice ? -1 : 0;
}

/* What was given but would do nothing in the modes that the command line asks for. Return: 0 or -1. */
static int check_modes(const struct cli_command *cmd, unsigned int modes, const bool *given)
{
	for (const struct cli_option *o = cmd->options; o->name; o++) {
		const struct cli_mode *m = cmd->modes;

		if (!given[o - cmd->options] || !(o->not_in & modes))
			continue;
		while (!(o->not_in & modes & m->bit))
			m++;
		if (m->what[0] == '-')
			cli_fail(cmd, 0, "--%s and %s exclude each other", o->name, m->what);
		else
			cli_fail(cmd, 0, "--%s does not apply to %s", o->name, m->what);
		return -1;
	}
	return 0;
}

int cli_parse(const struct cli_command *cmd, int argc, char **argv, void *config, char **rest,
	      size_t max_rest, size_t *n_rest)
{
	char letters[2 * MAX_OPTIONS + 3];
	struct option longs[MAX_OPTIONS + 2];
	bool given[MAX_OPTIONS] = { false };
	const char *word;
	int code;

	build_getopt(cmd, letters, longs);
	optind = 0;
	while (word = optind > 0 && optind < argc ? argv[optind] : argc > 1 ? argv[1] : "",
	       (code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct cli_option *o;

		if (code == 'h' || code == HELP_CODE) {
			cli_usage(cmd, stdout);
			return 1;
		}
		o = find_option(cmd, code);
		if (!o && code == ':') {
			o = find_option(cmd, optopt);
			cli_fail(cmd, 0, "--%s needs an argument (%s)", o ? o->name : word,
				 o && o->arg ? o->arg : "a value");
			return -1;
		}
		if (!o) {
			cli_fail(cmd, 0, "unknown or malformed option '%s'; see vnetscope %s --help",
				 optind > 0 && optind <= argc && !optopt ? argv[optind - 1] : word,
				 cmd->name);
			return -1;
		}
		if (count_option(cmd, o, given) || set_field(cmd, o, optarg, config))
			return -1;
	}
	*n_rest = 0;
	for (; optind < argc; optind++) {
		if (*n_rest == max_rest) {
			cli_fail(cmd, 0, "too many arguments at '%s'", argv[optind]);
			return -1;
		}
		rest[(*n_rest)++] = argv[optind];
	}
	return cmd->modes ? check_modes(cmd, cmd->mode_of(config, rest, *n_rest), given) : 0;
}

bool cli_agent_runs(const char *target)
{
	return strncmp(target, "lab:", 4) == 0 || strncmp(target, "pipe:", 5) == 0 ||
	       !strchr(target, ':');
}

enum vns_capture cli_capture(const char *word)
{
	return word && strcmp(word, "ebpf") == 0 ? VNS_CAPTURE_EBPF : VNS_CAPTURE_AFPACKET;
}

#define EBPF_SNAPLEN 256 /* VNS_BPF_RAW_LARGE of bpf/record.h: more than the kernel's programs look at is cut to it */

int cli_check_snaplen(const struct cli_command *self, const char *capture, uint64_t snaplen)
{
	if (cli_capture(capture) != VNS_CAPTURE_EBPF || snaplen <= EBPF_SNAPLEN)
		return VNS_EXIT_OK;
	return cli_fail(self, VNS_EXIT_USAGE, "--snaplen: --capture ebpf looks at %d bytes of a packet at most",
			EBPF_SNAPLEN);
}
