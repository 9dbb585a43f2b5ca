/* Power cuts on demand. A cut at commit leaves the old state: an implementation is durable or not
 * there, and what happens between is its own test (SQLite's with a killed process). */
#include <stdlib.h>

#include "simcard/nvm.h"

struct tear {
    struct card_nvm nvm;
    struct card_nvm *inner;
    unsigned left; /* write operations until the cut */
    bool begun;    /* inner has an open transaction */
};

static struct tear *tear_of(struct card_nvm *nvm) {
    return (struct tear *)nvm;
}

static bool powered(struct tear *t) {
    if (t->left > 0)
        t->left--;
    if (t->left > 0)
        return true;
    if (t->begun) {
        t->inner->ops->rollback(t->inner);
        t->begun = false;
    }
    return false;
}

static int tear_each(struct card_nvm *nvm,
                     int (*fn)(struct tb_span key, struct tb_span value, void *user), void *user) {
    struct tear *t = tear_of(nvm);

    return t->inner->ops->each(t->inner, fn, user);
}

static int tear_begin(struct card_nvm *nvm) {
    struct tear *t = tear_of(nvm);
    int r;

    if (!powered(t))
        return TB_ESTORE;
    r = t->inner->ops->begin(t->inner);
    t->begun = r >= 0;
    return r;
}

static int tear_put(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    struct tear *t = tear_of(nvm);

    return powered(t) ? t->inner->ops->put(t->inner, key, value) : TB_ESTORE;
}

static int tear_del(struct card_nvm *nvm, struct tb_span key) {
    struct tear *t = tear_of(nvm);

    return powered(t) ? t->inner->ops->del(t->inner, key) : TB_ESTORE;
}

static int tear_commit(struct card_nvm *nvm) {
    struct tear *t = tear_of(nvm);
    int r;

    if (!powered(t))
        return TB_ESTORE;
    r = t->inner->ops->commit(t->inner);
    if (r >= 0)
        t->begun = false;
    return r;
}

static void tear_rollback(struct card_nvm *nvm) {
    struct tear *t = tear_of(nvm);

    if (t->begun)
        t->inner->ops->rollback(t->inner);
    t->begun = false;
}

static void tear_free(struct card_nvm *nvm) {
    struct tear *t = tear_of(nvm);

    card_nvm_free(t->inner);
    free(t);
}

static const struct card_nvm_ops tear_ops = {
    .each = tear_each,
    .begin = tear_begin,
    .put = tear_put,
    .del = tear_del,
    .commit = tear_commit,
    .rollback = tear_rollback,
    .free = tear_free,
};

struct card_nvm *card_nvm_tear_new(struct card_nvm *inner, unsigned cut) {
    struct tear *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->nvm.ops = &tear_ops;
    t->inner = inner;
    t->left = cut;
    return &t->nvm;
}

void card_nvm_tear_cut(struct card_nvm *nvm, unsigned cut) {
    tear_of(nvm)->left = cut;
}
