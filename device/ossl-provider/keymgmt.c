/* Key management of EC keys, in two tables. Without offload keys are made by reference only: import
 * takes nothing, so no other key of the process is ever drawn into this provider, and there is no
 * generation. With "verify" public keys on P-256 are taken, which the card can verify with. With
 * "ecdhe" libcrypto prefers this key management for every EC key that it makes or is given in
 * parts, so it has to serve them all: ephemeral keys of TLS are made in the card, everything else
 * is an ordinary key of the private library context behind this interface. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>

#include "provider.h"

static OSSL_FUNC_keymgmt_new_fn new_key;
static OSSL_FUNC_keymgmt_free_fn free_key;
static OSSL_FUNC_keymgmt_has_fn has;
static OSSL_FUNC_keymgmt_load_fn load;
static OSSL_FUNC_keymgmt_match_fn match;
static OSSL_FUNC_keymgmt_dup_fn dup_key;
static OSSL_FUNC_keymgmt_get_params_fn get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn gettable_params;
static OSSL_FUNC_keymgmt_import_fn import_nothing, import_key;
static OSSL_FUNC_keymgmt_import_types_fn import_types_nothing, import_types;
static OSSL_FUNC_keymgmt_set_params_fn set_params;
static OSSL_FUNC_keymgmt_settable_params_fn settable_params;
static OSSL_FUNC_keymgmt_validate_fn validate;
static OSSL_FUNC_keymgmt_gen_init_fn gen_init;
static OSSL_FUNC_keymgmt_gen_set_template_fn gen_set_template;
static OSSL_FUNC_keymgmt_gen_set_params_fn gen_set_params;
static OSSL_FUNC_keymgmt_gen_settable_params_fn gen_settable_params;
static OSSL_FUNC_keymgmt_gen_fn gen;
static OSSL_FUNC_keymgmt_gen_cleanup_fn gen_cleanup;
static OSSL_FUNC_keymgmt_export_fn export_key;
static OSSL_FUNC_keymgmt_export_types_fn export_types;
static OSSL_FUNC_keymgmt_query_operation_name_fn query_operation_name;

/* new_key() and import_nothing() are there to say no without a word. libcrypto compares a
 * certificate's key with ours by moving it here first, and then ours there; where the first way is
 * missing it takes that for a lack of memory, and the error it leaves in the queue is blamed on the
 * next handshake by programs that look (nginx: "ignoring stale global SSL error"). */
static void *new_key(void *provctx) {
    return isp_key_empty(provctx);
}

static int import_nothing(void *keydata, int selection, const OSSL_PARAM params[]) {
    (void)keydata;
    (void)selection;
    (void)params;
    return 0;
}

static const OSSL_PARAM *import_types_nothing(int selection) {
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};

    (void)selection;
    return none;
}

static void free_key(void *keydata) {
    isp_key_free(keydata);
}

static int has(const void *keydata, int selection) {
    const struct isp_key *key = keydata;

    if (!key || !key->pub) /* an empty one has nothing */
        return key && (selection & OSSL_KEYMGMT_SELECT_ALL) == 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && !key->secret)
        return 0;
    return !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || key->has_public;
}

static void *load(const void *reference, size_t size) {
    struct isp_key *key;

    if (size != sizeof(void *))
        return NULL;
    key = *(void *const *)reference;
    return key ? isp_key_ref(key) : NULL;
}

static int match(const void *keydata1, const void *keydata2, int selection) {
    const struct isp_key *a = keydata1, *b = keydata2;

    if (a == b)
        return 1;
    if (!a->pub || !b->pub)
        return 0;
    /* Private halves cannot be compared; with the same public half they are the same. */
    if (selection & OSSL_KEYMGMT_SELECT_KEYPAIR)
        return EVP_PKEY_eq(a->pub, b->pub) == 1;
    if (selection & OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)
        return EVP_PKEY_parameters_eq(a->pub, b->pub) == 1;
    return 1;
}

