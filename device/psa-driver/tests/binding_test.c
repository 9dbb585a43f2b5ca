/* The binding's promises beside the handshakes: what keys can and cannot, requests, refusals,
 * sessions that run while another one waits, thousands of keys. */
#include "bed.h"

#include <mbedtls/x509_csr.h>
#include <openssl/ecdsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TLS12 TLS1_2_VERSION
#define TLS13 TLS1_3_VERSION
enum { ECDHE = IOTSAFE_PSA_ECDHE, VERIFY = IOTSAFE_PSA_VERIFY };

struct fixture {
    struct bed_card card;
    struct iotsafe_psa_session session;
    psa_key_id_t key;
};

static int open_card(void **state) {
    const struct iotsafe_ref ref = iotsafe_id1(1);
    struct fixture *f = calloc(1, sizeof *f);
    struct iotsafe_psa_host host;

    bed_card_init(&f->card);
    host = iotsafe_psa_client_host(&f->card.host);
    *state = f;
    return iotsafe_psa_init(&f->session, &host, ECDHE | VERIFY) < 0 ||
           iotsafe_psa_key(&ref, &f->key) < 0;
}

static int close_card(void **state) {
    struct fixture *f = *state;

    iotsafe_psa_enter(NULL);
    iotsafe_psa_done(&f->session);
    iotsafe_psa_forget_key(f->key);
    bed_card_done(&f->card);
    free(f);
    return 0;
}

/* ---- keys ---- */

static EVP_PKEY *public_key(const struct fixture *f) {
    return X509_get0_pubkey(f->card.cert);
}

static bool verifies(EVP_PKEY *key, const uint8_t *hash, size_t n, const uint8_t raw[64]) {
    ECDSA_SIG *sig = ECDSA_SIG_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    unsigned char *der = NULL;
    int len;
    bool yes;

    ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    len = i2d_ECDSA_SIG(sig, &der);
    yes = EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_verify(ctx, der, (size_t)len, hash, n) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return yes;
}

static void the_cards_key_signs(void **state) {
    struct fixture *f = *state;
    uint8_t hash[64], sig[64];
    size_t n;

    iotsafe_psa_enter(&f->session);
    for (size_t len = 32; len <= 64; len += 16) { /* SHA-256, -384, -512 */
        memset(hash, (int)len, sizeof hash);
        assert_int_equal(
            psa_sign_hash(f->key, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH), hash, len, sig, sizeof sig, &n),
            PSA_SUCCESS);
        assert_int_equal(n, 64);
        assert_true(verifies(public_key(f), hash, len, sig));
    }
    assert_int_equal(iotsafe_psa_counters(&f->session).sign, 3);
}

static void what_a_key_is_not_for_is_refused(void **state) {
    struct fixture *f = *state;
    const uint8_t hash[32] = {1};
    uint8_t out[100];
    size_t n;

    /* without a session there is no card */
    assert_int_equal(
        psa_sign_hash(f->key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, out, sizeof out, &n),
        PSA_ERROR_BAD_STATE);
    assert_int_equal(psa_export_public_key(f->key, out, sizeof out, &n), PSA_ERROR_BAD_STATE);
    iotsafe_psa_enter(&f->session);
    assert_int_equal(psa_export_key(f->key, out, sizeof out, &n), PSA_ERROR_NOT_PERMITTED);
    assert_int_equal(psa_sign_hash(f->key, PSA_ALG_DETERMINISTIC_ECDSA(PSA_ALG_SHA_256), hash, 32,
                                   out, sizeof out, &n),
                     PSA_ERROR_NOT_PERMITTED);
    assert_int_equal(psa_sign_hash(f->key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, out, 63, &n),
                     PSA_ERROR_BUFFER_TOO_SMALL);
    assert_int_equal(psa_raw_key_agreement(PSA_ALG_ECDH, f->key, out, 65, out, sizeof out, &n),
                     PSA_ERROR_NOT_PERMITTED);
    assert_int_equal(
        psa_sign_hash(f->key, PSA_ALG_ECDSA(PSA_ALG_SHA_1), hash, 20, out, sizeof out, &n),
        PSA_ERROR_NOT_SUPPORTED);
    assert_int_equal(iotsafe_psa_counters(&f->session).sign, 0);
    /* it outlives psa_destroy_key() */
    assert_int_equal(psa_destroy_key(f->key), PSA_SUCCESS);
    iotsafe_psa_settle(&f->session);
    assert_int_equal(
        psa_sign_hash(f->key, PSA_ALG_ECDSA(PSA_ALG_SHA_256), hash, 32, out, sizeof out, &n),
        PSA_SUCCESS);
}

