/* The card's cryptography against OpenSSL's own high-level interface, on random inputs. */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/crypto.h"
#include "fixture.h"
#include "tb/der.h"
#include "tb/test.h"

enum { ROUNDS = 20 };

static const struct algorithm {
    uint16_t alg;
    const char *name;
} hashes[] = {{TB_SAFE_SHA256, "SHA256"}, {TB_SAFE_SHA384, "SHA384"}, {TB_SAFE_SHA512, "SHA512"}};

static void random_bytes(uint8_t *p, size_t n) {
    assert_int_equal(RAND_bytes(p, (int)n), 1);
}

static size_t random_up_to(size_t n) {
    uint32_t v;

    random_bytes((uint8_t *)&v, sizeof v);
    return v % (n + 1);
}

static void hashes_like_openssl_whatever_the_blocks(void **state) {
    (void)state;
    for (size_t a = 0; a < 3; a++)
        for (int i = 0; i < ROUNDS; i++) {
            uint8_t data[1000], want[EVP_MAX_MD_SIZE], got[CARD_HASH_MAX];
            size_t n = random_up_to(sizeof data), want_n = 0;
            struct tb_span rest = tb_span(data, n), part = TB_SPAN_NONE;
            struct card_hash h;

            random_bytes(data, sizeof data);
            assert_int_equal(EVP_Q_digest(NULL, hashes[a].name, NULL, data, n, want, &want_n), 1);
            card_hash_init(&h, hashes[a].alg);
            while (rest.n > 0) {
                assert_true(tb_take(&rest, random_up_to(rest.n), &part));
                card_hash_update(&h, part);
            }
            assert_int_equal(card_hash_final(&h, got), want_n);
            assert_memory_equal(got, want, want_n);
        }
}

/* A state taken out of the hash itself after whole blocks goes on to the same result. */
static void resumes_from_an_intermediate_state(void **state) {
    (void)state;
    for (size_t a = 0; a < 3; a++)
        for (size_t blocks = 0; blocks < 4; blocks++) {
            size_t block = card_hash_block(hashes[a].alg), count = blocks * block, want_n = 0;
            bool wide = hashes[a].alg != TB_SAFE_SHA256;
            uint8_t data[4 * 128 + 77], want[EVP_MAX_MD_SIZE], got[CARD_HASH_MAX], mid[64];
            struct tb_buf b = TB_BUF(mid);
            struct card_hash h;

            random_bytes(data, sizeof data);
            assert_int_equal(
                EVP_Q_digest(NULL, hashes[a].name, NULL, data, count + 77, want, &want_n), 1);
            card_hash_init(&h, hashes[a].alg);
            card_hash_update(&h, tb_span(data, count));
            /* both contexts of OpenSSL begin with the chaining value */
            for (size_t i = 0; i < 8; i++) {
                uint32_t narrow;
                uint64_t v;

                memcpy(&narrow, (uint8_t *)h.state + 4 * i, 4);
                memcpy(&v, (uint8_t *)h.state + 8 * i, 8);
                if (wide)
                    tb_put_be(&b, 4, (uint32_t)(v >> 32));
                tb_put_be(&b, 4, wide ? (uint32_t)v : narrow);
            }
            assert_int_equal(card_hash_resume(&h, hashes[a].alg, tb_buf_span(&b), count), 0);
            card_hash_update(&h, tb_span(data + count, 77));
            assert_int_equal(card_hash_final(&h, got), want_n);
            assert_memory_equal(got, want, want_n);
            assert_int_equal(card_hash_resume(&h, hashes[a].alg, tb_buf_span(&b), count + 1),
                             TB_ERANGE);
            assert_int_equal(card_hash_resume(&h, hashes[a].alg, tb_span(mid, b.n - 1), count),
                             TB_ERANGE);
        }
}

