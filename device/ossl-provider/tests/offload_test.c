/* What programs other than libssl may ask of the offloaded algorithms: keys of any kind in and out,
 * sizes without the card, functions in every order. */
#include "tb/test.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <string.h>

#include "bed.h"

enum { INS_VERIFY = 0x2D, INS_DH = 0x46, INS_PRF = 0x48, INS_HKDF = 0x4A, INS_GENERATE = 0xB9 };

static int set_up(void **state) {
    *state = isp_bed_new_offload("ecdhe,verify,psk,random");
    return 0;
}

static int tear_down(void **state) {
    struct isp_bed *bed = *state;

    assert_int_equal(bed->slots.taken, 0);
    isp_bed_free(bed);
    return 0;
}

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

/* As libssl asks for an ephemeral key on P-256, or anybody for one on another curve. */
static EVP_PKEY *generate(struct isp_bed *bed, const char *group) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(bed->ctx, "EC", NULL);
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_group_name(ctx, group), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

#define TLS_P256 "IOTSAFE-P-256"

/* A key with the other side's point, made as libssl makes it. NULL when the point is refused. */
static EVP_PKEY *peer_of(EVP_PKEY *own, const uint8_t *point, size_t n) {
    EVP_PKEY *peer = EVP_PKEY_new();

    assert_int_equal(EVP_PKEY_copy_parameters(peer, own), 1);
    if (EVP_PKEY_set1_encoded_public_key(peer, point, n) != 1) {
        EVP_PKEY_free(peer);
        return NULL;
    }
    return peer;
}

static size_t derive(struct isp_bed *bed, EVP_PKEY *own, EVP_PKEY *peer, uint8_t *secret,
                     size_t cap) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(bed->ctx, own, NULL);
    size_t n = 0;

    if (EVP_PKEY_derive_init(ctx) <= 0 || EVP_PKEY_derive_set_peer(ctx, peer) <= 0 ||
        EVP_PKEY_derive(ctx, NULL, &n) <= 0 || n > cap || EVP_PKEY_derive(ctx, secret, &n) <= 0)
        n = 0;
    EVP_PKEY_CTX_free(ctx);
    return n;
}

/* ---- key agreement ---- */

static void both_sides_agree(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *other = EVP_EC_gen("P-256"), *own = generate(bed, TLS_P256), *peer, *back;
    uint8_t *point, ours[32], theirs[32];
    EVP_PKEY_CTX *ctx;
    size_t n;

    n = EVP_PKEY_get1_encoded_public_key(other, &point);
    peer = peer_of(own, point, n);
    OPENSSL_free(point);
    assert_non_null(peer);
    assert_int_equal(EVP_PKEY_eq(peer, other), 1);
    assert_int_equal(derive(bed, own, peer, ours, sizeof ours), 32);
    /* the other side */
    n = EVP_PKEY_get1_encoded_public_key(own, &point);
    assert_int_equal(n, 65);
    back = EVP_PKEY_new();
    assert_int_equal(EVP_PKEY_copy_parameters(back, other), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(back, point, n), 1);
    OPENSSL_free(point);
    ctx = EVP_PKEY_CTX_new(other, NULL);
    n = sizeof theirs;
    assert_true(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, back) > 0 &&
                EVP_PKEY_derive(ctx, theirs, &n) > 0);
    assert_memory_equal(ours, theirs, sizeof ours);
    assert_int_equal(bed->card[0].ins[INS_GENERATE], 1);
    assert_int_equal(bed->card[0].ins[INS_DH], 1);
    assert_int_equal(ERR_peek_error(), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(back);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    EVP_PKEY_free(other);
}

static void sizes_are_told_without_the_card(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *own = generate(bed, TLS_P256), *peer = EVP_PKEY_dup(own);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(bed->ctx, own, NULL);
    unsigned apdus = bed->card[0].apdus;
    uint8_t small[16];
    size_t n = 0;

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, NULL, &n), 1);
    assert_int_equal(n, 32);
    n = sizeof small;
    assert_true(EVP_PKEY_derive(ctx, small, &n) <= 0);
    assert_true(error_says("buffer too small", "32 bytes"));
    assert_int_equal(bed->card[0].apdus, apdus);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
}

