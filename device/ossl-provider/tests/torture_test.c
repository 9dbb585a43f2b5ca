/* Everything the provider does, with the k-th call that needs memory failing, for k = 1, 2, … until
 * none fails any more. Nothing crashes, nothing leaks (a sanitizer looks), nothing is wrong when it
 * says it worked. */
#include "tb/test.h"

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>

#include "bed.h"
#include "tls.h"

static unsigned fail_at; /* 0: never */
static unsigned calls;

static bool fails(void) {
    return fail_at && !fake_card_busy && ++calls == fail_at;
}

/* The linker sends the provider's calls, and no others of libcrypto, through these. */
#define WRAP(name, params, args)                                                                   \
    void *__real_##name params;                                                                    \
    void *__wrap_##name params;                                                                    \
    void *__wrap_##name params {                                                                   \
        return fails() ? NULL : __real_##name args;                                                \
    }
WRAP(CRYPTO_zalloc, (size_t n, const char *file, int line), (n, file, line))
WRAP(CRYPTO_malloc, (size_t n, const char *file, int line), (n, file, line))
WRAP(CRYPTO_secure_malloc, (size_t n, const char *file, int line), (n, file, line))
WRAP(EVP_KDF_CTX_new, (EVP_KDF * kdf), (kdf))
WRAP(EVP_KDF_CTX_dup, (const EVP_KDF_CTX *ctx), (ctx))
WRAP(EVP_KDF_fetch, (OSSL_LIB_CTX * ctx, const char *name, const char *prop), (ctx, name, prop))
WRAP(EVP_PKEY_CTX_dup, (const EVP_PKEY_CTX *ctx), (ctx))
WRAP(OSSL_LIB_CTX_new, (void), ())
WRAP(OSSL_LIB_CTX_new_from_dispatch, (const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in),
     (handle, in))
WRAP(EVP_MD_CTX_new, (void), ())
WRAP(EVP_MD_fetch, (OSSL_LIB_CTX * ctx, const char *name, const char *prop), (ctx, name, prop))
WRAP(EVP_PKEY_CTX_new_from_name, (OSSL_LIB_CTX * ctx, const char *name, const char *prop),
     (ctx, name, prop))
WRAP(EVP_PKEY_CTX_new_from_pkey, (OSSL_LIB_CTX * ctx, EVP_PKEY *key, const char *prop),
     (ctx, key, prop))
WRAP(BIO_new_from_core_bio, (OSSL_LIB_CTX * ctx, OSSL_CORE_BIO *bio), (ctx, bio))
WRAP(d2i_PUBKEY_ex,
     (EVP_PKEY * *key, const unsigned char **p, long n, OSSL_LIB_CTX *ctx, const char *prop),
     (key, p, n, ctx, prop))
WRAP(d2i_X509, (X509 * *x, const unsigned char **p, long n), (x, p, n))

static void arm(unsigned k) {
    calls = 0;
    fail_at = k;
}

/* True when it was not reached: everything ran without a failure. */
static bool disarm(void) {
    bool reached = calls >= fail_at;

    fail_at = 0;
    return !reached;
}

static void loads_and_signs(void **state) {
    char pem[2][2048];
    struct isp_bed *bed = isp_bed_new();
    bool through = false;

    (void)state;
    isp_bed_reference("iotsafe:id=01", bed->card[0].key, pem[0], sizeof pem[0]);
    isp_bed_reference("iotsafe:id=01", NULL, pem[1], sizeof pem[1]);
    for (unsigned k = 1; !through; k++) {
        uint8_t sig[80];
        EVP_PKEY *key;
        size_t n = 0;

        assert_true(k < 1000);
        arm(k);
        key = isp_bed_load_pem(bed, pem[k % 2]);
        if (key)
            n = isp_bed_sign_text(bed, key, "SHA256", "x", sig, sizeof sig);
        through = disarm() && k > 4;
        assert_true(!through || n > 0);
        if (n) {
            EVP_MD_CTX *ctx = EVP_MD_CTX_new();

            assert_int_equal(
                EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, bed->card[0].key, NULL),
                1);
            assert_int_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"x", 1), 1);
            EVP_MD_CTX_free(ctx);
        }
        EVP_PKEY_free(key);
        ERR_clear_error();
    }
    isp_bed_free(bed);
}

static void copies_and_streams(void **state) {
    struct isp_bed *bed = isp_bed_new();
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    bool through = false;

    (void)state;
    for (unsigned k = 1; !through; k++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
        EVP_PKEY *twin;
        uint8_t sig[80];
        size_t n = sizeof sig;
        bool ok;

        assert_true(k < 1000);
        arm(k);
        twin = EVP_PKEY_dup(key);
        ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, twin ? twin : key, NULL) >
                 0 &&
             EVP_DigestSignUpdate(ctx, "x", 1) > 0 && EVP_MD_CTX_copy_ex(copy, ctx) > 0 &&
             EVP_DigestSignFinal(copy, sig, &n) > 0;
        through = disarm();
        assert_true(!through || (ok && twin));
        EVP_MD_CTX_free(ctx);
        EVP_MD_CTX_free(copy);
        EVP_PKEY_free(twin);
        ERR_clear_error();
    }
    EVP_PKEY_free(key);
    isp_bed_free(bed);
}

