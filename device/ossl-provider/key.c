#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "provider.h"
#include "tb/der.h"

/* ---- public half ---- */

static EVP_PKEY *pub_from_point(struct isp_provider *prov, const char *group,
                                const uint8_t point[65]) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(prov->soft, "EC", NULL);
    uint8_t copy[65];
    char name[32];
    OSSL_PARAM params[3];
    EVP_PKEY *pub = NULL;

    memcpy(copy, point, sizeof copy);
    snprintf(name, sizeof name, "%s", group);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy);
    params[2] = OSSL_PARAM_construct_end();
    /* fromdata refuses a point that is not on the curve */
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
        (void)EVP_PKEY_fromdata(ctx, &pub, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    return pub;
}

/* The card tells a point without its curve; of the two curves that IoT.05 knows it lies on one. */
static EVP_PKEY *pub_from_card(struct isp_provider *prov, const struct isp_uri *uri) {
    static const char *const groups[] = {"prime256v1", "brainpoolP256r1"};
    uint8_t point[65];
    EVP_PKEY *pub = NULL;

    if (!isp_card_public_key(prov, uri, point))
        return NULL;
    ERR_set_mark();
    for (size_t i = 0; !pub && i < sizeof groups / sizeof *groups; i++)
        pub = pub_from_point(prov, groups[i], point);
    ERR_pop_to_mark();
    if (!pub)
        isp_raise(prov, ISP_R_CARD_ANSWER,
                  "READ PUBLIC KEY: not a point of P-256 or brainpoolP256r1");
    return pub;
}

static EVP_PKEY *pub_from_spki(struct isp_provider *prov, struct tb_span spki) {
    const unsigned char *p = spki.p;
    EVP_PKEY *pub;

    ERR_set_mark();
    pub = d2i_PUBKEY_ex(NULL, &p, (long)spki.n, prov->soft, NULL);
    ERR_pop_to_mark();
    if (!pub || p != spki.p + spki.n) {
        isp_raise(prov, ISP_R_REFERENCE, "no SubjectPublicKeyInfo in the reference");
        EVP_PKEY_free(pub);
        return NULL;
    }
    if (!EVP_PKEY_is_a(pub, "EC") || EVP_PKEY_get_bits(pub) != 256) {
        isp_raise(prov, ISP_R_KEY_TYPE, "only EC keys of 256 bits are");
        EVP_PKEY_free(pub);
        return NULL;
    }
    return pub;
}

/* ---- life ---- */

struct isp_key *isp_key_new(struct isp_provider *prov, const struct isp_uri *uri,
                            struct tb_span spki, bool secret) {
    struct isp_key *key = OPENSSL_zalloc(sizeof *key);

    if (!key)
        return NULL;
    key->prov = prov;
    key->uri = *uri;
    key->secret = secret;
    key->from_ref = spki.n > 0;
    atomic_init(&key->refs, 1);
    atomic_init(&key->checked, false);
    key->pub = spki.n ? pub_from_spki(prov, spki) : pub_from_card(prov, uri);
    if (!key->pub) {
        isp_key_free(key);
        return NULL;
    }
    return key;
}

struct isp_key *isp_key_ref(struct isp_key *key) {
    atomic_fetch_add(&key->refs, 1);
    return key;
}

void isp_key_free(struct isp_key *key) {
    if (!key || atomic_fetch_sub(&key->refs, 1) > 1)
        return;
    EVP_PKEY_free(key->pub);
    OPENSSL_free(key);
}

int isp_key_hand_over(struct isp_key *key, OSSL_CALLBACK *cb, void *arg) {
    int type = OSSL_OBJECT_PKEY, ok;
    char data_type[] = "EC";
    void *reference = key;
    /* The receiver (keymgmt's load) takes the pointer out of this very variable. */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, data_type, sizeof data_type - 1),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference, sizeof reference),
        OSSL_PARAM_END,
    };

    ok = cb(params, arg);
    isp_key_free(key);
    return ok;
}

/* ---- use ---- */

int isp_key_verify(const struct isp_key *key, struct tb_span digest, struct tb_span sig) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->prov->soft, key->pub, NULL);
    int ok;

    ok = ctx && EVP_PKEY_verify_init(ctx) > 0 &&
         EVP_PKEY_verify(ctx, sig.p, sig.n, digest.p, digest.n) > 0;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool isp_key_sign(struct isp_key *key, struct tb_span digest, struct tb_buf *out) {
    uint8_t leftmost[32] = {0}, raw[64];
    size_t n = digest.n < sizeof leftmost ? digest.n : sizeof leftmost;
    size_t before = out->n;

    /* spec: FIPS186 6.4.1 the leftmost 256 bits are signed; a shorter digest is the same number
     * with zeros before it. */
    memcpy(leftmost + sizeof leftmost - n, digest.p, n);
    if (!isp_card_sign(key->prov, &key->uri, leftmost, raw))
        return false;
    if (tb_ecdsa_raw_to_der(tb_span(raw, sizeof raw), out) < 0 || !tb_buf_ok(out)) {
        isp_raise(key->prov, ISP_R_CARD_ANSWER, "COMPUTE SIGNATURE: no ECDSA signature");
        return false;
    }
    /* A reference outlives the key it was made for when somebody generates a new one. Found here
     * the cause is plain; found by the peer it is a decrypt_error alert without a reason. Once per
     * key is enough. */
    if (key->from_ref && !atomic_load(&key->checked)) {
        struct tb_span sig = tb_span_sub(tb_buf_span(out), before, out->n);
        int good;

        ERR_set_mark();
        good = isp_key_verify(key, tb_span(leftmost, sizeof leftmost), sig);
        ERR_pop_to_mark();
        if (!good) {
            isp_raise(key->prov, ISP_R_KEY_MISMATCH, "write the key reference anew");
            return false;
        }
        atomic_store(&key->checked, true);
    }
    return true;
}
