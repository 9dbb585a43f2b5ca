/* --print-config */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli_internal.h"

/* What an INI file cannot say: see tb/config.h. */
static bool writable(const char *v) {
    size_t n = strlen(v);

    return n > 0 && n < 8000 && !strpbrk(v, "\r\n") && !strchr(" \t;", v[0]) &&
           !strchr(" \t", v[n - 1]) && !strstr(v, " ;") && !strstr(v, "\t;");
}

static void print_text(const char *name, const char *value) {
    if (!value || !*value)
        printf("#%s =\n", name);
    else if (writable(value))
        printf("%s = %s\n", name, value);
    else
        printf("#%s = (this value can only be given on the command line)\n", name);
}

static void print_list(const char *name, const struct tb_strv *list) {
    if (list->n == 0)
        print_text(name, NULL);
    for (size_t i = 0; i < list->n; i++)
        print_text(name, list->v[i]);
}

static void print_option(const struct tb_opt *o, const char *at) {
    const struct tb_strv *list;
    char *const *text;
    unsigned u;
    bool flag;

    printf("\n# %s\n", o->help);
    switch (o->kind) {
    case TB_OPT_STRING:
        text = (char *const *)(const void *)at;
        print_text(o->name, *text);
        break;
    case TB_OPT_LIST:
        list = (const struct tb_strv *)(const void *)at;
        print_list(o->name, list);
        break;
    case TB_OPT_UINT:
        memcpy(&u, at, sizeof u);
        if (u == UINT_MAX)
            print_text(o->name, NULL);
        else
            printf("%s = %u\n", o->name, u);
        break;
    case TB_OPT_FLAG:
        memcpy(&flag, at, sizeof flag);
        printf("%s = %s\n", o->name, flag ? "yes" : "no");
        break;
    }
}

void tb_cli_print_config(const struct tb_cli *cli, const void *values) {
    const struct tb_opt *const tables[] = {cli->opts, tb_common_opts};

    printf("# %s %s\n", cli->program, TB_VERSION);
    for (unsigned t = 0; t < 2; t++)
        for (const struct tb_opt *o = tables[t]; o->name; o++)
            if (tb_opt_in_file(o))
                print_option(o, (const char *)values + o->offset);
}

static bool same_list(const struct tb_strv *a, const struct tb_strv *b) {
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i], b->v[i]) != 0)
            return false;
    return true;
}

static bool same(const struct tb_opt *o, const char *a, const char *b) {
    char *const *s = (char *const *)(const void *)a, *const *t = (char *const *)(const void *)b;

    switch (o->kind) {
    case TB_OPT_STRING:
        return *s && *t ? strcmp(*s, *t) == 0 : *s == *t;
    case TB_OPT_LIST:
        return same_list((const struct tb_strv *)(const void *)a,
                         (const struct tb_strv *)(const void *)b);
    case TB_OPT_UINT:
        return memcmp(a, b, sizeof(unsigned)) == 0;
    case TB_OPT_FLAG:
        return memcmp(a, b, sizeof(bool)) == 0;
    }
    return false;
}

void tb_cli_print_section(const struct tb_cli *cli, const struct tb_cli_section *s,
                          const void *base) {
    const char *mine = s->out, *theirs = base;

    printf("\n[%s]\n", s->name);
    for (const struct tb_opt *o = cli->opts; o->name; o++)
        if (tb_opt_in_file(o) && !same(o, mine + o->offset, theirs + o->offset))
            print_option(o, mine + o->offset);
}
