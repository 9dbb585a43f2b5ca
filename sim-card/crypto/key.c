#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "crypto/crypto.h"
#include "crypto/key.h"
#include "tb/der.h"

enum { RSA_BITS = 2048, RSA_BYTES = RSA_BITS / 8 };

struct card_key {
    EVP_PKEY *pkey;
    enum card_key_kind kind;
    bool private;
    EVP_PKEY_CTX *sign, *verify,
        *derive; /* ECDSA and ECDH: made on first use, initialised for good */
};

static const char *group_name(enum card_key_kind kind) {
    return kind == CARD_KEY_BP256 ? "brainpoolP256r1" : "P-256";
}

/* Empties OpenSSL's error queue: our callers report one reason, code, unless memory ran out. */
static int failed(int code) {
    unsigned long e;

    while ((e = ERR_get_error()) != 0)
        if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            code = TB_ENOMEM;
    return code;
}

EVP_PKEY *card_key_pkey(const struct card_key *key) {
    return key->pkey;
}

static int wrap(enum card_key_kind kind, EVP_PKEY *pkey, bool private, struct card_key **ret) {
    struct card_key *key = calloc(1, sizeof *key);

    if (!key) {
        EVP_PKEY_free(pkey);
        return TB_ENOMEM;
    }
    *key = (struct card_key){.pkey = pkey, .kind = kind, .private = private};
    *ret = key;
    return 0;
}

/* The library wipes private components itself. */
void card_key_free(struct card_key *key) {
    if (!key)
        return;
    EVP_PKEY_CTX_free(key->sign);
    EVP_PKEY_CTX_free(key->verify);
    EVP_PKEY_CTX_free(key->derive);
    EVP_PKEY_free(key->pkey);
    free(key);
}

/* TB_EPARSE when the values are refused, TB_ECRYPTO when it does not get so far. */
static int ec_from_params(OSSL_PARAM_BLD *bld, int selection, EVP_PKEY **ret) {
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL) : NULL;
    int r = TB_ECRYPTO;

    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
        r = EVP_PKEY_fromdata(ctx, ret, selection, params) > 0 ? 0 : TB_EPARSE;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return r;
}

/* The point d * G; TB_EPARSE unless 0 < d < order (SEC 1 3.2.1). */
static int derive_point(enum card_key_kind kind, const BIGNUM *d, uint8_t ret[TB_SAFE_POINT]) {
    int nid = kind == CARD_KEY_BP256 ? NID_brainpoolP256r1 : NID_X9_62_prime256v1;
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    int r = TB_ECRYPTO;

    if (point && (BN_is_zero(d) || BN_cmp(d, EC_GROUP_get0_order(group)) >= 0))
        r = TB_EPARSE;
    else if (point && EC_POINT_mul(group, point, d, NULL, NULL, NULL) &&
             EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret, TB_SAFE_POINT,
                                NULL) == TB_SAFE_POINT)
        r = 0;
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return r;
}

static int ec_private(enum card_key_kind kind, struct tb_span value, EVP_PKEY **ret) {
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *d = BN_secure_new();
    uint8_t point[TB_SAFE_POINT];
    int r = TB_ECRYPTO;

    if (!bld || !d || !BN_bin2bn(value.p, (int)value.n, d))
        goto out;
    r = derive_point(kind, d, point);
    if (r < 0)
        goto out;
    r = TB_ECRYPTO;
    if (!OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, group_name(kind), 0) ||
        !OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) ||
        !OSSL_PARAM_BLD_push_BN_pad(bld, OSSL_PKEY_PARAM_PRIV_KEY, d, CARD_KEY_SCALAR))
        goto out;
    r = ec_from_params(bld, EVP_PKEY_KEYPAIR, ret);
out:
    BN_clear_free(d);
    OSSL_PARAM_BLD_free(bld);
    return r;
}

static EVP_PKEY *rsa_checked(EVP_PKEY *pkey) {
    if (pkey && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA && EVP_PKEY_get_bits(pkey) == RSA_BITS)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

/* DER parsers move a pointer; all of the span has to be used. */
static EVP_PKEY *all_used(EVP_PKEY *pkey, const unsigned char *end, struct tb_span der) {
    if (pkey && (size_t)(end - der.p) == der.n)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

int card_key_from_private(enum card_key_kind kind, struct tb_span value, struct card_key **ret) {
    EVP_PKEY *pkey = NULL;
    const unsigned char *at = value.p;
    int r;

    if (kind != CARD_KEY_RSA2048) {
        if (value.n != CARD_KEY_SCALAR)
            return TB_EPARSE;
        r = ec_private(kind, value, &pkey);
        return r < 0 ? failed(r) : wrap(kind, pkey, true, ret);
    }
    if (value.n == 0 || value.n > CARD_KEY_PRIVATE_MAX)
        return TB_EPARSE;
    pkey = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &at, (long)value.n);
    pkey = rsa_checked(all_used(pkey, at, value));
    return pkey ? wrap(kind, pkey, true, ret) : failed(TB_EPARSE);
}

static int ec_public(enum card_key_kind kind, struct tb_span point, EVP_PKEY **ret) {
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    int r = TB_ECRYPTO;

    if (bld &&
        OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, group_name(kind), 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.p, point.n))
        r = ec_from_params(bld, EVP_PKEY_PUBLIC_KEY, ret); /* refuses points beside the curve */
    OSSL_PARAM_BLD_free(bld);
    return r;
}

