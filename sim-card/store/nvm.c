#include "simcard/nvm.h"

#include <stdlib.h>

#include "store/store.h"

void card_nvm_free(struct card_nvm *nvm) {
    if (nvm)
        nvm->ops->free(nvm);
}

static int write_one(struct card_nvm *nvm, const struct card_write *w) {
    return w->value.p ? nvm->ops->put(nvm, w->key, w->value) : nvm->ops->del(nvm, w->key);
}

int card_nvm_write(struct card_nvm *nvm, const struct card_write *writes, size_t n,
                   bool with_version) {
    static const uint8_t key = CARD_REC_VERSION, value = CARD_STORE_VERSION;
    const struct card_write version = {{&key, 1}, {&value, 1}};
    int r = nvm->ops->begin(nvm);

    if (r < 0)
        return r;
    if (with_version)
        r = write_one(nvm, &version);
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = write_one(nvm, &writes[i]);
    if (r >= 0)
        r = nvm->ops->commit(nvm);
    if (r < 0)
        nvm->ops->rollback(nvm);
    return r < 0 ? r : 0;
}

struct lookup {
    struct tb_span key;
    uint8_t *copy;
    size_t n;
};

static int match_entry(struct tb_span key, struct tb_span value, void *user) {
    struct lookup *l = user;

    if (!tb_span_eq(key, l->key))
        return 0;
    l->copy = malloc(value.n ? value.n : 1);
    if (!l->copy)
        return TB_ENOMEM;
    if (value.n)
        memcpy(l->copy, value.p, value.n);
    l->n = value.n;
    return 1;
}

int card_nvm_get(struct card_nvm *nvm, struct tb_span key, uint8_t **ret_value, size_t *ret_n) {
    struct lookup l = {.key = key};
    int r = nvm->ops->each(nvm, match_entry, &l);

    if (r == 1) {
        *ret_value = l.copy;
        *ret_n = l.n;
    }
    return r;
}

int card_store_check_version(struct tb_span value) {
    if (value.n != 1 || value.p[0] == 0)
        return TB_EPARSE;
    return value.p[0] > CARD_STORE_VERSION ? TB_EUNSUP : 0;
}

int card_record_open(struct tb_span *record) {
    uint8_t format;

    if (!tb_take_u8(record, &format) || format == 0)
        return TB_EPARSE;
    return format > CARD_RECORD_FORMAT ? TB_EUNSUP : 0;
}
