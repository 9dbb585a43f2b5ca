#include "cardfile_vars.h"

#include <stdio.h>
#include <stdlib.h>

#include "tb/cli.h"

enum { MAX_NAMES = 64, MAX_HINT = 96 };

struct cardfile_var {
    char *name, *value;
    int line; /* 0: from the command line */
    struct cardfile_var *next;
};

const char *cardfile_hint(const char *text, const char *const *names, char *dst, size_t cap) {
    const char *near = tb_nearest(text, names);

    dst[0] = 0;
    if (near)
        snprintf(dst, cap, "; did you mean '%s'?", near);
    return dst;
}

static const struct cardfile_var *find(const struct cardfile_vars *v, const char *name) {
    for (const struct cardfile_var *at = v->first; at; at = at->next)
        if (strcmp(at->name, name) == 0)
            return at;
    return NULL;
}

static void add(struct cardfile_vars *v, const char *name, const char *value, int line) {
    struct cardfile_var *var = calloc(1, sizeof *var);

    if (!var)
        abort();
    var->name = strdup(name);
    var->value = strdup(value);
    if (!var->name || !var->value)
        abort();
    var->line = line;
    var->next = v->first;
    v->first = var;
}

int cardfile_vars_override(struct cardfile_vars *v, const struct cardfile_override *with,
                           struct tb_error *e) {
    if (with->iccid)
        add(v, "iccid", with->iccid, 0);
    if (with->imsi)
        add(v, "imsi", with->imsi, 0);
    for (char *const *set = with->set; set && *set; set++) {
        const char *equals = strchr(*set, '=');
        char name[64];

        if (!equals || equals == *set || (size_t)(equals - *set) >= sizeof name)
            return tb_error_set(e, TB_EPARSE, NULL, 0, "--set %s: want name=value", *set);
        snprintf(name, sizeof name, "%.*s", (int)(equals - *set), *set);
        add(v, name, equals + 1, 0);
    }
    return 0;
}

void cardfile_vars_done(struct cardfile_vars *v) {
    while (v->first) {
        struct cardfile_var *var = v->first;

        v->first = var->next;
        tb_wipe(var->value, strlen(var->value));
        free(var->name);
        free(var->value);
        free(var);
    }
}

const char *cardfile_vars_overridden(const struct cardfile_vars *v, const char *name) {
    const struct cardfile_var *var = find(v, name);

    return var && var->line == 0 ? var->value : NULL;
}

int cardfile_vars_define(struct cardfile_vars *v, const char *name, const char *value, int line,
                         struct tb_error *e) {
    const struct cardfile_var *var = find(v, name);

    if (var && var->line != 0)
        return tb_error_set(e, TB_EPARSE, v->file, line, "variable '%s' stands already in line %d",
                            name, var->line);
    add(v, name, var ? var->value : value, line);
    return 0;
}

static int unknown(const struct cardfile_vars *v, const char *name, int line, struct tb_error *e) {
    const char *names[MAX_NAMES + 1] = {NULL};
    char near[MAX_HINT];
    size_t n = 0;

    for (const struct cardfile_var *var = v->first; var && n < MAX_NAMES; var = var->next)
        names[n++] = var->name;
    return tb_error_set(
        e, TB_EPARSE, v->file, line,
        "unknown variable '%s'%s (variables are defined above in [set], iccid and imsi in [card])",
        name, cardfile_hint(name, names, near, sizeof near));
}

int cardfile_vars_expand(const struct cardfile_vars *v, const char *value, char *out, size_t cap,
                         int line, struct tb_error *e) {
    size_t n = 0;

    while (*value) {
        const char *piece = value, *end;
        size_t len = 1;

        if (value[0] == '$' && value[1] == '{' && (end = strchr(value, '}'))) {
            const struct cardfile_var *var;
            char name[64];

            snprintf(name, sizeof name, "%.*s", (int)(end - value - 2), value + 2);
            var = find(v, name);
            if (!var)
                return unknown(v, name, line, e);
            piece = var->value;
            len = strlen(piece);
            value = end;
        }
        value++;
        if (len >= cap - n)
            return tb_error_set(e, TB_EPARSE, v->file, line, "value longer than %zu characters",
                                cap - 1);
        memcpy(out + n, piece, len);
        n += len;
    }
    out[n] = 0;
    return 0;
}

static bool defined(const struct cardfile_vars *v, const char *name) {
    const struct cardfile_var *var =
        find(v, name); /* the latest: a definition hides its override */

    return var && var->line != 0;
}

int cardfile_vars_check(const struct cardfile_vars *v, struct tb_error *e) {
    for (const struct cardfile_var *var = v->first; var; var = var->next) {
        const char *names[MAX_NAMES + 1] = {NULL};
        char near[MAX_HINT];
        size_t n = 0;

        if (strcmp(var->name, "iccid") == 0 || strcmp(var->name, "imsi") == 0 ||
            defined(v, var->name))
            continue;
        for (const struct cardfile_var *o = v->first; o && n < MAX_NAMES; o = o->next)
            if (o->line != 0)
                names[n++] = o->name;
        return tb_error_set(e, TB_EPARSE, v->file, 0,
                            "--set %s: the file has no such variable in [set]%s", var->name,
                            cardfile_hint(var->name, names, near, sizeof near));
    }
    return 0;
}