static void lists_the_card(void **state) {
    struct isp_bed *bed = isp_bed_new();
    bool through = false;

    (void)state;
    for (unsigned k = 1; !through; k++) {
        OSSL_STORE_CTX *store;
        unsigned n = 0;

        assert_true(k < 1000);
        arm(k);
        store = OSSL_STORE_open_ex("iotsafe:", bed->ctx, NULL, NULL, NULL, NULL, NULL, NULL);
        for (unsigned i = 0; store && i < 10 && !OSSL_STORE_eof(store); i++) {
            OSSL_STORE_INFO *info = OSSL_STORE_load(store);

            n += info != NULL;
            OSSL_STORE_INFO_free(info);
        }
        OSSL_STORE_close(store);
        through = disarm();
        assert_true(!through || n == 3);
        ERR_clear_error();
    }
    isp_bed_free(bed);
}

/* ---- offload ---- */

/* The client's handshake with everything from the card; true when it was not hit by a failure. What
 * is left in the containers must be nothing either way. */
static bool shaken_with_failure(struct isp_bed *bed, const struct tls_setup *s, unsigned k) {
    bool ok, through;

    arm(k);
    ok = tls_shake(s);
    through = disarm();
    assert_true(!through || ok);
    assert_int_equal(bed->slots.taken, 0);
    assert_int_equal(bed->depth, 0);
    ERR_clear_error();
    return through;
}

static void shakes_with_a_certificate(void **state) {
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    struct isp_bed *bed = isp_bed_new_offload("ecdhe,verify,psk");
    struct tls_pki pki;

    (void)state;
    tls_pki_init(&pki, "P-256");
    for (size_t v = 0; v < 2; v++) {
        struct tls_setup s = {.ctx = bed->ctx, .pki = &pki, .version = versions[v]};
        bool through = false;

        s.key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
        s.cert = tls_pki_issue(&pki, bed->card[0].key, "device");
        for (unsigned k = 1; !through; k++) {
            assert_true(k < 1000);
            through = shaken_with_failure(bed, &s, k);
        }
        EVP_PKEY_free(s.key);
        X509_free(s.cert);
    }
    tls_pki_done(&pki);
    isp_bed_free(bed);
}

static void shakes_with_a_pre_shared_key(void **state) {
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    static const char *const ciphers[] = {"TLS_AES_128_GCM_SHA256", "ECDHE-PSK-AES128-CBC-SHA256"};
    struct isp_bed *bed = isp_bed_new_offload("ecdhe,psk");

    (void)state;
    for (size_t v = 0; v < 2; v++) {
        struct tls_setup s = {.ctx = bed->ctx,
                              .version = versions[v],
                              .ciphers = ciphers[v],
                              .psk = "IOTSAFE:psk:06",
                              .server_psk = bed->card[0].psk,
                              .server_psk_len = FAKE_PSK_LEN};
        bool through = false;

        for (unsigned k = 1; !through; k++) {
            assert_true(k < 1000);
            through = shaken_with_failure(bed, &s, k);
        }
    }
    isp_bed_free(bed);
}

static void seeds_the_generator(void **state) {
    bool through = false;

    (void)state;
    for (unsigned k = 1; !through; k++) {
        struct isp_bed *bed = isp_bed_new_offload("random");
        unsigned char bytes[16];
        bool ok;

        assert_true(k < 1000);
        assert_int_equal(RAND_set_seed_source_type(bed->ctx, "IOTSAFE-SEED", NULL), 1);
        arm(k);
        ok = RAND_bytes_ex(bed->ctx, bytes, sizeof bytes, 0) > 0;
        through = disarm();
        /* without memory for a seed source libcrypto does without */
        assert_true(!through || (ok && bed->seeds == 1));
        isp_bed_free(bed);
    }
}

static void starts(void **state) {
    struct isp_bed *bed = isp_bed_new_offload("ecdhe,verify,psk,random");
    bool through = false;

    (void)state;
    for (unsigned k = 1; !through; k++) {
        OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();
        OSSL_PROVIDER *iot;

        assert_true(k < 1000);
        assert_int_equal(OSSL_PROVIDER_add_builtin(ctx, "iotsafe", isp_provider_init), 1);
        arm(k);
        iot = OSSL_PROVIDER_load(ctx, "iotsafe");
        through = disarm();
        assert_int_equal(iot != NULL, through);
        if (iot)
            OSSL_PROVIDER_unload(iot);
        OSSL_LIB_CTX_free(ctx);
        ERR_clear_error();
    }
    isp_bed_free(bed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_and_signs),
        cmocka_unit_test(copies_and_streams),
        cmocka_unit_test(lists_the_card),
        cmocka_unit_test(shakes_with_a_certificate),
        cmocka_unit_test(shakes_with_a_pre_shared_key),
        cmocka_unit_test(seeds_the_generator),
        cmocka_unit_test(starts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
