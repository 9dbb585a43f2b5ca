/* Options: argp reads the command line; defaults, file and command line are then applied in this
 * order. */
#include "tb/cli.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "mem.h"
#include "tb/config.h"
#include "tb/log.h"

enum { EXIT_USAGE = 2, LONG_ONLY = 0x1000 };

#define COMMON(member) offsetof(struct tb_cli_common, member)

const struct tb_opt tb_common_opts[] = {
    {"config", 'c', "FILE", "Read options from FILE: 'name = value' with the long names",
     TB_OPT_STRING, COMMON(config), NULL},
    {"check-config", 0, NULL, "Check options and configuration file, then exit", TB_OPT_FLAG,
     COMMON(check_config), NULL},
    {"print-config", 0, NULL, "Print a configuration file with the values in force, then exit",
     TB_OPT_FLAG, COMMON(print_config), NULL},
    {"log-level", 0, "LEVEL", "error, warn, info or debug; also by part, as in info,apdu=debug",
     TB_OPT_STRING, COMMON(log_level), "info"},
    {"log-format", 0, "FORMAT", "text or json (one object per line)", TB_OPT_STRING,
     COMMON(log_format), "text"},
    {"ctl", 0, "ADDR", "Listen there for control connections: host:port or unix:/path",
     TB_OPT_STRING, COMMON(ctl), NULL},
    {"event-file", 0, "FILE", "Append events to FILE as JSON lines", TB_OPT_STRING,
     COMMON(event_file), NULL},
    {"ready-fd", 0, "N", "Write one JSON line to descriptor N when ready, then close it",
     TB_OPT_UINT, COMMON(ready_fd), NULL},
    {0},
};

bool tb_opt_in_file(const struct tb_opt *o) {
    return strcmp(o->name, "config") != 0 && strcmp(o->name, "check-config") != 0 &&
           strcmp(o->name, "print-config") != 0 && strcmp(o->name, "ready-fd") != 0;
}

static void strv_clear(struct tb_strv *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
    *s = (struct tb_strv){0};
}

static void strv_add(struct tb_strv *s, const char *text) {
    s->v = tb_xrealloc(s->v, (s->n + 2) * sizeof *s->v);
    s->v[s->n++] = tb_xstrdup(text);
    s->v[s->n] = NULL;
}

static const char *parse_uint(const char *text, unsigned *ret) {
    unsigned long v;
    char *end;

    errno = 0;
    v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end)
        return "a number is wanted";
    if (errno == ERANGE || v >= UINT_MAX)
        return "the number is too large";
    *ret = (unsigned)v;
    return NULL;
}

static const char *parse_flag(const char *text, bool *ret) {
    static const char *const yes[] = {"yes", "true", "1"}, *const no[] = {"no", "false", "0"};

    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return NULL;
        }
    }
    return "yes or no is wanted";
}

const char *tb_cli_apply(struct tb_cli_parse *p, const struct tb_opt *o, const char *text) {
    char *at = p->out + o->offset, **s = (char **)(void *)at;
    struct tb_strv *list = (struct tb_strv *)(void *)at;
    unsigned i;

    switch (o->kind) {
    case TB_OPT_STRING:
        free(*s);
        *s = tb_xstrdup(text);
        return NULL;
    case TB_OPT_LIST:
        /* The first value of a source replaces what weaker sources said. */
        for (i = 0; i < p->n_replaced && p->replaced[i] != o; i++)
            ;
        if (i == p->n_replaced) {
            strv_clear(list);
            p->replaced[p->n_replaced++] = o;
        }
        strv_add(list, text);
        return NULL;
    case TB_OPT_UINT:
        return parse_uint(text, (unsigned *)(void *)at);
    case TB_OPT_FLAG:
        return parse_flag(text, (bool *)(void *)at);
    }
    return "unknown kind of option";
}

