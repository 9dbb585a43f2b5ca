/* GENERATE KEY PAIR, READ PUBLIC KEY, PUT PUBLIC KEY, COMPUTE DH. */
#include <stdio.h>
#include <string.h>

#include "script.h"

#define XY                                                                                         \
    "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"                             \
    "202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F"
#define POINT  "04" XY
#define PUBKEY "34 45 49 43 86 41" POINT

static uint8_t point[65];

static int setup(void **state) {
    (void)state;
    unhex(POINT, point, sizeof point);
    return 0;
}

/* ---- generation ---- */

static void generate(const struct exchange *exchanges, int r, const char *private_id,
                     const char *public_id) {
    struct iotsafe_ref key = iotsafe_id1(4), priv, pub;
    struct script script;
    struct iotsafe *c = script_open(&script, exchanges, NULL, 0);
    uint8_t got[65];

    memset(&priv, 0xEE, sizeof priv);
    pub = priv;
    assert_int_equal(iotsafe_generate(c, &key, got, &priv, &pub), r);
    if (r == 0) {
        assert_memory_equal(got, point, sizeof got);
        assert_hex(priv.id, priv.id_len, private_id);
        assert_hex(pub.id, pub.id_len, public_id);
    } else {
        assert_int_equal(priv.id_len, 0xEE);
        assert_int_equal(pub.id_len, 0xEE);
    }
    script_close(c, &script);
}

#define B9 "81 B9 00 00 03 840104"

static void generation_tells_the_new_references(void **state) {
    static const struct {
        const char *answer, *private_id, *public_id;
    } table[] = {
        {"840104 850105" PUBKEY "9000", "04", "05"},
        {"84020007 85020008" PUBKEY "9000", "0007", "0008"},
        {PUBKEY "850105 840106 9000", "06", "05"},
        {PUBKEY "9000", "04", "04"}, /* no references at all */
        {"7403414243 840104 850105" PUBKEY "9000", "04", "05"},
        {"840104 850105 34 81 45 49 43 86 41" POINT "63CF", "04", "05"}, /* not a second time */
        {"49 43 86 41" POINT "9000", "04", "04"},
        {POINT "9000", "04", "04"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct exchange x[] = {OPENING, {B9, table[i].answer}, {0}};

        generate(x, 0, table[i].private_id, table[i].public_id);
    }
}

static void refuses_a_generated_key_that_is_none(void **state) {
    static const char *const answers[] = {"9000",
                                          "840104 850105 9000",
                                          "34 45 49 43 86 41 05" XY "9000",
                                          "34 44 49 42 86 40" XY "9000",
                                          "34 00 9000",
                                          "34 02 4900 9000",
                                          "34 45 49 43 86 41 04 9000"};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct exchange x[] = {OPENING, {B9, answers[i]}, {0}};

        generate(x, IOTSAFE_E_FORMAT, NULL, NULL);
    }
}

static void never_generates_twice_by_itself(void **state) {
    const struct exchange link[] = {OPENING, {B9, "LINK"}, {0}};
    const struct exchange timeout[] = {OPENING, {B9, "TIMEOUT"}, {0}};
    const struct exchange done[] = {OPENING, {B9, "840104 850105" PUBKEY "63CF"}, {0}};

    (void)state;
    generate(link, IOTSAFE_E_LINK, NULL, NULL);
    generate(timeout, IOTSAFE_E_TIMEOUT, NULL, NULL);
    generate(done, 0, "04", "05");
}

static void generates_again_where_the_card_has_not(void **state) {
    const struct exchange lost[] = {OPENING,
                                    {B9, "6881"},
                                    {"00 70 80 01 00", "9000"},
                                    {"00 A4 04 00 07 A0000005590010", "9000"},
                                    {"80 B9 00 00 03 840104", "840104 850105" PUBKEY "9000"},
                                    {0}};
    const struct exchange reset[] = {
        OPENING, {B9, "RESET"}, OPENING, {B9, "840104 850105" PUBKEY "9000"}, {0}};
    const struct exchange admin[] = {
        OPENING, {B9, "6984"}, {B9, "840104 850105" PUBKEY "9000"}, {0}};

    (void)state;
    generate(lost, 0, "04", "05");
    generate(reset, 0, "04", "05");
    generate(admin, 0, "04", "05");
}

/* ---- reading ---- */

static void reads_a_public_key_in_every_wrapping(void **state) {
    static const char *const answers[] = {
        PUBKEY "9000",        "49 43 86 41" POINT "9000", POINT "9000",
        "34 41" POINT "9000", "34 43 86 41" POINT "9000", "85 01 04" PUBKEY "9000"};
    struct iotsafe_ref key = iotsafe_id1(4);

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        const struct exchange x[] = {OPENING,
                                     {"81 CD 00 00 03 850104", answers[i]},
                                     {"81 CD 00 00 03 850104", answers[i]},
                                     {0}};
        struct script script;
        struct iotsafe *c = script_open(&script, x, NULL, 0);
        uint8_t buf[100];
        size_t n = 7;

        assert_int_equal(iotsafe_read_public_key(c, &key, buf, sizeof buf, &n), 0);
        assert_hex(buf, n, POINT);
        n = 7;
        assert_int_equal(iotsafe_read_public_key(c, &key, buf, 64, &n), IOTSAFE_E_TOO_SMALL);
        assert_int_equal(n, 7);
        script_close(c, &script);
    }
}

