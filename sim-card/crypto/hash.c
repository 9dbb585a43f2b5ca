/* Hashes over OpenSSL's low-level interface: the only one that lets a hash start from an
 * intermediate state, which IoT SAFE's "last block" mode asks for. It also costs no fetch and no
 * allocation. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "crypto/crypto.h"

union context {
    SHA256_CTX s256;
    SHA512_CTX s512; /* SHA-384 too */
};

static_assert(sizeof(union context) <= sizeof((struct card_hash){0}.state), "state is too small");

static SHA256_CTX *s256(struct card_hash *h) {
    return (SHA256_CTX *)(void *)h->state;
}

static SHA512_CTX *s512(struct card_hash *h) {
    return (SHA512_CTX *)(void *)h->state;
}

size_t card_hash_len(uint16_t alg) {
    switch (alg) {
    case TB_SAFE_SHA256:
        return SHA256_DIGEST_LENGTH;
    case TB_SAFE_SHA384:
        return SHA384_DIGEST_LENGTH;
    case TB_SAFE_SHA512:
        return SHA512_DIGEST_LENGTH;
    default:
        return 0;
    }
}

size_t card_hash_block(uint16_t alg) {
    return alg == TB_SAFE_SHA256 ? SHA256_CBLOCK : SHA512_CBLOCK;
}

size_t card_hash_state_len(uint16_t alg) {
    return alg == TB_SAFE_SHA256 ? 32 : 64;
}

static union context fresh(uint16_t alg) {
    union context c = {0};

    if (alg == TB_SAFE_SHA256)
        SHA256_Init(&c.s256);
    else if (alg == TB_SAFE_SHA384)
        SHA384_Init(&c.s512);
    else
        SHA512_Init(&c.s512);
    return c;
}

static void keep(struct card_hash *h, uint16_t alg, const union context *c) {
    h->alg = alg;
    memcpy(h->state, c, sizeof *c);
}

void card_hash_init(struct card_hash *h, uint16_t alg) {
    union context c = fresh(alg);

    keep(h, alg, &c);
}

static bool take_be64(struct tb_span *in, SHA_LONG64 *ret) {
    uint32_t hi, lo;

    if (!tb_take_be(in, 4, &hi) || !tb_take_be(in, 4, &lo))
        return false;
    *ret = (SHA_LONG64)hi << 32 | lo;
    return true;
}

int card_hash_resume(struct card_hash *h, uint16_t alg, struct tb_span state, uint64_t count) {
    union context c = fresh(alg);

    if (state.n != card_hash_state_len(alg) || count % card_hash_block(alg) != 0 || count >> 60)
        return TB_ERANGE;
    if (alg == TB_SAFE_SHA256) {
        for (int i = 0; i < 8; i++)
            if (!tb_take_be(&state, 4, &c.s256.h[i]))
                return TB_ERANGE;
        c.s256.Nl = (SHA_LONG)(count << 3);
        c.s256.Nh = (SHA_LONG)(count >> 29);
    } else {
        for (int i = 0; i < 8; i++)
            if (!take_be64(&state, &c.s512.h[i]))
                return TB_ERANGE;
        c.s512.Nl = count << 3;
    }
    keep(h, alg, &c);
    return 0;
}

void card_hash_update(struct card_hash *h, struct tb_span data) {
    if (data.n == 0)
        return;
    if (h->alg == TB_SAFE_SHA256)
        SHA256_Update(s256(h), data.p, data.n);
    else
        SHA512_Update(s512(h), data.p, data.n);
}

size_t card_hash_final(struct card_hash *h, uint8_t ret[CARD_HASH_MAX]) {
    if (h->alg == TB_SAFE_SHA256)
        SHA256_Final(ret, s256(h));
    else
        SHA512_Final(ret, s512(h)); /* knows its digest length since the init */
    return card_hash_len(h->alg);
}

/* OSSL_PARAM has no const, although a derivation only reads its parameters. */
static OSSL_PARAM octets(const char *name, struct tb_span value) {
    OSSL_PARAM p = OSSL_PARAM_construct_octet_string(name, NULL, value.n);

    memcpy(&p.data, &value.p, sizeof p.data);
    return p;
}

int card_prf_sha256(struct tb_span secret, struct tb_span seed, size_t n, struct tb_buf *out) {
    size_t before = out->n;
    uint8_t *to = tb_put_room(out, n);
    EVP_KDF *kdf;
    EVP_KDF_CTX *ctx;
    char md[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, md, 0),
        octets(OSSL_KDF_PARAM_SECRET, secret),
        octets(OSSL_KDF_PARAM_SEED, seed),
        OSSL_PARAM_construct_end(),
    };
    bool ok;

    if (!to)
        return TB_ESPACE;
    kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    ok = ctx && EVP_KDF_derive(ctx, to, n, params) > 0;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (!ok) {
        out->n = before;
        ERR_clear_error();
        return TB_ECRYPTO;
    }
    return 0;
}

int card_hkdf_extract(uint16_t hash, struct tb_span salt, struct tb_span ikm, struct tb_buf *out) {
    const EVP_MD *md = hash == TB_SAFE_SHA256   ? EVP_sha256()
                       : hash == TB_SAFE_SHA384 ? EVP_sha384()
                                                : EVP_sha512();
    static const uint8_t none;
    uint8_t prk[CARD_HASH_MAX];
    unsigned n = 0;

    /* HMAC takes a NULL key for "the last one" */
    if (!HMAC(md, salt.n ? salt.p : &none, (int)salt.n, ikm.p, ikm.n, prk, &n))
        return TB_ECRYPTO;
    tb_put(out, tb_span(prk, n));
    tb_wipe(prk, sizeof prk);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

int card_random(struct tb_buf *out, size_t n) {
    uint8_t *to = tb_put_room(out, n);

    if (!to)
        return TB_ESPACE;
    if (RAND_bytes(to, (int)n) != 1) {
        out->n -= n;
        return TB_ECRYPTO;
    }
    return 0;
}
