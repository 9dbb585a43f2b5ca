#pragma once
/* Allocation in programs: they abort when memory ends, so nobody tests for NULL. */
#include <stddef.h>

/* For interfaces that forgot const but do not write: iovec, execve(), jansson. */
static inline void *tb_unconst(const void *p) {
    union {
        const void *in;
        void *out;
    } u = {p};

    return u.out;
}

void *tb_xcalloc(size_t n, size_t size);
void *tb_xrealloc(void *p, size_t size);
char *tb_xstrdup(const char *s);
