#include "gp/change.h"

#include <stdlib.h>

#include "gp/domain.h"
#include "gp/registry.h"

static void add(struct gp_change *c, struct tb_span key, uint8_t *p, size_t n) {
    struct gp_write *v = c->failed ? NULL : realloc(c->v, (c->n + 1) * sizeof *v);
    struct gp_write *w;

    if (!v || key.n > sizeof v->key) {
        tb_wipe(p, n);
        free(p);
        if (v)
            c->v = v;
        c->failed = true;
        return;
    }
    c->v = v;
    w = &v[c->n++];
    memcpy(w->key, key.p, key.n);
    w->key_n = (uint8_t)key.n;
    w->p = p;
    w->n = n;
}

void gp_change_put(struct gp_change *c, struct tb_span key, struct tb_span value) {
    uint8_t *p = malloc(value.n ? value.n : 1);

    if (!p) {
        c->failed = true;
        return;
    }
    if (value.n)
        memcpy(p, value.p, value.n);
    add(c, key, p, value.n);
}

void gp_change_del(struct gp_change *c, struct tb_span key) {
    add(c, key, NULL, 0);
}

void gp_change_app(struct gp_change *c, const struct card_app *app) {
    uint8_t record[GP_ENTRY_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);

    card_app_record_key(app, &k);
    card_app_encode(app, &b);
    if (tb_buf_ok(&b))
        gp_change_put(c, tb_buf_span(&k), tb_buf_span(&b));
    else
        c->failed = true;
}

void gp_change_keyset(struct gp_change *c, const struct card_app *domain,
                      const struct card_keyset *ks) {
    uint8_t record[GP_KEYSET_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);

    card_keyset_record_key(domain, ks->version, &k);
    card_keyset_encode(ks, &b);
    gp_change_put(c, tb_buf_span(&k), tb_buf_span(&b));
    tb_wipe(record, sizeof record);
}

void gp_change_keyset_gone(struct gp_change *c, const struct card_app *domain, uint8_t version) {
    uint8_t key[CARD_REC_KEY_MAX];
    struct tb_buf k = TB_BUF(key);

    card_keyset_record_key(domain, version, &k);
    gp_change_del(c, tb_buf_span(&k));
}

void gp_change_data(struct gp_change *c, const struct card_app *domain,
                    const struct card_domain_data *one) {
    uint8_t record[1 + GP_DATUM_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);

    card_domain_data_record_key(domain, one->tag, &k);
    tb_put_u8(&b, CARD_RECORD_FORMAT);
    tb_put(&b, tb_span(one->v, one->n));
    gp_change_put(c, tb_buf_span(&k), tb_buf_span(&b));
}

void gp_change_app_gone(struct gp_change *c, const struct card_app *app) {
    uint8_t key[CARD_REC_KEY_MAX];
    struct tb_buf k = TB_BUF(key);

    for (const struct card_keyset *ks = app->keysets; ks; ks = ks->next)
        gp_change_keyset_gone(c, app, ks->version);
    for (const struct card_domain_data *one = app->data; one; one = one->next) {
        k.n = 0;
        card_domain_data_record_key(app, one->tag, &k);
        gp_change_del(c, tb_buf_span(&k));
    }
    k.n = 0;
    card_app_record_key(app, &k);
    gp_change_del(c, tb_buf_span(&k));
}

void gp_change_drop(struct gp_change *c) {
    for (size_t i = 0; i < c->n; i++) {
        tb_wipe(c->v[i].p, c->v[i].n);
        free(c->v[i].p);
    }
    free(c->v);
    *c = (struct gp_change){0};
}

uint16_t gp_change_commit(struct card *card, struct gp_change *c) {
    struct card_write *writes = c->failed ? NULL : calloc(c->n ? c->n : 1, sizeof *writes);
    uint16_t sw = TB_SW_NO_SPACE;

    for (size_t i = 0; writes && i < c->n; i++)
        writes[i] =
            (struct card_write){tb_span(c->v[i].key, c->v[i].key_n), tb_span(c->v[i].p, c->v[i].n)};
    if (writes)
        sw = card_store(card, writes, c->n);
    free(writes);
    gp_change_drop(c);
    return sw;
}
