#include "provider.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <string.h>

/* Algorithms with these properties are reached through keys of ours, and never preferred for other
 * keys. An operation that the configuration moves to the card for everybody will carry
 * "iotsafe.offload=yes" besides: a second table, chosen in query_operation(), and
 * "default_properties = ?iotsafe.offload=yes" in openssl.cnf. */
#define PLAIN "provider=iotsafe"

static const OSSL_ALGORITHM keymgmts[] = {
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", PLAIN, isp_keymgmt_functions,
     "EC key in an IoT SAFE card"},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM signatures[] = {
    {"ECDSA", PLAIN, isp_signature_functions, "ECDSA by an IoT SAFE card"},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM decoders[] = {
    {"DER", PLAIN ",input=pem", isp_pem_decoder_functions, "IoT SAFE key reference, PEM"},
    {"EC", PLAIN ",input=der,structure=IotSafeRef", isp_der_decoder_functions,
     "IoT SAFE key reference"},
    {NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM stores[] = {
    {"iotsafe", PLAIN, isp_store_functions, "Objects of an IoT SAFE card"},
    {NULL, NULL, NULL, NULL},
};

static OSSL_FUNC_provider_query_operation_fn query_operation;
static OSSL_FUNC_provider_gettable_params_fn gettable_params;
static OSSL_FUNC_provider_get_params_fn get_params;
static OSSL_FUNC_provider_get_reason_strings_fn get_reason_strings;
static OSSL_FUNC_provider_teardown_fn teardown;

static const OSSL_ALGORITHM *query_operation(void *provctx, int operation, int *no_cache) {
    (void)provctx;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return keymgmts;
    case OSSL_OP_SIGNATURE:
        return signatures;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_STORE:
        return stores;
    default:
        return NULL;
    }
}

static const OSSL_PARAM *gettable_params(void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return table;
}

static int set_text(OSSL_PARAM params[], const char *name, const char *value) {
    OSSL_PARAM *p = OSSL_PARAM_locate(params, name);

    return !p || OSSL_PARAM_set_utf8_ptr(p, value);
}

static int get_params(void *provctx, OSSL_PARAM params[]) {
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);

    (void)provctx;
    return set_text(params, OSSL_PROV_PARAM_NAME, "IoT SAFE key provider") &&
           set_text(params, OSSL_PROV_PARAM_VERSION, TB_VERSION) &&
           set_text(params, OSSL_PROV_PARAM_BUILDINFO, TB_VERSION) &&
           (!p || OSSL_PARAM_set_int(p, 1));
}

static const OSSL_ITEM *get_reason_strings(void *provctx) {
    (void)provctx;
    return isp_reason_strings;
}

static void teardown(void *provctx) {
    struct isp_provider *prov = provctx;

    isp_card_done(&prov->card);
    if (prov->soft_default)
        OSSL_PROVIDER_unload(prov->soft_default);
    OSSL_LIB_CTX_free(prov->soft);
    OSSL_LIB_CTX_free(prov->bios);
    OPENSSL_free(prov);
}

static const OSSL_DISPATCH provider_functions[] = {
    {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown},
    {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable_params},
    {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get_params},
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query_operation},
    {OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, (void (*)(void))get_reason_strings},
    {0, NULL},
};

/* ---- start ---- */

static struct isp_host the_host; /* acquire is NULL: none. Set before threads start. */

void isp_set_host(const struct isp_host *host) {
    the_host = host ? *host : (struct isp_host){0};
}

static OSSL_FUNC_core_get_params_fn *take_upcalls(struct isp_provider *prov,
                                                  const OSSL_DISPATCH *in) {
    OSSL_FUNC_core_get_params_fn *core_get_params = NULL;

    for (; in->function_id; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            core_get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            prov->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            prov->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            prov->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        default:
            break;
        }
    }
    return core_get_params;
}

static void read_config(struct isp_provider *prov, OSSL_FUNC_core_get_params_fn *core_get_params) {
    struct isp_config *c = &prov->config;
    OSSL_PARAM params[] = {
        {"transport", OSSL_PARAM_UTF8_PTR, (void *)&c->transport, 0, OSSL_PARAM_UNMODIFIED},
        {"aid", OSSL_PARAM_UTF8_PTR, (void *)&c->aid, 0, OSSL_PARAM_UNMODIFIED},
        {"only-aid", OSSL_PARAM_UTF8_PTR, (void *)&c->only_aid, 0, OSSL_PARAM_UNMODIFIED},
        {"basic-channel", OSSL_PARAM_UTF8_PTR, (void *)&c->basic_channel, 0, OSSL_PARAM_UNMODIFIED},
        {"close-sessions", OSSL_PARAM_UTF8_PTR, (void *)&c->close_sessions, 0,
         OSSL_PARAM_UNMODIFIED},
        {"max-answer", OSSL_PARAM_UTF8_PTR, (void *)&c->max_answer, 0, OSSL_PARAM_UNMODIFIED},
        {"offload", OSSL_PARAM_UTF8_PTR, (void *)&c->offload, 0, OSSL_PARAM_UNMODIFIED},
        OSSL_PARAM_END,
    };

    if (core_get_params)
        (void)core_get_params(prov->core, params);
}

int isp_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                      const OSSL_DISPATCH **out, void **provctx) {
    struct isp_provider *prov = OPENSSL_zalloc(sizeof *prov);

    if (!prov)
        return 0;
    prov->core = handle;
    read_config(prov, take_upcalls(prov, in));
    isp_card_init(&prov->card, &prov->config, the_host.acquire ? &the_host : NULL);
    prov->bios = OSSL_LIB_CTX_new_from_dispatch(handle, in);
    prov->soft = OSSL_LIB_CTX_new();
    prov->soft_default = prov->soft ? OSSL_PROVIDER_load(prov->soft, "default") : NULL;
    if (!prov->bios || !prov->soft_default) {
        teardown(prov);
        return 0;
    }
    *out = provider_functions;
    *provctx = prov;
    return 1;
}
