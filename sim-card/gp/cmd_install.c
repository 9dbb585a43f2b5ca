/* INSTALL. spec: GPCS 11.5. There is nothing to load: what can be installed is in the card. */
#include <stdlib.h>

#include "gp/change.h"
#include "gp/gp.h"
#include "iotsafe/object.h"
#include "tb/tlv.h"

enum {
    FOR_LOAD = 0x02,
    FOR_INSTALL = 0x04,
    FOR_SELECTABLE = 0x08,
    FOR_EXTRADITION = 0x10,
    FOR_PERSONALIZATION = 0x20,
    FOR_UPDATE = 0x40,
    INSTANCES = 256,
    FIELDS = 6,
};

/* The data of all variants: fields with a length byte each; what they mean differs. */
struct fields {
    struct tb_span v[FIELDS];
};

static bool take_fields(struct tb_span data, struct fields *ret) {
    *ret = (struct fields){0};
    for (size_t i = 0; i < FIELDS; i++) {
        uint8_t n;

        if (data.n == 0)
            return i >= 3; /* some hosts leave empty ones at the end out */
        if (!tb_take_u8(&data, &n))
            return false;
        if (n == 0x81 && i == 4 && !tb_take_u8(&data, &n)) /* parameters: BER length */
            return false;
        if (!tb_take(&data, n, &ret->v[i]))
            return false;
    }
    return data.n == 0;
}

/* ---- parameters ---- */

struct params {
    bool has_instance, has_tar, tar_of_aid;
    uint8_t instance, tar[3], msl;
    struct card_profile profile;
};

/* spec: TS102226 8.2.1.3.2.2.1 toolkit parameters: of them security level and TAR matter here */
static bool take_toolkit(struct tb_span v, struct params *p) {
    struct tb_span field;
    uint8_t n;

    if (!tb_take_u8(&v, &n) || !tb_take(&v, n, &field) || /* access domain */
        !tb_take(&v, 3, &field) ||                        /* priority, timers, text */
        !tb_take_u8(&v, &n) || !tb_take(&v, (size_t)2 * n, &field) || !tb_take_u8(&v, &n))
        return false; /* menu entries, channels */
    if (v.n == 0)
        return true;
    if (!tb_take_u8(&v, &n) || !tb_take(&v, n, &field))
        return false;
    p->msl = n ? field.p[0] : 0;
    if (v.n == 0)
        return true;
    if (!tb_take_u8(&v, &n) || !tb_take(&v, n, &field) || (n != 0 && n != sizeof p->tar))
        return false; /* more than one is not ours to give */
    p->has_tar = n != 0;
    p->tar_of_aid = n == 0;
    if (n)
        memcpy(p->tar, field.p, sizeof p->tar);
    return true;
}

/* Ours, in C9 of an applet: 80 number of the set of objects, 81 name of a profile, 82 knob=value.
 */
static bool take_applet(struct tb_span v, struct params *p) {
    const struct card_profile *base;
    struct tb_tlv e;
    int r;

    while ((r = tb_tlv_next(&v, &e)) > 0) {
        char text[64], *value;

        if (e.tag == 0x80) {
            if (e.value.n != 1)
                return false;
            p->instance = e.value.p[0];
            p->has_instance = true;
            continue;
        }
        if ((e.tag != 0x81 && e.tag != 0x82) || e.value.n == 0 || e.value.n >= sizeof text ||
            memchr(e.value.p, 0, e.value.n))
            return false;
        memcpy(text, e.value.p, e.value.n);
        text[e.value.n] = '\0';
        if (e.tag == 0x81) {
            base = card_profile_find(text);
            if (!base)
                return false;
            p->profile = *base;
            continue;
        }
        value = strchr(text, '=');
        if (!value)
            return false;
        *value++ = '\0';
        if (card_profile_set(&p->profile, text, value) < 0)
            return false;
    }
    return r == 0;
}

/* spec: TS101220 annex D TS102226 8.2.1.3.2.2 without a TAR it is the one in an AID of full length
 */
static void complete_tar(struct tb_span aid, struct params *p) {
    enum { AT = 12 };

    if (!p->tar_of_aid || aid.n != CARD_AID_MAX)
        return;
    memcpy(p->tar, aid.p + AT, sizeof p->tar);
    p->has_tar = true;
}

