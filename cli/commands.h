/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One line per subcommand; each is defined in cmd_NAME.c and listed in main.c. */
#ifndef VNS_CLI_COMMANDS_H
#define VNS_CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct cli_command cmd_demo;
extern const struct cli_command cmd_doctor;
extern const struct cli_command cmd_drift;
extern const struct cli_command cmd_lab;
extern const struct cli_command cmd_rtt;
extern const struct cli_command cmd_selftest;
extern const struct cli_command cmd_vo;

#endif
