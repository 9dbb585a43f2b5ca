#pragma once
/* Allocation in programs: they abort when memory ends, so nobody tests for NULL. */
#include <stddef.h>

void *tb_xcalloc(size_t n, size_t size);
void *tb_xrealloc(void *p, size_t size);
char *tb_xstrdup(const char *s);
