/* Store loader of "iotsafe:" URIs: private keys by reference, public keys and certificates by
 * value. */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <string.h>

#include "provider.h"

static OSSL_FUNC_store_open_fn open_uri;
static OSSL_FUNC_store_settable_ctx_params_fn settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn set_ctx_params;
static OSSL_FUNC_store_load_fn load;
static OSSL_FUNC_store_eof_fn eof;
static OSSL_FUNC_store_close_fn close_store;

enum { MAX_OBJECTS = 64, MAX_CERT = 8192 };

struct store {
    struct isp_provider *prov;
    struct isp_uri uri;
    int expect; /* OSSL_STORE_INFO_…, 0: anything */
    bool planned;
    struct isp_uri objects[MAX_OBJECTS]; /* what to load, each with its reference and type */
    size_t n, next;
};

static void *open_uri(void *provctx, const char *text) {
    struct isp_provider *prov = provctx;
    struct isp_uri uri;
    struct store *s;
    const char *why;

    if (isp_uri_parse(tb_span_str(text), &uri, &why) < 0) {
        isp_raise(prov, ISP_R_URI, "%s", why);
        return NULL;
    }
    s = OPENSSL_zalloc(sizeof *s);
    if (s) {
        s->prov = prov;
        s->uri = uri;
    }
    return s;
}

static const OSSL_PARAM *settable_ctx_params(void *provctx) {
    static const OSSL_PARAM table[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return table;
}

static int set_ctx_params(void *vs, const OSSL_PARAM params[]) {
    struct store *s = vs;
    const OSSL_PARAM *p = params ? OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT) : NULL;

    return !p || OSSL_PARAM_get_int(p, &s->expect);
}

/* ---- what there is to load ---- */

static bool wanted(const struct store *s, enum isp_type type) {
    static const int info[] = {
        [ISP_KEY] = OSSL_STORE_INFO_PKEY,
        [ISP_PUBLIC] = OSSL_STORE_INFO_PUBKEY,
        [ISP_CERT] = OSSL_STORE_INFO_CERT,
    };

    return (s->uri.type == ISP_ANY || s->uri.type == type) &&
           (s->expect == 0 || s->expect == info[type]);
}

static bool same_object(const struct iotsafe_ref *wish, const struct iotsafe_ref *have) {
    if (wish->id_len)
        return tb_span_eq(tb_span(wish->id, wish->id_len), tb_span(have->id, have->id_len));
    return tb_span_eq(tb_span(wish->label, wish->label_len), tb_span(have->label, have->label_len));
}

static void add(struct store *s, const struct iotsafe_ref *ref, enum isp_type type) {
    struct isp_uri *o = &s->objects[s->n];

    if (s->n == MAX_OBJECTS)
        return;
    *o = s->uri;
    o->has_ref = true;
    o->ref = *ref;
    o->type = type;
    s->n++;
}

static bool plan_from_card(struct store *s) {
    static const enum isp_type types[] = {
        [IOTSAFE_PRIVATE_KEY] = ISP_KEY,
        [IOTSAFE_PUBLIC_KEY] = ISP_PUBLIC,
        [IOTSAFE_SECRET_KEY] = ISP_ANY,
        [IOTSAFE_FILE] = ISP_CERT,
    };
    struct iotsafe_object *list = OPENSSL_zalloc(MAX_OBJECTS * sizeof *list);
    size_t n = 0;
    bool ok;

    if (!list)
        return false;
    ok = isp_card_list(s->prov, &s->uri, list, MAX_OBJECTS, &n);
    for (size_t i = 0; ok && i < n && i < MAX_OBJECTS; i++) {
        enum isp_type type = types[list[i].type];

        if (type != ISP_ANY && wanted(s, type) &&
            (!s->uri.has_ref || same_object(&s->uri.ref, &list[i].ref)))
            add(s, &list[i].ref, type);
    }
    OPENSSL_free(list);
    return ok;
}

/* With reference and type known nothing needs to be searched. */
static bool plan(struct store *s) {
    const enum isp_type all[] = {ISP_KEY, ISP_PUBLIC, ISP_CERT};
    enum isp_type only = ISP_ANY;
    size_t n = 0;

    s->planned = true;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (wanted(s, all[i])) {
            only = all[i];
            n++;
        }
    }
    if (n == 0)
        return true;
    if (n == 1 && s->uri.has_ref) {
        add(s, &s->uri.ref, only);
        return true;
    }
    return plan_from_card(s);
}

/* ---- loading ---- */

