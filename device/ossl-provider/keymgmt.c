/* Key management of EC keys whose private half is in the card. Made by reference only: import
 * takes nothing, so no other key of the process is ever drawn into this provider, and there is no
 * generation. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

#include "provider.h"

static OSSL_FUNC_keymgmt_new_fn new_key;
static OSSL_FUNC_keymgmt_free_fn free_key;
static OSSL_FUNC_keymgmt_has_fn has;
static OSSL_FUNC_keymgmt_load_fn load;
static OSSL_FUNC_keymgmt_match_fn match;
static OSSL_FUNC_keymgmt_dup_fn dup_key;
static OSSL_FUNC_keymgmt_get_params_fn get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn gettable_params;
static OSSL_FUNC_keymgmt_import_fn import_key;
static OSSL_FUNC_keymgmt_import_types_fn import_types;
static OSSL_FUNC_keymgmt_export_fn export_key;
static OSSL_FUNC_keymgmt_export_types_fn export_types;
static OSSL_FUNC_keymgmt_query_operation_name_fn query_operation_name;

/* new_key() and import_key() are there to say no without a word. libcrypto compares a certificate's
 * key with ours by moving it here first, and then ours there; where the first way is missing it
 * takes that for a lack of memory, and the error it leaves in the queue is blamed on the next
 * handshake by programs that look (nginx: "ignoring stale global SSL error"). */
static void *new_key(void *provctx) {
    struct isp_key *key = OPENSSL_zalloc(sizeof *key);

    if (key) {
        key->prov = provctx;
        atomic_init(&key->refs, 1);
    }
    return key;
}

static int import_key(void *keydata, int selection, const OSSL_PARAM params[]) {
    (void)keydata;
    (void)selection;
    (void)params;
    return 0;
}

static const OSSL_PARAM *import_types(int selection) {
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
    return key->secret || !(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
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

/* A key never changes, so its copy is itself; only a copy with less in it is another object. */
static void *dup_key(const void *keydata, int selection) {
    const struct isp_key *key = keydata;
    struct isp_key *copy;

    if (!key->pub || !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY))
        return NULL; /* parameters alone: libcrypto exports them to the default provider */
    copy = OPENSSL_zalloc(sizeof *copy);
    if (!copy)
        return NULL;
    copy->prov = key->prov;
    copy->uri = key->uri;
    copy->pub = key->pub;
    EVP_PKEY_up_ref(copy->pub);
    copy->secret = key->secret && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
    copy->from_ref = key->from_ref;
    atomic_init(&copy->checked, atomic_load(&key->checked));
    atomic_init(&copy->refs, 1);
    return copy;
}

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

    if (!key->pub || (key->secret && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)))
        return 0;
    if (!(selection & (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)))
        return 0;
    if (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY)
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

const OSSL_DISPATCH isp_keymgmt_functions[] = {
    {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))new_key},
    {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))free_key},
    {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))has},
    {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))load},
    {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))match},
    {OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))dup_key},
    {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))get_params},
    {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))gettable_params},
    {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))import_key},
    {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))import_types},
    {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))export_key},
    {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))export_types},
    {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))query_operation_name},
    {0, NULL},
};