/* What selection says of a key, as far as it is there. */
static EVP_PKEY *soft_copy(const struct isp_key *key, int *selection) {
    OSSL_PARAM *params = NULL;
    EVP_PKEY *copy = NULL;

    if (!key->secret || key->kind != ISP_SOFTWARE)
        *selection &= ~OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
    if (!key->has_public)
        *selection &= ~OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
    *selection |= OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
    if (EVP_PKEY_todata(key->pub, *selection, &params) == 1)
        copy = isp_soft_import(key->prov, *selection, params);
    OSSL_PARAM_free(params);
    return copy;
}

/* What has no private half may be given another point, so a copy is an object of its own; but an
 * ephemeral key is one, and its copies hold the same container. */
static void *dup_key(const void *keydata, int selection) {
    const struct isp_key *key = keydata;
    struct isp_key *copy;
    EVP_PKEY *pkey = NULL;

    if (!key->pub || (!(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) && !key->prov->p256))
        return NULL; /* parameters alone: libcrypto exports them to the default provider */
    if (key->kind == ISP_EPHEMERAL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
        return isp_key_ref(ISP_UNCONST(keydata));
    if (key->tls && !(selection & OSSL_KEYMGMT_SELECT_KEYPAIR))
        return isp_key_p256(key->prov);
    copy = isp_key_empty(key->prov);
    if (!copy)
        return NULL;
    if (key->kind == ISP_REFERENCE && (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY)) {
        copy->kind = ISP_REFERENCE;
        copy->uri = key->uri;
        copy->pub = key->pub;
        EVP_PKEY_up_ref(copy->pub);
        copy->has_public = true;
        copy->secret = key->secret && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
        copy->from_ref = key->from_ref;
        atomic_store(&copy->checked, atomic_load(&key->checked));
        return copy;
    }
    pkey = soft_copy(key, &selection);
    if (!pkey) {
        isp_key_free(copy);
        return NULL;
    }
    isp_key_fill(copy, pkey, selection);
    copy->tls = key->tls;
    return copy;
}

/* ---- keys of others ---- */

static bool is_p256(const char *group) {
    return strcasecmp(group, "prime256v1") == 0 || strcasecmp(group, "P-256") == 0 ||
           strcasecmp(group, "secp256r1") == 0;
}

static bool names_p256(const OSSL_PARAM params[]) {
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    const char *group;

    return p && OSSL_PARAM_get_utf8_string_ptr(p, &group) && is_p256(group);
}

/* With "verify" alone this key management is asked for keys that libcrypto can have elsewhere:
 * whatever is not for the card stays there. No error is raised then. */
static int import_key(void *keydata, int selection, const OSSL_PARAM params[]) {
    struct isp_key *key = keydata;
    bool priv = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY) != NULL;
    bool pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY) != NULL;
    int there = OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
    EVP_PKEY *pkey;

    if (key->pub || !(selection & OSSL_KEYMGMT_SELECT_ALL))
        return 0;
    if (!(key->prov->card.offload & ISP_ECDHE) && (priv || !pub || !names_p256(params)))
        return 0;
    if (pub)
        there |= OSSL_KEYMGMT_SELECT_PUBLIC_KEY;
    if (priv)
        there |= OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
    there &= selection;
    pkey = isp_soft_import(key->prov, there, params);
    if (!pkey)
        return 0;
    isp_key_fill(key, pkey, there);
    return 1;
}

/* A parameters-only key, or a public one, gets the other side's point. */
static int set_params(void *keydata, const OSSL_PARAM params[]) {
    struct isp_key *key = keydata;
    const OSSL_PARAM *p;
    const void *point;
    char group[64];
    EVP_PKEY *pkey;
    size_t n;

    if (!params || !params[0].key)
        return 1;
    if (!key->pub)
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);
    if (!p)
        return key->kind == ISP_SOFTWARE && EVP_PKEY_set_params(key->pub, ISP_UNCONST(params));
    if (key->secret || !OSSL_PARAM_get_octet_string_ptr(p, &point, &n) ||
        EVP_PKEY_get_group_name(key->pub, group, sizeof group, NULL) != 1)
        return 0;
    pkey = n > 1 ? isp_soft_public(key->prov, group, point, n) : NULL; /* 00 is infinity */
    if (!pkey) {
        isp_raise(key->prov, ISP_R_KEY_TYPE, "the other side's key is no point of %s", group);
        return 0;
    }
    isp_key_fill(key, pkey, OSSL_KEYMGMT_SELECT_ALL_PARAMETERS | OSSL_KEYMGMT_SELECT_PUBLIC_KEY);
    return 1;
}

