/* ECDSA: digests in software, the signature over the digest by the card, verification in software
 * with the public half. Questions about sizes are answered without the card. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "provider.h"
#include "tb/der.h"

static OSSL_FUNC_signature_newctx_fn newctx;
static OSSL_FUNC_signature_freectx_fn freectx;
static OSSL_FUNC_signature_dupctx_fn dupctx;
static OSSL_FUNC_signature_sign_init_fn sign_init;
static OSSL_FUNC_signature_sign_fn sign;
static OSSL_FUNC_signature_verify_init_fn verify_init;
static OSSL_FUNC_signature_verify_fn verify;
static OSSL_FUNC_signature_digest_sign_init_fn digest_sign_init;
static OSSL_FUNC_signature_digest_sign_update_fn digest_update;
static OSSL_FUNC_signature_digest_sign_final_fn digest_sign_final;
static OSSL_FUNC_signature_digest_sign_fn digest_sign;
static OSSL_FUNC_signature_digest_verify_init_fn digest_verify_init;
static OSSL_FUNC_signature_digest_verify_final_fn digest_verify_final;
static OSSL_FUNC_signature_digest_verify_fn digest_verify;
static OSSL_FUNC_signature_get_ctx_params_fn get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn settable_ctx_params;

struct signature {
    struct isp_provider *prov;
    struct isp_key *key; /* counted; NULL before init */
    EVP_MD *md;          /* counted; NULL: prehashed with a digest nobody told us */
    EVP_MD_CTX *stream;  /* NULL unless digesting */
    bool signing;
};

/* spec: RFC5758 3.2 AlgorithmIdentifier of ecdsa-with-SHA2, parameters absent */
static const struct {
    const char *digest;
    uint8_t oid[12];
} algorithm_ids[] = {
    {"SHA224", {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x01}},
    {"SHA256", {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02}},
    {"SHA384", {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03}},
    {"SHA512", {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04}},
};

static void *newctx(void *provctx, const char *propq) {
    struct signature *s = OPENSSL_zalloc(sizeof *s);

    (void)propq;
    if (s)
        s->prov = provctx;
    return s;
}

static void freectx(void *vs) {
    struct signature *s = vs;

    if (!s)
        return;
    EVP_MD_CTX_free(s->stream);
    EVP_MD_free(s->md);
    isp_key_free(s->key);
    OPENSSL_free(s);
}

static void *dupctx(void *vs) {
    const struct signature *s = vs;
    struct signature *copy = OPENSSL_zalloc(sizeof *copy);

    if (!copy)
        return NULL;
    copy->prov = s->prov;
    copy->signing = s->signing;
    if (s->key)
        copy->key = isp_key_ref(s->key);
    if (s->md && EVP_MD_up_ref(s->md))
        copy->md = s->md;
    if (s->stream) {
        copy->stream = EVP_MD_CTX_new();
        if (!copy->stream || !EVP_MD_CTX_copy_ex(copy->stream, s->stream)) {
            freectx(copy);
            return NULL;
        }
    }
    return copy;
}

/* ---- init ---- */

static int set_digest(struct signature *s, const char *name) {
    EVP_MD *md = EVP_MD_fetch(s->prov->soft, name, NULL);

    if (!md || EVP_MD_get_size(md) <= 0) {
        isp_raise(s->prov, ISP_R_DIGEST, "%s", name);
        EVP_MD_free(md);
        return 0;
    }
    EVP_MD_free(s->md);
    s->md = md;
    return 1;
}

/* key may be NULL: the context keeps the one it has. */
static int init(struct signature *s, struct isp_key *key, const OSSL_PARAM params[], bool signing) {
    if (!key && !s->key) {
        isp_raise(s->prov, ISP_R_STATE, "no key");
        return 0;
    }
    if (key && signing && !key->secret) {
        isp_raise(s->prov, ISP_R_STATE, "it is a public key");
        return 0;
    }
    if (key) {
        isp_key_ref(key);
        isp_key_free(s->key);
        s->key = key;
    }
    EVP_MD_CTX_free(s->stream);
    s->stream = NULL;
    s->signing = signing;
    return set_ctx_params(s, params);
}

