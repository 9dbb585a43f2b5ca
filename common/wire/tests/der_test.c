#include "tb/der.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>

#include "wire_test.h"

enum { HALF_MAX = 66, RAW_MAX = 2 * HALF_MAX, DER_MAX = 160 };

/* What OpenSSL makes of r || s. */
static size_t openssl_der(struct tb_span raw, uint8_t der[DER_MAX]) {
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int half = (int)(raw.n / 2), n;

    assert_int_equal(
        ECDSA_SIG_set0(sig, BN_bin2bn(raw.p, half, NULL), BN_bin2bn(raw.p + half, half, NULL)), 1);
    n = i2d_ECDSA_SIG(sig, &der);
    assert_in_range(n, 8, DER_MAX);
    ECDSA_SIG_free(sig);
    return (size_t)n;
}

static void both_ways_like_openssl(struct tb_span raw) {
    uint8_t want[DER_MAX], der_room[DER_MAX], raw_room[RAW_MAX];
    size_t n = openssl_der(raw, want);
    struct tb_buf der = TB_BUF(der_room), back = TB_BUF(raw_room);

    assert_int_equal(tb_ecdsa_raw_to_der(raw, &der), 0);
    assert_span_equal(tb_buf_span(&der), tb_span(want, n));
    assert_int_equal(tb_ecdsa_der_to_raw(tb_buf_span(&der), raw.n / 2, &back), 0);
    assert_span_equal(tb_buf_span(&back), raw);
    if (raw.n == 64)
        assert_true(n <= TB_ECDSA_DER_MAX_256);
}

static void converts_random_signatures_like_openssl(void **state) {
    static const size_t halves[] = {32, 48, 66};
    struct rng rng = rng_init();
    (void)state;

    for (int round = 0; round < 3000; round++) {
        uint8_t raw[RAW_MAX];
        size_t half = halves[rng_below(&rng, 3)];

        rng_fill(&rng, raw, 2 * half);
        /* Leading zeros come once in 256 by chance; make them common. */
        memset(raw, 0, rng_below(&rng, 4) ? 0 : rng_below(&rng, half + 1));
        memset(raw + half, 0, rng_below(&rng, 4) ? 0 : rng_below(&rng, half + 1));
        both_ways_like_openssl(tb_span(raw, 2 * half));
    }
}

static void converts_the_edges_like_openssl(void **state) {
    static const uint8_t edges[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
    (void)state;

    for (size_t zeros = 0; zeros < 32; zeros++) {
        for (size_t i = 0; i < sizeof edges; i++) {
            uint8_t raw[64];

            memset(raw, 0x5A, sizeof raw);
            memset(raw, 0, zeros);
            raw[zeros] = edges[i];
            both_ways_like_openssl(tb_span(raw, sizeof raw));
            memset(raw, 0xFF, 32);
            memset(raw + 32, 0, zeros);
            raw[32 + zeros] = edges[i];
            both_ways_like_openssl(tb_span(raw, sizeof raw));
        }
    }
}

static void appends_or_leaves_the_output_alone(void **state) {
    uint8_t raw[64], room[80] = {0x77}, want[DER_MAX];
    size_t n;
    (void)state;

    memset(raw, 0xFF, sizeof raw);
    n = openssl_der(tb_span(raw, sizeof raw), want);
    assert_int_equal(n, TB_ECDSA_DER_MAX_256);
    for (size_t cap = 1; cap <= 1 + n; cap++) {
        struct tb_buf b = {room, 1, cap, false}, before = b;
        int r = tb_ecdsa_raw_to_der(tb_span(raw, sizeof raw), &b);

        assert_int_equal(r, cap == 1 + n ? 0 : TB_ESPACE);
        if (r < 0)
            assert_memory_equal(&b, &before, sizeof b);
        else
            assert_span_equal(tb_span(room + 1, b.n - 1), tb_span(want, n));
        assert_int_equal(room[0], 0x77);
    }
    for (size_t cap = 0; cap < 64; cap++) {
        struct tb_buf b = tb_buf(room, cap), before = b;

        assert_int_equal(tb_ecdsa_der_to_raw(tb_span(want, n), 32, &b), TB_ESPACE);
        assert_memory_equal(&b, &before, sizeof b);
    }
}

static void refuses_sizes_of_no_curve(void **state) {
    static const size_t bad[] = {0, 1, 62, 63, 65, 134};
    uint8_t raw[134] = {1}, room[200];
    struct tb_buf b = TB_BUF(room);
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tb_ecdsa_raw_to_der(tb_span(raw, bad[i]), &b), TB_ERANGE);
    assert_int_equal(tb_ecdsa_der_to_raw(TB_BYTES(0x30, 6, 2, 1, 1, 2, 1, 1), 31, &b), TB_ERANGE);
    assert_int_equal(tb_ecdsa_der_to_raw(TB_BYTES(0x30, 6, 2, 1, 1, 2, 1, 1), 67, &b), TB_ERANGE);
    assert_int_equal(b.n, 0);
}

