#include "factory_keys.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "tb/pki.h"

enum { MAX_PRIVATE = 1300 }; /* RSAPrivateKey of 2048 bits: 1193 bytes at most */

int factory_refused(const struct cardfile *f, const struct cardfile_entry *at, int err,
                    struct tb_error *e) {
    const char *why = tb_strerror(err);

    if (err == TB_ESTATE)
        why = "the card has another object with this id or label";
    if (err == TB_ERANGE || err == TB_EPARSE)
        why = "a value is outside the limits of the card";
    return tb_error_set(e, err, f->path, at->line, "[%s%s%s] cannot be put onto the card: %s",
                        cardfile_kind_name(at->kind), *at->name ? " " : "", at->name, why);
}

static struct tb_span span_of(const struct cardfile_bytes *b) {
    return tb_span(b->p, b->n);
}

static struct tb_span text_of(const char *s) {
    return s ? tb_span_str(s) : TB_SPAN_NONE;
}

const char *factory_group(uint8_t type) {
    return type == TB_SAFE_P256 || type == TB_SAFE_P256_VOLATILE ? "P-256" : "brainpoolP256r1";
}

/* Does a key from a file fit the type of its container? */
static bool fits(EVP_PKEY *key, uint8_t type) {
    char group[64];
    size_t n;

    if (type == TB_SAFE_RSA2048)
        return EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == 2048;
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, group, sizeof group, &n) != 1)
        return false;
    if (strcmp(factory_group(type), "P-256") == 0)
        return strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0;
    return strcmp(group, factory_group(type)) == 0;
}

static int load_key(const struct cardfile *f, const struct cardfile_entry *at, bool want_private,
                    EVP_PKEY **ret, struct tb_error *e) {
    char *path = cardfile_path(f, at->from);
    FILE *in = fopen(path, "r");
    EVP_PKEY *key = NULL;
    int r = 0;

    if (!in)
        r = tb_error_set(e, -errno, f->path, at->line, "[%s %s] from = %s: %s",
                         cardfile_kind_name(at->kind), at->name, path, tb_strerror(-errno));
    else
        key = want_private ? PEM_read_PrivateKey(in, NULL, NULL, NULL)
                           : PEM_read_PUBKEY(in, NULL, NULL, NULL);
    if (in && !key)
        r = tb_error_set(
            e, TB_EPARSE, f->path, at->line, "[%s %s] from = %s: holds no %s key in PEM form",
            cardfile_kind_name(at->kind), at->name, path, want_private ? "private" : "public");
    else if (key && !fits(key, at->type))
        r = tb_error_set(e, TB_EPARSE, f->path, at->line,
                         "[%s %s] from = %s: the key is not of the type the section says",
                         cardfile_kind_name(at->kind), at->name, path);
    if (in)
        fclose(in);
    ERR_clear_error();
    free(path);
    if (r < 0)
        EVP_PKEY_free(key);
    else
        *ret = key;
    return r;
}

int factory_public_bytes(EVP_PKEY *key, struct tb_buf *out) {
    unsigned char *der = NULL;
    int n;

    if (EVP_PKEY_is_a(key, "EC")) {
        uint8_t *at = tb_put_room(out, TB_SAFE_POINT);
        size_t len;

        if (!at ||
            EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, at, TB_SAFE_POINT,
                                            &len) != 1 ||
            len != TB_SAFE_POINT || at[0] != 0x04)
            return TB_ECRYPTO;
        return 0;
    }
    n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return TB_ECRYPTO;
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_free(der);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

int factory_private_bytes(EVP_PKEY *key, struct tb_buf *out) {
    unsigned char *der = NULL;
    BIGNUM *d = NULL;
    int n;

    if (EVP_PKEY_is_a(key, "EC")) {
        uint8_t *at = tb_put_room(out, 32);
        bool ok = at && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
                  BN_bn2binpad(d, at, 32) == 32;

        BN_clear_free(d);
        return ok ? 0 : TB_ECRYPTO;
    }
    n = i2d_PrivateKey(key, &der); /* for RSA: PKCS#1 */
    if (n <= 0)
        return TB_ECRYPTO;
    tb_put(out, tb_span(der, (size_t)n));
    OPENSSL_clear_free(der, (size_t)n);
    return tb_buf_ok(out) ? 0 : TB_ESPACE;
}

static struct card_object_spec key_spec(const struct cardfile_entry *at,
                                        enum card_object_class cls) {
    struct card_object_spec spec = {
        .cls = cls,
        .id = span_of(&at->id),
        .label = text_of(at->label),
        .access = at->access,
        .key_type = at->type,
        .key_usage = at->usage,
        .crypto = at->functions,
        .sign_alg = at->sign_alg,
        .hash = at->hash,
    };

    if (cls == CARD_PUBLIC && at->kind == CARDFILE_KEY) {
        spec.access = at->public_access;
        if (at->public_id.n)
            spec.id = span_of(&at->public_id);
        if (at->public_label)
            spec.label = text_of(at->public_label);
    }
    if (cls == CARD_PRIVATE)
        spec.pair = span_of(&at->public_id);
    return spec;
}