static const OSSL_PARAM *settable_params(void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return table;
}

/* Points were checked to be on their curve when they came in. */
static int validate(const void *keydata, int selection, int checktype) {
    const struct isp_key *key = keydata;
    EVP_PKEY_CTX *ctx;
    int ok;

    (void)checktype;
    if (!key->pub || !has(key, selection))
        return 0;
    if (key->kind != ISP_SOFTWARE || !(selection & OSSL_KEYMGMT_SELECT_KEYPAIR))
        return 1;
    ctx = EVP_PKEY_CTX_new_from_pkey(key->prov->soft, key->pub, NULL);
    ok = ctx && (key->secret && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
                     ? EVP_PKEY_check(ctx)
                     : EVP_PKEY_public_check(ctx)) > 0;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* ---- telling ---- */

static int get_params(void *keydata, OSSL_PARAM params[]) {
    const struct isp_key *key = keydata;

    return key->pub && EVP_PKEY_get_params(key->pub, params);
}

static const OSSL_PARAM *gettable_params(void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return table;
}

/* Refusing the private key is what makes libcrypto sign with us: it first tries to move the key to
 * the preferred provider's ECDSA, and comes here only when that fails (EVP_DigestSignInit). The
 * refusal is part of normal operation, hence no error is raised for it. */
static int export_key(void *keydata, int selection, OSSL_CALLBACK *cb, void *arg) {
    const struct isp_key *key = keydata;
    OSSL_PARAM *params = NULL;
    int ok;

    if (!key->pub ||
        (key->secret && key->kind != ISP_SOFTWARE && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)))
        return 0;
    if (!(selection & (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)))
        return 0;
    if (key->secret && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY))
        ok = EVP_PKEY_todata(key->pub, EVP_PKEY_KEYPAIR, &params);
    else if (key->has_public && (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY))
        ok = EVP_PKEY_todata(key->pub, EVP_PKEY_PUBLIC_KEY, &params);
    else
        ok = EVP_PKEY_todata(key->pub, EVP_PKEY_KEY_PARAMETERS, &params);
    if (ok == 1)
        ok = cb(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *export_types(int selection) {
    static const OSSL_PARAM parameters[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM public_key[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
        return NULL;
    return selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY ? public_key : parameters;
}

static const OSSL_PARAM *import_types(int selection) {
    return export_types(selection & ~OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
}

/* ---- generation ---- */

struct gen {
    struct isp_provider *prov;
    int selection;
    bool tls;           /* for the card, if it is a key and not its parameters */
    bool answer;        /* it has a template */
    EVP_PKEY_CTX *soft; /* otherwise */
};

static void gen_cleanup(void *vg) {
    struct gen *g = vg;

    if (!g)
        return;
    EVP_PKEY_CTX_free(g->soft);
    OPENSSL_free(g);
}

static void *gen_init(void *provctx, int selection, const OSSL_PARAM params[]) {
    struct gen *g = OPENSSL_zalloc(sizeof *g);

    if (!g)
        return NULL;
    g->prov = provctx;
    g->selection = selection;
    if (!gen_set_params(g, params)) {
        gen_cleanup(g);
        return NULL;
    }
    return g;
}

static bool begin_soft(struct gen *g) {
    int r;

    if (!g->soft)
        return false;
    if (g->selection & OSSL_KEYMGMT_SELECT_KEYPAIR)
        r = EVP_PKEY_keygen_init(g->soft);
    else
        r = EVP_PKEY_paramgen_init(g->soft);
    return r > 0;
}

static bool for_card(const struct gen *g, const char *group) {
    return strcmp(group, ISP_TLS_P256) == 0 || (g->prov->p256_is_tls && is_p256(group));
}

static int gen_set_params(void *vg, const OSSL_PARAM params[]) {
    struct gen *g = vg;
    const OSSL_PARAM *p =
        params ? OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME) : NULL;
    const char *group;

    if (!params || !params[0].key)
        return 1;
    if (p) {
        if (!OSSL_PARAM_get_utf8_string_ptr(p, &group))
            return 0;
        g->tls = for_card(g, group);
    }
    if (g->tls)
        return 1; /* point format and the like: the card knows one */
    if (!g->soft) {
        g->soft = EVP_PKEY_CTX_new_from_name(g->prov->soft, "EC", NULL);
        if (!begin_soft(g))
            return 0;
    }
    return EVP_PKEY_CTX_set_params(g->soft, params) > 0;
}

static const OSSL_PARAM *gen_settable_params(void *vg, void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vg;
    (void)provctx;
    return table;
}

/* A TLS 1.2 client makes its key after the server's, which came as parameters and a point. */
static int gen_set_template(void *vg, void *vtemplate) {
    struct gen *g = vg;
    const struct isp_key *template = vtemplate;

    g->tls = template->tls;
    g->answer = true;
    if (g->tls)
        return 1;
    EVP_PKEY_CTX_free(g->soft);
    g->soft = template->pub ? EVP_PKEY_CTX_new_from_pkey(g->prov->soft, template->pub, NULL) : NULL;
    return begin_soft(g);
}

static void *gen_soft(struct gen *g) {
    struct isp_key *key = isp_key_empty(g->prov);
    EVP_PKEY *pkey = NULL;

    if (!g->soft)
        isp_raise(g->prov, ISP_R_STATE, "no curve to generate a key on");
    if (!key || !g->soft || EVP_PKEY_generate(g->soft, &pkey) <= 0) {
        isp_key_free(key);
        return NULL;
    }
    isp_key_fill(key, pkey, g->selection);
    return key;
}

static void *gen(void *vg, OSSL_CALLBACK *cb, void *arg) {
    struct gen *g = vg;

    (void)cb;
    (void)arg;
    if (!g->tls)
        return gen_soft(g);
    return g->selection & OSSL_KEYMGMT_SELECT_KEYPAIR ? isp_key_generate(g->prov, g->answer)
                                                      : isp_key_p256(g->prov);
}

static const char *query_operation_name(int operation) {
    switch (operation) {
    case OSSL_OP_SIGNATURE:
        return "ECDSA";
    case OSSL_OP_KEYEXCH:
        return "ECDH";
    default:
        return NULL;
    }
}

#define COMMON                                                                                     \
    {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))new_key},                                              \
        {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))free_key},                                        \
        {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))has},                                              \
        {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))load},                                            \
        {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))match},                                          \
        {OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))dup_key},                                          \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))get_params},                                \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))gettable_params},                      \
        {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))export_key},                                    \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))export_types}, {                          \
        OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))query_operation_name               \
    }

const OSSL_DISPATCH isp_keymgmt_functions[] = {
    COMMON,
    {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))import_nothing},
    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))import_types_nothing},
    {0, NULL},
};

const OSSL_DISPATCH isp_keymgmt_offload_functions[] = {
    COMMON,
    {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))import_key},
    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))import_types},
    {OSSL_FUNC_KEYMGMT_SET_PARAMS, (void (*)(void))set_params},
    {OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, (void (*)(void))settable_params},
    {OSSL_FUNC_KEYMGMT_VALIDATE, (void (*)(void))validate},
    {OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))gen_init},
    {OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, (void (*)(void))gen_set_template},
    {OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, (void (*)(void))gen_set_params},
    {OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))gen_settable_params},
    {OSSL_FUNC_KEYMGMT_GEN, (void (*)(void))gen},
    {OSSL_FUNC_KEYMGMT_GEN_CLEANUP, (void (*)(void))gen_cleanup},
    {0, NULL},
};
