#include "admin/object_spec.h"

#include <stdlib.h>

static uint8_t or_default(uint8_t v, uint8_t d) {
    return v ? v : d;
}

static bool attributes_valid(const struct card_object_spec *s) {
    enum card_key_kind kind;
    uint8_t functions =
        TB_SAFE_CAN_SIGN | TB_SAFE_CAN_GENERATE | TB_SAFE_CAN_AGREE | TB_SAFE_CAN_DERIVE;

    if (s->id.n < 1 || s->id.n > TB_SAFE_MAX_ID || s->label.n > TB_SAFE_MAX_LABEL ||
        s->pair.n > TB_SAFE_MAX_ID || (s->pair.n > 0 && s->cls != CARD_PRIVATE) ||
        (s->access & ~(TB_SAFE_READ | TB_SAFE_UPDATE)))
        return false;
    switch (s->cls) {
    case CARD_PRIVATE:
    case CARD_PUBLIC:
        return card_key_type_kind(s->key_type, &kind) && !(s->crypto & ~functions) &&
               s->key_usage <= TB_SAFE_USE_TLS13 && s->hash <= 7 && s->sign_alg <= 7 &&
               !(card_key_type_volatile(s->key_type) && s->value.n > 0);
    case CARD_SECRET:
        if (s->key_type == TB_SAFE_AES)
            return (s->value.n == 0 || s->value.n == CARD_CMAC_LEN) &&
                   !(s->sign_alg & ~TB_SAFE_AES_CMAC) && s->key_derivation == 0;
        return s->key_type == TB_SAFE_HMAC && s->value.n <= CARD_SECRET_MAX && s->sign_alg == 0 &&
               s->key_derivation <= (TB_SAFE_PRF | TB_SAFE_HKDF);
    case CARD_FILE:
        return s->file_usage <= TB_SAFE_FILE_X509 && s->capacity <= 0xFFFF &&
               s->value.n <= (s->capacity ? s->capacity : 0xFFFF) && (s->capacity || s->value.n);
    }
    return false;
}

/* What the type of key can do, for a description that leaves it open. */
static uint8_t algorithms_of(uint8_t key_type) {
    switch (key_type) {
    case TB_SAFE_RSA2048:
        return TB_SAFE_RSA_PKCS1 | TB_SAFE_RSA_PSS;
    case TB_SAFE_AES:
        return TB_SAFE_AES_CMAC;
    case TB_SAFE_HMAC:
        return 0;
    default:
        return TB_SAFE_ECDSA;
    }
}

static void set_attributes(const struct card_object_spec *s, struct card_object *o) {
    o->cls = (uint8_t)s->cls;
    o->access = s->access;
    if (s->cls == CARD_FILE) {
        o->file_usage = or_default(s->file_usage, TB_SAFE_FILE_GENERAL);
        o->capacity = (uint16_t)(s->capacity ? s->capacity : s->value.n);
        return;
    }
    o->key_type = s->key_type;
    o->crypto = s->crypto;
    o->key_usage = or_default(s->key_usage, TB_SAFE_USE_GENERAL);
    if (s->crypto & TB_SAFE_CAN_SIGN) {
        o->sign_alg = or_default(s->sign_alg, algorithms_of(s->key_type));
        o->hash = s->hash ? s->hash : TB_SAFE_SHA256;
    }
    if (s->crypto & TB_SAFE_CAN_AGREE)
        o->key_agreement = or_default(s->key_agreement, TB_SAFE_ECKA);
    if (s->key_type == TB_SAFE_HMAC && (s->crypto & TB_SAFE_CAN_DERIVE))
        o->key_derivation = or_default(s->key_derivation, TB_SAFE_PRF | TB_SAFE_HKDF);
}

/* A key is stored as it will be used: parsed and written again. */
static int set_key(const struct card_object_spec *s, struct card_object *o) {
    bool private = s->cls == CARD_PRIVATE;
    size_t cap = private ? CARD_KEY_PRIVATE_MAX : CARD_KEY_PUBLIC_MAX;
    enum card_key_kind kind;
    struct card_key *key;
    struct tb_buf b;
    int r;

    if (!card_key_type_kind(s->key_type, &kind))
        return TB_ERANGE;
    r = private ? card_key_from_private(kind, s->value, &key)
                : card_key_from_public(kind, s->value, &key);
    if (r < 0)
        return r;
    b = tb_buf(malloc(cap), cap);
    if (b.p)
        r = private ? card_key_put_private(key, &b) : card_key_put_public(key, false, &b);
    else
        r = TB_ENOMEM;
    if (r < 0) {
        free(b.p);
        card_key_free(key);
        return r;
    }
    card_object_set(o, b.p, b.n, key);
    return 0;
}

static int set_value(const struct card_object_spec *s, struct card_object *o) {
    uint8_t *copy;

    if (s->value.n == 0)
        return 0;
    o->active = !s->inactive;
    if (s->cls <= CARD_PUBLIC)
        return set_key(s, o);
    copy = malloc(s->value.n);
    if (!copy)
        return TB_ENOMEM;
    memcpy(copy, s->value.p, s->value.n);
    card_object_set(o, copy, s->value.n, NULL);
    return 0;
}

static uint8_t copy_name(struct tb_span from, uint8_t *to) {
    if (from.n)
        memcpy(to, from.p, from.n);
    return (uint8_t)from.n;
}

int card_object_from_spec(const struct card_object_spec *spec, struct card_object **ret) {
    struct card_object *o;
    int r;

    if (!attributes_valid(spec))
        return TB_ERANGE;
    o = calloc(1, sizeof *o);
    if (!o)
        return TB_ENOMEM;
    o->id_len = copy_name(spec->id, o->id);
    o->label_len = copy_name(spec->label, o->label);
    o->pair_len = copy_name(spec->pair, o->pair);
    set_attributes(spec, o);
    r = set_value(spec, o);
    if (r < 0) {
        card_object_free(o);
        return r;
    }
    *ret = o;
    return 0;
}
