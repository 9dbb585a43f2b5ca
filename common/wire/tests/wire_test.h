#pragma once
/* What the tests of this folder share: bytes written as hex, seeded random numbers, and inputs that
 * end where their memory ends, so that a sanitizer sees every byte read too far. */
#include "tb/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tb/hex.h"

struct rng {
    uint64_t s;
};

/* TB_SEED in the environment repeats a run. */
static inline struct rng rng_init(void) {
    const char *seed = getenv("TB_SEED");
    struct rng r = {seed ? strtoull(seed, NULL, 0) : 0x10755AFE};

    print_message("TB_SEED=0x%llx\n", (unsigned long long)r.s);
    return r;
}

/* splitmix64 */
static inline uint64_t rng_next(struct rng *r) {
    uint64_t z = r->s += 0x9E3779B97F4A7C15;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

/* 0 … n-1 */
static inline size_t rng_below(struct rng *r, size_t n) {
    return (size_t)(rng_next(r) % n);
}

static inline void rng_fill(struct rng *r, uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)rng_next(r);
}

/* A copy in an allocation of its own; free_exact() it. */
static inline struct tb_span exact(struct tb_span s) {
    uint8_t *p = malloc(s.n ? s.n : 1);

    assert_non_null(p);
    if (s.n)
        memcpy(p, s.p, s.n);
    return tb_span(p, s.n);
}

static inline void free_exact(struct tb_span s) {
    void *p;

    memcpy(&p, &s.p, sizeof p); /* not a cast: the span's pointer is const */
    free(p);
}

/* Hex with blanks, into an allocation of its own; free_exact() it. */
static inline struct tb_span from_hex(const char *text) {
    static uint8_t room[70000];
    struct tb_buf b = TB_BUF(room);

    assert_int_equal(tb_hex_decode_loose(tb_span_str(text), &b), 0);
    return exact(tb_buf_span(&b));
}

#define assert_span_equal(a, b) assert_span_equal_(a, b, __FILE__, __LINE__)
static inline void assert_span_equal_(struct tb_span a, struct tb_span b, const char *file,
                                      int line) {
    char left[160], right[160];

    if (tb_span_eq(a, b))
        return;
    print_error("%zu bytes %s\n%zu bytes %s\n", a.n, tb_hex_str(left, sizeof left, a), b.n,
                tb_hex_str(right, sizeof right, b));
    _fail(file, line);
}
