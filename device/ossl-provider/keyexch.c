/* ECDH. With an ephemeral key of the card the card computes the secret, with any other key that
 * came here the private library context does. Questions about sizes are answered without the card.
 */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <string.h>

#include "provider.h"

static OSSL_FUNC_keyexch_newctx_fn newctx;
static OSSL_FUNC_keyexch_freectx_fn freectx;
static OSSL_FUNC_keyexch_dupctx_fn dupctx;
static OSSL_FUNC_keyexch_init_fn init;
static OSSL_FUNC_keyexch_set_peer_fn set_peer;
static OSSL_FUNC_keyexch_derive_fn derive;
static OSSL_FUNC_keyexch_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_keyexch_settable_ctx_params_fn settable_ctx_params;

enum { SECRET_LEN = 32 };

struct keyexch {
    struct isp_provider *prov;
    struct isp_key *own, *peer; /* counted; NULL before init and set_peer */
    EVP_PKEY_CTX *soft;         /* when own is a key in software */
};

static void *newctx(void *provctx) {
    struct keyexch *x = OPENSSL_zalloc(sizeof *x);

    if (x)
        x->prov = provctx;
    return x;
}

static void freectx(void *vx) {
    struct keyexch *x = vx;

    if (!x)
        return;
    EVP_PKEY_CTX_free(x->soft);
    isp_key_free(x->own);
    isp_key_free(x->peer);
    OPENSSL_free(x);
}

static void *dupctx(void *vx) {
    const struct keyexch *x = vx;
    struct keyexch *copy = newctx(x->prov);

    if (!copy)
        return NULL;
    copy->own = x->own ? isp_key_ref(x->own) : NULL;
    copy->peer = x->peer ? isp_key_ref(x->peer) : NULL;
    if (x->soft && !(copy->soft = EVP_PKEY_CTX_dup(x->soft))) {
        freectx(copy);
        return NULL;
    }
    return copy;
}

static int init(void *vx, void *vkey, const OSSL_PARAM params[]) {
    struct keyexch *x = vx;
    struct isp_key *key = vkey;

    if (!key || !key->secret || key->kind == ISP_REFERENCE) {
        isp_raise(x->prov, ISP_R_KEY_TYPE, "keys that sign do not agree");
        return 0;
    }
    EVP_PKEY_CTX_free(x->soft);
    x->soft = NULL;
    if (key->kind == ISP_SOFTWARE) {
        x->soft = EVP_PKEY_CTX_new_from_pkey(x->prov->soft, key->pub, NULL);
        if (!x->soft || EVP_PKEY_derive_init(x->soft) <= 0)
            return 0;
    }
    isp_key_ref(key);
    isp_key_free(x->own);
    x->own = key;
    isp_key_free(x->peer);
    x->peer = NULL;
    return set_ctx_params(x, params);
}

static int set_peer(void *vx, void *vkey) {
    struct keyexch *x = vx;
    struct isp_key *key = vkey;

    if (!key || !key->pub || !x->own)
        return 0;
    if (x->soft && EVP_PKEY_derive_set_peer(x->soft, key->pub) <= 0)
        return 0;
    isp_key_ref(key);
    isp_key_free(x->peer);
    x->peer = key;
    return 1;
}

static int derive(void *vx, unsigned char *secret, size_t *secretlen, size_t outlen) {
    struct keyexch *x = vx;

    if (!x->own || !x->peer) {
        isp_raise(x->prov, ISP_R_STATE, "derive");
        return 0;
    }
    if (x->soft) {
        *secretlen = outlen;
        return EVP_PKEY_derive(x->soft, secret, secretlen) > 0;
    }
    if (!secret) {
        *secretlen = SECRET_LEN;
        return 1;
    }
    if (outlen < SECRET_LEN) {
        isp_raise(x->prov, ISP_R_BUFFER, "a shared secret needs %d bytes", SECRET_LEN);
        return 0;
    }
    if (!isp_key_agree(x->own, x->peer, secret))
        return 0;
    *secretlen = SECRET_LEN;
    return 1;
}

/* The card gives the bare secret; on a curve with cofactor 1 the cofactor makes no difference. */
static int set_ctx_params(void *vx, const OSSL_PARAM params[]) {
    struct keyexch *x = vx;
    const OSSL_PARAM *p;
    const char *kdf;

    if (!params || !params[0].key)
        return 1;
    if (x->soft)
        return EVP_PKEY_CTX_set_params(x->soft, params) > 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    return !p || (OSSL_PARAM_get_utf8_string_ptr(p, &kdf) && !kdf[0]);
}

static const OSSL_PARAM *settable_ctx_params(void *vx, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vx;
    (void)provctx;
    return table;
}

const OSSL_DISPATCH isp_keyexch_functions[] = {
    {OSSL_FUNC_KEYEXCH_NEWCTX, (void (*)(void))newctx},
    {OSSL_FUNC_KEYEXCH_FREECTX, (void (*)(void))freectx},
    {OSSL_FUNC_KEYEXCH_DUPCTX, (void (*)(void))dupctx},
    {OSSL_FUNC_KEYEXCH_INIT, (void (*)(void))init},
    {OSSL_FUNC_KEYEXCH_SET_PEER, (void (*)(void))set_peer},
    {OSSL_FUNC_KEYEXCH_DERIVE, (void (*)(void))derive},
    {OSSL_FUNC_KEYEXCH_SET_CTX_PARAMS, (void (*)(void))set_ctx_params},
    {OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS, (void (*)(void))settable_ctx_params},
    {0, NULL},
};