/* C9 of the application, EF of the system and EA of the UICC. A domain's C9 tells which protocols
 * it shall have (all of ours) and whom it takes in (everybody its owner sends). */
static bool take_params(struct tb_span v, enum card_app_kind kind, struct params *p) {
    struct tb_span toolkit;
    struct tb_tlv e;
    int r;

    *p = (struct params){.profile = *card_profile_find("gsma")};
    while ((r = tb_tlv_next(&v, &e)) > 0) {
        if (e.tag == 0xC9 && kind == CARD_APP_SAFE && !take_applet(e.value, p))
            return false;
        if (e.tag != 0xEA)
            continue;
        r = tb_tlv_find(e.value, 0x80, &toolkit);
        if (r < 0 || (r > 0 && !take_toolkit(toolkit, p)))
            return false;
    }
    return r == 0;
}

/* One byte, or three. What we do not carry out is not given. */
static bool take_privileges(struct tb_span v, enum card_app_kind kind, uint8_t ret[3]) {
    const uint8_t may[3] = {
        kind == CARD_APP_DOMAIN ? GP_SECURITY_DOMAIN | GP_DELEGATED_MANAGEMENT | GP_CARD_LOCK : 0,
        kind == CARD_APP_DOMAIN ? 0x80 | GP_AUTHORIZED_MANAGEMENT >> 8 : 0, 0};

    if (v.n != 1 && v.n != 3)
        return false;
    memset(ret, 0, 3);
    memcpy(ret, v.p, v.n);
    for (size_t i = 0; i < 3; i++)
        if (ret[i] & ~may[i])
            return false;
    return kind != CARD_APP_DOMAIN || ret[0] & GP_SECURITY_DOMAIN;
}

static const struct gp_module *find_module(const struct fields *f) {
    for (size_t i = 0; i < GP_MODULES; i++)
        if (tb_span_eq(f->v[1], gp_modules[i].module) &&
            (f->v[0].n == 0 || tb_span_eq(f->v[0], gp_modules[i].file)))
            return &gp_modules[i];
    return NULL;
}

static bool tar_is_free(const struct card *card, const struct params *p,
                        const struct card_app *but) {
    static const uint8_t issuer[3];
    const struct card_app *has;

    if (!p->has_tar)
        return true;
    has = card_registry_by_tar(card, p->tar);
    return (!has || has == but) && memcmp(p->tar, issuer, 3) != 0 &&
           !(p->tar[0] == 0xB0 && p->tar[1] == 0x00);
}

/* ---- for install ---- */

/* The set that is asked for, when nobody else owns it, or one that is free; *ret_made when it is
 * new. 9000, 6985, 6A84. */
static uint16_t choose_instance(struct card *card, const struct params *p,
                                const struct card_app *owner, struct card_instance **ret,
                                bool *ret_made) {
    bool taken[INSTANCES] = {false};
    unsigned n = 0;

    for (struct card_instance *in = card->instances; in; in = in->next) {
        taken[in->number] = true;
        if (!p->has_instance || in->number != p->instance)
            continue;
        for (size_t i = 0; i < card->apps_n; i++)
            if (card->apps[i]->instance == in && card->apps[i]->domain != owner)
                return TB_SW_CONDITIONS;
        *ret = in;
        *ret_made = false;
        return TB_SW_OK;
    }
    while (n < INSTANCES && taken[n])
        n++;
    if (p->has_instance)
        n = p->instance;
    if (n == INSTANCES)
        return TB_SW_NO_SPACE;
    *ret = card_instance_get(card, (uint8_t)n);
    *ret_made = *ret != NULL;
    return *ret ? TB_SW_OK : TB_SW_NO_SPACE;
}

static void forget_instance(struct card *card, struct card_instance *in) {
    struct card_instance **at = &card->instances;

    while (*at != in)
        at = &(*at)->next;
    *at = in->next;
    card_instance_free(in);
}

static size_t applets(const struct card *card) {
    size_t n = 0;

    for (size_t i = 0; i < card->apps_n; i++)
        n += card->apps[i]->kind == CARD_APP_SAFE;
    return n;
}