/* OpenSSL's view of a public key that the card wrote. */
static EVP_PKEY *openssl_public(enum card_key_kind kind, struct tb_span value) {
    OSSL_PARAM_BLD *bld;
    OSSL_PARAM *params;
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *pkey = NULL;
    const unsigned char *at = value.p;

    if (kind == CARD_KEY_RSA2048)
        return d2i_PUBKEY(NULL, &at, (long)value.n);
    bld = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
                                    kind == CARD_KEY_BP256 ? "brainpoolP256r1" : "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, value.p, value.n);
    params = OSSL_PARAM_BLD_to_param(bld);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_true(EVP_PKEY_fromdata_init(ctx) > 0);
    assert_true(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) > 0);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static bool openssl_verifies(EVP_PKEY *pkey, const char *hash, bool pss, struct tb_span message,
                             struct tb_span signature) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok;

    assert_true(EVP_DigestVerifyInit_ex(ctx, &pctx, hash, NULL, NULL, pkey, NULL) > 0);
    if (pss) {
        assert_true(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) > 0);
        assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) > 0);
    }
    ok = EVP_DigestVerify(ctx, signature.p, signature.n, message.p, message.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void sign_and_verify(enum card_key_kind kind, uint8_t alg, const struct algorithm *hash) {
    uint8_t message[100], digest[CARD_HASH_MAX], raw[CARD_SIGNATURE_MAX], der[TB_ECDSA_DER_MAX_256],
        pub[CARD_KEY_PUBLIC_MAX];
    struct tb_buf signature = TB_BUF(raw), b = TB_BUF(der), public_bytes = TB_BUF(pub);
    struct card_key *key, *half;
    struct card_hash h;
    struct tb_span d;
    EVP_PKEY *pkey;

    random_bytes(message, sizeof message);
    card_hash_init(&h, hash->alg);
    card_hash_update(&h, tb_span(message, sizeof message));
    d = tb_span(digest, card_hash_final(&h, digest));
    if (kind == CARD_KEY_RSA2048)
        assert_int_equal(card_key_from_private(kind, tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &key),
                         0);
    else
        assert_int_equal(card_key_generate(kind, &key), 0);
    assert_int_equal(card_key_sign(key, alg, hash->alg, d, &signature), 0);
    assert_int_equal(card_key_put_public(key, false, &public_bytes), 0);
    pkey = openssl_public(kind, tb_buf_span(&public_bytes));
    assert_non_null(pkey);
    if (alg == TB_SAFE_ECDSA)
        assert_int_equal(tb_ecdsa_raw_to_der(tb_buf_span(&signature), &b), 0);
    assert_true(openssl_verifies(pkey, hash->name, alg == TB_SAFE_RSA_PSS,
                                 tb_span(message, sizeof message),
                                 tb_buf_span(alg == TB_SAFE_ECDSA ? &b : &signature)));
    assert_int_equal(card_key_from_public(kind, tb_buf_span(&public_bytes), &half), 0);
    assert_int_equal(card_key_verify(half, alg, hash->alg, d, tb_buf_span(&signature)), 1);
    for (size_t i = 0; i < signature.n; i += 17) {
        raw[i] ^= 1;
        assert_int_equal(card_key_verify(half, alg, hash->alg, d, tb_buf_span(&signature)), 0);
        raw[i] ^= 1;
    }
    digest[0] ^= 1;
    assert_int_equal(card_key_verify(half, alg, hash->alg, d, tb_buf_span(&signature)), 0);
    assert_int_equal(card_key_sign(half, alg, hash->alg, d, &signature), TB_EUNSUP);
    card_key_free(key);
    card_key_free(half);
    EVP_PKEY_free(pkey);
}

static void signatures_are_right_for_openssl(void **state) {
    (void)state;
    for (size_t a = 0; a < 3; a++) {
        for (int i = 0; i < ROUNDS; i++)
            sign_and_verify(CARD_KEY_P256, TB_SAFE_ECDSA, &hashes[a]);
        sign_and_verify(CARD_KEY_BP256, TB_SAFE_ECDSA, &hashes[a]);
        sign_and_verify(CARD_KEY_RSA2048, TB_SAFE_RSA_PKCS1, &hashes[a]);
        sign_and_verify(CARD_KEY_RSA2048, TB_SAFE_RSA_PSS, &hashes[a]);
    }
}

static void one_key_signs_differently_each_time(void **state) {
    uint8_t first[64], second[64];
    struct tb_buf a = TB_BUF(first), b = TB_BUF(second);
    struct card_key *key;
    struct tb_span digest = tb_span(fx_scalar, 32);

    (void)state;
    assert_int_equal(card_key_generate(CARD_KEY_P256, &key), 0);
    assert_int_equal(card_key_sign(key, TB_SAFE_ECDSA, TB_SAFE_SHA256, digest, &a), 0);
    assert_int_equal(card_key_sign(key, TB_SAFE_ECDSA, TB_SAFE_SHA256, digest, &b), 0);
    assert_memory_not_equal(first, second, 32);
    card_key_free(key);
}

static void algorithms_that_do_not_fit_are_refused(void **state) {
    uint8_t raw[CARD_SIGNATURE_MAX];
    struct tb_buf b = TB_BUF(raw);
    struct card_key *ec, *rsa;
    struct tb_span digest = tb_span(fx_scalar, 32);

    (void)state;
    assert_int_equal(card_key_from_private(CARD_KEY_P256, digest, &ec), 0);
    assert_int_equal(
        card_key_from_private(CARD_KEY_RSA2048, tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &rsa), 0);
    assert_int_equal(card_key_sign(ec, TB_SAFE_RSA_PSS, 1, digest, &b), TB_EUNSUP);
    assert_int_equal(card_key_sign(rsa, TB_SAFE_ECDSA, 1, digest, &b), TB_EUNSUP);
    assert_int_equal(card_key_sign(rsa, TB_SAFE_RSA_PKCS1, 2, digest, &b), TB_ERANGE);
    assert_int_equal(card_key_verify(rsa, TB_SAFE_RSA_PKCS1, 2, digest, digest), TB_ERANGE);
    assert_int_equal(b.n, 0);
    card_key_free(ec);
    card_key_free(rsa);
}

static void agreement_is_openssls(void **state) {
    static const char *const groups[] = {"P-256", "brainpoolP256r1"};

    (void)state;
    for (size_t g = 0; g < 2; g++)
        for (int i = 0; i < ROUNDS; i++) {
            enum card_key_kind kind = g ? CARD_KEY_BP256 : CARD_KEY_P256;
            EVP_PKEY *peer = EVP_EC_gen(groups[g]), *ours;
            uint8_t peer_point[65], our_point[65], z[32], want[32];
            struct tb_buf b = TB_BUF(our_point);
            size_t n = 0, want_n = sizeof want;
            struct card_key *key, *peer_key;
            EVP_PKEY_CTX *ctx;

            assert_int_equal(EVP_PKEY_get_octet_string_param(peer, "pub", peer_point, 65, &n), 1);
            assert_int_equal(card_key_generate(kind, &key), 0);
            assert_int_equal(card_key_from_public(kind, tb_span(peer_point, 65), &peer_key), 0);
            assert_int_equal(card_key_agree(key, peer_key, z), 0);
            assert_int_equal(card_key_put_public(key, false, &b), 0);
            ours = openssl_public(kind, tb_buf_span(&b));
            ctx = EVP_PKEY_CTX_new(peer, NULL);
            assert_true(EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_derive_set_peer(ctx, ours) > 0);
            assert_true(EVP_PKEY_derive(ctx, want, &want_n) > 0 && want_n == 32);
            assert_memory_equal(z, want, 32);
            EVP_PKEY_CTX_free(ctx);
            EVP_PKEY_free(ours);
            EVP_PKEY_free(peer);
            card_key_free(key);
            card_key_free(peer_key);
        }
}

static void private_keys_survive_writing_and_reading(void **state) {
    static const enum card_key_kind kinds[] = {CARD_KEY_P256, CARD_KEY_BP256, CARD_KEY_RSA2048};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t priv[CARD_KEY_PRIVATE_MAX], again[CARD_KEY_PRIVATE_MAX], pub[CARD_KEY_PUBLIC_MAX],
            pub2[CARD_KEY_PUBLIC_MAX];
        struct tb_buf b = TB_BUF(priv), b2 = TB_BUF(again), p = TB_BUF(pub), p2 = TB_BUF(pub2);
        struct card_key *key, *copy;

        if (kinds[i] == CARD_KEY_RSA2048)
            assert_int_equal(
                card_key_from_private(kinds[i], tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &key), 0);
        else
            assert_int_equal(card_key_generate(kinds[i], &key), 0);
        assert_int_equal(card_key_put_private(key, &b), 0);
        assert_int_equal(card_key_from_private(kinds[i], tb_buf_span(&b), &copy), 0);
        assert_int_equal(card_key_put_private(copy, &b2), 0);
        assert_true(tb_span_eq(tb_buf_span(&b), tb_buf_span(&b2)));
        assert_int_equal(card_key_put_public(key, false, &p), 0);
        assert_int_equal(card_key_put_public(copy, false, &p2), 0);
        assert_true(tb_span_eq(tb_buf_span(&p), tb_buf_span(&p2)));
        card_key_free(key);
        card_key_free(copy);
    }
}

