#include "provider.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/prov_ssl.h>
#include <openssl/provider.h>
#include <string.h>

/* Algorithms with PLAIN are reached through keys of ours, and never preferred for other keys. An
 * operation that the configuration moves to the card for everybody carries OFFLOAD, which
 * "default_properties = ?iotsafe.offload=yes" in openssl.cnf prefers to the default provider's. */
#define PLAIN   "provider=iotsafe"
#define OFFLOAD PLAIN ",iotsafe.offload=yes"
#define NONE                                                                                       \
    { NULL, NULL, NULL, NULL }

#define EC_NAMES "EC:id-ecPublicKey:1.2.840.10045.2.1"
#define EC_TEXT  "EC key in an IoT SAFE card"

static const OSSL_ALGORITHM keymgmts[] = {{EC_NAMES, PLAIN, isp_keymgmt_functions, EC_TEXT}, NONE};
static const OSSL_ALGORITHM keymgmts_import[] = {
    {EC_NAMES, PLAIN, isp_keymgmt_offload_functions, EC_TEXT}, NONE};
static const OSSL_ALGORITHM keymgmts_offload[] = {
    {EC_NAMES, OFFLOAD, isp_keymgmt_offload_functions, EC_TEXT}, NONE};

#define ECDSA_TEXT "ECDSA by an IoT SAFE card"
static const OSSL_ALGORITHM signatures[] = {{"ECDSA", PLAIN, isp_signature_functions, ECDSA_TEXT},
                                            NONE};
static const OSSL_ALGORITHM signatures_offload[] = {
    {"ECDSA", OFFLOAD, isp_signature_functions, ECDSA_TEXT}, NONE};

static const OSSL_ALGORITHM keyexchs_offload[] = {
    {"ECDH", OFFLOAD, isp_keyexch_functions, "ECDH by an IoT SAFE card"}, NONE};

static const OSSL_ALGORITHM kdfs_offload[] = {
    {"TLS1-PRF", OFFLOAD, isp_prf_functions, "TLS 1.2 PRF, pre-shared keys in an IoT SAFE card"},
    {"TLS13-KDF", OFFLOAD, isp_tls13_kdf_functions,
     "TLS 1.3 key schedule, pre-shared keys in an IoT SAFE card"},
    NONE};

static const OSSL_ALGORITHM rands_offload[] = {
    {"IOTSAFE-SEED", PLAIN, isp_rand_functions, "Seed from an IoT SAFE card"}, NONE};

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
static OSSL_FUNC_provider_get_capabilities_fn get_capabilities;
static OSSL_FUNC_provider_gettable_params_fn gettable_params;
static OSSL_FUNC_provider_get_params_fn get_params;
static OSSL_FUNC_provider_get_reason_strings_fn get_reason_strings;
static OSSL_FUNC_provider_teardown_fn teardown;

static const OSSL_ALGORITHM *query_operation(void *provctx, int operation, int *no_cache) {
    const struct isp_provider *prov = provctx;
    unsigned offload = prov->card.offload;

    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return offload & ISP_ECDHE    ? keymgmts_offload
               : offload & ISP_VERIFY ? keymgmts_import
                                      : keymgmts;
    case OSSL_OP_SIGNATURE:
        return offload & ISP_VERIFY ? signatures_offload : signatures;
    case OSSL_OP_KEYEXCH:
        return offload & ISP_ECDHE ? keyexchs_offload : NULL;
    case OSSL_OP_KDF:
        return offload & ISP_PSK ? kdfs_offload : NULL;
    case OSSL_OP_RAND:
        return offload & ISP_RANDOM ? rands_offload : NULL;
    case OSSL_OP_DECODER:
        return decoders;
    case OSSL_OP_STORE:
        return stores;
    default:
        return NULL;
    }
}

/* ---- TLS groups ---- */

/* libssl 3.0 takes a group only from the provider whose key management it gets for the group's
 * algorithm. With ecdhe that is us, so the default provider's groups on EC curves are gone, and
 * what programs call P-256 is this one. The algorithm has to be EC: a TLS 1.2 client looks at the
 * name. The larger curves are there for programs that list them; their keys are made in software.
 */
struct group {
    unsigned id, secbits;
    int min_tls, max_tls, min_dtls, max_dtls;
};
static const struct group p256 = {0x0017, 128, TLS1_VERSION, 0, DTLS1_VERSION, 0};
static const struct group p384 = {0x0018, 192, TLS1_VERSION, 0, DTLS1_VERSION, 0};
static const struct group p521 = {0x0019, 256, TLS1_VERSION, 0, DTLS1_VERSION, 0};

