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
