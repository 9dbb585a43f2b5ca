#include "hist.h"

#include <string.h>

/* Values below 16 have buckets of their own; above, four bits behind the leading one tell which. */
static unsigned bucket_of(uint64_t v) {
    unsigned top;

    if (v < BENCH_HIST_SUB)
        return (unsigned)v;
    top = 63 - (unsigned)__builtin_clzll(v);
    return (top - 3) * BENCH_HIST_SUB + (unsigned)((v >> (top - 4)) & (BENCH_HIST_SUB - 1));
}

/* The middle of a bucket. */
static double value_of(unsigned bucket) {
    unsigned top = bucket / BENCH_HIST_SUB + 3, sub = bucket % BENCH_HIST_SUB;

    if (bucket < BENCH_HIST_SUB)
        return bucket;
    return ((double)(BENCH_HIST_SUB + sub) + 0.5) * (double)(UINT64_C(1) << (top - 4));
}

void bench_hist_add(struct bench_hist *h, uint64_t ns) {
    h->n++;
    h->count[bucket_of(ns)]++;
}

void bench_hist_clear(struct bench_hist *h) {
    memset(h, 0, sizeof *h);
}

void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from) {
    to->n += from->n;
    for (unsigned i = 0; i < BENCH_HIST_BUCKETS; i++)
        to->count[i] += from->count[i];
}

double bench_hist_us(const struct bench_hist *h, double q) {
    uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;

    for (unsigned i = 0; i < BENCH_HIST_BUCKETS; i++) {
        seen += h->count[i];
        if (h->count[i] && seen > want)
            return value_of(i) / 1e3;
    }
    return 0;
}
