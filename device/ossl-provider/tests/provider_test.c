/* The provider linked in, with two cards in memory behind it. */
#include "tb/test.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <string.h>

#include "bed.h"
#include "ref.h"

/* ---- helpers ---- */

static int set_up(void **state) {
    *state = isp_bed_new();
    return 0;
}

static int tear_down(void **state) {
    isp_bed_free(*state);
    return 0;
}

static void assert_verifies(EVP_PKEY *pub, const char *md, const char *text, const uint8_t *sig,
                            size_t n) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, md, NULL, NULL, pub, NULL), 1);
    assert_int_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
}

/* True when an error in the queue has this reason and says this. */
static bool error_says(const char *reason, const char *part) {
    const char *data, *r;
    unsigned long e;
    int flags;
    bool found = false;

    while ((e = ERR_get_error_all(NULL, NULL, NULL, &data, &flags))) {
        r = ERR_reason_error_string(e);
        if (r && strcmp(r, reason) == 0 && (flags & ERR_TXT_STRING) && strstr(data, part))
            found = true;
    }
    return found;
}

/* ---- keys ---- */

static void key_with_public_half_loads_without_the_card(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);

    assert_non_null(key);
    assert_true(EVP_PKEY_is_a(key, "EC"));
    assert_int_equal(EVP_PKEY_get_bits(key), 256);
    assert_int_equal(EVP_PKEY_get_size(key), 72);
    assert_int_equal(EVP_PKEY_eq(key, bed->card[0].key), 1);
    assert_int_equal(EVP_PKEY_eq(key, bed->card[1].key), 0);
    assert_int_equal(bed->card[0].apdus, 0);
    EVP_PKEY_free(key);
}

static void key_without_public_half_asks_the_card(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", NULL);

    assert_non_null(key);
    assert_true(bed->card[0].apdus > 0);
    assert_int_equal(EVP_PKEY_eq(key, bed->card[0].key), 1);
    EVP_PKEY_free(key);
}

static void tells_group_and_point(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    char text[32];
    uint8_t *point = NULL, *want = NULL;
    size_t n;

    assert_true(EVP_PKEY_get_group_name(key, text, sizeof text, &n));
    assert_string_equal(text, "prime256v1");
    assert_true(
        EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_DEFAULT_DIGEST, text, sizeof text, &n));
    assert_string_equal(text, "SHA256");
    assert_true(EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                               text, sizeof text, &n));
    n = EVP_PKEY_get1_encoded_public_key(key, &point);
    assert_int_equal(n, 65);
    assert_int_equal(EVP_PKEY_get1_encoded_public_key(bed->card[0].key, &want), 65);
    assert_memory_equal(point, want, 65);
    OPENSSL_free(point);
    OPENSSL_free(want);
    EVP_PKEY_free(key);
}

/* A program that looks at the error queue after the next failure, or as nginx at once, would take
 * what is left there for its own. */
static void what_succeeds_leaves_no_error(void **state) {
    struct isp_bed *bed = *state;
    const unsigned char *p = bed->card[0].cert;
    X509 *x = X509_new_ex(bed->ctx, NULL);
    EVP_PKEY *key, *ephemeral;
    uint8_t sig[80];
    size_t n;

    ERR_clear_error();
    key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    assert_int_equal(ERR_peek_error(), 0);
    assert_non_null(d2i_X509(&x, &p, (long)bed->card[0].cert_len));
    assert_int_equal(X509_check_private_key(x, key), 1);
    assert_int_equal(ERR_peek_error(), 0);
    assert_int_equal(EVP_PKEY_eq(key, X509_get0_pubkey(x)), 1);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x), key), 1);
    assert_int_equal(ERR_peek_error(), 0);
    n = isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig);
    assert_true(n > 0);
    assert_verifies(key, "SHA256", "x", sig, n);
    assert_int_equal(ERR_peek_error(), 0);
    ephemeral = EVP_PKEY_Q_keygen(bed->ctx, NULL, "EC", "P-256");
    assert_non_null(ephemeral);
    assert_int_equal(EVP_PKEY_eq(ephemeral, key), 0);
    assert_int_equal(ERR_peek_error(), 0);
    EVP_PKEY_free(ephemeral);
    EVP_PKEY_free(key);
    X509_free(x);
}

