/* TLS1-PRF and TLS13-KDF for everybody: where the secret is the handle of a pre-shared key in the
 * card, the card computes; everything else goes to the default provider's functions in the private
 * library context, which can never come back here.
 *
 * The card's key goes in once for a handshake: into the master secret (RFC 4279, RFC 5489, RFC
 * 7627), or into the early secret (RFC 8446 7.1). What is derived from these is the host's in
 * IoT.05, so it is computed here. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#include "provider.h"

static OSSL_FUNC_kdf_newctx_fn prf_newctx, tls13_newctx;
static OSSL_FUNC_kdf_dupctx_fn dupctx;
static OSSL_FUNC_kdf_freectx_fn freectx;
static OSSL_FUNC_kdf_reset_fn reset;
static OSSL_FUNC_kdf_derive_fn prf_derive, tls13_derive;
static OSSL_FUNC_kdf_set_ctx_params_fn prf_set_ctx_params, tls13_set_ctx_params;
static OSSL_FUNC_kdf_settable_ctx_params_fn prf_settable_ctx_params, tls13_settable_ctx_params;
static OSSL_FUNC_kdf_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_kdf_gettable_ctx_params_fn gettable_ctx_params;

enum {
    SEED_MAX = 200, /* label and seed, as one command has room for them beside the rest */
    ECDHE_LEN = 32,
    HASH_LEN = 32,
    DIGEST_NAME_MAX = 32,
};

struct kdf {
    struct isp_provider *prov;
    EVP_KDF *fetched;  /* borrowed from prov */
    EVP_KDF_CTX *soft; /* NULL until something is for it */
    bool by_card;      /* the secret is a handle: psk */
    struct isp_uri psk;
    char digest[DIGEST_NAME_MAX]; /* the last that was set, "" */
    /* TLS1-PRF */
    bool with_ecdhe, too_long;
    uint8_t ecdhe[ECDHE_LEN];
    size_t seed_len;
    uint8_t seed[SEED_MAX];
    /* TLS13-KDF */
    int mode; /* EVP_KDF_HKDF_MODE_… */
    bool with_salt;
    uint8_t salt[HASH_LEN];
};

/* ---- life ---- */

static struct kdf *new_kdf(struct isp_provider *prov, EVP_KDF *fetched) {
    struct kdf *k = OPENSSL_zalloc(sizeof *k);

    if (k) {
        k->prov = prov;
        k->fetched = fetched;
    }
    return k;
}

static void *prf_newctx(void *provctx) {
    struct isp_provider *prov = provctx;

    return new_kdf(prov, prov->tls1_prf);
}

static void *tls13_newctx(void *provctx) {
    struct isp_provider *prov = provctx;

    return new_kdf(prov, prov->tls13_kdf);
}

static void freectx(void *vk) {
    struct kdf *k = vk;

    if (!k)
        return;
    EVP_KDF_CTX_free(k->soft);
    OPENSSL_clear_free(k, sizeof *k);
}

static void reset(void *vk) {
    struct kdf *k = vk;
    struct kdf fresh = {.prov = k->prov, .fetched = k->fetched, .soft = k->soft};

    if (k->soft)
        EVP_KDF_CTX_reset(k->soft);
    OPENSSL_cleanse(k, sizeof *k);
    *k = fresh;
}

static void *dupctx(void *vk) {
    const struct kdf *k = vk;
    struct kdf *copy = new_kdf(k->prov, k->fetched);

    if (!copy)
        return NULL;
    *copy = *k;
    copy->soft = NULL;
    /* libcrypto 3.0 does not copy its own */
    if (k->soft && !k->by_card && !(copy->soft = EVP_KDF_CTX_dup(k->soft))) {
        freectx(copy);
        return NULL;
    }
    return copy;
}

/* ---- what both have ---- */

static bool soft(struct kdf *k) {
    if (!k->soft)
        k->soft = EVP_KDF_CTX_new(k->fetched);
    return k->soft != NULL;
}

static bool note_digest(struct kdf *k, const OSSL_PARAM params[]) {
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_DIGEST);
    char *at = k->digest;

    return !p || OSSL_PARAM_get_utf8_string(p, &at, sizeof k->digest);
}

