#include "mem.h"

#include <stdlib.h>
#include <string.h>

void *tb_xcalloc(size_t n, size_t size) {
    void *p = calloc(n, size);

    if (!p)
        abort();
    return p;
}

void *tb_xrealloc(void *p, size_t size) {
    p = realloc(p, size);
    if (!p)
        abort();
    return p;
}

char *tb_xstrdup(const char *s) {
    char *copy = strdup(s);

    if (!copy)
        abort();
    return copy;
}