static void values_that_are_no_keys_are_refused(void **state) {
    static const uint8_t order[32] = {0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84,
                                      0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};
    static const uint8_t zero[65];
    uint8_t point[65], der[CARD_KEY_PUBLIC_MAX];
    struct tb_buf b = TB_BUF(point), d = TB_BUF(der);
    struct card_key *key;

    (void)state;
    assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(order, 32), &key), TB_EPARSE);
    assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(zero, 32), &key), TB_EPARSE);
    assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(order, 31), &key), TB_EPARSE);
    assert_int_equal(card_key_from_public(CARD_KEY_P256, tb_span(zero, 65), &key), TB_EPARSE);
    assert_int_equal(card_key_from_public(CARD_KEY_P256, TB_BYTES(0x00), &key), TB_EPARSE);
    assert_int_equal(card_key_from_public(CARD_KEY_P256, TB_SPAN_NONE, &key), TB_EPARSE);
    assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(fx_scalar, 32), &key), 0);
    assert_int_equal(card_key_put_public(key, false, &b), 0);
    card_key_free(key);
    assert_int_equal(card_key_from_public(CARD_KEY_BP256, tb_buf_span(&b), &key), TB_EPARSE);
    point[64] ^= 1;
    assert_int_equal(card_key_from_public(CARD_KEY_P256, tb_buf_span(&b), &key), TB_EPARSE);
    /* an EC key where RSA is wanted, DER with a byte too many or too few, a smaller modulus */
    assert_int_equal(
        card_key_from_private(CARD_KEY_RSA2048, tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n - 1), &key),
        TB_EPARSE);
    assert_int_equal(
        card_key_from_private(CARD_KEY_RSA2048, tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &key), 0);
    assert_int_equal(card_key_put_public(key, true, &d), 0);
    card_key_free(key);
    assert_int_equal(d.n, 270);
    tb_put_u8(&d, 0);
    assert_int_equal(card_key_from_public(CARD_KEY_RSA2048, tb_buf_span(&d), &key), TB_EPARSE);
    {
        EVP_PKEY *small = EVP_RSA_gen(1024);
        unsigned char *small_der = NULL;
        int n = i2d_PUBKEY(small, &small_der);

        assert_int_equal(
            card_key_from_public(CARD_KEY_RSA2048, tb_span(small_der, (size_t)n), &key), TB_EPARSE);
        OPENSSL_free(small_der);
        EVP_PKEY_free(small);
    }
}

