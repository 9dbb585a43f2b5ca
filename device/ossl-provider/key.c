#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "provider.h"
#include "tb/der.h"

enum { ISP_POINT_MAX = 133 }; /* uncompressed, 521 bits */

/* ---- public half ---- */

EVP_PKEY *isp_soft_public(struct isp_provider *prov, const char *group, const uint8_t *point,
                          size_t n) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(prov->soft, "EC", NULL);
    uint8_t copy[ISP_POINT_MAX];
    char name[64];
    OSSL_PARAM params[3];
    EVP_PKEY *pub = NULL;

    if (n > sizeof copy) {
        EVP_PKEY_CTX_free(ctx);
        return NULL;
    }
    memcpy(copy, point, n);
    snprintf(name, sizeof name, "%s", group);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, n);
    params[2] = OSSL_PARAM_construct_end();
    /* fromdata refuses a point that is not on the curve */
    ERR_set_mark();
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
        (void)EVP_PKEY_fromdata(ctx, &pub, EVP_PKEY_PUBLIC_KEY, params);
    ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return pub;
}

EVP_PKEY *isp_soft_import(struct isp_provider *prov, int selection, const OSSL_PARAM params[]) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(prov->soft, "EC", NULL);
    EVP_PKEY *pkey = NULL;

    ERR_set_mark();
    if (ctx && EVP_PKEY_fromdata_init(ctx) > 0)
        (void)EVP_PKEY_fromdata(ctx, &pkey, selection, ISP_UNCONST(params));
    ERR_pop_to_mark();
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* The card tells a point without its curve; of the two curves that IoT.05 knows it lies on one. */
static EVP_PKEY *pub_from_card(struct isp_provider *prov, const struct isp_uri *uri) {
    static const char *const groups[] = {"prime256v1", "brainpoolP256r1"};
    uint8_t point[65];
    EVP_PKEY *pub = NULL;

    if (!isp_card_public_key(prov, uri, point))
        return NULL;
    for (size_t i = 0; !pub && i < sizeof groups / sizeof *groups; i++)
        pub = isp_soft_public(prov, groups[i], point, sizeof point);
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

struct isp_key *isp_key_empty(struct isp_provider *prov) {
    struct isp_key *key = OPENSSL_zalloc(sizeof *key);

    if (!key)
        return NULL;
    key->prov = prov;
    atomic_init(&key->refs, 1);
    atomic_init(&key->checked, false);
    atomic_init(&key->slot_in_use, 0);
    return key;
}

struct isp_key *isp_key_new(struct isp_provider *prov, const struct isp_uri *uri,
                            struct tb_span spki, bool secret) {
    struct isp_key *key = isp_key_empty(prov);

    if (!key)
        return NULL;
    key->kind = ISP_REFERENCE;
    key->uri = *uri;
    key->secret = secret;
    key->has_public = true;
    key->from_ref = spki.n > 0;
    key->pub = spki.n ? pub_from_spki(prov, spki) : pub_from_card(prov, uri);
    if (!key->pub) {
        isp_key_free(key);
        return NULL;
    }
    return key;
}

/* The point of a key on P-256, whatever form the key would be written in. */
static bool take_point(struct isp_key *key) {
    char group[32];
    BIGNUM *x = NULL, *y = NULL;
    bool ok;

    if (EVP_PKEY_get_group_name(key->pub, group, sizeof group, NULL) != 1 ||
        strcmp(group, "prime256v1") != 0)
        return false;
    ERR_set_mark();
    ok = EVP_PKEY_get_bn_param(key->pub, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
         EVP_PKEY_get_bn_param(key->pub, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1 &&
         BN_bn2binpad(x, key->point + 1, 32) == 32 && BN_bn2binpad(y, key->point + 33, 32) == 32;
    ERR_pop_to_mark();
    key->point[0] = 0x04;
    BN_free(x);
    BN_free(y);
    return ok;
}

void isp_key_fill(struct isp_key *key, EVP_PKEY *pkey, int selection) {
    EVP_PKEY_free(key->pub);
    key->pub = pkey;
    key->secret = (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
    key->has_public = (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0;
    key->has_point = key->has_public && take_point(key);
    key->kind = key->has_point && !key->secret ? ISP_PEER : ISP_SOFTWARE;
}

struct isp_key *isp_key_p256(struct isp_provider *prov) {
    struct isp_key *key = isp_key_empty(prov);

    if (!key)
        return NULL;
    key->kind = ISP_PEER;
    key->tls = true;
    key->pub = prov->p256;
    EVP_PKEY_up_ref(key->pub);
    return key;
}

struct isp_key *isp_key_generate(struct isp_provider *prov, bool answer) {
    struct isp_key *key = answer ? isp_slot_share(prov) : NULL;

    if (key)
        return key;
    key = isp_key_empty(prov);
    if (!key)
        return NULL;
    key->kind = ISP_EPHEMERAL;
    key->secret = key->has_public = key->tls = key->has_point = true;
    if (!isp_slot_take(prov, &key->slot))
        goto fail;
    atomic_store(&key->slot_in_use, 1);
    if (!isp_card_generate(prov, &key->slot, &key->made, key->point))
        goto fail;
    key->pub = isp_soft_public(prov, "prime256v1", key->point, sizeof key->point);
    if (!key->pub) {
        isp_raise(prov, ISP_R_CARD_ANSWER, "GENERATE KEY PAIR: no point of P-256");
        goto fail;
    }
    isp_slot_hold(prov, key);
    return key;
fail:
    isp_key_free(key);
    return NULL;
}

struct isp_key *isp_key_ref(struct isp_key *key) {
    atomic_fetch_add(&key->refs, 1);
    return key;
}

static void free_slot(struct isp_key *key) {
    if (!atomic_exchange(&key->slot_in_use, 0))
        return;
    isp_slot_unhold(key->prov, key);
    isp_slot_put(key->prov, &key->slot);
}

void isp_key_free(struct isp_key *key) {
    if (!key || atomic_fetch_sub(&key->refs, 1) > 1)
        return;
    free_slot(key);
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

static bool soft_verify(const struct isp_key *key, struct tb_span digest, struct tb_span sig) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->prov->soft, key->pub, NULL);
    bool ok;

    ok = ctx && EVP_PKEY_verify_init(ctx) > 0 &&
         EVP_PKEY_verify(ctx, sig.p, sig.n, digest.p, digest.n) > 0;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* spec: FIPS186 6.4.1 the leftmost 256 bits count; a shorter digest is the same number with zeros
 * before it. So the card always gets 32 octets, and is told that it is SHA-256. */
static void fit_digest(struct tb_span digest, uint8_t ret[32]) {
    size_t n = digest.n < 32 ? digest.n : 32;

    memset(ret, 0, 32);
    memcpy(ret + 32 - n, digest.p, n);
}

bool isp_key_verify(const struct isp_key *key, struct tb_span digest, struct tb_span sig) {
    uint8_t leftmost[32], room[64];
    struct tb_buf raw = TB_BUF(room);

    if (key->kind != ISP_PEER || !key->has_point || !(key->prov->card.offload & ISP_VERIFY))
        return soft_verify(key, digest, sig);
    if (tb_ecdsa_der_to_raw(sig, 32, &raw) < 0) /* no signature is a bad one */
        return false;
    fit_digest(digest, leftmost);
    return isp_card_verify(key->prov, key->point, leftmost, room);
}

size_t isp_key_max_signature(const struct isp_key *key) {
    int n = key->kind == ISP_SOFTWARE ? EVP_PKEY_get_size(key->pub) : TB_ECDSA_DER_MAX_256;

    return n > 0 ? (size_t)n : 0;
}

static bool soft_sign(struct isp_key *key, struct tb_span digest, struct tb_buf *out) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->prov->soft, key->pub, NULL);
    size_t n = out->cap - out->n;
    bool ok = ctx && EVP_PKEY_sign_init(ctx) > 0 &&
              EVP_PKEY_sign(ctx, out->p + out->n, &n, digest.p, digest.n) > 0;

    if (ok)
        out->n += n;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool isp_key_agree(struct isp_key *key, const struct isp_key *peer, uint8_t ret_secret[32]) {
    if (!peer->has_point) {
        isp_raise(key->prov, ISP_R_KEY_TYPE, "the other side's key is not on P-256");
        return false;
    }
    if (!atomic_load(&key->slot_in_use)) {
        isp_raise(key->prov, ISP_R_STATE, "an ephemeral key agrees once");
        return false;
    }
    if (!isp_card_agree(key->prov, &key->slot, &key->made, peer->point, ret_secret))
        return false;
    /* libssl keeps the key until the connection ends; others wait for its container. */
    free_slot(key);
    return true;
}

bool isp_key_sign(struct isp_key *key, struct tb_span digest, struct tb_buf *out) {
    uint8_t leftmost[32], raw[64];
    size_t before = out->n;

    if (key->kind == ISP_SOFTWARE)
        return soft_sign(key, digest, out);
    if (key->kind != ISP_REFERENCE) {
        isp_raise(key->prov, ISP_R_KEY_TYPE, "an ephemeral key does not sign");
        return false;
    }
    fit_digest(digest, leftmost);
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
        bool good;

        ERR_set_mark();
        good = soft_verify(key, tb_span(leftmost, sizeof leftmost), sig);
        ERR_pop_to_mark();
        if (!good) {
            isp_raise(key->prov, ISP_R_KEY_MISMATCH, "write the key reference anew");
            return false;
        }
        atomic_store(&key->checked, true);
    }
    return true;
}
