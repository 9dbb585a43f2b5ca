/* Files with sections, and options that change while the program runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "mem.h"
#include "tb/cli.h"

enum { NAME_MAX_LEN = 32 };

bool tb_cli_outside_only(const struct tb_cli_parse *p, const struct tb_opt *o) {
    for (const struct tb_opt *c = tb_common_opts; c->name; c++)
        if (c == o)
            return true;
    for (const char *const *name = p->sections->not_inside; *name; name++)
        if (strcmp(*name, o->name) == 0)
            return true;
    return false;
}

int tb_cli_begin_section(struct tb_cli_parse *p, const char *name, const char *file, int line,
                         struct tb_error *e) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    struct tb_cli_sections *all = p->sections;
    struct tb_cli_section *s;

    if (strlen(name) > NAME_MAX_LEN || name[strspn(name, allowed)])
        return tb_error_set(e, TB_ERANGE, file, line,
                            "[%.50s]: a name is 1 to %d letters, digits, '-' and '_'", name,
                            NAME_MAX_LEN);
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->v[i].name, name) == 0)
            return tb_error_set(e, TB_ERANGE, file, line, "[%s]: there is one already, in line %d",
                                name, all->v[i].line);
    if (all->n == 0) /* what came up to here is for all sections */
        all->base = p->out;
    all->v = tb_xrealloc(all->v, (all->n + 1) * sizeof *all->v);
    s = &all->v[all->n++];
    *s = (struct tb_cli_section){.name = tb_xstrdup(name), .line = line};
    s->out = tb_cli_copy(p->cli, all->base, all->size);
    p->out = s->out;
    p->n_replaced = 0;
    return 0;
}

void tb_cli_parse_sections(const struct tb_cli *cli, int argc, char **argv, void *out,
                           struct tb_cli_sections *sections) {
    struct tb_cli_parse p;

    tb_cli_begin(&p, cli, out);
    p.sections = sections;
    tb_cli_run(&p, argc, argv);
}

void tb_cli_answer(const struct tb_cli *cli, void *out, struct tb_cli_sections *sections) {
    const struct tb_cli_common *common = out;

    if (!common->print_config && !common->check_config)
        return;
    if (common->print_config) {
        tb_cli_print_config(cli, out);
        for (size_t i = 0; sections && i < sections->n; i++)
            tb_cli_print_section(cli, &sections->v[i], out);
    }
    if (sections)
        tb_cli_sections_done(cli, sections);
    tb_cli_done(cli, out);
    exit(EXIT_SUCCESS);
}

void tb_cli_sections_done(const struct tb_cli *cli, struct tb_cli_sections *sections) {
    for (size_t i = 0; i < sections->n; i++) {
        tb_cli_done(cli, sections->v[i].out);
        free(sections->v[i].out);
        free(sections->v[i].name);
    }
    free(sections->v);
    sections->v = NULL;
    sections->n = 0;
}

/* ---- while the program runs ---- */

static void copy_list(struct tb_strv *list) {
    const struct tb_strv theirs = *list;

    if (!theirs.v)
        return;
    list->v = tb_xrealloc(NULL, (theirs.n + 1) * sizeof *list->v);
    for (size_t i = 0; i < theirs.n; i++)
        list->v[i] = tb_xstrdup(theirs.v[i]);
    list->v[theirs.n] = NULL;
}

void *tb_cli_copy(const struct tb_cli *cli, const void *out, size_t size) {
    const struct tb_opt *const tables[] = {cli->opts, tb_common_opts};
    char *copy = tb_xrealloc(NULL, size), **text;

    memcpy(copy, out, size);
    for (unsigned t = 0; t < 2; t++) {
        for (const struct tb_opt *o = tables[t]; o->name; o++) {
            if (o->kind == TB_OPT_STRING) {
                text = (char **)(void *)(copy + o->offset);
                if (*text)
                    *text = tb_xstrdup(*text);
            } else if (o->kind == TB_OPT_LIST) {
                copy_list((struct tb_strv *)(void *)(copy + o->offset));
            }
        }
    }
    return copy;
}

int tb_cli_set(const struct tb_cli *cli, void *out, const char *name, const char *const *values,
               size_t n, struct tb_error *e) {
    struct tb_cli_parse p;
    const struct tb_opt *o;
    const char *wrong = NULL;

    tb_cli_begin(&p, cli, out);
    o = tb_cli_find(&p, name, NULL, 0, e);
    if (!o)
        return TB_ENOTFOUND;
    if (n == 0) {
        tb_cli_default(&p, o);
        return 0;
    }
    if (n != 1 && o->kind != TB_OPT_LIST)
        return tb_error_set(e, TB_ERANGE, NULL, 0, "%s has one value", name);
    for (size_t i = 0; i < n && !wrong; i++)
        wrong = tb_cli_apply(&p, o, values[i]);
    return wrong ? tb_error_set(e, TB_ERANGE, NULL, 0, "%s: %s", name, wrong) : 0;
}
