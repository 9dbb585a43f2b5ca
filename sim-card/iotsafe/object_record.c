/* An object as a record: format byte, then BER-TLV with IoT.05's tags and a few of our own. Unknown
 * tags are left alone, so that a later version may add some. */
#include <stdlib.h>

#include "iotsafe/object.h"
#include "tb/tlv.h"

enum { TAG_SEQ = 0xC0, TAG_PAIR = 0xC1, TAG_CAPACITY = 0xC2, TAG_LABEL = 0xC3, TAG_VALUE = 0xC4 };
enum { OVERHEAD = 192 }; /* all of a record but the value: attributes, label, pair, lengths */

void card_object_record_key(uint8_t instance, const struct card_object *o, struct tb_buf *out) {
    tb_put_u8(out, CARD_REC_OBJECT);
    tb_put_u8(out, instance);
    tb_put_u8(out, o->cls);
    tb_put(out, card_object_id(o));
}

uint8_t *card_object_encode(const struct card_object *o, struct tb_span value, bool active,
                            size_t *ret_n) {
    bool in_ram_only = o->cls <= CARD_PUBLIC && card_key_type_volatile(o->key_type);
    size_t cap = OVERHEAD + (in_ram_only ? 0 : value.n);
    struct tb_buf b = tb_buf(malloc(cap), cap);

    if (!b.p)
        return NULL;
    tb_put_u8(&b, CARD_RECORD_FORMAT);
    tb_put_tlv_be16(&b, TAG_SEQ, o->seq);
    tb_put_tlv_u8(&b, TB_SAFE_T_STATE, active && !in_ram_only);
    tb_put_tlv_u8(&b, TB_SAFE_T_ACCESS, o->access);
    tb_put_tlv_u8(&b, TB_SAFE_T_KEY_TYPE, o->key_type);
    tb_put_tlv_u8(&b, TB_SAFE_T_KEY_USAGE, o->key_usage);
    tb_put_tlv_u8(&b, TB_SAFE_T_CRYPTO, o->crypto);
    tb_put_tlv_u8(&b, TB_SAFE_T_SIGN_ALG, o->sign_alg);
    tb_put_tlv_be16(&b, TB_SAFE_T_HASH, o->hash);
    tb_put_tlv_u8(&b, TB_SAFE_T_KEY_AGREEMENT, o->key_agreement);
    tb_put_tlv_u8(&b, TB_SAFE_T_KEY_DERIVATION, o->key_derivation);
    tb_put_tlv_u8(&b, TB_SAFE_T_FILE_USAGE, o->file_usage);
    tb_put_tlv_be16(&b, TAG_CAPACITY, o->capacity);
    tb_put_tlv(&b, TAG_LABEL, card_object_label(o));
    tb_put_tlv(&b, TAG_PAIR, tb_span(o->pair, o->pair_len));
    if (!in_ram_only)
        tb_put_tlv(&b, TAG_VALUE, value);
    *ret_n = b.n;
    return b.p;
}

void card_object_encode_free(uint8_t *record, size_t n) {
    tb_wipe(record, n);
    free(record);
}

static bool take_bytes(struct tb_span v, uint8_t *to, size_t max, uint8_t *ret_len) {
    if (v.n > max)
        return false;
    if (v.n)
        memcpy(to, v.p, v.n);
    *ret_len = (uint8_t)v.n;
    return true;
}

static bool take_u8(struct tb_span v, uint8_t *ret) {
    return v.n == 1 && tb_take_u8(&v, ret);
}

static bool take_u16(struct tb_span v, uint16_t *ret) {
    return v.n == 2 && tb_take_be16(&v, ret);
}

static bool take_value(struct tb_span v, struct card_object *o) {
    uint8_t *copy;

    if (v.n == 0)
        return true;
    copy = malloc(v.n);
    if (!copy)
        return false;
    memcpy(copy, v.p, v.n);
    card_object_set(o, copy, v.n, NULL);
    return true;
}

static bool take_attribute(struct tb_tlv e, struct card_object *o) {
    uint8_t state;

    switch (e.tag) {
    case TAG_SEQ:
        return take_u16(e.value, &o->seq);
    case TB_SAFE_T_STATE:
        if (!take_u8(e.value, &state))
            return false;
        o->active = state != 0;
        return true;
    case TB_SAFE_T_ACCESS:
        return take_u8(e.value, &o->access);
    case TB_SAFE_T_KEY_TYPE:
        return take_u8(e.value, &o->key_type);
    case TB_SAFE_T_KEY_USAGE:
        return take_u8(e.value, &o->key_usage);
    case TB_SAFE_T_CRYPTO:
        return take_u8(e.value, &o->crypto);
    case TB_SAFE_T_SIGN_ALG:
        return take_u8(e.value, &o->sign_alg);
    case TB_SAFE_T_HASH:
        return take_u16(e.value, &o->hash);
    case TB_SAFE_T_KEY_AGREEMENT:
        return take_u8(e.value, &o->key_agreement);
    case TB_SAFE_T_KEY_DERIVATION:
        return take_u8(e.value, &o->key_derivation);
    case TB_SAFE_T_FILE_USAGE:
        return take_u8(e.value, &o->file_usage);
    case TAG_CAPACITY:
        return take_u16(e.value, &o->capacity);
    case TAG_LABEL:
        return take_bytes(e.value, o->label, sizeof o->label, &o->label_len);
    case TAG_PAIR:
        return take_bytes(e.value, o->pair, sizeof o->pair, &o->pair_len);
    case TAG_VALUE:
        return take_value(e.value, o);
    default:
        return true;
    }
}

/* An active object has a value that its class can use; a file fits into its container. */
static bool is_sound(const struct card_object *o) {
    enum card_key_kind kind;

    if (o->cls == CARD_FILE)
        return o->value_len <= o->capacity;
    if (o->cls == CARD_SECRET && o->value_len > CARD_SECRET_MAX)
        return false;
    if (o->cls <= CARD_PUBLIC && !card_key_type_kind(o->key_type, &kind))
        return false;
    return !o->active || o->value_len > 0;
}

int card_object_decode(struct tb_span key, struct tb_span record, uint8_t *ret_instance,
                       struct card_object **ret) {
    struct card_object *o;
    struct tb_tlv e;
    uint8_t kind, instance, cls;
    int r = card_record_open(&record);

    if (r < 0)
        return r;
    if (!tb_take_u8(&key, &kind) || !tb_take_u8(&key, &instance) || !tb_take_u8(&key, &cls) ||
        cls > CARD_FILE || key.n == 0)
        return TB_EPARSE;
    o = calloc(1, sizeof *o);
    if (!o)
        return TB_ENOMEM;
    o->cls = cls;
    if (!take_bytes(key, o->id, sizeof o->id, &o->id_len))
        r = TB_EPARSE;
    while (r == 0 && (r = tb_tlv_next(&record, &e)) > 0)
        r = take_attribute(e, o) ? 0 : TB_EPARSE;
    if (r == 0 && !is_sound(o))
        r = TB_EPARSE;
    if (r < 0) {
        card_object_free(o);
        return r;
    }
    *ret_instance = instance;
    *ret = o;
    return 0;
}
