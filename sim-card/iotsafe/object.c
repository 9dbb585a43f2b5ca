#include "iotsafe/object.h"

#include <stdlib.h>

bool card_key_type_kind(uint8_t key_type, enum card_key_kind *ret) {
    switch (key_type) {
    case TB_SAFE_P256:
    case TB_SAFE_P256_VOLATILE:
        *ret = CARD_KEY_P256;
        return true;
    case TB_SAFE_BP256:
    case TB_SAFE_BP256_VOLATILE:
        *ret = CARD_KEY_BP256;
        return true;
    case TB_SAFE_RSA2048:
        *ret = CARD_KEY_RSA2048;
        return true;
    default:
        return false;
    }
}

void card_object_set(struct card_object *o, uint8_t *value, size_t n, struct card_key *key) {
    tb_wipe(o->value, o->value_len);
    free(o->value);
    card_key_free(o->key);
    o->value = value;
    o->value_len = n;
    o->key = key;
    o->generation++;
}

void card_object_free(struct card_object *o) {
    if (!o)
        return;
    card_object_set(o, NULL, 0, NULL);
    free(o);
}

int card_object_key(struct card_object *o, struct card_key **ret) {
    enum card_key_kind kind;
    int r = 0;

    if (!o->key) {
        if (!card_key_type_kind(o->key_type, &kind))
            return TB_EPARSE;
        r = o->cls == CARD_PRIVATE ? card_key_from_private(kind, card_object_value(o), &o->key)
                                   : card_key_from_public(kind, card_object_value(o), &o->key);
    }
    if (r == 0)
        *ret = o->key;
    return r;
}

struct card_instance *card_instance_get(struct card *card, uint8_t number) {
    struct card_instance *in;

    for (in = card->instances; in; in = in->next)
        if (in->number == number)
            return in;
    in = calloc(1, sizeof *in);
    if (!in)
        return NULL;
    in->number = number;
    in->next = card->instances;
    card->instances = in;
    return in;
}

void card_instance_free(struct card_instance *in) {
    for (size_t i = 0; i < in->n; i++)
        card_object_free(in->v[i]);
    free(in->v);
    free(in);
}

void card_instance_forget_volatile(struct card_instance *in) {
    for (size_t i = 0; i < in->n; i++) {
        struct card_object *o = in->v[i];

        if (o->cls <= CARD_PUBLIC && card_key_type_volatile(o->key_type)) {
            card_object_set(o, NULL, 0, NULL);
            o->active = false;
        }
    }
}

struct card_object *card_instance_find(struct card_instance *in, enum card_object_class cls,
                                       struct tb_span id) {
    for (size_t i = 0; i < in->n; i++)
        if (in->v[i]->cls == cls && tb_span_eq(card_object_id(in->v[i]), id))
            return in->v[i];
    return NULL;
}

struct card_object *card_instance_find_label(struct card_instance *in, enum card_object_class cls,
                                             struct tb_span label) {
    if (label.n == 0)
        return NULL;
    for (size_t i = 0; i < in->n; i++)
        if (in->v[i]->cls == cls && tb_span_eq(card_object_label(in->v[i]), label))
            return in->v[i];
    return NULL;
}

static bool is_before(const struct card_object *a, const struct card_object *b) {
    return a->cls != b->cls ? a->cls < b->cls : a->seq < b->seq;
}

int card_instance_add(struct card_instance *in, struct card_object *o) {
    struct card_object **v = realloc(in->v, (in->n + 1) * sizeof(struct card_object *));
    size_t at = in->n;

    if (!v)
        return TB_ENOMEM;
    in->v = v;
    for (; at > 0 && is_before(o, v[at - 1]); at--)
        v[at] = v[at - 1];
    v[at] = o;
    in->n++;
    if (o->seq >= in->next_seq)
        in->next_seq = (uint16_t)(o->seq + 1);
    return 0;
}

void card_instance_take(struct card_instance *in, struct card_object *o) {
    size_t at = 0;

    while (at < in->n && in->v[at] != o)
        at++;
    if (at == in->n)
        return;
    for (; at + 1 < in->n; at++)
        in->v[at] = in->v[at + 1];
    in->n--;
}

void card_instance_remove(struct card_instance *in, struct card_object *o) {
    card_instance_take(in, o);
    card_object_free(o);
}

size_t card_instance_count(const struct card_instance *in, enum card_object_class cls) {
    size_t n = 0;

    for (size_t i = 0; i < in->n; i++)
        n += in->v[i]->cls == cls;
    return n;
}
