#pragma once
/* How much memory things take. */
#include <jansson.h>
#include <sys/types.h>

/* Pages in use of a process that no other process shares, in KiB. What is allocated and never
 * touched costs nothing. */
int bench_private_kib(pid_t pid, double *ret);
/* Bytes that this process has allocated and not given back, in KiB. */
double bench_allocated_kib(void);

/* A heading, then lines of the report, which are entries of its "sizes". */
void bench_size_group(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void bench_tell_size(json_t *report, const char *name, double kib);