static void derivations_are_openssls(void **state) {
    (void)state;
    for (size_t a = 0; a < 3; a++)
        for (int i = 0; i < ROUNDS; i++) {
            uint8_t salt[64], ikm[64], want[64], got[64];
            size_t salt_n = random_up_to(63) + 1, ikm_n = random_up_to(63) + 1;
            size_t n = card_hash_len(hashes[a].alg);
            struct tb_buf b = TB_BUF(got);
            EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
            EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
            int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
            char md[8];
            OSSL_PARAM params[5];

            random_bytes(salt, sizeof salt);
            random_bytes(ikm, sizeof ikm);
            snprintf(md, sizeof md, "%s", hashes[a].name);
            params[0] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
            params[1] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0);
            params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, salt_n);
            params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, ikm, ikm_n);
            params[4] = OSSL_PARAM_construct_end();
            assert_int_equal(EVP_KDF_derive(ctx, want, n, params), 1);
            assert_int_equal(
                card_hkdf_extract(hashes[a].alg, tb_span(salt, salt_n), tb_span(ikm, ikm_n), &b),
                0);
            assert_int_equal(b.n, n);
            assert_memory_equal(got, want, n);
            EVP_KDF_CTX_free(ctx);
            EVP_KDF_free(kdf);
        }
}