static int init_digest(struct signature *s, const char *name, struct isp_key *key,
                       const OSSL_PARAM params[], bool signing) {
    if (!init(s, key, NULL, signing) || !set_digest(s, name && *name ? name : "SHA256") ||
        !set_ctx_params(s, params))
        return 0;
    s->stream = EVP_MD_CTX_new();
    if (!s->stream || !EVP_DigestInit_ex2(s->stream, s->md, NULL)) {
        isp_raise(s->prov, ISP_R_SOFTWARE, "digest init");
        return 0;
    }
    return 1;
}

static int sign_init(void *vs, void *key, const OSSL_PARAM params[]) {
    return init(vs, key, params, true);
}

static int verify_init(void *vs, void *key, const OSSL_PARAM params[]) {
    return init(vs, key, params, false);
}

static int digest_sign_init(void *vs, const char *name, void *key, const OSSL_PARAM params[]) {
    return init_digest(vs, name, key, params, true);
}

static int digest_verify_init(void *vs, const char *name, void *key, const OSSL_PARAM params[]) {
    return init_digest(vs, name, key, params, false);
}

/* ---- work ---- */

static bool ready(const struct signature *s, bool signing, bool streaming) {
    if (s->key && s->signing == signing && (s->stream != NULL) == streaming)
        return true;
    isp_raise(s->prov, ISP_R_STATE, "%s", signing ? "sign" : "verify");
    return false;
}

static int sign(void *vs, unsigned char *sig, size_t *siglen, size_t sigsize,
                const unsigned char *tbs, size_t tbslen) {
    struct signature *s = vs;
    struct tb_buf out = tb_buf(sig, sigsize);

    if (!s->key || !s->signing) {
        isp_raise(s->prov, ISP_R_STATE, "sign");
        return 0;
    }
    if (!sig) {
        *siglen = isp_key_max_signature(s->key);
        return 1;
    }
    if (sigsize < isp_key_max_signature(s->key)) {
        /* Told before the card works: its answer may need every byte of it. */
        isp_raise(s->prov, ISP_R_BUFFER, "a signature needs %zu bytes",
                  isp_key_max_signature(s->key));
        return 0;
    }
    if (tbslen == 0 || tbslen > EVP_MAX_MD_SIZE ||
        (s->md && tbslen != (size_t)EVP_MD_get_size(s->md))) {
        isp_raise(s->prov, ISP_R_DIGEST, "%zu bytes are no digest", tbslen);
        return 0;
    }
    if (!isp_key_sign(s->key, tb_span(tbs, tbslen), &out))
        return 0;
    *siglen = out.n;
    return 1;
}

static int verify(void *vs, const unsigned char *sig, size_t siglen, const unsigned char *tbs,
                  size_t tbslen) {
    struct signature *s = vs;

    if (!s->key || s->signing) {
        isp_raise(s->prov, ISP_R_STATE, "verify");
        return 0;
    }
    return isp_key_verify(s->key, tb_span(tbs, tbslen), tb_span(sig, siglen));
}

static int digest_update(void *vs, const unsigned char *data, size_t n) {
    struct signature *s = vs;

    return s->stream && EVP_DigestUpdate(s->stream, data, n);
}

/* The digest ends here; the context then needs a new init. */
static bool finish(struct signature *s, uint8_t digest[EVP_MAX_MD_SIZE], size_t *ret_n) {
    unsigned n;
    int ok = EVP_DigestFinal_ex(s->stream, digest, &n);

    EVP_MD_CTX_free(s->stream);
    s->stream = NULL;
    if (!ok) {
        isp_raise(s->prov, ISP_R_SOFTWARE, "digest final");
        return false;
    }
    *ret_n = n;
    return true;
}

