#pragma once
/* Between cli.c and cli_print.c. */
#include "tb/cli.h"

extern const struct tb_opt tb_common_opts[]; /* ends with name NULL */

/* Where an option stands in files: not the ones that only make sense on a command line. */
bool tb_opt_in_file(const struct tb_opt *o);
/* Prints a configuration file that gives *values. */
void tb_cli_print_config(const struct tb_cli *cli, const void *values);