/* RFC 5246's P_hash written out with HMAC. */
static void prf_by_definition(struct tb_span secret, struct tb_span seed, uint8_t *out, size_t n) {
    uint8_t a[32], block[32 + 300], part[32];
    size_t len = 0;

    assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret.p, secret.n, seed.p,
                              seed.n, a, sizeof a, &len));
    while (n > 0) {
        size_t take = n < 32 ? n : 32;

        memcpy(block, a, 32);
        memcpy(block + 32, seed.p, seed.n);
        EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret.p, secret.n, block, 32 + seed.n, part,
                  sizeof part, &len);
        memcpy(out, part, take);
        out += take;
        n -= take;
        EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret.p, secret.n, a, 32, part, sizeof part,
                  &len);
        memcpy(a, part, 32);
    }
}

static void prf_is_the_rfcs(void **state) {
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t secret[100], seed[300], want[255], got[255];
        struct tb_span s = tb_span(secret, random_up_to(99) + 1),
                       d = tb_span(seed, random_up_to(299) + 1);
        size_t n = random_up_to(254) + 1;
        struct tb_buf b = TB_BUF(got);

        random_bytes(secret, sizeof secret);
        random_bytes(seed, sizeof seed);
        prf_by_definition(s, d, want, n);
        assert_int_equal(card_prf_sha256(s, d, n, &b), 0);
        assert_memory_equal(got, want, n);
    }
}

static void csr_carries_name_and_key_and_verifies(void **state) {
    uint8_t der[1024];
    (void)state;

    for (int i = 0; i < 2; i++) {
        struct tb_buf b = TB_BUF(der);
        const unsigned char *at = der;
        struct card_key *key;
        char name[64];
        X509_REQ *req;

        if (i == 0)
            assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(fx_scalar, 32), &key), 0);
        else
            assert_int_equal(card_key_from_private(CARD_KEY_RSA2048,
                                                   tb_span(fx_rsa_pkcs1, fx_rsa_pkcs1_n), &key),
                             0);
        assert_int_equal(card_key_csr(key, "device-1", &b), 0);
        req = d2i_X509_REQ(NULL, &at, (long)b.n);
        assert_non_null(req);
        assert_int_equal(at - der, b.n);
        assert_int_equal(X509_REQ_verify(req, X509_REQ_get0_pubkey(req)), 1);
        X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(req), NID_commonName, name,
                                  sizeof name);
        assert_string_equal(name, "device-1");
        X509_REQ_free(req);
        assert_int_equal(card_key_csr(key, "", &b), TB_ERANGE);
        assert_int_equal(card_key_csr(key, "\xFF\xFE", &b), TB_ERANGE);
        b = tb_buf(der, 10);
        assert_int_equal(card_key_csr(key, "device-1", &b), TB_ESPACE);
        card_key_free(key);
    }
}

static void outputs_that_do_not_fit_are_refused(void **state) {
    uint8_t small[8];
    struct tb_buf b = TB_BUF(small);
    struct card_key *key;

    (void)state;
    assert_int_equal(card_random(&b, 9), TB_ESPACE);
    b = TB_BUF(small);
    assert_int_equal(card_prf_sha256(tb_span(fx_scalar, 32), tb_span(fx_scalar, 32), 9, &b),
                     TB_ESPACE);
    b = TB_BUF(small);
    assert_int_equal(card_hkdf_extract(1, tb_span(fx_scalar, 32), tb_span(fx_scalar, 32), &b),
                     TB_ESPACE);
    assert_int_equal(card_key_from_private(CARD_KEY_P256, tb_span(fx_scalar, 32), &key), 0);
    b = TB_BUF(small);
    assert_int_equal(card_key_put_private(key, &b), TB_ESPACE);
    b = TB_BUF(small);
    assert_int_equal(card_key_put_public(key, false, &b), TB_ESPACE);
    b = TB_BUF(small);
    assert_true(card_key_sign(key, TB_SAFE_ECDSA, 1, tb_span(fx_scalar, 32), &b) < 0);
    card_key_free(key);
}