static void a_request_is_signed_by_the_card(void **state) {
    struct fixture *f = *state;
    mbedtls_x509write_csr csr;
    mbedtls_pk_context pk;
    unsigned char der[1024];
    const unsigned char *p;
    X509_REQ *req;
    int n;

    mbedtls_x509write_csr_init(&csr);
    mbedtls_pk_init(&pk);
    iotsafe_psa_enter(&f->session);
    assert_int_equal(mbedtls_pk_setup_opaque(&pk, f->key), 0);
    mbedtls_x509write_csr_set_key(&csr, &pk);
    mbedtls_x509write_csr_set_md_alg(&csr, MBEDTLS_MD_SHA256);
    assert_int_equal(mbedtls_x509write_csr_set_subject_name(&csr, "CN=device 7,O=factory"), 0);
    n = mbedtls_x509write_csr_der(&csr, der, sizeof der, iotsafe_psa_random, NULL);
    assert_true(n > 0);
    mbedtls_x509write_csr_free(&csr);
    mbedtls_pk_free(&pk);
    assert_int_equal(iotsafe_psa_counters(&f->session).sign, 1);

    p = der + sizeof der - n;
    req = d2i_X509_REQ(NULL, &p, n);
    assert_non_null(req);
    assert_int_equal(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
    assert_int_equal(EVP_PKEY_eq(X509_REQ_get0_pubkey(req), public_key(f)), 1);
    X509_REQ_free(req);
}

/* ---- ephemeral keys ---- */

static psa_status_t generate(psa_ecc_family_t family, size_t bits, psa_key_id_t *ret) {
    psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;

    psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(family));
    psa_set_key_bits(&a, bits);
    psa_set_key_algorithm(&a, PSA_ALG_ECDH);
    psa_set_key_usage_flags(&a, PSA_KEY_USAGE_DERIVE);
    return psa_generate_key(&a, ret);
}

static void containers_are_taken_and_given_back(void **state) {
    struct fixture *f = *state;
    psa_key_id_t a, b, c;

    iotsafe_psa_enter(&f->session);
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 256, &a), PSA_SUCCESS);
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 256, &b), PSA_SUCCESS);
    assert_int_not_equal(a, b);
    assert_int_equal(bed_card_slots_taken(&f->card), 2);
    /* there are two: the third is not made in software */
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 256, &c), PSA_ERROR_HARDWARE_FAILURE);
    assert_int_equal(iotsafe_psa_trouble(&f->session).error, IOTSAFE_E_BUSY);
    assert_int_equal(psa_destroy_key(a), PSA_SUCCESS);
    assert_int_equal(bed_card_slots_taken(&f->card), 1);
    iotsafe_psa_settle(&f->session);
    assert_int_equal(bed_card_slots_taken(&f->card), 0);
    /* a key destroyed too late is nobody else's */
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 256, &c), PSA_SUCCESS);
    assert_int_equal(psa_destroy_key(b), PSA_ERROR_INVALID_HANDLE);
    assert_int_equal(bed_card_slots_taken(&f->card), 1);
}

static void another_curve_does_not_go_to_software_unseen(void **state) {
    struct fixture *f = *state;
    psa_key_id_t id;

    iotsafe_psa_enter(&f->session);
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 384, &id), PSA_ERROR_NOT_SUPPORTED);
    assert_int_equal(bed_card_slots_taken(&f->card), 0);
    iotsafe_psa_enter(NULL); /* nobody's session: nobody's card */
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 384, &id), PSA_SUCCESS);
    assert_int_equal(psa_destroy_key(id), PSA_SUCCESS);
}