static void refuses_what_is_not_strict_der(void **state) {
    static const char *const bad[] = {
        "",
        "30",
        "31 06 020101 020101",        /* a set */
        "30 06 020101 030101",        /* a bit string */
        "30 05 0200 020101",          /* no content */
        "30 06 020181 020101",        /* negative */
        "30 07 02020001 020101",      /* padded without need */
        "30 08 0203000080 020101",    /* padded twice */
        "30 06 020101 020101 00",     /* something behind */
        "30 07 020101 020101 00",     /* something inside */
        "30 03 020101",               /* one integer */
        "30 09 020101 020101 020101", /* three */
        "30 8106 020101 020101",      /* length in a longer form */
        "30 820006 020101 020101",
        "30 07 02810101 020101",
        "30 80 020101 020101 0000", /* indefinite */
        "30 05 020101 020101",      /* cut off by its own length */
        "30 07 020101 020101",      /* longer than the input */
        "30 06 020201 020101",
        "30 FF 020101 020101",
        "30 88FFFFFFFFFFFFFFFF 020101 020101",
        "30 26 022101A0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBF 020101",
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tb_span der = from_hex(bad[i]);
        uint8_t room[64];
        struct tb_buf b = TB_BUF(room), before = b;

        if (tb_ecdsa_der_to_raw(der, 32, &b) != TB_EPARSE)
            fail_msg("%s: accepted", bad[i]);
        assert_memory_equal(&b, &before, sizeof b);
        free_exact(der);
    }
}

static void rejects_every_truncation(void **state) {
    uint8_t raw[RAW_MAX], der_room[DER_MAX], room[RAW_MAX];
    struct tb_buf der = TB_BUF(der_room);
    (void)state;

    memset(raw, 0x81, sizeof raw);
    assert_int_equal(tb_ecdsa_raw_to_der(tb_span(raw, sizeof raw), &der), 0);
    for (size_t n = 0; n < der.n; n++) {
        struct tb_span cut = exact(tb_span(der_room, n));
        struct tb_buf b = TB_BUF(room);

        assert_int_equal(tb_ecdsa_der_to_raw(cut, HALF_MAX, &b), TB_EPARSE);
        assert_int_equal(b.n, 0);
        free_exact(cut);
    }
}

static void measures_objects(void **state) {
    static const struct {
        const char *hex;
        int r;
        size_t len;
    } heads[] = {
        {"3000", 0, 2},
        {"3003", 0, 5},
        {"3003 010203 FFFF", 0, 5}, /* zero or FF padding behind a certificate file */
        {"308180", 0, 131},
        {"30820122", 0, 294},
        {"3083010000", 0, 65541},
        {"3084FFFFFFFF", 0, (size_t)0xFFFFFFFF + 6},
        {"", TB_EMORE, 0},
        {"30", TB_EMORE, 0},
        {"3082", TB_EMORE, 0},
        {"308201", TB_EMORE, 0},
        {"3084010000", TB_EMORE, 0},
        {"3080", TB_EPARSE, 0},
        {"30817F", TB_EPARSE, 0},
        {"308200", TB_EPARSE, 0},
        {"30820022", TB_EPARSE, 0},
        {"30850100000000", TB_EPARSE, 0},
        {"30FF", TB_EPARSE, 0},
        {"0000", TB_EPARSE, 0},
        {"FFFF", TB_EPARSE, 0},
    };
    (void)state;

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct tb_span in = from_hex(heads[i].hex);
        size_t len = 0xEE;
        int r = tb_der_object_len(in, &len);

        if (r != heads[i].r || len != (r == 0 ? heads[i].len : 0xEE))
            fail_msg("%s: %d, %zu", heads[i].hex, r, len);
        free_exact(in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converts_random_signatures_like_openssl),
        cmocka_unit_test(converts_the_edges_like_openssl),
        cmocka_unit_test(appends_or_leaves_the_output_alone),
        cmocka_unit_test(refuses_sizes_of_no_curve),
        cmocka_unit_test(refuses_what_is_not_strict_der),
        cmocka_unit_test(rejects_every_truncation),
        cmocka_unit_test(measures_objects),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
