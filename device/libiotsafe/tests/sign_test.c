/* COMPUTE SIGNATURE and VERIFY SIGNATURE against every known applet's habits. */
#include <stdio.h>
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

static void r_and_s_stay_what_they_are_even_when_they_look_like_der(void **state) {
    /* 64 bytes that are a DER signature of two 29-byte integers */
    static const char sig[] =
        "303E 021D 01010101010101010101010101010101010101010101010101010101 01"
        "021D 01010101010101010101010101010101010101010101010101010101 01";
    char answer[200];
    const struct exchange x[] = {OPENING, {INIT, "9000"}, {UPDATE, answer}, {0}};

    (void)state;
    snprintf(answer, sizeof answer, "3340 %s 9000", sig);
    sign(x, NULL, 0, sig, 0);
}

static void refuses_a_signature_that_is_none(void **state) {
    static const char *const answers[] = {"9000",
                                          "00 9000",
                                          "3300 9000",
                                          "330000 9000",
                                          "3340" R "9000",
                                          "3341" R S "00 9000",
                                          "3440" R S "9000",
                                          R S "9000",
                                          "3306 3004 0201 01 0201 9000",
                                          "3341 30" R S "9000"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct exchange x[] = {OPENING, {INIT, "9000"}, {UPDATE, answers[i]}, {0}};

        sign(x, NULL, 0, NULL, IOTSAFE_E_FORMAT);
    }
}

static void fetches_a_signature_in_pieces(void **state) {
    const struct exchange x[] = {OPENING,
                                 {INIT, "9000"},
                                 {UPDATE, "6143"},
                                 {"01 C0 00 00 43", "330040" R "6120"},
                                 {"01 C0 00 00 20", S "9000"},
                                 {0}};

    (void)state;
    sign(x, NULL, 0, R S, 0);
}

static void appends_le_where_the_link_wants_it(void **state) {
    const struct iotsafe_options never = {.le = -1}, always = {.le = 1};
    const struct exchange with[] = {OPENING, {INIT, "9000"}, {UPDATE "00", GOOD}, {0}};
    const struct exchange without[] = {OPENING, {INIT, "9000"}, {UPDATE, GOOD}, {0}};

    (void)state;
    sign(with, NULL, IOTSAFE_TRANSPORT_LE, R S, 0);
    sign(without, &never, IOTSAFE_TRANSPORT_LE, R S, 0);
    sign(with, &always, 0, R S, 0);
    sign(without, NULL, 0, R S, 0);
}

/* A card made for T=0, behind a link that wants Le: it takes the byte for a wrong length. */
static void leaves_le_out_where_the_card_does_not_take_it(void **state) {
    const struct iotsafe_options always = {.le = 1};
    const struct exchange x[] = {OPENING,
                                 {INIT, "9000"},
                                 {UPDATE "00", "6700"},
                                 {INIT, "9000"},
                                 {UPDATE, "6143"},
                                 {"01 C0 00 00 43", GOOD},
                                 {0}};
    const struct exchange told[] = {OPENING, {INIT, "9000"}, {UPDATE "00", "6700"}, {0}};
    const struct exchange once[] = {OPENING,        {INIT, "9000"},   {UPDATE "00", "6700"},
                                    {INIT, "9000"}, {UPDATE, "6700"}, {0}};

    (void)state;
    sign(x, NULL, IOTSAFE_TRANSPORT_LE, R S, 0);
    sign(told, &always, IOTSAFE_TRANSPORT_LE, NULL, IOTSAFE_E_CARD);
    sign(once, NULL, IOTSAFE_TRANSPORT_LE, NULL, IOTSAFE_E_CARD);
}

static void closes_the_session_only_when_the_card_refuses_to_open_one(void **state) {
    static const char *const words[] = {"6985", "6989"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct exchange x[] = {OPENING,        {INIT, words[i]}, {"81 2A 01 01 00", "6985"},
                                     {INIT, "9000"}, {UPDATE, GOOD},   {0}};
        const struct exchange y[] = {
            OPENING, {INIT, words[i]}, {"81 2A 01 01 00", "9000"}, {INIT, words[i]}, {0}};

        sign(x, NULL, 0, R S, 0);
        sign(y, NULL, 0, NULL, i ? IOTSAFE_E_ADMIN : IOTSAFE_E_CARD);
    }
}

