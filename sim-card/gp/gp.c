#include "gp/gp.h"

#include <stdlib.h>

enum { PUBLIC = 0x80 }; /* row flag: without a session too */
enum { WRAPPING = 32 }; /* bytes that secure messaging adds to an answer, at most */

static const struct card_ins table[] = {
    {0x50, CARD_CLA_PROP, CARD_OF_DOMAIN | PUBLIC, "initialize-update", card_cmd_initialize_update},
    {0x82, CARD_CLA_PROP, CARD_OF_DOMAIN | PUBLIC, "external-authenticate",
     card_cmd_external_authenticate},
    {0xCA, CARD_CLA_ANY, CARD_OF_DOMAIN | PUBLIC, "get-data", card_cmd_gp_get_data},
    {0xF2, CARD_CLA_PROP, CARD_OF_DOMAIN, "get-status", card_cmd_get_status},
    {0xD8, CARD_CLA_PROP, CARD_OF_DOMAIN | CARD_SECRET_IN, "put-key", card_cmd_put_key},
    {0xE2, CARD_CLA_PROP, CARD_OF_DOMAIN | CARD_SECRET_IN, "store-data", card_cmd_store_data},
    {0xE4, CARD_CLA_PROP, CARD_OF_DOMAIN, "delete", card_cmd_delete},
    {0xE6, CARD_CLA_PROP, CARD_OF_DOMAIN, "install", card_cmd_install},
    {0xF0, CARD_CLA_PROP, CARD_OF_DOMAIN, "set-status", card_cmd_set_status},
};

/* The domain's code, which every card knows (GPCS H.1.3), and the applet's, under an AID of ours:
 * nobody has registered one for it. */
static const uint8_t domain_file[] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50};
static const uint8_t domain_module[] = {0xA0, 0x00, 0x00, 0x01, 0x51, 0x53, 0x50, 0x41};
static const uint8_t safe_file[] = {0xF0, 'I', 'O', 'T', 'S', 'A', 'F', 'E'};
static const uint8_t safe_module[] = {0xF0, 'I', 'O', 'T', 'S', 'A', 'F', 'E', 0x01};

#define AID(bytes)                                                                                 \
    { (bytes), sizeof(bytes) }
const struct gp_module gp_modules[GP_MODULES] = {
    {AID(domain_file), AID(domain_module), CARD_APP_DOMAIN},
    {AID(safe_file), AID(safe_module), CARD_APP_SAFE},
};

const struct card_ins *card_domain_ins(uint8_t ins) {
    return card_ins_find(table, sizeof table / sizeof table[0], ins);
}

uint16_t gp_find_below(const struct card *card, const struct cmd *cmd, struct tb_span aid,
                       struct card_app **ret) {
    struct card_app *app = card_registry_find(card, aid);

    if (!app || !card_app_below(app, cmd->ch->app))
        return TB_SW_REF_NOT_FOUND;
    *ret = app;
    return TB_SW_OK;
}

/* spec: GPCS 5.1.1.4 5.1.1.5 what a locked card still does, and a terminated one */
static bool card_permits(const struct cmd *cmd, const struct card_ins *row) {
    const struct card_app *issuer = card_app_issuer(cmd->ch->app);

    if (issuer->life == GP_TERMINATED)
        return row->run == card_cmd_gp_get_data;
    return issuer->life != GP_CARD_LOCKED || row->flags & PUBLIC ||
           row->run == card_cmd_set_status || row->run == card_cmd_get_status;
}

static uint16_t end_session(struct cmd *cmd, uint16_t sw) {
    card_scp03_free(cmd->ch->scp);
    cmd->ch->scp = NULL;
    cmd->out->n = 0;
    return sw;
}

/* The channel number has no part in the MAC: spec: AMD-D 6.2.4 */
static uint16_t run_secured(struct card *card, struct cmd *cmd, const struct card_ins *row) {
    uint8_t *data = malloc(cmd->a.data.n + 1);
    uint16_t sw;

    /* Room for the MAC first: what has been carried out does not fail for want of it. */
    if (!data || !card_out_room(cmd, WRAPPING)) {
        free(data);
        return end_session(cmd, TB_SW_NO_SPACE);
    }
    sw = card_scp03_unwrap(cmd->ch->scp, &cmd->a, data);
    if (sw != 0) {
        free(data);
        return end_session(cmd, sw);
    }
    sw = card_permits(cmd, row) ? row->run(card, cmd) : TB_SW_CONDITIONS;
    /* The command may have ended the session. */
    if (cmd->ch->scp &&
        (!card_out_room(cmd, WRAPPING) || card_scp03_wrap(cmd->ch->scp, cmd->out, sw) < 0))
        sw = end_session(cmd, TB_SW_UNKNOWN);
    tb_wipe(data, cmd->a.data.n);
    free(data);
    return sw;
}

uint16_t card_domain_run(struct card *card, struct cmd *cmd, const struct card_ins *row) {
    bool opens =
        row->run == card_cmd_initialize_update || row->run == card_cmd_external_authenticate;

    if (!opens && gp_session(cmd))
        return run_secured(card, cmd, row);
    if (!opens && cmd->cla.secure)
        return TB_SW_CONDITIONS; /* nothing to take off: no session */
    if (!(row->flags & PUBLIC))
        return TB_SW_SECURITY;
    return card_permits(cmd, row) ? row->run(card, cmd) : TB_SW_CONDITIONS;
}
