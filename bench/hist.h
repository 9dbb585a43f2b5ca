#pragma once
/* Times of many operations, for their quantiles: fixed storage, nothing is allocated while it is
 * filled. Buckets are 1/16 of a power of two wide, so a quantile is told within 3 percent. */
#include <stdint.h>

enum { BENCH_HIST_SUB = 16, BENCH_HIST_BUCKETS = 64 * BENCH_HIST_SUB };

struct bench_hist { /* zeroed to begin with */
    uint64_t n;
    uint32_t count[BENCH_HIST_BUCKETS];
};

void bench_hist_add(struct bench_hist *h, uint64_t ns);
void bench_hist_clear(struct bench_hist *h);
void bench_hist_merge(struct bench_hist *to, const struct bench_hist *from);
/* The time that the part q (0..1) of all operations did not exceed, in microseconds; 0 when there
 * were none. */
double bench_hist_us(const struct bench_hist *h, double q);