static int digest_sign_final(void *vs, unsigned char *sig, size_t *siglen, size_t sigsize) {
    struct signature *s = vs;
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n;

    if (!ready(s, true, true))
        return 0;
    if (!sig || sigsize < isp_key_max_signature(s->key))
        return sign(s, sig, siglen, sigsize, NULL, 0);
    return finish(s, digest, &n) && sign(s, sig, siglen, sigsize, digest, n);
}

static int digest_sign(void *vs, unsigned char *sig, size_t *siglen, size_t sigsize,
                       const unsigned char *tbs, size_t tbslen) {
    struct signature *s = vs;

    if (!ready(s, true, true))
        return 0;
    if (sig && sigsize >= isp_key_max_signature(s->key) && !digest_update(s, tbs, tbslen))
        return 0;
    return digest_sign_final(s, sig, siglen, sigsize);
}

static int digest_verify_final(void *vs, const unsigned char *sig, size_t siglen) {
    struct signature *s = vs;
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n;

    if (!ready(s, false, true) || !finish(s, digest, &n))
        return 0;
    return verify(s, sig, siglen, digest,
                  n); /* -1, when the card could not tell, must not be true */
}

static int digest_verify(void *vs, const unsigned char *sig, size_t siglen,
                         const unsigned char *tbs, size_t tbslen) {
    return digest_update(vs, tbs, tbslen) ? digest_verify_final(vs, sig, siglen) : 0;
}

/* ---- parameters ---- */

static int get_algorithm_id(const struct signature *s, OSSL_PARAM *p) {
    for (size_t i = 0; s->md && i < sizeof algorithm_ids / sizeof *algorithm_ids; i++) {
        if (EVP_MD_is_a(s->md, algorithm_ids[i].digest))
            return OSSL_PARAM_set_octet_string(p, algorithm_ids[i].oid,
                                               sizeof algorithm_ids[i].oid);
    }
    isp_raise(s->prov, ISP_R_DIGEST, "no algorithm identifier for this digest");
    return 0;
}

static int get_ctx_params(void *vs, OSSL_PARAM params[]) {
    struct signature *s = vs;
    OSSL_PARAM *p;

    if (!params)
        return 1;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (p && !get_algorithm_id(s, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p && !OSSL_PARAM_set_utf8_string(p, s->md ? EVP_MD_get0_name(s->md) : ""))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
    if (p && !OSSL_PARAM_set_size_t(p, s->md ? (size_t)EVP_MD_get_size(s->md) : 0))
        return 0;
    return 1;
}

static const OSSL_PARAM *gettable_ctx_params(void *vs, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_END,
    };

    (void)vs;
    (void)provctx;
    return table;
}

static int set_ctx_params(void *vs, const OSSL_PARAM params[]) {
    struct signature *s = vs;
    const OSSL_PARAM *p;
    const char *name;

    p = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST) : NULL;
    if (!p)
        return 1;
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
        return 0;
    if (s->stream) /* already digesting: only what is true may be said */
        return EVP_MD_is_a(s->md, name);
    return set_digest(s, name);
}

static const OSSL_PARAM *settable_ctx_params(void *vs, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vs;
    (void)provctx;
    return table;
}

const OSSL_DISPATCH isp_signature_functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))newctx},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))freectx},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))dupctx},
    {OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))sign_init},
    {OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))sign},
    {OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))verify_init},
    {OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))verify},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))digest_sign_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void))digest_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void))digest_sign_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))digest_sign},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))digest_verify_init},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, (void (*)(void))digest_update},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, (void (*)(void))digest_verify_final},
    {OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))digest_verify},
    {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))get_ctx_params},
    {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))gettable_ctx_params},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))set_ctx_params},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))settable_ctx_params},
    {0, NULL},
};
