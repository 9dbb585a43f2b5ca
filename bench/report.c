#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "matrix.h"
#include "tb/loop.h"

enum { SCHEMA = 1 }; /* of the JSON; members may be added to it, not changed (docs/benchmarks.md) */

static const char *const lists[] = {"tables", "costs", "modelled", "sizes", "promises", "missing"};

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

static struct {
    uint64_t mono_ns, own_ns;
    unsigned long long busy; /* ticks of all CPUs */
} start;

/* What all CPUs have worked since the system's start, in ticks: the first line of /proc/stat, but
 * for its columns 4 and 5, which are idleness. */
static unsigned long long busy_ticks(void) {
    FILE *f = fopen("/proc/stat", "re");
    unsigned long long sum = 0, v;
    char line[256], *p = line + 3;

    if (!f || !fgets(line, sizeof line, f) || strncmp(line, "cpu", 3) != 0)
        *p = 0;
    for (unsigned i = 1; i <= 7; i++) {
        v = strtoull(p, &p, 10);
        sum += i == 4 || i == 5 ? 0 : v;
    }
    if (f)
        fclose(f);
    return sum;
}

/* CPUs that were busy with something else than this run, on average. */
static double other_cpus(void) {
    double seconds = (double)(tb_clock_mono_ns() - start.mono_ns) / 1e9;
    double busy = (double)(busy_ticks() - start.busy) / (double)sysconf(_SC_CLK_TCK);
    double own = (double)(bench_cpu_all() - start.own_ns) / 1e9;

    return busy > own ? (busy - own) / seconds : 0;
}

static void print_head(const char *name, const struct bench_options *o, const char *machine) {
    char date[32];
    time_t now = time(NULL);

    strftime(date, sizeof date, "%Y-%m-%d", gmtime(&now));
    printf("%s, %s", name, date);
    if (o->rounds)
        printf(": %u rounds of %.2f s per variant, %s", o->rounds, o->seconds,
               o->one_cpu ? "all processes on one CPU" : "placement left to the kernel");
    printf("\n%s\n", machine);
}

json_t *bench_report_new(const char *name, const struct bench_options *o) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const char *openssl = OpenSSL_version(OPENSSL_VERSION);
    char cpu[128], machine[400];
    struct utsname u;
    json_t *report;

    uname(&u);
    cpu_name(cpu, sizeof cpu);
    snprintf(machine, sizeof machine, "%s, %ld CPUs, Linux %s, %s", cpu, cpus, u.release, openssl);
    print_head(name, o, machine);
    report = json_pack("{s:i,s:s,s:s,s:I}", "schema", SCHEMA, "benchmark", name, "version",
                       TB_VERSION, "time", (json_int_t)time(NULL));
    json_object_set_new(report, "command", json_string(o->command));
    json_object_set_new(report, "machine",
                        json_pack("{s:s,s:I,s:s,s:s}", "cpu", cpu, "cpus", (json_int_t)cpus,
                                  "kernel", u.release, "openssl", openssl));
    json_object_set_new(report, "options",
                        json_pack("{s:f,s:i,s:s}", "seconds", o->seconds, "rounds", (int)o->rounds,
                                  "cpus", o->one_cpu ? "one" : "free"));
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        json_object_set_new(report, lists[i], json_array());
    start.busy = busy_ticks();
    start.own_ns = bench_cpu_all();
    start.mono_ns = tb_clock_mono_ns();
    return report;
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

    for (unsigned i = 0; v->is && i < BENCH_AXES; i++)
        json_object_set_new(row, bench_axis_name(i), json_string(bench_axis_value(v->is, i)));
    if (v->times) {
        json_object_set_new(row, "p50_us", json_real(v->p50_us));
        json_object_set_new(row, "p99_us", json_real(v->p99_us));
    }
    if (v->against >= 0) {
        json_object_set_new(row, "against", json_string(rows[v->against].name));
        json_object_set_new(row, "ratio", json_real(v->ratio));
        if (v->floor > 0)
            json_object_set_new(row, "promised", json_real(v->floor));
    }
    return row;
}

static void print_row(const struct bench_variant *v, size_t i) {
    char low[16], high[16], range[40], rate[16], cpu[16], all[16], p50[16] = "", p99[16] = "";

    snprintf(range, sizeof range, "(%s .. %s)", digits(v->low, low), digits(v->high, high));
    if (v->times) {
        digits(v->p50_us / 1e3, p50);
        digits(v->p99_us / 1e3, p99);
    }
    printf("  %2zu  %-*s %8s %18s %7s %7s %7s %7s", i + 1, BENCH_NAME_MAX, v->name,
           digits(v->rate, rate), range, digits(v->cpu_us, cpu), digits(v->all_us, all), p50, p99);
    if (v->against >= 0)
        printf("  %.2f of %d", v->ratio, v->against + 1);
    putchar('\n');
}

void bench_report_table(json_t *report, const char *title, const struct bench_variant *v,
                        size_t n) {
    json_t *rows = json_array();
    int topic = (int)strcspn(title, "(;"); /* what promises are about */
    bool times = false;

    while (topic > 0 && title[topic - 1] == ' ')
        topic--;

    for (size_t i = 0; i < n; i++)
        times = times || v[i].times;
    printf("\n%s\n%*s %18s %7s %7s %7s %7s  ratio\n", title, 6 + BENCH_NAME_MAX + 9, "per second",
           "(worst .. best)", "CPU us", "all", times ? "p50 ms" : "", times ? "p99 ms" : "");
    for (size_t i = 0; i < n; i++) {
        print_row(&v[i], i);
        json_array_append_new(rows, row_json(&v[i], v));
    }
    json_array_append_new(json_object_get(report, "tables"),
                          json_pack("{s:s,s:o}", "title", title, "rows", rows));
    for (size_t i = 0; i < n; i++) {
        if (v[i].floor > 0)
            bench_report_promise(report, v[i].ratio >= v[i].floor,
                                 "%.*s: %s: at least %.2f of \"%s\"", topic, title, v[i].name,
                                 v[i].floor, v[v[i].against].name);
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
    char text[256];
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

void bench_report_end(json_t *report) {
    double others = other_cpus();

    json_object_set_new(json_object_get(report, "machine"), "others", json_real(others));
    printf("\nMeanwhile other programs kept %.2f of the CPUs busy%s.\n", others,
           others > 0.2 ? ": what waits for other processes is told too low" : "");
}

int bench_report_write(const json_t *report, const char *file) {
    int r = json_dump_file(report, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));

    if (r < 0)
        fprintf(stderr, "iot-bench: %s cannot be written\n", file);
    return r;
}