static int put_pair(const struct cardfile_entry *at, struct card_nvm *nvm, struct tb_span secret,
                    struct tb_span point) {
    struct card_object_spec private_half = key_spec(at, CARD_PRIVATE),
                            public_half = key_spec(at, CARD_PUBLIC);
    int r;

    private_half.value = secret;
    public_half.value = point;
    r = card_perso_object(nvm, (uint8_t)at->instance, &public_half);
    return r < 0 ? r : card_perso_object(nvm, (uint8_t)at->instance, &private_half);
}

static int public_from_card(uint8_t type, struct tb_span bytes, EVP_PKEY **ret) {
    const unsigned char *p = bytes.p;

    if (type != TB_SAFE_RSA2048)
        return tb_pki_ec_public(factory_group(type), bytes, ret);
    *ret = d2i_PUBKEY(NULL, &p, (long)bytes.n);
    return *ret ? 0 : TB_ECRYPTO;
}

static int make_inside(const struct cardfile *f, const struct cardfile_entry *at,
                       struct card_nvm *nvm, EVP_PKEY **ret, struct tb_error *e) {
    uint8_t storage[CARD_RSA_SPKI_MAX];
    struct tb_buf public = TB_BUF(storage);
    EVP_PKEY *key = NULL;
    int r = put_pair(at, nvm, TB_SPAN_NONE, TB_SPAN_NONE);

    if (r == 0 && at->value == CARDFILE_GENERATE) {
        r = card_perso_generate(nvm, (uint8_t)at->instance, span_of(&at->id), &public);
        if (r == 0)
            r = public_from_card(at->type, tb_buf_span(&public), &key);
    }
    if (r < 0)
        return factory_refused(f, at, r, e);
    *ret = key;
    return 0;
}

static int take_from_file(const struct cardfile *f, const struct cardfile_entry *at,
                          struct card_nvm *nvm, EVP_PKEY **ret, struct tb_error *e) {
    uint8_t secret_storage[MAX_PRIVATE], public_storage[CARD_RSA_SPKI_MAX];
    struct tb_buf secret = TB_BUF(secret_storage), public = TB_BUF(public_storage);
    EVP_PKEY *key;
    int r = load_key(f, at, true, &key, e);

    if (r < 0)
        return r;
    r = factory_private_bytes(key, &secret);
    if (r == 0)
        r = factory_public_bytes(key, &public);
    if (r == 0)
        r = put_pair(at, nvm, tb_buf_span(&secret), tb_buf_span(&public));
    tb_wipe(secret_storage, sizeof secret_storage);
    if (r < 0) {
        EVP_PKEY_free(key);
        return factory_refused(f, at, r, e);
    }
    *ret = key;
    return 0;
}

int factory_key(const struct cardfile *f, const struct cardfile_entry *key, struct card_nvm *nvm,
                EVP_PKEY **ret_public, struct tb_error *e) {
    return key->from ? take_from_file(f, key, nvm, ret_public, e)
                     : make_inside(f, key, nvm, ret_public, e);
}

int factory_copy(const struct cardfile *f, const struct cardfile_entry *key,
                 const struct cardfile_entry *original, struct card_nvm *nvm, struct tb_error *e) {
    int r = put_pair(key, nvm, TB_SPAN_NONE, TB_SPAN_NONE);

    if (r == 0)
        r = card_perso_copy(nvm, (uint8_t)original->instance, span_of(&original->id),
                            (uint8_t)key->instance, span_of(&key->id));
    return r < 0 ? factory_refused(f, key, r, e) : 0;
}

int factory_public(const struct cardfile *f, const struct cardfile_entry *at, struct card_nvm *nvm,
                   EVP_PKEY **ret_public, struct tb_error *e) {
    struct card_object_spec spec = key_spec(at, CARD_PUBLIC);
    uint8_t storage[CARD_RSA_SPKI_MAX];
    struct tb_buf bytes = TB_BUF(storage);
    EVP_PKEY *key = NULL;
    int r = at->from ? load_key(f, at, false, &key, e) : 0;

    if (r < 0)
        return r;
    if (key)
        r = factory_public_bytes(key, &bytes);
    spec.value = tb_buf_span(&bytes);
    if (r == 0)
        r = card_perso_object(nvm, (uint8_t)at->instance, &spec);
    if (r < 0) {
        EVP_PKEY_free(key);
        return factory_refused(f, at, r, e);
    }
    *ret_public = key;
    return 0;
}