#define TEXT(key, text) OSSL_PARAM_utf8_string(key, ISP_UNCONST(text), sizeof(text))
#define GROUP(name, internal, g)                                                                   \
    {                                                                                              \
        TEXT(OSSL_CAPABILITY_TLS_GROUP_NAME, name),                                                \
            TEXT(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL, internal),                               \
            TEXT(OSSL_CAPABILITY_TLS_GROUP_ALG, "EC"),                                             \
            OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_ID, ISP_UNCONST(&(g).id)),                   \
            OSSL_PARAM_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, ISP_UNCONST(&(g).secbits)),   \
            OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, ISP_UNCONST(&(g).min_tls)),          \
            OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, ISP_UNCONST(&(g).max_tls)),          \
            OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, ISP_UNCONST(&(g).min_dtls)),        \
            OSSL_PARAM_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, ISP_UNCONST(&(g).max_dtls)),        \
            OSSL_PARAM_END                                                                         \
    }
static const OSSL_PARAM groups[][10] = {
    GROUP("secp256r1", ISP_TLS_P256, p256),  GROUP("P-256", ISP_TLS_P256, p256),
    GROUP("prime256v1", ISP_TLS_P256, p256), GROUP("secp384r1", "secp384r1", p384),
    GROUP("P-384", "secp384r1", p384),       GROUP("secp521r1", "secp521r1", p521),
    GROUP("P-521", "secp521r1", p521),
};

static int get_capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb, void *arg) {
    const struct isp_provider *prov = provctx;

    if (OPENSSL_strcasecmp(capability, "TLS-GROUP") != 0 || !(prov->card.offload & ISP_ECDHE))
        return 1;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (!cb(groups[i], arg))
            return 0;
    }
    return 1;
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
    EVP_PKEY_free(prov->p256);
    EVP_KDF_free(prov->tls1_prf);
    EVP_KDF_free(prov->tls13_kdf);
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
    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities},
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
    const char *version = NULL;
    OSSL_PARAM params[] = {
        {"transport", OSSL_PARAM_UTF8_PTR, (void *)&c->transport, 0, OSSL_PARAM_UNMODIFIED},
        {"aid", OSSL_PARAM_UTF8_PTR, (void *)&c->aid, 0, OSSL_PARAM_UNMODIFIED},
        {"only-aid", OSSL_PARAM_UTF8_PTR, (void *)&c->only_aid, 0, OSSL_PARAM_UNMODIFIED},
        {"basic-channel", OSSL_PARAM_UTF8_PTR, (void *)&c->basic_channel, 0, OSSL_PARAM_UNMODIFIED},
        {"close-sessions", OSSL_PARAM_UTF8_PTR, (void *)&c->close_sessions, 0,
         OSSL_PARAM_UNMODIFIED},
        {"max-answer", OSSL_PARAM_UTF8_PTR, (void *)&c->max_answer, 0, OSSL_PARAM_UNMODIFIED},
        {"offload", OSSL_PARAM_UTF8_PTR, (void *)&c->offload, 0, OSSL_PARAM_UNMODIFIED},
        {"ecdhe-keys", OSSL_PARAM_UTF8_PTR, (void *)&c->ecdhe_keys, 0, OSSL_PARAM_UNMODIFIED},
        {"peer-keys", OSSL_PARAM_UTF8_PTR, (void *)&c->peer_keys, 0, OSSL_PARAM_UNMODIFIED},
        {OSSL_PROV_PARAM_CORE_VERSION, OSSL_PARAM_UTF8_PTR, (void *)&version, 0,
         OSSL_PARAM_UNMODIFIED},
        OSSL_PARAM_END,
    };

    if (core_get_params)
        (void)core_get_params(prov->core, params);
    /* Later ones take both providers' groups, and the default's name for P-256 may come first. */
    prov->p256_is_tls = !version || strncmp(version, "3.0.", 4) != 0;
}

/* What offloaded operations need in software; nothing of it asks the card. */
static bool prepare_offload(struct isp_provider *prov) {
    static const char group[] = "prime256v1";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, ISP_UNCONST(group), sizeof group - 1),
        OSSL_PARAM_END,
    };

    if (prov->card.offload & ISP_ECDHE) {
        prov->p256 = isp_soft_import(prov, EVP_PKEY_KEY_PARAMETERS, params);
        if (!prov->p256)
            return false;
    }
    if (prov->card.offload & ISP_PSK) {
        prov->tls1_prf = EVP_KDF_fetch(prov->soft, OSSL_KDF_NAME_TLS1_PRF, NULL);
        prov->tls13_kdf = EVP_KDF_fetch(prov->soft, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
        if (!prov->tls1_prf || !prov->tls13_kdf)
            return false;
    }
    return true;
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
    if (!prov->bios || !prov->soft_default || !prepare_offload(prov)) {
        teardown(prov);
        return 0;
    }
    *out = provider_functions;
    *provctx = prov;
    return 1;
}