static void closes_before_and_after_when_asked_to(void **state) {
    const struct iotsafe_options opt = {.close_sessions = 1, .session = 3};
    const struct exchange x[] = {OPENING,
                                 {"81 2A 01 03 00", "6985"},
                                 {"81 2A 00 03 0D 840101 A10103 91020001 920104", "9000"},
                                 {"81 2B 80 03 22 9E20" DIGEST, GOOD},
                                 {"81 2A 01 03 00", "6F00"},
                                 {0}};
    const struct exchange y[] = {OPENING,
                                 {"81 2A 01 03", "9000"},
                                 {"81 2A 00 03 0D 840101 A10103 91020001 920104", "6A82"},
                                 {"81 2A 01 03", "LINK"},
                                 {0}};

    (void)state;
    sign(x, &opt, 0, R S, 0);
    sign(y, &opt, IOTSAFE_TRANSPORT_LE, NULL, IOTSAFE_E_NOT_FOUND);
}

static void begins_again_when_the_session_or_the_channel_was_lost_in_between(void **state) {
    const struct exchange session[] = {OPENING,
                                       {INIT, "9000"},
                                       {UPDATE, "6985"},
                                       {"81 2A 01 01 00", "9000"},
                                       {INIT, "9000"},
                                       {UPDATE, GOOD},
                                       {0}};
    const struct exchange channel[] = {
        OPENING, {INIT, "9000"}, {UPDATE, "6881"}, OPENING, {INIT, "9000"}, {UPDATE, GOOD}, {0}};
    const struct exchange link[] = {
        OPENING, {INIT, "9000"}, {UPDATE, "LINK"}, OPENING, {INIT, "9000"}, {UPDATE, GOOD}, {0}};
    const struct exchange admin[] = {OPENING,        {INIT, "9000"}, {UPDATE, "330040" S R "63CF"},
                                     {INIT, "9000"}, {UPDATE, GOOD}, {0}};
    const struct exchange invalidated[] = {
        OPENING, {INIT, "6984"}, {INIT, "9000"}, {UPDATE, "6984"}, {0}};

    (void)state;
    sign(session, NULL, 0, R S, 0);
    sign(channel, NULL, 0, R S, 0);
    sign(link, NULL, 0, R S, 0);
    sign(admin, NULL, 0, R S, 0);
    sign(invalidated, NULL, 0, NULL, IOTSAFE_E_ADMIN);
}

static void believes_a_bare_ok_to_init_but_not_to_a_signature(void **state) {
    const struct exchange x[] = {OPENING, {INIT, ""}, {UPDATE, GOOD}, {0}};
    const struct exchange y[] = {OPENING, {INIT, ""}, {UPDATE, ""}, {0}};

    (void)state;
    sign(x, NULL, 0, R S, 0);
    sign(y, NULL, 0, NULL, IOTSAFE_E_FORMAT);
}

static void maps_refusals(void **state) {
    static const struct {
        const char *sw;
        int err;
    } table[] = {
        {"6A82", IOTSAFE_E_NOT_FOUND}, {"6A88", IOTSAFE_E_NOT_FOUND}, {"6A80", IOTSAFE_E_CARD},
        {"6700", IOTSAFE_E_CARD},      {"6A86", IOTSAFE_E_CARD},      {"6400", IOTSAFE_E_CARD},
        {"6F00", IOTSAFE_E_CARD},      {"6200", IOTSAFE_E_CARD},      {"6300", IOTSAFE_E_CARD}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct exchange x[] = {OPENING, {INIT, table[i].sw}, {0}};
        const struct exchange y[] = {OPENING, {INIT, "9000"}, {UPDATE, table[i].sw}, {0}};

        sign(x, NULL, 0, NULL, table[i].err);
        sign(y, NULL, 0, NULL, table[i].err);
    }
}

static void declares_hash_and_algorithm(void **state) {
    static const struct {
        size_t len;
        unsigned hash, alg;
        const char *init;
    } table[] = {{48, 0, 0, "91020002 920104"},
                 {64, 0, 0, "91020004 920104"},
                 {64, IOTSAFE_SHA256, 0, "91020001 920104"},
                 {32, IOTSAFE_SHA384, IOTSAFE_RSA_PSS, "91020002 920102"}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char init[100];
        const struct exchange x[] = {OPENING, {init, "6A80"}, {0}};
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        uint8_t sig[64];
        size_t n;

        snprintf(init, sizeof init, "81 2A 00 01 0D 840101 A10103 %s", table[i].init);
        assert_int_equal(iotsafe_sign(c, &key, table[i].hash, table[i].alg, digest, table[i].len,
                                      sig, sizeof sig, &n),
                         IOTSAFE_E_CARD);
        script_close(c, &script);
    }
}

