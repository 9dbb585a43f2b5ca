#pragma once
/* Between cli.c and cli_print.c. */
#include "tb/cli.h"

extern const struct tb_opt tb_common_opts[]; /* ends with name NULL */

/* Where an option stands in files: not the ones that only make sense on a command line. */
bool tb_opt_in_file(const struct tb_opt *o);
/* Prints a configuration file that gives *values. */
void tb_cli_print_config(const struct tb_cli *cli, const void *values);
/* Prints what a section says beside base. */
void tb_cli_print_section(const struct tb_cli *cli, const struct tb_cli_section *s,
                          const void *base);

enum { TB_CLI_MAX = 128 }; /* options of a program */

/* An option as found on the command line, applied after the file. */
struct tb_cli_given {
    const struct tb_opt *opt;
    const char *value; /* NULL for a flag */
};

/* Reading options: which there are, and where values go to. */
struct tb_cli_parse {
    const struct tb_cli *cli;
    const struct tb_opt *opts[TB_CLI_MAX]; /* the program's, then the common ones */
    unsigned n_opts;
    struct tb_cli_given *given;
    size_t n_given;
    const struct tb_opt *replaced[TB_CLI_MAX]; /* lists that this source has begun */
    unsigned n_replaced;
    char *out;
    struct tb_strv args;
    struct tb_cli_sections *sections; /* NULL: the file has none */
};
void tb_cli_begin(struct tb_cli_parse *p, const struct tb_cli *cli, void *out);
/* Command line, defaults, file, command line again; ends the process when something is wrong. */
void tb_cli_run(struct tb_cli_parse *p, int argc, char **argv);
/* Stores one value; NULL, or what is wrong with it. */
const char *tb_cli_apply(struct tb_cli_parse *p, const struct tb_opt *o, const char *text);
/* As it is when nothing is said. */
void tb_cli_default(struct tb_cli_parse *p, const struct tb_opt *o);
/* The option called name that may stand in a file; NULL with *e filled when there is none. */
const struct tb_opt *tb_cli_find(const struct tb_cli_parse *p, const char *name, const char *file,
                                 int line, struct tb_error *e);
/* A section begins: from now on values go there. */
int tb_cli_begin_section(struct tb_cli_parse *p, const char *name, const char *file, int line,
                         struct tb_error *e);
bool tb_cli_outside_only(const struct tb_cli_parse *p, const struct tb_opt *o);