static int give_public(uint8_t *spki, size_t n, OSSL_CALLBACK *cb, void *arg) {
    int type = OSSL_OBJECT_PKEY;
    char data_type[] = "EC", structure[] = "SubjectPublicKeyInfo";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, data_type, sizeof data_type - 1),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, structure, sizeof structure - 1),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, spki, n),
        OSSL_PARAM_END,
    };

    return cb(params, arg);
}

static int give_cert(uint8_t *der, size_t n, OSSL_CALLBACK *cb, void *arg) {
    int type = OSSL_OBJECT_CERT;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, der, n),
        OSSL_PARAM_END,
    };

    return cb(params, arg);
}

static int load_key(struct store *s, const struct isp_uri *o, OSSL_CALLBACK *cb, void *arg) {
    struct isp_key *key = isp_key_new(s->prov, o, TB_SPAN_NONE, true);

    return key ? isp_key_hand_over(key, cb, arg) : 0;
}

static int load_public(struct store *s, const struct isp_uri *o, OSSL_CALLBACK *cb, void *arg) {
    struct isp_key *key = isp_key_new(s->prov, o, TB_SPAN_NONE, false);
    unsigned char *spki = NULL;
    int n, ok = 0;

    if (!key)
        return 0;
    n = i2d_PUBKEY(key->pub, &spki);
    if (n > 0)
        ok = give_public(spki, (size_t)n, cb, arg);
    OPENSSL_free(spki);
    isp_key_free(key);
    return ok;
}

static int load_cert(struct store *s, const struct isp_uri *o, OSSL_CALLBACK *cb, void *arg) {
    uint8_t *der = OPENSSL_malloc(MAX_CERT);
    const unsigned char *p = der;
    size_t n;
    X509 *x;
    int ok = 0;

    if (!der || !isp_card_read_file(s->prov, o, der, MAX_CERT, &n))
        goto out;
    ERR_set_mark();
    x = d2i_X509(NULL, &p, (long)n);
    ERR_pop_to_mark();
    if (x)
        ok = give_cert(der, (size_t)(p - der), cb, arg);
    else
        isp_raise(s->prov, ISP_R_CARD_ANSWER, "READ FILE: no X.509 certificate");
    X509_free(x);
out:
    OPENSSL_free(der);
    return ok;
}

static int load_object(struct store *s, const struct isp_uri *o, OSSL_CALLBACK *cb, void *arg) {
    switch (o->type) {
    case ISP_KEY:
        return load_key(s, o, cb, arg);
    case ISP_PUBLIC:
        return load_public(s, o, cb, arg);
    default:
        return load_cert(s, o, cb, arg);
    }
}

/* Objects that nobody asked for by name are passed over when there is nothing in them for OpenSSL:
 * containers that are empty, keys of another type, files that are no certificate. */
static bool passed_over(const struct store *s) {
    if (s->n == 1 && s->uri.has_ref)
        return false;
    switch (ERR_GET_REASON(ERR_peek_last_error())) {
    case ISP_R_CARD_REFUSED:
    case ISP_R_CARD_ANSWER:
    case ISP_R_CARD_FAILED:
    case ISP_R_NOT_FOUND:
    case ISP_R_KEY_TYPE:
        return true;
    default:
        return false;
    }
}

static int load(void *vs, OSSL_CALLBACK *cb, void *arg, OSSL_PASSPHRASE_CALLBACK *pw_cb,
                void *pw_arg) {
    struct store *s = vs;

    (void)pw_cb;
    (void)pw_arg;
    if (!s->planned && !plan(s))
        return 0;
    while (s->next < s->n) {
        ERR_set_mark();
        if (load_object(s, &s->objects[s->next++], cb, arg)) {
            ERR_clear_last_mark();
            return 1;
        }
        if (!passed_over(s)) {
            ERR_clear_last_mark();
            return 0;
        }
        ERR_pop_to_mark();
    }
    return 1;
}

static int eof(void *vs) {
    const struct store *s = vs;

    return s->planned && s->next == s->n;
}

static int close_store(void *vs) {
    OPENSSL_free(vs);
    return 1;
}

const OSSL_DISPATCH isp_store_functions[] = {
    {OSSL_FUNC_STORE_OPEN, (void (*)(void))open_uri},
    {OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))settable_ctx_params},
    {OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))set_ctx_params},
    {OSSL_FUNC_STORE_LOAD, (void (*)(void))load},
    {OSSL_FUNC_STORE_EOF, (void (*)(void))eof},
    {OSSL_FUNC_STORE_CLOSE, (void (*)(void))close_store},
    {0, NULL},
};
