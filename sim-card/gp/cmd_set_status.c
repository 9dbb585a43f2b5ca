/* SET STATUS. spec: GPCS 11.10 */
#include "gp/change.h"
#include "gp/gp.h"

/* spec: GPCS 5.1.2 forwards only, but for the lock, which can be taken off; the end is for good */
static bool card_life_follows(const struct card_app *domain, uint8_t from, uint8_t to) {
    bool issuer = !domain->domain;

    switch (to) {
    case GP_INITIALIZED:
        return issuer && from == GP_OP_READY;
    case GP_SECURED:
        return (issuer && (from == GP_INITIALIZED || from == GP_OP_READY)) ||
               (from == GP_CARD_LOCKED && card_app_has(domain, GP_CARD_LOCK));
    case GP_CARD_LOCKED:
        return from == GP_SECURED && card_app_has(domain, GP_CARD_LOCK);
    case GP_TERMINATED:
        return card_app_has(domain, GP_CARD_TERMINATE);
    default:
        return false;
    }
}

/* spec: GPCS 5.3.1 5.3.2 a lock by those above or by itself, taken off by those above; else
 * forwards among its own states. The new state, or 0 when that is not to be. */
static uint8_t app_life(const struct card_app *by, const struct card_app *app, uint8_t to) {
    bool locked = app->life & GP_LOCKED;

    if (to & GP_LOCKED)
        return app->life | GP_LOCKED;
    if (locked)
        return app == by ? 0 : app->life & (uint8_t)~GP_LOCKED;
    if (app->life == to)
        return to;
    if ((to & GP_SELECTABLE) != GP_SELECTABLE || (app->life & GP_SELECTABLE) != GP_SELECTABLE)
        return 0; /* made selectable by INSTALL */
    if (app->kind == CARD_APP_DOMAIN)
        return app->life == GP_SELECTABLE && to == GP_PERSONALIZED ? to : 0;
    return to;
}

static uint16_t set_card(struct card *card, struct cmd *cmd) {
    struct card_app *domain = cmd->ch->app, *issuer = card_app_issuer(domain);
    struct gp_change change = {0};
    uint8_t was = issuer->life;
    uint16_t sw;

    if (was == cmd->a.p2)
        return TB_SW_OK;
    if (!card_life_follows(domain, was, cmd->a.p2))
        return TB_SW_CONDITIONS;
    issuer->life = cmd->a.p2;
    gp_change_app(&change, issuer);
    issuer->life = was;
    sw = gp_change_commit(card, &change);
    if (sw != 0)
        return sw;
    issuer->life = cmd->a.p2;
    for (size_t i = 0; i < card->apps_n; i++)
        if (card->apps[i] != domain && !card_app_selectable(card, card->apps[i]))
            card_registry_leave(card, card->apps[i]);
    return TB_SW_OK;
}

/* One entry, or a domain with all that is below it. */
static uint16_t set_apps(struct card *card, struct cmd *cmd, struct card_app *top, bool all) {
    struct card_app *by = cmd->ch->app;
    struct gp_change change = {0};
    uint8_t life[CARD_MAX_APPS] = {0};
    uint16_t sw;

    for (size_t i = 0; i < card->apps_n; i++) {
        struct card_app *app = card->apps[i];
        uint8_t was = app->life;

        life[i] = was;
        if (app != top && !(all && card_app_below(app, top)))
            continue;
        life[i] = app_life(by, app, cmd->a.p2);
        if (life[i] == 0 && all)
            life[i] = was; /* nothing to take off there */
        if (life[i] == 0) {
            gp_change_drop(&change);
            return TB_SW_CONDITIONS;
        }
        app->life = life[i];
        if (life[i] != was)
            gp_change_app(&change, app);
        app->life = was;
    }
    if (change.n == 0 && !change.failed)
        return TB_SW_OK;
    sw = gp_change_commit(card, &change);
    if (sw != 0)
        return sw;
    for (size_t i = 0; i < card->apps_n; i++) {
        card->apps[i]->life = life[i];
        if (life[i] & GP_LOCKED && card->apps[i]->domain && card->apps[i] != by)
            card_registry_leave(card, card->apps[i]);
    }
    return TB_SW_OK;
}

uint16_t card_cmd_set_status(struct card *card, struct cmd *cmd) {
    struct card_app *app;
    uint16_t sw;

    switch (cmd->a.p1) {
    case 0x80:
        return set_card(card, cmd);
    case 0x40:
    case 0x60:
    case 0xC0:
        break;
    default:
        return TB_SW_P1P2;
    }
    if (card_app_issuer(cmd->ch->app)->life == GP_CARD_LOCKED)
        return TB_SW_CONDITIONS;
    sw = gp_find_below(card, cmd, cmd->a.data, &app);
    if (sw != TB_SW_OK)
        return sw;
    if (!app->domain || (cmd->a.p1 != 0x40 && app->kind != CARD_APP_DOMAIN))
        return TB_SW_CONDITIONS; /* the issuer domain's is the card's */
    return set_apps(card, cmd, app, cmd->a.p1 != 0x40);
}
