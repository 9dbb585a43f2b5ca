/* DELETE. spec: GPCS 11.2 */
#include <stdlib.h>

#include "admin/admin.h"
#include "gp/change.h"
#include "gp/gp.h"
#include "iotsafe/object.h"
#include "tb/tlv.h"

enum { RELATED = 0x80 };

/* ---- keys ---- */

/* spec: GPCS 11.2.2.3.2 D0 key identifier, D2 version; sets go as a whole */
static uint16_t delete_key(struct card *card, struct cmd *cmd, struct tb_span id,
                           struct tb_span version) {
    struct card_app *domain = cmd->ch->app;
    struct gp_change change = {0};
    struct card_keyset *ks;
    uint16_t sw;

    if (version.n != 1 || version.p[0] == 0)
        return TB_SW_DATA;
    if (id.n)
        return TB_SW_CONDITIONS; /* what is left would be no set */
    ks = card_keyset_find(domain, version.p[0]);
    if (!ks)
        return TB_SW_REF_NOT_FOUND;
    gp_change_keyset_gone(&change, domain, ks->version);
    sw = gp_change_commit(card, &change);
    if (sw != 0)
        return sw;
    card_keyset_remove(domain, ks);
    return TB_SW_OK;
}

/* ---- applications ---- */

struct objects {
    struct gp_change *change;
    uint8_t instance;
};

static int drop_object(struct tb_span key, struct tb_span value, void *user) {
    struct objects *o = user;

    (void)value;
    if (key.n >= 2 && key.p[0] == CARD_REC_OBJECT && key.p[1] == o->instance)
        gp_change_del(o->change, key);
    return 0;
}

/* A set of objects goes with the last AID that shows it. */
static bool is_last(const struct card *card, const struct card_app *app, const bool *going) {
    for (size_t i = 0; i < card->apps_n; i++) {
        const struct card_app *other = card->apps[i];

        if (other->instance == app->instance && (!going[i] || other->seq < app->seq))
            return false;
    }
    return true;
}

uint16_t gp_delete_gather(struct card *card, const bool *going, struct gp_change *change) {
    for (size_t i = 0; i < card->apps_n; i++) {
        const struct card_app *app = card->apps[i];
        struct objects objects = {.change = change};

        if (!going[i])
            continue;
        gp_change_app_gone(change, app);
        if (!app->instance || !is_last(card, app, going))
            continue;
        objects.instance = app->instance->number;
        if (card->nvm->ops->each(card->nvm, drop_object, &objects) < 0)
            return TB_SW_MEMORY;
    }
    return TB_SW_OK;
}

void gp_delete_forget(struct card *card, struct cmd *cmd, struct card_app *app) {
    struct card_instance *in = app->instance;
    struct card_instance **at = &card->instances;

    card_registry_leave(card, app);
    if (cmd->ch->scp && cmd->ch->scp->target == app)
        card_scp03_aim(cmd->ch->scp, NULL); /* on a channel over the air, too */
    card_registry_remove(card, app);
    if (!in)
        return;
    for (size_t i = 0; i < card->apps_n; i++)
        if (card->apps[i]->instance == in)
            return;
    if (card_admin_is_on(card, in))
        card_admin_abort(card);
    while (*at != in)
        at = &(*at)->next;
    *at = in->next;
    card_instance_free(in);
}

/* spec: GPCS 9.5 a domain goes with all that belongs to it, or has to be empty */
static uint16_t delete_app(struct card *card, struct cmd *cmd, struct tb_span aid) {
    bool going[CARD_MAX_APPS] = {false}, related = cmd->a.p2 & RELATED;
    struct gp_change change = {0};
    struct card_app *top;
    uint16_t sw = gp_find_below(card, cmd, aid, &top);

    for (size_t i = 0; sw != TB_SW_OK && i < GP_MODULES; i++)
        if (tb_span_eq(aid, gp_modules[i].file))
            return TB_SW_CONDITIONS; /* in ROM */
    if (sw != TB_SW_OK)
        return sw;
    if (!card_app_manages(cmd->ch->app))
        return TB_SW_CONDITIONS;
    if (top == cmd->ch->app)
        return TB_SW_CONDITIONS; /* the branch one sits on */
    for (size_t i = 0; i < card->apps_n; i++) {
        going[i] = card_app_below(card->apps[i], top);
        if (going[i] && card->apps[i] != top && !related)
            return TB_SW_CONDITIONS;
    }
    sw = gp_delete_gather(card, going, &change);
    if (sw != TB_SW_OK) {
        gp_change_drop(&change);
        return sw;
    }
    sw = gp_change_commit(card, &change);
    if (sw != 0)
        return sw;
    for (size_t i = card->apps_n; i-- > 0;) /* what is removed moves those behind it */
        if (going[i])
            gp_delete_forget(card, cmd, card->apps[i]);
    return TB_SW_OK;
}

uint16_t card_cmd_delete(struct card *card, struct cmd *cmd) {
    struct tb_span data = cmd->a.data, aid = TB_SPAN_NONE, id = TB_SPAN_NONE,
                   version = TB_SPAN_NONE;
    struct tb_tlv e;
    uint16_t sw;
    int r;

    if (cmd->a.p1 != 0 || (cmd->a.p2 & ~RELATED) != 0)
        return TB_SW_P1P2;
    while ((r = tb_tlv_next(&data, &e)) > 0) {
        if (e.tag == 0x4F)
            aid = e.value;
        else if (e.tag == 0xD0)
            id = e.value;
        else if (e.tag == 0xD2)
            version = e.value;
    }
    if (r < 0 || (aid.n == 0) == (id.n == 0 && version.n == 0))
        return TB_SW_DATA;
    if (!card_out_room(cmd, 1))
        return TB_SW_NO_SPACE;
    sw = aid.n ? delete_app(card, cmd, aid) : delete_key(card, cmd, id, version);
    if (sw == TB_SW_OK)
        tb_put_u8(cmd->out, 0);
    return sw;
}
