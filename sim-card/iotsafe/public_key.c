#include <stdlib.h>

#include "iotsafe/applet.h"
#include "tb/tlv.h"

/* spec: IOTSAFE 2.5.7 EC: 34 { 49 { 86 point } }. For RSA the sources show no format: 34 holds the
 * DER of the profile's choice with a BER length. */
uint16_t safe_put_public_key(const struct card_profile *p, struct card_object *o,
                             struct tb_buf *out) {
    struct card_key *key;
    uint8_t der[CARD_KEY_PUBLIC_MAX];
    struct tb_buf b = TB_BUF(der);
    size_t mark34, mark49;

    if (o->key_type != TB_SAFE_RSA2048) {
        mark34 = tb_tlv_open(out, TB_SAFE_T_PUBLIC_KEY);
        mark49 = tb_tlv_open(out, TB_SAFE_T_EC_KEY);
        tb_put_tlv(out, TB_SAFE_T_EC_POINT, card_object_value(o));
        tb_tlv_close(out, mark49);
        tb_tlv_close(out, mark34);
        return TB_SW_OK;
    }
    if (card_object_key(o, &key) < 0 || card_key_put_public(key, p->rsa_pkcs1, &b) < 0)
        return TB_SW_INTEGRITY;
    tb_put_tlv(out, TB_SAFE_T_PUBLIC_KEY, tb_buf_span(&b));
    return TB_SW_OK;
}

/* The value of an EC or RSA public key out of what tag 34 holds. */
static bool unwrap(enum card_key_kind kind, struct tb_span *value) {
    struct tb_span point;

    if (kind == CARD_KEY_RSA2048)
        return true;
    if (tb_safe_find(*value, TB_SAFE_T_EC_KEY, value) != 1 ||
        tb_safe_find(*value, TB_SAFE_T_EC_POINT, &point) != 1)
        return false;
    *value = point;
    return true;
}

uint16_t safe_take_public_key(enum card_key_kind kind, struct tb_span value34,
                              struct safe_change *ret) {
    struct card_key *key;
    struct tb_buf b;
    int r;

    if (!unwrap(kind, &value34))
        return TB_SW_DATA;
    r = card_key_from_public(kind, value34, &key);
    if (r < 0)
        return r == TB_EPARSE ? TB_SW_DATA : TB_SW_NO_SPACE;
    b = tb_buf(malloc(CARD_KEY_PUBLIC_MAX), CARD_KEY_PUBLIC_MAX);
    if (!b.p || card_key_put_public(key, false, &b) < 0) {
        card_key_free(key);
        free(b.p);
        return TB_SW_NO_SPACE;
    }
    ret->value = b.p;
    ret->n = b.n;
    ret->key = key;
    ret->active = true;
    return TB_SW_OK;
}
