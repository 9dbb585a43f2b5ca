#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"
#include "tb/loop.h"

enum { MAX_ROUNDS = 64, MAX_VARIANTS = 16 };

static double cpu_seconds(void) {
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Operations per second over at least o->seconds. */
static int one_round(const struct bench_options *o, const struct bench_variant *v, double *ret_rate,
                     double *ret_cpu_us) {
    uint64_t begin = tb_clock_mono_ns(), now = begin, end = begin + (uint64_t)(o->seconds * 1e9);
    double cpu = cpu_seconds();
    uint64_t total = 0;
    unsigned batch = 1;

    while (now < end) {
        int r = v->fn(v->arg, batch);

        if (r < 0)
            return r;
        total += batch;
        now = tb_clock_mono_ns();
        /* Batches of about a twentieth of the round keep the clock out of the figure. */
        batch = (unsigned)((double)total * 1e9 / (double)(now - begin) * o->seconds / 20) + 1;
    }
    *ret_rate = (double)total * 1e9 / (double)(now - begin);
    *ret_cpu_us = (cpu_seconds() - cpu) * 1e6 / (double)total;
    return 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *values, size_t n) {
    double sorted[MAX_ROUNDS];

    memcpy(sorted, values, n * sizeof *values);
    qsort(sorted, n, sizeof *sorted, compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void summarise(struct bench_variant *v, double rates[][MAX_ROUNDS], size_t i,
                      size_t rounds) {
    double ratios[MAX_ROUNDS];

    v->rate = median(rates[i], rounds);
    v->low = v->high = rates[i][0];
    for (size_t k = 0; k < rounds; k++) {
        v->low = rates[i][k] < v->low ? rates[i][k] : v->low;
        v->high = rates[i][k] > v->high ? rates[i][k] : v->high;
        if (v->against >= 0)
            ratios[k] = rates[i][k] / rates[v->against][k];
    }
    v->ratio = v->against >= 0 ? median(ratios, rounds) : 0;
}

int bench_measure(const struct bench_options *o, struct bench_variant *v, size_t n) {
    static double rates[MAX_VARIANTS][MAX_ROUNDS], cpu[MAX_VARIANTS][MAX_ROUNDS];
    size_t rounds = o->rounds < MAX_ROUNDS ? o->rounds : MAX_ROUNDS;
    bool tty = isatty(STDERR_FILENO);

    if (n > MAX_VARIANTS)
        return TB_ERANGE;
    for (size_t k = 0; k < rounds; k++)
        for (size_t i = 0; i < n; i++) {
            int r;

            if (tty)
                fprintf(stderr, "\r\033[Kround %zu/%zu: %s", k + 1, rounds, v[i].name);
            /* A short turn first: connections, caches and the other side's start are not the
             * subject. */
            r = k == 0 ? v[i].fn(v[i].arg, 3) : 0;
            if (r == 0)
                r = one_round(o, &v[i], &rates[i][k], &cpu[i][k]);
            if (r < 0) {
                fprintf(stderr, "%siot-bench: %s: %s\n", tty ? "\r\033[K" : "", v[i].name,
                        tb_strerror(r));
                return r;
            }
        }
    if (tty)
        fputs("\r\033[K", stderr);
    for (size_t i = 0; i < n; i++) {
        summarise(&v[i], rates, i, rounds);
        v[i].cpu_us = median(cpu[i], rounds);
    }
    return 0;
}

void bench_print(const char *title, const struct bench_variant *v, size_t n, json_t *report) {
    json_t *rows = json_array();

    printf("\n%s\n  %-52s %10s %21s %9s %7s\n", title, "", "per second", "(min .. max)", "CPU us",
           "ratio");
    for (size_t i = 0; i < n; i++) {
        char range[32], ratio[64] = "";

        snprintf(range, sizeof range, "(%.0f .. %.0f)", v[i].low, v[i].high);
        if (v[i].against >= 0)
            snprintf(ratio, sizeof ratio, "%.2f of \"%s\"%s", v[i].ratio, v[v[i].against].name,
                     v[i].floor > 0
                         ? (v[i].ratio >= v[i].floor ? ", promise kept" : ", BELOW PROMISE")
                         : "");
        printf("  %-52s %10.0f %21s %9.1f %s\n", v[i].name, v[i].rate, range, v[i].cpu_us, ratio);
        json_array_append_new(rows, json_pack("{s:s,s:f,s:f,s:f,s:f}", "name", v[i].name,
                                              "per_second", v[i].rate, "min", v[i].low, "max",
                                              v[i].high, "cpu_us", v[i].cpu_us));
        if (v[i].against >= 0) {
            json_t *row = json_array_get(rows, i);

            json_object_set_new(row, "against", json_string(v[v[i].against].name));
            json_object_set_new(row, "ratio", json_real(v[i].ratio));
            if (v[i].floor > 0)
                json_object_set_new(row, "promised", json_real(v[i].floor));
        }
    }
    json_array_append_new(report, json_pack("{s:s,s:o}", "table", title, "rows", rows));
}