/* Nobody else's key is drawn into this provider, however it is asked. */
static void keys_of_others_stay_where_they_are(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *soft = EVP_PKEY_Q_keygen(bed->ctx, NULL, "EC", "P-256"), *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(bed->ctx, "EC", "provider=iotsafe");
    OSSL_PARAM *params = NULL;

    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_todata(soft, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_true(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) <= 0);
    assert_null(key);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(soft);
}

static void private_half_is_never_exported(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    OSSL_PARAM *params = NULL;
    unsigned char *der = NULL;

    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 0);
    assert_true(i2d_PrivateKey(key, &der) <= 0);
    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params), 1);
    assert_non_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PUB_KEY));
    assert_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY));
    OSSL_PARAM_free(params);
    assert_true(i2d_PUBKEY(key, &der) > 0);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

static void copies_are_the_same_key(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key),
             *copy = EVP_PKEY_dup(key);
    uint8_t sig[80];

    assert_non_null(copy);
    assert_int_equal(EVP_PKEY_eq(key, copy), 1);
    EVP_PKEY_free(key);
    assert_true(isp_bed_sign_text(bed, copy, "SHA256", "x", sig, sizeof sig) > 0);
    EVP_PKEY_free(copy);
}

static void bad_references_are_refused(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *big = EVP_EC_gen("P-384");

    assert_null(isp_bed_load_ref(bed, "iotsafe:", bed->card[0].key));
    assert_true(error_says("bad key reference", "names no private key"));
    assert_null(isp_bed_load_ref(bed, "iotsafe:id=zz", bed->card[0].key));
    assert_true(error_says("bad key reference", "hex"));
    assert_null(isp_bed_load_ref(bed, "iotsafe:id=01", big));
    assert_true(error_says("key type not supported", "256"));
    assert_int_equal(bed->card[0].apdus, 0);
    assert_null(isp_bed_load_ref(bed, "iotsafe:id=09", NULL));
    assert_true(error_says("object not on the card", "iotsafe:id=09"));
    EVP_PKEY_free(big);
}

static void files_with_several_blocks_decode_in_any_order(void **state) {
    struct isp_bed *bed = *state;
    char ref[2048], pem[8192], *cert;
    BIO *bio = BIO_new(BIO_s_mem());
    const unsigned char *p = bed->card[0].cert;
    X509 *x = d2i_X509(NULL, &p, (long)bed->card[0].cert_len);
    EVP_PKEY *key;
    long n;

    isp_bed_reference("iotsafe:id=01", bed->card[0].key, ref, sizeof ref);
    assert_true(PEM_write_bio_X509(bio, x));
    n = BIO_get_mem_data(bio, &cert);
    snprintf(pem, sizeof pem, "%.*s%s%.*s", (int)n, cert, ref, (int)n, cert);
    key = isp_bed_load_pem(bed, pem);
    assert_non_null(key);
    EVP_PKEY_free(key);
    X509_free(x);
    BIO_free(bio);
}

/* ---- signatures ---- */

static void signs_with_the_card_and_default_verifies(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    uint8_t sig[80];
    size_t n;

    n = isp_bed_sign_text(bed, key, NULL, "hello", sig, sizeof sig);
    assert_int_equal(bed->card[0].signatures, 1);
    assert_verifies(bed->card[0].key, "SHA256", "hello", sig, n);
    EVP_PKEY_free(key);
}

static void signs_by_label(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:label=tls%20key", bed->card[0].key);
    uint8_t sig[80];
    size_t n = isp_bed_sign_text(bed, key, "SHA256", "hello", sig, sizeof sig);

    assert_verifies(bed->card[0].key, "SHA256", "hello", sig, n);
    EVP_PKEY_free(key);
}

static void longer_digests_reach_the_card_cut_to_32_bytes(void **state) {
    static const char *const digests[] = {"SHA1", "SHA224", "SHA384", "SHA512"};
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);

    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        uint8_t sig[80];
        size_t n = isp_bed_sign_text(bed, key, digests[i], "hello", sig, sizeof sig);

        assert_verifies(bed->card[0].key, digests[i], "hello", sig, n);
        assert_int_equal(bed->card[0].last_digest_len, 32);
    }
    EVP_PKEY_free(key);
}

