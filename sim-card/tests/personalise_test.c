#include <openssl/x509.h>
#include <stdlib.h>

#include "fixture.h"
#include "simcard/personalise.h"
#include "tb/test.h"

static struct card_nvm *nvm;

static int make_nvm(void **state) {
    (void)state;
    nvm = card_nvm_mem_new(0);
    return nvm ? 0 : -1;
}

static int free_nvm(void **state) {
    (void)state;
    card_nvm_free(nvm);
    return 0;
}

static struct card *powered(void) {
    const struct card_config cfg = {.nvm = nvm};
    struct tb_span atr;
    int r;
    struct card *card = card_new(&cfg, &r);

    assert_non_null(card);
    assert_int_equal(card_power_on(card, &atr), 0);
    return card;
}

static int identity(const char *iccid, const char *imsi, const char *spn, uint8_t mnc) {
    const struct card_identity id = {.iccid = iccid, .imsi = imsi, .spn = spn, .mnc_digits = mnc};

    return card_perso_identity(nvm, &id);
}

static void identities_outside_the_limits_are_refused(void **state) {
    (void)state;
    assert_int_equal(identity(NULL, NULL, NULL, 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012", NULL, NULL, 0), TB_ERANGE);
    assert_int_equal(identity("890001234567890123456", NULL, NULL, 0), TB_ERANGE);
    assert_int_equal(identity("8900012345678901234a", NULL, NULL, 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", "00101", NULL, 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", "0010101234567890", NULL, 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", NULL, "seventeen letters", 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", NULL, "caf\xC3\xA9", 0), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", NULL, NULL, 4), TB_ERANGE);
    assert_int_equal(identity("89000123456789012345", "001010123456789", "red", 3), 0);
}

static void identity_shows_in_the_files(void **state) {
    struct card *card;
    char iccid[21];

    (void)state;
    assert_int_equal(identity("8900012345678901234", "31015012345678", "blue", 3), 0);
    card = powered();
    card_iccid(card, iccid);
    assert_string_equal(iccid, "8900012345678901234");
    assert_string_equal(fx_run(card, "00B082000A"), "980010325476981032F49000");
    assert_string_equal(fx_run(card, "00A4040C07A0000000871002"), "9000");
    assert_string_equal(fx_run(card, "00B0870009"), "0831015110325476F89000"); /* even: parity 1 */
    card_free(card);
}

static int applet(const char *aid_hex, uint8_t instance) {
    uint8_t aid[32];
    struct tb_buf b = TB_BUF(aid);

    assert_int_equal(tb_hex_decode(tb_span_str(aid_hex), &b), 0);
    return card_perso_applet(nvm, tb_buf_span(&b), instance, card_profile_find("gsma"));
}

static void applets_need_an_aid_of_their_own(void **state) {
    (void)state;
    assert_int_equal(applet("A0000005", 0), TB_ERANGE);
    assert_int_equal(applet("A000000559001000112233445566778899", 0), TB_ERANGE);
    assert_int_equal(applet("A0000005590010", 0), 0);
    assert_int_equal(applet("A0000005590010", 1), TB_ESTATE);
    for (int i = 1; i < 32; i++) {
        char aid[15];

        snprintf(aid, sizeof aid, "A00000055900%02X", 0x10 + i);
        assert_int_equal(applet(aid, 0), 0);
    }
    assert_int_equal(applet("A0000005590099", 0), TB_ESPACE);
}

static struct card_object_spec file(uint8_t id, const char *content) {
    static uint8_t ids[256];

    ids[id] = id;
    return (struct card_object_spec){
        .cls = CARD_FILE, .id = {&ids[id], 1}, .access = 1, .value = tb_span_str(content)};
}

static void instances_have_objects_of_their_own_and_aliases_share_them(void **state) {
    struct card_object_spec one = file(1, "one"), two = file(1, "two");
    struct card *card;

    (void)state;
    assert_int_equal(applet("A0000005590010", 0), 0);
    assert_int_equal(applet("A0000002480400", 0), 0);
    assert_int_equal(applet("A0000002480401", 7), 0);
    assert_int_equal(card_perso_object(nvm, 0, &one), 0);
    assert_int_equal(card_perso_object(nvm, 7, &two), 0);
    assert_int_equal(card_perso_object(nvm, 7, &two), TB_ESTATE);
    card = powered();
    fx_run(card, "01A4040007A0000005590010");
    assert_string_equal(fx_run(card, "81B0000003830101"), "6F6E659000");
    fx_run(card, "01A4040007A0000002480400");
    assert_string_equal(fx_run(card, "81B0000003830101"), "6F6E659000");
    fx_run(card, "01A4040007A0000002480401");
    assert_string_equal(fx_run(card, "81B0000003830101"), "74776F9000");
    card_free(card);
}

static void objects_outside_the_limits_are_refused(void **state) {
    static const uint8_t bytes[70];
    const struct card_object_spec wrong[] = {
        {.cls = CARD_FILE, .id = {bytes, 0}, .capacity = 1},
        {.cls = CARD_FILE, .id = {bytes, 21}, .capacity = 1},
        {.cls = CARD_FILE, .id = {bytes, 1}, .label = {bytes, 61}, .capacity = 1},
        {.cls = CARD_FILE, .id = {bytes, 1}}, /* no size at all */
        {.cls = CARD_FILE, .id = {bytes, 1}, .capacity = 65536},
        {.cls = CARD_FILE, .id = {bytes, 1}, .value = {bytes, 2}, .capacity = 1},
        {.cls = CARD_FILE, .id = {bytes, 1}, .capacity = 1, .access = 4},
        {.cls = CARD_FILE, .id = {bytes, 1}, .capacity = 1, .file_usage = 3},
        {.cls = CARD_FILE, .id = {bytes, 1}, .capacity = 1, .pair = {bytes, 1}},
        {.cls = CARD_SECRET, .id = {bytes, 1}, .key_type = TB_SAFE_HMAC, .value = {bytes, 65}},
        {.cls = CARD_SECRET, .id = {bytes, 1}, .key_type = TB_SAFE_P256, .value = {bytes, 16}},
        {.cls = CARD_SECRET, .id = {bytes, 1}, .key_type = TB_SAFE_AES, .value = {bytes, 15}},
        {.cls = CARD_SECRET, .id = {bytes, 1}, .key_type = TB_SAFE_AES, .sign_alg = 4},
        {.cls = CARD_SECRET, .id = {bytes, 1}, .key_type = TB_SAFE_HMAC, .sign_alg = 8},
        {.cls = CARD_PRIVATE, .id = {bytes, 1}, .key_type = TB_SAFE_AES},
        {.cls = CARD_PRIVATE, .id = {bytes, 1}, .key_type = TB_SAFE_HMAC},
        {.cls = CARD_PRIVATE, .id = {bytes, 1}, .key_type = TB_SAFE_P256, .crypto = 0x10},
        {.cls = CARD_PRIVATE, .id = {bytes, 1}, .key_type = TB_SAFE_P256, .key_usage = 4},
        {.cls = CARD_PRIVATE,
         .id = {bytes, 1},
         .key_type = TB_SAFE_P256_VOLATILE,
         .value = {fx_scalar, 32}},
    };
    const struct card_object_spec no_key = {
        .cls = CARD_PRIVATE, .id = {bytes, 1}, .key_type = TB_SAFE_P256, .value = {bytes, 32}};
    const struct card_object_spec no_point = {
        .cls = CARD_PUBLIC, .id = {bytes, 1}, .key_type = TB_SAFE_P256, .value = {bytes, 65}};

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(card_perso_object(nvm, 0, &wrong[i]), TB_ERANGE);
    assert_int_equal(card_perso_object(nvm, 0, &no_key), TB_EPARSE);
    assert_int_equal(card_perso_object(nvm, 0, &no_point), TB_EPARSE);
}

static void labels_are_unique_within_their_class(void **state) {
    struct card_object_spec a = file(1, "x"), b = file(2, "y");
    struct card_object_spec secret = {.cls = CARD_SECRET,
                                      .id = a.id,
                                      .label = tb_span_str("name"),
                                      .key_type = TB_SAFE_HMAC,
                                      .value = tb_span_str("k")};

    (void)state;
    a.label = b.label = tb_span_str("name");
    assert_int_equal(card_perso_object(nvm, 0, &a), 0);
    assert_int_equal(card_perso_object(nvm, 0, &b), TB_ESTATE);
    assert_int_equal(card_perso_object(nvm, 0, &secret), 0);
    assert_int_equal(card_perso_object(nvm, 1, &b), 0);
}

static void generate_pair(uint8_t key_type, size_t public_n) {
    const struct card_object_spec private_key = {.cls = CARD_PRIVATE,
                                                 .id = TB_BYTES(1),
                                                 .access = 2,
                                                 .key_type = key_type,
                                                 .crypto = TB_SAFE_CAN_SIGN,
                                                 .pair = TB_BYTES(2)};
    const struct card_object_spec public_key = {.cls = CARD_PUBLIC,
                                                .id = TB_BYTES(2),
                                                .access = 1,
                                                .key_type = key_type,
                                                .crypto = TB_SAFE_CAN_SIGN};
    uint8_t point[CARD_RSA_SPKI_MAX], csr[1024];
    struct tb_buf p = TB_BUF(point), c = TB_BUF(csr);
    const unsigned char *at = csr;
    unsigned char *spki = NULL;
    X509_REQ *req;
    int n;

    assert_int_equal(card_perso_generate(nvm, 0, TB_BYTES(1), &p), TB_ENOTFOUND);
    assert_int_equal(card_perso_object(nvm, 0, &private_key), 0);
    assert_int_equal(card_perso_csr(nvm, 0, TB_BYTES(1), "x", &c), TB_ENOTFOUND);
    assert_int_equal(card_perso_generate(nvm, 0, TB_BYTES(1), &p), TB_ENOTFOUND);
    assert_int_equal(card_perso_object(nvm, 0, &public_key), 0);
    assert_int_equal(card_perso_generate(nvm, 0, TB_BYTES(1), &p), 0);
    assert_int_equal(p.n, public_n);
    assert_int_equal(card_perso_csr(nvm, 0, TB_BYTES(1), "device", &c), 0);
    req = d2i_X509_REQ(NULL, &at, (long)c.n);
    assert_non_null(req);
    assert_int_equal(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
    n = i2d_PUBKEY(X509_REQ_get0_pubkey(req), &spki);
    assert_true(n > 0 && (size_t)n >= public_n);
    assert_memory_equal(spki + n - public_n, point, public_n); /* the CSR is for that very key */
    OPENSSL_free(spki);
    X509_REQ_free(req);
}

static void pairs_are_generated_inside_with_a_csr(void **state) {
    (void)state;
    generate_pair(TB_SAFE_P256, 65);
}

static void rsa_pairs_too(void **state) {
    (void)state;
    generate_pair(TB_SAFE_RSA2048, 294);
}

static void files_are_replaced_within_their_container(void **state) {
    struct card_object_spec f = file(1, "old");
    struct card *card;

    (void)state;
    f.capacity = 5;
    assert_int_equal(applet("A0000005590010", 0), 0);
    assert_int_equal(card_perso_file(nvm, 0, TB_BYTES(1), tb_span_str("new")), TB_ENOTFOUND);
    assert_int_equal(card_perso_object(nvm, 0, &f), 0);
    assert_int_equal(card_perso_file(nvm, 0, TB_BYTES(1), tb_span_str("newer!")), TB_ESPACE);
    assert_int_equal(card_perso_file(nvm, 0, TB_BYTES(1), tb_span_str("new!")), 0);
    card = powered();
    fx_run(card, "01A4040007A0000005590010");
    assert_string_equal(fx_run(card, "81B0000003830101"), "6E6577219000");
    card_free(card);
}

static void pins_are_set_and_checked(void **state) {
    struct card_pin_spec pin = {
        .ref = CARD_PIN1, .pin = "1234", .puk = "11112222", .enabled = true};
    struct card_pin_spec adm = {.ref = CARD_ADM1, .pin = "adm-key!"};
    struct card *card;

    (void)state;
    assert_int_equal(identity("89000123456789012345", "001010123456789", NULL, 0), 0);
    assert_int_equal(card_perso_pin(nvm, &pin), 0);
    assert_int_equal(card_perso_pin(nvm, &adm), 0);
    pin.pin = "123";
    assert_int_equal(card_perso_pin(nvm, &pin), TB_ERANGE);
    pin.pin = "12345678x";
    assert_int_equal(card_perso_pin(nvm, &pin), TB_ERANGE);
    pin.pin = "12a4";
    assert_int_equal(card_perso_pin(nvm, &pin), TB_ERANGE);
    pin.pin = "1234";
    pin.puk = "1";
    assert_int_equal(card_perso_pin(nvm, &pin), TB_ERANGE);
    pin.puk = NULL;
    pin.ref = (enum card_pin)0x02;
    assert_int_equal(card_perso_pin(nvm, &pin), TB_ERANGE);

    card = powered();
    fx_run(card, "00A4040C07A0000000871002");
    assert_string_equal(fx_run(card, "00B0870009"), "6982");
    assert_string_equal(fx_run(card, "002000010831323334FFFFFFFF"), "9000");
    assert_string_equal(fx_run(card, "00B0870009"), "0809101010325476989000");
    /* what the administrator may do, and only after presenting the key */
    assert_string_equal(fx_run(card, "00D6830003000102"), "6982");
    assert_string_equal(fx_run(card, "0020000A0861646D2D6B657921"), "9000");
    assert_string_equal(fx_run(card, "00D6830003000102"), "9000");
    assert_string_equal(fx_run(card, "002C000A"), "6985"); /* no PUK */
    card_free(card);
}

static void a_full_memory_refuses_and_changes_nothing(void **state) {
    struct card_nvm *small = card_nvm_mem_new(100);
    struct card_object_spec f = file(1, "twenty bytes of text");

    (void)state;
    f.label = tb_span_str("a label that makes this object too large for the memory");
    assert_int_equal(card_perso_object(small, 0, &f), TB_ESPACE);
    card_nvm_free(small);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, make_nvm, free_nvm)
    const struct CMUnitTest tests[] = {
        T(identities_outside_the_limits_are_refused),
        T(identity_shows_in_the_files),
        T(applets_need_an_aid_of_their_own),
        T(instances_have_objects_of_their_own_and_aliases_share_them),
        T(objects_outside_the_limits_are_refused),
        T(labels_are_unique_within_their_class),
        T(pairs_are_generated_inside_with_a_csr),
        T(rsa_pairs_too),
        T(files_are_replaced_within_their_container),
        T(pins_are_set_and_checked),
        T(a_full_memory_refuses_and_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