static void names_keys_by_long_identifier_or_label(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 2A 00 01 0F 8403303036 A10103 91020001 920104", "6A82"},
                                 {"81 2A 00 01 11 7405 636C69656E A10103 91020001 920104", "6A82"},
                                 {0}};
    struct iotsafe_ref zariot = iotsafe_id("006", 3), label = iotsafe_label("clien");
    struct iotsafe_ref long_id = iotsafe_id("0123456789012345678901234", 25),
                       nothing = iotsafe_label("");
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t sig[64];
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_sign(c, &zariot, 0, 0, digest, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_NOT_FOUND);
    assert_int_equal(iotsafe_sign(c, &label, 0, 0, digest, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_NOT_FOUND);
    assert_int_equal(iotsafe_sign(c, &long_id, 0, 0, digest, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, &nothing, 0, 0, digest, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, NULL, 0, 0, digest, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, &zariot, 0, 0, digest, 65, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, &zariot, 0, 0, digest, 0, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, &zariot, 0, 0, NULL, 32, sig, sizeof sig, &n),
                     IOTSAFE_E_ARGUMENT);
    assert_int_equal(iotsafe_sign(c, &zariot, 0, 0, digest, 32, NULL, 0, &n), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void returns_rsa_signatures_whole(void **state) {
    char answer[700], first[600], rest[700], want[600];
    const struct exchange direct[] = {
        OPENING, {"81 2A 00 01 0D 840101 A10103 91020001 920101", "9000"}, {UPDATE, answer}, {0}};
    const struct exchange fetched[] = {OPENING,
                                       {"81 2A 00 01 0D 840101 A10103 91020001 920101", "9000"},
                                       {UPDATE, "6100"},
                                       {"01 C0 00 00 00", first},
                                       {"01 C0 00 00 03", rest},
                                       {0}};
    uint8_t sig[256];
    size_t n;

    (void)state;
    for (size_t i = 0; i < 256; i++)
        snprintf(want + 2 * i, 3, "%02X", (unsigned)i);
    snprintf(answer, sizeof answer, "330100%s9000", want);
    snprintf(first, sizeof first, "330100%.506s6103", want);
    snprintf(rest, sizeof rest, "%s9000", want + 506);
    for (int i = 0; i < 2; i++) {
        struct script script;
        struct iotsafe *c = script_open(&script, i ? fetched : direct, NULL, 0);

        assert_int_equal(
            iotsafe_sign(c, &key, 0, IOTSAFE_RSA_PKCS1, digest, 32, sig, sizeof sig, &n), 0);
        assert_hex(sig, n, want);
        script_close(c, &script);
        c = script_open(&script, i ? fetched : direct, NULL, 0);
        assert_int_equal(iotsafe_sign(c, &key, 0, IOTSAFE_RSA_PKCS1, digest, 32, sig, 255, &n),
                         IOTSAFE_E_TOO_SMALL);
        script_close(c, &script);
    }
}

/* ---- verification ---- */

#define VINIT    "81 2C 00 01 0D 850101 A10103 91020001 920104"
#define VUPDATE  "81 2D 80 01 65 9E20" DIGEST "330040" R S
#define VUPDATE8 "81 2D 80 01 64 9E20" DIGEST "3340" R S

static void verify(const struct exchange *exchanges, int r) {
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, NULL, 0);
    uint8_t sig[64];

    unhex(R S, sig, sizeof sig);
    assert_int_equal(iotsafe_verify(c, &key, 0, 0, digest, 32, sig, sizeof sig), r);
    script_close(c, &script);
}

static void nothing_but_done_is_a_good_signature(void **state) {
    static const struct {
        const char *sw;
        int err;
    } table[] = {{"9000", 0},
                 {"9110", 0},
                 {"6D01", IOTSAFE_E_SIGNATURE},
                 {"6300", IOTSAFE_E_CARD},
                 {"63C0", IOTSAFE_E_CARD},
                 {"6200", IOTSAFE_E_CARD},
                 {"9240", IOTSAFE_E_CARD},
                 {"6A86", IOTSAFE_E_CARD},
                 {"", IOTSAFE_E_FORMAT},
                 {"6A82", IOTSAFE_E_NOT_FOUND},
                 {"TIMEOUT", IOTSAFE_E_TIMEOUT}};

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct exchange x[] = {OPENING, {VINIT, "9000"}, {VUPDATE, table[i].sw}, {0}};

        verify(x, table[i].err);
    }
}