static void an_ephemeral_key_agrees_once(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *own = generate(bed, TLS_P256), *twin = EVP_PKEY_dup(own);
    uint8_t secret[32];

    assert_int_equal(derive(bed, own, own, secret, sizeof secret), 32);
    assert_int_equal(bed->slots.taken, 0);
    assert_int_equal(derive(bed, twin, own, secret, sizeof secret), 0);
    assert_true(error_says("operation not initialised", "agrees once"));
    assert_int_equal(bed->card[0].ins[INS_DH], 1);
    EVP_PKEY_free(twin);
    EVP_PKEY_free(own);
}

static void points_off_the_curve_never_reach_the_card(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *own = generate(bed, TLS_P256);
    uint8_t *point, bad[65];
    size_t n = EVP_PKEY_get1_encoded_public_key(own, &point);
    unsigned apdus = bed->card[0].apdus;
    static const uint8_t infinity[] = {0};

    memcpy(bad, point, n);
    OPENSSL_free(point);
    bad[64] ^= 1;
    assert_null(peer_of(own, bad, sizeof bad));
    assert_true(error_says("key type not supported", "no point of prime256v1"));
    assert_null(peer_of(own, bad, 64));
    assert_null(peer_of(own, infinity, sizeof infinity));
    memset(bad + 1, 0xFF, 64);
    assert_null(peer_of(own, bad, sizeof bad));
    ERR_clear_error();
    assert_int_equal(bed->card[0].apdus, apdus);
    EVP_PKEY_free(own);
}

static void other_curves_agree_in_software(void **state) {
    static const char *const curves[] = {"P-256", "P-384", "P-521", "secp256k1", "brainpoolP256r1"};
    struct isp_bed *bed = *state;

    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        EVP_PKEY *a = generate(bed, curves[i]), *b = generate(bed, curves[i]);
        uint8_t one[66], two[66];
        size_t n = derive(bed, a, b, one, sizeof one);

        assert_true(n >= 32);
        assert_int_equal(derive(bed, b, a, two, sizeof two), n);
        assert_memory_equal(one, two, n);
        EVP_PKEY_free(a);
        EVP_PKEY_free(b);
    }
    assert_int_equal(bed->card[0].apdus, 0);
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_key_that_signs_does_not_agree(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *key = isp_bed_load_ref(bed, "iotsafe:id=01", bed->card[0].key);
    EVP_PKEY *ephemeral = generate(bed, TLS_P256);
    uint8_t room[80];

    assert_int_equal(derive(bed, key, ephemeral, room, sizeof room), 0);
    assert_true(error_says("key type not supported", "do not agree"));
    assert_int_equal(isp_bed_sign_text(bed, ephemeral, "SHA256", "x", room, sizeof room), 0);
    assert_true(error_says("key type not supported", "does not sign"));
    EVP_PKEY_free(ephemeral);
    EVP_PKEY_free(key);
}

static void an_ephemeral_private_key_is_never_exported(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *own = generate(bed, TLS_P256);
    OSSL_PARAM *params = NULL;

    assert_int_equal(EVP_PKEY_todata(own, EVP_PKEY_KEYPAIR, &params), 0);
    assert_int_equal(EVP_PKEY_todata(own, EVP_PKEY_PUBLIC_KEY, &params), 1);
    assert_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY));
    OSSL_PARAM_free(params);
    EVP_PKEY_free(own);
}

/* ---- ordinary keys that come here because this provider is preferred ---- */

static void software_keys_do_all_they_can_elsewhere(void **state) {
    static const char *const curves[] = {"P-256", "P-384"};
    struct isp_bed *bed = *state;

    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *key = generate(bed, curves[i]), *back, *copy = EVP_PKEY_dup(key);
        BIO *bio = BIO_new(BIO_s_mem());
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *check = EVP_PKEY_CTX_new_from_pkey(bed->ctx, key, NULL);
        uint8_t sig[150];
        size_t n;

        assert_int_equal(EVP_PKEY_check(check), 1);
        assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
        back = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, bed->ctx, NULL);
        assert_non_null(back);
        assert_int_equal(EVP_PKEY_eq(key, back), 1);
        assert_int_equal(EVP_PKEY_eq(copy, back), 1);
        n = isp_bed_sign_text(bed, copy, "SHA384", "x", sig, sizeof sig);
        assert_true(n > 0);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA384", bed->ctx, NULL, key, NULL),
                         1);
        assert_int_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"x", 1), 1);
        EVP_PKEY_CTX_free(check);
        EVP_MD_CTX_free(ctx);
        BIO_free(bio);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(back);
        EVP_PKEY_free(key);
    }
    assert_int_equal(bed->card[0].apdus, 0);
    assert_int_equal(ERR_peek_error(), 0);
}

