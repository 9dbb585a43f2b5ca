/* Applets, security domains and their keys into a card's NVM. */
#include <stdlib.h>

#include "gp/domain.h"
#include "gp/registry.h"
#include "iotsafe/object.h"
#include "simcard/personalise.h"

struct scan {
    struct tb_span aid;
    uint8_t placement;
    uint16_t seq, next_seq; /* of the entry with that AID; for one more */
    unsigned n;
    bool found, domain;
};

static int scan_entry(struct tb_span key, struct tb_span value, void *user) {
    struct scan *scan = user;
    struct card_app app;
    struct tb_span domain;
    uint8_t instance = 0;
    uint16_t seq;
    int r;

    if (key.n != 3 || key.p[0] != CARD_REC_APPLET)
        return 0;
    r = card_app_decode(value, &instance, &domain, &app);
    if (r < 0)
        return r;
    seq = (uint16_t)(key.p[1] << 8 | key.p[2]);
    if (tb_span_eq(card_app_aid(&app), scan->aid) && app.placement == scan->placement) {
        scan->found = true;
        scan->domain = app.kind == CARD_APP_DOMAIN;
        scan->seq = seq;
    }
    if (seq != GP_ISSUER_SEQ)
        scan->next_seq = (uint16_t)(seq + 1);
    scan->n++;
    return 0;
}

static int put(struct card_nvm *nvm, struct card_app *app) {
    enum { UNWRITTEN = 3 }; /* entries without a record: issuer domain, ISD-R, ECASD */
    uint8_t record[GP_ENTRY_RECORD_MAX], key[3];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct scan scan = {.aid = card_app_aid(app), .placement = app->placement};
    struct card_write w;
    int r = nvm->ops->each(nvm, scan_entry, &scan);

    if (r < 0)
        return r;
    if (scan.found)
        return TB_ESTATE;
    if (scan.n >= (app->kind == CARD_APP_SAFE ? CARD_MAX_APPLETS : CARD_MAX_APPS - UNWRITTEN) ||
        scan.next_seq >= GP_RESERVED_SEQ)
        return TB_ESPACE;
    app->seq = scan.next_seq;
    card_app_record_key(app, &k);
    card_app_encode(app, &b);
    if (!tb_buf_ok(&b))
        return TB_ERANGE;
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    return card_nvm_write(nvm, &w, 1, true);
}

static bool take_aid(struct tb_span aid, struct card_app *app) {
    if (aid.n < 5 || aid.n > CARD_AID_MAX) /* ISO/IEC 7816-4 12.2.3 */
        return false;
    memcpy(app->aid, aid.p, aid.n);
    app->aid_len = (uint8_t)aid.n;
    return true;
}

int card_perso_app(struct card_nvm *nvm, const struct card_app_spec *spec) {
    struct card_instance instance = {.number = spec->instance};
    struct card_app domain = {0}, app = {.kind = spec->profile ? CARD_APP_SAFE : CARD_APP_DOMAIN,
                                         .life = spec->life ? spec->life : GP_SELECTABLE,
                                         .placement = spec->placement,
                                         .msl = spec->msl};
    struct scan scan = {.placement = spec->placement};
    int r;

    if (!take_aid(spec->aid, &app) || (spec->domain.n && !take_aid(spec->domain, &domain)) ||
        (spec->tar.n && spec->tar.n != sizeof app.tar))
        return TB_ERANGE;
    if (spec->profile) {
        app.profile = *spec->profile;
        app.instance = &instance;
    } else {
        app.privileges[0] = GP_SECURITY_DOMAIN;
        app.privileges[1] = spec->authorized ? GP_AUTHORIZED_MANAGEMENT >> 8 : 0;
        if (!spec->domain.n) { /* the issuer's: its life cycle state is the card's */
            memcpy(app.privileges, gp_issuer_privileges, sizeof app.privileges);
            app.life = spec->life ? spec->life : GP_SECURED;
        }
    }
    if (spec->tar.n) {
        memcpy(app.tar, spec->tar.p, spec->tar.n);
        app.has_tar = true;
    }
    if (spec->domain.n) {
        app.domain = &domain;
        scan.aid = spec->domain;
        r = nvm->ops->each(nvm, scan_entry, &scan);
        if (r == 0 && !scan.found && spec->placement) { /* one of the platform will do */
            scan.placement = 0;
            r = nvm->ops->each(nvm, scan_entry, &scan);
        }
        if (r < 0)
            return r;
        if (!scan.domain)
            return TB_ENOTFOUND;
    }
    return put(nvm, &app);
}

int card_perso_applet(struct card_nvm *nvm, struct tb_span aid, uint8_t instance,
                      const struct card_profile *profile) {
    const struct card_app_spec spec = {.aid = aid, .instance = instance, .profile = profile};

    return card_perso_app(nvm, &spec);
}

int card_perso_keys(struct card_nvm *nvm, struct tb_span domain, uint8_t placement,
                    const struct card_keys_spec *spec) {
    uint8_t record[GP_KEYSET_RECORD_MAX], key[CARD_REC_KEY_MAX];
    struct tb_buf b = TB_BUF(record), k = TB_BUF(key);
    struct scan scan = {.aid = domain, .placement = placement};
    struct card_keyset ks = {.version = spec->version,
                             .type = spec->des ? GP_KEY_DES : GP_KEY_AES,
                             .len = (uint8_t)spec->keys[0].n,
                             .counter = spec->counter};
    struct card_write w;
    int r = nvm->ops->each(nvm, scan_entry, &scan);

    if (r < 0)
        return r;
    if (!scan.found || !scan.domain)
        return TB_ENOTFOUND;
    if (spec->version == 0 || spec->version > 0x7F || spec->counter >> 40 ||
        (ks.len != 16 && ks.len != 24 && (ks.len != 32 || spec->des)))
        return TB_ERANGE;
    for (size_t i = 0; i < GP_KEYS; i++) {
        if (spec->keys[i].n != ks.len)
            return TB_ERANGE;
        memcpy(ks.key[i], spec->keys[i].p, ks.len);
    }
    card_keyset_record_key(&(struct card_app){.seq = scan.seq}, ks.version, &k);
    card_keyset_encode(&ks, &b);
    w = (struct card_write){tb_buf_span(&k), tb_buf_span(&b)};
    r = card_nvm_write(nvm, &w, 1, true);
    tb_wipe(record, sizeof record);
    tb_wipe(&ks, sizeof ks);
    return r;
}
