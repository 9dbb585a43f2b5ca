#pragma once
/* Variables of a *.card file: ${name} in its values. */
#include "cardfile.h"

struct cardfile_vars { /* all zero: none */
    struct cardfile_var *first;
    const char *file; /* for messages; borrowed */
};

/* Takes the command line's: they win over the file's of the same name. */
int cardfile_vars_override(struct cardfile_vars *v, const struct cardfile_override *with,
                           struct tb_error *e) TB_CHECKED;
void cardfile_vars_done(struct cardfile_vars *v); /* wipes */

/* The override for name, NULL when there is none. */
const char *cardfile_vars_overridden(const struct cardfile_vars *v, const char *name);
/* The file's definition of name. TB_EPARSE when it has been defined in an earlier line. */
int cardfile_vars_define(struct cardfile_vars *v, const char *name, const char *value, int line,
                         struct tb_error *e) TB_CHECKED;
/* Copies value to out with each ${name} replaced. */
int cardfile_vars_expand(const struct cardfile_vars *v, const char *value, char *out, size_t cap,
                         int line, struct tb_error *e) TB_CHECKED;
/* An override that no definition mentions would silently do nothing: TB_EPARSE. */
int cardfile_vars_check(const struct cardfile_vars *v, struct tb_error *e) TB_CHECKED;

/* "; did you mean 'x'?" for the nearest of names (NULL-terminated) to text, or nothing, into dst.
 * Returns dst. */
const char *cardfile_hint(const char *text, const char *const *names, char *dst, size_t cap);
