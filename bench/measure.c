/* Variants take turns of 50 ms, in one order and then in the other, until each has had its time:
 * what else the machine does in a round then falls on all of them alike. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "tb/loop.h"

static const double turn_s = 0.05;

/* Operations whose time is about a twentieth of a turn: that keeps the clock out of the figure. */
static unsigned batch_of(const struct bench_round *t, double seconds) {
    double n = t->ns ? (double)t->operations * 1e9 / (double)t->ns * seconds / 20 : 0;

    return n < 1 ? 1 : n < 1e6 ? (unsigned)n : 1000000;
}

int bench_same(const char *what, const char *const *negotiated, size_t n) {
    printf("  %s: %s\n", what, negotiated[0]);
    for (size_t i = 1; i < n; i++)
        if (strcmp(negotiated[i], negotiated[0]) != 0) {
            fprintf(stderr, "iot-bench: no comparison: %s\n", negotiated[i]);
            return TB_EPROTO;
        }
    return 0;
}

static int turn(const struct bench_variant *v, double seconds, struct bench_round *t) {
    uint64_t all = bench_cpu_all(), self = bench_cpu_self();
    uint64_t begin = tb_clock_mono_ns(), now = begin, end = begin + (uint64_t)(seconds * 1e9);
    struct bench_round here = {0};

    while (now < end) {
        unsigned n = batch_of(t->operations ? t : &here, seconds);
        int r = v->fn(v->arg, n);

        if (r == 0 && bench_caught_signal())
            r = TB_ECLOSED;
        if (r < 0)
            return r;
        here.operations += n;
        now = tb_clock_mono_ns();
        here.ns = now - begin;
    }
    t->operations += here.operations;
    t->ns += here.ns;
    t->cpu_self += bench_cpu_self() - self;
    t->cpu_all += bench_cpu_all() - all;
    return 0;
}

void bench_progress(size_t step, size_t steps) {
    if (!isatty(STDERR_FILENO))
        return;
    if (steps)
        fprintf(stderr, "\r\033[K%zu of %zu", step + 1, steps);
    else
        fputs("\r\033[K", stderr);
}

static int round_of_turns(const struct bench_options *o, const struct bench_variant *v, size_t n,
                          size_t round, struct bench_round *results) {
    size_t turns = (size_t)(o->seconds / turn_s + 0.5);

    turns = turns ? turns : 1;
    for (size_t k = 0; k < turns; k++)
        for (size_t i = 0; i < n; i++) {
            size_t which = (round + k) % 2 ? n - 1 - i : i;
            int r =
                turn(&v[which], o->seconds / (double)turns, &results[which * o->rounds + round]);

            if (r < 0) {
                bench_progress(0, 0);
                fprintf(stderr, "iot-bench: %s: %s\n", v[which].name, tb_strerror(r));
                return r;
            }
        }
    return 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts values. */
static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double rate(const struct bench_round *t) {
    return t->ns ? (double)t->operations * 1e9 / (double)t->ns : 0;
}

void bench_summarise(struct bench_variant *v, const struct bench_round *rounds,
                     const struct bench_round *against, size_t n) {
    double rates[BENCH_MAX_ROUNDS], self[BENCH_MAX_ROUNDS], all[BENCH_MAX_ROUNDS];
    double ratios[BENCH_MAX_ROUNDS] = {0};

    for (size_t k = 0; k < n; k++) {
        double operations = rounds[k].operations ? (double)rounds[k].operations : 1;

        rates[k] = rate(&rounds[k]);
        self[k] = (double)rounds[k].cpu_self / 1e3 / operations;
        all[k] = (double)rounds[k].cpu_all / 1e3 / operations;
        if (against)
            ratios[k] = rates[k] / rate(&against[k]);
    }
    v->rate = median(rates, n);
    v->low = rates[0];
    v->high = rates[n - 1];
    v->cpu_us = median(self, n);
    v->all_us = median(all, n);
    v->ratio = median(ratios, n);
    if (v->times) {
        v->p50_us = bench_hist_us(v->times, 0.50);
        v->p99_us = bench_hist_us(v->times, 0.99);
    }
}

int bench_measure(const struct bench_options *o, struct bench_variant *v, size_t n) {
    struct bench_round *results = calloc(n * o->rounds, sizeof *results);
    int r = 0;

    if (!results)
        abort();
    /* Connections, caches and the other side's start are not the subject. */
    for (size_t i = 0; i < n && r == 0; i++) {
        r = v[i].fn(v[i].arg, 3);
        if (r < 0)
            fprintf(stderr, "iot-bench: %s: %s\n", v[i].name, tb_strerror(r));
        if (v[i].times)
            bench_hist_clear(v[i].times);
    }
    for (size_t k = 0; k < o->rounds && r == 0; k++) {
        bench_progress(k, o->rounds);
        r = round_of_turns(o, v, n, k, results);
    }
    bench_progress(0, 0);
    for (size_t i = 0; i < n && r == 0; i++)
        bench_summarise(&v[i], results + i * o->rounds,
                        v[i].against >= 0 ? results + (size_t)v[i].against * o->rounds : NULL,
                        o->rounds);
    free(results);
    return r;
}