static uint16_t add_app(struct card *card, struct card_app *app, const struct params *p) {
    struct gp_change change = {0};
    bool made = false;
    uint16_t sw = TB_SW_OK;

    if (app->seq == 0 || (app->kind == CARD_APP_SAFE && applets(card) >= CARD_MAX_APPLETS))
        sw = TB_SW_NO_SPACE;
    if (sw == TB_SW_OK && app->kind == CARD_APP_SAFE)
        sw = choose_instance(card, p, app->domain, &app->instance, &made);
    if (sw == TB_SW_OK) {
        gp_change_app(&change, app);
        if (card_registry_add(card, app) < 0) {
            gp_change_drop(&change);
            sw = TB_SW_NO_SPACE;
        } else {
            sw = gp_change_commit(card, &change);
            if (sw == 0)
                return TB_SW_OK;
            if (made)
                forget_instance(card, app->instance);
            card_registry_remove(card, app);
            return sw;
        }
    }
    if (made)
        forget_instance(card, app->instance);
    card_app_free(app);
    return sw;
}

static uint16_t install(struct card *card, struct cmd *cmd, const struct fields *f,
                        bool selectable) {
    const struct gp_module *module = find_module(f);
    struct tb_span aid = f->v[2];
    struct card_app *app, *domain = cmd->ch->app;
    struct params p;
    uint8_t privileges[3];

    if (!module)
        return TB_SW_REF_NOT_FOUND;
    if (aid.n == 0)
        aid = module->module;
    if (aid.n < 5 || aid.n > CARD_AID_MAX || card_registry_find(card, aid) ||
        !take_privileges(f->v[3], module->kind, privileges) ||
        !take_params(f->v[4], module->kind, &p))
        return TB_SW_DATA;
    complete_tar(aid, &p);
    if (!tar_is_free(card, &p, NULL))
        return TB_SW_DATA;
    app = calloc(1, sizeof *app);
    if (!app)
        return TB_SW_NO_SPACE;
    app->kind = module->kind;
    app->aid_len = (uint8_t)aid.n;
    memcpy(app->aid, aid.p, aid.n);
    app->seq = card_registry_next_seq(card);
    app->life = selectable ? GP_SELECTABLE : GP_INSTALLED;
    memcpy(app->privileges, privileges, sizeof privileges);
    app->domain = domain;
    app->placement = domain->placement;
    app->has_tar = p.has_tar;
    memcpy(app->tar, p.tar, sizeof p.tar);
    app->msl = p.msl;
    app->profile = p.profile;
    return add_app(card, app, &p);
}

/* ---- changes of what is there ---- */

/* app becomes what next says. */
static uint16_t replace(struct card *card, struct card_app *app, const struct card_app *next) {
    struct gp_change change = {0};
    uint16_t sw;

    gp_change_app(&change, next);
    sw = gp_change_commit(card, &change);
    if (sw != 0)
        return sw;
    app->life = next->life;
    app->domain = next->domain;
    app->has_tar = next->has_tar;
    app->msl = next->msl;
    memcpy(app->tar, next->tar, sizeof app->tar);
    memcpy(app->privileges, next->privileges, sizeof app->privileges);
    return TB_SW_OK;
}

/* A domain that those above have no say in any more. */
static bool is_its_own(const struct card_app *app) {
    return app->kind == CARD_APP_DOMAIN &&
           (app->life == GP_PERSONALIZED || card_keyset_find(app, 0));
}

static uint16_t make_selectable(struct card *card, struct cmd *cmd, const struct fields *f) {
    struct card_app *app, next;
    uint16_t sw = gp_find_below(card, cmd, f->v[2], &app);

    if (sw != TB_SW_OK)
        return sw;
    if (app->life != GP_INSTALLED)
        return TB_SW_CONDITIONS;
    next = *app;
    next.life = is_its_own(app) ? GP_PERSONALIZED : GP_SELECTABLE;
    if (f->v[3].n && !take_privileges(f->v[3], app->kind, next.privileges))
        return TB_SW_DATA;
    return replace(card, app, &next);
}

/* Where app shall belong to. 9000, 6A88, 6985 for a place where it cannot be. */
static uint16_t find_home(const struct card *card, const struct card_app *app, struct tb_span aid,
                          struct card_app **ret) {
    struct card_app *home = card_registry_find(card, aid);

    if (!home || home->kind != CARD_APP_DOMAIN)
        return TB_SW_REF_NOT_FOUND;
    if (card_app_below(home, app) || home->life & GP_LOCKED ||
        (home->placement && home->placement != app->placement))
        return TB_SW_CONDITIONS;
    *ret = home;
    return TB_SW_OK;
}

