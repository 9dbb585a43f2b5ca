/* A memory whose writes may fail: by what a caller says, or as if power were cut at a given one. A
 * cut at commit leaves the old state: an implementation is durable or not there, and what happens
 * between is its own test (SQLite's with a killed process). */
#include <stdlib.h>

#include "simcard/nvm.h"

struct guard {
    struct card_nvm nvm;
    struct card_nvm *inner;
    card_nvm_may_fn *may;
    void *user;
    unsigned left; /* of a tear: write operations until the cut */
    bool begun;    /* inner has an open transaction */
};

static struct guard *guard_of(struct card_nvm *nvm) {
    return (struct guard *)nvm;
}

static void guard_rollback(struct card_nvm *nvm) {
    struct guard *g = guard_of(nvm);

    if (g->begun)
        g->inner->ops->rollback(g->inner);
    g->begun = false;
}

static int may(struct guard *g, enum card_nvm_write what) {
    int r = g->may(what, g->user);

    if (r == TB_ESTORE)
        guard_rollback(&g->nvm);
    return r;
}

static int guard_each(struct card_nvm *nvm,
                      int (*fn)(struct tb_span key, struct tb_span value, void *user), void *user) {
    struct guard *g = guard_of(nvm);

    return g->inner->ops->each(g->inner, fn, user);
}

static int guard_begin(struct card_nvm *nvm) {
    struct guard *g = guard_of(nvm);
    int r = may(g, CARD_NVM_BEGIN);

    if (r < 0)
        return r;
    r = g->inner->ops->begin(g->inner);
    g->begun = r >= 0;
    return r;
}

static int guard_put(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    struct guard *g = guard_of(nvm);
    int r = may(g, CARD_NVM_PUT);

    return r < 0 ? r : g->inner->ops->put(g->inner, key, value);
}

static int guard_del(struct card_nvm *nvm, struct tb_span key) {
    struct guard *g = guard_of(nvm);
    int r = may(g, CARD_NVM_DEL);

    return r < 0 ? r : g->inner->ops->del(g->inner, key);
}

static int guard_commit(struct card_nvm *nvm) {
    struct guard *g = guard_of(nvm);
    int r = may(g, CARD_NVM_COMMIT);

    if (r < 0)
        return r;
    r = g->inner->ops->commit(g->inner);
    if (r >= 0)
        g->begun = false;
    return r;
}

static void guard_free(struct card_nvm *nvm) {
    struct guard *g = guard_of(nvm);

    card_nvm_free(g->inner);
    free(g);
}

static const struct card_nvm_ops guard_ops = {
    .each = guard_each,
    .begin = guard_begin,
    .put = guard_put,
    .del = guard_del,
    .commit = guard_commit,
    .rollback = guard_rollback,
    .free = guard_free,
};

struct card_nvm *card_nvm_guard_new(struct card_nvm *inner, card_nvm_may_fn *fn, void *user) {
    struct guard *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    *g = (struct guard){.nvm = {&guard_ops}, .inner = inner, .may = fn, .user = user};
    return &g->nvm;
}

/* --- power cuts on demand --- */

static int count_down(enum card_nvm_write what, void *user) {
    struct guard *g = user;

    (void)what;
    if (g->left > 0)
        g->left--;
    return g->left > 0 ? 0 : TB_ESTORE;
}

struct card_nvm *card_nvm_tear_new(struct card_nvm *inner, unsigned cut) {
    struct card_nvm *nvm = card_nvm_guard_new(inner, count_down, NULL);

    if (nvm) {
        guard_of(nvm)->user = nvm;
        guard_of(nvm)->left = cut;
    }
    return nvm;
}

void card_nvm_tear_cut(struct card_nvm *nvm, unsigned cut) {
    guard_of(nvm)->left = cut;
}