static void streams_and_copies_of_streams(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    uint8_t sig[80];
    size_t n = 0;

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "hel", 3), 1);
    assert_int_equal(EVP_MD_CTX_copy_ex(copy, ctx), 1);
    assert_int_equal(EVP_DigestSignUpdate(ctx, "lo", 2), 1);
    assert_int_equal(EVP_DigestSignUpdate(copy, "p", 1), 1);
    assert_int_equal(EVP_DigestSignFinal(ctx, NULL, &n), 1);
    assert_int_equal(n, 72);
    assert_int_equal(bed->card[0].apdus, 0);
    n = sizeof sig;
    assert_int_equal(EVP_DigestSignFinal(ctx, sig, &n), 1);
    assert_verifies(bed->card[0].key, "SHA256", "hello", sig, n);
    n = sizeof sig;
    assert_int_equal(EVP_DigestSignFinal(copy, sig, &n), 1);
    assert_verifies(bed->card[0].key, "SHA256", "help", sig, n);
    EVP_MD_CTX_free(ctx);
    EVP_MD_CTX_free(copy);
    EVP_PKEY_free(key);
}

static void signs_a_digest_made_elsewhere(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(bed->ctx, key, NULL), *soft;
    uint8_t digest[32] = {1, 2, 3}, sig[80];
    size_t n = 0;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, NULL, &n, digest, sizeof digest), 1);
    assert_int_equal(n, 72);
    assert_int_equal(bed->card[0].apdus, 0);
    n = 10;
    assert_true(EVP_PKEY_sign(ctx, sig, &n, digest, sizeof digest) <= 0);
    assert_int_equal(bed->card[0].apdus, 0);
    n = sizeof sig;
    assert_int_equal(EVP_PKEY_sign(ctx, sig, &n, digest, sizeof digest), 1);
    soft = EVP_PKEY_CTX_new(bed->card[0].key, NULL);
    assert_int_equal(EVP_PKEY_verify_init(soft), 1);
    assert_int_equal(EVP_PKEY_verify(soft, sig, n, digest, sizeof digest), 1);
    EVP_PKEY_CTX_free(soft);
    /* with a digest declared, another length is no digest */
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha384()), 1);
    n = sizeof sig;
    assert_true(EVP_PKEY_sign(ctx, sig, &n, digest, sizeof digest) <= 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void verifies_with_the_public_half_in_software(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[80];
    size_t n = isp_bed_sign_text(bed, key, "SHA256", "hello", sig, sizeof sig);
    unsigned apdus = bed->card[0].apdus;

    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"hello", 5), 1);
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, key, NULL), 1);
    assert_int_not_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"hullo", 5), 1);
    assert_int_equal(bed->card[0].apdus, apdus);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void certificate_request_is_signed_by_the_card(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    X509_REQ *req = X509_REQ_new_ex(bed->ctx, NULL);

    assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
    assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
    assert_int_equal(X509_REQ_get_signature_nid(req), NID_ecdsa_with_SHA256);
    assert_int_equal(X509_REQ_verify(req, bed->card[0].key), 1);
    assert_int_equal(bed->card[0].signatures, 1);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
}

/* ---- failures ---- */

static void refusal_of_the_card_is_told_with_its_status_word(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    uint8_t sig[80];

    bed->card[0].fail_sign = 0x6F00;
    assert_int_equal(isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig), 0);
    assert_int_equal(bed->last_result, IOTSAFE_E_CARD);
    assert_true(error_says("card refused", "COMPUTE SIGNATURE iotsafe:id=01"));
    assert_int_equal(isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig), 0);
    assert_true(error_says("card refused", "SW 6F00"));
    bed->card[0].fail_sign = 0;
    assert_true(isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig) > 0);
    EVP_PKEY_free(key);
}

static void vanished_card_fails_the_operation(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    uint8_t sig[80];

    bed->card[0].gone = IOTSAFE_E_ABSENT;
    assert_int_equal(isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig), 0);
    assert_true(error_says("no card", "COMPUTE SIGNATURE"));
    EVP_PKEY_free(key);
}

static void reference_to_a_replaced_key_is_found_out(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key =
        isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[1].key); /* not what reader "" holds */
    uint8_t sig[80];

    assert_int_equal(isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig), 0);
    assert_true(error_says("card holds another key than the reference says", "anew"));
    EVP_PKEY_free(key);
}