static bool is_sha256(const struct kdf *k) {
    if (OPENSSL_strcasecmp(k->digest, "SHA256") == 0 ||
        OPENSSL_strcasecmp(k->digest, "SHA2-256") == 0)
        return true;
    isp_raise(k->prov, ISP_R_PSK,
              "the card computes with SHA256 only, not with %s: a cipher suite "
              "with SHA256 is needed",
              k->digest[0] ? k->digest : "no digest");
    return false;
}

/* The other functions' parameters carry over to the private context; what names a handle does not.
 */
static int pass_on(struct kdf *k, const OSSL_PARAM params[]) {
    return k->by_card || (soft(k) && EVP_KDF_CTX_set_params(k->soft, params) > 0);
}

static struct tb_span octets(const OSSL_PARAM *p) {
    const void *bytes = NULL;
    size_t n = 0;

    if (!p || !OSSL_PARAM_get_octet_string_ptr(p, &bytes, &n))
        return TB_SPAN_NONE;
    return tb_span(bytes, n);
}

static int get_ctx_params(void *vk, OSSL_PARAM params[]) {
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_KDF_PARAM_SIZE);

    (void)vk;
    return !p || OSSL_PARAM_set_size_t(p, SIZE_MAX);
}

static const OSSL_PARAM *gettable_ctx_params(void *vk, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_size_t(OSSL_KDF_PARAM_SIZE, NULL),
        OSSL_PARAM_END,
    };

    (void)vk;
    (void)provctx;
    return table;
}

/* ---- TLS 1.2 ---- */

static bool all_zero(struct tb_span s) {
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i])
            return false;
    }
    return true;
}

/* spec: RFC4279 2 premaster secret: length, other secret, length, pre-shared key. In a plain PSK
 * exchange the other secret is zeros, as many as the program believes its key to have bytes; the
 * card makes them anew. Returns 1 when the key is a handle, 0 when it is not, -1 with an error. */
static int read_premaster(struct kdf *k, struct tb_span premaster) {
    struct tb_span other, psk;
    uint16_t n;

    if (!tb_take_be16(&premaster, &n) || !tb_take(&premaster, n, &other) ||
        !tb_take_be16(&premaster, &n) || n != premaster.n)
        return 0;
    psk = premaster;
    if (!isp_is_psk_handle(psk))
        return 0;
    if (!isp_psk_parse(k->prov, psk, &k->psk))
        return -1;
    k->with_ecdhe = other.n != psk.n || !all_zero(other);
    if (k->with_ecdhe && other.n != ECDHE_LEN) {
        isp_raise(
            k->prov, ISP_R_PSK,
            "the card computes with PSK and ECDHE-PSK (P-256, X25519), not with another secret "
            "of %zu bytes: no DHE-PSK, RSA-PSK or larger curve",
            other.n);
        return -1;
    }
    if (k->with_ecdhe)
        memcpy(k->ecdhe, other.p, ECDHE_LEN);
    return 1;
}

static void add_seeds(struct kdf *k, const OSSL_PARAM params[]) {
    for (const OSSL_PARAM *p = params; (p = OSSL_PARAM_locate_const(p, OSSL_KDF_PARAM_SEED)); p++) {
        struct tb_span seed = octets(p);

        if (seed.n > sizeof k->seed - k->seed_len) {
            k->too_long = true; /* tells when the card is asked: others may have any length */
            return;
        }
        if (seed.n)
            memcpy(k->seed + k->seed_len, seed.p, seed.n);
        k->seed_len += seed.n;
    }
}

static int prf_set_ctx_params(void *vk, const OSSL_PARAM params[]) {
    struct kdf *k = vk;
    const OSSL_PARAM *p;

    if (!params || !params[0].key)
        return 1;
    if (!note_digest(k, params))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SECRET);
    if (p) {
        int handle = read_premaster(k, octets(p));

        if (handle < 0)
            return 0;
        k->by_card = handle;
    }
    add_seeds(k, params);
    return pass_on(k, params);
}

