#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { SCHEMA = 1 }; /* of the JSON; members may be added to it, not changed (docs/benchmarks.md) */

static unsigned broken;

/* The first "model name" of the CPUs. */
static void cpu_name(char *dst, size_t cap) {
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(dst, cap, "unknown CPU");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        snprintf(dst, cap, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f)
        fclose(f);
}

static double load_average(void) {
    double load[1] = {0};

    return getloadavg(load, 1) == 1 ? load[0] : 0;
}

json_t *bench_report_new(const char *name, const struct bench_options *o) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    double load = load_average();
    char cpu[128], date[32];
    time_t now = time(NULL);
    struct utsname u;

    uname(&u);
    cpu_name(cpu, sizeof cpu);
    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    printf("%s, %s: %u rounds of %.2f s per variant, %s\n%s, %ld CPUs, Linux %s, %s, load %.1f\n",
           name, date, o->rounds, o->seconds,
           o->one_cpu ? "all processes on one CPU" : "placement left to the kernel", cpu, cpus,
           u.release, OpenSSL_version(OPENSSL_VERSION), load);
    if (load > (double)cpus / 2)
        printf("the machine has other work to do: whatever waits for another process is told too "
               "low\n");
    return json_pack(
        "{s:i,s:s,s:s,s:I,s:{s:s,s:I,s:s,s:s,s:f},s:{s:f,s:i,s:s},s:[],s:[],s:[],s:[]}", "schema",
        SCHEMA, "benchmark", name, "version", TB_VERSION, "time", (json_int_t)now, "machine", "cpu",
        cpu, "cpus", (json_int_t)cpus, "kernel", u.release, "openssl",
        OpenSSL_version(OPENSSL_VERSION), "load", load, "options", "seconds", o->seconds, "rounds",
        (int)o->rounds, "cpus", o->one_cpu ? "one" : "free", "tables", "costs", "promises",
        "missing");
}

/* Three digits, more before the point when there are more. */
static const char *digits(double v, char dst[16]) {
    snprintf(dst, 16, "%.*f", v >= 100 ? 0 : v >= 10 ? 1 : v >= 1 ? 2 : 3, v);
    return dst;
}

static json_t *row_json(const struct bench_variant *v, const struct bench_variant *rows) {
    json_t *row =
        json_pack("{s:s,s:f,s:f,s:f,s:f,s:f}", "name", v->name, "per_second", v->rate, "min",
                  v->low, "max", v->high, "cpu_us", v->cpu_us, "cpu_all_us", v->all_us);

    if (v->against >= 0) {
        json_object_set_new(row, "against", json_string(rows[v->against].name));
        json_object_set_new(row, "ratio", json_real(v->ratio));
    }
    return row;
}

static void print_row(const struct bench_variant *v, size_t i) {
    char low[16], high[16], range[40], rate[16], cpu[16], all[16], ratio[24] = "";

    snprintf(range, sizeof range, "(%s .. %s)", digits(v->low, low), digits(v->high, high));
    if (v->against >= 0)
        snprintf(ratio, sizeof ratio, "  %.2f of %d", v->ratio, v->against + 1);
    printf("  %2zu  %-*s %10s %22s %8s %8s%s\n", i + 1, BENCH_NAME_MAX, v->name,
           digits(v->rate, rate), range, digits(v->cpu_us, cpu), digits(v->all_us, all), ratio);
}

void bench_report_table(json_t *report, const char *title, const struct bench_variant *v,
                        size_t n) {
    json_t *rows = json_array();

    printf("\n%s\n%*s\n", title, 6 + BENCH_NAME_MAX + 62,
           "per second   (worst .. best round)   CPU us      all  ratio  ");
    for (size_t i = 0; i < n; i++) {
        print_row(&v[i], i);
        json_array_append_new(rows, row_json(&v[i], v));
    }
    json_array_append_new(json_object_get(report, "tables"),
                          json_pack("{s:s,s:o}", "title", title, "rows", rows));
    for (size_t i = 0; i < n; i++) {
        if (v[i].floor > 0)
            bench_report_promise(report, v[i].ratio >= v[i].floor, "%s: at least %.2f of \"%s\"",
                                 v[i].name, v[i].floor, v[v[i].against].name);
        if (v[i].least > 0)
            bench_report_promise(report, v[i].rate >= v[i].least, "%s: at least %.0f per second",
                                 v[i].name, v[i].least);
    }
}

void bench_report_missing(json_t *report, const char *name, const char *reason) {
    printf("  --  %s: not measured: %s\n", name, reason);
    json_array_append_new(json_object_get(report, "missing"),
                          json_pack("{s:s,s:s}", "name", name, "reason", reason));
}

void bench_report_promise(json_t *report, bool kept, const char *fmt, ...) {
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    broken += !kept;
    printf("  promise %s: %s\n", kept ? "kept" : "BROKEN", text);
    json_array_append_new(json_object_get(report, "promises"),
                          json_pack("{s:s,s:b}", "promise", text, "kept", kept));
}

unsigned bench_report_broken(void) {
    return broken;
}

int bench_report_write(const json_t *report, const char *file) {
    int r = json_dump_file(report, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));

    if (r < 0)
        fprintf(stderr, "iot-bench: %s cannot be written\n", file);
    return r;
}
