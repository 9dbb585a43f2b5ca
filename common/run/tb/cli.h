#pragma once
/* Options of the programs: argp underneath, a config file with the long option names, and the
 * common options --config --check-config --print-config --log-level --log-format --ctl --ready-fd
 * --event-file --version --help. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tb/error.h"

enum tb_opt_kind {
    TB_OPT_STRING, /* char *: heap, replaced */
    TB_OPT_LIST,   /* struct tb_strv: may be given several times */
    TB_OPT_UINT,   /* unsigned */
    TB_OPT_FLAG,   /* bool; in a file: yes/no/true/false/1/0 */
};

struct tb_strv { /* heap strings; v is NULL-terminated or NULL */
    char **v;
    size_t n;
};

struct tb_opt {
    const char *name; /* long option */
    int key;          /* short option letter, or 0 */
    const char *arg;  /* placeholder in help, NULL for flags */
    const char *help;
    enum tb_opt_kind kind;
    size_t offset;        /* in the program's option struct */
    const char *fallback; /* default value as text, shown in help; NULL: none */
};

struct tb_cli_common { /* first member of every program's option struct */
    char *config, *log_level, *log_format, *ctl, *event_file;
    unsigned ready_fd; /* UINT_MAX: none */
    bool check_config, print_config;
};

struct tb_cli {
    const char *program;       /* "sim-card" */
    const char *args_doc;      /* "[FILE…]" or NULL */
    const char *doc;           /* what it does; after \v the long part of --help */
    const struct tb_opt *opts; /* ends with name NULL */
};

/* Parses defaults, then the config file, then the command line into *out (zeroed by the caller).
 * Remaining arguments go to *ret_args (borrowed from argv). On --help, --version or a usage error
 * the process ends: 0, 0 and 2; an error in the file names file, line, cause, nearest option name.
 * --check-config and --print-config end the process as well. Logging is set up as the options say.
 * A list given by a stronger source replaces the weaker one's. */
void tb_cli_parse(const struct tb_cli *cli, int argc, char **argv, void *out,
                  struct tb_strv *ret_args);
void tb_cli_done(const struct tb_cli *cli, void *out); /* frees strings */

/* For subcommands: the nearest of names (NULL-terminated) to text, or NULL when none is near. */
const char *tb_nearest(const char *text, const char *const *names);