static int prf_derive(void *vk, unsigned char *out, size_t n, const OSSL_PARAM params[]) {
    struct kdf *k = vk;

    if (!prf_set_ctx_params(k, params))
        return 0;
    if (!k->by_card)
        return soft(k) && EVP_KDF_derive(k->soft, out, n, NULL) > 0;
    if (!is_sha256(k))
        return 0;
    if (k->too_long || n > 255) {
        isp_raise(k->prov, ISP_R_PSK, "more than one command to the card carries");
        return 0;
    }
    return isp_card_prf(k->prov, &k->psk, k->with_ecdhe ? k->ecdhe : NULL, k->seed, k->seed_len,
                        out, n);
}

static const OSSL_PARAM *prf_settable_ctx_params(void *vk, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SECRET, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vk;
    (void)provctx;
    return table;
}

/* ---- TLS 1.3 ---- */

static bool note_mode(struct kdf *k, const OSSL_PARAM params[]) {
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_MODE);
    const char *text;

    if (!p)
        return true;
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, &k->mode);
    k->mode = -1;
    if (OSSL_PARAM_get_utf8_string_ptr(p, &text) && OPENSSL_strcasecmp(text, "EXTRACT_ONLY") == 0)
        k->mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
    return true;
}

static int tls13_set_ctx_params(void *vk, const OSSL_PARAM params[]) {
    struct kdf *k = vk;
    const OSSL_PARAM *p;
    struct tb_span salt;

    if (!params || !params[0].key)
        return 1;
    if (!note_digest(k, params) || !note_mode(k, params))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_KEY);
    if (p) {
        struct tb_span key = octets(p);

        k->by_card = isp_is_psk_handle(key);
        if (k->by_card && !isp_psk_parse(k->prov, key, &k->psk))
            return 0;
    }
    salt = octets(OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_SALT));
    if (salt.n == HASH_LEN) {
        memcpy(k->salt, salt.p, salt.n);
        k->with_salt = true;
    }
    return pass_on(k, params);
}

/* spec: RFC8446 7.1 Early Secret = HKDF-Extract(0, PSK). The key never is an input of anything
 * else, so whatever else is asked of a handle is a mistake. */
static int tls13_derive(void *vk, unsigned char *out, size_t n, const OSSL_PARAM params[]) {
    struct kdf *k = vk;

    if (!tls13_set_ctx_params(k, params))
        return 0;
    if (!k->by_card)
        return soft(k) && EVP_KDF_derive(k->soft, out, n, NULL) > 0;
    if (k->mode != EVP_KDF_HKDF_MODE_EXTRACT_ONLY || k->with_salt) {
        isp_raise(k->prov, ISP_R_PSK, "the card makes the early secret from it, nothing else");
        return 0;
    }
    if (!is_sha256(k))
        return 0;
    if (n != HASH_LEN) {
        isp_raise(k->prov, ISP_R_BUFFER, "an early secret has %d bytes", HASH_LEN);
        return 0;
    }
    return isp_card_extract(k->prov, &k->psk, NULL, out);
}

static const OSSL_PARAM *tls13_settable_ctx_params(void *vk, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MODE, NULL, 0),
        OSSL_PARAM_int(OSSL_KDF_PARAM_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SALT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_DATA, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vk;
    (void)provctx;
    return table;
}

#define COMMON                                                                                     \
    {OSSL_FUNC_KDF_DUPCTX, (void (*)(void))dupctx},                                                \
        {OSSL_FUNC_KDF_FREECTX, (void (*)(void))freectx},                                          \
        {OSSL_FUNC_KDF_RESET, (void (*)(void))reset},                                              \
        {OSSL_FUNC_KDF_GET_CTX_PARAMS, (void (*)(void))get_ctx_params}, {                          \
        OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, (void (*)(void))gettable_ctx_params                     \
    }

const OSSL_DISPATCH isp_prf_functions[] = {
    COMMON,
    {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))prf_newctx},
    {OSSL_FUNC_KDF_DERIVE, (void (*)(void))prf_derive},
    {OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))prf_set_ctx_params},
    {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))prf_settable_ctx_params},
    {0, NULL},
};

const OSSL_DISPATCH isp_tls13_kdf_functions[] = {
    COMMON,
    {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))tls13_newctx},
    {OSSL_FUNC_KDF_DERIVE, (void (*)(void))tls13_derive},
    {OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))tls13_set_ctx_params},
    {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))tls13_settable_ctx_params},
    {0, NULL},
};
