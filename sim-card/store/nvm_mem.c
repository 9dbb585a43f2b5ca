/* NVM in memory: a sorted array of entries, and beside it the changes of the transaction under way.
 * Everything that can fail happens in put and del; commit only moves pointers. */
#include <stdlib.h>

#include "simcard/nvm.h"

struct entry {
    struct entry *next; /* in the staged list only */
    size_t key_n, value_n;
    bool deletes;
    uint8_t bytes[]; /* key, value */
};

struct mem {
    struct card_nvm nvm;
    struct entry **v; /* sorted by key */
    size_t n, cap;
    size_t used, limit;
    bool open;              /* a transaction is under way */
    struct entry *staged;   /* its changes, newest first, one per key */
    size_t staged_n;        /* how many */
    size_t used_when_begun; /* for rollback */
};

static struct mem *mem_of(struct card_nvm *nvm) {
    return (struct mem *)nvm;
}

static struct tb_span key_of(const struct entry *e) {
    return tb_span(e->bytes, e->key_n);
}

static struct tb_span value_of(const struct entry *e) {
    return tb_span_sub(tb_span(e->bytes, e->key_n + e->value_n), e->key_n, e->value_n);
}

static int compare(struct tb_span a, struct tb_span b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int r = n ? memcmp(a.p, b.p, n) : 0;

    return r ? r : (a.n > b.n) - (a.n < b.n);
}

/* Index of the first entry not below key; *ret_found says whether it is that key. */
static size_t position(const struct mem *m, struct tb_span key, bool *ret_found) {
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare(key_of(m->v[mid]), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_found = lo < m->n && tb_span_eq(key_of(m->v[lo]), key);
    return lo;
}

static void entry_free(struct entry *e) {
    if (!e)
        return;
    tb_wipe(e->bytes, e->key_n + e->value_n);
    free(e);
}

static int mem_each(struct card_nvm *nvm,
                    int (*fn)(struct tb_span key, struct tb_span value, void *user), void *user) {
    struct mem *m = mem_of(nvm);

    for (size_t i = 0; i < m->n; i++) {
        int r = fn(key_of(m->v[i]), value_of(m->v[i]), user);

        if (r)
            return r;
    }
    return 0;
}

static void drop_staged(struct mem *m) {
    while (m->staged) {
        struct entry *e = m->staged;

        m->staged = e->next;
        entry_free(e);
    }
    m->staged_n = 0;
    m->open = false;
}

static int mem_begin(struct card_nvm *nvm) {
    struct mem *m = mem_of(nvm);

    if (m->open)
        return TB_ESTATE;
    m->open = true;
    m->used_when_begun = m->used;
    return 0;
}

static void mem_rollback(struct card_nvm *nvm) {
    struct mem *m = mem_of(nvm);

    if (!m->open)
        return;
    m->used = m->used_when_begun;
    drop_staged(m);
}

static struct entry **staged_slot(struct mem *m, struct tb_span key) {
    struct entry **at = &m->staged;

    while (*at && !tb_span_eq(key_of(*at), key))
        at = &(*at)->next;
    return at;
}

/* Bytes that key occupies as the transaction sees it now. */
static size_t size_now(struct mem *m, struct tb_span key) {
    struct entry *s = *staged_slot(m, key);
    bool found;
    size_t at;

    if (s)
        return s->deletes ? 0 : s->key_n + s->value_n;
    at = position(m, key, &found);
    return found ? m->v[at]->key_n + m->v[at]->value_n : 0;
}

/* Room for every staged entry, so that commit cannot fail. */
static int reserve(struct mem *m) {
    size_t want = m->n + m->staged_n + 1;
    struct entry **v;

    if (want <= m->cap)
        return 0;
    want += want / 2;
    v = realloc(m->v, want * sizeof(struct entry *));
    if (!v)
        return TB_ENOMEM;
    m->v = v;
    m->cap = want;
    return 0;
}

static int stage(struct mem *m, struct tb_span key, struct tb_span value, bool deletes) {
    size_t before = size_now(m, key), after = deletes ? 0 : key.n + value.n;
    struct entry **slot = staged_slot(m, key), *e;
    struct tb_buf b;

    if (!m->open)
        return TB_ESTATE;
    if (m->limit && after > before && m->used - before + after > m->limit)
        return TB_ESPACE;
    if (reserve(m) < 0)
        return TB_ENOMEM;
    e = malloc(sizeof *e + key.n + value.n);
    if (!e)
        return TB_ENOMEM;
    *e = (struct entry){.key_n = key.n, .value_n = value.n, .deletes = deletes};
    b = tb_buf(e->bytes, key.n + value.n);
    tb_put(&b, key);
    tb_put(&b, value);
    if (*slot) {
        struct entry *old = *slot;

        *slot = old->next;
        entry_free(old);
        m->staged_n--;
    }
    e->next = m->staged;
    m->staged = e;
    m->staged_n++;
    m->used = m->used - before + after;
    return 0;
}

static int mem_put(struct card_nvm *nvm, struct tb_span key, struct tb_span value) {
    return stage(mem_of(nvm), key, value, false);
}

static int mem_del(struct card_nvm *nvm, struct tb_span key) {
    return stage(mem_of(nvm), key, TB_SPAN_NONE, true);
}

static void apply(struct mem *m, struct entry *e) {
    bool found;
    size_t at = position(m, key_of(e), &found);

    if (found)
        entry_free(m->v[at]);
    if (e->deletes) {
        if (found)
            memmove(&m->v[at], &m->v[at + 1], (--m->n - at) * sizeof(struct entry *));
        entry_free(e);
        return;
    }
    if (!found)
        memmove(&m->v[at + 1], &m->v[at], (m->n++ - at) * sizeof(struct entry *));
    m->v[at] = e;
}

static int mem_commit(struct card_nvm *nvm) {
    struct mem *m = mem_of(nvm);

    if (!m->open)
        return TB_ESTATE;
    while (m->staged) {
        struct entry *e = m->staged;

        m->staged = e->next;
        apply(m, e);
    }
    drop_staged(m);
    return 0;
}

static void mem_free(struct card_nvm *nvm) {
    struct mem *m = mem_of(nvm);

    drop_staged(m);
    for (size_t i = 0; i < m->n; i++)
        entry_free(m->v[i]);
    free(m->v);
    free(m);
}

static const struct card_nvm_ops mem_ops = {
    .each = mem_each,
    .begin = mem_begin,
    .put = mem_put,
    .del = mem_del,
    .commit = mem_commit,
    .rollback = mem_rollback,
    .free = mem_free,
};

struct card_nvm *card_nvm_mem_new(size_t limit) {
    struct mem *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->nvm.ops = &mem_ops;
    m->limit = limit;
    return &m->nvm;
}