static void verifies_with_the_other_length_form_when_one_is_refused(void **state) {
    const struct exchange x[] = {OPENING,         {VINIT, "9000"},    {VUPDATE, "6A80"},
                                 {VINIT, "9000"}, {VUPDATE8, "9000"}, {0}};
    const struct exchange y[] = {OPENING,         {VINIT, "9000"},    {VUPDATE, "6A80"},
                                 {VINIT, "9000"}, {VUPDATE8, "6700"}, {0}};
    const struct exchange z[] = {OPENING,         {VINIT, "9000"},    {VUPDATE, "6A80"},
                                 {VINIT, "9000"}, {VUPDATE8, "6D01"}, {0}};

    (void)state;
    verify(x, 0);
    verify(y, IOTSAFE_E_CARD);
    verify(z, IOTSAFE_E_SIGNATURE);
}

static void verifies_in_the_form_the_applet_signs_in(void **state) {
    const struct exchange x[] = {OPENING,         {INIT, "9000"},     {UPDATE, "3340" R S "9000"},
                                 {VINIT, "9000"}, {VUPDATE8, "9000"}, {0}};
    const struct exchange y[] = {
        OPENING,
        {INIT, "9000"},
        {UPDATE, "330028 3026 022100" R "020102 9000"},
        {VINIT, "9000"},
        {"81 2D 80 01 4D 9E20" DIGEST "330028 3026 022100" R "020102", "9000"},
        {0}};
    uint8_t sig[64];
    size_t n;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct script script;
        struct iotsafe *c = script_open(&script, i ? y : x, NULL, 0);

        assert_int_equal(iotsafe_sign(c, &key, 0, 0, digest, 32, sig, sizeof sig, &n), 0);
        assert_int_equal(iotsafe_verify(c, &key, 0, 0, digest, 32, sig, n), 0);
        script_close(c, &script);
    }
}

static void chains_what_does_not_fit_into_one_command(void **state) {
    char one[700], two[200], sig_hex[600];
    const struct exchange x[] = {OPENING,
                                 {"81 2C 00 01 0D 850101 A10103 91020001 920101", "9000"},
                                 {one, "9000"},
                                 {two, "9000"},
                                 {0}};
    const struct exchange y[] = {
        OPENING, {"81 2C 00 01 0D 850101 A10103 91020001 920101", "9000"}, {one, "6A86"}, {0}};
    struct script script;
    struct iotsafe *c;
    uint8_t sig[256];

    (void)state;
    memset(sig, 0xA5, sizeof sig);
    for (size_t i = 0; i < 256; i++)
        memcpy(sig_hex + 2 * i, "A5", 3);
    /* 34 bytes of hash, 3 of header, 218 of the signature; then the other 38 */
    snprintf(one, sizeof one, "91 2D 80 01 FF 9E20" DIGEST "330100 %.436s", sig_hex);
    snprintf(two, sizeof two, "81 2D 80 01 26 %.76s", sig_hex);
    c = script_open(&script, x, NULL, 0);
    assert_int_equal(iotsafe_verify(c, &key, 0, IOTSAFE_RSA_PKCS1, digest, 32, sig, sizeof sig), 0);
    script_close(c, &script);
    c = script_open(&script, y, NULL, 0);
    assert_int_equal(iotsafe_verify(c, &key, 0, IOTSAFE_RSA_PKCS1, digest, 32, sig, sizeof sig),
                     IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_verify(c, &key, 0, 0, digest, 32, sig, 63), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(costs_two_commands_once_open),
        cmocka_unit_test(takes_lengths_of_one_and_two_bytes_and_ber),
        cmocka_unit_test(turns_der_into_r_and_s),
        cmocka_unit_test(r_and_s_stay_what_they_are_even_when_they_look_like_der),
        cmocka_unit_test(refuses_a_signature_that_is_none),
        cmocka_unit_test(leaves_le_out_where_the_card_does_not_take_it),
        cmocka_unit_test(fetches_a_signature_in_pieces),
        cmocka_unit_test(appends_le_where_the_link_wants_it),
        cmocka_unit_test(closes_the_session_only_when_the_card_refuses_to_open_one),
        cmocka_unit_test(closes_before_and_after_when_asked_to),
        cmocka_unit_test(begins_again_when_the_session_or_the_channel_was_lost_in_between),
        cmocka_unit_test(believes_a_bare_ok_to_init_but_not_to_a_signature),
        cmocka_unit_test(maps_refusals),
        cmocka_unit_test(declares_hash_and_algorithm),
        cmocka_unit_test(names_keys_by_long_identifier_or_label),
        cmocka_unit_test(returns_rsa_signatures_whole),
        cmocka_unit_test(nothing_but_done_is_a_good_signature),
        cmocka_unit_test(verifies_with_the_other_length_form_when_one_is_refused),
        cmocka_unit_test(verifies_in_the_form_the_applet_signs_in),
        cmocka_unit_test(chains_what_does_not_fit_into_one_command),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
