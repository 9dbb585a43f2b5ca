#include "admin/admin.h"

#include <stdlib.h>

#include "admin/object_spec.h"
#include "iotsafe/session.h"

/* One staged change: old becomes next, is created (no old), or is deleted (no next). */
struct staged {
    struct card_object *old, *next;
    bool added; /* next is in the set already, on trial */
};

struct card_admin {
    struct card_instance *in;
    struct staged *v;
    size_t n;
};

bool card_admin_is_on(const struct card *card, const struct card_instance *in) {
    return card->admin && card->admin->in == in;
}

int card_admin_begin(struct card *card, uint8_t instance) {
    struct card_instance *in = card->instances;

    if (card->admin)
        return TB_ESTATE;
    while (in && in->number != instance)
        in = in->next;
    if (!in)
        return TB_ENOTFOUND;
    card->admin = calloc(1, sizeof *card->admin);
    if (!card->admin)
        return TB_ENOMEM;
    card->admin->in = in;
    return 0;
}

static struct staged *add_staged(struct card_admin *a) {
    struct staged *v = realloc(a->v, (a->n + 1) * sizeof *v);

    if (!v)
        return NULL;
    a->v = v;
    v[a->n] = (struct staged){0};
    return &v[a->n++];
}

static bool is_staged(const struct card_admin *a, enum card_object_class cls, struct tb_span id) {
    for (size_t i = 0; i < a->n; i++) {
        const struct card_object *o = a->v[i].next ? a->v[i].next : a->v[i].old;

        if (o->cls == cls && tb_span_eq(card_object_id(o), id))
            return true;
    }
    return false;
}

/* A label names one object of its class: not another one that stays. */
static bool label_is_free(const struct card_admin *a, const struct card_object *next,
                          const struct card_object *old) {
    const struct card_object *holder =
        card_instance_find_label(a->in, (enum card_object_class)next->cls, card_object_label(next));

    return !holder || holder == old;
}

int card_admin_put(struct card *card, const struct card_object_spec *spec) {
    struct card_admin *a = card->admin;
    struct card_object *next, *old;
    struct staged *s;
    int r;

    if (!a || is_staged(a, spec->cls, spec->id))
        return TB_ESTATE;
    r = card_object_from_spec(spec, &next);
    if (r < 0)
        return r;
    old = card_instance_find(a->in, spec->cls, spec->id);
    r = label_is_free(a, next, old) && !(old && old->locked) ? 0 : TB_ESTATE;
    s = r == 0 ? add_staged(a) : NULL;
    if (!s) {
        card_object_free(next);
        return r < 0 ? r : TB_ENOMEM;
    }
    s->next = next;
    s->old = old;
    if (old)
        old->locked = true;
    return 0;
}

int card_admin_delete(struct card *card, enum card_object_class cls, struct tb_span id) {
    struct card_admin *a = card->admin;
    struct card_object *old;
    struct staged *s;

    if (!a || is_staged(a, cls, id))
        return TB_ESTATE;
    old = card_instance_find(a->in, cls, id);
    if (!old)
        return TB_ENOTFOUND;
    if (old->locked)
        return TB_ESTATE; /* by another administrator */
    s = add_staged(a);
    if (!s)
        return TB_ENOMEM;
    s->old = old;
    old->locked = true;
    return 0;
}

/* New objects get their places in the set before anything is written: that may need memory. */
static int add_new(struct card_admin *a) {
    for (size_t i = 0; i < a->n; i++) {
        struct staged *s = &a->v[i];

        if (s->old) {
            if (s->next)
                s->next->seq = s->old->seq;
            continue;
        }
        s->next->seq = a->in->next_seq;
        s->next->locked = true;
        if (card_instance_add(a->in, s->next) < 0)
            return TB_ENOMEM;
        s->added = true;
    }
    return 0;
}

/* Takes next out of the set again, without freeing it. */
static void remove_new(struct card_admin *a) {
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].added) {
            card_instance_take(a->in, a->v[i].next);
            a->v[i].added = false;
        }
}

struct record {
    uint8_t key[CARD_REC_KEY_MAX];
    uint8_t *p;
    size_t n;
};

static int write_all(struct card *card, const struct card_admin *a) {
    struct card_write *writes = calloc(a->n ? a->n : 1, sizeof *writes);
    struct record *records = calloc(a->n ? a->n : 1, sizeof *records);
    int r = writes && records ? 0 : TB_ENOMEM;

    for (size_t i = 0; r == 0 && i < a->n; i++) {
        const struct card_object *o = a->v[i].next;
        struct tb_buf key = TB_BUF(records[i].key);

        card_object_record_key(a->in->number, o ? o : a->v[i].old, &key);
        writes[i].key = tb_buf_span(&key);
        if (!o)
            continue;
        records[i].p = card_object_encode(o, card_object_value(o), o->active, &records[i].n);
        writes[i].value = tb_span(records[i].p, records[i].n);
        if (!records[i].p)
            r = TB_ENOMEM;
    }
    if (r == 0) {
        r = card_nvm_write(card->nvm, writes, a->n, !card->has_version);
        if (r == 0)
            card->counters.writes++;
    }
    for (size_t i = 0; records && i < a->n; i++)
        card_object_encode_free(records[i].p, records[i].n);
    free(records);
    free(writes);
    return r;
}

/* next's contents at old's address; what was there goes with next. */
static void replace(struct card_object *old, struct card_object *next) {
    struct card_object was = *old;

    *old = *next;
    old->generation = was.generation + 1;
    *next = was;
    card_object_free(next);
}

static void apply(struct card *card, struct card_admin *a) {
    for (size_t i = 0; i < a->n; i++) {
        struct staged *s = &a->v[i];

        if (s->added) {
            s->next->locked = false;
            continue;
        }
        card_sessions_lose_object(card, s->old);
        if (s->next)
            replace(s->old, s->next);
        else
            card_instance_remove(a->in, s->old);
    }
    for (size_t c = 0; c < TB_CHANNELS; c++) {
        struct card_channel *ch = card->channels[c];

        if (ch && ch->app && ch->app->instance == a->in) {
            ch->admin_done = true;
            ch->list_offset = 0; /* the rest of an old list is no list */
        }
    }
}

static void finish(struct card *card) {
    free(card->admin->v);
    free(card->admin);
    card->admin = NULL;
}

int card_admin_commit(struct card *card) {
    struct card_admin *a = card->admin;
    int r;

    if (!a)
        return TB_ESTATE;
    r = add_new(a);
    if (r == 0)
        r = write_all(card, a);
    if (r < 0) {
        remove_new(a);
        return r;
    }
    card->has_version = true;
    apply(card, a);
    finish(card);
    return 0;
}

void card_admin_abort(struct card *card) {
    struct card_admin *a = card->admin;

    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++) {
        card_object_free(a->v[i].next);
        if (a->v[i].old)
            a->v[i].old->locked = false;
    }
    finish(card);
}
