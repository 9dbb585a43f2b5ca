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

/* ---- programs whose file may have sections ---- */

/* [NAME] in the file: a whole set of options, with what stands before the first section, and with
 * the command line, which is stronger than either. */
struct tb_cli_section {
    char *name; /* letters, digits, '-', '_'; at most 32 */
    int line;   /* of its beginning */
    void *out;  /* like out of tb_cli_parse() */
};
struct tb_cli_sections {
    const char *const
        *not_inside;          /* set by the caller: options of the program as a whole, which a
                                 section must not have (nor the common ones); NULL-terminated */
    size_t size;              /* set by the caller: of *out */
    struct tb_cli_section *v; /* in the order of the file */
    size_t n;
    const void *base; /* while the file is read: out of the program */
};
/* As tb_cli_parse(), but --check-config and --print-config wait for tb_cli_answer(), so that the
 * program can check the sections before. */
void tb_cli_parse_sections(const struct tb_cli *cli, int argc, char **argv, void *out,
                           struct tb_cli_sections *sections);
/* Does what --check-config and --print-config ask for, and then the process ends; else nothing. */
void tb_cli_answer(const struct tb_cli *cli, void *out, struct tb_cli_sections *sections);
void tb_cli_sections_done(const struct tb_cli *cli, struct tb_cli_sections *sections);

/* A copy of *out on the heap, of size bytes, with strings of its own: tb_cli_done(), then free().
 */
void *tb_cli_copy(const struct tb_cli *cli, const void *out, size_t size);
/* Sets an option while the program runs; n values for a list, else one; n = 0: its default.
 * TB_ENOTFOUND (with the
 * nearest name) or TB_ERANGE with *e filled; then nothing is changed. */
int tb_cli_set(const struct tb_cli *cli, void *out, const char *name, const char *const *values,
               size_t n, struct tb_error *e) TB_CHECKED;

/* For subcommands: the nearest of names (NULL-terminated) to text, or NULL when none is near. */
const char *tb_nearest(const char *text, const char *const *names);
