/* COMPUTE PRF, COMPUTE HKDF, GET RANDOM. */
#include <string.h>

#include "script.h"

#define ZEROS32 "0000000000000000000000000000000000000000000000000000000000000000"
#define BYTES32 "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"

static uint8_t bytes[256];

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    return 0;
}

static void prf_with_secrets_of_the_device_or_the_card(void **state) {
    const struct exchange x[] = {
        OPENING,
        {"81 48 00 00 0D D103000102 D20300 0102 D30104", "AABBCCDD 9000"},
        {"81 48 01 00 0B 860106 D203000102 D30104", "AABBCCDD 9000"},
        {"81 48 02 00 2D 860106 D420" BYTES32 "D203000102 D30104", "AABBCCDD 9000"},
        {"81 48 01 00 0E 7604 6B657931 D203000102 D30104", "AABBCC 9000"},
        {"81 48 01 00 0B 860106 D203000102 D30104", "6A82"},
        {0}};
    struct iotsafe_ref id = iotsafe_id1(6), label = iotsafe_label("key1");
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t out[256];

    (void)state;
    assert_int_equal(iotsafe_prf(c, NULL, bytes, 3, NULL, bytes, 3, out, 4), 0);
    assert_hex(out, 4, "AABBCCDD");
    assert_int_equal(iotsafe_prf(c, &id, NULL, 0, NULL, bytes, 3, out, 4), 0);
    assert_int_equal(iotsafe_prf(c, &id, NULL, 0, bytes, bytes, 3, out, 4), 0);
    assert_int_equal(iotsafe_prf(c, &label, NULL, 0, NULL, bytes, 3, out, 4), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_prf(c, &id, NULL, 0, NULL, bytes, 3, out, 4), IOTSAFE_E_NOT_FOUND);
    assert_int_equal(iotsafe_prf(c, NULL, NULL, 0, NULL, bytes, 3, out, 4), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_prf(c, NULL, bytes, 3, bytes, bytes, 3, out, 4), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_prf(c, &id, NULL, 0, NULL, bytes, 3, out, 256), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_prf(c, NULL, bytes, 200, NULL, bytes, 100, out, 4),
                     IOTSAFE_E_ARGUMENT); /* no short APDU */
    script_close(c, &script);
}

static void hkdf_sends_zeros_for_no_salt(void **state) {
    const struct exchange x[] = {
        OPENING,
        {"81 4A 00 00 48 D120" BYTES32 "D520" BYTES32 "91020001", BYTES32 "9000"},
        {"81 4A 00 00 29 860106 D520" ZEROS32 "91020001", BYTES32 "9000"},
        {"81 4A 00 00 39 860106 D530" ZEROS32 "00000000000000000000000000000000 91020002",
         BYTES32 "9000"},
        {0}};
    struct iotsafe_ref id = iotsafe_id1(6);
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t prk[64];
    size_t n;

    (void)state;
    assert_int_equal(
        iotsafe_hkdf_extract(c, NULL, bytes, 32, bytes, 32, IOTSAFE_SHA256, prk, sizeof prk, &n),
        0);
    assert_hex(prk, n, BYTES32);
    assert_int_equal(
        iotsafe_hkdf_extract(c, &id, NULL, 0, NULL, 0, IOTSAFE_SHA256, prk, sizeof prk, &n), 0);
    assert_int_equal(
        iotsafe_hkdf_extract(c, &id, NULL, 0, NULL, 0, IOTSAFE_SHA384, prk, sizeof prk, &n),
        IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_hkdf_extract(c, &id, NULL, 0, NULL, 0, 3, prk, sizeof prk, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(
        iotsafe_hkdf_extract(c, NULL, NULL, 0, NULL, 0, IOTSAFE_SHA256, prk, sizeof prk, &n),
        IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void random_takes_what_it_gets(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 84 00 00 06", "0102 9000"},
                                 {"81 84 00 00 04", "03040506 0708 6300"},
                                 {"81 84 00 00 02", "9000"},
                                 {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[7] = {0};

    (void)state;
    assert_int_equal(iotsafe_random(c, buf, 6), 0);
    assert_hex(buf, 7, "01020304050600");
    assert_int_equal(iotsafe_random(c, buf, 2), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_random(c, buf, 0), 0);
    assert_int_equal(iotsafe_random(c, NULL, 1), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void random_asks_in_blocks(void **state) {
    char answer[600];
    const struct exchange x[] = {
        OPENING,
        {"81 84 00 00 FF", answer},
        {"81 84 00 00 2D", "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F2021222"
                           "32425262728292A2B2C 9000"},
        {0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[300];

    (void)state;
    for (size_t i = 0; i < 255; i++)
        memcpy(answer + 2 * i, "5A", 3);
    memcpy(answer + 510, "9000", 5);
    assert_int_equal(iotsafe_random(c, buf, sizeof buf), 0);
    assert_hex(buf + 253, 5, "5A5A000102");
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prf_with_secrets_of_the_device_or_the_card),
        cmocka_unit_test(hkdf_sends_zeros_for_no_salt),
        cmocka_unit_test(random_takes_what_it_gets),
        cmocka_unit_test(random_asks_in_blocks),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
