/* Put a peer's key and use it, as one call. */
#include <string.h>

#include "script.h"

#define XY                                                                                         \
    "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"                             \
    "202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F"
#define SECRET  "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
#define PUT     "81 24 00 01 03 850105"
#define KEY     "81 D8 80 01 47 34454943864104" XY
#define DH      "81 46 00 00 06 840104 850105"
#define VINIT   "81 2C 00 01 0D 850105 A10103 91020001 920104"
#define VUPDATE "81 2D 80 01 65 9E20" SECRET "330040" XY

static uint8_t point[65] = {4};
static struct iotsafe_ref own, peer;

static int setup(void **state) {
    (void)state;
    for (size_t i = 0; i < 64; i++)
        point[1 + i] = (uint8_t)i;
    own = iotsafe_id1(4);
    peer = iotsafe_id1(5);
    return 0;
}

static void agree(const struct exchange *exchanges, const struct iotsafe_options *opt, int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, opt, 0);
    uint8_t secret[32];

    assert_int_equal(iotsafe_agree(c, &own, &peer, point, secret), r);
    if (r == 0)
        assert_hex(secret, sizeof secret, SECRET);
    script_close(c, &script);
}

static void verify(const struct exchange *exchanges, const struct iotsafe_options *opt, int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, opt, 0);

    assert_int_equal(iotsafe_verify_by(c, &peer, point, 0, 0, point + 1, 32, point + 1, 64), r);
    script_close(c, &script);
}

static void agreement_costs_three_commands_and_verification_four(void **state) {
    const struct exchange x[] = {OPENING,
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {DH, SECRET "9000"},
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {VINIT, "9000"},
                                 {VUPDATE, "9000"},
                                 {0}};
    struct iotsafe_stats before, middle, after;
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t secret[32];

    (void)state;
    assert_int_equal(iotsafe_select(c), 0);
    iotsafe_stats(c, &before);
    assert_int_equal(iotsafe_agree(c, &own, &peer, point, secret), 0);
    iotsafe_stats(c, &middle);
    assert_int_equal(iotsafe_verify_by(c, &peer, point, 0, 0, point + 1, 32, point + 1, 64), 0);
    iotsafe_stats(c, &after);
    assert_int_equal(middle.apdus - before.apdus, 3);
    assert_int_equal(after.apdus - middle.apdus, 4);
    script_close(c, &script);
}

static void fetches_the_secret(void **state) {
    const struct exchange x[] = {
        OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "6120"}, {"01 C0 00 00 20", SECRET "9000"},
        {0}};

    (void)state;
    agree(x, NULL, 0);
}

static void stops_at_the_first_refusal(void **state) {
    const struct exchange put[] = {OPENING, {PUT, "6A82"}, {0}};
    const struct exchange key[] = {OPENING, {PUT, "9000"}, {KEY, "6A80"}, {0}};
    const struct exchange dh[] = {OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "6985"}, {0}};
    const struct exchange shorter[] = {
        OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "0001 9000"}, {0}};
    const struct exchange bad[] = {OPENING,         {PUT, "9000"},     {KEY, "9000"},
                                   {VINIT, "9000"}, {VUPDATE, "6D01"}, {0}};

    (void)state;
    agree(put, NULL, IOTSAFE_E_NOT_FOUND);
    agree(key, NULL, IOTSAFE_E_CARD);
    agree(dh, NULL, IOTSAFE_E_CARD);
    agree(shorter, NULL, IOTSAFE_E_FORMAT);
    verify(key, NULL, IOTSAFE_E_CARD);
    verify(bad, NULL, IOTSAFE_E_SIGNATURE);
}

