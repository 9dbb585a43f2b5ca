#pragma once
/* Shared by the core tests: one bench per test, a short way to say what is typed and read. */
#include <stdio.h>

#include "bed.h"

static struct bed *b;

/* A modem with the given quirks (key, value, …, NULL; NULL for generic), a read card, one TE with
 * echo off. */
static inline void use(const char *const *pairs) {
    struct modem_quirks q;

    if (b)
        bed_free(b);
    if (pairs)
        q = bed_quirks(pairs);
    b = bed_new(pairs ? &q : NULL);
}
#define USE(...) use((const char *const[]){__VA_ARGS__, NULL})

static inline int begin(void **state) {
    (void)state;
    use(NULL);
    return 0;
}

static inline int end(void **state) {
    (void)state;
    bed_free(b);
    b = NULL;
    return 0;
}

static inline void says(const char *typed, const char *expected) {
    assert_string_equal(bed_at(b, typed), expected);
}

/* What the card was asked since the last time, one command a line. */
static inline void asked(const char *expected) {
    assert_string_equal(b->log, expected);
    b->log_n = 0;
    b->log[0] = '\0';
}

#define OK         "\r\nOK\r\n"
#define INFO(text) "\r\n" text "\r\n"
#define TEST(f)    cmocka_unit_test_setup_teardown(f, begin, end)
