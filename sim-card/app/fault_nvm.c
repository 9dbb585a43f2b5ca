/* The card's memory with power cuts at a given write, and without room. */
#include <stdlib.h>

#include "fault.h"

struct faulty {
    struct card_nvm nvm;
    struct card_nvm *inner;
    struct card_faults *f;
    bool begun; /* inner has an open transaction */
};

static struct faulty *of(struct card_nvm *nvm) {
    return (struct faulty *)nvm;
}

/* Counts a write; false when power is gone before it. With the new state wanted the transaction
 * under way is completed first. */
static bool powered(struct faulty *m) {
    struct card_fault *cut = m->f->armed[CARD_FAULT_POWER_CUT];

    if (!m->f->dead && !m->f->dying && cut && --cut->write == 0) {
        cut->write = 1; /* for the next time, when there is one */
        m->f->dying = cut->new_state;
        m->f->dead = !cut->new_state;
    }
    if (m->f->dead && m->begun) {
        m->inner->ops->rollback(m->inner);
        m->begun = false;
    }
    return !m->f->dead;
}

static int faulty_each(struct card_nvm *nvm,
                       int (*fn)(struct tb_span key, struct tb_span value, void *user),
                       void *user) {
    struct faulty *m = of(nvm);

    return m->inner->ops->each(m->inner, fn, user);
}

static int faulty_begin(struct card_nvm *nvm) {
    struct faulty *m = of(nvm);
    int r;

    if (!powered(m))
        return TB_ESTORE;
    r = m->inner->ops->begin(m->inner);
    m->begun = r >= 0;
    return r;
}

static int faulty_put(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    struct faulty *m = of(nvm);

    if (!powered(m))
        return TB_ESTORE;
    if (m->f->armed[CARD_FAULT_MEMORY_FULL]) {
        m->f->full = true;
        return TB_ESPACE;
    }
    return m->inner->ops->put(m->inner, key, value);
}

static int faulty_del(struct card_nvm *nvm, struct tb_span key) {
    struct faulty *m = of(nvm);

    return powered(m) ? m->inner->ops->del(m->inner, key) : TB_ESTORE;
}

static int faulty_commit(struct card_nvm *nvm) {
    struct faulty *m = of(nvm);
    int r;

    if (!powered(m))
        return TB_ESTORE;
    r = m->inner->ops->commit(m->inner);
    if (r >= 0)
        m->begun = false;
    if (m->f->dying)
        m->f->dead = true;
    return r;
}

static void faulty_rollback(struct card_nvm *nvm) {
    struct faulty *m = of(nvm);

    if (m->begun)
        m->inner->ops->rollback(m->inner);
    m->begun = false;
}

static void faulty_free(struct card_nvm *nvm) {
    struct faulty *m = of(nvm);

    card_nvm_free(m->inner);
    free(m);
}

static const struct card_nvm_ops ops = {
    .each = faulty_each,
    .begin = faulty_begin,
    .put = faulty_put,
    .del = faulty_del,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
    .free = faulty_free,
};

struct card_nvm *card_nvm_faulty_new(struct card_nvm *inner, struct card_faults *f) {
    struct faulty *m = calloc(1, sizeof *m);

    if (!m)
        abort();
    *m = (struct faulty){.nvm = {&ops}, .inner = inner, .f = f};
    return &m->nvm;
}