int card_key_from_public(enum card_key_kind kind, struct tb_span value, struct card_key **ret) {
    EVP_PKEY *pkey = NULL;
    const unsigned char *at = value.p;
    int r;

    if (value.n == 0 || value.n > CARD_KEY_PUBLIC_MAX)
        return TB_EPARSE;
    if (kind != CARD_KEY_RSA2048) {
        if (value.n != TB_SAFE_POINT || value.p[0] != 0x04)
            return TB_EPARSE;
        r = ec_public(kind, value, &pkey);
        return r < 0 ? failed(r) : wrap(kind, pkey, false, ret);
    }
    pkey = d2i_PUBKEY(NULL, &at, (long)value.n);
    pkey = all_used(pkey, at, value);
    if (!pkey) {
        at = value.p;
        pkey = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)value.n);
        pkey = all_used(pkey, at, value);
    }
    pkey = rsa_checked(pkey);
    if (!pkey)
        return failed(TB_EPARSE);
    ERR_clear_error(); /* of the first attempt */
    return wrap(kind, pkey, false, ret);
}

int card_key_generate(enum card_key_kind kind, struct card_key **ret) {
    EVP_PKEY *pkey = kind == CARD_KEY_RSA2048
                         ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_BITS)
                         : EVP_PKEY_Q_keygen(NULL, NULL, "EC", group_name(kind));

    return pkey ? wrap(kind, pkey, true, ret) : failed(TB_ECRYPTO);
}

int card_key_put_private(const struct card_key *key, struct tb_buf *out) {
    BIGNUM *d = NULL;
    uint8_t *at;
    unsigned char *der = NULL;
    int n, r = TB_ECRYPTO;

    if (!key->private)
        return TB_EUNSUP;
    if (key->kind != CARD_KEY_RSA2048) {
        if (EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1) {
            at = tb_put_room(out, CARD_KEY_SCALAR);
            r = !at ? TB_ESPACE : BN_bn2binpad(d, at, CARD_KEY_SCALAR) < 0 ? TB_ECRYPTO : 0;
        }
        BN_clear_free(d);
        return r < 0 ? failed(r) : 0;
    }
    n = i2d_PrivateKey(key->pkey, &der);
    if (n <= 0)
        return failed(TB_ECRYPTO);
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_clear_free(der, (size_t)n);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

int card_key_put_public(const struct card_key *key, bool pkcs1, struct tb_buf *out) {
    unsigned char *der = NULL;
    size_t point_n = 0;
    uint8_t *at;
    int n;

    if (key->kind != CARD_KEY_RSA2048) {
        at = tb_put_room(out, TB_SAFE_POINT);
        if (!at)
            return TB_ESPACE;
        if (EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, at, TB_SAFE_POINT,
                                            &point_n) == 1 &&
            point_n == TB_SAFE_POINT)
            return 0;
        out->n -= TB_SAFE_POINT;
        return failed(TB_ECRYPTO);
    }
    n = pkcs1 ? i2d_PublicKey(key->pkey, &der) : i2d_PUBKEY(key->pkey, &der);
    if (n <= 0)
        return failed(TB_ECRYPTO);
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_free(der);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

static const EVP_MD *md_of(uint16_t hash) {
    return hash == TB_SAFE_SHA256   ? EVP_sha256()
           : hash == TB_SAFE_SHA384 ? EVP_sha384()
           : hash == TB_SAFE_SHA512 ? EVP_sha512()
                                    : NULL;
}

static bool fits(const struct card_key *key, uint8_t alg) {
    return key->kind == CARD_KEY_RSA2048 ? alg == TB_SAFE_RSA_PKCS1 || alg == TB_SAFE_RSA_PSS
                                         : alg == TB_SAFE_ECDSA;
}

/* A context of the key, made once with init and kept. */
static EVP_PKEY_CTX *kept(EVP_PKEY_CTX **ctx, EVP_PKEY *pkey, int (*init)(EVP_PKEY_CTX *)) {
    if (*ctx)
        return *ctx;
    *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    if (*ctx && init(*ctx) <= 0) {
        EVP_PKEY_CTX_free(*ctx);
        *ctx = NULL;
    }
    return *ctx;
}

static EVP_PKEY_CTX *rsa_context(struct card_key *key, uint8_t alg, uint16_t hash,
                                 int (*init)(EVP_PKEY_CTX *)) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    int padding = alg == TB_SAFE_RSA_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;

    if (ctx && init(ctx) > 0 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) > 0 &&
        EVP_PKEY_CTX_set_signature_md(ctx, md_of(hash)) > 0 &&
        (alg != TB_SAFE_RSA_PSS ||
         (EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md_of(hash)) > 0 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0)))
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

