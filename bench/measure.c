/* Variants take turns of 50 ms, in one order and then in the other, until each has had its time:
 * what else the machine does in a round then falls on all of them alike. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "tb/loop.h"

enum { MAX_ROUNDS = 64, MAX_VARIANTS = 16 };
static const double turn_s = 0.05;

/* What one variant did in one round. */
struct tally {
    uint64_t operations, ns, cpu_self, cpu_all;
};

static struct tally tallies[MAX_VARIANTS][MAX_ROUNDS];

/* Operations whose time is about a twentieth of a turn: that keeps the clock out of the figure. */
static unsigned batch_of(const struct tally *t, double seconds) {
    double n = t->ns ? (double)t->operations * 1e9 / (double)t->ns * seconds / 20 : 0;

    return n < 1 ? 1 : n < 1e6 ? (unsigned)n : 1000000;
}

static int turn(const struct bench_variant *v, double seconds, struct tally *t) {
    uint64_t all = bench_cpu_all(), self = bench_cpu_self();
    uint64_t begin = tb_clock_mono_ns(), now = begin, end = begin + (uint64_t)(seconds * 1e9);
    struct tally here = {0};

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

static void progress(size_t round, size_t rounds) {
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s%.0zu", round < rounds ? "round " : "",
                round < rounds ? round + 1 : 0);
}

static int round_of_turns(const struct bench_options *o, const struct bench_variant *v, size_t n,
                          size_t round) {
    size_t turns = (size_t)(o->seconds / turn_s + 0.5);

    turns = turns ? turns : 1;
    for (size_t k = 0; k < turns; k++)
        for (size_t i = 0; i < n; i++) {
            size_t which = (round + k) % 2 ? n - 1 - i : i;
            int r = turn(&v[which], o->seconds / (double)turns, &tallies[which][round]);

            if (r < 0) {
                progress(1, 1);
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

static double rate(const struct tally *t) {
    return (double)t->operations * 1e9 / (double)t->ns;
}

static void summarise(struct bench_variant *v, size_t i, size_t rounds) {
    double rates[MAX_ROUNDS], self[MAX_ROUNDS], all[MAX_ROUNDS], ratios[MAX_ROUNDS] = {0};

    for (size_t k = 0; k < rounds; k++) {
        const struct tally *t = &tallies[i][k];

        rates[k] = rate(t);
        self[k] = (double)t->cpu_self / 1e3 / (double)t->operations;
        all[k] = (double)t->cpu_all / 1e3 / (double)t->operations;
        if (v->against >= 0)
            ratios[k] = rates[k] / rate(&tallies[v->against][k]);
    }
    v->rate = median(rates, rounds);
    v->low = rates[0];
    v->high = rates[rounds - 1];
    v->cpu_us = median(self, rounds);
    v->all_us = median(all, rounds);
    v->ratio = median(ratios, rounds);
}

int bench_measure(const struct bench_options *o, struct bench_variant *v, size_t n) {
    size_t rounds = o->rounds < MAX_ROUNDS ? o->rounds : MAX_ROUNDS;
    int r = n <= MAX_VARIANTS ? 0 : TB_ERANGE;

    memset(tallies, 0, sizeof tallies);
    /* Connections, caches and the other side's start are not the subject. */
    for (size_t i = 0; i < n && r == 0; i++) {
        r = v[i].fn(v[i].arg, 3);
        if (r < 0)
            fprintf(stderr, "iot-bench: %s: %s\n", v[i].name, tb_strerror(r));
    }
    for (size_t k = 0; k < rounds && r == 0; k++) {
        progress(k, rounds);
        r = round_of_turns(o, v, n, k);
    }
    if (r < 0)
        return r;
    progress(rounds, rounds);
    for (size_t i = 0; i < n; i++)
        summarise(&v[i], i, rounds);
    return 0;
}