static void keys_made_of_parts_are_taken(void **state) {
    struct isp_bed *bed = *state;
    EVP_PKEY *soft = EVP_EC_gen("P-384"), *key = NULL, *bits = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(bed->ctx, "EC", NULL);
    OSSL_PARAM *params = NULL;
    uint8_t sig[150];

    assert_int_equal(EVP_PKEY_todata(soft, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
    assert_int_equal(EVP_PKEY_eq(key, soft), 1);
    assert_true(isp_bed_sign_text(bed, key, "SHA384", "x", sig, sizeof sig) > 0);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &bits, EVP_PKEY_KEY_PARAMETERS, params), 1);
    assert_int_equal(EVP_PKEY_parameters_eq(bits, soft), 1);
    assert_int_equal(EVP_PKEY_missing_parameters(bits), 0);
    assert_int_equal(ERR_peek_error(), 0);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(bits);
    EVP_PKEY_free(key);
    EVP_PKEY_free(soft);
}

/* ---- verification ---- */

static size_t soft_sign(EVP_PKEY *key, const char *md, const char *text, uint8_t *sig, size_t cap) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = cap;

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return n;
}

/* A key as it comes with a certificate. */
static EVP_PKEY *public_half(struct isp_bed *bed, EVP_PKEY *key) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(bed->ctx, "EC", "provider=default");
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pub = NULL;

    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pub, EVP_PKEY_PUBLIC_KEY, params), 1);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return pub;
}

static void the_card_verifies_digests_of_every_length(void **state) {
    static const char *const digests[] = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"};
    struct isp_bed *bed = *state;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *pub = public_half(bed, key);

    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t sig[80];
        size_t n = soft_sign(key, digests[i], "x", sig, sizeof sig);

        assert_true(n > 0);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, digests[i], bed->ctx, NULL, pub, NULL),
                         1);
        assert_int_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"x", 1), 1);
        assert_int_equal(bed->card[0].ins[INS_VERIFY], 1);
        EVP_MD_CTX_reset(ctx);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, digests[i], bed->ctx, NULL, pub, NULL),
                         1);
        assert_int_not_equal(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"y", 1), 1);
        assert_int_equal(bed->card[0].ins[INS_VERIFY], 2);
        bed->card[0].ins[INS_VERIFY] = 0;
        EVP_MD_CTX_free(ctx);
    }
    EVP_PKEY_free(pub);
    EVP_PKEY_free(key);
}

static void what_is_no_signature_is_not_shown_to_the_card(void **state) {
    static const uint8_t none[][8] = {{0}, {0x30, 0}, {0x30, 6, 2, 1, 0x80, 2, 1, 1}};
    static const size_t lengths[] = {0, 2, 8};
    struct isp_bed *bed = *state;
    EVP_PKEY *soft = EVP_EC_gen("P-256"), *key = public_half(bed, soft);

    for (size_t i = 0; i < 3; i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, key, NULL),
                         1);
        assert_true(EVP_DigestVerify(ctx, none[i], lengths[i], (const uint8_t *)"x", 1) <= 0);
        EVP_MD_CTX_free(ctx);
    }
    assert_int_equal(bed->card[0].apdus, 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(soft);
}

/* Whatever stands in the way of the answer, it is not yes: by every function that can ask. */
static void no_answer_is_not_yes(void **state) {
    static const uint16_t words[] = {0x6D01, 0x6F00, 0x6A80, 0x6985, 0x6300, 0x6200, 0x6700};
    struct isp_bed *bed = *state;
    EVP_PKEY *key = EVP_EC_gen("P-256"), *pub = public_half(bed, key);
    uint8_t sig[80], digest[32];
    size_t n = soft_sign(key, "SHA256", "x", sig, sizeof sig);

    assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, "x", 1, digest, NULL), 1);
    for (size_t i = 0; i < 2 * sizeof words / sizeof *words; i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *raw = EVP_PKEY_CTX_new_from_pkey(bed->ctx, pub, NULL);

        bed->card[0].fail_ins = i % 2 ? 0x2D : 0x24;
        bed->card[0].fail_sw = words[i / 2];
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, pub, NULL),
                         1);
        assert_true(EVP_DigestVerify(ctx, sig, n, (const uint8_t *)"x", 1) <= 0);
        EVP_MD_CTX_reset(ctx);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", bed->ctx, NULL, pub, NULL),
                         1);
        assert_int_equal(EVP_DigestVerifyUpdate(ctx, "x", 1), 1);
        assert_true(EVP_DigestVerifyFinal(ctx, sig, n) <= 0);
        assert_int_equal(EVP_PKEY_verify_init(raw), 1);
        assert_true(EVP_PKEY_verify(raw, sig, n, digest, sizeof digest) <= 0);
        EVP_PKEY_CTX_free(raw);
        EVP_MD_CTX_free(ctx);
        ERR_clear_error();
    }
    EVP_PKEY_free(pub);
    EVP_PKEY_free(key);
}