static void a_point_off_the_curve_never_reaches_the_card(void **state) {
    struct fixture *f = *state;
    uint8_t point[65] = {4, 1, 2, 3}, secret[32];
    psa_key_id_t id;
    size_t n;
    unsigned before;

    iotsafe_psa_enter(&f->session);
    assert_int_equal(generate(PSA_ECC_FAMILY_SECP_R1, 256, &id), PSA_SUCCESS);
    before = f->card.apdus;
    assert_int_equal(
        psa_raw_key_agreement(PSA_ALG_ECDH, id, point, sizeof point, secret, sizeof secret, &n),
        PSA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(psa_raw_key_agreement(PSA_ALG_ECDH, id, point, 64, secret, sizeof secret, &n),
                     PSA_ERROR_INVALID_ARGUMENT);
    assert_int_equal(f->card.apdus, before);
}

/* ---- handshakes that are to fail ---- */

static struct bed_result connect_with(struct bed_card *card, const struct bed_options *o) {
    struct bed_result r;
    struct bed bed;

    assert_int_equal(bed_init(&bed, card, o), 0);
    r = bed_connect(&bed);
    bed_done(&bed);
    return r;
}

static void a_false_signature_is_no_trouble_of_the_card(void **state) {
    struct fixture *f = *state;
    const struct bed_options o = {.version = TLS13, .offload = VERIFY, .bad_server = true};
    struct bed_result r = connect_with(&f->card, &o);

    assert_int_equal(r.client, MBEDTLS_ERR_X509_CERT_VERIFY_FAILED);
    assert_false(r.server);
    assert_int_equal(r.counters.verify, 1); /* the card said no */
    assert_int_equal(r.trouble.error, 0);
    assert_int_equal(r.counters.sign, 0);
}

static void what_the_card_cannot_is_not_done_by_software(void **state) {
    struct fixture *f = *state;
    const struct bed_options sha384 = {.version = TLS12,
                                       .psk = true,
                                       .plain = true,
                                       .ciphers = "PSK-AES256-GCM-SHA384:@SECLEVEL=0",
                                       .ciphersuite = MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384};
    const struct bed_options p384 = {.version = TLS13, .offload = ECDHE, .many_groups = true};
    struct bed_result r = connect_with(&f->card, &sha384);

    assert_true(r.client < 0);
    assert_int_equal(r.trouble.error, IOTSAFE_E_UNSUPPORTED);
    assert_non_null(strstr(r.trouble_text, "SHA-256"));
    r = connect_with(&f->card, &p384);
    assert_true(r.client < 0);
    assert_non_null(strstr(r.trouble_text, "P-256 only"));
}

static void the_cards_answer_is_told(void **state) {
    struct fixture *f = *state;
    const struct bed_options o = {.version = TLS13};
    struct bed_result r;

    f->card.at_ins = 0x2B;
    f->card.sw = 0x6982;
    r = connect_with(&f->card, &o);
    assert_true(r.client < 0);
    assert_int_equal(r.trouble.error, IOTSAFE_E_CARD);
    assert_int_equal(r.trouble.sw, 0x6982);
    assert_non_null(strstr(r.trouble_text, "signature: card answered 6982"));
}

/* ---- other sessions meanwhile ---- */

struct meanwhile {
    struct bed_card card;
    struct bed bed;
    unsigned connects;
    bool good;
};

/* What a fiber does that runs while another is parked in its card. */
static void connect_meanwhile(void *user) {
    struct meanwhile *m = user;
    struct bed_result r = bed_connect(&m->bed);

    m->connects++;
    m->good = m->good && r.client == 0 && r.server && r.counters.sign == 1 &&
              r.counters.generate == 1 && r.slots_held == 0;
}

static void sessions_run_while_another_waits_for_its_card(void **state) {
    struct fixture *f = *state;
    struct bed_options o = {.version = TLS13,
                            .offload = ECDHE | IOTSAFE_PSA_DERIVE | VERIFY | IOTSAFE_PSA_RANDOM};
    struct meanwhile m = {.good = true};
    struct bed_result r;

    bed_card_init(&m.card);
    assert_int_equal(bed_init(&m.bed, &m.card, &o), 0);
    f->card.trap = connect_meanwhile;
    f->card.trap_user = &m;
    for (int i = 0; i < 2; i++) {
        o.version = i ? TLS13 : TLS12;
        r = connect_with(&f->card, &o);
        assert_int_equal(r.client, 0);
        assert_int_equal(r.counters.sign, 1);
        assert_int_equal(r.counters.generate, 1);
        assert_int_equal(r.counters.random, 1);
    }
    assert_true(m.connects >= 20 && m.good);
    bed_done(&m.bed);
    bed_card_done(&m.card);
}

static void *connect_in_a_thread(void *arg) {
    const struct bed_options o = {.version = TLS13, .offload = ECDHE | IOTSAFE_PSA_DERIVE | VERIFY};
    bool *good = arg;
    struct bed_card card;
    struct bed bed;

    bed_card_init(&card);
    *good = bed_init(&bed, &card, &o) == 0;
    for (int i = 0; *good && i < 5; i++) {
        struct bed_result r = bed_connect(&bed);

        *good = r.client == 0 && r.server && r.counters.sign == 1 && r.counters.generate == 1;
    }
    bed_done(&bed);
    bed_card_done(&card);
    return NULL;
}

static void threads_do_not_disturb_each_other(void **state) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    bool good[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, connect_in_a_thread, &good[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(good[i]);
    }
}

/* ---- many ---- */

static void a_process_has_tens_of_thousands_of_keys(void **state) {
    enum { MANY = 61440 }; /* identifiers there are */
    static psa_key_id_t ids[MANY];
    const struct iotsafe_ref ref = iotsafe_id1(1), none = {0};
    uint8_t token[32];
    psa_key_id_t id;
    size_t n = 0;

    (void)state;
    assert_int_equal(iotsafe_psa_key(&none, &id), IOTSAFE_E_ARGUMENT);
    while (n < MANY && iotsafe_psa_key(&ref, &ids[n]) == 0)
        n++;
    assert_true(n > 61000); /* others are of other tests */
    assert_int_equal(iotsafe_psa_key(&ref, &id), IOTSAFE_E_NO_MEMORY);
    assert_int_equal(iotsafe_psa_psk(&ref, token), IOTSAFE_E_NO_MEMORY);
    for (size_t i = 0; i < n; i += 2)
        iotsafe_psa_forget_key(ids[i]);
    assert_int_equal(iotsafe_psa_psk(&ref, token), 0);
    iotsafe_psa_forget_psk(token);
    for (size_t i = 1; i < n; i += 2)
        iotsafe_psa_forget_key(ids[i]);
    iotsafe_psa_forget_key(ids[0]); /* twice */
}

static void connects_leave_nothing_behind(void **state) {
    struct fixture *f = *state;
    const struct bed_options o = {.version = TLS13, .offload = ECDHE | IOTSAFE_PSA_DERIVE | VERIFY};
    mbedtls_psa_stats_t before, after;
    struct bed bed;

    assert_int_equal(bed_init(&bed, &f->card, &o), 0);
    mbedtls_psa_get_stats(&before);
    for (int i = 0; i < 50; i++) {
        f->card.at_ins = i % 3 == 1 ? 0x46 : 0; /* some fail */
        f->card.sw = 0x6F00;
        assert_int_equal(bed_connect(&bed).slots_held, 0);
    }
    mbedtls_psa_get_stats(&after);
    assert_memory_equal(&before, &after, sizeof before);
    bed_done(&bed);
}

static int setup(void **state) {
    (void)state;
    return psa_crypto_init() == PSA_SUCCESS ? 0 : -1;
}

#define WITH_CARD(test) cmocka_unit_test_setup_teardown(test, open_card, close_card)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_CARD(the_cards_key_signs),
        WITH_CARD(what_a_key_is_not_for_is_refused),
        WITH_CARD(a_request_is_signed_by_the_card),
        WITH_CARD(containers_are_taken_and_given_back),
        WITH_CARD(another_curve_does_not_go_to_software_unseen),
        WITH_CARD(a_point_off_the_curve_never_reaches_the_card),
        WITH_CARD(a_false_signature_is_no_trouble_of_the_card),
        WITH_CARD(what_the_card_cannot_is_not_done_by_software),
        WITH_CARD(the_cards_answer_is_told),
        WITH_CARD(sessions_run_while_another_waits_for_its_card),
        cmocka_unit_test(threads_do_not_disturb_each_other),
        cmocka_unit_test(a_process_has_tens_of_thousands_of_keys),
        WITH_CARD(connects_leave_nothing_behind),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
