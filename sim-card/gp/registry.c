#include "gp/registry.h"

#include <stdlib.h>

#include "gp/domain.h"
#include "gp/scp03.h"

const uint8_t gp_issuer_aid[8] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00, 0x00};
/* All but DAP verification and delegated management: spec: GPCS 11.1.2 */
const uint8_t gp_issuer_privileges[3] = {0x9E, 0xFE, 0x80};
const uint8_t gp_issuer_alias[8] = {0xA0, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00};

bool card_app_has(const struct card_app *app, enum gp_privilege p) {
    return p < 0x100 ? app->privileges[0] & p : app->privileges[1] & (unsigned)p >> 8;
}

static bool is_issuer(const struct card_app *app) {
    return app->kind == CARD_APP_DOMAIN && !app->domain;
}

bool card_app_manages(const struct card_app *domain) {
    return is_issuer(domain) || card_app_has(domain, GP_AUTHORIZED_MANAGEMENT);
}

/* The platform's issuer domain is not seen beside one of the profile under the same name. */
static bool is_shadowed(const struct card *card, const struct card_app *app) {
    const struct card_app *seen;

    if (!is_issuer(app) || app->placement)
        return false;
    seen = card_registry_issuer(card);
    return seen && app != seen && tb_span_eq(card_app_aid(app), card_app_aid(seen));
}

/* spec: GPCS 5.3 a locked application is not selected; the issuer domain answers for the card even
 * when that is locked, until it is terminated */
bool card_app_selectable(const struct card *card, const struct card_app *app) {
    if (!card_app_present(card, app))
        return false;
    if (is_issuer(app))
        return app->life != GP_TERMINATED && !is_shadowed(card, app);
    for (const struct card_app *up = app->domain; up; up = up->domain)
        if (is_issuer(up) && (up->life == GP_CARD_LOCKED || up->life == GP_TERMINATED))
            return false; /* spec: GPCS 5.1.1.4 */
    return !(app->life & GP_LOCKED) && (app->life & GP_SELECTABLE) == GP_SELECTABLE;
}

struct card_app *card_registry_find(const struct card *card, struct tb_span aid) {
    for (size_t i = 0; i < card->apps_n; i++)
        if (card_app_present(card, card->apps[i]) && !is_shadowed(card, card->apps[i]) &&
            tb_span_eq(card_app_aid(card->apps[i]), aid))
            return card->apps[i];
    return NULL;
}

static struct card_app *issuer_in(const struct card *card, uint8_t placement) {
    struct card_app *platform = NULL;

    for (size_t i = 0; i < card->apps_n; i++) {
        struct card_app *app = card->apps[i];

        if (!is_issuer(app))
            continue;
        if (app->placement && app->placement == placement)
            return app;
        if (!app->placement)
            platform = app;
    }
    return platform;
}

struct card_app *card_registry_issuer(const struct card *card) {
    return issuer_in(card, card->cur->number);
}

struct card_app *card_registry_by_tar(const struct card *card, const uint8_t tar[3]) {
    for (size_t i = 0; i < card->apps_n; i++) {
        struct card_app *app = card->apps[i];

        if (app->has_tar && card_app_present(card, app) && memcmp(app->tar, tar, 3) == 0)
            return app;
    }
    return NULL;
}

int card_registry_add(struct card *card, struct card_app *app) {
    struct card_app **apps;
    size_t at = card->apps_n;

    if (card->apps_n >= CARD_MAX_APPS)
        return TB_ERANGE;
    apps = realloc(card->apps, (card->apps_n + 1) * sizeof(struct card_app *));
    if (!apps)
        return TB_ENOMEM;
    card->apps = apps;
    while (at > 0 && apps[at - 1]->seq > app->seq)
        at--;
    memmove(&apps[at + 1], &apps[at], (card->apps_n - at) * sizeof(struct card_app *));
    apps[at] = app;
    card->apps_n++;
    return 0;
}

void card_app_free(struct card_app *app) {
    while (app && app->keysets) {
        struct card_keyset *ks = app->keysets;

        app->keysets = ks->next;
        card_keyset_free(ks);
    }
    if (app)
        card_domain_data_free(app);
    free(app);
}

void card_registry_leave(struct card *card, const struct card_app *app) {
    for (unsigned n = 0; n < TB_CHANNELS; n++)
        if (card->channels[n] && card->channels[n]->app == app)
            card_channel_leave_app(card->channels[n]);
    card_registry_unaim(card, app);
}

void card_registry_unaim(struct card *card, const struct card_app *app) {
    for (unsigned n = 0; n < TB_CHANNELS; n++) {
        struct card_channel *ch = card->channels[n];

        if (ch && ch->scp && ch->scp->target == app)
            card_scp03_aim(ch->scp, NULL);
    }
}

void card_registry_remove(struct card *card, struct card_app *app) {
    size_t at = 0;

    while (card->apps[at] != app)
        at++;
    card->apps_n--;
    memmove(&card->apps[at], &card->apps[at + 1], (card->apps_n - at) * sizeof(struct card_app *));
    card_app_free(app);
}

uint16_t card_registry_next_seq(const struct card *card) {
    uint16_t last = 0;

    for (size_t i = 0; i < card->apps_n; i++)
        if (card->apps[i]->seq < GP_RESERVED_SEQ)
            last = card->apps[i]->seq;
    return last + 1 < GP_RESERVED_SEQ ? (uint16_t)(last + 1) : 0;
}

static int add_issuer(struct card *card) {
    struct card_app *app = calloc(1, sizeof *app);
    int r;

    if (!app)
        return TB_ENOMEM;
    app->kind = CARD_APP_DOMAIN;
    app->seq = GP_ISSUER_SEQ;
    app->life = GP_SECURED;
    memcpy(app->privileges, gp_issuer_privileges, sizeof app->privileges);
    memcpy(app->aid, gp_issuer_aid, sizeof gp_issuer_aid);
    app->aid_len = sizeof gp_issuer_aid;
    r = card_registry_add(card, app);
    if (r < 0)
        card_app_free(app);
    return r;
}

/* While loading, domain points to an entry that knows nothing but its AID. */
static int settle(struct card *card, struct card_app *app) {
    struct card_app *named = app->domain, *found = NULL;

    app->domain = NULL;
    for (size_t i = 0; named && i < card->apps_n; i++)
        if (card->apps[i] != app && card->apps[i]->kind == CARD_APP_DOMAIN &&
            tb_span_eq(card_app_aid(card->apps[i]), card_app_aid(named)) &&
            (card->apps[i]->placement == 0 || card->apps[i]->placement == app->placement))
            found = card->apps[i];
    card_app_free(named);
    if (named && !found)
        return TB_EPARSE;
    app->domain = found;
    return 0;
}

int card_registry_complete(struct card *card) {
    struct card_app *issuer = NULL;
    int r = 0;

    for (size_t i = 0; i < card->apps_n; i++) {
        int err = settle(card, card->apps[i]);

        if (err < 0)
            r = err;
        if (is_issuer(card->apps[i]) && card->apps[i]->placement == 0)
            issuer = card->apps[i];
    }
    if (r == 0 && !issuer)
        r = add_issuer(card);
    if (r < 0)
        return r;
    for (size_t i = 0; i < card->apps_n; i++) {
        struct card_app *app = card->apps[i];

        if (app->kind == CARD_APP_SAFE && !app->domain)
            app->domain = issuer_in(card, app->placement);
    }
    return 0;
}