/* ---- derivation ---- */

static void set(EVP_KDF_CTX *ctx, const char *name, const void *bytes, size_t n) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(name, (void *)(uintptr_t)bytes, n),
        OSSL_PARAM_END,
    };

    assert_int_equal(EVP_KDF_CTX_set_params(ctx, params), 1);
}

static void set_text(EVP_KDF_CTX *ctx, const char *name, const char *text) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(name, (void *)(uintptr_t)text, strlen(text)),
        OSSL_PARAM_END,
    };

    assert_int_equal(EVP_KDF_CTX_set_params(ctx, params), 1);
}

/* length, zeros, length, key: RFC 4279 2 */
static size_t premaster(uint8_t *out, const void *psk, size_t n) {
    memset(out, 0, 4 + 2 * n);
    out[1] = out[3 + n] = (uint8_t)n;
    memcpy(out + 4 + n, psk, n);
    return 4 + 2 * n;
}

static EVP_KDF_CTX *new_kdf(OSSL_LIB_CTX *libctx, const char *name) {
    EVP_KDF *kdf = EVP_KDF_fetch(libctx, name, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);

    assert_non_null(ctx);
    EVP_KDF_free(kdf);
    return ctx;
}

static void parameters_may_come_one_by_one_and_be_copied(void **state) {
    struct isp_bed *bed = *state;
    EVP_KDF_CTX *card = new_kdf(bed->ctx, "TLS1-PRF"), *soft = new_kdf(NULL, "TLS1-PRF"), *copy;
    uint8_t secret[100], one[48], two[48];
    size_t n;

    set_text(card, "digest", "SHA256");
    set(card, "seed", "master secret", 13);
    n = premaster(secret, "IOTSAFE:psk:06", 14);
    set(card, "secret", secret, n);
    set(card, "seed", "client and server", 17);
    copy = EVP_KDF_CTX_dup(card);
    assert_non_null(copy);
    assert_int_equal(EVP_KDF_derive(card, one, sizeof one, NULL), 1);
    assert_int_equal(EVP_KDF_derive(copy, two, sizeof two, NULL), 1);
    assert_memory_equal(one, two, sizeof one);
    n = premaster(secret, bed->card[0].psk, FAKE_PSK_LEN);
    set_text(soft, "digest", "SHA256");
    set(soft, "secret", secret, n);
    set(soft, "seed", "master secretclient and server", 30);
    assert_int_equal(EVP_KDF_derive(soft, two, sizeof two, NULL), 1);
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(bed->card[0].ins[INS_PRF], 2);
    /* another secret in the same context: no handle any more */
    EVP_KDF_CTX_reset(card);
    set_text(card, "digest", "SHA256");
    set(card, "secret", secret, n);
    set(card, "seed", "master secretclient and server", 30);
    assert_int_equal(EVP_KDF_derive(card, one, sizeof one, NULL), 1);
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(bed->card[0].ins[INS_PRF], 2);
    EVP_KDF_CTX_free(card);
    EVP_KDF_CTX_free(copy);
    EVP_KDF_CTX_free(soft);
}

