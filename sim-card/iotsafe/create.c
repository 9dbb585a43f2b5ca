#include "iotsafe/create.h"

#include <stdlib.h>

enum { PAIR = 2 };

static struct card_object *container(const struct card_instance *in, enum card_object_class cls,
                                     struct tb_span id, size_t nth) {
    struct card_object *o = calloc(1, sizeof *o);

    if (!o)
        return NULL;
    o->cls = (uint8_t)cls;
    o->id_len = (uint8_t)id.n;
    memcpy(o->id, id.p, id.n);
    o->access = TB_SAFE_READ | TB_SAFE_UPDATE;
    o->key_type = TB_SAFE_P256;
    o->key_usage = TB_SAFE_USE_GENERAL;
    o->crypto = TB_SAFE_CAN_SIGN | TB_SAFE_CAN_AGREE;
    if (cls == CARD_PRIVATE)
        o->crypto |= TB_SAFE_CAN_GENERATE;
    o->sign_alg = TB_SAFE_ECDSA;
    o->hash = TB_SAFE_SHA256 | TB_SAFE_SHA384 | TB_SAFE_SHA512;
    o->key_agreement = TB_SAFE_ECKA;
    o->seq = (uint16_t)(in->next_seq + nth);
    return o;
}

/* All of them or none: records first, then places in the set, which are reserved before. */
static uint16_t add(struct card *card, struct card_instance *in, struct card_object **v, size_t n) {
    struct card_write writes[PAIR];
    uint8_t keys[PAIR][CARD_REC_KEY_MAX], *records[PAIR] = {NULL};
    size_t sizes[PAIR] = {0}, added = 0;
    uint16_t sw = 0;

    for (size_t i = 0; i < n && sw == 0; i++) {
        struct tb_buf key = TB_BUF(keys[i]);

        records[i] = card_object_encode(v[i], TB_SPAN_NONE, false, &sizes[i]);
        card_object_record_key(in->number, v[i], &key);
        writes[i] = (struct card_write){tb_buf_span(&key), {records[i], sizes[i]}};
        if (!records[i])
            sw = TB_SW_NO_SPACE;
    }
    for (; added < n && sw == 0; added++)
        if (card_instance_add(in, v[added]) < 0) {
            sw = TB_SW_NO_SPACE;
            break;
        }
    if (sw == 0)
        sw = card_store(card, writes, n);
    for (size_t i = 0; i < n; i++) {
        card_object_encode_free(records[i], sizes[i]);
        if (sw == 0)
            continue;
        if (i < added)
            card_instance_remove(in, v[i]);
        else
            card_object_free(v[i]);
    }
    return sw ? sw : TB_SW_OK;
}

uint16_t safe_create(struct card *card, struct card_instance *in, enum card_object_class cls,
                     struct tb_span id, struct card_object **ret) {
    struct card_object *v[PAIR];
    size_t n = 0;
    uint16_t sw;

    if (!id.p)
        return TB_SW_DATA; /* named by a label: there is no id to give it */
    v[n] = container(in, cls, id, n);
    if (!v[n++])
        return TB_SW_NO_SPACE;
    if (cls == CARD_PRIVATE && !card_instance_find(in, CARD_PUBLIC, id)) {
        v[n] = container(in, CARD_PUBLIC, id, n);
        if (!v[n++]) {
            card_object_free(v[0]);
            return TB_SW_NO_SPACE;
        }
    }
    sw = add(card, in, v, n);
    if (sw == TB_SW_OK)
        *ret = v[0];
    return sw;
}
