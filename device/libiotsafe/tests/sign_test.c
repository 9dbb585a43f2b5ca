/* COMPUTE SIGNATURE and VERIFY SIGNATURE against every known applet's habits. */
#include <string.h>

#include "script.h"

#define DIGEST "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
#define R      "8000000000000000000000000000000000000000000000000000000000000001"
#define S      "0000000000000000000000000000000000000000000000000000000000000002"
#define INIT   "81 2A 00 01 0D 840101 A10103 91020001 920104"
#define UPDATE "81 2B 80 01 22 9E20" DIGEST
#define GOOD   "330040" R S "9000"

static uint8_t digest[64];
static struct iotsafe_ref key;

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof digest; i++)
        digest[i] = (uint8_t)i;
    key = iotsafe_id1(1);
    return 0;
}

/* Signs over the script and compares the result; want NULL: r is what is expected. */
static void sign(const struct exchange *exchanges, const struct iotsafe_options *opt,
                 unsigned flags, const char *want, int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, opt, flags);
    uint8_t sig[300];
    size_t n = 77;

    assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), r);
    if (want)
        assert_hex(sig, n, want);
    else
        assert_int_equal(n, 77);
    script_close(c, &script);
}

static void costs_two_commands_once_open(void **state) {
    const struct exchange x[] = {OPENING,        {INIT, "9000"}, {UPDATE, GOOD},
                                 {INIT, "9000"}, {UPDATE, GOOD}, {0}};
    struct iotsafe_stats before, after;
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t sig[64];
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
    iotsafe_stats(c, &before);
    assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
    iotsafe_stats(c, &after);
    assert_int_equal(after.apdus - before.apdus, 2);
    assert_int_equal(after.bytes_out - before.bytes_out, 18 + 39);
    assert_int_equal(after.bytes_in - before.bytes_in, 2 + 69);
    assert_int_equal(after.opens, 1);
    assert_hex(sig, n, R S);
    script_close(c, &script);
}

static void takes_lengths_of_one_and_two_bytes_and_ber(void **state) {
    static const char *const answers[] = {"330040" R S "9000", "3340" R S "9000",
                                          "338140" R S "9000"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct exchange x[] = {OPENING, {INIT, "9000"}, {UPDATE, answers[i]}, {0}};

        sign(x, NULL, 0, R S, 0);
    }
}

static void turns_der_into_r_and_s(void **state) {
    static const char *const answers[] = {"3328 3026 022100" R "020102 9000",
                                          "330028 3026 022100" R "020102 9000"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct exchange x[] = {OPENING, {INIT, "9000"}, {UPDATE, answers[i]}, {0}};

        sign(x, NULL, 0, R S, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_two_commands_once_open),
        cmocka_unit_test(takes_lengths_of_one_and_two_bytes_and_ber),
        cmocka_unit_test(turns_der_into_r_and_s),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
