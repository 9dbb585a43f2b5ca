/* INITIALIZE UPDATE and EXTERNAL AUTHENTICATE. spec: AMD-D 7.1 */
#include "gp/gp.h"

enum { SW_AUTHENTICATION = 0x6300, DIVERSIFICATION = 10, SCP = 0x03 };

/* spec: GPCS 7.3.4 a domain without keys of its own is managed with those of the one above, until
 * it has been personalised. */
static struct card_app *owner_of_keys(struct card_app *domain, uint8_t version,
                                      struct card_keyset **ret) {
    for (struct card_app *at = domain; at; at = at->domain) {
        *ret = gp_version_is_scp80(version) ? NULL : card_keyset_find(at, version);
        if (*ret && (*ret)->type == GP_KEY_AES)
            return at;
        if (at->life == GP_PERSONALIZED || card_keyset_find(at, 0))
            return NULL;
    }
    return NULL;
}

uint16_t card_cmd_initialize_update(struct card *card, struct cmd *cmd) {
    static const uint8_t diversification[DIVERSIFICATION];
    const struct card_domain_data *given;
    struct card_app *owner;
    struct card_keyset *ks;
    uint8_t cryptogram[8];
    uint32_t counter;
    uint16_t sw;

    card_scp03_free(cmd->ch->scp);
    cmd->ch->scp = NULL;
    if (cmd->cla.secure)
        return TB_SW_CLA;
    if (cmd->a.data.n != SCP03_CHALLENGE)
        return TB_SW_LENGTH;
    if (cmd->a.p2 != 0)
        return TB_SW_P1P2;
    owner = owner_of_keys(cmd->ch->app, cmd->a.p1, &ks);
    if (!owner)
        return TB_SW_REF_NOT_FOUND;
    if (ks->counter >= SCP03_COUNTER_MAX)
        return TB_SW_CONDITIONS; /* every challenge has been used */
    if (!card_out_room(cmd, 64))
        return TB_SW_NO_SPACE;
    counter = (uint32_t)ks->counter + 1;
    sw = card_keyset_count(card, owner, ks, counter);
    if (sw != 0)
        return sw;
    if (card_scp03_begin(card_app_aid(cmd->ch->app), ks, counter, cmd->a.data.p, &cmd->ch->scp,
                         cryptogram) < 0)
        return TB_SW_UNKNOWN;
    given = card_domain_data_find(cmd->ch->app, 0xCF);
    tb_put(cmd->out,
           given ? tb_span(given->v, given->n) : tb_span(diversification, sizeof diversification));
    tb_put_u8(cmd->out, ks->version);
    tb_put_u8(cmd->out, SCP);
    tb_put_u8(cmd->out, SCP03_I);
    tb_put(cmd->out, tb_span(cmd->ch->scp->card, SCP03_CHALLENGE));
    tb_put(cmd->out, tb_span(cryptogram, sizeof cryptogram));
    tb_put_u8(cmd->out, (uint8_t)(counter >> 16));
    tb_put_be16(cmd->out, (uint16_t)counter);
    return TB_SW_OK;
}

static bool is_level(uint8_t p1) {
    static const uint8_t levels[] = {0x00, 0x01, 0x03, 0x11, 0x13, 0x33};

    return memchr(levels, p1, sizeof levels) != NULL;
}

uint16_t card_cmd_external_authenticate(struct card *card, struct cmd *cmd) {
    struct card_scp03 *s = cmd->ch->scp;
    uint16_t sw = TB_SW_OK;

    (void)card;
    if (!s || s->open || !cmd->cla.secure)
        sw = TB_SW_CONDITIONS;
    else if (cmd->a.data.n != 8 + SCP03_MAC)
        sw = TB_SW_LENGTH;
    else if (!is_level(cmd->a.p1) || cmd->a.p2 != 0)
        sw = TB_SW_P1P2;
    else if (!card_scp03_authenticate(s, &cmd->a))
        sw = SW_AUTHENTICATION;
    if (sw != TB_SW_OK) {
        card_scp03_free(s);
        cmd->ch->scp = NULL;
    }
    return sw;
}
