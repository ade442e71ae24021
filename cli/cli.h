/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Commands and their options as tables. Usage text, shell completion and the
 * man page check derive from these tables, so that they cannot disagree.
 */
#ifndef VNS_CLI_H
#define VNS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <vnetscope/base.h>
#include <vnetscope/source.h>

enum cli_type {
	CLI_FLAG,     /* bool */
	CLI_STRING,   /* const char *, borrowed from argv */
	CLI_U64,      /* uint64_t within [min, max] */
	CLI_I64,      /* int64_t; no unit */
	CLI_DOUBLE,   /* double within [min, max] */
	CLI_DURATION, /* int64_t ns; "10" is seconds, else suffix ns us ms s m h */
	CLI_CHOICE,   /* const char *, one of the words in @choices ("a|b|c") */
	CLI_SIZE,     /* uint64_t bytes within [min, max]: "512M", "1G"; suffix K, M, G of 1024 */
	CLI_LIST,     /* struct cli_list; the option may stand several times */
};

struct cli_list {
	const char *item[64];
	size_t n;
};

struct cli_option {
	char letter;        /* 0: none */
	const char *name;   /* without "--" */
	enum cli_type type;
	size_t offset;      /* of the field in the command's config struct */
	const char *arg;    /* name of the argument in the usage, NULL for flags */
	unsigned int not_in; /* modes (struct cli_mode) in which it would do nothing: refused there */
	const char *help;   /* one line */
	const char *choices;
	double min, max;    /* both 0: unlimited */
};
#define CLI_END { .name = NULL }
/*
 * One row: letter or 0, name, CLI_*, field of the command's CLI_CONFIG (a struct, defined before the
 * table), not_in, argument's name, help, extras.
 */
#define CLI_OPT(let, word, kind, field, modes, argument, text, ...) \
	{ .letter = let, .name = word, .type = kind, .offset = offsetof(CLI_CONFIG, field), \
	  .not_in = modes, .arg = argument, .help = text, __VA_ARGS__ }
#define EVERYWHERE 0u /* .not_in of an option that always does something */

/*
 * A way in which a command can run, told from its command line; several may hold at once.
 * @bit: in an option's not_in
 * @name: of --tables
 * @word: stands before the help of options that are not for every mode which has a word; or NULL
 * @what: ends the sentence "--x does not apply to ..."; an option: "--x and ... exclude each other"
 */
struct cli_mode {
	unsigned int bit;
	const char *name, *word, *what;
};

struct cli_command {
	const char *name;
	const char *args;     /* synopsis of what is not an option, e.g. "TARGET..." */
	const char *summary;  /* one line */
	const char *detail;   /* further lines of the usage, or NULL */
	const char *verbs;    /* "up|down|status": first argument, for completion; or NULL */
	const struct cli_option *options;
	const struct cli_mode *modes; /* ends with .bit 0; NULL: there is one way */
	/* The bits of the modes that @config and the other words ask for. */
	unsigned int (*mode_of)(const void *config, char *const *rest, size_t n_rest);
	/* argv[0] is the command's name. Return: enum vns_exit. */
	int (*run)(const struct cli_command *self, int argc, char **argv);
};

/*
 * Parse @argv by the command's table into @config (pre-filled with defaults).
 * What is not an option goes to @rest (n_rest entries, borrowed). "--" ends options.
 * Refused: an option that the modes asked for have no use for, and one of a single value twice.
 * Return: 0 go on; 1 done (help was printed: exit 0); -1 usage error was printed: exit 2.
 */
int cli_parse(const struct cli_command *cmd, int argc, char **argv, void *config,
	      char **rest, size_t max_rest, size_t *n_rest);

/* --max-wander not given (what a config is pre-filled with), and what measurements get for it. */
#define CLI_WANDER_AUTO -1.0
static inline double cli_wander(double given_ppm)
{
	return given_ppm < 0 ? 0 : given_ppm > 0 ? given_ppm : -1; /* 0 ppm asked for: none at all */
}

void cli_usage(const struct cli_command *cmd, FILE *to);

/* "vnetscope COMMAND: sentence" on stderr. Return: @exit_code. */
int cli_fail(const struct cli_command *cmd, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* For cli_command.mode_of: @mode, where it is asked for. */
static inline unsigned int cli_when(bool asked, unsigned int mode)
{
	return asked ? mode : 0;
}

/* Does an agent run there already, so that --agent has nothing to choose? */
bool cli_agent_runs(const char *target);

/* The word of a --capture option, NULL for none given. */
enum vns_capture cli_capture(const char *word);
/* Does that capture take so many bytes of each packet? Return: VNS_EXIT_OK, or VNS_EXIT_USAGE with the sentence said. */
int cli_check_snaplen(const struct cli_command *self, const char *capture, uint64_t snaplen);

/* All commands, terminated by a NULL entry; defined in main.c. */
extern const struct cli_command *const cli_commands[];

/* The command line as typed, for the "argv" member of JSON output. */
extern int cli_argc;
extern char **cli_argv;

/*
 * Interrupts: after cli_catch_interrupts() the first SIGINT or SIGTERM sets
 * cli_interrupted, so that a measurement ends gracefully with what it has; the
 * second one ends the program.
 */
extern volatile int cli_interrupted;
void cli_catch_interrupts(void);

#endif