/* What was lost in between takes the key with it. */
static void puts_the_key_again_when_the_card_forgot_it(void **state) {
    const struct exchange channel[] = {OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "6881"},
                                       OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, SECRET "9000"},
                                       {0}};
    const struct exchange link[] = {OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "LINK"},
                                    OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, SECRET "9000"},
                                    {0}};
    const struct exchange admin[] = {OPENING,         {PUT, "9000"},     {KEY, "9000"},
                                     {VINIT, "6984"}, {PUT, "9000"},     {KEY, "9000"},
                                     {VINIT, "9000"}, {VUPDATE, "9000"}, {0}};
    const struct exchange twice[] = {OPENING, {PUT, "9000"}, {KEY, "9000"}, {DH, "LINK"},
                                     OPENING, {PUT, "9000"}, {KEY, "LINK"}, {0}};

    (void)state;
    agree(channel, NULL, 0);
    agree(link, NULL, 0);
    verify(admin, NULL, 0);
    agree(twice, NULL, IOTSAFE_E_LINK);
}

/* A session that somebody left open is closed; the key that is in place stays there. */
static void closes_the_session_that_is_in_the_way(void **state) {
    const struct exchange x[] = {OPENING,
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {VINIT, "6985"},
                                 {"81 2C 01 01 00", "9000"},
                                 {VINIT, "9000"},
                                 {VUPDATE, "9000"},
                                 {0}};

    (void)state;
    verify(x, NULL, 0);
}

static void closes_both_sessions_when_asked_to(void **state) {
    const struct iotsafe_options opt = {.close_sessions = 1};
    const struct exchange x[] = {OPENING,
                                 {"81 24 01 01 00", "6985"},
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {"81 24 01 01 00", "9000"},
                                 {"81 2C 01 01 00", "6985"},
                                 {VINIT, "9000"},
                                 {VUPDATE, "9000"},
                                 {"81 2C 01 01 00", "9000"},
                                 {0}};
    const struct exchange y[] = {OPENING,
                                 {"81 24 01 01 00", "6985"},
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {"81 24 01 01 00", "LINK"},
                                 {DH, "6881"},
                                 OPENING,
                                 {"81 24 01 01 00", "6985"},
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {"81 24 01 01 00", "9000"},
                                 {DH, SECRET "9000"},
                                 {0}};

    (void)state;
    verify(x, &opt, 0);
    agree(y, &opt, 0);
}

static void verifies_with_the_other_length_form_without_putting_the_key_again(void **state) {
    const struct exchange x[] = {OPENING,
                                 {PUT, "9000"},
                                 {KEY, "9000"},
                                 {VINIT, "9000"},
                                 {VUPDATE, "6A80"},
                                 {VINIT, "9000"},
                                 {"81 2D 80 01 64 9E20" SECRET "3340" XY, "9000"},
                                 {0}};

    (void)state;
    verify(x, NULL, 0);
}

static void refuses_arguments_that_make_no_sense(void **state) {
    const struct exchange x[] = {{0}};
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    struct iotsafe_ref none = {0};
    uint8_t secret[32];

    (void)state;
    assert_int_equal(iotsafe_agree(c, &none, &peer, point, secret), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_agree(c, &own, NULL, point, secret), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_agree(c, &own, &peer, NULL, secret), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_agree(c, &own, &peer, point, NULL), IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_verify_by(c, &peer, NULL, 0, 0, point, 32, point, 64),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_verify_by(c, &peer, point, 0, 0, point, 32, point, 63),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_verify_by(c, &none, point, 0, 0, point, 32, point, 64),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_agree(NULL, &own, &peer, point, secret), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreement_costs_three_commands_and_verification_four),
        cmocka_unit_test(fetches_the_secret),
        cmocka_unit_test(stops_at_the_first_refusal),
        cmocka_unit_test(puts_the_key_again_when_the_card_forgot_it),
        cmocka_unit_test(closes_the_session_that_is_in_the_way),
        cmocka_unit_test(closes_both_sessions_when_asked_to),
        cmocka_unit_test(verifies_with_the_other_length_form_without_putting_the_key_again),
        cmocka_unit_test(refuses_arguments_that_make_no_sense),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
