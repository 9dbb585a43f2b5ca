#include "iotsafe/create.h"

#include <stdlib.h>

static struct card_object *container(const struct card_instance *in, enum card_object_class cls,
                                     struct tb_span id) {
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
    o->seq = in->next_seq;
    return o;
}

static uint16_t add(struct card_instance *in, struct card_object *o, struct safe_created *c) {
    if (!o)
        return TB_SW_NO_SPACE;
    if (card_instance_add(in, o) < 0) {
        card_object_free(o);
        return TB_SW_NO_SPACE;
    }
    c->v[c->n++] = o;
    return TB_SW_OK;
}

uint16_t safe_create(struct card_instance *in, enum card_object_class cls, struct tb_span id,
                     struct safe_created *ret) {
    struct safe_created c = {.n = 0};
    uint16_t sw;

    if (!id.p)
        return TB_SW_DATA; /* named by a label: there is no id to give it */
    sw = add(in, container(in, cls, id), &c);
    if (sw == TB_SW_OK && cls == CARD_PRIVATE && !card_instance_find(in, CARD_PUBLIC, id))
        sw = add(in, container(in, CARD_PUBLIC, id), &c);
    if (sw != TB_SW_OK) {
        safe_create_undo(in, &c);
        return sw;
    }
    *ret = c;
    return TB_SW_OK;
}

uint16_t safe_create_store(struct card *card, const struct card_instance *in,
                           const struct safe_created *created) {
    uint8_t keys[2][CARD_REC_KEY_MAX], *records[2] = {NULL};
    struct card_write writes[2];
    size_t sizes[2] = {0};
    uint16_t sw = 0;

    for (size_t i = 0; i < created->n; i++) {
        struct tb_buf key = TB_BUF(keys[i]);

        records[i] = card_object_encode(created->v[i], TB_SPAN_NONE, false, &sizes[i]);
        card_object_record_key(in->number, created->v[i], &key);
        writes[i] = (struct card_write){tb_buf_span(&key), {records[i], sizes[i]}};
        if (!records[i])
            sw = TB_SW_NO_SPACE;
    }
    if (sw == 0)
        sw = card_store(card, writes, created->n);
    for (size_t i = 0; i < created->n; i++)
        card_object_encode_free(records[i], sizes[i]);
    return sw ? sw : TB_SW_OK;
}

void safe_create_undo(struct card_instance *in, struct safe_created *created) {
    for (size_t i = 0; i < created->n; i++)
        card_instance_remove(in, created->v[i]);
    created->n = 0;
}
