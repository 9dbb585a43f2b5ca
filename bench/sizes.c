#include "sizes.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tb/error.h"

int bench_private_kib(pid_t pid, double *ret) {
    char file[64], line[256];
    unsigned long sum = 0;
    FILE *f;

    snprintf(file, sizeof file, "/proc/%d/smaps_rollup", (int)pid);
    f = fopen(file, "re");
    if (!f)
        return TB_EUNSUP;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "Private_Clean:", 14) == 0 || strncmp(line, "Private_Dirty:", 14) == 0)
            sum += strtoul(line + 14, NULL, 10);
    fclose(f);
    *ret = (double)sum;
    return 0;
}

double bench_allocated_kib(void) {
    struct mallinfo2 m = mallinfo2();

    return (double)(m.uordblks + m.hblkhd) / 1024;
}

static char group[100];

void bench_size_group(const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(group, sizeof group, fmt, ap);
    va_end(ap);
    printf("\n%s\n", group);
}

void bench_tell_size(json_t *report, const char *name, double kib) {
    printf("  %-60s %8.1f KiB\n", name, kib);
    json_array_append_new(json_object_get(report, "sizes"),
                          json_pack("{s:s,s:s,s:f}", "group", group, "name", name, "kib", kib));
}