static void a_handle_makes_an_early_secret_and_nothing_else(void **state) {
    struct isp_bed *bed = *state;
    EVP_KDF_CTX *ctx = new_kdf(bed->ctx, "TLS13-KDF");
    uint8_t secret[48], salt[32] = {1};

    set_text(ctx, "mode", "EXTRACT_ONLY");
    set_text(ctx, "digest", "SHA256");
    set(ctx, "key", "IOTSAFE:psk:06", 14);
    assert_int_equal(EVP_KDF_derive(ctx, secret, 32, NULL), 1);
    assert_int_equal(bed->card[0].ins[INS_HKDF], 1);
    assert_true(EVP_KDF_derive(ctx, secret, 48, NULL) <= 0);
    assert_true(error_says("buffer too small", "32 bytes"));
    set_text(ctx, "mode", "EXPAND_ONLY");
    assert_true(EVP_KDF_derive(ctx, secret, 32, NULL) <= 0);
    assert_true(error_says("pre-shared key cannot be used", "nothing else"));
    set_text(ctx, "mode", "EXTRACT_ONLY");
    set(ctx, "salt", salt, sizeof salt);
    assert_true(EVP_KDF_derive(ctx, secret, 32, NULL) <= 0);
    assert_true(error_says("pre-shared key cannot be used", "nothing else"));
    assert_int_equal(bed->card[0].ins[INS_HKDF], 1);
    EVP_KDF_CTX_free(ctx);
}

static void longer_seeds_than_a_command_carries_are_refused_for_handles_only(void **state) {
    struct isp_bed *bed = *state;
    EVP_KDF_CTX *ctx = new_kdf(bed->ctx, "TLS1-PRF");
    uint8_t secret[100], seed[300] = {7}, out[48];
    size_t n = premaster(secret, "IOTSAFE:psk:06", 14);

    set_text(ctx, "digest", "SHA256");
    set(ctx, "seed", seed, sizeof seed);
    set(ctx, "secret", secret, n);
    assert_true(EVP_KDF_derive(ctx, out, sizeof out, NULL) <= 0);
    assert_true(error_says("pre-shared key cannot be used", "one command"));
    EVP_KDF_CTX_reset(ctx);
    set_text(ctx, "digest", "SHA256");
    set(ctx, "seed", seed, sizeof seed);
    n = premaster(secret, "ordinary", 8);
    set(ctx, "secret", secret, n);
    assert_int_equal(EVP_KDF_derive(ctx, out, sizeof out, NULL), 1);
    assert_int_equal(bed->card[0].apdus, 0);
    EVP_KDF_CTX_free(ctx);
}

/* ---- random ---- */

static void the_generator_is_seeded_once(void **state) {
    struct isp_bed *bed = *state;
    uint8_t bytes[100];

    assert_int_equal(RAND_set_seed_source_type(bed->ctx, "IOTSAFE-SEED", NULL), 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(RAND_bytes_ex(bed->ctx, bytes, sizeof bytes, 0), 1);
    assert_int_equal(RAND_priv_bytes_ex(bed->ctx, bytes, sizeof bytes, 0), 1);
    assert_int_equal(bed->seeds, 1);
}

static void without_a_card_there_is_no_random(void **state) {
    struct isp_bed *bed = *state;
    uint8_t bytes[16];

    assert_int_equal(RAND_set_seed_source_type(bed->ctx, "IOTSAFE-SEED", NULL), 1);
    bed->card[0].gone = IOTSAFE_E_ABSENT;
    assert_true(RAND_bytes_ex(bed->ctx, bytes, sizeof bytes, 0) <= 0);
    assert_true(error_says("transport cannot be opened", "GET RANDOM"));
}

#define BED_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(both_sides_agree),
        BED_TEST(sizes_are_told_without_the_card),
        BED_TEST(an_ephemeral_key_agrees_once),
        BED_TEST(points_off_the_curve_never_reach_the_card),
        BED_TEST(other_curves_agree_in_software),
        BED_TEST(a_key_that_signs_does_not_agree),
        BED_TEST(an_ephemeral_private_key_is_never_exported),
        BED_TEST(software_keys_do_all_they_can_elsewhere),
        BED_TEST(keys_made_of_parts_are_taken),
        BED_TEST(the_card_verifies_digests_of_every_length),
        BED_TEST(what_is_no_signature_is_not_shown_to_the_card),
        BED_TEST(no_answer_is_not_yes),
        BED_TEST(parameters_may_come_one_by_one_and_be_copied),
        BED_TEST(a_handle_makes_an_early_secret_and_nothing_else),
        BED_TEST(longer_seeds_than_a_command_carries_are_refused_for_handles_only),
        BED_TEST(the_generator_is_seeded_once),
        BED_TEST(without_a_card_there_is_no_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