/* A set of objects has one owner: AIDs that share it go together. */
static bool shares_objects(const struct card *card, const struct card_app *app) {
    for (size_t i = 0; app->instance && i < card->apps_n; i++)
        if (card->apps[i] != app && card->apps[i]->instance == app->instance)
            return true;
    return false;
}

static uint16_t update(struct card *card, struct cmd *cmd, const struct fields *f,
                       bool extradition) {
    struct card_app *app, next;
    struct params p;
    uint16_t sw = gp_find_below(card, cmd, f->v[2], &app);

    if (sw != TB_SW_OK)
        return sw;
    if (app == cmd->ch->app || !app->domain)
        return TB_SW_CONDITIONS;
    if (extradition && (f->v[0].n == 0 || f->v[3].n || f->v[4].n))
        return TB_SW_DATA;
    next = *app;
    if (f->v[0].n)
        sw = find_home(card, app, f->v[0], &next.domain);
    if (sw != TB_SW_OK)
        return sw;
    if (next.domain != app->domain && shares_objects(card, app))
        return TB_SW_CONDITIONS;
    if (f->v[3].n && !take_privileges(f->v[3], app->kind, next.privileges))
        return TB_SW_DATA;
    if (f->v[4].n) {
        if (!take_params(f->v[4], CARD_APP_DOMAIN, &p) || !tar_is_free(card, &p, app))
            return TB_SW_DATA;
        if (p.has_tar) {
            next.has_tar = true;
            next.msl = p.msl;
            memcpy(next.tar, p.tar, sizeof next.tar);
        }
    }
    sw = replace(card, app, &next);
    if (sw == TB_SW_OK) { /* whoever was personalising it may not any more; over the air, too */
        card_registry_unaim(card, app);
        if (cmd->ch->scp->target == app)
            card_scp03_aim(cmd->ch->scp, NULL);
    }
    return sw;
}

/* spec: GPCS 11.5.2.3.6 what belongs to the domain itself. A domain with keys of its own takes
 * nothing from the one above. */
static uint16_t personalize(struct card *card, struct cmd *cmd, const struct fields *f) {
    struct card_app *app;
    uint16_t sw;

    if (f->v[0].n || f->v[1].n || f->v[3].n || f->v[4].n)
        return TB_SW_DATA;
    sw = gp_find_below(card, cmd, f->v[2], &app);
    if (sw != TB_SW_OK)
        return sw;
    if (app != cmd->ch->app &&
        (app->domain != cmd->ch->app || app->life & GP_LOCKED || is_its_own(app)))
        return TB_SW_CONDITIONS;
    card_scp03_aim(cmd->ch->scp, app == cmd->ch->app ? NULL : app);
    return TB_SW_OK;
}

static uint16_t load(const struct fields *f) {
    for (size_t i = 0; i < GP_MODULES; i++)
        if (tb_span_eq(f->v[0], gp_modules[i].file))
            return TB_SW_DATA; /* is there already */
    return TB_SW_FUNCTION;
}

static uint16_t run(struct card *card, struct cmd *cmd, const struct fields *f) {
    switch (cmd->a.p1) {
    case FOR_LOAD:
        return load(f);
    case FOR_INSTALL:
    case FOR_INSTALL | FOR_SELECTABLE:
        return install(card, cmd, f, cmd->a.p1 & FOR_SELECTABLE);
    case FOR_SELECTABLE:
        return make_selectable(card, cmd, f);
    case FOR_EXTRADITION:
    case FOR_UPDATE:
        return update(card, cmd, f, cmd->a.p1 == FOR_EXTRADITION);
    default:
        return TB_SW_P1P2;
    }
}

uint16_t card_cmd_install(struct card *card, struct cmd *cmd) {
    struct fields f;
    uint16_t sw;

    if (cmd->a.p2 != 0)
        return TB_SW_P1P2;
    if (!take_fields(cmd->a.data, &f))
        return TB_SW_DATA;
    if (cmd->a.p1 == FOR_PERSONALIZATION) /* no data: some hosts have no room for one byte */
        return personalize(card, cmd, &f);
    if (!card_app_manages(cmd->ch->app))
        return TB_SW_CONDITIONS;
    if (!card_out_room(cmd, 1))
        return TB_SW_NO_SPACE;
    sw = run(card, cmd, &f);
    if (sw == TB_SW_OK)
        tb_put_u8(cmd->out, 0);
    return sw;
}