/* spec: TS35208 test sets 1 to 3; in order: K, RAND, SQN, AMF, OP, OPc, f1, f1*, RES, CK, IK, AK,
 * AK*. */
static const char *const milenage_sets[][13] = {
    {"465b5ce8b199b49faa5f0a2ee238a6bc", "23553cbe9637a89d218ae64dae47bf35", "ff9bb4d0b607", "b9b9",
     "cdc202d5123e20f62b6d676ac72cb318", "cd63cb71954a9f4e48a5994e37a02baf", "4a9ffac354dfafb3",
     "01cfaf9ec4e871e9", "a54211d5e3ba50bf", "b40ba9a3c58b2a05bbf0d987b21bf8cb",
     "f769bcd751044604127672711c6d3441", "aa689c648370", "451e8beca43b"},
    {"0396eb317b6d1c36f19c1c84cd6ffd16", "c00d603103dcee52c4478119494202e8", "fd8eef40df7d", "af17",
     "ff53bade17df5d4e793073ce9d7579fa", "53c15671c60a4b731c55b4a441c0bde2", "5df5b31807e258b0",
     "a8c016e51ef4a343", "d3a628ed988620f0", "58c433ff7a7082acd424220f2b67c556",
     "21a8c1f929702adb3e738488b9f5c5da", "c47783995f72", "30f1197061c1"},
    {"fec86ba6eb707ed08905757b1bb44b8f", "9f7c8d021accf4db213ccff0c7f71a6a", "9d0277595ffc", "725c",
     "dbc59adcb6f9a0ef735477b7fadf8374", "1006020f0a478bf6b699f15c062e42b3", "9cabc3e99baf7281",
     "95814ba2b3044324", "8011c48c0c214ed2", "5dbdbb2954e8f3cde665b046179a5098",
     "59a92d3b476a0443487055cf88b2307b", "33484dc2136b", "deacdd848cc6"},
};

static void milenage_gives_the_published_test_sets(void **state) {
    (void)state;

    for (size_t set = 0; set < 3; set++) {
        uint8_t v[13][16] = {{0}}, opc[16], a[8], s[8];
        struct card_milenage_keys keys;
        struct card_milenage m;

        for (size_t i = 0; i < 13; i++) {
            struct tb_buf b = TB_BUF(v[i]);

            assert_int_equal(tb_hex_decode(tb_span_str(milenage_sets[set][i]), &b), 0);
        }
        assert_int_equal(card_milenage_opc(v[0], v[4], opc), 0);
        assert_memory_equal(opc, v[5], 16);
        memcpy(keys.k, v[0], 16);
        memcpy(keys.opc, opc, 16);
        assert_int_equal(card_milenage_mac(&keys, v[1], v[2], v[3], a, s), 0);
        assert_memory_equal(a, v[6], 8);
        assert_memory_equal(s, v[7], 8);
        assert_int_equal(card_milenage(&keys, v[1], &m), 0);
        assert_memory_equal(m.res, v[8], 8);
        assert_memory_equal(m.ck, v[9], 16);
        assert_memory_equal(m.ik, v[10], 16);
        assert_memory_equal(m.ak, v[11], 6);
        assert_memory_equal(m.ak_star, v[12], 6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_like_openssl_whatever_the_blocks),
        cmocka_unit_test(resumes_from_an_intermediate_state),
        cmocka_unit_test(signatures_are_right_for_openssl),
        cmocka_unit_test(one_key_signs_differently_each_time),
        cmocka_unit_test(algorithms_that_do_not_fit_are_refused),
        cmocka_unit_test(agreement_is_openssls),
        cmocka_unit_test(private_keys_survive_writing_and_reading),
        cmocka_unit_test(values_that_are_no_keys_are_refused),
        cmocka_unit_test(derivations_are_openssls),
        cmocka_unit_test(milenage_gives_the_published_test_sets),
        cmocka_unit_test(prf_is_the_rfcs),
        cmocka_unit_test(csr_carries_name_and_key_and_verifies),
        cmocka_unit_test(outputs_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