static void readers_name_cards(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01;reader=b", bed->card[1].key);
    uint8_t sig[80];
    size_t n = isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig);

    assert_verifies(bed->card[1].key, "SHA256", "x", sig, n);
    assert_int_equal(bed->card[0].apdus, 0);
    EVP_PKEY_free(key);
    assert_null(isp_bed_load_ref(bed, "iotsafe:id=01;reader=c", NULL));
    assert_true(error_says("transport cannot be opened", "no reader c"));
}

/* ---- store ---- */

static void count_objects(struct isp_bed *bed, const char *uri, int expect, unsigned n[6]) {
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, bed->ctx, NULL, NULL, NULL, NULL, NULL, NULL);

    memset(n, 0, 6 * sizeof *n);
    assert_non_null(store);
    if (expect)
        assert_int_equal(OSSL_STORE_expect(store, expect), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info)
            n[OSSL_STORE_INFO_get_type(info)]++;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
}

static void store_finds_everything(void **state) {
    unsigned n[6];

    count_objects(*state, "iotsafe:", 0, n);
    assert_int_equal(n[OSSL_STORE_INFO_PKEY], 1);
    assert_int_equal(n[OSSL_STORE_INFO_PUBKEY], 1);
    assert_int_equal(n[OSSL_STORE_INFO_CERT], 1);
}

static void store_filters_by_reference_type_and_expectation(void **state) {
    unsigned n[6];

    count_objects(*state, "iotsafe:id=01", 0, n);
    assert_int_equal(n[OSSL_STORE_INFO_PKEY] + n[OSSL_STORE_INFO_PUBKEY], 2);
    assert_int_equal(n[OSSL_STORE_INFO_CERT], 0);
    count_objects(*state, "iotsafe:id=01;type=public", 0, n);
    assert_int_equal(n[OSSL_STORE_INFO_PKEY], 0);
    assert_int_equal(n[OSSL_STORE_INFO_PUBKEY], 1);
    count_objects(*state, "iotsafe:id=02;type=cert", 0, n);
    assert_int_equal(n[OSSL_STORE_INFO_CERT], 1);
    count_objects(*state, "iotsafe:", OSSL_STORE_INFO_CERT, n);
    assert_int_equal(n[OSSL_STORE_INFO_CERT], 1);
    assert_int_equal(n[OSSL_STORE_INFO_PKEY] + n[OSSL_STORE_INFO_PUBKEY], 0);
    count_objects(*state, "iotsafe:id=01;type=key", OSSL_STORE_INFO_CERT, n);
    assert_int_equal(n[OSSL_STORE_INFO_CERT] + n[OSSL_STORE_INFO_PKEY], 0);
}

static void store_refuses_a_bad_uri(void **state) {
    struct isp_bed *bed = *state;

    assert_null(OSSL_STORE_open_ex("iotsafe:slot=1", bed->ctx, NULL, NULL, NULL, NULL, NULL, NULL));
    assert_true(error_says("bad iotsafe: URI", "unknown attribute"));
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(key_with_public_half_loads_without_the_card),
        BED_TEST(key_without_public_half_asks_the_card),
        BED_TEST(tells_group_and_point),
        BED_TEST(what_succeeds_leaves_no_error),
        BED_TEST(keys_of_others_stay_where_they_are),
        BED_TEST(private_half_is_never_exported),
        BED_TEST(copies_are_the_same_key),
        BED_TEST(bad_references_are_refused),
        BED_TEST(files_with_several_blocks_decode_in_any_order),
        BED_TEST(signs_with_the_card_and_default_verifies),
        BED_TEST(signs_by_label),
        BED_TEST(longer_digests_reach_the_card_cut_to_32_bytes),
        BED_TEST(streams_and_copies_of_streams),
        BED_TEST(signs_a_digest_made_elsewhere),
        BED_TEST(verifies_with_the_public_half_in_software),
        BED_TEST(certificate_request_is_signed_by_the_card),
        BED_TEST(refusal_of_the_card_is_told_with_its_status_word),
        BED_TEST(vanished_card_fails_the_operation),
        BED_TEST(reference_to_a_replaced_key_is_found_out),
        BED_TEST(readers_name_cards),
        BED_TEST(store_finds_everything),
        BED_TEST(store_filters_by_reference_type_and_expectation),
        BED_TEST(store_refuses_a_bad_uri),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