static int sign_rsa(struct card_key *key, uint8_t alg, uint16_t hash, struct tb_span digest,
                    struct tb_buf *out) {
    EVP_PKEY_CTX *ctx;
    size_t n = RSA_BYTES;
    uint8_t *at;
    int ok;

    if (digest.n == 0 || digest.n != card_hash_len(hash))
        return TB_ERANGE;
    at = tb_put_room(out, RSA_BYTES);
    if (!at)
        return TB_ESPACE;
    ctx = rsa_context(key, alg, hash, EVP_PKEY_sign_init);
    ok = ctx && EVP_PKEY_sign(ctx, at, &n, digest.p, digest.n) > 0 && n == RSA_BYTES;
    EVP_PKEY_CTX_free(ctx);
    if (!ok) {
        out->n -= RSA_BYTES;
        return failed(TB_ECRYPTO);
    }
    return 0;
}

int card_key_sign(struct card_key *key, uint8_t alg, uint16_t hash, struct tb_span digest,
                  struct tb_buf *out) {
    uint8_t der[TB_ECDSA_DER_MAX_256];
    size_t n = sizeof der;
    EVP_PKEY_CTX *ctx;

    if (!key->private || !fits(key, alg))
        return TB_EUNSUP;
    if (key->kind == CARD_KEY_RSA2048)
        return sign_rsa(key, alg, hash, digest, out);
    ctx = kept(&key->sign, key->pkey, EVP_PKEY_sign_init);
    if (!ctx || EVP_PKEY_sign(ctx, der, &n, digest.p, digest.n) <= 0)
        return failed(TB_ECRYPTO);
    return tb_ecdsa_der_to_raw(tb_span(der, n), CARD_KEY_SCALAR, out);
}

/* OpenSSL: 1 right, 0 wrong, negative when it could not tell. */
static int verdict(int r) {
    if (r < 0)
        return failed(TB_ECRYPTO);
    ERR_clear_error();
    return r == 1;
}

int card_key_verify(struct card_key *key, uint8_t alg, uint16_t hash, struct tb_span digest,
                    struct tb_span signature) {
    uint8_t der[TB_ECDSA_DER_MAX_256];
    struct tb_buf b = TB_BUF(der);
    EVP_PKEY_CTX *ctx;
    int r;

    if (!fits(key, alg))
        return TB_EUNSUP;
    if (key->kind == CARD_KEY_RSA2048) {
        if (digest.n == 0 || digest.n != card_hash_len(hash))
            return TB_ERANGE;
        ctx = rsa_context(key, alg, hash, EVP_PKEY_verify_init);
        if (!ctx)
            return failed(TB_ECRYPTO);
        r = EVP_PKEY_verify(ctx, signature.p, signature.n, digest.p, digest.n);
        EVP_PKEY_CTX_free(ctx);
        return verdict(r);
    }
    if (signature.n != CARD_SIGNATURE_EC || tb_ecdsa_raw_to_der(signature, &b) < 0)
        return 0;
    ctx = kept(&key->verify, key->pkey, EVP_PKEY_verify_init);
    if (!ctx)
        return failed(TB_ECRYPTO);
    return verdict(EVP_PKEY_verify(ctx, b.p, b.n, digest.p, digest.n));
}

int card_key_agree(struct card_key *key, struct card_key *peer, uint8_t ret_z[32]) {
    EVP_PKEY_CTX *ctx;
    size_t n = 32;

    if (!key->private || key->kind == CARD_KEY_RSA2048 || key->kind != peer->kind)
        return TB_EUNSUP;
    ctx = kept(&key->derive, key->pkey, EVP_PKEY_derive_init);
    /* The peer was checked to be on the curve when it was parsed; the cofactor is 1. */
    if (!ctx || EVP_PKEY_derive_set_peer_ex(ctx, peer->pkey, 0) <= 0 ||
        EVP_PKEY_derive(ctx, ret_z, &n) <= 0 || n != 32)
        return failed(TB_ECRYPTO);
    return 0;
}
