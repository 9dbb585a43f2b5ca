#include <stdlib.h>

#include "iotsafe/applet.h"

enum { MAX_CHANGES = 2 };

struct record {
    uint8_t key[CARD_REC_KEY_MAX];
    uint8_t *p;
    size_t n;
};

void safe_change_drop(struct safe_change *changes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        tb_wipe(changes[i].value, changes[i].n);
        free(changes[i].value);
        card_key_free(changes[i].key);
        changes[i].value = NULL;
        changes[i].key = NULL;
    }
}

uint16_t safe_change(struct card *card, uint8_t instance, struct safe_change *changes, size_t n) {
    struct card_write writes[MAX_CHANGES];
    struct record records[MAX_CHANGES];
    size_t writes_n = 0;
    uint16_t sw = 0;

    for (size_t i = 0; i < n && sw == 0; i++) {
        const struct card_object *o = changes[i].o;
        struct record *rec = &records[writes_n];
        struct tb_buf key = TB_BUF(rec->key);

        if (card_key_type_volatile(o->key_type))
            continue;
        rec->p = card_object_encode(o, tb_span(changes[i].value, changes[i].n), changes[i].active,
                                    &rec->n);
        if (!rec->p) {
            sw = TB_SW_NO_SPACE;
            break;
        }
        card_object_record_key(instance, o, &key);
        writes[writes_n++] = (struct card_write){tb_buf_span(&key), {rec->p, rec->n}};
    }
    if (sw == 0 && writes_n > 0)
        sw = card_store(card, writes, writes_n);
    for (size_t i = 0; i < writes_n; i++)
        card_object_encode_free(records[i].p, records[i].n);
    if (sw != 0) {
        safe_change_drop(changes, n);
        return sw;
    }
    for (size_t i = 0; i < n; i++) {
        card_object_set(changes[i].o, changes[i].value, changes[i].n, changes[i].key);
        changes[i].o->active = changes[i].active;
    }
    return TB_SW_OK;
}
