#pragma once
/* The built-in models, generated from *.model by embed.cmake. */

struct model_entry {
    const char *key, *value; /* ends with a NULL key */
};

struct model {
    const char *name; /* ends with a NULL name */
    const struct model_entry *entries;
};

extern const struct model models[];
extern const char *const model_names[]; /* NULL-terminated */
