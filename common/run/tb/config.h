#pragma once
/* INI files of people (inih underneath): sections, key = value, file and line in every complaint.
 *
 * A line that begins with ';' or '#' is a comment, and so is the rest of a line after a blank and
 * ';'. '=' or ':' ends a key. Blanks around key and value and at the beginning of a line mean
 * nothing; a value is one line. Lines may have 8 KiB, names of sections 49 bytes. */
#include "tb/error.h"

struct tb_config_entry {
    const char *section; /* "" before the first */
    const char *key;     /* NULL when a section begins */
    const char *value;
    int line;
};

/* Calls fn for each section start and entry in order; fn returns 0, or negative after
 * tb_error_set(e, …) to stop. Strings are borrowed for the call. */
typedef int tb_config_fn(const struct tb_config_entry *entry, const char *file, struct tb_error *e,
                         void *user);
int tb_config_read(const char *file, tb_config_fn *fn, void *user, struct tb_error *e) TB_CHECKED;