static int on_option(int key, char *arg, struct argp_state *state) {
    struct tb_cli_parse *p = state->input;

    if (key == ARGP_KEY_ARGS) {
        p->args.v = state->argv + state->next;
        p->args.n = (size_t)(state->argc - state->next);
        state->next = state->argc;
        return 0;
    }
    if (key == ARGP_KEY_ARG)
        return p->cli->args_doc ? ARGP_ERR_UNKNOWN /* then ARGP_KEY_ARGS comes */
                                : (argp_error(state, "unexpected argument '%s'", arg), EINVAL);
    for (unsigned i = 0; i < p->n_opts; i++) {
        if (key != (p->opts[i]->key ? p->opts[i]->key : LONG_ONLY + (int)i))
            continue;
        p->given = tb_xrealloc(p->given, (p->n_given + 1) * sizeof *p->given);
        p->given[p->n_given++] = (struct tb_cli_given){p->opts[i], arg};
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

/* Fills argp's table; texts with a default are made and kept in docs[]. */
static void fill_argp(const struct tb_cli_parse *p, struct argp_option *ao, char **docs) {
    unsigned n = 0;

    for (unsigned i = 0; i < p->n_opts; i++) {
        const struct tb_opt *o = p->opts[i];

        if (o == tb_common_opts)
            ao[n++] = (struct argp_option){.doc = "Common options:", .group = 1};
        ao[n] = (struct argp_option){
            .name = o->name,
            .key = o->key ? o->key : LONG_ONLY + (int)i,
            .arg = o->kind == TB_OPT_FLAG ? NULL : o->arg,
            .doc = o->help,
        };
        if (o->fallback && asprintf(&docs[i], "%s (default: %s)", o->help, o->fallback) > 0)
            ao[n].doc = docs[i];
        n++;
    }
}

static void parse_command_line(struct tb_cli_parse *p, int argc, char **argv) {
    static char version[128];
    struct argp_option ao[TB_CLI_MAX + 2] = {0};
    char *docs[TB_CLI_MAX] = {0};
    const struct argp argp = {
        .options = ao, .parser = on_option, .args_doc = p->cli->args_doc, .doc = p->cli->doc};

    snprintf(version, sizeof version, "%s %s", p->cli->program, TB_VERSION);
    argp_program_version = version;
    argp_err_exit_status = EXIT_USAGE;
    fill_argp(p, ao, docs);
    if (argp_parse(&argp, argc, argv, 0, NULL, p) != 0)
        exit(EXIT_USAGE); /* argp has said why */
    for (unsigned i = 0; i < p->n_opts; i++)
        free(docs[i]);
}

const struct tb_opt *tb_cli_find(const struct tb_cli_parse *p, const char *name, const char *file,
                                 int line, struct tb_error *e) {
    const char *names[TB_CLI_MAX + 1], *near;
    unsigned n = 0;

    for (unsigned i = 0; i < p->n_opts; i++) {
        if (!tb_opt_in_file(p->opts[i]))
            continue;
        if (strcmp(p->opts[i]->name, name) == 0)
            return p->opts[i];
        names[n++] = p->opts[i]->name;
    }
    names[n] = NULL;
    near = tb_nearest(name, names);
    (void)tb_error_set(e, TB_ENOTFOUND, file, line, "unknown option '%.100s'%s%s%s", name,
                       near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static int on_file_entry(const struct tb_config_entry *entry, const char *file, struct tb_error *e,
                         void *user) {
    struct tb_cli_parse *p = user;
    const struct tb_opt *o;
    const char *wrong;

    if (!entry->key && !p->sections)
        return tb_error_set(e, TB_EPARSE, file, entry->line,
                            "unexpected section [%s]: this file has none", entry->section);
    if (!entry->key)
        return tb_cli_begin_section(p, entry->section, file, entry->line, e);
    o = tb_cli_find(p, entry->key, file, entry->line, e);
    if (!o)
        return TB_ENOTFOUND;
    if (entry->section[0] && tb_cli_outside_only(p, o))
        return tb_error_set(e, TB_ERANGE, file, entry->line,
                            "%s is for the program as a whole: it stands before the first section",
                            o->name);
    wrong = tb_cli_apply(p, o, entry->value);
    if (wrong)
        return tb_error_set(e, TB_ERANGE, file, entry->line, "%s = %.100s: %s", entry->key,
                            entry->value, wrong);
    return 0;
}

static void usage_error(const struct tb_cli_parse *p, const char *text) {
    fprintf(stderr, "%s: %s\n", p->cli->program, text);
    fprintf(stderr, "Try '%s --help' for more information.\n", p->cli->program);
    exit(EXIT_USAGE);
}

static void clear(char *at, enum tb_opt_kind kind) {
    char **text = (char **)(void *)at;

    switch (kind) {
    case TB_OPT_STRING:
        free(*text);
        *text = NULL;
        break;
    case TB_OPT_LIST:
        strv_clear((struct tb_strv *)(void *)at);
        break;
    case TB_OPT_UINT:
        memset(at, 0, sizeof(unsigned));
        break;
    case TB_OPT_FLAG:
        memset(at, 0, sizeof(bool));
        break;
    }
}

void tb_cli_default(struct tb_cli_parse *p, const struct tb_opt *o) {
    const char *wrong = NULL;

    clear(p->out + o->offset, o->kind);
    if (o->fallback)
        wrong = tb_cli_apply(p, o, o->fallback);
    if (wrong) /* a mistake in the program's table */
        usage_error(p, wrong);
}

static void apply_defaults(struct tb_cli_parse *p) {
    for (unsigned i = 0; i < p->n_opts; i++)
        tb_cli_default(p, p->opts[i]);
    ((struct tb_cli_common *)(void *)p->out)->ready_fd = UINT_MAX;
}

static void apply_file(struct tb_cli_parse *p) {
    const char *file = NULL;
    struct tb_error e = {0};

    for (size_t i = 0; i < p->n_given; i++)
        if (strcmp(p->given[i].opt->name, "config") == 0)
            file = p->given[i].value;
    p->n_replaced = 0;
    if (!file || tb_config_read(file, on_file_entry, p, &e) == 0)
        return;
    if (e.line > 0)
        fprintf(stderr, "%s: %s:%d: %s\n", p->cli->program, e.file, e.line, e.message);
    else
        fprintf(stderr, "%s: %s: %s\n", p->cli->program, e.file, e.message);
    exit(EXIT_USAGE);
}

static void apply_given_to(struct tb_cli_parse *p, void *out) {
    p->out = out;
    p->n_replaced = 0;
    for (size_t i = 0; i < p->n_given; i++) {
        const struct tb_cli_given *g = &p->given[i];
        const char *wrong = tb_cli_apply(p, g->opt, g->value ? g->value : "yes");
        char text[512];

        if (!wrong)
            continue;
        snprintf(text, sizeof text, "--%s=%.200s: %s", g->opt->name, g->value, wrong);
        usage_error(p, text);
    }
}

/* Whoever waits on the other end would wait for ever. */
static void check_ready_fd(const struct tb_cli_parse *p, const struct tb_cli_common *common) {
    char text[64];

    if (common->ready_fd == UINT_MAX || fcntl((int)common->ready_fd, F_GETFD) >= 0)
        return;
    snprintf(text, sizeof text, "--ready-fd=%u: this descriptor is not open", common->ready_fd);
    usage_error(p, text);
}

static void set_up_log(const struct tb_cli_parse *p, const struct tb_cli_common *common) {
    struct tb_error e;

    if (strcmp(common->log_format, "text") != 0 && strcmp(common->log_format, "json") != 0)
        usage_error(p, "--log-format is text or json");
    if (tb_log_setup(common->log_level, strcmp(common->log_format, "json") == 0, &e) < 0)
        usage_error(p, e.message);
}

void tb_cli_begin(struct tb_cli_parse *p, const struct tb_cli *cli, void *out) {
    const struct tb_opt *const tables[] = {cli->opts, tb_common_opts};

    *p = (struct tb_cli_parse){.cli = cli, .out = out};
    for (unsigned t = 0; t < 2; t++)
        for (const struct tb_opt *o = tables[t]; o->name; o++)
            if (p->n_opts < TB_CLI_MAX)
                p->opts[p->n_opts++] = o;
}

void tb_cli_run(struct tb_cli_parse *p, int argc, char **argv) {
    void *out = p->out;

    parse_command_line(p, argc, argv);
    apply_defaults(p);
    apply_file(p);
    for (size_t i = 0; p->sections && i < p->sections->n; i++)
        apply_given_to(p, p->sections->v[i].out);
    apply_given_to(p, out);
    free(p->given);
    set_up_log(p, out);
    check_ready_fd(p, out);
}

void tb_cli_parse(const struct tb_cli *cli, int argc, char **argv, void *out,
                  struct tb_strv *ret_args) {
    struct tb_cli_parse p;

    tb_cli_begin(&p, cli, out);
    tb_cli_run(&p, argc, argv);
    tb_cli_answer(cli, out, NULL);
    if (ret_args)
        *ret_args = p.args;
}

void tb_cli_done(const struct tb_cli *cli, void *out) {
    const struct tb_opt *const tables[] = {cli->opts, tb_common_opts};

    for (unsigned t = 0; t < 2; t++) {
        for (const struct tb_opt *o = tables[t]; o->name; o++) {
            char *at = (char *)out + o->offset;

            if (o->kind == TB_OPT_STRING) {
                free(*(char **)(void *)at);
                *(char **)(void *)at = NULL;
            } else if (o->kind == TB_OPT_LIST) {
                strv_clear((struct tb_strv *)(void *)at);
            }
        }
    }
}