static void returns_other_keys_as_they_are(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 CD 00 00 03 850104", "34 06 30 04 02 02 1234 9000"},
                                 {"81 CD 00 00 03 850104", "9000"},
                                 {"81 CD 00 00 03 850104", "6A82"},
                                 {0}};
    struct iotsafe_ref key = iotsafe_id1(4);
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t buf[100];
    size_t n;

    (void)state;
    assert_int_equal(iotsafe_read_public_key(c, &key, buf, sizeof buf, &n), 0);
    assert_hex(buf, n, "300402021234");
    assert_int_equal(iotsafe_read_public_key(c, &key, buf, sizeof buf, &n), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_read_public_key(c, &key, buf, sizeof buf, &n), IOTSAFE_E_NOT_FOUND);
    script_close(c, &script);
}

/* ---- putting ---- */

static void puts_a_point_in_two_commands(void **state) {
    const struct exchange x[] = {OPENING,
                                 {"81 24 00 01 03 850105", "9000"},
                                 {"81 D8 80 01 47" PUBKEY, "9000"},
                                 {"81 24 00 01 03 850105", "6985"},
                                 {"81 24 01 01 00", "9000"},
                                 {"81 24 00 01 03 850105", "9000"},
                                 {"81 D8 80 01 47" PUBKEY, "6A80"},
                                 {0}};
    struct iotsafe_ref key = iotsafe_id1(5);
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);

    (void)state;
    assert_int_equal(iotsafe_put_public_key(c, &key, point, sizeof point), 0);
    assert_int_equal(iotsafe_put_public_key(c, &key, point, sizeof point), IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_put_public_key(c, &key, point, 0), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

static void puts_larger_keys_in_pieces(void **state) {
    uint8_t big[300];
    char one[700], two[200], hex[700];
    const struct exchange x[] = {
        OPENING, {"81 24 00 01 03 850105", "9000"}, {one, "9000"}, {two, "9000"}, {0}};
    struct iotsafe_ref key = iotsafe_id1(5);
    struct script script;
    struct iotsafe *c;

    (void)state;
    memset(big, 0x30, sizeof big);
    for (size_t i = 0; i < 300; i++)
        memcpy(hex + 2 * i, "30", 3);
    snprintf(one, sizeof one, "81 D8 00 01 FF 34 82 012C %.502s", hex); /* 251 bytes */
    snprintf(two, sizeof two, "81 D8 80 01 31 %.98s", hex);
    c = script_open(&script, x, NULL, 0);
    assert_int_equal(iotsafe_put_public_key(c, &key, big, sizeof big), 0);
    script_close(c, &script);
}

/* ---- agreement ---- */

static void agrees_on_32_bytes(void **state) {
    const struct exchange x[] = {
        OPENING,
        {"81 46 00 00 06 840104 850105", "6120"},
        {"01 C0 00 00 20", "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F 9000"},
        {"81 46 00 00 06 840104 850105", "0001 9000"},
        {"81 46 00 00 06 840104 850105", "6985"},
        {0}};
    struct iotsafe_ref own = iotsafe_id1(4), peer = iotsafe_id1(5);
    struct script script;
    struct iotsafe *c = script_open(&script, x, NULL, 0);
    uint8_t secret[32];

    (void)state;
    assert_int_equal(iotsafe_ecdh(c, &own, &peer, secret), 0);
    assert_memory_equal(secret, point + 1, 32);
    assert_int_equal(iotsafe_ecdh(c, &own, &peer, secret), IOTSAFE_E_FORMAT);
    assert_int_equal(iotsafe_ecdh(c, &own, &peer, secret), IOTSAFE_E_CARD);
    assert_int_equal(iotsafe_ecdh(c, &own, NULL, secret), IOTSAFE_E_ARGUMENT);
    script_close(c, &script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_tells_the_new_references),
        cmocka_unit_test(refuses_a_generated_key_that_is_none),
        cmocka_unit_test(never_generates_twice_by_itself),
        cmocka_unit_test(generates_again_where_the_card_has_not),
        cmocka_unit_test(reads_a_public_key_in_every_wrapping),
        cmocka_unit_test(returns_other_keys_as_they_are),
        cmocka_unit_test(puts_a_point_in_two_commands),
        cmocka_unit_test(puts_larger_keys_in_pieces),
        cmocka_unit_test(agrees_on_32_bytes),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
